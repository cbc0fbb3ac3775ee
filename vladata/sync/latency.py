"""How long one motion comes after another, by cross-correlation: a state after its command, images after the joints.

Both are speeds: what stands still says nothing. They are brought onto one fine grid with the same smoothing, and
correlated where both are there (gaps don't count). The lag is that of the highest correlation; its uncertainty comes
from the width of the peak against the noise, and from how well parts of the recording and dimensions agree. Where there
is too little motion, or another lag does as well, the answer is "not measurable", never a number.

Source: D. Padfield, Masked object registration in the Fourier domain, doi:10.1109/TIP.2011.2181402 (the correlation).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Latency", "Motion", "estimate_latency", "speed_of"]

Int64Array = NDArray[np.int64]
FloatArray = NDArray[np.float64]

MAX_SPAN_NS = 120_000_000_000
"""So much of a recording is looked at."""
MIN_SPAN_NS = 2_000_000_000
MIN_CORRELATION = 0.4
SIGNIFICANCE = 4.0
"""Standard deviations that a correlation must be above that of unrelated motions."""
AMBIGUITY = 1.5
"""Standard deviations that the highest correlation must be above that at any other lag's peak."""
SAME = 0.97
"""A correlation at another lag's peak that reaches this share of the highest does as well, whatever the noise."""
GAP_FACTOR = 4.0
"""Intervals longer than so many periods don't count."""
SMOOTH_NS = 60_000_000
"""Least width of the smoothing; it lets the noise of differences not count."""
PART_NS = 5_000_000_000
MAX_PARTS = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Motion:
    """How fast something moves."""

    time_ns: Int64Array
    """Strictly increasing, [N]."""
    values: FloatArray
    """Speeds, [N, D]."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Latency:
    """How long one motion comes after another."""

    latency_ns: int | None
    """Positive: it follows so much later. None: not measurable."""
    uncertainty_ns: int | None
    """Half-width of the interval that holds it, about 95 %."""
    reason: str = ""
    """Why it is not measurable."""
    correlation: float = 0.0
    """Highest, of the dimensions that count."""
    used: tuple[int, ...] = ()
    """Dimensions that count."""
    lags_ns: Int64Array = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """Lags that were looked at, [L]."""
    profile: FloatArray = field(default_factory=lambda: np.zeros(0))
    """Mean correlation at each lag, [L]."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Grid:
    """Both motions on one grid."""

    step_ns: int
    lead: FloatArray
    """[D, N], zero where it does not count."""
    follow: FloatArray
    lead_counts: FloatArray
    """1 where there are samples near, [N]."""
    follow_counts: FloatArray
    slow_ns: float
    """The longer of the two periods."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Peak:
    lag_ns: float
    error_ns: float
    """Half-width, 95 %."""
    height: float
    reason: str = ""


def speed_of(time_ns: Int64Array, values: NDArray[np.generic]) -> Motion:
    """Speeds between consecutive samples, at the middle of each interval.

    Rows that are not finite and stamps that do not increase are left out.

    Args:
        time_ns: [N].
        values: Positions, [N, D].
    """
    plain = values.astype(np.float64)
    rows = np.flatnonzero(np.isfinite(plain).all(axis=1))
    latest = np.maximum.accumulate(time_ns[rows]) if len(rows) else time_ns[rows]
    rows = rows[np.append(True, latest[1:] > latest[:-1])[: len(rows)]]
    intervals = np.diff(time_ns[rows])
    speeds = np.diff(plain[rows], axis=0) / np.maximum(intervals, 1)[:, None] * 1e9
    return Motion(time_ns=time_ns[rows][:-1] + intervals // 2, values=speeds)


def estimate_latency(
    lead: Motion, follow: Motion, *, earliest_ns: int = -1_000_000_000, latest_ns: int = 1_000_000_000
) -> Latency:
    """Measure how much later one motion does what another did.

    Args:
        lead: [N, D].
        follow: [M, D], the same dimensions.
        earliest_ns: Lags are looked at from here …
        latest_ns: … to here; a peak at either end is none.
    """
    grid = _gridded(lead, follow)
    if isinstance(grid, str):
        return Latency(latency_ns=None, uncertainty_ns=None, reason=grid)
    lags = np.arange(-(-earliest_ns // grid.step_ns), latest_ns // grid.step_ns + 1) * grid.step_ns
    profiles = [_correlation(grid, d, lags, grid.lead_counts) for d in range(len(grid.lead))]
    peaks = [_peak(p, lags, _independent(grid, d)) for d, p in enumerate(profiles)]
    used = [d for d, peak in enumerate(peaks) if not peak.reason]
    if not used:
        best = max(range(len(peaks)), key=lambda d: peaks[d].height)
        return Latency(
            latency_ns=None, uncertainty_ns=None, reason=peaks[best].reason, lags_ns=lags, profile=profiles[best]
        )
    lag, error = _combined([peaks[d] for d in used], _parts(grid, used, lags), grid)
    return Latency(
        latency_ns=round(lag),
        uncertainty_ns=round(error),
        correlation=float(max(peaks[d].height for d in used)),
        used=tuple(used),
        lags_ns=lags,
        profile=np.mean([profiles[d] for d in used], axis=0),
    )


def _gridded(lead: Motion, follow: Motion) -> _Grid | str:
    """Both on one grid over the time they share; or why there is none."""
    if min(len(lead.time_ns), len(follow.time_ns)) < 20:
        return "there are too few samples"
    start = max(int(lead.time_ns[0]), int(follow.time_ns[0]))
    end = min(int(lead.time_ns[-1]), int(follow.time_ns[-1]), start + MAX_SPAN_NS)
    if end - start < MIN_SPAN_NS:
        return f"both are there for {max(0, end - start) / 1e9:.1f} s only"
    periods = [float(np.median(np.diff(m.time_ns))) for m in (lead, follow)]
    step = int(max(1_000_000, min(periods) / 2, (end - start) / 32768))
    times = np.arange(start, end, step)
    width = max(1, round(max(SMOOTH_NS, 2 * max(periods)) / step)) | 1
    sides = [_on_grid(m, times, width, p) for m, p in zip((lead, follow), periods, strict=True)]
    return _Grid(
        step_ns=step,
        lead=sides[0][0],
        follow=sides[1][0],
        lead_counts=sides[0][1],
        follow_counts=sides[1][1],
        slow_ns=max(periods),
    )


def _on_grid(motion: Motion, times: Int64Array, width: int, period: float) -> tuple[FloatArray, FloatArray]:
    following = np.clip(np.searchsorted(motion.time_ns, times, side="left"), 1, len(motion.time_ns) - 1)
    counts = (motion.time_ns[following] - motion.time_ns[following - 1] <= GAP_FACTOR * period).astype(np.float64)
    kernel = np.ones(width) / width
    x, at = (times - times[0]).astype(np.float64), (motion.time_ns - times[0]).astype(np.float64)
    rows = []
    for column in motion.values.T:
        smooth = np.convolve(np.pad(np.interp(x, at, column), width // 2, mode="edge"), kernel, mode="valid")
        smooth = smooth - smooth.mean()
        scale = float(smooth.std())
        rows.append(smooth / scale * counts if scale > 1e-12 else np.zeros(len(times)))
    return np.array(rows), counts


def _correlation(grid: _Grid, d: int, lags: Int64Array, counts: FloatArray) -> FloatArray:
    """Pearson's correlation at each lag, over the samples that count on both sides, [L]."""
    size = 1 << (2 * grid.lead.shape[1] - 1).bit_length()
    steps = lags // grid.step_ns

    def across(a: FloatArray, b: FloatArray) -> FloatArray:
        full = np.fft.irfft(np.conj(np.fft.rfft(a, size)) * np.fft.rfft(b, size), size)
        return np.asarray(full[steps % size])

    x, y = grid.lead[d] * counts, grid.follow[d] * grid.follow_counts
    num = np.maximum(across(counts, grid.follow_counts), 1.0)
    sum_x, sum_y = across(x, grid.follow_counts), across(counts, y)
    both = across(x, y) - sum_x * sum_y / num
    spread_x = across(x * x, grid.follow_counts) - sum_x * sum_x / num
    spread_y = across(counts, y * y) - sum_y * sum_y / num
    product = spread_x * spread_y
    enough = (product > 1e-6 * num * num) & (num * grid.step_ns >= MIN_SPAN_NS / 2)
    return np.where(enough, both / np.sqrt(np.where(enough, product, 1.0)), 0.0)


def _independent(grid: _Grid, d: int) -> float:
    """How many independent samples the two motions are worth: their time over that in which they remember."""
    size = 1 << (2 * grid.lead.shape[1] - 1).bit_length()
    memory = np.ones(grid.lead.shape[1] // 2)
    for row in (grid.lead[d], grid.follow[d]):
        power = np.fft.irfft(np.square(np.abs(np.fft.rfft(row, size))), size)[: len(memory)]
        memory *= power / power[0] if power[0] > 0 else 0
    # To where it has faded first; motions that repeat themselves are found as another peak.
    faded = np.flatnonzero(memory < 0.05)
    total = 2 * float(memory[: faded[0] if len(faded) else None].sum()) - 1
    return max(float(np.sum(grid.lead_counts * grid.follow_counts)) / max(total, 1.0), 4.0)


def _peak(profile: FloatArray, lags: Int64Array, independent: float) -> _Peak:
    """The highest correlation, if it is one."""
    k = int(np.argmax(profile))
    height = float(min(profile[k], 1 - 1e-6))
    needed = max(MIN_CORRELATION, float(np.tanh(SIGNIFICANCE / np.sqrt(max(independent - 3, 1.0)))))
    if height < needed:
        reason = f"too little common motion: the highest correlation is {height:.2f}; must be {needed:.2f}"
        return _Peak(lag_ns=0, error_ns=0, height=height, reason=reason)
    if k in {0, len(lags) - 1}:
        reason = f"the correlation still grows at a lag of {lags[k] / 1e6:.0f} ms"
        return _Peak(lag_ns=0, error_ns=0, height=height, reason=reason)
    # How much less likely each lag is than the best one, under normal noise.
    worse = independent * np.log((1 - np.square(np.clip(profile, 0, 1 - 1e-6))) / (1 - height**2))
    near = worse <= 3.84
    low, high = k, k
    while low > 0 and near[low - 1]:
        low -= 1
    while high < len(lags) - 1 and near[high + 1]:
        high += 1
    other = _other_peak(profile, k)
    if other is not None:
        apart = (np.arctanh(height) - np.arctanh(min(max(profile[other], 0.0), 1 - 1e-6))) * np.sqrt(independent / 2)
        if apart < AMBIGUITY or profile[other] > SAME * height:
            shown = f"{lags[k] / 1e6:.0f} ms and {lags[other] / 1e6:.0f} ms do equally well"
            return _Peak(lag_ns=0, error_ns=0, height=height, reason=f"the motion repeats itself: lags of {shown}")
    before, after = float(profile[k - 1]), float(profile[k + 1])
    bend = before - 2 * height + after
    shift = 0.5 * (before - after) / bend if bend < 0 else 0.0
    step = float(lags[1] - lags[0])
    # The interval ends between the last lag that is near and the next one.
    return _Peak(lag_ns=float(lags[k]) + shift * step, error_ns=(high - low + 1) / 2 * step, height=height)


def _other_peak(profile: FloatArray, k: int) -> int | None:
    """The highest local maximum beyond the valleys on either side of the highest one."""
    low, high = k, k
    while low > 0 and profile[low - 1] <= profile[low]:
        low -= 1
    while high < len(profile) - 1 and profile[high + 1] <= profile[high]:
        high += 1
    inner = np.flatnonzero((profile[1:-1] >= profile[:-2]) & (profile[1:-1] >= profile[2:])) + 1
    others = inner[(inner < low) | (inner > high)]
    return int(others[np.argmax(profile[others])]) if len(others) else None


def _parts(grid: _Grid, used: Sequence[int], lags: Int64Array) -> list[float]:
    """Lags of parts of the time that have motion enough to tell, all dimensions together."""
    total = grid.lead.shape[1]
    count = min(MAX_PARTS, int(total * grid.step_ns // PART_NS))
    found = []
    for part in np.array_split(np.arange(total), count) if count > 1 else []:
        counts = np.zeros(total)
        counts[part] = grid.lead_counts[part]
        profile = np.mean([_correlation(grid, d, lags, counts) for d in used], axis=0)
        share = sum(_independent(grid, d) for d in used) / len(used) / count
        peak = _peak(profile, lags, max(share, 4.0))
        if not peak.reason:
            found.append(peak.lag_ns)
    return found


def _combined(peaks: Sequence[_Peak], parts: Sequence[float], grid: _Grid) -> tuple[float, float]:
    """One lag and its uncertainty: the dimensions' weighted median, and the worst of what speaks against it."""
    order = sorted(range(len(peaks)), key=lambda i: peaks[i].lag_ns)
    weights = np.array([1 / max(peaks[i].error_ns, 1.0) ** 2 for i in order])
    middle = order[int(np.searchsorted(np.cumsum(weights), weights.sum() / 2))]
    lag = peaks[middle].lag_ns
    width = min(p.error_ns for p in peaks)
    disagreements = [
        2 * 1.4826 * float(np.median(np.abs(np.array(lags) - lag))) / np.sqrt(len(lags))
        for lags in (parts, [p.lag_ns for p in peaks])
        if len(lags) > 1
    ]
    # What stands for the time between two samples is not known better than to a part of the slower period.
    return lag, float(np.hypot(max([width, *disagreements]), grid.slow_ns / 4))
