"""Faults of meaning: numbers that look good, and mean something else than the schema says."""

import dataclasses

import numpy as np

from vladata.units import Kind, Mode, Unit

from .case import Case
from .fault import fault
from .tools import columns, cut, moving, one_of

__all__ = [
    "absolute_as_delta",
    "action_early",
    "action_late",
    "degrees_all",
    "degrees_one",
    "delta_as_absolute",
    "effect_before_cause",
    "gripper_inverted",
    "joint_mirrored",
    "joints_swapped",
    "millimetres",
    "pose_offset",
    "shifted_state",
]

JOINTS = ("joint", "stepped", "sample", "g1")
"""Actions are targets of the joints that are measured, too."""
FOLLOWING = ("joint", "pose", "stepped", "delta", "g1")
CHANGES = ("delta", "bridge")
SLOWEST_S = 0.5
"""So long a lag is looked for."""


def _shared_columns(case: Case) -> tuple[str, str, list[tuple[int, int]]]:
    """The state, the action, and which columns of theirs are the same thing."""
    action = case.commands[0]
    wanted = {d.name.removeprefix("delta_"): c for c, d in enumerate(case.embodiment.signal(action).dimensions)}
    best = max(case.measured, key=lambda n: len(wanted.keys() & set(case.embodiment.signal(n).names)))
    names = case.embodiment.signal(best).names
    return best, action, [(c, wanted[n]) for c, n in enumerate(names) if n in wanted]


@fault("meaning.shifted_state", (1, 1, 1), ("stepped", "g1", "sample", "joint"))
def shifted_state(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """The action is what was measured a step later, to the last bit."""
    state, action, pairs = _shared_columns(case)
    measured = case.stream(state)
    if case.recording.is_stepped:
        values = case.numbers(action)
        for source, target in pairs:
            values[:-1, target] = measured.values[1:, source]
            values[-1, target] = measured.values[-1, source]
        return case.with_values(action, values)
    # Somebody made the steps first and then the actions: at each step, what the state is at the next.
    steps = _steps_of(case)
    rows = np.clip(np.searchsorted(measured.time_ns, steps[1:], side="right") - 1, 0, None)
    own = case.stream(action)
    values = np.empty((len(rows), own.values.shape[1]), dtype=np.float64)
    values[:] = own.values[np.clip(np.searchsorted(own.time_ns, steps[:-1]), 0, len(own.values) - 1)]
    for source, target in pairs:
        values[:, target] = measured.values[rows, source]
    made = dataclasses.replace(own, time_ns=steps[:-1], receive_time_ns=None, values=values)
    return case.with_streams(made)


def _steps_of(case: Case) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    from .case import episode_of

    return episode_of(case).steps.time_ns


def _relabelled(case: Case, steps: int) -> Case:
    """Actions are labelled so many steps late (or early, below 0)."""
    name = case.commands[0]
    stream = case.stream(name)
    if not case.recording.is_stepped:
        moved = stream.time_ns + steps * case.step_ns
        received = None if stream.receive_time_ns is None else stream.receive_time_ns + steps * case.step_ns
        return case.with_streams(dataclasses.replace(stream, time_ns=moved, receive_time_ns=received))
    # Rows: the actions go on by so many rows; rows that have lost theirs are left out.
    count = len(stream.time_ns)
    kept, taken = slice(max(steps, 0), count - max(-steps, 0)), slice(max(-steps, 0), count - max(steps, 0))
    keep = np.zeros(count, dtype=bool)
    keep[kept] = True
    values = case.numbers(name)[taken]
    return cut(case, lambda _: keep).with_values(name, values)


@fault("meaning.lag", (1, 2, 4), FOLLOWING)
def action_late(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """Actions are labelled so many steps late."""
    return _relabelled(case, int(level))


@fault("meaning.lag", (1, 2, 4), FOLLOWING)
def action_early(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """Actions are labelled so many steps early."""
    return _relabelled(case, -int(level))


def _lag_s(case: Case) -> float:
    """By how much the state follows its command: where they differ least, but for a constant."""
    state, action, pairs = _shared_columns(case)
    measured, own = case.stream(state), case.stream(action)
    dimensions = case.embodiment.signal(action).dimensions
    pairs = [(s, t) for s, t in pairs if dimensions[t].kind in {Kind.JOINT_POSITION, Kind.POSITION}]
    base = float(measured.time_ns[0])
    state_s, action_s = (measured.time_ns - base) / 1e9, (own.time_ns - base) / 1e9
    grid = np.arange(state_s[0] + SLOWEST_S, state_s[-1], 0.01)
    shifts = np.arange(0, SLOWEST_S, 0.005)
    apart = np.zeros(len(shifts))
    for source, target in pairs:
        commanded = own.values[:, target].astype(np.float64)
        if dimensions[target].mode is Mode.DELTA:
            commanded = np.cumsum(commanded)
        reached = np.interp(grid, state_s, measured.values[:, source])
        apart += [np.var(reached - np.interp(grid - s, action_s, commanded)) for s in shifts]
    return float(shifts[int(np.argmin(apart))])


@fault("meaning.causality", (1, 2, 3), (*FOLLOWING, "sample"))
def effect_before_cause(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """Actions are labelled so late that the state moves so many steps before its command, or up to one step more."""
    lag_ns = _lag_s(case) * 1e9
    if case.recording.is_stepped:
        return _relabelled(case, int(np.ceil(lag_ns / case.step_ns + level)))
    stream = case.stream(case.commands[0])
    late = round(lag_ns + level * case.step_ns)
    received = None if stream.receive_time_ns is None else stream.receive_time_ns + late
    return case.with_streams(dataclasses.replace(stream, time_ns=stream.time_ns + late, receive_time_ns=received))


@fault("meaning.mode", (1, 1, 1), CHANGES)
def absolute_as_delta(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """Targets stand where the schema declares changes: the pose of the next row."""
    state, action, pairs = _shared_columns(case)
    signal = case.embodiment.signal(action)
    measured, values = case.stream(state).values, case.numbers(action)
    for source, target in pairs:
        if signal.dimensions[target].mode is Mode.DELTA:
            values[:, target] = np.append(measured[1:, source], measured[-1, source])
    return case.with_values(action, values)


@fault("meaning.mode", (1, 1, 1), JOINTS)
def delta_as_absolute(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """Changes over one step stand where the schema declares targets."""
    name = case.commands[0]
    stream = case.stream(name)
    values = stream.values.astype(np.float64)
    time = (stream.time_ns - stream.time_ns[0]).astype(np.float64)
    for c in columns(case, name):
        values[:, c] = np.interp(time + case.step_ns, time, values[:, c]) - values[:, c]
    return case.with_values(name, values)


def _scaled(case: Case, name: str, which: list[int], factor: float) -> Case:
    values = case.numbers(name)
    values[:, which] *= factor
    return case.with_values(name, values)


def _in_radians(case: Case, name: str) -> list[int]:
    dimensions = case.embodiment.signal(name).dimensions
    return [c for c, d in enumerate(dimensions) if d.unit is Unit.RADIAN and not d.normalized]


@fault("meaning.units", (1, 1, 1), ("joint", "pose", "stepped", "delta", "sample", "g1"))
def degrees_all(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """All angles of the state and of the action are in degrees."""
    for name in (*case.measured, *case.commands):
        case = _scaled(case, name, _in_radians(case, name), 180 / np.pi)
    return case


@fault("meaning.units", (1, 1, 1), ("joint", "stepped", "sample", "g1"))
def degrees_one(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """One joint is in degrees, in the state, in the action or in both."""
    action = case.commands[0]
    state = case.measured[0]
    name = case.embodiment.signal(action).names[one_of(columns(case, action), rng)]
    for where in one_of(((state,), (action,), (state, action)), rng):
        case = _scaled(case, where, [case.embodiment.signal(where).names.index(name)], 180 / np.pi)
    return case


@fault("meaning.units", (1, 1, 1), ("pose", "delta", "bridge"))
def millimetres(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """Positions are in millimetres."""
    for name in (*case.measured, *case.commands):
        case = _scaled(case, name, columns(case, name, (Kind.POSITION,)), 1000.0)
    return case


@fault("meaning.gripper_polarity", (1, 1, 1), ("joint", "pose", "stepped", "delta", "sample"))
def gripper_inverted(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """Open and closed are exchanged in the command."""
    name = case.commands[0]
    signal = case.embodiment.signal(name)
    values = case.numbers(name)
    for c, d in enumerate(signal.dimensions):
        if d.kind is Kind.GRIPPER_COMMAND and d.open_value is not None and d.closed_value is not None:
            values[:, c] = d.open_value + d.closed_value - values[:, c]
    return case.with_values(name, values)


@fault("meaning.joint_order", (1, 1, 1), JOINTS)
def joints_swapped(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """Two joints that move are exchanged in the command."""
    name = case.commands[0]
    can = moving(case, name)
    if len(can) < 2:
        return None
    first, second = (int(c) for c in rng.permutation(can)[:2])
    values = case.numbers(name)
    values[:, [first, second]] = values[:, [second, first]]
    return case.with_values(name, values)


@fault("meaning.joint_order", (1, 1, 1), JOINTS)
def joint_mirrored(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """A joint that moves has the other sign in the command."""
    name = case.commands[0]
    can = moving(case, name)
    if not can:
        return None
    values = case.numbers(name)
    values[:, one_of(can, rng)] *= -1
    return case.with_values(name, values)


@fault("meaning.kinematics", (0.03, 0.06, 0.15), ("pose",))
def pose_offset(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """The recorded pose of the end effector lies so many metres beside it, along the tool's or the base's axes."""
    from scipy.spatial.transform import Rotation

    values = case.numbers("pose")
    direction = rng.normal(0, 1, 3)
    direction *= level / np.linalg.norm(direction)
    is_tool = rng.random() < 0.5  # another tool was mounted than the schema knows
    values[:, :3] += Rotation.from_quat(values[:, 3:7]).apply(direction) if is_tool else direction
    return case.with_values("pose", values)
