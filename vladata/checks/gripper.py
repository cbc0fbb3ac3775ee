"""Grippers: commands and apertures that go to and fro."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..episode import Episode
from ..finding import Finding, Severity
from ..units import Clock, Mode
from ._check import check
from ._look import Numbers, numbers, quantity, spot, steps_between
from ._motion import GRIPPERS, elapsed_s, spread, used_range

__all__ = ["chatter"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]


NOISE_FACTOR = 8.0
"""Standard deviations of the noise that are no way of the gripper."""

MOST_NOISE = 0.4
"""Share of the range that is always a way."""


@check(Severity.WARNING)
def chatter(
    episode: Episode, *, changes: float = 6.0, seconds: float = 2.0, amplitude: float = 0.1
) -> Iterator[Finding]:
    """A gripper does not change its direction many times in a short time."""
    rate = episode.embodiment.rate_hz
    for seen in numbers(episode):
        for column, dimension in enumerate(seen.signal.dimensions):
            if dimension.kind not in GRIPPERS or dimension.mode not in {None, Mode.ABSOLUTE}:
                continue
            values = seen.values[:, column]
            least = _least_way(values, used_range(dimension, values), amplitude)
            rows = _reversals(values, least)
            if len(rows) < max(changes, 1.0):
                continue
            most, first, last = _densest(rows, elapsed_s(seen, rate), seconds)
            if most < changes:
                continue
            times = (int(seen.time_ns[first]), int(seen.time_ns[last]))
            start = spot(episode, seen.stream, seen.start + first)
            yield Finding(
                message=f"{seen.signal.name}.{dimension.name} changes its direction {most:,} times within "
                f"{_time(seen, seconds, rate)} from {start} on, each time "
                f"by more than {quantity(least, dimension.unit, 3)} ({len(rows):,} times in all); "
                f"it must be less than {changes:g}",
                location=seen.location,
                steps=steps_between(episode, seen.stream, *times),
                magnitude=float(most),
                dimensions=(dimension.name,),
            )


def _least_way(values: FloatArray, whole: float, amplitude: float) -> float:
    """What is a way of the gripper: a share of its range, more where its sensor is noisy."""
    noise = float(spread(values[np.isfinite(values)][:, None])[0])
    # Chatter at every sample looks like noise: ways of almost the whole range are never that.
    return max(amplitude * whole, min(NOISE_FACTOR * noise, MOST_NOISE * whole))


def _time(seen: Numbers, seconds: float, rate_hz: float) -> str:
    return f"{seconds * rate_hz:.0f} steps" if seen.stream.clock is Clock.NOMINAL else f"{seconds:g} s"


def _reversals(values: FloatArray, least: float) -> IntArray:
    """Rows of the turning points between ways of more than `least`, but of the first way's start and the last's end."""
    rows = np.flatnonzero(np.isfinite(values))
    known = values[rows]
    if len(known) < 3 or not least > 0 or not np.ptp(known) > least:
        return np.zeros(0, dtype=np.intp)
    moves = np.diff(known)
    ways = np.flatnonzero(moves)
    signs = np.sign(moves[ways])
    # Only where the sign changes can a way end; of a noisy signal these are still many, so the loop comes last.
    turns = ways[1:][signs[1:] != signs[:-1]]
    points = np.concatenate(([0], turns, [len(known) - 1]))
    levels = known[points].tolist()
    found: list[int] = []
    extreme, direction = levels[0], 0
    where = 0
    low = high = levels[0]
    for index, level in enumerate(levels):
        if direction == 0:
            low, high = min(low, level), max(high, level)
            if high - low > least:
                direction = 1 if level == high else -1
                extreme, where = level, index
        elif (level - extreme) * direction >= 0:
            extreme, where = level, index
        elif (extreme - level) * direction > least:
            found.append(where)
            direction, extreme, where = -direction, level, index
    return np.asarray(rows[points[found]], dtype=np.intp)


def _densest(rows: IntArray, time_s: FloatArray, seconds: float) -> tuple[int, int, int]:
    """Most turning points within a time, and the rows of the first and the last of them."""
    times = time_s[rows]
    ends = np.searchsorted(times, times + seconds * (1 + 1e-9), side="right")
    counts = ends - np.arange(len(rows))
    best = int(np.argmax(counts))
    return int(counts[best]), int(rows[best]), int(rows[ends[best] - 1])
