"""Quarantine: episodes with errors are marked in the edit log, never deleted; exports leave them out.

Marks of the checks are brought up to date by each validation: where the errors are gone, the mark is undone.
"""

from dataclasses import dataclass

from .finding import Report, Severity
from .store.dataset import Dataset
from .text import clip, printable

__all__ = ["Quarantine", "plan_quarantine"]

AUTHOR = "vladata validate"
"""Author of the marks that a validation makes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantine:
    """What a validation changes in the edit log."""

    edits: tuple[dict[str, object], ...]
    marked: tuple[str, ...]
    """Ids of the episodes that are marked now and were not, or not for these checks."""
    lifted: tuple[str, ...]
    """Ids of the episodes whose mark is undone."""
    kept: int = 0
    """Episodes that were marked and stay so."""

    def write(self, dataset: Dataset) -> None:
        """Add the edits to the log."""
        dataset.edits.extend(self.edits, AUTHOR)


def plan_quarantine(report: Report, dataset: Dataset) -> Quarantine:
    """Decide which episodes are to be marked, and which marks are to be lifted.

    An episode is marked for errors that no baseline knows. A mark that checks made is lifted where all of them ran
    again and found nothing; what a person has marked stays.
    """
    errors: dict[str, tuple[list[str], str]] = {}
    for finding in report.at_least(Severity.ERROR):
        if finding.episode_id:
            checks, _ = errors.setdefault(finding.episode_id, ([], finding.message))
            if finding.check not in checks:
                checks.append(finding.check)
    ran, marks = set(report.checks), dataset.quarantined
    edits: list[dict[str, object]] = []
    marked, lifted, kept = [], [], 0
    for entry in dataset.entries:
        mark = marks.get(entry.recording_id)
        if entry.episode_id in errors:
            checks, reason = errors[entry.episode_id]
            if mark is not None and (set(checks) <= set(mark.checks) or not mark.checks):
                kept += 1
                continue
            edits.append(
                {
                    "action": "quarantine",
                    "recording_id": entry.recording_id,
                    "checks": sorted({*checks, *(mark.checks if mark else ())}),
                    "reason": clip(printable(reason), 300),
                }
            )
            marked.append(entry.episode_id)
        elif mark is not None and mark.checks and set(mark.checks) <= ran:
            numbers = [e.number for e in dataset.edits.of(entry.recording_id) if e.action == "quarantine" and e.checks]
            edits += [{"action": "undo", "undoes": number} for number in numbers]
            lifted.append(entry.episode_id)
        elif mark is not None:
            kept += 1
    return Quarantine(edits=tuple(edits), marked=tuple(marked), lifted=tuple(lifted), kept=kept)
