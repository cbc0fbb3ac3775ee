import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vladata.checks import CheckSettings, run_checks
from vladata.embodiment import Dimension, Embodiment, Signal
from vladata.finding import Severity
from vladata.testing.builders import build_episode
from vladata.units import Kind, Mode, RotationConvention, Unit

XYZW = RotationConvention.QUATERNION_XYZW


def poses(arms=1, convention=XYZW):
    """An embodiment with the pose of each arm: a position, then a quaternion."""
    dimensions = []
    for arm in range(arms):
        dimensions += [Dimension(name=f"{a}{arm}", kind=Kind.POSITION, unit=Unit.METRE) for a in "xyz"]
        dimensions += [Dimension(name=f"q{a}{arm}", kind=Kind.ROTATION, unit=Unit.ONE) for a in "xyzw"]
    signal = Signal(name="arm", dimensions=tuple(dimensions), rotation=convention)
    return Embodiment(name="pose", rate_hz=10.0, proprioception=(signal,))


def turning(change=lambda q: q, arm=0, arms=1):
    """Poses that turn slowly; the quaternions of one arm are changed."""

    def make(values):
        time = np.arange(len(values)) / 100
        for i in range(arms):
            quaternions = Rotation.from_rotvec(np.stack([time * 2, np.sin(time), time * 0.3 + i], axis=1)).as_quat()
            flips = np.append(False, np.sum(quaternions[1:] * quaternions[:-1], axis=1) < 0)
            quaternions *= np.where(np.cumsum(flips) % 2, -1, 1)[:, None]
            values[:, 7 * i + 3 : 7 * i + 7] = change(quaternions) if i == arm else quaternions
        return values

    return make


def test_good_rotations_pass(judge):
    for check in ("quaternion_norm", "sign_flips", "wraps"):
        for arms in (1, 2):
            episode = build_episode(poses(arms), values={"arm": turning(arms=arms)}, duration_s=6.0)
            assert judge(episode, f"rotation.{check}") == []
        assert judge(build_episode(), f"rotation.{check}") == []


class TestQuaternionNorm:
    def test_long_quaternions_are_told_with_length_and_share(self, judge):
        episode = build_episode(poses(), values={"arm": turning(lambda q: q * 1.02)})
        (finding,) = judge(episode, "rotation.quaternion_norm")
        assert finding.severity is Severity.ERROR
        assert finding.message.startswith("arm (qx0, qy0, qz0, qw0) has length 1.02 at ")
        assert finding.message.endswith(
            ", and 221 of 221 samples (100.0 %) are off; a quaternion must have length 1 within 0.01"
        )
        assert finding.magnitude == pytest.approx(0.02)

    def test_the_second_arm_is_named(self, judge):
        def shorten(quaternions):
            quaternions[120] *= 0.5
            return quaternions

        episode = build_episode(poses(2), values={"arm": turning(shorten, arm=1, arms=2)})
        (finding,) = judge(episode, "rotation.quaternion_norm")
        assert finding.message == (
            "arm (qx1, qy1, qz1, qw1) has length 0.5 at 1.00 s (sample 120), and 1 of 221 samples (0.5 %) are off; "
            "a quaternion must have length 1 within 0.01"
        )
        assert finding.dimensions == ("qx1", "qy1", "qz1", "qw1")
        assert finding.steps == (10, 11)

    def test_rounding_passes_and_the_tolerance_can_be_set(self):
        episode = build_episode(poses(), values={"arm": turning(lambda q: np.round(q, 3))})
        assert run_checks(episode, select=["rotation"]) == []
        settings = CheckSettings(select=("rotation",), rules={"rotation.quaternion_norm": {"tolerance": 1e-5}})
        assert len(run_checks(episode, settings=settings)) == 1

    def test_zeros_are_no_rotation(self, judge):
        episode = build_episode(poses(), values={"arm": lambda v: v * 0})
        assert len(judge(episode, "rotation.quaternion_norm")) == 1
        assert judge(episode, "rotation.sign_flips") == []


def flip(*rows):
    def change(quaternions):
        for row in rows:
            quaternions[row:] *= -1
        return quaternions

    return change


class TestSignFlips:
    def test_one_flip_is_placed(self, judge):
        (finding,) = judge(build_episode(poses(), values={"arm": turning(flip(120))}), "rotation.sign_flips")
        assert finding.severity is Severity.WARNING
        assert finding.message == (
            "arm (qx0, qy0, qz0, qw0) changes its sign once, at 1.00 s (sample 120) while the rotation changes by "
            "0.0204 rad; q and -q are the same rotation, but must not alternate in targets"
        )
        assert finding.steps == (9, 11)

    def test_several_flips_are_counted(self, judge):
        (finding,) = judge(build_episode(poses(), values={"arm": turning(flip(50, 120, 121))}), "rotation.sign_flips")
        assert " changes its sign 3 times, for instance at " in finding.message

    def test_a_turn_by_half_is_no_flip(self, judge):
        def turn(quaternions):
            quaternions[120:] = (Rotation.from_rotvec([3.0, 0, 0]) * Rotation.from_quat(quaternions[120:])).as_quat()
            return quaternions

        assert judge(build_episode(poses(), values={"arm": turning(turn)}), "rotation.sign_flips") == []

    def test_euler_angles_have_no_sign(self, judge):
        dimension = Dimension(name="yaw", kind=Kind.ROTATION, unit=Unit.RADIAN)
        signal = Signal(name="arm", dimensions=(dimension,), rotation=RotationConvention.EULER_XYZ)
        embodiment = Embodiment(name="wrist", rate_hz=10.0, proprioception=(signal,))
        assert judge(build_episode(embodiment, values={"arm": lambda v: -v}), "rotation.sign_flips") == []


def angle(kind=Kind.ROTATION, mode=None, limits=None):
    dimension = Dimension(name="yaw", kind=kind, unit=Unit.RADIAN, mode=mode, limits=limits)
    rotation = RotationConvention.EULER_XYZ if kind is Kind.ROTATION else None
    signal = Signal(name="command", dimensions=(dimension,), rotation=rotation)
    if mode is None:
        return Embodiment(name="wrist", rate_hz=10.0, proprioception=(signal,))
    return Embodiment(name="wrist", rate_hz=10.0, action=(signal,))


def wrap(values):
    values[:, 0] = (np.arange(len(values)) * 0.04 + 1.0 + np.pi) % (2 * np.pi) - np.pi
    return values


class TestWraps:
    @pytest.mark.parametrize("kind", [Kind.ROTATION, Kind.JOINT_POSITION])
    def test_an_angle_that_wraps_is_placed(self, judge, kind):
        (finding,) = judge(build_episode(angle(kind, Mode.ABSOLUTE), values={"command": wrap}), "rotation.wraps")
        assert finding.severity is Severity.WARNING
        assert finding.message == (
            "command.yaw wraps from 3.12 rad to -3.123 rad at 0.88 s (sample 54); targets must not leap by a whole turn"
        )
        assert finding.dimensions == ("yaw",)
        assert finding.steps == (8, 9)

    def test_several_wraps_are_counted(self, judge):
        episode = build_episode(angle(mode=Mode.ABSOLUTE), values={"command": lambda v: wrap(wrap(v))}, duration_s=9.0)
        (finding,) = judge(episode, "rotation.wraps")
        assert " wraps in yaw); " in finding.message

    def test_measured_angles_wrap_too(self, judge):
        episode = build_episode(angle(), values={"command": wrap}, duration_s=6.0)
        assert len(judge(episode, "rotation.wraps")) == 1

    def test_joints_with_limits_deltas_and_half_turns_do_not_wrap(self, judge):
        def half(values):
            values[60:] += np.pi
            return values

        for embodiment, change in (
            (angle(Kind.JOINT_POSITION, Mode.ABSOLUTE, (-4.0, 4.0)), wrap),
            (angle(mode=Mode.DELTA), wrap),
            (angle(mode=Mode.ABSOLUTE), half),
        ):
            assert judge(build_episode(embodiment, values={"command": change}), "rotation.wraps") == []


@pytest.mark.parametrize("factor", [0.0, np.nan, np.inf, 1e306])
@pytest.mark.parametrize("duration_s", [0.0, 0.1, 2.0])
@pytest.mark.parametrize("embodiment", [poses(2), poses(1, RotationConvention.ROTATION_6D), angle()])
def test_odd_values_stop_nothing(factor, duration_s, embodiment):
    values = {n: lambda v: (v + 9) * factor for n in ("arm", "command")}
    episode = build_episode(embodiment, duration_s=duration_s, values=values)
    findings = run_checks(episode, select=["rotation", "motion", "gripper", "values"])
    assert [f for f in findings if f.traceback] == []
