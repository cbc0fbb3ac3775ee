"""Images of MCAP topics: places of encoded ones, and raw ones encoded into an unnamed temporary file."""

import os
import tempfile
from array import array
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError, SourceError
from ..text import clip, printable
from ._mcap_blocks import BlockReader
from ._mcap_file import Message
from ._ros2 import CdrError, RawImage, compressed_image, raw_image

__all__ = ["EncodedImages", "FrameSet", "ImagePlaces", "PlacedFrames", "SpooledFrames", "encode_raw", "raw_problem"]

Int64Array = NDArray[np.int64]

JPEG_QUALITY = 95
"""Of raw colour images."""

MAX_FORMATS = 16

DEPTH_HEADER = 12
"""Bytes before the PNG of a compressedDepth image."""


class PlacedFrames:
    """Encoded frames that lie in the recording."""

    def __init__(self, blocks: BlockReader, places: NDArray[np.int64], order: Int64Array) -> None:
        """Read frames by block, offset and size, [N, 3]."""
        self._blocks, self._places, self._order = blocks, places, order

    @property
    def sizes(self) -> Int64Array:
        """Bytes of each, [N]."""
        return self._places[:, 2]

    @property
    def order(self) -> Int64Array:
        """Number of each one's message in the file, [N]."""
        return self._order

    def read(self, index: int) -> memoryview:
        """The encoded bytes of one, good until the next call."""
        block, offset, size = self._places[index].tolist()
        return self._blocks.read(block, offset, size)


class SpooledFrames:
    """Encoded frames in a temporary file."""

    def __init__(self, fd: int, ends: Int64Array, index: Int64Array, order: Int64Array) -> None:
        """Read frame `index[i]` of those that end at `ends`, [N]."""
        self._fd, self._ends, self._index, self._order = fd, ends, index, order

    @property
    def sizes(self) -> Int64Array:
        """Bytes of each, [N]."""
        return np.diff(self._ends, prepend=0)[self._index]

    @property
    def order(self) -> Int64Array:
        """Number of each one's message in the file, [N]."""
        return self._order

    def read(self, index: int) -> bytes:
        """The encoded bytes of one."""
        i = int(self._index[index])
        start = int(self._ends[i - 1]) if i else 0
        return os.pread(self._fd, int(self._ends[i]) - start, start)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameSet:
    """The frames of one camera and what they are."""

    frames: PlacedFrames | SpooledFrames
    codec: str
    height: int
    width: int
    pixel_format: str
    notes: tuple[str, ...]


class ImagePlaces:
    """Places of the images of a CompressedImage topic."""

    def __init__(self) -> None:
        """Begin empty."""
        self._places = array("q")
        self._num_bad = 0
        self._problem = ""
        self.codec = ""
        """Of the first image that is one."""
        self.formats: list[str] = []
        """What the messages call their images, each once."""
        self.sizes: dict[tuple[int, int], int] = {}
        """How many images there are of each height and width."""

    def add(self, message: Message) -> None:
        """Note where the image of a message is.

        Raises:
            CdrError: It is not a message of this type, or has an image of another codec than the first.
        """
        place = compressed_image(message.payload)
        offset, size = place.offset, place.size
        if place.format not in self.formats:
            self._add_format(place.format)
        if "compressedDepth" in place.format:
            offset, size = offset + min(size, DEPTH_HEADER), max(0, size - DEPTH_HEADER)
        self._probe(message.payload[offset : offset + size])
        self._places.extend((message.block, message.offset + offset, size))

    def _add_format(self, form: str) -> None:
        if len(self.formats) >= MAX_FORMATS:
            raise CdrError(f"more than {MAX_FORMATS} different formats in one topic")
        if "compressedDepth" in form and form.startswith("32FC1"):
            raise CdrError(f"format {form!r}: quantized depth is not read by this release")
        self.formats.append(form)

    def _probe(self, data: memoryview) -> None:
        from ..images import probe

        try:
            info = probe(data)
        except ImageError as error:
            self._num_bad += 1
            self._problem = self._problem or str(error)
            return
        if self.codec and info.codec != self.codec:
            raise CdrError(f"a {info.codec} image; the ones before are {self.codec}: a camera must keep to one codec")
        self.codec = info.codec
        size = info.height, info.width
        self.sizes[size] = self.sizes.get(size, 0) + 1

    def __len__(self) -> int:
        """Number of images."""
        return len(self._places) // 3

    def frame_set(self, name: str, blocks: BlockReader, rows: Int64Array, order: Int64Array) -> FrameSet:
        """Describe the frames by the first that is an image.

        Args:
            name: For messages.
            blocks: Reads them.
            rows: Which message each frame is, [N].
            order: Number of each frame's message in the file, [N].

        Raises:
            SourceError: None of them is a JPEG or PNG.
        """
        places = np.array(self._places, dtype=np.int64).reshape(-1, 3)[rows]
        if not self.codec:
            shown = clip(printable(", ".join(self.formats)), 100)
            reason = f"; the first: {printable(self._problem)}" if self._problem else ""
            raise SourceError(f"{name}: none of {len(places)} images is a JPEG or PNG (format: {shown!r}){reason}")
        notes = _size_notes(name, self.sizes)
        if self._num_bad:
            notes.append(f"{name}: {self._num_bad} frames are not {self.codec} images; they are kept as recorded")
        if any("compressedDepth" in f for f in self.formats):
            notes.append(
                f"{name}: the PNG inside each compressedDepth message, without its {DEPTH_HEADER} bytes before"
            )
        height, width = next(iter(self.sizes))
        return FrameSet(
            frames=PlacedFrames(blocks, places, order),
            codec=self.codec,
            height=height,
            width=width,
            pixel_format="",
            notes=tuple(notes),
        )


def _size_notes(name: str, sizes: dict[tuple[int, int], int]) -> list[str]:
    if len(sizes) < 2:
        return []
    shown = ", ".join(f"{count} of {h}x{w}" for (h, w), count in sizes.items())
    return [f"{name}: frames have several sizes (height x width): {clip(shown, 200)}"]


class EncodedImages:
    """Raw images of a sensor_msgs/Image topic, encoded as they come."""

    def __init__(self, folder: Path | None) -> None:
        """Spool into an unnamed file in a folder; None: the system's for temporary files."""
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 — closed with the recording
        self._ends = array("q")
        self._end = 0
        self.encoding = ""
        self.sizes: dict[tuple[int, int], int] = {}

    def add(self, message: Message) -> None:
        """Encode the image of a message.

        Raises:
            CdrError: It is not a message of this type, of an encoding that is not read, or changes its encoding.
        """
        image = raw_image(message.payload)
        if self.encoding and image.encoding != self.encoding:
            raise CdrError(f"encoding {image.encoding!r}; the ones before are {self.encoding!r}")
        data = encode_raw(image)
        self.encoding = image.encoding
        size = image.height, image.width
        self.sizes[size] = self.sizes.get(size, 0) + 1
        self._file.write(data)
        self._end += len(data)
        self._ends.append(self._end)

    def __len__(self) -> int:
        """Number of images."""
        return len(self._ends)

    def frame_set(self, name: str, blocks: BlockReader, rows: Int64Array, order: Int64Array) -> FrameSet:  # noqa: ARG002
        """Describe the frames, as `ImagePlaces.frame_set`."""
        frames = SpooledFrames(self._file.fileno(), np.array(self._ends, dtype=np.int64), rows, order)
        codec = "png" if _ENCODINGS[self.encoding][2] else "jpeg"
        height, width = next(iter(self.sizes))
        how = "PNG, without loss" if codec == "png" else f"JPEG of quality {JPEG_QUALITY}"
        notes = [f"{name}: raw images ({self.encoding}) were encoded as {how}", *_size_notes(name, self.sizes)]
        return FrameSet(
            frames=frames, codec=codec, height=height, width=width, pixel_format=self.encoding, notes=tuple(notes)
        )

    def close(self) -> None:
        """Give the space back."""
        self._file.close()


_ENCODINGS: dict[str, tuple[int, str, bool]] = {
    "rgb8": (3, "u1", False),
    "bgr8": (3, "u1", False),
    "mono8": (1, "u1", False),
    "8UC1": (1, "u1", True),
    "mono16": (1, "u2", True),
    "16UC1": (1, "u2", True),
}
"""Channels, number type, and whether the image is encoded without loss."""


def raw_problem(encoding: str) -> str:
    """Why raw images of an encoding can't be read; empty where they can."""
    if encoding in _ENCODINGS:
        return ""
    return f"encoding {clip(printable(encoding), 40)!r}; must be one of {', '.join(_ENCODINGS)}"


def encode_raw(image: RawImage) -> bytes:
    """Encode one raw image: depth and counts as PNG, what a camera saw as JPEG.

    Raises:
        CdrError: The encoding is not read, or rows are too short.
    """
    problem = raw_problem(image.encoding)
    if problem:
        raise CdrError(problem)
    channels, kind, is_exact = _ENCODINGS[image.encoding]
    dtype = np.dtype((">" if image.is_bigendian else "<") + kind)
    row = image.width * channels * dtype.itemsize
    if row == 0 or image.height == 0 or row > image.step:
        raise CdrError(f"{image.height}x{image.width} {image.encoding}, rows of {image.step} bytes; need {row} each")
    rows = np.frombuffer(image.pixels[: image.height * image.step], np.uint8).reshape(image.height, image.step)
    pixels = np.ascontiguousarray(rows[:, :row]).view(dtype).reshape(image.height, image.width, channels)
    if image.encoding == "bgr8":
        pixels = pixels[:, :, ::-1]
    from ..images import encode_jpeg, encode_png

    try:
        if is_exact:
            return bytes(encode_png(pixels[:, :, 0].astype(dtype.newbyteorder("="))))
        return bytes(encode_jpeg(np.ascontiguousarray(pixels if channels > 1 else pixels[:, :, 0]), JPEG_QUALITY))
    except ImageError as error:
        raise CdrError(str(error)) from error
