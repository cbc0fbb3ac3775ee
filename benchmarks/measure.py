"""Time several ways of doing a thing side by side, and print their ratios beside the goals."""

import gc
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Goal", "Side", "Times", "heading", "interleave", "print_ratio", "print_times", "verdict"]


@dataclass(frozen=True, slots=True)
class Side:
    """One way of doing the thing."""

    name: str
    run: Callable[[Path], object]
    """What is timed; gets an empty folder that is removed afterwards."""


@dataclass(frozen=True, slots=True)
class Times:
    """Wall and processor time of a side, one of each per round, in seconds."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    """Of this process, its children and their children."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What a ratio should be."""

    bound: float
    is_upper: bool = True

    def __str__(self) -> str:
        """Short, for a line of output."""
        return f"goal {'<=' if self.is_upper else '>='} {self.bound:g}"

    def is_reached(self, value: float) -> bool:
        """Compare without rounding."""
        return value <= self.bound if self.is_upper else value >= self.bound


def interleave(sides: Sequence[Side], rounds: int, folder: Path) -> dict[str, Times]:
    """Run all sides in each round, so that what else the machine does falls on all of them alike.

    A first round is not counted: it fills caches and starts what is started once. Every other round goes backward.
    """
    times = {side.name: Times() for side in sides}
    for k in range(rounds + 1):
        for side in sides if k % 2 else sides[::-1]:
            wall, cpu = _timed(side, folder)
            if k:
                times[side.name].wall.append(wall)
                times[side.name].cpu.append(cpu)
    return times


def _timed(side: Side, folder: Path) -> tuple[float, float]:
    empty = Path(tempfile.mkdtemp(dir=folder))
    try:
        # What an earlier side left to be written would be paid for by this one's fsync.
        os.sync()
        gc.collect()
        cpu, wall = _cpu_s(), time.perf_counter()
        side.run(empty)
        return time.perf_counter() - wall, _cpu_s() - cpu
    finally:
        shutil.rmtree(empty)


def _cpu_s() -> float:
    """Processor time of this process, those that it waited for, and those that its children waited for.

    Workers are forked from a server process: their time is found there.
    """
    total = sum(os.times()[:4])
    ticks = os.sysconf("SC_CLK_TCK")
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            try:
                facts = (process / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(facts[1]) == os.getpid():
                total += sum(map(int, facts[11:15])) / ticks
    return total


def heading(name: str, what: str) -> None:
    print(f"\n{name}: {what}", flush=True)


def print_times(times: dict[str, Times], *, scale: float = 1.0, unit: str = "s") -> None:
    """One line for each side: median, least and most."""
    for name, side in times.items():
        wall = [w * scale for w in side.wall]
        cpu = statistics.median(side.cpu) * scale
        print(f"  {name:<62} {statistics.median(wall):8.3f} {unit}  ({min(wall):.3f}..{max(wall):.3f}, cpu {cpu:.3f})")


def print_ratio(what: str, over: Times, under: Times, goal: Goal | None) -> float:
    """Print the median of the rounds' ratios of wall time, and whether the goal is reached.

    The ratio of processor time beside it hardly depends on what else the machine does, but knows nothing of waiting.
    """
    ratios = [a / b for a, b in zip(over.wall, under.wall, strict=True)]
    middle = statistics.median(ratios)
    cpu = statistics.median(over.cpu) / statistics.median(under.cpu)
    reached = "" if goal is None else f"  {goal}  {verdict(goal, middle)}"
    print(f"  {what:<62} {middle:8.2f} x  ({min(ratios):.2f}..{max(ratios):.2f}, cpu {cpu:.2f}){reached}", flush=True)
    return middle


def verdict(goal: Goal, value: float) -> str:
    return "reached" if goal.is_reached(value) else "NOT REACHED"
