"""Runs checks: a check that crashes becomes a finding, and the run goes on."""

import dataclasses
import difflib
import fnmatch
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from .. import plugins
from ..episode import Episode
from ..errors import EpisodeFormatError, PluginNotFoundError, VladataError
from ..finding import Finding, Severity
from ._check import Check, DatasetCheck, EpisodeFacts

__all__ = ["check_names", "find_check", "run_checks", "run_dataset_checks", "selected_names"]

NOT_MEASURED = "timing.not_measured"
READABLE = "structure.readable"


def _all() -> dict[str, Check | DatasetCheck]:
    """Every check by name, sorted."""
    found = {}
    for topic in plugins.names("checks"):
        for value in vars(plugins.load("checks", topic)).values():
            if isinstance(value, Check | DatasetCheck):
                found[value.name] = value
    return dict(sorted(found.items()))


def check_names() -> list[str]:
    """Names of all checks, sorted."""
    return list(_all())


def find_check(name: str) -> Check | DatasetCheck:
    """Find a check by name.

    Raises:
        PluginNotFoundError: There is none of that name.
    """
    known = _all()
    if name not in known:
        raise _unknown(name, list(known))
    return known[name]


def selected_names(select: Sequence[str] | None = None, ignore: Sequence[str] = ()) -> list[str]:
    """Names of the checks that run.

    A check that needs recorded time brings `timing.not_measured` along, so that an episode without time never looks
    good; it can be ignored by its name.

    Args:
        select: Names, topics (`timing`) or patterns (`timing.*`); None: all checks.
        ignore: The same, for what is left out.

    Raises:
        PluginNotFoundError: A name or pattern fits no check; the message proposes the nearest one.
    """
    return list(_selected(select, ignore))


def _selected(select: Sequence[str] | None, ignore: Sequence[str]) -> dict[str, Check | DatasetCheck]:
    known = _all()
    names = list(known)
    wanted = set(names) if select is None else {n for p in select for n in _matching(p, names)}
    unwanted = {n for p in ignore for n in _matching(p, names)}
    wanted -= unwanted
    needs_time = any(isinstance(c, Check) and c.needs_time for n, c in known.items() if n in wanted)
    if needs_time and NOT_MEASURED not in ignore:
        wanted.add(NOT_MEASURED)
    return {n: c for n, c in known.items() if n in wanted}


def _matching(pattern: str, names: Sequence[str]) -> list[str]:
    hits = [n for n in names if n == pattern or n.partition(".")[0] == pattern or fnmatch.fnmatchcase(n, pattern)]
    if hits:
        return hits
    raise _unknown(pattern, names)


def _unknown(pattern: str, names: Sequence[str]) -> PluginNotFoundError:
    near = difflib.get_close_matches(pattern, [*names, *sorted({n.partition(".")[0] for n in names})], n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names)}"
    return PluginNotFoundError(f"no check named {pattern!r}; {hint}")


def run_checks(
    episode: Episode,
    select: Sequence[str] | None = None,
    ignore: Sequence[str] = (),
    *,
    severities: Mapping[str, Severity] | None = None,
) -> list[Finding]:
    """Judge one episode.

    Args:
        episode: What to judge.
        select: Names, topics or patterns of the checks to run; None: all.
        ignore: The same, for what is left out.
        severities: Other severities by check name.

    Returns:
        Findings by check, each with check, severity and episode; a check that crashed is an error with its traceback.

    Raises:
        PluginNotFoundError: A name fits no check.
    """
    findings: list[Finding] = []
    unreadable: set[str] = set()
    for rule in _with_severities(_selected(select, ignore), severities).values():
        if not isinstance(rule, Check):
            continue
        for finding in _guarded(rule, partial(rule.function, episode)):
            # A damaged stream stops every check that reads it; once is enough to say so.
            if finding.check == READABLE:
                if finding.message in unreadable:
                    continue
                unreadable.add(finding.message)
            findings.append(dataclasses.replace(finding, episode_id=episode.episode_id))
    return findings


def run_dataset_checks(
    facts: Sequence[EpisodeFacts],
    select: Sequence[str] | None = None,
    ignore: Sequence[str] = (),
    *,
    severities: Mapping[str, Severity] | None = None,
) -> list[Finding]:
    """Judge all episodes of a dataset together; arguments and errors as `run_checks`."""
    findings: list[Finding] = []
    for rule in _with_severities(_selected(select, ignore), severities).values():
        if isinstance(rule, DatasetCheck):
            findings += _guarded(rule, partial(rule.function, facts))
    return findings


def _with_severities(
    rules: Mapping[str, Check | DatasetCheck], severities: Mapping[str, Severity] | None
) -> dict[str, Check | DatasetCheck]:
    changed = severities or {}
    for name in changed:
        find_check(name)
    return {n: dataclasses.replace(c, severity=changed.get(n, c.severity)) for n, c in rules.items()}


def _guarded(rule: Check | DatasetCheck, results: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """A rule's findings with its name and severity; at a crash those before it, and one about the crash."""
    found: list[Finding] = []
    try:
        # Values that overflow or are not finite are what checks look for; numpy need not warn of them.
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            # Findings before a crash are kept: extend takes them one by one.
            found.extend(dataclasses.replace(f, check=rule.name, severity=rule.severity) for f in results())
    except MemoryError:
        raise  # the worker's limit, not the check's fault
    except EpisodeFormatError as error:
        found.append(Finding(message=str(error), check=READABLE, severity=Severity.ERROR))
    except VladataError as error:
        found.append(Finding(message=f"could not run: {error}", check=rule.name, severity=Severity.ERROR))
    except Exception as error:  # noqa: BLE001 - whatever a check does, the others must run
        crashed = Finding(
            message=f"the check crashed with {type(error).__name__}: {str(error).partition(chr(10))[0]}",
            check=rule.name,
            severity=Severity.ERROR,
            traceback="".join(traceback.format_exception(error)),
        )
        found.append(crashed)
    return found
