"""What stamps say about a stream: rate, jitter, gaps, equal and backward stamps, and what is wrong with them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["GAP_FACTOR", "ClockSummary", "clock_problems", "is_unix", "summarize"]

Int64Array = NDArray[np.int64]

GAP_FACTOR = 1.5
"""An interval longer than this many periods is a gap: half-way between no and one missing sample."""

AHEAD_NS = 100_000
"""Stamps ahead of their receipt by this are of another clock."""
BEHIND_NS = 200_000_000
"""Stamps this far behind their receipt are worth a word."""
FLOAT32_NS = 128_000_000_000
"""The step of Unix seconds in float32, from 2004 to 2038."""
COARSE_NS = 1_000_000
"""Stamps of a coarser resolution than this are named, where it is no small part of the period."""

_YEAR_2000_NS = 946_684_800 * 1_000_000_000
_YEAR_2100_NS = 4_102_444_800 * 1_000_000_000


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


def is_unix(time_ns: Int64Array) -> bool:
    """Whether stamps can be Unix time: between the years 2000 and 2100."""
    return len(time_ns) > 0 and _YEAR_2000_NS <= int(np.median(time_ns)) < _YEAR_2100_NS


def clock_problems(time_ns: Int64Array, receive_ns: Int64Array | None = None, choice: str = "") -> tuple[str, ...]:
    """Say what is wrong with a stream's stamps, one line each; where nothing is, nothing.

    Args:
        time_ns: Stamps in recorded order, [N].
        receive_ns: When the recorder received the samples, [N]; None where not known or the same.
        choice: What the stamps are, for the words: `header`.
    """
    name = f"{choice} stamps" if choice else "stamps"
    num_zero = int((time_ns == 0).sum())
    if len(time_ns) == 0 or (num_zero and num_zero == len(time_ns)):
        return (f"{name} are 0",) if num_zero else ()
    if num_zero == 1 and time_ns[0] == 0:
        num_zero = 0  # a clock that begins with the recording
    found = [f"{num_zero} {name} are 0"] if num_zero else []
    given = time_ns[time_ns != 0] if num_zero else time_ns
    found += _resolution(given, name)
    steps = np.diff(given)
    num_backward, num_equal = int((steps < 0).sum()), int((steps == 0).sum())
    if num_backward:
        found.append(f"time goes backward {num_backward} times")
    if num_equal and num_equal < len(steps):
        found.append(f"{num_equal} stamps equal the one before")
    if receive_ns is not None:
        found += _against_receipt(given, receive_ns[time_ns != 0] if num_zero else receive_ns, choice or "stamps")
        found += _resolution(receive_ns, "times of receipt")
    return tuple(found)


def _resolution(time_ns: Int64Array, name: str) -> list[str]:
    """Stamps that lie on a coarse lattice: float32, whole seconds, a slow timer."""
    if len(time_ns) < 2:
        return []
    is_float32 = is_unix(time_ns) and not (time_ns % FLOAT32_NS).any()
    reason = ": Unix seconds were kept in float32, the time of the samples is lost" if is_float32 else ""
    positive = np.diff(time_ns)
    positive = positive[positive > 0]
    if len(positive) == 0:
        return [f"all {len(time_ns)} {name} are equal{reason}"]
    if is_float32:
        return [f"{name} are whole multiples of 128 s{reason}"]
    lattice, period = int(np.gcd.reduce(positive)), float(np.median(positive))
    # Evenly spaced stamps lie on a lattice of their period, which is no fault; but two on one point are.
    is_uneven = bool((positive % period).any()) or bool((np.diff(time_ns) == 0).any())
    if lattice >= COARSE_NS and 20 * lattice >= period and is_uneven and 2 * len(positive) > len(time_ns):
        return [f"{name} are whole multiples of {lattice / 1e6:g} ms"]
    if lattice >= COARSE_NS and len(positive) < len(time_ns) // 2:
        return [f"{name} change every {period / 1e6:g} ms only"]
    return []


def _against_receipt(time_ns: Int64Array, receive_ns: Int64Array, what: str) -> list[str]:
    if is_unix(time_ns) is not is_unix(receive_ns):
        return ["stamps and times of receipt count from different starts"]
    ahead = float(np.median(time_ns.astype(np.float64) - receive_ns)) if len(time_ns) else 0.0
    if abs(ahead) < 1e12:
        ahead = float(np.median(time_ns - receive_ns))
    if ahead > AHEAD_NS:
        return [f"{what} ahead of log by {ahead / 1e6:.1f} ms (median)"]
    return [f"{what} behind log by {-ahead / 1e6:.1f} ms (median)"] if -ahead > BEHIND_NS else []
