"""Encoded frames: their headers, their limits, decoding, resizing, encoding. The only module that knows OpenCV.

OpenCV is imported with the first call that needs it; reading a header needs none.
Sources: ITU-T T.81 (JPEG), annex B; W3C PNG (third edition), sections 5 and 11.
"""

import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from .errors import ImageError, ImageLimitError
from .text import clip, printable

__all__ = [
    "MAX_PIXELS",
    "ImageInfo",
    "Letterbox",
    "contact_sheet",
    "decode",
    "decode_depth",
    "decode_reduced",
    "encode_jpeg",
    "encode_png",
    "letterbox",
    "probe",
    "resize",
]

MAX_PIXELS = 2**25
"""Largest image that is decoded (33.5 million pixels, 100 MB as RGB); a 691-byte JPEG can declare 900 million."""

_MAX_SEGMENTS = 1000
"""JPEG segments before the frame header; a color profile of the largest size has 255."""
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PNG_LEVEL = 3
_OUT_OF_MEMORY = -4
_LABEL_HEIGHT = 20
_GAP = 2

Image = NDArray[np.uint8]
How = Literal["stretch", "letterbox"]


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What the header of an encoded image declares."""

    codec: str
    """`jpeg` or `png`."""
    height: int
    width: int
    channels: int
    """1 grey, 2 grey and alpha, 3 color (also a palette), 4 color and alpha; JPEG: 4 is CMYK."""
    bit_depth: int
    """Bits of one channel, or of one palette index."""


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Where an image lies in a larger one: its place and size in pixels; the rest is black."""

    top: int
    left: int
    height: int
    width: int


@cache
def _cv2() -> ModuleType:
    # Read once, when OpenCV is loaded.
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))
    import cv2

    cv2.setNumThreads(1)  # parallelism is over units; codecs in one thread give the same bytes everywhere
    return cv2


def probe(data: bytes | memoryview) -> ImageInfo:
    """Read the header of a JPEG or PNG; nothing is decoded.

    Args:
        data: The encoded image; only its beginning is looked at.

    Raises:
        ImageError: Neither JPEG nor PNG, or a header that is cut off or contradicts its format.
        ImageLimitError: More than `MAX_PIXELS` pixels.
    """
    if data[:2] == b"\xff\xd8":
        info = _probe_jpeg(data)
    elif data[:8] == _PNG:
        info = _probe_png(data)
    else:
        raise ImageError(f"image begins with {bytes(data[:8]).hex(' ') or 'nothing'}; must be JPEG or PNG")
    if info.height == 0 or info.width == 0:
        raise ImageError(f"{info.codec} of {info.height}x{info.width} pixels; must have at least 1x1")
    if info.height * info.width > MAX_PIXELS:
        raise ImageLimitError(f"{info.codec} of {info.height}x{info.width} pixels; must have at most {MAX_PIXELS:,}")
    return info


def _probe_jpeg(data: bytes | memoryview) -> ImageInfo:
    place, size = 2, len(data)
    for _ in range(_MAX_SEGMENTS):
        if place + 4 > size:
            break
        if data[place] != 0xFF:
            raise ImageError(f"jpeg has byte {data[place]:#04x} at {place}; must be a marker, 0xff")
        marker = data[place + 1]
        if marker == 0xFF:  # fill byte
            place += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:  # markers without a length
            place += 2
            continue
        if marker in {0xD9, 0xDA}:
            raise ImageError(f"jpeg has marker {marker:#04x} at {place} before a frame header")
        length = data[place + 2] << 8 | data[place + 3]
        if marker in _FRAME_HEADERS:
            return _frame_header(data, place, length)
        if length < 2:
            raise ImageError(f"jpeg segment at {place} has length {length}; must be at least 2")
        place += 2 + length
    raise ImageError(f"jpeg of {size:,} bytes has no frame header; it is truncated or damaged")


def _frame_header(data: bytes | memoryview, place: int, length: int) -> ImageInfo:
    head = bytes(data[place + 4 : place + 10])
    if len(head) < 6 or place + 2 + length > len(data):
        raise ImageError("jpeg ends inside its frame header")
    channels = head[5]
    if channels not in {1, 3, 4} or length != 8 + 3 * channels:
        raise ImageError(f"jpeg frame header of {length} bytes declares {channels} channels; must be 1, 3 or 4")
    return ImageInfo("jpeg", head[1] << 8 | head[2], head[3] << 8 | head[4], channels, head[0])


def _probe_png(data: bytes | memoryview) -> ImageInfo:
    head = bytes(data[8:33])
    if len(head) < 25:
        raise ImageError("png ends inside its header")
    if head[:8] != b"\0\0\0\x0dIHDR":
        raise ImageError("png does not begin with an IHDR chunk of 13 bytes")
    if zlib.crc32(head[4:21]) != int.from_bytes(head[21:25]):
        raise ImageError("png header has a wrong checksum")
    depth, color = head[16], head[17]
    if depth not in _PNG_DEPTHS.get(color, ()) or head[18] or head[19] or head[20] > 1:
        raise ImageError(f"png declares color type {color} with {depth} bits; there is no such png")
    return ImageInfo("png", int.from_bytes(head[12:16]), int.from_bytes(head[8:12]), _PNG_CHANNELS[color], depth)


def decode(data: bytes | memoryview, info: ImageInfo | None = None) -> Image:
    """Decode an image of 8 bits a channel to RGB.

    Grey becomes three equal channels, an alpha channel is left out, and an EXIF orientation is not applied: the
    pixels lie as the camera sent them.

    Args:
        data: JPEG or PNG.
        info: What `probe` said of the same bytes, where the caller has it already.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ImageError: As `probe`; more than 8 bits a channel; or the image is damaged.
    """
    info = info or probe(data)
    if info.bit_depth > 8:
        raise ImageError(f"{info.codec} of {info.bit_depth} bits a channel; must have 8 to become RGB")
    cv2 = _cv2()
    return _decode(data, info, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)


def decode_reduced(data: bytes | memoryview, most: int, *, is_color: bool = False) -> NDArray[np.uint8]:
    """Decode to grey [h, w] or RGB [h, w, 3], reduced by 2, 4 or 8 until no side is longer than `most`, if that does.

    Raises:
        ImageError: As `decode`.
    """
    info = probe(data)
    factor = next((f for f in (1, 2, 4) if max(info.height, info.width) <= f * most), 8)
    if info.codec == "png" or factor == 1:
        image = decode(data, info)[::factor, ::factor]
        return image if is_color else image[..., 1]
    name = f"IMREAD_REDUCED_{'COLOR' if is_color else 'GRAYSCALE'}_{factor}"
    image = _imdecode(data, info, getattr(_cv2(), name) | _cv2().IMREAD_IGNORE_ORIENTATION)
    if image.shape[:2] != (-(-info.height // factor), -(-info.width // factor)):
        raise ImageError(f"{info.codec} of {info.height}x{info.width} pixels decodes to {image.shape[:2]} reduced")
    return image[..., ::-1] if is_color else image  # reduced, OpenCV gives blue first


def decode_depth(data: bytes | memoryview) -> NDArray[np.uint16]:
    """Decode a depth image: a grey PNG of 8 or 16 bits, in the camera's own unit.

    Returns:
        uint16 [H, W], the stored numbers.

    Raises:
        ImageError: As `probe`; not a grey PNG; or the image is damaged.
    """
    info = probe(data)
    if info.codec != "png" or info.channels != 1 or info.bit_depth < 8:
        raise ImageError(
            f"depth is a {info.codec} of {info.channels} channels and {info.bit_depth} bits; "
            "must be a grey png of 8 or 16 bits"
        )
    depth = _decode(data, info, _cv2().IMREAD_UNCHANGED)
    if depth.ndim != 2:  # a grey png may declare one value as transparent
        raise ImageError(f"depth decodes to {list(depth.shape)}; must be [H, W]")
    return depth.astype(np.uint16, copy=False)


def _decode(data: bytes | memoryview, info: ImageInfo, flags: int) -> NDArray[np.uint8]:
    image = _imdecode(data, info, flags)
    if image.shape[:2] != (info.height, info.width):
        found = f"{image.shape[0]}x{image.shape[1]}"
        raise ImageError(f"{info.codec} decodes to {found} pixels; its header says {info.height}x{info.width}")
    return image


def _imdecode(data: bytes | memoryview, info: ImageInfo, flags: int) -> NDArray[np.uint8]:
    cv2 = _cv2()
    if info.codec == "png":
        _check_chunks(data)
    try:
        image = cast("Image | None", cv2.imdecode(np.frombuffer(data, np.uint8), flags))
    except cv2.error as error:
        raise _translated(error, "can't be decoded") from error
    if image is None:
        raise ImageError(f"{info.codec} of {info.height}x{info.width} pixels is truncated or damaged")
    return image


def _check_chunks(data: bytes | memoryview) -> None:
    """Refuse a PNG whose chunks do not fit into it: OpenCV allocates what a chunk declares, up to 2 GB."""
    place, size = len(_PNG), len(data)
    while place + 12 <= size:
        length = int.from_bytes(data[place : place + 4])
        if length > size - place - 12:
            raise ImageError(f"png chunk at {place} has {length:,} bytes; {size - place - 12:,} are left")
        if data[place + 4 : place + 8] == b"IEND":
            return
        place += 12 + length
    raise ImageError(f"png of {size:,} bytes has no end; it is truncated or damaged")


def _translated(error: Exception, what: str) -> Exception:
    if getattr(error, "code", None) == _OUT_OF_MEMORY:
        return MemoryError(f"image {what}: out of memory")
    return ImageError(f"image {what}: {clip(printable(getattr(error, 'err', '') or str(error)), 200)}")


def encode_jpeg(rgb: Image, quality: int = 95) -> bytes:
    """Encode an image as baseline JPEG; the same pixels give the same bytes.

    Args:
        rgb: uint8 [H, W, 3], or [H, W] for grey.
        quality: 1 to 100.

    Raises:
        ImageError: Another shape or type.
    """
    _require(rgb, (np.dtype(np.uint8),), (1, 3))
    if not 1 <= quality <= 100:
        raise ImageError(f"jpeg quality is {quality}; must be 1 to 100")
    return _encode(".jpg", rgb, [_cv2().IMWRITE_JPEG_QUALITY, quality])


def encode_png(image: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """Encode an image as PNG, without loss; the same pixels give the same bytes.

    Args:
        image: uint8 or uint16; [H, W] grey, [H, W, 3] RGB or [H, W, 4] RGBA.

    Raises:
        ImageError: Another shape or type.
    """
    _require(image, (np.dtype(np.uint8), np.dtype(np.uint16)), (1, 3, 4))
    return _encode(".png", image, [_cv2().IMWRITE_PNG_COMPRESSION, _PNG_LEVEL])


def _require(image: NDArray[np.generic], dtypes: tuple[np.dtype[np.generic], ...], channels: tuple[int, ...]) -> None:
    found = 1 if image.ndim == 2 else image.shape[2] if image.ndim == 3 else 0
    if image.dtype not in dtypes or found not in channels or 0 in image.shape:
        types, counts = (" or ".join(map(str, values)) for values in (dtypes, channels))
        raise ImageError(f"image is {image.dtype} {list(image.shape)}; must be {types} with {counts} channels")


def _encode(suffix: str, image: NDArray[np.generic], options: list[int]) -> bytes:
    cv2 = _cv2()
    image = np.ascontiguousarray(image)
    if image.ndim == 3 and image.shape[2] > 1:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR if image.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    try:
        is_encoded, encoded = cv2.imencode(suffix, image, options)
    except cv2.error as error:
        raise _translated(error, "can't be encoded") from error
    if not is_encoded:
        raise ImageError(f"image {list(image.shape)} can't be encoded as {suffix[1:]}")
    data: bytes = encoded.tobytes()
    return data


def letterbox(size: tuple[int, int], into: tuple[int, int]) -> Letterbox:
    """Fit an image into another size, keeping its proportions, centred.

    Args:
        size: Height and width of the image.
        into: Height and width that must hold it.

    Returns:
        The largest place that fits; the half pixel left over goes to the bottom and the right.
    """
    (height, width), (rows, columns) = size, into
    # Integers, so that the geometry is the same on every machine; halves are rounded up.
    if columns * height <= rows * width:
        fitted = (max(1, (2 * height * columns + width) // (2 * width)), columns)
    else:
        fitted = (rows, max(1, (2 * width * rows + height) // (2 * height)))
    return Letterbox((rows - fitted[0]) // 2, (columns - fitted[1]) // 2, fitted[0], fitted[1])


def resize(rgb: Image, height: int, width: int, how: How = "stretch") -> Image:
    """Bring an image to a size; the same pixels on every machine.

    Shrinking averages areas, growing is linear; cubic interpolation is left out because its results differ between
    processors.

    Args:
        rgb: uint8 [H, W, 3] or [H, W].
        height: Of the result.
        width: Of the result.
        how: `stretch` changes the proportions; `letterbox` keeps them and adds black bars.

    Returns:
        uint8 [height, width, 3] or [height, width]; the very array where the size is right already.

    Raises:
        ImageError: Another shape or type, or a size below 1 or above `MAX_PIXELS`.
    """
    _require(rgb, (np.dtype(np.uint8),), (1, 3))
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise ImageError(f"image size is {height}x{width}; must be at least 1x1 and at most {MAX_PIXELS:,} pixels")
    if how not in ("stretch", "letterbox"):
        raise ImageError(f"resize is {how!r}; must be stretch or letterbox")
    if rgb.shape[:2] == (height, width):
        return rgb
    if how == "stretch":
        return _scale(rgb, height, width)
    box = letterbox((rgb.shape[0], rgb.shape[1]), (height, width))
    canvas = np.zeros((height, width, *rgb.shape[2:]), np.uint8)
    canvas[box.top : box.top + box.height, box.left : box.left + box.width] = _scale(rgb, box.height, box.width)
    return canvas


def _scale(rgb: Image, height: int, width: int) -> Image:
    cv2 = _cv2()
    # One axis may shrink while the other grows; each gets its own filter.
    shrunk = (min(height, rgb.shape[0]), min(width, rgb.shape[1]))
    if shrunk != rgb.shape[:2]:
        rgb = cv2.resize(rgb, (shrunk[1], shrunk[0]), interpolation=cv2.INTER_AREA)
    if shrunk != (height, width):
        rgb = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_LINEAR_EXACT)
    return rgb


def contact_sheet(images: Sequence[Image], labels: Sequence[str], columns: int, tile_height: int) -> Image:
    """Lay images out in rows, each under its label.

    Args:
        images: RGB, uint8 [H, W, 3]; sizes may differ.
        labels: One for each; characters that can't be drawn become question marks.
        columns: Images in a row.
        tile_height: Height of each image on the sheet, in pixels.

    Returns:
        RGB, uint8 [H, W, 3].

    Raises:
        ImageError: No image, another number of labels, or a sheet above `MAX_PIXELS`.
    """
    if not images or len(images) != len(labels) or min(columns, tile_height) < 1:
        asked = f"{len(images)} images, {len(labels)} labels, {columns} columns, height {tile_height}"
        raise ImageError(f"contact sheet of {asked}; must have images with one label each, a column and a pixel")
    widths = [max(1, round(i.shape[1] * tile_height / i.shape[0])) for i in images]
    cell_width, cell_height = max(widths) + _GAP, tile_height + _LABEL_HEIGHT
    rows = -(-len(images) // columns)
    columns = min(columns, len(images))
    if rows * cell_height * columns * cell_width > MAX_PIXELS:
        raise ImageError(f"contact sheet of {rows * cell_height}x{columns * cell_width} pixels; at most {MAX_PIXELS:,}")
    sheet = np.full((rows * cell_height, columns * cell_width - _GAP, 3), 24, np.uint8)
    for k, (image, label, width) in enumerate(zip(images, labels, widths, strict=True)):
        top, left = k // columns * cell_height, k % columns * cell_width
        cell = sheet[top : top + cell_height, left : left + cell_width - _GAP]
        cell[_LABEL_HEIGHT:, :width] = resize(image, tile_height, width)
        _write(cell[:_LABEL_HEIGHT], label)
    return sheet


def _write(strip: Image, label: str) -> None:
    cv2 = _cv2()
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.42
    text = "".join(c if " " <= c <= "~" else "?" for c in printable(label))
    fits = len(text)
    while fits > 1 and cv2.getTextSize(text[:fits], font, scale, 1)[0][0] > strip.shape[1] - 4:
        fits -= 1
    if fits < len(text):
        text = text[: max(1, fits - 2)] + ".."
    drawn = np.ascontiguousarray(strip)
    cv2.putText(drawn, text, (3, _LABEL_HEIGHT - 6), font, scale, (235, 235, 235), 1, cv2.LINE_AA)
    strip[:] = drawn
