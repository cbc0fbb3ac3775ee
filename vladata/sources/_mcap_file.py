"""MCAP containers: one walk from front to back.

The walk needs no index: it reads every byte once, in order, so that the file's digest comes with it, and it holds
one chunk at a time. Format: https://mcap.dev/spec.
"""

import os
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple, NoReturn

from ..errors import GateError, SourceError
from ..text import clip, printable
from ._mcap_blocks import Blocks
from ._mcap_codecs import COMPRESSIONS, decompress
from ._mcap_window import EndOfFileError, Window

__all__ = ["MAGIC", "Channel", "McapWalk", "Message", "magic_problem"]

MAGIC = b"\x89MCAP0\r\n"

MIB = 1 << 20
MAX_CHUNK = 64 * MIB
"""Largest uncompressed size of a chunk, unless its stored size says that it does not expand much."""
MAX_CHUNK_EVER = 128 * MIB
MAX_RECORD = 256 * MIB
"""Largest message outside chunks."""
MAX_DEFINITIONS = 64 * MIB
"""Largest size of all schemas and channels together."""
MAX_METADATA = 64 * 1024
MAX_METADATA_RECORDS = 100

HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, STATISTICS, METADATA, DATA_END = 1, 2, 3, 4, 5, 6, 11, 12, 15
_NAMES = {1: "header", 2: "footer", 3: "schema", 4: "channel", 5: "message", 6: "chunk", 11: "statistics"}

_RECORD = struct.Struct("<BQ")
_MESSAGE = struct.Struct("<HIQQ")
_CHUNK = struct.Struct("<QQQII")
_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


class Channel(NamedTuple):
    """A topic as one publisher wrote it."""

    id: int
    topic: str
    encoding: str
    """Of the messages, for instance `cdr`."""
    schema: str
    """Name of the message type; empty where there is none."""
    schema_encoding: str
    """For instance `ros2msg`."""
    definition: bytes
    """The schema's text."""


class Message(NamedTuple):
    """One message and where its payload lies."""

    channel_id: int
    sequence: int
    log_time: int
    """ns."""
    publish_time: int
    """ns."""
    block: int
    """0: the file itself; else a compressed chunk."""
    offset: int
    """Of the payload in its block."""
    payload: memoryview
    """Good until the next message."""


def magic_problem(start: bytes) -> str:
    """Say what is wrong with the first bytes of a file; empty where it is an MCAP file."""
    if start.startswith(MAGIC):
        return ""
    if re.match(rb"(\x89|\x09|\xc2\x89|\xef\xbf\xbd)MCAP0(\r\r\n|\r|\n)", start):
        return "line endings were converted (\\r\\n of the magic is damaged): copy the file again in binary mode"
    if start[:5] == MAGIC[:5] and start[6:8] == MAGIC[6:8]:
        return f"MCAP version {printable(start[5:6].decode('latin-1'))!r}; this release reads version '0'"
    if MAGIC.startswith(start):
        return f"the file has {len(start)} bytes; it must begin with the 8 bytes of \\x89MCAP0\\r\\n"
    return f"begins with {start[:8].hex(' ')}; an MCAP file begins with {MAGIC.hex(' ')}"


@dataclass(slots=True)
class _Expanded:
    """A chunk that lies in memory."""

    data: memoryview
    block: int
    base: int
    """Added to an offset in the chunk to get the offset in the block."""
    position: int
    """Of the chunk record in the file."""
    is_compressed: bool


class McapWalk:
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
        self._fd = file.fileno()
        self.size = os.fstat(self._fd).st_size
        """Bytes of the file."""
        self._schemas: dict[int, tuple[str, str, bytes]] = {}
        self._definitions_size = 0
        self._scratch = bytearray()
        self._declared_messages: int | None = None
        self._data_end = 0, 0
        self.channels: dict[int, Channel] = {}
        self.blocks = Blocks()
        self.profile = ""
        self.library = ""
        self.metadata: list[tuple[str, dict[str, str]]] = []
        self.num_messages = 0
        self.num_chunks = 0
        self.num_unchecked = 0
        """Chunks without a checksum."""
        self.num_loose = 0
        """Messages outside chunks."""
        self.compressions: set[str] = set()
        self.sha256 = ""
        """Of the whole file, hex; after the walk."""
        self.notes: list[str] = []

    def messages(self) -> Iterator[Message]:
        """All messages in the order of the file.

        Raises:
            SourceError: The file is damaged or truncated; with the byte and how much is readable.
            GateError: A size breaks a limit.
        """
        at, what = 0, "the magic"
        try:
            problem = magic_problem(bytes(self._window.take(min(len(MAGIC), self.size))))
            if problem:
                raise SourceError(f"{self._name}: {problem}")
            while True:
                at, what = self._window.position, "a record"
                opcode, length = _RECORD.unpack(self._window.take(_RECORD.size))
                what = f"the {_NAMES.get(opcode, 'record')}"
                if length > self.size - self._window.position:
                    raise EndOfFileError
                if opcode == CHUNK:
                    yield from self._chunk(at, length)
                elif opcode == MESSAGE:
                    yield self._loose_message(at, length)
                elif opcode == FOOTER:
                    self._finish(length)
                    return
                else:
                    self._record(opcode, length, at)
        except EndOfFileError:
            raise SourceError(
                f"{self._name}: truncated: the file ends at byte {self.size:,} inside or before {what} that begins "
                f"at byte {at:,}, and has no footer; {self.num_messages:,} messages up to there are readable"
            ) from None

    def _damaged(self, at: int, reason: str) -> NoReturn:
        raise SourceError(f"{self._name}: damaged at byte {at:,}: {reason}")

    def _record(self, opcode: int, length: int, at: int) -> None:
        """A record between the chunks: read what is needed of it, pass over the rest."""
        is_small = opcode == METADATA and length <= MAX_METADATA and len(self.metadata) < MAX_METADATA_RECORDS
        if opcode in {SCHEMA, CHANNEL}:
            self._bounded(length, MAX_DEFINITIONS, f"the {_NAMES[opcode]} at byte {at:,}")
            self._define(opcode, self._window.take(length), at)
        elif (opcode in {HEADER, STATISTICS, DATA_END} and length <= MAX_METADATA) or is_small:
            body = self._window.take(length)
            try:
                if opcode == DATA_END:
                    self._data_end = at, _U32.unpack_from(body)[0]
                else:
                    self._fact(opcode, body)
            except (struct.error, UnicodeDecodeError):
                self._damaged(at, f"{_NAMES.get(opcode, 'metadata')} record of {length} bytes can't be parsed")
        else:
            self._window.skip(length)

    def _fact(self, opcode: int, body: memoryview) -> None:
        if opcode == HEADER:
            self.profile, at = _text(body, 0)
            self.library, _ = _text(body, at)
        elif opcode == STATISTICS:
            self._declared_messages = _U64.unpack_from(body)[0]
        else:
            name, at = _text(body, 0)
            end = at + 4 + _U32.unpack_from(body, at)[0]
            at += 4
            values: dict[str, str] = {}
            while at < end:
                key, at = _text(body, at)
                values[key], at = _text(body, at)
            self.metadata.append((name, values))

    def _bounded(self, size: int, limit: int, what: str) -> None:
        if size > limit:
            raise GateError(f"{self._name}: {what} has {size:,} bytes; at most {limit:,} are read at once")

    def _define(self, opcode: int, body: memoryview, at: int) -> None:
        try:
            number = _U16.unpack_from(body)[0]
            if number not in (self._schemas if opcode == SCHEMA else self.channels):
                self._definitions_size += len(body)
                self._bounded(self._definitions_size, MAX_DEFINITIONS, "all schemas and channels together")
            if opcode == SCHEMA:
                name, end = _text(body, 2)
                encoding, end = _text(body, end)
                size = _U32.unpack_from(body, end)[0]
                definition = bytes(body[end + 4 : end + 4 + size])
                if number == 0 or len(definition) != size:
                    self._damaged(at, f"schema {number} has {len(definition)} bytes of text; it says {size}")
                old: object = self._schemas.setdefault(number, (name, encoding, definition))
                new: object = (name, encoding, definition)
            else:
                schema = _U16.unpack_from(body, 2)[0]
                topic, end = _text(body, 4)
                encoding, end = _text(body, end)
                if schema and schema not in self._schemas:
                    self._damaged(at, f"channel {number} uses schema {schema}, which is not defined before")
                new = Channel(number, topic, encoding, *self._schemas.get(schema, ("", "", b"")))
                old = self.channels.setdefault(number, new)
        except (struct.error, UnicodeDecodeError):
            self._damaged(at, f"the {_NAMES[opcode]} record can't be parsed")
        if old != new:
            self._damaged(at, f"{_NAMES[opcode]} {number} is defined twice, differently")

    def _loose_message(self, at: int, length: int) -> Message:
        self._bounded(length, MAX_RECORD, f"the message at byte {at:,}")
        body = self._window.take(length)
        self.num_loose += 1
        return self._message(body, 0, at + _RECORD.size + _MESSAGE.size, at)

    def _message(self, body: memoryview, block: int, offset: int, at: int) -> Message:
        if len(body) < _MESSAGE.size:
            self._damaged(at, f"a message record has {len(body)} bytes; it must have at least {_MESSAGE.size}")
        channel, sequence, log_time, publish_time = _MESSAGE.unpack_from(body)
        if channel not in self.channels:
            self._damaged(at, f"a message is of channel {channel}, which is not defined before")
        self.num_messages += 1
        return Message(channel, sequence, log_time, publish_time, block, offset, body[_MESSAGE.size :])

    def _chunk(self, at: int, length: int) -> Iterator[Message]:
        """Messages of the chunk whose record begins at a byte."""
        head = self._window.take(min(length, _CHUNK.size))
        if len(head) < _CHUNK.size:
            self._damaged(at, f"a chunk record has {length} bytes; it must have at least {_CHUNK.size + 8}")
        _, _, size, crc, name_size = _CHUNK.unpack(head)
        if name_size > 32 or _CHUNK.size + name_size + 8 > length:
            self._damaged(at, f"the chunk's compression has a name of {name_size} bytes")
        compression = bytes(self._window.take(name_size)).decode("latin-1")
        stored = _U64.unpack(self._window.take(8))[0]
        if stored > length - _CHUNK.size - name_size - 8:
            self._damaged(at, f"the chunk has {length:,} bytes; it says that {stored:,} are stored in it")
        if compression not in COMPRESSIONS:
            known = ", ".join(c or "none" for c in COMPRESSIONS)
            self._damaged(
                at, f"the chunk's compression is {clip(printable(compression), 40)!r}; must be one of {known}"
            )
        self.num_chunks += 1
        self.num_unchecked += crc == 0
        self.compressions.add(compression)
        end = at + _RECORD.size + length
        if compression == "" and size != stored:
            self._damaged(at, f"the chunk is not compressed, but says {size:,} bytes and stores {stored:,}")
        if compression == "" and stored > MAX_CHUNK:
            yield from self._long_chunk(at, stored, crc)
        else:
            yield from self._records(self._expand(at, stored, size, crc, compression))
        self._window.skip(end - self._window.position)

    def _expand(self, at: int, stored: int, size: int, crc: int, compression: str) -> _Expanded:
        position = self._window.position
        if not compression:
            data = self._window.take(stored)
            chunk = _Expanded(data=data, block=0, base=position, position=at, is_compressed=False)
        else:
            self._bounded(size, min(max(MAX_CHUNK, 2 * stored), MAX_CHUNK_EVER), f"the chunk at byte {at:,}")
            self._bounded(stored, MAX_CHUNK_EVER, f"the stored chunk at byte {at:,}")
            if len(self._scratch) < size:
                self._scratch = bytearray(size)
            target = memoryview(self._scratch)[:size]
            problem = decompress(compression, self._window.take(stored), target)
            if problem:
                self._damaged(at, f"the chunk {problem}")
            block = self.blocks.add(position, stored, size, compression)
            chunk = _Expanded(data=target, block=block, base=0, position=at, is_compressed=True)
        if crc and zlib.crc32(chunk.data) != crc:
            self._damaged(at, f"the chunk's CRC-32 is {zlib.crc32(chunk.data):08x}; it must be {crc:08x}")
        return chunk

    def _records(self, chunk: _Expanded) -> Iterator[Message]:
        """Messages of a chunk in memory; schemas and channels are learned."""
        data, block, base = chunk.data, chunk.block, chunk.base
        at, end = 0, len(data)
        while at < end:
            if end - at < _RECORD.size:
                self._damaged(chunk.position, f"byte {at:,} of the chunk: {end - at} bytes are left over")
            opcode, length = _RECORD.unpack_from(data, at)
            start = at + _RECORD.size
            at = start + length
            if at > end:
                self._damaged(
                    chunk.position,
                    f"byte {start:,} of the chunk: a record of {length:,} bytes; {end - start:,} are left",
                )
            if opcode == MESSAGE:
                yield self._message(data[start:at], block, base + start + _MESSAGE.size, chunk.position)
            elif opcode in {SCHEMA, CHANNEL}:
                self._define(opcode, data[start:at], chunk.position)

    def _long_chunk(self, at: int, stored: int, crc: int) -> Iterator[Message]:
        """Messages of an uncompressed chunk that is too large to hold: record by record, the CRC at its end."""
        end = self._window.position + stored
        running = 0
        while self._window.position < end:
            position = self._window.position
            if end - position < _RECORD.size:
                self._damaged(position, f"{end - position} bytes are left over in the chunk at byte {at:,}")
            head = self._window.take(_RECORD.size)
            running = zlib.crc32(head, running)
            opcode, length = _RECORD.unpack(head)
            if length > end - self._window.position:
                self._damaged(position, f"a record of {length:,} bytes goes beyond the chunk at byte {at:,}")
            self._bounded(length, MAX_RECORD, f"the record at byte {position:,}")
            body = self._window.take(length)
            running = zlib.crc32(body, running)
            if opcode == MESSAGE:
                yield self._message(body, 0, position + _RECORD.size + _MESSAGE.size, position)
            elif opcode in {SCHEMA, CHANNEL}:
                self._define(opcode, body, position)
        if crc and running != crc:
            self._damaged(at, f"the chunk's CRC-32 is {running:08x}; it must be {crc:08x}")

    def _finish(self, length: int) -> None:
        """Read the footer and the end of the file."""
        self._window.skip(length)
        at = self._window.position
        end = bytes(self._window.take(len(MAGIC)))
        if end != MAGIC:
            self._damaged(at, f"the file must end with the magic after its footer, not with {end.hex(' ')}")
        self._check_data()
        trailing = self.size - self._window.position
        self._window.rest()
        self.sha256 = self._window.hexdigest()
        if trailing > 0:
            self.notes.append(f"{trailing:,} bytes after the end of the MCAP data were not read")
        if self._declared_messages is not None and self._declared_messages != self.num_messages:
            self.notes.append(
                f"the file's statistics say {self._declared_messages:,} messages; {self.num_messages:,} are there"
            )
        if self.num_unchecked:
            self.notes.append(f"{self.num_unchecked:,} of {self.num_chunks:,} chunks have no checksum")

    def _check_data(self) -> None:
        """Compare the checksum of the data section; chunks have their own, so only where messages lie outside."""
        end, expected = self._data_end
        if not self.num_loose or not expected:
            return
        running, at = 0, 0
        while at < end:
            piece = os.pread(self._fd, min(MIB, end - at), at)
            if not piece:
                break
            running = zlib.crc32(piece, running)
            at += len(piece)
        if running != expected:
            self._damaged(end, f"the CRC-32 of the data is {running:08x}; it must be {expected:08x}")


def _text(body: memoryview, at: int) -> tuple[str, int]:
    """A string with its length before it, and where it ends."""
    size = _U32.unpack_from(body, at)[0]
    end = at + 4 + size
    if end > len(body):
        raise struct.error("string goes beyond its record")
    return bytes(body[at + 4 : end]).decode(), end
