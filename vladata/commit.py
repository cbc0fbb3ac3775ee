"""A recording becomes a committed episode: on one clock, with its provenance, whole or absent."""

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .conversion import Converted
from .documents import canonical_json
from .embodiment import Embodiment
from .errors import DatasetError
from .labels import labelled
from .mapping import Mapping as StreamMappings
from .recording import Recording
from .store.catalog import Entry, entry_of
from .store.dataset import hash_file
from .store.dataset_writer import episode_file
from .store.layout import FORMAT_VERSION
from .store.reader import read_episode
from .store.writer import EpisodeDraft, write_episode
from .sync.align import Synchronized, synchronize
from .sync.derive import derived_notes
from .sync.timing import as_json, labels_on_steps

__all__ = ["Committed", "Target", "commit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a recording goes."""

    embodiment: Embodiment
    mapping: StreamMappings
    folder: Path
    """The dataset."""
    recordings: frozenset[str]
    """Ids of the recordings that the dataset has already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """An episode that is in the dataset."""

    entry: Entry
    is_new: bool
    """False where it was there before."""
    is_lossy: bool = False
    notes: tuple[str, ...] = ()
    skew_ms: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    """p50, p95 and largest age of each stream's samples at the steps."""


def commit(converted: Converted, target: Target, given: Mapping[str, str]) -> Committed:
    """Synchronize a recording and commit its episode; run again, it finds the episode there.

    Args:
        converted: The recording in the schema's units.
        target: Where it goes.
        given: Labels given by hand.

    Raises:
        SyncError: The streams can't be aligned. Also DatasetError, EpisodeFormatError, OSError.
    """
    recording = dataclasses.replace(
        converted.recording, notes=(*converted.recording.notes, *derived_notes(target.mapping))
    )
    recording = labels_on_steps(recording, target.mapping)
    converted = dataclasses.replace(converted, recording=recording)
    synchronized = synchronize(recording, target.embodiment, target.mapping)
    episode_id = _episode_id(recording, target, synchronized, given)
    name = episode_file(episode_id)
    path = target.folder / name
    if not path.exists():
        if recording.recording_id in target.recordings:
            raise DatasetError(
                f"{recording.place}: already in the dataset with another schema, mapping or labels; "
                "correct it with vladata edit, or ingest into a new dataset"
            )
        size, sha256 = write_episode(path, _draft(converted, target, synchronized, episode_id, given))
        is_new = True
    else:
        size, sha256 = hash_file(path)
        is_new = False
    episode = read_episode(path, is_trusted=True)
    return Committed(
        entry=entry_of(episode, file=name, num_bytes=size, sha256=sha256),
        is_new=is_new,
        is_lossy=recording.is_lossy,
        notes=recording.notes,
        skew_ms=_skew(synchronized),
    )


def _skew(synchronized: Synchronized) -> dict[str, tuple[float, float, float]]:
    import numpy as np

    steps, result = synchronized.steps, {}
    for name, age in steps.age_ns.items():
        counted = age[steps.valid[name]] / 1e6
        if len(counted):
            p50, p95 = np.percentile(counted, [50, 95])
            result[name] = (float(p50), float(p95), float(counted.max()))
    return result


def _episode_id(recording: Recording, target: Target, synchronized: Synchronized, given: Mapping[str, str]) -> str:
    parts = (
        f"episode {FORMAT_VERSION}",
        recording.recording_id,
        target.embodiment.digest,
        target.mapping.digest,
        canonical_json(synchronized.policy),
        canonical_json(dict(given)),
    )
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _draft(
    converted: Converted, target: Target, synchronized: Synchronized, episode_id: str, given: Mapping[str, str]
) -> EpisodeDraft:
    recording = converted.recording
    instructions, outcomes, extra = labelled(given, recording.instructions, recording.outcomes)
    provenance = {
        "source": recording.source,
        "place": recording.place,
        "files": [dataclasses.asdict(f) for f in recording.files],
        "mapping": target.mapping.model_dump(mode="json", by_alias=True, exclude_defaults=True),
        "mapping_digest": target.mapping.digest,
        "is_stepped": recording.is_stepped,
        "sync": {"policy": synchronized.policy, "counts": synchronized.counts},
        "timing": as_json(recording, target.mapping, synchronized.policy),
        "notes": list(recording.notes),
        "labels_given": dict(given),
    }
    if converted.lines:
        provenance["conversions"] = converted.as_json()
    return EpisodeDraft(
        episode_id=episode_id,
        recording_id=recording.recording_id,
        embodiment=target.embodiment,
        streams=recording.streams,
        steps=synchronized.steps,
        instructions=instructions,
        outcomes=outcomes,
        metadata={**recording.metadata, **extra},
        provenance=provenance,
    )
