"""Raw images encoded as they come: what a camera saw as JPEG, depth and counts as PNG."""

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError
from ..text import clip, printable
from ._ros2 import CdrError, RawImage

__all__ = ["JPEG_QUALITY", "RawEncoder", "raw_channels", "raw_problem"]

JPEG_QUALITY = 95
"""Of raw colour images."""

_ENCODINGS: dict[str, tuple[int, str, bool]] = {
    "rgb8": (3, "u1", False),
    "bgr8": (3, "u1", False),
    "rgba8": (4, "u1", False),
    "bgra8": (4, "u1", False),
    "mono8": (1, "u1", False),
    "8UC1": (1, "u1", True),
    "mono16": (1, "u2", True),
    "16UC1": (1, "u2", True),
    "32FC1": (1, "f4", True),
}
"""Channels, number type, and whether the image is encoded as PNG."""

_MOST_MILLIMETRES = 65535


def raw_problem(encoding: str) -> str:
    """Why raw images of an encoding can't be read; empty where they can."""
    if encoding in _ENCODINGS:
        return ""
    shown = f"encoding {clip(printable(encoding), 40)!r}; must be one of {', '.join(_ENCODINGS)}"
    if encoding.startswith("bayer_"):
        return f"{shown}: a Bayer mosaic has no colours before it is interpolated, which is not done here"
    return shown


def raw_channels(encoding: str) -> int:
    """Channels of the encoded image."""
    return min(3, _ENCODINGS.get(encoding, (1, "", False))[0])


class RawEncoder:
    """Encodes the raw images of one camera."""

    def __init__(self) -> None:
        """Begin; the first image says what the encoding is."""
        self.encoding = ""
        self._num_without = 0
        self._num_far = 0

    @property
    def codec(self) -> str:
        """`png` where the image is depth or counts, else `jpeg`."""
        return "png" if _ENCODINGS[self.encoding][2] else "jpeg"

    def encode(self, image: RawImage) -> bytes:
        """Encode the next image.

        Raises:
            CdrError: The encoding is not read or is not that of the images before, or rows are too short.
        """
        if self.encoding and image.encoding != self.encoding:
            raise CdrError(f"encoding {image.encoding!r}; the ones before are {self.encoding!r}")
        problem = raw_problem(image.encoding)
        if problem:
            raise CdrError(problem)
        pixels = _pixels(image)
        from ..images import encode_jpeg, encode_png

        try:
            if image.encoding == "32FC1":
                data = bytes(encode_png(self._millimetres(pixels[:, :, 0])))
            elif _ENCODINGS[image.encoding][2]:
                data = bytes(encode_png(pixels[:, :, 0].astype(pixels.dtype.newbyteorder("="))))
            else:
                if image.encoding.startswith("bgr"):
                    pixels = pixels[:, :, 2::-1]
                shown = pixels[:, :, :3] if pixels.shape[2] > 1 else pixels[:, :, 0]
                data = bytes(encode_jpeg(np.ascontiguousarray(shown), JPEG_QUALITY))
        except ImageError as error:
            raise CdrError(str(error)) from error
        self.encoding = image.encoding
        return data

    def _millimetres(self, metres: NDArray[np.generic]) -> NDArray[np.uint16]:
        """Metres as whole millimetres; 0, which says "unknown", where there is no distance or none that fits."""
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = np.rint(metres.astype(np.float64) * 1000)
            is_known = np.isfinite(scaled) & (scaled > 0)
        is_far = is_known & (scaled > _MOST_MILLIMETRES)
        self._num_without += int((~is_known).sum())
        self._num_far += int(is_far.sum())
        return np.where(is_known & ~is_far, scaled, 0).astype(np.uint16)

    def notes(self, name: str) -> list[str]:
        """How the images were encoded, and what that changed."""
        how = "PNG, without loss" if self.codec == "png" else f"JPEG of quality {JPEG_QUALITY}"
        if self.encoding == "32FC1":
            how = (
                "16-bit PNG in whole millimetres (metres · 1000, rounded; 0 is unknown): "
                f"{self._num_without:,} pixels have no distance, {self._num_far:,} beyond 65.535 m were set to 0"
            )
        elif self.encoding in {"rgba8", "bgra8"}:
            how += ", without their alpha channel"
        return [f"{name}: raw images ({self.encoding}) were encoded as {how}"]


def _pixels(image: RawImage) -> NDArray[np.generic]:
    """[H, W, C], in the message's own number type."""
    channels, kind, _ = _ENCODINGS[image.encoding]
    dtype = np.dtype((">" if image.is_bigendian else "<") + kind)
    row = image.width * channels * dtype.itemsize
    if row == 0 or image.height == 0 or row > image.step:
        raise CdrError(f"{image.height}x{image.width} {image.encoding}, rows of {image.step} bytes; need {row} each")
    rows = np.frombuffer(image.pixels[: image.height * image.step], np.uint8).reshape(image.height, image.step)
    return np.ascontiguousarray(rows[:, :row]).view(dtype).reshape(image.height, image.width, channels)
