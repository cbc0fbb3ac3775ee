"""Chunks out of an export's shards: for codecs that learn, and for what a tokenizer loses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import ExportError
from ..gate import inside
from ..workers import Failed, beat, run
from ._compare import column_values
from ._fit import choose_rows, most_chunks
from ._folder import DATA
from ._loss import Sample

__all__ = ["MAX_MEASURED", "ShardRows", "fit_chunks", "held_out", "is_shard", "shard_rows", "shard_sample"]

MAX_MEASURED = 2_000
"""Chunks that the card's figures are made of."""
MAX_VALUES = 4_000_000
"""Numbers in them, whatever the horizon."""

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRows:
    """A shard, and where it belongs."""

    file: str
    split: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _TakeUnit:
    path: Path
    file: str
    rows: NDArray[np.int64]
    """To take, increasing."""
    shape: tuple[int, int]


def take_rows(unit: _TakeUnit) -> tuple[FloatArray, BoolArray]:
    """Chunks [n, H, D] and padding [n, H] of rows of a shard; runs in a worker.

    Raises:
        ExportError: The shard can't be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    chunks, is_pad = [np.empty((0, *unit.shape))], [np.empty((0, unit.shape[0]), dtype=np.bool_)]
    try:
        with pq.ParquetFile(unit.path) as file:
            first = 0
            for index in range(file.num_row_groups):
                stop = first + file.metadata.row_group(index).num_rows
                own = unit.rows[np.searchsorted(unit.rows, first) : np.searchsorted(unit.rows, stop)] - first
                first = stop
                if len(own):
                    table = file.read_row_group(index, columns=["action_chunk", "action_is_pad"], use_threads=False)
                    chunks.append(column_values(table, "action_chunk", unit.shape)[own].astype(np.float64))
                    is_pad.append(column_values(table, "action_is_pad", unit.shape[:1])[own].astype(np.bool_))
                beat()
    except (pa.ArrowException, KeyError, IndexError) as error:
        raise ExportError(f"{unit.file}: can't be read: {error}") from error
    return np.concatenate(chunks), np.concatenate(is_pad)


def shard_sample(
    out: Path, shards: Sequence[ShardRows], shape: tuple[int, int], limit: int, num_workers: int
) -> tuple[FloatArray, BoolArray]:
    """Chunks of shards, spread evenly over their rows.

    Args:
        out: The export.
        shards: In order.
        shape: H and D.
        limit: How many chunks at most.
        num_workers: Processes; 0 reads in this one.

    Returns:
        Chunks in physical units, [N, H, D]; padding, [N, H].

    Raises:
        ExportError: A shard can't be read.
    """
    chosen = choose_rows([s.rows for s in shards], limit)
    units = [
        _TakeUnit(path=inside(out, s.file), file=s.file, rows=rows, shape=shape)
        for s, rows in zip(shards, chosen, strict=True)
        if len(rows)
    ]
    found: dict[int, tuple[FloatArray, BoolArray]] = {}
    for outcome in run(take_rows, units, workers=min(num_workers, len(units))):
        if isinstance(outcome, Failed):
            raise ExportError(f"{units[outcome.index].file}: {outcome.reason}")
        found[outcome.index] = outcome.result
    parts = [found[i] for i in range(len(units))]
    return (
        np.concatenate([np.empty((0, *shape)), *(chunks for chunks, _ in parts)]),
        np.concatenate([np.empty((0, shape[0]), dtype=np.bool_), *(is_pad for _, is_pad in parts)]),
    )


def fit_chunks(out: Path, shards: Sequence[ShardRows], first: str, shape: tuple[int, int], workers: int) -> FloatArray:
    """The chunks of the first split that codecs learn from, equal to those that an export takes from its episodes.

    Raises:
        ExportError: A shard can't be read.
    """
    own = [s for s in shards if s.split == first]
    return shard_sample(out, own, shape, most_chunks(*shape), workers)[0]


def held_out(
    out: Path, shards: Sequence[ShardRows], first: str, shape: tuple[int, int], workers: int, limit: int = MAX_MEASURED
) -> Sample:
    """Chunks to measure with: of the splits that nothing was fitted to; of the first one where there is no other.

    Raises:
        ExportError: A shard can't be read.
    """
    others = [s for s in shards if s.split != first and s.rows]
    own = others or list(shards)
    limit = max(1, min(limit, MAX_VALUES // (shape[0] * shape[1])))
    chunks, is_pad = shard_sample(out, own, shape, limit, workers)
    return Sample(
        chunks=chunks,
        is_pad=is_pad,
        splits=tuple(dict.fromkeys(s.split for s in own)),
        is_held_out=bool(others),
        of_chunks=sum(s.rows for s in own),
    )


def is_shard(line: Mapping[str, object]) -> bool:
    """Whether a line of a manifest's files is a shard with action codes."""
    return "unit" in line and str(line.get("file")).startswith(f"{DATA}/")


def shard_rows(files: Sequence[Mapping[str, object]]) -> list[ShardRows]:
    """The shards that a manifest lists.

    Raises:
        ExportError: A line is damaged.
    """
    found = []
    for line in files:
        if not is_shard(line):
            continue
        file, split, rows = line.get("file"), line.get("split"), line.get("rows")
        if not isinstance(file, str) or not isinstance(split, str) or not isinstance(rows, int) or rows < 0:
            raise ExportError("the manifest is damaged; each shard must have file, split and rows")
        found.append(ShardRows(file=file, split=split, rows=rows))
    return found
