"""Action codecs: normalized action values ↔ integer codes. One module here is one codec.

A module has the class `Codec`, which satisfies `ActionCodec`, and `NAME` is the module's name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._rows import TokenRows

__all__ = ["ActionCodec", "CodeArray", "Codes", "Decoded", "FloatArray", "TokenRows"]

FloatArray = NDArray[np.float64]
CodeArray = NDArray[np.int64]
Codes = CodeArray | TokenRows
"""[N, L] where every chunk has L codes; rows of different lengths where a codec compresses."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decoded:
    """What relaxed decoding made of codes that a strict one may refuse."""

    chunks: FloatArray
    """[N, H, D]."""
    num_repaired: NDArray[np.int64]
    """Codes (or what they stand for) that were missing, too many or none, and were replaced or left out, [N]."""
    num_clipped: NDArray[np.int64]
    """Values that were outside of the declared range and were clipped to it, [N]."""


class ActionCodec(Protocol):
    """Turns chunks of normalized actions into codes and back; immutable, whole when built."""

    learns: ClassVar[bool]
    """Whether `fit` looks at values; where it does not, it may be given no chunks."""

    @property
    def num_codes(self) -> int:
        """Codes are 0 <= code < num_codes."""

    def length(self, horizon: int, dims: int) -> int | None:
        """Codes of a chunk [H, D]; None where it depends on the values."""

    @property
    def is_stepwise(self) -> bool:
        """Whether code h * D + d stands for target [h, d] alone: then the loss can leave out a single target."""

    @classmethod
    def fit(cls, chunks: FloatArray, **options: int | float | str) -> Self:
        """Build from normalized chunks of the train split, [N, H, D]; fixed bins ignore the values.

        Raises:
            TokenizeError: An option is unknown or out of range, or the chunks are too few to learn from.
        """

    @classmethod
    def from_dict(cls, state: Mapping[str, object], files: Mapping[str, bytes]) -> Self:
        """Build from what `to_dict` and `files` gave.

        Raises:
            TokenizeError: Something is missing or out of range.
        """

    def to_dict(self) -> dict[str, object]:
        """Everything needed to build it again but the content of `files`, as JSON values."""

    def files(self) -> dict[str, bytes]:
        """What lies beside the description by file name, for instance `tokenizer.json`; empty for most."""

    def encode(self, chunks: FloatArray) -> Codes:
        """Encode normalized chunks, clipping to the codec's range.

        Args:
            chunks: [N, H, D].

        Returns:
            Codes, 0 <= code < num_codes; [N, L] where `length` says L.

        Raises:
            TokenizeError: The chunks are not [N, H, D], or hold a value that is not finite.
        """

    def decode(self, codes: Codes | ArrayLike, horizon: int, dims: int) -> FloatArray:
        """Decode codes to normalized chunks, strictly.

        Args:
            codes: Of N chunks.
            horizon: H.
            dims: D.

        Returns:
            [N, H, D].

        Raises:
            TokenizeError: A row has another number of codes than a chunk needs, a code is none, or they stand for
                values outside of the declared range; with its position.
        """

    def decode_relaxed(self, codes: Codes | ArrayLike, horizon: int, dims: int) -> Decoded:
        """Decode what a model gave as well as it can be, and count what was wrong; never zeros in silence.

        Raises:
            TokenizeError: The codes are no integers, or a row holds nothing that could be decoded.
        """

    def is_clipped(self, chunks: FloatArray) -> NDArray[np.bool_]:
        """True where `encode` clips, so that `error_bound` does not hold, in the shape of the chunks."""

    def error_bound(self, chunks: FloatArray) -> FloatArray:
        """Largest error of decode(encode(x)) at each value that is not clipped, in normalized units, [N, H, D]."""
