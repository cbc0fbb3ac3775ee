"""The recorded pose against the one that follows from the joints."""

import dataclasses

import numpy as np
import pytest

from vladata.embodiment import ChainJoint, Dimension, Embodiment, Kinematics, Signal
from vladata.episode import Episode
from vladata.finding import Severity
from vladata.kinematics import forward
from vladata.testing.builders import build_embodiment, build_episode
from vladata.units import Kind, RotationConvention, Unit

CHAIN = (
    ChainJoint(name="pan", type="revolute", xyz=(0.0, 0.0, 0.1), axis=(0.0, 0.0, 1.0), dimension="joint_0"),
    ChainJoint(name="lift", type="revolute", axis=(0.0, 1.0, 0.0), dimension="joint_1"),
    ChainJoint(name="bend", type="revolute", xyz=(0.3, 0.0, 0.0), axis=(0.0, 1.0, 0.0), dimension="joint_2"),
    ChainJoint(name="tool", type="fixed", xyz=(0.2, 0.0, 0.0)),
)


def arm(rotation: RotationConvention | None = RotationConvention.QUATERNION_XYZW) -> Embodiment:
    base = build_embodiment(cameras=())
    places = [Dimension(name=n, kind=Kind.POSITION, unit=Unit.METRE) for n in "xyz"]
    size = {None: 0, RotationConvention.ROTATION_6D: 6}.get(rotation, 4)
    turns = [Dimension(name=f"q{i}", kind=Kind.ROTATION, unit=Unit.ONE) for i in range(size)]
    pose = Signal(name="hand", rotation=rotation, dimensions=(*places, *turns))
    return base.model_copy(
        update={
            "proprioception": (*base.proprioception, pose),
            "kinematics": (Kinematics(joints="arm", pose="hand", chain=CHAIN),),
        }
    )


def quaternions(matrices: np.ndarray) -> np.ndarray:
    """x, y, z, w; good where no turn is half a circle."""
    w = np.sqrt(1 + np.trace(matrices, axis1=1, axis2=2)) / 2
    xyz = [matrices[:, 2, 1] - matrices[:, 1, 2], matrices[:, 0, 2] - matrices[:, 2, 0]]
    xyz.append(matrices[:, 1, 0] - matrices[:, 0, 1])
    return np.stack([*(v / (4 * w) for v in xyz), w], axis=1)


def recorded(embodiment: Embodiment, *, zeros=(0.0, 0.0, 0.0), base=(0.0, 0.0, 0.0), tool=(0.0, 0.0, 0.0)) -> Episode:
    """An episode whose pose is that of the joints, each with another zero, with the base and the tool moved."""
    episode = build_episode(embodiment)
    joints = episode.steps.proprioception["arm"].astype(np.float64)
    found = forward(CHAIN, {f"joint_{i}": joints[:, i] + zeros[i] for i in range(3)})
    place = found.position + np.array(base) + found.rotation @ np.array(tool)
    size = len(embodiment.signal("hand").dimensions) - 3
    pose = np.concatenate([place, quaternions(found.rotation)[:, :size]], axis=1)
    if size > 4:
        pose = np.concatenate([place, np.ones((len(place), size))], axis=1)
    states = {**episode.steps.proprioception, "hand": pose.astype(np.float32)}
    return dataclasses.replace(episode, steps=dataclasses.replace(episode.steps, proprioception=states))


def test_the_pose_of_the_joints_passes(judge):
    assert judge(recorded(arm()), "meaning.kinematics") == []
    assert judge(recorded(arm(), base=(0.01, 0.0, 0.0)), "meaning.kinematics") == []


def test_a_base_that_is_3_cm_off_is_an_error_and_is_named(judge):
    (finding,) = judge(recorded(arm(), base=(0.0, 0.03, 0.0)), "meaning.kinematics")
    assert finding.severity is Severity.ERROR
    assert finding.location == "/streams/hand/values"
    assert finding.message.startswith("hand is 0.0300 m away from where arm puts it (median; 0.0300 m at step ")
    assert finding.message.endswith("; it would fit if the base stood (0.000, 0.030, 0.000) m away")


def test_a_longer_tool_is_named(judge):
    (finding,) = judge(recorded(arm(), tool=(0.05, 0.0, 0.0)), "meaning.kinematics")
    assert finding.message.endswith("it would fit if the tip was (0.050, 0.000, 0.000) m further, in its own frame")


def test_the_joint_with_the_wrong_zero_is_named(judge):
    (finding,) = judge(recorded(arm(None), zeros=(0.0, 0.1, 0.0)), "meaning.kinematics")
    assert "it would fit if the zero of joint_1 was 0.0998 rad off" in finding.message
    assert "turned" not in finding.message


def test_a_turned_tip_at_the_right_place_is_an_error(judge):
    episode = recorded(arm())
    pose = episode.steps.proprioception["hand"].copy()
    pose[:, 3:] = np.array([0.0, 0.0, 0.0, 1.0])
    states = {**episode.steps.proprioception, "hand": pose}
    turned = dataclasses.replace(episode, steps=dataclasses.replace(episode.steps, proprioception=states))
    (finding,) = judge(turned, "meaning.kinematics")
    assert "hand is 0.0000 m away" in finding.message
    assert "and turned by " in finding.message
    assert "would fit" not in finding.message


def test_six_numbers_of_a_rotation_are_not_compared(judge):
    embodiment = arm(RotationConvention.ROTATION_6D)
    assert judge(recorded(embodiment), "meaning.kinematics") == []
    assert len(judge(recorded(embodiment, base=(0.1, 0.0, 0.0)), "meaning.kinematics")) == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30, 0.0])
def test_values_that_are_none_stop_nothing(judge, value):
    episode = recorded(arm())
    for signal in ("arm", "hand"):
        for rows in (slice(None), slice(0, None, 2)):
            values = episode.steps.proprioception[signal].copy()
            values[rows] = value
            states = {**episode.steps.proprioception, signal: values}
            spoiled = dataclasses.replace(episode, steps=dataclasses.replace(episode.steps, proprioception=states))
            assert [f for f in judge(spoiled, "meaning.kinematics") if f.traceback] == []
    assert judge(dataclasses.replace(episode, steps=episode.steps.between(0, 0)), "meaning.kinematics") == []


def test_an_episode_without_the_section_is_not_judged(judge):
    assert judge(build_episode(), "meaning.kinematics") == []
