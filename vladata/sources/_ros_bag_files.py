"""What a path is as a ROS bag: which files hold its messages, in which order, and what metadata.yaml says of them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from ..documents import read_yaml
from ..errors import GateError, SchemaError, SourceError
from ..gate import inside
from ..text import clip, printable
from ._mcap_file import MAGIC as MCAP_MAGIC
from ._ros_bag_sqlite import MAGIC as SQLITE_MAGIC
from ._ros_bag_sqlite import is_bag_file
from ._ros_bag_unpack import ZSTD_MAGIC, first_bytes

__all__ = ["Bag", "Metadata", "find_bag", "is_bag", "storage_kind"]

METADATA = "metadata.yaml"
STORAGE_SUFFIXES = (".db3", ".mcap", ".db3.zstd", ".mcap.zstd")
MAX_FILES = 10_000

_KEY = b"rosbag2_bagfile_information"
_PART = re.compile(r"(?P<stem>.+)_(?P<number>0|[1-9]\d{0,5})(?P<suffix>\.(?:db3|mcap)(?:\.zstd)?)")
_DEFAULT_NAME = re.compile(r"rosbag2_\d{4}(_\d\d){2}-(\d\d_){2}\d\d")
_RUN = re.compile(r"(\d+)")

StorageKind = Literal["bag", "sqlite", "mcap", "sqlite.zstd", "mcap.zstd", ""]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What metadata.yaml says; empty where it doesn't."""

    files: tuple[str, ...] = ()
    """Names without folders, in the order of the recording."""
    formats: dict[str, str] = field(default_factory=dict)
    """How messages are serialized, by topic."""
    topics: dict[str, str] = field(default_factory=dict)
    """Their types."""
    distro: str = ""
    compression_mode: str = ""
    num_messages: int | None = None
    facts: dict[str, str] = field(default_factory=dict)
    """What the user wrote into the bag, and what wrote it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bag:
    """One recording: its storage files in order."""

    name: str
    files: tuple[Path, ...]
    metadata: Metadata = Metadata()
    metadata_file: Path | None = None
    notes: tuple[str, ...] = ()
    is_lossy: bool = False
    """Whether files of it are missing."""

    @property
    def size(self) -> int:
        """Bytes of all storage files."""
        return sum(f.stat().st_size for f in self.files)


def storage_kind(path: Path) -> StorageKind:
    """What a file is, by its first bytes and, where it is packed, by those inside; empty where it is no storage."""
    with path.open("rb") as file:
        start = file.read(16)
    if start.startswith(b"#ROSBAG V"):
        return "bag"
    if start.startswith(ZSTD_MAGIC):
        start = first_bytes(path, 16)
        return "sqlite.zstd" if start == SQLITE_MAGIC else "mcap.zstd" if start.startswith(MCAP_MAGIC) else ""
    return "sqlite" if start == SQLITE_MAGIC else "mcap" if start.startswith(MCAP_MAGIC) else ""


def is_bag(path: Path) -> bool:
    """Whether a file or folder is a recording of its own that is read as a bag.

    A folder that holds nothing but one plain MCAP file is none: the file in it is the recording.
    """
    if path.is_dir():
        return _is_bag_folder(path)
    if not path.is_file():
        return False
    kind = storage_kind(path)
    if kind == "sqlite":
        return is_bag_file(path)
    if kind == "sqlite.zstd":
        start = first_bytes(path, 1 << 16).lower()
        return all(re.search(rb"create table \W?%s\b" % t, start) for t in (b"topics", b"messages"))
    return kind in {"bag", "mcap.zstd"} or (kind == "mcap" and _is_ros2_mcap(path))


def _is_ros2_mcap(path: Path) -> bool:
    """Whether the header of an MCAP file, its first record, says that a ROS 2 recorder wrote it."""
    with path.open("rb") as file:
        head = file.read(len(MCAP_MAGIC) + 9 + 8)[len(MCAP_MAGIC) :]
    return head[:1] == b"\x01" and head[9:] == b"\x04\0\0\0ros2"


def _is_bag_folder(folder: Path) -> bool:
    files = _storage_files(folder)
    metadata = folder / METADATA
    if metadata.is_file():
        with metadata.open("rb") as file:
            has_key = _KEY in file.read(1 << 12)
        if has_key and len(files) == 1 and files[0].name.endswith(".mcap"):
            found = _read_metadata(metadata)[0]
            return len(found.files) > 1 or found.compression_mode == "message"
        if has_key:
            return True
    return _is_split(folder, files)


def _is_split(folder: Path, files: Sequence[Path]) -> bool:
    """Whether storage files without metadata are parts of one bag: named by the recorder after their folder."""
    parts = [_PART.fullmatch(f.name) for f in files]
    if len(files) < 2 or not all(parts):
        return False
    kinds = {(p["stem"], p["suffix"]) for p in parts if p}
    stem = parts[0]["stem"] if parts[0] else ""
    return len(kinds) == 1 and (stem == folder.resolve().name or bool(_DEFAULT_NAME.fullmatch(stem)))


def _storage_files(folder: Path) -> list[Path]:
    """Storage files of a folder, in the order of the numbers in their names."""
    found = [p for p in folder.iterdir() if p.name.endswith(STORAGE_SUFFIXES) and not p.name.startswith(".")]
    return sorted(
        (p for p in found if p.is_file()),
        key=lambda p: ([int(s) if s.isdecimal() else s for s in _RUN.split(p.name)], p.name),
    )


def find_bag(path: Path) -> Bag:
    """Find out what belongs to a bag.

    Raises:
        SourceError: There is no storage file.
        GateError: A name leads out of the folder.
    """
    name = path.name or path.resolve().name
    if not path.is_dir():
        return Bag(name=name, files=(path,), notes=(*_beside(path), *_part_note(path)))
    present = _storage_files(path)
    if len(present) > MAX_FILES:
        raise GateError(f"{name}: {len(present):,} storage files; must have at most {MAX_FILES:,}")
    present = [inside(path, file.name) for file in present]
    metadata_file = path / METADATA
    if not metadata_file.is_file():
        if not present:
            raise SourceError(f"{name}: holds neither {METADATA} nor storage files (.db3, .mcap)")
        note = f"there is no {METADATA}; files were read in the order of the numbers in their names"
        return Bag(name=name, files=tuple(present), notes=(note, *_gaps(present), *_beside(*present)))
    metadata, notes = _read_metadata(metadata_file)
    files, more, is_lossy = _files(path, metadata, present)
    if not files:
        listed = clip(printable(", ".join(metadata.files)), 200) or "none"
        raise SourceError(f"{name}: {METADATA} lists the files {listed}; none is there, nor any other storage file")
    return Bag(
        name=name,
        files=tuple(files),
        metadata=metadata,
        metadata_file=metadata_file,
        notes=(*notes, *more, *_beside(*files)),
        is_lossy=is_lossy,
    )


def _files(folder: Path, metadata: Metadata, present: list[Path]) -> tuple[list[Path], list[str], bool]:
    """Storage files in the order of the metadata; notes on those that are missing or not listed."""
    if not metadata.files:
        return present, [], False
    resolved = {name: _resolve(folder, name) for name in metadata.files}
    rest = [p for p in present if p not in resolved.values()]
    missing = [name for name, file in resolved.items() if file is None]
    if missing and rest and (len(missing) == len(metadata.files) or len(missing) == len(rest) == 1):
        listed, found = clip(printable(", ".join(missing)), 200), clip(", ".join(p.name for p in rest), 200)
        note = f"{METADATA} lists {listed}, which is not there; {printable(found)} is read instead"
        instead = iter(rest)
        if len(missing) == len(metadata.files):
            return rest, [note], len(rest) < len(missing)
        return [file or next(instead) for file in resolved.values()], [note], False
    notes = []
    if missing:
        listed = clip(printable(", ".join(missing)), 200)
        notes.append(f"{len(missing)} of {len(metadata.files)} files of the bag are missing: {listed}")
    if rest:
        found = clip(printable(", ".join(p.name for p in rest)), 200)
        notes.append(f"{found}: not listed in {METADATA}, not read")
    return [file for file in resolved.values() if file is not None], notes, bool(missing)


def _resolve(folder: Path, name: str) -> Path | None:
    """A listed file, also where it was packed or unpacked since."""
    for candidate in (name, f"{name}.zstd", name.removesuffix(".zstd")):
        path = inside(folder, candidate)
        if path.is_file():
            return path
    return None


def _gaps(files: Sequence[Path]) -> list[str]:
    numbers = [int(p["number"]) for p in (_PART.fullmatch(f.name) for f in files) if p]
    missing = sorted(set(range(max(numbers, default=0))) - set(numbers)) if len(numbers) == len(files) else []
    if not missing or len(missing) > MAX_FILES:
        return []
    shown = clip(", ".join(map(str, missing)), 100)
    return [f"files are numbered from {numbers[0]} to {numbers[-1]}; there is none with the number {shown}"]


def _beside(*files: Path) -> tuple[str, ...]:
    """Say where a recorder left what it had not yet put into the database."""
    notes = []
    for file in files:
        journal = file.with_name(f"{file.name}-wal")
        size = journal.stat().st_size if journal.is_file() else 0
        if size:
            notes.append(
                f"{printable(journal.name)} ({size:,} bytes) lies beside the database; messages that are only in it "
                "were not read"
            )
    return tuple(notes)


def _part_note(path: Path) -> tuple[str, ...]:
    """Say where somebody named one file of a bag that has several."""
    folder = path.absolute().parent
    if not path.name.endswith(STORAGE_SUFFIXES) or len(_storage_files(folder)) < 2 or not _is_bag_folder(folder):
        return ()
    return ("the file is one of several of a ROS 2 bag; name its folder to read all of them as one recording",)


def _read_metadata(path: Path) -> tuple[Metadata, list[str]]:
    """What metadata.yaml says; nothing, and a note, where it can't be used."""
    try:
        document = read_yaml(path)
    except SchemaError as error:
        return Metadata(), [f"{METADATA} can't be used ({error}); files were read in the order of their numbers"]
    info = document.get(_KEY.decode()) if isinstance(document, dict) else None
    if not isinstance(info, dict):
        return Metadata(), [f"{METADATA} has no {_KEY.decode()}; files were read in the order of their numbers"]
    files = [PurePosixPath(f).name for f in _items(info, "relative_file_paths") if isinstance(f, str)]
    formats, topics = {}, {}
    for item in _items(info, "topics_with_message_count"):
        topic = item.get("topic_metadata") if isinstance(item, dict) else None
        if isinstance(topic, dict):
            name = _word(topic, "name")
            formats[name], topics[name] = _word(topic, "serialization_format"), _word(topic, "type")
    count = info.get("message_count")
    return Metadata(
        files=tuple(dict.fromkeys(f for f in files if f)),
        formats=formats,
        topics=topics,
        distro=_word(info, "ros_distro"),
        compression_mode=_word(info, "compression_mode").lower(),
        num_messages=count if isinstance(count, int) and not isinstance(count, bool) else None,
        facts=_facts(info),
    ), []


def _items(info: dict[object, object], key: str) -> list[object]:
    value = info.get(key)
    return value if isinstance(value, list) else []


def _word(info: dict[object, object], key: str) -> str:
    value = info.get(key)
    return value if isinstance(value, str) else ""


def _facts(info: dict[object, object]) -> dict[str, str]:
    custom = info.get("custom_data")
    facts = {f"custom.{k}": v for k, v in custom.items() if isinstance(v, str)} if isinstance(custom, dict) else {}
    facts["ros_distro"] = _word(info, "ros_distro")
    return {printable(clip(n, 100)): printable(v) for n, v in sorted(facts.items()) if v and len(v) <= 200}
