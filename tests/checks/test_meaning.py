"""What the data says against what the schema declares."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from vladata.checks import EpisodeFacts, find_check, run_checks, run_dataset_checks
from vladata.checks._pairs import paired
from vladata.checks.meaning import measured_lag
from vladata.embodiment import Dimension, Embodiment, Signal
from vladata.episode import Episode, Steps
from vladata.finding import Finding, Severity
from vladata.testing.builders import build_embodiment, build_episode
from vladata.units import Kind, Mode, RotationConvention, Unit

LONG = 8.0
"""Seconds: more motion than the builders' two."""


def commanded(change: Callable[[Steps], np.ndarray]) -> Callable[[Steps], Steps]:
    """The commands at the steps replaced."""

    def steps(made: Steps) -> Steps:
        return dataclasses.replace(made, action={"command": change(made).astype(np.float32)})

    return steps


def measured(change: Callable[[np.ndarray], np.ndarray], made: Steps) -> Steps:
    return dataclasses.replace(made, proprioception={"arm": change(made.proprioception["arm"])})


def later(values: np.ndarray, steps: int) -> np.ndarray:
    """Labelled so many steps later; earlier where negative."""
    index = np.clip(np.arange(len(values)) - steps, 0, len(values) - 1)
    return values[index]


def deltas(embodiment: Embodiment | None = None) -> Embodiment:
    """The builders' arm with deltas of its joints as its action."""
    embodiment = embodiment or build_embodiment(cameras=())
    (signal,) = embodiment.action
    changed = {"mode": Mode.DELTA, "limits": None, "max_velocity": None}
    dimensions = tuple(
        d.model_copy(update={**changed, "name": f"delta_{d.name}"}) if d.kind is Kind.JOINT_POSITION else d
        for d in signal.dimensions
    )
    return embodiment.model_copy(update={"action": (signal.model_copy(update={"dimensions": dimensions}),)})


def changes_of(steps: Steps) -> np.ndarray:
    """What a robot does that is told these targets: their changes, and the gripper's targets."""
    values = steps.action["command"]
    change = np.diff(values, axis=0, append=values[-1:])
    return np.concatenate([change[:, :-1], values[:, -1:]], axis=1)


def scaled(steps: Steps, columns: Sequence[int], factor: float, *, states: bool) -> Steps:
    """Some columns of the commands, and perhaps of the states, in another unit."""

    def change(values: np.ndarray) -> np.ndarray:
        result = values.copy()
        result[:, list(columns)] *= factor
        return result

    made = dataclasses.replace(steps, action={"command": change(steps.action["command"])})
    return measured(change, made) if states else made


def found(episode: Episode) -> dict[str, list[Finding]]:
    result: dict[str, list[Finding]] = {}
    for finding in run_checks(episode, select=["meaning"]):
        result.setdefault(finding.check, []).append(finding)
    return result


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("duration_s", [0.0, 0.3, 2.0, LONG])
def test_good_episodes_have_no_finding(seed, duration_s):
    assert found(build_episode(seed=seed, duration_s=duration_s)) == {}
    assert found(build_episode(deltas(), seed=seed, duration_s=duration_s, steps=commanded(changes_of))) == {}


def test_a_robot_that_stands_still_says_nothing():
    episode = build_episode(
        duration_s=LONG,
        values={
            "arm": lambda v: np.full_like(v, 0.5) + np.random.default_rng(0).normal(0, 1e-4, v.shape),
            "command": lambda v: np.full_like(v, 0.5),
        },
    )
    assert found(episode) == {}


def test_actions_that_were_derived_from_states_are_not_judged():
    episode = build_episode(steps=commanded(lambda s: later(s.proprioception["arm"], -1)))
    assert "meaning.shifted_state" in found(episode)
    known = {"sync": {"policy": {"derived": {"command": "arm"}}}}
    assert found(dataclasses.replace(episode, provenance=known)) == {}


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e308, 0.0])
def test_values_that_are_none_stop_nothing(value):
    def spoil(v: np.ndarray) -> np.ndarray:
        v[::3] = value
        v[:, 1] = value
        return v

    for embodiment in (build_embodiment(cameras=()), deltas()):
        findings = found(build_episode(embodiment, values={"arm": spoil, "command": spoil}))
        assert [f for members in findings.values() for f in members if f.traceback] == []


def dimension(name: str, kind: Kind, unit: Unit = Unit.ONE, mode: Mode | None = None) -> Dimension:
    return Dimension(name=name, kind=kind, unit=unit, mode=mode)


class TestPairs:
    def pairs(self, states: Sequence[Signal], actions: Sequence[Signal]) -> list[tuple[str, str]]:
        embodiment = Embodiment(name="x", rate_hz=10.0, proprioception=tuple(states), action=tuple(actions))
        items = paired(build_episode(embodiment)).items
        return [(f"{p.action}.{p.command.name}", f"{p.state}.{p.measured.name}") for p in items]

    def test_names_without_words_for_commands_meet(self):
        state = Signal(
            name="state",
            rotation=RotationConvention.EULER_XYZ,
            dimensions=(
                dimension("x", Kind.POSITION, Unit.METRE),
                dimension("yaw", Kind.ROTATION, Unit.RADIAN),
                dimension("finger_distance", Kind.GRIPPER_APERTURE, Unit.METRE),
            ),
        )
        action = Signal(
            name="action",
            rotation=RotationConvention.EULER_XYZ,
            dimensions=(
                dimension("delta_x", Kind.POSITION, Unit.METRE, Mode.DELTA),
                dimension("target_yaw", Kind.ROTATION, Unit.RADIAN, Mode.ABSOLUTE),
                dimension("close", Kind.GRIPPER_COMMAND, Unit.ONE, Mode.ABSOLUTE),
                dimension("y", Kind.POSITION, Unit.METRE, Mode.DELTA),
            ),
        )
        assert self.pairs([state], [action]) == [
            ("action.delta_x", "state.x"),
            ("action.target_yaw", "state.yaw"),
            ("action.close", "state.finger_distance"),
        ]

    def test_of_two_arms_the_one_with_the_same_word_is_meant(self):
        joint = dimension("j0", Kind.JOINT_POSITION, Unit.RADIAN)
        target = dimension("j0", Kind.JOINT_POSITION, Unit.RADIAN, Mode.ABSOLUTE)
        states = [Signal(name=f"{side}_state", dimensions=(joint,)) for side in ("left", "right")]
        actions = [Signal(name=f"{side}_command", dimensions=(target,)) for side in ("right", "left", "other")]
        assert self.pairs(states, actions) == [
            ("right_command.j0", "right_state.j0"),
            ("left_command.j0", "left_state.j0"),
        ]

    def test_rotations_of_different_conventions_and_velocities_of_quaternions_do_not_meet(self):
        turn = dimension("r", Kind.ROTATION)
        state = Signal(name="state", rotation=RotationConvention.QUATERNION_XYZW, dimensions=(turn,))
        action = Signal(
            name="action",
            rotation=RotationConvention.ROTATION_VECTOR,
            dimensions=(
                turn.model_copy(update={"mode": Mode.ABSOLUTE}),
                dimension("r_vel", Kind.ANGULAR_VELOCITY, Unit.RADIAN_PER_SECOND, Mode.VELOCITY),
            ),
        )
        assert self.pairs([state], [action]) == []


class TestShiftedState:
    def test_the_state_of_the_next_step_is_no_command(self, judge):
        episode = build_episode(steps=commanded(lambda s: later(s.proprioception["arm"], -1)))
        (finding,) = judge(episode, "meaning.shifted_state")
        assert finding.severity is Severity.WARNING
        assert finding.location == "/streams/command/values"
        assert finding.dimensions == ("joint_0", "joint_1", "joint_2")
        assert finding.message == (
            "command is the state of arm of the next step in 100 % of the 20 steps with motion (joint_0, "
            "joint_1, joint_2); commands must be what was sent, not what was measured"
        )

    def test_the_state_of_the_same_step_is_none_either(self, judge):
        episode = build_episode(steps=commanded(lambda s: s.proprioception["arm"]))
        (finding,) = judge(episode, "meaning.shifted_state")
        assert "is the state of arm of the same step" in finding.message

    def test_deltas_that_are_the_change_of_the_state_are_found(self, judge):
        def change(steps: Steps) -> np.ndarray:
            state = steps.proprioception["arm"]
            return np.concatenate([np.diff(state, axis=0, append=state[-1:])[:, :-1], state[:, -1:]], axis=1)

        (finding,) = judge(build_episode(deltas(), steps=commanded(change)), "meaning.shifted_state")
        assert "command is the change of arm of the next step" in finding.message

    def test_a_command_that_is_nearly_the_state_passes(self, judge):
        def near(steps: Steps) -> np.ndarray:
            return later(steps.proprioception["arm"], -1) + np.float32(1e-5)

        assert judge(build_episode(steps=commanded(near)), "meaning.shifted_state") == []


class TestLag:
    def facts(self, lags: Sequence[float | None], embodiment: str = "test_arm") -> list[EpisodeFacts]:
        return [
            EpisodeFacts(
                episode_id=f"{embodiment}_{i}",
                content_digest="",
                place="",
                embodiment=embodiment,
                instruction="",
                outcome="",
                num_steps=20,
                features={} if lag is None else {measured_lag.name: np.array([lag, 0.9])},
            )
            for i, lag in enumerate(lags)
        ]

    def judge(self, facts: list[EpisodeFacts]) -> list[Finding]:
        return run_dataset_checks(facts, select=["meaning.lag"])

    @pytest.mark.parametrize("steps", [-1, 0, 1])
    def test_the_lag_of_an_episode_is_measured_between_steps(self, steps):
        labels = commanded(lambda s: later(s.action["command"], steps))
        lag = measured_lag.function(build_episode(duration_s=LONG, steps=labels))
        # The builders' arm follows after 0.1 s, which is one step; the repeated first label blurs it a little.
        assert lag == pytest.approx([1 - steps, 1.0], abs=0.15)

    def test_the_lag_of_deltas_counts_from_their_own_step(self):
        lag = measured_lag.function(build_episode(deltas(), duration_s=LONG, steps=commanded(changes_of)))
        assert lag == pytest.approx([1.0, 1.0], abs=0.05)

    def test_motion_that_repeats_itself_has_no_certain_lag(self):
        def shake(v: np.ndarray) -> np.ndarray:
            return np.sin(2 * np.pi * 2.5 * np.arange(len(v))[:, None] / 10) + np.zeros_like(v)

        assert measured_lag.function(build_episode(is_stepped=True, duration_s=LONG, values={"arm": shake})) is None

    def test_one_of_ten_that_is_labelled_a_step_late_is_named(self):
        (finding,) = self.judge(self.facts([1.0, 1.02, 0.98, 1.0, 0.01, 1.01, 0.97, 1.03, 1.0, 0.99]))
        assert finding.severity is Severity.WARNING
        assert finding.episode_id == "test_arm_4"
        assert finding.message == (
            "states follow their commands after 0.01 steps; in the other 9 episodes of test_arm after 1.00 (they vary "
            "by 0.02), so actions seem to be labelled 1.0 steps too late"
        )
        (early,) = self.judge(self.facts([1.0] * 6 + [2.0]))
        assert "1.0 steps too early" in early.message

    def test_lags_that_vary_among_all_are_nobodys_fault(self):
        assert self.judge(self.facts([0.2, 0.9, 1.6, 2.4, 3.1, 0.4, 2.0])) == []
        assert self.judge(self.facts([1.0, 1.1, 1.2, 1.0, 1.5])) == []

    def test_few_episodes_and_other_embodiments_are_not_compared(self):
        assert self.judge(self.facts([1.0, 1.0, 1.0, 2.0])) == []
        assert self.judge(self.facts([1.0] * 6 + [None]) + self.facts([3.0] * 6, "other_arm")) == []
        assert self.judge([]) == []


class TestCausality:
    def test_states_that_move_before_their_commands_are_an_error(self, judge):
        episode = build_episode(duration_s=LONG, steps=commanded(lambda s: later(s.action["command"], 2)))
        (finding,) = judge(episode, "meaning.causality")
        assert finding.severity is Severity.ERROR
        assert finding.message == (
            "states move 1.15 steps (115 ms) before their commands (correlation 0.99, 3 of 3 dimensions); a command "
            "must come before its effect"
        )

    def test_states_that_move_with_their_commands_pass(self, judge):
        episode = build_episode(duration_s=LONG, steps=commanded(lambda s: later(s.action["command"], 1)))
        assert judge(episode, "meaning.causality") == []


class TestMode:
    def test_deltas_that_are_declared_absolute_are_an_error(self, judge):
        episode = build_episode(duration_s=LONG, steps=commanded(changes_of))
        (finding,) = judge(episode, "meaning.mode")
        assert finding.severity is Severity.ERROR
        assert finding.dimensions == ("joint_0", "joint_1", "joint_2")
        assert finding.message.startswith("command is declared absolute but its values are changes: the sum of joint_")
        assert finding.message.endswith(
            "(3 of 3 dimensions that move: joint_0, joint_1, joint_2); they must be what is declared"
        )

    def test_distances_to_the_target_that_are_declared_absolute_are_an_error(self, judge):
        episode = build_episode(
            duration_s=LONG, steps=commanded(lambda s: s.action["command"] - s.proprioception["arm"])
        )
        assert len(judge(episode, "meaning.mode")) == 1

    def test_targets_that_are_declared_deltas_are_an_error(self, judge):
        (finding,) = judge(build_episode(deltas(), duration_s=LONG), "meaning.mode")
        assert finding.message.startswith("command is declared delta but follows the level of the state: delta_joint_")
        assert finding.location == "/streams/command/values"

    def test_velocities_are_changes_at_the_rate(self, judge):
        embodiment = build_embodiment(cameras=())
        (signal,) = embodiment.action
        speeds = tuple(
            d.model_copy(update={"mode": Mode.VELOCITY, "limits": None, "max_velocity": None})
            if d.kind is Kind.JOINT_POSITION
            else d
            for d in signal.dimensions
        )
        rates = embodiment.model_copy(update={"action": (signal.model_copy(update={"dimensions": speeds}),)})
        assert judge(build_episode(rates, steps=commanded(lambda s: changes_of(s) * 10)), "meaning.mode") == []
        assert len(judge(build_episode(rates), "meaning.mode")) == 1


class TestUnits:
    def test_one_joint_in_degrees_is_found_beside_its_state(self, judge):
        episode = build_episode(steps=lambda s: scaled(s, [1], 180 / np.pi, states=False))
        (finding,) = judge(episode, "meaning.units")
        assert finding.severity is Severity.ERROR
        assert finding.dimensions == ("joint_1",)
        assert finding.message == (
            "command seems to be in degrees in 1 dimensions (joint_1): joint_1 has 57.3 times arm.joint_1 (degrees are "
            "57.3 times); the schema says rad"
        )

    def test_a_state_in_degrees_is_found_beside_its_command(self, judge):
        episode = build_episode(
            steps=lambda s: measured(lambda v: np.concatenate([v[:, :1] * 57.3, v[:, 1:]], axis=1), s)
        )
        (finding,) = judge(episode, "meaning.units")
        assert finding.location == "/streams/arm/values"

    def test_degrees_on_both_sides_are_found_by_the_limits(self, judge):
        episode = build_episode(steps=lambda s: scaled(s, [0, 1, 2], 180 / np.pi, states=True))
        state, action = judge(episode, "meaning.units")
        assert (state.location, action.location) == ("/streams/arm/values", "/streams/command/values")
        assert state.dimensions == ("joint_0", "joint_1", "joint_2")
        assert "with limits up to 2 rad; the schema says rad" in state.message

    def test_degrees_without_limits_are_found_by_their_speed(self, judge):
        embodiment = build_embodiment(cameras=())
        free = {
            role: tuple(
                s.model_copy(update={"dimensions": tuple(d.model_copy(update={"limits": None}) for d in s.dimensions)})
                for s in getattr(embodiment, role)
            )
            for role in ("proprioception", "action")
        }
        episode = build_episode(
            embodiment.model_copy(update=free), steps=lambda s: scaled(s, [0, 1, 2], 180 / np.pi, states=True)
        )
        assert len(judge(episode, "meaning.units")) == 2

    def test_a_wrong_zero_and_a_spike_are_no_degrees(self, judge):
        def off(v: np.ndarray) -> np.ndarray:
            v[:, 0] += 3.0
            v[7, 1] = 50.0
            return v

        assert judge(build_episode(values={"arm": off, "command": off}), "meaning.units") == []

    @pytest.mark.parametrize("is_normalized", [False, True])
    def test_millimetres_are_found_unless_the_recorder_had_scaled_them(self, judge, is_normalized):
        joint = dimension("x", Kind.POSITION, Unit.METRE).model_copy(update={"normalized": is_normalized})
        embodiment = Embodiment(
            name="x",
            rate_hz=10.0,
            proprioception=(Signal(name="arm", dimensions=(joint,)),),
            action=(Signal(name="command", dimensions=(joint.model_copy(update={"mode": Mode.ABSOLUTE}),)),),
        )
        assert judge(build_episode(embodiment), "meaning.units") == []
        thousand = build_episode(embodiment, values={"arm": lambda v: v * 1000, "command": lambda v: v * 1000})
        findings = judge(thousand, "meaning.units")
        assert len(findings) == (0 if is_normalized else 2)
        assert all("seems to be in millimetres" in f.message for f in findings)


class TestGripperPolarity:
    def invert(self, steps: Steps) -> np.ndarray:
        values = steps.action["command"].copy()
        values[:, -1] = 1 - values[:, -1]
        return values

    def test_a_command_that_closes_where_the_gripper_opens_is_an_error(self, judge):
        (finding,) = judge(build_episode(steps=commanded(self.invert)), "meaning.gripper_polarity")
        assert finding.severity is Severity.ERROR
        assert finding.dimensions == ("gripper",)
        assert finding.message.startswith(
            "command.gripper closes where arm.gripper opens (correlation of their openings -"
        )
        assert finding.message.endswith(
            "the schema says open is 1 in the command and 1 in the state, and they must agree"
        )

    def test_other_values_for_open_are_understood(self, judge):
        embodiment = build_embodiment(cameras=())
        (signal,) = embodiment.action
        gripper = signal.dimensions[-1].model_copy(update={"open_value": 0.0, "closed_value": 1.0})
        turned = signal.model_copy(update={"dimensions": (*signal.dimensions[:-1], gripper)})
        episode = build_episode(embodiment.model_copy(update={"action": (turned,)}), steps=commanded(self.invert))
        assert judge(episode, "meaning.gripper_polarity") == []

    def test_a_gripper_that_an_object_holds_open_passes(self, judge):
        episode = build_episode(values={"arm": lambda v: np.column_stack([v[:, :-1], np.maximum(v[:, -1], 0.6)])})
        assert judge(episode, "meaning.gripper_polarity") == []

    def test_where_the_schema_does_not_say_which_value_is_open_nothing_is_said(self, judge):
        embodiment = build_embodiment(cameras=())
        (signal,) = embodiment.action
        gripper = signal.dimensions[-1].model_copy(update={"open_value": None})
        silent = signal.model_copy(update={"dimensions": (*signal.dimensions[:-1], gripper)})
        episode = build_episode(embodiment.model_copy(update={"action": (silent,)}), steps=commanded(self.invert))
        assert judge(episode, "meaning.gripper_polarity") == []


class TestJointOrder:
    def swap(self, values: np.ndarray) -> np.ndarray:
        return values[:, [1, 0, *range(2, values.shape[1])]]

    def test_exchanged_joints_are_an_error(self, judge):
        episode = build_episode(duration_s=LONG, steps=commanded(lambda s: self.swap(s.action["command"])))
        (finding,) = judge(episode, "meaning.joint_order")
        assert finding.severity is Severity.ERROR
        assert finding.dimensions == ("joint_0", "joint_1")
        assert finding.message.startswith(
            "commands of command are followed by other joints than their own: joint_0 is followed by joint_1, joint_1 "
            "is followed by joint_0 (correlation of the motion at least "
        )

    def test_exchanged_deltas_are_an_error(self, judge):
        episode = build_episode(deltas(), duration_s=LONG, steps=commanded(lambda s: self.swap(changes_of(s))))
        (finding,) = judge(episode, "meaning.joint_order")
        assert finding.dimensions == ("delta_joint_0", "delta_joint_1")

    @pytest.mark.parametrize("is_delta", [False, True])
    def test_a_joint_with_the_other_sign_is_an_error(self, judge, is_delta):
        def mirror(steps: Steps) -> np.ndarray:
            values = changes_of(steps) if is_delta else steps.action["command"]
            return values * np.array([1, -1, 1, 1])

        embodiment = deltas() if is_delta else build_embodiment(cameras=())
        (finding,) = judge(build_episode(embodiment, duration_s=LONG, steps=commanded(mirror)), "meaning.joint_order")
        assert "joint_1 and arm.joint_1 move in opposite directions (correlation -1.00)" in finding.message

    def test_joints_that_move_alike_are_not_told_apart(self, judge):
        def same(v: np.ndarray) -> np.ndarray:
            v[:, 1] = v[:, 0]
            return v

        episode = build_episode(
            duration_s=LONG,
            values={"arm": same, "command": same},
            steps=commanded(lambda s: self.swap(s.action["command"])),
        )
        assert judge(episode, "meaning.joint_order") == []

    def test_a_joint_that_hardly_moves_is_not_judged(self, judge):
        def still(v: np.ndarray) -> np.ndarray:
            v[:, 1] *= 0.01
            return v

        episode = build_episode(
            duration_s=LONG,
            values={"arm": still, "command": still},
            steps=commanded(lambda s: s.action["command"] * np.array([1, -1, 1, 1])),
        )
        assert judge(episode, "meaning.joint_order") == []


def test_thresholds_can_be_set():
    assert find_check("meaning.lag").thresholds == {"steps": 0.6, "spreads": 3.0, "height": 0.5}
