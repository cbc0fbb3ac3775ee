"""The order of an epoch: which rows of each part, how they follow one another, and how the parts interleave.

Rows are read by row groups, so the order has two levels, as in every shuffle of bounded memory: the row groups of a
pass in an order of their own, and within a window of some of them the rows. Everything is decided by a hash of seed,
part, pass and row: equal on every machine and with every number of workers.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Drawn", "draw", "in_order", "interleave", "key_of", "thin"]

Int64Array = NDArray[np.int64]
UInt64Array = NDArray[np.uint64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawn:
    """Rows of one part in the order of the epoch, [K]."""

    rows: Int64Array
    """Place of the row among those of the split."""
    windows: NDArray[np.int32]
    """Which window each row belongs to, not decreasing; the rows of a window are held in memory together."""

    def between(self, start: int, stop: int) -> "Drawn":
        """Rows start <= i < stop."""
        return Drawn(rows=self.rows[start:stop], windows=self.windows[start:stop])


def key_of(*words: object) -> int:
    """A number of 64 bits from some words: what hashes are seeded with."""
    text = "\0".join(map(str, words)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "little")


def _hashes(values: Int64Array, key: int) -> UInt64Array:
    """SplitMix64 of numbers: no two of equal key have equal hashes."""
    with np.errstate(over="ignore"):
        z = values.astype(np.uint64) + np.uint64(key)
        z = z * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: UInt64Array = z ^ (z >> np.uint64(31))
    return mixed


def thin(rows: Int64Array, count: int, key: int) -> Int64Array:
    """Choose `count` of some rows by their hashes; they stay in order."""
    if count >= len(rows):
        return rows
    chosen: Int64Array = np.sort(rows[np.argsort(_hashes(rows, key), kind="stable")[:count]])
    return chosen


def draw(pool: Int64Array, count: int, groups: tuple[Int64Array, Int64Array], key: int, window_bytes: int) -> Drawn:
    """Rows of a part for an epoch: every row count // len(pool) times, and some of them once more.

    Args:
        pool: Rows to draw from, increasing, [P].
        count: Rows to draw, K.
        groups: First row and bytes of each row group of the split, [G] each.
        key: What hashes are seeded with.
        window_bytes: Row groups of a window are at most so large together, but at least one.
    """
    rows, windows, first = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)], 0
    for number in range(-(-count // len(pool))):
        wanted = min(len(pool), count - number * len(pool))
        chosen = thin(pool, wanted, key_of(key, "chosen"))
        group = np.searchsorted(groups[0], chosen, side="right") - 1
        used = np.unique(group)
        used = used[np.argsort(_hashes(used, key_of(key, "groups", number)), kind="stable")]
        window_of = np.zeros(len(groups[0]), dtype=np.int64)
        window_of[used] = _windows(groups[1][used], window_bytes)
        own = window_of[group]
        order = np.lexsort((_hashes(chosen, key_of(key, "rows", number)), own))
        rows.append(chosen[order])
        windows.append(own[order] + first)
        first += int(own.max()) + 1
    return Drawn(rows=np.concatenate(rows), windows=np.concatenate(windows).astype(np.int32))


def in_order(groups: tuple[Int64Array, Int64Array], count: int, window_bytes: int) -> Drawn:
    """All rows of a split, once, as they lie."""
    rows = np.arange(count, dtype=np.int64)
    group = np.searchsorted(groups[0], rows, side="right") - 1
    return Drawn(rows=rows, windows=_windows(groups[1], window_bytes)[group].astype(np.int32))


def _windows(sizes: Int64Array, window_bytes: int) -> Int64Array:
    """Number of the window of each row group, in order."""
    windows, number, held = np.zeros(len(sizes), dtype=np.int64), 0, 0
    for i, size in enumerate(sizes.tolist()):
        if held and held + size > window_bytes:
            number, held = number + 1, 0
        windows[i] = number
        held += size
    return windows


def interleave(counts: Sequence[int], key: int) -> NDArray[np.uint16]:
    """The part of each row of an epoch, [sum of counts].

    Row j of a part of n rows stands at (j + u) / n of the epoch, u in 0 to 1 by hash: the shares hold along the way,
    each to within a row in every stretch, and no rhythm repeats.

    Args:
        counts: Rows of each part.
        key: What hashes are seeded with.
    """
    places = [np.zeros(0)]
    for part, count in enumerate(counts):
        numbers = np.arange(count, dtype=np.int64)
        jitter = (_hashes(numbers, key_of(key, "part", part)) >> np.uint64(11)) * 2.0**-53
        places.append((numbers + jitter) / max(1, count))
    labels = np.repeat(np.arange(len(counts), dtype=np.uint16), np.asarray(counts, dtype=np.int64))
    order = np.argsort(np.concatenate(places), kind="stable")
    result: NDArray[np.uint16] = labels[order]
    return result
