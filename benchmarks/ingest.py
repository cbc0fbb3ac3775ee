"""MCAP (zstd) to committed episodes, beside copying the file, and beside generic decoding."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from vladata.pipeline import ingest

from .context import Context
from .copying import copy_committed
from .measure import Goal, Side, heading, interleave, print_ratio, print_times
from .peers import mcap_to_rows
from .workload import SCHEMA

__all__ = ["run"]


def run(context: Context) -> None:
    source, three = context.recordings[0], context.recordings[:3]
    heading("ingest", f"MCAP (zstd, {source.stat().st_size / 1e6:.0f} MB) to a committed episode")

    def take_in(sources: Sequence[Path], num_workers: int, folder: Path) -> None:
        result = ingest(sources, folder / "dataset", context.ingest_options, num_workers=num_workers)
        assert result.num_new == len(sources)
        assert not result.is_lossy

    def copy_three(folder: Path) -> None:
        for path in three:
            copy_committed(path, folder)

    def command(folder: Path) -> None:
        line = [sys.executable, "-m", "benchmarks.command", "ingest", source, "--schema", SCHEMA]
        subprocess.run([*line, "-o", folder / "dataset", "--workers", "1"], check=True, capture_output=True)

    copying = "copy with the same fsyncs, digests, hashes, re-reading"
    decoding = "mcap + mcap-ros2-support, variable-length HDF5 rows"
    here, isolated = "vladata, in this process", "vladata, one worker process"
    whole = "vladata ingest, the whole command"
    copying_three, isolated_three = "copy of three recordings", "vladata, three recordings, one worker process"
    sides = [
        Side(copying, lambda folder: copy_committed(source, folder)),
        Side(here, lambda folder: take_in([source], 0, folder)),
        Side(isolated, lambda folder: take_in([source], 1, folder)),
        Side(decoding, lambda folder: mcap_to_rows(source, folder)),
        Side(whole, command),
        Side(copying_three, copy_three),
        Side(isolated_three, lambda folder: take_in(three, 1, folder)),
    ]
    times = interleave(sides, context.rounds, context.folder)
    print_times(times)
    print_ratio("in this process / copy", times[here], times[copying], Goal(2.0))
    print_ratio("one worker / copy", times[isolated], times[copying], Goal(2.0))
    print_ratio("one worker / copy, three recordings", times[isolated_three], times[copying_three], Goal(2.0))
    print_ratio("whole command / copy", times[whole], times[copying], None)
    print_ratio("generic decoding / in this process", times[decoding], times[here], Goal(2.0, is_upper=False))
    print_ratio("generic decoding / one worker", times[decoding], times[isolated], Goal(2.0, is_upper=False))
