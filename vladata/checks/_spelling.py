"""Finds instructions that differ from a frequent one by typing errors only."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, islice, product

from ._look import listed
from ._words import FUNCTION_WORDS, is_word

__all__ = ["Variant", "distance", "variants"]

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
SHORT, LONG = 4, 8
"""Below the first, words of other letters are most often words themselves; from the second on, a word may have two
errors of any kind."""
MOST_WRONG = 3
"""Words of a text that may be wrong."""
MOST_TRIED = 64
"""Ways to put them right that are tried."""
SPACES = "spaces"
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
    for text in sorted(frequent, key=lambda t: (-counts[t], t != " ".join(t.split()))):
        by_letters.setdefault("".join(words[text]) or text, text)
    near = _Near(words, frequent, counts)
    for text in words:
        other = by_letters.get("".join(words[text]), text)
        difference = _writing(text, other) if other != text else ""
        if other == text:
            other, difference = near.find(text, rare_part)
        # Spaces can't be seen: nobody means them, however often they were written.
        is_rare = counts[text] <= rare_part * counts[other] or difference == SPACES if other else False
        if is_rare and other != text:
            yield Variant(rare=text, frequent=other, difference=difference)


def _words(text: str) -> tuple[str, ...]:
    """Words in lower case, a word that stands twice in a row once."""
    found = _WORD.findall(text.casefold())
    return tuple(w for i, w in enumerate(found) if i == 0 or w != found[i - 1])


def _writing(text: str, other: str) -> str:
    if " ".join(text.split()) == " ".join(other.split()):
        return SPACES
    if text.casefold() == other.casefold():
        return "capital letters"
    if _WORD.findall(text.casefold()) == _WORD.findall(other.casefold()):
        return "punctuation"
    return "spaces or a word written twice"


class _Near:
    """Frequent texts by their words, and these words by what is left of them without a letter or two."""

    def __init__(self, words: Mapping[str, tuple[str, ...]], frequent: set[str], counts: Mapping[str, int]) -> None:
        self._words, self._counts = words, counts
        self._users = Counter(w for found in words.values() for w in set(found))
        self._texts: dict[tuple[str, ...], str] = {}
        for text in sorted(frequent, key=lambda t: -counts[t]):
            self._texts.setdefault(words[text], text)
        self._index: dict[str, list[str]] = defaultdict(list)
        for word in sorted({w for t in frequent for w in words[t] if w.isalpha()}):
            for part in _shortened(word):
                self._index[part].append(word)

    def find(self, text: str, rare_part: float) -> tuple[str, str]:
        """The most frequent text that differs by typing errors in one to three words, and the difference."""
        words = self._words[text]
        # A word that other instructions have as well is meant; one that no other has must be wrong if this text is
        # another one.
        odd = [i for i, word in enumerate(words) if self._users[word] == 1]
        if not 1 <= len(odd) <= MOST_WRONG:
            return "", ""
        best, difference = "", ""
        for tried in islice(product(*(self._meant(words[i]) for i in odd)), MOST_TRIED):
            right = dict(zip(odd, (word for word, _ in tried), strict=True))
            other = self._texts.get(tuple(right.get(i, word) for i, word in enumerate(words)), "")
            # Where one word is surely wrong, another that is a letter off is wrong as well.
            is_rare = any(sure for _, sure in tried) and self._counts[text] <= rare_part * self._counts.get(other, 0)
            if is_rare and self._counts[other] > self._counts.get(best, 0):
                best, difference = other, listed([f"{words[i]!r} for {word!r}" for i, word in right.items()])
        return best, difference

    def _meant(self, word: str) -> list[tuple[str, bool]]:
        """Words of frequent texts that one may be with errors, and whether it surely is; sorted."""
        if len(word) < 2 or not word.isalpha() or ord(max(word)) > LAST_ALPHABETIC:
            return []
        near = sorted({other for part in _shortened(word) for other in self._index.get(part, ())})
        surely = {other for other in near if not is_word(word) and _is_typo(word, other)}
        return [(other, other in surely) for other in near if other in surely or _is_letter_off(word, other)]


def _is_letter_off(word: str, meant: str) -> bool:
    if min(len(word), len(meant)) < SHORT - 1 or abs(len(word) - len(meant)) > 1 or len(set(word) ^ set(meant)) > 2:
        return False
    return distance(word, meant) == 1 and not _is_form(word, meant) and not _is_form(meant, word)


def _is_typo(word: str, meant: str) -> bool:
    """Whether a word is another one with an error; plurals, and short words of other letters, are words themselves."""
    most, letters = 1, (set(word), set(meant))
    length = min(len(word), len(meant))
    if meant in FUNCTION_WORDS:
        most = 1 + (letters[0] == letters[1])
    elif length >= LONG or (length > SHORT and letters[0] <= letters[1]):
        # Letters that were exchanged, doubled or left out make no other word so easily as other letters do.
        most = 2
    if abs(len(word) - len(meant)) > most or len(letters[0] ^ letters[1]) > 2 * most:
        return False
    if word == meant or distance(word, meant) > most or _is_form(word, meant) or _is_form(meant, word):
        return False
    return length >= SHORT or meant in FUNCTION_WORDS or _looks_wrong(word, meant)


def _looks_wrong(word: str, meant: str) -> bool:
    """Whether a short word is an error at sight: cup, cap and cob are all words, but ucp, cpp, cupp and cp are none."""
    has_vowel = any(c in VOWELS or c > "z" for c in word)
    is_doubled = any(word[i] == word[i - 1] and word[:i] + word[i + 1 :] == meant for i in range(1, len(word)))
    return sorted(word) == sorted(meant) or is_doubled or (not has_vowel and any(c in VOWELS for c in meant))


def _is_form(word: str, base: str) -> bool:
    return word in {base + end for end in ("s", "es", "d", "ed", "r", "er", "y", "ly", "ing")}


def _shortened(word: str) -> set[str]:
    """A word, and what is left of it without one letter, and without two where it is not short."""
    found = {word}
    for count in range(1, 3 if len(word) >= SHORT else 2):
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
