"""`vladata checks`."""

from collections.abc import Mapping
from typing import Annotated

import typer

from ._console import out, out_json, table


def checks(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="CHECK", help="Names, topics or patterns; default: all.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the checks of `vladata validate`, with their rules and thresholds.

    Example: vladata checks timing
    """
    from vladata.checks import DatasetCheck, find_check, matching_names

    found = [find_check(name) for name in matching_names(names or ["*"])]
    if as_json:
        rows = [
            {
                "check": c.name,
                "severity": str(c.severity),
                "rule": c.summary,
                "thresholds": dict(c.thresholds),
                "is_about_the_dataset": isinstance(c, DatasetCheck),
            }
            for c in found
        ]
        out_json(rows)
        return
    lines = [[c.name, str(c.severity), _thresholds(c.thresholds)] for c in found]
    for line in table(lines, ["check", "severity", "thresholds"]):
        out(line)
    if len(found) == 1:
        out(found[0].summary)
    noun = "check" if len(found) == 1 else "checks"
    out(f"{len(found)} {noun}; why, how, what to do: docs/checks/")


def _thresholds(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name}={value:g}" for name, value in values.items()) or "-"
