"""The shards of a padded mixture: which rows go into which, and how one is written with bounded memory.

A shard is a pure unit: it takes the rows of each part in the order of the epoch and puts those of all parts together.
Images stay the bytes they are.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import ExportError
from ..exporters._parquet import ShardWriter, image_array
from ..store.writer import replace_file
from ..workers import beat
from ._columns import Columns, pad, picture_columns
from ._order import Drawn, draw, in_order, interleave, key_of
from ._parts import Part, Scanned
from ._reader import Frame, PartReader, Source, Taken
from .plan import Prepared

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "WINDOW_BYTES",
    "MixUnit",
    "PartReader",
    "PlannedShard",
    "ShardFacts",
    "Source",
    "plan_shards",
    "rows_in_order",
    "write_shard",
]

WINDOW_BYTES = 128_000_000
"""Of the row groups of all parts that are held at a time, as they lie on the disk."""
GROUP_BYTES = 32_000_000
MAX_GROUP_ROWS = 50
"""Rows of a row group: what a random access reads. As in exports."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlannedShard:
    """One Parquet file of the mixture."""

    file: str
    split: str
    start: int
    """Rows of the split, half-open."""
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MixUnit:
    """Everything that one shard needs."""

    out: Path
    shard: PlannedShard
    columns: Columns
    labels: NDArray[np.uint16]
    """Part of each row, [R]."""
    sources: Mapping[int, Source]
    """By part."""
    group_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardFacts:
    """What a shard holds."""

    rows: int
    size: int
    sha256: str


# Which rows ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Stream:
    """A split of the mixture, row by row."""

    split: str
    labels: NDArray[np.uint16]
    drawn: Mapping[int, Drawn]
    own_split: str
    """What the parts call it."""
    row_bytes: float


def plan_shards(prepared: Prepared, out: Path, shard_bytes: int) -> Iterator[MixUnit]:
    """The shards of all splits: the mixed one, then what each part holds out.

    Args:
        prepared: The mixture.
        out: Folder of the mixture.
        shard_bytes: Shards are at most about this large.
    """
    assert prepared.columns is not None  # of the padded layout alone
    config = prepared.recipe.config
    for stream in _streams(prepared):
        total = len(stream.labels)
        count = max(1, min(total, -(-round(stream.row_bytes * total) // shard_bytes)))
        used = dict.fromkeys(stream.drawn, 0)
        for index in range(count):
            start, stop = total * index // count, total * (index + 1) // count
            labels = stream.labels[start:stop]
            sources = {}
            for part, number in zip(*np.unique(labels, return_counts=True), strict=True):
                first = used[int(part)]
                drawn = stream.drawn[int(part)].between(first, first + int(number))
                sources[int(part)] = _source(prepared, int(part), stream.own_split, drawn)
                used[int(part)] += int(number)
            yield MixUnit(
                out=out,
                shard=PlannedShard(
                    file=f"data/{config}/{stream.split}-{index:05d}-of-{count:05d}.parquet",
                    split=stream.split,
                    start=start,
                    stop=stop,
                ),
                columns=prepared.columns,
                labels=labels,
                sources=sources,
                group_rows=max(1, min(MAX_GROUP_ROWS, int(GROUP_BYTES / max(1.0, stream.row_bytes)))),
            )


def _streams(prepared: Prepared) -> Iterator[_Stream]:
    seed, train = prepared.recipe.seed, prepared.plan.train
    window = WINDOW_BYTES // len(prepared.parts)
    drawn = {
        i: draw(pool, count, groups_of(part, scanned, train), key_of("draw", seed, part.name), window)
        for i, (part, scanned, pool, count) in enumerate(_each(prepared))
    }
    sizes = [_row_bytes(part, scanned, train) for part, scanned, _, _ in _each(prepared)]
    yield _Stream(
        split=train,
        labels=interleave(prepared.counts, key_of("interleave", seed)),
        drawn=drawn,
        own_split=train,
        row_bytes=sum(s * c for s, c in zip(sizes, prepared.counts, strict=True)) / sum(prepared.counts),
    )
    for i, (part, scanned, _, _) in enumerate(_each(prepared)):
        for split in part.splits[1:]:
            rows = sum(s.rows for s in part.of_split(split))
            if rows:
                yield _Stream(
                    split=f"{split}_{part.name}",
                    labels=np.full(rows, i, dtype=np.uint16),
                    drawn={i: in_order(groups_of(part, scanned, split), rows, WINDOW_BYTES)},
                    own_split=split,
                    row_bytes=_row_bytes(part, scanned, split),
                )


def _each(prepared: Prepared) -> Iterator[tuple[Part, Sequence[Scanned], NDArray[np.int64], int]]:
    for part, pool, count in zip(prepared.parts, prepared.pools, prepared.counts, strict=True):
        yield part, prepared.scanned[part.name], pool, count


def _of_split(part: Part, scanned: Sequence[Scanned], split: str) -> list[Scanned]:
    return [s for shard, s in zip(part.shards, scanned, strict=True) if shard.split == split]


def groups_of(part: Part, scanned: Sequence[Scanned], split: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First row and bytes of each row group of a split, those without rows left out."""
    own = _of_split(part, scanned, split)
    rows = np.concatenate([s.group_rows for s in own])
    sizes = np.concatenate([s.group_bytes for s in own])
    return (np.cumsum(rows) - rows)[rows > 0], sizes[rows > 0]


def _row_bytes(part: Part, scanned: Sequence[Scanned], split: str) -> float:
    own = _of_split(part, scanned, split)
    return float(sum(s.group_bytes.sum() for s in own)) / max(1, sum(int(s.group_rows.sum()) for s in own))


def _source(prepared: Prepared, index: int, split: str, drawn: Drawn) -> Source:
    part = prepared.parts[index]
    own = _of_split(part, prepared.scanned[part.name], split)
    return Source(
        part=index,
        folder=part.folder,
        shards=part.of_split(split),
        group_rows=tuple(s.group_rows for s in own),
        drawn=drawn,
    )


# Writing ------------------------------------------------------------------------------------------------------------


def rows_in_order(unit: MixUnit) -> Iterator[tuple[int, dict[int, list[Taken]]]]:
    """Row group by row group of a shard: its first row, and the rows of each part as the parts have them."""
    readers = {
        p: PartReader(s, unit.columns.source_columns(p), list(unit.columns.shapes[p].images.values()))
        for p, s in unit.sources.items()
    }
    try:
        for start in range(0, len(unit.labels), unit.group_rows):
            labels = unit.labels[start : start + unit.group_rows]
            parts, counts = np.unique(labels, return_counts=True)
            yield (
                start,
                {int(p): readers[int(p)].take(int(n)) for p, n in zip(parts.tolist(), counts.tolist(), strict=True)},
            )
    finally:
        for reader in readers.values():
            reader.close()


def write_shard(unit: MixUnit) -> ShardFacts:
    """Write a shard; runs in a worker.

    Raises:
        ExportError: A part can't be read, or its rows are not as its schema says.
        OSError: The disk is full, or can't be written.
    """
    import pyarrow as pa

    schema = pa.ipc.read_schema(pa.py_buffer(unit.columns.schema))
    path = unit.out / unit.shard.file
    try:
        with replace_file(path) as temporary, ShardWriter(temporary, schema, picture_columns(schema)) as writer:
            for start, tables in rows_in_order(unit):
                labels = unit.labels[start : start + unit.group_rows]
                writer.write(_joined(unit, tables, labels))
                del tables
                beat()
            written = writer.close()
    except pa.ArrowException as error:
        raise ExportError(f"a part can't be read: {error}") from error
    return ShardFacts(rows=len(unit.labels), size=written.size, sha256=written.sha256)


def _joined(
    unit: MixUnit, taken: Mapping[int, Sequence[Taken]], labels: NDArray[np.uint16]
) -> "dict[str, pa.Array | pa.ChunkedArray]":
    """One row group of the mixture: the rows of all parts, each at its place."""
    import pyarrow as pa

    pieces = [(part, t) for part in sorted(taken) for t in taken[part]]
    joined = pa.concat_tables([pad(t.table, unit.columns, part) for part, t in pieces])
    order = np.argsort(labels, kind="stable")
    back = np.empty(len(order), dtype=np.int64)
    back[order] = np.arange(len(order))
    mixed = joined.take(pa.array(back))
    columns: dict[str, pa.Array | pa.ChunkedArray] = {name: mixed.column(name) for name in mixed.column_names}
    places = back.tolist()
    for name in unit.columns.images:
        frames: list[Frame] = []
        for part, t in pieces:
            own = unit.columns.shapes[part].images.get(name)
            frames += [None] * t.table.num_rows if own is None else t.frames[own]
        columns[name] = _image_column([frames[i] for i in places])
    return columns


def _image_column(frames: Sequence[Frame]) -> "pa.Array":
    import pyarrow as pa

    offsets = np.concatenate([[0], np.cumsum([0 if f is None else len(f) for f in frames])])
    # Not joined as bytes: Arrow's pool gives large buffers back to the system, the heap does not.
    buffer = pa.allocate_buffer(int(offsets[-1]))
    data = np.frombuffer(buffer, dtype=np.uint8)
    for frame, start, stop in zip(frames, offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        if frame is not None:
            data[start:stop] = np.frombuffer(frame, dtype=np.uint8)
    array = image_array(buffer, offsets.astype(np.int64))
    is_null = [f is None for f in frames]
    if not any(is_null):
        return array
    return pa.StructArray.from_arrays(array.flatten(), names=["bytes", "path"], mask=pa.array(is_null))


def digest_rows(unit: MixUnit) -> str:
    """SHA-256 of the choice of rows, hex."""
    sha = hashlib.sha256(unit.labels.tobytes())
    for part in sorted(unit.sources):
        sha.update(unit.sources[part].drawn.rows.tobytes())
        sha.update(unit.sources[part].drawn.windows.tobytes())
    return sha.hexdigest()
