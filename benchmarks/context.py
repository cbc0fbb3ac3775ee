"""What the benchmarks share: the folder they work in, and recordings and datasets made once."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from vladata.mapping import load_schema
from vladata.pipeline import IngestOptions, ingest
from vladata.store.dataset import Dataset

from .workload import SCHEMA, write_recording

__all__ = ["Context"]

NUM_EPISODES = 5
"""About a gigabyte, as 20 episodes of 8 seconds would be."""


@dataclass(frozen=True)
class Context:
    """One run of the benchmarks."""

    folder: Path
    """Temporary, on a real disk."""
    rounds: int
    is_quick: bool
    """Smaller inputs, to see that everything works; the numbers say little."""

    @property
    def duration_s(self) -> float:
        """Of the recordings."""
        return 6.0 if self.is_quick else 30.0

    @cached_property
    def ingest_options(self) -> IngestOptions:
        """The workload's schema with its mapping."""
        return IngestOptions(schema=load_schema(SCHEMA))

    @cached_property
    def recordings(self) -> list[Path]:
        """About a gigabyte of them."""
        paths = [self.folder / f"recording_{k}.mcap" for k in range(NUM_EPISODES)]
        for k, path in enumerate(paths):
            if not path.exists():
                write_recording(path, seed=10 * k + 1, duration_s=self.duration_s)
        return paths

    @cached_property
    def dataset(self) -> Dataset:
        """All of them as episodes."""
        return self._dataset("dataset", self.recordings)

    @cached_property
    def small_dataset(self) -> Dataset:
        """One episode."""
        return self._dataset("small_dataset", self.recordings[:1])

    def _dataset(self, name: str, recordings: list[Path]) -> Dataset:
        folder = self.folder / name
        if not folder.exists():
            # In this process: the server of workers starts with the modules of the first job that needs it, and that
            # must be the measured one.
            result = ingest(recordings, folder, self.ingest_options, num_workers=0)
            if result.is_lossy:
                raise RuntimeError(f"the workload was not taken in whole: {result.rejected or result.problems}")
        return Dataset.open(folder)
