"""Test vectors of a stored action tokenizer: chunks with their codes, ids and decoded actions, made and replayed."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._bundle import FILE_NAME, array, difference, listed, token_rows
from .actions.normalization import Normalization
from .actions.representation import Representation
from .actions.sampling import sample_chunks
from .errors import TokenizeError
from .tokenizers import Codes, Decoded, TokenRows
from .tokenizers._bins import code_rows
from .vocabulary import Vocabulary

__all__ = ["make_vectors", "replay"]

FloatArray = NDArray[np.float64]

_VALUES = 4096
_TOLERANCE = 1e-9
"""Of decoded values, relative to their dimension's scale: rotations go through the machine's own sines."""


class _Tokenizer(Protocol):
    """What is tested."""

    @property
    def representation(self) -> Representation: ...
    @property
    def normalization(self) -> Normalization: ...
    @property
    def vocabulary(self) -> Vocabulary | None: ...
    @property
    def horizon(self) -> int: ...

    def encode(self, chunks: ArrayLike, state: ArrayLike | None = None) -> Codes: ...
    def decode(self, codes: Codes | ArrayLike, state: ArrayLike | None = None) -> FloatArray: ...
    def decode_relaxed(self, codes: Codes | ArrayLike, state: ArrayLike | None = None) -> Decoded: ...
    def to_ids(self, codes: Codes | ArrayLike) -> TokenRows: ...
    def from_ids(self, ids: TokenRows | ArrayLike) -> Codes: ...


def make_vectors(tokenizer: _Tokenizer) -> dict[str, object]:
    """Chunks within and beyond the range, and what becomes of them; some hundred to some thousand values."""
    size = tokenizer.horizon * tokenizer.normalization.dims
    # Three chunks begin with the ends and the middle of the range; so many values that one is enough have them inside.
    count = 1 if size > 16 * _VALUES and tokenizer.horizon >= 3 else min(16, max(3, _VALUES // size))
    chunks, state = sample_chunks(tokenizer.representation, tokenizer.normalization, count, tokenizer.horizon)
    codes = tokenizer.encode(chunks, state)
    ids = None if tokenizer.vocabulary is None else tokenizer.to_ids(codes)
    # Codes of values beyond the range can stand for chunks that strict decoding refuses.
    found = tokenizer.decode_relaxed(codes, state)
    return {
        "chunks": chunks.tolist(),
        "state": None if state is None else state.tolist(),
        "codes": listed(codes),
        "ids": None if ids is None else listed(ids),
        "decoded": found.chunks.tolist(),
        "num_clipped": found.num_clipped.tolist(),
    }


def replay(tokenizer: _Tokenizer, vectors: object) -> None:
    """Encode and decode test vectors.

    Raises:
        TokenizeError: They are none, or codes, ids or actions come out differently.
    """
    if not isinstance(vectors, dict) or not vectors.get("chunks"):
        raise TokenizeError(f"{FILE_NAME}: test_vectors are missing")
    if vectors.get("state") is not None and not tokenizer.representation.needs_state:
        raise TokenizeError(f"{FILE_NAME}: test_vectors.state is given; must be null, for no action is relative to it")
    state = None if vectors.get("state") is None else array(vectors, "state", np.float64)
    # What overflows is not finite, and that is told.
    with np.errstate(all="ignore"):
        codes = code_rows(tokenizer.encode(array(vectors, "chunks", np.float64), state))
        _compare_codes(tokenizer, codes, vectors)
        found = tokenizer.decode_relaxed(codes, state)
        _compare_chunks(tokenizer, found.chunks, array(vectors, "decoded", np.float64))
        clipped = array(vectors, "num_clipped", np.int64)
        if not np.array_equal(found.num_clipped, clipped):
            raise TokenizeError("a test vector is clipped differently; this machine decodes differently")
        rows = np.flatnonzero((found.num_clipped == 0) & (found.num_repaired == 0))
        strict = tokenizer.decode(TokenRows.of([codes[int(r)] for r in rows]), None if state is None else state[rows])
        _compare_chunks(tokenizer, strict, found.chunks[rows])


def _compare_codes(tokenizer: _Tokenizer, codes: TokenRows, vectors: Mapping[str, object]) -> None:
    place = difference(codes, token_rows(vectors, "codes"))
    if place is not None:
        raise TokenizeError(f"a test vector gives another code at {place}; this machine encodes differently")
    if tokenizer.vocabulary is None:
        return
    ids = token_rows(vectors, "ids")
    if difference(ids, tokenizer.to_ids(codes)) is not None:
        raise TokenizeError("a test vector gives other ids")
    if difference(code_rows(tokenizer.from_ids(ids)), codes) is not None:
        raise TokenizeError("the ids of a test vector give other codes")


def _compare_chunks(tokenizer: _Tokenizer, decoded: FloatArray, wanted: NDArray[np.generic]) -> None:
    if decoded.shape != wanted.shape:
        raise TokenizeError(f"{FILE_NAME}: test_vectors.decoded is {list(wanted.shape)}; must be {list(decoded.shape)}")
    expected = wanted.astype(np.float64)
    close = np.abs(decoded - expected) <= _TOLERANCE * (tokenizer.normalization.scale + np.abs(expected))
    if not close.all():
        at = [int(i) for i in np.argwhere(~close)[0]]
        raise TokenizeError(f"a test vector decodes differently at {at}; this machine decodes differently")
