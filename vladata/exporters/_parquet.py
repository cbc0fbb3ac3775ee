"""Parquet shards straight from offsets and bytes: no Python object per frame, hashed while written.

Image columns lie uncompressed, without dictionary and statistics, because JPEG does not get smaller and copying it is
the whole cost of a shard; the small columns are compressed. Row groups are small enough for random access.
"""

import contextlib
import hashlib
import queue
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from ..tokenizers import TokenRows

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["MAGIC", "ShardWriter", "WrittenFile", "image_array", "list_array", "matrix_array", "rows_array"]

COMPRESSION_LEVEL = 3
FORMAT_VERSION = "2.6"
PAGE_BYTES = 1 << 20
MAGIC = b"PAR1"
_NOTHING = bytes(PAGE_BYTES)
BATCH_VALUES = 16
"""Values between two looks at a page's size: pages of images stay near a megabyte, and so in the processor's cache."""


PENDING_PAGES = 8
"""Pages that may wait to be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenFile:
    """What a file holds."""

    size: int
    sha256: str


class _HashingFile:
    """A binary file that hashes what passes; just enough of a file for Arrow.

    Writing and hashing go on in a thread while Arrow makes the next page: together they take as long as all the rest.
    """

    def __init__(self, path: Path, skip: int = 0) -> None:
        self._file = path.open("wb")
        self._skip = skip
        self.sha = hashlib.sha256()
        self.size = 0
        self.closed = False
        self.is_dropped = False
        self._error: Exception | None = None
        self._pages: queue.Queue[bytes | None] = queue.Queue(maxsize=PENDING_PAGES)
        self._thread = threading.Thread(target=self._drain, daemon=True)
        self._thread.start()

    def _drain(self) -> None:
        while (page := self._pages.get()) is not None:
            if self._error is None and not self.is_dropped:
                try:
                    self.put(page)
                except Exception as error:  # noqa: BLE001 - raised again by the next call, in the thread that writes
                    self._error = error

    def put(self, page: bytes) -> None:
        """Write and hash."""
        self._file.write(page)
        self.sha.update(page)

    def write(self, data: "bytes | pa.Buffer") -> int:
        if self._error is not None:
            raise self._error
        if self._skip:
            self._skip -= len(data)
            return len(data)
        page = bytes(data)  # Arrow gives bytes of its own, which are not copied here
        if not self.is_dropped:
            self._pages.put(page)
        self.size += len(page)
        return len(page)

    def drop(self) -> None:
        """Throw away what comes from now on."""
        self.is_dropped, self._error = True, None

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        """Arrow calls it after each row group; the page cache is enough until the fsync at the end."""

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._pages.put(None)
        self._thread.join()
        with contextlib.closing(self._file):
            if self._error is not None and not self.is_dropped:
                raise self._error

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False


class ShardWriter:
    """One Parquet file, row group by row group; the file is not whole until `close`."""

    def __init__(self, path: Path, schema: "pa.Schema", image_columns: Sequence[str], *, start: int = 0) -> None:
        """Create the file.

        Args:
            path: Where.
            schema: Of all columns.
            image_columns: Those of encoded images.
            start: Bytes that will lie before this file, whose places count from there; it has no magic of its own.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._schema = schema
        small = [leaf for leaf in _leaves(schema) if leaf.split(".list.")[0] not in set(image_columns)]
        pixels = {f"{name}.bytes" for name in image_columns}
        small = [leaf for leaf in small if leaf not in pixels]
        self._file = _HashingFile(path, skip=start)
        sink = pa.PythonFile(self._file, mode="w")
        self._writer = pq.ParquetWriter(
            sink,
            schema,
            version=FORMAT_VERSION,
            compression=dict.fromkeys(small, "zstd") | dict.fromkeys(pixels, "none"),
            compression_level=dict.fromkeys(small, COMPRESSION_LEVEL),
            use_dictionary=_texts(schema),
            write_statistics=small,
            write_page_index=True,
            data_page_size=PAGE_BYTES,
            write_batch_size=BATCH_VALUES,
            store_schema=True,
        )
        # Arrow wants to begin at 0, and counts what it writes: the magic and these bytes are thrown away.
        for place in range(len(MAGIC), start, PAGE_BYTES):
            sink.write(memoryview(_NOTHING[: min(PAGE_BYTES, start - place)]))

    def write(self, columns: "Mapping[str, pa.Array | pa.ChunkedArray]") -> None:
        """Write one row group."""
        import pyarrow as pa

        table = pa.table([columns[n] for n in self._schema.names], schema=self._schema)
        if table.num_rows:
            self._writer.write_table(table, row_group_size=table.num_rows)

    def close(self) -> WrittenFile:
        """Write the footer; the caller syncs and renames."""
        self._writer.close()
        self._file.close()
        return WrittenFile(size=self._file.size, sha256=self._file.sha.hexdigest())

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of a file whose writing was broken off; removing it is the caller's."""
        if self._file.closed:
            return
        # Arrow writes a footer even when it is thrown away; on a full disk that would be a second error.
        self._file.drop()
        with contextlib.suppress(OSError):
            self._writer.close()
        with contextlib.suppress(OSError):
            self._file.close()


def _leaves(schema: "pa.Schema") -> list[str]:
    """Dotted paths of the Parquet columns of a schema."""
    import pyarrow as pa

    def walk(prefix: str, kind: "pa.DataType") -> list[str]:
        if pa.types.is_struct(kind):
            return [leaf for f in kind for leaf in walk(f"{prefix}.{f.name}", f.type)]
        if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
            return walk(f"{prefix}.list.element", kind.value_type)
        return [prefix]

    return [leaf for field in schema for leaf in walk(field.name, field.type)]


def _texts(schema: "pa.Schema") -> list[str]:
    """Columns of text, which repeat from row to row."""
    import pyarrow as pa

    return [field.name for field in schema if pa.types.is_string(field.type)]


def image_array(data: "bytes | pa.Buffer", offsets: NDArray[np.int64]) -> "pa.Array":
    """Encoded images as the struct of bytes and path that the Image feature stores, without a copy.

    Args:
        data: Encoded images end to end.
        offsets: Where each begins and ends in them, [N + 1]; at most 2 GiB.

    Returns:
        N structs; no image has a path.
    """
    import pyarrow as pa

    places = np.ascontiguousarray(offsets, dtype=np.int32)
    count = len(places) - 1
    encoded = pa.Array.from_buffers(pa.binary(), count, [None, pa.py_buffer(places), pa.py_buffer(data)])
    return pa.StructArray.from_arrays([encoded, pa.nulls(count, pa.string())], names=["bytes", "path"])


def matrix_array(values: NDArray[np.generic]) -> "pa.Array":
    """Numbers of any shape, [N, …], as nested lists of fixed size."""
    import pyarrow as pa

    array = pa.array(np.ascontiguousarray(values).reshape(-1))
    for size in reversed(values.shape[1:]):
        array = pa.FixedSizeListArray.from_arrays(array, size)
    return array


def rows_array(rows: TokenRows) -> "pa.Array":
    """Rows of tokens as lists of int32."""
    import pyarrow as pa

    offsets = pa.array(rows.offsets.astype(np.int32))
    return pa.ListArray.from_arrays(offsets, pa.array(rows.values.astype(np.int32)))


def list_array(rows: Sequence[NDArray[np.int32]]) -> "pa.Array":
    """Rows of different lengths as lists of int32."""
    return rows_array(TokenRows.of(rows))
