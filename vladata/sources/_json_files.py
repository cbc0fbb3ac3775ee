"""JSON files that lie beside the data of a recording, read within limits."""

import json
from pathlib import Path

from ..errors import SourceError
from ..gate import check_size, inside
from ..text import clip, printable

__all__ = ["is_lfs_pointer", "read_json", "read_json_lines"]

MAX_JSON = 16_000_000
MAX_JSON_LINES = 512_000_000

_LFS = b"version https://git-lfs.github.com/spec/"


def read_json(root: Path, name: str) -> dict[str, object]:
    """Read an object from a file under a folder.

    Raises:
        SourceError: The file is not JSON, or not an object.
        GateError: The file is too large or leaves the folder.
        OSError: The file can't be read.
    """
    path = inside(root, name)
    check_size(path, MAX_JSON)
    return _object(path.read_bytes(), name)


def read_json_lines(root: Path, name: str) -> list[dict[str, object]]:
    """Read an object from each line of a file under a folder; empty lines don't count.

    Raises:
        SourceError: A line is not JSON, or not an object; with the line.
        GateError: The file is too large or leaves the folder.
        OSError: The file can't be read.
    """
    path = inside(root, name)
    check_size(path, MAX_JSON_LINES)
    with path.open("rb") as file:
        return [_object(line, f"{name}: line {k}") for k, line in enumerate(file, 1) if line.strip()]


def _object(data: bytes, where: str) -> dict[str, object]:
    if data.startswith(_LFS):
        raise SourceError(f"{where}: a Git LFS pointer, not the file itself; fetch it: git lfs pull")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{where}: not JSON: {clip(printable(str(error)), 120)}") from error
    if not isinstance(value, dict):
        raise SourceError(f"{where}: a {type(value).__name__}; must be an object")
    return value


def is_lfs_pointer(path: Path) -> bool:
    """Tell whether a file is what Git LFS leaves where it did not fetch the content."""
    with path.open("rb") as file:
        return file.read(len(_LFS)) == _LFS
