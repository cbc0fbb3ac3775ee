"""The parent: starts the processes, gives them inputs, watches the clock, and keeps what fails."""

import itertools
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from vladata._worker import _ENVIRONMENT

from . import seeds

ROOT = Path(__file__).resolve().parents[2]
START_S = 120.0
MEMORY_BYTES = 2**30
RENEW_AFTER = 1500
"""Inputs of one process: leaks of a library must not look like a large recording."""
KEEP = 3
"""Reproducers of one finding."""


@dataclass(kw_only=True)
class Finding:
    """What must not happen, as often as it did."""

    kind: str
    """traceback, crash, hang, memory or seed."""
    source: str
    place: str
    """Where in the library, or the signal."""
    error: str
    detail: str
    count: int = 0
    inputs: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        first = self.inputs[0] if self.inputs else ""
        return f"{self.kind:9} {self.source:15} {self.count:5} x  {self.error} at {self.place}  ({first})"


@dataclass(kw_only=True)
class Result:
    """Of a run."""

    num_inputs: int = 0
    seconds: float = 0.0
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By source and outcome."""
    findings: dict[tuple[str, ...], Finding] = field(default_factory=dict)
    warnings: Counter[str] = field(default_factory=Counter)
    max_rss_kb: int = 0


class Process:
    """A child, and what it is doing."""

    def __init__(self, folder: Path, work: Path, plan: "Plan") -> None:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        self.work = work
        self.popen = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.fuzz.child",
                str(folder),
                str(work),
                str(MEMORY_BYTES),
                str(0.7 * plan.timeout_s),
                plan.plant,
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **_ENVIRONMENT, "MALLOC_ARENA_MAX": "2", "HDF5_USE_FILE_LOCKING": "FALSE"},
        )
        self.job: tuple[int, seeds.Seed, str] | None = None
        self.changed: tuple[str, list[str]] = ("", [])
        self.buffer = b""
        self.is_ready = False
        self.since = time.monotonic()
        self.num_done = 0

    def tell(self, **content: object) -> None:
        """Send a line; a child that is gone is noticed by its output."""
        assert self.popen.stdin is not None
        try:
            self.popen.stdin.write(json.dumps(content).encode() + b"\n")
            self.popen.stdin.flush()
        except BrokenPipeError:
            pass

    def hear(self) -> list[dict[str, object]] | None:
        """Lines that have come; None where the process has ended."""
        assert self.popen.stdout is not None
        data = os.read(self.popen.stdout.fileno(), 2**16)
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        return [json.loads(line) for line in lines] if data else None

    def end(self) -> int:
        """End it; its exit code, as subprocess gives it."""
        self.popen.kill()
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        try:
            self.popen.stdin.close()
        except BrokenPipeError:
            pass
        self.popen.stdout.close()
        return self.popen.wait()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to run."""

    num_inputs: int
    """Over all sources in turn."""
    chance: int
    """The seed of the random numbers; the same gives the same inputs."""
    names: tuple[str, ...]
    """Of the seeds."""
    out: Path | None = None
    """Folder for what fails, with the whole recording and the trace."""
    num_processes: int = 2
    timeout_s: float = 10.0
    """For one input."""
    is_loud: bool = False
    """Print how far it is."""
    plant: str = ""
    """A fault that is built into every source: `traceback`, `crash`, `hang` or `memory`; to test the fuzzer."""


class Run:
    """One run over all seeds."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder, self.plan = folder, plan
        self.result = Result()
        self.by_name: dict[str, seeds.Seed] = {}
        self.selector = selectors.DefaultSelector()

    def run(self) -> Result:
        """Run all inputs."""
        begin = time.monotonic()
        self.by_name = {s.name: s for s in seeds.write_all(self.folder / "seeds", self.plan.names)}
        jobs = self._jobs(self.plan.num_inputs)
        processes = [self._start(k) for k in range(self.plan.num_processes)]
        while processes:
            for key, _ in self.selector.select(timeout=0.2):
                processes = self._hear(key.data, processes, jobs)
            for process in list(processes):
                limit = self.plan.timeout_s if process.is_ready else START_S
                if time.monotonic() - process.since > limit:
                    processes = self._replace(process, "hang", processes)
        self.result.seconds = time.monotonic() - begin
        return self.result

    def _jobs(self, num_inputs: int) -> Iterator[tuple[int, seeds.Seed, str]]:
        by_source: dict[str, list[seeds.Seed]] = {}
        for seed in self.by_name.values():
            by_source.setdefault(seed.source, []).append(seed)
        turns = [itertools.cycle(found) for found in by_source.values()]
        for number in range(num_inputs):
            seed = next(turns[number % len(turns)])
            yield number, seed, f"{self.plan.chance}:{number}:{seed.name}"

    def _start(self, place: int) -> Process:
        process = Process(self.folder / "seeds", self.folder / f"work{place}", self.plan)
        assert process.popen.stdout is not None
        self.selector.register(process.popen.stdout, selectors.EVENT_READ, process)
        return process

    def _hear(
        self, process: Process, processes: list[Process], jobs: Iterator[tuple[int, seeds.Seed, str]]
    ) -> list[Process]:
        messages = process.hear()
        if messages is None:
            return self._replace(process, "crash", processes)
        for message in messages:
            if message["stage"] == "run":
                process.changed = str(message["file"]), message["changes"]  # type: ignore[assignment]
                process.since = time.monotonic()
                continue
            if message["stage"] == "ready":
                self._begin(process, message)
            else:
                self._settle(process, message)
            if process.num_done >= RENEW_AFTER:
                return self._replace(process, "", processes)
            processes = self._next(process, processes, jobs)
        return processes

    def _begin(self, process: Process, message: dict[str, object]) -> None:
        process.is_ready = True
        for name, trace in message["problems"].items():  # type: ignore[attr-defined]
            self._note("seed", self.by_name[name], "the seed itself", trace.strip().splitlines()[-1][:200], trace)
        usable = set(message["seeds"])  # type: ignore[call-overload]
        self.by_name = {n: s for n, s in self.by_name.items() if n in usable}

    def _next(
        self, process: Process, processes: list[Process], jobs: Iterator[tuple[int, seeds.Seed, str]]
    ) -> list[Process]:
        process.job = next((j for j in jobs if j[1].name in self.by_name), None)
        if process.job is None:
            self._stop(process)
            return [p for p in processes if p is not process]
        number, seed, chance = process.job
        process.since = time.monotonic()
        process.changed = ("", [])
        process.tell(id=number, seed=seed.name, chance=chance)
        return processes

    def _settle(self, process: Process, message: dict[str, object]) -> None:
        assert process.job is not None
        _, seed, chance = process.job
        outcome = str(message["outcome"])
        self._count(seed, outcome)
        self.result.warnings.update(message.get("warnings", ()))  # type: ignore[arg-type]
        self.result.max_rss_kb = max(self.result.max_rss_kb, int(str(message["rss"])))
        if outcome in {"traceback", "memory"}:
            error = f"{message['error']}: {message['message']}"
            trace = f"{message['trace']}\n{message.get('change', '')}"
            self._note(outcome, seed, str(message["place"]), error, trace, process=process, chance=chance)
        process.num_done += 1
        process.tell(restore=[seed.name, *process.changed])

    def _count(self, seed: seeds.Seed, outcome: str) -> None:
        self.result.num_inputs += 1
        self.result.outcomes[seed.source, outcome] += 1
        if self.plan.is_loud and self.result.num_inputs % 1000 == 0:
            sys.stdout.write(f"{self.result.num_inputs:,} inputs, {len(self.result.findings)} findings\n")
            sys.stdout.flush()

    def _stop(self, process: Process) -> int:
        assert process.popen.stdout is not None
        self.selector.unregister(process.popen.stdout)
        return process.end()

    def _replace(self, process: Process, why: str, processes: list[Process]) -> list[Process]:
        """End a process, note why, and start another in its place."""
        has_ended = process.popen.poll() is not None or why == "crash"
        if has_ended:
            process.popen.wait()
        code = self._stop(process)
        if why and process.job is None:
            raise RuntimeError(f"a process could not start: {why}, exit code {code}")
        if why and process.job is not None:
            _, seed, chance = process.job
            trace = (process.work / "trace.txt").read_text("utf-8", "replace")
            name = signal.Signals(-code).name if why == "crash" and code < 0 else f"exit code {code}"
            error = f"no answer for {self.plan.timeout_s:g} s" if why == "hang" else name
            stage = "" if process.changed[0] else " (while the input was made)"
            self._note(why, seed, _where(trace) + stage, error, trace, process=process, chance=chance)
            self._count(seed, why)
        rest = [p for p in processes if p is not process]
        return [*rest, self._start(int(process.work.name.removeprefix("work")))]

    def _note(
        self,
        kind: str,
        seed: seeds.Seed,
        place: str,
        error: str,
        detail: str,
        *,
        process: Process | None = None,
        chance: str = "",
    ) -> None:
        key = (kind, seed.source, place, error.partition(":")[0]) if kind != "seed" else (kind, seed.name)
        found = self.result.findings.get(key)
        if found is None:
            found = Finding(kind=kind, source=seed.source, place=place, error=error, detail=detail)
            self.result.findings[key] = found
        found.count += kind != "seed" or not found.count
        if process is None or len(found.inputs) >= KEEP:
            return
        found.inputs.append(f"{seed.name}/{process.changed[0]}: {', '.join(process.changed[1])}; chance {chance}")
        if self.plan.out is not None:
            number = list(self.result.findings).index(key)
            target = self.plan.out / f"{number:03d}-{seed.source}-{kind}" / f"{len(found.inputs)}"
            target.mkdir(parents=True, exist_ok=True)
            shutil.copytree(process.work / seed.name, target / "recording", symlinks=True, dirs_exist_ok=True)
            text = f"{found}\nopened: {seed.path}\ninput: {found.inputs[-1]}\n\n{detail}\n"
            (target / "finding.txt").write_text(text, "utf-8", "backslashreplace")


def _where(trace: str) -> str:
    """The innermost place in the library of what faulthandler wrote."""
    frames = [line.strip() for line in trace.splitlines() if line.strip().startswith("File ")]
    lines = [f for f in frames if "/vladata/" in f] or [f for f in frames if "/tests/" in f]
    return lines[0].replace('File "', "").rpartition("/")[2].replace('"', "") if lines else "no frame of the library"


def fuzz(plan: Plan) -> Result:
    """Run mutated recordings through the sources."""
    memory = Path("/dev/shm")
    base = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="vladata-fuzz-", dir=base, ignore_cleanup_errors=True) as folder:
        return Run(Path(folder), plan).run()
