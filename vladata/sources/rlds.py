"""RLDS datasets as TFDS writes them: TFRecord shards of `tf.train.Example`, described by features.json.

Read without TensorFlow. Steps pass through one by one; images keep their bytes. No times are recorded, so stamps are
step / rate of the embodiment, on a nominal clock. Source: Ramos et al., RLDS, arXiv:2111.02767.
"""

import hashlib
from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import workers
from ..errors import SourceError, VladataError
from ..mapping import LabelMapping, OutcomeMapping, StreamMapping
from ..recording import AnyStream, FrameStream, Instruction, Outcome, Recording, SourceFile, Stream
from ..text import clip, printable
from ..units import Clock
from . import Inspection, Place, Request, StreamInfo
from ._join import join_columns, recording_id
from ._rlds_record import EpisodeRecord
from ._row_labels import as_text, row_instructions, row_outcome
from ._tfds import Dataset, FeatureInfo, Shard, find_version, open_dataset, read_features
from ._tfrecord import RecordSpan, read_record, walk

__all__ = ["IS_GENERAL", "SUFFIXES", "can_read", "inspect", "places", "read"]

SUFFIXES: tuple[str, ...] = (".tfrecord",)
IS_GENERAL = False

_MISSING = "missing"
_FLAGS = ("is_first", "is_last", "is_terminal")

Int64Array = NDArray[np.int64]


def can_read(path: Path) -> bool:
    """Tell whether a path is an RLDS dataset: its version folder, a folder with nothing else in it, or a shard."""
    try:
        return find_version(path) is not None
    except OSError:
        return False


def places(path: Path) -> list[Place]:
    """List the episodes: records of the shards, `<shard file>#<record>`, found by their lengths alone.

    A record that is damaged or missing is listed too, and reading it says what is wrong; so the rest can be read.

    Raises:
        SourceError: The path is no RLDS dataset, or it has no shards.
        GateError: A file leaves the dataset's folder.
    """
    dataset = open_dataset(path)
    found: list[Place] = []
    for shard in dataset.shards:
        workers.beat()
        with shard.path.open("rb") as file:
            spans = list(walk(file))
        found += [Place(name=_place(shard, s.index), size=s.size) for s in spans]
        if len(spans) < (shard.declared or 0) and not (spans and spans[-1].problem):
            found.append(Place(name=_place(shard, len(spans))))
    found += [Place(name=f"{dataset.name}-{split}#{_MISSING}") for split in dataset.missing]
    if not found:
        raise SourceError(f"{path.name}: no records")
    return found


def _place(shard: Shard, index: int) -> str:
    return f"{shard.name}#{index:05d}"


def read(path: Path, place: Place, request: Request) -> Iterator[Recording]:
    """Read one episode.

    Raises:
        SourceError: Damaged or missing data, with file, record and byte; or a mapping that does not fit.
        GateError: A file leaves the dataset's folder.
    """
    dataset = open_dataset(path)
    shard, record = _record(dataset, place)
    where = f"{shard.name}: record {place.name.rpartition('#')[2]}"
    features = read_features(dataset.folder)
    episode = EpisodeRecord(record, features, where)
    digest = hashlib.sha256(record).hexdigest()
    reader = _EpisodeReader(episode, request, where)
    streams = reader.streams()
    instructions, outcomes = reader.labels()
    yield Recording(
        recording_id=recording_id("rlds", place.name, [digest]),
        source="rlds",
        place=place.name,
        files=(SourceFile(name=place.name, size=len(record), sha256=digest),),
        streams=streams,
        is_stepped=True,
        instructions=instructions,
        outcomes=outcomes,
        metadata={
            k: v for k, v in (("dataset", dataset.name), ("version", dataset.version), ("split", shard.split)) if v
        },
        notes=(*reader.notes, *_record_notes(episode, features, reader.used)),
    )


def _record(dataset: Dataset, place: Place) -> tuple[Shard, bytes]:
    """The bytes of a record, checked."""
    name, _, number = place.name.rpartition("#")
    if number == _MISSING:
        split = name.removeprefix(f"{dataset.name}-")
        raise SourceError(f"{name}: {dataset.missing.get(split, 'is there')}")
    shard = next((s for s in dataset.shards if s.name == name), None)
    if shard is None or not number.isdecimal():
        raise SourceError(f"{printable(place.name)}: no such record in {dataset.folder.name}")
    with shard.path.open("rb") as file:
        span: RecordSpan | None = None
        for span in walk(file):
            if span.index == int(number):
                return shard, read_record(file, span, name)
    count = 0 if span is None else span.index + 1
    if shard.declared is not None and int(number) < shard.declared:
        raise SourceError(f"{name}: ends after {count} records; dataset_info.json declares {shard.declared}")
    raise SourceError(f"{name}: no record {int(number)}; there are {count}")


class _EpisodeReader:
    """Turns the mapped features of one episode into streams and labels."""

    def __init__(self, episode: EpisodeRecord, request: Request, where: str) -> None:
        self._episode = episode
        self._request = request
        self._where = where
        self._time_ns: Int64Array | None = None
        self._first = ""
        rate = request.embodiment.rate_hz
        self.notes = [f"no times are recorded: stamps are step / {rate:g} Hz, the rate of {request.embodiment.name}"]
        self.used: set[str] = set()

    def streams(self) -> dict[str, AnyStream]:
        """The mapped streams, by name in the embodiment."""
        embodiment = self._request.embodiment
        cameras = {c.name for c in embodiment.cameras}
        found: dict[str, AnyStream] = {}
        for name, mapping in self._request.mapping.streams.items():
            workers.beat()
            if mapping.field is not None:
                raise SourceError(f"{name} maps field {printable(mapping.field)!r}; features of RLDS have no fields")
            if not embodiment.rule(name).required and not self._episode.has(mapping.source):
                self.notes.append(f"{name}: the record has no {printable(mapping.source)}")
                continue
            found[name] = self._frames(name, mapping) if name in cameras else self._numbers(name, mapping)
            self.used.add(mapping.source)
        if self._time_ns is None:
            raise SourceError(f"{self._where}: the mapping maps no stream that is there")
        return found

    def _numbers(self, name: str, mapping: StreamMapping) -> Stream:
        values = self._episode.numbers(mapping.source)
        shape = values.shape[1:]
        time_ns = self._steps(mapping.source, len(values))
        if len(shape) > 1:
            self.notes.append(f"{name}: {printable(mapping.source)} of shape {list(shape)} is laid out row by row")
        values, note = join_columns(
            values.reshape(len(values), prod(shape)), (), self._request.embodiment.signal(name), mapping
        )
        self.notes.append(note)
        return Stream(name=name, clock=Clock.NOMINAL, time_ns=time_ns, values=values)

    def _frames(self, name: str, mapping: StreamMapping) -> FrameStream:
        frames, info = self._episode.images(mapping.source)
        return FrameStream(
            name=name,
            clock=Clock.NOMINAL,
            time_ns=self._steps(mapping.source, len(frames.sizes)),
            frames=frames,
            codec=info.codec,
            height=info.height,
            width=info.width,
        )

    def _steps(self, path: str, count: int) -> Int64Array:
        """Stamps of the steps; every mapped feature must have as many."""
        if not self._episode.info(path).is_step:
            raise SourceError(f"{self._where}: {path} belongs to the episode; a stream must belong to the steps")
        if self._time_ns is None:
            if count == 0:
                raise SourceError(f"{self._where}: {path} has no steps")
            self._first = path
            rate = self._request.embodiment.rate_hz
            self._time_ns = np.round(np.arange(count) * 1e9 / rate).astype(np.int64)
        elif len(self._time_ns) != count:
            raise SourceError(
                f"{self._where}: {path} has {count} steps, {self._first} has {len(self._time_ns)}; must be as many"
            )
        return self._time_ns

    def labels(self) -> tuple[tuple[Instruction, ...], tuple[Outcome, ...]]:
        """Instructions and the outcome, where they are mapped."""
        mapping = self._request.mapping
        instructions: list[Instruction] = []
        for label in (mapping.instruction, mapping.subtask):
            if label is not None:
                instructions += self._texts(label, is_task=label is mapping.instruction)
        outcomes = self._outcome(mapping.outcome) if mapping.outcome is not None else ()
        return tuple(instructions), outcomes

    def _texts(self, label: LabelMapping, *, is_task: bool) -> tuple[Instruction, ...]:
        texts, is_replaced = self._episode.texts(label.source)
        self.used.add(label.source)
        if is_replaced:
            self.notes.append(f"{printable(label.source)}: bytes that are not UTF-8 became replacement characters")
        time_ns = np.zeros(1, dtype=np.int64)
        if self._episode.info(label.source).is_step:
            time_ns = self._steps(label.source, len(texts))
        elif len(texts) != 1:
            raise SourceError(f"{self._where}: {label.source} has {len(texts)} texts; an episode must have one")
        instructions, notes = row_instructions(texts, time_ns, "task" if is_task else "subtask")
        self.notes += notes
        return instructions

    def _outcome(self, mapping: OutcomeMapping) -> tuple[Outcome, ...]:
        """The last value of a step feature, or the value of an episode feature."""
        self.used.add(mapping.source)
        if self._episode.info(mapping.source).kind == "text":
            written: tuple[str, ...] = tuple(self._episode.texts(mapping.source)[0][-1:])
        else:
            values = self._episode.numbers(mapping.source)
            if len(values) == 0 or values[-1].size != 1:
                raise SourceError(
                    f"{self._where}: {mapping.source} has shape {list(values.shape[1:])}; an outcome must be one value"
                )
            written = as_text(np.ravel(values[-1])[0].item())
        outcomes, notes = row_outcome(written, mapping)
        self.notes += notes
        return outcomes


def _record_notes(episode: EpisodeRecord, features: dict[str, FeatureInfo], used: set[str]) -> list[str]:
    """What is not kept, and flags that say nothing."""
    notes = []
    unset = [f for f in _FLAGS if episode.has(f) and features[f].kind == "numeric" and not episode.numbers(f).any()]
    if unset:
        notes.append(f"never set: {', '.join(unset)}")
    left = sorted(set(features) - used)
    if left:
        notes.append(f"not kept: {clip(printable(', '.join(left)), 2000)}")
    return notes


def inspect(path: Path) -> Inspection:
    """Describe a dataset by its features.json and its first readable record.

    Raises:
        SourceError: As `places`, or no record can be read.
        GateError: A file leaves the dataset's folder.
    """
    found = places(path)
    dataset = open_dataset(path)
    features = read_features(dataset.folder)
    problems = [f"{dataset.name}-{split}: {sentence}" for split, sentence in dataset.missing.items()]
    for place in found:
        if place.name.endswith(f"#{_MISSING}"):
            continue
        try:
            shard, record = _record(dataset, place)
            episode = EpisodeRecord(record, features, place.name)
        except VladataError as error:
            problems.append(str(error))
            continue
        streams = tuple(_stream_info(episode, info) for info in features.values())
        splits = dict.fromkeys(s.split for s in dataset.shards if s.split)
        return Inspection(
            source="rlds",
            places=tuple(found),
            looked_at=place.name,
            streams=streams,
            facts=(
                ("dataset", dataset.name),
                ("version", dataset.version),
                ("shards", str(len(dataset.shards))),
                ("splits", ", ".join(splits) or shard.split),
            ),
            problems=(*problems, *(n for n in _record_notes(episode, features, set(features)))),
        )
    raise SourceError(f"{path.name}: no record can be read: {problems[0] if problems else 'there are none'}")


def _stream_info(episode: EpisodeRecord, info: FeatureInfo) -> StreamInfo:
    shape, codec, count = info.shape, "", 0
    kind = info.kind
    problems: list[str] = []
    try:
        count = episode.count(info.path)
        if kind == "image":
            _, image = episode.images(info.path)
            shape, codec = (image.height, image.width, image.channels), image.codec
    except SourceError as error:
        problems.append(str(error))
    if not info.is_step:
        problems.append("belongs to the episode, not to its steps")
    return StreamInfo(
        name=info.path,
        type=info.type,
        count=count,
        shape=shape,
        dtype=info.dtype,
        kind=kind,
        codec=codec,
        problems=tuple(problems),
    )
