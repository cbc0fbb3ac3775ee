"""What an export would write, in numbers: for `vladata export --dry-run`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..action_tokenizer import ActionTokenizer
from ..errors import ExportError
from ..tokenizers._bins import code_rows
from ..workers import Failed, run
from ._fit import FitUnit, Progress, choose_rows, take_chunks
from ._gather import Gathered
from ._plan import IdlePreview, Plan, Tokens, count_splits, guess_bytes, sum_refused
from ._prepare import Prepared
from ._work import cut_all

__all__ = ["count_tokens", "idle_preview", "make_plan", "require_idle_limit"]

MAX_CHUNKS = 10_000
"""Chunks that are encoded to count their tokens; all where there are fewer."""
MOST_EPISODES = 10
"""Idle episodes that are named."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _TokenUnit:
    fit: FitUnit
    tokenizer: ActionTokenizer


def _lengths(unit: _TokenUnit) -> NDArray[np.int64]:
    """Tokens of each chunk; runs in a worker."""
    return np.asarray(code_rows(unit.tokenizer.encode_represented(take_chunks(unit.fit))).lengths, dtype=np.int64)


def count_tokens(prepared: Prepared, tokenizer: ActionTokenizer, num_workers: int, progress: Progress) -> Tokens:
    """Tokens per chunk over all splits: known, or counted in chunks that are spread evenly over all episodes.

    Raises:
        ExportError: An episode can't be read.
        TokenizeError: A chunk can't be encoded.
    """
    counts = [g.num_rows for g in prepared.gathered]
    fixed = tokenizer.codec.length(tokenizer.horizon, tokenizer.dims)
    if fixed is not None:
        return Tokens(mean=float(fixed), p99=fixed, longest=fixed, chunks=sum(counts), counted=sum(counts))
    units = [
        _TokenUnit(fit=FitUnit(source=s, layout=prepared.layout, rows=rows), tokenizer=tokenizer)
        for s, rows in zip(prepared.sources, choose_rows(counts, MAX_CHUNKS), strict=True)
        if len(rows)
    ]
    found: list[NDArray[np.int64]] = []
    for done, outcome in enumerate(run(_lengths, units, workers=num_workers), start=1):
        if isinstance(outcome, Failed):
            raise ExportError(f"{units[outcome.index].fit.source.entry.place}: {outcome.reason}")
        found.append(outcome.result)
        progress(done, len(units), "counting tokens")
    lengths = np.sort(np.concatenate(found))
    return Tokens(
        mean=float(lengths.mean()),
        p99=int(lengths[int(np.ceil(0.99 * len(lengths))) - 1]),
        longest=int(lengths[-1]),
        chunks=sum(counts),
        counted=len(lengths),
    )


def idle_preview(prepared: Prepared) -> IdlePreview | None:
    """What the idle filter takes away; None where there is none."""
    options = prepared.options.idle
    if options is None:
        return None
    tasks: Counter[str] = Counter()
    for g in prepared.gathered:
        tasks.update(g.idle or {})
    pairs = [
        (source.entry.place, sum((g.idle or {}).values()), g.counts.num_steps)
        for source, g in zip(prepared.sources, prepared.gathered, strict=True)
    ]
    most = sorted((p for p in pairs if p[1]), key=lambda p: (-p[1] / max(1, p[2]), -p[1], p[0]))
    return IdlePreview(
        steps=tasks.total(),
        of=sum(total for _, _, total in pairs),
        limit=options.limit,
        tasks=dict(sorted(tasks.items(), key=lambda item: (-item[1], item[0]))),
        episodes=tuple(most[:MOST_EPISODES]),
        unknown=sum(g.idle is None for g in prepared.gathered),
    )


def require_idle_limit(prepared: Prepared) -> None:
    """Refuse an export that loses too much.

    Raises:
        ExportError: The idle filter would take away more than its limit allows.
    """
    preview = idle_preview(prepared)
    if preview is not None and preview.is_beyond:
        raise ExportError(preview.refusal)


def make_plan(prepared: Prepared, tokenizer: ActionTokenizer, num_workers: int, progress: Progress) -> Plan:
    """Everything that is known before the first shard is written."""
    options, gathered = prepared.options, prepared.gathered
    sizes = [guess_bytes(g, prepared.layout, options) for g in gathered]
    shards = cut_all(prepared, options, sizes)
    guessed = {
        s.file: sum(sizes[p.episode_index] * (p.stop - p.start) // gathered[p.episode_index].num_rows for p in s.pieces)
        for s in shards
    }
    return Plan(
        splits=count_splits(shards, guessed, options.splits),
        files=tuple(s.file for s in shards),
        steps=sum(g.counts.num_steps for g in gathered),
        refused=sum_refused(gathered),
        left_out=prepared.left_out,
        empty=prepared.empty,
        episodes=len(prepared.sources),
        horizon=tokenizer.horizon,
        horizon_s=tokenizer.horizon / tokenizer.rate_hz,
        tokenizer=tokenizer.scheme,
        tokens=count_tokens(prepared, tokenizer, num_workers, progress),
        tasks=_tasks(gathered),
        idle=idle_preview(prepared),
        groups=prepared.grouping.to_dict(),
        strata=prepared.episodes_by_stratum,
        notes=(*prepared.grouping.lines(), *_unsaid(prepared), *prepared.unused_lines),
    )


def _tasks(gathered: Sequence[Gathered]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for g in gathered:
        total.update(g.tasks)
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))


def _unsaid(prepared: Prepared) -> list[str]:
    return [f"{name} not said: {count:,} episodes" for name, count in prepared.unsaid.items()]
