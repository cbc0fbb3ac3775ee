"""What a LeRobot dataset offers, for `vladata inspect`."""

from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np
from numpy.typing import NDArray

from .. import workers
from ..errors import SourceError, VladataError
from ..text import clip, printable
from ..units import Clock
from ..video import open_video
from . import Inspection, Place, StreamInfo
from ._first_image import first_image
from ._lerobot_dataset import Dataset
from ._lerobot_info import episode_index
from ._lerobot_language import is_language
from ._lerobot_rows import Rows
from ._lerobot_signs import placeholders, shifted_state
from ._lerobot_time import row_times

__all__ = ["inspect_dataset"]

Int64Array = NDArray[np.int64]
_MAX_PROBLEMS = 20
_MAX_LOOKED_AT = 1000


def inspect_dataset(dataset: Dataset, found: Sequence[Place]) -> Inspection:
    """Describe a dataset by its declarations and its first readable episode; by these alone where there is none.

    Args:
        dataset: Its declarations.
        found: Its episodes.

    Raises:
        GateError: A path leaves the dataset.
    """
    info = dataset.info
    problems, absent = _dataset_problems(dataset, found)
    with_rows = [p for p in found if p.name not in absent[0]]
    looked_at, notes = "", list[str]()
    streams: tuple[StreamInfo, ...] = ()
    for place in sorted(with_rows, key=lambda p: p.name in absent[1]):
        with ExitStack() as stack:
            try:
                rows = Rows(dataset.rows(episode_index(place.name)))
                stack.callback(rows.close)
                clock, time_ns, notes = row_times(rows, info.fps, place.name)
            except VladataError as error:
                problems.append(str(error))
                continue
            look = _Look(dataset, rows, place, clock, time_ns)
            streams = tuple(look.stream(key) for key in dict.fromkeys((*info.features, *rows.columns)))
            problems += look.shifts()
            looked_at = place.name
            break
    else:
        problems = ["no episode can be read; what follows is as declared", *problems]
        looked_at = found[0].name
        streams = tuple(_declared(dataset, found, key) for key in info.features)
    return _inspection(dataset, found, looked_at, streams, (*problems[:_MAX_PROBLEMS], *notes))


def _inspection(
    dataset: Dataset, found: Sequence[Place], looked_at: str, streams: tuple[StreamInfo, ...], problems: tuple[str, ...]
) -> Inspection:
    info = dataset.info
    parts = ", ".join(
        f"{name} = {part.column}" + (f"[{part.start}:{part.stop}]" if part.stop else "")
        for name, part in info.slices.items()
    )
    return Inspection(
        source=dataset.source,
        places=tuple(found),
        looked_at=looked_at,
        streams=streams,
        rate_hz=info.fps,
        facts=(
            ("codebase_version", info.version),
            ("robot_type", info.robot_type),
            ("tasks", str(len(dataset.tasks))),
            *((k, str(n)) for k, n in info.totals.items() if k != "total_tasks"),
            *((("modality.json", clip(printable(parts), 1000)),) if parts else ()),
        ),
        problems=problems,
    )


def _declared(dataset: Dataset, found: Sequence[Place], key: str) -> StreamInfo:
    """What info.json says of a feature; of a video also what the first file that is there says."""
    feature = dataset.info.features[key]
    kind = feature.dtype if feature.dtype in {"video", "image"} else "text" if feature.dtype == "string" else "numeric"
    codec, shape, count = feature.codec, feature.shape, 0
    problems = ["as declared: no row can be read"]
    for place in found[:_MAX_LOOKED_AT] if feature.is_video else ():
        try:
            name = dataset.video(episode_index(place.name), key).name
            if not dataset.info.is_file(name):
                continue
            with open_video(dataset.info.file(name)) as video:
                codec, count, shape = video.codec, video.num_frames, (video.height, video.width, 3)
            problems = [f"out of {name}"]
        except VladataError as error:
            problems = [str(error)]
        break
    return StreamInfo(
        name=key,
        type=feature.dtype or "column",
        count=count,
        shape=shape,
        kind=kind,
        codec=codec,
        element_names=feature.names if kind == "numeric" else (),
        problems=tuple(problems),
    )


def _dataset_problems(dataset: Dataset, found: Sequence[Place]) -> tuple[list[str], tuple[set[str], set[str]]]:
    """What is odd about the dataset; and which episodes lack their rows, and which a video."""
    info = dataset.info
    lacking: tuple[set[str], set[str]] = (set(), set())
    problems = []
    for key in (None, *info.videos):
        absent, unsaid = [], []
        for place in found:
            workers.beat()
            index = episode_index(place.name)
            try:
                name = dataset.data_name(index) if key is None else dataset.video(index, key).name
            except SourceError as error:
                unsaid.append(str(error))
                lacking[key is not None].add(place.name)
                continue
            if not info.is_file(name):
                absent.append(name)
                lacking[key is not None].add(place.name)
        if absent:
            what = "parquet files" if key is None else f"videos of {printable(key)}"
            problems.append(f"{len(absent)} of {len(found)} {what} are not there, first {absent[0]}")
        problems += unsaid[:1]
    # First what costs data, then what only says something else.
    declared = info.totals.get("total_episodes")
    if declared is not None and declared != len(found):
        problems.append(f"info.json declares {declared} episodes; there are {len(found)}")
    lengths = [dataset.fact(episode_index(p.name), "length") for p in found]
    total = sum(n for n in lengths if isinstance(n, int))
    frames = info.totals.get("total_frames")
    if frames is not None and None not in lengths and frames != total:
        problems.append(f"info.json declares {frames} frames; {dataset.tables[0]} adds up to {total}")
    last = max((end for _, end in info.splits.values()), default=0)
    if last > len(found):
        problems.append(f"info.json declares splits up to episode {last}; there are {len(found)}")
    return [*problems, *dataset.problems], lacking


class _Look:
    """What one episode offers."""

    def __init__(self, dataset: Dataset, rows: Rows, place: Place, clock: Clock, time_ns: Int64Array) -> None:
        self._dataset, self._rows, self._clock, self._time_ns = dataset, rows, clock, time_ns
        self._index = episode_index(place.name)
        self._vectors: dict[str, NDArray[np.generic]] = {}

    def stream(self, key: str) -> StreamInfo:
        """What there is under one name."""
        feature = self._dataset.info.feature(key)
        is_column = key in self._rows.columns
        kind, codec, shape, count = "numeric", "", feature.shape, self._rows.count
        names: tuple[str, ...] = ()
        problems = [f"depth, not converted to metres: {feature.depth}"] if feature.depth else []
        try:
            if feature.is_video and not is_column:
                kind, codec = "video", feature.codec
                with open_video(self._dataset.info.file(self._dataset.video(self._index, key).name)) as video:
                    codec, shape = video.codec, (video.height, video.width, 3)
            elif not is_column:
                kind, count = "other", 0
                problems.append("declared in info.json; there is no such column")
            elif feature.dtype == "image" or self._rows.is_image(key):
                kind = "image"
                image = first_image(self._rows.images(key), key)
                codec, shape = image.codec, (image.height, image.width, image.channels)
            elif is_language(self._rows, key) or self._rows.texts(key) is not None:
                kind = "text"
            else:
                values = self._rows.numbers(key)[0]
                shape, names = values.shape[1:], feature.names
                vector = values.reshape(len(values), -1)
                self._vectors[key] = vector
                problems += [note for note in [placeholders(vector, names)] if note]
        except VladataError as error:
            problems.append(str(error))
            kind = kind if kind != "numeric" else "other"
        return StreamInfo(
            name=key,
            type=feature.dtype or "column",
            count=count,
            shape=shape,
            dtype=self._rows.type_of(key) if is_column else "",
            kind=kind,
            codec=codec,
            element_names=names,
            clock=self._clock,
            time_ns=self._time_ns,
            problems=tuple(problems),
        )

    def shifts(self) -> list[str]:
        """Actions that are states."""
        actions = [k for k in self._vectors if k.split(".")[0] in {"action", "actions"}]
        states = [k for k in self._vectors if k not in actions and self._vectors[k].shape[1] > 1]
        notes = [shifted_state(a, self._vectors[a], s, self._vectors[s]) for a in actions for s in states]
        return [note for note in notes if note]
