"""One worker process: how it starts, its limits, the run of one unit in it. Used by `workers` alone."""

import errno
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import context, forkserver, parent_process, spawn
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from .errors import VladataError
from .text import clip, printable
from .threads import ONE_THREAD

if TYPE_CHECKING:
    from ctypes import Array, c_double
    from multiprocessing import popen_forkserver, popen_spawn_posix

__all__ = [
    "Done",
    "Failed",
    "FailureKind",
    "Setup",
    "attempt",
    "beat",
    "begin",
    "failure",
    "run_unit",
    "worker_context",
]

_ENVIRONMENT: Mapping[str, str] = {
    **ONE_THREAD,
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # the default reserves a gigabyte of address space at its first use
    "JE_ARROW_MALLOC_CONF": "background_thread:false",  # a process with one thread is safe to fork
    "HDF5_PLUGIN_PRELOAD": "::",  # no filter plugin is ever loaded because a file asks for it
    "OPENCV_IO_MAX_IMAGE_PIXELS": str(2**25),
}

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096

R = TypeVar("R")
FailureKind = Literal["error", "crash", "stall", "memory", "disk"]


@dataclass(frozen=True, slots=True)
class Done(Generic[R]):
    """A unit that returned."""

    index: int
    """Place in the list of units."""
    result: R


@dataclass(frozen=True, slots=True)
class Failed:
    """A unit that did not."""

    index: int
    """Place in the list of units."""
    reason: str
    """One line."""
    kind: FailureKind
    """`error`: it raised; `crash`: its process ended; `stall`: no progress; `memory`: over the budget; `disk`: full."""
    error: str = ""
    """Class of the exception; empty where there was none."""
    traceback: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a worker process gets when it starts."""

    function: bytes
    memory_bytes: int
    preload: tuple[str, ...]
    environment: Mapping[str, str]
    """Of the caller now; the processes come from a server that may be older."""


class _Stopped(BaseException):
    """The parent wants the unit to end; unwinds it, so that temporary files are removed."""


class _Here:
    """What a worker process knows of itself."""

    cells: "Array[c_double] | None" = None
    slot: int = 0
    function: Callable[..., object] | None = None
    problem: Failed | None = None
    is_in_unit: bool = False
    has_run: bool = False
    comfort: float = float("inf")
    """Mapped bytes above which a process is too used up for another unit."""


_here = _Here()


def beat() -> None:
    """Say that the running unit makes progress; costs nearly nothing, does nothing outside a worker."""
    if _here.cells is not None:
        _here.cells[_here.slot + 1] = time.monotonic()


def begin(cells: "Array[c_double]", setup: Setup) -> None:
    """Prepare a worker process: imports, then limits."""
    signal.signal(signal.SIGTERM, _on_terminate)
    _end_with_parent()
    os.environ.clear()
    os.environ.update({**setup.environment, **_ENVIRONMENT})
    for name in setup.preload:
        with suppress(ImportError):
            import_module(name)
    outcome = attempt(-1, lambda: ForkingPickler.loads(setup.function))
    if isinstance(outcome, Failed):
        _here.problem = outcome
    else:
        _here.function = outcome.result
    if "pyarrow" in sys.modules:
        sys.modules["pyarrow"].set_cpu_count(1)
        sys.modules["pyarrow"].set_io_thread_count(1)
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(1)
    _silence()
    _limit(setup.memory_bytes)
    _here.cells = cells
    cells[0] = 1.0


def _on_terminate(*_: object) -> None:
    if not _here.is_in_unit:
        os._exit(128 + signal.SIGTERM)
    _here.is_in_unit = False
    raise _Stopped


def _silence() -> None:
    """Keep what C libraries print about a damaged file off the caller's terminal; outcomes say what matters."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    os.close(nothing)


def _end_with_parent() -> None:
    """Have the kernel end this process when its parent is gone, even inside C code that never returns."""
    parent = parent_process()
    if parent is None or sys.platform == "win32":
        return
    import fcntl
    import select

    # The other end of this pipe is held by the parent alone; its closing raises SIGIO, whose default is to end.
    sentinel: int = parent.sentinel
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(sentinel, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(sentinel, fcntl.F_SETFL, fcntl.fcntl(sentinel, fcntl.F_GETFL) | os.O_ASYNC)
    # A parent that was killed before that raises nothing any more, and its units may lie in the queue already.
    gone = select.poll()
    gone.register(sentinel, select.POLLHUP)
    if gone.poll(0):
        os._exit(1)


def _limit(memory_bytes: int) -> None:
    """Bound the address space and leave no core files."""
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    mapped = _mapped_bytes()
    if mapped:
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        limits = [mapped + memory_bytes, *(x for x in (soft, hard) if x != resource.RLIM_INFINITY)]
        resource.setrlimit(resource.RLIMIT_AS, (min(limits), hard))
        _here.comfort = mapped + memory_bytes / 2


def _mapped_bytes() -> int:
    """Address space of this process; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - once a unit, so it should cost little
            return int(file.read().split()[0]) * _PAGE_BYTES
    except OSError:
        return 0


def run_unit(slot: int, index: int, payload: bytes) -> bytes:
    """Run one unit in a worker; the outcome travels as bytes, so that nothing can fail on the way."""
    assert _here.cells is not None
    if _here.has_run and _mapped_bytes() > _here.comfort:
        # What earlier units left behind must not count against this one; it goes to a fresh process.
        _here.cells[slot] = -os.getpid()
        os._exit(1)
    _here.has_run = True
    _here.slot = slot
    beat()
    _here.cells[slot] = os.getpid()
    try:
        _here.is_in_unit = True
        outcome = _here.problem or attempt(index, lambda: _call(payload))
        try:
            data = bytes(ForkingPickler.dumps(outcome))
        except Exception as error:  # noqa: BLE001 - whatever pickle raises: the result can't travel
            data = bytes(ForkingPickler.dumps(failure(index, error)))
        _here.is_in_unit = False
    except _Stopped:
        os._exit(128 + signal.SIGTERM)
    _here.cells[slot] = -os.getpid()
    return data


def _call(payload: bytes) -> object:
    assert _here.function is not None
    return _here.function(ForkingPickler.loads(payload))


def attempt(index: int, call: Callable[[], R]) -> Done[R] | Failed:
    """Call, and make an outcome of whatever comes."""
    try:
        return Done(index, call())
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the border of a unit: every error is reported
        return failure(index, error)


def failure(index: int, error: BaseException) -> Failed:
    """Tell an exception as the outcome of a unit."""
    name = type(error).__name__
    text = clip(printable(str(error)), 500)
    trace = printable("".join(traceback.format_exception(error)), one_line=False)
    number = _errno_of(error)
    if isinstance(error, MemoryError) or number == errno.ENOMEM:
        return Failed(index, f"out of memory{': ' * bool(text)}{text}", "memory", name, trace)
    if number in {errno.ENOSPC, errno.EDQUOT}:
        return Failed(index, f"disk full: {text}", "disk", name, trace)
    if isinstance(error, (VladataError, OSError)):
        return Failed(index, text or name, "error", name, trace)
    return Failed(index, f"unexpected {name}: {text}", "error", name, trace)


def _errno_of(error: BaseException) -> int | None:
    if not isinstance(error, OSError) or error.errno is not None:
        return getattr(error, "errno", None)
    found = re.search(r"errno = (\d+)", str(error))  # HDF5 puts it into the text only
    return int(found[1]) if found else None


class _Launching(threading.local):
    is_ours = False


_launching = _Launching()
_preparation_data = spawn.get_preparation_data


def _preparation_without_main(name: str) -> dict[str, object]:
    """What a new process is told; ours are not told to run the caller's script again.

    Python does that so that functions of the script can be found; `run` refuses those. So a script needs no
    `if __name__ == "__main__"` around what it does.
    """
    data: dict[str, object] = _preparation_data(name)
    if _launching.is_ours:
        data.pop("init_main_from_name", None)
        data.pop("init_main_from_path", None)
    return data


@contextmanager
def _without_main() -> Iterator[None]:
    spawn.get_preparation_data = _preparation_without_main  # others get what they got before
    _launching.is_ours = True
    try:
        yield
    finally:
        _launching.is_ours = False


class _ForkServerProcess(context.ForkServerProcess):
    @staticmethod
    def _Popen(process_obj: BaseProcess) -> "popen_forkserver.Popen":  # noqa: N802 - multiprocessing calls it so
        with _without_main():
            return context.ForkServerProcess._Popen(process_obj)


class _SpawnProcess(context.SpawnProcess):
    @staticmethod
    def _Popen(process_obj: BaseProcess) -> "popen_spawn_posix.Popen":  # noqa: N802 - multiprocessing calls it so
        with _without_main():
            return context.SpawnProcess._Popen(process_obj)


class _ForkServerContext(context.ForkServerContext):
    Process = _ForkServerProcess


class _SpawnContext(context.SpawnContext):
    Process = _SpawnProcess


_starting = threading.Lock()


def worker_context(preload: Sequence[str]) -> _ForkServerContext | _SpawnContext:
    """Fork from a small server process that has the imports, where that is safe; otherwise start from nothing."""
    if sys.platform != "linux":
        return _SpawnContext()
    with _starting:
        before = {name: os.environ.get(name) for name in _ENVIRONMENT}
        os.environ.update(_ENVIRONMENT)  # read by the libraries when the server imports them
        try:
            # No effect where a server runs already: workers then import for themselves.
            forkserver.set_forkserver_preload(list(preload))
            forkserver.ensure_running()
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
    return _ForkServerContext()
