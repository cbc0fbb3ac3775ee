"""One job of the memory benchmark, in a process of its own: says what the imports took, then works."""

import json
import sys
from pathlib import Path

import datasets  # noqa: F401 - an export imports it, and imports don't count

from vladata import workers
from vladata.exporters.huggingface import ExportOptions, export
from vladata.mapping import load_schema
from vladata.mixtures.mix import mix
from vladata.pipeline import IngestOptions, ingest
from vladata.store.dataset import Dataset

from .memory import idle, peak_mb
from .workload import SCHEMA


def main(job: str, source: Path, target: Path) -> None:
    # The server that workers are forked from starts with the modules that the job's workers need.
    ours = ("vladata.exporters._shard", "vladata.exporters._frames", "vladata.mixtures._shards")
    modules = (*workers.PRELOAD, "vladata.ingest", *ours)
    outcome = next(workers.run(idle, [0], workers=1, preload=modules))
    assert isinstance(outcome, workers.Done), outcome
    print(json.dumps({"parent": peak_mb("self"), "worker": outcome.result}), flush=True)
    if job == "ingest":
        result = ingest([source], target, IngestOptions(schema=load_schema(SCHEMA)), num_workers=2)
        if result.num_new != 1:
            raise RuntimeError(f"the recording was not taken in: {result.rejected}")
    elif job == "mix":
        mix(source, target, workers=2)
    else:
        size = (224, 224) if job == "resize" else None
        options = ExportOptions(splits={"train": 1.0}, horizon=8, image_size=size)
        export(Dataset.open(source), target, options, workers=2)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
