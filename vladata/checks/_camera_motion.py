"""What the robot does while a camera looks: whether it moves from frame to frame, and how much later images show it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..episode import Episode
from ..errors import EpisodeFormatError
from ..sync.latency import Motion, estimate_latency, speed_of
from ..units import Kind, Mode
from ._look import Numbers, corrected, numbers

__all__ = ["Delay", "Robot", "image_delay", "is_moving", "is_standing", "liveliest", "robot_of"]

FloatArray = NDArray[np.float64]
Int64Array = NDArray[np.int64]

_KINDS = (Kind.JOINT_POSITION, Kind.POSITION)
"""The arm as a whole is in its joints, else in its position; grippers move little of a picture."""
MOVING_SHARE = 0.25
"""Between two frames the robot moves where it covers this share of what it covers in its faster frames …"""
STANDING_SHARE = 0.03
"""… and stands where it is less than this …"""
FAST_PERCENTILE = 90
NOISE_FACTOR = 3.0
"""… and so many times what noise alone gives."""
MOST_LAG_NS = 500_000_000
MIN_FRAMES = 40
"""Fewer frames give no delay."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Robot:
    """Where the robot is over time, on the steps' clock."""

    time_ns: Int64Array
    """Strictly increasing, [N]."""
    positions: FloatArray
    """Of its joints, or of its hand, [N, D]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """How much later than the robot moves a camera shows it."""

    delay_ms: float
    uncertainty_ms: float
    """Half-width, about 95 %."""


def robot_of(episode: Episode) -> Robot | None:
    """What the robot measured, else what it was told; None where nothing says so."""
    try:
        signals = numbers(episode)
    except EpisodeFormatError:
        return None  # `structure.readable` says so; frames can be judged all the same
    for is_action in (False, True):
        for kind in _KINDS:
            for signal in signals:
                robot = _robot(episode, signal, kind) if signal.is_action is is_action else None
                if robot is not None:
                    return robot
    return None


def _robot(episode: Episode, signal: Numbers, kind: Kind) -> Robot | None:
    dimensions = signal.signal.dimensions
    columns = [i for i, d in enumerate(dimensions) if d.kind is kind and d.mode in {None, Mode.ABSOLUTE, Mode.DELTA}]
    if not columns:
        return None
    values = signal.values[:, columns]
    time = corrected(episode, signal.stream)[signal.start : signal.start + len(values)]
    rows = np.flatnonzero(np.isfinite(values).all(axis=1) & (np.abs(values) < 1e9).all(axis=1))
    latest = np.maximum.accumulate(time[rows]) if len(rows) else time[rows]
    rows = rows[np.append(True, latest[1:] > latest[:-1])[: len(rows)]]
    values = values[rows]
    if dimensions[columns[0]].mode is Mode.DELTA:
        values = np.cumsum(values, axis=0)
    if len(rows) < 3 or not (np.ptp(values, axis=0) > 0).any():
        return None
    return Robot(time_ns=time[rows], positions=values)


def positions_at(robot: Robot, time_ns: Int64Array) -> FloatArray:
    """Where the robot is at some times, [N, D]; beyond its samples it stands still."""
    origin = robot.time_ns[0]
    x, at = (time_ns - origin).astype(np.float64), (robot.time_ns - origin).astype(np.float64)
    return np.stack([np.interp(x, at, column) for column in robot.positions.T], axis=1)


def is_moving(robot: Robot | None, time_ns: Int64Array) -> NDArray[np.bool_] | None:
    """Whether the robot clearly moves from each time to the next, [N - 1]; None where nothing says so."""
    found = _covered(robot, time_ns)
    if found is None:
        return None
    covered, fast, noise = found
    return np.asarray((covered > 0) & (covered >= max(MOVING_SHARE * fast, noise)))


def is_standing(robot: Robot | None, time_ns: Int64Array) -> NDArray[np.bool_] | None:
    """Whether the robot clearly stands from each time to the next, [N - 1]; None where nothing says so."""
    found = _covered(robot, time_ns)
    if found is None:
        return None
    covered, fast, noise = found
    return np.asarray(covered <= max(STANDING_SHARE * fast, noise))


def _covered(robot: Robot | None, time_ns: Int64Array) -> tuple[FloatArray, float, float] | None:
    """How far the robot goes from each time to the next, how far when it is fast, and how far by noise alone."""
    if robot is None or len(time_ns) < 5:
        return None
    at = positions_at(robot, time_ns)
    covered = np.linalg.norm(np.diff(at, axis=0), axis=1)
    # Third differences hold the noise alone: a smooth motion leaves nothing in them (variances 1, 9, 9, 1).
    noise = float(np.median(np.linalg.norm(np.diff(at, n=3, axis=0), axis=1))) / np.sqrt(20)
    fast = float(np.percentile(covered, FAST_PERCENTILE))
    return covered, fast, NOISE_FACTOR * float(np.sqrt(2)) * noise


def liveliest(robot: Robot | None, time_ns: Int64Array, length: int) -> int:
    """Where the `length` frames begin in which the robot's speed varies most."""
    if robot is None or len(time_ns) <= length:
        return 0
    speed = np.sqrt(np.linalg.norm(np.diff(positions_at(robot, time_ns), axis=0), axis=1))
    sums, squares = (np.concatenate(([0.0], np.cumsum(v))) for v in (speed, np.square(speed)))
    size = length - 1
    mean = (sums[size:] - sums[:-size]) / size
    return int(np.argmax((squares[size:] - squares[:-size]) / size - mean * mean))


def image_delay(robot: Robot | None, time_ns: Int64Array, changes: FloatArray) -> Delay | None:
    """How much later a camera shows what the robot does; None where that can't be told.

    Args:
        robot: Where the robot is.
        time_ns: Of consecutive frames on the steps' clock, [N].
        changes: Root mean square difference of each frame to the next, [N - 1]; NaN where it is not known.
    """
    intervals = np.diff(time_ns)
    known = np.isfinite(changes) & (intervals > 0)
    if robot is None or int(known.sum()) < MIN_FRAMES or bool((intervals <= 0).any()):
        return None
    middles = time_ns[:-1] + intervals // 2
    # A flash or a black frame changes all and is no motion.
    low, high = np.quantile(changes[known], (0.1, 0.9))
    above = np.clip(changes[known], low, low + 2 * (high - low)) - low
    # Square roots, because differences grow slower than speed where edges pass each other.
    seen = Motion(time_ns=middles[known], values=np.sqrt(above / intervals[known] * 1e9)[:, None])
    near = (robot.time_ns >= time_ns[0] - 2 * MOST_LAG_NS) & (robot.time_ns <= time_ns[-1] + 2 * MOST_LAG_NS)
    if int(near.sum()) < MIN_FRAMES // 2:
        return None
    speeds = speed_of(robot.time_ns[near], robot.positions[near])
    total = np.sqrt(np.linalg.norm(speeds.values, axis=1, keepdims=True))
    lead = Motion(time_ns=speeds.time_ns, values=total)
    found = estimate_latency(lead, seen, earliest_ns=-MOST_LAG_NS, latest_ns=MOST_LAG_NS)
    if found.latency_ns is None or found.uncertainty_ns is None:
        return None
    return Delay(delay_ms=found.latency_ns / 1e6, uncertainty_ms=found.uncertainty_ns / 1e6)
