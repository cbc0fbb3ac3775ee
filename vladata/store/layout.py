"""The episode file, format version 1: every path and attribute, once. docs/format.md is the specification."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..documents import canonical_json
from ..episode import Steps
from ..recording import Instruction, Outcome

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "NO_TIME",
    "content_digest",
    "envelope_digest",
    "instructions_to_table",
    "outcomes_to_table",
    "stream_digest",
    "table_to_instructions",
    "table_to_outcomes",
]

FORMAT = "vladata-episode"
FORMAT_VERSION = 1

# Attributes of the root.
ATTRIBUTES = (
    "format",
    "format_version",
    "recording_id",
    "episode_id",
    "content_digest",
    "envelope_digest",
    "embodiment",
    "embodiment_digest",
)

# JSON texts.
EMBODIMENT, PROVENANCE, METADATA = "embodiment", "provenance", "metadata"
TEXTS = (EMBODIMENT, PROVENANCE, METADATA)

# Groups and datasets.
STREAMS, STEPS, INSTRUCTIONS, OUTCOMES = "streams", "steps", "instructions", "outcomes"
TIME, RECEIVE_TIME, VALUES = "time_ns", "receive_time_ns", "values"
FRAMES, OFFSETS, DIGESTS = "frames", "offsets", "digests"
PTS, KEYFRAMES, EXTRADATA, LEAD = "pts", "keyframes", "extradata", "lead"
PROPRIOCEPTION, ACTION, IMAGES, AGE, VALID = "proprioception", "action", "images", "age_ns", "valid"

NO_TIME = np.iinfo(np.int64).min
"""Stands for "none" in the time columns of labels."""

TextTable = dict[str, list[str]]
NumberTable = dict[str, NDArray[np.generic]]

INSTRUCTION_TEXTS = ("text", "kind", "language", "author")
INSTRUCTION_NUMBERS = ("time_ns", "end_ns", "confidence")
OUTCOME_TEXTS = ("kind", "reason", "author")
OUTCOME_NUMBERS = ("time_ns", "end_ns", "value")


def _times(values: Iterable[int | None]) -> NDArray[np.int64]:
    return np.array([NO_TIME if v is None else v for v in values], dtype=np.int64)


def _floats(values: Iterable[float | None]) -> NDArray[np.float64]:
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)


def _time(value: np.int64) -> int | None:
    return None if value == NO_TIME else int(value)


def _float(value: np.float64) -> float | None:
    return None if np.isnan(value) else float(value)


def instructions_to_table(rows: Sequence[Instruction]) -> tuple[TextTable, NumberTable]:
    """Columns of /instructions."""
    texts = {n: [str(getattr(r, n)) for r in rows] for n in INSTRUCTION_TEXTS}
    return texts, {
        "time_ns": _times(r.time_ns for r in rows),
        "end_ns": _times(r.end_ns for r in rows),
        "confidence": _floats(r.confidence for r in rows),
    }


def outcomes_to_table(rows: Sequence[Outcome]) -> tuple[TextTable, NumberTable]:
    """Columns of /outcomes."""
    texts = {n: [str(getattr(r, n)) for r in rows] for n in OUTCOME_TEXTS}
    return texts, {
        "time_ns": _times(r.time_ns for r in rows),
        "end_ns": _times(r.end_ns for r in rows),
        "value": _floats(r.value for r in rows),
    }


def table_to_instructions(texts: Mapping[str, Sequence[str]], numbers: NumberTable) -> tuple[Instruction, ...]:
    """Rows of /instructions."""
    return tuple(
        Instruction(
            text=texts["text"][i],
            kind=texts["kind"][i],  # type: ignore[arg-type]  # the writer allows the closed list only
            language=texts["language"][i],
            author=texts["author"][i],
            time_ns=_time(numbers["time_ns"][i]),
            end_ns=_time(numbers["end_ns"][i]),
            confidence=_float(numbers["confidence"][i]),
        )
        for i in range(len(texts["text"]))
    )


def table_to_outcomes(texts: Mapping[str, Sequence[str]], numbers: NumberTable) -> tuple[Outcome, ...]:
    """Rows of /outcomes."""
    return tuple(
        Outcome(
            kind=texts["kind"][i],  # type: ignore[arg-type]  # the writer allows the closed list only
            reason=texts["reason"][i],
            author=texts["author"][i],
            time_ns=_time(numbers["time_ns"][i]),
            end_ns=_time(numbers["end_ns"][i]),
            value=_float(numbers["value"][i]),
        )
        for i in range(len(texts["kind"]))
    )


def _canonical(array: NDArray[np.generic]) -> bytes:
    """Little-endian bytes in C order, preceded by type and shape."""
    plain = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    return f"{plain.dtype.str}{list(plain.shape)}\n".encode() + plain.tobytes()


def stream_digest(facts: Sequence[str], arrays: Mapping[str, NDArray[np.generic] | None]) -> str:
    """SHA-256 of one stream: its facts (name, clock, codec, …), then its arrays by name; absent ones left out."""
    sha = hashlib.sha256("\n".join(facts).encode() + b"\n")
    for name, array in sorted(arrays.items()):
        if array is not None:
            sha.update(f"{name} ".encode())
            sha.update(_canonical(array))
    return sha.hexdigest()


def content_digest(streams: Mapping[str, str]) -> str:
    """SHA-256 over the digests of all streams by sorted name: equal for equal demonstrations."""
    lines = [f"{name} {digest}" for name, digest in sorted(streams.items())]
    return hashlib.sha256("\n".join(["content 1", *lines]).encode()).hexdigest()


def envelope_digest(
    steps: Steps, tables: Sequence[tuple[TextTable, NumberTable]], texts: Mapping[str, str], ids: Sequence[str]
) -> str:
    """SHA-256 over what the content digest leaves out: ids, steps, labels and JSON texts."""
    sha = hashlib.sha256("\n".join(["envelope 1", *ids]).encode() + b"\n")
    sha.update(_canonical(steps.time_ns))
    groups: tuple[Mapping[str, NDArray[np.generic]], ...] = (
        steps.proprioception,
        steps.action,
        steps.images,
        steps.age_ns,
        {n: v.astype(np.uint8) for n, v in steps.valid.items()},
    )
    for group in groups:
        for name, array in sorted(group.items()):
            sha.update(f"{name} ".encode() + _canonical(array))
    for strings, numbers in tables:
        for name, column in sorted(strings.items()):
            sha.update(f"{name} {canonical_json(column)}\n".encode("utf-8", "surrogatepass"))
        for name, values in sorted(numbers.items()):
            sha.update(f"{name} ".encode() + _canonical(values))
    for name, text in sorted(texts.items()):
        sha.update(f"{name} {text}\n".encode("utf-8", "surrogatepass"))
    return sha.hexdigest()
