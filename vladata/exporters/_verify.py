"""Verify an export: every file, every row, every split, and that `datasets` loads it."""

import importlib.util
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..action_tokenizer import ActionTokenizer
from ..errors import DatasetError, ExportError, TokenizeError
from ..gate import inside
from ..store.dataset import Dataset
from ..workers import Failed, run
from ._compare import Compared, CompareUnit, compare_shard
from ._files import FORMAT_VERSION
from ._folder import FORMAT, MANIFEST, ORIGIN, SHARDS, TOKENIZER, UNFINISHED, hash_with_beats, read_json
from ._gather import EpisodeSource
from ._journal import has_journal
from ._options import ExportOptions
from ._prepare import Progress, read_embodiment
from ._prompts import stored_prompts
from ._rows import Layout
from ._text_rows import EXECUTOR, VQA
from ._verify_texts import TextCheck, compare_texts
from ._work import STALL_S, package_versions

__all__ = ["VerifyResult", "verify"]

WHOLE_BYTES = 300_000_000
"""An export up to this size is also loaded as a whole; a larger one is streamed from its beginning only."""
LOADING_MEMORY = 16 << 30
SAID = frozenset({"source", "question", "answer", "images", "prompt", "target"})
"""Columns of `vqa` that every row has; rows of others' data have no episode."""


def _quiet(done: int, total: int, name: str) -> None:
    """No progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyResult:
    """What verification of an export saw."""

    files: int
    bytes: int
    rows: int
    problems: tuple[str, ...]
    """Differences, one line each, with file, row and column; empty where everything is as it must be."""
    notes: tuple[str, ...] = ()
    """What could not be compared."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Manifest:
    """The parts of a manifest that verification needs."""

    options: ExportOptions
    files: Sequence[Mapping[str, object]]
    episodes: Sequence[Mapping[str, object]]
    splits: Mapping[str, Mapping[str, object]]
    versions: Mapping[str, object]
    dataset_digest: str
    prompt: Mapping[str, object]
    configs: Mapping[str, Mapping[str, object]]
    """Splits and content digest by config."""
    texts: Mapping[str, object]
    """What is said of the configs of text."""


def verify(out: Path, dataset: Path | None = None, *, workers: int = 1, progress: Progress = _quiet) -> VerifyResult:
    """Re-read everything that an export holds and compare it with the episodes.

    Args:
        out: The export.
        dataset: The dataset it was made from; None: where it was, seen from the export.
        workers: Processes; 0 reads in this one.
        progress: Called with how many are done, of how many, and what is being done.

    Raises:
        ExportError: The folder is no whole export, or its dataset is not found.
    """
    manifest = _read_manifest(out)
    opened = _open_dataset(out, dataset)
    problems = _compare_files(out, manifest) + _compare_splits(manifest)
    if opened.digest != manifest.dataset_digest:
        problems.append(f"{opened.path.name}: the dataset was changed since the export; differences below may be its")
    sources = _sources(manifest, opened, problems)
    shards = [f for f in manifest.files if _is_of(f, EXECUTOR)]
    layout = None
    if sources:
        layout = Layout.build(read_embodiment(next(iter(sources.values())), workers), manifest.options)
    try:
        units = [] if layout is None else _units(out, manifest, sources, layout)
    except (ExportError, TokenizeError) as error:
        units = []
        problems.append(f"rows can't be compared: {error}")
    compared: dict[int, Compared] = {}
    for done, outcome in enumerate(run(compare_shard, units, workers=workers, stall_s=STALL_S), start=1):
        if isinstance(outcome, Failed):
            problems.append(f"{units[outcome.index].file}: {outcome.reason}")
        else:
            compared[outcome.index] = outcome.result
        progress(done, len(units), "comparing shards")
    for index in sorted(compared):
        problems += compared[index].problems
    problems += _compare_coverage(manifest, compared, shards)
    texts = None if layout is None else compare_texts(_text_check(out, manifest, sources, (layout, workers, progress)))
    problems += [] if texts is None else texts.problems
    problems += _load_once(out, manifest)
    return VerifyResult(
        files=len(manifest.files),
        bytes=sum(_int(f.get("size")) for f in manifest.files),
        rows=sum(len(c.steps) for c in compared.values()) + (0 if texts is None else texts.rows),
        problems=tuple(problems),
        notes=() if texts is None else texts.notes,
    )


def _is_of(line: Mapping[str, object], config: str) -> bool:
    """Whether a file is a shard of a config."""
    return "unit" in line and line.get("config", EXECUTOR) == config


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0


def _read_manifest(out: Path) -> _Manifest:
    state = read_json(out / MANIFEST)
    if state is None or state.get("format") != FORMAT:
        if has_journal(out):
            raise ExportError(
                f"{out}: this export was being retokenized; run vladata retokenize again, or with --undo to put it back"
            )
        if (out / UNFINISHED).exists():
            raise ExportError(f"{out}: this export is not finished; run vladata export again, it goes on where it was")
        raise ExportError(f"{out}: no export; {MANIFEST} is missing or not one of vladata")
    if state.get("format_version") != FORMAT_VERSION:
        raise ExportError(f"{out}: export version {state.get('format_version')}; this release reads {FORMAT_VERSION}")
    options, files, episodes = state.get("options"), state.get("files"), state.get("episodes")
    splits, versions, prompt = state.get("splits"), state.get("versions"), state.get("prompt")
    is_right = all(isinstance(part, dict) for part in (options, splits, versions, prompt))
    if not is_right or not _are_objects(files, {"file", "size", "sha256"}):
        raise ExportError(f"{out}: {MANIFEST} is damaged")
    if not _are_objects(episodes, {"episode_index", "episode_id", "content_digest", "split", "rows", "shards"}):
        raise ExportError(f"{out}: {MANIFEST} is damaged; episodes must list the lineage")
    return _Manifest(
        options=ExportOptions.from_dict(options),  # type: ignore[arg-type]  # looked at above
        files=files,  # type: ignore[arg-type]
        episodes=episodes,  # type: ignore[arg-type]
        splits=splits,  # type: ignore[arg-type]
        versions=versions,  # type: ignore[arg-type]
        dataset_digest=str(state.get("dataset_digest")),
        prompt=prompt,  # type: ignore[arg-type]
        configs=_objects(state.get("configs")) or {EXECUTOR: {"splits": splits}},
        texts=_objects(state.get("texts")),
    )


def _objects(value: object) -> dict[str, Mapping[str, object]]:
    """Objects of an object; what is none is left out."""
    return {k: v for k, v in value.items() if isinstance(v, dict)} if isinstance(value, dict) else {}


def _are_objects(value: object, keys: set[str]) -> bool:
    return isinstance(value, list) and all(isinstance(v, dict) and keys <= v.keys() for v in value)


def _open_dataset(out: Path, dataset: Path | None) -> Dataset:
    if dataset is None:
        origin = read_json(out / ORIGIN) or {}
        if not isinstance(origin.get("dataset"), str):
            raise ExportError(f"{out}: does not say where its dataset is; name the dataset")
        dataset = (out / str(origin["dataset"])).resolve()
    try:
        return Dataset.open(dataset)
    except DatasetError as error:
        raise ExportError(f"{out}: its dataset can't be opened, name another place: {error}") from error


def _compare_files(out: Path, manifest: _Manifest) -> list[str]:
    """Files beside the shards, which are compared by their own units; and files that nobody listed."""
    problems = []
    for line in manifest.files:
        name = str(line["file"])
        path = inside(out, name)
        if "unit" in line:
            continue
        if not path.is_file():
            problems.append(f"{name}: missing")
            continue
        size, sha256 = hash_with_beats(path)
        if (size, sha256) != (line["size"], line["sha256"]):
            problems.append(f"{name}: {size:,} bytes, or their SHA-256, differ from the manifest's")
    listed = {str(line["file"]) for line in manifest.files}
    found = sorted(p.relative_to(out).as_posix() for p in (out / SHARDS).glob("*/*"))
    return problems + [f"{name}: not in the manifest" for name in found if name not in listed]


def _compare_splits(manifest: _Manifest) -> list[str]:
    """Whether splits are disjoint in content, and as large as stated."""
    problems = []
    split_of: dict[str, str] = {}
    split_of_group: dict[str, str] = {}
    rows: dict[str, int] = {}
    for episode in manifest.episodes:
        content, split = str(episode["content_digest"]), str(episode["split"])
        if split_of.setdefault(content, split) != split:
            problems.append(
                f"{MANIFEST}: episodes of equal content {content[:12]} are in {split_of[content]} and {split}"
            )
        group = str(episode.get("group", content))
        if split_of_group.setdefault(group, split) != split:
            problems.append(f"{MANIFEST}: group {group} of episodes is in {split_of_group[group]} and {split}")
        rows[split] = rows.get(split, 0) + _int(episode["rows"])
    for name in sorted(rows.keys() | manifest.splits.keys()):
        stated = _int(manifest.splits.get(name, {}).get("rows"))
        if stated != rows.get(name, 0):
            problems.append(f"{MANIFEST}: split {name} has {stated} rows; its episodes have {rows.get(name, 0)}")
    return problems


def _sources(manifest: _Manifest, dataset: Dataset, problems: list[str]) -> dict[int, EpisodeSource]:
    """Episodes of the dataset by index."""
    by_id = {e.episode_id: e for e in dataset.entries}
    sources = {}
    for line in manifest.episodes:
        entry = by_id.get(str(line["episode_id"]))
        if entry is None:
            problems.append(f"{MANIFEST}: episode {str(line['episode_id'])[:12]} is not in the dataset")
        elif entry.content_digest != line["content_digest"]:
            problems.append(f"{entry.place}: the episode has other content than at the export")
        else:
            edits = dataset.edits.of(entry.recording_id)
            sources[_int(line["episode_index"])] = EpisodeSource(folder=dataset.path, entry=entry, edits=edits)
    return sources


def _is_same_software(manifest: _Manifest) -> bool:
    """Whether the image codecs are those of the export."""
    ours = package_versions()
    return all(manifest.versions.get(n) == v for n, v in ours.items() if n in {"av", "opencv-python-headless"})


def _text_check(
    out: Path, manifest: _Manifest, sources: Mapping[int, EpisodeSource], rest: tuple[Layout, int, Progress]
) -> TextCheck:
    origin = (read_json(out / ORIGIN) or {}).get("external")
    places = (
        {n: (out / p).resolve() for n, p in origin.items() if isinstance(p, str)} if isinstance(origin, dict) else {}
    )
    return TextCheck(
        out=out,
        options=manifest.options,
        layout=rest[0],
        is_same_software=_is_same_software(manifest),
        sources=sources,
        episodes=manifest.episodes,
        files=[f for f in manifest.files if "unit" in f],
        configs=manifest.configs,
        texts=manifest.texts,
        places=places,
        workers=rest[1],
        progress=rest[2],
    )


def _units(out: Path, manifest: _Manifest, sources: Mapping[int, EpisodeSource], layout: Layout) -> list[CompareUnit]:
    cameras = [c.name for c in layout.cameras]
    tokenizer = ActionTokenizer.load(out / TOKENIZER)
    prompts = stored_prompts(out, manifest.prompt, cameras, tokenizer, manifest.options.vocabulary)
    is_same = _is_same_software(manifest)
    members: dict[str, list[int]] = {}
    for line in manifest.episodes:
        shards = line["shards"]
        for name in shards if isinstance(shards, list) else []:
            members.setdefault(str(name), []).append(_int(line["episode_index"]))
    return [
        CompareUnit(
            out=out,
            file=str(line["file"]),
            size=_int(line["size"]),
            sha256=str(line["sha256"]),
            layout=layout,
            images=manifest.options.images,
            is_same_software=is_same,
            sources={i: sources[i] for i in members.get(str(line["file"]), []) if i in sources},
            prompts=prompts,
        )
        for line in manifest.files
        if _is_of(line, EXECUTOR)
    ]


def _compare_coverage(
    manifest: _Manifest, compared: Mapping[int, Compared], shards: Sequence[Mapping[str, object]]
) -> list[str]:
    """Whether every row of every episode is there once, in order, in its own split."""
    problems = []
    parts: dict[int, list[NDArray[np.int64]]] = {}
    split_of = {_int(e["episode_index"]): str(e["split"]) for e in manifest.episodes}
    for index in sorted(compared):
        line, steps = shards[index], compared[index].steps
        if len(steps) != line.get("rows"):
            problems.append(f"{line['file']}: {len(steps)} rows; the manifest says {line.get('rows')}")
        for episode in np.unique(steps[:, 0]).tolist():
            parts.setdefault(episode, []).append(steps[steps[:, 0] == episode, 1])
            if split_of.get(episode) != line.get("split"):
                problems.append(f"{line['file']}: episode {episode} is of split {split_of.get(episode)}")
    nothing = np.zeros(0, dtype=np.int64)
    for episode_line in manifest.episodes:
        own = np.concatenate([nothing, *parts.get(_int(episode_line["episode_index"]), [])])
        if len(own) != episode_line["rows"] or (np.diff(own) <= 0).any():
            problems.append(
                f"episode {episode_line['episode_index']}: {len(own)} rows in the shards, {len(np.unique(own))} "
                f"of them different steps; must be {episode_line['rows']}, in order"
            )
    return problems


# Through `datasets` -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _LoadUnit:
    out: Path
    rows: Mapping[str, Mapping[str, int]]
    """By config and split."""
    is_whole: bool


def _load_once(out: Path, manifest: _Manifest) -> list[str]:
    size = sum(_int(f.get("size")) for f in manifest.files)
    rows = {
        config: {name: _int(split.get("rows")) for name, split in _objects(own.get("splits")).items()}
        for config, own in manifest.configs.items()
    }
    unit = _LoadUnit(out=out, rows=rows, is_whole=size <= WHOLE_BYTES)
    # Always in a process of its own: it sets progress bars, an event loop and locks up that nobody here asked for.
    for outcome in run(load_with_datasets, [unit], workers=1, memory_bytes=LOADING_MEMORY, stall_s=STALL_S):
        if isinstance(outcome, Failed):
            return [f"datasets.load_dataset: {outcome.reason}"]
        return outcome.result
    return ["datasets.load_dataset: no answer"]


def load_with_datasets(unit: _LoadUnit) -> list[str]:
    """Load an export as its users do; what is wrong, one line each. Runs in a worker."""
    from tqdm import tqdm  # type: ignore[import-untyped]  # comes with datasets

    # Its default is a semaphore of the system, which would outlive this process.
    tqdm.set_lock(threading.RLock())
    import datasets

    datasets.disable_progress_bars()
    has_pillow = importlib.util.find_spec("PIL") is not None
    problems = []
    with tempfile.TemporaryDirectory() as cache:
        for config, wanted in unit.rows.items():
            streamed = datasets.load_dataset(str(unit.out), config, streaming=True, cache_dir=cache)
            if set(streamed) != set(wanted):
                problems.append(f"datasets.load_dataset: {config}: splits {sorted(streamed)}; must be {sorted(wanted)}")
            for name, split in streamed.items():
                # `datasets` decodes images by Pillow alone, and does not bring it; their bytes were compared before.
                first = next(iter(split.decode(has_pillow)), None)
                if first is None or any(first[n] is None for n in first if config != VQA or n in SAID):
                    problems.append(f"datasets.load_dataset: {config}: split {name} gives no whole row when streamed")
            if unit.is_whole:
                loaded = datasets.load_dataset(str(unit.out), config, cache_dir=cache)
                for name, rows in wanted.items():
                    found = len(loaded[name]) if name in loaded else 0
                    if found != rows:
                        problems.append(
                            f"datasets.load_dataset: {config}: split {name} has {found} rows; must be {rows}"
                        )
    return problems
