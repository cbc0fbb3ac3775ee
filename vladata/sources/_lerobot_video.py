"""The part of a video file that is one episode's: its packets as they are, from the key frame on that they need."""

import hashlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import workers
from ..errors import SourceError
from ..recording import FrameRange, Frames, VideoTrack
from ..video import PacketFrames, Video, open_video
from ._lerobot_dataset import VideoPlace
from ._lerobot_info import Stamp

__all__ = ["TOLERANCE_S", "Clip", "open_clip"]

Int64Array = NDArray[np.int64]

TOLERANCE_S = 1e-4
"""How far the time of a frame may be from the one that is looked up; LeRobot's own limit."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clip:
    """The frames of one episode in an open video file."""

    video: Video
    frames: Frames
    track: VideoTrack
    first_pts: int = 0
    """What was taken off the stamps of the file, so that the first frame's is 0; in ticks."""
    notes: tuple[str, ...] = ()

    def digest(self) -> str:
        """SHA-256 over the packets, hex."""
        sha = hashlib.sha256()
        for k in range(len(self.frames.sizes)):
            sha.update(self.frames.read(k))
            workers.beat()
        return sha.hexdigest()


@lru_cache(maxsize=16)
def _listed(path: Path, stamp: Stamp) -> Video:
    """A video's packets, listed once for all episodes that lie in it; its file is closed."""
    del stamp  # a part of the cache's key: a changed file is read again
    with open_video(path) as video:
        return video


def _open(path: Path, first_order: int) -> Video:
    status = path.stat()
    video = _listed(path, (status.st_mtime_ns, status.st_size, status.st_ino))
    if not video.is_in_place:
        return open_video(path, first_order=first_order)
    frames = PacketFrames(path.open("rb"), video.frames.order, video.frames.sizes, first_order)
    return replace(video, frames=frames)


def open_clip(
    path: Path,
    place: VideoPlace,
    num_rows: int,
    stack: ExitStack,
    first_order: int,
    counts: Callable[[], tuple[int, int, int]],
) -> Clip:
    """Open the video of an episode.

    Args:
        path: The file.
        place: Which part of it.
        num_rows: Of the episode: as many frames must be there.
        stack: Closes the file.
        first_order: Where the file begins in the reading order of the recording.
        counts: Frames of the episodes that are listed before this one in the file, its own, and of all; asked where
            needed.

    Raises:
        SourceError: The file is damaged, or has not as many frames for the episode as there are rows.
        GateError: The frames are too large.
        MissingExtraError: The package av is not installed.
    """
    video = stack.enter_context(_open(path, first_order))
    if place.begin_s is None:
        if video.num_frames != num_rows:
            raise SourceError(
                f"{place.name} has {video.num_frames} frames; the parquet file has {num_rows} rows: must be as many"
            )
        return Clip(video=video, frames=video.frames, track=video.track)
    numerator, denominator = video.track.time_base
    shown = np.argsort(video.track.pts, kind="stable")
    times_s = video.track.pts[shown].astype(np.float64) * numerator / denominator
    before, own, total = counts()
    is_full = own == num_rows and total == len(shown)
    finder = _Finder(place=place, times_s=times_s, num_rows=num_rows, before=before, is_full=is_full)
    start, notes = finder.find()
    return _cut(video, shown, start, num_rows, notes)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Finder:
    """Finds the first frame of an episode by the time that is said of it, checked against the counts of frames."""

    place: VideoPlace
    times_s: NDArray[np.float64]
    """Of all frames of the file, in the order in which they are shown."""
    num_rows: int
    before: int
    """Frames of the episodes that are listed before this one in the file."""
    is_full: bool
    """Whether the listed episodes have as many frames as the file: then each frame is one episode's."""

    def find(self) -> tuple[int, list[str]]:
        """Index of the first frame, and notes.

        Raises:
            SourceError: No frame lies there, or there are not as many as rows.
        """
        name, times = self.place.name, self.times_s
        begin = self.place.begin_s or 0.0
        right = int(np.searchsorted(times, begin))
        near = [k for k in (right - 1, right) if 0 <= k < len(times)]
        start = min(near, key=lambda k: abs(times[k] - begin))
        off = float(times[start]) - begin
        notes = []
        if abs(off) <= TOLERANCE_S:
            if self.is_full and start != self.before:
                notes.append(
                    f"{name}: from_timestamp {begin:g} s is frame {start}; the episodes listed before it have "
                    f"{self.before} frames"
                )
        elif self.is_full:
            notes.append(
                f"{name}: from_timestamp {begin:g} s is {abs(off) * 1e3:.3g} ms from the nearest frame; the file has "
                f"exactly the frames of its episodes, so the first is counted: {self.before}, not {start}"
            )
            start = self.before
        elif abs(off) > self._period() / 2:
            raise SourceError(
                f"{name} has frames from {times[0]:g} to {times[-1]:g} s and none at from_timestamp {begin:g} s"
            )
        else:
            notes.append(
                f"{name}: from_timestamp {begin:g} s is {abs(off) * 1e3:.3g} ms from frame {start}, the nearest"
            )
        self._check_count(start)
        return start, notes

    def _period(self) -> float:
        return float(np.median(np.diff(self.times_s))) if len(self.times_s) > 1 else 1.0

    def _check_count(self, start: int) -> None:
        name, count = self.place.name, len(self.times_s) - start
        said = f"{name}, from frame {start} on"
        if count < self.num_rows:
            raise SourceError(f"{said}, has {count} frames; the episode has {self.num_rows} rows: must be as many")
        if self.place.end_s is None or self.is_full:
            return
        # to_timestamp is the end of the last frame, or its beginning, by writer
        limit = self.place.end_s - self._period() / 2
        count = int(np.searchsorted(self.times_s, limit)) - start
        if count not in {self.num_rows, self.num_rows - 1}:
            raise SourceError(
                f"{said} up to to_timestamp {self.place.end_s:g} s, has {count} frames; the episode has "
                f"{self.num_rows} rows: must be as many"
            )


def _cut(video: Video, shown: Int64Array, start: int, count: int, notes: list[str]) -> Clip:
    """The packets of `count` frames from `start` on, and those that decoding them needs."""
    track = video.track
    wanted = shown[start : start + count]
    first_pts, last_pts = int(track.pts[wanted[0]]), int(track.pts[wanted[-1]])
    low, high = int(wanted.min()), int(wanted.max()) + 1
    keys = np.flatnonzero(track.keyframes[: low + 1])
    keys = keys[track.pts[keys] <= first_pts]
    begin = int(keys[-1]) if len(keys) else 0
    pts = track.pts[begin:high]
    lead_in, lead_out = int((pts < first_pts).sum()), int((pts > last_pts).sum())
    notes = [*notes, f"frames {start} to {start + count}, packets {begin} to {high}, stamps counted from the first"]
    if lead_in or lead_out:
        notes.append(f"{lead_in} frames before and {lead_out} after the episode are kept, which decoding needs")
    return Clip(
        video=video,
        frames=FrameRange(video.frames, begin, high),
        track=VideoTrack(
            time_base=track.time_base,
            pts=pts - first_pts,
            keyframes=track.keyframes[begin:high],
            extradata=track.extradata,
            lead_in=lead_in,
            lead_out=lead_out,
        ),
        first_pts=first_pts,
        notes=tuple(notes),
    )
