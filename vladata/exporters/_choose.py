"""Which episodes an export takes, and what their files say of them where that is asked for."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import ExportError
from ..store.catalog import Entry
from ..store.dataset import Dataset
from ..text import clip
from ..workers import Failed, run
from ._fit import Progress
from ._gather import EpisodeSource
from ._groups import CATALOG_STRATA, NEAR_DUPLICATE
from ._labels import Labels, LabelUnit, facts_of, read_labels
from ._options import ExportOptions
from ._selection import META, Selection

__all__ = ["QUARANTINED", "Chosen", "choose", "reasons"]

QUARANTINED = "in quarantine"
"""Why marked episodes are left out."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chosen:
    """The episodes of an export."""

    entries: tuple[Entry, ...]
    sources: tuple[EpisodeSource, ...]
    labels: tuple[Labels, ...] | None
    """Of each; None where nothing asked for them."""
    left_out: Mapping[str, int]
    """Episodes of the dataset that are not taken, by reason."""
    unsaid: Mapping[str, int] = field(default_factory=dict)
    """Episodes that don't say what the selection asks for, by field; they are part of those left out."""


def choose(dataset: Dataset, options: ExportOptions, num_workers: int, progress: Progress) -> Chosen:
    """Choose the episodes.

    Raises:
        ExportError: None is left, embodiments or their schemas are mixed, the selection can't be read, or an episode.
    """
    selection = None if options.select is None else Selection.parse(options.select)
    entries, left_out = _by_options(dataset, options)
    sources = tuple(
        EpisodeSource(folder=dataset.path, entry=e, edits=dataset.edits.of(e.recording_id)) for e in entries
    )
    labels = _labels(sources, options, selection, num_workers, progress)
    chosen = Chosen(entries=tuple(entries), sources=sources, labels=labels, left_out=left_out)
    if selection is not None:
        chosen = _selected(chosen, selection, set(dataset.quarantined))
    _require_one_embodiment(chosen, len(dataset.entries))
    return chosen


def _by_options(dataset: Dataset, options: ExportOptions) -> tuple[list[Entry], dict[str, int]]:
    left_out: dict[str, int] = {"dropped by an edit": len(dataset.dropped)}
    entries = []
    for entry in dataset.entries:
        if options.quarantined == "leave_out" and entry.recording_id in dataset.quarantined:
            reason = QUARANTINED
        elif options.embodiment is not None and entry.embodiment != options.embodiment:
            reason = f"embodiment {entry.embodiment}"
        elif options.outcomes is not None and entry.outcome not in options.outcomes:
            reason = f"outcome {entry.outcome or 'not said'}"
        else:
            entries.append(entry)
            continue
        left_out[reason] = left_out.get(reason, 0) + 1
    return entries, {k: v for k, v in left_out.items() if v}


def _labels(
    sources: Sequence[EpisodeSource],
    options: ExportOptions,
    selection: Selection | None,
    num_workers: int,
    progress: Progress,
) -> tuple[Labels, ...] | None:
    """Read what is said of each episode, in one pass over the files; nothing where the catalog knows enough."""
    wants_features = NEAR_DUPLICATE in options.group_by
    wants_strata = any(name not in CATALOG_STRATA for name in options.stratify_by)
    if not (options.group_by or wants_strata or (selection is not None and selection.needs_labels)):
        return None
    fields = () if selection is None else selection.fields
    metadata = frozenset({*options.group_by, *options.stratify_by, *(f.removeprefix(META) for f in fields)})
    units = [LabelUnit(source=s, wants_features=wants_features, metadata=metadata) for s in sources]
    found: dict[int, Labels] = {}
    for done, outcome in enumerate(run(read_labels, units, workers=num_workers), start=1):
        if isinstance(outcome, Failed):
            raise ExportError(f"{sources[outcome.index].entry.place}: {outcome.reason}")
        found[outcome.index] = outcome.result
        progress(done, len(units), "reading labels")
    return tuple(found[i] for i in range(len(units)))


def _selected(chosen: Chosen, selection: Selection, quarantined: set[str]) -> Chosen:
    kept, unsaid = [], dict.fromkeys(selection.fields, 0)
    for i, entry in enumerate(chosen.entries):
        labels = None if chosen.labels is None else chosen.labels[i]
        facts = facts_of(entry, labels, is_quarantined=entry.recording_id in quarantined)
        if selection.chooses(facts):
            kept.append(i)
        for name in selection.missing(facts):
            unsaid[name] += 1
    count = len(chosen.entries) - len(kept)
    reason = f"not selected by {clip(selection.text, 200)}"
    return dataclasses.replace(
        chosen,
        entries=tuple(chosen.entries[i] for i in kept),
        sources=tuple(chosen.sources[i] for i in kept),
        labels=None if chosen.labels is None else tuple(chosen.labels[i] for i in kept),
        left_out={**chosen.left_out, **({reason: count} if count else {})},
        unsaid={name: n for name, n in unsaid.items() if n},
    )


def _require_one_embodiment(chosen: Chosen, total: int) -> None:
    if not chosen.entries:
        said = reasons({f"{name} not said": count for name, count in chosen.unsaid.items()})
        more = f" ({said})" if said else ""
        raise ExportError(f"none of {total} episodes is left to export; {reasons(chosen.left_out) or 'empty'}{more}")
    names = sorted({e.embodiment for e in chosen.entries})
    if len(names) > 1:
        raise ExportError(f"episodes are of {len(names)} embodiments, {', '.join(names)}; choose one of them")
    if len({e.embodiment_digest for e in chosen.entries}) > 1:
        raise ExportError(f"episodes were made with different schemas of {names[0]}; ingest them again with one schema")


def reasons(counts: Mapping[str, int]) -> str:
    """Reasons and their counts in words."""
    return ", ".join(f"{reason}: {count}" for reason, count in counts.items() if count)
