"""The action tokenizer: physical units to ids and back, stored and refused."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from vladata import plugins
from vladata.action_tokenizer import FILE_NAME, IDS_FILE_NAME, ActionTokenizer
from vladata.actions.chunks import ChunkEnd, ChunkRule
from vladata.actions.normalization import Normalization, NormalizationMode, passes_through
from vladata.actions.representation import Representation
from vladata.actions.statistics import gather_statistics
from vladata.documents import canonical_json
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

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(TokenizeError, match=r"action_tokenizer.json is missing"):
            ActionTokenizer.load(tmp_path)
        build(vocabulary=tail).save(tmp_path)
        (tmp_path / IDS_FILE_NAME).unlink()
        with pytest.raises(TokenizeError, match=r"action_token_ids.json is missing"):
            ActionTokenizer.load(tmp_path)


def resign(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a stored tokenizer and give it the digest of its new content."""
    document = json.loads((folder / FILE_NAME).read_text())
    document.pop("digest")
    change(document)
    document["digest"] = hashlib.sha256(canonical_json(document).encode()).hexdigest()
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
