"""Small embodiments, recordings and episodes for tests: good by default, wrong where a test says so.

>>> episode = build_episode(rates_hz={"front": 15.0}, outcomes=())
>>> len(episode), sorted(episode.streams)
(21, ['arm', 'command', 'front'])
"""

import dataclasses
import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from .. import images
from ..embodiment import Camera, Dimension, Embodiment, Signal, StreamRule
from ..episode import Episode, Image, Steps
from ..recording import AnyStream, BytesFrames, FrameStream, Instruction, Outcome, Recording, SourceFile, Stream
from ..units import Clock, Kind, Mode, Unit

__all__ = [
    "RecordingKnobs",
    "build_embodiment",
    "build_episode",
    "build_frames",
    "build_instructions",
    "build_recording",
    "decode_frame",
]

START_NS = 1_767_603_600_000_000_000
"""The first step of every recording: 2026-01-05, 09:00 UTC."""
RATES_HZ = {"arm": 100.0, "command": 50.0}
"""Native rates of the signals; cameras run at the rate in the schema."""
MARGIN_S = 0.2
"""Every stream begins this long before the first step and goes on as long after the last."""

FloatArray = NDArray[np.float64]
Int64Array = NDArray[np.int64]


class RecordingKnobs(TypedDict, total=False):
    """What can be asked of a recording; each has a good default."""

    duration_s: float
    """Length of the time that all streams share; default 2."""
    clock: Clock
    """Of all streams; default unix."""
    clocks: Mapping[str, Clock]
    """By stream, where one differs."""
    rates_hz: Mapping[str, float]
    """Native rate by stream."""
    offsets_ns: Mapping[str, int]
    """Added to all stamps of a stream: its clock is wrong by this."""
    jitter_ns: Mapping[str, int]
    """Standard deviation of the stamps of a stream; they stay in order."""
    stamps: Mapping[str, Callable[[Int64Array], NDArray[np.int64]]]
    """Changes the stamps of a stream, [N] to [N]."""
    values: Mapping[str, Callable[[FloatArray], NDArray[np.generic]]]
    """Changes the values of a signal, [N, D] to whatever the test wants."""
    frames: Mapping[str, Callable[[list[bytes]], list[bytes]]]
    """Changes the encoded frames of a camera."""
    without: Collection[str]
    """Streams to leave out."""
    is_stepped: bool
    """All streams have the same rows, at the schema's rate; default False."""
    instructions: tuple[Instruction, ...]
    outcomes: tuple[Outcome, ...]
    place: str
    seed: int


def build_embodiment(
    *,
    num_joints: int = 3,
    rate_hz: float = 10.0,
    cameras: Sequence[str] = ("front",),
    size: tuple[int, int] = (48, 64),
    rules: Mapping[str, StreamRule] | None = None,
    name: str = "test_arm",
) -> Embodiment:
    """Build an arm with a gripper.

    Args:
        num_joints: Joints beside the gripper.
        rate_hz: Rate of the steps.
        cameras: Their names; each runs at 30 Hz.
        size: Height and width of the cameras, in pixels.
        rules: Rules by stream name: `arm`, `command` or a camera.
        name: Of the embodiment.

    Returns:
        Proprioception `arm` and action `command`, both of joint_0 … in rad (limits -2 to 2, at most 5 rad/s) and
        gripper (0 closed, 1 open).
    """
    return Embodiment(
        name=name,
        rate_hz=rate_hz,
        proprioception=(Signal(name="arm", dimensions=_dimensions(num_joints, None)),),
        action=(Signal(name="command", dimensions=_dimensions(num_joints, Mode.ABSOLUTE)),),
        cameras=tuple(Camera(name=c, height=size[0], width=size[1], rate_hz=30.0) for c in cameras),
        streams=dict(rules or {}),
    )


def _dimensions(num_joints: int, mode: Mode | None) -> tuple[Dimension, ...]:
    joints = tuple(
        Dimension(
            name=f"joint_{i}",
            kind=Kind.JOINT_POSITION,
            unit=Unit.RADIAN,
            mode=mode,
            limits=(-2.0, 2.0),
            max_velocity=5.0,
        )
        for i in range(num_joints)
    )
    gripper = Dimension(
        name="gripper",
        kind=Kind.GRIPPER_APERTURE if mode is None else Kind.GRIPPER_COMMAND,
        unit=Unit.ONE,
        mode=mode,
        limits=(0.0, 1.0),
        open_value=1.0,
        closed_value=0.0,
    )
    return (*joints, gripper)


def build_instructions(task: str, subtasks: Mapping[str, float | tuple[float, float]]) -> tuple[Instruction, ...]:
    """Build a task for the whole episode and subtasks on its time axis, for `RecordingKnobs.instructions`.

    Args:
        task: Empty: there is none.
        subtasks: By text, seconds from the first step at which it begins; or its beginning and its end.
    """
    found = [Instruction(text=task)] if task else []
    for text, times in subtasks.items():
        begin, end = times if isinstance(times, tuple) else (times, None)
        end_ns = None if end is None else START_NS + round(end * 1e9)
        found.append(Instruction(text=text, kind="subtask", time_ns=START_NS + round(begin * 1e9), end_ns=end_ns))
    return tuple(found)


def build_frames(count: int, *, height: int = 48, width: int = 64, seed: int = 0) -> list[bytes]:
    """Encode JPEG images of a moving square on a gradient with noise; no two are equal."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    made = []
    for i in range(count):
        image = np.stack([rows * 3 + 20, columns * 2 + 40, rows + columns + 30], axis=-1) % 256
        image = image + rng.integers(0, 20, size=image.shape)
        left = (3 * i) % max(1, width - 8)
        image[height // 3 : height // 3 + 8, left : left + 8] = (220, 40, 40)
        made.append(images.encode_jpeg(np.clip(image, 0, 255).astype(np.uint8), 90))
    return made


def build_recording(embodiment: Embodiment | None = None, **knobs: Unpack[RecordingKnobs]) -> Recording:
    """Build a recording of smooth motion, each stream at its native rate on its own stamps.

    Args:
        embodiment: Default: `build_embodiment()`.
        **knobs: `RecordingKnobs`: what differs from a good recording.
    """
    embodiment = embodiment or build_embodiment()
    streams = {n: _stream(embodiment, n, knobs) for n in embodiment.stream_names if n not in knobs.get("without", ())}
    sha = hashlib.sha256()
    for stream in streams.values():
        sha.update(_content(stream))
    content, place = sha.hexdigest(), knobs.get("place", "demo_000.mcap")
    return Recording(
        recording_id=hashlib.sha256(f"{content} {place}".encode()).hexdigest(),
        source="testing",
        place=place,
        files=(SourceFile(name=place, size=1, sha256=content),),
        streams=streams,
        is_stepped=knobs.get("is_stepped", False),
        instructions=knobs.get("instructions", (Instruction(text="put the cube into the bin"),)),
        outcomes=knobs.get("outcomes", (Outcome(kind="success"),)),
    )


def _content(stream: AnyStream) -> bytes:
    parts = [stream.name.encode(), stream.time_ns.tobytes()]
    if isinstance(stream, Stream):
        parts.append(np.ascontiguousarray(stream.values).tobytes())
    else:
        parts += [bytes(stream.frames.read(i)) for i in range(len(stream.frames.sizes))]
    return b"\n".join(parts)


def _stream(embodiment: Embodiment, name: str, knobs: RecordingKnobs) -> AnyStream:
    clock = knobs.get("clocks", {}).get(name, knobs.get("clock", Clock.UNIX))
    time_s = _times_s(embodiment, name, knobs)
    time_ns = START_NS * (clock is not Clock.NOMINAL) + np.round(time_s * 1e9).astype(np.int64)
    time_ns = time_ns + knobs.get("offsets_ns", {}).get(name, 0)
    if name in knobs.get("stamps", {}):
        time_ns = np.asarray(knobs["stamps"][name](time_ns.copy()), dtype=np.int64)
    camera = next((c for c in embodiment.cameras if c.name == name), None)
    seed = knobs.get("seed", 0)
    if camera is None:
        signal = embodiment.signal(name)
        values = _motion(signal, time_s, seed, is_measured=signal in embodiment.proprioception)
        change = knobs.get("values", {}).get(name)
        return Stream(name=name, clock=clock, time_ns=time_ns, values=values if change is None else change(values))
    number = embodiment.cameras.index(camera)  # each camera has noise of its own
    frames = build_frames(len(time_ns), height=camera.height, width=camera.width, seed=seed + 1000 * number)
    if name in knobs.get("frames", {}):
        frames = knobs["frames"][name](frames)
    return FrameStream(
        name=name,
        clock=clock,
        time_ns=time_ns,
        frames=BytesFrames(frames),
        codec="jpeg",
        height=camera.height,
        width=camera.width,
    )


def _times_s(embodiment: Embodiment, name: str, knobs: RecordingKnobs) -> FloatArray:
    """Seconds from the first step, evenly spaced but for the jitter."""
    duration = knobs.get("duration_s", 2.0)
    if knobs.get("is_stepped", False) or knobs.get("clock") is Clock.NOMINAL:
        return np.arange(round(duration * embodiment.rate_hz) + 1) / embodiment.rate_hz
    rates = {**RATES_HZ, **{c.name: c.rate_hz or 30.0 for c in embodiment.cameras}, **knobs.get("rates_hz", {})}
    rate = rates.get(name, embodiment.rate_hz)
    time = np.arange(round(-MARGIN_S * rate), round((duration + MARGIN_S) * rate) + 1) / rate
    deviation = knobs.get("jitter_ns", {}).get(name, 0) / 1e9
    if deviation:
        rng = np.random.default_rng(knobs.get("seed", 0) + len(name))
        time = np.sort(time + rng.normal(0.0, deviation, size=len(time)))
    return time


def _motion(signal: Signal, time_s: FloatArray, seed: int, *, is_measured: bool) -> FloatArray:
    """Joints swing by about 1 rad, the gripper closes and opens; what is measured has noise, [N, D]."""
    rng = np.random.default_rng(seed)
    phases = rng.uniform(0, 2 * np.pi, size=len(signal.dimensions))
    lag = 0.1 if is_measured else 0.0
    columns = []
    for phase, dimension in zip(phases, signal.dimensions, strict=True):
        if dimension.kind in {Kind.GRIPPER_APERTURE, Kind.GRIPPER_COMMAND}:
            columns.append(np.clip(0.5 + 2 * np.sin(2 * np.pi * 0.5 * (time_s - lag)), 0.0, 1.0))
        else:
            columns.append(np.sin(2 * np.pi * 0.3 * (time_s - lag) + phase))
    values = np.stack(columns, axis=1)
    if is_measured:
        noise = rng.normal(0.0, 1e-4, size=values.shape)
        values = np.where(values * (1 - values) == 0, values, values + noise)
    return values


def decode_frame(stream: FrameStream, index: int) -> Image:
    """Decode an image of a stream that lies in memory; fits `Episode.decode`."""
    return images.decode(stream.frames.read(index))


def build_episode(
    embodiment: Embodiment | None = None,
    *,
    steps: Callable[[Steps], Steps] | None = None,
    **knobs: Unpack[RecordingKnobs],
) -> Episode:
    """Build an episode out of `build_recording`, its steps on an even grid by the rules of docs/time.md.

    Observations are the latest sample at or before the step, actions the first command at or after it and before the
    next step; a sample older than the schema's largest age does not count.

    Args:
        embodiment: Default: `build_embodiment()`.
        steps: Changes the finished steps.
        **knobs: `RecordingKnobs`: what differs from a good recording.
    """
    embodiment = embodiment or build_embodiment()
    recording = build_recording(embodiment, **knobs)
    made = _steps(recording, embodiment, knobs)
    content = recording.files[0].sha256
    return Episode(
        episode_id=hashlib.sha256(f"{recording.recording_id} {embodiment.digest}".encode()).hexdigest()[:32],
        recording_id=recording.recording_id,
        content_digest=content,
        embodiment=embodiment,
        streams=recording.streams,
        steps=made if steps is None else steps(made),
        instructions=recording.instructions,
        outcomes=recording.outcomes,
        metadata=recording.metadata,
        provenance={"source": recording.source, "place": recording.place, "sync": {"policy": {"step_clock": "grid"}}},
        decode=decode_frame,
    )


def _steps(recording: Recording, embodiment: Embodiment, knobs: RecordingKnobs) -> Steps:
    period_ns = 1e9 / embodiment.rate_hz
    count = round(knobs.get("duration_s", 2.0) * embodiment.rate_hz) + 1
    is_nominal = all(s.clock is Clock.NOMINAL for s in recording.streams.values())
    time = START_NS * (not is_nominal) + np.round(np.arange(count) * period_ns).astype(np.int64)
    edges = np.append(time, time[-1] + round(period_ns))
    actions = {s.name for s in embodiment.action}
    empty = Steps(time_ns=time, proprioception={}, action={}, images={}, age_ns={}, valid={})
    groups: dict[str, dict[str, NDArray[np.generic]]] = {
        f.name: {} for f in dataclasses.fields(empty) if f.name != "time_ns"
    }
    for name, stream in recording.streams.items():
        index, valid = _pick(stream, edges, is_action=name in actions)
        age_ms = embodiment.rule(name).max_age_ms
        index = np.clip(index, 0, max(0, len(stream.time_ns) - 1))
        age = time - stream.time_ns[index] if len(stream.time_ns) else np.zeros(count, dtype=np.int64)
        if age_ms is not None:
            valid &= age <= age_ms * 1e6
        if isinstance(stream, FrameStream):
            groups["images"][name] = np.where(valid, index, -1).astype(np.int32)
        else:
            values = np.full((count, *stream.values.shape[1:]), np.nan, dtype=np.float32)
            valid &= index < len(stream.values)
            with np.errstate(over="ignore"):  # beyond float32: infinite in the steps
                values[valid] = stream.values[index[valid]]
            groups["action" if name in actions else "proprioception"][name] = values
        groups["age_ns"][name], groups["valid"][name] = np.where(valid, age, 0), valid
    return dataclasses.replace(empty, **groups)  # type: ignore[arg-type]


def _pick(stream: AnyStream, edges: Int64Array, *, is_action: bool) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Sample of each step, and whether there is one; stamps are taken in order of time."""
    order = np.argsort(stream.time_ns, kind="stable")
    time = stream.time_ns[order]
    if is_action:
        found = np.searchsorted(time, edges[:-1], side="left")
        valid = found < np.searchsorted(time, edges[1:], side="left")
    else:
        found = np.searchsorted(time, edges[:-1], side="right") - 1
        valid = found >= 0
    if len(order) == 0:
        return found, valid
    return order[np.clip(found, 0, len(order) - 1)], valid
