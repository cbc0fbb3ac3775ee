"""Frozen dataclasses as plain JSON values and back, strictly: no unknown key, no conversion, nothing infinite.

Fields are text, whole numbers, numbers, flags, members of a StrEnum, literals, tuples (`tuple[T, ...]` or of fixed
length), mappings from text, other dataclasses, and each of them or None. Python's own types say it all: a robot reads
its tokenizer with nothing installed but numpy.
"""

import dataclasses
import enum
import json
import math
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast

from ..errors import TokenizeError
from ..text import clip, printable

__all__ = ["from_plain", "to_plain"]

_T = TypeVar("_T")
_Path = tuple[str | int, ...]
_Reader = Callable[[Any, _Path], Any]
"""Builds the value of a field out of a JSON value and its key path."""

_LARGEST = 1 << 63


class _Wrong(Exception):
    """What is and what must be, and where."""

    def __init__(self, path: _Path, message: str) -> None:
        super().__init__(message)
        self.path, self.message = path, message


def to_plain(value: object) -> dict[str, object]:
    """The fields of a dataclass as JSON values."""
    return {name: _dumped(getattr(value, name), hint) for name, hint in _hints(cast("Any", type(value))).items()}


def from_plain(kind: type[_T], state: Mapping[str, object], where: str) -> _T:
    """Build a dataclass from what `to_plain` gave.

    Raises:
        TokenizeError: Something is missing, unknown, of another type or out of range; with the key path.
    """
    try:
        return cast("_T", _reader(cast("Any", kind))(dict(state), ()))
    except _Wrong as error:
        path = "".join(f"{clip(printable(str(part)), 60)}." for part in error.path)
        place = f"{where}: {path[:-1]}: " if path else f"{where}: "
        raise TokenizeError(place + error.message) from error


@cache
def _hints(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _dumped(value: Any, hint: Any) -> object:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if value is None or value is True or value is False:
        return value
    if dataclasses.is_dataclass(hint):
        return to_plain(value)
    if origin is tuple:
        kinds = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
        return [_dumped(v, k) for v, k in zip(value, kinds, strict=True)]
    if origin is not None and isinstance(value, Mapping):
        return {str(k): _dumped(v, inner[1]) for k, v in value.items()}
    if origin in (Union, types.UnionType):
        others = [k for k in inner if k is not type(None)]
        return _dumped(value, others[0]) if len(others) == 1 else value
    # A whole number in a field of numbers is written as the number that it is read back as.
    return float(value) if hint is float else str(value) if isinstance(value, str) else value


@cache
def _reader(hint: Any) -> _Reader:
    """How a field of a type is read.

    Raises:
        TypeError: The type is none of those above: a mistake in the dataclass.
    """
    if isinstance(hint, type) and hint in _SIMPLE:
        return _SIMPLE[hint]
    if isinstance(hint, type) and issubclass(hint, enum.StrEnum):
        return _one_of({str(member): member for member in hint})
    if dataclasses.is_dataclass(hint):
        return _dataclass(cast("type", hint))
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal and all(type(member) is str for member in inner):
        return _one_of({member: member for member in inner})
    if origin is tuple:
        return _row(_reader(inner[0])) if inner[-1] is Ellipsis else _fixed([_reader(k) for k in inner])
    if origin in (Union, types.UnionType):
        return _either(inner)
    if isinstance(origin, type) and issubclass(origin, Mapping) and inner[0] is str:
        return _mapping(_reader(inner[1]))
    raise TypeError(f"fields of type {hint} can't be read back")


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, str):
        return repr(clip(printable(value), 60))
    if type(value) is int and abs(value) >= _LARGEST:
        return "a whole number beyond 64 bits"
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)
    return f"a {type(value).__name__}"


def _text(value: Any, path: _Path) -> str:
    if type(value) is not str:
        raise _Wrong(path, f"{_shown(value)}; must be text")
    return value


def _whole(value: Any, path: _Path) -> int:
    if type(value) is not int or not -_LARGEST <= value < _LARGEST:
        raise _Wrong(path, f"{_shown(value)}; must be a whole number")
    return value


def _number(value: Any, path: _Path) -> float:
    if type(value) is int and abs(value) < _LARGEST:
        return float(value)
    if not isinstance(value, float):
        raise _Wrong(path, f"{_shown(value)}; must be a number")
    if not math.isfinite(value):
        raise _Wrong(path, f"{value}; must be finite")
    return float(value)


def _flag(value: Any, path: _Path) -> bool:
    if type(value) is not bool:
        raise _Wrong(path, f"{_shown(value)}; must be true or false")
    return value


def _nothing(value: Any, path: _Path) -> None:
    if value is not None:
        raise _Wrong(path, f"{_shown(value)}; must be null")


_SIMPLE: dict[type, _Reader] = {str: _text, int: _whole, float: _number, bool: _flag, type(None): _nothing}


def _one_of(members: Mapping[str, object]) -> _Reader:
    def read(value: Any, path: _Path) -> object:
        if not isinstance(value, str) or value not in members:
            raise _Wrong(path, f"{_shown(value)}; must be one of {', '.join(members)}")
        return members[value]

    return read


def _row(read_one: _Reader) -> _Reader:
    def read(value: Any, path: _Path) -> tuple[object, ...]:
        if not isinstance(value, list | tuple):
            raise _Wrong(path, f"{_shown(value)}; must be a list")
        return tuple(read_one(v, (*path, i)) for i, v in enumerate(value))

    return read


def _fixed(readers: list[_Reader]) -> _Reader:
    def read(value: Any, path: _Path) -> tuple[object, ...]:
        if not isinstance(value, list | tuple) or len(value) != len(readers):
            raise _Wrong(path, f"{_shown(value)}; must be a list of {len(readers)}")
        return tuple(r(v, (*path, i)) for i, (r, v) in enumerate(zip(readers, value, strict=True)))

    return read


def _mapping(read_one: _Reader) -> _Reader:
    def read(value: Any, path: _Path) -> dict[str, object]:
        if not isinstance(value, Mapping) or not all(type(key) is str for key in value):
            raise _Wrong(path, f"{_shown(value)}; must be an object")
        return {key: read_one(v, (*path, key)) for key, v in value.items()}

    return read


def _either(kinds: tuple[Any, ...]) -> _Reader:
    """The first of several types that a value has; the last one says what must be."""
    readers = [_reader(k) for k in sorted(kinds, key=lambda k: k is not type(None))]

    def read(value: Any, path: _Path) -> object:
        for reader in readers[:-1]:
            try:
                return reader(value, path)
            except _Wrong:
                continue
        return readers[-1](value, path)

    return read


def _dataclass(kind: type) -> _Reader:
    readers = {name: _reader(hint) for name, hint in _hints(kind).items()}
    required = [
        field.name
        for field in dataclasses.fields(kind)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]

    def read(value: Any, path: _Path) -> object:
        if not isinstance(value, Mapping):
            raise _Wrong(path, f"{_shown(value)}; must be an object")
        for key in value:
            if key not in readers:
                raise _Wrong((*path, str(key)), f"unexpected; must be one of {', '.join(readers) or '(none)'}")
        for name in required:
            if name not in value:
                raise _Wrong((*path, name), "missing; must be there")
        built = {name: readers[name](v, (*path, name)) for name, v in value.items()}
        try:
            return kind(**built)
        except TokenizeError as error:
            raise _Wrong(path, str(error)) from error

    return read
