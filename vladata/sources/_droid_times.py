"""Stamps of the steps of a DROID trajectory: which of them a stream has, and whether a video's frames are the steps."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError
from ..text import printable
from ..units import Clock
from ._hdf5 import Hdf5File

__all__ = ["DroidTimes", "StepTimes", "frames_are_steps", "offset_note"]

Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_ROOT = "observation/timestamp"
_UNIX_FROM, _UNIX_TO = 10**18, 41 * 10**17
_MAX_MS = 2**63 // 10**6
_GAP = 1.5
_FAR_MS = 100.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepTimes:
    """Stamps of the steps of one stream."""

    time_ns: Int64Array
    receive_time_ns: Int64Array | None
    clock: Clock
    choice: str


class DroidTimes:
    """The stamps of a trajectory."""

    def __init__(self, file: Hdf5File, num_rows: int, rate_hz: float) -> None:
        """Read from an open trajectory of that many rows; the rate is for where it has no stamps."""
        self._file, self._count, self._rate = file, num_rows, rate_hz
        self.notes: list[str] = []

    def skipped(self) -> BoolArray:
        """Rows in which nothing was commanded, [T]."""
        path = f"{_ROOT}/skip_action"
        if self._file.kind(path) != "dataset":
            self.notes.append("the trajectory does not say which rows are skipped; all are kept")
            return np.zeros(self._count, dtype=np.bool_)
        return np.asarray(self._rows(path) != 0, dtype=np.bool_)

    def of(self, source: str, choice: str, serial: str = "") -> StepTimes:
        """Stamps of the steps of a stream.

        Args:
            source: Path of the dataset, for numbers.
            choice: The mapping's clock: auto, header, log or publish.
            serial: Of the camera, for images.

        Raises:
            SourceError: The stamps that were asked for are not there.
        """
        header, log = self._names(source, serial)
        if choice == "publish":
            raise SourceError(f"{printable(source)}: DROID has no publish stamps; clock must be header or log")
        header_ns = self._stamps(header) if choice != "log" else None
        log_ns = self._stamps(log)
        if choice == "header" and header_ns is None:
            raise SourceError(f"{printable(source)}: there are no stamps {header}; say clock: log")
        if choice == "log" and log_ns is None:
            raise SourceError(f"{printable(source)}: there are no stamps {log}; say clock: header")
        chosen, name = (header_ns, header) if header_ns is not None else (log_ns, log)
        if chosen is None:
            self.notes.append(f"{printable(source)}: no stamps {header} or {log}: stamps are step / {self._rate:g} Hz")
            nominal = np.round(np.arange(self._count) * 1e9 / self._rate).astype(np.int64)
            return StepTimes(time_ns=nominal, receive_time_ns=None, clock=Clock.NOMINAL, choice="")
        is_unix = int(chosen.min()) >= _UNIX_FROM and int(chosen.max()) < _UNIX_TO
        return StepTimes(
            time_ns=chosen,
            receive_time_ns=log_ns if chosen is header_ns and log_ns is not None else None,
            clock=Clock.UNIX if is_unix else Clock.MONOTONIC,
            choice=name,
        )

    def _names(self, source: str, serial: str) -> tuple[str, str]:
        """The stamp when something was measured or sent, and that of the computer that recorded it."""
        if serial:
            return f"cameras/{serial}_estimated_capture", f"cameras/{serial}_read_end"
        if source.startswith("action"):
            return "control/control_start", "control/step_start"
        if source.startswith("observation/robot_state"):
            return "robot_state/robot_timestamp", "robot_state/read_end"
        return "control/step_start", "control/step_start"

    def _stamps(self, name: str) -> Int64Array | None:
        """Stamps in ns; None where they are not there or say nothing."""
        path = f"{_ROOT}/{name}"
        if name == "robot_state/robot_timestamp":
            if self._file.kind(f"{path}_seconds") != "dataset" or self._file.kind(f"{path}_nanos") != "dataset":
                return None
            seconds, nanos = self._whole(f"{path}_seconds"), self._whole(f"{path}_nanos")
            if seconds is None or nanos is None or int(np.abs(seconds).max()) > 9 * 10**9:
                return None
            found = seconds * 10**9 + nanos
        else:
            if self._file.kind(path) != "dataset":
                return None
            milliseconds = self._rows(path)
            if not np.isfinite(milliseconds).all() or float(np.abs(milliseconds).max()) >= _MAX_MS:
                self.notes.append(f"{name} holds no stamps: it is not finite, or beyond the range of int64 ns")
                return None
            if milliseconds.dtype.kind in "iub":
                found = milliseconds.astype(np.int64) * 10**6
            else:
                numbers = milliseconds.astype(np.float64)
                whole = np.floor(numbers)  # exact, and so is the rest
                found = whole.astype(np.int64) * 10**6 + np.round((numbers - whole) * 1e6).astype(np.int64)
        if len(found) > 1 and (found == found[0]).all():
            self.notes.append(f"{name} is the same in all {len(found)} rows: it holds no time")
            return None
        return np.asarray(found, dtype=np.int64)

    def _whole(self, path: str) -> Int64Array | None:
        values = self._rows(path)
        if values.dtype.kind not in "iub" and not (np.isfinite(values) & (values == np.floor(values))).all():
            self.notes.append(f"{path} holds no whole numbers, so it is no stamp")
            return None
        if len(values) and float(np.abs(values).max()) > 2**60:
            return None
        return values.astype(np.int64)

    def _rows(self, path: str) -> NDArray[np.generic]:
        values = self._file.numbers(path)
        if values.shape != (self._count,):
            raise SourceError(f"{self._file.name}: {path} has shape {list(values.shape)}; must be [{self._count}]")
        return values

    def frame_received(self, serial: str) -> Int64Array | None:
        """When each step's frame arrived, in ns; None where nothing says."""
        return self._stamps(f"cameras/{serial}_frame_received")


def offset_note(name: str, times: StepTimes) -> str:
    """A note where a device's clock is far from that of the computer; empty where it is not."""
    if times.receive_time_ns is None:
        return ""
    offset_ms = float(np.median((times.receive_time_ns - times.time_ns) / 1e6))
    if abs(offset_ms) < _FAR_MS:
        return ""
    return (
        f"{name}: {times.choice} is {offset_ms:.0f} ms from the computer's stamps, in the median; clock: log takes the "
        "latter"
    )


def frames_are_steps(name: str, num_frames: int, num_rows: int, received: Int64Array | None) -> tuple[str, str]:
    """Whether frame i of a video is the one of step i.

    Args:
        name: Of the video, for messages.
        num_frames: That it has.
        num_rows: Of the trajectory, skipped ones too.
        received: When the frame of each step arrived; None where nothing says.

    Returns:
        Why not, empty where it is so; and a note.
    """
    if num_frames != num_rows:
        return f"{name} has {num_frames} frames; the trajectory has {num_rows} rows, and nothing says which belong", ""
    if received is None:
        return "", f"{name}: frame i belongs to row i by their number alone: no frame_received is there"
    steps = np.diff(received)
    if (steps <= 0).any():
        stuck = np.flatnonzero(steps <= 0)
        what = f"frame_received stands still or goes back in {len(stuck)} rows, first in row {int(stuck[0]) + 1}"
        return f"{name}: {what}: a frame was dropped, and frame i is not that of row i", ""
    long = int((steps > _GAP * np.median(steps)).sum()) if len(steps) else 0
    note = f"; {long} intervals are longer than {_GAP:g} of the usual" if long else ""
    return "", f"{name}: frame i belongs to row i: counts agree and frame_received goes up{note}"
