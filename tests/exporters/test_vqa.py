"""Questions and answers: each answer is made again from the episode, by other code than that which asked."""

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from vladata.embodiment import Dimension, Embodiment, Signal
from vladata.episode import Episode
from vladata.errors import ExportError
from vladata.exporters._options import ExportOptions
from vladata.exporters._rows import Layout
from vladata.exporters._vqa import VqaRow, VqaRows, kinds_of, vqa_rows
from vladata.exporters._vqa_kinds import KINDS
from vladata.exporters._vqa_words import WORDS, fill
from vladata.recording import Instruction, Outcome
from vladata.testing.builders import START_NS, build_embodiment, build_episode
from vladata.units import Kind, RotationConvention, Unit

TASK = "put the {task} cube into the bin"
"""With braces: words of an episode are never a template."""
SUBTASKS = {"reach": 0.0, "grasp": 1.2, "lift": 2.4, "drop": 3.0}


def arm_with_a_hand() -> Embodiment:
    """Joints in rad, a gripper without a unit, and a pose in the robot's base frame whose z goes up and down."""
    arm = build_embodiment()
    axes = tuple(Dimension(name=a, kind=Kind.POSITION, unit=Unit.METRE) for a in "xyz")
    turns = tuple(Dimension(name=a, kind=Kind.ROTATION, unit=Unit.RADIAN) for a in ("roll", "pitch", "yaw"))
    finger = Dimension(
        name="width", kind=Kind.GRIPPER_APERTURE, unit=Unit.METRE, open_value=0.07, closed_value=0.0, limits=(0, 0.07)
    )
    hand = Signal(
        name="hand_pose",
        dimensions=(*axes, *turns, finger),
        reference_frame="robot_base",
        rotation=RotationConvention.EULER_XYZ,
    )
    return arm.model_copy(update={"proprioception": (*arm.proprioception, hand)})


HAND = arm_with_a_hand()
LAYOUT = Layout.build(HAND, ExportOptions())


def moving(values: Any) -> Any:
    """z swings by 10 cm, the fingers open and close."""
    time = np.arange(len(values)) / 100.0
    moved = values.copy()
    moved[:, 2] = 0.2 + 0.1 * np.sin(time * 1.5)
    moved[:, 6] = np.clip(0.035 + 0.07 * np.sin(time * 2.5), 0.0, 0.07)
    return moved


def episode_of(number: int = 0, outcome: str = "success", **knobs: Any) -> Episode:
    subtasks = [Instruction(text=t, kind="subtask", time_ns=START_NS + round(b * 1e9)) for t, b in SUBTASKS.items()]
    outcomes = (Outcome(kind=outcome),) if outcome else ()  # type: ignore[arg-type]
    given: dict[str, Any] = {
        "instructions": (Instruction(text=TASK), *subtasks),
        "outcomes": outcomes,
        "duration_s": 4.0,
        "seed": number,
        "rates_hz": {"hand_pose": 100.0},
        "values": {"hand_pose": moving},
    }
    return build_episode(HAND, **{**given, **knobs})


def ask(episode: Episode, *, per_episode: int = 40, seed: int = 0, kinds: tuple[str, ...] | None = None) -> VqaRows:
    layout = Layout.build(episode.embodiment, ExportOptions())
    return vqa_rows(episode, layout, per_episode=per_episode, kinds=kinds_of(kinds), seed=seed)


# Each answer again --------------------------------------------------------------------------------------------------


def value_of(episode: Episode, signal: str, dimension: str, step: int) -> float:
    names = [d.name for d in episode.embodiment.signal(signal).dimensions]
    return float(episode.steps.proprioception[signal][step, names.index(dimension)])


def told(episode: Episode, step: int, kind: str = "subtask") -> str:
    return next(iter(episode.texts_at(int(episode.steps.time_ns[step]), kind)), "")


def check_task(episode: Episode, row: VqaRow, evidence: Any) -> str:
    return told(episode, row.step, "task")


def check_subtask(episode: Episode, row: VqaRow, evidence: Any) -> str:
    now = told(episode, row.step)
    if evidence["asked"] == "what":
        return now
    return "yes" if now in row.question else "no"


def distinct(episode: Episode) -> list[str]:
    texts = [told(episode, t) for t in range(len(episode))]
    return [t for n, t in enumerate(texts) if n == 0 or t != texts[n - 1]]


def check_next(episode: Episode, row: VqaRow, evidence: Any) -> str:
    now = told(episode, row.step)
    assert now in row.question
    return distinct(episode)[distinct(episode).index(now) + 1]


def check_previous(episode: Episode, row: VqaRow, evidence: Any) -> str:
    return distinct(episode)[distinct(episode).index(told(episode, row.step)) - 1]


def check_order(episode: Episode, row: VqaRow, evidence: Any) -> str:
    texts = [told(episode, t) for t in range(row.step + 1)]
    named = sorted((t for t in SUBTASKS if t in row.question), key=row.question.index)
    assert len(named) == 2
    firsts = {t: texts.index(t) for t in named}  # both have begun at the step
    earlier = min(named, key=lambda t: firsts[t])
    if evidence["asked"] == "first":
        return earlier
    return "yes" if named[0] == earlier else "no"


def check_outcome(episode: Episode, row: VqaRow, evidence: Any) -> str:
    assert row.step == len(episode) - 1
    return "yes" if evidence["asked"] == episode.outcome else "no"


def check_progress(episode: Episode, row: VqaRow, evidence: Any) -> str:
    seconds = float(episode.steps.time_ns[row.step] - episode.steps.time_ns[0]) / 1e9
    if evidence["asked"] == "quarter":
        return ["first quarter", "second quarter", "third quarter", "last quarter"][
            min(3, int(4 * seconds / episode.duration_s))
        ]
    begins = list(SUBTASKS.values())
    number = list(SUBTASKS).index(told(episode, row.step))
    return "first half" if seconds < (begins[number] + begins[number + 1]) / 2 else "second half"


def check_gripper(episode: Episode, row: VqaRow, evidence: Any) -> str:
    value = value_of(episode, evidence["signal"], evidence["dimension"], row.step)
    span = 0.07 if evidence["signal"] == "hand_pose" else 1.0
    assert value >= 0.8 * span or value <= 0.2 * span
    is_open = value > 0.5 * span
    words = {"state": ("open", "closed"), "open": ("yes", "no"), "closed": ("no", "yes")}[evidence["asked"]]
    return words[0 if is_open else 1]


def check_state(episode: Episode, row: VqaRow, evidence: Any) -> str:
    if evidence["asked"] == "position":
        xyz = [value_of(episode, "hand_pose", a, row.step) for a in "xyz"]
        said = [float(n) for n in re.findall(r"-?\d+\.\d+", row.answer)]
        assert np.allclose(said, xyz, atol=0.00501)
    else:
        value = value_of(episode, evidence["signal"], evidence["dimension"], row.step)
        said_number = float(row.answer.split()[0])
        scale, half = (180 / np.pi, 0.501) if evidence["asked"] == "joint" else (100.0, 0.0501)
        assert abs(said_number - value * scale) <= half
    assert not re.search(r"-0(\.0+)?\b(?!\.)", row.answer)
    return row.answer


def check_motion(episode: Episode, row: VqaRow, evidence: Any) -> str:
    time, now = episode.steps.time_ns, int(episode.steps.time_ns[row.step])
    later = int(np.flatnonzero(time >= now + 1_000_000_000)[0])
    values = [value_of(episode, evidence["signal"], evidence["dimension"], t) for t in range(row.step, later + 1)]
    change = values[-1] - values[0]
    if evidence["asked"] == "height":
        return "stays" if abs(change) < 0.01 else "up" if change > 0 else "down"
    span = 0.07 if evidence["signal"] == "hand_pose" else 1.0
    return "neither" if abs(change) < 0.1 * span else "opens" if change > 0 else "closes"


CHECKS: dict[str, Callable[[Episode, VqaRow, Any], str]] = {
    name.removeprefix("check_"): function for name, function in list(globals().items()) if name.startswith("check_")
}


def check(episode: Episode, found: VqaRows) -> None:
    for row in found.rows:
        evidence = json.loads(row.evidence)
        assert evidence["step"] == row.step
        assert row.answer == CHECKS[row.kind](episode, row, evidence), row


@pytest.mark.parametrize("outcome", ["success", "failure"])
def test_every_answer_follows_from_the_episode(outcome: str) -> None:
    assert CHECKS.keys() == KINDS.keys()
    asked = set()
    for number in range(4):
        episode = episode_of(number, outcome)
        found = ask(episode, per_episode=120, seed=number)
        assert len(found.rows) > 80
        check(episode, found)
        asked |= {(r.kind, json.loads(r.evidence)["asked"]) for r in found.rows}
    assert asked == {(kind, a) for kind, words in WORDS.items() for a in words}


def test_answers_are_balanced_where_both_can_be_had() -> None:
    count: Counter[tuple[str, str]] = Counter()
    for number in range(12):
        found = ask(episode_of(number, ("success", "failure")[number % 2]), per_episode=30, seed=number)
        count.update((r.kind, r.answer) for r in found.rows)
    for kind in ("gripper", "order", "subtask"):
        yes, no = count[kind, "yes"], count[kind, "no"]
        assert yes + no >= 10
        assert abs(yes - no) <= 0.4 * (yes + no), (kind, yes, no)
    assert abs(count["gripper", "open"] - count["gripper", "closed"]) <= 8
    assert min(count["outcome", "yes"], count["outcome", "no"]) >= 2


def test_rows_are_spread_over_kinds_and_no_kind_asks_twice_at_a_step() -> None:
    rows = ask(episode_of(), per_episode=20).rows
    assert len(rows) == 20
    assert set(Counter(r.kind for r in rows).values()) <= {1, 2, 3}
    assert len({r.kind for r in rows}) == 10
    assert len({(r.kind, r.step) for r in rows}) == 20
    assert [r.step for r in rows] == sorted(r.step for r in rows)


def test_equal_seeds_ask_equal_questions_and_other_seeds_others() -> None:
    episode = episode_of()
    assert ask(episode) == ask(episode)
    assert ask(episode, seed=1) != ask(episode)


def test_a_kind_without_evidence_gives_nothing_and_says_why() -> None:
    found = ask(unlabelled())
    assert {r.kind for r in found.rows} <= {"progress", "state"}
    assert found.without == {
        "gripper: the gripper is neither plainly open nor plainly closed": 1,
        "motion: no gripper or height whose motion over a second is plain": 1,
        "next: fewer than two subtasks": 1,
        "order: no two subtasks whose order is plain": 1,
        "outcome: nobody said whether the episode was a success": 1,
        "previous: fewer than two subtasks": 1,
        "subtask: no subtasks": 1,
        "task: no task instruction": 1,
    }


def unlabelled() -> Episode:
    """No labels, and a gripper that trembles half way."""

    def half(values: Any) -> Any:
        moved = values.copy()
        moved[:, -1] = 0.5 + 0.1 * np.sin(np.arange(len(values)) / 3.0)
        return moved

    return build_episode(build_embodiment(), instructions=(), outcomes=(), values={"arm": half})


def test_nothing_is_asked_about_steps_that_can_not_be_shown() -> None:
    def blind(steps: Any) -> Any:
        images = {"front": steps.images["front"].copy()}
        images["front"][5:] = -1
        return dataclasses.replace(steps, images=images)

    found = ask(episode_of(steps=blind), per_episode=100)
    assert {r.step for r in found.rows} == {0, 1, 2, 3, 4}
    assert found.without["outcome: the last step can't be shown"] == 1


def test_no_motion_is_told_over_a_measurement_that_is_missing() -> None:
    def gap(steps: Any) -> Any:
        values = {n: v.copy() for n, v in steps.proprioception.items()}
        values["arm"][20] = np.nan
        return dataclasses.replace(steps, proprioception=values)

    rows = ask(episode_of(steps=gap), per_episode=400, kinds=("motion",)).rows
    assert rows
    assert not {r.step for r in rows} & set(range(10, 21))


def test_words_of_an_episode_are_no_template() -> None:
    assert fill("Do {a} or {b}?", {"a": "{b}", "b": "x"}) == "Do {b} or x?"
    assert any(TASK in r.question for r in ask(episode_of(), kinds=("outcome",)).rows)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ExportError, match="vqa kind 'colour'; it must be one of task, subtask"):
        kinds_of(["colour"])


def test_of_a_long_episode_only_some_steps_are_looked_at_and_the_last_stays() -> None:
    rows = ask(episode_of(duration_s=60.0, rates_hz={"front": 10.0, "hand_pose": 100.0}), per_episode=150).rows
    assert len({r.step for r in rows}) <= 150
    assert any(r.kind == "outcome" and r.step == 600 for r in rows)
