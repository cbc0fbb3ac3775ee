"""What checks find, and the report that holds it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property

from .errors import ValidationError

__all__ = ["Finding", "Report", "Severity"]


class Severity(IntEnum):
    """How bad a finding is."""

    INFO = 10
    WARNING = 20
    ERROR = 30

    @classmethod
    def parse(cls, text: str) -> "Severity":
        """From `info`, `warning` or `error`; ValueError otherwise."""
        try:
            return cls[text.upper()]
        except KeyError:
            raise ValueError(f"severity is {text!r}; it must be info, warning or error") from None

    def __str__(self) -> str:
        """Lower-case name."""
        return self.name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that a check has to say."""

    message: str
    """What is, then what must be, with both values."""
    location: str = "/"
    """HDF5 path of what it is about."""
    steps: tuple[int, int] | None = None
    """Steps concerned, half-open; None: the whole episode."""
    check: str = ""
    """Name of the check; filled in by the runner."""
    severity: Severity = Severity.WARNING
    """Filled in by the runner from the check."""
    episode_id: str = ""
    """Filled in by the runner; empty for findings about the dataset."""
    others: tuple[str, ...] = ()
    """Further episodes concerned (dataset checks)."""
    magnitude: float = 0.0
    """How far off, for comparing findings of one check; larger is worse."""
    dimensions: tuple[str, ...] = ()
    """Names of the dimensions concerned, of the signal at the location; empty: all, or none."""
    frames: tuple[int, ...] = ()
    """Some frames that show it, of the camera at the location."""
    is_known: bool = False
    """True where a baseline has it: it is told, and does not count."""
    traceback: str = ""
    """Of a check that crashed."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """All findings of one validation."""

    findings: Sequence[Finding]
    """By episode in the dataset's order, then by check and place; those about the dataset come last. They may lie on a
    disk: go through them, don't collect them."""
    episodes: Mapping[str, str] = field(default_factory=dict)
    """Content digest by episode_id: what the report has seen."""
    checks: tuple[str, ...] = ()
    """Names of the checks that ran."""
    thresholds: Mapping[str, Mapping[str, float | str]] = field(default_factory=dict)
    """By check, what was set otherwise than by default for all episodes; schemas may set more."""

    def at_least(self, severity: Severity) -> Iterator[Finding]:
        """Findings of this severity or worse that no baseline knows."""
        return (f for f in self.findings if f.severity >= severity and not f.is_known)

    @cached_property
    def _counts(self) -> dict[tuple[Severity, bool], int]:
        counts: dict[tuple[Severity, bool], int] = {}
        for finding in self.findings:
            key = finding.severity, finding.is_known
            counts[key] = counts.get(key, 0) + 1
        return counts

    def count(self, severity: Severity) -> int:
        """Number of findings of exactly this severity that no baseline knows."""
        return self._counts.get((severity, False), 0)

    @property
    def num_known(self) -> int:
        """Number of findings that a baseline knows."""
        return sum(n for (_, is_known), n in self._counts.items() if is_known)

    def raise_above(self, severity: Severity) -> None:
        """Raise where a finding reaches the severity.

        Raises:
            ValidationError: With the number of such findings and the first of them.
        """
        first = next(self.at_least(severity), None)
        if first is not None:
            count = sum(self.count(s) for s in Severity if s >= severity)
            raise ValidationError(f"{count} findings at {severity} or above, the first: {first.message}")

    @classmethod
    def merged(cls, reports: Iterable["Report"]) -> "Report":
        """One report out of several, in order."""
        parts = list(reports)
        return cls(
            findings=tuple(f for r in parts for f in r.findings),
            episodes={k: v for r in parts for k, v in r.episodes.items()},
            checks=parts[0].checks if parts else (),
            thresholds=parts[0].thresholds if parts else {},
        )
