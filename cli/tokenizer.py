"""`vladata tokenizer`: actions to codes and back, with the tokenizer of an export."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._console import FAILED, fail, out

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

app = typer.Typer(no_args_is_help=True, help="Encode and decode actions with the tokenizer of an export.")

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="An export, or its action_tokenizer folder.")]
Values = Annotated[str, typer.Argument(metavar="JSON", help="JSON numbers, or - to read them from stdin.")]
State = Annotated[str | None, typer.Option(help="JSON: the state [D], for relative actions.")]
MAX_TEXT = 64_000_000


def _read(text: str, what: str) -> "NDArray[np.float64]":
    import numpy as np

    raw = sys.stdin.read(MAX_TEXT) if text == "-" else text
    try:
        return np.asarray(json.loads(raw), dtype=np.float64)
    except (ValueError, TypeError) as error:
        fail(f"{what} is not an array of JSON numbers: {error}", FAILED)


def _folder(folder: Path) -> Path:
    inner = folder / "action_tokenizer"
    return inner if inner.is_dir() else folder


@app.command()
def encode(folder: Folder, actions: Values, state: State = None) -> None:
    """Encode one chunk [H, D] (or one action [D]) in physical units as codes.

    Example: vladata tokenizer encode shards "[[0, 0, 0, 0, 0, 0, 1]]"
    """
    from vladata.action_tokenizer import ActionTokenizer
    from vladata.errors import TokenizeError

    chunk = _read(actions, "the action")
    if chunk.ndim not in (1, 2):
        raise TokenizeError(f"the action has shape {list(chunk.shape)}; it must be [D] or [H, D]")
    chunk = chunk.reshape(1, -1, chunk.shape[-1])
    given = None if state is None else _read(state, "the state")[None]
    codes = ActionTokenizer.load(_folder(folder)).encode(chunk, given)
    out(json.dumps(codes[0].tolist()))


@app.command()
def decode(folder: Folder, codes: Values, state: State = None) -> None:
    """Decode codes to a chunk [H, D] in physical units, strictly.

    Example: vladata tokenizer decode shards "[127, 127, 127, 127, 127, 127, 254]"
    """
    import numpy as np

    from vladata.action_tokenizer import ActionTokenizer
    from vladata.errors import TokenizeError

    values = _read(codes, "the codes")
    if values.ndim != 1 or not np.array_equal(values, np.round(values)):
        raise TokenizeError("codes must be one list of integers")
    given = None if state is None else _read(state, "the state")[None]
    chunk = ActionTokenizer.load(_folder(folder)).decode(values.astype(np.int64)[None], given)
    out(json.dumps(chunk[0].tolist()))
