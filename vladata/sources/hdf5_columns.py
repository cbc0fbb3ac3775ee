"""Any HDF5 file, by a mapping that names datasets: times, rates and episodes are said by its options.

Nothing is guessed: what no option and no name says is an error, or a nominal clock.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from ..errors import GateError, SchemaError, SourceError, VladataError
from ..recording import Recording, SourceFile
from ..text import clip, printable
from ..workers import beat
from . import Inspection, Place, Request, StreamInfo
from ._hdf5 import Hdf5File, open_hdf5
from ._hdf5_demos import layout_of
from ._hdf5_group import GroupReader, column_options
from ._hdf5_inspect import attribute_infos, dataset_info
from ._hdf5_times import NS_PER_UNIT, clock_problem, is_named_time
from ._hdf5_types import DatasetInfo, is_hdf5
from ._join import hash_file, recording_id

__all__ = ["IS_GENERAL", "SUFFIXES", "can_read", "inspect", "places", "read"]

SUFFIXES: tuple[str, ...] = (".hdf5",)
IS_GENERAL = True

MAX_SHOWN = 500
"""Datasets that `inspect` describes."""

_MAX_STARS = 3
_MAX_TIMES_BYTES = 8 * 2**20
_DIGITS = re.compile(r"\d+")


def can_read(path: Path) -> bool:
    """Tell whether a file is HDF5, and no episode of vladata; a damaged one too, so that `places` says what it has."""
    try:
        return layout_of(path) not in {"", "episode"}
    except (VladataError, OSError):
        return is_hdf5(path)


def places(path: Path) -> list[Place]:
    """The file is one unit; a mapping may say that it holds several episodes.

    Raises:
        SourceError: It holds no dataset.
        GateError: It is damaged or breaks a limit.
    """
    with open_hdf5(path) as file:
        if not file.datasets():
            raise SourceError(f"{file.name}: holds no dataset")
    return [Place(name=path.name, size=path.stat().st_size)]


def read(path: Path, place: Place, request: Request) -> Iterator[Recording]:
    """Read the episodes of a file, one after the other.

    An episode that lacks a required dataset is left out and named by the others.

    Raises:
        SourceError: A dataset or its stamps are missing, damaged, or don't fit; or no group fits the pattern.
        GateError: The file breaks a limit.
        SchemaError: An option is unknown or wrong.
    """
    options = column_options(request)
    if place.name != path.name:
        raise SourceError(f"{printable(place.name)}: no such place in {printable(path.name)}, which is one")
    with open_hdf5(path) as file:
        groups = _matching(file, options.episodes) if options.episodes else [""]
        readers = {g: GroupReader(file, g, request, options) for g in groups}
        broken = {g: p for g, r in readers.items() if options.episodes and (p := r.problem())}
        if len(broken) == len(groups):
            raise SourceError(f"{file.name}: no episode of {len(groups)} can be read: {next(iter(broken.values()))}")
        lost = [f"{len(broken)} of {len(groups)} episodes of the file are left out: {_shown(list(broken.values()))}"]
        names = _place_names(path.name, groups)
        whole = None if options.episodes else hash_file(path, path.name)
        for group, reader in readers.items():
            if group in broken:
                continue
            file.forget()
            yield from _recording(reader, names[group], whole, lost if broken else [])


def _recording(reader: GroupReader, name: str, whole: SourceFile | None, lost: list[str]) -> Iterator[Recording]:
    with ExitStack() as stack:
        streams = reader.streams(stack)
        instructions, outcomes = reader.labels(streams)
        if whole is None:
            size, digest = reader.digest()
            source_file = SourceFile(name=name, size=size, sha256=digest)
        else:
            source_file = whole
        yield Recording(
            recording_id=recording_id("hdf5_columns", name, [source_file.sha256]),
            source="hdf5_columns",
            place=name,
            files=(source_file,),
            streams=streams,
            is_stepped=reader.is_stepped,
            instructions=instructions,
            outcomes=outcomes,
            notes=(*reader.notes, *reader.left_out(), *lost),
            is_lossy=bool(lost),
        )


def _matching(file: Hdf5File, pattern: str) -> list[str]:
    """Groups that fit a pattern, `*` for any text within a name; numbers in names in numeric order.

    Raises:
        SchemaError: The pattern has too many stars.
        SourceError: No group fits.
    """
    found = [""]
    for part in pattern.split("/"):
        if part.count("*") > _MAX_STARS:
            raise SchemaError(f"options.episodes has {part.count('*')} stars in a name; must have at most {_MAX_STARS}")
        fits = re.compile(".*".join(re.escape(p) for p in part.split("*")), re.DOTALL)
        beat()
        found = [
            f"{group}/{name}".lstrip("/")
            for group in found
            for name in file.members(group)
            if fits.fullmatch(name) and file.kind(f"{group}/{name}") == "group"
        ]
    if not found:
        there = clip(printable(", ".join(file.members())), 200)
        raise SourceError(f"{file.name}: options.episodes {pattern!r} fits no group; at the root are {there}")
    return sorted(found, key=lambda g: _padded(g, 12))


def _padded(text: str, width: int) -> str:
    return _DIGITS.sub(lambda found: found[0].zfill(width), text)


def _place_names(file_name: str, groups: list[str]) -> dict[str, str]:
    """Names of places by group: numbers padded, so that they sort."""
    if groups == [""]:
        return {"": file_name}
    padded = {g: f"{file_name}#{_padded(g, 5)}" for g in groups}
    is_unique = len(set(padded.values())) == len(groups)
    return padded if is_unique else {g: f"{file_name}#{g}" for g in groups}


def _shown(texts: list[str]) -> str:
    return clip("; ".join(texts), 300)


def inspect(path: Path) -> Inspection:
    """Describe all datasets of a file, up to a limit, and say which look like stamps.

    Raises:
        SourceError: As `places`, or the file is damaged.
        GateError: The file breaks a limit.
    """
    found = places(path)
    with open_hdf5(path) as file:
        infos = file.datasets()
        streams: list[StreamInfo] = []
        problems = []
        for info in infos[:MAX_SHOWN]:
            beat()
            streams += _infos(file, info)
            problems += _time_problems(file, info)
        streams += attribute_infos(file, ("",))
    if len(infos) > MAX_SHOWN:
        problems.append(f"{len(infos) - MAX_SHOWN} of {len(infos)} datasets are not shown")
    return Inspection(
        source="hdf5_columns",
        places=tuple(found),
        looked_at=path.name,
        streams=tuple(streams),
        facts=(("datasets", str(len(infos))),),
        problems=tuple(problems),
    )


def _infos(file: Hdf5File, info: DatasetInfo) -> list[StreamInfo]:
    """A dataset; of records each field."""
    if info.kind != "record":
        return [dataset_info(file, info, info.path)]
    return [
        StreamInfo(name=info.path, type="record", count=info.rows, field=field, kind="other") for field in info.fields
    ]


def _time_problems(file: Hdf5File, info: DatasetInfo) -> list[str]:
    """What a mapping's author must know of a dataset that is named like stamps."""
    size = info.row_bytes * info.rows
    is_column = info.kind == "numeric" and len(info.shape) in {1, 2} and info.row_bytes == info.itemsize
    if not is_named_time(info.path) or not is_column or size > _MAX_TIMES_BYTES:
        return []
    try:
        problem = clock_problem(file.numbers(info.path).reshape(-1), NS_PER_UNIT["s"])
    except (SourceError, GateError) as error:
        return [str(error)]
    shown = printable(info.path)
    return [f"{shown} {problem}"] if problem else [f"{shown} is named like stamps: options.time can name it"]
