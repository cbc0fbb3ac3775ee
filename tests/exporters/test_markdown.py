"""Text of strangers stays text."""

import pytest

from vladata.exporters._markdown import code, escape, table


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("put the cube into bin_2 (left).", "put the cube into bin_2 (left)."),
        ("<script>alert(1)</script>", r"\<script\>alert(1)\</script\>"),
        ("a | b", r"a \| b"),
        ("[x](http://evil)", r"\[x\](http\://evil)"),
        ("see www.evil.example", r"see www\.evil.example"),
        ("# title\n- list", r"\# title - list"),
        ("1. first", r"1\. first"),
        ("_really_ *so*", r"\_really\_ \*so\*"),
        ("mail me@evil.example", r"mail me\@evil.example"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("&lt;b&gt;", r"\&lt;b\&gt;"),
        ("`code`", r"\`code\`"),
    ],
)
def test_markup_in_a_text_is_shown_as_it_is(text: str, shown: str) -> None:
    assert escape(text) == shown


def test_code_and_cells_can_not_be_left() -> None:
    assert code("a`b|c") == "`a·b·c`"
    assert table(["x"], [[escape("a|b")]]).splitlines()[2] == r"| a\|b |"
