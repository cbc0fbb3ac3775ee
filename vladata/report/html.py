"""A report as one page for people: what was found, where, and what it looks like; a file that asks for no other.

The worst findings of each check come with the signal or the frames they speak of, read again from the episodes in
worker processes.
"""

import contextlib
import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .. import workers
from ..finding import Finding, Report, Severity
from ..store.dataset import Dataset
from ..store.writer import replace_file
from ..text import clip, printable
from ._html_page import PageFacts, Shown, page
from ._shown import Evidence
from ._summary import Summary
from .evidence import MAX_PICTURES, EvidenceUnit, gather

__all__ = ["write_html"]

MAX_EVIDENCE = 60
"""Findings that are shown with what they look like, of all checks together."""
MAX_EVIDENCE_EACH = 6
"""Of one check."""
MAX_LINES = 30
"""Findings of one check that are told at all; the JSON has all."""
MAX_EVIDENCE_BYTES = 3_500_000
"""Of curves and frames together; what comes after is told without."""

Progress = Callable[[int, int, str], None]


def _quiet(done: int, total: int, name: str) -> None:
    """No progress."""


class _Worst:
    """The worst findings of one check; the first among equals."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, float, int, Finding]] = []

    def add(self, index: int, finding: Finding) -> None:
        magnitude = 0.0 if math.isnan(finding.magnitude) else float(finding.magnitude)
        item = (int(finding.severity), magnitude, -index, finding)
        if len(self._heap) < MAX_LINES:
            heapq.heappush(self._heap, item)
        else:
            heapq.heappushpop(self._heap, item)

    def findings(self) -> list[Finding]:
        """The worst first."""
        return [f for *_, f in sorted(self._heap, key=lambda i: i[:3], reverse=True)]


def write_html(
    report: Report, dataset: Dataset, path: Path, *, num_workers: int = 1, progress: Progress = _quiet
) -> None:
    """Write a report as one page; it appears whole or not at all, and equal reports give equal bytes.

    Args:
        report: What was found; its findings are gone through once.
        dataset: What was judged; its episodes are read again for what is shown of them.
        path: The file.
        num_workers: Processes that read; 0 reads in this one.
        progress: Called after each episode that was read.
    """
    summary = Summary(report)
    worst: dict[str, _Worst] = {}
    for index, finding in enumerate(report.findings):
        summary.add(finding)
        if not finding.is_known:
            worst.setdefault(finding.check, _Worst()).add(index, finding)
    told = {check.name: worst[check.name].findings() for check in summary.checks}
    numbers = {e.episode_id: k for k, e in enumerate(dataset.entries)}
    chosen = _choose(told)
    seen = _gather(dataset, chosen, num_workers, progress)
    facts = PageFacts(
        report=report,
        summary=summary,
        name=dataset.path.resolve().name or "dataset",
        digest=dataset.digest,
        entries=dataset.entries,
        shown=_shown(told, chosen, seen),
        numbers=numbers,
    )
    with replace_file(path) as temporary, temporary.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
        file.writelines(page(facts))


def _choose(told: dict[str, list[Finding]]) -> list[Finding]:
    """Findings to show in full: first the worst of each check, then the next worst, in other episodes where it can."""
    ranked = {name: _apart(found)[: _most(found)] for name, found in told.items()}
    chosen: list[Finding] = []
    for rank in range(MAX_EVIDENCE_EACH):
        chosen += [found[rank] for found in ranked.values() if rank < len(found)]
    return chosen[:MAX_EVIDENCE]


def _most(found: Sequence[Finding]) -> int:
    return 1 if found[0].severity is Severity.INFO else MAX_EVIDENCE_EACH


def _apart(found: Sequence[Finding]) -> list[Finding]:
    """The worst of each episode, then the second of each: a bad episode must not hide the others."""
    counts: dict[str, int] = {}
    ranks: tuple[list[Finding], list[Finding]] = ([], [])
    for finding in found:
        rank = counts.get(finding.episode_id, 0)
        counts[finding.episode_id] = rank + 1
        if rank < len(ranks):
            ranks[rank].append(finding)
    return ranks[0] + ranks[1]


@dataclass(frozen=True, slots=True, eq=False)
class _Wanted:
    """Evidence for a finding, out of one episode."""

    finding: Finding
    asked: Finding
    """What the episode is asked for."""
    other: str = ""
    """Id of another episode that the finding is compared with."""


def _requests(findings: Sequence[Finding]) -> Iterator[tuple[str, _Wanted]]:
    """By episode_id: the finding's own, and for cameras also what others look like."""
    for finding in findings:
        if finding.episode_id:
            yield finding.episode_id, _Wanted(finding, finding)
        if finding.location.endswith("/frames"):
            most = 1 if finding.episode_id else MAX_PICTURES
            for other in finding.others[:most]:
                yield other, _Wanted(finding, replace(finding, steps=None, frames=()), other)


def _gather(dataset: Dataset, findings: Sequence[Finding], num_workers: int, progress: Progress) -> dict[int, Evidence]:
    """Evidence by the identity of the finding: one unit for each episode."""
    wanted: dict[str, list[_Wanted]] = {e.episode_id: [] for e in dataset.entries}
    for episode_id, request in _requests(findings):
        wanted.get(episode_id, []).append(request)
    units = [
        EvidenceUnit(
            folder=dataset.path,
            entry=entry,
            edits=dataset.edits.of(entry.recording_id),
            findings=tuple(w.asked for w in wanted[entry.episode_id]),
        )
        for entry in dataset.entries
        if wanted[entry.episode_id]
    ]
    found: dict[int, list[Evidence]] = {}
    with contextlib.closing(workers.run(gather, units, workers=num_workers)) as outcomes:
        for done, outcome in enumerate(outcomes, start=1):
            unit = units[outcome.index]
            if isinstance(outcome, workers.Failed):
                reason = clip(printable(outcome.reason), 200)
                found[outcome.index] = [Evidence(note=f"nothing to show: {reason}")] * len(unit.findings)
            else:
                found[outcome.index] = outcome.result
            progress(done, len(units), unit.entry.place)
    seen: dict[int, Evidence] = {}
    for index, unit in enumerate(units):
        for request, evidence in zip(wanted[unit.entry.episode_id], found[index], strict=True):
            own = seen.get(id(request.finding), Evidence())
            seen[id(request.finding)] = _joined(own, evidence, request, unit.entry.place or unit.entry.episode_id)
    return seen


def _joined(own: Evidence, evidence: Evidence, request: _Wanted, place: str) -> Evidence:
    """One picture of each other episode, after those of the finding's own."""
    if not request.other:
        return replace(evidence, pictures=(*evidence.pictures, *own.pictures))
    middle = evidence.pictures[len(evidence.pictures) // 2 :][:1]
    why = "for comparison, " if request.finding.episode_id else ""
    told = tuple(replace(p, caption=f"{why}{place}: {p.caption}") for p in middle)
    return replace(own, pictures=(*own.pictures, *told))


def _shown(
    told: dict[str, list[Finding]], chosen: Sequence[Finding], seen: dict[int, Evidence]
) -> dict[str, list[Shown]]:
    """What the page tells of each check, numbered; evidence up to the size that a page may have."""
    room = MAX_EVIDENCE_BYTES
    evidence: dict[int, Evidence] = {}
    for finding in chosen:
        found = seen.get(id(finding), Evidence())
        if _size(found) > room:
            found = Evidence(note="not shown: the page would become too large")
        room -= _size(found)
        evidence[id(finding)] = found
    shown: dict[str, list[Shown]] = {}
    anchors = _anchors()
    for name, findings in told.items():
        # Those with a picture first, both in order.
        ordered = sorted(findings, key=lambda f: id(f) not in evidence)
        shown[name] = [Shown(finding=f, anchor=next(anchors), evidence=evidence.get(id(f))) for f in ordered]
    return shown


def _anchors() -> Iterator[str]:
    number = 0
    while True:
        number += 1
        yield f"f{number}"


def _size(evidence: Evidence) -> int:
    """Bytes of the page that it takes; frames are written as base64."""
    return len(evidence.drawing) + sum(len(p.jpeg) * 4 // 3 for p in evidence.pictures)
