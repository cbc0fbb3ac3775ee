"""Cut a recording where time goes backward: several demonstrations in one file."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from ..errors import SyncError
from ..recording import AnyStream, Frames, FrameStream, Recording, Stream

__all__ = ["split_backward"]

Int64Array = NDArray[np.int64]


class _FrameSlice:
    """A range of another stream's frames."""

    def __init__(self, frames: Frames, start: int, stop: int) -> None:
        self._frames, self._start, self._stop = frames, start, stop

    @property
    def sizes(self) -> Int64Array:
        return self._frames.sizes[self._start : self._stop]

    @property
    def order(self) -> Int64Array:
        return self._frames.order[self._start : self._stop]

    def read(self, index: int) -> bytes | memoryview:
        return self._frames.read(self._start + index)


def split_backward(recording: Recording) -> list[Recording]:
    """Cut at each backward jump; one recording where there is none.

    Streams that jump are cut at their own jumps; streams that don't are cut by the time of receipt.

    Raises:
        SyncError: Streams jump a different number of times, or one that must be cut has no time of receipt.
    """
    jumps = {n: np.flatnonzero(np.diff(s.time_ns) < 0) + 1 for n, s in recording.streams.items()}
    jumping = [n for n in jumps if len(jumps[n])]
    if not jumping:
        return [recording]
    first = jumping[0]
    other = next((n for n in jumping if len(jumps[n]) != len(jumps[first])), None)
    if other is not None:
        raise SyncError(
            f"{recording.place}: {first} goes backward {len(jumps[first])} times, {other} {len(jumps[other])} times; "
            "to split, streams must jump together"
        )
    cuts_ns = _receipt(recording, first)[jumps[first]]
    bounds = {}
    for name, stream in recording.streams.items():
        at = jumps[name] if len(jumps[name]) else np.searchsorted(_receipt(recording, name), cuts_ns, side="left")
        bounds[name] = np.concatenate([[0], at, [len(stream.time_ns)]]).astype(int)
    return [_part(recording, k, bounds, cuts_ns) for k in range(len(cuts_ns) + 1)]


def _receipt(recording: Recording, name: str) -> Int64Array:
    stream = recording.streams[name]
    if stream.receive_time_ns is None:
        raise SyncError(f"{recording.place}: {name} has no time of receipt; the recording can't be split by it")
    return stream.receive_time_ns


def _part(recording: Recording, k: int, bounds: dict[str, NDArray[np.int_]], cuts_ns: Int64Array) -> Recording:
    low = int(cuts_ns[k - 1]) if k else None
    high = int(cuts_ns[k]) if k < len(cuts_ns) else None

    def inside(time_ns: int | None) -> bool:
        return time_ns is None or ((low is None or time_ns >= low) and (high is None or time_ns < high))

    return dataclasses.replace(
        recording,
        recording_id=_part_id(recording.recording_id, k),
        place=f"{recording.place}#{k}",
        streams={n: _cut(s, int(bounds[n][k]), int(bounds[n][k + 1])) for n, s in recording.streams.items()},
        instructions=tuple(i for i in recording.instructions if inside(i.time_ns)),
        outcomes=tuple(o for o in recording.outcomes if inside(o.time_ns)),
        notes=(*recording.notes, f"part {k + 1} of {len(cuts_ns) + 1}: split where time goes backward"),
    )


def _part_id(recording_id: str, k: int) -> str:
    import hashlib

    return hashlib.sha256(f"{recording_id} part {k}".encode()).hexdigest()


def _cut(stream: AnyStream, start: int, stop: int) -> AnyStream:
    receive = None if stream.receive_time_ns is None else stream.receive_time_ns[start:stop]
    if isinstance(stream, Stream):
        return dataclasses.replace(
            stream,
            time_ns=stream.time_ns[start:stop],
            values=stream.values[start:stop],
            receive_time_ns=receive,
        )
    if stream.video is not None:
        raise SyncError(f"{stream.name} is a video; a recording with video can't be split")
    assert isinstance(stream, FrameStream)
    return dataclasses.replace(
        stream,
        time_ns=stream.time_ns[start:stop],
        frames=_FrameSlice(stream.frames, start, stop),
        receive_time_ns=receive,
    )
