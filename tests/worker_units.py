"""Functions that tests run in worker processes, where only modules can be imported."""

import ctypes
import errno
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vladata import workers
from vladata.errors import GateError, MissingExtraError
from vladata.gate import check_hdf5


def double(unit: int) -> int:
    return 2 * unit


def digest(unit: int) -> bytes:
    return np.random.default_rng(unit).normal(size=1000).astype(np.float32).tobytes()


def pid(unit: int) -> int:
    time.sleep(0.02)
    return os.getpid()


def _loop() -> None:
    while True:
        pass


def _hang_deaf_in_c() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    ctypes.PyDLL(None).sleep(1000)  # PyDLL keeps the interpreter lock


def _hog() -> None:
    hog = []
    while True:
        hog.append(np.ones(2**23))


def _raise(error: Exception) -> Callable[[], None]:
    def raises() -> None:
        raise error

    return raises


TROUBLE: dict[str, Callable[[], object]] = {
    "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "null": lambda: ctypes.string_at(0),
    "abort": os.abort,
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exit 0": lambda: os._exit(0),
    "exit 7": lambda: os._exit(7),
    "loop": _loop,
    "sleep": lambda: time.sleep(1000),
    "deaf": _hang_deaf_in_c,
    "memory": _hog,
    "one large array": lambda: np.ones(2**33),
    "gate": _raise(GateError("file is 3 bytes\x1b[31m; must be 4")),
    "extra": _raise(MissingExtraError("reading video", "av", "video")),
    "missing": lambda: Path("/nonexistent/file").read_bytes(),
    "disk": _raise(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out.h5")),
    "disk in hdf5": _raise(OSError("can't write (errno = 28, error message = 'No space left on device')")),
    "bug": _raise(ValueError("first line\nsecond line")),
    "exit": lambda: sys.exit(3),
}


def trouble(unit: str) -> object:
    """Do what the unit's name says; other names come back in capitals."""
    if unit == "unpicklable":
        return lambda: None
    TROUBLE.get(unit, lambda: None)()
    return unit.upper()


def beating(seconds: float) -> str:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.05)
        workers.beat()
    return "done"


def wait_tidily(path: str) -> None:
    """Wait for ever beside a file that goes when the unit is unwound."""
    Path(path).write_text(str(os.getpid()))
    try:
        time.sleep(1000)
    finally:
        Path(path).unlink()


def loop_beside(path: str) -> None:
    """Never come back, nor take a signal in Python, beside a file that tells the process; without taking a core."""
    Path(path).write_text(str(os.getpid()))
    while True:
        ctypes.PyDLL(None).sleep(1000)  # PyDLL keeps the interpreter lock


def state(unit: int) -> dict[str, object]:
    """What a worker process looks like from inside."""
    import cv2
    import pyarrow as pa

    return {
        "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
        "memory": resource.getrlimit(resource.RLIMIT_AS)[0],
        "mapped": int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize(),
        "opencv": cv2.getNumThreads(),
        "arrow": pa.cpu_count(),
        "blas": os.environ["OPENBLAS_NUM_THREADS"],
        "interrupt": signal.getsignal(signal.SIGINT) == signal.SIG_IGN,
        "threads": len(os.listdir("/proc/self/task")),
    }


def gate_verdict(path: str) -> str:
    try:
        check_hdf5(Path(path))
    except GateError:
        return "refused"
    return "passed"


_LEAKED: list[np.ndarray[tuple[int], np.dtype[np.float64]]] = []


def leak(unit: int) -> int:
    """Keep 100 MB for ever."""
    _LEAKED.append(np.ones(100 * 2**17))
    return len(_LEAKED)


def chatter(unit: int) -> int:
    os.write(1, b"to standard output")
    os.write(2, b"libpng error: \x1b[31mhostile")
    return unit


def variable(name: str) -> str | None:
    return os.environ.get(name)
