"""`vladata timing`."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._console import note, out, out_json, table

if TYPE_CHECKING:
    from vladata.timing import MeasuredLatency, StreamTiming, TimingReport


def timing(
    path: Annotated[Path, typer.Argument(help="A recording, or a folder of them (the first is looked at).")],
    schema: Annotated[
        str | None, typer.Option("--schema", "-s", help="Its streams, by their mapping; latencies need it.")
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Goes before the schema's default mapping.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a plot, a new .png.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure the time of a recording: rates, jitter, gaps, each clock's offset and drift, latencies.

    Example: vladata timing demo.mcap --schema sample_arm --plot timing.png
    """
    from vladata.errors import SchemaError
    from vladata.mapping import load_mapping, load_schema
    from vladata.timing import mapping_lines, time_recording

    if mapping is not None and schema is None:
        raise typer.BadParameter("needs --schema", param_hint="--mapping")
    if plot is not None and (plot.suffix.lower() != ".png" or plot.exists()):
        what = "exists already" if plot.exists() else "is no .png"
        raise SchemaError(f"{plot}: {what}; name a new .png file")
    loaded = load_schema(schema) if schema is not None else None
    given = load_mapping(mapping, loaded.embodiment) if mapping is not None and loaded is not None else None
    report = time_recording(path, schema=loaded, mapping=given)
    if as_json:
        out_json(_plain(report))
    else:
        _print(report)
        for line in mapping_lines(report.latencies):
            out(line)
    if plot is not None:
        from vladata.report.timing_plot import write_plot

        write_plot(report, plot)
        note(f"wrote {plot}")


def _print(report: "TimingReport") -> None:
    from vladata.text import clip, printable

    out(f"{report.source} · {printable(report.place)}")
    latencies = {m.follow: m for m in report.latencies if m.latency.latency_ns is not None}
    rows = [[clip(printable(s.name), 40), *_cells(s, latencies.get(s.name))] for s in report.streams]
    head = ["stream", "clock", "count", "Hz", "jitter ms", "gaps", "equal", "back", "offset ms", "drift ppm", "late ms"]
    for line in table(rows, head, frozenset(range(2, len(head)))):
        out(line)
    remarks = [f"{printable(s.name)}: {printable(p)}" for s in report.streams for p in (*s.problems, *_doubts(s))]
    remarks += [
        f"latency of {m.follow} after {m.lead}: not measurable: {m.latency.reason}"
        for m in report.latencies
        if m.latency.latency_ns is None
    ]
    if not report.is_mapped:
        remarks.append("latencies are measured with --schema")
    for text in dict.fromkeys((*report.problems, *remarks)):
        note(f"note  {text}")


def _cells(stream: "StreamTiming", measured: "MeasuredLatency | None") -> list[str]:
    from vladata.text import printable
    from vladata.units import Clock

    summary, fit = stream.summary, stream.fit
    clock = f"{stream.clock} ({printable(stream.clock_choice)})" if stream.clock_choice else str(stream.clock)
    if stream.clock is Clock.NOMINAL:
        return [str(stream.clock), str(summary.count), *["-"] * 8]
    late, error = (measured.latency.latency_ns, measured.latency.uncertainty_ns) if measured else (None, None)
    has_drift = fit is not None and fit.drift_ppm is not None
    return [
        clock,
        f"{summary.count:,}",
        f"{summary.rate_hz:.2f}",
        f"{summary.jitter_ns / 1e6:.2f}",
        str(stream.num_gaps),
        str(summary.num_equal),
        str(summary.num_backward),
        "receipt" if stream.is_receipt else "-" if fit is None else _pair(fit.offset_ns, fit.offset_uncertainty_ns),
        f"{fit.drift_ppm:+.1f} ± {fit.drift_uncertainty_ppm:.1f}" if fit is not None and has_drift else "-",
        "-" if late is None or error is None else _pair(late, error),
    ]


def _pair(value_ns: int, error_ns: int) -> str:
    """Milliseconds; a clock of another start is shown in seconds, to which its uncertainty says nothing."""
    if abs(value_ns) >= 10_000_000_000:
        return f"{value_ns / 1e9:+,.3f} s"
    return f"{value_ns / 1e6:+.1f} ± {error_ns / 1e6:.1f}"


def _doubts(stream: "StreamTiming") -> list[str]:
    """What must be said beside a drift."""
    from vladata.sync.fit import SHORT_S

    fit = stream.fit
    return [fit.statement] if fit is not None and (fit.drift_ppm is None or fit.duration_s < SHORT_S) else []


def _plain(report: "TimingReport") -> dict[str, object]:
    from vladata.sync.timing import fit_as_json

    streams = [
        {
            "name": s.name,
            "clock": str(s.clock),
            "clock_choice": s.clock_choice,
            "is_receipt": s.is_receipt,
            "count": s.summary.count,
            "duration_s": s.summary.duration_s,
            "rate_hz": s.summary.rate_hz,
            "jitter_ms": s.summary.jitter_ns / 1e6,
            "gaps": s.num_gaps,
            "longest_gap_ms": s.summary.gaps[0][1] / 1e6 if s.summary.gaps else None,
            "equal_stamps": s.summary.num_equal,
            "backward_stamps": s.summary.num_backward,
            "fit": None if s.fit is None else fit_as_json(s.fit),
            "problems": list(s.problems),
        }
        for s in report.streams
    ]
    latencies = [
        {
            "lead": m.lead,
            "follow": m.follow,
            "kind": m.kind,
            "dimensions": list(m.names),
            **{n: v for n, v in dataclasses.asdict(m.latency).items() if n not in {"lags_ns", "profile", "used"}},
        }
        for m in report.latencies
    ]
    return {
        "source": report.source,
        "place": report.place,
        "streams": streams,
        "latencies": latencies,
        "problems": list(report.problems),
    }
