"""Quaternions of commands and states in one order of their components."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vladata.embodiment import Dimension, Embodiment, Signal
from vladata.finding import Severity
from vladata.testing.builders import build_episode
from vladata.units import Kind, Mode, RotationConvention, Unit

XYZW, WXYZ = RotationConvention.QUATERNION_XYZW, RotationConvention.QUATERNION_WXYZ


def hand(convention, frame="base"):
    def signal(name, mode, where):
        turn = tuple(Dimension(name=n, kind=Kind.ROTATION, unit=Unit.ONE, mode=mode) for n in ("q0", "q1", "q2", "q3"))
        return Signal(name=name, dimensions=turn, rotation=convention, reference_frame=where)

    return Embodiment(
        name="hand",
        rate_hz=10,
        proprioception=(signal("pose", None, "base"),),
        action=(signal("target", Mode.ABSOLUTE, frame),),
    )


def turned(convention, *, state=lambda q: q, action=lambda q: q, frame="base"):
    """A hand that turns about two axes; the state follows its target by one step."""

    def steps(made):
        angle = np.linspace(0, 1, len(made))
        quaternion = Rotation.from_euler("xyz", np.column_stack([0.3 * angle, 0.6 * angle, angle])).as_quat()
        if convention is WXYZ:
            quaternion = np.roll(quaternion, 1, axis=1)
        later = quaternion[np.maximum(np.arange(len(made)) - 1, 0)]
        return dataclasses.replace(
            made,
            proprioception={"pose": state(later).astype(np.float32)},
            action={"target": action(quaternion).astype(np.float32)},
        )

    return build_episode(hand(convention, frame), duration_s=4.0, steps=steps)


def other(quaternion):
    """What was x, y, z, w as w, x, y, z."""
    return np.roll(quaternion, 1, axis=1)


def test_a_command_in_another_order_is_found(judge):
    (finding,) = judge(turned(XYZW, action=other), "meaning.joint_order")
    assert finding.severity is Severity.ERROR
    assert finding.dimensions == ("q0", "q1", "q2", "q3")
    assert finding.location == "/streams/target/values"
    assert finding.message.startswith("the quaternion of target is ")
    assert finding.message.endswith(
        "if one of them has another order of its components; both must be x, y, z, w, as declared"
    )


@pytest.mark.parametrize("convention", [XYZW, WXYZ])
def test_a_state_in_another_order_is_found_in_both_conventions(judge, convention):
    back = other if convention is XYZW else lambda q: np.roll(q, -1, axis=1)
    assert len(judge(turned(convention, state=back), "meaning.joint_order")) == 1


@pytest.mark.parametrize("convention", [XYZW, WXYZ])
def test_equal_orders_and_the_other_sign_pass(judge, convention):
    assert judge(turned(convention), "meaning.joint_order") == []
    assert judge(turned(convention, action=lambda q: -q), "meaning.joint_order") == []


def test_other_frames_and_what_is_not_finite_say_nothing(judge):
    assert judge(turned(XYZW, action=other, frame="camera"), "meaning.joint_order") == []
    assert judge(turned(XYZW, action=lambda q: q * np.nan), "meaning.joint_order") == []
    assert judge(turned(XYZW, action=lambda q: q * 0), "meaning.joint_order") == []
