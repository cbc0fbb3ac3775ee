"""Statistics of columns in which values may be missing (NaN), [T, K] to [K]."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["correlate", "deviation", "span"]

FloatArray = NDArray[np.float64]

NORMAL = 1.4826
"""Standard deviations of a normal distribution in its median distance from the middle."""


def deviation(values: FloatArray, middle: FloatArray | float) -> FloatArray:
    """Standard deviation as the median distance from the middle says it: a few odd values do not move it."""
    return np.asarray(NORMAL * np.median(np.abs(values - middle), axis=0))


def span(values: FloatArray) -> FloatArray:
    """Largest minus smallest known value; 0 where there is none."""
    known = np.isfinite(values)
    high = np.where(known, values, -np.inf).max(axis=0, initial=-np.inf)
    low = np.where(known, values, np.inf).min(axis=0, initial=np.inf)
    return np.asarray(np.where(high >= low, high - low, 0.0))


def correlate(first: FloatArray, second: FloatArray, fewest: int = 1) -> tuple[FloatArray, FloatArray]:
    """Correlation of each column with the same column of another, and the slope of the second over the first.

    Both over the rows that both know; 0 where these are fewer than some, or where nothing changes.
    """
    known = np.isfinite(first) & np.isfinite(second)
    count = known.sum(axis=0)
    a, b = (_centred(x, known, count) for x in (first, second))
    aa, bb, ab = (np.einsum("tk,tk->k", x, y) for x, y in ((a, a), (b, b), (a, b)))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        found = (ab / np.sqrt(aa * bb), ab / aa)
    correlation, slope = (np.where((count >= fewest) & np.isfinite(x), x, 0.0) for x in found)
    return correlation, slope


def _centred(values: FloatArray, known: NDArray[np.bool_], count: NDArray[np.intp]) -> FloatArray:
    filled = np.where(known, values, 0.0)
    return np.where(known, filled - filled.sum(axis=0) / np.maximum(count, 1), 0.0)
