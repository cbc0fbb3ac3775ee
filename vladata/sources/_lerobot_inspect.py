"""What a LeRobot v2 dataset offers, for `vladata inspect`."""

from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError, VladataError
from ..gate import inside
from ..text import printable
from ..units import Clock
from ..video import open_video
from . import Inspection, Place, StreamInfo
from ._first_image import first_image
from ._lerobot_meta import FeatureInfo, Meta, episode_index
from ._lerobot_rows import Rows, row_times

__all__ = ["inspect_dataset"]

Int64Array = NDArray[np.int64]
_MAX_PROBLEMS = 20


def inspect_dataset(meta: Meta, found: Sequence[Place]) -> Inspection:
    """Describe a dataset by its declarations and its first readable episode.

    Args:
        meta: Its declarations.
        found: Its episodes.

    Raises:
        SourceError: No episode can be read.
        GateError: A path leaves the dataset.
    """
    problems = _dataset_problems(meta, found)
    keys = [k for k, f in meta.features.items() if f.dtype == "video"]
    for place in sorted(found, key=lambda p: _num_missing(meta, episode_index(p.name), keys) > 0):
        name = meta.data_name(episode_index(place.name))
        with ExitStack() as stack:
            try:
                rows = Rows(meta.file(name), name)
                stack.callback(rows.close)
                clock, time_ns, notes = row_times(rows, meta.fps, place.name)
            except VladataError as error:
                problems.append(str(error))
                continue
            streams = tuple(
                _stream_info(meta, rows, place, key, (clock, time_ns))
                for key in dict.fromkeys((*meta.features, *rows.columns))
            )
        return Inspection(
            source="lerobot_v2",
            places=tuple(found),
            looked_at=place.name,
            streams=streams,
            rate_hz=meta.fps,
            facts=(
                ("codebase_version", meta.version),
                ("robot_type", meta.robot_type),
                ("tasks", str(len(meta.tasks))),
                *((k, str(n)) for k, n in meta.totals.items()),
            ),
            problems=(*problems[:_MAX_PROBLEMS], *notes),
        )
    raise SourceError(f"{meta.root.name}: no episode can be read: {problems[0]}")


def _dataset_problems(meta: Meta, found: Sequence[Place]) -> list[str]:
    problems = []
    declared = meta.totals.get("total_episodes")
    if declared is not None and declared != len(found):
        problems.append(f"info.json declares {declared} episodes; there are {len(found)}")
    keys = [k for k, f in meta.features.items() if f.dtype == "video"]
    for key in (None, *keys):
        names = [
            meta.data_name(i) if key is None else meta.video_name(i, key)
            for i in (episode_index(p.name) for p in found)
        ]
        absent = [n for n in names if not inside(meta.root, n).is_file()]
        if absent:
            what = "parquet files" if key is None else f"videos of {printable(key)}"
            problems.append(f"{len(absent)} of {len(found)} {what} are not there, first {absent[0]}")
    return problems


def _num_missing(meta: Meta, index: int, keys: Sequence[str]) -> int:
    names = [meta.data_name(index), *(meta.video_name(index, key) for key in keys)]
    return sum(not inside(meta.root, name).is_file() for name in names)


def _stream_info(meta: Meta, rows: Rows, place: Place, key: str, times: tuple[Clock, Int64Array]) -> StreamInfo:
    feature = meta.features.get(key, FeatureInfo(dtype="", shape=(), names=(), codec=""))
    kind, codec, shape, count = "numeric", "", feature.shape, rows.count
    problems: list[str] = []
    try:
        if feature.dtype == "video" and key not in rows.columns:
            kind, codec = "video", feature.codec
            name = meta.video_name(episode_index(place.name), key)
            with open_video(meta.file(name)) as video:
                codec, count, shape = video.codec, video.num_frames, (video.height, video.width, 3)
        elif feature.dtype == "image" or "binary" in rows.type_of(key):
            kind = "image"
            image = first_image(rows.images(key), key)
            codec, shape = image.codec, (image.height, image.width, image.channels)
        elif rows.texts(key) is not None:
            kind = "text"
        else:
            shape = rows.numbers(key)[0].shape[1:]
    except VladataError as error:
        problems.append(str(error))
        kind = kind if kind != "numeric" else "other"
    except KeyError:
        problems.append("declared in info.json; there is no such column")
        kind, count = "other", 0
    return StreamInfo(
        name=key,
        type=feature.dtype or "column",
        count=count,
        shape=shape,
        dtype=rows.type_of(key) if key in rows.columns else "",
        kind=kind,
        codec=codec,
        element_names=() if kind in {"image", "video"} else feature.names,
        clock=times[0],
        time_ns=times[1],
        problems=tuple(problems),
    )
