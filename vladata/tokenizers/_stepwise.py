"""What codecs share that are described by numbers alone, and among them those that give each target its own code."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from ..actions.plain import from_plain, to_plain
from ..errors import TokenizeError
from . import CodeArray, Codes, Decoded, FloatArray
from ._bins import checked_chunks, checked_codes, repaired_codes

__all__ = ["PlainCodec", "StepwiseCodec"]

NO_FILES: Mapping[str, bytes] = {}


class PlainCodec(ABC):
    """A codec whose description holds all of it: the fields of a frozen dataclass."""

    __slots__ = ()

    @property
    @abstractmethod
    def num_codes(self) -> int:
        """Codes are 0 <= code < num_codes."""

    @classmethod
    def from_dict(cls, state: Mapping[str, object], files: Mapping[str, bytes] = NO_FILES) -> Self:
        """Build from what `to_dict` gave; there are no files.

        Raises:
            TokenizeError: Something is missing, unknown or out of range.
        """
        if files:
            raise TokenizeError(f"the codec has no files; {min(files)!r} was given")
        return from_plain(cls, state, cls.__module__.rpartition(".")[2])

    def to_dict(self) -> dict[str, object]:
        """All fields."""
        return to_plain(self)

    def files(self) -> dict[str, bytes]:
        """None."""
        return {}


class StepwiseCodec(PlainCodec):
    """Bins: code h * D + d stands for target [h, d] alone."""

    __slots__ = ()

    learns: ClassVar[bool] = False

    @abstractmethod
    def _codes(self, values: FloatArray) -> CodeArray:
        """The code of each value, clipped to the range, [N, H, D]."""

    @abstractmethod
    def _values(self, codes: CodeArray) -> FloatArray:
        """The value that each code stands for, [N, H, D]."""

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

        Args:
            chunks: Normalized, [N, H, D].
            **options: Fields of the codec.

        Raises:
            TokenizeError: An option is unknown or out of range.
        """
        checked_chunks(chunks)
        return cls.from_dict(options)

    def encode(self, chunks: FloatArray) -> CodeArray:
        """Encode normalized chunks, clipping to the codec's range.

        Args:
            chunks: [N, H, D].

        Returns:
            Codes, [N, H * D], step by step, 0 <= code < num_codes.

        Raises:
            TokenizeError: The chunks are not [N, H, D] of the codec's D, or hold a value that is not finite.
        """
        values = checked_chunks(chunks)
        return self._codes(values).reshape(len(values), values.shape[1] * values.shape[2])

    def decode(self, codes: Codes | ArrayLike, horizon: int, dims: int) -> FloatArray:
        """Decode codes to the values that they stand for.

        Args:
            codes: [N, H * D].
            horizon: H.
            dims: D.

        Returns:
            [N, H, D].

        Raises:
            TokenizeError: The codes have another shape, the codec other dimensions, or one is outside
                0 <= code < num_codes.
        """
        return self._values(checked_codes(codes, self.num_codes, horizon, dims))

    def decode_relaxed(self, codes: Codes | ArrayLike, horizon: int, dims: int) -> Decoded:
        """As `decode`; codes that are none become the nearest one, missing steps repeat the one before; counted."""
        found, wrong = repaired_codes(codes, self.num_codes, horizon, dims)
        return Decoded(chunks=self._values(found), num_repaired=wrong, num_clipped=np.zeros_like(wrong))
