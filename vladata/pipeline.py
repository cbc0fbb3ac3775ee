"""The whole way: ingest, validate, verify. Export joins in through its exporter. The only module that joins the others.

Everything foreign is parsed in worker processes: a unit that crashes, hangs or grows costs itself.
"""

import contextlib
import dataclasses
import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import workers
from .commit import Committed
from .errors import DatasetError, SchemaError, VladataError
from .gate import inside
from .ingest import (
    IngestUnit,
    Rejected,
    discover_all,
    first_recording,
    ingest_unit,
    mapping_for,
    preferred_sources,
    source_module,
    unused_labels,
)
from .labels import Labels
from .mapping import Mapping, SchemaFile
from .sources import Inspection
from .store.catalog import Entry
from .store.dataset import Dataset, hash_file
from .store.dataset_writer import writing
from .store.reader import verify_episode
from .validation import validate

__all__ = ["IngestOptions", "IngestPlan", "IngestResult", "ingest", "inspect", "plan_ingest", "validate", "verify"]

Progress = Callable[[int, int, str], None]
"""Called with how many are done, of how many, and the last one's name."""


def _quiet(done: int, total: int, name: str) -> None:
    """No progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestPlan:
    """What an ingest would read."""

    units: tuple[IngestUnit, ...]
    rejected: tuple[Rejected, ...]
    ignored: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestResult:
    """What an ingest did."""

    committed: tuple[Committed, ...]
    """Episodes that are in the dataset now, in the order of the sources; new ones and those that were there."""
    rejected: tuple[Rejected, ...]
    ignored: tuple[str, ...]
    problems: tuple[str, ...] = ()
    """Damaged files that were found in the dataset folder."""

    @property
    def num_new(self) -> int:
        """Episodes that were not there before."""
        return sum(c.is_new for c in self.committed)

    @property
    def is_lossy(self) -> bool:
        """True where something was rejected, damaged or only partly read."""
        return bool(self.rejected or self.problems or any(c.is_lossy for c in self.committed))


def _inspect(path: Path) -> Inspection:
    first = first_recording(path)
    return source_module(first.source).inspect(first.path)


def inspect(path: Path) -> Inspection:
    """Describe the (first) recording under a path.

    Raises:
        VladataError: There is none, or it is damaged.
    """
    if not path.exists():
        raise VladataError(f"{path}: no such file or folder")
    return workers.run_one(_inspect, path)


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestOptions:
    """How recordings are read."""

    schema: SchemaFile
    """The embodiment and its default mappings."""
    mapping: Mapping | None = None
    """Goes before the schema's default."""
    labels: Labels = field(default_factory=Labels)
    """What the recordings lack."""


def plan_ingest(sources: Sequence[Path], folder: Path, options: IngestOptions, *, num_workers: int = 1) -> IngestPlan:
    """Find what there is to take in, without reading values.

    Raises:
        SchemaError: No recording has a mapping, or a row of the labels names no recording, or several.
    """
    seen = discover_all(sources, num_workers, preferred_sources(options.schema, options.mapping))
    embodiment, labels = options.schema.embodiment, options.labels
    units, rejected, ignored = [], list(seen.rejected), list(seen.ignored)
    problem: SchemaError | None = None
    for item in seen.found:
        try:
            chosen = mapping_for(options.schema, item.source, options.mapping, item.path)
        except SchemaError as error:
            problem = problem or error
            if source_module(item.source).IS_GENERAL and item.path not in sources:
                # A stray table or HDF5 file in a folder of recordings: nobody said that it is one.
                ignored.append(item.path.name)
            else:
                rejected.append(Rejected(input=item.path.name, place="", reason=str(error)))
            continue
        units += [
            IngestUnit(
                path=item.path,
                source=item.source,
                place=place,
                embodiment=embodiment,
                mapping=chosen,
                labels=labels,
                folder=folder,
                recordings=frozenset(),
            )
            for place in item.places
        ]
    if problem is not None and not units:
        raise problem
    places = [u.place.name for u in units]
    unused = unused_labels(labels, places)
    if unused:
        raise SchemaError(f"labels for {unused[0]!r} name no recording; there are {_some(places)}")
    ambiguous = sorted(p for p in labels.by_place if places.count(p) > 1)
    if ambiguous:
        raise SchemaError(f"labels for {ambiguous[0]!r} fit {places.count(ambiguous[0])} recordings of that name")
    rejected.sort(key=lambda r: (r.input, r.place))
    return IngestPlan(units=tuple(units), rejected=tuple(rejected), ignored=tuple(ignored))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") or "none"


def ingest(
    sources: Sequence[Path],
    folder: Path,
    options: IngestOptions,
    *,
    num_workers: int = 1,
    progress: Progress = _quiet,
) -> IngestResult:
    """Take recordings into a dataset.

    Run again, it does only what is missing. Nothing unfinished is left behind, also on Ctrl+C.

    Args:
        sources: Files or folders.
        folder: The dataset; made where it does not exist.
        options: Schema, mapping and labels.
        num_workers: Processes; 0 reads in this one.
        progress: Called after each demonstration.

    Raises:
        SchemaError: No recording has a mapping, or a row of the labels names no recording, or several.
        DatasetError: The folder is no dataset, or is being written.
    """
    plan = plan_ingest(sources, folder, options, num_workers=num_workers)
    committed: dict[int, list[Committed]] = {}
    rejected = list(plan.rejected)
    with writing(folder) as writer:
        there = writer.entries
        known = frozenset(e.recording_id for e in there.values())
        units = [dataclasses.replace(u, recordings=known) for u in plan.units]
        # Closing ends the workers before the folder is swept and the manifest is written.
        with contextlib.closing(workers.run(ingest_unit, units, workers=num_workers)) as outcomes:
            for done, outcome in enumerate(outcomes, start=1):
                unit = units[outcome.index]
                if isinstance(outcome, workers.Failed):
                    if outcome.kind == "disk":
                        # Not the recording's fault: the next ones would fail too.
                        raise OSError(errno.ENOSPC, outcome.reason, str(folder))
                    rejected.append(Rejected(input=unit.path.name, place=unit.place.name, reason=outcome.reason))
                else:
                    # Two inputs of equal name and content are one episode, whichever of them wrote it.
                    committed[outcome.index] = [
                        dataclasses.replace(c, is_new=c.entry.episode_id not in there) for c in outcome.result.committed
                    ]
                    rejected += outcome.result.rejected
                    for item in committed[outcome.index]:
                        if item.is_new:
                            there[item.entry.episode_id] = item.entry
                            writer.committed(item.entry)
                progress(done, len(units), unit.place.name)
        rejected.sort(key=lambda r: (r.input, r.place))
        writer.reject([{"input": r.input, "place": r.place, "reason": r.reason} for r in rejected])
        problems = tuple(writer.problems)
    return IngestResult(
        committed=tuple(item for index in sorted(committed) for item in committed[index]),
        rejected=tuple(rejected),
        ignored=plan.ignored,
        problems=problems,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _EpisodeUnit:
    """One committed episode to look at."""

    folder: Path
    entry: Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyResult:
    """What verification of a dataset saw."""

    num_files: int
    num_bytes: int
    num_rows: int = 0
    """Rows of an export."""
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What could not be compared."""


def _verify_unit(unit: _EpisodeUnit) -> list[str]:
    path = inside(unit.folder, unit.entry.file)
    if not path.is_file():
        return [f"{unit.entry.file}: missing"]
    size, sha256 = hash_file(path)
    if size != unit.entry.num_bytes:
        return [f"{unit.entry.file}: {size:,} bytes; the manifest says {unit.entry.num_bytes:,}"]
    problems = [f"{unit.entry.file}: SHA-256 differs from the manifest's"] if sha256 != unit.entry.sha256 else []
    return problems + verify_episode(path)


def verify(dataset: Dataset, *, num_workers: int = 1, progress: Progress = _quiet) -> VerifyResult:
    """Re-read every file of a dataset and compare it with manifest and digests; edits don't matter."""
    units = [_EpisodeUnit(folder=dataset.path, entry=e) for e in dataset.all_entries]
    problems: dict[int, list[str]] = {}
    with contextlib.closing(workers.run(_verify_unit, units, workers=num_workers)) as outcomes:
        for done, outcome in enumerate(outcomes, start=1):
            entry = units[outcome.index].entry
            problems[outcome.index] = (
                [f"{entry.file}: {outcome.reason}"] if isinstance(outcome, workers.Failed) else outcome.result
            )
            progress(done, len(units), entry.place)
    listed = {e.file for e in dataset.all_entries}
    stray = sorted(
        p.relative_to(dataset.path).as_posix()
        for p in dataset.path.glob("episodes/*/*.h5")
        if p.relative_to(dataset.path).as_posix() not in listed
    )
    return VerifyResult(
        num_files=len(units),
        num_bytes=sum(e.num_bytes for e in dataset.all_entries),
        problems=(*(p for i in sorted(problems) for p in problems[i]), *(f"{s}: not in the manifest" for s in stray)),
    )


def dataset_of(path: Path) -> Dataset:
    """Open a dataset; an export or a recording is named as such.

    Raises:
        DatasetError: The folder is not a dataset.
    """
    try:
        return Dataset.open(path)
    except DatasetError as error:
        if (path / "action_tokenizer").is_dir():
            raise DatasetError(f"{path}: an export, not a dataset of episodes") from error
        raise


def is_export(folder: Path) -> bool:
    """Tell an export from a dataset of episodes."""
    return (folder / "action_tokenizer").is_dir()


def verify_mixture(folder: Path, *, num_workers: int = 1, progress: Progress = _quiet) -> VerifyResult:
    """Re-read every row of a mixture and compare it with its parts and its plan.

    Raises:
        ExportError: The folder is no whole mixture, or its parts are not found.
    """
    from .mixtures import verify as mixtures

    result = mixtures.verify_mixture(folder, workers=num_workers, progress=progress)
    return VerifyResult(
        num_files=result.files, num_bytes=result.bytes, num_rows=result.rows, problems=tuple(result.problems)
    )


def is_mixture(folder: Path) -> bool:
    """Tell a mixture, whole or begun, from other folders."""
    from .mixtures.verify import is_mixture as tell

    return tell(folder)


def verify_export(
    folder: Path, dataset: Path | None = None, *, num_workers: int = 1, progress: Progress = _quiet
) -> VerifyResult:
    """Re-read every row of an export and compare it with the episodes.

    Raises:
        ExportError: The folder is no export, or its dataset is not found.
    """
    from .exporters import huggingface

    result = huggingface.verify(folder, dataset, workers=num_workers, progress=progress)
    return VerifyResult(
        num_files=result.files,
        num_bytes=result.bytes,
        num_rows=result.rows,
        problems=tuple(result.problems),
        notes=tuple(result.notes),
    )
