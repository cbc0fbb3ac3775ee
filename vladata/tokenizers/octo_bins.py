"""The bins of Octo: `uniform` between two ends, or `normal`, of equal probability under the standard normal.

Bin k holds `thresholds[k] <= x < thresholds[k + 1]` and decodes to its centre. The thresholds of `uniform` are
`linspace(low, high, N + 1)`, and values are clipped to `low + 1e-6` to `high - 1e-6`, so that the upper end has the
last code. Those of `normal` are the normal quantiles of `linspace(1e-6, 1 - 1e-6, N + 1)` in float32, so for any N from
-4.75342 to 4.75076 (float32 has no nearer number to 1 - 1e-6); values are taken as z-scores.

Octo's `normal` does not clip: a value that falls into no bin, so 5 as well, becomes code 0, the lowest bin. Here it is
clipped to the nearest bin, and `is_clipped` says so.

Source: Ghosh et al., Octo, arXiv:2405.12213, and the behaviour of its published tokenizer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..actions.plain import from_plain, to_plain
from ..errors import TokenizeError
from . import CodeArray, Codes, Decoded, FloatArray
from ._bins import NO_FILES, bin_index, checked_chunks, checked_codes, interval, no_files, outside, repaired_codes

__all__ = ["Codec"]

MAX_BINS = 1 << 16
_MARGIN = 1e-6
"""Of the ends: in value for `uniform`, in probability for `normal`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """Octo's N bins."""

    learns: ClassVar[bool] = False

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

    def length(self, horizon: int, dims: int) -> int:
        """H * D."""
        return horizon * dims

    @property
    def is_stepwise(self) -> bool:
        """Yes."""
        return True

    @classmethod
    def fit(cls, chunks: FloatArray, **options: int | float | str) -> Self:
        """The codec; the chunks don't matter.

        Args:
            chunks: Normalized, [N, H, D].
            **options: `bin_type`, `uniform` or `normal`; `num_codes`; `low` and `high` of `uniform`.

        Raises:
            TokenizeError: An option is unknown or out of range.
        """
        checked_chunks(chunks)
        return cls.from_dict(options)

    @classmethod
    def from_dict(cls, state: Mapping[str, object], files: Mapping[str, bytes] = NO_FILES) -> Self:
        """Build from what `to_dict` gave; there are no files.

        Raises:
            TokenizeError: Something is unknown or out of range.
        """
        no_files(files)
        return from_plain(cls, state, "octo_bins")

    def to_dict(self) -> dict[str, object]:
        """Type of the bins, their number, low and high."""
        return to_plain(self)

    def files(self) -> dict[str, bytes]:
        """None."""
        return {}

    def encode(self, chunks: FloatArray) -> CodeArray:
        """Encode normalized chunks, clipping to the thresholds.

        Args:
            chunks: [N, H, D].

        Returns:
            Codes, [N, H * D], step by step, 0 <= code < N.

        Raises:
            TokenizeError: The chunks are not [N, H, D], or hold a value that is not finite.
        """
        values = checked_chunks(chunks)
        return self._codes(values).reshape(len(values), values.shape[1] * values.shape[2])

    def decode(self, codes: Codes | ArrayLike, horizon: int, dims: int) -> FloatArray:
        """Decode codes to the centres of their bins.

        Args:
            codes: [N, H * D].
            horizon: H.
            dims: D.

        Returns:
            [N, H, D].

        Raises:
            TokenizeError: The codes have another shape, or one is outside 0 <= code < N.
        """
        return self._centres[checked_codes(codes, self.num_codes, horizon, dims)]

    def decode_relaxed(self, codes: Codes | ArrayLike, horizon: int, dims: int) -> Decoded:
        """As `decode`; codes that are none become the nearest one, missing steps repeat the one before; counted."""
        found, wrong = repaired_codes(codes, self.num_codes, horizon, dims)
        return Decoded(chunks=self._centres[found], num_repaired=wrong, num_clipped=np.zeros_like(wrong))

    @property
    def _centres(self) -> FloatArray:
        thresholds = self._thresholds
        return (thresholds[:-1] + thresholds[1:]) / 2.0

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
