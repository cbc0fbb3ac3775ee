"""`vladata validate`."""

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ._console import LOSSY, USAGE, VIOLATION, default_workers, fail, note, out, progress

if TYPE_CHECKING:
    from vladata.checks import CheckSettings
    from vladata.finding import Report, Severity
    from vladata.store.dataset import Dataset


def validate(
    dataset: Annotated[Path, typer.Argument(help="Dataset folder.")],
    fail_on: Annotated[
        Literal["info", "warning", "error", "never"], typer.Option(help="Exit with 4 from this severity on.")
    ] = "error",
    select: Annotated[
        list[str] | None, typer.Option(metavar="CHECK", help="Only these checks; timing.* works.")
    ] = None,
    ignore: Annotated[list[str] | None, typer.Option(metavar="CHECK", help="Not these checks.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="CHECK.NAME=VALUE", help="A threshold, or the severity (info … error, off)."),
    ] = None,
    schema: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Its section checks goes before the episodes' own.")
    ] = None,
    baseline: Annotated[Path | None, typer.Option(help="Findings that are known don't count.")] = None,
    write_baseline: Annotated[Path | None, typer.Option(help="Write all findings as known ones.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with plots and frames; one file.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML for continuous integration.")] = None,
    quarantine: Annotated[
        bool, typer.Option("--quarantine", help="Mark episodes with errors; exports leave them out.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --quarantine: mark nothing.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = default_workers(),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check every episode against its embodiment schema, and for data quality.

    Interrupted, the same command goes on where it was.

    Example: vladata validate dataset --fail-on warning --html report.html
    """
    from vladata.baseline import Baseline
    from vladata.baseline import write_baseline as write_known
    from vladata.finding import Severity
    from vladata.pipeline import dataset_of
    from vladata.pipeline import validate as run

    settings = _settings(select, ignore, set_ or [], schema or [])
    _require_places(html, junit, write_baseline)
    opened = dataset_of(dataset)
    for name in sorted(set(settings.schemas) - {e.embodiment for e in opened.entries}):
        note(f"note      no episode is of {name}; its thresholds are not used")
    known = Baseline.read(baseline, opened) if baseline is not None else None
    with progress("validate", "episodes") as show:
        report = run(opened, settings, knows=None if known is None else known.knows, num_workers=workers, progress=show)
    _print(report, opened, as_json=as_json)
    level = None if fail_on == "never" else Severity.parse(fail_on)
    if junit is not None:
        _write_junit(report, opened, junit, level)
    if html is not None:
        _write_html(report, opened, html, workers)
    if write_baseline is not None:
        note(f"wrote     {write_baseline}: {write_known(report, opened, write_baseline):,} known findings")
    is_marked = quarantine and _quarantine(report, opened, is_dry=dry_run)
    if level is not None and any(report.at_least(level)):
        raise typer.Exit(VIOLATION)
    if is_marked:
        raise typer.Exit(LOSSY)


def _settings(
    select: list[str] | None, ignore: list[str] | None, changes: list[str], schemas: list[str]
) -> "CheckSettings":
    from vladata.checks import CheckSettings
    from vladata.mapping import load_schema

    rules: dict[str, dict[str, float | str]] = {}
    for change in changes:
        name, _, text = change.partition("=")
        check, dot, key = name.rpartition(".")
        if not (dot and text and "." in check):
            fail(f"--set {change!r}; it must be CHECK.NAME=VALUE, for instance timing.gaps.periods=2", USAGE)
        rules.setdefault(check, {})[key] = _value(key, text, change)
    loaded = [load_schema(name) for name in schemas]
    return CheckSettings(
        select=tuple(select) if select else None,
        ignore=tuple(ignore or ()),
        rules=rules,
        schemas={s.name: s.checks for s in loaded},
    )


def _value(key: str, text: str, change: str) -> float | str:
    if key == "severity":
        return text
    try:
        return float(text)
    except ValueError:
        fail(f"--set {change!r}; the value must be a number", USAGE)


def _print(report: "Report", dataset: "Dataset", *, as_json: bool) -> None:
    from vladata.report.as_json import write_json
    from vladata.report.terminal import render

    if as_json:
        write_json(report, sys.stdout)
        out()
        return
    places = {e.episode_id: e.place for e in dataset.entries}
    color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    width = shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else 80
    out(render(report, places, width=width, color=color), is_styled=True)


def _require_places(*paths: Path | None) -> None:
    """Refuse what can't be written before the work begins."""
    for path in paths:
        if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
            fail(f"{path} can't be written; it must be a file in a folder that is there", USAGE)


def _write_html(report: "Report", dataset: "Dataset", path: Path, workers: int) -> None:
    from vladata.report.html import write_html

    with progress("report", "episodes") as show:
        write_html(report, dataset, path, num_workers=workers, progress=show)
    note(f"wrote     {path}")


def _write_junit(report: "Report", dataset: "Dataset", path: Path, level: "Severity | None") -> None:
    from vladata.report.junit import write_junit
    from vladata.store.writer import replace_file

    places = {e.episode_id: e.place for e in dataset.entries}
    with replace_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        write_junit(report, places, file, fail_on=level)
    note(f"wrote     {path}")


def _quarantine(report: "Report", dataset: "Dataset", *, is_dry: bool) -> bool:
    """Bring the marks up to date; whether an episode is marked now."""
    from vladata.quarantine import plan_quarantine

    plan = plan_quarantine(report, dataset)
    if not is_dry:
        plan.write(dataset)
    would = "would be " if is_dry else ""
    parts = [f"{len(plan.marked):,} {would}marked", f"{len(plan.lifted):,} {would}lifted", f"{plan.kept:,} as before"]
    note(f"quarantine: {' · '.join(parts)}; exports leave marked episodes out (undo: vladata edit log {dataset.path})")
    return bool(plan.marked or plan.kept)
