"""The bins of Octo: `uniform` between two ends, or `normal`, of equal probability under the standard normal.

Bin k holds `thresholds[k] <= x < thresholds[k + 1]` and decodes to its centre. The thresholds of `uniform` are
`linspace(low, high, N + 1)`, and values are clipped to `low + 1e-6` to `high - 1e-6`, so that the upper end has the
last code. Those of `normal` are the normal quantiles of `linspace(1e-6, 1 - 1e-6, N + 1)` in float32, so for any N from
-4.75342 to 4.75076 (float32 has no nearer number to 1 - 1e-6); values are taken as z-scores.

Octo's `normal` does not clip: a value that falls into no bin, so 5 as well, becomes code 0, the lowest bin. Here it is
clipped to the nearest bin, and `is_clipped` says so.

Source: Ghosh et al., Octo, arXiv:2405.12213, and the behaviour of its published tokenizer.
"""

from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import TokenizeError
from . import CodeArray, FloatArray
from ._bins import bin_index, checked_chunks, interval, outside
from ._stepwise import StepwiseCodec

__all__ = ["Codec"]

MAX_BINS = 1 << 16
_MARGIN = 1e-6
"""Of the ends: in value for `uniform`, in probability for `normal`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec(StepwiseCodec):
    """Octo's N bins."""

    bin_type: Literal["uniform", "normal"] = "uniform"
    num_codes: int = 256
    """N, 2 to 65536."""
    low: float = -1.0
    """Lower end of the first bin of `uniform`, in normalized units; not used by `normal`."""
    high: float = 1.0
    """Upper end of the last bin of `uniform`."""

    def __post_init__(self) -> None:
        interval(self.low, self.high)
        if not 2 <= self.num_codes <= MAX_BINS:
            raise TokenizeError(f"num_codes is {self.num_codes}; must be 2 to {MAX_BINS}")
        if self.bin_type == "normal" and (self.low, self.high) != (-1.0, 1.0):
            raise TokenizeError(f"range is {self.low} to {self.high}; must be left out for bin_type normal")
        width = (self.high - self.low) / self.num_codes
        # Otherwise the margin would move values into other bins, or float64 could not tell the bins apart.
        if self.bin_type == "uniform" and not width > max(_MARGIN, 2.0**-40 * max(abs(self.low), abs(self.high))):
            raise TokenizeError(f"range is {self.low} to {self.high}; too narrow for {self.num_codes} bins")

    @property
    def _thresholds(self) -> FloatArray:
        if self.bin_type == "normal":
            return _normal_thresholds(self.num_codes)
        return np.linspace(self.low, self.high, self.num_codes + 1)

    def is_clipped(self, chunks: FloatArray) -> NDArray[np.bool_]:
        """True where a value lies outside of the thresholds, in the shape of the chunks.

        The margin of 1e-6 inside of them changes no code and is not counted.
        """
        thresholds = self._thresholds
        return outside(chunks, float(thresholds[0]), float(thresholds[-1]))

    def error_bound(self, chunks: FloatArray) -> FloatArray:
        """Half the width of the bin that each value falls into, in normalized units, and float64's rounding."""
        thresholds = self._thresholds
        rounding = 4.0 * np.finfo(np.float64).eps * float(np.abs(thresholds).max())
        half = np.diff(thresholds) / 2.0 + rounding
        return half[self._codes(checked_chunks(chunks))]

    def _values(self, codes: CodeArray) -> FloatArray:
        thresholds = self._thresholds
        return ((thresholds[:-1] + thresholds[1:]) / 2.0)[codes]

    def _codes(self, values: FloatArray) -> CodeArray:
        thresholds = self._thresholds
        if self.bin_type == "uniform":
            return np.minimum(bin_index(values, thresholds), self.num_codes - 1)
        return np.searchsorted(thresholds[1:-1], values, side="right").astype(np.int64, copy=False)


@lru_cache(maxsize=8)
def _normal_thresholds(num_codes: int) -> FloatArray:
    standard = NormalDist()
    # As the original, which has its shares in float32: their ends first, for the upper one is another number there.
    ends = np.array([_MARGIN, 1.0 - _MARGIN], dtype=np.float32).astype(np.float64)
    shares = np.linspace(ends[0], ends[1], num_codes + 1).astype(np.float32)
    thresholds = np.array([standard.inv_cdf(share) for share in shares.tolist()])
    thresholds.flags.writeable = False
    return thresholds
