"""Replay buffers in zarr format 2, as UMI (`dataset.zarr.zip`) and Diffusion Policy write them.

Arrays in `data` share their first axis, `meta/episode_ends` says where episodes end. No time is recorded. UMI has no
action: it is made of the following states (`derived` in the mapping). Source: Chi et al., Universal Manipulation
Interface, arXiv:2402.10329.
"""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import workers
from ..errors import SchemaError, SourceError, VladataError
from ..mapping import StreamMapping
from ..recording import AnyStream, FrameStream, Outcome, Recording, SourceFile, Stream
from ..text import clip, printable
from ..units import Clock
from . import Inspection, Place, Request, StreamInfo
from ._join import join_columns, recording_id
from ._options import take_options
from ._row_labels import as_text, row_outcome
from ._spool import Spool, SpooledFrames
from ._umi_frames import StoredFrames, is_picture, kept_codec, spool_pngs
from ._zarr_v2 import ENDS, ZarrArray, ZarrStore, open_store
from ._zip_members import contains

__all__ = ["IS_GENERAL", "SUFFIXES", "can_read", "inspect", "places", "read"]

SUFFIXES: tuple[str, ...] = (".zarr.zip",)
IS_GENERAL = False

_OPTIONS: dict[str, bool | float | str] = {"rate_hz": 0.0}
_UMI_RATE = (60_000, 1_001)
"""Of the cameras that UMI records with: 59.94 Hz."""
_MAX_EPISODES = 1_000_000
_MAX_STEPS = 10_000_000
_HASH_BYTES = 2**24

Int64Array = NDArray[np.int64]


def can_read(path: Path) -> bool:
    """Tell whether a path is a zarr store with the ends of its episodes; also of format 3, which is then refused."""
    try:
        if path.is_dir():
            return any((path / ENDS / name).is_file() for name in (".zarray", "zarr.json"))
        return path.is_file() and contains(path, f"{ENDS}/.zarray")
    except OSError:
        return False


def places(path: Path) -> list[Place]:
    """List the episodes, `<store>#<number>`.

    Raises:
        SourceError: The store is damaged, or its episodes' ends are.
        GateError: It breaks a limit.
    """
    with open_store(path) as store:
        ends = _ends(store)
    total = path.stat().st_size if path.is_file() else 0
    lengths = np.diff(ends, prepend=0)
    return [
        Place(name=_place(path, k), size=int(total * int(n) // max(1, int(ends[-1])))) for k, n in enumerate(lengths)
    ]


def _place(path: Path, index: int) -> str:
    return f"{path.resolve().name}#{index:05d}"


def _ends(store: ZarrStore) -> Int64Array:
    """Where episodes end, [E]."""
    array = store.array(ENDS)
    if len(array.shape) != 1 or array.dtype.kind not in "iu" or not 0 < array.shape[0] <= _MAX_EPISODES:
        raise SourceError(
            f"{ENDS} is {array.dtype.name} {list(array.shape)}; must be integers, one for each of 1 to "
            f"{_MAX_EPISODES:,} episodes"
        )
    ends = array.rows(0, array.shape[0])
    if int(ends.max()) >= 2**40 or int(ends.min()) < 0 or (np.diff(ends.astype(np.int64)) < 0).any():
        raise SourceError(f"{ENDS} must go up from 0 on; it has {clip(str(ends.tolist()[:10]), 120)}")
    return ends.astype(np.int64)


def read(path: Path, place: Place, request: Request) -> Iterator[Recording]:
    """Read one episode.

    Raises:
        SourceError: Damaged data, with array and chunk; an episode without steps; or a mapping that does not fit.
        GateError: The store breaks a limit.
        MissingExtraError: Its compressor needs a package that is not installed.
    """
    name, _, number = place.name.rpartition("#")
    with ExitStack() as stack:
        store = stack.enter_context(open_store(path))
        store.prepare()
        ends = _ends(store)
        if name != path.resolve().name or not number.isdecimal() or int(number) >= len(ends):
            raise SourceError(f"{printable(place.name)}: no such episode in {printable(path.name)}")
        index = int(number)
        start, stop = int(ends[index - 1]) if index else 0, int(ends[index])
        if not 0 < stop - start <= _MAX_STEPS:
            raise SourceError(f"{place.name} has {stop - start} steps; must have 1 to {_MAX_STEPS:,}")
        reader = _EpisodeReader(store, (start, stop), request, stack)
        streams = reader.streams()
        outcomes = reader.outcome()
        size, digest = reader.digest()
        yield Recording(
            recording_id=recording_id("umi_zarr", place.name, [digest]),
            source="umi_zarr",
            place=place.name,
            files=(SourceFile(name=place.name, size=size, sha256=digest),),
            streams=streams,
            is_stepped=True,
            outcomes=outcomes,
            metadata={"store": path.resolve().name, "episode": str(index)},
            notes=(*reader.notes, *reader.left_out()),
        )


class _EpisodeReader:
    """Turns the mapped arrays of one episode into streams."""

    def __init__(self, store: ZarrStore, rows: tuple[int, int], request: Request, stack: ExitStack) -> None:
        self._store, self._request, self._stack = store, request, stack
        self._start, self._stop = rows
        self._names = store.names()
        self._arrays: dict[str, ZarrArray] = {}
        self._used: set[str] = set()
        self._encoded = 0
        self.notes: list[str] = []
        self._time_ns = self._times()

    def _times(self) -> Int64Array:
        wanted = float(take_options(self._request.mapping, _OPTIONS)["rate_hz"])
        steps = np.arange(self._stop - self._start, dtype=np.int64)
        rate = self._request.embodiment.rate_hz
        if wanted:
            if not 1e-3 <= wanted <= 1e6:
                raise SchemaError(f"options.rate_hz is {wanted:g}; must be from 0.001 to 1,000,000")
            shown, times = f"{wanted:g} Hz, options.rate_hz", np.round(steps * 1e9 / wanted).astype(np.int64)
        elif _is_umi(self._names):
            shown, wanted = "59.94 Hz, the rate of UMI's cameras", _UMI_RATE[0] / _UMI_RATE[1]
            times = (2 * steps * (10**9 * _UMI_RATE[1]) + _UMI_RATE[0]) // (2 * _UMI_RATE[0])
        else:
            shown, wanted = f"{rate:g} Hz, the rate of {self._request.embodiment.name}", rate
            times = np.round(steps * 1e9 / rate).astype(np.int64)
        self.notes.append(f"no times are recorded: stamps are step / {shown}")
        if abs(wanted - rate) > 0.01 * rate:
            self.notes.append(f"rows are {wanted:.4g} Hz, {self._request.embodiment.name} has {rate:g} Hz")
        return times

    def _array(self, name: str) -> ZarrArray:
        name = name.removeprefix("data/")
        if name not in self._arrays:
            self._arrays[name] = self._store.array(f"data/{name}")
        array = self._arrays[name]
        if array.shape[0] < self._stop:
            raise SourceError(f"data/{name} has {array.shape[0]} rows; the episode ends at {self._stop}")
        return array

    def streams(self) -> dict[str, AnyStream]:
        """The mapped streams, by name in the embodiment."""
        embodiment = self._request.embodiment
        cameras = {c.name for c in embodiment.cameras}
        mapping = self._request.mapping
        for label in (mapping.instruction, mapping.subtask):
            if label is not None:
                raise SourceError(
                    f"{printable(label.source)}: a replay buffer has no texts; --set instruction gives one"
                )
        found: dict[str, AnyStream] = {}
        for name, stream in mapping.streams.items():
            workers.beat()
            if stream.field is not None:
                raise SourceError(f"{name} maps field {printable(stream.field)!r}; arrays have no fields")
            parts = [p.strip().removeprefix("data/") for p in stream.source.split("+")]
            absent = [p for p in parts if p not in self._names]
            if absent and not embodiment.rule(name).required:
                self.notes.append(f"{name}: the store has no {printable(absent[0])}")
                continue
            found[name] = self._camera(name, stream.source) if name in cameras else self._signal(name, stream, parts)
        if not found:
            raise SourceError("the mapping maps no array that is there")
        return found

    def _signal(self, name: str, mapping: StreamMapping, parts: list[str]) -> Stream:
        values = []
        for part in parts:
            array = self._array(part)
            if prod(array.row_shape) > 100_000:
                raise SourceError(f"{name}: {part} has shape {list(array.row_shape)} in a row; must be a vector")
            values.append(array.rows(self._start, self._stop).reshape(self._stop - self._start, -1))
            self._used.add(part)
            self._note_unstored(name, array)
        joined, note = join_columns(np.concatenate(values, axis=1), (), self._request.embodiment.signal(name), mapping)
        self.notes.append(note)
        return Stream(name=name, clock=Clock.NOMINAL, time_ns=self._time_ns, values=joined)

    def _camera(self, name: str, source: str) -> FrameStream:
        array = self._array(source)
        if not is_picture(array):
            raise SourceError(
                f"{name}: {array.name} is {array.dtype.name} {list(array.shape)}; must be images [N, H, W, 1, 3 or 4]"
            )
        self._used.add(array.name.removeprefix("data/"))
        codec = kept_codec(array)
        frames: StoredFrames | SpooledFrames
        if codec:
            frames = StoredFrames(array, self._start, self._stop, self._encoded)
        else:
            codec = "png"
            spool = Spool()
            self._stack.callback(spool.close)
            self.notes.append(f"{name}: {spool_pngs(array, self._start, self._stop, spool)}")
            frames = spool.frames(first_order=self._encoded)
        self._encoded += int(frames.sizes.sum())
        self._note_unstored(name, array)
        return FrameStream(
            name=name,
            clock=Clock.NOMINAL,
            time_ns=self._time_ns,
            frames=frames,
            codec=codec,
            height=array.shape[1],
            width=array.shape[2],
            pixel_format="" if codec != "png" or kept_codec(array) else f"{array.dtype.name} {array.codec or 'raw'}",
        )

    def _note_unstored(self, name: str, array: ZarrArray) -> None:
        if array.unstored:
            self.notes.append(
                f"{name}: {len(array.unstored)} chunks of {array.name} are not stored, which stands for the fill value"
            )

    def outcome(self) -> tuple[Outcome, ...]:
        """The last value of an array, where it is mapped."""
        mapping = self._request.mapping.outcome
        if mapping is None:
            return ()
        last = self._array(mapping.source).rows(self._stop - 1, self._stop).ravel()
        if len(last) != 1:
            raise SourceError(f"{printable(mapping.source)} has {len(last)} values in a row; an outcome must be one")
        self._used.add(mapping.source.removeprefix("data/"))
        outcomes, notes = row_outcome(as_text(last[0].item()), mapping)
        self.notes += notes
        return outcomes

    def digest(self) -> tuple[int, str]:
        """Bytes and SHA-256 of the episode's rows of all arrays: of images as they are stored, else of the values."""
        sha, size = hashlib.sha256(), 0
        arrays = [a for a in map(self._readable, self._names) if a is not None and a.shape[0] >= self._stop]
        for array in arrays:
            sha.update(f"{array.name} {array.dtype.str} {list(array.row_shape)}\n".encode())
            for block in self._blocks(array):
                sha.update(len(block).to_bytes(8, "little"))
                sha.update(block)
                size += len(block)
        return size, sha.hexdigest()

    def _readable(self, name: str) -> ZarrArray | None:
        try:
            return self._arrays.get(name) or self._store.array(f"data/{name}")
        except VladataError as error:
            self.notes.append(f"not readable: {error}")
            return None

    def _blocks(self, array: ZarrArray) -> Iterator[bytes]:
        if array.is_one_row_a_chunk:
            yield from (array.stored(row) or b"" for row in range(self._start, self._stop))
            return
        step = max(1, _HASH_BYTES // max(1, prod(array.row_shape) * array.dtype.itemsize))
        for start in range(self._start, self._stop, step):
            yield array.rows(start, min(start + step, self._stop)).tobytes()

    def left_out(self) -> list[str]:
        """What of the store is not kept."""
        left = [n for n in self._names if n not in self._used]
        return [f"not kept: {clip(printable(', '.join(left)), 2000)}"] if left else []


def _is_umi(names: list[str]) -> bool:
    return "robot0_eef_pos" in names


def inspect(path: Path) -> Inspection:
    """Describe the arrays of a store.

    Raises:
        SourceError: As `places`.
        GateError: As `places`.
    """
    found = places(path)
    with open_store(path) as store:
        ends = _ends(store)
        names = store.names()
        streams = tuple(_stream_info(store, n, int(ends[0])) for n in names)
    lengths = np.diff(ends, prepend=0)
    problems = [f"{int((lengths == 0).sum())} episodes have no steps"] if (lengths == 0).any() else []
    if not any("action" in n for n in names):
        problems.append("there is no action; derived in the mapping makes one of the following states")
    if not names:
        problems.append("there are no arrays in data")
    return Inspection(
        source="umi_zarr",
        places=tuple(found),
        looked_at=found[0].name,
        streams=streams,
        rate_hz=round(_UMI_RATE[0] / _UMI_RATE[1], 2) if _is_umi(names) else None,
        facts=(("episodes", str(len(ends))), ("steps", str(int(ends[-1])))),
        problems=tuple(problems),
    )


def _stream_info(store: ZarrStore, name: str, count: int) -> StreamInfo:
    try:
        array = store.array(f"data/{name}")
    except VladataError as error:
        return StreamInfo(name=name, type="array", count=0, kind="other", problems=(str(error),))
    kind = "image" if is_picture(array) else "numeric"
    return StreamInfo(
        name=name,
        type="array",
        count=count,
        shape=array.row_shape,
        dtype=array.dtype.name,
        kind=kind,
        codec=array.codec.removeprefix("imagecodecs_") if kind == "image" else "",
    )
