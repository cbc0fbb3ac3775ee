"""Chunks that codecs learn from: a sample of the first split, spread evenly over it, whatever the number of workers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ExportError
from ..workers import Failed, run
from ._gather import EpisodeSource, Gathered
from ._rows import Layout, rows_of

__all__ = ["FitUnit", "Progress", "choose_rows", "most_chunks", "take_chunks", "train_chunks"]

MAX_CHUNKS = 10_000
MAX_BYTES = 64 << 20

FloatArray = NDArray[np.float64]
Progress = Callable[[int, int, str], None]
"""Called with how many are done, of how many, and what is being done."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FitUnit:
    """Rows of one episode to take."""

    source: EpisodeSource
    layout: Layout
    rows: NDArray[np.int64]


def choose_rows(num_rows: Sequence[int], limit: int) -> list[NDArray[np.int64]]:
    """Choose rows of episodes, spread evenly over all of them.

    Args:
        num_rows: Rows of each episode.
        limit: How many to choose; all where there are fewer.

    Returns:
        Chosen rows of each episode, increasing.
    """
    ends = np.cumsum(np.asarray(num_rows, dtype=np.int64))
    total = int(ends[-1]) if len(ends) else 0
    count = min(total, limit)
    chosen = (2 * np.arange(count, dtype=np.int64) + 1) * total // max(1, 2 * count)
    borders = np.concatenate([[0], np.searchsorted(chosen, ends)])
    starts = ends - np.asarray(num_rows, dtype=np.int64)
    return [chosen[a:b] - start for a, b, start in zip(borders[:-1], borders[1:], starts, strict=True)]


def most_chunks(horizon: int, dims: int) -> int:
    """How many chunks codecs learn from at most."""
    return max(1, min(MAX_CHUNKS, MAX_BYTES // (8 * horizon * dims)))


def take_chunks(unit: FitUnit) -> FloatArray:
    """Chunks of one episode, as learned, in physical units, [n, H, D]; runs in a worker."""
    return rows_of(unit.source.read(is_gated=True), unit.layout).chunks[unit.rows]


def train_chunks(
    sources: Sequence[EpisodeSource],
    gathered: Sequence[Gathered],
    layout: Layout,
    num_workers: int,
    progress: Progress,
) -> FloatArray:
    """Chunks of episodes of the first split, as learned, in physical units, at most 10,000 and 64 MB.

    Args:
        sources: Episodes of that split.
        gathered: What is known of each.
        layout: What chunks are made of.
        num_workers: Processes; 0 reads in this one.
        progress: Called with how many are done, of how many, and what is being done.

    Returns:
        [N, H, D], in the order of the episodes.

    Raises:
        ExportError: An episode can't be read.
    """
    shape = layout.rule.horizon, len(layout.representation.dimensions)
    chosen = choose_rows([g.num_rows for g in gathered], most_chunks(*shape))
    units = [FitUnit(source=s, layout=layout, rows=r) for s, r in zip(sources, chosen, strict=True) if len(r)]
    found: dict[int, FloatArray] = {}
    for done, outcome in enumerate(run(take_chunks, units, workers=num_workers), start=1):
        if isinstance(outcome, Failed):
            raise ExportError(f"{units[outcome.index].source.entry.place}: {outcome.reason}")
        found[outcome.index] = outcome.result
        progress(done, len(units), "fitting the tokenizer")
    return np.concatenate([np.empty((0, *shape)), *(found[i] for i in range(len(units)))])
