"""vladata: robot demonstrations become checked, action-tokenized training data for VLA models.

import vladata

for episode in vladata.open("dataset"):
    print(episode.instruction, episode[0].images["front"].shape)
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from .store.dataset import Dataset

__all__ = ["__version__", "open"]

__version__ = "0.1.0"


def open(path: "str | Path") -> "Dataset":  # noqa: A001 - reads as vladata.open
    """Open a dataset folder for reading.

    Raises:
        DatasetError: The folder is not a dataset.
    """
    from .store.dataset import Dataset

    return Dataset.open(path)
