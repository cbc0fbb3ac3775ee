"""Labels given by hand at ingest, for what a recording lacks: instruction, outcome, metadata."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .errors import SchemaError
from .recording import Instruction, Outcome

__all__ = ["Labels", "parse_outcome", "parse_set", "read_labels"]

MAX_BYTES = 64_000_000
KEY_COLUMN = "recording"


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What a user says of recordings; it goes before what the recording says itself."""

    common: Mapping[str, str] = field(default_factory=dict)
    """For all recordings: `instruction`, `outcome`, or any name of metadata."""
    by_place: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """For single ones, by place; goes before `common`."""

    def of(self, place: str) -> dict[str, str]:
        """Labels of one recording; empty values don't count."""
        own = {k: v for k, v in self.by_place.get(place, {}).items() if v}
        return {k: v for k, v in {**self.common, **own}.items() if v}


def parse_outcome(text: str, where: str) -> Outcome:
    """From `success`, `failure` or `failure: reason`.

    Raises:
        SchemaError: The text is none of these.
    """
    kind, _, reason = (part.strip() for part in text.partition(":"))
    lower = kind.lower()
    if lower == "success":
        return Outcome(kind="success", reason=reason, author="user")
    if lower == "failure":
        return Outcome(kind="failure", reason=reason, author="user")
    raise SchemaError(f"{where}: outcome is {kind!r}; it must be success or failure, with a reason after a colon")


def parse_set(pairs: Sequence[str]) -> dict[str, str]:
    """From `name=value` texts.

    Raises:
        SchemaError: A text has no `=`, a name is empty or comes twice, or the outcome is unknown.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        name = name.strip()
        if not sign or not name:
            raise SchemaError(f"--set {pair!r}; it must be name=value")
        if name in found:
            raise SchemaError(f"--set {name} is given twice")
        found[name] = value.strip()
    if found.get("outcome"):
        parse_outcome(found["outcome"], "--set")
    return found


def read_labels(path: Path) -> dict[str, dict[str, str]]:
    """Read a CSV file with the column `recording` (a place, as `vladata inspect` names it) and one per label.

    Raises:
        SchemaError: The column is missing, a place comes twice, or an outcome is unknown; with the line.
    """
    if path.stat().st_size > MAX_BYTES:
        raise SchemaError(f"{path.name}: {path.stat().st_size:,} bytes; labels must have at most {MAX_BYTES:,}")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _rows(csv.DictReader(file, strict=True), path.name)
    except UnicodeDecodeError as error:
        raise SchemaError(f"{path.name}: byte {error.start} is not UTF-8; labels must be UTF-8 text") from error
    except csv.Error as error:
        raise SchemaError(f"{path.name}: not CSV: {error}") from error


def _rows(reader: "csv.DictReader[str]", name: str) -> dict[str, dict[str, str]]:
    columns = [c.strip() for c in reader.fieldnames or ()]
    reader.fieldnames = columns
    twice = sorted({c for c in columns if columns.count(c) > 1})
    if KEY_COLUMN not in columns:
        raise SchemaError(f"{name}: columns are {', '.join(columns) or 'none'}; one must be {KEY_COLUMN!r}")
    if twice or "" in columns:
        raise SchemaError(f"{name}: columns are {', '.join(columns)}; each must have a name of its own")
    found: dict[str, dict[str, str]] = {}
    for row in reader:
        where = f"{name}: line {reader.line_num}"
        place = (row.pop(KEY_COLUMN) or "").strip()
        if not place:
            raise SchemaError(f"{where}: {KEY_COLUMN} is empty")
        if place in found:
            raise SchemaError(f"{where}: {place} comes twice")
        if None in row:
            raise SchemaError(f"{where}: more cells than columns")
        found[place] = {k: (v or "").strip() for k, v in row.items()}
        if found[place].get("outcome"):
            parse_outcome(found[place]["outcome"], where)
    return found


def labelled(
    given: Mapping[str, str], instructions: tuple[Instruction, ...], outcomes: tuple[Outcome, ...]
) -> tuple[tuple[Instruction, ...], tuple[Outcome, ...], dict[str, str]]:
    """Put labels before what a recording says; what is left is metadata."""
    rest = {k: v for k, v in given.items() if k not in {"instruction", "outcome"}}
    if "instruction" in given:
        others = tuple(i for i in instructions if i.kind != "task")
        instructions = (Instruction(text=given["instruction"], author="user"), *others)
    if "outcome" in given:
        markers = tuple(o for o in outcomes if o.kind not in {"success", "failure"})
        outcomes = (*markers, parse_outcome(given["outcome"], "outcome"))
    return instructions, outcomes, rest
