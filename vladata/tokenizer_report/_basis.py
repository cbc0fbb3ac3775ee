"""The chunks that schemes are compared on: of episodes, or of an export's shards."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..action_tokenizer import ActionTokenizer
from ..errors import ExportError
from ..exporters._fit import FitUnit, choose_rows, train_chunks
from ..exporters._loss import Sample
from ..exporters._options import ExportOptions
from ..exporters._prepare import Prepared, Progress, build_tokenizer, prepare
from ..exporters._rows import rows_of
from ..exporters._sample import MAX_MEASURED, MAX_VALUES, fit_chunks, held_out
from ..exporters._stored import open_export
from ..store.dataset import Dataset
from ..workers import Failed, run

__all__ = ["Basis", "basis_of_dataset", "basis_of_export"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Basis:
    """Chunks, and everything of a tokenizer but the codec."""

    source: str
    skeleton: ActionTokenizer
    """Its codec is of no meaning."""
    fit_split: str
    """Split that statistics were made of, and that codecs learn from."""
    fit_chunks: FloatArray
    """In physical units, [N, H, D]."""
    sample: Sample
    """What is measured on."""


def _quiet(done: int, total: int, name: str) -> None:
    """No progress."""


def basis_of_export(out: Path, *, chunks: int = MAX_MEASURED, workers: int = 1) -> Basis:
    """The chunks of an export, with its representation, normalization and horizon.

    Args:
        out: A whole export.
        chunks: How many to measure on at most.
        workers: Processes; 0 reads in this one.

    Raises:
        ExportError: The folder is no whole export, or a shard can't be read.
    """
    export = open_export(out)
    first, shape = export.first_split, export.shape
    return Basis(
        source=out.resolve().name,
        skeleton=export.tokenizer,
        fit_split=first,
        fit_chunks=fit_chunks(out, export.shards, first, shape, workers),
        sample=held_out(out, export.shards, first, shape, workers, limit=chunks),
    )


def basis_of_dataset(
    dataset: Dataset,
    options: ExportOptions,
    *,
    chunks: int = MAX_MEASURED,
    workers: int = 1,
    progress: Progress = _quiet,
) -> Basis:
    """The chunks that an export with these options would hold.

    Args:
        dataset: The episodes.
        options: As for an export; those of codec and prompt don't count.
        chunks: How many to measure on at most.
        workers: Processes; 0 reads in this one.
        progress: Called with how many are done, of how many, and what is being done.

    Raises:
        ExportError: There are no such rows, or an episode can't be read.
        SchemaError: The representation can't be made of these actions.
    """
    plain = dataclasses.replace(options, tokenizer="uniform_bins", codec_options={}, base_tokenizer=None)
    prepared = prepare(dataset, plain, workers, progress)
    first = next(iter(options.splits))
    own = [i for i, split in enumerate(prepared.splits) if split == first]
    return Basis(
        source=dataset.path.resolve().name,
        skeleton=build_tokenizer(prepared, plain, None, workers, progress),
        fit_split=first,
        fit_chunks=train_chunks(
            [prepared.sources[i] for i in own],
            [prepared.gathered[i] for i in own],
            prepared.layout,
            workers,
            progress,
        ),
        sample=_held_out(prepared, first, list(options.splits), chunks, workers),
    )


def take_rows(unit: FitUnit) -> tuple[FloatArray, BoolArray]:
    """Chunks [n, H, D] and padding [n, H] of rows of one episode; runs in a worker."""
    rows = rows_of(unit.source.read(), unit.layout)
    return rows.chunks[unit.rows], rows.is_pad[unit.rows]


def _held_out(prepared: Prepared, first: str, names: Sequence[str], limit: int, workers: int) -> Sample:
    """As `exporters._sample.held_out`, of episodes: the same rows in the same order."""
    horizon, dims = prepared.layout.rule.horizon, len(prepared.layout.representation.dimensions)
    by_split = [
        [i for i, s in enumerate(prepared.splits) if s == name and prepared.gathered[i].num_rows] for name in names
    ]
    others = [i for name, own in zip(names, by_split, strict=True) for i in own if name != first]
    own = others or [i for part in by_split for i in part]
    chosen = choose_rows([prepared.gathered[i].num_rows for i in own], min(limit, MAX_VALUES // (horizon * dims)))
    units = [
        FitUnit(source=prepared.sources[i], layout=prepared.layout, rows=rows)
        for i, rows in zip(own, chosen, strict=True)
        if len(rows)
    ]
    found: dict[int, tuple[FloatArray, BoolArray]] = {}
    for outcome in run(take_rows, units, workers=workers):
        if isinstance(outcome, Failed):
            raise ExportError(f"{units[outcome.index].source.entry.place}: {outcome.reason}")
        found[outcome.index] = outcome.result
    parts = [found[i] for i in range(len(units))]
    return Sample(
        chunks=np.concatenate([np.empty((0, horizon, dims)), *(c for c, _ in parts)]),
        is_pad=np.concatenate([np.empty((0, horizon), dtype=np.bool_), *(p for _, p in parts)]),
        splits=tuple(dict.fromkeys(prepared.splits[i] for i in own)),
        is_held_out=bool(others),
        of_chunks=sum(prepared.gathered[i].num_rows for i in own),
    )
