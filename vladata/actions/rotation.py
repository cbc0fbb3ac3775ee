"""Differences of rotations in the conventions that schemas can declare.

By way of unit quaternions x, y, z, w, in float64. A robot has numpy alone; the tests compare with scipy.

Source: Diebel, Representing attitude: Euler angles, unit quaternions, and rotation vectors, 2006.
"""

import numpy as np
from numpy.typing import NDArray

from ..errors import TokenizeError
from ..units import RotationConvention

__all__ = ["CONVERTIBLE", "GROUP_SIZE", "REST", "from_vectors", "relative", "restored"]

FloatArray = NDArray[np.float64]

_XYZW, _WXYZ = RotationConvention.QUATERNION_XYZW, RotationConvention.QUATERNION_WXYZ

REST: dict[RotationConvention, tuple[float, ...]] = {
    RotationConvention.EULER_XYZ: (0.0, 0.0, 0.0),
    RotationConvention.ROTATION_VECTOR: (0.0, 0.0, 0.0),
    _XYZW: (0.0, 0.0, 0.0, 1.0),
    _WXYZ: (1.0, 0.0, 0.0, 0.0),
    RotationConvention.ROTATION_6D: (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
}
"""The numbers that mean no rotation."""

GROUP_SIZE = {convention: len(numbers) for convention, numbers in REST.items()}
"""How many dimensions are one rotation."""

CONVERTIBLE = frozenset(RotationConvention) - {RotationConvention.ROTATION_6D}
"""Conventions with differences; whether six numbers are two rows or two columns is not declared."""

_LENGTH_TOLERANCE = 1e-3
_SMALL = 1e-3
"""Below this angle, in rad, two terms of a series are exact to the last bit and a quotient is not."""
_LOCKED = 1e-7
"""So near to a pitch of 90 degrees, in rad, roll and yaw can't be told apart."""


def relative(target: FloatArray, reference: FloatArray, convention: RotationConvention) -> FloatArray:
    """The rotation from a reference to a target, R(target) R(reference)^-1.

    Args:
        target: [..., K].
        reference: [..., K], of the same shape.
        convention: Of both and of the result.

    Returns:
        [..., K]; NaN where a number of either is not finite.

    Raises:
        TokenizeError: A quaternion has not the length 1.
    """
    _check_length(target, convention)
    _check_length(reference, convention)
    return _combined(target, reference, convention, is_back=False)


def restored(difference: FloatArray, reference: FloatArray, convention: RotationConvention) -> FloatArray:
    """The target again, R(difference) R(reference); a difference out of bins is a quaternion of about the length 1.

    Raises:
        TokenizeError: A quaternion has the length 0, or that of a reference is not 1.
    """
    if convention in {_XYZW, _WXYZ} and (np.linalg.norm(difference, axis=-1) == 0).any():
        raise TokenizeError("a quaternion is 0; must have a direction")
    _check_length(reference, convention)
    return _combined(difference, reference, convention, is_back=True)


def from_vectors(vectors: FloatArray, convention: RotationConvention) -> FloatArray:
    """Rotation vectors, [N, 3], in another convention, [N, K]."""
    return _numbers(_quaternions(vectors, RotationConvention.ROTATION_VECTOR), convention)


def _check_length(numbers: FloatArray, convention: RotationConvention) -> None:
    if convention not in {_XYZW, _WXYZ}:
        return
    length = np.sqrt((numbers * numbers).sum(axis=-1))
    # A comparison with NaN is false: what is not finite is no quaternion, but none of a wrong length either.
    bad = np.abs(length - 1.0) > _LENGTH_TOLERANCE
    if bad.any():
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        raise TokenizeError(f"quaternion {list(place)} has the length {length[place]:.6g}; must be 1")


def _combined(first: FloatArray, reference: FloatArray, convention: RotationConvention, *, is_back: bool) -> FloatArray:
    result = np.full(first.shape, np.nan)
    finite = np.isfinite(first).all(axis=-1) & np.isfinite(reference).all(axis=-1)
    if finite.any():
        rotation = _quaternions(reference[finite], convention)
        if not is_back:
            rotation = rotation * (-1.0, -1.0, -1.0, 1.0)
        result[finite] = _numbers(_product(_quaternions(first[finite], convention), rotation), convention)
    return result


def _product(left: FloatArray, right: FloatArray) -> FloatArray:
    """Quaternions of the rotation `right`, then `left`, [N, 4]."""
    u, a = left[:, :3], left[:, 3:]
    v, b = right[:, :3], right[:, 3:]
    vector = a * v + b * u + np.cross(u, v)
    return _unit(np.concatenate([vector, a * b - (u * v).sum(axis=1, keepdims=True)], axis=1))


def _unit(quaternions: FloatArray) -> FloatArray:
    length: FloatArray = np.sqrt((quaternions * quaternions).sum(axis=1, keepdims=True))
    return quaternions / length


def _quaternions(numbers: FloatArray, convention: RotationConvention) -> FloatArray:
    """Unit quaternions x, y, z, w, [N, 4], of rotations in a convention, [N, K]."""
    if convention is RotationConvention.EULER_XYZ:
        (a, b, c), (p, q, r) = np.cos(numbers.T / 2.0), np.sin(numbers.T / 2.0)
        x, y = p * b * c - a * q * r, a * q * c + p * b * r
        return np.stack([x, y, a * b * r - p * q * c, a * b * c + p * q * r], axis=1)
    if convention is RotationConvention.ROTATION_VECTOR:
        angle = np.sqrt((numbers * numbers).sum(axis=1, keepdims=True))
        is_small = angle < _SMALL
        series = 0.5 - angle**2 / 48.0 + angle**4 / 3840.0
        factor = np.where(is_small, series, np.sin(angle / 2.0) / np.where(is_small, 1.0, angle))
        return np.concatenate([numbers * factor, np.cos(angle / 2.0)], axis=1)
    return _unit(numbers[:, [1, 2, 3, 0]] if convention is _WXYZ else numbers)


def _numbers(quaternions: FloatArray, convention: RotationConvention) -> FloatArray:
    """Rotations in a convention, [N, K], of unit quaternions x, y, z, w, [N, 4]."""
    if convention is RotationConvention.EULER_XYZ:
        return _euler(quaternions)
    quaternions = _canonical(quaternions)
    if convention is RotationConvention.ROTATION_VECTOR:
        vector = quaternions[:, :3]
        half = np.arctan2(np.sqrt((vector * vector).sum(axis=1, keepdims=True)), quaternions[:, 3:])
        is_small = half < _SMALL / 2.0
        series = 2.0 + half**2 / 3.0 + half**4 * (7.0 / 180.0)
        factor: FloatArray = np.where(is_small, series, 2.0 * half / np.where(is_small, 1.0, np.sin(half)))
        return vector * factor
    return quaternions[:, [3, 0, 1, 2]] if convention is _WXYZ else quaternions


def _canonical(quaternions: FloatArray) -> FloatArray:
    """Of the two quaternions of each rotation the one whose first number of w, x, y, z that is not 0 is positive."""
    signs = np.sign(quaternions[:, [3, 0, 1, 2]])
    first = (signs != 0).argmax(axis=1)
    return np.where(signs[np.arange(len(signs)), first][:, None] < 0, -quaternions, quaternions)


def _euler(quaternions: FloatArray) -> FloatArray:
    """Roll, pitch, yaw, [N, 3]; at a pitch of 90 degrees, where they are one angle, yaw is 0."""
    x, y, z, w = quaternions.T
    # With half angles, (x + z, w - y) points along (roll + yaw) / 2 and (x - z, w + y) along (roll - yaw) / 2; how
    # long the two are says the pitch, also beside 90 degrees, where an arcsine has lost half of the digits.
    total, difference = np.arctan2(x + z, w - y), np.arctan2(x - z, w + y)
    pitch = 2.0 * np.arctan2(np.hypot(x - z, w + y), np.hypot(x + z, w - y))
    up, down = np.abs(pitch - np.pi) <= _LOCKED, np.abs(pitch) <= _LOCKED
    roll = np.where(up, 2.0 * difference, np.where(down, 2.0 * total, total + difference))
    yaw = np.where(up | down, 0.0, total - difference)
    angles = np.stack([roll, pitch - np.pi / 2.0, yaw], axis=1)
    angles[:, ::2] -= 2.0 * np.pi * np.round(angles[:, ::2] / (2.0 * np.pi))
    return angles
