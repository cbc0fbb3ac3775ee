"""LeRobot datasets of the versions 2.0 and 2.1: one parquet file per episode, one video per episode and camera.

Rows are steps and pass through one by one; the packets of videos are kept as they are.
"""

from collections.abc import Iterator
from pathlib import Path

from ..errors import SourceError
from ..recording import Recording
from . import Inspection, Place, Request
from ._lerobot_episode import read_episode
from ._lerobot_info import episode_name, major_version
from ._lerobot_inspect import inspect_dataset
from ._lerobot_v2_meta import read_meta

__all__ = ["IS_GENERAL", "SUFFIXES", "can_read", "inspect", "places", "read"]

SUFFIXES: tuple[str, ...] = ()
IS_GENERAL = False


def can_read(path: Path) -> bool:
    """Tell whether a folder is a LeRobot dataset of version 2, or an older one, which `places` refuses by its name."""
    version = major_version(path)
    return version is not None and version <= 2


def places(path: Path) -> list[Place]:
    """List the episodes that are declared or have a parquet file.

    An episode whose files are missing is listed too, and reading it says which; so the rest can be read.

    Raises:
        SourceError: The meta folder is damaged, of another version, or there are no episodes.
        GateError: A path leaves the dataset.
    """
    found = [Place(name=episode_name(e), size=size) for e, size in read_meta(path).sizes().items()]
    if not found:
        raise SourceError(f"{path.name}: no episodes in meta/episodes.jsonl, and no parquet files")
    return found


def read(path: Path, place: Place, request: Request) -> Iterator[Recording]:
    """Read one episode.

    Raises:
        SourceError: A file is missing or damaged (named), a video has not as many frames as there are rows, or the
            mapping does not fit.
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
