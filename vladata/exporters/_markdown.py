"""Text of strangers inside Markdown: shown as it is, never as markup, links or HTML."""

import re
from collections.abc import Sequence

from ..text import clip, printable

__all__ = ["code", "escape", "table"]

MAX_TEXT = 300

_MARKUP = re.compile(r"([\\`*\[\]<>|~&$@]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")
_LINK = re.compile(r"(?i)\b(www)(?=\.)|(?<=[a-z])(:)(?=//)")
_START = re.compile(r"^([#+=-]|[0-9]+(?=[.)]))")


def escape(text: str) -> str:
    """Make any text plain Markdown of one line, at most 300 characters of it; what can't be markup stays readable."""
    plain = _MARKUP.sub(r"\\\1", clip(printable(text), MAX_TEXT).strip())
    plain = _LINK.sub(lambda m: f"{m.group(1)}\\" if m.group(1) else "\\:", plain)
    return _START.sub(lambda m: m.group() + "\\" if m.group()[0].isdigit() else "\\" + m.group(), plain)


def code(text: str) -> str:
    """Text as inline code; backticks, which would end it, and bars, which would end a table's cell, become dots."""
    return f"`{re.sub('[`|]', '·', clip(printable(text), MAX_TEXT)) or ' '}`"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; cells are Markdown already."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
