"""`vladata validate`."""

import os
import shutil
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from ._console import VIOLATION, default_workers, out, progress


def validate(
    dataset: Annotated[Path, typer.Argument(help="Dataset folder.")],
    fail_on: Annotated[
        Literal["info", "warning", "error", "never"], typer.Option(help="Exit with 4 from this severity on.")
    ] = "error",
    select: Annotated[
        list[str] | None, typer.Option(metavar="CHECK", help="Only these checks; timing.* works.")
    ] = None,
    ignore: Annotated[list[str] | None, typer.Option(metavar="CHECK", help="Not these checks.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = default_workers(),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check every episode against its embodiment schema, and for data quality.

    Example: vladata validate dataset --fail-on warning
    """
    from vladata.finding import Severity
    from vladata.pipeline import dataset_of
    from vladata.pipeline import validate as run
    from vladata.report.as_json import to_json
    from vladata.report.terminal import render

    level = None if fail_on == "never" else Severity.parse(fail_on)
    opened = dataset_of(dataset)
    with progress("validate", "episodes") as show:
        report = run(opened, select=select or [], ignore=ignore or [], num_workers=workers, progress=show)
    if as_json:
        out(to_json(report))
    else:
        places = {e.episode_id: e.place for e in opened.entries}
        color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        width = shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else 80
        out(render(report, places, width=width, color=color), is_styled=True)
    if level is not None and any(report.at_least(level)):
        raise typer.Exit(VIOLATION)
