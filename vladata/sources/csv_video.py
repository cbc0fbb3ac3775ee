"""Tables of numbers (CSV, JSON lines, Parquet) with videos beside them, joined by time.

A table is a demonstration, and each row a sample. What no file says (which column is the time, in what unit, when the
frames of a video were taken) the mapping's options say; nothing of it is guessed.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import workers
from ..errors import GateError, SchemaError, SourceError, VladataError
from ..gate import inside
from ..mapping import LabelMapping
from ..recording import Instruction, Outcome, Recording, SourceFile
from ..text import clip, printable
from . import Inspection, Place, Request
from ._csv_frames import VideoTimes
from ._csv_inspect import inspect_tables
from ._csv_streams import StreamReader, TableSet, TimeOptions
from ._join import hash_file, recording_id
from ._json_files import read_json
from ._mp4 import Videos
from ._options import take_options
from ._row_labels import as_text, row_instructions, row_outcome
from ._table_layout import Layout, find_layout, is_folder_of_tables, is_table_file, matcher
from ._table_time import CLOCKS, NS_PER_UNIT, time_columns
from ._tables import SUFFIXES as TABLES

__all__ = ["IS_GENERAL", "SUFFIXES", "can_read", "inspect", "places", "read"]

SUFFIXES: tuple[str, ...] = ()
IS_GENERAL = True

_OPTIONS: dict[str, bool | float | str] = {
    "table": "",
    "time": "",
    "time_unit": "",
    "clock": "",
    "episode": "",
    "video_time": "",
    "video_start": "",
}
_MAX_EPISODES = 100_000

Int64Array = NDArray[np.int64]


def can_read(path: Path) -> bool:
    """Tell whether a path is a table of numbers, or a folder of them that holds no recording of another format."""
    try:
        return is_folder_of_tables(path) if path.is_dir() else is_table_file(path)
    except (VladataError, OSError):
        return False


def places(path: Path) -> list[Place]:
    """List the demonstrations: each table of a folder where all have the same columns, else the folder as one.

    Raises:
        SourceError: There is no table with numbers in at least two rows.
        GateError: A file breaks a limit.
    """
    layout = find_layout(path)
    folder = layout.folder.resolve().name or "folder"
    if not layout.is_alike:
        return [Place(name=folder, size=sum(_size(layout, t) for t in layout.tables))]
    return [Place(name=f"{folder}/{t}", size=_size(layout, t)) for t in layout.tables]


def _size(layout: Layout, table: str) -> int:
    return (layout.folder / table).stat().st_size


def read(path: Path, place: Place, request: Request) -> Iterator[Recording]:
    """Read the demonstrations of one table; of several, where the mapping says that they belong to a folder.

    Raises:
        SourceError: Damaged data, or a mapping or options that don't fit; with the columns, tables or videos there are.
        SchemaError: An option is unknown or has a value that it can't have.
        GateError: A file breaks a limit, or a path leaves the folder.
        MissingExtraError: A video is mapped and the package av is not installed.
    """
    options = _options(request)
    folder = path if path.is_dir() else path.parent
    for table in _chosen(path, place, str(options["table"])):
        yield from _TableReader(folder, table, place, request, options).recordings()


def _options(request: Request) -> dict[str, str]:
    options = {k: str(v) for k, v in take_options(request.mapping, _OPTIONS).items()}
    for name, known in (("time_unit", NS_PER_UNIT), ("clock", CLOCKS)):
        if options[name] and options[name] not in known:
            raise SchemaError(f"options.{name} is {options[name]!r}; it must be one of {', '.join(known)}")
    return options


def _chosen(path: Path, place: Place, pattern: str) -> list[str]:
    """Tables that are the demonstrations of a place."""
    layout = find_layout(path)
    folder, slash, name = place.name.partition("/")
    if folder != (layout.folder.resolve().name or "folder"):
        raise SourceError(f"{printable(place.name)}: no such demonstration in {printable(path.name)}")
    tables = [name] if slash else list(layout.tables)
    unknown = next((t for t in tables if t not in layout.tables), None)
    if unknown is not None:
        raise SourceError(f"{printable(place.name)}: no table {printable(unknown)} of numbers in at least two rows")
    shown = clip(printable(", ".join(tables)), 300)
    if pattern:
        chosen = [t for t in tables if t == pattern or matcher(pattern).fullmatch(t)]
        if not chosen and not slash:
            raise SourceError(
                f"{folder}: options.table {pattern!r} fits none of {clip(printable(', '.join(tables)), 300)}"
            )
        return chosen
    if len(tables) > 1:
        raise SourceError(
            f"{folder}: {len(tables)} tables with different columns ({shown}); say which is the demonstration with "
            "options.table, others can be named with from"
        )
    return tables


class _TableReader:
    """Reads the demonstrations of one table."""

    def __init__(self, folder: Path, table: str, place: Place, request: Request, options: dict[str, str]) -> None:
        self._folder, self._table, self._request, self._options = folder, table, request, options
        self._place = place.name if "/" in place.name else f"{place.name}/{table}"
        self._notes: list[str] = []
        self._label_files: list[str] = []

    def recordings(self) -> Iterator[Recording]:
        """One, or one for each episode where a column names them."""
        options, mapping = self._options, self._request.mapping
        with ExitStack() as stack:
            times = TimeOptions(
                time=options["time"],
                unit=options["time_unit"],
                clock=options["clock"],
                rate_hz=self._request.embodiment.rate_hz,
            )
            tables = TableSet(self._folder, self._table, times, stack)
            main = tables.get(self._table)
            video_times = self._video_times("")
            reader = StreamReader(tables, self._request.embodiment, video_times)
            of_time = [t.strip() for t in options["time"].split(",")] if options["time"] else time_columns(main)
            reader.plan(dict(mapping.streams), [*of_time, options["time"], options["episode"]])
            for label in (mapping.instruction, mapping.subtask, mapping.outcome):
                if label is not None and label.field is None:
                    tables.want(self._table, [label.source])
                elif label is not None and label.source.endswith(TABLES):
                    tables.want(label.source, [label.field or ""])
            tables.want(self._table, [options["video_start"]])
            if options["episode"]:
                self._want_episode(tables)
            tables.load()
            files = {n: self._hash(n) for n in tables.names}
            episodes = self._episodes(tables) if options["episode"] else [("", None)]
            for number, (value, rows) in enumerate(episodes):
                workers.beat()
                with ExitStack() as inner:
                    videos = Videos(inner)
                    before = len(reader.notes)
                    video_times.episode, video_times.files = value, []
                    self._notes, self._label_files = [], []
                    streams = reader.streams(dict(mapping.streams), rows, videos)
                    instructions, outcomes = self._labels(tables, rows)
                    used = [*video_times.files, *self._label_files]
                    files |= {n: self._hash(n) for n in used if n not in files}
                    all_files = tuple(files[n] for n in dict.fromkeys((*tables.names, *used)))
                    place = f"{self._place}#{number:05d}" if rows is not None else self._place
                    texts = [f"{i.kind} {i.text}" for i in instructions]
                    yield Recording(
                        recording_id=recording_id("csv_video", place, [*(f.sha256 for f in all_files), *texts]),
                        source="csv_video",
                        place=place,
                        files=all_files,
                        streams=streams,
                        is_stepped=options["time"] == "none",
                        instructions=instructions,
                        outcomes=outcomes,
                        metadata={"table": self._table, **({"episode": value} if rows is not None else {})},
                        notes=(*tables.notes, *reader.notes, *videos.notes, *self._notes, *tables.left_out()),
                        is_lossy=tables.is_cut,
                    )
                    del reader.notes[before:]

    def _video_times(self, episode: str) -> VideoTimes:
        options = self._options
        video_times = VideoTimes(
            how=options["video_time"],
            start=options["video_start"],
            time=options["time"],
            unit=options["time_unit"],
            clock=options["clock"],
            table=self._table,
            episode=episode,
        )
        video_times.check()
        return video_times

    def _hash(self, name: str) -> SourceFile:
        return hash_file(inside(self._folder, name), name)

    def _want_episode(self, tables: TableSet) -> None:
        for name in tables.names:
            if self._options["episode"] in tables.get(name).columns:
                tables.want(name, [self._options["episode"]])

    def _episodes(self, tables: TableSet) -> list[tuple[str, dict[str, Int64Array]]]:
        """Values of the episode column in the order in which they come, and their rows in each table."""
        by_table: dict[str, dict[str, list[int]]] = {}
        column = self._options["episode"]
        for name in tables.names:
            if column not in tables.get(name).columns and name != self._table:
                continue
            found: dict[str, list[int]] = {}
            for row, value in enumerate(self._cells(tables, name, column)):
                found.setdefault(value, []).append(row)
                if len(found) > _MAX_EPISODES:
                    raise GateError(f"{name}: over {_MAX_EPISODES:,} values in {column}; must be at most that")
            by_table[name] = found
        return [
            (value, {n: np.array(rows.get(value, []), dtype=np.int64) for n, rows in by_table.items()})
            for value in by_table[self._table]
        ]

    def _cells(self, tables: TableSet, name: str, column: str) -> list[str]:
        """The cells of a column as texts."""
        table = tables.get(name)
        texts = table.texts(column)
        if texts is not None:
            return texts
        values, _ = table.numbers(column)
        if values.ndim > 1:
            raise SourceError(f"{name}: {printable(column)} holds lists; must be one value in a row")
        return [as_text(v)[0] for v in values.tolist()]

    def _labels(
        self, tables: TableSet, rows: dict[str, Int64Array] | None
    ) -> tuple[tuple[Instruction, ...], tuple[Outcome, ...]]:
        """Instructions and the outcome, where they are mapped."""
        mapping = self._request.mapping
        instructions: list[Instruction] = []
        for label, kind in ((mapping.instruction, "task"), (mapping.subtask, "subtask")):
            if label is not None:
                texts, time_ns = self._texts(tables, label, rows)
                found, notes = row_instructions(texts, time_ns, "task" if kind == "task" else "subtask")
                instructions += found
                self._notes += notes
        if mapping.outcome is None:
            return tuple(instructions), ()
        texts, _ = self._texts(tables, mapping.outcome, rows)
        last = texts[-1] if texts else ""
        outcomes, notes = row_outcome((last, *_as_number(last)), mapping.outcome)
        self._notes += notes
        return tuple(instructions), outcomes

    def _texts(
        self, tables: TableSet, label: LabelMapping, rows: dict[str, Int64Array] | None
    ) -> tuple[list[str], Int64Array]:
        """Texts of a column, or of a JSON file beside the table, and their stamps."""
        if label.field is not None and label.source.endswith(".json"):
            return [self._json_text(label.source, label.field)], np.zeros(1, dtype=np.int64)
        name, column = (label.source, label.field) if label.field is not None else (self._table, label.source)
        cells = self._cells(tables, name, column)
        chosen = rows.get(name) if rows is not None else None
        if len(cells) == 1 and name != self._table:
            return cells, np.zeros(1, dtype=np.int64)
        times = tables.times(name, chosen)
        kept = times.rows
        return (cells if kept is None else [cells[i] for i in kept.tolist()]), times.time_ns

    def _json_text(self, name: str, path: str) -> str:
        value: object = read_json(self._folder, name)
        self._label_files.append(name)
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if not isinstance(value, str | bool | int | float):
            self._notes.append(f"{printable(name)}: no text at {printable(path)}")
            return ""
        return value if isinstance(value, str) else as_text(value)[0]


def _as_number(text: str) -> tuple[str, ...]:
    """Ways to write a number: 1 also as 1.0."""
    try:
        return as_text(float(text))
    except ValueError:
        return ()


def inspect(path: Path) -> Inspection:
    """Describe a table, or the first of a folder, and the videos beside it.

    Raises:
        SourceError: As `places`, or the table is damaged.
        GateError: A file breaks a limit.
    """
    return inspect_tables(path, find_layout(path), places(path))
