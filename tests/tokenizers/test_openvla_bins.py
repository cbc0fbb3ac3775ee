"""OpenVLA's bins, equal to its published tokenizer."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vladata.errors import TokenizeError
from vladata.tokenizers.openvla_bins import Codec

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "openvla_action_tokenizer.npz"
VOCAB_SIZE = 32000
EDGES = np.linspace(-1.0, 1.0, 256)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def as_chunks(values: np.ndarray) -> np.ndarray:
    return values.reshape(len(values), 1, -1)


@pytest.mark.parametrize("case", ["rand", "edges64", "edges32"])
def test_codes_equal_the_original(golden: dict[str, np.ndarray], case: str) -> None:
    values = golden[f"{case}_in"]

    codes = Codec().encode(as_chunks(values))

    np.testing.assert_array_equal(VOCAB_SIZE - 1 - codes, golden[f"{case}_tok"].reshape(codes.shape))


def test_special_values_equal_the_original_except_infinite_ones(golden: dict[str, np.ndarray]) -> None:
    finite = np.isfinite(golden["special_in"])
    codes = Codec().encode(as_chunks(golden["special_in"][finite]))

    assert 0 < (~finite).sum() < len(finite)
    np.testing.assert_array_equal(VOCAB_SIZE - 1 - codes[:, 0], golden["special_tok"][finite])
    np.testing.assert_array_equal(Codec().decode(codes, 1, 1)[:, 0, 0], golden["special_dec"][finite])


def test_decoded_values_equal_the_original(golden: dict[str, np.ndarray]) -> None:
    codes = VOCAB_SIZE - 1 - golden["rand_tok"].astype(np.int64)

    np.testing.assert_array_equal(Codec().decode(codes, 1, 7)[:, 0], golden["rand_dec"])


def test_every_id_of_the_range_decodes_as_the_original(golden: dict[str, np.ndarray]) -> None:
    codes = VOCAB_SIZE - 1 - golden["all_ids"]
    inside = (codes >= 0) & (codes < 256)

    assert inside.sum() == 256
    decoded = Codec().decode(codes[inside][:, None], 1, 1)
    np.testing.assert_array_equal(decoded.ravel(), golden["all_ids_dec"][inside])


def test_the_two_highest_codes_decode_alike() -> None:
    high, top = Codec().decode(np.array([[254, 255]]), 1, 2)[0, 0]

    assert high == top == pytest.approx(254 / 255)
    assert Codec().encode(np.array([[[np.nextafter(1.0, 0.0), 1.0]]])).tolist() == [[254, 255]]


@given(st.lists(st.floats(-1.5, 1.5), min_size=1, max_size=40))
def test_codes_equal_digitize(values: list[float]) -> None:
    array = np.array(values)

    codes = Codec().encode(as_chunks(array))[:, 0]

    np.testing.assert_array_equal(codes, np.digitize(np.clip(array, -1, 1), EDGES) - 1)


@given(st.integers(0, 255), st.integers(-3, 3))
def test_codes_beside_an_edge_equal_digitize(edge: int, ulps: int) -> None:
    value = EDGES[edge] + ulps * np.spacing(EDGES[edge])

    code = Codec().encode(np.array([[[value]]]))[0, 0]

    assert code == np.digitize(np.clip(value, -1, 1), EDGES) - 1


def test_a_long_array_is_encoded_like_its_parts() -> None:
    values = np.random.default_rng(5).normal(0, 0.6, (41_111, 1, 3))

    codes = Codec().encode(values)

    np.testing.assert_array_equal(codes, np.digitize(np.clip(values[:, 0], -1, 1), EDGES) - 1)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=40))
def test_decoded_values_are_within_half_a_bin(values: list[float]) -> None:
    codec, chunks = Codec(), as_chunks(np.array(values))

    error = np.abs(codec.decode(codec.encode(chunks), 1, 1) - chunks)

    assert (error <= codec.error_bound(chunks)).all()


def test_codes_go_step_by_step() -> None:
    chunks = np.array([[[-1.0, 0.0], [0.5, 1.0]]])
    codec = Codec()

    codes = codec.encode(chunks)

    assert codes.shape == (1, 4)
    assert codes.tolist() == [[0, 127, 191, 255]]
    assert codec.decode(codes, 2, 2).shape == (1, 2, 2)


@pytest.mark.parametrize(("value", "shown"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf")])
def test_values_that_are_not_finite_are_refused_with_their_place(value: float, shown: str) -> None:
    chunks = np.zeros((2, 3, 4))
    chunks[0, 1, 2] = value

    with pytest.raises(TokenizeError, match=rf"^chunk\[0, 1, 2\] is {shown}; must be finite$"):
        Codec().encode(chunks)


def test_chunks_of_another_shape_are_refused() -> None:
    with pytest.raises(TokenizeError, match=r"chunks are \[3, 4\]; must be \[N, H, D\]"):
        Codec().encode(np.zeros((3, 4)))


@pytest.mark.parametrize("code", [-1, 256])
def test_codes_outside_are_refused_with_their_place(code: int) -> None:
    with pytest.raises(TokenizeError, match=rf"codes\[1, 0\] is {code}; must be 0 to 255"):
        Codec().decode(np.array([[3, 4], [code, 4]]), 1, 2)


def test_codes_of_another_length_or_type_are_refused() -> None:
    with pytest.raises(TokenizeError, match=r"row 0 has 3 codes; must be 2 \* 2 = 4"):
        Codec().decode(np.zeros((1, 3), dtype=np.int64), 2, 2)
    with pytest.raises(TokenizeError, match=r"codes are float64 \[1, 4\]; must be integers \[N, L\]"):
        Codec().decode(np.zeros((1, 4)), 2, 2)  # type: ignore[arg-type]


def test_no_chunks_give_no_codes() -> None:
    codec = Codec()

    assert codec.encode(np.zeros((0, 2, 3))).shape == (0, 6)
    assert codec.decode(np.zeros((0, 6), dtype=np.int64), 2, 3).shape == (0, 2, 3)


def test_clipped_values_are_marked() -> None:
    chunks = np.array([[[-1.01, -1.0, 0.0, 1.0, 1.01]]])

    assert Codec().is_clipped(chunks).tolist() == [[[True, False, False, False, True]]]


def test_it_has_no_options() -> None:
    assert Codec.from_dict(Codec().to_dict()) == Codec()
    with pytest.raises(TokenizeError, match="openvla_bins: bins: unexpected"):
        Codec.fit(np.zeros((1, 1, 1)), bins=128)


def test_ids_outside_decode_as_the_original_when_relaxed_and_are_refused_when_strict(
    golden: dict[str, np.ndarray],
) -> None:
    codes = VOCAB_SIZE - 1 - golden["all_ids"][:, None]
    outside = ((codes < 0) | (codes > 255)).sum(axis=1)

    found = Codec().decode_relaxed(codes, 1, 1)

    assert outside.sum() == 1300 - 256
    np.testing.assert_array_equal(found.chunks[:, 0, 0], golden["all_ids_dec"])
    np.testing.assert_array_equal(found.num_repaired, outside)
    with pytest.raises(TokenizeError, match=r"codes\[0, 0\] is 999; must be 0 to 255"):
        Codec().decode(codes, 1, 1)


def test_infinite_values_are_refused_which_the_original_clips(golden: dict[str, np.ndarray]) -> None:
    given_ids = dict(zip(golden["special_in"].tolist(), golden["special_tok"].tolist(), strict=True))

    assert (given_ids[np.inf], given_ids[-np.inf]) == (31744, 31999)
    for value in (np.inf, -np.inf):
        with pytest.raises(TokenizeError, match="must be finite"):
            Codec().encode(np.array([[[value]]]))
