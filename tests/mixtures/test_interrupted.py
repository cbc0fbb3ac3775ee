"""A mixture is whole or absent, and goes on where it was."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vladata.errors import ExportError
from vladata.mixtures import mix as module
from vladata.mixtures._folder import claim
from vladata.mixtures.mix import mix

Recipe = Callable[..., Path]
Parts = Callable[..., list[dict[str, Any]]]
Digests = Callable[[Path], dict[str, str]]

KILLED = """
import sys
from pathlib import Path
from vladata.mixtures import mix as module

def show(done, total, what):
    if what == "writing shards" and done == 2:
        print("two", flush=True)
        import time
        time.sleep(60)

module.mix(Path(sys.argv[1]), Path(sys.argv[2]), shard_bytes=60_000, workers=1, progress=show)
"""


def test_a_killed_mixture_goes_on_and_ends_in_the_same_bytes(
    recipe: Recipe, parts: Parts, tmp_path: Path, digest_of_tree: Digests
) -> None:
    path = recipe(*parts("aloha", "small"))
    command = [sys.executable, "-c", KILLED, str(path), str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "two\n"
        os.killpg(run.pid, signal.SIGKILL)
    time.sleep(0.1)
    assert not (tmp_path / "out" / "manifest.json").exists()
    again = mix(path, tmp_path / "out", shard_bytes=60_000, workers=0)
    assert again.kept == 2
    mix(path, tmp_path / "new", shard_bytes=60_000, workers=0)
    assert digest_of_tree(tmp_path / "out") == digest_of_tree(tmp_path / "new")


@pytest.mark.parametrize("layout", ["padded", "apart"])
def test_an_interrupt_at_the_end_leaves_no_whole_mixture(
    recipe: Recipe, parts: Parts, tmp_path: Path, digest_of_tree: Digests, monkeypatch: Any, layout: str
) -> None:
    path = recipe(*parts("small"), layout=layout)
    with monkeypatch.context() as patch:

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(module, "make_card", interrupt)
        with pytest.raises(KeyboardInterrupt):
            mix(path, tmp_path / "out", workers=0)
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert not list((tmp_path / "out").rglob("*.tmp"))
    assert mix(path, tmp_path / "out", workers=0).kept == 2
    mix(path, tmp_path / "new", workers=0)
    assert digest_of_tree(tmp_path / "out") == digest_of_tree(tmp_path / "new")


def test_a_shard_that_was_damaged_meanwhile_is_written_again(
    recipe: Recipe, parts: Parts, tmp_path: Path, digest_of_tree: Digests
) -> None:
    path = recipe(*parts("small"))
    mix(path, tmp_path / "out", workers=0)
    before = digest_of_tree(tmp_path / "out")
    next((tmp_path / "out").glob("data/executor/train-*")).write_bytes(b"lost")
    assert mix(path, tmp_path / "out", workers=0).kept == 1
    assert digest_of_tree(tmp_path / "out") == before


def test_nothing_changes_where_the_recipe_is_refused(
    recipe: Recipe, parts: Parts, tmp_path: Path, digest_of_tree: Digests
) -> None:
    mix(recipe(*parts("small")), tmp_path / "out", workers=0)
    before = digest_of_tree(tmp_path / "out")
    with pytest.raises(ExportError, match="is no whole export"):
        mix(recipe({"name": "x", "export": "nowhere"}), tmp_path / "out", workers=0)
    after = digest_of_tree(tmp_path / "out")
    assert after == before


def test_two_processes_do_not_write_one_mixture(recipe: Recipe, parts: Parts, tmp_path: Path) -> None:
    with claim(tmp_path / "out"), pytest.raises(ExportError, match="another process is writing this mixture"):
        mix(recipe(*parts("small")), tmp_path / "out", workers=0)
