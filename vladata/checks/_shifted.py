"""Commands that are nothing but the states they should have led to."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._pairs import Pairs

__all__ = ["Copies", "copies"]

IntArray = NDArray[np.intp]

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
    look = _Look(pairs, columns)
    for shift in SHIFTS:
        equal, moves = look.equal(shift)
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


class _Look:
    """Commands and states of some pairs, [T, K], and what all shifts need of them."""

    def __init__(self, pairs: Pairs, columns: IntArray) -> None:
        self._command, self._state = pairs.commanded[:, columns], pairs.measured[:, columns]
        self._is_rate = pairs.is_rate[columns]
        self._changes = np.diff(self._state, axis=0)
        self._moves = np.isfinite(self._changes) & (self._changes != 0)
        self._rounding = ROUNDING * (np.abs(self._state) + np.abs(self._command))

    def equal(self, shift: int) -> tuple[IntArray, IntArray]:
        """Steps at which a command is the state, and steps that count, because the state is another than before."""
        first = max(0, 1 - shift)
        stop = max(first, len(self._command) - shift)
        command = self._command[first:stop]
        # The change that ends in the state of a step lies one place before it.
        now, before = slice(first + shift, stop + shift), slice(first + shift - 1, stop + shift - 1)
        target = np.where(self._is_rate, self._changes[before], self._state[now])
        known = np.isfinite(command) & self._moves[before]
        close = np.abs(command - target) <= self._rounding[first:stop]
        return np.sum(known & close, axis=0), np.sum(known, axis=0)
