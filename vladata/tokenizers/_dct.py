"""The orthonormal discrete cosine transform over the steps of chunks, and its rounding to whole coefficients.

Coefficients are a matrix product. Where one lies so near to a half that the order of a sum decides how it is rounded,
`Ties` says what is done: chunks of flags and of round numbers have many of them.
"""

from collections.abc import Iterator
from enum import Enum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ties", "basis", "blocks", "error_bound", "quantized", "restored"]

FloatArray = NDArray[np.float64]
Int64Array = NDArray[np.int64]

LARGEST = 1e150
"""Values are clipped to it before the transform, so that no sum overflows."""
_NEAR = 1e-9
"""Distance from a half at which the order of a sum could decide."""
_BLOCK = 1 << 15
"""Values at a time, which stay in the cache."""


class Ties(Enum):
    """How coefficients halfway between two integers are rounded."""

    AS_FFT = "as_fft"
    """As the fast transform of SciPy happens to: as the published FAST processor does."""
    TO_EVEN = "to_even"
    """As if there were no rounding errors: to the even one, the same on every machine."""


@lru_cache(maxsize=8)
def basis(horizon: int) -> FloatArray:
    """The matrix C of DCT-II, orthonormal: coefficients are C @ chunk, and the chunk is C.T @ coefficients, [H, H]."""
    steps, number = np.arange(horizon), np.arange(horizon)[:, None]
    matrix: FloatArray = np.cos(np.pi * (2 * steps + 1) * number / (2 * horizon)) * np.sqrt(2.0 / horizon)
    matrix[0] = np.sqrt(1.0 / horizon)
    matrix.setflags(write=False)
    return matrix


def error_bound(horizon: int, scale: float, largest: float) -> float:
    """Largest error of any value after its chunk's coefficients were rounded, and float64's own errors.

    Args:
        horizon: H.
        scale: Integers per unit.
        largest: Absolute value.
    """
    rounding = 16.0 * float(np.finfo(np.float64).eps) * horizon * (largest + 1.0 / scale)
    return _spread(horizon) * (0.5 + _NEAR) / scale + rounding


@lru_cache(maxsize=32)
def _spread(horizon: int) -> float:
    """Most that errors of 1 in all coefficients add up to at one step."""
    return float(np.abs(basis(horizon)).sum(axis=0).max())


def quantized(chunks: FloatArray, scale: float, ties: Ties) -> FloatArray:
    """Round the coefficients of chunks, scaled.

    Args:
        chunks: Finite, [N, H, D].
        scale: Integers per unit.
        ties: How halves are rounded.

    Returns:
        Whole numbers, by frequency and dimension, [N, H, D].
    """
    found = np.zeros(chunks.shape)
    for rows in blocks(len(chunks), chunks[:1].size, _BLOCK):
        found[rows] = _quantized(chunks[rows], scale, ties)
    return found


def blocks(count: int, size: int, values: int) -> Iterator[slice]:
    """Slices of rows of a size that hold about as many values each; none where rows have none."""
    step = max(1, values // max(1, size))
    return (slice(k, min(k + step, count)) for k in range(0, count if size else 0, step))


def _quantized(chunks: FloatArray, scale: float, ties: Ties) -> FloatArray:
    largest = max(float(chunks.max()), -float(chunks.min()))
    if largest > LARGEST:
        chunks = np.clip(chunks, -LARGEST, LARGEST)
    exact = np.matmul(basis(chunks.shape[1]), chunks)
    exact *= scale
    rounded: FloatArray = np.rint(exact)
    exact -= rounded
    off = np.abs(exact)
    if ties is Ties.TO_EVEN:
        near = off > 0.5 - _NEAR
        if near.any():
            rounded[near] = 2.0 * np.rint((rounded[near] + exact[near]) / 2.0)
        return rounded
    # One too many is none too many here, so that the chunks at hand may say how large the errors of sums are.
    near = off > 0.5 - _NEAR * max(1.0, largest * scale)
    if near.any():
        rows, columns = np.nonzero(near.any(axis=1))
        rounded[rows, :, columns] = np.rint(_fast_transform(chunks[rows, :, columns]) * scale)
    return rounded


def restored(coefficients: FloatArray, scale: float) -> FloatArray:
    """The values that whole coefficients stand for, [N, H, D]."""
    values = np.empty(coefficients.shape)
    turned = basis(coefficients.shape[1]).T
    for rows in blocks(len(coefficients), coefficients[:1].size, _BLOCK):
        np.matmul(turned, coefficients[rows] / scale, out=values[rows])
    return values


def _fast_transform(rows: FloatArray) -> FloatArray:
    """The transform of rows, [M, H], with the sums in the order of SciPy's FFT, so with the same rounding errors.

    NumPy carries the same FFT. A DCT-II is its complex to real transform of the sums and differences of neighbours,
    of which each pair from both ends is then turned by a part of half a step.
    """
    count = rows.shape[1]
    spectrum = np.zeros((len(rows), count // 2 + 1), dtype=np.complex128)
    spectrum.real[:, 0] = 2.0 * rows[:, 0]
    inner = (count - 1) // 2
    odd, even = rows[:, 1 : 2 * inner : 2], rows[:, 2 : 2 * inner + 1 : 2]
    spectrum.real[:, 1 : inner + 1] = odd + even
    spectrum.imag[:, 1 : inner + 1] = even - odd
    if count % 2 == 0:
        spectrum.real[:, -1] = 2.0 * rows[:, -1]
    found = np.fft.irfft(spectrum, n=count, axis=1, norm="forward") * float(1 / np.sqrt(np.longdouble(2 * count)))
    turns = _turns(count)
    low, high = found[:, 1 : inner + 1].copy(), found[:, : count - inner - 1 : -1].copy()
    forward, backward = turns[:inner], turns[count - 2 : count - 2 - inner : -1] if inner else turns[:0]
    one, other = forward * high + backward * low, forward * low - backward * high
    found[:, 1 : inner + 1] = 0.5 * (one + other)
    found[:, : count - inner - 1 : -1] = 0.5 * (one - other)
    if count % 2 == 0:
        found[:, inner + 1] *= turns[inner]
    found[:, 0] *= np.sqrt(2.0) * 0.5
    return found


@lru_cache(maxsize=32)
def _turns(count: int) -> FloatArray:
    """Cosines of 1 to H parts of a right angle that is cut in H, as products of a coarse and a fine turn, [H]."""
    shift = 1
    while 4**shift < 2 * count + 1:
        shift += 1
    number = np.arange(1, count + 1)
    coarse, fine = (_turn(n, count) for n in ((number >> shift) << shift, number & ((1 << shift) - 1)))
    return fine.real * coarse.real - fine.imag * coarse.imag


def _turn(number: Int64Array, count: int) -> NDArray[np.complex128]:
    """Turns by parts of a right angle, each from the nearer end of it, which keeps small angles exact."""
    is_near = 2 * number < count
    eighth = float(np.longdouble("3.14159265358979323846264338327950288") / (16 * count))
    angle = np.where(is_near, number, count - number) * 8 * eighth
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.where(is_near, cosine, sine) + 1j * np.where(is_near, sine, cosine)
    turn[number == 0] = 1.0
    return turn
