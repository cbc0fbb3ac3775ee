"""Where the difference of two clocks changes at once and stays changed; bursts of long delays are no jumps."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

__all__ = ["JUMP_NS", "jumping_blocks", "refined"]

FloatArray = NDArray[np.float64]

JUMP_NS = 2e6
"""A smaller change is never called a jump."""
MAX_JUMPS = 8
"""More places than these are no jumps, but noise of another kind."""
_GUARD, _SIDE = 1, 3
"""Blocks that may hold the jump itself, and blocks on either side whose levels are compared."""
_SHORT = 0.25
"""A part shorter than this share that comes back to the level before it is a burst."""
LEAST_NS = 2e9
"""So long must a change be seen to stay."""
_NOISE = 7.0
"""A change this many times the noise of such changes is looked at."""


def jumping_blocks(x: FloatArray, level: FloatArray) -> list[int]:
    """Blocks in which the level changes and stays changed, beside a drift.

    Args:
        x: Middle of each block, [K].
        level: Median of receive - stamp of each block in ns, [K].
    """
    found = _candidates(level)
    while found:
        places = sorted(found)
        levels = _levels(x, level, places)
        drop = _unsure_end(x, places) or _burst(levels, places, len(level)) or _insignificant(levels, found, level, x)
        if not drop:
            break
        found = {p: size for p, size in found.items() if p not in drop}
    return sorted(found) if len(found) <= MAX_JUMPS else []


def _candidates(level: FloatArray) -> dict[int, float]:
    """Blocks about which the levels before and after differ by more than noise and drift explain, and by how much."""
    width = 2 * _SIDE + _GUARD
    if len(level) < 2 * width:
        return {}
    windows = np.lib.stride_tricks.sliding_window_view(level, width)
    change = np.median(windows[:, _SIDE + _GUARD :], axis=1) - np.median(windows[:, :_SIDE], axis=1)
    change = change - np.median(change)
    bound = max(JUMP_NS, _NOISE * 1.4826 * float(np.median(np.abs(change))))
    height = np.abs(change)
    found: dict[int, float] = {}
    for k in np.argsort(-height):
        if height[k] < bound:
            break
        if all(abs(int(k) + _SIDE - p) >= 2 * _SIDE for p in found):
            found[int(k) + _SIDE] = float(change[k])
    return found


def _bounds(places: list[int], count: int) -> list[tuple[int, int]]:
    """Parts between the places, without the blocks that may hold a jump."""
    edges = [0, *places, count]
    return [(a + (a > 0), max(b, a + 1 + (a > 0))) for a, b in pairwise(edges)]


def _slope(x: FloatArray, level: FloatArray, places: list[int]) -> float:
    """Median of the slopes between blocks of the same part."""
    slopes = []
    for a, b in _bounds(places, len(level)):
        half = max(1, (b - a) // 2)
        slopes.append((level[a + half : b] - level[a : b - half]) / (x[a + half : b] - x[a : b - half] + 1e-9))
    together = np.concatenate(slopes) if slopes else np.zeros(0)
    return float(np.median(together)) if len(together) else 0.0


def _levels(x: FloatArray, level: FloatArray, places: list[int]) -> list[float]:
    flat = level - _slope(x, level, places) * x
    return [float(np.median(flat[a:b])) for a, b in _bounds(places, len(level))]


def _unsure_end(x: FloatArray, places: list[int]) -> list[int]:
    """The first or last place, where what lies beyond it is too short to say that the change stays."""
    least = max(_SIDE + _GUARD, len(x) // 10)
    for place, count, lasted in (
        (places[0], places[0], x[places[0]] - x[0]),
        (places[-1], len(x) - places[-1], x[-1] - x[places[-1]]),
    ):
        if count <= least or lasted < LEAST_NS:
            return [place]
    return []


def _burst(levels: list[float], places: list[int], count: int) -> list[int]:
    """The ends of a short part that rises from a level and falls back to it."""
    edges = [0, *places, count]
    for i in range(1, len(levels) - 1):
        if edges[i + 1] - edges[i] <= _SHORT * count:
            rise = levels[i] - (levels[i - 1] + levels[i + 1]) / 2
            if abs(levels[i + 1] - levels[i - 1]) < 0.4 * abs(rise):
                return [places[i - 1], places[i]]
    return []


def _insignificant(levels: list[float], found: dict[int, float], level: FloatArray, x: FloatArray) -> list[int]:
    """The place with the least change, where that is within the noise or does not stay."""
    places = sorted(found)
    flat = level - _slope(x, level, places) * x
    rest = np.concatenate([flat[a:b] - m for (a, b), m in zip(_bounds(places, len(level)), levels, strict=True)])
    noise = 1.4826 * float(np.median(np.abs(rest)))
    stays = np.abs(np.diff(levels))
    bound = [max(JUMP_NS, 4 * noise, 0.6 * abs(found[p])) for p in places]
    k = int(np.argmin(stays / bound))
    return [] if stays[k] >= bound[k] else [places[k]]


def refined(y: FloatArray, edge: int, size: int) -> int:
    """The sample at which a jump within the block that begins at `edge` happens: the best two levels about it."""
    low, high = max(0, edge - size), min(len(y), edge + 2 * size)
    part = y[low:high]
    sums = np.cumsum(part)
    left = np.arange(1, len(part))
    right = len(part) - left
    between = np.abs(sums[:-1] / left - (sums[-1] - sums[:-1]) / right) * np.sqrt(left * right)
    return low + int(np.argmax(between)) + 1
