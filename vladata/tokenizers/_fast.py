"""What the codecs of cosine coefficients share: options, rows of coefficients, and what is wrong with them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..actions.chunks import MAX_HORIZON
from ..errors import TokenizeError
from ..text import printable
from . import FloatArray, TokenRows
from ._bpe import Bpe

__all__ = [
    "BLOCK",
    "DECODED",
    "Coefficients",
    "checked_scale",
    "checked_shape",
    "encoded",
    "fitted",
    "known_ids",
    "taken",
    "whole_number",
]

Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

MAX_SCALE = 1e6
BLOCK = 1 << 20
"""Coefficients at a time, so that memory is bounded and merging is for many chunks at once."""
DECODED = 1 << 17
"""Coefficients that are decoded at a time, which stay in the cache."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Coefficients:
    """Coefficients that tokens stand for, row by row."""

    values: Int64Array
    """[M]."""
    is_wrong: BoolArray
    """None, or outside of the range, [M]."""
    tokens: TokenRows
    """What they were decoded from."""
    ends: Int64Array
    """Coefficients of token m, among all, are values[ends[m]:ends[m + 1]]."""
    first_row: int = 0
    """Number of the first row, for messages."""

    @property
    def offsets(self) -> Int64Array:
        """Of the rows, [N + 1]."""
        return self.ends[self.tokens.offsets]

    def strict(self, horizon: int, dims: int, low: int, high: int) -> FloatArray:
        """All coefficients, [N, H, D].

        Raises:
            TokenizeError: A row has another number of coefficients, or one is wrong; with the token's position.
        """
        wrong = np.flatnonzero(self.is_wrong)
        if len(wrong):
            value = int(self.values[wrong[0]])
            token = int(np.searchsorted(self.ends, wrong[0], side="right")) - 1
            row = int(np.searchsorted(self.tokens.offsets, token, side="right")) - 1
            column = token - int(self.tokens.offsets[row])
            place = f"codes[{self.first_row + row}, {column}] is {self.tokens.values[token]}"
            if value == NO_COEFFICIENT:
                raise TokenizeError(f"{place}; with the codes beside it, it must be whole symbols of UTF-8")
            raise TokenizeError(f"{place} and stands for coefficient {value}; must be {low} to {high}")
        counts = np.diff(self.offsets)
        short = np.flatnonzero(counts != horizon * dims)
        if len(short):
            row = int(short[0])
            raise TokenizeError(
                f"row {self.first_row + row} has {self.tokens.lengths[row]} codes, "
                f"which stand for {counts[row]} coefficients; must be {horizon} * {dims} = {horizon * dims}"
            )
        return self.values.reshape(len(counts), horizon, dims).astype(np.float64)

    def relaxed(self, horizon: int, dims: int) -> tuple[FloatArray, Int64Array]:
        """As many coefficients as a chunk needs, [N, H, D], and how many of each row were wrong, too many or missing.

        Wrong and missing ones become 0: the frequency is left out.

        Raises:
            TokenizeError: A row has no coefficient that is right.
        """
        offsets = self.offsets
        counts = np.diff(offsets)
        rows = np.repeat(np.arange(len(counts)), counts)
        wrong = np.bincount(rows[self.is_wrong], minlength=len(counts))
        empty = np.flatnonzero(counts == wrong)
        if len(empty):
            raise TokenizeError(
                f"row {self.first_row + int(empty[0])} has no code that stands for a coefficient; must have one"
            )
        length = horizon * dims
        place = np.arange(len(self.values)) - offsets[rows]
        is_used = (place < length) & ~self.is_wrong
        found = np.zeros((len(counts), length))
        found[rows[is_used], place[is_used]] = self.values[is_used]
        return found.reshape(len(counts), horizon, dims), wrong + np.abs(counts - length)


NO_COEFFICIENT = int(np.iinfo(np.int64).max)
"""Stands where bytes are no symbol."""


def encoded(bpe: Bpe, points: Iterable[NDArray[np.generic]], count: int) -> TokenRows:
    """Tokens of all chunks, part by part.

    Args:
        bpe: Knows all the code points.
        points: Code points of one part of the chunks after the other, [N, L] each; none where L is 0.
        count: Chunks of all parts.
    """
    parts = [bpe.encode(p.astype(np.uint32)) for p in points]
    return TokenRows.joined(parts) if parts else TokenRows.of([[]] * count)


def known_ids(rows: TokenRows, num_codes: int) -> tuple[TokenRows, Int64Array]:
    """The rows without codes outside 0 <= code < num_codes, and how many of each were left out."""
    is_known = (rows.values >= 0) & (rows.values < num_codes)
    places = np.concatenate([[0], np.cumsum(is_known)])[rows.offsets]
    kept = TokenRows(values=rows.values[is_known], offsets=places)
    return kept, rows.lengths - kept.lengths


def checked_shape(horizon: int, dims: int) -> None:
    """Check the shape of a chunk.

    Raises:
        TokenizeError: It has no step or no dimension, or too many steps.
    """
    if not 1 <= horizon <= MAX_HORIZON or dims < 1:
        raise TokenizeError(f"chunks are [{horizon}, {dims}]; must be 1 to {MAX_HORIZON} steps of 1 dimension or more")


def taken(options: Mapping[str, object], known: tuple[str, ...], where: str) -> None:
    """Check the names of options.

    Raises:
        TokenizeError: There is an unknown one.
    """
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise TokenizeError(f"{where}: {printable(unknown[0])}: unexpected option; must be one of {', '.join(known)}")


def whole_number(value: object, name: str, low: int, high: int) -> int:
    """The option as an integer.

    Raises:
        TokenizeError: It is none, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise TokenizeError(f"{name} is {printable(str(value))}; must be a whole number, {low} to {high}")
    return value


def checked_scale(value: object) -> float:
    """The option `scale`: integers per unit of a coefficient.

    Raises:
        TokenizeError: It is not positive, or too large.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_SCALE:
        raise TokenizeError(f"scale is {printable(str(value))}; must be more than 0, at most {MAX_SCALE:g}")
    return float(value)


def fitted(chunks: FloatArray) -> FloatArray:
    """The chunks, if there is something to learn from.

    Raises:
        TokenizeError: There is not.
    """
    if not chunks.size:
        raise TokenizeError(f"chunks are {list(chunks.shape)}; must be at least one, of one step and one dimension")
    return chunks
