"""Rotations: quaternions of length 1 that keep their sign, angles that do not leap by a whole turn."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..actions._reference import rotation_groups
from ..episode import Episode
from ..finding import Finding, Severity
from ..units import Mode, RotationConvention
from ._check import check
from ._look import Numbers, listed, numbers, place, quantity, share, steps_between
from ._motion import turns

__all__ = ["quaternion_norm", "sign_flips", "wraps"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

QUATERNIONS = frozenset({RotationConvention.QUATERNION_XYZW, RotationConvention.QUATERNION_WXYZ})


def _quaternions(episode: Episode) -> Iterator[tuple[Numbers, tuple[int, ...], FloatArray]]:
    """Signal, columns and values, [n, 4], of each quaternion."""
    for seen in numbers(episode):
        if len(seen.values) == 0:
            continue
        for convention, columns in rotation_groups([seen.signal]):
            if convention in QUATERNIONS:
                yield seen, columns, seen.values[:, list(columns)]


def _names(seen: Numbers, columns: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(seen.signal.names[c] for c in columns)


@check(Severity.ERROR)
def quaternion_norm(episode: Episode, *, tolerance: float = 0.01) -> Iterator[Finding]:
    """Quaternions have length 1."""
    for seen, columns, values in _quaternions(episode):
        lengths = np.linalg.norm(values, axis=1)
        away = np.nan_to_num(np.abs(lengths - 1.0), nan=0.0, posinf=0.0)
        wrong = away > tolerance
        if not wrong.any():
            continue
        worst = int(np.argmax(away))
        time = int(seen.time_ns[worst])
        yield Finding(
            message=f"{seen.signal.name} ({listed(_names(seen, columns))}) has length {lengths[worst]:.4g} "
            f"{place(episode, seen.stream, seen.start + worst)}, and "
            f"{share(int(wrong.sum()), len(values), 'samples')} are off; a quaternion must have length 1 within "
            f"{tolerance:g}",
            location=seen.location,
            steps=steps_between(episode, seen.stream, time, time),
            magnitude=float(away[worst]),
            dimensions=_names(seen, columns),
        )


@check(Severity.WARNING)
def sign_flips(episode: Episode, *, angle: float = 1.0) -> Iterator[Finding]:
    """Quaternions keep their sign from one sample to the next."""
    for seen, columns, values in _quaternions(episode):
        unit = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
        inner = np.nan_to_num(np.sum(unit[1:] * unit[:-1], axis=1))
        # q and -q are one rotation: half of the angle between two of them is the arc of |inner|.
        flips = np.flatnonzero(inner < -np.cos(min(angle, np.pi) / 2))
        if len(flips) == 0:
            continue
        row = int(flips[np.argmin(inner[flips])]) + 1
        turned = 2 * np.arccos(min(1.0, -float(inner[row - 1])))
        yield Finding(
            message=f"{seen.signal.name} ({listed(_names(seen, columns))}) changes its sign "
            f"{_times(len(flips), seen, episode, row)} while the rotation changes by {turned:.3g} rad; q and -q are "
            "the same rotation, but must not alternate in targets",
            location=seen.location,
            steps=steps_between(episode, seen.stream, int(seen.time_ns[row - 1]), int(seen.time_ns[row])),
            magnitude=float(len(flips)),
            dimensions=_names(seen, columns),
        )


def _times(count: int, seen: Numbers, episode: Episode, row: int) -> str:
    where = place(episode, seen.stream, seen.start + row)
    return f"once, {where}" if count == 1 else f"{count:,} times, for instance {where}"


@check(Severity.WARNING)
def wraps(episode: Episode, *, angle: float = 1.0) -> Iterator[Finding]:
    """Angles do not leap by a whole turn from one sample to the next."""
    for seen in numbers(episode):
        dimensions = seen.signal.dimensions
        columns = [c for c, d in enumerate(dimensions) if turns(seen.signal, d) and d.mode in {None, Mode.ABSOLUTE}]
        if not columns or len(seen.values) < 2:
            continue
        changes = np.nan_to_num(np.diff(seen.values[:, columns], axis=0), posinf=0.0, neginf=0.0)
        away = np.abs(np.abs(changes) - 2 * np.pi)
        found = away < angle
        counts = found.sum(axis=0)
        if not counts.any():
            continue
        worst = int(np.argmax(counts))
        row = int(np.flatnonzero(found[:, worst])[0])
        unit = dimensions[columns[worst]].unit
        before, after = seen.values[row, columns[worst]], seen.values[row + 1, columns[worst]]
        names = tuple(dimensions[c].name for c, count in zip(columns, counts, strict=True) if count)
        more = f" ({int(counts.sum()):,} wraps in {listed(names)})" if counts.sum() > 1 else ""
        yield Finding(
            message=f"{seen.signal.name}.{dimensions[columns[worst]].name} wraps from {quantity(before, unit)} to "
            f"{quantity(after, unit)} {place(episode, seen.stream, seen.start + row + 1)}{more}; targets must not leap "
            "by a whole turn",
            location=seen.location,
            steps=steps_between(episode, seen.stream, int(seen.time_ns[row]), int(seen.time_ns[row + 1])),
            magnitude=float(counts.sum()),
            dimensions=names,
        )
