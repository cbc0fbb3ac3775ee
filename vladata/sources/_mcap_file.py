"""MCAP containers: one walk from front to back.

The walk needs no index: it reads every byte once, in order, so that the file's digest comes with it, and it holds
one chunk at a time. Format: https://mcap.dev/spec.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NoReturn

from ..errors import GateError, SourceError
from ..text import clip, printable
from ._mcap_blocks import Blocks
from ._mcap_codecs import COMPRESSIONS, decompress, decompress_start
from ._mcap_records import (
    CHANNEL,
    MAGIC,
    MAX_DEFINITIONS,
    SCHEMA,
    Channel,
    Definitions,
    Message,
    crc32_of,
    magic_problem,
    record_text,
)
from ._mcap_window import EndOfFileError, Window

__all__ = ["MAGIC", "Channel", "McapWalk", "Message", "magic_problem"]

MIB = 1 << 20
MAX_CHUNK = 64 * MIB
"""Largest uncompressed size of a chunk, unless its stored size says that it does not expand much."""
MAX_CHUNK_EVER = 128 * MIB
MAX_RECORD = 256 * MIB
"""Largest message outside chunks."""
MAX_METADATA = 64 * 1024
MAX_METADATA_RECORDS = 100
MAX_LOSSES = 10

HEADER, FOOTER, MESSAGE, CHUNK, STATISTICS, METADATA, DATA_END = 1, 2, 5, 6, 11, 12, 15
_NAMES = {1: "header", 2: "footer", 3: "schema", 4: "channel", 5: "message", 6: "chunk", 11: "statistics"}

_RECORD = struct.Struct("<BQ")
_MESSAGE = struct.Struct("<HIQQ")
_CHUNK = struct.Struct("<QQQII")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


class _DamageError(SourceError):
    """A part of the file is damaged."""


@dataclass(slots=True)
class _Expanded:
    """A chunk that lies in memory."""

    data: memoryview
    block: int
    base: int
    """Added to an offset in the chunk to get the offset in the block."""
    position: int
    """Of the chunk record in the file."""


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
        self._definitions = Definitions(name)
        self._scratch = bytearray()
        self._declared_messages: int | None = None
        self._data_end = 0, 0
        self.channels = self._definitions.channels
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
        self.is_lossy = False
        """Whether a part of the file could not be read; `losses` says which."""
        self.num_lost_chunks = 0
        self._losses: list[str] = []
        self._num_more_losses = 0
        self._num_orphans = 0
        self._chunk_times = ""
        self.notes: list[str] = []

    def messages(self) -> Iterator[Message]:
        """All messages in the order of the file, as far as it can be read: `is_lossy` and `losses` say what can't.

        Raises:
            SourceError: The file is no MCAP file, or what lies outside chunks is damaged; with the byte.
            GateError: A size breaks a limit.
        """
        at, what = 0, "the magic"
        try:
            problem = magic_problem(bytes(self._window.take(min(len(MAGIC), self.size))))
            if problem:
                raise SourceError(f"{self._name}: {problem}")
            opcode = HEADER
            while opcode != FOOTER:
                at, what = self._window.position, "a record"
                opcode, length = _RECORD.unpack(self._window.take(_RECORD.size))
                what = f"the {_NAMES.get(opcode, 'record')} of {length:,} bytes"
                if opcode == 0:
                    self._lost(f"no record begins at byte {at:,}; the {self.size - at:,} bytes from there on are lost")
                    break
                if length > self.size - self._window.position:
                    if opcode == CHUNK:
                        yield from self._cut_chunk(at)
                    raise EndOfFileError
                if opcode == CHUNK:
                    yield from self._chunk(at, length)
                elif opcode == MESSAGE:
                    yield from self._loose_message(at, length)
                elif opcode == FOOTER:
                    self._footer(length)
                else:
                    self._record(opcode, length, at)
        except EndOfFileError:
            self._lost(
                f"truncated: the file ends at byte {self.size:,} inside or before {what} that begins at byte {at:,}, "
                f"and has no footer; {self.num_messages:,} messages up to there were read, what came after is lost"
            )
        self._finish()

    def _damaged(self, at: int, reason: str) -> NoReturn:
        raise _DamageError(f"{self._name}: damaged at byte {at:,}: {reason}")

    def _lost(self, reason: str) -> None:
        """Say what could not be read."""
        self.is_lossy = True
        if len(self._losses) < MAX_LOSSES:
            self._losses.append(reason)
        else:
            self._num_more_losses += 1

    @property
    def losses(self) -> list[str]:
        """What could not be read, one line each."""
        more = self._num_more_losses
        return [*self._losses, *([f"{more:,} more chunks are damaged and left out"] if more else [])]

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
            self.profile, at = record_text(body, 0)
            self.library, _ = record_text(body, at)
        elif opcode == STATISTICS:
            self._declared_messages = _U64.unpack_from(body)[0]
        else:
            name, at = record_text(body, 0)
            end = at + 4 + _U32.unpack_from(body, at)[0]
            at += 4
            values: dict[str, str] = {}
            while at < end:
                key, at = record_text(body, at)
                values[key], at = record_text(body, at)
            self.metadata.append((name, values))

    def _bounded(self, size: int, limit: int, what: str) -> None:
        if size > limit:
            raise GateError(f"{self._name}: {what} has {size:,} bytes; at most {limit:,} are read at once")

    def _define(self, opcode: int, body: memoryview, at: int) -> None:
        problem = self._definitions.add(opcode, body)
        if problem and self.is_lossy:
            self._definitions.recall(self._fd, self.size)
            problem = self._definitions.add(opcode, body)
        if problem:
            self._damaged(at, problem)

    def _loose_message(self, at: int, length: int) -> Iterator[Message]:
        self._bounded(length, MAX_RECORD, f"the message at byte {at:,}")
        body = self._window.take(length)
        self.num_loose += 1
        message = self._message(body, 0, at + _RECORD.size + _MESSAGE.size, at)
        if message is not None:
            yield message

    def _message(self, body: memoryview, block: int, offset: int, at: int) -> Message | None:
        """One message; none where its channel was defined in a chunk that is lost."""
        if len(body) < _MESSAGE.size:
            self._damaged(at, f"a message record has {len(body)} bytes; it must have at least {_MESSAGE.size}")
        channel, sequence, log_time, publish_time = _MESSAGE.unpack_from(body)
        if channel not in self.channels:
            if not self.is_lossy:
                self._damaged(at, f"a message is of channel {channel}, which is not defined before")
            self._definitions.recall(self._fd, self.size)
            if channel not in self.channels:
                self._num_orphans += 1
                return None
        self.num_messages += 1
        return Message(channel, sequence, log_time, publish_time, block, offset, body[_MESSAGE.size :])

    def _chunk(self, at: int, length: int) -> Iterator[Message]:
        """Messages of the chunk whose record begins at a byte; of a damaged one those before the damage, if any."""
        end = self._window.position + length
        before = self.num_messages
        self._chunk_times = ""
        try:
            yield from self._chunk_messages(at, length)
        except _DamageError as error:
            read = self.num_messages - before
            said = str(error).removeprefix(f"{self._name}: ")
            kept = f"; {read:,} of its messages come before that and were read" if read else ""
            self._lost(f"{said}; the chunk{self._chunk_times} is left out{kept}")
            self.num_lost_chunks += 1
        self._window.skip(end - self._window.position)

    def _chunk_head(self, at: int, length: int) -> tuple[int, int, str, int]:
        """Expanded size, checksum, compression and stored size."""
        head = self._window.take(min(length, _CHUNK.size))
        if len(head) < _CHUNK.size:
            self._damaged(at, f"a chunk record has {length} bytes; it must have at least {_CHUNK.size + 8}")
        start, last, size, crc, name_size = _CHUNK.unpack(head)
        self._chunk_times = f" (messages logged from {start} to {last} ns)"
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
        return size, crc, compression, stored

    def _chunk_messages(self, at: int, length: int) -> Iterator[Message]:
        size, crc, compression, stored = self._chunk_head(at, length)
        self.num_chunks += 1
        self.num_unchecked += crc == 0
        self.compressions.add(compression)
        if compression == "" and size != stored:
            self._damaged(at, f"the chunk is not compressed, but says {size:,} bytes and stores {stored:,}")
        if compression == "" and stored > MAX_CHUNK:
            yield from self._long_chunk(at, stored, crc)
        else:
            yield from self._records(self._expand(at, stored, size, crc, compression))

    def _cut_chunk(self, at: int) -> Iterator[Message]:
        """Messages of the chunk in which the file ends, as far as they are whole; nothing checks them."""
        try:
            size, _, compression, _ = self._chunk_head(at, 1 << 62)
            left = self.size - self._window.position
            if not compression and left > MAX_CHUNK:
                yield from self._records_until(at, self.size)
            if left > MAX_CHUNK or size > MAX_CHUNK:
                return
            position, stored = self._window.position, self._window.take(left)
            if not compression:
                chunk = _Expanded(data=stored, block=0, base=position, position=at)
            else:
                data = memoryview(bytearray(size))
                found = decompress_start(compression, stored, data)
                block = self.blocks.add(position, left, found, compression)
                chunk = _Expanded(data=data[:found], block=block, base=0, position=at)
            self.num_chunks += 1
            self.num_unchecked += 1
            self.compressions.add(compression)
            yield from self._records(chunk)
        except _DamageError:
            return

    def _expand(self, at: int, stored: int, size: int, crc: int, compression: str) -> _Expanded:
        position = self._window.position
        if not compression:
            data = self._window.take(stored)
            chunk = _Expanded(data=data, block=0, base=position, position=at)
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
            chunk = _Expanded(data=target, block=block, base=0, position=at)
        if crc and zlib.crc32(chunk.data) != crc:
            self._damaged(at, f"the chunk's CRC-32 is {zlib.crc32(chunk.data):08x}; it must be {crc:08x}")
        return chunk

    def _records(self, chunk: _Expanded) -> Iterator[Message]:
        """Messages of a chunk in memory; schemas and channels are learned."""
        data, block, base = chunk.data, chunk.block, chunk.base
        channels, unpack, head = self.channels, _MESSAGE.unpack_from, _MESSAGE.size
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
            if opcode == MESSAGE and length >= head:
                channel, sequence, log_time, publish_time = unpack(data, start)
                if channel in channels:  # as in `_message`, which is called for the rest only: most time goes by here
                    self.num_messages += 1
                    payload = data[start + head : at]
                    yield Message(channel, sequence, log_time, publish_time, block, base + start + head, payload)
                    continue
            if opcode == MESSAGE:
                message = self._message(data[start:at], block, base + start + head, chunk.position)
                if message is not None:
                    yield message
            elif opcode in {SCHEMA, CHANNEL}:
                self._define(opcode, data[start:at], chunk.position)

    def _long_chunk(self, at: int, stored: int, crc: int) -> Iterator[Message]:
        """Messages of an uncompressed chunk that is too large to hold: record by record, after its CRC."""
        end = self._window.position + stored
        found = crc32_of(self._fd, self._window.position, end) if crc else 0
        if found != crc:
            self._damaged(at, f"the chunk's CRC-32 is {found:08x}; it must be {crc:08x}")
        yield from self._records_until(at, end)

    def _records_until(self, at: int, end: int) -> Iterator[Message]:
        """Messages of an uncompressed chunk, record by record."""
        while self._window.position < end:
            position = self._window.position
            if end - position < _RECORD.size:
                self._damaged(position, f"{end - position} bytes are left over in the chunk at byte {at:,}")
            opcode, length = _RECORD.unpack(self._window.take(_RECORD.size))
            if length > end - self._window.position:
                self._damaged(position, f"a record of {length:,} bytes goes beyond the chunk at byte {at:,}")
            self._bounded(length, MAX_RECORD, f"the record at byte {position:,}")
            body = self._window.take(length)
            if opcode == MESSAGE:
                message = self._message(body, 0, position + _RECORD.size + _MESSAGE.size, position)
                if message is not None:
                    yield message
            elif opcode in {SCHEMA, CHANNEL}:
                self._define(opcode, body, position)

    def _footer(self, length: int) -> None:
        """Pass over the footer, and look at the end of the file."""
        self._window.skip(length)
        at = self._window.position
        end = bytes(self._window.take(len(MAGIC)))
        if end != MAGIC:
            self._lost(f"byte {at:,}: the file must end with the magic after its footer, not with {end.hex(' ')}")
        trailing = self.size - self._window.position
        if trailing > 0:
            self.notes.append(f"{trailing:,} bytes after the end of the MCAP data were not read")

    def _finish(self) -> None:
        """Read to the end, and compare what the file says of itself."""
        self._window.rest()
        self.sha256 = self._window.hexdigest()
        self._check_data()
        if self._num_orphans:
            self._lost(f"{self._num_orphans:,} messages are of channels that only a damaged part defines")
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
        if self.num_lost_chunks:
            self.notes.append(f"{self.num_loose:,} messages outside chunks can't be checked: a damaged chunk is amid")
            return
        found = crc32_of(self._fd, 0, end)
        if found != expected:
            self._damaged(end, f"the CRC-32 of the data is {found:08x}; it must be {expected:08x}")
