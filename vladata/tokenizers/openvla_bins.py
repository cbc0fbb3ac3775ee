"""The bins of OpenVLA: 256 evenly spaced edges from -1 to 1, so 255 intervals, decoded to their centres.

A code is `np.digitize(x, edges) - 1`: 0 for the lowest interval, 254 for the highest, and 255 for exactly 1 (or clipped
to it), which decodes like 254. The language-model id of OpenVLA is `V - 1 - code`: 31999 down to 31744 for Llama-2.

Source: Kim et al., OpenVLA, arXiv:2406.09246, section 3.2, and the behaviour of its published action tokenizer.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import CodeArray, FloatArray
from ._bins import bin_index, outside
from ._stepwise import StepwiseCodec

__all__ = ["Codec"]

_EDGES: FloatArray = np.linspace(-1.0, 1.0, 256)
_CENTRES: FloatArray = (_EDGES[:-1] + _EDGES[1:]) / 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec(StepwiseCodec):
    """OpenVLA's bins; without options, as they are fixed."""

    @property
    def num_codes(self) -> int:
        """256, of which two decode alike."""
        return len(_EDGES)

    def _codes(self, values: FloatArray) -> CodeArray:
        return bin_index(values, _EDGES)

    def _values(self, codes: CodeArray) -> FloatArray:
        return _CENTRES[np.minimum(codes, len(_CENTRES) - 1)]

    def is_clipped(self, chunks: FloatArray) -> NDArray[np.bool_]:
        """True where `encode` clips, in the shape of the chunks."""
        return outside(chunks, -1.0, 1.0)

    def error_bound(self, chunks: FloatArray) -> FloatArray:
        """Half of 2/255, in normalized units."""
        return np.full(chunks.shape, 1.0 / 255.0 + 4.0 * np.finfo(np.float64).eps)
