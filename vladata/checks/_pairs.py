"""Which measured dimension shows what a commanded one does, and both at the steps."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..embodiment import Dimension, Embodiment, Signal
from ..episode import Episode
from ..units import Kind, Mode, RotationConvention
from ._memory import remembered
from ._motion import GRIPPERS, POSITIONS, SPEEDS

__all__ = ["Pair", "Pairs", "changes", "paired", "words"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_FAMILY = {
    Kind.JOINT_POSITION: "joint",
    Kind.JOINT_VELOCITY: "joint",
    Kind.POSITION: "position",
    Kind.LINEAR_VELOCITY: "position",
    Kind.ROTATION: "rotation",
    Kind.ANGULAR_VELOCITY: "rotation",
    Kind.GRIPPER_APERTURE: "gripper",
    Kind.GRIPPER_COMMAND: "gripper",
}
"""Commanded kinds that one measured kind answers to."""
_MEASURED = POSITIONS | GRIPPERS
_SILENT = frozenset({
    "delta", "d", "command", "commands", "commanded", "cmd", "target", "targets", "goal", "desired", "action",
    "actions", "state", "states", "measured", "actual", "current", "observation", "obs", "joint", "joints", "position",
    "positions", "pos", "angle", "vel", "velocity",
})  # fmt: skip
"""Words of a name that don't say which dimension it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A commanded dimension and the measured one that answers to it."""

    action: str
    """The action's signal."""
    command: Dimension
    state: str
    """The measured signal."""
    measured: Dimension
    command_column: int
    measured_column: int
    wraps: bool
    """Whether both are angles that may jump by a whole turn."""

    @property
    def is_rate(self) -> bool:
        """Whether the command is a change (a delta or a speed), not a target."""
        return self.command.mode in {Mode.DELTA, Mode.VELOCITY} or self.command.kind in SPEEDS

    @property
    def is_gripper(self) -> bool:
        """Whether it is about a gripper."""
        return self.measured.kind in GRIPPERS or self.command.kind in GRIPPERS

    @property
    def is_scaled(self) -> bool:
        """Whether a recorder had scaled one of them, so that sizes say nothing."""
        return self.command.normalized or self.measured.normalized

    @property
    def location(self) -> str:
        """HDF5 path of the commands."""
        return f"/streams/{self.action}/values"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pairs:
    """The pairs of an episode with their values at the steps."""

    items: tuple[Pair, ...]
    commanded: FloatArray
    """Targets, or changes over one step, [T, P]; NaN where there is none that counts."""
    measured: FloatArray
    """[T, P]; NaN where there is none that counts."""
    is_rate: BoolArray
    """Whether a command is a change over one step, [P]."""
    per_step: FloatArray
    """What commands were multiplied with to be changes over one step: speeds with the period, [P]."""
    is_next: BoolArray
    """Whether a step follows the one before at the usual distance, [T - 1]."""

    def of(self, chosen: list[int]) -> "Pairs":
        """Some of the pairs."""
        return Pairs(
            items=tuple(self.items[i] for i in chosen),
            commanded=self.commanded[:, chosen],
            measured=self.measured[:, chosen],
            is_rate=self.is_rate[chosen],
            per_step=self.per_step[chosen],
            is_next=self.is_next,
        )


def words(name: str) -> tuple[str, ...]:
    """Words of a dimension's name without those that don't tell it from others.

    >>> words("delta_x"), words("left_elbow_command"), words("kLeftElbow")
    (('x',), ('left', 'elbow'), ('k', 'left', 'elbow'))
    """
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name).lower()
    found = tuple(w for w in re.split(r"[^a-z0-9]+", spaced) if w)
    return tuple(w for w in found if w not in _SILENT) or found


@remembered
def paired(episode: Episode) -> Pairs:
    """Pairs of an episode, with their values; actions that were derived from states are left out."""
    steps = episode.steps
    commanded, measured, items, factors = [], [], [], []
    for pair in _pairs(episode.embodiment, episode.derived_actions):
        command = _column(episode, pair.action, pair.command_column, is_action=True)
        state = _column(episode, pair.state, pair.measured_column, is_action=False)
        if command is None or state is None:
            continue
        is_speed = pair.command.mode is Mode.VELOCITY or pair.command.kind in SPEEDS
        factors.append(1 / episode.embodiment.rate_hz if is_speed else 1.0)
        commanded.append(command * factors[-1])
        measured.append(state)
        items.append(pair)
    shape = (len(steps), len(items))
    spacing = np.diff(steps.time_ns).astype(np.float64)
    usual = float(np.median(spacing)) if len(spacing) else 0.0
    return Pairs(
        items=tuple(items),
        commanded=np.stack(commanded, axis=1) if items else np.zeros(shape),
        measured=np.stack(measured, axis=1) if items else np.zeros(shape),
        is_rate=np.array([p.is_rate for p in items], dtype=bool),
        per_step=np.array(factors, dtype=np.float64),
        is_next=(spacing > 0.5 * usual) & (spacing < 1.5 * usual),
    )


def changes(pairs: Pairs) -> tuple[FloatArray, FloatArray]:
    """What was commanded to change and what changed from each step to the next, both [T - 1, P].

    Zero where one of both is not known, or steps are missing between.
    """
    wraps = np.array([p.wraps for p in pairs.items], dtype=bool)
    moved = _turned(np.diff(pairs.measured, axis=0), wraps)
    wanted = _turned(np.diff(pairs.commanded, axis=0), wraps)
    wanted = np.where(pairs.is_rate, pairs.commanded[:-1], wanted)
    known = pairs.is_next[:, None]
    return np.where(known & np.isfinite(wanted), wanted, 0.0), np.where(known & np.isfinite(moved), moved, 0.0)


def _turned(change: FloatArray, wraps: BoolArray) -> FloatArray:
    if wraps.any():
        change[:, wraps] = (change[:, wraps] + np.pi) % (2 * np.pi) - np.pi
    return change


def _column(episode: Episode, name: str, column: int, *, is_action: bool) -> FloatArray | None:
    """A dimension at the steps, [T]; NaN where it does not count or is not finite; None where it has no such shape."""
    steps = episode.steps
    values = (steps.action if is_action else steps.proprioception).get(name)
    valid = steps.valid.get(name)
    if values is None or values.ndim != 2 or len(values) != len(steps) or column >= values.shape[1]:
        return None
    result = values[:, column].astype(np.float64)
    good = np.isfinite(result)
    if valid is not None and len(valid) == len(result):
        good &= valid
    result[~good] = np.nan
    return result


_Places = dict[tuple[str, tuple[str, ...]], list[tuple[Signal, int]]]


def _pairs(embodiment: Embodiment, derived: frozenset[str]) -> Iterator[Pair]:
    """By the same name, else by words that say which, else the only gripper of both sides."""
    states: _Places = {}
    for signal in embodiment.proprioception:
        for column, dimension in enumerate(signal.dimensions):
            if dimension.kind in _MEASURED:
                family = _FAMILY[dimension.kind]
                for key in {(family, (dimension.name,)), (family, words(dimension.name)), (family, ())}:
                    states.setdefault(key, []).append((signal, column))
    actions = [s for s in embodiment.action if s.name not in derived]
    has_one = sum(d.kind in GRIPPERS for s in embodiment.action for d in s.dimensions) == 1
    for signal in actions:
        for column, dimension in enumerate(signal.dimensions):
            found = _found(signal, dimension, states, has_one=has_one)
            if found is not None and _fits(signal, dimension, found[0]):
                yield Pair(
                    action=signal.name,
                    command=dimension,
                    state=found[0].name,
                    measured=found[0].dimensions[found[1]],
                    command_column=column,
                    measured_column=found[1],
                    wraps=_FAMILY[dimension.kind] == "rotation" and found[0].rotation is RotationConvention.EULER_XYZ,
                )


def _found(signal: Signal, dimension: Dimension, states: _Places, *, has_one: bool) -> tuple[Signal, int] | None:
    family = _FAMILY.get(dimension.kind)
    if family is None or dimension.mode in {None, Mode.CHUNK_RELATIVE}:
        return None
    keys = [(family, (dimension.name,)), (family, words(dimension.name))]
    if family == "gripper" and has_one:
        keys.append((family, ()))
    return next((found for k in keys if (found := _one(signal, states.get(k, []))) is not None), None)


def _one(action: Signal, found: list[tuple[Signal, int]]) -> tuple[Signal, int] | None:
    """Of several candidates the one whose signal has most words of the action's; None where that says nothing."""
    if len(found) <= 1:
        return found[0] if found else None
    ours = set(words(action.name))
    shared = [len(ours & set(words(s.name))) for s, _ in found]
    best = max(shared)
    return found[shared.index(best)] if shared.count(best) == 1 else None


def _fits(action: Signal, command: Dimension, state: Signal) -> bool:
    """Rotations compare number by number only in one convention, and their changes only as Euler angles."""
    if command.kind is not Kind.ROTATION:
        return command.kind is not Kind.ANGULAR_VELOCITY or state.rotation is RotationConvention.EULER_XYZ
    if action.rotation is not state.rotation:
        return False
    return command.mode is Mode.ABSOLUTE or state.rotation is RotationConvention.EULER_XYZ
