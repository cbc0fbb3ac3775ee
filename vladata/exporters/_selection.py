"""The selection language: which episodes, by what is known of them. A small parser of its own; nothing is evaluated.

`success and quality >= 3 and not intervention and task ~ "cup"`. What nobody said is neither true nor false: an
episode is chosen where the whole is known to hold (Kleene's logic), and what was not said is counted.
"""

import difflib
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from ..errors import ExportError
from ..text import clip, printable

__all__ = ["FIELDS", "LABEL_FIELDS", "META", "Facts", "Selection", "Value"]

Value = str | float | bool
Kind = Literal["text", "number", "flag"]

Facts = Mapping[str, tuple[Value, ...]]
"""By field what is known of an episode: none or one value, of texts also several. Metadata are `meta.NAME`."""

FIELDS: Mapping[str, Kind] = {
    "success": "flag",
    "failure": "flag",
    "intervention": "flag",
    "failed_segment": "flag",
    "has_subtasks": "flag",
    "quarantined": "flag",
    "quality": "number",
    "reward": "number",
    "duration_s": "number",
    "steps": "number",
    "outcome": "text",
    "task": "text",
    "subtask": "text",
    "instruction": "text",
    "embodiment": "text",
    "place": "text",
    "source": "text",
    "split": "text",
    "operator": "text",
    "session": "text",
    "scene": "text",
    "episode_id": "text",
    "recording_id": "text",
}
META = "meta."
LABEL_FIELDS = frozenset(
    {"intervention", "failed_segment", "has_subtasks", "quality", "reward", "task", "subtask", "instruction"}
    | {"operator", "session", "scene"}
)
"""Fields that the catalog does not know: the episodes must be read."""

LONGEST = 2_000
DEEPEST = 40
_TOKEN = re.compile(
    r"""(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"""
    r"""|(?P<word>[A-Za-z_][\w.]*(?:-[\w.]+)*)|(?P<sign><=|>=|==|!=|!~|=|<|>|~|\(|\)|,)"""
)
_ORDER: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_KEYWORDS = frozenset({"and", "or", "not", "in", "true", "false"})


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    column: int
    """From 1 on."""


@dataclass(frozen=True, slots=True)
class _Test:
    """One comparison, or a flag by itself."""

    field: str
    sign: str
    """`=`, `~`, `<`, `<=`, `>`, `>=`."""
    values: tuple[Value, ...]
    """One of them must fit."""
    is_negated: bool = False

    def judge(self, facts: Facts) -> bool | None:
        known = facts.get(self.field, ())
        if self.sign in _ORDER or (self.values and not isinstance(self.values[0], str)):
            known = tuple(n for v in known if not math.isnan(n := _number(v)))
        if not known:
            return None
        return any(self._fits(value) for value in known) is not self.is_negated

    def _fits(self, known: Value) -> bool:
        if self.sign == "~":
            return any(str(v).casefold() in str(known).casefold() for v in self.values)
        if self.sign in _ORDER:
            return any(_ORDER[self.sign](_number(known), _number(v)) for v in self.values)
        return any(known == v for v in self.values)


def _number(value: Value) -> float:
    """A number as it stands or as text; NaN where it is none."""
    try:
        return float(value)
    except ValueError:
        return math.nan


@dataclass(frozen=True, slots=True)
class _Not:
    inner: "_Node"

    def judge(self, facts: Facts) -> bool | None:
        found = self.inner.judge(facts)
        return None if found is None else not found


@dataclass(frozen=True, slots=True)
class _Join:
    parts: "tuple[_Node, ...]"
    decides: bool
    """What one part alone decides: False of `and`, True of `or`."""

    def judge(self, facts: Facts) -> bool | None:
        found = [part.judge(facts) for part in self.parts]
        if self.decides in found:
            return self.decides
        return None if None in found else not self.decides


_Node = _Test | _Not | _Join


@dataclass(frozen=True, slots=True)
class Selection:
    """A parsed selection."""

    text: str
    fields: tuple[str, ...]
    """That it asks for, each once."""
    _root: _Node
    _tests: tuple[_Test, ...]

    @classmethod
    def parse(cls, text: str) -> "Selection":
        """Read a selection.

        Raises:
            ExportError: It can't be read; with the column, what stands there and what must.
        """
        if len(text) > LONGEST:
            raise ExportError(f"select has {len(text):,} characters; it must have at most {LONGEST:,}")
        parser = _Parser(text)
        root = parser.whole()
        return cls(text, tuple(dict.fromkeys(t.field for t in parser.tests)), root, tuple(parser.tests))

    @property
    def needs_labels(self) -> bool:
        """Whether a field is asked for that the catalog does not know."""
        return any(f in LABEL_FIELDS or f.startswith(META) for f in self.fields)

    def chooses(self, facts: Facts) -> bool:
        """Whether an episode is chosen: what is asked is known of it, and holds."""
        return self._root.judge(facts) is True

    def missing(self, facts: Facts) -> list[str]:
        """Fields that are asked for and not known of an episode, or no numbers where numbers are asked for."""
        return list(dict.fromkeys(t.field for t in self._tests if t.judge(facts) is None))


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_tokens(text))
        self._next = 0
        self._depth = 0
        self.tests: list[_Test] = []

    def whole(self) -> _Node:
        node = self._either()
        token = self._peek()
        if token.kind != "end":
            raise _expected(token, "and, or, or the end")
        return node

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        self._next += token.kind != "end"
        return token

    def _is_at(self, *words: str) -> bool:
        token = self._peek()
        return token.kind in {"word", "sign"} and token.text.lower() in words

    def _either(self) -> _Node:
        return self._joined("or", self._both, decides=True)

    def _both(self) -> _Node:
        return self._joined("and", self._negated, decides=False)

    def _joined(self, word: str, inner: Callable[[], _Node], *, decides: bool) -> _Node:
        parts = [inner()]
        while self._is_at(word):
            self._take()
            parts.append(inner())
        return parts[0] if len(parts) == 1 else _Join(tuple(parts), decides)

    def _negated(self) -> _Node:
        self._depth += 1
        if self._depth > DEEPEST:
            raise ExportError(f"select: column {self._peek().column}: nested deeper than {DEEPEST} levels")
        try:
            if self._is_at("not"):
                self._take()
                return _Not(self._negated())
            if self._is_at("("):
                self._take()
                node = self._either()
                self._require(")")
                return node
            return self._test()
        finally:
            self._depth -= 1

    def _require(self, sign: str) -> None:
        token = self._take()
        if token.text != sign or token.kind != "sign":
            raise _expected(token, sign)

    def _test(self) -> _Node:
        token = self._take()
        if token.kind != "word" or token.text.lower() in _KEYWORDS:
            raise _expected(token, "a field, not or (")
        kind = _kind_of(token)
        test = self._test_of(token, kind)
        self.tests.append(test)
        return test

    def _test_of(self, token: _Token, kind: Kind) -> _Test:
        negated = self._is_at("not")
        if negated:
            self._take()
            if not self._is_at("in"):
                raise _expected(self._peek(), "in")
        if self._is_at("in"):
            self._take()
            return _Test(token.text, "=", self._several(token, kind), negated)
        if self._is_at("=", "==", "!=", "~", "!~", *_ORDER):
            return self._comparison(token, kind)
        if kind != "flag":
            raise _expected(self._peek(), f"a comparison of {token.text}, as {_example(token.text, kind)}")
        return _Test(token.text, "=", (True,))

    def _comparison(self, field: _Token, kind: Kind) -> _Test:
        sign = self._take()
        is_negated = sign.text.startswith("!")
        plain = {"==": "=", "!=": "=", "!~": "~"}.get(sign.text, sign.text)
        if plain == "~" and kind != "text":
            raise _expected(sign, f"= or another comparison: {field.text} is a {kind}, and ~ is for texts")
        is_meta = field.text.startswith(META)
        if plain in _ORDER and kind != "number" and not is_meta:
            raise _expected(sign, f"= or != ({field.text} is a {kind}; only numbers have an order)")
        wanted: Kind = "number" if plain in _ORDER else kind
        is_free = is_meta and plain == "="
        return _Test(field.text, plain, (self._value(field, wanted, is_free=is_free),), is_negated)

    def _several(self, field: _Token, kind: Kind) -> tuple[Value, ...]:
        self._require("(")
        values = [self._value(field, kind, is_free=False)]
        while self._is_at(","):
            self._take()
            values.append(self._value(field, kind, is_free=False))
        self._require(")")
        return tuple(values)

    def _value(self, field: _Token, kind: Kind, *, is_free: bool) -> Value:
        """A value of the field's kind; metadata may be compared with numbers as well."""
        token = self._take()
        if token.kind == "number" and (kind == "number" or is_free):
            return float(token.text)
        if token.kind == "string" and kind == "text":
            return re.sub(r"\\(.)", r"\1", token.text[1:-1])
        if kind == "flag" and token.text.lower() in {"true", "false"}:
            return token.text.lower() == "true"
        what = {"text": "a text in quotes", "number": "a number", "flag": "true or false"}[kind]
        raise _expected(token, f"{what}, for {field.text} is a {kind}")


def _tokens(text: str) -> Iterator[_Token]:
    place = 0
    while True:
        place += len(text[place:]) - len(text[place:].lstrip())
        if place == len(text):
            yield _Token("end", "", place + 1)
            return
        found = _TOKEN.match(text, place)
        if found is None:
            if text[place] in "\"'":
                raise ExportError(f"select: column {place + 1}: a text begins that has no end; a quote must close it")
            shown = printable(text[place])
            raise ExportError(f"select: column {place + 1}: found {shown!r}; must be a field, a value or a comparison")
        yield _Token(str(found.lastgroup), found.group(), place + 1)
        place = found.end()


def _kind_of(token: _Token) -> Kind:
    name = token.text
    if name.startswith(META) and len(name) > len(META):
        return "text"
    if name not in FIELDS:
        near = difflib.get_close_matches(name.lower(), [*FIELDS, *_KEYWORDS], n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(FIELDS)} and meta.NAME"
        raise ExportError(f"select: column {token.column}: no field {clip(printable(name), 40)!r}; {hint}")
    return FIELDS[name]


def _example(field: str, kind: Kind) -> str:
    return f"{field} >= 3" if kind == "number" else f'{field} ~ "cup"'


def _expected(token: _Token, what: str) -> ExportError:
    found = "the end" if token.kind == "end" else repr(clip(printable(token.text), 40))
    return ExportError(f"select: column {token.column}: found {found}; must be {what}")
