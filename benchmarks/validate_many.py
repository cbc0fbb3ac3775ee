"""`vladata validate` over thousands of episodes: memory and time for each as they grow, and going on after Ctrl+C."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from .context import Context
from .measure import Goal, heading, verdict
from .memory import family, peak_mb
from .synthetic import grow

__all__ = ["run"]

SIZES = (1000, 3000, 10_000)
DURATION_S = 5.0
MEMORY_GOAL = Goal(400.0)
"""MB, imports and all; what it grows by is the list of episodes."""
TIME_GOAL = Goal(1.15)
"""For each of the most episodes over each of the fewest: the same, but for what runs beside."""
POLL_S = 0.02
GOOD, VIOLATION, INTERRUPTED = 0, 4, 130


@dataclass(frozen=True, slots=True)
class _Run:
    seconds: float
    exit_code: int
    parent_mb: float
    worker_mb: float
    num_findings: int


def run(context: Context) -> None:
    sizes = (20, 40, 80) if context.is_quick else SIZES
    heading("validate_many", f"episodes of {DURATION_S:g} s without images, the whole command, two workers")
    folder = context.folder / "many"
    runs: dict[int, _Run] = {}
    for size in sizes:
        grow(folder, size, duration_s=DURATION_S)
        runs[size] = found = _validate(folder, context.folder / "report.json")
        print(
            f"  {f'{size:,} episodes':<20} {found.seconds:8.1f} s  {1000 * found.seconds / size:6.2f} ms each"
            f"  parent {found.parent_mb:5.0f} MB, worker {found.worker_mb:5.0f} MB  {found.num_findings:,} findings",
            flush=True,
        )
    few, many = runs[min(sizes)], runs[max(sizes)]
    grown = 1000 * (many.parent_mb - few.parent_mb) / (max(sizes) - min(sizes))
    _line("peak memory of the parent", many.parent_mb, "MB", MEMORY_GOAL)
    print(f"  {'what it grows by for each 1,000 episodes':<62} {grown:8.1f} MB")
    each = many.seconds / max(sizes) / (few.seconds / min(sizes))
    _line("time for each, most / fewest", each, "x", TIME_GOAL)
    _interrupted(folder, context.folder / "report.json", many)


def _line(what: str, value: float, unit: str, goal: Goal) -> None:
    print(f"  {what:<62} {value:8.2f} {unit}  {goal}  {verdict(goal, value)}", flush=True)


def _interrupted(folder: Path, report: Path, whole: _Run) -> None:
    """Ctrl+C half-way, and the same command again."""
    first = _validate(folder, report, stop_after_s=whole.seconds / 2)
    if first.exit_code != INTERRUPTED:
        print(f"  Ctrl+C after {whole.seconds / 2:.1f} s: it had ended already, exit code {first.exit_code}")
        return
    second = _validate(folder, report)
    print(
        f"  Ctrl+C: stopped after {first.seconds:.1f} s; again {second.seconds:.1f} s, where all takes "
        f"{whole.seconds:.1f} s; about {max(0.0, 1 - second.seconds / whole.seconds):.0%} was not done again",
        flush=True,
    )
    if second.num_findings != whole.num_findings:
        raise RuntimeError(f"{second.num_findings} findings after an interruption, {whole.num_findings} without")


def _validate(folder: Path, report: Path, *, stop_after_s: float | None = None) -> _Run:
    """Run the command and watch its processes, imports and all."""
    line = [sys.executable, "-m", "benchmarks.command", "validate", str(folder), "--workers", "2", "--json"]
    with report.open("wb") as stdout:
        start = time.perf_counter()
        process = subprocess.Popen(line, stdout=stdout, stderr=subprocess.PIPE)
        assert process.stderr is not None
        peaks = {"parent": 0.0, "worker": 0.0}
        while process.poll() is None:
            for pid, role in family(process.pid):
                peaks[role] = max(peaks[role], peak_mb(pid))
            if stop_after_s is not None and time.perf_counter() - start > stop_after_s:
                process.send_signal(signal.SIGINT)
                stop_after_s = None
            time.sleep(POLL_S)
        seconds = time.perf_counter() - start
        said = process.stderr.read().decode(errors="replace")
    if process.returncode not in {GOOD, VIOLATION, INTERRUPTED}:
        raise RuntimeError(f"validate ended with exit code {process.returncode}: {said[-2000:]}")
    findings = 0 if process.returncode == INTERRUPTED else len(json.loads(report.read_bytes())["findings"])
    return _Run(seconds, process.returncode, peaks["parent"], peaks["worker"], findings)
