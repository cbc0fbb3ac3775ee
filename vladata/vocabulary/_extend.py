"""Write a tokenizer with its action tokens, and say which rows of the model's embedding they need."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import TokenizeError
from ..tokenizers._base import BaseTokenizer, parse_tokenizer, settings_with_tokens
from ._map import Vocabulary, VocabularyKind

__all__ = ["RowPlan", "plan_rows", "write_extended"]

MULTIPLE = 64
"""Embeddings are padded to a multiple of this, which matrix units like."""


def write_extended(base: BaseTokenizer, vocabulary: Vocabulary, folder: Path, source: Path | None = None) -> list[Path]:
    """Write the tokenizer, with the action tokens where they are new, as a folder that trainers load.

    Args:
        base: The tokenizer before.
        vocabulary: Of this tokenizer; kinds other than `added` need no new token, and tokenizer.json stays as it is.
        folder: Where to; made if missing.
        source: Folder of the base tokenizer; its small settings files come along, with the tokens where they list them.

    Returns:
        The files, in order of their names.

    Raises:
        TokenizeError: The vocabulary is of another tokenizer, or what was written reads back differently.
    """
    if vocabulary.base != base.facts:
        raise TokenizeError("the vocabulary is of another tokenizer; must be of this one")
    text, new, special = base.text, dict[str, int](), frozenset[str]()
    if vocabulary.kind is VocabularyKind.ADDED:
        delimiters = [d for d in (vocabulary.start, vocabulary.end) if d is not None]
        special = frozenset(d.token for d in delimiters)
        new = dict(zip(vocabulary.tokens, (p[0] for p in vocabulary.ids), strict=True))
        text = base.extended(vocabulary.tokens, [d.token for d in delimiters]).to_str(pretty=True) + "\n"
        new |= {d.token: d.id for d in delimiters}
        written = parse_tokenizer(text)
        if any(written.token_to_id(n) != i for n, i in new.items()):
            raise TokenizeError("the extended tokenizer.json gives other ids when it is read back")
    contents = {"tokenizer.json": text}
    if source is not None:
        contents |= settings_with_tokens(source, new, special)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content.encode())
    return [folder / name for name in sorted(contents)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowPlan:
    """What a model's embedding, and its output layer, need for the tokens of a vocabulary."""

    kind: VocabularyKind
    rows: Mapping[str, tuple[int, ...]]
    """Rows to initialise, by what they are for: codes, start, end."""
    mean_of: tuple[int, int]
    """Rows of the tokens that were trained, half-open: their mean is what a new row begins with."""
    embedding_rows: int | None
    """Rows that the model has; None where nobody said."""
    in_padding: tuple[int, ...]
    """Of the rows to initialise, those that are in the embedding already, as padding behind the tokenizer's tokens."""
    needed: int
    """Rows that the embedding must have."""
    resize_to: int | None
    """Rows that it must be resized to, a multiple of 64; None: it must not be resized, or nobody said its rows."""
    advice: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """As JSON values, the content of `rows_to_initialise.json`."""
        return {**asdict(self), "kind": str(self.kind)}


def plan_rows(vocabulary: Vocabulary, base: BaseTokenizer, embedding_rows: int | None = None) -> RowPlan:
    """Say which rows of the model must be initialised for a vocabulary.

    Args:
        vocabulary: Of kind `added` or `reserved`.
        base: Its tokenizer.
        embedding_rows: Rows of the model's embedding; None: as the `config.json` beside the tokenizer says, if any.

    Raises:
        TokenizeError: The tokens of this kind have been trained, or the embedding has fewer rows than the tokenizer.
    """
    if vocabulary.kind not in {VocabularyKind.ADDED, VocabularyKind.RESERVED}:
        raise TokenizeError(f"vocabulary {vocabulary.kind} uses trained tokens; only added and reserved have new rows")
    rows = {"codes": tuple(p[0] for p in vocabulary.ids)}
    rows |= {n: (d.id,) for n, d in (("start", vocabulary.start), ("end", vocabulary.end)) if d is not None}
    every = sorted(i for own in rows.values() for i in own)
    end = max(base.ids) + 1
    there = base.embedding_rows if embedding_rows is None else embedding_rows
    if there is not None and there < end:
        raise TokenizeError(f"the embedding has {there} rows; must have at least {end}, one for each token")
    needed = max(end, every[-1] + 1)
    padded = -(-needed // MULTIPLE) * MULTIPLE
    return RowPlan(
        kind=vocabulary.kind,
        rows=rows,
        mean_of=(0, end),
        embedding_rows=there,
        in_padding=tuple(i for i in every if end <= i < (there or 0)),
        needed=needed,
        resize_to=padded if there is not None and there < needed else None,
        advice=_advice(vocabulary.kind, needed, padded, there),
    )


def _advice(kind: VocabularyKind, needed: int, padded: int, there: int | None) -> tuple[str, ...]:
    if there is None:
        size = f"resize to {padded} rows if the model has fewer than {needed}; never shrink an embedding that has more"
    elif there < needed:
        size = f"resize from {there} to {padded} rows"
    else:
        size = f"do not resize: {there} rows are enough, and resizing to the tokenizer's length would shrink them"
    begin = (
        "set every listed row, by its id, to the mean of the rows in mean_of (without the listed ones)"
        if kind is VocabularyKind.RESERVED
        else "set every listed row, by its id, to the mean of the rows in mean_of; padding rows hold no trained values"
    )
    return (
        size,
        begin,
        "do the same in the output layer (lm_head), unless it is tied to the embedding",
        "LoRA: put embed_tokens and lm_head into modules_to_save, or the ids into trainable_token_indices; "
        "otherwise the new rows never learn",
    )
