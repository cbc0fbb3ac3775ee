"""Which rows of others' data are mixed into the config `vqa`: a declared share, chosen by hash, none twice.

The split of a row follows from its image's bytes alone, so that an image never lies in two splits, whatever source,
conversation or path it comes with.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ExportError, GateError, ImageError, ImageLimitError, TokenizeError
from ..gate import check_size, inside
from ..images import decode, probe
from ..workers import beat
from ._external_read import Bad, Turn, Unseen, image_root, read_external
from ._options import ExternalData
from ._vqa import place
from ._wording import Spoken, Wording

__all__ = [
    "EPISODES",
    "ChooseUnit",
    "Chosen",
    "ExternalRow",
    "check_external",
    "choose",
    "read_image",
    "spoken_by",
    "wanted_rows",
]

EPISODES = "episodes"
"""The source of rows that come from the dataset itself."""
MAX_IMAGE_BYTES = 32 << 20
SHOWN = 5
"""Refused rows that are named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalRow:
    """A row of others' data that is part of the export."""

    source: str
    name: str
    """Where it stands in the source."""
    key: str
    image: str | None
    image_sha256: str
    """Empty where the row is text alone."""
    num_bytes: int
    turns: tuple[Turn, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChooseUnit:
    """One source to choose from."""

    external: ExternalData
    wanted: Mapping[str, int]
    """Rows by split."""
    splits: Mapping[str, float]
    seed: int
    wording: Wording
    """The template that rows must fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What a source gives."""

    rows: Mapping[str, tuple[ExternalRow, ...]]
    """By split, in the order of a hash."""
    num_read: int
    """Rows that the source has."""
    refused: Mapping[str, int]
    """Rows that were looked at and are none, by reason."""
    examples: tuple[str, ...]
    """The first of them, with their place."""


def check_external(sources: Sequence[ExternalData]) -> None:
    """Refuse what can't be mixed.

    Raises:
        ExportError: A share is not between 0 and 1, shares leave nothing to the episodes, or a name is taken.
    """
    names = [s.name for s in sources]
    for source in sources:
        if not 0 < source.share < 1:
            raise ExportError(f"share of {source.name} is {source.share:g}; it must be more than 0 and less than 1")
        if source.name == EPISODES or not source.name or names.count(source.name) > 1:
            raise ExportError(f"external data is named {source.name!r}; each needs a name of its own, not {EPISODES!r}")
    total = sum(s.share for s in sources)
    if total >= 1:
        raise ExportError(f"shares of external data sum to {total:g}; they must leave a part to the episodes")


def wanted_rows(episode_rows: Mapping[str, int], sources: Sequence[ExternalData]) -> dict[str, dict[str, int]]:
    """Rows by source and split that make up the declared shares of all rows of the split."""
    rest = 1 - sum(s.share for s in sources)
    return {s.name: {split: int(n * s.share / rest + 0.5) for split, n in episode_rows.items()} for s in sources}


def choose(unit: ChooseUnit) -> Chosen:
    """Choose rows of a source; runs in a worker.

    Rows are looked at in the order of a hash until every split has what it wants, so that images that are not needed
    are not read.

    Raises:
        ExportError: The source can't be read.
    """
    root = image_root(unit.external)
    tally = _Tally()
    rows = {split: list[ExternalRow]() for split in unit.wanted}
    for row in _shuffled(unit, tally):
        if all(len(rows[split]) >= n for split, n in unit.wanted.items()):
            break
        try:
            found = _looked_at(row, unit.external.name, root)
            _check_words(found, unit.wording)
        except _Refused as error:
            tally.refuse(row.name, str(error))
            continue
        split = _split_of(found, unit)
        if len(rows.get(split, ())) < unit.wanted.get(split, 0):
            rows[split].append(found)
        beat()
    return Chosen(
        rows={split: tuple(own) for split, own in rows.items()},
        num_read=tally.num_read,
        refused=dict(sorted(tally.refused.items())),
        examples=tuple(tally.examples),
    )


def read_image(row: ExternalRow, root: Path) -> bytes:
    """The encoded image of a chosen row, again.

    Raises:
        ExportError: It is not as it was when it was chosen.
    """
    assert row.image is not None  # rows of text alone have nothing to read
    try:
        data = _bytes(root, row.image)
    except _Refused as error:
        raise ExportError(f"{row.source}: {row.name}: {error}; the data changed during the export") from error
    if hashlib.sha256(data).hexdigest() != row.image_sha256:
        raise ExportError(f"{row.source}: {row.name}: another image than before; the data changed during the export")
    return data


class _Refused(Exception):
    """Why a row's image is refused."""


@dataclass(slots=True, kw_only=True)
class _Tally:
    num_read: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)

    def refuse(self, name: str, reason: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1
        if len(self.examples) < SHOWN:
            self.examples.append(f"{name}: {reason}")


def _shuffled(unit: ChooseUnit, tally: _Tally) -> Iterator[Unseen]:
    """Rows that can be parsed, each once, in the order of a hash."""
    found: dict[str, Unseen] = {}
    for row in read_external(unit.external):
        tally.num_read += 1
        if isinstance(row, Bad):
            tally.refuse(row.name, row.reason)
        elif row.key in found:
            tally.refuse(row.name, "row comes twice")
        else:
            found[row.key] = row
    return iter(sorted(found.values(), key=lambda r: place("external", unit.seed, r.key)))


def _looked_at(row: Unseen, source: str, root: Path) -> ExternalRow:
    data = b"" if row.image is None else _bytes(root, row.image)
    if row.image is not None:
        _check_image(data)
    return ExternalRow(
        source=source,
        name=row.name,
        key=row.key,
        image=row.image,
        image_sha256=hashlib.sha256(data).hexdigest() if data else "",
        num_bytes=len(data),
        turns=row.turns,
    )


def _bytes(root: Path, image: str) -> bytes:
    try:
        path = next((p for p in (inside(root, image), inside(root, f"images/{image}")) if p.exists()), None)
    except GateError as error:
        raise _Refused("image path leaves its folder, or is no plain path") from error
    except OSError as error:
        raise _Refused("image can't be read") from error
    if path is None:
        raise _Refused("image is missing")
    try:
        check_size(path, MAX_IMAGE_BYTES)
        return path.read_bytes()
    except GateError as error:
        raise _Refused(f"image is no regular file of at most {MAX_IMAGE_BYTES:,} bytes") from error
    except OSError as error:
        raise _Refused("image can't be read") from error


def spoken_by(row: ExternalRow) -> Spoken:
    """A conversation as turns of a template."""
    pairs = zip(row.turns[::2], row.turns[1::2], strict=True)
    turns = tuple(({"question": question}, answer) for (_, question), (_, answer) in pairs)
    return Spoken(turns=turns, images=("image",) if row.image is not None else ())


def _check_words(row: ExternalRow, wording: Wording) -> None:
    if len(row.turns) > 2 and not wording.is_chat:
        raise _Refused("several turns need a prompt of messages")
    try:
        wording.word([spoken_by(row)])
    except TokenizeError as error:
        raise _Refused("text would be read as a token") from error


def _check_image(data: bytes) -> None:
    try:
        info = probe(data)
    except ImageLimitError as error:
        raise _Refused("image declares too many pixels") from error
    except ImageError as error:
        raise _Refused("image is neither JPEG nor PNG, or its header is damaged") from error
    if info.bit_depth > 8:
        raise _Refused("image has more than 8 bits a channel")
    try:
        decode(data, info)
    except ImageError as error:
        raise _Refused("image can't be decoded") from error


def _split_of(row: ExternalRow, unit: ChooseUnit) -> str:
    """The split of an image, or of a text that has none: by its content, whatever the source."""
    content = row.image_sha256 or json.dumps(row.turns)
    position = int.from_bytes(place("external split", unit.seed, content)[:8]) / 2**64
    for split, share in unit.splits.items():
        position -= share
        if position < 0:
            return split
    return list(unit.splits)[-1]
