"""Which episode goes into which split: by seed and content, whatever the order of the dataset.

Groups of episodes never part. They are dealt out one after the other, the largest first and then stratum by stratum in
the order of a hash of seed and group, each to the split that lags most behind its share: of all episodes so far, and of
those of the group's strata. So every run of the order has about the shares of the whole, in every stratum as well.
"""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence

from ..documents import canonical_json
from ..errors import ExportError

__all__ = ["assign_splits"]

Stratum = tuple[str, ...]


def assign_splits(
    groups: Sequence[str],
    fractions: Mapping[str, float],
    seed: int,
    strata: Sequence[Stratum] | None = None,
) -> list[str]:
    """Assign a split to each episode.

    Every split gets its share of the episodes (rounded by largest remainder) as nearly as groups allow, and of each
    stratum as nearly as that allows; where there are at least as many groups as splits, none stays empty.

    Args:
        groups: Group of each episode, [N].
        fractions: Share of each split by name, in order; they sum to 1.
        seed: Another seed gives another assignment.
        strata: Stratum of each episode, [N]; None: all are of one.

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
    members: dict[str, Counter[Stratum]] = defaultdict(Counter)
    for group, stratum in zip(groups, strata if strata is not None else [()] * len(groups), strict=True):
        members[group][stratum] += 1
    # The seed orders the strata as well: where each has one episode, their names must not decide.
    rank = {group: _place(canonical_json(sorted(own.items())), seed) for group, own in members.items()}
    order = sorted(members, key=lambda g: (-members[g].total(), rank[g], _place(g, seed)))
    dealt = _Dealt(list(fractions.values()), _quotas(len(groups), fractions))
    split_of = {group: dealt.deal(members[group]) for group in order}
    _fill_empty(split_of, members, len(fractions), seed)
    names = list(fractions)
    return [names[split_of[group]] for group in groups]


def _place(text: str, seed: int) -> bytes:
    return hashlib.sha256(f"split {seed} {text}".encode("utf-8", "surrogatepass")).digest()


class _Dealt:
    """Episodes dealt so far, by split."""

    def __init__(self, shares: Sequence[float], quotas: Sequence[int]) -> None:
        self._shares, self._quotas = shares, quotas
        self._seen: Counter[Hashable] = Counter()
        self._has: list[Counter[Hashable]] = [Counter() for _ in shares]

    def deal(self, strata: Mapping[Stratum, int]) -> int:
        """Choose the split of a group, of which so many episodes are of each stratum."""
        size = sum(strata.values())
        left = [quota - has[None] for quota, has in zip(self._quotas, self._has, strict=True)]
        fitting = [s for s, room in enumerate(left) if room >= size]
        if fitting:
            chosen = max(fitting, key=lambda s: (round(self._lag(s, strata, size), 9), -s))
        else:
            chosen = max(range(len(left)), key=lambda s: (left[s], -s))
        for stratum, count in (*strata.items(), (None, size)):
            self._seen[stratum] += count
            self._has[chosen][stratum] += count
        return chosen

    def _lag(self, split: int, strata: Mapping[Stratum, int], size: int) -> float:
        """Episodes that a split lacks of its share, of all and of the strata, with the group among those seen."""
        has, share = self._has[split], self._shares[split]
        lag = share * (self._seen[None] + size) - has[None]
        return lag + sum(n / size * (share * (self._seen[key] + n) - has[key]) for key, n in strata.items())


def _fill_empty(split_of: dict[str, int], members: Mapping[str, Counter[Stratum]], count: int, seed: int) -> None:
    """Give an empty split the smallest group of the one that has most groups; while there are enough of them."""
    owned = Counter(split_of.values())
    if len(split_of) < count:
        return
    for split in range(count):
        if owned[split] == 0:
            donor = max(range(count), key=lambda s: (owned[s], -s))
            own = [g for g, s in split_of.items() if s == donor]
            moved = min(own, key=lambda g: (members[g].total(), _place(g, seed)))
            split_of[moved] = split
            owned[donor] -= 1
            owned[split] += 1


def _quotas(count: int, fractions: Mapping[str, float]) -> list[int]:
    """Episodes per split, in order; their sum is `count`."""
    exact = [f * count for f in fractions.values()]
    # Rounding errors of the shares (0.9 · 10 = 9.000000000000002) must not decide who gets the next one.
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
