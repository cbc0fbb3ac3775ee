"""The selection language: what it chooses, what is not known, and errors that name the column."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vladata.errors import ExportError
from vladata.exporters._selection import FIELDS, Facts, Selection

FACTS: Facts = {
    "success": (True,),
    "failure": (False,),
    "intervention": (False,),
    "quality": (4.0,),
    "steps": (120.0,),
    "outcome": ("success",),
    "task": ("put the Cup on the plate", "wipe the table"),
    "operator": ("anna",),
    "meta.robot-serial": ("7",),
    "meta.licence": ("CC BY 4.0",),
}


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ('success and quality >= 3 and not intervention and task ~ "cup"', True),
        ("failure or quality > 4", False),
        ("not (failure or intervention)", True),
        ("success and failure or quality = 4", True),  # and binds closer than or
        ("success and (failure or quality != 4)", False),
        ('task ~ "TABLE" and task !~ "drawer"', True),
        ('task !~ "cup"', False),  # one of the tasks has it
        ("task = 'wipe the table'", True),
        ('task != "wipe the table"', False),
        ('operator in ("anna", "ben")', True),
        ('operator not in ("anna", "ben")', False),
        ("steps in (100, 120)", True),
        ("quality == 4.0 and steps < 1.3e2 and steps <= +120", True),
        ("success = true and intervention != true", True),
        ("meta.robot-serial = 7 and meta.robot-serial >= 7", True),
        ('meta.robot-serial = "7"', True),
        ('meta.licence ~ "cc by"', True),
        ("meta.licence > 3", False),
        (r'operator != "an\"na"', True),
        ("SUCCESS", None),
        ("success AND NOT failure", True),
    ],
)
def test_what_is_chosen(text: str, chosen: bool | None) -> None:
    if chosen is None:
        with pytest.raises(ExportError, match="did you mean success"):
            Selection.parse(text)
    else:
        assert Selection.parse(text).chooses(FACTS) is chosen


class TestUnknown:
    unknown: Facts = {"success": (True,), "quality": (), "task": ()}

    @pytest.mark.parametrize(
        "text", ["quality >= 3", "quality < 3", "not quality < 3", "quality != 3", 'task !~ "cup"', 'scene = "a"']
    )
    def test_what_nobody_said_neither_holds_nor_does_its_contrary(self, text: str) -> None:
        selection = Selection.parse(text)
        assert not selection.chooses(self.unknown)
        assert selection.missing(self.unknown) == list(selection.fields)

    def test_what_is_known_can_decide(self) -> None:
        assert Selection.parse("success or quality >= 3").chooses(self.unknown)
        assert not Selection.parse("success and quality >= 3").chooses(self.unknown)
        assert Selection.parse("not (not success and quality >= 3)").chooses(self.unknown)

    def test_a_text_that_is_no_number_is_not_known_as_one(self) -> None:
        selection = Selection.parse("meta.licence > 3 and meta.robot-serial > 3")
        assert selection.missing(FACTS) == ["meta.licence"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "column 1: found the end; must be a field, not or ("),
        ("success and", "column 12: found the end; must be a field"),
        ("succes", "column 1: no field 'succes'; did you mean success?"),
        ("success and qualty > 3", "column 13: no field 'qualty'; did you mean quality?"),
        ("weather = 3", "no field 'weather'; there are success, failure"),
        ('quality >= "three"', "column 12: found '\"three\"'; must be a number, for quality is a number"),
        ("quality", "column 8: found the end; must be a comparison of quality, as quality >= 3"),
        ("task = cup", "column 8: found 'cup'; must be a text in quotes, for task is a text"),
        ("task >= 3", "column 6: found '>='; must be = or !="),
        ("steps ~ 3", "column 7: found '~'; must be = or another comparison"),
        ("success ~ true", "~ is for texts"),
        ("success = 1", "column 11: found '1'; must be true or false"),
        ("(success", "column 9: found the end; must be )"),
        ("success)", "column 8: found ')'; must be and, or, or the end"),
        ("success failure", "column 9: found 'failure'; must be and, or, or the end"),
        ('task ~ "cup', "column 8: a text begins that has no end"),
        ("success & failure", "column 9: found '&'; must be a field, a value or a comparison"),
        ('operator in "anna"', "must be ("),
        ('operator in ("anna" "ben")', "column 21: found '\"ben\"'; must be )"),
        ("operator not anna", "must be in"),
        ("quality not in ()", "must be a number"),
        ("meta. = 3", "no field 'meta.'"),
        ("(" * 50 + "success" + ")" * 50, "nested deeper than 40 levels"),
        ("not " * 50 + "success", "nested deeper than 40 levels"),
        ("success or " * 300 + "success", "it must have at most 2,000"),
    ],
)
def test_what_can_not_be_read_is_one_line_with_its_column(text: str, message: str) -> None:
    with pytest.raises(ExportError) as caught:
        Selection.parse(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


WORDS = ["and", "or", "not", "in", "(", ")", ",", "=", ">=", "~", "!=", '"cup"', "3", "-1e9", "true", "'", "\n", "é"]


@given(words=st.lists(st.sampled_from([*WORDS, *FIELDS, "meta.x"]), max_size=25), glue=st.sampled_from([" ", ""]))
@settings(max_examples=400, deadline=None)
@example(words=["quality", ">=", "3e999"], glue=" ")
def test_any_text_is_read_or_refused(words: list[str], glue: str) -> None:
    try:
        selection = Selection.parse(glue.join(words))
    except ExportError:
        return
    assert selection.chooses(FACTS) in {True, False}
    assert set(selection.missing(FACTS)) <= set(selection.fields)
