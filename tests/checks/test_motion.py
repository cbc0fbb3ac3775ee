import dataclasses
import re

import numpy as np
import pytest

from vladata.checks import CheckSettings, run_checks
from vladata.embodiment import Dimension, Embodiment, Signal
from vladata.finding import Severity
from vladata.testing.builders import build_embodiment, build_episode
from vladata.units import Clock, Kind, Mode, RotationConvention, Unit

CHECKS = [
    "acceleration",
    "idle_head",
    "idle_share",
    "idle_tail",
    "jerk",
    "jumps",
    "no_ops",
    "saturation",
]


def add(rows, column, value):
    """Change values of a signal; `arm` samples are 10 ms apart, the first 0.2 s before the first step."""

    def change(values):
        values[rows, column] += value
        return values

    return change


def noise(deviation, then=lambda v: v):
    def change(values):
        return then(values) + np.random.default_rng(7).normal(0.0, deviation, size=values.shape)

    return change


def held(*spans):
    """Motion that stands still over spans of rows and goes on from there."""

    def change(values):
        speed = np.ones(len(values))
        for start, stop in spans:
            speed[start:stop] = 0.0
        place = np.concatenate(([0.0], np.cumsum(speed[1:])))
        return np.stack([np.interp(place, np.arange(len(values)), c) for c in values.T], axis=1)

    return change


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("deviation", [0.0, 0.001, 0.003])
def test_good_motion_passes_with_any_noise(judge, check, deviation):
    for seed in range(3):
        for rate in (10.0, 30.0):
            for is_stepped in (False, True):
                episode = build_episode(
                    build_embodiment(rate_hz=rate, cameras=()),
                    seed=seed,
                    duration_s=6.0,
                    is_stepped=is_stepped,
                    values={"arm": noise(deviation)},
                )
                assert judge(episode, f"motion.{check}") == []


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("change", [lambda v: v * 0, lambda v: v * np.nan, lambda v: v * 1e306, lambda v: v * 1e-320])
@pytest.mark.parametrize("duration_s", [0.0, 0.1, 4.0])
def test_odd_values_stop_no_check(check, change, duration_s):
    episode = build_episode(duration_s=duration_s, values={"arm": change, "command": change})
    assert [f for f in run_checks(episode, select=[f"motion.{check}"]) if f.traceback] == []


def limited(max_acceleration, *, kind=Kind.JOINT_POSITION, unit=Unit.RADIAN):
    joint = Dimension(name="joint", kind=kind, unit=unit, max_acceleration=max_acceleration)
    other = Dimension(name="other", kind=kind, unit=unit)
    return Embodiment(name="fast", rate_hz=10.0, proprioception=(Signal(name="arm", dimensions=(joint, other)),))


def accelerated(by, after=100, lasting=20):
    """A joint whose speed changes for some samples, 10 ms each."""

    def change(values):
        speed = np.zeros(len(values))
        speed[after:] = by * 0.01 * np.clip(np.arange(len(values) - after) + 1, 0, lasting)
        values[:, 0] = np.cumsum(speed) * 0.01
        return values

    return change


class TestAcceleration:
    def test_a_speed_that_changes_too_fast_is_told_with_both_numbers(self, judge):
        (finding,) = judge(build_episode(limited(10.0), values={"arm": accelerated(15.0)}), "motion.acceleration")
        assert finding.severity is Severity.WARNING
        # Twenty intervals accelerate by the same: rounding says which is the worst.
        assert re.sub(r"0.\d\d s \(sample 1\d\d\)", "@", finding.message) == (
            "arm.joint accelerates by at least 15 rad/s² at @; the schema allows 10 rad/s²"
        )
        assert finding.dimensions == ("joint",)
        assert finding.magnitude == pytest.approx(1.5, abs=0.02)
        assert finding.steps in {(8, 9), (9, 10)}

    def test_one_interval_above_the_noise_is_enough(self, judge):
        change = noise(1e-5, accelerated(15.0, lasting=1))
        assert len(judge(build_episode(limited(10.0), values={"arm": change}), "motion.acceleration")) == 1

    def test_slower_changes_pass(self, judge):
        episode = build_episode(limited(16.0), values={"arm": accelerated(15.0)})
        assert judge(episode, "motion.acceleration") == []

    @pytest.mark.parametrize("deviation", [1e-4, 1e-3])
    def test_noise_is_no_acceleration(self, judge, deviation):
        episode = build_episode(limited(10.0), values={"arm": noise(deviation, accelerated(5.0))})
        assert judge(episode, "motion.acceleration") == []

    def test_the_steps_of_an_encoder_are_no_acceleration(self, judge):
        def coarse(values):
            return np.round(accelerated(5.0)(values) / 0.0015) * 0.0015

        assert judge(build_episode(limited(10.0), values={"arm": coarse}), "motion.acceleration") == []

    def test_jitter_of_stamps_and_lost_samples_are_no_acceleration(self, judge):
        rng = np.random.default_rng(3)

        def jitter(time_ns):
            time_ns = time_ns + rng.integers(-4_000_000, 4_000_000, size=len(time_ns))
            return time_ns + 60_000_000 * (np.arange(len(time_ns)) > 150)

        def steady(values):
            values[:, 0] = np.arange(len(values)) * 0.01 + 0.06 * (np.arange(len(values)) > 150)
            return values

        episode = build_episode(limited(10.0), values={"arm": steady}, stamps={"arm": jitter})
        assert judge(episode, "motion.acceleration") == []

    def test_a_slow_sensor_behind_a_fast_publisher_does_not_accelerate(self, judge):
        def stairs(values):
            return accelerated(5.0)(values)[np.arange(len(values)) // 4 * 4]

        assert judge(build_episode(limited(10.0), values={"arm": stairs}), "motion.acceleration") == []

    def test_the_change_of_a_measured_speed_counts(self, judge):
        embodiment = limited(10.0, kind=Kind.JOINT_VELOCITY, unit=Unit.RADIAN_PER_SECOND)

        def ramp(values):
            values[:, 0] = np.clip(np.arange(len(values)) - 100, 0, 20) * 0.2
            return values

        (finding,) = judge(build_episode(embodiment, values={"arm": ramp}), "motion.acceleration")
        assert "accelerates by at least 20 rad/s² at " in finding.message
        assert finding.message.endswith("the schema allows 10 rad/s²")

    def test_nominal_time_gives_no_acceleration(self, judge):
        episode = build_episode(
            limited(1.0), values={"arm": accelerated(90.0)}, is_stepped=True, clock=Clock.NOMINAL, duration_s=20.0
        )
        assert judge(episode, "motion.acceleration") == []


class TestJumps:
    def test_a_joint_that_leaps_and_stays_is_told(self, judge):
        (finding,) = judge(build_episode(values={"arm": add(slice(120, None), 1, 0.1)}, seed=2), "motion.jumps")
        assert finding.severity is Severity.WARNING
        assert finding.message.startswith("arm.joint_1 leaps by 0.1 rad at 1.00 s (sample 120) and stays there; ")
        assert finding.message.endswith("and none may by more than 4 times that")
        assert finding.steps == (9, 11)
        assert finding.dimensions == ("joint_1",)

    def test_a_spike_of_one_sample_is_told_once(self, judge):
        (finding,) = judge(build_episode(values={"arm": add(120, 1, -0.1)}, seed=2), "motion.jumps")
        assert finding.message.startswith("arm.joint_1 leaps by 0.0999 rad at 1.00 s (sample 120) and comes back; ")

    @pytest.mark.parametrize("length", [2, 3, 4, 5, 6, 7])
    @pytest.mark.parametrize("size", [0.1, -0.4])
    def test_a_value_that_is_off_for_a_few_samples_leaps_and_comes_back(self, judge, length, size):
        (finding,) = judge(
            build_episode(values={"arm": add(slice(120, 120 + length), 1, size)}, seed=2), "motion.jumps"
        )
        assert " at 1.00 s (sample 120) and comes back" in finding.message
        assert finding.dimensions == ("joint_1",)

    def test_longer_ones_are_two_leaps(self, judge):
        (finding,) = judge(build_episode(values={"arm": add(slice(120, 140), 1, 0.2)}, seed=2), "motion.jumps")
        assert "stays there (2 leaps in joint_1, this is the worst)" in finding.message

    def test_several_are_counted(self, judge):
        def spoil(values):
            values[60:, 0] += 0.3
            values[120, 1] += 0.2
            return values

        (finding,) = judge(build_episode(values={"arm": spoil}), "motion.jumps")
        assert "(2 leaps in joint_0, joint_1, this is the worst)" in finding.message

    @pytest.mark.parametrize("rate", [10.0, 20.0, 50.0])
    @pytest.mark.parametrize("size", [0.1, -0.1])
    def test_steps_without_time_are_enough(self, judge, rate, size):
        for seed in range(5):
            episode = build_episode(
                build_embodiment(rate_hz=rate, cameras=()),
                seed=seed,
                duration_s=8.0,
                is_stepped=True,
                clock=Clock.NOMINAL,
                values={"arm": add(slice(37, None), 0, size), "command": add(41, 1, size)},
            )
            assert len(judge(episode, "motion.jumps")) == 2

    def test_noisy_and_coarse_encoders_do_not_leap(self, judge):
        def coarse(values):
            return np.round(values / 0.05) * 0.05

        assert judge(build_episode(values={"arm": coarse}), "motion.jumps") == []
        assert judge(build_episode(values={"arm": noise(0.03)}), "motion.jumps") == []

    def test_stairs_of_slow_sensors_and_of_waypoints_do_not_leap(self, judge):
        for width in (3, 10, 20):
            change = {n: lambda v, w=width: v[np.arange(len(v)) // w * w] for n in ("arm", "command")}
            assert judge(build_episode(values=change, duration_s=5.0), "motion.jumps") == []

    def test_a_fast_flick_does_not_leap(self, judge):
        def flick(values):
            bump = np.sin(np.linspace(0, np.pi, 8)) ** 2 * 0.4
            values[100:108, 0] += bump
            return values

        episode = build_episode(values={"arm": flick}, rates_hz={"arm": 30.0}, duration_s=6.0)
        assert judge(episode, "motion.jumps") == []

    def test_a_start_at_full_speed_does_not_leap(self, judge):
        change = {n: held((20, 50)) for n in ("arm", "command")}
        episode = build_episode(values=change, is_stepped=True, duration_s=12.0)
        assert judge(episode, "motion.jumps") == []

    def test_motion_over_a_gap_does_not_leap(self, judge):
        def gap(values):
            return np.delete(np.concatenate((values, values[-1:])), slice(100, 101), axis=0)

        def stamps(time_ns):
            return time_ns + 10_000_000 * 30 * (np.arange(len(time_ns)) >= 100)

        def moved(values):
            shifted = np.concatenate((values[:100], values[130:], values[:30]))
            return gap(shifted)[: len(values)]

        episode = build_episode(values={"arm": moved}, stamps={"arm": stamps}, duration_s=1.8)
        assert judge(episode, "motion.jumps") == []

    def test_angles_that_wrap_do_not_leap(self, judge):
        yaw = Dimension(name="yaw", kind=Kind.ROTATION, unit=Unit.RADIAN)
        signal = Signal(name="arm", dimensions=(yaw,), rotation=RotationConvention.EULER_XYZ)
        embodiment = Embodiment(name="wrist", rate_hz=10.0, proprioception=(signal,))

        def turn(values):
            values[:, 0] = (np.arange(len(values)) * 0.02 + np.pi) % (2 * np.pi) - np.pi
            return values

        assert judge(build_episode(embodiment, values={"arm": turn}, duration_s=8.0), "motion.jumps") == []

    def test_the_least_leap_can_be_set(self):
        episode = build_episode(values={"arm": add(slice(120, None), 1, 0.1)}, seed=2)
        settings = CheckSettings(select=("motion.jumps",), rules={"motion.jumps": {"angle": 0.2}})
        assert run_checks(episode, settings=settings) == []


class TestSaturation:
    def test_a_command_at_its_limit_is_told_with_its_share(self, judge):
        def clip(values):
            values[30:50, 1] = 2.0
            return values

        (finding,) = judge(build_episode(values={"command": clip}), "motion.saturation")
        assert finding.severity is Severity.WARNING
        assert finding.message == (
            "command.joint_1 stands at its limit of 2 rad for 20 of 111 samples (18.0 %), the longest time from "
            "0.40 s (sample 30) on while the rest moves; it must be less than 10 %"
        )
        assert finding.steps == (4, 8)

    def test_a_short_touch_passes(self, judge):
        def clip(values):
            values[30:40, 1] = 2.0
            return values

        assert judge(build_episode(values={"command": clip}), "motion.saturation") == []

    def test_a_flat_top_is_found_without_limits(self, judge):
        embodiment = build_embodiment(cameras=())
        bare = tuple(d.model_copy(update={"limits": None}) for d in embodiment.action[0].dimensions)
        action = (embodiment.action[0].model_copy(update={"dimensions": bare}),)
        embodiment = embodiment.model_copy(update={"action": action})

        def clip(values):
            values[:, 0] = np.minimum(values[:, 0], 0.8)
            return values

        (finding,) = judge(build_episode(embodiment, values={"command": clip}, duration_s=14.0), "motion.saturation")
        assert "command.joint_0 stands at the same extreme value of 0.8 rad for " in finding.message
        assert judge(build_episode(embodiment, duration_s=14.0), "motion.saturation") == []

    def test_a_coarse_encoder_that_rests_at_its_extreme_is_not_cut(self, judge):
        step = 2 * np.pi / 4096

        def coarse(values):
            # A slow motion to the extreme, where the last digit flickers, four times.
            slow = 0.04 * np.minimum(np.sin(np.linspace(0, 8 * np.pi, len(values))), 0.5)
            slow += np.random.default_rng(1).normal(0, 1.5e-4, len(values))
            values[:, 0] = np.minimum(np.round(slow / step) * step, np.round(0.02 / step) * step)
            return values

        assert judge(build_episode(values={"arm": coarse}, duration_s=8.0), "motion.saturation") == []

    def test_grippers_rests_and_switches_may_stand_at_their_ends(self, judge):
        assert judge(build_episode(duration_s=10.0), "motion.saturation") == []

        def rest(values):
            values[:100] = 2.0
            return values

        assert judge(build_episode(values={"command": rest}, duration_s=4.0), "motion.saturation") == []

        def switch(values):
            values[:, 0] = np.where(np.arange(len(values)) // 20 % 2, 2.0, -2.0)
            return values

        assert judge(build_episode(values={"command": switch}, duration_s=4.0), "motion.saturation") == []


def shaken(frequency, rate, amplitude=0.02, columns=3):
    def change(values):
        time = np.arange(len(values)) / rate
        phases = np.arange(columns)
        values[:, :columns] += amplitude * np.sin(2 * np.pi * frequency * time[:, None] + phases)
        return values

    return change


class TestJumpsAtTheEnds:
    @pytest.mark.parametrize("rows", [slice(0, 1), slice(0, 5), slice(-1, None), slice(-4, None)])
    def test_rows_that_were_never_filled_leap(self, judge, rows):
        def unfilled(values):
            values[rows, :3] = 0.0
            return values

        episode = build_episode(
            build_embodiment(rate_hz=30.0, cameras=()), values={"command": unfilled}, duration_s=6.0, is_stepped=True
        )
        (finding,) = judge(episode, "motion.jumps")
        assert finding.message.startswith("command.joint_")

    def test_a_start_that_fades_is_no_leap(self, judge):
        def fading(values):
            # A filter of first order answers to a step right at the beginning.
            values[:, 0] = 0.5 - 0.5 * 0.6 ** np.arange(len(values))
            return values

        episode = build_episode(
            build_embodiment(rate_hz=30.0, cameras=()), values={"command": fading}, duration_s=6.0, is_stepped=True
        )
        assert judge(episode, "motion.jumps") == []


class TestJerk:
    def test_a_shaking_arm_is_told_in_unit_and_hertz(self, judge):
        episode = build_episode(
            build_embodiment(rate_hz=50.0, cameras=()), values={"arm": shaken(8.0, 100.0)}, duration_s=5.0
        )
        (finding,) = judge(episode, "motion.jerk")
        assert finding.severity is Severity.WARNING
        assert finding.message.startswith("arm shakes in joint_0, joint_1, joint_2 all the time, joint_")
        assert "joint_0 by 0.018 rad at about 8.1 Hz; what is faster than a hand must stay below " in finding.message
        assert "(log dimensionless jerk -" in finding.message
        assert finding.dimensions == ("joint_0", "joint_1", "joint_2")

    @pytest.mark.parametrize("rate", [10.0, 20.0, 30.0, 50.0])
    def test_the_weakest_shake_is_found_at_all_rates(self, judge, rate):
        frequency = 8.0 if rate >= 32 else rate / 4
        for seed in range(3):
            for is_stepped in (True, False):
                episode = build_episode(
                    build_embodiment(rate_hz=rate, cameras=()),
                    seed=seed,
                    duration_s=6.0,
                    is_stepped=is_stepped,
                    values={"arm": shaken(frequency, rate if is_stepped else 100.0)},
                )
                assert len(judge(episode, "motion.jerk")) == 1

    def test_a_start_and_a_stop_are_no_shake(self, judge):
        change = {n: held((50, 100), (200, 240), (400, 460)) for n in ("arm", "command")}
        assert judge(build_episode(values=change, duration_s=8.0), "motion.jerk") == []

    def test_one_joint_with_strong_noise_is_found_alone(self, judge):
        def noisy(values):
            values[:, 1] += np.random.default_rng(3).normal(0.0, 0.03, len(values))
            return values

        episode = build_episode(
            build_embodiment(rate_hz=30.0, cameras=()), values={"arm": noisy}, duration_s=6.0, is_stepped=True
        )
        (finding,) = judge(episode, "motion.jerk")
        assert finding.dimensions == ("joint_1",)
        assert finding.message.startswith("arm shakes in joint_1 all the time")

    def test_one_shaking_joint_of_three_is_not_the_arm(self, judge):
        episode = build_episode(
            build_embodiment(rate_hz=50.0, cameras=()),
            values={"arm": shaken(8.0, 100.0, columns=1)},
            duration_s=5.0,
        )
        assert judge(episode, "motion.jerk") == []


class TestIdle:
    @pytest.mark.parametrize("deviation", [0.0, 0.001])
    def test_a_rest_before_the_demonstration_is_told(self, judge, deviation):
        episode = build_episode(values={"arm": noise(deviation, held((0, 320)))}, duration_s=8.0)
        (finding,) = judge(episode, "motion.idle_head")
        assert finding.severity is Severity.WARNING
        assert finding.message.startswith("the robot stands still for 3.")
        assert finding.message.endswith(
            " s before it moves for the first time; a demonstration should start within 2.8 s"
        )
        assert finding.steps is not None
        assert finding.steps[0] == 0
        assert 30 <= finding.steps[1] <= 34
        assert judge(episode, "motion.idle_tail") == []

    @pytest.mark.parametrize("deviation", [0.0, 0.001])
    def test_a_rest_after_it_is_told(self, judge, deviation):
        episode = build_episode(values={"arm": noise(deviation, held((520, 900)))}, duration_s=8.0)
        (finding,) = judge(episode, "motion.idle_tail")
        assert finding.message.endswith(" s after its last motion; a demonstration should end within 2.8 s")
        assert finding.steps is not None
        assert finding.steps[1] == len(episode)

    def test_two_seconds_pass(self, judge):
        episode = build_episode(values={"arm": held((0, 220), (620, 900))}, duration_s=8.0)
        for check in ("idle_head", "idle_tail"):
            assert judge(episode, f"motion.{check}") == []

    def test_without_time_steps_are_counted(self, judge):
        episode = build_episode(values={"arm": held((0, 32))}, duration_s=10.0, is_stepped=True, clock=Clock.NOMINAL)
        (finding,) = judge(episode, "motion.idle_head")
        assert finding.message.startswith("the robot stands still for 32 steps before ")
        assert finding.message.endswith("should start within 28 steps")

    def test_a_gripper_that_moves_is_motion(self, judge):
        def grip(values):
            values = held((0, 320))(values)
            values[:320, 3] = np.linspace(0, 1, 320)
            return values

        assert judge(build_episode(values={"arm": grip}, duration_s=8.0), "motion.idle_head") == []

    @pytest.mark.parametrize("deviation", [0.0, 0.001])
    def test_pauses_are_summed_up(self, judge, deviation):
        change = noise(deviation, held((150, 320), (450, 620)))
        episode = build_episode(values={"arm": change}, duration_s=8.0)
        (finding,) = judge(episode, "motion.idle_share")
        assert finding.severity is Severity.WARNING
        assert finding.message.startswith("the robot stands still for 3.")
        assert ", in 2 pauses, the longest 1." in finding.message
        assert finding.message.endswith("it must be less than 35 %")

    def test_short_pauses_pass(self, judge):
        episode = build_episode(values={"arm": held((150, 270), (450, 550))}, duration_s=8.0)
        assert judge(episode, "motion.idle_share") == []

    def test_a_robot_that_only_trembles_never_moves(self, judge):
        episode = build_episode(values={"arm": noise(0.001, lambda v: v * 0)}, duration_s=8.0)
        (finding,) = judge(episode, "motion.idle_share")
        assert "(100 %), in one pause" in finding.message
        assert judge(episode, "motion.idle_head") == []

    def test_commands_count_where_nothing_is_measured(self, judge):
        embodiment = build_embodiment(cameras=())
        embodiment = embodiment.model_copy(update={"proprioception": ()})
        episode = build_episode(embodiment, values={"command": held((0, 160))}, duration_s=8.0)
        assert len(judge(episode, "motion.idle_head")) == 1


def delta_embodiment(mode=Mode.DELTA):
    hand = tuple(Dimension(name=f"d{a}", kind=Kind.POSITION, unit=Unit.METRE, mode=mode) for a in "xyz")
    gripper = Dimension(name="gripper", kind=Kind.GRIPPER_COMMAND, unit=Unit.ONE, mode=Mode.ABSOLUTE, limits=(0, 1))
    return Embodiment(name="delta", rate_hz=10.0, action=(Signal(name="command", dimensions=(*hand, gripper)),))


def pause(*spans, gripper=0.0):
    def change(values):
        values *= 0.01
        for start, stop in spans:
            values[start:stop, :3] = 1e-17
            values[start:stop, 3] = gripper
        return values

    return change


class TestNoOps:
    def test_runs_of_zero_actions_are_told(self, judge):
        change = {"command": pause((10, 20), (40, 61))}
        episode = build_episode(delta_embodiment(), values=change, is_stepped=True, duration_s=10.0)
        (finding,) = judge(episode, "motion.no_ops")
        assert finding.severity is Severity.WARNING
        # At sample 10 the gripper closes: that is an action.
        assert finding.message == (
            "command commands nothing in 30 of 101 samples (29.7 %), in 2 runs (samples 11 to 19, 40 to 60), "
            "the longest of 21; it must be less than 25 %, and a filter of idle actions would leave 71 of 101"
        )
        assert finding.steps == (40, 61)

    def test_few_zeros_and_absolute_targets_pass(self, judge):
        change = {"command": pause((10, 30))}
        episode = build_episode(delta_embodiment(), values=change, is_stepped=True, duration_s=10.0)
        assert judge(episode, "motion.no_ops") == []
        change = {"command": pause((10, 60))}
        episode = build_episode(delta_embodiment(Mode.ABSOLUTE), values=change, is_stepped=True, duration_s=10.0)
        assert judge(episode, "motion.no_ops") == []

    def test_a_gripper_that_closes_is_an_action(self, judge):
        def close(values):
            values = pause((10, 60))(values)
            values[10:60, 3] = np.linspace(0, 1, 50)
            return values

        episode = build_episode(delta_embodiment(), values={"command": close}, is_stepped=True, duration_s=10.0)
        assert judge(episode, "motion.no_ops") == []


@pytest.mark.parametrize("check", ["jerk", "idle_head", "idle_share", "jumps"])
@pytest.mark.parametrize("rate", [5.0, 10.0, 30.0])
def test_a_sensor_of_a_third_of_the_rate_passes(judge, check, rate):
    for seed in range(3):
        episode = build_episode(
            build_embodiment(rate_hz=rate, cameras=()),
            seed=seed,
            duration_s=10.0,
            is_stepped=True,
            clock=Clock.NOMINAL,
            values={"arm": lambda v: v[np.arange(len(v)) // 3 * 3]},
        )
        assert judge(episode, f"motion.{check}") == []


def test_findings_hold_for_the_steps_alone(judge):
    episode = build_episode(values={"arm": add(slice(5, None), 1, 0.1)}, seed=2)
    assert judge(episode, "motion.jumps") == []
    assert judge(dataclasses.replace(episode, streams={}), "motion.jumps") == []
