"""The folder of an export while it is being written: whose it is, what of it is whole, what can go.

`manifest.json` is written last and removed first: a folder without it is no whole export. Until then `.unfinished/`
holds receipts of the files that are complete, so that the same command run again makes only what is missing.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from ..documents import canonical_json
from ..errors import ExportError
from ..store.writer import replace_file, sync_folder
from ..workers import beat

__all__ = [
    "DATA",
    "MANIFEST",
    "ORIGIN",
    "README",
    "SHARDS",
    "TEXT_TOKENIZER",
    "TOKENIZER",
    "UNFINISHED",
    "ExportFolder",
    "claim",
    "hash_with_beats",
    "read_json",
    "require_space",
    "shard_name",
    "write_bytes",
]

MANIFEST, README, ORIGIN, UNFINISHED = "manifest.json", "README.md", ".origin.json", ".unfinished"
SHARDS = "data"
DATA = f"{SHARDS}/executor"  # those with action codes
TOKENIZER, TEXT_TOKENIZER = "action_tokenizer", "tokenizer"
FORMAT = "vladata-export"
SPARE_BYTES = 16 << 20

_SHARD = re.compile(r"[A-Za-z0-9_.]+-[0-9]{5,}-of-[0-9]{5,}\.parquet")


def shard_name(config: str, split: str, index: int, count: int) -> str:
    """Path of a shard in the export."""
    return f"{SHARDS}/{config}/{split}-{index:05d}-of-{count:05d}.parquet"


def read_json(path: Path) -> dict[str, object] | None:
    """A JSON object; None where there is no file or it does not hold one."""
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as temporary:
        temporary.write_bytes(data)


def hash_with_beats(path: Path) -> tuple[int, str]:
    """Size and SHA-256 of a file, with a sign of life for each block: a slow disk is no stalled worker."""
    sha, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            sha.update(block)
            size += len(block)
            beat()
    return size, sha.hexdigest()


def require_space(folder: Path, needed: int) -> None:
    """Raise before writing what the disk can't take.

    Raises:
        OSError: ENOSPC, with the bytes needed and left.
    """
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    if free < needed + SPARE_BYTES:
        raise OSError(
            errno.ENOSPC, f"the export needs {needed + SPARE_BYTES:,} bytes, the disk has {free:,} left", str(folder)
        )


class ExportFolder:
    """A folder that this process alone writes an export to."""

    def __init__(self, path: Path) -> None:
        """Use `claim`."""
        self.path = path
        self.work = path / UNFINISHED
        self.has_begun = False

    @property
    def parts(self) -> Path:
        """Frames that were encoded anew, until they are in their shards."""
        return self.work / "parts"

    def receipts(self) -> dict[str, dict[str, object]]:
        """Lines of shards that were completed, by name; whether the files still are as noted is not looked at."""
        lines = _files(read_json(self.path / MANIFEST) or {})
        lines += [receipt or {} for receipt in map(read_json, sorted((self.work / "receipts").glob("*.json")))]
        return {str(line["file"]): line for line in lines if "unit" in line}

    def rendered(self) -> dict[str, int]:
        """Bytes of frames that were encoded anew, by key, of the export that is here or was begun."""
        found: dict[str, int] = {}
        for known in (read_json(self.path / MANIFEST), read_json(self.work / "rendered.json")):
            sizes = (known or {}).get("rendered")
            found |= {k: v for k, v in sizes.items() if isinstance(v, int)} if isinstance(sizes, dict) else {}
        return found

    def note(self, receipt: Mapping[str, object]) -> None:
        """Leave a receipt of a shard: its line in the manifest; losing one costs writing the shard again, no more."""
        folder = self.work / "receipts"
        folder.mkdir(exist_ok=True)
        name = str(receipt["file"]).replace("/", "+")
        (folder / f"{name}.json").write_text(canonical_json(receipt), encoding="utf-8")

    def begin(self, shards: Collection[str], rendered: Mapping[str, int]) -> None:
        """Take the old export apart: from here on the folder is no whole export until `finish`.

        Args:
            shards: Names of the shards to be written; those that are there already may stay.
            rendered: Bytes of frames that were encoded anew, by key.
        """
        self.has_begun = True
        (self.work / "rendered.json").write_text(canonical_json({"rendered": rendered}), encoding="utf-8")
        old = read_json(self.path / MANIFEST)
        if old is not None:
            for line in _files(old):
                if "unit" in line:
                    self.note(line)
            sync_folder(self.work)
            (self.path / MANIFEST).unlink()
            sync_folder(self.path)
            for line in _files(old):
                if line["file"] not in shards:
                    self._remove(str(line["file"]))
        (self.path / README).unlink(missing_ok=True)
        for folder in (self.path / TOKENIZER, self.path / TEXT_TOKENIZER):
            # Of a run that was killed before its manifest; this export may have no text tokenizer.
            for path in [p for p in folder.glob("*") if p.is_file()]:
                path.unlink()
            with contextlib.suppress(OSError):
                folder.rmdir()
        self.sweep(shards)

    def _remove(self, name: str) -> None:
        """Remove a file that an old manifest names; a name that leads elsewhere is left alone."""
        path = self.path / name
        if path.resolve().is_relative_to(self.path.resolve()) and path.is_file() and not path.is_symlink():
            path.unlink()

    def sweep(self, shards: Collection[str]) -> None:
        """Remove temporary files, and shards that belong to no split of this export."""
        configs = [p for p in (self.path / SHARDS).glob("*") if p.is_dir() and not p.is_symlink()]
        for folder in (self.path, *configs, self.path / TOKENIZER, self.path / TEXT_TOKENIZER, self.parts):
            for path in folder.glob(".*.tmp"):
                path.unlink(missing_ok=True)
        for folder in configs:
            for path in folder.glob("*.parquet"):
                if _SHARD.fullmatch(path.name) and f"{SHARDS}/{folder.name}/{path.name}" not in shards:
                    path.unlink()
            with contextlib.suppress(OSError):
                folder.rmdir()  # of a config that this export does not have
        for folder in {(self.path / s).parent for s in shards}:
            folder.mkdir(parents=True, exist_ok=True)

    def finish(self, manifest: bytes) -> None:
        """Declare the export whole."""
        write_bytes(self.path / MANIFEST, manifest)
        shutil.rmtree(self.work)
        sync_folder(self.path)


def _files(manifest: Mapping[str, object]) -> list[dict[str, object]]:
    files = manifest.get("files")
    if not isinstance(files, list):
        return []
    return [f for f in files if isinstance(f, dict) and {"file", "sha256"} <= f.keys()]


@contextlib.contextmanager
def claim(path: Path) -> Iterator[ExportFolder]:
    """Hold a folder for writing an export: a new or empty one, an export, or one that was begun.

    Nothing in it changes before `ExportFolder.begin`.

    Raises:
        ExportError: The folder holds something else, or another process writes to it.
    """
    is_new = not path.exists()
    if not is_new and not path.is_dir():
        raise ExportError(f"{path}: is a file; an export goes into a folder")
    path.mkdir(parents=True, exist_ok=True)
    _require_ours(path)
    folder = ExportFolder(path)
    was_begun = folder.work.exists()
    folder.work.mkdir(exist_ok=True)
    lock = os.open(folder.work / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ExportError(f"{path}: another process is writing this export; wait for it to end") from None
        folder.parts.mkdir(exist_ok=True)
        yield folder
    except BaseException:
        if not was_begun and not folder.has_begun:
            # Refused before anything was written: leave everything as it was.
            shutil.rmtree(folder.work, ignore_errors=True)
            if is_new:
                with contextlib.suppress(OSError):
                    path.rmdir()
        raise
    finally:
        os.close(lock)


def _require_ours(path: Path) -> None:
    manifest = read_json(path / MANIFEST)
    if manifest is not None and manifest.get("format") == FORMAT:
        return
    if (path / UNFINISHED / "lock").exists():
        return
    found = sorted(p.name for p in path.iterdir())
    if found:
        raise ExportError(
            f"{path}: holds {found[0]!r} and is no export of vladata; give a new or empty folder, nothing was changed"
        )
