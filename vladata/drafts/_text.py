"""Words of names, and texts and numbers as YAML and as comments."""

import re
import textwrap
from collections.abc import Collection

import yaml

from ..sources import StreamInfo
from ..text import clip, printable

__all__ = ["as_comment", "as_comments", "as_number", "as_yaml", "is_writable", "label", "natural", "slug", "words"]

_YAML_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"}
_COMMENT_WIDTH = 2000
_LINE_WIDTH = 112


def words(text: str) -> frozenset[str]:
    """Lower-case words of a name: `observation.jointState` has observation, joint and state."""
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", text)
    return frozenset(w for w in re.split(r"[^A-Za-z0-9]+", spaced.lower()) if w)


def label(info: StreamInfo) -> str:
    """A stream's name with its field."""
    return info.name + (f".{info.field}" if info.field else "")


def slug(text: str, noise: Collection[str]) -> str:
    """A name that a schema can have, without words that say nothing, at most 56 characters."""
    parts = [p for p in re.split(r"[^A-Za-z0-9_-]+", text) if p]
    kept = [p for p in parts if not words(p) <= set(noise)] or parts
    return "_".join(kept)[:56].strip("_-") or "stream"


def natural(text: str) -> tuple[tuple[int, int | str], ...]:
    """A key that sorts cam_10 after cam_9."""
    parts = re.split(r"([0-9]{1,18})", text)
    return tuple((0, int(p)) if p.isdecimal() and p.isascii() else (1, p) for p in parts)


def is_writable(text: str) -> bool:
    """Whether a text reads back from YAML as the same text: half of a surrogate pair does not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_yaml(text: str) -> str:
    """A text as a YAML scalar that reads back as the same text."""
    if re.fullmatch(r"[A-Za-z_/][A-Za-z0-9_/.-]*", text) and text.lower() not in _YAML_WORDS:
        return text
    return yaml.dump(text, default_style='"', width=1_000_000).rstrip("\n")


def as_number(value: float, digits: int = 10) -> str:
    """A number as YAML: with a point where it has an exponent, else YAML reads a text."""
    text = f"{value:.{digits}g}"
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa}.0{e}{exponent}" if e and "." not in mantissa else text


def as_comment(text: str) -> str:
    """A text as a comment on one line; what YAML takes for a line break is a space."""
    return clip("".join(c if c.isprintable() else " " for c in printable(text)), _COMMENT_WIDTH)


def as_comments(text: str, indent: str) -> list[str]:
    """A text as comment lines, indented and wrapped."""
    lines = textwrap.wrap(as_comment(text), _LINE_WIDTH - len(indent), break_long_words=False, break_on_hyphens=False)
    return [f"{indent}# {line}" if i == 0 else f"{indent}#   {line}" for i, line in enumerate(lines)]
