"""FAST, equal to its published processor but where that loses something in silence."""

import gzip
import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from benchmarks.fast_reference import FastReference
from vladata.errors import TokenizeError
from vladata.tokenizers import TokenRows
from vladata.tokenizers.fast import Codec

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
FITS = {"a": 1024, "b": 512}


def listed(rows: TokenRows) -> list[list[int]]:
    return [rows[k].tolist() for k in range(len(rows))]


def vectors(folder: Path, name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    with np.load(folder / f"{name}.npz", allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    return arrays, json.loads((folder / f"{name}.json").read_text())


def fitted(name: str) -> Codec:
    return Codec.fit(vectors(GOLDEN, f"fast_fit_{name}")[0]["train"], vocab_size=FITS[name])


def reference_of(codec: Codec) -> FastReference:
    return FastReference(Tokenizer.from_str(codec.tokenizer_json.decode()), codec.scale, codec.min_token)


@pytest.fixture(scope="module")
def plus(shared_golden: Path) -> Codec:
    file = shared_golden / "fast_plus_tokenizer.json.gz"
    if not file.is_file():
        pytest.skip(f"the published vocabulary is not at {file}")
    return Codec.from_tokenizer(gzip.decompress(file.read_bytes()), 10, -354)


class TestFitted:
    @pytest.mark.parametrize("name", FITS)
    def test_the_vocabulary_is_the_same_to_the_byte(self, name: str) -> None:
        codec, meta = fitted(name), vectors(GOLDEN, f"fast_fit_{name}")[1]["meta"]

        assert codec.tokenizer_json == (GOLDEN / f"fast_fit_{name}_tokenizer.json").read_bytes()
        assert (codec.min_token, codec.max_token) == (meta["min_token"], meta["max_token"])
        assert codec.num_codes == meta["vocab_len"]

    @pytest.mark.parametrize("name", FITS)
    def test_codes_and_values_equal_the_original(self, name: str) -> None:
        arrays, facts = vectors(GOLDEN, f"fast_fit_{name}")
        codec = fitted(name)

        codes = codec.encode(arrays["held_out_in"])

        assert listed(codes) == facts["cases"]["held_out"]["tokens"]
        assert not codec.is_clipped(arrays["held_out_in"]).any()
        shape = arrays["held_out_in"].shape[1:]
        np.testing.assert_allclose(codec.decode(codes, *shape), arrays["held_out_dec"], rtol=0, atol=1e-9)

    @pytest.mark.parametrize("name", FITS)
    def test_codes_of_edges_equal_the_original_where_it_loses_nothing(self, name: str) -> None:
        arrays, facts = vectors(GOLDEN, f"fast_fit_{name}")
        codec, chunks = fitted(name), arrays["edge32_in"]
        # The vectors were made in float32, which rounds some halves to the other side.
        is_same = (codec._points(chunks.astype(np.float64))[0] + codec.min_token == arrays["edge32_coef"]).all((1, 2))
        is_kept = ~codec.is_clipped(chunks).any(axis=(1, 2))
        tokens = facts["cases"]["edge32"]["tokens"]

        codes = codec.encode(chunks)
        decoded = codec.decode(codes, *chunks.shape[1:])

        assert (is_same & is_kept).sum() >= 19
        for row in np.flatnonzero(is_same & is_kept).tolist():
            assert codes[row].tolist() == tokens[row]
            np.testing.assert_allclose(decoded[row], arrays["edge32_dec"][row], rtol=0, atol=1e-9)

    @pytest.mark.parametrize("name", FITS)
    def test_values_above_the_range_are_clipped_where_the_original_loses_the_chunk(self, name: str) -> None:
        """The vectors `over` and `big` of edge32: 3.0 and more at all steps, of which the original makes zeros."""
        arrays, facts = vectors(GOLDEN, f"fast_fit_{name}")
        codec, names = fitted(name), facts["cases"]["edge32"]["names"]
        rows = [names.index("over"), names.index("big")]
        chunks = arrays["edge32_in"][rows]

        decoded = codec.decode(codec.encode(chunks), *chunks.shape[1:])

        assert (chunks > 1).all()
        assert (arrays["edge32_dec"][rows] == 0).all()
        assert codec.is_clipped(chunks).all()
        top = codec.max_token / codec.scale / np.sqrt(chunks.shape[1])
        np.testing.assert_allclose(decoded, np.full_like(decoded, top), rtol=0, atol=1e-12)

    @pytest.mark.parametrize("name", FITS)
    def test_values_below_the_range_are_clipped_as_by_the_original(self, name: str) -> None:
        arrays, facts = vectors(GOLDEN, f"fast_fit_{name}")
        codec, names = fitted(name), facts["cases"]["edge32"]["names"]
        rows = [names.index("under"), names.index("neg_big")]
        chunks = arrays["edge32_in"][rows]

        codes = codec.encode(chunks)

        assert listed(codes) == [facts["cases"]["edge32"]["tokens"][k] for k in rows]
        assert codec.is_clipped(chunks).all()

    @pytest.mark.parametrize("name", FITS)
    def test_symbols_that_the_original_loses_are_known(self, name: str) -> None:
        lost = vectors(GOLDEN, f"fast_fit_{name}")[1]["meta"]["lost_code_points"]
        codec = fitted(name)

        survives = codec._bpe.survives

        assert not survives[lost].any()
        assert survives[: codec.max_token - codec.min_token + 1].all()

    def test_a_coefficient_without_symbol_becomes_the_nearest_one(self) -> None:
        """F1: inside of the range, but not seen in the fit. The original decodes it to 65533, without an error."""
        train = np.zeros((50, 1, 1))
        train[:, 0, 0] = np.resize([-10.0, 0.0, 0.1, 5.9], 50)
        codec = Codec.fit(train, scale=10, vocab_size=300)
        reference = reference_of(codec)
        chunks = np.array([[[3.5]], [[5.9]], [[0.0]]])

        spike = reference.decode(reference.encode(chunks[0]), 1, 1)
        decoded = codec.decode(codec.encode(chunks), 1, 1)

        assert spike == pytest.approx((65533 - 100) / 10)
        assert codec.is_clipped(chunks).ravel().tolist() == [True, False, False]
        assert abs(decoded[0, 0, 0] - 3.5) <= 1.0
        np.testing.assert_allclose(decoded[1:], chunks[1:], rtol=0, atol=1e-12)

    def test_a_range_wider_than_the_vocabulary_is_refused(self) -> None:
        with pytest.raises(TokenizeError, match=r"coefficients go from -100 to 100; must .* at most vocab_size, 150"):
            Codec.fit(np.array([[[-10.0]], [[10.0]]]), vocab_size=150)

    @pytest.mark.parametrize("shape", [(0, 4, 3), (2, 0, 3), (2, 4, 0)])
    def test_nothing_to_learn_from_is_refused(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(TokenizeError, match="must be at least one"):
            Codec.fit(np.zeros(shape))


class TestPublished:
    """FAST+, which is another project's and so is read where it lies."""

    def test_codes_and_values_equal_the_original(self, plus: Codec, shared_golden: Path) -> None:
        arrays, facts = vectors(shared_golden, "fast_plus")
        num_same = num_all = 0
        for case, fact in facts["cases"].items():
            if f"{case}_in" not in arrays:
                continue
            chunks, coefficients = arrays[f"{case}_in"], arrays[f"{case}_coef"]
            is_same = (plus._points(chunks.astype(np.float64))[0] - 354 == coefficients).all(axis=(1, 2))
            assert is_same.all() or case in {"smooth_16x8", "edge32_16x8"}, "halves in float32"
            codes = plus.encode(chunks)
            decoded = plus.decode(codes, *chunks.shape[1:])
            for row in np.flatnonzero(is_same).tolist():
                assert codes[row].tolist() == fact["tokens"][row], (case, row)
                np.testing.assert_allclose(decoded[row], arrays[f"{case}_dec"][row], rtol=0, atol=1e-9)
            num_same += int(is_same.sum())
            num_all += len(chunks)
        assert num_same >= num_all - 10

    def test_many_chunks_at_once_are_encoded_alike(self, plus: Codec, shared_golden: Path) -> None:
        chunks = vectors(shared_golden, "fast_plus")[0]["smooth_10x7_in"]

        assert listed(plus.encode(np.concatenate([chunks] * 5))) == listed(plus.encode(chunks)) * 5

    def test_codes_that_the_original_decodes_to_anything_are_refused(self, plus: Codec, shared_golden: Path) -> None:
        bad = {k: v["tokens"] for k, v in vectors(shared_golden, "fast_plus")[1]["cases"]["bad_decodes_10x7"].items()}

        for name, message in {
            "empty": r"row 0 has 0 codes, which stand for 0 coefficients; must be 10 \* 7 = 70",
            "short": r"row 0 has 2 codes, which stand for 3 coefficients; must be 10 \* 7 = 70",
            "long": r"row 0 has 16 codes, which stand for 73 coefficients; must be 10 \* 7 = 70",
            "lone_lead_byte": r"codes\[0, 0\] is 129; with the codes beside it, it must be whole symbols of UTF-8",
            "oob_id": r"codes\[0, 0\] is 5000; must be 0 to 2047",
        }.items():
            with pytest.raises(TokenizeError, match=rf"^{message}$"):
                plus.decode([bad[name]], 10, 7)

        found = plus.decode_relaxed([bad["short"], bad["long"], bad["oob_id"]], 10, 7)
        assert found.num_repaired.tolist() == [67, 3, 1]
        good = plus.decode([bad["oob_id"][1:]], 10, 7)
        np.testing.assert_array_equal(found.chunks[2:], good)
        assert np.abs(good).max() == pytest.approx(1.0206947808879905)
        with pytest.raises(TokenizeError, match="row 0 has no code that stands for a coefficient"):
            plus.decode_relaxed([bad["lone_lead_byte"]], 10, 7)
        with pytest.raises(TokenizeError, match="row 0 has no code that stands for a coefficient"):
            plus.decode_relaxed([bad["empty"]], 10, 7)

    def test_values_up_to_surrogates_survive_and_what_is_beyond_is_clipped(self, plus: Codec) -> None:
        chunks = np.array([[[0xD7FF - 354, 0xD800 - 354, 0xDFFF, 1e9, 1e300, -35.4, -35.5]]]) / 10
        chunks[0, 0, 5:] *= 10

        decoded = plus.decode(plus.encode(chunks), 1, 7)

        assert plus.is_clipped(chunks)[0, 0].tolist() == [False, True, True, True, True, False, True]
        top = (0xD7FF - 354) / 10
        np.testing.assert_allclose(decoded[0, 0], [top, top, top, top, top, -35.4, -35.4], rtol=0, atol=1e-9)

    def test_blanks_are_kept_that_the_original_would_clean_away(self, plus: Codec) -> None:
        """With its setting clean_up_tokenization_spaces, " ." becomes ".": a coefficient of -322 is gone."""
        values = np.array([[[(32 - 354) / 10], [(46 - 354) / 10]]]) * np.ones((1, 2, 1))
        chunks = np.stack([values[0, 0] + values[0, 1], values[0, 0] - values[0, 1]])[None] / np.sqrt(2)

        assert plus.is_clipped(chunks).sum() == 0
        np.testing.assert_allclose(plus.decode(plus.encode(chunks), 2, 1), chunks, rtol=0, atol=0.1)


class TestDecoding:
    def test_a_coefficient_out_of_range_is_refused_with_its_place(self) -> None:
        codec = fitted("a")
        vocab = json.loads(codec.tokenizer_json)["model"]["vocab"]
        good = codec.encode(np.zeros((1, 10, 7)))[0].tolist()
        # 101 was reserved for nothing: a letter of the alphabet above the range.
        other = Codec(scale=10.0, min_token=-32, max_token=20, tokenizer_json=codec.tokenizer_json)
        high = vocab[chr(32 + 25)]

        with pytest.raises(TokenizeError, match=rf"codes\[0, 1\] is {high} and stands for coefficient 25; must be -32"):
            other.decode([[good[0], high, *good[1:]]], 10, 7)
        found = other.decode_relaxed([[high, *good]], 10, 7)
        assert found.num_repaired.tolist() == [2]
        np.testing.assert_array_equal(found.chunks, np.zeros((1, 10, 7)))

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.lists(st.integers(-2, 520), max_size=90), min_size=1, max_size=3))
    def test_any_codes_give_values_or_say_why_not(self, rows: list[list[int]]) -> None:
        codec = fitted_b()
        limit = np.sqrt(20 * 2) * 45 / 10

        for decode in (codec.decode, lambda *a: codec.decode_relaxed(*a).chunks):
            try:
                decoded = decode(rows, 20, 14)
            except TokenizeError as error:
                assert str(error).startswith(("row ", "codes["))  # noqa: PT017
            else:
                assert decoded.shape == (len(rows), 20, 14)
                assert np.abs(decoded).max() <= limit

    def test_what_is_missing_becomes_zero_and_is_counted(self) -> None:
        codec = fitted("a")
        chunk = vectors(GOLDEN, "fast_fit_a")[0]["held_out_in"][:1]
        codes = codec.encode(chunk)[0].tolist()
        found, whole = codec.decode_relaxed([codes[:3]], 10, 7), codec.decode([codes], 10, 7)

        missing = len(codec._bpe.points(TokenRows.of([codes[3:]]))[0])
        assert found.num_repaired.tolist() == [missing]
        assert 0.1 < np.abs(found.chunks - whole).max() < 2

    @pytest.mark.parametrize("shape", [(0, 3), (4097, 1), (3, 0), (-1, 1)])
    def test_chunks_of_no_shape_are_refused(self, shape: tuple[int, int]) -> None:
        for decode in (fitted("a").decode, fitted("a").decode_relaxed):
            with pytest.raises(TokenizeError, match=r"must be 1 to 4096 steps"):
                decode([[1]], *shape)


_kept: list[Codec] = []


def fitted_b() -> Codec:
    if not _kept:
        _kept.append(fitted("b"))
    return _kept[0]


class TestFiles:
    def test_the_folder_is_read_back(self, tmp_path: Path) -> None:
        codec = fitted("a")
        self.write(codec, tmp_path)

        for path in (tmp_path, tmp_path / "tokenizer.json", tmp_path / "bpe_tokenizer"):
            assert Codec.fit(np.zeros((1, 10, 7)), tokenizer=str(path)) == Codec.from_tokenizer(
                codec.tokenizer_json, 10, -32
            )
        (tmp_path / "tokenizer.json").unlink()
        assert Codec.fit(np.zeros((1, 10, 7)), tokenizer=str(tmp_path)).num_codes == 544

    @staticmethod
    def write(codec: Codec, folder: Path) -> None:
        for name, content in codec.files().items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)

    def test_settings_are_options_where_no_file_says_them(self, tmp_path: Path) -> None:
        codec = fitted("a")
        file = tmp_path / "tokenizer.json"
        file.write_bytes(codec.tokenizer_json)

        assert Codec.fit(np.zeros((1, 1, 1)), tokenizer=str(file), scale=20, min_token=-5).scale == 20.0
        with pytest.raises(TokenizeError, match="min_token is missing"):
            Codec.fit(np.zeros((1, 1, 1)), tokenizer=str(file), scale=20)
        (tmp_path / "processor_config.json").write_text('{"scale": 10, "min_token": -32, "vocab_size": 544}')
        with pytest.raises(TokenizeError, match=r"scale is 20; processor_config\.json says 10"):
            Codec.fit(np.zeros((1, 1, 1)), tokenizer=str(file), scale=20)
        (tmp_path / "processor_config.json").write_text("{")
        with pytest.raises(TokenizeError, match=r"processor_config\.json is not JSON"):
            Codec.fit(np.zeros((1, 1, 1)), tokenizer=str(file))
        with pytest.raises(TokenizeError, match="is missing"):
            Codec.fit(np.zeros((1, 1, 1)), tokenizer=str(tmp_path / "none"))

    def test_files_that_differ_are_refused(self) -> None:
        codec = fitted("a")
        files = {**codec.files(), "bpe_tokenizer/tokenizer.json": b"{}"}

        with pytest.raises(TokenizeError, match=r"bpe_tokenizer/tokenizer\.json is not tokenizer\.json"):
            Codec.from_dict(codec.to_dict(), files)
        with pytest.raises(TokenizeError, match=r"tokenizer\.json is missing"):
            Codec.from_dict(codec.to_dict(), {})

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"scale": 0}, "scale is 0; must be more than 0"),
            ({"scale": "10"}, "scale is 10; must be more than 0"),
            ({"scale": float("nan")}, "scale is nan; must be"),
            ({"vocab_size": 2.5}, "vocab_size is 2.5; must be a whole number"),
            ({"min_token": 3}, "min_token is an option of an existing tokenizer"),
            ({"tokenizer": "x", "vocab_size": 3}, "vocab_size: unexpected option"),
        ],
    )
    def test_wrong_options_are_refused(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(TokenizeError, match=message):
            Codec.fit(np.zeros((2, 2, 2)), **options)

    def test_the_folder_loads_in_transformers(self, tmp_path: Path) -> None:
        """Run with 4.57.1 and 5.5.4, whose folders differ; it is no dependency, so that this is mostly skipped."""
        if importlib.util.find_spec("transformers") is None:
            pytest.skip("transformers is not installed")
        from transformers import PreTrainedTokenizerFast, ProcessorMixin

        class UniversalActionProcessor(ProcessorMixin):  # type: ignore[misc]
            attributes = ["bpe_tokenizer"]
            bpe_tokenizer_class = "AutoTokenizer"

            def __init__(self, bpe_tokenizer: Any = None, scale: float = 10, min_token: int = 0, **_: Any) -> None:
                self.scale, self.min_token = scale, min_token
                super().__init__(bpe_tokenizer)

        codec, arrays = fitted("a"), vectors(GOLDEN, "fast_fit_a")[0]
        self.write(codec, tmp_path)
        processor = UniversalActionProcessor.from_pretrained(tmp_path)
        assert (processor.scale, processor.min_token) == (10, -32)
        codes = listed(codec.encode(arrays["held_out_in"][:5]))
        for tokenizer in (
            processor.bpe_tokenizer,
            PreTrainedTokenizerFast.from_pretrained(tmp_path),
            PreTrainedTokenizerFast.from_pretrained(tmp_path / "bpe_tokenizer"),
        ):
            assert len(tokenizer) == codec.num_codes
            for row in codes:
                text = tokenizer.decode(row)
                assert len(text) == 70
                assert tokenizer(text)["input_ids"] == row


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 8), st.integers(0, 2**20), st.sampled_from([3, 10, 25]))
def test_codes_equal_the_reference_where_nothing_is_clipped(horizon: int, dims: int, seed: int, scale: int) -> None:
    generator = np.random.default_rng(seed)
    chunks = np.cumsum(generator.normal(0, 0.1, (160, horizon, dims)), axis=1)
    chunks[:, :, -1] = np.round(np.abs(chunks[:, :, -1])) % 2
    codec = Codec.fit(chunks[:80], scale=scale, vocab_size=2000)
    reference = reference_of(codec)

    codes = codec.encode(chunks)
    decoded = codec.decode(codes, horizon, dims)

    is_kept = ~codec.is_clipped(chunks).any(axis=(1, 2))
    assert is_kept[:80].all()
    for row in np.flatnonzero(is_kept).tolist():
        assert codes[row].tolist() == reference.encode(chunks[row])
        back = reference.decode(codes[row].tolist(), horizon, dims)
        np.testing.assert_allclose(decoded[row], back, rtol=0, atol=1e-9)
