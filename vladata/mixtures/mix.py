"""Make a mixture: the plan, then what it says, whole or not at all, the same bytes with any number of workers."""

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..documents import canonical_json
from ..errors import ExportError
from ..exporters._folder import MANIFEST, ORIGIN, README, TOKENIZER, hash_with_beats, require_space, write_bytes
from ..exporters._plan import digest
from ..exporters._shard import is_as_noted
from ..exporters._work import package_versions
from ..workers import Failed, run
from ._apart import EPOCH_CONFIG, PlaceUnit, place, place_units, write_epoch
from ._card import Config, make_card
from ._folder import EPOCH, FORMAT, FORMAT_VERSION, PARTS, PLAN, MixtureFolder, claim
from ._ids import text_tokenizer
from ._parts import STALL_S, Progress
from ._shards import MixUnit, digest_rows, plan_shards, write_shard
from .plan import MixturePlan, Prepared, prepare
from .recipe import read_recipe

__all__ = ["MixResult", "mix", "plan"]

DEFAULT_SHARD_BYTES = 500_000_000


def _quiet(done: int, total: int, name: str) -> None:
    """No progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MixResult:
    """What was written."""

    plan: MixturePlan
    splits: Mapping[str, Mapping[str, int]]
    """Rows by split, by config."""
    content_digest: str
    """SHA-256 over the shards and the order: another one means other rows."""
    num_shards: int
    num_bytes: int
    kept: int
    """Shards that an earlier run had written."""
    linked: int
    """Shards that are hard links of the parts' own."""

    def to_dict(self) -> dict[str, object]:
        """As JSON values."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "plan"}
        return {**plain, "plan": self.plan.to_dict()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """What the manifest says of a shard."""

    file: str
    size: int
    sha256: str
    config: str
    split: str
    rows: int
    unit: str
    """Digest of everything that decides the shard's bytes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Job:
    prepared: Prepared
    folder: MixtureFolder
    shard_bytes: int
    workers: int
    progress: Progress


def plan(recipe: Path, *, workers: int = 1, progress: Progress = _quiet) -> MixturePlan:
    """Say what a mixture would hold, and write nothing.

    Args:
        recipe: The YAML file.
        workers: Processes; 0 reads in this one.
        progress: Called with how many are done, of how many, and what is being done.

    Raises:
        SchemaError: The recipe is wrong.
        ExportError: The parts can't be mixed so. Also TokenizeError.
    """
    return prepare(read_recipe(recipe), recipe.parent, workers=workers, progress=progress).plan


def mix(
    recipe: Path,
    out: Path,
    *,
    shard_bytes: int = DEFAULT_SHARD_BYTES,
    workers: int = 1,
    progress: Progress = _quiet,
) -> MixResult:
    """Write a mixture; run again after an interruption, it does only what is missing.

    Args:
        recipe: The YAML file.
        out: Folder: new, empty, or a mixture that is replaced.
        shard_bytes: Shards of the padded layout are at most about this large.
        workers: Processes; 0 does everything in this one.
        progress: Called with how many are done, of how many, and what is being done.

    Raises:
        SchemaError: The recipe is wrong.
        ExportError: The parts can't be mixed so, the folder holds something else, or a unit failed.
        OSError: The disk is full, or can't be written. Also TokenizeError.
    """
    read = read_recipe(recipe)
    for part in read.parts:
        one, other = (recipe.parent / part.export).resolve(), out.resolve()
        if one.is_relative_to(other) or other.is_relative_to(one):
            raise ExportError(
                f"{out}: part {part.name} and mixture must be folders of their own, none inside the other"
            )
    with claim(out) as folder:
        prepared = prepare(
            # Links are compared when they are made.
            read,
            recipe.parent,
            is_hashed=read.layout == "padded",
            workers=workers,
            progress=progress,
        )
        job = _Job(prepared=prepared, folder=folder, shard_bytes=shard_bytes, workers=workers, progress=progress)
        small = _small_files(prepared)
        if read.layout == "padded":
            lines, kept, linked = *_write_padded(job), 0
        else:
            lines, kept, linked = _write_apart(job)
        return _finish(job, small, lines, (kept, linked))


# Shards -------------------------------------------------------------------------------------------------------------


def _write_padded(job: _Job) -> tuple[list[_Line], int]:
    prepared, folder = job.prepared, job.folder
    units = list(plan_shards(prepared, folder.path, job.shard_bytes))
    digests = [_digest(u) for u in units]
    lines = _kept(job, units, digests)
    kept = len(lines)
    missing = [i for i, u in enumerate(units) if u.shard.file not in lines]
    require_space(folder.path, _needed_bytes(prepared) * len(missing) // len(units))
    names = {u.shard.file for u in units}
    folder.begin(names)
    try:
        with contextlib.closing(
            run(write_shard, [units[i] for i in missing], workers=job.workers, stall_s=STALL_S)
        ) as todo:
            for done, outcome in enumerate(todo, start=1):
                unit = units[missing[outcome.index]]
                if isinstance(outcome, Failed):
                    raise ExportError(f"{unit.shard.file}: {outcome.reason}; run the same command again for the rest")
                line = _Line(
                    file=unit.shard.file,
                    size=outcome.result.size,
                    sha256=outcome.result.sha256,
                    config=prepared.recipe.config,
                    split=unit.shard.split,
                    rows=outcome.result.rows,
                    unit=digests[missing[outcome.index]],
                )
                folder.note(dataclasses.asdict(line))
                lines[line.file] = line
                job.progress(done, len(missing), "writing shards")
    except BaseException:
        folder.sweep(names)
        raise
    return [lines[u.shard.file] for u in units], kept


def _needed_bytes(prepared: Prepared) -> int:
    """About, of all shards: by the parts' rows, whose images make up nearly all."""
    total = 0
    for part, count in zip(prepared.parts, prepared.counts, strict=True):
        train = part.of_split(part.train)
        total += sum(s.size for s in train) * count // max(1, sum(s.rows for s in train))
        total += sum(s.size for s in part.shards if s.split != part.train)
    return total


def _digest(unit: MixUnit) -> str:
    """Digest of everything that decides a shard's bytes."""
    return digest(
        {
            "parts": {p: [s.sha256 for s in source.shards] for p, source in sorted(unit.sources.items())},
            "rows": digest_rows(unit),
            "file": unit.shard.file,
            "schema": unit.columns.schema.hex(),
            "shapes": [dataclasses.asdict(s) for s in unit.columns.shapes],
            "group_rows": unit.group_rows,
            "versions": package_versions(),
        }
    )


def _kept(job: _Job, units: Sequence[MixUnit], digests: Sequence[str]) -> dict[str, _Line]:
    """Lines of the shards that an earlier run completed and that are still as they were."""
    receipts, lines = job.folder.receipts(), []
    for unit, unit_digest in zip(units, digests, strict=True):
        receipt = receipts.get(unit.shard.file, {})
        if receipt.get("unit") == unit_digest:
            with contextlib.suppress(TypeError):
                lines.append(_Line(**receipt))  # type: ignore[arg-type]  # texts and sizes are compared
    pairs = [(job.folder.path / line.file, line.sha256) for line in lines]
    kept = {}
    for outcome in run(is_as_noted, pairs, workers=job.workers, stall_s=STALL_S):
        if not isinstance(outcome, Failed) and outcome.result:
            kept[lines[outcome.index].file] = lines[outcome.index]
    return kept


def _write_apart(job: _Job) -> tuple[list[_Line], int, int]:
    folder = job.folder
    units = place_units(job.prepared, folder.path)
    folder.begin({u.file for u in units})
    linked = kept = 0
    try:
        with contextlib.closing(run(place, units, workers=job.workers, stall_s=STALL_S)) as todo:
            for done, outcome in enumerate(todo, start=1):
                if isinstance(outcome, Failed):
                    raise ExportError(f"{units[outcome.index].source}: {outcome.reason}")
                linked += outcome.result.is_linked
                kept += outcome.result.was_there
                job.progress(done, len(units), "linking shards")
    except BaseException:
        folder.sweep({u.file for u in units})
        raise
    size, sha256 = write_epoch(job.prepared, folder.path / EPOCH)
    epoch = _Line(
        file=EPOCH,
        size=size,
        sha256=sha256,
        config=EPOCH_CONFIG,
        split=job.prepared.plan.train,
        rows=job.prepared.plan.epoch_rows,
        unit="",
    )
    return [*(_line_of(u) for u in units), epoch], kept, linked


def _line_of(unit: PlaceUnit) -> _Line:
    fields = {n: getattr(unit, n) for n in ("file", "size", "sha256", "config", "split", "rows")}
    return _Line(**fields, unit=unit.sha256)


# What lies beside them ----------------------------------------------------------------------------------------------


def _small_files(prepared: Prepared) -> dict[str, bytes]:
    """Tokenizers, statistics and plan."""
    files = {PLAN: prepared.plan.to_json()}
    statistics = {}
    for part in prepared.parts:
        for name in part.files:
            if name.startswith(f"{TOKENIZER}/"):
                files[f"{TOKENIZER}/{part.name}/{name.removeprefix(f'{TOKENIZER}/')}"] = part.read(name)
        # The way from source files over episodes to rows, and what its card says of licence and defects.
        files[f"{PARTS}/{part.name}/{MANIFEST}"] = part.read_manifest()
        files[f"{PARTS}/{part.name}/{README}"] = part.read(README)
        if "norm_stats.json" in part.files:
            files[f"norm_stats/{part.name}/norm_stats.json"] = part.read("norm_stats.json")
        if "dataset_statistics.json" in part.files:
            own = json.loads(part.read("dataset_statistics.json"))
            if not isinstance(own, dict) or len(own) != 1:
                raise ExportError(f"part {part.name}: dataset_statistics.json must hold one dataset")
            statistics[part.name] = next(iter(own.values()))
    files["dataset_statistics.json"] = (json.dumps(statistics, indent=1) + "\n").encode()
    if prepared.columns is not None and any(n == "action_token_ids" for n in prepared.columns.kept):
        files |= text_tokenizer(prepared.parts)
    return files


def _configs(lines: Sequence[_Line]) -> list[Config]:
    found: dict[str, dict[str, list[_Line]]] = {}
    for line in lines:
        found.setdefault(line.config, {}).setdefault(line.split, []).append(line)
    return [
        Config(name=name, splits={s: (_pattern(own), sum(x.rows for x in own)) for s, own in splits.items()})
        for name, splits in found.items()
    ]


def _pattern(lines: Sequence[_Line]) -> str:
    """What matches the files of a split and no other's."""
    first = lines[0].file
    if first == EPOCH:
        return first
    name, _, count = first.rpartition("-of-")
    return f"{name.rpartition('-')[0]}-*-of-{count}"


def _finish(job: _Job, small: dict[str, bytes], lines: Sequence[_Line], counted: tuple[int, int]) -> MixResult:
    prepared, folder = job.prepared, job.folder
    content_digest = digest([[line.file, line.sha256] for line in lines])
    configs = _configs(lines)
    files = {**small, README: make_card(prepared, configs, content_digest).encode("utf-8", "replace")}
    for name, data in files.items():
        write_bytes(folder.path / name, data)
    origin = {
        "parts": {p.name: os.path.relpath(p.folder, folder.path.resolve()) for p in prepared.parts},
    }
    write_bytes(folder.path / ORIGIN, (canonical_json(origin) + "\n").encode())
    listed: list[dict[str, object]] = [dataclasses.asdict(line) for line in lines]
    for name in files:
        size, sha256 = hash_with_beats(folder.path / name)
        listed.append({"file": name, "size": size, "sha256": sha256})
    splits = {c.name: {s: rows for s, (_, rows) in c.splits.items()} for c in configs}
    head: dict[str, object] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "content_digest": content_digest,
        "layout": prepared.recipe.layout,
        "config": prepared.recipe.config,
        "shard_bytes": job.shard_bytes,
        "splits": splits,
        "parts": list(_part_facts(prepared)),
        "notes": list(prepared.plan.notes),
        "versions": package_versions(),
    }
    folder.finish(_manifest(head, sorted(listed, key=lambda line: str(line["file"]))))
    return MixResult(
        plan=prepared.plan,
        splits=splits,
        content_digest=content_digest,
        num_shards=len(lines),
        num_bytes=sum(line.size for line in lines),
        kept=counted[0],
        linked=counted[1],
    )


def _part_facts(prepared: Prepared) -> Iterator[dict[str, object]]:
    for part in prepared.parts:
        yield {
            "name": part.name,
            "manifest_sha256": part.manifest_sha256,
            "content_digest": part.content_digest,
            "embodiment": {"name": part.embodiment, "digest": part.embodiment_digest},
            "tokenizer_digest": part.tokenizer.digest,
            "columns": dict(part.columns),
        }


def _manifest(head: Mapping[str, object], files: Sequence[Mapping[str, object]]) -> bytes:
    """One line for each file: to be compared by people as well."""
    parts = [f'"{k}":{canonical_json(v)}' for k, v in head.items()]
    parts.append('"files":[\n' + ",\n".join(map(canonical_json, files)) + "\n]")
    return ("{" + ",\n".join(parts) + "}\n").encode("utf-8", "replace")
