"""fast_safe: nothing is lost, and nothing that is decoded leaves the declared range."""

import json
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vladata.errors import TokenizeError
from vladata.tokenizers import TokenRows
from vladata.tokenizers._dct import Ties, quantized
from vladata.tokenizers.fast import Codec as FastCodec
from vladata.tokenizers.fast_safe import Codec


def motion(num: int, horizon: int, dims: int, seed: int) -> np.ndarray:
    """Smooth chunks in -1 to 1, the last dimension a gripper of 0 to 1."""
    generator = np.random.default_rng(seed)
    steps = generator.normal(0, 2 / (horizon + 1), (num, horizon, dims))
    values = np.clip(generator.uniform(-1, 1, (num, 1, dims)) + np.cumsum(steps, axis=1), -1, 1)
    values[:, :, -1] = generator.integers(0, 2, (num, 1)) * (np.arange(horizon) >= horizon // 2)
    return values


@cache
def codec_of(horizon: int = 10, dims: int = 3, scale: float = 10, vocab_size: int = 600) -> Codec:
    return Codec.fit(motion(80, horizon, dims, seed=0), scale=scale, vocab_size=vocab_size)


def listed(rows: TokenRows) -> list[list[int]]:
    return [rows[k].tolist() for k in range(len(rows))]


def is_inside(codec: Codec, decoded: np.ndarray) -> bool:
    """Whether all values lie in the declared range, rounding included."""
    return bool(((decoded >= codec.low) & (decoded <= codec.high)).all())


class TestRange:
    def test_a_gripper_has_0_to_1_and_joints_have_minus_1_to_1(self) -> None:
        chunks = motion(50, 10, 4, seed=1)
        chunks[:, :, 1] *= 0.5
        chunks[:, :, 2] = chunks[:, :, 0] * 3 + 1

        codec = Codec.fit(chunks)

        assert codec.low == (-1.0, -1.0, chunks[:, :, 2].min(), 0.0)
        assert codec.high == (1.0, 1.0, chunks[:, :, 2].max(), 1.0)

    def test_options_set_it_for_all_dimensions(self) -> None:
        codec = Codec.fit(motion(50, 10, 2, seed=1), low=-1.5, high=2)

        assert (codec.low, codec.high) == ((-1.5, -1.5), (2.0, 2.0))

    @settings(max_examples=40, deadline=None)
    @given(st.integers(1, 100), st.integers(1, 64), st.integers(0, 2**20))
    def test_no_value_of_the_range_is_ever_clipped(self, horizon: int, dims: int, seed: int) -> None:
        """At the horizon of the fit and with the default scale, however wild the values are."""
        dims = min(dims, max(1, 600 // horizon))
        codec = Codec.fit(motion(5, horizon, dims, seed=0))
        generator = np.random.default_rng(seed)
        chunks = np.concatenate(
            [
                generator.uniform(codec.low, codec.high, (3, horizon, dims)),
                np.where(generator.random((3, horizon, dims)) < 0.5, codec.low, codec.high),
                np.broadcast_to(
                    np.where(generator.random((3, 1, dims)) < 0.5, codec.low, codec.high), (3, horizon, dims)
                ),
            ]
        )

        decoded = codec.decode(codec.encode(chunks), horizon, dims)

        assert not codec.is_clipped(chunks).any()
        assert (np.abs(decoded - chunks) <= codec.error_bound(chunks)).all()

    def test_coefficients_are_those_seen_where_the_range_has_too_many(self) -> None:
        codec = codec_of(scale=10, vocab_size=100)

        found = quantized(motion(80, 10, 3, seed=0), 10, Ties.TO_EVEN)
        assert (codec.min_coefficient, codec.max_coefficient) == (found.min(), found.max())
        assert codec_of().max_coefficient == 32

    def test_values_are_clipped_to_it_one_by_one(self) -> None:
        codec, chunks = codec_of(), motion(4, 10, 3, seed=2)
        chunks[1, 3, 0], chunks[2, :, 2] = 1e300, -7.0

        is_clipped = codec.is_clipped(chunks)

        assert is_clipped[1].sum() == 1
        assert is_clipped[1, 3, 0]
        assert is_clipped[2].sum() == 10
        near = np.clip(chunks, codec.low, codec.high)
        decoded = codec.decode(codec.encode(chunks), 10, 3)
        assert (np.abs(decoded - near) <= codec.error_bound(chunks)).all()


class TestNothingLeavesTheRange:
    @settings(max_examples=300, deadline=None)
    @given(st.integers(1, 30), st.integers(1, 6), st.data())
    def test_any_codes_give_values_of_the_range_or_an_error(self, horizon: int, dims: int, data: st.DataObject) -> None:
        codec = codec_of(horizon, dims)
        if data.draw(st.booleans(), label="whole"):
            # Any coefficients, as many as there must be.
            single = st.integers(0, codec.max_coefficient - codec.min_coefficient)
            rows = [data.draw(st.lists(single, min_size=horizon * dims, max_size=horizon * dims))]
        else:
            rows = data.draw(
                st.lists(st.lists(st.integers(-2, codec.num_codes + 1), max_size=90), min_size=1, max_size=3)
            )

        for decode in (codec.decode, lambda *a: codec.decode_relaxed(*a).chunks):
            try:
                decoded = decode(rows, horizon, dims)
            except TokenizeError as error:
                assert str(error).startswith(("row ", "codes["))  # noqa: PT017
            else:
                assert decoded.shape == (len(rows), horizon, dims)
                assert is_inside(codec, decoded)

    @settings(max_examples=150, deadline=None)
    @given(
        st.integers(1, 12),
        st.integers(1, 100),
        st.integers(0, 2**20),
        st.sampled_from([1.0, 5.0, 1e6, 1e300]),
        st.sampled_from([40, 100]),
    )
    def test_whatever_is_encoded_decodes_strictly(
        self, fitted: int, horizon: int, seed: int, size: float, vocab_size: int
    ) -> None:
        """Also at another horizon than that of the fit, where coefficients are clipped."""
        codec = codec_of(fitted, 2, scale=5, vocab_size=vocab_size)
        chunks = np.random.default_rng(seed).normal(0, size, (4, horizon, 2))
        chunks[1:3] = np.cumsum(np.clip(chunks[1:3], -0.2, 0.2), axis=1)

        try:
            codes = codec.encode(chunks)
        except TokenizeError as error:
            assert horizon > fitted
            assert "can't express values" in str(error)  # noqa: PT017
            return
        decoded = codec.decode(codes, horizon, 2)

        assert is_inside(codec, decoded)
        error, bound = np.abs(decoded - chunks), codec.error_bound(chunks)
        assert (error <= bound)[~codec.is_clipped(chunks)].all()

    def test_clipped_coefficients_are_drawn_towards_the_middle(self) -> None:
        """Values of 1 at 64 steps need coefficient 80; 32 is the highest one of 10 steps."""
        codec = codec_of()
        chunks = np.ones((1, 64, 3))
        chunks[0, :, 1] = np.where(np.arange(64) < 32, 1.0, -1.0)

        decoded = codec.decode(codec.encode(chunks), 64, 3)

        assert codec.is_clipped(chunks).all(axis=1).tolist() == [[True, True, True]]
        assert decoded[0, 0, 0] == pytest.approx(32 / 10 / 8)
        assert (decoded[0, :32, 1] > -0.2).all()

    def test_a_horizon_that_can_express_no_value_of_the_range_is_refused(self) -> None:
        codec = Codec.fit(np.full((5, 4, 1), 5.0) + np.linspace(0, 1, 20).reshape(5, 4, 1), vocab_size=500)

        with pytest.raises(TokenizeError, match=r"chunks have 60 steps; coefficients .* can't express values 5 to 6"):
            codec.encode(np.full((1, 60, 1), 5.5))

    def test_coefficients_that_add_up_beyond_it_are_refused_or_clipped_and_counted(self) -> None:
        codec = codec_of()
        high = codec.max_coefficient - codec.min_coefficient
        zero = -codec.min_coefficient
        row = [high, zero, zero, high, *[zero] * 26]

        with pytest.raises(
            TokenizeError, match=r"^row 1 decodes to 2\.\d+ at step 0, dimension 0; must be -1\.\d+ to 1"
        ):
            codec.decode([[zero] * 30, row], 10, 3)
        found = codec.decode_relaxed([[zero] * 30, row], 10, 3)
        assert found.num_repaired.tolist() == [0, 0]
        assert found.num_clipped[0] == 0
        assert found.num_clipped[1] > 3
        assert found.chunks.max() == codec.high[0]


class TestCodes:
    def test_all_codes_are_used_or_stand_for_a_coefficient(self) -> None:
        codec = Codec.fit(motion(30, 3, 2, seed=1), vocab_size=5000)
        tokens = json.loads(codec.tokenizer_json)["model"]

        assert codec.num_codes == len(tokens["vocab"]) < 5000
        assert codec.num_codes == codec.max_coefficient - codec.min_coefficient + 1 + len(tokens["merges"])

    def test_chunks_cost_fewer_codes_than_with_words_of_bytes(self) -> None:
        """F5: at 10 steps zero is near the blank, where words are cut."""
        train, chunks = motion(600, 10, 7, seed=1), motion(200, 10, 7, seed=2)
        train[0, :, 0], chunks = -1.0, np.clip(chunks, -0.98, 1)

        words = FastCodec.fit(train).encode(chunks).lengths.mean()

        assert Codec.fit(train).encode(chunks).lengths.mean() < words

    def test_what_is_wrong_with_codes_is_said(self) -> None:
        codec = codec_of()
        zero = -codec.min_coefficient

        with pytest.raises(
            TokenizeError, match=r"^row 1 has 2 codes, which stand for 2 coefficients; must be 10 \* 3 = 30"
        ):
            codec.decode([[zero] * 30, [zero] * 2], 10, 3)
        with pytest.raises(TokenizeError, match=rf"^codes\[0, 1\] is 600; must be 0 to {codec.num_codes - 1}$"):
            codec.decode([[zero, 600]], 10, 3)
        with pytest.raises(TokenizeError, match="ranges of 3 dimensions; the chunks have 2"):
            codec.decode([[zero] * 20], 10, 2)
        with pytest.raises(TokenizeError, match="ranges of 3 dimensions; the chunks have 2"):
            codec.encode(np.zeros((1, 10, 2)))

    def test_few_and_many_chunks_are_encoded_alike(self) -> None:
        codec, chunks = codec_of(), motion(200, 10, 3, seed=3)

        many = codec.encode(chunks)

        assert listed(many) == [codec.encode(chunks[k : k + 1])[0].tolist() for k in range(200)]
        assert codec._bpe.kernel is not None

    def test_halves_do_not_depend_on_the_machine(self) -> None:
        """Flags at 16 steps: sums of 1/4 times 10, half of them halfway between two integers."""
        chunks = np.random.default_rng(0).integers(0, 2, (200, 16, 1)).astype(float)
        codec = Codec.fit(chunks)

        sums = chunks.sum(axis=1)[:, 0] * 2.5
        starts, table = codec._bpe.symbols
        first = table[starts[codec.encode(chunks).values[codec.encode(chunks).offsets[:-1]]]] + codec.min_coefficient
        np.testing.assert_array_equal(first, np.round(sums))


class TestRefused:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"scale": -1}, "scale is -1; must be more than 0"),
            ({"vocab_size": 0}, "vocab_size is 0; must be a whole number"),
            ({"vocab_size": 20}, r"coefficients go from .* must be at most vocab_size, 20"),
            ({"low": "x"}, "low is x; must be a finite number"),
            ({"high": float("inf")}, "high is inf; must be a finite number"),
            ({"low": 2, "high": 1}, "range of dimension 0 is 2 to 1; must be in order"),
            ({"horizon": 3}, "horizon: unexpected"),
        ],
    )
    def test_wrong_options(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(TokenizeError, match=message):
            Codec.fit(motion(20, 10, 2, seed=0), **options)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"low": [0.0, 0.0]}, "2 low and 3 high"),
            ({"low": [2.0, 0.0, 0.0]}, "range of dimension 0 is 2.0 to 1.0; must be finite and in order"),
            ({"min_coefficient": -31}, "must begin with the symbols of coefficients -31 to 32"),
            ({"max_coefficient": 33}, "must begin with the symbols of coefficients -32 to 33"),
            ({"min_coefficient": 1}, "min_coefficient is 1; must be"),
            ({"scale": 0.0}, "scale is 0.0; must be"),
        ],
    )
    def test_wrong_descriptions(self, change: dict[str, Any], message: str) -> None:
        codec = codec_of()

        with pytest.raises(TokenizeError, match=message):
            Codec.from_dict({**codec.to_dict(), **change}, codec.files())

    def test_a_vocabulary_of_other_things_than_coefficients(self) -> None:
        codec = codec_of()
        document = json.loads(codec.tokenizer_json)
        document["model"]["vocab"]["a"] = len(document["model"]["vocab"])

        with pytest.raises(TokenizeError, match="must have tokens of coefficients alone"):
            Codec.from_dict(codec.to_dict(), {"tokenizer.json": json.dumps(document).encode()})

    def test_values_beyond_any_use(self) -> None:
        with pytest.raises(TokenizeError, match=r"values go up to 1e\+200; must be at most 1e100"):
            Codec.fit(np.full((2, 3, 1), 1e200))
