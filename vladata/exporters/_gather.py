"""The first look at every episode: how many rows, how many bytes, which targets; nothing of an image is decoded."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..actions.chunks import ChunkCounts
from ..episode import Episode
from ..errors import ExportError
from ..gate import inside
from ..recording import FrameStream
from ..store.catalog import Entry
from ..store.edits import Edit, apply_edits
from ..store.reader import read_episode
from ._options import ImageOptions
from ._rows import EpisodeRows, Layout, rows_of

__all__ = ["CameraUse", "EpisodeSource", "GatherUnit", "Gathered", "gather", "stream_of"]

PASS_THROUGH = frozenset({"jpeg", "png"})
"""Codecs whose frames are images that every reader of the export decodes."""
AGE_UNIT_NS = 100_000
"""Ages of samples are counted in tenths of a millisecond."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeSource:
    """An episode that any process can read, with its edits."""

    folder: Path
    """The dataset."""
    entry: Entry
    edits: tuple[Edit, ...] = ()

    def read(self, *, is_gated: bool = False) -> Episode:
        """Read the episode, edits applied.

        Args:
            is_gated: The file went through the gate before, in the same run.

        Raises:
            EpisodeFormatError: The file is damaged.
        """
        path = inside(self.folder, self.entry.file)
        return apply_edits(read_episode(path, is_trusted=is_gated), self.edits)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatherUnit:
    """One episode to look at."""

    source: EpisodeSource
    layout: Layout
    images: ImageOptions
    wants_targets: bool
    """True in the split that statistics are made of."""
    is_gated: bool = False
    """The file went through the gate before, in the same run."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CameraUse:
    """What an export takes from one camera of one episode."""

    codec: str
    is_rendered: bool
    """True where frames are decoded and encoded anew."""
    frames: NDArray[np.int32]
    """Indices of the frames that rows show, increasing, each once; empty where they are passed through."""
    sizes: NDArray[np.int64]
    """Bytes of these frames as stored."""
    num_bytes: int
    """Bytes that all rows show, as stored."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gathered:
    """What the export knows of an episode before it writes."""

    num_rows: int
    refused: Mapping[str, int]
    counts: ChunkCounts
    cameras: Mapping[str, CameraUse]
    targets: NDArray[np.float64] | None
    """Targets of the rows that are not padded, [M, D]."""
    state: NDArray[np.float32] | None
    """[R, S]."""
    tasks: Mapping[str, int]
    """Rows by task."""
    num_subtask_rows: int
    idle: Mapping[str, int] | None
    """Steps that are no rows only because nothing moves there, by task; None where that was not asked or not known."""
    ages: Mapping[str, tuple[NDArray[np.int64], NDArray[np.int64]]]
    """By stream: ages in tenths of a millisecond, and how many steps have each; empty where no time was measured."""
    source_files: tuple[Mapping[str, object], ...]
    """Name, size and sha256 of what the episode was made from."""
    notes: tuple[str, ...]
    """What the source did or left out."""
    facts: Mapping[str, str]
    """What the recording says of itself and the card repeats: its licence."""


def must_render(episode: Episode, stream: FrameStream, images: ImageOptions) -> bool:
    """Whether a camera's frames can't go into a shard as they are stored."""
    is_swapped = episode.embodiment.camera(stream.name).color_order == "bgr"
    return images.size is not None or stream.codec not in PASS_THROUGH or is_swapped


def stream_of(episode: Episode, camera: str) -> FrameStream:
    """A camera's stream.

    Raises:
        ExportError: The name is that of a signal.
    """
    stream = episode.streams[camera]
    if not isinstance(stream, FrameStream):
        raise ExportError(f"{episode.episode_id}: {camera} holds numbers; it must be a camera")
    return stream


def gather(unit: GatherUnit) -> Gathered:
    """Look at one episode; runs in a worker.

    Raises:
        EpisodeFormatError: The file is damaged.
        ExportError: A step names a frame that is not there.
    """
    episode = unit.source.read(is_gated=unit.is_gated)
    rows = rows_of(episode, unit.layout)
    tasks: dict[str, int] = {}
    for task in rows.tasks:
        tasks[task] = tasks.get(task, 0) + 1
    return Gathered(
        num_rows=len(rows),
        refused=rows.refused,
        counts=rows.counts,
        cameras={c.name: _use(episode, c.name, rows, unit.images) for c in unit.layout.cameras if len(rows)},
        targets=rows.chunks[~rows.is_pad] if unit.wants_targets else None,
        state=rows.state if unit.wants_targets else None,
        tasks=tasks,
        num_subtask_rows=sum(bool(s) for s in rows.subtasks),
        idle=rows.idle,
        ages=_ages(episode, unit.layout),
        source_files=tuple(_source_files(episode)),
        notes=tuple(_texts(episode.provenance.get("notes"))),
        facts={k: v for k, v in episode.metadata.items() if k in {"licence", "license"}},
    )


def _use(episode: Episode, camera: str, rows: EpisodeRows, images: ImageOptions) -> CameraUse:
    stream = stream_of(episode, camera)
    shown = rows.frames[camera]
    if len(shown) and int(shown.max()) >= stream.num_frames:
        raise ExportError(
            f"{episode.episode_id}: a step shows frame {int(shown.max())} of {camera}; there are {stream.num_frames}"
        )
    is_rendered = must_render(episode, stream, images)
    # Packets of a video lie in decode order: their sizes say nothing about single frames.
    sizes = stream.frames.sizes if stream.video is None else np.zeros(stream.num_frames, dtype=np.int64)
    frames = np.unique(shown) if is_rendered else np.zeros(0, dtype=np.int32)
    return CameraUse(
        codec=stream.codec,
        is_rendered=is_rendered,
        frames=frames,
        sizes=sizes[frames],
        num_bytes=int(sizes[shown].sum()),
    )


def _ages(episode: Episode, layout: Layout) -> dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Ages of the samples that count, by stream; none where the source's rows were steps already."""
    sync = episode.provenance.get("sync")
    policy = sync.get("policy") if isinstance(sync, dict) else None
    if not isinstance(policy, dict) or policy.get("step_clock") in {None, "rows"}:
        return {}
    names = [s.name for s in (*layout.state, *layout.action)] + [c.name for c in layout.cameras]
    found = {}
    for name in names:
        if name in episode.steps.age_ns:
            age = episode.steps.age_ns[name][episode.steps.valid[name]]
            found[name] = np.unique(np.abs(age) // AGE_UNIT_NS, return_counts=True)
    return found


def _source_files(episode: Episode) -> list[dict[str, object]]:
    files = episode.provenance.get("files")
    keys = ("name", "size", "sha256")
    return [{k: f.get(k) for k in keys} for f in files if isinstance(f, dict)] if isinstance(files, list) else []


def _texts(value: object) -> list[str]:
    return [str(v) for v in value] if isinstance(value, list) else []
