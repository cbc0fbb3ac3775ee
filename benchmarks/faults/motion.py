"""How a person moves an arm: point to point with least jerk, with short pauses and a slight tremor; the arm follows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .arm import HOME

__all__ = ["RATE_HZ", "Motion", "Task", "draw_tasks", "move"]

Floats = NDArray[np.float64]

RATE_HZ = 500
"""Motion is computed at this rate, and sampled between by straight lines."""
MEAN_SPEED = 0.62
"""Of the joint that goes farthest, rad/s, times the operator's pace."""
PEAK_ACCELERATION = 3.6
"""Of a movement of least jerk, at most, rad/s²: its peak is 5.77 times distance over time squared."""
TREMOR = 0.0004
"""Of a joint, rad."""
OBJECT_WIDTH = 0.35
"""Aperture at which the gripper meets the object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One of the two things that are done in a scene."""

    text: str
    stops: tuple[tuple[str, tuple[float, ...], float], ...]
    """What is done, joints at its end (from home, in rad), and the gripper's command after it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Motion:
    """What the operator asked for and what the arm did, at `RATE_HZ`."""

    command: Floats
    """Seven joints and the gripper, [N, 8]."""
    state: Floats
    """[N, 8]."""
    subtasks: tuple[tuple[float, str], ...]
    """When each begins, s."""

    @property
    def duration_s(self) -> float:
        """Length of the demonstration."""
        return (len(self.command) - 1) / RATE_HZ

    def at(self, values: Floats, time_s: Floats) -> Floats:
        """Command or state between its points, [N, D]; before the beginning and after the end it stands still."""
        place = np.clip(time_s * RATE_HZ, 0, len(values) - 1)
        low = np.minimum(place.astype(np.int64), len(values) - 2)
        part = (place - low)[:, None]
        return np.asarray(values[low] * (1 - part) + values[low + 1] * part)


_COLOURS = ("red", "green", "yellow", "orange", "white", "purple")
_THINGS = ("block", "cup", "ball", "sponge", "can", "carrot", "spoon", "marker")
_PLACES = ("bowl", "basket", "plate", "drawer", "tray", "box")


def draw_tasks(rng: np.random.Generator) -> tuple[Task, Task]:
    """Draw the two tasks of a scene: to carry something, and to push something aside."""
    colours, things = rng.permutation(_COLOURS), rng.permutation(_THINGS)
    side = float(rng.choice([-1.0, 1.0]))
    near, far = side * rng.uniform(0.35, 0.55), -side * rng.uniform(0.35, 0.6)
    reach, lift = rng.uniform(0.35, 0.5), rng.uniform(0.22, 0.3)
    wrist = float(rng.choice([-1.0, 1.0])) * rng.uniform(0.3, 0.6)
    bend = float(rng.choice([-1.0, 1.0])) * rng.uniform(0.12, 0.25)

    def at(turn: float, height: float, hand: float) -> tuple[float, ...]:
        """Joints from home where the arm is turned, lowered from its height, and the hand turned."""
        return (turn, reach - height, bend * turn, 0.15 - 0.9 * height, -0.7 * bend, 0.25 - 0.2 * height, hand)

    thing = f"the {colours[0]} {things[0]}"
    carry = Task(
        text=f"put {thing} into the {rng.choice(_PLACES)}",
        stops=(
            (f"reach {thing}", at(near, lift, wrist), 1.0),
            (f"grasp {thing}", at(near, 0.0, wrist), 0.0),
            (f"lift {thing}", at(near, lift, wrist), 0.0),
            ("move over the goal", at(far, lift, 0.3 * wrist), 0.0),
            (f"release {thing}", at(far, 0.08, 0.3 * wrist), 1.0),
            ("move away", at(0.4 * far, 1.3 * lift, 0.0), 1.0),
        ),
    )
    other = f"the {colours[1]} {things[1]}"
    push = Task(
        text=f"push {other} to the {'left' if side > 0 else 'right'}",
        stops=(
            ("close the gripper", at(0.2 * far, lift, -wrist), 0.0),
            (f"go beside {other}", at(0.7 * far, 0.5 * lift, -wrist), 0.0),
            ("lower the hand", at(0.7 * far, 0.0, -wrist), 0.0),
            (f"push {other}", at(1.1 * near, 0.02, -0.6 * wrist), 0.0),
            ("lift the hand", at(1.1 * near, lift, -0.6 * wrist), 0.0),
            ("open the gripper", at(0.4 * near, 1.2 * lift, 0.0), 1.0),
        ),
    )
    return carry, push


def move(task: Task, lag_s: float, rng: np.random.Generator) -> Motion:
    """Demonstrate a task once; no two demonstrations are the same."""
    pace = rng.uniform(0.85, 1.2)
    aim = rng.normal(0, 0.04, 7)
    joints, gripper = HOME + rng.normal(0, 0.03, 7), 1.0
    pieces, grips, subtasks = [np.repeat(joints[None], _ticks(rng.uniform(0.25, 0.5)), axis=0)], [], []
    grips.append(np.full(len(pieces[0]), gripper))
    for name, stop, after in task.stops:
        subtasks.append((sum(map(len, pieces)) / RATE_HZ, name))
        goal = HOME + np.array(stop) + aim + rng.normal(0, 0.015, 7)
        legs = [0.5 * (joints + goal) + rng.normal(0, 0.04, 7), goal] if rng.random() < 0.25 else [goal]
        for leg in legs:
            pieces.append(_least_jerk(joints, leg, pace))
            joints = leg
            grips.append(np.full(len(pieces[-1]), gripper))
            pieces.append(np.repeat(joints[None], _ticks(_pause(rng)), axis=0))
            grips.append(np.full(len(pieces[-1]), gripper))
        if after != gripper:
            pieces.append(np.repeat(joints[None], _ticks(rng.uniform(0.5, 0.7)), axis=0))
            ramp = np.clip(np.arange(len(pieces[-1])) / (rng.uniform(0.25, 0.4) * RATE_HZ), 0, 1)
            grips.append(gripper + (after - gripper) * ramp)
            gripper = after
    pieces.append(np.repeat(joints[None], _ticks(rng.uniform(0.15, 0.4)), axis=0))
    grips.append(np.full(len(pieces[-1]), gripper))
    command = np.column_stack([np.concatenate(pieces) + 0.0, np.concatenate(grips)])
    command[:, :7] += _tremor(len(command), rng)
    return Motion(command=command, state=_follow(command, lag_s, task), subtasks=tuple(subtasks))


def _pause(rng: np.random.Generator) -> float:
    """Seconds that a person takes to look, most often a short while, seldom nearly a second."""
    return float(np.clip(0.08 + rng.exponential(0.16), 0.08, 0.9))


def _ticks(seconds: float) -> int:
    return max(1, round(seconds * RATE_HZ))


def _least_jerk(start: Floats, goal: Floats, pace: float) -> Floats:
    distance = float(np.abs(goal - start).max())
    seconds = max(0.5, distance / (MEAN_SPEED * pace), np.sqrt(5.77 * distance / PEAK_ACCELERATION))
    s = np.arange(1, _ticks(seconds) + 1) / _ticks(seconds)
    return np.asarray(start + (goal - start) * (10 * s**3 - 15 * s**4 + 6 * s**5)[:, None])


def _tremor(count: int, rng: np.random.Generator) -> Floats:
    """A few sines between 3 and 9 Hz for each joint, [N, 7]."""
    time = np.arange(count)[:, None] / RATE_HZ
    total = np.zeros((count, 7))
    for _ in range(4):
        size, phase = rng.uniform(0.3, 1.0, 7) * TREMOR / 1.4, rng.uniform(0, 2 * np.pi, 7)
        total += size * np.sin(2 * np.pi * rng.uniform(3, 9, 7) * time + phase)
    return total


def _follow(command: Floats, lag_s: float, task: Task) -> Floats:
    """The drives follow as a damped mass does: by about the lag, softly; the gripper stops at the object."""
    rate = 2.0 / lag_s
    time = np.arange(_ticks(8 * lag_s)) / RATE_HZ
    kernel = time * np.exp(-rate * time)
    kernel /= kernel.sum()
    padded = np.concatenate([np.repeat(command[:1], len(kernel) - 1, axis=0), command])
    state = np.column_stack([np.convolve(padded[:, c], kernel, mode="valid") for c in range(command.shape[1])])
    if task.stops[0][2] == 1.0:  # something lies between the fingers
        state[:, 7] = np.maximum(state[:, 7], OBJECT_WIDTH)
    return state
