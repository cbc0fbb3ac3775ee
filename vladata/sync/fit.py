"""A stream's clock against the recorder's: offset and drift, fitted so that delays, bursts and jumps do not bend it.

Model: receive - stamp = offset + drift · (stamp - at) + delay, where the delay is never negative, changes with every
sample and is often one-sided. Its constant part can't be told from the offset by stamps alone.

How: samples are cut into at most 64 blocks of equal count. Each block gives several figures of its delays (the least,
quantiles, a trimmed mean), a line is fitted through each figure's blocks (Tukey's biweight, begun at the Theil–Sen
slope), and the line whose blocks scatter least is taken: the least delay where delays are one-sided, the mean where
they are symmetric. The scatter of the blocks also gives the uncertainty, honestly where delays come in bursts.
Measured beside other estimators in benchmarks/timing.py.
"""

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ._jumps import JUMP_NS, jumping_blocks, refined
from .clock import COARSE_NS

__all__ = ["SHORT_S", "ClockFit", "Jump", "fit_clock"]

Int64Array = NDArray[np.int64]
FloatArray = NDArray[np.float64]

SHORT_S = 60.0
"""Below this duration the error that the drift must be expected to have is stated with the estimate."""
MIN_SAMPLES = 20
"""Fewer samples have no drift."""
MAX_SAMPLES = 200_000
"""Of more, evenly spaced ones are looked at."""
MIN_DURATION_NS = 1_000_000_000
MAX_BLOCKS = 64
MIN_BLOCK = 8
"""Samples of a block, where there are enough."""
TYPICAL = 0.35
"""Quantile of the delays that the offset contains: between the median, about which symmetric jitter lies, and the
least, above which one-sided jitter lies; of 5 ms jitter of any shape it stays within 3 ms of the constant part."""
COVERAGE, COVERAGE_FEW = 2.3, 8.0
"""Standard errors in an uncertainty, and by how much of them it grows with 1 / blocks: about 95 % of simulated fits
lie within (an ideal one needs 2; the choice of the figure of least scatter takes the rest)."""
_FIGURES = ("least", "quantile 0.1", "quantile 0.35", "median", "trimmed mean")


@dataclass(frozen=True, slots=True, kw_only=True)
class Jump:
    """Where receive - stamp changes at once, and stays changed."""

    index: int
    """First sample after it."""
    time_ns: int
    """Its stamp."""
    size_ns: int
    """By how much receive - stamp grows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockFit:
    """A stream's clock against the recorder's."""

    at_ns: int
    """The stamp at which the offset holds: that of the middle sample."""
    offset_ns: int
    """Receive - stamp at `at_ns`, with the typical transport delay in it; add it to a stamp to get time of receipt.
    After a jump (`jumps`) it is another."""
    offset_uncertainty_ns: int
    """Half-width of the interval that holds the offset with the constant part of the delay, 95 %."""
    drift_ppm: float | None
    """How much longer a second of the stream's clock takes on the recorder's, in millionths; None: not measurable."""
    drift_uncertainty_ppm: float | None
    """Half-width of the drift's interval, 95 %."""
    delay_spread_ns: int
    """95th - 5th percentile of what is left: the transport delay's jitter."""
    delay_max_ns: int
    """The longest delay beyond the typical one."""
    num: int
    """Samples."""
    duration_s: float
    """Of the stream's clock, from the lowest stamp to the highest."""
    figure: str = ""
    """Which figure of the blocks' delays the line goes through."""
    jumps: tuple[Jump, ...] = ()
    problems: tuple[str, ...] = ()
    """What is odd about this clock, one line each."""
    rows: NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, dtype=np.intp), compare=False, repr=False)
    """Which samples were looked at, [M]."""
    residual_ns: FloatArray = field(default_factory=lambda: np.zeros(0), compare=False, repr=False)
    """Their receive - stamp without offset, drift and jumps, [M]; neither is stored."""

    @property
    def is_straight(self) -> bool:
        """Whether one offset and one drift describe all of it."""
        return not self.jumps

    @property
    def statement(self) -> str:
        """What error the drift must be expected to have, in words."""
        if self.drift_ppm is None or self.drift_uncertainty_ppm is None:
            return f"{self.num:,} samples in {self.duration_s:.1f} s: the drift can't be measured"
        expected = f"drift within ±{self.drift_uncertainty_ppm:.1f} ppm (95 %)"
        return f"only {self.duration_s:.1f} s: {expected}" if self.duration_s < SHORT_S else expected


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Line:
    slope: float
    slope_error: float
    """95 %."""
    level_error: float
    """95 %."""
    figure: str
    rest: FloatArray
    """Blocks without the line, [K]."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Blocks:
    """Samples cut into blocks of equal count, and parts between jumps."""

    first: int
    """Of the first block."""
    count: int
    size: int
    part: NDArray[np.int_]
    """Which part each block is in, [K]; -1 where a jump lies in the block."""

    def cut(self, values: FloatArray) -> FloatArray:
        """Values by block, [K, size]."""
        return values[self.first : self.first + self.count * self.size].reshape(self.count, self.size)


def fit_clock(time_ns: Int64Array, receive_ns: Int64Array) -> ClockFit | None:
    """Fit offset and drift of a stream's stamps against the times of receipt.

    Args:
        time_ns: Stamps in recorded order, [N]; zeros beside other stamps are no stamps and left out.
        receive_ns: [N].

    Returns:
        The fit; None where the stamps do not go on with time: fewer than two, or more equal than different ones.
    """
    rows = np.flatnonzero(time_ns) if (time_ns == 0).any() else np.arange(len(time_ns))
    if len(rows) < 2 or 2 * int((np.diff(time_ns[rows]) == 0).sum()) >= len(rows):
        return None
    rows = rows[:: -(-len(rows) // MAX_SAMPLES)]
    stamps = time_ns[rows]
    lag = receive_ns[rows] - stamps
    some = lag[:: max(1, len(lag) // 500)]
    at, base = int(stamps[len(stamps) // 2]), int(np.partition(some, len(some) // 2)[len(some) // 2])
    x, y = (stamps - at).astype(np.float64), (lag - base).astype(np.float64)
    jumps: tuple[Jump, ...] = ()
    line, level = None, np.zeros(len(y))
    duration = int(stamps.max()) - int(stamps.min())
    if len(rows) >= MIN_SAMPLES and duration >= MIN_DURATION_NS:
        line, level, jumps = _straighten(x, y, rows, time_ns)
    # Rounded, so that the last bits of a machine's arithmetic decide nothing.
    drift_ppm = round(line.slope * 1e6, 4) if line is not None else None
    slope = (drift_ppm or 0.0) * 1e-6
    rest = y - slope * x - level
    low, p5, typical, p95, high = np.quantile(rest, [0.01, 0.05, TYPICAL, 0.95, 1.0])
    error = line.level_error if line is not None else float(p95 - p5)
    # The constant part of the delay lies at or below the least one; a quarter more, for that is seldom seen.
    error += 1.25 * float(typical - low)
    return ClockFit(
        at_ns=at,
        offset_ns=base + round(float(typical)),
        offset_uncertainty_ns=round(float(error)),
        drift_ppm=drift_ppm,
        drift_uncertainty_ppm=None
        if line is None
        else round(_slope_error(line, y, receive_ns[rows], duration) * 1e6, 3),
        delay_spread_ns=round(float(p95 - p5)),
        delay_max_ns=round(float(high - typical)),
        num=len(rows),
        duration_s=duration / 1e9,
        figure="" if line is None else line.figure,
        jumps=jumps,
        problems=_problems(line, jumps, int(stamps[0])),
        rows=rows,
        residual_ns=rest - typical,
    )


def _slope_error(line: _Line, y: FloatArray, receive_ns: Int64Array, duration_ns: int) -> float:
    """Of the drift; where times of receipt are so coarse that nothing scatters, half a step of them at the ends."""
    steps = np.diff(receive_ns)
    lattice = int(np.gcd.reduce(steps)) if y.max() > y.min() else 0
    is_coarse = lattice >= COARSE_NS and 10 * float(np.median(np.abs(line.rest))) < lattice
    return max(line.slope_error, lattice / (2 * duration_ns)) if is_coarse else line.slope_error


def _problems(line: _Line | None, jumps: tuple[Jump, ...], first_ns: int) -> tuple[str, ...]:
    found = [
        f"receive - stamp jumps by {j.size_ns / 1e6:+.1f} ms at {(j.time_ns - first_ns) / 1e9:.2f} s and stays so: "
        "the clock was set, or the transport changed"
        for j in jumps
    ]
    if line is not None and len(line.rest) >= 16:
        # An eighth of the time evens out jitter; that a burst of delays fills one or two of them says nothing.
        whole = len(line.rest) // 8 * 8
        parts = np.abs(np.median(line.rest[:whole].reshape(8, -1), axis=1))
        jitter = 1.4826 * float(np.median(np.abs(np.diff(line.rest)))) / np.sqrt(2)
        bound = max(JUMP_NS, 6 * jitter / np.sqrt(whole / 8))
        if np.count_nonzero(parts > bound) >= 3:
            largest = parts.max() / 1e6
            found.append(f"the drift is not constant: receive - stamp leaves the straight line by {largest:.1f} ms")
    return tuple(found)


def _straighten(
    x: FloatArray, y: FloatArray, rows: NDArray[np.int_], time_ns: Int64Array
) -> tuple[_Line, FloatArray, tuple[Jump, ...]]:
    """The line through all samples, the level of each sample beside it (0, but after jumps), and the jumps."""
    size = max(MIN_BLOCK if len(x) >= 16 * MIN_BLOCK else 4, -(-len(x) // MAX_BLOCKS))
    count = len(x) // size
    first = (len(x) - count * size) // 2
    blocks = _Blocks(first=first, count=count, size=size, part=np.zeros(count, dtype=np.int_))
    centres, middles = blocks.cut(x).mean(axis=1), np.median(blocks.cut(y), axis=1)
    places = sorted({refined(y, first + k * size, size) for k in jumping_blocks(centres, middles)})
    if not places:
        return _fit_line(x, y, centres, middles, blocks), np.zeros(len(y)), ()
    edges = first + np.arange(count + 1) * size
    part = np.searchsorted(places, edges[:-1], side="right")
    part[part != np.searchsorted(places, edges[1:] - 1, side="right")] = -1
    line = _fit_line(x, y, centres, middles, replace(blocks, part=part))
    level = _levels(y - line.slope * x, places)
    jumps = tuple(
        Jump(index=int(rows[p]), time_ns=int(time_ns[rows[p]]), size_ns=round(float(level[p] - level[p - 1])))
        for p in places
    )
    return line, level, jumps


def _levels(flat: FloatArray, places: list[int]) -> FloatArray:
    """Level of each sample against that of the part in which the middle sample lies."""
    bounds = [0, *places, len(flat)]
    medians = [float(np.median(flat[a:b])) for a, b in pairwise(bounds)]
    middle = medians[int(np.searchsorted(places, len(flat) // 2, side="right"))]
    return np.repeat(np.array(medians) - middle, np.diff(bounds))


@lru_cache(maxsize=4)
def _pairs(count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    first, second = np.triu_indices(count, 1)
    return first, second


def _fit_line(x: FloatArray, y: FloatArray, centres: FloatArray, middles: FloatArray, blocks: _Blocks) -> _Line:
    """The line of least uncertainty among those through the blocks' figures."""
    first, second = _pairs(blocks.count)
    slopes = (middles[second] - middles[first]) / (centres[second] - centres[first] + 1e-9)
    if blocks.part.any():
        slopes = slopes[(blocks.part[first] == blocks.part[second]) & (blocks.part[first] >= 0)]
    begin = float(np.median(slopes))
    # Without the slope the figures of a block are those of its delays, however long it is.
    size, cut = blocks.size, blocks.size // 10
    places = [0, cut, int(TYPICAL * size), size // 2]
    delays = np.partition(blocks.cut(y - begin * x), sorted({*places, size - cut - 1}), axis=1)
    figures = np.vstack([delays[:, places].T, delays[:, cut : size - cut].mean(axis=1)])
    slope, errors, rest = _biweight(centres, figures, blocks.part)
    num = np.count_nonzero(blocks.part >= 0)
    best = int(np.argmin(errors))
    coverage = COVERAGE * (1 + COVERAGE_FEW / num)
    scatter = 1.4826 * float(np.median(np.abs(rest[best])))
    return _Line(
        slope=begin + float(slope[best]),
        slope_error=coverage * float(errors[best]),
        level_error=coverage * scatter / math.sqrt(num),
        figure=_FIGURES[best],
        rest=rest[best],
    )


def _biweight(x: FloatArray, figures: FloatArray, part: NDArray[np.int_]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Lines by Tukey's biweight for each row of figures: slope, its standard error, and what is left.

    Parts between jumps have a level of their own and the slope in common.
    """
    member = (part == np.arange(max(int(part.max()), 0) + 1)[:, None]).astype(np.float64)
    counted = member.sum(axis=0)
    slope = np.zeros((len(figures), 1))
    level = sum(np.median(figures[:, m > 0], axis=1, keepdims=True) * m for m in member)
    for _ in range(5):
        rest = figures - level - slope * x
        scale = 1.4826 * np.median(np.abs(rest), axis=1, keepdims=True) + 1.0
        weight = np.square(np.clip(1 - np.square(rest / (6.0 * scale)), 0, None)) * counted
        total = np.maximum(weight @ member.T, 1e-30)
        away = (x - ((weight * x) @ member.T / total) @ member) * counted
        spread = np.maximum((weight * away * away).sum(axis=1, keepdims=True), 1e-30)
        slope = (weight * away * figures).sum(axis=1, keepdims=True) / spread
        level = ((weight * (figures - slope * x)) @ member.T / total) @ member
    rest = figures - level - slope * x
    num = (weight > 0).sum(axis=1)
    few = np.sqrt(num / np.maximum(num - 1 - len(member), 1))
    errors = np.sqrt(np.square(weight * away * rest).sum(axis=1)) / spread[:, 0] * few
    return slope[:, 0], errors, rest * counted
