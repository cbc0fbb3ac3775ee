"""One walk over all storage files of a bag, whatever they are, and payloads read again by their place."""

import contextlib
import dataclasses
import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from ..errors import SourceError
from ..recording import SourceFile
from ..text import clip, printable
from ..workers import beat
from ._mcap_blocks import BlockReader
from ._mcap_file import Channel, McapWalk, Message
from ._ros2 import CdrError
from ._ros_bag_files import Bag, storage_kind
from ._ros_bag_sqlite import SqliteStore
from ._ros_bag_types import Opened, opened_ros1, opened_ros2
from ._ros_bag_unpack import ZSTD_MAGIC, unpack_file, unpack_message
from ._ros_bag_v2 import Ros1BagWalk

__all__ = ["BagBlocks", "BagWalk"]

_FILE_SHIFT = 40
"""A block's number is its file's, and below these bits its own within the file."""
_PACKED = 1 << 39
"""Set where a block is a packed message of an MCAP file."""
_LOCAL = _PACKED - 1
_BEAT_EVERY = 256


@dataclasses.dataclass(slots=True, kw_only=True)
class _Part:
    """One storage file."""

    walk: McapWalk | Ros1BagWalk | SqliteStore
    path: Path
    reader: BlockReader | None = None
    """Of what is no database."""
    state: tuple[int, int] = (0, 0)
    """Size and time of change when it was walked."""


class BagWalk:
    """A bag's messages in the order of its files, and what is learned on the way."""

    def __init__(self, bag: Bag, *, is_digested: bool = True) -> None:
        """Prepare to walk.

        Args:
            bag: Its files.
            is_digested: Compute their SHA-256.
        """
        self._bag = bag
        self._is_digested = is_digested
        self._stack = contextlib.ExitStack()
        self._parts: list[_Part] = []
        self._packed = array("q")
        """Block, offset and size of packed messages of MCAP files that are read again."""
        self._kept: OrderedDict[int, memoryview] = OrderedDict()
        self._num_packed = 0
        self._trailing: dict[str, int] = {}
        self.opened: dict[int, Opened] = {}
        """Topics by channel, one for each file and publisher."""
        self.counts: dict[int, int] = {}
        """Messages by channel."""
        self.files: list[SourceFile] = []
        self.num_messages = 0
        self.more_notes: list[str] = []
        """What others found out about the bag."""
        self.compressions: set[str] = set()
        self.is_lossy = bag.is_lossy

    def close(self) -> None:
        """Close all files."""
        self._stack.close()

    @property
    def channels(self) -> list[Channel]:
        """All topics that were met, one for each file and publisher."""
        return [o.channel for o in self.opened.values()]

    @property
    def storage(self) -> str:
        """What the files are, in words."""
        names = {McapWalk: "MCAP (ROS 2)", SqliteStore: "SQLite (ROS 2)", Ros1BagWalk: "ROS 1 bag, 2.0"}
        return ", ".join(sorted({names[type(p.walk)] for p in self._parts}))

    @property
    def has_publish_times(self) -> bool:
        """Whether all messages have one beside the time of receipt."""
        return all(isinstance(p.walk, McapWalk) for p in self._parts)

    @property
    def is_simulated(self) -> bool:
        """Whether the bag has a simulator's clock."""
        return any(c.topic == "/clock" and c.schema.endswith("/Clock") for c in self.channels)

    # Walking --------------------------------------------------------------------------------------------------------

    def messages(self, wanted: Collection[str] | None = None) -> Iterator[Message]:
        """All messages as they are stored.

        Args:
            wanted: Topics whose messages are looked at; those of others may come empty. None: all.

        Raises:
            SourceError: A file is damaged.
            GateError: A size breaks a limit.
        """
        for number, path in enumerate(self._bag.files):
            kind = storage_kind(path)
            before = _state(path)
            yield from self._part_messages(number, path, kind, wanted)
            _check_unchanged(path, before)
            self._parts[-1].state = before

    def _part_messages(self, number: int, path: Path, kind: str, wanted: Collection[str] | None) -> Iterator[Message]:
        part, digest = self._open(path, kind)
        self._parts.append(part)
        numbers: dict[int, int] = {}
        walk = part.walk
        if isinstance(walk, SqliteStore):
            for channel in walk.channels.values():  # also those without a message
                numbers[channel.id] = self._add_channel(channel, walk)
            rows = None if wanted is None else [n for n, c in walk.channels.items() if c.topic in wanted]
            messages = walk.messages(rows)
        else:
            messages = walk.messages()
        for message in messages:
            if self.num_messages % _BEAT_EVERY == 0:
                beat()
            channel_id = numbers.get(message.channel_id)
            if channel_id is None:
                channel_id = numbers[message.channel_id] = self._add_channel(walk.channels[message.channel_id], walk)
            self.num_messages += 1
            self.counts[channel_id] += 1
            yield message._replace(channel_id=channel_id, block=number << _FILE_SHIFT | message.block)
        for local, channel in walk.channels.items():
            if local not in numbers:
                self._add_channel(channel, walk)
        self.is_lossy |= walk.is_lossy
        if not isinstance(walk, SqliteStore):
            self.compressions |= walk.compressions - {""}
            digest = digest or walk.sha256
        self.files.append(SourceFile(name=path.name, size=path.stat().st_size, sha256=digest))

    def _open(self, path: Path, kind: str) -> tuple[_Part, str]:
        """Open a storage file; and its digest, where the walk does not compute it."""
        source, digest = path, ""
        plain = kind.removesuffix(".zstd")
        if not plain:
            raise SourceError(f"{path.name}: is no bag: {_what_is(path)}")
        if kind != plain:
            self.compressions.add("zstd files")
        if self._is_digested and (kind != plain or plain == "sqlite"):
            digest = _digest(path)
        if kind != plain:
            source = unpack_file(path, path.name)
        try:
            return self._open_plain(source, path, plain, is_digested=self._is_digested and not digest), digest
        finally:
            if source != path:
                source.unlink()  # it stays readable while it is open

    def _open_plain(self, source: Path, path: Path, kind: str, *, is_digested: bool) -> _Part:
        if kind == "sqlite":
            store = SqliteStore(source, path.name)
            self._stack.callback(store.close)
            return _Part(walk=store, path=path)
        file = self._stack.enter_context(source.open("rb", buffering=0))
        make = McapWalk if kind == "mcap" else Ros1BagWalk
        walk = make(file, path.name, is_digested=is_digested)
        return _Part(walk=walk, path=path, reader=BlockReader(file, path.name, walk.blocks))

    def notes(self, wanted: Collection[str] | None = None) -> list[str]:
        """What is to be said of the bag, after the walk.

        Args:
            wanted: Topics that somebody is interested in; None: all.
        """
        notes = [*self._bag.notes, *self.more_notes]
        for part in self._parts:
            notes += [*part.walk.notes, *(part.walk.losses if isinstance(part.walk, McapWalk) else ())]
        declared = self._bag.metadata.num_messages
        if declared is not None and declared != self.num_messages:
            notes.append(f"metadata.yaml says {declared:,} messages; {self.num_messages:,} are there")
        if self._num_packed:
            notes.append(f"{self._num_packed:,} messages were packed one by one (zstd)")
        by_distro: dict[str, set[str]] = {}
        for opened in self.opened.values():
            if opened.distro and (wanted is None or opened.channel.topic in wanted):
                by_distro.setdefault(opened.distro, set()).add(opened.channel.schema)
        notes += [
            f"the bag has no definition of {clip(printable(', '.join(sorted(types))), 200)}; ROS {distro}'s was taken"
            for distro, types in by_distro.items()
        ]
        notes += [
            f"{printable(topic)}: {count:,} messages have bytes behind their end; these were left out"
            for topic, count in self._trailing.items()
        ]
        return notes

    def problem_notes(self) -> list[str]:
        """Name the topics whose messages can't be decoded."""
        problems: dict[str, set[str]] = {}
        for number, opened in self.opened.items():
            if opened.type.problem and self.counts[number]:
                problems.setdefault(opened.type.problem, set()).add(opened.channel.topic)
        return [
            f"not decoded: {clip(printable(', '.join(sorted(topics))), 300)}: {problem}"
            for problem, topics in sorted(problems.items())
        ]

    # Types ----------------------------------------------------------------------------------------------------------

    def _add_channel(self, channel: Channel, walk: McapWalk | Ros1BagWalk | SqliteStore) -> int:
        number = len(self.opened)
        if isinstance(walk, Ros1BagWalk):
            problem = walk.problems.get(channel.id, "")
            opened = opened_ros1(channel, problem)
        else:
            metadata = self._bag.metadata
            distro = metadata.distro or (walk.distro if isinstance(walk, SqliteStore) else "")
            opened = opened_ros2(channel, metadata.formats.get(channel.topic, "cdr"), distro)
        self.opened[number] = opened
        self.counts[number] = 0
        return number

    # Payloads -------------------------------------------------------------------------------------------------------

    def ready(self, message: Message) -> Message:
        """A message as ROS 2 would have stored it: unpacked, in CDR; its place is right for an image in it.

        Raises:
            CdrError: It can't be unpacked or rewritten.
        """
        opened = self.opened[message.channel_id]
        if opened.converter is not None:
            converted = opened.converter.convert(message.payload)
            if converted.used < len(message.payload):
                topic = opened.channel.topic
                self._trailing[topic] = self._trailing.get(topic, 0) + 1
            return message._replace(payload=memoryview(converted.payload), offset=message.offset + converted.shift)
        if message.payload[:4] != ZSTD_MAGIC:
            return message
        self._num_packed += 1
        payload = _unpacked(message.payload)
        walk = self._parts[message.block >> _FILE_SHIFT].walk
        if not isinstance(walk, McapWalk):
            return message._replace(payload=payload)
        if not opened.type.is_image:
            return message._replace(payload=payload, offset=0)
        block = message.block & ~_LOCAL | _PACKED | len(self._packed) // 3
        self._packed.extend((message.block & _LOCAL, message.offset, len(message.payload)))
        return message._replace(payload=payload, block=block, offset=0)

    def head(self, message: Message) -> Message:
        """A message of which nothing but a stamp at its start is looked at.

        Raises:
            CdrError: It can't be unpacked.
        """
        if self.opened[message.channel_id].converter is None:
            return self.ready(message)
        # The sequence number of ROS 1 gives its place to the four bytes in front of a message of ROS 2.
        return message._replace(payload=memoryview(b"\0\1\0\0" + message.payload[4:12]))

    def read(self, block: int, offset: int, size: int) -> memoryview:
        """Bytes of a message by place, as `BlockReader.read`.

        Raises:
            SourceError: A file was changed since it was walked.
        """
        part, local = self._parts[block >> _FILE_SHIFT], block & _LOCAL
        _check_unchanged(part.path, part.state)
        if isinstance(part.walk, SqliteStore):
            store = part.walk
            data = self._keep(block, lambda: store.data(local))
        elif block & _PACKED:
            place = self._packed[3 * local : 3 * local + 3]
            data = self._keep(block, lambda: self._stored(part, *place))
        else:
            return self._stored(part, local, offset, size)
        found = data[offset : offset + size]
        if len(found) != size:
            raise SourceError(f"{part.path.name}: the file was changed while it was read")
        return found

    def _stored(self, part: _Part, block: int, offset: int, size: int) -> memoryview:
        assert part.reader is not None
        return part.reader.read(block, offset, size)

    def _keep(self, block: int, load: Callable[[], memoryview]) -> memoryview:
        """A message by its block; the two last stay in memory."""
        data = self._kept.get(block)
        if data is None:
            data = load()
            if data[:4] == ZSTD_MAGIC:
                data = _unpacked(data)
            while len(self._kept) > 1:
                self._kept.popitem(last=False)
            self._kept[block] = data
        return data


class BagBlocks(BlockReader):
    """Payloads of a bag by place, in the stead of those of one file."""

    def __init__(self, walk: BagWalk) -> None:
        """Read from the bag that was walked."""
        self._walk = walk

    def read(self, block: int, offset: int, size: int) -> memoryview:
        """The bytes at a place."""
        return self._walk.read(block, offset, size)


def _what_is(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(len(ZSTD_MAGIC))
    if start == ZSTD_MAGIC:
        return "what is packed in it is truncated, damaged, or neither SQLite nor MCAP"
    return f"begins with {start.hex(' ') or 'nothing'}; must be a ROS 1 bag, SQLite, MCAP, or a packed file of these"


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _check_unchanged(path: Path, before: tuple[int, int]) -> None:
    if _state(path) != before:
        raise SourceError(f"{path.name}: the file was changed while it was read")


def _digest(path: Path) -> str:
    """SHA-256 of a file of any size, hex."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(1 << 22):
            digest.update(piece)
            beat()
    return digest.hexdigest()


def _unpacked(payload: memoryview) -> memoryview:
    try:
        return unpack_message(payload)
    except ValueError as error:
        raise CdrError(str(error)) from error
