"""Whether commands are targets or changes, by what the state does."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._columns import correlate, span
from ._pairs import Pair, Pairs, changes

__all__ = ["OtherMode", "other_modes"]

FloatArray = NDArray[np.float64]

LAGS = (0, 1, 2, 3)
"""Steps by which a state may follow its target, when their levels are compared."""
MOST_STEPS = 400
"""About so many are compared, evenly over the episode: more say the same."""
LEVEL_SLOPE = (0.5, 2.0)
"""A state that follows targets moves about as far as they do."""
SUM_SLOPE = (0.15, 4.0)
"""A state that follows changes moves as far as their sum, within a gain: controllers do not reach every delta."""
SPEED, SMALL = 0.6, 0.5
"""Commands go with the speed above this correlation, and with the level below it, if they are so small beside it."""
LEAST = {"rad": 0.05, "m": 0.02}
"""A dimension whose state spans less shows nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherMode:
    """Pairs of one action that are not in the mode that is declared."""

    pairs: tuple[int, ...]
    judged: int
    """Dimensions that move enough to tell."""
    level: float
    """Correlation of the commands with the state's level, in the dimension that shows it best."""
    change: float
    """Correlation of their sum with how far the state has moved."""
    best: int
    """The pair that shows it best."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Evidence:
    """How commands relate to the state, for each pair, [P]."""

    level: FloatArray
    level_slope: FloatArray
    sum: FloatArray
    sum_slope: FloatArray
    speed: FloatArray
    """Correlation of the commands with how fast the state moves."""
    size: FloatArray
    """Standard deviation of the commands over the state's."""
    offset: FloatArray
    """Distance between the means of commands and state, in spans of the state."""


def other_modes(pairs: Pairs, action: str, *, is_rate: bool, correlation: float) -> OtherMode | None:
    """Find an action's dimensions that are targets though changes are declared (`is_rate`), or the reverse.

    Most of the dimensions that move must say so, each with certainty: the declared mode does not fit, the other does.
    """
    chosen = [i for i, p in enumerate(pairs.items) if p.action == action and _counts(p, is_rate=is_rate)]
    if not chosen:
        return None
    part = pairs.of(chosen)
    seen = _evidence(part)
    spans = np.array([LEAST.get(str(p.measured.unit), np.inf) for p in part.items])
    enough = span(part.measured) >= spans
    follows_level = (seen.level >= correlation) & _within(seen.level_slope, LEVEL_SLOPE) & (seen.offset < 1.0)
    follows_sum = (seen.sum >= correlation) & _within(seen.sum_slope, SUM_SLOPE)
    if not is_rate:
        # Distances to the target add up to more than the way, but are small, and go with the speed.
        follows_sum |= (seen.speed >= SPEED) & (seen.size <= SMALL) & (seen.level < SPEED)
    is_other = enough & ((follows_level & ~follows_sum) if is_rate else (follows_sum & ~follows_level))
    found, judged = np.flatnonzero(is_other), int(enough.sum())
    if len(found) == 0 or 2 * len(found) <= judged:
        return None
    best = int(found[np.argmax((seen.level if is_rate else seen.sum)[found])])
    return OtherMode(
        pairs=tuple(chosen[i] for i in found),
        judged=judged,
        level=float(seen.level[best]),
        change=float(seen.sum[best]),
        best=chosen[best],
    )


def _counts(pair: Pair, *, is_rate: bool) -> bool:
    return pair.is_rate is is_rate and not pair.is_gripper and not pair.is_scaled


def _evidence(pairs: Pairs) -> _Evidence:
    _, moved = changes(pairs)
    wanted = np.where(pairs.is_next[:, None], np.nan_to_num(pairs.commanded[:-1]), 0.0)
    done, asked = np.cumsum(moved, axis=0), np.cumsum(wanted, axis=0)
    # The level without the jumps of angles by a whole turn: where it began, and how far it moved since.
    state = np.concatenate([np.zeros((1, done.shape[1])), done]) + np.nan_to_num(pairs.measured[:1])
    command = pairs.commanded / pairs.per_step
    level, speed = np.full(done.shape[1], -1.0), np.full(done.shape[1], -1.0)
    slope = np.zeros(done.shape[1])
    every = slice(None, None, 1 + len(command) // MOST_STEPS)
    for lag in (k for k in LAGS if k < len(command) - 3):
        fit, along = correlate(command[: len(command) - lag][every], state[lag:][every])
        slope = np.where(fit > level, along, slope)
        level = np.maximum(fit, level)
        speed = np.maximum(correlate(command[: len(moved) - lag][every], moved[lag:][every])[0], speed)
    total, total_slope = correlate(asked[every], done[every])
    command, state = command[every], state[every]
    wide = np.maximum(span(state), 1e-12)
    offset = np.abs(np.nan_to_num(_mean(command)) - _mean(state)) / wide
    size = _deviation(command) / np.maximum(_deviation(state), 1e-12)
    return _Evidence(
        level=level, level_slope=slope, sum=total, sum_slope=total_slope, speed=speed, size=size, offset=offset
    )


def _deviation(values: FloatArray) -> FloatArray:
    return np.asarray(np.sqrt(_mean(np.square(values - _mean(values)))))


def _mean(values: FloatArray) -> FloatArray:
    known = np.isfinite(values)
    return np.asarray(np.where(known, values, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1))


def _within(values: FloatArray, limits: tuple[float, float]) -> NDArray[np.bool_]:
    return np.asarray((values >= limits[0]) & (values <= limits[1]))
