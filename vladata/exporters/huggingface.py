"""Export episodes as a Hugging Face dataset with action tokens: Parquet shards that `datasets` and pyarrow read.

Four stages, each a list of pure units for the workers: look at every episode, encode frames anew where that was asked
for, write shards, then card, tokenizer, statistics and at last the manifest. Equal datasets and options give equal
bytes, whatever the number of workers; a killed export goes on where it was. What is written: docs/export.md.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ..documents import canonical_json
from ..errors import ExportError
from ..store.dataset import Dataset
from ..tokenizers._base import BaseTokenizer
from ._files import Finished, write_rest
from ._folder import ORIGIN, claim, write_bytes
from ._journal import roll_back
from ._loss import Sample, measure_loss
from ._options import ExportOptions, ExternalData, PlannerOptions, VqaOptions
from ._plan import Plan, Split, sum_refused
from ._prepare import QUARANTINED, Progress, build_tokenizer, prepare
from ._preview import make_plan, require_idle_limit
from ._prompts import build_prompts
from ._recipe import read_recipe
from ._retokenize import Retokenized, RetokenizePlan, plan_retokenize, retokenize, undo_retokenize
from ._sample import ShardRows, held_out
from ._text_plan import plan_texts, prepare_texts
from ._text_rows import EXECUTOR
from ._verify import VerifyResult, verify
from ._work import Job, Written, write_shards

__all__ = [
    "ExportOptions",
    "ExportResult",
    "ExternalData",
    "Plan",
    "PlannerOptions",
    "RetokenizePlan",
    "Retokenized",
    "Split",
    "VerifyResult",
    "VqaOptions",
    "export",
    "plan",
    "plan_retokenize",
    "read_recipe",
    "retokenize",
    "undo_retokenize",
    "verify",
]


def _quiet(done: int, total: int, name: str) -> None:
    """No progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportResult:
    """What an export wrote."""

    splits: Mapping[str, Split]
    """Those of the executor that have rows, by name."""
    configs: Mapping[str, Mapping[str, Split]]
    """The splits of each config that has rows."""
    mixed: Mapping[str, Mapping[str, Mapping[str, int]]]
    """Others' rows by source and split: `rows`, and `wanted`, those that would make up the declared share."""
    mixed_refused: Mapping[str, int]
    """Others' rows that were refused, by source; the notes have the reasons."""
    refused: Mapping[str, int]
    """Steps that are no rows, by reason."""
    clipped: Mapping[str, int]
    """Values outside of what codes can stand for, by dimension; only dimensions that have some."""
    notes: tuple[str, ...]
    """What a user should know, one line each; the card says them too."""
    content_digest: str
    """SHA-256 over the shards: another one means other rows."""
    tokenizer_digest: str
    kept: int
    """Shards that an earlier run had written."""
    quarantined: int = 0
    """Episodes in quarantine that are left out."""
    idle: int = 0
    """Of the refused steps, those that were asked to be left out because nothing moves there."""

    @property
    def is_lossy(self) -> bool:
        """Whether something is missing that nobody asked to be left out."""
        is_short = any(m["rows"] < m["wanted"] for splits in self.mixed.values() for m in splits.values())
        is_refused = sum(self.refused.values()) > self.idle or any(self.mixed_refused.values())
        return bool(self.quarantined) or is_short or is_refused

    def to_dict(self) -> dict[str, object]:
        """As JSON values."""
        return asdict(self)


def plan(dataset: Dataset, options: ExportOptions, *, workers: int = 1, progress: Progress = _quiet) -> Plan:
    """Say what an export would write, and write nothing.

    Args:
        dataset: The episodes.
        options: As for `export`.
        workers: Processes; 0 reads in this one.
        progress: Called with how many are done, of how many, and what is being done.

    Raises:
        ExportError: The dataset can't be exported so. Also SchemaError, TokenizeError and PluginNotFoundError.
    """
    prepared = prepare(dataset, options, workers, progress)
    options, base = prepared.options, _read_base(options)
    tokenizer = build_tokenizer(prepared, options, base, workers, progress)
    build_prompts(prepared.layout, options, tokenizer, base, prepared.state)  # refused here already if it can't be
    texts = prepare_texts(prepared, options, base, workers, progress)
    return plan_texts(make_plan(prepared, tokenizer, workers, progress), prepared, texts)


def export(
    dataset: Dataset, out: Path, options: ExportOptions, *, workers: int = 1, progress: Progress = _quiet
) -> ExportResult:
    """Write an export; run again after an interruption, it does only what is missing.

    Args:
        dataset: The episodes.
        out: Folder: new, empty, or an export that is replaced.
        options: What and how.
        workers: Processes; 0 does everything in this one.
        progress: Called with how many are done, of how many, and what is being done.

    Raises:
        ExportError: The dataset can't be exported so, the folder holds something else, or a unit failed.
        SchemaError: The representation can't be made of these actions.
        TokenizeError: An option of the codec is out of range, or codes don't fit into the vocabulary.
        PluginNotFoundError: There is no codec of that name.
        OSError: The disk is full, or can't be written.
    """
    if _is_inside(out, dataset.path) or _is_inside(dataset.path, out):
        raise ExportError(f"{out}: dataset and export must be folders of their own, none inside the other")
    with claim(out) as folder:
        roll_back(out)
        prepared = prepare(dataset, options, workers, progress)
        require_idle_limit(prepared)
        options = prepared.options
        base = _read_base(options)
        tokenizer = build_tokenizer(prepared, options, base, workers, progress)
        job = Job(
            prepared=prepared,
            options=options,
            tokenizer=tokenizer,
            prompts=build_prompts(prepared.layout, options, tokenizer, base, prepared.state),
            workers=workers,
            progress=progress,
            texts=prepare_texts(prepared, options, base, workers, progress),
        )
        written = write_shards(job, folder)
        origin = _origin(dataset.path, out, options)
        write_bytes(out / ORIGIN, (canonical_json(origin) + "\n").encode())
        finished = Finished(
            job=job,
            written=written,
            base=base,
            dataset_digest=dataset.digest,
            loss=measure_loss(job.tokenizer, _held_out(job, written, out)),
        )
        write_rest(folder, finished)
    return ExportResult(
        splits=finished.splits,
        configs=finished.configs,
        mixed=finished.mixed,
        mixed_refused={n: sum(c.refused.values()) for n, c in job.texts.chosen.items()},
        refused=sum_refused(prepared.gathered),
        clipped={name: count for name, count in finished.clipped.items() if count},
        notes=finished.notes,
        content_digest=finished.content_digest,
        tokenizer_digest=job.tokenizer.digest,
        kept=written.kept,
        quarantined=prepared.left_out.get(QUARANTINED, 0),
        idle=sum(sum((g.idle or {}).values()) for g in prepared.gathered),
    )


def _held_out(job: Job, written: Written, out: Path) -> Sample:
    lines = [line for line in written.lines if line.config == EXECUTOR]
    shards = [ShardRows(file=line.file, split=line.split, rows=line.rows) for line in lines]
    shape = (job.tokenizer.horizon, job.tokenizer.dims)
    return held_out(out, shards, next(iter(job.options.splits)), shape, job.workers)


def _origin(dataset: Path, out: Path, options: ExportOptions) -> dict[str, object]:
    """Where everything came from, seen from the export; for verification on this machine."""
    external = options.vqa.external if options.vqa is not None else ()
    places = {e.name: os.path.relpath(e.path.resolve(), out.resolve()) for e in external}
    own: dict[str, object] = {"dataset": os.path.relpath(dataset.resolve(), out.resolve())}
    return {**own, "external": places} if places else own


def _is_inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _read_base(options: ExportOptions) -> BaseTokenizer | None:
    folder = options.base_tokenizer
    return None if folder is None else BaseTokenizer.read(folder, folder.resolve().name)
