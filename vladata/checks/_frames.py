"""One look at the frames of an episode, shared by the camera checks: every header and digest, pixels of a sample."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import xxhash
from numpy.typing import NDArray

from .. import images
from ..embodiment import Camera
from ..episode import Episode
from ..errors import EpisodeFormatError, ImageError, SourceError
from ..recording import FrameStream
from ._camera_motion import Robot, liveliest, robot_of
from ._jpeg import missing_part
from ._look import corrected, part
from ._memory import remembered
from ._packets import problem_of
from ._sharpness import SCALES, sharpness_of

__all__ = ["BLACK", "CELLS", "PLAIN", "CameraScan", "Changes", "Picture", "scan"]

NUM_SAMPLES = 24
"""Frames whose colours are looked at, the first and the last among them."""
NUM_SUSPICIOUS = 12
"""Frames that are looked at as well because they are so small when encoded …"""
SUSPICIOUS_SHARE = 0.6
"""… as less than this share of the camera's median: a black one takes a third and less. As many again because …"""
SHORT_SHARE = 0.9
"""Of the usual bytes: a JPEG whose data stop before its last sixteenth has fewer."""
LEAST_JUMP, USUAL_JUMPS = 0.1, 6.0
"""… their encoded size changes by this much from the frame before (its logarithm, and in medians of all changes)."""
NUM_CONSECUTIVE = 180
"""Consecutive frames whose differences are measured; of small ones more, …"""
CONSECUTIVE_PIXELS = NUM_CONSECUTIVE * 640 * 480
"""… so many pixels, and five times as many frames at most."""
MOST_CHANGE = 20
"""Larger differences (of 255) count no more: one bright edge is no faster than a dull one."""
VIDEO_BLACK, NUM_DARK = 16, 8
"""What black is in most videos; so many dark frames among the consecutive ones are looked at as well."""
MOST_PIXELS, MOST_GREY = 320, 80
"""Longest side of the pictures that colours and differences are measured on."""
CELLS = 8
"""Rows and columns of the coarsest picture."""
FEW = 64
"""Rows and columns that brightness is measured on."""
WHITE = 250
BLACK = 8.0
"""A frame of at most this mean (of 255) without any shapes is black: a covered lens gives 0 to 5 with its noise."""
SHAPELESS = 1.5
"""Spread of the coarsest picture that is no shape: noise leaves less than 1 in it."""
PLAIN = 1.5
"""A frame whose pixels vary less than this is of one colour: what a dead driver or a missing plane gives."""

Int64Array = NDArray[np.int64]
UInt8Array = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """What the pixels of one decoded frame are like; of depth, its stored numbers."""

    index: int
    height: int
    width: int
    mean: float
    """Of all channels, 0 to 255."""
    spread: float
    """Standard deviation of the channel that varies most."""
    brightest: float
    """What 99 of 100 pixels stay below, mean of the channels."""
    white: float
    """Share of pixels with two channels or more at 250 and above."""
    reduced: NDArray[np.generic]
    """Some rows and columns, at most 64 each, evenly spaced, [h, w, channels]."""
    cells: NDArray[np.float32]
    """Mean colours of 8 x 8 parts, [8, 8, 3]."""
    shapes: float
    """Standard deviation of the channel of them that varies most."""
    sharpness: NDArray[np.float32]
    """As `sharpness_of` has it, at 320 pixels at most, [4]; NaN for depth."""

    def is_black(self, mean: float = BLACK) -> bool:
        """Dark all over: a dark scene with shapes in it is none."""
        return self.mean < mean and self.shapes < SHAPELESS


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Changes:
    """How consecutive frames differ, in grey, 80 pixels wide at most."""

    start: int
    """First frame."""
    size: NDArray[np.float64]
    """Root mean square difference of each frame to the next, each at most 20, [n - 1]; NaN where it is not known."""
    most: NDArray[np.float64]
    """What nearly all values differ by at most, [n - 1]; for video only, else NaN."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CameraScan:
    """What the frames of one camera are like, over the time of the steps."""

    stream: FrameStream
    schema: Camera | None
    robot: Robot | None
    time_ns: Int64Array
    """Of all frames of the stream, on the steps' clock."""
    start: int
    """First frame that was looked at."""
    stop: int
    damaged: tuple[tuple[int, str], ...]
    """Frames, or packets of a video, that can't be read or decoded, and why."""
    sizes: NDArray[np.int32]
    """Height and width in the header of each frame, [n, 2]; 0 where it can't be read, and for video."""
    digests: NDArray[np.uint64]
    """Of the encoded bytes of each frame, [n]; empty for video, whose packets hold changes only."""
    pictures: tuple[Picture, ...]
    """The frames that were decoded, in order."""
    is_sample: NDArray[np.bool_]
    """Of each picture: one of the evenly spaced ones."""
    changes: Changes

    @property
    def location(self) -> str:
        """HDF5 path of the frames."""
        return f"/streams/{self.stream.name}/frames"

    @property
    def is_depth(self) -> bool:
        """True where the pixels are distances."""
        return self.schema is not None and self.schema.depth is not None

    def blank(self, mean: float = BLACK, plain: float = PLAIN) -> tuple[Picture, ...]:
        """The pictures that show nothing: black, or of one colour; of depth, without a distance."""
        if self.is_depth:
            return tuple(p for p in self.pictures if p.spread == 0.0)
        return tuple(p for p in self.pictures if p.is_black(mean) or p.spread < plain)

    @property
    def samples(self) -> tuple[Picture, ...]:
        """The pictures that are evenly spaced."""
        return tuple(p for p, is_one in zip(self.pictures, self.is_sample, strict=True) if is_one)


@remembered
def scan(episode: Episode) -> tuple[CameraScan, ...]:
    """Look at all cameras of an episode."""
    schemas = {c.name: c for c in episode.embodiment.cameras}
    streams = [s for s in episode.streams.values() if isinstance(s, FrameStream)]
    robot = robot_of(episode) if streams else None
    return tuple(_Scanner(episode, s, schemas.get(s.name), robot).run() for s in streams)


class _Scanner:
    """Goes through one camera once, and decodes what was chosen before."""

    def __init__(self, episode: Episode, stream: FrameStream, schema: Camera | None, robot: Robot | None) -> None:
        self.stream, self.schema, self.robot = stream, schema, robot
        self.time_ns = corrected(episode, stream)
        cut = part(episode, stream)
        self.start, self.stop = cut.start, cut.stop
        self.damaged: dict[int, str] = {}
        self.num_dark = 0
        self.usual_bytes = float(np.median(stream.frames.sizes)) if len(stream.frames.sizes) else 0.0
        self.pictures: list[Picture] = []
        self.is_swapped = schema is not None and schema.color_order == "bgr"
        self.is_depth = schema is not None and schema.depth is not None
        self.before: tuple[int, NDArray[np.int16]] | None = None
        self._choose()

    def _choose(self) -> None:
        track = self.stream.video
        # The packets that are shown, in their order; images lie in it already.
        packets = np.arange(len(self.stream.frames.sizes))
        if track is not None and len(track.pts) == len(packets):
            packets = np.argsort(track.pts, kind="stable")[track.lead_in : len(track.pts) - track.lead_out]
        self.shown = packets
        self.stop = max(self.start, min(self.stop, len(packets)))
        affordable = CONSECUTIVE_PIXELS // max(self.stream.height * self.stream.width, 1)
        length = int(np.clip(affordable, NUM_CONSECUTIVE, 5 * NUM_CONSECUTIVE))
        first = self.start + liveliest(self.robot, self.time_ns[self.start : self.stop], length)
        self.samples = set(_evenly(self.start, self.stop, NUM_SAMPLES))
        independent = np.arange(self.start, self.stop)
        if track is not None and len(track.keyframes) >= len(packets):
            independent = independent[track.keyframes[packets[self.start : self.stop]]]
            before = independent[independent <= first]
            first = int(before[-1]) if len(before) else first
        self.window = range(first, min(self.stop, first + length))
        if track is not None:
            self.samples = self._cheap_samples(independent)
        number = max(0, len(self.window) - 1)
        self.changes = Changes(start=first, size=np.full(number, np.nan), most=np.full(number, np.nan))
        self.wanted = self.samples | self._suspicious(independent, packets)

    def _cheap_samples(self, keys: Int64Array) -> set[int]:
        """Key frames near the even samples, each of which costs one packet; where there are few, consecutive ones."""
        nearest = {int(keys[np.argmin(np.abs(keys - s))]) for s in self.samples} if len(keys) else set()
        if len(nearest) >= NUM_SAMPLES // 2:
            return nearest
        return nearest | set(_evenly(self.window.start, self.window.stop, NUM_SAMPLES - len(nearest)))

    def _suspicious(self, independent: Int64Array, packets: Int64Array) -> set[int]:
        """Frames that may be black: small when encoded, or unlike the one before in size; of a video, key frames."""
        if len(independent) < 3:
            return set()
        sizes = np.asarray(self.stream.frames.sizes)[packets[independent]].astype(np.float64)
        small = np.flatnonzero(sizes < SUSPICIOUS_SHARE * np.median(sizes))
        small = small[np.argsort(sizes[small], kind="stable")][:NUM_SUSPICIOUS]
        jumps = np.abs(np.diff(np.log(np.maximum(sizes, 1.0))))
        large = np.flatnonzero(jumps > max(LEAST_JUMP, USUAL_JUMPS * float(np.median(jumps))))
        large = large[np.argsort(-jumps[large], kind="stable")][:NUM_SUSPICIOUS] + 1
        return {int(i) for i in independent[np.concatenate((small, large))]}

    def run(self) -> CameraScan:
        if self.stream.video is None:
            sizes, digests = self._images()
        else:
            sizes, digests = np.zeros((0, 2), np.int32), np.zeros(0, np.uint64)
            self._video()
        pictures = tuple(sorted(self.pictures, key=lambda p: p.index))
        return CameraScan(
            stream=self.stream,
            schema=self.schema,
            robot=self.robot,
            time_ns=self.time_ns,
            start=self.start,
            stop=self.stop,
            damaged=tuple(sorted(self.damaged.items())),
            sizes=sizes,
            digests=digests,
            pictures=pictures,
            is_sample=np.array([p.index in self.samples for p in pictures], dtype=np.bool_),
            changes=self.changes,
        )

    def _images(self) -> tuple[NDArray[np.int32], NDArray[np.uint64]]:
        """Read every image once: header, end, digest; decode those that were chosen."""
        count = self.stop - self.start
        sizes = np.zeros((count, 2), dtype=np.int32)
        stored = getattr(self.stream.frames, "digests", None)  # reading has compared with them
        digests = np.zeros(count, dtype=np.uint64)
        for row, index in enumerate(range(self.start, self.stop)):
            _beat(row)
            try:
                data = self.stream.frames.read(index)
                digests[row] = stored[index] if stored is not None else xxhash.xxh3_64_intdigest(data)
                info = images.probe(data)
                sizes[row] = info.height, info.width
                if not _has_end(data, info.codec):
                    self.damaged[index] = f"{info.codec} has no end; it is truncated or damaged"
                    continue
                self._decode_image(index, data, info)
            except (ImageError, EpisodeFormatError) as error:
                self.damaged[index] = str(error)
        return sizes, digests

    def _decode_image(self, index: int, data: bytes | memoryview, info: images.ImageInfo) -> None:
        if index in self.wanted:
            if self.is_depth:
                self._look(index, images.decode_depth(data)[:, :, None], info.height, info.width)
            else:
                small = images.decode_reduced(data, MOST_PIXELS, is_color=True)
                # A decoder complains of data that it does not need, so only those are tried that may lack some.
                is_short = len(data) < SHORT_SHARE * self.usual_bytes
                if is_short and info.codec == "jpeg" and (lacking := missing_part(data, small)):
                    self.damaged[index] = f"jpeg lacks the lower {100 * lacking:.0f} % of its picture"
                self._look(index, small, info.height, info.width)
        if index in self.window:
            if self.is_depth:
                depth = images.decode_depth(data)
                factor = max(1, -(-max(depth.shape) // MOST_GREY))
                self._compare(index, (depth[::factor, ::factor] >> 2).astype(np.int16))
            else:
                self._compare(index, images.decode_reduced(data, MOST_GREY).astype(np.int16))

    def _video(self) -> None:
        """Read every packet once more than decoding does, and decode what was chosen, going forward only."""
        from ..frame_decoder import FrameDecoder

        frames, track = self.stream.frames, self.stream.video
        extradata = track.extradata if track is not None else b""
        places = np.zeros(len(frames.sizes), dtype=np.intp)  # those of a lead-in come before the first frame
        places[self.shown] = np.arange(len(self.shown))
        for packet, place in enumerate(places.tolist()):
            _beat(packet)
            try:
                problem = problem_of(frames.read(packet), self.stream.codec, extradata)
            except EpisodeFormatError as error:
                problem = str(error)
            if problem:
                self.damaged.setdefault(place, problem)
        try:
            decode = FrameDecoder(self.stream).decode_small
        except SourceError as error:
            self.damaged.setdefault(self.start, str(error))
            return
        for row, index in enumerate(sorted(self.wanted | set(self.window))):
            _beat(16 * row)
            try:
                self._decode_frame(index, decode)
            except (ImageError, EpisodeFormatError, SourceError) as error:
                self.damaged.setdefault(index, str(error))

    def _decode_frame(self, index: int, decode: Callable[..., list[UInt8Array]]) -> None:
        sides = [(MOST_PIXELS, True)] * (index in self.wanted) + [(MOST_GREY, False)] * (index in self.window)
        for picture in decode(index, *sides):
            if picture.ndim == 3:
                self._look(index, picture, self.stream.height, self.stream.width)
            else:
                self._compare(index, picture.astype(np.int16))
                self._look_at_dark(index, picture)

    def _look_at_dark(self, index: int, grey: UInt8Array) -> None:
        """Keep a dark frame that was decoded anyway, though only in grey."""
        if index in self.wanted or self.num_dark == NUM_DARK or float(grey.mean()) >= VIDEO_BLACK + BLACK:
            return
        self.num_dark += 1
        light = np.maximum(grey, VIDEO_BLACK) - np.uint8(VIDEO_BLACK)
        self._look(index, np.repeat(light[:, :, None], 3, axis=2), self.stream.height, self.stream.width)

    def _look(self, index: int, pixels: NDArray[np.generic], height: int, width: int) -> None:
        pixels = pixels[..., ::-1] if self.is_swapped else pixels
        self.pictures.append(_picture(index, pixels, (height, width)))

    def _compare(self, index: int, grey: NDArray[np.int16]) -> None:
        before, self.before = self.before, (index, grey)
        if before is None or before[0] != index - 1 or before[1].shape != grey.shape:
            return
        difference = (grey - before[1]).ravel()
        row = index - 1 - self.changes.start
        wide = np.minimum(np.abs(difference), MOST_CHANGE).astype(np.float32)
        self.changes.size[row] = np.sqrt(np.dot(wide, wide) / max(len(wide), 1))
        if self.stream.video is not None:
            rank = max(0, len(difference) - 1 - len(difference) // 1000)
            self.changes.most[row] = np.partition(np.abs(difference), rank)[rank]


def _beat(row: int) -> None:
    """Tell the worker's watchdog now and then that there is progress."""
    if row % 64 == 0:
        from ..workers import beat

        beat()


def _evenly(start: int, stop: int, count: int) -> Iterator[int]:
    """First, last and evenly spaced frames between, in the order in which they are shown."""
    return (int(i) for i in np.unique(np.linspace(start, stop - 1, min(count, stop - start)).round()))


def _has_end(data: bytes | memoryview, codec: str) -> bool:
    """Whether the bytes go on to the marker that ends every JPEG, or the chunk that ends every PNG."""
    if codec == "png":
        return b"IEND" in bytes(data[-64:])
    if data[-2:] == b"\xff\xd9":
        return True
    tail = bytes(data).rstrip(b"\0")  # some cameras fill their frames up
    # A thumbnail in the header has an end of its own; what follows the last scan must have one.
    return tail.endswith(b"\xff\xd9") or tail.rfind(b"\xff\xd9") > max(tail.rfind(b"\xff\xda"), 0)


def _picture(index: int, pixels: NDArray[np.generic], size: tuple[int, int]) -> Picture:
    height, width = pixels.shape[:2]
    reduced = pixels[:: -(-height // FEW), :: -(-width // FEW)].copy()
    is_color = pixels.dtype == np.uint8 and pixels.shape[2] == 3
    values: NDArray[np.floating] = reduced.reshape(-1, reduced.shape[2]).astype(np.float32 if is_color else np.float64)
    brightness = values.mean(axis=1)
    rank = min(len(brightness) - 1, len(brightness) * 99 // 100)
    cells = _cells(pixels) if is_color else np.zeros((CELLS, CELLS, 3), np.float32)
    return Picture(
        index=index,
        height=size[0],
        width=size[1],
        mean=float(brightness.mean()),
        spread=_spread(values),
        brightest=float(np.partition(brightness, rank)[rank]),
        white=float(((values >= WHITE).sum(axis=1) >= 2).mean()) if is_color else 0.0,
        reduced=reduced,
        cells=cells,
        shapes=_spread(cells.reshape(-1, 3)),
        sharpness=sharpness_of(pixels[..., 1]) if is_color else np.full(SCALES, np.nan, np.float32),
    )


def _spread(values: NDArray[np.floating]) -> float:
    """Standard deviation of the column that varies most, [n, channels]."""
    centred = values - values.mean(axis=0)
    return float(np.sqrt(np.einsum("ij,ij->j", centred, centred).max() / len(values)))


def _cells(pixels: NDArray[np.generic]) -> NDArray[np.float32]:
    small = images.resize(np.ascontiguousarray(pixels, dtype=np.uint8), CELLS, CELLS)
    return small.astype(np.float32)
