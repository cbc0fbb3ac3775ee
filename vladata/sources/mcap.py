"""MCAP recordings with messages of ROS 2, ROS 1, protobuf and JSON, of any size, in bounded memory.

The file is walked once: numbers and stamps are kept, images only by their place, and are read again when asked for.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..errors import SourceError
from ..recording import Recording, SourceFile
from ..text import clip, printable
from . import Inspection, Place, Request
from ._join import recording_id
from ._mcap_blocks import BlockReader
from ._mcap_file import MAGIC, McapWalk, magic_problem
from ._mcap_frames import EncodedImages
from ._mcap_join import bag_notes
from ._mcap_topics import Topic
from ._mcap_types import Types, message_type
from ._topic_streams import TopicStreams, wants_of

__all__ = ["IS_GENERAL", "SUFFIXES", "can_read", "inspect", "places", "read"]

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
        SourceError: The file is damaged outside chunks, or the mapping does not fit it.
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
        SourceError: The file is damaged outside chunks.
        GateError: A size in the file breaks a limit.
    """
    from ._mcap_inspect import inspect_file

    return inspect_file(path, places(path))


class _Reading:
    """One pass over a file, and the recording that comes of it."""

    def __init__(self, file: BinaryIO, path: Path, request: Request) -> None:
        self._file, self._path, self._name, self._request = file, path, path.name, request
        self._walk = McapWalk(file, path.name)
        self._wants = wants_of(request)
        self._topics: dict[str, Topic] = {}
        self._types: Types = {}

    def close(self) -> None:
        for topic in self._topics.values():
            for images in topic.images.values():
                if isinstance(images, EncodedImages):
                    images.close()

    def recording(self, place: Place) -> Recording:
        """Walk the file and describe what the mapping wants of it."""
        try:
            self._collect()
            blocks = BlockReader(self._file, self._name, self._walk.blocks)
            found = TopicStreams(self._request, self._topics, list(self._walk.channels.values()), blocks)
            streams = found.streams()
            labels, marks = found.labels(streams), found.marks()
        except SourceError as error:
            text = "; ".join((str(error), *self._walk.losses[:1]))
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
            marks=marks,
            metadata=self._metadata(),
            notes=(*bag_notes(self._path), *self._walk.losses, *self._walk.notes, *found.notes, *labels.notes),
            is_lossy=self._walk.is_lossy,
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
        type_ = message_type(channel, self._types)
        topic = self._topics.get(channel.topic)
        if topic is None:
            topic = self._topics[channel.topic] = Topic(channel.topic, type_, wants)
        elif topic.type != type_:
            names = f"{printable(topic.type.name)} and {printable(type_.name)}"
            raise SourceError(f"{printable(channel.topic)} has messages of two types or definitions, {names}")
        return topic

    def _metadata(self) -> dict[str, str]:
        """Short facts of the file's metadata records."""
        facts: dict[str, str] = {}
        for record, values in self._walk.metadata:
            for key, value in values.items():
                if value and len(value) <= MAX_METADATA_VALUE:
                    facts[clip(printable(f"{record}.{key}"), MAX_METADATA_VALUE)] = printable(value)
        return dict(sorted(facts.items()))
