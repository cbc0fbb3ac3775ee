"""Images of a replay buffer: kept as they are stored where that is JPEG or PNG, else decoded and encoded as PNG."""

import numpy as np
from numpy.typing import NDArray

from .. import workers
from ..errors import SourceError
from ..images import MAX_PIXELS, encode_png
from ._spool import Spool
from ._zarr_v2 import ZarrArray

__all__ = ["StoredFrames", "is_picture", "kept_codec", "spool_pngs"]

Int64Array = NDArray[np.int64]

_KEPT = {"imagecodecs_jpeg": "jpeg", "imagecodecs_png": "png"}
_TYPES = {"uint8", "uint16", "float32", "float64"}


def is_picture(array: ZarrArray) -> bool:
    """Whether an array holds images: [N, H, W] of 16 bits, or [N, H, W, C]."""
    shape = array.row_shape
    is_grey = len(shape) == 2 and array.dtype.name == "uint16"
    is_color = len(shape) == 3 and shape[2] in {1, 3, 4} and array.dtype.name in _TYPES
    return (is_grey or is_color) and min(shape[:2]) > 1 and shape[0] * shape[1] <= MAX_PIXELS


def kept_codec(array: ZarrArray) -> str:
    """`jpeg` or `png` where each row is stored as one such image, else empty."""
    return _KEPT.get(array.codec, "") if array.is_one_row_a_chunk and array.dtype.name == "uint8" else ""


class StoredFrames:
    """Images that are read from the store as they are."""

    def __init__(self, array: ZarrArray, start: int, stop: int, first_order: int) -> None:
        """Look at the size of each.

        Raises:
            SourceError: A row is not stored, or damaged.
        """
        self._array, self._start = array, start
        self._sizes = np.array([len(self._stored(k)) for k in range(start, stop)], dtype=np.int64)
        self._order = first_order + np.cumsum(self._sizes) - self._sizes

    def _stored(self, row: int) -> bytes:
        data = self._array.stored(row)
        if data is None:
            raise SourceError(f"{self._array.name}: the image of row {row} is not stored")
        return data

    @property
    def sizes(self) -> Int64Array:
        """Bytes of each, [N]."""
        return self._sizes

    @property
    def order(self) -> Int64Array:
        """As they follow in the store, [N]."""
        return self._order

    def read(self, index: int) -> bytes:
        """The encoded bytes of one."""
        return self._stored(self._start + index)


def spool_pngs(array: ZarrArray, start: int, stop: int, spool: Spool) -> str:
    """Decode the images of some rows and encode them as PNG, one by one.

    Args:
        array: Of images.
        start: First row.
        stop: The row after the last.
        spool: Where they go.

    Returns:
        A note that says what was done.

    Raises:
        SourceError: An image is damaged, or has numbers that PNG can't keep.
        GateError: A chunk breaks a limit.
    """
    for row in range(start, stop):
        workers.beat()
        spool.add(encode_png(_pixels(array, row)))
    what = {"imagecodecs_jpegxl": "JPEG XL images"}.get(array.codec, f"{array.dtype.name} images")
    return f"{len(spool)} {what} of {array.name} are decoded and kept as PNG, without further loss"


def _pixels(array: ZarrArray, row: int) -> NDArray[np.uint8] | NDArray[np.uint16]:
    pixels: NDArray[np.generic] = array.rows(row, row + 1)[0]
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.dtype.kind == "f":
        whole = np.asarray(np.nan_to_num(pixels, nan=-1), dtype=np.float64)
        if whole.min() < 0 or whole.max() > 255 or (whole != np.round(whole)).any():
            raise SourceError(
                f"{array.name}: the image of row {row} is {pixels.dtype.name} and not of whole numbers from 0 to 255; "
                "PNG can't keep it"
            )
        return whole.astype(np.uint8)
    return pixels.astype(np.uint16) if pixels.dtype.itemsize == 2 else pixels.astype(np.uint8)
