"""The dataset card: filled from the data, so that it can't say what is not so."""

import numpy as np
import yaml

from ..embodiment import Camera, Dimension
from ._card_prompts import prompt_section
from ._card_tokens import actions, coded_as, columns, defects, lost, recipe_section, tags
from ._files import Finished
from ._folder import SHARDS
from ._gather import AGE_UNIT_NS
from ._markdown import code, escape, table
from ._plan import sum_refused
from ._schema import IMAGES
from ._text_facts import DESCRIPTIONS, text_card
from ._text_rows import EXECUTOR

__all__ = ["make_card"]

MAX_TASKS = 50
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10**7, "1M<n<10M"))


MOST_STRATA = 20
"""Strata that are listed."""
MOST_ROWS = 50
"""Episodes in quarantine that are named."""


def make_card(finished: Finished) -> str:
    """The README of an export: YAML that `datasets` reads, then what a person must know."""
    facts = finished.token_facts
    sections = [
        _front(finished),
        _title(finished),
        _splits(finished),
        _robot(finished),
        _cameras(finished),
        _tasks(finished),
        _timing(finished),
        actions(facts),
        lost(facts),
        _refused(finished),
        _quarantine(finished),
        recipe_section(facts),
        defects(facts),
        columns(facts),
        prompt_section(facts.prompts, facts.tokenizer, facts.most_ids, facts.state_names),
        text_card(finished.job, finished.configs, finished.mixed),
        _loading(finished),
        _files(),
    ]
    return "\n\n".join(s for s in sections if s) + "\n"


def _front(finished: Finished) -> str:
    rows = sum(s.rows for s in finished.splits.values())
    content = {
        "pretty_name": finished.job.prepared.layout.embodiment.name,
        "task_categories": ["robotics"],
        "tags": tags(finished.job.options.tokenizer),
        "size_categories": [next((name for limit, name in _SIZES if rows < limit), "n>10M")],
        "configs": [_declared(finished, config) for config in finished.configs],
    }
    return f"---\n{yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=200)}---"


def _declared(finished: Finished, config: str) -> dict[str, object]:
    return {
        "config_name": config,
        **({"default": True} if config == EXECUTOR else {}),
        # `datasets` keys its cache by this text and the patterns below, not by the files: without the digest it would
        # go on serving the old rows after an export into the same folder.
        "description": f"{DESCRIPTIONS[config]}; content sha256 {finished.digest_of(config)}",
        "data_files": [
            {"split": name, "path": f"{SHARDS}/{config}/{name}-*-of-{split.shards:05d}.parquet"}
            for name, split in finished.configs[config].items()
        ],
    }


def _title(finished: Finished) -> str:
    prepared = finished.job.prepared
    rows = sum(s.rows for s in finished.splits.values())
    episodes = sum(s.episodes for s in finished.splits.values())
    rate = prepared.layout.embodiment.rate_hz
    licences = sorted({text for g in prepared.gathered for text in g.facts.values()})
    said = ", ".join(escape(text) for text in licences) if licences else "not stated by the recordings"
    return (
        f"# {escape(prepared.layout.embodiment.name)}: action-tokenized demonstrations\n\n"
        f"{rows:,} rows from {episodes:,} demonstrations at {rate:g} Hz ({rows / rate / 3600:.2f} h), with the actions "
        f"{coded_as(finished.job.options.tokenizer)}. Made by vladata; the numbers on this page are counted in the "
        f"data.\n\nLicence: {said}."
    )


def _splits(finished: Finished) -> str:
    prepared = finished.job.prepared
    outcomes = ("success", "failure", "")
    rows = []
    for name, split in finished.splits.items():
        entries = [s.entry for s, own in zip(prepared.sources, prepared.splits, strict=True) if own == name]
        counts = [str(sum(e.outcome == o for e in entries)) for o in outcomes]
        rows.append([code(name), f"{split.episodes:,}", f"{split.rows:,}", f"{split.shards:,}", *counts])
    header = ["split", "episodes", "rows", "shards", "success", "failure", "outcome not said"]
    left = "".join(f"\n- {count:,} episodes left out: {escape(reason)}" for reason, count in prepared.left_out.items())
    options = finished.job.options
    strata = f", with about equal shares of {', '.join(map(escape, options.stratify_by))}" * bool(options.stratify_by)
    facts = [*prepared.grouping.lines(), *(f"{n} not said: {c:,} episodes" for n, c in prepared.unsaid.items())]
    left += "".join(f"\n- {escape(fact)}" for fact in facts)
    return (
        f"## Splits and outcomes\n\n{table(header, rows)}\n\nEpisodes are split whole, by a hash of their content with "
        f"seed {options.seed}{strata}; episodes of equal content are in one split, and so are those of a group. "
        f"Outcomes count episodes, also those without a row.\n{left}{_strata(finished)}"
    )


def _strata(finished: Finished) -> str:
    """How the episodes of each stratum came out."""
    strata, options = finished.job.prepared.episodes_by_stratum, finished.job.options
    if len(strata) < 2:
        return ""
    rows = [[escape(name), *(f"{n:,}" for n in counts.values())] for name, counts in list(strata.items())[:MOST_STRATA]]
    more = f"\n\nand {len(strata) - MOST_STRATA:,} smaller ones" if len(strata) > MOST_STRATA else ""
    header = [" / ".join(map(escape, options.stratify_by)), *map(code, options.splits)]
    return f"\n\nEpisodes by stratum:\n\n{table(header, rows)}{more}"


def _robot(finished: Finished) -> str:
    layout = finished.job.prepared.layout
    embodiment = layout.embodiment
    rows = []
    for column, signals in (("observation.state", layout.state), ("action", layout.action)):
        place = 0
        for signal in signals:
            for dimension in signal.dimensions:
                rows.append(_dimension(f"{column}[{place}]", f"{signal.name}.{dimension.name}", dimension))
                place += 1
    frames = []
    for signal in (*layout.state, *layout.action):
        about = [f"in frame {escape(signal.reference_frame)}"] if signal.reference_frame else []
        about += [f"rotations as {code(str(signal.rotation))}"] if signal.rotation else []
        frames += [f"- {code(signal.name)}: {', '.join(about)}"] if about else []
    header = ["column", "dimension", "kind", "unit", "mode", "limits", "open / closed"]
    words = f"{escape(embodiment.description)}\n\n" if embodiment.description else ""
    return (
        f"## Robot\n\n{words}Embodiment {code(embodiment.name)}, version {embodiment.version}, schema digest "
        f"{code(embodiment.digest[:16])}, {embodiment.rate_hz:g} steps a second.\n\n{table(header, rows)}"
        + ("\n\n" + "\n".join(frames) if frames else "")
    )


def _dimension(column: str, name: str, dimension: Dimension) -> list[str]:
    limits = f"{dimension.limits[0]:g} to {dimension.limits[1]:g}" if dimension.limits else ""
    ends = (dimension.open_value, dimension.closed_value)
    gripper = "" if ends == (None, None) else " / ".join("?" if e is None else f"{e:g}" for e in ends)
    unit = f"{dimension.unit}, scaled by the recorder" if dimension.normalized else str(dimension.unit)
    return [code(column), code(name), str(dimension.kind), unit, str(dimension.mode or ""), limits, gripper]


def _cameras(finished: Finished) -> str:
    layout, options = finished.job.prepared.layout, finished.job.options
    rows = []
    for camera in layout.cameras:
        uses = [g.cameras[camera.name] for g in finished.job.prepared.gathered if camera.name in g.cameras]
        codecs = ", ".join(sorted({use.codec for use in uses}))
        is_rendered = any(use.is_rendered for use in uses)
        size = options.image_size or (camera.height, camera.width)
        how = f"JPEG, quality {options.jpeg_quality}" if is_rendered else "as stored, byte for byte"
        if options.image_size:
            how += f", {options.resize}"
        written = f"{size[0]} x {size[1]}"
        rows.append([code(IMAGES + camera.name), camera.role, _as_stored(camera), codecs, written, how])
    header = ["column", "role", "stored, height x width", "codec", "written", "how"]
    return f"## Cameras\n\n{table(header, rows)}" if rows else ""


def _as_stored(camera: Camera) -> str:
    depth = f", depth in {camera.depth.scale:g} {camera.depth.unit}" if camera.depth else ""
    return f"{camera.height} x {camera.width}{depth}"


def _tasks(finished: Finished) -> str:
    tasks = finished.tasks
    shown = list(tasks.items())[:MAX_TASKS]
    rows = [[escape(task) or "*(none)*", f"{n:,}", f"{episodes:,}"] for task, (n, episodes) in shown]
    more = f"\n\n{len(tasks) - MAX_TASKS:,} further tasks are in the column `task`." if len(tasks) > MAX_TASKS else ""
    with_subtask = sum(g.num_subtask_rows for g in finished.job.prepared.gathered)
    return (
        f"## Tasks\n\n{table(['task', 'rows', 'episodes'], rows)}{more}\n\n"
        f"{with_subtask:,} rows have a subtask as well."
    )


def _timing(finished: Finished) -> str:
    ages: dict[str, dict[int, int]] = {}
    for g in finished.job.prepared.gathered:
        for name, (values, counts) in g.ages.items():
            total = ages.setdefault(name, {})
            for value, count in zip(values.tolist(), counts.tolist(), strict=True):
                total[value] = total.get(value, 0) + count
    if not ages:
        return (
            "## Timing\n\nSkew between streams: not measured; the source's rows were steps already and passed through."
        )
    rows = []
    for name, total in ages.items():
        if total:
            figures = [_quantile(total, q) * AGE_UNIT_NS / 1e6 for q in (0.5, 0.95, 1.0)]
            rows.append([code(name), *(f"{f:.1f}" for f in figures)])
    header = ["stream", "p50 ms", "p95 ms", "largest ms"]
    return f"## Timing\n\nTime between a step and the sample it was given:\n\n{table(header, rows)}"


def _quantile(counts: dict[int, int], q: float) -> int:
    """The smallest value that at least this share does not exceed."""
    values = sorted(counts)
    below = np.cumsum([counts[v] for v in values])
    return values[int(np.searchsorted(below, q * below[-1], side="left"))]


def _refused(finished: Finished) -> str:
    gathered = finished.job.prepared.gathered
    refused = sum_refused(gathered)
    total = sum(g.counts.num_steps for g in gathered)
    if not refused:
        return f"## Refused steps\n\nNone of {total:,} steps was refused."
    rows = [[escape(reason), f"{count:,}", f"{count / total:.2%}"] for reason, count in refused.items()]
    return (
        "## Refused steps\n\nSteps that are no rows, each counted once, by the first reason that applies; NaN never "
        f"becomes a token.\n\n{table(['reason', 'steps', f'of {total:,}'], rows)}"
    )


def _quarantine(finished: Finished) -> str:
    marks = finished.job.prepared.quarantined
    title = "## Quarantine\n\n"
    if not marks:
        return f"{title}No episode of the dataset is marked as one with errors."
    is_left_out = finished.job.options.quarantined == "leave_out"
    what = "are left out" if is_left_out else "**are part of this export, as it was asked for**"
    shown = marks[:MOST_ROWS]
    rows = [[escape(place), escape(", ".join(m.checks) or m.author), escape(m.reason)] for place, m in shown]
    more = f"\n\nand {len(marks) - MOST_ROWS:,} more" if len(marks) > MOST_ROWS else ""
    head = f"{len(marks):,} episodes are marked as ones with errors; they {what}."
    return f"{title}{head}\n\n{table(['episode', 'marked by', 'reason'], rows)}{more}"


def _loading(finished: Finished) -> str:
    first = next(iter(finished.splits))
    needs_state = finished.job.tokenizer.representation.needs_state
    decode = (
        "# Targets are relative to the observation: tokenizer.decode(codes, state) gives them as recorded.\n"
        if needs_state
        else ""
    )
    return f"""## Loading

```python
from datasets import load_dataset

rows = load_dataset("path/to/this/folder", split="{first}")
```

`streaming=True` works as well. Decoded images need Pillow (`pip install pillow`). To get actions back
in physical units:

```python
import numpy as np
from pathlib import Path
from vladata.action_tokenizer import ActionTokenizer

tokenizer = ActionTokenizer.load(Path("path/to/this/folder/action_tokenizer"))
codes = np.array(rows[0]["action_codes"])[None]
{decode}chunk = tokenizer.decode_represented(codes)[0]
```"""


def _files() -> str:
    rows = [
        [f"`{SHARDS}/`", "the shards, a folder for each config"],
        ["`action_tokenizer/`", "representation, normalization, codec and ids with test vectors and one digest"],
        [
            "`norm_stats.json`, `dataset_statistics.json`",
            "statistics of the first split as openpi and OpenVLA read them",
        ],
        ["`manifest.json`", "size and SHA-256 of every file; the way from source files over episodes to shards"],
    ]
    return f"## Files\n\n{table(['file', 'content'], rows)}"
