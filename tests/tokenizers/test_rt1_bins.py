"""RT-1's bins, equal to its published tokenizer."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vladata.errors import TokenizeError
from vladata.tokenizers.rt1_bins import Codec

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "rt1_action_tokenizer.npz"
HALF_PI = float(np.float32(np.pi / 2))


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture
def codec() -> Codec:
    bounds = (1.0, 1.0, 1.0, HALF_PI, HALF_PI, HALF_PI, 1.0)
    return Codec(low=tuple(-b for b in bounds), high=bounds)


def actions(golden: dict[str, np.ndarray], prefix: str = "") -> np.ndarray:
    names = ("world_vector", "rotation_delta", "gripper")
    return np.concatenate([golden[prefix + name] for name in names], axis=1)[:, None]


def test_codes_equal_the_original(golden: dict[str, np.ndarray], codec: Codec) -> None:
    codes = codec.encode(actions(golden))

    # The first token is the one-hot terminate flag, which is no action value.
    np.testing.assert_array_equal(codes, golden["tokens"][:, 1:])


def test_decoded_values_equal_the_original(golden: dict[str, np.ndarray], codec: Codec) -> None:
    decoded = codec.decode(golden["tokens"][:, 1:].astype(np.int64), 1, 7)

    np.testing.assert_array_equal(decoded, actions(golden, "dec_").astype(np.float64))


def test_the_highest_code_is_for_the_upper_bound_alone() -> None:
    assert Codec().encode(np.array([[[-1.0, 1.0 - 1e-6, 1.0, 7.0]]])).tolist() == [[0, 254, 255, 255]]


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=40),
    st.floats(-100, 100),
    st.floats(0.01, 100),
    st.integers(2, 2000),
)
def test_decoded_values_are_within_a_bin(places: list[float], low: float, width: float, num_codes: int) -> None:
    codec = Codec(low=(low,), high=(low + width,), num_codes=num_codes)
    chunks = np.clip(low + np.array(places) * width, low, low + width).reshape(-1, 1, 1)

    decoded = codec.decode(codec.encode(chunks), 1, 1)

    assert (np.abs(decoded - chunks) <= codec.error_bound(chunks)).all()


def test_a_value_too_large_for_float32_is_clipped_like_any_other() -> None:
    assert Codec().encode(np.array([[[1e300, -1e300]]])).tolist() == [[255, 0]]


def test_values_that_are_not_finite_are_refused_with_their_place() -> None:
    with pytest.raises(TokenizeError, match=r"^chunk\[0, 0, 1\] is nan; must be finite$"):
        Codec().encode(np.array([[[0.0, np.nan]]]))


def test_bounds_of_another_number_of_dimensions_are_refused(codec: Codec) -> None:
    with pytest.raises(TokenizeError, match="bounds for 7 dimensions; the chunks have 3"):
        codec.encode(np.zeros((1, 1, 3)))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"low": [1.0], "high": [1.0]}, "must be finite, the first less than the second"),
        ({"low": [-1.0, -1.0], "high": [1.0]}, "2 low and 1 high; must be as many"),
        ({"num_codes": 1}, "num_codes is 1; must be 2 to 65536"),
        ({"low": [-1e40]}, "must fit float32"),
        ({"low": []}, "low is empty; must have a bound"),
        ({"low": ["-1"]}, "low.0: '-1'; must be a number"),
        ({"width": 3}, "width: unexpected"),
    ],
)
def test_wrong_bounds_are_refused(state: dict[str, object], message: str) -> None:
    with pytest.raises(TokenizeError, match=message):
        Codec.from_dict(state)


def test_a_codec_comes_back_from_its_dictionary(codec: Codec) -> None:
    assert Codec.from_dict(codec.to_dict()) == codec
    assert Codec.fit(np.zeros((1, 1, 2)), low=-2, high=3.5) == Codec(low=(-2.0,), high=(3.5,))


def test_clipped_values_are_marked(codec: Codec) -> None:
    chunks = np.full((1, 1, 7), 1.2)

    assert codec.is_clipped(chunks).tolist() == [[[True, True, True, False, False, False, True]]]


def test_tokens_that_are_none_are_repaired_and_counted_when_relaxed(codec: Codec) -> None:
    codes = np.array([[0, 255, -7, 256, 1000, 128, 3]])

    found = codec.decode_relaxed(codes, 1, 7)

    np.testing.assert_array_equal(found.chunks, codec.decode(np.clip(codes, 0, 255), 1, 7))
    assert found.num_repaired.tolist() == [3]
    with pytest.raises(TokenizeError, match=r"codes\[0, 2\] is -7; must be 0 to 255"):
        codec.decode(codes, 1, 7)


def test_the_original_decodes_to_the_lower_ends(golden: dict[str, np.ndarray]) -> None:
    """So its values are too small by half a bin on average; codec and bound say so instead of mending it."""
    inside = np.abs(golden["world_vector"]) <= 1
    error = (golden["dec_world_vector"] - golden["world_vector"])[inside].astype(np.float64)

    assert error.max() < 1e-6
    assert error.min() > -2 / 255 - 1e-6
    assert Codec().error_bound(np.zeros((1, 1, 1))).item() == pytest.approx(2 / 255, abs=1e-6)
