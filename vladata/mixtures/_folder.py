"""The folder of a mixture while it is being written: whole or none, and gone on with after an interruption.

As in an export, `manifest.json` is written last and removed first; until then `.unfinished/` holds receipts.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from ..documents import canonical_json
from ..errors import ExportError, GateError
from ..exporters._folder import MANIFEST, README, TEXT_TOKENIZER, TOKENIZER, UNFINISHED, read_json, write_bytes
from ..gate import inside
from ..store.writer import sync_folder

__all__ = ["EPOCH", "FORMAT", "FORMAT_VERSION", "PARTS", "PLAN", "MixtureFolder", "claim", "files_of", "is_mixture"]

FORMAT = "vladata-mixture"
FORMAT_VERSION = 1
PLAN, EPOCH, PARTS = "mixture.json", "epoch.parquet", "parts"
SMALL = (README, PLAN, EPOCH, "dataset_statistics.json")
SMALL_FOLDERS = (TOKENIZER, TEXT_TOKENIZER, PARTS, "norm_stats")


def is_mixture(folder: Path) -> bool:
    """Tell a mixture, whole or begun, from other folders."""
    manifest = read_json(folder / MANIFEST)
    if manifest is not None:
        return manifest.get("format") == FORMAT
    return (folder / UNFINISHED / "mixture").is_file()


def files_of(manifest: Mapping[str, object]) -> list[dict[str, object]]:
    """The lines of its files; damaged ones are left out."""
    files = manifest.get("files")
    if not isinstance(files, list):
        return []
    return [f for f in files if isinstance(f, dict) and {"file", "size", "sha256"} <= f.keys()]


class MixtureFolder:
    """A folder that this process alone writes a mixture to."""

    def __init__(self, path: Path) -> None:
        """Use `claim`."""
        self.path = path
        self.work = path / UNFINISHED
        self.has_begun = False

    def receipts(self) -> dict[str, dict[str, object]]:
        """Lines of shards that were completed, by name; whether the files still are as noted is not looked at."""
        lines = files_of(read_json(self.path / MANIFEST) or {})
        lines += [receipt or {} for receipt in map(read_json, sorted((self.work / "receipts").glob("*.json")))]
        return {str(line["file"]): line for line in lines if {"file", "unit", "sha256"} <= line.keys()}

    def note(self, receipt: Mapping[str, object]) -> None:
        """Leave a receipt of a shard; losing one costs writing the shard again, no more."""
        folder = self.work / "receipts"
        folder.mkdir(exist_ok=True)
        name = str(receipt["file"]).replace("/", ",")
        (folder / f"{name}.json").write_text(canonical_json(receipt), encoding="utf-8")

    def begin(self, shards: Collection[str]) -> None:
        """Take the old mixture apart: from here on the folder is no whole mixture until `finish`.

        Args:
            shards: Names of the shards to be written; those that are there already may stay.
        """
        self.has_begun = True
        old = files_of(read_json(self.path / MANIFEST) or {})
        for line in old:
            if "unit" in line:
                self.note(line)
        sync_folder(self.work)
        (self.path / MANIFEST).unlink(missing_ok=True)
        sync_folder(self.path)
        for line in old:
            if line["file"] not in shards:
                self._remove(str(line["file"]))
        for name in SMALL:  # also of a run that was killed before its manifest
            (self.path / name).unlink(missing_ok=True)
        for name in SMALL_FOLDERS:
            shutil.rmtree(self.path / name, ignore_errors=True)
        for name in sorted(shards):
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        self.sweep(shards)

    def _remove(self, name: str) -> None:
        """Remove a file that an old manifest names; a name that leads elsewhere is left alone."""
        with contextlib.suppress(GateError):
            path = inside(self.path, name)
            if path.is_file() and not path.is_symlink():
                path.unlink()

    def sweep(self, shards: Collection[str]) -> None:
        """Remove temporary files, shards of another plan, and folders that are empty."""
        for path in self.path.rglob(".*.tmp"):
            path.unlink(missing_ok=True)
        for path in (self.path / "data").glob("*/*.parquet"):
            if path.relative_to(self.path).as_posix() not in shards:
                path.unlink()
        folders = [p for p in self.path.rglob("*") if p.is_dir() and self.work not in (p, *p.parents)]
        for folder in sorted(folders, reverse=True):
            if not any(folder.is_relative_to(self.path / Path(s).parent) for s in shards):
                with contextlib.suppress(OSError):
                    folder.rmdir()

    def finish(self, manifest: bytes) -> None:
        """Declare the mixture whole."""
        write_bytes(self.path / MANIFEST, manifest)
        shutil.rmtree(self.work)
        sync_folder(self.path)


@contextlib.contextmanager
def claim(path: Path) -> Iterator[MixtureFolder]:
    """Hold a folder for writing a mixture: a new or empty one, a mixture, or one that was begun.

    Nothing in it changes before `MixtureFolder.begin`.

    Raises:
        ExportError: The folder holds something else, or another process writes to it.
    """
    is_new = not path.exists()
    if not is_new and not path.is_dir():
        raise ExportError(f"{path}: is a file; a mixture goes into a folder")
    path.mkdir(parents=True, exist_ok=True)
    found = sorted(p.name for p in path.iterdir())
    if found and not is_mixture(path):
        raise ExportError(
            f"{path}: holds {found[0]!r} and is no mixture of vladata; give a new or empty folder, nothing was changed"
        )
    folder = MixtureFolder(path)
    was_begun = folder.work.exists()
    folder.work.mkdir(exist_ok=True)
    (folder.work / "mixture").touch()
    lock = os.open(folder.work / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ExportError(f"{path}: another process is writing this mixture; wait for it to end") from None
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
