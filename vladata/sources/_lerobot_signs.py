"""Signs that columns are not what their names say: shifted states, and numbers that stand for "not connected"."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..text import clip, printable

__all__ = ["placeholders", "shifted_state"]

PLACEHOLDER = -1.0
MIN_ROWS = 3
MIN_ELEMENTS = 3
"""Fewer could be a gripper that stayed at its end."""


def shifted_state(
    action_name: str, action: NDArray[np.generic], state_name: str, state: NDArray[np.generic]
) -> str | None:
    """A note where actions are nothing but the measured states, of the next row or of the same; else None."""
    if action.shape != state.shape or len(action) < MIN_ROWS:
        return None
    for shift, place in ((1, "t+1"), (0, "t")):
        a, s = action[: len(action) - shift], state[shift:]
        is_moving = bool((s[1:] != s[:-1]).any())
        if is_moving and bool(np.array_equal(a, s)):
            return (
                f"{printable(action_name)}[t] is {printable(state_name)}[{place}] in every row: measured states, "
                "not commands"
            )
    return None


def placeholders(values: NDArray[np.generic], names: Sequence[str]) -> str | None:
    """A note where several elements are -1 in all rows; else None.

    Args:
        values: [N, D].
        names: Of the elements; empty where they have none.
    """
    found = np.flatnonzero((values == PLACEHOLDER).all(axis=0)).tolist() if len(values) >= MIN_ROWS else []
    if len(found) < MIN_ELEMENTS and not len(found) == values.shape[1] == 1:
        return None
    shown = ", ".join(names[k] if len(names) == values.shape[1] else f"[{k}]" for k in found)
    return f"{clip(printable(shown), 200)} are -1 in every row: not connected? If so: placeholder: -1"
