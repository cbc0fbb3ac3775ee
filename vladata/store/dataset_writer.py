"""Add episodes to a dataset folder: one writer at a time, any number of crashes.

Workers commit episode files; the writer notes each in a journal, and at the end folds the journal into manifest and
catalog. Episode files that a killed run left without a line are verified and taken in by the next.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

from ..documents import canonical_json
from ..errors import DatasetError
from .catalog import CATALOG_NAME, Entry, entry_of, read_catalog
from .dataset import EPISODES, MANIFEST_NAME, hash_file, read_manifest, write_index
from .edits import LOG_NAME
from .reader import read_episode, verify_episode
from .writer import make_folder, replace_file, sync_folder

__all__ = ["DatasetWriter", "episode_file", "writing"]

JOURNAL_NAME = "journal.jsonl"
LOCK_NAME = ".lock"
REJECTED_NAME = "rejected.json"


def episode_file(episode_id: str) -> str:
    """Path of an episode in its dataset."""
    return f"{EPISODES}/{episode_id[:2]}/{episode_id}.h5"


class DatasetWriter:
    """What a running ingest knows of the folder it writes to."""

    def __init__(self, folder: Path, entries: dict[str, Entry], problems: list[str]) -> None:
        """Use `writing`."""
        self.folder = folder
        self.problems = problems
        """Damaged episode files that were found and left alone, one line each."""
        self._entries = entries
        self._journal = os.open(folder / JOURNAL_NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    @property
    def entries(self) -> dict[str, Entry]:
        """Committed episodes by id."""
        return dict(self._entries)

    def committed(self, entry: Entry) -> None:
        """Note an episode that a worker has committed; when this returns the note is on the disk."""
        self._entries[entry.episode_id] = entry
        os.write(self._journal, (canonical_json(dataclasses.asdict(entry)) + "\n").encode())
        os.fsync(self._journal)

    def take_in_the_rest(self) -> None:
        """After an interruption: episodes that workers have committed, but that nobody has noted yet."""
        _take_in(self.folder, self._entries)

    def reject(self, rejected: list[dict[str, str]]) -> None:
        """Write what this run could not take in; no file where there is nothing."""
        path = self.folder / REJECTED_NAME
        if not rejected:
            path.unlink(missing_ok=True)
            return
        # ASCII, so that names and texts of strangers steer no terminal that shows the file.
        text = json.dumps({"rejected": rejected}, indent=1, ensure_ascii=True, sort_keys=True) + "\n"
        with replace_file(path) as temporary:
            temporary.write_text(text, encoding="ascii")

    def close(self) -> None:
        """Fold the journal into manifest and catalog."""
        os.close(self._journal)
        write_index(self.folder, list(self._entries.values()))
        (self.folder / JOURNAL_NAME).unlink(missing_ok=True)
        sync_folder(self.folder)

    def discard(self) -> None:
        """Leave no empty dataset behind where nothing was committed."""
        os.close(self._journal)
        (self.folder / JOURNAL_NAME).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            for sub in sorted((self.folder / EPISODES).glob("*")):
                sub.rmdir()
            (self.folder / EPISODES).rmdir()


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[DatasetWriter]:
    """Open a dataset folder for adding episodes; made where it does not exist.

    Leaving it, also by an exception or Ctrl+C, writes manifest and catalog for what was committed, and removes what
    workers left unfinished.

    Raises:
        DatasetError: Another process writes to the folder, or the folder holds something else.
    """
    _require_dataset_or_empty(folder)
    is_new = not folder.exists()
    make_folder(folder)
    lock = _lock(folder)
    try:
        is_first = not (folder / MANIFEST_NAME).exists()
        _sweep(folder)
        writer = DatasetWriter(folder, *_load(folder))
        try:
            yield writer
        except BaseException:
            writer.take_in_the_rest()
            raise
        finally:
            _sweep(folder)
            if writer.entries or not is_first:
                writer.close()
            else:
                writer.discard()
    finally:
        # Still locked: whoever waits for this file finds that it is gone, and takes the next one.
        (folder / LOCK_NAME).unlink(missing_ok=True)
        os.close(lock)
        if is_new:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _require_dataset_or_empty(folder: Path) -> None:
    if not folder.exists():
        return
    known = {MANIFEST_NAME, CATALOG_NAME, JOURNAL_NAME, REJECTED_NAME, LOG_NAME, EPISODES}
    foreign = sorted(p.name for p in folder.iterdir() if p.name not in known and not p.name.startswith("."))
    if foreign and not any((folder / n).exists() for n in (MANIFEST_NAME, JOURNAL_NAME, EPISODES)):
        raise DatasetError(f"{folder}: holds {foreign[0]!r} and is no dataset; give an empty or a new folder")


def _lock(folder: Path) -> int:
    """Lock a dataset folder; the open lock file.

    Raises:
        DatasetError: Another process holds the lock.
    """
    path = folder / LOCK_NAME
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_same_file(path, lock):
                return lock
        except BlockingIOError:
            os.close(lock)
            raise DatasetError(f"{folder}: another process is writing to this dataset; wait for it to end") from None
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)  # its last holder has removed it meanwhile


def _is_same_file(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False


def _sweep(folder: Path) -> None:
    """Remove temporary files; with the lock held, nobody else writes any."""
    for pattern in (".*.tmp", f"{EPISODES}/*/.*.tmp"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


def _load(folder: Path) -> tuple[dict[str, Entry], list[str]]:
    """Episodes that are committed: from the catalog, the journal, and from files that have no line anywhere."""
    entries: dict[str, Entry] = {}
    if (folder / MANIFEST_NAME).exists():
        files, sha256 = read_manifest(folder)
        listed = {str(f["file"]) for f in files}
        rows = read_catalog(folder, sha256)
        entries = {e.episode_id: e for e in rows or () if e.file in listed}
    for line in _journal_lines(folder / JOURNAL_NAME):
        with contextlib.suppress(ValueError, TypeError):
            # A line that is cut off or damaged is no loss: its file is verified below.
            entry = Entry(**json.loads(line))
            entries[entry.episode_id] = entry
    problems = _take_in(folder, entries)
    files_now = _files(folder)
    gone = [e for e in entries.values() if e.file not in files_now]
    problems += [f"{e.file}: listed, but not there any more" for e in gone]
    return {k: e for k, e in entries.items() if e.file in files_now}, problems


def _files(folder: Path) -> dict[str, Path]:
    return {p.relative_to(folder).as_posix(): p for p in sorted(folder.glob(f"{EPISODES}/??/*.h5"))}


def _take_in(folder: Path, entries: dict[str, Entry]) -> list[str]:
    """Add episode files without an entry, those that are whole; the others are the answer, one line each."""
    problems = []
    known = {e.file for e in entries.values()}
    for name, path in _files(folder).items():
        if name in known:
            continue
        bad = verify_episode(path)
        if bad:
            problems.append(f"{name}: left alone, not whole: {bad[0]}")
            continue
        size, sha256 = hash_file(path)
        entry = entry_of(read_episode(path), file=name, num_bytes=size, sha256=sha256)
        entries[entry.episode_id] = entry
    return problems


def _journal_lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
