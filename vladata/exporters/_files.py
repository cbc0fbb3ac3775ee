"""What lies beside the shards: tokenizers, statistics, card and manifest."""

import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..action_tokenizer import ActionTokenizer
from ..actions.statistics import openpi_layout, openvla_layout
from ..documents import canonical_json
from ..text import clip, printable
from ..tokenizers._base import BaseTokenizer
from ..vocabulary import write_extended
from ._card_tokens import TokenFacts, token_notes
from ._folder import FORMAT, README, TEXT_TOKENIZER, TOKENIZER, ExportFolder, hash_with_beats, write_bytes
from ._loss import Loss
from ._plan import EXTERNAL, Split, count_configs, digest, sum_refused, total_counts
from ._text_facts import text_manifest, text_notes
from ._text_rows import EXECUTOR
from ._work import Job, ShardLine, Written, package_versions

__all__ = ["FORMAT_VERSION", "Finished", "content_digest", "manifest_bytes", "tokenizer_files", "write_rest"]

FORMAT_VERSION = 1
MAX_NOTES = 50


def content_digest(shards: Sequence[tuple[str, str]]) -> str:
    """SHA-256 over the names and SHA-256 of shards, hex."""
    return digest([list(shard) for shard in shards])


@dataclass(frozen=True, kw_only=True, eq=False)
class Finished:
    """An export whose shards are written."""

    job: Job
    written: Written
    base: BaseTokenizer | None
    dataset_digest: str
    loss: Loss
    """Of a sample of the rows."""

    @cached_property
    def content_digest(self) -> str:
        """SHA-256 over the shards, hex."""
        return content_digest([(line.file, line.sha256) for line in self.written.lines])

    def digest_of(self, config: str) -> str:
        """SHA-256 over the shards of a config, hex."""
        return digest([[line.file, line.sha256] for line in self.written.lines if line.config == config])

    @cached_property
    def configs(self) -> dict[str, dict[str, Split]]:
        """The splits of each config that has rows, the executor first."""
        sizes = {line.file: line.size for line in self.written.lines}
        return count_configs(self.written.shards, sizes, self.job.options.splits)

    @property
    def splits(self) -> dict[str, Split]:
        """Those of the executor that have rows, by name."""
        return self.configs[EXECUTOR]

    @cached_property
    def mixed(self) -> dict[str, dict[str, dict[str, int]]]:
        """Others' rows by source and split, and how many the declared share wants."""
        texts = self.job.texts
        return {
            name: {s: {"rows": len(chosen.rows[s]), "wanted": n} for s, n in texts.wanted[name].items()}
            for name, chosen in texts.chosen.items()
        }

    @cached_property
    def clipped(self) -> dict[str, int]:
        """Clipped values by dimension."""
        names = self.job.tokenizer.names
        lines = [line for line in self.written.lines if line.config == EXECUTOR]
        return {n: sum(line.num_clipped[d] for line in lines) for d, n in enumerate(names)}

    @property
    def num_targets(self) -> int:
        """Targets that are not padded."""
        return sum(line.num_targets for line in self.written.lines)

    @cached_property
    def tasks(self) -> dict[str, tuple[int, int]]:
        """Rows and episodes by task, most rows first."""
        total: dict[str, tuple[int, int]] = {}
        for g in self.job.prepared.gathered:
            for task, count in g.tasks.items():
                rows, episodes = total.get(task, (0, 0))
                total[task] = (rows + count, episodes + 1)
        return dict(sorted(total.items(), key=lambda item: (-item[1][0], item[0])))

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What a user should know, one line each, safe for a terminal."""
        return tuple(clip(printable(n), 300) for n in self._all_notes())

    def _all_notes(self) -> list[str]:
        # What follows from the tokenizer comes first: there retokenizing puts what it has to say instead.
        return [
            *self._about_tokens(),
            *self._about_choices(),
            *self._about_numbers(),
            *self._about_images(),
            *self._about_texts(),
            *self._told(),
        ]

    def _about_tokens(self) -> list[str]:
        rows = sum(line.rows for line in self._executor)
        return token_notes(self.job.tokenizer, self.job.prompts, self.clipped, (self.num_targets, rows))

    @property
    def _executor(self) -> list[ShardLine]:
        """Shards with action codes."""
        return [line for line in self.written.lines if line.config == EXECUTOR]

    def _about_texts(self) -> list[str]:
        return text_notes(self.job, self.mixed)

    def _about_numbers(self) -> list[str]:
        prepared, notes = self.job.prepared, list[str]()
        for name, is_floored in zip(self.job.tokenizer.names, self.job.tokenizer.normalization.floored, strict=True):
            if is_floored:
                notes.append(f"{name}: nearly constant; its range was widened to the floor of the normalization")
        digests = [s.entry.content_digest for s in prepared.sources]
        again = len(digests) - len(set(digests))
        if again:
            notes.append(f"episodes with the content of another one: {again:,}; equal content is in one split")
        unnamed = sum(rows for task, (rows, _) in self.tasks.items() if not task.strip())
        if unnamed:
            notes.append(f"rows without a task instruction: {unnamed:,}")
        if prepared.empty:
            notes.append(f"episodes without a row: {len(prepared.empty):,}, the first: {prepared.empty[0]}")
        counts = total_counts(prepared.gathered)
        if counts.num_ended_at_invalid or counts.num_ended_at_cut:
            ended = counts.num_ended_at_invalid + counts.num_ended_at_cut
            notes.append(f"chunks that end before an invalid step or a cut: {ended:,}")
        return notes

    def _about_choices(self) -> list[str]:
        prepared, options, tokenizer = self.job.prepared, self.job.options, self.job.tokenizer
        groups = prepared.grouping.num_groups
        empty = [name for name in options.splits if name not in prepared.splits]
        notes = [f"split {name} is empty; there are {groups:,} groups of episodes that never part" for name in empty]
        notes += prepared.grouping.missing_lines() if options.recipe is not None else []
        notes += prepared.unused_lines
        if options.horizon_s is not None:
            noun = "step" if tokenizer.horizon == 1 else "steps"
            steps = f"{tokenizer.horizon:,} {noun} at {tokenizer.rate_hz:g} Hz"
            notes.append(f"horizon: {options.horizon_s:g} s are {steps}, {tokenizer.horizon / tokenizer.rate_hz:g} s")
        return notes

    @property
    def most_ids(self) -> int:
        """`input_ids` of the executor's longest row; 0 where there are none."""
        return max(line.most_ids for line in self.written.lines if line.config == EXECUTOR)

    def _about_images(self) -> list[str]:
        notes = []
        options = self.job.options
        for camera in self.job.prepared.layout.cameras:
            uses = [g.cameras[camera.name] for g in self.job.prepared.gathered if camera.name in g.cameras]
            rendered = sorted({use.codec for use in uses if use.is_rendered})
            if rendered:
                how = f"resized to {options.image_size[0]}x{options.image_size[1]} and " if options.image_size else ""
                notes.append(
                    f"{camera.name}: transcoded, frames in {', '.join(rendered)} were decoded, {how}"
                    f"encoded as JPEG of quality {options.jpeg_quality}"
                )
            if camera.color_order == "bgr" and uses:
                notes.append(f"{camera.name}: the recorder had swapped red and blue; it was undone")
        return notes

    def _told(self) -> list[str]:
        """What the sources said, each text once."""
        total: dict[str, int] = {}
        for g in self.job.prepared.gathered:
            for note in g.notes:
                total[note] = total.get(note, 0) + 1
        ranked = sorted(total.items(), key=lambda item: (-item[1], item[0]))
        told = [f"source, episodes: {count:,}: {note}" for note, count in ranked[:MAX_NOTES]]
        return told + ([f"source: {len(ranked) - MAX_NOTES:,} further notes"] if len(ranked) > MAX_NOTES else [])

    @property
    def token_facts(self) -> TokenFacts:
        """What the card says of actions and tokens."""
        layout = self.job.prepared.layout
        return TokenFacts(
            tokenizer=self.job.tokenizer,
            statistics=self.job.prepared.action,
            first_split=next(iter(self.splits)),
            content_digest=self.digest_of(EXECUTOR),
            clipped=self.clipped,
            num_targets=self.num_targets,
            num_codes=sum(line.num_codes for line in self._executor),
            num_rows=sum(line.rows for line in self._executor),
            longest=max(line.longest for line in self._executor),
            loss=self.loss,
            notes=self.notes,
            prompts=self.job.prompts,
            most_ids=self.most_ids,
            state_names=layout.state_names,
            cameras=[c.name for c in layout.cameras],
            recipe=self.job.options.recipe,
            overridden=self.job.options.overridden,
        )


def write_rest(folder: ExportFolder, finished: Finished) -> None:
    """Write everything but the shards; with the manifest, the last, the export is whole."""
    from ._card import make_card

    job = finished.job
    files = tokenizer_files(folder, job.tokenizer, finished.base)
    files |= _statistics_files(finished)
    files[README] = make_card(finished).encode()
    for name, data in files.items():
        write_bytes(folder.path / name, data)
    lines: list[dict[str, object]] = [dataclasses.asdict(line) for line in finished.written.lines]
    for name in files:
        size, sha256 = hash_with_beats(folder.path / name)
        lines.append({"file": name, "size": size, "sha256": sha256})
    folder.finish(_manifest(finished, sorted(lines, key=lambda line: str(line["file"]))))


def tokenizer_files(folder: ExportFolder, tokenizer: ActionTokenizer, base: BaseTokenizer | None) -> dict[str, bytes]:
    """The action tokenizer, and the language model's tokenizer, with new tokens where it got some; by file name."""
    spare = folder.work / "tokenizers"
    shutil.rmtree(spare, ignore_errors=True)
    paths = tokenizer.save(spare / TOKENIZER)
    vocabulary = tokenizer.vocabulary
    if base is not None and vocabulary is not None:
        source = None if base.path is None else base.path.parent
        paths += write_extended(base, vocabulary, spare / TEXT_TOKENIZER, source)
    return {path.relative_to(spare).as_posix(): path.read_bytes() for path in paths}


def _statistics_files(finished: Finished) -> dict[str, bytes]:
    """Statistics in the layouts of openpi and OpenVLA."""
    prepared, tokenizer = finished.job.prepared, finished.job.tokenizer
    first = next(iter(finished.job.options.splits))
    openvla = openvla_layout(
        prepared.layout.embodiment.name,
        prepared.action,
        tokenizer.normalization.mask,
        proprioception=prepared.state,
        num_episodes=finished.splits[first].episodes,
    )
    contents = {"norm_stats.json": openpi_layout(prepared.action, prepared.state), "dataset_statistics.json": openvla}
    return {name: (json.dumps(content, indent=1) + "\n").encode() for name, content in contents.items()}


def _manifest(finished: Finished, files: list[dict[str, object]]) -> bytes:
    job, prepared = finished.job, finished.job.prepared
    head: dict[str, object] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "content_digest": finished.content_digest,
        "dataset_digest": finished.dataset_digest,
        "embodiment": {
            "name": prepared.layout.embodiment.name,
            "version": prepared.layout.embodiment.version,
            "digest": prepared.layout.embodiment.digest,
        },
        "options": job.options.to_dict(),
        "columns": {
            "action": list(job.tokenizer.names),
            "state": list(prepared.layout.state_names),
            "cameras": [c.name for c in prepared.layout.cameras],
        },
        "tokenizer_digest": job.tokenizer.digest,
        "prompt": {**job.prompts.to_dict(), "most_ids": finished.most_ids},
        "splits": {name: dataclasses.asdict(split) for name, split in finished.splits.items()},
        "configs": {
            config: {
                "content_digest": finished.digest_of(config),
                "splits": {name: dataclasses.asdict(split) for name, split in splits.items()},
            }
            for config, splits in finished.configs.items()
        },
        "texts": text_manifest(job, finished.mixed),
        "num_steps": sum(g.counts.num_steps for g in prepared.gathered),
        "refused": sum_refused(prepared.gathered),
        "left_out": dict(prepared.left_out),
        "not_said": dict(prepared.unsaid),
        "grouping": prepared.grouping.to_dict(),
        "chunks": dataclasses.asdict(total_counts(prepared.gathered)),
        "num_targets": finished.num_targets,
        "clipped": finished.clipped,
        "num_codes": finished.token_facts.num_codes,
        "longest": finished.token_facts.longest,
        "loss": finished.loss.to_dict(),
        "notes": list(finished.notes),
        "versions": package_versions(),
        "rendered": dict(finished.written.rendered),
    }
    return manifest_bytes({**head, "files": files, "episodes": _lineage(finished)})


def manifest_bytes(content: Mapping[str, object]) -> bytes:
    """The manifest as a file: one line for each key, file and episode, to be compared by people as well."""
    lists = {k: content[k] for k in ("files", "episodes")}
    head = {k: v for k, v in content.items() if k not in lists}
    parts = [f'"{k}":{canonical_json(v)}' for k, v in head.items()]
    parts += [
        f'"{k}":[\n' + ",\n".join(map(canonical_json, v)) + "\n]" for k, v in lists.items() if isinstance(v, list)
    ]
    return ("{" + ",\n".join(parts) + "}\n").encode("utf-8", "replace")


def _lineage(finished: Finished) -> list[dict[str, object]]:
    """From source files over episodes to shards."""
    prepared = finished.job.prepared
    shards: dict[int, list[str]] = {}
    for shard in finished.written.shards:
        for index in dict.fromkeys(p.episode_index for p in shard.pieces if p.episode_index != EXTERNAL):
            shards.setdefault(index, []).append(shard.file)
    rows: list[dict[str, object]] = []
    for index, (source, g) in enumerate(zip(prepared.sources, prepared.gathered, strict=True)):
        entry = source.entry
        rows.append(
            {
                "episode_index": index,
                "episode_id": entry.episode_id,
                "recording_id": entry.recording_id,
                "content_digest": entry.content_digest,
                "source": entry.source,
                "place": printable(entry.place),
                "source_files": [_safe(f) for f in g.source_files],
                "episode_sha256": entry.sha256,
                "edits": [e.number for e in source.edits],
                "split": prepared.splits[index],
                "group": prepared.grouping.groups[index],
                "rows": g.num_rows,
                "text_rows": {config: counts.num_rows for config, counts in g.texts.items()},
                "refused": dict(sorted(g.refused.items())),
                "shards": shards.get(index, []),
            }
        )
    return rows


def _safe(file: Mapping[str, object]) -> dict[str, object]:
    return {k: printable(v) if isinstance(v, str) else v for k, v in file.items()}
