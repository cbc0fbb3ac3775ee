"""Which command drives which state, and how: by the values of both.

For every pair of a command and a state whose elements have the same names or the same number, the command is compared
with the state's level and with the state's change, at lags of up to a second either way. A command that matches the
level is a target (absolute), one that matches the change is a delta or a velocity.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._samples import Sample

__all__ = ["Element", "Follows", "Target", "compare"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MAX_POINTS = 3_000
MAX_ELEMENTS = 32
"""Of one pair: the first that move stand for the others."""
COARSE = 3
"""Lags are searched in steps of so many points, then one by one around the best."""
FINEST_NS = 10_000_000
MAX_LAG_NS = 1_000_000_000
MAX_LAG_ROWS = 30
MIN_ROWS = 8
CLEAR, LIKELY = 0.95, 0.7
"""Correlations from which on something is called clear, and likely."""
MARGIN = 0.05
"""How much better the change must match than the level: a level that moves evenly looks like its change."""
MAX_VALUE = 1e12


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """One element of a command against one of a state."""

    command: int
    state: int
    how: str
    """`absolute`, `delta`, `velocity`, or empty: unclear."""
    correlation: float
    slope: float
    """Command per state (absolute) or per change of state over one sample of the command (delta)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Follows:
    """What a command has to do with a state."""

    how: str
    """`copy`: equal at the same row; `shift`: equal to the state some rows later; `driven`: correlated."""
    elements: tuple[Element, ...]
    """Those that move, in the command's order."""
    num_rows: int
    correlation: float
    """Median over the elements."""
    lag_rows: int
    """How many rows, or points of time, the state comes after the command."""
    lag_ns: int | None
    """The same in time; None where none is known."""

    @property
    def clearness(self) -> str:
        """How sure it is, in a word."""
        if self.how != "driven":
            return "exact"
        if self.correlation >= CLEAR and self.num_rows >= 100:
            return "clear"
        return "likely" if self.correlation >= LIKELY and self.num_rows >= 30 else "weak"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Target:
    """A state or a command with its values."""

    sample: Sample
    names: Sequence[str]
    """Of the elements; empty where the recording has none."""
    is_timed: bool
    """Whether its times were recorded."""


def compare(command: Target, state: Target) -> Follows | None:
    """Compare a command with a state; None where their elements can't be paired or nothing matches."""
    elements = _elements(command, state)
    if not elements:
        return None
    ours, theirs = np.array([e[0] for e in elements]), np.array([e[1] for e in elements])
    aligned = _aligned(command.sample, state.sample)
    if aligned is None:
        return None
    a, b, part, step_ns, width = aligned
    a, b = _calm(a[:, ours]), _calm(b[:, theirs])
    is_moving = (_spread(a) > 0) & (_spread(b) > 0) & np.isfinite(a).all(axis=0) & np.isfinite(b).all(axis=0)
    if not is_moving.any() or len(a) < MIN_ROWS:
        return None
    chosen = np.flatnonzero(is_moving)[:MAX_ELEMENTS]
    a, b, ours, theirs = a[:, chosen], b[:, chosen], ours[chosen], theirs[chosen]
    known_ns = step_ns if command.is_timed and state.is_timed else None
    if command.sample.is_stepped and state.sample.is_stepped:
        exact = _exact(a, b, part)
        if exact is not None:
            return Follows(
                how="shift" if exact else "copy",
                elements=tuple(
                    Element(command=int(i), state=int(j), how="absolute", correlation=1.0, slope=1.0)
                    for i, j in zip(ours, theirs, strict=True)
                ),
                num_rows=len(a),
                correlation=1.0,
                lag_rows=exact,
                lag_ns=None if known_ns is None else round(exact * known_ns),
            )
    return _driven((a, ours), (b, theirs), part, (step_ns, known_ns, width))


def _elements(command: Target, state: Target) -> list[tuple[int, int]]:
    """Elements that belong together: those of the same name, else those at the same place."""
    ours, theirs = list(command.names), list(state.names)
    if ours and theirs:
        number = {n: j for j, n in enumerate(theirs)}
        shared = [(i, number[n]) for i, n in enumerate(ours) if n in number]
        if len(number) == len(theirs) and shared:
            return shared
        shared = [(i, number[n[1:]]) for i, n in enumerate(ours) if n[:1] == "d" and n[1:] in number]
        if len(number) == len(theirs) and len(shared) > 1:  # dx, dy, dz of x, y, z
            return shared
        ends = {n: j for j, n in enumerate(_ends(theirs))}
        shared = [(i, ends[n]) for i, n in enumerate(_ends(ours)) if n in ends]
        if len(ends) == len(theirs) and len(shared) == len(ours):
            return shared
    size = command.sample.values.shape[1]
    return [(i, i) for i in range(size)] if size == state.sample.values.shape[1] else []


def _ends(names: Sequence[str]) -> list[str]:
    """Names without what all of them begin with: target_x, target_y are x, y."""
    first, last = min(names, default=""), max(names, default="")
    shared = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), 0)
    start = first[:shared].rpartition("_")[0]
    return [n.removeprefix(start).lstrip("_") for n in names]


_Aligned = tuple[FloatArray, FloatArray, IntArray, float, int]
"""Command and state at the same points, the demonstration of each, ns between points, points of one command."""


def _aligned(command: Sample, state: Sample) -> _Aligned | None:
    if command.is_stepped and state.is_stepped:
        if len(command.values) != len(state.values):
            return None
        period = _period(command.time_ns)
        return command.values[:MAX_POINTS], state.values[:MAX_POINTS], command.part[:MAX_POINTS], period, 1
    if not (_is_forward(command.time_ns) and _is_forward(state.time_ns)):
        return None
    start = max(int(command.time_ns[0]), int(state.time_ns[0]))
    end = min(int(command.time_ns[-1]), int(state.time_ns[-1]))
    step = max(float(FINEST_NS), min(_period(command.time_ns), _period(state.time_ns)))
    count = min(MAX_POINTS, int((end - start) / step) if end > start else 0)
    if count < MIN_ROWS:
        return None
    points: FloatArray = np.arange(count, dtype=np.float64) * step
    a, b = _mixed(command, start, points), _mixed(state, start, points)
    width = max(1, round(_period(command.time_ns) / step))
    return a, b, np.zeros(count, dtype=np.int64), step, width


def _period(time_ns: IntArray) -> float:
    intervals = np.diff(time_ns)
    intervals = intervals[intervals > 0]
    return float(np.median(intervals)) if len(intervals) else 1e9


def _is_forward(time_ns: IntArray) -> bool:
    return len(time_ns) >= MIN_ROWS and bool((np.diff(time_ns) >= 0).all()) and int(time_ns[-1]) > int(time_ns[0])


def _mixed(sample: Sample, start: int, points: FloatArray) -> FloatArray:
    """The values at each point, between samples on a straight line: holding would make a slow command look late."""
    time = (sample.time_ns - start).astype(np.float64)
    columns = [np.interp(points, time, sample.values[:, i]) for i in range(sample.values.shape[1])]
    return np.stack(columns, axis=1)


def _calm(values: FloatArray) -> FloatArray:
    """Without numbers whose squares overflow."""
    return np.clip(values, -MAX_VALUE, MAX_VALUE)


def _spread(values: FloatArray) -> FloatArray:
    """Range of each column; 0 where it is rounding only."""
    found: FloatArray = np.ptp(values, axis=0)
    return np.where(found > 1e-9 * np.maximum(1.0, np.abs(values).max(axis=0)), found, 0.0)


def _exact(a: FloatArray, b: FloatArray, part: IntArray) -> int | None:
    """The number of rows after which the state is what the command was, in all rows; None where there is none."""
    for lag in (0, 1, 2, 3):
        x, y = _pairs(a, b, part, lag)
        if len(x) >= MIN_ROWS and np.allclose(x, y, rtol=1e-6, atol=1e-9) and (_spread(y) > 0).all():
            return lag
    return None


def _pairs(a: FloatArray, b: FloatArray, part: IntArray, lag: int) -> tuple[FloatArray, FloatArray]:
    """Rows of a with the rows of b that come `lag` later in the same demonstration."""
    if lag < 0:
        y, x = _pairs(b, a, part, -lag)
        return x, y
    size = len(a) - lag
    if size <= 0:
        return a[:0], b[:0]
    same = part[:size] == part[lag:]
    return a[:size][same], b[lag:][same]


def _correlation(x: FloatArray, y: FloatArray) -> FloatArray:
    """Pearson's r of each column; 0 where one of them does not move."""
    if len(x) < MIN_ROWS:
        return np.zeros(x.shape[1])
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    size = np.sqrt((x**2).sum(axis=0) * (y**2).sum(axis=0))
    moving = size > 1e-18
    return np.where(moving, (x * y).sum(axis=0) / np.where(moving, size, 1.0), 0.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Best:
    """Correlations at the best lags; of equal ones the shortest."""

    lag: int
    """At which most elements correlate best."""
    correlation: FloatArray
    """Of each element at its own best lag."""
    slope: FloatArray
    """Of a per b, at that lag."""


def _best(a: FloatArray, b: FloatArray, part: IntArray, lags: Sequence[int]) -> _Best:
    tried = {lag: _correlation(*_pairs(a, b, part, lag)) for lag in lags if lag % COARSE == 0 or abs(lag) <= COARSE}
    coarse = list(tried)
    for peak in {coarse[i] for i in np.argmax(np.stack(list(tried.values())), axis=0).tolist()}:
        for lag in range(max(lags[0], peak - COARSE + 1), min(lags[-1], peak + COARSE - 1) + 1):
            if lag not in tried:
                tried[lag] = _correlation(*_pairs(a, b, part, lag))
    ordered = sorted(tried, key=abs)
    found = np.stack([tried[lag] for lag in ordered]).round(6)
    lag = ordered[int(np.argmax(np.median(found, axis=1)))]
    own = np.argmax(found, axis=0)
    slope = np.zeros(a.shape[1])
    for row in np.unique(own):
        x, y = _pairs(a, b, part, ordered[int(row)])
        slope[own == row] = _slope(y, x)[own == row]
    return _Best(lag=lag, correlation=found.max(axis=0), slope=slope)


def _driven(
    command: tuple[FloatArray, IntArray],
    state: tuple[FloatArray, IntArray],
    part: IntArray,
    timing: tuple[float, float | None, int],
) -> Follows | None:
    (a, ours), (b, theirs) = command, state
    step_ns, known_ns, width = timing
    reach = min(MAX_LAG_ROWS if known_ns is None else math.ceil(MAX_LAG_NS / step_ns), 100, len(a) // 4)
    change, change_part = _change(b, part, width)
    level = _best(a, b, part, range(-reach, reach + 1))
    moves = _best(a[: len(change)], change, change_part, range(-min(reach, 5), reach + 1))
    rate = 1e9 / (step_ns * width)
    elements = []
    for k in range(a.shape[1]):
        how, r, gain = "", max(level.correlation[k], moves.correlation[k]), level.slope[k]
        if level.correlation[k] >= LIKELY and _is_level(float(level.correlation[k]), float(moves.correlation[k])):
            how, r = "absolute", level.correlation[k]
        elif moves.correlation[k] >= LIKELY:
            gain = moves.slope[k]
            is_rate = known_ns is not None and rate > 3 and abs(math.log(max(gain, 1e-9) / rate)) < 0.35
            how, r = "velocity" if is_rate else "delta", moves.correlation[k]
        elements.append(
            Element(command=int(ours[k]), state=int(theirs[k]), how=how, correlation=float(r), slope=float(gain))
        )
    best = float(np.median([e.correlation for e in elements]))
    if not any(e.how for e in elements):
        return None
    is_change = sum(e.how in {"delta", "velocity"} for e in elements) > len(elements) / 2
    chosen = moves.lag if is_change else level.lag
    return Follows(
        how="driven",
        elements=tuple(elements),
        num_rows=len(a),
        correlation=best,
        lag_rows=chosen,
        lag_ns=None if known_ns is None else round(chosen * known_ns),
    )


def _is_level(level: float, moves: float) -> bool:
    """Whether the level explains a command better; in an even motion both do, and what they leave open decides."""
    return level >= moves - MARGIN and 1 - level <= 2 * (1 - moves) + 1e-3


def _change(b: FloatArray, part: IntArray, width: int) -> tuple[FloatArray, IntArray]:
    """What the state changes by over one sample of the command, short way round where it is an angle that wraps."""
    if len(b) <= width:
        return b[:0], part[:0]
    change = b[width:] - b[:-width]
    wraps = (np.abs(b).max(axis=0) <= math.pi * 1.01) & (np.abs(change).max(axis=0) > math.pi)
    change = np.where(wraps, np.mod(change + math.pi, 2 * math.pi) - math.pi, change)
    same = part[width:] == part[:-width]
    # Rows without a following one get a demonstration of their own, so that no pair is made of them.
    numbers = np.where(same, part[:-width], -1 - np.arange(len(change)))
    return change, numbers


def _slope(x: FloatArray, y: FloatArray) -> FloatArray:
    """Of the straight line from x to y, by column; 0 where x does not move."""
    if not len(x):
        return np.zeros(x.shape[1])
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    power = (x**2).sum(axis=0)
    return np.where(power > 0, (x * y).sum(axis=0) / np.where(power > 0, power, 1.0), 0.0)
