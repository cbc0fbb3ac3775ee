"""Instructions and outcomes out of sources whose rows are steps: one text or value in each row."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..mapping import OutcomeMapping
from ..recording import Instruction, Outcome
from ..text import clip, printable

__all__ = ["as_text", "row_instructions", "row_intervals", "row_outcome"]


def row_instructions(
    texts: Sequence[str], time_ns: NDArray[np.int64], kind: Literal["task", "subtask"]
) -> tuple[tuple[Instruction, ...], tuple[str, ...]]:
    """Make instructions of the texts of all steps.

    Args:
        texts: One for each step, [T].
        time_ns: Of the steps, [T].
        kind: Of the instructions.

    Returns:
        One instruction for the whole episode where the text never changes, else one for each run of equal texts;
        nothing where a text is empty. And notes on what is missing.
    """
    starts = [i for i in range(len(texts)) if i == 0 or texts[i] != texts[i - 1]]
    num_empty = sum(not t.strip() for t in texts)
    notes = (f"{kind}: the text is empty at {num_empty} of {len(texts)} steps",) if num_empty else ()
    if len(starts) == 1:
        return (() if num_empty else (Instruction(text=texts[0], kind=kind),)), notes
    found = []
    for start, end in zip(starts, [*starts[1:], None], strict=True):
        if texts[start].strip():
            end_ns = None if end is None else int(time_ns[end])
            found.append(Instruction(text=texts[start], kind=kind, time_ns=int(time_ns[start]), end_ns=end_ns))
    return tuple(found), notes


def as_text(value: object) -> tuple[str, ...]:
    """Ways to write a value that a mapping may list: a boolean also as 1 or 0, a whole number also with `.0`."""
    if isinstance(value, bool | np.bool_):
        return ("true", "1") if value else ("false", "0")
    if isinstance(value, int | float | np.integer | np.floating) and float(value).is_integer():
        return str(int(value)), f"{int(value)}.0"
    return (str(value),)


def row_outcome(written: Iterable[str], mapping: OutcomeMapping) -> tuple[tuple[Outcome, ...], tuple[str, ...]]:
    """Make an outcome of the whole episode from a value.

    Args:
        written: Ways to write the value; a text `failure: reason` gives the reason.
        mapping: Which values mean what.

    Returns:
        The outcome, if the value means one, and notes.
    """
    kinds: dict[str, Literal["success", "failure"]] = {v.casefold(): "failure" for v in mapping.failure}
    kinds.update({v.casefold(): "success" for v in mapping.success})
    first = ""
    for text in written:
        first = first or text
        value, _, reason = (part.strip() for part in text.partition(":"))
        kind = kinds.get(value.casefold())
        if kind is not None:
            return (Outcome(kind=kind, reason=reason),), ()
    known = ", ".join((*mapping.success, *mapping.failure))
    return (), (f"outcome: {clip(printable(first), 80)!r} is none of {clip(printable(known), 120)}; no outcome",)


def row_intervals(
    values: NDArray[np.generic], time_ns: NDArray[np.int64], kind: Literal["intervention", "reward"]
) -> tuple[tuple[Outcome, ...], tuple[str, ...]]:
    """Make outcomes of runs of rows with the same value, other than 0.

    Args:
        values: One for each row, [N]; NaN where there is none.
        time_ns: Of the rows, [N].
        kind: Of the outcomes; a reward has the value of its rows.

    Returns:
        Outcomes, each from its first row to the row after its last; and a note on rows without a value.
    """
    numbers = values.astype(np.float64)
    holes = np.isnan(numbers)
    numbers = np.where(holes, 0.0, numbers)
    numbers = (numbers != 0).astype(np.float64) if kind == "intervention" else numbers
    edges = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
    found = [
        Outcome(
            kind=kind,
            time_ns=int(time_ns[start]),
            end_ns=int(time_ns[stop]) if stop < len(numbers) else None,
            value=float(numbers[start]) if kind == "reward" else None,
        )
        for start, stop in itertools.pairwise(edges)
        if numbers[start] != 0
    ]
    num_holes = int(holes.sum())
    return tuple(found), (f"{kind}: {num_holes} rows have no value",) if num_holes else ()
