"""Periods and gaps of a stream, told apart from jitter."""

import numpy as np
from numpy.typing import NDArray

from ._columns import deviation

__all__ = ["find_gaps", "steady_period", "usual_period"]

Int64Array = NDArray[np.int64]
FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.intp]

LAG = 8
"""Intervals that are taken together: jitter of stamps is then an eighth of what it is for one."""
NEIGHBOURS = 12
"""Samples on either side of an interval that say when its ends were due."""
FEW, NOISE = 4, 5.0
"""With fewer on a side, a gap must also be longer than the period by so many deviations of the intervals."""
STALLED = 2.0
"""So many times the length of a gap is one even where no sample is lost: what followed came late."""


def usual_period(time_ns: Int64Array) -> float:
    """Median of eight intervals together, as one; of single ones where there are few, 0 where there are none, ns.

    Neither jitter of the stamps, nor samples that come in twos, nor single losses change it.
    """
    lag = LAG if len(time_ns) > 2 * LAG else 1
    spans = time_ns[lag:] - time_ns[:-lag]
    spans = spans[spans > 0]
    return float(np.median(spans)) / lag if len(spans) else 0.0


def steady_period(intervals: Int64Array, factor: float, floor_ns: float = 0.0) -> float:
    """Mean of the intervals that are no longer than some medians of them, ns; 0 where there are none."""
    positive = intervals[intervals > 0]
    if len(positive) == 0:
        return 0.0
    return float(positive[positive <= factor * max(float(np.median(positive)), floor_ns)].mean())


def find_gaps(time_ns: Int64Array, period_ns: float, limit_ns: float) -> tuple[IndexArray, IndexArray]:
    """Find the intervals in which samples are missing.

    A sample that comes late makes one interval longer and the next one shorter; where one is lost, all later samples
    come a period later. So each end of a long interval is put where its neighbours' median says that it was due. The
    longest of neighbouring ones is closed before the others are looked at again, for it makes them look long too.

    Args:
        time_ns: Stamps, [N].
        period_ns: Of the stream; 0: it has none, and so no gap.
        limit_ns: Gaps are longer.

    Returns:
        Index of the sample before each gap in order, [M]; and about how many samples it lacks, [M]: 0 where none is
        lost, but what followed came late.
    """
    intervals = np.diff(time_ns)
    # Jitter can make the interval of a lost sample shorter than the limit.
    left = np.flatnonzero(intervals > (period_ns + limit_ns) / 2) if period_ns else np.zeros(0, dtype=np.intp)
    if len(left) == 0:
        return left, left
    noise = float(deviation(intervals.astype(np.float64), period_ns))
    is_edge = np.minimum(left + 1, len(intervals) - left) < FEW
    bound = np.where(is_edge, max(limit_ns, period_ns + NOISE * noise), limit_ns)
    time = (time_ns - time_ns[0]).astype(np.float64)
    found, lost = [left[:0]], [left[:0]]
    for _ in range(NEIGHBOURS):
        length = _due_length(time, left, period_ns)
        keep = (length > bound) | (intervals[left] > STALLED * limit_ns)
        left, bound, length = left[keep], bound[keep], length[keep]
        if len(left) == 0:
            break
        top = _longest_nearby(left, intervals[left])
        most = np.maximum(np.round(intervals[left[top]] / period_ns), 2) - 1
        found.append(left[top])
        lost.append(np.clip(np.round(length[top] / period_ns) - 1, 0, most).astype(np.intp))
        shift = np.zeros(len(time))
        shift[left[top] + 1] = lost[-1] * period_ns
        time -= np.cumsum(shift)
        left, bound = left[~top], bound[~top]
    places, counts = np.concatenate(found), np.concatenate(lost)
    order = np.argsort(places)
    return places[order], counts[order]


def _longest_nearby(places: IndexArray, length: Int64Array) -> NDArray[np.bool_]:
    """Which of the places in order has no longer one (of equal ones none earlier) among its neighbours, [M]."""
    top = np.ones(len(places), dtype=bool)
    for k in range(1, min(NEIGHBOURS, len(places) - 1) + 1):
        is_near = places[k:] - places[:-k] <= NEIGHBOURS
        top[:-k] &= ~(is_near & (length[k:] > length[:-k]))
        top[k:] &= ~(is_near & (length[:-k] >= length[k:]))
    return top


def _due_length(time: FloatArray, before: IndexArray, period_ns: float) -> FloatArray:
    """Length of intervals as the samples around them say it, ns, [M]."""
    offsets = np.arange(NEIGHBOURS)
    earlier = np.maximum(before[:, None] - offsets, 0)
    later = np.minimum(before[:, None] + 1 + offsets, len(time) - 1)
    due_before = time[earlier] + (before[:, None] - earlier) * period_ns
    due_after = time[later] - (later - before[:, None] - 1) * period_ns
    found: FloatArray = np.median(due_after, axis=1) - np.median(due_before, axis=1)
    return found
