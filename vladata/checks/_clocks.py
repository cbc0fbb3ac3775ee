"""A stream's clock against the recorder's, over the time of the steps."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..episode import Episode
from ..recording import AnyStream
from ..sync.clock import is_unix
from ..sync.fit import ClockFit, Jump, fit_clock
from ._look import corrected, correction, part

__all__ = ["Drift", "lead_ns", "measured_drift"]

Int64Array = NDArray[np.int64]

WINDOWS = 8
"""Parts of an episode whose delays are compared before anything is fitted."""
BLOCKS = 64
MIN_SAMPLES = 20
"""Fewer samples have no drift (as for the fit)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What is left of a clock's drift after what synchronization has corrected."""

    ppm: float
    """How much longer a second of the stream's clock takes on the recorder's, in millionths."""
    uncertainty_ppm: float
    """Half-width of its interval, 95 %; wider than the fit's where delays hang together over time."""
    duration_s: float
    jumps: tuple[Jump, ...]
    start: int
    """Index in the stream of the first sample that was looked at."""

    @property
    def sure_ppm(self) -> float:
        """The drift that there is at least."""
        return max(0.0, abs(self.ppm) - self.uncertainty_ppm)


def measured_drift(episode: Episode, stream: AnyStream, ppm: float, jump_ns: float) -> Drift | None:
    """Fit a stream's clock; None where there is nothing to fit, or clearly no drift and no jump of the given sizes."""
    receive = stream.receive_time_ns
    if receive is None or len(receive) != len(stream.time_ns):
        return None
    cut = part(episode, stream)
    time, receive = stream.time_ns[cut], receive[cut]
    if len(time) < MIN_SAMPLES:
        return None
    applied = correction(episode, stream.name).drift_ppm
    # The fit takes a millisecond; most clocks need none.
    if _is_level(time - receive, min(jump_ns, abs(ppm) * 1e-6 * float(np.ptp(time))) / 2) and not applied:
        return None
    fit = fit_clock(time, receive)
    if fit is None or fit.drift_ppm is None or fit.drift_uncertainty_ppm is None:
        return None
    return Drift(
        ppm=fit.drift_ppm - applied,
        uncertainty_ppm=fit.drift_uncertainty_ppm * _memory(fit),
        duration_s=fit.duration_s,
        jumps=fit.jumps,
        start=cut.start,
    )


def lead_ns(episode: Episode, stream: AnyStream) -> Int64Array:
    """How far each sample's stamp, as synchronization corrected it, is ahead of its receipt, [n].

    Empty where no receipt is known, or the two clocks count from different starts.
    """
    receive = stream.receive_time_ns
    if receive is None or len(receive) != len(stream.time_ns):
        return np.zeros(0, dtype=np.int64)
    cut = part(episode, stream)
    time, receive = corrected(episode, stream)[cut], receive[cut]
    if is_unix(time) is not is_unix(receive):
        return np.zeros(0, dtype=np.int64)
    lead: Int64Array = time - receive
    return lead


def _is_level(lead_ns: np.ndarray, bound_ns: float) -> bool:
    """Whether the medians of a few windows differ by less than a bound: a drift or a jump beyond it moves them."""
    size = len(lead_ns) // WINDOWS
    middles = np.median(lead_ns[: size * WINDOWS].reshape(WINDOWS, size), axis=1)
    return size > 1 and float(np.ptp(middles)) < bound_ns


def _memory(fit: ClockFit) -> float:
    """By how much delays that hang together make the fit less sure: a queue that fills and empties looks like drift.

    The blocks' medians are taken as a process that remembers its last value (AR(1)); its mean is less sure by
    sqrt((1 + r) / (1 - r)).
    """
    count = min(BLOCKS, len(fit.residual_ns) // 4)
    if count < 8:
        return 1.0
    size = len(fit.residual_ns) // count
    middles = np.median(fit.residual_ns[: size * count].reshape(count, size), axis=1)
    middles = middles - middles.mean()
    power = float((middles * middles).sum())
    alike = float((middles[1:] * middles[:-1]).sum()) / power if power > 0 else 0.0
    if alike < 2 / math.sqrt(count):
        return 1.0  # what independent delays show as well
    alike = min(alike, 0.95)
    return math.sqrt((1 + alike) / (1 - alike))
