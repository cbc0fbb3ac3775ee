"""What was measured of the episodes, put together by group: numpy arrays, never the facts themselves."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..text import clip, printable
from ..units import Unit
from ._check import EpisodeFacts
from ._features import ROWS, Column, columns_of, summary

__all__ = ["Table", "amount", "complete", "constant_columns", "kind_of", "named", "tables", "task_of"]

FloatArray = NDArray[np.float64]

SAME = 1e-7
"""Values closer than this are one in float32, relative to the larger of them and 1."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """The summaries of the episodes of one group, all of one schema."""

    key: Hashable
    columns: tuple[Column, ...]
    places: NDArray[np.int64]
    """Of the episodes in the facts, [n]."""
    values: NDArray[np.float32]
    """[n, rows of the summary, D]."""
    durations: FloatArray
    """Seconds, [n]; steps where there was no time."""

    def row(self, name: str) -> FloatArray:
        """One row of the summaries, [n, D]."""
        return self.values[:, ROWS.index(name)].astype(np.float64)


def kind_of(fact: EpisodeFacts) -> str:
    """What episodes with the same columns have in common."""
    return fact.embodiment_digest or fact.embodiment


def task_of(fact: EpisodeFacts) -> str:
    """The instruction, however it is written."""
    return " ".join(fact.instruction.split()).casefold()


def amount(value: float, column: Column) -> str:
    """A value with its unit; pure numbers have none."""
    return f"{value:.4g}" if column.unit == Unit.ONE else f"{value:.4g} {column.unit}"


def tables(
    facts: Sequence[EpisodeFacts], key: Callable[[EpisodeFacts], Hashable | None], fewest: int
) -> Iterator[Table]:
    """Summaries by key, of groups of at least so many episodes; a key of None leaves an episode out."""
    columns: dict[str, tuple[Column, ...]] = {}
    members: dict[tuple[str, Hashable], list[tuple[int, float]]] = defaultdict(list)
    values: dict[tuple[str, Hashable], list[NDArray[np.float32]]] = defaultdict(list)
    for i, fact in enumerate(facts):
        table, group = summary.of(fact), key(fact)
        if table is None or group is None:
            continue
        kind = kind_of(fact)
        if kind not in columns:
            columns[kind] = columns_of(fact)
        if table.shape == (len(ROWS), len(columns[kind])):
            members[kind, group].append((i, fact.duration_s or float(fact.num_steps)))
            values[kind, group].append(table.astype(np.float32))
    for (kind, group), found in members.items():
        if len(found) >= fewest:
            yield Table(
                key=group,
                columns=columns[kind],
                places=np.array([i for i, _ in found], dtype=np.int64),
                values=np.stack(values[kind, group]),
                durations=np.array([d for _, d in found]),
            )


def complete(values: FloatArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of a table without holes: columns that most rows have, then rows that have all of them."""
    good = np.isfinite(values)
    columns = np.flatnonzero(good.mean(axis=0) > 0.5) if len(values) else np.zeros(0, dtype=np.int64)
    return np.flatnonzero(good[:, columns].all(axis=1)), columns


def constant_columns(facts: Sequence[EpisodeFacts], fewest: int) -> Iterator[tuple[int, list[tuple[Column, float]]]]:
    """By schema, the number of episodes and the dimensions that have one value in all of them, with it."""
    ranges: dict[str, tuple[FloatArray, FloatArray]] = {}
    columns: dict[str, tuple[Column, ...]] = {}
    counts: dict[str, int] = defaultdict(int)
    for fact in facts:
        table, kind = summary.of(fact), kind_of(fact)
        if table is None:
            continue
        columns.setdefault(kind, columns_of(fact))
        if table.shape != (len(ROWS), len(columns[kind])):
            continue
        low, high = table[ROWS.index("lowest")].astype(np.float64), table[ROWS.index("highest")].astype(np.float64)
        before = ranges.get(kind, (low, high))
        ranges[kind] = np.fmin(before[0], low), np.fmax(before[1], high)
        counts[kind] += 1
    for kind, (low, high) in ranges.items():
        if counts[kind] >= fewest:
            same = np.flatnonzero(high - low <= SAME * np.maximum(1.0, np.abs(low)))
            yield counts[kind], [(columns[kind][j], float(low[j])) for j in same.tolist()]


def named(text: str, width: int = 50) -> str:
    """A text out of a recording, for a message."""
    return repr(clip(printable(text), width))
