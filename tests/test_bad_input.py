"""What bad input gets, through the real command: a reason in one line, and everything else goes on."""

import copy
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
MS = 1_000_000


def ingest(cli, *sources, out, schema="sample_arm", **options):
    return cli("ingest", *sources, "--schema", schema, "-o", out, **options)


def rejections(out):
    return {r["input"]: r["reason"] for r in json.loads((out / "rejected.json").read_text())["rejected"]}


def episodes(cli, out):
    done = cli("ls", out, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def no_traceback(done):
    assert "Traceback" not in done.stderr + done.stdout
    return done


@pytest.fixture(scope="module")
def short(tmp_path_factory, write_recording):
    """A good recording of a second and a half."""
    return write_recording(tmp_path_factory.mktemp("short") / "short.mcap")


@pytest.fixture(scope="module")
def damaged(tmp_path_factory, sample_recordings):
    """Files that are no recordings, or damaged, by name, with what must be said of each."""
    folder = tmp_path_factory.mktemp("damaged")
    data = (sample_recordings / "demo_000.mcap").read_bytes()
    contents = {
        "notes.txt": (b"bring the cables\n", "not a recording"),
        "empty.bin": (b"", "empty"),
        "beheaded.mcap": (data[100:], "begins with"),
        "line_endings.mcap": (data.replace(b"\r\n", b"\n"), "line endings were converted"),
        "renamed.mcap": (b"bring the cables\n", "begins with"),
        "empty.mcap": (b"", "has 0 bytes"),
        "cut_early.mcap": (data[:2_000], "truncated: the file ends at byte 2,000"),
        "only_magic.mcap": (data[:8], "truncated"),
    }
    for name, (content, _) in contents.items():
        (folder / name).write_bytes(content)
    return folder, {name: words for name, (_, words) in contents.items()}


class TestFilesThatAreNoRecordings:
    def test_one_bad_file_is_one_line_and_no_dataset(self, process, damaged, tmp_path):
        folder, reasons = damaged
        for name in ("notes.txt", "line_endings.mcap", "cut_early.mcap"):
            out = tmp_path / name
            done = ingest(process, folder / name, out=out)
            assert done.returncode == 1
            assert done.stdout == ""
            (line,) = done.stderr.splitlines()
            assert line.startswith(f"vladata: {name}: ")
            assert reasons[name] in line
            assert line.count(name) == 1
            assert [p.name for p in out.iterdir()] == ["rejected.json"]

    def test_bad_files_do_not_keep_good_ones_out(self, cli, damaged, short, tmp_path):
        folder, reasons = damaged
        names = sorted(reasons)
        done = ingest(cli, *(folder / n for n in names), short, tmp_path / "not there", out=tmp_path / "out")
        assert done.returncode == 3
        (row,) = episodes(cli, tmp_path / "out")
        assert (row["place"], row["num_steps"]) == ("short.mcap", 15)
        listed = rejections(tmp_path / "out")
        assert set(listed) == {*names, "not there"}
        for name, words in reasons.items():
            assert words in listed[name]
        # The bad ones stand at the end of what people see.
        last = done.stderr.splitlines()[-len(listed) :]
        assert all(line.startswith("rejected  ") for line in last)
        assert all(any(name in line for line in last) for name in listed)
        assert "1 new episodes, 9 rejected" in done.stdout

    def test_a_folder_is_searched_and_its_other_files_are_ignored_by_name(self, cli, damaged, short, tmp_path):
        folder = tmp_path / "in"
        shutil.copytree(damaged[0], folder / "deep" / "er")
        shutil.copy(short, folder / "deep")
        done = ingest(cli, folder, out=tmp_path / "out")
        assert done.returncode == 3
        assert (
            "ignored   deep/er/empty.bin, deep/er/notes.txt: no recordings, or of a kind without a mapping"
            in done.stderr
        )
        assert set(rejections(tmp_path / "out")) == {n for n in damaged[1] if n.endswith(".mcap")}
        assert len(episodes(cli, tmp_path / "out")) == 1

    def test_a_good_run_removes_the_list_of_the_bad_one(self, cli, damaged, short, tmp_path):
        out = tmp_path / "out"
        assert ingest(cli, damaged[0] / "empty.mcap", out=out).returncode == 1
        assert ingest(cli, damaged[0] / "empty.mcap", short, out=out).returncode == 3
        assert ingest(cli, short, out=out).returncode == 0
        assert not (out / "rejected.json").exists()

    def test_a_missing_path_is_named(self, cli, tmp_path):
        done = ingest(cli, tmp_path / "nothing.mcap", out=tmp_path / "out")
        assert done.returncode == 1
        assert done.stderr == f"vladata: {tmp_path}/nothing.mcap: no such file or folder\n"
        for command in ("inspect", "ls", "validate", "verify"):
            done = cli(command, tmp_path / "nothing")
            assert done.returncode == 1
            assert len(done.stderr.splitlines()) == 1
            assert "nothing" in done.stderr

    def test_a_folder_without_recordings_leaves_nothing(self, cli, tmp_path):
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "notes.txt").write_text("x")
        done = ingest(cli, tmp_path / "in", out=tmp_path / "out")
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1] == "vladata: there is no recording in what was given"
        assert not (tmp_path / "out").exists()

    def test_a_pipe_and_a_dangling_link_are_no_recordings(self, cli, short, tmp_path):
        folder = tmp_path / "in"
        folder.mkdir()
        os.mkfifo(folder / "pipe")
        (folder / "gone.mcap").symlink_to(tmp_path / "nowhere.mcap")
        shutil.copy(short, folder)
        done = ingest(cli, folder, out=tmp_path / "out")
        assert done.returncode == 3
        assert set(rejections(tmp_path / "out")) == {"gone.mcap"}
        assert len(episodes(cli, tmp_path / "out")) == 1

    def test_a_loop_of_links_ends(self, cli, short, tmp_path):
        folder = tmp_path / "in"
        folder.mkdir()
        shutil.copy(short, folder)
        (folder / "loop").symlink_to(folder)
        done = no_traceback(ingest(cli, folder, out=tmp_path / "out"))
        assert done.returncode == 3
        assert "nested deeper than 8 folders" in done.stderr
        assert len(episodes(cli, tmp_path / "out")) == 1

    def test_inspect_says_the_same_of_a_damaged_file(self, cli, damaged):
        folder, reasons = damaged
        for name in ("line_endings.mcap", "notes.txt"):
            done = cli("inspect", folder / name)
            assert (done.returncode, done.stdout) == (1, "")
            (line,) = done.stderr.splitlines()
            assert reasons[name] in line


class TestRecordingsThatAreDamagedInPart:
    """Everything that can be read comes in, and what is lost is said: exit code 3."""

    @pytest.mark.parametrize(
        ("damage", "words"),
        [
            (lambda data: data[:300_000], "truncated: the file ends at byte 300,000"),
            (lambda data: data[:200_000] + bytes([data[200_000] ^ 1]) + data[200_001:], "the chunk"),
        ],
        ids=["truncated", "flipped"],
    )
    def test_the_rest_comes_in_and_the_note_says_what_is_lost(self, cli, sample_recordings, tmp_path, damage, words):
        data = (sample_recordings / "demo_000.mcap").read_bytes()
        path = tmp_path / "demo.mcap"
        path.write_bytes(damage(data))
        out = tmp_path / "out"
        done = no_traceback(ingest(cli, path, out=out))
        assert done.returncode == 3
        assert any(words in line for line in done.stderr.splitlines())
        assert not (out / "rejected.json").exists()
        (row,) = episodes(cli, out)
        assert row["num_steps"] > 20
        assert cli("validate", out, "--fail-on", "never").returncode == 0
        done = no_traceback(cli("inspect", path))
        assert done.returncode == 0
        assert words in done.stdout + done.stderr


class TestRecordingsThatDoNotFit:
    def one(self, cli, path, tmp_path, **options):
        done = no_traceback(ingest(cli, path, out=tmp_path / "out", **options))
        (line,) = done.stderr.splitlines() if done.returncode == 1 else [""]
        return done, line

    def test_a_topic_that_is_missing_is_named_with_the_stream_and_those_that_are_there(
        self, cli, write_recording, tmp_path
    ):
        path = write_recording(
            tmp_path / "demo.mcap", lambda t, m, ns: [] if t == "/joint_commands" else [(t, m, ns)], seconds=0.5
        )
        done, line = self.one(cli, path, tmp_path)
        assert done.returncode == 1
        assert line.startswith("vladata: demo.mcap: joint_command is mapped to /joint_commands")
        assert "/joint_states" in line

    def test_a_vector_of_another_length_is_named_with_both_shapes(self, cli, write_recording, tmp_path):
        def shorter(topic, message, ns):
            if topic == "/joint_commands":
                message.data = list(message.data)[:6]
            return [(topic, message, ns)]

        path = write_recording(tmp_path / "demo.mcap", shorter, seconds=0.5)
        done, line = self.one(cli, path, tmp_path)
        assert done.returncode == 1
        assert "/joint_commands.data has shape [6]" in line
        assert "joint_command must have [7]" in line

    def test_a_vector_whose_length_changes_is_named_with_both_lengths(self, cli, write_recording, tmp_path):
        counter = iter(range(10_000))

        def shorter(topic, message, ns):
            if topic == "/joint_commands" and next(counter) == 4:
                message.data = list(message.data)[:6]
            return [(topic, message, ns)]

        path = write_recording(tmp_path / "demo.mcap", shorter, seconds=0.5)
        done, line = self.one(cli, path, tmp_path)
        assert done.returncode == 1
        assert re.search(r"message 4 has 6 values.* 7", line)

    def test_a_field_that_is_not_there_is_named(self, cli, write_recording, tmp_path):
        schema = tmp_path / "arm.yaml"
        text = _schema_text().replace("field: velocity", "field: speed")
        schema.write_text(text)
        path = write_recording(tmp_path / "demo.mcap", seconds=0.5)
        done, line = self.one(cli, path, tmp_path, schema=schema)
        assert done.returncode == 1
        assert "speed" in line
        assert "/joint_states" in line

    def test_a_camera_that_is_mapped_to_numbers_is_refused(self, cli, write_recording, tmp_path):
        schema = tmp_path / "arm.yaml"
        schema.write_text(_schema_text().replace("/cameras/front/compressed", "/joint_states"))
        path = write_recording(tmp_path / "demo.mcap", seconds=0.5)
        done, line = self.one(cli, path, tmp_path, schema=schema)
        assert done.returncode == 1
        assert "front is mapped to /joint_states" in line

    def test_a_format_without_mapping_prints_the_command_that_drafts_one(self, cli, tmp_path, shared_data):
        done, line = self.one(cli, shared_data / "bridge_rlds_tfrecord", tmp_path)
        assert done.returncode == 1
        assert "sample_arm has no mapping for rlds recordings" in line
        assert "vladata inspect" in line
        assert "--write-mapping" in line
        assert not (tmp_path / "out").exists()

    def test_a_recording_that_is_there_with_another_mapping_is_refused(self, cli, short, tmp_path):
        assert ingest(cli, short, out=tmp_path / "out").returncode == 0
        done = cli("ingest", short, "-s", "sample_arm", "-o", tmp_path / "out", "--set", "instruction=other words")
        assert done.returncode == 1
        assert "already in the dataset with another schema, mapping or labels" in done.stderr
        (row,) = episodes(cli, tmp_path / "out")
        assert row["instruction"] == "put the red cube into the blue bin"


def _schema_text():
    from importlib import resources

    return (resources.files("vladata_schemas") / "sample_arm.yaml").read_text()


class TestStamps:
    def test_of_equal_stamps_the_last_wins_and_they_are_counted_and_found(self, cli, write_recording, tmp_path):
        commands = []

        def twice(topic, message, ns):
            if topic != "/joint_commands":
                return [(topic, message, ns)]
            commands.append((ns, message.data[0]))
            other = copy.copy(message)
            other.data = [0.125, *list(message.data)[1:]]
            return [(topic, message, ns), (topic, other, ns)] if len(commands) % 3 == 0 else [(topic, message, ns)]

        path = write_recording(tmp_path / "demo.mcap", twice)
        done = ingest(cli, path, out=tmp_path / "out")
        assert done.returncode == 0
        report = json.loads(cli("validate", tmp_path / "out", "--json").stdout)
        (finding,) = [f for f in report["findings"] if f["check"] == "timing.equal_stamps"]
        doubled = {ns for ns, _ in commands[2::3]}
        assert str(len(doubled)) in finding["message"]
        assert finding["location"] == "/streams/joint_command/time_ns"
        (file,) = (tmp_path / "out").glob("episodes/*/*.h5")
        with h5py.File(file) as episode:
            counts = json.loads(episode["provenance"][()])["sync"]["counts"]
            stored = episode["streams/joint_command/time_ns"][()]
            times, action = episode["steps/time_ns"][()], episode["steps/action/joint_command"][()]
            ages = episode["steps/age_ns/joint_command"][()]
        assert json.dumps(counts).count(str(len(doubled))) >= 1
        assert len(stored) == len(commands) + len(doubled)  # both stay as recorded
        taken = [int(t - a) for t, a in zip(times, ages, strict=True)]
        hits = [i for i, t in enumerate(taken) if t in doubled]
        assert hits
        assert all(action[i, 0] == np.float32(0.125) for i in hits)

    def backward(self, write_recording, path):
        """The camera's clock jumps back by 200 ms in the middle."""
        count = 0

        def jump(topic, message, ns):
            nonlocal count
            if topic == "/cameras/front/compressed":
                count += 1
                if count > 15:
                    total = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec - 200 * MS
                    message.header.stamp.sec, message.header.stamp.nanosec = divmod(total, 10**9)
            return [(topic, message, ns)]

        return write_recording(path, jump)

    def test_backward_stamps_are_an_error_that_names_stream_and_stamp(self, cli, write_recording, tmp_path):
        path = self.backward(write_recording, tmp_path / "demo.mcap")
        done = ingest(cli, path, out=tmp_path / "out")
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert "front" in line
        assert "backward" in line or "goes back" in line
        assert re.search(r"\d{19}", line)

    def test_backward_stamps_begin_a_new_episode_where_the_mapping_says_so(self, cli, write_recording, tmp_path):
        path = self.backward(write_recording, tmp_path / "demo.mcap")
        schema = tmp_path / "arm.yaml"
        schema.write_text(_schema_text() + "    on_backward_time: split\n")
        done = ingest(cli, path, out=tmp_path / "out", schema=schema)
        rows = episodes(cli, tmp_path / "out")
        assert done.returncode == 0, done.stderr
        assert [r["place"] for r in rows] == ["demo.mcap#0", "demo.mcap#1"]
        assert all(r["num_steps"] > 3 for r in rows)


@pytest.fixture(scope="module")
def with_nan(tmp_path_factory, process, write_recording):
    """An episode whose commands are NaN for 0.2 s, and whose joint 3 is NaN at one sample before."""
    folder = tmp_path_factory.mktemp("nan")
    states = 0

    def damage(topic, message, ns):
        nonlocal states
        if topic == "/joint_commands" and 700 * MS <= ns % 10**9 < 900 * MS:
            message.data = [float("nan"), *list(message.data)[1:]]
        if topic == "/joint_states":
            states += 1
            if 60 <= states < 64:
                message.position = [*list(message.position)[:2], float("inf"), *list(message.position)[3:]]
        return [(topic, message, ns)]

    path = write_recording(folder / "demo.mcap", damage)
    done = ingest(process, path, out=folder / "out")
    assert done.returncode == 0, done.stderr
    return folder / "out"


class TestNotANumber:
    def test_it_is_kept_in_the_episode(self, with_nan):
        (file,) = with_nan.glob("episodes/*/*.h5")
        with h5py.File(file) as episode:
            assert np.isnan(episode["streams/joint_command/values"][()][:, 0]).sum() == 10
            assert np.isinf(episode["streams/joint_position/values"][()][:, 2]).sum() == 4
            assert np.isnan(episode["steps/action/joint_command"][()]).any()

    def test_validate_finds_it_and_leaves_with_4(self, cli, with_nan):
        done = cli("validate", with_nan, "--json")
        assert done.returncode == 4
        report = json.loads(done.stdout)
        errors = [f for f in report["findings"] if f["severity"] == "error"]
        assert {p for f in errors for p in f["location"].split("/")} >= {"joint_command", "joint_position"}
        assert {f["check"] for f in errors} == {"values.finite"}
        assert cli("validate", with_nan, "--fail-on", "never").returncode == 0

    def test_export_refuses_those_steps_and_counts_them(self, cli, with_nan, tmp_path):
        (file,) = with_nan.glob("episodes/*/*.h5")
        with h5py.File(file) as episode:
            parts = [episode["steps/action/joint_command"][()], episode["steps/proprioception/joint_position"][()]]
            bad = ~np.all([np.isfinite(p).all(axis=1) for p in parts], axis=0)
            num_steps = len(bad)
        assert 2 <= bad.sum() < num_steps
        shards = tmp_path / "shards"
        done = no_traceback(cli("export", with_nan, "-o", shards, "--split", "train=1"))
        assert done.returncode == 3, done.stderr
        counts = [int(n) for n in re.findall(r"refused +(\d+) steps: the (?:action|state) is not finite", done.stderr)]
        assert sum(counts) == bad.sum()
        import pyarrow.parquet as pq

        rows = [r for f in sorted(shards.glob("data/*/*.parquet")) for r in pq.read_table(f).to_pylist()]
        assert [r["step_index"] for r in rows] == list(np.flatnonzero(~bad))
        assert np.isfinite([r["action"] for r in rows]).all()


class TestTfRecords:
    @pytest.fixture
    def bridge(self, shared_data, tmp_path):
        folder = tmp_path / "bridge"
        shutil.copytree(shared_data / "bridge_rlds_tfrecord", folder)
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        return folder

    def records(self, path):
        """Where each record begins."""
        data, position, found = path.read_bytes(), 0, []
        while position < len(data):
            found.append(position)
            position += struct.unpack_from("<Q", data, position)[0] + 16
        return found

    def test_a_flipped_byte_is_a_crc_error_with_the_number_of_its_record(self, cli, bridge, tmp_path):
        (train,) = bridge.rglob("*train.tfrecord*")
        starts = self.records(train)
        assert len(starts) == 25
        data = bytearray(train.read_bytes())
        data[starts[7] + 5000] ^= 1
        train.write_bytes(data)
        done = no_traceback(ingest(cli, bridge, out=tmp_path / "out", schema="widowx_bridge"))
        assert done.returncode == 3
        (item,) = json.loads((tmp_path / "out" / "rejected.json").read_text())["rejected"]
        assert "CRC" in item["reason"]
        assert re.search(r"record 7\b", item["reason"])
        assert train.name in item["reason"]
        assert len(episodes(cli, tmp_path / "out")) == 49

    def test_a_flipped_length_is_no_reason_to_allocate(self, cli, bridge, tmp_path):
        (train,) = bridge.rglob("*train.tfrecord*")
        starts = self.records(train)
        data = bytearray(train.read_bytes())
        data[starts[7] + 6] ^= 0x40  # 2^54 bytes
        train.write_bytes(data)
        done = no_traceback(ingest(cli, bridge, out=tmp_path / "out", schema="widowx_bridge"))
        assert done.returncode in (1, 3)
        assert re.search(r"record 7\b", done.stderr)
        assert "memory" not in done.stderr


HOSTILE = '''
"""A source whose files crash, hang or grow the worker that reads them."""

import mmap
import os
import signal

from vladata.sources import Place, mcap

SUFFIXES = (".hostile",)
IS_GENERAL = False


def _act(words):
    if "crash" in words:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "hang" in words:
        while True:
            pass
    if "grow" in words:
        hog = []
        while True:
            hog.append(mmap.mmap(-1, 1 << 28))
    if "leave" in words:
        os._exit(0)
    if "raise" in words:
        raise ZeroDivisionError("\\x1b[31mdivision by hostile file\\nsecond line")


def can_read(path):
    if not path.is_file() or path.suffix != ".hostile":
        return False
    first = path.read_text().splitlines()[0]
    if first.startswith("detect"):
        _act(first)
    return True


def places(path):
    return [Place(name=path.name)]


def read(path, place, request):
    _act(path.read_text())
    yield


def inspect(path):
    _act(path.read_text())
'''


@pytest.fixture(scope="module")
def with_hostile_source(tmp_path_factory):
    """Environment in which `vladata.sources` has one more module, in workers too."""
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "plugins").mkdir()
    (folder / "plugins" / "hostile.py").write_text(HOSTILE)
    (folder / "sitecustomize.py").write_text(
        f"import vladata.sources\nvladata.sources.__path__.append({str(folder / 'plugins')!r})\n"
    )
    schema = folder / "arm.yaml"
    schema.write_text(
        _schema_text()
        + textwrap.dedent("""
          hostile:
            source: hostile
            streams:
              joint_position: {from: a}
              joint_velocity: {from: a}
              joint_command: {from: a}
              front: {from: a}
              wrist: {from: a}
    """)
        .replace("\n", "\n  ")
        .replace("\n        ", "\n")
    )
    return {**os.environ, "PYTHONPATH": str(folder)}, schema


class TestHostileFiles:
    def test_a_file_that_crashes_hangs_or_grows_its_worker_is_rejected_and_the_run_goes_on(
        self, process, with_hostile_source, short, tmp_path
    ):
        environment, schema = with_hostile_source
        folder = tmp_path / "in"
        folder.mkdir()
        for word in ("crash", "hang", "grow", "leave", "raise"):
            (folder / f"{word}.hostile").write_text(f"read {word}")
        shutil.copy(short, folder)
        started = time.monotonic()
        done = no_traceback(ingest(process, folder, out=tmp_path / "out", schema=schema, env=environment))
        assert done.returncode == 3, done.stderr
        assert time.monotonic() - started < 60
        reasons = rejections(tmp_path / "out")
        assert set(reasons) == {f"{w}.hostile" for w in ("crash", "hang", "grow", "leave", "raise")}
        assert "SIGSEGV" in reasons["crash.hostile"]
        assert "no progress for 10 s" in reasons["hang.hostile"]
        assert "memory" in reasons["grow.hostile"]
        assert "ended" in reasons["leave.hostile"]
        assert "unexpected ZeroDivisionError: division by hostile file" in reasons["raise.hostile"]
        assert not CONTROL.search(done.stderr)
        assert [r["place"] for r in episodes(process, tmp_path / "out")] == ["short.mcap"]

    def test_a_file_that_crashes_while_it_is_detected_costs_only_itself(
        self, process, with_hostile_source, short, tmp_path
    ):
        environment, schema = with_hostile_source
        folder = tmp_path / "in"
        (folder / "deep").mkdir(parents=True)
        (folder / "deep" / "bad.hostile").write_text("detect crash")
        (folder / "notes.txt").write_text("x")
        shutil.copy(short, folder / "deep")
        done = ingest(process, folder, out=tmp_path / "out", schema=schema, env=environment)
        assert done.returncode == 3, done.stderr
        assert rejections(tmp_path / "out").keys() == {"bad.hostile"}
        assert "SIGSEGV" in rejections(tmp_path / "out")["bad.hostile"]
        assert "ignored   notes.txt" in done.stderr
        assert len(episodes(process, tmp_path / "out")) == 1

    def test_inspect_survives_a_crash_too(self, process, with_hostile_source, tmp_path):
        environment, _ = with_hostile_source
        (tmp_path / "bad.hostile").write_text("read crash")
        done = no_traceback(process("inspect", tmp_path / "bad.hostile", env=environment))
        assert done.returncode == 1
        assert "SIGSEGV" in done.stderr
        assert len(done.stderr.splitlines()) == 1

    @pytest.mark.parametrize("kind", ["external link", "external storage", "soft link", "virtual"])
    def test_hdf5_that_reaches_for_other_files_is_refused_in_under_a_second(self, tmp_path, kind):
        from vladata.errors import GateError
        from vladata.gate import check_hdf5

        secret = tmp_path / "secret.h5"
        with h5py.File(secret, "w") as file:
            file["values"] = np.arange(8.0)
        path = tmp_path / "hostile.h5"
        with h5py.File(path, "w") as file:
            file["fine"] = [1, 2]
            if kind == "external link":
                file["deep/link"] = h5py.ExternalLink("secret.h5", "/values")
            elif kind == "external storage":
                file.create_dataset("raw", (64,), "u1", external=[(str(secret), 0, 64)])
            elif kind == "soft link":
                file["deep/link"] = h5py.SoftLink("/fine")
            else:
                layout = h5py.VirtualLayout(shape=(8,), dtype="f8")
                layout[:] = h5py.VirtualSource(str(secret), "values", shape=(8,))
                file.create_virtual_dataset("virtual", layout)
        started = time.monotonic()
        with pytest.raises(GateError, match=r"hostile\.h5"):
            check_hdf5(path)
        assert time.monotonic() - started < 1

    def test_such_an_hdf5_file_is_refused_by_the_command(self, cli, tmp_path, dataset):
        path = tmp_path / "hostile.h5"
        with h5py.File(path, "w") as file:
            file["link"] = h5py.ExternalLink("secret.h5", "/values")
        done = no_traceback(ingest(cli, path, out=tmp_path / "out"))
        assert done.returncode == 1
        assert "link" in done.stderr
        # The same inside an episode of a dataset that came from a stranger.
        episode = next(dataset.glob("episodes/*/*.h5"))
        with h5py.File(episode, "r+") as file:
            del file["metadata"]
            file["metadata"] = h5py.ExternalLink(str(path), "/link")
        done = no_traceback(cli("show", dataset, episode.stem[:8]))
        assert done.returncode == 1
        assert episode.name in done.stderr
        done = cli("validate", dataset, "--json")
        assert done.returncode == 4
        (finding,) = [f for f in json.loads(done.stdout)["findings"] if f["severity"] == "error"]
        assert finding["episode_id"] == episode.stem
        assert no_traceback(cli("verify", dataset)).returncode == 4

    def test_a_jpeg_that_declares_900_million_pixels_is_refused_in_a_second_and_little_memory(
        self, cli, write_recording, tmp_path
    ):
        def huge(topic, message, ns):
            if topic == "/cameras/front/compressed":
                data = bytearray(message.data)
                place = data.index(b"\xff\xc0")
                data[place + 5 : place + 9] = struct.pack(">HH", 30000, 30000)
                message.data = bytes(data)
            return [(topic, message, ns)]

        path = write_recording(tmp_path / "demo.mcap", huge, seconds=0.3)
        started = time.monotonic()
        done = no_traceback(ingest(cli, path, out=tmp_path / "out"))
        assert time.monotonic() - started < 5  # the whole command with its start
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert "30000" in line
        assert "front" in line or "/cameras/front" in line

    def test_one_such_frame_among_good_ones_refuses_its_recording(self, cli, write_recording, tmp_path):
        count = 0

        def huge(topic, message, ns):
            nonlocal count
            if topic == "/cameras/front/compressed":
                count += 1
                if count == 13:
                    data = bytearray(message.data)
                    place = data.index(b"\xff\xc0")
                    data[place + 5 : place + 9] = struct.pack(">HH", 30000, 30000)
                    message.data = bytes(data)
            return [(topic, message, ns)]

        path = write_recording(tmp_path / "demo.mcap", huge)
        done = no_traceback(ingest(cli, path, out=tmp_path / "out"))
        assert done.returncode == 1
        (line,) = [text for text in done.stderr.splitlines() if "30000x30000" in text]
        assert "frame 12 of front" in line
        assert [p.name for p in (tmp_path / "out").rglob("*") if p.is_file()] == ["rejected.json"]

    def test_a_path_out_of_its_folder_in_a_dataset_is_refused(self, cli, tmp_path, shared_data):
        source = tmp_path / "g1"
        shutil.copytree(shared_data / "g1_inspire_lerobot_v21", source)
        for path in [source, *source.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        info = json.loads((source / "meta" / "info.json").read_text())
        info["data_path"] = "../../secret/episode_{episode_index:06d}.parquet"
        (source / "meta" / "info.json").write_text(json.dumps(info))
        done = no_traceback(ingest(cli, source, out=tmp_path / "out", schema="unitree_g1_inspire"))
        assert done.returncode == 1
        assert "must stay" in done.stderr or "leaves its folder" in done.stderr
        info["data_path"] = "data/{episode_index.__class__.__mro__}/x.parquet"
        (source / "meta" / "info.json").write_text(json.dumps(info))
        done = no_traceback(ingest(cli, source, out=tmp_path / "out", schema="unitree_g1_inspire"))
        assert done.returncode == 1
        assert "class 'int'" not in done.stderr


class TestTextsOfStrangers:
    EVIL = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202egnp\r\n\x08"

    def test_no_text_of_a_recording_reaches_the_terminal_raw(self, cli, write_recording, tmp_path):
        def evil(topic, message, ns):
            if topic in {"/instruction", "/subtask", "/outcome"}:
                message.data = (f"failure: {self.EVIL}" if topic == "/outcome" else "put") + self.EVIL
            if topic == "/joint_states":
                return [(topic, message, ns), (f"/evil{self.EVIL}", message, ns)]
            return [(topic, message, ns)]

        name = "de\x1b[31mmo\x07.mcap"
        path = write_recording(tmp_path / "in" / name, evil)
        (tmp_path / "in" / "bad\x1b[31m.mcap").write_bytes(b"x")
        (tmp_path / "in" / "other\x1b]0;owned\x07.txt").write_bytes(b"x")
        out = tmp_path / "out"
        runs = [
            cli("inspect", path),
            cli("inspect", path, "--json"),
            cli("schema", "draft", path),
            cli("inspect", path, "--write-mapping", tmp_path / "mapping.yaml"),
            ingest(cli, tmp_path / "in", out=out),
            cli("ls", out),
            cli("ls", out, "--json"),
            cli("show", out, "0"),
            cli("show", out, "0", "--json"),
            cli("validate", out, "--fail-on", "never"),
            cli("edit", "relabel", out, "0", f"words{self.EVIL}"),
            cli("edit", "drop", out, "0", "--reason", self.EVIL),
            cli("edit", "log", out),
            cli("ls", out, "--dropped"),
            ingest(cli, tmp_path / "in" / "bad\x1b[31m.mcap", out=tmp_path / "out2"),
            ingest(cli, tmp_path / "in", out=out, schema=f"no{self.EVIL}such"),
        ]
        assert [r.returncode for r in runs] == [0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1], runs
        for run in runs:
            assert not CONTROL.search(run.stdout + run.stderr), run
            assert "\u202e" not in run.stdout + run.stderr, run
        assert not CONTROL.search((out / "rejected.json").read_text())
        assert not CONTROL.search((tmp_path / "mapping.yaml").read_text())

    def test_texts_in_the_files_of_a_dataset_are_no_exception(self, cli, dataset):
        """Manifest, catalog and log may come from a stranger, too."""
        import pyarrow.parquet as pq

        table = pq.read_table(dataset / "catalog.parquet")
        for name in ("episode_id", "place", "instruction", "outcome", "embodiment"):
            column = [self.EVIL + str(v) for v in table.column(name).to_pylist()]
            table = table.set_column(table.column_names.index(name), name, [column])
        pq.write_table(table, dataset / "catalog.parquet")
        done = cli("ls", dataset)
        assert done.returncode == 0
        assert not CONTROL.search(done.stdout + done.stderr)
        (dataset / "manifest.json").write_text('{"format": "\\u001b[31m"}')
        done = no_traceback(cli("ls", dataset))
        assert done.returncode == 1
        assert not CONTROL.search(done.stderr)


class TestDamagedDatasets:
    @pytest.mark.parametrize(
        "text",
        [
            "",
            "[]",
            "{",
            '{"format": "vladata-dataset", "format_version": 1, "episodes": [1]}',
            '{"format": "vladata-dataset", "format_version": 1, "episodes": [{"file": "../x", "size": "a"}]}',
            '{"format": "vladata-dataset", "format_version": 1, "episodes": {"a": 1}}',
            '{"format": "vladata-dataset", "format_version": 99, "episodes": []}',
            "\udcff",
        ],
    )
    def test_a_damaged_manifest_is_one_line(self, cli, dataset, text):
        (dataset / "manifest.json").write_text(text, errors="surrogateescape")
        for command in ("ls", "validate", "verify"):
            done = cli(command, dataset)
            assert done.returncode == 1
            assert len(done.stderr.splitlines()) == 1
            assert "manifest.json" in done.stderr

    def test_a_manifest_that_points_elsewhere_is_refused(self, cli, dataset):
        text = (dataset / "manifest.json").read_text()
        first = json.loads(text)["episodes"][0]["file"]
        (dataset / "manifest.json").write_text(text.replace(first, "../../etc/passwd"))
        done = cli("ls", dataset)
        assert done.returncode == 1
        assert "must stay under its folder" in done.stderr

    def test_verify_finds_every_flipped_byte_and_every_missing_file(self, cli, dataset):
        files = sorted(dataset.glob("episodes/*/*.h5"))
        data = bytearray(files[0].read_bytes())
        data[len(data) // 2] ^= 1
        files[0].write_bytes(data)
        files[1].write_bytes(files[1].read_bytes()[:-1])
        files[2].unlink()
        shutil.copy(files[3], files[3].with_name("0" * 32 + ".h5"))
        done = no_traceback(cli("verify", dataset, "--json"))
        assert done.returncode == 4
        problems = "\n".join(json.loads(done.stdout)["problems"])
        for i, words in ((0, "SHA-256 differs"), (1, "the manifest says"), (2, "missing")):
            assert re.search(f"{files[i].name}: .*{words}", problems)
        assert f"{'0' * 32}.h5: not in the manifest" in problems

    def test_a_damaged_edit_log_names_the_line(self, cli, dataset):
        assert cli("edit", "relabel", dataset, "0", "other words").returncode == 0
        log = dataset / "edits.jsonl"
        log.write_text("damaged\n" + log.read_text())
        done = cli("ls", dataset)
        assert done.returncode == 1
        assert "edits.jsonl: line 1 is damaged" in done.stderr


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 6 MB, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)], capture_output=True)
    if done.returncode != 0:
        pytest.skip("this user can't mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_one_line_and_the_same_command_finishes_when_there_is_space(
    process, small_disk, sample_recordings, sample_dataset, digest_of_tree
):
    out = small_disk / "dataset"
    done = no_traceback(ingest(process, sample_recordings, out=out))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("vladata: the disk is full")
    assert sum("disk" in line for line in done.stderr.splitlines()) == 1
    names = [p.name for p in out.rglob("*") if p.is_file()]
    assert not [n for n in names if n.endswith(".tmp")]
    there = sorted(out.glob("episodes/*/*.h5"))
    for path in there:
        assert path.read_bytes() == (sample_dataset / path.relative_to(out)).read_bytes()
    assert len(there) < 6
    subprocess.run(["mount", "-o", "remount,size=40m", str(small_disk)], check=True)
    done = ingest(process, sample_recordings, out=out)
    assert done.returncode == 0, done.stderr
    assert digest_of_tree(out) == digest_of_tree(sample_dataset)


def test_a_disk_that_is_full_to_the_last_byte_leaves_nothing_half_written(
    process, small_disk, sample_recordings, digest_of_tree, sample_dataset
):
    with (small_disk / "filler").open("wb") as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(65536))
            file.flush()
    out = small_disk / "dataset"
    done = no_traceback(ingest(process, sample_recordings, out=out))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert not [p for p in small_disk.rglob("*") if p.is_file() and p.name != "filler"]


def test_a_disk_too_small_for_an_export_is_one_line_and_the_same_command_finishes_later(
    process, small_disk, sample_dataset, tmp_path, digest_of_tree
):
    words = ["export", sample_dataset, "--shard-mb", "1", "-o"]
    assert process(*words, tmp_path / "other" / "shards").returncode in (0, 3)
    out = small_disk / "shards"
    done = no_traceback(process(*words, out))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "disk" in line
    whole = digest_of_tree(tmp_path / "other" / "shards")
    for name, digest in digest_of_tree(out).items():
        assert name.startswith(".") or "/." in name or whole[name] == digest
    assert not list(out.rglob("*.tmp"))
    subprocess.run(["mount", "-o", "remount,size=60m", str(small_disk)], check=True)
    done = process(*words, out)
    assert done.returncode in (0, 3), done.stderr
    assert digest_of_tree(out) == whole


def test_a_limit_on_the_size_of_files_is_named_and_leaves_nothing(sample_recordings, cli, tmp_path):
    script = shutil.which("vladata", path=str(Path(sys.executable).parent))
    words = f"{script} ingest {sample_recordings}/demo_003.mcap -s sample_arm -o {tmp_path}/out"
    done = subprocess.run(["sh", "-c", f"ulimit -f 1000; exec {words}"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    (line,) = no_traceback(done).stderr.splitlines()
    assert "File too large" in line
    assert [p.name for p in (tmp_path / "out").rglob("*") if p.is_file()] == ["rejected.json"]
    assert ingest(cli, sample_recordings / "demo_003.mcap", out=tmp_path / "out").returncode == 0
