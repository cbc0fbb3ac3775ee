"""Mixing two exports, beside copying what is written with the same hashes; time, and memory of each process."""

import json
import shutil
from functools import partial
from pathlib import Path

from vladata.exporters._folder import MANIFEST
from vladata.exporters.huggingface import ExportOptions, export
from vladata.mapping import load_schema
from vladata.mixtures.mix import mix
from vladata.pipeline import IngestOptions, ingest
from vladata.store.dataset import Dataset

from .context import Context
from .copying import copy_hashed
from .measure import Goal, Side, heading, interleave, print_ratio, print_times
from .memory import MB, measure
from .workload import BYTES_PER_S, SCHEMA, write_recording

__all__ = ["run"]

SIZES_MB = (2000, 4000)
SHARD_MB = 100


def run(context: Context) -> None:
    sizes = (200,) if context.is_quick else SIZES_MB
    for size in sizes:
        folder = context.folder / f"mixing_{size}"
        folder.mkdir()
        try:
            _one_size(context, folder, size, is_timed=size == sizes[0])
        finally:
            shutil.rmtree(folder)


def _one_size(context: Context, folder: Path, size: int, *, is_timed: bool) -> None:
    parts = [_part(folder, f"part{i}", size // 2, i) for i in range(2)]
    files = [p for part in parts for p in sorted(part.glob("data/executor/*.parquet"))]
    total = sum(p.stat().st_size for p in files)
    heading("mixing", f"two exports of {total / 2e6:.0f} MB each, every row once")
    recipe = folder / "mixture.yaml"
    lines = "".join(f"  - {{name: {p.parent.name}, export: {p.parent.name}/shards}}\n" for p in parts)
    recipe.write_text(f"mixture: 1\nparts:\n{lines}")
    if is_timed:
        copying, here = "copy with the same hashes", "vladata, in this process"
        one, two, apart = "vladata, one worker", "vladata, two workers", "apart, two workers: links, each read once"
        linked = folder / "apart.yaml"
        linked.write_text(f"mixture: 1\nlayout: apart\nparts:\n{lines}")
        sides = [
            Side(copying, partial(copy_hashed, files)),
            Side(here, lambda out: mix(recipe, out / "out", workers=0)),
            Side(one, lambda out: mix(recipe, out / "out", workers=1)),
            Side(two, lambda out: mix(recipe, out / "out", workers=2)),
            Side(apart, lambda out: mix(linked, out / "out", workers=2)),
        ]
        times = interleave(sides, context.rounds, context.folder)
        rows = mix(recipe, folder / "rows", workers=2).plan.epoch_rows
        shutil.rmtree(folder / "rows")
        print_times(times)
        for name in (here, one, two):
            wall = sorted(times[name].wall)[len(times[name].wall) // 2]
            print(f"  {name:<62} {rows / wall:8.0f} rows/s {total / wall / 1e6:8.0f} MB/s")
        print_ratio("in this process / copy", times[here], times[copying], Goal(3.0))
        print_ratio("two workers / one", times[two], times[one], None)
    measure("mix", [recipe, folder / "out"])


def _part(folder: Path, name: str, size: int, seed: int) -> Path:
    """An export of one recording, its shard written as often as makes up the size."""
    place = folder / name
    place.mkdir()
    write_recording(place / "demo.mcap", seed=seed, duration_s=SHARD_MB * MB / BYTES_PER_S)
    ingest([place], place / "dataset", IngestOptions(schema=load_schema(SCHEMA)), num_workers=0)
    (place / "demo.mcap").unlink()
    options = ExportOptions(horizon=8 - 4 * seed, splits={"train": 1.0})
    export(Dataset.open(place / "dataset"), place / "shards", options, workers=0)
    shutil.rmtree(place / "dataset")
    _grow(place / "shards", max(1, round(size / SHARD_MB)))
    return place / "shards"


def _grow(export_folder: Path, count: int) -> None:
    """Make an export of one shard one of many of the same rows: as large, as many row groups, made in seconds."""
    path = export_folder / MANIFEST
    manifest = json.loads(path.read_text())
    (line,) = (f for f in manifest["files"] if f["file"].endswith(".parquet"))
    source = export_folder / line["file"]
    manifest["files"].remove(line)
    for index in range(count):
        name = f"data/executor/train-{index:05d}-of-{count:05d}.parquet"
        if export_folder / name != source:
            shutil.copyfile(source, export_folder / name)
        manifest["files"].append({**line, "file": name})
    if count > 1:
        source.unlink()
    path.write_text(json.dumps(manifest))
