"""Periods and lost samples of a stream, told apart from jitter."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["lost_between", "steady_period", "usual_period"]

Int64Array = NDArray[np.int64]
FloatArray = NDArray[np.float64]

LAG = 8
"""Intervals that are taken together: jitter of stamps is then an eighth of what it is for one."""
NEIGHBOURS = 12
"""Samples on either side of an interval that say when its ends were due."""


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


def lost_between(time_ns: Int64Array, before: NDArray[np.intp], period_ns: float) -> FloatArray:
    """Length of intervals as the samples around them say it, ns, [M].

    A sample that comes late makes one interval longer and the next one shorter; where one is lost, all later samples
    come a period later. So each end is put where its neighbours' median says that it was due.

    Args:
        time_ns: Stamps, [N].
        before: Index of the sample before each interval, [M].
        period_ns: Of the stream.
    """
    offsets = np.arange(NEIGHBOURS)
    earlier = np.maximum(before[:, None] - offsets, 0)
    later = np.minimum(before[:, None] + 1 + offsets, len(time_ns) - 1)
    # From the sample before each interval on, so that nanoseconds since 1970 lose nothing as floats.
    origin = time_ns[before][:, None]
    due_before = (time_ns[earlier] - origin) + (before[:, None] - earlier) * period_ns
    due_after = (time_ns[later] - origin) - (later - before[:, None] - 1) * period_ns
    found: FloatArray = np.median(due_after, axis=1) - np.median(due_before, axis=1)
    return found
