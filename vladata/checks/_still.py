"""When a robot stands still: all that it measures of its places, or what it is commanded where it measures none."""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ..embodiment import Dimension
from ..episode import Episode
from ..units import Clock, Kind, Mode, Unit
from ._look import Numbers, numbers
from ._memory import remembered
from ._motion import FILLERS, GRIPPERS, POSITIONS, SPEEDS, elapsed_s, period_s, sizes, spread, updates

__all__ = ["Still", "at_rest", "still"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]
BoolArray = NDArray[np.bool_]

WIDTH_S = 0.1
"""Motion is looked at in spans of this, or of one sample where that is longer."""
WINDOW_S = 0.5
"""The robot stands where so many spans in a row stay in place."""
MIN_UPDATES = 3
"""A window holds at least so many new values of each signal: between two of a slow sensor nothing moves."""
MIN_SPANS = 8
"""Fewer say nothing."""
NOISE_FACTOR = 6.0
"""Standard deviations of the noise that are no motion, …"""
MOST_NOISE = 5.0
"""… up to so many times the threshold."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Still:
    """Spans of an episode in which nothing moves."""

    mask: BoolArray
    """[S], from the first step on."""
    width_s: float
    is_nominal: bool
    """Whether seconds are samples over the schema's rate."""
    locations: tuple[str, ...]
    """HDF5 paths of what was looked at."""

    @property
    def head(self) -> int:
        """Spans before the first motion."""
        return int(np.argmin(self.mask)) if not self.mask.all() else len(self.mask)

    @property
    def tail(self) -> int:
        """Spans after the last motion."""
        return int(np.argmin(self.mask[::-1])) if not self.mask.all() else len(self.mask)


@remembered
def still(episode: Episode, angle: float, length: float, part: float) -> Still | None:
    """Where all dimensions stay within a threshold for half a second; None where that can't be said.

    Args:
        episode: Its proprioception counts, and its actions where there is no place in it.
        angle: In rad.
        length: In m.
        part: Of the range, for grippers and pure numbers.
    """
    return _still(episode, (angle, length, part), with_actions=False)


@remembered
def at_rest(episode: Episode, angle: float, length: float, part: float) -> Still | None:
    """The same of proprioception and actions together: a robot that is told to move does not rest."""
    return _still(episode, (angle, length, part), with_actions=True)


def _still(episode: Episode, thresholds: tuple[float, float, float], *, with_actions: bool) -> Still | None:
    angle, length, part = thresholds
    seen = [(s, c) for s in numbers(episode) if (c := _columns(s)) and len(s.values) >= MIN_SPANS]
    if not with_actions:
        seen = [x for x in seen if not x[0].is_action] or seen
    rate = episode.embodiment.rate_hz
    periods = [period_s(s, rate) for s, _ in seen]
    if not seen or not min(periods) > 0:
        return None
    width = max(WIDTH_S, *periods)
    window = max(WINDOW_S, *(MIN_UPDATES * p * updates(s.values)[1] for (s, _), p in zip(seen, periods, strict=True)))
    times = [elapsed_s(s, rate) for s, _ in seen]
    count = min(int(min(t[-1] + p, 1e6) / width + 1e-6) for t, p in zip(times, periods, strict=True))
    if count < MIN_SPANS or count > len(episode) * 100:
        return None
    mask = np.ones(count, dtype=bool)
    for (signal, columns), time in zip(seen, times, strict=True):
        dimensions = [signal.signal.dimensions[c] for c in columns]
        values = _paths(signal, columns, dimensions, rate)
        edges = _edges(time, width, count)
        mask &= _in_place(values, edges, round(window / width), _tolerances(dimensions, values, angle, length, part))
    return Still(
        mask=mask,
        width_s=width,
        is_nominal=any(s.stream.clock is Clock.NOMINAL for s, _ in seen),
        locations=tuple(s.location for s, _ in seen),
    )


def _columns(seen: Numbers) -> list[int]:
    """Dimensions that show motion: places and grippers, and of commands deltas and speeds as well."""
    kinds = POSITIONS | GRIPPERS | (SPEEDS if seen.is_action else frozenset())
    return [
        c
        for c, d in enumerate(seen.signal.dimensions)
        if d.kind in kinds and d.kind not in FILLERS and d.mode is not Mode.CHUNK_RELATIVE
    ]


def _paths(seen: Numbers, columns: list[int], dimensions: list[Dimension], rate_hz: float) -> FloatArray:
    """Places; deltas and speeds are summed up to what they lead to."""
    values = seen.values[:, columns]
    summed = [i for i, d in enumerate(dimensions) if d.mode in {Mode.DELTA, Mode.VELOCITY} or d.kind in SPEEDS]
    if summed:
        values = values.copy()
        values[:, summed] = np.cumsum(np.nan_to_num(values[:, summed]), axis=0)
        rates = [i for i in summed if dimensions[i].mode is not Mode.DELTA]
        values[:, rates] *= period_s(seen, rate_hz)
    turning = [i for i, d in enumerate(dimensions) if d.kind is Kind.ROTATION and d.unit is Unit.RADIAN]
    if turning and np.abs(np.diff(values[:, turning], axis=0)).max() > np.pi:
        values = values.copy()
        values[:, turning] = np.unwrap(np.nan_to_num(values[:, turning], posinf=0.0, neginf=0.0), axis=0)
    return values


def _tolerances(
    dimensions: list[Dimension], values: FloatArray, angle: float, length: float, part: float
) -> FloatArray:
    """What is no motion, [C]: the thresholds, and more where the sensor is noisy."""
    base = sizes(dimensions, values, angle=angle, length=length, part=part)
    noise = np.nan_to_num(NOISE_FACTOR * spread(values), posinf=0.0)
    return np.asarray(np.maximum(base, np.minimum(noise, MOST_NOISE * base)), dtype=np.float64)


def _edges(time: FloatArray, width: float, count: int) -> IntArray:
    """First rows of spans, and the end of the last, [count + 1]."""
    edges = np.searchsorted(time, np.arange(count + 1) * width - 1e-6)
    end = max(1, int(edges[-1]))
    return np.append(np.minimum(edges[:-1], end - 1), end)


def _in_place(values: FloatArray, edges: IntArray, size: int, tolerances: FloatArray) -> BoolArray:
    """Spans of windows of so many within which all columns stay within the tolerances, [count]."""
    values, edges = values[: edges[-1]], edges[:-1]
    size = min(len(edges), max(2, size))
    high = sliding_window_view(np.fmax.reduceat(values, edges, axis=0), size, axis=0).max(axis=2)
    low = sliding_window_view(np.fmin.reduceat(values, edges, axis=0), size, axis=0).min(axis=2)
    stays = (high - low <= tolerances).all(axis=1)
    return np.convolve(stays, np.ones(size)) > 0.5
