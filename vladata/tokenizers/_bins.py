"""What the binning codecs share: strict shapes, finite values, exact bins of even width."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import TokenizeError
from . import CodeArray, Codes, FloatArray, TokenRows

__all__ = [
    "bin_index",
    "checked_chunks",
    "checked_codes",
    "code_rows",
    "interval",
    "known_codes",
    "numbers",
    "outside",
    "repaired_codes",
]

BLOCK = 1 << 15
"""Values at a time: three float64 buffers of this length stay in the cache."""


def checked_chunks(chunks: ArrayLike) -> FloatArray:
    """The chunks as float64 [N, H, D].

    Raises:
        TokenizeError: They are no array of numbers, have another shape, or hold a value that is not finite.
    """
    values = numbers(chunks)
    if values.ndim != 3:
        raise TokenizeError(f"chunks are {list(values.shape)}; must be [N, H, D]")
    finite = np.isfinite(values)
    if not finite.all():
        place = tuple(int(i) for i in np.argwhere(~finite)[0])
        raise TokenizeError(f"chunk[{', '.join(map(str, place))}] is {values[place]}; must be finite")
    return values


def numbers(chunks: ArrayLike) -> FloatArray:
    """The chunks as float64, of any shape.

    Raises:
        TokenizeError: They are no array of numbers.
    """
    try:
        return np.asarray(chunks, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TokenizeError("chunks are no array of numbers; must be [N, H, D]") from error


def checked_codes(codes: Codes | ArrayLike, num_codes: int, horizon: int, dims: int) -> CodeArray:
    """The codes as int64 [N, H, D].

    Raises:
        TokenizeError: They are not integers [N, H * D], or one is outside 0 <= code < num_codes.
    """
    rows = code_rows(codes)
    length = horizon * dims
    wrong = np.flatnonzero(rows.lengths != length)
    if len(wrong):
        row = int(wrong[0])
        raise TokenizeError(f"row {row} has {rows.lengths[row]} codes; must be {horizon} * {dims} = {length}")
    return known_codes(rows, num_codes).values.reshape(len(rows), horizon, dims)


def known_codes(codes: Codes | ArrayLike, num_codes: int) -> TokenRows:
    """The codes as rows.

    Raises:
        TokenizeError: They are not integers, or one is outside 0 <= code < num_codes, with its position.
    """
    rows = code_rows(codes)
    bad = np.flatnonzero((rows.values < 0) | (rows.values >= num_codes))
    if len(bad):
        place = rows.place(int(bad[0]), "codes")
        raise TokenizeError(f"{place} is {rows.values[bad[0]]}; must be 0 to {num_codes - 1}")
    return rows


def code_rows(codes: Codes | ArrayLike, name: str = "codes") -> TokenRows:
    """The codes as rows.

    Raises:
        TokenizeError: They are not integers.
    """
    if isinstance(codes, TokenRows):
        return codes
    if isinstance(codes, list | tuple):
        return TokenRows.of(codes)
    values = np.asarray(codes)
    if values.dtype.kind not in "iu" or values.ndim != 2:
        raise TokenizeError(f"{name} are {values.dtype} {list(values.shape)}; must be integers [N, L]")
    return TokenRows.of(values)


def repaired_codes(
    codes: Codes | ArrayLike, num_codes: int, horizon: int, dims: int
) -> tuple[CodeArray, NDArray[np.int64]]:
    """Codes of a model as int64 [N, H, D], and how many of each row were wrong.

    A code outside 0 <= code < num_codes becomes the nearest one; steps that are missing repeat the step before, as a
    robot that gets no new target holds; what is too much is left out.

    Raises:
        TokenizeError: They are not integers, or a row has not even the codes of one step.
    """
    rows = code_rows(codes)
    length = horizon * dims
    short = np.flatnonzero(rows.lengths < dims)
    if len(short):
        row = int(short[0])
        raise TokenizeError(f"row {row} has {rows.lengths[row]} codes; must be at least those of one step, {dims}")
    found = np.empty((len(rows), horizon, dims), dtype=np.int64)
    wrong = np.zeros(len(rows), dtype=np.int64)
    for row in range(len(rows)):
        own = rows[row]
        near = np.clip(own[:length], 0, num_codes - 1)
        wrong[row] = abs(len(own) - length) + np.count_nonzero(near != own[:length])
        if len(near) < length:
            missing = np.arange(len(near), length)
            # The same dimension of the last step that has it.
            near = np.concatenate([near, near[missing % dims + dims * ((len(near) - 1 - missing % dims) // dims)]])
        found[row] = near.reshape(horizon, dims)
    return found, wrong


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
