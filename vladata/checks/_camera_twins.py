"""Two cameras that show the same pictures: one device under two names."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ..units import Clock
from ._frames import CameraScan, Picture

__all__ = ["Twins", "twins"]

MIN_PAIRS = 4
"""Pictures of the same moment that must be there."""
NEAR = 0.1
"""Of a period: stamps that differ by less are of the same moment."""
PERCENTILE = 99.0
"""So many of the pixels of a picture must be alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Twins:
    """Two cameras that show the same."""

    first: CameraScan
    second: CameraScan
    frames: tuple[int, ...]
    """Of the first camera, that are alike."""
    compared: int
    """Pictures of the same moment."""


def twins(scans: Sequence[CameraScan], most: float) -> Iterator[Twins]:
    """Pairs of cameras whose pictures of the same moments differ by at most so much, of 255, in nearly all pixels."""
    seeing = [s for s in scans if not s.is_depth]
    for first, second in combinations(seeing, 2):
        pairs = _of_the_same_moment(first, second)
        alike = tuple(a.index for a, b in pairs if _difference(a, b) <= most)
        if len(pairs) >= MIN_PAIRS and 2 * len(alike) > len(pairs):
            yield Twins(first=first, second=second, frames=alike, compared=len(pairs))


def _of_the_same_moment(first: CameraScan, second: CameraScan) -> list[tuple[Picture, Picture]]:
    """Evenly spaced pictures of both cameras that show something, by their place in order."""
    blank = {id(p) for scan in (first, second) for p in scan.blank()}
    near = NEAR * _period_ns(first)
    pairs = []
    for a, b in zip(first.samples, second.samples, strict=False):
        is_near = abs(int(first.time_ns[a.index]) - int(second.time_ns[b.index])) <= near
        if is_near and not {id(a), id(b)} & blank and a.reduced.shape == b.reduced.shape:
            pairs.append((a, b))
    return pairs


def _period_ns(scan: CameraScan) -> float:
    if scan.stream.clock is Clock.NOMINAL or scan.stop - scan.start < 2:
        return 1.0  # rows are of one moment, or not
    return float(np.median(np.diff(scan.time_ns[scan.start : scan.stop])))


def _difference(first: Picture, second: Picture) -> float:
    apart = np.abs(first.reduced.astype(np.float32) - second.reduced.astype(np.float32))
    return float(np.percentile(apart, PERCENTILE))
