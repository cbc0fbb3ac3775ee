"""Rotations on the way to steps: between two samples, and several deltas as one, in every convention of the schema.

Six numbers (`rotation_6d`) are read as the first two columns of the rotation matrix, one after the other. Source: Zhou
et al., On the Continuity of Rotation Representations in Neural Networks, arXiv:1812.07035. Between two samples rows
would give the same; the order of composed deltas would be the other.
"""

import warnings
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..actions._reference import rotation_groups
from ..embodiment import Signal
from ..errors import SyncError
from ..units import Kind, Mode, RotationConvention

if TYPE_CHECKING:
    from scipy.spatial.transform import Rotation

__all__ = ["QUATERNIONS", "compose", "composes_6d", "groups_of", "is_rotation", "slerp"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

QUATERNIONS = frozenset({RotationConvention.QUATERNION_XYZW, RotationConvention.QUATERNION_WXYZ})
LENGTH_TOLERANCE = 0.01
"""A quaternion, or a column of a matrix, whose length differs more from 1 is none."""


def groups_of(signal: Signal) -> list[tuple[int, ...]]:
    """Dimensions of a signal that are one rotation each.

    Raises:
        SyncError: Some rotation dimensions make no whole rotation.
    """
    groups = [dimensions for _, dimensions in rotation_groups([signal])]
    turning = [d.name for d in signal.dimensions if d.kind is Kind.ROTATION]
    if len(turning) != sum(map(len, groups)):
        raise SyncError(
            f"{signal.name}: {', '.join(turning)} are {len(turning)} rotation dimensions; side by side they must make "
            f"whole rotations in {signal.rotation}"
        )
    return groups


def composes_6d(signal: Signal) -> bool:
    """Whether deltas of an action may be composed under the reading of six numbers that is said above."""
    deltas = any(d.kind is Kind.ROTATION and d.mode is Mode.DELTA for d in signal.dimensions)
    return deltas and signal.rotation is RotationConvention.ROTATION_6D


def is_rotation(numbers: FloatArray, convention: RotationConvention) -> BoolArray:
    """Whether numbers, [N, K], are a rotation: finite, and of length 1 where the convention wants that; [N]."""
    good = np.asarray(np.isfinite(numbers).all(axis=1))
    with np.errstate(invalid="ignore", over="ignore"):
        if convention in QUATERNIONS:
            good &= np.abs(np.linalg.norm(numbers, axis=1) - 1) <= LENGTH_TOLERANCE
        elif convention is RotationConvention.ROTATION_6D:
            for column in (numbers[:, :3], numbers[:, 3:]):
                good &= np.abs(np.linalg.norm(column, axis=1) - 1) <= LENGTH_TOLERANCE
            good &= np.abs((numbers[:, :3] * numbers[:, 3:]).sum(axis=1)) <= LENGTH_TOLERANCE
    return good


def slerp(before: FloatArray, after: FloatArray, share: FloatArray, convention: RotationConvention) -> FloatArray:
    """The rotation on the shortest way between two, at constant speed.

    Args:
        before: [N, K].
        after: [N, K].
        share: Of the way, 0 to 1, [N]; at 0 and 1 the numbers are given back as they are.
        convention: Of both and of the result.

    Returns:
        [N, K], of the numbers that mean the same rotation those nearest to `before`: a quaternion's sign and an
        angle's turns go on as recorded. NaN where either is no rotation.
    """
    from scipy.spatial.transform import Rotation  # half a second that few recordings need

    result = np.full(before.shape, np.nan)
    good = np.flatnonzero(is_rotation(before, convention) & is_rotation(after, convention))
    if len(good):
        first, second = _rotation(before[good], convention), _rotation(after[good], convention)
        way = (first.inv() * second).as_rotvec() * share[good, None]
        result[good] = _numbers(first * Rotation.from_rotvec(way), convention, before[good])
        result[good] = np.where(share[good, None] <= 0, before[good], result[good])
        result[good] = np.where(share[good, None] >= 1, after[good], result[good])
    return result


def compose(deltas: FloatArray, ranges: NDArray[np.int64], convention: RotationConvention) -> FloatArray:
    """Several turns as one.

    Each delta turns about the axes of the reference frame, so a later one multiplies from the left.

    Args:
        deltas: [N, K].
        ranges: First and last (not included) delta of each result, [M, 2]; none is empty.
        convention: Of the deltas and of the result.

    Returns:
        [M, K]; a quaternion has w >= 0. NaN where one of the deltas is no rotation.
    """
    from scipy.spatial.transform import Rotation

    good = is_rotation(deltas, convention)
    safe = np.where(good[:, None], deltas, _rest(convention))
    turns = _rotation(safe, convention).as_matrix()
    total = turns[ranges[:, 0]]
    for k in range(1, int((ranges[:, 1] - ranges[:, 0]).max(initial=0))):
        going = np.flatnonzero(ranges[:, 0] + k < ranges[:, 1])
        total[going] = turns[ranges[going, 0] + k] @ total[going]
    result = _numbers(
        Rotation.from_matrix(total), convention, np.broadcast_to(_rest(convention), (len(ranges), deltas.shape[1]))
    )
    num_good = np.concatenate([[0], np.cumsum(good)])
    result[num_good[ranges[:, 1]] - num_good[ranges[:, 0]] < ranges[:, 1] - ranges[:, 0]] = np.nan
    return result


def _rest(convention: RotationConvention) -> FloatArray:
    from ..actions.rotation import REST

    return np.array(REST[convention])


def _rotation(numbers: FloatArray, convention: RotationConvention) -> "Rotation":
    from scipy.spatial.transform import Rotation

    if convention is RotationConvention.EULER_XYZ:
        return Rotation.from_euler("xyz", numbers)
    if convention is RotationConvention.ROTATION_VECTOR:
        return Rotation.from_rotvec(numbers)
    if convention is RotationConvention.ROTATION_6D:
        first = numbers[:, :3] / np.linalg.norm(numbers[:, :3], axis=1, keepdims=True)
        second = numbers[:, 3:] - (first * numbers[:, 3:]).sum(axis=1, keepdims=True) * first
        second /= np.linalg.norm(second, axis=1, keepdims=True)
        return Rotation.from_matrix(np.stack([first, second, np.cross(first, second)], axis=2))
    return Rotation.from_quat(numbers[:, [1, 2, 3, 0]] if convention is RotationConvention.QUATERNION_WXYZ else numbers)


def _numbers(rotation: "Rotation", convention: RotationConvention, near: FloatArray) -> FloatArray:
    """A rotation's numbers, of all that mean the same those nearest to others."""
    if convention is RotationConvention.EULER_XYZ:
        with warnings.catch_warnings():
            # At a pitch of 90 degrees roll and yaw are one angle: scipy warns and sets one to zero, the rotation holds.
            warnings.simplefilter("ignore", UserWarning)
            angles = rotation.as_euler("xyz")
        other = angles * [1, -1, 1] + np.pi  # the same rotation with the pitch beyond 90 degrees
        return _nearest(np.stack([_turned(angles, near), _turned(other, near)]), near)
    if convention is RotationConvention.ROTATION_VECTOR:
        vectors = rotation.as_rotvec()
        angle = np.linalg.norm(vectors, axis=1, keepdims=True)
        whole = 2 * np.pi * vectors / np.where(angle > 0, angle, 1)
        return _nearest(np.stack([vectors, vectors - whole, vectors + whole]), near)
    if convention is RotationConvention.ROTATION_6D:
        matrices = rotation.as_matrix()
        return np.concatenate([matrices[:, :, 0], matrices[:, :, 1]], axis=1)
    numbers = rotation.as_quat(canonical=True)
    if convention is RotationConvention.QUATERNION_WXYZ:
        numbers = numbers[:, [3, 0, 1, 2]]
    return np.where((numbers * near).sum(axis=1, keepdims=True) < 0, -numbers, numbers)


def _turned(angles: FloatArray, near: FloatArray) -> FloatArray:
    """Angles with whole turns added, so that they lie within half a turn of others."""
    return angles + 2 * np.pi * np.round((near - angles) / (2 * np.pi))


def _nearest(choices: FloatArray, near: FloatArray) -> FloatArray:
    """Of several choices, [C, N, K], the nearest row by row, [N, K]; the first of equals."""
    best = np.argmin(np.square(choices - near).sum(axis=2).round(9), axis=0)
    return np.asarray(choices[best, np.arange(len(near))], dtype=np.float64)
