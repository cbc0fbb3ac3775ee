"""What tables and the videos beside them offer, for `vladata inspect`."""

import re
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from ..errors import SourceError, VladataError
from ..gate import inside
from ..text import printable
from ..units import Clock
from ..video import open_video
from . import Inspection, Place, StreamInfo
from ._first_image import first_image
from ._table_layout import Layout, matcher, videos_in
from ._table_time import Stamps, find_time, table_stamps, time_columns
from ._tables import ParquetTable, Table, open_table

__all__ = ["column_groups", "inspect_tables"]

_MAX_COLUMNS = 300
_SENSORS = re.compile(r"temp|volt|curr|power|battery|load", re.IGNORECASE)
_AXES = re.compile(r"[xyzw]$|q[xyzw]$")


def inspect_tables(path: Path, layout: Layout, found: Sequence[Place]) -> Inspection:
    """Describe the first table that can be read, by its columns and by groups of columns that make a vector.

    Args:
        path: As it was named.
        layout: Of the path.
        found: Its demonstrations.

    Raises:
        SourceError: No table can be read.
        GateError: A file breaks a limit.
    """
    problems = list(layout.problems)
    if not layout.is_alike:
        problems.append(
            f"{len(layout.tables)} tables with different columns: {printable(', '.join(layout.tables))}; the mapping "
            "must say which is the demonstration, with options.table"
        )
    for name in layout.tables:
        with ExitStack() as stack:
            try:
                table = open_table(layout.folder / name, name)
                stack.callback(table.close)
                streams, facts, odd = _table_streams(table)
            except VladataError as error:
                problems.append(str(error))
                continue
            videos = [_video_info(layout.folder, v) for v in videos_in(layout.folder)]
            if videos:
                odd.append("nothing in a table says when the frames of a video were taken; options.video_time must")
            return Inspection(
                source="csv_video",
                places=tuple(found),
                looked_at=next((p.name for p in found if p.name.endswith(f"/{name}")), found[0].name),
                streams=(*streams, *videos),
                facts=(("tables", str(len(layout.tables))), *facts),
                problems=(*problems, *odd),
            )
    raise SourceError(problems[0] if problems else f"{path.name}: no table can be read")


def _table_streams(table: Table) -> tuple[list[StreamInfo], tuple[tuple[str, str], ...], list[str]]:
    """Columns and groups of columns, facts, and what is odd."""
    shown = table.columns[:_MAX_COLUMNS]
    odd = [f"only {_MAX_COLUMNS} of {len(table.columns)} columns are shown"] if len(shown) < len(table.columns) else []
    table.load(dict.fromkeys((*shown, *time_columns(table))))
    stamps: Stamps | None = None
    try:
        column, how = find_time(table, "")
        stamps = table_stamps(table, column, "", "")
        odd += [f"{n}; {how}" if n.startswith("time: ") else n for n in stamps.notes]
    except SourceError as error:
        odd.append(str(error))
    infos = {c: _column_info(table, c, stamps) for c in shown}
    numeric = {c: i for c, i in infos.items() if i.kind == "numeric" and not i.shape and c not in time_columns(table)}
    groups = [_group_info(p, c, numeric) for p, c in column_groups([c for c in numeric if not _SENSORS.search(c)])]
    odd += [n for n in table.notes if n not in odd]
    facts = (("rows", str(table.count)), ("columns", str(len(table.columns))))
    grouped = {c for group in groups for c in group.element_names}
    return [*groups, *(i for c, i in infos.items() if c not in grouped)], facts, odd


def _column_info(table: Table, column: str, stamps: Stamps | None) -> StreamInfo:
    kind, dtype, codec = "numeric", "", ""
    shape: tuple[int, ...] = ()
    problems: list[str] = []
    count = table.count
    try:
        if isinstance(table, ParquetTable) and "binary" in table.type_of(column):
            image = first_image(table.images(column), column)
            kind, codec, shape = "image", image.codec, (image.height, image.width, image.channels)
        elif isinstance(table, ParquetTable) and table.texts(column) is not None:
            kind = "text"
        else:
            values, missing = table.numbers(column)
            shape, dtype = values.shape[1:], values.dtype.name
            if missing:
                problems.append(f"{missing} of {count} cells have no number")
            if missing == values.size:
                kind = "other"
    except VladataError as error:
        is_text = not isinstance(table, ParquetTable) and "decimal comma" not in str(error)
        kind = "text" if is_text and table.texts(column) is not None else "other"
        if kind == "other":
            problems.append(str(error))
    is_all = stamps is not None and stamps.rows is None
    return StreamInfo(
        name=column,
        type="column",
        count=count,
        shape=shape,
        dtype=dtype,
        kind=kind,
        codec=codec,
        clock=stamps.clock if stamps is not None else Clock.NOMINAL,
        clock_choice=stamps.column if stamps is not None else "",
        time_ns=stamps.time_ns if stamps is not None and is_all else np.zeros(0, dtype=np.int64),
        problems=tuple(problems),
    )


def _group_info(pattern: str, columns: Sequence[str], infos: dict[str, StreamInfo]) -> StreamInfo:
    first = infos[columns[0]]
    return StreamInfo(
        name=pattern,
        type="columns",
        count=first.count,
        shape=(len(columns),),
        dtype=np.result_type(*(infos[c].dtype for c in columns)).name,
        element_names=tuple(columns),
        clock=first.clock,
        clock_choice=first.clock_choice,
        time_ns=first.time_ns,
        problems=tuple(f"{c}: {p}" for c in columns for p in infos[c].problems),
    )


def column_groups(columns: Sequence[str]) -> list[tuple[str, tuple[str, ...]]]:
    """Columns whose names differ in one place only, with the pattern that means just them.

    Args:
        columns: Names in the table's order.

    Returns:
        Pattern and columns, largest groups first; each column is in one group at most.
    """
    members = {p: tuple(c for c in columns if matcher(p).fullmatch(c)) for c in columns for p in _patterns(c)}
    chosen: list[tuple[str, tuple[str, ...]]] = []
    used: set[str] = set()
    for pattern, found in sorted(members.items(), key=lambda m: (-len(m[1]), -len(m[0]), m[0])):
        if len(found) > 1 and not used & set(found):
            chosen.append((pattern, found))
            used |= set(found)
    return chosen


def _patterns(column: str) -> set[str]:
    """Patterns that could mean a column and its like; names with a wildcard in them have none."""
    if "*" in column or "#" in column:
        return set()
    found = set()
    digits = list(re.finditer(r"[0-9]+", column))
    if digits:
        last = digits[-1]
        found.add(f"{column[: last.start()]}#{column[last.end() :]}")
    for place in re.finditer(r"[._/ ]", column):
        found |= {f"{column[: place.end()]}*", f"*{column[place.start() :]}"}
    axis = _AXES.search(column)
    if axis and axis.start():
        found.add(f"{column[: axis.start()]}*")
    return found


def _video_info(folder: Path, name: str) -> StreamInfo:
    try:
        with open_video(inside(folder, name)) as video:
            return StreamInfo(
                name=name,
                type="video file",
                count=video.num_frames,
                shape=(video.height, video.width, 3),
                kind="video",
                codec=video.codec,
            )
    except VladataError as error:
        return StreamInfo(name=name, type="video file", count=0, kind="other", problems=(str(error),))
