"""A baseline: findings that a team has seen and lives with, so that checks can be adopted on old data.

A finding is known by its check, what it is about (recording, place in the file, dimensions) and its severity; not by
its numbers or steps. Where a known one gets more severe, or speaks of something else, it counts again.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from .documents import Document, canonical_json, parse
from .errors import SchemaError
from .finding import Finding, Report, Severity
from .store.dataset import Dataset
from .store.writer import replace_file
from .text import printable

__all__ = ["Baseline", "write_baseline"]

FORMAT = "vladata-baseline"
MAX_BYTES = 1_000_000_000
"""A larger file is no baseline."""


class KnownFinding(Document):
    """One line of a baseline."""

    check: str
    severity: Literal["info", "warning", "error"]
    recording_id: str = ""
    """Empty for findings about the dataset."""
    location: str = "/"
    dimensions: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    """Recordings that a finding about the dataset speaks of."""


class _Head(Document):
    """The first line."""

    format: Literal["vladata-baseline"]
    format_version: Annotated[int, Field(ge=1, le=1)]


class Baseline:
    """Findings that are known."""

    def __init__(self, known: Mapping[bytes, Severity], recordings: Mapping[str, str]) -> None:
        """Use `Baseline.read`."""
        self._known, self._recordings = known, recordings

    @classmethod
    def read(cls, path: Path, dataset: Dataset) -> "Baseline":
        """Read a baseline for the episodes of a dataset.

        Raises:
            SchemaError: The file is no baseline, or a line is damaged.
            OSError: The file can't be read.
        """
        known: dict[bytes, Severity] = {}
        if path.stat().st_size > MAX_BYTES:
            raise SchemaError(f"{path.name}: {path.stat().st_size:,} bytes; a baseline has at most {MAX_BYTES:,}")
        number = 0
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                where = f"{path.name}: line {number}"
                try:
                    value = json.loads(line)
                    item = parse(_Head if number == 1 else KnownFinding, value, where)
                except (ValueError, RecursionError) as error:
                    if isinstance(error, SchemaError):
                        raise
                    raise SchemaError(f"{where} is not JSON; --write-baseline makes baselines") from error
                if isinstance(item, KnownFinding):
                    key, severity = _key(item), Severity.parse(item.severity)
                    known[key] = max(severity, known.get(key, severity))
        if number == 0:
            raise SchemaError(f"{path.name}: the file is empty; --write-baseline makes baselines")
        return cls(known, recordings_of(dataset))

    def knows(self, finding: Finding) -> bool:
        """Whether a finding is known, and no more severe than it was."""
        severity = self._known.get(_key(_line(finding, self._recordings)))
        return severity is not None and finding.severity <= severity


def recordings_of(dataset: Dataset) -> dict[str, str]:
    """Recording by episode: recordings stay the same when episodes are synchronized anew."""
    return {e.episode_id: e.recording_id for e in dataset.entries}


def _line(finding: Finding, recordings: Mapping[str, str]) -> KnownFinding:
    return KnownFinding(
        check=finding.check,
        severity=str(finding.severity),  # type: ignore[arg-type]  # the three names are the literal's
        recording_id=recordings.get(finding.episode_id, finding.episode_id),
        location=printable(finding.location),
        dimensions=finding.dimensions,
        others=tuple(sorted(recordings.get(i, i) for i in finding.others)) if not finding.episode_id else (),
    )


def _key(item: KnownFinding) -> bytes:
    plain = item.model_dump(mode="json", exclude={"severity"})
    return hashlib.sha256(canonical_json(plain).encode("utf-8", "surrogatepass")).digest()[:16]


def write_baseline(report: Report, dataset: Dataset, path: Path) -> int:
    """Write all findings of a report, those that were known too, one line each in a fixed order.

    Returns:
        How many there are.
    """
    recordings = recordings_of(dataset)
    lines = sorted(set(_lines(report, recordings)))
    head = canonical_json({"format": FORMAT, "format_version": 1})
    with replace_file(path) as temporary:
        temporary.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    return len(lines)


def _lines(report: Report, recordings: Mapping[str, str]) -> Iterator[str]:
    for finding in report.findings:
        plain = _line(finding, recordings).model_dump(mode="json", exclude_defaults=True)
        yield json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
