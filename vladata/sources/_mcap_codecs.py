"""Decompression of chunks of MCAP files and bags into a buffer of the declared size, never beyond it."""

import bz2

import lz4.frame
import zstandard

from ..text import clip, printable

__all__ = ["COMPRESSIONS", "decompress", "decompress_start"]

COMPRESSIONS = ("", "zstd", "lz4")
"""Names in an MCAP file of what can be read; the empty one is no compression."""

MAX_WINDOW = 1 << 27
_PIECE = 1 << 22


def decompress(compression: str, stored: memoryview, target: memoryview) -> str:
    """Fill a buffer with the expanded bytes.

    Args:
        compression: `zstd`, `lz4` or, in bags, `bz2`.
        stored: The compressed bytes.
        target: As large as the expanded bytes must be; filled.

    Returns:
        What is wrong, or an empty text.
    """
    try:
        expand = {"zstd": _zstd, "bz2": _bz2}.get(compression, _lz4)
        size, is_longer = expand(stored, target)
    except (zstandard.ZstdError, RuntimeError, EOFError, OSError) as error:
        return f"can't be decompressed ({compression}: {clip(printable(str(error)), 100)})"
    if is_longer or size != len(target):
        found = f"more than {len(target):,}" if is_longer else f"{size:,}"
        return f"expands to {found} bytes; it says {len(target):,}"
    return ""


def decompress_start(compression: str, stored: memoryview, target: memoryview) -> int:
    """Fill a buffer as far as compressed bytes that break off can be expanded; how many bytes that gave."""
    try:
        return (_zstd if compression == "zstd" else _lz4)(stored, target)[0]
    except (zstandard.ZstdError, RuntimeError, EOFError):
        return 0


def _zstd(stored: memoryview, target: memoryview) -> tuple[int, bool]:
    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
    with decompressor.stream_reader(stored, read_across_frames=True) as reader:
        size = 0
        while size < len(target):
            read = reader.readinto(target[size:])
            if not read:
                break
            size += read
        return size, size == len(target) and bool(reader.read(1))


def _lz4(stored: memoryview, target: memoryview) -> tuple[int, bool]:
    decompressor = lz4.frame.LZ4FrameDecompressor()
    data: bytes = decompressor.decompress(stored, max_length=len(target))
    size = len(data)
    target[:size] = data
    while size < len(target) and not decompressor.eof and not decompressor.needs_input:
        data = decompressor.decompress(b"", max_length=len(target) - size)
        target[size : size + len(data)] = data
        size += len(data)
    if size == len(target) and not decompressor.eof:
        # The end mark may still be to read: one byte more tells a longer chunk from an ended one.
        return size, bool(decompressor.decompress(b"", max_length=1))
    return size, False


def _bz2(stored: memoryview, target: memoryview) -> tuple[int, bool]:
    decompressor = bz2.BZ2Decompressor()
    size, data = 0, decompressor.decompress(stored, max_length=_PIECE)
    while data and size + len(data) <= len(target):
        target[size : size + len(data)] = data
        size += len(data)
        if decompressor.eof:
            return size, False
        data = decompressor.decompress(b"", max_length=_PIECE)
    return size, bool(data)
