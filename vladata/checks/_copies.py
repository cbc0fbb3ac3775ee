"""Finds demonstrations that are nearly the same: pairs by hashes in common or by the way they went."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ._check import EpisodeFacts
from ._features import MOST_HASHES, path, rows
from ._tables import kind_of

__all__ = ["connected", "near_pairs"]

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

FEWEST_ROWS = 5
"""Two episodes have at least this many different poses, or their hashes say nothing."""
FEWEST_WAYS = 20
"""Ways can be compared where there are this many: how near the others are to each other must be known."""
LEAST_SPREAD = 0.05
"""Spreads of a pose count as at least this part of the largest one."""
COORDINATES = 8
"""Principal directions in which the nearest way is looked for."""

BLOCK = 256
"""Ways that are compared at a time, so that memory holds few differences."""

Pairs = dict[tuple[int, int], float]
"""Two places in the facts, the lower first, and the share of poses in common; 0 where only the ways are the same."""


def near_pairs(facts: Sequence[EpisodeFacts], shared: float, chance: float) -> Pairs:
    """Pairs of episodes of different content that are nearly the same.

    Args:
        facts: All episodes.
        shared: Share of the shorter one's different poses that the other has as well.
        chance: Ways are the same where they are nearer than this many pairs are by chance in a dataset without copies.

    Returns:
        By pair. Not all pairs of a group are there, but all its members are connected.
    """
    # The first episode of each content speaks for all: equal ones are another check's.
    first: dict[str, int] = {}
    sketches: dict[int, NDArray[np.uint64]] = {}
    ways: dict[tuple[str, int], tuple[list[int], list[NDArray[np.float32]]]] = defaultdict(lambda: ([], []))
    for i, fact in enumerate(facts):
        if first.setdefault(fact.content_digest, i) != i:
            continue
        sketch, way = rows.of(fact), path.of(fact)
        if sketch is not None and len(sketch) and int(sketch[0]) >= FEWEST_ROWS:
            sketches[i] = sketch.astype(np.uint64)
        if way is not None:
            places, values = ways[kind_of(fact), way.size]
            places.append(i)
            values.append(way.astype(np.float32).ravel())
    pairs = _by_hashes(sketches, shared)
    for places, values in ways.values():
        for pair in _by_way(np.array(places), np.stack(values), chance):
            pairs.setdefault(pair, 0.0)
    return pairs


def _by_hashes(sketches: dict[int, NDArray[np.uint64]], shared: float) -> Pairs:
    """Neighbours in the list of a hash's episodes are compared: a copy has hashes that it shares with no other."""
    if not sketches:
        return {}
    owners = np.concatenate([np.full(len(s) - 1, i) for i, s in sketches.items()])
    hashes = np.concatenate([s[1:] for s in sketches.values()])
    order = np.lexsort((owners, hashes))
    owners, hashes = owners[order], hashes[order]
    same = hashes[1:] == hashes[:-1]
    candidates = np.unique(np.stack([owners[:-1][same], owners[1:][same]], axis=1), axis=0)
    found: Pairs = {}
    for a, b in candidates.tolist():
        part = _share(sketches[a], sketches[b])
        if part >= shared:
            found[a, b] = part
    return found


def _share(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> float:
    """Estimated share of the poses of the shorter one that the other has."""
    left, right = set(a[1:].tolist()), set(b[1:].tolist())
    union = sorted(left | right)
    if len(left) == int(a[0]) and len(right) == int(b[0]):  # all are there: exact
        return len(left & right) / min(len(left), len(right))
    union = union[:MOST_HASHES]
    alike = sum(h in left and h in right for h in union) / len(union)
    sizes = int(a[0]), int(b[0])
    return min(1.0, alike * sum(sizes) / (1 + alike) / min(sizes))


def _by_way(places: IntArray, ways: NDArray[np.float32], chance: float) -> Iterator[tuple[int, int]]:
    # No copies: of many episodes this is the largest array there is.
    keep = np.maximum(ways.max(axis=1), -ways.min(axis=1)) < 1e9  # not where there is a NaN
    if not keep.all():
        places, ways = places[keep], ways[keep]
    if len(places) < FEWEST_WAYS:
        return
    from scipy.spatial import cKDTree

    ways -= ways.mean(axis=0, dtype=np.float64).astype(np.float32)
    spread = np.sqrt(np.einsum("ij,ij->j", ways, ways) / len(ways))
    largest = float(spread.max(initial=0.0))
    if largest == 0:
        return
    # Where all are at the same pose, as at home, only noise differs: it must not be blown up.
    ways /= np.maximum(spread, LEAST_SPREAD * largest)
    scaled = ways
    _, axes = np.linalg.eigh((scaled.T @ scaled).astype(np.float64))
    low = scaled @ axes[:, -COORDINATES:].astype(np.float32)
    near = np.asarray(cKDTree(low).query(low, k=5)[1])
    distance = np.empty(near.shape)
    for k in range(0, len(near), BLOCK):
        apart = scaled[near[k : k + BLOCK]] - scaled[k : k + BLOCK, None]
        distance[k : k + BLOCK] = np.linalg.norm(apart, axis=2)
    distance[near == np.arange(len(near))[:, None]] = np.inf
    order = np.argsort(distance, axis=1)
    first, second, third = (np.take_along_axis(distance, order[:, k : k + 1], axis=1)[:, 0] for k in range(3))
    ratio = first / np.where(third > 0, third, 1.0)
    expected = 2 * len(ratio) * ratio ** _freedom(second, third)
    for i in np.flatnonzero((expected < chance) & (third > 0)).tolist():
        a, b = sorted((int(places[i]), int(places[near[i, order[i, 0]]])))
        yield a, b


def _freedom(second: FloatArray, third: FloatArray) -> float:
    """In how many directions the ways differ, 1 to 8.

    Of the neighbours within the third, each is within a part x of its distance with the probability x ** freedom. So
    the second one's median part tells the freedom (after Levina and Bickel, NIPS 2004), and the first one's what
    chance it has: scripted demonstrations that differ by the place of one object come near each other by chance.
    """
    part = float(np.median(second[third > 0] / third[third > 0])) if (third > 0).any() else 0.0
    if not 0 < part < 1:
        return 1.0
    # One standard error less, so that few episodes promise nothing.
    return float(np.clip(np.log(0.5) / (2 * np.log(part)) * (1 - len(third) ** -0.5), 1.0, 8.0))


def connected(pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Groups that pairs connect, each in the order of its first appearance.

    >>> connected([(1, 2), (5, 6), (2, 3)])
    [[1, 2, 3], [5, 6]]
    """
    parent: dict[int, int] = {}

    def root(x: int) -> int:
        parent.setdefault(x, x)
        while parent[x] != x:
            parent[x] = x = parent[parent[x]]
        return x

    for a, b in pairs:
        parent[root(b)] = root(a)
    groups: dict[int, list[int]] = defaultdict(list)
    for x in parent:
        groups[root(x)].append(x)
    return list(groups.values())
