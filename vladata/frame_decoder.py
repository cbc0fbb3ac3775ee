"""Frames decoded from the packets of a video that a recording or an episode keeps."""

import contextlib
import os
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import ImageError, SourceError
from .images import MAX_PIXELS
from .recording import FrameStream
from .video import CODECS, reason_of, require_av

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame

__all__ = ["FrameDecoder", "PacketInfo", "probe_packet"]

UInt8Array = NDArray[np.uint8]

_PLANAR = frozenset({"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "nv12", "gray"})
"""Pixel formats whose first plane is brightness, a byte for each pixel."""


class FrameDecoder:
    """Decodes frames of a video stream from its packets, by their place in the order in which they are shown.

    Going on from one frame to a later one costs the packets between them, or those from the last key frame before
    the later one. After a fork the child process begins anew with a codec of its own. Not for several threads.
    """

    def __init__(self, stream: FrameStream) -> None:
        """Prepare decoding; nothing is read yet.

        Args:
            stream: A video's stream: its `video` is there.

        Raises:
            SourceError: The stream is not a video, its codec is not read, or its tables differ in length.
        """
        track = stream.video
        if track is None:
            raise SourceError(f"{stream.name}: {stream.codec} frames are single images, not a video")
        if stream.codec not in CODECS:
            raise SourceError(f"{stream.name}: codec {stream.codec!r}; must be one of {', '.join(CODECS)}")
        if len(track.pts) != len(track.keyframes) or len(track.pts) != len(stream.frames.sizes):
            raise SourceError(
                f"{stream.name}: {len(stream.frames.sizes)} packets, {len(track.pts)} stamps and "
                f"{len(track.keyframes)} key frame marks; must be as many"
            )
        if min(track.lead_in, track.lead_out) < 0 or track.lead_in + track.lead_out > len(track.pts):
            raise SourceError(
                f"{stream.name}: {track.lead_in} frames before and {track.lead_out} after those that count, of "
                f"{len(track.pts)}; must be a part of them"
            )
        self._stream = stream
        self._track = track
        shown = np.argsort(track.pts, kind="stable")
        self._order = shown[track.lead_in : len(shown) - track.lead_out]
        self._keys = np.flatnonzero(track.keyframes)
        self._context: VideoCodecContext | None = None
        self._pid = -1
        self._ready: deque[VideoFrame] = deque()
        self._stamp: int | None = None  # of the last frame that came out
        self._image: UInt8Array | None = None  # that frame, if it was asked for
        self._reset(0)

    @property
    def num_frames(self) -> int:
        """Frames that can be asked for."""
        return len(self._order)

    def decode(self, index: int) -> UInt8Array:
        """Decode the frame that is shown as number `index`.

        Args:
            index: From 0 on, in presentation order.

        Returns:
            Red, green, blue, [H, W, 3].

        Raises:
            IndexError: There is no such frame.
            ImageError: The packets are damaged or give a frame of another size.
            MissingExtraError: The package av is not installed.
        """
        with self._going_to(index) as stamp:
            if self._image is None or self._stamp != stamp:
                # The frame itself is not kept: its converter could not be freed after a fork.
                frame = self._frame(index, stamp)
                self._image = np.asarray(frame.to_ndarray(format="rgb24", threads=1), dtype=np.uint8)
            return self._image.copy()

    def decode_small(self, index: int, *sides: tuple[int, bool]) -> list[UInt8Array]:
        """Decode a frame reduced, without the cost of converting all of it.

        Args:
            index: As of `decode`; going on is cheap where each is later than the one before.
            sides: For each picture the longest side that it may have, and whether it is in colour.

        Returns:
            Grey [h, w] or RGB [h, w, 3], one for each of `sides`.

        Raises:
            IndexError, ImageError, MissingExtraError: As of `decode`.
        """
        self._image = None
        with self._going_to(index) as stamp:
            frame = self._frame(index, stamp)
            return [_reduced(frame, most, is_color=is_color) for most, is_color in sides]

    @contextlib.contextmanager
    def _going_to(self, index: int) -> Iterator[int]:
        """Stand before a frame; gives its stamp, and turns the decoder's errors into one."""
        if not 0 <= index < self.num_frames:
            raise IndexError(f"frame {index} of {self._stream.name}; there are {self.num_frames}")
        av = require_av()
        packet = int(self._order[index])
        stamp = int(self._track.pts[packet])
        try:
            self._go_to(packet, stamp)
            yield stamp
        except av.error.FFmpegError as error:
            self._context = None
            raise ImageError(f"frame {index} of {self._stream.name} can't be decoded: {reason_of(error)}") from error

    def _go_to(self, packet: int, stamp: int) -> None:
        """Make sure that feeding on reaches a frame, and no later than beginning anew would."""
        start = self._start_of(packet, stamp)
        if self._context is None or self._pid != os.getpid():
            self._open()
            self._reset(start)
            return
        is_shown = self._stamp == stamp and self._image is not None
        is_ahead = self._stamp is None or stamp > self._stamp
        if not is_shown and not (is_ahead and self._start <= start <= self._fed):
            self._context.flush_buffers()
            self._reset(start)

    def _frame(self, index: int, stamp: int) -> "VideoFrame":
        self._image = None
        while (frame := self._next_frame()) is not None:
            self._stamp = frame.pts
            if frame.pts == stamp:
                self._require_whole(frame, index)
                return frame
        self._context = None
        raise ImageError(f"frame {index} of {self._stream.name} does not come out of its packets")

    def _require_whole(self, frame: "VideoFrame", index: int) -> None:
        if (frame.height, frame.width) != (self._stream.height, self._stream.width):
            raise ImageError(
                f"frame {index} of {self._stream.name} has {frame.height} x {frame.width} pixels; "
                f"must have {self._stream.height} x {self._stream.width}"
            )
        if frame.is_corrupt:
            raise ImageError(f"frame {index} of {self._stream.name} is damaged")

    def _start_of(self, packet: int, stamp: int) -> int:
        """The key frame to begin at: the last one that is neither decoded nor shown after the frame.

        Frames that are decoded after a key frame but shown before it may need what lies before it (open GOP).
        """
        place = int(np.searchsorted(self._keys, packet, side="right")) - 1
        while place > 0 and self._track.pts[self._keys[place]] > stamp:
            place -= 1
        return int(self._keys[place]) if place >= 0 else 0

    def _open(self) -> None:
        av = require_av()
        context = av.CodecContext.create(CODECS[self._stream.codec], "r")
        if self._track.extradata:
            context.extradata = self._track.extradata
        context.thread_count = 1  # parallel work is the business of processes
        context.options = {"max_pixels": str(MAX_PIXELS)}
        self._context = context
        self._pid = os.getpid()

    def _reset(self, start: int) -> None:
        """Begin at a packet, with a codec that knows nothing of what came before."""
        self._start = self._fed = start
        self._is_drained = False
        self._ready.clear()
        self._stamp = self._image = None

    def _next_frame(self) -> "VideoFrame | None":
        """The next frame in presentation order; None at the end."""
        while not self._ready:
            if self._context is None or self._is_drained:
                return None
            if self._fed == len(self._track.pts):
                self._is_drained = True
                self._ready.extend(self._context.decode(None))
                continue
            data = self._stream.frames.read(self._fed)
            # made by size, a packet ends in the zeros that decoders read beyond the end; made from bytes, it does not
            packet = require_av().Packet(len(data))
            packet.update(bytes(data))
            packet.pts = int(self._track.pts[self._fed])
            self._fed += 1
            self._ready.extend(self._context.decode(packet))
        return self._ready.popleft()


def _reduced(frame: "VideoFrame", most: int, *, is_color: bool) -> UInt8Array:
    """A frame made smaller; in grey some of its rows and columns, evenly spaced."""
    factor = max(1, -(-max(frame.height, frame.width) // most))
    if not is_color and frame.format.name in _PLANAR:
        plane = frame.planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        return rows[: frame.height : factor, : frame.width : factor].copy()
    pixels = frame.to_ndarray(
        format="rgb24" if is_color else "gray",
        height=-(-frame.height // factor),
        width=-(-frame.width // factor),
        interpolation="AREA",
        threads=1,
    )
    return np.asarray(pixels, dtype=np.uint8)


class PacketInfo(NamedTuple):
    """What decoding one packet says of a video."""

    height: int
    width: int
    pixel_format: str
    num_reordered: int
    """More than 0 where frames may be shown in another order than they are decoded in."""


def probe_packet(codec: str, extradata: bytes, data: bytes) -> PacketInfo:
    """Decode one key frame on its own.

    Raises:
        SourceError: The codec is not read, or the packet can't be decoded.
        MissingExtraError: The package av is not installed.
    """
    if codec not in CODECS:
        raise SourceError(f"is of codec {codec!r}; must be one of {', '.join(CODECS)}")
    av = require_av()
    context = av.CodecContext.create(CODECS[codec], "r")
    if extradata:
        context.extradata = extradata
    context.thread_count = 1
    context.options = {"max_pixels": str(MAX_PIXELS)}
    packet = av.Packet(len(data))
    packet.update(data)
    try:
        frames = [*context.decode(packet), *context.decode(None)]
    except av.error.FFmpegError as error:
        raise SourceError(f"can't be decoded: {reason_of(error)}") from error
    if not frames or frames[0].is_corrupt:
        raise SourceError("can't be decoded: no whole frame comes out of it")
    frame = frames[0]
    return PacketInfo(frame.height, frame.width, frame.format.name, int(context.has_b_frames))
