"""Video as messages: one encoded frame each, kept as it is.

Which packets decoding can begin at, and the parameter sets, are read from the packets; size and pixel format come from
decoding the first. Formats: ITU-T H.264 and H.265, 7.3.1 and annex B; AV1, 5.3; VP9, 6.2.
"""

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError
from ..recording import VideoTrack
from ..text import clip, printable
from ._mcap_blocks import BlockReader
from ._mcap_file import Message
from ._mcap_frames import FrameSet, JsonFrames, PlacedFrames
from ._ros2 import CdrError, ImagePlace

if TYPE_CHECKING:
    from ..frame_decoder import PacketInfo
    from ._foxglove import JsonImages

__all__ = ["Packet", "VideoOrder", "VideoPackets", "look_at_packet", "video_order"]

Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

CODECS = {"h264": "h264", "avc": "h264", "h265": "hevc", "hevc": "hevc", "vp9": "vp9", "av1": "av1"}
"""FFmpeg's name of a codec, by what messages call it."""

MAX_EXTRADATA = 1 << 16
_MAX_REORDERED = 32
"""No codec holds more frames back."""
_LATEST = (1 << 63) - 1

_H264_PARAMETERS, _HEVC_PARAMETERS = frozenset({7, 8}), frozenset({32, 33, 34})


class Packet(NamedTuple):
    """What is known of a packet without decoding it."""

    has_picture: bool
    is_key: bool
    parameters: bytes
    """Parameter sets with their start codes."""


def look_at_packet(codec: str, data: bytes) -> Packet:
    """Find out what is in a packet.

    Raises:
        CdrError: It is no packet of this codec in the form in which messages carry it.
    """
    if codec in {"h264", "hevc"}:
        return _look_at_units(codec, data)
    if codec == "vp9":
        return Packet(bool(data), bool(data) and _is_vp9_key(data[0]), b"")
    kinds = set(_av1_kinds(data))
    return Packet(bool(kinds & {3, 6}), 1 in kinds, b"")


def _look_at_units(codec: str, data: bytes) -> Packet:
    if not data.startswith((b"\0\0\1", b"\0\0\0\1")):
        shown = data[:8].hex(" ") or "nothing"
        raise CdrError(f"a {codec} packet begins with {shown}; must be Annex B, which begins with 00 00 00 01")
    has_picture = is_key = False
    parameters = b""
    start = data.index(b"\0\0\1") + 3
    while start < len(data):
        end = data.find(b"\0\0\1", start)
        end = len(data) if end < 0 else end
        kind = data[start] & 0x1F if codec == "h264" else (data[start] >> 1) & 0x3F
        if kind in (_H264_PARAMETERS if codec == "h264" else _HEVC_PARAMETERS):
            parameters += b"\0\0\0\1" + data[start:end].rstrip(b"\0")
        is_slice = 1 <= kind <= 5 if codec == "h264" else kind <= 21
        has_picture = has_picture or is_slice
        is_key = is_key or (kind == 5 if codec == "h264" else 16 <= kind <= 21)
        start = end + 3
    return Packet(has_picture, is_key, parameters)


def _is_vp9_key(first: int) -> bool:
    """Whether the first byte is a key frame's: marker 10, profile, not shown again, type 0."""
    is_profile_3 = first & 0x30 == 0x30
    shows_existing, is_inter = (first >> 2 & 1, first >> 1 & 1) if is_profile_3 else (first >> 3 & 1, first >> 2 & 1)
    return first >> 6 == 2 and not shows_existing and not is_inter


def _av1_kinds(data: bytes) -> Iterator[int]:
    """Types of the units of a packet."""
    at = 0
    while at < len(data):
        head = data[at]
        at += 2 if head & 4 else 1
        yield head >> 3 & 15
        if not head & 2:
            return
        size = shift = 0
        while at < len(data) and shift < 56:
            byte = data[at]
            size |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                break
        at += size


class VideoPackets:
    """Places of the packets of a video topic."""

    def __init__(self, locate: "Callable[[memoryview], ImagePlace] | JsonImages") -> None:
        """Begin empty.

        Args:
            locate: Finds the packet in a message, or takes it out of one.
        """
        self._locate = locate
        self._places = array("q")
        self._sizes = array("q")
        self._has_picture = bytearray()
        self._is_key = bytearray()
        self.codec = ""
        self.extradata = b""
        self._first_key = b""

    def add(self, message: Message) -> None:
        """Note where the packet of a message is.

        Raises:
            CdrError: It is not a message of this type, or a packet of a codec that is not read.
        """
        if callable(self._locate):
            form, at, size = self._locate(message.payload)
            data = bytes(message.payload[at : at + size])
        else:
            form, at, size = self._locate.form(message.payload), 0, len(message.payload)
            data = self._locate.data(message.payload)
        self._check_codec(form)
        packet = look_at_packet(self.codec, data)
        if packet.parameters and not self._first_key:
            # Those of the first key frame, or sent before it: every key frame can be decoded with them.
            known = self.extradata if packet.parameters not in self.extradata else b""
            self.extradata = (known + packet.parameters)[:MAX_EXTRADATA]
        if packet.is_key and not self._first_key:
            self._first_key = data
        self._has_picture.append(packet.has_picture)
        self._is_key.append(packet.is_key)
        self._places.extend((message.block, message.offset + at, size))
        self._sizes.append(len(data))

    def _check_codec(self, form: str) -> None:
        codec = CODECS.get(form.strip().lower())
        if codec is None:
            raise CdrError(f"format {clip(printable(form), 40)!r}; must be one of {', '.join(CODECS)}")
        if self.codec and codec != self.codec:
            raise CdrError(f"a {codec} packet; the ones before are {self.codec}: a camera must keep to one codec")
        self.codec = codec

    def __len__(self) -> int:
        """Number of packets."""
        return len(self._has_picture)

    def frame_set(self, name: str, blocks: BlockReader, rows: Int64Array, order: Int64Array) -> FrameSet:
        """Describe the frames by the first key frame.

        Args:
            name: For messages.
            blocks: Where packets are read from.
            rows: Which packets, in their order, [N].
            order: Number of each one's message in the file, [N].

        Raises:
            SourceError: No packet is a key frame, or the first can't be decoded.
        """
        is_key = np.frombuffer(self._is_key, dtype=np.bool_)[rows]
        has_picture = np.frombuffer(self._has_picture, dtype=np.bool_)[rows]
        if not is_key.any():
            raise SourceError(f"{name}: none of {len(rows)} packets is a key frame; nothing can be decoded")
        kept = has_picture.copy()
        kept[: int(np.argmax(is_key))] = False
        notes = []
        early = int((has_picture & ~kept).sum())
        if early:
            notes.append(f"{name}: {early} packets before the first key frame can't be decoded; they are left out")
        if (~has_picture).any():
            notes.append(f"{name}: {int((~has_picture).sum())} messages hold no picture; they are left out")
        look = _look(name, self.codec, self.extradata, self._first_key)
        places = np.array(self._places, dtype=np.int64).reshape(-1, 3)
        frames = PlacedFrames(blocks, places[rows[kept]], order[kept])
        sizes = np.array(self._sizes, dtype=np.int64)[rows[kept]]
        return FrameSet(
            frames=frames if callable(self._locate) else JsonFrames(self._locate, frames, sizes),
            codec=self.codec,
            height=look.height,
            width=look.width,
            pixel_format=look.pixel_format,
            notes=tuple(notes),
            rows=rows[kept],
            keyframes=is_key[kept],
            extradata=self.extradata,
            num_reordered=look.num_reordered,
        )


def _look(name: str, codec: str, extradata: bytes, packet: bytes) -> "PacketInfo":
    from ..frame_decoder import probe_packet

    try:
        return probe_packet(codec, extradata, packet)
    except SourceError as error:
        raise SourceError(f"{name}: the first key frame {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VideoOrder:
    """How the packets of a video are shown."""

    track: VideoTrack
    shown: Int64Array
    """Which packet each shown frame is, [N]."""
    notes: tuple[str, ...]


def video_order(name: str, time_ns: Int64Array, found: FrameSet) -> VideoOrder:
    """Find the order in which packets are shown: the one that they come in, unless their own stamps say otherwise.

    Args:
        name: For messages.
        time_ns: Stamp of each packet, [N], in the order of the log.
        found: The packets.

    Returns:
        The track: its stamps are nanoseconds from the first packet on; where stamps neither increase nor can be those
        of reordered frames, the packets' numbers.
    """
    assert found.keyframes is not None
    numbers = np.arange(len(time_ns), dtype=np.int64)
    shown, pts, notes = numbers, time_ns - time_ns.min(initial=_LATEST), list[str]()
    if not (np.diff(time_ns) > 0).all():
        by_stamp = np.argsort(time_ns, kind="stable").astype(np.int64)
        is_near = bool((np.abs(by_stamp - numbers) <= _MAX_REORDERED).all())
        if found.num_reordered and is_near and len(np.unique(time_ns)) == len(time_ns):
            shown = by_stamp
            notes.append(f"{name}: packets are shown in the order of their stamps, not in that of the log (B frames)")
        else:
            pts = numbers
            notes.append(f"{name}: stamps of packets don't increase; they are decoded in the order of the log")
    elif found.num_reordered:
        notes.append(f"{name}: the video allows B frames, but stamps increase: packets are shown as they come")
    track = VideoTrack(time_base=(1, 1_000_000_000), pts=pts, keyframes=found.keyframes, extradata=found.extradata)
    return VideoOrder(track=track, shown=shown, notes=tuple(notes))
