"""A range of a stream; of a video also the packets that its frames need."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from ..recording import AnyStream, FrameRange, FrameStream, Stream, VideoTrack

__all__ = ["cut_stream"]

Int64Array = NDArray[np.int64]


def cut_stream(stream: AnyStream, start: int, stop: int) -> AnyStream:
    """The samples or frames from one on and before another.

    Packets of a video are kept from the key frame on that the first frame needs; what they show before it is the
    video's `lead_in`, and has no stamp.
    """
    receive = None if stream.receive_time_ns is None else stream.receive_time_ns[start:stop]
    time_ns = stream.time_ns[start:stop]
    if isinstance(stream, Stream):
        return dataclasses.replace(stream, time_ns=time_ns, values=stream.values[start:stop], receive_time_ns=receive)
    assert isinstance(stream, FrameStream)
    if stream.video is None:
        frames, video = FrameRange(stream.frames, start, stop), None
    else:
        first, end, video = _cut_video(stream.video, start, stop)
        frames = FrameRange(stream.frames, first, end)
    return dataclasses.replace(stream, time_ns=time_ns, frames=frames, receive_time_ns=receive, video=video)


def _cut_video(track: VideoTrack, start: int, stop: int) -> tuple[int, int, VideoTrack]:
    """First packet, the one behind the last, and the track of a range of shown frames."""
    shown = np.argsort(track.pts, kind="stable")
    shown = shown[track.lead_in : len(shown) - track.lead_out]
    packets = shown[start:stop]
    if not len(packets):
        return 0, 0, _slice(track, 0, 0, 0, 0)
    first = _key_before(track, int(packets.min()), int(track.pts[packets].min()))
    end = int(packets.max()) + 1
    pts = track.pts[first:end]
    low, high = track.pts[packets[0]], track.pts[packets[-1]]
    return first, end, _slice(track, first, end, int((pts < low).sum()), int((pts > high).sum()))


def _key_before(track: VideoTrack, packet: int, stamp: int) -> int:
    """The last key frame that is neither decoded nor shown after a packet; the first packet where there is none."""
    keys = np.flatnonzero(track.keyframes[: packet + 1])
    fitting = keys[track.pts[keys] <= stamp]
    return int(fitting[-1]) if len(fitting) else 0


def _slice(track: VideoTrack, first: int, end: int, lead_in: int, lead_out: int) -> VideoTrack:
    return dataclasses.replace(
        track, pts=track.pts[first:end], keyframes=track.keyframes[first:end], lead_in=lead_in, lead_out=lead_out
    )
