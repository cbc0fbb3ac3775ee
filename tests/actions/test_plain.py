"""Plain values: strict, without conversion, with the key path."""

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vladata.actions.plain import from_plain, to_plain
from vladata.errors import TokenizeError


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    count: int
    colour: Colour = Colour.RED

    def __post_init__(self) -> None:
        if self.count < 0:
            raise TokenizeError(f"count is {self.count}; must not be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    name: str
    size: float
    is_on: bool
    inner: Inner | None = None
    many: tuple[Inner, ...] = ()
    pair: tuple[int, str] = (0, "")
    grid: tuple[tuple[float, ...], ...] = ()
    side: Literal["left", "right"] = "left"
    limit: int | str | None = None
    by_name: Mapping[str, float | None] = dataclasses.field(default_factory=dict)


WHOLE: dict[str, Any] = {
    "name": "a",
    "size": 1,
    "is_on": True,
    "inner": {"count": 2, "colour": "blue"},
    "many": [{"count": 0}, {"count": 1}],
    "pair": [3, "c"],
    "grid": [[1.0, 2], []],
    "side": "right",
    "limit": 7,
    "by_name": {"x": 1, "y": None},
}

inners = st.builds(Inner, count=st.integers(0, 2**63 - 1), colour=st.sampled_from(Colour))
numbers = st.floats(allow_nan=False, allow_infinity=False)
outers = st.builds(
    Outer,
    name=st.text(),
    size=numbers,
    is_on=st.booleans(),
    inner=st.none() | inners,
    many=st.lists(inners, max_size=3).map(tuple),
    pair=st.tuples(st.integers(-(2**63), 2**63 - 1), st.text()),
    grid=st.lists(st.lists(numbers, max_size=3).map(tuple), max_size=3).map(tuple),
    side=st.sampled_from(["left", "right"]),
    limit=st.none() | st.integers(0, 9) | st.text(),
    by_name=st.dictionaries(st.text(), st.none() | numbers, max_size=3),
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(outers)
def test_what_was_written_comes_back_and_is_json(value: Outer) -> None:
    plain = to_plain(value)

    assert from_plain(Outer, json.loads(json.dumps(plain, allow_nan=False)), "it") == value


def test_fields_have_their_types_and_defaults() -> None:
    found = from_plain(Outer, WHOLE, "it")

    assert (found.size, type(found.size), found.limit, found.pair) == (1.0, float, 7, (3, "c"))
    assert found.inner == Inner(count=2, colour=Colour.BLUE)
    assert found.grid == ((1.0, 2.0), ())
    assert found.by_name == {"x": 1.0, "y": None}
    assert to_plain(from_plain(Outer, {"name": "", "size": 0, "is_on": False}, "it"))["many"] == []


def test_a_whole_number_in_a_field_of_numbers_is_written_as_a_number() -> None:
    assert json.dumps(to_plain(Outer(name="", size=1, is_on=True))["size"]) == "1.0"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 1}, "it: name: 1; must be text"),
        ({"size": "1"}, "it: size: '1'; must be a number"),
        ({"size": True}, "it: size: true; must be a number"),
        ({"size": math.nan}, "it: size: nan; must be finite"),
        ({"size": math.inf}, "it: size: inf; must be finite"),
        ({"size": 10**400}, "it: size: a whole number beyond 64 bits; must be a number"),
        ({"size": None}, "it: size: null; must be a number"),
        ({"is_on": 1}, "it: is_on: 1; must be true or false"),
        ({"is_on": "true"}, "it: is_on: 'true'; must be true or false"),
        ({"inner": []}, "it: inner: a list of 0; must be an object"),
        ({"inner": {"count": 1.0}}, "it: inner.count: 1.0; must be a whole number"),
        ({"inner": {"count": True}}, "it: inner.count: true; must be a whole number"),
        ({"inner": {"count": 1 << 63}}, "it: inner.count: a whole number beyond 64 bits; must be a whole number"),
        ({"inner": {}}, "it: inner.count: missing; must be there"),
        ({"inner": {"count": -1}}, "it: inner: count is -1; must not be negative"),
        ({"many": [{"count": 1}, {"count": -1}]}, "it: many.1: count is -1; must not be negative"),
        ({"many": {"count": 1}}, "it: many: an object; must be a list"),
        ({"many": [{"count": 1, "colour": "green"}]}, "it: many.0.colour: 'green'; must be one of red, blue"),
        ({"pair": [1]}, "it: pair: a list of 1; must be a list of 2"),
        ({"pair": ["1", "c"]}, "it: pair.0: '1'; must be a whole number"),
        ({"grid": [[0.0], [1.0, None]]}, "it: grid.1.1: null; must be a number"),
        ({"side": "up"}, "it: side: 'up'; must be one of left, right"),
        ({"by_name": {"x": "1"}}, "it: by_name.x: '1'; must be a number"),
        ({"new": 1}, "it: new: unexpected; must be one of name, size, "),
        ({"\x1b[31mred\n": 1}, "it: red : unexpected; must be one of name, "),
        ({"name": ["a"]}, "it: name: a list of 1; must be text"),
    ],
)
def test_what_is_wrong_is_one_line_with_its_place(change: dict[str, object], message: str) -> None:
    with pytest.raises(TokenizeError) as caught:
        from_plain(Outer, {**WHOLE, **change}, "it")

    assert str(caught.value).startswith(message)
    assert len(str(caught.value).splitlines()) == 1


@given(st.sampled_from(sorted(WHOLE)), values)
def test_any_value_in_any_field_is_taken_as_it_is_or_refused(name: str, value: Any) -> None:
    try:
        found = from_plain(Outer, {**WHOLE, name: value}, "it")
    except TokenizeError:
        return
    plain = to_plain(found)[name]
    assert plain == value or name in {"inner", "many"}  # these have defaults of their own


def test_a_type_that_can_not_be_read_back_is_a_mistake_of_the_programmer() -> None:
    @dataclass(frozen=True)
    class Wrong:
        items: list[int]

    with pytest.raises(TypeError, match=r"fields of type list\[int\] can't be read back"):
        from_plain(Wrong, {"items": [1]}, "it")
