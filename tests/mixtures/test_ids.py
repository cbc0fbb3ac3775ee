"""Ids of a language model: kept where they mean one thing, refused where they don't."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from vladata.action_tokenizer import ActionTokenizer
from vladata.errors import ExportError
from vladata.exporters.huggingface import ExportOptions
from vladata.mixtures.mix import mix, plan

Recipe = Callable[..., Path]
Make = Callable[..., dict[str, Any]]
IDS = ("action_token_ids", "input_ids", "labels")


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two byte-level BPE tokenizers of other merges."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    found = {}
    for name, words in (("one", "put the cube into the bin"), ("other", "open drawers slowly and close them")):
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(vocab_size=280, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
        tokenizer.train_from_iterator([f"{words} {i}" for i in range(100)], trainer)
        found[name] = tmp_path_factory.mktemp("base") / name
        found[name].mkdir()
        tokenizer.save(str(found[name] / "tokenizer.json"))
    return found


@pytest.fixture
def make(make_part: Callable[..., Path], bases: dict[str, Path]) -> Make:
    """The line of a recipe of a new small export; with a base tokenizer unless `base` is None."""

    def line(name: str, seed: int, *, base: str | None = "one", num_joints: int = 3, **options: Any) -> dict[str, Any]:
        chosen = {"tokenizer": "openvla_bins", "horizon": 1, **options}
        given = ExportOptions(base_tokenizer=None if base is None else bases[base], **chosen)
        episodes = [{"seed": seed, "duration_s": 0.6}, {"seed": seed + 1, "duration_s": 0.6}]
        part = make_part(name, episodes, given, cameras=(), num_joints=num_joints)
        return {"name": name, "export": str(part)}

    return line


def rows_of(out: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(next(out.glob("data/executor/train-*"))).to_pylist()
    return rows


@pytest.mark.parametrize("vocabulary", ["added", "tail", "text"])
def test_one_codec_and_one_base_keep_their_ids(make: Make, recipe: Recipe, tmp_path: Path, vocabulary: Any) -> None:
    options = {"tokenizer": "uniform_bins", "codec_options": {"num_codes": 20}, "vocabulary": vocabulary}
    out = tmp_path / "out"
    mix(recipe(make("a", 1, num_joints=2, **options), make("b", 5, horizon=3, **options)), out, workers=0)
    tokenizers = {n: ActionTokenizer.load(out / "action_tokenizer" / n) for n in "ab"}
    for row in rows_of(out):
        own = tokenizers[row["part"]]
        ids = own.to_ids(np.array([row["action_codes"]]))
        assert ids[0].tolist() == row["action_token_ids"]
        assert all(label in {-100, i} for label, i in zip(row["labels"], row["input_ids"], strict=True))
    assert (out / "tokenizer" / "tokenizer.json").is_file()


@pytest.mark.parametrize("vocabulary", ["added", "tail"])
def test_one_id_for_codes_of_two_codecs_is_refused(make: Make, recipe: Recipe, tmp_path: Path, vocabulary: Any) -> None:
    lines = [
        make("a", 1, tokenizer="uniform_bins", codec_options={"num_codes": 20}, vocabulary=vocabulary),
        make("b", 5, tokenizer="uniform_bins", codec_options={"num_codes": 30}, vocabulary=vocabulary),
    ]
    with pytest.raises(
        ExportError, match=r"id \d+ \(.*\) is code 0 of uniform_bins in a and code 0 of uniform_bins in b"
    ):
        plan(recipe(*lines), workers=0)
    mix(recipe(*lines, keep_ids=False), tmp_path / "out", workers=0)
    assert not set(IDS) & set(rows_of(tmp_path / "out")[0])
    assert not (tmp_path / "out" / "tokenizer").exists()
    # Dropping the columns by name is the same; dropping one of them is not enough.
    plan(recipe(*lines, drop=[*IDS, "loss_mask", *(["target"] if vocabulary == "added" else [])]), workers=0)
    with pytest.raises(ExportError, match="keep_ids: false"):
        plan(recipe(*lines, drop=["labels"]), workers=0)


def test_two_vocabularies_of_one_base_have_two_tokenizers(make: Make, recipe: Recipe) -> None:
    options = {"tokenizer": "uniform_bins", "codec_options": {"num_codes": 20}}
    lines = [make("a", 1, vocabulary="added", **options), make("b", 5, vocabulary="tail", **options)]
    with pytest.raises(ExportError, match="tokenizer/ of a and of b differ; give the parts one tokenizer"):
        plan(recipe(*lines, drop=["target"]), workers=0)


def test_other_base_tokenizers_are_refused(make: Make, recipe: Recipe) -> None:
    options = {"tokenizer": "uniform_bins", "codec_options": {"num_codes": 20}}
    lines = [make("a", 1, **options), make("b", 5, base="other", **options)]
    with pytest.raises(ExportError, match="the ids of a and b are of different base tokenizers"):
        plan(recipe(*lines), workers=0)
    plan(recipe(*lines, keep_ids=False), workers=0)


def test_a_part_without_ids_is_refused(make: Make, recipe: Recipe) -> None:
    lines = [make("a", 1), make("b", 5, base=None)]
    with pytest.raises(ExportError, match="part b has no ids of a language model and others have"):
        plan(recipe(*lines), workers=0)
    found = plan(recipe(*lines, keep_ids=False), workers=0)
    assert set(IDS) < set(found.columns["dropped"])  # type: ignore[call-overload]


def test_parts_that_are_kept_apart_need_not_agree(make: Make, recipe: Recipe, tmp_path: Path) -> None:
    lines = [make("a", 1), make("b", 5, base="other")]
    mix(recipe(*lines, layout="apart"), tmp_path / "out", workers=0)
