"""How many steps a measured motion comes after its command: the highest correlation of their changes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..episode import Episode
from ._memory import remembered
from ._pairs import Pairs, changes, paired

__all__ = ["Lag", "estimate"]

FloatArray = NDArray[np.float64]

SEARCH_S = 0.6
"""Lags are searched up to so many seconds, at least 3 steps, at most a third of the episode."""
MOST_STEPS = 20
FAST_HZ = 15.0
"""From this rate on a peak is wide enough to fit it to two steps on either side."""
LEAST_HEIGHT = 0.5
"""Correlation below which a pair says nothing about the lag."""
VALLEY = 0.8
"""A second top counts where the correlation falls below this share of it between both."""
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


@remembered
def estimate(episode: Episode) -> Lag | None:
    """The lag between an episode's commands and its states; None where too few steps or no pairs are there.

    A target that is held from the step on is reached later: 1 is a robot that gets there within a step. A delta is done
    within its own step: 0.
    """
    every = paired(episode)
    pairs = every.of([i for i, p in enumerate(every.items) if not p.is_gripper])
    if not pairs.items or len(pairs.commanded) < FEWEST_STEPS:
        return None
    wanted, moved = changes(pairs)
    most = min(max(3, round(SEARCH_S * episode.embodiment.rate_hz)), MOST_STEPS, len(wanted) // 3)
    profile = _profile(wanted, moved, most)
    width = 2 if episode.embodiment.rate_hz >= FAST_HZ else 1
    peaks, heights = _peaks(profile, most, width)
    # Motion over noise, r² / (1 - r²): a pair that goes together perfectly must not outvote all others.
    good = np.clip(heights, 0.0, 0.99)
    weights = np.where(good >= LEAST_HEIGHT, good**2 / (1.02 - good**2), 0.0)
    total = float(weights.sum())
    if total <= 0:
        return _lag(pairs, wanted, moved, peaks, heights)
    mean = profile @ weights / total
    (steps,), (height,) = _peaks(mean[:, None], most, width)
    if abs(steps) >= most:
        return _lag(pairs, wanted, moved, peaks, heights)
    # Of the weighted mean, with as many pairs as the weights are worth.
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
    """Correlation of both at each lag from -most to most, [2 * most + 1, P], each over the steps that both have."""
    first, second = _even(wanted), _even(moved)
    size = (len(first) - np.abs(np.arange(-most, most + 1)))[:, None]
    x, xx = _overlaps(first, most), _overlaps(first * first, most)
    # What overlaps of the other begins where of this one it ends.
    y, yy = _overlaps(second, most)[::-1], _overlaps(second * second, most)[::-1]
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        spread = np.maximum(xx - x * x / size, 0.0) * np.maximum(yy - y * y / size, 0.0)
        # What is nothing but rounding of the sums is no motion.
        moves = spread > 1e-20 * xx[most] * yy[most]
        result = np.where(moves, (_products(first, second, most) - x * y / size) / np.sqrt(spread), 0.0)
    return np.asarray(np.clip(np.nan_to_num(result, nan=0.0, posinf=0.0, neginf=0.0), -1.0, 1.0))


def _overlaps(values: FloatArray, most: int) -> FloatArray:
    """Sums without the first rows at lags from -most to -1, without the last ones from 0 to most, [2 * most + 1, P]."""
    head, tail = np.cumsum(values[:most], axis=0), np.cumsum(values[::-1][:most], axis=0)
    left_out = np.concatenate([head[::-1], np.zeros((1, values.shape[1])), tail])
    return np.asarray(values.sum(axis=0) - left_out)


def _products(first: FloatArray, second: FloatArray, most: int) -> FloatArray:
    """Sums of first[t] second[t + lag] for the lags from -most to most, [2 * most + 1, P], by way of their spectra."""
    length = 1 << (len(first) + most - 1).bit_length()
    spectrum = np.conj(np.fft.rfft(first, length, axis=0)) * np.fft.rfft(second, length, axis=0)
    sums = np.fft.irfft(spectrum, length, axis=0)
    return np.concatenate([sums[length - most :], sums[: most + 1]])


def _even(change: FloatArray) -> FloatArray:
    """Changes with large ones made smaller, of mean 0: a few fast motions don't outweigh the many slow ones."""
    size = np.sqrt(np.mean(np.square(change), axis=0))
    with np.errstate(invalid="ignore", over="ignore"):
        even = np.nan_to_num(change / np.sqrt(np.abs(change) + size + 1e-300), posinf=0.0, neginf=0.0)
    return np.asarray(even - even.mean(axis=0))


def _peaks(profile: FloatArray, most: int, width: int) -> tuple[FloatArray, FloatArray]:
    """Lag and height of the highest place of each column; between two lags where a parabola has its top there.

    Args:
        profile: [2 * most + 1, P].
        most: Largest lag.
        width: Places on either side that the parabola is fitted to.
    """
    top = np.argmax(profile, axis=0)
    columns = np.arange(profile.shape[1])
    inner = np.clip(top, width, len(profile) - 1 - width)
    offsets = np.arange(-width, width + 1)
    part = profile[inner + offsets[:, None], columns]
    # Least squares of a parabola at places that lie evenly about 0.
    square = offsets**2 - np.mean(offsets**2)
    slope = offsets @ part / np.sum(offsets**2)
    bend = square @ part / np.sum(square**2)
    is_inside = (inner == top) & (bend < 0)
    shift = np.where(is_inside, -slope / (2 * np.where(is_inside, bend, 1.0)), 0.0)
    return top - most + np.clip(shift, -1.0, 1.0), profile[top, columns]


def _second(mean: FloatArray) -> float:
    """Height of the highest top that a valley parts from the highest one; motion that repeats itself has several."""
    top = int(np.argmax(mean))
    tops = (int(k) + 1 for k in np.flatnonzero((mean[1:-1] >= mean[:-2]) & (mean[1:-1] >= mean[2:])))
    parted = [k for k in tops if mean[min(k, top) : max(k, top) + 1].min() < VALLEY * mean[k]]
    return float(max((mean[k] for k in parted), default=0.0))
