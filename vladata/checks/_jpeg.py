"""JPEG images that end as they must, but whose data stop before."""

import numpy as np
from numpy.typing import NDArray

from .. import images
from ..errors import ImageError

__all__ = ["missing_part"]

LEAST_PART = 1 / 16
"""Of the rows: fewer of one colour at the lower edge are not looked at more closely."""
MORE = b"\xa5\x5a" * 2048
"""What is put where more data would be: a decoder that has them all never reads it."""


def missing_part(data: bytes | memoryview, picture: NDArray[np.uint8]) -> float:
    """Share of the rows that a JPEG's data don't reach, 0 where they reach all.

    A decoder that runs out of data fills the rest with one colour and says nothing. So a picture that has one there is
    decoded once more with other data after its own: only where it lacks some does that change it.

    Args:
        data: The encoded image.
        picture: The same decoded, maybe reduced, [h, w, 3].
    """
    rows = len(picture)
    differs = (picture != picture[-1:, -1:]).any(axis=(1, 2))
    # A picture of one colour all over is another check's business.
    if not differs.any() or rows - 1 - int(np.flatnonzero(differs)[-1]) < LEAST_PART * rows:
        return 0.0
    encoded = bytes(data)
    end = encoded.rfind(b"\xff\xd9")
    if end < 0:
        return 0.0
    try:
        longer = images.decode_reduced(encoded[:end] + MORE + encoded[end:], max(picture.shape[:2]), is_color=True)
    except ImageError:
        return 0.0
    if longer.shape != picture.shape or np.array_equal(longer, picture):
        return 0.0
    changed = np.flatnonzero((longer != picture).any(axis=(1, 2)))
    return float(rows - changed[0]) / rows
