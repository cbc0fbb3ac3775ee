"""Tables of a LeRobot v3 dataset: files of the table of episodes, and which rows of a data file are whose."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import GateError, SourceError
from ..gate import inside
from ..text import clip
from ._lerobot_info import Info, Stamp
from ._lerobot_parquet import ParquetRows

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["EPISODES", "MAX_EPISODES", "EpisodeTable", "episode_runs", "is_number", "numbered", "read_table", "whole"]

Int64Array = NDArray[np.int64]

EPISODES = "meta/episodes"
MAX_EPISODES = 1_000_000
MAX_FILE_ROWS = 100_000_000
MAX_TABLE_BYTES = 2**28


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EpisodeTable:
    """One file of the table of episodes: its plain columns."""

    name: str
    columns: "Mapping[str, pa.Array]"
    count: int


def whole(values: NDArray[np.float64]) -> Int64Array:
    """Whole numbers of a column; -1 where there is none."""
    return np.nan_to_num(values, nan=-1, posinf=-1, neginf=-1).clip(-1, 1e12).astype(np.int64)


def is_number(column: "pa.Array") -> bool:
    """Whether a column holds numbers."""
    import pyarrow as pa

    return bool(pa.types.is_integer(column.type) or pa.types.is_floating(column.type))


@lru_cache(maxsize=8)
def episode_runs(root: Path, name: str, stamp: Stamp) -> tuple[dict[int, tuple[tuple[int, int], ...]], int]:
    """Rows of each episode in a data file, as ranges, by the column that says whose they are; and all rows."""
    del stamp  # a part of the cache's key: a changed file is read again
    file = ParquetRows(inside(root, name), name)
    try:
        if file.count > MAX_FILE_ROWS:
            raise GateError(f"{name}: {file.count:,} rows; must have at most {MAX_FILE_ROWS:,}")
        if "episode_index" not in file.columns:
            raise SourceError(f"{name} has no column episode_index, which says whose a row is")
        found: dict[int, list[tuple[int, int]]] = {}
        row = num_runs = 0
        for array in file.read("episode_index", [(0, file.count)]):
            if not is_number(array) or array.null_count:
                raise SourceError(
                    f"{name}: episode_index is {array.type}, or missing in rows; must be a number in each"
                )
            values = np.asarray(array.cast("int64", safe=False))
            edges = np.flatnonzero(np.diff(values)) + 1
            for start, stop in zip([0, *edges], [*edges, len(values)], strict=True):
                ranges = found.setdefault(int(values[start]), [])
                if ranges and ranges[-1][1] == row + start:
                    ranges[-1] = (ranges[-1][0], row + int(stop))
                else:
                    ranges.append((row + int(start), row + int(stop)))
                    num_runs += 1
            row += len(values)
            if num_runs > MAX_EPISODES:
                raise GateError(f"{name}: episode_index changes {num_runs:,} times; must at most {MAX_EPISODES:,}")
    finally:
        file.close()
    return {episode: tuple(ranges) for episode, ranges in found.items()}, row


def read_table(info: Info, name: str) -> EpisodeTable:
    """The plain columns of a file of episodes: numbers and texts, and the list of tasks; not the statistics."""
    import pyarrow as pa

    file = ParquetRows(info.file(name), name)
    try:
        if file.count > MAX_EPISODES:
            raise GateError(f"{name}: {file.count:,} episodes; must have at most {MAX_EPISODES:,}")
        if "episode_index" not in file.columns:
            raise SourceError(f"{name} has no column episode_index; there are {clip(', '.join(file.columns), 200)}")
        columns, size = {}, 0
        for field_ in file.schema:
            if not _is_plain(field_.name, field_.type) or field_.name.startswith("stats/"):
                continue
            arrays = list(file.read(field_.name, [(0, file.count)]))
            size += sum(a.nbytes for a in arrays)
            if size > MAX_TABLE_BYTES:
                raise GateError(f"{name}: more than {MAX_TABLE_BYTES:,} bytes; must have at most that")
            columns[field_.name] = pa.concat_arrays(arrays) if arrays else pa.array([], field_.type)
        return EpisodeTable(name=name, columns=columns, count=file.count)
    finally:
        file.close()


def numbered(tables: Sequence[EpisodeTable]) -> tuple[dict[int, tuple[int, int]], list[str]]:
    """Table and row of each episode, by the number that the row says; and what is odd."""
    found: dict[int, tuple[int, int]] = {}
    twice, moved = [], []
    position = 0
    for k, table in enumerate(tables):
        for row, number in enumerate(_numbers(table)):
            if number in found:
                twice.append(number)
            found.setdefault(number, (k, row))
            if number != position:
                moved.append((position, number))
            position += 1
    if position > MAX_EPISODES:
        raise GateError(f"{EPISODES}: {position:,} episodes; must have at most {MAX_EPISODES:,}")
    problems = []
    if twice:
        problems.append(f"{EPISODES} has episode {twice[0]} more than once; the first row counts")
    if moved:
        problems.append(
            f"row {moved[0][0]} of {EPISODES} says episode_index {moved[0][1]}: what the rows say counts, readers that "
            "take rows by position see others"
        )
    return found, problems


def _numbers(table: EpisodeTable) -> Iterator[int]:
    column = table.columns["episode_index"]
    if not is_number(column) or column.null_count:
        raise SourceError(f"{table.name}: episode_index is {column.type}, or missing in rows; must be a number in each")
    for number in np.asarray(column.cast("int64", safe=False)).tolist():
        if not 0 <= number < 10**9:
            raise SourceError(f"{table.name}: episode_index is {number}; must be from 0 on")
        yield number


def _is_plain(name: str, kind: "pa.DataType") -> bool:
    """Whether a column of the table of episodes is a number, a truth or a text, or the list of tasks."""
    import pyarrow as pa

    if name == "tasks" and (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        kind = kind.value_type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return bool(is_text or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))
