"""A TFDS dataset folder: which shards it has, and what its features.json says of each feature.

Source: tensorflow_datasets/core/proto/feature.proto, as JSON.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from ..errors import SourceError, VladataError
from ..gate import inside
from ..text import clip, printable
from ._json_files import read_json

__all__ = ["Dataset", "FeatureInfo", "Shard", "find_version", "is_version", "open_dataset", "read_features"]

MAX_DEPTH = 30
MAX_LEVELS = 3
"""A version folder is looked for this many folders below the one that was given."""
MAX_SHARDS = 100_000

_SHARD = re.compile(r"(?P<split>.+)\.tfrecord-(?P<index>\d{5,})-of-(?P<count>\d{5,})")
_BESIDE = re.compile(r"\.|LICEN[CS]E|README|NOTICE|CITATION", re.IGNORECASE)
"""Files that may lie beside the only folder of a dataset."""


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
    """Of one value; -1 where the length varies."""
    dtype: str = ""
    encoding: str = ""
    """Of a tensor: empty, `bytes` or `zlib`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One TFRecord file."""

    path: Path
    split: str
    """Empty where the file's name does not say."""
    declared: int | None
    """Records that dataset_info.json declares; None where it does not."""

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.path.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A version folder of a TFDS dataset, or one shard in it."""

    folder: Path
    name: str
    version: str
    shards: tuple[Shard, ...]
    missing: Mapping[str, str]
    """What dataset_info.json or the shards' names declare and is not there: split and sentence."""


def is_version(folder: Path) -> bool:
    """Tell whether a folder is a version of an RLDS dataset: its features.json has steps."""
    try:
        features = read_json(folder, "features.json")
        return "steps" in _children(features)
    except (VladataError, OSError):
        return False


def find_version(path: Path) -> Path | None:
    """The version folder that a path means: itself, its file's folder, or the only one below it.

    A folder that holds anything but one folder (and licence or readme) means nothing: other recordings may lie in it.
    """
    if path.is_file():
        is_shard = ".tfrecord" in path.name
        return path.parent if is_shard and is_version(path.parent) else None
    for _ in range(MAX_LEVELS + 1):
        if not path.is_dir():
            return None
        if (path / "features.json").is_file():
            return path if is_version(path) else None
        children = list(islice((p for p in path.iterdir() if not _BESIDE.match(p.name)), 2))
        if len(children) != 1:
            return None
        path = children[0]
    return None


def open_dataset(path: Path) -> Dataset:
    """List the shards of a dataset; their content is not read.

    Raises:
        SourceError: The path means no dataset, or its files are not TFRecord.
        GateError: A file leaves the folder.
    """
    folder = find_version(path)
    if folder is None:
        raise SourceError(
            f"{path.name}: not an RLDS dataset; it must be a version folder with a features.json that has steps, "
            "a folder with one such folder only, or a shard in one"
        )
    info = read_json(folder, "dataset_info.json") if (folder / "dataset_info.json").is_file() else {}
    file_format = info.get("fileFormat", "tfrecord")
    if file_format != "tfrecord":
        raise SourceError(f"{folder.name}: files are {printable(str(file_format))}; must be tfrecord")
    declared = _declared(info)
    names = [path.name] if path.is_file() else sorted(p.name for p in folder.iterdir() if ".tfrecord" in p.name)
    if len(names) > MAX_SHARDS:
        raise SourceError(f"{folder.name}: {len(names):,} shards; at most {MAX_SHARDS:,}")
    name = _word(info.get("name") or folder.parent.name)
    shards = tuple(_shard(folder, n, name, declared) for n in names)
    return Dataset(
        folder=folder,
        name=name,
        version=_word(info.get("version") or folder.name),
        shards=shards,
        missing={} if path.is_file() else _missing(shards, declared),
    )


def _shard(folder: Path, file_name: str, dataset: str, declared: Mapping[str, list[int]]) -> Shard:
    match = _SHARD.fullmatch(file_name)
    split = match["split"].removeprefix(f"{dataset}-") if match else ""
    counts = declared.get(split, [])
    index = int(match["index"]) if match else 0
    is_declared = match is not None and int(match["count"]) == len(counts) and index < len(counts)
    return Shard(path=inside(folder, file_name), split=split, declared=counts[index] if is_declared else None)


def _declared(info: Mapping[str, object]) -> dict[str, list[int]]:
    """Records of each shard, by split; shards of a damaged declaration are left out."""
    found: dict[str, list[int]] = {}
    splits = info.get("splits")
    for split in splits if isinstance(splits, list) else []:
        lengths = split.get("shardLengths") if isinstance(split, dict) else None
        if isinstance(lengths, list) and all(str(n).isdecimal() for n in lengths):
            found[_word(split.get("name"))] = [int(str(n)) for n in lengths]
    return found


def _missing(shards: tuple[Shard, ...], declared: Mapping[str, list[int]]) -> dict[str, str]:
    """Splits whose shards are not all there, each with a sentence."""
    expected = {split: len(counts) for split, counts in declared.items()}
    there: dict[str, set[int]] = {}
    for shard in shards:
        match = _SHARD.fullmatch(shard.name)
        if match:
            expected.setdefault(shard.split, int(match["count"]))
            there.setdefault(shard.split, set()).add(int(match["index"]))
    found = {}
    for split, count in expected.items():
        num_missing = count - len(there.get(split, set()) & set(range(min(count, MAX_SHARDS))))
        if num_missing:
            absent = (k for k in range(count) if k not in there.get(split, set()))
            shown = ", ".join(f"{k:05d}" for k, _ in zip(absent, range(5), strict=False))
            found[split] = f"{num_missing} of {count} shards are not there: {shown}{', …' if num_missing > 5 else ''}"
    return found


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
    found = {f.path: f for f in _leaves(steps, "", "steps/", 0)}
    for name, feature in top.items():
        if name != "steps":
            found.update({f.path: f for f in _leaves(feature, name, "", 0) if f.path not in found})
    return found


def _leaves(feature: Mapping[str, object], path: str, prefix: str, depth: int) -> Iterator[FeatureInfo]:
    if depth > MAX_DEPTH:
        raise SourceError(f"features.json: nested deeper than {MAX_DEPTH} levels")
    children = _children(feature)
    if children:
        for name, child in children.items():
            yield from _leaves(child, f"{path}/{name}" if path else name, prefix, depth + 1)
        return
    yield _leaf(feature, path, prefix)


def _leaf(feature: Mapping[str, object], path: str, prefix: str) -> FeatureInfo:
    kind: Literal["numeric", "image", "text", "other"] = "other"
    name = str(feature.get("pythonClassName") or feature.get("type") or "").rpartition(".")[2]
    lengths: tuple[int, ...] = ()
    inner = feature
    while (element := _element(inner)) is not None and len(lengths) < MAX_DEPTH:
        lengths = (*lengths, _int(_length(inner)))
        inner = element
    content = _content(inner)
    if "image" in inner or name == "Image":
        kind = "image"
    elif "text" in inner or name == "Text":
        kind = "text"
    elif "classLabel" in inner or name == "ClassLabel":
        kind, content = "numeric", {"dtype": "int64"}
    elif content.get("dtype") in {"string", "object", "str"}:
        kind = "text"
    elif "dtype" in content:
        kind = "numeric"
    encoding = str(content.get("encoding") or "none").lower()
    return FeatureInfo(
        path=path,
        key=prefix + path,
        is_step=prefix != "",
        type=name,
        kind=kind if not lengths or kind == "numeric" else "other",
        shape=lengths + _shape(content.get("shape")),
        dtype=str(content.get("dtype", "")).removeprefix("tf.").removeprefix("<dtype: '").removesuffix("'>"),
        encoding="" if encoding == "none" else encoding,
    )


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


def _word(value: object) -> str:
    """A name out of a file, fit for messages and metadata."""
    return clip(printable(str(value)), 200)


def _shown(names: Mapping[str, object]) -> str:
    return clip(printable(", ".join(names)), 200) or "no features"
