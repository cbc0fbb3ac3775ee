"""The tables that codes are looked up in: each code is a piece of one or more ids."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..errors import TokenizeError

__all__ = ["Pieces", "Tables", "tables_of"]

Int64Array = NDArray[np.int64]
Pieces = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Tables:
    """What encoding and decoding look up; first and following pieces, one behind the other."""

    lengths: Int64Array
    starts: Int64Array
    ids: Int64Array
    letters: Int64Array
    """All ids in use, sorted."""
    is_head: NDArray[np.bool_]
    """Of each letter: whether a following piece begins with it."""
    keys: tuple[Int64Array, Int64Array]
    """Of the first pieces and of the following ones: the letters of each as one number, sorted."""
    codes: tuple[Int64Array, Int64Array]
    """Code of each key."""
    longest: int


@lru_cache(maxsize=4)
def tables_of(first: Pieces, following: Pieces) -> Tables:
    pieces = [*first, *(following or first)]
    lengths = np.array([len(p) for p in pieces], dtype=np.int64)
    ids = np.array([i for p in pieces for i in p], dtype=np.int64)
    letters = np.unique(ids)
    longest = int(lengths.max())
    if (len(letters) + 1) ** longest >= 1 << 62:
        raise TokenizeError(f"a code becomes {longest} tokens; must be fewer")
    heads = {p[0] for p in following or first}
    inner = {i for p in pieces for i in p[1:]}
    if heads & inner:
        raise TokenizeError(
            f"token {min(heads & inner)} stands at the beginning and inside of codes; can't be told apart"
        )
    place = np.searchsorted(letters, ids) + 1
    starts = np.cumsum(lengths) - lengths
    keys = np.zeros(len(pieces), dtype=np.int64)
    for depth in range(longest):
        has = lengths > depth
        keys[has] = keys[has] * (len(letters) + 1) + place[starts[has] + depth]
    halves = keys[: len(first)], keys[len(first) :]
    orders = tuple(np.argsort(half, kind="stable") for half in halves)
    for half, order in zip(halves, orders, strict=True):
        same = np.flatnonzero(np.diff(half[order]) == 0)
        if len(same):
            one, other = sorted((int(order[same[0]]), int(order[same[0] + 1])))
            raise TokenizeError(f"codes {one} and {other} both become ids {list(first[one])}; must differ")
    return Tables(
        lengths=lengths,
        starts=starts,
        ids=ids,
        letters=letters,
        is_head=np.isin(letters, list(heads)),
        keys=(halves[0][orders[0]], halves[1][orders[1]]),
        codes=(orders[0], orders[1]),
        longest=longest,
    )
