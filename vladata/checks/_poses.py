"""A recorded pose beside the one that follows from the joints, and what would explain their distance."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..embodiment import Kinematics, Signal
from ..episode import Episode
from ..kinematics import ChainPoses, angle_between, forward, rotation_matrices
from ..units import Kind

__all__ = ["PoseError", "compare_poses"]

FloatArray = NDArray[np.float64]

MOST_STEPS = 400
"""Steps that are looked at, evenly over the episode: the median of more says the same."""
FEWEST_STEPS = 3
EXPLAINED = 0.4
"""What leaves less than this share of the distance explains it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoseError:
    """How far the recorded poses are off."""

    distance: float
    """Median, in m."""
    worst: float
    """In m."""
    worst_step: int
    angle: float | None
    """Median, in rad; None where rotations can't be compared."""
    cause: str
    """What would explain the distance; empty where nothing simple does."""


def compare_poses(episode: Episode, chain: Kinematics) -> PoseError | None:
    """Compare the pose that is recorded with the one that the joints give; None where too few steps have both."""
    joints, pose = (episode.embodiment.signal(n) for n in (chain.joints, chain.pose))
    positions, places = _values(episode, joints), _values(episode, pose)
    if positions is None or places is None:
        return None
    used = [j.dimension for j in chain.chain if j.dimension is not None]
    at = [pose.names.index(n) for n in chain.position or _of_kind(pose, Kind.POSITION)]
    turns = [pose.names.index(n) for n in chain.rotation or _of_kind(pose, Kind.ROTATION)]
    angles = {n: positions[:, joints.names.index(n)] for n in used}
    known = np.isfinite(places[:, at]).all(axis=1) & np.isfinite(np.stack(list(angles.values()))).all(axis=0)
    steps = np.flatnonzero(known)
    if len(steps) < FEWEST_STEPS:
        return None
    steps = steps[np.unique(np.linspace(0, len(steps) - 1, MOST_STEPS).astype(int))]
    found = forward(chain.chain, {n: v[steps] for n, v in angles.items()})
    off = places[np.ix_(steps, at)] - found.position
    distance = np.linalg.norm(off, axis=1)
    worst = int(np.argmax(distance))
    return PoseError(
        distance=float(np.median(distance)),
        worst=float(distance[worst]),
        worst_step=int(steps[worst]),
        angle=_angle(places[np.ix_(steps, turns)], pose, found),
        cause=_cause(chain, found, off),
    )


def _of_kind(signal: Signal, kind: Kind) -> list[str]:
    return [d.name for d in signal.dimensions if d.kind is kind]


def _values(episode: Episode, signal: Signal) -> FloatArray | None:
    """A measured signal at the steps, NaN where it does not count; None where it has another shape."""
    values, valid = episode.steps.proprioception.get(signal.name), episode.steps.valid.get(signal.name)
    if values is None or values.shape != (len(episode.steps), len(signal.dimensions)):
        return None
    result = values.astype(np.float64)
    if valid is not None and len(valid) == len(result):
        result[~valid] = np.nan
    return result


def _angle(numbers: FloatArray, pose: Signal, found: ChainPoses) -> float | None:
    if pose.rotation is None or numbers.shape[1] == 0:
        return None
    recorded = rotation_matrices(numbers, pose.rotation)
    if recorded is None:
        return None
    angles = angle_between(recorded, found.rotation)
    angles = angles[np.isfinite(angles)]
    return float(np.median(angles)) if len(angles) else None


def _cause(chain: Kinematics, found: ChainPoses, off: FloatArray) -> str:
    """What simple fault would leave least of the distance: another base, another tool, or the zero of one joint."""
    total = float(np.square(off).sum())
    in_tool = np.einsum("nji,nj->ni", found.rotation, off)
    base, tool = off.mean(axis=0), in_tool.mean(axis=0)
    causes = [
        (float(np.square(off - base).sum()), f"the base stood {_vector(base)} m away"),
        (float(np.square(in_tool - tool).sum()), f"the tip was {_vector(tool)} m further, in its own frame"),
    ]
    moving = [j for j in chain.chain if j.dimension is not None]
    for joint, axes, origins in zip(moving, found.axes, found.origins, strict=True):
        along = axes if joint.type == "prismatic" else np.cross(axes, found.position - origins)
        size = float(np.square(along).sum())
        zero = float((along * off).sum()) / size if size > 0 else 0.0
        unit = "m" if joint.type == "prismatic" else "rad"
        causes.append(
            (float(np.square(off - zero * along).sum()), f"the zero of {joint.dimension} was {zero:.3g} {unit} off")
        )
    rest, cause = min(causes)
    return cause if total > 0 and rest < EXPLAINED**2 * total else ""


def _vector(values: FloatArray) -> str:
    return f"({', '.join(f'{round(v, 3) + 0.0:.3f}' for v in values.tolist())})"
