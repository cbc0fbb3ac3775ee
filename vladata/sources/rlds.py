"""RLDS datasets as TFDS writes them: TFRecord shards of `tf.train.Example`, described by features.json.

Read without TensorFlow. Steps pass through one by one; encoded images keep their bytes. No times are recorded, so
stamps are step / rate of the embodiment, on a nominal clock. Source: Ramos et al., RLDS, arXiv:2111.02767.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import islice
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import workers
from ..errors import SchemaError, SourceError, VladataError
from ..mapping import StreamMapping
from ..recording import AnyStream, Frames, FrameStream, Instruction, Outcome, Recording, SourceFile, Stream
from ..text import clip, printable
from ..units import Clock
from . import Inspection, Place, Request, StreamInfo
from ._join import join_columns, recording_id
from ._options import Option, take_options
from ._rlds_images import EncodedPixels
from ._rlds_labels import LabelReader, element_of, facts, flag_notes
from ._rlds_record import EpisodeRecord
from ._tfds import Dataset, Shard, claims, open_dataset
from ._tfds_features import FeatureInfo
from ._tfrecord import RecordSpan, read_record, walk

__all__ = ["IS_GENERAL", "OPTIONS", "SUFFIXES", "can_read", "inspect", "places", "read"]

SUFFIXES: tuple[str, ...] = (".tfrecord",)
IS_GENERAL = False

OPTIONS: Mapping[str, Option] = {
    "last_step": "keep",
    "metadata": True,
    "paraphrases": True,
    "rate_hz": 0.0,
    "reward": "",
}
"""What the `options` of a mapping may say, with what holds where it says nothing:

- last_step: `keep`, or `drop` the step where is_last is set at the end, for by RLDS its action means nothing.
- metadata: whether short facts of the episode, such as episode_metadata/file_path, come in.
- paraphrases: whether texts beside the instruction (`…_2`, `…_3`, further ones in a sequence) come in.
- rate_hz: rate of the recorded steps where it is not the schema's; 0: the schema's.
- reward: a feature of the steps whose values other than 0 become outcomes.
"""

_MISSING = "missing"
_MAX_IGNORED = 20

Int64Array = NDArray[np.int64]


def can_read(path: Path) -> bool:
    """Tell whether a path is a TFDS dataset: its version folder, a folder with nothing else in it, or a shard."""
    try:
        return claims(path)
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
    episode = EpisodeRecord(record, dataset.features, where)
    digest = hashlib.sha256(record).hexdigest()
    with ExitStack() as open_files:
        reader = _EpisodeReader(episode, request, where, open_files)
        streams = reader.streams()
        instructions, outcomes = reader.labels(dataset)
        known = {"dataset": dataset.name, "config": dataset.config, "version": dataset.version, "split": shard.split}
        metadata = reader.facts(dataset) | {k: v for k, v in known.items() if v}
        yield Recording(
            recording_id=recording_id("rlds", place.name, [digest]),
            source="rlds",
            place=place.name,
            files=(SourceFile(name=place.name, size=len(record), sha256=digest),),
            streams=streams,
            is_stepped=True,
            instructions=instructions,
            outcomes=outcomes,
            metadata=metadata,
            notes=(*reader.notes, *flag_notes(episode), *_left_out(dataset, reader.used)),
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

    def __init__(self, episode: EpisodeRecord, request: Request, where: str, open_files: ExitStack) -> None:
        self._episode = episode
        self._request = request
        self._where = where
        self._open_files = open_files
        self._options = take_options(request.mapping, OPTIONS)
        self._time_ns: NDArray[np.int64] | None = None
        self._first = ""
        declared = float(self._options["rate_hz"])
        if not (declared == 0 or 1e-3 <= declared <= 1e6):
            raise SchemaError(f"options.rate_hz is {declared:g}; must be from 0.001 to 1,000,000")
        self._rate = declared or request.embodiment.rate_hz
        why = "options.rate_hz" if declared else f"the rate of {request.embodiment.name}"
        self.notes = [f"no times are recorded: stamps are step / {self._rate:g} Hz, {why}"]
        self.used: set[str] = set()
        self._num_dropped = self._last_step()

    def _last_step(self) -> int:
        """How many steps at the end are left out: one, where the last is marked and the mapping says so."""
        choice = self._options["last_step"]
        if choice not in {"keep", "drop"}:
            raise SchemaError(f"options.last_step is {choice!r}; must be keep or drop")
        has_flag = self._episode.has("is_last") and self._episode.info("is_last").kind == "numeric"
        flags = self._episode.numbers("is_last").reshape(-1) if has_flag else np.zeros(0)
        if not flags[-1:].any():
            return 0
        if choice == "drop":
            self.notes.append("the last step is left out (options.last_step): is_last is set, its action means nothing")
            return 1
        self.notes.append(
            "is_last is set at the last step: by RLDS its action, reward and discount mean nothing, Open X-Embodiment "
            "has valid ones there; it is kept (options.last_step: drop leaves it out)"
        )
        return 0

    def streams(self) -> dict[str, AnyStream]:
        """The mapped streams, by name in the embodiment."""
        embodiment = self._request.embodiment
        cameras = {c.name for c in embodiment.cameras}
        found: dict[str, AnyStream] = {}
        for name, mapping in self._request.mapping.streams.items():
            workers.beat()
            if not embodiment.rule(name).required and not self._episode.has(mapping.source):
                self.notes.append(f"{name}: the record has no {printable(mapping.source)}")
                continue
            found[name] = self._frames(name, mapping) if name in cameras else self._numbers(name, mapping)
            self.used.add(mapping.source)
        if self._time_ns is None:
            raise SourceError(f"{self._where}: the mapping maps no stream that is there")
        return found

    def _numbers(self, name: str, mapping: StreamMapping) -> Stream:
        values = self._episode.numbers(mapping.source, element_of(mapping.field, name))
        shape = values.shape[1:]
        time_ns = self._steps(mapping.source, len(values))
        values = values[: len(time_ns)]
        if len(shape) > 1:
            self.notes.append(f"{name}: {printable(mapping.source)} of shape {list(shape)} is laid out row by row")
        declared = self._episode.info(mapping.source)
        if declared.dtype == "float64" and not declared.encoding:
            self.notes.append(f"{name}: {printable(mapping.source)} is declared float64; TFDS stored float32")
        values, note = join_columns(
            values.reshape(len(values), prod(shape)), (), self._request.embodiment.signal(name), mapping
        )
        self.notes.append(note)
        return Stream(name=name, clock=Clock.NOMINAL, time_ns=time_ns, values=values)

    def _frames(self, name: str, mapping: StreamMapping) -> FrameStream:
        path, element = mapping.source, element_of(mapping.field, name)
        if self._episode.info(path).kind == "numeric":
            return self._pixels(name, path, element)
        frames, info = self._episode.images(path, element)
        time_ns = self._steps(path, len(frames.sizes))
        kept = frames.first(len(time_ns))
        return _frame_stream(name, time_ns, kept, codec=info.codec, size=(info.height, info.width))

    def _pixels(self, name: str, path: str, element: int | None) -> FrameStream:
        time_ns = self._steps(path, self._episode.count(path))
        encoded = EncodedPixels()
        self._open_files.callback(encoded.close)
        images = self._episode.pixels(path, element)
        encoded.add_all(islice(images, len(time_ns)), f"{self._where}: {path}")
        self.notes.append(f"{name}: raw images ({encoded.pixel_format}) were encoded as PNG, without loss")
        if encoded.num_other_sizes:
            self.notes.append(f"{name}: {encoded.num_other_sizes} images have another size than the first")
        size = encoded.height, encoded.width
        return _frame_stream(name, time_ns, encoded.frames(), codec="png", size=size, pixel_format=encoded.pixel_format)

    def _steps(self, path: str, count: int) -> NDArray[np.int64]:
        """Stamps of the steps that are kept; every mapped feature must have as many."""
        if not self._episode.info(path).is_step:
            raise SourceError(f"{self._where}: {path} belongs to the episode; a stream must belong to the steps")
        kept = count - self._num_dropped
        if self._time_ns is None:
            if kept <= 0:
                raise SourceError(f"{self._where}: {path} has no steps{' but the last' if count else ''}")
            self._first = path
            self._time_ns = np.round(np.arange(kept) * 1e9 / self._rate).astype(np.int64)
        elif len(self._time_ns) != kept:
            raise SourceError(
                f"{self._where}: {path} has {count} steps, {self._first} has {len(self._time_ns) + self._num_dropped}; "
                "must be as many"
            )
        return self._time_ns

    def labels(self, dataset: Dataset) -> tuple[tuple[Instruction, ...], tuple[Outcome, ...]]:
        """Instructions and outcomes, where they are mapped."""
        mapping = self._request.mapping
        time_ns = self._time_ns if self._time_ns is not None else np.zeros(0, dtype=np.int64)
        reader = LabelReader(self._episode, dataset, time_ns, len(time_ns) + self._num_dropped)
        instructions: list[Instruction] = []
        for label in (mapping.instruction, mapping.subtask):
            if label is not None:
                has_paraphrases = self._options["paraphrases"] is True
                is_task = label is mapping.instruction
                instructions += reader.instructions(label, is_task=is_task, has_paraphrases=has_paraphrases)
        outcomes = list(reader.outcome(mapping.outcome)) if mapping.outcome is not None else []
        if reward := str(self._options["reward"]):
            outcomes += reader.rewards(reward)
        self.notes += reader.notes
        self.used |= reader.used
        return tuple(instructions), tuple(outcomes)

    def facts(self, dataset: Dataset) -> dict[str, str]:
        """Short facts of the episode, where they are wanted."""
        if self._options["metadata"] is not True:
            return {}
        found, notes = facts(self._episode, dataset, self.used)
        self.notes += notes
        return found


def _frame_stream(
    name: str,
    time_ns: NDArray[np.int64],
    frames: Frames,
    *,
    codec: str,
    size: tuple[int, int],
    pixel_format: str = "",
) -> FrameStream:
    return FrameStream(
        name=name,
        clock=Clock.NOMINAL,
        time_ns=time_ns,
        frames=frames,
        codec=codec,
        height=size[0],
        width=size[1],
        pixel_format=pixel_format,
    )


def _left_out(dataset: Dataset, used: set[str]) -> list[str]:
    """What is not kept."""
    left = sorted(set(dataset.features) - used)
    return [f"not kept: {clip(printable(', '.join(left)), 2000)}"] if left else []


def inspect(path: Path) -> Inspection:
    """Describe a dataset by its features.json and its first readable record.

    Raises:
        SourceError: As `places`, or no record can be read.
        GateError: A file leaves the dataset's folder.
    """
    found = places(path)
    dataset = open_dataset(path)
    problems = [f"{dataset.name}-{split}: {sentence}" for split, sentence in dataset.missing.items()]
    problems += [f"{name}: not the name of a shard; ignored" for name in dataset.ignored[:_MAX_IGNORED]]
    for place in found:
        if place.name.endswith(f"#{_MISSING}"):
            continue
        try:
            shard, record = _record(dataset, place)
            episode = EpisodeRecord(record, dataset.features, place.name)
            notes = flag_notes(episode)
        except VladataError as error:
            problems.append(str(error))
            continue
        splits = dict.fromkeys(s.split for s in dataset.shards if s.split)
        about = {
            "dataset": dataset.name,
            "config": dataset.config,
            "version": dataset.version,
            "shards": str(len(dataset.shards)),
            "splits": ", ".join(splits) or shard.split,
        }
        return Inspection(
            source="rlds",
            places=tuple(found),
            looked_at=place.name,
            streams=tuple(_stream_info(episode, info) for info in dataset.features.values()),
            facts=tuple((k, v) for k, v in about.items() if v or k != "config"),
            problems=(*problems, *notes),
        )
    raise SourceError(f"{path.name}: no record can be read: {problems[0] if problems else 'there are none'}")


def _stream_info(episode: EpisodeRecord, info: FeatureInfo) -> StreamInfo:
    shape, codec, count = info.shape, "", 0
    kind: str = "image" if info.is_pixels and info.levels == 0 else info.kind
    problems: list[str] = []
    try:
        count = episode.count(info.path)
        if info.is_pixels:
            codec = "png"
            shape = shape if min(shape) > 0 else next(episode.pixels(info.path)).shape
        elif kind == "image":
            _, image = episode.images(info.path, 0 if info.levels else None)
            shape, codec = (image.height, image.width, image.channels), image.codec
    except (SourceError, StopIteration) as error:
        problems.append(str(error) or "has no values")
    if not info.is_step:
        problems.append("belongs to the episode, not to its steps")
    if info.levels:
        kind = "other"
        problems.append("a sequence at each step; a mapping says which of its values by field: 0, 1, …")
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
