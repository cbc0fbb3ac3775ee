"""Text of strangers inside Markdown: shown as it is, never as markup, links or HTML."""

import re
from collections.abc import Sequence

from ..text import clip, printable

__all__ = ["code", "escape", "table"]

MAX_TEXT = 300

_MARKUP = re.compile(r"([\\`*_{}\[\]<>()#+|~&!@:$=^-])")
_LINK = re.compile(r"(?i)\bwww\.")


def escape(text: str) -> str:
    """Make any text plain Markdown of one line, at most 300 characters of it."""
    plain = clip(printable(text), MAX_TEXT).strip()
    return _LINK.sub(lambda m: m.group()[:-1] + "\\.", _MARKUP.sub(r"\\\1", plain))


def code(text: str) -> str:
    """Text as inline code; backticks, which would end it, and bars, which would end a table's cell, become dots."""
    return f"`{re.sub('[`|]', '·', clip(printable(text), MAX_TEXT)) or ' '}`"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; cells are Markdown already."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
