import dataclasses

import numpy as np
import pytest

from vladata.checks import CheckSettings, run_checks
from vladata.embodiment import Dimension, Embodiment, Signal
from vladata.finding import Severity
from vladata.testing.builders import build_embodiment, build_episode
from vladata.units import Clock, Kind, RotationConvention, Unit


def put(rows, column, value):
    """Replace values of a signal; `arm` samples are 10 ms apart, the first 0.2 s before the first step."""

    def change(values):
        values[rows, column] = value
        return values

    return change


class TestFinite:
    def test_nan_and_infinity_are_one_finding_with_the_steps_that_hold_them(self, judge):
        def spoil(values):
            values[[70, 80, 81, 125], 0] = np.nan
            values[70, 2] = -np.inf
            return values

        (finding,) = judge(build_episode(values={"arm": spoil}), "values.finite")
        assert finding.severity is Severity.ERROR
        assert finding.message == (
            "arm has 5 of 884 values not finite (joint_0, joint_2), first at 0.50 s (sample 70); "
            "steps 5 to 6 are affected; values must be finite"
        )
        assert finding.steps == (5, 7)
        assert finding.location == "/streams/arm/values"

    def test_nan_between_the_steps_says_that_no_step_uses_it(self, judge):
        (finding,) = judge(build_episode(values={"arm": put(75, 1, np.nan)}), "values.finite")
        assert "no step uses them" in finding.message
        assert finding.steps is None

    def test_nan_in_the_steps_alone_is_found(self, judge):
        def spoil(steps):
            command = steps.action["command"].copy()
            command[3, 0] = np.nan
            return dataclasses.replace(steps, action={"command": command})

        (finding,) = judge(build_episode(steps=spoil), "values.finite")
        assert finding.location == "/steps/action/command"
        assert finding.steps == (3, 4)

    def test_nan_where_no_sample_counts_is_as_it_must_be(self, judge):
        episode = build_episode(stamps={"command": lambda t: t + 600_000_000})
        assert np.isnan(episode.steps.action["command"]).any()
        assert judge(episode, "values.finite") == []


class TestLimits:
    def test_value_beyond_a_limit_is_shown_with_both_numbers(self, judge):
        def spoil(values):
            values[70:74, 1] = -2.5
            values[72, 1] = -2.75
            return values

        (finding,) = judge(build_episode(values={"arm": spoil}), "values.limits")
        assert finding.severity is Severity.ERROR
        assert finding.message == (
            "arm.joint_1 is -2.75 rad at 0.52 s (sample 72); the schema allows -2 to 2 rad, "
            "and 4 of 221 samples (1.8 %) are outside"
        )
        assert finding.steps == (5, 6)

    def test_commands_are_judged_too_one_finding_for_each_dimension(self, judge):
        findings = judge(build_episode(values={"command": lambda v: v + 4.0}), "values.limits")
        assert [f.message.partition(" ")[0] for f in findings] == [
            "command.joint_0",
            "command.joint_1",
            "command.joint_2",
            "command.gripper",
        ]

    def test_the_tolerance_can_be_set(self):
        episode = build_episode(values={"arm": put(70, 0, 2.1)})
        assert len(run_checks(episode, select=["values.limits"])) == 1
        settings = CheckSettings(select=("values.limits",), rules={"values.limits": {"tolerance": 0.05}})
        assert run_checks(episode, settings=settings) == []

    def test_rounding_at_the_limit_passes(self, judge):
        assert judge(build_episode(values={"arm": put(70, 0, 2.003)}), "values.limits") == []
        assert len(judge(build_episode(values={"arm": put(70, 0, 2.005)}), "values.limits")) == 1

    def test_degrees_in_a_field_of_radians_are_told(self, judge):
        findings = judge(build_episode(values={"arm": lambda v: np.rad2deg(v)}), "values.limits")
        assert findings[0].message.endswith("are outside (all would fit as degrees)")

    def test_infinity_is_left_to_the_check_for_finite_values(self, judge):
        assert judge(build_episode(values={"arm": put(70, 0, np.inf)}), "values.limits") == []


def ramp(speed, rate_hz=100.0):
    """A joint that goes forth and back at a constant speed."""

    def change(values):
        time = np.arange(len(values)) / rate_hz
        values[:, 0] = np.abs((time * speed) % 2.0 - 1.0)
        return values

    return change


def euler_embodiment(convention=RotationConvention.EULER_XYZ, max_velocity=3.0):
    yaw = Dimension(name="yaw", kind=Kind.ROTATION, unit=Unit.RADIAN, max_velocity=max_velocity)
    arm = Signal(name="arm", dimensions=(yaw,), rotation=convention, reference_frame="base")
    return Embodiment(name="wrist", rate_hz=10.0, proprioception=(arm,))


class TestVelocity:
    def test_motion_faster_than_the_schema_is_reported(self, judge):
        (finding,) = judge(build_episode(values={"arm": ramp(6.0)}), "values.velocity")
        assert finding.severity is Severity.WARNING
        assert finding.message.startswith("arm.joint_0 moves at 6 rad/s at ")
        assert "the schema allows 5 rad/s" in finding.message

    def test_a_single_jump_is_placed(self, judge):
        (finding,) = judge(
            build_episode(values={"arm": lambda v: v + (np.arange(len(v)) >= 120)[:, None]}, seed=1), "values.velocity"
        )[:1]
        assert "at 0.99 s (sample 119)" in finding.message
        assert "1 of 220 intervals" in finding.message
        assert finding.steps == (9, 11)

    def test_slower_motion_passes(self, judge):
        assert judge(build_episode(values={"arm": ramp(4.9)}), "values.velocity") == []

    def test_the_stairs_of_a_target_that_is_sent_several_times_are_no_leaps(self, judge):
        def stairs(values):
            return ramp(4.0)(values)[np.arange(len(values)) // 5 * 5]

        assert judge(build_episode(values={"arm": stairs}), "values.velocity") == []

        def fast(values):
            return ramp(6.0)(values)[np.arange(len(values)) // 5 * 5]

        (finding,) = judge(build_episode(values={"arm": fast}), "values.velocity")
        assert finding.message.startswith("arm.joint_0 moves at 6 rad/s at ")

    def test_a_burst_of_stamps_is_no_motion(self, judge):
        def burst(time_ns):
            time_ns[101:105] = time_ns[100] + np.arange(1, 5) * 1000
            return time_ns

        assert judge(build_episode(values={"arm": ramp(4.0)}, stamps={"arm": burst}), "values.velocity") == []

    def test_nominal_time_gives_no_velocity(self):
        episode = build_episode(values={"arm": ramp(60.0)}, is_stepped=True, clock=Clock.NOMINAL)
        assert [f.check for f in run_checks(episode, select=["values.velocity"])] == ["timing.not_measured"]

    def test_angles_that_wrap_at_pi_do_not_jump(self, judge):
        def turn(values):
            values[:, 0] = (np.arange(len(values)) * 0.02 + np.pi) % (2 * np.pi) - np.pi
            return values

        assert judge(build_episode(euler_embodiment(), values={"arm": turn}), "values.velocity") == []
        assert (
            len(judge(build_episode(euler_embodiment(max_velocity=1.9), values={"arm": turn}), "values.velocity")) == 1
        )

    def test_components_of_rotation_vectors_have_no_speed(self, judge):
        episode = build_episode(euler_embodiment(RotationConvention.ROTATION_VECTOR), values={"arm": lambda v: v * 100})
        assert judge(episode, "values.velocity") == []


class TestConstant:
    def test_measured_dimensions_that_never_change_are_one_finding(self, judge):
        (finding,) = judge(build_episode(values={"arm": put(slice(None), [0, 2], [0.25, 0.0])}), "values.constant")
        assert finding.severity is Severity.WARNING
        assert finding.message == (
            "arm never changes in 2 of 4 dimensions (joint_0 = 0.25 rad, joint_2 = 0 rad) over 221 samples; "
            "what is measured must change (2 others move)"
        )

    def test_a_signal_that_never_moves_is_told(self):
        findings = run_checks(build_episode(values={"arm": lambda v: v * 0}), select=["values"])
        assert [f.check for f in findings] == ["values.constant", "values.unused"]
        assert findings[0].message.endswith("what is measured must change (no other dimension moves)")

    def test_grippers_and_commands_may_rest(self, judge):
        episode = build_episode(values={"arm": put(slice(None), 3, 1.0), "command": put(slice(None), 1, 0.5)})
        assert judge(episode, "values.constant") == []

    def test_four_samples_say_nothing(self, judge):
        episode = build_episode(duration_s=0.3, is_stepped=True, values={"arm": lambda v: v * 0})
        assert len(episode) == 4
        assert judge(episode, "values.constant") == []


class TestUnused:
    def test_a_gripper_that_never_moves_is_a_note(self, judge):
        (finding,) = judge(build_episode(values={"arm": put(slice(None), 3, 1.0)}), "values.unused")
        assert finding.severity is Severity.INFO
        assert finding.message == "arm does not use 1 of 4 dimensions (gripper = 1)"

    def test_commands_that_are_used_pass(self, judge):
        assert judge(build_episode(), "values.unused") == []


def _repeated(stream, row):
    values = stream.values.copy()
    values[row + 1] = values[row]
    return dataclasses.replace(stream, values=values)


class TestFrozen:
    def test_measured_vector_that_repeats_is_placed(self, judge):
        def freeze(values):
            values[120:140] = values[120]
            return values

        (finding,) = judge(build_episode(values={"arm": freeze}), "values.frozen")
        assert finding.severity is Severity.WARNING
        assert finding.message == (
            "arm repeats the same values for 0.19 s from 1.00 s (sample 120), 20 of 221 samples (9.0 %); "
            "they must not stand still for so long"
        )
        assert finding.steps == (10, 12)

    @pytest.mark.parametrize("rate", [5.0, 10.0, 20.0, 30.0])
    def test_half_a_second_is_long_at_any_rate(self, judge, rate):
        def freeze(values):
            values[20 : 20 + round(0.5 * rate + 0.5)] = values[20]
            return values

        for clock in (Clock.UNIX, Clock.NOMINAL):
            episode = build_episode(
                build_embodiment(rate_hz=rate, cameras=()),
                values={"arm": freeze},
                duration_s=40 / rate,
                is_stepped=True,
                clock=clock,
            )
            (finding,) = judge(episode, "values.frozen")
            assert finding.message.startswith("arm repeats the same values for ")

    def test_two_equal_samples_pass_at_any_rate(self, judge):
        episode = build_episode(
            build_embodiment(rate_hz=2.0, cameras=()), values={"arm": put(4, 0, 0.0)}, duration_s=5.0, is_stepped=True
        )
        same = dataclasses.replace(
            episode,
            streams={**episode.streams, "arm": _repeated(episode.streams["arm"], 4)},
        )
        assert judge(same, "values.frozen") == []

    def test_an_arm_that_is_not_used_is_not_stuck_where_its_encoder_flickers(self, judge):
        def idle(values):
            values[:, 1] = 0.5
            values[[30, 31, 200], 1] += 0.0015
            return values

        assert judge(build_episode(values={"arm": idle}), "values.frozen") == []

    def test_a_robot_that_rests_is_not_frozen(self, judge):
        def rest(values):
            # Slows down, stands for 0.6 s without any noise, and starts again slowly.
            pace = np.interp(np.arange(len(values)), [0, 60, 80, 140, 160, 300], [1, 1, 0, 0, 1, 1])
            place = np.cumsum(pace)
            return np.stack([np.interp(place, np.arange(len(values)), c) for c in values.T], axis=1)

        episode = build_episode(values={"arm": rest}, seed=1)
        assert (np.diff(episode.streams["arm"].values[80:140], axis=0) == 0).all()
        assert judge(episode, "values.frozen") == []

    def test_thresholds_can_be_set(self):
        def freeze(values):
            values[120:140] = values[120]
            return values

        episode = build_episode(values={"arm": freeze})
        settings = CheckSettings(select=("values.frozen",), rules={"values.frozen": {"vector_share": 0.1}})
        assert run_checks(episode, settings=settings) == []

    def test_short_repeats_of_a_slow_sensor_pass(self, judge):
        assert judge(build_episode(values={"arm": lambda v: v[np.arange(len(v)) // 10 * 10]}), "values.frozen") == []

    def test_a_command_may_rest_for_less_than_half_the_time(self, judge):
        def rest(length):
            def change(values):
                values[10 : 10 + length] = values[10]
                return values

            return change

        # 121 commands, of which 111 lie within the steps and one period around them.
        assert judge(build_episode(values={"command": rest(50)}), "values.frozen") == []
        (finding,) = judge(build_episode(values={"command": rest(80)}), "values.frozen")
        assert finding.message.startswith("command repeats the same commands for ")

    def test_a_single_dimension_that_stops_is_named(self, judge):
        (finding,) = judge(build_episode(values={"arm": put(slice(80, None), 1, 0.5)}), "values.frozen")
        assert finding.message.startswith("arm stands still in joint_1 while others move, joint_1 for 1.5 s from 0.6")

    def test_a_dimension_that_rests_with_all_others_is_not_stuck(self, judge):
        def rest(values):
            values[60:200, 0] = values[60, 0]
            values[62:200] = values[62]
            return values

        (finding,) = judge(build_episode(values={"arm": rest}), "values.frozen")
        assert "repeats the same values" in finding.message

    def test_velocities_rest_at_zero(self, judge):
        speed = Dimension(name="speed", kind=Kind.JOINT_VELOCITY, unit=Unit.RADIAN_PER_SECOND)
        embodiment = Embodiment(name="wheel", rate_hz=10.0, proprioception=(Signal(name="arm", dimensions=(speed,)),))

        def rest(values):
            values[50:150] = 0.0
            return values

        assert judge(build_episode(embodiment, values={"arm": rest}), "values.frozen") == []


@pytest.mark.parametrize("check", ["finite", "limits", "velocity", "constant", "unused", "frozen"])
def test_good_values_pass(judge, check):
    assert judge(build_episode(seed=3), f"values.{check}") == []


def test_wrong_shapes_are_left_to_the_structure_checks():
    episode = build_episode(values={"arm": lambda v: v[:, :2] * 1e9, "command": lambda v: v.astype("S8")})
    assert {f.check for f in run_checks(episode)} == {"structure.dimensions"}
