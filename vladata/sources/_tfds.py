"""A TFDS dataset folder: which shards it has, and which of them are not there.

Source: https://www.tensorflow.org/datasets/external_tfrecord, section Directory structure.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ..errors import SourceError
from ..gate import inside
from ..text import clip, printable
from ._json_files import read_json
from ._tfds_features import FeatureInfo, has_steps, read_features

__all__ = ["Dataset", "Shard", "claims", "open_dataset"]

MAX_LEVELS = 3
"""A version folder is looked for this many folders below the one that was given."""
MAX_SHARDS = 100_000

_FORMATS = r"tfrecord|array_record|riegeli|bagz"
_SHARD = re.compile(
    rf"(?P<split>.+)\.(?P<format>{_FORMATS})-(?P<index>\d{{5,18}})(?:-of-(?P<count>\d{{5,18}}))?"
    rf"|(?P<split2>.+)-(?P<index2>\d{{5,18}})-of-(?P<count2>\d{{5,18}})\.(?P<format2>{_FORMATS})"
)
"""The usual name of a shard, whose number of shards may be left out, and the one with the format at its end."""
_BESIDE = re.compile(r"\.|LICEN[CS]E|README|NOTICE|CITATION", re.IGNORECASE)
"""Files that may lie beside the only folder of a dataset."""


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
    features: Mapping[str, FeatureInfo]
    """What features.json declares, by path."""
    name: str
    version: str
    shards: tuple[Shard, ...]
    missing: Mapping[str, str]
    """What dataset_info.json or the shards' names declare and is not there: split and sentence."""
    config: str = ""
    """Name of the dataset's configuration; empty where it has none."""
    ignored: tuple[str, ...] = ()
    """Files whose names are nearly those of shards, such as downloads that were cut off."""


def claims(path: Path) -> bool:
    """Tell whether a path is a TFDS dataset by its features.json or the names of its files; it may not be readable."""
    return _folder_of(path) is not None


def _folder_of(path: Path) -> Path | None:
    """The version folder that a path means: itself, its file's folder, or the only one below it.

    A folder that holds anything but one folder (and licence or readme) means nothing: other recordings may lie in it.
    """
    if path.is_file():
        is_shard = _SHARD.fullmatch(path.name) or path.name.endswith(".tfrecord")
        return path.parent if is_shard else None
    for _ in range(MAX_LEVELS + 1):
        if not path.is_dir():
            return None
        if has_steps(path) or any(_SHARD.fullmatch(p.name) for p in path.iterdir()):
            return path
        if (path / "features.json").is_file():
            return None
        children = list(islice((p for p in path.iterdir() if not _BESIDE.match(p.name)), 2))
        if len(children) != 1:
            return None
        path = children[0]
    return None


def open_dataset(path: Path) -> Dataset:
    """List the shards of a dataset; their content is not read.

    Raises:
        SourceError: The path means no dataset, it has no features.json, or its files are not TFRecord.
        GateError: A file leaves the folder.
    """
    folder = _folder_of(path)
    if folder is None:
        raise SourceError(
            f"{path.name}: not an RLDS dataset; it must be a version folder with a features.json that has steps, "
            "a folder with one such folder only, or a shard in one"
        )
    if not (folder / "features.json").is_file():
        raise SourceError(
            f"{folder.name}: has no features.json beside its shards; TFDS writes it since version 4.0, and without it "
            "the types of the features are not known"
        )
    info = read_json(folder, "dataset_info.json") if (folder / "dataset_info.json").is_file() else {}
    all_names = [path.name] if path.is_file() else sorted(p.name for p in folder.iterdir())
    _check_format(folder, info, all_names)
    declared = _declared(info)
    names = [n for n in all_names if _SHARD.fullmatch(n) or n.endswith(".tfrecord")]
    if len(names) > MAX_SHARDS:
        raise SourceError(f"{folder.name}: {len(names):,} shards; at most {MAX_SHARDS:,}")
    name = _word(info.get("name") or folder.parent.name)
    shards = tuple(_shard(folder, n, name, declared) for n in names)
    return Dataset(
        folder=folder,
        features=read_features(folder),
        name=name,
        version=_word(info.get("version") or folder.name),
        shards=shards,
        missing={} if path.is_file() else _missing(shards, declared),
        config=_word(info.get("configName") or ""),
        ignored=tuple(_word(n) for n in all_names if ".tfrecord" in n and n not in names),
    )


def _check_format(folder: Path, info: Mapping[str, object], names: list[str]) -> None:
    """Refuse what is no TFRecord, as dataset_info.json says or the files are named."""
    found = {str(info.get("fileFormat", "tfrecord"))}
    for name in names:
        match = _SHARD.fullmatch(name)
        if match:
            found.add(match["format"] or match["format2"])
    others = sorted(found - {"tfrecord"})
    if others:
        raise SourceError(
            f"{folder.name}: files are {_word(others[0])}; must be tfrecord: convert them with tfds convert_format"
        )


def _shard(folder: Path, file_name: str, dataset: str, declared: Mapping[str, list[int]]) -> Shard:
    named = _named(file_name)
    if named is None:
        return Shard(path=inside(folder, file_name), split="", declared=None)
    split, index, count = named
    split = split.removeprefix(f"{dataset}-")
    counts = declared.get(split, [])
    is_declared = count in {None, len(counts)} and index < len(counts)
    return Shard(path=inside(folder, file_name), split=split, declared=counts[index] if is_declared else None)


def _named(file_name: str) -> tuple[str, int, int | None] | None:
    """Split (with the dataset's name before it), number and count of a shard, None where its name does not say it."""
    match = _SHARD.fullmatch(file_name)
    if match is None:
        return None
    split, index, count = (match[n] or match[f"{n}2"] for n in ("split", "index", "count"))
    return split, int(index), None if count is None else int(count)


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
        named = _named(shard.name)
        if named is not None:
            expected.setdefault(shard.split, named[2] or 0)
            there.setdefault(shard.split, set()).add(named[1])
    found = {}
    for split, count in expected.items():
        here = there.get(split, set())
        num_missing = count - sum(k < count for k in here)
        if num_missing:
            absent = (k for k in range(count) if k not in here)
            shown = ", ".join(f"{k:05d}" for k, _ in zip(absent, range(5), strict=False))
            found[split] = f"{num_missing} of {count} shards are not there: {shown}{', …' if num_missing > 5 else ''}"
    return found


def _word(value: object) -> str:
    """A name out of a file, fit for messages and metadata."""
    return clip(printable(str(value)), 200)
