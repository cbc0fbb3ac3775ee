"""FAST: cosine coefficients of each dimension, rounded, low frequencies first, compressed by byte-pair encoding.

Codes equal those of the published processor, for its own vocabulary (FAST+, which users bring themselves) and for
fitted ones, whose tokenizer.json is the same to the byte. Where the processor loses a coefficient in silence, the
nearest one that its vocabulary can express is encoded, and `is_clipped` says so; where it decodes to zeros or to
anything, decoding says why. docs/tokenizers.md lists every difference.

Source: Pertsch et al., FAST, arXiv:2501.09747, section V, and the behaviour of the published processor.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..actions.plain import from_plain, to_plain
from ..errors import TokenizeError
from ..text import printable
from . import Codes, Decoded, FloatArray, TokenRows
from ._bins import checked_chunks, code_rows, known_codes
from ._byte_level import MAX_POINT, ByteLevel, byte_level
from ._dct import Ties, blocks, error_bound, quantized, restored
from ._fast import (
    BLOCK,
    DECODED,
    NO_COEFFICIENT,
    Coefficients,
    checked_scale,
    checked_shape,
    encoded,
    fitted,
    known_ids,
    taken,
    whole_number,
)

__all__ = ["Codec"]

Int64Array = NDArray[np.int64]

_FILE = "tokenizer.json"
_SETTINGS_FILE = "processor_config.json"
_MAX_VOCAB = 1 << 20
_MAX_TOKEN = 1 << 40


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    scale: float
    min_token: int
    max_token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """The published FAST processor with one vocabulary."""

    learns: ClassVar[bool] = True

    scale: float
    """Integers per unit of a coefficient."""
    min_token: int
    """Coefficient of code point 0."""
    max_token: int
    """Highest coefficient: the highest one of the fit, or where text has no more code points."""
    tokenizer_json: bytes
    """The vocabulary and its merges."""

    def __post_init__(self) -> None:
        checked_scale(self.scale)
        whole_number(self.min_token, "min_token", -_MAX_TOKEN, _MAX_TOKEN)
        whole_number(self.max_token, "max_token", self.min_token, self.min_token + MAX_POINT)
        if not self._bpe.survives[: self._num_points].any():
            raise TokenizeError(f"{_FILE} has no symbol of coefficients {self.min_token} to {self.max_token}")

    @property
    def _bpe(self) -> ByteLevel:
        return byte_level(self.tokenizer_json)

    @property
    def _num_points(self) -> int:
        return self.max_token - self.min_token + 1

    @property
    def num_codes(self) -> int:
        """Real size of the vocabulary, which may be less than was asked for."""
        return self._bpe.num_ids

    def length(self, horizon: int, dims: int) -> None:
        """It depends on the values."""

    @property
    def is_stepwise(self) -> bool:
        """No."""
        return False

    @classmethod
    def fit(cls, chunks: FloatArray, **options: int | float | str) -> Self:
        """Train a vocabulary on chunks, as the published processor does, or take one that exists.

        Args:
            chunks: Normalized, [N, H, D].
            **options: `scale`, 10 by default; `vocab_size`, 1024 by default. Or `tokenizer`, the path of a
                tokenizer.json or its folder, with `scale` and `min_token` unless a processor_config.json beside it
                says them.

        Raises:
            TokenizeError: An option is unknown or out of range, there are no chunks, their coefficients have a range
                wider than `vocab_size`, or a file can't be used.
        """
        values = checked_chunks(chunks)
        if "tokenizer" in options:
            return cls._taken_from(options)
        taken(options, ("scale", "vocab_size", "tokenizer", "min_token"), "fast")
        if "min_token" in options:
            raise TokenizeError("min_token is an option of an existing tokenizer; a fit finds it")
        scale = checked_scale(options.get("scale", 10))
        size = whole_number(options.get("vocab_size", 1024), "vocab_size", 1, _MAX_VOCAB)
        found = quantized(fitted(values), scale, Ties.AS_FFT)
        low, high = float(found.min()), float(found.max())
        if high - low > min(size, MAX_POINT):
            raise TokenizeError(
                f"coefficients go from {low:.0f} to {high:.0f}; must have a range of at most vocab_size, {size}: "
                "raise it, or lower scale"
            )
        points = (found - low).astype(np.uint32).reshape(len(found), -1)
        trained = _train(points, int(high - low) + 1, size)
        return cls(scale=scale, min_token=int(low), max_token=int(high), tokenizer_json=trained)

    @classmethod
    def from_tokenizer(cls, tokenizer_json: bytes, scale: float, min_token: int) -> Self:
        """Take a vocabulary that exists, for instance FAST+.

        Args:
            tokenizer_json: Content of its tokenizer.json.
            scale: Integers per unit of a coefficient.
            min_token: Coefficient of code point 0.

        Raises:
            TokenizeError: It is no byte-level BPE, or a number is out of range.
        """
        low = whole_number(min_token, "min_token", -_MAX_TOKEN, _MAX_TOKEN)
        points = np.flatnonzero(byte_level(tokenizer_json).survives)
        high = low + (int(points[-1]) if len(points) else 0)
        return cls(scale=checked_scale(scale), min_token=low, max_token=high, tokenizer_json=tokenizer_json)

    @classmethod
    def _taken_from(cls, options: Mapping[str, object]) -> Self:
        taken(options, ("tokenizer", "scale", "min_token"), "fast")
        path = Path(str(options["tokenizer"]))
        file = path / _FILE if path.is_dir() else path
        if path.is_dir() and not file.is_file():
            # Where recent versions of transformers put it.
            file = path / "bpe_tokenizer" / _FILE
        if not file.is_file():
            raise TokenizeError(f"{printable(str(file))} is missing; tokenizer must be a {_FILE} or a folder with one")
        folder = file.parent.parent if file.parent.name == "bpe_tokenizer" else file.parent
        stored = _stored_settings(folder / _SETTINGS_FILE)
        found = {}
        for key in ("scale", "min_token"):
            if key not in options and key not in stored:
                raise TokenizeError(f"{key} is missing; must be an option, as no {_SETTINGS_FILE} says it")
            if key in options and key in stored and options[key] != stored[key]:
                raise TokenizeError(f"{key} is {options[key]}; {_SETTINGS_FILE} says {stored[key]}")
            found[key] = options.get(key, stored.get(key))
        low = whole_number(found["min_token"], "min_token", -_MAX_TOKEN, _MAX_TOKEN)
        return cls.from_tokenizer(file.read_bytes(), checked_scale(found["scale"]), low)

    @classmethod
    def from_dict(cls, state: Mapping[str, object], files: Mapping[str, bytes]) -> Self:
        """Build from what `to_dict` and `files` gave.

        Raises:
            TokenizeError: Something is missing or out of range.
        """
        settings = from_plain(_Settings, state, "fast")
        if _FILE not in files:
            raise TokenizeError(f"fast: {_FILE} is missing")
        codec = cls(
            scale=settings.scale,
            min_token=settings.min_token,
            max_token=settings.max_token,
            tokenizer_json=files[_FILE],
        )
        unknown = sorted(set(files) - set(codec.files()))
        if unknown:
            raise TokenizeError(f"fast: {printable(unknown[0])}: unexpected file")
        if files.get(f"bpe_tokenizer/{_FILE}", codec.tokenizer_json) != codec.tokenizer_json:
            raise TokenizeError(f"fast: bpe_tokenizer/{_FILE} is not {_FILE}; must be the same")
        return codec

    def to_dict(self) -> dict[str, object]:
        """Scale and range of the coefficients."""
        return to_plain(_Settings(scale=self.scale, min_token=self.min_token, max_token=self.max_token))

    def files(self) -> dict[str, bytes]:
        """The vocabulary twice, where older and where newer versions of transformers look for it, and its settings."""
        plain = {
            "clean_up_tokenization_spaces": False,
            "model_max_length": int(1e30),
            "tokenizer_class": "PreTrainedTokenizerFast",
        }
        scale = int(self.scale) if self.scale == int(self.scale) else self.scale
        processor = {
            "action_dim": None,
            "min_token": self.min_token,
            "processor_class": "UniversalActionProcessor",
            "scale": scale,
            "time_horizon": None,
            "vocab_size": self.num_codes,
        }
        return {
            _FILE: self.tokenizer_json,
            f"bpe_tokenizer/{_FILE}": self.tokenizer_json,
            "tokenizer_config.json": _json(plain),
            "bpe_tokenizer/tokenizer_config.json": _json(plain),
            _SETTINGS_FILE: _json(processor),
        }

    def _points(self, chunks: FloatArray) -> tuple[FloatArray, Int64Array]:
        """Coefficients as they should be, above `min_token`, and the nearest ones that survive."""
        wanted = quantized(chunks, self.scale, Ties.AS_FFT)
        wanted -= self.min_token
        points = np.clip(wanted, 0, self._num_points - 1).astype(np.int64)
        survives = self._bpe.survives[: self._num_points]
        return wanted, points if survives.all() else _nearest(np.flatnonzero(survives), points)

    def encode(self, chunks: FloatArray) -> TokenRows:
        """Encode normalized chunks; a coefficient that the vocabulary can't express becomes the nearest one.

        Args:
            chunks: [N, H, D].

        Returns:
            Codes, as many as each chunk needs, 0 <= code < num_codes.

        Raises:
            TokenizeError: The chunks are not [N, H, D], or hold a value that is not finite.
        """
        values = checked_chunks(chunks)
        size = values.shape[1] * values.shape[2]
        points = (self._points(values[rows])[1] for rows in blocks(len(values), size, BLOCK))
        return encoded(self._bpe, (p.reshape(-1, size) for p in points), len(values))

    def decode(self, codes: Codes | ArrayLike, horizon: int, dims: int) -> FloatArray:
        """Decode codes, strictly.

        Args:
            codes: Of N chunks.
            horizon: H.
            dims: D.

        Returns:
            [N, H, D].

        Raises:
            TokenizeError: A code is unknown, codes are no whole symbols or a coefficient out of range (with the
                code's position), or a row has another number of coefficients.
        """
        checked_shape(horizon, dims)
        rows = known_codes(codes, self.num_codes)
        values = np.empty((len(rows), horizon, dims))
        for part in blocks(len(rows), horizon * dims, DECODED):
            found = self._coefficients(rows, part).strict(horizon, dims, self.min_token, self.max_token)
            values[part] = restored(found, self.scale)
        return values

    def decode_relaxed(self, codes: Codes | ArrayLike, horizon: int, dims: int) -> Decoded:
        """As `decode`; unknown codes are left out, what is no coefficient or is missing becomes 0; all are counted."""
        checked_shape(horizon, dims)
        rows, num_unknown = known_ids(code_rows(codes), self.num_codes)
        found, wrong = self._coefficients(rows, slice(0, len(rows))).relaxed(horizon, dims)
        return Decoded(
            chunks=restored(found, self.scale),
            num_repaired=wrong + num_unknown,
            num_clipped=np.zeros(len(rows), dtype=np.int64),
        )

    def _coefficients(self, rows: TokenRows, part: slice) -> Coefficients:
        rows = rows.between(part.start, part.stop)
        points, ends = self._bpe.points(rows)
        is_none = points > MAX_POINT
        values = points + self.min_token
        values[is_none] = NO_COEFFICIENT
        return Coefficients(
            values=values, is_wrong=values > self.max_token, tokens=rows, ends=ends, first_row=part.start
        )

    def is_clipped(self, chunks: FloatArray) -> NDArray[np.bool_]:
        """True at all steps of a dimension of which a coefficient can't be expressed, in the shape of the chunks."""
        wanted, points = self._points(checked_chunks(chunks))
        return np.broadcast_to((wanted != points).any(axis=1, keepdims=True), chunks.shape).copy()

    def error_bound(self, chunks: FloatArray) -> FloatArray:
        """What rounding all coefficients can add up to at one step, in normalized units; smaller by far on average."""
        largest = float(np.abs(chunks).max(initial=0.0))
        return np.full(chunks.shape, error_bound(max(1, chunks.shape[1]), self.scale, largest))


def _nearest(known: Int64Array, points: Int64Array) -> Int64Array:
    """The nearest of known points, which are sorted; of two the lower one."""
    above = np.minimum(np.searchsorted(known, points), len(known) - 1)
    below = np.maximum(above - (known[above] > points), 0)
    return np.where(points - known[below] <= known[above] - points, known[below], known[above])


def _train(points: NDArray[np.uint32], num_points: int, vocab_size: int) -> bytes:
    """The tokenizer.json that the published processor's fit makes."""
    from tokenizers import ByteLevelBPETokenizer
    from tokenizers.trainers import BpeTrainer

    text = points.astype("<u4").tobytes().decode("utf-32-le")
    length = points.shape[1]
    trainer = BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        show_progress=False,
        special_tokens=[],
        initial_alphabet=[chr(i) for i in range(num_points)],
        max_token_length=10000,
    )
    bpe = ByteLevelBPETokenizer()
    bpe._tokenizer.train_from_iterator((text[k : k + length] for k in range(0, len(text), length)), trainer)
    return str(bpe._tokenizer.to_str()).encode()


def _stored_settings(file: Path) -> dict[str, object]:
    if not file.is_file():
        return {}
    if file.stat().st_size > 1 << 20:
        raise TokenizeError(f"{file.name} has more than 1 MB")
    try:
        found = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise TokenizeError(f"{file.name} is not JSON: {printable(str(error))}") from error
    return found if isinstance(found, dict) else {}


def _json(content: Mapping[str, object]) -> bytes:
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()
