"""Vocabulary `text`: the codes as integers joined by one space, in the tokenizer's own tokens."""

from ..errors import TokenizeError
from ..tokenizers._base import BaseTokenizer
from ._map import Vocabulary, VocabularyKind, check_num_codes
from ._tail import mixed_rows

__all__ = ["text_vocabulary"]


def text_vocabulary(num_codes: int, base: BaseTokenizer, *, space_before: bool = False) -> Vocabulary:
    """Codes as integers joined by one space, in the tokenizer's own tokens.

    The ids of a row must be those of its integers one after the other: this is tried with every code at the beginning
    and behind another one, and with rows of many codes.

    Args:
        num_codes: Number of codes.
        base: The tokenizer.
        space_before: The rows stand behind other text, with a space between, and not at the beginning of a text.

    Raises:
        TokenizeError: The ids of an integer depend on its neighbours, it is unknown, or two can't be told apart.
    """
    check_num_codes(num_codes)
    words = tuple(str(code) for code in range(num_codes))
    first = base.encode(words)
    lead = first[0]
    pairs = base.encode([f"0 {w}" for w in words])
    following = [p[len(lead) :] for p in pairs]
    unknown = base.tokenizer.token_to_id(getattr(base.tokenizer.model, "unk_token", None) or "")
    for code, (at_start, pair) in enumerate(zip(first, pairs, strict=True)):
        if not at_start or pair[: len(lead)] != lead or len(pair) == len(lead):
            raise TokenizeError(f"the ids of '0 {code}' are {list(pair)}; must begin with those of '0', {list(lead)}")
        if unknown is not None and unknown in pair + at_start:
            raise TokenizeError(f"the integer {code} becomes the unknown token {unknown}; must be in the vocabulary")
    single = sum(len(p) == 1 for p in following)
    facts = [] if single == num_codes else [f"{num_codes - single} of {num_codes} integers are more than one token"]
    vocabulary = Vocabulary(
        kind=VocabularyKind.TEXT,
        ids=tuple(following if space_before else first),
        following=() if space_before or following == first else tuple(following),
        tokens=words,
        space_before=space_before,
        base=base.facts,
        facts=tuple(facts),
    )
    rows = mixed_rows(num_codes)
    mapped = vocabulary.encode(rows)
    texts = vocabulary.render(rows)
    before = "0" if space_before else ""
    for row, whole in enumerate(base.encode([before + text for text in texts])):
        text, lead = texts[row], lead if space_before else ()
        if (*lead, *mapped[row].tolist()) != whole:
            raise TokenizeError(f"the ids of {text!r} are not those of its integers; the tokenizer joins neighbours")
    return vocabulary
