"""What is decided of the configs `planner` and `vqa` before their first shard: words, others' rows, shards."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ..errors import ExportError
from ..tokenizers._base import BaseTokenizer
from ..workers import Failed, run
from ._external import ChooseUnit, Chosen, ExternalRow, choose, wanted_rows
from ._external_read import image_root
from ._fit import Progress
from ._options import ExportOptions
from ._plan import (
    EXTERNAL,
    JPEG_BYTES_PER_PIXEL,
    Piece,
    Plan,
    PlannedShard,
    count_configs,
    cut_shards,
    guess_bytes,
    row_bytes,
)
from ._prepare import Prepared
from ._prompts import end_id
from ._text_rows import PLANNER, VQA, configs_of
from ._vqa import place
from ._wording import Wording

__all__ = ["Texts", "cut_texts", "external_of", "plan_texts", "prepare_texts", "text_facts"]

TEXT_BYTES = 600
"""Of a row without its images, before compression, about."""
JSON_MEMORY = 8 << 30
STALL_S = 120.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Texts:
    """What the configs of text are made of, beside the episodes."""

    wording: Mapping[str, Wording] = field(default_factory=dict)
    """By config; only those that are asked for."""
    chosen: Mapping[str, Chosen] = field(default_factory=dict)
    """Others' rows by source."""
    wanted: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Others' rows that make up the declared shares, by source and split."""
    roots: Mapping[str, Path] = field(default_factory=dict)
    """Folders of others' images by source."""
    seed: int = 0

    def external(self, split: str) -> tuple[ExternalRow, ...]:
        """Others' rows of a split, the sources mixed by a hash."""
        return self._by_split.get(split, ())

    @cached_property
    def _by_split(self) -> dict[str, tuple[ExternalRow, ...]]:
        rows: dict[str, list[ExternalRow]] = {}
        for chosen in self.chosen.values():
            for split, own in chosen.rows.items():
                rows.setdefault(split, []).extend(own)
        return {
            split: tuple(sorted(own, key=lambda r: place("external", self.seed, r.key, r.source)))
            for split, own in rows.items()
        }


def prepare_texts(
    prepared: Prepared, options: ExportOptions, base: BaseTokenizer | None, num_workers: int, progress: Progress
) -> Texts:
    """Read the prompt templates and choose others' rows.

    Raises:
        ExportError: A template is for something else, or others' data can't be read.
        SchemaError: A template is missing or wrong.
    """
    end = () if base is None else end_id(base)
    asked = {PLANNER: options.planner, VQA: options.vqa}
    wording = {c: Wording.build(own.prompt, c, base, end) for c, own in asked.items() if own is not None}
    if options.vqa is None or not options.vqa.external:
        return Texts(wording=wording)
    sources, seed = options.vqa.external, options.vqa.seed
    rows = {split: _episode_rows(prepared, VQA, split) for split in options.splits}
    wanted = wanted_rows({split: sum(n for _, n in own) for split, own in rows.items()}, sources)
    units = [
        ChooseUnit(external=s, wanted=wanted[s.name], splits=options.splits, seed=seed, wording=wording[VQA])
        for s in sources
    ]
    chosen = {}
    outcomes = run(choose, units, workers=num_workers, memory_bytes=JSON_MEMORY, stall_s=STALL_S)
    for done, outcome in enumerate(outcomes, start=1):
        source = sources[outcome.index]
        if isinstance(outcome, Failed):
            raise ExportError(f"external data {source.name}: {outcome.reason.removeprefix(f'{source.name}: ')}")
        chosen[source.name] = outcome.result
        progress(done, len(units), "reading others' data")
    return Texts(
        wording=wording,
        chosen={s.name: chosen[s.name] for s in sources},
        wanted=wanted,
        roots={s.name: image_root(s) for s in sources},
        seed=seed,
    )


def _episode_rows(prepared: Prepared, config: str, split: str) -> list[tuple[int, int]]:
    """Index and rows of the episodes of a split that have some."""
    pairs = enumerate(zip(prepared.gathered, prepared.splits, strict=True))
    return [(i, g.texts[config].num_rows) for i, (g, own) in pairs if own == split and g.texts[config].num_rows]


def cut_texts(prepared: Prepared, options: ExportOptions, texts: Texts, sizes: Sequence[int]) -> list[PlannedShard]:
    """The shards of the configs of text; each has its part of others' rows.

    Args:
        prepared: The episodes.
        options: What was asked for.
        texts: Others' rows.
        sizes: Bytes of each episode in the shards of the executor.
    """
    shards: list[PlannedShard] = []
    for config in configs_of(options):
        for split in options.splits:
            own = [
                (i, n, n * _text_row_bytes(prepared, options, i, sizes[i]))
                for i, n in _episode_rows(prepared, config, split)
            ]
            if own:
                external = texts.external(split) if config == VQA else ()
                more = sum(r.num_bytes + TEXT_BYTES for r in external)
                size = sum(size for _, _, size in own)
                # As many bytes for the rows of episodes as leaves room for those of others beside them.
                budget = max(1, options.shard_bytes * size // (size + more))
                shards += _with_external(cut_shards(own, split, budget, config), len(external))
    return shards


def plan_texts(plan: Plan, prepared: Prepared, texts: Texts) -> Plan:
    """A plan with what would be written of the configs of text."""
    options = prepared.options
    sizes = [guess_bytes(g, prepared.layout, options) for g in prepared.gathered]
    found: dict[str, int] = {}
    shards = cut_texts(prepared, options, texts, sizes)
    for shard in shards:
        own = [p for p in shard.pieces if p.episode_index != EXTERNAL]
        size = sum(
            (p.stop - p.start) * _text_row_bytes(prepared, options, p.episode_index, sizes[p.episode_index])
            for p in own
        )
        found[shard.file] = size + sum(r.num_bytes + TEXT_BYTES for r in external_of(texts, shard))
    return dataclasses.replace(
        plan, texts=count_configs(shards, found, options.splits), files=(*plan.files, *(s.file for s in shards))
    )


def _text_row_bytes(prepared: Prepared, options: ExportOptions, index: int, size: int) -> int:
    gathered, layout = prepared.gathered[index], prepared.layout
    if gathered.num_rows:
        return max(0, size - gathered.num_rows * row_bytes(layout)) // gathered.num_rows + TEXT_BYTES
    areas = [options.image_size or (c.height, c.width) for c in layout.cameras]
    return round(sum(JPEG_BYTES_PER_PIXEL * height * width for height, width in areas)) + TEXT_BYTES


def _with_external(shards: Sequence[PlannedShard], count: int) -> list[PlannedShard]:
    """Spread others' rows over the shards of a split, in proportion to their rows."""
    total, seen, result = sum(s.num_rows for s in shards), 0, []
    for shard in shards:
        start, stop = seen * count // total, (seen + shard.num_rows) * count // total
        seen += shard.num_rows
        more = (Piece(episode_index=EXTERNAL, start=start, stop=stop),) if stop > start else ()
        result.append(dataclasses.replace(shard, pieces=(*shard.pieces, *more)))
    return result


def text_facts(texts: Texts, shard: PlannedShard) -> dict[str, object]:
    """What decides the text of a shard, beside the episodes."""
    rows = external_of(texts, shard)
    return {
        "wording": texts.wording[shard.config].facts(),
        "external": [[r.source, r.key, r.image_sha256] for r in rows],
    }


def external_of(texts: Texts, shard: PlannedShard) -> tuple[ExternalRow, ...]:
    """Others' rows of a shard, in order."""
    pieces = [p for p in shard.pieces if p.episode_index == EXTERNAL]
    return tuple(r for p in pieces for r in texts.external(shard.split)[p.start : p.stop])
