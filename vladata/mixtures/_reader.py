"""The rows of a part in the order of the mixture, read by row groups, one window of them in memory.

Images stay where Parquet decoded them until their row comes; only then they are copied, as the bytes they are.
"""

import itertools
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import ExportError
from ..workers import beat
from ._order import Drawn
from ._parts import Shard

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

__all__ = ["Frame", "PartReader", "Source", "Taken"]

Frame = memoryview | bytes | None
"""An encoded image; None where there is none. A view keeps its window in memory: let go of it before the next rows."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Source:
    """The rows of a part in one shard of the mixture."""

    part: int
    folder: Path
    shards: tuple[Shard, ...]
    """Of one split, in order: what row numbers count through."""
    group_rows: tuple[NDArray[np.int64], ...]
    """Rows of the row groups of each shard."""
    drawn: Drawn


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Taken:
    """Some rows of a part."""

    table: "pa.Table"
    """All columns but images."""
    frames: dict[str, list[Frame]]
    """Images, by the part's own column."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Window:
    """Rows that are in memory, and how many of them are taken."""

    table: "pa.Table"
    places: NDArray[np.int64]
    """Row group, and row in it, of each row, [R, 2]."""
    images: dict[tuple[int, str], "_Images"]
    """By row group and column."""
    used: int = 0

    def take(self, count: int, columns: Sequence[str]) -> Taken:
        start, stop = self.used, min(self.used + count, self.table.num_rows)
        self.used = stop
        places = self.places[start:stop].tolist()
        # The last rows of a window come with the first ones of the next, and must not keep both in memory.
        frames = {
            name: [self.images[group, name].frame(row, is_copy=self.is_used_up) for group, row in places]
            for name in columns
        }
        return Taken(table=self.table.slice(start, stop - start), frames=frames)

    @property
    def is_used_up(self) -> bool:
        return bool(self.used == self.table.num_rows)


class _Images:
    """The images of one column of a row group."""

    def __init__(self, column: "pa.ChunkedArray", name: str) -> None:
        """Look at the offsets; nothing is copied."""
        # A row group is one chunk; joining even that would copy it.
        array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
        encoded, paths = array.field("bytes"), array.field("path")
        self._is_null = np.asarray(array.is_null().to_numpy(zero_copy_only=False), dtype=np.bool_)
        lacks = np.asarray(encoded.is_null().to_numpy(zero_copy_only=False), dtype=np.bool_) & ~self._is_null
        if lacks.any() or paths.null_count != len(paths):
            raise ExportError(f"{name} holds a path, or no bytes; images must be stored as their bytes alone")
        _, offsets, data = encoded.buffers()
        whole = np.frombuffer(offsets, dtype=np.int32, count=encoded.offset + len(encoded) + 1)
        self._offsets = whole[encoded.offset :].tolist()
        # Arrow calls its bytes signed, which would not compare with any others.
        self._data = memoryview(data if data is not None else b"").cast("B")

    def frame(self, row: int, *, is_copy: bool) -> Frame:
        """The encoded image of a row."""
        if self._is_null[row]:
            return None
        view = self._data[self._offsets[row] : self._offsets[row + 1]]
        return bytes(view) if is_copy else view


class PartReader:
    """The rows of a part, some at a time."""

    def __init__(self, source: Source, columns: Sequence[str], images: Sequence[str]) -> None:
        """Nothing is read yet."""
        self._source = source
        self._columns, self._images = list(columns), list(images)
        rows = [r for groups in source.group_rows for r in groups.tolist()]
        self._places = [(f, g) for f, groups in enumerate(source.group_rows) for g in range(len(groups))]
        self._starts = np.concatenate([[0], np.cumsum(rows)]).astype(np.int64)
        self._footers: dict[int, pq.FileMetaData] = {}
        self._windows = self._all_windows()
        self._held: _Window | None = None

    def take(self, count: int) -> list[Taken]:
        """The next rows, in order, in one piece or more."""
        import pyarrow as pa

        found: list[Taken] = []
        while count:
            if self._held is None or self._held.is_used_up:
                self._held = None  # before the next window is read
                pa.default_memory_pool().release_unused()
                self._held = next(self._windows)
            found.append(self._held.take(count, self._images))
            count -= found[-1].table.num_rows
        return found

    def close(self) -> None:
        """Let go of the window now: this object is in a circle with its own generator."""
        self._held = None
        self._windows.close()

    def _all_windows(self) -> Generator[_Window, None, None]:
        drawn = self._source.drawn
        edges = [0, *(np.flatnonzero(np.diff(drawn.windows)) + 1).tolist(), len(drawn.rows)]
        for a, b in itertools.pairwise(edges):
            yield self._window(drawn.rows[a:b])

    def _window(self, rows: NDArray[np.int64]) -> _Window:
        """Rows in any order, each row group read once."""
        import pyarrow as pa

        group = np.searchsorted(self._starts, rows, side="right") - 1
        inner = rows - self._starts[group]
        order = np.argsort(rows, kind="stable")
        tables, images = [], {}
        for number in np.unique(group).tolist():
            read = self._read(number)
            for name in self._images:
                images[number, name] = _Images(read.column(name), name)
            chosen = inner[order][group[order] == number]
            tables.append(read.select(self._columns).take(pa.array(chosen)))
            beat()
        back = np.empty(len(order), dtype=np.int64)
        back[order] = np.arange(len(order))
        table = pa.concat_tables(tables).take(pa.array(back))
        return _Window(table=table, places=np.stack([group, inner], axis=1), images=images)

    def _read(self, number: int) -> "pa.Table":
        import pyarrow.parquet as pq

        index, group = self._places[number]
        path = self._source.folder / self._source.shards[index].file
        # Opened for each: an open file keeps what it read last, a row group of images.
        with pq.ParquetFile(path, metadata=self._footers.get(index)) as file:
            self._footers[index] = file.metadata
            return file.read_row_group(group, columns=[*self._columns, *self._images], use_threads=False)
