"""Rows of the configs whose target is text, `planner` and `vqa`, of one episode."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..documents import canonical_json
from ..episode import Episode
from ..errors import ExportError
from ._external import check_external
from ._options import ExportOptions
from ._planner import planner_rows
from ._rows import Layout
from ._vqa import kinds_of, vqa_rows

__all__ = [
    "EXECUTOR",
    "PLANNER",
    "VQA",
    "TextCounts",
    "TextRow",
    "TextRows",
    "check_texts",
    "configs_of",
    "count_texts",
    "text_rows",
    "vqa_cameras",
]

EXECUTOR, PLANNER, VQA = "executor", "planner", "vqa"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRow:
    """One row of an episode, before its images are there."""

    step: int
    columns: Mapping[str, object]
    """What the config has beside place, images and prompt."""
    fields: Mapping[str, str]
    """What a prompt template can ask for."""
    target: str
    group: str
    """Rows to be counted together."""

    @property
    def key(self) -> str:
        """What tells it from the other rows of its episode, with everything that it says."""
        return canonical_json([self.step, self.columns, self.target])


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRows:
    """The rows of an episode in one config, in the order of their steps."""

    rows: tuple[TextRow, ...]
    left_out: Mapping[str, int]
    """What gives no rows, by reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextCounts:
    """How many rows an episode has in one config."""

    num_rows: int
    groups: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)


def configs_of(options: ExportOptions) -> tuple[str, ...]:
    """Configs of text that are asked for."""
    asked = {PLANNER: options.planner, VQA: options.vqa}
    return tuple(name for name, own in asked.items() if own is not None)


def vqa_cameras(layout: Layout) -> tuple[str, ...]:
    """Cameras whose images a question is about: all but those of depth."""
    return tuple(c.name for c in layout.cameras if c.depth is None)


def check_texts(options: ExportOptions, layout: Layout) -> None:
    """Refuse what can't be asked of these episodes.

    Raises:
        ExportError: A kind is unknown, there is no image to ask about, or others' data can't be mixed in.
    """
    if options.vqa is not None:
        kinds_of(options.vqa.kinds)
        check_external(options.vqa.external)
        if not vqa_cameras(layout):
            raise ExportError(f"{layout.embodiment.name} has no camera; questions need one that sees more than depth")


def text_rows(config: str, episode: Episode, layout: Layout, options: ExportOptions) -> TextRows:
    """Make the rows of an episode in one config; none where the config is not asked for."""
    if config == PLANNER:
        return _planner(episode, layout, options)
    return _vqa(episode, layout, options)


def count_texts(episode: Episode, layout: Layout, options: ExportOptions) -> tuple[dict[str, TextCounts], set[int]]:
    """What an episode gives in each config of text, and the steps that are shown there."""
    counts, steps = {}, set[int]()
    for config in configs_of(options):
        found = text_rows(config, episode, layout, options)
        groups: dict[str, int] = {}
        for row in found.rows:
            groups[row.group] = groups.get(row.group, 0) + 1
            steps.add(row.step)
        counts[config] = TextCounts(num_rows=len(found.rows), groups=groups, left_out=found.left_out)
    return counts, steps


def _planner(episode: Episode, layout: Layout, options: ExportOptions) -> TextRows:
    if options.planner is None:
        return TextRows(rows=(), left_out={})
    found = planner_rows(episode, layout, options.planner.every_s)
    rows = [
        TextRow(
            step=r.step,
            columns={
                "decision": r.decision,
                "goal": r.goal,
                "history": list(r.history),
                "subtask": r.subtask,
                "next_subtask": r.next_subtask,
                "is_done": r.is_done,
                "outcome": episode.outcome,
            },
            fields={
                "goal": r.goal,
                "task": r.goal,
                "subtask": r.subtask or "nothing yet",
                "done": ", ".join(r.history) or "nothing yet",
            },
            target=r.target,
            group=f"{r.decision}: {'done' if r.is_done else 'next' if r.next_subtask != r.subtask else 'go on'}",
        )
        for r in found.rows
    ]
    return TextRows(rows=tuple(rows), left_out=found.left_out)


def _vqa(episode: Episode, layout: Layout, options: ExportOptions) -> TextRows:
    vqa = options.vqa
    if vqa is None:
        return TextRows(rows=(), left_out={})
    found = vqa_rows(episode, layout, per_episode=vqa.per_episode, kinds=kinds_of(vqa.kinds), seed=vqa.seed)
    rows = [
        TextRow(
            step=r.step,
            columns={"kind": r.kind, "question": r.question, "answer": r.answer, "evidence": r.evidence},
            fields={"question": r.question},
            target=r.answer,
            group=f"{r.kind}: {r.group}",
        )
        for r in found.rows
    ]
    return TextRows(rows=tuple(rows), left_out=found.without)
