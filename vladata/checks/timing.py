"""Time: order of stamps and steps, gaps, rates, jitter, age, clocks. Stamps that were never recorded are not judged."""

from collections.abc import Iterator

import numpy as np

from ..embodiment import Embodiment
from ..episode import Episode
from ..finding import Finding, Severity
from ..recording import AnyStream
from ..sync.fit import Jump
from ..units import Clock
from ._ages import observed_ages
from ._check import check
from ._clocks import Drift, lead_ns, measured_drift
from ._intervals import find_gaps, steady_period, usual_period
from ._look import excess, listed, place, seconds, stamps, steps_between, summary, timed_streams

__all__ = [
    "age",
    "ahead",
    "clock_drift",
    "coverage",
    "equal_stamps",
    "gaps",
    "jitter",
    "not_measured",
    "stamp_order",
    "step_order",
    "step_rate",
    "stream_rate",
]

STEADY_FACTOR = 1.5
"""A longer interval of a stream (in medians) says nothing of its rate: a sample was lost."""
STEP_GAP_FACTOR = 2.5
"""A longer step interval (in periods) is a hole and says nothing of the rate; decimation makes some twice as long."""
MIN_STEPS = 5
"""Fewer steps say nothing about their rate, or about usual ages."""
MIN_AGED = 10
"""Fewer samples of a stream have no period that ages can be compared with."""
SKEW_QUANTILE = 0.95
"""What a twentieth of the steps have is no rare event."""


def _location(stream: AnyStream) -> str:
    return f"/streams/{stream.name}/time_ns"


@check(Severity.INFO)
def not_measured(episode: Episode) -> Iterator[Finding]:
    """Time was recorded; what has none is named, for nothing can be said about it."""
    nominal = [s.name for s in episode.streams.values() if s.clock is Clock.NOMINAL]
    if nominal:
        which = "any stream" if len(nominal) == len(episode.streams) else listed(nominal)
        yield Finding(
            message=f"no time was recorded for {which} (index / rate); gaps, rates, jitter and speeds are not measured",
            location="/streams",
            magnitude=len(nominal),
        )


@check(Severity.ERROR)
def step_order(episode: Episode) -> Iterator[Finding]:
    """Step times strictly increase."""
    time = episode.steps.time_ns
    intervals = np.diff(time)
    wrong = np.flatnonzero(intervals <= 0)
    if len(wrong):
        worst = int(np.argmin(intervals))
        more = f" ({len(wrong):,} such places, this is the worst)" if len(wrong) > 1 else ""
        yield Finding(
            message=f"time goes from {time[worst]} ns to {time[worst + 1]} ns at step {worst + 1:,}{more}; "
            "step times must strictly increase",
            location="/steps/time_ns",
            steps=(worst, worst + 2),
            magnitude=-float(intervals[worst]),
        )


@check(Severity.ERROR, needs_time=True)
def stamp_order(episode: Episode) -> Iterator[Finding]:
    """Stamps of a stream never go back."""
    for stream in timed_streams(episode):
        start, time = stamps(episode, stream)
        intervals = np.diff(time)
        back = np.flatnonzero(intervals < 0)
        if len(back):
            worst = int(np.argmin(intervals))
            often = "once" if len(back) == 1 else f"{len(back):,} times, at most"
            yield Finding(
                message=f"{stream.name} goes back {often} by {-int(intervals[worst]) / 1e6:.4g} ms "
                f"{place(episode, stream, start + worst + 1)}; stamps must not decrease",
                location=_location(stream),
                steps=steps_between(episode, stream, int(time[worst + 1]), int(time[worst])),
                magnitude=-float(intervals[worst]),
            )


@check(Severity.WARNING, needs_time=True)
def equal_stamps(episode: Episode) -> Iterator[Finding]:
    """No two samples of a stream have the same stamp."""
    for stream in timed_streams(episode):
        start, time = stamps(episode, stream)
        equal = np.flatnonzero(np.diff(time) == 0)
        if len(equal):
            first = int(equal[0]) + 1
            yield Finding(
                message=f"{stream.name} has {len(equal):,} of {len(time):,} samples with the stamp of the one before, "
                f"first {place(episode, stream, start + first)}; each must have its own (the last of equal ones wins, "
                "the others are unused)",
                location=_location(stream),
                steps=steps_between(episode, stream, int(time[first]), int(time[first])),
                magnitude=len(equal) / len(time),
            )


def _longest_interval(embodiment: Embodiment, name: str, period_ns: float, periods: float) -> float:
    """Intervals above this are gaps, ns: what the schema accepts as jitter is none."""
    jitter_ns = (embodiment.rule(name).jitter_ms or 0.0) * 1e6
    return max(periods * period_ns, period_ns + jitter_ns)


@check(Severity.WARNING, needs_time=True)
def gaps(episode: Episode, *, periods: float = 1.5) -> Iterator[Finding]:
    """A stream's samples follow each other without gaps."""
    for stream in timed_streams(episode):
        start, time = stamps(episode, stream)
        period = usual_period(time)
        limit = _longest_interval(episode.embodiment, stream.name, period, periods)
        found, lost = find_gaps(time, period, limit)
        if len(found) == 0:
            continue
        intervals = time[found + 1] - time[found]
        worst, duration, num = int(found[np.argmax(intervals)]), int(intervals.max()), len(found)
        total = int(lost.sum())
        count = "a gap" if num == 1 else f"{num:,} gaps, the longest"
        missing = f"about {total:,} {'sample is' if total == 1 else 'samples are'} missing"
        yield Finding(
            message=f"{stream.name} has {count} of {duration / 1e6:.4g} ms {place(episode, stream, start + worst)}; "
            f"its period is {period / 1e6:.4g} ms, so {missing if total else 'what followed came late'}",
            location=_location(stream),
            steps=steps_between(episode, stream, int(time[worst]), int(time[worst + 1]) - 1),
            magnitude=duration / period,
        )


@check(Severity.WARNING, needs_time=True)
def coverage(episode: Episode, *, periods: float = 1.5) -> Iterator[Finding]:
    """A stream runs from the first step to the last."""
    steps = episode.steps.time_ns
    for stream in timed_streams(episode):
        _, time = stamps(episode, stream)
        if len(time) < 2 or len(steps) == 0:
            continue
        limit = _longest_interval(episode.embodiment, stream.name, usual_period(time), periods) / 1e9
        late = seconds(episode, stream, int(time.min()))
        early = episode.duration_s - seconds(episode, stream, int(time.max()))
        parts = [f"starts {late:.3g} s after the first step"] if late > limit else []
        parts += [f"ends {early:.3g} s before the last step"] if early > limit else []
        if parts:
            yield Finding(
                message=f"{stream.name} {' and '.join(parts)}; it must run with the steps",
                location=_location(stream),
                magnitude=max(late, early),
            )


@check(Severity.WARNING, needs_time=True)
def stream_rate(episode: Episode, *, tolerance: float = 0.1) -> Iterator[Finding]:
    """A stream runs at the schema's rate, within a tenth."""
    embodiment = episode.embodiment
    cameras = {c.name: c.rate_hz for c in embodiment.cameras}
    for stream in timed_streams(episode):
        rate_hz = embodiment.rule(stream.name).rate_hz or cameras.get(stream.name)
        if rate_hz is None:
            continue
        _, time = stamps(episode, stream)
        period, wanted = steady_period(np.diff(time), STEADY_FACTOR), 1e9 / rate_hz
        # Both, for losses change the one, and samples that come in twos the other.
        if min(_off(period, wanted), _off(usual_period(time), wanted)) > tolerance:
            yield Finding(
                message=f"{stream.name} runs at {1e9 / period:.4g} Hz (every {period / 1e6:.4g} ms); the schema says "
                f"{rate_hz:g} Hz (every {wanted / 1e6:.4g} ms, within {tolerance * wanted / 1e6:.3g} ms)",
                location=_location(stream),
                magnitude=_off(period, wanted),
            )


def _off(period_ns: float, wanted_ns: float) -> float:
    """By what share a period is not the wanted one; 0 where there is none."""
    return abs(period_ns - wanted_ns) / wanted_ns if period_ns else 0.0


@check(Severity.WARNING, needs_time=True)
def jitter(episode: Episode) -> Iterator[Finding]:
    """Intervals of a stream vary no more than the schema accepts."""
    for stream in timed_streams(episode):
        accepted = episode.embodiment.rule(stream.name).jitter_ms
        if accepted is None:
            continue
        measured = summary(episode, stream).jitter_ns / 1e6
        if measured > accepted:
            yield Finding(
                message=f"{stream.name} has a jitter of {measured:.3g} ms (99 % of its intervals are closer to the "
                f"period); the schema accepts {accepted:g} ms",
                location=_location(stream),
                magnitude=measured / accepted,
            )


@check(Severity.ERROR, needs_time=True)
def step_rate(episode: Episode, *, tolerance: float = 0.1) -> Iterator[Finding]:
    """Steps come at the schema's rate, within a tenth."""
    if len(episode) < MIN_STEPS or next(timed_streams(episode), None) is None:
        return
    time, wanted = episode.steps.time_ns, 1e9 / episode.embodiment.rate_hz
    period = steady_period(np.diff(time), STEP_GAP_FACTOR, wanted)
    if min(_off(period, wanted), _off(usual_period(time), wanted)) > tolerance:
        yield Finding(
            message=f"steps come at {1e9 / period:.4g} Hz; the schema says {episode.embodiment.rate_hz:g} Hz, "
            f"and a policy trained on them would act at {period / wanted:.3g} times the demonstrated speed",
            location="/steps/time_ns",
            magnitude=_off(period, wanted),
        )


@check(Severity.WARNING, needs_time=True)
def age(episode: Episode, *, periods: float = 2.0, skew_periods: float = 4.0) -> Iterator[Finding]:
    """Observations at a step are about as old as their streams' periods, and as each other."""
    ages = observed_ages(episode)
    if not ages:
        return
    known = np.stack([np.where(valid, values, np.iinfo(np.int64).max) for values, valid in ages.values()])
    youngest = known.min(axis=0)
    for name, (values, valid) in ages.items():
        stream = episode.streams[name]
        intervals = np.diff(stamps(episode, stream)[1])
        intervals = intervals[intervals > 0]
        if len(intervals) < MIN_AGED or np.count_nonzero(valid) < MIN_STEPS:
            continue
        # The mean where a stream comes and goes: between its samples everything is old.
        period = max(float(np.median(intervals)), float(intervals.mean()))
        # Where rows have the stamps of the stream that is late, the others come after their step.
        values = values - np.minimum(youngest, 0)
        usual = float(np.median(values[valid]))
        skew = float(np.quantile((values - np.maximum(youngest, 0))[valid], SKEW_QUANTILE))
        if usual > periods * period:
            what, rule = f"{usual / 1e6:.4g} ms old at half of the steps", f"{periods:g} of them old"
        elif skew > skew_periods * period:
            what = f"{skew / 1e6:.4g} ms older than the latest observation at a twentieth of the steps"
            rule = f"{skew_periods:g} of them older"
        else:
            continue
        worst = int(np.argmax(np.where(valid, values, -1)))
        frames = episode.steps.images.get(name)
        yield Finding(
            message=f"{name} is {what}, most at step {worst:,} ({values[worst] / 1e6:.4g} ms); its period is "
            f"{period / 1e6:.4g} ms, and it must be at most {rule}",
            location=f"/steps/age_ns/{name}",
            steps=(worst, worst + 1),
            magnitude=max(excess(usual, periods * period), excess(skew, skew_periods * period)),
            frames=() if frames is None or len(frames) <= worst else (int(frames[worst]),),
        )


@check(Severity.WARNING, needs_time=True)
def clock_drift(episode: Episode, *, ppm: float = 150.0, jump_ms: float = 5.0) -> Iterator[Finding]:
    """A stream's clock keeps pace with the recorder's, without jumps."""
    for stream in timed_streams(episode):
        drift = measured_drift(episode, stream, ppm, jump_ms * 1e6)
        if drift is None:
            continue
        jumps = [j for j in drift.jumps if abs(j.size_ns) > jump_ms * 1e6]
        largest = max(jumps, key=lambda j: abs(j.size_ns), default=None)
        parts = [_drift_words(drift, ppm)] if drift.sure_ppm > ppm else []
        parts += [_jump_words(episode, stream, drift, largest, len(jumps), jump_ms)] if largest else []
        if parts:
            yield Finding(
                message=f"{stream.name}'s clock {' and '.join(parts)}",
                location=_location(stream),
                steps=steps_between(episode, stream, largest.time_ns, largest.time_ns) if largest else None,
                magnitude=max(
                    excess(drift.sure_ppm, ppm), excess(abs(largest.size_ns), jump_ms * 1e6) if largest else 0.0
                ),
            )


@check(Severity.WARNING, needs_time=True)
def ahead(episode: Episode, *, ms: float = 1.0) -> Iterator[Finding]:
    """A stream's samples are not received before they were taken."""
    for stream in timed_streams(episode):
        lead = lead_ns(episode, stream)
        if len(lead) == 0 or (middle := float(np.median(lead)) / 1e6) <= ms:
            continue
        yield Finding(
            message=f"{stream.name}'s stamps are {middle:.3g} ms ahead of their receipt (median; up to "
            f"{lead.max() / 1e6:.3g} ms); its clock and the recorder's differ by at least that, and it must be at most "
            f"{ms:g} ms",
            location=_location(stream),
            magnitude=excess(middle, ms),
        )


def _drift_words(drift: Drift, ppm: float) -> str:
    way = "slow" if drift.ppm > 0 else "fast"
    away = abs(drift.ppm) * drift.duration_s / 1e3
    return (
        f"runs {abs(drift.ppm):.0f} ± {drift.uncertainty_ppm:.0f} ppm {way} against the recorder's ({away:.1f} ms in "
        f"{drift.duration_s:.1f} s); it must stay within {ppm:g} ppm"
    )


def _jump_words(episode: Episode, stream: AnyStream, drift: Drift, jump: Jump, count: int, limit_ms: float) -> str:
    where = place(episode, stream, drift.start + jump.index)
    more = f" (the largest of {count})" if count > 1 else ""
    # Receipt minus stamp grows where the stamps fall behind.
    return f"jumps by {-jump.size_ns / 1e6:+.4g} ms {where}{more}; it must jump by no more than {limit_ms:g} ms"
