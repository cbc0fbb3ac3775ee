"""B-splines, equal to the vectors of BEAST."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import BSpline

from vladata.errors import TokenizeError
from vladata.tokenizers._splines import analysis, basis
from vladata.tokenizers.bspline import Codec

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "beast_bspline.npz"


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def beast(golden: dict[str, np.ndarray]) -> Codec:
    """Six joints of degree 3 and a gripper of degree 0, bounds as there."""
    low, high = (golden[name].astype(np.float64).reshape(7, 10).tolist() for name in ("w_min", "w_max"))
    return Codec.from_dict({"horizon": 20, "low": low, "high": high, "degree": 3, "step_dims": [6]})


class TestGolden:
    """The original computes in float32: values agree to 3e-6, codes exactly."""

    def test_basis_functions(self, golden: dict[str, np.ndarray]) -> None:
        np.testing.assert_allclose(basis(20, 10, 3), golden["basis_joint"], rtol=0, atol=5e-7)
        np.testing.assert_array_equal(basis(20, 10, 0), golden["basis_gripper"])

    def test_control_points(self, golden: dict[str, np.ndarray]) -> None:
        values = golden["x"].astype(np.float64)
        joints = analysis(20, 10, 3, 1e-9) @ values[:, :, :6]
        gripper = analysis(20, 10, 0, 1e-9) @ values[:, :, 6:]
        points = np.concatenate([joints, gripper], axis=2).transpose(0, 2, 1).reshape(-1, 70)

        np.testing.assert_allclose(points, golden["params"], rtol=0, atol=3e-6)

    def test_codes(self, golden: dict[str, np.ndarray], beast: Codec) -> None:
        np.testing.assert_array_equal(beast.encode(golden["x"]), golden["tokens"])

    def test_decoded_values(self, golden: dict[str, np.ndarray], beast: Codec) -> None:
        decoded = beast.decode(golden["tokens"], 20, 7)

        np.testing.assert_allclose(decoded, golden["recon"], rtol=0, atol=1e-6)

    def test_codes_read_in_the_other_order_are_another_motion(
        self, golden: dict[str, np.ndarray], beast: Codec
    ) -> None:
        """As the original's own reconstruction error does: its decoder takes what its encoder gave dimension first."""
        other = golden["tokens"].reshape(-1, 7, 10).transpose(0, 2, 1).reshape(-1, 70)
        joints = golden["x"][:, :, :6]

        right = np.sqrt(np.mean((beast.decode(golden["tokens"], 20, 7)[:, :, :6] - joints) ** 2))
        wrong = np.sqrt(np.mean((beast.decode(other, 20, 7)[:, :, :6] - joints) ** 2))

        assert right < 0.003
        assert wrong > 0.7


class TestSplines:
    @pytest.mark.parametrize(("num_basis", "degree"), [(1, 0), (4, 3), (10, 3), (10, 4), (10, 0), (7, 1), (64, 5)])
    def test_basis_functions_equal_scipys(self, num_basis: int, degree: int) -> None:
        inner = np.linspace(0, 1, num_basis - degree + 1)
        knots = np.concatenate([np.zeros(degree), inner, np.ones(degree)])
        for horizon in (2, 5, 10, 33, 100):
            phase = np.linspace(0, 1, horizon)
            if degree:
                expected = BSpline.design_matrix(phase, knots, degree).toarray()
            else:  # scipy leaves the last knot open
                expected = np.eye(num_basis)[np.minimum(np.digitize(phase, inner) - 1, num_basis - 1)]
            np.testing.assert_allclose(basis(horizon, num_basis, degree), expected, rtol=0, atol=1e-12)

    @given(st.integers(1, 100), st.integers(1, 40), st.integers(0, 5))
    def test_they_are_shares(self, horizon: int, num_basis: int, degree: int) -> None:
        found = basis(horizon, num_basis, min(degree, num_basis - 1))

        assert (found >= 0).all()
        np.testing.assert_allclose(found.sum(axis=1), 1, rtol=0, atol=1e-12)

    @pytest.mark.parametrize("degree", [0, 1, 3])
    def test_control_points_are_least_squares(self, degree: int) -> None:
        matrix = basis(30, 8, degree)
        direct = np.linalg.solve(matrix.T @ matrix + 1e-9 * np.eye(8), matrix.T)

        np.testing.assert_allclose(analysis(30, 8, degree, 1e-9), direct, rtol=0, atol=1e-8)


def test_the_largest_numbers_are_clipped_and_not_overflown() -> None:
    largest = np.finfo(np.float64).max
    codec, chunks = Codec.fit(np.random.default_rng(0).normal(0, 1, (50, 8, 2))), np.full((1, 8, 2), largest)
    chunks[0, :, 1] = -largest

    assert codec.encode(chunks).tolist() == [[255, 0] * 10]
    assert codec.is_clipped(chunks).all()
    assert np.isfinite(codec.error_bound(chunks)).all()
    wide = Codec.fit(np.concatenate([chunks, -chunks]))
    assert np.isfinite(wide.decode(wide.encode(chunks), 8, 2)).all()


class TestFit:
    def test_bounds_are_quantiles_of_the_control_points(self) -> None:
        chunks = np.random.default_rng(0).normal(0, 1, (1000, 20, 3))
        points = analysis(20, 10, 3, 1e-9) @ chunks

        for quantile in (0.01, 0.0, 0.1):
            codec = Codec.fit(chunks, quantile=quantile)
            low, high = np.quantile(points, [quantile, 1 - quantile], axis=0)
            np.testing.assert_allclose(codec.low, low.T, rtol=0, atol=1e-12)
            np.testing.assert_allclose(codec.high, high.T, rtol=0, atol=1e-12)
        assert Codec.fit(chunks) == Codec.fit(chunks, quantile=0.01, num_basis=10, degree=3, ridge=1e-9, num_codes=256)

    def test_nothing_that_was_fitted_is_clipped_without_quantiles(self) -> None:
        chunks = np.random.default_rng(1).normal(0, 1, (300, 12, 4))

        assert not Codec.fit(chunks, quantile=0).is_clipped(chunks).any()
        assert 0.0 < Codec.fit(chunks).is_clipped(chunks).mean() < 0.2

    def test_dimensions_of_two_values_are_steps_by_themselves(self) -> None:
        chunks = np.random.default_rng(2).normal(0, 1, (50, 10, 3))
        chunks[:, :, 1] = chunks[:, :, 1] > 0

        codec = Codec.fit(chunks)

        assert codec.step_dims == (1,)
        decoded = codec.decode(codec.encode(chunks), 10, 3)
        np.testing.assert_allclose(decoded[:, :, 1], chunks[:, :, 1], rtol=0, atol=1e-8)

    @pytest.mark.parametrize(
        ("text", "found"), [("none", ()), ("-1", (2,)), (-1, (2,)), (0, (0,)), ("2, 0,2", (0, 2)), ("-3,1", (0, 1))]
    )
    def test_step_dimensions_can_be_named(self, text: str | int, found: tuple[int, ...]) -> None:
        assert Codec.fit(np.zeros((2, 10, 3)), step_dims=text).step_dims == found

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"num_basis": 0}, "num_basis is 0; must be 1 to 256"),
            ({"degree": 10}, "degree is 10; must be 0 to 9"),
            ({"degree": 2.5}, "degree"),
            ({"quantile": 0.5}, "quantile is 0.5; must be 0 to less than 0.5"),
            ({"ridge": 0}, "ridge is 0.0; must be more than 0"),
            ({"num_codes": 1}, "num_codes is 1; must be 2 to 65536"),
            ({"step_dims": "gripper"}, "step_dims is 'gripper'; must be auto, none or indices"),
            ({"step_dims": "1,,2"}, "must be auto, none or indices"),
            ({"step_dims": 3}, "step_dims is '3'; must be -3 to 2"),
            ({"step_dims": "-4"}, "must be -3 to 2"),
            ({"width": 3}, "width: unexpected"),
        ],
    )
    def test_wrong_options_are_refused(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(TokenizeError, match=message):
            Codec.fit(np.zeros((2, 10, 3)), **options)

    @pytest.mark.parametrize("shape", [(0, 4, 3), (2, 0, 3), (2, 4, 0)])
    def test_too_little_to_learn_from_is_refused(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(TokenizeError, match="must hold values to fit bounds to"):
            Codec.fit(np.zeros(shape))

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ({"low": []}, r"must both be \[D\]\[K\]"),
            ({"low": [[0.0, 1.0]]}, r"must both be \[D\]\[K\]"),
            ({"low": [[2.0] * 4], "high": [[1.0] * 4]}, "the first at most the second"),
            ({"horizon": 0}, "horizon is 0; must be 1 or more"),
            ({"degree": 4}, "degree is 4; must be 0 to 3"),
            ({"step_dims": [1]}, "step_dims are .1.; must be rising, 0 to 0"),
            ({"step_dims": [0, 0]}, "must be rising"),
        ],
    )
    def test_a_wrong_description_is_refused(self, changed: dict[str, Any], message: str) -> None:
        codec = Codec(horizon=5, low=((0.0,) * 4,), high=((1.0,) * 4,))
        with pytest.raises(TokenizeError, match=message):
            Codec.from_dict(codec.to_dict() | changed)


class TestCodes:
    def test_they_go_time_first(self) -> None:
        codec = Codec(horizon=4, low=((0.0,) * 2, (0.0,) * 2), high=((1.0,) * 2, (1.0,) * 2), degree=1)
        chunks = np.stack([np.linspace(0, 1, 4), np.linspace(1, 0.2, 4)], axis=1)[None]

        assert codec.length(4, 2) == codec.length(100, 2) == 4
        assert codec.encode(chunks).tolist() == [[0, 255, 255, 51]]

    def test_decoded_values_stay_between_the_bounds_whatever_the_codes(self, beast: Codec) -> None:
        codes = np.random.default_rng(3).integers(0, 256, (500, 70))

        decoded = beast.decode(codes, 20, 7)

        low, high = np.min(beast.low, axis=1), np.max(beast.high, axis=1)
        assert (decoded >= low - 1e-12).all()
        assert (decoded <= high + 1e-12).all()

    def test_a_clipped_control_point_marks_the_steps_it_reaches(self) -> None:
        codec = Codec(horizon=20, low=((-1.0,) * 10,), high=((1.0,) * 10,), degree=0)
        chunks = np.zeros((1, 20, 1))
        chunks[0, 6:8] = 1.5

        assert np.flatnonzero(codec.is_clipped(chunks)[0, :, 0]).tolist() == [6, 7]

    @given(st.integers(1, 100), st.integers(1, 20), st.integers(0, 4), st.integers(0, 2**20))
    @settings(max_examples=60, deadline=None)
    def test_every_horizon_decodes_within_the_bound(self, horizon: int, num_basis: int, degree: int, seed: int) -> None:
        chunks = np.random.default_rng(seed).normal(0, 1, (20, horizon, 2))
        options: dict[str, int] = {"num_basis": num_basis, "degree": min(degree, num_basis - 1)}
        codec = Codec.fit(chunks, **options)

        error = np.abs(codec.decode(codec.encode(chunks), horizon, 2) - chunks)

        inside = ~codec.is_clipped(chunks)
        assert (error <= codec.error_bound(chunks))[inside].all()

    @pytest.mark.parametrize("horizon", [1, 2, 5, 10, 20, 100])
    def test_what_control_points_can_follow_comes_back_to_a_step_of_their_codes(self, horizon: int) -> None:
        time = np.linspace(0, 1, horizon)
        scale = np.random.default_rng(4).uniform(0.2, 1, (200, 1, 3))
        chunks = scale * np.stack([time, 1 - time**2, time**3 - 0.5], axis=1)
        codec = Codec.fit(chunks, quantile=0, step_dims="none")

        error = np.abs(codec.decode(codec.encode(chunks), horizon, 3) - chunks)

        assert error.max() < 0.01

    def test_zero_between_even_bounds_has_one_code_on_every_machine(self) -> None:
        codec = Codec(horizon=7, low=((-1.0,) * 10,), high=((1.0,) * 10,))
        noise = np.random.default_rng(5).normal(0, 1e-15, (500, 7, 1))

        assert set(codec.encode(noise).ravel().tolist()) == {128}

    def test_chunks_of_another_shape_are_refused(self, beast: Codec) -> None:
        for horizon, dims in [(19, 7), (20, 6)]:
            with pytest.raises(TokenizeError, match="for 20 steps and 7 dimensions; the chunks have"):
                beast.encode(np.zeros((1, horizon, dims)))
            for decode in (beast.decode, beast.decode_relaxed):
                with pytest.raises(TokenizeError, match="for 20 steps and 7 dimensions; the chunks have"):
                    decode(np.zeros((1, 70), dtype=np.int64), horizon, dims)

    def test_missing_control_points_repeat_the_last_one_of_their_dimension(
        self, golden: dict[str, np.ndarray], beast: Codec
    ) -> None:
        codes = golden["tokens"][0].astype(np.int64).reshape(10, 7)
        held = np.concatenate([codes[:4], np.repeat(codes[3:4], 6, axis=0)])

        found = beast.decode_relaxed([codes[:4].ravel()], 20, 7)

        np.testing.assert_array_equal(found.chunks, beast.decode(held.reshape(1, 70), 20, 7))
        assert found.num_repaired.tolist() == [42]
        assert found.num_clipped.tolist() == [0]
