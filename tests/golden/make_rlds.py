"""Write the RLDS dataset in tests/golden/rlds with TensorFlow Datasets itself, and what it reads of that dataset.

Neither TensorFlow nor TensorFlow Datasets is needed to run the tests; this script needs both, in an environment of
their own:

    python -m venv tfds && tfds/bin/pip install tensorflow-cpu tensorflow-datasets
    tfds/bin/python tests/golden/make_rlds.py

The dataset holds the kinds of features that robot datasets have, each small: raw and encoded tensors, images, ragged
sequences, texts, class labels. `expected.json` holds the values as TFDS gives them back.
"""

import base64
import json
import os
import shutil
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

F = tfds.features
FOLDER = Path(__file__).resolve().parent / "rlds"
EPISODES = {"train": [3, 1], "val": [2]}
"""Steps of each episode, by split."""


class GoldenRobot(tfds.core.GeneratorBasedBuilder):
    """A robot that never was."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First."}

    def _info(self):
        observation = F.FeaturesDict(
            {
                "state": F.Tensor(shape=(2,), dtype=np.float32),
                "state_double": F.Tensor(shape=(2,), dtype=np.float64),
                "state_zlib": F.Tensor(shape=(2,), dtype=np.float64, encoding="zlib"),
                "state_bytes": F.Tensor(shape=(2, 2), dtype=np.int16, encoding="bytes"),
                "counter": F.Scalar(np.uint64),
                "flags": F.Tensor(shape=(3,), dtype=np.bool_),
                "png": F.Image(shape=(4, 5, 3), encoding_format="png"),
                "jpeg": F.Image(shape=(4, 5, 3), encoding_format="jpeg"),
                "depth16": F.Image(shape=(4, 5, 1), dtype=np.uint16, encoding_format="png"),
                "depth_float": F.Image(shape=(4, 5, 1), dtype=np.float32),
                "pixels": F.Tensor(shape=(4, 5, 3), dtype=np.uint8),
                "pixels_zlib": F.Tensor(shape=(4, 5, 3), dtype=np.uint8, encoding="zlib"),
                "gray_bytes": F.Tensor(shape=(4, 5, 1), dtype=np.uint8, encoding="bytes"),
                "any_size": F.Tensor(shape=(None, None, 3), dtype=np.uint8, encoding="zlib"),
                "history": F.Sequence(F.Image(shape=(4, 5, 3), encoding_format="png")),
                "window": F.Sequence(F.Tensor(shape=(2,), dtype=np.float32)),
                "points": F.Sequence(F.Tensor(shape=(3,), dtype=np.float32)),
                "nested": F.Sequence(F.Sequence(np.int64)),
                "objects": F.Sequence({"name": F.Text(), "box": F.BBoxFeature()}),
            }
        )
        return tfds.core.DatasetInfo(
            builder=self,
            features=F.FeaturesDict(
                {
                    "steps": F.Dataset(
                        {
                            "observation": observation,
                            "action": F.FeaturesDict(
                                {
                                    "arm": F.Tensor(shape=(2,), dtype=np.float32),
                                    "mode": F.ClassLabel(names=["hold", "move", "stop"]),
                                }
                            ),
                            "is_first": np.bool_,
                            "is_last": np.bool_,
                            "is_terminal": np.bool_,
                            "reward": F.Scalar(np.float32),
                            "discount": F.Scalar(np.float32),
                            "language_instruction": F.Text(),
                            "language_instruction_2": F.Text(),
                            "language_instruction_3": F.Text(),
                            "all_instructions": F.Sequence(F.Text()),
                            "instruction_codes": F.Tensor(shape=(12,), dtype=np.int32),
                        }
                    ),
                    "episode_metadata": F.FeaturesDict(
                        {
                            "file_path": F.Text(),
                            "episode_id": np.int32,
                            "success": np.bool_,
                            "calibration": F.Tensor(shape=(2, 2), dtype=np.float32),
                            "tags": F.Sequence(F.Text()),
                        }
                    ),
                }
            ),
        )

    def _split_generators(self, _manager):
        return {split: self._generate_examples(split) for split in EPISODES}

    def _generate_examples(self, split):
        for index, count in enumerate(EPISODES[split]):
            rng = np.random.default_rng([index, count])
            yield (
                index,
                {
                    "steps": [_step(rng, index, k, count) for k in range(count)],
                    "episode_metadata": {
                        "file_path": f"/home/someone/{split}/{index}.npy",
                        "episode_id": index - 1,
                        "success": index % 2 == 0,
                        "calibration": rng.standard_normal((2, 2)).astype(np.float32),
                        "tags": ["kitchen", "day"][:index],
                    },
                },
            )


def _step(rng, episode, k, count):
    def image(*shape):
        return rng.integers(0, 256, shape, dtype=np.uint8)

    codes = np.zeros(12, np.int32)
    text = "räum auf".encode()
    codes[: len(text)] = list(text)
    num_points = int(rng.integers(0, 4))
    return {
        "observation": {
            "state": rng.standard_normal(2).astype(np.float32),
            "state_double": rng.standard_normal(2),
            "state_zlib": rng.standard_normal(2),
            "state_bytes": rng.integers(-500, 500, (2, 2), dtype=np.int16),
            "counter": np.uint64(2**64 - 1 - k),
            "flags": rng.integers(0, 2, 3).astype(bool),
            "png": image(4, 5, 3),
            "jpeg": image(4, 5, 3),
            "depth16": rng.integers(0, 2**16, (4, 5, 1), dtype=np.uint16),
            "depth_float": rng.random((4, 5, 1), dtype=np.float32),
            "pixels": image(4, 5, 3),
            "pixels_zlib": image(4, 5, 3),
            "gray_bytes": image(4, 5, 1),
            "any_size": image(2 + episode, 3, 3),
            "history": [image(4, 5, 3), image(4, 5, 3)],
            "window": rng.standard_normal((2, 2)).astype(np.float32),
            "points": rng.standard_normal((num_points, 3)).astype(np.float32),
            "nested": [list(range(int(n))) for n in rng.integers(0, 3, k)],
            "objects": [{"name": f"o{j}", "box": F.BBox(0.0, 0.25, 0.5, 1.0)} for j in range(num_points)],
        },
        "action": {"arm": rng.standard_normal(2).astype(np.float32), "mode": ["hold", "move", "stop"][k % 3]},
        "is_first": k == 0,
        "is_last": k == count - 1,
        "is_terminal": k == count - 1 and episode != 1,
        "reward": float(k == count - 1),
        "discount": 1.0,
        "language_instruction": f"do {episode}",
        "language_instruction_2": f"please do {episode}",
        "language_instruction_3": "",
        "all_instructions": [f"do {episode}", "at once"],
        "instruction_codes": codes,
    }


def plain(value):
    """A value that TFDS gives, as JSON."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, tf.RaggedTensor):
        return value.to_list()
    array = np.asarray(value)
    if array.dtype == object or array.dtype.kind == "S":
        return json.loads(json.dumps(np.vectorize(lambda b: b.decode(), otypes=[object])(array).tolist()))
    if array.dtype == np.uint8 and array.size > 20:
        return {"shape": list(array.shape), "uint8": base64.b64encode(array.tobytes()).decode()}
    return array.tolist()


def main():
    """Write the dataset anew and say what TFDS reads."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    builder = GoldenRobot(data_dir=str(FOLDER))
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(num_shards=1),
    )
    version = Path(builder.data_dir)
    declared = json.loads((version / "features.json").read_text())
    (version / "features.json").write_text(json.dumps(declared, separators=(",", ":")) + "\n")  # as it is, but small
    expected = {}
    for split in EPISODES:
        episodes = builder.as_dataset(split=split, shuffle_files=False)
        expected[split] = [
            {
                "steps": [plain(s) for s in e["steps"]],
                "episode_metadata": plain(dict(e["episode_metadata"].items())),
            }
            for e in episodes
        ]
    (FOLDER / "expected.json").write_text(json.dumps(expected, indent=None, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
