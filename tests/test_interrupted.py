"""Ended at any moment: whole files or none, and the same command run again gives what an undisturbed run gives."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vladata.store.reader import verify_episode

SCRIPT = shutil.which("vladata", path=str(Path(sys.executable).parent))


def start(*arguments):
    """Run the command in a session of its own, as from a shell."""
    return subprocess.Popen(
        [SCRIPT, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(running):
    """Wait for the end; exit code, stdout, stderr."""
    stdout, stderr = running.communicate(timeout=120)
    return running.returncode, stdout, stderr


def run(arguments):
    """Run the command undisturbed."""
    code, _, stderr = finish(start(*arguments))
    assert code in (0, 3), stderr
    return code


def processes_of(session):
    """Living processes of a session; zombies don't count."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def wait_until_gone(session, seconds=10.0):
    until = time.monotonic() + seconds
    while processes_of(session) and time.monotonic() < until:
        time.sleep(0.02)
    return processes_of(session)


def hurt(arguments, delay_s, number):
    """Send a signal after a delay, or once the command ended; exit code, stderr and processes that stay."""
    running = start(*arguments)
    try:
        running.wait(delay_s)
    except subprocess.TimeoutExpired:
        running.send_signal(number)
    _, stderr = running.communicate(timeout=60)
    return running.returncode, stderr, wait_until_gone(running.pid)


def wait_for(path_pattern, folder, running, seconds=60.0):
    """Wait until a file of that pattern is there."""
    until = time.monotonic() + seconds
    while not any(folder.glob(path_pattern)) and running.poll() is None and time.monotonic() < until:
        time.sleep(0.002)


def assert_whole(folder):
    """Whatever has a final name is whole."""
    for path in folder.glob("episodes/*/*.h5"):
        assert verify_episode(path) == [], path


@pytest.fixture(scope="module")
def arguments(sample_recordings):
    def made(out):
        return ["ingest", sample_recordings, "--schema", "sample_arm", "-o", out, "--workers", "2"]

    return made


@pytest.fixture(scope="module")
def seconds(arguments, tmp_path_factory):
    """How long an undisturbed run takes on this machine now."""
    started = time.monotonic()
    run(arguments(tmp_path_factory.mktemp("time") / "out"))
    return time.monotonic() - started


class TestKilled:
    def sweep(self, arguments, moments, tmp_path, digest_of_tree, expected):
        kills = 0
        for i, delay in enumerate(moments):
            out = tmp_path / f"out_{i}"
            code, _, left = hurt(arguments(out), delay, signal.SIGKILL)
            assert left == []
            assert_whole(out)
            kills += code == -signal.SIGKILL
            run(arguments(out))
            assert digest_of_tree(out) == expected
            shutil.rmtree(out)
        return kills

    def test_killed_at_some_moments_and_run_again(self, arguments, seconds, tmp_path, digest_of_tree, sample_dataset):
        moments = [seconds * share for share in (0.45, 0.65, 0.85)]
        assert self.sweep(arguments, moments, tmp_path, digest_of_tree, digest_of_tree(sample_dataset)) >= 2

    @pytest.mark.slow
    def test_killed_at_many_moments_and_run_again(self, arguments, seconds, tmp_path, digest_of_tree, sample_dataset):
        moments = [seconds * (0.2 + 0.9 * k / 39) for k in range(40)]
        assert self.sweep(arguments, moments, tmp_path, digest_of_tree, digest_of_tree(sample_dataset)) >= 20

    def test_killed_again_and_again_it_still_ends(self, arguments, tmp_path, digest_of_tree, sample_dataset):
        """Each run is killed as soon as it has committed one episode more."""
        out = tmp_path / "out"
        for count in range(1, 4):
            running = start(*arguments(out))
            until = time.monotonic() + 60
            while len(list(out.glob("episodes/*/*.h5"))) < count and time.monotonic() < until:
                time.sleep(0.002)
            running.kill()
            running.communicate(timeout=60)
            assert wait_until_gone(running.pid) == []
            assert len(list(out.glob("episodes/*/*.h5"))) >= count
            assert_whole(out)
        code, stdout, _ = finish(start(*arguments(out)))
        assert code == 0
        assert "already there" in stdout
        assert digest_of_tree(out) == digest_of_tree(sample_dataset)

    def test_while_one_process_writes_no_other_does(self, sample_recordings, tmp_path, cli):
        """Also not after a second one was sent away: it must not take the first one's lock with it."""
        from vladata.errors import DatasetError
        from vladata.store.dataset_writer import writing

        out = tmp_path / "out"
        with writing(out):
            for _ in range(2):
                done = cli("ingest", sample_recordings / "demo_003.mcap", "-s", "sample_arm", "-o", out)
                assert done.returncode == 1
                assert "another process is writing to this dataset" in done.stderr
            with pytest.raises(DatasetError, match="another process"), writing(out):
                pass
        assert not out.exists()


class TestStopped:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_it_leaves_no_process_no_temporary_file_and_130(
        self, arguments, number, tmp_path, digest_of_tree, sample_dataset
    ):
        out = tmp_path / "out"
        running = start(*arguments(out))
        wait_for("episodes/*/*", out, running)
        running.send_signal(number)
        _, stderr = running.communicate(timeout=60)
        assert running.returncode == 130
        assert stderr.splitlines()[-1] == "vladata: interrupted; run the same command again to go on"
        assert "Traceback" not in stderr
        assert wait_until_gone(running.pid) == []
        names = [p.name for p in out.rglob("*") if p.is_file()]
        assert not [n for n in names if n.startswith(".") or n.endswith(".tmp") or n == "journal.jsonl"]
        assert_whole(out)
        run(arguments(out))
        assert digest_of_tree(out) == digest_of_tree(sample_dataset)

    def test_what_was_committed_before_can_be_read(self, arguments, tmp_path, cli):
        out = tmp_path / "out"
        running = start(*arguments(out))
        wait_for("episodes/*/*.h5", out, running)
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=60)
        assert running.returncode == 130
        done = cli("ls", out)
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) >= 3
        assert cli("verify", out).returncode == 0

    def test_a_terminal_that_signals_the_whole_group_changes_nothing(self, arguments, tmp_path):
        out = tmp_path / "out"
        running = start(*arguments(out))
        wait_for("episodes/*/*", out, running)
        os.killpg(running.pid, signal.SIGINT)
        _, stderr = running.communicate(timeout=60)
        assert running.returncode == 130
        assert "Traceback" not in stderr
        assert len(stderr.splitlines()) == 1
        assert wait_until_gone(running.pid) == []

    def test_stopped_before_anything_was_committed_there_is_no_folder(self, arguments, tmp_path):
        out = tmp_path / "out"
        running = start(*arguments(out))
        wait_for(".lock", out, running)
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=60)
        assert running.returncode == 130
        if not list(out.glob("episodes/*/*.h5")):
            assert not out.exists()

    @pytest.mark.slow
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_stopped_at_many_moments(self, arguments, seconds, number, tmp_path, digest_of_tree, sample_dataset):
        expected = digest_of_tree(sample_dataset)
        for k in range(15):
            out = tmp_path / f"out_{k}"
            code, stderr, left = hurt(arguments(out), seconds * (0.25 + 0.8 * k / 14), number)
            assert code in (0, 130, -number)
            assert "Traceback" not in stderr
            assert left == []
            if out.exists():
                assert not list(out.rglob("*.tmp"))
                assert_whole(out)
            run(arguments(out))
            assert digest_of_tree(out) == expected
            shutil.rmtree(out)


class TestExport:
    @pytest.fixture(scope="class")
    @classmethod
    def shards(cls, process, sample_dataset, tmp_path_factory):
        out = tmp_path_factory.mktemp("export") / "shards"
        started = time.monotonic()
        done = process(*cls.arguments(sample_dataset, out))
        assert done.returncode in (0, 3), done.stderr
        return out, time.monotonic() - started

    @staticmethod
    def arguments(dataset, out, *more):
        options = ["--horizon", "4", "--shard-mb", "1", "--workers", "2", "--image-size", "224x224"]
        return ["export", dataset, "-o", out, *options, *more]

    def assert_no_partial_shard(self, out, shards):
        """What has a shard's name is a shard of the undisturbed run."""
        for path in out.rglob("*.parquet"):
            if not path.name.startswith("."):
                assert path.read_bytes() == (shards / path.relative_to(out)).read_bytes()

    @pytest.mark.parametrize("share", [0.6, 0.85])
    def test_killed_and_run_again(self, sample_dataset, shards, share, tmp_path, digest_of_tree):
        whole, seconds = shards
        out = tmp_path / "shards"
        _, _, left = hurt(self.arguments(sample_dataset, out), seconds * share, signal.SIGKILL)
        assert left == []
        if out.exists():
            self.assert_no_partial_shard(out, whole)
        run(self.arguments(sample_dataset, out))
        assert digest_of_tree(out) == digest_of_tree(whole)

    def test_stopped_it_leaves_nothing_temporary(self, sample_dataset, shards, tmp_path, digest_of_tree):
        whole, seconds = shards
        out = tmp_path / "shards"
        code, stderr, left = hurt(self.arguments(sample_dataset, out), seconds * 0.5, signal.SIGINT)
        # An interpreter that is stopped while it ends dies of the signal, which a shell shows as 130 too.
        assert code in (0, 3, 130, -signal.SIGINT)
        assert "Traceback" not in stderr
        assert left == []
        if out.exists():
            self.assert_no_partial_shard(out, whole)
            assert not [p for p in out.rglob("*") if p.name.endswith(".tmp")]
        run(self.arguments(sample_dataset, out))
        assert digest_of_tree(out) == digest_of_tree(whole)

    def test_killed_over_an_older_export_it_is_never_a_mixture(
        self, sample_dataset, shards, tmp_path, digest_of_tree, cli
    ):
        """Either the old export is still whole, or there is none that a reader takes for one."""
        whole, seconds = shards
        out = tmp_path / "shards"
        shutil.copytree(whole, out)
        hurt(self.arguments(sample_dataset, out, "--horizon", "2"), seconds * 0.75, signal.SIGKILL)
        done = cli("verify", out)
        if done.returncode == 0:
            assert digest_of_tree(out) == digest_of_tree(whole) or "problems" not in done.stdout
        run(self.arguments(sample_dataset, out, "--horizon", "2"))
        assert cli("verify", out).returncode == 0

    @pytest.mark.slow
    def test_killed_at_many_moments(self, sample_dataset, shards, tmp_path, digest_of_tree):
        whole, seconds = shards
        expected = digest_of_tree(whole)
        for k in range(20):
            out = tmp_path / f"out_{k}"
            _, _, left = hurt(self.arguments(sample_dataset, out), seconds * (0.3 + 0.75 * k / 19), signal.SIGKILL)
            assert left == []
            if out.exists():
                self.assert_no_partial_shard(out, whole)
            run(self.arguments(sample_dataset, out))
            assert digest_of_tree(out) == expected
            shutil.rmtree(out)
