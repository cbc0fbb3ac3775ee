"""A report as JSON, for programs: one document, its schema published, bound to what was judged by content digests."""

import json
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from ..documents import Document, parse
from ..errors import SchemaError
from ..finding import Finding, Report, Severity

__all__ = ["SCHEMA_VERSION", "from_json", "json_schema", "to_json"]

SCHEMA_VERSION = 1
"""Counts up when a reader of the JSON must change; new optional keys don't count."""

SeverityName = Literal["info", "warning", "error"]


class _Published(Document):
    """A part of the JSON; the words under its fields go into the JSON Schema."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class ReportEpisode(_Published):
    """One episode that was judged."""

    episode_id: str
    content_digest: str
    """SHA-256 of its streams: the report holds for this content and no other."""


class ReportCounts(_Published):
    """Number of findings by severity."""

    info: Annotated[int, Field(ge=0)]
    warning: Annotated[int, Field(ge=0)]
    error: Annotated[int, Field(ge=0)]


class ReportFinding(_Published):
    """One thing that a check has to say."""

    check: str
    severity: SeverityName
    message: str
    episode_id: str
    """Empty for findings about the dataset."""
    location: str
    """HDF5 path of what it is about."""
    steps: tuple[int, int] | None
    """Steps concerned (the worst place), half-open; null: the whole episode, or no single place."""
    magnitude: float
    """How far off, to compare findings of one check; larger is worse."""
    others: tuple[str, ...]
    """Further episodes concerned."""
    traceback: str
    """Of a check that crashed."""


class ReportDocument(_Published):
    """All findings of one validation."""

    schema_version: Annotated[int, Field(ge=1, le=SCHEMA_VERSION)]
    checks: tuple[str, ...]
    """Names of the checks that ran, also of those that found nothing."""
    counts: ReportCounts
    episodes: tuple[ReportEpisode, ...]
    findings: tuple[ReportFinding, ...]
    """By episode in the dataset's order, then by check and place."""


def to_json(report: Report) -> str:
    """Write a report; equal reports give equal text.

    The text is ASCII: what strangers wrote into recordings can't steer a terminal.
    """
    document = ReportDocument(
        schema_version=SCHEMA_VERSION,
        checks=report.checks,
        counts=ReportCounts(
            info=report.count(Severity.INFO),
            warning=report.count(Severity.WARNING),
            error=report.count(Severity.ERROR),
        ),
        episodes=tuple(ReportEpisode(episode_id=i, content_digest=d) for i, d in report.episodes.items()),
        findings=tuple(_plain(f) for f in report.findings),
    )
    return json.dumps(document.model_dump(mode="json"), indent=2, sort_keys=True, ensure_ascii=True, allow_nan=False)


def _plain(finding: Finding) -> ReportFinding:
    return ReportFinding(
        check=finding.check,
        severity=str(finding.severity),  # type: ignore[arg-type]  # the three names are the literal's
        message=_unicode(finding.message),
        episode_id=finding.episode_id,
        location=finding.location,
        steps=finding.steps,
        magnitude=finding.magnitude,
        others=finding.others,
        traceback=_unicode(finding.traceback),
    )


def _unicode(text: str) -> str:
    """Text that every JSON reader takes: file names that are not UTF-8 arrive as lone surrogates."""
    return text.encode("utf-8", "replace").decode()


def from_json(text: str) -> Report:
    """Read a report that `to_json` wrote.

    Raises:
        SchemaError: The text is not JSON, not a report, or a report of a newer schema.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise SchemaError(f"not a report: {error}") from error
    document = parse(ReportDocument, value, "report")
    return Report(
        findings=tuple(
            Finding(
                message=f.message,
                location=f.location,
                steps=f.steps,
                check=f.check,
                severity=Severity.parse(f.severity),
                episode_id=f.episode_id,
                others=f.others,
                magnitude=f.magnitude,
                traceback=f.traceback,
            )
            for f in document.findings
        ),
        episodes={e.episode_id: e.content_digest for e in document.episodes},
        checks=document.checks,
    )


def json_schema() -> dict[str, object]:
    """The JSON Schema (draft 2020-12) of what `to_json` writes."""
    schema = ReportDocument.model_json_schema(mode="serialization", by_alias=True)
    schema["title"] = "vladata report"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
