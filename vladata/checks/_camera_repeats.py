"""Frames that repeat the one before: where a camera stands while the robot moves, and how fast it really is."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..embodiment import Embodiment
from ..episode import Episode
from ..units import Clock
from ._camera_motion import is_moving, is_standing
from ._frames import CameraScan
from ._look import runs

__all__ = ["ALIKE", "Repeats", "Stand", "real_rate", "repeats_of", "shown_share", "stands", "wanted_rate"]

BoolArray = NDArray[np.bool_]

ALIKE = 8.0
"""Frames of a video are alike where nearly all values differ by less than this (of 255): encoding a still picture as
H.264 or AV1 gave at most 3, a robot in the picture 80 and more."""
BETWEEN = 0.25
"""They are also alike where they differ by less than this share of what both frames around them differ by: the second
picture of an encoded pair is refined, not moved. Measured: 15 between two of 100, and nothing moves from one to the
other."""
CLEAR, AROUND, REFINED = 25.0, 4, 0.35
"""Frames clearly move where half of those around, four on either side, differ by this much from the one before; a
repeated one differs by less than this share of it, for encoding refines it."""
BUFFERS = 4
"""A driver that no longer gets pictures may hand out those of its few buffers in turn."""
EXCEPTION = 0.02
"""A camera stands out of order only where at most this share of the other frames in motion repeats as well: a picture
without noise, of a robot that moves outside it, says nothing."""
MIN_MOVING = 3
RESTING, MIN_RESTING = 0.7, 5
"""The robot may stand during a run where it does not clearly move in this share of it; so many other frames at rest
tell whether the picture stands with it, and where there are fewer it must clearly stand in that share."""
STANDING = 3
"""So many equal frames in a row, and more than twice the usual number, are one stand and no slow camera."""
SLOWEST = 10.0
"""A frame that is shown more often than this stands, and its camera is not only slow."""
GAP_PERIODS = 4.5
"""Longer intervals are gaps and say nothing of the rate; periods are the usual ones where the camera is slower than it
must be."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Repeats:
    """Which frames are as the one before, and whether the robot moved meanwhile."""

    start: int
    """First frame."""
    is_repeat: BoolArray
    """Of each frame but the first, [n - 1]."""
    is_same: BoolArray
    """The same; of a video also where it differs little against what moves in the frames around, of images also where
    it is as one a little earlier, [n - 1]."""
    is_moving: BoolArray | None
    """From the frame before to each, [n - 1]; None where nothing says so."""
    is_standing: BoolArray | None
    """The same for what clearly stands; between the two lies slow motion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """Equal frames in a row."""

    first: int
    count: int
    is_in_motion: bool
    """The robot moved, and elsewhere the camera shows it."""
    is_at_rest: bool
    """The robot stood, and wherever it stands the picture does too, as far as can be told: it has no noise."""


def repeats_of(scanned: CameraScan) -> Repeats:
    """Images by the digest of their bytes; of a video the consecutive frames that were decoded."""
    if scanned.stream.video is None:
        digests, start = scanned.digests, scanned.start
        is_repeat = (digests[1:] == digests[:-1]) & (digests[1:] != 0)  # 0: could not be read
        is_same = is_repeat.copy()
        for lag in range(2, BUFFERS + 1):
            is_same[lag - 1 :] |= (digests[lag:] == digests[:-lag]) & (digests[lag:] != 0)
    else:
        most, start = scanned.changes.most, scanned.changes.start
        is_repeat = np.isfinite(most) & (most < np.maximum(ALIKE, BETWEEN * _smaller_neighbour(most)))
        around = _median_around(most)
        is_same = np.isfinite(most) & (most < np.where(around >= CLEAR, np.maximum(ALIKE, REFINED * around), ALIKE))
    time = scanned.time_ns[start : start + len(is_repeat) + 1]
    return Repeats(
        start=start,
        is_repeat=is_repeat,
        is_same=is_same,
        is_moving=is_moving(scanned.robot, time),
        is_standing=is_standing(scanned.robot, time),
    )


def _smaller_neighbour(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The smaller of the values before and after each; 0 at the ends, and beside what is not known."""
    padded = np.concatenate(([0.0], np.nan_to_num(values, nan=0.0), [0.0]))
    return np.asarray(np.minimum(padded[:-2], padded[2:]))


def _median_around(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The median of each value and the four on either side of it; beyond the ends there is none."""
    padded = np.pad(np.nan_to_num(values, nan=0.0), AROUND)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * AROUND + 1)
    return np.asarray(np.median(windows, axis=1)) if len(values) else values


def stands(repeats: Repeats, frames: float) -> list[Stand]:
    """Runs of equal frames: those in motion first, the longest before the others."""
    found = runs(repeats.is_same)
    odd = _in_motion(repeats, found, frames)
    made = [
        Stand(
            first=repeats.start + a,
            count=b - a + 1,
            is_in_motion=(a, b) in odd,
            is_at_rest=_is_at_rest(repeats, a, b),
        )
        for a, b in found
    ]
    return sorted(made, key=lambda s: (not s.is_in_motion, -s.count))


def _in_motion(repeats: Repeats, found: list[tuple[int, int]], frames: float) -> set[tuple[int, int]]:
    moving = repeats.is_moving
    if moving is None:
        return set()
    least = max(frames, 2 * _usual_length(repeats.is_same) + 1)
    odd = {(a, b) for a, b in found if b - a + 1 >= least and float(moving[a:b].mean()) >= 0.5}
    others = moving.copy()
    for a, b in odd:
        others[a:b] = False
    if int(others.sum()) < MIN_MOVING or float(repeats.is_same[others].mean()) > EXCEPTION:
        return set()
    return odd


def _is_at_rest(repeats: Repeats, start: int, stop: int) -> bool:
    moving, standing = repeats.is_moving, repeats.is_standing
    if moving is None or standing is None or float(moving[start:stop].mean()) > 1 - RESTING:
        return False
    others = standing.copy()
    others[start:stop] = False
    if int(others.sum()) >= MIN_RESTING:
        return float(repeats.is_repeat[others].mean()) >= 0.5
    return float(standing[start:stop].mean()) >= RESTING


def _usual_length(is_repeat: BoolArray) -> float:
    """How often a frame is usually shown: 2 where the camera is half as fast as its stream."""
    changes = np.flatnonzero(~is_repeat)
    usual = float(np.median(np.diff(np.concatenate(([-1], changes, [len(is_repeat)])))))
    return min(usual, SLOWEST)


def wanted_rate(episode: Episode, scanned: CameraScan) -> float | None:
    """Frames per second that a camera must give: what the schema declares, but no more than a source of steps can."""
    embodiment: Embodiment = episode.embodiment
    name = scanned.stream.name
    if scanned.schema is None:
        return None
    declared = embodiment.rule(name).rate_hz or scanned.schema.rate_hz
    if scanned.stream.clock is Clock.NOMINAL or episode.provenance.get("is_stepped") is True:
        return min(declared, embodiment.rate_hz) if declared else embodiment.rate_hz
    return declared


def real_rate(scanned: CameraScan, repeats: Repeats, wanted_hz: float) -> float | None:
    """Different frames per second, while the robot moves; None where that can't be told."""
    time = scanned.time_ns[scanned.start : scanned.stop]
    intervals = np.diff(time)
    intervals = intervals[intervals > 0]
    if len(intervals) < MIN_MOVING:
        return None
    # Of a camera that is many times slower than it must be, every interval would be a gap.
    period = max(1e9 / wanted_hz, float(np.median(intervals)))
    intervals = intervals[intervals <= GAP_PERIODS * period]
    counts = ~_standing(repeats)
    if repeats.is_moving is not None:
        counts &= repeats.is_moving
    return float(1e9 / intervals.mean()) * (1 - _repeated(repeats.is_repeat, counts, repeats.is_moving))


def shown_share(episode: Episode, scanned: CameraScan, repeats: Repeats) -> float | None:
    """Share of the steps that show another picture than the step before, while the robot moves."""
    frames = episode.steps.images.get(scanned.stream.name)
    if frames is None or len(frames) != len(episode.steps.time_ns):
        return None
    # Frames that show the same have the same number.
    number = np.concatenate(([0], np.cumsum(~repeats.is_repeat)))
    rows = np.flatnonzero((frames >= repeats.start) & (frames < repeats.start + len(number)))
    moving = is_moving(scanned.robot, episode.steps.time_ns[rows])
    if len(rows) < 2 or moving is None:
        return None
    place = frames[rows] - repeats.start
    stands_still = np.append(False, _standing(repeats))[place[1:]]
    return 1 - _repeated(np.diff(number[place]) == 0, moving & ~stands_still, moving)


def _standing(repeats: Repeats) -> BoolArray:
    """Long runs of equal frames, which `camera.frozen` tells of, [n - 1]."""
    mask = np.zeros(len(repeats.is_repeat), dtype=np.bool_)
    shortest = max(STANDING, 2 * _usual_length(repeats.is_repeat) + 1)
    for a, b in runs(repeats.is_repeat):
        mask[a:b] = b - a + 1 >= shortest
    return mask


def _repeated(is_repeat: BoolArray, counts: BoolArray, moving: BoolArray | None) -> float:
    """Share of repeats; where the robot stands, a picture without noise stands as well."""
    if moving is None or int(counts.sum()) < MIN_MOVING:
        return 0.0
    return float(is_repeat[counts].mean())
