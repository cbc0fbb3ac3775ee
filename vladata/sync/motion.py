"""What moves in a recording: commands, joints, and what cameras see of it. Feeds the estimate of latencies."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import images
from ..embodiment import Camera, Embodiment, Signal
from ..errors import ImageError, SourceError
from ..recording import FrameStream, Recording, Stream
from ..units import Kind, Mode
from ..workers import beat
from .latency import Motion, speed_of

__all__ = ["Pair", "camera_motion", "command_pairs", "joint_speed"]

Int64Array = NDArray[np.int64]
FloatArray = NDArray[np.float64]

MAX_SPAN_NS = 60_000_000_000
"""Frames are decoded from so much of a recording …"""
MAX_FRAMES, MAX_VIDEO_FRAMES = 1800, 900
"""… and so many of them at most; those of a video are decoded at full size."""
MOST_PIXELS = 160
"""Frames are reduced until no side has more, eight times at most."""

_MEASURED = frozenset({Kind.JOINT_POSITION, Kind.POSITION, Kind.GRIPPER_APERTURE})
_COMMANDED = {
    Kind.GRIPPER_COMMAND: Kind.GRIPPER_APERTURE,
    Kind.JOINT_VELOCITY: Kind.JOINT_POSITION,
    Kind.LINEAR_VELOCITY: Kind.POSITION,
}
"""What a commanded kind is measured as, where that is another."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pair:
    """A command and the state that follows it, in dimensions that mean the same."""

    command: str
    state: str
    names: tuple[str, ...]
    """Of the dimensions."""
    lead: Motion
    follow: Motion


def command_pairs(recording: Recording, embodiment: Embodiment, times: Mapping[str, Int64Array]) -> Iterator[Pair]:
    """Each action with the measured signal that has most of its dimensions, by name and kind; rotations aside.

    Args:
        recording: In the schema's units.
        embodiment: Its signals.
        times: Stamps on one clock, by stream; streams that are not there are left out.
    """
    for action in embodiment.action:
        command = recording.streams.get(action.name)
        if action.name not in times or not isinstance(command, Stream):
            continue
        states = [s for s in embodiment.proprioception if s.name in times]
        shared = {s.name: _shared(action, s) for s in states}
        best = max(states, key=lambda s: len(shared[s.name]), default=None)
        if best is None or not shared[best.name]:
            continue
        state = recording.streams[best.name]
        assert isinstance(state, Stream)
        columns = shared[best.name]
        yield Pair(
            command=action.name,
            state=best.name,
            names=tuple(action.names[a] for a, _ in columns),
            lead=_commanded(action, times[action.name], command, [a for a, _ in columns]),
            follow=speed_of(times[best.name], state.values[:, [b for _, b in columns]]),
        )


def _shared(action: Signal, state: Signal) -> list[tuple[int, int]]:
    """Places of the dimensions that both have; those whose speed is commanded alone where there are any."""
    found = [
        (a, b)
        for a, commanded in enumerate(action.dimensions)
        for b, measured in enumerate(state.dimensions)
        if commanded.name == measured.name
        and measured.kind in _MEASURED
        and _COMMANDED.get(commanded.kind, commanded.kind) is measured.kind
        and commanded.mode is not Mode.CHUNK_RELATIVE
    ]
    rates = [(a, b) for a, b in found if action.dimensions[a].mode is not Mode.ABSOLUTE]
    return rates if rates and len(rates) < len(found) else found


def _commanded(action: Signal, time_ns: Int64Array, stream: Stream, columns: list[int]) -> Motion:
    """The speed that is commanded: the change of targets, or deltas and velocities as they are."""
    values = stream.values[:, columns].astype(np.float64)
    if action.dimensions[columns[0]].mode is Mode.ABSOLUTE:
        return speed_of(time_ns, values)
    rows = np.flatnonzero(np.isfinite(values).all(axis=1) & np.append(True, np.diff(time_ns) > 0))
    return Motion(time_ns=time_ns[rows], values=values[rows])


def joint_speed(recording: Recording, embodiment: Embodiment, times: Mapping[str, Int64Array]) -> tuple[str, Motion]:
    """How fast the arm moves as a whole, and the signal that says so: the first with joint positions, else positions.

    Returns:
        An empty name where there is none; speeds as their square root, [N, 1].
    """
    for kind in (Kind.JOINT_POSITION, Kind.POSITION):
        for signal in embodiment.proprioception:
            columns = [i for i, d in enumerate(signal.dimensions) if d.kind is kind]
            stream = recording.streams.get(signal.name)
            if columns and signal.name in times and isinstance(stream, Stream):
                speeds = speed_of(times[signal.name], stream.values[:, columns])
                total = np.sqrt(np.linalg.norm(speeds.values, axis=1, keepdims=True))
                return signal.name, Motion(time_ns=speeds.time_ns, values=total)
    return "", Motion(time_ns=np.zeros(0, dtype=np.int64), values=np.zeros((0, 1)))


def camera_motion(stream: FrameStream, time_ns: Int64Array, camera: Camera | None) -> Motion:
    """How much consecutive frames differ: the square root of the mean absolute difference per time, above the noise.

    Square roots, because differences grow slower than speed where edges pass each other.

    Args:
        stream: Frames are decoded one by one, reduced and in grey, the first 60 seconds at most.
        time_ns: Of the frames on the common clock, [N].
        camera: Says whether it is a depth camera.

    Raises:
        SourceError: Hardly a frame can be decoded.
        MissingExtraError: The frames are video and the package av is not installed.
    """
    end = int(np.searchsorted(time_ns - time_ns[0], MAX_SPAN_NS, side="right")) if len(time_ns) else 0
    end = min(end, MAX_VIDEO_FRAMES if stream.video is not None else MAX_FRAMES)
    before: NDArray[np.int16] | None = None
    middles, rates, num_bad = [], [], 0
    for index, frame in enumerate(_frames(stream, end, camera)):
        if frame is None:
            num_bad += 1
        elif before is not None and before.shape == frame.shape and time_ns[index] > time_ns[index - 1]:
            middles.append(int(time_ns[index - 1]) + int(time_ns[index] - time_ns[index - 1]) // 2)
            rates.append((float(np.abs(frame - before).mean()), float(time_ns[index] - time_ns[index - 1])))
        before = frame
    if num_bad > max(2, len(rates)):
        raise SourceError(f"{num_bad} of {end} frames can't be decoded")
    table = np.array(rates, dtype=np.float64).reshape(-1, 2)
    noise = float(np.quantile(table[:, 0], 0.1)) if len(table) else 0.0
    values = np.sqrt(np.clip(table[:, 0] - noise, 0, None) / np.maximum(table[:, 1], 1.0) * 1e9)
    return Motion(time_ns=np.array(middles, dtype=np.int64), values=values[:, None])


def _frames(stream: FrameStream, count: int, camera: Camera | None) -> Iterator[NDArray[np.int16] | None]:
    """Small grey frames in the order in which they are shown; None for one that can't be decoded."""
    decoder = None
    if stream.video is not None:
        from ..frame_decoder import FrameDecoder

        decoder = FrameDecoder(stream)
    is_depth = camera is not None and camera.depth is not None
    stride = -(-max(stream.height, stream.width) // MOST_PIXELS)
    for index in range(count):
        beat()
        try:
            if decoder is not None:
                # Green is most of what is seen as brightness.
                yield decoder.decode(index)[::stride, ::stride, 1].astype(np.int16)
            elif is_depth:
                depth = images.decode_depth(stream.frames.read(index))[::stride, ::stride]
                yield (depth >> 2).astype(np.int16)
            else:
                yield images.decode_reduced(stream.frames.read(index), MOST_PIXELS).astype(np.int16)
        except ImageError:
            yield None
