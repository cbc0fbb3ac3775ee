"""`vladata timing`, and what it finds on its way into episodes."""

import json

import pytest
import yaml

import vladata
from vladata.mapping import load_schema
from vladata.store.reader import read_episode

DRIFT = 400e-6


@pytest.fixture(scope="module")
def drifting(tmp_path_factory, write_recording):
    """A sample recording whose cameras run 400 ppm slow, behind a clock that is 150 ms off."""
    first = {}

    def change(topic, message, log_ns):
        if topic.startswith("/cameras"):
            stamp = message.header.stamp
            time_ns = stamp.sec * 10**9 + stamp.nanosec
            origin = first.setdefault("ns", time_ns)
            moved = time_ns - 150_000_000 - round((time_ns - origin) * DRIFT)
            stamp.sec, stamp.nanosec = divmod(moved, 10**9)
        return [(topic, message, log_ns)]

    return write_recording(tmp_path_factory.mktemp("drifting") / "demo.mcap", change, seconds=100)


@pytest.fixture
def mapping_file(tmp_path):
    def write(**streams):
        given = (
            load_schema("sample_arm").mapping_for("mcap").model_dump(mode="json", by_alias=True, exclude_defaults=True)
        )
        for name, changes in streams.items():
            given["streams"][name] = {"from": given["streams"][name]["from"], **changes}
        path = tmp_path / "mapping.yaml"
        path.write_text(yaml.safe_dump(given))
        return path

    return write


def test_a_table_the_lines_for_the_mapping_and_a_picture(cli, sample_recordings, tmp_path):
    picture = tmp_path / "timing.png"
    done = cli("timing", sample_recordings / "demo_002.mcap", "-s", "sample_arm", "--plot", picture)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "mcap · demo_002.mcap"
    assert lines[1].split("  ")[0] == "stream"
    front = next(line for line in lines if line.startswith("front"))
    assert "unix (header)" in front
    assert "±" in front
    assert "receipt" in next(line for line in lines if line.startswith("joint_command"))
    block = yaml.safe_load("\n".join(lines[lines.index("streams:") :]))
    assert set(block["streams"]["front"]) == {"latency_ns", "latency_uncertainty_ns"}
    assert "note  front: header ahead of log by" in done.stderr
    assert "drift within ±" in done.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_json_holds_all_of_it(cli, sample_recordings):
    done = cli("timing", sample_recordings / "demo_000.mcap", "-s", "sample_arm", "--json")
    found = json.loads(done.stdout)
    streams = {s["name"]: s for s in found["streams"]}
    assert streams["front"]["fit"]["drift_uncertainty_ppm"] > 0
    assert streams["front"]["fit"]["expected"].startswith("only 7.7 s")
    assert {m["kind"] for m in found["latencies"]} == {"command", "camera"}
    assert all(m["reason"] == "" or m["latency_ns"] is None for m in found["latencies"])


def test_without_a_schema_stamps_are_looked_at_and_latencies_asked_for(cli, sample_recordings):
    done = cli("timing", sample_recordings / "demo_000.mcap")
    assert done.returncode == 0
    assert "/joint_states" in done.stdout
    assert "latencies are measured with --schema" in done.stderr


def test_stamps_ahead_of_their_receipt_in_a_real_bag_are_named(cli, shared_data):
    bag = next((shared_data / "kuka_joint_states_ros1_bag").glob("*.bag"))
    done = cli("timing", bag, "--json")
    stream = next(s for s in json.loads(done.stdout)["streams"] if s["clock_choice"] == "header")
    assert stream["count"] == 4101
    assert -6 < stream["fit"]["offset_ns"] / 1e6 < -2
    assert any(p.startswith("header ahead of log by 4.") for p in stream["problems"])
    assert "header ahead of log by 4." in cli("inspect", bag).stderr


def test_a_usage_error_says_what_is_missing_and_nothing_is_overwritten(cli, sample_recordings, tmp_path):
    recording = sample_recordings / "demo_000.mcap"
    done = cli("timing", recording, "--mapping", recording)
    assert done.returncode == 2
    assert "--schema" in done.stderr
    there = tmp_path / "there.png"
    there.write_text("mine")
    done = cli("timing", recording, "--plot", there)
    assert done.returncode == 1
    assert "exists already" in done.stderr
    assert there.read_text() == "mine"
    assert "is no .png" in cli("timing", recording, "--plot", tmp_path / "x.jpg").stderr


def episodes(folder):
    return [read_episode(folder / e.file) for e in vladata.open(folder).entries]


def test_a_drifting_clock_is_found_corrected_at_ingest_kept_as_data_and_undone(cli, drifting, tmp_path, mapping_file):
    done = cli("timing", drifting, "-s", "sample_arm", "--json")
    fit = {s["name"]: s for s in json.loads(done.stdout)["streams"]}["front"]["fit"]
    assert abs(fit["drift_ppm"] - 400.16) <= fit["drift_uncertainty_ppm"]

    corrected = mapping_file(front={"correct": "drift", "latency_ns": 20_000_000, "latency_uncertainty_ns": 5_000_000})
    done = cli("ingest", drifting, "-s", "sample_arm", "--mapping", corrected, "-o", tmp_path / "corrected")
    assert done.returncode == 0, done.stderr
    assert cli("validate", tmp_path / "corrected", "--fail-on", "error").returncode in {0, 4}
    (episode,) = episodes(tmp_path / "corrected")
    front = episode.provenance["timing"]["front"]
    assert front["fit"]["drift_ppm"] == fit["drift_ppm"]
    assert front["declared"] == {"correct": "drift", "latency_ns": 20_000_000, "latency_uncertainty_ns": 5_000_000}
    applied = front["applied"]["correct"]
    assert applied["drift_ppm"] == fit["drift_ppm"]
    assert front["applied"]["latency_ns"] == 20_000_000
    frame = int(episode.steps.images["front"][3])
    stamp = int(episode.streams["front"].time_ns[frame])
    moved = stamp + applied["fit_offset_ns"] + round((stamp - applied["at_ns"]) * applied["drift_ppm"] * 1e-6)
    assert episode.steps.time_ns[3] == moved - 20_000_000

    plain = mapping_file(front={})
    cli("ingest", drifting, "-s", "sample_arm", "--mapping", plain, "-o", tmp_path / "plain")
    (native,) = episodes(tmp_path / "plain")
    assert (native.streams["front"].time_ns == episode.streams["front"].time_ns).all()
    assert native.episode_id != episode.episode_id
    assert native.content_digest == episode.content_digest  # of the native streams, which nothing touches
    again = mapping_file(front={"correct": "none", "latency_ns": None})
    cli("ingest", drifting, "-s", "sample_arm", "--mapping", again, "-o", tmp_path / "again")
    (undone,) = episodes(tmp_path / "again")
    assert (undone.episode_id, undone.content_digest) == (native.episode_id, native.content_digest)


def test_episodes_of_the_sample_recordings_have_the_ids_that_they_always_had(sample_dataset):
    ids = sorted(e.episode_id for e in vladata.open(sample_dataset).entries)
    assert ids == [
        "2bbdcc973c778643b32b9cd080a44664",
        "5010ba48af8c1aae4c867323a6901e7e",
        "754a58e24652f3744d365e3ba18f4a6b",
        "7de5bdbcb923781c2446736dba55efb7",
        "9b0a319eb12c2e6bbb6d7ddab7a9daae",
        "e7ce66c595ccc09d398194a74a1f15fe",
    ]
