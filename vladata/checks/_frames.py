"""One look at the frames of an episode, shared by the camera checks: every header and digest, pixels of a sample."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import xxhash
from numpy.typing import NDArray

from .. import images
from ..embodiment import Camera
from ..episode import Episode
from ..errors import EpisodeFormatError, ImageError, SourceError
from ..recording import FrameStream
from ._look import part

__all__ = ["CameraScan", "Picture", "scan"]

NUM_SAMPLES = 8
"""Frames that are decoded between the first and the last."""
MOST_PIXELS = 64
"""Rows and columns of the reduced image that brightness is measured on."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """What the pixels of one decoded frame are like."""

    index: int
    height: int
    width: int
    mean: float
    """Of all channels of the reduced image, 0 to 255; of depth, the stored numbers."""
    spread: float
    """Standard deviation of the channel that varies most."""
    reduced: NDArray[np.generic]
    """Some of its rows and columns, at most 64 each, evenly spaced, [h, w, channels]."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CameraScan:
    """What the frames of one camera are like, over the time of the steps."""

    stream: FrameStream
    schema: Camera | None
    start: int
    """First frame that was looked at."""
    stop: int
    damaged: tuple[tuple[int, str], ...]
    """Frames, or packets of a video, that can't be read or decoded, and why."""
    sizes: NDArray[np.int32]
    """Height and width in the header of each frame, [n, 2]; 0 where it can't be read, and for video."""
    digests: NDArray[np.uint64]
    """Of the encoded bytes of each frame, [n]; empty for video, whose packets hold changes only."""
    pictures: tuple[Picture, ...]
    """The frames that were decoded, in order."""

    @property
    def location(self) -> str:
        """HDF5 path of the frames."""
        return f"/streams/{self.stream.name}/frames"


@lru_cache(maxsize=1)
def scan(episode: Episode) -> tuple[CameraScan, ...]:
    """Look at all cameras of an episode; the last episode's result is kept for the next check."""
    schemas = {c.name: c for c in episode.embodiment.cameras}
    return tuple(
        _scan(episode, stream, schemas.get(stream.name))
        for stream in episode.streams.values()
        if isinstance(stream, FrameStream)
    )


def _scan(episode: Episode, stream: FrameStream, schema: Camera | None) -> CameraScan:
    cut = part(episode, stream)
    # Packets of a video lie in decode order, and a frame needs those before it: all are read.
    encoded = range(len(stream.frames.sizes)) if stream.video else range(cut.start, cut.stop)
    damaged: dict[int, str] = {}
    sizes = np.zeros((len(encoded), 2), dtype=np.int32)
    digests = np.zeros(len(encoded), dtype=np.uint64)
    for row, index in enumerate(encoded):
        _beat(row)
        try:
            data = stream.frames.read(index)
            digests[row] = xxhash.xxh3_64_intdigest(data)
            if stream.video is None:
                info = images.probe(data)
                sizes[row] = info.height, info.width
        except (ImageError, EpisodeFormatError) as error:
            damaged[index] = str(error)
    pictures = []
    for index in _sample(cut.start, cut.stop):
        _beat(0)
        if stream.video is not None or index not in damaged:
            try:
                pictures.append(
                    _picture(episode, stream, index, is_depth=schema is not None and schema.depth is not None)
                )
            except (ImageError, EpisodeFormatError, SourceError) as error:
                damaged.setdefault(index, str(error))
    return CameraScan(
        stream=stream,
        schema=schema,
        start=cut.start,
        stop=cut.stop,
        damaged=tuple(sorted(damaged.items())),
        sizes=sizes if stream.video is None else np.zeros((0, 2), dtype=np.int32),
        digests=digests if stream.video is None else np.zeros(0, dtype=np.uint64),
        pictures=tuple(pictures),
    )


def _beat(row: int) -> None:
    """Tell the worker's watchdog now and then that there is progress."""
    if row % 64 == 0:
        from ..workers import beat

        beat()


def _sample(start: int, stop: int) -> list[int]:
    """First, last and evenly spaced frames between, in the order in which they are shown."""
    if stop <= start:
        return []
    return [int(i) for i in np.unique(np.linspace(start, stop - 1, NUM_SAMPLES + 2).round())]


def _picture(episode: Episode, stream: FrameStream, index: int, *, is_depth: bool) -> Picture:
    pixels: NDArray[np.generic]
    if is_depth and stream.video is None:
        pixels = images.decode_depth(stream.frames.read(index))[:, :, None]
    else:
        pixels = episode.frame(stream.name, index)
    height, width = pixels.shape[:2]
    reduced = pixels[:: -(-height // MOST_PIXELS), :: -(-width // MOST_PIXELS)].copy()
    return Picture(
        index=index,
        height=height,
        width=width,
        mean=float(reduced.mean()),
        spread=float(reduced.std(axis=(0, 1)).max()),
        reduced=reduced,
    )
