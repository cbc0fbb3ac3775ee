"""Stamps out of a table's column: which column, which unit, and whether it holds a time at all."""

import re
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal

import numpy as np
from numpy.typing import NDArray

from .. import workers
from ..errors import SourceError
from ..text import clip, printable
from ..units import Clock
from ._tables import ParquetTable, Table
from ._text_tables import MISSING

__all__ = ["CLOCKS", "NS_PER_UNIT", "Stamps", "find_time", "parse_stamps", "table_stamps", "time_columns"]

Int64Array = NDArray[np.int64]

NS_PER_UNIT = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
CLOCKS = {"unix": Clock.UNIX, "monotonic": Clock.MONOTONIC}

_UNIT_NAMES = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("ms", "msec", "millis", "milliseconds"), "ms"),
    **dict.fromkeys(("us", "usec", "micros", "microseconds"), "us"),
    **dict.fromkeys(("ns", "nsec", "nanos", "nanoseconds"), "ns"),
}
_TIME_NAME = re.compile(
    r"(?:t|ts|time|timestamp|time_stamp|stamp|datetime|elapsed|elapsed_time|t_rel|rel_t|time_rel|rel_time|relative_time"
    rf"|unix_time|unix_timestamp|epoch|wall_time|utc)(?:[ _.]?[(\[]?(?<=[ _.(\[])({'|'.join(_UNIT_NAMES)})[)\]]?)?"
)
_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,18}))?\s?(Z|UTC|[+-]\d\d:?\d\d)?", re.ASCII | re.IGNORECASE
)
_DECIMAL = re.compile(r"[+-]?(?:\d{1,30}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE][+-]?\d{1,2})?", re.ASCII)
_EXACT = Context(prec=120, rounding=ROUND_HALF_EVEN)
_UNIX_FROM, _UNIX_TO = 10**18, 41 * 10**17  # September 2001 to the end of 2099, in ns
_MAX_PLAIN_SECONDS = 10**11
_FLOAT32_STEP_NS = 128 * 10**9  # of numbers around 1.7e9
_BATCH = 4096


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stamps:
    """Stamps of a table's rows."""

    time_ns: Int64Array
    """Of the rows that have one, in the recorded order, [N]."""
    rows: NDArray[np.int64] | None
    """Which rows these are, where some have none; None: all."""
    clock: Clock
    column: str
    unit: str
    """`s`, `ms`, `us`, `ns`, or `text` (date and time) or `type` (the column's type says it)."""
    notes: tuple[str, ...]


def find_time(table: Table, wanted: str) -> tuple[str, str]:
    """The column that holds the stamps.

    Args:
        table: Its columns' names are looked at.
        wanted: The mapping's option: a column, or several separated by commas, of which the first that is there
            counts; empty: the only column whose name says time.

    Returns:
        The column's name, and how it was found.

    Raises:
        SourceError: There is none, or more than one; with the columns there are.
    """
    shown = clip(printable(", ".join(table.columns)), 300)
    if wanted:
        names = [wanted, *(n.strip() for n in wanted.split(","))]
        found = next((n for n in names if n in table.columns), None)
        if found is None:
            raise SourceError(f"{table.name}: no column {printable(wanted)!r} for options.time; there are {shown}")
        return found, "named by options.time"
    named = time_columns(table)
    if not named:
        raise SourceError(
            f"{table.name}: no column is named like a time; say options.time: <column>, or options.time: none where "
            f"no time was recorded; there are {shown}"
        )
    if len(named) > 1:
        raise SourceError(
            f"{table.name}: {len(named)} columns are named like a time ({clip(printable(', '.join(named)), 200)}); "
            "say which with options.time"
        )
    return named[0], "found by its name"


def time_columns(table: Table) -> list[str]:
    """Columns whose names say time: `t`, `timestamp`, `time_s`, `t_rel_s`, `time (ms)` and their kin."""
    return [c for c in table.columns if _unit_of_name(c) is not None]


def _unit_of_name(column: str) -> str | None:
    """Unit that a time column's name says, empty where it says none; None where it is no time's name."""
    found = _TIME_NAME.fullmatch(column.strip().casefold())
    if found is None:
        return None
    return _UNIT_NAMES[found[1]] if found[1] else ""


def table_stamps(table: Table, column: str, unit: str, clock: str) -> Stamps:
    """Stamps of a loaded column as whole nanoseconds, exact to the last digit that is written.

    Args:
        table: With the column loaded.
        column: Its name.
        unit: The mapping's option: s, ms, us or ns; empty: what the column's name or type says, else seconds where
            the numbers have a decimal point.
        clock: The mapping's option: unix or monotonic; empty: unix where a time zone is written or the stamps lie
            between 2001 and 2100.

    Raises:
        SourceError: A stamp that is none, a unit that nobody says, or stamps that are all equal or float32 Unix time.
    """
    where = f"{table.name}: {printable(column)}"
    by_type: Clock | None = None
    if isinstance(table, ParquetTable):
        typed = _parquet_stamps(table, column, unit or _unit_of_name(column) or "", where)
        if typed is None:
            time_ns, rows, unit_found, notes = parse_stamps(
                table.texts(column) or [], unit or _unit_of_name(column) or "", where
            )
        else:
            time_ns, rows, unit_found, by_type, notes = typed
    else:
        texts = (t for piece in table.cells(column) for t in piece.to_pylist())
        time_ns, rows, unit_found, notes = parse_stamps(texts, unit or _unit_of_name(column) or "", where)
    if unit_found == "zone":
        unit_found, by_type = "text", Clock.UNIX
    elif unit_found == "text":
        by_type = Clock.MONOTONIC
    if len(time_ns) == 0:
        raise SourceError(f"{where} has no stamps in {table.count} rows")
    chosen, reason = _clock(time_ns, clock, by_type)
    if by_type is Clock.MONOTONIC and not clock:
        notes.append(
            f"{where} names no time zone: its clock counts as {chosen}; say options.clock: unix where it is UTC"
        )
    _refuse_no_time(time_ns, chosen, where)
    notes.append(f"time: {where}, in {_UNIT_TEXTS.get(unit_found, unit_found)}, clock {chosen} ({reason})")
    notes += _order_notes(time_ns, where)
    if rows is not None:
        notes.append(f"{where} is empty in {table.count - len(rows)} of {table.count} rows, which are left out")
    return Stamps(time_ns=time_ns, rows=rows, clock=chosen, column=column, unit=unit_found, notes=tuple(notes))


_UNIT_TEXTS = {"text": "dates and times", "type": "the column's own type"}


def parse_stamps(texts: Iterable[str], unit: str, where: str) -> tuple[Int64Array, Int64Array | None, str, list[str]]:
    """Stamps as they are written, as nanoseconds.

    Args:
        texts: Decimal numbers, or dates with times (ISO 8601).
        unit: s, ms, us or ns; empty: nobody says.
        where: For errors.

    Returns:
        Stamps of the rows that have one; these rows, or None for all; the unit, `text` for dates or `zone` for dates
        with a time zone; and notes.

    Raises:
        SourceError: A stamp that is none or out of range, or a unit that nobody says.
    """
    found, rows = array("q"), array("q")
    count = num_rounded = 0
    kinds: set[str] = set()
    notes: list[str] = []
    for count, raw in enumerate(texts, 1):
        text = raw.strip()
        if count % _BATCH == 0:
            workers.beat()
        if text.casefold() in MISSING:
            continue
        if _DECIMAL.fullmatch(text):
            unit = unit or _plain_unit(text, where, notes)
            exact = _EXACT.multiply(Decimal(text), NS_PER_UNIT[unit])
            stamp = int(exact.to_integral_value(ROUND_HALF_EVEN))
            num_rounded += exact != stamp
            kinds.add(unit)
        else:
            stamp, kind, is_rounded = _date(text, where, count - 1)
            num_rounded += is_rounded
            kinds.add(kind)
        if abs(stamp) >= 2**63:
            raise SourceError(
                f"{where} is {clip(printable(text), 60)} at row {count - 1}; beyond the range of int64 ns"
            )
        found.append(stamp)
        rows.append(count - 1)
    if len(kinds) > 1:
        raise SourceError(f"{where} mixes stamps in {' and '.join(sorted(kinds))}; must be of one kind")
    if num_rounded:
        notes.append(f"{where} has more digits than nanoseconds in {num_rounded} rows: rounded to the nearest")
    time_ns = np.array(found, dtype=np.int64)
    return time_ns, np.array(rows, dtype=np.int64) if len(rows) < count else None, kinds.pop() if kinds else "", notes


def _plain_unit(text: str, where: str, notes: list[str]) -> str:
    """Seconds for numbers with a decimal point; no unit is made up for whole numbers."""
    if "." in text and abs(Decimal(text)) < _MAX_PLAIN_SECONDS:
        notes.append(f"{where} has a decimal point and no unit in its name: seconds")
        return "s"
    raise SourceError(
        f"{where} begins with {clip(text, 40)} and nothing says its unit; say options.time_unit: s, ms, us or ns"
    )


def _date(text: str, where: str, row: int) -> tuple[int, str, bool]:
    """Nanoseconds of a date and time, `zone` or `text`, and whether digits were lost."""
    found = _ISO.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        whole = datetime.fromisoformat(f"{found[1]}T{found[2]}").replace(tzinfo=UTC)
    except ValueError as error:
        shown = clip(printable(text), 60)
        hint = ", a decimal comma; must have a point" if re.fullmatch(r"[+-]?\d+,\d+", text) else "; not a stamp"
        raise SourceError(f"{where} is {shown!r} at row {row}{hint}") from error
    zone = found[4] or ""
    digits = (found[3] or "").ljust(9, "0")
    seconds = (whole - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)
    if zone[:1] in {"+", "-"}:
        minutes = int(zone[1:3]) * 60 + int(zone[-2:])
        seconds -= 60 * (minutes if zone[0] == "+" else -minutes)
    rest = digits[9:]
    nanos = int(digits[:9]) + (bool(rest) and rest[0] >= "5")
    return seconds * 10**9 + nanos, "zone" if zone else "text", bool(rest.strip("0"))


_Typed = tuple[Int64Array, "Int64Array | None", str, "Clock | None", list[str]]


def _parquet_stamps(table: ParquetTable, column: str, unit: str, where: str) -> _Typed | None:
    """Stamps of a typed column; None where it holds texts."""
    import pyarrow as pa

    column_values = table.column(column)
    kind = column_values.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return None
    rows = np.flatnonzero(np.asarray(column_values.is_valid())).astype(np.int64) if column_values.null_count else None
    column_values = column_values.drop_null()
    if pa.types.is_timestamp(kind):
        ticks = np.asarray(column_values.cast(pa.int64()))
        clock = Clock.UNIX if kind.tz else Clock.MONOTONIC
        return _scaled(ticks, kind.unit, where), rows, "type", clock, []
    if pa.types.is_duration(kind):
        return _scaled(np.asarray(column_values.cast(pa.int64())), kind.unit, where), rows, "type", None, []
    if pa.types.is_integer(kind):
        if not unit:
            raise SourceError(f"{where} is {kind} and nothing says its unit; say options.time_unit: s, ms, us or ns")
        return _scaled(np.asarray(column_values), unit, where), rows, unit, None, []
    if not pa.types.is_floating(kind):
        raise SourceError(f"{where} is {kind}; stamps must be numbers, texts or timestamps")
    notes: list[str] = []
    if not unit:
        unit = "s"
        notes.append(f"{where} is {kind} and has no unit in its name: seconds")
    values = np.asarray(column_values)
    is_there = np.isfinite(values)
    if not is_there.all():
        rows = np.flatnonzero(is_there) if rows is None else rows[is_there]
        values = values[is_there]
    _refuse_coarse(values, NS_PER_UNIT[unit], where)
    return _scaled(values, unit, where), rows, unit, None, notes


def _scaled(values: NDArray[np.generic], unit: str, where: str) -> Int64Array:
    """Ticks of a unit as nanoseconds; of floating numbers the nearest."""
    factor = NS_PER_UNIT[unit]
    numbers = values if np.issubdtype(values.dtype, np.integer) else values.astype(np.float64)
    if len(numbers) and max(abs(int(numbers.min())), abs(int(numbers.max()))) >= 2**63 // factor:
        raise SourceError(f"{where} has stamps beyond the range of int64 ns")
    if numbers is values:
        return values.astype(np.int64) * factor
    whole = np.floor(numbers)  # exact, and so is the rest
    return whole.astype(np.int64) * factor + np.round((numbers - whole) * factor).astype(np.int64)


def _refuse_coarse(values: NDArray[np.generic], factor: int, where: str) -> None:
    """Refuse float32 whose steps are as long as the rows are apart."""
    if values.dtype.itemsize > 4 or len(values) < 2:
        return
    step = float(np.spacing(np.abs(values).max())) * factor
    span = abs(float(values[-1]) - float(values[0])) * factor
    if step > span / (len(values) - 1):
        raise SourceError(
            f"{where} is {values.dtype}, which counts in steps of {step / 1e9:g} s at {float(values[0]):.10g}: its "
            f"{len(values)} rows share {len(np.unique(values))} stamps; say options.time: none to take rows as steps"
        )


def _clock(time_ns: Int64Array, wanted: str, by_type: Clock | None) -> tuple[Clock, str]:
    if wanted:
        return CLOCKS[wanted], "said by options.clock"
    if by_type is not None:
        return by_type, "by what is written"
    if int(time_ns.min()) >= _UNIX_FROM and int(time_ns.max()) < _UNIX_TO:
        return Clock.UNIX, "stamps lie between 2001 and 2100"
    return Clock.MONOTONIC, "stamps are no dates of this century"


def _refuse_no_time(time_ns: Int64Array, clock: Clock, where: str) -> None:
    """Refuse a column whose stamps say no time."""
    different = np.unique(time_ns)
    hint = "say options.time: none to take rows as steps"
    if len(time_ns) > 1 and len(different) == 1:
        raise SourceError(f"{where} is the same in all {len(time_ns)} rows: no time was recorded; {hint}")
    if clock is Clock.UNIX and 1 < len(different) < len(time_ns) and all(map(_is_float32, different[:1000].tolist())):
        raise SourceError(
            f"{where} is float32 Unix time, which counts in steps of 128 s: its {len(time_ns)} rows share "
            f"{len(different)} stamps; {hint}"
        )


def _is_float32(stamp: int) -> bool:
    """Whether a Unix stamp is what float32 keeps of one: a multiple of its steps, or the shortest text of one."""
    if stamp % _FLOAT32_STEP_NS == 0:
        return True
    return int(Decimal(str(np.float32(stamp / 1e9))) * 10**9) == stamp


def _order_notes(time_ns: Int64Array, where: str) -> Sequence[str]:
    steps = np.diff(time_ns)
    equal, backward = int((steps == 0).sum()), int((steps < 0).sum())
    notes = []
    if equal:
        notes.append(f"{where} repeats the stamp of the row before in {equal} of {len(time_ns)} rows")
    if backward:
        notes.append(f"{where} goes backward {backward} times")
    return notes
