"""From an episode to rows: which steps count, which are refused and why, and the numbers of those that count."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..actions.chunks import ChunkCounts, ChunkEnd, ChunkRule
from ..actions.representation import Representation, stack_signals
from ..embodiment import Camera, Embodiment, Signal
from ..episode import Episode, Steps
from ..errors import ExportError
from ..units import Mode
from ._idle import REASON as IDLE
from ._idle import IdleRule, idle_steps
from ._options import ExportOptions
from ._zones import cuts_of, zones

__all__ = ["EpisodeRows", "Layout", "observation_of", "rows_of"]

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What the columns are made of."""

    embodiment: Embodiment
    state: tuple[Signal, ...]
    """Side by side in `observation.state`."""
    action: tuple[Signal, ...]
    """Side by side in `action`."""
    cameras: tuple[Camera, ...]
    representation: Representation
    rule: ChunkRule
    cross: tuple[str, ...] = ()
    """Of `CROSSABLE`, what chunks may cross and rows may lie in."""
    idle: IdleRule | None = None
    """Steps that are no rows, for nothing moves there; None: they are."""

    @classmethod
    def build(cls, embodiment: Embodiment, options: ExportOptions) -> Self:
        """Choose signals and cameras of an embodiment.

        Raises:
            ExportError: There is none of a name, no action, or an image can't be resized.
            SchemaError: The representation can't be made of this embodiment's actions.
        """
        cameras = _chosen(embodiment.cameras, options.cameras, "camera")
        action = _chosen(embodiment.action, options.action, "action signal")
        if not action:
            raise ExportError(f"{embodiment.name} has no action; an export needs at least one")
        for camera in cameras:
            if camera.depth is not None and options.image_size is not None:
                raise ExportError(
                    f"camera {camera.name} holds depth, which can't be resized as an image; "
                    "choose other cameras or pass images through"
                )
        target = None if options.representation == "recorded" else Mode(options.representation)
        return cls(
            embodiment=embodiment,
            state=_chosen(embodiment.proprioception, options.proprioception, "proprioception signal"),
            action=action,
            cameras=cameras,
            representation=Representation.build(action, embodiment.proprioception, target),
            rule=ChunkRule(horizon=options.horizon or 1, chunk_end=ChunkEnd(options.chunk_end)),
            cross=options.cross,
            idle=None if options.idle is None else IdleRule.build(options.idle, embodiment),
        )

    @property
    def state_names(self) -> tuple[str, ...]:
        """`signal.dimension` of each number of the state."""
        return tuple(f"{s.name}.{n}" for s in self.state for n in s.names)


_Named = TypeVar("_Named", Signal, Camera)


def _chosen(offered: Sequence[_Named], names: tuple[str, ...] | None, what: str) -> tuple[_Named, ...]:
    if names is None:
        return tuple(offered)
    by_name = {o.name: o for o in offered}
    unknown = [n for n in names if n not in by_name]
    if unknown:
        raise ExportError(f"no {what} {unknown[0]!r}; there are {', '.join(by_name) or 'none'}")
    # The schema's order, so that equal choices give equal columns.
    return tuple(o for o in offered if o.name in set(names))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EpisodeRows:
    """The rows of an episode, [R]."""

    step: NDArray[np.int64]
    """Step of each row, increasing."""
    timestamp: NDArray[np.float64]
    """Seconds from the episode's first step."""
    state: NDArray[np.float32]
    """[R, S]."""
    action: NDArray[np.float32]
    """As recorded, [R, D]."""
    chunks: NDArray[np.float64]
    """As learned, in physical units, [R, H, D]."""
    is_pad: BoolArray
    """[R, H]."""
    frames: dict[str, NDArray[np.int32]]
    """Index of the stored frame by camera, [R]."""
    tasks: list[str]
    subtasks: list[str]
    refused: dict[str, int] = field(default_factory=dict)
    """Steps that are no rows, by the first reason that applies."""
    idle: dict[str, int] | None = None
    """Steps that are no rows only because nothing moves there, by task; None where that was not asked or can't be said.
    """
    counts: ChunkCounts = field(default_factory=ChunkCounts)

    def __len__(self) -> int:
        """R."""
        return len(self.step)


def rows_of(episode: Episode, layout: Layout) -> EpisodeRows:
    """Make the rows of an episode.

    A step is a row where its state, its action and all images are there, valid and finite, and a chunk begins; NaN
    never becomes a token.
    """
    steps = episode.steps
    kept = np.ones(len(steps), dtype=np.bool_)
    refused: dict[str, int] = {}

    def refuse(bad: BoolArray, reason: str) -> None:
        count = int((kept & bad).sum())
        if count:
            refused[reason] = refused.get(reason, 0) + count
            kept[bad] = False

    action, action_valid = _vector(steps, steps.action, layout.action)
    refuse(~action_valid, "the action is not valid")
    refuse(~_is_finite(action), "the action is not finite")
    state, state_valid = _vector(steps, steps.proprioception, layout.state)
    refuse(~state_valid, "the state is not valid")
    refuse(~_is_finite(state), "the state is not finite")
    for camera in layout.cameras:
        refuse(_has_no_image(steps, camera.name), f"no image of {camera.name}")
    own_zones = zones(episode, layout.cross)
    for zone in own_zones:
        refuse(_between(len(steps), zone.start, zone.stop), zone.reason)
    cuts = cuts_of(episode, own_zones, layout.cross)
    chunks, counts = layout.representation.chunk(action, _reference(steps, layout), action_valid, layout.rule, cuts)
    begins = np.zeros(len(steps), dtype=np.bool_)
    begins[chunks.start] = True
    if layout.rule.chunk_end is ChunkEnd.DROP:
        is_whole = action_valid & _is_finite(action)
        is_short = _is_short(is_whole, layout.rule.horizon, cuts)
        refuse(~begins & is_short, "the chunk is shorter than the horizon")
    refuse(~begins, "the observation that the action is relative to is not finite")
    idle = None if layout.idle is None else idle_steps(episode, layout.idle)
    would_be = kept.copy()
    for part, mask in (idle or {}).items():
        refuse(mask, IDLE.format(part))
    row = np.flatnonzero(kept)
    chosen = np.flatnonzero(kept[chunks.start])
    time_ns = steps.time_ns
    tasks, subtasks = _texts(episode, row)
    return EpisodeRows(
        step=row.astype(np.int64),
        timestamp=(time_ns[row] - time_ns[0]) / 1e9 if len(row) else np.zeros(0),
        state=state[row].astype(np.float32),
        action=action[row].astype(np.float32),
        # Rounded to what the column stores, so that everything else can be made again from the column.
        chunks=chunks.values[chosen].astype(np.float32).astype(np.float64),
        is_pad=chunks.is_pad[chosen],
        frames={c.name: steps.images[c.name][row] for c in layout.cameras if len(row)},
        tasks=tasks,
        subtasks=subtasks,
        refused=refused,
        idle=None if idle is None else dict(Counter(_texts(episode, np.flatnonzero(would_be & ~kept))[0])),
        counts=counts,
    )


def observation_of(steps: Steps, layout: Layout) -> tuple[BoolArray, BoolArray]:
    """Where the state is there, valid and finite, and where every camera shows an image, [T] each."""
    state, is_valid = _vector(steps, steps.proprioception, layout.state)
    is_shown = np.ones(len(steps), dtype=np.bool_)
    for camera in layout.cameras:
        is_shown &= ~_has_no_image(steps, camera.name)
    return is_valid & _is_finite(state), is_shown


def _between(count: int, start: int, stop: int) -> BoolArray:
    mask = np.zeros(count, dtype=np.bool_)
    mask[start:stop] = True
    return mask


def _vector(
    steps: Steps, values: Mapping[str, NDArray[np.float32]], signals: Sequence[Signal]
) -> tuple[NDArray[np.float64], BoolArray]:
    """Signals side by side, [T, D], and where all of them count, [T]; NaN where an episode lacks a signal."""
    count = len(steps)
    valid = np.ones(count, dtype=np.bool_)
    parts = {}
    for signal in signals:
        if signal.name in values:
            parts[signal.name] = values[signal.name]
            if signal.name in steps.valid:
                valid &= steps.valid[signal.name].astype(np.bool_)
        else:
            parts[signal.name] = np.full((count, len(signal.dimensions)), np.nan, dtype=np.float32)
            valid[:] = False
    return stack_signals(signals, parts) if signals else np.zeros((count, 0)), valid


def _reference(steps: Steps, layout: Layout) -> NDArray[np.float64] | None:
    """All observations, NaN where one does not count; None where no action is relative to them."""
    if not layout.representation.needs_state:
        return None
    parts = []
    for signal in layout.embodiment.proprioception:
        values, valid = _vector(steps, steps.proprioception, [signal])
        parts.append(np.where(valid[:, None], values, np.nan))
    return np.concatenate(parts, axis=1)


def _has_no_image(steps: Steps, camera: str) -> BoolArray:
    if camera not in steps.images:
        return np.ones(len(steps), dtype=np.bool_)
    has_frame = steps.images[camera] >= 0
    return ~np.asarray(has_frame & steps.valid.get(camera, True), dtype=np.bool_)


def _is_finite(values: NDArray[np.float64]) -> BoolArray:
    return np.asarray(np.isfinite(values).all(axis=1), dtype=np.bool_)


def _is_short(is_whole: BoolArray, horizon: int, cuts: NDArray[np.int64]) -> BoolArray:
    """True at steps from which on fewer than H targets follow without a break or a cut."""
    before = np.concatenate([[0], np.cumsum(is_whole)])
    ends = np.minimum(np.arange(len(is_whole)) + horizon, len(is_whole))
    edges = np.append(cuts[cuts < len(is_whole)], len(is_whole))
    ends = np.minimum(ends, edges[np.searchsorted(edges, np.arange(len(is_whole)), side="right")])
    short: BoolArray = before[ends] - before[:-1] < horizon
    return short


def _texts(episode: Episode, rows: NDArray[np.int64]) -> tuple[list[str], list[str]]:
    """Task and subtask of each row; empty where nobody said."""
    if not any(i.time_ns is not None for i in episode.instructions):
        task = next(iter(episode.texts_at(0, "task")), "")
        subtask = next(iter(episode.texts_at(0, "subtask")), "")
        return [task] * len(rows), [subtask] * len(rows)
    times = episode.steps.time_ns[rows].tolist()
    tasks = [next(iter(episode.texts_at(t, "task")), "") for t in times]
    return tasks, [next(iter(episode.texts_at(t, "subtask")), "") for t in times]
