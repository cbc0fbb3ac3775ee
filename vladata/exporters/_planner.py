"""The rows of the config `planner`: goal and image, and the subtask that the executor shall do from here on."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..episode import Episode
from ._moments import Moments
from ._rows import Layout

__all__ = ["DONE", "PlannerRow", "PlannerRows", "planner_rows"]

DONE = "done"
"""What the planner answers when nothing is left to do."""

Decision = Literal["start", "change", "interval", "end"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannerRow:
    """One decision: what a planner knows at a step, and what it must answer."""

    step: int
    decision: Decision
    """Why the planner is asked here."""
    goal: str
    """The task."""
    history: tuple[str, ...]
    """Subtasks that were over before `subtask` began, oldest first, repeated ones too."""
    subtask: str
    """What was being done when the planner was last shown a step; empty at the beginning and in gaps."""
    next_subtask: str
    """What holds at the step, and so is to be done from here on; empty where the task is done."""
    is_done: bool

    @property
    def target(self) -> str:
        """The planner's answer."""
        return DONE if self.is_done else self.next_subtask


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannerRows:
    """The rows of an episode, in the order of their steps."""

    rows: tuple[PlannerRow, ...]
    left_out: Mapping[str, int]
    """Decisions that are no rows, and episodes without any, by reason."""


def planner_rows(episode: Episode, layout: Layout, every_s: float) -> PlannerRows:
    """Make the planner's rows of an episode.

    The planner is asked at the first step that can be shown, at the first such step of every subtask and after the
    last one, `every_s` seconds after it was asked before, and at the last step. At a boundary the new subtask is the
    answer: the first step at or after the beginning of its label belongs to it, as in the executor's column `subtask`.

    Args:
        episode: One demonstration; without subtasks it gives no rows.
        layout: Cameras and state that a row must have.
        every_s: Seconds between decisions while nothing changes.
    """
    moments = Moments(episode=episode, layout=layout)
    left_out: dict[str, int] = {}
    if not moments.segments:
        return PlannerRows(rows=(), left_out={"episodes without subtasks": 1})
    if moments.num_unseen:
        left_out["subtasks that hold at no step"] = moments.num_unseen
    rows = []
    for step, decision in sorted(_decisions(moments, every_s, left_out).items()):
        row = _row(moments, step, decision)
        if isinstance(row, str):
            left_out[row] = left_out.get(row, 0) + 1
        else:
            rows.append(row)
    return PlannerRows(rows=tuple(rows), left_out=left_out)


def _decisions(moments: Moments, every_s: float, left_out: dict[str, int]) -> dict[int, Decision]:
    """Steps at which the planner is asked, and why; where several reasons meet, the first of `Decision` counts."""
    shown = np.flatnonzero(moments.is_shown)
    if len(shown) == 0:
        left_out["episodes without a step that can be shown"] = 1
        return {}
    found: dict[int, Decision] = {int(shown[0]): "start"}
    at, last = moments.segment_at, len(moments.episode) - 1
    edges = np.flatnonzero(np.diff(at, prepend=-2)).tolist()
    for start, stop in zip(edges, [*edges[1:], len(at)], strict=True):
        first = shown[(shown >= start) & (shown < stop)][:1]
        if len(first):
            found.setdefault(int(first[0]), "change")
        else:
            reason = "changes of the subtask without a step that can be shown"
            left_out[reason] = left_out.get(reason, 0) + 1
    if shown[-1] == last:
        found.setdefault(last, "end")
    else:
        left_out["last steps that can't be shown"] = 1
    time_ns, every_ns = moments.episode.steps.time_ns[shown], round(every_s * 1e9)
    for step, until in itertools.pairwise([*sorted(found), last + 1]):
        # Counted from the decision before, so that none follows on the heels of a change.
        place = int(np.searchsorted(shown, step))
        while True:
            due = time_ns[place] + every_ns
            place += 1 + int(np.searchsorted(time_ns[place + 1 :], due, side="left"))
            if place >= len(shown) or shown[place] >= until:
                break
            found[int(shown[place])] = "interval"
    return found


def _row(moments: Moments, step: int, decision: Decision) -> PlannerRow | str:
    """The row of a decision, or why there is none."""
    goal = moments.task_at(step)
    if not goal:
        return "decisions without a task instruction"
    segments, outcome = moments.segments, moments.episode.outcome
    number = int(moments.segment_at[step])
    is_last = step == len(moments.episode) - 1 and number == len(segments) - 1
    if is_last and not outcome:
        return "last steps of which nobody said whether the task was done"
    if number < 0 and step < segments[-1].stop:
        return "decisions while no subtask holds"
    if number < 0 and outcome == "failure":
        return "decisions after the last subtask of a failed episode"
    is_done = number < 0 or (is_last and outcome == "success")
    before = np.flatnonzero(moments.is_shown[:step])[-1:]
    current = int(moments.segment_at[before[0]]) if len(before) else -1
    over = segments[:current] if current >= 0 else [s for s in segments if s.stop <= step]
    return PlannerRow(
        step=step,
        decision=decision,
        goal=goal,
        history=tuple(s.text for s in over),
        subtask=segments[current].text if current >= 0 else "",
        next_subtask="" if is_done else segments[number].text,
        is_done=is_done,
    )
