"""Write one shard: rows of some episodes, with codes and ids, as one Parquet file that is whole or absent."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..action_tokenizer import ActionTokenizer
from ..episode import Episode
from ..errors import ExportError
from ..store.reader import FileFrames
from ..store.writer import replace_file
from ..tokenizers import TokenRows
from ..tokenizers._bins import code_rows
from ..workers import beat
from ._folder import hash_with_beats
from ._frames import FrameRange, Part, RenderedFrames, image_chunks
from ._gather import EpisodeSource, stream_of
from ._parquet import ShardWriter, image_array, matrix_array, rows_array
from ._plan import PlannedShard
from ._prompts import Prompts, RowFacts, prompt_columns, to_arrow
from ._rows import EpisodeRows, Layout, rows_of
from ._schema import IMAGES, image_columns

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ShardFacts", "ShardUnit", "Tally", "is_as_noted", "token_columns", "write_shard"]

GROUP_BYTES = 32_000_000
"""A row group has fewer rows than asked for where its images are larger together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardUnit:
    """Everything that one shard needs."""

    out: Path
    shard: PlannedShard
    schema: bytes
    """The Arrow schema, serialized."""
    layout: Layout
    tokenizer: ActionTokenizer
    sources: Mapping[int, EpisodeSource]
    """By episode index."""
    parts: Mapping[int, tuple[Part, ...]]
    """Frames that were encoded anew, by episode index."""
    parts_folder: Path
    prompts: Prompts
    row_group_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardFacts:
    """What a shard holds."""

    num_rows: int
    num_bytes: int
    sha256: str
    num_targets: int
    """Targets that are not padded."""
    num_clipped: tuple[int, ...]
    """Of them, those outside of what can be coded, by dimension."""
    num_codes: int
    """Of all rows."""
    longest: int
    """Codes of the row that has most."""
    most_ids: int
    """`input_ids` of the longest row; 0 where there are none."""
    most_ids_row: int
    """That row of the shard."""
    num_long: int
    """Rows that have more than they may."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Loaded:
    """Rows of one episode of a shard, and where its frames come from."""

    index: int
    episode: Episode
    rows: EpisodeRows
    codes: TokenRows
    frames: Mapping[str, FrameRange]
    positions: Mapping[str, NDArray[np.integer]]
    """By camera, where each row's frame lies in `frames`, [R]."""


def write_shard(unit: ShardUnit) -> ShardFacts:
    """Write a shard; runs in a worker.

    Raises:
        ExportError: An episode is not as it was when the export was planned.
        EpisodeFormatError: An episode or a frame is damaged.
        OSError: The disk is full, or can't be written.
    """
    import pyarrow as pa

    path = unit.out / unit.shard.file
    schema = pa.ipc.read_schema(pa.py_buffer(unit.schema))
    tally = Tally(len(unit.layout.representation.dimensions))
    with replace_file(path) as temporary, ShardWriter(temporary, schema, image_columns(unit.layout)) as writer:
        for group in _row_groups(unit, tally):
            writer.write(_columns(unit, group, schema, tally))
            beat()
        written = writer.close()
    return ShardFacts(
        num_rows=unit.shard.num_rows,
        num_bytes=written.size,
        sha256=written.sha256,
        num_targets=tally.num_targets,
        num_clipped=tuple(int(n) for n in tally.num_clipped),
        num_codes=tally.num_codes,
        longest=tally.longest,
        most_ids=tally.most_ids,
        most_ids_row=tally.most_ids_row,
        num_long=tally.num_long,
    )


def is_as_noted(path_and_sha256: tuple[Path, str]) -> bool:
    """Whether a shard is there and has a SHA-256; runs in a worker."""
    path, sha256 = path_and_sha256
    return path.is_file() and hash_with_beats(path)[1] == sha256


class Tally:
    """Counts what is clipped, codes, and rows and their ids."""

    def __init__(self, dims: int) -> None:
        """Begin with nothing; D dimensions."""
        self.num_targets = 0
        self.num_clipped = np.zeros(dims, dtype=np.int64)
        self.num_codes = 0
        self.longest = 0
        self.num_rows = self.most_ids = self.most_ids_row = self.num_long = 0

    def add(
        self, tokenizer: ActionTokenizer, chunks: NDArray[np.float64], is_pad: NDArray[np.bool_], codes: TokenRows
    ) -> None:
        """Count chunks [N, H, D] that were encoded; padded targets don't count as clipped."""
        self.num_targets += int((~is_pad).sum())
        self.num_clipped += tokenizer.count_clipped(chunks, is_pad)
        self.num_codes += len(codes.values)
        self.longest = max(self.longest, int(codes.lengths.max(initial=0)))

    def add_ids(self, ids: TokenRows, max_tokens: int | None) -> None:
        lengths = ids.lengths
        if len(lengths) and int(lengths.max()) > self.most_ids:
            self.most_ids, self.most_ids_row = int(lengths.max()), self.num_rows + int(lengths.argmax())
        self.num_long += 0 if max_tokens is None else int((lengths > max_tokens).sum())
        self.num_rows += len(ids)


_Group = list[tuple[_Loaded, int, int]]
"""Rows of episodes, half-open, that make up a row group."""


def _row_groups(unit: ShardUnit, tally: Tally) -> Iterator[_Group]:
    group: _Group = []
    num_rows, num_bytes = 0, 0
    for piece in unit.shard.pieces:
        loaded = _load(unit, piece.episode_index)
        if piece.stop > len(loaded.rows):
            raise ExportError(
                f"{unit.sources[piece.episode_index].entry.place} has {len(loaded.rows)} rows, {piece.stop} were "
                "planned; the dataset changed during the export, run it again"
            )
        own = slice(piece.start, piece.stop)
        codes = loaded.codes.between(piece.start, piece.stop)
        tally.add(unit.tokenizer, loaded.rows.chunks[own], loaded.rows.is_pad[own], codes)
        sizes = _image_bytes(loaded)
        start = piece.start
        for row in range(piece.start, piece.stop):
            size = int(sizes[row])
            if num_rows and (num_rows == unit.row_group_rows or num_bytes + size > GROUP_BYTES):
                if row > start:
                    group.append((loaded, start, row))
                yield group
                group, start, num_rows, num_bytes = [], row, 0, 0
            num_rows, num_bytes = num_rows + 1, num_bytes + size
        group.append((loaded, start, piece.stop))
    if group:
        yield group


def _load(unit: ShardUnit, index: int) -> _Loaded:
    episode = unit.sources[index].read(is_gated=True)
    rows = rows_of(episode, unit.layout)
    frames: dict[str, FrameRange] = {}
    positions: dict[str, NDArray[np.integer]] = {}
    for camera, shown in rows.frames.items():
        parts = [p for p in unit.parts.get(index, ()) if p.camera == camera]
        if parts:
            rendered = RenderedFrames(unit.parts_folder, parts)
            frames[camera], positions[camera] = rendered, rendered.position(shown)
        else:
            frames[camera], positions[camera] = _stored(episode, camera), shown
    return _Loaded(
        index=index,
        episode=episode,
        rows=rows,
        codes=code_rows(unit.tokenizer.encode_represented(rows.chunks)),
        frames=frames,
        positions=positions,
    )


def _stored(episode: Episode, camera: str) -> FrameRange:
    frames = stream_of(episode, camera).frames
    assert isinstance(frames, FileFrames)  # the reader of episode files gives no others
    return frames


def _image_bytes(loaded: _Loaded) -> NDArray[np.int64]:
    total = np.zeros(len(loaded.rows), dtype=np.int64)
    for camera, frames in loaded.frames.items():
        total += frames.sizes[loaded.positions[camera]]
    return total


def _columns(
    unit: ShardUnit, group: _Group, schema: "pa.Schema", tally: Tally
) -> "dict[str, pa.Array | pa.ChunkedArray]":
    import pyarrow as pa

    def numbers(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(e.rows, name)[a:b] for e, a, b in group])

    def texts(values: Iterator[str] | Sequence[str]) -> "pa.Array":
        return pa.array(list(values), type=pa.string())

    counts = [b - a for _, a, b in group]
    codes = TokenRows.joined([e.codes.between(a, b) for e, a, b in group])
    tasks = [t for e, a, b in group for t in e.rows.tasks[a:b]]
    subtasks = [t for e, a, b in group for t in e.rows.subtasks[a:b]]
    columns: dict[str, pa.Array | pa.ChunkedArray] = {
        "episode_index": pa.array(np.repeat(np.array([e.index for e, _, _ in group], dtype=np.int64), counts)),
        "episode_id": texts(e.episode.episode_id for e, a, b in group for _ in range(a, b)),
        "step_index": pa.array(numbers("step")),
        "timestamp": pa.array(numbers("timestamp")),
        "task": texts(tasks),
        "subtask": texts(subtasks),
        "action": matrix_array(numbers("action")),
        "action_chunk": matrix_array(numbers("chunks").astype(np.float32)),
        "action_is_pad": matrix_array(numbers("is_pad")),
    }
    if unit.layout.state:
        columns["observation.state"] = matrix_array(numbers("state"))
    for camera in unit.layout.cameras:
        columns[IMAGES + camera.name] = _images(group, camera.name)
    facts = RowFacts(
        tasks=tasks,
        subtasks=subtasks,
        state=numbers("state") if unit.layout.state else None,
        is_pad=numbers("is_pad"),
        codes=codes,
    )
    return columns | token_columns(unit.prompts, facts, schema, tally)


def token_columns(prompts: Prompts, rows: RowFacts, schema: "pa.Schema", tally: Tally) -> "dict[str, pa.Array]":
    """Codes, prompts and ids of rows as columns of the schema; counted."""
    made = prompt_columns(prompts, rows)
    ids = made.get("input_ids")
    if isinstance(ids, TokenRows):
        tally.add_ids(ids, prompts.max_tokens)
    return {"action_codes": rows_array(rows.codes), **to_arrow(made, schema)}


def _images(group: _Group, camera: str) -> "pa.ChunkedArray":
    import pyarrow as pa

    chunks = [c for e, a, b in group for c in image_chunks(e.frames[camera], e.positions[camera][a:b])]
    kind = image_array(b"", np.zeros(1, dtype=np.int64)).type
    return pa.chunked_array(chunks, type=kind)
