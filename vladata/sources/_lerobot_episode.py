"""One episode of a LeRobot dataset of any version: mapped columns and videos become streams."""

import fnmatch
from collections.abc import Iterator
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import workers
from ..errors import SourceError
from ..mapping import StreamMapping
from ..recording import AnyStream, FrameStream, Recording, SourceFile, Stream
from ..text import clip, printable
from . import Place, Request
from ._first_image import first_image
from ._join import hash_file, join_columns, recording_id
from ._lerobot_dataset import Dataset
from ._lerobot_info import Stamp, episode_index, episode_name, stamp_of
from ._lerobot_labels import Labels
from ._lerobot_rows import Rows
from ._lerobot_signs import shifted_state
from ._lerobot_time import row_times
from ._lerobot_video import TOLERANCE_S, Clip, open_clip
from ._options import take_options

__all__ = ["OPTIONS", "read_episode"]

OPTIONS: dict[str, bool | float | str] = {"time_column": "timestamp", "intervention": "", "reward": ""}
"""`time_column`: seconds of each row; `intervention` and `reward`: columns that become outcomes."""

_PLACE_COLUMNS = ("index", "episode_index", "task_index", "subtask_index")
"""They say where a row lies in its dataset, which changes when datasets are merged."""
_MAX_SHOWN = 5

Int64Array = NDArray[np.int64]


def read_episode(dataset: Dataset, place: Place, request: Request) -> Iterator[Recording]:
    """Read one episode; its frames can be read until the iterator goes on or is closed.

    Raises:
        SourceError: A file is missing or damaged (named), a video has not as many frames as there are rows, or the
            mapping does not fit.
        SchemaError: An option of the mapping is not known.
        GateError: A path leaves the dataset, or a file breaks a limit.
        MissingExtraError: The dataset has videos and the package av is not installed.
    """
    info = dataset.info
    index = episode_index(place.name)
    with ExitStack() as stack:
        reader = _EpisodeReader(dataset, index, request, stack)
        streams = reader.streams()
        labels = Labels(dataset, index, reader.rows, reader.time_ns, reader.options)
        instructions, outcomes = labels.read(request.mapping)
        files = tuple(_hashed(info.root, name, stamp_of(info.root, name)) for name in reader.files)
        if dataset.source == "lerobot_v2":  # a file is one episode's
            content = [f.sha256 for f in files]
        else:
            content = [reader.rows.digest(_PLACE_COLUMNS), *reader.digests]
        texts = [f"{i.kind} {i.text}" for i in instructions]
        facts = {"codebase_version": info.version, "robot_type": info.robot_type, "split": info.split_of(index)}
        yield Recording(
            recording_id=recording_id(dataset.source, place.name, [*content, *texts]),
            source=dataset.source,
            place=place.name,
            files=files,
            streams=streams,
            is_stepped=True,
            instructions=instructions,
            outcomes=outcomes,
            metadata={k: v for k, v in facts.items() if v},
            notes=(*reader.notes, *labels.notes, *reader.left_out(labels.used)),
            is_lossy=reader.is_lossy,
        )


@lru_cache(maxsize=64)
def _hashed(root: Path, name: str, stamp: Stamp) -> SourceFile:
    """Size and digest of a file, once for all episodes in it."""
    del stamp  # a part of the cache's key: a changed file is read again
    return hash_file(root / name, name)


class _EpisodeReader:
    """Turns the mapped columns and videos of one episode into streams."""

    def __init__(self, dataset: Dataset, index: int, request: Request, stack: ExitStack) -> None:
        self.options = take_options(request.mapping, OPTIONS)
        self._dataset, self._info = dataset, dataset.info
        self._index = index
        self._embodiment, self._mapping = request.embodiment, request.mapping
        self._stack = stack
        self._where = episode_name(index)
        parts = dataset.rows(index)
        self._require_videos()
        self.rows = Rows(parts)
        stack.callback(self.rows.close)
        self.files = [*self.rows.files]
        self.digests: list[str] = []
        """Of the frames of each camera."""
        self._bytes_before = 0
        time_column = str(self.options["time_column"])
        self._used = {"frame_index", "episode_index", time_column}
        clock, self.time_ns, notes = row_times(self.rows, self._info.fps, self._where, time_column)
        self._clock = clock
        self._clock_choice = time_column if time_column in self.rows.columns and clock != "nominal" else "frame_index"
        self.notes = notes
        length = dataset.fact(index, "length")
        # of v3, rows and table are written together; of v2, the table is often older than the rows
        self.is_lossy = dataset.source != "lerobot_v2" and isinstance(length, int) and self.rows.count < length
        self._compare()

    def _require_videos(self) -> None:
        """Look for the videos before anything is read: many datasets are there without most of them."""
        for name, mapping in self._mapping.streams.items():
            key = self._column(mapping.source)
            if self._info.feature(key).is_video and self._embodiment.rule(name).required:
                self._info.file(self._dataset.video(self._index, key).name)

    def _column(self, source: str) -> str:
        """The column or feature that a mapping names, by its own name or by that of a part of it."""
        is_part = source in self._info.slices and source not in self._info.features
        return self._info.slices[source].column if is_part else source

    def _compare(self) -> None:
        """Note where declarations and data differ."""
        episodes = self._dataset.tables[0]
        rate = self._embodiment.rate_hz
        if not self._dataset.is_declared(self._index):
            self.notes.append(f"{self._where} is not in {episodes}")
        elif (length := self._dataset.fact(self._index, "length")) != self.rows.count:
            shown = clip(printable(repr(length)), 40)
            self.notes.append(f"{episodes} declares {shown} steps; the parquet file has {self.rows.count}")
        if self._info.fps != rate:
            self.notes.append(f"info.json declares {self._info.fps:g} fps; {self._embodiment.name} has {rate:g} Hz")
        if len(self.files) > 1:
            self.notes.append(f"rows are in {len(self.files)} files: {', '.join(self.files)}")
        if "episode_index" in self.rows.columns:
            found = np.unique(self.rows.numbers("episode_index")[0])
            if found.tolist() != [self._index]:
                shown = ", ".join(str(n) for n in found[:_MAX_SHOWN])
                self.notes.append(f"column episode_index is {shown}; the file's name says {self._index}")

    def streams(self) -> dict[str, AnyStream]:
        """The mapped streams, by name in the embodiment."""
        cameras = {c.name for c in self._embodiment.cameras}
        found: dict[str, AnyStream] = {}
        for name, mapping in self._mapping.streams.items():
            workers.beat()
            if mapping.field is not None:
                raise SourceError(f"{name} maps field {printable(mapping.field)!r}; columns of LeRobot have no fields")
            self._used.add(self._column(mapping.source))
            if self._is_absent(name, mapping.source):
                continue
            found[name] = self._camera(name, mapping.source) if name in cameras else self._signal(name, mapping)
        if not found:
            raise SourceError(f"{self._where}: the mapping maps no stream that is there")
        self._note_shift()
        return found

    def _is_absent(self, name: str, source: str) -> bool:
        """Whether a stream that need not be there is not."""
        if self._embodiment.rule(name).required:
            return False
        key = self._column(source)
        if self._is_video(key):
            is_absent = not self._info.is_file(self._dataset.video(self._index, key).name)
        else:
            is_absent = key not in self.rows.columns and not self._matching(key)
        if is_absent:
            self.notes.append(f"{name}: the episode has no {printable(source)}")
        return is_absent

    def _is_video(self, key: str) -> bool:
        return key not in self.rows.columns and self._info.feature(key).is_video

    def _matching(self, pattern: str) -> list[str]:
        """Columns that a pattern such as `arm1_j*` names, in the file's order."""
        return [c for c in self.rows.columns if fnmatch.fnmatchcase(c, pattern)] if "*" in pattern else []

    def _signal(self, name: str, mapping: StreamMapping) -> Stream:
        values, names = self._vector(name, mapping.source)
        joined, note = join_columns(values, names, self._embodiment.signal(name), mapping)
        self.notes.append(note)
        return Stream(
            name=name, clock=self._clock, time_ns=self.time_ns, values=joined, clock_choice=self._clock_choice
        )

    def _vector(self, name: str, source: str) -> tuple[NDArray[np.generic], tuple[str, ...]]:
        """Numbers of each row, [N, D], and the names of their elements, where known."""
        matching = self._matching(source) if source not in self.rows.columns else []
        if matching:
            columns = [self._numbers(name, c) for c in matching]
            wide = next((c for c, v in zip(matching, columns, strict=True) if v.shape[1] != 1), None)
            if wide is not None:
                raise SourceError(f"{self._where}: {printable(wide)} has several values in a row; must have one")
            self._used.update(matching)
            return np.concatenate(columns, axis=1), tuple(matching)
        column = self._column(source)
        values = self._numbers(name, column)
        feature = self._info.feature(column)
        names = feature.names if len(feature.names) == values.shape[1] else ()
        if len(feature.shape) > 1 and values.shape[1] > 1:
            self.notes.append(f"{name}: {column} has shape {list(feature.shape)}; its elements are taken row by row")
        if column == source:
            return values, names
        part = self._info.slices[source]
        if part.stop > values.shape[1]:
            raise SourceError(
                f"{self._where}: modality.json says {printable(source)} is {column}[{part.start}:{part.stop}]; "
                f"it has {values.shape[1]} values"
            )
        return values[:, part.start : part.stop], names[part.start : part.stop]

    def _numbers(self, name: str, column: str) -> NDArray[np.generic]:
        values, missing = self.rows.numbers(column)
        if missing:
            shown = ", ".join(str(r) for r in missing[:_MAX_SHOWN])
            self.notes.append(
                f"{name}: {len(missing)} rows have missing values, which are nan: {shown}"
                f"{', …' if len(missing) > _MAX_SHOWN else ''}"
            )
        return values.reshape(len(values), -1)

    def _note_shift(self) -> None:
        """Say where a recorded action is a measured state."""
        sources = {n: self._column(m.source) for n, m in self._mapping.streams.items()}
        actions = [sources[s.name] for s in self._embodiment.action if s.name in sources]
        states = [sources[s.name] for s in self._embodiment.proprioception if s.name in sources]
        there = set(self.rows.columns)
        for action in dict.fromkeys(actions):
            for state in dict.fromkeys(states):
                if {action, state} <= there and action != state:
                    note = shifted_state(action, self.rows.numbers(action)[0], state, self.rows.numbers(state)[0])
                    self.notes += [note] if note else []

    def _camera(self, name: str, source: str) -> FrameStream:
        key = self._column(source)
        if self._is_video(key):
            return self._video(name, key)
        if key not in self.rows.columns and key not in self._info.features:
            shown = clip(printable(", ".join(self._info.features)), 300)
            raise SourceError(f"{self._where}: no feature {printable(source)!r} for {name}; there are {shown}")
        frames = self.rows.images(key, self._bytes_before)
        self._bytes_before += frames.size
        self.digests.append(frames.digest)
        image = first_image(frames, f"{self._where}: {source}")
        return FrameStream(
            name=name,
            clock=self._clock,
            time_ns=self.time_ns,
            frames=frames,
            codec=image.codec,
            height=image.height,
            width=image.width,
            clock_choice=self._clock_choice,
        )

    def _video(self, name: str, key: str) -> FrameStream:
        place = self._dataset.video(self._index, key)
        path = self._info.file(place.name)
        clip_ = open_clip(
            path,
            place,
            self.rows.count,
            self._stack,
            self._bytes_before,
            lambda: self._dataset.frame_counts(self._index, key),
        )
        self.files.append(place.name)
        self._bytes_before += clip_.video.size
        if place.begin_s is not None:
            self.digests.append(clip_.digest())
        self._compare_video(name, key, clip_, place.begin_s)
        return FrameStream(
            name=name,
            clock=self._clock,
            time_ns=self.time_ns,
            frames=clip_.frames,
            codec=clip_.video.codec,
            height=clip_.video.height,
            width=clip_.video.width,
            pixel_format=clip_.video.pixel_format,
            video=clip_.track,
            clock_choice=self._clock_choice,
        )

    def _compare_video(self, name: str, key: str, found: Clip, begin_s: float | None) -> None:
        declared, video = self._info.feature(key), found.video
        notes = list(found.notes)
        if declared.codec and declared.codec != video.codec:
            notes.append(f"info.json declares codec {clip(printable(declared.codec), 40)}; the video has {video.codec}")
        if len(declared.shape) == 3 and not {video.height, video.width} <= set(declared.shape):
            notes.append(
                f"info.json declares shape {list(declared.shape)}; the video has {video.height} x {video.width}"
            )
        if video.rate_hz is not None and abs(video.rate_hz - self._info.fps) > 0.01 * self._info.fps:
            notes.append(
                f"the video plays at {video.rate_hz:g} Hz, info.json declares {self._info.fps:g} fps; frames belong "
                "to rows by their number"
            )
        if begin_s is not None and (off_s := self._lookup_error(found, begin_s)) > TOLERANCE_S:
            notes.append(
                f"frames lie up to {off_s * 1e3:.3g} ms from where they are looked up (from_timestamp + row / fps); "
                f"readers that accept {TOLERANCE_S * 1e3:g} ms refuse the episode"
            )
        if video.num_other_tracks:
            notes.append(f"{video.num_other_tracks} other tracks of the video are not kept")
        if declared.depth:
            notes.append(f"depth is kept as the video's packets, not converted to metres ({declared.depth})")
        self.notes += [f"{name}: {note}" for note in notes]

    def _lookup_error(self, found: Clip, begin_s: float) -> float:
        """Largest distance of a frame from the time that readers look it up at, in seconds."""
        numerator, denominator = found.track.time_base
        pts = np.sort(found.track.pts)
        times = (pts[found.track.lead_in :][: self.rows.count] + found.first_pts) * numerator / denominator
        return float(np.abs(times - begin_s - np.arange(self.rows.count) / self._info.fps).max())

    def left_out(self, used: set[str]) -> list[str]:
        """What of the episode is not kept."""
        offered = dict.fromkeys((*self.rows.columns, *self._info.features))
        left = [name for name in offered if name not in self._used | used]
        return [f"not kept: {clip(printable(', '.join(left)), 2000)}"] if left else []
