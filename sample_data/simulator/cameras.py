"""The two cameras: JPEG images of the scene at any time, also between two simulation steps."""

from types import TracebackType
from typing import Self

import cv2
import mujoco

from .arm import Arm

IMAGE_WIDTH = 160
IMAGE_HEIGHT = 120
JPEG_QUALITY = 75


class Cameras:
    """Renders the scene of an arm; a context manager, because it holds an OpenGL context."""

    def __init__(self, arm: Arm) -> None:
        self._arm = arm
        self._data = mujoco.MjData(arm.model)
        self._renderer = mujoco.Renderer(arm.model, IMAGE_HEIGHT, IMAGE_WIDTH)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._renderer.close()

    def capture(self, camera: str, ahead_s: float) -> bytes:
        """Return a JPEG image of the scene `ahead_s` seconds after the last simulation step.

        Everything keeps its velocity until then, so that the image shows the very time of its
        capture instead of the nearest step.
        """
        model = self._arm.model
        self._data.qpos[:] = self._arm.data.qpos
        mujoco.mj_integratePos(model, self._data.qpos, self._arm.data.qvel, ahead_s)
        mujoco.mj_kinematics(model, self._data)
        mujoco.mj_camlight(model, self._data)
        self._renderer.update_scene(self._data, camera)
        image = cv2.cvtColor(self._renderer.render(), cv2.COLOR_RGB2BGR)
        is_encoded, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        if not is_encoded:
            raise RuntimeError(f"an image of the {camera} camera could not be encoded as JPEG")
        return jpeg.tobytes()
