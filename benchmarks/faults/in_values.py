"""Faults of numbers and of motion."""

from collections.abc import Callable, Sequence

import numpy as np

from vladata.units import Kind, RotationConvention

from .case import Case
from .fault import fault
from .tools import (
    ALL,
    GENERATED,
    Floats,
    columns,
    displaced,
    inner,
    moving,
    one_of,
    paused,
    smooth,
    speed_of,
    still_places,
)

__all__ = [
    "angle_wrap",
    "beyond_limit",
    "dead_joint",
    "frozen_joint",
    "frozen_vector",
    "gripper_chatter",
    "idle_head",
    "idle_middle",
    "idle_tail",
    "infinity",
    "jump",
    "nan",
    "no_ops",
    "quaternion_norm",
    "quaternion_sign",
    "saturated",
    "spike",
    "too_fast",
    "too_strong",
    "tremor",
]

JOINTED = ("joint", "pose", "stepped", "sample", "g1")
"""Their state is joint angles."""
COMMANDED = ("joint", "stepped", "sample", "g1")
"""Their action is joint angles, too."""


def _spoiled(case: Case, count: int, value: float, rng: np.random.Generator) -> Case:
    name = one_of([*case.measured, *case.commands], rng)
    values = case.numbers(name)
    for _ in range(count):
        values[inner(len(values), 1, rng), int(rng.integers(values.shape[1]))] = value
    return case.with_values(name, values)


@fault("values.finite", (1, 5, 50), ALL)
def nan(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """So many values are NaN."""
    return _spoiled(case, int(level), np.nan, rng)


@fault("values.finite", (1, 5, 50), ALL)
def infinity(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """So many values are infinite."""
    return _spoiled(case, int(level), float(rng.choice([-np.inf, np.inf])), rng)


@fault("values.limits", (0.02, 0.1, 0.5), ("joint", "pose", "stepped", "delta", "sample", "g1"))
def beyond_limit(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """One value is beyond a limit by this share of the range."""
    places = [
        (name, c, d.limits)
        for name in (*case.measured, *case.commands)
        for c, d in enumerate(case.embodiment.signal(name).dimensions)
        if d.limits is not None
    ]
    name, column, (low, high) = one_of(places, rng)
    values = case.numbers(name)
    beyond = level * (high - low)
    values[inner(len(values), 1, rng), column] = one_of((low - beyond, high + beyond), rng)
    return case.with_values(name, values)


def _quick_columns(case: Case) -> list[tuple[str, int, float]]:
    return [
        (name, c, d.max_velocity)
        for name in (*case.measured, *case.commands)
        for c, d in enumerate(case.embodiment.signal(name).dimensions)
        if d.max_velocity is not None and d.kind is Kind.JOINT_POSITION and not d.normalized
    ]


@fault("values.velocity", (1.3, 2.0, 4.0), ("joint", "pose", "stepped", "sample"))
def too_fast(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """Three intervals at so many times the highest speed; the joint comes back within a second and a half."""
    name, column, most = one_of(_quick_columns(case), rng)
    stream = case.stream(name)
    values = stream.values.astype(np.float64)
    first = inner(len(values), 3, rng)
    time_s = (stream.time_ns - stream.time_ns[first]) / 1e9
    own = np.diff(values[first : first + 4, column])
    sign = 1.0 if own.sum() >= 0 else -1.0
    extra = np.zeros(len(values))
    extra[first + 1 : first + 4] = np.cumsum(sign * level * most * np.diff(time_s[first : first + 4]) - own)
    after = time_s[first + 4 :] - time_s[first + 3]
    extra[first + 4 :] = extra[first + 3] * (1 - smooth(after / 1.5))
    values[:, column] += extra
    return case.with_values(name, values)


@fault("motion.acceleration", (1.5, 3.0, 6.0), ("joint", "pose", "stepped"))
def too_strong(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """A speed changes at so many times the highest acceleration for 80 ms, then fades within a second."""
    name = one_of([n for n in (*case.measured, *case.commands) if columns(case, n)], rng)
    column = one_of(columns(case, name), rng)
    dimension = case.embodiment.signal(name).dimensions[column]
    places = still_places(case, 5, rng)
    if dimension.max_acceleration is None or not places:
        return None
    start_ns = min(int(s.time_ns[0]) for s in case.recording.streams.values())
    begin = (one_of(places, rng) - start_ns) / 1e9
    sign = one_of((-1.0, 1.0), rng)
    grid = np.arange(0, 60, 0.001)
    speed = np.interp(grid - begin, [0, 0.08, 1.0], [0, level * dimension.max_acceleration * 0.08, 0], 0, 0)
    path = np.cumsum(speed) * 0.001
    path *= 1 - smooth((grid - begin - 1.0) / 2.5)  # back to where it was
    return displaced(case, dimension.name, lambda t: sign * np.interp(t, grid, path), [name], lag_s=0.0)


def _offset(case: Case, level: float, rng: np.random.Generator, length: int | None) -> Case | None:
    name = one_of([n for n in case.measured if columns(case, n)], rng)
    values = case.numbers(name)
    column = one_of(columns(case, name), rng)
    first = inner(len(values), 2, rng)
    values[first : None if length is None else first + length, column] += one_of((-level, level), rng)
    return case.with_values(name, values)


@fault("motion.jumps", (0.1, 0.3, 1.0), JOINTED)
def jump(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """One joint is off by so many rad from one sample to the next, and stays."""
    return _offset(case, level, rng, None)


@fault("motion.jumps", (0.1, 0.3, 1.0), JOINTED)
def spike(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """One sample of one joint is off by so many rad."""
    return _offset(case, level, rng, 1)


@fault("motion.jumps", (0.1, 0.3, 1.0), JOINTED)
def pulse(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """Two to six samples of one joint are off by so many rad."""
    return _offset(case, level, rng, int(rng.integers(2, 7)))


@fault("motion.saturation", (0.15, 0.3, 0.6), ("joint", "stepped", "sample"))
def saturated(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """The command of a joint stands at its limit for this share of the episode; the joint is driven against it."""
    name = case.commands[0]
    column = one_of(columns(case, name), rng)
    signal = case.embodiment.signal(name)
    limits = signal.dimensions[column].limits
    if limits is None:
        return None
    stream = case.stream(name)
    values = stream.values.astype(np.float64)
    count = round(level * len(values))
    first = inner(len(values), count, rng)
    limit = limits[0] if abs(values[first, column] - limits[0]) < abs(values[first, column] - limits[1]) else limits[1]
    time_s = (stream.time_ns - stream.time_ns[0]) / 1e9
    begin, end = time_s[first], time_s[min(first + count, len(values)) - 1]
    way = abs(limit - values[first, column])
    ramp = max(0.4, way / 0.8)  # no faster than the arm can
    share = np.minimum(smooth((time_s - begin + ramp) / ramp), smooth((end + ramp - time_s) / ramp))
    wanted = values[:, column] * (1 - share) + limit * share
    extra = wanted - values[:, column]
    case = displaced(case, signal.names[column], lambda t: np.interp(t, time_s, extra), case.measured)
    values[:, column] = wanted
    return case.with_values(name, values)


@fault("values.frozen", (0.1, 0.2, 0.5), JOINTED)
def frozen_vector(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """All measured values repeat for this share of the episode, at least half a second, while the robot moves."""
    first_stream = case.stream(case.measured[0])
    duration = int(first_stream.time_ns[-1] - first_stream.time_ns[0])
    length = max(level * duration, 0.5e9)
    pace = speed_of(first_stream, columns(case, case.measured[0]))
    edge = round(0.15 * len(pace))
    last = max(edge + 1, len(pace) - edge - round(length / duration * len(pace)))
    begin = int(first_stream.time_ns[edge + int(np.argmax(pace[edge:last]))])
    for name in case.measured:
        stream, values = case.stream(name), case.numbers(name)
        inside = np.flatnonzero((stream.time_ns >= begin) & (stream.time_ns <= begin + length))
        values[inside] = values[inside[0]]
        case = case.with_values(name, values)
    return case


def _held(case: Case, joints: int, share: float, rng: np.random.Generator) -> Case | None:
    names = [n for n in case.measured if moving(case, n)]
    if not names:
        return None
    values = case.numbers(names[0])
    can = moving(case, names[0])
    for column in rng.permutation(can)[:joints]:
        count = round(share * len(values))
        first = int(rng.integers(0, max(1, len(values) - count + 1)))
        values[first : first + count, column] = values[first, column]
    return case.with_values(names[0], values)


@fault("values.frozen", (0.6, 0.75, 0.9), JOINTED)
def frozen_joint(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """One joint repeats for this share of the episode while others move."""
    return _held(case, 1, level, rng)


@fault("values.constant", (1, 2, 3), JOINTED)
def dead_joint(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """So many joints never change."""
    return _held(case, int(level), 1.0, rng)


@fault("motion.jerk", (0.02, 0.04, 0.08), COMMANDED)
def tremor(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """All joints shake by so many rad at 8 Hz, a quarter of the step rate below 32 Hz."""
    rate = min(8.0, case.embodiment.rate_hz / 4)
    name = case.commands[0]
    for column in columns(case, name):
        shake = _sine(level, rate, rng.uniform(0, 2 * np.pi))
        case = displaced(case, case.embodiment.signal(name).names[column], shake, lag_s=0.06)
    return case


def _sine(size: float, rate_hz: float, phase: float) -> Callable[[Floats], Floats]:
    return lambda time_s: np.asarray(size * np.sin(2 * np.pi * rate_hz * time_s + phase))


@fault("gripper.chatter", (8, 12, 20), ("joint", "pose", "stepped", "delta", "sample"))
def gripper_chatter(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """The gripper's command changes direction so often in 2 s."""
    name = case.commands[0]
    signal = case.embodiment.signal(name)
    column = [c for c, d in enumerate(signal.dimensions) if d.kind is Kind.GRIPPER_COMMAND]
    dimension = signal.dimensions[column[0]]
    if dimension.limits is None:
        return None
    stream = case.stream(name)
    low, high = dimension.limits
    time_s = (stream.time_ns - stream.time_ns[inner(len(stream.time_ns), 0, rng)]) / 1e9
    inside = (time_s >= 0) & (time_s < 2.0)
    values = stream.values.astype(np.float64)
    wave = 0.5 - 0.5 * np.cos(np.pi * level / 2.0 * time_s)
    values[inside, column[0]] = (low + (high - low) * wave)[inside]
    return case.with_values(name, values)


IDLE = (*GENERATED, "sample", "g1")


@fault("motion.idle_head", (3, 6, 10), IDLE)
def idle_head(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """So many s without motion before the demonstration."""
    # Behind the first sample, for what moves from it to the second is motion already.
    first = max(int(s.time_ns[0]) for s in case.recording.streams.values())
    return paused(case, [first], level, rng)


@fault("motion.idle_tail", (3, 6, 10), IDLE)
def idle_tail(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """So many s without motion after the demonstration."""
    return paused(case, [max(int(s.time_ns[-1]) for s in case.recording.streams.values())], level, rng)


def _with_pauses(case: Case, share: float, rng: np.random.Generator) -> Case | None:
    places = still_places(case, 3, rng)
    stream = case.stream(case.measured[0])
    duration = int(stream.time_ns[-1] - stream.time_ns[0]) / 1e9
    return paused(case, places, duration * share / (1 - share) / len(places), rng) if places else None


@fault("motion.idle_share", (0.4, 0.6, 0.75), IDLE)
def idle_middle(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """Pauses make up this share of the episode, where the robot was slowest."""
    return _with_pauses(case, level, rng)


@fault("motion.no_ops", (0.3, 0.5, 0.7), ("delta", "bridge"))
def no_ops(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """This share of the changes is zero, in runs, while the robot stands."""
    return _with_pauses(case, level, rng)


def _rotations(case: Case, conventions: Sequence[RotationConvention]) -> list[tuple[str, list[int]]]:
    return [
        (s.name, [c for c, d in enumerate(s.dimensions) if d.kind is Kind.ROTATION])
        for s in case.embodiment.signals
        if s.rotation in conventions
    ]


QUATERNION = (RotationConvention.QUATERNION_XYZW, RotationConvention.QUATERNION_WXYZ)


@fault("rotation.quaternion_norm", (1.02, 1.1, 1.5), ("pose",))
def quaternion_norm(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """Quaternions are so many times too long."""
    name, which = one_of(_rotations(case, QUATERNION), rng)
    values = case.numbers(name)
    values[:, which] *= level
    return case.with_values(name, values)


@fault("rotation.sign_flips", (1, 3, 9), ("pose",))
def quaternion_sign(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """The sign of a quaternion flips so often; the rotation stays the same."""
    name, which = one_of(_rotations(case, QUATERNION), rng)
    values = case.numbers(name)
    for _ in range(int(level)):
        values[inner(len(values), 1, rng) :, which] *= -1
    return case.with_values(name, values)


@fault("rotation.wraps", (1, 3, 9), ("delta", "bridge"))
def angle_wrap(case: Case, level: float, rng: np.random.Generator) -> Case | None:
    """An angle goes once around between two samples, so often."""
    name = case.measured[0]
    which = columns(case, name, (Kind.ROTATION,))
    values = case.numbers(name)
    for k in range(int(level)):
        values[inner(len(values), 1, rng) :, one_of(which, rng)] += 2 * np.pi * (-1) ** k
    return case.with_values(name, values)
