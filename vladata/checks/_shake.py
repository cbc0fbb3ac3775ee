"""Shaking: what changes too fast for an arm that is led, in unit and Hz, and how smooth a motion is."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Shake", "log_dimensionless_jerk", "shake"]

FloatArray = NDArray[np.float64]

RATE_HZ = 32.0
"""Samples are averaged down to about this rate: four for each period of a tremor of 8 Hz."""
MIN_RATE_HZ = 8.0
"""Below, the quarter of the rate is what hands do on purpose."""
MIN_BLOCKS = 20
"""Averaged samples that are needed."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shake:
    """How columns shake, looked at in one rate."""

    strength: FloatArray
    """Middle amplitude of what is about a quarter of the rate and above, [C]."""
    amplitude: FloatArray
    """The same as of one wave of that frequency, [C]."""
    frequency_hz: FloatArray
    """[C]."""
    values: FloatArray
    """What was looked at, [B, C]."""
    rate_hz: float


def shake(values: FloatArray, native_hz: float, step_hz: float) -> list[Shake]:
    """Look at columns in the rate of the steps, and in about 32 Hz where that is another.

    Fourth differences leave of a smooth motion almost nothing, and of a wave of a quarter of the rate four times its
    amplitude; two neighbouring ones are a quarter of its period apart, so the root of their squares is its amplitude at
    any phase. The middle one is not moved by a few sudden starts and stops.

    Args:
        values: [n, C], finite.
        native_hz: Rate of the samples.
        step_hz: Rate of the steps.
    """
    found = []
    for size in sorted({max(1, round(native_hz / min(r, RATE_HZ))) for r in (step_hz, RATE_HZ)}):
        count, rate = len(values) // size, native_hz / size
        if count < MIN_BLOCKS or rate < MIN_RATE_HZ:
            continue
        # A few sums of many rows are faster than many means of a few.
        averaged = sum((values[i : count * size : size] for i in range(1, size)), start=values[: count * size : size])
        averaged = averaged / size
        found.append(_look(averaged, rate))
    return found


def _look(values: FloatArray, rate: float) -> Shake:
    fourth = np.diff(values, 4, axis=0)
    squares = fourth * fourth
    strength = np.sqrt(np.median(squares[1:] + squares[:-1], axis=0)) / 4
    crossings = np.mean(fourth[1:] * fourth[:-1] < 0, axis=0)
    gain = 4 * np.sin(np.pi * np.clip(crossings, 0.1, 1.0) / 2) ** 4
    return Shake(
        strength=strength, amplitude=strength / gain, frequency_hz=crossings * rate / 2, values=values, rate_hz=rate
    )


def log_dimensionless_jerk(values: FloatArray, rate_hz: float) -> float:
    """LDLJ of the speed along a path, [n, C]; about -6 for one reach, more negative is less smooth; NaN without motion.

    Source: Balasubramanian, Melendez-Calderon, Roby-Brami, Burdet, On the analysis of movement smoothness, Journal of
    NeuroEngineering and Rehabilitation 12:112 (2015): -ln(T^3 / v_peak^2 · integral of |d²v/dt²|² dt).
    """
    speed = np.linalg.norm(np.diff(values, axis=0), axis=1) * rate_hz
    if len(speed) < 3 or not speed.max() > 0:
        return float("nan")
    jerk = np.diff(speed, 2) * rate_hz**2
    duration = len(speed) / rate_hz
    total = duration**3 / speed.max() ** 2 * float(np.sum(jerk**2)) / rate_hz
    return -float(np.log(total)) if total > 0 else float("nan")
