"""vladata: robot demonstrations become checked, action-tokenized training data for VLA models.

import vladata

for episode in vladata.open("dataset"):
    print(episode.instruction, episode[0].images["front"].shape)

tokenizer = vladata.ActionTokenizer.load("shards")  # of an export; needs numpy and tokenizers alone
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from .action_tokenizer import ActionTokenizer
    from .store.dataset import Dataset

__all__ = ["ActionTokenizer", "__version__", "open"]

__version__ = "0.1.0"


def open(path: "str | Path") -> "Dataset":  # noqa: A001 - reads as vladata.open
    """Open a dataset folder for reading.

    Raises:
        DatasetError: The folder is not a dataset.
    """
    from .store.dataset import Dataset

    return Dataset.open(path)


def __getattr__(name: str) -> object:
    """Import what is asked for: `import vladata` itself stays light."""
    if name == "ActionTokenizer":
        from .action_tokenizer import ActionTokenizer

        return ActionTokenizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
