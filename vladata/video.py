"""Video files: their packets, taken out as they are.

A recording keeps a video's packets byte for byte. What a decoder needs beside them (stamps, key frames, codec
configuration) is a `VideoTrack`, so that frames can be decoded later without the container (frame_decoder.py).
"""

import dataclasses
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from . import workers
from .errors import GateError, MissingExtraError, SourceError
from .images import MAX_PIXELS
from .recording import VideoTrack
from .text import clip, printable

if TYPE_CHECKING:
    import types

    import av
    import av.container
    import av.video.stream

__all__ = ["CODECS", "PacketFrames", "Video", "open_video", "reason_of", "require_av"]

Int64Array = NDArray[np.int64]

CODECS = {
    "av1": "libdav1d",  # FFmpeg's own av1 decoder works with hardware only
    "ffv1": "ffv1",
    "h264": "h264",
    "hevc": "hevc",
    "mjpeg": "mjpeg",
    "mpeg4": "mpeg4",
    "vp8": "vp8",
    "vp9": "vp9",
}
"""Codecs that are read, and the decoder of each; a closed list, for each decoder is open to files of strangers."""

MAX_SIDE = 16384

_BEAT_EVERY = 500


def require_av() -> "types.ModuleType":
    """The package av.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import av
    except ModuleNotFoundError as error:
        raise MissingExtraError("reading video", "av", "video") from error
    return av


class PacketFrames:
    """Encoded packets that lie in a file at known places; satisfies `Frames`."""

    def __init__(self, file: BinaryIO, offsets: Int64Array, sizes: Int64Array, first_order: int = 0) -> None:
        """Keep where the packets lie; the file is closed with `close`.

        Args:
            file: Open for reading, stays open.
            offsets: First byte of each packet, [P].
            sizes: Bytes of each packet, [P].
            first_order: Added to the offsets to give `order`.
        """
        self._file = file
        self._offsets = offsets
        self._sizes = sizes
        self._order = offsets + first_order

    @property
    def sizes(self) -> Int64Array:
        """Bytes of each, [P]."""
        return self._sizes

    @property
    def order(self) -> Int64Array:
        """Where each lies in the file, [P]."""
        return self._order

    def read(self, index: int) -> bytes:
        """The bytes of one packet.

        Raises:
            SourceError: The file has become shorter.
        """
        size = int(self._sizes[index])
        # pread does not move the file's position, which processes after a fork share
        data = os.pread(self._file.fileno(), size, int(self._offsets[index]))
        if len(data) != size:
            raise SourceError(f"packet {index} has {len(data)} bytes; must have {size}: the file has changed")
        return data

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Video:
    """An open video file: one video track and its packets."""

    codec: str
    """FFmpeg's name of the codec, not of a decoder: `av1`, `h264`, …."""
    height: int
    width: int
    pixel_format: str
    rate_hz: float | None
    """Average rate that the container declares or implies; None where unknown."""
    track: VideoTrack
    frames: PacketFrames
    """The packets, in decode order."""
    size: int
    """Bytes of the file."""
    num_other_tracks: int = 0
    """Audio, subtitles and the like, which are not read."""
    is_in_place: bool = True
    """False where the packets had to be copied out of the container."""

    @property
    def num_frames(self) -> int:
        """Packets, which is frames: one each."""
        return len(self.track.pts)

    def close(self) -> None:
        """Close the file; its packets can't be read any more."""
        self.frames.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(slots=True)
class _Table:
    """What one pass over the packets collects."""

    pts: list[int] = field(default_factory=list)
    is_key: list[bool] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    is_in_place: bool = True
    """True as long as each packet's bytes lie in the file as they are."""


def open_video(path: Path, *, first_order: int = 0) -> Video:
    """Open a video file (MP4, MOV, Matroska) and list its packets; memory grows with their number, not their size.

    Args:
        path: The file.
        first_order: Where the file begins in the reading order of a recording of several files.

    Returns:
        The video; close it, or use it in a `with` statement.

    Raises:
        SourceError: Not a video, truncated, more or less than one video track, no packets, packets without or with
            equal stamps, or a codec that is not read.
        GateError: The frames are larger than the limit.
        MissingExtraError: The package av is not installed.
        OSError: The file can't be opened.
    """
    file = path.open("rb")
    try:
        container_format = _format_of(file, path.name)
        with _container(path, container_format) as container:
            stream = _video_stream(container, path.name)
            context = stream.codec_context
            codec = str(context.codec.canonical_name)
            height, width = _checked_size(context.height, context.width, codec, path.name)
            table = _packets(container, stream, file, path.name)
            if not table.pts:
                raise SourceError(f"{path.name}: the video track has no frames")
            if stream.frames and stream.frames != len(table.pts):
                raise SourceError(
                    f"{path.name}: {len(table.pts)} packets; the container declares {stream.frames}: truncated?"
                )
            video = Video(
                codec=codec,
                height=height,
                width=width,
                pixel_format=context.pix_fmt or "",
                rate_hz=float(stream.average_rate) if stream.average_rate else None,
                track=_track(table, stream, path.name),
                frames=PacketFrames(
                    file,
                    np.array(table.offsets, dtype=np.int64),
                    np.array(table.sizes, dtype=np.int64),
                    first_order,
                ),
                size=path.stat().st_size,
                num_other_tracks=len(container.streams) - 1,
            )
        return video if table.is_in_place else _spooled(video, path, container_format, first_order)
    except BaseException:
        file.close()
        raise


def _format_of(file: BinaryIO, name: str) -> str:
    """The demuxer for a file, by its first bytes.

    FFmpeg's own guess would also take playlists, which name further files to open.
    """
    head = file.read(12)
    if head[4:8] in {b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip"}:
        return "mp4"
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "matroska"
    raise SourceError(f"{name}: not a video file; it must be MP4, MOV or Matroska")


@contextmanager
def _container(path: Path, container_format: str) -> Iterator["av.container.InputContainer"]:
    """Open a container; FFmpeg's errors become `SourceError`."""
    av = require_av()
    try:
        with av.open(
            f"file:{path.absolute()}",
            format=container_format,
            container_options={"protocol_whitelist": "file"},
            metadata_errors="replace",
        ) as container:
            yield container
    except av.error.FFmpegError as error:
        raise SourceError(f"{path.name}: damaged video: {reason_of(error)}") from error


def reason_of(error: Exception) -> str:
    """What an error of FFmpeg says, short."""
    return clip(printable(getattr(error, "strerror", None) or str(error)).lower(), 120)


def _video_stream(container: "av.container.InputContainer", name: str) -> "av.video.stream.VideoStream":
    streams = container.streams.video
    if len(streams) != 1:
        raise SourceError(f"{name}: {len(streams)} video tracks; must have one")
    if streams[0].codec_context is None:  # PyAV, whose types don't say so
        raise SourceError(f"{name}: a codec that FFmpeg does not know; must be one of {', '.join(CODECS)}")
    return streams[0]


def _checked_size(height: int, width: int, codec: str, name: str) -> tuple[int, int]:
    if codec not in CODECS:
        raise SourceError(f"{name}: codec {codec}; must be one of {', '.join(CODECS)}")
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE and height * width <= MAX_PIXELS):
        raise GateError(
            f"{name}: frames of {height} x {width} pixels; each side must be 1 to {MAX_SIDE} "
            f"and their product at most {MAX_PIXELS:,}"
        )
    return height, width


def _packets(
    container: "av.container.InputContainer", stream: "av.video.stream.VideoStream", file: BinaryIO, name: str
) -> _Table:
    table = _Table()
    for packet in container.demux(stream):
        if not packet.size:  # the mark of the end
            continue
        index = len(table.pts)
        if index % _BEAT_EVERY == 0:
            workers.beat()
        if packet.is_corrupt:
            raise SourceError(f"{name}: packet {index} is cut off or damaged")
        if packet.is_discard:
            raise SourceError(f"{name}: packet {index} is cut out by an edit list; videos with cuts are not read")
        if packet.pts is None:
            raise SourceError(f"{name}: packet {index} has no presentation stamp")
        table.pts.append(packet.pts)
        table.is_key.append(bool(packet.is_keyframe))
        table.sizes.append(packet.size)
        position = packet.pos
        table.offsets.append(-1 if position is None else position)
        if table.is_in_place:
            table.is_in_place = position is not None and os.pread(file.fileno(), packet.size, position) == memoryview(
                packet
            )
    return table


def _track(table: _Table, stream: "av.video.stream.VideoStream", name: str) -> VideoTrack:
    pts = np.array(table.pts, dtype=np.int64)
    if len(np.unique(pts)) != len(pts):
        raise SourceError(f"{name}: {len(pts) - len(np.unique(pts))} packets have the stamp of another")
    if stream.time_base is None:
        raise SourceError(f"{name}: the video track has no time base")
    return VideoTrack(
        time_base=(stream.time_base.numerator, stream.time_base.denominator),
        pts=pts,
        keyframes=np.array(table.is_key, dtype=np.bool_),
        extradata=bytes(stream.codec_context.extradata or b""),
    )


def _spooled(video: Video, path: Path, container_format: str, first_order: int) -> Video:
    """The same video with its packets copied to a temporary file: the container does not hold them in one piece."""
    spool = tempfile.TemporaryFile(prefix="vladata-")  # noqa: SIM115 closed with the video
    try:
        with _container(path, container_format) as container:
            for index, packet in enumerate(container.demux(container.streams.video[0])):
                if index % _BEAT_EVERY == 0:
                    workers.beat()
                spool.write(memoryview(packet))
        spool.flush()
        if spool.tell() != int(video.frames.sizes.sum()):
            raise SourceError(f"{path.name}: changed while it was read")
        offsets = np.cumsum(video.frames.sizes) - video.frames.sizes
        frames = PacketFrames(spool, offsets, video.frames.sizes, first_order)
    except BaseException:
        spool.close()
        raise
    video.close()
    return dataclasses.replace(video, frames=frames, is_in_place=False)
