"""Camera images in HDF5: encoded ones keep their bytes, raw ones become PNG, one frame in memory at a time."""

from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..embodiment import Camera
from ..errors import ImageError, SourceError
from ..images import MAX_PIXELS, ImageInfo, encode_png
from ..recording import Frames
from ..text import printable
from ._first_image import first_image
from ._hdf5 import Hdf5File
from ._hdf5_types import DatasetInfo
from ._spool import Spool

__all__ = ["MAX_ENCODED", "Cameras", "ImageSet", "encoded_length", "image_problem", "is_encoded", "raw_size"]

Int64Array = NDArray[np.int64]

MAX_FRAMES = 2_000_000
"""Eleven hours at 50 Hz."""
MAX_ENCODED = 64 * 2**20
"""One encoded image."""
BLOCK_BYTES = 64 * 2**20
"""Rows of a chunk that are kept, so that each chunk is unpacked once."""

_FORMATS = {("uint8", 1): "mono8", ("uint8", 3): "rgb8", ("uint8", 4): "rgba8", ("uint16", 1): "mono16"}
_END_OF_JPEG = b"\xff\xd9"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageSet:
    """The frames of one camera and what they are."""

    frames: Frames
    codec: str
    height: int
    width: int
    pixel_format: str = ""
    """Of raw images, what they were: `rgb8`, `mono16`, …."""
    notes: tuple[str, ...] = ()


def is_encoded(info: DatasetInfo) -> bool:
    """Whether the rows of a dataset can be encoded images: padded bytes, or byte vectors of varying length."""
    return (info.dtype == "uint8" and len(info.shape) == 2) or (info.kind == "bytes" and len(info.shape) == 1)


def raw_size(info: DatasetInfo) -> tuple[int, int, int] | None:
    """Height, width and channels of raw images; None where the rows are none."""
    shape = info.shape[1:]
    if len(shape) == 2:
        shape = (*shape, 1)
    is_image = len(shape) == 3 and (info.dtype, shape[2]) in _FORMATS and 0 not in shape
    return (shape[0], shape[1], shape[2]) if is_image else None


def image_problem(info: DatasetInfo) -> str:
    """Why the rows of a dataset can't be a camera's images; empty where they can."""
    if info.rows > MAX_FRAMES:
        return f"has {info.rows:,} rows; a camera must have at most {MAX_FRAMES:,}"
    if is_encoded(info):
        too_long = info.kind == "numeric" and info.row_bytes > MAX_ENCODED
        return f"has {info.row_bytes:,} bytes in a row; must have at most {MAX_ENCODED:,}" if too_long else ""
    size = raw_size(info)
    if size is None:
        return (
            f"is {info.what}; images must be uint8 [H, W], [H, W, 1], [H, W, 3] or [H, W, 4], uint16 [H, W] or "
            "[H, W, 1], or encoded bytes"
        )
    return f"has {size[0]}x{size[1]} pixels; must have at most {MAX_PIXELS:,}" if size[0] * size[1] > MAX_PIXELS else ""


def encoded_length(row: bytes) -> int:
    """How many bytes of a padded row are the image: to the last end mark of a JPEG, or without the zeros at the end."""
    if row[:2] == b"\xff\xd8":
        end = row.rfind(_END_OF_JPEG)
        if end >= 0:
            return end + len(_END_OF_JPEG)
    return len(row.rstrip(b"\0"))


class Cameras:
    """Reads the cameras of one episode."""

    def __init__(self, file: Hdf5File, stack: ExitStack, *, is_flipped: bool = False) -> None:
        """Read from a file.

        Args:
            file: Stays open as long as the frames are read.
            stack: Gives back the space of raw images that were encoded.
            is_flipped: Turn raw images upside down before they are encoded.
        """
        self._file, self._stack, self._is_flipped = file, stack, is_flipped
        self._order = 0

    def read(self, camera: Camera, path: str, rows: range | None = None) -> ImageSet:
        """Describe the images of a camera; encoded ones are measured, raw ones encoded now.

        Args:
            camera: Of the embodiment; for its name, its depth and its declared order of colours.
            path: The dataset.
            rows: Of it; None: all.

        Raises:
            SourceError: The dataset holds no images, or is damaged.
        """
        info = self._file.info(path)
        problem = image_problem(info)
        if problem:
            raise SourceError(f"{self._file.name}: {printable(path)} for {camera.name} {problem}")
        rows = range(info.rows) if rows is None else rows
        found = self._encoded(camera, info, rows) if is_encoded(info) else self._raw(camera, info, rows)
        self._order += len(rows)
        return found

    def _encoded(self, camera: Camera, info: DatasetInfo, rows: range) -> ImageSet:
        if self._is_flipped:
            raise SourceError(
                f"{self._file.name}: {printable(info.path)} for {camera.name} holds encoded images; only raw ones can "
                "be turned without loss, set options.flip_images to false"
            )
        frames = _EncodedRows(self._file, info, rows, self._order)
        where = f"{self._file.name}: {printable(info.path)}"
        image = first_image(frames, where)
        notes = frames.notes(camera.name, image)
        if image.channels >= 3:
            notes.append(_color_note(camera))
        return ImageSet(frames=frames, codec=image.codec, height=image.height, width=image.width, notes=tuple(notes))

    def _raw(self, camera: Camera, info: DatasetInfo, rows: range) -> ImageSet:
        size = raw_size(info)
        assert size is not None, "image_problem was asked"
        height, width, channels = size
        if channels > 1 and camera.depth is not None:
            where = f"{self._file.name}: {printable(info.path)} for {camera.name}"
            raise SourceError(f"{where} is {info.what}; depth must have one number for each pixel")
        spool = Spool()
        self._stack.callback(spool.close)
        blocks = _RowBlocks(self._file, info)
        for row in rows:
            pixels = blocks.row(row).reshape(height, width, channels)
            if self._is_flipped:
                pixels = pixels[::-1]
            try:
                # PNG is big-endian inside; the encoder wants this machine's order.
                spool.add(encode_png(np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder("="), copy=False))))
            except ImageError as error:
                raise SourceError(f"{self._file.name}: {printable(info.path)}: row {row}: {error}") from error
        form = _FORMATS[info.dtype, channels]
        notes = [f"{camera.name}: raw images ({form}) were encoded as PNG, without loss"]
        if self._is_flipped:
            notes.append(f"{camera.name}: images were turned upside down before they were encoded, as flip_images asks")
        if channels >= 3:
            notes.append(_color_note(camera))
        return ImageSet(
            frames=spool.frames(first_order=self._order),
            codec="png",
            height=height,
            width=width,
            pixel_format=form,
            notes=tuple(notes),
        )


def _color_note(camera: Camera) -> str:
    return (
        f"{camera.name}: channels lie as the file has them; the schema declares {camera.color_order}, which the file "
        "can't confirm"
    )


class _RowBlocks:
    """Rows of a dataset; those of one chunk are kept."""

    def __init__(self, file: Hdf5File, info: DatasetInfo) -> None:
        self._file, self._info = file, info
        self._step = max(1, min(info.chunk_rows, BLOCK_BYTES // max(1, info.row_bytes)))
        self._start = -1
        self._block: NDArray[np.generic] = np.zeros(0)

    def row(self, row: int) -> NDArray[np.generic]:
        start = row - row % self._step
        if start != self._start:
            self._block = np.zeros(0)  # before the next one is read: two need not be in memory
            self._block = self._file.rows(self._info, range(start, min(start + self._step, self._info.rows)))
            self._start = start
        values: NDArray[np.generic] = self._block[row - start]
        return values


class _EncodedRows:
    """Encoded images in the rows of a dataset; satisfies `Frames`."""

    def __init__(self, file: Hdf5File, info: DatasetInfo, rows: range, order: int) -> None:
        """Measure all images once."""
        self._file, self._info, self._rows = file, info, rows
        self._blocks = _RowBlocks(file, info) if info.kind == "numeric" else None
        self._sizes = np.zeros(len(rows), dtype=np.int64)
        self._order = np.arange(order, order + len(rows), dtype=np.int64)
        self._num_cut = self._num_open = 0
        self._codecs: dict[str, int] = {}
        for k, row in enumerate(rows):
            data = self._row(row)
            length = encoded_length(data)
            self._sizes[k] = length
            self._num_cut += bool(data[length:].strip(b"\0"))
            head = data[:8]
            is_jpeg = head[:2] == b"\xff\xd8"
            self._num_open += is_jpeg and data[length - 2 : length] != _END_OF_JPEG
            codec = "jpeg" if is_jpeg else "png" if head == b"\x89PNG\r\n\x1a\n" else "none"
            self._codecs[codec] = self._codecs.get(codec, 0) + 1

    @property
    def sizes(self) -> Int64Array:
        """Bytes of each, [N]."""
        return self._sizes

    @property
    def order(self) -> Int64Array:
        """As they lie, [N]."""
        return self._order

    def read(self, index: int) -> bytes:
        """The encoded bytes of one."""
        return self._row(self._rows[index])[: int(self._sizes[index])]

    def _row(self, row: int) -> bytes:
        if self._blocks is not None:
            return self._blocks.row(row).tobytes()
        return self._file.item(self._info, row, MAX_ENCODED)

    def notes(self, name: str, image: ImageInfo) -> list[str]:
        """What is odd about the images."""
        notes = []
        others = sum(n for codec, n in self._codecs.items() if codec != image.codec)
        if others:
            notes.append(
                f"{name}: {others} of {len(self._rows)} frames are no {image.codec}; they are kept as recorded"
            )
        if self._num_open:
            notes.append(f"{name}: {self._num_open} of {len(self._rows)} frames are JPEG without an end mark")
        if self._num_cut:
            notes.append(
                f"{name}: {self._num_cut} of {len(self._rows)} rows hold other bytes than zeros after the image; they "
                "are left out"
            )
        return notes
