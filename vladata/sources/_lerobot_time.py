"""Stamps of the rows of a LeRobot episode: recorded ones, or none where the column only repeats the row's number."""

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError
from ..text import clip, printable
from ..units import Clock
from ._lerobot_rows import MAX_ROWS, Rows

__all__ = ["row_times"]

Int64Array = NDArray[np.int64]

MAX_SECONDS = 9e9
"""Beyond it, nanoseconds leave int64."""


def row_times(rows: Rows, fps: float, where: str, column: str = "timestamp") -> tuple[Clock, Int64Array, list[str]]:
    """Stamps of the rows.

    Args:
        rows: Of an episode.
        fps: Declared rate.
        where: The episode, for errors.
        column: Seconds of each row.

    Returns:
        A nominal clock where the column is frame_index / fps as float32 (or is not there, never changes, or is too
        coarse to tell rows apart), else a monotonic one with the recorded stamps, as float64 · 1e9 rounded; and notes.

    Raises:
        SourceError: A stamp is not a finite number, or beyond the range of nanoseconds.
    """
    frame, notes = _frame_index(rows)
    nominal = np.round(frame * 1e9 / fps).astype(np.int64)
    column_name = clip(printable(column), 80)
    if column not in rows.columns:
        return Clock.NOMINAL, nominal, [*notes, f"no timestamps are recorded: stamps are row / {fps:g} fps"]
    stamps = rows.numbers(column)[0].ravel()
    seconds = stamps.astype(np.float64)
    if len(seconds) != rows.count or not np.isfinite(seconds).all() or np.abs(seconds).max() > MAX_SECONDS:
        raise SourceError(f"{where}: column {column_name} is not one finite number of seconds in each row")
    expected = frame / fps
    tolerance = 2 * float(np.spacing(np.float32(max(np.abs(expected).max(), 1 / fps))))
    if (np.abs(seconds - expected) <= tolerance).all():
        return Clock.NOMINAL, nominal, [*notes, f"{column_name} is frame_index / {fps:g} fps: no time was recorded"]
    counted = f"stamps are row / {fps:g} fps"
    if rows.count > 1 and (seconds == seconds[0]).all():
        return Clock.NOMINAL, nominal, [*notes, f"{column_name} is {seconds[0]:g} in every row: {counted}"]
    if stamps.dtype == np.float32 and (coarse := float(np.spacing(np.abs(stamps).max()))) * fps > 0.5:
        said = f"{column_name} is float32, which at {seconds[0]:g} s goes in steps of {coarse:g} s"
        return Clock.NOMINAL, nominal, [*notes, f"{said}: {counted}"]
    notes.append(f"{column_name} ({stamps.dtype}) is not frame_index / {fps:g} fps and is kept as recorded")
    intervals = np.diff(seconds)
    if len(intervals[intervals > 0]):
        rate = 1 / float(np.median(intervals[intervals > 0]))
        if abs(rate - fps) > 0.01 * fps:
            notes.append(f"rows come at {rate:.4g} Hz (median), info.json declares {fps:g} fps")
    return Clock.MONOTONIC, np.round(seconds * 1e9).astype(np.int64), notes


def _frame_index(rows: Rows) -> tuple[Int64Array, list[str]]:
    """The number of each row in its episode, counted where the column has none, or odd ones."""
    counted = np.arange(rows.count, dtype=np.int64)
    if "frame_index" not in rows.columns:
        return counted, []
    found = rows.numbers("frame_index")[0].ravel()
    if len(found) == rows.count and np.isfinite(found).all() and np.abs(found.astype(np.float64)).max() <= MAX_ROWS:
        frame = found.astype(np.int64)
        if (np.diff(frame) == 1).all():
            return frame, [f"frame_index begins at {frame[0]}"] if frame[0] != 0 else []
    return counted, ["frame_index does not go up by one from row to row; rows are counted instead"]
