"""Each tokenizer with each vocabulary on real recordings: exported, loaded by `datasets`, decoded by a robot.

The robot is a process of its own that can import the standard library, numpy, tokenizers and vladata, nothing else.
"""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from vladata import plugins
from vladata.action_tokenizer import ActionTokenizer
from vladata.exporters.huggingface import ExportOptions, export, retokenize
from vladata.store.dataset import Dataset
from vladata.vocabulary import VocabularyKind

SCHEMES = plugins.names("tokenizers")
KINDS = [str(kind) for kind in VocabularyKind]
HORIZON = 5

ROBOT = """
import json, sys
from importlib.abc import MetaPathFinder

ALLOWED = {"vladata", "numpy", "tokenizers", *sys.stdlib_module_names}


class OnlyThese(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in ALLOWED:
            raise ImportError(f"a robot has no {name}")
        return None


sys.meta_path.insert(0, OnlyThese())
import numpy as np
import vladata
from vladata.tokenizers import TokenRows

for line in sys.stdin:
    job = json.loads(line)
    tokenizer = vladata.ActionTokenizer.load(job["folder"])
    codes = tokenizer.from_ids(TokenRows.of(job["ids"]))
    np.save(job["answer"], tokenizer.decode(codes))
assert not {"datasets", "h5py", "pyarrow", "pydantic"} & sys.modules.keys()
"""


@pytest.fixture(scope="module")
def bridge(shared_data: Path, process: Any, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("bridge") / "dataset"
    done = process("ingest", shared_data / "bridge_rlds_tfrecord", "-s", "widowx_bridge", "-o", folder, "--workers", 2)
    assert done.returncode == 0, done.stderr
    return Dataset.open(folder)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A byte-level BPE with reserved tokens behind its vocabulary, as Llama 3 has them."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    draw = np.random.default_rng(0)
    words = ["".join(map(chr, row)) for row in draw.integers(97, 123, (3000, 6))]
    trainer = trainers.BpeTrainer(
        vocab_size=3000, special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator([" ".join(words[i : i + 20]) for i in range(0, 3000, 20)], trainer)
    tokenizer.add_special_tokens([AddedToken(f"<|reserved_special_token_{i}|>", special=True) for i in range(1100)])
    folder = tmp_path_factory.mktemp("base")
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": {"content": "</s>"}}))
    return folder


@dataclass(frozen=True, kw_only=True)
class Made:
    """What one tokenizer with one vocabulary made of the recordings."""

    bundle: Path
    chunks: np.ndarray[Any, Any]
    ids: list[list[int]]
    loaded: dict[str, Any]
    """The first row as `datasets` gives it, and the number of rows."""
    decoded: Path
    """What the robot decoded."""


def read(out: Path, folder: Path) -> Made:
    import datasets

    datasets.disable_progress_bars()
    folder.mkdir()
    shutil.copytree(out / "action_tokenizer", folder / "action_tokenizer")
    splits = datasets.load_dataset(str(out), "executor", cache_dir=str(folder / "cache"))
    table = pq.read_table(out / "data" / "executor", columns=["action_chunk", "action_token_ids"])
    return Made(
        bundle=folder / "action_tokenizer",
        chunks=np.array(table["action_chunk"].to_pylist(), dtype=np.float64),
        ids=table["action_token_ids"].to_pylist(),
        loaded={
            **splits["train"].remove_columns("observation.images.image_0")[0],
            "rows": sum(len(split) for split in splits.values()),
        },
        decoded=folder / "decoded.npy",
    )


PAIRS = [(scheme, kind) for scheme in SCHEMES for kind in KINDS]
SOME = [(s, k) for s, k in PAIRS if k == KINDS[0] or s in {"openvla_bins", "fast_safe"}]


@pytest.fixture(scope="module", params=[SOME, pytest.param(PAIRS, marks=pytest.mark.slow)], ids=["some", "all"])
def made(
    request: pytest.FixtureRequest, bridge: Dataset, base: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], Made]:
    """An export for each tokenizer, which is given one vocabulary after the other; and the robot's actions."""
    folder = tmp_path_factory.mktemp("exports")
    found = {}
    for scheme in SCHEMES:
        for kind in [k for s, k in request.param if s == scheme]:
            options = ExportOptions(
                tokenizer=scheme,
                horizon=HORIZON,
                cameras=("image_0",),
                base_tokenizer=base,
                vocabulary=kind,  # type: ignore[arg-type]  # all kinds are tried
            )
            if kind == KINDS[0]:
                export(bridge, folder / scheme, options, workers=0)
            else:
                retokenize(folder / scheme, options, workers=0)
            found[scheme, kind] = read(folder / scheme, folder / f"{scheme}_{kind}")
    jobs = [{"folder": str(m.bundle), "ids": m.ids, "answer": str(m.decoded)} for m in found.values()]
    done = subprocess.run(
        [sys.executable, "-I", "-c", ROBOT],
        input="\n".join(map(json.dumps, jobs)),
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return found


def test_a_robot_gets_the_actions_within_the_bound(made: dict[tuple[str, str], Made]) -> None:
    for (scheme, kind), own in made.items():
        tokenizer = ActionTokenizer.load(own.bundle)
        decoded = np.load(own.decoded)

        assert tokenizer.scheme == scheme
        assert str(tokenizer.vocabulary.kind if tokenizer.vocabulary else None) == kind
        assert decoded.shape == own.chunks.shape == (500, HORIZON, 7)
        is_clipped = tokenizer.is_clipped(own.chunks)
        error = np.abs(decoded - own.chunks)
        assert (error <= tokenizer.error_bound(own.chunks) + 1e-12)[~is_clipped].all(), (scheme, kind)
        assert is_clipped.mean() < 0.2, (scheme, kind)
        assert np.isfinite(decoded).all(), (scheme, kind)


def test_datasets_loads_it(made: dict[tuple[str, str], Made]) -> None:
    for pair, own in made.items():
        row = own.loaded
        assert row["rows"] == 500, pair
        ids, labels = row["action_token_ids"], row["labels"]
        assert ids == own.ids[0], pair
        place = next(i for i, label in enumerate(labels) if label != -100)
        assert row["input_ids"][place : place + len(ids)] == ids, pair
        assert labels[place] == ids[0], pair
