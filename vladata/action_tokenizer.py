"""The action tokenizer: physical units ↔ codes ↔ ids, whole, stored beside the shards and run on the robot.

A folder holds `action_tokenizer.json`, which describes itself, the codec's own files where it has some, and with a
vocabulary `action_token_ids.json`, the map from codes to ids. One SHA-256 covers all of it but `created_with`, the
packages that wrote it, and test vectors are replayed on loading: a tokenizer that would give other codes or other
actions than where it was made is refused. numpy is all that loading, encoding and decoding need, and `tokenizers` for
codecs with a file of it.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import plugins
from ._bundle import (
    FILE_NAME,
    FORMAT,
    FORMAT_VERSION,
    IDS_FILE_NAME,
    EmbodimentFacts,
    Head,
    bundle_folder,
    codec_files,
    description,
    digest,
    lines,
    package_versions,
    parsed,
    read,
    sha256,
    stored_files,
    write,
)
from ._test_vectors import make_vectors, replay
from .actions.chunks import MAX_HORIZON, ChunkEnd
from .actions.normalization import Normalization
from .actions.plain import from_plain, to_plain
from .actions.representation import Representation
from .errors import PluginNotFoundError, TokenizeError
from .text import clip, printable
from .tokenizers import ActionCodec, Codes, Decoded, TokenRows
from .tokenizers._bins import checked_chunks, numbers
from .vocabulary import Vocabulary

__all__ = ["FILE_NAME", "IDS_FILE_NAME", "ActionTokenizer", "EmbodimentFacts"]

FloatArray = NDArray[np.float64]
Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_OTHER_KEYS = ("created_with", "digest", "test_vectors")

_DECODER = {"default": "strict", "on_error": "raise", "clips": False}
"""What `decode` does: a wrong code is an error, and nothing is clipped; `decode_relaxed` counts both."""
_RATE_TOLERANCE = 1e-6


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
    embodiment: EmbodimentFacts | None = None
    """None where nobody said."""

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

    def encode(self, chunks: ArrayLike, state: ArrayLike | None = None) -> Codes:
        """Encode chunks as recorded.

        Args:
            chunks: In physical units and the schema's own modes, [N, H, D].
            state: What they are relative to, [N, S] or [N, H, S], see `Representation.represent`.

        Returns:
            Codes: [N, H * D] for bins, step by step; rows of different lengths for codecs that compress.

        Raises:
            TokenizeError: A shape is wrong, the state is missing, or a value is not finite (with its position).
        """
        values = checked_chunks(self._checked(chunks))
        return self.encode_represented(_with_reference(self.representation.represent(values, state)))

    def encode_represented(self, chunks: ArrayLike) -> Codes:
        """Encode chunks that are in this tokenizer's representation already, in physical units, [N, H, D]."""
        # Looked at before normalization, which would clip infinity.
        return self.codec.encode(self.normalization.apply(checked_chunks(self._checked(chunks))))

    def decode(self, codes: Codes | ArrayLike, state: ArrayLike | None = None) -> FloatArray:
        """Decode codes, strictly, to chunks as recorded.

        Args:
            codes: Of N chunks, as `encode` gives them.
            state: As in `encode`.

        Returns:
            In physical units and the schema's own modes, [N, H, D].

        Raises:
            TokenizeError: A shape is wrong, the state is missing, or a code is none (with its position and the reason).
        """
        return _with_reference(self.representation.restore(self.decode_represented(codes), state))

    def decode_represented(self, codes: Codes | ArrayLike) -> FloatArray:
        """Decode codes to chunks in this tokenizer's representation, in physical units, [N, H, D]."""
        return self.normalization.invert(self.codec.decode(codes, self.horizon, self.dims))

    def decode_relaxed(self, codes: Codes | ArrayLike, state: ArrayLike | None = None) -> Decoded:
        """Decode what a model gave as well as it can be, and count what was wrong with it.

        Args:
            codes: Of N chunks.
            state: As in `encode`.

        Returns:
            Chunks as `decode` gives them, and what was repaired and clipped in each.

        Raises:
            TokenizeError: The state is missing, or a row holds nothing that could be decoded.
        """
        found = self.codec.decode_relaxed(codes, self.horizon, self.dims)
        chunks = self.representation.restore(self.normalization.invert(found.chunks), state)
        return dataclasses.replace(found, chunks=_with_reference(chunks))

    def check(
        self,
        *,
        names: Sequence[str] | None = None,
        units: Sequence[str] | None = None,
        state_names: Sequence[str] | None = None,
        rate_hz: float | None = None,
        embodiment_digest: str | None = None,
    ) -> None:
        """Compare with what a robot has, before it moves; what is not given is not compared.

        Args:
            names: Of the D dimensions it commands, `signal.dimension`, in its order.
            units: Of the same.
            state_names: Of the S dimensions it observes; compared where actions are relative to them.
            rate_hz: Of its steps.
            embodiment_digest: Of its schema.

        Raises:
            TokenizeError: Something differs; the first difference is told.
        """
        _same("dimensions", names, self.names)
        _same("units", units, [str(d.unit) for d in self.representation.dimensions])
        if self.representation.needs_state:
            _same("observations", state_names, self.representation.state_names)
        if rate_hz is not None and not math.isclose(rate_hz, self.rate_hz, rel_tol=_RATE_TOLERANCE):
            raise TokenizeError(f"the rate is {rate_hz} Hz; must be {self.rate_hz} Hz, as the tokenizer was made for")
        own = None if self.embodiment is None else self.embodiment.digest
        if embodiment_digest is not None and embodiment_digest != own:
            known = "it names none" if self.embodiment is None else f"{self.embodiment.name}, {own}"
            raise TokenizeError(
                f"the embodiment has the digest {printable(embodiment_digest)}; must be the tokenizer's: {known}"
            )

    def to_ids(self, codes: Codes | ArrayLike) -> TokenRows:
        """The language-model ids of codes.

        Raises:
            TokenizeError: There is no vocabulary, or a code is none of it.
        """
        return self._vocabulary().encode(codes)

    def from_ids(self, ids: TokenRows | ArrayLike, *, any_length: bool = False) -> Codes:
        """The codes of ids that a model gave, strictly.

        Args:
            ids: Rows of ids of action tokens only, without the end of the text.
            any_length: Whether rows may hold another number of codes than a chunk has, as `decode_relaxed` takes them.

        Raises:
            TokenizeError: There is no vocabulary, or an id is none of an action code, with its position.
        """
        length = None if any_length else self.codec.length(self.horizon, self.dims)
        return self._vocabulary().decode(ids, length)

    def count_clipped(self, chunks: ArrayLike, is_pad: BoolArray | None = None) -> Int64Array:
        """How many values of each dimension encoding clips.

        Args:
            chunks: In this tokenizer's representation, in physical units, [N, H, D].
            is_pad: Targets that do not count, [N, H]; None: all count.

        Returns:
            [D].
        """
        is_clipped = self.is_clipped(chunks)
        if is_pad is not None:
            is_clipped &= ~np.asarray(is_pad, dtype=np.bool_)[:, :, None]
        counts: Int64Array = np.count_nonzero(is_clipped, axis=(0, 1)).astype(np.int64)
        return counts

    def is_clipped(self, chunks: ArrayLike) -> BoolArray:
        """True where encoding clips chunks in this tokenizer's representation and physical units, [N, H, D]."""
        values = self._checked(chunks)
        return self.normalization.is_clipped(values) | self.codec.is_clipped(self.normalization.apply(values))

    def error_bound(self, chunks: ArrayLike) -> FloatArray:
        """Largest error of encoding and decoding at each value that is not clipped, in physical units.

        As learned, so before the way back through the representation, which adds the rounding of its own sums.

        Args:
            chunks: In this tokenizer's representation, in physical units, [N, H, D].
        """
        scale = self.normalization.scale
        largest = np.maximum(np.abs(self.normalization.low), np.abs(self.normalization.high)) + scale
        bound = self.codec.error_bound(self.normalization.apply(self._checked(chunks)))
        return bound * scale + 16.0 * np.finfo(np.float64).eps * largest

    def to_dict(self) -> dict[str, object]:
        """Everything but the vocabulary and the test vectors, as JSON values."""
        return {
            "embodiment": None if self.embodiment is None else to_plain(self.embodiment),
            "scheme": self.scheme,
            "num_codes": self.codec.num_codes,
            "codes_per_chunk": self.codec.length(self.horizon, self.dims),
            "horizon": self.horizon,
            "rate_hz": float(self.rate_hz),
            "chunk_end": str(self.chunk_end),
            "representation": self.representation.to_dict(),
            "normalization": self.normalization.to_dict(),
            "codec": self.codec.to_dict(),
        }

    @classmethod
    def from_dict(
        cls,
        state: Mapping[str, object],
        vocabulary: Vocabulary | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> Self:
        """Build from what `to_dict` gave, the vocabulary and the codec's files.

        Raises:
            TokenizeError: Something is missing, of another type or out of range, or the scheme is unknown.
        """
        parts: dict[str, dict[str, object]] = {}
        for name in ("representation", "normalization", "codec"):
            part = state.get(name)
            if not isinstance(part, dict):
                raise TokenizeError(f"{name} is missing; must be an object")
            parts[name] = part
        named = {field.name: state[field.name] for field in dataclasses.fields(Head) if field.name in state}
        head = from_plain(Head, named, "action_tokenizer")
        if head.chunk_end not in set(ChunkEnd):
            raise TokenizeError(f"chunk_end is {printable(head.chunk_end)!r}; must be pad or drop")
        try:
            codec: ActionCodec = plugins.load("tokenizers", head.scheme).Codec.from_dict(parts["codec"], files or {})
        except PluginNotFoundError as error:
            raise TokenizeError(f"scheme is unknown: {printable(str(error))}") from error
        return cls(
            scheme=head.scheme,
            representation=Representation.from_dict(parts["representation"]),
            normalization=Normalization.from_dict(parts["normalization"]),
            codec=codec,
            horizon=head.horizon,
            rate_hz=head.rate_hz,
            chunk_end=ChunkEnd(head.chunk_end),
            vocabulary=vocabulary,
            embodiment=head.embodiment,
        )

    @property
    def digest(self) -> str:
        """SHA-256 over everything that `save` writes but the versions of the packages that wrote it, hex."""
        return str(self._document()["digest"])

    def save(self, folder: Path) -> list[Path]:
        """Write the tokenizer, the same bytes each time; files of the one that was there before go.

        Args:
            folder: Made if missing.

        Returns:
            The files written; the last one is the one that makes the others count.
        """
        folder.mkdir(parents=True, exist_ok=True)
        before = stored_files(folder)
        files = [write(folder / name, content) for name, content in sorted(self.codec.files().items())]
        if self.vocabulary is not None:
            files.append(write(folder / IDS_FILE_NAME, lines(self.vocabulary.to_dict()).encode()))
        files.append(write(folder / FILE_NAME, lines(self._document()).encode()))
        for path in before - set(files):
            path.unlink(missing_ok=True)
        return files

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a tokenizer, check its digest and replay its test vectors.

        Args:
            path: Folder of the tokenizer, or of an export with one.

        Raises:
            TokenizeError: A file is missing, too large, altered, a link out of the folder or of another format, or
                codes or actions come out differently here.
        """
        folder = bundle_folder(path)
        document = description(folder)
        vocabulary = None
        stored = document.get("vocabulary")
        if stored is not None:
            text = read(folder, IDS_FILE_NAME)
            if not isinstance(stored, dict) or stored.get("sha256") != sha256(text):
                raise TokenizeError(f"{IDS_FILE_NAME} was altered: its digest does not fit its content")
            vocabulary = Vocabulary.from_dict(parsed(text, IDS_FILE_NAME))
        tokenizer = cls.from_dict(document, vocabulary, codec_files(folder, document.get("codec_files")))
        tokenizer._compare(document)
        replay(tokenizer, document.get("test_vectors"))
        return tokenizer

    def _compare(self, document: Mapping[str, object]) -> None:
        """Check that a description says of this tokenizer what it is, and nothing else."""
        wanted = self._facts()
        for name in document:
            if name not in wanted and name not in _OTHER_KEYS:
                raise TokenizeError(f"{FILE_NAME}: {clip(printable(name), 60)}: unexpected")
        for name, value in wanted.items():
            if document.get(name) != value:
                raise TokenizeError(f"{FILE_NAME}: {name} is not that of the tokenizer that it describes")

    def _checked(self, chunks: ArrayLike) -> FloatArray:
        values = numbers(chunks)
        if values.ndim != 3 or values.shape[1:] != (self.horizon, self.dims):
            raise TokenizeError(f"chunks are {list(values.shape)}; must be [N, {self.horizon}, {self.dims}]")
        return values

    def _vocabulary(self) -> Vocabulary:
        if self.vocabulary is None:
            raise TokenizeError("the tokenizer has no vocabulary; its codes have no ids")
        return self.vocabulary

    def _facts(self) -> dict[str, object]:
        """What a description says but for its test vectors."""
        stored = None
        if self.vocabulary is not None:
            content = sha256(lines(self.vocabulary.to_dict()))
            stored = {"kind": str(self.vocabulary.kind), "file": IDS_FILE_NAME, "sha256": content}
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            **self.to_dict(),
            "decoder": _DECODER,
            "codec_files": {name: sha256(content) for name, content in sorted(self.codec.files().items())},
            "vocabulary": stored,
        }

    def _document(self) -> dict[str, object]:
        document = {**self._facts(), "test_vectors": make_vectors(self)}
        return {**document, "created_with": package_versions(), "digest": digest(document)}


def _same(what: str, given: Sequence[str] | None, own: Sequence[str]) -> None:
    """Compare lists of names; the first difference is told."""
    if given is None or list(given) == list(own):
        return
    if len(given) != len(own):
        raise TokenizeError(f"there are {len(given)} {what}; must be {len(own)}: {', '.join(own)}")
    at = next(i for i, (one, other) in enumerate(zip(given, own, strict=True)) if one != other)
    raise TokenizeError(f"{what}[{at}] is {printable(str(given[at]))!r}; must be {own[at]!r}, as the tokenizer has it")


def _with_reference(chunks: FloatArray) -> FloatArray:
    """The chunks, whose own values were finite before they met the observations."""
    finite = np.isfinite(chunks)
    if not finite.all():
        place = [int(i) for i in np.argwhere(~finite)[0]]
        raise TokenizeError(f"the observation that chunk{place} is relative to is not finite; must be")
    return chunks
