"""The `meta` folder of a LeRobot v2 dataset: its declarations, tasks and episodes; one file for each episode."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from .. import workers
from ..errors import SourceError
from ..gate import inside, template_path
from ..text import clip, printable
from ._json_files import read_json_lines
from ._lerobot_dataset import VideoPlace
from ._lerobot_info import Info, Stamp, read_info, stamp_of
from ._lerobot_rows import RowPart
from ._lerobot_texts import read_texts

__all__ = ["VERSIONS", "Meta2", "read_meta"]

VERSIONS = ("v2.0", "v2.1")

_TEMPLATES = (
    "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
    "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
)
_EPISODE_FILE = re.compile(r"episode_(\d{1,12})\.parquet")
MAX_FILES = 10_000_000
MAX_STRAY = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta2:
    """What the meta folder declares; satisfies `Dataset`."""

    info: Info
    tasks: Mapping[int, str]
    subtasks: Mapping[int, str]
    episodes: Mapping[int, Mapping[str, object]]
    """Lines of episodes.jsonl by their index; the first of equal ones."""
    source: str = "lerobot_v2"
    tables: tuple[str, str] = ("meta/episodes.jsonl", "meta/tasks.jsonl")

    def data_name(self, episode: int) -> str:
        """Name of its parquet file."""
        return template_path(self.info.data_path, self._values(episode))

    def _values(self, episode: int) -> dict[str, int | str]:
        chunk = episode // self.info.chunks_size
        # some writers put v3's `chunk_index` into v2's template
        return {"episode_chunk": chunk, "chunk_index": chunk, "episode_index": episode}

    def is_declared(self, episode: int) -> bool:
        """Whether episodes.jsonl has it."""
        return episode in self.episodes

    def fact(self, episode: int, name: str) -> object:
        """What episodes.jsonl says under a name; None where nothing."""
        return self.episodes.get(episode, {}).get(name)

    def sizes(self) -> dict[int, int]:
        """Episodes that are declared in episodes.jsonl or have a parquet file, and the bytes of their files."""
        return {e: self._size(e) for e in sorted(set(self.episodes) | self._found()[0])}

    def _size(self, episode: int) -> int:
        workers.beat()
        names = [self.data_name(episode), *(self.video(episode, key).name for key in self.info.videos)]
        return sum(self.info.size_of(n) for n in names)

    def rows(self, episode: int) -> list[RowPart]:
        """Its parquet file.

        Raises:
            SourceError: It is not there.
        """
        name = self.data_name(episode)
        return [RowPart(path=self.info.file(name), name=name)]

    def video(self, episode: int, key: str) -> VideoPlace:
        """Its video file of a camera, which need not be there."""
        values = {**self._values(episode), "video_key": key}
        return VideoPlace(name=self.info.name_of(self.info.video_path, values))

    def frame_counts(self, episode: int, key: str) -> tuple[int, int, int]:
        """Nothing: each video is one episode's."""
        del episode, key
        return 0, 0, 0

    @property
    def problems(self) -> tuple[str, ...]:
        """What is odd about the declarations and the folder."""
        _, num_stray, stray = self._found()
        shown = clip(printable(", ".join(stray)), 300)
        return (*self.info.problems, *([f"{num_stray} files beside the episodes are left: {shown}"] if stray else []))

    def _found(self) -> tuple[set[int], int, list[str]]:
        """Episodes whose parquet file lies where the template says; how many other files there are, and some."""
        top = self.info.data_path.partition("/")[0]
        root = self.info.root
        found: set[int] = set()
        stray: list[str] = []
        if "{" in top or not inside(root, top).is_dir():
            return found, 0, stray
        count = 0
        for folder, _, names in os.walk(inside(root, top)):
            relative = Path(folder).relative_to(root).as_posix()
            for name in names:
                match = _EPISODE_FILE.fullmatch(name)
                if match and self.data_name(int(match[1])) == f"{relative}/{name}":
                    found.add(int(match[1]))
                elif len(stray) < MAX_STRAY:
                    stray.append(f"{relative}/{name}")
            count += len(names)
            if count > MAX_FILES:
                raise SourceError(f"{root.name}: more than {MAX_FILES:,} files under {top}")
        return found, count - len(found), sorted(stray)


def read_meta(root: Path) -> Meta2:
    """Read the meta folder, once for many episodes.

    Raises:
        SourceError: A file is missing or damaged, or the version is not 2.0 or 2.1.
        GateError: A file is too large or leaves the folder.
    """
    names = ("info.json", "modality.json", "tasks.jsonl", "tasks.parquet", "subtasks.parquet", "episodes.jsonl")
    return _read_meta(root, tuple(stamp_of(root, f"meta/{n}") for n in names))


@lru_cache(maxsize=2)
def _read_meta(root: Path, stamps: tuple[Stamp, ...]) -> Meta2:
    del stamps  # a part of the cache's key: changed files are read again
    return Meta2(
        info=read_info(root, major=2, known=VERSIONS, templates=_TEMPLATES),
        tasks=read_texts(root, "tasks"),
        subtasks=read_texts(root, "subtasks"),
        episodes=_episodes(root),
    )


def _episodes(root: Path) -> dict[int, Mapping[str, object]]:
    found: dict[int, Mapping[str, object]] = {}
    name = "meta/episodes.jsonl"
    for line in read_json_lines(root, name) if inside(root, name).is_file() else ():  # some datasets lack it
        index = line.get("episode_index")
        if isinstance(index, int) and not isinstance(index, bool) and index >= 0:
            found.setdefault(index, line)
    return found
