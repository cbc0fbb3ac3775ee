"""CRC-32C (Castagnoli) with numpy, at about the speed of SHA-256.

A CRC is linear over bits: a word that is followed by k bytes counts as `shift(word, k)`, its register moved on by k
zero bytes. So many words are moved on at once by a table lookup, and a whole block is folded onto its last row.
Polynomial and test vectors: RFC 3720, sections 12.1 and B.4.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from .. import workers

__all__ = ["crc32c"]

UInt32Array = NDArray[np.uint32]

_POLYNOMIAL = 0x82F63B78  # reflected
_ALL_ONES = 0xFFFFFFFF
_LANES = 2048
_ROW = 4 * _LANES
_SMALL = 256
_BEAT_EVERY = 4096  # rows, 32 MiB


def crc32c(data: bytes | memoryview) -> int:
    """CRC-32C of bytes.

    Args:
        data: Contiguous bytes; a start at a multiple of four is fastest.

    Returns:
        The checksum, as RFC 3720 defines it, 0 <= checksum < 2**32.
    """
    octets = np.frombuffer(data, dtype=np.uint8)
    if len(octets) < _SMALL:
        return _byte_by_byte(octets.tobytes(), _ALL_ONES) ^ _ALL_ONES
    # The register starts as ones, which is the same as a register of zero and ones over the first four bytes; and
    # zeros before a message do not change a register of zero, so the first row is filled up in front.
    num_zeros = -len(octets) % _ROW
    num_rows = 1 if _ROW - num_zeros >= 4 else 2
    first = np.zeros(num_rows * _ROW, dtype=np.uint8)
    num_first = len(first) - num_zeros
    first[num_zeros:] = octets[:num_first]
    first[num_zeros : num_zeros + 4] ^= 0xFF
    words = np.zeros(_LANES, dtype=np.uint32)
    for block in (first, octets[num_first:]):
        _add_rows(words, block.view(np.dtype("<u4")).reshape(-1, _LANES))
    return _folded(words) ^ _ALL_ONES


def _byte_by_byte(data: bytes, register: int) -> int:
    table = _byte_table()
    for octet in data:
        register = table[(register ^ octet) & 0xFF] ^ (register >> 8)
    return register


def _add_rows(words: UInt32Array, rows: UInt32Array) -> None:
    """Move a row of words on by one row and add the next, for each of [R, lanes]; in place."""
    low, high = _word_tables(_ROW)
    halves = words.view(np.uint16).reshape(-1, 2)
    moved_low, moved_high = np.empty_like(words), np.empty_like(words)
    for index, row in enumerate(rows):
        # "clip" writes to `out` without a copy; indices of 16 bits can't be beyond the table
        np.take(low, halves[:, 0], out=moved_low, mode="clip")
        np.take(high, halves[:, 1], out=moved_high, mode="clip")
        np.bitwise_xor(moved_low, moved_high, out=words)
        np.bitwise_xor(words, row, out=words)
        if index % _BEAT_EVERY == 0:
            workers.beat()


def _folded(words: UInt32Array) -> int:
    """The register after a row of words."""
    while len(words) > _SMALL // 4:
        half = len(words) // 2
        tables = _octet_tables(4 * half)
        octets = words[:half].view(np.uint8).reshape(-1, 4)
        moved = tables[0][octets[:, 0]] ^ tables[1][octets[:, 1]] ^ tables[2][octets[:, 2]] ^ tables[3][octets[:, 3]]
        words = moved ^ words[half:]
    return _byte_by_byte(words.tobytes(), 0)


@cache
def _byte_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


@cache
def _moved_bits(num_bytes: int) -> list[int]:
    """Where each bit of a register is after a number of zero bytes; each value is a register."""
    if num_bytes == 1:
        return [_byte_by_byte(b"\0", 1 << bit) for bit in range(32)]
    first, second = _moved_bits(num_bytes // 2), _moved_bits(num_bytes - num_bytes // 2)
    moved = []
    for register in first:
        result = 0
        for bit in range(32):
            if register >> bit & 1:
                result ^= second[bit]
        moved.append(result)
    return moved


def _table(bits: list[int]) -> UInt32Array:
    """What the registers of a few bits become, for every combination of the bits."""
    table = np.zeros(1 << len(bits), dtype=np.uint32)
    for bit, register in enumerate(bits):
        table[1 << bit : 2 << bit] = table[: 1 << bit] ^ np.uint32(register)
    return table


@cache
def _word_tables(num_bytes: int) -> tuple[UInt32Array, UInt32Array]:
    bits = _moved_bits(num_bytes)
    return _table(bits[:16]), _table(bits[16:])


@cache
def _octet_tables(num_bytes: int) -> tuple[UInt32Array, ...]:
    bits = _moved_bits(num_bytes)
    return tuple(_table(bits[k : k + 8]) for k in range(0, 32, 8))
