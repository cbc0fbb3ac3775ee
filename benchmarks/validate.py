"""All checks over an episode of a minute, on one core: how many times faster than the demonstration, and which cost."""

import dataclasses
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vladata.checks import Check, CheckSettings, DatasetCheck, check_names, find_check, measure, run_checks
from vladata.episode import Episode
from vladata.store.dataset import Dataset

from .context import Context
from .measure import Goal, heading, verdict
from .synthetic import grow

__all__ = ["run"]

DURATION_S = 60.0
NUM_SHOWN = 10


def run(context: Context) -> None:
    duration_s = 10.0 if context.is_quick else DURATION_S
    settings = CheckSettings()
    for what, has_images, goal in (
        ("14 dimensions of state and action at 50 Hz", False, Goal(500.0, is_upper=False)),
        ("the same, and two cameras of 640x480 at 30 Hz as JPEG", True, Goal(30.0, is_upper=False)),
    ):
        heading("validate", f"{duration_s:g} s, {what}; {len(check_names())} checks, in this process")
        folder = context.folder / f"validate_{'images' if has_images else 'numbers'}"
        grow(folder, 1, duration_s=duration_s, has_images=has_images)
        _speed(folder, settings, duration_s, goal, context.rounds)
        _profile(_read(folder), context.rounds)


def _read(folder: Path) -> Episode:
    (episode,) = Dataset.open(folder)
    return episode


def _speed(folder: Path, settings: CheckSettings, duration_s: float, goal: Goal, rounds: int) -> None:
    wall, cpu = [], []
    for _ in range(rounds + 1):
        start, begun = time.perf_counter(), time.process_time()
        episode = _read(folder)
        findings = run_checks(episode, settings=settings)
        measure(episode, settings)
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - begun)
    for finding in findings:
        print(f"  found: {finding.severity} {finding.check}: {finding.message}")
    middle = statistics.median(wall[1:])
    speed = duration_s / middle
    print(
        f"  {'reading it, all checks, all measurements':<62} {1000 * middle:8.1f} ms"
        f"  ({1000 * min(wall[1:]):.1f}..{1000 * max(wall[1:]):.1f}, cpu {1000 * statistics.median(cpu[1:]):.1f})"
    )
    of_cpu = duration_s / statistics.median(cpu[1:])
    print(
        f"  {'times faster than real time':<62} {speed:8.0f} x  (cpu {of_cpu:.0f})  {goal}  {verdict(goal, speed)}",
        flush=True,
    )


def _profile(episode: Episode, rounds: int) -> None:
    """The checks that cost most, each by itself; what several share falls on the first of them."""
    start = time.perf_counter()
    for name in episode.streams:
        _ = episode.streams[name]
    costs = {"(reading the streams)": [time.perf_counter() - start]}
    for _ in range(rounds):
        # A copy, so that nothing is remembered of the round before.
        again = dataclasses.replace(episode)
        for name in check_names():
            costs.setdefault(name, []).append(_cost(name, again))
    middles = {name: statistics.median(found) for name, found in costs.items()}
    costly = sorted(middles, key=lambda n: -middles[n])[:NUM_SHOWN]
    for name in costly:
        print(f"    {name:<60} {1000 * middles[name]:8.2f} ms")
    rest = sum(middles[n] for n in middles if n not in costly)
    print(f"    {f'the other {len(middles) - len(costly)} together':<60} {1000 * rest:8.2f} ms", flush=True)


def _cost(name: str, episode: Episode) -> float:
    rule: Check | DatasetCheck = find_check(name)
    start = time.perf_counter()
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        found: Sequence[object]
        if isinstance(rule, Check):
            found = list(rule.function(episode, **rule.thresholds))
        else:
            found = [feature.function(episode) for feature in rule.features]
    del found
    return time.perf_counter() - start
