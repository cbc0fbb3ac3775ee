"""Columns for language models: ids, prompt and labels, with a small tokenizer made here."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from vladata.action_tokenizer import ActionTokenizer
from vladata.errors import ExportError
from vladata.exporters.huggingface import ExportOptions, export, verify
from vladata.store.dataset import Dataset


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A byte-level BPE of 700 tokens that puts `<s>` before each text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    texts = [
        f"What action should the robot take to put the {w} into bin {i}?" for i in range(200) for w in ("cube", "cup")
    ]
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(texts, trainer)
    begin = tokenizer.token_to_id("<s>")
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", begin)])
    folder = tmp_path / "base"
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": {"content": "</s>"}}))
    return folder


def read_rows(out: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(next(out.glob("data/executor/train-*"))).to_pylist()
    return rows


@pytest.mark.parametrize("vocabulary", ["added", "text"])
def test_a_row_is_prompt_action_and_end(dataset: Dataset, base: Path, tmp_path: Path, vocabulary: Any) -> None:
    from tokenizers import Tokenizer

    out = tmp_path / "out"
    options = ExportOptions(
        horizon=2,
        base_tokenizer=base,
        vocabulary=vocabulary,
        tokenizer="uniform_bins",
        codec_options={"num_codes": 100},
    )
    export(dataset, out, options, workers=0)
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    prompt = tokenizer.encode("In: What action should the robot take to put the cube into the bin?\nOut:").ids
    assert prompt[0] == tokenizer.token_to_id("<s>")
    action_tokenizer = ActionTokenizer.load(out / "action_tokenizer")
    for row in read_rows(out):
        ids, end = row["action_token_ids"], tokenizer.token_to_id("</s>")
        assert row["input_ids"] == [*prompt, *ids, end]
        assert row["labels"] == [-100] * len(prompt) + [*ids, end]
        assert action_tokenizer.from_ids(np.array([ids])).tolist() == [row["action_codes"]]
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["prompt"] == {"template": options.prompt, "end": [tokenizer.token_to_id("</s>")]}
    assert str(tmp_path) not in (out / "manifest.json").read_text()
    assert verify(out, dataset.path, workers=0).problems == ()


def test_added_tokens_come_with_the_tokenizer_that_has_them(dataset: Dataset, base: Path, tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    out = tmp_path / "out"
    export(dataset, out, ExportOptions(base_tokenizer=base), workers=0)
    extended = Tokenizer.from_file(str(out / "tokenizer" / "tokenizer.json"))
    row = read_rows(out)[0]
    assert extended.decode(row["action_token_ids"]) == "".join(f"<action_{c:03d}>" for c in row["action_codes"])


def test_braces_in_an_instruction_are_text(make_dataset: Any, base: Path, tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    from vladata.recording import Instruction

    text = "put {0} and {task} into {__class__}"
    dataset = make_dataset({"instructions": (Instruction(text=text),)})
    export(dataset, tmp_path / "out", ExportOptions(base_tokenizer=base, prompt="do {task}:"), workers=0)
    row = read_rows(tmp_path / "out")[0]
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    prompt = [i for i, label in zip(row["input_ids"], row["labels"], strict=True) if label == -100]
    assert tokenizer.decode(prompt) == f"do {text}:"


def test_a_prompt_without_the_task_is_refused(base: Path) -> None:
    with pytest.raises(ExportError, match=r"prompt is 'go'; it must hold \{task\}"):
        ExportOptions(base_tokenizer=base, prompt="go")


@pytest.mark.parametrize("skip", [0, 128])
def test_tail_ids_count_down_from_the_end_that_is_left_alone(
    dataset: Dataset, base: Path, tmp_path: Path, skip: int
) -> None:
    from tokenizers import Tokenizer

    out = tmp_path / "out"
    options = ExportOptions(base_tokenizer=base, vocabulary="tail", tail_skip=skip)
    export(dataset, out, options, workers=0)
    size = Tokenizer.from_file(str(base / "tokenizer.json")).get_vocab_size(with_added_tokens=False)
    for row in read_rows(out):
        assert row["action_token_ids"] == [size - 1 - skip - code for code in row["action_codes"]]
    assert verify(out, dataset.path, workers=0).problems == ()
