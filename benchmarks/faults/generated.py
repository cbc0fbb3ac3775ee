"""Episodes of the generated family: groups of ten of one scene, with one or two tasks and two sessions."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vladata.recording import (
    AnyStream,
    BytesFrames,
    FrameStream,
    Instruction,
    Outcome,
    Recording,
    SourceFile,
    Stream,
)
from vladata.units import Clock

from .arm import HEIGHT, VARIANTS, WIDTH, embodiment_of, euler_of, link_frames, mapping_of, quaternion_of
from .case import Case
from .motion import Motion, draw_tasks, move
from .pictures import Scene

__all__ = ["GROUP_SIZE", "generate", "num_tasks_of", "variant_of"]

Floats = NDArray[np.float64]
Int64Array = NDArray[np.int64]

GROUP_SIZE = 10
START_NS = 1_767_603_600_000_000_000
ENCODER = 1.5e-4
"""Noise of a joint's sensor, rad; of the gripper's, of its range."""
POSE_NOISE = 1e-4
"""Of the recorded pose: metres, and quaternion components or radians."""
FAILING = 0.1
"""Share of the demonstrations that fail."""
MARGIN_S = 0.05
"""The recorder starts its streams one after the other, within this time."""


def variant_of(seed: int) -> str:
    """Which of the four ways to record the group of a seed uses."""
    return VARIANTS[seed % len(VARIANTS)]


def num_tasks_of(seed: int) -> int:
    """How many tasks the group of a seed has: ten episodes of one, or five of each of two."""
    return 2 - seed // len(VARIANTS) % 2


@dataclass(frozen=True)
class _Place:
    """What all episodes of a group have in common."""

    lag_s: float
    droop: Floats
    """Constant difference between command and state."""
    exposure_s: tuple[float, float]
    """How old an image is at its stamp, by camera."""
    jitter_s: float
    """Of the cameras."""
    light: tuple[float, float]
    """Of the two sessions: the sun moves."""


def generate(seed: int, count: int = GROUP_SIZE) -> list[Case]:
    """Make the group of a seed; the same seed gives the same bytes."""
    rng = np.random.default_rng([seed, 5])
    variant = variant_of(seed)
    tasks = draw_tasks(rng)
    scene = Scene(seed)
    place = _Place(
        lag_s=rng.uniform(0.06, 0.15),
        droop=np.append(rng.normal(0, 0.003, 7), 0.0),
        exposure_s=(rng.uniform(0.005, 0.02), rng.uniform(0.005, 0.02)),
        jitter_s=rng.uniform(0.002, 0.005),
        light=(rng.uniform(0.93, 1.07), rng.uniform(0.93, 1.07)),
    )
    cases = []
    for index in range(count):
        episode_rng = np.random.default_rng([seed, index, 6])
        task = tasks[index % num_tasks_of(seed)]
        motion = move(task, place.lag_s * episode_rng.uniform(0.97, 1.03), episode_rng)
        start_ns = START_NS + (seed * 86_400 + (index // 5) * 14_400 + (index % 5) * 90) * 1_000_000_000
        start_ns += int(episode_rng.integers(1_000_000_000))
        light = place.light[index // 5 % 2] * episode_rng.uniform(0.98, 1.02)
        made = _Recorder(variant, motion, place, _Look(scene, light), episode_rng, start_ns)
        streams = made.rows() if variant in {"delta", "stepped"} else made.streams()
        labels = _Labels(task.text, motion, start_ns)
        where = f"group_{seed:02d}/demo_{index:03d}.mcap"
        content = hashlib.sha256(f"{seed} {index}".encode()).hexdigest()
        cases.append(
            Case(
                recording=Recording(
                    recording_id=content,
                    source="mcap",
                    place=where,
                    files=(SourceFile(name=where, size=1, sha256=content),),
                    streams=streams,
                    is_stepped=variant in {"delta", "stepped"},
                    instructions=labels.instructions(),
                    outcomes=labels.outcomes(is_success=episode_rng.random() >= FAILING),
                    metadata={
                        "session": f"g{seed:02d}s{index // 5}",
                        "operator": f"o{index // 5}",
                        "scene": f"scene_{seed:02d}",
                        "split": "val" if index in {4, 9} else "train",
                    },
                ),
                embodiment=embodiment_of(variant),
                mapping=mapping_of(variant),
                variant=variant,
                name=where,
            )
        )
    return cases


@dataclass(frozen=True)
class _Look:
    scene: Scene
    light: float


@dataclass(frozen=True)
class _Labels:
    text: str
    motion: Motion
    start_ns: int

    def instructions(self) -> tuple[Instruction, ...]:
        times = [self.start_ns + round(t * 1e9) for t, _ in self.motion.subtasks]
        names = [name for _, name in self.motion.subtasks]
        parts = [Instruction(text=n, kind="subtask", time_ns=t) for n, t in zip(names, times, strict=True)]
        return (Instruction(text=self.text), *parts)

    def outcomes(self, *, is_success: bool) -> tuple[Outcome, ...]:
        end_ns = self.start_ns + round(self.motion.duration_s * 1e9)
        if is_success:
            return (Outcome(kind="success", time_ns=end_ns),)
        return (Outcome(kind="failure", time_ns=end_ns, reason="missed the goal"),)


class _Recorder:
    """Samples a motion, each stream on its own stamps."""

    def __init__(
        self, variant: str, motion: Motion, place: _Place, look: "_Look", rng: np.random.Generator, start_ns: int
    ) -> None:
        self._variant, self._motion, self._place = variant, motion, place
        self._look, self._rng, self._start_ns = look, rng, start_ns

    def streams(self) -> dict[str, AnyStream]:
        """At native rates."""
        arm_s = self._times(100.0, 2e-4)
        found: list[AnyStream] = [self._numbers("arm", arm_s, self._state(arm_s), (3e-4, 1e-3))]
        if self._variant == "pose":
            found.append(self._numbers("pose", arm_s, self._pose(arm_s), (3e-4, 1e-3)))
        command_s = self._times(50.0, 3e-4)
        command = self._command(command_s)
        found.append(self._numbers("command", command_s, command, (3e-4, 1e-3)))
        for camera in ("front", "wrist"):
            time_s = self._times(30.0, self._place.jitter_s)
            found.append(self._images(camera, time_s))
        return {s.name: s for s in found}

    def rows(self) -> dict[str, AnyStream]:
        """As steps already: one row of everything at each."""
        rate = embodiment_of(self._variant).rate_hz
        time_s = self._times(rate, 5e-4)
        if self._variant == "stepped":
            numbers = {"arm": self._state(time_s), "command": self._command(time_s)}
        else:
            numbers = {"pose": self._euler(time_s), "command": self._deltas(time_s, 1 / rate)}
        found: dict[str, AnyStream] = {n: self._numbers(n, time_s, v, None) for n, v in numbers.items()}
        for camera in ("front", "wrist"):
            found[camera] = self._images(camera, time_s, is_row=True)
        return found

    def _times(self, rate_hz: float, jitter_s: float) -> Floats:
        """Seconds of samples; jitter never swaps two."""
        begin = -self._rng.uniform(0.2 * MARGIN_S, MARGIN_S)
        count = round((self._motion.duration_s + 2 * MARGIN_S) * rate_hz)
        jitter = np.clip(self._rng.normal(0, jitter_s, count), -2.2 * jitter_s, 2.2 * jitter_s)
        return np.asarray(begin + np.arange(count) / rate_hz + np.clip(jitter, -0.2 / rate_hz, 0.2 / rate_hz))

    def _stamps(self, time_s: Floats) -> Int64Array:
        return self._start_ns + np.round(time_s * 1e9).astype(np.int64)

    def _numbers(self, name: str, time_s: Floats, values: Floats, delay_s: tuple[float, float] | None) -> Stream:
        return Stream(
            name=name,
            clock=Clock.UNIX,
            time_ns=self._stamps(time_s),
            values=values.astype(np.float32 if delay_s is None else np.float64),
            receive_time_ns=None if delay_s is None else self._received(time_s, *delay_s),
            clock_choice="" if delay_s is None else "header",
        )

    def _received(self, time_s: Floats, least_s: float, spread_s: float) -> Int64Array:
        delay = least_s + self._rng.exponential(spread_s, len(time_s))
        return np.maximum.accumulate(self._stamps(time_s + delay))

    def _images(self, camera: str, time_s: Floats, *, is_row: bool = False) -> FrameStream:
        exposure = self._place.exposure_s[camera == "wrist"]
        state = self._motion.at(self._motion.state, time_s - exposure)
        show = self._look.scene.front if camera == "front" else self._look.scene.wrist
        frames = show(state, self._look.light, self._rng)
        return FrameStream(
            name=camera,
            clock=Clock.UNIX,
            time_ns=self._stamps(time_s),
            frames=BytesFrames(frames),
            codec="jpeg",
            height=HEIGHT,
            width=WIDTH,
            receive_time_ns=None if is_row else self._received(time_s, 0.008, 0.004),
            clock_choice="" if is_row else "header",
        )

    def _state(self, time_s: Floats) -> Floats:
        exact = self._motion.at(self._motion.state, time_s) + self._place.droop
        return _in_range(exact + self._rng.normal(0, ENCODER, exact.shape))

    def _command(self, time_s: Floats) -> Floats:
        asked = self._motion.at(self._motion.command, time_s)
        if self._variant != "pose":
            return asked
        hand = link_frames(asked[:, :7])[:, 8]
        return np.column_stack([hand[:, :3, 3], quaternion_of(hand[:, :3, :3]), asked[:, 7]])

    def _pose(self, time_s: Floats) -> Floats:
        hand = link_frames(self._motion.at(self._motion.state, time_s)[:, :7] + self._place.droop[:7])[:, 8]
        turn = quaternion_of(hand[:, :3, :3]) + self._rng.normal(0, POSE_NOISE, (len(time_s), 4))
        turn /= np.linalg.norm(turn, axis=1)[:, None]
        return np.column_stack([hand[:, :3, 3] + self._rng.normal(0, POSE_NOISE, (len(time_s), 3)), turn])

    def _euler(self, time_s: Floats) -> Floats:
        state = self._state(time_s)
        hand = link_frames(state[:, :7])[:, 8]
        return np.column_stack([hand[:, :3, 3], euler_of(hand[:, :3, :3]), state[:, 7]])

    def _deltas(self, time_s: Floats, period_s: float) -> Floats:
        """How the target moves from each row to the next, in the base's axes, and where the gripper is to be."""
        now, then = (self._motion.at(self._motion.command, t) for t in (time_s, time_s + period_s))
        before, after = (link_frames(c[:, :7])[:, 8] for c in (now, then))
        turn = after[:, :3, :3] @ before[:, :3, :3].transpose(0, 2, 1)
        return np.column_stack([after[:, :3, 3] - before[:, :3, 3], euler_of(turn), then[:, 7]])


def _in_range(values: Floats) -> Floats:
    """The gripper's sensor reads no less than closed and no more than open."""
    values[:, 7] = np.clip(values[:, 7], 0.0, 1.0)
    return values
