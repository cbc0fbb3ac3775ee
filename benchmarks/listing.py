"""List a dataset of 2,000 episodes, in a process of its own each time."""

import dataclasses
import hashlib
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from vladata.store.catalog import Entry
from vladata.store.dataset import Dataset, write_index
from vladata.store.dataset_writer import episode_file

from .context import Context
from .measure import Goal, heading, verdict

__all__ = ["run"]

NUM_EPISODES = 2000
GOAL = Goal(20.0)


def run(context: Context) -> None:
    folder = context.folder / "listing"
    _make(context.small_dataset, folder)
    heading("listing", f"{NUM_EPISODES} episodes, each time in a new process")
    line = [sys.executable, "-m", "benchmarks.listing_job", folder]
    rows = [
        [float(n) for n in subprocess.run(line, check=True, capture_output=True, text=True).stdout.split()]
        for _ in range(3 * context.rounds + 1)
    ]
    wall, cpu, again = zip(*rows[1:], strict=True)
    middle = statistics.median(wall)
    print(
        f"  {'Dataset.open and its entries, after the imports':<62} {middle:8.1f} ms"
        f"  ({min(wall):.1f}..{max(wall):.1f}, cpu {statistics.median(cpu):.1f})  {GOAL}  {verdict(GOAL, middle)}"
    )
    print(f"  {'the same again in that process':<62} {statistics.median(again):8.1f} ms")
    seconds = []
    for _ in range(context.rounds + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "benchmarks.command", "ls", folder], check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    print(f"  {'vladata ls, the whole command':<62} {1000 * statistics.median(seconds[1:]):8.1f} ms", flush=True)


def _make(dataset: Dataset, folder: Path) -> None:
    """Many episodes out of one: names and digests differ, the bytes are those of one file."""
    original = dataset.entries[0]
    entries: list[Entry] = []
    for number in range(NUM_EPISODES):
        digest = hashlib.sha256(str(number).encode()).hexdigest()
        entry = dataclasses.replace(
            original,
            episode_id=digest[:32],
            recording_id=digest[32:],
            content_digest=digest,
            sha256=digest[::-1],
            place=f"recording_{number}.mcap",
            file=episode_file(digest[:32]),
        )
        path = folder / entry.file
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(dataset.path / original.file, path)
        entries.append(entry)
    write_index(folder, entries)
