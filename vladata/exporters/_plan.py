"""What goes into which file: frames into parts, rows into shards, decided before anything is written.

Everything here follows from the dataset and the options alone, so that any number of workers writes the same bytes.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TypeVar

from ..actions.chunks import ChunkCounts
from ..documents import canonical_json
from ..text import clip, printable
from ._folder import shard_name
from ._frames import Part, part_name
from ._gather import EpisodeSource, Gathered
from ._options import ExportOptions
from ._rows import Layout

__all__ = [
    "EXTERNAL",
    "IdlePreview",
    "Piece",
    "Plan",
    "PlannedShard",
    "Split",
    "Tokens",
    "count_configs",
    "count_splits",
    "cut_parts",
    "cut_shards",
    "digest",
    "guess_bytes",
    "row_bytes",
    "sum_refused",
    "total_counts",
]

EXTERNAL = -1
"""In place of an episode's index: rows of others' data."""
PART_BYTES = 32_000_000
"""Stored bytes of the frames that one worker encodes anew at a time."""
JPEG_BYTES_PER_PIXEL = 0.4
"""A guess, for frames that are not encoded yet."""
ROW_OVERHEAD = 40
SHOWN = 10
"""Tasks and strata that are printed of many."""

_V = TypeVar("_V")


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Rows of one episode in one shard."""

    episode_index: int
    start: int
    """Rows of the episode in the shard's config, half-open."""
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedShard:
    """One Parquet file."""

    file: str
    split: str
    pieces: tuple[Piece, ...]
    config: str = "executor"

    @property
    def num_rows(self) -> int:
        """Rows of the file."""
        return sum(p.stop - p.start for p in self.pieces)


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One split in numbers."""

    episodes: int
    rows: int
    shards: int
    bytes: int
    """Of its shards; of a plan, about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Tokens per chunk."""

    mean: float
    p99: int
    """99 of 100 chunks have at most so many."""
    longest: int
    chunks: int
    """Rows of all splits."""
    counted: int
    """Chunks that were encoded for this, spread evenly; fewer than all are a sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdlePreview:
    """Steps that are no rows only because nothing moves there."""

    steps: int
    of: int
    """Steps of all episodes."""
    limit: float
    """Share above which the export is refused."""
    tasks: Mapping[str, int]
    """Such steps by task, most first."""
    episodes: tuple[tuple[str, int, int], ...]
    """Place, such steps and all steps of the episodes that lose the largest share."""
    unknown: int
    """Episodes that are too short to be judged, or have nothing that moves; they lose nothing."""

    @property
    def share(self) -> float:
        """Of all steps."""
        return self.steps / max(1, self.of)

    @property
    def is_beyond(self) -> bool:
        """Whether the export is refused."""
        return self.share > self.limit

    @property
    def refusal(self) -> str:
        """Why, in one line."""
        worst = f"; the most idle is {self.episodes[0][0]} with {self.episodes[0][1]:,} of {self.episodes[0][2]:,}"
        return (
            f"the idle filter takes {self.steps:,} of {self.of:,} steps ({self.share:.1%}); it may take at most "
            f"{self.limit:.1%}{worst if self.episodes else ''} (idle.limit sets it, --dry-run shows the rest)"
        )

    def to_dict(self) -> dict[str, object]:
        """As JSON values."""
        return {**asdict(self), "share": self.share, "is_beyond": self.is_beyond}

    def lines(self) -> list[str]:
        """For people."""
        listed = [f"idle: {self.steps:,} of {self.of:,} steps ({self.share:.1%}) are no rows"]
        listed += [f"idle: {count:,} steps of {_task(task)}" for task, count in _first(self.tasks)]
        shown = [f"idle: {printable(place)}: {n:,} of {of:,} steps" for place, n, of in self.episodes]
        unknown = [f"idle: not known of {self.unknown:,} episodes, which lose nothing"] if self.unknown else []
        return listed + shown + unknown + ([f"would be refused: {self.refusal}"] if self.is_beyond else [])


def _task(name: str) -> str:
    return repr(clip(printable(name), 80)) if name else "no task"


def _first(counts: Mapping[str, _V]) -> list[tuple[str, _V]]:
    """The first few of many, as a terminal holds them."""
    return list(counts.items())[:SHOWN]


def _more(counts: Mapping[str, object], what: str) -> list[str]:
    return [f"and {len(counts) - SHOWN:,} more {what}; --json has all"] if len(counts) > SHOWN else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an export would write."""

    splits: Mapping[str, Split]
    """Those of the executor that have rows, by name."""
    files: tuple[str, ...]
    """Shards."""
    steps: int
    """Of all episodes."""
    refused: Mapping[str, int]
    """Steps that are no rows, by reason."""
    left_out: Mapping[str, int]
    """Episodes that are not exported, by reason."""
    empty: tuple[str, ...]
    """Episodes of which no step is a row, by place."""
    episodes: int
    """That are exported."""
    horizon: int
    """Actions per chunk."""
    horizon_s: float
    """Time that a chunk covers."""
    tokenizer: str
    tokens: Tokens
    """Action tokens per chunk."""
    tasks: Mapping[str, int]
    """Rows by task, most first."""
    idle: IdlePreview | None
    """None: steps at which nothing moves are rows."""
    groups: Mapping[str, object]
    """Groups of episodes that never part, in numbers."""
    strata: Mapping[str, Mapping[str, int]]
    """Episodes by stratum and split, the largest stratum first."""
    notes: tuple[str, ...]
    """What a user should know of groups and selection."""
    texts: Mapping[str, Mapping[str, Split]] = field(default_factory=dict)
    """The splits of each config of text that has rows."""

    def to_dict(self) -> dict[str, object]:
        """As JSON values."""
        return {**asdict(self), "idle": self.idle and self.idle.to_dict()}

    def lines(self) -> list[str]:
        """For people."""
        listed = [
            f"{name}: {s.episodes:,} episodes, {s.rows:,} rows, {s.shards:,} shards, about {s.bytes / 1e6:,.1f} MB"
            for name, s in self.splits.items()
        ]
        listed += [
            f"{config}: {name}: {s.episodes:,} episodes, {s.rows:,} rows, {s.shards:,} shards, "
            f"about {s.bytes / 1e6:,.1f} MB"
            for config, splits in self.texts.items()
            for name, s in splits.items()
        ]
        tokens = self.tokens
        if tokens.longest:
            sample = "" if tokens.counted == tokens.chunks else f", counted in {tokens.counted:,} of them"
            listed.append(
                f"tokens: {tokens.mean:,.1f} per chunk on average, 99 % at most {tokens.p99:,}, the longest "
                f"{tokens.longest:,} ({self.tokenizer}, {tokens.chunks:,} chunks of {self.horizon:,} actions in "
                f"{self.horizon_s:.3g} s{sample})"
            )
        listed += [f"task: {count:,} rows: {_task(task)}" for task, count in _first(self.tasks)]
        listed += _more(self.tasks, "tasks")
        listed += [f"refused: {count:,} of {self.steps:,} steps: {reason}" for reason, count in self.refused.items()]
        listed += [f"left out: {count:,} episodes: {reason}" for reason, count in self.left_out.items()]
        listed += [] if self.idle is None else self.idle.lines()
        listed += self.notes
        listed += [
            f"stratum: {printable(clip(name, 80))}: {', '.join(f'{s} {n:,}' for s, n in counts.items())}"
            for name, counts in _first(self.strata)
        ]
        listed += _more(self.strata, "strata")
        return listed + [f"no row: {printable(place)}" for place in self.empty]


def row_bytes(layout: Layout) -> int:
    """Bytes of a row's numbers, before compression, about."""
    dims = len(layout.representation.dimensions)
    return 4 * (len(layout.state_names) + dims + 2 * dims * layout.rule.horizon) + layout.rule.horizon + ROW_OVERHEAD


def guess_bytes(gathered: Gathered, layout: Layout, options: ExportOptions) -> int:
    """Bytes of an episode in its shards, before its frames are encoded anew."""
    total = gathered.num_rows * row_bytes(layout)
    for camera in layout.cameras:
        use = gathered.cameras.get(camera.name)
        if use is None:
            continue
        height, width = options.image_size or (camera.height, camera.width)
        total += round(JPEG_BYTES_PER_PIXEL * height * width) * gathered.num_rows if use.is_rendered else use.num_bytes
    return total


def cut_parts(source: EpisodeSource, gathered: Gathered, options: ExportOptions, versions: object) -> list[Part]:
    """Divide the frames that must be encoded anew; a video's stay together, for they are decoded one after another."""
    parts = []
    content = canonical_json([source.entry.sha256, source.entry.content_digest])
    for camera, use in gathered.cameras.items():
        if not use.is_rendered:
            continue
        begin, held = 0, 0
        for place, size in enumerate(use.sizes.tolist()):
            held += size
            if held >= PART_BYTES or place == len(use.sizes) - 1:
                frames = tuple(use.frames[begin : place + 1].tolist())
                name = part_name(content, camera, frames, options.images, versions)
                parts.append(Part(file=name, camera=camera, frames=frames, input_bytes=held))
                begin, held = place + 1, 0
    return parts


def cut_shards(
    episodes: Sequence[tuple[int, int, int]], split: str, target_bytes: int, config: str = "executor"
) -> list[PlannedShard]:
    """Divide the rows of a split into shards of about equal size; long episodes are cut between rows.

    Args:
        episodes: Index, rows and bytes of each episode, in the dataset's order.
        split: Name of the split.
        target_bytes: Shards are at most about this large.
        config: Whose rows they are.
    """
    total_rows = sum(rows for _, rows, _ in episodes)
    total_bytes = sum(size for _, _, size in episodes)
    count = max(1, min(total_rows, -(-total_bytes // target_bytes)))
    shards: list[list[Piece]] = [[] for _ in range(count)]
    seen = 0
    for index, rows, size in episodes:
        start = 0
        while start < rows:
            # The shard that the row's first byte falls into, and the first row that falls into the next one.
            shard = min(count - 1, (seen + size * start // rows) * count // max(1, total_bytes))
            edge = -(-(shard + 1) * total_bytes // count) - seen
            stop = rows if shard == count - 1 else min(rows, max(start + 1, -(-edge * rows // max(1, size))))
            shards[shard].append(Piece(episode_index=index, start=start, stop=stop))
            start = stop
        seen += size
    filled = [tuple(pieces) for pieces in shards if pieces]  # a row larger than a shard can leave its next one empty
    return [
        PlannedShard(file=shard_name(config, split, i, len(filled)), split=split, pieces=pieces, config=config)
        for i, pieces in enumerate(filled)
    ]


def count_splits(shards: Sequence[PlannedShard], sizes: Mapping[str, int], names: Iterable[str]) -> dict[str, Split]:
    """The splits that shards make up, in the order of `names`; those without rows are left out.

    Args:
        shards: Of all splits of one config.
        sizes: Bytes of each shard by name.
        names: Splits in order.
    """
    result = {}
    for name in names:
        own = [s for s in shards if s.split == name and s.num_rows]
        if own:
            result[name] = Split(
                episodes=len({p.episode_index for s in own for p in s.pieces} - {EXTERNAL}),
                rows=sum(s.num_rows for s in own),
                shards=len(own),
                bytes=sum(sizes[s.file] for s in own),
            )
    return result


def count_configs(
    shards: Sequence[PlannedShard], sizes: Mapping[str, int], names: Iterable[str]
) -> dict[str, dict[str, Split]]:
    """The splits of each config, in the order in which the configs come; those without rows are left out."""
    splits = list(names)
    configs = dict.fromkeys(s.config for s in shards)
    return {c: count_splits([s for s in shards if s.config == c], sizes, splits) for c in configs}


def sum_refused(gathered: Iterable[Gathered]) -> dict[str, int]:
    """Refused steps by reason over all episodes, most first."""
    total: dict[str, int] = {}
    for g in gathered:
        for reason, count in g.refused.items():
            total[reason] = total.get(reason, 0) + count
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))


def digest(value: object) -> str:
    """SHA-256 of a JSON value, hex."""
    return hashlib.sha256(canonical_json(value).encode("utf-8", "surrogatepass")).hexdigest()


def total_counts(gathered: Sequence[Gathered]) -> ChunkCounts:
    """Sum over episodes."""
    total = ChunkCounts()
    for g in gathered:
        total = total + g.counts
    return total
