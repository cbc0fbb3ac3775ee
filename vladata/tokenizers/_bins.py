"""What the binning codecs share: strict shapes, finite values, exact bins of even width."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import TokenizeError
from . import CodeArray, FloatArray

__all__ = ["bin_index", "checked_chunks", "checked_codes", "interval"]

BLOCK = 1 << 15
"""Values at a time: three float64 buffers of this length stay in the cache."""


def checked_chunks(chunks: ArrayLike) -> FloatArray:
    """The chunks as float64 [N, H, D].

    Raises:
        TokenizeError: They have another shape, or hold a value that is not finite.
    """
    values = np.asarray(chunks, dtype=np.float64)
    if values.ndim != 3:
        raise TokenizeError(f"chunks are {list(values.shape)}; must be [N, H, D]")
    finite = np.isfinite(values)
    if not finite.all():
        place = tuple(int(i) for i in np.argwhere(~finite)[0])
        raise TokenizeError(f"chunk[{', '.join(map(str, place))}] is {values[place]}; must be finite")
    return values


def checked_codes(codes: ArrayLike, num_codes: int, horizon: int, dims: int) -> CodeArray:
    """The codes as int64 [N, H, D].

    Raises:
        TokenizeError: They are not integers [N, H * D], or one is outside 0 <= code < num_codes.
    """
    values = np.asarray(codes)
    if values.dtype.kind not in "iu":
        raise TokenizeError(f"codes are {values.dtype}; must be integers")
    if values.ndim != 2 or values.shape[1] != horizon * dims:
        raise TokenizeError(f"codes are {list(values.shape)}; must be [N, {horizon} * {dims}]")
    bad = (values < 0) | (values >= num_codes)
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        raise TokenizeError(f"codes[{row}, {column}] is {values[row, column]}; must be 0 to {num_codes - 1}")
    return values.astype(np.int64).reshape(len(values), horizon, dims)


def interval(low: float, high: float) -> None:
    """Check the ends of a codec's range.

    Raises:
        TokenizeError: They are not finite or not in order.
    """
    if not (np.isfinite(low) and np.isfinite(high) and low < high and np.isfinite(high - low)):
        raise TokenizeError(f"range is {low} to {high}; must be finite, the first less than the second")


def bin_index(values: FloatArray, edges: FloatArray) -> CodeArray:
    """The last edge that is not above each value, clipped to the edges.

    Equal to `np.digitize(np.clip(values, edges[0], edges[-1]), edges) - 1` for evenly spaced edges: the bin is
    computed, which can be off by one beside an edge, and then compared with its two edges.

    Args:
        values: Finite, any shape.
        edges: Increasing, evenly spaced, [K + 1].

    Returns:
        0 to K, in the shape of the values; K only where the value is at or above the last edge.
    """
    flat = np.ascontiguousarray(values).reshape(-1)
    found = np.empty(len(flat), dtype=np.int64)
    low, high, count = float(edges[0]), float(edges[-1]), len(edges) - 1
    per_unit = count / (high - low)
    lower, upper = edges[:-1], edges[1:]
    for start in range(0, len(flat), BLOCK):
        block = np.clip(flat[start : start + BLOCK], low, high)
        guess = found[start : start + BLOCK]
        guess[...] = (block - low) * per_unit
        np.minimum(guess, count - 1, out=guess)
        above = block >= upper.take(guess)
        below = block < lower.take(guess)
        guess += above
        guess -= below
    return found.reshape(values.shape)


def outside(
    values: FloatArray, low: NDArray[np.floating] | float, high: NDArray[np.floating] | float
) -> NDArray[np.bool_]:
    """True where a value lies below low or above high."""
    return (values < low) | (values > high)
