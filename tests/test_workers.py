"""A unit that misbehaves costs itself; the others are answered, and nothing stays behind."""

import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from vladata import workers
from vladata.errors import VladataError
from vladata.workers import Done, Failed

HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and signals as Linux has them")


@pytest.fixture(autouse=True)
def units(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(HERE)
    return importlib.import_module("worker_units")


def answers(
    function: Callable[..., object], units: list[object], num: int = 2, stall_s: float = 10.0, memory_bytes: int = 2**30
) -> dict[object, Done[object] | Failed]:
    """The outcome of each unit; also that there is exactly one."""
    found = list(workers.run(function, units, workers=num, stall_s=stall_s, memory_bytes=memory_bytes))
    assert sorted(o.index for o in found) == list(range(len(units)))
    return {units[o.index]: o for o in found}


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def has_processes(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    return condition()


@pytest.mark.parametrize("num", [0, 1, 2])
def test_results_do_not_depend_on_the_number_of_workers(num: int, units: ModuleType) -> None:
    found = answers(units.digest, list(range(60)), num)
    assert {k: o.result for k, o in found.items() if isinstance(o, Done)} == {k: units.digest(k) for k in range(60)}


def test_no_units_need_no_workers(units: ModuleType) -> None:
    assert list(workers.run(units.double, [], workers=2)) == []


def test_two_hundred_units_share_two_workers(units: ModuleType) -> None:
    pids = {o.result for o in answers(units.pid, list(range(200))).values() if isinstance(o, Done)}
    assert len(pids) == 2
    assert os.getpid() not in pids
    assert not any(is_alive(pid) for pid in pids)


def test_units_are_taken_as_they_are_needed(units: ModuleType) -> None:
    class Counted(list[int]):
        taken = 0

        def __getitem__(self, index):  # type: ignore[no-untyped-def,override]
            self.taken += 1
            return super().__getitem__(index)

    many = Counted(range(1_000_000))
    outcomes = workers.run(units.double, many, workers=2)
    for _ in range(10):
        assert isinstance(next(outcomes), Done)
    outcomes.close()
    assert many.taken < 50


def test_crash_costs_one_unit(units: ModuleType) -> None:
    names = ["a", "segfault", "b", "null", "c", "abort", "killed", "d", "exit 7", "e", "exit 0", "f"]
    for num in (1, 2):
        found = answers(units.trouble, names, num)
        assert {n: o.result for n, o in found.items() if isinstance(o, Done)} == {n: n.upper() for n in "abcdef"}
        failed = {n: o for n, o in found.items() if isinstance(o, Failed)}
        assert {o.kind for o in failed.values()} == {"crash"}
        assert "SIGSEGV" in failed["segfault"].reason
        assert "SIGSEGV" in failed["null"].reason
        assert "SIGABRT" in failed["abort"].reason
        assert "SIGKILL" in failed["killed"].reason
        assert failed["exit 7"].reason.endswith("exit code 7")
        assert failed["exit 0"].reason == "its worker process ended inside the unit"


def test_crashes_in_a_row_are_all_answered(units: ModuleType) -> None:
    found = workers.run(units.trouble, ["segfault"] * 10, workers=2)
    assert [o.kind for o in found if isinstance(o, Failed)] == ["crash"] * 10


def test_unit_without_progress_is_stopped(units: ModuleType) -> None:
    names = ["a", "loop", "b", "sleep", "c", "deaf", "d"]
    found = answers(units.trouble, names, stall_s=0.5)
    assert {n for n, o in found.items() if isinstance(o, Done)} == {"a", "b", "c", "d"}
    for name in ("loop", "sleep", "deaf"):
        assert found[name] == Failed(names.index(name), "no progress for 0.5 s; stopped", "stall")


def test_slow_unit_that_makes_progress_is_let_be(units: ModuleType) -> None:
    assert answers(units.beating, [2.0], stall_s=0.5)[2.0] == Done(0, "done")


def test_unit_that_was_stopped_tidies_up_and_is_dead_when_it_is_told_of(units: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "temporary"
    for outcome in workers.run(units.wait_tidily, [str(path)], workers=1, stall_s=1.0):
        assert isinstance(outcome, Failed)
        assert outcome.kind == "stall"
        assert not path.exists()


def test_memory_is_bounded(units: ModuleType) -> None:
    found = answers(units.trouble, ["memory", "a", "one large array", "b"], memory_bytes=2**28)
    for name in ("memory", "one large array"):
        outcome = found[name]
        assert isinstance(outcome, Failed)
        assert outcome.kind == "memory"
        assert outcome.reason.startswith("out of memory: ")
    assert found["a"] == Done(1, "A")
    assert found["b"] == Done(3, "B")


def test_memory_that_one_unit_leaves_behind_is_not_charged_to_the_next(units: ModuleType) -> None:
    found = answers(units.leak, list(range(12)), memory_bytes=2**29)
    assert {k: o for k, o in found.items() if isinstance(o, Failed)} == {}


def test_units_see_the_environment_of_the_caller(units: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert answers(units.variable, ["VLADATA_TEST"], 1)["VLADATA_TEST"] == Done(0, None)
    monkeypatch.setenv("VLADATA_TEST", "now")
    assert answers(units.variable, ["VLADATA_TEST"], 1)["VLADATA_TEST"] == Done(0, "now")


@pytest.mark.parametrize("num", [0, 1])
def test_exceptions_become_one_line(num: int, units: ModuleType) -> None:
    names = ["gate", "extra", "missing", "disk", "disk in hdf5", "bug", "a"]
    found = answers(units.trouble, names, num)
    failed = {n: o for n, o in found.items() if isinstance(o, Failed)}
    assert {n: (o.kind, o.error) for n, o in failed.items()} == {
        "gate": ("error", "GateError"),
        "extra": ("error", "MissingExtraError"),
        "missing": ("error", "FileNotFoundError"),
        "disk": ("disk", "OSError"),
        "disk in hdf5": ("disk", "OSError"),
        "bug": ("error", "ValueError"),
    }
    assert failed["gate"].reason == "file is 3 bytes; must be 4"
    assert failed["extra"].reason.endswith("pip install 'vladata[video]'")
    assert "/nonexistent/file" in failed["missing"].reason
    assert failed["disk"].reason.startswith("disk full: ")
    assert failed["bug"].reason == "unexpected ValueError: first line second line"
    assert all(o.reason.isprintable() for o in failed.values())
    assert "in _raise\n" not in failed["bug"].traceback
    assert "raise error" in failed["bug"].traceback


def test_result_that_cannot_travel_is_a_failure(units: ModuleType) -> None:
    outcome = answers(units.trouble, ["unpicklable"], 1)["unpicklable"]
    assert isinstance(outcome, Failed)
    assert outcome.reason.startswith("unexpected ")


@pytest.mark.parametrize("num", [0, 1])
def test_unit_that_wants_to_exit_has_failed(num: int, units: ModuleType) -> None:
    found = answers(units.trouble, ["exit", "a"], num)
    assert isinstance(found["exit"], Failed)
    assert found["exit"].reason == "unexpected SystemExit: 3"
    assert found["a"] == Done(1, "A")


def test_function_must_be_found_by_name(units: ModuleType) -> None:
    with pytest.raises(TypeError, match="must be a named function of an imported module"):
        workers.run(lambda unit: unit, [1], workers=1)
    assert answers(partial(units.trouble), ["a"], 1)["a"] == Done(0, "A")


def test_module_that_workers_cannot_import_fails_each_unit(units: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = ModuleType("module_of_this_process")
    exec("def run(unit):\n    return unit", lost.__dict__)  # the module exists in this process alone
    monkeypatch.setitem(sys.modules, lost.__name__, lost)
    outcomes = list(workers.run(lost.run, [1, 2], workers=1))
    assert [o.index for o in outcomes] == [0, 1]
    for outcome in outcomes:
        assert isinstance(outcome, Failed)
        assert "module_of_this_process" in outcome.reason


@pytest.mark.parametrize("options", [{"workers": -1}, {"workers": 1, "stall_s": 0}, {"workers": 1, "memory_bytes": 0}])
def test_options_out_of_range_are_refused_at_once(options: dict[str, int], units: ModuleType) -> None:
    with pytest.raises(ValueError, match="must be"):
        workers.run(units.double, [1], **options)  # type: ignore[arg-type]


def test_worker_has_limits_and_one_thread(units: ModuleType) -> None:
    outcome = answers(units.state, [0], 1, memory_bytes=2**29)[0]
    assert isinstance(outcome, Done)
    state = outcome.result
    assert isinstance(state, dict)
    limit, mapped = state.pop("memory"), state.pop("mapped")
    assert 0 <= mapped - (limit - 2**29) < 2**25
    assert state == {"core": 0, "opencv": 1, "arrow": 1, "blas": "1", "interrupt": True, "threads": 1}
    assert "HDF5_PLUGIN_PRELOAD" not in os.environ


def test_closing_early_ends_all_workers(units: ModuleType) -> None:
    outcomes = workers.run(units.trouble, ["a", *["sleep"] * 5], workers=2)
    assert next(outcomes) == Done(0, "A")
    begin = time.monotonic()
    outcomes.close()
    assert time.monotonic() - begin < 3
    assert list(workers.run(units.double, [3], workers=1)) == [Done(0, 6)]


def test_an_interrupt_while_the_pool_ends_prints_nothing_of_its_own(
    units: ModuleType, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    join, came = threading.Thread.join, list[float]()

    def interrupted(thread: threading.Thread, timeout: float | None = None) -> None:
        if timeout == workers._JOIN_S and not came:
            came.append(timeout)
            raise KeyboardInterrupt
        join(thread, timeout)

    outcomes = workers.run(units.trouble, ["a", *["sleep"] * 5], workers=2)
    assert next(outcomes) == Done(0, "A")
    monkeypatch.setattr(threading.Thread, "join", interrupted)
    with pytest.raises(KeyboardInterrupt):
        outcomes.close()
    assert came
    assert capfd.readouterr().err == ""


SCRIPT = """
import sys
sys.path.insert(0, {here!r})
import worker_units
from vladata import workers
print("begin", flush=True)
try:
    for outcome in workers.run(worker_units.{function}, {units!r}, workers=2, stall_s=1000):
        print(outcome, flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def script(folder: Path, function: str, units: list[object]) -> "subprocess.Popen[str]":
    path = folder / "script.py"
    path.write_text(SCRIPT.format(here=str(HERE), function=function, units=units))
    return subprocess.Popen(
        [sys.executable, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def test_plain_script_needs_no_main_guard(tmp_path: Path) -> None:
    with script(tmp_path, "double", [1, 2, 3]) as process:
        out, errors = process.communicate(timeout=30)
    assert sorted(out.splitlines()) == [*(f"Done(index={k}, result={2 * k + 2})" for k in range(3)), "begin"]
    assert errors == ""


def test_what_a_library_prints_about_a_file_stays_off_the_terminal(tmp_path: Path) -> None:
    with script(tmp_path, "chatter", [7]) as process:
        out, errors = process.communicate(timeout=30)
    assert (out, errors) == ("begin\nDone(index=0, result=7)\n", "")


def started(paths: list[Path]) -> list[int]:
    assert wait_until(lambda: sum(p.exists() and p.read_text() != "" for p in paths) == 2, 30)
    return [int(p.read_text()) for p in paths if p.exists()]


def test_interrupt_leaves_no_process_and_no_temporary_file(tmp_path: Path) -> None:
    paths = [tmp_path / str(k) for k in range(5)]
    with script(tmp_path, "wait_tidily", [str(p) for p in paths]) as process:
        pids = started(paths)
        begin = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)  # what Ctrl+C does
        out, errors = process.communicate(timeout=30)
    assert time.monotonic() - begin < 5
    assert out == "begin\ninterrupted\n"
    assert errors == ""
    assert not any(is_alive(pid) for pid in pids)
    assert not any(p.exists() for p in paths)
    assert wait_until(lambda: not has_processes(process.pid))  # helpers go a moment later


def test_workers_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    paths = [tmp_path / str(k) for k in range(2)]
    with script(tmp_path, "loop_beside", [str(p) for p in paths]) as process:
        pids = started(paths)
        process.kill()
        process.communicate(timeout=30)
    assert wait_until(lambda: not any(is_alive(pid) for pid in pids), 5)


def test_worker_that_starts_after_its_parent_was_killed_ends_at_once() -> None:
    code = (
        "import os, types\n"
        "from vladata import _worker\n"
        "ours, parents = os.pipe()\n"
        "_worker.parent_process = lambda: types.SimpleNamespace(sentinel=ours)\n"
        "_worker._end_with_parent()\n"
        "print('lives with its parent', flush=True)\n"
        "os.close(parents)\n"
        "print('outlives it', flush=True)\n"
    )
    late = code.replace("_worker._end_with_parent()", "os.close(parents)\n_worker._end_with_parent()")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (-signal.SIGIO, "lives with its parent\n")
    done = subprocess.run([sys.executable, "-c", late], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")


def test_pool_that_cannot_start_is_an_error(units: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "begin", os._exit)  # each worker ends before it is ready
    with pytest.raises(VladataError, match="no worker process could be started"):
        list(workers.run(units.double, [1], workers=1))


def test_beat_outside_a_worker_does_nothing() -> None:
    workers.beat()
