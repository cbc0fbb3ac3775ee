"""Compare a shard with the episodes that it was made from, row by row; runs in a worker."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..action_tokenizer import ActionTokenizer
from ..episode import Episode
from ..errors import ImageError, TokenizeError
from ..images import decode
from ..text import clip, printable
from ..tokenizers import TokenRows
from ..tokenizers._bins import code_rows
from ..workers import beat
from ._folder import hash_with_beats
from ._frames import frame_encoder
from ._gather import EpisodeSource, must_render, stream_of
from ._options import ImageOptions
from ._prompts import Prompts, RowFacts, prompt_columns
from ._rows import EpisodeRows, Layout, rows_of
from ._schema import IMAGES

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

__all__ = ["CompareUnit", "Compared", "Problems", "column_values", "compare_shard", "row_groups", "shows_the_same"]

MAX_PROBLEMS = 20
"""Of one shard; a damaged file would have one for each row."""
CLOSE = 4.0
"""Largest mean difference of pixels, of 255, between frames that other versions of the codecs encoded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareUnit:
    """One shard to re-read."""

    out: Path
    file: str
    size: int
    sha256: str
    layout: Layout
    images: ImageOptions
    is_same_software: bool
    """Whether the codecs are those of the export, so that encoding again gives equal bytes."""
    sources: Mapping[int, EpisodeSource]
    """By episode index; those that this shard should hold."""
    prompts: Prompts
    """What makes the columns of prompts and ids again."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Compared:
    """What a shard held."""

    steps: NDArray[np.int64]
    """Episode index and step of each row, in order, [R, 2]."""
    problems: tuple[str, ...]


class Problems:
    """Differences, each with file, row and column."""

    def __init__(self, file: str) -> None:
        """Begin with a shard."""
        self._file = file
        self.found: list[str] = []
        self.count = 0

    def add(self, row: int | None, column: str, text: str) -> None:
        """Note a difference."""
        self.count += 1
        if self.count <= MAX_PROBLEMS:
            where = "" if row is None else f"row {row}: "
            self.found.append(f"{self._file}: {where}{column}: {clip(printable(text), 200)}")

    def compare(self, column: str, first: int, stored: NDArray[np.generic], expected: NDArray[np.generic]) -> None:
        """Compare numbers, [R, …], bit by bit."""
        if stored.shape != expected.shape:
            self.add(first, column, f"shape {list(stored.shape)}; must be {list(expected.shape)}")
            return
        different = np.argwhere(~((stored == expected) | ((stored != stored) & (expected != expected))))
        for place in different[:MAX_PROBLEMS]:
            at = tuple(int(i) for i in place)
            inner = f"[{', '.join(map(str, at[1:]))}]" if len(at) > 1 else ""
            self.add(first + at[0], f"{column}{inner}", f"{stored[at]}; the episode gives {expected[at]}")
        self.count += max(0, len(different) - MAX_PROBLEMS)

    def compare_rows(self, column: str, first: int, stored: TokenRows, expected: TokenRows) -> None:
        """Compare rows of different lengths."""
        for row in range(len(expected)):
            one, other = stored[row], expected[row]
            if len(one) != len(other):
                self.add(first + row, column, f"{len(one)} values; the episode gives {len(other)}")
            elif (one != other).any():
                at = int(np.flatnonzero(one != other)[0])
                self.add(first + row, f"{column}[{at}]", f"{one[at]}; the episode gives {other[at]}")

    def all(self) -> tuple[str, ...]:
        """What was found, clipped; one line each."""
        hidden = self.count - len(self.found)
        return (*self.found, *([f"{self._file}: {hidden:,} further differences"] if hidden > 0 else []))


def compare_shard(unit: CompareUnit) -> Compared:
    """Re-read a shard.

    Raises:
        EpisodeFormatError: An episode is damaged.
        TokenizeError: The action tokenizer was altered.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    problems = Problems(unit.file)
    path = unit.out / unit.file
    if not path.is_file():
        return Compared(steps=np.zeros((0, 2), dtype=np.int64), problems=(f"{unit.file}: missing",))
    size, sha256 = hash_with_beats(path)
    if size != unit.size:
        problems.add(None, "size", f"{size:,} bytes; the manifest says {unit.size:,}")
    elif sha256 != unit.sha256:
        problems.add(None, "sha256", "differs from the manifest's")
    tokenizer = ActionTokenizer.load(unit.out / "action_tokenizer")
    steps = [np.zeros((0, 2), dtype=np.int64)]
    first = 0
    try:
        with pq.ParquetFile(path) as file:
            for first, table in row_groups(file):
                steps.append(_compare_group(unit, tokenizer, problems, (first, table)))
                beat()
    except (pa.ArrowException, OSError, KeyError) as error:
        problems.add(None, "file", f"row group at row {first} can't be read: {error}")
    return Compared(steps=np.concatenate(steps), problems=problems.all())


def row_groups(file: "pq.ParquetFile") -> "Iterator[tuple[int, pa.Table]]":
    """Row groups, each with the number of its first row."""
    first = 0
    for index in range(file.num_row_groups):
        table = file.read_row_group(index, use_threads=False)
        yield first, table
        first += table.num_rows


def _compare_group(
    unit: CompareUnit, tokenizer: ActionTokenizer, problems: Problems, group: "tuple[int, pa.Table]"
) -> NDArray[np.int64]:
    """Compare the rows of a row group, one episode after the other; episode index and step of each."""
    first, table = group
    indices = column_values(table, "episode_index", ())
    step = column_values(table, "step_index", ())
    starts = [0, *(np.flatnonzero(np.diff(indices)) + 1).tolist(), len(indices)] if len(indices) else [0]
    for a, b in itertools.pairwise(starts):
        source = unit.sources.get(int(indices[a]))
        if source is None:
            problems.add(first + a, "episode_index", f"{indices[a]} is no episode of this shard")
            continue
        episode = source.read()
        rows = rows_of(episode, unit.layout)
        place = np.searchsorted(rows.step, step[a:b])
        known = place < len(rows)
        known[known] = rows.step[place[known]] == step[a:b][known]
        if not known.all():
            bad = int(np.flatnonzero(~known)[0])
            problems.add(first + a + bad, "step_index", f"{step[a + bad]} is no row of {source.entry.place}")
            continue
        run = _Run(
            unit=unit,
            episode=episode,
            rows=rows,
            place=place,
            table=table.slice(a, b - a),
            first=first + a,
            problems=problems,
        )
        run.compare_numbers()
        run.compare_tokens(tokenizer)
        run.compare_prompts(tokenizer)
        for camera in unit.layout.cameras:
            run.compare_images(camera.name)
    return np.stack([indices, step], axis=1).astype(np.int64)


def column_values(table: "pa.Table", column: str, shape: tuple[int, ...]) -> NDArray[np.generic]:
    """A column of numbers or nested lists as an array, [R, *shape]; lists of other lengths raise KeyError."""
    import pyarrow as pa

    array = table.column(column).combine_chunks()
    count = len(array)
    for _ in shape:
        array = array.flatten()
    if pa.types.is_nested(array.type) or len(array) != count * int(np.prod(shape)) or array.null_count:
        raise KeyError(f"{column} is not [{count}, {', '.join(map(str, shape))}]")
    values: NDArray[np.generic] = array.to_numpy(zero_copy_only=False)
    return values.reshape(count, *shape)


def _id_rows(table: "pa.Table", column: str) -> TokenRows:
    array = table.column(column).combine_chunks()
    offsets = array.offsets.to_numpy().astype(np.int64)
    values = array.values.to_numpy(zero_copy_only=False).astype(np.int64)
    return TokenRows(values=values[offsets[0] : offsets[-1]], offsets=offsets - offsets[0])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Run:
    """Neighbouring rows of one episode in one row group."""

    unit: CompareUnit
    episode: Episode
    rows: EpisodeRows
    place: NDArray[np.int64]
    """Row of the episode behind each row."""
    table: "pa.Table"
    first: int
    """Row of the shard."""
    problems: Problems

    def compare_numbers(self) -> None:
        """State, action, chunk, time and texts; state and action straight from the episode's steps."""
        layout, steps, place = self.unit.layout, self.episode.steps, self.place
        at = self.rows.step[place]
        dims, horizon = len(layout.representation.dimensions), layout.rule.horizon
        expected: dict[str, tuple[NDArray[np.generic], tuple[int, ...]]] = {
            "timestamp": ((steps.time_ns[at] - steps.time_ns[0]) / 1e9, ()),
            "action": (np.concatenate([steps.action[s.name][at] for s in layout.action], axis=1), (dims,)),
            "action_chunk": (self.rows.chunks[place].astype(np.float32), (horizon, dims)),
            "action_is_pad": (self.rows.is_pad[place], (horizon,)),
        }
        if layout.state:
            state = np.concatenate([steps.proprioception[s.name][at] for s in layout.state], axis=1)
            expected["observation.state"] = (state, (state.shape[1],))
        for column, (values, shape) in expected.items():
            self.problems.compare(column, self.first, column_values(self.table, column, shape), values)
        texts = {"episode_id": [self.episode.episode_id] * len(place)}
        texts |= {"task": [self.rows.tasks[p] for p in place], "subtask": [self.rows.subtasks[p] for p in place]}
        for column, words in texts.items():
            for row, (stored, wanted) in enumerate(zip(self.table.column(column).to_pylist(), words, strict=True)):
                if stored != wanted:
                    self.problems.add(self.first + row, column, f"{stored!r}; the episode gives {wanted!r}")

    def compare_tokens(self, tokenizer: ActionTokenizer) -> None:
        """Codes against the chunk beside them: equal to encoding it again, and decoding within the stated error."""
        chunks = column_values(self.table, "action_chunk", (tokenizer.horizon, tokenizer.dims)).astype(np.float64)
        codes = _id_rows(self.table, "action_codes")
        self.problems.compare_rows("action_codes", self.first, codes, code_rows(tokenizer.encode_represented(chunks)))
        try:
            decoded = tokenizer.decode_represented(codes)
        except TokenizeError as error:
            self.problems.add(self.first, "action_codes", f"can't be decoded: {error}")
            return
        error_bound, error_found = tokenizer.error_bound(chunks), np.abs(decoded - chunks)
        beyond = np.argwhere((error_found > error_bound) & ~tokenizer.is_clipped(chunks))
        for row, h, d in beyond[:MAX_PROBLEMS]:
            text = f"decodes {error_found[row, h, d]:g} off; at most {error_bound[row, h, d]:g}"
            self.problems.add(self.first + int(row), f"action_codes[{h}, {d}]", text)

    def compare_prompts(self, tokenizer: ActionTokenizer) -> None:
        """Prompts, targets, ids, labels and masks: equal to making them again of the episode's rows."""
        prompts, rows, place = self.unit.prompts, self.rows, self.place
        facts = RowFacts(
            tasks=[rows.tasks[p] for p in place],
            subtasks=[rows.subtasks[p] for p in place],
            state=rows.state[place] if self.unit.layout.state else None,
            is_pad=rows.is_pad[place],
            codes=code_rows(tokenizer.encode_represented(rows.chunks[place])),
        )
        for column, expected in prompt_columns(prompts, facts).items():
            if isinstance(expected, TokenRows):
                self.problems.compare_rows(column, self.first, _id_rows(self.table, column), expected)
                continue
            stored = self.table.column(column).to_pylist()
            for row, (found, wanted) in enumerate(zip(stored, expected, strict=True)):
                if found != wanted:
                    self.problems.add(self.first + row, column, f"{found!r}; the episode gives {wanted!r}")

    def compare_images(self, camera: str) -> None:
        """Frames against the episode's: equal bytes where they were passed through or can be encoded again."""
        column = IMAGES + camera
        stored = self.table.column(column).combine_chunks().field("bytes")
        stream = stream_of(self.episode, camera)
        shown = self.episode.steps.images[camera][self.rows.step[self.place]]
        is_rendered = must_render(self.episode, stream, self.unit.images)
        make = frame_encoder(self.episode, camera, self.unit.images) if is_rendered else stream.frames.read
        before, wanted = -1, b""
        for row, index in enumerate(shown.tolist()):
            if index != before:
                before, wanted = index, bytes(make(index))
            data = bytes(stored[row].as_buffer()) if stored[row].is_valid else b""
            if data != wanted and not (is_rendered and self._is_close(data, wanted)):
                self.problems.add(self.first + row, column, f"differs from frame {index} of {camera}")
            beat()

    def _is_close(self, data: bytes, wanted: bytes) -> bool:
        """Whether a frame that other software encoded shows the same."""
        return not self.unit.is_same_software and shows_the_same(data, wanted)


def shows_the_same(data: bytes, wanted: bytes) -> bool:
    """Whether two encoded images show about the same."""
    try:
        one, other = decode(data), decode(wanted)
    except ImageError:
        return False
    return one.shape == other.shape and float(np.abs(one.astype(np.float32) - other).mean()) <= CLOSE
