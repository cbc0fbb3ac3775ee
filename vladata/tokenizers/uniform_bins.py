"""N bins of equal width, decoded to their centres.

Bin k holds `edges[k] <= x < edges[k + 1]` of `np.linspace(low, high, N + 1)`; the last one holds its upper end as well.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import TokenizeError
from . import CodeArray, FloatArray
from ._bins import bin_index, interval, outside
from ._stepwise import StepwiseCodec

__all__ = ["Codec"]

MAX_BINS = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec(StepwiseCodec):
    """N bins from low to high."""

    num_codes: int = 256
    """N, 2 to 65536."""
    low: float = -1.0
    """Lower end of the first bin, in normalized units."""
    high: float = 1.0
    """Upper end of the last bin."""

    def __post_init__(self) -> None:
        interval(self.low, self.high)
        if not 2 <= self.num_codes <= MAX_BINS:
            raise TokenizeError(f"num_codes is {self.num_codes}; must be 2 to {MAX_BINS}")
        if (self.high - self.low) / self.num_codes < 2.0**-40 * max(abs(self.low), abs(self.high)):
            raise TokenizeError(f"range is {self.low} to {self.high}; too narrow for {self.num_codes} bins in float64")

    @property
    def _edges(self) -> FloatArray:
        return np.linspace(self.low, self.high, self.num_codes + 1)

    def _codes(self, values: FloatArray) -> CodeArray:
        return np.minimum(bin_index(values, self._edges), self.num_codes - 1)

    def _values(self, codes: CodeArray) -> FloatArray:
        edges = self._edges
        return ((edges[:-1] + edges[1:]) / 2.0)[codes]

    def is_clipped(self, chunks: FloatArray) -> NDArray[np.bool_]:
        """True where `encode` clips, in the shape of the chunks."""
        return outside(chunks, self.low, self.high)

    def error_bound(self, chunks: FloatArray) -> FloatArray:
        """Half the width of a bin, in normalized units, and float64's rounding."""
        rounding = 4.0 * np.finfo(np.float64).eps * max(abs(self.low), abs(self.high))
        return np.full(chunks.shape, (self.high - self.low) / self.num_codes / 2.0 + rounding)
