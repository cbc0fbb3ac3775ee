"""The catalog: one row per episode, so that a dataset can be listed without opening its files. A cache."""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..episode import Episode
from .writer import replace_file

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Entry", "entry_of", "read_catalog", "write_catalog"]

CATALOG_NAME = "catalog.parquet"
_MANIFEST_KEY = b"manifest_sha256"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the catalog knows of an episode."""

    episode_id: str
    recording_id: str
    content_digest: str
    embodiment: str
    embodiment_digest: str
    source: str
    place: str
    split: str
    """Split that the source declares; empty where it has none."""
    num_steps: int
    duration_s: float
    num_bytes: int
    """Size of the file."""
    instruction: str
    outcome: str
    num_invalid: int
    """Steps at which a stream has no sample that counts."""
    file: str
    """Path in the dataset, with `/`."""
    sha256: str


def entry_of(episode: Episode, *, file: str, num_bytes: int, sha256: str) -> Entry:
    """Make the row of an episode."""
    valid = list(episode.steps.valid.values())
    invalid = sum(1 for row in zip(*valid, strict=True) if not all(row)) if valid else 0
    return Entry(
        episode_id=episode.episode_id,
        recording_id=episode.recording_id,
        content_digest=episode.content_digest,
        embodiment=episode.embodiment.name,
        embodiment_digest=episode.embodiment.digest,
        source=str(episode.provenance.get("source", "")),
        place=str(episode.provenance.get("place", "")),
        split=episode.metadata.get("split", ""),
        num_steps=len(episode),
        duration_s=episode.duration_s,
        num_bytes=num_bytes,
        instruction=episode.instruction,
        outcome=episode.outcome,
        num_invalid=invalid,
        file=file,
        sha256=sha256,
    )


_SHARED = frozenset({"embodiment", "embodiment_digest", "source", "split", "instruction", "outcome"})
"""Columns whose texts many episodes have in common."""
_NUMBERS = {"num_steps": "int64", "num_bytes": "int64", "num_invalid": "int64", "duration_s": "float64"}


def write_catalog(folder: Path, entries: Sequence[Entry], manifest_sha256: str) -> None:
    """Write the catalog, bound to the manifest it was made for."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        f.name: pa.array([getattr(e, f.name) for e in entries], type=_NUMBERS.get(f.name, "string"))
        for f in dataclasses.fields(Entry)
    }
    table = pa.table(columns).replace_schema_metadata({_MANIFEST_KEY: manifest_sha256.encode()})
    with replace_file(folder / CATALOG_NAME) as temporary:
        pq.write_table(table, temporary, compression="zstd", version="2.6")


def read_catalog(folder: Path, manifest_sha256: str) -> list[Entry] | None:
    """Read the catalog; None where it is missing, damaged or made for another manifest."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / CATALOG_NAME
    try:
        if not path.is_file() or os.path.getsize(path) == 0:  # noqa: PTH202 - no second stat object
            return None
        # Not read_table, and nothing ahead: importing pyarrow.dataset and starting threads take longer than reading.
        with pq.ParquetFile(path, pre_buffer=False) as file:
            schema = file.schema_arrow
            names = [f.name for f in dataclasses.fields(Entry)]
            if (schema.metadata or {}).get(_MANIFEST_KEY) != manifest_sha256.encode() or schema.names != names:
                return None
            entries = list(_entries(file.iter_batches(batch_size=1000, use_threads=False), names))
    except (pa.ArrowException, OSError):
        return None
    pa.default_memory_pool().release_unused()  # else it keeps several times what the rows take
    return entries


def _entries(batches: "Iterator[pa.RecordBatch]", names: Sequence[str]) -> Iterator[Entry]:
    """Rows, block by block; texts that many rows share are kept once."""
    seen: dict[str, str] = {}
    for batch in batches:
        columns = [batch.column(i).to_pylist() for i in range(len(names))]
        for i, name in enumerate(names):
            if name in _SHARED:
                columns[i] = [seen.setdefault(text, text) for text in columns[i]]
        for row in zip(*columns, strict=True):
            yield Entry(**dict(zip(names, row, strict=True)))
