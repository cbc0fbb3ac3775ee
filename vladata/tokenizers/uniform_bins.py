"""N bins of equal width, decoded to their centres.

Bin k holds `edges[k] <= x < edges[k + 1]` of `np.linspace(low, high, N + 1)`; the last one holds its upper end as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..actions.plain import from_plain, to_plain
from ..errors import TokenizeError
from . import CodeArray, Codes, Decoded, FloatArray
from ._bins import NO_FILES, bin_index, checked_chunks, checked_codes, interval, no_files, outside, repaired_codes

__all__ = ["Codec"]

MAX_BINS = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """N bins from low to high."""

    learns: ClassVar[bool] = False

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
            **options: `num_codes`, `low`, `high`.

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
        return from_plain(cls, state, "uniform_bins")

    def to_dict(self) -> dict[str, object]:
        """Number of codes, low and high."""
        return to_plain(self)

    def files(self) -> dict[str, bytes]:
        """None."""
        return {}

    def encode(self, chunks: FloatArray) -> CodeArray:
        """Encode normalized chunks, clipping to low and high.

        Args:
            chunks: [N, H, D].

        Returns:
            Codes, [N, H * D], step by step, 0 <= code < N.

        Raises:
            TokenizeError: The chunks are not [N, H, D], or hold a value that is not finite.
        """
        values = checked_chunks(chunks)
        codes = np.minimum(bin_index(values, self._edges), self.num_codes - 1)
        return codes.reshape(len(values), values.shape[1] * values.shape[2])

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
        edges = self._edges
        return (edges[:-1] + edges[1:]) / 2.0

    def is_clipped(self, chunks: FloatArray) -> NDArray[np.bool_]:
        """True where `encode` clips, in the shape of the chunks."""
        return outside(chunks, self.low, self.high)

    def error_bound(self, chunks: FloatArray) -> FloatArray:
        """Half the width of a bin, in normalized units, and float64's rounding."""
        rounding = 4.0 * np.finfo(np.float64).eps * max(abs(self.low), abs(self.high))
        return np.full(chunks.shape, (self.high - self.low) / self.num_codes / 2.0 + rounding)
