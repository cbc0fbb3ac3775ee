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
    columns = np.array([i for i, p in enumerate(pairs.items) if p.action == action])
    for shift in SHIFTS:
        equal, moves = _equal(pairs, columns, shift)
        judged = moves >= max(steps, 1)
        found = np.flatnonzero(judged & (equal >= share * moves))
        if len(found) and 2 * len(found) > judged.sum():
            return Copies(
                pairs=tuple(int(i) for i in columns[found]),
                shift=shift,
                share=float((equal[found] / moves[found]).min()),
                count=int(moves[found].max()),
            )
    return None


def _equal(pairs: Pairs, columns: NDArray[np.intp], shift: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Steps at which a command is the state, and steps that count, because the state is another than before, [K]."""
    command, state = pairs.commanded[:, columns], pairs.measured[:, columns]
    nothing = np.full((1, len(columns)), np.nan)
    changes = np.concatenate([nothing, np.diff(state, axis=0), *[nothing] * shift])[shift : len(state) + shift]
    target = np.concatenate([state, *[nothing] * shift])[shift:]
    target = np.where(pairs.is_rate[columns], changes, target)
    known = np.isfinite(command) & np.isfinite(target) & np.isfinite(changes) & (changes != 0)
    close = np.abs(command - target) <= ROUNDING * (np.abs(state) + np.abs(command))
    return np.sum(known & close, axis=0), np.sum(known, axis=0)
