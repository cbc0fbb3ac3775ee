"""The files of a stored action tokenizer: written whole, read within limits, compared by SHA-256."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .documents import canonical_json
from .errors import TokenizeError
from .text import printable
from .tokenizers import Codes, TokenRows
from .tokenizers._bins import code_rows

__all__ = [
    "FILE_NAME",
    "IDS_FILE_NAME",
    "array",
    "codec_files",
    "difference",
    "lines",
    "listed",
    "parsed",
    "read",
    "read_bytes",
    "sha256",
    "token_rows",
    "write",
]

FILE_NAME = "action_tokenizer.json"
IDS_FILE_NAME = "action_token_ids.json"
_PLAIN_PATH = re.compile(r"[a-z0-9_]+(/[a-z0-9_]+)?\.json")
MAX_BYTES = 256 << 20


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


def codec_files(folder: Path, listed: object) -> dict[str, bytes]:
    """The codec's files, each as its SHA-256 says."""
    if not isinstance(listed, dict):
        raise TokenizeError(f"{FILE_NAME}: codec_files must be an object")
    found = {}
    for name, digest in listed.items():
        if not _PLAIN_PATH.fullmatch(name):
            raise TokenizeError(f"{FILE_NAME}: codec file {printable(name)!r}; must be a plain path inside the folder")
        content = read_bytes(folder / name)
        if sha256(content) != digest:
            raise TokenizeError(f"{name} was altered: its digest does not fit its content")
        found[name] = content
    return found


def array(
    vectors: Mapping[str, object], name: str, kind: type[np.float64 | np.int64]
) -> NDArray[np.float64 | np.int64]:
    try:
        array = np.array(vectors.get(name))
    except ValueError as error:
        raise TokenizeError(f"{FILE_NAME}: test_vectors.{name} must be an array") from error
    if array.dtype.kind not in ("iu" if kind is np.int64 else "iuf"):
        raise TokenizeError(f"{FILE_NAME}: test_vectors.{name} must hold numbers")
    return array.astype(kind)


def sha256(content: str | bytes) -> str:
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def lines(content: Mapping[str, object]) -> str:
    """JSON with one line per top-level key, in their order: to be read by people as well."""
    return "{\n" + ",\n".join(f"{json.dumps(k)}: {canonical_json(v)}" for k, v in content.items()) + "\n}\n"


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.replace(path)
    return path


def read(path: Path) -> str:
    try:
        return read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise TokenizeError(f"{path.name} is not UTF-8") from error


def read_bytes(path: Path) -> bytes:
    if not path.is_file():
        raise TokenizeError(f"{path.name} is missing in {path.parent}")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise TokenizeError(f"{path.name} has {size:,} bytes; must have at most {MAX_BYTES:,}")
    return path.read_bytes()


def parsed(text: str, name: str) -> dict[str, object]:
    try:
        content = json.loads(text)
        canonical_json(content)  # refuses NaN and infinity, which JSON has not
    except (ValueError, RecursionError) as error:
        raise TokenizeError(f"{name} is not JSON: {printable(str(error))}") from error
    if not isinstance(content, dict):
        raise TokenizeError(f"{name} must hold an object")
    return content
