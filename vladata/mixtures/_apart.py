"""A mixture of parts kept apart: their shards by hard links, and the order of an epoch as a table."""

import errno
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import ExportError
from ..exporters._folder import hash_with_beats
from ..exporters._parquet import ShardWriter
from ..store.writer import replace_file, sync_folder
from ._folder import EPOCH
from ._order import draw, interleave, key_of
from ._shards import WINDOW_BYTES, groups_of
from .plan import Prepared

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["EPOCH", "EPOCH_CONFIG", "PlaceUnit", "Placed", "place", "place_units", "write_epoch"]

EPOCH_CONFIG = "epoch"
EPOCH_GROUP = 100_000
CANT_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES, errno.ENOSYS}
"""Other file system, or one without links."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceUnit:
    """One shard of a part, to be put into the mixture."""

    source: Path
    out: Path
    file: str
    config: str
    split: str
    rows: int
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """How a shard got there."""

    is_linked: bool
    was_there: bool
    """Whether an earlier run had put it there, with the same content."""


def place_units(prepared: Prepared, out: Path) -> list[PlaceUnit]:
    """All shards of all parts, each part in a config of its own."""
    units = []
    for part in prepared.parts:
        config = f"{prepared.recipe.config}_{part.name}"
        units += [
            PlaceUnit(
                source=part.folder / s.file,
                out=out,
                file=f"data/{config}/{Path(s.file).name}",
                config=config,
                split=s.split,
                rows=s.rows,
                size=s.size,
                sha256=s.sha256,
            )
            for s in part.shards
        ]
    return units


def place(unit: PlaceUnit) -> Placed:
    """Link a shard, or copy it where that can't be, and read it once; runs in a worker.

    Raises:
        ExportError: It is not as the part's manifest says.
        OSError: The disk is full, or can't be written.
    """
    target = unit.out / unit.file
    is_linked = target.exists() and unit.source.exists() and target.samefile(unit.source)
    is_copied = target.is_file() and not is_linked and hash_with_beats(target) == (unit.size, unit.sha256)
    was_there = is_linked or is_copied
    if not was_there:
        is_linked = _link(unit.source, target)
        if not is_linked:
            with replace_file(target) as temporary:
                shutil.copyfile(unit.source, temporary)
    if not is_copied and hash_with_beats(target) != (unit.size, unit.sha256):
        target.unlink()
        raise ExportError("differs from the part's manifest; verify the export")
    return Placed(is_linked=is_linked, was_there=was_there)


def _link(source: Path, target: Path) -> bool:
    """A hard link in place of whatever is there; False where the file system can't."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        os.link(source, temporary)
        temporary.rename(target)
        sync_folder(target.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno not in CANT_LINK:
            raise
        return False
    return True


def write_epoch(prepared: Prepared, path: Path) -> tuple[int, str]:
    """Write the order of an epoch; size and SHA-256 of the file.

    Columns: `part`, `row` of its train split, and the same as `file` and `row_in_file`.
    """
    schema = _schema()
    with replace_file(path) as temporary, ShardWriter(temporary, schema, []) as writer:
        for columns in _batches(prepared):
            writer.write(columns)
        written = writer.close()
    return written.size, written.sha256


def _schema() -> "pa.Schema":
    from datasets import Features, Value

    columns = {"part": "string", "row": "int64", "file": "string", "row_in_file": "int64"}
    schema: pa.Schema = Features({n: Value(k) for n, k in columns.items()}).arrow_schema
    return schema


def _batches(prepared: Prepared) -> "Iterator[dict[str, pa.Array]]":
    import pyarrow as pa

    train, seed = prepared.plan.train, prepared.recipe.seed
    rows: list[NDArray[np.int64]] = []
    starts: list[NDArray[np.int64]] = []
    files: list[str] = []
    for part, pool, count in zip(prepared.parts, prepared.pools, prepared.counts, strict=True):
        groups = groups_of(part, prepared.scanned[part.name], train)
        window = WINDOW_BYTES // len(prepared.parts)
        rows.append(draw(pool, count, groups, key_of("draw", seed, part.name), window).rows)
        own = part.of_split(train)
        starts.append(np.cumsum([0, *(s.rows for s in own)])[:-1].astype(np.int64))
        files += [f"data/{prepared.recipe.config}_{part.name}/{Path(s.file).name}" for s in own]
    first_file = np.cumsum([0, *(len(s) for s in starts)])[:-1]
    labels = interleave(prepared.counts, key_of("interleave", seed))
    used = [0] * len(rows)
    names = pa.array([p.name for p in prepared.parts], type=pa.string())
    paths = pa.array(files, type=pa.string())
    for start in range(0, len(labels), EPOCH_GROUP):
        own_labels = labels[start : start + EPOCH_GROUP]
        row, file = (np.zeros(len(own_labels), dtype=np.int64) for _ in range(2))
        inner = np.zeros(len(own_labels), dtype=np.int64)
        for part in np.unique(own_labels).tolist():
            at = np.flatnonzero(own_labels == part)
            row[at] = rows[part][used[part] : used[part] + len(at)]
            used[part] += len(at)
            shard = np.searchsorted(starts[part], row[at], side="right") - 1
            file[at], inner[at] = shard + first_file[part], row[at] - starts[part][shard]
        yield {
            "part": names.take(pa.array(own_labels)),
            "row": pa.array(row),
            "file": paths.take(pa.array(file)),
            "row_in_file": pa.array(inner),
        }
