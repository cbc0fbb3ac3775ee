"""HDF5 files of strangers: through the gate first, then read in pieces of bounded size.

Whatever libhdf5 raises on damaged data becomes a SourceError with file and place.
"""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError
from ..gate import check_hdf5, hdf5_access
from ..text import clip, printable
from ..workers import beat
from ._hdf5_heaps import check_chunks, check_heaps
from ._hdf5_types import DatasetInfo, Value, is_hdf5, kind_of, plain
from ._json_files import is_lfs_pointer

if TYPE_CHECKING:
    import h5py

__all__ = ["DatasetInfo", "Hdf5File", "Value", "is_hdf5", "open_hdf5"]

MAX_NUMBERS_BYTES = 256 * 2**20
"""One dataset that is read whole."""
MAX_TOTAL_BYTES = 384 * 2**20
"""All that are read whole while a file is open: they stay in memory until the episode is written."""
MAX_ROWS = 10_000_000
MAX_TEXTS = 100_000
MAX_TEXT = 2**20
"""Characters of one text."""
MAX_TEXTS_BYTES = 64 * 2**20
MAX_ATTRIBUTE_ITEMS = 4_096
MAX_LISTED = 1_000
BLOCK_BYTES = 4 * 2**20

_DAMAGE = (OSError, RuntimeError, ValueError, KeyError, IndexError, TypeError, OverflowError)
"""What h5py raises on data that does not fit together; all of them are the file's fault here."""


@contextlib.contextmanager
def open_hdf5(path: Path, *, only: Sequence[str] | None = None) -> Iterator["Hdf5File"]:
    """Pass a file through the gate and open it for reading.

    Args:
        path: The file.
        only: Paths of what will be read, as `check_hdf5` takes them: a file may hold a thousand demonstrations, of
            which one is wanted. Nothing else can be read then. None: everything.

    Raises:
        GateError: The file breaks a limit, reaches for other files, or is damaged.
        SourceError: It is a pointer of Git LFS.
    """
    import h5py

    if path.is_file() and is_lfs_pointer(path):
        raise SourceError(f"{printable(path.name)}: a Git LFS pointer, not the file itself; fetch it: git lfs pull")
    check_hdf5(path, only=only)
    check_heaps(path)
    name = printable(path.name)
    try:
        file = h5py.File(h5py.h5f.open(str(path).encode(), h5py.h5f.ACC_RDONLY, fapl=hdf5_access()))
    except _DAMAGE as error:
        raise SourceError(f"{name}: not a readable HDF5 file: {clip(printable(str(error)), 200)}") from error
    try:
        yield Hdf5File(file, name, only, path.stat().st_size)
    finally:
        with contextlib.suppress(*_DAMAGE):  # damage that only shows on closing changes nothing that was read
            file.close()


class Hdf5File:
    """An open file that has passed the gate."""

    def __init__(self, file: "h5py.File", name: str, only: Sequence[str] | None, num_bytes: int) -> None:
        """Read an open file of some size under a name; of it only what the gate has looked at."""
        self._file = file
        self.name = name
        self._only = None if only is None else [o.strip("/") + ("/" if o.endswith("/") else "") for o in only]
        self._left = MAX_TOTAL_BYTES
        self._num_bytes = num_bytes
        self._seen: set[str] = set()
        self._objects: dict[str, h5py.Group | h5py.Dataset | None] = {}
        self._infos: dict[str, DatasetInfo] = {}

    # What there is

    def kind(self, path: str) -> str:
        """`group`, `dataset`, or empty where there is nothing of that path."""
        import h5py

        found = self._find(path)
        return "" if found is None else "group" if isinstance(found, h5py.Group) else "dataset"

    def members(self, path: str = "") -> list[str]:
        """Names in a group, sorted as text; empty where it is no group."""
        import h5py

        found = self._find(path)
        if not isinstance(found, h5py.Group):
            return []
        with self._damage(path):
            return sorted(_utf8(name) for name in found)

    def datasets(self, path: str = "") -> list[DatasetInfo]:
        """All datasets below a group, or the dataset itself, sorted by path."""
        found: list[DatasetInfo] = []
        todo = [path.strip("/")]
        while todo:
            beat()
            place = todo.pop()
            kind = self.kind(place)
            if kind == "group":
                todo += [f"{place}/{n}".lstrip("/") for n in reversed(self.members(place))]
            elif kind == "dataset":
                found.append(self.info(place))
        return found

    def info(self, path: str) -> DatasetInfo:
        """What a dataset declares.

        Raises:
            SourceError: There is none of that path; with what there is.
        """
        import h5py

        if path in self._infos:
            return self._infos[path]
        found = self._find(path)
        if not isinstance(found, h5py.Dataset):
            what = "is a group; must be a dataset" if found is not None else "is not there"
            raise SourceError(f"{self.name}: {_shown(path)} {what}")
        with self._damage(path):
            kind, name = kind_of(found.dtype)
            chunks = found.chunks
            self._infos[path] = DatasetInfo(
                path=path.strip("/"),
                shape=tuple(int(n) for n in found.shape or ()) if found.shape is not None else (0,),
                dtype=name,
                kind=kind,
                itemsize=int(found.dtype.itemsize),
                chunk_rows=int(chunks[0]) if chunks else 1,
                fields=tuple(found.dtype.names or ()),
            )
        return self._infos[path]

    # Attributes

    def attribute_names(self, path: str = "") -> list[str]:
        """Names of the attributes of a group or dataset, sorted, those that are UTF-8; empty where there is nothing."""
        found = self._find(path)
        if found is None:
            return []
        with self._damage(path):
            return sorted(name for name in found.attrs if isinstance(name, str))

    def attribute(self, path: str, name: str) -> Value | tuple[Value, ...] | None:
        """The value of an attribute, an array as a tuple; None where there is none, or it is no text or number.

        Raises:
            SourceError: It is damaged or has too many items.
        """
        found = self._find(path)
        if found is None:
            return None
        with self._damage(f"{path}@{name}"):
            if name not in found.attrs:
                return None
            count = int(np.prod(found.attrs.get_id(name).shape or (), dtype=np.float64))
            if count > MAX_ATTRIBUTE_ITEMS:
                return None  # nothing that is read here has more
            return plain(found.attrs[name])

    def text(self, path: str, name: str) -> str:
        """An attribute as text, clipped at `MAX_TEXT` characters; empty where there is none or it is an array."""
        value = self.attribute(path, name)
        return "" if value is None or isinstance(value, tuple) else str(value)[:MAX_TEXT]

    # Values

    def numbers(self, path: str, rows: range | None = None, field: str | None = None) -> NDArray[np.generic]:
        """Read a numeric dataset, in this machine's byte order.

        Args:
            path: The dataset.
            rows: Of the first axis, step 1; None: all.
            field: Of records: the one to read.

        Returns:
            [N, …] in the dataset's own type; a single value as [1].

        Raises:
            SourceError: It is not there, not numeric, too large, or damaged.
        """
        info = self.info(path)
        if field is not None:
            self._require_field(info, field)
        elif info.kind != "numeric":
            raise SourceError(f"{self.name}: {_shown(path)} is {info.what}; must be numbers")
        size = info.row_bytes * (info.rows if rows is None else len(rows))
        if size > min(MAX_NUMBERS_BYTES, self._left) or info.rows > MAX_ROWS:
            raise SourceError(
                f"{self.name}: {_shown(path)} is {info.what}, {size:,} bytes; must be at most "
                f"{MAX_NUMBERS_BYTES:,}, {MAX_TOTAL_BYTES:,} together with the others, in at most {MAX_ROWS:,} rows"
            )
        self._left -= size
        values = self._block(info, rows)
        if field is not None:
            records: NDArray[np.void] = values.astype(values.dtype, copy=False)
            values = records[field]
        return np.ascontiguousarray(values).astype(values.dtype.newbyteorder("="), copy=False)

    def _require_field(self, info: DatasetInfo, field: str) -> None:
        if info.kind != "record" or field not in info.fields:
            there = f", fields {_shown(', '.join(info.fields))}" if info.kind == "record" else ""
            raise SourceError(f"{self.name}: {_shown(info.path)} is {info.what}{there}; no field {_shown(field)}")
        with self._damage(info.path):
            dtype = self._file[info.path].dtype[field].base
        if dtype.kind not in "biuf" or dtype.itemsize > 8:
            raise SourceError(f"{self.name}: {_shown(info.path)}.{_shown(field)} is {dtype}; must be numbers")

    def forget(self) -> None:
        """Count anew what is read whole: what was read before is no longer kept."""
        self._left = MAX_TOTAL_BYTES

    def rows(self, info: DatasetInfo, rows: range) -> NDArray[np.generic]:
        """Read some rows as they are stored; the caller bounds their size.

        Raises:
            SourceError: They are damaged.
        """
        beat()
        return self._block(info, rows)

    def texts(self, path: str) -> tuple[list[str], bool]:
        """The texts of a dataset, and whether some were not UTF-8 and have replacement characters.

        Raises:
            SourceError: It is not there, no text, too large, or damaged.
        """
        info = self.info(path)
        count = int(np.prod(info.shape, dtype=np.float64))
        if info.kind != "text" or count != info.rows:
            raise SourceError(f"{self.name}: {_shown(path)} is {info.what}; must be texts, one in a row")
        if count > MAX_TEXTS or info.itemsize > MAX_TEXT:
            raise SourceError(f"{self.name}: {_shown(path)} has {count:,} texts; must have at most {MAX_TEXTS:,}")
        found = list(self._items(info, MAX_TEXT))
        texts = [t.decode("utf-8", "replace") for t in found]
        return texts, any(t.encode() != b for t, b in zip(texts, found, strict=True))

    def item(self, info: DatasetInfo, row: int, max_bytes: int) -> bytes:
        """The bytes of one row of a dataset of byte vectors or texts.

        Raises:
            SourceError: They are damaged, or more than `max_bytes`.
        """
        with self._damage(info.path):
            dataset = self._dataset(info.path)
            value = dataset[()] if not info.shape else dataset[row]
            if isinstance(value, np.ndarray) and value.size == 1 and info.kind == "text":
                value = value.reshape(-1)[0]
            data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else bytes(value)
        if len(data) > max_bytes:
            where = f"{self.name}: {_shown(info.path)}"
            raise SourceError(f"{where} has {len(data):,} bytes in row {row}; must have at most {max_bytes:,}")
        return data

    def _items(self, info: DatasetInfo, max_bytes: int, total: int | None = MAX_TEXTS_BYTES) -> Iterator[bytes]:
        """One by one: many rows of varying length may point to the same large value."""
        size = 0
        for row in range(info.rows):
            beat()
            data = self.item(info, row, max_bytes)
            size += len(data)
            if total is not None and size > total:
                raise SourceError(f"{self.name}: {_shown(info.path)} has over {total:,} bytes; must have fewer")
            yield data

    def digest(self, paths: Sequence[str], owners: Sequence[str] = ()) -> tuple[int, str]:
        """Size and SHA-256 of the values of datasets, with their paths, types and shapes.

        Args:
            paths: Groups or datasets.
            owners: Groups or datasets whose attributes count as well.

        Raises:
            SourceError: They are damaged.
        """
        sha, size = hashlib.sha256(), 0
        for path in paths:
            for info in self.datasets(path):
                sha.update(f"{info.path} {info.what}\n".encode("utf-8", "surrogatepass"))
                for block in self._contents(info):
                    sha.update(block)
                    size += len(block)
        for owner in owners:
            for name in self.attribute_names(owner):
                sha.update(f"{owner}@{name} {self.attribute(owner, name)!r}\n".encode("utf-8", "surrogatepass"))
        return size, sha.hexdigest()

    def _contents(self, info: DatasetInfo) -> Iterator[bytes]:
        if info.kind in {"text", "bytes"} and len(info.shape) <= 1:
            for data in self._items(info, MAX_NUMBERS_BYTES, total=None):
                yield len(data).to_bytes(8, "little") + data
        elif info.kind in {"numeric", "text", "record"} and info.row_bytes:
            step = max(1, max(BLOCK_BYTES, info.chunk_rows * info.row_bytes) // info.row_bytes)
            step = min(step, max(1, 64 * 2**20 // info.row_bytes))
            for start in range(0, info.rows, step):
                beat()
                values = self._block(info, range(start, min(start + step, info.rows)))
                yield b"" if values.dtype.hasobject else np.ascontiguousarray(values).tobytes()

    def _block(self, info: DatasetInfo, rows: range | None) -> NDArray[np.generic]:
        with self._damage(info.path):
            dataset = self._dataset(info.path)
            if dataset.shape is None:  # declared without a place for values
                return np.zeros(0, dtype=dataset.dtype)
            if not info.shape:
                return np.atleast_1d(np.asarray(dataset[()]))
            values: NDArray[np.generic] = dataset[()] if rows is None else dataset[rows.start : rows.stop]
        return values

    # Ways

    def _dataset(self, path: str) -> "h5py.Dataset":
        """A dataset whose values are read; its chunks are looked at before the first are."""
        dataset = self._find(path)
        if path not in self._seen:
            check_chunks(dataset, self._num_bytes)
            self._seen.add(path)
        return dataset

    def _find(self, path: str) -> "h5py.Group | h5py.Dataset | None":
        path = path.strip("/")
        if not self._is_gated(path):
            raise SourceError(f"{self.name}: {_shown(path)} is not what was asked for")
        if path not in self._objects:
            with self._damage(path):
                self._objects[path] = self._file[path or "/"] if not path or path in self._file else None
        return self._objects[path]

    def _is_gated(self, path: str) -> bool:
        if self._only is None or not path:
            return True
        deep = [o for o in self._only if not o.endswith("/")]
        return any(path == o or path.startswith(f"{o}/") for o in deep) or any(
            f"{o}/".startswith(f"{path}/") for o in self._only
        )

    @contextlib.contextmanager
    def _damage(self, path: str) -> Iterator[None]:
        try:
            yield
        except (*_DAMAGE, SourceError) as error:
            raise SourceError(
                f"{self.name}: {_shown(path)} is damaged: {clip(printable(str(error)), 200) or type(error).__name__}"
            ) from error


def _utf8(name: str | bytes) -> str:
    """A name; h5py gives bytes for one that is not UTF-8."""
    if isinstance(name, bytes):
        raise ValueError(f"member {name!a} is not UTF-8")
    return name


def _shown(path: str) -> str:
    return clip(printable(path.strip("/") or "/"), 200)
