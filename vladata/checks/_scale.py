"""Degrees where radians are declared, millimetres where metres are: by the other side of a pair, by range, by speed."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..embodiment import Dimension, Signal
from ..episode import Episode
from ..units import Kind, Mode, RotationConvention, Unit
from ._lag import Lag
from ._motion import GRIPPERS
from ._pairs import Pair

__all__ = ["Scaled", "scaled"]

FloatArray = NDArray[np.float64]

FACTORS = {Unit.RADIAN: (180 / np.pi, "degrees"), Unit.METRE: (1000.0, "millimetres")}
TURN = 2 * np.pi
BEYOND = {Unit.RADIAN: TURN, Unit.METRE: 10.0}
"""Values above this are no angles of a joint that has end stops, no positions of an arm …"""
SPEED = {Unit.RADIAN: 2 * TURN, Unit.METRE: 10.0}
"""… and changes above this, per second, are no motions of one."""
SHARE = 0.05
"""Of the steps that must be beyond: single ones are spikes."""
MOST_STEPS = 400
"""About so many are looked at, evenly over the episode."""
WIDEST = 1.0
"""No gripper opens wider, in metres."""
LEAST_LEVEL = 1.0
"""Root mean square below which the sizes of two sides are not compared: zeros have none."""
_ANGLES = frozenset({Kind.JOINT_POSITION, Kind.ROTATION})
_WHOLE = frozenset({RotationConvention.EULER_XYZ, RotationConvention.ROTATION_VECTOR, None})


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled:
    """A dimension that seems to be in another unit."""

    signal: str
    dimension: Dimension
    is_action: bool
    unit: str
    """What it seems to be in."""
    reason: str


def scaled(episode: Episode, lag: Lag | None, *, tolerance: float) -> Iterator[Scaled]:
    """Dimensions that seem to be in degrees or millimetres; each once, first those that are so beside their pair.

    Args:
        episode: To judge.
        lag: Of its pairs.
        tolerance: Largest ratio between what two sides differ by and what their units would.
    """
    seen: set[tuple[str, str]] = set()
    for found in (*(_beside(lag, tolerance) if lag is not None else ()), *_alone(episode)):
        key = (found.signal, found.dimension.name)
        if key not in seen:
            seen.add(key)
            yield found


def _beside(lag: Lag, tolerance: float) -> Iterator[Scaled]:
    """Pairs whose sides differ by the factor between two units."""
    pairs = lag.pairs
    shift = max(0, lag.whole)
    every = slice(None, None, 1 + len(lag.wanted) // MOST_STEPS)
    levels = (pairs.commanded[: len(pairs.commanded) - shift][every], pairs.measured[shift:][every])
    motion = (lag.wanted[: len(lag.wanted) - shift][every], lag.moved[shift:][every])
    ratios = {False: _ratio(*levels, 0.9), True: _ratio(*motion, 0.5)}
    for i, pair in enumerate(pairs.items):
        factor, unit = FACTORS.get(pair.command.unit, (0.0, ""))
        if not factor or pair.is_scaled or pair.command.unit is not pair.measured.unit:
            continue
        ratio, largest = (float(x[i]) for x in ratios[pair.is_rate])
        if not ratio or largest < (LEAST_LEVEL if not pair.is_rate else LEAST_LEVEL / factor):
            continue
        off = abs(np.log(ratio))
        if abs(off - np.log(factor)) <= np.log(tolerance):
            yield _side(pair, ratio, unit)


def _ratio(command: FloatArray, state: FloatArray, least: float) -> tuple[FloatArray, FloatArray]:
    """How many times a command is its state, [P], 0 where they don't go together; and the larger of their sizes."""
    known = np.isfinite(command) & np.isfinite(state)
    first, second = np.where(known, command, 0.0), np.where(known, state, 0.0)
    count = np.maximum(known.sum(axis=0), 1)
    aa, bb, ab = (np.einsum("tp,tp->p", x, y) / count for x, y in ((first, first), (second, second), (first, second)))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        together = np.nan_to_num(ab / np.sqrt(aa * bb)) >= least
        ratio = np.nan_to_num(np.sqrt(aa / bb), posinf=0.0)
    return np.where(together & (known.sum(axis=0) >= 5), ratio, 0.0), np.sqrt(np.maximum(aa, bb))


def _side(pair: Pair, ratio: float, unit: str) -> Scaled:
    is_action = ratio > 1
    factor = FACTORS[pair.command.unit][0]
    larger, smaller = (pair.command, pair.measured) if is_action else (pair.measured, pair.command)
    signal, other = (pair.action, pair.state) if is_action else (pair.state, pair.action)
    return Scaled(
        signal=signal,
        dimension=larger,
        is_action=is_action,
        unit=unit,
        reason=f"{max(ratio, 1 / ratio):.3g} times {other}.{smaller.name} ({unit} are {factor:.4g} times)",
    )


def _alone(episode: Episode) -> Iterator[Scaled]:
    """Dimensions whose values or speeds nothing in their unit can have."""
    embodiment = episode.embodiment
    actions = {s.name for s in embodiment.action} - episode.derived_actions
    for signal in embodiment.signals:
        is_action = signal.name in actions
        values = (episode.steps.action if is_action else episode.steps.proprioception).get(signal.name)
        columns = [i for i, d in enumerate(signal.dimensions) if _can_be(signal, d)]
        if not columns or values is None or values.ndim != 2 or values.shape[1] != len(signal.dimensions):
            continue
        seen = _sizes(values[:, columns].astype(np.float64), embodiment.rate_hz)
        for k, column in enumerate(columns):
            dimension = signal.dimensions[column]
            is_delta = dimension.mode is Mode.DELTA
            speed = seen.size[k] * embodiment.rate_hz if is_delta else seen.speed[k]
            reason = _reason(dimension, float(seen.size[k]), float(speed), float(seen.low[k]), float(seen.high[k]))
            if reason:
                unit = FACTORS[dimension.unit][1]
                yield Scaled(signal=signal.name, dimension=dimension, is_action=is_action, unit=unit, reason=reason)


def _can_be(signal: Signal, dimension: Dimension) -> bool:
    if dimension.normalized or dimension.mode in {Mode.CHUNK_RELATIVE, Mode.VELOCITY}:
        return False
    if dimension.unit is Unit.RADIAN:
        return dimension.kind in _ANGLES | GRIPPERS and signal.rotation in _WHOLE
    return dimension.unit is Unit.METRE and dimension.kind in GRIPPERS | {Kind.POSITION, Kind.JOINT_POSITION}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Sizes:
    """How large values are, but for a share of the steps, [K]."""

    size: FloatArray
    speed: FloatArray
    """Of their change, per second."""
    low: FloatArray
    high: FloatArray


def _sizes(values: FloatArray, rate_hz: float) -> _Sizes:
    if len(values) < 2:
        nothing = np.zeros(values.shape[1])
        return _Sizes(size=nothing, speed=nothing, low=nothing, high=nothing)
    safe = np.where(np.isfinite(values), values, 0.0)
    every = slice(None, None, 1 + len(safe) // MOST_STEPS)
    speeds = np.sort(np.abs(np.diff(safe, axis=0)[every]), axis=0) * rate_hz
    safe = safe[every]
    ordered, sizes = np.sort(safe, axis=0), np.sort(np.abs(safe), axis=0)
    rank = max(0, int((1 - SHARE) * len(safe)) - 1)
    return _Sizes(
        size=sizes[rank], speed=speeds[min(rank, len(speeds) - 1)], low=ordered[-1 - rank], high=ordered[rank]
    )


def _reason(dimension: Dimension, size: float, speed: float, low: float, high: float) -> str:
    """Why a dimension can't be in its unit; empty where it can."""
    unit = dimension.unit
    if dimension.mode is Mode.DELTA:
        return f"deltas up to {size:.3g} {unit} in a step, {speed:.3g} {unit}/s" if speed > SPEED[unit] else ""
    if dimension.limits is not None:
        return _beyond(dimension, dimension.limits, size, low, high)
    if dimension.kind in GRIPPERS and unit is Unit.METRE:
        return f"values up to {size:.3g} m" if size > WIDEST else ""
    if size > BEYOND[unit] and speed > SPEED[unit] / 2:
        return f"values up to {size:.3g} {unit} at speeds up to {speed:.3g} {unit}/s"
    return ""


def _beyond(dimension: Dimension, limits: tuple[float, float], size: float, low: float, high: float) -> str:
    unit, factor = dimension.unit, FACTORS[dimension.unit][0]
    reach, width = max(abs(x) for x in limits), limits[1] - limits[0]
    fits = limits[0] - 0.1 * width <= low / factor and high / factor <= limits[1] + 0.1 * width
    # A wrong zero moves values out of the limits, but does not make their span larger.
    is_wide = high - low > 1.5 * width or size > max(5 * reach, TURN if unit is Unit.RADIAN else 0.0)
    return f"values up to {size:.3g} {unit}, with limits up to {reach:.3g} {unit}" if fits and is_wide else ""
