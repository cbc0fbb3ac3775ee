"""`meta/info.json` of a LeRobot dataset, of any version, and what GR00T adds in `meta/modality.json`."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import SourceError, VladataError
from ..gate import inside, template_path
from ..text import clip, printable
from ._json_files import is_lfs_pointer, read_json

__all__ = [
    "FeatureInfo",
    "Info",
    "Slice",
    "codebase_version",
    "element_names",
    "episode_index",
    "episode_name",
    "major_version",
    "read_info",
    "stamp_of",
]

Stamp = tuple[int, int, int]

_VERSION = re.compile(r"v?(\d{1,3})(?:\.(\d{1,3}))?(?:\.\d{1,3})?")
_FOLDERS = {"videos": "video", "video": "videos"}
MAX_NAMES = 100_000
_WHOLE = {"video", "annotation"}
"""Parts of modality.json that name a column, not a slice of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureInfo:
    """What info.json says of one feature."""

    dtype: str = ""
    shape: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    """Of the elements of a vector; empty where there are none."""
    codec: str = ""
    """Of a video; empty where not said."""
    depth: str = ""
    """How a depth camera's pixels are to be read, as info.json says it; empty where it is no depth."""

    @property
    def is_video(self) -> bool:
        """Whether its values lie in video files and not in a column."""
        return self.dtype == "video"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A part of a vector that modality.json gives a name."""

    column: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """What info.json declares."""

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
    """`total_episodes`, `total_frames` and `total_tasks`, where declared."""
    splits: Mapping[str, tuple[int, int]]
    """First episode and the one after the last."""
    slices: Mapping[str, Slice]
    """By the names of modality.json: `state.left_arm`, `action.left_hand`, `video.ego`, `annotation.human.task`."""
    problems: tuple[str, ...] = ()

    @property
    def videos(self) -> list[str]:
        """Features that lie in video files."""
        return [k for k, f in self.features.items() if f.is_video]

    def feature(self, key: str) -> FeatureInfo:
        """What is said of a feature; nothing where it is not declared."""
        return self.features.get(key, FeatureInfo())

    def split_of(self, episode: int) -> str:
        """The split that an episode is declared to be in; empty where in none."""
        return next((name for name, (begin, end) in self.splits.items() if begin <= episode < end), "")

    def name_of(self, template: str, values: Mapping[str, int | str]) -> str:
        """The file that a template names: as it says, or in `video/` where it says `videos/` and only that is there."""
        name = template_path(template, values)
        top, _, rest = name.partition("/")
        if top not in _FOLDERS or self.is_file(name):
            return name
        other = f"{_FOLDERS[top]}/{rest}"
        return other if self.is_file(other) else name

    def is_file(self, name: str) -> bool:
        """Whether a file that a template named is there; links are followed, and judged where it is opened."""
        return (self.root / name).is_file()

    def size_of(self, name: str) -> int:
        """Bytes of a file that a template named; 0 where it is not there."""
        try:
            return (self.root / name).stat().st_size
        except OSError:
            return 0

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


def episode_name(index: int) -> str:
    """Name of an episode as a place: `episode_000001`."""
    return f"episode_{index:06d}"


def episode_index(name: str) -> int:
    """Number of the episode that a place names.

    Raises:
        SourceError: The place names none.
    """
    number = name.removeprefix("episode_")
    if not (number.isascii() and number.isdecimal()) or len(number) > 12:
        raise SourceError(f"{clip(printable(name), 80)}: no such episode; places are named {episode_name(1)}")
    return int(number)


def stamp_of(root: Path, name: str) -> Stamp:
    """Time of change, size and inode of a file: what a cache of its content depends on; zeros where it is not there."""
    path = inside(root, name)
    status = path.stat() if path.exists() else None
    return (status.st_mtime_ns, status.st_size, status.st_ino) if status else (0, 0, 0)


def codebase_version(root: Path) -> str:
    """The version that info.json declares; empty where it declares none.

    Raises:
        SourceError: info.json is not JSON.
        GateError: It is too large or leaves the folder.
        OSError: It can't be read.
    """
    return clip(printable(_text(read_json(root, "meta/info.json").get("codebase_version"))), 40)


def major_version(root: Path) -> int | None:
    """The first number of the version; None where a folder is no LeRobot dataset.

    0 where it is one of a version that can't be told, so that a source takes it and says so.
    """
    try:
        path = inside(root, "meta/info.json")
        if not path.is_file():
            return None
        if is_lfs_pointer(path):
            return 0
        version = codebase_version(root)
    except (VladataError, OSError):
        return None
    match = _VERSION.fullmatch(version)
    return int(match[1]) if match else 0 if version.startswith("v") else None


def read_info(root: Path, *, major: int, known: tuple[str, ...], templates: tuple[str, str]) -> Info:
    """Read info.json and, where it is there, modality.json.

    Args:
        root: The dataset.
        major: The first number of the version that the caller reads.
        known: Versions of it that are known, for messages.
        templates: `data_path` and `video_path` where the file has none.

    Raises:
        SourceError: A file is missing or damaged, or the version is another.
        GateError: A file is too large or leaves the folder.
    """
    version = codebase_version(root)
    if major_version(root) != major:
        raise SourceError(f"{root.name}: codebase_version {version or 'not given'}; this reads {' and '.join(known)}")
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
    slices, problems = _modality(root)
    if version not in known:
        problems.append(f"codebase_version {version} is read like {known[-1]}; known are {', '.join(known)}")
    totals = ("total_episodes", "total_frames", "total_tasks")
    return Info(
        root=root,
        version=version,
        fps=float(fps),
        robot_type=clip(printable(_text(info.get("robot_type"))), 200),
        chunks_size=chunks_size,
        data_path=_text(info.get("data_path")) or templates[0],
        video_path=_text(info.get("video_path")) or templates[1],
        features={str(k): _feature(v) for k, v in features.items() if isinstance(v, dict)},
        totals={k: n for k in totals if isinstance(n := info.get(k), int) and not isinstance(n, bool)},
        splits=_splits(info.get("splits")),
        slices=slices,
        problems=tuple(problems),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _feature(feature: Mapping[str, object]) -> FeatureInfo:
    shape = feature.get("shape")
    declared: dict[str, object] = {}
    for key in ("video_info", "info"):
        part = feature.get(key)
        if isinstance(part, dict):
            declared.update(part)
    return FeatureInfo(
        dtype=_text(feature.get("dtype")),
        shape=tuple(n for n in shape if isinstance(n, int)) if isinstance(shape, list) else (),
        names=element_names(feature.get("names")),
        codec=_text(declared.get("video.codec")),
        depth=_depth(declared),
    )


def _depth(declared: Mapping[str, object]) -> str:
    """In words, how a depth video's pixels become metres."""
    if not (declared.get("is_depth_map") is True or declared.get("video.is_depth_map") is True):
        return ""
    names = ("depth_unit", "video.depth_min", "video.depth_max", "video.shift", "video.use_log")
    said = [f"{n.removeprefix('video.')} {clip(printable(str(declared[n])), 20)}" for n in names if n in declared]
    return ", ".join(said) or "nothing said of its unit"


def element_names(names: object) -> tuple[str, ...]:
    """Names of a vector's elements, of all the forms that writers give them.

    Seen: a list; a list in a list; an object of lists (`{"motors": […]}`); an object of indices; null.
    """
    if isinstance(names, dict) and names and all(type(v) is int for v in names.values()):
        order = sorted(names, key=lambda name: int(names[name]))
        return tuple(map(str, order)) if sorted(names.values()) == list(range(len(names))) else ()
    found: list[str] = []
    for name in _leaves(names, 0):
        if not isinstance(name, str) or len(found) >= MAX_NAMES:
            return ()
        found.append(name)
    return tuple(found)


def _leaves(names: object, depth: int) -> Iterator[object]:
    if depth > 4 or not isinstance(names, list | dict):
        yield names
        return
    for part in names.values() if isinstance(names, dict) else names:
        yield from _leaves(part, depth + 1)


def _splits(splits: object) -> dict[str, tuple[int, int]]:
    found = {}
    for name, span in splits.items() if isinstance(splits, dict) else ():
        match = re.fullmatch(r"(\d{1,12}):(\d{1,12})", str(span))
        if match:
            found[clip(printable(str(name)), 80)] = int(match[1]), int(match[2])
    return found


def _modality(root: Path) -> tuple[dict[str, Slice], list[str]]:
    """Names of parts of vectors; and what is odd about them."""
    if not inside(root, "meta/modality.json").is_file():
        return {}, []
    found: dict[str, Slice] = {}
    problems = []
    for group, default in (("state", "observation.state"), ("action", "action"), ("video", ""), ("annotation", "")):
        parts = read_json(root, "meta/modality.json").get(group)
        for name, part in parts.items() if isinstance(parts, dict) else ():
            key = f"{group}.{name}"
            said = part if isinstance(part, dict) else {}
            column = _text(said.get("original_key")) or default or key
            start, stop = said.get("start", 0), said.get("end", 0)
            if type(start) is int and type(stop) is int and (group in _WHOLE or 0 <= start < stop):
                found[key] = Slice(column=column, start=start, stop=stop)
            else:
                problems.append(f"modality.json: {clip(printable(key), 80)} is no slice; must have start and end")
    return found, problems
