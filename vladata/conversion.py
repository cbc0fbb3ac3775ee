"""Recorded numbers become the schema's units, once, and placeholders NaN; what was done is data beside the episode."""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .embodiment import Dimension, Embodiment, Signal
from .errors import SchemaError, SourceError
from .mapping import Mapping, RecordedUnit, StreamMapping
from .recording import AnyStream, Recording, Stream
from .units import Mode, Unit

__all__ = ["Converted", "Line", "check_units", "convert", "lines_of"]

_FACTORS: dict[str, tuple[Unit, float]] = {
    "deg": (Unit.RADIAN, math.pi / 180),
    "deg/s": (Unit.RADIAN_PER_SECOND, math.pi / 180),
    "mm": (Unit.METRE, 1e-3),
    "cm": (Unit.METRE, 1e-2),
    "mm/s": (Unit.METRE_PER_SECOND, 1e-3),
    "percent": (Unit.ONE, 1e-2),
}

SUSPECT = -1.0
"""What recorders write for an arm that is not connected."""
MIN_SUSPECT_ROWS = 10
MIN_SUSPECT_DIMENSIONS = 3
"""Fewer could be a gripper that stayed at its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One dimension's conversion: value · scale + offset."""

    recorded: str
    """The unit as the mapping has it."""
    scale: float
    offset: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Converted:
    """A recording in the schema's units."""

    recording: Recording
    lines: dict[str, dict[str, Line]]
    """By signal and dimension: those that were converted."""

    def as_json(self) -> dict[str, object]:
        """For the provenance; the recorded number is (value - offset) / scale."""
        return {
            signal: {name: dataclasses.asdict(line) for name, line in lines.items()}
            for signal, lines in sorted(self.lines.items())
        }


def lines_of(signal: Signal, mapping: StreamMapping) -> dict[str, Line]:
    """The conversion of each dimension that a mapping says something about.

    Raises:
        SchemaError: A unit does not lead to the dimension's, or a delta would get an offset.
    """
    if mapping.units is None:
        return {}
    units = mapping.units if isinstance(mapping.units, dict) else dict.fromkeys(signal.names, mapping.units)
    return {d.name: _line(signal, d, units[d.name]) for d in signal.dimensions if d.name in units}


def check_units(embodiment: Embodiment, mapping: Mapping) -> None:
    """See that all declared units lead to the schema's; errors as `lines_of`."""
    for signal in embodiment.signals:
        if signal.name in mapping.streams:
            lines_of(signal, mapping.streams[signal.name])


def _line(signal: Signal, dimension: Dimension, unit: str | RecordedUnit) -> Line:
    where = f"units of {signal.name}.{dimension.name}"
    if isinstance(unit, str):
        wanted, scale = _FACTORS[unit]
        _require(where, unit, wanted, dimension)
        return Line(recorded=unit, scale=scale)
    if unit.ticks_per_turn is not None:
        _require(where, "ticks", Unit.RADIAN, dimension)
        scale = unit.sign * 2 * math.pi / unit.ticks_per_turn
        return _checked(where, dimension, Line(recorded="ticks", scale=scale, offset=0.0 - unit.zero * scale))
    assert unit.source_range is not None
    assert unit.target_range is not None
    (low, high), (start, end) = unit.source_range, unit.target_range
    scale = (end - start) / (high - low)
    text = f"{low:g} to {high:g}"
    return _checked(where, dimension, Line(recorded=text, scale=scale, offset=start - low * scale))


def _require(where: str, unit: str, wanted: Unit, dimension: Dimension) -> None:
    if dimension.unit is not wanted:
        raise SchemaError(f"{where} are {unit}, which become {wanted}; the schema has {dimension.unit}")


def _checked(where: str, dimension: Dimension, line: Line) -> Line:
    if dimension.mode in {Mode.DELTA, Mode.VELOCITY} and abs(line.offset) > 1e-12:
        raise SchemaError(
            f"{where} put recorded 0 at {line.offset:g}; of a {dimension.mode} 0 must stay 0: choose ranges around it"
        )
    return line


def convert(recording: Recording, embodiment: Embodiment, mapping: Mapping) -> Converted:
    """Convert the signals that the mapping declares in other units, and take its placeholders out.

    A converted stream is float64; the others stay as they are, with a note where they look like a placeholder.

    Raises:
        SchemaError: A unit does not fit.
        SourceError: A required signal is a placeholder from start to end.
    """
    streams: dict[str, AnyStream] = {}
    done: dict[str, dict[str, Line]] = {}
    notes: list[str] = []
    signals = {s.name: s for s in embodiment.signals}
    for name, stream in recording.streams.items():
        if not isinstance(stream, Stream) or name not in mapping.streams:
            streams[name] = stream
            continue
        signal, rule = signals[name], mapping.streams[name]
        missing, words = _placeholders(stream, rule)
        notes += words
        if missing is not None and missing.all() and len(missing):
            _drop(recording.place, name, embodiment, rule, notes)
            continue
        lines = lines_of(signal, rule)
        streams[name] = _converted(stream, signal, lines, missing)
        if lines:
            done[name] = lines
            notes += _said(name, lines)
    result = dataclasses.replace(recording, streams=streams, notes=(*recording.notes, *notes))
    return Converted(recording=result, lines=done)


def _drop(place: str, name: str, embodiment: Embodiment, rule: StreamMapping, notes: list[str]) -> None:
    text = f"{name} is the placeholder {rule.placeholder:g} in every row: it was not connected"
    if embodiment.rule(name).required:
        raise SourceError(f"{place}: {text}; {embodiment.name} requires it")
    notes.append(f"{text}; left out")


def _placeholders(stream: Stream, rule: StreamMapping) -> tuple[NDArray[np.bool_] | None, list[str]]:
    """Rows that hold the declared placeholder, or a word about what looks like one."""
    values = stream.values
    if rule.placeholder is not None:
        missing = (values == rule.placeholder).all(axis=1)
        count = int(missing.sum())
        some = bool(count) and not missing.all()
        return missing, [f"{stream.name}: {count} of {len(values)} rows are the placeholder; they are NaN"] * some
    if len(values) < MIN_SUSPECT_ROWS or values.dtype.kind not in "iuf":
        return None, []
    constant = np.flatnonzero((values == SUSPECT).all(axis=0))
    if len(constant) < MIN_SUSPECT_DIMENSIONS:
        return None, []
    shown = ", ".join(str(i) for i in constant[:8])
    return None, [
        f"{stream.name}: elements {shown} are {SUSPECT:g} in all {len(values)} rows, as recorders write for an arm "
        "that is not connected; map it as a signal of its own with placeholder: -1"
    ]


def _converted(stream: Stream, signal: Signal, lines: dict[str, Line], missing: NDArray[np.bool_] | None) -> Stream:
    if not lines and (missing is None or not missing.any()):
        return stream
    keeps_type = not lines and stream.values.dtype.kind == "f"
    values = stream.values.astype(stream.values.dtype if keeps_type else np.float64)
    for column, dimension in enumerate(signal.dimensions):
        line = lines.get(dimension.name)
        if line is not None:
            values[:, column] = values[:, column] * line.scale + line.offset
    if missing is not None:
        values[missing] = np.nan
    values.setflags(write=False)
    return dataclasses.replace(stream, values=values)


def _said(name: str, lines: dict[str, Line]) -> Iterator[str]:
    """One note for the dimensions of equal conversion."""
    groups: dict[Line, list[str]] = {}
    for dimension, line in lines.items():
        groups.setdefault(line, []).append(dimension)
    for line, dimensions in groups.items():
        plus = f" + {line.offset:.9g}" if line.offset else ""
        yield f"{name}: {', '.join(dimensions)} converted from {line.recorded} (· {line.scale:.9g}{plus})"
