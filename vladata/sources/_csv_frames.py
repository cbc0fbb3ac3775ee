"""Stamps of the frames of a video that lies beside a table; nothing about them is guessed."""

import itertools
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import SchemaError, SourceError
from ..gate import check_size, inside
from ..text import clip, printable
from ..units import Clock
from ..video import Video
from ._mp4 import pts_ns
from ._table_time import find_time, parse_stamps, table_stamps
from ._tables import TextTable, open_table

if TYPE_CHECKING:
    from ._csv_streams import RowTimes, TableSet

__all__ = ["CHOICES", "VideoTimes", "frame_times"]

Int64Array = NDArray[np.int64]

CHOICES = {
    "rows": "frame i belongs to row i, of which there must be as many",
    "sidecar": "a file of one time for each frame: <video>.timestamps.csv, .txt or .json",
    "pts_from_table_start": "the video's own times, the first frame at the table's first stamp",
    "pts_from_start": "the video's own times, the first frame at options.video_start",
}
_SIDECARS = (".csv", ".txt", ".json")
MAX_SIDECAR = 2**26

_Times = tuple[Int64Array, Clock, str, list[str]]


@dataclass(slots=True, kw_only=True)
class VideoTimes:
    """What the mapping's options say of videos."""

    how: str
    """One of `CHOICES`, or empty."""
    start: str
    """A number in the table's unit, or a column whose first value is the time of the first frame."""
    time: str
    unit: str
    clock: str
    table: str
    """Name of the main table."""
    episode: str = ""
    """Of the demonstration, where a table holds several."""
    files: list[str] = field(default_factory=list)
    """Videos and their sidecars that were read."""

    def check(self) -> None:
        """Compare the options with each other.

        Raises:
            SchemaError: They don't fit together.
        """
        if self.how and self.how not in CHOICES:
            raise SchemaError(f"options.video_time is {self.how!r}; it must be one of {', '.join(CHOICES)}")
        if bool(self.start) != (self.how == "pts_from_start"):
            raise SchemaError("options.video_start and options.video_time: pts_from_start need each other")
        if self.time == "none" and self.how not in {"", "rows"}:
            raise SchemaError("options.time is none: no time was recorded; options.video_time must be rows")

    def fill(self, source: str, episode: str | None = None) -> str:
        """A video's name with `{table}` and `{episode}` replaced."""
        stem = self.table.rpartition(".")[0] or self.table
        return source.replace("{table}", stem).replace("{episode}", self.episode if episode is None else episode)


def frame_times(options: VideoTimes, tables: "TableSet", name: str, video: Video, rows: "RowTimes") -> _Times:
    """Stamps of a video's frames in the order in which they are shown.

    Args:
        options: How.
        tables: Loaded.
        name: Of the video's file.
        video: Open.
        rows: Stamps of the main table's rows.

    Returns:
        Stamps, clock, which stamps they are, and notes.

    Raises:
        SourceError: The mapping does not say how, or counts differ.
        GateError: A sidecar is too large.
    """
    if options.how == "rows":
        if len(rows.time_ns) != video.num_frames:
            raise SourceError(
                f"{printable(name)} has {video.num_frames} frames and {options.table} {len(rows.time_ns)} rows; with "
                "options.video_time: rows there must be as many"
            )
        return rows.time_ns, rows.clock, rows.choice, ["frame i has the stamp of row i"]
    if options.how == "sidecar":
        return _sidecar(options, tables, name, video, rows)
    if options.how == "pts_from_table_start":
        start, what = int(rows.time_ns[0]), "the table's first stamp"
    elif options.how == "pts_from_start":
        start, what = _start(options, tables), f"options.video_start, {printable(options.start)}"
    else:
        raise SourceError(
            f"{printable(name)}: nothing says when its frames were taken; say options.video_time: {', '.join(CHOICES)}"
        )
    first = min(video.track.pts.tolist())
    notes = [f"frames have the video's own times from {what} on; that start is declared, not measured"]
    if first != 0:
        notes.append(f"the video's first frame is at tick {first}, taken as its start")
    return start + pts_ns(video.track), rows.clock, "pts", notes


def _start(options: VideoTimes, tables: "TableSet") -> int:
    table, text = tables.get(tables.main), options.start
    if text in table.columns:
        if not isinstance(table, TextTable):
            return int(table_stamps(table, text, options.unit or tables.unit(), options.clock).time_ns[0])
        pieces = (t for piece in table.cells(text) for t in piece.to_pylist())
        text = next((t for t in pieces if t.strip()), "")
    try:
        time_ns, _, _, _ = parse_stamps([text], options.unit or tables.unit(), "options.video_start")
    except SourceError as error:
        raise SourceError(f"{error}; it must be a time, or a column of {table.name}") from error
    if len(time_ns) == 0:
        raise SourceError(f"{table.name}: {printable(options.start)} is empty; options.video_start must be a time")
    return int(time_ns[0])


def _sidecar(options: VideoTimes, tables: "TableSet", name: str, video: Video, rows: "RowTimes") -> _Times:
    stem = name.rpartition(".")[0]
    tried = [f"{base}.timestamps{suffix}" for base, suffix in itertools.product((name, stem), _SIDECARS)]
    found = [t for t in tried if inside(tables.folder, t).is_file()]
    if len(found) != 1:
        shown = printable(", ".join(found)) or f"none of {clip(printable(', '.join(tried)), 300)}"
        raise SourceError(f"{printable(name)}: there must be one sidecar with its times; there is {shown}")
    time_ns, notes = _sidecar_stamps(options, tables, found[0])
    if len(time_ns) != video.num_frames:
        raise SourceError(f"{found[0]} has {len(time_ns)} times; {printable(name)} has {video.num_frames} frames")
    options.files.append(found[0])
    return time_ns, rows.clock, found[0].rpartition("/")[2], [*notes, f"frame times are those of {printable(found[0])}"]


def _sidecar_stamps(options: VideoTimes, tables: "TableSet", name: str) -> tuple[Int64Array, list[str]]:
    path = inside(tables.folder, name)
    check_size(path, MAX_SIDECAR)
    if name.endswith(".csv"):
        table = open_table(path, name)
        column, _ = (table.columns[0], "") if len(table.columns) == 1 else find_time(table, options.time)
        table.load([column])
        stamps = table_stamps(table, column, options.unit, options.clock)
        if stamps.rows is not None:
            raise SourceError(f"{name}: {table.count - len(stamps.rows)} rows have no time; each frame must have one")
        return stamps.time_ns, [n for n in stamps.notes if not n.startswith("time: ")]
    texts = _json_texts(path, name) if name.endswith(".json") else _text_lines(path, name)
    time_ns, kept, _, notes = parse_stamps(texts, options.unit or tables.unit(), name)
    if kept is not None:
        raise SourceError(f"{name}: a time is empty; each frame must have one")
    return time_ns, notes


def _text_lines(path: Path, name: str) -> list[str]:
    try:
        return [line for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise SourceError(f"{name} is not UTF-8") from error


def _json_texts(path: Path, name: str) -> list[str]:
    try:
        value = json.loads(path.read_bytes(), parse_int=str, parse_float=str)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{name} is not JSON: {clip(printable(str(error)), 120)}") from error
    if isinstance(value, dict):
        value = value.get("timestamps")
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise SourceError(f"{name} must be a list of times, or an object with one named timestamps")
    return value
