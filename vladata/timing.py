"""The time of a recording, looked at: clocks, rates, jitter, offsets, drifts and latencies of its streams.

Nothing is changed by looking: what is estimated here enters the steps only through the mapping. Design: docs/time.md.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import workers
from .conversion import convert
from .embodiment import Embodiment
from .errors import SourceError, SyncError, VladataError
from .ingest import first_recording, mapping_for, preferred_sources, source_module
from .mapping import Mapping, SchemaFile
from .recording import AnyStream, FrameStream, Recording
from .sources import Request
from .sync.clock import ClockSummary, clock_problems, summarize
from .sync.fit import ClockFit, fit_clock
from .sync.latency import Latency, estimate_latency
from .sync.motion import camera_motion, command_pairs, joint_speed
from .sync.split import split_recording
from .sync.timing import compare_clocks, correction_of, is_receipt
from .units import Clock

__all__ = ["Curve", "MeasuredLatency", "StreamTiming", "TimingReport", "mapping_lines", "time_recording"]

Int64Array = NDArray[np.int64]
FloatArray = NDArray[np.float64]

MAX_POINTS = 4000
"""Points of a curve; of more, the extremes of each span are kept."""
MAX_NAMED = 200
"""Streams that are looked at."""
COMMAND_LAGS_NS = (-500_000_000, 1_500_000_000)
CAMERA_LAGS_NS = (-1_000_000_000, 1_000_000_000)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curve:
    """Something over time, for a plot."""

    x_s: FloatArray
    """Seconds since the recording's first stamp of that clock, [P]."""
    y_ms: FloatArray
    """[P]."""


_NOTHING = Curve(x_s=np.zeros(0), y_ms=np.zeros(0))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StreamTiming:
    """The time of one stream."""

    name: str
    """In the embodiment, or as the recording has it where no schema was given."""
    clock: Clock
    clock_choice: str
    summary: ClockSummary
    """Without its gaps but the longest."""
    num_gaps: int
    is_receipt: bool
    """Whether the stamps are the recorder's own times of receipt."""
    fit: ClockFit | None
    """Of the clock against the recorder's; without residuals."""
    problems: tuple[str, ...]
    intervals: Curve = _NOTHING
    """Between consecutive samples."""
    residuals: Curve = _NOTHING
    """Receive - stamp without offset and drift."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeasuredLatency:
    """How much later one stream shows a motion than another."""

    lead: str
    follow: str
    kind: str
    """`command`: a state after its command; `camera`: frames after the joints."""
    latency: Latency
    names: tuple[str, ...] = ()
    """Of the dimensions that were compared."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TimingReport:
    """What `vladata timing` says."""

    source: str
    place: str
    streams: tuple[StreamTiming, ...]
    latencies: tuple[MeasuredLatency, ...] = ()
    problems: tuple[str, ...] = ()
    is_mapped: bool = False
    """Whether a schema was given, so that latencies could be looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unit:
    path: Path
    schema: SchemaFile | None
    mapping: Mapping | None


def time_recording(path: Path, *, schema: SchemaFile | None = None, mapping: Mapping | None = None) -> TimingReport:
    """Look at the time of the (first) recording under a path, in a worker process.

    Args:
        path: A recording, or a folder of them.
        schema: With it, the streams are those of the embodiment, and latencies are estimated; without, those of the
            recording, by their stamps alone.
        mapping: Goes before the schema's default.

    Raises:
        VladataError: There is no recording, it is damaged, or the schema has no mapping for it.
    """
    if not path.exists():
        raise VladataError(f"{path}: no such file or folder")
    return workers.run_one(_time, _Unit(path=path, schema=schema, mapping=mapping))


def _time(unit: _Unit) -> TimingReport:
    first = first_recording(unit.path, () if unit.schema is None else preferred_sources(unit.schema, unit.mapping))
    if unit.schema is None:
        return _inspected(first.path, first.source)
    embodiment = unit.schema.embodiment
    chosen = mapping_for(unit.schema, first.source, unit.mapping, first.path)
    if not first.places:
        raise SourceError(f"{first.path.name}: holds no demonstration")
    request = Request(embodiment=embodiment, mapping=chosen)
    recordings = source_module(first.source).read(first.path, first.places[0], request)
    recording = next(iter(recordings), None)
    if recording is None:
        raise SourceError(f"{first.places[0].name}: holds no demonstration")
    parts = split_recording(recording, chosen)
    if not parts:
        raise SourceError(f"{first.places[0].name}: its marks leave no demonstration")
    # The iterator is still open: frames can be read until it goes on.
    return _mapped(convert(parts[0], embodiment, chosen).recording, embodiment, chosen)


def _inspected(path: Path, source: str) -> TimingReport:
    """The streams of a recording as it has them; fields of one message have one time."""
    found = source_module(source).inspect(path)
    streams: dict[tuple[str, str], StreamTiming] = {}
    for info in found.streams:
        key = (info.name, info.clock_choice)
        if key in streams or not len(info.time_ns) or info.clock is Clock.NOMINAL or len(streams) >= MAX_NAMED:
            continue
        streams[key] = _stream_timing(
            info.name,
            (info.clock, info.clock_choice),
            info.time_ns,
            info.receive_time_ns,
            is_receipt=info.receive_time_ns is None and info.clock_choice.startswith("log"),
        )
    nominal = sorted({i.name for i in found.streams if i.clock is Clock.NOMINAL and i.kind not in {"other", "text"}})
    problems = list(found.problems)
    if nominal:
        problems.append(f"no time was recorded of {', '.join(nominal[:5])}{' and others' * (len(nominal) > 5)}")
    return TimingReport(
        source=found.source, place=found.looked_at, streams=tuple(streams.values()), problems=tuple(problems)
    )


def _mapped(recording: Recording, embodiment: Embodiment, mapping: Mapping) -> TimingReport:
    streams = []
    for name in embodiment.stream_names:
        stream = recording.streams.get(name)
        if stream is not None:
            facts = (stream.clock, stream.clock_choice)
            receive = stream.receive_time_ns
            streams.append(_stream_timing(name, facts, stream.time_ns, receive, is_receipt=is_receipt(stream)))
    return TimingReport(
        source=recording.source,
        place=recording.place,
        streams=tuple(streams),
        latencies=tuple(_latencies(recording, embodiment, mapping)),
        problems=recording.notes if recording.is_lossy else (),
        is_mapped=True,
    )


def _stream_timing(
    name: str, facts: tuple[Clock, str], time_ns: Int64Array, receive_ns: Int64Array | None, *, is_receipt: bool
) -> StreamTiming:
    clock, choice = facts
    summary = summarize(time_ns)
    gaps = summary.gaps
    summary = dataclasses.replace(summary, gaps=(max(gaps, key=lambda g: g[1]),) if gaps else ())
    if clock is Clock.NOMINAL:
        return StreamTiming(
            name=name,
            clock=clock,
            clock_choice=choice,
            summary=summary,
            num_gaps=0,
            is_receipt=False,
            fit=None,
            problems=("no time was recorded",),
        )
    fit = None if receive_ns is None else fit_clock(time_ns, receive_ns)
    problems = [*clock_problems(time_ns, receive_ns, choice.partition(".")[0]), *(fit.problems if fit else ())]
    x = (time_ns - summary.start_ns) / 1e9
    residuals = _NOTHING if fit is None else _curve(x[fit.rows], fit.residual_ns / 1e6)
    if fit is not None:
        fit = dataclasses.replace(fit, rows=np.zeros(0, dtype=np.intp), residual_ns=np.zeros(0))
    return StreamTiming(
        name=name,
        clock=clock,
        clock_choice=choice,
        summary=summary,
        num_gaps=len(gaps),
        is_receipt=is_receipt,
        fit=fit,
        problems=(*problems, *_worth_saying(fit)),
        intervals=_curve(x[1:], np.diff(time_ns) / 1e6),
        residuals=residuals,
    )


def _worth_saying(fit: ClockFit | None) -> list[str]:
    """Where a clock leaves the recorder's by more than steps should."""
    if fit is None or fit.drift_ppm is None or fit.drift_uncertainty_ppm is None or fit.jumps:
        return []
    away_ms = abs(fit.drift_ppm) * fit.duration_s / 1e3
    if abs(fit.drift_ppm) > fit.drift_uncertainty_ppm and away_ms > 2:
        return [f"the clock drifts by {away_ms:.1f} ms in the recording; correct: drift in the mapping undoes that"]
    return []


def _curve(x: FloatArray, y: FloatArray) -> Curve:
    """At most `MAX_POINTS` points, the least and the greatest of each span among them."""
    if len(x) <= MAX_POINTS:
        return Curve(x_s=x.astype(np.float64), y_ms=y.astype(np.float64))
    spans = np.array_split(np.arange(len(x)), MAX_POINTS // 2)
    kept = np.unique([i for s in spans for i in (s[np.argmin(y[s])], s[np.argmax(y[s])])])
    return Curve(x_s=x[kept].astype(np.float64), y_ms=y[kept].astype(np.float64))


def _latencies(recording: Recording, embodiment: Embodiment, mapping: Mapping) -> list[MeasuredLatency]:
    """Every command against its state, every camera against the joints; on corrected clocks, without latencies."""
    times: dict[str, Int64Array] = {}
    for name, stream in recording.streams.items():
        try:
            times[name] = _common_time(name, stream, recording, mapping)
        except SyncError:
            continue  # said in the stream's own problems, or by ingest; it has no time to compare
    found = []
    for pair in command_pairs(recording, embodiment, times):
        earliest, latest = COMMAND_LAGS_NS
        measured = estimate_latency(pair.lead, pair.follow, earliest_ns=earliest, latest_ns=latest)
        used = tuple(pair.names[d] for d in measured.used)
        found.append(
            MeasuredLatency(lead=pair.command, follow=pair.state, kind="command", latency=measured, names=used)
        )
    arm, speed = joint_speed(recording, embodiment, times)
    schemas = {c.name: c for c in embodiment.cameras}
    for name, stream in recording.streams.items():
        if arm and name in times and isinstance(stream, FrameStream):
            try:
                seen = camera_motion(stream, times[name], schemas.get(name))
                earliest, latest = CAMERA_LAGS_NS
                measured = estimate_latency(speed, seen, earliest_ns=earliest, latest_ns=latest)
            except SourceError as error:
                measured = Latency(latency_ns=None, uncertainty_ns=None, reason=str(error))
            found.append(MeasuredLatency(lead=arm, follow=name, kind="camera", latency=measured))
    return found


def _common_time(name: str, stream: AnyStream, recording: Recording, mapping: Mapping) -> Int64Array:
    """A stream's stamps as synchronization would use them, but for the latency.

    Raises:
        SyncError: It counts another time than the first stream, or its clock can't be corrected.
    """
    first = next(iter(recording.streams))
    pair = {first: recording.streams[first], name: stream}
    corrections = {n: correction_of(n, s, mapping.streams[n]) for n, s in pair.items()}
    compare_clocks(recording.place, pair, corrections)
    return dataclasses.replace(corrections[name], latency_ns=0).times(stream.time_ns)


def mapping_lines(latencies: Sequence[MeasuredLatency]) -> list[str]:
    """YAML for the mapping: a camera's latency to be declared, a command's as a comment, for it is the robot's own."""
    lines = []
    for item in latencies:
        late, error = item.latency.latency_ns, item.latency.uncertainty_ns
        if late is None or error is None:
            continue
        late, error = round(late, -5), max(100_000, round(error, -5))
        if item.kind == "command":
            shown = f"{late / 1e6:.1f} ± {error / 1e6:.1f} ms"
            lines.append(f"  # {item.follow} follows {item.lead} by {shown}: the robot's own, not one of the stamps")
        else:
            fits = "" if abs(late) > error else "  # no more than its uncertainty"
            lines.append(f"  {item.follow}: {{latency_ns: {late}, latency_uncertainty_ns: {error}}}{fits}")
    return ["streams:", *lines] if lines else []
