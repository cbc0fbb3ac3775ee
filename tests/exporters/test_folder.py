"""The folder of an export: whole or resumable, equal bytes, and never somebody else's."""

import dataclasses
import errno
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vladata.errors import ExportError
from vladata.exporters._parquet import _HashingFile
from vladata.exporters.huggingface import ExportOptions, export
from vladata.store.dataset import Dataset

SMALL = ExportOptions(tokenizer="openvla_bins", horizon=1, shard_bytes=100_000)
RESIZED = dataclasses.replace(SMALL, image_size=(32, 32))


def tree(folder: Path) -> dict[str, str]:
    files = [p for p in sorted(folder.rglob("*")) if p.is_file()]
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def visible(folder: Path) -> list[str]:
    return [n for n in tree(folder) if not any(part.startswith(".") for part in n.split("/"))]


@pytest.mark.parametrize("options", [SMALL, RESIZED], ids=["passed through", "resized"])
def test_equal_bytes_whatever_the_number_of_workers_and_twice(
    dataset: Dataset, tmp_path: Path, options: ExportOptions
) -> None:
    out = dataset.path.parent
    trees = []
    for number, workers in enumerate((0, 2)):
        made = out / f"{tmp_path.name}_{number}"
        export(dataset, made, options, workers=workers)
        trees.append(tree(made))
    again = export(dataset, out / f"{tmp_path.name}_0", options, workers=0)
    assert again.kept == sum(s.shards for s in again.splits.values()) >= 3
    assert trees[0] == trees[1] == tree(out / f"{tmp_path.name}_0")


def test_the_place_of_the_export_is_not_in_it(own_dataset: Dataset, tmp_path: Path) -> None:
    """Only the hidden `.origin.json`, which is no part of the export, says where the dataset was."""
    trees = []
    for out in (tmp_path / "here", tmp_path / "deeper" / "there"):
        export(own_dataset, out, ExportOptions(), workers=0)
        trees.append({n: d for n, d in tree(out).items() if n != ".origin.json"})
        words = [str(tmp_path), os.uname().nodename, str(Path.home())]
        for path in out.rglob("*.*"):
            if path.is_file():
                data = path.read_bytes()
                assert not [w for w in words if len(w) > 4 and w.encode() in data], path
    assert trees[0] == trees[1]


KILLED = """
import os, signal, sys
from pathlib import Path
from vladata.exporters import _parquet, _work
from vladata.exporters._parquet import _HashingFile
from vladata.exporters.huggingface import ExportOptions, export
from vladata.store.dataset import Dataset

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

dataset, out, moment, size = Dataset.open(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
size = (size, size) if size else None
options = ExportOptions(tokenizer="openvla_bins", horizon=1, shard_bytes=100_000, image_size=size)
progress = lambda done, total, name: die() if f"{name} {done}" == moment else None
if moment == "inside a shard":
    _parquet.ShardWriter.close = die
if moment == "before the manifest":
    _work.ExportFolder.finish = die
export(dataset, out, options, workers=0, progress=progress)
"""


@pytest.fixture(scope="module")
def fresh(six_episodes: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, str]]:
    """What an export that nobody kills holds, by image size."""
    folder = tmp_path_factory.mktemp("fresh")
    shutil.copytree(six_episodes, folder / "dataset")
    for size, options in ((0, SMALL), (32, RESIZED)):
        export(Dataset.open(folder / "dataset"), folder / str(size), options, workers=0)
    return {size: tree(folder / str(size)) for size in (0, 32)}


@pytest.mark.parametrize(
    ("moment", "size", "kept"),
    [
        ("inside a shard", 0, 0),
        ("writing shards 2", 0, 2),
        ("encoding frames 5", 32, 0),
        ("before the manifest", 32, 3),
    ],
)
def test_a_killed_export_leaves_nothing_half_and_goes_on(
    own_dataset: Dataset, tmp_path: Path, fresh: dict[int, dict[str, str]], moment: str, size: int, kept: int
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-c", KILLED, own_dataset.path, out, moment, str(size)]
    killed = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=60)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert "manifest.json" not in visible(out)
    if moment == "inside a shard":
        assert not list(out.glob("data/executor/*.parquet"))
        assert list(out.glob("data/executor/.*.tmp"))
    options = RESIZED if size else SMALL
    for path in out.glob("data/executor/*.parquet"):
        whole = path.read_bytes()
        assert whole[:4] == whole[-4:] == b"PAR1"
    result = export(own_dataset, out, options, workers=0)
    assert result.kept == kept
    assert tree(out) == fresh[size]


def test_a_damaged_shard_is_written_again(own_export: Path, own_dataset: Dataset) -> None:
    before = tree(own_export)
    shard = next(own_export.glob("data/executor/train-*"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    result = export(own_dataset, own_export, ExportOptions(tokenizer="openvla_bins", horizon=4), workers=0)
    assert result.kept == 1
    assert tree(own_export) == before


def test_another_export_replaces_the_old_one_and_leaves_foreign_files(own_export: Path, own_dataset: Dataset) -> None:
    (own_export / "notes.txt").write_text("mine")
    (own_export / "data/executor/train-00007-of-00009.parquet").write_bytes(b"from a killed run")
    export(own_dataset, own_export, dataclasses.replace(SMALL, horizon=2, splits={"all": 1.0}), workers=0)
    shards = [n for n in visible(own_export) if n.startswith("data/")]
    assert all(n.startswith("data/executor/all-") for n in shards)
    manifest = json.loads((own_export / "manifest.json").read_text())
    assert {f["file"] for f in manifest["files"]} | {"manifest.json", "notes.txt"} == set(visible(own_export))


def test_an_old_manifest_can_not_remove_files_elsewhere(own_export: Path, own_dataset: Dataset) -> None:
    victim = own_export.parent / "victim.txt"
    victim.write_text("precious")
    manifest = json.loads((own_export / "manifest.json").read_text())
    manifest["files"].append({"file": "../victim.txt", "size": 8, "sha256": ""})
    (own_export / "manifest.json").write_text(json.dumps(manifest))
    export(own_dataset, own_export, ExportOptions(), workers=0)
    assert victim.read_text() == "precious"


def test_a_folder_that_is_no_export_is_left_alone(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("x")
    with pytest.raises(ExportError, match=r"holds 'thesis.tex' and is no export"):
        export(dataset, tmp_path / "home", ExportOptions(), workers=0)
    assert [p.name for p in (tmp_path / "home").iterdir()] == ["thesis.tex"]
    with pytest.raises(ExportError, match="is a file"):
        export(dataset, tmp_path / "home" / "thesis.tex", ExportOptions(), workers=0)


def test_dataset_and_export_are_never_one_folder(own_dataset: Dataset) -> None:
    for out in (own_dataset.path, own_dataset.path / "out", own_dataset.path.parent):
        with pytest.raises(ExportError, match="folders of their own"):
            export(own_dataset, out, ExportOptions(), workers=0)


def test_two_exports_into_one_folder_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / ".unfinished").mkdir(parents=True)
    lock = os.open(out / ".unfinished" / "lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ExportError, match="another process"):
            export(dataset, out, ExportOptions(), workers=0)
    finally:
        os.close(lock)


def test_a_refused_export_leaves_the_old_one_whole(own_export: Path, own_dataset: Dataset) -> None:
    before = tree(own_export)
    with pytest.raises(ExportError, match="no camera"):
        export(own_dataset, own_export, ExportOptions(cameras=("nothing",)), workers=0)
    assert tree(own_export) == before


def test_a_damaged_frame_stops_the_export_and_is_named(make_dataset: Callable[..., Dataset], tmp_path: Path) -> None:
    dataset: Any = make_dataset({}, {})
    frames = dataset[1].streams["front"].frames
    place = int(frames.order[9]) + 50
    path = dataset.path / dataset.entries[1].file
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(ExportError, match="frame 9 is damaged"):
        export(dataset, tmp_path / "out", ExportOptions(splits={"train": 1.0}), workers=1)
    assert not list((tmp_path / "out").glob("data/executor/*"))
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_full_disk_is_said_before_anything_is_written(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.statvfs
    full = lambda path: os.statvfs_result((4096, 4096, 100, 1, 1, *real(path)[5:]))  # noqa: E731
    monkeypatch.setattr(os, "statvfs", full)
    with pytest.raises(OSError, match="the disk has 4,096 left"):
        export(dataset, tmp_path / "out", ExportOptions(), workers=0)
    shutil.rmtree(tmp_path / "out", ignore_errors=True)


def test_a_disk_that_fills_up_leaves_no_half_shard(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = _HashingFile.put

    def put(self: _HashingFile, page: bytes) -> None:
        if self._file.tell() > 60_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(self, page)

    monkeypatch.setattr(_HashingFile, "put", put)
    with pytest.raises(ExportError, match=r"train-00000-of-00001\.parquet: disk full"):
        export(dataset, tmp_path / "out", ExportOptions(), workers=0)
    assert sorted(p.name for p in (tmp_path / "out/data/executor").iterdir()) == ["validation-00000-of-00001.parquet"]
    monkeypatch.undo()
    assert export(dataset, tmp_path / "out", ExportOptions(), workers=0).kept == 1
