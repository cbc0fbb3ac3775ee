"""Faults of time: stamps, gaps, rates, beginnings and ends, clocks."""

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vladata.embodiment import Embodiment, StreamRule

from .case import Case
from .fault import fault
from .tools import GENERATED, TIMED, cut, inner, one_of, timed

__all__ = [
    "clock_ahead",
    "clock_drift",
    "early_end",
    "gap",
    "jitter",
    "late_start",
    "old_samples",
    "stamps_backward",
    "stamps_equal",
    "step_rate",
    "stream_rate",
]

Int64Array = NDArray[np.int64]
ROWS = ("delta", "stepped")


def _restamped(case: Case, name: str, change: Callable[[Int64Array], Int64Array]) -> Case:
    stream = case.recording.streams[name]
    return case.with_streams(dataclasses.replace(stream, time_ns=change(stream.time_ns.copy())))


def _ruled(case: Case, name: str, **changes: object) -> Case:
    embodiment: Embodiment = case.embodiment
    rule = embodiment.rule(name).model_copy(update=changes)
    return case.with_schema(streams={**embodiment.streams, name: StreamRule.model_validate(rule.model_dump())})


def _not_clock(case: Case) -> list[str]:
    """Streams other than the one whose samples are the steps."""
    clock = case.mapping.step_clock
    if case.recording.is_stepped:
        return timed(case)[1:]
    first = clock.stream if clock.kind == "stream" else (case.cameras[0] if clock.kind is None else None)
    return [n for n in timed(case) if n != first]


@fault("timing.stamp_order", (1, 3, 10), ROWS)
def stamps_backward(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """Neighbouring stamps are exchanged, so often; streams that synchronization sorts out are refused there."""
    name = one_of(_not_clock(case), rng)

    def change(time: Int64Array) -> Int64Array:
        for _ in range(int(level)):
            i = inner(len(time), 2, rng)
            time[[i, i + 1]] = time[[i + 1, i]]
        return time

    return _restamped(case, name, change)


@fault("timing.equal_stamps", (1, 5, 20), (*GENERATED, "sample"))
def stamps_equal(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """So many samples have the stamp of the one before."""
    name = one_of(_not_clock(case), rng)

    def change(time: Int64Array) -> Int64Array:
        for _ in range(int(level)):
            i = inner(len(time), 2, rng)
            time[i + 1] = time[i]
        return time

    return _restamped(case, name, change)


@fault("timing.gaps", (1, 3, 10), TIMED)
def gap(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """So many samples in a row are lost."""
    name = one_of(timed(case), rng)
    first = inner(len(case.recording.streams[name].time_ns), int(level), rng)

    def keep(time: Int64Array) -> NDArray[np.bool_]:
        kept = np.ones(len(time), dtype=bool)
        kept[first : first + int(level)] = False
        return kept

    return cut(case, keep, [name])


@fault("timing.jitter", (2, 3, 5), ("joint", "pose", "stepped", "sample"))
def jitter(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """Intervals vary by so many times what the schema accepts (their 99th percentile)."""
    can = [n for n in timed(case) if _can_jitter(case, n, level)]
    if not can:
        return None
    name = one_of(can, rng)
    accepted = (case.embodiment.rule(name).jitter_ms or 0.0) * 1e6

    def change(time: Int64Array) -> Int64Array:
        # An interval is the difference of two stamps; its 99th percentile is 3.64 times the deviation of one.
        noise = rng.normal(0, level * accepted / 3.64, len(time))
        return np.sort(time + np.round(noise).astype(np.int64))

    return _restamped(case, name, change)


def _can_jitter(case: Case, name: str, level: float) -> bool:
    """Whether intervals can vary so much without samples changing places."""
    accepted = case.embodiment.rule(name).jitter_ms
    if accepted is None:
        return False
    return level * accepted * 1e6 < 1.2 * float(np.median(np.diff(case.recording.streams[name].time_ns)))


@fault("timing.stream_rate", (0.15, 0.3, 0.5), TIMED)
def stream_rate(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """A stream is this share slower than the schema declares."""
    cameras = {c.name: c for c in case.embodiment.cameras}
    name = one_of([n for n in timed(case) if case.embodiment.rule(n).rate_hz], rng)
    declared = (case.embodiment.rule(name).rate_hz or 1.0) / (1 - level)
    case = _ruled(case, name, rate_hz=declared)
    if name in cameras:
        changed = tuple(
            c.model_copy(update={"rate_hz": declared}) if c.name == name else c for c in case.embodiment.cameras
        )
        case = case.with_schema(cameras=changed)
    return case


@fault("timing.step_rate", (0.15, 0.3, 0.45), ("joint", "stepped", "delta"))
def step_rate(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """Steps come this share faster than the schema declares."""
    return case.with_schema(rate_hz=case.embodiment.rate_hz / (1 + level))


def _required_not(case: Case, name: str) -> Case:
    """Steps only show that a stream is late where they don't wait for it."""
    return _ruled(case, name, required=False)


@fault("timing.coverage", (0.3, 1.0, 3.0), TIMED)
def late_start(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """A stream that the schema does not require starts so many s after the first step."""
    name = one_of(_not_clock(case), rng)
    others = [s for n, s in case.recording.streams.items() if n != name]
    start = max(int(s.time_ns[0]) for s in others) + round(level * 1e9)
    offset = case.mapping.streams[name].offset_ns
    return cut(_required_not(case, name), lambda time: time + offset >= start, [name])


@fault("timing.coverage", (0.3, 1.0, 3.0), TIMED)
def early_end(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """A stream that the schema does not require ends so many s before the last step."""
    name = one_of(_not_clock(case), rng)
    others = [s for n, s in case.recording.streams.items() if n != name]
    # The steps end where the first of the others ends, and one step period before that at the most.
    end = min(int(s.time_ns[-1]) for s in others) - round(level * 1e9) - case.step_ns
    offset = case.mapping.streams[name].offset_ns
    return cut(_required_not(case, name), lambda time: time + offset <= end, [name])


@fault("timing.age", (3, 6, 12), ROWS)
def old_samples(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """The rows hold samples of a stream that are so many periods older than they need to be, as their stamps say."""
    name = one_of([*case.measured, *case.cameras], rng)
    late = round((level + 1) * case.step_ns)
    return _restamped(case, name, lambda time: time - late)


@fault("timing.clock_drift", (500, 1000, 3000), TIMED)
def clock_drift(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """A stream's clock runs so many ppm fast against the recorder's."""
    can = [n for n in timed(case) if case.recording.streams[n].receive_time_ns is not None]
    name = one_of(can, rng)

    def change(time: Int64Array) -> Int64Array:
        return np.asarray(time + np.round((time - time[0]) * (level * 1e-6)).astype(np.int64))

    return _restamped(case, name, change)


@fault("timing.ahead", (3, 10, 40), TIMED)
def clock_ahead(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """A stream's stamps are so many ms ahead of their receipt, in the middle."""
    can = [n for n in timed(case) if case.recording.streams[n].receive_time_ns is not None]
    name = one_of(can, rng)
    stream, mapping = case.recording.streams[name], case.mapping.streams[name]
    if stream.receive_time_ns is None:
        return None
    delay = np.median(stream.receive_time_ns - stream.time_ns - mapping.offset_ns)
    return _restamped(case, name, lambda time: time + round(float(delay) + level * 1e6))
