"""Videos that lie beside numbers: their packets as a stream, and the times of their frames."""

from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError
from ..recording import FrameStream, VideoTrack
from ..text import printable
from ..units import Clock
from ..video import Video, open_video

__all__ = ["Videos", "pts_ns", "video_stream"]

Int64Array = NDArray[np.int64]


class Videos:
    """The video files of a recording, opened one after another; closed with the stack."""

    def __init__(self, stack: ExitStack) -> None:
        """Remember what closes them."""
        self._stack = stack
        self._bytes_before = 0
        self.notes: list[str] = []

    def open(self, name: str, path: Path) -> Video:
        """Open the video of a stream.

        Raises:
            SourceError: As `open_video`.
            GateError: As `open_video`.
            MissingExtraError: As `open_video`.
            OSError: As `open_video`.
        """
        video = self._stack.enter_context(open_video(path, first_order=self._bytes_before))
        self._bytes_before += video.size
        if video.num_other_tracks:
            self.notes.append(f"{name}: {video.num_other_tracks} other tracks of {printable(path.name)} are not kept")
        return video


def pts_ns(track: VideoTrack) -> Int64Array:
    """Presentation stamps of the frames in the order in which they are shown, the first being 0, in ns.

    Args:
        track: Of a video; its ticks are exact.

    Returns:
        [N], rounded to the nearest nanosecond, halves to the even one.

    Raises:
        SourceError: The stamps span more than int64 nanoseconds.
    """
    shown: list[int] = np.sort(track.pts).tolist()
    numerator, denominator = track.time_base[0] * 10**9, track.time_base[1]
    if (shown[-1] - shown[0]) * numerator >= 2**62 * denominator:
        raise SourceError("the stamps of the video span more than 146 years")
    found = []
    for tick in shown:
        whole, rest = divmod((tick - shown[0]) * numerator, denominator)
        is_up = 2 * rest > denominator or (2 * rest == denominator and whole % 2 == 1)
        found.append(whole + is_up)
    return np.array(found, dtype=np.int64)


def video_stream(
    name: str,
    video: Video,
    time_ns: Int64Array,
    clock: Clock,
    clock_choice: str,
    receive_time_ns: Int64Array | None = None,
) -> FrameStream:
    """A video's packets with the stamps of its frames.

    Args:
        name: Of the stream in the embodiment.
        video: Stays open as long as the frames are read.
        time_ns: Of the frames in the order in which they are shown, as many as the video has.
        clock: That the stamps count.
        clock_choice: Which stamps they are.
        receive_time_ns: When the recorder received the frames, where that is known and different.
    """
    return FrameStream(
        name=name,
        clock=clock,
        time_ns=time_ns,
        frames=video.frames,
        codec=video.codec,
        height=video.height,
        width=video.width,
        pixel_format=video.pixel_format,
        video=video.track,
        clock_choice=clock_choice,
        receive_time_ns=receive_time_ns,
    )
