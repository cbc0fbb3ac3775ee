"""A report as JSON, for programs: one document, its schema published, bound to what was judged by content digests."""

import io
import json
import math
import sys
from collections.abc import Iterable
from typing import Annotated, Literal, TextIO

from pydantic import ConfigDict, Field

from ..documents import Document, parse
from ..errors import SchemaError
from ..finding import Finding, Report, Severity

__all__ = ["SCHEMA_VERSION", "from_json", "json_schema", "to_json", "write_json"]

SCHEMA_VERSION = 1
"""Counts up when a reader of the JSON must change; new optional keys don't count."""

_encode = json.JSONEncoder(ensure_ascii=True, allow_nan=False).encode

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
    """Number of findings by severity, without those that a baseline knows."""

    info: Annotated[int, Field(ge=0)]
    warning: Annotated[int, Field(ge=0)]
    error: Annotated[int, Field(ge=0)]
    known: Annotated[int, Field(ge=0)] = 0
    """Findings that a baseline knows, of whatever severity."""


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
    dimensions: tuple[str, ...] = ()
    """Dimensions concerned, of the signal at the location; empty: all, or none."""
    frames: tuple[int, ...] = ()
    """Some frames that show it, of the camera at the location."""
    known: bool = False
    """True where a baseline has it: it is told, and not counted."""


class ReportDocument(_Published):
    """All findings of one validation."""

    schema_version: Annotated[int, Field(ge=1, le=SCHEMA_VERSION)]
    checks: tuple[str, ...]
    """Names of the checks that ran, also of those that found nothing."""
    counts: ReportCounts
    episodes: tuple[ReportEpisode, ...]
    findings: tuple[ReportFinding, ...]
    """By episode in the dataset's order, then by check and place."""
    thresholds: dict[str, dict[str, float | str]] = {}
    """By check, what was set otherwise than by default for all episodes; `severity` is another one."""


def to_json(report: Report) -> str:
    """The text of a report; equal reports give equal text.

    The text is ASCII: what strangers wrote into recordings can't steer a terminal.
    """
    text = io.StringIO()
    write_json(report, text)
    return text.getvalue()


def write_json(report: Report, file: TextIO) -> None:
    """Write the text of `to_json` to an open file, episode by episode and finding by finding.

    No newline follows it.
    """
    counts = ReportCounts(
        info=report.count(Severity.INFO),
        warning=report.count(Severity.WARNING),
        error=report.count(Severity.ERROR),
        known=report.num_known,
    )
    episodes = (ReportEpisode(episode_id=i, content_digest=d) for i, d in report.episodes.items())
    thresholds = {
        check: {n: v if isinstance(v, str) else float(v) for n, v in values.items()}
        for check, values in report.thresholds.items()
    }
    # As json.dumps would write the whole, sorted by key.
    file.write(f'{{\n  "checks": {_text(list(report.checks), 1)},\n  "counts": {_text(counts.model_dump(), 1)},\n')
    file.write('  "episodes": ')
    _write_list((e.model_dump() for e in episodes), file)
    file.write(',\n  "findings": ')
    _write_list((_plain(f).model_dump(mode="json") for f in report.findings), file)
    file.write(f',\n  "schema_version": {SCHEMA_VERSION},\n  "thresholds": {_text(thresholds, 1)}\n}}')


def _text(value: object, depth: int) -> str:
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return text.replace("\n", "\n" + "  " * depth)  # strings hold no line break: it is escaped


def _object(item: dict[str, object]) -> str:
    """`_text` of an item of a list; the fast encoder of the standard library knows no indentation."""
    return "{\n      " + ",\n      ".join(f'"{key}": {_value(item[key])}' for key in sorted(item)) + "\n    }"


def _value(value: object) -> str:
    if not isinstance(value, list):
        return _encode(value)
    return "[\n        " + ",\n        ".join(map(_encode, value)) + "\n      ]" if value else "[]"


def _write_list(items: Iterable[dict[str, object]], file: TextIO) -> None:
    written = iter(items)
    first = next(written, None)
    if first is None:
        file.write("[]")
        return
    file.write(f"[\n    {_object(first)}")
    file.writelines(f",\n    {_object(item)}" for item in written)
    file.write("\n  ]")


def _plain(finding: Finding) -> ReportFinding:
    return ReportFinding(
        check=finding.check,
        severity=str(finding.severity),  # type: ignore[arg-type]  # the three names are the literal's
        message=_unicode(finding.message),
        episode_id=finding.episode_id,
        location=finding.location,
        steps=finding.steps,
        magnitude=_number(finding.magnitude),
        others=finding.others,
        traceback=_unicode(finding.traceback),
        dimensions=finding.dimensions,
        frames=finding.frames,
        known=finding.is_known,
    )


def _number(magnitude: float) -> float:
    """A number that JSON has: infinite ones become the largest, what is none 0."""
    if math.isnan(magnitude):
        return 0.0
    return min(max(magnitude, -sys.float_info.max), sys.float_info.max)


def _unicode(text: str) -> str:
    """Text that every JSON reader takes: file names that are not UTF-8 arrive as lone surrogates."""
    return text.encode("utf-8", "replace").decode()


def from_json(text: str) -> Report:
    """Read a report that `to_json` or `write_json` wrote, of this release or an older one.

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
                dimensions=f.dimensions,
                frames=f.frames,
                is_known=f.known,
            )
            for f in document.findings
        ),
        episodes={e.episode_id: e.content_digest for e in document.episodes},
        checks=document.checks,
        thresholds=document.thresholds,
    )


def json_schema() -> dict[str, object]:
    """The JSON Schema (draft 2020-12) of what `to_json` writes; keys that older releases did not have are optional."""
    schema = ReportDocument.model_json_schema(mode="validation", by_alias=True)
    schema["title"] = "vladata report"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
