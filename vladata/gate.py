"""Untrusted files, before anything in them is parsed: paths, sizes, and what an HDF5 file would make a reader do.

A refusal names the limit. The gate itself opens nothing that a file points to; it still belongs into a worker process,
because HDF5 can crash on files that are damaged with intent.
"""

import re
import stat
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from .errors import GateError
from .text import clip, printable
from .workers import beat

if TYPE_CHECKING:
    from h5py import h5a, h5d, h5g, h5o, h5p, h5t

__all__ = [
    "MAX_CHUNK_BYTES",
    "MAX_DEPTH",
    "MAX_OBJECTS",
    "check_hdf5",
    "check_size",
    "hdf5_access",
    "inside",
    "template_path",
]

MAX_OBJECTS = 10_000
"""Groups and datasets of an HDF5 file; an episode has about a hundred, and walking 10,000 takes under a second."""
MAX_DEPTH = 16
"""Nested groups; recordings have at most six."""
MAX_CHUNK_BYTES = 64 * 2**20
"""An HDF5 chunk, decompressed: reading one element reads all of it. Image chunks have about one megabyte."""
MAX_EXPANSION = 200
"""Declared bytes for each stored byte; gzip of sensor data stays below 50, of zeros reaches 1,000."""
SLACK_BYTES = 64 * 2**20
"""Declared bytes without any stored ones: values that were never written, and small arrays of zeros."""
MAX_ATTRIBUTES = 1_000
"""Attributes of one object."""
MAX_ATTRIBUTE_BYTES = 2**20
"""One attribute; it is always read whole."""

_MAX_NAME = 1_000
_MAX_PATH = 4_000
_TYPES = {2: "time", 4: "bitfield", 5: "opaque", 6: "compound", 7: "reference", 9: "vlen", 10: "array", 11: "complex"}
_FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 32000: "lzf"}


# Paths --------------------------------------------------------------------------------------------------------------


def inside(root: Path, relative: str) -> Path:
    """The path of a file that a foreign text names, once it is sure that it lies under a folder.

    Args:
        root: The folder.
        relative: Path below it, with `/`; the file need not exist.

    Returns:
        `root / relative`. Links on the way are followed for the check, and must end inside as well.

    Raises:
        GateError: An absolute path, `..`, control characters, backslashes, or a link that leaves the folder.
    """
    _check_relative(relative)
    path = root / relative
    try:
        is_inside = path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError) as error:  # links in a circle, names that are too long
        raise GateError(f"path {_shown(relative)} can't be resolved; it must stay under {root}") from error
    if not is_inside:
        raise GateError(f"path {_shown(relative)} is a link out of its folder; it must stay under {root}")
    return path


def _check_relative(relative: str) -> None:
    parts = relative.split("/")
    if not relative or relative.startswith(("/", "~")) or ".." in parts or len(relative) > _MAX_PATH:
        raise GateError(f"path {_shown(relative)} is not a relative path; it must stay under its folder")
    if "\\" in relative or any(unicodedata.category(c) in {"Cc", "Cf", "Cs"} for c in relative):
        raise GateError(f"path {_shown(relative)} has control characters or backslashes; it must have neither")


def _shown(text: str) -> str:
    return clip(ascii(text), 200)


def check_size(path: Path, limit: int) -> int:
    """The size of a regular file.

    Args:
        path: The file; anything else (a pipe, a device) never ends.
        limit: The largest size in bytes that its reader holds in memory.

    Raises:
        GateError: Not a regular file, or above the limit.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise GateError(f"{printable(path.name)}: not a regular file; must be one")
    if status.st_size > limit:
        raise GateError(f"{printable(path.name)}: {status.st_size:,} bytes; must have at most {limit:,}")
    return status.st_size


_PLACE = re.compile(r"\{([^{}]*)\}")
_NUMBER = re.compile(r"(episode_chunk|episode_index|chunk_index|file_index)(?::0([1-9])d)?")
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,199}")


def template_path(template: str, values: Mapping[str, int | str]) -> str:
    """Fill a path template that comes out of a file, such as LeRobot's `data_path`; it is never formatted as it is.

    Args:
        template: Text with places like `{episode_index:06d}`, `{chunk_index}` or `{video_key}`.
        values: What the places stand for; more than the template has do no harm.

    Returns:
        A relative path.

    Raises:
        GateError: An unknown place, a value that can't be part of a path, or a path that leaves its folder.
    """
    if len(template) > _MAX_PATH:
        raise GateError(f"path template has {len(template):,} characters; must have at most {_MAX_PATH:,}")
    if re.search(r"[{}]", _PLACE.sub("", template)):
        raise GateError(f"path template {_shown(template)} has braces that don't match")
    path = _PLACE.sub(lambda found: _filled(template, found[1], values), template)
    _check_relative(path)
    return path


def _filled(template: str, place: str, values: Mapping[str, int | str]) -> str:
    number = _NUMBER.fullmatch(place)
    name = number[1] if number else place
    if name not in values or not (number or place == "video_key"):
        known = ", ".join(sorted(values))
        raise GateError(f"path template {_shown(template)} has the place {_shown(place)}; known here: {known}")
    value = values[name]
    if number:
        if not isinstance(value, int) or not 0 <= value < 10**12:
            raise GateError(f"{name} is {_shown(str(value))}; must be a number from 0 on")
        return f"{value:0{int(number[2] or 0)}d}"
    if not isinstance(value, str) or not _WORD.fullmatch(value):
        raise GateError(f"{name} is {_shown(str(value))}; must have letters, digits, '_', '-' and '.' only")
    return value


# HDF5 ---------------------------------------------------------------------------------------------------------------


def check_hdf5(
    path: Path,
    *,
    only: Sequence[str] | None = None,
    max_objects: int = MAX_OBJECTS,
    max_depth: int = MAX_DEPTH,
    max_chunk_bytes: int = MAX_CHUNK_BYTES,
    max_bytes: int | None = None,
) -> None:
    """Refuse an HDF5 file that would make its reader open other files, run in circles, or take absurd memory.

    All links, layouts, filters, types and sizes are looked at; no value is read and no link is followed.

    Args:
        path: The file.
        only: Paths of what will be read, without overlap; the rest is not looked at, apart from the groups on the
            way. With a `/` at its end a path stands for the group itself, not for what is in it. None: everything.
        max_objects: Groups and datasets.
        max_depth: Nested groups.
        max_chunk_bytes: One chunk, decompressed.
        max_bytes: Size of the file; None: any.

    Raises:
        GateError: With the place in the file, what was found, and what must be.
    """
    import h5py

    size = check_size(path, 2**63 if max_bytes is None else max_bytes)
    walk = _Walk(
        name=printable(path.name),
        file_bytes=size,
        max_objects=max_objects,
        max_depth=max_depth,
        max_chunk_bytes=max_chunk_bytes,
    )
    try:
        file = h5py.h5f.open(str(path).encode(), h5py.h5f.ACC_RDONLY, fapl=hdf5_access())
    except (OSError, RuntimeError, ValueError) as error:
        raise GateError(f"{walk.name}: not a readable HDF5 file: {clip(printable(str(error)), 200)}") from error
    try:
        walk.run(h5py.h5g.open(file, b"/"), only)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise GateError(f"{walk.name}: damaged HDF5: {clip(printable(str(error)), 200)}") from error
    finally:
        file.close()


def hdf5_access() -> "h5p.PropFAID":
    """How foreign files are opened; the same everywhere, for one process can't open a file in two ways at once."""
    import h5py

    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    access.set_file_locking(False, True)  # reading must work on read-only and network file systems
    return access


@dataclass(slots=True, kw_only=True)
class _Walk:
    """One pass over all objects, without recursion."""

    name: str
    file_bytes: int
    max_objects: int
    max_depth: int
    max_chunk_bytes: int
    stored: int = 0
    declared: int = 0
    seen: set[int] = field(default_factory=set)

    def run(self, root: "h5g.GroupID", only: Sequence[str] | None) -> None:
        """Look at everything that hangs on the root, or on some paths."""
        from h5py import h5g

        todo: list[tuple[h5o.ObjectID, str, int]]
        todo = [(root, "/", 0)] if only is None else self._starts(root, only)
        while todo:
            beat()
            item, place, depth = todo.pop()
            self._check_itself(item, place)
            if not isinstance(item, h5g.GroupID):
                continue
            if depth >= self.max_depth:
                self._refuse(place, f"nested {depth + 1} deep; must be at most {self.max_depth}")
            todo += [(child, f"{place.rstrip('/')}/{name}", depth + 1) for child, name in self._children(item, place)]

    def _starts(self, root: "h5g.GroupID", only: Sequence[str]) -> "list[tuple[h5o.ObjectID, str, int]]":
        """What lies at some paths, where it is there; looks at the groups on the way."""
        from h5py import h5g

        known: dict[str, h5o.ObjectID] = {"/": root}
        starts: list[tuple[h5o.ObjectID, str, int]] = []
        self._check_itself(root, "/")
        for path in only:
            parts = [p for p in path.split("/") if p]
            item, place = root, "/"
            for depth, part in enumerate(parts, start=1):
                if not isinstance(item, h5g.GroupID) or part.encode() not in item:
                    break
                place = f"{place.rstrip('/')}/{part}"
                if place not in known:
                    known[place] = self._member(item, part.encode(), item.links.get_info(part.encode()).type, place)
                    if depth == len(parts) and not path.endswith("/"):
                        starts.append((known[place], place, depth))
                    else:
                        self._check_itself(known[place], place)
                item = known[place]
        return starts

    def _check_itself(self, item: "h5o.ObjectID", place: str) -> None:
        from h5py import h5g

        self._check_new(item, place)
        self._check_attributes(item, place)
        if not isinstance(item, h5g.GroupID):
            self._check_dataset(item, place)

    def _refuse(self, place: str, what: str) -> NoReturn:
        raise GateError(f"{self.name}: {clip(printable(place), 200)}: {what}")

    def _check_new(self, item: "h5o.ObjectID", place: str) -> None:
        from h5py import h5o

        address = h5o.get_info(item).addr
        if address in self.seen:
            self._refuse(place, "is linked twice; every object must have one name")
        self.seen.add(address)

    def _children(self, group: "h5g.GroupID", place: str) -> "list[tuple[h5o.ObjectID, str]]":
        count = len(self.seen) + group.get_num_objs()
        if count > self.max_objects:
            self._refuse(place, f"{count:,} objects so far; must be at most {self.max_objects:,}")
        links: list[tuple[bytes, int]] = []
        group.links.iterate(lambda name, info: links.append((name, info.type)), info=True)
        children = []
        for name, kind in links:
            text = self._checked_name(name, place)
            children.append((self._member(group, name, kind, f"{place.rstrip('/')}/{text}"), text))
        return children

    def _member(self, group: "h5g.GroupID", name: bytes, kind: int, place: str) -> "h5o.ObjectID":
        from h5py import h5d, h5g, h5l, h5o

        if kind != h5l.TYPE_HARD:
            word = {h5l.TYPE_SOFT: "a soft link", h5l.TYPE_EXTERNAL: "a link to another file"}.get(kind, "a link")
            self._refuse(place, f"is {word}; must be a plain member")
        child = h5o.open(group, name)
        if not isinstance(child, (h5g.GroupID, h5d.DatasetID)):
            self._refuse(place, "is a named type; must be a group or a dataset")
        return child

    def _checked_name(self, name: bytes, place: str) -> str:
        try:
            text = name.decode()
        except UnicodeDecodeError:
            self._refuse(place, "has a member whose name is not UTF-8")
        if text in {"", ".", ".."} or "/" in text or len(text) > _MAX_NAME or not text.isprintable():
            self._refuse(place, f"has a member named {_shown(text)}; must be a plain name")
        return text

    def _check_attributes(self, item: "h5o.ObjectID", place: str) -> None:
        from h5py import h5a

        count = h5a.get_num_attrs(item)
        if count > MAX_ATTRIBUTES:
            self._refuse(place, f"{count:,} attributes; must be at most {MAX_ATTRIBUTES:,}")
        for index in range(count):
            attribute = h5a.open(item, index=index)
            self._check_type(attribute.get_type(), place, 0)
            size = _num_bytes(attribute)
            if size > MAX_ATTRIBUTE_BYTES:
                self._refuse(place, f"attribute of {size:,} bytes; must have at most {MAX_ATTRIBUTE_BYTES:,}")

    def _check_dataset(self, dataset: "h5d.DatasetID", place: str) -> None:
        from h5py import h5d

        plan = dataset.get_create_plist()
        layout = plan.get_layout()
        if layout not in {h5d.COMPACT, h5d.CONTIGUOUS, h5d.CHUNKED}:
            self._refuse(place, "is a virtual dataset; must hold its values itself")
        if plan.get_external_count():
            self._refuse(place, "keeps its values in another file; must hold them itself")
        datatype = dataset.get_type()
        self._check_type(datatype, place, 0)
        if layout == h5d.CHUNKED:
            self._check_chunks(plan, datatype.get_size(), place)
        declared, stored = _num_bytes(dataset), dataset.get_storage_size()
        if layout == h5d.CONTIGUOUS:
            offset = dataset.get_offset()
            stored = 0 if offset is None else stored
            if offset is not None and offset + stored > self.file_bytes:
                self._refuse(place, f"ends at byte {offset + stored:,}; the file has {self.file_bytes:,}")
        self.stored += stored
        self.declared += declared
        if self.stored > self.file_bytes:
            self._refuse(place, f"{self.stored:,} bytes stored so far; the file has {self.file_bytes:,}")
        for size, base in ((declared, stored), (self.declared, self.file_bytes)):
            if size > MAX_EXPANSION * base + SLACK_BYTES:
                limit = f"at most {MAX_EXPANSION} times as many and {SLACK_BYTES:,}"
                self._refuse(place, f"declares {size:,} bytes on {base:,} stored ones; must be {limit}")

    def _check_chunks(self, plan: "h5p.PropDCID", item_bytes: int, place: str) -> None:
        size = item_bytes
        for length in plan.get_chunk():
            size *= length
        if size > self.max_chunk_bytes:
            self._refuse(place, f"chunks of {size:,} bytes; must have at most {self.max_chunk_bytes:,}")
        for index in range(plan.get_nfilters()):
            code = plan.get_filter(index)[0]
            if code not in _FILTERS:
                self._refuse(place, f"filter {code}; must be {', '.join(_FILTERS.values())}")

    def _check_type(self, datatype: "h5t.TypeID", place: str, depth: int) -> None:
        from h5py import h5t

        kind, size = datatype.get_class(), datatype.get_size()
        inner: list[h5t.TypeID] = []
        if kind in {h5t.INTEGER, h5t.FLOAT}:
            is_good = size <= 16
        elif kind == h5t.STRING:
            is_good = size <= self.max_chunk_bytes
        elif kind == h5t.ENUM:
            is_good = datatype.get_nmembers() <= 1_000 and size <= 8
        elif kind == h5t.VLEN:
            is_good = datatype.get_super().get_class() in {h5t.INTEGER, h5t.FLOAT}
        elif kind == h5t.COMPOUND:
            is_good = depth < 2 and datatype.get_nmembers() <= 256
            inner = [datatype.get_member_type(i) for i in range(datatype.get_nmembers())] if is_good else []
        else:
            is_good = kind == h5t.ARRAY and depth < 2 and size <= self.max_chunk_bytes
            inner = [datatype.get_super()] if is_good else []
        if not is_good:
            name = _TYPES.get(kind, "number" if kind < 2 else "text or choice")
            self._refuse(place, f"type {name} of {size:,} bytes; must be numbers, texts, or flat records of these")
        for member in inner:
            self._check_type(member, place, depth + 1)


def _num_bytes(values: "h5d.DatasetID | h5a.AttrID") -> int:
    """Declared size; exact, however absurd."""
    space = values.get_space()
    size = int(values.get_type().get_size())
    for length in space.get_simple_extent_dims() or ():
        size *= int(length)
    return size
