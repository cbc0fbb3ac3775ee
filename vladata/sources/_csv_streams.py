"""Streams of one demonstration out of tables and the videos beside them."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import workers
from ..embodiment import Embodiment
from ..errors import SourceError
from ..gate import inside
from ..mapping import StreamMapping
from ..recording import AnyStream, Frames, FrameStream, Stream
from ..text import clip, printable
from ..units import Clock
from ._csv_frames import VideoTimes, frame_times
from ._first_image import first_image
from ._join import join_columns
from ._mp4 import Videos, video_stream
from ._table_layout import VIDEO_SUFFIXES, matcher, videos_in
from ._table_time import Stamps, find_time, table_stamps
from ._tables import SUFFIXES, ParquetTable, Table, open_table

__all__ = ["Columns", "RowTimes", "StreamReader", "TableSet", "TimeOptions", "choose_columns"]

Int64Array = NDArray[np.int64]
_MAX_SHOWN = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeOptions:
    """What the mapping's options say of time."""

    time: str
    unit: str
    clock: str
    rate_hz: float
    """Of the embodiment: where no time was recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Columns of a table that make up a signal."""

    table: str
    names: tuple[str, ...]
    """In the table."""
    elements: tuple[str, ...]
    """What they are joined by: their names, or what a pattern's wildcard stands for; empty: by their order."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowTimes:
    """Stamps of the rows of a demonstration."""

    time_ns: Int64Array
    clock: Clock
    choice: str
    rows: Int64Array | None
    """The rows of the table that they belong to; None: all."""


class TableSet:
    """The tables of a demonstration: the main one, and others beside it that the mapping names."""

    def __init__(self, folder: Path, main: str, times: TimeOptions, stack: ExitStack) -> None:
        """Open the main table.

        Raises:
            SourceError: It is damaged.
            GateError: It breaks a limit.
        """
        self.folder, self.main = folder, main
        self.notes: list[str] = []
        self._times, self._stack = times, stack
        self._tables: dict[str, Table] = {}
        self._stamps: dict[str, Stamps | None] = {}
        self._wanted: dict[str, set[str]] = {}
        self._untimed: dict[str, SourceError] = {}
        self.get(main)

    @property
    def names(self) -> list[str]:
        """Tables that were opened."""
        return list(self._tables)

    @property
    def is_cut(self) -> bool:
        """Whether the end of a table is cut off, or rows have no stamps."""
        cut = any(t.is_cut for t in self._tables.values())
        return cut or any(s is not None and s.rows is not None for s in self._stamps.values())

    def get(self, name: str) -> Table:
        """A table of the folder.

        Raises:
            SourceError: It is not there or damaged.
            GateError: It leaves the folder or breaks a limit.
        """
        if name not in self._tables:
            path = inside(self.folder, name)
            if not path.is_file():
                raise SourceError(f"{printable(name)} is not there")
            table = open_table(path, name)
            self._stack.callback(table.close)
            self._tables[name] = table
            self._wanted[name] = set()
        return self._tables[name]

    def want(self, table: str, columns: Sequence[str]) -> None:
        """Say which columns will be asked for."""
        self._wanted[self.get(table).name] |= set(columns)

    def load(self) -> None:
        """Read what is wanted, and the stamps.

        Raises:
            SourceError: A table is damaged, or has no stamps.
            GateError: A table breaks a limit.
        """
        for name, table in self._tables.items():
            column, how = self._find(table)
            table.load({*self._wanted[name], *([column] if column else [])})
            if table.count == 0:
                raise SourceError(f"{name}: 0 rows; a demonstration must have at least one")
            self.notes += [n for n in table.notes if n not in self.notes]
            if name in self._untimed:
                continue
            if not column:
                rate = self._times.rate_hz
                self._stamps[name] = None
                self.notes.append(f"{name}: no time is read: stamps are row / {rate:g} Hz, and rows are steps")
                continue
            stamps = table_stamps(table, column, self._times.unit, self._times.clock)
            self._stamps[name] = stamps
            self.notes += [f"{n}; {how}" if n.startswith("time: ") else n for n in stamps.notes]
            self._wanted[name].add(column)

    def _find(self, table: Table) -> tuple[str, str]:
        """The time column and how it was found; empty where none is needed, or the table beside has none."""
        if self._times.time == "none":
            return "", ""
        try:
            return find_time(table, self._times.time)
        except SourceError as error:
            if table.name == self.main:
                raise
            self._untimed[table.name] = error  # it may be there for a label alone
            return "", ""

    def left_out(self) -> list[str]:
        """Columns of the tables that are not kept."""
        left = {n: [c for c in t.columns if c not in self._wanted[n]] for n, t in self._tables.items()}
        return [f"{n}: not kept: {clip(printable(', '.join(c)), 2000)}" for n, c in left.items() if c]

    def times(self, table: str, rows: Int64Array | None) -> RowTimes:
        """Stamps of a table's rows.

        Args:
            table: Its name, loaded.
            rows: Those of one episode; None: all.

        Raises:
            SourceError: It has no column for time.
        """
        if table in self._untimed:
            raise self._untimed[table]
        stamps = self._stamps[table]
        if stamps is None:
            count = self.get(table).count if rows is None else len(rows)
            time_ns = np.round(np.arange(count) * 1e9 / self._times.rate_hz).astype(np.int64)
            return RowTimes(time_ns=time_ns, clock=Clock.NOMINAL, choice="", rows=rows)
        time_ns, kept = stamps.time_ns, stamps.rows
        if rows is not None:
            is_in = np.isin(np.arange(len(time_ns)) if kept is None else kept, rows)
            time_ns, kept = time_ns[is_in], np.flatnonzero(is_in) if kept is None else kept[is_in]
        return RowTimes(time_ns=time_ns, clock=stamps.clock, choice=stamps.column, rows=kept)

    def unit(self) -> str:
        """The unit of the main table's stamps, empty where they are no numbers."""
        stamps = self._stamps[self.main]
        return stamps.unit if stamps is not None and stamps.unit not in {"text", "type"} else ""


def choose_columns(table: Table, pattern: str, wanted: Sequence[str], join: str, left_out: Sequence[str]) -> Columns:
    """The columns that a mapping's `from` (or `field`) means.

    Args:
        table: Its columns' names are looked at.
        pattern: A column, or a pattern: `*` is any text, `#` a whole number.
        wanted: Names of the signal's elements.
        join: The mapping's rule.
        left_out: Columns that no pattern means: those of time.

    Raises:
        SourceError: No column is meant; with the columns there are.
    """
    if pattern in table.columns:
        return Columns(table=table.name, names=(pattern,), elements=(pattern,))
    found = [(c, m.groups()) for c in table.columns if (m := matcher(pattern).fullmatch(c)) and c not in left_out]
    names = tuple(c for c, _ in found)
    if not found:
        shown = clip(printable(", ".join(table.columns)), _MAX_SHOWN)
        raise SourceError(f"{table.name}: no column {printable(pattern)!r}; there are {shown}")
    if join == "index":
        return Columns(table=table.name, names=names, elements=names)
    parts = {groups[0]: c for c, groups in found if len(groups) == 1}
    if set(wanted) <= set(names):
        return Columns(table=table.name, names=tuple(wanted), elements=tuple(wanted))
    if len(parts) == len(found) and set(wanted) <= set(parts):
        return Columns(table=table.name, names=tuple(parts[w] for w in wanted), elements=tuple(wanted))
    return Columns(table=table.name, names=names, elements=names)


class _RowFrames:
    """Some of another stream's images, by row."""

    def __init__(self, frames: Frames, rows: Int64Array) -> None:
        self._frames, self._rows = frames, rows

    @property
    def sizes(self) -> Int64Array:
        return self._frames.sizes[self._rows]

    @property
    def order(self) -> Int64Array:
        return self._frames.order[self._rows]

    def read(self, index: int) -> bytes | memoryview:
        return self._frames.read(int(self._rows[index]))


class StreamReader:
    """Turns mapped columns and videos into streams."""

    def __init__(self, tables: TableSet, embodiment: Embodiment, video_times: VideoTimes) -> None:
        """Remember what to read from.

        Args:
            tables: Not yet loaded.
            embodiment: Whose streams are mapped.
            video_times: How frames of videos get their stamps.
        """
        self._tables = tables
        self._embodiment = embodiment
        self._video_times = video_times
        self._cameras = {c.name for c in embodiment.cameras}
        self._chosen: dict[str, Columns] = {}
        self._missing: list[str] = []
        self.notes: list[str] = []

    def plan(self, mappings: dict[str, StreamMapping], left_out: Sequence[str]) -> None:
        """Choose the columns of all signals, so that each table is read once.

        Raises:
            SourceError: A column or table that is required is not there.
            GateError: A table leaves the folder.
        """
        for name, mapping in mappings.items():
            if name in self._cameras:
                self._plan_images(mapping)
                continue
            try:
                self._chosen[name] = self._columns(name, mapping, left_out)
            except SourceError as error:
                if self._embodiment.rule(name).required:
                    raise SourceError(f"{name}: {error}") from error
                self._missing.append(name)
                self.notes.append(f"{name} is left out: {error}")
                continue
            self._tables.want(self._chosen[name].table, self._chosen[name].names)

    def _plan_images(self, mapping: StreamMapping) -> None:
        main = self._tables.get(self._tables.main)
        if isinstance(main, ParquetTable) and mapping.source in main.columns:
            self._tables.want(main.name, [mapping.source])

    def _columns(self, name: str, mapping: StreamMapping, left_out: Sequence[str]) -> Columns:
        wanted = mapping.names or self._embodiment.signal(name).names
        main = self._tables.get(self._tables.main)
        is_table = mapping.source.endswith(SUFFIXES) and mapping.source not in main.columns
        if not is_table and mapping.field is not None:
            raise SourceError(
                f"field {printable(mapping.field)!r} of column {printable(mapping.source)!r}; only a table has fields"
            )
        table = self._tables.get(mapping.source) if is_table else main
        pattern = (mapping.field or "*") if is_table else mapping.source
        return choose_columns(table, pattern, wanted, mapping.join, left_out)

    def streams(
        self, mappings: dict[str, StreamMapping], episode_rows: dict[str, Int64Array] | None, videos: Videos
    ) -> dict[str, AnyStream]:
        """The mapped streams of one demonstration.

        Args:
            mappings: As in `plan`.
            episode_rows: Rows of the episode by table; None: all rows.
            videos: Opens them.

        Raises:
            SourceError: Values or videos are damaged or don't fit.
            GateError: A path leaves the folder.
        """
        found: dict[str, AnyStream] = {}
        for name, mapping in mappings.items():
            workers.beat()
            if name in self._missing:
                continue
            stream = (
                self._camera(name, mapping, episode_rows, videos)
                if name in self._cameras
                else self._signal(name, mapping, episode_rows)
            )
            if stream is not None:
                found[name] = stream
        if not found:
            raise SourceError(f"{self._tables.main}: the mapping maps no stream that is there")
        return found

    def _times(self, table: str, episode_rows: dict[str, Int64Array] | None) -> RowTimes:
        if episode_rows is not None and table not in episode_rows:
            raise SourceError(f"{table} has no column for options.episode; with several episodes it must have it")
        return self._tables.times(table, None if episode_rows is None else episode_rows[table])

    def _signal(self, name: str, mapping: StreamMapping, episode_rows: dict[str, Int64Array] | None) -> Stream:
        chosen = self._chosen[name]
        table, times = self._tables.get(chosen.table), self._times(chosen.table, episode_rows)
        parts, missing = [], 0
        for column in chosen.names:
            values, count = table.numbers(column)
            if values.ndim > 1 and len(chosen.names) > 1:
                raise SourceError(f"{name}: {printable(column)} holds lists; a list must be mapped by its own name")
            parts.append(values.reshape(len(values), -1))
            missing += count
        is_list = len(parts) == 1 and parts[0].shape[1] != 1
        values, note = join_columns(
            np.concatenate(parts, axis=1), () if is_list else chosen.elements, self._embodiment.signal(name), mapping
        )
        self.notes.append(note)
        if missing:
            self.notes.append(f"{name}: {missing} cells without a number, which are nan")
        values = values if times.rows is None else values[times.rows]
        return Stream(name=name, clock=times.clock, time_ns=times.time_ns, values=values, clock_choice=times.choice)

    def _camera(
        self, name: str, mapping: StreamMapping, episode_rows: dict[str, Int64Array] | None, videos: Videos
    ) -> FrameStream | None:
        main = self._tables.get(self._tables.main)
        if mapping.field is not None:
            raise SourceError(f"{name} maps field {printable(mapping.field)!r}; a camera has no field")
        if isinstance(main, ParquetTable) and mapping.source in main.columns:
            return self._images(name, mapping.source, main, self._times(main.name, episode_rows))
        file_name = self._video_name(name, mapping.source, is_one=episode_rows is None)
        if file_name is None:
            return None
        path = inside(self._tables.folder, file_name)
        video = videos.open(name, path)
        self._video_times.files.append(file_name)
        times = self._times(main.name, episode_rows)
        time_ns, clock, choice, notes = frame_times(self._video_times, self._tables, file_name, video, times)
        self.notes += [f"{name}: {n}" for n in notes]
        return video_stream(name, video, time_ns, clock, choice)

    def _images(self, name: str, column: str, table: ParquetTable, times: RowTimes) -> FrameStream:
        frames: Frames = table.images(column)
        if times.rows is not None:
            frames = _RowFrames(frames, times.rows)
        info = first_image(frames, f"{table.name}: {printable(column)}")
        return FrameStream(
            name=name,
            clock=times.clock,
            time_ns=times.time_ns,
            frames=frames,
            codec=info.codec,
            height=info.height,
            width=info.width,
            clock_choice=times.choice,
        )

    def _video_name(self, name: str, source: str, *, is_one: bool) -> str | None:
        """The video file of a camera; None where it is not there and need not be."""
        filled = self._video_times.fill(source)
        if not is_one and filled == self._video_times.fill(source, episode=""):
            raise SourceError(
                f"{name}: {printable(source)} belongs to several episodes; a video must be one episode's, named with "
                "{episode}"
            )
        there = videos_in(self._tables.folder)
        chosen = [v for v in there if matcher(filled).fullmatch(v)] if {"*", "#"} & set(filled) else [filled]
        if len(chosen) == 1 and inside(self._tables.folder, chosen[0]).is_file():
            if not chosen[0].endswith(VIDEO_SUFFIXES):
                raise SourceError(f"{name}: {printable(chosen[0])} is no {', '.join(VIDEO_SUFFIXES)} file")
            return chosen[0]
        shown = clip(printable(", ".join(there)), _MAX_SHOWN) or "none"
        reason = f"{len(chosen)} videos fit {printable(filled)}" if len(chosen) > 1 else f"no video {printable(filled)}"
        if self._embodiment.rule(name).required or len(chosen) > 1:
            raise SourceError(f"{name}: {reason}; there are {shown}")
        self.notes.append(f"{name}: {reason}; it is left out")
        return None
