"""What checks find, and the report that holds it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

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
    traceback: str = ""
    """Of a check that crashed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All findings of one validation."""

    findings: tuple[Finding, ...]
    """By episode in the dataset's order, then by check and place."""
    episodes: Mapping[str, str] = field(default_factory=dict)
    """Content digest by episode_id: what the report has seen."""
    checks: tuple[str, ...] = ()
    """Names of the checks that ran."""

    def at_least(self, severity: Severity) -> tuple[Finding, ...]:
        """Findings of this severity or worse."""
        return tuple(f for f in self.findings if f.severity >= severity)

    def count(self, severity: Severity) -> int:
        """Number of findings of exactly this severity."""
        return sum(f.severity == severity for f in self.findings)

    def raise_above(self, severity: Severity) -> None:
        """Raise where a finding reaches the severity.

        Raises:
            ValidationError: With the number of such findings and the first of them.
        """
        bad = self.at_least(severity)
        if bad:
            raise ValidationError(f"{len(bad)} findings at {severity} or above, the first: {bad[0].message}")

    @classmethod
    def merged(cls, reports: Iterable["Report"]) -> "Report":
        """One report out of several, in order."""
        parts = list(reports)
        return cls(
            findings=tuple(f for r in parts for f in r.findings),
            episodes={k: v for r in parts for k, v in r.episodes.items()},
            checks=parts[0].checks if parts else (),
        )
