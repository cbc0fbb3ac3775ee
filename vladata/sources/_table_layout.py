"""Folders with tables of numbers: which tables are demonstrations, and which folders are something else."""

import itertools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import GateError, SourceError, VladataError
from ..text import clip, printable
from ._table_time import time_columns
from ._tables import SUFFIXES, ParquetTable, open_table

__all__ = ["VIDEO_SUFFIXES", "Layout", "find_layout", "is_folder_of_tables", "is_table_file", "matcher", "videos_in"]

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".m4v")

_FOREIGN = (".mcap", ".bag", ".db3", ".zstd", ".h5", ".hdf5", ".zarr", ".zip", ".npz", ".tfds", ".pkl")
"""Suffixes of recordings: a folder that has them holds no recording of tables."""
_SIDECAR = ".timestamps."
_MAX_ENTRIES = 20_000
_MAX_LOOK = 2_000
_LOOK_ROWS = 20
_LOOK_DEPTH = 3
_MARKERS = ("meta/info.json", "features.json", "dataset_info.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What a path holds."""

    folder: Path
    tables: tuple[str, ...]
    """Names of the tables that can be a demonstration: numbers in at least two rows."""
    is_alike: bool
    """Whether all have the same columns, so that each is a demonstration."""
    problems: tuple[str, ...] = ()
    """Tables that are no demonstration, and why."""


def find_layout(path: Path) -> Layout:
    """Look at a table, or at the tables of a folder.

    Raises:
        SourceError: There is no table that can be a demonstration; with the reason.
        GateError: A folder has too many files.
        OSError: The path can't be read.
    """
    folder = path if path.is_dir() else path.parent
    names = sorted(_table_names(folder)) if path.is_dir() else [path.name]
    tables, columns, problems = [], set(), []
    first: VladataError | None = None
    for name in names:
        try:
            found = _demonstration(folder / name)
        except VladataError as error:
            problems.append(str(error))
            first = first or error
            if _is_parquet(folder / name):
                tables.append(name)  # reading it says what is wrong
            continue
        if found is None:
            problems.append(f"{printable(name)}: fewer than two rows of numbers: no demonstration of its own")
        else:
            tables.append(name)
            columns.add(found)
    if not tables and first is not None:
        raise first
    if not tables:
        raise SourceError(problems[0] if problems else f"{path.name}: no table of {', '.join(SUFFIXES)}")
    return Layout(
        folder=folder, tables=tuple(tables), is_alike=len(tables) == 1 or len(columns) <= 1, problems=tuple(problems)
    )


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        for number, entry in enumerate(found):
            if number >= _MAX_ENTRIES:
                raise GateError(f"{printable(folder.name)}: more than {_MAX_ENTRIES:,} files; must have at most that")
            if not entry.name.startswith("."):
                yield entry


def _table_names(folder: Path) -> list[str]:
    return [e.name for e in _entries(folder) if _has_table_name(e.name) and e.is_file()]


def _has_table_name(name: str) -> bool:
    return name.endswith(SUFFIXES) and _SIDECAR not in name


def videos_in(folder: Path) -> list[str]:
    """Names of the video files of a folder, sorted."""
    return sorted(e.name for e in _entries(folder) if e.name.endswith(VIDEO_SUFFIXES) and e.is_file())


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return path.suffix == ".parquet" and file.read(4) == b"PAR1"


def _demonstration(path: Path) -> tuple[str, ...] | None:
    """The columns of a table that has numbers in at least two rows, else None."""
    table = open_table(path, path.name)
    try:
        if isinstance(table, ParquetTable):
            types = map(table.type_of, table.columns)
            is_numeric = any(re.match(r"u?int|float|double|halffloat|fixed_size_list|list", t) for t in types)
            return table.columns if is_numeric and table.count > 1 else None
        rows = list(itertools.islice(table.rows(), _LOOK_ROWS))
        numeric = (any(_is_numeric(row[i]) for row in rows) for i in range(len(table.columns)))
        return table.columns if len(rows) > 1 and any(numeric) else None
    finally:
        table.close()


def _is_numeric(cell: object) -> bool:
    if isinstance(cell, list):
        return bool(cell) and _is_numeric(cell[0])
    try:
        return isinstance(cell, str) and float(cell) is not None
    except ValueError:
        return False


def is_folder_of_tables(folder: Path) -> bool:
    """Tell whether a folder is a recording: it has a table with numbers, and nothing in it is another recording.

    Raises:
        OSError: The folder can't be read.
        GateError: It has too many files.
    """
    if any((folder / marker).exists() for marker in _MARKERS) or _is_inside_dataset(folder):
        return False
    entries = list(_entries(folder))
    if any(e.name.endswith(_FOREIGN) or ".tfrecord" in e.name for e in entries):
        return False
    if not any(_is_candidate(folder / e.name) for e in entries if _has_table_name(e.name) and e.is_file()):
        return False
    budget = [_MAX_LOOK]
    return not any(_holds_recordings(Path(e.path), 1, budget) for e in entries if e.is_dir(follow_symlinks=False))


def _holds_recordings(folder: Path, depth: int, budget: list[int]) -> bool:
    """Whether a folder below has recordings or tables of its own."""
    for entry in _entries(folder):
        budget[0] -= 1
        if budget[0] < 0:
            return False
        if entry.name.endswith(_FOREIGN) or ".tfrecord" in entry.name or _has_table_name(entry.name):
            return True
        is_deeper = depth < _LOOK_DEPTH and entry.is_dir(follow_symlinks=False)
        if is_deeper and _holds_recordings(Path(entry.path), depth + 1, budget):
            return True
    return False


def _is_candidate(path: Path) -> bool:
    try:
        return _is_parquet(path) or _demonstration(path) is not None
    except VladataError:
        return False


def _is_inside_dataset(folder: Path) -> bool:
    """Whether a folder belongs to a dataset in another format that keeps tables: LeRobot's."""
    parents = (folder, *folder.absolute().parents)[:4]
    return any((p / _MARKERS[0]).exists() for p in parents)


def is_table_file(path: Path) -> bool:
    """Tell whether a file is a recording: a table with numbers, in a folder of tables or with a column for time.

    Raises:
        OSError: The file can't be read.
        GateError: Its folder has too many files.
    """
    folder = path.parent
    if not _has_table_name(path.name) or _is_inside_dataset(folder) or not _is_candidate(path):
        return False
    if is_folder_of_tables(folder):
        return True
    if any(e.name.endswith(_FOREIGN) for e in _entries(folder)):
        return False
    try:
        table = open_table(path, path.name)
    except VladataError:
        return False
    try:
        return bool(time_columns(table))
    finally:
        table.close()


def matcher(pattern: str) -> "re.Pattern[str]":
    """A pattern as an expression: `*` is any text and `#` a whole number; each is a group."""
    parts = re.split(r"([*#])", clip(pattern, 1000))
    return re.compile("".join({"*": "(.*)", "#": "([0-9]+)"}.get(p, re.escape(p)) for p in parts), re.DOTALL)
