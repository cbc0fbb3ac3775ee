"""How a robot moves: accelerations, leaps, limits it stands at, shaking, standing still, commands of no effect."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..embodiment import Dimension
from ..episode import Episode
from ..finding import Finding, Severity
from ..units import Clock, Mode, Unit
from ._check import check
from ._clipped import clipped
from ._leaps import accelerations, leaps
from ._look import (
    MOST_TIMES,
    Numbers,
    excess,
    listed,
    numbers,
    place,
    quantity,
    ranges,
    runs,
    share,
    spot,
    steps_between,
)
from ._motion import FILLERS, GRIPPERS, SPEEDS, is_place, period_s, places, sizes, updates
from ._shake import Shake, log_dimensionless_jerk, shake
from ._still import Still, still

__all__ = ["acceleration", "idle_head", "idle_share", "idle_tail", "jerk", "jumps", "no_ops", "saturation"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

MIN_SAMPLES = 20
"""Fewer samples don't show how a signal moves."""
MIN_ACTIONS = 8
"""Fewer actions have no share."""
MIN_PAUSED_S = 4.0
"""Pauses are no part of a shorter episode."""


@check(Severity.WARNING, needs_time=True)
def acceleration(episode: Episode) -> Iterator[Finding]:
    """Speeds change no faster than the schema's accelerations."""
    for seen in numbers(episode):
        if seen.stream.clock is Clock.NOMINAL:
            continue
        limits = np.array([d.max_acceleration or np.inf for d in seen.signal.dimensions])
        if not np.isfinite(limits).any():
            continue
        worst: tuple[float, str, int] = (1.0, "", 0)
        names = []
        for columns, values, rows, order in _judged_speeds(episode, seen, limits):
            found, where = accelerations(values, np.diff(seen.time_ns[rows]) / 1e9, order)
            for column, value, row in zip(columns, found, where, strict=True):
                dimension = seen.signal.dimensions[column]
                if value > limits[column]:
                    names.append(dimension.name)
                    words = f"{dimension.name} accelerates by at least {value:.4g} {_per_s2(dimension)}"
                    limit = f"the schema allows {limits[column]:g} {_per_s2(dimension)}"
                    worst = max(worst, (float(value / limits[column]), f"{words} @; {limit}", int(rows[row])))
        if names:
            ratio, text, row = worst
            where_text = place(episode, seen.stream, seen.start + row)
            others = f", and {len(names) - 1:,} more dimensions exceed theirs" if len(names) > 1 else ""
            time = int(seen.time_ns[row])
            yield Finding(
                message=f"{seen.signal.name}.{text.replace('@', where_text)}{others}",
                location=seen.location,
                steps=steps_between(episode, seen.stream, time, time),
                magnitude=min(ratio, MOST_TIMES),
                dimensions=tuple(names),
            )


def _per_s2(dimension: Dimension) -> str:
    unit = str(dimension.unit).removesuffix("/s")
    return f"{unit}/s²".removeprefix("1")


def _judged_speeds(
    episode: Episode, seen: Numbers, limits: FloatArray
) -> Iterator[tuple[list[int], FloatArray, NDArray[np.intp], int]]:
    """Columns with a limit, places and speeds apart, at the rows that are new and later than all before."""
    dimensions = seen.signal.dimensions
    fixed = [c for c, d in enumerate(dimensions) if is_place(seen.signal, d)]
    speeds = [c for c, d in enumerate(dimensions) if d.kind in SPEEDS and d.mode in {None, Mode.ABSOLUTE}]
    for columns, order in ((fixed, 2), (speeds, 1)):
        kept = [c for c in columns if np.isfinite(limits[c])]
        if not kept:
            continue
        values = places(episode, seen)[1][:, [fixed.index(c) for c in kept]] if order == 2 else seen.values[:, kept]
        new = np.append(True, (np.diff(values, axis=0) != 0).any(axis=1))
        new &= np.isfinite(seen.values[:, kept]).all(axis=1)
        later = np.append(True, seen.time_ns[1:] > np.maximum.accumulate(seen.time_ns)[:-1])
        rows = np.flatnonzero(new & later)
        if len(rows) >= MIN_SAMPLES:
            yield kept, values[rows], rows, order


@check(Severity.WARNING)
def jumps(
    episode: Episode, *, ratio: float = 4.0, angle: float = 0.06, length: float = 0.03, part: float = 0.35
) -> Iterator[Finding]:
    """No joint and no part of a pose leaps from one sample to the next in an otherwise smooth motion."""
    for seen in numbers(episode):
        columns, values = places(episode, seen)
        if not columns or len(values) <= MIN_SAMPLES:
            continue
        dimensions = [seen.signal.dimensions[c] for c in columns]
        least = sizes(dimensions, values, angle=angle, length=length, part=part)
        found = leaps(values, _intervals(seen, episode.embodiment.rate_hz), least, ratio)
        if not found:
            continue
        worst = max(found, key=lambda leap: leap.ratio)
        dimension = dimensions[worst.column]
        count = sum(leap.count for leap in found)
        times = f" ({count:,} leaps in {listed([dimensions[f.column].name for f in found])}, this is the worst)"
        time = int(seen.time_ns[worst.row])
        yield Finding(
            message=f"{seen.signal.name}.{dimension.name} leaps by {quantity(abs(worst.size), dimension.unit, 3)} "
            f"{place(episode, seen.stream, seen.start + worst.row)} and "
            f"{'comes back' if worst.comes_back else 'stays there'}{times if count > 1 else ''}; other changes differ "
            f"from their neighbours by at most {quantity(worst.around, dimension.unit, 2)}, and none may by more than "
            f"{ratio:g} times that",
            location=seen.location,
            steps=steps_between(episode, seen.stream, int(seen.time_ns[worst.row - 1]), time),
            magnitude=worst.ratio,
            dimensions=tuple(dimensions[f.column].name for f in found),
        )


def _intervals(seen: Numbers, rate_hz: float) -> FloatArray:
    """Periods from sample to sample, at least 1: over a gap a robot moves further."""
    if seen.stream.clock is Clock.NOMINAL:
        return np.ones(len(seen.values) - 1)
    period = period_s(seen, rate_hz) * 1e9
    return np.maximum(np.diff(seen.time_ns).astype(np.float64) / max(period, 1.0), 1.0)


@check(Severity.WARNING)
def saturation(episode: Episode, *, part: float = 0.1) -> Iterator[Finding]:
    """Values do not stand at a limit for a large part of an episode."""
    for seen in numbers(episode):
        found = clipped(seen, part)
        if not found:
            continue
        worst = max(found, key=lambda c: c.count)
        dimension = seen.signal.dimensions[worst.column]
        others = [seen.signal.names[c.column] for c in found if c is not worst]
        also = f"; so do {listed(others)}" if others else ""
        noun = "its limit" if worst.is_limit else "the same extreme value"
        start, stop = worst.longest
        yield Finding(
            message=f"{seen.signal.name}.{dimension.name} stands at {noun} of {quantity(worst.value, dimension.unit)} "
            f"for {share(worst.count, len(seen.values), 'samples')}, the longest time from "
            f"{spot(episode, seen.stream, seen.start + start)} on while the rest moves{also}; "
            f"it must be less than {100 * part:g} %",
            location=seen.location,
            steps=steps_between(episode, seen.stream, int(seen.time_ns[start]), int(seen.time_ns[stop - 1])),
            magnitude=worst.count / len(seen.values),
            dimensions=tuple(seen.signal.names[c.column] for c in found),
        )


@check(Severity.WARNING)
def jerk(
    episode: Episode,
    *,
    angle: float = 0.01,
    length: float = 0.005,
    part: float = 0.03,
    dimensions: float = 0.5,
    alone: float = 2.5,
) -> Iterator[Finding]:
    """An arm does not shake."""
    for seen in numbers(episode):
        columns, values = places(episode, seen)
        period = period_s(seen, episode.embodiment.rate_hz)
        if not columns or not period > 0:
            continue
        rows, apart = updates(values)
        if apart > 1:  # the stairs of a slow sensor would be a shake
            values, period = values[rows], period * apart
        judged = [seen.signal.dimensions[c] for c in columns]
        least = sizes(judged, values, angle=angle, length=length, part=part)
        worst: tuple[float, Shake, list[int]] | None = None
        for seen_in in shake(values, 1.0 / period, episode.embodiment.rate_hz):
            ratios = seen_in.strength / np.maximum(least, 1e-9)
            for group in _by_unit(judged):
                shaking = [c for c in group if ratios[c] > 1.0]
                if len(shaking) < max(1.0, dimensions * len(group)):
                    shaking = [c for c in shaking if ratios[c] > alone]
                if shaking:
                    middle = float(np.median(ratios[shaking]))
                    if worst is None or middle > worst[0]:
                        worst = (middle, seen_in, shaking)
        if worst is not None:
            yield _shaking(seen, judged, least, *worst)


def _by_unit(dimensions: list[Dimension]) -> list[list[int]]:
    """Dimensions that can be compared; fingers and what has no unit are apart."""
    return [g for u in Unit if (g := [i for i, d in enumerate(dimensions) if d.unit is u])]


def _shaking(
    seen: Numbers, judged: list[Dimension], least: FloatArray, ratio: float, look: Shake, shaking: list[int]
) -> Finding:
    worst = max(shaking, key=lambda c: look.strength[c] / least[c])
    unit = judged[worst].unit
    smoothness = log_dimensionless_jerk(look.values[:, shaking], look.rate_hz)
    return Finding(
        message=f"{seen.signal.name} shakes in {listed([judged[c].name for c in shaking])} all the time, "
        f"{judged[worst].name} by {quantity(look.amplitude[worst], unit, 2)} at about "
        f"{look.frequency_hz[worst]:.2g} Hz; what is faster than a hand must stay below "
        f"{quantity(least[worst], unit, 3)} (log dimensionless jerk {smoothness:.1f})",
        location=seen.location,
        magnitude=min(ratio, MOST_TIMES),
        dimensions=tuple(judged[c].name for c in shaking),
    )


@check(Severity.WARNING)
def idle_head(
    episode: Episode, *, seconds: float = 2.8, angle: float = 0.01, length: float = 0.002, part: float = 0.02
) -> Iterator[Finding]:
    """A demonstration begins with motion."""
    found = still(episode, angle, length, part)
    if found is not None and not found.mask.all() and found.head * found.width_s >= seconds:
        yield _idle_end(episode, found, found.head, seconds, is_head=True)


@check(Severity.WARNING)
def idle_tail(
    episode: Episode, *, seconds: float = 2.8, angle: float = 0.01, length: float = 0.002, part: float = 0.02
) -> Iterator[Finding]:
    """A demonstration ends with motion."""
    found = still(episode, angle, length, part)
    if found is not None and not found.mask.all() and found.tail * found.width_s >= seconds:
        yield _idle_end(episode, found, found.tail, seconds, is_head=False)


def _idle_end(episode: Episode, found: Still, count: int, most: float, *, is_head: bool) -> Finding:
    length = count * found.width_s
    time = episode.steps.time_ns
    total = len(episode)
    if is_head:
        span = (0, int(np.searchsorted(time, time[0] + round(length * 1e9)))) if total else None
        where, task = "before it moves for the first time", "start"
    else:
        span = (int(np.searchsorted(time, time[-1] - round(length * 1e9))), total) if total else None
        where, task = "after its last motion", "end"
    return Finding(
        message=f"the robot stands still for {_time(episode, found, length)} {where}; a demonstration should {task} "
        f"within {_time(episode, found, most)}",
        location=found.locations[0],
        steps=span if span is not None and 0 <= span[0] < span[1] <= total else None,
        magnitude=excess(length, most),
    )


def _time(episode: Episode, found: Still, length_s: float) -> str:
    """Seconds; where no time was recorded, steps at the schema's rate."""
    if found.is_nominal:
        return f"{length_s * episode.embodiment.rate_hz:.0f} steps"
    return f"{length_s:.3g} s"


@check(Severity.WARNING)
def idle_share(
    episode: Episode,
    *,
    most: float = 0.35,
    seconds: float = 1.0,
    angle: float = 0.01,
    length: float = 0.002,
    part: float = 0.02,
) -> Iterator[Finding]:
    """A robot moves for most of its demonstration."""
    found = still(episode, angle, length, part)
    if found is None:
        return
    head, stop = (0, len(found.mask)) if found.mask.all() else (found.head, len(found.mask) - found.tail)
    pauses = [(a + head, b + head) for a, b in runs(found.mask[head:stop]) if (b - a) * found.width_s >= seconds]
    rest, total = sum(b - a for a, b in pauses) * found.width_s, (stop - head) * found.width_s
    if total < MIN_PAUSED_S or not pauses or rest < most * total:
        return
    longest = max(pauses, key=lambda r: r[1] - r[0])
    time = episode.steps.time_ns
    first, last = (
        int(np.searchsorted(time, time[:1] + round(edge * found.width_s * 1e9))[0]) if len(time) else 0
        for edge in longest
    )
    length_s = (longest[1] - longest[0]) * found.width_s
    times = (
        "one pause" if len(pauses) == 1 else f"{len(pauses):,} pauses, the longest {_time(episode, found, length_s)}"
    )
    yield Finding(
        message=f"the robot stands still for {_time(episode, found, rest)} of the {_time(episode, found, total)} from "
        f"its first motion to its last ({100 * rest / total:.0f} %), in {times}; it must be less than {100 * most:g} %",
        location=found.locations[0],
        steps=(first, last) if 0 <= first < last <= len(time) else None,
        magnitude=rest / total,
    )


@check(Severity.WARNING)
def no_ops(episode: Episode, *, most: float = 0.25, norm: float = 1e-4) -> Iterator[Finding]:
    """Commands of changes are seldom zero."""
    for seen in numbers(episode):
        dimensions = seen.signal.dimensions
        moving = [
            c
            for c, d in enumerate(dimensions)
            if d.mode in {Mode.DELTA, Mode.VELOCITY} and d.kind not in GRIPPERS | FILLERS
        ]
        if not moving or len(seen.values) < MIN_ACTIONS:
            continue
        idle = np.linalg.norm(seen.values[:, moving], axis=1) < norm
        for column, dimension in enumerate(dimensions):
            if dimension.kind in GRIPPERS:
                idle &= _gripper_rests(seen.values[:, column], dimension, norm)
        if not idle.any() or idle.mean() < most:
            continue
        found = runs(idle)
        start, stop = max(found, key=lambda r: r[1] - r[0])
        yield Finding(
            message=f"{seen.signal.name} commands nothing in {share(int(idle.sum()), len(idle), 'samples')}, in "
            f"{len(found):,} run{'s' * (len(found) > 1)} (samples "
            f"{ranges([(a + seen.start, b + seen.start) for a, b in found])}), the longest of {stop - start:,}; "
            f"it must be less than {100 * most:g} %, and a filter of idle actions would leave "
            f"{int((~idle).sum()):,} of {len(idle):,}",
            location=seen.location,
            steps=steps_between(episode, seen.stream, int(seen.time_ns[start]), int(seen.time_ns[stop - 1])),
            magnitude=float(idle.mean()),
            dimensions=tuple(dimensions[c].name for c in moving),
        )


def _gripper_rests(values: FloatArray, dimension: Dimension, norm: float) -> BoolArray:
    """Samples at which a gripper's command does not change, [n]."""
    if dimension.mode in {Mode.DELTA, Mode.VELOCITY}:
        return np.asarray(np.abs(values) < norm)
    return np.append(True, values[1:] == values[:-1])
