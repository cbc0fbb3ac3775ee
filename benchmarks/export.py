"""Export with images passed through, beside copying the episodes, and beside `datasets`."""

import itertools
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from vladata.exporters.huggingface import ExportOptions, export
from vladata.recording import FrameStream
from vladata.store.dataset import Dataset

from .context import Context
from .copying import copy_hashed
from .measure import Goal, Side, heading, interleave, print_ratio, print_times
from .peers import write_by_datasets

__all__ = ["ONE_SPLIT", "run"]

ONE_SPLIT = {"train": 1.0}
IMAGES = "observation.images."


def run(context: Context) -> None:
    dataset = context.dataset
    files = [dataset.path / entry.file for entry in dataset.entries]
    size = sum(path.stat().st_size for path in files)
    heading("export", f"{len(files)} episodes ({size / 1e6:.0f} MB), images passed through")
    options = ExportOptions(splits=ONE_SPLIT, horizon=8)
    numbers, features = _numbers(dataset, options, context.folder / "once")

    copying = "copy with the same hashes"
    here, isolated, two = "vladata, in this process", "vladata, one worker process", "vladata, two worker processes"
    peer, alike = "datasets, from_generator + to_parquet", "the same, and what it wrote hashed and synced as well"
    rows = partial(_rows, dataset, numbers)
    sides = [
        Side(copying, partial(copy_hashed, files)),
        Side(here, lambda folder: export(dataset, folder / "out", options, workers=0)),
        Side(isolated, lambda folder: export(dataset, folder / "out", options, workers=1)),
        Side(two, lambda folder: export(dataset, folder / "out", options, workers=2)),
        Side(peer, lambda folder: write_by_datasets(rows, features, folder)),
        Side(alike, lambda folder: write_by_datasets(rows, features, folder, is_committed=True)),
    ]
    times = interleave(sides, context.rounds, context.folder)
    print_times(times)
    print_ratio("in this process / copy", times[here], times[copying], Goal(1.5))
    print_ratio("one worker / copy", times[isolated], times[copying], Goal(1.5))
    print_ratio("two workers / copy", times[two], times[copying], None)
    print_ratio("in this process / datasets", times[here], times[peer], Goal(0.5))
    print_ratio("one worker / datasets", times[isolated], times[peer], Goal(0.5))
    print_ratio("two workers / datasets", times[two], times[peer], None)
    print_ratio("one worker / datasets, hashed and synced as well", times[isolated], times[alike], None)


def _numbers(dataset: Dataset, options: ExportOptions, out: Path) -> tuple[list[dict[str, Any]], Any]:
    """All columns but the images of what vladata exports, row by row, and the features of all of them."""
    from datasets import Features

    export(dataset, out, options, workers=0)
    rows: list[dict[str, Any]] = []
    for path in sorted(out.glob("data/*/train-*.parquet")):
        schema = pq.read_schema(path)
        rows += pq.read_table(path, columns=[n for n in schema.names if not n.startswith(IMAGES)]).to_pylist()
    return rows, Features.from_arrow_schema(schema)


def _rows(dataset: Dataset, numbers: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The same rows, images read from the episodes as they are needed."""
    for _, group in itertools.groupby(numbers, key=lambda row: row["episode_index"]):
        rows = list(group)
        episode = dataset.episode(rows[0]["episode_id"])
        streams = {n: s for n, s in episode.streams.items() if isinstance(s, FrameStream)}
        for row in rows:
            shown = {n: int(episode.steps.images[n][row["step_index"]]) for n in streams}
            images = {IMAGES + n: {"bytes": s.frames.read(shown[n]), "path": None} for n, s in streams.items()}
            yield {**row, **images}
