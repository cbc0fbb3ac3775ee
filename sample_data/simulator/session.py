"""One teleoperation session: runs the episode and every device's clock, and fills the recorder.

All times are integers in ns. "Since the start" means since the episode's start on the robot
computer's clock; only the stamps of the images are on another clock, the camera computer's.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from . import messages
from .arm import Arm, CubeStart
from .cameras import Cameras
from .recorder import (
    INSTRUCTION_TOPIC,
    JOINT_COMMANDS_TOPIC,
    JOINT_STATES_TOPIC,
    OUTCOME_TOPIC,
    SUBTASK_TOPIC,
    Recorder,
    camera_topic,
)
from .teleoperator import COMMAND_PERIOD_S, Mistake, Teleoperator

CAMERA_CLOCK_AHEAD_NS = 37_000_000
"""How far the clock of the camera computer is ahead of the robot computer's."""

CAMERA_NAMES = ("front", "wrist")
FRAME_PERIOD_NS = 1e9 / 30.0
CAPTURE_JITTER_NS = 1_500_000
"""Standard deviation of a frame's capture time about the nominal one."""
MAX_CAPTURE_JITTER_NS = 4_000_000
TRANSPORT_DELAY_NS = (15_000_000, 25_000_000)
"""Least and greatest time from a frame's capture to its arrival at the robot computer."""

COMMAND_PERIOD_NS = round(COMMAND_PERIOD_S * 1e9)
JOINT_STATE_PERIOD_NS = 10_000_000
JOINT_STATE_DELAY_NS = (200_000, 600_000)
"""Least and greatest time from the joints' reading to its arrival at the recorder."""

MAX_DURATION_NS = 20_000_000_000

SUCCESS = "success"
SLIPPED = "failure: the cube slipped out of the gripper"


@dataclass(frozen=True)
class EpisodePlan:
    """What is to happen in one episode."""

    instruction: str
    """The text published on /instruction."""
    mistake: Mistake = Mistake.NONE
    """What the operator does wrong."""
    dropped_frames: Mapping[str, frozenset[int]] = field(default_factory=dict)
    """Camera to the numbers of its frames that never arrive; its first frame is number 0."""

    @property
    def outcome(self) -> str:
        """The outcome that the episode must have."""
        return SLIPPED if self.mistake is Mistake.SLIP else SUCCESS


@dataclass(frozen=True, order=True)
class Capture:
    """One frame of one camera."""

    time_ns: int
    """True time of the capture since the start."""
    arrival_ns: int
    """Time of the image's arrival at the robot computer since the start."""
    camera: str


class Session:
    """One episode, from the instruction to the outcome."""

    def __init__(self, plan: EpisodePlan, arm: Arm, cameras: Cameras, seed: list[int]) -> None:
        # Each device has its own random numbers: a change of one leaves the others as they were.
        scene_rng, operator_rng, joint_rng, camera_rng = (np.random.default_rng([*seed, device]) for device in range(4))
        arm.reset(_draw_cube_start(scene_rng), scene_rng)
        self._plan = plan
        self._arm = arm
        self._cameras = cameras
        self._operator = Teleoperator(arm, plan.mistake, operator_rng)
        self._joint_rng = joint_rng
        self._captures = _draw_captures(plan.dropped_frames, camera_rng)
        self._next_capture = next(self._captures)
        self._last_subtask = ""

    def run(self, recorder: Recorder, start_ns: int) -> int:
        """Run the episode and hand every message to the recorder.

        Args:
            recorder: Gets the messages, with their times of arrival.
            start_ns: Start of the episode, Unix time on the robot computer's clock.

        Returns:
            Duration of the episode in ns.

        Raises:
            RuntimeError: The episode did not end, or its outcome is not the planned one.
        """
        recorder.receive(INSTRUCTION_TOPIC, start_ns, messages.text(self._plan.instruction))
        for time_ns in range(0, MAX_DURATION_NS, self._arm.step_ns):
            is_tick = time_ns % COMMAND_PERIOD_NS == 0
            if is_tick and not self._operate(recorder, start_ns + time_ns):
                outcome = messages.text(self._outcome())
                recorder.receive(OUTCOME_TOPIC, start_ns + time_ns, outcome)
                return time_ns
            if time_ns % JOINT_STATE_PERIOD_NS == 0:
                self._read_joints(recorder, start_ns + time_ns)
            self._take_pictures(recorder, start_ns, time_ns)
            self._arm.step()
        raise RuntimeError(f"the episode is not over after {MAX_DURATION_NS / 1e9:g} s")

    def _operate(self, recorder: Recorder, now_ns: int) -> bool:
        """Publish and apply the operator's next command; False when the operator has finished."""
        command = self._operator.next_command()
        if command is None:
            return False
        if self._operator.subtask != self._last_subtask:
            self._last_subtask = self._operator.subtask
            recorder.receive(SUBTASK_TOPIC, now_ns, messages.text(self._last_subtask))
        recorder.receive(JOINT_COMMANDS_TOPIC, now_ns, messages.joint_command(command))
        self._arm.apply(command)
        return True

    def _read_joints(self, recorder: Recorder, now_ns: int) -> None:
        """Publish the joints' positions, velocities and efforts."""
        arrival_ns = now_ns + int(self._joint_rng.integers(*JOINT_STATE_DELAY_NS))
        message = messages.joint_state(now_ns, self._arm.read_joints())
        recorder.receive(JOINT_STATES_TOPIC, arrival_ns, message)

    def _take_pictures(self, recorder: Recorder, start_ns: int, time_ns: int) -> None:
        """Publish the frames captured from now until the next simulation step."""
        while self._next_capture.time_ns < time_ns + self._arm.step_ns:
            capture = self._next_capture
            jpeg = self._cameras.capture(capture.camera, (capture.time_ns - time_ns) / 1e9)
            stamp_ns = start_ns + capture.time_ns + CAMERA_CLOCK_AHEAD_NS
            message = messages.compressed_image(stamp_ns, capture.camera, jpeg)
            recorder.receive(camera_topic(capture.camera), start_ns + capture.arrival_ns, message)
            self._next_capture = next(self._captures)

    def _outcome(self) -> str:
        """Judge the episode by where the cube is, and make sure that it went as planned."""
        outcome = SUCCESS if self._arm.is_cube_in_bin() else SLIPPED
        if outcome != self._plan.outcome:
            raise RuntimeError(f"the outcome is {outcome!r}; must be {self._plan.outcome!r}")
        return outcome


def _draw_cube_start(rng: np.random.Generator) -> CubeStart:
    return CubeStart(
        x=rng.uniform(0.20, 0.32),
        y=rng.uniform(-0.16, 0.06),
        yaw=rng.uniform(-np.pi / 4, np.pi / 4),
    )


def _draw_captures(dropped_frames: Mapping[str, frozenset[int]], rng: np.random.Generator) -> Iterator[Capture]:
    """Draw the captures of all cameras that arrive, in the order of their times."""
    max_num_frames = int(MAX_DURATION_NS / FRAME_PERIOD_NS) + 2
    captures: list[Capture] = []
    for camera in CAMERA_NAMES:
        first_ns = rng.uniform(MAX_CAPTURE_JITTER_NS, FRAME_PERIOD_NS)
        jitter_ns = rng.normal(0.0, CAPTURE_JITTER_NS, max_num_frames)
        jitter_ns = np.clip(jitter_ns, -MAX_CAPTURE_JITTER_NS, MAX_CAPTURE_JITTER_NS)
        delays_ns = rng.integers(*TRANSPORT_DELAY_NS, size=max_num_frames)
        for number in range(max_num_frames):
            if number in dropped_frames.get(camera, frozenset()):
                continue
            time_ns = round(first_ns + number * FRAME_PERIOD_NS + jitter_ns[number])
            captures.append(Capture(time_ns, time_ns + int(delays_ns[number]), camera))
    return iter(sorted(captures))
