"""Vocabulary `added`: new tokens behind the tokenizer's last id."""

from ..errors import TokenizeError
from ..tokenizers._base import BaseTokenizer
from ._map import END_TOKEN, START_TOKEN, Delimiter, Vocabulary, VocabularyKind, action_names, check_num_codes

__all__ = ["added_vocabulary"]


def added_vocabulary(
    num_codes: int, base: BaseTokenizer, *, start_end: bool = False, embedding_rows: int | None = None
) -> Vocabulary:
    """New tokens `<action_000>`, … behind the tokenizer's last id; as many digits as the last code has.

    Args:
        num_codes: Number of codes.
        base: The tokenizer.
        start_end: Whether `<action_start>` and `<action_end>` follow them, special tokens both.
        embedding_rows: Rows of the model's embedding; None: as the `config.json` beside the tokenizer says, if any.

    Raises:
        TokenizeError: A name is taken, or the tokenizer does not give ids that are new, contiguous and stable in text.
    """
    check_num_codes(num_codes)
    names = action_names(num_codes)
    special = (START_TOKEN, END_TOKEN) if start_end else ()
    every = (*names, *special)
    taken = [n for n in every if base.tokenizer.token_to_id(n) is not None]
    if taken:
        raise TokenizeError(f"the tokenizer has {len(taken)} of the action tokens already, the first: {taken[0]}")
    tokenizer = base.extended(names, special)
    ids = [tokenizer.token_to_id(n) for n in every]
    first = ids[0]
    if first is None or ids != list(range(first, first + len(every))):
        raise TokenizeError(f"action tokens got the ids {ids[:3]}…; must be contiguous")
    if base.ids and first <= max(base.ids):
        raise TokenizeError(
            f"action tokens got the ids from {first} on, and {max(base.ids)} is in use; the tokenizer's ids have gaps"
        )
    if base.encode(["".join(every)], tokenizer)[0] != tuple(ids):
        raise TokenizeError("action tokens in a text are not read back as their ids; the tokenizer alters them")
    rows = base.embedding_rows if embedding_rows is None else embedding_rows
    delimiters = [Delimiter(token=n, id=first + num_codes + i) for i, n in enumerate(special)]
    return Vocabulary(
        kind=VocabularyKind.ADDED,
        ids=tuple((i,) for i in range(first, first + num_codes)),
        tokens=names,
        start=delimiters[0] if delimiters else None,
        end=delimiters[1] if delimiters else None,
        base=base.facts,
        facts=_embedding_facts(first, first + len(every), rows),
    )


def _embedding_facts(first: int, stop: int, rows: int | None) -> tuple[str, ...]:
    if rows is None or rows <= first:
        return ()
    there = min(stop, rows) - first
    return (
        f"the model's embedding has {rows} rows, and the tokenizer ends at id {first - 1}: {there} of {stop - first} "
        "new ids are padding rows that are there already; initialise rows by id, not from the embedding's end on",
    )
