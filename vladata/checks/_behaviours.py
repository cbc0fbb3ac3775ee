"""Whether motions fall into two separate groups."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._check import EpisodeFacts
from ._features import Column, columns_of, path
from ._tables import kind_of, task_of

__all__ = ["Motions", "Split", "motions", "two_groups"]

FloatArray = NDArray[np.float64]

MOST = 200
"""Motions of one instruction that are compared with each other, spread evenly over its episodes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Motions:
    """The ways of the episodes of one instruction."""

    instruction: str
    places: NDArray[np.int64]
    """Of the episodes in the facts, [n]."""
    ways: FloatArray
    """[n, phases, D]."""
    units: NDArray[np.str_]
    """By dimension; grippers are a unit of their own."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """Two groups of motions."""

    first: NDArray[np.int64]
    """Places in the motions, the larger group."""
    second: NDArray[np.int64]
    separation: float
    """Mean silhouette, -1 to 1."""
    worst: float
    """The lowest silhouette of one motion."""
    moved: float
    """Mean silhouette of the same groups where each motion counts from its start."""
    gap: float
    """Between the groups on the line through their means, as a part of all that the motions cover of it."""

    @property
    def chance(self) -> float:
        """Expected number of such gaps where the motions are spread evenly over the line."""
        intervals = len(self.first) + len(self.second) - 1
        return intervals * float(1 - self.gap) ** intervals


def _unit(column: Column) -> str:
    return "gripper" if column.is_gripper else column.unit


def motions(facts: Sequence[EpisodeFacts], fewest: int) -> Iterator[Motions]:
    """Ways by instruction and schema, of instructions with so many episodes of different content."""
    places: dict[tuple[str, str], list[int]] = defaultdict(list)
    seen: dict[tuple[str, str], set[str]] = defaultdict(set)
    columns: dict[str, tuple[Column, ...]] = {}
    for i, fact in enumerate(facts):
        way = path.of(fact)
        kind, text = kind_of(fact), task_of(fact)
        if way is None or not text or fact.content_digest in seen[kind, text]:
            continue
        seen[kind, text].add(fact.content_digest)
        columns.setdefault(kind, columns_of(fact))
        places[kind, text].append(i)
    wanted = {
        key: [found[k] for k in np.linspace(0, len(found) - 1, min(MOST, len(found))).round().astype(int)]
        for key, found in places.items()
        if len(found) >= fewest
    }
    for (kind, _), chosen in wanted.items():
        units = np.array([_unit(c) for c in columns[kind] if not c.mode and (c.is_measured_pose or c.is_gripper)])
        ways = [way for i in chosen if (way := path.of(facts[i])) is not None]
        width = ways[0].shape[1]
        if any(w.shape != ways[0].shape for w in ways):
            continue
        if len(units) != width:  # streams are missing, or only commands are there
            units = np.full(width, "1")
        yield Motions(
            instruction=facts[chosen[0]].instruction,
            places=np.array(chosen, dtype=np.int64),
            ways=np.stack(ways).astype(np.float64),
            units=units,
        )


def _scaled(ways: FloatArray, units: NDArray[np.str_]) -> FloatArray:
    """In parts of how far the dimension of the same unit that moves most moves: what hardly moves counts little."""
    reach = np.median(ways.max(axis=1) - ways.min(axis=1), axis=0)
    scale = np.array([reach[units == u].max() for u in units])
    return (ways / np.where(scale > 0, scale, np.inf)).reshape(len(ways), -1)


def two_groups(found: Motions, part: float) -> Split | None:
    """The two largest groups of motions; None where one of them is small or the rest is large.

    Average linkage, and silhouettes (Rousseeuw, J. Comput. Appl. Math. 20, 1987): how much nearer a motion is to its
    own group than to the other, -1 to 1.

    Args:
        found: The motions of one instruction.
        part: Least share of the episodes in the smaller group; at least three.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import pdist, squareform

    values = _scaled(found.ways, found.units)
    count = len(values)
    if not np.isfinite(values).all() or np.abs(values).max(initial=0.0) > 1e6:
        return None
    distances = pdist(values)
    tree = linkage(distances, "average")
    for clusters in (2, 3, 4):
        names = fcluster(tree, clusters, "maxclust")
        order = np.argsort(-np.bincount(names), kind="stable")
        first, second = np.flatnonzero(names == order[0]), np.flatnonzero(names == order[1])
        if len(second) >= max(3, part * count):
            break
    else:
        return None
    if len(first) + len(second) < (1 - part / 2) * count:
        return None
    own = _silhouettes(squareform(distances), first, second)
    from_start = _scaled(found.ways - found.ways[:, :1], found.units)
    moved = _silhouettes(squareform(pdist(from_start)), first, second)
    return Split(
        first=first,
        second=second,
        separation=float(own.mean()),
        worst=float(own.min()),
        moved=float(moved.mean()),
        gap=_gap(values[first], values[second]),
    )


def _gap(first: FloatArray, second: FloatArray) -> float:
    line = first.mean(axis=0) - second.mean(axis=0)
    upper, lower = first @ line, second @ line
    covered = float(max(upper.max(), lower.max()) - min(upper.min(), lower.min()))
    return float(np.clip((upper.min() - lower.max()) / covered, 0.0, 1.0)) if covered > 0 else 0.0


def _silhouettes(distance: FloatArray, first: NDArray[np.int64], second: NDArray[np.int64]) -> FloatArray:
    values = []
    for mine, other in ((first, second), (second, first)):
        inner = distance[np.ix_(mine, mine)].sum(axis=1) / max(1, len(mine) - 1)
        outer = distance[np.ix_(mine, other)].mean(axis=1)
        largest = np.maximum(inner, outer)
        values.append((outer - inner) / np.where(largest > 0, largest, 1.0))
    return np.concatenate(values)
