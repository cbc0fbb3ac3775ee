"""The rows of one episode of a LeRobot dataset: columns of a parquet file as arrays."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .. import workers
from ..errors import GateError, SourceError
from ..text import clip, printable
from ..units import Clock

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ColumnFrames", "Rows", "row_times"]

MAX_ROWS = 10_000_000
MAX_BYTES = 2**31
"""Of the columns that are read, unpacked: an episode is read at once."""
_BATCH = 1024


class ColumnFrames:
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


class Rows:
    """An open parquet file of one episode."""

    def __init__(self, path: Path, name: str) -> None:
        """Read the file's footer.

        Args:
            path: The file.
            name: Relative to the dataset, for errors.

        Raises:
            SourceError: The file is not parquet, has no footer, or has no rows.
            GateError: It declares too many rows.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._name = name
        self._errors: tuple[type[Exception], ...] = (pa.ArrowException, OSError, UnicodeDecodeError)
        try:
            self._file = pq.ParquetFile(path, memory_map=False)
            self.columns: tuple[str, ...] = tuple(self._file.schema_arrow.names)
            self._schema = self._file.schema_arrow
        except self._errors as error:
            raise SourceError(f"{name}: {_reason(error)}") from error
        self.count: int = self._file.metadata.num_rows
        if self.count == 0:
            raise SourceError(f"{name}: 0 rows; an episode must have at least one")
        if self.count > MAX_ROWS:
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
        wanted = [c for c in self.columns if c in set(columns) and c not in self._columns]
        try:
            for column in wanted:
                self._columns[column] = self._read(column)
        except self._errors as error:
            raise SourceError(f"{self._name}: {_reason(error)}") from error

    def _read(self, column: str) -> "pa.Array":
        # In batches, because sizes in the footer may lie, and because asking pyarrow for those of a damaged column
        # ends the process.
        import pyarrow as pa

        batches = []
        for batch in self._file.iter_batches(batch_size=_BATCH, columns=[column], use_threads=False):
            workers.beat()
            batches.append(batch.column(0))
            self._bytes += batch.nbytes
            if self._bytes > MAX_BYTES:
                raise GateError(f"{self._name}: columns of more than {MAX_BYTES:,} bytes; must have at most that")
        count = sum(len(b) for b in batches)
        if count != self.count:
            raise SourceError(f"{self._name}: {column} has {count} rows; the file declares {self.count}")
        return pa.concat_arrays(batches)

    def numbers(self, column: str) -> tuple[NDArray[np.generic], list[int]]:
        """The values of a numeric column.

        Returns:
            [N] or [N, D] (deeper lists are laid out one after another), and the rows that have no values: they
            are NaN.

        Raises:
            SourceError: The column is missing or not numeric, its rows differ in length, or whole numbers are missing.
        """
        import pyarrow as pa

        array = self._column(column)
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
                    f"{self._name}: {column} has {inner} values at first and {int(lengths[lengths > 0].max())} or "
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
    def _lengths(array: "pa.Array") -> NDArray[np.int64]:
        """Elements of each list, [N]; 0 for none."""
        import pyarrow.compute as pc

        return np.asarray(pc.fill_null(pc.list_value_length(array), 0), dtype=np.int64)

    @staticmethod
    def _padded(array: "pa.Array", lengths: NDArray[np.int64], inner: int) -> "pa.Array":
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
            raise SourceError(f"{self._name}: {column} is {self.type_of(column)}; must be numeric")
        if array.null_count and not pa.types.is_floating(kind):
            row = int(np.flatnonzero(np.asarray(array.is_null()))[0])
            raise SourceError(f"{self._name}: {column} is {self.type_of(column)} and has no value at place {row}")
        values: NDArray[np.generic] = np.asarray(array.to_numpy(zero_copy_only=False))
        return values

    def texts(self, column: str) -> list[str] | None:
        """The texts of a column, empty where there is none; None where it holds no texts.

        Raises:
            SourceError: The column is missing.
        """
        import pyarrow as pa

        array = self._column(column)
        if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
            return None
        try:
            return [t or "" for t in array.to_pylist()]
        except UnicodeDecodeError as error:
            raise SourceError(f"{self._name}: {column} has a text that is not UTF-8") from error

    def images(self, column: str) -> ColumnFrames:
        """The encoded images of a column: bytes, or a struct with bytes.

        Raises:
            SourceError: The column is missing, has no bytes, or not in every row.
        """
        import pyarrow as pa

        array = self._column(column)
        if pa.types.is_struct(array.type) and array.type.get_field_index("bytes") >= 0:
            array = array.flatten()[array.type.get_field_index("bytes")]
        if not (pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type)):
            raise SourceError(f"{self._name}: {column} is {self.type_of(column)}; must be encoded images")
        if array.null_count:
            row = int(np.flatnonzero(np.asarray(array.is_null()))[0])
            raise SourceError(f"{self._name}: {column} has no image at row {row}; {array.null_count} are missing")
        return ColumnFrames(array)

    def _column(self, column: str) -> "pa.Array":
        if column not in self.columns:
            raise SourceError(
                f"{self._name}: no column {printable(column)!r}; there are "
                f"{clip(printable(', '.join(self.columns)), 300)}"
            )
        self.load([column])
        return self._columns[column]


def row_times(rows: Rows, fps: float, where: str) -> tuple[Clock, NDArray[np.int64], list[str]]:
    """Stamps of the rows.

    Args:
        rows: Of an episode.
        fps: Declared rate.
        where: The episode, for errors.

    Returns:
        A nominal clock where `timestamp` is frame_index / fps as float32 (or is not there, or never changes), else
        a monotonic one with the recorded stamps; and notes.

    Raises:
        SourceError: A stamp is not a finite number, or beyond the range of nanoseconds.
    """
    notes = []
    frame = np.arange(rows.count, dtype=np.int64)
    if "frame_index" in rows.columns:
        frame = rows.numbers("frame_index")[0].ravel().astype(np.int64)
    if len(frame) != rows.count or (np.diff(frame) != 1).any() or abs(int(frame[0])) > MAX_ROWS:
        notes.append("frame_index does not go up by one from row to row; rows are counted instead")
        frame = np.arange(rows.count, dtype=np.int64)
    elif frame[0] != 0:
        notes.append(f"frame_index begins at {frame[0]}")
    nominal = np.round(frame * 1e9 / fps).astype(np.int64)
    if "timestamp" not in rows.columns:
        return Clock.NOMINAL, nominal, [*notes, f"no timestamps are recorded: stamps are row / {fps:g} fps"]
    stamps = rows.numbers("timestamp")[0].ravel()
    seconds = stamps.astype(np.float64)
    if len(seconds) != rows.count or not np.isfinite(seconds).all() or np.abs(seconds).max() > 9e9:
        raise SourceError(f"{where}: column timestamp is not one finite number of seconds in each row")
    expected = frame / fps
    tolerance = 2 * float(np.spacing(np.float32(max(np.abs(expected).max(), 1 / fps))))
    if (np.abs(seconds - expected) <= tolerance).all():
        return Clock.NOMINAL, nominal, [*notes, f"timestamp is frame_index / {fps:g} fps: no time was recorded"]
    if rows.count > 1 and (seconds == seconds[0]).all():
        return (
            Clock.NOMINAL,
            nominal,
            [*notes, f"timestamp is {seconds[0]:g} in every row: stamps are row / {fps:g} fps"],
        )
    notes.append(f"timestamp ({stamps.dtype}) is not frame_index / {fps:g} fps and is kept as recorded")
    return Clock.MONOTONIC, np.round(seconds * 1e9).astype(np.int64), notes


def _reason(error: Exception) -> str:
    text = clip(printable(str(error)), 200)
    if "magic bytes" in text:
        return "not parquet, or without its footer: the writer did not finish, or the file is cut off"
    return f"damaged parquet: {text[:1].lower()}{text[1:]}"
