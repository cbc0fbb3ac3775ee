"""A dataset of episodes: a folder with episode files, manifest, edit log and catalog."""

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from ..documents import canonical_json
from ..episode import Episode
from ..errors import DatasetError
from ..gate import inside
from .catalog import Entry, entry_of, read_catalog, write_catalog
from .edits import Edit, EditLog, apply_edits
from .reader import read_episode
from .writer import hash_file, replace_file

__all__ = ["EPISODES", "MANIFEST_NAME", "Dataset", "hash_file", "natural_order", "write_index"]

MANIFEST_NAME = "manifest.json"
EPISODES = "episodes"
DATASET_FORMAT = "vladata-dataset"
DATASET_VERSION = 1


def natural_order(entry: Entry) -> tuple[str, str, str]:
    """The order of a dataset: by source, place and recording, whatever the order of arrival."""
    return entry.source, entry.place, entry.recording_id


def write_index(folder: Path, entries: Sequence[Entry]) -> None:
    """Write manifest and catalog for these episodes."""
    ordered = sorted(entries, key=natural_order)
    files = [{"file": e.file, "size": e.num_bytes, "sha256": e.sha256} for e in ordered]
    head = canonical_json({"format": DATASET_FORMAT, "format_version": DATASET_VERSION})[1:-1]
    lines = ",\n".join(canonical_json(f) for f in files)
    text = f'{{{head},"episodes":[\n{lines}\n]}}\n'
    with replace_file(folder / MANIFEST_NAME) as temporary:
        temporary.write_text(text, encoding="utf-8")
    write_catalog(folder, ordered, hashlib.sha256(text.encode()).hexdigest())


def read_manifest(folder: Path) -> tuple[list[dict[str, object]], str]:
    """The manifest's files, and its SHA-256.

    Raises:
        DatasetError: There is none, or it is damaged.
    """
    path = folder / MANIFEST_NAME
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise DatasetError(
            f"{folder}: not a dataset folder; it must hold {MANIFEST_NAME} (made by vladata ingest)"
        ) from None
    try:
        manifest = json.loads(data)
        files = manifest["episodes"]
        version = manifest["format_version"]
        name = manifest["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path}: damaged manifest: {error}") from error
    if name != DATASET_FORMAT:
        raise DatasetError(f"{path}: format is {name!r}; it must be {DATASET_FORMAT!r}")
    if version != DATASET_VERSION:
        raise DatasetError(f"{path}: dataset version {version}; this release reads {DATASET_VERSION}")
    if not isinstance(files, list) or not all(map(_is_line, files)):
        raise DatasetError(f"{path}: damaged manifest: each episode must have a file, a size and a sha256")
    return files, hashlib.sha256(data).hexdigest()


def _is_line(item: object) -> bool:
    return (
        isinstance(item, dict)
        and isinstance(item.get("file"), str)
        and type(item.get("size")) is int
        and isinstance(item.get("sha256"), str)
    )


class Dataset:
    """A dataset folder, opened for reading; edits are applied."""

    def __init__(self, path: Path, entries: Sequence[Entry], log: EditLog, manifest_sha256: str) -> None:
        """Use `Dataset.open`."""
        self.path = path
        self.edits = log
        self._all = tuple(entries)
        self._manifest_sha256 = manifest_sha256
        self._dropped = {e.recording_id for e in log.effective if e.action == "drop"}
        changed = (e for e in log.effective if e.action != "quarantine")  # which changes no episode
        edited = {e.recording_id for e in changed} - self._dropped
        self.entries: tuple[Entry, ...] = tuple(
            self._edited(e) if e.recording_id in edited else e for e in self._all if e.recording_id not in self._dropped
        )
        self._by_id = {e.episode_id: e for e in self.entries}

    @classmethod
    def open(cls, path: str | Path) -> "Dataset":
        """Open a dataset folder.

        Raises:
            DatasetError: The folder is not a dataset, or its manifest or edit log is damaged.
        """
        folder = Path(path)
        files, sha256 = read_manifest(folder)
        entries = read_catalog(folder, sha256)
        if entries is None or len(entries) != len(files):
            entries = _rebuild(folder, files)
        return cls(folder, entries, EditLog(folder), sha256)

    @property
    def dropped(self) -> tuple[Entry, ...]:
        """Episodes that an edit dropped; their files are still there."""
        return tuple(e for e in self._all if e.recording_id in self._dropped)

    @cached_property
    def quarantined(self) -> dict[str, Edit]:
        """By recording_id, the last mark of each episode that must not be trained on; exports leave them out."""
        return {e.recording_id: e for e in self.edits.effective if e.action == "quarantine"}

    @property
    def all_entries(self) -> tuple[Entry, ...]:
        """Every committed episode, without edits."""
        return self._all

    @property
    def digest(self) -> str:
        """SHA-256 over the manifest and the edits that count, hex: what a reader of the dataset sees."""
        sha = hashlib.sha256(self._manifest_sha256.encode())
        for edit in self.edits.effective:
            plain = edit.model_dump(mode="json", exclude_defaults=True, exclude={"time", "number", "previous"})
            sha.update(canonical_json(plain).encode())
        return sha.hexdigest()

    def __len__(self) -> int:
        """Number of episodes."""
        return len(self.entries)

    def __iter__(self) -> Iterator[Episode]:
        """All episodes in order, read one by one."""
        return (self.episode(e) for e in self.entries)

    def __getitem__(self, index: int) -> Episode:
        """The episode at a place of the dataset's order."""
        return self.episode(self.entries[index])

    def find(self, name: str) -> Entry:
        """Find an episode by its number in the dataset's order, its place, or the beginning of its id.

        Raises:
            DatasetError: None or several fit.
        """
        if name.isdecimal() and len(name) < 8 and int(name) < len(self.entries):
            return self.entries[int(name)]
        hits = [e for e in self.entries if e.place == name] or [
            e for e in self.entries if len(name) >= 4 and e.episode_id.startswith(name)
        ]
        if len(hits) == 1:
            return hits[0]
        what = "no episode" if not hits else f"{len(hits)} episodes"
        raise DatasetError(
            f"{what} {name!r} in {self.path}; give a number below {len(self.entries)}, a place, or 4 or more "
            "characters of an id (vladata ls shows them)"
        )

    def episode(self, which: Entry | str) -> Episode:
        """Read an episode, edits applied.

        Raises:
            EpisodeFormatError: The file is damaged.
            DatasetError: There is no such episode.
        """
        entry = self.find(which) if isinstance(which, str) else which
        return apply_edits(read_episode(inside(self.path, entry.file)), self.edits.of(entry.recording_id))

    def _edited(self, entry: Entry) -> Entry:
        """The row of an edited episode; trims need the file."""
        episode = self.episode(entry)
        return dataclasses.replace(
            entry,
            num_steps=len(episode),
            duration_s=episode.duration_s,
            instruction=episode.instruction,
            outcome=episode.outcome,
        )


def _rebuild(folder: Path, files: Sequence[dict[str, object]]) -> list[Entry]:
    """Make the catalog anew from the episode files."""
    entries = []
    for item in files:
        name, size, sha256 = str(item["file"]), item["size"], str(item["sha256"])
        assert isinstance(size, int)
        entries.append(entry_of(read_episode(inside(folder, name)), file=name, num_bytes=size, sha256=sha256))
    # A folder that can't be written is still a dataset: the cache is only faster.
    with contextlib.suppress(OSError):
        write_catalog(folder, entries, read_manifest(folder)[1])
    return entries
