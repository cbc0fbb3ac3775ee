"""Stamps out of HDF5 datasets: whole nanoseconds, and whether they are a clock at all."""

import re
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError
from ..text import printable
from ..units import Clock
from ._hdf5 import Hdf5File

__all__ = ["CLOCKS", "NS_PER_UNIT", "Times", "clock_problem", "is_named_time", "read_times", "to_ns"]

Int64Array = NDArray[np.int64]

NS_PER_UNIT = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
CLOCKS = {"unix": Clock.UNIX, "monotonic": Clock.MONOTONIC, "simulated": Clock.SIMULATED}

_NAME = re.compile(r"(?:.*[_.])?(?:t|time|times|timestamp|timestamps|stamp|stamps)(?:_(ns|us|ms|s|sec|nsec))?")
_UNITS = {"sec": "s", "nsec": "ns"}
_UNIX_FROM, _UNIX_TO = 10**18, 41 * 10**17
"""September 2001 to the end of 2099, in ns."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Times:
    """Stamps of the rows of some datasets."""

    path: str
    """Of the dataset that holds them; what `clock_choice` says."""
    time_ns: Int64Array
    clock: Clock
    notes: tuple[str, ...] = ()


def is_named_time(name: str) -> bool:
    """Whether the last part of a path is a name of stamps: `t`, `timestamp`, `joint_time`, `time_ns`, …."""
    return _NAME.fullmatch(name.rpartition("/")[2].casefold()) is not None


def read_times(file: Hdf5File, path: str, field: str | None, unit: str, clock: str) -> Times:
    """Read stamps, exact where they are whole numbers, else to the nearest nanosecond.

    Args:
        file: Open.
        path: The dataset.
        field: Of records.
        unit: s, ms, us or ns; empty: what the name ends with, else seconds where the numbers are no whole ones.
        clock: unix, monotonic or simulated; empty: unix where the stamps lie between 2001 and 2100, else monotonic.

    Raises:
        SourceError: The dataset is missing or damaged, or its stamps are no clock; with the reason.
    """
    shown = printable(path) + (f".{printable(field)}" if field else "")
    where = f"{file.name}: {shown}"
    values = file.numbers(path, field=field)
    if values.size != len(values):
        raise SourceError(f"{where} has {values.size // max(1, len(values))} values in a row; stamps must have one")
    values = values.reshape(-1)
    notes = []
    found = _NAME.fullmatch((field or path.rpartition("/")[2]).casefold())
    if not unit and found and found[1]:
        unit = _UNITS.get(found[1], found[1])
    if not unit:
        if values.dtype.kind in "biu":
            raise SourceError(f"{where} is {values.dtype} and nothing says its unit; say options.time_unit")
        unit = "s"
        notes.append(f"{shown} is {values.dtype} and nothing says its unit: seconds (options.time_unit)")
    problem = clock_problem(values, NS_PER_UNIT[unit])
    if problem:
        raise SourceError(f"{where} {problem}; options.time: none takes rows as steps")
    time_ns = to_ns(values, NS_PER_UNIT[unit], where)
    chosen, reason = CLOCKS.get(clock), "as options.clock says"
    if chosen is None:
        is_unix = len(time_ns) > 0 and time_ns.min() >= _UNIX_FROM and time_ns.max() < _UNIX_TO
        chosen = Clock.UNIX if is_unix else Clock.MONOTONIC
        reason = (
            "for the stamps lie between 2001 and 2100" if is_unix else "for the stamps are no dates of this century"
        )
    notes.append(f"time: {shown} in {unit}, clock {chosen} {reason}")
    return Times(path=shown, time_ns=time_ns, clock=chosen, notes=(*notes, *_order_notes(time_ns, shown)))


def to_ns(values: NDArray[np.generic], factor: int, where: str) -> Int64Array:
    """Stamps in a unit of `factor` nanoseconds as whole ones; of fractions the nearest.

    Raises:
        SourceError: One is not finite, or beyond the range of int64.
    """
    if values.dtype.kind not in "iuf":
        raise SourceError(f"{where} is {values.dtype}; stamps must be numbers")
    if not np.isfinite(values).all():
        raise SourceError(f"{where} is not finite at row {int(np.argmin(np.isfinite(values)))}")
    if len(values) and max(abs(int(values.min())), abs(int(values.max()))) >= 2**63 // factor - 1:
        raise SourceError(f"{where} has stamps beyond the range of int64 nanoseconds")
    if values.dtype.kind in "iu":
        exact: Int64Array = values.astype(np.int64) * factor
        return exact
    numbers = values.astype(np.float64)
    whole = np.floor(numbers)  # exact, and so is what is left of it
    rest = (numbers - whole) * factor
    found: Int64Array = whole.astype(np.int64) * factor + np.rint(rest).astype(np.int64)
    # Near a half the rounded product may be off by one: those few once more in whole numbers.
    for i in np.flatnonzero(np.abs(rest - np.floor(rest) - 0.5) < 1e-6):
        found[i] = round(Fraction(float(numbers[i])) * factor)
    return found


def clock_problem(values: NDArray[np.generic], factor: int) -> str:
    """Why numbers are no clock: all equal, or a float too coarse for the rows; empty where they are one."""
    if len(values) < 2 or values.dtype.kind not in "iuf":
        return ""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return ""  # said where the rows are known
    num_different = len(np.unique(values))
    if values.dtype.kind == "f" and values.dtype.itemsize <= 4:
        step = float(np.spacing(np.abs(values).max())) * factor
        span = abs(float(values[-1]) - float(values[0])) * factor
        if step > span / (len(values) - 1):
            return (
                f"is {values.dtype}, which counts in steps of {step / 1e9:g} s at {float(values[0]):.10g}: its "
                f"{len(values)} rows share {num_different} stamps, which are no clock"
            )
    if num_different == 1:
        return f"is the same in all {len(values)} rows: no time was recorded"
    return ""


def _order_notes(time_ns: Int64Array, shown: str) -> list[str]:
    steps = np.diff(time_ns)
    equal, backward = int((steps == 0).sum()), int((steps < 0).sum())
    notes = [f"{shown} repeats the stamp of the row before in {equal} of {len(time_ns)} rows"] if equal else []
    return [*notes, f"{shown} goes backward {backward} times"] if backward else notes
