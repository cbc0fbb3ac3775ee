"""What is shown beside a finding: curves, frames, words."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Evidence", "FloatArray", "Levels", "Panel", "Picture"]

FloatArray = NDArray[np.float64]
Levels = tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panel:
    """One curve."""

    label: str
    unit: str
    x: FloatArray
    """[n], rising where the stamps do."""
    y: FloatArray
    """[n]; not finite where the recording is not."""
    levels: Levels = ()
    """Values to mark, and what they are together: `limits`."""
    is_dotted: bool = False
    """True where samples are not joined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One frame, reduced."""

    caption: str
    jpeg: bytes = b""
    """Empty where it can't be decoded; the caption says why."""
    height: int = 0
    width: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """What is shown beside a finding."""

    title: str = ""
    x_label: str = ""
    span: tuple[float, float] = (0.0, 0.0)
    """First and last x of the panels."""
    shaded: tuple[float, float] | None = None
    """Where the finding's steps lie, in x."""
    panels: tuple[Panel, ...] = ()
    pictures: tuple[Picture, ...] = ()
    drawing: str = ""
    """The panels as SVG: they are drawn where they were read."""
    note: str = ""
    """What is left out, or why there is nothing to see."""
