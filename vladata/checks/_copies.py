"""Commands that are nothing but the states they should have led to."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._pairs import Pairs

__all__ = ["Copies", "copies"]

FloatArray = NDArray[np.float64]

ROUNDING = 4 * 2.0**-24
"""Relative difference that float32 makes of equal numbers."""
SHIFTS = (1, 0, 2)
"""Steps by which a state is looked for ahead of its command; the likeliest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """Pairs of one action whose commands are states."""

    pairs: tuple[int, ...]
    """Places of the pairs that are equal."""
    shift: int
    """The command of step t is the state of step t + shift; of a change: the change that ends there."""
    share: float
    """Of the steps at which something moves, those that are equal."""
    count: int
    """Steps at which something moves."""


def copies(pairs: Pairs, action: str, *, share: float, steps: float) -> Copies | None:
    """Look for states in an action's commands, in most of the dimensions that move.

    Args:
        pairs: Of the episode.
        action: Name of the signal.
        share: Of the steps with motion that must be equal.
        steps: With motion that a dimension must have at least.
    """
    columns = [i for i, p in enumerate(pairs.items) if p.action == action]
    for shift in SHIFTS:
        found, worst, counts, judged = [], 1.0, [], 0
        for i in columns:
            equal, moves = _equal(pairs, i, shift)
            if moves < steps:
                continue
            judged += 1
            if equal >= share * moves:
                found.append(i)
                worst = min(worst, equal / moves)
                counts.append(moves)
        if found and 2 * len(found) > judged:
            return Copies(pairs=tuple(found), shift=shift, share=worst, count=max(counts))
    return None


def _equal(pairs: Pairs, column: int, shift: int) -> tuple[int, int]:
    """Steps at which a command is the state, and steps that count, because the state is another than before."""
    command, state = pairs.commanded[:, column], pairs.measured[:, column]
    if len(state) < shift + 2:
        return 0, 0
    if pairs.is_rate[column]:
        target = np.diff(state)
        target = target[shift - 1 :] if shift else np.concatenate(([np.nan], target))
        moves = target != 0
    else:
        target = state[shift:]
        moves = np.concatenate(([False], np.diff(target) != 0))
    command = command[: len(target)]
    size = np.abs(state[: len(command)]) + np.abs(command)
    known = np.isfinite(command) & np.isfinite(target) & moves
    equal = known & (np.abs(command - target) <= ROUNDING * size)
    return int(equal.sum()), int(known.sum())
