"""Whether a stored map still fits a tokenizer: every id, every token."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..text import clip, printable
from ..tokenizers._base import BaseTokenizer

if TYPE_CHECKING:
    from ._map import Vocabulary

__all__ = ["moved_ids"]


def moved_ids(vocabulary: "Vocabulary", base: BaseTokenizer) -> tuple[str, ...]:
    """What a tokenizer says differently than the map, one line for each code; empty where the map fits.

    A tokenizer that has none of the tokens of an `added` vocabulary is looked at as it would be with them.
    """
    if vocabulary.kind == "text":
        return tuple(_moved_integers(vocabulary, base))
    named = _named(vocabulary)
    tokenizer = base.tokenizer
    if vocabulary.kind == "added" and not any(token in base.vocabulary for _, token, _ in named):
        special = [d.token for d in (vocabulary.start, vocabulary.end) if d is not None]
        tokenizer = base.extended(vocabulary.tokens, special)
    lines = []
    for what, token, stored in named:
        found, there = tokenizer.token_to_id(token), tokenizer.id_to_token(stored)
        if found != stored or there != token:
            now = "is no token" if found is None else f"has the id {found}"
            whose = "which has no token" if there is None else f"which is {_shown(there)}"
            lines.append(f"{what}: {_shown(token)} {now}; the map says {stored}, {whose}")
    if not named:
        lines += [
            f"code {code}: id {piece[0]} has no token in the tokenizer"
            for code, piece in enumerate(vocabulary.ids)
            if piece[0] not in base.ids
        ]
    return tuple(lines)


def _named(vocabulary: "Vocabulary") -> list[tuple[str, str, int]]:
    """What each token is for, its text and its id."""
    named = [(f"code {code}", t, p[0]) for code, (t, p) in enumerate(zip(vocabulary.tokens, vocabulary.ids))]  # noqa: B905  tokens may be empty
    for what, delimiter in (("start", vocabulary.start), ("end", vocabulary.end)):
        if delimiter is not None:
            named.append((what, delimiter.token, delimiter.id))
    return named


def _moved_integers(vocabulary: "Vocabulary", base: BaseTokenizer) -> Iterator[str]:
    words = [str(code) for code in range(vocabulary.num_codes)]
    alone = base.encode(words)
    lead = len(alone[0])
    behind = [pair[lead:] for pair in base.encode([f"0 {w}" for w in words])]
    first = behind if vocabulary.space_before else alone
    following = vocabulary.following or vocabulary.ids
    for code, word in enumerate(words):
        for stored, found in ((vocabulary.ids[code], first[code]), (following[code], behind[code])):
            if stored != found:
                yield f"code {code}: {word} becomes {list(found)}; the map says {list(stored)}"
                break


def _shown(token: str) -> str:
    return clip(printable(repr(token)), 60)
