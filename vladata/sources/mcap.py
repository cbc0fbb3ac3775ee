"""MCAP recordings with ROS 2 messages in CDR, of any size, in bounded memory.

The file is walked once: numbers and stamps are kept, images only by their place, and are read again when asked for.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError
from ..mapping import LabelMapping, StreamMapping
from ..recording import AnyStream, FrameStream, Recording, SourceFile, Stream
from ..text import clip, printable
from ..units import Clock
from . import Inspection, Place, Request
from ._join import recording_id
from ._mcap_blocks import BlockReader
from ._mcap_file import MAGIC, McapWalk, magic_problem
from ._mcap_frames import EncodedImages
from ._mcap_join import Stamps, bag_notes, clock_kind, columns, file_order, stamps
from ._mcap_labels import LabelReader, Labels
from ._mcap_topics import Topic, Want
from ._mcap_types import message_type

__all__ = ["IS_GENERAL", "SUFFIXES", "can_read", "inspect", "places", "read"]

Int64Array = NDArray[np.int64]

SUFFIXES = (".mcap",)
IS_GENERAL = False

MAX_METADATA_VALUE = 200


def can_read(path: Path) -> bool:
    """Tell by its first bytes whether a file is MCAP, also where line endings were converted."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(16)
    return start.startswith(MAGIC) or "line endings" in magic_problem(start) or "version" in magic_problem(start)


def places(path: Path) -> list[Place]:
    """One demonstration per file.

    Raises:
        SourceError: The file is not MCAP.
    """
    with path.open("rb") as file:
        problem = magic_problem(file.read(16))
    if problem:
        raise SourceError(f"{path.name}: {problem}")
    return [Place(name=path.name, size=path.stat().st_size)]


def read(path: Path, place: Place, request: Request) -> Iterator[Recording]:
    """Read the demonstration in a file.

    Raises:
        SourceError: The file is damaged or truncated, or the mapping does not fit it.
        GateError: A size in the file breaks a limit.
    """
    with path.open("rb", buffering=0) as file:
        reading = _Reading(file, path, request)
        try:
            yield reading.recording(place)
        finally:
            reading.close()


def inspect(path: Path) -> Inspection:
    """Describe a file: topics, types, fields, clocks.

    Raises:
        SourceError: The file is damaged or truncated.
        GateError: A size in the file breaks a limit.
    """
    from ._mcap_inspect import inspect_file

    return inspect_file(path, places(path))


def _wants(request: Request) -> dict[str, list[Want]]:
    """What the mapping wants of each topic."""
    wants: dict[str, list[Want]] = {}
    cameras = {c.name for c in request.embodiment.cameras}
    for name, mapping in request.mapping.streams.items():
        kind = Want(
            name=name,
            kind="images" if name in cameras else "numbers",
            field=mapping.field,
            names_field=mapping.names_field,
        )
        wants.setdefault(mapping.source, []).append(kind)
    for name, label in _label_mappings(request).items():
        wants.setdefault(label.source, []).append(Want(name=name, kind="texts", field=label.field))
    return wants


def _label_mappings(request: Request) -> dict[str, LabelMapping]:
    mapping = request.mapping
    found = {"instruction": mapping.instruction, "subtask": mapping.subtask, "outcome": mapping.outcome}
    return {name: label for name, label in found.items() if label is not None}


class _Reading:
    """One pass over a file, and the recording that comes of it."""

    def __init__(self, file: BinaryIO, path: Path, request: Request) -> None:
        self._file, self._path, self._name, self._request = file, path, path.name, request
        self._walk = McapWalk(file, path.name)
        self._wants = _wants(request)
        self._topics: dict[str, Topic] = {}
        self._notes: list[str] = []

    def close(self) -> None:
        for topic in self._topics.values():
            for images in topic.images.values():
                if isinstance(images, EncodedImages):
                    images.close()

    def recording(self, place: Place) -> Recording:
        """Walk the file and describe what the mapping wants of it."""
        try:
            self._collect()
            orders, order_notes = file_order(list(self._topics.values()))
            self._notes = [*bag_notes(self._path), *self._walk.notes, *order_notes]
            streams = self._streams(orders)
            labels = self._labels(streams, orders)
        except SourceError as error:
            text = str(error)
            raise SourceError(text if text.startswith(f"{self._name}:") else f"{self._name}: {text}") from error
        file = SourceFile(name=self._name, size=self._walk.size, sha256=self._walk.sha256)
        return Recording(
            recording_id=recording_id("mcap", place.name, [file.sha256]),
            source="mcap",
            place=place.name,
            files=(file,),
            streams=streams,
            is_stepped=False,
            instructions=labels.instructions,
            outcomes=labels.outcomes,
            metadata=self._metadata(),
            notes=(*self._notes, *labels.notes),
        )

    def _collect(self) -> None:
        """Hand each message of a wanted topic to it."""
        by_channel: dict[int, Topic | None] = {}
        for order, message in enumerate(self._walk.messages()):
            if message.channel_id not in by_channel:
                by_channel[message.channel_id] = self._open(message.channel_id)
            topic = by_channel[message.channel_id]
            if topic is not None:
                topic.add(message, order)

    def _open(self, channel_id: int) -> Topic | None:
        """The topic of a channel; None where nobody wants it."""
        channel = self._walk.channels[channel_id]
        wants = self._wants.get(channel.topic)
        if wants is None:
            return None
        type_ = message_type(channel)
        topic = self._topics.get(channel.topic)
        if topic is None:
            topic = self._topics[channel.topic] = Topic(channel.topic, type_, wants)
        elif topic.type != type_:
            names = f"{printable(topic.type.name)} and {printable(type_.name)}"
            raise SourceError(f"{printable(channel.topic)} has messages of two types or definitions, {names}")
        return topic

    def _streams(self, orders: dict[str, Int64Array]) -> dict[str, AnyStream]:
        blocks = BlockReader(self._file, self._name, self._walk.blocks)
        streams: dict[str, AnyStream] = {}
        for name in self._request.embodiment.stream_names:
            mapping = self._request.mapping.streams.get(name)
            topic = self._topic(name, mapping) if mapping is not None else None
            if mapping is None or topic is None:
                continue
            chosen = stamps(topic, mapping, name)
            self._notes += chosen.notes
            if name in topic.images:
                streams[name] = self._camera(name, topic, orders[topic.name], chosen, blocks)
            else:
                streams[name] = self._signal(name, topic, orders[topic.name], chosen)
        return streams

    def _topic(self, name: str, mapping: StreamMapping) -> Topic | None:
        """The topic that feeds a stream; None where there is none and the stream is not required."""
        topic = self._topics.get(mapping.source)
        if topic is not None:
            return topic
        reason = f"{name} is mapped to {printable(mapping.source)}, which {self._absence(mapping.source)}"
        if self._request.embodiment.rule(name).required:
            raise SourceError(reason)
        self._notes.append(f"{reason}; {name} is not required and left out")
        return None

    def _absence(self, source: str) -> str:
        there = sorted({c.topic for c in self._walk.channels.values()})
        if source in there:
            return "has no message"
        return f"is not in the file; its topics are {clip(printable(', '.join(there)), 400) or 'none'}"

    def _signal(self, name: str, topic: Topic, order: Int64Array, chosen: Stamps) -> Stream:
        mapping = self._request.mapping.streams[name]
        joined = columns(topic.numbers[name], topic, self._request.embodiment.signal(name), mapping)
        rows = order if len(joined.rows) == len(order) else order[np.isin(order, joined.rows)]
        time_ns, receive_ns, clock = self._time(name, chosen, rows)
        self._notes += joined.notes
        return Stream(
            name=name,
            clock=clock,
            time_ns=time_ns,
            values=_frozen(joined.values[np.searchsorted(joined.rows, rows)]),
            receive_time_ns=receive_ns,
        )

    def _camera(self, name: str, topic: Topic, order: Int64Array, chosen: Stamps, blocks: BlockReader) -> FrameStream:
        found = topic.images[name].frame_set(name, blocks, order, topic.order[order])
        time_ns, receive_ns, clock = self._time(name, chosen, order)
        self._notes += found.notes
        return FrameStream(
            name=name,
            clock=clock,
            time_ns=time_ns,
            frames=found.frames,
            codec=found.codec,
            height=found.height,
            width=found.width,
            pixel_format=found.pixel_format,
            receive_time_ns=receive_ns,
        )

    def _time(self, name: str, chosen: Stamps, rows: Int64Array) -> tuple[Int64Array, Int64Array | None, Clock]:
        """Stamps of the messages that count, when they were received, and what the stamps count."""
        time_ns, receive_ns = _frozen(chosen.time_ns[rows]), chosen.receive_time_ns
        if receive_ns is None and self._request.mapping.on_backward_time == "split":
            receive_ns = chosen.time_ns  # the log's, by which this stream is cut where others go back
        clock, rule = clock_kind(time_ns, is_simulated=self._is_simulated)
        self._notes.append(f"{name}: time is {chosen.choice}, {clock} ({rule})")
        return time_ns, None if receive_ns is None else _frozen(receive_ns[rows]), clock

    @property
    def _is_simulated(self) -> bool:
        return any(c.topic == "/clock" and c.schema.endswith("/Clock") for c in self._walk.channels.values())

    def _labels(self, streams: dict[str, AnyStream], orders: dict[str, Int64Array]) -> Labels:
        reader = LabelReader(
            streams,
            first_log_ns=min((int(t.log_ns.min()) for t in self._topics.values() if t.numbers or t.images), default=0),
            is_simulated=self._is_simulated,
        )
        for name, label in _label_mappings(self._request).items():
            topic = self._topics.get(label.source)
            if topic is None:
                reader.notes.append(f"no {name}: {printable(label.source)} {self._absence(label.source)}")
            else:
                order = orders[topic.name]
                reader.add(name, label, [topic.texts[name].texts[i] for i in order], topic.log_ns[order])
        return reader.labels()

    def _metadata(self) -> dict[str, str]:
        """Short facts of the file's metadata records."""
        facts: dict[str, str] = {}
        for record, values in self._walk.metadata:
            for key, value in values.items():
                if value and len(value) <= MAX_METADATA_VALUE:
                    facts[clip(printable(f"{record}.{key}"), MAX_METADATA_VALUE)] = printable(value)
        return dict(sorted(facts.items()))


def _frozen(values: NDArray[Any]) -> NDArray[Any]:
    values.flags.writeable = False
    return values
