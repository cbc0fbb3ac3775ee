"""The action tokenizer: physical units ↔ codes ↔ ids, whole, stored beside the shards and run on the robot.

A folder holds `action_tokenizer.json`, which describes itself, and with a vocabulary `action_token_ids.json`, the map
from codes to ids. One SHA-256 covers all of it, and test vectors are replayed on loading: a tokenizer that would give
other codes or other actions than where it was made is refused.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import plugins
from .actions.chunks import MAX_HORIZON, ChunkEnd
from .actions.normalization import Normalization
from .actions.representation import Representation
from .actions.sampling import sample_chunks
from .documents import canonical_json
from .errors import PluginNotFoundError, TokenizeError
from .text import printable
from .tokenizers import ActionCodec, CodeArray
from .tokenizers._bins import checked_chunks
from .vocabulary import IdRows, Vocabulary

__all__ = ["FILE_NAME", "IDS_FILE_NAME", "ActionTokenizer"]

FloatArray = NDArray[np.float64]
Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

FILE_NAME = "action_tokenizer.json"
IDS_FILE_NAME = "action_token_ids.json"
FORMAT = "vladata action tokenizer"
FORMAT_VERSION = 1
MAX_BYTES = 256 << 20

_VECTOR_VALUES = 4096
_TOLERANCE = 1e-9
"""Of decoded values, relative to their dimension's scale: rotations go through the machine's own sines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionTokenizer:
    """Representation, normalization, codec and vocabulary, bound together."""

    scheme: str
    """Name of the codec's plugin, for instance `openvla_bins`."""
    representation: Representation
    normalization: Normalization
    codec: ActionCodec
    horizon: int
    """H."""
    rate_hz: float
    """Of the steps."""
    chunk_end: ChunkEnd = ChunkEnd.PAD
    """What was done where chunks were longer than their episode."""
    vocabulary: Vocabulary | None = None
    """None where codes have no ids."""

    def __post_init__(self) -> None:
        if not 1 <= self.horizon <= MAX_HORIZON:
            raise TokenizeError(f"horizon is {self.horizon}; must be 1 to {MAX_HORIZON}")
        if self.normalization.dims != self.dims:
            raise TokenizeError(
                f"the normalization has {self.normalization.dims} dimensions; the representation has {self.dims}"
            )
        if not (np.isfinite(self.rate_hz) and self.rate_hz > 0):
            raise TokenizeError(f"rate is {self.rate_hz} Hz; must be positive")
        if self.vocabulary is not None and self.vocabulary.num_codes != self.codec.num_codes:
            raise TokenizeError(
                f"the vocabulary has {self.vocabulary.num_codes} codes; the codec has {self.codec.num_codes}"
            )

    @property
    def dims(self) -> int:
        """D."""
        return len(self.representation.dimensions)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the D dimensions."""
        return self.representation.names

    def encode(self, chunks: ArrayLike, state: ArrayLike | None = None) -> CodeArray:
        """Encode chunks as recorded.

        Args:
            chunks: In physical units and the schema's own modes, [N, H, D].
            state: What they are relative to, [N, S] or [N, H, S], see `Representation.represent`.

        Returns:
            Codes, [N, H * D] for bins, step by step.

        Raises:
            TokenizeError: A shape is wrong, the state is missing, or a value is not finite (with its position).
        """
        values = checked_chunks(self._checked(chunks))
        return self.encode_represented(_with_reference(self.representation.represent(values, state)))

    def encode_represented(self, chunks: ArrayLike) -> CodeArray:
        """Encode chunks that are in this tokenizer's representation already, in physical units, [N, H, D]."""
        # Looked at before normalization, which would clip infinity.
        return self.codec.encode(self.normalization.apply(checked_chunks(self._checked(chunks))))

    def decode(self, codes: ArrayLike, state: ArrayLike | None = None) -> FloatArray:
        """Decode codes, strictly, to chunks as recorded.

        Args:
            codes: [N, H * D] for bins.
            state: As in `encode`.

        Returns:
            In physical units and the schema's own modes, [N, H, D].

        Raises:
            TokenizeError: A shape is wrong, the state is missing, or a code is none (with its position and the reason).
        """
        return _with_reference(self.representation.restore(self.decode_represented(codes), state))

    def decode_represented(self, codes: ArrayLike) -> FloatArray:
        """Decode codes to chunks in this tokenizer's representation, in physical units, [N, H, D]."""
        return self.normalization.invert(self.codec.decode(np.asarray(codes), self.horizon, self.dims))

    def to_ids(self, codes: ArrayLike) -> IdRows:
        """The language-model ids of codes.

        Raises:
            TokenizeError: There is no vocabulary, or a code is none of it.
        """
        return self._vocabulary().encode(codes)

    def from_ids(self, ids: IdRows | ArrayLike) -> CodeArray:
        """The codes of ids that a model gave, strictly.

        Raises:
            TokenizeError: There is no vocabulary, or an id is none of an action code, with its position.
        """
        return self._vocabulary().decode(ids, self.horizon * self.dims)

    def count_clipped(self, chunks: ArrayLike, is_pad: BoolArray | None = None) -> Int64Array:
        """How many values of each dimension encoding clips.

        Args:
            chunks: In this tokenizer's representation, in physical units, [N, H, D].
            is_pad: Targets that do not count, [N, H]; None: all count.

        Returns:
            [D].
        """
        values = self._checked(chunks)
        is_clipped = self.normalization.is_clipped(values) | self.codec.is_clipped(self.normalization.apply(values))
        if is_pad is not None:
            is_clipped &= ~np.asarray(is_pad, dtype=np.bool_)[:, :, None]
        counts: Int64Array = np.count_nonzero(is_clipped, axis=(0, 1)).astype(np.int64)
        return counts

    def max_error(self) -> FloatArray:
        """Largest error of encoding and decoding where nothing is clipped, in physical units, [D].

        Half a bin (RT-1: a whole one), and the rounding of float64; as learned, so before the way back through the
        representation, which adds the rounding of its own sums.
        """
        scale = self.normalization.scale
        largest = np.maximum(np.abs(self.normalization.low), np.abs(self.normalization.high)) + scale
        return self.codec.half_bin() * scale + 16.0 * np.finfo(np.float64).eps * largest

    def to_dict(self) -> dict[str, object]:
        """Everything but the vocabulary and the test vectors, as JSON values."""
        return {
            "scheme": self.scheme,
            "num_codes": self.codec.num_codes,
            "horizon": self.horizon,
            "rate_hz": self.rate_hz,
            "chunk_end": str(self.chunk_end),
            "representation": self.representation.to_dict(),
            "normalization": self.normalization.to_dict(),
            "codec": self.codec.to_dict(),
            "max_error": [float(v) for v in self.max_error()],
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, object], vocabulary: Vocabulary | None = None) -> Self:
        """Build from what `to_dict` gave.

        Raises:
            TokenizeError: Something is missing, of another type or out of range, or the scheme is unknown.
        """
        parts: dict[str, dict[str, object]] = {}
        for name in ("representation", "normalization", "codec"):
            part = state.get(name)
            if not isinstance(part, dict):
                raise TokenizeError(f"{name} is missing; must be an object")
            parts[name] = part
        scheme, horizon, rate, end = (state.get(k) for k in ("scheme", "horizon", "rate_hz", "chunk_end"))
        if not isinstance(scheme, str) or not isinstance(horizon, int) or not isinstance(rate, int | float):
            raise TokenizeError("scheme, horizon or rate_hz is missing; must be a name, a whole number and a number")
        if end not in {str(e) for e in ChunkEnd}:
            raise TokenizeError(f"chunk_end is {printable(str(end))!r}; must be pad or drop")
        try:
            codec: ActionCodec = plugins.load("tokenizers", scheme).Codec.from_dict(parts["codec"])
        except PluginNotFoundError as error:
            raise TokenizeError(f"scheme is unknown: {printable(str(error))}") from error
        return cls(
            scheme=scheme,
            representation=Representation.from_dict(parts["representation"]),
            normalization=Normalization.from_dict(parts["normalization"]),
            codec=codec,
            horizon=horizon,
            rate_hz=float(rate),
            chunk_end=ChunkEnd(str(end)),
            vocabulary=vocabulary,
        )

    @property
    def digest(self) -> str:
        """SHA-256 over everything that `save` writes, hex."""
        return str(self._document()["digest"])

    def save(self, folder: Path) -> list[Path]:
        """Write the tokenizer, the same bytes each time.

        Args:
            folder: Made if missing.

        Returns:
            The files written; the last one is the one that makes the others count.
        """
        folder.mkdir(parents=True, exist_ok=True)
        files = []
        if self.vocabulary is not None:
            files.append(_write(folder / IDS_FILE_NAME, _lines(self.vocabulary.to_dict())))
        files.append(_write(folder / FILE_NAME, _lines(self._document())))
        return files

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a tokenizer, check its digest and replay its test vectors.

        Raises:
            TokenizeError: A file is missing, altered or of another format, or codes or actions come out differently.
        """
        document = _parsed(_read(folder / FILE_NAME), FILE_NAME)
        if document.get("format") != FORMAT or document.get("format_version") != FORMAT_VERSION:
            found = f"{document.get('format')} {document.get('format_version')}"
            raise TokenizeError(f"{FILE_NAME}: format is {printable(found)!r}; must be {FORMAT} {FORMAT_VERSION}")
        digest = document.pop("digest", None)
        if digest != _sha256(canonical_json(document)):
            raise TokenizeError(f"{FILE_NAME} was altered: its digest does not fit its content")
        vocabulary = None
        stored = document.get("vocabulary")
        if stored is not None:
            text = _read(folder / IDS_FILE_NAME)
            if not isinstance(stored, dict) or stored.get("sha256") != _sha256(text):
                raise TokenizeError(f"{IDS_FILE_NAME} was altered: its digest does not fit its content")
            vocabulary = Vocabulary.from_dict(_parsed(text, IDS_FILE_NAME))
        tokenizer = cls.from_dict(document, vocabulary)
        tokenizer._replay(document.get("test_vectors"))
        return tokenizer

    def _checked(self, chunks: ArrayLike) -> FloatArray:
        values = np.asarray(chunks, dtype=np.float64)
        if values.ndim != 3 or values.shape[1:] != (self.horizon, self.dims):
            raise TokenizeError(f"chunks are {list(values.shape)}; must be [N, {self.horizon}, {self.dims}]")
        return values

    def _vocabulary(self) -> Vocabulary:
        if self.vocabulary is None:
            raise TokenizeError("the tokenizer has no vocabulary; its codes have no ids")
        return self.vocabulary

    def _document(self) -> dict[str, object]:
        stored = None
        if self.vocabulary is not None:
            sha256 = _sha256(_lines(self.vocabulary.to_dict()))
            stored = {"kind": str(self.vocabulary.kind), "file": IDS_FILE_NAME, "sha256": sha256}
        document = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            **self.to_dict(),
            "vocabulary": stored,
            "test_vectors": self._test_vectors(),
        }
        return {**document, "digest": _sha256(canonical_json(document))}

    def _test_vectors(self) -> dict[str, object]:
        count = min(16, max(3, _VECTOR_VALUES // (self.horizon * self.dims)))
        chunks, state = sample_chunks(self.representation, self.normalization, count, self.horizon)
        codes = self.encode(chunks, state)
        ids = None if self.vocabulary is None else self.to_ids(codes)
        return {
            "chunks": chunks.tolist(),
            "state": None if state is None else state.tolist(),
            "codes": codes.tolist(),
            "ids": None if ids is None else [ids[row].tolist() for row in range(len(ids))],
            "decoded": self.decode(codes, state).tolist(),
        }

    def _replay(self, vectors: object) -> None:
        if not isinstance(vectors, dict) or not vectors.get("chunks"):
            raise TokenizeError(f"{FILE_NAME}: test_vectors are missing")
        state = None if vectors.get("state") is None else _array(vectors, "state", np.float64)
        expected = _array(vectors, "codes", np.int64)
        codes = self.encode(_array(vectors, "chunks", np.float64), state)
        if codes.shape != expected.shape or (codes != expected).any():
            place = [int(i) for i in np.argwhere(codes != expected)[0]] if codes.shape == expected.shape else []
            raise TokenizeError(f"a test vector gives another code at {place}; this machine encodes differently")
        if self.vocabulary is not None:
            rows = vectors.get("ids")
            ids = IdRows.of(rows if isinstance(rows, list) else [])
            if len(ids) != len(codes) or not np.array_equal(ids.values, self.to_ids(codes).values):
                raise TokenizeError("a test vector gives other ids")
            if (self.from_ids(ids) != codes).any():
                raise TokenizeError("the ids of a test vector give other codes")
        wanted, decoded = _array(vectors, "decoded", np.float64), self.decode(codes, state)
        close = np.abs(decoded - wanted) <= _TOLERANCE * (self.normalization.scale + np.abs(wanted))
        if not close.all():
            place = [int(i) for i in np.argwhere(~close)[0]]
            raise TokenizeError(f"a test vector decodes differently at {place}; this machine decodes differently")


def _with_reference(chunks: FloatArray) -> FloatArray:
    """The chunks, whose own values were finite before they met the observations."""
    finite = np.isfinite(chunks)
    if not finite.all():
        place = [int(i) for i in np.argwhere(~finite)[0]]
        raise TokenizeError(f"the observation that chunk{place} is relative to is not finite; must be")
    return chunks


def _array(
    vectors: Mapping[str, object], name: str, kind: type[np.float64 | np.int64]
) -> NDArray[np.float64 | np.int64]:
    try:
        array = np.array(vectors.get(name))
    except ValueError as error:
        raise TokenizeError(f"{FILE_NAME}: test_vectors.{name} must be an array") from error
    if array.dtype.kind not in ("iu" if kind is np.int64 else "iuf"):
        raise TokenizeError(f"{FILE_NAME}: test_vectors.{name} must hold numbers")
    return array.astype(kind)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _lines(content: Mapping[str, object]) -> str:
    """JSON with one line per top-level key, in their order: to be read by people as well."""
    return "{\n" + ",\n".join(f"{json.dumps(k)}: {canonical_json(v)}" for k, v in content.items()) + "\n}\n"


def _write(path: Path, text: str) -> Path:
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
    return path


def _read(path: Path) -> str:
    if not path.is_file():
        raise TokenizeError(f"{path.name} is missing in {path.parent}")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise TokenizeError(f"{path.name} has {size:,} bytes; must have at most {MAX_BYTES:,}")
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise TokenizeError(f"{path.name} is not UTF-8") from error


def _parsed(text: str, name: str) -> dict[str, object]:
    try:
        content = json.loads(text)
        canonical_json(content)  # refuses NaN and infinity, which JSON has not
    except (ValueError, RecursionError) as error:
        raise TokenizeError(f"{name} is not JSON: {printable(str(error))}") from error
    if not isinstance(content, dict):
        raise TokenizeError(f"{name} must hold an object")
    return content
