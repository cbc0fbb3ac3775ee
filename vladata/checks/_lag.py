"""How many steps a measured motion comes after its command: the highest correlation of their changes."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..episode import Episode
from ._pairs import Pairs, changes, paired

__all__ = ["Lag", "at_lag", "estimate", "moving"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

SEARCH_S = 0.6
"""Lags are searched up to so many seconds, at least 3 steps, at most a third of the episode."""
MOST_STEPS = 20
FEWEST_STEPS = 8
"""Fewer steps tell nothing about a lag."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lag:
    """The lag of an episode's pairs; grippers aside."""

    pairs: Pairs
    """Those that are compared."""
    wanted: FloatArray
    """Commanded changes, [T - 1, P]."""
    moved: FloatArray
    """Measured changes, [T - 1, P]."""
    peaks: FloatArray
    """Lag of each pair, in steps, [P]; positive where the state comes after its command."""
    heights: FloatArray
    """Correlation at that lag, [P]; 0 where nothing moves."""
    steps: float
    """Lag of all pairs together; NaN where nothing is known."""
    height: float
    """Correlation of all pairs together at that lag."""
    error: float
    """Standard error, from how much the pairs differ."""
    other: float
    """Height of the highest peak beside the highest one."""

    @property
    def whole(self) -> int:
        """The lag in whole steps; 0 where it is not known."""
        return round(self.steps) if np.isfinite(self.steps) else 0


@lru_cache(maxsize=1)
def estimate(episode: Episode) -> Lag | None:
    """The lag between an episode's commands and its states; None where too few steps or no pairs are there.

    A target that is held from the step on is reached later: 1 is a robot that gets there within a step. A delta is done
    within its own step: 0.

    The last episode's is kept, for the next check.
    """
    every = paired(episode)
    pairs = every.of([i for i, p in enumerate(every.items) if not p.is_gripper])
    if not pairs.items or len(pairs.commanded) < FEWEST_STEPS:
        return None
    wanted, moved = changes(pairs)
    most = min(max(3, round(SEARCH_S * episode.embodiment.rate_hz)), MOST_STEPS, len(wanted) // 3)
    profile = _profile(wanted, moved, most)
    peaks, heights = _peaks(profile, most)
    good = np.clip(heights, 0.0, 0.99)
    weights = good**2 / (1.02 - good**2)
    total = float(weights.sum())
    if total <= 0:
        return _lag(pairs, wanted, moved, peaks, heights)
    mean = profile @ weights / total
    (steps,), (height,) = _peaks(mean[:, None], most)
    error = np.sqrt(weights @ np.square(peaks - steps) / total / max(1.0, total**2 / float(weights @ weights)))
    return _lag(pairs, wanted, moved, peaks, heights, (float(steps), float(height), float(error), _second(mean)))


def _lag(
    pairs: Pairs,
    wanted: FloatArray,
    moved: FloatArray,
    peaks: FloatArray,
    heights: FloatArray,
    found: tuple[float, float, float, float] = (np.nan, 0.0, np.inf, 0.0),
) -> Lag:
    steps, height, error, other = found
    return Lag(
        pairs=pairs,
        wanted=wanted,
        moved=moved,
        peaks=peaks,
        heights=heights,
        steps=steps,
        height=height,
        error=error,
        other=other,
    )


def _profile(wanted: FloatArray, moved: FloatArray, most: int) -> FloatArray:
    """Correlation of both at each lag from -most to most, [2 * most + 1, P]."""
    first, second = _even(wanted), _even(moved)
    count, result = len(first), np.zeros((2 * most + 1, first.shape[1]))
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        before, after = np.cumsum(first**2, axis=0), np.cumsum(second**2, axis=0)
        for row, lag in enumerate(range(-most, most + 1)):
            a, b, size = max(0, -lag), max(0, lag), count - abs(lag)
            product = np.einsum("tp,tp->p", first[a : a + size], second[b : b + size])
            scale = np.sqrt(_energy(before, a, size) * _energy(after, b, size))
            result[row] = product / scale
    return np.clip(np.nan_to_num(result, nan=0.0, posinf=0.0, neginf=0.0), -1.0, 1.0)


def _even(change: FloatArray) -> FloatArray:
    """Signed square roots, of mean 0: a few fast motions don't outweigh the many slow ones."""
    root = np.sign(change) * np.sqrt(np.abs(change))
    return np.asarray(root - root.mean(axis=0))


def _energy(total: FloatArray, start: int, size: int) -> FloatArray:
    """Sum of squares over a part, from the sums up to each place; what is nothing but rounding is 0."""
    part = total[start + size - 1] - (total[start - 1] if start else 0.0)
    return np.where(part > 1e-12 * total[-1], part, 0.0)


def _peaks(profile: FloatArray, most: int) -> tuple[FloatArray, FloatArray]:
    """Lag and height of the highest place of each column, between two lags where a parabola has its top there."""
    top = np.argmax(profile, axis=0)
    columns = np.arange(profile.shape[1])
    inner = np.clip(top, 1, len(profile) - 2)
    low, middle, high = (profile[inner + k, columns] for k in (-1, 0, 1))
    bend = low - 2 * middle + high
    is_inside = (inner == top) & (bend < 0)
    shift = np.where(is_inside, 0.5 * (low - high) / np.where(is_inside, bend, 1.0), 0.0)
    return top - most + shift, profile[top, columns]


def _second(mean: FloatArray) -> float:
    """Height of the highest local top beside the highest one; motion that repeats itself has several."""
    top = int(np.argmax(mean))
    inner = np.flatnonzero((mean[1:-1] >= mean[:-2]) & (mean[1:-1] >= mean[2:])) + 1
    return float(max((mean[k] for k in inner if abs(k - top) > 1), default=0.0))


def at_lag(lag: Lag, *, levels: bool) -> tuple[FloatArray, FloatArray]:
    """Commands and what was measured the lag later, side by side, [N, P]: their values, or their changes."""
    first, second = (lag.pairs.commanded, lag.pairs.measured) if levels else (lag.wanted, lag.moved)
    shift = lag.whole
    size = max(0, len(first) - abs(shift))
    a, b = max(0, -shift), max(0, shift)
    return first[a : a + size], second[b : b + size]


def moving(values: FloatArray, least: float) -> BoolArray:
    """Columns whose known values span more than `least`, [D]."""
    known = np.isfinite(values)
    low = np.where(known, values, np.inf).min(axis=0, initial=np.inf)
    high = np.where(known, values, -np.inf).max(axis=0, initial=-np.inf)
    return np.asarray(high - low > least)
