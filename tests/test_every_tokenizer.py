"""Each tokenizer with each vocabulary on real recordings: exported, loaded by `datasets`, decoded by a robot.

The robot is a process of its own that can import the standard library, numpy, tokenizers and vladata, nothing else.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from vladata import plugins
from vladata.action_tokenizer import ActionTokenizer
from vladata.exporters.huggingface import ExportOptions, export
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


@pytest.fixture(scope="module")
def exports(bridge: Dataset, base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """An export for each tokenizer and vocabulary, with the actions that the robot decoded beside it."""
    folder = tmp_path_factory.mktemp("exports")
    made, jobs = {}, []
    for scheme in SCHEMES:
        for kind in KINDS:
            out = folder / f"{scheme}_{kind}"
            options = ExportOptions(
                tokenizer=scheme,
                horizon=HORIZON,
                cameras=("image_0",),
                base_tokenizer=base,
                vocabulary=kind,  # type: ignore[arg-type]  # all kinds are tried
            )
            export(bridge, out, options, workers=0)
            made[scheme, kind] = out
            rows = pq.read_table(out / "data" / "executor", columns=["action_token_ids"]).to_pylist()
            ids = [row["action_token_ids"] for row in rows]
            jobs.append({"folder": str(out / "action_tokenizer"), "ids": ids, "answer": str(out / "decoded.npy")})
    done = subprocess.run(
        [sys.executable, "-I", "-c", ROBOT],
        input="\n".join(map(json.dumps, jobs)),
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return made


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scheme", SCHEMES)
class TestBridgeData:
    def test_a_robot_gets_the_actions_within_the_bound(
        self, exports: dict[tuple[str, str], Path], scheme: str, kind: str
    ) -> None:
        out = exports[scheme, kind]
        tokenizer = ActionTokenizer.load(out / "action_tokenizer")
        rows = pq.read_table(out / "data" / "executor", columns=["action_chunk"]).to_pylist()
        chunks = np.array([row["action_chunk"] for row in rows], dtype=np.float64)
        decoded = np.load(out / "decoded.npy")

        assert decoded.shape == chunks.shape == (500, HORIZON, 7)
        is_clipped = tokenizer.is_clipped(chunks)
        error = np.abs(decoded - chunks)
        assert (error <= tokenizer.error_bound(chunks) + 1e-12)[~is_clipped].all()
        assert is_clipped.mean() < 0.2
        assert np.isfinite(decoded).all()

    def test_datasets_loads_it(
        self, exports: dict[tuple[str, str], Path], tmp_path: Path, scheme: str, kind: str
    ) -> None:
        import datasets

        datasets.disable_progress_bars()
        rows = datasets.load_dataset(str(exports[scheme, kind]), "executor", cache_dir=str(tmp_path))

        assert sum(len(split) for split in rows.values()) == 500
        first = rows["train"].remove_columns("observation.images.image_0")[0]
        ids, labels = first["action_token_ids"], first["labels"]
        place = next(i for i, label in enumerate(labels) if label != -100)
        assert first["input_ids"][place : place + len(ids)] == ids
        assert labels[place] == ids[0]
