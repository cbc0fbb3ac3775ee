"""The `meta` folder of a LeRobot v2 dataset: its declarations, tasks and episodes."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..errors import SourceError
from ..gate import inside, template_path
from ..text import clip, printable
from ._json_files import is_lfs_pointer, read_json, read_json_lines

__all__ = [
    "VERSIONS",
    "FeatureInfo",
    "Meta",
    "codebase_version",
    "element_names",
    "episode_index",
    "episode_name",
    "read_meta",
]

VERSIONS = ("v2.0", "v2.1")

_DATA_PATH = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
_VIDEO_PATH = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
_EPISODE_FILE = re.compile(r"episode_(\d{1,12})\.parquet")
MAX_FILES = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureInfo:
    """What info.json says of one feature."""

    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...]
    """Of the elements of a vector; empty where there are none."""
    codec: str
    """Of a video; empty where not said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """What the meta folder declares."""

    root: Path
    version: str
    fps: float
    robot_type: str
    chunks_size: int
    data_path: str
    """Template of the parquet files, as the file says it."""
    video_path: str
    features: Mapping[str, FeatureInfo]
    totals: Mapping[str, int]
    """`total_episodes` and `total_frames`, where declared."""
    splits: Mapping[str, tuple[int, int]]
    """First episode and the one after the last."""
    tasks: Mapping[int, str]
    episodes: Mapping[int, Mapping[str, object]]
    """Lines of episodes.jsonl by their index; the first of equal ones."""

    def data_name(self, episode: int) -> str:
        """Name of an episode's parquet file, relative to the root."""
        return template_path(self.data_path, self._values(episode))

    def video_name(self, episode: int, key: str) -> str:
        """Name of an episode's video file, relative to the root."""
        return template_path(self.video_path, {**self._values(episode), "video_key": key})

    def _values(self, episode: int) -> dict[str, int | str]:
        chunk = episode // self.chunks_size
        # some writers put v3's `chunk_index` into v2's template
        return {"episode_chunk": chunk, "chunk_index": chunk, "episode_index": episode}

    def file(self, name: str) -> Path:
        """A file of the dataset that must be there.

        Raises:
            SourceError: It is not there, or is a Git LFS pointer.
            GateError: It leaves the folder.
        """
        path = inside(self.root, name)
        if not path.is_file():
            raise SourceError(f"{name} is not there")
        if is_lfs_pointer(path):
            raise SourceError(f"{name} is a Git LFS pointer, not the file itself; fetch it: git lfs pull")
        return path

    def split_of(self, episode: int) -> str:
        """The split that an episode is declared to be in; empty where in none."""
        return next((name for name, (begin, end) in self.splits.items() if begin <= episode < end), "")

    def indices(self) -> list[int]:
        """Episodes that are declared in episodes.jsonl or have a parquet file, sorted."""
        return sorted(set(self.episodes) | self._found())

    def _found(self) -> set[int]:
        """Episodes whose parquet file lies where the template says; stray files don't count."""
        top = self.data_path.partition("/")[0]
        found: set[int] = set()
        if "{" in top or not inside(self.root, top).is_dir():
            return found
        count = 0
        for folder, _, names in os.walk(inside(self.root, top)):
            relative = Path(folder).relative_to(self.root).as_posix()
            for name in names:
                match = _EPISODE_FILE.fullmatch(name)
                if match and self.data_name(int(match[1])) == f"{relative}/{name}":
                    found.add(int(match[1]))
            count += len(names)
            if count > MAX_FILES:
                raise SourceError(f"{self.root.name}: more than {MAX_FILES:,} files under {top}")
        return found


def episode_name(index: int) -> str:
    """Name of an episode as a place: `episode_000001`."""
    return f"episode_{index:06d}"


def episode_index(name: str) -> int:
    """Number of the episode that a place names.

    Raises:
        SourceError: The place names none.
    """
    number = name.removeprefix("episode_")
    if not number.isdecimal() or len(number) > 12:
        raise SourceError(f"{clip(printable(name), 80)}: no such episode; places are named {episode_name(1)}")
    return int(number)


def codebase_version(root: Path) -> str:
    """The version that info.json declares; empty where it declares none.

    Raises:
        SourceError: info.json is not JSON.
        GateError: It is too large or leaves the folder.
        OSError: It can't be read.
    """
    return printable(str(read_json(root, "meta/info.json").get("codebase_version") or ""))


def read_meta(root: Path) -> Meta:
    """Read the meta folder, once for many episodes.

    Raises:
        SourceError: A file is missing or damaged, or the version is not 2.0 or 2.1.
        GateError: A file is too large or leaves the folder.
    """
    stamps = []
    for name in ("info.json", "tasks.jsonl", "episodes.jsonl"):
        path = inside(root, f"meta/{name}")
        status = path.stat() if path.exists() else None
        stamps.append((status.st_mtime_ns, status.st_size, status.st_ino) if status else (0, 0, 0))
    return _read_meta(root, tuple(stamps))


@lru_cache(maxsize=2)
def _read_meta(root: Path, stamps: tuple[tuple[int, int, int], ...]) -> Meta:
    del stamps  # a part of the cache's key: changed files are read again
    version = codebase_version(root)
    if version not in VERSIONS:
        raise SourceError(
            f"{root.name}: codebase_version {version or 'not given'}; this reads {' and '.join(VERSIONS)}"
        )
    info = read_json(root, "meta/info.json")
    fps = info.get("fps")
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not 0 < fps <= 1e6:
        raise SourceError(f"{root.name}: fps is {clip(printable(repr(fps)), 40)}; must be a number above 0")
    chunks_size = info.get("chunks_size", 1000)
    if isinstance(chunks_size, bool) or not isinstance(chunks_size, int) or chunks_size < 1:
        raise SourceError(f"{root.name}: chunks_size is {clip(printable(repr(chunks_size)), 40)}; must be at least 1")
    features = info.get("features")
    if not isinstance(features, dict):
        raise SourceError(f"{root.name}: info.json has no features")
    return Meta(
        root=root,
        version=version,
        fps=float(fps),
        robot_type=clip(printable(_text(info.get("robot_type"))), 200),
        chunks_size=chunks_size,
        data_path=_text(info.get("data_path")) or _DATA_PATH,
        video_path=_text(info.get("video_path")) or _VIDEO_PATH,
        features={str(k): _feature(v) for k, v in features.items() if isinstance(v, dict)},
        totals={k: n for k in ("total_episodes", "total_frames") if isinstance(n := info.get(k), int)},
        splits=_splits(info.get("splits")),
        tasks=_tasks(root),
        episodes=_episodes(root),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _feature(feature: Mapping[str, object]) -> FeatureInfo:
    shape = feature.get("shape")
    codec = ""
    for key in ("info", "video_info"):
        declared = feature.get(key)
        if isinstance(declared, dict):
            codec = codec or _text(declared.get("video.codec"))
    return FeatureInfo(
        dtype=_text(feature.get("dtype")),
        shape=tuple(n for n in shape if isinstance(n, int)) if isinstance(shape, list) else (),
        names=element_names(feature.get("names")),
        codec=codec,
    )


def element_names(names: object) -> tuple[str, ...]:
    """Names of a vector's elements, of all the forms that writers give them.

    Seen: a list; a list in a list; an object of lists (`{"motors": […]}`); an object of indices; null.
    """
    if isinstance(names, list):
        if all(isinstance(n, str) for n in names):
            return tuple(names)
        if all(isinstance(n, list) for n in names):
            return tuple(str(n) for part in names for n in part)
    if isinstance(names, dict):
        if all(isinstance(v, list) for v in names.values()):
            return tuple(str(n) for part in names.values() for n in part)
        if sorted(v for v in names.values() if isinstance(v, int)) == list(range(len(names))):
            return tuple(sorted(names, key=lambda name: int(names[name])))
    return ()


def _splits(splits: object) -> dict[str, tuple[int, int]]:
    found = {}
    for name, span in splits.items() if isinstance(splits, dict) else ():
        match = re.fullmatch(r"(\d{1,12}):(\d{1,12})", str(span))
        if match:
            found[printable(str(name))] = int(match[1]), int(match[2])
    return found


def _tasks(root: Path) -> dict[int, str]:
    found: dict[int, str] = {}
    for line in _lines(root, "meta/tasks.jsonl"):
        index, task = line.get("task_index"), line.get("task")
        if isinstance(index, int) and isinstance(task, str) and found.setdefault(index, task) != task:
            raise SourceError(f"meta/tasks.jsonl: task_index {index} has two texts; must have one")
    return found


def _episodes(root: Path) -> dict[int, Mapping[str, object]]:
    found: dict[int, Mapping[str, object]] = {}
    for line in _lines(root, "meta/episodes.jsonl"):
        index = line.get("episode_index")
        if isinstance(index, int) and not isinstance(index, bool) and index >= 0:
            found.setdefault(index, line)
    return found


def _lines(root: Path, name: str) -> Sequence[dict[str, object]]:
    """Lines of a file that some datasets lack."""
    return read_json_lines(root, name) if inside(root, name).is_file() else ()
