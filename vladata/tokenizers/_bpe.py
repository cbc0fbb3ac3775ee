"""Byte-pair vocabularies of a tokenizer.json: texts of many chunks to tokens, exactly as the library `tokenizers` does.

Few chunks, and vocabularies that training would not give, go through the library itself.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import TokenizeError
from ..text import clip, printable
from . import TokenRows
from ._bpe_kernel import Int64Array, Kernel, SymbolArray, build_kernel

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["Bpe", "Vocabulary", "concatenated", "read_vocabulary"]

PointArray = NDArray[np.uint32]
"""Code points."""

MAX_BYTES = 64 << 20
_FEW = 48
"""As many rows are faster one by one: a step over symbols costs as much for one as for hundreds."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Vocabulary:
    """What a tokenizer.json says."""

    content: bytes
    tokens: tuple[str, ...]
    """By id."""
    rules: tuple[tuple[int, int, int], ...]
    """Left token, right token and what they become, in the order of their ranks."""


def read_vocabulary(content: bytes, pre_tokenizer: Mapping[str, object] | None) -> Vocabulary:
    """Parse a tokenizer.json of byte-pair merges and nothing else.

    Args:
        content: Of the file.
        pre_tokenizer: What it must say about cutting texts into words, as far as it matters.

    Raises:
        TokenizeError: It is not JSON, too large, or something in it changes texts or tokens in another way.
    """
    name = "tokenizer.json"
    if len(content) > MAX_BYTES:
        raise TokenizeError(f"{name} has {len(content):,} bytes; must have at most {MAX_BYTES:,}")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise TokenizeError(f"{name} is not JSON: {clip(printable(str(error)), 100)}") from error
    model = document.get("model") if isinstance(document, dict) else None
    if not isinstance(model, dict) or model.get("type") != "BPE":
        raise TokenizeError(f"{name}: model.type must be BPE")
    for where, found in (
        *((f"model.{key}", model.get(key)) for key in _NO_EFFECT),
        *((key, document.get(key)) for key in ("normalizer", "added_tokens", "truncation", "padding")),
    ):
        if found:
            raise TokenizeError(f"{name}: {where} is {clip(printable(str(found)), 60)}; must be unset")
    _check_words(document, pre_tokenizer)
    vocab, merges = model.get("vocab"), model.get("merges")
    if not isinstance(vocab, dict) or not isinstance(merges, list):
        raise TokenizeError(f"{name}: model.vocab and model.merges are missing")
    if not vocab or sorted(v for v in vocab.values() if type(v) is int) != list(range(len(vocab))):
        raise TokenizeError(f"{name}: model.vocab must have the ids 0 to {len(vocab) - 1}, each once")
    tokens: tuple[str, ...] = tuple(sorted(vocab, key=vocab.__getitem__))
    return Vocabulary(content=content, tokens=tokens, rules=tuple(_rule(m, vocab) for m in merges))


_NO_EFFECT = (
    "dropout",
    "unk_token",
    "continuing_subword_prefix",
    "end_of_word_suffix",
    "byte_fallback",
    "ignore_merges",
)


def _check_words(document: Mapping[str, object], pre_tokenizer: Mapping[str, object] | None) -> None:
    found = document.get("pre_tokenizer")
    if pre_tokenizer is None:
        if found is not None:
            raise TokenizeError("tokenizer.json: pre_tokenizer must be unset")
    elif not isinstance(found, dict) or any(found.get(k, v) != v for k, v in pre_tokenizer.items()):
        wanted = json.dumps(dict(pre_tokenizer))
        raise TokenizeError(f"tokenizer.json: pre_tokenizer is {clip(printable(str(found)), 100)}; must be {wanted}")
    after = document.get("post_processor")
    if after is not None and not (isinstance(after, dict) and after.get("type") == "ByteLevel"):
        raise TokenizeError("tokenizer.json: post_processor must be unset or ByteLevel, which adds no tokens")


def _rule(merge: object, vocab: Mapping[str, int]) -> tuple[int, int, int]:
    parts = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(p, str) for p in parts):
        raise TokenizeError(f"tokenizer.json: merge {clip(printable(str(merge)), 40)!r}; must be two tokens")
    left, right = parts
    try:
        return vocab[left], vocab[right], vocab[left + right]
    except KeyError as error:
        raise TokenizeError(f"tokenizer.json: merge {clip(printable(str(merge)), 40)!r} has no token") from error


class Bpe(ABC):
    """A vocabulary and how texts become its symbols and words."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    @property
    def num_ids(self) -> int:
        """V."""
        return len(self.vocabulary.tokens)

    @property
    @abstractmethod
    def symbol_ids(self) -> Sequence[int]:
        """Token of each symbol alone; -1 where it has none."""

    @abstractmethod
    def words(self, points: PointArray) -> tuple[SymbolArray, Int64Array, Int64Array]:
        """Texts of equal length, [N, L], as symbols end to end, the words' offsets, and the texts' among the words."""

    @cached_property
    def tokenizer(self) -> "Tokenizer":
        """The library's own."""
        from tokenizers import Tokenizer

        try:
            return Tokenizer.from_str(self.vocabulary.content.decode())
        except Exception as error:  # tokenizers raises nothing more special
            raise TokenizeError(f"tokenizer.json can't be parsed: {clip(printable(str(error)), 200)}") from error

    @cached_property
    def kernel(self) -> Kernel | None:
        """None where the vocabulary is not as training makes them."""
        return build_kernel(self.symbol_ids, self.vocabulary.rules, self.num_ids)

    def encode(self, points: PointArray) -> TokenRows:
        """Encode texts of equal length, all of whose symbols the vocabulary has.

        Args:
            points: Code points, [N, L], at least one.
        """
        kernel = self.kernel if len(points) > _FEW else None
        if kernel is None:
            return TokenRows.of(self._by_library(points))
        symbols, offsets, texts = self.words(points)
        values, ends = kernel.encode(symbols, offsets)
        return TokenRows(values=values, offsets=ends[texts])

    def _by_library(self, points: PointArray) -> list[list[int]]:
        text = points.astype("<u4").tobytes().decode("utf-32-le")
        length = points.shape[1]
        texts = [text[k : k + length] for k in range(0, len(text), length)]
        if len(texts) <= _FEW:
            return [self.tokenizer.encode(t, add_special_tokens=False).ids for t in texts]
        return [e.ids for e in self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)]


def concatenated(tokens: Int64Array, starts: Int64Array, table: Int64Array) -> tuple[Int64Array, Int64Array]:
    """What tokens stand for, end to end.

    Args:
        tokens: [M].
        starts: Token t stands for table[starts[t]:starts[t + 1]].
        table: Symbols.

    Returns:
        Those of all tokens, and where those of each begin and end, [M + 1].
    """
    begins = starts[tokens]
    sizes = starts[tokens + 1] - begins
    offsets = np.zeros(len(tokens) + 1, dtype=np.int64)
    np.cumsum(sizes, out=offsets[1:])
    source = np.repeat(begins - offsets[:-1], sizes)
    source += np.arange(len(source))
    return table[source], offsets
