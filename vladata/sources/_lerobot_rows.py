"""The rows of one episode of a LeRobot dataset: columns as arrays, whatever files they lie in."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import GateError, SourceError
from ..text import clip, printable
from ._lerobot_parquet import ColumnDigest, ColumnFrames, ParquetRows, is_bytes, parquet_errors

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["MAX_ROWS", "RowPart", "Rows"]

Int64Array = NDArray[np.int64]

MAX_ROWS = 10_000_000
"""Of one episode."""
MAX_BYTES = 2**29
"""Of the columns that are read, unpacked; images don't count, they are read one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowPart:
    """Rows of one file."""

    path: Path
    name: str
    """Relative to the dataset, for messages."""
    runs: tuple[tuple[int, int], ...] | None = None
    """First row and the one after the last of each range, in order; None: all rows."""


class Rows:
    """The rows of one episode."""

    def __init__(self, parts: Sequence[RowPart]) -> None:
        """Read the footers.

        Args:
            parts: Where the rows are, in order.

        Raises:
            SourceError: A file is not parquet, has no footer, or the episode has no rows.
            GateError: There are too many rows.
        """
        self._files: list[tuple[ParquetRows, tuple[tuple[int, int], ...]]] = []
        self.name = parts[0].name
        self.files = tuple(dict.fromkeys(p.name for p in parts))
        self._columns: dict[str, pa.Array] = {}
        self._bytes = 0
        try:
            for part in parts:
                file = ParquetRows(part.path, part.name)
                self._files.append((file, ((0, file.count),) if part.runs is None else part.runs))
            self.count = sum(stop - start for _, runs in self._files for start, stop in runs)
            if self.count == 0:
                raise SourceError(f"{self.name}: 0 rows; an episode must have at least one")
            if self.count > MAX_ROWS:
                raise GateError(f"{self.name}: {self.count:,} rows; must have at most {MAX_ROWS:,}")
        except BaseException:
            self.close()
            raise
        first = self._files[0][0]
        self.columns = tuple(c for c in first.columns if all(c in f.columns for f, _ in self._files))

    def close(self) -> None:
        """Close the files."""
        for file, _ in self._files:
            file.close()

    def type_of(self, column: str) -> str:
        """Arrow's name of a column's type."""
        return str(self.arrow_type(column))

    def arrow_type(self, column: str) -> "pa.DataType":
        """Arrow's type of a column, as its (first) file declares it."""
        return self._files[0][0].schema.field(column).type

    def is_image(self, column: str) -> bool:
        """Whether a column holds bytes, or a struct with bytes."""
        import pyarrow as pa

        kind = self.arrow_type(column)
        if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            kind = kind.field("bytes").type
        return is_bytes(kind)

    def batches(self, column: str) -> "Iterator[pa.Array]":
        """The values of a column in order, a few megabytes at a time.

        Raises:
            SourceError: The column is missing, or the file damaged.
        """
        if column not in self.columns:
            raise SourceError(
                f"{self.name}: no column {printable(column)!r}; there are "
                f"{clip(printable(', '.join(self.columns)), 300)}"
            )
        for file, runs in self._files:
            yield from file.read(column, runs)

    def load(self, columns: Iterable[str]) -> None:
        """Keep columns, those that are there and are no images.

        Raises:
            SourceError: The file is damaged.
            GateError: The columns unpack to too much.
        """
        wanted = set(columns)
        for column in self.columns:
            if column in wanted and not self.is_image(column):
                self._loaded(column)

    def _loaded(self, column: str) -> "pa.Array":
        import pyarrow as pa

        if column not in self._columns:
            arrays = []
            for array in self.batches(column):
                arrays.append(array)
                self._bytes += array.nbytes
                if self._bytes > MAX_BYTES:
                    raise GateError(f"{self.name}: columns of more than {MAX_BYTES:,} bytes; must have at most that")
            if len({str(a.type) for a in arrays}) > 1:
                kinds = " and ".join(sorted({str(a.type) for a in arrays}))
                raise SourceError(f"{self.name}: {printable(column)} is {clip(kinds, 200)}; must be of one type")
            self._columns[column] = pa.concat_arrays(arrays)
        return self._columns[column]

    def digest(self, left_out: Iterable[str]) -> str:
        """SHA-256 over all columns but images, whatever files, row groups and encodings they lie in.

        Args:
            left_out: Columns that say where the episode lies in its dataset.

        Raises:
            SourceError: The file is damaged.
        """
        skipped = set(left_out)
        sha = hashlib.sha256()
        for column in sorted(self.columns):
            if column not in skipped and not self.is_image(column):
                values = ColumnDigest()
                try:
                    for array in self.batches(column):
                        values.add(array)
                except parquet_errors() as error:
                    raise SourceError(
                        f"{self.name}: {printable(column)}: {clip(printable(str(error)), 200)}"
                    ) from error
                sha.update(f"{column} {values.digest}\n".encode("utf-8", "surrogatepass"))
        return sha.hexdigest()

    def numbers(self, column: str) -> tuple[NDArray[np.generic], list[int]]:
        """The values of a numeric column.

        Returns:
            [N] or [N, D] (deeper lists are laid out one after another), and the rows that have no values: they
            are NaN.

        Raises:
            SourceError: The column is missing or not numeric, its rows differ in length, or whole numbers are missing.
        """
        import pyarrow as pa

        array = self._loaded(column)
        missing: set[int] = set()
        width = 1
        is_list = False
        while (
            pa.types.is_list(array.type)
            or pa.types.is_large_list(array.type)
            or pa.types.is_fixed_size_list(array.type)
        ):
            lengths = self._lengths(array)
            present = lengths[lengths > 0]
            inner = int(present[0]) if len(present) else 0
            if (present != inner).any():
                row = int(np.flatnonzero((lengths > 0) & (lengths != inner))[0]) // width
                raise SourceError(
                    f"{self.name}: {column} has {inner} values at first and {int(lengths[lengths > 0].max())} or "
                    f"fewer later, at row {row}; all rows must have as many"
                )
            missing |= {int(i) // width for i in np.flatnonzero(lengths == 0)}
            array = self._padded(array, lengths, inner)
            width *= max(1, inner)
            is_list = True
        values = self._values(array, column)
        holes = np.flatnonzero(np.asarray(array.is_null()))
        missing |= {int(i) // width for i in holes}
        return (values.reshape(self.count, width) if is_list else values), sorted(missing)

    @staticmethod
    def _lengths(array: "pa.Array") -> Int64Array:
        """Elements of each list, [N]; 0 for none."""
        import pyarrow.compute as pc

        return np.asarray(pc.fill_null(pc.list_value_length(array), 0), dtype=np.int64)

    @staticmethod
    def _padded(array: "pa.Array", lengths: Int64Array, inner: int) -> "pa.Array":
        """The elements of all lists; nulls for lists that have none."""
        import pyarrow as pa

        flat = array.flatten()
        if (lengths == inner).all():
            return flat
        taken = np.full((len(lengths), max(1, inner)), -1, dtype=np.int64)
        taken[lengths > 0] = np.arange(len(flat)).reshape(-1, inner) if inner else -1
        return flat.take(pa.array(taken.ravel(), mask=taken.ravel() < 0))

    def _values(self, array: "pa.Array", column: str) -> NDArray[np.generic]:
        import pyarrow as pa

        kind = array.type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
            raise SourceError(f"{self.name}: {column} is {clip(self.type_of(column), 200)}; must be numeric")
        if array.null_count and not pa.types.is_floating(kind):
            row = int(np.flatnonzero(np.asarray(array.is_null()))[0])
            raise SourceError(f"{self.name}: {column} is {self.type_of(column)} and has no value at place {row}")
        values: NDArray[np.generic] = np.asarray(array.to_numpy(zero_copy_only=False))
        return values

    def texts(self, column: str) -> list[str] | None:
        """The texts of a column, empty where there is none; None where it holds no texts.

        Raises:
            SourceError: The column is missing.
        """
        import pyarrow as pa

        array = self._loaded(column)
        if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
            return None
        try:
            return [t or "" for t in array.to_pylist()]
        except UnicodeDecodeError as error:
            raise SourceError(f"{self.name}: {column} has a text that is not UTF-8") from error

    def images(self, column: str, first_order: int = 0) -> ColumnFrames:
        """The encoded images of a column: bytes, or a struct with bytes.

        Args:
            column: Its name.
            first_order: Where the first lies in the reading order of the recording.

        Raises:
            SourceError: The column is missing, has no bytes, or not in every row.
        """
        if column in self.columns and not self.is_image(column):
            raise SourceError(f"{self.name}: {column} is {clip(self.type_of(column), 200)}; must be encoded images")
        return ColumnFrames(lambda: self._encoded(column), first_order)

    def _encoded(self, column: str) -> "Iterator[pa.Array]":
        import pyarrow as pa

        row = 0
        for batch in self.batches(column):
            array = batch
            if pa.types.is_struct(array.type):
                array = array.flatten()[array.type.get_field_index("bytes")]
            if array.null_count:
                row += int(np.flatnonzero(np.asarray(array.is_null()))[0])
                raise SourceError(f"{self.name}: {column} has no image at row {row}; every row must have one")
            row += len(array)
            yield array
