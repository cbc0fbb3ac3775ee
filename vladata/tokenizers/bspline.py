"""B-splines as in BEAST: each dimension of a chunk becomes the same number of control points, whatever the horizon.

A dimension is a clamped uniform B-spline of K basis functions over the phase u = 0 to 1 of the H steps. Its control
points are w = (B^T B + ridge I)^-1 B^T x with the basis B [H, K]; with fewer steps than basis functions the ridge
picks the smallest ones that fit. Dimensions that switch (grippers) have basis functions of degree 0, which are steps.
Each control point has bounds of its own, the 1 % and 99 % quantiles of the chunks that were fitted, and
code = round(255 (w - low) / (high - low)), clipped; codes lie time first: control point 0 of all dimensions, then 1.
Decoding gives B w, which stays between the smallest and the largest bound of its dimension whatever the codes are.

Source: Zhou et al., BEAST, arXiv:2506.06072.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..actions.plain import from_plain
from ..errors import TokenizeError
from ..text import printable
from . import CodeArray, Codes, Decoded, FloatArray
from ._bins import checked_chunks, checked_codes, outside, repaired_codes
from ._splines import analysis, basis
from ._stepwise import PlainCodec

__all__ = ["Codec"]

MAX_BASIS = 256
MAX_CODES = 1 << 16
_LARGEST = 1e150
"""Values are clipped to it before control points are found, so that no sum and no difference overflows."""
_SLACK = 1e-9
"""Of a control point's range: so much beyond its bounds is rounding, not clipping."""
_DIGITS = 9
"""Decimals of a scaled control point that count before it is rounded: so the last bits of a machine's sums do not
decide what lies in the middle between two codes, as zero between even bounds does."""

Bounds = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec(PlainCodec):
    """K control points per dimension, each in equal steps between its bounds."""

    learns: ClassVar[bool] = True

    horizon: int
    """H that the bounds were fitted on; chunks of other horizons have other control points."""
    low: Bounds
    """Lower bound of each control point, in normalized units, [D][K]."""
    high: Bounds
    """Upper bounds; equal where a control point was always the same."""
    degree: int = 3
    """Of the polynomials, less than K."""
    step_dims: tuple[int, ...] = ()
    """Dimensions of degree 0, rising."""
    ridge: float = 1e-9
    """Added to the diagonal of the least squares, as in the original."""
    num_codes: int = 256
    """2 to 65536."""

    def __post_init__(self) -> None:
        shapes = [sorted({len(row) for row in rows}) for rows in (self.low, self.high)]
        if len(self.low) != len(self.high) or shapes[0] != shapes[1] or len(shapes[0]) != 1:
            raise TokenizeError("low and high must both be [D][K], of one dimension and more")
        low, high = np.array(self.low), np.array(self.high)
        # Written so that it is true of nan as well.
        if not ((low <= high).all() and max(np.abs(low).max(), np.abs(high).max()) <= _LARGEST * _LARGEST):
            raise TokenizeError("low and high must be within 1e300, the first at most the second")
        if self.horizon < 1:
            raise TokenizeError(f"horizon is {self.horizon}; must be 1 or more")
        _checked_shape(shapes[0][0], self.degree)
        if list(self.step_dims) != sorted(set(self.step_dims) & set(range(len(self.low)))):
            raise TokenizeError(f"step_dims are {list(self.step_dims)}; must be rising, 0 to {len(self.low) - 1}")
        if not (np.isfinite(self.ridge) and self.ridge > 0.0):
            raise TokenizeError(f"ridge is {self.ridge}; must be more than 0")
        if not 2 <= self.num_codes <= MAX_CODES:
            raise TokenizeError(f"num_codes is {self.num_codes}; must be 2 to {MAX_CODES}")

    @property
    def num_basis(self) -> int:
        """K, 1 to 256."""
        return len(self.low[0])

    def length(self, horizon: int, dims: int) -> int:  # noqa: ARG002  (of the protocol)
        """K * D, whatever the horizon."""
        return self.num_basis * dims

    @property
    def is_stepwise(self) -> bool:
        """No: a control point reaches over several steps."""
        return False

    @classmethod
    def fit(cls, chunks: FloatArray, **options: int | float | str) -> Self:
        """The codec whose bounds hold the control points of the chunks.

        Args:
            chunks: Normalized, [N, H, D].
            **options: `num_basis` K, 10; `degree`, 3; `step_dims`, the dimensions of degree 0: their indices with
                commas between (-1 is the last), `none`, or `auto`, those that take at most two values in the chunks;
                `quantile`, 0.01, the share of each control point that its bounds leave out on either side, 0 for
                none; `ridge`, 1e-9; `num_codes`, 256.

        Raises:
            TokenizeError: An option is unknown or out of range, there are no values, or one is not finite.
        """
        values = checked_chunks(chunks)
        chosen = from_plain(_Options, _texts(options), "bspline")
        if not values.size:
            raise TokenizeError(f"chunks are {list(values.shape)}; must hold values to fit bounds to")
        horizon, dims = values.shape[1:]
        steps = _step_dims(chosen.step_dims, values)
        shape = _Shape(horizon, dims, chosen.num_basis, chosen.degree, steps, chosen.ridge)
        points = _control_points(values, shape)
        low, high = np.quantile(points, [chosen.quantile, 1.0 - chosen.quantile], axis=0)
        return cls(
            horizon=horizon,
            low=tuple(tuple(row) for row in low.T.tolist()),
            high=tuple(tuple(row) for row in np.maximum(low, high).T.tolist()),
            degree=chosen.degree,
            step_dims=steps,
            ridge=chosen.ridge,
            num_codes=chosen.num_codes,
        )

    def encode(self, chunks: FloatArray) -> CodeArray:
        """Encode normalized chunks, clipping their control points to the bounds.

        Args:
            chunks: [N, H, D].

        Returns:
            Codes, [N, K * D], time first: control point 0 of each dimension, then 1.

        Raises:
            TokenizeError: The chunks are not [N, H, D] of the codec's H and D, or hold a value that is not finite.
        """
        values = checked_chunks(chunks)
        points = self._points(values)
        low, high = self._bounds
        span = np.where(high > low, high - low, 1.0)
        scaled = (np.clip(points, low, high) - low) / span * (self.num_codes - 1)
        return np.rint(np.round(scaled, _DIGITS)).astype(np.int64).reshape(len(values), low.size)

    def decode(self, codes: Codes | ArrayLike, horizon: int, dims: int) -> FloatArray:
        """Decode codes to the values of the splines at the steps.

        Args:
            codes: [N, K * D].
            horizon: H.
            dims: D.

        Returns:
            [N, H, D].

        Raises:
            TokenizeError: The codes have another shape, the codec another horizon or other dimensions, or one is
                outside 0 <= code < num_codes.
        """
        self._checked(horizon, dims)
        return self._values(checked_codes(codes, self.num_codes, self.num_basis, dims))

    def decode_relaxed(self, codes: Codes | ArrayLike, horizon: int, dims: int) -> Decoded:
        """As `decode`; codes that are none become the nearest one, and counted.

        Control points that are missing repeat the last one of their dimension: a robot comes to rest there.

        Raises:
            TokenizeError: The codes are no integers, or a row has not even one control point of each dimension.
        """
        self._checked(horizon, dims)
        found, wrong = repaired_codes(codes, self.num_codes, self.num_basis, dims)
        return Decoded(chunks=self._values(found), num_repaired=wrong, num_clipped=np.zeros_like(wrong))

    def is_clipped(self, chunks: FloatArray) -> NDArray[np.bool_]:
        """True at the steps that a clipped control point reaches, in the shape of the chunks.

        A control point is clipped where it lies outside of its bounds by more than rounding.
        """
        points = self._points(checked_chunks(chunks))
        low, high = self._bounds
        slack = _SLACK * (high - low) + 1e-12 * (np.abs(low) + np.abs(high))
        reached = _synthesis(outside(points, low - slack, high + slack).astype(np.float64), self._shape)
        found: NDArray[np.bool_] = reached > 0.0
        return found

    def error_bound(self, chunks: FloatArray) -> FloatArray:
        """Largest error at each value that is not clipped, in normalized units, [N, H, D].

        |x - B w|, what the spline itself leaves out, and the sum over k of B[h, k] (high - low)[k] / (2 * 255), half a
        step of each control point as far as it reaches the step, as no basis function is negative; and rounding.
        """
        values = checked_chunks(chunks)
        points = self._points(values)
        low, high = self._bounds
        largest = np.maximum(np.abs(low), np.abs(high))
        half = (high - low) * (0.5 + 10.0**-_DIGITS) / (self.num_codes - 1)
        half += 2.0 * _SLACK * (high - low) + 1e-11 * largest
        left_out = np.abs(values - _synthesis(points, self._shape))
        rounding: FloatArray = 1e-12 * np.abs(points).max(axis=1, keepdims=True)
        return left_out + _synthesis(half[None], self._shape) + rounding

    @property
    def _shape(self) -> "_Shape":
        return _Shape(self.horizon, len(self.low), self.num_basis, self.degree, self.step_dims, self.ridge)

    @property
    def _bounds(self) -> tuple[FloatArray, FloatArray]:
        """Each [K, D]."""
        return np.array(self.low).T, np.array(self.high).T

    def _checked(self, horizon: int, dims: int) -> None:
        if (horizon, dims) != (self.horizon, len(self.low)):
            fitted = f"{self.horizon} steps and {len(self.low)} dimensions"
            raise TokenizeError(f"the codec is for {fitted}; the chunks have {horizon} and {dims}")

    def _points(self, values: FloatArray) -> FloatArray:
        self._checked(*values.shape[1:])
        return _control_points(values, self._shape)

    def _values(self, codes: CodeArray) -> FloatArray:
        low, high = self._bounds
        return _synthesis(codes / (self.num_codes - 1) * (high - low) + low, self._shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    num_basis: int = 10
    degree: int = 3
    step_dims: str = "auto"
    quantile: float = 0.01
    ridge: float = 1e-9
    num_codes: int = 256

    def __post_init__(self) -> None:
        _checked_shape(self.num_basis, self.degree)
        if not 0.0 <= self.quantile < 0.5:
            raise TokenizeError(f"quantile is {self.quantile}; must be 0 to less than 0.5")


@dataclass(frozen=True, slots=True)
class _Shape:
    """What the matrices follow from."""

    horizon: int
    dims: int
    num_basis: int
    degree: int
    step_dims: tuple[int, ...]
    ridge: float


def _checked_shape(num_basis: int, degree: int) -> None:
    if not 1 <= num_basis <= MAX_BASIS:
        raise TokenizeError(f"num_basis is {num_basis}; must be 1 to {MAX_BASIS}")
    if not 0 <= degree < num_basis:
        raise TokenizeError(f"degree is {degree}; must be 0 to {num_basis - 1}, less than num_basis")


def _texts(options: Mapping[str, int | float | str]) -> dict[str, int | float | str]:
    """The options, with a single step dimension that came as a number."""
    return {k: str(v) if k == "step_dims" and isinstance(v, int) else v for k, v in options.items()}


def _step_dims(text: str, values: FloatArray) -> tuple[int, ...]:
    dims = values.shape[2]
    if text == "none":
        return ()
    if text == "auto":
        low, high = values.min(axis=(0, 1)), values.max(axis=(0, 1))
        is_switch = ((values == low) | (values == high)).all(axis=(0, 1))
        return tuple(int(d) for d in np.flatnonzero(is_switch))
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"-?\d{1,4}", part) for part in parts):
        raise TokenizeError(f"step_dims is {printable(text)!r}; must be auto, none or indices with commas between")
    found = [int(part) + dims * (part[0] == "-") for part in parts]
    if not set(found) <= set(range(dims)):
        raise TokenizeError(f"step_dims is {printable(text)!r}; must be -{dims} to {dims - 1}")
    return tuple(sorted(set(found)))


def _control_points(values: FloatArray, shape: _Shape) -> FloatArray:
    """Control points w of each chunk, [N, K, D]."""
    values = np.clip(values, -_LARGEST, _LARGEST)
    smooth = analysis(shape.horizon, shape.num_basis, shape.degree, shape.ridge)
    steps = analysis(shape.horizon, shape.num_basis, 0, shape.ridge)
    return _applied(smooth, steps, values, shape.step_dims)


def _synthesis(points: FloatArray, shape: _Shape) -> FloatArray:
    """Splines B w of each chunk, [N, H, D]."""
    smooth = basis(shape.horizon, shape.num_basis, shape.degree)
    return _applied(smooth, basis(shape.horizon, shape.num_basis, 0), points, shape.step_dims)


def _applied(smooth: FloatArray, steps: FloatArray, values: FloatArray, step_dims: tuple[int, ...]) -> FloatArray:
    # Chunk by chunk inside of matmul: a row's sums are the same whatever stands beside it.
    values = np.ascontiguousarray(values)
    found: FloatArray = smooth @ values
    if step_dims:
        dims = list(step_dims)
        found[:, :, dims] = steps @ np.ascontiguousarray(values[:, :, dims])
    return found
