"""The cosine transform: equal to SciPy's, halves included, or the same on every machine."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.fft import dct, idct

from vladata.tokenizers._dct import Ties, basis, error_bound, quantized, restored

cases = st.tuples(st.integers(1, 100), st.integers(1, 5), st.integers(0, 2**20), st.sampled_from([1, 2, 10, 16, 50.5]))


@pytest.mark.parametrize("kind", ["flags", "sixteenths", "tenths", "noise"])
@pytest.mark.parametrize("scale", [1, 10, 50])
def test_coefficients_equal_those_of_scipy_for_all_horizons(kind: str, scale: int) -> None:
    generator = np.random.default_rng(0)
    for horizon in range(1, 101):
        chunks = {
            "flags": generator.integers(0, 2, (60, horizon, 3)).astype(float),
            "sixteenths": generator.integers(-16, 17, (60, horizon, 3)) / 16,
            "tenths": np.repeat(generator.integers(-10, 11, (60, 1, 3)) / 10, horizon, axis=1),
            "noise": generator.normal(0, 1, (60, horizon, 3)),
        }[kind]

        found = quantized(chunks, scale, Ties.AS_FFT)

        np.testing.assert_array_equal(found, np.around(dct(chunks, axis=1, norm="ortho") * scale))


def test_the_order_of_sums_decides_where_flags_are_transformed() -> None:
    """The vector that shows why: half of the ties of a plain matrix product fall to the other side."""
    chunks = np.random.default_rng(1).integers(0, 2, (500, 16, 1)).astype(float)
    wanted = np.around(dct(chunks, axis=1, norm="ortho") * 10)

    plain = np.rint(np.matmul(basis(16), chunks) * 10)

    assert np.count_nonzero(plain != wanted) > 100
    np.testing.assert_array_equal(quantized(chunks, 10, Ties.AS_FFT), wanted)


@settings(deadline=None)
@given(cases)
def test_halves_are_rounded_to_the_even_one_whatever_the_order_of_sums(case: tuple[int, int, int, float]) -> None:
    horizon, dims, seed, scale = case
    chunks = np.random.default_rng(seed).integers(-16, 17, (4, horizon, dims)) / 16
    doubled = dct(chunks, axis=1, norm="ortho") * scale * 2
    is_half = (np.abs(doubled - np.rint(doubled)) < 1e-9) & (np.rint(doubled) % 2 == 1)

    found = quantized(chunks, scale, Ties.TO_EVEN)

    assert (found[is_half] % 2 == 0).all()
    np.testing.assert_array_equal(found[~is_half], np.rint(doubled[~is_half] / 2))


@settings(deadline=None)
@given(cases, st.sampled_from([1e-300, 1.0, 1e6]), st.sampled_from(list(Ties)))
def test_values_come_back_within_the_bound(case: tuple[int, int, int, float], size: float, ties: Ties) -> None:
    horizon, dims, seed, scale = case
    chunks = np.random.default_rng(seed).normal(0, size, (3, horizon, dims))

    back = restored(quantized(chunks, scale, ties), scale)

    assert np.abs(back - chunks).max() <= error_bound(horizon, scale, float(np.abs(chunks).max()))


@settings(deadline=None)
@given(cases)
def test_values_equal_those_of_scipy(case: tuple[int, int, int, float]) -> None:
    horizon, dims, seed, scale = case
    whole = np.random.default_rng(seed).integers(-300, 300, (3, horizon, dims)).astype(float)

    np.testing.assert_allclose(restored(whole, scale), idct(whole / scale, axis=1, norm="ortho"), rtol=0, atol=1e-9)


def test_the_bound_is_reached_nearly() -> None:
    """The worst rounding of all coefficients at once."""
    worst = np.sign(basis(50))[:, 0] * 0.4999
    values = (basis(50).T @ worst)[None, :, None]

    assert (
        np.abs(values).max()
        > 0.95 * error_bound(50, 1.0, 1.0) * np.abs(basis(50)[:, 0]).sum() / np.abs(basis(50)).sum(axis=0).max()
    )
    assert error_bound(50, 10, 1.0) <= 0.5 * np.sqrt(50) / 10


@pytest.mark.parametrize("ties", list(Ties))
def test_no_value_is_too_large(ties: Ties) -> None:
    chunks = np.full((1, 10, 2), 1e308)
    chunks[0, ::2, 1] = -1e308

    assert np.isfinite(quantized(chunks, 10, ties)).all()
