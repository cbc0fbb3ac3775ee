"""Episodes are synchronized anew, out of the streams that they hold: at another rate, with other clocks or offsets.

The original recordings are not needed. Corrections in the edit log go along: they are keyed by recording and time.
"""

import contextlib
import dataclasses
import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from . import workers
from .commit import Committed, Target, commit
from .conversion import Converted, Line
from .documents import parse
from .embodiment import Embodiment
from .episode import Episode
from .errors import DatasetError, EpisodeFormatError, SchemaError, SyncError
from .gate import inside
from .mapping import Mapping as StreamMappings
from .recording import AnyStream, Recording, SourceFile
from .store.catalog import Entry
from .store.dataset import Dataset
from .store.dataset_writer import writing
from .store.edits import copy_log
from .store.reader import read_episode
from .sync.derive import derived_notes
from .sync.timing import LABELS_MOVED

__all__ = ["ResyncOptions", "ResyncResult", "resync"]


AT_SYNCHRONIZATION = frozenset({"sync", "offset_ns", "latency_ns", "latency_uncertainty_ns", "correct"})
"""What a stream's mapping says of synchronization; all else was decided when the recording was read."""


def _quiet(done: int, total: int, name: str) -> None:
    """No progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResyncUnit:
    """One episode to synchronize anew."""

    source: Path
    """The dataset that holds it."""
    entry: Entry
    embodiment: Embodiment | None
    """Goes before the episode's own."""
    mapping: StreamMappings | None
    """Goes before the one that the episode was made with."""
    folder: Path
    """The new dataset."""
    recordings: frozenset[str]
    """Ids of the recordings that the new dataset has already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResyncOptions:
    """What is to change; None keeps what each episode was made with."""

    embodiment: Embodiment | None = None
    mapping: StreamMappings | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResyncResult:
    """What was done."""

    committed: tuple[Committed, ...]
    rejected: tuple[tuple[str, str], ...]
    """Place and reason of the episodes that could not be synchronized."""


def resync(
    dataset: Dataset,
    folder: Path,
    options: ResyncOptions,
    *,
    num_workers: int = 1,
    progress: Callable[[int, int, str], None] = _quiet,
) -> ResyncResult:
    """Synchronize all episodes of a dataset anew, into another dataset; run again, it does only what is missing.

    Args:
        dataset: Stays as it is.
        folder: The new dataset; made where it does not exist.
        options: What is to change.
        num_workers: Processes; 0 works in this one.
        progress: Called after each episode with how many are done, of how many, and its place.

    Raises:
        DatasetError: The folder is the dataset itself, no dataset, or is being written.
    """
    if folder.resolve() == dataset.path.resolve():
        raise DatasetError(f"{folder}: is the dataset itself; episodes never change, name another folder")
    committed: dict[int, Committed] = {}
    rejected: list[tuple[str, str]] = []
    with writing(folder) as writer:
        there = writer.entries
        known = frozenset(e.recording_id for e in there.values())
        units = [
            ResyncUnit(
                source=dataset.path,
                entry=entry,
                embodiment=options.embodiment,
                mapping=options.mapping,
                folder=folder,
                recordings=known,
            )
            for entry in dataset.all_entries
        ]
        with contextlib.closing(workers.run(_resync_unit, units, workers=num_workers)) as outcomes:
            for done, outcome in enumerate(outcomes, start=1):
                place = units[outcome.index].entry.place
                if isinstance(outcome, workers.Failed):
                    if outcome.kind == "disk":
                        raise OSError(errno.ENOSPC, outcome.reason, str(folder))
                    rejected.append((place, outcome.reason))
                else:
                    item = outcome.result
                    committed[outcome.index] = item = dataclasses.replace(
                        item, is_new=item.entry.episode_id not in there
                    )
                    if item.is_new:
                        there[item.entry.episode_id] = item.entry
                        writer.committed(item.entry)
                progress(done, len(units), place)
        writer.reject([{"input": dataset.path.name, "place": p, "reason": r} for p, r in sorted(rejected)])
        copy_log(dataset.path, folder)
    return ResyncResult(committed=tuple(committed[i] for i in sorted(committed)), rejected=tuple(sorted(rejected)))


def _resync_unit(unit: ResyncUnit) -> Committed:
    """Read one episode and commit it, synchronized anew; runs in a worker.

    Raises:
        SchemaError: The mapping is for another source, or does not fit the embodiment.
        SyncError: The streams can't be aligned as asked. Also EpisodeFormatError, DatasetError, OSError.
    """
    path = inside(unit.source, unit.entry.file)
    episode = read_episode(path)
    facts = _Facts(episode, path.name)
    embodiment = unit.embodiment or episode.embodiment
    mapping = unit.mapping or facts.mapping
    if mapping.source != facts.source:
        raise SchemaError(f"{unit.entry.place} came from {facts.source}; the mapping is for {mapping.source}")
    mapping.check(embodiment, unit.entry.place)
    _refuse_other_reading(facts.mapping, mapping, unit.entry.place)
    _refuse_other_signals(episode, embodiment, unit.entry.place)
    target = Target(embodiment=embodiment, mapping=mapping, folder=unit.folder, recordings=unit.recordings)
    converted = Converted(recording=facts.recording(embodiment, mapping), lines=facts.lines)
    return commit(converted, target, facts.labels)


def _refuse_other_reading(own: StreamMappings, wanted: StreamMappings, place: str) -> None:
    """What was decided when the recording was read can't be decided again: the episode does not hold the rest of it."""
    again = "ingest the recording again to change that"
    for key in ("instruction", "subtask", "outcome", "on_backward_time", "split", "options"):
        if getattr(own, key) != getattr(wanted, key):
            raise SchemaError(f"{place}: {key} differs from the mapping that the episode was made with; {again}")
    for name, stream in wanted.streams.items():
        if name not in own.streams:
            raise SchemaError(f"{place}: {name} was not mapped when the episode was made; {again}")
        before, after = own.streams[name].model_dump(), stream.model_dump()
        changed = [k for k in after if k not in AT_SYNCHRONIZATION and before[k] != after[k]]
        if changed:
            raise SchemaError(
                f"{place}: streams.{name}.{changed[0]} differs from the mapping that the episode was made with; {again}"
            )


def _refuse_other_signals(episode: Episode, embodiment: Embodiment, place: str) -> None:
    """Values lie in the order and units of the schema that the episode was made with."""
    for signal in embodiment.signals:
        own = next((s for s in episode.embodiment.signals if s.name == signal.name), None)
        if own is None or signal.name not in episode.streams:
            continue
        wanted = [(d.name, d.kind, d.unit) for d in signal.dimensions]
        if wanted != [(d.name, d.kind, d.unit) for d in own.dimensions]:
            raise SchemaError(
                f"{place}: {signal.name} has other dimensions or units in the episode than in {embodiment.name}; "
                "ingest the recording again with the new schema"
            )


class _Facts:
    """What an episode's provenance tells of the recording."""

    def __init__(self, episode: Episode, name: str) -> None:
        self._episode, self._name = episode, name
        self._provenance = episode.provenance
        self.source = self._text("source")
        self.place = self._text("place")
        self.mapping = parse(StreamMappings, self._provenance.get("mapping"), f"{name}: mapping")
        self.labels = {str(k): str(v) for k, v in self._table("labels_given").items()}
        self.lines = {
            signal: {dimension: self._line(line) for dimension, line in lines.items()}
            for signal, lines in self._table("conversions").items()
            if isinstance(lines, dict)
        }

    def _text(self, key: str) -> str:
        value = self._provenance.get(key)
        if not isinstance(value, str):
            raise EpisodeFormatError(f"{self._name}: /provenance has no {key}")
        return value

    def _table(self, key: str) -> Mapping[str, object]:
        value = self._provenance.get(key, {})
        if not isinstance(value, dict):
            raise EpisodeFormatError(f"{self._name}: {key} in /provenance must be an object")
        return value

    def _line(self, line: object) -> Line:
        try:
            return Line(**line)  # type: ignore[arg-type]  # what is no table of its fields is an error
        except TypeError as error:
            raise EpisodeFormatError(f"{self._name}: a conversion in /provenance is no line") from error

    def _files(self) -> tuple[SourceFile, ...]:
        listed = self._provenance.get("files")
        try:
            return tuple(SourceFile(**file) for file in (listed if isinstance(listed, list) else []))
        except TypeError as error:
            raise EpisodeFormatError(f"{self._name}: a file in /provenance lacks name, size or sha256") from error

    def _notes(self) -> tuple[str, ...]:
        listed = self._provenance.get("notes")
        made = set(derived_notes(self.mapping))  # they are written anew
        return tuple(str(n) for n in (listed if isinstance(listed, list) else []) if n not in made)

    def _policy(self) -> Mapping[str, object]:
        policy = self._table("sync").get("policy")
        return policy if isinstance(policy, dict) else {}

    def recording(self, embodiment: Embodiment, mapping: StreamMappings) -> Recording:
        """The recording as its source gave it, in the schema's units."""
        self._refuse_moved_labels()
        episode = self._episode
        wanted = [n for n in embodiment.stream_names if n in mapping.streams and n in episode.streams]
        return Recording(
            recording_id=episode.recording_id,
            source=self.source,
            place=self.place,
            files=self._files(),
            streams={n: self._stream(n) for n in wanted},
            is_stepped=self._provenance.get("is_stepped", self._policy().get("step_clock") == "rows") is True,
            instructions=episode.instructions,
            outcomes=episode.outcomes,
            metadata={k: v for k, v in episode.metadata.items() if k not in self.labels},
            notes=self._notes(),
        )

    def _stream(self, name: str) -> AnyStream:
        timing = self._table("timing").get(name)
        choice = timing.get("clock_choice") if isinstance(timing, dict) else ""
        return dataclasses.replace(self._episode.streams[name], clock_choice=str(choice or ""))

    def _refuse_moved_labels(self) -> None:
        """Labels that went onto another clock at ingest don't say where they came from."""
        if any(note.startswith(LABELS_MOVED) for note in self._notes()):
            raise SyncError(
                f"{self.place}: {LABELS_MOVED} clock at ingest; ingest the recording again to synchronize it anew"
            )
