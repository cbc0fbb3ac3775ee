"""Encoded frames on their way from episodes to shards: passed through in ranges, or decoded and encoded anew.

Frames that must be encoded anew are rendered first, in units that are much smaller than a shard, into part files; a
shard then takes them up like stored frames. So the work spreads over all workers and the shards know their exact size.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import xxhash
from numpy.typing import NDArray

from ..documents import canonical_json
from ..episode import Episode
from ..errors import ExportError
from ..recording import FrameStream
from ..workers import beat
from ._gather import EpisodeSource
from ._options import ImageOptions
from ._parquet import image_array

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["FrameRange", "Part", "RenderUnit", "RenderedFrames", "frame_encoder", "image_chunks", "part_name", "render"]

Int64Array = NDArray[np.int64]
IndexArray = NDArray[np.integer]

WASTE = 1.25
"""Frames that nobody asked for are read along while the range is at most this many times what is needed."""


class FrameRange(Protocol):
    """Encoded frames that can be read many at a time."""

    @property
    def sizes(self) -> Int64Array:
        """Bytes of each frame."""

    def read_range(self, start: int, stop: int) -> tuple[bytes, Int64Array]:
        """Encoded bytes of the frames start <= i < stop, and where each begins and ends in them."""


def image_chunks(frames: FrameRange, index: IndexArray) -> "list[pa.Array]":
    """Frames in any order as arrays of the Image feature; together they are the frames of `index`, [R].

    Neighbours in the file are read together, and nothing is copied after that.
    """
    if len(index) == 0:
        return []
    starts = np.flatnonzero(np.diff(index, prepend=index[0] - 2) != 1)
    runs = [(int(index[a]), int(index[a]) + int(b - a)) for a, b in zip(starts, [*starts[1:], len(index)], strict=True)]
    first, last = int(index.min()), int(index.max()) + 1
    sizes = frames.sizes
    needed = sum(int(sizes[a:b].sum()) for a, b in runs)
    if int(sizes[first:last].sum()) <= WASTE * needed:
        data, offsets = frames.read_range(first, last)
        return [image_array(data, offsets[a - first : b - first + 1]) for a, b in runs]
    return [image_array(*frames.read_range(a, b)) for a, b in runs]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Frames of one camera of one episode that are encoded anew together."""

    file: str
    """Name in the folder of parts: a digest of everything that decides its bytes."""
    camera: str
    frames: tuple[int, ...]
    """Indices of the stored frames, increasing."""
    input_bytes: int


def part_name(source: str, camera: str, frames: Sequence[int], images: ImageOptions, versions: object) -> str:
    """File name of a part; `source` is the digest of what the frames are taken from."""
    listed = hashlib.sha256(np.asarray(frames, dtype="<i8").tobytes()).hexdigest()
    facts = {"source": source, "camera": camera, "frames": listed, "images": images.to_dict(), "versions": versions}
    return hashlib.sha256(canonical_json(facts).encode()).hexdigest()[:40] + ".part"


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderUnit:
    """A part to make."""

    source: EpisodeSource
    part: Part
    images: ImageOptions
    folder: Path
    """Of parts."""


def render(unit: RenderUnit) -> int:
    """Encode the frames of a part anew, where it is not there already; runs in a worker.

    The file is whole under its name or absent. It outlives a killed export and nothing else, so it is not synced.

    Returns:
        Bytes of its frames.

    Raises:
        EpisodeFormatError: A frame is damaged.
    """
    path, part = unit.folder / unit.part.file, unit.part
    there = _whole_size(path, len(part.frames))
    if there is not None:
        return there
    encode = frame_encoder(unit.source.read(is_gated=True), part.camera, unit.images)
    digest = xxhash.xxh3_64()
    ends = [0]
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            for index in part.frames:
                data = encode(index)
                file.write(data)
                digest.update(data)
                ends.append(ends[-1] + len(data))
                beat()
            trailer = np.array([*ends, len(part.frames)], dtype="<i8").tobytes()
            digest.update(trailer)
            file.write(trailer + digest.digest())
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)
    return ends[-1]


def frame_encoder(episode: Episode, camera: str, images: ImageOptions) -> Callable[[int], bytes]:
    from ..images import encode_jpeg, resize

    stream = episode.streams[camera]
    assert isinstance(stream, FrameStream)

    def encode(index: int) -> bytes:
        rgb = episode.frame(camera, index)
        if images.size is not None:
            rgb = resize(rgb, images.size[0], images.size[1], images.resize)
        return encode_jpeg(rgb, images.jpeg_quality)

    return encode


class RenderedFrames:
    """Frames of one camera that were encoded anew, out of one or more parts; indices count rendered frames."""

    def __init__(self, folder: Path, parts: Sequence[Part]) -> None:
        """Read where the frames lie.

        Raises:
            ExportError: A part is missing or damaged.
        """
        self._paths = [folder / p.file for p in parts]
        self._ends = [_read_ends(path, len(p.frames)) for path, p in zip(self._paths, parts, strict=True)]
        self._first = np.cumsum([0, *(len(p.frames) for p in parts)])
        self.frames = np.array([f for p in parts for f in p.frames], dtype=np.int64)
        """Index of the stored frame behind each rendered one, increasing."""

    @property
    def sizes(self) -> Int64Array:
        """Bytes of each rendered frame."""
        return np.concatenate([np.diff(e) for e in self._ends]) if self._ends else np.zeros(0, dtype=np.int64)

    def position(self, index: IndexArray) -> Int64Array:
        """Place of stored frames among the rendered ones."""
        return np.searchsorted(self.frames, index)

    def read_range(self, start: int, stop: int) -> tuple[bytes, Int64Array]:
        """Encoded bytes of the rendered frames start <= i < stop, and where each begins and ends in them."""
        blocks, offsets = [], [np.zeros(1, dtype=np.int64)]
        total = 0
        for path, ends, first in zip(self._paths, self._ends, self._first[:-1], strict=True):
            a, b = max(start - first, 0), min(stop - first, len(ends) - 1)
            if a >= b:
                continue
            with path.open("rb") as file:
                file.seek(int(ends[a]))
                blocks.append(file.read(int(ends[b] - ends[a])))
            offsets.append(ends[a + 1 : b + 1] - ends[a] + total)
            total += int(ends[b] - ends[a])
        return (blocks[0] if len(blocks) == 1 else b"".join(blocks)), np.concatenate(offsets)


def _whole_size(path: Path, count: int) -> int | None:
    """Bytes of the frames of a part file; None where it is missing or does not match its digest."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    if len(data) < 8 * (count + 3) or xxhash.xxh3_64_digest(memoryview(data)[:-8]) != data[-8:]:
        return None
    ends = np.frombuffer(data, dtype="<i8", count=count + 2, offset=len(data) - 8 * (count + 3))
    return int(ends[-2]) if ends[-1] == count else None


def _read_ends(path: Path, count: int) -> Int64Array:
    size = 8 * (count + 2)
    try:
        with path.open("rb") as file:
            file.seek(-size - 8, 2)
            numbers = np.frombuffer(file.read(size), dtype="<i8")
    except (FileNotFoundError, OSError) as error:
        raise ExportError(f"{path.name}: rendered frames are missing; run the same command again") from error
    if len(numbers) != count + 2 or numbers[-1] != count:
        raise ExportError(f"{path.name}: rendered frames are damaged; remove {path.parent.parent.name} and run again")
    return numbers[:-1].astype(np.int64)
