"""What the versions of a LeRobot dataset have in common: where an episode's rows, videos and texts are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from ._lerobot_info import Info
from ._lerobot_rows import RowPart

__all__ = ["Dataset", "VideoPlace"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoPlace:
    """Where the video of one episode and camera is."""

    name: str
    """File, relative to the dataset."""
    begin_s: float | None = None
    """First time in the file; None: the whole file."""
    end_s: float | None = None
    """End in the file, where said."""


class Dataset(Protocol):
    """A dataset of one version."""

    @property
    def info(self) -> Info:
        """What info.json declares."""

    @property
    def tasks(self) -> Mapping[int, str]:
        """Texts by `task_index`."""

    @property
    def subtasks(self) -> Mapping[int, str]:
        """Texts by `subtask_index`."""

    @property
    def source(self) -> str:
        """Name of the source plugin."""

    @property
    def tables(self) -> tuple[str, str]:
        """Names of the tables of episodes and of tasks, for messages."""

    @property
    def problems(self) -> tuple[str, ...]:
        """What is odd about the declarations."""

    def sizes(self) -> dict[int, int]:
        """All episodes that are declared, or there, and the bytes to read of each, about.

        Raises:
            SourceError: There are too many files.
            GateError: A path leaves the dataset, or too many episodes are declared.
        """

    def is_declared(self, episode: int) -> bool:
        """Whether the table of episodes has it."""

    def fact(self, episode: int, name: str) -> object:
        """What the table of episodes says under a name; None where nothing."""

    def rows(self, episode: int) -> list[RowPart]:
        """Where its rows are.

        Raises:
            SourceError: A file is missing or damaged, or has not the episode.
        """

    def data_name(self, episode: int) -> str:
        """Name of the (first) file that its rows are in; it need not be there.

        Raises:
            SourceError: The table of episodes does not say it.
            GateError: It leaves the dataset.
        """

    def video(self, episode: int, key: str) -> VideoPlace:
        """Where a camera's video is; the file need not be there.

        Raises:
            SourceError: The table of episodes does not say it.
            GateError: It leaves the dataset.
        """

    def frame_counts(self, episode: int, key: str) -> tuple[int, int, int]:
        """Frames of the episodes that are listed before this one in its video file, its own, and of all of them."""
