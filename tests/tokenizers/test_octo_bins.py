"""Octo's bins, equal to its published tokenizer but where that loses values."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from vladata.errors import TokenizeError
from vladata.tokenizers.octo_bins import Codec

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
CODECS = {
    "uniform_-1_1": Codec(),
    "uniform_0_1": Codec(low=0.0, high=1.0),
    "normal_0_1": Codec(bin_type="normal"),
}
NORMAL = CODECS["normal_0_1"]


def load(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / name, allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    return load("octo_bin_tokenizer.npz")


@pytest.fixture(scope="module")
def far() -> dict[str, np.ndarray]:
    """Values from -1e30 to 1e30."""
    return load("octo_bin_tokenizer_far.npz")


@pytest.mark.parametrize("case", CODECS)
def test_codes_equal_the_original(golden: dict[str, np.ndarray], case: str) -> None:
    codes = CODECS[case].encode(golden["in"][:, None])

    np.testing.assert_array_equal(codes, golden[f"{case}_tok"])


@pytest.mark.parametrize("case", CODECS)
def test_decoded_values_equal_the_original_as_float32_can_tell(golden: dict[str, np.ndarray], case: str) -> None:
    decoded = CODECS[case].decode(golden[f"{case}_tok"], 1, 7)

    np.testing.assert_allclose(decoded[:, 0], golden[f"{case}_dec"], rtol=0, atol=5e-7)
    if case != "normal_0_1":
        np.testing.assert_array_equal(decoded[:, 0], golden[f"{case}_dec"].astype(np.float64))


def test_values_far_outside_are_clipped_as_in_the_original_where_it_clips(far: dict[str, np.ndarray]) -> None:
    codes = Codec().encode(far["in"][:, None, None])[:, 0]

    np.testing.assert_array_equal(codes, far["uniform_tok"])
    np.testing.assert_array_equal(Codec().decode(codes[:, None], 1, 1)[:, 0, 0], far["uniform_dec"])


def test_normal_bins_do_not_turn_large_values_into_the_lowest_code_as_the_original_does(
    far: dict[str, np.ndarray],
) -> None:
    values = far["in"][:, None, None].astype(np.float64)
    codes, is_clipped = NORMAL.encode(values)[:, 0], NORMAL.is_clipped(values)[:, 0, 0]

    original = dict(zip(far["in"].tolist(), far["normal_tok"].tolist(), strict=True))
    assert original[5.0] == original[100.0] == original[-5.0] == 0
    assert dict(zip(far["in"].tolist(), codes.tolist(), strict=True))[5.0] == 255
    np.testing.assert_array_equal(codes, np.where(far["in"] > 0, 255, 0))
    np.testing.assert_array_equal(codes[~is_clipped], far["normal_tok"][~is_clipped])
    np.testing.assert_array_equal(is_clipped, (far["in"] < -4.753424) | (far["in"] > 4.750758))
    # The highest bin ends where the original's does, which needs its float32.
    np.testing.assert_allclose(NORMAL.decode([[255], [0]], 1, 1).ravel(), [far["normal_dec"][7], far["normal_dec"][0]])


@pytest.mark.parametrize("num_codes", [2, 3, 256, 1000])
def test_normal_thresholds_are_normal_quantiles(num_codes: int) -> None:
    codec = Codec(bin_type="normal", num_codes=num_codes)
    inside = norm.ppf(np.linspace(1e-6, 1 - 1e-6, num_codes + 1))[1:-1]

    above = codec.encode((inside + 1e-5)[:, None, None])[:, 0]
    below = codec.encode((inside - 1e-5)[:, None, None])[:, 0]

    assert above.tolist() == list(range(1, num_codes))
    assert below.tolist() == list(range(num_codes - 1))


@given(st.floats(-3, 3), st.integers(2, 400))
def test_uniform_codes_equal_digitize(value: float, num_codes: int) -> None:
    codec = Codec(num_codes=num_codes, low=-2.0, high=1.5)

    code = codec.encode(np.array([[[value]]]))[0, 0]

    clipped = np.clip(value, -2.0 + 1e-6, 1.5 - 1e-6)
    assert code == np.digitize(clipped, np.linspace(-2.0, 1.5, num_codes + 1)) - 1


def test_options_are_kept() -> None:
    nothing = np.zeros((0, 1, 1))

    assert Codec.fit(nothing, bin_type="normal", num_codes=64) == Codec(bin_type="normal", num_codes=64)
    assert Codec.fit(nothing, low=-3, high=3) == Codec(low=-3.0, high=3.0)
    assert Codec.from_dict(NORMAL.to_dict()) == NORMAL


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_codes": 1}, "num_codes is 1; must be 2 to 65536"),
        ({"bin_type": "gauss"}, "bin_type"),
        ({"bin_type": "normal", "low": 0.0}, "must be left out for bin_type normal"),
        ({"low": 1}, "must be finite, the first less than the second"),
        ({"low": 0, "high": 1e-4}, "too narrow for 256 bins"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, float | str], message: str) -> None:
    with pytest.raises(TokenizeError, match=message):
        Codec.fit(np.zeros((1, 1, 1)), **options)
