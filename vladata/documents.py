"""YAML and JSON documents that people write: read within limits, parsed once, errors with file and key path."""

import hashlib
import json
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import SchemaError
from .text import clip, printable

__all__ = ["Document", "canonical_json", "digest_of", "parse", "read_yaml"]

MAX_BYTES = 1_000_000
MAX_DEPTH = 50

_D = TypeVar("_D", bound="Document")


class Document(BaseModel):
    """Base of everything that is parsed from foreign text: immutable, no unknown keys, no silent conversion."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)


def canonical_json(value: object) -> str:
    """Write JSON in one way only: sorted keys, no spaces, UTF-8; equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest_of(document: BaseModel) -> str:
    """SHA-256 of a document's canonical JSON, hex; fields that were left at their default don't count."""
    plain = document.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return hashlib.sha256(canonical_json(plain).encode()).hexdigest()


def read_yaml(path: Path) -> object:
    """Read a YAML file of at most 1 MB, without aliases, at most 50 levels deep.

    Raises:
        SchemaError: The file breaks a limit or is not YAML; with the line.
    """
    data = path.read_bytes()
    if len(data) > MAX_BYTES:
        raise SchemaError(f"{path.name}: {len(data):,} bytes; a schema or mapping must have at most {MAX_BYTES:,}")
    try:
        depth = 0
        for event in yaml.parse(data, Loader=yaml.CSafeLoader):
            if isinstance(event, yaml.AliasEvent):
                line = event.start_mark.line + 1 if event.start_mark is not None else 1
                raise SchemaError(f"{path.name}: line {line}: YAML aliases are not accepted")
            if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
                depth += 1
            elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                depth -= 1
            if depth > MAX_DEPTH:
                raise SchemaError(f"{path.name}: nested deeper than {MAX_DEPTH} levels")
        return yaml.load(data, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        raise SchemaError(f"{path.name}: line {line}: {printable(error.problem or 'not YAML')}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SchemaError(f"{path.name}: not YAML: {clip(printable(str(error)), 200)}") from error


def parse(model: type[_D], value: object, where: str) -> _D:
    """Build a document from plain values.

    Raises:
        SchemaError: With the place, the key path, what was found and what must be; further errors are counted.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        first = errors[0]
        path = ".".join(str(part) for part in first["loc"]) or "the document"
        found = first["input"]
        shown = "" if isinstance(found, dict | list) else f", found {clip(printable(repr(found)), 60)}"
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        reason = first["msg"].removeprefix("Value error, ")
        reason = reason[:1].lower() + reason[1:]
        raise SchemaError(f"{where}: {printable(path)}: {printable(reason)}{shown}{more}") from error
