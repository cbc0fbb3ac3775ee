"""Corrections of committed episodes: an append-only log beside them, applied on reading, each undone at will.

Edits are keyed by recording and nanoseconds, so that they survive a new synchronization.
"""

import dataclasses
import datetime
import fcntl
import json
import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from ..documents import Document, canonical_json, parse
from ..episode import Episode
from ..errors import DatasetError, SchemaError
from ..recording import Instruction, Outcome

__all__ = ["Edit", "EditLog", "apply_edits", "copy_log", "steps_between"]

LOG_NAME = "edits.jsonl"


class Edit(Document):
    """One line of the log."""

    number: Annotated[int, Field(ge=1)]
    """Counts up from 1; `undo` names it."""
    action: Literal["relabel", "mark", "trim", "drop", "quarantine", "undo"]
    recording_id: str = ""
    """What it is about; empty for undo."""
    author: str
    time: str
    """When it was made, UTC, ISO 8601."""
    reason: str = ""
    text: str = ""
    """relabel: the new task instruction."""
    kind: Literal["success", "failure", "reward", "intervention", "quality", "segment"] | None = None
    """mark: kind of the outcome marker."""
    value: float | None = None
    """mark: the reward or grade."""
    start_ns: int | None = None
    """mark: from when; trim: the first step kept is at or after this time."""
    end_ns: int | None = None
    """mark: until when; trim: steps from this time on are cut."""
    checks: tuple[str, ...] = ()
    """quarantine: checks that found errors; empty where a person says so."""
    undoes: int | None = None
    """undo: number of the edit that no longer counts."""
    previous: str = ""
    """What the edit replaces, for people."""


class EditLog:
    """The edits of a dataset."""

    def __init__(self, folder: Path) -> None:
        """Read the log of a dataset folder; a line that was cut off by a crash was never acknowledged and is left out.

        Raises:
            DatasetError: A line in the middle is damaged.
        """
        self._path = folder / LOG_NAME
        self.edits, self._whole = _read(self._path)

    @property
    def effective(self) -> tuple[Edit, ...]:
        """Edits that count: not undone, and no undo itself; an undo can be undone."""
        undone = self._undone()
        return tuple(e for e in self.edits if e.action != "undo" and e.number not in undone)

    def _undone(self) -> set[int]:
        """Numbers of the edits, undos among them, that no longer count."""
        undone: set[int] = set()
        for edit in reversed(self.edits):
            if edit.action == "undo" and edit.number not in undone and edit.undoes is not None:
                undone.add(edit.undoes)
        return undone

    def of(self, recording_id: str) -> tuple[Edit, ...]:
        """Edits that count for one recording, in order."""
        return self._by_recording.get(recording_id, ())

    @cached_property
    def _by_recording(self) -> dict[str, tuple[Edit, ...]]:
        found: dict[str, list[Edit]] = {}
        for edit in self.effective:
            found.setdefault(edit.recording_id, []).append(edit)
        return {k: tuple(v) for k, v in found.items()}

    def preview(self, edit: dict[str, object], author: str) -> Edit:
        """What `append` would add; arguments and errors as there."""
        made = self._made(edit, author, max((e.number for e in self.edits), default=0) + 1)
        self._check(made)
        return made

    def _made(self, edit: dict[str, object], author: str, number: int) -> Edit:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        return parse(Edit, {"number": number, "author": author, "time": now, **edit}, LOG_NAME)

    def append(self, edit: dict[str, object], author: str) -> Edit:
        """Add an edit; it is on the disk when this returns.

        Args:
            edit: Fields of `Edit` but number, author and time.
            author: Who says so.

        Raises:
            SchemaError: The fields don't make an edit.
            DatasetError: An undo names no edit that counts.
        """
        return self.extend([edit], author)[0]

    def extend(self, edits: Sequence[dict[str, object]], author: str) -> tuple[Edit, ...]:
        """Add edits, all of them or none; they are on the disk when this returns. Arguments and errors as `append`."""
        for edit in edits:
            self._check(self._made(edit, author, number=1))  # a wrong one makes no file
        if not edits:
            return ()
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            self._take(*_read(self._path))
            first = max((e.number for e in self.edits), default=0) + 1
            made = tuple(self._made(edit, author, first + i) for i, edit in enumerate(edits))
            for item in made:
                self._check(item)  # another process may have undone what an undo names
            os.ftruncate(fd, self._whole)
            lines = "".join(canonical_json(e.model_dump(mode="json", exclude_defaults=True)) + "\n" for e in made)
            data = memoryview(lines.encode())
            place = self._whole
            try:
                while data:  # a part only may be written
                    count = os.pwrite(fd, data, place)
                    data, place = data[count:], place + count
                os.fsync(fd)
            except BaseException:  # a full disk, Ctrl+C: half of them must not count
                os.ftruncate(fd, self._whole)
                raise
        finally:
            os.close(fd)
        self._take((*self.edits, *made), place)
        return made

    @cached_property
    def _counting(self) -> set[int]:
        """Numbers of the edits that can be undone."""
        return {e.number for e in self.edits} - self._undone()

    def _take(self, edits: tuple[Edit, ...], whole: int) -> None:
        self.edits, self._whole = edits, whole
        for name in ("_by_recording", "_counting"):
            self.__dict__.pop(name, None)

    def _check(self, edit: Edit) -> None:
        if edit.action == "undo" and edit.undoes not in self._counting:
            known = ", ".join(map(str, sorted(self._counting))) or "none"
            raise DatasetError(f"{LOG_NAME}: no edit {edit.undoes} to undo; those that count: {known}")
        if edit.action == "trim" and edit.start_ns is None and edit.end_ns is None:
            raise DatasetError("a trim must say where the episode starts or ends")
        if edit.action == "mark" and edit.kind is None:
            raise DatasetError("a mark must say its kind")


def copy_log(source: Path, target: Path) -> None:
    """Give a dataset the edits of another one of the same recordings; one that has edits of its own keeps those."""
    from .writer import replace_file

    _, whole = _read(source / LOG_NAME)
    if whole and not (target / LOG_NAME).exists():
        with replace_file(target / LOG_NAME) as temporary:
            temporary.write_bytes((source / LOG_NAME).read_bytes()[:whole])


def _read(path: Path) -> tuple[tuple[Edit, ...], int]:
    """The edits and the length of the log up to its last whole line."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return (), 0
    whole = data.rfind(b"\n") + 1
    edits = []
    for number, line in enumerate(data[:whole].splitlines(), start=1):
        try:
            edits.append(parse(Edit, json.loads(line), f"{path.name}: line {number}"))
        except (ValueError, SchemaError) as error:
            raise DatasetError(f"{path.name}: line {number} is damaged: {error}") from error
    return tuple(edits), whole


def apply_edits(episode: Episode, edits: Iterable[Edit]) -> Episode:
    """The episode as its edits want it; drops are the dataset's business.

    Raises:
        DatasetError: Trimming leaves no step.
    """
    for edit in edits:
        if edit.action == "relabel":
            kept = tuple(i for i in episode.instructions if i.kind != "task")
            episode = dataclasses.replace(
                episode, instructions=(Instruction(text=edit.text, kind="task", author=edit.author), *kept)
            )
        elif edit.action == "mark" and edit.kind is not None:
            marker = Outcome(
                kind=edit.kind,
                time_ns=edit.start_ns,
                end_ns=edit.end_ns,
                value=edit.value,
                reason=edit.reason,
                author=edit.author,
            )
            replaces = edit.kind in {"success", "failure"} and edit.start_ns is None
            kept_markers = tuple(o for o in episode.outcomes if not (replaces and o.kind in {"success", "failure"}))
            episode = dataclasses.replace(episode, outcomes=(*kept_markers, marker))
        elif edit.action == "trim":
            episode = _trim(episode, edit)
    return episode


def _trim(episode: Episode, edit: Edit) -> Episode:
    start, stop = steps_between(episode, edit.start_ns, edit.end_ns)
    return dataclasses.replace(episode, steps=episode.steps.between(start, stop))


def steps_between(episode: Episode, start_ns: int | None, end_ns: int | None) -> tuple[int, int]:
    """The steps that a trim keeps, half-open.

    Raises:
        DatasetError: There are none.
    """
    time = episode.steps.time_ns
    start = 0 if start_ns is None else int(np.searchsorted(time, start_ns, side="left"))
    stop = len(time) if end_ns is None else int(np.searchsorted(time, end_ns, side="left"))
    if start >= stop:
        raise DatasetError(
            f"a trim to {start_ns} … {end_ns} ns leaves no step of {episode.episode_id[:8]}; "
            f"it has steps from {time[0]} to {time[-1]} ns"
        )
    return start, stop
