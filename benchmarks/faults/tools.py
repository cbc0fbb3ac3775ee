"""What several faults need: places, columns, displacements, pauses, images decoded and encoded again."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vladata import images
from vladata.recording import AnyStream, BytesFrames, FrameStream, Stream
from vladata.units import Clock, Kind, Mode

from .case import Case
from .pictures import noisy

__all__ = [
    "ALL",
    "GENERATED",
    "TIMED",
    "Floats",
    "brightest",
    "columns",
    "cut",
    "displaced",
    "inner",
    "moving",
    "one_of",
    "paused",
    "repainted",
    "smooth",
    "speed_of",
    "still_places",
    "stretched",
    "timed",
]

Floats = NDArray[np.float64]
Image = NDArray[np.uint8]
T = TypeVar("T")

GENERATED = ("joint", "pose", "delta", "stepped")
TIMED = ("joint", "pose", "sample")
"""Streams on stamps of their own."""
ALL = (*GENERATED, "sample", "bridge", "g1")

QUALITY = 85
LAG_NS = 100_000_000
"""About how long a robot takes to follow."""


def one_of(items: Sequence[T], rng: np.random.Generator) -> T:
    """One of them at random."""
    return items[int(rng.integers(len(items)))]


def inner(count: int, length: int, rng: np.random.Generator) -> int:
    """Where a piece of that length begins, away from the ends of so many samples."""
    low = max(1, round(0.15 * count))
    return int(rng.integers(low, max(low + 1, round(0.85 * count) - length)))


def timed(case: Case) -> list[str]:
    """Streams whose time was recorded."""
    return [n for n, s in case.recording.streams.items() if s.clock is not Clock.NOMINAL]


def columns(case: Case, name: str, kinds: Sequence[Kind] = (Kind.JOINT_POSITION,)) -> list[int]:
    """Dimensions of these kinds that are no hands or grippers."""
    dimensions = case.embodiment.signal(name).dimensions
    return [i for i, d in enumerate(dimensions) if d.kind in kinds and not d.normalized]


def moving(case: Case, name: str, least: float = 0.05, kinds: Sequence[Kind] = (Kind.JOINT_POSITION,)) -> list[int]:
    """Of those, the ones that vary by this much (standard deviation)."""
    spread = np.std(case.numbers(name), axis=0)
    return [c for c in columns(case, name, kinds) if spread[c] > least]


def smooth(s: Floats) -> Floats:
    """From 0 to 1 with least jerk, where s goes from 0 to 1."""
    s = np.clip(s, 0.0, 1.0)
    return np.asarray(10 * s**3 - 15 * s**4 + 6 * s**5)


def displaced(
    case: Case, column: str, shape: Callable[[Floats], Floats], only: Sequence[str] = (), lag_s: float = 0.08
) -> Case:
    """Add a displacement over time, in s from the first sample, to a dimension; the state follows by the lag."""
    start_ns = min(int(s.time_ns[0]) for s in case.recording.streams.values())
    for name in only or (*case.measured, *case.commands):
        signal = case.embodiment.signal(name)
        dimension = next((d for d in signal.dimensions if d.name == column), None)
        if dimension is None or dimension.kind is Kind.JOINT_VELOCITY or dimension.mode is Mode.DELTA:
            continue
        stream = case.stream(name)
        time_s = (stream.time_ns - start_ns) / 1e9 - (lag_s if name in case.measured else 0.0)
        values = stream.values.astype(np.float64)
        values[:, signal.names.index(column)] += shape(time_s)
        case = case.with_values(name, values)
    return case


def speed_of(stream: Stream, which: Sequence[int]) -> Floats:
    """How fast the given dimensions move together, per s, smoothed over a fifth of a second, [N]."""
    values = stream.values[:, list(which)].astype(np.float64)
    period_s = float(np.median(np.diff(stream.time_ns))) / 1e9
    wide = max(1, round(0.1 / period_s))
    pace = np.zeros(len(values))
    pace[wide:-wide] = np.linalg.norm(values[2 * wide :] - values[: -2 * wide], axis=1) / (2 * wide * period_s)
    return pace


def still_places(case: Case, count: int, rng: np.random.Generator) -> list[int]:
    """Times in ns at which the robot moves least, apart from each other and from the ends."""
    name = (case.commands or case.measured)[0]
    stream = case.stream(case.measured[0])
    which = columns(case, case.measured[0], (Kind.JOINT_POSITION, Kind.POSITION))
    pace = speed_of(stream, which) + rng.uniform(0, 1e-6, len(stream.time_ns))
    total = len(pace)
    pace[: total // 8] = pace[total - total // 8 :] = np.inf
    found: list[int] = []
    for _ in range(count):
        best = int(np.argmin(pace))
        if not np.isfinite(pace[best]):
            break
        found.append(int(stream.time_ns[best]))
        pace[max(0, best - total // 8) : best + total // 8] = np.inf
    return sorted(found) if name else []


def _noise_of(values: Floats) -> Floats:
    """Noise of each dimension out of its third differences, robust against motion, [D]."""
    if len(values) < 8:
        return np.zeros(values.shape[1])
    return np.asarray(np.median(np.abs(np.diff(values, n=3, axis=0)), axis=0) / 0.6745 / np.sqrt(20))


def paused(case: Case, places_ns: Sequence[int], length_s: float, rng: np.random.Generator) -> Case:
    """Stand still for a while at each of these times, in ns; what follows comes later."""
    for place_ns in sorted(places_ns, reverse=True):
        length_ns = round(length_s * 1e9)
        if case.recording.is_stepped:
            length_ns = max(1, round(length_ns / case.step_ns)) * case.step_ns
        streams = [_pause(case, s, place_ns, length_ns, rng) for s in case.recording.streams.values()]
        case = _with_labels(case.with_streams(*streams), _later(place_ns, length_ns))
    return case


def _later(place_ns: int, length_ns: int) -> Callable[[int], int]:
    return lambda time_ns: time_ns + length_ns if time_ns >= place_ns else time_ns


def _pause(case: Case, stream: AnyStream, place_ns: int, length_ns: int, rng: np.random.Generator) -> AnyStream:
    time = stream.time_ns
    at = min(max(1, int(np.searchsorted(time, place_ns, side="right"))), len(time))
    count = max(1, round(length_ns / float(np.median(np.diff(time)))))
    added = time[at - 1] + np.round(np.arange(1, count + 1) * (length_ns / count)).astype(np.int64)
    stamps = np.concatenate([time[:at], added, time[at:] + length_ns])
    received = stream.receive_time_ns
    if received is not None:
        delay = np.resize((received - time)[max(0, at - 100) : at], count)
        received = np.concatenate([received[:at], np.maximum.accumulate(added + delay), received[at:] + length_ns])
    if isinstance(stream, Stream):
        values = stream.values.astype(np.float64)
        held = values[at - 1] + rng.normal(0, 1, (count, values.shape[1])) * _noise_of(values)
        held = _rest(case, stream.name, values[at - 1], held)
        values = np.concatenate([values[:at], held, values[at:]]).astype(stream.values.dtype)
        return dataclasses.replace(stream, time_ns=stamps, receive_time_ns=received, values=values)
    frames = case.frames(stream.name)
    last = images.decode(frames[at - 1])
    held_frames = [images.encode_jpeg(noisy(last, rng), QUALITY) for _ in range(count)]
    frames = [*frames[:at], *held_frames, *frames[at:]]
    return dataclasses.replace(stream, time_ns=stamps, receive_time_ns=received, frames=BytesFrames(frames))


def _rest(case: Case, name: str, last: Floats, held: Floats) -> Floats:
    """Of what repeats: changes are zero, and speeds; grippers and flags stand as they were."""
    for c, dimension in enumerate(case.embodiment.signal(name).dimensions):
        if dimension.mode in {Mode.DELTA, Mode.VELOCITY}:
            held[:, c] = 0.0
        elif dimension.kind is Kind.JOINT_VELOCITY:
            held[:, c] -= last[c]
        elif dimension.kind in {Kind.GRIPPER_APERTURE, Kind.GRIPPER_COMMAND, Kind.OTHER}:
            held[:, c] = last[c]
        elif dimension.limits is not None:
            held[:, c] = np.clip(held[:, c], *dimension.limits)
    return held


def _with_labels(case: Case, move: Callable[[int], int]) -> Case:
    def moved(time_ns: int | None) -> int | None:
        return None if time_ns is None else move(time_ns)

    recording = case.recording
    return case.with_recording(
        instructions=tuple(
            dataclasses.replace(i, time_ns=moved(i.time_ns), end_ns=moved(i.end_ns)) for i in recording.instructions
        ),
        outcomes=tuple(
            dataclasses.replace(o, time_ns=moved(o.time_ns), end_ns=moved(o.end_ns)) for o in recording.outcomes
        ),
    )


def stretched(case: Case, factor: int, rng: np.random.Generator) -> Case:
    """The same demonstration, so many times slower, at the same rates."""
    start_ns = min(int(s.time_ns[0]) for s in case.recording.streams.values())
    streams: list[AnyStream] = []
    for stream in case.recording.streams.values():
        intervals = np.tile(np.diff(stream.time_ns, append=2 * stream.time_ns[-1] - stream.time_ns[-2]), factor)
        time = int(stream.time_ns[0]) + np.concatenate([[0], np.cumsum(intervals)[:-1]]).astype(np.int64)
        received = stream.receive_time_ns
        if received is not None:
            received = np.maximum.accumulate(time + np.tile(received - stream.time_ns, factor))
        # What follows the command does so after the same time, however slow the operator is.
        ahead = 0.0 if stream.name in case.commands else LAG_NS * (1 - 1 / factor)
        shown = np.minimum(stream.time_ns[0] + (time - stream.time_ns[0]) / factor + ahead, stream.time_ns[-1])
        changed = dataclasses.replace(stream, time_ns=time, receive_time_ns=received)
        if isinstance(changed, Stream):
            values = _interpolated(changed, stream.time_ns, shown)
            for c, dimension in enumerate(case.embodiment.signal(stream.name).dimensions):
                if dimension.mode is Mode.DELTA or dimension.kind is Kind.JOINT_VELOCITY:
                    values[:, c] /= factor
            streams.append(dataclasses.replace(changed, values=values.astype(changed.values.dtype)))
        elif isinstance(changed, FrameStream):
            index = np.clip(np.searchsorted(stream.time_ns, shown), 0, len(stream.time_ns) - 1)
            decoded = [images.decode(f) for f in case.frames(stream.name)]
            frames = [images.encode_jpeg(noisy(decoded[i], rng, 1.0), QUALITY) for i in index]
            streams.append(dataclasses.replace(changed, frames=BytesFrames(frames)))
    return _with_labels(case.with_streams(*streams), lambda t: start_ns + (t - start_ns) * factor)


def _interpolated(stream: Stream, time_ns: NDArray[np.int64], wanted: Floats) -> Floats:
    base = float(time_ns[0])
    values = stream.values.astype(np.float64)
    return np.column_stack([np.interp(wanted - base, time_ns - base, column) for column in values.T])


def cut(case: Case, keep: Callable[[NDArray[np.int64]], NDArray[np.bool_]], only: Sequence[str] = ()) -> Case:
    """Keep the samples whose stamps the function wants, of all streams or some."""
    streams: list[AnyStream] = []
    for name, stream in case.recording.streams.items():
        if only and name not in only:
            continue
        kept = np.flatnonzero(keep(stream.time_ns))
        received = None if stream.receive_time_ns is None else stream.receive_time_ns[kept]
        if isinstance(stream, Stream):
            streams.append(
                dataclasses.replace(
                    stream, time_ns=stream.time_ns[kept], receive_time_ns=received, values=stream.values[kept]
                )
            )
        else:
            frames = BytesFrames([bytes(stream.frames.read(int(i))) for i in kept])
            streams.append(
                dataclasses.replace(stream, time_ns=stream.time_ns[kept], receive_time_ns=received, frames=frames)
            )
    return case.with_streams(*streams)


def repainted(case: Case, camera: str, paint: Callable[[Image, int], Image], quality: int = QUALITY) -> Case:
    """Change every image of a camera."""
    frames = [images.encode_jpeg(paint(images.decode(f), i), quality) for i, f in enumerate(case.frames(camera))]
    return case.with_frames(camera, frames)


def brightest(case: Case) -> list[str]:
    """Cameras that are required and show something."""
    return [
        n
        for n in case.cameras
        if case.embodiment.rule(n).required and images.decode(case.frames(n)[len(case.frames(n)) // 2]).std() > 8
    ]
