"""Bins of equal mass: each dimension is cut at the quantiles of the chunks it was fitted on, decoded to the centres.

Bin k of a dimension holds `edges[k] <= x < edges[k + 1]`; the first edge is the smallest value that was seen, the last
one the largest, and what lies beyond is clipped. A value that is so frequent that several quantiles fall on it (a
gripper that is open or closed, a joint that rests) has a bin for itself alone, of no width, and comes back exactly.

A code decodes to the centre of its bin, not to the mean of what fell into it: so the error is at most half of the bin,
whatever the data are that are encoded later.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import TokenizeError
from . import CodeArray, FloatArray
from ._bins import checked_chunks, outside
from ._stepwise import StepwiseCodec

__all__ = ["Codec"]

MAX_BINS = 1 << 12
"""The edges stand in the description, as numbers in JSON."""
MAX_VALUE = 1e300
"""So that the width of a bin is a number."""

Edges = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec(StepwiseCodec):
    """As many bins of equal mass in each dimension."""

    learns: ClassVar[bool] = True

    edges: Edges
    """Of each dimension, in normalized units, not falling, [D][N + 1]."""

    def __post_init__(self) -> None:
        sizes = {len(e) for e in self.edges}
        if len(sizes) != 1:
            raise TokenizeError(f"dimensions have {sorted(sizes)} edges; must be as many in each, of one dimension")
        _checked_count(self.num_codes)
        for dim, edges in enumerate(self.edges):
            values = np.array(edges)
            if not (np.abs(values) <= MAX_VALUE).all() or (np.diff(values) < 0).any():
                raise TokenizeError(f"edges of dimension {dim} must be finite, within {MAX_VALUE:g}, and not fall")

    @property
    def num_codes(self) -> int:
        """N, 2 to 4096."""
        return len(self.edges[0]) - 1

    @classmethod
    def fit(cls, chunks: FloatArray, **options: int | float | str) -> Self:
        """The codec whose bins hold equal parts of the values of each dimension.

        Args:
            chunks: Normalized, [N, H, D]. A target that stands in several chunks counts in each.
            **options: `num_codes`, 256 where it is not given.

        Raises:
            TokenizeError: An option is unknown or out of range, there are no values, or one is not finite.
        """
        values = checked_chunks(chunks)
        num_codes = options.get("num_codes", 256)
        unknown = sorted(set(options) - {"num_codes"})
        if unknown:
            raise TokenizeError(f"quantile_bins: {unknown[0]}: unexpected option; must be num_codes")
        if not isinstance(num_codes, int):
            raise TokenizeError(f"quantile_bins: num_codes is {num_codes!r}; must be a whole number")
        _checked_count(num_codes)
        if not values.size:
            raise TokenizeError(f"chunks are {list(values.shape)}; must hold values to take quantiles of")
        if np.abs(values).max() > MAX_VALUE:
            raise TokenizeError(f"the largest value is {np.abs(values).max()}; must be within {MAX_VALUE:g}")
        columns = values.reshape(-1, values.shape[2]).T
        found = np.quantile(columns, np.arange(num_codes + 1) / num_codes, axis=1)
        # Interpolation may round one edge below the edge before.
        found = np.maximum.accumulate(np.clip(found, columns.min(axis=1), columns.max(axis=1)), axis=0)
        return cls(edges=tuple(tuple(row) for row in found.T.tolist()))

    def is_clipped(self, chunks: FloatArray) -> NDArray[np.bool_]:
        """True where `encode` clips, in the shape of the chunks."""
        edges = self._edges(chunks.shape[-1])
        return outside(chunks, edges[:, 0], edges[:, -1])

    def error_bound(self, chunks: FloatArray) -> FloatArray:
        """Half the width of the bin that each value falls into, in normalized units, and float64's rounding."""
        edges = self._edges(chunks.shape[-1])
        codes = self._codes(checked_chunks(chunks))
        dims = np.arange(len(edges))
        low, high = edges[dims, codes], edges[dims, codes + 1]
        rounding = 4.0 * np.finfo(np.float64).eps * np.maximum(np.abs(low), np.abs(high)) + np.finfo(np.float64).tiny
        return (high - low) / 2.0 + rounding

    def _edges(self, dims: int) -> FloatArray:
        if len(self.edges) != dims:
            raise TokenizeError(f"the codec has edges for {len(self.edges)} dimensions; the chunks have {dims}")
        return _tables(self.edges)[0]

    def _codes(self, values: FloatArray) -> CodeArray:
        edges = self._edges(values.shape[2])
        starts = _tables(self.edges)[1]
        codes = np.empty(values.shape, dtype=np.int64)
        for dim in range(values.shape[2]):
            near = np.clip(values[:, :, dim], edges[dim, 0], edges[dim, -1])
            codes[:, :, dim] = np.searchsorted(starts[dim], near, side="right") - 1
        # The largest value has no bin above it.
        return np.minimum(codes, self.num_codes - 1)

    def _values(self, codes: CodeArray) -> FloatArray:
        edges = self._edges(codes.shape[2])
        dims = np.arange(len(edges))
        low, high = edges[dims, codes], edges[dims, codes + 1]
        return low + (high - low) / 2.0


def _checked_count(num_codes: int) -> None:
    if not 2 <= num_codes <= MAX_BINS:
        raise TokenizeError(f"num_codes is {num_codes}; must be 2 to {MAX_BINS}")


@lru_cache(maxsize=8)
def _tables(edges: Edges) -> tuple[FloatArray, FloatArray]:
    """The edges, and the smallest value of each bin: what begins at a repeated edge begins just above it."""
    values = np.array(edges)
    starts = values.copy()
    repeated = values[:, 1:] == values[:, :-1]
    starts[:, 1:][repeated] = np.nextafter(values[:, 1:][repeated], np.inf)
    for table in (values, starts):
        table.flags.writeable = False
    return values, starts
