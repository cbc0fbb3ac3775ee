"""The stages of an export that write files: frames encoded anew, then shards; each a list of pure units."""

import contextlib
import dataclasses
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from .. import __version__
from ..action_tokenizer import ActionTokenizer
from ..errors import ExportError
from ..workers import Failed, run
from ._folder import ExportFolder, require_space
from ._frames import Part, RenderUnit, render
from ._options import ExportOptions
from ._plan import EXTERNAL, PlannedShard, cut_parts, cut_shards, digest, guess_bytes, row_bytes
from ._prepare import Prepared, Progress
from ._prompts import Prompts, refuse_long
from ._schema import arrow_schema, text_schema
from ._shard import ShardFacts, ShardUnit, is_as_noted, write_shard
from ._text_plan import Texts, cut_texts, external_of, text_facts
from ._text_rows import PLANNER
from ._text_shard import TextUnit, write_text_shard

__all__ = ["Job", "ShardLine", "Written", "cut_all", "package_versions", "write_shards"]

STALL_S = 120.0
"""A worker that waits for a slow disk to take half a gigabyte is not stalled."""

Parts = Mapping[int, tuple[Part, ...]]
"""Frames to encode anew, by episode index; only episodes that have some."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """An export whose statistics are known."""

    prepared: Prepared
    options: ExportOptions
    tokenizer: ActionTokenizer
    prompts: Prompts
    workers: int
    progress: Progress
    texts: Texts
    """What the other configs are made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardLine:
    """What the manifest says of a shard."""

    file: str
    size: int
    sha256: str
    split: str
    rows: int
    unit: str
    """Digest of everything that decides the shard's bytes."""
    num_targets: int
    """Targets that are not padded."""
    num_clipped: tuple[int, ...]
    """Of them, those outside of what codes can stand for, by dimension; empty where a row has no codes."""
    num_codes: int
    """Of all rows; 0 where a row has none."""
    longest: int
    """Codes of the row that has most."""
    most_ids: int
    """`input_ids` of the longest row; 0 where there are none."""
    most_ids_row: int
    num_long: int
    """Rows that have more than they may."""
    config: str = "executor"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Written:
    """The shards of an export."""

    shards: tuple[PlannedShard, ...]
    lines: tuple[ShardLine, ...]
    rendered: Mapping[str, int]
    """Bytes of frames that were encoded anew, by key; spares the next run from encoding them to know their size."""
    kept: int
    """Shards that were there already."""


AnyUnit = ShardUnit | TextUnit


def _write_unit(unit: AnyUnit) -> ShardFacts:
    return write_text_shard(unit) if isinstance(unit, TextUnit) else write_shard(unit)


def package_versions() -> dict[str, str]:
    """Packages that decide bytes."""
    found = {"vladata": __version__}
    for name in ("av", "numpy", "opencv-python-headless", "pyarrow"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def cut_all(prepared: Prepared, options: ExportOptions, sizes: Sequence[int]) -> tuple[PlannedShard, ...]:
    """The executor's shards of all splits, out of the bytes of each episode."""
    shards: list[PlannedShard] = []
    for name in options.splits:
        episodes = [
            (i, g.num_rows, sizes[i])
            for i, (g, split) in enumerate(zip(prepared.gathered, prepared.splits, strict=True))
            if split == name and g.num_rows
        ]
        if episodes:
            shards += cut_shards(episodes, name, options.shard_bytes)
    return tuple(shards)


def write_shards(job: Job, folder: ExportFolder) -> Written:
    """Write the shards that are not there already.

    Raises:
        ExportError: A unit failed; what was completed stays for the next run.
        OSError: The disk is full.
    """
    prepared = job.prepared
    parts = _cut_parts(job)
    rendered = _rendered_bytes(job, folder, parts)
    sizes = [
        guess_bytes(g, prepared.layout, job.options)
        if i not in rendered
        else g.num_rows * row_bytes(prepared.layout)
        + sum(use.num_bytes for use in g.cameras.values() if not use.is_rendered)
        + rendered[i]
        for i, g in enumerate(prepared.gathered)
    ]
    units: list[AnyUnit] = [_unit(job, folder, s, parts, _schema(job)) for s in cut_all(prepared, job.options, sizes)]
    units += [_text_unit(job, folder, s, parts) for s in cut_texts(prepared, job.options, job.texts, sizes)]
    shards = tuple(unit.shard for unit in units)
    digests = [_digest(job, unit) for unit in units]
    lines = _kept(job, folder, units, digests)
    kept = len(lines)
    missing = [i for i, unit in enumerate(units) if unit.shard.file not in lines]
    _render(job, folder, {e: p for i in missing for e, p in units[i].parts.items()})
    require_space(folder.path, sum(sizes) * len(missing) // max(1, len(units)))
    keys = {_size_key(parts[i]): size for i, size in rendered.items()}
    folder.begin({s.file for s in shards}, keys)
    try:
        # Closing ends the workers before what they left behind is swept up.
        with contextlib.closing(_write(job, [units[i] for i in missing], [digests[i] for i in missing])) as writing:
            for line in writing:
                folder.note(dataclasses.asdict(line))
                lines[line.file] = line
    except BaseException:
        folder.sweep({s.file for s in shards})
        raise
    refuse_long([(n.file, n.most_ids, n.most_ids_row, n.num_long) for n in lines.values()], job.options.max_tokens)
    return Written(shards=shards, lines=tuple(lines[s.file] for s in shards), rendered=keys, kept=kept)


# Frames that are encoded anew ---------------------------------------------------------------------------------------


def _cut_parts(job: Job) -> dict[int, tuple[Part, ...]]:
    versions = package_versions()
    pairs = zip(job.prepared.sources, job.prepared.gathered, strict=True)
    found = {i: tuple(cut_parts(source, g, job.options, versions)) for i, (source, g) in enumerate(pairs)}
    return {i: own for i, own in found.items() if own}


def _size_key(parts: Sequence[Part]) -> str:
    return digest([p.file for p in parts])[:32]


def _rendered_bytes(job: Job, folder: ExportFolder, parts: Parts) -> dict[int, int]:
    """Bytes of the frames of each episode after encoding: known from an earlier run, or by encoding them now."""
    known = folder.rendered()
    sizes = {i: known[_size_key(own)] for i, own in parts.items() if _size_key(own) in known}
    unknown = {i: own for i, own in parts.items() if i not in sizes}
    made = _render(job, folder, unknown)
    return sizes | {i: sum(made[p.file] for p in own) for i, own in unknown.items()}


def _render(job: Job, folder: ExportFolder, parts: Parts) -> dict[str, int]:
    """Make the parts that are not there; bytes of the frames of each by name."""
    units = [
        RenderUnit(source=job.prepared.sources[i], part=part, images=job.options.images, folder=folder.parts)
        for i, own in parts.items()
        for part in own
    ]
    made = {}
    for done, outcome in enumerate(run(render, units, workers=job.workers, stall_s=STALL_S), start=1):
        unit = units[outcome.index]
        if isinstance(outcome, Failed):
            raise ExportError(f"{unit.source.entry.place}: {unit.part.camera}: {outcome.reason}")
        made[unit.part.file] = outcome.result
        job.progress(done, len(units), "encoding frames")
    return made


# Shards -------------------------------------------------------------------------------------------------------------


def _schema(job: Job) -> bytes:
    facts = {
        "action_names": list(job.tokenizer.names),
        "state_names": list(job.prepared.layout.state_names),
        "tokenizer_digest": job.tokenizer.digest,
    }
    schema = arrow_schema(job.prepared.layout, job.prompts, facts)
    serialized: bytes = schema.serialize().to_pybytes()
    return serialized


def _unit(job: Job, folder: ExportFolder, shard: PlannedShard, parts: Parts, schema: bytes) -> ShardUnit:
    episodes = list(dict.fromkeys(p.episode_index for p in shard.pieces))
    return ShardUnit(
        out=folder.path,
        shard=shard,
        schema=schema,
        layout=job.prepared.layout,
        tokenizer=job.tokenizer,
        sources={i: job.prepared.sources[i] for i in episodes},
        parts={i: parts[i] for i in episodes if i in parts},
        parts_folder=folder.parts,
        prompts=job.prompts,
        row_group_rows=job.options.row_group_rows,
    )


def _text_unit(job: Job, folder: ExportFolder, shard: PlannedShard, parts: Parts) -> TextUnit:
    episodes = [i for i in dict.fromkeys(p.episode_index for p in shard.pieces) if i != EXTERNAL]
    layout, wording = job.prepared.layout, job.texts.wording[shard.config]
    facts = {"state_names": list(layout.state_names)} if shard.config == PLANNER else {}
    schema: bytes = text_schema(shard.config, layout, wording, facts).serialize().to_pybytes()
    return TextUnit(
        out=folder.path,
        shard=shard,
        schema=schema,
        layout=layout,
        options=job.options,
        sources={i: job.prepared.sources[i] for i in episodes},
        parts={i: parts[i] for i in episodes if i in parts},
        parts_folder=folder.parts,
        external=external_of(job.texts, shard),
        roots=job.texts.roots,
        wording=wording,
    )


def _text_digest(job: Job, unit: TextUnit) -> str:
    """As `_digest`."""
    options = job.options
    return digest(
        {
            "episodes": [_source_facts(job, i) for i in unit.sources],
            "shard": dataclasses.asdict(unit.shard),
            "parts": [p.file for own in unit.parts.values() for p in own],
            "schema": unit.schema.hex(),
            "state": [s.name for s in unit.layout.state],
            "options": [options.planner and options.planner.to_dict(), options.vqa and options.vqa.to_dict()],
            "images": options.images.to_dict(),
            "texts": text_facts(job.texts, unit.shard),
            "row_group_rows": options.row_group_rows,
            "versions": package_versions(),
        }
    )


def _digest(job: Job, unit: "AnyUnit") -> str:
    """Digest of everything that decides a shard's bytes."""
    if isinstance(unit, TextUnit):
        return _text_digest(job, unit)
    base = unit.prompts.renderer.base
    return digest(
        {
            "episodes": [_source_facts(job, i) for i in unit.sources],
            "shard": dataclasses.asdict(unit.shard),
            "parts": [p.file for own in unit.parts.values() for p in own],
            "schema": unit.schema.hex(),
            "state": [s.name for s in unit.layout.state],
            "action": [s.name for s in unit.layout.action],
            "cross": unit.layout.cross,
            "idle": unit.layout.idle and dataclasses.asdict(unit.layout.idle),
            "tokenizer": job.tokenizer.digest,
            "prompts": [unit.prompts.to_dict(), None if base is None else base.sha256],
            "row_group_rows": unit.row_group_rows,
            "versions": package_versions(),
        }
    )


def _source_facts(job: Job, index: int) -> list[object]:
    source = job.prepared.sources[index]
    edits = [e.model_dump(mode="json", exclude={"author", "time", "number", "previous"}) for e in source.edits]
    return [index, source.entry.sha256, edits]


def _kept(job: Job, folder: ExportFolder, units: Sequence[AnyUnit], digests: Sequence[str]) -> dict[str, ShardLine]:
    """Lines of the shards that an earlier run completed and that are still as they were."""
    receipts = folder.receipts()
    lines = []
    for unit, unit_digest in zip(units, digests, strict=True):
        line = _line(receipts.get(unit.shard.file, {}))
        if line is not None and line.unit == unit_digest:
            lines.append(line)
    pairs = [(folder.path / line.file, line.sha256) for line in lines]
    kept = {}
    for done, outcome in enumerate(run(is_as_noted, pairs, workers=job.workers, stall_s=STALL_S), start=1):
        if not isinstance(outcome, Failed) and outcome.result:
            kept[lines[outcome.index].file] = lines[outcome.index]
        job.progress(done, len(pairs), "comparing shards")
    return kept


def _line(receipt: Mapping[str, object]) -> ShardLine | None:
    """A line as it was noted; None where it is damaged."""
    counts = receipt.get("num_clipped")
    names = ("size", "rows", "num_targets", "num_codes", "longest", "most_ids", "most_ids_row", "num_long")
    numbers = [receipt.get(n) for n in names]
    if not isinstance(counts, list) or not all(isinstance(n, int) for n in (*counts, *numbers)):
        return None
    try:
        return ShardLine(**{**receipt, "num_clipped": tuple(counts)})  # type: ignore[arg-type]  # texts are compared
    except TypeError:
        return None


def _write(job: Job, units: Sequence[AnyUnit], digests: Sequence[str]) -> Generator[ShardLine, None, None]:
    """Write shards; their lines in the order of completion."""
    failures = []
    for done, outcome in enumerate(run(_write_unit, units, workers=job.workers, stall_s=STALL_S), start=1):
        shard = units[outcome.index].shard
        if isinstance(outcome, Failed):
            failures.append(f"{shard.file}: {outcome.reason}")
        else:
            facts = outcome.result
            yield ShardLine(
                file=shard.file,
                size=facts.num_bytes,
                sha256=facts.sha256,
                split=shard.split,
                rows=facts.num_rows,
                unit=digests[outcome.index],
                num_targets=facts.num_targets,
                num_clipped=facts.num_clipped,
                num_codes=facts.num_codes,
                longest=facts.longest,
                most_ids=facts.most_ids,
                most_ids_row=facts.most_ids_row,
                num_long=facts.num_long,
                config=shard.config,
            )
        job.progress(done, len(units), "writing shards")
    if failures:
        more = f" (and {len(failures) - 1} more shards)" if len(failures) > 1 else ""
        raise ExportError(f"{failures[0]}{more}; the other shards are kept, run the same command again for the rest")
