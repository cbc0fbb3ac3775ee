"""Vocabulary `tail`: the last tokens of a vocabulary are used again, in descending order."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import TokenizeError
from ..text import printable
from ..tokenizers._base import BaseTokenizer
from ._map import Vocabulary, VocabularyKind, check_num_codes

__all__ = ["mixed_rows", "tail_vocabulary"]

Int64Array = NDArray[np.int64]


def tail_vocabulary(
    num_codes: int,
    base: BaseTokenizer | None = None,
    *,
    vocab_size: int | None = None,
    skip: int = 0,
    reuse_added: bool = False,
) -> Vocabulary:
    """The last tokens of a vocabulary, descending: id = V - 1 - skip - code.

    Args:
        num_codes: Number of codes.
        base: The tokenizer to check against; None: nothing is checked, and V must be given.
        vocab_size: V; None: the tokenizer's, without added tokens.
        skip: Ids at the end that are left alone; 128 for pi0-FAST.
        reuse_added: Whether added tokens that are not special may be used again, as pi0-FAST does with `<loc0000>`, ….

    Raises:
        TokenizeError: The range is larger than the vocabulary, V is not the tokenizer's, or an id has no token, or is
            that of a special or added one.
    """
    check_num_codes(num_codes)
    size = vocab_size if vocab_size is not None else (base.facts.vocab_size if base else None)
    if size is None:
        raise TokenizeError("neither a tokenizer nor a vocabulary size is given; one must be")
    if skip < 0 or num_codes + skip > size:
        raise TokenizeError(f"{num_codes} codes after {skip} skipped ids do not fit into a vocabulary of {size}")
    ids = [size - 1 - skip - code for code in range(num_codes)]
    pieces = tuple((i,) for i in ids)
    if base is None:
        fact = f"V = {size} was given and not compared with a tokenizer"
        return Vocabulary(kind=VocabularyKind.TAIL, ids=pieces, facts=(fact,))
    tokens, facts = _tail_tokens(ids, size, base, reuse_added=reuse_added)
    return Vocabulary(kind=VocabularyKind.TAIL, ids=pieces, tokens=tokens, base=base.facts, facts=facts)


def _tail_tokens(
    ids: Sequence[int], size: int, base: BaseTokenizer, *, reuse_added: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    without, length = base.facts.vocab_size, base.facts.length
    if size not in {without, length}:
        raise TokenizeError(
            f"V is {size}; must be the tokenizer's {without} without, or {length} with added tokens "
            "(a model's embedding can have more rows: padding)"
        )
    for i in ids:
        if i not in base.ids:
            raise TokenizeError(f"id {i} has no token in the tokenizer; tail ids must be tokens")
        content, is_special = base.added.get(i, ("", False))
        if i in base.added and (is_special or not reuse_added):
            kind = "special" if is_special else "added"
            raise TokenizeError(f"id {i} is the {kind} token {printable(content)!r}; tail ids must be ordinary tokens")
    tokens = tuple(base.tokenizer.id_to_token(i) or "" for i in ids)
    facts = []
    if without != length:
        facts.append(f"the tokenizer has {without} tokens and {length} with added ones; V is {size}")
    rows = [[ids[code] for code in row] for row in mixed_rows(len(ids))]
    texts = base.tokenizer.decode_batch(rows, skip_special_tokens=False)
    broken = sum(list(back) != row for row, back in zip(rows, base.encode(texts), strict=True))
    if broken:
        facts.append(
            f"{broken} of {len(rows)} rows of 8 tail tokens are other ids after a way through text; use the ids"
        )
    return tokens, tuple(facts)


def mixed_rows(num_codes: int) -> Int64Array:
    """Rows of 8 codes that hold each code twice, beside different ones, [N, 8]."""
    # Steps of a size that shares no divisor with the number of codes reach all of them.
    step = next(s for s in range(max(1, int(num_codes * 0.618)), num_codes + 1) if np.gcd(s, num_codes) == 1)
    order = np.arange(-(-num_codes // 8) * 8) * step % num_codes
    return np.concatenate([order.reshape(-1, 8), order[::-1].reshape(-1, 8)])
