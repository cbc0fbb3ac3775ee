"""Paths into messages: `pose.position.x`, `joints[].position`, `transforms[child_frame_id=gripper].transform`.

A message is a tree of mappings, lists, numbers, texts and bytes, whatever it was encoded as; a text or bytes that a
path goes on into is a JSON document.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from ._field_times import stamp_of
from ._mcap_json import document
from ._ros2 import CdrError

__all__ = ["AbsentError", "Step", "Tree", "TreePath", "parse_path", "scalar_texts"]

MAX_NUMBERS = 1 << 16
"""Most numbers in one sample of a field."""
MAX_DEPTH = 32

_NAME = re.compile(r'"([^"]*)"|([^.\[\]"]*)')
_BRACKET = re.compile(r"\[([^\[\]]*)\]")


class AbsentError(CdrError):
    """A message has nothing at a path; the sample is left out."""


class Step(NamedTuple):
    """One step of a path: a member, and which of its elements."""

    name: str
    """Empty: the value that the path has come to."""
    pick: int | None = None
    is_each: bool = False
    """All elements, one after the other."""
    where: tuple[tuple[tuple[str, ...], str], ...] = ()
    """The element whose members have these texts, each by its path."""

    @property
    def shown(self) -> str:
        """As in a mapping."""
        inner = "" if self.pick is None else f"[{self.pick}]"
        inner += "[]" if self.is_each else ""
        conditions = ",".join(f"{'.'.join(key)}={value}" for key, value in self.where)
        return self.name + inner + (f"[{conditions}]" if conditions else "")


class Tree(Protocol):
    """How the messages of a channel become trees."""

    def of(self, payload: memoryview) -> object:
        """The tree of a message.

        Raises:
            CdrError: The payload is no such message.
        """

    def number_type(self, steps: Sequence[Step]) -> str:
        """Number type of what a path leads to.

        Raises:
            CdrError: The type of the messages has nothing of that name.
        """


def parse_path(path: str | None) -> tuple[Step, ...]:
    """Read a path.

    Raises:
        CdrError: It is none.
    """
    steps: list[Step] = []
    at = 0
    while path and at <= len(path):
        match = _NAME.match(path, at)
        assert match is not None
        name = match[1] if match[1] is not None else match[2]
        at = match.end()
        brackets = []
        while (bracket := _BRACKET.match(path, at)) is not None:
            brackets.append(bracket[1].strip())
            at = bracket.end()
        if (not name and not brackets) or (at < len(path) and path[at] != "."):
            raise CdrError(f"is asked for field {path!r}, which is no path; it must be like a.b[0].c[name=x].d[].e")
        at += 1
        steps += [_step(n, b, path) for n, b in zip([name, *[""] * len(brackets)], brackets or [None], strict=False)]
    return tuple(steps)


def _step(name: str, bracket: str | None, path: str) -> Step:
    if bracket is None:
        return Step(name)
    if bracket == "":
        return Step(name, is_each=True)
    if bracket.isascii() and bracket.isdigit():
        return Step(name, pick=int(bracket[:9]))
    conditions = []
    for part in bracket.split(","):
        key, sign, value = part.partition("=")
        if not sign or not key.strip():
            raise CdrError(f"is asked for field {path!r}: [{bracket}] must be an index, empty, or name=text")
        conditions.append((tuple(key.strip().split(".")), value.strip().strip('"')))
    return Step(name, where=tuple(conditions))


class TreePath:
    """What a path finds in trees, one after the other."""

    def __init__(self, path: str | None) -> None:
        """Prepare a path; None: the message itself.

        Raises:
            CdrError: It is no path.
        """
        self.path = path or ""
        self.steps = parse_path(path)
        self.stamp: int | None = None
        """Of the element that was chosen last, where it has a stamp of its own."""
        self.num_several = 0
        """Messages in which more than one element fits; the last was taken."""

    def value(self, tree: object) -> object:
        """What lies at the end of a path without `[]`.

        Raises:
            AbsentError: There is nothing.
            CdrError: The path does not fit.
        """
        found = list(self._ends(tree, 0, ()))
        if len(found) != 1:
            raise CdrError(f"{self.path} has {len(found)} values; must be one")
        return found[0][1]

    def numbers(self, tree: object) -> tuple[list[int | float], tuple[str, ...]]:
        """The numbers at the path, and their names where all have one.

        Raises:
            AbsentError: There are none.
            CdrError: The path does not fit, or leads to something else.
        """
        self.stamp = None
        names: list[str] = []
        values: list[int | float] = []
        for prefix, end in self._ends(tree, 0, ()):
            of_element = self._numbers_of(end, 0)
            labels = _labels(prefix, [n for n, _ in of_element])
            names += labels
            values += [v for _, v in of_element]
            if len(values) > MAX_NUMBERS:
                raise CdrError(f"{self.path or 'the message'} has more than {MAX_NUMBERS:,} numbers")
        is_named = bool(names) and all(names)
        return values, tuple(names) if is_named else ()

    def texts(self, tree: object) -> tuple[str, ...]:
        """The texts at the path; numbers and flags as text.

        Raises:
            AbsentError: There are none.
            CdrError: The path does not fit, or leads to something else.
        """
        self.stamp = None
        return tuple(text for _, end in self._ends(tree, 0, ()) for text in scalar_texts(end, self.path))

    def _ends(self, value: object, at: int, prefix: tuple[object, ...]) -> Iterator[tuple[tuple[object, ...], object]]:
        """Where the path ends, with the names of the elements that it went through."""
        while at < len(self.steps):
            step = self.steps[at]
            if step.name:
                value = self._member(value, step.name)
            if step.where:
                value = self._chosen(value, step)
            elif step.pick is not None:
                value = self._picked(value, step)
            elif step.is_each:
                yield from self._each(value, at + 1, prefix)
                return
            at += 1
        yield prefix, value

    def _each(self, value: object, at: int, prefix: tuple[object, ...]) -> Iterator[tuple[tuple[object, ...], object]]:
        for i, element in enumerate(_elements(value, self.path)):
            name = element.get("name") if isinstance(element, Mapping) else None
            try:
                yield from self._ends(element, at, (*prefix, name) if name is not None else prefix)
            except AbsentError as error:
                if not isinstance(name, str):  # a named element may lack a value; the place of others would shift
                    raise CdrError(f"element {i} of {self.path}: {error}") from error

    def _member(self, value: object, name: str) -> object:
        if isinstance(value, str | bytes):
            value = document(value, self.path)
        if not isinstance(value, Mapping):
            raise CdrError(f"there is no {name!r} in {_kind(value)} ({self.path})")
        found = value.get(name)
        if found is None:
            there = ", ".join(map(str, value)) or "nothing"
            raise AbsentError(f"there is no {name!r} ({there[:200]})")
        return found

    def _picked(self, value: object, step: Step) -> object:
        elements = _elements(value, self.path)
        if step.pick is None or step.pick >= len(elements):
            raise CdrError(f"an array has {len(elements)} elements; the path has index {step.pick}")
        return self._stamped(elements[step.pick])

    def _chosen(self, value: object, step: Step) -> object:
        candidates = [value] if isinstance(value, Mapping) else _elements(value, self.path)
        fitting = [c for c in candidates if all(_text_at(c, key) == text for key, text in step.where)]
        if not fitting:
            raise AbsentError(f"no element is {step.shown}")
        self.num_several += len(fitting) > 1
        return self._stamped(fitting[-1])

    def _stamped(self, element: object) -> object:
        stamp = stamp_of(element)
        self.stamp = self.stamp if stamp is None else stamp
        return element

    def _numbers_of(self, value: object, depth: int) -> list[tuple[str, int | float]]:
        if isinstance(value, int | float):
            return [("", value)]
        if isinstance(value, Mapping):
            found = list(_below(value, "", depth))
            if not found:
                names = ", ".join(map(str, value)) or "nothing"
                raise AbsentError(f"{self.path or 'the message'} has no single numbers in it ({names[:200]})")
            return found
        if isinstance(value, list | tuple):
            other = next((v for v in value if not isinstance(v, int | float)), None)
            if other is not None:
                raise CdrError(
                    f"{self.path} is an array of {_kind(other)}; give an index, for instance {self.path}[0], "
                    f"or all elements, for instance {self.path}[].value"
                )
            return [("", v) for v in value]
        if isinstance(value, str) and value in _NOT_FINITE:
            return [("", _NOT_FINITE[value])]
        if isinstance(value, str | bytes) and depth == 0 and value.strip()[:1] in {"{", "[", b"{", b"["}:
            return self._numbers_of(document(value, self.path), 1)
        raise CdrError(f"has {_kind(value)} in {self.path!r}; a signal needs numbers")


_NOT_FINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
"""How protobuf writes them in JSON."""


def _labels(prefix: tuple[object, ...], names: list[str]) -> list[str]:
    """Names of an element's numbers: its own before theirs; those of parallel arrays one by one."""
    own = prefix[-1] if prefix else None
    if isinstance(own, list | tuple) and len(own) == len(names) and not any(names):
        return [str(n) for n in own]
    head = ".".join(str(p) for p in prefix if isinstance(p, str))
    if head and len(names) > 1 and not any(names):
        return [f"{head}[{i}]" for i in range(len(names))]
    return [f"{head}.{n}" if head and n else head or n for n in names]


def _below(value: Mapping[str, object], path: str, depth: int) -> Iterator[tuple[str, int | float]]:
    """All single numbers in a struct, headers and times left out."""
    if depth > MAX_DEPTH:
        raise CdrError(f"structs are nested deeper than {MAX_DEPTH}")
    for name, member in value.items():
        if isinstance(member, int | float):
            yield f"{path}{name}", member
        elif isinstance(member, Mapping) and not _is_no_signal(name, member):
            yield from _below(member, f"{path}{name}.", depth + 1)


def _is_no_signal(name: str, member: Mapping[str, object]) -> bool:
    return name == "header" or stamp_of({"timestamp": member}) is not None


def _elements(value: object, path: str) -> Sequence[object]:
    if isinstance(value, str | bytes):
        value = document(value, path)
    if not isinstance(value, list | tuple):
        raise CdrError(f"{path}: {_kind(value)} is no array")
    return value


def _text_at(value: object, key: tuple[str, ...]) -> str | None:
    for name in key:
        value = value.get(name) if isinstance(value, Mapping) else None
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) else None


def scalar_texts(value: object, path: str) -> tuple[str, ...]:
    """A text, number or flag as one text; a list of them as several.

    Raises:
        CdrError: It is something else.
    """
    if isinstance(value, str):
        return (value,)
    if isinstance(value, bool):
        return ("true" if value else "false",)
    if isinstance(value, int | float):
        return (str(value).lower(),)
    if isinstance(value, bytes):
        try:
            return (value.decode(),)
        except UnicodeDecodeError as error:
            raise CdrError(f"{path} is not UTF-8 at byte {error.start}") from error
    if isinstance(value, list | tuple):
        return tuple(text for v in value for text in scalar_texts(v, path))
    raise CdrError(f"has {_kind(value)} in {path or 'the message'!r}; must be a text or number")


def _kind(value: object) -> str:
    kinds = (
        (Mapping, "a struct"),
        ((list, tuple), "an array"),
        (str, "text"),
        (bytes, "bytes"),
        ((int, float), "a number"),
    )
    return next((text for type_, text in kinds if isinstance(value, type_)), "nothing")
