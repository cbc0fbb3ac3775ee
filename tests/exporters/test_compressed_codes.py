"""Exports of codecs whose chunks have different numbers of codes, with ids and the codec's files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer, models

from vladata.action_tokenizer import ActionTokenizer
from vladata.exporters.huggingface import ExportOptions, export, verify
from vladata.store.dataset import Dataset
from vladata.tokenizers import TokenRows

schemes = pytest.mark.parametrize("scheme", ["fast", "fast_safe"])


@schemes
def test_rows_decode_within_the_bound_and_verify(dataset: Dataset, tmp_path: Path, scheme: str) -> None:
    base, out = tmp_path / "base", tmp_path / "out"
    base.mkdir()
    words = {"a": 0, "<unk>": 1, "</s>": 2}
    Tokenizer(models.WordLevel(words, unk_token="<unk>")).save(str(base / "tokenizer.json"))
    (base / "tokenizer_config.json").write_text('{"eos_token": "</s>"}')

    export(dataset, out, ExportOptions(horizon=8, tokenizer=scheme, base_tokenizer=base, prompt="pi0_fast"), workers=0)

    assert verify(out, dataset.path, workers=0).problems == ()
    tokenizer = ActionTokenizer.load(out / "action_tokenizer")
    rows = pq.read_table(next(out.glob("data/executor/train-*"))).to_pylist()
    chunks = np.array([row["action_chunk"] for row in rows], dtype=np.float64)
    codes = [row["action_codes"] for row in rows]
    assert len({len(c) for c in codes}) > 1
    error = np.abs(tokenizer.decode(codes) - chunks)
    assert (error <= tokenizer.error_bound(chunks))[~tokenizer.is_clipped(chunks)].all()
    ids = tokenizer.to_ids(TokenRows.of(codes))
    assert [ids[k].tolist() for k in range(len(ids))] == [row["action_token_ids"] for row in rows]


@schemes
def test_any_number_of_workers_writes_the_same(dataset: Dataset, tmp_path: Path, scheme: str) -> None:
    options = ExportOptions(horizon=8, tokenizer=scheme)

    for workers in (0, 2):
        export(dataset, tmp_path / str(workers), options, workers=workers)

    files = sorted(p.relative_to(tmp_path / "0") for p in (tmp_path / "0").rglob("*.json"))
    assert files
    assert [f for f in files if (tmp_path / "0" / f).read_bytes() != (tmp_path / "2" / f).read_bytes()] == []


def _still(values: Any) -> Any:
    return np.full_like(values, 0.25)


@pytest.mark.parametrize(
    ("episodes", "rate_hz", "horizon"),
    [
        ([{"duration_s": 0.0}], 10.0, 10),
        ([{"duration_s": 0.2}], 10.0, 10),
        ([{"values": {"command": _still}}] * 2, 10.0, 10),
        ([{"duration_s": 20.0}] * 2, 0.5, 1),
    ],
    ids=["one row", "three rows", "nothing moves", "a step in two seconds"],
)
def test_the_default_fits_whatever_there_is(
    make_dataset: Callable[..., Dataset], tmp_path: Path, episodes: list[Any], rate_hz: float, horizon: int
) -> None:
    dataset, out = make_dataset(*episodes, cameras=(), rate_hz=rate_hz), tmp_path / "out"
    export(dataset, out, ExportOptions(), workers=0)
    assert verify(out, dataset.path, workers=0).problems == ()
    tokenizer = ActionTokenizer.load(out)
    assert (tokenizer.scheme, tokenizer.horizon) == ("fast_safe", horizon)
    rows = pq.read_table(next(out.glob("data/executor/train-*"))).to_pylist()
    chunks = np.array([row["action_chunk"] for row in rows], dtype=np.float64)
    error = np.abs(tokenizer.decode([row["action_codes"] for row in rows]) - chunks)
    assert (error <= tokenizer.error_bound(chunks))[~tokenizer.is_clipped(chunks)].all()
