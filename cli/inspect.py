"""`vladata inspect`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._console import note, out, out_json, table
from .schema import say_unread, write_text

if TYPE_CHECKING:
    from vladata.sources import Inspection, StreamInfo


def inspect(
    path: Annotated[Path, typer.Argument(help="A recording, or a folder of them (the first is shown).")],
    schema: Annotated[str | None, typer.Option("--schema", "-s", help="Schema that a mapping is drafted for.")] = None,
    write_mapping: Annotated[Path | None, typer.Option(metavar="FILE", help="Draft a mapping.")] = None,
    urdf: Annotated[
        Path | None, typer.Option(metavar="FILE", help="URDF, for units in a mapping without schema.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what a recording holds: streams, types, shapes, clocks, rates, gaps and clock problems.

    Example: vladata inspect demo.mcap --schema sample_arm --write-mapping mapping.yaml
    """
    from vladata.drafts import draft_mapping, look_at
    from vladata.mapping import load_schema
    from vladata.pipeline import inspect as run
    from vladata.urdf import read_urdf

    embodiment = load_schema(schema).embodiment if schema else None
    joints = read_urdf(urdf) if urdf is not None else None
    look = look_at(path) if write_mapping is not None else None
    found = look.inspection if look is not None else run(path)
    if as_json:
        out_json(_plain(found))
    else:
        _print(found)
    if look is not None:
        say_unread(look)
        write_text(draft_mapping(found, embodiment, samples=look.samples, urdf=joints), write_mapping)


def _print(found: "Inspection") -> None:
    from vladata.text import clip, printable

    out(f"{found.source} · {len(found.places)} demonstrations · shown: {printable(found.looked_at)}")
    facts = [(printable(n), printable(v)) for n, v in found.facts]
    if found.rate_hz:
        facts.insert(0, ("declared rate", f"{found.rate_hz:g} Hz"))
    for name, value in facts:
        out(f"{name}: {clip(value, 200)}")
    rows, remarks = [], []
    for stream in found.streams:
        label = stream.name + (f".{stream.field}" if stream.field else "")
        rows.append([clip(printable(label), 40), *_cells(stream)])
        remarks += [f"{printable(label)}: {printable(p)}" for p in (*_clock_remarks(stream), *stream.problems)]
    head = ["stream", "type", "count", "shape", "clock", "Hz", "gaps"]
    for line in table(rows, head, frozenset({2, 5, 6})):
        out(line)
    for text in (*found.problems, *dict.fromkeys(remarks)):
        note(f"note  {text}")


def _cells(stream: "StreamInfo") -> list[str]:
    from vladata.sync.clock import summarize
    from vladata.text import clip, printable
    from vladata.units import Clock

    kind = stream.codec or stream.dtype or stream.kind
    shape = "x".join(map(str, stream.shape)) or "-"
    if stream.clock is Clock.NOMINAL or len(stream.time_ns) == 0:
        return [clip(printable(kind), 12), str(stream.count), shape, "nominal", "-", "-"]
    clock = f"{stream.clock} ({stream.clock_choice})" if stream.clock_choice else str(stream.clock)
    summary = summarize(stream.time_ns)
    return [
        clip(printable(kind), 12),
        str(stream.count),
        shape,
        clock,
        f"{summary.rate_hz:.1f}",
        str(len(summary.gaps)),
    ]


def _clock_remarks(stream: "StreamInfo") -> list[str]:
    from vladata.sync.clock import clock_problems, summarize

    if len(stream.time_ns) < 2:
        return []
    summary = summarize(stream.time_ns)
    remarks = list(clock_problems(stream.time_ns, stream.receive_time_ns, stream.clock_choice.partition(".")[0]))
    if summary.gaps:
        index, longest = max(summary.gaps, key=lambda g: g[1])
        at = (int(stream.time_ns[index]) - summary.start_ns) / 1e9
        remarks.append(f"longest gap {longest / 1e6:.0f} ms at {at:.2f} s (period {summary.period_ns / 1e6:.1f} ms)")
    return remarks


def _plain(found: "Inspection") -> dict[str, object]:
    from vladata.sync.clock import summarize

    streams = []
    for stream in found.streams:
        summary = summarize(stream.time_ns)
        streams.append(
            {
                "name": stream.name,
                "field": stream.field,
                "type": stream.type,
                "kind": stream.kind,
                "count": stream.count,
                "shape": list(stream.shape),
                "dtype": stream.dtype,
                "codec": stream.codec,
                "element_names": list(stream.element_names),
                "clock": str(stream.clock),
                "clock_choice": stream.clock_choice,
                "rate_hz": summary.rate_hz,
                "jitter_ms": summary.jitter_ns / 1e6,
                "gaps": len(summary.gaps),
                "equal_stamps": summary.num_equal,
                "backward_stamps": summary.num_backward,
                "problems": list(stream.problems),
            }
        )
    return {
        "source": found.source,
        "demonstrations": [p.name for p in found.places],
        "shown": found.looked_at,
        "rate_hz": found.rate_hz,
        "facts": dict(found.facts),
        "streams": streams,
        "problems": list(found.problems),
    }
