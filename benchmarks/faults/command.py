"""`python -m benchmarks faults`: prove the checks by injected faults."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .catalogue import faults
from .runner import Plan, Results, run
from .table import alarms, markdown, misses, write

__all__ = ["QUICK", "main"]

QUICK = ("nan", "gap", "beyond_limit", "undecodable", "exact_copy", "no_instruction", "too_fast")
"""Faults of the quick mode."""
FAMILIES = ("generated", "sample", "bridge", "g1")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks faults", description=__doc__)
    parser.add_argument("--half", choices=("tuning", "reporting"), default="reporting", help="which half of the groups")
    parser.add_argument("--only", action="append", default=[], metavar="FAULT", help="this fault; may be repeated")
    parser.add_argument("--check", action="append", default=[], metavar="CHECK", help="the faults of this check")
    parser.add_argument("--family", action="append", choices=FAMILIES, help="these episodes; may be repeated")
    parser.add_argument("--quick", action="store_true", help="one small group and a few faults: does it work at all?")
    parser.add_argument("--clean", action="store_true", help="no faults: only what is said of clean episodes")
    parser.add_argument("--rounds", type=int, default=1, help="injections of each fault and strength into each family")
    parser.add_argument("--workers", type=int, default=2, help="processes; 0 works in this one")
    parser.add_argument("--list", action="store_true", help="list every false alarm and every miss")
    parser.add_argument("--set", action="append", default=[], metavar="CHECK.THRESHOLD=VALUE", help="another threshold")
    parser.add_argument("--folder", type=Path, help="where real recordings are ingested to, and found the next time")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/checks/faults.md")
    return parser


def _rules(settings: Sequence[str]) -> dict[str, dict[str, float | str]]:
    rules: dict[str, dict[str, float | str]] = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        check, _, threshold = name.rpartition(".")
        rules.setdefault(check, {})[threshold] = value if threshold == "severity" else float(value)
    return rules


def _progress(done: int, total: int) -> None:
    print(f"\r{done} of {total} groups", end="\n" if done == total else "", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run and print."""
    parser = _parser()
    given = parser.parse_args(arguments)
    only = [*given.only, *(n for n, f in faults().items() if f.check in given.check)]
    unknown = sorted(set(only) - set(faults()))
    if unknown or (given.check and not only):
        parser.error(f"no fault {unknown[0]!r}" if unknown else f"no fault is meant for {given.check[0]!r}")
    plan = Plan(
        half=given.half,
        only=("",) if given.clean else tuple(only),
        families=tuple(given.family or FAMILIES),
        rounds=given.rounds,
        workers=given.workers,
        rules=_rules(given.set),
    )
    if given.quick:
        plan = replace(plan, only=tuple(only) or QUICK, families=("generated",), num_groups=1, group_size=4)
    with tempfile.TemporaryDirectory(prefix="vladata-faults-") as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        results = run(replace(plan, folder=folder), _progress)
    _print(results, is_long=given.list)
    if given.write:
        write(results)


def _print(results: Results, *, is_long: bool) -> None:
    if is_long:
        print("False alarms:\n")
        print("\n".join(f"  {line}" for line in alarms(results)) or "  none")
        print("\nMisses:\n")
        print("\n".join(f"  {line}" for line in misses(results)) or "  none")
        print()
    print(markdown(results))
    print(f"{len(results.clean)} clean episodes, {len(results.injected)} injections, {results.seconds:.0f} s")
