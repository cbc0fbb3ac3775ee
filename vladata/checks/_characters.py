"""Characters that a text should not have: control characters, wrongly decoded UTF-8, invisible ones."""

import re
import unicodedata

__all__ = ["escaped", "odd"]

KEPT = frozenset("\n\r\t")
"""A text may have lines."""
JOINERS = frozenset("\u200c\u200d")
"""They shape Persian, Indic and emoji; beside Latin letters they do nothing."""
MARKS = frozenset("\u200e\u200f\u061c")
"""They order text that runs from right to left."""
QUOTES = frozenset("‘’‚“”„")
_SPECIAL = "".join(bytes([b]).decode("cp1252", "ignore") for b in range(0x80, 0xA0))
_NEXT = f"[\u0080-\u00bf{_SPECIAL}]"
_SEQUENCE = re.compile(f"[\u00c2-\u00df]{_NEXT}|[\u00e0-\u00ef]{_NEXT}{{2}}|[\u00f0-\u00f4]{_NEXT}{{3}}")
"""What the bytes of a UTF-8 character look like when they are read as Latin-1 or Windows-1252."""


def odd(text: str) -> list[str]:
    """What is wrong with the characters of a text, in words, one for each sort.

    >>> odd("caf\u00c3\u00a9")
    ["UTF-8 read as Latin-1 (it was probably 'café')"]
    """
    problems = []
    repaired = _repaired(text)
    runs_left = not MARKS.isdisjoint(text) and _runs_left(text)
    if repaired != text:
        problems.append(f"UTF-8 read as Latin-1 (it was probably {_short(repaired)!r})")
    found: dict[str, set[str]] = {}
    for place, character in enumerate(text):
        if character in MARKS and runs_left:
            continue
        sort = _sort(text, place, character)
        if sort and not (repaired != text and character in _SEQUENCE_CONTROLS):
            found.setdefault(sort, set()).add(f"U+{ord(character):04X}")
    problems += [f"{sort} {', '.join(sorted(codes)[:3])}" for sort, codes in found.items()]
    return problems


_SEQUENCE_CONTROLS = frozenset(map(chr, range(0x80, 0xA0)))


def _short(text: str) -> str:
    plain = "".join(c for c in text if c.isprintable())
    return plain if len(plain) <= 40 else plain[:39] + "…"


def _sort(text: str, place: int, character: str) -> str:
    if character == "\ufffd":
        return "replacement character"
    category = unicodedata.category(character)
    if category == "Cc":
        return "" if character in KEPT else "control character"
    if category == "Co":
        return "private character"
    if category == "Cs":
        return "half of a character"
    if category != "Cf" or _is_in_its_script(text, place, character):
        return ""
    return "invisible character"


def _is_in_its_script(text: str, place: int, character: str) -> bool:
    """Whether a joiner stands where its script needs it."""
    around = text[max(0, place - 2) : place] + text[place + 1 : place + 3]
    return character in JOINERS and any(ord(c) > 0x58F and c not in JOINERS for c in around)


def _runs_left(text: str) -> bool:
    """Whether direction marks are at home in a text: some of it runs from right to left."""
    return any(unicodedata.bidirectional(c) in {"R", "AL"} for c in text if c not in MARKS)


def _repaired(text: str) -> str:
    """The text with wrongly decoded characters put right; the same where there are none."""
    return _SEQUENCE.sub(_decoded, text) if any("\u00c2" <= c <= "\u00f4" for c in text) else text


def _decoded(match: re.Match[str]) -> str:
    seen = match.group()
    data = bytes(ord(c) if ord(c) < 0x100 else c.encode("cp1252")[0] for c in seen)
    try:
        meant = data.decode("utf-8")
    except UnicodeDecodeError:
        return seen
    if len(seen) > 2:
        return meant
    # Two may be chance: a capital letter before a quotation mark. Latin, Greek and Cyrillic letters do occur.
    is_quoted = seen[1] in QUOTES and match.string[: match.start()][-1:].isupper()
    is_likely = meant < "\u0180" or "\u0370" <= meant < "\u0530"
    return meant if is_likely and not is_quoted else seen


def escaped(text: str, width: int = 60) -> str:
    r"""A text with everything odd as an escape, `caf\xe9`-like, cut to a width.

    >>> escaped("a\x07b")
    'a\\x07b'
    """
    shown = "".join(
        c if c.isprintable() and c != "\ufffd" else c.encode("unicode_escape", "replace").decode() for c in text
    )
    return shown if len(shown) <= width else shown[: width - 1] + "…"
