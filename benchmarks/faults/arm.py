"""The arm of the generated episodes: seven joints, a gripper, four ways to record it, and where its links are.

Joint limits, highest speeds and the chain are those of the Franka Emika Panda (Franka Control Interface documentation,
robot and interface specifications, and its Denavit-Hartenberg parameters after Craig). The highest acceleration is a
choice: half and less of the data sheet's, and above what a calm operator asks for.
"""

import numpy as np
from numpy.typing import NDArray

from vladata.embodiment import Camera, Dimension, Embodiment, Signal, StreamRule
from vladata.mapping import Mapping, StepClock, StreamMapping
from vladata.units import Kind, Mode, RotationConvention, Unit

__all__ = [
    "HEIGHT",
    "HOME",
    "LIMITS",
    "MOUNT",
    "VARIANTS",
    "WIDTH",
    "embodiment_of",
    "euler_of",
    "link_frames",
    "mapping_of",
    "quaternion_of",
]

Floats = NDArray[np.float64]

VARIANTS = ("joint", "pose", "delta", "stepped")
"""joint: 100 and 50 Hz, steps are those of a camera at 30 Hz. pose: with the end effector's pose, targets as a pose,
steps on a grid of 20 Hz. delta: rows of 20 Hz with changes of the pose. stepped: rows of 25 Hz with joints."""

HEIGHT, WIDTH = 120, 160
HOME = np.array([0.0, -0.785, 0.0, -2.356, 0.0, 1.571, 0.785])
LIMITS = (
    (-2.8973, 2.8973),
    (-1.7628, 1.7628),
    (-2.8973, 2.8973),
    (-3.0718, -0.0698),
    (-2.8973, 2.8973),
    (-0.0175, 3.7525),
    (-2.8973, 2.8973),
)
SPEEDS = (2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61)
ACCELERATION = 7.5
GRIPPER_SPEED = 5.0

# a, d, alpha of each joint, after Craig; then the flange.
CHAIN = (
    (0.0, 0.333, 0.0),
    (0.0, 0.0, -np.pi / 2),
    (0.0, 0.316, np.pi / 2),
    (0.0825, 0.0, np.pi / 2),
    (-0.0825, 0.384, -np.pi / 2),
    (0.0, 0.0, np.pi / 2),
    (0.088, 0.0, np.pi / 2),
)
MOUNT = np.diag([1.0, -1.0, -1.0, 1.0])
"""Flange to tool: the tool looks along the flange, its axes are those of the base where it points down."""
MOUNT[:3, 3] = 0.0, 0.0, 0.107 + 0.1034
TURNED = np.cos(np.pi / 4)
MOUNT = MOUNT @ np.array([[TURNED, -TURNED, 0, 0], [TURNED, TURNED, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])


def link_frames(joints: Floats) -> Floats:
    """Poses of the base, the seven joints' frames and the tool, [N, 9, 4, 4], at joint angles, [N, 7]."""
    pose = np.broadcast_to(np.eye(4), (len(joints), 4, 4))
    frames = [pose]
    for (a, d, alpha), angle in zip(CHAIN, joints.T, strict=True):
        c, s, ca, sa = np.cos(angle), np.sin(angle), np.cos(alpha), np.sin(alpha)
        zero = np.zeros_like(c)
        link = np.stack(
            [
                np.stack([c, -s, zero, zero + a], axis=-1),
                np.stack([s * ca, c * ca, zero - sa, zero - d * sa], axis=-1),
                np.stack([s * sa, c * sa, zero + ca, zero + d * ca], axis=-1),
                np.stack([zero, zero, zero, zero + 1], axis=-1),
            ],
            axis=-2,
        )
        pose = pose @ link
        frames.append(pose)
    frames.append(pose @ MOUNT)
    return np.stack(frames, axis=1)


def quaternion_of(rotation: Floats) -> Floats:
    """Quaternions x, y, z, w without jumps of sign, [N, 4], of rotation matrices, [N, 3, 3]."""
    from scipy.spatial.transform import Rotation

    found = Rotation.from_matrix(rotation).as_quat()
    flips = np.where(np.sum(found[1:] * found[:-1], axis=1) < 0, -1.0, 1.0)
    signs = np.concatenate([[1.0 if found[0, 3] >= 0 else -1.0], flips]).cumprod()
    return np.asarray(found * signs[:, None])


def euler_of(rotation: Floats) -> Floats:
    """Roll, pitch and yaw, [N, 3], of rotation matrices, [N, 3, 3]."""
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_matrix(rotation).as_euler("xyz"))


def embodiment_of(variant: str) -> Embodiment:
    """The schema of one of the four ways to record the arm."""
    return {"joint": _joint, "pose": _pose, "delta": _delta, "stepped": _stepped}[variant]()


def _cameras(rate_hz: float) -> tuple[Camera, ...]:
    return (
        Camera(name="front", role="external", height=HEIGHT, width=WIDTH, rate_hz=rate_hz),
        Camera(name="wrist", role="wrist", height=HEIGHT, width=WIDTH, rate_hz=rate_hz),
    )


def _joints(mode: Mode | None) -> tuple[Dimension, ...]:
    return tuple(
        Dimension(
            name=f"joint{i + 1}",
            kind=Kind.JOINT_POSITION,
            unit=Unit.RADIAN,
            mode=mode,
            limits=LIMITS[i],
            max_velocity=SPEEDS[i],
            max_acceleration=ACCELERATION,
        )
        for i in range(7)
    )


def _gripper(mode: Mode | None) -> Dimension:
    return Dimension(
        name="gripper",
        kind=Kind.GRIPPER_APERTURE if mode is None else Kind.GRIPPER_COMMAND,
        unit=Unit.ONE,
        mode=mode,
        limits=(0.0, 1.0),
        max_velocity=GRIPPER_SPEED if mode is None else None,
        normalized=True,
        open_value=1.0,
        closed_value=0.0,
    )


def _place(mode: Mode | None, prefix: str = "") -> tuple[Dimension, ...]:
    limits = {"x": (-0.85, 0.85), "y": (-0.85, 0.85), "z": (-0.36, 1.19)}
    return tuple(
        Dimension(
            name=f"{prefix}{n}",
            kind=Kind.POSITION,
            unit=Unit.METRE,
            mode=mode,
            limits=None if mode is Mode.DELTA else limits[n],
            max_velocity=None if mode is Mode.DELTA else 1.7,
        )
        for n in "xyz"
    )


def _turn(names: tuple[str, ...], mode: Mode | None) -> tuple[Dimension, ...]:
    unit = Unit.ONE if len(names) == 4 else Unit.RADIAN
    return tuple(Dimension(name=n, kind=Kind.ROTATION, unit=unit, mode=mode) for n in names)


QUATERNION = ("qx", "qy", "qz", "qw")
EULER = ("roll", "pitch", "yaw")


def _joint() -> Embodiment:
    return Embodiment(
        name="generated_joint",
        rate_hz=30,
        proprioception=(Signal(name="arm", dimensions=(*_joints(None), _gripper(None))),),
        action=(Signal(name="command", dimensions=(*_joints(Mode.ABSOLUTE), _gripper(Mode.ABSOLUTE))),),
        cameras=_cameras(30),
        streams=_rules("arm", "command"),
    )


def _rules(*signals: str) -> dict[str, StreamRule]:
    rates = {"arm": 100.0, "pose": 100.0, "command": 50.0}
    rules = {n: StreamRule(rate_hz=rates[n], jitter_ms=2, max_age_ms=60) for n in signals}
    cameras = {n: StreamRule(rate_hz=30, jitter_ms=16, max_age_ms=150) for n in ("front", "wrist")}
    return {**rules, **cameras}


def _chain() -> list[dict[str, object]]:
    """The same chain as a URDF has it."""
    joints: list[dict[str, object]] = [
        {
            "name": f"joint{i + 1}",
            "type": "revolute",
            "xyz": (a, -d * np.sin(alpha), d * np.cos(alpha)),
            "rpy": (alpha, 0.0, 0.0),
            "axis": (0.0, 0.0, 1.0),
            "dimension": f"joint{i + 1}",
        }
        for i, (a, d, alpha) in enumerate(CHAIN)
    ]
    turn = tuple(float(v) for v in euler_of(MOUNT[None, :3, :3])[0])
    tool: dict[str, object] = {
        "name": "tool",
        "type": "fixed",
        "xyz": tuple(float(v) for v in MOUNT[:3, 3]),
        "rpy": turn,
    }
    return [*joints, tool]


def _pose() -> Embodiment:
    made = _pose_without_chain()
    if "kinematics" not in Embodiment.model_fields:
        return made
    fields = {n: getattr(made, n) for n in Embodiment.model_fields}
    return Embodiment.model_validate({**fields, "kinematics": [{"joints": "arm", "pose": "pose", "chain": _chain()}]})


def _pose_without_chain() -> Embodiment:
    return Embodiment(
        name="generated_pose",
        rate_hz=20,
        proprioception=(
            Signal(name="arm", dimensions=(*_joints(None), _gripper(None))),
            Signal(
                name="pose",
                dimensions=(*_place(None), *_turn(QUATERNION, None)),
                reference_frame="base",
                rotation=RotationConvention.QUATERNION_XYZW,
            ),
        ),
        action=(
            Signal(
                name="command",
                dimensions=(*_place(Mode.ABSOLUTE), *_turn(QUATERNION, Mode.ABSOLUTE), _gripper(Mode.ABSOLUTE)),
                reference_frame="base",
                rotation=RotationConvention.QUATERNION_XYZW,
            ),
        ),
        cameras=_cameras(30),
        streams=_rules("arm", "pose", "command"),
    )


def _delta() -> Embodiment:
    return Embodiment(
        name="generated_delta",
        rate_hz=20,
        proprioception=(
            Signal(
                name="pose",
                dimensions=(*_place(None), *_turn(EULER, None), _gripper(None)),
                reference_frame="base",
                rotation=RotationConvention.EULER_XYZ,
            ),
        ),
        action=(
            Signal(
                name="command",
                dimensions=(
                    *_place(Mode.DELTA, "delta_"),
                    *_turn(("delta_roll", "delta_pitch", "delta_yaw"), Mode.DELTA),
                    _gripper(Mode.ABSOLUTE),
                ),
                reference_frame="base",
                rotation=RotationConvention.EULER_XYZ,
            ),
        ),
        cameras=_cameras(20),
    )


def _stepped() -> Embodiment:
    return Embodiment(
        name="generated_stepped",
        rate_hz=25,
        proprioception=(Signal(name="arm", dimensions=(*_joints(None), _gripper(None))),),
        action=(Signal(name="command", dimensions=(*_joints(Mode.ABSOLUTE), _gripper(Mode.ABSOLUTE))),),
        cameras=_cameras(25),
        streams={"arm": StreamRule(jitter_ms=5), "command": StreamRule(jitter_ms=5)},
    )


def mapping_of(variant: str) -> Mapping:
    """How the recordings of one of the four ways become episodes."""
    embodiment = embodiment_of(variant)
    clock = {"joint": StepClock(kind="stream", stream="front"), "pose": StepClock(kind="grid")}
    return Mapping(
        source="mcap",
        streams={n: StreamMapping(**{"from": f"/{n}"}) for n in embodiment.stream_names},  # type: ignore[arg-type]
        step_clock=clock.get(variant, StepClock()),
    )
