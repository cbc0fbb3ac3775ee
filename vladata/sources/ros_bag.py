"""ROS 1 bags and ROS 2 bags of any size and storage, without ROS, in bounded memory.

All storage files are walked once, in order: numbers and stamps are kept, images only by their place, and are read
again when asked for. Bags are read-only; nothing beside them is written.
"""

from collections.abc import Iterator
from pathlib import Path

from ..errors import MissingExtraError, SourceError
from ..recording import Recording
from ..text import clip, printable
from . import Inspection, Place, Request
from ._join import hash_file, recording_id
from ._mcap_file import Message
from ._mcap_frames import EncodedImages
from ._mcap_topics import Topic, Want
from ._options import take_options
from ._ros2 import CdrError
from ._ros_bag_files import Bag, find_bag, is_bag
from ._ros_bag_types import Opened
from ._ros_bag_walk import BagBlocks, BagWalk
from ._topic_streams import MARKS, TopicStreams, wants_of

__all__ = ["IS_GENERAL", "SUFFIXES", "can_read", "inspect", "places", "read"]

SUFFIXES = (".bag", ".db3", ".db3.zstd", ".mcap.zstd")
IS_GENERAL = False


def can_read(path: Path) -> bool:
    """Tell by content whether a file or folder is a bag.

    A folder with one plain MCAP file is not: the file is the recording, which `mcap` reads as well.
    """
    return is_bag(path)


def places(path: Path) -> list[Place]:
    """One demonstration per bag.

    Raises:
        SourceError: There is no storage file.
        GateError: A name in metadata.yaml leads out of the folder.
    """
    bag = find_bag(path)
    return [Place(name=bag.name, size=bag.size)]


def read(path: Path, place: Place, request: Request) -> Iterator[Recording]:
    """Read a bag.

    Raises:
        SourceError: A file is damaged, or the mapping does not fit.
        GateError: A size breaks a limit.
        MissingExtraError: A type is defined nowhere in the bag, and the package with the standard types is missing.
    """
    take_options(request.mapping, {})
    reading = _Reading(find_bag(path), request)
    try:
        yield reading.recording(place)
    finally:
        reading.close()


def inspect(path: Path) -> Inspection:
    """Describe a bag: topics, types, fields, clocks.

    Raises:
        SourceError: A file is damaged.
        GateError: A size breaks a limit.
    """
    from ._ros_bag_inspect import inspect_bag

    return inspect_bag(find_bag(path), places(path))


class _Reading:
    """One pass over a bag, and the recording that comes of it."""

    def __init__(self, bag: Bag, request: Request) -> None:
        self._bag, self._request = bag, request
        self._walk = BagWalk(bag)
        self._wants = wants_of(request)
        self._topics: dict[str, Topic] = {}
        self._refused: dict[str, str] = {}
        """Streams and labels that can't be had, and why."""

    def close(self) -> None:
        for topic in self._topics.values():
            self._forget(topic)
        self._walk.close()

    @staticmethod
    def _forget(topic: Topic) -> None:
        for images in topic.images.values():
            if isinstance(images, EncodedImages):
                images.close()

    def recording(self, place: Place) -> Recording:
        """Walk the bag and describe what the mapping wants of it."""
        try:
            self._collect()
            self._check_clocks()
            found = TopicStreams(
                self._request,
                self._topics,
                self._walk.channels,
                BagBlocks(self._walk),
                container="bag",
                refused=self._refused,
            )
            streams = found.streams()
            labels, marks = found.labels(streams), found.marks()
        except SourceError as error:
            text = str(error)
            raise SourceError(text if text.startswith(f"{place.name}:") else f"{place.name}: {text}") from error
        files = list(self._walk.files)
        if self._bag.metadata_file is not None:
            files.append(hash_file(self._bag.metadata_file, self._bag.metadata_file.name))
        return Recording(
            recording_id=recording_id("ros_bag", place.name, [f.sha256 for f in self._walk.files]),
            source="ros_bag",
            place=place.name,
            files=tuple(files),
            streams=streams,
            is_stepped=False,
            instructions=labels.instructions,
            outcomes=labels.outcomes,
            marks=marks,
            metadata=dict(self._bag.metadata.facts),
            notes=(
                *self._walk.notes(self._topics),
                *self._walk.problem_notes(),
                *found.notes,
                *labels.notes,
            ),
            is_lossy=self._walk.is_lossy,
        )

    def _collect(self) -> None:
        """Hand each message of a wanted topic to it."""
        by_channel: dict[int, Topic | None] = {}
        for order, message in enumerate(self._walk.messages(self._wants)):
            if message.channel_id not in by_channel:
                by_channel[message.channel_id] = self._open(self._walk.opened[message.channel_id])
            topic = by_channel[message.channel_id]
            if topic is None:
                continue
            try:
                topic.add(self._ready(message, topic), order)
            except SourceError as error:
                self._give_up(topic, str(error))
                by_channel = {number: t for number, t in by_channel.items() if t is not topic}

    def _ready(self, message: Message, topic: Topic) -> Message:
        try:
            return self._walk.ready(message)
        except CdrError as error:
            raise SourceError(f"message {len(topic)} of {printable(topic.name)}: {printable(str(error))}") from error

    def _open(self, opened: Opened) -> Topic | None:
        """The topic of a channel; None where nobody wants it, or nobody needs it and it can't be had."""
        name = opened.channel.topic
        wants = [w for w in self._wants.get(name, ()) if w.name not in self._refused]
        if not wants:
            return None
        topic = self._topics.get(name)
        if topic is not None:
            if topic.type != opened.type:
                names = f"{printable(topic.type.name)} and {printable(opened.type.name)}"
                self._give_up(topic, f"{printable(name)} has messages of two types or definitions, {names}")
                return None
            return topic
        if opened.is_extra_missing and any(self._is_required(w) for w in wants):
            raise MissingExtraError(f"the definition of {clip(printable(opened.type.name), 80)}", "rosbags", "ros")
        topic = self._prepared(name, opened, wants)
        if topic is not None:
            self._topics[name] = topic
        return topic

    def _prepared(self, name: str, opened: Opened, wants: list[Want]) -> Topic | None:
        """A topic with all that can be had of it."""
        good = []
        for want in wants:
            try:
                self._forget(Topic(name, opened.type, [want]))
            except SourceError as error:
                self._refuse(want, str(error))
            else:
                good.append(want)
        return Topic(name, opened.type, good) if good else None

    def _give_up(self, topic: Topic, reason: str) -> None:
        """Leave out a topic that turned out unreadable on the way."""
        for want in self._wants[topic.name]:
            if want.name not in self._refused:
                self._refuse(want, f"{want.name} is mapped to {printable(topic.name)}: {reason}")
        self._topics.pop(topic.name, None)
        self._forget(topic)

    def _refuse(self, want: Want, reason: str) -> None:
        """Do without something; an error where it is required."""
        if self._is_required(want):
            raise SourceError(reason)
        self._refused[want.name] = reason

    def _is_required(self, want: Want) -> bool:
        if want.name in self._request.mapping.streams:
            return self._request.embodiment.rule(want.name).required
        return want.name == MARKS

    def _check_clocks(self) -> None:
        """Refuse times of publishing where there are none."""
        for name, mapping in self._request.mapping.streams.items():
            if mapping.clock == "publish" and mapping.source in self._topics and not self._walk.has_publish_times:
                raise SourceError(f"{name}: clock is publish, but only MCAP has times of publishing; header or log")
