"""Verify the configs `planner` and `vqa` of an export: every row, every share, and that no image is in two splits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import ExportError, VladataError
from ..prompts import Renderer, parse_template
from ..workers import Failed, run
from ._compare_texts import ComparedText, CompareTextUnit, compare_text_shard, described
from ._external import ChooseUnit, Chosen, choose, wanted_rows
from ._external_read import image_root
from ._fit import Progress
from ._folder import MANIFEST
from ._gather import EpisodeSource
from ._options import ExportOptions, ExternalData
from ._rows import Layout
from ._text_plan import JSON_MEMORY, STALL_S, Texts
from ._text_rows import VQA, configs_of
from ._wording import Wording

__all__ = ["TextCheck", "TextsCompared", "compare_texts"]

Line = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TextCheck:
    """What is needed to verify the configs of text."""

    out: Path
    options: ExportOptions
    layout: Layout
    is_same_software: bool
    sources: Mapping[int, EpisodeSource]
    """By episode index."""
    episodes: Sequence[Line]
    """The lineage, as the manifest has it."""
    files: Sequence[Line]
    """All shards of the manifest."""
    configs: Mapping[str, object]
    """Splits by config, as the manifest has them."""
    texts: Mapping[str, object]
    """What the manifest says of the configs of text."""
    places: Mapping[str, Path]
    """Where others' data are, by name, as far as that is known."""
    workers: int
    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class TextsCompared:
    """What verification saw."""

    rows: int
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    """What could not be compared."""


def compare_texts(check: TextCheck) -> TextsCompared:
    """Re-read every row of the configs of text."""
    rows, problems, notes = 0, list[str](), list[str]()
    for config in configs_of(check.options):
        lines = [f for f in check.files if f.get("config") == config]
        wording = _wording(check, config)
        if isinstance(wording, str):
            problems.append(wording)
            continue
        units = [_unit(check, line, wording) for line in lines]
        compared = _compared(check, units, problems)
        for index in sorted(compared):
            problems += compared[index].problems
        own = [(line, compared[i]) for i, line in enumerate(lines) if i in compared]
        problems += _coverage(check, config, own)
        if config == VQA:
            problems += _one_split(own)
            told = _from_source(check, own, wording)
            problems, notes = problems + told[0], notes + told[1]
        rows += sum(len(c.steps) + len(c.others) for _, c in own)
    return TextsCompared(rows=rows, problems=tuple(problems), notes=tuple(notes))


def _wording(check: TextCheck, config: str) -> Wording | str:
    facts = check.texts.get(config)
    template = facts.get("template") if isinstance(facts, Mapping) else None
    try:
        if not isinstance(template, str):
            raise ExportError("it does not say the template")
        return Wording(renderer=Renderer.build(parse_template(template.encode(), config)))
    except VladataError as error:
        return f"{MANIFEST}: config {config}: {error}"


def _unit(check: TextCheck, line: Line, wording: Wording) -> CompareTextUnit:
    file, members = str(line["file"]), set[int]()
    for episode in check.episodes:
        shards, index = episode["shards"], episode["episode_index"]
        if isinstance(shards, list) and file in shards and isinstance(index, int):
            members.add(index)
    return CompareTextUnit(
        out=check.out,
        file=file,
        size=_int(line.get("size")),
        sha256=str(line["sha256"]),
        config=str(line["config"]),
        layout=check.layout,
        options=check.options,
        is_same_software=check.is_same_software,
        sources={i: s for i, s in check.sources.items() if i in members},
        wording=wording,
    )


def _compared(check: TextCheck, units: Sequence[CompareTextUnit], problems: list[str]) -> dict[int, ComparedText]:
    compared = {}
    outcomes = run(compare_text_shard, units, workers=check.workers, stall_s=STALL_S)
    for done, outcome in enumerate(outcomes, start=1):
        if isinstance(outcome, Failed):
            problems.append(f"{units[outcome.index].file}: {outcome.reason}")
        else:
            compared[outcome.index] = outcome.result
        check.progress(done, len(units), "comparing shards")
    return compared


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0


def _coverage(check: TextCheck, config: str, own: Sequence[tuple[Line, ComparedText]]) -> list[str]:
    """Whether every row of every episode is there once, in order, in the episode's split; and the splits' sizes."""
    problems = []
    places: dict[int, list[int]] = {}
    split_of = {_int(e["episode_index"]): e["split"] for e in check.episodes}
    rows: dict[str, int] = {}
    for line, compared in own:
        count, split = len(compared.steps) + len(compared.others), str(line.get("split"))
        rows[split] = rows.get(split, 0) + count
        if count != line.get("rows"):
            problems.append(f"{line['file']}: {count} rows; the manifest says {line.get('rows')}")
        for episode, place in compared.steps.tolist():
            places.setdefault(episode, []).append(place)
        wrong = sorted({e for e in compared.steps[:, 0].tolist() if split_of.get(e) != split})
        problems += [f"{line['file']}: episode {e} is of split {split_of.get(e)}" for e in wrong]
    for episode_line in check.episodes:
        index, text_rows = _int(episode_line["episode_index"]), episode_line.get("text_rows")
        stated = text_rows.get(config) if isinstance(text_rows, Mapping) else None
        found = np.array(places.get(index, []), dtype=np.int64)
        if len(found) != stated or (found != np.arange(len(found))).any():
            problems.append(f"episode {index}: {len(found)} rows of {config} in the shards; must be {stated}, in order")
    declared = check.configs.get(config)
    splits = declared.get("splits") if isinstance(declared, Mapping) else None
    stated_rows = {n: s.get("rows") for n, s in splits.items()} if isinstance(splits, Mapping) else {}
    if stated_rows != rows:
        problems.append(f"{MANIFEST}: config {config} has {stated_rows} rows; its shards have {rows}")
    return problems


def _one_split(own: Sequence[tuple[Line, ComparedText]]) -> list[str]:
    split_of: dict[str, str] = {}
    return [
        f"{line['file']}: image {image[:12]} of others' data is in {split_of[image]} as well"
        for line, compared in own
        for image in compared.images
        if split_of.setdefault(image, str(line.get("split"))) != line.get("split")
    ]


def _from_source(
    check: TextCheck, own: Sequence[tuple[Line, ComparedText]], wording: Wording
) -> tuple[list[str], list[str]]:
    """Others' rows against the data they came from, where that is still to be found: problems, and notes."""
    vqa = check.options.vqa
    if vqa is None or not vqa.external:
        return [], []
    found: dict[str, Chosen] = {}
    sources = [replace(s, path=check.places.get(s.name, s.path)) for s in vqa.external]
    missing = [s.name for s in sources if s.name not in check.places or not s.path.exists()]
    facts = check.texts.get(VQA)
    if isinstance(facts, Mapping) and facts.get("base_sha256") is not None:
        return [], ["others' data was chosen with a base tokenizer: its rows were compared with themselves alone"]
    if missing:
        return [], [f"others' data {', '.join(missing)} not found: their rows were compared with themselves alone"]
    episode_rows = dict.fromkeys(check.options.splits, 0)
    for line, compared in own:
        episode_rows[str(line.get("split"))] += len(compared.steps)
    wanted = wanted_rows(episode_rows, sources)
    units = [_choose_unit(s, wanted[s.name], check, wording) for s in sources]
    outcomes = run(choose, units, workers=check.workers, memory_bytes=JSON_MEMORY, stall_s=STALL_S)
    for outcome in outcomes:
        name = sources[outcome.index].name
        if isinstance(outcome, Failed):
            return [f"others' data {name}: {outcome.reason}"], []
        found[name] = outcome.result
    texts = Texts(chosen={s.name: found[s.name] for s in sources}, seed=vqa.seed)
    problems = []
    for split in check.options.splits:
        stored = [d for line, compared in own if line.get("split") == split for d in compared.others]
        expected = [described(row, wording) for row in texts.external(split)]
        if stored != expected:
            problems.append(
                f"{VQA}: {split}: {len(stored)} rows of others' data; the data that is there gives {len(expected)}, "
                f"{sum(a == b for a, b in zip(stored, expected, strict=False))} of them equal"
            )
    return problems, []


def _choose_unit(source: ExternalData, wanted: Mapping[str, int], check: TextCheck, wording: Wording) -> ChooseUnit:
    image_root(source)  # raises where the file is gone
    seed = check.options.vqa.seed if check.options.vqa is not None else 0
    return ChooseUnit(external=source, wanted=wanted, splits=check.options.splits, seed=seed, wording=wording)
