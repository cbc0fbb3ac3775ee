"""Verify a mixture: its files, every row against the parts, shares against the plan, and that `datasets` loads it."""

import importlib.util
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..documents import parse
from ..errors import ExportError, VladataError
from ..exporters._folder import MANIFEST, ORIGIN, UNFINISHED, hash_with_beats, read_json
from ..exporters._verify import LOADING_MEMORY, VerifyResult
from ..gate import inside
from ..workers import Failed, run
from ._apart import place_units, write_epoch
from ._compare import CompareUnit, compare_shard
from ._folder import EPOCH, FORMAT, FORMAT_VERSION, PLAN, files_of, is_mixture
from ._parts import STALL_S, Progress
from ._shards import plan_shards
from .plan import Prepared, prepare
from .recipe import MixtureRecipe

__all__ = ["is_mixture", "verify_mixture"]

WHOLE_BYTES = 300_000_000
"""A mixture up to this size is also loaded as a whole; a larger one is streamed from its beginning only."""

Lines = Mapping[str, Mapping[str, object]]
"""Lines of the manifest, by file."""


def _quiet(done: int, total: int, name: str) -> None:
    """No progress."""


def verify_mixture(out: Path, *, workers: int = 1, progress: Progress = _quiet) -> VerifyResult:
    """Re-read everything that a mixture holds and compare it with its parts and its plan.

    The plan is made again from the stored recipe and the parts, which are found where they were, seen from the mixture.

    Args:
        out: The mixture.
        workers: Processes; 0 reads in this one.
        progress: Called with how many are done, of how many, and what is being done.

    Raises:
        ExportError: The folder is no whole mixture, or its parts are not found or can't be mixed any more.
    """
    manifest = _read_manifest(out)
    lines = {str(f["file"]): f for f in files_of(manifest)}
    problems = _compare_files(out, lines)
    prepared = _prepare(out, workers, progress)
    stated = {str(p.get("name")): p for p in _objects(manifest.get("parts"))}
    for part in prepared.parts:
        if stated.get(part.name, {}).get("manifest_sha256") != part.manifest_sha256:
            problems.append(f"part {part.name}: the export was changed since; differences below may be its")
    if prepared.plan.to_json() != (out / PLAN).read_bytes():
        problems.append(f"{PLAN}: is not the plan that recipe and parts give")
    if prepared.recipe.layout == "padded":
        found, counts = _compare_padded(out, (prepared, manifest, lines), workers, progress)
    else:
        found, counts = _compare_apart(out, prepared, lines)
    problems += found
    for planned in prepared.plan.parts:
        if counts.get(planned.name, 0) != planned.epoch_rows:
            problems.append(
                f"part {planned.name}: {counts.get(planned.name, 0):,} rows of {prepared.plan.train}; "
                f"the plan has {planned.epoch_rows:,}"
            )
    size = sum(_int(f.get("size")) for f in lines.values())
    problems += _load_once(out, _splits(manifest), size <= WHOLE_BYTES)
    rows = sum(_int(f.get("rows")) for f in lines.values())
    return VerifyResult(files=len(lines), bytes=size, rows=rows, problems=tuple(problems))


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0


def _objects(value: object) -> list[dict[str, object]]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def _splits(manifest: Mapping[str, object]) -> dict[str, dict[str, int]]:
    splits = manifest.get("splits")
    pairs = splits.items() if isinstance(splits, dict) else ()
    return {str(c): {str(s): _int(n) for s, n in own.items()} for c, own in pairs if isinstance(own, dict)}


def _read_manifest(out: Path) -> dict[str, object]:
    manifest = read_json(out / MANIFEST)
    if manifest is None or manifest.get("format") != FORMAT:
        if (out / UNFINISHED).exists():
            raise ExportError(f"{out}: this mixture is not finished; run vladata mix again, it goes on where it was")
        raise ExportError(f"{out}: no mixture; {MANIFEST} is missing or not one of vladata mix")
    if manifest.get("format_version") != FORMAT_VERSION:
        found = manifest.get("format_version")
        raise ExportError(f"{out}: mixture version {found}; this release reads {FORMAT_VERSION}")
    return manifest


def _compare_files(out: Path, lines: Lines) -> list[str]:
    """Files beside the shards, which are compared by their own; and files that nobody listed."""
    problems = []
    for name, line in lines.items():
        path = inside(out, name)
        if "unit" in line and name != EPOCH:
            continue
        if not path.is_file():
            problems.append(f"{name}: missing")
        elif hash_with_beats(path) != (line["size"], line["sha256"]):
            problems.append(f"{name}: size or SHA-256 differ from the manifest's")
    found = sorted(p.relative_to(out).as_posix() for p in (out / "data").rglob("*") if not p.is_dir())
    return problems + [f"{name}: not in the manifest" for name in found if name not in lines]


def _prepare(out: Path, workers: int, progress: Progress) -> Prepared:
    stored, origin = read_json(out / PLAN) or {}, read_json(out / ORIGIN) or {}
    recipe, places = stored.get("recipe"), origin.get("parts")
    if not isinstance(recipe, dict):
        raise ExportError(f"{out}: {PLAN} is missing or damaged; it must hold the recipe")
    if not isinstance(places, dict):
        raise ExportError(f"{out}: does not say where its parts are; {ORIGIN} is missing or damaged")
    try:
        asked = [{**p, "export": places.get(p.get("name"), p.get("export"))} for p in _objects(recipe.get("parts"))]
        read = parse(MixtureRecipe, {**recipe, "parts": asked}, PLAN)
        return prepare(read, out.resolve(), workers=workers, progress=progress)
    except VladataError as error:
        raise ExportError(f"{out}: the mixture can't be planned again: {error}") from error


def _compare_padded(
    out: Path, stated: tuple[Prepared, Mapping[str, object], Lines], workers: int, progress: Progress
) -> tuple[list[str], dict[str, int]]:
    prepared, manifest, lines = stated
    units, problems = [], []
    planned = {u.shard.file: u for u in plan_shards(prepared, out, max(1, _int(manifest.get("shard_bytes"))))}
    for name, unit in planned.items():
        line = lines.get(name)
        if line is None:
            problems.append(f"{MANIFEST}: lacks {name}, which the plan has")
        else:
            units.append(CompareUnit(unit=unit, size=_int(line["size"]), sha256=str(line["sha256"])))
    problems += [f"{n}: is not in the plan" for n, f in lines.items() if "unit" in f and n not in planned]
    counts: dict[str, int] = {}
    compared = {}
    for done, outcome in enumerate(run(compare_shard, units, workers=workers, stall_s=STALL_S), start=1):
        if isinstance(outcome, Failed):
            problems.append(f"{units[outcome.index].unit.shard.file}: {outcome.reason}")
        else:
            compared[outcome.index] = outcome.result
        progress(done, len(units), "comparing shards")
    for index in sorted(compared):
        problems += compared[index].problems
        if units[index].unit.shard.split == prepared.plan.train:
            for name, number in compared[index].rows.items():
                counts[name] = counts.get(name, 0) + number
    return problems, counts


def _compare_apart(out: Path, prepared: Prepared, lines: Lines) -> tuple[list[str], dict[str, int]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    problems = []
    units = {u.file: u for u in place_units(prepared, out)}
    for name, unit in units.items():
        line = lines.get(name, {})
        if (line.get("size"), line.get("sha256")) != (unit.size, unit.sha256):
            problems.append(f"{name}: is not the part's shard, by the manifests")
        elif not (out / name).is_file() or hash_with_beats(out / name) != (unit.size, unit.sha256):
            problems.append(f"{name}: missing, or size or SHA-256 differ from the manifest's")
    problems += [f"{n}: is not in the plan" for n, f in lines.items() if f.get("unit") and n not in units]
    with tempfile.TemporaryDirectory() as spare:
        _, sha256 = write_epoch(prepared, Path(spare) / EPOCH)
    if lines.get(EPOCH, {}).get("sha256") != sha256:
        problems.append(f"{EPOCH}: is not the order that recipe and parts give")
    counts: dict[str, int] = {}
    try:
        with pq.ParquetFile(out / EPOCH) as file:
            for batch in file.iter_batches(columns=["part"]):
                for found in batch.column(0).value_counts().to_pylist():
                    counts[found["values"]] = counts.get(found["values"], 0) + found["counts"]
    except (pa.ArrowException, OSError) as error:
        problems.append(f"{EPOCH}: can't be read: {error}")
    return problems, counts


# Through `datasets` -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadUnit:
    """A mixture to load."""

    out: Path
    splits: Mapping[str, Mapping[str, int]]
    """Rows by split, by config."""
    is_whole: bool


def _load_once(out: Path, splits: Mapping[str, Mapping[str, int]], is_whole: bool) -> Sequence[str]:
    unit = LoadUnit(out=out, splits=splits, is_whole=is_whole)
    # Always in a process of its own: it sets progress bars, an event loop and locks up that nobody here asked for.
    for outcome in run(load_with_datasets, [unit], workers=1, memory_bytes=LOADING_MEMORY, stall_s=STALL_S):
        return [f"datasets.load_dataset: {outcome.reason}"] if isinstance(outcome, Failed) else outcome.result
    return ["datasets.load_dataset: no answer"]


def load_with_datasets(unit: LoadUnit) -> list[str]:
    """Load a mixture as its users do; what is wrong, one line each. Runs in a worker."""
    from tqdm import tqdm  # type: ignore[import-untyped]  # comes with datasets

    # Its default is a semaphore of the system, which would outlive this process.
    tqdm.set_lock(threading.RLock())
    import datasets

    datasets.disable_progress_bars()
    has_pillow = importlib.util.find_spec("PIL") is not None
    problems = []
    with tempfile.TemporaryDirectory() as cache:
        for config, rows in unit.splits.items():
            where = f"datasets.load_dataset: {config}"
            streamed = datasets.load_dataset(str(unit.out), config, streaming=True, cache_dir=cache)
            if set(streamed) != set(rows):
                problems.append(f"{where}: splits {sorted(streamed)}; must be {sorted(rows)}")
            for name, split in streamed.items():
                if next(iter(split.decode(has_pillow)), None) is None:
                    problems.append(f"{where}: split {name} gives no row when streamed")
            loaded = datasets.load_dataset(str(unit.out), config, cache_dir=cache) if unit.is_whole else {}
            for name, count in rows.items():
                if unit.is_whole and len(loaded.get(name, ())) != count:
                    problems.append(f"{where}: split {name} has {len(loaded.get(name, ()))} rows; must be {count}")
    return problems
