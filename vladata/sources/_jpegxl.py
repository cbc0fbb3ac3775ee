"""The size that a JPEG XL image declares, before anything of it is decoded.

Source: ISO/IEC 18181-1, size header of the codestream; 18181-2, boxes of the container.
"""

__all__ = ["jpegxl_size"]

_CODESTREAM = b"\xff\x0a"
_CONTAINER = b"\x00\x00\x00\x0cJXL \x0d\x0a\x87\x0a"
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_BITS = (9, 13, 18, 30)
_MAX_BOXES = 100


class _Bits:
    """Reads bits from the lowest on."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        if count > self._left:
            raise ValueError("cut off in its header")
        found = self._value & ((1 << count) - 1)
        self._value >>= count
        self._left -= count
        return found


def jpegxl_size(data: bytes) -> tuple[int, int]:
    """Height and width of an image.

    Args:
        data: A codestream, or a container with one.

    Raises:
        ValueError: Not JPEG XL, or cut off.
    """
    bits = _Bits(_codestream(data)[2:18])
    is_small = bits.take(1)
    height = 8 * (bits.take(5) + 1) if is_small else bits.take(_BITS[bits.take(2)]) + 1
    ratio = bits.take(3)
    if ratio:
        numerator, denominator = _RATIOS[ratio - 1]
        return height, height * numerator // denominator
    return height, 8 * (bits.take(5) + 1) if is_small else bits.take(_BITS[bits.take(2)]) + 1


def _codestream(data: bytes) -> bytes:
    if data[:2] == _CODESTREAM:
        return data[:18]
    if data[:12] != _CONTAINER:
        raise ValueError(f"begins with {data[:4].hex(' ') or 'nothing'}; must be JPEG XL")
    place = 0
    for _ in range(_MAX_BOXES):
        size, kind, head = int.from_bytes(data[place : place + 4]), data[place + 4 : place + 8], 8
        if size == 1:
            size, head = int.from_bytes(data[place + 8 : place + 16]), 16
        if kind in {b"jxlc", b"jxlp"}:
            start = place + head + (4 if kind == b"jxlp" else 0)
            if data[start : start + 2] == _CODESTREAM:
                return data[start : start + 18]
        if size < head or place + size >= len(data):
            break
        place += size
    raise ValueError("a container without a codestream")
