"""The bins of OpenVLA: 256 evenly spaced edges from -1 to 1, so 255 intervals, decoded to their centres.

A code is `np.digitize(x, edges) - 1`: 0 for the lowest interval, 254 for the highest, and 255 for exactly 1 (or clipped
to it), which decodes like 254. The language-model id of OpenVLA is `V - 1 - code`: 31999 down to 31744 for Llama-2.

Source: Kim et al., OpenVLA, arXiv:2406.09246, section 3.2, and the behaviour of its published action tokenizer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..actions.plain import from_plain, to_plain
from . import CodeArray, Codes, Decoded, FloatArray
from ._bins import NO_FILES, bin_index, checked_chunks, checked_codes, no_files, outside, repaired_codes

__all__ = ["Codec"]

_EDGES: FloatArray = np.linspace(-1.0, 1.0, 256)
_CENTRES: FloatArray = (_EDGES[:-1] + _EDGES[1:]) / 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """OpenVLA's bins; without options, as they are fixed."""

    learns: ClassVar[bool] = False

    @property
    def num_codes(self) -> int:
        """256, of which two decode alike."""
        return len(_EDGES)

    def length(self, horizon: int, dims: int) -> int:
        """H * D."""
        return horizon * dims

    @property
    def is_stepwise(self) -> bool:
        """Yes."""
        return True

    @classmethod
    def fit(cls, chunks: FloatArray, **options: int | float | str) -> Self:
        """The codec; the chunks don't matter.

        Raises:
            TokenizeError: An option was given; there are none.
        """
        checked_chunks(chunks)
        return cls.from_dict(options)

    @classmethod
    def from_dict(cls, state: Mapping[str, object], files: Mapping[str, bytes] = NO_FILES) -> Self:
        """Build from what `to_dict` gave; there are no files.

        Raises:
            TokenizeError: The state is not empty.
        """
        no_files(files)
        return from_plain(cls, state, "openvla_bins")

    def to_dict(self) -> dict[str, object]:
        """Nothing: the scheme's name says all."""
        return to_plain(self)

    def files(self) -> dict[str, bytes]:
        """None."""
        return {}

    def encode(self, chunks: FloatArray) -> CodeArray:
        """Encode normalized chunks, clipping to -1 to 1.

        Args:
            chunks: [N, H, D].

        Returns:
            Codes, [N, H * D], step by step, 0 to 255.

        Raises:
            TokenizeError: The chunks are not [N, H, D], or hold a value that is not finite.
        """
        values = checked_chunks(chunks)
        return bin_index(values, _EDGES).reshape(len(values), values.shape[1] * values.shape[2])

    def decode(self, codes: Codes | ArrayLike, horizon: int, dims: int) -> FloatArray:
        """Decode codes to the centres of their intervals, -0.99608 to 0.99608.

        Args:
            codes: [N, H * D].
            horizon: H.
            dims: D.

        Returns:
            [N, H, D].

        Raises:
            TokenizeError: The codes have another shape, or one is not 0 to 255.
        """
        return self._values(checked_codes(codes, self.num_codes, horizon, dims))

    def decode_relaxed(self, codes: Codes | ArrayLike, horizon: int, dims: int) -> Decoded:
        """As `decode`; codes that are none become the nearest one, missing steps repeat the one before; counted."""
        found, wrong = repaired_codes(codes, self.num_codes, horizon, dims)
        return Decoded(chunks=self._values(found), num_repaired=wrong, num_clipped=np.zeros_like(wrong))

    def _values(self, codes: CodeArray) -> FloatArray:
        return _CENTRES[np.minimum(codes, len(_CENTRES) - 1)]

    def is_clipped(self, chunks: FloatArray) -> NDArray[np.bool_]:
        """True where `encode` clips, in the shape of the chunks."""
        return outside(chunks, -1.0, 1.0)

    def error_bound(self, chunks: FloatArray) -> FloatArray:
        """Half of 2/255, in normalized units."""
        return np.full(chunks.shape, 1.0 / 255.0 + 4.0 * np.finfo(np.float64).eps)
