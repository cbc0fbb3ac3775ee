"""Compare a shard of `planner` or `vqa` with the episodes that it was made from, row by row; runs in a worker."""

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..documents import canonical_json
from ..episode import Episode
from ..errors import ImageError
from ..images import probe
from ..prompts._render import IGNORED
from ..text import clip, printable
from ..workers import beat
from ._compare import Problems, row_groups, shows_the_same
from ._external import EPISODES, ExternalRow, spoken_by
from ._folder import hash_with_beats
from ._frames import frame_encoder
from ._gather import EpisodeSource, must_render, stream_of
from ._options import ExportOptions
from ._rows import Layout
from ._schema import IMAGES
from ._text_rows import PLANNER, TextRow, text_rows, vqa_cameras
from ._text_shard import external_columns
from ._wording import Spoken, Wording

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["CompareTextUnit", "ComparedText", "compare_text_shard", "described"]

Row = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareTextUnit:
    """One shard to re-read."""

    out: Path
    file: str
    size: int
    sha256: str
    config: str
    layout: Layout
    options: ExportOptions
    is_same_software: bool
    """Whether the codecs are those of the export, so that encoding again gives equal bytes."""
    sources: Mapping[int, EpisodeSource]
    """By episode index; those that this shard should hold."""
    wording: Wording
    """The template, without a tokenizer."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ComparedText:
    """What a shard held."""

    steps: NDArray[np.int64]
    """Episode index of each row of an episode, and its place among the rows that the episode gives, [R, 2]."""
    problems: tuple[str, ...]
    others: tuple[str, ...] = ()
    """Rows of others' data as `described` has them, in order."""
    images: tuple[str, ...] = ()
    """SHA-256 of their images as they were chosen."""


def compare_text_shard(unit: CompareTextUnit) -> ComparedText:
    """Re-read a shard.

    Raises:
        EpisodeFormatError: An episode is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    problems = Problems(unit.file)
    path = unit.out / unit.file
    if not path.is_file():
        return ComparedText(steps=np.zeros((0, 2), dtype=np.int64), problems=(f"{unit.file}: missing",))
    if hash_with_beats(path) != (unit.size, unit.sha256):
        problems.add(None, "sha256", "its size or SHA-256 differ from the manifest's")
    run = _Run(unit=unit, problems=problems)
    try:
        with pq.ParquetFile(path) as file:
            for first, table in row_groups(file):
                run.compare(first, table)
                beat()
    except (pa.ArrowException, OSError, LookupError, TypeError, ValueError, AttributeError) as error:
        problems.add(None, "file", f"can't be read: {clip(printable(str(error)), 200)}")
    steps = np.array(run.steps, dtype=np.int64).reshape(-1, 2)
    return ComparedText(
        steps=steps, problems=problems.all(), others=tuple(run.others), images=tuple(dict.fromkeys(run.images))
    )


def described(row: ExternalRow, wording: Wording) -> str:
    """What a row of others' data must say, its image apart."""
    (worded,) = wording.word([spoken_by(row)])
    return _description({**external_columns(row), **worded.columns})


def _description(columns: Mapping[str, object]) -> str:
    names = ("source", "kind", "question", "answer", "evidence", "prompt", "completion", "target")
    return canonical_json([columns.get(n) for n in names])


@dataclass(kw_only=True, eq=False)
class _Run:
    """One pass over a shard."""

    unit: CompareTextUnit
    problems: Problems
    steps: list[tuple[int, int]] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    open: "_Opened | None" = None
    """The episode of the last row."""

    def compare(self, first: int, table: "pa.Table") -> None:
        for number, row in enumerate(table.to_pylist(), start=first):
            index = row.get("episode_index")
            if self.unit.config != PLANNER and row["source"] != EPISODES:
                self._compare_other(number, row)
            elif not isinstance(index, int) or index not in self.unit.sources:
                self.problems.add(number, "episode_index", f"{index} is no episode of this shard")
            else:
                if self.open is None or self.open.index != index:
                    self.open = _Opened(unit=self.unit, index=index, episode=self.unit.sources[index].read())
                self._compare_own(number, row, self.open)
            beat()

    def _compare_own(self, number: int, row: Row, opened: "_Opened") -> None:
        place = opened.place_of(row)
        if isinstance(place, str):
            self.problems.add(number, place, f"{row.get(place)!r} is not what the episode gives")
            return
        self.steps.append((opened.index, place))
        wanted = opened.rows[place]
        for column, value in opened.columns(wanted).items():
            if row.get(column) != value:
                self.problems.add(number, column, f"{row.get(column)!r}; the episode gives {value!r}")
        self._compare_words(number, row, Spoken(turns=((wanted.fields, wanted.target),), images=opened.cameras))
        for camera, data in opened.pictures(row):
            if not opened.is_shown(camera, wanted.step, data):
                self.problems.add(number, IMAGES + camera, f"differs from the image of {camera} at step {wanted.step}")

    def _compare_words(self, number: int, row: Row, spoken: Spoken) -> None:
        (worded,) = self.unit.wording.word([spoken])
        for column in ("prompt", "completion", "target"):
            stored, value = row.get(column), worded.columns[column]
            if stored != value:
                self.problems.add(number, column, f"{stored!r}; must be {value!r}")
        self._compare_ids(number, row)

    def _compare_ids(self, number: int, row: Row) -> None:
        ids, labels, mask = (row.get(n) for n in ("input_ids", "labels", "loss_mask"))
        if ids is None and labels is None:
            return
        is_right = isinstance(ids, list) and isinstance(mask, list) and len(ids) == len(mask) and any(mask)
        if is_right and isinstance(ids, list) and isinstance(mask, list):
            is_right = labels == [i if carries else IGNORED for i, carries in zip(ids, mask, strict=True)]
        if not is_right:
            self.problems.add(number, "labels", "must be -100 where loss_mask is false, else as input_ids")

    def _compare_other(self, number: int, row: Row) -> None:
        """A row of others' data against itself; against its source elsewhere."""
        external = self.unit.options.vqa.external if self.unit.options.vqa is not None else ()
        if row["source"] not in {e.name for e in external}:
            self.problems.add(number, "source", f"{row['source']!r} is not declared")
        if any(row[n] is not None for n in ("episode_index", "episode_id", "step_index", "timestamp")):
            self.problems.add(number, "episode_index", "a row of others' data must have no episode")
        pictures = row["images"]
        sha256 = json.loads(str(row["evidence"])).get("image_sha256")
        if isinstance(pictures, list) and bool(pictures) != bool(sha256):
            self.problems.add(number, "images", f"{len(pictures)} images; evidence says {sha256 or 'none'}")
        for picture in pictures if isinstance(pictures, list) else ():
            self._compare_picture(number, picture["bytes"], sha256)
        self._compare_ids(number, row)
        self.images += [sha256] if sha256 else []
        self.others.append(_description(row))

    def _compare_picture(self, number: int, data: bytes, sha256: str) -> None:
        size = self.unit.options.image_size
        if size is None:
            if hashlib.sha256(data).hexdigest() != sha256:
                self.problems.add(number, "images", "the image's SHA-256 is not that of the evidence")
            return
        try:
            info = probe(data)
        except ImageError as error:
            self.problems.add(number, "images", str(error))
            return
        if (info.height, info.width) != size:
            self.problems.add(number, "images", f"{info.height}x{info.width}; must be {size[0]}x{size[1]}")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Opened:
    """An episode whose rows are made again."""

    unit: CompareTextUnit
    index: int
    episode: Episode

    @cached_property
    def rows(self) -> tuple[TextRow, ...]:
        return text_rows(self.unit.config, self.episode, self.unit.layout, self.unit.options).rows

    @cached_property
    def _by_key(self) -> dict[str, int]:
        return {row.key: n for n, row in enumerate(self.rows)}

    @cached_property
    def cameras(self) -> tuple[str, ...]:
        layout = self.unit.layout
        return tuple(c.name for c in layout.cameras) if self.unit.config == PLANNER else vqa_cameras(layout)

    def place_of(self, row: Row) -> int | str:
        """Place of a stored row among those of the episode; where there is none, the column that is wrong."""
        names = tuple(self.rows[0].columns) if self.rows else ()
        stored = TextRow(
            step=row["step_index"],  # type: ignore[arg-type]  # compared as it is
            columns={n: row.get(n) for n in names},
            fields={},
            target=str(row.get("target")),
            group="",
        )
        place = self._by_key.get(stored.key)
        if place is not None:
            return place
        near = [r for r in self.rows if r.step == stored.step]
        if not near:
            return "step_index"
        best = max(near, key=lambda r: sum(r.columns[n] == stored.columns[n] for n in names))
        return next((n for n in names if best.columns[n] != stored.columns[n]), "target")

    def columns(self, row: TextRow) -> Row:
        """What else the row must hold."""
        steps, layout = self.episode.steps, self.unit.layout
        columns: Row = {
            "episode_id": self.episode.episode_id,
            "timestamp": float(steps.time_ns[row.step] - steps.time_ns[0]) / 1e9,
        }
        if self.unit.config != PLANNER:
            return {**columns, "cameras": list(self.cameras)}
        if layout.state:
            values = itertools.chain.from_iterable(steps.proprioception[s.name][row.step] for s in layout.state)
            columns["observation.state"] = [float(np.float32(v)) for v in values]
        return columns

    def pictures(self, row: Row) -> Iterator[tuple[str, bytes]]:
        """Camera and stored image of each; an empty one where it is missing."""
        stored: Sequence[object]
        if self.unit.config == PLANNER:
            stored = [row[IMAGES + c] for c in self.cameras]
        else:
            images = row["images"]
            stored = images if isinstance(images, list) else []
        for camera, picture in itertools.zip_longest(self.cameras, stored):
            yield camera or "no camera", picture["bytes"] if isinstance(picture, dict) else b""

    def is_shown(self, camera: str, step: int, data: bytes) -> bool:
        """Whether an image is what the camera showed at a step."""
        if camera not in self.episode.steps.images:
            return False
        stream = stream_of(self.episode, camera)
        index = int(self.episode.steps.images[camera][step])
        images = self.unit.options.images
        if not must_render(self.episode, stream, images):
            return data == bytes(stream.frames.read(index))
        wanted = frame_encoder(self.episode, camera, images)(index)
        return data == wanted or (not self.unit.is_same_software and shows_the_same(data, wanted))
