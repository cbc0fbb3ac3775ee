"""A recording: what one source yields for one demonstration, each stream on its own clock."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from .units import Clock

__all__ = [
    "AnyStream",
    "BytesFrames",
    "FrameRange",
    "FrameStream",
    "Frames",
    "Instruction",
    "Mark",
    "Outcome",
    "Recording",
    "SourceFile",
    "Stream",
    "VideoTrack",
]

Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stream:
    """Numbers over time, at their native rate."""

    name: str
    """Name in the embodiment."""
    clock: Clock
    time_ns: Int64Array
    """Stamps as recorded, [N]."""
    values: NDArray[np.generic]
    """[N, D], in the source's own number type, dimensions in the schema's order."""
    receive_time_ns: Int64Array | None = None
    """When the recorder received each sample, [N]; None where not known or the same."""
    clock_choice: str = ""
    """Which of the source's stamps `time_ns` is: `header`, `log`, `publish`, a column's name; empty: it has one."""


class Frames(Protocol):
    """Encoded images or video packets, read one by one."""

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Bytes of each, [P]."""

    @property
    def order(self) -> NDArray[np.int64]:
        """Where each lies in the source, [P]; reading in this order is fastest, also across all cameras."""

    def read(self, index: int) -> bytes | memoryview:
        """The encoded bytes of one; a memoryview is good until the next call."""


class BytesFrames:
    """Frames that lie in memory."""

    def __init__(self, frames: list[bytes], *, first_order: int = 0) -> None:
        """Keep the encoded frames."""
        self._frames = frames
        self._first = first_order

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Bytes of each, [P]."""
        return np.array([len(f) for f in self._frames], dtype=np.int64)

    @property
    def order(self) -> NDArray[np.int64]:
        """As they came, [P]."""
        return np.arange(self._first, self._first + len(self._frames), dtype=np.int64)

    def read(self, index: int) -> bytes:
        """The encoded bytes of one."""
        return self._frames[index]


class FrameRange:
    """A range of another stream's frames."""

    def __init__(self, frames: Frames, start: int, stop: int) -> None:
        """Keep the frames start <= i < stop."""
        self._frames, self._start, self._stop = frames, start, stop

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Bytes of each, [P]."""
        return self._frames.sizes[self._start : self._stop]

    @property
    def order(self) -> NDArray[np.int64]:
        """Where each lies in the source, [P]."""
        return self._frames.order[self._start : self._stop]

    def read(self, index: int) -> bytes | memoryview:
        """The encoded bytes of one."""
        return self._frames.read(self._start + index)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VideoTrack:
    """What a decoder needs beside the packets."""

    time_base: tuple[int, int]
    """Seconds per tick, as numerator and denominator."""
    pts: Int64Array
    """Presentation stamp of each packet in ticks, [P], in decode order; all different."""
    keyframes: BoolArray
    """True where decoding can begin, [P]."""
    extradata: bytes
    """Codec configuration (for instance av1C, avcC)."""
    lead_in: int = 0
    """Frames before the first that counts, in the order in which they are shown: a part of a longer video is kept from
    the key frame on that decoding needs. They only serve decoding: no stamp, index or step knows them."""
    lead_out: int = 0
    """Frames after the last that counts, which the last ones refer to."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameStream:
    """Camera images over time, encoded as they came."""

    name: str
    clock: Clock
    time_ns: Int64Array
    """Stamps of the frames as recorded, [N], in the order in which they are shown."""
    frames: Frames
    """N encoded images; or the packets of a video in decode order, N and those of its `lead_in` and `lead_out`."""
    codec: str
    """`jpeg` or `png`; for video the codec's name: `av1`, `h264`, `hevc`, …."""
    height: int
    width: int
    pixel_format: str = ""
    """Of a video, for instance `yuv420p`; of raw images that were encoded, what they were."""
    receive_time_ns: Int64Array | None = None
    video: VideoTrack | None = None
    clock_choice: str = ""
    """As of `Stream`."""

    @property
    def num_frames(self) -> int:
        """N."""
        return len(self.time_ns)


AnyStream = Stream | FrameStream


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """A text on the time axis."""

    text: str
    kind: Literal["task", "subtask", "plan", "paraphrase"] = "task"
    time_ns: int | None = None
    """From when on it holds; None: the whole episode."""
    end_ns: int | None = None
    """Until when, not included; None: to the end, or until the next of its kind."""
    receive_time_ns: int | None = None
    """When the recorder received it, on the clock of the streams' `receive_time_ns`; None where not known."""
    language: str = ""
    """BCP 47 tag; empty where nobody said."""
    author: str = ""
    confidence: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A marker on the time axis."""

    kind: Literal["success", "failure", "reward", "intervention", "quality", "segment"]
    time_ns: int | None = None
    """When; None: the whole episode."""
    end_ns: int | None = None
    receive_time_ns: int | None = None
    """As of `Instruction`."""
    value: float | None = None
    """The reward, the grade; None for plain markers."""
    reason: str = ""
    author: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A message that says where a demonstration begins or ends."""

    receive_time_ns: int
    """When the recorder received it: the clock of the streams' `receive_time_ns`."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file that a recording was read from."""

    name: str
    """Path relative to the recording's root, with `/`."""
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recording:
    """One demonstration as its source yields it."""

    recording_id: str
    """SHA-256 over content and place, hex."""
    source: str
    """Name of the source plugin."""
    place: str
    """Split, file and record, for instance `train/0003` or `demo_000.mcap`."""
    files: tuple[SourceFile, ...]
    streams: Mapping[str, AnyStream]
    """By name in the embodiment, each on its own clock."""
    is_stepped: bool
    """True where the rows of all streams are already steps, index by index."""
    instructions: tuple[Instruction, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    marks: tuple[Mark, ...] = ()
    """Where the mapping's `split` names a topic: its messages, in the order of receipt."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Free facts that the source states: operator, scene, robot serial, split."""
    notes: tuple[str, ...] = ()
    """What the source did or left out, one line each; goes into the provenance."""
    is_lossy: bool = False
    """True where a part of the recording could not be read (named in `notes`)."""
