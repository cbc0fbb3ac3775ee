"""Whether a video's packet is as long as the units in it say: a decoder hides what is missing of one that was cut."""

__all__ = ["problem_of"]

PREFIXED = 1
"""First byte of the configuration of H.264 and H.265 where units have their length before them, and no start codes."""
LENGTH_AT = {"h264": 4, "hevc": 21}
"""The byte of it whose last two bits tell how wide that length is, less one."""
OBU_HAS_SIZE, OBU_EXTENDED, OBU_FORBIDDEN = 0x02, 0x04, 0x80
MOST_SHIFT = 49
"""Of the last seven bits of a size in AV1."""


def problem_of(data: bytes | memoryview, codec: str, extradata: bytes) -> str:
    """What is wrong with a packet's length; empty where nothing is, or the codec does not say.

    Args:
        data: One packet.
        codec: FFmpeg's name of it.
        extradata: The codec's configuration.
    """
    place = LENGTH_AT.get(codec)
    if codec == "av1":
        end = _end_of_obus(data)
    elif place is not None and len(extradata) > place and extradata[0] == PREFIXED:
        end = _end_of_units(data, (extradata[place] & 3) + 1)
    else:
        return ""
    if end == len(data):
        return ""
    return f"its packet has {len(data):,} bytes; the units in it need {end:,} or more, so it was cut off or is damaged"


def _end_of_units(data: bytes | memoryview, width: int) -> int:
    """Where the last unit ends whose length, of so many bytes, is before it; beyond the data where it is cut off."""
    at = 0
    while at < len(data):
        at += width + int.from_bytes(data[at : at + width], "big")
    return at


def _end_of_obus(data: bytes | memoryview) -> int:
    """Where the last open bitstream unit of AV1 ends; beyond the data where it is cut off, or is no unit."""
    at = 0
    while at < len(data):
        header = data[at]
        if header & OBU_FORBIDDEN:
            return len(data) + 1
        at += 2 if header & OBU_EXTENDED else 1
        if not header & OBU_HAS_SIZE:  # the last one may go on to the end of the packet
            return len(data)
        size, at = _size(data, at)
        at += size
    return at


def _size(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where it ends; what is cut off goes beyond the data."""
    size = 0
    for shift in range(0, MOST_SHIFT + 1, 7):
        if at >= len(data):
            break
        size |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return size, at
    return 1, len(data)
