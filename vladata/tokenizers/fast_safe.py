"""FAST with a vocabulary that can't lose a coefficient, and a declared range that no decoded value leaves.

Cosine coefficients as in `fast`: rounded, low frequencies first. Each is one symbol of an alphabet that has all of the
range, and symbols are merged as they are: no bytes, no words. Values are clipped to the range of their dimension before
the transform, and decoded values to it after the inverse, for rounding may carry them out of it by `error_bound`; codes
that stand for values farther outside are refused, or counted.

Source: Pertsch et al., FAST, arXiv:2501.09747, section V; docs/tokenizers.md says what differs and why.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..actions.plain import from_plain, to_plain
from ..errors import TokenizeError
from . import Codes, Decoded, FloatArray, TokenRows
from ._bins import checked_chunks, code_rows, known_codes, outside
from ._bpe import concatenated
from ._dct import Ties, basis, blocks, error_bound, quantized, restored
from ._fast import (
    BLOCK,
    DECODED,
    Coefficients,
    checked_scale,
    checked_shape,
    encoded,
    fitted,
    known_ids,
    taken,
    whole_number,
)
from ._letters import FIRST_LETTER, MAX_LETTERS, Letters, letters, train

__all__ = ["Codec"]

Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_FILE = "tokenizer.json"
_MAX_VOCAB = 1 << 20
_LARGEST = 1e100


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    scale: float
    min_coefficient: int
    max_coefficient: int
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """Rounded cosine coefficients of a fitted range, merged."""

    learns: ClassVar[bool] = True

    scale: float
    """Integers per unit of a coefficient."""
    min_coefficient: int
    """Lowest one, at most 0."""
    max_coefficient: int
    """Highest one, at least 0."""
    low: tuple[float, ...]
    """Lowest value of each dimension, in normalized units, [D]."""
    high: tuple[float, ...]
    """Highest ones."""
    tokenizer_json: bytes
    """The merges; ids 0, 1, ... of its vocabulary are the coefficients in their order."""

    def __post_init__(self) -> None:
        checked_scale(self.scale)
        low = whole_number(self.min_coefficient, "min_coefficient", -MAX_LETTERS, 0)
        high = whole_number(self.max_coefficient, "max_coefficient", 0, MAX_LETTERS)
        if not self.low or len(self.low) != len(self.high):
            raise TokenizeError(f"there are {len(self.low)} low and {len(self.high)} high; must be as many, at least 1")
        for dim, (least, most) in enumerate(zip(self.low, self.high, strict=True)):
            # Written so that it is true of nan as well.
            if not -_LARGEST <= least <= most <= _LARGEST:
                raise TokenizeError(f"range of dimension {dim} is {least} to {most}; must be finite and in order")
        expected = tuple(chr(FIRST_LETTER + k) for k in range(high - low + 1))
        if self._bpe.vocabulary.tokens[: len(expected)] != expected or self._bpe.num_symbols != len(expected):
            raise TokenizeError(f"{_FILE} must begin with the symbols of coefficients {low} to {high}")

    @property
    def _bpe(self) -> Letters:
        return letters(self.tokenizer_json)

    @property
    def num_codes(self) -> int:
        """Real size of the vocabulary: less than was asked for where there was nothing more to merge."""
        return self._bpe.num_ids

    def length(self, horizon: int, dims: int) -> None:
        """It depends on the values."""

    @property
    def is_stepwise(self) -> bool:
        """No."""
        return False

    @classmethod
    def fit(cls, chunks: FloatArray, **options: int | float | str) -> Self:
        """Learn ranges and merges.

        The range of a dimension is 0 to 1 if all its values lie there, otherwise -1 to 1 if they lie there, otherwise
        from its smallest to its largest value. The coefficients are all that values of that range can have, as long as
        these are at most a quarter of `vocab_size`: then no value of the range is ever clipped. Otherwise they are
        those from the lowest to the highest one of the chunks.

        Args:
            chunks: Normalized, [N, H, D]; merges are learned from evenly spread ones of very many.
            **options: `scale`, 10 by default; `vocab_size`, 1024 by default; `low` and `high`, of all dimensions.

        Raises:
            TokenizeError: An option is unknown or out of range, there are no chunks, or `vocab_size` is less than the
                number of coefficients.
        """
        taken(options, ("scale", "vocab_size", "low", "high"), "fast_safe")
        values = fitted(checked_chunks(chunks))
        scale = checked_scale(options.get("scale", 10))
        size = whole_number(options.get("vocab_size", 1024), "vocab_size", 1, _MAX_VOCAB)
        low, high = _ranges(values, options)
        found = quantized(np.clip(values, low, high), scale, Ties.TO_EVEN)
        least, most = _coefficient_range(found, low, high, scale, size)
        points = (found - least).astype(np.uint32) + np.uint32(FIRST_LETTER)
        content = train(points.reshape(len(points), -1), most - least + 1, size)
        return cls(
            scale=scale,
            min_coefficient=least,
            max_coefficient=most,
            low=tuple(low.tolist()),
            high=tuple(high.tolist()),
            tokenizer_json=content,
        )

    @classmethod
    def from_dict(cls, state: Mapping[str, object], files: Mapping[str, bytes]) -> Self:
        """Build from what `to_dict` and `files` gave.

        Raises:
            TokenizeError: Something is missing or out of range.
        """
        settings = from_plain(_Settings, state, "fast_safe")
        if set(files) != {_FILE}:
            raise TokenizeError(f"fast_safe: files are {sorted(files)}; must be {_FILE}")
        return cls(
            scale=settings.scale,
            min_coefficient=settings.min_coefficient,
            max_coefficient=settings.max_coefficient,
            low=settings.low,
            high=settings.high,
            tokenizer_json=files[_FILE],
        )

    def to_dict(self) -> dict[str, object]:
        """Scale and ranges."""
        return to_plain(
            _Settings(
                scale=self.scale,
                min_coefficient=self.min_coefficient,
                max_coefficient=self.max_coefficient,
                low=self.low,
                high=self.high,
            )
        )

    def files(self) -> dict[str, bytes]:
        """The merges."""
        return {_FILE: self.tokenizer_json}

    def encode(self, chunks: FloatArray) -> TokenRows:
        """Encode normalized chunks, clipping values and coefficients to their ranges.

        Whatever comes out decodes strictly: where clipped coefficients would leave the range of values, all of that
        dimension are drawn towards its middle.

        Args:
            chunks: [N, H, D].

        Returns:
            Codes, as many as each chunk needs, 0 <= code < num_codes.

        Raises:
            TokenizeError: The chunks are not [N, H, D] of the codec's D, hold a value that is not finite, or have so
                many steps that the coefficients can't express any value of the range.
        """
        values = checked_chunks(chunks)
        size = values.shape[1] * values.shape[2]
        points = (self._points(values[rows]) for rows in blocks(len(values), size, BLOCK))
        return encoded(self._bpe, (p.reshape(-1, size) for p in points), len(values))

    def _points(self, values: FloatArray) -> FloatArray:
        found, is_cut = self._coefficients_of(values)
        rows, dims = np.nonzero(is_cut)
        if len(rows):
            found[rows, :, dims] = self._drawn(found[rows, :, dims], dims)
        found += FIRST_LETTER - self.min_coefficient
        return found

    def _coefficients_of(self, values: FloatArray) -> tuple[FloatArray, BoolArray]:
        """Clipped coefficients, [N, H, D], and of which dimensions any was clipped, [N, D]."""
        low, high = self._range(values.shape[2])
        wanted = quantized(np.clip(values, low, high), self.scale, Ties.TO_EVEN)
        found = np.clip(wanted, self.min_coefficient, self.max_coefficient)
        return found, (found != wanted).any(axis=1)

    def _drawn(self, found: FloatArray, dims: Int64Array) -> FloatArray:
        """Coefficients of single dimensions, [M, H], as near to their values as the ranges permit."""
        horizon = found.shape[1]
        bound = self._bound(horizon)
        low, high = np.array(self.low)[dims], np.array(self.high)[dims]
        unit = self.scale * np.sqrt(horizon)
        middle = np.zeros_like(found)
        middle[:, 0] = np.clip(np.rint((low + high) / 2 * unit), self.min_coefficient, self.max_coefficient)
        centre = middle[:, :1] / unit
        lost = np.flatnonzero((centre[:, 0] < low - bound) | (centre[:, 0] > high + bound))
        if len(lost):
            dim = int(dims[lost[0]])
            raise TokenizeError(
                f"chunks have {horizon} steps; coefficients {self.min_coefficient} to {self.max_coefficient} can't "
                f"express values {self.low[dim]:g} to {self.high[dim]:g} of dimension {dim} there"
            )
        values = found / self.scale @ basis(horizon)
        away = values - centre
        room = np.where(away > 0, high[:, None] - centre, low[:, None] - centre)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            share = np.where(away == 0, 1.0, room / away).min(axis=1)
        drawn: FloatArray = np.rint(middle + np.clip(share, 0.0, 1.0)[:, None] * (found - middle))
        values = drawn / self.scale @ basis(horizon)
        still = ((values < low[:, None] - bound) | (values > high[:, None] + bound)).any(axis=1)
        drawn[still] = middle[still]
        return drawn

    def decode(self, codes: Codes | ArrayLike, horizon: int, dims: int) -> FloatArray:
        """Decode codes, strictly.

        Args:
            codes: Of N chunks.
            horizon: H.
            dims: D.

        Returns:
            [N, H, D], within the range of each dimension: what lies outside by no more than `error_bound` is rounding,
            and is brought back to its end, which is nearer to every value that could have been encoded.

        Raises:
            TokenizeError: A code is unknown (with its position), a row has another number of coefficients, or they add
                up to a value outside of the range (with row, step, dimension and value).
        """
        checked_shape(horizon, dims)
        low, high = self._bounds(horizon, dims)
        least, most = self._range(dims)
        rows = known_codes(codes, self.num_codes)
        values = np.empty((len(rows), horizon, dims))
        for part in blocks(len(rows), horizon * dims, DECODED):
            found = self._coefficients(rows, part).strict(horizon, dims, self.min_coefficient, self.max_coefficient)
            near = values[part]
            near[...] = restored(found, self.scale)
            wrong = outside(near, low, high)
            if wrong.any():
                row, step, dim = (int(i) for i in np.argwhere(wrong)[0])
                raise TokenizeError(
                    f"row {part.start + row} decodes to {near[row, step, dim]:.6g} at step {step}, dimension {dim}; "
                    f"must be {low[dim]:.6g} to {high[dim]:.6g}"
                )
            np.clip(near, least, most, out=near)
        return values

    def decode_relaxed(self, codes: Codes | ArrayLike, horizon: int, dims: int) -> Decoded:
        """As `decode`; unknown codes are left out, missing coefficients are 0, values are clipped; all are counted."""
        checked_shape(horizon, dims)
        low, high = self._bounds(horizon, dims)
        rows, num_unknown = known_ids(code_rows(codes), self.num_codes)
        found, wrong = self._coefficients(rows, slice(0, len(rows))).relaxed(horizon, dims)
        values = restored(found, self.scale)
        return Decoded(
            chunks=np.clip(values, *self._range(dims)),
            num_repaired=wrong + num_unknown,
            num_clipped=np.count_nonzero(outside(values, low, high), axis=(1, 2)),
        )

    def _coefficients(self, rows: TokenRows, part: slice) -> Coefficients:
        rows = rows.between(part.start, part.stop)
        starts, table = self._bpe.symbols
        found, ends = concatenated(rows.values, starts, table)
        return Coefficients(
            values=found + self.min_coefficient,
            is_wrong=np.zeros(len(found), dtype=np.bool_),
            tokens=rows,
            ends=ends,
            first_row=part.start,
        )

    def _range(self, dims: int) -> tuple[FloatArray, FloatArray]:
        if len(self.low) != dims:
            raise TokenizeError(f"the codec has ranges of {len(self.low)} dimensions; the chunks have {dims}")
        return np.array(self.low), np.array(self.high)

    def _bounds(self, horizon: int, dims: int) -> tuple[FloatArray, FloatArray]:
        low, high = self._range(dims)
        bound = self._bound(horizon)
        return low - bound, high + bound

    def _bound(self, horizon: int) -> float:
        largest = max(map(abs, (*self.low, *self.high)))
        return error_bound(horizon, self.scale, largest)

    def is_clipped(self, chunks: FloatArray) -> BoolArray:
        """True at values outside of their range, and at all steps of a dimension of which a coefficient is clipped."""
        values = checked_chunks(chunks)
        low, high = self._range(values.shape[2])
        is_cut = self._coefficients_of(values)[1]
        return outside(values, low, high) | is_cut[:, None, :]

    def error_bound(self, chunks: FloatArray) -> FloatArray:
        """What rounding all coefficients can add up to at one step, in normalized units; smaller by far on average."""
        return np.full(chunks.shape, self._bound(max(1, chunks.shape[1])))


def _ranges(values: FloatArray, options: Mapping[str, object]) -> tuple[FloatArray, FloatArray]:
    """Ranges of the dimensions, [D] each."""
    least, most = values.min(axis=(0, 1)), values.max(axis=(0, 1))
    low = np.where((least >= 0) & (most <= 1), 0.0, np.where((least >= -1) & (most <= 1), -1.0, least))
    high = np.where((least >= -1) & (most <= 1), 1.0, most)
    for name, array in (("low", low), ("high", high)):
        given = options.get(name)
        if given is not None:
            if isinstance(given, bool) or not isinstance(given, int | float) or not abs(given) <= _LARGEST:
                raise TokenizeError(f"{name} is {given}; must be a finite number")
            array[:] = given
    if max(np.abs(low).max(), np.abs(high).max()) > _LARGEST:
        raise TokenizeError(f"values go up to {max(np.abs(low).max(), np.abs(high).max()):g}; must be at most 1e100")
    wrong = np.flatnonzero(low > high)
    if len(wrong):
        dim = int(wrong[0])
        raise TokenizeError(f"range of dimension {dim} is {low[dim]:g} to {high[dim]:g}; must be in order")
    return low, high


def _coefficient_range(
    found: FloatArray, low: FloatArray, high: FloatArray, scale: float, vocab_size: int
) -> tuple[int, int]:
    """The lowest and the highest coefficient that have a symbol."""
    waves = basis(found.shape[1]) * scale
    up, down = np.maximum(waves, 0.0).sum(axis=1), np.minimum(waves, 0.0).sum(axis=1)
    least = min(0.0, float(np.floor((np.outer(up, low) + np.outer(down, high)).min())))
    most = max(0.0, float(np.ceil((np.outer(up, high) + np.outer(down, low)).max())))
    if most - least + 1 > vocab_size // 4:
        least, most = min(float(found.min()), 0.0), max(float(found.max()), 0.0)
    count = most - least + 1
    if count > min(vocab_size, MAX_LETTERS):
        raise TokenizeError(
            f"coefficients go from {least:.0f} to {most:.0f}, which are {count:.0f}; "
            f"must be at most vocab_size, {vocab_size}, and {MAX_LETTERS}: raise vocab_size, or lower scale"
        )
    return int(least), int(most)
