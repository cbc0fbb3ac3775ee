"""Rotations in numpy alone: equal to scipy's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vladata.actions.rotation import CONVERTIBLE, from_vectors, relative, restored
from vladata.units import RotationConvention

CONVENTIONS = sorted(CONVERTIBLE)


def numbers_of(rotation: Rotation, convention: RotationConvention) -> np.ndarray:
    if convention is RotationConvention.EULER_XYZ:
        return rotation.as_euler("xyz")
    if convention is RotationConvention.ROTATION_VECTOR:
        return rotation.as_rotvec()
    quaternions = rotation.as_quat(canonical=True)
    return quaternions[:, [3, 0, 1, 2]] if convention is RotationConvention.QUATERNION_WXYZ else quaternions


def rotation_of(numbers: np.ndarray, convention: RotationConvention) -> Rotation:
    if convention is RotationConvention.EULER_XYZ:
        return Rotation.from_euler("xyz", numbers)
    if convention is RotationConvention.ROTATION_VECTOR:
        return Rotation.from_rotvec(numbers)
    is_first = convention is RotationConvention.QUATERNION_WXYZ
    return Rotation.from_quat(numbers[:, [1, 2, 3, 0]] if is_first else numbers)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("size", [0.0, 1e-9, 1e-5, 1e-3, 0.1, 1.0, 10.0])
def test_differences_equal_those_of_scipy(convention: RotationConvention, size: float) -> None:
    generator = np.random.default_rng(0)
    one, other = (Rotation.from_rotvec(generator.normal(size=(500, 3)) * size) for _ in range(2))
    first, second = numbers_of(one, convention), numbers_of(other, convention)

    difference, back = relative(first, second, convention), restored(first, second, convention)

    np.testing.assert_allclose(difference, numbers_of(one * other.inv(), convention), rtol=0, atol=1e-12)
    np.testing.assert_allclose(back, numbers_of(one * other, convention), rtol=0, atol=1e-12)
    vectors = one.as_rotvec()
    np.testing.assert_allclose(from_vectors(vectors, convention), first, rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore:Gimbal lock:UserWarning")
@pytest.mark.parametrize("pitch", [np.pi / 2, -np.pi / 2])
@pytest.mark.parametrize("beside", [0.0, 1e-12, 1e-9, 5e-8, 2e-7, 1e-5, 1e-3])
def test_euler_angles_at_a_pitch_of_90_degrees_equal_those_of_scipy(pitch: float, beside: float) -> None:
    angles = np.random.default_rng(1).uniform(-3, 3, (200, 3))
    angles[:, 1] = pitch - np.sign(pitch) * beside
    rest = np.zeros_like(angles)

    found = restored(angles, rest, RotationConvention.EULER_XYZ)

    wanted = Rotation.from_euler("xyz", angles)
    np.testing.assert_allclose(found, wanted.as_euler("xyz"), rtol=0, atol=1e-12)
    assert (Rotation.from_euler("xyz", found) * wanted.inv()).magnitude().max() < 1e-7


angle = st.floats(-10, 10) | st.sampled_from([0.0, np.pi, -np.pi, np.pi / 2, -np.pi / 2, 2 * np.pi])


@given(st.lists(angle, min_size=6, max_size=6), st.sampled_from(CONVENTIONS))
def test_the_way_back_is_the_same_rotation(angles: list[float], convention: RotationConvention) -> None:
    # At half turns the sign of an axis is decided by the last bit, so rotations are compared and not their numbers.
    one, other = (from_vectors(np.array([v]), convention) for v in (angles[:3], angles[3:]))

    back = restored(relative(one, other, convention), other, convention)

    assert np.isfinite(back).all()
    gap = (rotation_of(back, convention) * rotation_of(one, convention).inv()).magnitude()
    assert gap[0] < 3e-7
    assert (rotation_of(one, convention) * Rotation.from_rotvec([angles[:3]]).inv()).magnitude()[0] < 3e-7


def test_numbers_that_are_not_finite_stay_so_and_spoil_no_others() -> None:
    rows = np.array([[0.1, 0.2, 0.3], [np.nan, 0.0, 0.0], [np.inf, 0.0, 0.0], [0.3, 0.2, 0.1]])

    found = relative(rows, np.zeros_like(rows), RotationConvention.ROTATION_VECTOR)

    assert np.isnan(found[1:3]).all()
    np.testing.assert_allclose(found[[0, 3]], rows[[0, 3]], atol=1e-15)
