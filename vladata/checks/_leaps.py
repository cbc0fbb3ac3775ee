"""Leaps of single dimensions, and accelerations, told from fast motion, noise and staircases."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._motion import MOST_ROWS

__all__ = ["Leap", "accelerations", "leaps"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

WINDOW = 6
"""Changes before and after a leap that it is compared with."""
MIN_CHANGES = 20
"""Changes that a column must have: fewer don't show how it moves."""
EDGE_SIDE = 0.35
"""Of the first or last change, what its only neighbour shows of it: half of a leap, a quarter of a start that fades."""
REACH = WINDOW + 1
"""Where a way back is looked for: half of one just outside the window would lie in it."""
LAGS = (1, 2, 4, 8)
"""Samples over which accelerations are taken; the longer ones see small ones above the noise."""
NOISE_FACTOR = 4.0
"""Standard deviations of the noise that are not taken for acceleration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leap:
    """The greatest leap of a column."""

    column: int
    row: int
    """Index of the first sample after it."""
    size: float
    around: float
    """How much other changes from sample to sample differ from their neighbours."""
    ratio: float
    """Of the two."""
    comes_back: bool
    """Whether the value comes back within a few samples."""
    count: int
    """Leaps of the column; there and back is one."""


def leaps(values: FloatArray, intervals: FloatArray, least: FloatArray, ratio: float) -> list[Leap]:
    """Find columns that leap.

    A change leaps where it differs by more than `least` from the mean of the changes before and after it, and by
    `ratio` times more than any other change around it does, and than changes do elsewhere in the column. Repeated
    values are left out first, so that the steps of a slow sensor, or of a command that comes in steps, are each other's
    neighbours.

    Args:
        values: [n, C], finite.
        intervals: Periods between the samples, at least 1 each, [n - 1].
        least: By column, [C].
        ratio: See above.
    """
    if len(values) <= MIN_CHANGES:
        return []
    changes = np.diff(values, axis=0) / intervals[:, None]
    found = []
    for column in np.flatnonzero((np.abs(_differing(changes)) > least).any(axis=0)):
        leap = _column(int(column), changes[:, column], float(least[column]), ratio)
        if leap is not None:
            found.append(leap)
    return found


def _differing(changes: FloatArray) -> FloatArray:
    """How changes differ from the mean of both neighbours, [m]: a smooth motion leaves almost nothing.

    The first and the last one have one neighbour.
    """
    inner = changes[1:-1] - (changes[:-2] + changes[2:]) / 2
    return np.concatenate([changes[:1] - changes[1:2], inner, changes[-1:] - changes[-2:-1]])


def _column(column: int, changes: FloatArray, least: float, ratio: float) -> Leap | None:
    rows = np.flatnonzero(changes)
    if len(rows) < MIN_CHANGES:
        return None
    differing = _differing(changes[rows])
    strength = np.abs(differing)
    places = np.flatnonzero(strength > least)
    offset = np.arange(-REACH, REACH + 1)
    index = places[:, None] + offset
    inside = (index >= 0) & (index < len(strength))
    near = np.where(inside, differing[np.clip(index, 0, len(strength) - 1)], 0.0)
    # A leap by 1 leaves -0.5, 1, -0.5; a spike, which comes back, -0.5, 1.5, -1.5, 0.5.
    pair = near[:, [REACH - 1, REACH + 1]] * -np.sign(differing[places])[:, None]
    is_spike = pair.max(axis=1) > 0.75 * strength[places]
    side = np.where(pair[:, 0] >= pair[:, 1], -1, 1)
    own = (np.abs(offset) <= 1) | (np.abs(offset) > WINDOW) | (is_spike[:, None] & (offset == 2 * side[:, None]))
    # A leap that comes back within a few samples is not to be measured by its own way back.
    back = _way_back(near, offset, strength[places], np.sign(differing[places]))
    own |= (back != 0)[:, None] & (np.abs(offset - back[:, None]) <= 1)
    around = np.max(np.abs(near), axis=1, where=~own, initial=0.0)
    around = np.maximum(around, _elsewhere(strength))
    size = strength[places] / np.where(is_spike, 1.5, 1.0)
    # A start at full speed leaves -0.5, 0.5: without anything on the other side. Where the way back follows two samples
    # later, its half and that of the leap cancel out between them.
    beside = np.where(back == 2, pair[:, 0], np.where(back == -2, pair[:, 1], pair.min(axis=1)))
    is_edge = (places == 0) | (places == len(strength) - 1)
    beside = np.where(is_edge, pair.max(axis=1), beside)
    needed = np.where(is_edge, EDGE_SIDE, 0.2) * strength[places]
    is_leap = (size > least) & (size > ratio * around) & (beside > needed)
    if not is_leap.any():
        return None
    ratios = np.where(is_leap, size / np.maximum(around, 1e-12), 0.0)
    worst = int(np.argmax(ratios))
    # There and back are one; the way there comes first.
    back = np.where(is_spike, side, back)
    first = places[worst] + min(0, int(back[worst]))
    return Leap(
        column=column,
        row=int(rows[first]) + 1,
        size=float(size[worst]),
        around=float(around[worst]),
        ratio=float(min(ratios[worst], 1e6)),
        comes_back=bool(back[worst] != 0),
        count=int((is_leap & (back == 0)).sum()) + int(np.ceil((is_leap & (back != 0)).sum() / 2)),
    )


def _way_back(near: FloatArray, offset: IntArray, strength: FloatArray, sign: FloatArray) -> IntArray:
    """Where in the window a leap of about the same size goes the other way: its offset, 0 where there is none, [k].

    Args:
        near: How changes around each of k candidates differ from their neighbours, [k, 2 REACH + 1].
        offset: Of the columns from the candidate.
        strength: Of the candidates, [k].
        sign: Of the candidates, [k].
    """
    against = -near * sign[:, None] / strength[:, None]
    fits = (np.abs(offset) > 1) & (np.abs(against - 1.0) < 0.35)
    return np.where(fits.any(axis=1), offset[np.argmax(fits * against, axis=1)], 0)


def _elsewhere(strength: FloatArray) -> float:
    """How much changes differ elsewhere, but for the few largest: those of up to two leaps, or 2 %."""
    kept = max(0, len(strength) - max(8, len(strength) // 50))
    return float(np.partition(strength, kept)[kept])


def accelerations(values: FloatArray, elapsed_s: FloatArray, order: int) -> tuple[FloatArray, IntArray]:
    """Lower bounds of the accelerations of columns: what is left of second differences without the noise.

    Args:
        values: Places (order 2) or speeds (order 1), [n, C], finite.
        elapsed_s: Between the samples, [n - 1], positive.
        order: Of the difference.

    Returns:
        Greatest by column, [C], and the row of the middle sample, [C].
    """
    rows, period = len(values), float(np.median(elapsed_s))
    best, where = np.zeros(values.shape[1]), np.zeros(values.shape[1], dtype=np.intp)
    noise = NOISE_FACTOR * _roughness(values) * np.sqrt(6.0 if order == 2 else 2.0)
    time = np.concatenate(([0.0], np.cumsum(elapsed_s)))
    for lag in LAGS:
        if rows <= order * lag:
            break
        before = values[lag:] - values[:-lag]
        span = (time[lag:] - time[:-lag])[:, None]
        if order == 1:
            left = (np.abs(before) - noise) / np.maximum(span, lag * period)
        else:
            even = np.abs(before[lag:] - before[:-lag])
            rates = before / span
            uneven = np.abs(rates[lag:] - rates[:-lag]) * (span[lag:] + span[:-lag]) / 2
            # Stamps that jitter and samples that are missing deceive one of the two, not both.
            left = (np.minimum(even, uneven) - noise) / np.maximum((span[lag:] + span[:-lag]) / 2, lag * period) ** 2
        row = np.argmax(left, axis=0)
        value = left[row, np.arange(left.shape[1])]
        # The shortest lag shows the place best; a longer one must show more.
        is_more = value > 1.05 * best
        where = np.where(is_more, row + (lag if order == 2 else 0), where)
        best = np.where(is_more, value, best)
    return best, where


def _roughness(values: FloatArray) -> FloatArray:
    """Standard deviation of noise and of the steps of an encoder, [n, C] to [C], where the values move at all."""
    fourth = np.diff(values, 4, axis=0)
    if len(fourth) == 0:
        return np.zeros(values.shape[1])
    fourth = np.sort(np.abs(fourth[:: max(1, len(fourth) // MOST_ROWS)]), axis=0)
    # While a coarse encoder rests, its differences are zero and say nothing of it.
    still = (fourth == 0).sum(axis=0)
    middle = np.minimum(still + (len(fourth) - still) // 2, len(fourth) - 1)
    # As in `spread`; 0.6745 is the normal distribution's middle.
    return np.asarray(fourth[middle, np.arange(values.shape[1])] / (0.6745 * np.sqrt(70.0)))
