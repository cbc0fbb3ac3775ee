"""The exports of a mixture: what their manifests say, compared with what their shards hold."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..action_tokenizer import ActionTokenizer
from ..errors import ExportError, GateError, TokenizeError
from ..exporters._files import FORMAT_VERSION
from ..exporters._folder import FORMAT, MANIFEST, TOKENIZER, hash_with_beats, read_json
from ..gate import inside
from ..text import printable
from ..workers import Failed, beat, run
from .recipe import MixturePart, MixtureRecipe

__all__ = ["Part", "Progress", "Scanned", "Shard", "open_parts", "scan_shards"]

STALL_S = 120.0
MAX_MANIFEST_BYTES = 4 << 30
MAX_SMALL_BYTES = 256 << 20

Progress = Callable[[int, int, str], None]
"""Called with how many are done, of how many, and what is being done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A Parquet file of a part, as its manifest lists it."""

    file: str
    size: int
    sha256: str
    rows: int
    split: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An episode of a part."""

    index: int
    content_digest: str
    recording_id: str
    split: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """An export of the mixture."""

    asked: MixturePart
    folder: Path
    manifest_sha256: str
    content_digest: str
    embodiment: str
    embodiment_digest: str
    tokenizer: ActionTokenizer
    columns: Mapping[str, object]
    """Names of the numbers of action and state, and of the cameras."""
    splits: tuple[str, ...]
    """In order; the first is what is mixed."""
    shards: tuple[Shard, ...]
    episodes: tuple[Held, ...]
    files: Mapping[str, str]
    """SHA-256 of each of its files."""
    other_configs: tuple[str, ...]
    """Configs of the export that are not mixed, sorted."""

    @property
    def name(self) -> str:
        """Its name in the mixture."""
        return self.asked.name

    @property
    def train(self) -> str:
        """The split that is mixed: the first of the export."""
        return self.splits[0]

    def read(self, name: str) -> bytes:
        """One of its small files, as its manifest has it.

        Raises:
            ExportError: It is missing or was changed.
        """
        path = inside(self.folder, name)
        data = path.read_bytes() if path.is_file() and path.stat().st_size <= MAX_SMALL_BYTES else b""
        if self.files.get(name) != hashlib.sha256(data).hexdigest():
            raise ExportError(f"part {self.name}: {name} is missing or differs from the manifest; verify the export")
        return data

    def read_manifest(self) -> bytes:
        """Its manifest, as it was when the mixture was planned.

        Raises:
            ExportError: It was changed meanwhile.
        """
        data = (self.folder / MANIFEST).read_bytes()
        if hashlib.sha256(data).hexdigest() != self.manifest_sha256:
            raise ExportError(f"part {self.name}: the export was changed while it was mixed; run the command again")
        return data

    def of_split(self, split: str) -> tuple[Shard, ...]:
        """Its shards of a split, in order."""
        return tuple(s for s in self.shards if s.split == split)


def open_parts(recipe: MixtureRecipe, base: Path) -> tuple[Part, ...]:
    """Read the manifests and action tokenizers of all parts.

    Args:
        recipe: What is asked for.
        base: Folder that the paths of the exports are seen from.

    Raises:
        ExportError: A folder is no whole export, lacks the config, or parts call their first split differently.
        TokenizeError: An action tokenizer was altered.
    """
    parts = tuple(_open(asked, base, recipe.config) for asked in recipe.parts)
    for part in parts[1:]:
        if part.train != parts[0].train:
            raise ExportError(
                f"the first split is {parts[0].train} in {parts[0].name} and {part.train} in {part.name}; "
                "the parts of a mixture must train on splits of one name"
            )
    return parts


def _open(asked: MixturePart, base: Path, config: str) -> Part:
    folder = (base / asked.export).resolve()
    path = folder / MANIFEST
    manifest = read_json(path) if path.is_file() and path.stat().st_size <= MAX_MANIFEST_BYTES else None
    if manifest is None or manifest.get("format") != FORMAT:
        raise ExportError(
            f"part {asked.name}: {folder} is no whole export; {MANIFEST} is missing or not one of vladata"
        )
    if manifest.get("format_version") != FORMAT_VERSION:
        raise ExportError(
            f"part {asked.name}: export version {manifest.get('format_version')}; this release reads {FORMAT_VERSION}"
        )
    try:
        tokenizer = ActionTokenizer.load(folder / TOKENIZER)
    except TokenizeError as error:
        raise TokenizeError(f"part {asked.name}: {error}") from error
    try:
        return _part(asked, folder, manifest, tokenizer, config)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ExportError(f"part {asked.name}: {MANIFEST} is damaged: {printable(str(error))}") from error
    except GateError as error:
        raise ExportError(f"part {asked.name}: {MANIFEST}: {error}") from error


def _part(
    asked: MixturePart, folder: Path, manifest: Mapping[str, object], tokenizer: ActionTokenizer, config: str
) -> Part:
    files, episodes = _objects(manifest["files"]), _objects(manifest["episodes"])
    options, embodiment = _object(manifest["options"]), _object(manifest["embodiment"])
    splits = tuple(str(name) for name, _ in options["splits"])  # type: ignore[attr-defined]  # refused as damaged
    shards = []
    for line in files:
        name = str(line["file"])
        if name.startswith(f"data/{config}/") and name.endswith(".parquet"):
            inside(folder, name)
            numbers = {n: _whole(line[n]) for n in ("size", "rows")}
            shards.append(Shard(file=name, sha256=str(line["sha256"]), split=str(line["split"]), **numbers))
    if not any(s.split == splits[0] and s.rows for s in shards):
        raise ExportError(f"part {asked.name}: no row of config {config}, split {splits[0]}; must be at least one")
    return Part(
        asked=asked,
        folder=folder,
        manifest_sha256=hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest(),
        content_digest=str(manifest["content_digest"]),
        embodiment=str(embodiment["name"]),
        embodiment_digest=str(embodiment["digest"]),
        tokenizer=tokenizer,
        columns=_object(manifest["columns"]),
        splits=tuple(s for s in splits if any(shard.split == s for shard in shards)),
        shards=tuple(sorted(shards, key=lambda s: (splits.index(s.split), s.file))),
        episodes=tuple(
            Held(
                index=_whole(e["episode_index"]),
                content_digest=str(e["content_digest"]),
                recording_id=str(e["recording_id"]),
                split=str(e["split"]),
                rows=_whole(e["rows"]),
            )
            for e in episodes
        ),
        files={str(line["file"]): str(line["sha256"]) for line in files},
        other_configs=tuple(sorted(_object(manifest["configs"]).keys() - {config})),
    )


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(f"{value!r} must be a whole number of at least 0")
    return value


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError(f"a {type(value).__name__} must be an object")
    return value


def _objects(value: object) -> list[dict[str, object]]:
    if not isinstance(value, list):
        raise TypeError(f"a {type(value).__name__} must be a list")
    return [_object(v) for v in value]


# Shards -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanUnit:
    """One shard to look at."""

    part: str
    folder: Path
    shard: Shard
    left_out: frozenset[int]
    """Episodes whose rows don't count."""
    is_hashed: bool
    """Whether its SHA-256 is compared as well."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scanned:
    """What a shard holds."""

    schema: bytes
    """The Arrow schema, serialized, with the features that `datasets` reads."""
    group_rows: NDArray[np.int64]
    """Rows of each row group."""
    group_bytes: NDArray[np.int64]
    tasks: tuple[str, ...]
    task: NDArray[np.int32]
    """Index of each row's task, [R]."""
    is_left_out: NDArray[np.bool_]
    """True for rows of episodes that don't count, [R]."""


def scan_shards(
    parts: Sequence[Part],
    left_out: Mapping[str, frozenset[int]],
    *,
    is_hashed: bool,
    workers: int,
    progress: Progress,
) -> dict[str, list[Scanned]]:
    """Look at every shard of every part: its footer, and the columns of tasks and episodes; by part, in order.

    Args:
        parts: Of the mixture.
        left_out: Episodes whose rows don't count, by part.
        is_hashed: Compare the SHA-256 of each shard as well: nothing is mixed from others than the manifest lists.
        workers: Processes; 0 reads in this one.
        progress: Called with how many are done, of how many, and what is being done.

    Raises:
        ExportError: A shard is missing, has another size or number of rows, or is damaged.
    """
    nothing: frozenset[int] = frozenset()
    units = [
        ScanUnit(part=p.name, folder=p.folder, shard=s, left_out=left_out.get(p.name, nothing), is_hashed=is_hashed)
        for p in parts
        for s in p.shards
    ]
    found: dict[int, Scanned] = {}
    for done, outcome in enumerate(run(scan, units, workers=workers, stall_s=STALL_S), start=1):
        unit = units[outcome.index]
        if isinstance(outcome, Failed):
            raise ExportError(f"part {unit.part}: {unit.shard.file}: {outcome.reason}")
        found[outcome.index] = outcome.result
        progress(done, len(units), "reading shards")
    result: dict[str, list[Scanned]] = {p.name: [] for p in parts}
    for index, unit in enumerate(units):
        result[unit.part].append(found[index])
    return result


def scan(unit: ScanUnit) -> Scanned:
    """Look at a shard; runs in a worker.

    Raises:
        ExportError: It is not as the manifest says.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = unit.folder / unit.shard.file
    size = path.stat().st_size if path.is_file() else -1
    if size != unit.shard.size:
        raise ExportError(f"has {size:,} bytes; the manifest says {unit.shard.size:,}" if size >= 0 else "is missing")
    if unit.is_hashed and hash_with_beats(path)[1] != unit.shard.sha256:
        raise ExportError("SHA-256 differs from the manifest's; verify the export")
    try:
        with pq.ParquetFile(path) as file:
            meta = file.metadata
            if meta.num_rows != unit.shard.rows:
                raise ExportError(f"has {meta.num_rows} rows; the manifest says {unit.shard.rows}")
            groups = [meta.row_group(i) for i in range(meta.num_row_groups)]
            names = [n for n in ("task", "episode_index") if n in file.schema_arrow.names]
            tasks, codes, marks = _labels(file, names, unit.left_out)
            return Scanned(
                schema=file.schema_arrow.serialize().to_pybytes(),
                group_rows=np.array([g.num_rows for g in groups], dtype=np.int64),
                group_bytes=np.array([g.total_byte_size for g in groups], dtype=np.int64),
                tasks=tasks,
                task=codes,
                is_left_out=marks,
            )
    except (pa.ArrowException, OSError) as error:
        raise ExportError(f"can't be read: {printable(str(error))}") from error


def _labels(
    file: "object", names: Sequence[str], left_out: frozenset[int]
) -> tuple[tuple[str, ...], NDArray[np.int32], NDArray[np.bool_]]:
    """Tasks, and where rows don't count, a few row groups at a time."""
    import pyarrow.parquet as pq

    assert isinstance(file, pq.ParquetFile)
    number: dict[str, int] = {}
    codes, marks = [np.zeros(0, dtype=np.int32)], [np.zeros(0, dtype=np.bool_)]
    hidden = np.array(sorted(left_out), dtype=np.int64)
    for index in range(file.num_row_groups):
        table = file.read_row_group(index, columns=list(names), use_threads=False)
        count = file.metadata.row_group(index).num_rows
        texts = table.column("task").to_pylist() if "task" in names else [""] * count
        codes.append(np.array([number.setdefault(t or "", len(number)) for t in texts], dtype=np.int32))
        if len(hidden):
            if "episode_index" not in names:
                raise ExportError("no column episode_index; rows of episodes can't be left out without it")
            marks.append(np.isin(table.column("episode_index").to_numpy(), hidden))
        else:
            marks.append(np.zeros(count, dtype=np.bool_))
        beat()
    return tuple(number), np.concatenate(codes), np.concatenate(marks)
