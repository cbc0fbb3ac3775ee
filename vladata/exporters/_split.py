"""Which episode goes into which split: by seed and content, whatever the order of the dataset.

Episodes of equal content are one group and never part; groups are put in the order of a hash of seed and content.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence

from ..errors import ExportError

__all__ = ["assign_splits"]


def assign_splits(content_digests: Sequence[str], fractions: Mapping[str, float], seed: int) -> list[str]:
    """Assign a split to each episode.

    Every split gets its share of the groups, rounded by largest remainder; where there are at least as many groups as
    splits, none stays empty.

    Args:
        content_digests: Content of each episode, [N].
        fractions: Share of each split by name, in order; they sum to 1.
        seed: Another seed gives another assignment.

    Returns:
        Name of the split of each episode, [N].

    Raises:
        ExportError: A fraction is not in 0 < f <= 1, or they don't sum to 1.
    """
    if not fractions or any(not 0 < f <= 1 for f in fractions.values()):
        raise ExportError(f"split fractions are {dict(fractions)}; each must be more than 0 and at most 1")
    total = math.fsum(fractions.values())
    if abs(total - 1) > 1e-9:
        raise ExportError(f"split fractions sum to {total:g}; they must sum to 1")
    groups = sorted(set(content_digests), key=lambda digest: _place(digest, seed))
    names = [name for name, quota in zip(fractions, _quotas(len(groups), fractions), strict=True) for _ in range(quota)]
    split_of = dict(zip(groups, names, strict=True))
    return [split_of[digest] for digest in content_digests]


def _place(content_digest: str, seed: int) -> bytes:
    return hashlib.sha256(f"split {seed} {content_digest}".encode()).digest()


def _quotas(count: int, fractions: Mapping[str, float]) -> list[int]:
    """Groups per split, in order; their sum is `count`."""
    exact = [f * count for f in fractions.values()]
    # Rounding errors of the shares (0.9 · 10 = 9.000000000000002) must not decide who gets the next group.
    quotas = [math.floor(e + 1e-9) for e in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: (quotas[i] - exact[i], i))
    for i in by_remainder[: count - sum(quotas)]:
        quotas[i] += 1
    if count >= len(quotas):
        for i in range(len(quotas)):
            if quotas[i] == 0:
                largest = max(range(len(quotas)), key=lambda k: (quotas[k], -k))
                quotas[largest] -= 1
                quotas[i] = 1
    return quotas
