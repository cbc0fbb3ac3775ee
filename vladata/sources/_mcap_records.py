"""Records of an MCAP file: channels with their schemas, messages; and what is read of a file out of order."""

import os
import re
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from .. import workers
from ..errors import GateError
from ..text import printable

__all__ = [
    "CHANNEL",
    "MAGIC",
    "MAX_DEFINITIONS",
    "SCHEMA",
    "Channel",
    "Definitions",
    "Message",
    "crc32_of",
    "magic_problem",
    "record_text",
]

MAGIC = b"\x89MCAP0\r\n"

MAX_DEFINITIONS = 64 << 20
"""Largest size of all schemas and channels together."""
MAX_SUMMARY = 64 << 20

SCHEMA, CHANNEL = 3, 4

_RECORD = struct.Struct("<BQ")
_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_FOOTER = struct.Struct("<BQQQI")
_FOOTER_OPCODE = 2
_PIECE = 1 << 20


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
    if MAGIC.startswith(start):
        return f"the file has {len(start)} bytes; it must begin with the 8 bytes of \\x89MCAP0\\r\\n"
    if re.match(rb"(\x89|\x09|\xc2\x89|\xef\xbf\xbd)MCAP0(\r\r\n|\r|\n)", start):
        return "line endings were converted (\\r\\n of the magic is damaged): copy the file again in binary mode"
    if start[:5] == MAGIC[:5] and start[6:8] == MAGIC[6:8]:
        return f"MCAP version {printable(start[5:6].decode('latin-1'))!r}; this release reads version '0'"
    return f"begins with {start[:8].hex(' ')}; an MCAP file begins with {MAGIC.hex(' ')}"


class Definitions:
    """Schemas and channels of a file, as they are learned."""

    def __init__(self, name: str) -> None:
        """Begin empty.

        Args:
            name: Of the file, for messages.
        """
        self._name = name
        self._schemas: dict[int, tuple[str, str, bytes]] = {}
        self._size = 0
        self._is_recalled = False
        self.channels: dict[int, Channel] = {}

    def add(self, opcode: int, body: memoryview) -> str:
        """Learn a schema or a channel.

        Returns:
            What is wrong with the record; empty where nothing is.

        Raises:
            GateError: All of them together have too many bytes.
        """
        what = "schema" if opcode == SCHEMA else "channel"
        try:
            return self._schema(body) if opcode == SCHEMA else self._channel(body)
        except (struct.error, UnicodeDecodeError):
            return f"the {what} record can't be parsed"

    def _schema(self, body: memoryview) -> str:
        number = _U16.unpack_from(body)[0]
        self._count(number in self._schemas, body)
        name, end = record_text(body, 2)
        encoding, end = record_text(body, end)
        size = _U32.unpack_from(body, end)[0]
        definition = bytes(body[end + 4 : end + 4 + size])
        if number == 0 or len(definition) != size:
            return f"schema {number} has {len(definition)} bytes of text; it says {size}"
        new = (name, encoding, definition)
        return "" if self._schemas.setdefault(number, new) == new else f"schema {number} is defined twice, differently"

    def _channel(self, body: memoryview) -> str:
        number, schema = _U16.unpack_from(body)[0], _U16.unpack_from(body, 2)[0]
        self._count(number in self.channels, body)
        topic, end = record_text(body, 4)
        encoding, _ = record_text(body, end)
        if schema and schema not in self._schemas:
            return f"channel {number} uses schema {schema}, which is not defined before"
        new = Channel(number, topic, encoding, *self._schemas.get(schema, ("", "", b"")))
        return "" if self.channels.setdefault(number, new) == new else f"channel {number} is defined twice, differently"

    def _count(self, is_known: bool, body: memoryview) -> None:
        self._size += 0 if is_known else len(body)
        if self._size > MAX_DEFINITIONS:
            raise GateError(
                f"{self._name}: all schemas and channels together have {self._size:,} bytes; at most "
                f"{MAX_DEFINITIONS:,} are read at once"
            )

    def recall(self, fd: int, size: int) -> None:
        """Learn what the summary at the end of a file repeats, where the part that defined it is lost."""
        if not self._is_recalled:
            self._is_recalled = True
            for opcode, body in summary_definitions(fd, size):
                number = _U16.unpack_from(body)[0] if len(body) >= 2 else -1
                if number not in (self._schemas if opcode == SCHEMA else self.channels):
                    self.add(opcode, body)


def record_text(body: memoryview, at: int) -> tuple[str, int]:
    """A string with its length before it, and where it ends.

    Raises:
        struct.error: It goes beyond its record.
        UnicodeDecodeError: It is not UTF-8.
    """
    size = _U32.unpack_from(body, at)[0]
    end = at + 4 + size
    if end > len(body):
        raise struct.error("string goes beyond its record")
    return bytes(body[at + 4 : end]).decode(), end


def crc32_of(fd: int, start: int, end: int) -> int:
    """CRC-32 of some bytes of a file."""
    running = 0
    while start < end:
        piece = os.pread(fd, min(_PIECE, end - start), start)
        if not piece:
            break
        running = zlib.crc32(piece, running)
        start += len(piece)
        workers.beat()
    return running


def summary_definitions(fd: int, size: int) -> Iterator[tuple[int, memoryview]]:
    """Schemas and channels that a file's summary repeats, opcode and body each; none where there is no summary."""
    footer_at = size - len(MAGIC) - _FOOTER.size
    data = os.pread(fd, _FOOTER.size, max(0, footer_at))
    if footer_at < 0 or len(data) != _FOOTER.size:
        return
    opcode, length, start, _, _ = _FOOTER.unpack(data)
    if opcode != _FOOTER_OPCODE or length != _FOOTER.size - _RECORD.size or not 0 < start < footer_at:
        return
    body = memoryview(os.pread(fd, min(footer_at - start, MAX_SUMMARY), start))
    at = 0
    while at + _RECORD.size <= len(body):
        opcode, length = _RECORD.unpack_from(body, at)
        at += _RECORD.size
        if length > len(body) - at:
            return
        if opcode in {SCHEMA, CHANNEL}:
            yield opcode, body[at : at + length]
        at += length
