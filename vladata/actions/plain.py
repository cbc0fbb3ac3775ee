"""Frozen dataclasses as plain JSON values and back, strictly: no unknown key, no conversion, nothing infinite."""

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from pydantic import ConfigDict, TypeAdapter, ValidationError

from ..documents import canonical_json
from ..errors import TokenizeError
from ..text import clip, printable

__all__ = ["STRICT", "from_plain", "to_plain"]

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
"""`__pydantic_config__` of the dataclasses that are read back here."""

_T = TypeVar("_T")


def to_plain(value: object) -> dict[str, object]:
    """The fields of a dataclass as JSON values."""
    return cast("dict[str, object]", TypeAdapter(type(value)).dump_python(value, mode="json"))


def from_plain(kind: type[_T], state: Mapping[str, object], where: str) -> _T:
    """Build a dataclass from what `to_plain` gave.

    Raises:
        TokenizeError: Something is missing, unknown, of another type or out of range; with the key path.
    """
    try:
        text = canonical_json(dict(state))
    except (TypeError, ValueError) as error:
        raise TokenizeError(f"{where}: not plain JSON: {clip(printable(str(error)), 100)}") from error
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(kind)
        return cast("_T", adapter.validate_json(text, strict=True))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(str(part) for part in first["loc"]) or "the whole"
        reason = first["msg"].removeprefix("Value error, ")
        raise TokenizeError(f"{where}: {printable(path)}: {printable(reason[:1].lower() + reason[1:])}") from error
