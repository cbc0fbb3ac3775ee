"""Decompression of MCAP chunks into a buffer of the declared size, never beyond it."""

import lz4.frame
import zstandard

from ..text import clip, printable

__all__ = ["COMPRESSIONS", "decompress"]

COMPRESSIONS = ("", "zstd", "lz4")
"""Names in the file of what can be read; the empty one is no compression."""

MAX_WINDOW = 1 << 27


def decompress(compression: str, stored: memoryview, target: memoryview) -> str:
    """Fill a buffer with the expanded bytes.

    Args:
        compression: `zstd` or `lz4`.
        stored: The compressed bytes.
        target: As large as the expanded bytes must be; filled.

    Returns:
        What is wrong, or an empty text.
    """
    try:
        expand = _zstd if compression == "zstd" else _lz4
        size, is_longer = expand(stored, target)
    except (zstandard.ZstdError, RuntimeError, EOFError) as error:
        return f"can't be decompressed ({compression}: {clip(printable(str(error)), 100)})"
    if is_longer or size != len(target):
        found = f"more than {len(target):,}" if is_longer else f"{size:,}"
        return f"expands to {found} bytes; it says {len(target):,}"
    return ""


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
