"""Closed lists of what a number can mean: kinds of dimensions, their units, modes of actions, clocks.

SI throughout; angles in radians. What a recording holds in other units is declared in the mapping.
"""

from enum import StrEnum

__all__ = ["UNITS_OF_KIND", "Clock", "Kind", "Mode", "RotationConvention", "Unit"]


class Kind(StrEnum):
    """What one dimension of a vector measures or commands."""

    JOINT_POSITION = "joint_position"
    JOINT_VELOCITY = "joint_velocity"
    JOINT_EFFORT = "joint_effort"
    POSITION = "position"
    ROTATION = "rotation"
    LINEAR_VELOCITY = "linear_velocity"
    ANGULAR_VELOCITY = "angular_velocity"
    FORCE = "force"
    TORQUE = "torque"
    GRIPPER_APERTURE = "gripper_aperture"
    GRIPPER_COMMAND = "gripper_command"
    TERMINATE = "terminate"
    PADDING = "padding"
    OTHER = "other"


class Unit(StrEnum):
    """Unit of one dimension; `1` is a pure number (normalized, a flag, a quaternion component)."""

    METRE = "m"
    RADIAN = "rad"
    METRE_PER_SECOND = "m/s"
    RADIAN_PER_SECOND = "rad/s"
    NEWTON = "N"
    NEWTON_METRE = "N·m"
    ONE = "1"


class Mode(StrEnum):
    """How an action dimension is meant."""

    ABSOLUTE = "absolute"
    """A target in the signal's reference frame."""
    DELTA = "delta"
    """A change over one step."""
    CHUNK_RELATIVE = "chunk_relative"
    """A target relative to the observation at the first step of its chunk."""
    VELOCITY = "velocity"
    """A rate of change, held over one step."""


class RotationConvention(StrEnum):
    """How the rotation dimensions of a signal are to be read together."""

    EULER_XYZ = "euler_xyz"
    """Extrinsic rotations about x, then y, then z (roll, pitch, yaw)."""
    ROTATION_VECTOR = "rotation_vector"
    QUATERNION_XYZW = "quaternion_xyzw"
    QUATERNION_WXYZ = "quaternion_wxyz"
    ROTATION_6D = "rotation_6d"


class Clock(StrEnum):
    """What the stamps of a stream count."""

    UNIX = "unix"
    """Nanoseconds since 1970-01-01 UTC."""
    MONOTONIC = "monotonic"
    """Nanoseconds since an unknown start."""
    SIMULATED = "simulated"
    """Nanoseconds of a simulator."""
    NOMINAL = "nominal"
    """No time was recorded: index / rate. Timing checks answer "not measured"."""


UNITS_OF_KIND: dict[Kind, frozenset[Unit]] = {
    Kind.JOINT_POSITION: frozenset({Unit.RADIAN, Unit.METRE, Unit.ONE}),
    Kind.JOINT_VELOCITY: frozenset({Unit.RADIAN_PER_SECOND, Unit.METRE_PER_SECOND}),
    Kind.JOINT_EFFORT: frozenset({Unit.NEWTON_METRE, Unit.NEWTON}),
    Kind.POSITION: frozenset({Unit.METRE, Unit.ONE}),
    Kind.ROTATION: frozenset({Unit.RADIAN, Unit.ONE}),
    Kind.LINEAR_VELOCITY: frozenset({Unit.METRE_PER_SECOND, Unit.ONE}),
    Kind.ANGULAR_VELOCITY: frozenset({Unit.RADIAN_PER_SECOND, Unit.ONE}),
    Kind.FORCE: frozenset({Unit.NEWTON}),
    Kind.TORQUE: frozenset({Unit.NEWTON_METRE}),
    Kind.GRIPPER_APERTURE: frozenset({Unit.METRE, Unit.RADIAN, Unit.ONE}),
    Kind.GRIPPER_COMMAND: frozenset({Unit.METRE, Unit.RADIAN, Unit.ONE}),
    Kind.TERMINATE: frozenset({Unit.ONE}),
    Kind.PADDING: frozenset({Unit.ONE}),
    Kind.OTHER: frozenset(Unit),
}
"""Units that a kind of dimension can have; another pair is an error in the schema."""
