"""Synchronize a recording: streams on their own clocks become steps on one. Design: docs/time.md."""

import dataclasses
from collections.abc import Mapping as MappingType
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..embodiment import Embodiment, Signal
from ..episode import Steps
from ..errors import SyncError
from ..mapping import Mapping, StreamMapping
from ..recording import AnyStream, FrameStream, Recording, Stream
from ..units import Clock, Kind
from .clock import summarize
from .derive import derive_actions, derived_policy
from .resample import Samples, drop_equal, hold, interpolate, nearest, take_actions
from .rotations import QUATERNIONS, composes_6d
from .timing import Correction, compare_clocks, correction_of

__all__ = ["Synchronized", "synchronize"]

Int64Array = NDArray[np.int64]

DECIMATE_FACTOR = 1.5
"""A step clock stream at least this much faster than the schema's rate is decimated."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Synchronized:
    """Steps, and how they came about."""

    steps: Steps
    policy: MappingType[str, object]
    """Step clock, rules and offsets: what decides the steps; part of the episode's id."""
    counts: MappingType[str, object] = field(default_factory=dict)
    """Equal stamps, samples outside the steps, steps without a sample, by stream."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Timed:
    """A stream's stamps with fit, latency and offset, equal stamps dropped, and where each lies in the stream."""

    time_ns: Int64Array
    index: Int64Array
    num_equal: int


def synchronize(recording: Recording, embodiment: Embodiment, mapping: Mapping) -> Synchronized:
    """Bring all streams of a recording onto one clock.

    Args:
        recording: Streams by name in the embodiment; no stream goes backward in time.
        embodiment: Rate and stream rules.
        mapping: Step clock, sync rule and offset of each stream.

    Raises:
        SyncError: Streams go backward, count different clocks, differ in rows, or share no time.
    """
    there = {*recording.streams, *mapping.derived}
    missing = [n for n in embodiment.stream_names if n not in there and embodiment.rule(n).required]
    if missing:
        raise SyncError(f"{recording.place}: no stream {missing[0]}; {embodiment.name} requires it")
    kind = mapping.step_clock.kind or ("rows" if recording.is_stepped else "stream")
    if kind == "rows":
        result = _pass_rows(recording, embodiment, mapping)
    else:
        result = _Aligner(recording, embodiment, mapping).run()
    if not mapping.derived:
        return result
    return dataclasses.replace(
        result,
        steps=derive_actions(result.steps, embodiment, mapping),
        policy={**result.policy, "derived": derived_policy(mapping)},
    )


def _period_ns(embodiment: Embodiment) -> float:
    return 1e9 / embodiment.rate_hz


def _pass_rows(recording: Recording, embodiment: Embodiment, mapping: Mapping) -> Synchronized:
    """Rows that are steps already pass through index by index; an offset shifts by whole rows."""
    lengths = {n: len(s.time_ns) for n, s in recording.streams.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{n} has {count}" for n, count in lengths.items())
        raise SyncError(f"{recording.place}: {shown} rows; streams of steps must have as many each")
    total = next(iter(lengths.values()), 0)
    if total == 0:
        raise SyncError(f"{recording.place}: no rows; an episode must have at least one step")
    timed = [s for s in recording.streams.values() if s.clock is not Clock.NOMINAL]
    time_ns = (timed or list(recording.streams.values()))[0].time_ns
    samples = {}
    for name in recording.streams:
        shift = _row_shift(mapping.streams[name], embodiment, name)
        rows = np.arange(total) - shift
        found = (rows >= 0) & (rows < total)
        index = np.where(found, rows, -1)
        age = np.where(found, time_ns - time_ns[np.clip(rows, 0, total - 1)], 0)
        samples[name] = Samples(index=index, age_ns=age.astype(np.int64), valid=found)
    numbers = {n: _pick(s.values, samples[n]) for n, s in recording.streams.items() if isinstance(s, Stream)}
    used = {n: m for n, m in mapping.streams.items() if n in recording.streams}
    policy: dict[str, object] = {"version": 1, "step_clock": "rows"}
    policy["offset_ns"] = {n: m.offset_ns for n, m in used.items() if m.offset_ns}
    if any(m.latency_ns for m in used.values()):
        policy["latency_ns"] = {n: m.latency_ns for n, m in used.items() if m.latency_ns}
    return Synchronized(steps=_steps(time_ns, embodiment, recording.streams, numbers, samples), policy=policy)


def _row_shift(mapping: StreamMapping, embodiment: Embodiment, name: str) -> int:
    if mapping.correct != "none":
        raise SyncError(
            f"{name}: correct is {mapping.correct}; rows that are steps are not aligned by their clocks: "
            "set it to none, or step_clock.kind to grid"
        )
    shift = mapping.offset_ns - (mapping.latency_ns or 0)
    rows = shift / _period_ns(embodiment)
    if abs(rows - round(rows)) > 0.01:
        raise SyncError(
            f"offset of {name} is {shift} ns, {rows:.2f} rows at {embodiment.rate_hz:g} Hz; "
            "rows that are steps shift by whole rows, or set step_clock.kind to grid"
        )
    return round(rows)


def _pick(values: NDArray[np.generic], samples: Samples) -> NDArray[np.float32]:
    """The samples of the steps as float32, [T, D]; NaN where none counts.

    A number beyond float32 becomes infinite: the stream keeps it as it was, and the checks find it.
    """
    if len(values) == 0:
        return np.full((len(samples.index), values.shape[1]), np.nan, dtype=np.float32)
    with np.errstate(over="ignore"):
        picked = values[np.clip(samples.index, 0, None)].astype(np.float32)
    picked[~samples.valid] = np.nan
    return picked


def _steps(
    time_ns: Int64Array,
    embodiment: Embodiment,
    streams: MappingType[str, AnyStream],
    numbers: MappingType[str, NDArray[np.float32]],
    samples: MappingType[str, Samples],
) -> Steps:
    return Steps(
        time_ns=time_ns,
        proprioception={s.name: numbers[s.name] for s in embodiment.proprioception if s.name in numbers},
        action={s.name: numbers[s.name] for s in embodiment.action if s.name in numbers},
        images={
            c.name: np.where(samples[c.name].valid, samples[c.name].index, -1).astype(np.int32)
            for c in embodiment.cameras
            if c.name in streams
        },
        age_ns={n: samples[n].age_ns for n in embodiment.stream_names if n in samples},
        valid={n: samples[n].valid for n in embodiment.stream_names if n in samples},
    )


class _Aligner:
    """Aligns streams in time."""

    def __init__(self, recording: Recording, embodiment: Embodiment, mapping: Mapping) -> None:
        self.recording, self.embodiment, self.mapping = recording, embodiment, mapping
        self.place = recording.place
        self.corrections = {n: self._correction(n, s) for n, s in recording.streams.items()}
        compare_clocks(self.place, recording.streams, self.corrections)
        self.timed = {n: self._time(n, s) for n, s in recording.streams.items()}

    def run(self) -> Synchronized:
        start, end = self._window()
        steps_ns, clock = self._step_times(start, end)
        if len(steps_ns) == 0:
            raise SyncError(f"{self.place}: no step between {start} and {end} ns, where all required streams run")
        samples: dict[str, Samples] = {}
        numbers: dict[str, NDArray[np.float32]] = {}
        edges = np.append(steps_ns, self._last_edge(steps_ns))
        actions = {s.name: s for s in self.embodiment.action}
        for name, stream in self.recording.streams.items():
            timed = self.timed[name]
            if isinstance(stream, Stream) and name in actions:
                values, found = take_actions(timed.time_ns, stream.values[timed.index], actions[name], edges)
                numbers[name] = values
            else:
                found, held = self._observe(name, stream, steps_ns)
                if held is not None:
                    numbers[name] = held
            index = np.where(found.index >= 0, timed.index[np.clip(found.index, 0, None)], -1)
            samples[name] = Samples(index=index, age_ns=found.age_ns, valid=found.valid)
        return Synchronized(
            steps=_steps(steps_ns, self.embodiment, self.recording.streams, numbers, samples),
            policy={"version": 1, "step_clock": clock, "rate_hz": self.embodiment.rate_hz, "streams": self._rules()},
            counts={n: self._count(n, steps_ns, samples[n]) for n in samples},
        )

    def _correction(self, name: str, stream: AnyStream) -> Correction:
        try:
            return correction_of(name, stream, self.mapping.streams[name])
        except SyncError as error:
            raise SyncError(f"{self.place}: {error}") from error

    def _time(self, name: str, stream: AnyStream) -> _Timed:
        time_ns = self.corrections[name].times(stream.time_ns)
        if len(time_ns) == 0:
            if self.embodiment.rule(name).required:
                raise SyncError(f"{self.place}: {name} has no sample; {self.embodiment.name} requires it")
            return _Timed(time_ns=time_ns, index=np.zeros(0, dtype=np.int64), num_equal=0)
        back = np.flatnonzero(np.diff(time_ns) < 0)
        if len(back):
            i = int(back[0])
            raise SyncError(
                f"{self.place}: {name} goes back from {stream.time_ns[i]} to {stream.time_ns[i + 1]} ns at sample "
                f"{i + 1}; stamps must not decrease, or set on_backward_time to split"
            )
        index = drop_equal(time_ns)
        return _Timed(time_ns=time_ns[index], index=index, num_equal=len(time_ns) - len(index))

    def _window(self) -> tuple[int, int]:
        required = [n for n in self.timed if self.embodiment.rule(n).required and len(self.timed[n].time_ns)]
        if not required:
            raise SyncError(f"{self.place}: no required stream has a sample")
        last_to_start = max(required, key=lambda n: int(self.timed[n].time_ns[0]))
        first_to_end = min(required, key=lambda n: int(self.timed[n].time_ns[-1]))
        start, end = int(self.timed[last_to_start].time_ns[0]), int(self.timed[first_to_end].time_ns[-1])
        if start > end:
            raise SyncError(
                f"{self.place}: {last_to_start} starts at {start} ns, {first_to_end} ends at {end} ns; "
                "required streams must share some time"
            )
        return start, end

    def _step_times(self, start: int, end: int) -> tuple[Int64Array, str]:
        if self.mapping.step_clock.kind == "grid":
            count = int((end - start) / _period_ns(self.embodiment)) + 1
            steps = start + np.round(np.arange(count) * _period_ns(self.embodiment)).astype(np.int64)
            return steps[steps <= end], "grid"
        name = self.mapping.step_clock.stream or self._default_clock()
        if name not in self.timed:
            raise SyncError(f"{self.place}: the step clock {name} has no stream")
        time_ns = self.timed[name].time_ns
        inside = time_ns[(time_ns >= start) & (time_ns <= end)]
        summary = summarize(inside)
        if summary.rate_hz < DECIMATE_FACTOR * self.embodiment.rate_hz:
            return inside, name
        # The sample nearest to each point of an even grid: with jitter, "the first after" would skip some.
        grid = np.arange(inside[0], inside[-1] + summary.period_ns / 2, _period_ns(self.embodiment))
        chosen = nearest(inside, np.round(grid).astype(np.int64), None).index
        return inside[np.unique(chosen)], name

    def _default_clock(self) -> str:
        for camera in self.embodiment.cameras:
            if camera.name in self.timed:
                return camera.name
        return next(n for n in self.embodiment.stream_names if n in self.timed)

    def _last_edge(self, steps_ns: Int64Array) -> int:
        """End of the last step: one period after its start, for there is no next step."""
        return int(steps_ns[-1]) + round(_period_ns(self.embodiment))

    def _max_age_ns(self, name: str) -> int | None:
        age = self.embodiment.rule(name).max_age_ms
        return None if age is None else round(age * 1e6)

    def _observe(
        self, name: str, stream: AnyStream, steps_ns: Int64Array
    ) -> tuple[Samples, NDArray[np.float32] | None]:
        timed, rule = self.timed[name], self.mapping.streams[name].sync
        if isinstance(stream, FrameStream):
            if rule in {"linear", "slerp"}:
                raise SyncError(f"{name} is a camera; its sync must be hold or nearest, not {rule}")
            find = nearest if rule == "nearest" else hold
            return find(timed.time_ns, steps_ns, self._max_age_ns(name)), None
        values = stream.values[timed.index]
        if rule in {"linear", "slerp"}:
            turning = self._turning(name, rule)
            mixed, samples = interpolate(timed.time_ns, values, steps_ns, self._max_age_ns(name), turning)
            return samples, mixed
        find = nearest if rule == "nearest" else hold
        samples = find(timed.time_ns, steps_ns, self._max_age_ns(name))
        return samples, _pick(values, samples)

    def _turning(self, name: str, rule: str) -> Signal | None:
        """The signal whose rotations go the shortest way; None where all of it goes straight."""
        signal = self.embodiment.signal(name)
        turns = any(d.kind is Kind.ROTATION for d in signal.dimensions)
        if rule == "slerp" and not turns:
            raise SyncError(f"{name} has no rotation; its sync must be linear, not slerp")
        if rule == "linear" and turns and signal.rotation in QUATERNIONS:
            raise SyncError(f"{name} turns as {signal.rotation}; its sync must be slerp, not linear")
        return signal if rule == "slerp" else None

    def _rules(self) -> dict[str, object]:
        actions = {s.name: s for s in self.embodiment.action}
        return {
            n: {
                "rule": "from the step on" if n in actions else self.mapping.streams[n].sync,
                "offset_ns": self.mapping.streams[n].offset_ns,
                "max_age_ms": self.embodiment.rule(n).max_age_ms,
                **self.corrections[n].as_policy(),
                **({"rotation_6d": "columns"} if n in actions and composes_6d(actions[n]) else {}),
            }
            for n in self.recording.streams
        }

    def _count(self, name: str, steps_ns: Int64Array, samples: Samples) -> dict[str, int]:
        time_ns = self.timed[name].time_ns
        end = self._last_edge(steps_ns)
        return {
            "equal_stamps": self.timed[name].num_equal,
            "samples_before_steps": int((time_ns < steps_ns[0]).sum()),
            "samples_after_steps": int((time_ns >= end).sum()),
            "steps_without_sample": int((~samples.valid).sum()),
        }
