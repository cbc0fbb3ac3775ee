"""What the values of one stream say about their units and meaning; every answer is a sentence, none is a decision."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._samples import Sample

__all__ = ["Columns", "Seen", "constant_runs", "gripper_like", "range_text", "rotations", "seen_ranges", "short"]

PLACEHOLDER = -1.0
MIN_ROWS = 5
TURN = 2 * math.pi
UNIT_NORM = 2e-3
"""Largest deviation of a quaternion's norm from 1; float16 and four decimals stay within."""
MAX_VALUE = 1e12
_SCHEMA = ", and unit: rad in the schema"
_UNIX_S = (946_684_800.0, 4_102_444_800.0)

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Columns:
    """Figures of each element of a stream."""

    values: FloatArray
    """[n, D]; rows with a value that is not finite left out, and none so large that its square overflows."""
    low: FloatArray
    high: FloatArray
    is_constant: NDArray[np.bool_]

    @classmethod
    def of(cls, sample: Sample) -> "Columns":
        """Figures of a sample."""
        values = sample.values[np.isfinite(sample.values).all(axis=1)]
        if not len(values):
            nothing = np.full(sample.values.shape[1], np.nan)
            return cls(values=values, low=nothing, high=nothing, is_constant=np.zeros(len(nothing), dtype=np.bool_))
        low, high = values.min(axis=0), values.max(axis=0)
        return cls(values=np.clip(values, -MAX_VALUE, MAX_VALUE), low=low, high=high, is_constant=low == high)

    @property
    def num_rows(self) -> int:
        """N."""
        return len(self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was seen, and a line of the mapping that it would call for; both are comments."""

    text: str
    proposal: str = ""

    def __str__(self) -> str:
        """Both, as a comment."""
        stop = "" if self.text.endswith("?") else "."
        return f"{self.text}{stop} If so: {self.proposal}" if self.proposal else self.text


def range_text(low: float, high: float) -> str:
    """A range for people."""
    return f"{low:.4g} to {high:.4g}"


def seen_ranges(columns: Columns, angles: Sequence[int], names: Sequence[str], *, is_si: bool) -> list[Seen]:
    """What the ranges of values say about units and placeholders.

    Args:
        columns: Figures of the stream.
        angles: Elements that could be angles: no grippers, no positions in space.
        names: Of all elements.
        is_si: Whether the angles are said to be radians; then only what speaks against it is worth a word.
    """
    if columns.num_rows < MIN_ROWS:
        return []
    found = [*_placeholder(columns, names), *_stamps(columns, names)]
    moving = [i for i in angles if not columns.is_constant[i]]
    if moving:
        seen = _angles(columns, moving, is_si=is_si)
        if seen is not None:
            proposal = f"{_units(angles, names, seen.proposal)}{'' if is_si else _SCHEMA}" if seen.proposal else ""
            found.append(Seen(text=_which(angles, names) + seen.text, proposal=proposal))
    return found


def _which(angles: Sequence[int], names: Sequence[str]) -> str:
    """What a sentence begins with that is about some elements only."""
    others = [n for i, n in enumerate(names) if i not in set(angles)]
    if not others:
        return ""
    return f"all but {short(others)}: " if len(others) < len(angles) else f"{short([names[i] for i in angles])}: "


def _units(angles: Sequence[int], names: Sequence[str], unit: str) -> str:
    """The key `units` of a mapping, for some elements by name."""
    if len(angles) == len(names):
        return f"units: {unit}"
    return f"units: {{{', '.join(f'{names[i]}: {unit}' for i in angles)}}}"


def short(names: Sequence[str]) -> str:
    """The first of many names."""
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _angles(columns: Columns, moving: Sequence[int], *, is_si: bool) -> Seen | None:
    """What the range of elements that could be angles says; the proposal is a unit."""
    low, high = float(columns.low[moving].min()), float(columns.high[moving].max())
    shown = f"{range_text(low, high)} in {columns.num_rows:,} rows"
    values = columns.values[:, moving]
    extent = max(-low, high)
    if extent <= TURN * 1.02:
        if is_si:
            return None
        if low >= -0.01 and 0.5 < high <= 1.01:
            return Seen(text=f"{shown}: a share of a range? Radians fit as well")
        return Seen(text=f"{shown}: radians fit, and so does a share of a range")
    if low >= 0 and 400 < high <= 65_535 and (values == np.round(values)).all():
        ticks = next(n for n in (1024, 4096, 16_384, 65_536) if high < n)
        return Seen(
            text=f"whole numbers, {shown}: ticks of an encoder? Which tick is 0 rad is not known",
            proposal=f"{{ticks_per_turn: {ticks}, zero: {ticks // 2}}}",
        )
    if extent <= 101:
        text = f"{shown}, beyond 2π: degrees, or -100 to 100 of a calibrated range?"
    elif extent <= 400:
        text = f"{shown}, beyond 2π: degrees?"
    else:
        return Seen(text=f"{shown}: neither radians nor degrees within a turn")
    if is_si:
        text = f"{shown}, beyond 2π: degrees, though its type says radians, or a joint that turns on and on?"
    return Seen(text=text, proposal="deg")


def _placeholder(columns: Columns, names: Sequence[str]) -> list[Seen]:
    """-1 in every row, as recorders write for an arm that is not connected."""
    is_absent = columns.is_constant & (columns.low == PLACEHOLDER)
    count = int(is_absent.sum())
    if count == len(names):
        return [
            Seen(
                text=f"-1 in all {columns.num_rows:,} rows: not connected? Then it should not be required either",
                proposal="placeholder: -1",
            )
        ]
    if count < 3:  # one or two could be grippers that stayed at their ends
        return []
    shown = short([names[i] for i in np.flatnonzero(is_absent).tolist()])
    return [
        Seen(
            text=f"{shown} are -1 in all {columns.num_rows:,} rows: an arm that is not connected? "
            "Make them a signal of its own, not required, by select",
            proposal=f"select: {np.flatnonzero(is_absent).tolist()}, placeholder: -1",
        )
    ]


def _stamps(columns: Columns, names: Sequence[str]) -> list[Seen]:
    found = []
    for i in np.flatnonzero((columns.low > _UNIX_S[0]) & (columns.high < _UNIX_S[1])).tolist()[:4]:
        step = "" if not columns.is_constant[i] else ", and never changes: float32 has no room for seconds since 1970"
        found.append(Seen(text=f"{names[i]} looks like Unix time in seconds{step}"))
    return found


def constant_runs(columns: Columns, names: Sequence[str]) -> str:
    """A sentence on elements that never change; empty where all do."""
    if columns.num_rows < MIN_ROWS:
        return ""
    still = np.flatnonzero(columns.is_constant & (columns.low != PLACEHOLDER))
    if not len(still):
        return ""
    if len(still) == len(names):
        return f"nothing in it changes in {columns.num_rows:,} rows"
    shown = short([f"{names[i]} = {columns.low[i] + 0.0:.4g}" for i in still.tolist()])
    return f"never changes in {columns.num_rows:,} rows: {shown}"


def rotations(columns: Columns) -> list[tuple[str, int]]:
    """Quaternions and 6D rotations by their norm: convention and first element, those that don't overlap."""
    values, found, start = columns.values, list[tuple[str, int]](), 0
    if columns.num_rows < MIN_ROWS:
        return []
    width = values.shape[1]
    while start + 4 <= width:
        if start + 6 <= width and _is_6d(columns, start):
            found.append(("rotation_6d", start))
            start += 6
        elif _is_quaternion(columns, start):
            found.append(("quaternion", start))
            start += 4
        else:
            start += 1
    return found


def _is_quaternion(columns: Columns, start: int) -> bool:
    part = columns.values[:, start : start + 4]
    moving = ~columns.is_constant[start : start + 4]
    if moving.sum() < 2:
        return False
    norm = np.sqrt((part**2).sum(axis=1))
    return bool((np.abs(norm - 1) < UNIT_NORM).all())


def _is_6d(columns: Columns, start: int) -> bool:
    first, second = columns.values[:, start : start + 3], columns.values[:, start + 3 : start + 6]
    if (~columns.is_constant[start : start + 6]).sum() < 3 or np.abs(columns.values[:, start : start + 6]).max() > 2:
        return False
    norms = np.abs(np.stack([(first**2).sum(axis=1), (second**2).sum(axis=1)]) - 1)
    return bool((norms < UNIT_NORM).all() and (np.abs((first * second).sum(axis=1)) < UNIT_NORM).all())


def gripper_like(columns: Columns, index: int) -> str:
    """A sentence where an unnamed element opens and closes like a gripper; empty where not."""
    if columns.num_rows < MIN_ROWS or columns.is_constant[index]:
        return ""
    values = columns.values[:, index]
    levels = np.unique(values)
    if len(levels) == 2 and tuple(levels) in {(0, 1), (-1, 1)}:
        return f"two values only, {levels[0]:.4g} and {levels[1]:.4g}: a gripper's command?"
    low, high = float(levels[0]), float(levels[-1])
    is_share = -0.1 <= low <= 0.1 and 0.9 <= high <= 1.1
    is_signed = -1.1 <= low <= -0.9 and 0.9 <= high <= 1.1
    if (is_share or is_signed) and len(values) >= 20:
        margin = 0.1 * (high - low)
        if float(((values < low + margin) | (values > high - margin)).mean()) > 0.6:
            return f"mostly near {low:.4g} or {high:.4g}: a gripper?"
    return ""
