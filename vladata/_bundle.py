"""The files of a stored action tokenizer: written whole, read within limits, compared by SHA-256.

A bundle comes from strangers as often as not: nothing outside of its folder is read, nothing that is larger than any
tokenizer is parsed, and what is wrong is a `TokenizeError` of one line.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .canonical import canonical_json
from .errors import TokenizeError
from .text import clip, printable
from .tokenizers import Codes, TokenRows
from .tokenizers._bins import code_rows

__all__ = [
    "FILE_NAME",
    "FORMAT",
    "FORMAT_VERSION",
    "IDS_FILE_NAME",
    "EmbodimentFacts",
    "Head",
    "array",
    "bundle_folder",
    "codec_files",
    "description",
    "difference",
    "digest",
    "lines",
    "listed",
    "package_versions",
    "parsed",
    "read",
    "read_bytes",
    "sha256",
    "stored_files",
    "token_rows",
    "write",
]

FILE_NAME = "action_tokenizer.json"
IDS_FILE_NAME = "action_token_ids.json"
FORMAT = "vladata action tokenizer"
FORMAT_VERSION = 1
FOLDER_NAME = "action_tokenizer"
_PLAIN_PATH = re.compile(r"[a-z0-9_]+(/[a-z0-9_]+)?\.json")
_NOT_COVERED = frozenset({"digest", "created_with"})

MAX_BYTES = 32 << 20
"""Of one file: chunks of 4096 steps of 64 dimensions have test vectors of about 14 MB."""
MAX_VALUES = 4_000_000
"""Of one JSON text; each takes about 100 bytes when it is parsed."""
MAX_FILES = 16
MAX_CODEC_BYTES = 8 << 20
"""Of one file of a codec: a vocabulary of 65536 codes has about 3 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbodimentFacts:
    """Which robot the actions belong to."""

    name: str
    version: int
    digest: str
    """SHA-256 of its schema, hex."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What a description says in one word each."""

    scheme: str
    horizon: int
    rate_hz: float
    chunk_end: str
    embodiment: EmbodimentFacts | None = None


def bundle_folder(path: str | Path) -> Path:
    """The folder with the tokenizer: itself, or inside of an export."""
    folder = Path(path)
    inner = folder / FOLDER_NAME
    return inner if not (folder / FILE_NAME).exists() and inner.is_dir() else folder


def listed(rows: Codes) -> list[list[int]]:
    found = code_rows(rows)
    return [found[row].tolist() for row in range(len(found))]


def token_rows(vectors: Mapping[str, object], name: str) -> TokenRows:
    rows = vectors.get(name)
    try:
        return TokenRows.of(rows if isinstance(rows, list) else [])
    except (TokenizeError, ValueError, OverflowError) as error:
        raise TokenizeError(f"{FILE_NAME}: test_vectors.{name} must hold rows of integers") from error


def difference(one: TokenRows, other: TokenRows) -> str | None:
    """Where the first difference is; None where there is none."""
    if not np.array_equal(one.offsets, other.offsets):
        return "the length of a row"
    different = np.flatnonzero(one.values != other.values)
    return one.place(int(different[0]), "codes") if len(different) else None


def description(folder: Path) -> dict[str, object]:
    """What `action_tokenizer.json` says, as its digest says."""
    document = parsed(read(folder, FILE_NAME), FILE_NAME)
    if document.get("format") != FORMAT or document.get("format_version") != FORMAT_VERSION:
        found = clip(f"{document.get('format')} {document.get('format_version')}", 100)
        raise TokenizeError(f"{FILE_NAME}: format is {printable(found)!r}; must be {FORMAT} {FORMAT_VERSION}")
    if document.get("digest") != digest(document):
        raise TokenizeError(f"{FILE_NAME} was altered: its digest does not fit its content")
    return document


def codec_files(folder: Path, listed: object) -> dict[str, bytes]:
    """The codec's files, each as its SHA-256 says."""
    if not isinstance(listed, dict):
        raise TokenizeError(f"{FILE_NAME}: codec_files must be an object")
    if len(listed) > MAX_FILES:
        raise TokenizeError(f"{FILE_NAME}: there are {len(listed)} codec_files; must be at most {MAX_FILES}")
    found = {}
    for name, stored in listed.items():
        if not _PLAIN_PATH.fullmatch(name):
            shown = clip(printable(name), 60)
            raise TokenizeError(f"{FILE_NAME}: codec file {shown!r}; must be a plain path inside the folder")
        content = read_bytes(folder, name, MAX_CODEC_BYTES)
        if sha256(content) != stored:
            raise TokenizeError(f"{name} was altered: its digest does not fit its content")
        found[name] = content
    return found


def stored_files(folder: Path) -> set[Path]:
    """What a tokenizer in a folder consists of, beside its description; empty where there is none that can be read."""
    try:
        document = description(folder)
        found = codec_files(folder, document.get("codec_files"))
    except TokenizeError:
        return set()
    ids = [IDS_FILE_NAME] if document.get("vocabulary") else []
    return {folder / name for name in (*found, *ids)}


def array(
    vectors: Mapping[str, object], name: str, kind: type[np.float64 | np.int64]
) -> NDArray[np.float64 | np.int64]:
    try:
        array = np.array(vectors.get(name))
    except (ValueError, OverflowError) as error:
        raise TokenizeError(f"{FILE_NAME}: test_vectors.{name} must be an array") from error
    if array.dtype.kind not in ("iu" if kind is np.int64 else "iuf"):
        raise TokenizeError(f"{FILE_NAME}: test_vectors.{name} must hold numbers")
    return array.astype(kind)


def sha256(content: str | bytes) -> str:
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def digest(document: Mapping[str, object]) -> str:
    """SHA-256 of all that the description says; which packages wrote it does not count."""
    return sha256(canonical_json({k: v for k, v in document.items() if k not in _NOT_COVERED}))


def package_versions() -> dict[str, str]:
    """What writes a description, for the record; packages that are not installed are left out."""
    found = {}
    for name in ("vladata", "numpy", "tokenizers"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def lines(content: Mapping[str, object]) -> str:
    """JSON with one line per top-level key, in their order: to be read by people as well."""
    return "{\n" + ",\n".join(f"{json.dumps(k)}: {canonical_json(v)}" for k, v in content.items()) + "\n}\n"


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.replace(path)
    return path


def read(folder: Path, name: str) -> str:
    try:
        return read_bytes(folder, name).decode()
    except UnicodeDecodeError as error:
        raise TokenizeError(f"{name} is not UTF-8") from error


def read_bytes(folder: Path, name: str, limit: int = MAX_BYTES) -> bytes:
    path = folder / name
    if not path.exists():
        raise TokenizeError(f"{name} is missing in {folder}")
    if not path.resolve().is_relative_to(_root(folder)):
        raise TokenizeError(f"{name} is a link out of its folder; must be a file in {folder}")
    if not path.is_file():
        raise TokenizeError(f"{name} in {folder} is no file; must be one")
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise TokenizeError(f"{name} has {path.stat().st_size:,} bytes; must have at most {limit:,}")
    return content


def _root(folder: Path) -> Path:
    """What links may not leave: the folder itself.

    In the cache of the Hugging Face hub, where the files of a snapshot are links to blobs beside it, all that the cache
    holds of the repository.
    """
    real = folder.resolve()
    snapshots = next((p for p in real.parents if p.name == "snapshots" and (p.parent / "blobs").is_dir()), None)
    return real if snapshots is None else snapshots.parent


def parsed(text: str, name: str) -> dict[str, object]:
    values = sum(map(text.count, ",[{"))
    if values > MAX_VALUES:
        raise TokenizeError(f"{name} holds {values:,} values; must hold at most {MAX_VALUES:,}")
    try:
        content = json.loads(text)
        canonical_json(content).encode()  # refuses NaN and infinity, which JSON has not, and halves of characters
    except (ValueError, RecursionError) as error:
        raise TokenizeError(f"{name} is not JSON: {clip(printable(str(error)), 200)}") from error
    if not isinstance(content, dict):
        raise TokenizeError(f"{name} must hold an object")
    return content
