"""Bins of equal mass."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vladata.errors import TokenizeError
from vladata.tokenizers.quantile_bins import Codec


def column(values: list[float]) -> np.ndarray:
    return np.array(values, dtype=np.float64).reshape(-1, 1, 1)


def test_bins_hold_equal_parts() -> None:
    chunks = np.random.default_rng(0).normal(0, 1, (1000, 16, 2)) * [1.0, 100.0]
    codec = Codec.fit(chunks, num_codes=64)

    codes = codec.encode(chunks).reshape(-1, 2)

    for dim in range(2):
        assert np.bincount(codes[:, dim], minlength=64).tolist() == [250] * 64


def test_a_gripper_of_two_values_comes_back_exactly() -> None:
    chunks = column([0.0] * 600 + [1.0] * 400)
    codec = Codec.fit(chunks)

    codes = codec.encode(column([0.0, 1.0, 0.5]))

    assert codec.num_codes == 256
    assert codec.decode(codes, 1, 1).ravel().tolist() == [0.0, 1.0, 0.5]
    assert codec.error_bound(column([0.0, 1.0])).max() < 1e-15
    assert codec.error_bound(column([0.5])).item() == pytest.approx(0.5)
    every = codec.decode(np.arange(256)[:, None], 1, 1).ravel()
    assert set(every) == {0.0, 0.5, 1.0}
    assert not codec.is_clipped(chunks).any()


def test_a_dimension_that_never_changes_has_one_value() -> None:
    codec = Codec.fit(column([0.3] * 5), num_codes=4)

    assert codec.decode([[0], [1], [2], [3]], 1, 1).ravel().tolist() == [0.3] * 4
    assert codec.encode(column([0.3, 0.1, 0.5])).ravel().tolist()[0] == 0
    assert codec.is_clipped(column([0.3, 0.1, 0.5])).ravel().tolist() == [False, True, True]
    assert codec.error_bound(column([0.3])).item() < 1e-15


def test_the_ends_are_the_smallest_and_the_largest_value() -> None:
    codec = Codec.fit(column([-3.0, 1.0, 2.0, 8.0]), num_codes=3)

    assert codec.edges == ((-3.0, 1.0, 2.0, 8.0),)
    assert codec.encode(column([-3.0, -9.0, 0.999, 1.0, 7.0, 8.0, 99.0])).ravel().tolist() == [0, 0, 0, 1, 2, 2, 2]
    assert codec.decode([[0], [1], [2]], 1, 1).ravel().tolist() == [-1.0, 1.5, 5.0]
    assert codec.is_clipped(column([-3.0, -3.1, 8.0, 8.1])).ravel().tolist() == [False, True, False, True]


@given(
    st.lists(st.sampled_from([-2.0, -0.5, 0.0, 5e-324, 0.1, 0.30000000000000004, 3.0]), min_size=1, max_size=50),
    st.lists(st.floats(-3, 4), max_size=20),
    st.integers(2, 60),
)
@settings(max_examples=200)
def test_any_ties_leave_every_value_within_half_of_its_bin(often: list[float], seldom: list[float], num: int) -> None:
    chunks = column(often * 3 + seldom)
    codec = Codec.fit(chunks, num_codes=num)

    codes = codec.encode(chunks)
    error = np.abs(codec.decode(codes, 1, 1) - chunks)

    assert not codec.is_clipped(chunks).any()
    assert (error <= codec.error_bound(chunks)).all()
    edges = np.array(codec.edges[0])
    low, high = edges[codes.ravel()], edges[codes.ravel() + 1]
    assert ((low <= chunks.ravel()) & (chunks.ravel() <= high)).all()
    again = codec.decode(codec.encode(codec.decode(codes, 1, 1)), 1, 1)
    np.testing.assert_array_equal(again, codec.decode(codes, 1, 1))


@given(st.lists(st.floats(-1, 1), min_size=30, max_size=60, unique=True), st.integers(2, 20))
def test_codes_equal_digitize_where_no_edge_repeats(values: list[float], num_codes: int) -> None:
    codec = Codec.fit(column(values), num_codes=num_codes)
    edges = np.array(codec.edges[0])
    if (np.diff(edges) <= 0).any():
        return

    expected = np.minimum(np.digitize(values, edges) - 1, num_codes - 1)

    np.testing.assert_array_equal(codec.encode(column(values)).ravel(), expected)


def test_too_little_to_learn_from_is_refused() -> None:
    with pytest.raises(TokenizeError, match=r"chunks are \[0, 4, 3\]; must hold values"):
        Codec.fit(np.zeros((0, 4, 3)))


def test_values_that_float64_can_not_subtract_are_refused() -> None:
    with pytest.raises(TokenizeError, match=r"the largest value is 1e.308; must be within 1e.300"):
        Codec.fit(column([1e308, -1e307]))


def test_another_number_of_dimensions_is_refused() -> None:
    codec = Codec.fit(np.zeros((1, 4, 3)))
    for call in (
        lambda: codec.encode(np.zeros((1, 4, 2))),
        lambda: codec.decode(np.zeros((1, 8), dtype=np.int64), 4, 2),
        lambda: codec.is_clipped(np.zeros((1, 4, 2))),
    ):
        with pytest.raises(TokenizeError, match="edges for 3 dimensions; the chunks have 2"):
            call()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_codes": 1}, "num_codes is 1; must be 2 to 4096"),
        ({"num_codes": 2.5}, "num_codes is 2.5; must be a whole number"),
        ({"bins": 7}, "bins: unexpected"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(TokenizeError, match=message):
        Codec.fit(np.zeros((1, 1, 1)), **options)


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([], "must be as many in each, of one dimension"),
        ([[0.0, 1.0, 2.0], [0.0, 1.0]], "must be as many in each"),
        ([[0.0, 1.0]], "num_codes is 1; must be 2 to 4096"),
        ([[0.0, 1.0, 0.5]], "edges of dimension 0 must be finite, within 1e.300, and not fall"),
        ([[0.0, 1.0, 1e999]], "quantile_bins: "),
    ],
)
def test_wrong_edges_are_refused(edges: list[list[float]], message: str) -> None:
    with pytest.raises(TokenizeError, match=message):
        Codec.from_dict({"edges": edges})
