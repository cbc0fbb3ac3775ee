"""Compare a shard of a mixture with the rows of the parts that it was made from; runs in a worker.

Written the other way round than mixing: from the stored row back to what the part must have had.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..exporters._folder import hash_with_beats
from ..text import clip, printable
from ..workers import beat
from ._columns import ACTION, CHUNK, EMBODIMENT, IS_PAD, MASKS, PART, STATE, Columns, numbers
from ._reader import Frame, Taken
from ._shards import MixUnit, rows_in_order

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["CompareUnit", "Compared", "compare_shard"]

MAX_PROBLEMS = 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CompareUnit:
    """One shard to re-read."""

    unit: MixUnit
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What a shard held."""

    rows: dict[str, int]
    """By part, as the rows say."""
    problems: tuple[str, ...]


def compare_shard(work: CompareUnit) -> Compared:
    """Re-read a shard and the rows of the parts."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    unit = work.unit
    path, name = unit.out / unit.shard.file, unit.shard.file
    if not path.is_file():
        return Compared(rows={}, problems=(f"{name}: missing",))
    if hash_with_beats(path) != (work.size, work.sha256):
        return Compared(rows={}, problems=(f"{name}: size or SHA-256 differ from the manifest's",))
    problems: list[str] = []
    rows: dict[str, int] = {}
    try:
        with pq.ParquetFile(path) as file:
            if file.metadata.num_rows != len(unit.labels):
                problems.append(f"{name}: {file.metadata.num_rows} rows; the plan has {len(unit.labels)}")
            for group, (start, tables) in enumerate(rows_in_order(unit)):
                stored = file.read_row_group(group, use_threads=False)
                labels = unit.labels[start : start + unit.group_rows]
                if stored.num_rows != len(labels):
                    problems.append(f"{name}: row group {group} has {stored.num_rows} rows; must have {len(labels)}")
                    break
                for value, count in zip(*_counts(stored), strict=True):
                    rows[value] = rows.get(value, 0) + count
                for part, source in tables.items():
                    at = np.flatnonzero(labels == part)
                    found = _different(stored.take(pa.array(at)), source, unit.columns, part)
                    problems += [f"{name}: row {start + int(at[r])}: {text}" for r, text in found]
                beat()
    except (pa.ArrowException, OSError, KeyError) as error:
        problems.append(f"{name}: can't be read: {clip(printable(str(error)), 200)}")
    more = len(problems) - MAX_PROBLEMS
    shown = problems[:MAX_PROBLEMS] + ([f"{name}: {more:,} further differences"] if more > 0 else [])
    return Compared(rows=rows, problems=tuple(shown))


def _counts(stored: "pa.Table") -> tuple[list[str], list[int]]:
    found = stored.column(PART).value_counts()
    return found.field("values").to_pylist(), found.field("counts").to_pylist()


def _different(stored: "pa.Table", taken: Sequence[Taken], columns: Columns, part: int) -> list[tuple[int, str]]:
    """Row and reason of what is not as in the part."""
    import pyarrow as pa

    source = pa.concat_tables([t.table for t in taken])
    shape = columns.shapes[part]
    found: list[tuple[int, str]] = []
    for name, text in ((PART, shape.part), (EMBODIMENT, shape.embodiment)):
        values = stored.column(name).to_pylist()
        found += [(r, f"{name}: {v!r}; must be {text!r}") for r, v in enumerate(values) if v != text]
    for name in columns.kept:
        found += _unequal(name, stored.column(name), source.column(name))
    for name in columns.images:
        own = shape.images.get(name)
        frames = [None] * stored.num_rows if own is None else [f for t in taken for f in t.frames[own]]
        text = "is there, and the part has none" if own is None else "differs from the part's"
        found += [(r, f"{name}: {text}") for r in _other_frames(stored.column(name), frames)]
    own_w, common = shape.own, columns.common
    sizes: dict[str, tuple[Sequence[int], tuple[int, ...]]] = {
        STATE: ((own_w.state,), (common.state,)),
        ACTION: ((own_w.action,), (common.action,)),
        CHUNK: ((own_w.horizon, own_w.action), (common.horizon, common.action)),
        IS_PAD: ((own_w.horizon,), (common.horizon,)),
    }
    for name in columns.vectors:
        own_size, size = sizes[name]
        values = numbers(stored, name, size)
        inner = values[:, *(slice(0, n) for n in own_size)]
        is_inner = np.zeros(size, dtype=np.bool_)
        is_inner[tuple(slice(0, n) for n in own_size)] = True
        if name in source.column_names:
            found += _rows(inner, numbers(source, name, tuple(own_size)), f"{name}: differs from the part's")
        found += _rows(values[:, ~is_inner], np.array(name == IS_PAD), f"{name}: padding is not as it must be")
        if name in MASKS:
            mask = numbers(stored, MASKS[name], size)
            found += _rows(mask, is_inner, f"{MASKS[name]}: must be true for the part's own {own_size[0]}")
    return found


def _other_frames(stored: "pa.ChunkedArray", frames: Sequence[Frame]) -> list[int]:
    """Rows whose image is another one, byte by byte."""
    array = stored.combine_chunks()
    encoded, has_path = array.field("bytes"), array.field("path").null_count != len(array)
    bad = []
    for row, frame in enumerate(frames):
        is_there = array.is_valid()[row].as_py() if array.null_count else True
        found = encoded[row].as_buffer() if is_there and encoded[row].is_valid else None
        is_same = (
            (found is None and not is_there) if frame is None else (found is not None and found.to_pybytes() == frame)
        )
        if not is_same or has_path:
            bad.append(row)
    return bad


def _unequal(name: str, stored: "pa.ChunkedArray", source: "pa.ChunkedArray") -> list[tuple[int, str]]:
    if stored.equals(source):
        return []
    pairs = zip(stored.to_pylist(), source.to_pylist(), strict=True)
    bad = [r for r, (one, other) in enumerate(pairs) if one != other]
    return [(r, f"{name}: differs from the part's") for r in bad or [0]]


def _rows(stored: NDArray[np.generic], expected: NDArray[np.generic], text: str) -> list[tuple[int, str]]:
    same = (stored == expected) | ((stored != stored) & (expected != expected))
    bad = np.flatnonzero(~same.reshape(len(stored), -1).all(axis=1)) if stored.size else np.zeros(0, dtype=np.int64)
    return [(int(r), text) for r in bad]
