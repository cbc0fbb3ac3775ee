"""What the features.json of a TFDS dataset says of each feature.

Source: tensorflow_datasets/core/proto/feature.proto, as JSON; example_serializer.py, how features become keys.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import SourceError, VladataError
from ..gate import check_size, inside
from ..text import clip, printable
from ._json_files import read_json

__all__ = ["FeatureInfo", "class_names", "has_steps", "read_features"]

MAX_DEPTH = 30
MAX_NAMES_BYTES = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureInfo:
    """What features.json says of one feature."""

    path: str
    """As a mapping names it: relative to a step, or to the episode, with `/`."""
    key: str
    """Name in the stored examples."""
    is_step: bool
    type: str
    """Class in TFDS: Tensor, Scalar, Image, Text, …."""
    kind: Literal["numeric", "image", "text", "other"]
    shape: tuple[int, ...] = ()
    """Of one value; -1 where the length varies. Of encoded images: of the sequences around them only."""
    levels: int = 0
    """How many of the shape's dimensions are sequences around the feature, within a step."""
    dtype: str = ""
    encoding: str = ""
    """Of a tensor: empty, `bytes` or `zlib`."""

    @property
    def inner(self) -> tuple[int, ...]:
        """Shape of what the sequences hold."""
        return self.shape[self.levels :]

    @property
    def is_sized(self) -> bool:
        """Whether each value is stored with its own shape: more than one of its lengths varies."""
        return self.kind == "numeric" and sum(n < 0 for n in self.inner) > 1

    @property
    def is_pixels(self) -> bool:
        """Whether it looks like raw images: uint8 [height, width, channels], the channels 1, 3 or 4."""
        return self.dtype == "uint8" and len(self.inner) == 3 and self.inner[2] in {1, 3, 4}


def has_steps(folder: Path) -> bool:
    """Tell whether a folder is a version of an RLDS dataset: its features.json has steps."""
    try:
        return (folder / "features.json").is_file() and "steps" in _children(read_json(folder, "features.json"))
    except (VladataError, OSError):
        return False


def read_features(folder: Path) -> dict[str, FeatureInfo]:
    """Read features.json.

    Returns:
        Features by path: those of a step (`observation/state`), then those of the episode (`episode_metadata/…`).

    Raises:
        SourceError: The file is damaged or has no steps.
    """
    top = _children(read_json(folder, "features.json"))
    if "steps" not in top:
        raise SourceError(f"features.json has {_shown(top)}; an RLDS dataset must have steps")
    steps = _element(top["steps"])
    if steps is None:
        raise SourceError("features.json: steps is not a dataset or sequence of steps")
    found = {f.path: f for f in _leaves(steps, "", "steps/", (), 0)}
    for name, feature in top.items():
        if name != "steps":
            found.update({f.path: f for f in _leaves(feature, name, "", (), 0) if f.path not in found})
    return found


def _leaves(
    feature: Mapping[str, object], path: str, prefix: str, lengths: tuple[int, ...], depth: int
) -> Iterator[FeatureInfo]:
    if depth > MAX_DEPTH:
        raise SourceError(f"features.json: nested deeper than {MAX_DEPTH} levels")
    children = _children(feature)
    element = _element(feature)
    if children:
        for name, child in children.items():
            yield from _leaves(child, f"{path}/{name}" if path else name, prefix, lengths, depth + 1)
    elif element is not None:
        yield from _leaves(element, path, prefix, (*lengths, _int(_length(feature))), depth + 1)
    else:
        yield _leaf(feature, path, prefix, lengths)


def _leaf(feature: Mapping[str, object], path: str, prefix: str, lengths: tuple[int, ...]) -> FeatureInfo:
    kind: Literal["numeric", "image", "text", "other"] = "other"
    name = str(feature.get("pythonClassName") or feature.get("type") or "").rpartition(".")[2]
    content = _content(feature)
    shape, dtype = _shape(content.get("shape")), str(content.get("dtype", ""))
    if "video" in feature or name == "Video":
        kind, lengths, shape = "image", (*lengths, *(shape[:1] or (-1,))), ()
    elif "image" in feature or name == "Image":
        kind, shape = "image", ()
    elif "text" in feature or name == "Text":
        kind = "text"
    elif "classLabel" in feature or name == "ClassLabel":
        kind, dtype = "numeric", "int64"
    elif dtype in {"string", "object", "str"}:
        kind = "text"
    elif dtype:
        kind = "numeric"
    encoding = str(content.get("encoding") or "none").lower()
    return FeatureInfo(
        path=path,
        key=prefix + path,
        is_step=prefix != "",
        type=name,
        kind=kind,
        shape=lengths + shape,
        levels=len(lengths),
        dtype=dtype.removeprefix("tf.").removeprefix("<dtype: '").removesuffix("'>"),
        encoding="" if encoding == "none" else encoding,
    )


def class_names(folder: Path, info: FeatureInfo) -> tuple[str, ...]:
    """Names of the classes of a ClassLabel, out of the file that TFDS writes for them; empty where there is none.

    Raises:
        GateError: The file leaves the folder, or is too large.
    """
    if info.type != "ClassLabel":
        return ()
    path = inside(folder, f"{info.key.replace('/', '-')}.labels.txt")
    if not path.is_file():
        return ()
    check_size(path, MAX_NAMES_BYTES)
    lines = path.read_text("utf-8", "replace").split("\n")
    return tuple(line.strip() for line in lines if line.strip())


def _children(feature: Mapping[str, object]) -> dict[str, Mapping[str, object]]:
    """The features of a dictionary of features; empty where it is none."""
    inner = feature.get("featuresDict")
    if isinstance(inner, dict):
        inner = inner.get("features")
    else:
        element = _element(feature)
        # a sequence of a dictionary is stored as a dictionary of sequences; only the steps themselves are read so
        inner = None if element is not None else _legacy_children(feature)
    return {str(k): v for k, v in inner.items() if isinstance(v, dict)} if isinstance(inner, dict) else {}


def _legacy_children(feature: Mapping[str, object]) -> object:
    """Of the form before the protocol buffer: `type` and `content`."""
    return _plain(feature.get("content")) if str(feature.get("type", "")).endswith("FeaturesDict") else None


def _element(feature: Mapping[str, object]) -> Mapping[str, object] | None:
    """The feature that a sequence or dataset repeats; None where it is neither."""
    sequence = feature.get("sequence") or feature.get("dataset")
    if not isinstance(sequence, dict):
        is_legacy = str(feature.get("type", "")).endswith((".Sequence", ".Dataset"))
        sequence = _plain(feature.get("content")) if is_legacy else None
    element = sequence.get("feature") if isinstance(sequence, dict) else None
    return element if isinstance(element, dict) else None


def _length(feature: Mapping[str, object]) -> object:
    sequence = feature.get("sequence") or feature.get("dataset") or _plain(feature.get("content"))
    return sequence.get("length") if isinstance(sequence, dict) else None


def _content(feature: Mapping[str, object]) -> Mapping[str, object]:
    """Shape and dtype of a leaf, whatever it is stored under."""
    for name in ("tensor", "scalar", "image", "boundingBox", "audio", "video"):
        inner = feature.get(name)
        if isinstance(inner, dict):
            return inner
    json_feature = feature.get("jsonFeature")
    inner = _plain(json_feature.get("json") if isinstance(json_feature, dict) else feature.get("content"))
    return inner if isinstance(inner, dict) else feature


def _plain(value: object) -> object:
    """JSON that is stored as a text within JSON, as the value it means."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def _shape(value: object) -> tuple[int, ...]:
    dimensions = value.get("dimensions", []) if isinstance(value, dict) else value
    return tuple(_int(d) for d in dimensions) if isinstance(dimensions, list) else ()


def _int(value: object) -> int:
    """A length; JSON of a protocol buffer writes them as texts; -1 where it varies."""
    text = str(value)
    return int(text) if text.isdecimal() and len(text) < 18 else -1


def _shown(names: Mapping[str, object]) -> str:
    return clip(printable(", ".join(names)), 200) or "no features"
