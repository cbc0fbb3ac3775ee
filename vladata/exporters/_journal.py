"""Change a whole export in place so that it can always be put back: what retokenizing leaves when it is killed.

Everything new is made beforehand, in `.unfinished/retokenize/`. Then a journal notes what the shards' ends, the small
files and the manifest were; when it is on the disk, the manifest is removed, the ends of the shards are replaced, then
the small files, and the new manifest is written. Until that last step the journal leads back to the old bytes; after
it, the journal is of no use and goes.

A file that another folder shares (a hard link, a symbolic link) is never changed: it is copied first.
"""

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..documents import canonical_json
from ..errors import ExportError, GateError
from ..gate import inside
from ..store.writer import replace_file, sync_folder
from ._folder import DATA, MANIFEST, README, TEXT_TOKENIZER, TOKENIZER, UNFINISHED, ExportFolder, read_json, write_bytes

__all__ = ["ShardEnd", "begin_stage", "commit", "has_journal", "is_shared", "roll_back"]

JOURNAL = "journal.json"
BLOCK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardEnd:
    """What will lie behind the bytes of a shard that stay."""

    file: str
    base_size: int
    """Bytes that stay."""
    size: int
    """Bytes of now."""
    tail: Path


def stage_of(out: Path) -> Path:
    """Where everything new and the journal lie."""
    return out / UNFINISHED / "retokenize"


def begin_stage(folder: ExportFolder) -> Path:
    """An empty folder for what is new."""
    stage = stage_of(folder.path)
    shutil.rmtree(stage, ignore_errors=True)
    (stage / "tails").mkdir(parents=True)
    return stage


def has_journal(out: Path) -> bool:
    """Whether a change of this export was broken off."""
    return (stage_of(out) / JOURNAL).is_file()


def is_shared(path: Path) -> bool:
    """Whether another name leads to the same bytes."""
    return path.is_symlink() or path.stat().st_nlink > 1


def _small_files(out: Path) -> list[str]:
    """Files that a tokenizer brings, and the card; those that are there."""
    found = [README] if (out / README).is_file() else []
    for name in (TOKENIZER, TEXT_TOKENIZER):
        found += sorted(p.relative_to(out).as_posix() for p in (out / name).rglob("*") if p.is_file())
    return found


def commit(folder: ExportFolder, ends: Sequence[ShardEnd], files: Mapping[str, bytes], manifest: bytes) -> None:
    """Change the export; on any error, Ctrl+C included, it is put back.

    Args:
        folder: A whole export, claimed.
        ends: All shards.
        files: The card and all files of the tokenizers, by name; others of theirs are removed.
        manifest: The new one.

    Raises:
        OSError: The disk is full, or can't be written.
    """
    out = folder.path
    _write_journal(out, ends, manifest)
    # From here on `claim` must leave the work folder alone, whatever happens.
    folder.has_begun = True
    try:
        (out / MANIFEST).unlink()
        sync_folder(out)
        for end in ends:
            _set_end(inside(out, end.file), end.base_size, end.tail)
        _set_small_files(out, files)
        write_bytes(out / MANIFEST, manifest)
    except BaseException:
        roll_back(out)
        folder.has_begun = False
        raise
    _forget(out)
    shutil.rmtree(folder.work)
    sync_folder(out)


def roll_back(out: Path) -> bool:
    """Put back what was there before a change that did not end; safe to be killed and done again.

    A change that was broken off after its last step is whole and stays.

    Returns:
        Whether something was put back.

    Raises:
        ExportError: The journal is damaged.
        OSError: The disk can't be written.
    """
    stage = stage_of(out)
    if not (stage / JOURNAL).is_file():
        return False
    journal = read_json(stage / JOURNAL) or {}
    current = out / MANIFEST
    if current.is_file() and hashlib.sha256(current.read_bytes()).hexdigest() == journal.get("manifest"):
        _forget(out)  # killed after the last step: the change is whole
        return False
    shards = journal.get("shards")
    if not isinstance(shards, list):
        raise ExportError(f"{out}: the journal of the change is damaged; export again")
    try:
        ends = [(inside(out, str(s["file"])), int(s["base_size"]), int(s["size"])) for s in shards]
    except (KeyError, TypeError, ValueError, GateError) as error:
        raise ExportError(f"{out}: the journal of the change is damaged; export again") from error
    current.unlink(missing_ok=True)
    for number, (path, base_size, size) in enumerate(ends):
        # A file that is shared was never changed.
        if not (is_shared(path) and path.stat().st_size == size):
            _set_end(path, base_size, stage / "old" / f"{number}.tail")
    for folder in (out, out / DATA, out / TOKENIZER, out / TEXT_TOKENIZER):
        for temporary in folder.glob(".*.tmp"):
            temporary.unlink()
    kept = stage / "old" / "files"
    _set_small_files(out, {n: (kept / n).read_bytes() for n in _small_files(kept)})
    write_bytes(out / MANIFEST, (kept / MANIFEST).read_bytes())
    _forget(out)
    return True


def _forget(out: Path) -> None:
    """Remove the journal before what it speaks of."""
    stage = stage_of(out)
    (stage / JOURNAL).unlink(missing_ok=True)
    sync_folder(stage)
    shutil.rmtree(stage)


def _write_journal(out: Path, ends: Sequence[ShardEnd], manifest: bytes) -> None:
    old = stage_of(out) / "old"
    for number, end in enumerate(ends):
        with replace_file(_made(old / f"{number}.tail")) as temporary, temporary.open("wb") as file:
            _copy(inside(out, end.file), file.fileno(), end.base_size, end.size)
    for name in (*_small_files(out), MANIFEST):
        write_bytes(old / "files" / name, (out / name).read_bytes())
    for folder in (*(p for p in old.rglob("*") if p.is_dir()), old, old.parent, old.parent.parent):
        sync_folder(folder)
    shards = [{"file": e.file, "base_size": e.base_size, "size": e.size} for e in ends]
    content = {"manifest": hashlib.sha256(manifest).hexdigest(), "shards": shards}
    write_bytes(old.parent / JOURNAL, canonical_json(content).encode())


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _copy(source: Path, target: int, start: int, stop: int) -> None:
    with source.open("rb") as file:
        file.seek(start)
        left = stop - start
        while left > 0 and (block := file.read(min(BLOCK, left))):
            _write_all(target, block)
            left -= len(block)


def _write_all(target: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]


def _set_end(path: Path, base_size: int, tail: Path) -> None:
    """Let a shard be its first bytes and a tail; on the disk when this returns."""
    if is_shared(path):
        with replace_file(path) as temporary, temporary.open("wb") as file:
            _copy(path, file.fileno(), 0, base_size)
            _copy(tail, file.fileno(), 0, tail.stat().st_size)
        return
    target = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
    try:
        os.ftruncate(target, base_size)
        os.lseek(target, 0, os.SEEK_END)
        _copy(tail, target, 0, tail.stat().st_size)
        os.fsync(target)
    finally:
        os.close(target)


def _set_small_files(out: Path, files: Mapping[str, bytes]) -> None:
    for name in _small_files(out):
        if name not in files:
            (out / name).unlink()
    for name, data in files.items():
        write_bytes(out / name, data)
    for name in (TEXT_TOKENIZER, TOKENIZER):
        for folder in sorted((p for p in (out / name).rglob("*") if p.is_dir()), reverse=True):
            if not any(folder.iterdir()):
                folder.rmdir()
        if (out / name).is_dir():
            sync_folder(out / name)
            if not any((out / name).iterdir()):
                (out / name).rmdir()
    sync_folder(out)
