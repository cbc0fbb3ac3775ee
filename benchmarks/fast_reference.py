"""The FAST processor as its behaviour is described: one chunk at a time, by SciPy and tokenizers.

The published one goes through transformers as well, which costs it more time than is counted here.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct, idct
from tokenizers import Tokenizer

__all__ = ["FastReference"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FastReference:
    """One vocabulary with its scale and shift."""

    tokenizer: Tokenizer
    scale: float
    min_token: int

    def encode(self, chunk: NDArray[np.floating]) -> list[int]:
        """Ids of a chunk, [H, D]."""
        rounded = np.around(dct(chunk, axis=0, norm="ortho") * self.scale)
        shifted = np.maximum(rounded.ravel() - self.min_token, 0).astype(int)
        ids: list[int] = self.tokenizer.encode("".join(map(chr, shifted)), add_special_tokens=False).ids
        return ids

    def decode(self, ids: list[int], horizon: int, dims: int) -> FloatArray:
        """The chunk of ids, [H, D]; zeros where they have another number of symbols, as the published one does."""
        text = self.tokenizer.decode(ids, skip_special_tokens=False)
        symbols = np.array([ord(character) for character in text]) + self.min_token
        if len(symbols) != horizon * dims:
            symbols = np.zeros(horizon * dims)
        values: FloatArray = idct(symbols.reshape(horizon, dims) / self.scale, axis=0, norm="ortho")
        return values
