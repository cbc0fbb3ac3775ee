"""What a user names as input: files, folders, patterns, and lists of them."""

import glob
import sys
from collections.abc import Sequence
from pathlib import Path

from .errors import SourceError
from .text import clip, printable

__all__ = ["expand_inputs", "read_list"]

MAX_LIST_BYTES = 256_000_000


def expand_inputs(given: Sequence[Path]) -> list[Path]:
    """Replace patterns (`*`, `?`, `[…]`, `**` for any depth) by what they match, sorted; each path once.

    A path that exists is itself, also where its name looks like a pattern.

    Raises:
        SourceError: A pattern matches nothing.
    """
    found: dict[Path, None] = {}
    for path in given:
        if path.exists() or not glob.has_magic(str(path)):
            found[path] = None
            continue
        matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207  # Path.glob wants a root of its own
        if not matches:
            raise SourceError(f"{printable(str(path))}: matches no file or folder")
        found.update(dict.fromkeys(Path(m) for m in matches))
    return list(found)


def read_list(path: Path) -> list[Path]:
    """Read a list of inputs, one a line; `-` is standard input. Empty lines and those that begin with `#` don't count.

    Raises:
        SourceError: The list is empty, too large or no text.
    """
    name = "standard input" if str(path) == "-" else str(path)
    if str(path) == "-":
        data = sys.stdin.buffer.read(MAX_LIST_BYTES + 1)
    else:
        try:
            with path.open("rb") as file:
                data = file.read(MAX_LIST_BYTES + 1)
        except OSError as error:
            raise SourceError(f"{name}: {error.strerror or error}") from error
    if len(data) > MAX_LIST_BYTES:
        raise SourceError(f"{name}: more than {MAX_LIST_BYTES:,} bytes; a list of inputs must be smaller")
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise SourceError(f"{name}: byte {error.start} is not UTF-8; a list of inputs must be text") from error
    kept = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    bad = next((line for line in kept if "\0" in line), None)
    if bad is not None:
        raise SourceError(f"{name}: {clip(printable(bad), 80)} is no path")
    if not kept:
        raise SourceError(f"{name}: lists no input")
    return [Path(line) for line in kept]
