"""The planner's rows: when it is asked, what it knows, what it must answer."""

import dataclasses
import itertools
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vladata.episode import Episode
from vladata.exporters._moments import Moments
from vladata.exporters._options import ExportOptions
from vladata.exporters._planner import DONE, PlannerRows, planner_rows
from vladata.exporters._rows import Layout, rows_of
from vladata.recording import Instruction, Outcome
from vladata.testing.builders import START_NS, build_embodiment, build_episode

ARM = build_embodiment()
LAYOUT = Layout.build(ARM, ExportOptions())
TASK = Instruction(text="put the cube into the bin")


def subtask(text: str, begin_s: float | None, end_s: float | None = None) -> Instruction:
    times = [None if t is None else START_NS + round(t * 1e9) for t in (begin_s, end_s)]
    return Instruction(text=text, kind="subtask", time_ns=times[0], end_ns=times[1])


def episode_of(*subtasks: Instruction, outcome: str = "success", **knobs: Any) -> Episode:
    outcomes = (Outcome(kind=outcome),) if outcome else ()  # type: ignore[arg-type]
    return build_episode(ARM, instructions=(TASK, *subtasks), outcomes=outcomes, **{"duration_s": 3.0, **knobs})


def table(rows: PlannerRows) -> list[tuple[int, str, str, str]]:
    return [(r.step, r.decision, r.subtask, r.target) for r in rows.rows]


REACH, GRASP, LIFT = subtask("reach", 0.0), subtask("grasp", 1.05), subtask("lift", 2.0)


def test_planner_is_asked_at_the_start_at_changes_in_between_and_at_the_end() -> None:
    found = planner_rows(episode_of(REACH, GRASP, LIFT), LAYOUT, 0.7)
    assert table(found) == [
        (0, "start", "", "reach"),
        (7, "interval", "reach", "reach"),
        (11, "change", "reach", "grasp"),
        (18, "interval", "grasp", "grasp"),
        (20, "change", "grasp", "lift"),
        (27, "interval", "lift", "lift"),
        (30, "end", "lift", DONE),
    ]
    assert [r.history for r in found.rows if r.decision != "interval"] == [(), (), ("reach",), ("reach", "grasp")]
    assert [r.is_done for r in found.rows] == [False] * 6 + [True]
    assert {r.goal for r in found.rows} == {"put the cube into the bin"}
    assert found.left_out == {}


def test_a_step_at_the_very_beginning_of_a_label_belongs_to_the_new_subtask() -> None:
    episode = episode_of(REACH, GRASP, LIFT)
    executor = rows_of(episode, LAYOUT).subtasks
    for row in planner_rows(episode, LAYOUT, 0.1).rows:
        assert row.is_done or row.next_subtask == executor[row.step]
    assert executor[19:21] == ["grasp", "lift"]


def test_history_does_not_tell_that_the_subtask_has_just_ended() -> None:
    rows = {r.step: r for r in planner_rows(episode_of(REACH, GRASP, LIFT), LAYOUT, 10.0).rows}
    assert (rows[20].history, rows[20].subtask, rows[20].next_subtask) == (("reach",), "grasp", "lift")


def test_a_failed_episode_is_not_done_at_its_end() -> None:
    found = planner_rows(episode_of(REACH, GRASP, outcome="failure"), LAYOUT, 10.0)
    assert table(found)[-1] == (30, "end", "grasp", "grasp")
    assert not any(r.is_done for r in found.rows)


def test_the_last_step_is_no_row_where_nobody_said_how_it_ended() -> None:
    found = planner_rows(episode_of(REACH, GRASP, outcome=""), LAYOUT, 10.0)
    assert [r.step for r in found.rows] == [0, 11]
    assert found.left_out == {"last steps of which nobody said whether the task was done": 1}


def test_after_the_end_of_the_last_subtask_the_task_is_done() -> None:
    episode = episode_of(REACH, subtask("grasp", 1.0, 2.0), outcome="")
    assert table(planner_rows(episode, LAYOUT, 10.0))[2:] == [(20, "change", "grasp", DONE), (30, "end", "", DONE)]
    failed = planner_rows(episode_of(REACH, subtask("grasp", 1.0, 2.0), outcome="failure"), LAYOUT, 10.0)
    assert failed.left_out == {"decisions after the last subtask of a failed episode": 2}


def test_while_no_subtask_holds_there_is_nothing_to_answer() -> None:
    found = planner_rows(episode_of(subtask("reach", 0.0, 1.0), LIFT), LAYOUT, 10.0)
    assert table(found) == [(0, "start", "", "reach"), (20, "change", "", "lift"), (30, "end", "lift", DONE)]
    assert found.rows[1].history == ("reach",)
    assert found.left_out == {"decisions while no subtask holds": 1}


def test_repeated_subtasks_stand_in_the_history_each_time() -> None:
    found = planner_rows(episode_of(REACH, GRASP, subtask("reach", 2.0), subtask("grasp", 2.5)), LAYOUT, 10.0)
    assert found.rows[-1].history == ("reach", "grasp", "reach")


def test_neighbours_of_equal_text_are_one_subtask() -> None:
    found = planner_rows(episode_of(REACH, subtask("reach", 1.0), LIFT), LAYOUT, 10.0)
    assert [r.step for r in found.rows] == [0, 20, 30]


def test_episodes_without_subtasks_give_no_rows() -> None:
    assert planner_rows(episode_of(), LAYOUT, 1.0) == PlannerRows(rows=(), left_out={"episodes without subtasks": 1})


def test_decisions_without_a_task_are_left_out() -> None:
    episode = dataclasses.replace(episode_of(REACH), instructions=(REACH,))
    assert planner_rows(episode, LAYOUT, 10.0).left_out == {"decisions without a task instruction": 2}


def test_a_subtask_between_two_steps_is_counted() -> None:
    found = planner_rows(episode_of(REACH, subtask("blink", 1.01, 1.02), subtask("lift", 1.02)), LAYOUT, 10.0)
    assert found.left_out == {"subtasks that hold at no step": 1}


def test_a_step_without_an_image_is_not_asked_about_but_the_next_one_is() -> None:
    def blind(steps: Any) -> Any:
        images = {"front": steps.images["front"].copy()}
        images["front"][[0, 20, 21, 30]] = -1
        return dataclasses.replace(steps, images=images)

    found = planner_rows(episode_of(REACH, GRASP, LIFT, steps=blind), LAYOUT, 10.0)
    assert table(found) == [
        (1, "start", "", "reach"),
        (11, "change", "reach", "grasp"),
        (22, "change", "grasp", "lift"),
    ]
    assert found.left_out == {"last steps that can't be shown": 1}


TIMES = st.none() | st.floats(-0.5, 2.5, allow_nan=False)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["reach", "grasp", ""]), TIMES, TIMES), max_size=5))
def test_segments_are_what_the_executor_is_told(labels: list[tuple[str, float | None, float | None]]) -> None:
    episode = build_episode(ARM, instructions=(TASK, *(subtask(*label) for label in labels)), duration_s=2.0)
    moments = Moments(episode=episode, layout=LAYOUT)
    told = [next(iter(episode.texts_at(int(t), "subtask")), "") for t in episode.steps.time_ns]
    assert [moments.segments[n].text if n >= 0 else "" for n in moments.segment_at] == told
    assert all(a.stop <= b.start for a, b in itertools.pairwise(moments.segments))
    assert moments.time_s.tolist() == [(t - START_NS) / 1e9 for t in np.asarray(episode.steps.time_ns)]
