"""The main job on recordings that nobody here made, from the source's bytes to rows that a trainer loads.

Everything is compared with an independent reading: protobuf by hand, Parquet by pyarrow, video by PyAV.
"""

import hashlib
import json
import shutil
import struct
from collections import Counter

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import vladata

BRIDGE = "bridge_rlds_tfrecord"
G1 = "g1_inspire_lerobot_v21"
G1_CAMERA = "cam_high"


# An independent reader of TFRecord and tf.train.Example, by the wire format of protocol buffers.


def records(path):
    data, position = path.read_bytes(), 0
    while position < len(data):
        size = struct.unpack_from("<Q", data, position)[0]
        yield data[position + 12 : position + 12 + size]
        position += size + 16


def varint(data, position):
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position


def fields(data):
    position = 0
    while position < len(data):
        key, position = varint(data, position)
        assert key & 7 == 2
        size, position = varint(data, position)
        yield key >> 3, data[position : position + size]
        position += size


def example(data):
    """Features of a tf.train.Example by name: lists of bytes, or arrays of float32."""
    found = {}
    ((_, features),) = fields(data)
    for _, entry in fields(features):
        name, feature = (value for _, value in fields(entry))
        for kind, values in fields(feature):
            inner = [v for _, v in fields(values)]
            found[name.decode()] = np.frombuffer(b"".join(inner), "<f4") if kind == 2 else inner
    return found


@pytest.fixture(scope="module")
def bridge_source(shared_data):
    """Demonstrations of the source by place."""
    (folder,) = (shared_data / BRIDGE).glob("*/1.0.0")
    return {
        f"{path.name}#{i:05d}": example(record)
        for path in sorted(folder.glob("*.tfrecord-*"))
        for i, record in enumerate(records(path))
    }


@pytest.fixture(scope="module")
def bridge(shared_data, process, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bridge") / "dataset"
    done = process("ingest", shared_data / BRIDGE, "-s", "widowx_bridge", "-o", folder, "--workers", 2)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def g1(shared_data, process, tmp_path_factory):
    folder = tmp_path_factory.mktemp("g1") / "dataset"
    done = process("ingest", shared_data / G1, "-s", "unitree_g1_inspire", "-o", folder, "--workers", 2)
    return folder, done


BRIDGE_RECIPE = """
recipe: 1
select: 'task ~ "carrot" or task ~ "cup"'
idle: {drop: [head, tail, middle], limit: 0.3}
split: {shares: {train: 0.8, validation: 0.2}, group_by: [session, near_duplicate], stratify_by: [task]}
action: {horizon_s: 1.0, normalization: min_max}
tokenizer: {scheme: uniform_bins, num_codes: 64}
images: {cameras: [image_0]}
"""


class TestBridgeRecipe:
    def test_selected_tasks_are_exported_by_recipe_and_copies_stay_together(self, bridge, process, tmp_path):
        (tmp_path / "recipe.yaml").write_text(BRIDGE_RECIPE)
        words = ["export", bridge, "-o", tmp_path / "out", "--recipe", tmp_path / "recipe.yaml", "--workers", 2]
        planned = json.loads(process(*words, "--dry-run", "--json").stdout)
        done = process(*words)
        assert done.returncode in (0, 3), done.stderr
        manifest = json.loads((tmp_path / "out/manifest.json").read_text())
        wanted = [e for e in vladata.open(bridge).entries if "carrot" in e.instruction or "cup" in e.instruction]
        assert [e["episode_id"] for e in manifest["episodes"]] == [e.episode_id for e in wanted]
        assert len({(e["group"], e["split"]) for e in manifest["episodes"]}) == len({e.content_digest for e in wanted})
        rows = {name: split["rows"] for name, split in manifest["splits"].items()}
        assert rows == {name: split["rows"] for name, split in planned["splits"].items()}
        for counts in planned["strata"].values():
            assert set(counts) == {"train", "validation"}
            assert counts["validation"] > 0
        assert manifest["options"]["horizon"] == 5  # at 5 Hz
        assert planned["tokens"]["longest"] == 5 * 7
        assert process("verify", tmp_path / "out").returncode == 0


class TestBridge:
    def test_every_value_image_and_instruction_is_the_source_s(self, bridge, bridge_source):
        dataset = vladata.open(bridge)
        assert len(dataset) == len(bridge_source) == 50
        assert {e.place for e in dataset.entries} == set(bridge_source)
        for entry in dataset.entries:
            episode, source = dataset.episode(entry), bridge_source[entry.place]
            assert len(episode) == 10
            action = source["steps/action"].reshape(10, 7)
            state = source["steps/observation/state"].reshape(10, 7)
            assert episode.steps.action["action"].tobytes() == action.tobytes()
            assert episode.steps.proprioception["state"].tobytes() == state.tobytes()
            assert episode.instruction.encode() == source["steps/language_instruction"][0]
            assert len(set(source["steps/language_instruction"])) == 1
            assert list(episode.steps.images) == ["image_0", "image_1", "image_2", "image_3"]
            for camera, index in episode.steps.images.items():
                frames = episode.streams[camera].frames
                stored = [bytes(frames.read(i)) for i in index]
                assert stored == source[f"steps/observation/{camera}"]
                assert episode[3].images[camera].shape == (64, 64, 3)
            assert all(v.all() for v in episode.steps.valid.values())
            assert entry.split in entry.place

    def test_validate_reports_the_25_pairs_of_equal_content(self, bridge, bridge_source, cli):
        done = cli("validate", bridge, "--json")
        report = json.loads(done.stdout)
        pairs = [f for f in report["findings"] if f["check"] == "duplicates.equal_content"]
        assert len(pairs) == 25
        place = {e.episode_id: e.place for e in vladata.open(bridge).entries}
        for pair in pairs:
            ids = {*pair["others"], pair["episode_id"]} - {""}
            first, second = (bridge_source[place[i]] for i in ids)
            assert first["steps/action"].tobytes() == second["steps/action"].tobytes()
        # What else is wrong is really wrong: an optional camera that was absent is black, and time was never recorded.
        black = [f for f in report["findings"] if f["check"].startswith("camera.")]
        assert {(f["check"], f["severity"], f["location"]) for f in black} == {
            ("camera.black_frames", "warning", "/streams/image_3/frames")
        }
        places = {place[f["episode_id"]] for f in black}
        assert places == {p for p, s in bridge_source.items() if len(set(s["steps/observation/image_3"])) == 1}
        # Train and val hold the same demonstrations: one error, about the dataset.
        errors = [f for f in report["findings"] if f["severity"] == "error"]
        assert [(f["check"], len(f["others"])) for f in errors] == [("duplicates.across_splits", 50)]
        assert done.returncode == 4
        assert "timing.not_measured" in {f["check"] for f in report["findings"]}

    def test_the_same_bytes_with_one_worker_and_when_run_again(
        self, shared_data, bridge, process, tmp_path, digest_of_tree
    ):
        before = digest_of_tree(bridge)
        arguments = ["ingest", shared_data / BRIDGE, "-s", "widowx_bridge", "-o"]
        assert process(*arguments, tmp_path / "one", "--workers", 1).returncode == 0
        assert digest_of_tree(tmp_path / "one") == before
        again = process(*arguments, bridge, "--workers", 2)
        assert again.returncode == 0
        assert "0 new episodes, 50 already there" in again.stdout
        assert digest_of_tree(bridge) == before

    def test_verify_agrees(self, bridge, cli):
        done = cli("verify", bridge, "--json")
        assert done.returncode == 0
        assert json.loads(done.stdout)["files"] == 50


class TestG1:
    def test_the_episode_with_video_comes_in_and_the_99_without_are_listed(self, g1):
        folder, done = g1
        assert done.returncode == 3
        (entry,) = vladata.open(folder).entries
        assert (entry.place, entry.num_steps) == ("episode_000001", 393)
        rejected = json.loads((folder / "rejected.json").read_text())["rejected"]
        assert [r["place"] for r in rejected] == [f"episode_{i:06d}" for i in range(100) if i != 1]
        assert all(f"{r['place']}.mp4 is not there" in r["reason"] for r in rejected)
        lines = [line for line in done.stderr.splitlines() if line.startswith("rejected")]
        assert len(lines) == 99
        assert "1 new episodes, 99 rejected" in done.stdout

    def test_every_step_is_the_row_of_the_same_index_and_its_very_frame(self, g1, shared_data):
        source = shared_data / G1
        table = pq.read_table(source / "data/chunk-000/episode_000001.parquet")
        info = json.loads((source / "meta/info.json").read_text())
        (episode,) = vladata.open(g1[0])
        for name, column in (("state", "observation.state"), ("action", "action")):
            rows = np.array(table.column(column).to_pylist(), dtype=np.float32)
            names = info["features"][column]["names"][0]
            signal = episode.embodiment.signal(name)
            ours = [n.removesuffix("_joint").replace("_", "").lower() for n in signal.names]
            theirs = [n.removeprefix("k").lower() for n in names]
            if sorted(ours) == sorted(theirs):  # names that only differ in their style tell the order, too
                rows = rows[:, [theirs.index(n) for n in ours]]
            values = {**episode.steps.action, **episode.steps.proprioception}[name]
            assert values.tobytes() == rows.tobytes()
        (video,) = source.glob("videos/chunk-000/*/episode_000001.mp4")
        with av.open(str(video)) as container:
            frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
        assert len(frames) == len(episode) == 393
        assert episode.steps.images[G1_CAMERA].tolist() == list(range(393))
        for i in (*range(0, 393, 37), 391, 392, 5):  # backward as well
            assert np.array_equal(episode[i].image(G1_CAMERA), frames[i])
        assert episode.instruction == "Pick up the yellow bottle on the table."

    @pytest.mark.slow
    def test_all_frames_are_the_source_s(self, g1, shared_data):
        (video,) = (shared_data / G1).glob("videos/chunk-000/*/episode_000001.mp4")
        (episode,) = vladata.open(g1[0])
        with av.open(str(video)) as container:
            for i, frame in enumerate(container.decode(video=0)):
                assert np.array_equal(episode[i].image(G1_CAMERA), frame.to_ndarray(format="rgb24"))

    def test_the_video_packets_are_kept_as_they_are(self, g1, shared_data):
        (video,) = (shared_data / G1).glob("videos/chunk-000/*/episode_000001.mp4")
        (episode,) = vladata.open(g1[0])
        frames = episode.streams[G1_CAMERA].frames
        with av.open(str(video)) as container:
            packets = [bytes(p) for p in container.demux(video=0) if p.size]
        assert [bytes(frames.read(i)) for i in range(len(packets))] == packets

    def test_it_validates_and_the_findings_are_honest(self, g1, cli):
        done = cli("validate", g1[0], "--json")
        assert done.returncode == 0
        checks = Counter(f["check"] for f in json.loads(done.stdout)["findings"])
        assert checks["timing.not_measured"] == 1
        assert checks["labels.outcome"] == 1

    def test_the_same_bytes_with_one_worker(self, shared_data, g1, process, tmp_path, digest_of_tree):
        out = tmp_path / "one"
        done = process("ingest", shared_data / G1, "-s", "unitree_g1_inspire", "-o", out, "--workers", 1)
        assert done.returncode == 3
        assert digest_of_tree(out) == digest_of_tree(g1[0])


# Export.


@pytest.fixture(scope="module")
def bridge_shards(bridge, process, tmp_path_factory):
    out = tmp_path_factory.mktemp("bridge_shards") / "shards"
    done = process("export", bridge, "-o", out, "--tokenizer", "openvla_bins", "--horizon", 1, "--workers", 2)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def g1_shards(g1, process, tmp_path_factory):
    out = tmp_path_factory.mktemp("g1_shards") / "shards"
    done = process("export", g1[0], "-o", out, "--tokenizer", "openvla_bins", "--horizon", 4, "--split", "train=1")
    assert done.returncode == 0, done.stderr
    return out


def rows_of(out):
    return [
        {**row, "split": path.name.partition("-")[0]}
        for path in sorted(out.glob("data/executor/*.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]


def decoded_by_hand(out, codes, horizon):
    """OpenVLA's own arithmetic on what stands beside the shards: bin centers, then q01 and q99; [N, H, D]."""
    facts = json.loads((out / "action_tokenizer" / "action_tokenizer.json").read_text())
    norm = facts["normalization"]
    low, high, mask = (np.array(norm[n]) for n in ("low", "high", "mask"))
    bins = np.linspace(-1, 1, 256)
    centers = (bins[:-1] + bins[1:]) / 2
    normalized = centers[np.clip(codes, 0, 254)].reshape(len(codes), horizon, len(low))
    values = np.where(mask, 0.5 * (normalized + 1) * (high - low) + low, normalized)
    half_bin = np.where(mask, (high - low) / 2, 1) / 255
    return values, half_bin, np.where(mask, low, -1), np.where(mask, high, 1)


class TestExport:
    @pytest.mark.parametrize(("name", "horizon"), [("bridge_shards", 1), ("g1_shards", 4)])
    def test_stored_codes_decode_to_the_action_within_half_a_bin_for_every_row(self, request, name, horizon):
        out = request.getfixturevalue(name)
        rows = rows_of(out)
        codes = np.array([r["action_codes"] for r in rows])
        chunks = np.array([r["action_chunk"] for r in rows], dtype=np.float64)
        assert codes.min() >= 0
        assert codes.max() <= 255
        values, half_bin, low, high = decoded_by_hand(out, codes, horizon)
        inside = (chunks >= low) & (chunks <= high)
        assert inside.mean() > 0.9
        error = np.abs(values - np.clip(chunks, low, high))
        assert (error <= half_bin * (1 + 1e-6) + 1e-9).all()
        card = (out / "README.md").read_text()
        for count in np.unique((~inside).sum(axis=(0, 1))):
            assert count == 0 or f"{count:,}" in card or str(count) in card

    def test_our_tokenizer_decodes_the_same(self, bridge_shards):
        from vladata.action_tokenizer import ActionTokenizer

        codes = np.array([r["action_codes"] for r in rows_of(bridge_shards)])
        values, *_ = decoded_by_hand(bridge_shards, codes, 1)
        ours = ActionTokenizer.load(bridge_shards / "action_tokenizer").decode(codes)
        assert np.allclose(ours, values, rtol=0, atol=1e-12)

    def test_rows_are_the_source_s_steps_and_images_its_very_bytes(self, bridge, bridge_shards, bridge_source):
        entries = {e.episode_id: e.place for e in vladata.open(bridge).entries}
        rows = rows_of(bridge_shards)
        assert len(rows) == 500
        for row in rows:
            source, k = bridge_source[entries[row["episode_id"]]], row["step_index"]
            assert np.float32(row["action"]).tobytes() == source["steps/action"].reshape(10, 7)[k].tobytes()
            state = source["steps/observation/state"].reshape(10, 7)[k]
            assert np.float32(row["observation.state"]).tobytes() == state.tobytes()
            assert row["task"].encode() == source["steps/language_instruction"][k]
            for camera in range(4):
                image = row[f"observation.images.image_{camera}"]["bytes"]
                assert image == source[f"steps/observation/image_{camera}"][k]

    def test_no_split_separates_equal_content(self, bridge_shards):
        splits = {}
        for row in rows_of(bridge_shards):
            content = hashlib.sha256(
                b"".join(row[f"observation.images.image_{i}"]["bytes"] for i in range(4)) + str(row["action"]).encode()
            ).hexdigest()
            splits.setdefault(content, set()).add(row["split"])
        assert len(splits) == 250
        assert all(len(s) == 1 for s in splits.values())
        assert {s for names in splits.values() for s in names} == {"train", "validation"}

    def test_chunks_are_the_following_actions_and_what_is_beyond_the_end_is_marked(self, g1_shards):
        rows = rows_of(g1_shards)
        actions = np.array([r["action"] for r in rows])
        assert [r["step_index"] for r in rows] == list(range(393))
        for k, row in enumerate(rows):
            expected = actions[np.minimum(np.arange(k, k + 4), 392)]
            assert np.array_equal(row["action_chunk"], expected)
            assert row["action_is_pad"] == [k + i > 392 for i in range(4)]

    def test_verify_re_reads_everything(self, bridge_shards, g1_shards, cli):
        for out, count in ((bridge_shards, 500), (g1_shards, 393)):
            done = cli("verify", out, "--json")
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["rows"] == count

    def test_verify_finds_a_changed_code(self, bridge_shards, tmp_path, cli):
        out = tmp_path / "shards"
        shutil.copytree(bridge_shards, out)
        (path,) = out.glob("data/executor/validation-*.parquet")
        table = pq.read_table(path)
        codes = table.column("action_codes").to_pylist()
        codes[3][2] ^= 1
        index = table.column_names.index("action_codes")
        field = table.schema.field(index)
        pq.write_table(table.set_column(index, field, pa.array(codes, field.type)), path)
        done = cli("verify", out)
        assert done.returncode == 4
        assert path.name in done.stderr

    def test_the_same_bytes_with_one_worker_and_when_run_again(
        self, bridge, bridge_shards, process, tmp_path, digest_of_tree
    ):
        before = digest_of_tree(bridge_shards)
        out = tmp_path / "one"
        assert (
            process(
                "export", bridge, "-o", out, "--tokenizer", "openvla_bins", "--horizon", 1, "--workers", 1
            ).returncode
            == 0
        )
        assert digest_of_tree(out) == before
        arguments = [
            "export",
            bridge,
            "-o",
            bridge_shards,
            "--tokenizer",
            "openvla_bins",
            "--horizon",
            1,
            "--workers",
            2,
        ]
        assert process(*arguments).returncode == 0
        assert digest_of_tree(bridge_shards) == before

    def test_datasets_loads_it_plain_and_streaming_and_after_another_export(self, bridge, tmp_path, process):
        """In a process of its own, with a cache of its own, as a trainer would."""
        out = tmp_path / "shards"
        script = tmp_path / "load.py"
        script.write_text(LOAD)
        seen = []
        for options in (
            ["--tokenizer", "openvla_bins", "--horizon", "1"],
            ["--tokenizer", "uniform_bins", "--bins", "64", "--horizon", "2"],
        ):
            assert process("export", bridge, "-o", out, *options).returncode == 0
            seen.append(load(script, out, tmp_path / "cache"))
            rows = {(r["split"], r["episode_index"], r["step_index"]): r["action_codes"] for r in rows_of(out)}
            for split, episode, step, codes in seen[-1]["rows"]:
                assert rows[split, episode, step] == codes
            assert len(seen[-1]["rows"]) == len(rows) == 500
            assert seen[-1]["streamed"] == seen[-1]["rows"]
            assert seen[-1]["image"] == [64, 64]
        assert seen[0]["rows"] != seen[1]["rows"]


LOAD = """
import json, sys
from datasets import load_dataset

out, cache = sys.argv[1:]
found = {"rows": [], "streamed": []}
for name, streaming in (("rows", False), ("streamed", True)):
    loaded = load_dataset(out, cache_dir=cache, streaming=streaming)
    for split in sorted(loaded):
        for row in loaded[split].select_columns(["episode_index", "step_index", "action_codes"]):
            found[name].append([split, row["episode_index"], row["step_index"], row["action_codes"]])
image = next(iter(load_dataset(out, cache_dir=cache)["train"]))["observation.images.image_0"]
found["image"] = list(image.size)
print(json.dumps(found))
"""


def load(script, out, cache):
    import os
    import subprocess
    import sys

    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "HF_HOME": str(cache)}
    done = subprocess.run(
        [sys.executable, script, out, cache], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
