"""Read episode files: steps at once, streams and frames when asked for; safe in forked and spawned workers.

No HDF5 handle stays open, so that an episode can go through a fork or a pickle; frames are one pread each.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
import xxhash
from numpy.typing import NDArray

from .. import images
from ..documents import parse
from ..embodiment import Embodiment
from ..episode import Episode, Image, Steps
from ..errors import EpisodeFormatError, EpisodeVersionError, GateError
from ..gate import check_hdf5
from ..recording import AnyStream, FrameStream, Stream, VideoTrack
from ..units import Clock
from . import layout
from ._json import load_object

if TYPE_CHECKING:
    from ..frame_decoder import FrameDecoder

__all__ = ["FileFrames", "read_episode", "verify_episode"]

Buffer = bytes | memoryview


class FileFrames:
    """Encoded frames of one camera in an episode file, contiguous from a known place.

    Every frame is compared with its digest when read: a flipped bit in a JPEG would decode without complaint.
    """

    def __init__(
        self, path: Path, camera: str, base: int, offsets: NDArray[np.uint64], digests: NDArray[np.uint64]
    ) -> None:
        """Know where the frames lie; the file is opened with the first read, once in each process."""
        self._path, self._camera, self._base = path, camera, base
        self._offsets = offsets.astype(np.int64)
        self._digests = digests
        self._fd, self._pid = -1, -1

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Bytes of each frame, [P]."""
        return np.diff(self._offsets)

    @property
    def order(self) -> NDArray[np.int64]:
        """Place in the file, [P]."""
        return self._base + self._offsets[:-1]

    @property
    def digests(self) -> NDArray[np.uint64]:
        """xxh3 of each frame's bytes as they were written, [P]; reading compares with it."""
        return self._digests

    def read(self, index: int) -> bytes:
        """Encoded bytes of one frame.

        Raises:
            EpisodeFormatError: The bytes don't match their digest.
        """
        start, stop = int(self._offsets[index]), int(self._offsets[index + 1])
        data = self._pread(start, stop - start)
        self._compare(index, data)
        return data

    def read_range(self, start: int, stop: int) -> tuple[bytes, NDArray[np.int64]]:
        """Encoded bytes of the frames start <= i < stop in one read, and where each begins and ends in them.

        Returns:
            The bytes, and offsets [stop - start + 1] that begin with 0.

        Raises:
            EpisodeFormatError: The bytes of a frame don't match its digest.
        """
        offsets = self._offsets[start : stop + 1] - self._offsets[start]
        data = self._pread(int(self._offsets[start]), int(offsets[-1]))
        view = memoryview(data)
        for i in range(stop - start):
            self._compare(start + i, view[offsets[i] : offsets[i + 1]])
        return data, offsets

    def _compare(self, index: int, data: Buffer) -> None:
        if xxhash.xxh3_64_intdigest(data) != int(self._digests[index]):
            raise EpisodeFormatError(
                f"{self._path.name}: /streams/{self._camera}/frames: frame {index} is damaged: "
                "its bytes do not match their digest"
            )

    def _pread(self, offset: int, size: int) -> bytes:
        if self._pid != os.getpid():
            self._fd, self._pid = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC), os.getpid()
        parts = []
        while size > 0:
            part = os.pread(self._fd, size, self._base + offset)
            if not part:
                raise EpisodeFormatError(f"{self._path.name}: ends inside /streams/{self._camera}/frames")
            parts.append(part)
            offset, size = offset + len(part), size - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def __getstate__(self) -> dict[str, object]:
        """Everything but the open file, which belongs to this process."""
        return {**self.__dict__, "_fd": -1, "_pid": -1}

    def __del__(self, getpid: Callable[[], int] = os.getpid, close: Callable[[int], None] = os.close) -> None:
        """Close the file in the process that opened it; module names may be gone when an interpreter ends."""
        if self._fd >= 0 and self._pid == getpid():
            try:
                close(self._fd)
            except OSError:
                pass


class _FileStreams(Mapping[str, AnyStream]):
    """Streams of an episode file, each read when first asked for."""

    def __init__(self, path: Path, names: tuple[str, ...]) -> None:
        self._path, self._names = path, names
        self._loaded: dict[str, AnyStream] = {}

    def __getitem__(self, name: str) -> AnyStream:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._loaded:
            with _opened(self._path) as file:
                self._loaded[name] = _read_stream(file[layout.STREAMS][name], name, self._path)
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class _Decoder:
    """Decodes frames of one episode; a video keeps its state for the next frame."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._videos: dict[str, FrameDecoder] = {}

    def __call__(self, stream: FrameStream, index: int) -> Image:
        if stream.video is None:
            return images.decode(bytes(stream.frames.read(index)))
        if stream.name not in self._videos:
            from ..frame_decoder import FrameDecoder

            self._videos[stream.name] = FrameDecoder(stream)
        return self._videos[stream.name].decode(index)

    def __getstate__(self) -> dict[str, object]:
        return {"_path": self._path, "_videos": {}}


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """Open an episode file; what HDF5 can't read becomes one error with the file's name."""
    try:
        # Committed files never change, so readers need no lock; some network file systems refuse one.
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
        if isinstance(error, EpisodeFormatError):
            raise
        reason = str(error).strip("'\"").partition("\n")[0]
        raise EpisodeFormatError(f"{path.name}: not a whole episode file: {reason}") from error
    except OSError as error:
        if error.errno is not None:
            raise
        reason = str(error).partition("\n")[0]
        raise EpisodeFormatError(f"{path.name}: damaged or not HDF5: {reason}") from error


def read_episode(path: str | Path, *, is_trusted: bool = False) -> Episode:
    """Read an episode file.

    Args:
        path: The file.
        is_trusted: Leave out the gate, for a file that this process has just written.

    Raises:
        EpisodeFormatError: Not an episode file, of another version, or damaged.
        GateError: The file holds links, layouts or sizes that episodes never have.
    """
    path = Path(path)
    if not is_trusted:
        check_hdf5(path)
    with _opened(path) as file:
        attributes = _read_attributes(file, path)
        embodiment = parse(Embodiment, load_object(_text(file, layout.EMBODIMENT), path.name), path.name)
        steps = _read_steps(file[layout.STEPS], embodiment.stream_names)
        instructions = layout.table_to_instructions(
            _strings(file[layout.INSTRUCTIONS], layout.INSTRUCTION_TEXTS),
            _numbers(file[layout.INSTRUCTIONS], layout.INSTRUCTION_NUMBERS),
        )
        outcomes = layout.table_to_outcomes(
            _strings(file[layout.OUTCOMES], layout.OUTCOME_TEXTS),
            _numbers(file[layout.OUTCOMES], layout.OUTCOME_NUMBERS),
        )
        metadata = load_object(_text(file, layout.METADATA), path.name)
        provenance = load_object(_text(file, layout.PROVENANCE), path.name)
        in_file = set(file[layout.STREAMS])
    order = [n for n in embodiment.stream_names if n in in_file]
    return Episode(
        episode_id=attributes["episode_id"],
        recording_id=attributes["recording_id"],
        content_digest=attributes["content_digest"],
        embodiment=embodiment,
        streams=_FileStreams(path, (*order, *sorted(in_file - set(order)))),
        steps=steps,
        instructions=instructions,
        outcomes=outcomes,
        metadata={k: str(v) for k, v in metadata.items()},
        provenance=provenance,
        decode=_Decoder(path),
    )


def _read_attributes(file: h5py.File, path: Path) -> dict[str, str]:
    missing = [n for n in layout.ATTRIBUTES if n not in file.attrs]
    if "format" in missing or _attribute(file, "format") != layout.FORMAT:
        raise EpisodeFormatError(f"{path.name}: not an episode file; the root's format must be {layout.FORMAT!r}")
    version = int(file.attrs["format_version"]) if "format_version" not in missing else 0
    if version != layout.FORMAT_VERSION:
        raise EpisodeVersionError(f"{path.name}: format version {version}; this release reads {layout.FORMAT_VERSION}")
    if missing:
        raise EpisodeFormatError(f"{path.name}: not written to its end; the root has no {missing[0]}")
    return {n: _attribute(file, n) for n in layout.ATTRIBUTES if n != "format_version"}


def _attribute(target: h5py.Group, name: str) -> str:
    value = target.attrs[name]
    return value.decode() if isinstance(value, bytes) else str(value)


def _text(file: h5py.File, name: str) -> str:
    value = file[name][()]
    return value.decode() if isinstance(value, bytes) else str(value)


def _strings(group: h5py.Group, names: tuple[str, ...]) -> dict[str, list[str]]:
    return {n: [v.decode() for v in group[n][()]] for n in names}


def _numbers(group: h5py.Group, names: tuple[str, ...]) -> dict[str, NDArray[np.generic]]:
    return {n: _array(group[n]) for n in names}


def _array(dataset: h5py.Dataset) -> NDArray[np.generic]:
    array: NDArray[np.generic] = dataset[()]
    array.setflags(write=False)
    return array


def _read_steps(group: h5py.Group, order: tuple[str, ...]) -> Steps:
    # HDF5 lists names by alphabet; the schema's order is what people and exports use.
    parts = {
        part: {n: _array(group[part][n]) for n in sorted(group[part], key=order.index)}
        for part in (layout.PROPRIOCEPTION, layout.ACTION, layout.IMAGES, layout.AGE, layout.VALID)
    }
    return Steps(
        time_ns=_array(group[layout.TIME]),  # type: ignore[arg-type]  # the format fixes the number types
        proprioception=parts[layout.PROPRIOCEPTION],  # type: ignore[arg-type]
        action=parts[layout.ACTION],  # type: ignore[arg-type]
        images=parts[layout.IMAGES],  # type: ignore[arg-type]
        age_ns=parts[layout.AGE],  # type: ignore[arg-type]
        valid={n: v.astype(np.bool_) for n, v in parts[layout.VALID].items()},
    )


def _read_stream(group: h5py.Group, name: str, path: Path) -> AnyStream:
    clock = Clock(_attribute(group, "clock"))
    time_ns = _array(group[layout.TIME])
    receive = _array(group[layout.RECEIVE_TIME]) if layout.RECEIVE_TIME in group else None
    if layout.VALUES in group:
        return Stream(
            name=name,
            clock=clock,
            time_ns=time_ns,  # type: ignore[arg-type]
            receive_time_ns=receive,  # type: ignore[arg-type]
            values=_array(group[layout.VALUES]),
        )
    frames = group[layout.FRAMES]
    offsets = group[layout.OFFSETS][()]
    video = _read_track(group) if layout.PTS in group else None
    lead = video.lead_in + video.lead_out if video is not None else 0
    if len(offsets) != len(time_ns) + lead + 1 or int(offsets[-1]) != frames.shape[0]:
        raise EpisodeFormatError(
            f"{path.name}: /streams/{name} has {len(time_ns)} stamps, {len(offsets)} offsets and "
            f"{frames.shape[0]} bytes; these must fit together"
        )
    base = int(frames.id.get_offset() or 0)
    return FrameStream(
        name=name,
        clock=clock,
        time_ns=time_ns,  # type: ignore[arg-type]
        receive_time_ns=receive,  # type: ignore[arg-type]
        frames=FileFrames(path, name, base, offsets, group[layout.DIGESTS][()]),
        codec=_attribute(group, "codec"),
        height=int(group.attrs["height"]),
        width=int(group.attrs["width"]),
        pixel_format=_attribute(group, "pixel_format").rstrip("\0"),
        video=video,
    )


def _read_track(group: h5py.Group) -> VideoTrack:
    lead_in, lead_out = group.attrs.get(layout.LEAD, (0, 0))
    return VideoTrack(
        time_base=(int(group.attrs["time_base"][0]), int(group.attrs["time_base"][1])),
        pts=group[layout.PTS][()],
        keyframes=group[layout.KEYFRAMES][()].astype(np.bool_),
        extradata=group[layout.EXTRADATA][()].tobytes(),
        lead_in=int(lead_in),
        lead_out=int(lead_out),
    )


def verify_episode(path: Path) -> list[str]:
    """Re-read a whole episode and compare it with its digests.

    Returns:
        What differs, one line each; empty where everything is as it was written.
    """
    from .writer import camera_digest

    try:
        episode = read_episode(path)
        problems = []
        streams = {}
        for name, stream in episode.streams.items():
            if isinstance(stream, Stream):
                streams[name] = layout.stream_digest(
                    (name, str(stream.clock)), {layout.TIME: stream.time_ns, layout.VALUES: stream.values}
                )
                continue
            with _opened(path) as file:
                digests = file[layout.STREAMS][name][layout.DIGESTS][()]
            problems += _damaged_frames(stream)
            streams[name] = camera_digest(stream, digests)
        if layout.content_digest(streams) != episode.content_digest:
            problems.append(f"{path.name}: /streams do not match content_digest")
        if _envelope(path, episode) != _stored_envelope(path):
            problems.append(f"{path.name}: steps, labels or texts do not match envelope_digest")
    except (EpisodeFormatError, GateError, OSError) as error:
        return [str(error)]
    return problems


def _damaged_frames(stream: FrameStream) -> list[str]:
    from ..workers import beat

    problems = []
    for i in range(len(stream.frames.sizes)):
        try:
            stream.frames.read(i)
        except EpisodeFormatError as error:
            problems.append(str(error))
        beat()
    return problems


def _stored_envelope(path: Path) -> str:
    with _opened(path) as file:
        return _attribute(file, "envelope_digest")


def _envelope(path: Path, episode: Episode) -> str:
    with _opened(path) as file:
        texts = {n: _text(file, n) for n in layout.TEXTS}
        ids = tuple(_attribute(file, n) for n in ("recording_id", "episode_id", "embodiment", "embodiment_digest"))
    tables = [layout.instructions_to_table(episode.instructions), layout.outcomes_to_table(episode.outcomes)]
    return layout.envelope_digest(episode.steps, tables, texts, ids)
