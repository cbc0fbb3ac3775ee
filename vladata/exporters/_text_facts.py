"""What notes, manifest and card say of the configs `planner` and `vqa`."""

from collections.abc import Iterable, Mapping

from ._markdown import code, escape, table
from ._schema import IMAGES
from ._text_rows import EXECUTOR, PLANNER, VQA, configs_of
from ._work import Job

__all__ = ["DESCRIPTIONS", "text_card", "text_manifest", "text_notes"]

DESCRIPTIONS = {
    EXECUTOR: "image and instruction to action",
    PLANNER: "image and goal to the next subtask",
    VQA: "image and question to answer",
}
_SOURCE = ["`source`", "string", "`episodes`, or the name of others' data, whose rows have no episode"]
_PLACE = [["`episode_index`, `episode_id`, `step_index`, `timestamp`", "as in executor", "where the row comes from"]]
_PLANNER = [
    ["`decision`", "string", "why the planner is asked: `start`, `change`, `interval`, `end`"],
    ["`goal`", "string", "the task"],
    ["`history`", "string list", "subtasks that were over before `subtask` began"],
    ["`subtask`", "string", "what was being done when the planner was last shown a step"],
    [
        "`next_subtask`, `is_done`",
        "string, bool",
        "what is to be done from here on; empty and true: nothing",
    ],
    ["`outcome`", "string", "of the episode: `success`, `failure`, or empty"],
    ["images, `observation.state`", "as in executor", "what is seen and measured at the step"],
]
_VQA = [
    ["`kind`", "string", "what is asked about"],
    ["`question`, `answer`", "string, string", "the last turn"],
    ["`evidence`", "string", "what the answer follows from, as JSON"],
    ["`images`, `cameras`", "image list, string list", "what the step shows; the camera of each"],
]
Mixed = Mapping[str, Mapping[str, Mapping[str, int]]]


def text_notes(job: Job, mixed: Mixed) -> list[str]:
    """What a user should know, one line each."""
    notes = []
    for config in configs_of(job.options):
        rows = sum(g.texts[config].num_rows for g in job.prepared.gathered)
        if rows == 0:
            notes.append(f"{config}: no episode gives a row; the config is not declared")
        if config == PLANNER:
            left_out = _summed(g.texts[config].left_out for g in job.prepared.gathered)
            notes += [f"{config}: {reason}: {count:,}" for reason, count in left_out.items()]
    for name, splits in mixed.items():
        for split, counts in splits.items():
            if counts["rows"] < counts["wanted"]:
                notes.append(
                    f"{name}: {counts['rows']:,} rows for {split}, {counts['wanted']:,} would make up the declared "
                    "share; none is repeated"
                )
        chosen = job.texts.chosen[name]
        refused = sum(chosen.refused.values())
        if refused:
            reasons = ", ".join(f"{reason}: {count:,}" for reason, count in chosen.refused.items())
            notes.append(f"{name}: {refused:,} of {chosen.num_read:,} rows refused: {reasons}")
            notes += [f"{name}: {example}" for example in chosen.examples]
    return notes


def _words(job: Job, config: str) -> list[list[str]]:
    """What stands in the columns of the prompt."""
    wording = job.texts.wording[config]
    name = code(wording.renderer.template.name)
    rows = [["`target`", "string", "the answer as text"]]
    if wording.is_chat:
        return [
            *rows,
            ["`prompt`, `completion`", "messages", f"template {name}: the last message, and all before it"],
        ]
    rows.append(["`prompt`", "string", f"template {name}"])
    if wording.has_ids:
        rows.append(["`input_ids`, `labels`, `loss_mask`", "lists", "prompt, target, end of text; -100 without loss"])
    return rows


def _summed(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for own in counts:
        for name, count in own.items():
            total[name] = total.get(name, 0) + count
    return dict(sorted(total.items()))


def text_manifest(job: Job, mixed: Mixed) -> dict[str, object]:
    """What the manifest says of the configs of text, by config: template, counts, others' data."""
    found: dict[str, object] = {}
    for config in configs_of(job.options):
        texts = [g.texts[config] for g in job.prepared.gathered]
        found[config] = {
            **job.texts.wording[config].facts(),
            "groups": _summed(t.groups for t in texts),
            "left_out": _summed(t.left_out for t in texts),
        }
        if config == VQA:
            found[config] |= {"external": _external(job, mixed)}  # type: ignore[operator]
    return found


def _external(job: Job, mixed: Mixed) -> list[dict[str, object]]:
    sources = job.options.vqa.external if job.options.vqa is not None else ()
    return [
        {
            **s.to_dict(),
            "splits": mixed[s.name],
            "rows_read": job.texts.chosen[s.name].num_read,
            "refused": dict(job.texts.chosen[s.name].refused),
        }
        for s in sources
    ]


def text_card(job: Job, configs: Mapping[str, Mapping[str, object]], mixed: Mixed) -> str:
    """The card's section on the configs of text; empty where there are none."""
    return "\n\n".join(
        part
        for config in configs_of(job.options)
        if config in configs
        for part in (_planner(job) if config == PLANNER else _vqa(job, mixed))
    )


def _planner(job: Job) -> list[str]:
    groups = _summed(g.texts[PLANNER].groups for g in job.prepared.gathered)
    rows = [[*map(escape, name.split(": ")), f"{count:,}"] for name, count in groups.items()]
    left_out = _summed(g.texts[PLANNER].left_out for g in job.prepared.gathered)
    said = "\n".join(f"- {escape(reason)}: {count:,}" for reason, count in left_out.items())
    every = job.options.planner.every_s if job.options.planner is not None else 0.0
    columns = ", ".join(code(IMAGES + c.name) for c in job.prepared.layout.cameras)
    return [
        "## Config planner",
        "What a planner is asked and must answer: the goal, the subtasks that are over, what is being done, the images "
        f"({columns}), and the subtask that holds from the step on, or that the task is done. It is asked at the "
        f"beginning, where the subtask changes, every {every:g} s, and at the end. Episodes without subtasks give no "
        "rows.",
        table(["column", "type", "meaning"], [*_PLACE, *_PLANNER, *_words(job, PLANNER)]),
        table(["asked at", "answer", "rows"], rows),
        *([f"Left out:\n\n{said}"] if said else []),
    ]


def _vqa(job: Job, mixed: Mixed) -> list[str]:
    groups = _summed(g.texts[VQA].groups for g in job.prepared.gathered)
    rows = [[*map(escape, name.split(": ")), f"{count:,}"] for name, count in groups.items()]
    without = _summed(g.texts[VQA].left_out for g in job.prepared.gathered)
    said = "\n".join(f"- {escape(reason)} ({count:,} episodes)" for reason, count in without.items())
    parts = [
        "## Config vqa",
        "Questions from templates, whose answers follow from labels, stamps and numbers of the episodes, and from what "
        "the schema says that the numbers mean; no model was asked. The column `evidence` has what an answer follows "
        "from.",
        table(["column", "type", "meaning"], [_SOURCE, *_PLACE, *_VQA, *_words(job, VQA)]),
        table(["kind", "answer", "rows"], rows),
        *([f"Kinds without evidence:\n\n{said}"] if said else []),
    ]
    if mixed:
        parts += _mixed(job, mixed)
    return parts


def _mixed(job: Job, mixed: Mixed) -> list[str]:
    sources = job.options.vqa.external if job.options.vqa is not None else ()
    own: dict[str, int] = {}
    for g, split in zip(job.prepared.gathered, job.prepared.splits, strict=True):
        own[split] = own.get(split, 0) + g.texts[VQA].num_rows
    rows = []
    for source in sources:
        for split, counts in mixed[source.name].items():
            total = own.get(split, 0) + sum(m[split]["rows"] for m in mixed.values())
            share = counts["rows"] / max(1, total)
            rows.append(
                [escape(source.name), code(split), f"{counts['rows']:,}", f"{source.share:.2%}", f"{share:.2%}"]
            )
    return [
        "Image-text data of others is part of this config (`source` names it; its rows have no episode). Rows were "
        "chosen by a hash, none twice, and split by the bytes of their image:",
        table(["source", "split", "rows", "declared share", "reached share"], rows),
    ]
