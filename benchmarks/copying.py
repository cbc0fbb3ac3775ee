"""The physical limit: copy bytes with everything that keeps them safe, and do nothing else."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import xxhash

__all__ = ["copy_committed", "copy_hashed", "write_index_like"]

FRAME = 100_000
"""Bytes that get a digest together, about a frame."""
BUFFER = 40 * FRAME


def copy_committed(source: Path, folder: Path) -> None:
    """What ingest does to every byte: hash the source, copy with digests, re-read, sync, rename, hash the result."""
    temporary, path = folder / ".copy.tmp", folder / "copy"
    sha, digests = hashlib.sha256(), []
    buffer = memoryview(bytearray(BUFFER))
    with source.open("rb", buffering=0) as reader, temporary.open("wb", buffering=0) as writer:
        while count := reader.readinto(buffer):
            sha.update(buffer[:count])
            digests += _digests(buffer[:count])
            writer.write(buffer[:count])
    again = []
    with temporary.open("rb", buffering=0) as reader:
        while count := reader.readinto(buffer):
            again += _digests(buffer[:count])
    assert again == digests
    commit(temporary, path)
    sha256_of(path)
    write_index_like(folder)


def copy_hashed(sources: Sequence[Path], folder: Path) -> None:
    """What an export does to every byte that it passes through: a digest per frame, a hash of the result, a sync."""
    buffer = memoryview(bytearray(BUFFER))
    for source in sources:
        temporary = folder / ".copy.tmp"
        sha = hashlib.sha256()
        with source.open("rb", buffering=0) as reader, temporary.open("wb", buffering=0) as writer:
            while count := reader.readinto(buffer):
                _digests(buffer[:count])
                sha.update(buffer[:count])
                writer.write(buffer[:count])
        commit(temporary, folder / source.name)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def commit(temporary: Path, path: Path) -> None:
    """Give a complete file its name, so that it survives a power loss."""
    _sync(temporary)
    temporary.rename(path)
    _sync(path.parent)


def write_index_like(folder: Path) -> None:
    """As many small files and syncs as a dataset's journal, manifest and catalog."""
    journal = folder / "journal"
    journal.write_bytes(b"line\n")
    _sync(journal)
    for name in ("manifest", "catalog"):
        temporary = folder / f".{name}.tmp"
        temporary.write_bytes(b"row\n")
        commit(temporary, folder / name)
    journal.unlink()
    _sync(folder)


def _digests(data: memoryview) -> list[int]:
    return [xxhash.xxh3_64_intdigest(data[k : k + FRAME]) for k in range(0, len(data), FRAME)]


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
