"""Values that stand at a limit, or at a flat top of their own."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..embodiment import Dimension
from ..units import Mode
from ._look import Numbers, runs
from ._motion import POSITIONS, SPEEDS, is_switch

__all__ = ["Clipped", "clipped"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

TOLERANCE = 1e-3
"""Share of the range that counts as at the limit."""
MIN_SAMPLES = 20
"""Fewer don't show how values are spread."""
LEAST_VALUES = 5
"""A column of fewer different values is a switch: it stands at its ends by nature."""
TOP_VALUES = 20
"""A flat top is the cut of many values; keyboards and joysticks with few stand at their ends by nature."""
MIN_RUNS = 3
"""Times that a target must be cut at the same value: a lift to the same height comes once or twice."""
FLICKER = 1.5
"""Smallest changes of a column that are more than one step of its encoder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clipped:
    """A column that stands at one value."""

    column: int
    value: float
    count: int
    """Samples there, of those at which the signal moves."""
    longest: tuple[int, int]
    """Rows of the longest run, half-open."""
    is_limit: bool
    """Whether it is the schema's limit; else its own extreme value."""


def clipped(seen: Numbers, least: float) -> list[Clipped]:
    """Find columns that stand at a limit for a share of the samples.

    Only samples count that differ from the one before in any dimension: a robot may rest where it wants.
    """
    total = len(seen.values)
    columns = [c for c, d in enumerate(seen.signal.dimensions) if _can_be_cut(d, is_action=seen.is_action)]
    if total < MIN_SAMPLES or not columns:
        return []
    moves = np.append(True, (seen.values[1:] != seen.values[:-1]).any(axis=1))
    if seen.values.shape[1] == 1:
        moves[:] = True
    found: list[Clipped] = []
    values = seen.values[:, columns]
    for place, bounds, is_limit in (*_limits(seen, columns), *_tops(values)):
        at = (np.abs(values[:, place] - bounds[0]) <= bounds[1]) & moves
        count = int(at.sum())
        if count < max(least * total, 1) or any(c.column == columns[place] for c in found):
            continue
        column, spans = values[:, place], runs(at)
        enough = LEAST_VALUES if is_limit else TOP_VALUES
        if len(np.unique(column)) < enough or not (is_limit or _is_cut(column, spans, seen, columns[place])):
            continue
        longest = max(spans, key=lambda r: r[1] - r[0])
        found.append(Clipped(column=columns[place], value=bounds[0], count=count, longest=longest, is_limit=is_limit))
    return found


def _can_be_cut(dimension: Dimension, *, is_action: bool) -> bool:
    if is_switch(dimension):
        return False
    return dimension.kind in POSITIONS | SPEEDS if not is_action else True


def _limits(seen: Numbers, columns: list[int]) -> list[tuple[int, tuple[float, float], bool]]:
    """Limits of the schema that are reached at all: place among the columns, value and tolerance."""
    found = []
    for place, column in enumerate(columns):
        limits = seen.signal.dimensions[column].limits
        if limits is not None:
            near = TOLERANCE * (limits[1] - limits[0])
            found += [(place, (limit, near), True) for limit in limits]
    return found


def _tops(values: FloatArray) -> list[tuple[int, tuple[float, float], bool]]:
    """Extreme values that come again, but zero, where commands rest."""
    found = []
    for extreme in (values.max(axis=0), values.min(axis=0)):
        again = ((values == extreme).sum(axis=0) >= MIN_RUNS) & (extreme != 0)
        found += [(int(place), (float(extreme[place]), 0.0), False) for place in np.flatnonzero(again)]
    return found


def _is_cut(column: FloatArray, spans: list[tuple[int, int]], seen: Numbers, index: int) -> bool:
    """Whether values run into a flat top at full speed: what comes to rest there slows down before."""
    changes = np.abs(np.diff(column))
    # An encoder that rests between two of its steps flickers: one step is no speed.
    fast = max(changes[changes > 0].mean() / 2, FLICKER * changes[changes > 0].min())
    inner = [(a, b) for a, b in spans if a >= 2 and b <= len(column) - 2]
    sharp = [max(changes[a - 1], changes[a - 2]) > fast for a, _ in inner]
    sharp += [max(changes[b - 1], changes[b]) > fast for _, b in inner]
    is_place = seen.signal.dimensions[index].mode in {None, Mode.ABSOLUTE}
    return len(inner) >= (MIN_RUNS if is_place else 1) and float(np.mean(sharp)) >= 0.5
