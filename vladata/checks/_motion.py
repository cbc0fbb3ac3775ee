"""What checks of motion share: dimensions whose values are places, what a unit makes of a threshold, noise."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..embodiment import Dimension, Signal
from ..episode import Episode
from ..units import Clock, Kind, Mode, RotationConvention, Unit
from ._look import Numbers
from ._memory import remembered

__all__ = [
    "FILLERS",
    "GRIPPERS",
    "MOST_ROWS",
    "POSITIONS",
    "SPEEDS",
    "elapsed_s",
    "is_place",
    "is_switch",
    "period_s",
    "places",
    "sizes",
    "spread",
    "take",
    "turns",
    "updates",
    "used_range",
]

FloatArray = NDArray[np.float64]

GRIPPERS = frozenset({Kind.GRIPPER_APERTURE, Kind.GRIPPER_COMMAND})
POSITIONS = frozenset({Kind.JOINT_POSITION, Kind.POSITION, Kind.ROTATION})
SPEEDS = frozenset({Kind.JOINT_VELOCITY, Kind.LINEAR_VELOCITY, Kind.ANGULAR_VELOCITY})
FILLERS = frozenset({Kind.PADDING, Kind.TERMINATE})
MOST_ROWS = 300
"""Differences that noise is measured by; of more, evenly chosen ones."""


def is_place(signal: Signal, dimension: Dimension) -> bool:
    """Whether the difference of two values is a distance: not of deltas, nor of rotations but Euler angles."""
    if dimension.mode not in {None, Mode.ABSOLUTE} or dimension.kind not in POSITIONS:
        return False
    return dimension.kind is not Kind.ROTATION or signal.rotation is RotationConvention.EULER_XYZ


def is_switch(dimension: Dimension) -> bool:
    """Whether a dimension rests at its ends by nature: grippers, fingers with an open value, fillers."""
    ends = dimension.open_value is not None or dimension.closed_value is not None
    return ends or dimension.kind in GRIPPERS | FILLERS


def turns(signal: Signal, dimension: Dimension) -> bool:
    """Whether a value and the same plus a whole turn mean the same: Euler angles, and joints without limits."""
    if dimension.unit is not Unit.RADIAN or not is_place(signal, dimension):
        return False
    return dimension.kind is Kind.ROTATION or (dimension.kind is Kind.JOINT_POSITION and dimension.limits is None)


@remembered
def places(_: Episode, seen: Numbers) -> tuple[list[int], FloatArray]:
    """Columns that are places and their values, [n, C]; angles run on where they wrap.

    What is not finite is the value before it: `values.finite` speaks of it.
    """
    dimensions = seen.signal.dimensions
    columns = [c for c, d in enumerate(dimensions) if is_place(seen.signal, d)]
    values = take(seen.values, columns)
    # A sum is finite only if all are, and costs a third.
    if not np.isfinite(values.sum()):
        values = _filled(values)
    turning = [i for i, c in enumerate(columns) if turns(seen.signal, dimensions[c])]
    wrapped = turning and np.abs(np.diff(values[:, turning], axis=0)).max(initial=0.0) > np.pi
    if wrapped and np.abs(values[:, turning]).max() < 1e6:  # else no angle, and beyond the precision of a turn
        values = values.copy()
        values[:, turning] = np.unwrap(values[:, turning], axis=0)
    return columns, values


def _filled(values: FloatArray) -> FloatArray:
    known = np.isfinite(values)
    rows = np.where(known, np.arange(len(values))[:, None], 0)
    first = np.argmax(known, axis=0)
    rows = np.maximum(np.maximum.accumulate(rows, axis=0), first)
    return np.nan_to_num(np.take_along_axis(values, rows, axis=0), nan=0.0, posinf=0.0, neginf=0.0)


def take(values: FloatArray, columns: Sequence[int]) -> FloatArray:
    """Some columns; neighbours are not copied."""
    if columns and columns[-1] - columns[0] == len(columns) - 1:
        return values[:, columns[0] : columns[-1] + 1]
    return values[:, list(columns)]


def sizes(
    dimensions: Sequence[Dimension], values: FloatArray, *, angle: float, length: float, part: float
) -> FloatArray:
    """A threshold in the unit of each dimension, [C].

    Args:
        dimensions: C of them.
        values: [n, C], whose range counts where the schema says nothing.
        angle: For radians, and for the numbers of a rotation.
        length: For metres.
        part: Of the range, for pure numbers.
    """
    found = []
    for i, dimension in enumerate(dimensions):
        if dimension.unit is Unit.RADIAN or dimension.kind is Kind.ROTATION:
            found.append(angle)
        elif dimension.unit is Unit.METRE and dimension.kind not in GRIPPERS:
            found.append(length)
        else:
            found.append(part * used_range(dimension, values[:, i]))
    return np.array(found, dtype=np.float64)


def used_range(dimension: Dimension, values: FloatArray) -> float:
    """From closed to open, or between the limits, or what the values use."""
    if dimension.open_value is not None and dimension.closed_value is not None:
        return abs(dimension.open_value - dimension.closed_value)
    if dimension.limits is not None:
        return dimension.limits[1] - dimension.limits[0]
    known = values[np.isfinite(values)]
    return float(np.ptp(known)) if len(known) else 0.0


def spread(values: FloatArray) -> FloatArray:
    """Standard deviation of the noise of columns, [n, C] to [C], where they move least.

    The lower quartile of the fourth differences: of a smooth motion they leave little, and of one that is not, a
    quarter may be as rough as it likes three times over.
    """
    if len(values) < 8:
        return np.zeros(values.shape[1])
    fourth = np.diff(values, 4, axis=0)
    fourth = np.abs(fourth[:: max(1, len(fourth) // MOST_ROWS)])
    quarter = len(fourth) // 4
    # The coefficients 1, -4, 6, -4, 1 have 70 as the sum of their squares; 0.3186 is the normal distribution's.
    return np.asarray(np.partition(fourth, quarter, axis=0)[quarter] / (0.3186 * np.sqrt(70.0)))


def updates(values: FloatArray) -> tuple[NDArray[np.intp], int]:
    """Rows that differ from the one before, and how many rows they are apart: of a slow sensor more than one."""
    if len(values) == 0:
        return np.zeros(0, dtype=np.intp), 1
    rows = np.flatnonzero(np.append(True, (values[1:] != values[:-1]).any(axis=1)))
    return rows, max(1, int(np.median(np.diff(rows)))) if len(rows) > 1 else 1


def elapsed_s(seen: Numbers, rate_hz: float) -> FloatArray:
    """Time of each sample since the first, never back; on a nominal clock by the schema's rate, [n]."""
    if seen.stream.clock is Clock.NOMINAL:
        return np.asarray(np.arange(len(seen.values)) / rate_hz, dtype=np.float64)
    return np.maximum.accumulate((seen.time_ns - seen.time_ns[:1]).astype(np.float64) / 1e9)


def period_s(seen: Numbers, rate_hz: float) -> float:
    """Seconds between samples: the median interval, on a nominal clock the schema's; 0 where there is none."""
    if seen.stream.clock is Clock.NOMINAL:
        return 1.0 / rate_hz
    intervals = np.diff(seen.time_ns)
    intervals = intervals[intervals > 0]
    return float(np.median(intervals)) / 1e9 if len(intervals) else 0.0
