"""Write one episode: whole under its name, or not at all."""

import contextlib
import errno
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import xxhash
from numpy.typing import NDArray

from .. import images
from ..documents import canonical_json
from ..embodiment import Embodiment
from ..episode import Steps
from ..errors import EpisodeFormatError, GateError, ImageError, ImageLimitError
from ..recording import AnyStream, FrameStream, Instruction, Outcome, Stream, VideoTrack
from ..workers import beat
from . import layout

__all__ = ["EpisodeDraft", "hash_file", "make_folder", "replace_file", "sync_folder", "write_episode"]

CHUNK_BYTES = 1 << 20
COMPACT_BYTES = 60_000
"""Texts up to this size lie in the object header, which the format checksums; HDF5 allows 64 KiB."""
SPARE_BYTES = 4 << 20
"""Free space that must be left beyond the estimate: HDF5 ends the process where the disk fills up under it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EpisodeDraft:
    """Everything that goes into an episode file."""

    episode_id: str
    recording_id: str
    embodiment: Embodiment
    streams: Mapping[str, AnyStream]
    steps: Steps
    instructions: tuple[Instruction, ...]
    outcomes: tuple[Outcome, ...]
    metadata: Mapping[str, str]
    provenance: Mapping[str, object]


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power loss."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents; their names are on the disk when this returns."""
    missing = [f for f in (folder, *folder.parents) if not f.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in reversed(missing):
        sync_folder(made.parent)


@contextlib.contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Give a temporary path in the same folder; what is written there appears under `path` whole, or not at all.

    On leaving: fsync, rename, fsync of the folder; on any exception, Ctrl+C included, the temporary file is removed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        _to_disk(temporary)
        temporary.rename(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def hash_file(path: Path) -> tuple[int, str]:
    """Size and SHA-256 of a file, with a sign of life for each block: gigabytes take longer than a stall may."""
    sha, size = hashlib.sha256(), 0
    buffer = memoryview(bytearray(CHUNK_BYTES))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            sha.update(buffer[:count])
            size += count
            beat()
    return size, sha.hexdigest()


def _to_disk(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_episode(path: Path, draft: EpisodeDraft) -> tuple[int, str]:
    """Write an episode at `path`; it exists under that name only when complete, re-read and on the disk.

    Returns:
        Size and SHA-256 of the file.

    Raises:
        EpisodeFormatError: What was re-read differs from what was written.
        OSError: The disk is full, or can't be written.
    """
    make_folder(path.parent)
    _require_space(path.parent, _estimate(draft))
    with replace_file(path) as temporary:
        with _os_errors(path):
            _write(temporary, draft)
        # Reading back is part of writing: only what the disk's cache gives again is committed. The disk needs no core
        # and the hash no interpreter lock, so all three go on at once; the rename waits for them.
        from .reader import verify_episode

        with ThreadPoolExecutor(2) as threads:
            synced = threads.submit(_to_disk, temporary)
            hashed = threads.submit(hash_file, temporary)
            problems = verify_episode(temporary)
        if problems:
            raise EpisodeFormatError(f"{path.name}: written data reads back differently: {problems[0]}")
        synced.result()
    return hashed.result()


@contextlib.contextmanager
def _os_errors(path: Path) -> Iterator[None]:
    """HDF5 tells of a disk that takes no more by a RuntimeError where it closes a file, the number in its text."""
    try:
        yield
    except RuntimeError as error:
        number = re.search(r"errno = (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error


def _estimate(draft: EpisodeDraft) -> int:
    total = 0
    for stream in draft.streams.values():
        if isinstance(stream, FrameStream):
            total += int(stream.frames.sizes.sum()) + 40 * len(stream.frames.sizes)
        else:
            total += stream.values.nbytes + 16 * len(stream.time_ns)
    return total + 64 * len(draft.steps) * (len(draft.streams) + 1)


def _require_space(folder: Path, needed: int) -> None:
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    if free < needed + SPARE_BYTES:
        raise OSError(
            errno.ENOSPC, f"an episode needs {needed + SPARE_BYTES:,} bytes, the disk has {free:,} left", str(folder)
        )


def _write(path: Path, draft: EpisodeDraft) -> None:
    with h5py.File(path, "w", libver=("v110", "v110"), track_order=False) as file:
        digests = _write_streams(file, path, draft.streams)
        content = layout.content_digest(digests)
        texts = {
            layout.EMBODIMENT: draft.embodiment.model_dump_json(by_alias=True, exclude_defaults=True),
            layout.PROVENANCE: canonical_json(draft.provenance),
            layout.METADATA: canonical_json(dict(draft.metadata)),
        }
        for name, text in texts.items():
            _write_text(file, name, text)
        _write_steps(file.create_group(layout.STEPS), draft.steps)
        tables = [layout.instructions_to_table(draft.instructions), layout.outcomes_to_table(draft.outcomes)]
        for name, (strings, numbers) in zip((layout.INSTRUCTIONS, layout.OUTCOMES), tables, strict=True):
            group = file.create_group(name)
            for column, values in strings.items():
                _write_strings(group, column, values)
            for column, array in numbers.items():
                _write_numbers(group, column, array)
        ids = (draft.recording_id, draft.episode_id, draft.embodiment.name, draft.embodiment.digest)
        # The attributes come last: a file that has them all was written to its end.
        root: tuple[str | int, ...] = (
            layout.FORMAT,
            layout.FORMAT_VERSION,
            draft.recording_id,
            draft.episode_id,
            content,
            layout.envelope_digest(draft.steps, tables, texts, ids),
            draft.embodiment.name,
            draft.embodiment.digest,
        )
        for name, value in zip(layout.ATTRIBUTES, root, strict=True):
            _write_attribute(file, name, value)


def _write_attribute(target: h5py.Group, name: str, value: str | int | tuple[int, ...]) -> None:
    if isinstance(value, str):
        # Fixed length: variable-length strings lie in a heap that the format does not checksum.
        data = value.encode() or b"\0"
        target.attrs.create(name, np.bytes_(data), dtype=h5py.string_dtype("utf-8", len(data)))
    else:
        target.attrs.create(name, np.array(value, dtype=np.int64))


def _write_text(file: h5py.File, name: str, text: str) -> None:
    data = text.encode()
    dtype = h5py.string_dtype("utf-8", max(1, len(data)))
    if len(data) <= COMPACT_BYTES:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(h5py.h5d.COMPACT)
        plist.set_obj_track_times(False)
        space = h5py.h5s.create(h5py.h5s.SCALAR)
        h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(dtype), space, plist)
        file[name][()] = np.array(data, dtype=dtype)
    else:
        file.create_dataset(name, data=np.array(data, dtype=dtype), track_times=False)


def _write_strings(group: h5py.Group, name: str, values: list[str]) -> None:
    encoded = [v.encode("utf-8", "replace") for v in values]
    length = max([1, *map(len, encoded)])
    _write_numbers(group, name, np.array(encoded, dtype=h5py.string_dtype("utf-8", length)))


def _write_numbers(group: h5py.Group, name: str, array: NDArray[np.generic]) -> None:
    if array.size == 0:
        group.create_dataset(name, shape=array.shape, dtype=array.dtype, track_times=False)
        return
    row_bytes = max(1, array.nbytes // len(array))
    rows = max(1, min(len(array), CHUNK_BYTES // row_bytes))
    group.create_dataset(
        name,
        data=array,
        chunks=(rows, *array.shape[1:]),
        fletcher32=True,
        track_times=False,
    )


def _write_steps(group: h5py.Group, steps: Steps) -> None:
    _write_numbers(group, layout.TIME, steps.time_ns)
    parts: dict[str, Mapping[str, NDArray[np.generic]]] = {
        layout.PROPRIOCEPTION: steps.proprioception,
        layout.ACTION: steps.action,
        layout.IMAGES: steps.images,
        layout.AGE: steps.age_ns,
        layout.VALID: {n: v.astype(np.uint8) for n, v in steps.valid.items()},
    }
    for part, arrays in parts.items():
        target = group.create_group(part)
        for name, array in arrays.items():
            _write_numbers(target, name, array)
    for name, age in steps.age_ns.items():
        counted = age[steps.valid[name]]
        if len(counted):
            p50, p95 = np.percentile(counted, [50, 95])
            for attribute, value in (("p50_ns", p50), ("p95_ns", p95), ("max_ns", counted.max())):
                _write_attribute(group[layout.AGE][name], attribute, (round(float(value)),))


def _write_streams(file: h5py.File, path: Path, streams: Mapping[str, AnyStream]) -> dict[str, str]:
    """Write all streams; digest of each by name."""
    root = file.create_group(layout.STREAMS)
    digests = {}
    cameras: dict[str, FrameStream] = {}
    for name, stream in streams.items():
        group = root.create_group(name)
        _write_attribute(group, "clock", str(stream.clock))
        _write_numbers(group, layout.TIME, stream.time_ns)
        if stream.receive_time_ns is not None:
            _write_numbers(group, layout.RECEIVE_TIME, stream.receive_time_ns)
        if isinstance(stream, Stream):
            _write_numbers(group, layout.VALUES, stream.values)
            digests[name] = layout.stream_digest(
                (name, str(stream.clock)), {layout.TIME: stream.time_ns, layout.VALUES: stream.values}
            )
        else:
            _describe_camera(group, stream)
            cameras[name] = stream
    offsets = {n: np.concatenate([[0], np.cumsum(s.frames.sizes)]).astype(np.uint64) for n, s in cameras.items()}
    places = {n: _allocate(root[n], int(offsets[n][-1])) for n in cameras}
    file.flush()
    frame_digests = _write_frames(path, cameras, offsets, places)
    for name, camera in cameras.items():
        _write_numbers(root[name], layout.OFFSETS, offsets[name])
        _write_numbers(root[name], layout.DIGESTS, frame_digests[name])
        digests[name] = camera_digest(camera, frame_digests[name])
    return digests


def camera_digest(stream: FrameStream, digests: NDArray[np.uint64]) -> str:
    """Digest of a camera's stream, from the digests of its frames."""
    facts = [stream.name, str(stream.clock), stream.codec, str(stream.height), str(stream.width)]
    arrays: dict[str, NDArray[np.generic] | None] = {layout.TIME: stream.time_ns, layout.DIGESTS: digests}
    if stream.video is not None:
        facts += [stream.pixel_format, *map(str, stream.video.time_base)]
        facts += [str(n) for n in _lead(stream.video)]
        arrays |= {
            layout.PTS: stream.video.pts,
            layout.KEYFRAMES: stream.video.keyframes.astype(np.uint8),
            layout.EXTRADATA: np.frombuffer(stream.video.extradata, dtype=np.uint8),
        }
    return layout.stream_digest(facts, arrays)


def _lead(video: VideoTrack) -> tuple[int, ...]:
    """Frames that only serve decoding, before and after those that count; empty where there are none."""
    return (video.lead_in, video.lead_out) if video.lead_in or video.lead_out else ()


def _describe_camera(group: h5py.Group, stream: FrameStream) -> None:
    _write_attribute(group, "codec", stream.codec)
    _write_attribute(group, "height", stream.height)
    _write_attribute(group, "width", stream.width)
    _write_attribute(group, "pixel_format", stream.pixel_format)
    if stream.video is not None:
        _write_attribute(group, "time_base", stream.video.time_base)
        if _lead(stream.video):
            _write_attribute(group, layout.LEAD, _lead(stream.video))
        _write_numbers(group, layout.PTS, stream.video.pts)
        _write_numbers(group, layout.KEYFRAMES, stream.video.keyframes.astype(np.uint8))
        _write_numbers(group, layout.EXTRADATA, np.frombuffer(stream.video.extradata, dtype=np.uint8))


def _allocate(group: h5py.Group, size: int) -> int:
    """Create the contiguous dataset of all frames; its place in the file."""
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(h5py.h5d.CONTIGUOUS)
    plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plist.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    plist.set_obj_track_times(False)
    dataset = h5py.h5d.create(
        group.id, layout.FRAMES.encode(), h5py.h5t.NATIVE_UINT8, h5py.h5s.create_simple((size,)), plist
    )
    return int(dataset.get_offset() or 0) if size else 0


def _write_frames(
    path: Path, cameras: Mapping[str, FrameStream], offsets: Mapping[str, NDArray[np.uint64]], places: Mapping[str, int]
) -> dict[str, NDArray[np.uint64]]:
    """Put all frames at their places, in the order in which the source holds them; digest of each by camera.

    The bytes go past HDF5 straight into the file: their place is allocated and HDF5 never touches it again.
    """
    digests = {n: np.zeros(len(s.frames.sizes), dtype=np.uint64) for n, s in cameras.items()}
    if not cameras:
        return digests
    names = list(cameras)
    order = np.concatenate([cameras[n].frames.order for n in names])
    owner = np.repeat(np.arange(len(names)), [len(cameras[n].frames.order) for n in names])
    index = np.concatenate([np.arange(len(cameras[n].frames.order)) for n in names])
    end = max((places[n] + int(offsets[n][-1]) for n in names), default=0)
    fd = os.open(path, os.O_RDWR)
    try:
        if end:
            os.posix_fallocate(fd, 0, end)
        for k in np.argsort(order, kind="stable"):
            name, i = names[owner[k]], int(index[k])
            data = cameras[name].frames.read(i)
            start, stop = int(offsets[name][i]), int(offsets[name][i + 1])
            if len(data) != stop - start:
                raise EpisodeFormatError(f"frame {i} of {name} has {len(data)} bytes; {stop - start} were announced")
            if cameras[name].video is None:
                _refuse_bomb(data, f"frame {i} of {name}")
            digests[name][i] = xxhash.xxh3_64_intdigest(data)
            written = os.pwrite(fd, data, places[name] + start)
            if written != len(data):
                raise OSError(errno.ENOSPC, "the disk is full", str(path))
            beat()
    finally:
        os.close(fd)
    return digests


def _refuse_bomb(data: bytes | memoryview, where: str) -> None:
    """Refuse an image that would take gigabytes to decode; a damaged one is kept, for checks to find."""
    try:
        images.probe(data)
    except ImageLimitError as error:
        raise GateError(f"{where}: {error}") from error
    except ImageError:
        return
