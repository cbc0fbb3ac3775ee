"""LeRobot datasets of the versions 2.0 and 2.1: one parquet file per episode, one video per episode and camera.

Rows are steps and pass through one by one; the packets of videos are kept as they are.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .. import workers
from ..errors import SourceError, VladataError
from ..gate import inside
from ..mapping import LabelMapping, OutcomeMapping, StreamMapping
from ..recording import AnyStream, FrameStream, Instruction, Outcome, Recording, Stream
from ..text import clip, printable
from ..units import Clock
from ..video import Video, open_video
from . import Inspection, Place, Request
from ._first_image import first_image
from ._join import hash_file, join_columns, recording_id
from ._lerobot_inspect import inspect_dataset
from ._lerobot_meta import Meta, codebase_version, episode_index, episode_name, read_meta
from ._lerobot_rows import Rows, row_times
from ._row_labels import as_text, row_instructions, row_outcome

__all__ = ["IS_GENERAL", "SUFFIXES", "can_read", "inspect", "places", "read"]

SUFFIXES: tuple[str, ...] = ()
IS_GENERAL = False

_INDEX_COLUMNS = ("timestamp", "frame_index", "episode_index", "index", "task_index")
_MAX_SHOWN_ROWS = 5

Int64Array = NDArray[np.int64]


def can_read(path: Path) -> bool:
    """Tell whether a folder is a LeRobot dataset; also of other versions, so that `places` can say which it reads."""
    try:
        return (path / "meta" / "info.json").is_file() and codebase_version(path).startswith("v")
    except (VladataError, OSError):
        return False


def places(path: Path) -> list[Place]:
    """List the episodes that are declared or have a parquet file.

    An episode whose files are missing is listed too, and reading it says which; so the rest can be read.

    Raises:
        SourceError: The meta folder is damaged, of another version, or there are no episodes.
        GateError: A path leaves the dataset.
    """
    meta = read_meta(path)
    videos = [k for k, f in meta.features.items() if f.dtype == "video"]
    found = []
    for index in meta.indices():
        workers.beat()
        names = [meta.data_name(index), *(meta.video_name(index, key) for key in videos)]
        found.append(Place(name=episode_name(index), size=sum(_size(path, n) for n in names)))
    if not found:
        raise SourceError(f"{path.name}: no episodes in meta/episodes.jsonl, and no parquet files")
    return found


def _size(root: Path, name: str) -> int:
    path = inside(root, name)
    return path.stat().st_size if path.is_file() else 0


def read(path: Path, place: Place, request: Request) -> Iterator[Recording]:
    """Read one episode.

    Raises:
        SourceError: A file is missing or damaged (named), a video has not as many frames as there are rows, or the
            mapping does not fit.
        GateError: A path leaves the dataset, or a file breaks a limit.
        MissingExtraError: The dataset has videos and the package av is not installed.
    """
    meta = read_meta(path)
    index = episode_index(place.name)
    with ExitStack() as stack:
        reader = _EpisodeReader(meta, index, request, stack)
        streams = reader.streams()
        instructions, outcomes = reader.labels()
        files = tuple(hash_file(inside(path, name), name) for name in reader.files)
        texts = [f"{i.kind} {i.text}" for i in instructions]
        yield Recording(
            recording_id=recording_id("lerobot_v2", place.name, [*(f.sha256 for f in files), *texts]),
            source="lerobot_v2",
            place=place.name,
            files=files,
            streams=streams,
            is_stepped=True,
            instructions=instructions,
            outcomes=outcomes,
            metadata={
                k: v
                for k, v in (
                    ("codebase_version", meta.version),
                    ("robot_type", meta.robot_type),
                    ("split", meta.split_of(index)),
                )
                if v
            },
            notes=(*reader.notes, *reader.left_out()),
        )


class _EpisodeReader:
    """Turns the mapped columns and videos of one episode into streams and labels."""

    def __init__(self, meta: Meta, index: int, request: Request, stack: ExitStack) -> None:
        self._meta = meta
        self._index = index
        self._request = request
        self._stack = stack
        self._where = episode_name(index)
        name = meta.data_name(index)
        path = meta.file(name)
        self._require_videos()
        self._rows = Rows(path, name)
        stack.callback(self._rows.close)
        mapping = request.mapping
        labels = (mapping.instruction, mapping.subtask, mapping.outcome)
        self._rows.load(
            [
                *(m.source for m in mapping.streams.values()),
                *(label.source for label in labels if label is not None),
                *_INDEX_COLUMNS,
            ]
        )
        self.files = [name]
        self._bytes_before = 0
        self._used: set[str] = set()
        self.notes: list[str] = []
        self._clock, self._time_ns = self._times()
        self._compare()

    def _require_videos(self) -> None:
        """Look for the videos before anything is read: many datasets are there without most of them."""
        for name, mapping in self._request.mapping.streams.items():
            feature = self._meta.features.get(mapping.source)
            if feature is not None and feature.dtype == "video" and self._request.embodiment.rule(name).required:
                self._meta.file(self._meta.video_name(self._index, mapping.source))

    def _times(self) -> tuple[Clock, Int64Array]:
        clock, time_ns, notes = row_times(self._rows, self._meta.fps, self._where)
        self._used.update({"timestamp", "frame_index"} & set(self._rows.columns))
        self.notes += notes
        return clock, time_ns

    def _compare(self) -> None:
        """Note where declarations and data differ."""
        count, entry = self._rows.count, self._meta.episodes.get(self._index)
        rate = self._request.embodiment.rate_hz
        if entry is None:
            self.notes.append(f"{self._where} is not in meta/episodes.jsonl")
        elif entry.get("length") != count:
            length = clip(printable(repr(entry.get("length"))), 40)
            self.notes.append(f"meta/episodes.jsonl declares {length} steps; the parquet file has {count}")
        if self._meta.fps != rate:
            embodiment = self._request.embodiment.name
            self.notes.append(f"info.json declares {self._meta.fps:g} fps; {embodiment} has {rate:g} Hz")
        if "episode_index" in self._rows.columns:
            self._used.add("episode_index")
            found = np.unique(self._rows.numbers("episode_index")[0])
            if found.tolist() != [self._index]:
                shown = ", ".join(str(n) for n in found[:_MAX_SHOWN_ROWS])
                self.notes.append(f"column episode_index is {shown}; the file's name says {self._index}")

    def streams(self) -> dict[str, AnyStream]:
        """The mapped streams, by name in the embodiment."""
        cameras = {c.name for c in self._request.embodiment.cameras}
        found: dict[str, AnyStream] = {}
        for name, mapping in self._request.mapping.streams.items():
            workers.beat()
            if mapping.field is not None:
                raise SourceError(f"{name} maps field {printable(mapping.field)!r}; columns of LeRobot have no fields")
            self._used.add(mapping.source)
            if self._is_absent(name, mapping.source):
                continue
            found[name] = self._camera(name, mapping.source) if name in cameras else self._signal(name, mapping)
        if not found:
            raise SourceError(f"{self._where}: the mapping maps no stream that is there")
        return found

    def _is_absent(self, name: str, source: str) -> bool:
        """Whether a stream that need not be there is not."""
        if self._request.embodiment.rule(name).required:
            return False
        if self._is_video(source):
            is_absent = not inside(self._meta.root, self._meta.video_name(self._index, source)).is_file()
        else:
            is_absent = source not in self._rows.columns
        if is_absent:
            self.notes.append(f"{name}: the episode has no {printable(source)}")
        return is_absent

    def _is_video(self, source: str) -> bool:
        feature = self._meta.features.get(source)
        return source not in self._rows.columns and feature is not None and feature.dtype == "video"

    def _signal(self, name: str, mapping: StreamMapping) -> Stream:
        values, missing = self._rows.numbers(mapping.source)
        if missing:
            shown = ", ".join(str(r) for r in missing[:_MAX_SHOWN_ROWS])
            self.notes.append(
                f"{name}: {len(missing)} rows have missing values, which are nan: {shown}"
                f"{', …' if len(missing) > _MAX_SHOWN_ROWS else ''}"
            )
        feature = self._meta.features.get(mapping.source)
        names = feature.names if feature is not None else ()
        columns = values.reshape(len(values), -1)
        joined, note = join_columns(columns, names, self._request.embodiment.signal(name), mapping)
        self.notes.append(note)
        return Stream(name=name, clock=self._clock, time_ns=self._time_ns, values=joined)

    def _camera(self, name: str, source: str) -> FrameStream:
        if self._is_video(source):
            return self._video(name, source)
        if source not in self._rows.columns and source not in self._meta.features:
            shown = clip(printable(", ".join(self._meta.features)), 300)
            raise SourceError(f"{self._where}: no feature {printable(source)!r} for {name}; there are {shown}")
        frames = self._rows.images(source)
        info = first_image(frames, f"{self._where}: {source}")
        return FrameStream(
            name=name,
            clock=self._clock,
            time_ns=self._time_ns,
            frames=frames,
            codec=info.codec,
            height=info.height,
            width=info.width,
        )

    def _video(self, name: str, source: str) -> FrameStream:
        file_name = self._meta.video_name(self._index, source)
        path = self._meta.file(file_name)
        video = self._stack.enter_context(open_video(path, first_order=self._bytes_before))
        self.files.append(file_name)
        self._bytes_before += video.size
        if video.num_frames != self._rows.count:
            raise SourceError(
                f"{file_name} has {video.num_frames} frames; the parquet file has "
                f"{self._rows.count} rows: must be as many"
            )
        self._compare_video(name, source, video)
        return FrameStream(
            name=name,
            clock=self._clock,
            time_ns=self._time_ns,
            frames=video.frames,
            codec=video.codec,
            height=video.height,
            width=video.width,
            pixel_format=video.pixel_format,
            video=video.track,
        )

    def _compare_video(self, name: str, source: str, video: Video) -> None:
        declared = self._meta.features[source]
        if declared.codec and declared.codec != video.codec:
            self.notes.append(
                f"{name}: info.json declares codec {printable(declared.codec)}; the video has {video.codec}"
            )
        if len(declared.shape) == 3 and not {video.height, video.width} <= set(declared.shape):
            self.notes.append(
                f"{name}: info.json declares shape {list(declared.shape)}; the video has {video.height} x {video.width}"
            )
        if video.rate_hz is not None and abs(video.rate_hz - self._meta.fps) > 0.01 * self._meta.fps:
            self.notes.append(
                f"{name}: the video plays at {video.rate_hz:g} Hz, info.json declares {self._meta.fps:g} fps; frames "
                "belong to rows by their number"
            )
        if video.num_other_tracks:
            self.notes.append(f"{name}: {video.num_other_tracks} other tracks of the video are not kept")

    def labels(self) -> tuple[tuple[Instruction, ...], tuple[Outcome, ...]]:
        """Instructions and the outcome, where they are mapped."""
        mapping = self._request.mapping
        instructions: list[Instruction] = []
        for label in (mapping.instruction, mapping.subtask):
            if label is not None:
                kind: Literal["task", "subtask"] = "task" if label is mapping.instruction else "subtask"
                found, notes = row_instructions(self._texts(label), self._time_ns, kind)
                instructions += found
                self.notes += notes
        outcomes = self._outcome(mapping.outcome) if mapping.outcome is not None else ()
        return tuple(instructions), outcomes

    def _texts(self, label: LabelMapping) -> Sequence[str]:
        """The text at each row: a column of texts, or of numbers of tasks."""
        self._used.add(label.source)
        texts = self._rows.texts(label.source)
        if texts is not None:
            return texts
        numbers = self._rows.numbers(label.source)[0].reshape(self._rows.count, -1)
        if numbers.shape[1] != 1:
            raise SourceError(f"{self._where}: {label.source} has {numbers.shape[1]} values in a row; must have one")
        found = [self._meta.tasks.get(int(n), "") if np.isfinite(n) else "" for n in numbers[:, 0]]
        unknown = sorted({str(n) for n, text in zip(numbers[:, 0], found, strict=True) if not text})
        if unknown:
            shown = ", ".join(unknown[:_MAX_SHOWN_ROWS])
            self.notes.append(f"{label.source}: {shown} not in meta/tasks.jsonl, or without a text")
        return found

    def _outcome(self, mapping: OutcomeMapping) -> tuple[Outcome, ...]:
        """The last value of a column, else what episodes.jsonl says of the episode."""
        self._used.add(mapping.source)
        entry = self._meta.episodes.get(self._index, {})
        if mapping.source in self._rows.columns:
            texts = self._rows.texts(mapping.source)
            last = np.ravel(self._rows.numbers(mapping.source)[0][-1:]) if texts is None else None
            if last is not None and last.size != 1:
                raise SourceError(f"{self._where}: {mapping.source} has {last.size} values in a row; must have one")
            written = (texts or [""])[-1:] if last is None else as_text(last[0].item())
        elif isinstance(entry.get(mapping.source), str | bool | int | float):
            written = as_text(entry[mapping.source])
        else:
            self.notes.append(f"outcome: neither a column nor meta/episodes.jsonl has {printable(mapping.source)}")
            return ()
        outcomes, notes = row_outcome(written, mapping)
        self.notes += notes
        return outcomes

    def left_out(self) -> list[str]:
        """What of the episode is not kept."""
        offered = dict.fromkeys((*self._rows.columns, *self._meta.features))
        left = [name for name in offered if name not in self._used]
        return [f"not kept: {clip(printable(', '.join(left)), 2000)}"] if left else []


def inspect(path: Path) -> Inspection:
    """Describe a dataset by its info.json and its first readable episode.

    Raises:
        SourceError: As `places`, or no episode can be read.
        GateError: A path leaves the dataset.
    """
    return inspect_dataset(read_meta(path), places(path))
