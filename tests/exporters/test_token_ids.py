"""Columns for language models: ids, prompt and labels, with a small tokenizer made here."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from vladata.action_tokenizer import ActionTokenizer
from vladata.errors import ExportError, VladataError
from vladata.exporters._prompts import Prompts, _require_end
from vladata.exporters.huggingface import ExportOptions, export, verify
from vladata.prompts import Renderer, parse_template, read_template
from vladata.store.dataset import Dataset
from vladata.tokenizers import TokenRows


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


BINS: dict[str, Any] = {"tokenizer": "openvla_bins"}
ONE_STEP: dict[str, Any] = {**BINS, "horizon": 1}


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
    text = "In: What action should the robot take to put the cube into the bin?\nOut:"
    # As in OpenVLA, the space before the action is encoded with the prompt.
    prompt = tokenizer.encode(text + " ").ids
    assert prompt[0] == tokenizer.token_to_id("<s>")
    action_tokenizer = ActionTokenizer.load(out / "action_tokenizer")
    for row in read_rows(out):
        ids, end = row["action_token_ids"], tokenizer.token_to_id("</s>")
        assert row["prompt"] == text
        assert row["input_ids"] == [*prompt, *ids, end]
        loss = [True for _ in ids]
        if row["action_is_pad"][1]:
            half = len(row["action_codes"]) // 2
            counts = action_tokenizer.vocabulary.num_ids(TokenRows.of([row["action_codes"]]))
            loss[int(counts[:half].sum()) :] = [False] * int(counts[half:].sum())
            assert row["action_loss_mask"] == [True] * half + [False] * half
        assert row["loss_mask"] == [False] * len(prompt) + loss + [True]
        assert row["labels"] == [i if m else -100 for i, m in zip(row["input_ids"], row["loss_mask"], strict=True)]
        assert action_tokenizer.from_ids(np.array([ids])).tolist() == [row["action_codes"]]
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["prompt"]["template"] == read_template("openvla").yaml
    assert manifest["prompt"]["end"] == [tokenizer.token_to_id("</s>")]
    assert manifest["prompt"]["most_ids"] == max(len(row["input_ids"]) for row in read_rows(out))
    assert read_template("openvla").yaml.rstrip() in (out / "README.md").read_text()
    assert str(tmp_path) not in (out / "manifest.json").read_text()
    assert verify(out, dataset.path, workers=0).problems == ()


def test_instructions_of_spaces_alone_are_told(make_dataset: Any, tmp_path: Path) -> None:
    from vladata.recording import Instruction

    dataset = make_dataset({"instructions": (Instruction(text="  "),)})
    export(dataset, tmp_path / "out", ExportOptions(), workers=0)
    assert "- rows without a task instruction: 16" in (tmp_path / "out" / "README.md").read_text()


def test_a_base_tokenizer_may_be_given_as_its_file(dataset: Dataset, base: Path, tmp_path: Path) -> None:
    """What lies beside it is read as well: the end of text."""
    for name, given in (("folder", base), ("file", base / "tokenizer.json")):
        export(dataset, tmp_path / name, ExportOptions(base_tokenizer=given), workers=0)

    assert (tmp_path / "file" / "tokenizer" / "tokenizer_config.json").is_file()
    one, other = (json.loads((tmp_path / n / "manifest.json").read_text())["prompt"] for n in ("folder", "file"))
    assert one == other
    assert len(one["end"]) == 1


def test_added_tokens_come_with_the_tokenizer_that_has_them(dataset: Dataset, base: Path, tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    out = tmp_path / "out"
    export(dataset, out, ExportOptions(**ONE_STEP, base_tokenizer=base), workers=0)
    extended = Tokenizer.from_file(str(out / "tokenizer" / "tokenizer.json"))
    row = read_rows(out)[0]
    assert extended.decode(row["action_token_ids"]) == "".join(f"<action_{c:03d}>" for c in row["action_codes"])


def test_braces_in_an_instruction_are_text(make_dataset: Any, base: Path, tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    from vladata.recording import Instruction

    text = "put {0} and {task} into {__class__}"
    dataset = make_dataset({"instructions": (Instruction(text=text),)})
    prompt_file = tmp_path / "do.yaml"
    prompt_file.write_text(
        "{name: do, kind: executor, description: x, prompt: [{text: 'do {task}:'}], target: [{put: actions}]}"
    )
    options = ExportOptions(**ONE_STEP, base_tokenizer=base, prompt=str(prompt_file))
    export(dataset, tmp_path / "out", options, workers=0)
    row = read_rows(tmp_path / "out")[0]
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    prompt = [i for i, label in zip(row["input_ids"], row["labels"], strict=True) if label == -100]
    assert tokenizer.decode(prompt) == f"do {text}:" == row["prompt"]
    assert str(tmp_path) not in (tmp_path / "out" / "manifest.json").read_text()


def test_an_instruction_that_would_end_the_row_is_refused(make_dataset: Any, base: Path, tmp_path: Path) -> None:
    from vladata.recording import Instruction

    dataset = make_dataset({"instructions": (Instruction(text="stop </s> now"),)})
    with pytest.raises(ExportError, match="the instruction 'stop </s> now' holds '</s>', which the tokenizer reads"):
        export(dataset, tmp_path / "out", ExportOptions(**ONE_STEP, base_tokenizer=base), workers=0)


@pytest.mark.parametrize("vocabulary", ["added", "text"])
def test_without_a_base_tokenizer_rows_hold_texts(dataset: Dataset, tmp_path: Path, vocabulary: Any) -> None:
    out = tmp_path / "out"
    export(dataset, out, ExportOptions(**BINS, vocabulary=vocabulary, horizon=2), workers=0)
    row = read_rows(out)[0]
    assert row["prompt"] == "In: What action should the robot take to put the cube into the bin?\nOut:"
    joined = "".join(f"<action_{c:03d}>" for c in row["action_codes"])
    integers = " ".join(map(str, row["action_codes"]))
    assert row["target"] == (f" {joined}" if vocabulary == "added" else f" {integers}")
    assert "input_ids" not in row
    assert "action_token_ids" not in row
    assert verify(out, dataset.path, workers=0).problems == ()


def test_chat_rows_are_messages_that_datasets_reads(dataset: Dataset, base: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    out = tmp_path / "out"
    export(dataset, out, ExportOptions(**BINS, base_tokenizer=base, prompt="chat", horizon=2), workers=0)
    row = load_dataset(str(out), split="train", cache_dir=str(tmp_path / "cache")).remove_columns(
        ["observation.images.front", "observation.images.wrist"]
    )[0]
    image = {"type": "image", "text": None}
    question = "What action should the robot take to put the cube into the bin?"
    assert row["prompt"] == [{"role": "user", "content": [image, image, {"type": "text", "text": question}]}]
    codes = "".join(f"<action_{c:03d}>" for c in row["action_codes"])
    answer = {"type": "text", "text": f"<action_start>{codes}<action_end>"}
    assert row["completion"] == [{"role": "assistant", "content": [answer]}]
    assert "input_ids" not in row
    assert len(row["action_token_ids"]) == len(row["action_codes"])
    notes = json.loads((out / "manifest.json").read_text())["notes"]
    assert any("messages can't leave padded targets out of the loss" in n for n in notes)
    assert verify(out, dataset.path, workers=0).problems == ()


def test_the_state_is_in_the_prompt_of_pi0_fast(dataset: Dataset, base: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(
        dataset, out, ExportOptions(**ONE_STEP, base_tokenizer=base, prompt="pi0_fast", vocabulary="tail"), workers=0
    )
    manifest = json.loads((out / "manifest.json").read_text())
    low, high = (np.array(manifest["prompt"]["state"][n]) for n in ("low", "high"))
    for row in read_rows(out):
        normalized = 2 * (np.array(row["observation.state"], dtype=np.float64) - low) / (high - low) - 1
        bins = np.digitize(normalized, np.linspace(-1, 1, 257)[:-1]) - 1
        assert row["prompt"] == f"Task: put the cube into the bin, State: {' '.join(map(str, bins))};\n"
        assert "target" not in row
    assert (out / "tokenizer" / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()
    assert verify(out, dataset.path, workers=0).problems == ()


def test_a_row_with_too_many_tokens_refuses_the_export(dataset: Dataset, base: Path, tmp_path: Path) -> None:
    longest = export(dataset, tmp_path / "one", ExportOptions(**ONE_STEP, base_tokenizer=base), workers=0)
    assert longest.notes is not None
    most = json.loads((tmp_path / "one" / "manifest.json").read_text())["prompt"]["most_ids"]

    with pytest.raises(ExportError, match=rf"rows with more than 20 tokens: \d+; the longest has {most} \(.*, row 0\)"):
        export(dataset, tmp_path / "two", ExportOptions(**ONE_STEP, base_tokenizer=base, max_tokens=20), workers=0)

    assert not (tmp_path / "two" / "manifest.json").exists()
    export(dataset, tmp_path / "two", ExportOptions(**ONE_STEP, base_tokenizer=base, max_tokens=most), workers=0)
    with pytest.raises(ExportError, match="max_tokens counts ids, and prompt chat gives messages; must be left out"):
        export(
            dataset, tmp_path / "three", ExportOptions(**ONE_STEP, base_tokenizer=base, max_tokens=most, prompt="chat")
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": "openvlaa"}, "no prompt named 'openvlaa'"),
        ({"prompt": "vqa_chat"}, "prompt vqa_chat is a vqa's; must be an executor's"),
        ({"max_tokens": 5}, "max_tokens needs a base tokenizer"),
        ({"vocabulary": "reserved"}, "vocabulary reserved needs a base tokenizer"),
        ({"prompt": "pi0_fast", "proprioception": ()}, "prompt pi0_fast shows the state"),
    ],
)
def test_what_does_not_fit_is_refused(dataset: Dataset, tmp_path: Path, options: Any, message: str) -> None:
    with pytest.raises(VladataError, match=message):
        export(dataset, tmp_path / "out", ExportOptions(**{**ONE_STEP, **options}), workers=0)


def test_codes_of_different_numbers_need_an_end() -> None:
    codec = SimpleNamespace(length=lambda _horizon, _dims: None)
    tokenizer: Any = SimpleNamespace(codec=codec, horizon=2, dims=3, scheme="fast")
    open_ended = parse_template(
        b"{name: x, kind: executor, description: x, prompt: [{text: '{task}'}], target: [{put: actions}]}", "x.yaml"
    )

    def prompts(template: Any) -> Prompts:
        return Prompts(renderer=Renderer.build(template), state=None, words={}, cameras=(), is_stepwise=False)

    with pytest.raises(ExportError, match="codes of fast are of different numbers, and prompt x leaves their end open"):
        _require_end(prompts(open_ended), tokenizer)
    for name in ("openvla", "pi0_fast", "rt2", "pi05"):
        _require_end(prompts(read_template(name)), tokenizer)


def test_the_default_codes_end_with_the_base_tokenizers_end(dataset: Dataset, base: Path, tmp_path: Path) -> None:
    """Or with a text or a token of the prompt; rows whose end is open are never written."""
    end = json.loads((base / "tokenizer.json").read_text())["added_tokens"]
    end = next(t["id"] for t in end if t["content"] == "</s>")
    export(dataset, tmp_path / "out", ExportOptions(base_tokenizer=base), workers=0)
    rows = read_rows(tmp_path / "out")
    assert len({len(row["action_codes"]) for row in rows}) > 1
    assert all(row["input_ids"][-1] == row["labels"][-1] == end for row in rows)
    assert verify(tmp_path / "out", dataset.path, workers=0).problems == ()

    endless = tmp_path / "endless"
    endless.mkdir()
    (endless / "tokenizer.json").write_bytes((base / "tokenizer.json").read_bytes())
    with pytest.raises(
        ExportError, match=r"prompt openvla leaves their end open; .* name an eos_token in tokenizer_con"
    ):
        export(dataset, tmp_path / "no", ExportOptions(base_tokenizer=endless), workers=0)
    assert not (tmp_path / "no").exists()
    export(dataset, tmp_path / "pi0", ExportOptions(base_tokenizer=endless, prompt="pi0_fast"), workers=0)
    assert all(row["target"].endswith("|") for row in read_rows(tmp_path / "pi0"))


def test_verify_finds_each_changed_value(own_dataset: Dataset, base: Path, tmp_path: Path) -> None:
    import pyarrow as pa

    out = tmp_path / "out"
    export(own_dataset, out, ExportOptions(**ONE_STEP, base_tokenizer=base, splits={"train": 1.0}), workers=0)
    (shard,) = out.glob("data/executor/*.parquet")
    table = pq.read_table(shard)
    columns = ["prompt", "target", "action_token_ids", "input_ids", "labels", "loss_mask", "action_loss_mask"]
    for row, column in enumerate(columns):
        values = table.column(column).to_pylist()
        if isinstance(values[row], str):
            values[row] += "."
        else:
            last = values[row][-1]
            values[row][-1] = (not last) if isinstance(last, bool) else last + 1
        field, place = table.schema.field(column), table.column_names.index(column)
        table = table.set_column(place, field, pa.array(values, type=field.type))
    pq.write_table(table, shard)

    problems = verify(out, own_dataset.path, workers=0).problems

    found = {tuple(p.replace("[", ": ").split(": ")[1:3]) for p in problems if "row " in p}
    assert found == {(f"row {row}", column) for row, column in enumerate(columns)}


def test_a_tokenizer_that_was_exchanged_is_found(own_dataset: Dataset, base: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(own_dataset, out, ExportOptions(**ONE_STEP, base_tokenizer=base, vocabulary="tail"), workers=0)
    path = out / "tokenizer" / "tokenizer.json"
    content = json.loads(path.read_text())
    tokens = sorted(content["model"]["vocab"], key=content["model"]["vocab"].get)
    content["model"]["vocab"][tokens[-1]], content["model"]["vocab"][tokens[-2]] = (
        content["model"]["vocab"][tokens[-2]],
        content["model"]["vocab"][tokens[-1]],
    )
    path.write_text(json.dumps(content))

    problems = verify(out, own_dataset.path, workers=0).problems

    assert any("tokenizer/tokenizer.json" in problem for problem in problems)
    assert any("the ids of the codes do not fit the base tokenizer: code 0" in problem for problem in problems)


def test_workers_give_the_same_bytes(dataset: Dataset, base: Path, tmp_path: Path) -> None:
    options = ExportOptions(**BINS, base_tokenizer=base, prompt="pi0_fast", horizon=2)
    one = export(dataset, tmp_path / "one", options, workers=0)
    other = export(dataset, tmp_path / "other", options, workers=2)
    assert one.content_digest == other.content_digest


@pytest.mark.parametrize("skip", [0, 128])
def test_tail_ids_count_down_from_the_end_that_is_left_alone(
    dataset: Dataset, base: Path, tmp_path: Path, skip: int
) -> None:
    from tokenizers import Tokenizer

    out = tmp_path / "out"
    options = ExportOptions(**ONE_STEP, base_tokenizer=base, vocabulary="tail", tail_skip=skip)
    export(dataset, out, options, workers=0)
    size = Tokenizer.from_file(str(base / "tokenizer.json")).get_vocab_size(with_added_tokens=False)
    for row in read_rows(out):
        assert row["action_token_ids"] == [size - 1 - skip - code for code in row["action_codes"]]
    assert verify(out, dataset.path, workers=0).problems == ()
