"""Rows of tokens, codes or ids, of different lengths."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import TokenizeError

__all__ = ["TokenRows"]

Int64Array = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenRows:
    """Rows of codes or ids of different lengths, end to end."""

    values: Int64Array
    """[M]."""
    offsets: Int64Array
    """Row n is values[offsets[n]:offsets[n + 1]], [N + 1]."""

    @classmethod
    def of(cls, rows: Sequence[ArrayLike] | NDArray[np.integer]) -> Self:
        """From rows one by one, or from an array [N, L].

        Raises:
            TokenizeError: A row does not hold integers.
        """
        if isinstance(rows, np.ndarray) and rows.ndim == 2 and rows.dtype.kind in "iu":
            values = np.ascontiguousarray(rows, dtype=np.int64).ravel()
            return cls(values=values, offsets=np.arange(len(rows) + 1, dtype=np.int64) * rows.shape[1])
        try:
            arrays = [np.asarray(row) for row in rows]
        except ValueError as error:  # a row is a list of lists of different lengths
            raise TokenizeError("rows of tokens must hold integers") from error
        if any(a.ndim != 1 or (len(a) and a.dtype.kind not in "iu") for a in arrays):
            raise TokenizeError("rows of tokens must hold integers")
        lengths = [len(a) for a in arrays]
        values = np.concatenate([np.empty(0, np.int64), *(a.astype(np.int64) for a in arrays)])
        return cls(values=values, offsets=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]))

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Several ones, one behind the other."""
        values = np.concatenate([np.empty(0, np.int64), *(p.values for p in parts)])
        lengths = np.concatenate([np.empty(0, np.int64), *(p.lengths for p in parts)])
        return cls(values=values, offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))

    def __len__(self) -> int:
        """N."""
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> Int64Array:
        """The tokens of one row."""
        if not 0 <= row < len(self):
            raise IndexError(f"row {row}; there are {len(self)}")
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> Int64Array:
        """Tokens of each row, [N]."""
        return np.diff(self.offsets)

    def between(self, start: int, stop: int) -> Self:
        """The rows start <= n < stop."""
        offsets = self.offsets[start : stop + 1]
        return type(self)(values=self.values[offsets[0] : offsets[-1]], offsets=offsets - offsets[0])

    def place(self, position: int, name: str = "ids") -> str:
        """Where a value stands, for messages: `ids[row, column]`."""
        row = int(np.searchsorted(self.offsets, position, side="right")) - 1
        return f"{name}[{row}, {position - int(self.offsets[row])}]"
