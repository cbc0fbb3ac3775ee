"""Write one shard of `planner` or `vqa`: rows of episodes, and of others' data between them, as one Parquet file."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..documents import canonical_json
from ..episode import Episode
from ..errors import ExportError
from ..images import decode, encode_jpeg, resize
from ..store.writer import replace_file
from ..workers import beat
from ._external import EPISODES, ExternalRow, read_image, spoken_by
from ._frames import Part, RenderedFrames
from ._gather import EpisodeSource, stream_of
from ._options import ExportOptions, ImageOptions
from ._parquet import ShardWriter
from ._plan import EXTERNAL, PlannedShard
from ._rows import Layout
from ._schema import IMAGES
from ._shard import GROUP_BYTES, ShardFacts
from ._text_rows import PLANNER, TextRow, text_rows, vqa_cameras
from ._wording import Spoken, Worded, Wording

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["TextUnit", "external_columns", "external_image", "picture_columns", "write_text_shard"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextUnit:
    """Everything that one shard needs."""

    out: Path
    shard: PlannedShard
    schema: bytes
    """The Arrow schema, serialized."""
    layout: Layout
    options: ExportOptions
    sources: Mapping[int, EpisodeSource]
    """By episode index."""
    parts: Mapping[int, tuple[Part, ...]]
    """Frames that were encoded anew, by episode index."""
    parts_folder: Path
    external: tuple[ExternalRow, ...]
    """Rows of others' data, in order."""
    roots: Mapping[str, Path]
    """Folders of others' data, by source."""
    wording: Wording


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """A row that is about to be written."""

    columns: Mapping[str, object]
    spoken: Spoken
    pictures: tuple[bytes, ...]
    """One for each name in `spoken.images`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Loaded:
    """One episode of a shard, and where its frames come from."""

    unit: TextUnit
    index: int
    episode: Episode

    @cached_property
    def rows(self) -> tuple[TextRow, ...]:
        unit = self.unit
        return text_rows(unit.shard.config, self.episode, unit.layout, unit.options).rows

    @cached_property
    def _rendered(self) -> dict[str, RenderedFrames]:
        by_camera: dict[str, list[Part]] = {}
        for part in self.unit.parts.get(self.index, ()):
            by_camera.setdefault(part.camera, []).append(part)
        return {name: RenderedFrames(self.unit.parts_folder, parts) for name, parts in by_camera.items()}

    def picture(self, camera: str, step: int) -> bytes:
        """The encoded image of a camera at a step, as the executor's rows have it."""
        index = int(self.episode.steps.images[camera][step])
        rendered = self._rendered.get(camera)
        if rendered is None:
            return bytes(stream_of(self.episode, camera).frames.read(index))
        place = int(rendered.position(np.array([index]))[0])
        return rendered.read_range(place, place + 1)[0]


def write_text_shard(unit: TextUnit) -> ShardFacts:
    """Write a shard; runs in a worker.

    Raises:
        ExportError: An episode, or others' data, is not as it was when the export was planned.
        EpisodeFormatError: An episode or a frame is damaged.
        TokenizeError: A text would be read as a token.
        OSError: The disk is full, or can't be written.
    """
    import pyarrow as pa

    path = unit.out / unit.shard.file
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = pa.ipc.read_schema(pa.py_buffer(unit.schema))
    pictures = picture_columns(unit.shard.config, unit.layout)
    lengths: list[int] = []
    with replace_file(path) as temporary, ShardWriter(temporary, schema, pictures) as writer:
        for group in _row_groups(unit):
            worded = unit.wording.word([e.spoken for e in group])
            lengths += [len(w.input_ids) for w in worded]
            writer.write(_table(unit, group, worded, schema))
            beat()
        written = writer.close()
    return ShardFacts(
        num_rows=unit.shard.num_rows,
        num_bytes=written.size,
        sha256=written.sha256,
        num_targets=0,
        num_clipped=(),
        num_codes=0,
        longest=0,
        most_ids=max(lengths),
        most_ids_row=lengths.index(max(lengths)),
        num_long=sum(n > unit.options.max_tokens for n in lengths) if unit.options.max_tokens else 0,
    )


def picture_columns(config: str, layout: Layout) -> list[str]:
    """Columns of encoded images, as the shard writer names them."""
    return [IMAGES + c.name for c in layout.cameras] if config == PLANNER else ["images.list.element"]


def _row_groups(unit: TextUnit) -> Iterator[list[_Entry]]:
    group: list[_Entry] = []
    held = 0
    for entry in _entries(unit):
        size = sum(map(len, entry.pictures))
        if group and (len(group) == unit.options.row_group_rows or held + size > GROUP_BYTES):
            yield group
            group, held = [], 0
        group.append(entry)
        held += size
    if group:
        yield group


def _entries(unit: TextUnit) -> Iterator[_Entry]:
    """All rows, others' data spread evenly between those of the episodes."""
    others = iter(unit.external)
    own = _of_episodes(unit)
    total, count = unit.shard.num_rows, len(unit.external)
    for place in range(total):
        if (place + 1) * count // total > place * count // total:
            row = next(others)
            data = external_image(row, unit.roots[row.source], unit.options.images)
            pictures = () if data is None else (data,)
            yield _Entry(columns=external_columns(row), spoken=spoken_by(row), pictures=pictures)
        else:
            yield next(own)


def _of_episodes(unit: TextUnit) -> Iterator[_Entry]:
    for piece in unit.shard.pieces:
        if piece.episode_index == EXTERNAL:
            continue
        index = piece.episode_index
        loaded = _Loaded(unit=unit, index=index, episode=unit.sources[index].read(is_gated=True))
        if piece.stop > len(loaded.rows):
            raise ExportError(
                f"{unit.sources[index].entry.place} has {len(loaded.rows)} rows of {unit.shard.config}, {piece.stop} "
                "were planned; the dataset changed during the export, run it again"
            )
        for row in loaded.rows[piece.start : piece.stop]:
            yield _entry(loaded, row)


def _entry(loaded: _Loaded, row: TextRow) -> _Entry:
    layout, config = loaded.unit.layout, loaded.unit.shard.config
    cameras = tuple(c.name for c in layout.cameras) if config == PLANNER else vqa_cameras(layout)
    steps = loaded.episode.steps
    columns: dict[str, object] = {
        "episode_index": loaded.index,
        "episode_id": loaded.episode.episode_id,
        "step_index": row.step,
        "timestamp": float(steps.time_ns[row.step] - steps.time_ns[0]) / 1e9,
        **row.columns,
    }
    if config == PLANNER:
        if layout.state:
            state = np.concatenate([steps.proprioception[s.name][row.step] for s in layout.state])
            columns["observation.state"] = state.astype(np.float32).tolist()
    else:
        columns |= {"source": EPISODES, "cameras": list(cameras)}
    return _Entry(
        columns=columns,
        spoken=Spoken(turns=((row.fields, row.target),), images=cameras),
        pictures=tuple(loaded.picture(c, row.step) for c in cameras),
    )


# Others' data -------------------------------------------------------------------------------------------------------


def external_columns(row: ExternalRow) -> dict[str, object]:
    """Columns of a row of others' data; it has no episode, and its image no camera."""
    evidence = {"row": row.name, "turns": len(row.turns) // 2, "image_sha256": row.image_sha256}
    return {
        "source": row.source,
        "kind": "conversation",
        "question": row.turns[-2][1],
        "answer": row.turns[-1][1],
        "evidence": canonical_json(evidence),
        "cameras": [""] if row.image is not None else [],
    }


def external_image(row: ExternalRow, root: Path, images: ImageOptions) -> bytes | None:
    """The image of a row as it is written: byte for byte, or resized as the cameras' are.

    Raises:
        ExportError: It is not as it was when it was chosen.
    """
    if row.image is None:
        return None
    data = read_image(row, root)
    if images.size is None:
        return data
    return encode_jpeg(resize(decode(data), images.size[0], images.size[1], images.resize), images.jpeg_quality)


# Columns ------------------------------------------------------------------------------------------------------------


def _table(
    unit: TextUnit, group: Sequence[_Entry], worded: Sequence[Worded], schema: "pa.Schema"
) -> "dict[str, pa.Array]":
    import pyarrow as pa

    rows = [{**e.columns, **w.columns} for e, w in zip(group, worded, strict=True)]
    pictures = [[{"bytes": p, "path": None} for p in e.pictures] for e in group]
    columns: dict[str, list[object]] = {}
    for name in schema.names:
        columns[name] = [row.get(name) for row in rows]
    if unit.shard.config == PLANNER:
        for number, camera in enumerate(unit.layout.cameras):
            columns[IMAGES + camera.name] = [p[number] for p in pictures]
    else:
        columns["images"] = list(pictures)
    return {name: pa.array(values, type=schema.field(name).type) for name, values in columns.items()}
