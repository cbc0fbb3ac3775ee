"""Streams, colors, pipes, signals: how the command behaves among other programs."""

import json
import os
import pty
import subprocess
import sys
import textwrap

import pytest


def test_results_are_on_stdout_and_the_rest_on_stderr(process, write_recording, tmp_path):
    path = write_recording(tmp_path / "demo.mcap", seconds=0.5)
    (tmp_path / "notes.txt").write_text("x")
    done = process("ingest", tmp_path, "-s", "sample_arm", "-o", tmp_path / "out", "--json")
    found = json.loads(done.stdout)  # nothing but JSON
    assert set(found) == {"episodes", "ignored", "problems", "rejected"}
    assert [e["place"] for e in found["episodes"]] == [path.name]
    done = process("ingest", path, "-s", "sample_arm", "-o", tmp_path / "out2")
    assert "rejected" not in done.stdout
    assert "note " not in done.stdout
    assert done.stdout.splitlines()[-1].startswith(f"{tmp_path}/out2: 1 new episodes · ")
    assert all(line.startswith(("note ", "ignored ")) for line in done.stderr.splitlines())


def test_there_is_no_escape_sequence_where_there_is_no_terminal(process, sample_dataset, sample_recordings, tmp_path):
    runs = [
        process("--help"),
        process("nosuch"),
        process("validate", sample_dataset, "--fail-on", "never"),
        process("ingest", sample_recordings / "demo_003.mcap", "-s", "sample_arm", "-o", tmp_path / "out"),
        process("show", sample_dataset, "0"),
    ]
    for done in runs:
        assert "\x1b" not in done.stdout + done.stderr


def on_a_terminal(arguments, **environment):
    """Run with stdout and stderr on a terminal of 100 columns; what it shows, and the exit code."""
    leader, follower = pty.openpty()
    running = subprocess.Popen(
        [sys.executable, "-c", RUN, *map(str, arguments)],
        stdout=follower,
        stderr=follower,
        env={**os.environ, "COLUMNS": "100", "TERM": "xterm", **environment},
    )
    os.close(follower)
    shown = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(leader)
    return shown.decode(), running.wait(60)


RUN = """
from importlib.metadata import entry_points
(point,) = entry_points(group="console_scripts", name="vladata")
point.load()()
"""


def test_a_terminal_gets_colors_unless_no_color_says_otherwise(sample_dataset):
    shown, code = on_a_terminal(["validate", sample_dataset, "--fail-on", "never"])
    assert code == 0
    assert "\x1b[" in shown
    shown, code = on_a_terminal(["validate", sample_dataset, "--fail-on", "never"], NO_COLOR="1")
    assert "timing.gaps" in shown


def test_a_terminal_gets_a_progress_bar_that_goes_away(sample_recordings, tmp_path):
    shown, code = on_a_terminal(
        ["ingest", sample_recordings / "demo_003.mcap", "-s", "sample_arm", "-o", tmp_path / "out"]
    )
    assert code == 0
    assert "ingest" in shown
    assert "1 new episodes" in shown


@pytest.mark.parametrize("command", ["ls", "validate", "show", "schema"])
def test_a_reader_that_goes_away_is_no_error(sample_dataset, command):
    arguments = {"show": [str(sample_dataset), "0"], "schema": ["json"]}.get(command, [str(sample_dataset)])
    running = subprocess.Popen(
        [sys.executable, "-c", RUN, command, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert running.stdout is not None
    assert running.stderr is not None
    running.stdout.close()
    stderr = running.stderr.read()
    running.stderr.close()
    running.wait(60)
    assert stderr == ""


def test_the_pipe_of_a_shell_works(sample_dataset):
    done = subprocess.run(
        ["sh", "-c", f'{sys.executable} -c "$RUN" ls {sample_dataset} | head -1'],
        capture_output=True,
        text=True,
        env={**os.environ, "RUN": RUN},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("#  id")


def test_an_interruption_inside_a_callback_is_not_lost():
    """Python only prints what is raised there."""
    program = """
        import os, signal, sys, time, weakref
        from vladata_cli._console import stop_on_terminate

        class Thing: pass

        def callback(_):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.05)

        stop_on_terminate()
        thing = Thing()
        reference = weakref.ref(thing, callback)
        try:
            del thing
            time.sleep(20)
        except KeyboardInterrupt:
            print("stopped")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=15)
    assert (done.stdout, done.stderr) == ("stopped\n", "")


def test_completion_is_offered(process):
    done = process(
        env={**os.environ, "_VLADATA_COMPLETE": "complete_bash", "COMP_WORDS": "vladata in", "COMP_CWORD": "1"}
    )
    assert done.stdout.split() == ["ingest", "inspect"]


def test_doctor_tells_that_all_is_well_here(cli, tmp_path):
    done = cli("doctor", tmp_path)
    assert done.returncode == 0, done.stdout
    assert all(line.startswith(("ok ", "warn ")) for line in done.stdout.splitlines())
    for word in ("h5py", "HDF5", "opencv", "pyarrow", "cores", "free", "mcap", "openvla_bins", "sample_arm"):
        assert word in done.stdout
    found = json.loads(cli("doctor", tmp_path, "--json").stdout)
    assert all(set(line) == {"state", "text"} for line in found)


def test_doctor_finds_a_folder_that_is_not_there(cli, tmp_path):
    done = cli("doctor", tmp_path / "nothing")
    assert done.returncode == 1
    assert "nothing: no such folder" in done.stdout


@pytest.mark.parametrize(("given", "threads"), [({}, "1"), ({"OPENBLAS_NUM_THREADS": "3"}, "3")])
def test_linear_algebra_takes_one_thread_unless_the_user_says_otherwise(given, threads):
    code = "import sys, os, vladata_cli.main; print('numpy' in sys.modules, os.environ['OPENBLAS_NUM_THREADS'])"
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")} | given
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", threads]
