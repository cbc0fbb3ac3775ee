"""Tables of numbers beside videos: CSV, JSON lines and Parquet, opened by their suffix."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .. import workers
from ..errors import GateError, SourceError
from ..gate import check_size
from ..text import clip, printable
from ._json_files import is_lfs_pointer
from ._text_tables import CsvTable, JsonTable, TextTable

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["SUFFIXES", "ParquetTable", "Table", "TextTable", "open_table"]

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")

MAX_FILE = 2**36
"""A table; only the columns that are asked for lie in memory."""
MAX_ROWS = 20_000_000
MAX_BYTES = 2**28
"""Of the columns that are asked for, unpacked."""
_BATCH = 1024
_BUFFER = 2**20
_NESTED = 8

Numbers = NDArray[np.generic]


class ImageColumn:
    """Encoded images that lie in a column; satisfies `Frames`."""

    def __init__(self, column: "pa.Array") -> None:
        """Keep a binary array without nulls."""
        self._column = column

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Bytes of each, [N]."""
        import pyarrow.compute as pc

        return np.asarray(pc.binary_length(self._column), dtype=np.int64)

    @property
    def order(self) -> NDArray[np.int64]:
        """Where each lies in the column, [N]."""
        sizes = self.sizes
        return np.asarray(np.cumsum(sizes) - sizes, dtype=np.int64)

    def read(self, index: int) -> memoryview:
        """The encoded bytes of one."""
        return memoryview(self._column[index].as_buffer()).cast("B")


class ParquetTable:
    """A Parquet file."""

    def __init__(self, path: Path, name: str) -> None:
        """Read the footer.

        Args:
            path: The file.
            name: Relative to the recording, for errors.

        Raises:
            SourceError: Not Parquet, damaged, or with two columns of one name.
            GateError: Too many rows.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.path, self.name = path, name
        self.notes: list[str] = []
        self.is_cut = False
        self._errors: tuple[type[Exception], ...] = (pa.ArrowException, OSError, UnicodeDecodeError)
        try:
            self._file = pq.ParquetFile(path, memory_map=False, buffer_size=_BUFFER)
            self._schema = self._file.schema_arrow
        except self._errors as error:
            raise SourceError(f"{name}: damaged Parquet: {clip(printable(str(error)), 200)}") from error
        self.columns: tuple[str, ...] = tuple(self._schema.names)
        if len(set(self.columns)) != len(self.columns):
            twice = next(c for c in self.columns if self.columns.count(c) > 1)
            raise SourceError(f"{name}: {self.columns.count(twice)} columns are named {printable(twice)!r}")
        self.count: int = self._file.metadata.num_rows
        if not 0 <= self.count <= MAX_ROWS:
            raise GateError(f"{name}: {self.count:,} rows; must have at most {MAX_ROWS:,}")
        self._columns: dict[str, pa.Array] = {}
        self._bytes = 0

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def type_of(self, column: str) -> str:
        """Arrow's name of a column's type."""
        return str(self._schema.field(column).type)

    def load(self, columns: Iterable[str]) -> None:
        """Read columns, those that are there.

        Raises:
            SourceError: The file is damaged.
            GateError: The columns unpack to too much.
        """
        wanted = set(columns)
        try:
            for column in self.columns:
                if column in wanted and column not in self._columns:
                    self._columns[column] = self._read(column)
        except self._errors as error:
            raise SourceError(f"{self.name}: damaged Parquet: {clip(printable(str(error)), 200)}") from error

    def _read(self, column: str) -> "pa.Array":
        # In batches, because sizes in the footer may lie.
        import pyarrow as pa

        batches = []
        for batch in self._file.iter_batches(batch_size=_BATCH, columns=[column], use_threads=False):
            workers.beat()
            if batch.num_columns != 1:
                raise SourceError(f"{self.name}: {printable(column)} is no plain column")
            batches.append(batch.column(0))
            self._bytes += batch.nbytes
            if self._bytes > MAX_BYTES:
                raise GateError(f"{self.name}: mapped columns of more than {MAX_BYTES:,} bytes; must have at most that")
        if sum(len(b) for b in batches) != self.count:
            raise SourceError(f"{self.name}: {printable(column)} has not the {self.count} rows that are declared")
        array = pa.concat_arrays(batches) if batches else pa.array([], self._schema.field(column).type)
        array.validate(full=True)
        return array

    def column(self, column: str) -> "pa.Array":
        """The values of a loaded column as they are typed.

        Raises:
            SourceError: There is no such column.
        """
        if column not in self._columns:
            shown = clip(printable(", ".join(self.columns)), 300)
            raise SourceError(f"{self.name}: no column {printable(column)!r}; there are {shown}")
        return self._columns[column]

    def numbers(self, column: str) -> tuple[Numbers, int]:
        """The values of a numeric column, [N] or [N, D] (deeper lists are laid out one after another).

        Returns:
            The values, and how many are missing, which are NaN.

        Raises:
            SourceError: No such column, not numeric, or lists of different lengths.
        """
        import pyarrow as pa

        array = self.column(column)
        width, is_list = 1, False
        for _ in range(_NESTED):
            if not isinstance(array.type, pa.ListType | pa.LargeListType | pa.FixedSizeListType):
                break
            inner = self._length(array, column)
            array = array.flatten()
            width, is_list = width * inner, True
        kind = array.type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
            raise SourceError(f"{self.name}: {printable(column)} is {self.type_of(column)}; must be numeric")
        missing = array.null_count
        if missing and not pa.types.is_floating(kind):
            array = array.cast(pa.int8()) if pa.types.is_boolean(kind) else array
            array = array.cast(pa.float64(), safe=False)
        values: Numbers = np.asarray(array.to_numpy(zero_copy_only=False))
        return (values.reshape(self.count, width) if is_list else values), missing

    def _length(self, array: "pa.Array", column: str) -> int:
        """How many elements each list has."""
        import pyarrow.compute as pc

        if array.null_count:
            row = int(np.flatnonzero(np.asarray(array.is_null()))[0])
            raise SourceError(f"{self.name}: {printable(column)} has no list at place {row}")
        lengths = np.asarray(pc.list_value_length(array), dtype=np.int64)
        if len(lengths) and (lengths != lengths[0]).any():
            row = int(np.flatnonzero(lengths != lengths[0])[0])
            raise SourceError(
                f"{self.name}: {printable(column)} has {lengths[0]} values at first and {lengths[row]} at place {row}; "
                "all rows must have as many"
            )
        return int(lengths[0]) if len(lengths) else 1

    def texts(self, column: str) -> list[str] | None:
        """The texts of a column, empty where there is none; None where it holds no texts.

        Raises:
            SourceError: No such column, or a text that is not UTF-8.
        """
        import pyarrow as pa

        array = self.column(column)
        if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
            return None
        known: dict[str, str] = {}
        return [known.setdefault(t, t) for t in (item.as_py() or "" for item in array)]

    def images(self, column: str) -> ImageColumn:
        """The encoded images of a column: bytes, or a struct with bytes.

        Raises:
            SourceError: No such column, no bytes in it, or not in every row.
        """
        import pyarrow as pa

        array = self.column(column)
        if pa.types.is_struct(array.type) and array.type.get_field_index("bytes") >= 0:
            array = array.flatten()[array.type.get_field_index("bytes")]
        if not (pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type)):
            raise SourceError(f"{self.name}: {printable(column)} is {self.type_of(column)}; must be encoded images")
        if array.null_count:
            row = int(np.flatnonzero(np.asarray(array.is_null()))[0])
            raise SourceError(f"{self.name}: {printable(column)} has no image at row {row}")
        return ImageColumn(array)


Table = TextTable | ParquetTable


def open_table(path: Path, name: str) -> Table:
    """Open a table by its suffix and read its columns' names.

    Args:
        path: The file.
        name: Relative to the recording, for errors.

    Raises:
        SourceError: Not a table of that kind, or without columns.
        GateError: A limit is broken.
        OSError: The file can't be opened.
    """
    check_size(path, MAX_FILE)
    if is_lfs_pointer(path):
        raise SourceError(f"{name}: a Git LFS pointer, not the file itself; fetch it: git lfs pull")
    if path.suffix == ".parquet":
        return ParquetTable(path, name)
    return JsonTable(path, name) if path.suffix in {".jsonl", ".ndjson"} else CsvTable(path, name)
