"""What every codec must do."""

import numpy as np
import pytest

from vladata import plugins
from vladata.errors import PluginNotFoundError
from vladata.tokenizers import ActionCodec

NAMES = plugins.names("tokenizers")


def codec_of(name: str) -> ActionCodec:
    chunks = np.random.default_rng(0).uniform(-1, 1, (50, 4, 3))
    codec: ActionCodec = plugins.load("tokenizers", name).Codec.fit(chunks)
    return codec


def test_the_bins_are_plugins() -> None:
    assert {"openvla_bins", "rt1_bins", "uniform_bins"} <= set(NAMES)
    assert not [n for n in NAMES if n.startswith("_")]


def test_a_misspelt_name_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(PluginNotFoundError, match=r"did you mean 'uniform_bins'"):
        plugins.load("tokenizers", "uniform_bin")


@pytest.mark.parametrize("name", NAMES)
def test_codes_lie_below_their_number_and_decode_within_the_bound(name: str) -> None:
    codec = codec_of(name)
    chunks = np.random.default_rng(1).uniform(-1, 1, (200, 4, 3))

    codes = codec.encode(chunks)

    assert codes.dtype == np.int64
    assert codes.min() >= 0
    assert codes.max() < codec.num_codes
    assert (np.abs(codec.decode(codes, 4, 3) - chunks) <= codec.error_bound(chunks)).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_codec_comes_back_from_its_dictionary(name: str) -> None:
    codec = codec_of(name)
    chunks = np.random.default_rng(2).normal(0, 1, (100, 4, 3))

    again = type(codec).from_dict(codec.to_dict(), codec.files())

    np.testing.assert_array_equal(again.encode(chunks), codec.encode(chunks))


@pytest.mark.parametrize("name", NAMES)
def test_encoding_leaves_the_input_as_it_was(name: str) -> None:
    chunks = np.random.default_rng(3).normal(0, 1, (10, 4, 3))
    before = chunks.copy()

    codec_of(name).encode(chunks)

    np.testing.assert_array_equal(chunks, before)
