"""Bins that are narrow around the middle of the range and wide at its ends: mu-law companding, then even bins.

With y = -1 to 1 from low to high, F(y) = sign(y) ln(1 + mu |y|) / ln(1 + mu) is cut into N bins of equal width; a code
decodes to the value whose F is the centre of its bin. Bin k holds `edges[k] <= x < edges[k + 1]`; the last one holds
its upper end as well.

Source: ITU-T G.711 (the continuous law, mu = 255); of robot actions, Reed et al., Gato, arXiv:2205.06175, section 2.1.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..errors import TokenizeError
from . import CodeArray, FloatArray
from ._bins import checked_chunks, interval, outside
from ._stepwise import StepwiseCodec

__all__ = ["Codec"]

MAX_BINS = 1 << 16
MAX_MU = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec(StepwiseCodec):
    """N companded bins from low to high."""

    num_codes: int = 256
    """N, 2 to 65536."""
    mu: float = 255.0
    """More than 0, at most 1e9: how much narrower the middle is."""
    low: float = -1.0
    """Lower end of the first bin, in normalized units."""
    high: float = 1.0
    """Upper end of the last bin."""

    def __post_init__(self) -> None:
        interval(self.low, self.high)
        if not 2 <= self.num_codes <= MAX_BINS:
            raise TokenizeError(f"num_codes is {self.num_codes}; must be 2 to {MAX_BINS}")
        if not 0.0 < self.mu <= MAX_MU:
            raise TokenizeError(f"mu is {self.mu}; must be more than 0, at most {MAX_MU:g}")
        edges, centres = self._tables
        if not ((edges[:-1] < centres) & (centres < edges[1:])).all():
            raise TokenizeError(
                f"range is {self.low} to {self.high}; too narrow for {self.num_codes} bins of mu {self.mu:g} in float64"
            )

    @property
    def _tables(self) -> tuple[FloatArray, FloatArray]:
        return _edges_and_centres(self.num_codes, self.mu, self.low, self.high)

    def is_clipped(self, chunks: FloatArray) -> NDArray[np.bool_]:
        """True where `encode` clips, in the shape of the chunks."""
        return outside(chunks, self.low, self.high)

    def error_bound(self, chunks: FloatArray) -> FloatArray:
        """From the decoded value to the farther end of its bin, in normalized units, and float64's rounding."""
        edges, centres = self._tables
        rounding = 4.0 * np.finfo(np.float64).eps * max(abs(self.low), abs(self.high))
        largest = np.maximum(centres - edges[:-1], edges[1:] - centres) + rounding
        return largest[self._codes(checked_chunks(chunks))]

    def _values(self, codes: CodeArray) -> FloatArray:
        return self._tables[1][codes]

    def _codes(self, values: FloatArray) -> CodeArray:
        # Compared with the edges rather than companded: a logarithm differs in its last bit between machines.
        inner = self._tables[0][1:-1]
        return np.searchsorted(inner, values, side="right").astype(np.int64, copy=False)


@lru_cache(maxsize=8)
def _edges_and_centres(num_codes: int, mu: float, low: float, high: float) -> tuple[FloatArray, FloatArray]:
    """Both in normalized units: [N + 1] and [N]."""
    halves = np.linspace(-1.0, 1.0, 2 * num_codes + 1)
    expanded = np.sign(halves) * np.expm1(np.abs(halves) * np.log1p(mu)) / mu
    values = low / 2.0 + high / 2.0 + expanded * (high / 2.0 - low / 2.0)
    values[0], values[-1] = low, high
    values.flags.writeable = False
    return values[::2], values[1::2]
