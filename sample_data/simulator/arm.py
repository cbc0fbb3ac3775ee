"""The simulated arm, cube and bin: physics, joint readings and the outcome of the task."""

from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

SCENE_FILE = Path(__file__).with_name("scene.xml")

JOINT_NAMES = ("joint1", "joint2", "joint3", "joint4", "joint5", "joint6", "gripper")
NUM_ARM_JOINTS = 6

HOME = np.array([0.0, 0.1, 1.6, 1.44, 0.0, 0.0])
"""Arm joints at the start of an episode, rad: the gripper points down in front of the base."""
OPEN_APERTURE = 0.068
"""Aperture of the open gripper, m: a little short of its limit."""

CUBE_HALF_WIDTH = 0.018
LIFTED_HEIGHT = 0.05
"""Height of the cube's centre above which it must be in the gripper, m."""

BIN_INNER_HALF_WIDTH = 0.052
BIN_RIM_HEIGHT = 0.044

POSITION_RESOLUTION = np.array([2.0**-14] * NUM_ARM_JOINTS + [2.0**-17])
"""Step of the position sensors: rad for the arm joints, m for the gripper."""
VELOCITY_RESOLUTION = np.array([2.0**-10] * NUM_ARM_JOINTS + [2.0**-13])
"""Step of the velocity readings: rad/s for the arm joints, m/s for the gripper."""
EFFORT_RESOLUTION = 2.0**-7
"""Step of the effort readings: N·m for the arm joints, N for the gripper."""


@dataclass(frozen=True)
class CubeStart:
    """Where the cube lies at the start of an episode."""

    x: float
    """Forward of the arm's base, m."""
    y: float
    """Left of the arm's base, m."""
    yaw: float
    """Rotation about the vertical, rad."""


@dataclass(frozen=True)
class JointReading:
    """What the robot computer reads from its joints at one time, in the order of JOINT_NAMES."""

    position: FloatArray
    """Joint angles, rad, and the gripper's aperture, m."""
    velocity: FloatArray
    """Rates of the positions, rad/s and m/s."""
    effort: FloatArray
    """Torques of the position controller, N·m, and the force of the gripper, N."""


class Arm:
    """The scene in MuJoCo, advanced in fixed steps of `step_ns`."""

    def __init__(self) -> None:
        self.model = mujoco.MjModel.from_xml_path(str(SCENE_FILE))
        self.data = mujoco.MjData(self.model)
        self.step_ns = round(self.model.opt.timestep * 1e9)
        self.velocity_limits: FloatArray = self.model.numeric("velocity_limits").data.copy()
        """Limits of the command's rate of change, rad/s and m/s, in the order of JOINT_NAMES."""
        self._cube_address = int(self.model.joint("cube").qposadr[0])
        self._bin_position: FloatArray = self.model.body("bin").pos.copy()

    def reset(self, cube: CubeStart, rng: np.random.Generator) -> None:
        """Put the arm near its home posture, with the gripper open, and the cube on the table."""
        mujoco.mj_resetData(self.model, self.data)
        joints = HOME + rng.normal(0.0, 0.04, NUM_ARM_JOINTS)
        # Whatever the others are, the hand points straight down.
        joints[3] = np.pi - joints[1] - joints[2]
        joints[4] = 0.0
        self.data.qpos[:NUM_ARM_JOINTS] = joints
        self.data.qpos[NUM_ARM_JOINTS : NUM_ARM_JOINTS + 2] = OPEN_APERTURE / 2
        self.data.ctrl[:] = np.append(joints, OPEN_APERTURE)
        self.data.qpos[self._cube_address : self._cube_address + 7] = [
            cube.x,
            cube.y,
            CUBE_HALF_WIDTH,
            np.cos(cube.yaw / 2),
            0.0,
            0.0,
            np.sin(cube.yaw / 2),
        ]
        mujoco.mj_forward(self.model, self.data)

    def apply(self, command: FloatArray) -> None:
        """Make `command`, the position targets [7], the controller's target from now on."""
        self.data.ctrl[:] = command

    def step(self) -> None:
        """Advance the simulation by one step."""
        mujoco.mj_step(self.model, self.data)

    def read_joints(self) -> JointReading:
        """Read the joints now; the efforts are those of the last step."""
        position = self._in_joint_order(self.data.qpos)
        velocity = self._in_joint_order(self.data.qvel)
        return JointReading(
            position=_rounded(position, POSITION_RESOLUTION),
            velocity=_rounded(velocity, VELOCITY_RESOLUTION),
            effort=_rounded(self.data.actuator_force, EFFORT_RESOLUTION),
        )

    def command(self) -> FloatArray:
        """Return the position targets in force now, [7]."""
        return np.array(self.data.ctrl)

    def position_limits(self) -> tuple[FloatArray, FloatArray]:
        """Return the lowest and highest position targets, [7] each."""
        limits = self.model.actuator_ctrlrange
        return limits[:, 0].copy(), limits[:, 1].copy()

    def cube_position(self) -> FloatArray:
        """Return the centre of the cube in the base's frame, m, [3]."""
        return np.array(self.data.qpos[self._cube_address : self._cube_address + 3])

    def cube_yaw(self) -> float:
        """Return the cube's rotation about the vertical, rad."""
        w, x, y, z = self.data.qpos[self._cube_address + 3 : self._cube_address + 7]
        return float(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))

    def bin_position(self) -> FloatArray:
        """Return the middle of the bin's floor in the base's frame, m, [3]."""
        return self._bin_position.copy()

    def is_cube_lifted(self) -> bool:
        """Tell whether the cube is clear of the table."""
        return bool(self.cube_position()[2] > LIFTED_HEIGHT)

    def is_cube_in_bin(self) -> bool:
        """Tell whether the cube lies between the walls of the bin and below their rim."""
        offset = self.cube_position() - self._bin_position
        is_between_walls = bool(np.all(np.abs(offset[:2]) < BIN_INNER_HALF_WIDTH))
        return is_between_walls and bool(offset[2] < BIN_RIM_HEIGHT)

    @staticmethod
    def _in_joint_order(values: FloatArray) -> FloatArray:
        """Return the arm joints' values and the sum of the two fingers'."""
        fingers = values[NUM_ARM_JOINTS : NUM_ARM_JOINTS + 2]
        return np.append(values[:NUM_ARM_JOINTS], fingers.sum())


def _rounded(values: FloatArray, resolution: FloatArray | float) -> FloatArray:
    """Round to multiples of `resolution`, as a digital sensor does (never to minus zero)."""
    return np.round(values / resolution) * resolution + 0.0
