"""Which layout an HDF5 file has, and the demonstrations of files that hold many of them under /data."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import SourceError, VladataError
from ..text import clip, printable
from . import Place
from ._hdf5 import Hdf5File, open_hdf5
from ._hdf5_types import is_hdf5

__all__ = ["DemoKey", "DemoList", "Layout", "filter_keys", "find_demo", "has_layout", "layout_of", "list_demos"]

Layout = Literal["", "episode", "aloha", "libero", "robomimic", "flat", "other"]
"""`flat`: the arrays of all demonstrations side by side, `actions_0`, `actions_1`, …; empty: no HDF5."""

MAX_DEMOS = 1_000_000

_LIBERO = {"macros_image_convention", "problem_info", "bddl_file_name"}
_ROBOMIMIC = {"env_args", "total"}
_FLAT = re.compile(r"actions_(\d+)")
_DIGITS = re.compile(r"\d+")


def layout_of(path: Path) -> Layout:
    """Tell the layout of a file by what it holds; few of its objects are looked at.

    Raises:
        GateError: It is damaged, or what tells the layout reaches for other files.
    """
    if not is_hdf5(path):
        return ""
    with open_hdf5(path, only=()) as file:
        members = set(file.members())
        if file.text("", "format") == "vladata-episode":
            return "episode"
    if "data" in members:
        found = _layout_of_data(path)
        if found != "other":
            return found
    if any(_FLAT.fullmatch(n) for n in members):
        return "flat"
    if {"action", "observations"} <= members:
        with open_hdf5(path, only=("action", "observations/")) as file:
            is_vector = file.kind("action") == "dataset" and len(file.info("action").shape) == 2
            is_group = file.kind("observations") == "group"
        if is_vector and is_group and "qpos" in _names(path, "observations"):
            return "aloha"
    return "other"


def _layout_of_data(path: Path) -> Layout:
    with open_hdf5(path, only=("data/",)) as file:
        if file.kind("data") != "group":
            return "other"
        attributes = set(file.attribute_names("data"))
    if attributes & _LIBERO:
        return "libero"
    if attributes & _ROBOMIMIC:
        return "robomimic"
    first = min(_names(path, "data"), key=_natural, default="")
    return "robomimic" if first and "actions" in _names(path, f"data/{first}") else "other"


def has_layout(path: Path, *layouts: Layout) -> bool:
    """Whether a file has one of some layouts; a damaged one has none."""
    try:
        return layout_of(path) in layouts
    except (VladataError, OSError):
        return False


def _names(path: Path, group: str) -> list[str]:
    """Names in a group, none of which is opened."""
    with open_hdf5(path, only=(f"{group}/",) if group else ()) as file:
        return file.members(group)


def _natural(name: str) -> str:
    """Sorts numbers in names as numbers: demo_10 after demo_9."""
    return _DIGITS.sub(lambda found: found[0].zfill(12), name)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoKey:
    """One demonstration in a file of many."""

    place: str
    """Name of its place: the file's, and the key with its numbers padded, so that it sorts."""
    key: str
    """As the file has it: `demo_10`; of flat files the number."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DemoList:
    """The demonstrations of a file, in their order."""

    demos: tuple[DemoKey, ...]
    is_flat: bool

    def places(self, path: Path) -> list[Place]:
        """As places; the size of each is its share of the file.

        Raises:
            SourceError: There are none.
        """
        if not self.demos:
            raise SourceError(f"{printable(path.name)}: the group data holds no demonstrations")
        size = path.stat().st_size // len(self.demos)
        return [Place(name=d.place, size=size) for d in self.demos]


def list_demos(path: Path) -> DemoList:
    """List the demonstrations by their names alone.

    Raises:
        SourceError: The group of demonstrations is damaged, or there are too many.
        GateError: The file breaks a limit.
    """
    is_flat = layout_of(path) == "flat"
    names = _names(path, "" if is_flat else "data")
    keys = [found[1] for n in names if (found := _FLAT.fullmatch(n))] if is_flat else names
    if len(keys) > MAX_DEMOS:
        raise SourceError(f"{printable(path.name)}: {len(keys):,} demonstrations; must be at most {MAX_DEMOS:,}")
    keys.sort(key=_natural)
    padded = [_DIGITS.sub(lambda found: found[0].zfill(5), k) for k in keys]
    if len(set(padded)) < len(padded):  # demo_1 beside demo_01
        padded = keys
    prefix = f"{path.name}#demo_" if is_flat else f"{path.name}#"
    demos = tuple(DemoKey(place=f"{prefix}{p}", key=k) for k, p in zip(keys, padded, strict=True))
    return DemoList(demos=demos, is_flat=is_flat)


def find_demo(path: Path, place: str) -> tuple[DemoKey, bool]:
    """The demonstration of a place, and whether the file is flat.

    Raises:
        SourceError: There is no such place.
    """
    found = list_demos(path)
    demo = next((d for d in found.demos if d.place == place), None)
    if demo is None:
        raise SourceError(f"{printable(place)}: no such demonstration in {printable(path.name)}")
    return demo, found.is_flat


def filter_keys(file: Hdf5File, key: str) -> Iterator[str]:
    """Names of the masks that list a demonstration; the file must be opened with `mask`."""
    for info in file.datasets("mask"):
        if info.kind == "text" and key in file.texts(info.path)[0]:
            yield clip(printable(info.path.removeprefix("mask/")), 200)
