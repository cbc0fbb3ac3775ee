"""Open a dataset twice and print what it took: `python -m benchmarks.listing_job FOLDER`.

Only what `vladata ls` imports is imported here, for a full garbage collection costs more the more there is.
"""

import sys
import time
from pathlib import Path

import pyarrow.parquet  # noqa: F401 - start-up is not what is measured here

from vladata.store.dataset import Dataset


def time_open(folder: Path) -> tuple[float, float]:
    """Wall and processor time, ms."""
    wall, cpu = time.perf_counter(), time.process_time()
    total = sum(entry.num_steps for entry in Dataset.open(folder).entries)
    assert total
    return 1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu)


if __name__ == "__main__":
    print(*time_open(Path(sys.argv[1])), time_open(Path(sys.argv[1]))[0])
