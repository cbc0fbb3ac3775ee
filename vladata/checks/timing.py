"""Time: the order of stamps and steps, gaps, rates, jitter. Stamps that were never recorded are not judged."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..embodiment import Embodiment
from ..episode import Episode
from ..finding import Finding, Severity
from ..recording import AnyStream
from ..sync.clock import GAP_FACTOR, ClockSummary, summarize
from ..units import Clock
from ._check import check
from ._look import listed, place, seconds, stamps, steps_between, timed_streams

__all__ = [
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

RATE_TOLERANCE = 0.1
"""Share of the period by which a rate may be off where the schema gives no jitter."""
STEP_GAP_FACTOR = 2.5
"""A longer step interval (in periods) is a hole and says nothing of the rate; decimation makes some twice as long."""
MIN_STEPS = 5
"""Fewer steps say nothing about their rate."""


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
            times = "once" if len(back) == 1 else f"{len(back):,} times, at most"
            yield Finding(
                message=f"{stream.name} goes back {times} by {-int(intervals[worst]) / 1e6:.4g} ms "
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
                f"first {place(episode, stream, start + first)}; the last of equal stamps wins, the others are unused",
                location=_location(stream),
                steps=steps_between(episode, stream, int(time[first]), int(time[first])),
                magnitude=len(equal) / len(time),
            )


def _longest_interval(embodiment: Embodiment, name: str, summary: ClockSummary) -> float:
    """Intervals above this are gaps, ns: what the schema accepts as jitter is none."""
    jitter_ns = (embodiment.rule(name).jitter_ms or 0.0) * 1e6
    return max(GAP_FACTOR * summary.period_ns, summary.period_ns + jitter_ns)


@check(Severity.WARNING, needs_time=True)
def gaps(episode: Episode) -> Iterator[Finding]:
    """A stream's samples follow each other without gaps."""
    for stream in timed_streams(episode):
        start, time = stamps(episode, stream)
        summary = summarize(time)
        limit = _longest_interval(episode.embodiment, stream.name, summary)
        found = [(i, length) for i, length in summary.gaps if length > limit]
        if not found:
            continue
        index, length = max(found, key=lambda g: g[1])
        missing = sum(round(g / summary.period_ns) - 1 for _, g in found)
        noun = "sample is" if missing == 1 else "samples are"
        count = "a gap" if len(found) == 1 else f"{len(found):,} gaps, the longest"
        yield Finding(
            message=f"{stream.name} has {count} of {length / 1e6:.4g} ms {place(episode, stream, start + index)}; "
            f"its period is {summary.period_ns / 1e6:.4g} ms, so about {missing:,} {noun} missing",
            location=_location(stream),
            steps=steps_between(episode, stream, int(time[index]), int(time[index + 1]) - 1),
            magnitude=length / summary.period_ns,
        )


@check(Severity.WARNING, needs_time=True)
def coverage(episode: Episode) -> Iterator[Finding]:
    """A stream runs from the first step to the last."""
    steps = episode.steps.time_ns
    for stream in timed_streams(episode):
        _, time = stamps(episode, stream)
        if len(time) < 2 or len(steps) == 0:
            continue
        limit = _longest_interval(episode.embodiment, stream.name, summarize(time)) / 1e9
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


def _steady_period(intervals: NDArray[np.int64], factor: float, floor_ns: float = 0.0) -> float:
    """Mean of the intervals that are no gaps, ns; 0 where there are none."""
    positive = intervals[intervals > 0]
    if len(positive) == 0:
        return 0.0
    return float(positive[positive <= factor * max(float(np.median(positive)), floor_ns)].mean())


@check(Severity.WARNING, needs_time=True)
def stream_rate(episode: Episode) -> Iterator[Finding]:
    """A stream runs at the schema's rate, within its jitter."""
    embodiment = episode.embodiment
    cameras = {c.name: c.rate_hz for c in embodiment.cameras}
    for stream in timed_streams(episode):
        rule = embodiment.rule(stream.name) if stream.name in embodiment.stream_names else None
        rate_hz = (rule.rate_hz if rule else None) or cameras.get(stream.name)
        if rule is None or rate_hz is None:
            continue
        _, time = stamps(episode, stream)
        period, wanted = _steady_period(np.diff(time), GAP_FACTOR), 1e9 / rate_hz
        tolerance = rule.jitter_ms * 1e6 if rule.jitter_ms is not None else RATE_TOLERANCE * wanted
        if period and abs(period - wanted) > tolerance:
            yield Finding(
                message=f"{stream.name} runs at {1e9 / period:.4g} Hz (every {period / 1e6:.4g} ms); the schema says "
                f"{rate_hz:g} Hz (every {wanted / 1e6:.4g} ms, within {tolerance / 1e6:.3g} ms)",
                location=_location(stream),
                magnitude=abs(period - wanted) / wanted,
            )


@check(Severity.WARNING, needs_time=True)
def jitter(episode: Episode) -> Iterator[Finding]:
    """Intervals of a stream vary no more than the schema accepts."""
    for stream in timed_streams(episode):
        accepted = episode.embodiment.rule(stream.name).jitter_ms
        if accepted is None:
            continue
        _, time = stamps(episode, stream)
        measured = summarize(time).jitter_ns / 1e6
        if measured > accepted:
            yield Finding(
                message=f"{stream.name} has a jitter of {measured:.3g} ms (99 % of its intervals are closer to the "
                f"period); the schema accepts {accepted:g} ms",
                location=_location(stream),
                magnitude=measured / accepted,
            )


@check(Severity.ERROR, needs_time=True)
def step_rate(episode: Episode) -> Iterator[Finding]:
    """Steps come at the schema's rate, within a tenth."""
    if len(episode) < MIN_STEPS or next(timed_streams(episode), None) is None:
        return
    wanted = 1e9 / episode.embodiment.rate_hz
    period = _steady_period(np.diff(episode.steps.time_ns), STEP_GAP_FACTOR, wanted)
    if period and abs(period - wanted) > RATE_TOLERANCE * wanted:
        yield Finding(
            message=f"steps come at {1e9 / period:.4g} Hz; the schema says {episode.embodiment.rate_hz:g} Hz, "
            f"and a policy trained on them would act at {period / wanted:.3g} times the demonstrated speed",
            location="/steps/time_ns",
            magnitude=abs(period - wanted) / wanted,
        )
