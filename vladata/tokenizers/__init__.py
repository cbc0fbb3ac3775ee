"""Action codecs: normalized action values ↔ integer codes. One module here is one codec.

A module has the class `Codec`, which satisfies `ActionCodec`, and `NAME` is the module's name.
"""

from collections.abc import Mapping
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["ActionCodec", "CodeArray", "FloatArray"]

FloatArray = NDArray[np.float64]
CodeArray = NDArray[np.int64]


class ActionCodec(Protocol):
    """Turns chunks of normalized actions into codes and back; immutable, whole when built."""

    @property
    def num_codes(self) -> int:
        """Codes are 0 <= code < num_codes."""

    @classmethod
    def fit(cls, chunks: FloatArray, **options: int | float | str) -> Self:
        """Build from normalized chunks of the train split, [N, H, D]; bins ignore the values."""

    @classmethod
    def from_dict(cls, state: Mapping[str, object]) -> Self:
        """Build from what `to_dict` gave.

        Raises:
            TokenizeError: Something is missing or out of range.
        """

    def to_dict(self) -> dict[str, object]:
        """Everything needed to build it again, as JSON values."""

    def encode(self, chunks: FloatArray) -> CodeArray:
        """Encode normalized chunks, clipping to the codec's range.

        Args:
            chunks: [N, H, D].

        Returns:
            Codes, [N, H * D], step by step, 0 <= code < num_codes.

        Raises:
            TokenizeError: The chunks are not [N, H, D], or hold a value that is not finite.
        """

    def decode(self, codes: CodeArray, horizon: int, dims: int) -> FloatArray:
        """Decode codes to normalized chunks, strictly.

        Args:
            codes: [N, H * D].
            horizon: H.
            dims: D.

        Returns:
            [N, H, D].

        Raises:
            TokenizeError: The codes have another shape, or one is outside 0 <= code < num_codes (with its position).
        """

    def is_clipped(self, chunks: FloatArray) -> NDArray[np.bool_]:
        """True where `encode` clips a value to the codec's range, in the shape of the chunks; the caller counts."""

    def half_bin(self) -> float:
        """Largest error of decode(encode(x)) for x inside the range, in normalized units."""
