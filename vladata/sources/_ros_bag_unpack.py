"""Packed storage files and messages of ROS 2 bags: zstd, unpacked within limits."""

import io
import os
import shutil
import tempfile
from pathlib import Path
from typing import IO, BinaryIO

import zstandard

from ..errors import GateError, SourceError
from ..text import clip, printable
from ..workers import beat

__all__ = ["ZSTD_MAGIC", "first_bytes", "unpack_file", "unpack_message"]

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"

MIB = 1 << 20
MAX_WINDOW = 1 << 27
MAX_EXPANSION = 200
"""Bytes of an unpacked file for each packed one; recordings stay below 30."""
SLACK = 64 * MIB
"""Bytes that an unpacked file may have in any case."""
MIN_FREE = 256 * MIB
"""What is left free on the disk."""
MAX_MESSAGE = 64 * MIB
"""Largest unpacked message, unless its packed size says that it does not expand much."""
MAX_MESSAGE_EVER = 256 * MIB

_STEP = 4 * MIB


def first_bytes(path: Path, count: int) -> bytes:
    """The first bytes of a packed file, unpacked; fewer where it is damaged."""
    data = b""
    try:
        with (
            path.open("rb") as file,
            zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).stream_reader(file) as inner,
        ):
            while len(data) < count:
                piece = inner.read(count - len(data))
                if not piece:
                    break
                data += piece
    except (zstandard.ZstdError, MemoryError):
        pass
    return data


def unpack_file(path: Path, name: str) -> Path:
    """Unpack a file into a temporary one, which the caller removes.

    Raises:
        SourceError: It is damaged or truncated.
        GateError: It expands too much, or the disk has no room.
    """
    handle, target_name = tempfile.mkstemp(suffix=".unpacked")
    target = Path(target_name)
    try:
        with open(handle, "wb") as out, path.open("rb") as file:  # noqa: PTH123 — a handle
            size = os.fstat(file.fileno()).st_size
            limit = size * MAX_EXPANSION + SLACK
            with zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).stream_reader(
                file, read_across_frames=True, closefd=False
            ) as inner:
                _copy(inner, out, limit, name, target.parent)
            if not _is_whole(file, size):
                raise SourceError(f"{name}: truncated: the packed data does not end with the file")
    except zstandard.ZstdError as error:
        target.unlink()
        raise SourceError(f"{name}: can't be unpacked (zstd: {clip(printable(str(error)), 100)})") from error
    except BaseException:
        target.unlink()
        raise
    return target


def _copy(source: zstandard.ZstdDecompressionReader, target: IO[bytes], limit: int, name: str, folder: Path) -> None:
    size = 0
    while piece := source.read(_STEP):
        size += len(piece)
        if size > limit:
            raise GateError(f"{name}: expands to more than {limit:,} bytes, {MAX_EXPANSION} times its size")
        if shutil.disk_usage(folder).free < MIN_FREE + len(piece):
            raise GateError(f"{name}: no room to unpack it into {folder}; TMPDIR can name another")
        target.write(piece)
        beat()


def _is_whole(file: BinaryIO, size: int) -> bool:
    """Whether zstd frames end just where the file ends; the reader itself passes over a missing end."""
    at = 0
    while at < size:
        file.seek(at)
        head = file.read(18)
        try:
            if head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50:  # a frame of somebody else's data
                at += 8 + int.from_bytes(head[4:8], "little")
                continue
            has_checksum = bool(zstandard.get_frame_parameters(head).has_checksum)
            at += zstandard.frame_header_size(head)
        except zstandard.ZstdError:
            return False
        is_last = False
        while not is_last:
            file.seek(at)
            block = file.read(3)
            if len(block) < 3:
                return False
            value = int.from_bytes(block, "little")
            is_last = bool(value & 1)
            at += 3 + (1 if value >> 1 & 3 == 1 else value >> 3)
        at += 4 * has_checksum
    return at == size


def unpack_message(payload: memoryview) -> memoryview:
    """Unpack one message.

    Raises:
        ValueError: It is damaged or too large; with what is wrong.
    """
    limit = min(max(MAX_MESSAGE, 2 * len(payload)), MAX_MESSAGE_EVER)
    out = bytearray()
    try:
        size = zstandard.frame_content_size(payload)
        if size > limit:
            raise ValueError(f"expands to {size:,} bytes; at most {limit:,} are read at once")
        with zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).stream_reader(payload) as reader:
            while piece := reader.read(min(_STEP, max(size, 1 << 16))):
                out += piece
                if len(out) > limit:
                    raise ValueError(f"expands to more than {limit:,} bytes")
    except zstandard.ZstdError as error:
        raise ValueError(f"can't be unpacked (zstd: {clip(printable(str(error)), 100)})") from error
    if size >= 0 and size != len(out):
        raise ValueError(f"expands to {len(out):,} bytes; it says {size:,}")
    if size < 0 and not _is_whole(io.BytesIO(payload), len(payload)):
        raise ValueError("is a truncated zstd frame")
    return memoryview(out)
