"""Another tokenizer for an export: rows of a fresh one, images where they were, and a way back from everywhere."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from vladata.errors import ExportError, TokenizeError, VladataError
from vladata.exporters import _journal
from vladata.exporters._journal import is_shared
from vladata.exporters.huggingface import (
    ExportOptions,
    VqaOptions,
    export,
    plan_retokenize,
    read_recipe,
    retokenize,
    undo_retokenize,
    verify,
)
from vladata.store.dataset import Dataset

SPLITS = {"train": 0.7, "held": 0.3}
BASE: dict[str, Any] = {"horizon": 4, "shard_bytes": 100_000, "splits": SPLITS}
BINS: dict[str, Any] = {**BASE, "tokenizer": "openvla_bins"}
OLD = ExportOptions(**BINS)
NEW = ExportOptions(**BASE, tokenizer="uniform_bins", codec_options={"num_codes": 37})


def tree(folder: Path) -> dict[str, str]:
    files = [p for p in sorted(folder.rglob("*")) if p.is_file()]
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def shards(folder: Path) -> dict[str, Path]:
    return {p.name: p for p in sorted(folder.glob("data/executor/*.parquet"))}


def images(path: Path) -> list[tuple[int, int]]:
    """Place and size of every image column in a shard."""
    metadata = pq.ParquetFile(path).metadata
    columns = [
        metadata.row_group(i).column(c) for i in range(metadata.num_row_groups) for c in range(metadata.num_columns)
    ]
    return [
        (c.data_page_offset, c.total_compressed_size)
        for c in columns
        if c.path_in_schema.startswith("observation.images.")
    ]


@pytest.fixture(scope="session")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("language model")
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<unk>", "</s>"], show_progress=False, initial_alphabet=alphabet
    )
    tokenizer.train_from_iterator(["What action should the robot take to pick up the cup?"] * 9, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>"}))
    return folder


@pytest.fixture(scope="module")
def exports(six_episodes: Path, tmp_path_factory: pytest.TempPathFactory, language_model: Path) -> dict[str, Path]:
    """Exports of one dataset; only to be read."""
    folder = tmp_path_factory.mktemp("exports")
    shutil.copytree(six_episodes, folder / "dataset")
    made = {
        "old": OLD,
        "new": NEW,
        "rt1": ExportOptions(**BASE, tokenizer="rt1_bins"),
        "ids": ExportOptions(**BINS, base_tokenizer=language_model),
        "tail": ExportOptions(**BASE, tokenizer="rt1_bins", base_tokenizer=language_model, vocabulary="tail"),
        "pi": ExportOptions(**BASE, tokenizer="fast_safe", base_tokenizer=language_model, prompt="pi0_fast"),
        "chat": ExportOptions(**BASE, tokenizer="quantile_bins", prompt="chat"),
    }
    for name, options in made.items():
        export(Dataset.open(folder / "dataset"), folder / name, options, workers=0)
    return {name: folder / name for name in (*made, "dataset")}


@pytest.fixture
def out(exports: dict[str, Path], tmp_path: Path) -> Path:
    """The export of `OLD`, to be changed."""
    shutil.copytree(exports["dataset"], tmp_path / "dataset")
    return Path(shutil.copytree(exports["old"], tmp_path / "out"))


def options_of(name: str, language_model: Path) -> ExportOptions:
    more = {
        "old": {},
        "new": {"tokenizer": "uniform_bins", "codec_options": {"num_codes": 37}},
        "rt1": {"tokenizer": "rt1_bins"},
        "ids": {"base_tokenizer": language_model},
        "tail": {"tokenizer": "rt1_bins", "base_tokenizer": language_model, "vocabulary": "tail"},
        "pi": {"tokenizer": "fast_safe", "base_tokenizer": language_model, "prompt": "pi0_fast"},
        "chat": {"tokenizer": "quantile_bins", "prompt": "chat"},
    }
    return ExportOptions(**{**BINS, **more[name]})


@pytest.mark.parametrize(
    ("start", "target"),
    [*(("old", t) for t in ("new", "ids", "tail", "pi", "chat")), ("pi", "new"), ("chat", "ids"), ("pi", "chat")],
)
def test_rows_card_and_manifest_are_those_of_a_fresh_export(
    exports: dict[str, Path], tmp_path: Path, language_model: Path, start: str, target: str
) -> None:
    shutil.copytree(exports["dataset"], tmp_path / "dataset")
    made, fresh = Path(shutil.copytree(exports[start], tmp_path / "out")), exports[target]
    places = {name: images(path) for name, path in shards(made).items()}
    result = retokenize(made, options_of(target, language_model), workers=0)
    for name, path in shards(made).items():
        one, other = pq.read_table(path), pq.read_table(shards(fresh)[name])
        assert one.schema.equals(other.schema, check_metadata=True)
        assert one.equals(other)
        assert images(path) == places[name]
    manifests = [json.loads((folder / "manifest.json").read_text()) for folder in (made, fresh)]
    sizes = [{f["file"]: f for f in m.pop("files")} for m in manifests]
    digests = [m.pop("content_digest") for m in manifests]
    base = manifests[0].pop("base", None)
    assert base is None if start == target else base["tokenizer"] == options_of(start, language_model).tokenizer
    for manifest in manifests:
        assert manifest.pop("configs")["executor"]["splits"] == manifest["splits"]
        for split in manifest["splits"].values():
            split.pop("bytes")
    assert manifests[0] == manifests[1]
    assert sizes[0].keys() == sizes[1].keys()
    assert all(sizes[0][f]["sha256"] == sizes[1][f]["sha256"] for f in sizes[0] if f.startswith(("action_", "token")))
    cards = [(folder / "README.md").read_text() for folder in (made, fresh)]
    assert cards[0].replace(digests[0], digests[1]) == cards[1]
    assert verify(made, workers=0).problems == ()
    assert result.image_bytes == sum(size for own in places.values() for _, size in own)
    assert not (made / ".unfinished").exists()


def test_the_way_does_not_matter_and_the_old_scheme_restores_the_bytes(out: Path, tmp_path: Path) -> None:
    before = tree(out)
    other = Path(shutil.copytree(out, tmp_path / "other"))
    retokenize(out, NEW, workers=0)
    direct = tree(out)
    retokenize(other, ExportOptions(tokenizer="rt1_bins"), workers=2)
    sizes = [p.stat().st_size for p in shards(other).values()]
    retokenize(other, NEW, workers=2)
    assert tree(other) == direct != before
    retokenize(other, ExportOptions(tokenizer="rt1_bins"), workers=0)
    assert [p.stat().st_size for p in shards(other).values()] == sizes
    result = retokenize(other, OLD, workers=0)
    assert tree(other) == before
    assert result.dead_bytes == 0
    retokenize(out, OLD, workers=0)
    assert tree(out) == before


KILLED = """
import os, signal, sys
from pathlib import Path
from vladata.exporters import _journal, _tail, _tails
from vladata.exporters.huggingface import ExportOptions, retokenize

out, at, moment = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
calls = 0

def watched(module, name):
    inner = getattr(module, name)
    def call(*arguments, **options):
        global calls
        calls += 1
        if moment == "before" and calls == at:
            os.kill(os.getpid(), signal.SIGKILL)
        if moment == "raise" and calls == at:
            raise KeyboardInterrupt
        result = inner(*arguments, **options)
        if moment == "after" and calls == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(module, name, call)

for name in ("write_bytes", "sync_folder", "_write_all", "_copy"):
    watched(_journal, name)
watched(_journal.os, "ftruncate")
watched(_journal.shutil, "rmtree")
watched(_tail, "read_footer")
options = ExportOptions(tokenizer="uniform_bins", codec_options={"num_codes": 37})
try:
    retokenize(out, options, workers=0)
except KeyboardInterrupt:
    sys.exit(130)
print(calls)
"""


def run_killed(out: Path, at: int, moment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", KILLED, str(out), str(at), moment]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def plain(folder: Path) -> dict[str, str]:
    return {n: d for n, d in tree(folder).items() if not n.startswith(".unfinished/")}


@pytest.mark.parametrize(
    "is_second", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["first time", "second time"]
)
def test_killed_anywhere_it_is_whole_or_says_so_and_goes_both_ways(out: Path, tmp_path: Path, is_second: bool) -> None:
    if is_second:
        retokenize(out, ExportOptions(tokenizer="rt1_bins"), workers=0)
    before = plain(out)
    whole = Path(shutil.copytree(out, tmp_path / "whole"))
    total = int(run_killed(whole, 0, "never").stdout)
    after = plain(whole)
    states = set()
    for number, at in enumerate(sorted({*range(1, total + 1, total // 6), total - 1})):
        made = Path(shutil.copytree(out, tmp_path / f"{at}"))
        done = run_killed(made, at, ("before", "after")[number % 2])
        assert done.returncode == -signal.SIGKILL, (at, done.stderr)
        if (made / "manifest.json").exists():
            assert plain(made) in (before, after)
            states.add("old" if plain(made) == before else "new")
        else:
            states.add("unfinished")
            with pytest.raises(ExportError, match="being retokenized; run vladata retokenize again, or with --undo"):
                verify(made)
        if number % 3 == 0:
            expected = after if (made / "manifest.json").exists() and plain(made) == after else before
            undo_retokenize(made)
            assert tree(made) == expected, at
        retokenize(made, NEW, workers=0)
        assert tree(made) == after, at
        shutil.rmtree(made)
    assert states == {"old", "unfinished", "new"}


@pytest.mark.parametrize("part", [0.3, 0.8])
def test_an_interruption_puts_the_export_back(out: Path, tmp_path: Path, part: float) -> None:
    before = tree(out)
    whole = Path(shutil.copytree(out, tmp_path / "whole"))
    total = int(run_killed(whole, 0, "never").stdout)
    done = run_killed(out, int(part * total), "raise")
    assert done.returncode == 130, done.stderr
    assert plain(out) == (before if part < 0.9 else tree(whole))


def test_a_full_disk_puts_the_export_back(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tree(out)
    inner, calls = _journal._set_end, []

    def full(path: Path, base_size: int, tail: Path) -> None:
        calls.append(path)
        if len(calls) == 3:
            os.truncate(path, base_size + 5)
            raise OSError(28, "no space left")
        inner(path, base_size, tail)

    monkeypatch.setattr(_journal, "_set_end", full)
    with pytest.raises(OSError, match="no space"):
        retokenize(out, NEW, workers=0)
    assert tree(out) == before


@pytest.mark.parametrize("link", [os.link, os.symlink], ids=["hard", "symbolic"])
def test_a_shard_that_another_folder_shares_is_copied(out: Path, tmp_path: Path, link: Callable[..., None]) -> None:
    own = shards(out)
    other = tmp_path / "dataset" / "mixture"
    other.mkdir()
    for name, path in own.items():
        if link is os.symlink:
            path.rename(other / name)
            link(other / name, path)
        else:
            link(path, other / name)
    before = tree(other)
    if link is os.symlink:
        with pytest.raises(VladataError, match="link out of its folder"):
            retokenize(out, NEW, workers=0)
        assert tree(other) == before
        return
    assert plan_retokenize(out, NEW, workers=0).copied == len(own)
    result = retokenize(out, NEW, workers=0)
    assert result.copied == len(own)
    assert tree(other) == before
    assert not any(is_shared(path) for path in own.values())
    assert verify(out, workers=0).problems == ()


def test_a_killed_run_never_touches_what_is_shared(out: Path, tmp_path: Path) -> None:
    other = tmp_path / "mixture"
    other.mkdir()
    for name, path in shards(out).items():
        os.link(path, other / name)
    before, shared = plain(out), tree(other)
    total = int(run_killed(Path(shutil.copytree(out, tmp_path / "whole")), 0, "never").stdout)
    for at in (total // 3, total // 2, total * 3 // 4):
        assert run_killed(out, at, "before").returncode == -signal.SIGKILL
        assert tree(other) == shared
        undo_retokenize(out)
        assert plain(out) == before
        assert tree(other) == shared


def test_what_was_altered_is_refused_and_left(out: Path) -> None:
    card = (out / "README.md").read_text()
    (out / "README.md").write_text(card + "more\n")
    with pytest.raises(ExportError, match=r"README.md differs from the manifest"):
        retokenize(out, NEW, workers=0)
    (out / "README.md").write_text(card)
    path = next(iter(shards(out).values()))
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    before = tree(out)
    with pytest.raises(ExportError, match=r"its SHA-256 differs from the manifest's.*nothing was changed"):
        retokenize(out, NEW, workers=0)
    assert tree(out) == before


def test_what_is_no_export_is_left_alone(tmp_path: Path, out: Path) -> None:
    for run in (retokenize, plan_retokenize):
        with pytest.raises(ExportError, match="no export"):
            run(tmp_path / "nothing", NEW)
    with pytest.raises(ExportError, match="no export"):
        undo_retokenize(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    before = tree(out)
    assert not undo_retokenize(out)
    for options, error in ((ExportOptions(tokenizer="uniform_bins", codec_options={"num_codes": 0}), TokenizeError),):
        with pytest.raises(error):
            retokenize(out, options, workers=0)
    assert tree(out) == before


def test_a_plan_writes_nothing_and_says_the_cost(out: Path) -> None:
    before = tree(out)
    plan = plan_retokenize(out, NEW, workers=0)
    assert tree(out) == before
    result = retokenize(out, NEW, workers=0)
    assert (plan.shards, plan.rows, plan.image_bytes) == (result.shards, result.rows, result.image_bytes)
    assert plan.bytes_to_read <= result.bytes_read < 1.5 * plan.bytes_to_read
    assert plan.image_bytes > 0.7 * plan.bytes_to_read


def test_an_export_over_a_broken_off_run_puts_back_what_it_can_keep(out: Path, tmp_path: Path) -> None:
    before = tree(out)
    total = int(run_killed(Path(shutil.copytree(out, tmp_path / "whole")), 0, "never").stdout)
    assert run_killed(out, total * 2 // 3, "before").returncode == -signal.SIGKILL
    assert not (out / "manifest.json").exists()
    result = export(Dataset.open(tmp_path / "dataset"), out, OLD, workers=0)
    assert result.kept == 3
    assert tree(out) == before


def test_a_damaged_journal_is_said(out: Path, tmp_path: Path) -> None:
    total = int(run_killed(Path(shutil.copytree(out, tmp_path / "whole")), 0, "never").stdout)
    run_killed(out, total * 2 // 3, "before")
    (out / ".unfinished/retokenize/journal.json").write_text('{"shards": [{"file": "../../victim"}]}')
    with pytest.raises(ExportError, match="journal of the change is damaged"):
        retokenize(out, NEW, workers=0)


def test_datasets_reads_the_new_rows_and_no_old_cache(out: Path, tmp_path: Path, exports: dict[str, Path]) -> None:
    from datasets import load_dataset

    cache = str(tmp_path / "cache")
    before = load_dataset(str(out), split="train", cache_dir=cache)["action_codes"][:]
    retokenize(out, NEW, workers=0)
    after = load_dataset(str(out), split="train", cache_dir=cache)["action_codes"][:]
    streamed = [r["action_codes"] for r in load_dataset(str(out), split="train", streaming=True, cache_dir=cache)]
    fresh = load_dataset(str(exports["new"]), split="train", cache_dir=cache)["action_codes"][:]
    assert after == streamed == fresh != before


def test_a_recipe_and_what_goes_before_it(out: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("recipe: 1\ntokenizer: {scheme: openvla_bins}\n")
    options = read_recipe(recipe)
    made = tmp_path / "by recipe"
    export(Dataset.open(tmp_path / "dataset"), made, options, workers=0)
    before = tree(made)
    retokenize(made, NEW, workers=0)
    assert "before what it says: `codec_options`, `tokenizer`." in (made / "README.md").read_text()
    assert verify(made, workers=0).problems == ()
    retokenize(made, options, workers=0)
    assert tree(made) == before


def test_the_configs_of_text_stay_as_they_are(out: Path, tmp_path: Path, language_model: Path) -> None:
    dataset = Dataset.open(tmp_path / "dataset")
    texts = ExportOptions(**BINS, vqa=VqaOptions())
    made, fresh = tmp_path / "texts", tmp_path / "fresh"
    export(dataset, made, texts, workers=0)
    before = tree(made)
    assert list(made.glob("data/vqa/*.parquet"))
    retokenize(made, NEW, workers=0)
    assert {n: d for n, d in tree(made).items() if n.startswith("data/vqa")} == {
        n: d for n, d in before.items() if n.startswith("data/vqa")
    }
    export(dataset, fresh, replace(NEW, vqa=VqaOptions()), workers=0)
    one, other = (json.loads((folder / "manifest.json").read_text()) for folder in (made, fresh))
    assert one["configs"]["vqa"] == other["configs"]["vqa"]
    assert one["texts"] == other["texts"]
    for digest in (one["content_digest"], *(c["content_digest"] for c in one["configs"].values())):
        assert len(digest) == 64
    card, wanted = (folder / "README.md" for folder in (made, fresh))
    old, new = one["configs"]["executor"]["content_digest"], other["configs"]["executor"]["content_digest"]
    assert card.read_text().replace(old, new) == wanted.read_text()
    assert verify(made, workers=0).problems == ()
    with pytest.raises(ExportError, match=r"rows of vqa have no ids .* no base tokenizer can be given"):
        retokenize(made, options_of("ids", language_model), workers=0)
    retokenize(made, OLD, workers=0)
    assert tree(made) == before
