"""Parquet files of strangers: columns in ranges of rows, a few megabytes at a time, and images one by one."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .. import workers
from ..errors import SourceError
from ..text import clip, printable

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

__all__ = ["ColumnDigest", "ColumnFrames", "ParquetRows", "is_bytes", "parquet_errors", "plain"]

Int64Array = NDArray[np.int64]

_BATCH_BYTES = 2**23
_BATCH_ROWS = 4096
_BUFFER = 2**20


def parquet_errors() -> tuple[type[Exception], ...]:
    """What pyarrow raises for damaged files."""
    import pyarrow as pa

    return (pa.ArrowException, OSError, UnicodeDecodeError)


class ParquetRows:
    """An open parquet file, read in batches of bounded size."""

    def __init__(self, path: Path, name: str) -> None:
        """Read the footer.

        Args:
            path: The file.
            name: Relative to the dataset, for messages.

        Raises:
            SourceError: The file is not parquet, or has no footer.
        """
        self.name = name
        self._path = path
        self._errors = parquet_errors()
        try:
            self._file = self._open(None)
            self.schema: pa.Schema = self._file.schema_arrow
        except self._errors as error:
            raise SourceError(f"{name}: {_reason(error)}") from error
        self.columns: tuple[str, ...] = tuple(self.schema.names)
        if len(set(self.columns)) < len(self.columns):
            self.close()
            twice = next(c for c in self.columns if self.columns.count(c) > 1)
            raise SourceError(f"{name}: column {clip(printable(twice), 100)!r} comes twice; names must differ")
        self.count: int = self._file.metadata.num_rows
        sizes = [self._file.metadata.row_group(k).num_rows for k in range(self._file.metadata.num_row_groups)]
        self._starts = np.concatenate([[0], np.cumsum(np.asarray(sizes, dtype=np.int64))])
        self._batch_sizes: dict[str, int] = {}

    def _open(self, metadata: "pq.FileMetaData | None") -> "pq.ParquetFile":
        import pyarrow.parquet as pq

        # buffered, and nothing in advance: else a column of images of a whole row group lies in memory
        return pq.ParquetFile(
            self._path,
            metadata=metadata,
            memory_map=False,
            buffer_size=_BUFFER,
            pre_buffer=False,
            page_checksum_verification=True,
        )

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, column: str, runs: Sequence[tuple[int, int]]) -> "Iterator[pa.Array]":
        """The values of a column in ranges of rows, in order, a few megabytes at a time.

        Raises:
            SourceError: The file is damaged, or the column is there twice.
        """
        try:
            for start, stop in runs:
                count = 0
                for array in self._range(column, start, stop):
                    workers.beat()
                    count += len(array)
                    yield array
                if count != stop - start:
                    raise SourceError(
                        f"{self.name}: {column} has {count} values in rows {start} to {stop}; the file declares "
                        f"{stop - start}"
                    )
        except self._errors as error:
            raise SourceError(f"{self.name}: {_reason(error)}") from error

    def _range(self, column: str, start: int, stop: int) -> "Iterator[pa.Array]":
        first = max(0, int(np.searchsorted(self._starts, start, side="right")) - 1)
        for group in range(first, len(self._starts) - 1):
            position = int(self._starts[group])
            if position >= stop:
                return
            if int(self._starts[group + 1]) <= start:
                continue
            for array in self._batches(column, group, self._batch_rows(column, group)):
                low, high = max(0, start - position), min(len(array), stop - position)
                position += len(array)
                if low < high:
                    yield array.slice(low, high - low)
                if position >= stop:
                    return

    def _batch_rows(self, column: str, group: int) -> int:
        """Rows that make about a batch, by the size of one: what the footer says of sizes may be wrong."""
        import pyarrow as pa

        if column not in self._batch_sizes:
            row = next(iter(self._batches(column, group, 1)), None)
            size = 1 if row is None else max(1, row.nbytes)
            is_fixed = pa.types.is_primitive(_leaf(self.schema.field(column).type))
            limit = _BATCH_ROWS if is_fixed else _BATCH_ROWS // 16
            self._batch_sizes[column] = min(max(1, _BATCH_BYTES // size), limit)
        return self._batch_sizes[column]

    def _batches(self, column: str, group: int, batch_rows: int) -> "Iterator[pa.Array]":
        # In batches also because asking pyarrow for the sizes of a damaged column ends the process; through a file of
        # its own because pyarrow has one batch size for all readers of a file.
        with self._open(self._file.metadata) as file:
            for batch in file.iter_batches(
                batch_size=batch_rows, row_groups=[group], columns=[column], use_threads=False
            ):
                # a name that ends where another has a dot selects both
                place = batch.schema.get_field_index(column)
                if place < 0:
                    raise SourceError(f"{self.name}: column {printable(column)!r} is not there once")
                yield plain(batch.column(place))


def _leaf(kind: "pa.DataType") -> "pa.DataType":
    """The type of the elements of nested lists."""
    import pyarrow as pa

    while True:
        if isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
        elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
            kind = kind.value_type
        else:
            return kind


def plain(array: "pa.Array") -> "pa.Array":
    """The same values without what only some readers know: extension types (arrays of datasets) and dictionaries."""
    import pyarrow as pa

    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


class ColumnFrames:
    """Encoded images that lie in a column, unpacked batch by batch; satisfies `Frames`."""

    def __init__(self, batches: "Callable[[], Iterator[pa.Array]]", first_order: int) -> None:
        """Look at all images once: how large each is, and a digest of all.

        Args:
            batches: Gives the images anew at each call: binary arrays without nulls.
            first_order: Where the first lies in the reading order of the recording.
        """
        import pyarrow.compute as pc

        sha, sizes = hashlib.sha256(), [np.zeros(0, dtype=np.int64)]
        for array in batches():
            sizes.append(np.asarray(pc.binary_length(array), dtype=np.int64))
            for k in range(len(array)):
                sha.update(array[k].as_buffer())
        self._batches = batches
        self._sizes = np.concatenate(sizes)
        self._first = first_order
        self.digest = sha.hexdigest()
        self._restart()

    def _restart(self) -> None:
        self._running = self._batches()
        self._start = self._stop = 0
        self._array: pa.Array | None = None

    @property
    def sizes(self) -> Int64Array:
        """Bytes of each, [N]."""
        return self._sizes

    @property
    def order(self) -> Int64Array:
        """Where each lies in the column, [N]."""
        order: Int64Array = self._first + np.cumsum(self._sizes) - self._sizes
        return order

    @property
    def size(self) -> int:
        """Bytes of all."""
        return int(self._sizes.sum())

    def read(self, index: int) -> memoryview:
        """The encoded bytes of one; an earlier one than the last costs reading from the first on.

        Raises:
            SourceError: The file is damaged.
        """
        if index < self._start:
            self._restart()
        while index >= self._stop:
            self._array = next(self._running)
            self._start, self._stop = self._stop, self._stop + len(self._array)
        assert self._array is not None
        return memoryview(self._array[index - self._start].as_buffer()).cast("B")


class ColumnDigest:
    """SHA-256 over the values of a column, whatever files, row groups, batches and encodings they come in."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._parts: dict[str, hashlib._Hash] = {}

    def add(self, array: "pa.Array", where: str = "") -> None:
        """Take in the next values."""
        import pyarrow as pa
        import pyarrow.compute as pc

        array, kind = plain(array), plain(array).type
        self._take(f"{where}?", np.asarray(array.is_null()).astype(np.uint8))
        if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
            lengths = pc.fill_null(pc.list_value_length(array), 0)
            self._take(f"{where}[]", np.asarray(lengths, dtype=np.int64))
            self.add(array.flatten(), f"{where}[")
        elif pa.types.is_struct(kind):
            for field, child in zip(kind, array.flatten(), strict=True):
                self.add(child, f"{where}.{field.name}")
        elif is_bytes(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
            data = pc.fill_null(array.cast(pa.large_binary()), b"")
            self._take(f"{where}#", np.asarray(pc.binary_length(data), dtype=np.int64))
            for k in range(len(data)):
                self._of(f"{where}*").update(data[k].as_buffer())
        elif pa.types.is_primitive(kind):
            values = np.asarray(pc.fill_null(array.cast(_number(kind)), 0).to_numpy(zero_copy_only=False))
            self._take(f"{where}:{kind}", values)
        else:  # rare types: as text
            self._of(f"{where}:{kind}").update(str(array.to_string(window=2**31 - 1)).encode("utf-8", "replace"))

    def _of(self, where: str) -> "hashlib._Hash":
        return self._parts.setdefault(where, hashlib.sha256())

    def _take(self, where: str, values: NDArray[np.generic]) -> None:
        self._of(where).update(np.ascontiguousarray(values).tobytes())

    @property
    def digest(self) -> str:
        """Of all values so far, hex."""
        lines = sorted(f"{where} {sha.hexdigest()}" for where, sha in self._parts.items())
        return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


def is_bytes(kind: "pa.DataType") -> bool:
    """Whether a type holds bytes of any length."""
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _number(kind: "pa.DataType") -> "pa.DataType":
    """A type of numbers that has the same bits: times count, truths are 0 and 1."""
    import pyarrow as pa

    if pa.types.is_boolean(kind):
        return pa.uint8()
    if pa.types.is_temporal(kind):
        return pa.int32() if kind.bit_width == 32 else pa.int64()
    return kind


def _reason(error: Exception) -> str:
    text = clip(printable(str(error)), 200)
    if isinstance(error, MemoryError):
        return f"a page of it takes more memory than there is: {text}"
    if "magic bytes" in text or "file size is" in text or "smaller than the minimum" in text:
        return "not parquet, or without its footer: the writer did not finish, or the file is cut off"
    return f"damaged parquet: {text[:1].lower()}{text[1:]}"
