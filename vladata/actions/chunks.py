"""Action chunks: the H targets from each step on, whole or padded at the end of a run of valid steps."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ExportError
from ..units import Mode

__all__ = [
    "MAX_HORIZON",
    "ActionChunks",
    "ChunkCounts",
    "ChunkEnd",
    "ChunkRule",
    "check_modes",
    "cut_chunks",
    "make_chunks",
]

FloatArray = NDArray[np.float64]
Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

MAX_HORIZON = 4096


class ChunkEnd(StrEnum):
    """What becomes of a chunk that is longer than what is left of its run."""

    PAD = "pad"
    """Absolute dimensions repeat the last target, the others hold still; padded steps are marked."""
    DROP = "drop"
    """There is no such chunk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkRule:
    """How chunks are cut."""

    horizon: int
    """H."""
    chunk_end: ChunkEnd = ChunkEnd.PAD
    rest: tuple[float | None, ...] = ()
    """What a target after the end is, by dimension; None: the last target again. A representation fills this in."""

    def __post_init__(self) -> None:
        if not 1 <= self.horizon <= MAX_HORIZON:
            raise ExportError(f"horizon is {self.horizon}; must be 1 to {MAX_HORIZON}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ActionChunks:
    """H consecutive targets from each of N steps."""

    start: Int64Array
    """Step at which each chunk begins, [N], increasing."""
    values: FloatArray
    """In physical units, [N, H, D]."""
    is_pad: BoolArray
    """True where a target is beyond the end of its run, [N, H]."""

    def __len__(self) -> int:
        """N."""
        return len(self.start)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkCounts:
    """What became of the steps; `+` sums episodes."""

    num_steps: int = 0
    """T."""
    num_chunks: int = 0
    """N."""
    num_invalid: int = 0
    """Steps that are marked invalid; no chunk begins there."""
    num_not_finite: int = 0
    """Steps that are marked valid, but whose action, or the observation it is relative to, is not finite."""
    num_without_reference: int = 0
    """Valid steps at which no chunk begins, since the observation it would be relative to is not finite."""
    num_ended_at_end: int = 0
    """Chunks shorter than H because the episode ends."""
    num_ended_at_invalid: int = 0
    """Chunks shorter than H because an invalid step follows."""
    num_ended_at_cut: int = 0
    """Chunks shorter than H because a cut follows."""
    num_dropped: int = 0
    """Of the shorter ones, those that were left out; the others are padded."""
    num_padded_targets: int = 0
    """Padded targets in all chunks."""

    @property
    def num_padded(self) -> int:
        """Chunks with padding."""
        return self.num_ended_at_end + self.num_ended_at_invalid + self.num_ended_at_cut - self.num_dropped

    def __add__(self, other: Self) -> Self:
        """Sum of each count."""
        return type(self)(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})


def make_chunks(
    actions: ArrayLike,
    valid: BoolArray,
    horizon: int,
    chunk_end: ChunkEnd | str,
    modes: Sequence[Mode],
    cuts: Sequence[int] | Int64Array = (),
) -> tuple[ActionChunks, ChunkCounts]:
    """Cut an episode's actions into chunks, one from each valid step.

    A chunk ends at the first invalid step, at the first cut and at the episode's end, whichever comes first; what is
    missing to H is padded, or the chunk is dropped. Padding is in physical units, so before any normalization:
    absolute dimensions repeat the last target, delta and velocity dimensions are 0.

    Args:
        actions: [T, D]; what stands at invalid steps does not matter.
        valid: Steps that count, [T].
        horizon: H, 1 to 4096.
        chunk_end: `pad` or `drop`.
        modes: Of each dimension, [D].
        cuts: Steps at which something new begins: no chunk reaches from before a cut into it.

    Raises:
        ExportError: A size is wrong, an action at a valid step is not finite, a cut is outside the episode, or a
            dimension is recorded relative to chunks that are not these.
    """
    rule = ChunkRule(
        horizon=horizon,
        chunk_end=_chunk_end(chunk_end),
        rest=tuple(None if mode is Mode.ABSOLUTE else 0.0 for mode in modes),
    )
    check_modes(modes, horizon)
    return cut_chunks(np.asarray(actions, dtype=np.float64), valid, valid, rule, cuts)


def check_modes(modes: Sequence[Mode], horizon: int, names: Sequence[str] = ()) -> None:
    """Check that chunks can be cut from dimensions as they were recorded.

    Raises:
        ExportError: One is relative to chunks that are not these.
    """
    if horizon > 1 and Mode.CHUNK_RELATIVE in modes:
        dim = list(modes).index(Mode.CHUNK_RELATIVE)
        raise ExportError(
            f"{names[dim] if names else f'action dimension {dim}'} was recorded relative to the start of its chunk; "
            f"it can't be cut into chunks of {horizon}"
        )


def cut_chunks(
    actions: FloatArray,
    valid: BoolArray,
    can_start: BoolArray,
    rule: ChunkRule,
    cuts: Sequence[int] | Int64Array = (),
) -> tuple[ActionChunks, ChunkCounts]:
    """As `make_chunks`, where some steps may be part of a chunk without beginning one.

    Args:
        actions: [T, D].
        valid: Steps that count, [T].
        can_start: Steps at which a chunk may begin, if they count, [T].
        rule: Horizon, chunk end, and the value of each dimension after the end.
        cuts: Steps at which something new begins.
    """
    valid, can_start = np.asarray(valid, dtype=np.bool_), np.asarray(can_start, dtype=np.bool_)
    _check(actions, valid, rule)
    num_steps = len(valid)
    end = _run_ends(valid, _cut_mask(cuts, num_steps))
    start = np.flatnonzero(valid & can_start)
    stop = end[start]
    is_short = stop - start < rule.horizon
    short_stop = stop[is_short]
    num_at_end = int((short_stop == num_steps).sum())
    num_at_cut = int(valid[short_stop[short_stop < num_steps]].sum())
    is_dropped = is_short if rule.chunk_end is ChunkEnd.DROP else np.zeros_like(is_short)
    start, stop = start[~is_dropped], stop[~is_dropped]
    index = start[:, None] + np.arange(rule.horizon)
    is_pad = index >= stop[:, None]
    values = actions[np.minimum(index, stop[:, None] - 1)]
    for dim, number in enumerate(rule.rest):
        if number is not None:
            values[is_pad, dim] = number
    counts = ChunkCounts(
        num_steps=num_steps,
        num_chunks=len(start),
        num_invalid=int((~valid).sum()),
        num_without_reference=int((valid & ~can_start).sum()),
        num_ended_at_end=num_at_end,
        num_ended_at_invalid=len(short_stop) - num_at_end - num_at_cut,
        num_ended_at_cut=num_at_cut,
        num_dropped=int(is_dropped.sum()),
        num_padded_targets=int(is_pad.sum()),
    )
    return ActionChunks(start=start.astype(np.int64), values=values, is_pad=is_pad), counts


def _chunk_end(chunk_end: ChunkEnd | str) -> ChunkEnd:
    if chunk_end not in set(ChunkEnd):
        raise ExportError(f"chunk end is {str(chunk_end)!r}; must be pad or drop")
    return ChunkEnd(chunk_end)


def _check(actions: FloatArray, valid: BoolArray, rule: ChunkRule) -> None:
    if valid.ndim != 1 or actions.shape != (len(valid), len(rule.rest)):
        raise ExportError(f"actions are {list(actions.shape)}; must be [{len(valid)}, {len(rule.rest)}]")
    bad = ~np.isfinite(actions) & valid[:, None]
    if bad.any():
        step, dim = (int(i) for i in np.argwhere(bad)[0])
        raise ExportError(f"action[{step}, {dim}] is {actions[step, dim]} at a valid step; must be finite")


def _cut_mask(cuts: Sequence[int] | Int64Array, num_steps: int) -> BoolArray:
    places = np.asarray(cuts, dtype=np.int64)
    outside = (places < 0) | (places > num_steps)
    if outside.any():
        raise ExportError(f"a cut is at step {places[outside][0]}; must be 0 to {num_steps}")
    is_cut = np.zeros(num_steps, dtype=np.bool_)
    is_cut[places[places < num_steps]] = True
    return is_cut


def _run_ends(valid: BoolArray, is_cut: BoolArray) -> Int64Array:
    """First step after each that can't be in the same chunk, [T]."""
    num_steps = len(valid)
    breaks = np.where(~valid | is_cut, np.arange(num_steps), num_steps)
    following = np.append(breaks[1:], num_steps) if num_steps else breaks
    return np.minimum.accumulate(following[::-1])[::-1].astype(np.int64)
