"""The plan of a mixture: how many rows of each part, embodiment and task an epoch holds, decided before any is written.

It follows from the recipe and the parts' bytes alone, and is stored as `mixture.json`.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import ExportError
from ..text import clip, printable
from ._columns import Columns, build_columns, tokens_of
from ._ids import check_ids
from ._leaks import Overlap, find_overlap
from ._order import key_of, thin
from ._parts import Part, Progress, Scanned, open_parts, scan_shards
from .recipe import MixtureRecipe
from .shares import Wish, decimals, epoch_of, rows_of_epoch, shares, size_weight

__all__ = ["MixturePlan", "PartPlan", "Prepared", "Share", "prepare"]

TOP_TASKS = 50
MAX_TASK_TEXT = 300
PLAN_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Rows of an epoch that have something in common."""

    name: str
    rows: int
    share: float
    hours: float | None
    """As of `PartPlan`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartPlan:
    """One part in numbers."""

    name: str
    export: str
    """Name of the export's folder."""
    embodiment: str
    rate_hz: float
    manifest_sha256: str
    content_digest: str
    tokenizer_digest: str
    rows: int
    """Rows of its train split."""
    left_out: int
    """Rows of episodes that another part holds out."""
    pool: int
    """Rows that are drawn from, after max_rows."""
    weight: float | None
    """As asked; null where a share was."""
    size_weight: float
    """size ** (1 / temperature)."""
    share_before_caps: float
    probability: str
    """Of a row of the epoch being of this part, with 12 digits behind the point; those of all parts sum to 1."""
    epoch_rows: int
    repeats: float
    """epoch_rows / pool: how often each row comes, on average."""
    most: int
    """How often a row comes at most."""
    hours: float | None
    """Of the rows of an epoch, by the part's rate; None where rows are not steps (planner, vqa)."""
    held_out: Mapping[str, int]
    """Rows of its other splits, which are never mixed nor repeated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MixturePlan:
    """What an epoch of a mixture holds."""

    recipe: MixtureRecipe
    train: str
    """Split that is mixed."""
    epoch_rows: int
    parts: tuple[PartPlan, ...]
    embodiments: tuple[Share, ...]
    """Most rows first."""
    tasks: tuple[Share, ...]
    """At most 50, most rows first."""
    other_tasks: tuple[int, int]
    """How many further tasks there are, and their rows."""
    leaks: tuple[dict[str, object], ...]
    """Episodes that were left out of training, because another part holds them out."""
    columns: Mapping[str, object]
    """Columns that were dropped, and the common widths of padded vectors."""
    notes: tuple[str, ...]
    """What a user should know, one line each, safe for a terminal."""

    @property
    def hours(self) -> float | None:
        """Of an epoch; None where rows are not steps."""
        known = [p.hours for p in self.parts if p.hours is not None]
        return sum(known) if known else None

    def to_dict(self) -> dict[str, object]:
        """As JSON values; paths of the exports are left out, but for their last name."""
        recipe = self.recipe.model_dump(mode="json")
        for part, planned in zip(recipe["parts"], self.parts, strict=True):
            part["export"] = planned.export
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "recipe"}
        plain |= {n: [asdict(v) for v in plain[n]] for n in ("parts", "embodiments", "tasks")}
        plain["other_tasks"] = {"tasks": self.other_tasks[0], "rows": self.other_tasks[1]}
        return {"format": "vladata mixture", "format_version": PLAN_VERSION, "recipe": recipe, **plain}

    def to_json(self) -> bytes:
        """The content of `mixture.json`."""
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False, sort_keys=True, allow_nan=False)
        return (text + "\n").encode("utf-8", "replace")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """A mixture whose rows are known."""

    recipe: MixtureRecipe
    parts: tuple[Part, ...]
    scanned: Mapping[str, Sequence[Scanned]]
    pools: tuple[NDArray[np.int64], ...]
    """Rows of each part's train split that are drawn from, increasing."""
    counts: tuple[int, ...]
    """Rows of an epoch, of each part."""
    columns: Columns | None
    """Of the padded layout."""
    plan: MixturePlan


def prepare(
    recipe: MixtureRecipe, base: Path, *, is_hashed: bool = False, workers: int, progress: Progress
) -> Prepared:
    """Read what the parts hold and decide what an epoch holds.

    Args:
        recipe: What is asked for.
        base: Folder that the paths of the exports are seen from.
        is_hashed: Compare every shard of the parts with its SHA-256.
        workers: Processes; 0 reads in this one.
        progress: Called with how many are done, of how many, and what is being done.

    Raises:
        ExportError: The parts can't be mixed so. Also TokenizeError.
    """
    parts = open_parts(recipe, base)
    overlap = find_overlap(parts, recipe)
    left_out = {p.name: overlap.left_out(p.name) for p in parts}
    scanned = scan_shards(parts, left_out, is_hashed=is_hashed, workers=workers, progress=progress)
    columns = None
    _check_splits(parts)
    if recipe.layout == "padded":
        check_ids(parts, tokens_of(recipe, scanned))
        columns = build_columns(recipe, parts, scanned)
    pools = tuple(_pool(p, scanned[p.name], recipe) for p in parts)
    wishes = [
        Wish(
            name=p.name,
            size=len(pool),
            weight=p.asked.weight,
            share=p.asked.share,
            max_share=p.asked.max_share,
        )
        for p, pool in zip(parts, pools, strict=True)
    ]
    wanted = shares(wishes, temperature=recipe.temperature)
    counts = _counts(recipe, wishes, wanted)
    plan = _plan(recipe, parts, (scanned, pools, counts), overlap, columns)
    return Prepared(
        recipe=recipe,
        parts=parts,
        scanned=scanned,
        pools=pools,
        counts=tuple(counts),
        columns=columns,
        plan=plan,
    )


def _check_splits(parts: Sequence[Part]) -> None:
    names = [parts[0].train, *(f"{s}_{p.name}" for p in parts for s in p.splits[1:])]
    double = next((n for i, n in enumerate(names) if n in names[:i]), None)
    if double is not None:
        raise ExportError(f"two splits of the mixture would be {double}; rename a part")


def _train(part: Part, scanned: Sequence[Scanned]) -> list[Scanned]:
    return [s for shard, s in zip(part.shards, scanned, strict=True) if shard.split == part.train]


def _pool(part: Part, scanned: Sequence[Scanned], recipe: MixtureRecipe) -> NDArray[np.int64]:
    marks = np.concatenate([s.is_left_out for s in _train(part, scanned)])
    rows = np.flatnonzero(~marks).astype(np.int64)
    if not len(rows):
        raise ExportError(
            f"part {part.name}: other parts hold out all its {len(marks):,} rows of {part.train}; some must be left"
        )
    limit = part.asked.max_rows
    return rows if limit is None else thin(rows, limit, key_of("pool", recipe.seed, part.name))


def _counts(recipe: MixtureRecipe, wishes: Sequence[Wish], wanted: Sequence[Fraction]) -> list[int]:
    epoch_rows = recipe.epoch_rows or epoch_of(wishes, wanted, recipe.max_repeats)
    counts = rows_of_epoch(wanted, epoch_rows)
    for wish, share, count in zip(wishes, wanted, counts, strict=True):
        if count == 0:
            least = -(-share.denominator // share.numerator)
            raise ExportError(
                f"part {wish.name}: its share of {float(share):.3g} is none of {epoch_rows:,} rows; "
                f"epoch_rows must be at least about {least:,}"
            )
        if count > recipe.max_repeats * wish.size:
            most = recipe.max_repeats * wish.size * share.denominator // share.numerator
            raise ExportError(
                f"part {wish.name}: {count:,} rows of an epoch of {epoch_rows:,} repeat its {wish.size:,} rows "
                f"{count / wish.size:.4g} times; "
                f"max_repeats is {recipe.max_repeats}, so epoch_rows must be at most {most:,}"
            )
    return counts


# In numbers ---------------------------------------------------------------------------------------------------------


def _plan(
    recipe: MixtureRecipe,
    parts: Sequence[Part],
    drawn: tuple[Mapping[str, Sequence[Scanned]], Sequence[NDArray[np.int64]], Sequence[int]],
    overlap: Overlap,
    columns: Columns | None,
) -> MixturePlan:
    scanned, pools, counts = drawn
    epoch_rows = sum(counts)
    weights = [
        (p.asked.weight if p.asked.share is None else 0.0) * float(size_weight(len(pool), recipe.temperature))
        for p, pool in zip(parts, pools, strict=True)
    ]
    given = sum(p.asked.share or 0.0 for p in parts)
    are_steps = recipe.config == "executor"
    planned: list[PartPlan] = []
    tasks: dict[str, list[float]] = {}
    for i, (part, pool, count) in enumerate(zip(parts, pools, counts, strict=True)):
        before = part.asked.share if part.asked.share is not None else (1 - given) * weights[i] / sum(weights)
        marks = np.concatenate([s.is_left_out for s in _train(part, scanned[part.name])])
        planned.append(
            PartPlan(
                name=part.name,
                export=part.folder.name,
                embodiment=part.embodiment,
                rate_hz=part.tokenizer.rate_hz,
                manifest_sha256=part.manifest_sha256,
                content_digest=part.content_digest,
                tokenizer_digest=part.tokenizer.digest,
                rows=len(marks),
                left_out=int(marks.sum()),
                pool=len(pool),
                weight=part.asked.weight if part.asked.share is None else None,
                size_weight=float(size_weight(len(pool), recipe.temperature)),
                share_before_caps=float(f"{before:.12g}"),
                probability=f"{decimals(counts)[i]:f}",
                epoch_rows=count,
                repeats=count / len(pool),
                most=-(-count // len(pool)),
                hours=_hours(count, part) if are_steps else None,
                held_out={s: sum(x.rows for x in part.of_split(s)) for s in part.splits[1:]},
            )
        )
        for task, rows in _tasks(part, _train(part, scanned[part.name]), pool, (count, recipe.seed)).items():
            total = tasks.setdefault(task, [0, 0.0])
            total[0] += rows
            total[1] += _hours(rows, part)
    embodiments: dict[str, list[float]] = {}
    for p in planned:
        total = embodiments.setdefault(p.embodiment, [0, 0.0])
        total[0] += p.epoch_rows
        total[1] += p.hours or 0.0
    ranked = _shares(tasks, epoch_rows, are_steps=are_steps)
    return MixturePlan(
        recipe=recipe,
        train=parts[0].train,
        epoch_rows=epoch_rows,
        parts=tuple(planned),
        embodiments=_shares(embodiments, epoch_rows, are_steps=are_steps),
        tasks=ranked[:TOP_TASKS],
        other_tasks=(len(ranked[TOP_TASKS:]), sum(t.rows for t in ranked[TOP_TASKS:])),
        leaks=tuple(asdict(leak) for leak in overlap.leaks),
        columns=_column_facts(columns),
        notes=tuple(
            clip(printable(n), 300) for n in (*_notes(recipe, planned, overlap, columns), *_about_configs(parts))
        ),
    )


def _hours(rows: int, part: Part) -> float:
    return rows / part.tokenizer.rate_hz / 3600


def _shares(found: Mapping[str, Sequence[float]], epoch_rows: int, *, are_steps: bool) -> tuple[Share, ...]:
    ranked = sorted(found.items(), key=lambda item: (-item[1][0], item[0]))
    return tuple(
        Share(
            name=clip(printable(n), MAX_TASK_TEXT),
            rows=int(rows),
            share=rows / epoch_rows,
            hours=hours if are_steps else None,
        )
        for n, (rows, hours) in ranked
    )


def _tasks(part: Part, scanned: Sequence[Scanned], pool: NDArray[np.int64], drawn: tuple[int, int]) -> dict[str, int]:
    """Rows of an epoch by task: counted in the very rows that will be drawn."""
    count, seed = drawn
    names = list(dict.fromkeys(t for s in scanned for t in s.tasks))
    number = {t: i for i, t in enumerate(names)}
    codes = np.concatenate([np.array([number[t] for t in s.tasks], dtype=np.int64)[s.task] for s in scanned])
    rows = np.bincount(codes[pool], minlength=len(names)) * (count // len(pool))
    if count % len(pool):
        more = thin(pool, count % len(pool), key_of(key_of("draw", seed, part.name), "chosen"))
        rows = rows + np.bincount(codes[more], minlength=len(names))
    return {t: int(r) for t, r in zip(names, rows.tolist(), strict=True) if r}


def _column_facts(columns: Columns | None) -> dict[str, object]:
    if columns is None:
        return {}
    return {"dropped": list(columns.dropped), "images": list(columns.images), "widths": asdict(columns.common)}


def _notes(recipe: MixtureRecipe, planned: Sequence[PartPlan], overlap: Overlap, columns: Columns | None) -> list[str]:
    notes = []
    natural = sum(p.pool for p in planned)
    epoch_rows = sum(p.epoch_rows for p in planned)
    if recipe.epoch_rows is None and epoch_rows < natural:
        most = max(planned, key=lambda p: (p.repeats, p.name))
        notes.append(
            f"the epoch has {epoch_rows:,} of {natural:,} rows: in a longer one {most.name} would repeat more than "
            f"{recipe.max_repeats} times"
        )
    for p in planned:
        if p.pool < p.rows - p.left_out:
            notes.append(f"{p.name}: {p.pool:,} of {p.rows - p.left_out:,} rows are drawn from (max_rows)")
        if p.epoch_rows < p.pool:
            notes.append(f"{p.name}: {p.pool - p.epoch_rows:,} of {p.pool:,} rows do not come in this epoch")
        if abs(p.share_before_caps - p.epoch_rows / epoch_rows) > 1 / epoch_rows + 1e-9:
            notes.append(
                f"{p.name}: {p.share_before_caps:.2%} of the epoch became {p.epoch_rows / epoch_rows:.2%} (max_share)"
            )
        if p.left_out:
            notes.append(f"{p.name}: {p.left_out:,} rows are left out of training, for another part holds them out")
    if overlap.leaks and recipe.layout == "apart":
        notes.append("leaks: only epoch.parquet leaves those rows out; the shards are the parts' own and hold them")
    if overlap.num_trained_twice:
        notes.append(f"episodes that several parts train on: {overlap.num_trained_twice:,}; they count for each")
    if columns is not None:
        notes += _about_columns(planned, columns)
    return notes


def _about_configs(parts: Sequence[Part]) -> Iterator[str]:
    for config in sorted({c for p in parts for c in p.other_configs}):
        owners = ", ".join(p.name for p in parts if config in p.other_configs)
        yield f"rows of config {config} of {owners} are not mixed; config: {config} in a recipe makes a mixture of them"


def _about_columns(planned: Sequence[PartPlan], columns: Columns) -> list[str]:
    notes = [f"column {name} is dropped" for name in columns.dropped]
    for name in columns.images:
        lacking = [s.part for s in columns.shapes if name not in s.images]
        if lacking:
            notes.append(f"{name} is null in rows of {', '.join(lacking)}")
    if "action_codes" in columns.kept and len({p.tokenizer_digest for p in planned}) > 1:
        notes.append("action_codes are of each part's own action tokenizer: decode them by column part")
    rates = sorted({p.rate_hz for p in planned})
    if len(rates) > 1:
        shown = ", ".join(f"{r:g}" for r in rates)
        notes.append(f"parts have {shown} steps a second; a target at one place of a chunk is not the same time ahead")
    return notes
