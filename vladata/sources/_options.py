"""The options of a mapping that only one source knows."""

from collections.abc import Mapping as MappingType

from ..errors import SchemaError
from ..mapping import Mapping

__all__ = ["Option", "take_options"]

Option = bool | float | str


def take_options(mapping: Mapping, defaults: MappingType[str, Option]) -> dict[str, Option]:
    """Options of a mapping, checked against what a source knows.

    Args:
        mapping: Its `options`.
        defaults: What the source knows, with the value where the mapping says nothing; its type is the type wanted.

    Raises:
        SchemaError: An option is unknown or of another type.
    """
    found = dict(defaults)
    for name, value in mapping.options.items():
        if name not in defaults:
            known = ", ".join(sorted(defaults)) or "none"
            raise SchemaError(f"options.{name} is not known to {mapping.source}; it has {known}")
        wanted = type(defaults[name])
        if isinstance(value, bool) is not (wanted is bool) or not isinstance(value, wanted | int):
            raise SchemaError(f"options.{name} is {value!r}; it must be {_KINDS[wanted]}")
        found[name] = wanted(value)
    return found


_KINDS: dict[type, str] = {bool: "true or false", float: "a number", str: "a text"}
