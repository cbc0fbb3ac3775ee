"""Byte-pair encoding of coefficients as they are: each is one letter, and a text is one word."""

from collections.abc import Sequence
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from ..errors import TokenizeError
from ._bpe import Bpe, PointArray, read_vocabulary
from ._bpe_kernel import Int64Array, SymbolArray

__all__ = ["FIRST_LETTER", "MAX_LETTERS", "Letters", "letters", "train"]

FIRST_LETTER = 0x4E00
"""Code point of the lowest coefficient: behind it are 20,992 letters of one kind."""
MAX_LETTERS = 0x9FFF - FIRST_LETTER + 1
MAX_TRAINED = 1 << 24
"""Coefficients that merges are learned from."""


class Letters(Bpe):
    """A vocabulary of coefficients as letters."""

    @cached_property
    def num_symbols(self) -> int:
        """Tokens of one symbol."""
        return sum(len(t) == 1 for t in self.vocabulary.tokens)

    @property
    def symbol_ids(self) -> Sequence[int]:
        """The token of each symbol alone is itself."""
        return range(self.num_symbols)

    def words(self, points: PointArray) -> tuple[SymbolArray, Int64Array, Int64Array]:
        """See `Bpe.words`; a text is a word."""
        count, length = points.shape
        symbols = (points.reshape(-1) - np.uint32(FIRST_LETTER)).astype(np.uint16)
        return symbols, np.arange(0, count * length + 1, length), np.arange(count + 1)

    @cached_property
    def symbols(self) -> tuple[Int64Array, Int64Array]:
        """Where the symbols of each token begin, [V + 1], and all symbols."""
        starts = np.concatenate([[0], np.cumsum([len(t) for t in self.vocabulary.tokens])]).astype(np.int64)
        text = "".join(self.vocabulary.tokens)
        return starts, np.array([ord(c) - FIRST_LETTER for c in text], dtype=np.int64)


@lru_cache(maxsize=16)
def letters(content: bytes) -> Letters:
    """The vocabulary of a tokenizer.json.

    Raises:
        TokenizeError: It is none, or has other tokens.
    """
    found = Letters(read_vocabulary(content, None))
    used = set("".join(found.vocabulary.tokens))
    if used != {chr(FIRST_LETTER + k) for k in range(found.num_symbols)}:
        raise TokenizeError("tokenizer.json must have tokens of coefficients alone")
    return found


def train(points: NDArray[np.uint32], num_symbols: int, vocab_size: int) -> bytes:
    """The tokenizer.json of merges that are learned from texts, [N, L], evenly spread ones of very many."""
    from tokenizers import Tokenizer, models
    from tokenizers.trainers import BpeTrainer

    count, length = points.shape
    if points.size > MAX_TRAINED:
        points = points[np.linspace(0, count - 1, max(1, MAX_TRAINED // length)).astype(np.int64)]
    text = points.astype("<u4").tobytes().decode("utf-32-le")
    trainer = BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        show_progress=False,
        special_tokens=[],
        initial_alphabet=[chr(FIRST_LETTER + k) for k in range(num_symbols)],
    )
    bpe = Tokenizer(models.BPE())
    bpe.train_from_iterator((text[k : k + length] for k in range(0, len(text), length)), trainer)
    return str(bpe.to_str()).encode()
