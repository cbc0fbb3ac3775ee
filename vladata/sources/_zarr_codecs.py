"""Compressors of zarr arrays that are read: a closed list, each unpacking into a known number of bytes.

Codecs that carry Python objects (pickle, json2, vlen) are refused by name.
"""

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable
from math import prod
from types import ModuleType

import numpy as np

from ..errors import GateError, MissingExtraError, SourceError
from ..images import MAX_PIXELS
from ..text import clip, printable
from ._jpegxl import jpegxl_size

__all__ = ["CODECS", "IMAGE_CODECS", "check_codec", "unpack"]

IMAGE_CODECS = ("imagecodecs_jpegxl", "imagecodecs_jpeg", "imagecodecs_png")
CODECS = ("blosc", "bz2", "gzip", "lz4", "lzma", "zlib", "zstd", *IMAGE_CODECS)
_OBJECTS = {"pickle", "json2", "msgpack2", "vlen-utf8", "vlen-bytes", "vlen-array", "categorize"}


def check_codec(config: object, where: str) -> str:
    """The id of a compressor as .zarray has it; empty where there is none.

    Raises:
        SourceError: It is not in the list.
    """
    if config is None:
        return ""
    name = config.get("id") if isinstance(config, dict) else None
    if not isinstance(name, str) or name not in CODECS:
        shown = repr(clip(printable(str(name)), 60))
        if isinstance(name, str) and name in _OBJECTS:
            raise SourceError(f"{where}: codec {shown} carries objects, which are never unpacked; must hold numbers")
        raise SourceError(f"{where}: codec {shown}; must be one of {', '.join(CODECS)}")
    return name


def unpack(codec: str, data: bytes, size: int, shape: tuple[int, ...], where: str) -> bytes:
    """Unpack a chunk.

    Args:
        codec: Of `CODECS`, or empty.
        data: As stored.
        size: Bytes that come out.
        shape: Of the chunk.
        where: For errors.

    Raises:
        SourceError: It is damaged or gives another number of bytes.
        GateError: It declares more than that.
        MissingExtraError: The codec's package is not installed.
    """
    if codec in IMAGE_CODECS:
        return _image(codec, data, shape, where)
    try:
        found = _unpackers()[codec](data, size) if codec else data
    except (ValueError, RuntimeError, OSError, EOFError, zlib.error, lzma.LZMAError, struct.error) as error:
        raise SourceError(f"{where}: damaged {codec}: {clip(printable(str(error)), 120)}") from error
    if len(found) != size:
        raise SourceError(f"{where} has {len(found):,} bytes; must have {size:,}")
    return found


def _unpackers() -> dict[str, Callable[[bytes, int], bytes]]:
    return {
        "zlib": lambda data, size: zlib.decompressobj().decompress(data, size + 1),
        "gzip": lambda data, size: zlib.decompressobj(31).decompress(data, size + 1),
        "bz2": lambda data, size: bz2.BZ2Decompressor().decompress(data, size + 1),
        "lzma": lambda data, size: lzma.LZMADecompressor(memlimit=2**28).decompress(data, size + 1),
        "zstd": _zstd,
        "lz4": _lz4,
        "blosc": _blosc,
    }


def _zstd(data: bytes, size: int) -> bytes:
    import zstandard

    try:
        with zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(data) as reader:
            return bytes(reader.read(size + 1))
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from error


def _lz4(data: bytes, size: int) -> bytes:
    import lz4.block

    declared = struct.unpack_from("<l", data)[0]
    if declared != size:
        raise ValueError(f"declares {declared:,} bytes; must be {size:,}")
    try:
        return bytes(lz4.block.decompress(data[4:], uncompressed_size=size))
    except lz4.block.LZ4BlockError as error:
        raise ValueError(str(error)) from error


def _blosc(data: bytes, size: int) -> bytes:
    numcodecs = _package("numcodecs")
    declared, _, stored = struct.unpack_from("<3L", data, 4)  # version, flags and type size come first
    if declared != size or stored != len(data):
        raise ValueError(f"declares {declared:,} bytes of {stored:,}; must be {size:,} of {len(data):,}")
    return bytes(numcodecs.blosc.decompress(data))


def _package(name: str) -> ModuleType:
    import importlib

    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingExtraError("reading this zarr store", name, "umi") from error


def _image(codec: str, data: bytes, shape: tuple[int, ...], where: str) -> bytes:
    """The pixels of a chunk that is one image."""
    wanted = tuple(n for n in shape if n != 1) or (1,)
    if prod(shape) > MAX_PIXELS * 4 or len(wanted) > 3:
        raise GateError(f"{where}: chunks of {list(shape)}; an image must have at most {MAX_PIXELS:,} pixels")
    package = _package("imagecodecs")
    errors: tuple[type[Exception], ...] = (RuntimeError, ValueError, TypeError)
    try:
        if codec == "imagecodecs_jpegxl":
            height, width = jpegxl_size(data)
            if tuple(n for n in (height, width) if n != 1) != wanted[: sum(n != 1 for n in (height, width))]:
                raise ValueError(f"an image of {height} x {width}; must be a part of {list(shape)}")
            pixels = package.jpegxl_decode(data, numthreads=1)
        else:
            from ..images import probe

            info = probe(data)
            if info.height * info.width * info.channels > 2 * prod(shape):
                raise ValueError(f"an image of {info.height} x {info.width}; must be {list(shape)}")
            pixels = package.png_decode(data) if codec == "imagecodecs_png" else package.jpeg8_decode(data)
    except errors as error:
        raise SourceError(f"{where}: damaged {codec}: {clip(printable(str(error)), 120)}") from error
    if tuple(n for n in pixels.shape if n != 1) != tuple(n for n in shape if n != 1):
        raise SourceError(f"{where}: {codec} of {list(pixels.shape)}; must be {list(shape)}")
    return np.ascontiguousarray(pixels).tobytes()
