"""What a camera of an episode looks like, in a few hundred bytes, and how episodes are compared by it.

An episode is compared with others one by one, and each of them that clearly looks alike has a voice: so a dataset of
many scenes is no trouble, for scenes that have nothing in common say nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..episode import Episode
from ._camera_motion import image_delay
from ._check import EpisodeFacts, Feature
from ._frames import CELLS, CameraScan, scan

__all__ = ["Batch", "Group", "batches", "distances", "groups_of", "pack", "unpack"]

FloatArray = NDArray[np.floating]
Records = NDArray[np.void]

MIN_PICTURES = 3
MOST_REFERENCES = 256
"""So many episodes of an embodiment, evenly chosen, are what each is compared with."""
BATCH = 128

RECORD = np.dtype(
    [
        ("camera", "S64"),
        ("is_seen", "u1"),
        ("layout", "u1", (CELLS, CELLS, 3)),
        ("sharpness", "<f4"),
        ("delay_ms", "<f4"),
        ("uncertainty_ms", "<f4"),
    ]
)
"""One camera: whether it shows something, median colours of 8 x 8 parts, how sharp it is, and how late it shows motion
(NaN where that is not known)."""


def pack(episode: Episode) -> NDArray[np.uint8] | None:
    """Signatures of an episode's cameras as bytes, [cameras, bytes]; None where it has no camera of the schema."""
    found = [_record(s) for s in scan(episode) if s.schema is not None]
    if not found:
        return None
    return np.array(found, dtype=RECORD).view(np.uint8).reshape(len(found), RECORD.itemsize)


def _record(scanned: CameraScan) -> tuple[object, ...]:
    blank = {p.index for p in scanned.blank()}
    pictures = [] if scanned.is_depth else [p for p in scanned.samples if p.index not in blank]
    is_seen = len(pictures) >= MIN_PICTURES
    layout = np.zeros((CELLS, CELLS, 3), np.float32)
    if is_seen:
        layout = np.median([p.cells for p in pictures], axis=0)
    changes = scanned.changes
    time = scanned.time_ns[changes.start : changes.start + len(changes.size) + 1]
    delay = image_delay(scanned.robot, time, changes.size)
    return (
        scanned.stream.name.encode(),
        is_seen,
        np.round(layout).astype(np.uint8),
        float(np.median([p.sharpness for p in pictures])) if is_seen else np.nan,
        np.nan if delay is None else delay.delay_ms,
        np.nan if delay is None else delay.uncertainty_ms,
    )


def unpack(packed: NDArray[np.generic] | None) -> Records | None:
    """What `pack` made; None where there is nothing, or something else."""
    if packed is None or packed.dtype != np.uint8 or packed.ndim != 2 or packed.shape[1] != RECORD.itemsize:
        return None
    return np.ascontiguousarray(packed).view(RECORD).reshape(-1)


@dataclass(slots=True, eq=False)
class Group:
    """Episodes of one embodiment, as many as are kept for comparing."""

    cameras: tuple[str, ...] = ()
    """Names, sorted."""
    ids: list[str] = field(default_factory=list)
    kept: list[Records] = field(default_factory=list)
    count: int = 0
    stride: int = 1
    _table: Records | None = None

    def add(self, episode_id: str, records: Records) -> None:
        """Keep every `stride`-th episode; where they become too many, every other one goes."""
        if self.count % self.stride == 0:
            self.ids.append(episode_id)
            self.kept.append(records)
            if len(self.kept) > 2 * MOST_REFERENCES:
                self.ids, self.kept, self.stride = self.ids[::2], self.kept[::2], 2 * self.stride
        self.count += 1

    @property
    def table(self) -> Records:
        """[episodes, cameras]; a camera that an episode lacks is empty."""
        if self._table is None:
            step = -(-len(self.kept) // MOST_REFERENCES)
            self.ids, self.kept = self.ids[::step], self.kept[::step]
            self.cameras = tuple(sorted({c.decode() for r in self.kept for c in r["camera"].tolist()}))
            self._table = self.lined_up(self.kept)
        return self._table

    def lined_up(self, many: Sequence[Records]) -> Records:
        """Records of episodes with each camera in its column, [episodes, cameras]."""
        table = np.zeros((len(many), len(self.cameras)), dtype=RECORD)
        for name in ("sharpness", "delay_ms", "uncertainty_ms"):
            table[name] = np.nan
        column = {c.encode(): i for i, c in enumerate(self.cameras)}
        for row, records in enumerate(many):
            for record in records:
                place = column.get(bytes(record["camera"]))
                if place is not None:
                    table[row, place] = record
        return table


def groups_of(facts: Sequence[EpisodeFacts], feature: Feature) -> dict[str, Group]:
    """One pass over all facts: what the episodes of each embodiment are compared with."""
    groups: dict[str, Group] = {}
    for fact in facts:
        records = unpack(feature.of(fact))
        if records is not None:
            groups.setdefault(fact.embodiment, Group()).add(fact.episode_id, records)
    return groups


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Some episodes of a group, to be judged together."""

    group: Group
    ids: tuple[str, ...]
    table: Records
    """[episodes, cameras]."""

    def is_other(self) -> NDArray[np.bool_]:
        """Whether a reference is another episode, [episodes, references]."""
        return np.asarray(np.array(self.ids)[:, None] != np.array(self.group.ids)[None, :], dtype=np.bool_)


def batches(facts: Sequence[EpisodeFacts], feature: Feature) -> Iterator[Batch]:
    """Two passes over all facts: episodes of the same embodiment together, a hundred at a time."""
    groups = groups_of(facts, feature)
    pending: dict[str, list[tuple[str, Records]]] = {}
    for fact in facts:
        records = unpack(feature.of(fact))
        if records is None:
            continue
        waiting = pending.setdefault(fact.embodiment, [])
        waiting.append((fact.episode_id, records))
        if len(waiting) == BATCH:
            yield _batch(groups[fact.embodiment], pending.pop(fact.embodiment))
    for name, waiting in pending.items():
        yield _batch(groups[name], waiting)


def _batch(group: Group, waiting: Sequence[tuple[str, Records]]) -> Batch:
    _ = group.table  # the cameras are known from here on
    return Batch(group=group, ids=tuple(i for i, _ in waiting), table=group.lined_up([r for _, r in waiting]))


def distances(first: FloatArray, second: FloatArray) -> FloatArray:
    """Root mean square difference of each row of one to each row of the other, [N, P] and [M, P] give [N, M]."""
    squares = np.square(first).sum(axis=1)[:, None] + np.square(second).sum(axis=1)[None, :] - 2 * first @ second.T
    return np.asarray(np.sqrt(np.maximum(squares, 0) / max(first.shape[1], 1)))
