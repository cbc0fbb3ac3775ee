"""Text that comes from files of strangers, made safe for terminals and logs."""

import re
import unicodedata

__all__ = ["clip", "counted", "printable"]

_KEEP = {"\n", "\t"}
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")


def printable(text: str, *, one_line: bool = True) -> str:
    """Remove escape sequences and control characters, so that text can't steer a terminal.

    Args:
        text: Any text, for instance an instruction or a topic name out of a recording.
        one_line: Show line breaks and tabs as spaces as well.

    Returns:
        The text without control, format and surrogate characters.
    """
    if text.isprintable():
        return text  # nearly always, and much faster
    text = _ESCAPE.sub("", text)
    if one_line:
        text = re.sub(r"[\r\n\t]+", " ", text)
    return "".join(c for c in text if c in _KEEP or unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Co"})


def counted(number: int, noun: str) -> str:
    """`1 episode`, `2 episodes`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def clip(text: str, width: int) -> str:
    """Cut text to a width, with an ellipsis where something was cut."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"
