"""Commanded quaternions that turn as the measured ones do only when their components are in another order."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ..embodiment import Signal
from ..episode import Episode
from ..units import Kind, Mode, RotationConvention

__all__ = ["Reordered", "negated", "reordered"]

FloatArray = NDArray[np.float64]

ORDERS = {RotationConvention.QUATERNION_XYZW: "x, y, z, w", RotationConvention.QUATERNION_WXYZ: "w, x, y, z"}
APART, NEAR = 0.8, 0.3
"""rad: a target is never so far from the state at half of the steps; and it is so near when it is put right."""
MIN_STEPS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Reordered:
    """A command whose quaternion is not in the declared order, or whose state's is not."""

    action: str
    state: str
    angle: float
    """Between the two as they are, median, rad."""
    undone: float
    """The same with the command's components moved."""
    declared: str
    dimensions: tuple[str, ...]


def reordered(episode: Episode) -> Iterator[Reordered]:
    """Commands whose quaternion is that of the state in the other order of its components."""
    for action, state, first, second in _both(episode):
        angle = _angle(first, second)
        # One of the two has its first component last, or its last one first.
        undone = min(_angle(np.roll(first, shift, axis=1), second) for shift in (-1, 1))
        if angle > APART and undone < NEAR:
            yield Reordered(
                action=action.name,
                state=state.name,
                angle=angle,
                undone=undone,
                declared=ORDERS[action.rotation] if action.rotation else "",
                dimensions=tuple(action.names[c] for c in _quaternion(action)),
            )


def negated(episode: Episode) -> frozenset[tuple[str, str]]:
    """Action and dimension of quaternions with the other sign than the state's, which mean the same rotation."""
    return frozenset(
        (action.name, action.names[c])
        for action, _, first, second in _both(episode)
        if float(np.median(np.einsum("ij,ij->i", first, second))) < 0 and _angle(first, second) < NEAR
        for c in _quaternion(action)
    )


def _both(episode: Episode) -> Iterator[tuple[Signal, Signal, FloatArray, FloatArray]]:
    """Absolute commands and states of the same frame and convention, with their quaternions at the steps, [T, 4]."""
    steps = episode.steps
    for action, state in product(episode.embodiment.action, episode.embodiment.proprioception):
        columns, others = _quaternion(action), _quaternion(state)
        is_same = state.rotation is action.rotation and state.reference_frame == action.reference_frame
        command, measured = steps.action.get(action.name), steps.proprioception.get(state.name)
        if not columns or not others or not is_same or command is None or measured is None:
            continue
        first, second = _unit(command, columns), _unit(measured, others)
        if len(first) != len(second):
            continue
        known = np.isfinite(first).all(axis=1) & np.isfinite(second).all(axis=1)
        if known.sum() >= MIN_STEPS:
            yield action, state, first[known], second[known]


def _quaternion(signal: Signal) -> list[int]:
    """Columns of a signal's quaternion; none where it has not exactly one that is a place."""
    if signal.rotation not in ORDERS:
        return []
    found = [c for c, d in enumerate(signal.dimensions) if d.kind is Kind.ROTATION and d.mode in {None, Mode.ABSOLUTE}]
    return found if len(found) == 4 else []


def _unit(values: NDArray[np.floating], columns: list[int]) -> FloatArray:
    if values.ndim != 2 or values.shape[1] <= max(columns):
        return np.full((len(values), 4), np.nan)
    chosen = values[:, columns].astype(np.float64)
    return np.asarray(chosen / np.linalg.norm(chosen, axis=1, keepdims=True))


def _angle(first: FloatArray, second: FloatArray) -> float:
    """Median angle between rotations; a quaternion and its negative are the same."""
    cosine = np.abs(np.einsum("ij,ij->i", first, second))
    return float(np.median(2 * np.arccos(np.minimum(cosine, 1.0))))
