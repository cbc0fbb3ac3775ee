"""What a demonstration in HDF5 offers, for `vladata inspect`."""

import dataclasses
from collections import Counter
from collections.abc import Iterator

from ..errors import ImageError, SourceError
from ..images import probe
from ..text import clip, printable
from . import StreamInfo
from ._hdf5 import Hdf5File
from ._hdf5_images import MAX_ENCODED, encoded_length, image_problem, is_encoded, raw_size
from ._hdf5_labels import json_object
from ._hdf5_steps import Demo
from ._hdf5_types import DatasetInfo

__all__ = ["attribute_infos", "dataset_info", "step_infos"]

MIN_SIDE = 8
"""Pixels of a raw image's shorter side; smaller arrays are taken for numbers."""
MAX_SHOWN_TEXT = 2_000

_LABEL_WORDS = ("lang", "instruction", "task", "success", "outcome", "prompt")


def step_infos(demo: Demo) -> tuple[StreamInfo, ...]:
    """Describe the datasets of a demonstration whose rows are steps, then the texts among its attributes."""
    infos = demo.datasets()
    count = _num_steps(demo, infos)
    found = []
    for info in infos:
        stream = dataset_info(demo.file, info, demo.source(info.path))
        if info.rows != count or not info.shape:
            problem = f"{info.rows} rows; the steps are {count}"
            stream = _changed(stream, kind="text" if stream.kind == "text" else "other", problem=problem)
        elif stream.name.startswith("next_obs/"):
            stream = _changed(stream, kind="other", problem="what obs holds one step later")
        found.append(stream)
    return (*found, *attribute_infos(demo.file, demo.owners))


def _num_steps(demo: Demo, infos: list[DatasetInfo]) -> int:
    by_source = {demo.source(i.path): i.rows for i in infos if i.shape}
    for name in ("actions", "action"):
        if name in by_source:
            return by_source[name]
    return Counter(by_source.values()).most_common(1)[0][0] if by_source else 0


def _changed(info: StreamInfo, *, kind: str, problem: str) -> StreamInfo:
    return dataclasses.replace(info, kind=kind, problems=(*info.problems, problem))


def dataset_info(file: Hdf5File, info: DatasetInfo, name: str) -> StreamInfo:
    """Describe a dataset; of images the first is looked at."""
    kind, codec, problems = "other", "", []
    shape = info.shape[1:]
    size = raw_size(info)
    if info.rows and is_encoded(info) and not image_problem(info):
        image = _first_image(file, info)
        if image is not None:
            kind, codec, shape = "image", image[0], image[1]
        elif info.kind == "numeric":
            kind = "numeric"
    elif size is not None and min(size[:2]) >= MIN_SIDE:
        kind, shape = "image", size
        problem = image_problem(info)
        problems += [problem] if problem else []
    elif _is_float_image(info):
        problems.append(image_problem(info))
    elif info.kind in {"numeric", "text"}:
        kind = info.kind
    else:
        problems.append(f"{info.what} is not read")
    return StreamInfo(
        name=name,
        type="dataset",
        count=info.rows if info.shape else 1,
        shape=shape,
        dtype=info.dtype,
        kind=kind,
        codec=codec,
        problems=tuple(problems),
    )


def _is_float_image(info: DatasetInfo) -> bool:
    shape = info.shape[1:]
    is_picture = len(shape) == 3 and min(shape[:2]) >= MIN_SIDE and shape[2] in {1, 3, 4}
    return info.kind == "numeric" and is_picture and raw_size(info) is None


def _first_image(file: Hdf5File, info: DatasetInfo) -> tuple[str, tuple[int, int, int]] | None:
    try:
        data = file.item(info, 0, MAX_ENCODED) if info.kind == "bytes" else file.rows(info, range(1)).tobytes()
        found = probe(data[: encoded_length(data)])
    except (ImageError, SourceError):
        return None
    return found.codec, (found.height, found.width, found.channels)


def attribute_infos(file: Hdf5File, owners: tuple[str, ...]) -> Iterator[StreamInfo]:
    """Describe the attributes that can be labels: texts, flags, and texts inside JSON."""
    seen: set[tuple[str, str | None]] = set()
    for owner in owners:
        for name in file.attribute_names(owner):
            value = file.attribute(owner, name)
            if not isinstance(value, str | bool):
                continue
            fields: list[str | None] = [None]
            if isinstance(value, str):
                inside = json_object(value)
                fields = [*_label_fields(inside)] if inside else [None] if len(value) <= MAX_SHOWN_TEXT else []
            for field in fields:
                if (name, field) not in seen:
                    seen.add((name, field))
                    kind = "text" if isinstance(value, str) else "other"
                    yield StreamInfo(name=name, type="attribute", count=1, field=field, kind=kind)


def _label_fields(found: dict[str, object], prefix: str = "") -> Iterator[str]:
    """Dotted paths of texts that look like labels, at most two levels deep."""
    for key, value in found.items():
        path = f"{prefix}{key}"
        is_text = isinstance(value, str) or (
            isinstance(value, list) and len(value) > 0 and all(isinstance(w, str) for w in value)
        )
        if is_text and "." not in key and any(word in key.lower() for word in _LABEL_WORDS):
            yield clip(printable(path), 200)
        elif isinstance(value, dict) and not prefix:
            yield from _label_fields(value, f"{path}.")
