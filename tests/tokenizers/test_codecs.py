"""What every codec must do, whichever there are: a new file in the folder is tested here without being named."""

import dataclasses
import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vladata import plugins
from vladata.errors import PluginNotFoundError, TokenizeError
from vladata.tokenizers import ActionCodec, Codes, TokenRows
from vladata.tokenizers._bins import code_rows

NAMES = plugins.names("tokenizers")
FIXED = ("bspline", "mu_law_bins", "octo_bins", "openvla_bins", "quantile_bins", "rt1_bins", "uniform_bins")
MAX_VALUES = 600
"""Of one chunk in the drawn cases: D up to 64, H up to 100, not both."""
OPTIONS = {
    "bspline": ({"step_dims": "none", "quantile": 0}, {"degree": 0, "num_basis": 7}, {"step_dims": -1, "num_basis": 5}),
    "fast": ({"scale": 40, "vocab_size": 1100},),
    "fast_safe": ({"scale": 40, "vocab_size": 1100}, {"scale": 5, "vocab_size": 400, "low": -2, "high": 2}),
    "mu_law_bins": ({"mu": 25600, "low": -256, "high": 256, "num_codes": 1024}, {"num_codes": 3}),
    "octo_bins": ({"bin_type": "normal"}, {"low": 0, "high": 1}, {"num_codes": 7}),
    "quantile_bins": ({"num_codes": 2}, {"num_codes": 1000}),
    "rt1_bins": ({"low": -2, "high": 3, "num_codes": 1000},),
    "uniform_bins": ({"low": -2, "high": 3, "num_codes": 1000},),
}
VARIANTS = [(name, i) for name in NAMES for i in range(len(OPTIONS.get(name, ())) + 1)]
"""Every codec as it comes, and with other options."""

every_codec = pytest.mark.parametrize("name", NAMES)
every_variant = pytest.mark.parametrize(("name", "variant"), VARIANTS)
few = settings(max_examples=30, deadline=None)


def wander(num: int, horizon: int, dims: int, seed: int) -> np.ndarray:
    """Normalized chunks of a robot: smooth joints, one that never moves, a gripper last."""
    generator = np.random.default_rng(seed)
    steps = generator.normal(0, 0.15, (num, horizon, dims))
    values = np.clip(generator.uniform(-0.9, 0.9, (num, 1, dims)) + np.cumsum(steps, axis=1), -1, 1)
    if dims > 2:
        values[:, :, 0] = 0.25
    if dims > 1:
        values[:, :, -1] = np.round(np.clip(np.cumsum(steps[:, :, -1], axis=1) + 0.5, 0, 1))
    return values


@cache
def codec_of(name: str, horizon: int = 4, dims: int = 3, variant: int = 0) -> ActionCodec:
    options: dict[str, Any] = ({}, *OPTIONS.get(name, ()))[variant]
    codec: ActionCodec = plugins.load("tokenizers", name).Codec.fit(wander(60, horizon, dims, seed=0), **options)
    return codec


def _shapes(count: int) -> list[tuple[int, int]]:
    """H and D: the ends, and some between them; as many as codecs are fitted for, which takes most of the time here."""
    ends = [(1, 1), (1, 64), (100, 1), (100, MAX_VALUES // 100), (MAX_VALUES // 64, 64), (10, 7), (50, 12)]
    draw = np.random.default_rng(0)
    horizons = np.linspace(2, 99, count - len(ends)).round().astype(int).tolist()
    return [*ends, *((h, int(draw.integers(1, 1 + min(64, MAX_VALUES // h)))) for h in horizons)]


shapes = st.sampled_from(_shapes(25))
scales = st.sampled_from([0.0, 1e-300, 1e-6, 0.3, 1.0, 1.5, 40.0, 1e6, 1e30])


@st.composite
def inputs(draw: st.DrawFn) -> np.ndarray:
    """Chunks as a codec may get them: like the fitted ones or far from it, of any type of number."""
    horizon, dims = draw(shapes)
    num, seed = draw(st.integers(1, 4)), draw(st.integers(0, 2**20))
    kind = draw(st.sampled_from(["fitted", "like", "noise", "float32", "int64", "int8"]))
    values = wander(60, horizon, dims, seed=0)[:num] if kind == "fitted" else wander(num, horizon, dims, seed)
    if kind == "int8":
        return np.random.default_rng(seed).integers(-3, 4, values.shape).astype(np.int8)
    if kind == "int64":
        return np.random.default_rng(seed).integers(-(2**40), 2**40, values.shape) >> draw(st.integers(0, 41))
    if kind in {"noise", "float32"}:
        values = np.random.default_rng(seed).normal(0, 1, values.shape) * draw(scales)
    special = draw(st.sampled_from([None, 0.0, -0.0, 1.0, -1.0, 5e-324, np.nextafter(1.0, 0.0), 7.5]))
    if special is not None:
        values[-1, -1, -1] = special
    return values.astype(np.float32) if kind == "float32" else values


def test_the_bins_are_plugins() -> None:
    assert set(FIXED) <= set(NAMES)
    assert not [n for n in NAMES if n.startswith("_")]


def test_a_misspelt_name_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(PluginNotFoundError, match=r"did you mean 'uniform_bins'"):
        plugins.load("tokenizers", "uniform_bin")


class TestRoundTrip:
    @every_variant
    @few
    @given(chunks=inputs())
    def test_values_decode_within_the_bound_where_nothing_is_clipped(
        self, name: str, variant: int, chunks: np.ndarray
    ) -> None:
        num, horizon, dims = chunks.shape
        codec = codec_of(name, horizon, dims, variant)

        codes = codec.encode(chunks)
        decoded = codec.decode(codes, horizon, dims)

        rows = code_rows(codes)
        assert len(rows) == num
        assert rows.values.dtype == np.int64
        assert (rows.values >= 0).all()
        assert (rows.values < codec.num_codes).all()
        assert decoded.dtype == np.float64
        assert decoded.shape == chunks.shape
        wide = chunks.astype(np.float64)
        bound, is_clipped = codec.error_bound(wide), codec.is_clipped(wide)
        assert bound.shape == is_clipped.shape == chunks.shape
        assert np.isfinite(decoded).all()
        assert np.isfinite(bound).all()
        assert is_clipped.dtype == np.bool_
        worst = np.where(is_clipped, 0.0, np.abs(decoded - wide) - bound)
        assert worst.max() <= 0.0

    @every_variant
    @given(shape=shapes, seed=st.integers(0, 2**20))
    @few
    def test_the_bound_says_something(self, name: str, variant: int, shape: tuple[int, int], seed: int) -> None:
        """Chunks like the fitted ones are mostly not clipped, and their bound is no larger than their range."""
        horizon, dims = shape
        codec, chunks = codec_of(name, horizon, dims, variant), wander(8, horizon, dims, seed)
        if name == "octo_bins" and variant == 2:
            chunks = np.abs(chunks)

        assert codec.error_bound(chunks).max() <= {2: 2.0, 3: 2.0, 7: 2.0}.get(codec.num_codes, 4.0)
        if not codec.is_stepwise:
            chunks = wander(60, horizon, dims, seed=0)
        assert codec.is_clipped(chunks).mean() < 0.5

    @every_codec
    def test_lengths_are_as_said(self, name: str) -> None:
        for horizon, dims in [(1, 1), (1, 7), (10, 7), (50, 14), (100, 2)]:
            codec, chunks = codec_of(name, horizon, dims), wander(5, horizon, dims, seed=1)
            length = codec.length(horizon, dims)
            codes = codec.encode(chunks)
            if length is None:
                assert isinstance(codes, TokenRows)
                assert (codes.lengths >= 1).all()
            else:
                assert isinstance(codes, np.ndarray)
                assert codes.shape == (5, length)
                assert length == horizon * dims or not codec.is_stepwise

    @every_codec
    def test_rows_do_not_depend_on_each_other(self, name: str) -> None:
        chunks = np.concatenate([wander(20, 6, 5, seed=2), np.random.default_rng(2).normal(0, 1.5, (20, 6, 5))])
        codec = codec_of(name, 6, 5)

        rows = code_rows(codec.encode(chunks))
        decoded = codec.decode(rows, 6, 5)

        for n in range(len(chunks)):
            own = codec.encode(chunks[n : n + 1])
            np.testing.assert_array_equal(code_rows(own)[0], rows[n])
            np.testing.assert_array_equal(codec.decode(own, 6, 5)[0], decoded[n])

    @every_codec
    def test_it_does_not_matter_how_the_input_lies_in_memory(self, name: str) -> None:
        codec, chunks = codec_of(name, 6, 5), wander(20, 6, 5, seed=3).astype(np.float32)
        expected = code_rows(codec.encode(chunks.astype(np.float64))).values
        frozen = chunks.copy()
        frozen.flags.writeable = False

        turned = np.ascontiguousarray(chunks.transpose(2, 1, 0)).transpose(2, 1, 0)
        every_other = np.repeat(chunks, 2, axis=0)[::2]

        for same in (chunks, frozen, turned, every_other, chunks.astype(">f8")):
            np.testing.assert_array_equal(code_rows(codec.encode(same)).values, expected)

    @every_codec
    def test_encoding_and_decoding_leave_the_input_as_it_was(self, name: str) -> None:
        codec, chunks = codec_of(name), np.random.default_rng(3).normal(0, 1, (10, 4, 3))
        before = chunks.copy()

        codes = codec.encode(chunks)
        codec.is_clipped(chunks)
        codec.error_bound(chunks)
        np.testing.assert_array_equal(chunks, before)

        kept = code_rows(codes).values.copy()
        decoded = codec.decode(codes, 4, 3)
        codec.decode_relaxed(codes, 4, 3)
        decoded[:] = 7.0
        np.testing.assert_array_equal(code_rows(codes).values, kept)
        assert (codec.decode(codes, 4, 3) != 7.0).all()

    @every_codec
    def test_no_chunks_give_no_codes(self, name: str) -> None:
        codes = codec_of(name).encode(np.zeros((0, 4, 3)))

        assert len(code_rows(codes)) == 0
        assert codec_of(name).decode(codes, 4, 3).shape == (0, 4, 3)
        assert codec_of(name).decode_relaxed(codes, 4, 3).num_repaired.shape == (0,)

    @pytest.mark.parametrize("name", [n for n in NAMES if codec_of(n).is_stepwise])
    def test_a_code_of_a_stepwise_codec_stands_for_one_target(self, name: str) -> None:
        codec, chunks = codec_of(name, 5, 3), wander(1, 5, 3, seed=4)
        codes = np.asarray(codec.encode(chunks))
        for step, dim in [(0, 1), (3, 2), (4, 1)]:
            other = chunks.copy()
            other[0, step, dim] = 1.0 - other[0, step, dim]
            changed = np.flatnonzero(np.asarray(codec.encode(other)) != codes)
            assert changed.tolist() == [step * 3 + dim]


class TestState:
    @every_variant
    def test_a_codec_comes_back_from_its_description_and_files(self, name: str, variant: int) -> None:
        codec, chunks = codec_of(name, 4, 3, variant), np.random.default_rng(2).normal(0, 1, (100, 4, 3))

        text = json.dumps(codec.to_dict(), allow_nan=False)
        again = type(codec).from_dict(json.loads(text), codec.files())

        codes, others = code_rows(codec.encode(chunks)), code_rows(again.encode(chunks))
        np.testing.assert_array_equal(others.values, codes.values)
        np.testing.assert_array_equal(others.offsets, codes.offsets)
        np.testing.assert_array_equal(again.decode(others, 4, 3), codec.decode(codes, 4, 3))
        assert again.to_dict() == codec.to_dict()
        assert again.files() == codec.files()
        assert again == codec
        assert hash(again) == hash(codec)

    @every_codec
    def test_a_codec_can_not_be_changed(self, name: str) -> None:
        codec = codec_of(name)

        for field in dataclasses.fields(codec):  # type: ignore[arg-type]
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(codec, field.name, getattr(codec, field.name))
        # Whatever is missing in a class with slots is an error; Python 3.11 says it in two ways.
        with pytest.raises((AttributeError, TypeError)):
            codec.remark = "mine"  # type: ignore[attr-defined]

    @every_codec
    def test_fitting_twice_gives_the_same(self, name: str) -> None:
        codec, again = (plugins.load("tokenizers", name).Codec.fit(wander(60, 4, 3, seed=0)) for _ in range(2))

        assert codec.to_dict() == again.to_dict()
        assert codec.files() == again.files()

    @every_codec
    def test_unknown_options_keys_and_files_are_refused(self, name: str) -> None:
        codec = codec_of(name)

        with pytest.raises(TokenizeError, match="colour"):
            type(codec).fit(wander(60, 4, 3, seed=0), colour=3)
        with pytest.raises(TokenizeError, match="colour"):
            type(codec).from_dict(codec.to_dict() | {"colour": 3}, codec.files())
        with pytest.raises(TokenizeError, match=r"colour\.json"):
            type(codec).from_dict(codec.to_dict(), {**codec.files(), "colour.json": b"{}"})

    @every_codec
    def test_a_description_of_which_something_is_wrong_is_refused_in_one_line(self, name: str) -> None:
        codec = codec_of(name)
        for key in codec.to_dict():
            for value in (None, "x", [], {}, -1, [[-1.0]], True):
                try:
                    type(codec).from_dict({**codec.to_dict(), key: value}, codec.files())
                except TokenizeError as error:
                    assert "\n" not in str(error)  # noqa: PT017


class TestRefused:
    @every_codec
    @pytest.mark.parametrize(("value", "shown"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf")])
    def test_values_that_are_not_finite_with_their_place(self, name: str, value: float, shown: str) -> None:
        chunks = np.zeros((3, 4, 3))
        chunks[1, 3, 2] = value

        with pytest.raises(TokenizeError, match=rf"^chunk\[1, 3, 2\] is {shown}; must be finite$"):
            codec_of(name).encode(chunks)
        with pytest.raises(TokenizeError, match="must be finite"):
            type(codec_of(name)).fit(chunks)

    @every_codec
    @pytest.mark.parametrize("shape", [(), (3,), (4, 3), (1, 4, 3, 1)])
    def test_chunks_of_another_shape(self, name: str, shape: tuple[int, ...]) -> None:
        with pytest.raises(TokenizeError, match=r"must be \[N, H, D\]"):
            codec_of(name).encode(np.zeros(shape))
        with pytest.raises(TokenizeError, match=r"must be \[N, H, D\]"):
            type(codec_of(name)).fit(np.zeros(shape))

    @every_codec
    @pytest.mark.parametrize("code", [-1, None, 1 << 40])
    def test_codes_that_are_none_with_their_place(self, name: str, code: int | None) -> None:
        codec = codec_of(name)
        rows = listed(codec.encode(wander(3, 4, 3, seed=5)))
        rows[1][0] = codec.num_codes if code is None else code

        with pytest.raises(TokenizeError, match=rf"codes\[1, 0\] is {rows[1][0]}; must be 0 to {codec.num_codes - 1}$"):
            codec.decode(rows, 4, 3)

    @every_codec
    def test_rows_that_are_too_short_or_too_long(self, name: str) -> None:
        codec = codec_of(name)
        good = listed(codec.encode(wander(3, 4, 3, seed=6)))
        for wrong in (good[2][:-1], good[2] + good[2][-1:], []):
            with pytest.raises(TokenizeError, match=r"row 2\b|codes\[2, "):
                codec.decode([good[0], good[1], wrong], 4, 3)

    @every_codec
    def test_codes_that_are_no_integers(self, name: str) -> None:
        for codes in (np.zeros((1, 12)), [[0.5] * 12], [["a"]], np.zeros(12, dtype=np.int64)):
            with pytest.raises(TokenizeError, match=r"must (be|hold) integers"):
                codec_of(name).decode(codes, 4, 3)  # type: ignore[arg-type]
            with pytest.raises(TokenizeError, match=r"must (be|hold) integers"):
                codec_of(name).decode_relaxed(codes, 4, 3)  # type: ignore[arg-type]


class TestRelaxed:
    @every_variant
    @few
    @given(chunks=inputs())
    def test_good_codes_decode_as_strictly_and_nothing_is_counted(
        self, name: str, variant: int, chunks: np.ndarray
    ) -> None:
        codec = codec_of(name, *chunks.shape[1:], variant)
        codes = codec.encode(chunks)

        found = codec.decode_relaxed(codes, *chunks.shape[1:])

        np.testing.assert_array_equal(found.chunks, codec.decode(codes, *chunks.shape[1:]))
        assert not found.num_repaired.any()
        assert not found.num_clipped.any()

    @every_variant
    @few
    @given(data=st.data(), shape=shapes, seed=st.integers(0, 2**20))
    def test_wrong_codes_are_repaired_and_counted(
        self, name: str, variant: int, data: st.DataObject, shape: tuple[int, int], seed: int
    ) -> None:
        horizon, dims = shape
        codec = codec_of(name, horizon, dims, variant)
        good = listed(codec.encode(wander(3, horizon, dims, seed)))
        least = 1 if codec.length(horizon, dims) is None else dims
        harm = data.draw(st.sampled_from(["none of the codes", "longer", "shorter"]))
        broken = [list(row) for row in good]
        if harm == "none of the codes":
            place = data.draw(st.integers(0, len(broken[1]) - 1))
            broken[1][place] = data.draw(st.sampled_from([-1, -(2**62), codec.num_codes, 2**62]))
        elif harm == "longer":
            broken[1] += data.draw(st.lists(st.integers(0, codec.num_codes - 1), min_size=1, max_size=5))
        else:
            broken[1] = broken[1][: data.draw(st.integers(min(least, len(broken[1])), len(broken[1])))]

        known = sum(0 <= code < codec.num_codes for code in broken[1])
        try:
            found = codec.decode_relaxed(broken, horizon, dims)
        except TokenizeError as error:
            # No code is left, or the first byte of a symbol alone.
            assert str(error).startswith("row 1 has no code that stands for")  # noqa: PT017
            assert codec.length(horizon, dims) is None
            assert known <= 1
            return

        assert known or codec.length(horizon, dims) is not None
        assert found.chunks.shape == (3, horizon, dims)
        assert np.isfinite(found.chunks).all()
        np.testing.assert_array_equal(found.chunks[[0, 2]], codec.decode([good[0], good[2]], horizon, dims))
        assert found.num_repaired[[0, 2]].tolist() == [0, 0]
        assert found.num_clipped[[0, 2]].tolist() == [0, 0]
        assert (found.num_repaired[1] + found.num_clipped[1] > 0) == (broken[1] != good[1])

    @every_codec
    def test_a_row_of_nothing_is_refused(self, name: str) -> None:
        good = listed(codec_of(name).encode(wander(1, 4, 3, seed=7)))
        with pytest.raises(TokenizeError, match=r"row 1\b"):
            codec_of(name).decode_relaxed([good[0], []], 4, 3)


class TestFixedLength:
    """Of codecs whose chunks all have the same number of codes: any codes below their number stand for something."""

    @pytest.mark.parametrize(("name", "variant"), [v for v in VARIANTS if codec_of(v[0]).length(4, 3) is not None])
    @few
    @given(shape=shapes, seed=st.integers(0, 2**20))
    def test_every_code_decodes(self, name: str, variant: int, shape: tuple[int, int], seed: int) -> None:
        codec = codec_of(name, *shape, variant)
        length = codec.length(*shape)
        assert length is not None
        codes = np.random.default_rng(seed).integers(0, codec.num_codes, (5, length))

        decoded = codec.decode(codes, *shape)

        assert np.isfinite(decoded).all()
        again = codec.decode(codec.encode(decoded), *shape)
        if codec.is_stepwise and name != "rt1_bins":  # which floors: its own values may lie just below their bin
            np.testing.assert_allclose(again, decoded, rtol=0, atol=1e-9)

    @pytest.mark.parametrize("name", [n for n in NAMES if codec_of(n).length(4, 3) is not None])
    def test_missing_steps_repeat_the_last_codes_of_their_dimensions(self, name: str) -> None:
        codec = codec_of(name)
        codes = np.asarray(codec.encode(wander(1, 4, 3, seed=8)))
        whole = np.concatenate([codes[0, :7], codes[0, 4:6], np.resize(codes[0, [6, 4, 5]], codes.shape[1] - 9)])

        found = codec.decode_relaxed([codes[0, :7]], 4, 3)

        np.testing.assert_array_equal(found.chunks, codec.decode(whole[None], 4, 3))
        assert found.num_repaired.tolist() == [codes.shape[1] - 7]


def listed(codes: Codes) -> list[list[int]]:
    rows = code_rows(codes)
    return [rows[n].tolist() for n in range(len(rows))]


def test_a_robot_needs_numpy_and_tokenizers_alone(tmp_path: Path) -> None:
    states, expected = {}, {}
    for name in NAMES:
        codec = codec_of(name, 4, 3)
        states[name] = [codec.to_dict(), {n: c.decode() for n, c in codec.files().items()}]
        codes = codec.encode(wander(2, 4, 3, seed=9))
        expected[name] = [listed(codes), codec.decode(codes, 4, 3).tolist()]
    file = tmp_path / "states.json"
    file.write_text(json.dumps([wander(2, 4, 3, seed=9).tolist(), states]))

    program = """
import json, sys
missing = ("scipy", "h5py", "pyarrow", "pandas", "datasets", "cv2", "torch", "transformers")
sys.modules.update(dict.fromkeys(missing))
import numpy as np
from vladata import plugins
from vladata.tokenizers._bins import code_rows
chunks, states = json.load(open(sys.argv[1]))
found = {}
for name, (state, files) in states.items():
    codec = plugins.load("tokenizers", name).Codec.from_dict(state, {n: c.encode() for n, c in files.items()})
    codes = code_rows(codec.encode(np.array(chunks)))
    found[name] = [[codes[n].tolist() for n in range(len(codes))], codec.decode(codes, 4, 3).tolist()]
print(json.dumps(found))
"""
    done = subprocess.run([sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=True)

    assert json.loads(done.stdout) == expected
