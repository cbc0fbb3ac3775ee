"""Numbers: finite, within the schema's limits and speeds, and alive."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..embodiment import Dimension, Signal
from ..episode import Episode
from ..finding import Finding, Severity
from ..units import Clock, Kind, Mode, Unit
from ._check import check
from ._look import Numbers, excess, listed, numbers, place, quantity, ranges, runs, share, spot, steps_between, summary
from ._motion import FILLERS, GRIPPERS, POSITIONS, is_place, period_s, sizes, updates

__all__ = ["constant", "finite", "frozen", "limits", "unused", "velocity"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

RESUMED = 1.5
"""Times the motion before and after that a frozen vector has to make up for when it goes on."""
USED_ANGLE, USED_LENGTH, USED_PART = 0.01, 0.002, 0.02
"""rad, m, and part of the range: a dimension that covers less in a whole episode is not used."""
MIN_REPEATS = 3
"""Samples that a frozen run has at least, whatever the rate."""


@check(Severity.ERROR)
def finite(episode: Episode) -> Iterator[Finding]:
    """Values are neither NaN nor infinite."""
    streams = {seen.signal.name: seen for seen in numbers(episode)}
    for signal in episode.embodiment.signals:
        seen = streams.get(signal.name)
        count, what = _bad_samples(episode, seen) if seen is not None else (0, "")
        in_steps = _bad_steps(episode, signal)
        affected = runs(in_steps)
        if not count and not affected:
            continue
        where = f"steps {ranges(affected)} are affected" if affected else "no step uses them"
        yield Finding(
            message=f"{signal.name} has {what or 'values that are not finite'}; {where}; values must be finite",
            location=f"/streams/{signal.name}/values" if count else _steps_path(episode, signal),
            steps=max(affected, key=lambda r: r[1] - r[0]) if affected else None,
            magnitude=float(count + in_steps.sum()),
        )


def _bad_samples(episode: Episode, seen: Numbers) -> tuple[int, str]:
    """How many values of a stream are not finite, and in words where."""
    bad = ~np.isfinite(seen.values)
    rows, columns = np.flatnonzero(bad.any(axis=1)), np.flatnonzero(bad.any(axis=0))
    if len(rows) == 0:
        return 0, ""
    count = int(bad.sum())
    names = listed([seen.signal.names[c] for c in columns])
    first = place(episode, seen.stream, seen.start + int(rows[0]))
    return count, f"{count:,} of {bad.size:,} values not finite ({names}), first {first}"


def _steps_path(episode: Episode, signal: Signal) -> str:
    return f"/steps/{'action' if signal.name in episode.steps.action else 'proprioception'}/{signal.name}"


def _bad_steps(episode: Episode, signal: Signal) -> BoolArray:
    """Steps that count but hold a value that is not finite, [T]; NaN where no sample counts is as it must be."""
    steps = episode.steps
    values = steps.action.get(signal.name, steps.proprioception.get(signal.name))
    if values is None or len(values) != len(steps):
        return np.zeros(len(steps), dtype=bool)
    bad: BoolArray = np.any(~np.isfinite(values), axis=tuple(range(1, values.ndim)))
    valid = steps.valid.get(signal.name)
    return bad if valid is None or len(valid) != len(bad) else bad & valid


@check(Severity.ERROR)
def limits(episode: Episode, *, tolerance: float = 1e-3) -> Iterator[Finding]:
    """Values stay within the schema's limits."""
    for seen in numbers(episode):
        for column, dimension in enumerate(seen.signal.dimensions):
            if dimension.limits is None or dimension.kind in FILLERS:
                continue
            low, high = dimension.limits
            values = seen.values[:, column]
            beyond = np.maximum(values - high, low - values)
            beyond[~np.isfinite(beyond)] = 0.0  # not finite: another check's business
            outside = beyond > tolerance * (high - low)
            if outside.any():
                worst = int(np.argmax(beyond))
                time = int(seen.time_ns[worst])
                hint = _degrees(values, dimension) if outside.mean() > 0.5 else ""
                yield Finding(
                    message=f"{seen.signal.name}.{dimension.name} is {quantity(values[worst], dimension.unit)} "
                    f"{place(episode, seen.stream, seen.start + worst)}; the schema allows "
                    f"{quantity(low, Unit.ONE)} to {quantity(high, dimension.unit)}, and "
                    f"{share(int(outside.sum()), len(values), 'samples')} are outside{hint}",
                    location=seen.location,
                    steps=steps_between(episode, seen.stream, time, time),
                    magnitude=excess(float(beyond[worst]), high - low),
                )


def _degrees(values: FloatArray, dimension: Dimension) -> str:
    """Say so where values that are far too large for radians would fit as degrees."""
    if dimension.unit is not Unit.RADIAN or dimension.limits is None:
        return ""
    low, high = dimension.limits
    known = values[np.isfinite(values)]
    too_large = float(np.abs(known).max()) > 2 * max(abs(low), abs(high))
    fits = low <= np.deg2rad(known.min()) and np.deg2rad(known.max()) <= high
    return " (all would fit as degrees)" if too_large and fits else ""


@check(Severity.WARNING, needs_time=True)
def velocity(episode: Episode, *, factor: float = 1.0) -> Iterator[Finding]:
    """Positions change no faster than the schema's speeds."""
    for seen in numbers(episode):
        if seen.stream.clock is Clock.NOMINAL or len(seen.values) < 2:
            continue
        period = summary(episode, seen.stream).period_ns
        # The stairs of a target that is sent several times are no leaps: each took as many samples as it is wide.
        rows, apart = updates(seen.values)
        rows = rows if apart > 1 else np.arange(len(seen.values))
        before = np.maximum(rows[:-1], rows[1:] - apart)
        # Stamps closer than the period come from a burst on the wire; the robot did not move in a burst.
        elapsed = np.maximum(seen.time_ns[rows[1:]] - seen.time_ns[before], apart * period) / 1e9
        for column, dimension in enumerate(seen.signal.dimensions):
            if period == 0 or dimension.max_velocity is None or not _is_position(seen.signal, dimension):
                continue
            moved = np.diff(seen.values[rows, column])
            if dimension.kind is Kind.ROTATION:
                moved = (moved + np.pi) % (2 * np.pi) - np.pi
            speed = np.nan_to_num(np.abs(moved) / elapsed, nan=0.0, posinf=0.0)
            too_fast = speed > factor * dimension.max_velocity
            if too_fast.any():
                worst = int(np.argmax(speed))
                unit = f"{dimension.unit}/s".removeprefix("1")
                first, last = int(before[worst]), int(rows[worst + 1])
                yield Finding(
                    message=f"{seen.signal.name}.{dimension.name} moves at {speed[worst]:.4g} {unit} "
                    f"{place(episode, seen.stream, seen.start + first)}; the schema allows {dimension.max_velocity:g} "
                    f"{unit}, and {share(int(too_fast.sum()), len(speed), 'intervals')} are faster",
                    location=seen.location,
                    steps=steps_between(episode, seen.stream, int(seen.time_ns[first]), int(seen.time_ns[last])),
                    magnitude=excess(float(speed[worst]), dimension.max_velocity),
                )


def _is_position(signal: Signal, dimension: Dimension) -> bool:
    """Whether the difference of two values is a distance."""
    return is_place(signal, dimension) or (dimension.kind in GRIPPERS and dimension.mode in {None, Mode.ABSOLUTE})


def _still(seen: Numbers, samples: float) -> BoolArray:
    """Dimensions that never change, [D]; none where there are too few samples."""
    if len(seen.values) < max(samples, 1):
        return np.zeros(seen.values.shape[1], dtype=bool)
    still: BoolArray = np.all(seen.values == seen.values[0], axis=0)
    return still


def _name_values(seen: Numbers, columns: list[int]) -> str:
    dimensions = seen.signal.dimensions
    return listed([f"{dimensions[c].name} = {quantity(seen.values[0, c], dimensions[c].unit)}" for c in columns])


@check(Severity.WARNING)
def constant(episode: Episode, *, samples: float = 5.0) -> Iterator[Finding]:
    """Every measured dimension but a gripper's changes in the course of an episode."""
    for seen in numbers(episode):
        if seen.is_action:
            continue
        still = _still(seen, samples)
        kinds = [d.kind for d in seen.signal.dimensions]
        live = [c for c, k in enumerate(kinds) if k not in GRIPPERS | FILLERS]
        dead = [c for c in live if still[c]]
        if dead:
            others = "no other dimension moves" if still.all() else f"{int((~still).sum())} others move"
            yield Finding(
                message=f"{seen.signal.name} never changes in {len(dead)} of {len(kinds)} dimensions "
                f"({_name_values(seen, dead)}) over {len(seen.values):,} samples; what is measured must change "
                f"({others})",
                location=seen.location,
                magnitude=len(dead) / len(kinds),
            )


@check(Severity.INFO)
def unused(episode: Episode, *, samples: float = 5.0) -> Iterator[Finding]:
    """Every command and every gripper is used in the course of an episode."""
    for seen in numbers(episode):
        still = _still(seen, samples)
        if still.all() and seen.is_action:
            continue  # `frozen` speaks of commands that stand as a whole
        kinds = [d.kind for d in seen.signal.dimensions]
        idle = [c for c, k in enumerate(kinds) if still[c] and k not in FILLERS and (seen.is_action or k in GRIPPERS)]
        if idle:
            yield Finding(
                message=f"{seen.signal.name} does not use {len(idle)} of {len(kinds)} dimensions "
                f"({_name_values(seen, idle)})",
                location=seen.location,
                magnitude=len(idle) / len(kinds),
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frozen:
    """What is too long a repetition in a signal."""

    samples: float
    seconds: float
    period_s: float

    def is_long(self, count: int, least: float, total: int) -> bool:
        """Whether so many equal samples are frozen, where a share of the episode is allowed."""
        # Where the rate is low, a few samples are a long time; where it is high, slow sensors repeat themselves.
        lasts = count * self.period_s >= self.seconds and count >= MIN_REPEATS
        return count > least * total and (count > self.samples or lasts)


@check(Severity.WARNING)
def frozen(
    episode: Episode,
    *,
    vector_share: float = 0.05,
    samples: float = 10.0,
    seconds: float = 0.45,
    stuck_share: float = 0.55,
) -> Iterator[Finding]:
    """Values do not stand still for a long part of an episode."""
    for seen in numbers(episode):
        columns = [c for c, d in enumerate(seen.signal.dimensions) if d.kind not in FILLERS]
        positions = [c for c in columns if seen.signal.dimensions[c].kind in POSITIONS]
        if len(seen.values) < 2 or not columns or not (positions or seen.is_action):
            continue  # velocities and forces rest at zero, grippers rest by nature
        rule = _Frozen(samples=samples, seconds=seconds, period_s=period_s(seen, episode.embodiment.rate_hz))
        changes: BoolArray = np.not_equal(seen.values[1:], seen.values[:-1])
        yield from _frozen_vector(episode, seen, np.any(changes[:, columns], axis=1), rule, (vector_share, stuck_share))
        if not seen.is_action:
            yield from _stuck_dimensions(episode, seen, changes, positions, (rule, stuck_share))


def _frozen_vector(
    episode: Episode, seen: Numbers, changes: BoolArray, rule: _Frozen, shares: tuple[float, float]
) -> Iterator[Finding]:
    """A whole vector that repeats itself."""
    total = len(seen.values)
    start, stop = _longest(~changes)
    if stop - start == total and not seen.is_action:
        return  # `constant` speaks of a signal that never moves
    is_frozen = rule.is_long(stop - start, shares[1], total)
    if not seen.is_action and not is_frozen:
        is_frozen = rule.is_long(stop - start, shares[0], total) and _is_cut_out(seen, start, stop)
    if is_frozen:
        noun = "commands" if seen.is_action else "values"
        yield Finding(
            message=f"{seen.signal.name} repeats the same {noun} for {_span(seen, start, stop)} "
            f"from {spot(episode, seen.stream, seen.start + start)}, "
            f"{share(stop - start, total, 'samples')}; they must not stand still for so long",
            location=seen.location,
            steps=steps_between(episode, seen.stream, int(seen.time_ns[start]), int(seen.time_ns[stop - 1])),
            magnitude=(stop - start) / total,
        )


def _is_cut_out(seen: Numbers, start: int, stop: int) -> bool:
    """Whether a robot moved on while its values repeated, rows start to stop; one that rests slows down and starts."""
    columns = [c for c, d in enumerate(seen.signal.dimensions) if d.kind in POSITIONS]
    changes = np.abs(np.diff(seen.values[:, columns], axis=0))
    usual = changes.mean(axis=0)
    pace = np.max(changes / np.where(usual > 0, usual, np.inf), axis=1)
    before = pace[start - 1] if start > 0 else 0.0
    if stop == len(seen.values):
        return bool(before > 1.0)  # it stops at full speed
    after = pace[stop] if stop < len(pace) else 0.0
    return bool(pace[stop - 1] > RESUMED * max(before, after))


def _stuck_dimensions(
    episode: Episode, seen: Numbers, changes: BoolArray, positions: list[int], limits: tuple[_Frozen, float]
) -> Iterator[Finding]:
    """Single dimensions that repeat themselves while others of the signal move."""
    rule, least = limits
    total = len(seen.values)
    moving: BoolArray = np.any(changes, axis=1)
    found: list[tuple[int, int, int]] = []
    extent = np.nan_to_num(np.ptp(seen.values, axis=0), nan=np.inf)
    used = extent > sizes(seen.signal.dimensions, seen.values, angle=USED_ANGLE, length=USED_LENGTH, part=USED_PART)
    for column in positions:
        if not used[column]:
            continue  # an arm that is not used stands but for the flicker of its encoders
        start, stop = _longest(~changes[:, column])
        is_long = 1 < stop - start < total and rule.is_long(stop - start, least, total)
        if is_long and moving[start : stop - 1].mean() > least:
            found.append((stop - start, column, start))
    if found:
        length, column, start = max(found)
        names = [seen.signal.dimensions[c].name for _, c, _ in found]
        yield Finding(
            message=f"{seen.signal.name} stands still in {listed(names)} while others move, "
            f"{seen.signal.dimensions[column].name} for {_span(seen, start, start + length)} from "
            f"{spot(episode, seen.stream, seen.start + start)}, "
            f"{share(length, total, 'samples')}; they must move too",
            location=seen.location,
            steps=steps_between(episode, seen.stream, int(seen.time_ns[start]), int(seen.time_ns[start + length - 1])),
            magnitude=length / total,
            dimensions=tuple(names),
        )


def _longest(same: BoolArray) -> tuple[int, int]:
    """Longest run of equal samples, half-open, given whether each sample but the first equals the one before."""
    found = runs(same)
    if not found:
        return 0, 1
    start, stop = max(found, key=lambda r: r[1] - r[0])
    return start, stop + 1


def _span(seen: Numbers, start: int, stop: int) -> str:
    if seen.stream.clock is Clock.NOMINAL:
        return f"{stop - start:,} samples"
    return f"{(int(seen.time_ns[stop - 1]) - int(seen.time_ns[start])) / 1e9:.3g} s"
