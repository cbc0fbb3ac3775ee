"""Peak memory of each process, and time for each GB, while a long recording is ingested and exported."""

import dataclasses
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from .context import Context
from .measure import Goal, heading, verdict
from .workload import BYTES_PER_S, write_recording

__all__ = ["MB", "family", "idle", "measure", "peak_mb", "run"]

MB = 1_000_000
SIZES_MB = (1000, 2000, 4000)
GOAL = Goal(400.0)
GROWTH_GOAL = Goal(1.15)
"""Time for each GB of the longest recording over that of the shortest: the same, but for what runs beside."""
POLL_S = 0.01
ROOM = 3.5
"""Recording, episode and export lie on the disk together; the other half is for the file system."""


@dataclasses.dataclass(slots=True)
class _Peak:
    role: str
    peak_mb: float = 0.0


def run(context: Context) -> None:
    sizes = (40, 80) if context.is_quick else SIZES_MB
    seconds: dict[int, float] = {}
    free = shutil.disk_usage(context.folder).free
    heading("memory", "peak resident memory above what the imports take, two worker processes")
    for size in sizes:
        if free < ROOM * size * MB:
            print(f"  {size} MB: skipped, needs {ROOM * size / 1000:.1f} GB of disk, {free / 1e9:.1f} GB are free")
            continue
        folder = context.folder / f"memory_{size}"
        folder.mkdir()
        try:
            recording = folder / "recording.mcap"
            write_recording(recording, seed=7, duration_s=size * MB / BYTES_PER_S)
            print(f"  a recording of {recording.stat().st_size / 1e6:.0f} MB")
            seconds[size] = measure("ingest", [recording, folder / "dataset"]) / recording.stat().st_size * 1e9
            recording.unlink()
            measure("export", [folder / "dataset", folder / "out"])
            shutil.rmtree(folder / "out")
            if size == sizes[0]:
                measure("resize", [folder / "dataset", folder / "out"])
        finally:
            shutil.rmtree(folder)
    for size, value in seconds.items():
        print(f"  ingest of {size} MB: {value:.2f} s for each GB")
    if len(seconds) > 1:
        growth = seconds[max(seconds)] / seconds[min(seconds)]
        print(f"  time for each GB, longest / shortest {growth:8.2f}  {GROWTH_GOAL}  {verdict(GROWTH_GOAL, growth)}")


def measure(job: str, paths: list[Path]) -> float:
    """Run a job in a process of its own and watch it and all its children; how long it took, in seconds."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.memory_job", job, *paths], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    base = json.loads(process.stdout.readline())
    peaks: dict[int, _Peak] = {}
    start = time.perf_counter()
    while process.poll() is None:
        for pid, role in family(process.pid):
            peaks.setdefault(pid, _Peak(role)).peak_mb = peak_mb(pid) or peaks[pid].peak_mb
        time.sleep(POLL_S)
    if process.returncode:
        raise RuntimeError(f"{job} ended with exit code {process.returncode}")
    seconds = time.perf_counter() - start
    print(f"  {job}, {seconds:.1f} s")
    for role, imports in base.items():
        found = [p.peak_mb for p in peaks.values() if p.role == role]
        above = max(found) - imports
        print(
            f"    {role:<58} {above:8.0f} MB  (imports {imports:.0f}, peak {max(found):.0f}, {len(found)} processes)"
            f"  {GOAL}  {verdict(GOAL, above)}",
            flush=True,
        )
    return seconds


def family(pid: int) -> list[tuple[int, str]]:
    """A job's process and the workers that its server forked; server and resource tracker do nothing with data."""
    parents = {int(p.name): _parent(p) for p in Path("/proc").iterdir() if p.name.isdecimal()}
    servers = {p for p, parent in parents.items() if parent == pid}
    return [(pid, "parent"), *((p, "worker") for p, parent in parents.items() if parent in servers)]


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def idle(_: int) -> float:
    """What a worker takes that does nothing."""
    return peak_mb("self")


def peak_mb(pid: int | str) -> float:
    """VmHWM; 0 where the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) * 1024 / MB for line in lines if line.startswith("VmHWM")), 0.0)
