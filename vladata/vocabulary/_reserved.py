"""Vocabulary `reserved`: tokens that the tokenizer keeps free for later use, in ascending order of their numbers."""

import re

from ..errors import TokenizeError
from ..text import printable
from ..tokenizers._base import BaseTokenizer
from ._map import Delimiter, Vocabulary, VocabularyKind, check_num_codes

__all__ = ["RESERVED_PATTERNS", "reserved_vocabulary"]

RESERVED_PATTERNS = (
    "<|reserved_special_token_{n}|>",
    "<unused{n}>",
    "<extra_id_{n}>",
    "<|extra_{n}|>",
    "<reserved_{n}>",
    "[unused{n}]",
)
"""Names of reserved tokens of Llama 3, Gemma, T5, Qwen (first generation), …; `{n}` is a number."""
SHOWN = 8


def reserved_vocabulary(
    num_codes: int, base: BaseTokenizer, *, pattern: str | None = None, start_end: bool = False
) -> Vocabulary:
    """Reserved tokens that the tokenizer has, in ascending order of their numbers; holes are passed over and listed.

    Args:
        num_codes: Number of codes.
        base: The tokenizer.
        pattern: Name of the tokens with `{n}` for the number; None: the one of `RESERVED_PATTERNS` that has most.
        start_end: Whether the next two tokens behind those of the codes are start and end.

    Raises:
        TokenizeError: The pattern has no number, there are too few tokens, or one is not read back out of a text.
    """
    check_num_codes(num_codes)
    patterns = RESERVED_PATTERNS if pattern is None else (pattern,)
    found = max((_numbered(base, p) for p in patterns), key=len)
    chosen = pattern or next(p for p in patterns if _numbered(base, p) == found)
    needed = num_codes + (2 if start_end else 0)
    numbers = sorted(found)
    holes = sorted(set(range(numbers[-1] + 1)) - found.keys()) if numbers else []
    if len(numbers) < needed:
        shown = printable(chosen) if found or pattern else f"of {len(patterns)} known names"
        raise TokenizeError(
            f"the tokenizer has {len(numbers)} reserved tokens {shown}{_listed(holes)}; must have {needed}"
        )
    names = [base.tokenizer.id_to_token(found[n]) or "" for n in numbers[:needed]]
    ids = [found[n] for n in numbers[:needed]]
    if base.encode(["".join(names)])[0] != tuple(ids):
        raise TokenizeError("reserved tokens in a text are not read back as their ids; the tokenizer alters them")
    pairs = [Delimiter(token=n, id=i) for n, i in zip(names, ids, strict=True)][num_codes:]
    return Vocabulary(
        kind=VocabularyKind.RESERVED,
        ids=tuple((i,) for i in ids[:num_codes]),
        tokens=tuple(names[:num_codes]),
        start=pairs[0] if pairs else None,
        end=pairs[1] if pairs else None,
        base=base.facts,
        facts=_facts(base, ids, [h for h in holes if h < numbers[needed - 1]]),
    )


def _numbered(base: BaseTokenizer, pattern: str) -> dict[int, int]:
    """Ids of the tokens of a name, by their number."""
    before, sign, behind = pattern.partition("{n}")
    if not sign or "{n}" in behind:
        raise TokenizeError(f"pattern is {printable(pattern)!r}; must hold {{n}} once, for the number")
    # Numbers as they are printed: another spelling of one would be a second token of it.
    name = re.compile(re.escape(before) + "(0|[1-9][0-9]{0,8})" + re.escape(behind))
    matches = ((name.fullmatch(token), i) for token, i in base.vocabulary.items())
    return {int(match[1]): i for match, i in matches if match is not None}


def _facts(base: BaseTokenizer, ids: list[int], holes: list[int]) -> tuple[str, ...]:
    facts = []
    if holes:
        facts.append(f"the numbers of the reserved tokens run{_listed(holes)}; these were passed over")
    special = sum(base.added.get(i, ("", False))[1] for i in ids)
    if special:
        facts.append(
            f"{special} of {len(ids)} reserved tokens are special: decoding with skip_special_tokens drops them"
        )
    return tuple(facts)


def _listed(holes: list[int]) -> str:
    if not holes:
        return ""
    more = f", … ({len(holes)} in all)" if len(holes) > SHOWN else ""
    return f" without {', '.join(map(str, holes[:SHOWN]))}{more}"
