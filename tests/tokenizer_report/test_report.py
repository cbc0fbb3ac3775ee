"""What schemes lose: figures against a plain computation, the same on episodes and on their export."""

import builtins
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vladata.action_tokenizer import ActionTokenizer
from vladata.errors import ExportError, MissingExtraError, PluginNotFoundError
from vladata.exporters._loss import Loss, Sample, measure_loss
from vladata.exporters.huggingface import ExportOptions, export
from vladata.store.dataset import Dataset
from vladata.tokenizer_report import (
    Basis,
    Scheme,
    TokenizerReport,
    basis_of_dataset,
    basis_of_export,
    compare_schemes,
    fit_tokenizer,
)
from vladata.tokenizer_report import plot as plotting

OPTIONS = ExportOptions(horizon=8)


@pytest.fixture(scope="module")
def basis(sample_dataset: Path) -> Basis:
    return basis_of_dataset(Dataset.open(sample_dataset), OPTIONS, workers=0)


@pytest.fixture(scope="module")
def exported(sample_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out: Path = tmp_path_factory.mktemp("report") / "out"
    export(Dataset.open(sample_dataset), out, replace(OPTIONS, tokenizer="quantile_bins"), workers=0)
    return out


@pytest.fixture(scope="module")
def report(basis: Basis) -> TokenizerReport:
    schemes = [
        Scheme(name="openvla_bins", options={}),
        Scheme(name="uniform_bins", options={"num_codes": 16}),
        Scheme(name="bspline", options={"num_basis": 4}),
        Scheme(name="uniform_bins", options={"num_codes": 0}),
    ]
    return compare_schemes(basis, schemes, max_tokens=40)


def test_figures_are_those_of_a_plain_computation(basis: Basis) -> None:
    tokenizer = fit_tokenizer(basis, Scheme(name="uniform_bins", options={"num_codes": 16}))
    sample = replace(basis.sample, chunks=1.2 * basis.sample.chunks)
    loss = measure_loss(tokenizer, sample)
    chunks, valid = sample.chunks, ~sample.is_pad
    decoded = tokenizer.decode_represented(tokenizer.encode_represented(chunks))
    clipped = tokenizer.normalization.invert(tokenizer.normalization.apply(chunks))
    for d, found in enumerate(loss.dimensions):
        error = np.abs(decoded - chunks)[valid][:, d]
        assert found.rmse == pytest.approx(np.sqrt((error**2).mean()), rel=1e-5)
        assert found.p99 == pytest.approx(np.quantile(error, 0.99), rel=1e-5)
        assert found.max == pytest.approx(error.max(), rel=1e-5)
        assert found.codec_max == pytest.approx(np.abs(decoded - clipped)[valid][:, d].max(), rel=1e-5)
        assert found.clipped == pytest.approx((np.abs(chunks - clipped) > 1e-9)[valid][:, d].mean(), rel=1e-5)
        scale = tokenizer.normalization.scale[d]
        assert found.share_rmse == pytest.approx(found.rmse / scale, rel=1e-5)
        assert found.codec_max <= 1 / 16 * scale * 1.00001
    assert (loss.tokens_mean, loss.tokens_p99, loss.tokens_max) == (56, 56, 56)
    assert loss.tokens_per_second == pytest.approx(56 / 8 * tokenizer.rate_hz)
    assert max(d.clipped for d in loss.dimensions) > 0
    assert loss.is_held_out
    assert loss.splits == ("validation",)


def test_padded_targets_do_not_count(basis: Basis) -> None:
    tokenizer = fit_tokenizer(basis, Scheme(name="uniform_bins", options={}))
    chunks = basis.sample.chunks.copy()
    is_pad = np.zeros_like(basis.sample.is_pad)
    is_pad[:, 4:] = True
    chunks[:, 4:] = 1e3
    loss = measure_loss(tokenizer, replace(basis.sample, chunks=chunks, is_pad=is_pad))
    assert loss.targets == 4 * len(chunks)
    assert loss.max < 1


def test_no_chunk_gives_zeros(basis: Basis) -> None:
    shape = basis.sample.chunks.shape[1:]
    nothing = Sample(
        chunks=np.empty((0, *shape)),
        is_pad=np.empty((0, shape[0]), dtype=np.bool_),
        splits=(),
        is_held_out=False,
        of_chunks=0,
    )
    loss = measure_loss(fit_tokenizer(basis, Scheme(name="uniform_bins", options={})), nothing)
    assert (loss.rmse, loss.max, loss.tokens_mean, loss.chunks) == (0, 0, 0, 0)


def test_losses_come_back_from_json(report: TokenizerReport) -> None:
    loss = report.schemes[0].loss
    assert Loss.from_dict(json.loads(json.dumps(loss.to_dict()))) == loss
    with pytest.raises(ExportError, match="damaged"):
        Loss.from_dict({**loss.to_dict(), "rmse": "much"})


def test_a_scheme_that_can_not_be_used_is_named_with_its_reason(report: TokenizerReport) -> None:
    assert [s.scheme for s in report.schemes] == ["openvla_bins", "uniform_bins:num_codes=16", "bspline:num_basis=4"]
    assert set(report.failed) == {"uniform_bins:num_codes=0"}
    assert [s.over_limit for s in report.schemes] == [report.schemes[0].loss.chunks] * 2 + [0]
    assert all(s.encoded_per_s > 0 and s.decoded_per_s > 0 and s.fit_s >= 0 for s in report.schemes)
    json.dumps(report.to_dict(), allow_nan=False)


def test_an_unknown_scheme_is_an_error(basis: Basis) -> None:
    with pytest.raises(PluginNotFoundError, match="did you mean 'uniform_bins'"):
        compare_schemes(basis, [Scheme(name="uniform_bin", options={})])


def test_an_export_and_its_episodes_give_the_same(basis: Basis, exported: Path) -> None:
    other = basis_of_export(exported, workers=0)
    assert np.array_equal(other.fit_chunks, basis.fit_chunks)
    assert np.array_equal(other.sample.chunks, basis.sample.chunks)
    assert np.array_equal(other.sample.is_pad, basis.sample.is_pad)
    scheme = Scheme(name="quantile_bins", options={})
    made = fit_tokenizer(other, scheme)
    assert (
        made.digest == fit_tokenizer(basis, scheme).digest == ActionTokenizer.load(exported / "action_tokenizer").digest
    )
    manifest = json.loads((exported / "manifest.json").read_text())
    assert Loss.from_dict(manifest["loss"]) == measure_loss(made, basis.sample)


def test_the_card_shows_what_was_lost(exported: Path) -> None:
    card = (exported / "README.md").read_text()
    section = card.split("## What was lost")[1].split("\n## ")[0]
    loss = json.loads((exported / "manifest.json").read_text())["loss"]
    assert "neither statistics nor codec were made of" in section
    for d in loss["dimensions"]:
        assert f"| `{d['name']}` | {d['unit']} | {d['rmse']:.5g} | {d['p99']:.5g} | {d['max']:.5g} |" in section
    assert "chunks/s" not in card
    assert f"at most {loss['tokens_max']} (all rows)" in section


def test_without_another_split_it_says_that_the_codec_saw_the_chunks(sample_dataset: Path, tmp_path: Path) -> None:
    options = replace(OPTIONS, splits={"all": 1.0})
    basis = basis_of_dataset(Dataset.open(sample_dataset), options, workers=0)
    assert not basis.sample.is_held_out
    export(Dataset.open(sample_dataset), tmp_path / "out", options, workers=0)
    assert "made of as well: there is no other split" in (tmp_path / "out/README.md").read_text()


def test_the_plot_is_a_png_or_an_svg_with_every_scheme(report: TokenizerReport, tmp_path: Path) -> None:
    plotting.write_plot(report, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    odd = replace(report, source="$x$ \u2603 <b>")
    for name in ("a.svg", "b.svg"):
        plotting.write_plot(odd, tmp_path / name)
    ET.fromstring((tmp_path / "a.svg").read_text())
    ids = [re.sub(r"<!--.*?-->", "", (tmp_path / n).read_text()) for n in ("a.svg", "b.svg")]
    assert ids[0] == ids[1]


def test_a_plot_of_nothing_is_a_plot(report: TokenizerReport, tmp_path: Path) -> None:
    plotting.write_plot(replace(report, schemes=()), tmp_path / "a.png")
    assert (tmp_path / "a.png").is_file()


def test_without_matplotlib_there_is_one_line(
    report: TokenizerReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner: Callable[..., Any] = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name.split(".")[0] == "matplotlib":
            raise ImportError(name)
        return inner(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"pip install 'vladata\[plot\]'"):
        plotting.write_plot(report, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())
