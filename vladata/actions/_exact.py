"""Sums and order statistics of float64 values without any rounding on the way, in bounded memory.

Both are the same whatever the order of the values and however they are split into arrays.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

__all__ = ["ExactSum", "RankFinder"]

FloatArray = NDArray[np.float64]
KeyArray = NDArray[np.uint64]

_POINT = 1126
"""Sums are integers in units of 2**-1126, the last bit of the mantissa that frexp gives the smallest float64."""
_SPLIT = 27
_BLOCK = 1 << 20
"""Values at a time: 2**20 parts below 2**27 sum to less than 2**53, so float64 holds them exactly."""
_DIGIT = 16
_BITS = 64
_SIGN = np.uint64(1 << 63)


class ExactSum:
    """The sum of each column as a big integer."""

    def __init__(self, dims: int) -> None:
        """Begin at zero."""
        self.sums = [0] * dims

    def add(self, values: FloatArray) -> None:
        """Add finite rows, [n, D]."""
        rows = max(1, _BLOCK // max(1, len(self.sums)))
        for start in range(0, len(values), rows):
            self._add_block(values[start : start + rows])

    def _add_block(self, values: FloatArray) -> None:
        dims = len(self.sums)
        mantissas, exponents = np.frexp(values)
        lowest = int(exponents.min(initial=0))
        span = int(exponents.max(initial=0)) - lowest + 1
        slots = (exponents - lowest + span * np.arange(dims)).ravel()
        whole = np.ldexp(mantissas, 53).astype(np.int64).ravel()
        # bincount sums in float64: two halves of a mantissa stay below 2**53, so nothing is rounded.
        upper = np.bincount(slots, weights=whole >> _SPLIT, minlength=span * dims)
        lower = np.bincount(slots, weights=whole & ((1 << _SPLIT) - 1), minlength=span * dims)
        for slot in np.flatnonzero((upper != 0) | (lower != 0)):
            dim, exponent = divmod(int(slot), span)
            part = (int(upper[slot]) << _SPLIT) + int(lower[slot])
            self.sums[dim] += part << (exponent + lowest - 53 + _POINT)

    def mean(self, count: int) -> list[float]:
        """Each sum divided by a count, rounded once."""
        return [total / (count << _POINT) for total in self.sums]

    def variance(self, squares: "ExactSum", count: int) -> list[float]:
        """Population variance out of the sums and the sums of squares, rounded once."""
        pairs = zip(self.sums, squares.sums, strict=True)
        return [
            max(0, count * (square << _POINT) - total * total) / (count * count << (2 * _POINT))
            for total, square in pairs
        ]

    def add_squares(self, values: FloatArray) -> None:
        """Add the squares of finite rows below 1e150, [n, D], each as a sum of three exact products."""
        upper = values * 134217729.0
        upper -= upper - values
        lower = values - upper
        self.add(upper * upper)
        self.add(2.0 * upper * lower)
        self.add(lower * lower)


def _keys(values: FloatArray) -> KeyArray:
    """Unsigned integers in the order of the values; both zeros give one key."""
    bits = np.ascontiguousarray(values + 0.0).view(np.uint64)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _value(key: int) -> float:
    bits = key ^ int(_SIGN) if key & int(_SIGN) else key ^ 0xFFFFFFFFFFFFFFFF
    return float(np.array(bits, dtype=np.uint64).view(np.float64))


class _Bucket:
    """The keys of one column that begin with the same bits: collected, or counted by their next 16 bits."""

    def __init__(self, column: int, prefix: int = 0, depth: int = 0, size: int = 0) -> None:
        self.column, self.prefix, self.depth, self.size = column, prefix, depth, size
        self.ranks: set[int] = set()
        self.parts: list[KeyArray] = []
        self.counts: NDArray[np.int64] | None = None

    def count_from_now(self) -> None:
        """Turn what was collected into counts."""
        parts, self.parts = self.parts, []
        self.counts = np.zeros(1 << _DIGIT, dtype=np.int64)
        for part in parts:
            self._count(part)

    def _count(self, keys: KeyArray) -> None:
        digits = (keys >> np.uint64(_BITS - _DIGIT - self.depth)) & np.uint64((1 << _DIGIT) - 1)
        assert self.counts is not None
        self.counts += np.bincount(digits.astype(np.int64), minlength=1 << _DIGIT)

    def add(self, keys: KeyArray) -> None:
        """Take the keys of the column that belong here, [n]."""
        if self.depth:
            keys = keys[(keys >> np.uint64(_BITS - self.depth)) == np.uint64(self.prefix)]
        if self.counts is None:
            self.parts.append(keys)
        else:
            self._count(keys)

    def found(self) -> dict[int, float]:
        """Collected: the value at each rank."""
        keys = np.concatenate(self.parts)
        keys.partition(sorted(self.ranks))
        return {rank: _value(int(keys[rank])) for rank in self.ranks}

    def narrower(self) -> Iterable[tuple[int, int, int, int]]:
        """Counted: for each rank the longer prefix, the rank inside it and how many keys share it."""
        assert self.counts is not None
        ends = np.cumsum(self.counts)
        for rank in self.ranks:
            digit = int(np.searchsorted(ends, rank, side="right"))
            before = int(ends[digit] - self.counts[digit])
            yield rank, (self.prefix << _DIGIT) | digit, rank - before, int(self.counts[digit])


class RankFinder:
    """Finds the values at given ranks of each column, in as many passes over the same data as memory asks for."""

    def __init__(self, dims: int, budget_bytes: int) -> None:
        """Begin the first pass."""
        self._budget = budget_bytes
        self._held = 0
        self._buckets = [_Bucket(d) for d in range(dims)]
        # By column, prefix and rank inside the bucket: the ranks that were asked for.
        self._wanted: dict[tuple[int, int, int], list[tuple[int, int]]] = {}
        self.values: dict[tuple[int, int], float] = {}
        """By column and rank, as far as found."""

    def add(self, values: FloatArray) -> None:
        """Take finite rows, [n, D]."""
        keys = _keys(values.T)
        for bucket in self._buckets:
            bucket.add(keys[bucket.column])
        if self._buckets and self._buckets[0].depth == 0 and self._buckets[0].counts is None:
            self._held += values.nbytes
            if self._held > self._budget:
                for bucket in self._buckets:
                    bucket.count_from_now()

    def end_pass(self, ranks: list[int]) -> bool:
        """End a pass; the ranks count on the first one only.

        Returns:
            True where the same values must be added once more.
        """
        narrow: dict[tuple[int, int], _Bucket] = {}
        wanted: dict[tuple[int, int, int], list[tuple[int, int]]] = {}
        for bucket in self._buckets:
            if bucket.depth == 0:
                bucket.ranks = set(ranks)
                self._wanted |= {(bucket.column, 0, rank): [(bucket.column, rank)] for rank in ranks}
            if bucket.counts is None:
                for rank, value in bucket.found().items():
                    self._settle(bucket, rank, value)
                continue
            for rank, prefix, inner, size in bucket.narrower():
                depth = bucket.depth + _DIGIT
                if depth == _BITS:
                    self._settle(bucket, rank, _value(prefix))
                    continue
                new = narrow.setdefault((bucket.column, prefix), _Bucket(bucket.column, prefix, depth, size))
                new.ranks.add(inner)
                asked = self._wanted[bucket.column, bucket.prefix, rank]
                wanted.setdefault((bucket.column, prefix, inner), []).extend(asked)
        self._wanted = wanted
        self._buckets = list(narrow.values())
        if 8 * sum(bucket.size for bucket in self._buckets) > self._budget:
            for bucket in self._buckets:
                bucket.count_from_now()
        return bool(self._buckets)

    def _settle(self, bucket: _Bucket, rank: int, value: float) -> None:
        for column_and_rank in self._wanted[bucket.column, bucket.prefix, rank]:
            self.values[column_and_rank] = value
