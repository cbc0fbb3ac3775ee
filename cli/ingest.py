"""`vladata ingest`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from ._console import FAILED, LOSSY, USAGE, default_workers, fail, human_bytes, note, out, out_json, progress, table

if TYPE_CHECKING:
    from vladata.ingest import Rejected
    from vladata.pipeline import IngestPlan, IngestResult

SHOWN = 100
"""Rejected inputs that are listed one by one; rejected.json has all."""


def ingest(
    schema: Annotated[str, typer.Option("--schema", "-s", help="Embodiment schema: a name or the path of a .yaml.")],
    dataset: Annotated[Path, typer.Option("--output", "-o", metavar="DATASET", help="Dataset folder; made if new.")],
    sources: Annotated[
        list[Path] | None, typer.Argument(metavar="[SOURCE]...", help="Recordings, folders of them, or patterns.")
    ] = None,
    from_list: Annotated[
        list[Path] | None, typer.Option("--list", metavar="FILE", help="Text file of sources, one a line; - is stdin.")
    ] = None,
    mapping: Annotated[Path | None, typer.Option(help="Mapping file; goes before the schema's default.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="instruction=…, outcome=…, or metadata.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="CSV: recording, and instruction, outcome, … for each.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = default_workers(),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be read; write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Take recordings in: each demonstration becomes one HDF5 episode.

    Run it again after an interruption: it does only what is missing.

    Example: vladata ingest recordings/ "more/**/*.bag" --schema sample_arm -o dataset
    """
    from vladata.inputs import expand_inputs, read_list
    from vladata.labels import Labels, parse_set, read_labels
    from vladata.mapping import load_mapping, load_schema
    from vladata.pipeline import IngestOptions, plan_ingest
    from vladata.pipeline import ingest as run

    listed = [item for file in from_list or () for item in read_list(file)]
    if not sources and not listed:
        fail("no source; name recordings, folders of them or patterns, or a --list", USAGE)
    inputs = expand_inputs([*(sources or ()), *listed])
    loaded = load_schema(schema)
    options = IngestOptions(
        schema=loaded,
        mapping=load_mapping(mapping, loaded.embodiment) if mapping else None,
        labels=Labels(common=parse_set(set_ or []), by_place=read_labels(labels) if labels else {}),
    )
    if dry_run:
        _print_plan(plan_ingest(inputs, dataset, options, num_workers=workers), as_json)
        return
    with progress("ingest", "demonstrations") as report:
        result = run(inputs, dataset, options, num_workers=workers, progress=report)
    if as_json:
        out_json(_plain(result))
    if not result.committed:
        _fail_empty(result, dataset)
    if not as_json:
        _print(result, dataset)
    if result.is_lossy:
        raise typer.Exit(LOSSY)


def _print_plan(plan: "IngestPlan", as_json: bool) -> None:
    from vladata.text import printable

    rows = [[u.place.name, u.source, human_bytes(u.place.size)] for u in plan.units]
    if as_json:
        out_json(
            {
                "demonstrations": [
                    {"place": u.place.name, "source": u.source, "bytes": u.place.size} for u in plan.units
                ],
                "rejected": [{"input": r.input, "place": r.place, "reason": r.reason} for r in plan.rejected],
                "ignored": list(plan.ignored),
            }
        )
        return
    for line in table(rows, ["recording", "format", "size"], frozenset({2})):
        out(printable(line))
    total = sum(u.place.size for u in plan.units)
    out(f"{len(plan.units)} demonstrations, {human_bytes(total)}; nothing was written")
    for item in plan.rejected:
        note(f"rejected  {_line(item)}")


def _fail_empty(result: "IngestResult", dataset: Path) -> NoReturn:
    """Nothing was taken in: one bad input is one line."""
    if len(result.rejected) == 1:
        fail(_line(result.rejected[0]), FAILED)
    _print_rejected(result, dataset)
    fail("nothing was taken in" if result.rejected else "there is no recording in what was given", FAILED)


def _line(item: "Rejected") -> str:
    if item.input in item.reason.partition(":")[0]:
        return item.reason
    place = f" {item.place}" if item.place and item.place != item.input else ""
    return f"{item.input}{place}: {item.reason}"


def _print(result: "IngestResult", dataset: Path) -> None:
    from vladata.text import printable

    for line in _new_lines(result):
        out(printable(line))
    for line in _skew_table(result):
        out(printable(line))
    notes: dict[str, int] = {}
    for item in result.committed:
        if item.is_new:
            for text in item.notes:
                notes[text] = notes.get(text, 0) + 1
    for text, count in notes.items():
        note(f"note      {text}" + (f" ({count} times)" if count > 1 else ""))
    _print_rejected(result, dataset)
    steps = sum(c.entry.num_steps for c in result.committed)
    size = sum(c.entry.num_bytes for c in result.committed)
    there = len(result.committed) - result.num_new
    out(
        f"{dataset}: {result.num_new} new episodes"
        + (f", {there} already there" if there else "")
        + (f", {len(result.rejected)} rejected" if result.rejected else "")
        + f" · {steps:,} steps · {human_bytes(size)}"
    )


def _print_rejected(result: "IngestResult", dataset: Path) -> None:
    if result.ignored:
        note(f"ignored   {_some(result.ignored)}: no recordings, or of a kind without a mapping")
    for problem in result.problems:
        note(f"damaged   {problem}")
    for item in result.rejected[:SHOWN]:
        note(f"rejected  {_line(item)}")
    if len(result.rejected) > SHOWN:
        note(f"rejected  {len(result.rejected) - SHOWN} more, all in {dataset / 'rejected.json'}")


def _new_lines(result: "IngestResult") -> list[str]:
    """One line for each recording that came in."""
    rows = [
        [
            item.entry.place,
            f"{item.entry.num_steps:,}",
            f"{item.entry.duration_s:.1f}",
            human_bytes(item.entry.num_bytes),
            "partly" if item.is_lossy else "whole",
        ]
        for item in result.committed
        if item.is_new
    ]
    return table(rows, ["recording", "steps", "s", "size", "read"], frozenset({1, 2, 3})) if rows else []


def _skew_table(result: "IngestResult") -> list[str]:
    """How old each stream's samples are at the steps, over the new episodes."""
    worst: dict[str, list[float]] = {}
    for item in result.committed:
        if item.is_new:
            for name, figures in item.skew_ms.items():
                known = worst.setdefault(name, list(figures))
                worst[name] = [max(a, b, key=abs) for a, b in zip(known, figures, strict=True)]
    if not any(any(figures) for figures in worst.values()):
        return []
    rows = [[n, *(f"{v:.1f}" for v in figures)] for n, figures in worst.items()]
    return table(rows, ["age at the step, ms (worst episode)", "p50", "p95", "max"], frozenset({1, 2, 3}))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _plain(result: "IngestResult") -> dict[str, object]:
    return {
        "episodes": [
            {
                "episode_id": c.entry.episode_id,
                "place": c.entry.place,
                "steps": c.entry.num_steps,
                "bytes": c.entry.num_bytes,
                "is_new": c.is_new,
                "skew_ms": {n: dict(zip(("p50", "p95", "max"), v, strict=True)) for n, v in c.skew_ms.items()},
                "notes": list(c.notes),
            }
            for c in result.committed
        ],
        "rejected": [{"input": r.input, "place": r.place, "reason": r.reason} for r in result.rejected],
        "ignored": list(result.ignored),
        "problems": list(result.problems),
    }
