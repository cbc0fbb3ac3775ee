"""Forward kinematics: where the end of a chain of joints is, and which way it points.

Source: the URDF specification, wiki.ros.org/urdf/XML/joint: a joint's frame is moved by `xyz` and turned by `rpy` about
the parent's fixed axes; then the joint turns about, or slides along, its axis.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .embodiment import ChainJoint
from .errors import SchemaError
from .text import clip, printable
from .units import RotationConvention
from .urdf import PlacedJoint

__all__ = ["ChainPoses", "angle_between", "chain_yaml", "forward", "rotation_matrices"]

FloatArray = NDArray[np.float64]

_SIZES = {
    RotationConvention.EULER_XYZ: 3,
    RotationConvention.ROTATION_VECTOR: 3,
    RotationConvention.QUATERNION_XYZW: 4,
    RotationConvention.QUATERNION_WXYZ: 4,
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChainPoses:
    """Where a chain is at N times, all in the frame of its base."""

    position: FloatArray
    """Of its end, in m, [N, 3]."""
    rotation: FloatArray
    """Of its end, [N, 3, 3]."""
    axes: FloatArray
    """Directions of the joints that are measured, in the chain's order, [J, N, 3]."""
    origins: FloatArray
    """Points that these axes go through, in m, [J, N, 3]."""


def forward(chain: Sequence[ChainJoint], positions: Mapping[str, FloatArray]) -> ChainPoses:
    """Poses of a chain's end.

    Args:
        chain: Joints from the base to the tip.
        positions: Of the joints by the name of their dimension, [N] each, in rad or m; NaN where not known.

    Returns:
        N poses; NaN where a joint's position is.
    """
    count = len(next(iter(positions.values()))) if positions else 0
    place = np.zeros((count, 3))
    turn = np.broadcast_to(np.eye(3), (count, 3, 3))
    axes, origins = [], []
    for joint in chain:
        place = place + turn @ np.array(joint.xyz)
        turn = turn @ _from_rpy(*joint.rpy)
        if joint.dimension is None:
            continue
        axis = np.array(joint.axis) / math.sqrt(sum(a * a for a in joint.axis))
        position = positions[joint.dimension]
        axes.append(turn @ axis)
        origins.append(place)
        if joint.type == "prismatic":
            place = place + axes[-1] * position[:, None]
        else:
            turn = turn @ _about(np.broadcast_to(axis, (count, 3)), position)
    shape = (0, count, 3)
    return ChainPoses(
        position=place,
        rotation=turn,
        axes=np.stack(axes) if axes else np.zeros(shape),
        origins=np.stack(origins) if origins else np.zeros(shape),
    )


def _from_rpy(roll: float, pitch: float, yaw: float) -> FloatArray:
    return np.asarray(_from_angles(np.array([[roll, pitch, yaw]]))[0])


def _from_angles(angles: FloatArray) -> FloatArray:
    """Rotations about the fixed axes x, then y, then z, [N, 3] to [N, 3, 3]."""
    turns = [_about(np.broadcast_to(np.eye(3)[k], angles.shape), angles[:, k]) for k in range(3)]
    return np.asarray(turns[2] @ turns[1] @ turns[0])


def _about(axis: FloatArray, angle: FloatArray) -> FloatArray:
    """Rotations about unit axes, [N, 3] and [N] to [N, 3, 3]."""
    x, y, z = axis.T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(-1, 3, 3)
    sine, rest = np.sin(angle)[:, None, None], (1 - np.cos(angle))[:, None, None]
    return np.asarray(np.eye(3) + sine * cross + rest * (cross @ cross))


def rotation_matrices(numbers: FloatArray, convention: RotationConvention) -> FloatArray | None:
    """Matrices of recorded rotations, [N, K] to [N, 3, 3]; NaN where a number is no rotation.

    None where the convention leaves open which matrix is meant (`rotation_6d`: rows or columns), or K is another.
    """
    if numbers.shape[1] != _SIZES.get(convention):
        return None
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        if convention is RotationConvention.EULER_XYZ:
            return _from_angles(numbers)
        if convention is RotationConvention.ROTATION_VECTOR:
            angle = np.linalg.norm(numbers, axis=1)
            return _about(np.asarray(numbers / np.where(angle > 0, angle, 1.0)[:, None]), angle)
        if convention is RotationConvention.QUATERNION_WXYZ:
            numbers = numbers[:, [1, 2, 3, 0]]
        unit = numbers / np.linalg.norm(numbers, axis=1, keepdims=True)
        sine = np.linalg.norm(unit[:, :3], axis=1)
        axis = unit[:, :3] / np.where(sine > 0, sine, 1.0)[:, None]
        return _about(axis, 2 * np.arctan2(sine, unit[:, 3]))


def angle_between(first: FloatArray, second: FloatArray) -> FloatArray:
    """Angle of the turn from one rotation to another, [N, 3, 3] both, in rad, [N]."""
    # The distance of two matrices is 2 sqrt(2) sin(angle / 2); unlike the trace it is exact for small angles.
    distance = np.linalg.norm(first - second, axis=(1, 2))
    return np.asarray(2 * np.arcsin(np.minimum(distance / math.sqrt(8), 1.0)))


def chain_yaml(chain: Sequence[PlacedJoint], *, joints: str, pose: str) -> str:
    """The `kinematics` section of a schema, with a chain of a URDF, as YAML.

    Args:
        chain: Joints from the base to the tip.
        joints: Name of the signal with the joints' positions; each joint's dimension is named as the joint.
        pose: Name of the signal with the tip's pose.

    Raises:
        SchemaError: A joint has numbers that are none.
    """
    base, tip = (clip(printable(n), 60) for n in (chain[0].parent, chain[-1].child))
    lines = [f"kinematics:  # from {base} to {tip}; each dimension must be one of {joints}", f"  - joints: {joints}"]
    lines += [f"    pose: {pose}", "    chain:"]
    for joint in chain:
        parts = [f"name: {_quoted(joint.name)}", f"type: {joint.type}"]
        parts += [f"{k}: [{', '.join(_numbers(joint, k))}]" for k in ("xyz", "rpy")]
        if joint.type != "fixed":
            parts += [f"axis: [{', '.join(_numbers(joint, 'axis'))}]", f"dimension: {_quoted(joint.name)}"]
        lines.append(f"      - {{{', '.join(parts)}}}")
    return "\n".join(lines) + "\n"


def _quoted(name: str) -> str:
    shown = clip(printable(name), 100)
    return '"' + shown.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _numbers(joint: PlacedJoint, key: str) -> list[str]:
    text: str = {"xyz": joint.xyz, "rpy": joint.rpy, "axis": joint.axis}[key]
    try:
        values = [float(word) for word in text.split()]
    except ValueError:
        values = []
    if len(values) != 3 or not all(map(math.isfinite, values)):
        name = clip(printable(joint.name), 60)
        raise SchemaError(f"joint {name} has {key} {clip(printable(text), 60)!r}; it must be three numbers")
    return [_number(v) for v in values]


def _number(value: float) -> str:
    """As YAML reads it back as a number: an exponent needs a point before it."""
    text = f"{value:.12g}"
    return text.replace("e", ".0e") if "e" in text and "." not in text else text
