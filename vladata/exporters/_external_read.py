"""Image-text data of others, row by row: LLaVA's JSON, or a folder of images with captions. Nothing in it is trusted.

A row that breaks a rule is named and counted, and the rest goes on; only a file that can't be read at all is an error.
Sources: Liu et al., Visual Instruction Tuning, arXiv:2304.08485 (the JSON); `imagefolder` of Hugging Face
(metadata.jsonl).
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..documents import canonical_json
from ..errors import ExportError, GateError
from ..gate import check_size
from ..text import clip, printable
from ..workers import beat
from ._options import ExternalData

__all__ = ["Bad", "Turn", "Unseen", "image_root", "read_external"]

MAX_JSON_BYTES = 1 << 30
"""A list is parsed whole; one object a line (`.jsonl`) has no such limit."""
MAX_LINE_BYTES = 4 << 20
MAX_CAPTION_BYTES = 64_000
MAX_TURNS = 64
MAX_CHARACTERS = 20_000
"""Of one turn."""
MAX_FILES = 5_000_000
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
"""What counts as an image of a folder; those that are neither JPEG nor PNG are refused by name, not overlooked."""
PLACEHOLDER = "<image>"
ROLES = {"human": "user", "gpt": "assistant"}
ASKING = ("Describe the image.", "What does the image show?", "Give a caption for this image.")

Turn = tuple[str, str]
"""Role, `user` or `assistant`, and text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """A row whose image was not looked at yet."""

    name: str
    """For people: number and id."""
    key: str
    """Digest of the row: equal rows have equal keys."""
    image: str | None
    """Path under the source's folder; None: text alone."""
    turns: tuple[Turn, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """A row that is refused."""

    name: str
    reason: str


class _RowError(Exception):
    """Why a row is refused."""


def read_external(external: ExternalData) -> Iterator[Unseen | Bad]:
    """Read all rows of a source, in the order in which they lie there; no image is opened.

    Raises:
        ExportError: There is no such file or folder, or it can't be read at all.
    """
    try:
        if external.format == "llava":
            yield from _llava(_json_file(external))
        else:
            yield from _folder(external)
    except (GateError, OSError, RecursionError, ValueError) as error:
        raise ExportError(f"{external.name}: {_said(error)}") from error


def image_root(external: ExternalData) -> Path:
    """The folder that image paths are relative to."""
    return _json_file(external).parent if external.format == "llava" else external.path


def _said(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deep to be read; it must be a list of flat rows"
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON at line {error.lineno}, column {error.colno}: {error.msg}"
    return clip(printable(str(error)), 200)


def _json_file(external: ExternalData) -> Path:
    if external.path.is_file():
        return external.path
    if not external.path.is_dir():
        raise ExportError(f"{external.name}: {printable(external.path.name)} is not there; must be a file or a folder")
    found = sorted(p for p in external.path.glob("*") if p.suffix in {".json", ".jsonl"})
    if len(found) != 1:
        raise ExportError(f"{external.name}: {len(found)} files with .json or .jsonl in its folder; must be one")
    return found[0]


# LLaVA --------------------------------------------------------------------------------------------------------------


def _llava(path: Path) -> Iterator[Unseen | Bad]:
    for number, row in enumerate(_objects(path)):
        name = f"row {number}"
        try:
            if isinstance(row, _RowError):
                raise row
            if not isinstance(row, dict):
                raise _RowError("row is no object")
            name = f"row {number} ({_id(row)})" if "id" in row else name
            image = _image(row)
            turns = _turns(row.get("conversations"), has_image=image is not None)
            yield Unseen(name=name, key=_key(row), image=image, turns=turns)
        except _RowError as error:
            yield Bad(name=name, reason=str(error))
        if number % 1000 == 0:
            beat()


def _objects(path: Path) -> Iterator[object]:
    """Rows of a JSON list, or of a file with one object a line; a line that can't be parsed is a `_RowError`."""
    if path.suffix != ".jsonl":
        check_size(path, MAX_JSON_BYTES)
        rows = json.loads(path.read_bytes())
        if not isinstance(rows, list):
            raise ValueError(f"{path.name} holds a {type(rows).__name__}; must be a list of rows")
        yield from rows
        return
    check_size(path, 1 << 62)
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE_BYTES + 1):
            if len(line) > MAX_LINE_BYTES:
                yield _RowError(f"line has more than {MAX_LINE_BYTES:,} bytes")
                while line and not line.endswith(b"\n"):
                    line = file.readline(MAX_LINE_BYTES)
            elif line.strip():
                yield _parsed(line)


def _parsed(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return _RowError("line is not JSON")


def _key(row: object) -> str:
    """Digest of a row; NaN and infinity, which JSON does not know but Python reads, are refused on the way."""
    try:
        return hashlib.sha256(canonical_json(row).encode()).hexdigest()
    except (ValueError, RecursionError) as error:  # a lone surrogate is a ValueError as well
        raise _RowError("row holds NaN, infinity, half a character, or is nested too deep") from error


def _id(row: dict[str, object]) -> str:
    return clip(ascii(str(row["id"])).strip("'\""), 60)


def _image(row: dict[str, object]) -> str | None:
    image = row.get("image")
    if isinstance(image, list):
        if len(image) > 1:
            raise _RowError("row has several images")
        image = image[0] if image else None
    if image is not None and not isinstance(image, str):
        raise _RowError("image is no text")
    return image or None


def _turns(conversations: object, *, has_image: bool) -> tuple[Turn, ...]:
    """The turns of a conversation, without the placeholder of the image.

    The image stands before the first turn in every row; where its placeholder stood, at the beginning or the end of
    the first question, made no difference to who wrote it.
    """
    if not isinstance(conversations, list) or not 2 <= len(conversations) <= MAX_TURNS:
        raise _RowError(f"conversations are no list of 2 to {MAX_TURNS} turns")
    turns = []
    for number, turn in enumerate(conversations):
        role, text = (turn.get("from"), turn.get("value")) if isinstance(turn, dict) else (None, None)
        if not isinstance(role, str) or ROLES.get(role) != ("user", "assistant")[number % 2]:
            raise _RowError("turns are not human and gpt in turn")
        turns.append((ROLES[role], _checked(text)))
    if len(turns) % 2:
        raise _RowError("the last turn is not gpt's")
    placeholders = sum(text.count(PLACEHOLDER) for _, text in turns)
    if placeholders != int(has_image) or (has_image and PLACEHOLDER not in turns[0][1]):
        raise _RowError(f"{PLACEHOLDER} does not stand once, in the first question, for the one image")
    first = turns[0][1].replace(PLACEHOLDER, "").strip()
    if not first:
        raise _RowError("a turn is empty")
    return (("user", first), *turns[1:])


def _checked(text: object) -> str:
    if not isinstance(text, str) or not text.strip():
        raise _RowError("a turn is empty")
    if len(text) > MAX_CHARACTERS:
        raise _RowError(f"a turn has more than {MAX_CHARACTERS:,} characters")
    return text


# Folders ------------------------------------------------------------------------------------------------------------


def _folder(external: ExternalData) -> Iterator[Unseen | Bad]:
    if not external.path.is_dir():
        raise ExportError(f"{external.name}: {printable(external.path.name)} is no folder; images lie in one")
    metadata = external.path / "metadata.jsonl"
    captions = _listed(metadata) if metadata.exists() else _beside(external.path)
    for number, (name, image, caption) in enumerate(captions):
        try:
            if isinstance(caption, _RowError):
                raise caption
            text = _checked(caption).strip()
            key = _key([image, text])
            asking = ASKING[int(key[:8], 16) % len(ASKING)]
            yield Unseen(name=name, key=key, image=image, turns=(("user", asking), ("assistant", text)))
        except _RowError as error:
            yield Bad(name=name, reason=str(error))
        if number % 1000 == 0:
            beat()


def _listed(path: Path) -> Iterator[tuple[str, str, object]]:
    """Images and captions that `metadata.jsonl` names."""
    for number, row in enumerate(_objects(path)):
        name = f"row {number}"
        if isinstance(row, _RowError):
            yield name, "", row
        elif not isinstance(row, dict) or not isinstance(row.get("file_name"), str):
            yield name, "", _RowError("row has no file_name")
        else:
            yield f"row {number} ({_shown(row['file_name'])})", row["file_name"], row.get("text", row.get("caption"))


def _beside(root: Path) -> Iterator[tuple[str, str, object]]:
    """Images and the texts of the same name beside them, in the order of their paths; links to folders stay closed."""
    for count, path in enumerate(_images(root)):
        if count >= MAX_FILES:
            raise ExportError(f"{printable(root.name)}: more than {MAX_FILES:,} images")
        relative = path.relative_to(root).as_posix()
        name = _shown(relative)
        text = path.with_suffix(".txt")
        try:
            if not text.is_file() or not text.resolve().is_relative_to(root.resolve()):
                raise _RowError("image has no text of its name")
            check_size(text, MAX_CAPTION_BYTES)
            caption: object = text.read_text(encoding="utf-8")
        except (GateError, OSError, ValueError):
            caption = _RowError("caption is too long, or no UTF-8 text")
        except _RowError as error:
            caption = error
        yield name, relative, caption


def _images(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root, followlinks=False):
        folders.sort()
        yield from (Path(folder, n) for n in sorted(names) if Path(n).suffix.lower() in SUFFIXES)


def _shown(path: str) -> str:
    return clip(ascii(path).strip("'\""), 100)
