"""LeRobot datasets of version 3: many episodes in each parquet file and in each video.

Rows are steps and pass through one by one; of a video, the packets of the episode are kept as they are, with those
before it that decoding needs.
"""

from collections.abc import Iterator
from pathlib import Path

from ..errors import SourceError
from ..recording import Recording
from . import Inspection, Place, Request
from ._lerobot_episode import read_episode
from ._lerobot_info import episode_name, major_version
from ._lerobot_inspect import inspect_dataset
from ._lerobot_v3_meta import EPISODES, read_meta

__all__ = ["IS_GENERAL", "SUFFIXES", "can_read", "inspect", "places", "read"]

SUFFIXES: tuple[str, ...] = ()
IS_GENERAL = False


def can_read(path: Path) -> bool:
    """Tell whether a folder is a LeRobot dataset of version 3, or a later one, which `places` refuses by its name."""
    version = major_version(path)
    return version is not None and version >= 3


def places(path: Path) -> list[Place]:
    """List the episodes of the table of episodes.

    An episode whose files are missing is listed too, and reading it says which; so the rest can be read. Where a part
    of the table can't be read, the episodes that info.json counts are listed as well.

    Raises:
        SourceError: The meta folder is damaged, of another version, or there are no episodes.
        GateError: A path leaves the dataset, or it declares too many episodes.
    """
    found = [Place(name=episode_name(e), size=size) for e, size in read_meta(path).sizes().items()]
    if not found:
        raise SourceError(f"{path.name}: no episodes in {EPISODES}")
    return found


def read(path: Path, place: Place, request: Request) -> Iterator[Recording]:
    """Read one episode.

    Raises:
        SourceError: A file is missing or damaged (named), a video has not as many frames for the episode as there are
            rows, or the mapping does not fit.
        SchemaError: An option of the mapping is not known.
        GateError: A path leaves the dataset, or a file breaks a limit.
        MissingExtraError: The dataset has videos and the package av is not installed.
    """
    yield from read_episode(read_meta(path), place, request)


def inspect(path: Path) -> Inspection:
    """Describe a dataset by its info.json and its first readable episode.

    Raises:
        SourceError: As `places`, or no episode can be read.
        GateError: A path leaves the dataset.
    """
    return inspect_dataset(read_meta(path), places(path))
