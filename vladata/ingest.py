"""Recordings become episodes: find them, read, synchronize and commit each in its own process."""

import contextlib
import functools
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from . import plugins, workers
from .commit import Committed, Target, commit
from .conversion import check_units, convert
from .embodiment import Embodiment
from .errors import SchemaError, SourceError, VladataError
from .gate import check_hdf5
from .labels import Labels
from .mapping import Mapping, SchemaFile
from .sources import Place, Request, Source
from .sync.split import split_recording

__all__ = ["Found", "IngestUnit", "Rejected", "discover", "ingest_unit", "source_module"]

MAX_DEPTH = 8
"""Folders are searched this deep for recordings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """An input that was not taken in."""

    input: str
    """Name of the file or folder."""
    place: str
    """Which demonstration in it; empty for all of it."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A recording that a source reads, with its demonstrations."""

    path: Path
    source: str
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """What lies under one argument of ingest."""

    found: tuple[Found, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    ignored: tuple[str, ...] = ()
    """Files that are no recordings, by name."""


class Module(Source, Protocol):
    """A source module."""

    __name__: str


def source_module(name: str) -> Module:
    """Load a source plugin.

    Raises:
        PluginNotFoundError: There is none of that name.
    """
    return cast(Module, plugins.load("sources", name))


def detect(path: Path, preferred: Collection[str] = ()) -> str | None:
    """Name of the source that reads a file or folder, by its content; None where none does.

    Preferred sources come first (those that there is a mapping for); then those of one format, before those that
    read anything of a kind.
    """
    known = plugins.names("sources")
    # Two rounds, so that the modules of formats that nobody has are imported only where they are needed.
    for group in ([n for n in known if n in preferred], [n for n in known if n not in preferred]):
        for name in sorted(group, key=lambda n: (source_module(n).IS_GENERAL, n)):
            if source_module(name).can_read(path):
                return name
    return None


def discover(path: Path, *, is_named: bool = True, preferred: Collection[str] = ()) -> Discovery:
    """Find recordings in a file or folder; runs in a worker, for it parses foreign files.

    Args:
        path: Where to look.
        is_named: The user named this very path: a file that is no recording is an error, not something to ignore.
        preferred: Sources that there is a mapping for.

    Raises:
        SourceError: There is no such path.
    """
    found: list[Found] = []
    rejected: list[Rejected] = []
    ignored: list[str] = []
    for item in _looked_at(path, preferred, is_named=is_named):
        if isinstance(item, Found):
            found.append(item)
        elif isinstance(item, Rejected):
            rejected.append(item)
        else:
            ignored.append(item)
    return Discovery(found=tuple(found), rejected=tuple(rejected), ignored=tuple(ignored))


def first_recording(path: Path, preferred: Collection[str] = ()) -> Found:
    """The first recording in a file or folder; what comes after it is not looked at. Runs in a worker, as `discover`.

    Raises:
        SourceError: There is none; with the reason of the first that was refused.
    """
    reason = f"{path}: holds no recording"
    for number, item in enumerate(i for i in _looked_at(path, preferred, is_named=True) if not isinstance(i, str)):
        if isinstance(item, Found):
            return item
        reason = reason if number else item.reason
    raise SourceError(reason)


def _looked_at(path: Path, preferred: Collection[str], *, is_named: bool) -> Iterator[Found | Rejected | str]:
    """What lies under a path, in sorted order; a text is the name of what is no recording."""
    if not path.exists() and is_named:
        raise SourceError(f"{path}: no such file or folder")
    for candidate, known in _candidates(path, 0, preferred):
        workers.beat()
        try:
            source = known or detect(candidate, preferred) or _by_suffix(candidate)
            if source is not None:
                places = tuple(source_module(source).places(candidate))
                yield Found(path=candidate, source=source, places=places)
            elif candidate.is_dir() or (candidate == path and is_named):
                raise SourceError(f"{candidate.name}: {_what_is(candidate)}; {_readable()}")
            else:
                yield candidate.relative_to(path).as_posix() if candidate != path else path.name
        except (VladataError, OSError) as error:
            yield Rejected(input=candidate.name or str(path), place="", reason=str(error))


def discover_all(sources: Sequence[Path], num_workers: int, preferred: Collection[str] = ()) -> Discovery:
    """Find all recordings, each argument in a worker of its own; a recording that is named twice comes once.

    A file in a folder that crashes, hangs or grows a worker costs itself: the rest of the folder is looked at again.
    """
    found: dict[Path, Found] = {}
    rejected: list[Rejected] = []
    ignored: list[str] = []
    for part in _discover_each(sources, num_workers, functools.partial(discover, preferred=preferred)):
        for item in part.found:
            found.setdefault(item.path.resolve(), item)
        rejected += part.rejected
        ignored += part.ignored
    rejected.sort(key=lambda r: (r.input, r.place))
    return Discovery(found=tuple(found.values()), rejected=tuple(rejected), ignored=tuple(ignored))


def _discover_each(paths: Sequence[Path], num_workers: int, look: Callable[..., Discovery]) -> list[Discovery]:
    parts: dict[int, list[Discovery]] = {}
    failed: list[workers.Failed] = []
    with contextlib.closing(workers.run(look, list(paths), workers=num_workers)) as outcomes:
        for outcome in outcomes:
            if isinstance(outcome, workers.Failed):
                failed.append(outcome)
            else:
                parts[outcome.index] = [outcome.result]
    for outcome in failed:
        parts[outcome.index] = _discover_rest(paths[outcome.index], outcome, num_workers, look)
    return [part for index in sorted(parts) for part in parts[index]]


def _discover_rest(
    path: Path, failed: workers.Failed, num_workers: int, look: Callable[..., Discovery]
) -> list[Discovery]:
    """What is left of a path whose worker failed: of a folder, all that does not fail again."""
    itself = Discovery(rejected=(Rejected(input=path.name or str(path), place="", reason=failed.reason),))
    if failed.kind == "error" or not path.is_dir():
        return [itself]
    children = _visible(path)
    parts = _discover_each(children, num_workers, functools.partial(look, is_named=False))
    return parts if any(p.rejected for p in parts) else [itself]


def _candidates(path: Path, depth: int, preferred: Collection[str]) -> Iterator[tuple[Path, str | None]]:
    """Folders that are recordings, with their source, or can't be searched, and all files, in sorted order."""
    source, children = None, None
    try:
        if path.is_dir():
            source = detect(path, preferred)
            children = _visible(path) if source is None else None
    except OSError:
        children = None
    if children is None or (not children and depth == 0) or depth > MAX_DEPTH:
        yield path, source
        return
    for child in children:
        yield from _candidates(child, depth + 1, preferred)


def _visible(folder: Path) -> list[Path]:
    return [c for c in sorted(folder.iterdir()) if not c.name.startswith(".")]


def _by_suffix(path: Path) -> str | None:
    """A file with a format's suffix and other content is damaged: its source says how."""
    if path.is_dir():
        return None
    return next((n for n in plugins.names("sources") if path.name.endswith(source_module(n).SUFFIXES)), None)


def _what_is(path: Path) -> str:
    if path.is_dir():
        return f"is nested deeper than {MAX_DEPTH} folders" if _visible(path) else "holds no recording"
    if not path.is_file():
        return "not a file"
    with path.open("rb") as file:
        head = file.read(16)
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        check_hdf5(path)
        return "an HDF5 file of no layout that is known here"
    return "not a recording" if head else "empty"


def _readable() -> str:
    return f"recordings of {', '.join(plugins.names('sources'))} can be read"


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestUnit:
    """One demonstration to take in."""

    path: Path
    source: str
    place: Place
    embodiment: Embodiment
    mapping: Mapping
    labels: Labels
    folder: Path
    """The dataset."""
    recordings: frozenset[str]
    """Ids of the recordings that the dataset has already."""

    @property
    def target(self) -> Target:
        """Where its episodes go."""
        return Target(embodiment=self.embodiment, mapping=self.mapping, folder=self.folder, recordings=self.recordings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What came of one unit."""

    committed: tuple[Committed, ...]
    rejected: tuple[Rejected, ...] = ()
    """Parts of a recording that holds several demonstrations; the others came in."""


def ingest_unit(unit: IngestUnit) -> Taken:
    """Read, synchronize and commit one demonstration; runs in a worker.

    Raises:
        SourceError: The recording can't be read. Also SyncError, GateError, EpisodeFormatError, OSError.
    """
    module = source_module(unit.source)
    request = Request(embodiment=unit.embodiment, mapping=unit.mapping)
    done: list[Committed] = []
    rejected: list[Rejected] = []
    for recording in module.read(unit.path, unit.place, request):
        parts = split_recording(recording, unit.mapping)
        for part in parts:
            given = unit.labels.of(part.place) or unit.labels.of(unit.place.name)
            try:
                done.append(commit(convert(part, unit.embodiment, unit.mapping), unit.target, given))
            except VladataError as error:
                if len(parts) == 1:
                    raise
                rejected.append(Rejected(input=unit.path.name, place=part.place, reason=str(error)))
    return Taken(committed=tuple(done), rejected=tuple(rejected))


def preferred_sources(schema: SchemaFile, given: Mapping | None) -> list[str]:
    """Sources that there is a mapping for: that of a given one, else those of the schema."""
    return [given.source] if given is not None else sorted(schema.mappings)


def mapping_for(schema: SchemaFile, source: str, given: Mapping | None, path: Path) -> Mapping:
    """The mapping for recordings of a source; a given one goes before the schema's.

    Raises:
        SchemaError: There is none, with the command that drafts one; or it declares units that don't fit.
    """
    if given is not None and given.source != source:
        raise SchemaError(f"{path.name} is a {source} recording; the mapping is for {given.source}")
    chosen = given if given is not None else schema.mapping_for(source)
    if chosen is None:
        raise SchemaError(
            f"{schema.name} has no mapping for {source} recordings; draft one: "
            f"vladata inspect {path} --schema {schema.name} --write-mapping mapping.yaml"
        )
    check_units(schema.embodiment, chosen)
    return chosen


def unused_labels(labels: Labels, places: Sequence[str]) -> list[str]:
    """Rows of a labels file that name no recording of this run."""
    known = set(places)
    return sorted(p for p in labels.by_place if p not in known and p.rpartition("#")[0] not in known)
