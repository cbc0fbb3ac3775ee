"""Normalization: each dimension's usual range becomes -1 to 1, and back.

In every mode the value `low` becomes -1 and `high` becomes 1:

    normalized = 2 (x - low) / (high - low) - 1        x = (normalized + 1) / 2 (high - low) + low

There is no epsilon: a range below the floor is widened about its middle to the floor, so that a constant dimension
becomes 0 and comes back as it was. Trainers that add 1e-8 or 1e-6 to the range differ by that much.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import TokenizeError
from ..units import Kind, Unit
from .plain import from_plain, to_plain

if TYPE_CHECKING:
    # What a robot does not need, and of which embodiments are slow to import.
    from ..embodiment import Dimension
    from .statistics import Statistics

__all__ = ["FLOOR", "Normalization", "NormalizationMode", "passes_through"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

FLOOR = 1e-4
"""Smallest range of a dimension, in its unit: a tenth of a millimetre, 0.006 degrees."""

_SWITCHES = frozenset({Kind.GRIPPER_APERTURE, Kind.GRIPPER_COMMAND, Kind.TERMINATE})


class NormalizationMode(StrEnum):
    """What becomes -1 and 1."""

    QUANTILE = "quantile"
    """The 1 % and 99 % quantiles; what lies outside is clipped."""
    MIN_MAX = "min_max"
    """The smallest and the largest value; what lies outside is clipped."""
    MEAN_STD = "mean_std"
    """One standard deviation below and above the mean; nothing is clipped here."""
    NONE = "none"
    """Values pass through."""


def passes_through(dimension: "Dimension") -> bool:
    """Whether a dimension is left as it is by default.

    True for grippers and terminate flags that are pure numbers and whose declared limits, or open and closed values,
    lie within -1 to 1: they have their scale already. A gripper in metres or radians is normalized like all others.
    """
    if dimension.kind not in _SWITCHES or dimension.unit is not Unit.ONE:
        return False
    if dimension.limits is not None:
        ends: tuple[float | None, ...] = dimension.limits
    elif dimension.kind is Kind.TERMINATE:
        ends = (0.0, 1.0)
    else:
        ends = (dimension.open_value, dimension.closed_value)
    return all(end is not None and -1.0 <= end <= 1.0 for end in ends)


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalization:
    """Between physical units and about -1 to 1, per dimension, [D]."""

    mode: NormalizationMode
    low: tuple[float, ...]
    """What becomes -1, in physical units; of no effect where `mask` is false."""
    high: tuple[float, ...]
    """What becomes 1."""
    mask: tuple[bool, ...]
    """False: the dimension passes through unchanged, both ways."""
    clip: bool
    """Whether normalized values are clipped to -1 to 1; never those that pass through."""
    floor: float = FLOOR
    floored: tuple[bool, ...]
    """True where the range was below the floor and was widened to it."""

    def __post_init__(self) -> None:
        dims = len(self.low)
        if not len(self.high) == len(self.mask) == len(self.floored) == dims:
            raise TokenizeError("low, high, mask and floored have different lengths; must have one value per dimension")
        for low, high in zip(self.low, self.high, strict=True):
            if not (np.isfinite(high - low) and low < high):
                raise TokenizeError(f"range is {low} to {high}; must be finite, the first less than the second")

    @classmethod
    def fit(
        cls,
        statistics: "Statistics",
        mode: NormalizationMode = NormalizationMode.QUANTILE,
        mask: Sequence[bool] | None = None,
        floor: float = FLOOR,
    ) -> Self:
        """Build from statistics of the represented targets.

        Args:
            statistics: Of the train split.
            mode: What becomes -1 and 1.
            mask: False where a dimension passes through; None: all are normalized. See `passes_through`.
            floor: Smallest range of a dimension, in its unit.

        Raises:
            TokenizeError: The mask has another length, or the floor is not positive.
        """
        dims = len(statistics.names)
        used = (True,) * dims if mask is None else tuple(bool(m) for m in mask)
        if len(used) != dims:
            raise TokenizeError(f"mask has {len(used)} values; there are {dims} dimensions")
        if not (np.isfinite(floor) and floor > 0):
            raise TokenizeError(f"floor is {floor}; must be positive")
        if mode is NormalizationMode.NONE:
            low, high, used = np.full(dims, -1.0), np.full(dims, 1.0), (False,) * dims
        elif mode is NormalizationMode.MEAN_STD:
            mean, std = np.array(statistics.mean), np.array(statistics.std)
            low, high = mean - std, mean + std
        elif mode is NormalizationMode.MIN_MAX:
            low, high = np.array(statistics.min), np.array(statistics.max)
        else:
            low, high = np.array(statistics.q01), np.array(statistics.q99)
        floored = (high - low < floor) & np.array(used)
        middle = low + (high - low) / 2.0
        low, high = np.where(floored, middle - floor / 2.0, low), np.where(floored, middle + floor / 2.0, high)
        # A range of a dimension that passes through has no effect, but must be one.
        idle = ~np.array(used)
        low, high = np.where(idle, -1.0, low), np.where(idle, 1.0, high)
        return cls(
            mode=mode,
            low=tuple(float(v) for v in low),
            high=tuple(float(v) for v in high),
            mask=used,
            clip=mode in {NormalizationMode.QUANTILE, NormalizationMode.MIN_MAX},
            floor=floor,
            floored=tuple(bool(v) for v in floored),
        )

    @classmethod
    def from_dict(cls, state: Mapping[str, object]) -> Self:
        """Build from what `to_dict` gave.

        Raises:
            TokenizeError: Something is missing, of another type or out of range.
        """
        return from_plain(cls, state, "normalization")

    def to_dict(self) -> dict[str, object]:
        """All fields as JSON values."""
        return to_plain(self)

    @property
    def dims(self) -> int:
        """D."""
        return len(self.low)

    @property
    def scale(self) -> FloatArray:
        """Physical units per normalized unit, [D]; 1 where a dimension passes through."""
        return np.where(self.mask, (np.array(self.high) - np.array(self.low)) / 2.0, 1.0)

    def _checked(self, values: ArrayLike) -> FloatArray:
        array = np.asarray(values, dtype=np.float64)
        if array.ndim == 0 or array.shape[-1] != self.dims:
            raise TokenizeError(f"values are {list(array.shape)}; must be [..., {self.dims}]")
        return array

    def apply(self, values: ArrayLike, *, clip: bool | None = None) -> FloatArray:
        """Normalize.

        Args:
            values: In physical units, [..., D]; NaN stays NaN.
            clip: Whether to clip; None: as `self.clip` says.

        Raises:
            TokenizeError: The last axis is not D.
        """
        array = self._checked(values)
        low, high = np.array(self.low), np.array(self.high)
        normalized: FloatArray = array - low
        # Divided before it is doubled: low gives exactly -1, high exactly 1, and nothing between them leaves the range.
        normalized /= high - low
        normalized *= 2.0
        normalized -= 1.0
        if self.clip if clip is None else clip:
            np.clip(normalized, -1.0, 1.0, out=normalized)
        if not all(self.mask):
            np.copyto(normalized, array, where=~np.array(self.mask))
        return normalized

    def invert(self, normalized: ArrayLike) -> FloatArray:
        """Bring normalized values back to physical units, [..., D]; never clips.

        Raises:
            TokenizeError: The last axis is not D.
        """
        array = self._checked(normalized)
        low, high = np.array(self.low), np.array(self.high)
        values = array + 1.0
        values /= 2.0
        values *= high - low
        values += low
        if not all(self.mask):
            np.copyto(values, array, where=~np.array(self.mask))
        return values

    def is_clipped(self, values: ArrayLike) -> BoolArray:
        """True where `apply` clips, in the shape of the values."""
        array = self._checked(values)
        if not self.clip:
            return np.zeros(array.shape, dtype=np.bool_)
        is_outside: BoolArray = np.array(self.mask) & ((array < np.array(self.low)) | (array > np.array(self.high)))
        return is_outside
