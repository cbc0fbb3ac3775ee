"""Companded bins."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vladata.errors import TokenizeError
from vladata.tokenizers.mu_law_bins import Codec

codecs = st.builds(
    lambda num_codes, mu, low, width: Codec(num_codes=num_codes, mu=mu, low=low, high=low + width),
    st.integers(2, 2000),
    st.floats(0.01, 1e4),
    st.floats(-10, 10),
    st.floats(0.1, 20),
)


def companded(values: np.ndarray, codec: Codec) -> np.ndarray:
    """The law itself, 0 to N over the range."""
    y = 2 * (values - codec.low) / (codec.high - codec.low) - 1
    law = np.sign(y) * np.log(1 + codec.mu * np.abs(y)) / np.log(1 + codec.mu)
    return (law + 1) / 2 * codec.num_codes


@given(codecs, st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_codes_follow_the_law(codec: Codec, places: list[float]) -> None:
    values = np.clip(codec.low + np.array(places) * (codec.high - codec.low), codec.low, codec.high)

    codes = codec.encode(values.reshape(-1, 1, 1))[:, 0]

    expected = companded(values, codec)
    # Beside an edge the logarithm's last bits decide.
    assert (codes <= expected + 1e-6).all()
    assert (codes + 1 >= expected - 1e-6).all()


@given(codecs)
def test_codes_decode_to_the_companded_centres(codec: Codec) -> None:
    codes = np.arange(codec.num_codes)[:, None]

    decoded = codec.decode(codes, 1, 1)

    np.testing.assert_allclose(companded(decoded.ravel(), codec), codes.ravel() + 0.5, atol=1e-6 * codec.num_codes)
    np.testing.assert_array_equal(codec.encode(decoded), codes)


def test_the_middle_is_narrow_and_the_ends_are_wide() -> None:
    codec = Codec.fit(np.zeros((1, 1, 1)))
    values = np.array([[[-1.0, -1e-9, 0.0, 0.5, 1.0]]])

    assert codec.num_codes == 256
    assert codec.encode(values).tolist() == [[0, 127, 128, 240, 255]]
    middle, end = codec.error_bound(np.array([[[0.0, 1.0]]]))[0, 0]
    assert middle < 1e-4 < 0.02 < end < 0.03
    lowest, highest = codec.decode([[0, 255]], 1, 2).ravel()
    assert -lowest == highest == pytest.approx(1.0, abs=0.03)


@given(codecs, st.integers(1, 1998))
def test_the_bound_is_reached_at_an_end_of_the_bin(codec: Codec, code: int) -> None:
    if codec.num_codes < 3:
        return
    code = 1 + code % (codec.num_codes - 2)
    centre = codec.decode([[code]], 1, 1)
    bound = codec.error_bound(centre)

    inside = codec.encode(centre + np.array([[[-0.9]], [[0.9]]]) * bound)
    outside = codec.encode(centre + np.array([[[-1.1]], [[1.1]]]) * bound)

    assert code in inside
    assert code not in outside


def test_gatos_bins_are_these_with_other_numbers() -> None:
    codec = Codec(num_codes=1024, mu=25600.0, low=-256.0, high=256.0)
    values = np.random.default_rng(0).normal(0, 3, 1000)

    codes = codec.encode(values.reshape(-1, 1, 1))[:, 0]

    law = np.sign(values) * np.log(1 + 100 * np.abs(values)) / np.log(1 + 100 * 256)
    np.testing.assert_array_equal(codes, np.floor((law + 1) / 2 * 1024))


def test_options_are_kept() -> None:
    codec = Codec.fit(np.zeros((1, 1, 1)), num_codes=1000, mu=100, low=-3, high=3)

    assert codec == Codec(num_codes=1000, mu=100.0, low=-3.0, high=3.0)
    assert Codec.from_dict(codec.to_dict()) == codec


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_codes": 1}, "num_codes is 1; must be 2 to 65536"),
        ({"mu": 0}, "mu is 0.0; must be more than 0"),
        ({"mu": 1e12}, "must be more than 0, at most 1e"),
        ({"low": 1}, "must be finite, the first less than the second"),
        ({"low": 1e6, "high": 1e6 + 1, "mu": 1e9, "num_codes": 4096}, "too narrow for 4096 bins of mu"),
        ({"bins": 1}, "bins: unexpected"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(TokenizeError, match=message):
        Codec.fit(np.zeros((1, 1, 1)), **options)
