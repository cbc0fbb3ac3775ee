"""`vladata tokenizer`: actions to codes and back, with the tokenizer of an export."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._console import FAILED, LOSSY, fail, note, out

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

app = typer.Typer(no_args_is_help=True, help="Encode and decode actions with the tokenizer of an export.")

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="An export, or its action_tokenizer folder.")]
Values = Annotated[str, typer.Argument(metavar="JSON", help="JSON numbers, or - to read them from stdin.")]
State = Annotated[
    str | None, typer.Option(help="JSON, for relative actions: the state [S], or at each step [H, S]; one per row.")
]
Ids = Annotated[bool, typer.Option("--ids", help="Ids of the language model instead of codes.")]
MAX_TEXT = 64_000_000


def _parsed(text: str, what: str) -> object:
    raw = sys.stdin.read(MAX_TEXT) if text == "-" else text
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        fail(f"{what} is not an array of JSON numbers: {error}", FAILED)


def _numbers(text: str, what: str) -> "NDArray[np.float64]":
    import numpy as np

    value = _parsed(text, what)
    try:
        array = np.asarray(value)
    except ValueError as error:
        fail(f"{what} is not an array of JSON numbers: {error}", FAILED)
    if array.dtype.kind not in "iuf":
        fail(f"{what} is not an array of JSON numbers", FAILED)
    return array.astype(np.float64)


def _rows(text: str, what: str) -> tuple[list[list[int]], bool]:
    """Rows of integers of any lengths, and whether there was but one."""
    value = _parsed(text, what)
    is_one = isinstance(value, list) and not any(isinstance(item, list) for item in value)
    rows = [value] if is_one else value
    if not isinstance(rows, list) or not all(
        isinstance(row, list) and all(type(item) is int and abs(item) < 1 << 63 for item in row) for row in rows
    ):
        fail(f"{what} must be one list of integers, or a list of such lists", FAILED)
    return rows, is_one


def _state(text: str | None, *, is_one: bool) -> "NDArray[np.float64] | None":
    if text is None:
        return None
    state = _numbers(text, "the state")
    return state[None] if is_one else state


@app.command()
def encode(folder: Folder, actions: Values, state: State = None, ids: Ids = False) -> None:
    """Encode a chunk [H, D] (or one action [D], or chunks [N, H, D]) in physical units as codes.

    Example: vladata tokenizer encode shards "[[0, 0, 0, 0, 0, 0, 1]]"
    """
    from vladata.action_tokenizer import ActionTokenizer
    from vladata.errors import TokenizeError

    chunks = _numbers(actions, "the action")
    if chunks.ndim not in (1, 2, 3) or not chunks.size:
        raise TokenizeError(f"the action has shape {list(chunks.shape)}; it must be [D], [H, D] or [N, H, D] of values")
    is_one = chunks.ndim < 3
    tokenizer = ActionTokenizer.load(folder)
    chunks = chunks.reshape(1, -1, chunks.shape[-1]) if is_one else chunks
    codes = tokenizer.encode(chunks, _state(state, is_one=is_one))
    found = tokenizer.to_ids(codes) if ids else codes
    rows = [found[row].tolist() for row in range(len(chunks))]
    out(json.dumps(rows[0] if is_one else rows))


@app.command()
def decode(
    folder: Folder,
    codes: Values,
    state: State = None,
    ids: Ids = False,
    relaxed: Annotated[
        bool,
        typer.Option("--relaxed", help="Repair what is wrong, tell it, and exit with 3."),
    ] = False,
) -> None:
    """Decode codes (of one chunk, or rows of several) to chunks in physical units: strictly, or --relaxed.

    Example: vladata tokenizer decode shards "[127, 127, 127, 127, 127, 127, 254]"
    """
    from vladata.action_tokenizer import ActionTokenizer

    rows, is_one = _rows(codes, "the ids" if ids else "the codes")
    given = _state(state, is_one=is_one)
    tokenizer = ActionTokenizer.load(folder)
    found = tokenizer.from_ids(rows, any_length=relaxed) if ids else rows
    if not relaxed:
        chunks = tokenizer.decode(found, given).tolist()
        out(json.dumps(chunks[0] if is_one else chunks))
        return
    decoded = tokenizer.decode_relaxed(found, given)
    chunks = decoded.chunks.tolist()
    out(json.dumps(chunks[0] if is_one else chunks))
    counts = list(zip(decoded.num_repaired.tolist(), decoded.num_clipped.tolist(), strict=True))
    for row, (repaired, clipped) in enumerate(counts):
        if repaired or clipped:
            note(f"row {row}: {repaired} codes repaired, {clipped} values clipped")
    if any(map(any, counts)):
        raise typer.Exit(LOSSY)
