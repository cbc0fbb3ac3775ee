"""Finds instructions that differ from a frequent one by a typing error only."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

from ._words import FUNCTION_WORDS, is_word

__all__ = ["Variant", "distance", "variants"]

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
LONG = 8
"""From this length on, a word may have two errors."""
VOWELS = frozenset("aeiouy")
LAST_ALPHABETIC = 0x58F
"""Beyond are scripts in which one character is a syllable or a word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A rare text, and the frequent one that it was probably meant to be."""

    rare: str
    frequent: str
    difference: str
    """In words."""


def variants(counts: Mapping[str, int], rare_part: float, fewest: int) -> Iterator[Variant]:
    """Rare texts that are a frequent one written differently, in the order of the counts.

    Args:
        counts: Episodes by text.
        rare_part: A rare text has at most this part of the frequent one's episodes.
        fewest: A frequent text has at least so many.
    """
    words = {text: _words(text) for text in counts if text.strip()}
    frequent = {t for t in words if counts[t] >= fewest}
    by_letters: dict[str, str] = {}
    for text in sorted(frequent, key=lambda t: -counts[t]):
        by_letters.setdefault("".join(words[text]) or text, text)
    near = _Near(words, frequent, counts)
    for text in words:
        other = by_letters.get("".join(words[text]), text)
        difference = _writing(text, other) if other != text else ""
        if other == text:
            other, difference = near.find(text, rare_part)
        if other and other != text and counts[text] <= rare_part * counts[other]:
            yield Variant(rare=text, frequent=other, difference=difference)


def _words(text: str) -> tuple[str, ...]:
    """Words in lower case, a word that stands twice in a row once."""
    found = _WORD.findall(text.casefold())
    return tuple(w for i, w in enumerate(found) if i == 0 or w != found[i - 1])


def _writing(text: str, other: str) -> str:
    if " ".join(text.split()) == " ".join(other.split()):
        return "spaces"
    if text.casefold() == other.casefold():
        return "capital letters"
    if _WORD.findall(text.casefold()) == _WORD.findall(other.casefold()):
        return "punctuation"
    return "spaces or a word written twice"


class _Near:
    """Frequent texts by what is left without one word, and then by that word without a letter or two."""

    def __init__(self, words: Mapping[str, tuple[str, ...]], frequent: set[str], counts: Mapping[str, int]) -> None:
        self._words, self._counts = words, counts
        self._users = Counter(w for found in words.values() for w in set(found))
        self._index: dict[tuple[tuple[str, ...], int, str], list[str]] = defaultdict(list)
        for text in frequent:
            for i, word in enumerate(words[text]):
                rest = words[text][:i] + words[text][i + 1 :]
                for part in _shortened(word):
                    self._index[rest, i, part].append(text)

    def find(self, text: str, rare_part: float) -> tuple[str, str]:
        """The most frequent text that differs by a typing error in one word, and the difference."""
        best, difference = "", ""
        words = self._words[text]
        for i, word in enumerate(words):
            # A word that other instructions have as well, or that everybody knows, is meant.
            if self._users[word] > 1 or not _can_be_wrong(word):
                continue
            rest = words[:i] + words[i + 1 :]
            for other in {t for part in _shortened(word) for t in self._index.get((rest, i, part), ())}:
                meant = self._words[other][i]
                is_rare = self._counts[text] <= rare_part * self._counts[other]
                if is_rare and _is_typo(word, meant) and self._counts[other] > self._counts.get(best, 0):
                    best, difference = other, f"{word!r} for {meant!r}"
        return best, difference


def _can_be_wrong(word: str) -> bool:
    return len(word) > 1 and word.isalpha() and ord(max(word)) <= LAST_ALPHABETIC and not is_word(word)


def _is_typo(word: str, meant: str) -> bool:
    """Whether a word is another one with an error; plurals, and short words of other letters, are words themselves."""
    if not meant.isalpha() or word == meant or _is_form(word, meant) or _is_form(meant, word):
        return False
    if meant in FUNCTION_WORDS:
        return distance(word, meant) == 1
    if min(len(word), len(meant)) < 4:
        return distance(word, meant) == 1 and _looks_wrong(word, meant)
    most = 2 if min(len(word), len(meant)) >= LONG else 1
    return distance(word, meant) <= most


def _looks_wrong(word: str, meant: str) -> bool:
    """Whether a short word is an error at sight: cup, cap and cob are all words, but ucp, cpp, cupp and cp are none."""
    has_vowel = any(c in VOWELS or c > "z" for c in word)
    is_doubled = any(word[i] == word[i - 1] and word[:i] + word[i + 1 :] == meant for i in range(1, len(word)))
    return sorted(word) == sorted(meant) or is_doubled or (not has_vowel and any(c in VOWELS for c in meant))


def _is_form(word: str, base: str) -> bool:
    return word in {base + end for end in ("s", "es", "d", "ed", "r", "er", "y", "ly", "ing")}


def _shortened(word: str) -> set[str]:
    """A word, and what is left of it without one letter, and without two where it is long."""
    found = {word}
    for count in range(1, 3 if len(word) >= LONG - 2 else 2):
        if count < len(word) <= 24:
            found |= {"".join(c) for c in combinations(word, len(word) - count)}
    return found


def distance(a: str, b: str) -> int:
    """Letters to insert, leave out, change or exchange with their neighbour (optimal string alignment).

    >>> distance("teh", "the"), distance("spoon", "spon"), distance("pick", "pack")
    (1, 1, 1)
    """
    before: list[int] = []
    last = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        row = [i]
        for j, y in enumerate(b, start=1):
            best = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                best = min(best, before[j - 2] + 1)
            row.append(best)
        before, last = last, row
    return last[-1]
