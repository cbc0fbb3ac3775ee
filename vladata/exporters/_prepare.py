"""Everything that is decided before the first shard: which episodes, which splits, statistics, tokenizer."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .. import plugins
from ..action_tokenizer import ActionTokenizer, EmbodimentFacts
from ..actions.normalization import Normalization, NormalizationMode, passes_through
from ..actions.statistics import Statistics, StatisticsAccumulator
from ..embodiment import Embodiment
from ..errors import ExportError
from ..store.dataset import Dataset
from ..store.edits import Edit
from ..tokenizers import ActionCodec
from ..tokenizers._base import BaseTokenizer
from ..workers import Failed, run
from ._choose import QUARANTINED, choose, reasons
from ._fit import Progress, train_chunks
from ._gather import EpisodeSource, Gathered, GatherUnit, gather
from ._groups import Grouping, group_episodes, strata_of
from ._options import ExportOptions
from ._plan import sum_refused
from ._prompts import make_vocabulary
from ._rows import Layout
from ._split import assign_splits
from ._text_rows import check_texts

__all__ = ["QUARANTINED", "Prepared", "Progress", "build_tokenizer", "prepare", "read_embodiment"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """The episodes of an export, by index, and what their numbers say."""

    options: ExportOptions
    """As they hold for these episodes."""
    layout: Layout
    sources: tuple[EpisodeSource, ...]
    splits: tuple[str, ...]
    gathered: tuple[Gathered, ...]
    action: Statistics
    """Of the targets of the first split."""
    state: Statistics | None
    left_out: Mapping[str, int]
    """Episodes that were not asked for, by reason."""
    quarantined: tuple[tuple[str, Edit], ...]
    """Place and mark of each episode of the dataset that is in quarantine, whether left out or asked for."""
    grouping: Grouping
    """Which of the episodes never part."""
    strata: tuple[tuple[str, ...], ...]
    """Of each episode, what the splits should have in about equal shares."""
    unsaid: Mapping[str, int]
    """Episodes that don't say what the selection asks for, by field."""

    @property
    def empty(self) -> tuple[str, ...]:
        """Episodes of which no step is a row, by place."""
        pairs = zip(self.sources, self.gathered, strict=True)
        return tuple(source.entry.place for source, g in pairs if g.num_rows == 0)

    @property
    def unused_lines(self) -> list[str]:
        """What the recipe sets for other embodiments alone, where it sets nothing for this one."""
        own, named = self.sources[0].entry.embodiment, self.options.embodiments
        if not named or own in named:
            return []
        return [f"embodiments: what the recipe sets for {', '.join(sorted(named))} is not used; episodes are of {own}"]

    @property
    def episodes_by_stratum(self) -> dict[str, dict[str, int]]:
        """Episodes by stratum and split, the largest stratum first."""
        total: dict[str, Counter[str]] = {}
        for stratum, split in zip(self.strata, self.splits, strict=True):
            total.setdefault(" / ".join(part or "not said" for part in stratum), Counter())[split] += 1
        ordered = sorted(total.items(), key=lambda item: (-item[1].total(), item[0]))
        return {name: {s: counts[s] for s in self.options.splits} for name, counts in ordered}


def prepare(dataset: Dataset, options: ExportOptions, num_workers: int, progress: Progress) -> Prepared:
    """Look at all episodes and gather statistics of the first split.

    Raises:
        ExportError: No episode or no row is left, embodiments are mixed, or an episode can't be read.
    """
    chosen = choose(dataset, options, num_workers, progress)
    sources, entries = chosen.sources, chosen.entries
    embodiment = read_embodiment(sources[0], num_workers)
    options = options.resolved(embodiment.name, embodiment.rate_hz)
    layout = Layout.build(embodiment, options)
    if options.idle is not None and layout.idle is not None:
        options = replace(options, idle=layout.idle.filled(options.idle))
    check_texts(options, layout)
    grouping = group_episodes(entries, chosen.labels, options.group_by)
    strata = strata_of(entries, chosen.labels, options.stratify_by)
    splits = assign_splits(grouping.groups, options.splits, options.seed, strata)
    first = next(iter(options.splits))
    units = [
        GatherUnit(
            source=s,
            layout=layout,
            images=options.images,
            wants_targets=split == first,
            options=options,
            is_gated=chosen.labels is not None,
        )
        for s, split in zip(sources, splits, strict=True)
    ]
    action = StatisticsAccumulator(layout.representation.names)
    state = StatisticsAccumulator(layout.state_names) if layout.state_names else None
    gathered = _run_gather(units, (action, state), num_workers, progress)
    _require_rows(gathered, splits, first)
    train = [replace(u, options=replace(options, planner=None, vqa=None)) for u in units if u.wants_targets]
    # Both are always asked, so that each counts its own pass; a further pass feeds the one that needs it.
    again = (action.next_pass(), state is not None and state.next_pass())
    while any(again):
        hungry = (action if again[0] else None, state if again[1] else None)
        _run_gather(train, hungry, num_workers, progress)
        again = (again[0] and action.next_pass(), again[1] and state is not None and state.next_pass())
    return Prepared(
        options=options,
        layout=layout,
        sources=sources,
        splits=tuple(splits),
        gathered=tuple(gathered),
        action=action.finish(),
        state=None if state is None else state.finish(),
        left_out=chosen.left_out,
        quarantined=tuple(
            (e.place, dataset.quarantined[e.recording_id])
            for e in dataset.entries
            if e.recording_id in dataset.quarantined
        ),
        grouping=grouping,
        strata=tuple(strata),
        unsaid=chosen.unsaid,
    )


def _embodiment_of(source: EpisodeSource) -> Embodiment:
    return source.read().embodiment


def read_embodiment(source: EpisodeSource, num_workers: int) -> Embodiment:
    for outcome in run(_embodiment_of, [source], workers=min(1, num_workers)):
        if isinstance(outcome, Failed):
            raise ExportError(f"{source.entry.place}: {outcome.reason}")
        return outcome.result
    raise ExportError(f"{source.entry.place}: no answer")


def _run_gather(
    units: Sequence[GatherUnit],
    accumulators: tuple[StatisticsAccumulator | None, StatisticsAccumulator | None],
    num_workers: int,
    progress: Progress,
) -> list[Gathered]:
    """Look at episodes in any order; the statistics are exact, so the order does not matter."""
    found: dict[int, Gathered] = {}
    for done, outcome in enumerate(run(gather, units, workers=num_workers), start=1):
        if isinstance(outcome, Failed):
            raise ExportError(f"{units[outcome.index].source.entry.place}: {outcome.reason}")
        result = outcome.result
        for accumulator, values in zip(accumulators, (result.targets, result.state), strict=True):
            if accumulator is not None and values is not None:
                accumulator.add(values)
        found[outcome.index] = replace(result, targets=None, state=None)
        progress(done, len(units), "reading episodes")
    return [found[i] for i in range(len(units))]


def _require_rows(gathered: Sequence[Gathered], splits: Sequence[str], first: str) -> None:
    if any(g.num_rows for g, split in zip(gathered, splits, strict=True) if split == first):
        return
    refused = sum_refused(gathered)
    where = f"of split {first}" if any(g.num_rows for g in gathered) else "of the dataset"
    raise ExportError(f"no step {where} can be a row; {reasons(refused) or 'there are no steps'}")


def build_tokenizer(
    prepared: Prepared, options: ExportOptions, base: BaseTokenizer | None, num_workers: int, progress: Progress
) -> ActionTokenizer:
    """Bind representation, normalization, codec and vocabulary together.

    Raises:
        PluginNotFoundError: There is no codec of that name.
        ExportError: An episode that the codec learns from can't be read.
        TokenizeError: An option is out of range, or the codes don't fit into the vocabulary.
    """
    layout = prepared.layout
    mask = [not passes_through(d) for s in layout.action for d in s.dimensions]
    normalization = Normalization.fit(prepared.action, NormalizationMode(options.normalization), mask)
    kind: type[ActionCodec] = plugins.load("tokenizers", options.tokenizer).Codec
    chunks = np.zeros((0, layout.rule.horizon, normalization.dims))
    if kind.learns:
        first = next(iter(options.splits))
        pairs = [
            (source, g)
            for source, g, split in zip(prepared.sources, prepared.gathered, prepared.splits, strict=True)
            if split == first
        ]
        chunks = normalization.apply(
            train_chunks([s for s, _ in pairs], [g for _, g in pairs], layout, num_workers, progress)
        )
    codec = kind.fit(chunks, **options.codec_options)
    return ActionTokenizer(
        scheme=options.tokenizer,
        representation=layout.representation,
        normalization=normalization,
        codec=codec,
        horizon=layout.rule.horizon,
        rate_hz=layout.embodiment.rate_hz,
        chunk_end=layout.rule.chunk_end,
        vocabulary=None if base is None else make_vocabulary(codec.num_codes, options, base),
        embodiment=EmbodimentFacts(
            name=layout.embodiment.name, version=layout.embodiment.version, digest=layout.embodiment.digest
        ),
    )
