"""Whether what does not depend on the task moved from one session to another."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..units import Kind
from ._check import EpisodeFacts
from ._columns import deviation
from ._features import Column
from ._tables import Table, complete, tables, task_of

__all__ = ["Drift", "drifts"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

KEYS = ("session", "date", "operator")
"""Metadata that names sessions, the first that tells episodes apart."""
FINEST = 1e-3
"""A spread below this is the sensor's resolution."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drift:
    """One dimension in one session."""

    column: Column
    key: str
    """What names the sessions."""
    session: str
    places: IntArray
    """Of the session's episodes in the facts."""
    num_others: int
    here: float
    elsewhere: float
    spread: float
    """Robust standard deviation within a session."""
    is_offset: bool
    """Measured minus commanded; else the pose at the start."""

    @property
    def size(self) -> float:
        """How far it moved."""
        return abs(self.here - self.elsewhere)


def drifts(facts: Sequence[EpisodeFacts], fewest: int, smallest: float, sigmas: float) -> Iterator[Drift]:
    """Dimensions that moved between sessions of at least so many episodes, one for each dimension."""
    key = _key(facts, fewest)
    if not key:
        return
    sessions = [fact.metadata.get(key, "") for fact in facts]
    numbers: dict[str, int] = {}
    tasks = np.array([numbers.setdefault(task_of(fact), len(numbers)) for fact in facts], dtype=np.int64)
    for table in tables(facts, lambda fact: 0 if fact.metadata.get(key) else None, 2 * fewest):
        groups: dict[str, list[int]] = defaultdict(list)
        for row, place in enumerate(table.places.tolist()):
            groups[sessions[place]].append(row)
        members = {s: np.array(rows) for s, rows in groups.items() if len(rows) >= fewest}
        if len(members) >= 2:
            yield from _of_table(table, key, members, tasks[table.places], (smallest, sigmas))


def _key(facts: Sequence[EpisodeFacts], fewest: int) -> str:
    counts: dict[str, dict[str, int]] = {key: defaultdict(int) for key in KEYS}
    for fact in facts:
        for key in KEYS:
            value = fact.metadata.get(key)
            if value:
                counts[key][value] += 1
    return next((key for key in KEYS if sum(n >= fewest for n in counts[key].values()) >= 2), "")


def _of_table(
    table: Table, key: str, members: dict[str, IntArray], tasks: IntArray, limits: tuple[float, float]
) -> Iterator[Drift]:
    poses = np.array([c.is_measured_pose and c.kind != Kind.OTHER for c in table.columns])
    worst: dict[int, Drift] = {}
    for name in ("offset", "first"):
        values = np.where(poses, table.row(name), np.nan)
        rows, columns = complete(values)
        for session, mine in members.items():
            here = np.intersect1d(mine, rows)
            others = np.intersect1d(np.concatenate([r for s, r in members.items() if s != session]), rows)
            # Where the robot starts may depend on the task.
            is_comparable = name == "offset" or set(tasks[here].tolist()) == set(tasks[others].tolist())
            if min(len(here), len(others)) < 3 or not len(columns) or not is_comparable:
                continue
            groups = values[np.ix_(here, columns)], values[np.ix_(others, columns)]
            for j, sizes in _moved(*groups, limits, is_offset=name == "offset"):
                column = int(columns[j])
                drift = Drift(
                    column=table.columns[column],
                    key=key,
                    session=session,
                    places=table.places[mine],
                    num_others=len(others),
                    here=sizes[0],
                    elsewhere=sizes[1],
                    spread=sizes[2],
                    is_offset=name == "offset",
                )
                # Of two sessions the first is told; of more, the one that is farthest off.
                if column not in worst or drift.size > worst[column].size:
                    worst[column] = drift
    yield from (worst[column] for column in sorted(worst))


def _moved(
    here: FloatArray, others: FloatArray, limits: tuple[float, float], *, is_offset: bool
) -> Iterator[tuple[int, tuple[float, float, float]]]:
    """Dimensions in which two groups of episodes lie apart: index; both medians and the spread."""
    smallest, sigmas = limits
    a, b = np.median(here, axis=0), np.median(others, axis=0)
    size = np.abs(a - b)
    spread = np.maximum(np.maximum(_deviation(here, a), _deviation(others, b)), FINEST)
    low, high = (0.1, 0.9) if is_offset else (0.0, 1.0)
    sign = np.where(a > b, 1.0, -1.0)
    apart = np.quantile(sign * here, low, axis=0) > np.quantile(sign * others, high, axis=0)
    moved = (size > smallest) & (size > sigmas * spread) & apart
    if not is_offset:
        # The start says something only where it is a home pose: the same each time, and in the other joints too.
        moved &= (spread < smallest / 4) & (np.median(spread) < smallest / 4)
        rest = [float(np.median(np.delete(size, j))) if len(size) > 1 else np.inf for j in range(len(size))]
        moved &= np.array(rest) < size / 5
    for j in np.flatnonzero(moved).tolist():
        yield j, (float(a[j]), float(b[j]), float(spread[j]))


def _deviation(values: FloatArray, middle: FloatArray) -> FloatArray:
    """Robust standard deviation, the larger of two: by the median deviation, and by the range of the inner 80 %.

    Of five normal values the inner 80 % (interpolated) span 1.7 standard deviations on average; the median deviation
    alone is too often too small there.
    """
    by_median = deviation(values, middle)
    low, high = np.quantile(values, [0.1, 0.9], axis=0)
    return np.asarray(np.maximum(by_median, (high - low) / (1.7 if len(values) < 10 else 2.56)))
