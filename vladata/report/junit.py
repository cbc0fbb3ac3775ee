"""A report as JUnit XML, as continuous integration reads it: a suite for each check, a case for each episode it names.

Systems agree on the parts that are used here and on little else: `testsuites`, `testsuite` with its counts, `testcase`
with `classname` and `name`, in it at most one `failure` or `skipped`, then `system-out`. No times are written: equal
reports give equal bytes.
"""

import re
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal, TextIO

from ..finding import Finding, Report, Severity
from ..text import clip, printable
from ._summary import NOT_MEASURED, Summary, rule_of, steps_in_words

__all__ = ["write_junit"]

MAX_MESSAGE = 2_000
"""Characters of a message: systems keep whole reports in memory."""
MAX_TRACEBACK = 8_000
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_KNOWN, _PASSED, _FAILED = 0, 1, 2
_DATASET = 2**62
"""Number of the dataset among the episodes: it comes last, as in the report."""

Kind = Literal["failure", "skipped", "passed"]


@dataclass(frozen=True, slots=True)
class _Case:
    """One episode in the suite of a check."""

    kind: Kind
    indices: Sequence[int]
    """Places of its findings in the report."""


class _Suite:
    """Where the findings of one check lie in the report: numbers, not findings."""

    def __init__(self) -> None:
        self._index, self._episode, self._kind = array("q"), array("q"), array("b")

    def add(self, index: int, episode: int, kind: int) -> None:
        self._index.append(index)
        self._episode.append(episode)
        self._kind.append(kind)

    def cases(self) -> list[_Case]:
        """In the dataset's order."""
        by_episode: dict[int, list[int]] = {}
        for k in sorted(range(len(self._index)), key=lambda k: (self._episode[k], k)):
            by_episode.setdefault(self._episode[k], []).append(k)
        return [self._case(rows) for rows in by_episode.values()]

    def _case(self, rows: Sequence[int]) -> _Case:
        worst = max(self._kind[k] for k in rows)
        kind: Kind = "failure" if worst == _FAILED else "passed" if worst == _PASSED else "skipped"
        return _Case(kind, array("q", (self._index[k] for k in rows)))


def write_junit(
    report: Report, places: Mapping[str, str], file: TextIO, fail_on: Severity | None = Severity.ERROR
) -> None:
    """Write a report as JUnit XML.

    Findings of the severity or worse are failures, others the output of a case that passed. What a baseline knows, and
    what could not be measured, is skipped. A check that found nothing is one case that passed.

    Args:
        report: What was found; its findings are gone through once, then fetched by their place.
        places: Where each episode comes from, by episode_id.
        file: Open for text, UTF-8.
        fail_on: None: nothing fails.
    """
    summary, suites = _sort(report, fail_on)
    unmeasured = summary.not_measured if summary.is_all_blind else set()
    quiet: dict[str, Kind] = {n: "skipped" if n in unmeasured else "passed" for n in report.checks if n not in suites}
    quiet.pop(NOT_MEASURED, None)
    cases = {name: suite.cases() for name, suite in suites.items()}
    kinds = {n: [c.kind for c in found] for n, found in cases.items()} | {n: [k] for n, k in quiet.items()}
    file.write('<?xml version="1.0" encoding="UTF-8"?>\n')
    file.write(f'<testsuites name="vladata validate"{_counts([k for row in kinds.values() for k in row])}>\n')
    for name in sorted(kinds):
        file.write(f'  <testsuite name="{_attribute(name)}"{_counts(kinds[name])}>\n')
        if name in quiet:
            _write_quiet(file, name, quiet[name])
        for case in cases.get(name, ()):
            _write_case(file, case, [report.findings[i] for i in case.indices], places, fail_on)
        file.write("  </testsuite>\n")
    file.write("</testsuites>\n")


def _sort(report: Report, fail_on: Severity | None) -> tuple[Summary, dict[str, _Suite]]:
    """Places of the findings by check, in one pass."""
    summary, suites = Summary(report), dict[str, _Suite]()
    numbers = {episode_id: k for k, episode_id in enumerate(report.episodes)}
    for index, finding in enumerate(report.findings):
        summary.add(finding)
        key = finding.episode_id
        episode = numbers.setdefault(key, len(numbers)) if key else _DATASET
        suites.setdefault(finding.check, _Suite()).add(index, episode, _kind(finding, fail_on))
    return summary, suites


def _kind(finding: Finding, fail_on: Severity | None) -> int:
    if finding.is_known:
        return _KNOWN
    return _FAILED if fail_on is not None and finding.severity >= fail_on else _PASSED


def _counts(kinds: Sequence[Kind]) -> str:
    return f' tests="{len(kinds)}" failures="{kinds.count("failure")}" errors="0" skipped="{kinds.count("skipped")}"'


def _write_quiet(file: TextIO, name: str, kind: Kind) -> None:
    """A check that found nothing; one that had nothing to measure is never said to have passed."""
    rule = rule_of(name)
    head = f'    <testcase classname="{_attribute(name)}" name="{_attribute(rule or name)}"'
    if kind == "skipped":
        file.write(
            f'{head}>\n      <skipped message="not measured: no stream has a recorded time"/>\n    </testcase>\n'
        )
    else:
        file.write(f"{head}/>\n")


def _write_case(
    file: TextIO, case: _Case, findings: Sequence[Finding], places: Mapping[str, str], fail_on: Severity | None
) -> None:
    title = _title(findings[0].episode_id, places)
    file.write(f'    <testcase classname="{_attribute(findings[0].check)}" name="{_attribute(title)}">\n')
    failing = [f for f in findings if _kind(f, fail_on) == _FAILED]
    others = [f for f in findings if _kind(f, fail_on) != _FAILED]
    if failing:
        worst = max(failing, key=lambda f: (f.severity, f.magnitude))
        lines = "\n".join(_line(f) for f in failing)
        file.write(
            f'      <failure type="{worst.severity}" message="{_attribute(clip(worst.message, MAX_MESSAGE))}">'
            f"{_content(lines)}</failure>\n"
        )
    elif case.kind == "skipped":
        file.write('      <skipped message="known by the baseline"/>\n')
    if others:
        file.write(f"      <system-out>{_content(chr(10).join(_line(f) for f in others))}</system-out>\n")
    file.write("    </testcase>\n")


def _title(episode_id: str, places: Mapping[str, str]) -> str:
    place = printable(places.get(episode_id, ""))
    if not episode_id:
        return "the dataset"
    return f"{place} ({episode_id[:8]})" if place else episode_id


def _line(finding: Finding) -> str:
    """Severity, steps, message, place in the file; then the traceback of a check that crashed."""
    steps, known = steps_in_words(finding), ", known by the baseline" * finding.is_known
    head = f"{finding.severity}{known}{f' [{steps}]' if steps else ''}"
    line = f"{head}: {clip(printable(finding.message), MAX_MESSAGE)} ({printable(finding.location)})"
    if finding.traceback:
        line += "\n" + clip(printable(finding.traceback, one_line=False), MAX_TRACEBACK)
    return line


def _attribute(text: str) -> str:
    return escape(_ILLEGAL.sub("", printable(text)))


def _content(text: str) -> str:
    return escape(_ILLEGAL.sub("", text), quote=False)
