"""A scripted teleoperator with an unsteady hand: puts the cube into the bin, or fails to."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import Self

import numpy as np

from .arm import NUM_ARM_JOINTS, OPEN_APERTURE, Arm, FloatArray
from .kinematics import Kinematics

COMMAND_PERIOD_S = 0.02
VELOCITY_MARGIN = 0.98
"""Part of the velocity limits that the commands use at most."""

GRASP_HEIGHT = 0.020
"""Height of the fingertips' middle at which the cube is grasped, m."""
RELEASE_HEIGHT = 0.075
CLOSED_APERTURE = 0.022
"""Commanded aperture around the cube of 0.036 m, m: the difference is the squeeze."""
SLIPPING_APERTURE = 0.050
APERTURE_RATE = 0.11
"""Speed of the operator's trigger finger, m/s of aperture."""
TURN_RATE = 1.8
"""Peak rate of the hand's turning, rad/s."""
BIN_YAW = 0.67
"""Yaw of the hand over the bin, where the arm is at ease, rad."""

ROLL = 0.07
"""Standard deviation of the hand's tilt at the end of a movement, rad."""

MISSED_BY = 0.034
"""How far from the cube's centre a missed grasp closes, m."""
SLIP_PROGRESS = 0.25
"""Part of the way to the bin after which the cube slips."""

TREMOR = 0.0006
"""Standard deviation of the hand's tremor along each axis, m."""
TREMOR_TIME_S = 0.12
"""Time after which the tremor is forgotten."""

PEAK_TO_MEAN_SPEED = 1.875
"""Of a movement of least jerk."""


class Subtask(StrEnum):
    """Parts of the task, as published on /subtask."""

    REACH = "reach the cube"
    GRASP = "grasp the cube"
    LIFT = "lift the cube"
    MOVE = "move the cube over the bin"
    RELEASE = "release the cube"
    RETRACT = "move the gripper away"


class Mistake(Enum):
    """What the operator does wrong in an episode."""

    NONE = auto()
    MISSED_GRASP = auto()
    """The first grasp closes short of the cube; the second succeeds."""
    SLIP = auto()
    """The trigger finger relaxes on the way, the cube falls and the operator gives up."""


@dataclass(frozen=True)
class Habits:
    """What differs from one episode to the next."""

    speed: float
    """Peak speed of the hand, m/s."""
    hover_height: float
    """Height above the table at which the hand stops before the grasp, m."""
    lift_height: float
    """Height to which the cube is lifted, m."""
    pause_s: float
    """Mean reaction time between two movements."""

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        """Draw the habits of an episode."""
        return cls(
            speed=rng.uniform(0.30, 0.38),
            hover_height=rng.uniform(0.08, 0.11),
            lift_height=rng.uniform(0.12, 0.14),
            pause_s=rng.uniform(0.08, 0.16),
        )


class Teleoperator:
    """Publishes a command of seven position targets at each tick of `COMMAND_PERIOD_S`.

    The operator's hand leads the arm's: it moves from place to place with least jerk, trembles,
    takes detours, aims with an error and corrects it.
    """

    def __init__(self, arm: Arm, mistake: Mistake, rng: np.random.Generator) -> None:
        self.subtask = Subtask.REACH
        """The part of the task that the operator is at."""
        self._arm = arm
        self._kinematics = Kinematics(arm)
        self._mistake = mistake
        self._rng = rng
        self._habits = Habits.draw(rng)
        self._command = arm.command()
        joints = self._command[:NUM_ARM_JOINTS]
        self._position = self._kinematics.hand_position(joints)
        self._yaw = self._kinematics.hand_yaw(joints)
        self._roll = 0.0
        self._aperture_goal = OPEN_APERTURE
        self._tremor = np.zeros(3)
        self._ticks = self._demonstrate()

    def next_command(self) -> FloatArray | None:
        """Return the position targets of this tick, [7], or None when the episode is over."""
        try:
            next(self._ticks)
        except StopIteration:
            return None
        self._tremble()
        joints = self._kinematics.joints_for(
            self._position + self._tremor, self._yaw, self._roll, self._command[:NUM_ARM_JOINTS]
        )
        aperture_change = np.clip(
            self._aperture_goal - self._command[NUM_ARM_JOINTS],
            -APERTURE_RATE * COMMAND_PERIOD_S,
            APERTURE_RATE * COMMAND_PERIOD_S,
        )
        wanted = np.append(joints, self._command[NUM_ARM_JOINTS] + aperture_change)
        largest_change = VELOCITY_MARGIN * self._arm.velocity_limits * COMMAND_PERIOD_S
        self._command = self._command + np.clip(wanted - self._command, -largest_change, largest_change)
        return self._command.copy()

    # The script. Each generator below yields once per tick, after moving the operator's hand.

    def _demonstrate(self) -> Iterator[None]:
        yield from self._wait(0.4)
        short_by = MISSED_BY if self._mistake is Mistake.MISSED_GRASP else 0.0
        yield from self._pick_up(short_by)
        if not self._arm.is_cube_lifted():
            yield from self._pick_up(short_by=0.0)
        yield from self._carry()
        if self._arm.is_cube_lifted():
            yield from self._put_down()
        else:
            yield from self._wait(0.8)

    def _pick_up(self, short_by: float) -> Iterator[None]:
        """Reach, grasp and lift, with the hand `short_by` metres short of the cube."""
        self.subtask = Subtask.REACH
        self._aperture_goal = OPEN_APERTURE
        yaw = self._yaw_for_cube()
        cube = self._arm.cube_position()
        short = -short_by * np.array([np.cos(yaw), np.sin(yaw), 0.0])
        above = np.array([cube[0], cube[1], self._habits.hover_height]) + short
        yield from self._move(above + self._aim_error(0.010), yaw + self._rng.normal(0, 0.1))
        yield from self._pause()
        yield from self._move(above + self._aim_error(0.002), yaw)
        yield from self._pause()

        self.subtask = Subtask.GRASP
        at_cube = np.array([cube[0], cube[1], GRASP_HEIGHT]) + short
        yield from self._move(at_cube + self._aim_error(0.001), yaw, speed_factor=0.6)
        yield from self._pause()
        self._aperture_goal = CLOSED_APERTURE
        yield from self._wait(0.55)

        self.subtask = Subtask.LIFT
        lifted = self._position.copy()
        lifted[2] = self._habits.lift_height
        yield from self._move(lifted, yaw, speed_factor=0.7)
        yield from self._pause()

    def _carry(self) -> Iterator[None]:
        """Move over the bin; with the mistake, the cube falls on the way."""
        self.subtask = Subtask.MOVE
        over_bin = self._arm.bin_position() + self._aim_error(0.006)
        over_bin[2] = self._habits.lift_height
        if self._mistake is Mistake.SLIP:
            on_the_way = self._position + SLIP_PROGRESS * (over_bin - self._position)
            yield from self._move(on_the_way, (self._yaw + BIN_YAW) / 2)
            self._aperture_goal = SLIPPING_APERTURE
        yield from self._move(over_bin, BIN_YAW)
        yield from self._pause()

    def _put_down(self) -> Iterator[None]:
        """Lower the cube into the bin, let go and move away."""
        self.subtask = Subtask.RELEASE
        lowered = self._position.copy()
        lowered[2] = RELEASE_HEIGHT
        yield from self._move(lowered, self._yaw, speed_factor=0.7)
        yield from self._pause()
        self._aperture_goal = OPEN_APERTURE
        yield from self._wait(0.5)

        self.subtask = Subtask.RETRACT
        away = self._position.copy()
        away[2] = self._habits.lift_height + 0.03
        yield from self._move(away, self._yaw)
        yield from self._wait(0.3)

    def _move(self, goal: FloatArray, yaw: float, speed_factor: float = 1.0) -> Iterator[None]:
        """Move the hand to a place and a yaw, with a slight tilt, and a detour on long ways."""
        start = self._position.copy()
        start_yaw = self._yaw
        start_roll = self._roll
        roll = self._rng.normal(0.0, ROLL)
        distance = float(np.linalg.norm(goal - start))
        speed = self._habits.speed * speed_factor
        turn = max(abs(yaw - start_yaw), abs(roll - start_roll))
        duration_s = PEAK_TO_MEAN_SPEED * max(distance / speed, turn / TURN_RATE)
        detour = self._rng.normal(0.0, 0.06, 3) * distance * np.array([1.0, 1.0, 0.3])
        # A detour on the way down to the cube would push it.
        if distance < 0.1:
            detour[:] = 0.0
        num_ticks = max(1, round(duration_s / COMMAND_PERIOD_S))
        for tick in range(1, num_ticks + 1):
            progress = _least_jerk(tick / num_ticks)
            self._position = start + progress * (goal - start) + np.sin(np.pi * progress) * detour
            self._yaw = start_yaw + progress * (yaw - start_yaw)
            self._roll = start_roll + progress * (roll - start_roll)
            yield

    def _pause(self) -> Iterator[None]:
        """Hesitate for about the reaction time."""
        yield from self._wait(self._habits.pause_s * self._rng.uniform(0.6, 1.4))

    def _wait(self, duration_s: float) -> Iterator[None]:
        """Keep the hand in place, trembling; the fingers may move."""
        for _ in range(round(duration_s / COMMAND_PERIOD_S)):
            yield

    def _tremble(self) -> None:
        """Advance the tremor, an Ornstein-Uhlenbeck process."""
        kept = np.exp(-COMMAND_PERIOD_S / TREMOR_TIME_S)
        fresh = self._rng.normal(0.0, TREMOR, 3)
        self._tremor = kept * self._tremor + np.sqrt(1.0 - kept**2) * fresh

    def _aim_error(self, size: float) -> FloatArray:
        """Draw a horizontal error with a standard deviation of `size` metres along each axis."""
        return np.append(self._rng.normal(0.0, size, 2), 0.0)

    def _yaw_for_cube(self) -> float:
        """Return the yaw at which the fingers close on faces of the cube, nearest to 0."""
        quarter_turn = np.pi / 2
        return float((self._arm.cube_yaw() + quarter_turn / 2) % quarter_turn - quarter_turn / 2)


def _least_jerk(time: float) -> float:
    """Return the progress, 0 to 1, of a movement of least jerk at `time`, 0 to 1.

    Source: Flash and Hogan, The coordination of arm movements, J. Neurosci. 5(7), 1985.
    """
    return time**3 * (10.0 - 15.0 * time + 6.0 * time**2)
