"""`vladata mix`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._console import LOSSY, USAGE, default_workers, fail, human_bytes, note, out, out_json, progress, table

if TYPE_CHECKING:
    from vladata.mixtures.mix import MixResult
    from vladata.mixtures.plan import MixturePlan

SHOWN_TASKS = 10


def mix(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="YAML file of the mixture; docs/mixtures.md.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="OUT", help="Folder; without need with --dry-run.")
    ] = None,
    shard_mb: Annotated[int, typer.Option(min=1, help="Target size of a shard (padded).")] = 500,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = default_workers(),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan; write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Mix several exports, with weights and caps, into one dataset whose plan can be read.

    Example: vladata mix mixture.yaml -o mixed --dry-run
    """
    from vladata.mixtures.mix import mix as run
    from vladata.mixtures.mix import plan as make_plan

    if dry_run:
        with progress("plan", "shards") as show:
            plan = make_plan(recipe, workers=workers, progress=show)
        if as_json:
            out_json(plan.to_dict())
        else:
            _print_plan(plan)
            out("nothing was written")
        return
    if output is None:
        fail("--output is missing; it must name a folder, or give --dry-run", USAGE)
    with progress("mix", "units") as show:
        result = run(recipe, output, shard_bytes=shard_mb * 1_000_000, workers=workers, progress=show)
    if as_json:
        out_json(result.to_dict())
    else:
        _print_plan(result.plan)
        _print_written(result, output)
    if result.plan.leaks:
        raise typer.Exit(LOSSY)


def _print_plan(plan: "MixturePlan") -> None:
    head = ["part", "embodiment", "rows", "weight", "probability", "rows of an epoch", "repeats", "hours"]
    rows = [
        [
            p.name,
            p.embodiment,
            f"{p.pool:,}",
            "share" if p.weight is None else f"{p.weight:g}",
            p.probability,
            f"{p.epoch_rows:,}",
            f"{p.repeats:.4g}",
            _hours(p.hours),
        ]
        for p in plan.parts
    ]
    for line in table(rows, head, frozenset(range(2, 8))):
        out(line)
    out()
    groups = (("embodiment", plan.embodiments, 0), ("task", plan.tasks, SHOWN_TASKS))
    for what, shares, limit in groups:
        shown = shares[:limit] if limit else shares
        cells = [[s.name or "(none)", f"{s.rows:,}", f"{s.share:.2%}", _hours(s.hours)] for s in shown]
        for line in table(cells, [what, "rows of an epoch", "share", "hours"], frozenset({1, 2, 3})):
            out(line)
        hidden = [s.rows for s in shares[len(shown) :]]
        if what == "task" and (hidden or plan.other_tasks[0]):
            count, total = len(hidden) + plan.other_tasks[0], sum(hidden) + plan.other_tasks[1]
            out(f"and {count:,} further tasks with {total:,} rows")
        out()
    out(f"one epoch: {plan.epoch_rows:,} rows" + ("" if plan.hours is None else f", {plan.hours:.2f} h"))
    for text in plan.notes:
        note(f"note      {text}")


def _hours(hours: float | None) -> str:
    return "" if hours is None else f"{hours:.2f}"


def _print_written(result: "MixResult", output: Path) -> None:
    linked = f", {result.linked} of them links" if result.linked else ""
    kept = f", {result.kept} were there" if result.kept else ""
    out(
        f"{output}: {result.num_shards} shards{linked}{kept} · {human_bytes(result.num_bytes)} · "
        f"content {result.content_digest[:12]}"
    )
