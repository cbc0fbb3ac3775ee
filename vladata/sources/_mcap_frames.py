"""Images of MCAP topics: places of encoded ones, and raw ones encoded into an unnamed temporary file."""

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError, SourceError
from ..text import clip, printable
from ._mcap_blocks import BlockReader
from ._mcap_file import Message
from ._raw_images import RawEncoder, raw_problem
from ._ros2 import CdrError, ImagePlace, RawImage, compressed_image, raw_image
from ._spool import Spool, SpooledFrames

if TYPE_CHECKING:
    from ._foxglove import JsonImages

__all__ = [
    "EncodedImages",
    "FrameSet",
    "ImagePlaces",
    "JsonFrames",
    "JsonPlaces",
    "PlacedFrames",
    "SpooledFrames",
    "raw_problem",
]

Int64Array = NDArray[np.int64]

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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameSet:
    """The frames of one camera and what they are."""

    frames: "AnyFrames"
    codec: str
    height: int
    width: int
    pixel_format: str
    notes: tuple[str, ...]
    rows: Int64Array | None = None
    """Which messages of the topic the frames are, where some hold none; None: all that were asked for."""
    keyframes: NDArray[np.bool_] | None = None
    """Of a video: where decoding can begin, [N]."""
    extradata: bytes = b""
    """Of a video."""
    num_reordered: int = 0
    """Of a video: how many frames may be decoded before one that is shown earlier."""


class ImagePlaces:
    """Places of the images of a CompressedImage topic."""

    def __init__(self, locate: Callable[[memoryview], ImagePlace] = compressed_image) -> None:
        """Begin empty.

        Args:
            locate: Finds the image in a message.
        """
        self._locate = locate
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
        place = self._locate(message.payload)
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
            frames=self._frames(blocks, places, rows, order),
            codec=self.codec,
            height=height,
            width=width,
            pixel_format="",
            notes=tuple(notes),
        )

    def _frames(self, blocks: BlockReader, places: Int64Array, rows: Int64Array, order: Int64Array) -> "AnyFrames":  # noqa: ARG002
        return PlacedFrames(blocks, places, order)


def _size_notes(name: str, sizes: dict[tuple[int, int], int]) -> list[str]:
    if len(sizes) < 2:
        return []
    shown = ", ".join(f"{count} of {h}x{w}" for (h, w), count in sizes.items())
    return [f"{name}: frames have several sizes (height x width): {clip(shown, 200)}"]


class JsonPlaces(ImagePlaces):
    """Places of the messages whose images are base64 in JSON; decoded again when a frame is asked for."""

    def __init__(self, images: "JsonImages") -> None:
        """Begin empty.

        Args:
            images: Takes the image out of a message.
        """
        super().__init__()
        self._images = images
        self._sizes = array("q")

    def add(self, message: Message) -> None:
        """Note where a message is, and the size of its image.

        Raises:
            CdrError: It has no image, or one of another codec than the first.
        """
        data = self._images.data(message.payload)
        form = self._images.form(message.payload)
        if form not in self.formats:
            self._add_format(form)
        self._probe(memoryview(data))
        self._places.extend((message.block, message.offset, len(message.payload)))
        self._sizes.append(len(data))

    def _frames(self, blocks: BlockReader, places: Int64Array, rows: Int64Array, order: Int64Array) -> "AnyFrames":
        sizes = np.array(self._sizes, dtype=np.int64)[rows]
        return JsonFrames(self._images, PlacedFrames(blocks, places, order), sizes)


class JsonFrames:
    """Frames that are decoded out of their messages one by one."""

    def __init__(self, images: "JsonImages", messages: PlacedFrames, sizes: Int64Array) -> None:
        self._images, self._messages, self._sizes = images, messages, sizes

    @property
    def sizes(self) -> Int64Array:
        """Bytes of each image, [N]."""
        return self._sizes

    @property
    def order(self) -> Int64Array:
        """Number of each one's message in the file, [N]."""
        return self._messages.order

    def read(self, index: int) -> bytes:
        """The encoded bytes of one."""
        return self._images.data(self._messages.read(index))


AnyFrames = PlacedFrames | SpooledFrames | JsonFrames


class EncodedImages:
    """Raw images, encoded as they come."""

    def __init__(self, read: Callable[[memoryview], RawImage] = raw_image) -> None:
        """Prepare; `read` takes a message apart."""
        self._read = read
        self._spool = Spool()
        self._encoder = RawEncoder()
        self.sizes: dict[tuple[int, int], int] = {}

    @property
    def encoding(self) -> str:
        """What the messages call their pixels."""
        return self._encoder.encoding

    def add(self, message: Message) -> None:
        """Encode the image of a message.

        Raises:
            CdrError: It is not a message of this type, of an encoding that is not read, or changes its encoding.
        """
        image = self._read(message.payload)
        data = self._encoder.encode(image)
        size = image.height, image.width
        self.sizes[size] = self.sizes.get(size, 0) + 1
        self._spool.add(data)

    def __len__(self) -> int:
        """Number of images."""
        return len(self._spool)

    def frame_set(self, name: str, blocks: BlockReader, rows: Int64Array, order: Int64Array) -> FrameSet:  # noqa: ARG002
        """Describe the frames, as `ImagePlaces.frame_set`."""
        height, width = next(iter(self.sizes))
        return FrameSet(
            frames=self._spool.picked(rows, order),
            codec=self._encoder.codec,
            height=height,
            width=width,
            pixel_format=self.encoding,
            notes=(*self._encoder.notes(name), *_size_notes(name, self.sizes)),
        )

    def close(self) -> None:
        """Give the space back."""
        self._spool.close()
