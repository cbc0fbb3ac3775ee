"""zarr stores of format 2, in a folder or a ZIP file: their arrays, read by rows, within limits.

The store is read without the zarr package, so that nothing in its metadata can choose what code unpacks it. Source:
zarr storage specification, version 2.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import product
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import workers
from ..errors import GateError, SourceError, VladataError
from ..gate import check_size, inside
from ..text import clip, printable
from ._zarr_codecs import IMAGE_CODECS, check_codec, unpack
from ._zip_members import Member, ZipFile

__all__ = ["ENDS", "ZarrArray", "ZarrStore", "open_store"]

Int64Array = NDArray[np.int64]
Values = NDArray[np.generic]

MAX_ARRAYS = 500
MAX_META = 2**20
MAX_CHUNK = 2**26
"""A chunk, unpacked; one of the usual size has a megabyte."""
MAX_NUMBERS = 2**28
"""The rows of one array that are read at once."""
MAX_CHUNKS = 8_000_000
"""Of one array."""
ENDS = "meta/episode_ends"
_DTYPE = re.compile(r"[<>|][biuf][1248]")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\- ]{0,199}")
_CHUNK = np.dtype([("offset", "i8"), ("stored", "i8"), ("size", "i8"), ("crc", "u4"), ("method", "i4")])
_META = ("/.zarray", "/.zgroup", "/.zattrs")
_FILLS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


class _Folder:
    """A store in a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def arrays(self) -> list[str]:
        """Paths of the arrays, two levels deep."""
        found = [
            f"{group.name}/{path.name}"
            for group in sorted(p for p in self._root.iterdir() if p.is_dir())
            for path in sorted(group.iterdir())
            if (path / ".zarray").is_file()
        ]
        if len(found) > MAX_ARRAYS:
            raise GateError(f"{len(found)} arrays in the store; must be at most {MAX_ARRAYS}")
        return found

    def meta(self, key: str) -> bytes | None:
        """The content of a file of metadata; None where there is none."""
        return self._get(key, MAX_META)

    def chunk(self, array: "ZarrArray", index: tuple[int, ...]) -> bytes | None:
        """A chunk as stored; None where it is not."""
        return self._get(array.key(index), 2 * MAX_CHUNK)

    def _get(self, key: str, limit: int) -> bytes | None:
        path = inside(self._root, key)
        if not path.is_file():
            return None
        check_size(path, limit)
        return path.read_bytes()


class _ZipIndex:
    """Where the metadata and the chunks of a store lie in a ZIP file."""

    def __init__(self, zip_file: ZipFile, name: str) -> None:
        found = {n: m for n, m in zip_file.members() if n.endswith(_META)}
        if len(found) > 3 * MAX_ARRAYS:
            raise GateError(f"{name}: {len(found):,} files of metadata; must be at most {3 * MAX_ARRAYS}")
        ends = [n for n in found if n.endswith(f"{ENDS}/.zarray")]
        if len(ends) != 1:
            raise SourceError(f"{name}: {len(ends)} stores with {ENDS}; must have one")
        self.prefix = ends[0].removesuffix(f"{ENDS}/.zarray")
        self.meta = {n.removeprefix(self.prefix): m for n, m in found.items() if n.startswith(self.prefix)}
        self.chunks: dict[str, NDArray[np.void]] = {}

    def find_chunks(self, zip_file: ZipFile, arrays: "list[ZarrArray]") -> None:
        """Find the chunks of arrays, in one pass."""
        wanted = {a.name: a for a in arrays if len(self.chunks.get(a.name, ())) != prod(a.grid)}
        for name, array in wanted.items():
            self.chunks[name] = np.zeros(prod(array.grid), dtype=_CHUNK)
            self.chunks[name]["offset"] = -1
        if not wanted:
            return
        for full, member in zip_file.members():
            key = full.removeprefix(self.prefix)
            name = "/".join(key.split("/", 2)[:2])
            flat = wanted[name].flat_index(key) if name in wanted and full.startswith(self.prefix) else None
            if flat is not None:
                self.chunks[name][flat] = (member.offset, member.stored, member.size, member.crc, member.method)


@lru_cache(maxsize=2)
def _zip_index(path: str, _version: tuple[int, ...]) -> _ZipIndex:
    """The index of a file, kept: each of its episodes is a unit of work, and a directory has a million members."""
    with Path(path).open("rb") as file:
        return _ZipIndex(ZipFile(file, Path(path).name), Path(path).name)


class _Zip:
    """A store in a ZIP file."""

    def __init__(self, zip_file: ZipFile, index: _ZipIndex) -> None:
        self._zip, self._index = zip_file, index

    def arrays(self) -> list[str]:
        """Paths of the arrays, two levels deep."""
        found = sorted(k.removesuffix("/.zarray") for k in self._index.meta if k.endswith("/.zarray"))
        return [k for k in found if k.count("/") == 1]

    def meta(self, key: str) -> bytes | None:
        """The content of a member of metadata; None where there is none."""
        member = self._index.meta.get(key)
        return None if member is None else self._zip.read(member, MAX_META, key)

    def find_chunks(self, arrays: "list[ZarrArray]") -> None:
        """Find the chunks of arrays that will be read."""
        self._index.find_chunks(self._zip, arrays)

    def chunk(self, array: "ZarrArray", index: tuple[int, ...]) -> bytes | None:
        """A chunk as stored; None where it is not."""
        self.find_chunks([array])
        entry = self._index.chunks[array.name][int(np.ravel_multi_index(index, array.grid))]
        if entry["offset"] < 0:
            return None
        fields = (int(entry[f]) for f in ("offset", "stored", "size", "crc", "method"))
        return self._zip.read(Member(*fields), 2 * MAX_CHUNK, array.key(index))


class ZarrArray:
    """An array of a store."""

    def __init__(self, files: "_Folder | _Zip", name: str, where: str) -> None:
        """Read the metadata.

        Raises:
            SourceError: It is damaged, or of a type or compressor that is not read.
            GateError: It breaks a limit.
        """
        self.name, self._files, self._where = name, files, f"{where}: {name}"
        meta = _json(files.meta(f"{name}/.zarray"), f"{self._where}/.zarray")
        if meta.get("zarr_format") != 2:
            raise SourceError(f"{self._where} has zarr_format {_shown(meta.get('zarr_format'))}; must be 2")
        if meta.get("filters"):
            raise SourceError(f"{self._where} has filters {_shown(meta.get('filters'))}; must have none")
        dtype = meta.get("dtype")
        if not isinstance(dtype, str) or not _DTYPE.fullmatch(dtype):
            raise SourceError(f"{self._where} has dtype {_shown(dtype)}; must be numbers")
        self.dtype = np.dtype(dtype)
        self.shape = _lengths(meta.get("shape"), f"{self._where}: shape", 0)
        self.chunks = _lengths(meta.get("chunks"), f"{self._where}: chunks", 1)
        if len(self.shape) != len(self.chunks) or not self.shape:
            raise SourceError(f"{self._where} has shape {list(self.shape)} in chunks of {list(self.chunks)}")
        self.codec = check_codec(meta.get("compressor"), self._where)
        self._order = "F" if meta.get("order") == "F" else "C"
        self._separator = "/" if meta.get("dimension_separator") == "/" else "."
        self._fill = meta.get("fill_value")
        self.grid = tuple(-(-n // c) for n, c in zip(self.shape, self.chunks, strict=True))
        self._chunk_bytes = prod(self.chunks) * self.dtype.itemsize
        if self._chunk_bytes > MAX_CHUNK or prod(self.grid) > MAX_CHUNKS:
            raise GateError(
                f"{self._where} has {prod(self.grid):,} chunks of {self._chunk_bytes:,} bytes; must have at most "
                f"{MAX_CHUNKS:,} of {MAX_CHUNK:,}"
            )
        self.unstored: set[tuple[int, ...]] = set()
        """Chunks that were read and are not stored: they stand for the fill value."""
        self._last: tuple[tuple[int, ...], Values] | None = None

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Of one row."""
        return self.shape[1:]

    @property
    def is_one_row_a_chunk(self) -> bool:
        """Whether a chunk is just one row."""
        return self.chunks[0] == 1 and all(c >= n for c, n in zip(self.chunks[1:], self.shape[1:], strict=True))

    def key(self, index: tuple[int, ...]) -> str:
        """Of a chunk in the store."""
        return f"{self.name}/{self._separator.join(map(str, index))}"

    def flat_index(self, key: str) -> int | None:
        """Number of the chunk that a key names; None where it names none."""
        parts = key.removeprefix(f"{self.name}/").split(self._separator)
        if len(parts) != len(self.grid) or not all(p.isdecimal() and len(p) < 12 for p in parts):
            return None
        flat = 0
        for part, length in zip(parts, self.grid, strict=True):
            number = int(part)
            if number >= length:
                return None
            flat = flat * length + number
        return flat

    def stored(self, row: int) -> bytes | None:
        """The chunk of one row as it is stored; None where it is not.

        Raises:
            SourceError: It is damaged.
            GateError: It is too large.
        """
        workers.beat()
        return self._files.chunk(self, (row, *(0 for _ in self.shape[1:])))

    def rows(self, start: int, stop: int) -> Values:
        """Values of some rows, in this machine's byte order.

        Raises:
            SourceError: A chunk is damaged, or a row is not there.
            GateError: They are too large.
        """
        if not 0 <= start <= stop <= self.shape[0]:
            raise SourceError(f"{self._where} has {self.shape[0]} rows; there are no rows {start} to {stop}")
        size = (stop - start) * prod(self.row_shape) * self.dtype.itemsize
        if size > MAX_NUMBERS:
            raise GateError(f"{self._where}: {stop - start:,} rows of {size:,} bytes; must be at most {MAX_NUMBERS:,}")
        found = np.empty((stop - start, *self.row_shape), dtype=self.dtype.newbyteorder("="))
        length = self.chunks[0]
        for first in range(start // length, -(-stop // length)):
            for rest in product(*(range(n) for n in self.grid[1:])):
                workers.beat()
                chunk = self._chunk((first, *rest))
                low, high = max(start, first * length), min(stop, (first + 1) * length)
                places = [slice(k * c, min((k + 1) * c, n)) for k, c, n in self._axes(rest)]
                inner = [slice(0, p.stop - p.start) for p in places]
                found[low - start : high - start, *places] = chunk[low - first * length : high - first * length, *inner]
        return found

    def _axes(self, rest: tuple[int, ...]) -> Iterator[tuple[int, int, int]]:
        return zip(rest, self.chunks[1:], self.shape[1:], strict=True)

    def _chunk(self, index: tuple[int, ...]) -> Values:
        if self._last is not None and self._last[0] == index:
            return self._last[1]
        where = f"{self._where}: chunk {self._separator.join(map(str, index))}"
        data = self._files.chunk(self, index)
        if data is None:
            self.unstored.add(index)
            chunk: Values = np.full(self.chunks, self._fill_value(where), dtype=self.dtype)
        else:
            if self.codec in IMAGE_CODECS and self.dtype.itemsize > 2:
                raise SourceError(f"{where}: {self.codec} of {self.dtype.name}; must be uint8 or uint16")
            raw = unpack(self.codec, data, self._chunk_bytes, self.chunks, where)
            chunk = np.frombuffer(raw, dtype=self.dtype).reshape(self.chunks, order="F" if self._order == "F" else "C")
        self._last = (index, chunk)
        return chunk

    def _fill_value(self, where: str) -> float:
        value = _FILLS.get(self._fill, self._fill) if isinstance(self._fill, str) else self._fill
        if not isinstance(value, bool | int | float) or (isinstance(value, float) and self.dtype.kind in "iub"):
            raise SourceError(f"{where} is not stored, and its fill value is {_shown(self._fill)}; must be a number")
        if isinstance(value, int) and self.dtype.kind in "iu" and not _fits(value, self.dtype):
            raise SourceError(f"{where} is not stored, and its fill value {_shown(value)} is no {self.dtype.name}")
        return value


def _fits(value: int, dtype: np.dtype[np.generic]) -> bool:
    limits = np.iinfo(np.dtype(dtype.name))
    return int(limits.min) <= value <= int(limits.max)


class ZarrStore:
    """An open store: a group `data` of arrays that share their first axis, and the ends of the episodes."""

    def __init__(self, files: _Folder | _Zip, name: str) -> None:
        """Remember where the store lies."""
        self._files, self._name = files, name

    def names(self) -> list[str]:
        """Names of the arrays in `data`, sorted.

        Raises:
            GateError: There are too many.
        """
        return [a.removeprefix("data/") for a in self._files.arrays() if a.startswith("data/") and _is_plain(a)]

    def array(self, name: str) -> ZarrArray:
        """An array by its path.

        Raises:
            SourceError: There is none, or it is damaged or not read.
            GateError: It breaks a limit.
        """
        if not _is_plain(name) or name not in self._files.arrays():
            raise SourceError(f"{self._name}: no array {_shown(name)}; there are {clip(', '.join(self.names()), 300)}")
        return ZarrArray(self._files, name, self._name)

    def prepare(self) -> None:
        """Find the chunks of all arrays that can be read, in one pass over a ZIP file's directory.

        Raises:
            SourceError: The directory is damaged.
        """
        if isinstance(self._files, _Zip):
            self._files.find_chunks([a for a in map(self._readable, self._files.arrays()) if a is not None])

    def _readable(self, name: str) -> ZarrArray | None:
        try:
            return self.array(name)
        except VladataError:
            return None  # whoever asks for it is told why


def _is_plain(name: str) -> bool:
    return all(_PART.fullmatch(part) for part in name.split("/"))


@contextmanager
def open_store(path: Path) -> Iterator[ZarrStore]:
    """Open a store in a folder or a ZIP file.

    Raises:
        SourceError: The ZIP file is damaged, or holds no store or several; or the store is of zarr format 3.
        GateError: It breaks a limit.
        OSError: It can't be read.
    """
    name = printable(path.name)
    if path.is_dir():
        if (path / "zarr.json").is_file():
            raise SourceError(f"{name}: a store of zarr format 3; must be of format 2")
        yield ZarrStore(_Folder(path), name)
        return
    with path.open("rb") as file:
        status = path.stat()
        zip_file = ZipFile(file, name)
        version = (status.st_ino, status.st_size, status.st_mtime_ns)
        yield ZarrStore(_Zip(zip_file, _zip_index(str(path.absolute()), version)), name)


def _json(data: bytes | None, where: str) -> dict[str, object]:
    try:
        value = json.loads(data or b"")
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{where} is not JSON: {clip(printable(str(error)), 120)}") from error
    if not isinstance(value, dict):
        raise SourceError(f"{where} is a {type(value).__name__}; must be an object")
    return value


def _lengths(value: object, where: str, low: int) -> tuple[int, ...]:
    if isinstance(value, list) and len(value) <= 8:
        lengths = tuple(n for n in value if type(n) is int and low <= n < 2**40)
        if len(lengths) == len(value):
            return lengths
    raise SourceError(f"{where} is {_shown(value)}; must be lengths from {low} on")


def _shown(value: object) -> str:
    return clip(printable(repr(value)), 80)
