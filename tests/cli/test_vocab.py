"""`vladata vocab` and `vladata prompts`."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from vladata.prompts import template_names
from vladata.vocabulary import BaseTokenizer, Vocabulary, tail_vocabulary


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A byte-level tokenizer of 258 tokens with settings, of a model with 320 rows."""
    path = tmp_path / "base"
    path.mkdir()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<s>", "</s>"])
    tokenizer.save(str(path / "tokenizer.json"))
    (path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>", "added_tokens_decoder": {}}))
    (path / "config.json").write_text(json.dumps({"vocab_size": 320}))
    return path


class TestExtend:
    def test_the_folder_has_tokenizer_ids_and_rows(self, cli: Any, folder: Path, tmp_path: Path) -> None:
        done = cli("vocab", "extend", folder, "-o", tmp_path / "out", "--codes", 60, "--start-end")

        assert (done.returncode, done.stderr) == (0, "")
        assert "codes      60  ids 258 to 317" in done.stdout
        assert "do not resize: 320 rows are enough" in done.stdout
        names = sorted(p.name for p in (tmp_path / "out").iterdir())
        assert names == [
            *("action_token_ids.json", "rows_to_initialise.json", "tokenizer.json", "tokenizer_config.json")
        ]
        stored = Vocabulary.from_dict(json.loads((tmp_path / "out" / "action_token_ids.json").read_text()))
        again = Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
        assert again.encode("<action_start><action_59><action_end>").ids == [318, stored.ids[59][0], 319]
        rows = json.loads((tmp_path / "out" / "rows_to_initialise.json").read_text())
        assert rows["rows"]["codes"] == list(range(258, 318))
        assert (rows["embedding_rows"], rows["resize_to"], rows["in_padding"][-1]) == (320, None, 319)
        settings = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())["added_tokens_decoder"]
        assert (settings["258"]["special"], settings["318"]["special"]) == (False, True)
        assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []

    def test_a_dry_run_writes_nothing(self, cli: Any, folder: Path, tmp_path: Path) -> None:
        done = cli("vocab", "extend", folder, "-o", tmp_path / "out", "--codes", 100, "--dry-run", "--json")

        assert json.loads(done.stdout)["rows"]["resize_to"] == 384
        assert not (tmp_path / "out").exists()

    def test_a_folder_that_holds_something_is_left_alone(self, cli: Any, folder: Path) -> None:
        done = cli("vocab", "extend", folder, "-o", folder, "--codes", 4)

        assert done.returncode == 1
        assert "is not empty; it must be a new or empty folder" in done.stderr

    def test_a_link_is_the_folder_that_it_leads_to(self, cli: Any, folder: Path, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "real")

        done = cli("vocab", "extend", folder, "-o", tmp_path / "link", "--codes", 4)

        assert (done.returncode, done.stderr) == (0, "")
        assert (tmp_path / "real" / "tokenizer.json").is_file()

    def test_too_few_reserved_tokens_are_said(self, cli: Any, folder: Path, tmp_path: Path) -> None:
        done = cli("vocab", "extend", folder, "-o", tmp_path / "out", "--codes", 4, "--kind", "reserved")

        assert done.returncode == 1
        assert "has 0 reserved tokens of 6 known names; must have 4" in done.stderr


class TestCheck:
    def test_a_map_fits_its_tokenizer_before_and_after(self, cli: Any, folder: Path, tmp_path: Path) -> None:
        cli("vocab", "extend", folder, "-o", tmp_path / "out", "--codes", 8)

        for tokenizer in (folder, tmp_path / "out"):
            done = cli("vocab", "check", tmp_path / "out", tokenizer)
            assert (done.returncode, done.stdout) == (0, "8 codes of kind added: all ids fit\n")

    def test_moved_ids_are_a_line_each(self, cli: Any, folder: Path, tmp_path: Path) -> None:
        vocabulary = tail_vocabulary(4, BaseTokenizer.read(folder))
        (tmp_path / "action_token_ids.json").write_text(json.dumps(vocabulary.to_dict()))
        content = json.loads((folder / "tokenizer.json").read_text())
        vocab = content["model"]["vocab"]
        tokens = sorted(vocab, key=vocab.__getitem__)
        vocab[tokens[-1]], vocab[tokens[-2]] = vocab[tokens[-2]], vocab[tokens[-1]]
        (folder / "tokenizer.json").write_text(json.dumps(content))

        done = cli("vocab", "check", tmp_path / "action_token_ids.json", folder)

        assert done.returncode == 1
        assert len(done.stdout.splitlines()) == 2
        assert "2 ids moved" in done.stderr
        shown = json.loads(cli("vocab", "check", tmp_path / "action_token_ids.json", folder, "--json").stdout)
        assert len(shown["moved"]) == 2

    @pytest.mark.parametrize("content", ["{", "[1]", '{"codes": 1}'])
    def test_what_is_no_map_is_refused(self, cli: Any, folder: Path, tmp_path: Path, content: str) -> None:
        (tmp_path / "ids.json").write_text(content)

        done = cli("vocab", "check", tmp_path / "ids.json", folder)

        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1


class TestPrompts:
    def test_all_are_listed(self, cli: Any) -> None:
        done = cli("prompts", "list")

        assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == template_names()
        assert [t["name"] for t in json.loads(cli("prompts", "list", "--json").stdout)] == template_names()

    @pytest.mark.parametrize("name", template_names())
    def test_each_is_shown_and_rendered(self, cli: Any, name: str) -> None:
        assert f"name: {name}" in cli("prompts", "show", name).stdout
        done = cli("prompts", "render", name, "--task", "put the {cup} away")
        assert done.returncode == 0
        assert "put the {cup} away" in done.stdout

    def test_a_wrong_name_is_one_line(self, cli: Any) -> None:
        done = cli("prompts", "show", "openvlaa")

        assert done.returncode == 1
        assert "there are chat, " in done.stderr
