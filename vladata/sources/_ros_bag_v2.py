"""ROS 1 bags, format 2.0: one walk from front to back.

The walk needs no index, so that bags that were never closed are read as well; it reads every byte once, in order, and
holds one compressed chunk at a time. Format: http://wiki.ros.org/Bags/Format/2.0.
"""

import os
import re
import struct
from collections.abc import Iterator
from typing import BinaryIO, NoReturn, Protocol

from ..errors import GateError, SourceError
from ..text import clip, printable
from ._mcap_blocks import Blocks
from ._mcap_codecs import decompress
from ._mcap_file import Channel, Message
from ._mcap_window import EndOfFileError, Window
from ._ros2 import CdrError
from ._ros_bag_ros1 import ros2_text

__all__ = ["MAGIC", "Ros1BagWalk", "magic_problem"]

MAGIC = b"#ROSBAG V2.0\n"

MIB = 1 << 20
MAX_CHUNK = 64 * MIB
"""Largest expanded size of a chunk, unless its stored size says that it does not expand much."""
MAX_CHUNK_EVER = 128 * MIB
MAX_MESSAGE = 256 * MIB
MAX_HEADER = 64 * 1024
MAX_DEFINITIONS = 64 * MIB
"""Largest size of all connection records together."""
MAX_CONNECTIONS = 100_000

MESSAGE, BAG_HEADER, INDEX, CHUNK, CHUNK_INFO, CONNECTION = 2, 3, 4, 5, 6, 7
_NAMES = {2: "message", 3: "bag header", 4: "index", 5: "chunk", 6: "chunk info", 7: "connection"}

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_TIME = struct.Struct("<II")

_Fields = dict[bytes, bytes]


def magic_problem(start: bytes) -> str:
    """Say what is wrong with the first bytes of a file; empty where it is a bag that can be read."""
    if start.startswith(MAGIC):
        return ""
    version = re.match(rb"#ROSBAG V(\d{1,3}\.\d{1,3})", start)
    if version and version[1] != b"2.0":
        return f"a ROS bag of version {version[1].decode()}; this release reads 2.0: rosbag fix rewrites old bags"
    if version:
        return "line endings were converted (\\n of the magic is damaged): copy the file again in binary mode"
    return f"begins with {start[:8].hex(' ') or 'nothing'}; a ROS 1 bag begins with '#ROSBAG V2.0'"


class _Cursor(Protocol):
    """Bytes that are taken one after the other: the file, or a chunk in memory."""

    position: int

    def take(self, count: int) -> memoryview:
        """The next bytes; good until the next call."""


class _InMemory:
    """A chunk in memory."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self.position = 0

    def take(self, count: int) -> memoryview:
        start, self.position = self.position, self.position + count
        if self.position > len(self._data):
            raise EndOfFileError
        return self._data[start : self.position]


class Ros1BagWalk:
    """One walk over a file: messages as they lie, and what is learned on the way."""

    def __init__(self, file: BinaryIO, name: str, *, is_digested: bool = True) -> None:
        """Prepare to walk.

        Args:
            file: Opened unbuffered, at its start.
            name: For messages.
            is_digested: Compute the SHA-256 of the file.
        """
        self._name = name
        self._window = Window(file, is_digested=is_digested)
        self.size = os.fstat(file.fileno()).st_size
        """Bytes of the file."""
        self._scratch = bytearray()
        self._definitions_size = 0
        self._declared: tuple[int, int] | None = None
        self.channels: dict[int, Channel] = {}
        """Connections, with the definition of their messages as ROS 2 would write it."""
        self.problems: dict[int, str] = {}
        """Connections whose definition can't be rewritten, and why."""
        self.blocks = Blocks()
        self.num_messages = 0
        self.num_chunks = 0
        self.compressions: set[str] = set()
        self.sha256 = ""
        """Of the whole file, hex; after the walk."""
        self.notes: list[str] = []
        self.is_lossy = False
        """Whether the file ends in the middle of something."""

    def messages(self) -> Iterator[Message]:
        """All messages in the order of the file, as ROS 1 wrote them.

        Raises:
            SourceError: The file is damaged; with the byte.
            GateError: A size breaks a limit.
        """
        problem = magic_problem(bytes(self._window.take(min(len(MAGIC), self.size))))
        if problem:
            raise SourceError(f"{self._name}: {problem}")
        at = len(MAGIC)
        try:
            while self._window.position < self.size:
                at = self._window.position
                fields = self._fields(self._window, at)
                yield from self._record(fields, at)
        except EndOfFileError:
            self.is_lossy = True
            self.notes.append(
                f"{self._name} is truncated: it ends at byte {self.size:,} inside the record that begins at byte "
                f"{at:,}; {self.num_messages:,} messages up to there were read"
            )
        self._window.rest()
        self.sha256 = self._window.hexdigest()
        self._finish()

    def _finish(self) -> None:
        index_at, num_chunks = self._declared or (0, 0)
        if index_at == 0 and not self.is_lossy:
            self.notes.append(
                f"{self._name} was never closed by its recorder (it has no index); what is there was read"
            )
        elif num_chunks != self.num_chunks and not self.is_lossy:
            self.notes.append(f"{self._name} says {num_chunks:,} chunks; {self.num_chunks:,} are there")

    def _damaged(self, at: int, reason: str) -> NoReturn:
        raise SourceError(f"{self._name}: damaged at byte {at:,}: {reason}")

    def _bounded(self, size: int, limit: int, what: str) -> None:
        if size > limit:
            raise GateError(f"{self._name}: {what} has {size:,} bytes; at most {limit:,} are read at once")

    def _take(self, cursor: _Cursor, size: int) -> memoryview:
        """The next bytes, without making room for more than the file has."""
        if cursor is self._window and size > self.size - cursor.position:
            raise EndOfFileError
        return cursor.take(size)

    def _fields(self, cursor: _Cursor, at: int) -> _Fields:
        """The header of the next record."""
        size = _U32.unpack(cursor.take(4))[0]
        self._bounded(size, MAX_HEADER, f"the header of the record at byte {at:,}")
        return self._parse(bytes(self._take(cursor, size)), at)

    def _parse(self, data: bytes, at: int) -> _Fields:
        fields: _Fields = {}
        start, end = 0, len(data)
        while start < end:
            size = int.from_bytes(data[start : start + 4], "little")
            name, mark, value = data[start + 4 : start + 4 + size].partition(b"=")
            start += 4 + size
            if not mark or start > end:
                self._damaged(at, "the fields of a record's header can't be parsed")
            fields[name] = value
        return fields

    def _number(self, fields: _Fields, name: bytes, layout: struct.Struct, at: int) -> int:
        value = fields.get(name, b"")
        if len(value) != layout.size:
            self._damaged(at, f"field {name.decode()!r} has {len(value)} bytes; it must have {layout.size}")
        return int(layout.unpack(value)[0])

    def _operation(self, fields: _Fields, at: int) -> int:
        value = fields.get(b"op", b"")
        if len(value) != 1 or value[0] not in _NAMES:
            self._damaged(at, f"a record has op {value[:8].hex() or 'none'}; it must be one byte from 02 to 07")
        return value[0]

    def _record(self, fields: _Fields, at: int) -> Iterator[Message]:
        """Read a record of the file whose header was read."""
        window = self._window
        operation = self._operation(fields, at)
        if operation == MESSAGE:
            yield self._message(window, self.size, fields, 0, at)
            return
        size = _U32.unpack(window.take(4))[0]
        if operation == CHUNK:
            yield from self._chunk(fields, size, at)
        elif operation == CONNECTION:
            self._bounded(size, MAX_DEFINITIONS, f"the connection at byte {at:,}")
            self._define(fields, bytes(self._take(window, size)), at)
        else:
            if operation == BAG_HEADER:
                self._declare(fields, at)
            window.skip(size)

    def _declare(self, fields: _Fields, at: int) -> None:
        encryptor = fields.get(b"encryptor", b"")
        if encryptor:
            shown = clip(printable(encryptor.decode("utf-8", "replace")), 60)
            raise SourceError(f"{self._name}: the bag is encrypted ({shown}); decrypt it with rosbag decompress")
        index_at = self._number(fields, b"index_pos", _U64, at)
        self._declared = index_at, self._number(fields, b"chunk_count", _U32, at)

    def _chunk(self, fields: _Fields, stored: int, at: int) -> Iterator[Message]:
        compression = fields.get(b"compression", b"").decode("latin-1")
        size = self._number(fields, b"size", _U32, at)
        if compression not in {"none", "bz2", "lz4"}:
            shown = clip(printable(compression), 40)
            self._damaged(at, f"the chunk's compression is {shown!r}; must be one of none, bz2, lz4")
        self.num_chunks += 1
        self.compressions.add(compression)
        if compression == "none":
            if size != stored:
                self._damaged(at, f"the chunk is not compressed, but says {size:,} bytes and stores {stored:,}")
            yield from self._records(self._window, self._window.position + stored, 0, at)
            return
        self._bounded(size, min(max(MAX_CHUNK, 2 * stored), MAX_CHUNK_EVER), f"the chunk at byte {at:,}")
        self._bounded(stored, MAX_CHUNK_EVER, f"the stored chunk at byte {at:,}")
        block = self.blocks.add(self._window.position, stored, size, compression)
        packed = self._take(self._window, stored)
        if len(self._scratch) < size:
            self._scratch = bytearray(size)
        data = memoryview(self._scratch)[:size]
        problem = decompress(compression, packed, data)
        if problem:
            self._damaged(at, f"the chunk {problem}")
        try:
            yield from self._records(_InMemory(data), size, block, at)
        except EndOfFileError:
            self._damaged(at, f"a record goes beyond the {size:,} bytes of its chunk")

    def _records(self, cursor: _Cursor, end: int, block: int, at: int) -> Iterator[Message]:
        """Messages of a chunk, up to a position; connections are learned."""
        while cursor.position < end:
            fields = self._fields(cursor, at)
            operation = self._operation(fields, at)
            if operation == MESSAGE:
                yield self._message(cursor, end, fields, block, at)
                continue
            size = _U32.unpack(cursor.take(4))[0]
            if operation != CONNECTION:
                self._damaged(at, f"a chunk has a {_NAMES[operation]} record in it")
            self._bounded(size, MAX_DEFINITIONS, f"a connection in the chunk at byte {at:,}")
            self._define(fields, bytes(self._take(cursor, size)), at)
        if cursor.position != end:
            self._damaged(at, "a record goes beyond its chunk")

    def _message(self, cursor: _Cursor, end: int, fields: _Fields, block: int, at: int) -> Message:
        number = self._number(fields, b"conn", _U32, at)
        if number not in self.channels:
            self._damaged(at, f"a message is of connection {number}, which is not defined before")
        time = fields.get(b"time", b"")
        if len(time) != 8:
            self._damaged(at, f"field 'time' has {len(time)} bytes; it must have 8")
        seconds, nanoseconds = _TIME.unpack(time)
        size = _U32.unpack(cursor.take(4))[0]
        self._bounded(size, MAX_MESSAGE, f"a message in the record at byte {at:,}")
        if cursor.position + size > end and end < self.size:
            self._damaged(at, f"a message of {size:,} bytes goes beyond its chunk")
        offset = cursor.position
        payload = self._take(cursor, size)
        time_ns = seconds * 1_000_000_000 + nanoseconds
        self.num_messages += 1
        return Message(number, 0, time_ns, time_ns, block, offset, payload)

    def _define(self, fields: _Fields, data: bytes, at: int) -> None:
        """Learn a connection; it comes again in the index."""
        number = self._number(fields, b"conn", _U32, at)
        about = self._parse(data, at)
        name, text = (about.get(k, b"").decode("utf-8", "replace") for k in (b"type", b"message_definition"))
        topic = fields.get(b"topic", b"").decode("utf-8", "replace")
        if number not in self.channels:
            self._definitions_size += len(data)
            self._bounded(self._definitions_size, MAX_DEFINITIONS, "all connections together")
            if len(self.channels) >= MAX_CONNECTIONS:
                raise GateError(f"{self._name}: more than {MAX_CONNECTIONS:,} connections")
        try:
            text = ros2_text(name, text)
        except CdrError as error:
            self.problems[number], text = str(error), ""
        channel = Channel(number, topic, "cdr", name, "ros2msg", text.encode())
        if self.channels.setdefault(number, channel) != channel:
            self._damaged(at, f"connection {number} is defined twice, differently")
