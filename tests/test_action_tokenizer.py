"""The action tokenizer: physical units to ids and back, stored and refused."""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from vladata import plugins
from vladata.action_tokenizer import FILE_NAME, IDS_FILE_NAME, ActionTokenizer, EmbodimentFacts
from vladata.actions.chunks import ChunkEnd, ChunkRule
from vladata.actions.normalization import Normalization, NormalizationMode, passes_through
from vladata.actions.representation import Representation
from vladata.actions.statistics import gather_statistics
from vladata.canonical import canonical_json
from vladata.embodiment import Signal
from vladata.errors import TokenizeError
from vladata.units import Kind, Mode, RotationConvention, Unit
from vladata.vocabulary import BaseTokenizer, Vocabulary, added_vocabulary, tail_vocabulary, text_vocabulary

SCHEMES = ("openvla_bins", "rt1_bins", "uniform_bins", "quantile_bins", "mu_law_bins", "octo_bins", "bspline")
EULER = RotationConvention.EULER_XYZ


def signal(name: str, mode: Mode | None, convention: RotationConvention = EULER) -> Signal:
    turns = 4 if convention is RotationConvention.QUATERNION_XYZW else 3
    dims = [
        *({"name": n, "kind": Kind.POSITION, "unit": Unit.METRE, "mode": mode} for n in "xy"),
        *(
            {"name": f"r{i}", "kind": Kind.ROTATION, "unit": Unit.ONE if turns == 4 else Unit.RADIAN, "mode": mode}
            for i in range(turns)
        ),
        {"name": "gripper", "kind": Kind.GRIPPER_COMMAND, "unit": Unit.ONE, "mode": mode}
        | {"open_value": 1.0, "closed_value": 0.0},
    ]
    return Signal.model_validate({"name": name, "dimensions": dims, "rotation": convention, "reference_frame": "base"})


def episode(num_steps: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Actions and observations of an arm that wanders: metres, small angles, a gripper that opens and closes."""
    generator = np.random.default_rng(seed)
    state = np.cumsum(generator.normal(0, [0.01, 0.02, 0.01, 0.01, 0.02, 0], (num_steps, 6)), axis=0)
    state[:, 5] = np.repeat(generator.integers(0, 2, num_steps // 10 + 1), 10)[:num_steps]
    return state + generator.normal(0, [0.01, 0.01, 0.02, 0.01, 0.01, 0], (num_steps, 6)), state


def build(
    scheme: str = "openvla_bins",
    target: Mode | None = None,
    mode: NormalizationMode = NormalizationMode.QUANTILE,
    vocabulary: Callable[[int], Vocabulary] | None = None,
    horizon: int = 4,
    convention: RotationConvention = EULER,
) -> ActionTokenizer:
    action, seen = signal("target", Mode.ABSOLUTE, convention), signal("seen", None, convention)
    representation = Representation.build([action], [seen], target)
    rows, state = episode()
    if convention is not EULER:
        unit = np.tile([0.0, 0.0, 0.0, 1.0], (len(rows), 1))
        rows = np.concatenate([rows[:, :2], unit, rows[:, 5:]], axis=1)
        state = np.concatenate([state[:, :2], unit, state[:, 5:]], axis=1)
    chunks, _ = representation.chunk(rows, state, np.ones(len(rows), dtype=bool), ChunkRule(horizon=horizon))
    found = gather_statistics(lambda: [chunks.values[~chunks.is_pad]], representation.names)
    normalization = Normalization.fit(found, mode, [not passes_through(d) for d in action.dimensions])
    codec = plugins.load("tokenizers", scheme).Codec.fit(normalization.apply(chunks.values))
    return ActionTokenizer(
        scheme=scheme,
        representation=representation,
        normalization=normalization,
        codec=codec,
        horizon=horizon,
        rate_hz=10.0,
        vocabulary=None if vocabulary is None else vocabulary(codec.num_codes),
    )


def tail(num_codes: int) -> Vocabulary:
    return tail_vocabulary(num_codes, vocab_size=32000)


def added(num_codes: int) -> Vocabulary:
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "<unk>": 1}, unk_token="<unk>"))
    return added_vocabulary(num_codes, BaseTokenizer(tokenizer.to_str(), "tiny"))


def integers(num_codes: int) -> Vocabulary:
    tokenizer = Tokenizer(models.WordLevel({**{str(i): i for i in range(300)}, "<unk>": 300}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return text_vocabulary(num_codes, BaseTokenizer(tokenizer.to_str(), "numbers"))


class TestCodes:
    @pytest.mark.parametrize("scheme", SCHEMES)
    @pytest.mark.parametrize("target", [None, Mode.DELTA, Mode.CHUNK_RELATIVE])
    def test_actions_come_back_within_the_error_that_is_promised(self, scheme: str, target: Mode | None) -> None:
        tokenizer = build(scheme, target, NormalizationMode.MIN_MAX)
        rows, state = episode()
        chunks, _ = tokenizer.representation.chunk(
            rows, state, np.ones(len(rows), dtype=bool), ChunkRule(horizon=4, chunk_end=ChunkEnd.DROP)
        )

        codes = tokenizer.encode_represented(chunks.values)

        error = np.abs(tokenizer.decode_represented(codes) - chunks.values)
        assert codes.shape == (len(chunks), tokenizer.codec.length(4, 6))
        is_clipped = tokenizer.is_clipped(chunks.values)
        assert (error <= tokenizer.error_bound(chunks.values))[~is_clipped].all()
        assert tokenizer.count_clipped(chunks.values).tolist() == is_clipped.sum(axis=(0, 1)).tolist()
        # The bounds of a spline leave out 1 % on either side; the other codecs reach as far as the values.
        assert is_clipped.mean() < 0.15 if scheme == "bspline" else not is_clipped.any()

    @pytest.mark.parametrize("target", [Mode.DELTA, Mode.CHUNK_RELATIVE])
    def test_the_whole_way_equals_the_way_in_parts(self, target: Mode) -> None:
        tokenizer = build(target=target)
        rows, state = episode(40, seed=1)
        window = np.arange(36)[:, None] + np.arange(4)
        given_state = state[window]
        represented = tokenizer.representation.represent(rows[window], given_state)

        codes = tokenizer.encode(rows[window], given_state)

        np.testing.assert_array_equal(codes, tokenizer.encode_represented(represented))
        decoded = tokenizer.decode(codes, given_state)
        wanted = tokenizer.representation.restore(tokenizer.decode_represented(codes), given_state)
        np.testing.assert_array_equal(decoded, wanted)
        assert np.abs(decoded[..., :2] - rows[window][..., :2]).max() < 0.1

    @settings(max_examples=50)
    @given(st.lists(st.floats(0, 1), min_size=24, max_size=24), st.sampled_from(SCHEMES))
    def test_any_value_of_the_range_comes_back_within_the_error(self, places: list[float], scheme: str) -> None:
        tokenizer = build(scheme)
        low, high = np.array(tokenizer.normalization.low), np.array(tokenizer.normalization.high)
        chunks = np.clip(low + np.array(places).reshape(1, 4, 6) * (high - low), low, high)

        error = np.abs(tokenizer.decode(tokenizer.encode(chunks)) - chunks)

        # Codecs that were fitted may clip what normalization lets through: what they did not see.
        assert (error <= tokenizer.error_bound(chunks))[~tokenizer.is_clipped(chunks)].all()

    def test_a_gripper_passes_through_and_its_error_is_that_of_a_bin(self) -> None:
        tokenizer = build()

        assert tokenizer.normalization.mask == (True,) * 5 + (False,)
        assert tokenizer.error_bound(np.zeros((1, 4, 6)))[0, :, 5] == pytest.approx(1 / 255)
        chunks = np.zeros((1, 4, 6))
        chunks[..., 5] = [[0.0, 1.0, 0.0, 1.0]]
        codes = tokenizer.encode(chunks).reshape(4, 6)[:, 5]
        assert codes.tolist() == [127, 255, 127, 255]
        assert tokenizer.decode(tokenizer.encode(chunks))[0, :, 5] == pytest.approx([0, 254 / 255, 0, 254 / 255])

    def test_clipped_values_are_counted_by_dimension_without_padding(self) -> None:
        tokenizer = build()
        low, high = np.array(tokenizer.normalization.low), np.array(tokenizer.normalization.high)
        chunks = np.tile((low + high) / 2, (2, 4, 1))
        chunks[0, :, 1] = high[1] + 1.0
        chunks[1, 3, 0] = low[0] - 1.0
        chunks[1, 0, 5] = 1.5
        is_pad = np.array([[False] * 4, [False, False, False, True]])

        assert tokenizer.count_clipped(chunks).tolist() == [1, 4, 0, 0, 0, 1]
        assert tokenizer.count_clipped(chunks, is_pad).tolist() == [0, 4, 0, 0, 0, 1]
        assert (tokenizer.encode(chunks).reshape(2, 4, 6)[0, :, 1] == 255).all()

    def test_deviations_beyond_the_codec_are_counted_as_well(self) -> None:
        tokenizer = build(mode=NormalizationMode.MEAN_STD)
        middle = (np.array(tokenizer.normalization.low) + np.array(tokenizer.normalization.high)) / 2
        chunks = np.tile(middle, (1, 4, 1))
        chunks[0, 2, 3] += 1.5 * tokenizer.normalization.scale[3]

        assert tokenizer.count_clipped(chunks).tolist() == [0, 0, 0, 1, 0, 0]


class TestStrictness:
    def test_nan_is_refused_with_its_place(self) -> None:
        chunks = np.zeros((2, 4, 6))
        chunks[0, 1, 2] = np.nan

        with pytest.raises(TokenizeError, match=r"^chunk\[0, 1, 2\] is nan; must be finite$"):
            build().encode(chunks)

    def test_an_observation_that_is_not_finite_is_refused_both_ways(self) -> None:
        tokenizer = build(target=Mode.CHUNK_RELATIVE)
        state = np.zeros((2, 6))
        state[1, 0] = np.nan
        message = r"^the observation that chunk\[1, 0, 0\] is relative to is not finite; must be$"

        with pytest.raises(TokenizeError, match=message):
            tokenizer.encode(np.zeros((2, 4, 6)), state)
        with pytest.raises(TokenizeError, match=message):
            tokenizer.decode(np.zeros((2, 24), dtype=np.int64), state)

    def test_an_observation_that_nothing_is_relative_to_may_be_missing(self) -> None:
        tokenizer = build(target=Mode.CHUNK_RELATIVE)
        state = np.zeros((1, 6))
        state[0, 5] = np.nan

        assert np.isfinite(tokenizer.decode(tokenizer.encode(np.zeros((1, 4, 6)), state), state)).all()

    def test_infinity_is_refused_though_normalization_clips(self) -> None:
        chunks = np.zeros((1, 4, 6))
        chunks[0, 3, 0] = np.inf

        with pytest.raises(TokenizeError, match=r"^chunk\[0, 3, 0\] is inf; must be finite$"):
            build().encode(chunks)

    def test_a_code_or_id_that_is_none_is_refused_with_its_place(self) -> None:
        tokenizer = build(vocabulary=tail)
        codes = np.zeros((2, 24), dtype=np.int64)
        ids = tokenizer.to_ids(codes).values.reshape(2, 24).copy()
        codes[1, 7], ids[1, 7] = 256, 2

        with pytest.raises(TokenizeError, match=r"codes\[1, 7\] is 256; must be 0 to 255"):
            tokenizer.decode(codes)
        with pytest.raises(TokenizeError, match=r"ids\[1, 7\] is 2; must be the id of an action code"):
            tokenizer.from_ids(ids)
        with pytest.raises(TokenizeError, match=r"row 0 of the ids holds 23 codes; must hold 24"):
            tokenizer.from_ids(ids[:1, :23])

    def test_chunks_of_another_shape_are_refused(self) -> None:
        with pytest.raises(TokenizeError, match=r"chunks are \[1, 5, 6\]; must be \[N, 4, 6\]"):
            build().encode(np.zeros((1, 5, 6)))

    def test_ids_without_a_vocabulary_are_refused(self) -> None:
        with pytest.raises(TokenizeError, match="the tokenizer has no vocabulary"):
            build().to_ids(np.zeros((1, 24), dtype=np.int64))

    def test_parts_that_do_not_fit_are_refused(self) -> None:
        whole = build()
        state = whole.to_dict()

        with pytest.raises(TokenizeError, match="the vocabulary has 128 codes; the codec has 256"):
            ActionTokenizer.from_dict(state, tail(128))
        with pytest.raises(TokenizeError, match="the normalization has 6 dimensions; the representation has 5"):
            representation = {"dimensions": whole.representation.to_dict()["dimensions"][:5]}  # type: ignore[index]
            ActionTokenizer.from_dict({**state, "representation": representation})
        changes: list[tuple[dict[str, object], str]] = [
            ({"scheme": "pickle"}, "scheme is unknown: no tokenizers plugin named 'pickle'"),
            ({"scheme": "_base"}, "scheme is unknown"),
            ({"chunk_end": "wrap"}, "chunk_end is 'wrap'; must be pad or drop"),
            ({"horizon": 0}, "horizon is 0; must be 1 to 4096"),
            ({"rate_hz": -1.0}, r"rate is -1.0 Hz; must be positive"),
            ({"codec": None}, "codec is missing; must be an object"),
            ({"codec": {"bins": 3}}, "openvla_bins: bins: unexpected"),
        ]
        for change, message in changes:
            with pytest.raises(TokenizeError, match=message):
                ActionTokenizer.from_dict({**state, **change})


class TestStored:
    @pytest.mark.parametrize("scheme", SCHEMES)
    @pytest.mark.parametrize("target", [None, Mode.DELTA, Mode.CHUNK_RELATIVE])
    @pytest.mark.parametrize("vocabulary", [None, tail, added, integers])
    def test_a_tokenizer_comes_back_whole(
        self, tmp_path: Path, scheme: str, target: Mode | None, vocabulary: Callable[[int], Vocabulary] | None
    ) -> None:
        tokenizer = build(scheme, target, vocabulary=vocabulary)

        files = tokenizer.save(tmp_path)

        assert ActionTokenizer.load(tmp_path) == tokenizer
        assert [f.name for f in files] == ([] if vocabulary is None else [IDS_FILE_NAME]) + [FILE_NAME]

    def test_quaternions_come_back_whole(self, tmp_path: Path) -> None:
        tokenizer = build(target=Mode.CHUNK_RELATIVE, convention=RotationConvention.QUATERNION_XYZW)

        tokenizer.save(tmp_path)

        assert ActionTokenizer.load(tmp_path) == tokenizer

    def test_saving_twice_gives_the_same_bytes(self, tmp_path: Path) -> None:
        first, second = tmp_path / "first", tmp_path / "second"

        build(target=Mode.DELTA, vocabulary=added).save(first)
        ActionTokenizer.load(first).save(second)

        for file in first.iterdir():
            assert (second / file.name).read_bytes() == file.read_bytes()
        assert sorted(p.name for p in second.iterdir()) == [IDS_FILE_NAME, FILE_NAME]

    def test_files_of_the_tokenizer_before_go(self, tmp_path: Path) -> None:
        """Otherwise transformers would load a vocabulary that is none any more."""
        (tmp_path / "mine.json").write_text("{}")
        build("fast", vocabulary=tail).save(tmp_path)
        build("uniform_bins").save(tmp_path)

        assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == [FILE_NAME, "mine.json"]
        assert ActionTokenizer.load(tmp_path).scheme == "uniform_bins"

    @pytest.mark.parametrize("chunks", ["x", [[1.0], [2.0, 3.0]], [[["a"] * 6] * 4]])
    def test_chunks_that_are_no_numbers_are_refused(self, chunks: Any) -> None:
        with pytest.raises(TokenizeError, match=r"^chunks are no array of numbers; must be \[N, H, D\]$"):
            build().encode(chunks)

    def test_the_file_describes_itself(self, tmp_path: Path) -> None:
        tokenizer = build(target=Mode.CHUNK_RELATIVE, vocabulary=tail)
        tokenizer.save(tmp_path)

        stored = json.loads((tmp_path / FILE_NAME).read_text())

        assert stored["scheme"] == "openvla_bins"
        assert (stored["horizon"], stored["rate_hz"], stored["chunk_end"], stored["num_codes"]) == (4, 10.0, "pad", 256)
        x, gripper = stored["representation"]["dimensions"][0], stored["representation"]["dimensions"][-1]
        assert (x["name"], x["unit"], x["recorded_mode"], x["mode"]) == ("target.x", "m", "absolute", "chunk_relative")
        assert (x["reference"], x["reference_frame"]) == ("seen.x", "base")
        assert (gripper["mode"], gripper["open_value"], gripper["closed_value"]) == ("absolute", 1.0, 0.0)
        assert stored["normalization"]["mask"] == [True] * 5 + [False]
        assert stored["vocabulary"]["sha256"] == hashlib.sha256((tmp_path / IDS_FILE_NAME).read_bytes()).hexdigest()
        assert stored["digest"] == tokenizer.digest
        ids = json.loads((tmp_path / IDS_FILE_NAME).read_text())
        assert ids["lm_ids"][:2] == [31999, 31998]

    def test_test_vectors_hold_values_outside_the_range(self, tmp_path: Path) -> None:
        tokenizer = build()
        tokenizer.save(tmp_path)

        vectors = json.loads((tmp_path / FILE_NAME).read_text())["test_vectors"]

        assert (tokenizer.count_clipped(np.array(vectors["chunks"])) > 5).all()
        codes = np.array(vectors["codes"])
        assert {0, 255} <= set(codes.ravel().tolist())
        assert len(set(codes.ravel().tolist())) > 100

    @pytest.mark.parametrize("name", [FILE_NAME, IDS_FILE_NAME])
    def test_an_altered_file_is_refused(self, tmp_path: Path, name: str) -> None:
        build(vocabulary=tail).save(tmp_path)
        text = (tmp_path / name).read_text()
        (tmp_path / name).write_text(
            text.replace("31999", "31990", 1) if "ids" in name else text.replace("10.0", "20.0")
        )

        with pytest.raises(TokenizeError, match=rf"{name} was altered: its digest does not fit its content"):
            ActionTokenizer.load(tmp_path)

    @pytest.mark.parametrize(
        ("part", "message"),
        [
            ("codes", r"a test vector gives another code at codes\[2, 3\]; this machine encodes differently"),
            ("decoded", r"a test vector decodes differently at \[0, 1, 2\]; this machine decodes differently"),
            ("ids", "a test vector gives other ids"),
        ],
    )
    def test_a_test_vector_that_comes_out_differently_is_refused(self, tmp_path: Path, part: str, message: str) -> None:
        build(vocabulary=tail).save(tmp_path)

        def change(vectors: dict[str, Any]) -> None:
            if part == "decoded":
                vectors[part][0][1][2] += 1e-6
            else:
                vectors[part][2][3] ^= 1

        resign(tmp_path, lambda document: change(document["test_vectors"]))
        with pytest.raises(TokenizeError, match=message):
            ActionTokenizer.load(tmp_path)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda d: d.pop("test_vectors"), "test_vectors are missing"),
            (lambda d: d["test_vectors"].update(codes=[["a"]]), r"test_vectors.codes must hold rows of integers"),
            (lambda d: d["test_vectors"].update(chunks=[[1], [1, 2]]), r"test_vectors.chunks must be an array"),
            (lambda d: d.update(format_version=2), "format is 'vladata action tokenizer 2'; must be"),
            (lambda d: d["normalization"].update(low=d["normalization"]["high"]), "must be finite, the first less"),
        ],
    )
    def test_a_file_that_is_wrong_though_signed_is_refused(
        self, tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
    ) -> None:
        build().save(tmp_path)
        resign(tmp_path, change)

        with pytest.raises(TokenizeError, match=message):
            ActionTokenizer.load(tmp_path)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"{", "is not JSON"),
            (b'{"format": NaN}', "is not JSON"),
            (b'{"format": 1e999}', "is not JSON"),
            (b"[" * 100_000, "is not JSON"),
            (b"[]", "must hold an object"),
            (b"\xff", "is not UTF-8"),
            (b"{}", "format is 'None None'"),
        ],
    )
    def test_a_file_that_is_none_is_refused(self, tmp_path: Path, content: bytes, message: str) -> None:
        (tmp_path / FILE_NAME).write_bytes(content)

        with pytest.raises(TokenizeError, match=message):
            ActionTokenizer.load(tmp_path)

    def test_the_digest_does_not_change_with_the_packages_that_wrote_it(self, tmp_path: Path) -> None:
        tokenizer = build()
        tokenizer.save(tmp_path)
        document = json.loads((tmp_path / FILE_NAME).read_text())
        assert document["created_with"]["numpy"] == np.__version__

        document["created_with"] = {"vladata": "9.9"}
        (tmp_path / FILE_NAME).write_text(json.dumps(document))

        assert ActionTokenizer.load(tmp_path).digest == document["digest"] == tokenizer.digest

    def test_it_says_whom_it_belongs_to_and_what_decoding_does(self, tmp_path: Path) -> None:
        facts = EmbodimentFacts(name="arm", version=2, digest="ab" * 32)
        tokenizer = dataclasses.replace(build(), embodiment=facts)

        tokenizer.save(tmp_path)

        stored = json.loads((tmp_path / FILE_NAME).read_text())
        assert stored["embodiment"] == {"name": "arm", "version": 2, "digest": "ab" * 32}
        assert stored["decoder"] == {"default": "strict", "on_error": "raise", "clips": False}
        assert stored["codes_per_chunk"] == 24
        assert ActionTokenizer.load(tmp_path).embodiment == facts
        assert tokenizer.digest != build().digest

    def test_it_is_found_as_text_and_inside_of_an_export(self, tmp_path: Path) -> None:
        build().save(tmp_path / "out" / "action_tokenizer")

        for path in (tmp_path / "out", str(tmp_path / "out"), str(tmp_path / "out" / "action_tokenizer")):
            assert ActionTokenizer.load(path) == build()

    def test_numbers_that_are_whole_are_stored_like_others(self, tmp_path: Path) -> None:
        whole = dataclasses.replace(build(), rate_hz=10)
        whole.save(tmp_path / "whole")
        build().save(tmp_path / "other")

        assert (tmp_path / "whole" / FILE_NAME).read_bytes() == (tmp_path / "other" / FILE_NAME).read_bytes()

    def test_a_very_long_chunk_is_stored_within_the_limits(self, tmp_path: Path) -> None:
        long = dataclasses.replace(build(), horizon=4096)
        wide = [f"d{i}" for i in range(64)]
        dims = [{"name": n, "kind": Kind.OTHER, "unit": Unit.ONE, "mode": Mode.ABSOLUTE} for n in wide]
        action = Signal.model_validate({"name": "target", "dimensions": dims})
        ends = np.stack([np.full(64, -1 / 3), np.full(64, 2 / 3)])
        huge = dataclasses.replace(
            build(),
            horizon=1100,
            representation=Representation.build([action], []),
            normalization=Normalization.fit(gather_statistics(lambda: [ends], wide), NormalizationMode.MIN_MAX),
        )

        for tokenizer, count in ((long, 3), (huge, 1)):
            tokenizer.save(tmp_path)
            assert len(json.loads((tmp_path / FILE_NAME).read_text())["test_vectors"]["chunks"]) == count
            assert ActionTokenizer.load(tmp_path) == tokenizer

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(TokenizeError, match=r"action_tokenizer.json is missing"):
            ActionTokenizer.load(tmp_path)
        build(vocabulary=tail).save(tmp_path)
        (tmp_path / IDS_FILE_NAME).unlink()
        with pytest.raises(TokenizeError, match=r"action_token_ids.json is missing"):
            ActionTokenizer.load(tmp_path)


class TestHostile:
    """A bundle of a stranger: an error of one line, and nothing else."""

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda d: d.update(horizon=10**9), "horizon is 1000000000; must be 1 to 4096"),
            (lambda d: d.update(horizon=10**400), "horizon: a whole number beyond 64 bits"),
            (lambda d: d.update(horizon="4"), "action_tokenizer: horizon: '4'; must be a whole number"),
            (lambda d: d.update(horizon=True), "action_tokenizer: horizon: true; must be a whole number"),
            (lambda d: d.update(rate_hz="10"), "action_tokenizer: rate_hz: '10'; must be a number"),
            (lambda d: d.update(rate_hz=10**400), "rate_hz: a whole number beyond 64 bits"),
            (lambda d: d.update(chunk_end=["pad"]), "action_tokenizer: chunk_end: a list of 1; must be text"),
            (lambda d: d.update(num_codes=255), "num_codes is not that of the tokenizer that it describes"),
            (lambda d: d.update(codes_per_chunk=None), "codes_per_chunk is not that of the tokenizer"),
            (lambda d: d.update(decoder={"default": "relaxed"}), "decoder is not that of the tokenizer"),
            (lambda d: d.update(vocabulary={}), "action_token_ids.json"),
            (lambda d: d.update(embodiment="arm"), "embodiment: 'arm'; must be an object"),
            (lambda d: d.update(embodiment={"name": "arm"}), "embodiment.version: missing"),
            (lambda d: d.update({"ac\x1b[31mtion\n": 1}), "action_tokenizer.json: action : unexpected"),
            (lambda d: d.update(scheme="../../x"), "scheme is unknown"),
            (lambda d: d.update(codec_files={"../x.json": ""}), "must be a plain path inside the folder"),
            (lambda d: d.update(codec_files={"/etc/x.json": ""}), "must be a plain path inside the folder"),
            (lambda d: d.update(codec_files={"tokenizer.json": ""}), "tokenizer.json is missing in"),
            (lambda d: d.update(codec_files={f"f{i}.json": "" for i in range(99)}), "99 codec_files; must be at most"),
            (lambda d: d["test_vectors"].update(chunks=[[[1e308] * 6] * 4]), "test vector"),
            (lambda d: d["test_vectors"].update(chunks=[[[True] * 6] * 4]), "must hold numbers"),
            (lambda d: d["test_vectors"].update(chunks=[[[10**30] * 6] * 4]), "must hold numbers"),
            (lambda d: d["test_vectors"].update(codes=[[10**30]]), "rows of integers"),
            (lambda d: d["test_vectors"].update(codes=[[[1], [1, 2]]]), "rows of integers"),
            (lambda d: d["test_vectors"].update(decoded=[]), "test_vectors.decoded"),
            (lambda d: d["test_vectors"].update(state=[]), "test_vectors.state is given; must be null"),
            (lambda d: d["test_vectors"].update(num_clipped=[1]), "clipped differently"),
            (lambda d: d["normalization"].update(low=[-1e308] * 6, high=[1e308] * 6), "must be finite"),
            (lambda d: d["representation"]["dimensions"][0].update(unit="mile"), "dimensions.0.unit: 'mile'; must be"),
        ],
    )
    def test_what_is_wrong_is_one_line(
        self, tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
    ) -> None:
        build().save(tmp_path)
        resign(tmp_path, change)

        with pytest.raises(TokenizeError, match=re.escape(message)) as caught:
            ActionTokenizer.load(tmp_path)
        assert len(str(caught.value).splitlines()) == 1
        assert len(str(caught.value)) < 1000

    @pytest.mark.parametrize("name", [FILE_NAME, IDS_FILE_NAME])
    def test_links_out_of_the_folder_are_refused(self, tmp_path: Path, name: str) -> None:
        folder = tmp_path / "bundle"
        build(vocabulary=tail).save(folder)
        (folder / name).rename(tmp_path / "elsewhere.json")
        (folder / name).symlink_to(tmp_path / "elsewhere.json")

        with pytest.raises(TokenizeError, match=rf"^{name} is a link out of its folder; must be a file in "):
            ActionTokenizer.load(folder)

    def test_links_of_the_hub_s_cache_lead_to_its_own_blobs(self, tmp_path: Path) -> None:
        snapshot, blobs = tmp_path / "datasets--me--it" / "snapshots" / "abc", tmp_path / "datasets--me--it" / "blobs"
        blobs.mkdir(parents=True)
        for file in build(vocabulary=tail).save(snapshot / "action_tokenizer"):
            file.rename(blobs / file.name)
            file.symlink_to(Path("../../../blobs") / file.name)

        assert ActionTokenizer.load(snapshot) == build(vocabulary=tail)

    def test_what_is_no_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "folder" / FILE_NAME).mkdir(parents=True)
        os.mkfifo(tmp_path / FILE_NAME)

        for folder in (tmp_path, tmp_path / "folder"):
            with pytest.raises(TokenizeError, match=rf"^{FILE_NAME} in .* is no file; must be one$"):
                ActionTokenizer.load(folder)

    def test_files_that_are_too_large_are_not_parsed(self, tmp_path: Path) -> None:
        with (tmp_path / FILE_NAME).open("wb") as file:
            file.truncate(1 << 40)  # a hole: takes no room
        with pytest.raises(TokenizeError, match=r"has 1,099,511,627,776 bytes; must have at most 33,554,432"):
            ActionTokenizer.load(tmp_path)
        (tmp_path / FILE_NAME).write_text('{"a": [' + "[]," * 5_000_000 + "[]]}")
        with pytest.raises(TokenizeError, match=r"holds 10,000,003 values; must hold at most 4,000,000"):
            ActionTokenizer.load(tmp_path)

    def test_a_codec_s_file_that_is_altered_missing_or_too_large_is_refused(self, tmp_path: Path) -> None:
        chunks = np.clip(np.random.default_rng(0).normal(0, 0.3, (200, 4, 6)), -1, 1)
        codec = plugins.load("tokenizers", "fast").Codec.fit(chunks)
        dataclasses.replace(build(), scheme="fast", codec=codec).save(tmp_path)
        file = tmp_path / "bpe_tokenizer" / "tokenizer.json"
        whole = file.read_bytes()
        ActionTokenizer.load(tmp_path)

        file.write_bytes(whole + b" ")
        with pytest.raises(TokenizeError, match=r"^bpe_tokenizer/tokenizer.json was altered: its digest does not fit"):
            ActionTokenizer.load(tmp_path)
        resign(tmp_path, lambda d: d["codec_files"].update({"bpe_tokenizer/tokenizer.json": sha256(file)}))
        with pytest.raises(
            TokenizeError, match=r"bpe_tokenizer/tokenizer.json is not tokenizer.json; must be the same"
        ):
            ActionTokenizer.load(tmp_path)
        with file.open("wb") as hole:
            hole.truncate(9 << 20)
        with pytest.raises(
            TokenizeError, match=r"^bpe_tokenizer/tokenizer.json has 9,437,184 bytes; must have at most"
        ):
            ActionTokenizer.load(tmp_path)
        file.unlink()
        with pytest.raises(TokenizeError, match=r"^bpe_tokenizer/tokenizer.json is missing in "):
            ActionTokenizer.load(tmp_path)

    @pytest.mark.parametrize(
        "content",
        ['{"a":' * 50_000, "[" * 900 + "]" * 900, '{"format": "\\ud800"}', '{"format_version": 1' + "0" * 5000 + "}"],
        ids=["cut", "deep", "half a character", "long number"],
    )
    def test_odd_json_is_refused(self, tmp_path: Path, content: str) -> None:
        (tmp_path / FILE_NAME).write_text(content)

        with pytest.raises(TokenizeError, match=FILE_NAME):
            ActionTokenizer.load(tmp_path)

    @pytest.mark.parametrize(
        ("scheme", "target"),
        [*((name, Mode.CHUNK_RELATIVE) for name in plugins.names("tokenizers")), ("openvla_bins", None)],
    )
    def test_no_change_of_a_description_raises_anything_else(
        self, scheme: str, target: Mode | None, tmp_path: Path
    ) -> None:
        build(scheme, target, vocabulary=tail, horizon=2).save(tmp_path)
        whole = json.loads((tmp_path / FILE_NAME).read_text())
        whole["test_vectors"] = {k: v and v[:3] for k, v in whole["test_vectors"].items()}
        places = list(_places(whole, ()))

        @settings(max_examples=50, deadline=None)
        @given(st.lists(st.tuples(st.sampled_from(places), anything), min_size=1, max_size=2))
        def change(changes: list[tuple[tuple[str | int, ...], Any]]) -> None:
            (tmp_path / FILE_NAME).write_text(json.dumps(whole))
            resign(tmp_path, lambda document: [_put(document, place, value) for place, value in changes])
            with contextlib.suppress(TokenizeError):
                ActionTokenizer.load(tmp_path)

        change()

    @settings(max_examples=100, deadline=None)
    @given(st.sampled_from([FILE_NAME, IDS_FILE_NAME]), st.integers(0, 5000), st.binary(max_size=8))
    def test_no_damage_of_a_file_raises_anything_else(self, bundle: Path, name: str, at: int, content: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(bundle, folder, dirs_exist_ok=True)
            file = Path(folder, name)
            whole = file.read_bytes()
            file.write_bytes(whole[:at] + content + whole[at + len(content) :])
            with contextlib.suppress(TokenizeError):
                ActionTokenizer.load(folder)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    build(vocabulary=tail, horizon=2).save(folder)
    return folder


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


GONE = object()
odd = st.sampled_from(["delta", "rotation", "quaternion_xyzw", "1", 0, -1, 1e308, 10**400, [], {}])
anything = st.just(GONE) | st.recursive(
    odd | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)


def _places(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    """All key paths of a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from _places(inner, (*path, key))


def _put(document: Any, place: tuple[str | int, ...], value: Any) -> None:
    """Change one value; places that an earlier change took away are left alone."""
    with contextlib.suppress(TypeError, IndexError, KeyError):
        for key in place[:-1]:
            document = document[key]
        if isinstance(document, dict) is not isinstance(place[-1], str):
            return
        if value is GONE:
            del document[place[-1]]
        else:
            document[place[-1]] = value


def resign(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a stored tokenizer and give it the digest of its new content."""
    document = json.loads((folder / FILE_NAME).read_text())
    change(document)
    covered = {k: v for k, v in document.items() if k not in {"digest", "created_with"}}
    document["digest"] = hashlib.sha256(canonical_json(covered).encode()).hexdigest()
    (folder / FILE_NAME).write_text(json.dumps(document))


def test_the_actions_of_a_real_robot_come_back_within_half_a_bin(shared_data: Path) -> None:
    files = sorted((shared_data / "g1_inspire_lerobot_v21").rglob("*.parquet"))
    actions = [np.stack(pq.read_table(f, columns=["action"])["action"].to_numpy()).astype(np.float64) for f in files]
    dims = actions[0].shape[1]
    action = Signal.model_validate(
        {
            "name": "joints",
            "dimensions": [
                {"name": f"q{i}", "kind": Kind.JOINT_POSITION, "unit": Unit.RADIAN, "mode": Mode.ABSOLUTE}
                for i in range(dims)
            ],
        }
    )
    representation = Representation.build([action], [])
    found = gather_statistics(lambda: actions, representation.names, budget_bytes=1 << 16)
    rows = np.concatenate(actions)
    np.testing.assert_array_equal(found.q01, np.quantile(rows, 0.01, axis=0))
    tokenizer = ActionTokenizer(
        scheme="openvla_bins",
        representation=representation,
        normalization=Normalization.fit(found),
        codec=plugins.load("tokenizers", "openvla_bins").Codec(),
        horizon=8,
        rate_hz=30.0,
    )

    chunks, _ = representation.chunk(actions[0], None, np.ones(len(actions[0]), dtype=bool), ChunkRule(horizon=8))
    decoded = tokenizer.decode(tokenizer.encode(chunks.values))

    low, high = np.array(tokenizer.normalization.low), np.array(tokenizer.normalization.high)
    inside = np.clip(chunks.values, low, high)
    assert (np.abs(decoded - inside) <= tokenizer.error_bound(inside)).all()
    clipped = (inside != chunks.values).sum(axis=(0, 1))
    np.testing.assert_array_equal(tokenizer.count_clipped(chunks.values), clipped)
