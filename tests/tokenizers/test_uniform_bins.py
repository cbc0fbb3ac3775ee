"""N bins of equal width."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vladata.errors import TokenizeError
from vladata.tokenizers.uniform_bins import Codec

GOLDEN = Path(__file__).resolve().parent.parent / "golden"

codecs = st.builds(
    lambda num_codes, low, width: Codec(num_codes=num_codes, low=low, high=low + width),
    st.integers(2, 3000),
    st.floats(-10, 10),
    st.floats(0.1, 20),
)


@given(codecs, st.lists(st.floats(-0.2, 1.2), min_size=1, max_size=40))
def test_codes_equal_digitize(codec: Codec, places: list[float]) -> None:
    values = codec.low + np.array(places) * (codec.high - codec.low)
    edges = np.linspace(codec.low, codec.high, codec.num_codes + 1)

    codes = codec.encode(values.reshape(-1, 1, 1))[:, 0]

    expected = np.digitize(np.clip(values, codec.low, codec.high), edges) - 1
    np.testing.assert_array_equal(codes, np.minimum(expected, codec.num_codes - 1))


@given(codecs, st.integers(0, 3000), st.integers(-2, 2))
def test_codes_beside_an_edge_equal_digitize(codec: Codec, edge: int, ulps: int) -> None:
    edges = np.linspace(codec.low, codec.high, codec.num_codes + 1)
    value = edges[edge % len(edges)]
    value += ulps * np.spacing(value)

    code = codec.encode(np.array([[[value]]]))[0, 0]

    expected = np.digitize(np.clip(value, codec.low, codec.high), edges) - 1
    assert code == min(expected, codec.num_codes - 1)


@given(codecs, st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_decoded_values_are_within_half_a_bin(codec: Codec, places: list[float]) -> None:
    values = codec.low + np.array(places) * (codec.high - codec.low)
    chunks = np.clip(values, codec.low, codec.high).reshape(-1, 1, 1)

    error = np.abs(codec.decode(codec.encode(chunks), 1, 1) - chunks)

    assert (error <= codec.error_bound(chunks)).all()


@given(codecs)
def test_every_code_is_the_code_of_its_own_centre(codec: Codec) -> None:
    codes = np.arange(codec.num_codes)[:, None]

    np.testing.assert_array_equal(codec.encode(codec.decode(codes, 1, 1)), codes)


def test_there_are_256_bins_of_equal_width_by_default() -> None:
    codec = Codec.fit(np.zeros((1, 1, 1)))

    assert codec.num_codes == 256
    assert codec.encode(np.array([[[-1.0, -1e-9, 0.0, 1.0]]])).tolist() == [[0, 127, 128, 255]]
    assert codec.decode(np.array([[0, 255]]), 1, 2).tolist() == [[[-1 + 1 / 256, 1 - 1 / 256]]]
    assert codec.error_bound(np.zeros((1, 1, 1))).item() == pytest.approx(1 / 256)


def test_options_are_kept() -> None:
    codec = Codec.fit(np.zeros((1, 1, 1)), num_codes=1000, low=-3, high=3)

    assert codec == Codec(num_codes=1000, low=-3.0, high=3.0)
    assert Codec.from_dict(codec.to_dict()) == codec


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_codes": 1}, "num_codes is 1; must be 2 to 65536"),
        ({"num_codes": 2.5}, "num_codes: 2.5; must be a whole number"),
        ({"low": 1}, "must be finite, the first less than the second"),
        ({"low": 1e9, "high": 1e9 + 1e-6, "num_codes": 1000}, "too narrow for 1000 bins"),
        ({"step": 1}, "step: unexpected"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(TokenizeError, match=message):
        Codec.fit(np.zeros((1, 1, 1)), **options)


def test_values_that_are_not_finite_are_refused_with_their_place() -> None:
    with pytest.raises(TokenizeError, match=r"^chunk\[1, 0, 0\] is inf; must be finite$"):
        Codec().encode(np.array([[[0.0]], [[np.inf]]]))


def test_clipped_values_are_marked() -> None:
    assert Codec(low=0.0, high=2.0).is_clipped(np.array([[[-0.1, 0.0, 2.0, 2.1]]])).tolist() == [
        [[True, False, False, True]]
    ]


def test_codes_equal_openpis_state_bins_inside_the_range_and_are_clipped_outside() -> None:
    """Below -1 those give -1, which is no bin, and for NaN the highest one."""
    with np.load(GOLDEN / "openpi_state_bins.npz", allow_pickle=False) as file:
        values, bins = file["state_in"], file["state_disc"]
    finite = np.isfinite(values)

    codes = Codec().encode(values[finite][:, None, None])[:, 0]

    assert (bins[finite] == -1).sum() > 1
    assert bins[np.isnan(values)].tolist() == [255]
    np.testing.assert_array_equal(codes, np.maximum(bins[finite], 0))
    np.testing.assert_array_equal(bins[finite] == -1, values[finite] < -1)
    with pytest.raises(TokenizeError, match="is nan; must be finite"):
        Codec().encode(values[np.isnan(values)][:, None, None])
