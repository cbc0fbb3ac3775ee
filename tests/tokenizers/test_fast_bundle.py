"""fast and fast_safe as a robot gets them: stored with their files, loaded, and refused where something was altered."""

from pathlib import Path

import numpy as np
import pytest

from vladata import plugins
from vladata.action_tokenizer import ActionTokenizer
from vladata.actions.normalization import Normalization, NormalizationMode
from vladata.actions.representation import Representation
from vladata.actions.statistics import gather_statistics
from vladata.embodiment import Signal
from vladata.errors import TokenizeError
from vladata.tokenizers._bins import code_rows
from vladata.units import Kind, Mode, Unit

schemes = pytest.mark.parametrize("scheme", ["fast", "fast_safe"])


def built(scheme: str, horizon: int = 10) -> tuple[ActionTokenizer, np.ndarray]:
    """A tokenizer of two axes, in metres, and chunks for it."""
    dims = [{"name": n, "kind": Kind.POSITION, "unit": Unit.METRE, "mode": Mode.ABSOLUTE} for n in ("a", "b")]
    signal = Signal.model_validate({"name": "target", "dimensions": dims})
    representation = Representation.build([signal], [], None)
    rows = np.cumsum(np.random.default_rng(0).normal(0, [0.02, 0.1], (800, 2)), axis=0)
    chunks = np.stack([rows[k : k + horizon] for k in range(len(rows) - horizon)])
    statistics = gather_statistics(lambda: [rows], representation.names)
    normalization = Normalization.fit(statistics, NormalizationMode.QUANTILE, [True, True])
    tokenizer = ActionTokenizer(
        scheme=scheme,
        representation=representation,
        normalization=normalization,
        codec=plugins.load("tokenizers", scheme).Codec.fit(normalization.apply(chunks)),
        horizon=horizon,
        rate_hz=10.0,
    )
    return tokenizer, chunks


@schemes
def test_it_comes_back_from_its_folder(scheme: str, tmp_path: Path) -> None:
    tokenizer, chunks = built(scheme)

    files = tokenizer.save(tmp_path)
    again = ActionTokenizer.load(tmp_path)

    assert again == tokenizer
    assert again.digest == tokenizer.digest
    assert {f.relative_to(tmp_path).as_posix() for f in files} == {"action_tokenizer.json", *tokenizer.codec.files()}
    codes, others = code_rows(tokenizer.encode(chunks)), code_rows(again.encode(chunks))
    np.testing.assert_array_equal(codes.values, others.values)
    error = np.abs(again.decode(codes) - chunks)
    is_clipped = again.is_clipped(chunks)
    assert (error <= again.error_bound(chunks))[~is_clipped].all()
    assert is_clipped.mean() < 0.05


@schemes
def test_the_same_bytes_are_written_each_time(scheme: str, tmp_path: Path) -> None:
    for name in ("one", "other"):
        built(scheme)[0].save(tmp_path / name)

    for file in (tmp_path / "one").rglob("*.json"):
        assert file.read_bytes() == (tmp_path / "other" / file.relative_to(tmp_path / "one")).read_bytes()


@schemes
def test_an_altered_file_is_refused(scheme: str, tmp_path: Path) -> None:
    tokenizer, _ = built(scheme)
    for name in tokenizer.codec.files():
        tokenizer.save(tmp_path)
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes() + b" ")
        with pytest.raises(TokenizeError, match=f"{name} was altered"):
            ActionTokenizer.load(tmp_path)
        (tmp_path / name).unlink()
        with pytest.raises(TokenizeError, match="is missing"):
            ActionTokenizer.load(tmp_path)


@schemes
def test_relaxed_decoding_counts_in_physical_units(scheme: str) -> None:
    tokenizer, chunks = built(scheme)
    rows = code_rows(tokenizer.encode(chunks[:2]))

    found = tokenizer.decode_relaxed([rows[0].tolist(), [*rows[1].tolist(), 5]])

    np.testing.assert_array_equal(found.chunks, tokenizer.decode(rows))
    assert found.num_repaired[0] == 0
    assert found.num_repaired[1] >= 1
