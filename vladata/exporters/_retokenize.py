"""Give an export another tokenizer without the episodes and without touching an image.

The columns that follow from the tokenizer are made of the column `action_chunk` and lie behind each shard's old bytes
(`_tail`); tokenizer folders, card and manifest are made anew from what the export stores about itself; all of it is
put in place at once, and can be put back (`_journal`).
"""

import hashlib
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..action_tokenizer import ActionTokenizer
from ..errors import ExportError
from ..gate import inside
from ..prompts import read_template
from ..text import clip, printable
from ._card_tokens import TokenFacts, retokenized_card, token_notes
from ._files import content_digest, manifest_bytes, tokenizer_files
from ._folder import MANIFEST, README, TEXT_TOKENIZER, TOKENIZER, claim, require_space
from ._footer import parse, read_footer, stored_bytes
from ._journal import commit, is_shared, roll_back
from ._loss import measure_loss
from ._options import TOKEN_OPTIONS, ExportOptions
from ._prepare import Progress
from ._prompts import Ground, bind_prompts
from ._sample import held_out, is_shard
from ._schema import IMAGES
from ._stored import Line, StoredExport, column_names, open_export, require_export, shard_path, whole
from ._tails import Job, Tails, make_tails, other_tokenizer

__all__ = ["RetokenizePlan", "Retokenized", "plan_retokenize", "retokenize", "undo_retokenize"]


def _quiet(done: int, total: int, name: str) -> None:
    """No progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retokenized:
    """What retokenizing did, and what it cost."""

    scheme: str
    old_scheme: str
    shards: int
    rows: int
    seconds: float
    bytes_read: int
    """Shards once, for their SHA-256; chunks, padding and tasks once more."""
    bytes_written: int
    """All of it: new columns in the making and in their place, the journal, copies of files that were shared."""
    image_bytes: int
    """Of images, which were neither moved nor written."""
    dead_bytes: int
    """Of the export's own token columns and footers, to which nothing leads; another run does not add to them."""
    copied: int
    """Shards that other folders share and that were copied first."""
    has_ids: bool
    dropped: tuple[str, ...]
    """Columns that the export had and has no more."""
    clipped: Mapping[str, int]
    """Values outside of what codes can stand for, by dimension; only dimensions that have some."""
    notes: tuple[str, ...]
    content_digest: str
    """Of all configs, as in the manifest."""
    tokenizer_digest: str
    was_undone: bool
    """Whether an earlier run that was broken off was put back first."""

    def to_dict(self) -> dict[str, object]:
        """As JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetokenizePlan:
    """What retokenizing would cost."""

    scheme: str
    old_scheme: str
    shards: int
    rows: int
    bytes_to_read: int
    bytes_to_write: int
    """About; from a sample of the chunks, before compression."""
    image_bytes: int
    """Of images, which would stay."""
    copied: int
    """Shards that other folders share and that would be copied first."""
    copied_bytes: int

    def to_dict(self) -> dict[str, object]:
        """As JSON values."""
        return asdict(self)


def plan_retokenize(
    out: Path, options: ExportOptions, *, keep_prompt: bool = False, workers: int = 1
) -> RetokenizePlan:
    """Say what retokenizing would cost, and write nothing.

    Args:
        out: A whole export.
        options: As for `retokenize`.
        keep_prompt: As for `retokenize`.
        workers: Processes; 0 reads in this one.

    Raises:
        ExportError: The folder is no whole export. Also TokenizeError and PluginNotFoundError.
    """
    export = open_export(out)
    tokenizer = _job(export, options, keep_prompt=keep_prompt, workers=workers).tokenizer
    sample = held_out(out, export.shards, export.first_split, export.shape, workers, limit=200)
    per_row = 4 * measure_loss(tokenizer, sample).tokens_mean * (3 if options.base_tokenizer else 1)
    shared = [line for line in export.lines if is_shared(shard_path(out, line))]
    rows = sum(whole(line, "rows") for line in export.lines)
    return RetokenizePlan(
        scheme=options.tokenizer,
        old_scheme=export.tokenizer.scheme,
        shards=len(export.lines),
        rows=rows,
        bytes_to_read=sum(whole(line, "size") for line in export.lines),
        bytes_to_write=round(2 * per_row * rows) + sum(whole(line, "size") for line in shared),
        image_bytes=sum(_image_bytes(out, line) for line in export.lines),
        copied=len(shared),
        copied_bytes=sum(whole(line, "size") for line in shared),
    )


def _image_bytes(out: Path, line: Line) -> int:
    sizes = stored_bytes(parse(read_footer(shard_path(out, line), whole(line, "size"))))
    return sum(size for path, size in sizes.items() if path[0].startswith(IMAGES.encode()))


def undo_retokenize(out: Path) -> bool:
    """Put back an export whose retokenizing was broken off; whether there was something to put back.

    Raises:
        ExportError: The folder is no export, or another process is writing to it.
    """
    require_export(out)
    with claim(out) as folder:
        was_undone = roll_back(out)
        shutil.rmtree(folder.work)
    return was_undone


def retokenize(
    out: Path,
    options: ExportOptions,
    *,
    keep_prompt: bool = False,
    workers: int = 1,
    progress: Progress = _quiet,
) -> Retokenized:
    """Give an export another tokenizer: rows become those of a fresh export with these options; images stay.

    Run again after an interruption: what was left is put back first. The same scheme as before restores the bytes.

    Args:
        out: A whole export; the dataset of episodes is not needed.
        options: Of them, those of the codec, vocabulary and prompt count (`TOKEN_OPTIONS`, and the base tokenizer).
        keep_prompt: Whether the export's own prompt template stays, whatever the options name.
        workers: Processes; 0 does everything in this one.
        progress: Called with how many are done, of how many, and what is being done.

    Raises:
        ExportError: The folder is no whole export, or something in it was altered.
        SchemaError: There is no such prompt.
        TokenizeError: An option of the codec is out of range, or codes don't fit into vocabulary or prompt.
        PluginNotFoundError: There is no codec of that name.
        OSError: The disk is full, or can't be written.
    """
    began = time.monotonic()
    require_export(out)
    with claim(out) as folder:
        was_undone = roll_back(out)
        export = open_export(out)
        job = _job(export, options, keep_prompt=keep_prompt, workers=workers, progress=progress)
        tokenizer = job.tokenizer
        tails = make_tails(folder, job)
        files = tokenizer_files(folder, tokenizer, job.base)
        facts = _facts(job, tails)
        card = (out / README).read_text(encoding="utf-8")
        files[README] = retokenized_card(card, export.tokenizer.scheme, facts).encode()
        manifest = _manifest(job, facts, tails, files)
        copied = [end for end in tails.ends if is_shared(inside(out, end.file))]
        copied_bytes = sum(end.base_size for end in copied)
        tail_bytes = sum(f.num_tail_bytes for f in tails.facts)
        old_bytes = sum(end.size - end.base_size for end in tails.ends)
        require_space(out, tail_bytes + old_bytes + copied_bytes)
        commit(folder, tails.ends, files, manifest)
    return Retokenized(
        scheme=tokenizer.scheme,
        old_scheme=export.tokenizer.scheme,
        shards=len(tails.facts),
        rows=facts.num_rows,
        seconds=time.monotonic() - began,
        bytes_read=sum(f.num_read for f in tails.facts),
        bytes_written=2 * tail_bytes + old_bytes + copied_bytes + 2 * sum(map(len, files.values())) + 2 * len(manifest),
        image_bytes=sum(f.num_image_bytes for f in tails.facts),
        dead_bytes=sum(f.num_dead_bytes for f in tails.facts),
        copied=len(copied),
        has_ids=job.prompts.has_ids,
        dropped=tails.dropped,
        clipped={name: count for name, count in facts.clipped.items() if count},
        notes=tuple(facts.notes),
        content_digest=_whole_digest(job, tails),
        tokenizer_digest=tokenizer.digest,
        was_undone=was_undone,
    )


def _job(
    export: StoredExport, options: ExportOptions, *, keep_prompt: bool, workers: int, progress: Progress = _quiet
) -> Job:
    """Everything that is decided before the first shard."""
    template = export.prompts.template if keep_prompt else read_template(options.prompt)
    tokenizer, base = other_tokenizer(export, options, template, workers)
    _require_same_base(export, tokenizer)
    ground = Ground(words=export.prompts.words, cameras=export.prompts.cameras, state=export.state)
    asked = options.to_dict()
    decided = {k: asked[k] for k in TOKEN_OPTIONS}
    return Job(
        export=export,
        options=options,
        decided={**decided, "prompt": export.options.get("prompt")} if keep_prompt else decided,
        tokenizer=tokenizer,
        base=base,
        prompts=bind_prompts(template, options, tokenizer, base, ground),
        workers=workers,
        progress=progress,
    )


def _require_same_base(export: StoredExport, tokenizer: ActionTokenizer) -> None:
    """Rows of the configs without codes are left as they are; where they have ids, those must stay true."""
    old, new = (t.vocabulary.base if t.vocabulary else None for t in (export.tokenizer, tokenizer))
    texts = sorted({str(line.get("config")) for line in _texts(export)})
    if not texts or (old and old.sha256) == (new and new.sha256):
        return
    has, must = (
        (f"ids of the tokenizer {printable(old.name)}", "the same must be given")
        if old
        else ("no ids", "no base tokenizer can be given")
    )
    raise ExportError(f"rows of {' and '.join(texts)} have {has} and are not made anew; {must}, or export again")


def _facts(job: Job, tails: Tails) -> TokenFacts:
    """What the card will say."""
    export, tokenizer = job.export, job.tokenizer
    targets = sum(f.num_targets for f in tails.facts)
    clipped = {n: sum(f.num_clipped[d] for f in tails.facts) for d, n in enumerate(tokenizer.names)}
    sample = held_out(export.path, export.shards, export.first_split, export.shape, job.workers)
    recipe = export.options.get("recipe")
    return TokenFacts(
        tokenizer=tokenizer,
        statistics=export.statistics,
        first_split=export.first_split,
        content_digest=content_digest(_digests(tails.lines)),
        clipped=clipped,
        num_targets=targets,
        num_codes=sum(f.num_codes for f in tails.facts),
        num_rows=sum(f.num_rows for f in tails.facts),
        longest=max(f.longest for f in tails.facts),
        loss=measure_loss(tokenizer, sample),
        notes=_notes(job, clipped, (targets, sum(f.num_rows for f in tails.facts))),
        prompts=job.prompts,
        most_ids=max(f.most_ids for f in tails.facts),
        state_names=column_names(export.manifest, "state"),
        cameras=job.prompts.cameras,
        recipe=recipe if isinstance(recipe, dict) else None,
        overridden=_overridden(job),
    )


def _notes(job: Job, clipped: Mapping[str, int], counts: tuple[int, int]) -> list[str]:
    export, names = job.export, job.tokenizer.names
    old, before = export.manifest.get("notes"), export.manifest.get("clipped")
    if not isinstance(old, list) or not isinstance(before, dict) or not set(names) <= before.keys():
        raise ExportError(f"{export.path}: {MANIFEST} is damaged; notes and clipped values are missing")
    known = {n: int(before[n]) for n in names}
    said = {_plain(n) for n in token_notes(export.tokenizer, export.prompts, known, counts)}
    new = token_notes(job.tokenizer, job.prompts, clipped, counts)
    return [_plain(n) for n in new] + [n for n in old if n not in said]


def _first_options(export: StoredExport) -> dict[str, object]:
    """Options of the export before it was retokenized for the first time, those that retokenizing changes."""
    kept = export.manifest.get("base")
    return dict(kept) if isinstance(kept, dict) else {k: export.options.get(k) for k in (*TOKEN_OPTIONS, "overridden")}


def _overridden(job: Job) -> list[str]:
    """Options that are not those of the export's recipe."""
    if job.export.options.get("recipe") is None:
        return []
    first = _first_options(job.export)
    old = first.get("overridden")
    changed = {k for k in TOKEN_OPTIONS if job.decided[k] != first.get(k)}
    return sorted({*(map(str, old) if isinstance(old, list) else ()), *changed})


def _plain(note: str) -> str:
    return clip(printable(note), 300)


def _manifest(job: Job, facts: TokenFacts, tails: Tails, files: Mapping[str, bytes]) -> bytes:
    manifest = job.export.manifest
    old_lines = manifest["files"]
    assert isinstance(old_lines, list)  # looked at on opening
    small = [
        {"file": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()
    ]
    ours = (README, f"{TOKENIZER}/", f"{TEXT_TOKENIZER}/")
    others = [f for f in old_lines if not is_shard(f) and not str(f["file"]).startswith(ours)]
    # Kept as long as there is a way back to them.
    kept = {"base": _first_options(job.export)} if any("base" in line for line in tails.lines) else {}
    return manifest_bytes(
        {
            **{k: v for k, v in manifest.items() if k != "base"},
            **kept,
            "content_digest": _whole_digest(job, tails),
            "options": {**job.export.options, **job.decided, "overridden": _overridden(job)},
            "tokenizer_digest": facts.tokenizer.digest,
            "prompt": {**job.prompts.to_dict(), "most_ids": facts.most_ids},
            "splits": _splits(job.export, tails.lines),
            "configs": _configs(job.export, facts.content_digest, tails.lines),
            "clipped": facts.clipped,
            "num_targets": facts.num_targets,
            "num_codes": facts.num_codes,
            "longest": facts.longest,
            "loss": facts.loss.to_dict(),
            "notes": list(facts.notes),
            "files": sorted([*tails.lines, *small, *others], key=lambda line: str(line["file"])),
        }
    )


def _splits(export: StoredExport, lines: Sequence[Line]) -> dict[str, object]:
    """The splits with the bytes that their shards have now."""
    splits = export.manifest.get("splits")
    if not isinstance(splits, dict) or not all(isinstance(s, dict) for s in splits.values()):
        raise ExportError(f"{export.path}: {MANIFEST} is damaged; splits must be an object")
    sizes: dict[str, int] = {}
    for line in lines:
        sizes[str(line["split"])] = sizes.get(str(line["split"]), 0) + whole(line, "size")
    return {name: {**split, "bytes": sizes.get(name, 0)} for name, split in splits.items()}


def _whole_digest(job: Job, tails: Tails) -> str:
    """Content digest of the export, with the configs that were left alone."""
    return content_digest(_digests([*tails.lines, *_texts(job.export)]))


def _digests(lines: Sequence[Line]) -> list[tuple[str, str]]:
    return [(str(line["file"]), str(line["sha256"])) for line in lines]


def _texts(export: StoredExport) -> list[Line]:
    """Shards of the configs without codes, in the order of the export."""
    files, order = export.manifest["files"], [split[0] for split in export.options["splits"]]  # type: ignore[attr-defined]
    assert isinstance(files, list)  # looked at on opening
    texts = [f for f in files if "unit" in f and not is_shard(f)]
    return sorted(texts, key=lambda f: (str(f.get("config")), order.index(str(f.get("split"))), str(f["file"])))


def _configs(export: StoredExport, executor_digest: str, lines: Sequence[Line]) -> dict[str, object]:
    """Digests and splits of each config; those of the others stay."""
    configs = export.manifest.get("configs")
    if not isinstance(configs, dict):
        raise ExportError(f"{export.path}: {MANIFEST} is damaged; configs must be an object")
    executor = {"content_digest": executor_digest, "splits": _splits(export, lines)}
    return {**configs, "executor": executor}
