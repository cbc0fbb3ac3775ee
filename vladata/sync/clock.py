"""What stamps say about a stream: rate, jitter, gaps, equal and backward stamps."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["GAP_FACTOR", "ClockSummary", "summarize"]

GAP_FACTOR = 1.5
"""An interval longer than this many periods is a gap: half-way between no and one missing sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockSummary:
    """Figures of one stream's stamps."""

    count: int
    start_ns: int = 0
    """Lowest stamp."""
    end_ns: int = 0
    """Highest stamp."""
    period_ns: float = 0.0
    """Median of the positive intervals; 0 where there are none."""
    jitter_ns: float = 0.0
    """99th percentile of |interval - period| over the intervals that are not gaps."""
    num_equal: int = 0
    """Samples with the stamp of the one before."""
    num_backward: int = 0
    """Samples with an earlier stamp than the one before."""
    gaps: tuple[tuple[int, int], ...] = ()
    """Index of the sample before each gap and the gap's length in ns, in order."""

    @property
    def rate_hz(self) -> float:
        """1 / median period; 0 where there is no interval."""
        return 1e9 / self.period_ns if self.period_ns else 0.0

    @property
    def duration_s(self) -> float:
        """From the lowest stamp to the highest."""
        return (self.end_ns - self.start_ns) / 1e9


def summarize(time_ns: NDArray[np.int64]) -> ClockSummary:
    """Summarize stamps in recorded order, [N]."""
    if len(time_ns) == 0:
        return ClockSummary(count=0)
    low, high = int(time_ns.min()), int(time_ns.max())
    intervals = np.diff(time_ns)
    positive = intervals[intervals > 0]
    if len(positive) == 0:
        return ClockSummary(
            count=len(time_ns),
            start_ns=low,
            end_ns=high,
            num_equal=int((intervals == 0).sum()),
            num_backward=int((intervals < 0).sum()),
        )
    period = float(np.median(positive))
    is_gap = intervals > GAP_FACTOR * period
    steady = intervals[(intervals > 0) & ~is_gap]
    jitter = float(np.percentile(np.abs(steady - period), 99)) if len(steady) else 0.0
    return ClockSummary(
        count=len(time_ns),
        start_ns=low,
        end_ns=high,
        period_ns=period,
        jitter_ns=jitter,
        num_equal=int((intervals == 0).sum()),
        num_backward=int((intervals < 0).sum()),
        gaps=tuple((int(i), int(intervals[i])) for i in np.flatnonzero(is_gap)),
    )
