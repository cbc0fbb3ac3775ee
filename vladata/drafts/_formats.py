"""What formats say about their own fields: names, kinds, units. Facts of the formats, not of a recording.

Sources: the readmes and recorders of ALOHA, robomimic, LIBERO, DROID and UMI.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from ..units import Kind, Mode, RotationConvention, Unit

__all__ = ["Fact", "Facts", "facts_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One element."""

    name: str
    kind: Kind
    unit: Unit
    normalized: bool = False
    open_closed: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A field."""

    elements: tuple[Fact, ...]
    rotation: RotationConvention | None = None
    mode: Mode | None = None
    remark: str = ""


def facts_of(source: str, name: str, size: int) -> Facts | None:
    """What a format says about a field of a size; None where it says nothing."""
    for pattern, facts in _FACTS.get(source, ()):
        if re.search(rf"(^|[/.]){pattern}$", name):
            found = facts()
            if len(found.elements) == size:
                return found
    return None


def _all(kind: Kind, unit: Unit, *names: str) -> tuple[Fact, ...]:
    return tuple(Fact(name=n, kind=kind, unit=unit) for n in names)


def _numbered(prefix: str, count: int) -> tuple[str, ...]:
    return tuple(f"{prefix}{i}" for i in range(1, count + 1))


_XYZ = _all(Kind.POSITION, Unit.METRE, "x", "y", "z")
_RPY = _all(Kind.ROTATION, Unit.RADIAN, "roll", "pitch", "yaw")
_AXIS_ANGLE = _all(Kind.ROTATION, Unit.RADIAN, "rx", "ry", "rz")
_QUATERNION = _all(Kind.ROTATION, Unit.ONE, "qx", "qy", "qz", "qw")
_JOINTS = _all(Kind.JOINT_POSITION, Unit.RADIAN, *_numbered("joint", 7))
_FINGERS = _all(Kind.GRIPPER_APERTURE, Unit.METRE, "finger1", "finger2")
_VIPER = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate")


def _aloha(kind: Kind, unit: Unit, mode: Mode | None = None) -> Callable[[], Facts]:
    """Two arms of six joints and a gripper."""

    def facts() -> Facts:
        elements: list[Fact] = []
        for side in ("left", "right"):
            elements += _all(kind, unit, *(f"{side}_{j}" for j in _VIPER))
            if kind is Kind.JOINT_POSITION:
                gripper = Kind.GRIPPER_APERTURE if mode is None else Kind.GRIPPER_COMMAND
                elements.append(
                    Fact(name=f"{side}_gripper", kind=gripper, unit=Unit.ONE, normalized=True, open_closed=(1, 0))
                )
            else:
                elements.append(Fact(name=f"{side}_gripper", kind=Kind.OTHER, unit=Unit.ONE))
        remark = "grippers are a share of their range, 1 open; the leader's (action) is of another range" * (
            mode is not None
        )
        return Facts(elements=tuple(elements), mode=mode, remark=remark)

    return facts


def _of(
    *elements: Fact, rotation: RotationConvention | None = None, mode: Mode | None = None, remark: str = ""
) -> Callable[[], Facts]:
    return lambda: Facts(elements=elements, rotation=rotation, mode=mode, remark=remark)


def _scaled(open_closed: tuple[float, float]) -> tuple[Fact, ...]:
    """A normalized change of the end effector's pose, and a gripper."""
    move = tuple(Fact(name=f"d{c}", kind=Kind.POSITION, unit=Unit.ONE, normalized=True) for c in "xyz")
    turn = tuple(Fact(name=f"dr{c}", kind=Kind.ROTATION, unit=Unit.ONE, normalized=True) for c in "xyz")
    gripper = Fact(name="gripper", kind=Kind.GRIPPER_COMMAND, unit=Unit.ONE, normalized=True, open_closed=open_closed)
    return (*move, *turn, gripper)


_VECTOR, _EULER, _XYZW = (
    RotationConvention.ROTATION_VECTOR,
    RotationConvention.EULER_XYZ,
    RotationConvention.QUATERNION_XYZW,
)
_OSC = "taken for OSC_POSE: -1 to 1 are up to 0.05 m and 0.5 rad; see the controller in env_args"
_DROID_GRIPPER = Fact(name="gripper", kind=Kind.GRIPPER_APERTURE, unit=Unit.ONE, normalized=True, open_closed=(0, 1))
_DROID_COMMAND = Fact(name="gripper", kind=Kind.GRIPPER_COMMAND, unit=Unit.ONE, normalized=True, open_closed=(0, 1))
_DROID_SPEED = "velocities of DROID are a share of the highest speed, -1 to 1"
_JOINT_SPEEDS = _all(Kind.JOINT_VELOCITY, Unit.RADIAN_PER_SECOND, *_numbered("joint", 7))
_TORQUES = _all(Kind.JOINT_EFFORT, Unit.NEWTON_METRE, *_numbered("joint", 7))

_FACTS: dict[str, tuple[tuple[str, Callable[[], Facts]], ...]] = {
    "aloha_hdf5": (
        ("qpos", _aloha(Kind.JOINT_POSITION, Unit.RADIAN)),
        ("qvel", _aloha(Kind.JOINT_VELOCITY, Unit.RADIAN_PER_SECOND)),
        ("effort", _aloha(Kind.OTHER, Unit.ONE)),
        ("base_action", _of(
            Fact(name="linear", kind=Kind.LINEAR_VELOCITY, unit=Unit.METRE_PER_SECOND),
            Fact(name="angular", kind=Kind.ANGULAR_VELOCITY, unit=Unit.RADIAN_PER_SECOND),
            mode=Mode.VELOCITY,
        )),
        ("action", _aloha(Kind.JOINT_POSITION, Unit.RADIAN, Mode.ABSOLUTE)),
    ),
    "robomimic_hdf5": (
        ("robot[0-9]_eef_pos", _of(*_XYZ)),
        ("robot[0-9]_eef_quat", _of(*_QUATERNION, rotation=_XYZW)),
        ("robot[0-9]_joint_pos", _of(*_JOINTS)),
        ("robot[0-9]_joint_vel", _of(*_JOINT_SPEEDS)),
        ("robot[0-9]_gripper_qpos", _of(*_FINGERS)),
        ("actions", _of(*_scaled((-1, 1)), rotation=_VECTOR, mode=Mode.DELTA, remark=_OSC)),
    ),
    "libero_hdf5": (
        ("ee_pos", _of(*_XYZ)),
        ("ee_ori", _of(*_AXIS_ANGLE, rotation=_VECTOR)),
        ("ee_states", _of(*_XYZ, *_AXIS_ANGLE, rotation=_VECTOR)),
        ("joint_states", _of(*_JOINTS)),
        ("gripper_states", _of(*_FINGERS)),
        ("actions", _of(*_scaled((-1, 1)), rotation=_VECTOR, mode=Mode.DELTA, remark=_OSC)),
    ),
    "droid": (
        ("(target_)?cartesian_position", _of(*_XYZ, *_RPY, rotation=_EULER, mode=Mode.ABSOLUTE)),
        ("joint_positions?", _of(*_JOINTS, mode=Mode.ABSOLUTE)),
        ("joint_velocities", _of(*_JOINT_SPEEDS)),
        ("(joint|motor)_torques_(computed|measured)", _of(*_TORQUES)),
        ("robot_state/gripper_position", _of(_DROID_GRIPPER)),
        ("(target_)?gripper_position", _of(_DROID_COMMAND, mode=Mode.ABSOLUTE)),
        ("cartesian_velocity", _of(
            *(Fact(name=f"v{c}", kind=Kind.LINEAR_VELOCITY, unit=Unit.ONE, normalized=True) for c in "xyz"),
            *(Fact(name=f"w{c}", kind=Kind.ANGULAR_VELOCITY, unit=Unit.ONE, normalized=True) for c in "xyz"),
            mode=Mode.VELOCITY, remark=_DROID_SPEED,
        )),
    ),
    "umi_zarr": (
        ("robot[0-9]_eef_pos", _of(*_XYZ)),
        ("robot[0-9]_eef_rot_axis_angle", _of(*_AXIS_ANGLE, rotation=_VECTOR)),
        ("robot[0-9]_gripper_width", _of(Fact(name="gripper", kind=Kind.GRIPPER_APERTURE, unit=Unit.METRE))),
        ("robot[0-9]_demo_(start|end)_pose", _of(*_XYZ, *_AXIS_ANGLE, rotation=_VECTOR)),
    ),
}  # fmt: skip
