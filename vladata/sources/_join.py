"""Bring a source's vector into the schema's order: by name where names are known, by index otherwise."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..embodiment import Signal
from ..errors import SourceError
from ..mapping import StreamMapping
from ..recording import SourceFile
from ..text import clip, printable
from ..workers import beat

__all__ = ["hash_file", "join_columns", "recording_id"]

_BLOCK_BYTES = 1 << 20


def join_columns(
    values: NDArray[np.generic],
    source_names: Sequence[str],
    signal: Signal,
    mapping: StreamMapping,
) -> tuple[NDArray[np.generic], str]:
    """Pick and order the columns of a source's values for a signal.

    Args:
        values: [N, E] as recorded.
        source_names: Names of the E elements; empty where the source has none.
        signal: The signal of the embodiment, D dimensions.
        mapping: How it is mapped.

    Returns:
        [N, D] and a note that says how the columns were joined.

    Raises:
        SourceError: The shapes or names don't fit; with both.
    """
    where = mapping.source + (f".{mapping.field}" if mapping.field else "")
    wanted = mapping.names or signal.names
    if len(wanted) != len(signal.dimensions):
        raise SourceError(
            f"mapping of {signal.name} lists {len(wanted)} names; the signal has {len(signal.dimensions)} dimensions"
        )
    num_elements = values.shape[1] if values.ndim == 2 else -1
    has_names = len(source_names) > 0 and len(source_names) == num_elements
    by_name = has_names and mapping.select is None and set(wanted) <= set(source_names)
    if not by_name and (mapping.join == "name" or (has_names and mapping.join == "auto" and mapping.select is None)):
        raise SourceError(
            f"{where} names {_shown(source_names)}; {signal.name} needs {_shown(wanted)}: "
            "all must be there to join by name, or say join: index"
        )
    if by_name and mapping.join != "index":
        index = [list(source_names).index(n) for n in wanted]
        return values[:, index], f"{signal.name}: {len(index)} of {num_elements} elements of {where} joined by name"
    if mapping.select is not None:
        if not mapping.select or max(mapping.select) >= num_elements or min(mapping.select) < 0:
            raise SourceError(f"{where} has shape [{num_elements}]; select is {list(mapping.select)}")
        values = values[:, list(mapping.select)]
    if values.ndim != 2 or values.shape[1] != len(signal.dimensions):
        raise SourceError(
            f"{where} has shape {list(values.shape[1:])} {_shown(source_names)}; "
            f"{signal.name} must have [{len(signal.dimensions)}] {_shown(signal.names)}"
        )
    return values, f"{signal.name}: {values.shape[1]} elements of {where} joined by index"


def _shown(names: Sequence[str]) -> str:
    return f"({clip(printable(', '.join(names)), 120)})" if names else "(no names)"


def hash_file(path: Path, name: str) -> SourceFile:
    """Size and SHA-256 of a file, under a name relative to the recording's root."""
    sha, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            sha.update(block)
            size += len(block)
            beat()  # gigabytes take longer than a unit may be silent
    return SourceFile(name=name, size=size, sha256=sha.hexdigest())


def recording_id(source: str, place: str, content: Sequence[str]) -> str:
    """SHA-256 over the source's name, the place and the digests of the content, hex."""
    text = "\n".join(("recording 1", source, place, *content))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
