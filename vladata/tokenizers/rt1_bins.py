"""The bins of RT-1: each value floored onto 255 intervals in float32, decoded to the lower end of its interval.

Code 255 is given only to the upper bound, to what float32 can't tell from it and to what is clipped to it. All
arithmetic is float32, as in the original, so that codes are equal also beside the ends of the intervals.

Source: Brohan et al., RT-1, arXiv:2212.06817, section 5.1, and the behaviour of its published action tokenizer. Its
one-hot terminate dimension is no action value and has no place here.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ..errors import TokenizeError
from . import CodeArray, FloatArray
from ._bins import checked_chunks, interval, outside
from ._stepwise import StepwiseCodec

__all__ = ["Codec"]

Float32Array = NDArray[np.float32]
MAX_CODES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec(StepwiseCodec):
    """RT-1's bins between two bounds per dimension."""

    low: tuple[float, ...] = (-1.0,)
    """Lower bound of each dimension, [D], or one for all; used as float32."""
    high: tuple[float, ...] = (1.0,)
    """Upper bounds, likewise."""
    num_codes: int = 256
    """Number of codes, 2 to 65536; there is one interval less."""

    def __post_init__(self) -> None:
        if not self.low:
            raise TokenizeError("low is empty; must have a bound for each dimension, or one for all")
        if len(self.low) != len(self.high):
            raise TokenizeError(f"there are {len(self.low)} low and {len(self.high)} high; must be as many")
        if not 2 <= self.num_codes <= MAX_CODES:
            raise TokenizeError(f"num_codes is {self.num_codes}; must be 2 to {MAX_CODES}")
        for low, high in zip(self.low, self.high, strict=True):
            if max(abs(low), abs(high)) > 1e30:
                raise TokenizeError(f"range is {low} to {high}; must fit float32")
            interval(float(np.float32(low)), float(np.float32(high)))

    def _bounds(self, dims: int) -> tuple[Float32Array, Float32Array]:
        if len(self.low) not in {1, dims}:
            raise TokenizeError(f"the codec has bounds for {len(self.low)} dimensions; the chunks have {dims}")
        low, high = np.array(self.low, dtype=np.float32), np.array(self.high, dtype=np.float32)
        return np.broadcast_to(low, dims), np.broadcast_to(high, dims)

    @classmethod
    def fit(cls, chunks: FloatArray, **options: int | float | str) -> Self:
        """The codec; the chunks don't matter.

        Args:
            chunks: Normalized, [N, H, D].
            **options: `low` and `high`, one number for all dimensions; `num_codes`.

        Raises:
            TokenizeError: An option is unknown or out of range.
        """
        checked_chunks(chunks)
        state = {k: (v,) if k in {"low", "high"} else v for k, v in options.items()}
        return cls.from_dict(state)

    def _codes(self, values: FloatArray) -> CodeArray:
        low, high = self._bounds(values.shape[2])
        # Clipped before it is narrowed: the bounds are float32 already, and nothing can overflow.
        near = np.clip(values, low, high).astype(np.float32)
        near -= low
        near /= high - low
        near *= np.float32(self.num_codes - 1)
        return near.astype(np.int64)

    def _values(self, codes: CodeArray) -> FloatArray:
        low, high = self._bounds(codes.shape[2])
        values = codes.astype(np.float32)
        values /= np.float32(self.num_codes - 1)
        values *= high - low
        values += low
        return values.astype(np.float64)

    def is_clipped(self, chunks: FloatArray) -> NDArray[np.bool_]:
        """True where `encode` clips, in the shape of the chunks."""
        low, high = self._bounds(chunks.shape[-1])
        return outside(chunks, low, high)

    def error_bound(self, chunks: FloatArray) -> FloatArray:
        """A whole bin of each dimension and float32's rounding, in normalized units: codes decode downward."""
        low, high = self._bounds(chunks.shape[-1])
        span = (high - low).astype(np.float64)
        rounding = np.finfo(np.float32).eps * 4.0 * np.maximum(span, np.maximum(abs(low), abs(high)))
        return np.broadcast_to(span / (self.num_codes - 1) + rounding, chunks.shape)
