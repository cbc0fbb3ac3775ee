"""Runs checks: a check that crashes becomes a finding, and the run goes on."""

import dataclasses
import difflib
import fnmatch
import math
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from .. import plugins
from ..episode import Episode
from ..errors import EpisodeFormatError, PluginNotFoundError, SchemaError, VladataError
from ..finding import Finding, Severity
from ..text import clip, printable
from ._check import Check, DatasetCheck, EpisodeFacts, Feature

__all__ = [
    "CheckSettings",
    "check_names",
    "find_check",
    "matching_names",
    "measure",
    "rule_problems",
    "run_checks",
    "run_dataset_checks",
    "selected_names",
]

Rules = Mapping[str, Mapping[str, float | str]]
"""By check: thresholds by name, and `severity`."""

NOT_MEASURED = "timing.not_measured"
READABLE = "structure.readable"
MOST_CHARACTERS = 2_000
"""Of a message."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSettings:
    """Which checks run, and with which thresholds and severities."""

    select: tuple[str, ...] | None = None
    """Names, topics (`timing`) or patterns (`timing.*`) of the checks that run; None: all."""
    ignore: tuple[str, ...] = ()
    """The same, for what is left out."""
    rules: Rules = field(default_factory=dict)
    """By check: thresholds by name, and `severity`. They go before all others: the command line's."""
    schemas: Mapping[str, Rules] = field(default_factory=dict)
    """By name of an embodiment: its `checks` section, which goes before the one that its episodes carry."""

    def __post_init__(self) -> None:
        """Look at every name.

        Raises:
            PluginNotFoundError: A name or pattern fits no check; the message proposes the nearest one.
            SchemaError: A check has no threshold of that name, or a severity is none.
        """
        names = check_names()
        for pattern in (*(self.select or ()), *self.ignore):
            _matching(pattern, names)
        for rules in (self.rules, *self.schemas.values()):
            problem = next(rule_problems(rules), None)
            if problem is not None:
                raise SchemaError(problem)

    def rules_for(self, embodiment: str, own: Rules) -> dict[str, dict[str, float | str]]:
        """What holds for episodes of an embodiment, whose own section is `own`; what `rule_problems` names does not."""
        known, merged = _all(), {}
        for name in {*own, *self.schemas.get(embodiment, {}), *self.rules}:
            if name in known:
                base = self.schemas.get(embodiment, own).get(name, {})
                values = {**base, **self.rules.get(name, {})}
                merged[name] = {k: v for k, v in values.items() if not _problem(known[name], k, v)}
        return merged


def rule_problems(rules: Rules) -> Iterator[str]:
    """What is wrong with a `checks` section, one line each: unknown checks, thresholds and severities."""
    known = _all()
    for name, values in rules.items():
        if name not in known:
            yield str(_unknown(name, list(known)))
            continue
        yield from (problem for key, value in values.items() if (problem := _problem(known[name], key, value)))


def _problem(rule: Check | DatasetCheck, key: str, value: float | str) -> str:
    """What is wrong with a threshold or severity of a check; empty where it holds."""
    if key == "severity":
        is_good = value in {"off", *map(str, Severity)}
        return "" if is_good else f"checks.{rule.name}.severity is {value!r}; it must be info, warning, error or off"
    if key not in rule.thresholds:
        has = f"it has {', '.join(rule.thresholds)}" if rule.thresholds else "it has none"
        return f"check {rule.name} has no threshold {key!r}; {has}"
    if isinstance(value, str):
        return f"checks.{rule.name}.{key} is {value!r}; it must be a number"
    if not 0 <= value < math.inf:
        return f"checks.{rule.name}.{key} is {value:g}; it must be 0 or more and finite (severity off: no check)"
    return ""


def matching_names(patterns: Sequence[str]) -> list[str]:
    """Names of the checks that fit one of some names, topics (`timing`) or patterns (`timing.*`), sorted.

    Raises:
        PluginNotFoundError: A name or pattern fits no check; the message proposes the nearest one.
    """
    names = check_names()
    return sorted({n for p in patterns for n in _matching(p, names)})


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
    settings: CheckSettings | None = None,
) -> list[Finding]:
    """Judge one episode.

    Args:
        episode: What to judge.
        select: Names, topics or patterns of the checks to run; None: all.
        ignore: The same, for what is left out.
        settings: Instead of `select` and `ignore`, with thresholds and severities.

    Returns:
        Findings by check, each with check, severity and episode; a check that crashed is an error with its traceback.

    Raises:
        PluginNotFoundError: A name fits no check.
        SchemaError: A check has no such threshold.
    """
    settings = settings or _settings(select, ignore)
    findings: list[Finding] = []
    unreadable: set[str] = set()
    rules = settings.rules_for(episode.embodiment.name, episode.embodiment.checks)
    for rule in _with_rules(_selected(settings.select, settings.ignore), rules).values():
        if not isinstance(rule, Check):
            continue
        for finding in _guarded(rule, partial(rule.function, episode, **rule.thresholds)):
            # A damaged stream stops every check that reads it; once is enough to say so.
            if finding.check == READABLE:
                if finding.message in unreadable:
                    continue
                unreadable.add(finding.message)
            findings.append(dataclasses.replace(finding, episode_id=episode.episode_id))
    return findings


def measure(episode: Episode, settings: CheckSettings) -> tuple[dict[str, NDArray[np.generic]], list[Finding]]:
    """Measure what the selected checks of the whole dataset want to know of an episode.

    Returns:
        What could be measured by name of the feature, and for each feature that crashed a finding of its check.
    """
    wanted: dict[Feature, str] = {}
    for rule in _selected(settings.select, settings.ignore).values():
        if isinstance(rule, DatasetCheck):
            wanted.update({f: wanted.get(f, rule.name) for f in rule.features})
    measured: dict[str, NDArray[np.generic]] = {}
    crashed: list[Finding] = []
    for item, name in wanted.items():
        try:
            with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
                values = item.function(episode)
        except MemoryError:
            raise
        except EpisodeFormatError:
            continue  # `structure.readable` has said so
        except Exception as error:  # noqa: BLE001 - whatever a measurement does, the others must run
            found = dataclasses.replace(_crash(name, error), episode_id=episode.episode_id)
            crashed.append(_told(dataclasses.replace(found, message=f"{item.name}: {found.message}")))
            continue
        if values is not None:
            measured[item.name] = values
    return measured, crashed


def run_dataset_checks(
    facts: Sequence[EpisodeFacts],
    select: Sequence[str] | None = None,
    ignore: Sequence[str] = (),
    *,
    settings: CheckSettings | None = None,
) -> list[Finding]:
    """Judge all episodes of a dataset together; arguments and errors as `run_checks`.

    A threshold or severity that the embodiments of several episodes set differently holds as the first one sets it.
    """
    settings = settings or _settings(select, ignore)
    rules: dict[str, dict[str, float | str]] = settings.rules_for("", {})
    seen: set[tuple[str, str]] = set()
    for fact in facts:
        if (fact.embodiment, fact.embodiment_digest) not in seen:
            seen.add((fact.embodiment, fact.embodiment_digest))
            rules = {**settings.rules_for(fact.embodiment, fact.rules), **rules}
    findings: list[Finding] = []
    for rule in _with_rules(_selected(settings.select, settings.ignore), rules).values():
        if isinstance(rule, DatasetCheck):
            findings += _guarded(rule, partial(rule.function, facts, **rule.thresholds))
    return findings


def _settings(select: Sequence[str] | None, ignore: Sequence[str]) -> CheckSettings:
    return CheckSettings(select=None if select is None else tuple(select), ignore=tuple(ignore))


def _with_rules(rules: Mapping[str, Check | DatasetCheck], changes: Rules) -> dict[str, Check | DatasetCheck]:
    """The checks with other thresholds and severities; those that are `off` are left out."""
    made: dict[str, Check | DatasetCheck] = {}
    for name, rule in rules.items():
        values = changes.get(name, {})
        severity = values.get("severity")
        if severity == "off":
            continue
        thresholds = {k: float(v) for k, v in values.items() if k != "severity"}
        made[name] = dataclasses.replace(
            rule,
            severity=rule.severity if severity is None else Severity.parse(str(severity)),
            thresholds={**rule.thresholds, **thresholds},
        )
    return made


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
        found.append(_crash(rule.name, error))
    return [_told(f) for f in found]


def _told(finding: Finding) -> Finding:
    """A finding whose message steers no terminal and has an end, whatever names and errors a check put into it."""
    message = clip(printable(finding.message), MOST_CHARACTERS)
    return finding if message == finding.message else dataclasses.replace(finding, message=message)


def _crash(name: str, error: Exception) -> Finding:
    return Finding(
        message=f"the check crashed with {type(error).__name__}: {str(error).partition(chr(10))[0]}",
        check=name,
        severity=Severity.ERROR,
        traceback="".join(traceback.format_exception(error)),
    )
