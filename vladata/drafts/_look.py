"""Look at a recording: its streams, and a bounded part of their values, read with a provisional schema."""

import dataclasses
import functools
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import workers
from ..embodiment import Dimension, Embodiment, Signal, StreamRule
from ..errors import SourceError, VladataError
from ..ingest import Module, first_recording, source_module
from ..mapping import Mapping, StreamMapping
from ..recording import Recording, Stream
from ..sources import Inspection, Place, Request, StreamInfo
from ..units import Kind, Unit
from ._plan import is_of_robot
from ._samples import Key, Sample, is_vector, unique
from ._text import label

__all__ = ["Look", "look_at", "take_samples"]

Option = bool | float | str

MAX_ROWS = 20_000
MIN_SAMPLES = 5
"""A stream of fewer says nothing."""
MAX_VALUES = 4_000_000
"""Of all streams together."""
MAX_BYTES = 400_000_000
"""Of all values of a demonstration; those beyond are not looked at."""
ENOUGH_ROWS = 400
MAX_PLACES = 8
"""Where a demonstration has few rows, so many are looked at."""
MAX_SINGLE = 32
"""Streams that are read one by one where they can't be read together."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """A recording with some of its values."""

    inspection: Inspection
    samples: dict[Key, Sample]
    problems: tuple[str, ...] = ()
    """Why values of some streams could not be looked at."""


def look_at(path: Path) -> Look:
    """Describe the (first) recording under a path and read a part of its values, in a worker.

    Raises:
        VladataError: There is none, or it is damaged.
    """
    if not path.exists():
        raise VladataError(f"{path}: no such file or folder")
    reason = f"{path}: no answer"
    for has_values in (True, False):  # where the values crash, hang or fill a worker, the streams may still be listed
        for outcome in workers.run(functools.partial(_look, has_values=has_values), [path], workers=1):
            if not isinstance(outcome, workers.Failed):
                return outcome.result if has_values else dataclasses.replace(outcome.result, problems=(reason,))
            if outcome.kind == "error":
                raise VladataError(outcome.reason)
            reason = outcome.reason
    raise VladataError(reason)


def _look(path: Path, *, has_values: bool) -> Look:
    first = first_recording(path)
    module = source_module(first.source)
    inspection = module.inspect(first.path)
    return take_samples(module, first.path, inspection) if has_values else Look(inspection=inspection, samples={})


def take_samples(module: Module, path: Path, inspection: Inspection) -> Look:
    """Read values of the streams that a draft would use: of the place that was looked at, of more where it is short.

    A stream that can't be read has no sample; why stands in the problems.
    """
    infos, problems = _affordable([i for i in unique(inspection.streams) if _is_wanted(i, inspection.source)])
    if not infos:
        return Look(inspection=inspection, samples={}, problems=tuple(problems))
    num_values = sum(i.shape[0] for i in infos)
    max_rows = max(1, min(MAX_ROWS, MAX_VALUES // num_values))
    reader = _Reader(module=module, path=path, rate_hz=inspection.rate_hz or 10.0)
    first = next((i for i, p in enumerate(inspection.places) if p.name == inspection.looked_at), 0)
    parts: list[dict[Key, Sample]] = []
    for place in inspection.places[first : first + MAX_PLACES]:
        workers.beat()
        try:
            found = reader.together(infos, place, max_rows)
        except VladataError as error:
            if parts:
                continue
            found, refused = reader.one_by_one(infos[:MAX_SINGLE], place, max_rows)
            problems += refused or [str(error)]
            if not found:
                break
        parts.append(found)
        if not all(s.is_stepped for s in found.values()) or _num_rows(parts) >= ENOUGH_ROWS:
            break
    return Look(inspection=inspection, samples=_joined(parts, max_rows), problems=tuple(problems))


def _is_wanted(info: StreamInfo, source: str) -> bool:
    return is_vector(info) and info.count >= MIN_SAMPLES and is_of_robot(info, source)


def _affordable(infos: Sequence[StreamInfo]) -> tuple[list[StreamInfo], list[str]]:
    """Streams whose values fit into memory together, the small ones first; in the recording's order."""
    room, kept, problems = MAX_BYTES, set[int](), []
    for i in sorted(range(len(infos)), key=lambda i: infos[i].count * infos[i].shape[0]):
        room -= 8 * infos[i].count * infos[i].shape[0]
        if room >= 0:
            kept.add(i)
        else:
            problems.append(f"{label(infos[i])}: {infos[i].count:,} samples are too many to look at their values")
    return [info for i, info in enumerate(infos) if i in kept], problems


def _num_rows(parts: Sequence[dict[Key, Sample]]) -> int:
    return sum(max((len(s.values) for s in part.values()), default=0) for part in parts)


def _joined(parts: Sequence[dict[Key, Sample]], max_rows: int) -> dict[Key, Sample]:
    """One sample per stream; streams that are not in every part keep those that they are in."""
    joined: dict[Key, Sample] = {}
    for key in dict.fromkeys(k for part in parts for k in part):
        mine = [(i, part[key]) for i, part in enumerate(parts) if key in part]
        width = mine[0][1].values.shape[1]
        mine = [(i, s) for i, s in mine if s.values.shape[1] == width]
        joined[key] = Sample(
            values=np.concatenate([s.values for _, s in mine])[:max_rows],
            time_ns=np.concatenate([s.time_ns for _, s in mine])[:max_rows],
            part=np.concatenate([np.full(len(s.values), i, dtype=np.int64) for i, s in mine])[:max_rows],
            is_stepped=mine[0][1].is_stepped,
        )
    return joined


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reader:
    """Reads streams as they are, without an embodiment of the user's."""

    module: Module
    path: Path
    rate_hz: float

    def together(self, infos: Sequence[StreamInfo], place: Place, max_rows: int) -> dict[Key, Sample]:
        """Read streams in one pass; errors as the source's `read`."""
        is_timed = True
        try:
            recording = self._first(infos, place, {})
        except SourceError as error:
            if "options.time_unit" not in str(error):
                raise
            # Values say something without their times too: rows go by their number.
            recording, is_timed = self._first(infos, place, {"time_unit": "s"}), False
        if recording is None:
            return {}
        names = {f"s{i}": (info.name, info.field) for i, info in enumerate(infos)}
        return {
            names[name]: _sample(stream, max_rows, is_stepped=recording.is_stepped or not is_timed)
            for name, stream in recording.streams.items()
            if isinstance(stream, Stream) and stream.values.dtype.kind in "fiub" and len(stream.values)
        }

    def one_by_one(
        self, infos: Sequence[StreamInfo], place: Place, max_rows: int
    ) -> tuple[dict[Key, Sample], list[str]]:
        """Read each stream alone, so that one that can't be read does not hide the others."""
        found: dict[Key, Sample] = {}
        problems = []
        for info in infos:
            workers.beat()
            try:
                found |= self.together([info], place, max_rows)
            except VladataError as error:
                problems.append(f"{label(info)}: {error}")
        return found, problems

    def _first(self, infos: Sequence[StreamInfo], place: Place, options: dict[str, Option]) -> Recording | None:
        """The first recording of a place, where the mapping splits nothing the only one."""
        with closing(_recordings(self.module, self.path, place, self._request(infos, options))) as recordings:
            return next(recordings, None)

    def _request(self, infos: Sequence[StreamInfo], options: dict[str, Option]) -> Request:
        signals, streams = [], {}
        for i, info in enumerate(infos):
            dimensions = tuple(Dimension(name=f"d{j}", kind=Kind.OTHER, unit=Unit.ONE) for j in range(info.shape[0]))
            signals.append(Signal(name=f"s{i}", dimensions=dimensions))
            has_names = len(info.element_names) == info.shape[0] == len(set(info.element_names))
            streams[f"s{i}"] = StreamMapping.model_validate(
                {
                    "from": info.name,
                    "field": info.field,
                    "names": info.element_names if has_names else None,
                    "join": "auto" if has_names else "index",
                }
            )
        embodiment = Embodiment(
            name="draft",
            rate_hz=self.rate_hz,
            proprioception=tuple(signals),
            streams={s.name: StreamRule(required=False) for s in signals},
        )
        return Request(
            embodiment=embodiment, mapping=Mapping(source=_name(self.module), streams=streams, options=options)
        )


def _name(module: Module) -> str:
    return module.__name__.rpartition(".")[2]


def _recordings(module: Module, path: Path, place: Place, request: Request) -> Generator[Recording, None, None]:
    """A generator that can be closed, whatever kind of iterator a source gives."""
    yield from module.read(path, place, request)


def _sample(stream: Stream, max_rows: int, *, is_stepped: bool) -> Sample:
    """The middle of a stream: where several run at their own rates, their middles lie in the same time."""
    count = len(stream.values)
    start = max(0, (count - max_rows) // 2)
    rows = slice(start, start + max_rows)
    time_ns = stream.time_ns if stream.receive_time_ns is None else stream.receive_time_ns
    with np.errstate(over="ignore"):
        values = stream.values[rows].astype(np.float64)
    return Sample(
        values=values,
        time_ns=np.array(time_ns[rows]),
        part=np.zeros(len(values), dtype=np.int64),
        is_stepped=is_stepped,
    )
