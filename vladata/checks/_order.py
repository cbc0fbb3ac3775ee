"""Which measured dimension really follows a commanded one, and in which direction."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..embodiment import Dimension
from ..units import Unit
from ._columns import correlate, span
from ._lag import Lag
from ._pairs import Pairs

__all__ = ["Follow", "Mirrored", "Polarity", "Swapped", "follow", "inverted_grippers", "mirrored", "swapped"]

FloatArray = NDArray[np.float64]

SEARCH_S = 1.5
"""A gripper follows its command within so many seconds."""
NUM_LAGS = 13
"""So many of them are tried: grippers take their time."""
PATIENCE = 0.1
"""The longest lag must fit better by this share than the shortest."""
LONGEST = 12
"""Steps by which a joint may follow its command at most, where the order of joints is in question."""
FEWEST_STEPS = 8
"""Fewer steps tell nothing."""
LEAST = {Unit.RADIAN: 0.05, Unit.METRE: 0.02, Unit.ONE: 0.1}
"""A dimension that spans less shows nothing."""
ALIKE = 0.3
"""A command that is about another joint is nearer to it than this share of the distance to its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Polarity:
    """A gripper whose command goes against what is measured."""

    pair: int
    correlation: float
    lag: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Swapped:
    """Commands that other joints follow than their own."""

    pairs: tuple[int, ...]
    """Places of the pairs, in the lag's."""
    follows: tuple[int, ...]
    """Of each, the pair whose measured side follows it."""
    own: float
    """Lowest correlation of the changes with those of their own joints."""
    other: float
    """Lowest correlation with those that follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirrored:
    """A command that its joint follows in the other direction."""

    pair: int
    correlation: float


def inverted_grippers(pairs: Pairs, rate_hz: float, *, correlation: float, motion: float) -> list[Polarity]:
    """Grippers that open where their command closes; both as the schema's open and closed values say.

    Args:
        pairs: Of the episode.
        rate_hz: Of the steps.
        correlation: How clearly opposite they must be, 0 to 1.
        motion: How far both must move, in openings.
    """
    chosen = [i for i, p in enumerate(pairs.items) if _is_poled(p.command) and _is_poled(p.measured) and not p.is_rate]
    if not chosen or len(pairs.commanded) < FEWEST_STEPS:
        return []
    command = _opening([pairs.items[i].command for i in chosen], pairs.commanded[:, chosen])
    measured = _opening([pairs.items[i].measured for i in chosen], pairs.measured[:, chosen])
    moves = np.flatnonzero((span(command) > motion) & (span(measured) > motion))
    if len(moves) == 0:
        return []
    command, measured = command[:, moves], measured[:, moves]
    lags = np.unique(np.linspace(0, min(round(SEARCH_S * rate_hz), len(command) // 4), NUM_LAGS).astype(int))
    every = np.stack([correlate(command[: len(command) - k], measured[k:], FEWEST_STEPS)[0] for k in lags])
    # Of two lags that fit alike the shorter one: what repeats itself is opposite half a period later.
    at = np.argmax(np.abs(every) * (1 - PATIENCE * lags / max(int(lags[-1]), 1))[:, None], axis=0)
    best = every[at, np.arange(len(moves))]
    return [
        Polarity(pair=chosen[int(moves[k])], correlation=float(best[k]), lag=int(lags[at[k]]))
        for k in np.flatnonzero(best <= -correlation)
    ]


def _is_poled(dimension: Dimension) -> bool:
    opened, closed = dimension.open_value, dimension.closed_value
    return opened is not None and closed is not None and opened != closed


def _opening(dimensions: list[Dimension], values: FloatArray) -> FloatArray:
    """0 where closed, 1 where open, [T, K]."""
    opened = np.array([d.open_value for d in dimensions], dtype=np.float64)
    closed = np.array([d.closed_value for d in dimensions], dtype=np.float64)
    return np.asarray((values - closed) / (opened - closed))


def _judged(lag: Lag) -> list[int]:
    """Pairs of which both sides move."""
    pairs = lag.pairs
    least = np.array([LEAST.get(p.measured.unit, np.inf) for p in pairs.items])
    way = np.cumsum(lag.wanted, axis=0)
    commands = np.where(pairs.is_rate, way, pairs.commanded[: len(way)])
    both = (span(commands / least) > 1.0) & (span(pairs.measured / least) > 1.0)
    return [i for i, p in enumerate(pairs.items) if both[i] and not (p.wraps and not p.is_rate)]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Follow:
    """How the changes of states follow those of commands, of the pairs of which both sides move."""

    chosen: list[int]
    """Places of these pairs, in the lag's: K of them."""
    best: FloatArray
    """Highest correlation of each command with each state over all lags, [K, K]."""
    worst: FloatArray
    """Lowest one, [K, K]."""
    lag: NDArray[np.int64]
    """Where it is highest, [K, K]."""


def follow(lag: Lag) -> Follow | None:
    """Compare all commands with all states; None where nothing moves."""
    chosen = _judged(lag)
    if not chosen:
        return None
    wanted, moved = lag.wanted[:, chosen], lag.moved[:, chosen]
    most = min(max(3, round(1.5 * abs(lag.steps)) if np.isfinite(lag.steps) else 0), LONGEST, len(wanted) // 4)
    wanted, moved = _centred(wanted), _centred(moved)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        sizes = [np.sqrt(np.einsum("tk,tk->k", x, x)) for x in (wanted, moved)]
        products = np.stack([wanted[: len(wanted) - k].T @ moved[k:] for k in range(most + 1)])
        every = np.nan_to_num(products / np.outer(*sizes), posinf=0.0, neginf=0.0)
    return Follow(chosen=chosen, best=every.max(axis=0), worst=every.min(axis=0), lag=np.argmax(every, axis=0))


def swapped(lag: Lag, seen: Follow, *, correlation: float) -> Swapped | None:
    """Find commands that are followed by each other's joints; joints that move alike are nobody's.

    All of them together must be a permutation. Where targets, or ways that deltas add up to, are much nearer to another
    joint than to their own, half the correlation is enough; else deltas must be followed with this correlation by
    another joint, more clearly than by their own.
    """
    chosen = seen.chosen
    if len(chosen) < 2:
        return None
    own = np.maximum(np.diag(seen.best), 0.0)
    off = np.where(np.eye(len(chosen), dtype=bool) | ~_comparable(lag, chosen), -np.inf, seen.best)
    distance = _distances(lag, chosen, int(np.median(np.diag(seen.lag))))
    near = (distance < ALIKE * np.diag(distance)[:, None]) & (off >= correlation / 2)
    target = np.where(near.any(axis=1), np.argmin(np.where(near, distance, np.inf), axis=1), -1)
    moved = _cycles(target)
    if not moved:
        target = np.argmax(off, axis=1)
        best = off[np.arange(len(chosen)), target]
        is_clear = lag.pairs.is_rate[chosen] & (best >= correlation) & (best > own + ALIKE / 4)
        moved = _cycles(np.where(is_clear, target, -1))
        if not moved or float((best - own)[moved].mean()) < ALIKE:
            return None
    return Swapped(
        pairs=tuple(chosen[k] for k in moved),
        follows=tuple(chosen[int(target[k])] for k in moved),
        own=float(np.diag(seen.best)[moved].max()),
        other=float(off[moved, target[moved]].min()),
    )


def _cycles(target: NDArray[np.intp]) -> list[int]:
    """Places that are reached again from themselves; -1 leads nowhere."""
    found = []
    for start in range(len(target)):
        place = int(target[start])
        for _ in range(len(target)):
            if place in {start, -1}:
                break
            place = int(target[place])
        if place == start:
            found.append(start)
    return found


def _comparable(lag: Lag, chosen: list[int]) -> NDArray[np.bool_]:
    """Pairs that can be mistaken for each other: of the same kind, unit and mode, [K, K]."""
    pairs = [lag.pairs.items[i] for i in chosen]
    kinds = [(p.measured.kind, p.measured.unit, p.is_rate, p.is_scaled) for p in pairs]
    return np.array([[a == b for b in kinds] for a in kinds])


def _distances(lag: Lag, chosen: list[int], shift: int) -> FloatArray:
    """Root mean square between each command and each state, [K, K]; of changes: between their sums."""
    pairs, count = lag.pairs, len(lag.wanted) - shift
    commands, states = pairs.commanded[:count, chosen], pairs.measured[shift : shift + count, chosen]
    ways = [_centred(np.cumsum(x[:, chosen], axis=0)) for x in (lag.wanted[:count], lag.moved[shift:])]
    is_rate = pairs.is_rate[chosen]
    a, b = np.where(is_rate, ways[0], commands), np.where(is_rate, ways[1], states)
    known = np.isfinite(a).all(axis=1) & np.isfinite(b).all(axis=1)
    a, b = a[known], b[known]
    if len(a) < FEWEST_STEPS:
        return np.full((len(chosen), len(chosen)), np.nan)
    square = np.square(a).sum(axis=0)[:, None] + np.square(b).sum(axis=0) - 2 * a.T @ b
    return np.asarray(np.sqrt(np.maximum(square, 0.0) / len(a)))


def _centred(values: FloatArray) -> FloatArray:
    return np.asarray(values - values.mean(axis=0))


def mirrored(lag: Lag, seen: Follow, *, correlation: float) -> list[Mirrored]:
    """Commands whose joints go the other way, and at no lag the same way; of targets the levels are opposite too."""
    chosen = seen.chosen
    worst, best = np.diag(seen.worst), np.diag(seen.best)
    levels, _ = correlate(lag.pairs.commanded[:, chosen], lag.pairs.measured[:, chosen], FEWEST_STEPS)
    is_opposite = (worst <= -correlation) & (best < -ALIKE * worst)
    is_opposite &= lag.pairs.is_rate[chosen] | (levels <= -correlation)
    return [Mirrored(pair=chosen[k], correlation=float(worst[k])) for k in np.flatnonzero(is_opposite)]
