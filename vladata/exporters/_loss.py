"""What a tokenizer loses: chunks that were encoded and decoded, compared in physical units."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import TypeAdapter, ValidationError

from ..action_tokenizer import ActionTokenizer
from ..errors import ExportError
from ..tokenizers._bins import code_rows

__all__ = ["DimensionLoss", "Loss", "Sample", "measure_loss"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

DIGITS = 6
"""Of figures: the last bits depend on the machine's own sums, and say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DimensionLoss:
    """Errors of one dimension, in its unit: decoded less the target, over targets that are not padded."""

    name: str
    unit: str
    rmse: float
    p99: float
    """99 % of the errors are at most this."""
    max: float
    codec_rmse: float
    """Against the target that the normalization had clipped: what the codec alone loses."""
    codec_max: float
    share_rmse: float
    """`rmse` by the half range that becomes -1 to 1, so that dimensions can be compared."""
    clipped: float
    """Share of targets outside of what codes can stand for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What encoding and decoding of a sample of chunks lost, and how many codes it took."""

    splits: tuple[str, ...]
    """Where the chunks are from."""
    is_held_out: bool
    """Whether they are of other splits than statistics and codec were made of."""
    chunks: int
    of_chunks: int
    """How many there are; the sample is spread evenly over them."""
    targets: int
    """Of the sample, not padded."""
    tokens_mean: float
    """Codes of a chunk."""
    tokens_p99: int
    """99 % of the chunks have at most so many."""
    tokens_max: int
    tokens_per_second: float
    """Codes for a second of motion: `tokens_mean` by the chunk's duration."""
    rmse: float
    """Over all dimensions, each by its half range."""
    p99: float
    max: float
    clipped: float
    """Share of values."""
    dimensions: tuple[DimensionLoss, ...]

    def to_dict(self) -> dict[str, object]:
        """As JSON values."""
        return {**asdict(self), "splits": list(self.splits), "dimensions": [asdict(d) for d in self.dimensions]}

    @classmethod
    def from_dict(cls, state: Mapping[str, object]) -> Self:
        """Build from what `to_dict` gave.

        Raises:
            ExportError: Something is missing or of another type.
        """
        try:
            return TypeAdapter(cls).validate_python(state)
        except ValidationError as error:
            raise ExportError(f"the losses in the manifest are damaged: {error.errors()[0]['msg']}") from error


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """Chunks to measure with."""

    chunks: FloatArray
    """In the tokenizer's representation, in physical units, [N, H, D]."""
    is_pad: BoolArray
    """[N, H]."""
    splits: tuple[str, ...]
    is_held_out: bool
    of_chunks: int


def measure_loss(tokenizer: ActionTokenizer, sample: Sample) -> Loss:
    """Encode and decode chunks, strictly.

    Raises:
        TokenizeError: A chunk holds a value that is not finite, or the codec can't decode what it encoded.
    """
    codes = code_rows(tokenizer.encode_represented(sample.chunks))
    decoded = tokenizer.decode_represented(codes)
    valid = ~sample.is_pad
    target = sample.chunks[valid]
    error = np.abs(decoded[valid] - target)
    codec = np.abs(decoded[valid] - tokenizer.normalization.invert(tokenizer.normalization.apply(target)))
    clipped = tokenizer.is_clipped(sample.chunks)[valid]
    scale = tokenizer.normalization.scale
    lengths = codes.lengths
    mean = float(lengths.mean()) if len(lengths) else 0.0
    return Loss(
        splits=sample.splits,
        is_held_out=sample.is_held_out,
        chunks=len(sample.chunks),
        of_chunks=sample.of_chunks,
        targets=len(target),
        tokens_mean=_figure(mean),
        tokens_p99=int(np.quantile(lengths, 0.99, method="inverted_cdf")) if len(lengths) else 0,
        tokens_max=int(lengths.max(initial=0)),
        tokens_per_second=_figure(mean * tokenizer.rate_hz / tokenizer.horizon),
        rmse=_figure(_rms(error / scale)),
        p99=_figure(_p99(error / scale)),
        max=_figure(float((error / scale).max(initial=0.0))),
        clipped=_figure(float(clipped.mean()) if clipped.size else 0.0),
        dimensions=tuple(
            DimensionLoss(
                name=dimension.name,
                unit=str(dimension.unit),
                rmse=_figure(_rms(error[:, d])),
                p99=_figure(_p99(error[:, d])),
                max=_figure(float(error[:, d].max(initial=0.0))),
                codec_rmse=_figure(_rms(codec[:, d])),
                codec_max=_figure(float(codec[:, d].max(initial=0.0))),
                share_rmse=_figure(_rms(error[:, d]) / float(scale[d])),
                clipped=_figure(float(clipped[:, d].mean()) if len(clipped) else 0.0),
            )
            for d, dimension in enumerate(tokenizer.representation.dimensions)
        ),
    )


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(values * values))) if values.size else 0.0


def _p99(values: ArrayLike) -> float:
    array = np.asarray(values, dtype=np.float64)
    return float(np.quantile(array, 0.99)) if array.size else 0.0


def _figure(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
