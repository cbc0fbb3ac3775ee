"""Language columns of LeRobot datasets: texts with a style, repeated on every row or given at one."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from .. import workers
from ..errors import GateError, SourceError
from ..mapping import LabelMapping
from ..recording import Instruction
from ..text import clip, printable
from ._lerobot_parquet import parquet_errors
from ._lerobot_rows import Rows

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["is_language", "read_language"]

Kind = Literal["subtask", "plan", "paraphrase"]

KINDS: Mapping[str, Kind] = {"subtask": "subtask", "plan": "plan", "task_aug": "paraphrase"}
"""Styles that are instructions; the others (memory, motion, interjection, vqa, trace, …) are left out."""
MAX_ENTRIES = 100_000
"""Of one episode."""


def is_language(rows: Rows, column: str) -> bool:
    """Whether a column holds lists of texts with a style."""
    import pyarrow as pa

    kind = rows.arrow_type(column)
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return False
    kind = kind.value_type
    return pa.types.is_struct(kind) and {"style", "content"} <= {field.name for field in kind}


def read_language(rows: Rows, label: LabelMapping, time_ns: NDArray[np.int64]) -> tuple[list[Instruction], list[str]]:
    """Instructions out of a language column.

    Args:
        rows: Of the episode.
        label: The column, and as its field one style, where only that is wanted.
        time_ns: Of the rows, [N].

    Returns:
        Subtasks and plans from their time on, variants of the task without time; and notes on what is left out.

    Raises:
        SourceError: An entry has no text, or a time that is not finite.
        GateError: There are too many.
    """
    if label.field is not None and label.field not in KINDS:
        raise SourceError(
            f"{printable(label.source)} has no field {printable(label.field)!r}; styles that are instructions are "
            f"{', '.join(KINDS)}"
        )
    left: Counter[str] = Counter()
    found = []
    entries, notes = _entries(rows, label.source)
    for row, entry in entries:
        style, text = entry.get("style"), entry.get("content")
        kind = KINDS.get(style) if isinstance(style, str) else None
        if kind is None or label.field not in {None, style}:
            left[clip(printable(str(style)), 40)] += 1
        elif not isinstance(text, str) or not text.strip():
            notes.append(f"{label.source}: a {style} at row {row} has no text")
        else:
            when = None if kind == "paraphrase" else _time(entry.get("timestamp"), row, time_ns, rows)
            found.append(Instruction(text=text, kind=kind, time_ns=when))
    if left:
        shown = ", ".join(f"{count} {style}" for style, count in sorted(left.items())[:20])
        notes.append(f"{label.source}: left out {shown}")
    return found, notes


def _entries(rows: Rows, column: str) -> tuple[list[tuple[int, Mapping[str, object]]], list[str]]:
    """Row and entry of each text; a list that every row repeats counts once."""
    import pyarrow as pa

    entries: list[tuple[int, Mapping[str, object]]] = []
    repeated: pa.Scalar | None = None
    has_time = any(field.name == "timestamp" for field in rows.arrow_type(column).value_type)
    num_others = 0
    for row, values in _lists(rows, column):
        if has_time and row > 0:
            num_others += values != repeated
            continue
        repeated = values
        try:
            listed = values.as_py() or []
        except (ValueError, OverflowError) as error:  # a text that is not UTF-8, a date beyond all calendars
            raise SourceError(f"{rows.name}: {column}: {clip(printable(str(error)), 200)}") from error
        entries += [(row, entry) for entry in listed if isinstance(entry, dict)]
        if len(entries) > MAX_ENTRIES:
            raise GateError(f"{rows.name}: {column} has more than {MAX_ENTRIES:,} texts; must have at most that")
    notes = [f"{column}: {num_others} rows have another list than the first, which counts"] if num_others else []
    return entries, notes


def _lists(rows: Rows, column: str) -> "Iterator[tuple[int, pa.Scalar]]":
    row = 0
    try:
        for array in rows.batches(column):
            workers.beat()
            for k in range(len(array)):
                yield row + k, array[k]
            row += len(array)
    except parquet_errors() as error:
        raise SourceError(f"{rows.name}: {column}: {clip(printable(str(error)), 200)}") from error


def _time(said: object, row: int, time_ns: NDArray[np.int64], rows: Rows) -> int:
    """The stamp of the row that a time in seconds names: the last that is not later, within float32 rounding."""
    if said is None:
        return int(time_ns[row])
    if not isinstance(said, int | float) or not np.isfinite(said):
        raise SourceError(f"{rows.name}: a text's timestamp is {clip(printable(repr(said)), 40)}; must be seconds")
    seconds = time_ns.astype(np.float64) / 1e9
    slack = 2 * float(np.spacing(np.float32(max(abs(said), 1e-3)))) + 1e-9
    place = int(np.searchsorted(seconds, said + slack, side="right")) - 1
    return int(time_ns[max(0, place)])
