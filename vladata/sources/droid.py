"""DROID demonstrations as they were recorded: a folder with trajectory.h5, MP4 files and metadata.

Rows are steps of about 15 Hz with the stamps that each device gave. Source: Khazatsky et al., DROID,
arXiv:2403.12945.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .. import workers
from ..errors import SourceError, VladataError
from ..mapping import LabelMapping, OutcomeMapping, StreamMapping
from ..recording import AnyStream, FrameStream, Instruction, Outcome, Recording, Stream
from ..text import clip, printable
from ..units import Clock
from ..video import open_video
from . import Inspection, Place, Request, StreamInfo
from ._droid_files import TRAJECTORY, DroidFiles, find_files
from ._droid_times import DroidTimes, StepTimes, frames_are_steps, offset_note
from ._hdf5 import Hdf5File, is_hdf5, open_hdf5
from ._hdf5_types import DatasetInfo
from ._join import hash_file, join_columns, recording_id
from ._mp4 import Videos, video_stream
from ._options import take_options
from ._row_labels import as_text, row_instructions, row_outcome

__all__ = ["IS_GENERAL", "SUFFIXES", "can_read", "inspect", "places", "read"]

SUFFIXES: tuple[str, ...] = ()
IS_GENERAL = False

_NOMINAL_HZ = 15.0
_CALIBRATION = ("observation/camera_extrinsics/", "observation/camera_intrinsics/", "observation/camera_type/")
_TIMESTAMPS = "observation/timestamp/"
_MAX_SHOWN = 300
_MAX_WIDTH = 10_000

Int64Array = NDArray[np.int64]


def can_read(path: Path) -> bool:
    """Tell whether a folder is a DROID demonstration, or a file its trajectory."""
    try:
        folder = path.parent if path.name == TRAJECTORY else path
        if not is_hdf5(folder / TRAJECTORY):
            return False
        names = [p.name for p in folder.iterdir()]
        if "recordings" in names or any(n.startswith("metadata_") and n.endswith(".json") for n in names):
            return True
        with open_hdf5(folder / TRAJECTORY, only=["observation/", "observation/timestamp/", "action/"]) as file:
            return file.kind("observation/timestamp") == file.kind("action") == "group"
    except (VladataError, OSError):
        return False


def _folder(path: Path) -> Path:
    return path.parent if path.name == TRAJECTORY and path.is_file() else path


def places(path: Path) -> list[Place]:
    """The demonstration: its folder's name.

    Raises:
        SourceError: There is no trajectory, or the metadata is damaged.
        GateError: A file breaks a limit.
    """
    files = find_files(_folder(path))
    names = (TRAJECTORY, *files.videos)
    return [Place(name=files.folder.resolve().name, size=sum((files.folder / n).stat().st_size for n in names))]


def read(path: Path, place: Place, request: Request) -> Iterator[Recording]:
    """Read the demonstration.

    Raises:
        SourceError: Damaged data, a required camera whose frames are not the steps or that is there as SVO only, or
            a mapping that does not fit.
        GateError: A file breaks a limit, or reaches for others.
        MissingExtraError: A video is mapped and the package av is not installed.
    """
    files = find_files(_folder(path))
    take_options(request.mapping, {})
    if place.name != files.folder.resolve().name:
        raise SourceError(f"{printable(place.name)}: no such demonstration in {printable(files.folder.name)}")
    with ExitStack() as stack:
        file = stack.enter_context(open_hdf5(files.folder / TRAJECTORY))
        reader = _Reader(files, file, request, stack)
        streams = reader.streams()
        instructions, outcomes = reader.labels()
        facts, left = files.facts(file)
        hashed = [hash_file(files.folder / n, n) for n in (TRAJECTORY, *reader.used_videos)]
        if files.metadata_name:  # whose name says who recorded
            hashed.append(hash_file(files.folder / files.metadata_name, "metadata_*.json"))
        yield Recording(
            recording_id=recording_id("droid", place.name, [f.sha256 for f in hashed]),
            source="droid",
            place=place.name,
            files=tuple(hashed),
            streams=streams,
            is_stepped=reader.is_stepped,
            instructions=instructions,
            outcomes=outcomes,
            metadata=facts,
            notes=(*files.problems, *reader.all_notes(), *([left] if left else [])),
            is_lossy=reader.is_lossy,
        )


class _Reader:
    """Turns the mapped datasets and videos of a demonstration into streams and labels."""

    def __init__(self, files: DroidFiles, file: Hdf5File, request: Request, stack: ExitStack) -> None:
        self._files, self._file, self._request = files, file, request
        self._datasets = {d.path: d for d in file.datasets() if d.path.startswith(("action/", "observation/"))}
        self._count = _num_rows(self._datasets, file)
        self._times = DroidTimes(file, self._count, request.embodiment.rate_hz)
        self._kept = ~self._times.skipped()
        self._videos = Videos(stack)
        self._used: set[str] = set()
        self._notes: list[str] = []
        self.used_videos: list[str] = []
        self.is_lossy = False
        if not self._kept.any():
            raise SourceError(f"{file.name}: all {self._count} rows are skipped (skip_action)")

    @property
    def num_skipped(self) -> int:
        """Rows in which nothing was commanded."""
        return int((~self._kept).sum())

    @property
    def is_stepped(self) -> bool:
        """Whether the rows of all streams are the same steps: a video can't lose the frames of skipped rows."""
        return not (self.num_skipped and self.used_videos)

    def all_notes(self) -> list[str]:
        """What was done and left out."""
        notes = list(self._notes)
        if self.num_skipped:
            skipped = f"{self.num_skipped} of {self._count} rows are skipped (skip_action)"
            notes.insert(0, f"{skipped}: their numbers are left out")
            if self.used_videos:
                notes.insert(1, "videos keep the frames of skipped rows, so that steps are joined by time")
        left = [p for p in self._datasets if p not in self._used and not p.startswith(_TIMESTAMPS)]
        videos = [v for v in self._files.videos if v not in self.used_videos]
        if left or videos:
            notes.append(f"not kept: {clip(printable(', '.join((*videos, *left))), 2000)}")
        return [*notes, *self._times.notes, *self._videos.notes]

    def streams(self) -> dict[str, AnyStream]:
        """The mapped streams, by name in the embodiment."""
        embodiment = self._request.embodiment
        cameras = {c.name for c in embodiment.cameras}
        found: dict[str, AnyStream] = {}
        for name, mapping in self._request.mapping.streams.items():
            workers.beat()
            if mapping.field is not None:
                raise SourceError(f"{name} maps field {printable(mapping.field)!r}; datasets of DROID have no fields")
            try:
                found[name] = self._camera(name, mapping) if name in cameras else self._signal(name, mapping)
            except SourceError as error:
                if embodiment.rule(name).required:
                    raise SourceError(f"{name}: {error}") from error
                self._notes.append(f"{name} is left out: {error}")
                self.is_lossy = self.is_lossy or name in cameras
        if not found:
            raise SourceError("the mapping maps no stream that is there")
        return found

    def _signal(self, name: str, mapping: StreamMapping) -> Stream:
        parts = [p.strip().strip("/") for p in mapping.source.split("+")]
        values = []
        for part in parts:
            info = self._datasets.get(part)
            if info is None:
                there = [p for p in self._datasets if not p.startswith(_TIMESTAMPS)]
                shown = clip(printable(", ".join(there)), _MAX_SHOWN)
                raise SourceError(f"no dataset {printable(part)!r}; there are {shown}")
            if info.rows != self._count or info.kind != "numeric" or info.row_bytes > _MAX_WIDTH:
                raise SourceError(f"{part} is {info.what}; must be numbers, a vector in each of {self._count} rows")
            values.append(self._file.numbers(part).reshape(self._count, -1)[self._kept])
            self._used.add(part)
        joined, note = join_columns(np.concatenate(values, axis=1), (), self._request.embodiment.signal(name), mapping)
        self._notes.append(note)
        times = self._times.of(parts[0], mapping.clock)
        self._note_time(name, times)
        return Stream(
            name=name,
            clock=times.clock,
            time_ns=times.time_ns[self._kept],
            values=joined,
            receive_time_ns=None if times.receive_time_ns is None else times.receive_time_ns[self._kept],
            clock_choice=times.choice,
        )

    def _note_time(self, name: str, times: StepTimes) -> None:
        if times.choice:
            self._notes.append(f"{name}: stamps are {times.choice}")
        far = offset_note(name, times)
        if far:
            self._notes.append(far)

    def _camera(self, name: str, mapping: StreamMapping) -> FrameStream:
        video_name, serial = self._files.video(mapping.source, self._file)
        times = self._times.of(video_name, mapping.clock, serial)
        video = self._videos.open(name, self._files.folder / video_name)
        problem, note = frames_are_steps(video_name, video.num_frames, self._count, self._times.frame_received(serial))
        if problem:
            raise SourceError(problem)
        self._notes.append(note)
        self._note_time(name, times)
        self.used_videos.append(video_name)
        return video_stream(name, video, times.time_ns, times.clock, times.choice, times.receive_time_ns)

    def labels(self) -> tuple[tuple[Instruction, ...], tuple[Outcome, ...]]:
        """Instructions and the outcome, where they are mapped."""
        mapping = self._request.mapping
        instructions: list[Instruction] = []
        for label in (mapping.instruction, mapping.subtask):
            if label is not None:
                kind: Literal["task", "subtask"] = "task" if label is mapping.instruction else "subtask"
                value = self._label(label, kind)
                if isinstance(value, str):
                    found, notes = row_instructions([value], np.zeros(1, dtype=np.int64), kind)
                    instructions += found
                    self._notes += notes
        return tuple(instructions), () if mapping.outcome is None else self._outcome(mapping.outcome)

    def _label(self, label: LabelMapping, kind: str) -> object:
        value = self._files.label(label.source, self._file)
        if value is None:
            self._notes.append(f"{kind}: neither {TRAJECTORY} nor the metadata says {printable(label.source)}")
        return value

    def _outcome(self, mapping: OutcomeMapping) -> tuple[Outcome, ...]:
        """What the trajectory says, else the metadata, else the folder above."""
        value = self._files.label(mapping.source, self._file)
        folder = self._files.outcome
        if value is None and mapping.source in {"success", "failure"} and folder:
            value = folder
            self._notes.append(f"outcome: {folder} by the folder that it lies in")
        if value is None:
            self._notes.append(f"outcome: neither {TRAJECTORY} nor the metadata says {printable(mapping.source)}")
            return ()
        written = as_text(value)
        if mapping.source == "failure" and isinstance(value, bool | int):
            written = as_text(not value)  # a flag that is set where it failed
        outcomes, notes = row_outcome(written, mapping)
        self._notes += notes
        if outcomes and folder and outcomes[0].kind != folder:
            self._notes.append(f"outcome: {outcomes[0].kind} as recorded; the folder says {folder}")
        return outcomes


def _num_rows(datasets: dict[str, DatasetInfo], file: Hdf5File) -> int:
    """Rows of the trajectory, which all its numbers must have."""
    counts = {d.rows for p, d in datasets.items() if p.startswith(("action/", "observation/robot_state/"))}
    if len(counts) != 1:
        shown = ", ".join(map(str, sorted(counts))) or "no"
        raise SourceError(f"{file.name}: action and observation/robot_state have {shown} rows; must have as many each")
    (count,) = counts
    if count == 0:
        raise SourceError(f"{file.name}: 0 rows; a demonstration must have at least one")
    return count


def inspect(path: Path) -> Inspection:
    """Describe a demonstration.

    Raises:
        SourceError: As `places`, or the trajectory is damaged.
        GateError: A file breaks a limit.
    """
    found = places(path)
    files = find_files(_folder(path))
    problems = list(files.problems)
    with open_hdf5(files.folder / TRAJECTORY) as file:
        datasets = {d.path: d for d in file.datasets() if d.path.startswith(("action/", "observation/"))}
        count = _num_rows(datasets, file)
        times = DroidTimes(file, count, _NOMINAL_HZ)
        skipped = int(times.skipped().sum())
        streams = [_dataset_info(d, times, count) for p, d in datasets.items() if not p.startswith(_TIMESTAMPS)]
        streams += [_video_info(files, name, times, count) for name in files.videos]
        streams += [_text_info(n) for n in ("current_task", "success") if files.label(n, file) is not None]
        facts, _ = files.facts(file)
    seen = {Path(n).stem for n in files.videos}
    only_svo = [n for n in files.svo if Path(n).stem not in seen]
    if only_svo:
        problems.append(f"SVO is not read: {clip(printable(', '.join(only_svo)), _MAX_SHOWN)}; convert it to MP4")
    if skipped:
        problems.append(f"{skipped} of {count} rows are skipped (skip_action): they are left out")
    return Inspection(
        source="droid",
        places=tuple(found),
        looked_at=found[0].name,
        streams=tuple(streams),
        rate_hz=_NOMINAL_HZ,
        facts=(("rows", str(count)), *sorted(facts.items())),
        problems=(*problems, *times.notes),
    )


def _dataset_info(info: DatasetInfo, times: DroidTimes, count: int) -> StreamInfo:
    is_calibration = info.path.startswith(_CALIBRATION)
    is_vector = info.kind == "numeric" and info.rows == count and not is_calibration
    stamps = times.of(info.path, "auto") if is_vector else None
    return StreamInfo(
        name=info.path,
        type="dataset",
        count=info.rows,
        shape=info.shape[1:] or (1,),
        dtype=info.dtype,
        kind="numeric" if is_vector else "other",
        clock=stamps.clock if stamps is not None else Clock.NOMINAL,
        clock_choice=stamps.choice if stamps is not None else "",
        time_ns=stamps.time_ns if stamps is not None else np.zeros(0, dtype=np.int64),
        problems=("calibration of a camera",) if is_calibration else (),
    )


def _video_info(files: DroidFiles, name: str, times: DroidTimes, count: int) -> StreamInfo:
    stem = Path(name).stem
    serial = stem.removesuffix("-stereo")
    roles = {str(files.said.get(f"{r}_cam_serial")): r for r in ("ext2", "ext1", "wrist")}
    shown = stem.replace(serial, roles.get(serial, serial), 1)
    try:
        with open_video(files.folder / name) as video:
            problem, _ = frames_are_steps(name, video.num_frames, count, times.frame_received(serial))
            stamps = times.of(name, "auto", serial)
            return StreamInfo(
                name=shown,
                type="video file",
                count=video.num_frames,
                shape=(video.height, video.width, 3),
                kind="video",
                codec=video.codec,
                clock=stamps.clock,
                clock_choice=stamps.choice,
                time_ns=stamps.time_ns if not problem else np.zeros(0, dtype=np.int64),
                problems=(problem,) if problem else (),
            )
    except VladataError as error:
        return StreamInfo(name=shown, type="video file", count=0, kind="other", problems=(str(error),))


def _text_info(name: str) -> StreamInfo:
    return StreamInfo(name=name, type="attribute", count=1, kind="text")
