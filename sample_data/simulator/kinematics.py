"""Where the hand is for given joint angles, and the reverse.

Source: Buss, Introduction to Inverse Kinematics with Jacobian Transpose, Pseudoinverse and Damped
Least Squares methods, 2004 (section 5).
"""

import mujoco
import numpy as np

from .arm import NUM_ARM_JOINTS, Arm, FloatArray

MAX_ITERATIONS = 30
TOLERANCE = 1e-4
DAMPING = 1e-4
ROTATION_WEIGHT = 0.3
"""Metres of position error that count as much as one radian of rotation error."""
MAX_JOINT_CHANGE = 0.3
"""Largest change of a joint in one iteration, rad."""


class Kinematics:
    """The geometry of the arm, computed beside the running simulation."""

    def __init__(self, arm: Arm) -> None:
        self._model = arm.model
        self._data = mujoco.MjData(arm.model)
        self._site = self._model.site("grasp_point").id
        low, high = arm.position_limits()
        self._low = low[:NUM_ARM_JOINTS]
        self._high = high[:NUM_ARM_JOINTS]

    def hand_position(self, joints: FloatArray) -> FloatArray:
        """Return the point between the fingertips, m, [3], for the arm joints [6]."""
        self._place(joints)
        return np.array(self._data.site_xpos[self._site])

    def hand_yaw(self, joints: FloatArray) -> float:
        """Return the direction of the hand's x axis about the vertical, rad."""
        self._place(joints)
        rotation = self._rotation()
        return float(np.arctan2(rotation[1, 0], rotation[0, 0]))

    def joints_for(self, position: FloatArray, yaw: float, roll: float, start: FloatArray) -> FloatArray:
        """Solve for the arm joints that point the hand down at a place.

        Args:
            position: Wanted point between the fingertips, m, [3].
            yaw: Wanted direction of the hand's x axis about the vertical, rad.
            roll: Wanted tilt of the hand about its x axis, rad; 0 points it straight down.
            start: Arm joints to start from, rad, [6].

        Returns:
            Arm joints, rad, [6], within their limits: the best found if the place is out of reach.
        """
        joints = start.copy()
        wanted_rotation = _pointing_down(yaw, roll)
        for _ in range(MAX_ITERATIONS):
            self._place(joints)
            error = self._error(position, wanted_rotation)
            if np.linalg.norm(error) < TOLERANCE:
                break
            jacobian = self._jacobian()
            damped = jacobian @ jacobian.T + DAMPING * np.eye(6)
            change = jacobian.T @ np.linalg.solve(damped, error)
            change *= min(1.0, MAX_JOINT_CHANGE / np.abs(change).max())
            joints = np.clip(joints + change, self._low, self._high)
        return joints

    def _place(self, joints: FloatArray) -> None:
        self._data.qpos[:NUM_ARM_JOINTS] = joints
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)

    def _rotation(self) -> FloatArray:
        rotation: FloatArray = self._data.site_xmat[self._site].reshape(3, 3)
        return rotation

    def _error(self, position: FloatArray, wanted_rotation: FloatArray) -> FloatArray:
        position_error = position - self._data.site_xpos[self._site]
        rotation_error = 0.5 * np.cross(self._rotation().T, wanted_rotation.T).sum(axis=0)
        return np.concatenate([position_error, ROTATION_WEIGHT * rotation_error])

    def _jacobian(self) -> FloatArray:
        translation = np.zeros((3, self._model.nv))
        rotation = np.zeros((3, self._model.nv))
        mujoco.mj_jacSite(self._model, self._data, translation, rotation, self._site)
        arm_joints = slice(NUM_ARM_JOINTS)
        return np.vstack([translation[:, arm_joints], ROTATION_WEIGHT * rotation[:, arm_joints]])


def _pointing_down(yaw: float, roll: float) -> FloatArray:
    """Return the rotation whose x axis has the direction `yaw`, and whose z axis points down but for `roll`."""
    x_axis = np.array([np.cos(yaw), np.sin(yaw), 0.0])
    down = np.array([0.0, 0.0, -1.0])
    z_axis = np.cos(roll) * down + np.sin(roll) * np.cross(x_axis, down)
    return np.column_stack([x_axis, np.cross(z_axis, x_axis), z_axis])
