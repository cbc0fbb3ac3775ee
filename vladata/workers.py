"""Pure units of work, each run by an isolated process: one that crashes, hangs or grows costs that unit alone.

Pebble starts, stops and replaces the processes (docs/decisions/0004-pebble.md). This module adds what a hostile file
calls for: a limit on time without progress instead of total time, a memory budget beyond what the imports take, and
an answer for every unit, whatever happened to its worker.
"""

import os
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from ._worker import Done, Failed, FailureKind, Setup, attempt, beat, begin, failure, run_unit, worker_context
from .errors import VladataError

if TYPE_CHECKING:
    from ctypes import Array, c_double

    from pebble import ProcessFuture

__all__ = ["MEMORY_BYTES", "PRELOAD", "STALL_S", "Done", "Failed", "FailureKind", "beat", "run", "run_one"]

MEMORY_BYTES = 2 * 2**30
"""Address space of one unit beyond what its worker had mapped after the imports."""
STALL_S = 10.0
"""A unit that made no progress for so long is stopped."""
PRELOAD = ("numpy", "h5py", "pyarrow.parquet", "cv2", "xxhash")
"""Imported once, before workers are forked, so that neither start-up nor the memory budget pays for them."""

_TICK_S = 0.1
_LOST_S = 1.0
"""How long the word of a worker's end may take to arrive before its unit is given up."""
_JOIN_S = 20.0
"""How long the threads of a pool may take to end; then they are left to the end of this process."""
_GRACE_S = 3.0
"""How long a worker that was told to stop may tidy up."""
_START_S, _IDLE_S = 120.0, 30.0
"""How long a pool may do nothing, before its first worker is ready and later, before it is built anew."""
_STARTS = 3
"""How many pools in a row may break before a worker is ready."""
_ATTEMPTS = 10
"""How often a unit may meet a worker that ends before or after it, through no fault of the unit."""

R = TypeVar("R")
U = TypeVar("U")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    workers: int
    memory_bytes: int
    stall_s: float
    preload: tuple[str, ...]


@dataclass(slots=True, kw_only=True, eq=False)
class _Task:
    index: int
    payload: bytes
    slot: int
    future: "ProcessFuture[bytes]"
    attempts: int
    lost_since: float | None = None
    stalled_since: float | None = None


class _Crew:
    """A pool of workers, what each of them does, and the verdict on those that don't come back.

    Each unit in flight has two shared cells: the process that runs it (negative once it left the unit, 0 before it
    begins), and the time of its last beat.
    """

    def __init__(self, function: bytes, settings: _Settings) -> None:
        self._function = function
        self._settings = settings
        self._context = worker_context(settings.preload)
        self._room = 2 * settings.workers
        self._cells: Array[c_double] = self._context.RawArray("d", 1 + 4 * self._room)
        self._free = deque(range(1, len(self._cells), 2))
        self._tasks: dict[int, _Task] = {}
        self._again: deque[tuple[int, bytes, int]] = deque()
        self._finished: queue.SimpleQueue[_Task] = queue.SimpleQueue()
        self._failed_starts = 0
        self._open()

    def _open(self) -> None:
        from pebble import ProcessPool

        self._cells[0] = 0.0
        self._is_broken = False
        self._joining: threading.Thread | None = None
        self._looked = self._watching_since = self._last_word = time.monotonic()
        settings = self._settings
        setup = Setup(
            function=self._function,
            memory_bytes=settings.memory_bytes,
            preload=settings.preload,
            environment=dict(os.environ),
        )
        self._pool = ProcessPool(
            max_workers=settings.workers,
            context=self._context,
            initializer=begin,
            initargs=(self._cells, setup),
        )

    @property
    def has_room(self) -> bool:
        return len(self._tasks) + len(self._again) < self._room

    @property
    def is_busy(self) -> bool:
        return bool(self._tasks or self._again)

    def start(self, index: int, payload: bytes, attempts: int = 1) -> None:
        """Hand a unit to the pool."""
        slot = self._free.popleft()
        self._cells[slot] = self._cells[slot + 1] = 0.0
        try:
            with _signals_held_back():
                future = self._pool.schedule(run_unit, args=(slot, index, payload))
        except RuntimeError:  # the pool broke since the last look
            self._is_broken = True
            self._free.append(slot)
            self._again.append((index, payload, attempts))
            return
        task = _Task(index=index, payload=payload, slot=slot, future=future, attempts=attempts)
        self._tasks[index] = task
        future.add_done_callback(lambda _: self._finished.put(task))

    def outcomes(self) -> list[Done[object] | Failed]:
        """Wait for a tick at most, then tell what happened."""
        results: list[Done[object] | Failed] = []
        for task in self._drain():
            # A stalled unit is told of when its process is gone, and not twice.
            if self._tasks.get(task.index) is task and task.stalled_since is None:
                self._settle(task, self._answer(task), results)
        now = time.monotonic()
        if results:
            self._last_word = now
        if now - self._looked >= _TICK_S:
            self._watch(now, results)
        if self._is_broken:
            self._rebuild(results)
        for _ in range(len(self._again)):
            self.start(*self._again.popleft())
        return results

    def _drain(self) -> Iterator[_Task]:
        with suppress(queue.Empty):
            yield self._finished.get(timeout=_TICK_S)
            while True:
                yield self._finished.get_nowait()

    def _settle(self, task: _Task, outcome: Done[object] | Failed | None, results: list[Done[object] | Failed]) -> None:
        """Note the outcome of a unit; None: it is innocent and runs again."""
        del self._tasks[task.index]
        self._cells[task.slot] = 0.0  # the number may belong to another process soon
        self._free.append(task.slot)
        if outcome is not None:
            results.append(outcome)
        elif task.attempts >= _ATTEMPTS:
            results.append(Failed(task.index, f"its worker ended {task.attempts} times", "crash"))
        else:
            self._again.append((task.index, task.payload, task.attempts + 1))

    def _answer(self, task: _Task) -> Done[object] | Failed | None:
        from pebble import ProcessExpired

        error = task.future.exception(timeout=0)
        if error is None:
            outcome: Done[object] | Failed = ForkingPickler.loads(task.future.result(timeout=0))
            return replace(outcome, index=task.index)  # a function that can't be imported fails all units alike
        if isinstance(error, BrokenProcessPool):
            self._is_broken = True
        elif not isinstance(error, ProcessExpired):  # raised by the worker, but around the unit
            return failure(task.index, error)
        return self._crash_of(task, getattr(error, "exitcode", None))

    def _crash_of(self, task: _Task, exitcode: int | None = None) -> Failed | None:
        """The verdict on a unit whose process ended; None where the process was not inside the unit."""
        pid = int(self._cells[task.slot])
        if pid <= 0 or _is_alive(pid):
            return None
        if exitcode is None:
            reason = "its worker process ended inside the unit"
        elif exitcode >= 0:
            reason = f"its worker process ended with exit code {exitcode}"
        else:
            name = next((s.name for s in signal.Signals if s == -exitcode), f"signal {-exitcode}")
            hint = ", perhaps because the machine ran out of memory" if name == "SIGKILL" else ""
            reason = f"its worker process crashed with {name}{hint}"
        return Failed(task.index, reason, "crash")

    def _watch(self, now: float, results: list[Done[object] | Failed]) -> None:
        """Find units whose process stalled or vanished, and a pool that does nothing at all."""
        if now - self._looked > 2.0:  # this process slept or was busy elsewhere; perhaps so were the workers
            self._watching_since = now
        self._looked = now
        for task in list(self._tasks.values()):
            pid = int(self._cells[task.slot])
            if pid > 0:
                self._last_word = now
            if task.stalled_since is not None:
                self._watch_stopping(task, pid, now, results)
            elif pid and not _is_alive(abs(pid)):
                task.lost_since = task.lost_since or now
                if now - task.lost_since > _LOST_S:
                    self._settle(task, self._crash_of(task), results)
                    task.future.cancel()  # type: ignore[no-untyped-call]
            elif pid > 0 and self._is_stalled(task, pid, now):
                # Pebble ends the process, but never one that is about to send its result.
                task.stalled_since = now if task.future.cancel() else None  # type: ignore[no-untyped-call]
        patience = _IDLE_S if self._cells[0] else _START_S
        if self._tasks and now - max(self._last_word, self._watching_since) > patience:
            self._is_broken = True

    def _is_stalled(self, task: _Task, pid: int, now: float) -> bool:
        since = max(self._cells[task.slot + 1], self._watching_since)
        return now - since > self._settings.stall_s and not _waits_for_disk(pid)

    def _watch_stopping(self, task: _Task, pid: int, now: float, results: list[Done[object] | Failed]) -> None:
        assert task.stalled_since is not None
        if pid <= 0:  # it ended by itself in the same moment, and its answer is lost
            self._settle(task, None, results)
        elif not _is_alive(pid) or now - task.stalled_since > 10 * _GRACE_S:
            self._settle(task, self._stall(task), results)

    def _stall(self, task: _Task) -> Failed:
        return Failed(task.index, f"no progress for {self._settings.stall_s:g} s; stopped", "stall")

    def _rebuild(self, results: list[Done[object] | Failed]) -> None:
        """Replace a pool that broke; only units whose process ended inside them are to blame."""
        self._failed_starts = 0 if self._cells[0] else self._failed_starts + 1
        if self._failed_starts >= _STARTS:
            raise VladataError(f"no worker process could be started, {_STARTS} times; what they said is above")
        verdicts = [(task, self._crash_of(task)) for task in self._tasks.values()]
        self.stop()
        for task, verdict in verdicts:
            self._settle(task, self._stall(task) if task.stalled_since else verdict, results)
        self._open()

    def stop(self) -> None:
        """End all workers; those inside a unit get a moment to tidy up."""
        self._pool.stop()  # type: ignore[no-untyped-call]
        try:
            self._end_units(_GRACE_S)
            self._join()
        except KeyboardInterrupt:  # a second one: no more patience
            self._end_units(0.0)
            self._join()
            raise

    def _join(self) -> None:
        """Wait for the pool's threads, not for ever: a killed worker may have left half a message in a pipe."""
        if self._joining is None:  # a second interrupt waits for the same thread: a pool can be joined once
            self._joining = threading.Thread(target=self._pool.join, daemon=True)
        if self._joining.ident is None:
            self._joining.start()
        self._joining.join(_JOIN_S)

    def _end_units(self, grace_s: float) -> None:
        pids = {int(self._cells[task.slot]) for task in self._tasks.values()}
        alive = [pid for pid in pids if pid > 0 and _is_alive(pid)]
        until = time.monotonic() + grace_s
        _signal(alive, signal.SIGTERM)
        while alive and time.monotonic() < until:
            time.sleep(0.01)
            alive = [pid for pid in alive if _is_alive(pid)]
        _signal(alive, signal.SIGKILL)


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Let Ctrl+C wait until the pool has started its processes and knows them all; about a second at most.

    A process that is still on its way when the pool is given up would find its locks gone, and say so on stderr.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals come to the main thread only
        return
    came: list[int] = []
    handlers = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    ours = {n: h for n, h in handlers.items() if callable(h)}
    for number in ours:
        signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _waits_for_disk(pid: int) -> bool:
    """Tell whether a process waits inside the kernel, for instance for an fsync: it is slow, not hung."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] == "D"


def run(
    function: Callable[[U], R],
    units: Sequence[U],
    *,
    workers: int,
    memory_bytes: int = MEMORY_BYTES,
    stall_s: float = STALL_S,
    preload: Sequence[str] = PRELOAD,
) -> Generator[Done[R] | Failed, None, None]:
    """Map a function over units, each isolated in a worker process.

    Close the generator, or interrupt it, and all workers are gone before it returns. A script needs no
    `if __name__ == "__main__"` around this.

    Args:
        function: Pure, and found by name in a module (not in the script that runs, not a lambda). It calls `beat`
            whenever it makes progress. It may run a second time if its worker ends after it.
        units: Small values that can be pickled.
        workers: Processes; 0 runs everything here, without limits, for debugging.
        memory_bytes: Address space that one unit may take; files mapped into memory count.
        stall_s: A unit without a beat for so long is stopped, and killed where it does not stop.
        preload: Modules to import before the first unit; missing ones are left out.

    Yields:
        One outcome for each unit, in the order of completion.

    Raises:
        TypeError: The function can't be found by name in another process.
        ValueError: A negative number of workers, or a limit that is not positive.
        VladataError: No worker process can be started.
    """
    if workers < 0 or memory_bytes <= 0 or stall_s <= 0:
        raise ValueError(
            f"workers {workers}, memory {memory_bytes}, stall {stall_s} s; must be 0 or more, above 0, above 0"
        )
    if workers == 0:
        return _run_here(function, units)
    module = _module_of(function)
    settings = _Settings(
        workers=max(1, min(workers, len(units))),
        memory_bytes=memory_bytes,
        stall_s=stall_s,
        preload=(*preload, module),
    )
    return _run_isolated(function, units, settings)


def _module_of(function: Callable[..., object]) -> str:
    inner: object = function
    while isinstance(inner, partial):
        inner = inner.func
    name = getattr(inner, "__qualname__", type(inner).__qualname__)
    module = getattr(inner, "__module__", None)
    if module is None or module == "__main__" or "<" in name:
        raise TypeError(f"{module}.{name} runs in other processes; it must be a named function of an imported module")
    return str(module)


def run_one(function: Callable[[U], R], unit: U) -> R:
    """Run one unit in a worker of its own.

    Raises:
        VladataError: It failed; with its reason.
    """
    for outcome in run(function, [unit], workers=1):
        if isinstance(outcome, Done):
            return outcome.result
        raise VladataError(outcome.reason)
    raise VladataError(f"{unit}: no answer")


def _run_here(function: Callable[[U], R], units: Sequence[U]) -> Generator[Done[R] | Failed, None, None]:
    for index, unit in enumerate(units):
        yield attempt(index, partial(function, unit))


def _run_isolated(
    function: Callable[[U], R], units: Sequence[U], settings: _Settings
) -> Generator[Done[R] | Failed, None, None]:
    if not len(units):
        return
    crew = _Crew(bytes(ForkingPickler.dumps(function)), settings)
    try:
        following = 0
        while following < len(units) or crew.is_busy:
            while following < len(units) and crew.has_room:
                crew.start(following, bytes(ForkingPickler.dumps(units[following])))
                following += 1
            yield from cast("list[Done[R] | Failed]", crew.outcomes())
    finally:
        crew.stop()
