"""Normalization: exact ends, the way back, and the references."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vladata.actions.normalization import Normalization, NormalizationMode, passes_through
from vladata.actions.statistics import Statistics, gather_statistics
from vladata.embodiment import Dimension
from vladata.errors import TokenizeError
from vladata.units import Kind, Mode, Unit

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "openvla_normalization.npz"
BOUNDED = [NormalizationMode.QUANTILE, NormalizationMode.MIN_MAX]


def statistics_of(rows: np.ndarray) -> Statistics:
    return gather_statistics(lambda: [rows], [f"arm.{i}" for i in range(rows.shape[1])])


def rows_of(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal([0.3, -5.0, 100.0], [0.1, 2.0, 0.01], (400, 3))


ranges = st.tuples(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))


def between(low: float, width: float) -> Normalization:
    return Normalization(
        mode=NormalizationMode.MIN_MAX, low=(low,), high=(low + width,), mask=(True,), clip=True, floored=(False,)
    )


@pytest.mark.parametrize("mode", list(NormalizationMode))
def test_the_way_back_gives_the_values_again(mode: NormalizationMode) -> None:
    rows = rows_of()
    normalization = Normalization.fit(statistics_of(rows), mode, [True, True, False])

    back = normalization.invert(normalization.apply(rows, clip=False))

    np.testing.assert_allclose(back, rows, rtol=1e-14)
    np.testing.assert_array_equal(back[:, 2], rows[:, 2])


@given(ranges, st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_the_ends_become_exactly_one_and_nothing_between_leaves_the_range(
    low_and_width: tuple[float, float], places: list[float]
) -> None:
    normalization = between(*low_and_width)
    low, high = normalization.low[0], normalization.high[0]
    inside = np.clip(low + np.array(places) * (high - low), low, high)[:, None]

    assert normalization.apply([[low], [high]], clip=False).tolist() == [[-1.0], [1.0]]
    assert np.abs(normalization.apply(inside, clip=False)).max() <= 1.0
    np.testing.assert_allclose(normalization.invert(normalization.apply(inside)), inside, rtol=1e-12, atol=1e-12)
    assert not normalization.is_clipped(inside).any()


@pytest.mark.parametrize("mode", BOUNDED)
def test_bounded_modes_clip_and_say_where(mode: NormalizationMode) -> None:
    rows = rows_of()
    normalization = Normalization.fit(statistics_of(rows), mode)
    far = np.array([[1e6, -1e6, 100.0]])

    assert normalization.apply(far)[0, :2].tolist() == [1.0, -1.0]
    assert normalization.is_clipped(far).tolist() == [[True, True, False]]
    expected = 0 if mode is NormalizationMode.MIN_MAX else 2 * 4
    assert normalization.is_clipped(rows).sum(axis=0).tolist() == [expected] * 3


def test_quantiles_are_the_ends_of_the_default_mode() -> None:
    found = statistics_of(rows_of())
    normalization = Normalization.fit(found)

    assert normalization.low == found.q01
    assert normalization.high == found.q99


def test_mean_and_deviation_do_not_clip() -> None:
    rows = rows_of()
    normalization = Normalization.fit(statistics_of(rows), NormalizationMode.MEAN_STD)

    normalized = normalization.apply(rows)

    np.testing.assert_allclose(normalized, (rows - rows.mean(axis=0)) / rows.std(axis=0), atol=1e-9)
    assert not normalization.is_clipped(rows).any()
    assert np.abs(normalized).max() > 1.0


def test_mode_none_passes_everything_through() -> None:
    rows = rows_of()
    normalization = Normalization.fit(statistics_of(rows), NormalizationMode.NONE)

    np.testing.assert_array_equal(normalization.apply(rows), rows)
    assert normalization.mask == (False, False, False)
    assert normalization.scale.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("mode", [m for m in NormalizationMode if m is not NormalizationMode.NONE])
def test_a_constant_dimension_becomes_zero_and_comes_back(mode: NormalizationMode) -> None:
    rows = np.column_stack([np.full(50, 0.25), np.linspace(0, 1, 50)])
    normalization = Normalization.fit(statistics_of(rows), mode, floor=1e-3)

    assert normalization.floored == (True, False)
    assert normalization.floor == 1e-3
    assert normalization.high[0] - normalization.low[0] == pytest.approx(1e-3)
    assert np.abs(normalization.apply(rows)[:, 0]).max() < 1e-9
    np.testing.assert_allclose(normalization.invert(normalization.apply(rows))[:, 0], 0.25, atol=1e-15)


def test_a_tiny_deviation_of_a_constant_dimension_does_not_explode() -> None:
    rows = np.full((50, 1), 0.25)
    normalization = Normalization.fit(statistics_of(rows))

    assert abs(normalization.apply([[0.25 + 1e-9]])[0, 0]) < 1e-4


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


@pytest.mark.parametrize(
    ("mode", "key"),
    [
        (NormalizationMode.QUANTILE, "openvla_bounds_q99"),
        (NormalizationMode.MIN_MAX, "openvla_bounds"),
        (NormalizationMode.MEAN_STD, "openvla_normal"),
    ],
)
def test_values_equal_those_of_openvla(golden: dict[str, np.ndarray], mode: NormalizationMode, key: str) -> None:
    fields = ("min", "max", "mean", "std", "q01", "q99")
    found = Statistics(
        names=tuple(f"arm.{i}" for i in range(7)),
        count=len(golden["action"]),
        **{f: tuple(float(v) for v in golden[f"stat_{f}"]) for f in fields},
    )

    normalization = Normalization.fit(found, mode, [bool(m) for m in golden["stat_mask"]])

    # The original adds 1e-8 to a range of about 0.08 and computes in float32. Dimension 4 is constant: 0 in both.
    assert normalization.floored == (False, False, False, False, True, False, False)
    np.testing.assert_allclose(normalization.apply(golden["action"]), golden[key], rtol=2e-6, atol=1e-6)


def test_values_equal_those_of_openpi_but_for_its_epsilon(shared_golden: Path) -> None:
    with np.load(shared_golden / "openpi_normalization.npz", allow_pickle=False) as file:
        data = {name: file[name] for name in file.files}
    low, high = (tuple(float(v) for v in data[f"rs_{q}"]) for q in ("q01", "q99"))
    keep = [0, 1, 2, 3]  # dimension 4 is constant: -1 there, 0 here
    normalization = Normalization(
        mode=NormalizationMode.QUANTILE,
        low=tuple(low[i] for i in keep),
        high=tuple(high[i] for i in keep),
        mask=(True,) * 4,
        clip=False,
        floored=(False,) * 4,
    )

    np.testing.assert_allclose(normalization.apply(data["norm_in"][:, keep]), data["norm_q"][:, keep], atol=2e-6)


def dimension(kind: Kind, unit: Unit, **fields: object) -> Dimension:
    return Dimension.model_validate({"name": "g", "kind": kind, "unit": unit, "mode": Mode.ABSOLUTE, **fields})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (dimension(Kind.GRIPPER_COMMAND, Unit.ONE, open_value=1.0, closed_value=0.0), True),
        (dimension(Kind.GRIPPER_APERTURE, Unit.ONE, limits=(-1.0, 1.0)), True),
        (dimension(Kind.TERMINATE, Unit.ONE), True),
        (dimension(Kind.GRIPPER_COMMAND, Unit.ONE), False),
        (dimension(Kind.GRIPPER_COMMAND, Unit.ONE, open_value=1000.0, closed_value=0.0), False),
        (dimension(Kind.GRIPPER_APERTURE, Unit.METRE, limits=(0.0, 0.08)), False),
        (dimension(Kind.JOINT_POSITION, Unit.ONE, limits=(-1.0, 1.0), normalized=True), False),
    ],
)
def test_only_grippers_with_a_declared_scale_pass_through(given: Dimension, expected: bool) -> None:
    assert passes_through(given) is expected


def test_a_normalization_comes_back_from_its_dictionary() -> None:
    normalization = Normalization.fit(statistics_of(rows_of()), NormalizationMode.QUANTILE, [True, False, True])

    assert Normalization.from_dict(normalization.to_dict()) == normalization


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"low": [1.0, 1.0, 1.0], "high": [1.0, 2.0, 2.0]}, "must be finite, the first less than the second"),
        ({"mask": [True]}, "different lengths"),
        ({"mode": "zscore"}, "mode: "),
        ({"clip": "yes"}, "^normalization: clip: 'yes'; must be true or false$"),
        ({"eps": 1e-8}, "eps: unexpected"),
    ],
)
def test_wrong_dictionaries_are_refused(change: dict[str, object], message: str) -> None:
    state = Normalization.fit(statistics_of(rows_of())).to_dict()

    with pytest.raises(TokenizeError, match=message):
        Normalization.from_dict({**state, **change})


def test_sizes_that_do_not_fit_are_refused() -> None:
    found = statistics_of(rows_of())

    with pytest.raises(TokenizeError, match=r"mask has 2 values; there are 3 dimensions"):
        Normalization.fit(found, NormalizationMode.QUANTILE, [True, True])
    with pytest.raises(TokenizeError, match=r"values are \[4, 2\]; must be \[..., 3\]"):
        Normalization.fit(found).apply(np.zeros((4, 2)))
    with pytest.raises(TokenizeError, match=r"floor is 0.0; must be positive"):
        Normalization.fit(found, floor=0.0)


def test_nan_stays_nan() -> None:
    normalization = Normalization.fit(statistics_of(rows_of()))

    assert np.isnan(normalization.apply([[np.nan, 0.0, 100.0]])).tolist() == [[True, False, False]]
