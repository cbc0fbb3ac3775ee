"""FAST bundles in transformers, 4.57 and 5: needs transformers and scipy, and is skipped without them.

Only what a robot has is imported of vladata, so that it runs in an environment with nothing but transformers, scipy and
pytest: `python -m pytest --noconftest tests/test_transformers.py`.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vladata import plugins
from vladata.action_tokenizer import ActionTokenizer
from vladata.actions.normalization import Normalization, NormalizationMode
from vladata.actions.representation import ActionDimension, Representation
from vladata.units import Kind, Mode, Unit

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
fft = pytest.importorskip("scipy.fft", reason="scipy is not installed")

pytestmark = pytest.mark.filterwarnings("ignore")

H, D = 10, 3
AS_RECORDED = {"recorded_mode": Mode.ABSOLUTE, "mode": Mode.ABSOLUTE}


class UniversalActionProcessor(transformers.ProcessorMixin):  # type: ignore[misc]
    """What the published processor does, with its attribute loaded as transformers loads attributes."""

    attributes = ["bpe_tokenizer"]
    bpe_tokenizer_class = "AutoTokenizer"

    def __init__(
        self,
        bpe_tokenizer: Any,
        scale: float = 10,
        vocab_size: int = 1024,
        min_token: int = 0,
        *,
        action_dim: int | None = None,
        time_horizon: int | None = None,
    ) -> None:
        self.scale, self.min_token, self.vocab_size = scale, min_token, vocab_size
        self.action_dim, self.time_horizon = action_dim, time_horizon
        super().__init__(bpe_tokenizer)

    def __call__(self, chunks: np.ndarray) -> list[list[int]]:  # type: ignore[override]
        numbers = np.around(fft.dct(chunks, axis=1, norm="ortho") * self.scale)
        texts = ["".join(chr(int(max(v - self.min_token, 0))) for v in chunk.flatten()) for chunk in numbers]
        return [self.bpe_tokenizer(text)["input_ids"] for text in texts]

    def decode(self, rows: list[list[int]]) -> np.ndarray:
        texts = [self.bpe_tokenizer.decode(row) for row in rows]
        numbers = np.array([[ord(c) + self.min_token for c in text] for text in texts]).reshape(len(rows), H, D)
        return np.asarray(fft.idct(numbers / self.scale, axis=1, norm="ortho"))


def chunks_of(count: int, seed: int) -> np.ndarray:
    steps = np.random.default_rng(seed).normal(0, 0.15, (count, H, D))
    return np.clip(np.cumsum(steps, axis=1), -1, 1)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = tuple(f"arm.{n}" for n in "xyz")
    dims = tuple(ActionDimension(name=n, kind=Kind.POSITION, unit=Unit.METRE, **AS_RECORDED) for n in names)
    ends: dict[str, Any] = {"low": (-1.0,) * D, "high": (1.0,) * D, "mask": (False,) * D, "floored": (False,) * D}
    folder = tmp_path_factory.mktemp("bundle")
    ActionTokenizer(
        scheme="fast",
        representation=Representation(dimensions=dims),
        normalization=Normalization(mode=NormalizationMode.NONE, clip=False, **ends),
        codec=plugins.load("tokenizers", "fast").Codec.fit(chunks_of(500, 0), vocab_size=300),
        horizon=H,
        rate_hz=10.0,
    ).save(folder)
    return folder


@pytest.mark.parametrize("name", ["PreTrainedTokenizerFast", "AutoTokenizer"])
def test_the_folder_is_a_tokenizer(bundle: Path, name: str) -> None:
    found = getattr(transformers, name).from_pretrained(bundle)

    tokenizer = ActionTokenizer.load(bundle)
    assert len(found) == tokenizer.codec.num_codes
    stored = json.loads((bundle / "tokenizer.json").read_text())
    assert found.get_vocab() == stored["model"]["vocab"]


def test_the_folder_is_a_processor_that_gives_the_same_ids_and_actions(bundle: Path) -> None:
    processor = UniversalActionProcessor.from_pretrained(bundle)
    tokenizer = ActionTokenizer.load(bundle)
    chunks = chunks_of(500, 0)  # whose coefficients the vocabulary has

    codes = tokenizer.encode(chunks)

    rows = [codes[i].tolist() for i in range(len(chunks))]
    assert (processor.scale, processor.min_token) == (tokenizer.codec.scale, tokenizer.codec.min_token)
    assert processor(chunks) == rows
    np.testing.assert_allclose(processor.decode(rows), tokenizer.decode(codes), rtol=0, atol=1e-12)


def test_saving_it_with_transformers_and_loading_it_again_changes_no_id(bundle: Path, tmp_path: Path) -> None:
    processor = UniversalActionProcessor.from_pretrained(bundle)
    processor.save_pretrained(tmp_path)
    chunks = chunks_of(20, 0)

    assert UniversalActionProcessor.from_pretrained(tmp_path)(chunks) == processor(chunks)
