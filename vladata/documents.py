"""YAML and JSON documents that people write: read within limits, parsed once, errors with file and key path."""

import hashlib
import json
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from .canonical import canonical_json
from .errors import SchemaError
from .text import clip, printable

__all__ = ["Document", "canonical_json", "digest_of", "parse", "parse_yaml", "read_yaml"]

MAX_BYTES = 1_000_000
MAX_DEPTH = 50

_D = TypeVar("_D", bound="Document")


class Document(BaseModel):
    """Base of everything that is parsed from foreign text: immutable, no unknown keys, no silent conversion."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)


def digest_of(document: BaseModel) -> str:
    """SHA-256 of a document's canonical JSON, hex; fields that were left at their default don't count."""
    plain = document.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return hashlib.sha256(canonical_json(plain).encode()).hexdigest()


def read_yaml(path: Path) -> object:
    """Read a YAML file of at most 1 MB, without aliases or keys that come twice, at most 50 levels deep.

    Raises:
        SchemaError: The file breaks a limit or is not YAML; with the line.
    """
    return parse_yaml(path.read_bytes(), path.name)


def parse_yaml(data: bytes, name: str) -> object:
    """Read the content of a YAML file within the limits of `read_yaml`; errors begin with its name.

    Raises:
        SchemaError: The content breaks a limit or is not YAML; with the line.
    """
    if len(data) > MAX_BYTES:
        raise SchemaError(f"{name}: {len(data):,} bytes; a schema or mapping must have at most {MAX_BYTES:,}")
    try:
        _refuse_aliases_and_depth(data, name)
        _refuse_double_keys(yaml.compose(data, Loader=yaml.CSafeLoader), name)
        return yaml.load(data, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        if "maximum nesting depth" in (error.problem or ""):  # newer readers have a limit of their own
            raise SchemaError(f"{name}: nested deeper than {MAX_DEPTH} levels") from error
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        raise SchemaError(f"{name}: line {line}: {printable(error.problem or 'not YAML')}") from error
    except SchemaError:
        raise
    except (yaml.YAMLError, ValueError) as error:  # ValueError: bytes, dates or numbers that can't be
        raise SchemaError(f"{name}: not YAML: {clip(printable(str(error)), 200)}") from error


def _refuse_aliases_and_depth(data: bytes, name: str) -> None:
    depth = 0
    for event in yaml.parse(data, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.AliasEvent):
            line = event.start_mark.line + 1 if event.start_mark is not None else 1
            raise SchemaError(f"{name}: line {line}: YAML aliases are not accepted")
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            depth += 1
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            depth -= 1
        if depth > MAX_DEPTH:
            raise SchemaError(f"{name}: nested deeper than {MAX_DEPTH} levels")


def _refuse_double_keys(root: yaml.Node | None, name: str) -> None:
    """YAML readers let the last of two equal keys win without a word."""
    open_nodes = [root]
    while open_nodes:
        node = open_nodes.pop()
        if isinstance(node, yaml.SequenceNode):
            open_nodes += node.value
        elif isinstance(node, yaml.MappingNode):
            seen = set()
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode):
                    if key.value in seen:
                        line = key.start_mark.line + 1
                        raise SchemaError(f"{name}: line {line}: {printable(key.value)} comes twice in one place")
                    seen.add(key.value)
                open_nodes.append(value)


def parse(model: type[_D], value: object, where: str) -> _D:
    """Build a document from plain values, as YAML and JSON have them; text is no number, a number is no flag.

    Raises:
        SchemaError: With the place, the key path, what was found and what must be; further errors are counted.
    """
    try:
        # By way of JSON, for there strict types still let a list be a tuple and a name be an enum's member.
        return model.model_validate_json(json.dumps(value, default=_refuse_type), strict=True)
    except TypeError as error:
        raise SchemaError(f"{where}: {printable(str(error))}") from error
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


def _refuse_type(value: object) -> object:
    raise TypeError(f"{value!s} is a {type(value).__name__}; text must stand in quotes")
