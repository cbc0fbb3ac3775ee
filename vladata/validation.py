"""Validation of a dataset: each episode by itself in a worker, then all together; interrupted, it goes on.

What was found lies on a disk, one line for each episode, so that memory holds neither findings nor measurements of
all episodes. An interrupted run leaves its lines for the next one of the same checks over the same episodes.
"""

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import __version__, checks, workers
from .checks import CheckSettings, EpisodeFacts, measure, run_checks, run_dataset_checks, selected_names
from .documents import canonical_json
from .finding import Finding, Report, Severity
from .gate import inside
from .journal import Journal, Line, encode_line
from .store.catalog import Entry
from .store.dataset import Dataset
from .store.edits import Edit, apply_edits
from .store.reader import read_episode

__all__ = ["validate"]

Progress = Callable[[int, int, str], None]
"""Called with how many are done, of how many, and the last one's name."""


def _quiet(done: int, total: int, name: str) -> None:
    """No progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidateUnit:
    """One committed episode to judge."""

    folder: Path
    entry: Entry
    edits: tuple[Edit, ...]
    settings: CheckSettings


class _Units(Sequence[ValidateUnit]):
    """Units of some episodes, made when they are asked for."""

    def __init__(self, dataset: Dataset, settings: CheckSettings, places: Sequence[int]) -> None:
        self._dataset, self._settings, self._places = dataset, settings, places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> ValidateUnit:  # type: ignore[override]  # nobody slices them
        entry = self._dataset.entries[self._places[index]]
        return ValidateUnit(
            folder=self._dataset.path,
            entry=entry,
            edits=self._dataset.edits.of(entry.recording_id),
            settings=self._settings,
        )


def validate(
    dataset: Dataset,
    settings: CheckSettings | None = None,
    *,
    knows: Callable[[Finding], bool] | None = None,
    num_workers: int = 1,
    progress: Progress = _quiet,
) -> Report:
    """Run the checks over all episodes, and those over the dataset.

    An episode that can't be read, or whose checks crash the process, becomes a finding.

    Args:
        dataset: Stays as it is.
        settings: Which checks, with which thresholds; default: all as the schemas set them.
        knows: Tells which findings a baseline knows.
        num_workers: Processes; 0 works in this one.
        progress: Called after each episode with how many are done, of how many, and its place.

    Returns:
        The report; its findings lie on a disk as long as it lives.
    """
    settings = settings or CheckSettings()
    entries = dataset.entries
    keys = [_unit_key(dataset, entry) for entry in entries]
    journal = Journal.open(f"{dataset.path.resolve()} {_settings_key(settings)}")
    missing = [i for i, key in enumerate(keys) if key not in journal]
    done = len(entries) - len(missing)
    if done and missing:
        progress(done, len(entries), "found by a run that was interrupted")
    units = _Units(dataset, settings, missing)
    with contextlib.closing(workers.run(_validate_unit, units, workers=num_workers)) as outcomes:
        for outcome in outcomes:
            place = missing[outcome.index]
            if isinstance(outcome, workers.Failed):
                journal.add(keys[place], _failed(entries[place], outcome), is_final=False)
            else:
                journal.add(keys[place], outcome.result)
            done += 1
            progress(done, len(entries), entries[place].place)
    together = run_dataset_checks(journal.facts(keys), settings=settings)
    report = Report(
        findings=journal.findings(keys, together, knows),
        episodes={e.episode_id: e.content_digest for e in entries},
        checks=tuple(selected_names(settings.select, settings.ignore)),
        thresholds=settings.rules,
    )
    journal.finish()
    return report


def _unit_key(dataset: Dataset, entry: Entry) -> bytes:
    """What an episode's findings depend on beside the checks: its file as it lies there, and its edits."""
    edits = [e.model_dump(mode="json", exclude_defaults=True) for e in dataset.edits.of(entry.recording_id)]
    try:
        state = inside(dataset.path, entry.file).stat()
        file = [state.st_size, state.st_mtime_ns]
    except OSError:
        file = []
    text = canonical_json([entry.episode_id, entry.sha256, entry.split, entry.place, file, edits])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]


def _settings_key(settings: CheckSettings) -> str:
    """What findings depend on beside the episode: this version's checks, which of them run, and their thresholds."""
    sha = hashlib.sha256(__version__.encode())
    for path in sorted(Path(checks.__file__).parent.glob("*.py")):
        sha.update(path.read_bytes())
    rules = {k: dict(v) for k, v in settings.rules.items()}
    schemas = {n: {k: dict(v) for k, v in rules.items()} for n, rules in settings.schemas.items()}
    sha.update(canonical_json([settings.select, settings.ignore, rules, schemas]).encode())
    return sha.hexdigest()


def _validate_unit(unit: ValidateUnit) -> Line:
    """Judge and measure one episode; runs in a worker."""
    episode = apply_edits(read_episode(inside(unit.folder, unit.entry.file)), unit.edits)
    findings = run_checks(episode, settings=unit.settings)
    features, crashed = measure(episode, unit.settings)
    facts = dataclasses.replace(
        _known(unit.entry),
        embodiment_version=episode.embodiment.version,
        metadata=episode.metadata,
        rules=episode.embodiment.checks,
        features=features,
    )
    return encode_line([*findings, *crashed], facts)


def _failed(entry: Entry, outcome: workers.Failed) -> Line:
    crashed = Finding(
        message=f"can't be checked: {outcome.reason}",
        check="structure.readable",
        severity=Severity.ERROR,
        episode_id=entry.episode_id,
        traceback=outcome.traceback,
    )
    return encode_line([crashed], _known(entry))


def _known(entry: Entry) -> EpisodeFacts:
    """What the catalog knows of an episode."""
    return EpisodeFacts(
        episode_id=entry.episode_id,
        recording_id=entry.recording_id,
        content_digest=entry.content_digest,
        place=entry.place,
        source=entry.source,
        split=entry.split,
        embodiment=entry.embodiment,
        embodiment_digest=entry.embodiment_digest,
        instruction=entry.instruction,
        outcome=entry.outcome,
        num_steps=entry.num_steps,
        duration_s=entry.duration_s,
    )
