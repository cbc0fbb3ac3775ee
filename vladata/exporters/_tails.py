"""What an export's shards get behind them, one unit for each; and the tokenizer that it is made with."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import plugins
from ..action_tokenizer import ActionTokenizer
from ..errors import ExportError
from ..prompts import PromptTemplate
from ..tokenizers import ActionCodec
from ..tokenizers._base import BaseTokenizer
from ..workers import Failed, run
from ._folder import ExportFolder, require_space
from ._journal import ShardEnd, begin_stage
from ._options import ExportOptions
from ._plan import digest
from ._prepare import Progress
from ._prompts import Prompts, make_vocabulary, refuse_long
from ._sample import fit_chunks
from ._schema import retokenized_schema
from ._stored import Line, StoredExport, shard_path, whole
from ._tail import TailFacts, TailUnit, make_tail
from ._work import STALL_S, package_versions

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Job", "Tails", "make_tails", "other_tokenizer"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """An export that gets other tokens."""

    export: StoredExport
    options: ExportOptions
    decided: Mapping[str, object]
    """Options that the manifest will name instead of the old ones."""
    tokenizer: ActionTokenizer
    base: BaseTokenizer | None
    prompts: Prompts
    workers: int
    progress: Progress


def other_tokenizer(
    export: StoredExport, options: ExportOptions, template: PromptTemplate, workers: int
) -> tuple[ActionTokenizer, BaseTokenizer | None]:
    """The tokenizer that a fresh export with these options would have.

    Raises:
        PluginNotFoundError: There is no codec of that name.
        ExportError: A shard that the codec learns from can't be read.
        TokenizeError: An option is out of range, or the codes don't fit into the vocabulary.
    """
    folder = options.base_tokenizer
    base = None if folder is None else BaseTokenizer.read(folder, folder.resolve().name)
    kind: type[ActionCodec] = plugins.load("tokenizers", options.tokenizer).Codec
    chunks = np.zeros((0, *export.shape))
    if kind.learns:
        taken = fit_chunks(export.path, export.shards, export.first_split, export.shape, workers)
        chunks = export.tokenizer.normalization.apply(taken)
    codec = kind.fit(chunks, **options.codec_options)
    vocabulary = None if base is None else make_vocabulary(codec.num_codes, options, base, template)
    return dataclasses.replace(export.tokenizer, scheme=options.tokenizer, codec=codec, vocabulary=vocabulary), base


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tails:
    """What lies ready for all shards."""

    lines: Sequence[Line]
    """What the manifest will say of them."""
    ends: Sequence[ShardEnd]
    facts: Sequence[TailFacts]
    dropped: tuple[str, ...]
    """Columns that are there no more."""


def make_tails(folder: ExportFolder, job: Job) -> Tails:
    """Write what all shards get into the work folder; the export stays as it is.

    Raises:
        ExportError: A shard is not as the manifest says.
        OSError: The disk is full, or can't be written.
    """
    export, tokenizer, prompts = job.export, job.tokenizer, job.prompts
    stage = begin_stage(folder)
    horizon, dims = export.shape
    require_space(folder.path, 4 * horizon * dims * sum(whole(line, "rows") for line in export.lines))
    old = _schema(export)
    schema = retokenized_schema(old, prompts, tokenizer.digest)
    units = [_unit(export, line, stage / "tails" / f"{i}", tokenizer, prompts) for i, line in enumerate(export.lines)]
    serialized: bytes = schema.serialize().to_pybytes()
    units = [dataclasses.replace(unit, schema=serialized) for unit in units]
    found: dict[int, TailFacts] = {}
    for outcome in run(make_tail, units, workers=job.workers, stall_s=STALL_S):
        if isinstance(outcome, Failed):
            raise ExportError(f"{units[outcome.index].file}: {outcome.reason}; nothing was changed")
        found[outcome.index] = outcome.result
        job.progress(len(found), len(units), "making tokens")
    facts = [found[i] for i in range(len(units))]
    over = [(u.file, f.most_ids, f.most_ids_row, f.num_long) for u, f in zip(units, facts, strict=True)]
    refuse_long(over, prompts.max_tokens)
    asked = [prompts.to_dict(), None if job.base is None else job.base.facts.sha256]
    decided = [serialized.hex(), tokenizer.digest, asked]
    return Tails(
        lines=[_line(*three, decided) for three in zip(export.lines, units, facts, strict=True)],
        ends=[ShardEnd(file=u.file, base_size=u.base_size, size=u.size, tail=u.tail) for u in units],
        facts=facts,
        dropped=tuple(n for n in old.names if n not in schema.names),
    )


def _schema(export: StoredExport) -> "pa.Schema":
    """Of the shards, as the last tokenizer left it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    line = export.lines[0]
    try:
        schema: pa.Schema = pq.read_schema(shard_path(export.path, line))
    except (pa.ArrowException, OSError) as error:
        raise ExportError(f"{line['file']}: can't be read: {error}") from error
    return schema


def _base(line: Line) -> dict[str, object]:
    """What a shard was before it was retokenized for the first time."""
    base = line.get("base")
    return dict(base) if isinstance(base, dict) else {n: line[n] for n in ("size", "sha256", "unit")}


def _unit(export: StoredExport, line: Line, tail: Path, tokenizer: ActionTokenizer, prompts: Prompts) -> TailUnit:
    base = _base(line)
    return TailUnit(
        path=shard_path(export.path, line),
        file=str(line["file"]),
        size=whole(line, "size"),
        sha256=str(line.get("sha256")),
        base_size=whole(base, "size"),
        base_sha256=str(base.get("sha256")),
        tail=tail,
        schema=b"",
        tokenizer=tokenizer,
        prompts=prompts,
    )


def _line(line: Line, unit: TailUnit, facts: TailFacts, decided: object) -> Line:
    """What the manifest will say of a shard."""
    base = _base(line)
    if facts.num_rows != whole(line, "rows"):
        raise ExportError(f"{unit.file}: {facts.num_rows} rows; the manifest says {line['rows']}")
    changed = {
        "size": unit.base_size + facts.num_tail_bytes,
        "sha256": facts.sha256,
        "unit": base["unit"],
        "num_targets": facts.num_targets,
        "num_clipped": list(facts.num_clipped),
        "num_codes": facts.num_codes,
        "longest": facts.longest,
        "most_ids": facts.most_ids,
        "most_ids_row": facts.most_ids_row,
        "num_long": facts.num_long,
    }
    if facts.num_tail_bytes:
        changed |= {"unit": digest([base["unit"], decided, package_versions()]), "base": base}
    return {**{k: v for k, v in line.items() if k != "base"}, **changed}
