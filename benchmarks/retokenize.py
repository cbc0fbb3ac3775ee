"""Another tokenizer for an export in place, beside a fresh export, and beside hashing the shards alone."""

from functools import partial
from itertools import cycle
from pathlib import Path

from vladata.exporters.huggingface import ExportOptions, export, retokenize
from vladata.store.writer import hash_file

from .context import Context
from .measure import Side, heading, interleave, print_ratio, print_times

__all__ = ["run"]

SPLITS = {"train": 0.8, "validation": 0.2}
SCHEMES = ("uniform_bins", "bspline", "openvla_bins")


def run(context: Context) -> None:
    dataset = context.dataset
    out = context.folder / "retokenized"
    export(dataset, out, ExportOptions(splits=SPLITS, horizon=8), workers=0)
    shards = sorted(out.glob("data/executor/*.parquet"))
    size = sum(path.stat().st_size for path in shards)
    heading("retokenize", f"an export of {len(shards)} shards ({size / 1e6:.0f} MB), images passed through")
    fresh = "fresh export, in this process"
    here, isolated, hashing = "retokenize, in this process", "retokenize, two worker processes", "SHA-256 of the shards"
    options = ExportOptions(tokenizer="bspline", splits=SPLITS, horizon=8)
    schemes = cycle(SCHEMES)
    sides = [
        Side(fresh, lambda folder: export(dataset, folder / "out", options, workers=0)),
        Side(here, lambda _: retokenize(out, ExportOptions(tokenizer=next(schemes)), workers=0)),
        Side(isolated, lambda _: retokenize(out, ExportOptions(tokenizer=next(schemes)), workers=2)),
        Side(hashing, partial(_hash, shards)),
    ]
    times = interleave(sides, context.rounds, context.folder)
    print_times(times)
    print_ratio("retokenize / fresh export, in this process", times[here], times[fresh], None)
    print_ratio("retokenize / hashing, in this process", times[here], times[hashing], None)
    done = retokenize(out, ExportOptions(tokenizer=next(schemes)), workers=0)
    sizes = [n / 1e6 for n in (done.bytes_read, done.bytes_written, done.image_bytes, done.dead_bytes)]
    print(
        "  read {:.1f} MB, wrote {:.2f} MB, left {:.1f} MB of images alone, keeps {:.2f} MB of old tokens".format(
            *sizes
        )
    )


def _hash(shards: list[Path], _: Path) -> None:
    for path in shards:
        hash_file(path)
