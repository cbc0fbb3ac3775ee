"""Tokens per chunk before anything is written: known, or counted in a sample that is spread evenly."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from vladata import plugins
from vladata.exporters import _preview
from vladata.exporters.huggingface import ExportOptions, plan
from vladata.store.dataset import Dataset
from vladata.tokenizers import TokenRows
from vladata.tokenizers.uniform_bins import Codec as UniformBins


class Lengths(UniformBins):
    """As many codes as the chunk's first value asks for, 1 to 9."""

    def length(self, horizon: int, dims: int) -> int | None:  # noqa: ARG002
        return None

    def encode(self, chunks: Any) -> Any:
        counts = 1 + np.round(4 * (1 + np.clip(chunks[:, 0, 0], -1, 1))).astype(int)
        return TokenRows.of([np.zeros(n, dtype=np.int64) for n in counts])


@pytest.fixture
def uneven(monkeypatch: pytest.MonkeyPatch) -> type[Lengths]:
    monkeypatch.setattr(plugins.load("tokenizers", "uniform_bins"), "Codec", Lengths)
    return Lengths


OPTIONS = ExportOptions(horizon=3, tokenizer="uniform_bins", splits={"train": 1.0})


def test_codecs_of_a_fixed_length_need_no_counting(make_dataset: Callable[..., Dataset]) -> None:
    found = plan(make_dataset({}, {}, cameras=()), OPTIONS, workers=0).tokens
    assert (found.mean, found.p99, found.longest) == (12.0, 12, 12)
    assert found.counted == found.chunks == 32


def test_others_are_counted_in_all_chunks_where_there_are_few(
    make_dataset: Callable[..., Dataset], uneven: type[Lengths]
) -> None:
    planned = plan(make_dataset(*[{}] * 4, cameras=()), OPTIONS, workers=0)
    found = planned.tokens
    assert found.counted == found.chunks == 64
    assert 1 < found.mean < 9
    assert found.longest == found.p99 == 9
    assert (
        f"tokens: {found.mean:,.1f} per chunk on average, 99 % at most 9, the longest 9 (uniform_bins, 64 chunks of "
        "3 actions in 0.3 s)" in planned.lines()
    )


def test_of_many_chunks_a_sample_is_counted_and_told(
    make_dataset: Callable[..., Dataset], uneven: type[Lengths], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_preview, "MAX_CHUNKS", 20)
    dataset = make_dataset(*[{}] * 4, cameras=())
    planned = plan(dataset, OPTIONS, workers=0)
    assert (planned.tokens.counted, planned.tokens.chunks) == (20, 64)
    assert any("counted in 20 of them" in line for line in planned.lines())
    assert plan(dataset, OPTIONS, workers=0) == planned
