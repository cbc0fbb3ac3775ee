"""Texts of strangers on terminals."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vladata.text import clip, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("put the cüp on the 架子", "put the cüp on the 架子"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("a\x9b31mb", "a31mb"),
        ("one\r\ntwo\tthree", "one two three"),
        ("abc\x08\x08\x08xyz\x7f", "abcxyz"),
        ("txt.\u202efdp", "txt.fdp"),
        ("\ud800\ue000\x00", ""),
        ("\x1b", ""),
        ("\x1b\x1b[31m[31m", "[31m"),
    ],
)
def test_what_steers_a_terminal_is_removed(text, shown):
    assert printable(text) == shown


def test_lines_can_be_kept():
    assert printable("one\n\ttwo\x1b[1m\r", one_line=False) == "one\n\ttwo"


@given(st.text(alphabet=st.characters(), max_size=80))
def test_nothing_dangerous_is_ever_left_and_nothing_good_is_lost(text):
    shown = printable(text)
    assert all(unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Co"} for c in shown)
    assert printable(shown) == shown
    if text.isprintable() and text.isascii():
        assert shown == text


@given(st.text(max_size=30), st.integers(min_value=1, max_value=40))
def test_clipped_text_fits_and_shows_where_it_was_cut(text, width):
    shown = clip(text, width)
    assert len(shown) <= width
    assert shown == text or shown.endswith("…")
