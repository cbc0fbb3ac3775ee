"""The card of a mixture: the plan as people read it, and the YAML that `datasets` reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import yaml

from ..exporters._markdown import code, escape, table
from ._apart import EPOCH_CONFIG
from ._folder import EPOCH
from .plan import MixturePlan, Prepared

__all__ = ["Config", "make_card"]

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10**7, "1M<n<10M"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What `datasets` loads under one name."""

    name: str
    splits: Mapping[str, tuple[str, int]]
    """Pattern of the files, and rows, by split."""


def make_card(prepared: Prepared, configs: Sequence[Config], content_digest: str) -> str:
    """The README of a mixture."""
    plan = prepared.plan
    sections = [
        _front(plan, configs, content_digest),
        _title(plan),
        _parts(plan),
        _shares(plan),
        _defects(plan),
        _columns(prepared),
        _loading(prepared, configs),
        _files(prepared),
    ]
    return "\n\n".join(s for s in sections if s) + "\n"


def _front(plan: MixturePlan, configs: Sequence[Config], content_digest: str) -> str:
    rows = plan.epoch_rows
    names = ", ".join(p.name for p in plan.parts)
    content = {
        "pretty_name": f"mixture of {names}"[:100],
        "task_categories": ["robotics"],
        "tags": ["robotics", "vla", "action-tokens", "mixture"],
        "size_categories": [next((name for limit, name in _SIZES if rows < limit), "n>10M")],
        "configs": [
            {
                "config_name": config.name,
                **({"default": True} if i == 0 else {}),
                # The key of the cache of `datasets`: see docs/export.md.
                "description": f"mixture, {config.name}; content sha256 {content_digest}",
                "data_files": [{"split": s, "path": path} for s, (path, _) in config.splits.items()],
            }
            for i, config in enumerate(configs)
        ],
    }
    return f"---\n{yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=200)}---"


def _title(plan: MixturePlan) -> str:
    hours = "" if plan.hours is None else f"({plan.hours:.2f} h) "
    recipe = plan.recipe
    return (
        f"# Mixture of {', '.join(escape(p.name) for p in plan.parts)}\n\nOne epoch has {plan.epoch_rows:,} rows "
        f"{hours}of {len(plan.parts)} datasets and {len(plan.embodiments)} embodiments; seed {recipe.seed}, "
        f"temperature {recipe.temperature:g}, at most {recipe.max_repeats} times the same row. Made by vladata; the "
        "numbers on this page are counted in the rows. `mixture.json` has the whole plan.\n\n"
        "Licence: that of each part, as its own card says: `parts/<part>/README.md`."
    )


def _parts(plan: MixturePlan) -> str:
    header = ["part", "embodiment", "rows", "weight", "probability", "rows of an epoch", "repeats", "hours", "held out"]
    rows = [
        [
            code(p.name),
            code(p.embodiment),
            f"{p.pool:,}" + (f" of {p.rows:,}" if p.pool != p.rows else ""),
            "share" if p.weight is None else f"{p.weight:g}",
            p.probability,
            f"{p.epoch_rows:,}",
            f"{p.repeats:.4g} (at most {p.most})",
            "" if p.hours is None else f"{p.hours:.2f}",
            ", ".join(f"{s}: {n:,}" for s, n in p.held_out.items()) or "none",
        ]
        for p in plan.parts
    ]
    return f"## Parts\n\n{table(header, rows)}\n\nWhat a part holds out is kept whole, never mixed and never repeated."


def _shares(plan: MixturePlan) -> str:
    rows = [
        [code(s.name), f"{s.rows:,}", f"{s.share:.2%}", "" if s.hours is None else f"{s.hours:.2f}"]
        for s in plan.embodiments
    ]
    tasks = [[escape(s.name) or "*(none)*", f"{s.rows:,}", f"{s.share:.2%}"] for s in plan.tasks]
    more, more_rows = plan.other_tasks
    rest = f"\n\nand {more:,} further tasks with {more_rows:,} rows" if more else ""
    return (
        f"## Embodiments\n\n{table(['embodiment', 'rows', 'share', 'hours'], rows)}\n\n"
        f"## Tasks\n\n{table(['task', 'rows', 'share'], tasks)}{rest}"
    )


def _defects(plan: MixturePlan) -> str:
    listed = "\n".join(f"- {escape(note)}" for note in plan.notes) if plan.notes else "None."
    return f"## Known defects and deviations\n\n{listed}"


def _columns(prepared: Prepared) -> str:
    columns = prepared.columns
    if columns is None:
        return ""
    rows = [["`part`, `embodiment`", "string", "where the row comes from"]]
    rows += [[code(n), "image", _owners(prepared, n)] for n in columns.images]
    common = columns.common
    sizes = {
        "observation.state": f"float32 [{common.state}], with `state_mask`",
        "action": f"float32 [{common.action}], with `action_mask`",
        "action_chunk": f"float32 [{common.horizon}][{common.action}]",
        "action_is_pad": f"bool [{common.horizon}]",
    }
    about = "the part's own numbers first, then zeros; a mask is true at the part's own"
    rows += [
        [code(n), sizes[n], about if n != "action_is_pad" else "true where a target carries no loss"]
        for n in columns.vectors
    ]
    rows += [[code(n), "as in the parts", "passed through"] for n in columns.kept]
    own = [[code(s.part), str(s.own.state), str(s.own.action), str(s.own.horizon)] for s in columns.shapes]
    return (
        f"## Columns\n\n{table(['column', 'type', 'meaning'], rows)}\n\n"
        f"{table(['part', 'state', 'action', 'horizon'], own)}\n\nNumbers at one place of two parts are not the same "
        "quantity: their names are in `manifest.json`."
    )


def _owners(prepared: Prepared, name: str) -> str:
    assert prepared.columns is not None
    return "; ".join(f"{escape(s.images[name])} of {code(s.part)}" for s in prepared.columns.shapes if name in s.images)


def _loading(prepared: Prepared, configs: Sequence[Config]) -> str:
    plan = prepared.plan
    if prepared.recipe.layout == "padded":
        return f"""## Loading

```python
from datasets import load_dataset

rows = load_dataset("path/to/this/folder", split="{plan.train}", streaming=True)
```

The rows are in the order of an epoch already: read them one after the other, without an interleaver. Actions come back
in physical units by the part's own tokenizer:

```python
from pathlib import Path
from vladata.action_tokenizer import ActionTokenizer

tokenizers = {{p.name: ActionTokenizer.load(p) for p in Path("path/to/this/folder/action_tokenizer").iterdir()}}
row = next(iter(rows))
chunk = tokenizers[row["part"]].decode_represented([row["action_codes"]])[0]
```"""
    names = [c.name for c in configs if c.name != EPOCH_CONFIG]
    shown = ", ".join(p.probability for p in plan.parts)
    return f"""## Loading

```python
from datasets import load_dataset, interleave_datasets

folder = "path/to/this/folder"
parts = [load_dataset(folder, name, split="{plan.train}", streaming=True) for name in {names}]
```

Map-style: `{EPOCH}` (config `{EPOCH_CONFIG}`) lists `part` and `row` in the order of an epoch. Parts of the same
columns can also be drawn at random, which gives the shares on average only and begins small parts anew without limit:

```python
rows = interleave_datasets(
    parts, probabilities=[{shown}], seed={prepared.recipe.seed}, stopping_strategy="all_exhausted"
)
```"""


def _files(prepared: Prepared) -> str:
    rows = [["`data/`", "the shards"]]
    if prepared.recipe.layout == "apart":
        rows.append([f"`{EPOCH}`", "the rows of an epoch in their order"])
    rows += [
        ["`action_tokenizer/<part>/`", "the action tokenizer of each part"],
        ["`dataset_statistics.json`", "statistics of each part's own train split, under the part's name"],
        ["`norm_stats/<part>/norm_stats.json`", "the same as openpi reads them"],
        ["`parts/<part>/`", "the card and the manifest of each part: licence, defects, lineage of every episode"],
        ["`mixture.json`", "recipe and plan"],
        ["`manifest.json`", "size and SHA-256 of every file"],
    ]
    return f"## Files\n\n{table(['file', 'content'], rows)}"
