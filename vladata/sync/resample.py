"""Bring one stream onto given step times."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..embodiment import Signal
from ..errors import SyncError
from ..units import Kind, Mode
from .rotations import compose, groups_of, slerp

__all__ = ["Samples", "drop_equal", "hold", "interpolate", "nearest", "take_actions"]

Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """Which sample each step gets."""

    index: Int64Array
    """[T]; -1 where there is none."""
    age_ns: Int64Array
    """Step time minus sample time, [T]; 0 where there is none."""
    valid: BoolArray
    """[T]."""


def drop_equal(time_ns: Int64Array) -> Int64Array:
    """Indices of the samples that count where stamps are equal: the last of each stamp wins.

    Args:
        time_ns: Not decreasing, [N].
    """
    if len(time_ns) == 0:
        return np.zeros(0, dtype=np.int64)
    is_last = np.append(time_ns[1:] != time_ns[:-1], True)
    return np.flatnonzero(is_last).astype(np.int64)


def hold(time_ns: Int64Array, steps_ns: Int64Array, max_age_ns: int | None) -> Samples:
    """The latest sample at or before each step; older than `max_age_ns` does not count.

    Args:
        time_ns: Strictly increasing, [N].
        steps_ns: [T].
        max_age_ns: None: any age counts.
    """
    index = np.searchsorted(time_ns, steps_ns, side="right").astype(np.int64) - 1
    return _aged(time_ns, steps_ns, index, index >= 0, max_age_ns)


def nearest(time_ns: Int64Array, steps_ns: Int64Array, max_age_ns: int | None) -> Samples:
    """The sample nearest to each step, the earlier one of two; it may lie after the step (negative age)."""
    after = np.clip(np.searchsorted(time_ns, steps_ns, side="left"), 0, max(0, len(time_ns) - 1))
    before = np.clip(after - 1, 0, None)
    if len(time_ns) == 0:
        return _aged(time_ns, steps_ns, np.full(len(steps_ns), -1), np.zeros(len(steps_ns), bool), max_age_ns)
    closer = np.abs(time_ns[before] - steps_ns) <= np.abs(time_ns[after] - steps_ns)
    index = np.where(closer, before, after).astype(np.int64)
    return _aged(time_ns, steps_ns, index, np.ones(len(steps_ns), bool), max_age_ns)


def _aged(
    time_ns: Int64Array, steps_ns: Int64Array, index: Int64Array, found: BoolArray, max_age_ns: int | None
) -> Samples:
    age = np.zeros(len(steps_ns), dtype=np.int64)
    age[found] = steps_ns[found] - time_ns[index[found]]
    valid = found.copy()
    if max_age_ns is not None:
        valid &= np.abs(age) <= max_age_ns
    return Samples(index=np.where(found, index, -1), age_ns=age, valid=valid)


def interpolate(
    time_ns: Int64Array,
    values: NDArray[np.generic],
    steps_ns: Int64Array,
    max_age_ns: int | None,
    signal: Signal | None = None,
) -> tuple[FloatArray, Samples]:
    """Values on the straight line between the samples around each step; both must be there.

    Args:
        time_ns: Strictly increasing, [N].
        values: [N, D].
        steps_ns: [T].
        max_age_ns: A sample farther away does not count; None: any does.
        signal: Its rotations go the shortest way at constant speed instead (slerp); None: all is straight.

    Returns:
        [T, D], NaN where it does not count; the age is that of the sample before the step. A step between numbers
        that are no rotation does not count.

    Raises:
        SyncError: Rotation dimensions make no whole rotation.
    """
    held = hold(time_ns, steps_ns, max_age_ns)
    following = np.searchsorted(time_ns, steps_ns, side="left")
    valid = held.valid & (following < len(time_ns))
    result = np.full((len(steps_ns), values.shape[1]), np.nan, dtype=np.float64)
    at = np.flatnonzero(valid)
    before, after = held.index[at], following[at]
    if max_age_ns is not None:
        near = time_ns[after] - steps_ns[at] <= max_age_ns
        valid[at[~near]] = False
        at, before, after = at[near], before[near], after[near]
    span = np.maximum(time_ns[after] - time_ns[before], 1)
    share = ((steps_ns[at] - time_ns[before]) / span)[:, None]
    plain = values.astype(np.float64)
    result[at] = plain[before] * (1 - share) + plain[after] * share
    if signal is not None and signal.rotation is not None:
        for group in groups_of(signal):
            columns = np.array(group)
            first, second = plain[before][:, columns], plain[after][:, columns]
            turned = slerp(first, second, share[:, 0], signal.rotation)
            result[np.ix_(at, columns)] = turned
            # What is not finite is found by the checks, as everywhere; numbers that are no rotation only here.
            is_finite = np.isfinite(first).all(axis=1) & np.isfinite(second).all(axis=1)
            valid[at[is_finite & np.isnan(turned).any(axis=1)]] = False
        result[~valid] = np.nan
    with np.errstate(over="ignore"):
        return result.astype(np.float32), Samples(index=held.index, age_ns=held.age_ns, valid=valid)


def take_actions(
    time_ns: Int64Array, values: NDArray[np.generic], signal: Signal, edges_ns: Int64Array
) -> tuple[FloatArray, Samples]:
    """What was commanded from each step on, before the next.

    Args:
        time_ns: Strictly increasing, [N].
        values: Commands, [N, D].
        signal: Says for each dimension whether it is absolute, a delta or a velocity.
        edges_ns: Step times and the end of the last step, [T + 1].

    Returns:
        [T, D]: absolute and velocity dimensions of the first command in the step, delta dimensions composed over all
        its commands; NaN where the step has none.

    Raises:
        SyncError: A chunk-relative action, which has no meaning outside its chunk, or deltas that can't be composed.
    """
    steps, ends = edges_ns[:-1], edges_ns[1:]
    first = np.searchsorted(time_ns, steps, side="left").astype(np.int64)
    last = np.searchsorted(time_ns, ends, side="left").astype(np.int64)
    found = first < last
    result = np.full((len(steps), len(signal.dimensions)), np.nan, dtype=np.float64)
    plain = values.astype(np.float64)
    modes = [d.mode for d in signal.dimensions]
    if Mode.CHUNK_RELATIVE in modes:
        raise SyncError(f"action {signal.name} is relative to chunk starts; it can't be brought to other steps")
    result[found] = plain[first[found]]
    delta = np.array([m is Mode.DELTA for m in modes])
    if delta.any():
        total = np.vstack([np.zeros(plain.shape[1]), np.cumsum(plain, axis=0)])
        sums = total[last[found]] - total[first[found]]
        result[np.ix_(found, delta)] = sums[:, delta]
        _compose_rotations(result, plain, signal, np.stack([first, last], axis=1), found)
    age = np.zeros(len(steps), dtype=np.int64)
    age[found] = steps[found] - time_ns[first[found]]
    with np.errstate(over="ignore"):
        return result.astype(np.float32), Samples(index=np.where(found, first, -1), age_ns=age, valid=found)


def _compose_rotations(
    result: NDArray[np.float64],
    values: NDArray[np.float64],
    signal: Signal,
    ranges: Int64Array,
    found: BoolArray,
) -> None:
    """Replace sums of rotation deltas by their composition where a step has more than one command.

    Dimensions of a rotation are all deltas or none.
    """
    turning = {i for i, d in enumerate(signal.dimensions) if d.kind is Kind.ROTATION and d.mode is Mode.DELTA}
    several = np.flatnonzero(found & (ranges[:, 1] - ranges[:, 0] > 1))
    if not turning or len(several) == 0 or signal.rotation is None:
        return
    for group in groups_of(signal):
        if not turning & set(group):
            continue
        if not turning >= set(group):
            names = ", ".join(signal.names[i] for i in group)
            raise SyncError(f"action {signal.name}: {names} are one rotation; all of them must be deltas, or none")
        columns = np.array(group)
        result[np.ix_(several, columns)] = compose(values[:, columns], ranges[several], signal.rotation)
