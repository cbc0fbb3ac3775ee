"""Differences of rotations in the conventions that schemas can declare."""

import warnings
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import TokenizeError
from ..units import RotationConvention

if TYPE_CHECKING:
    from scipy.spatial.transform import Rotation

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
    from scipy.spatial.transform import Rotation

    return _numbers(Rotation.from_rotvec(vectors), convention)


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
        rotation = _rotations(reference[finite], convention)
        other = _rotations(first[finite], convention)
        result[finite] = _numbers(other * (rotation if is_back else rotation.inv()), convention)
    return result


def _rotations(numbers: FloatArray, convention: RotationConvention) -> "Rotation":
    from scipy.spatial.transform import Rotation

    if convention is RotationConvention.EULER_XYZ:
        return Rotation.from_euler("xyz", numbers)
    if convention is RotationConvention.ROTATION_VECTOR:
        return Rotation.from_rotvec(numbers)
    return Rotation.from_quat(numbers[:, [1, 2, 3, 0]] if convention is _WXYZ else numbers)


def _numbers(rotations: "Rotation", convention: RotationConvention) -> FloatArray:
    if convention is RotationConvention.EULER_XYZ:
        with warnings.catch_warnings():
            # At a pitch of 90 degrees roll and yaw are one angle: scipy warns and sets one to zero, the rotation holds.
            warnings.simplefilter("ignore", UserWarning)
            return rotations.as_euler("xyz")
    if convention is RotationConvention.ROTATION_VECTOR:
        return rotations.as_rotvec()
    quaternions = rotations.as_quat(canonical=True)
    return quaternions[:, [3, 0, 1, 2]] if convention is _WXYZ else quaternions
