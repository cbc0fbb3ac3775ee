"""Curves that a finding may speak of: values, intervals of stamps, what lies at the steps; with units and limits."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..checks._look import part, seconds
from ..embodiment import Dimension
from ..episode import Episode
from ..recording import AnyStream, FrameStream, Stream
from ..units import Clock, Unit
from ._shown import FloatArray, Levels

__all__ = ["Track", "intervals_of", "steps_of", "values_of"]

Int64Array = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Track:
    """Curves over one axis."""

    title: str
    x: FloatArray
    """[n]."""
    y: FloatArray
    """[n, D]."""
    labels: Sequence[str]
    units: Sequence[str]
    levels: Sequence[Levels]
    steps_x: FloatArray
    """Where each step lies, [T]."""
    is_nominal: bool
    noun: str = "sample"
    """What x counts on a nominal clock."""
    is_dotted: bool = False


def values_of(episode: Episode, stream: Stream) -> Track:
    values = np.asarray(stream.values)
    if values.ndim != 2 or values.dtype.kind not in "fiub" or len(values) != len(stream.time_ns):
        raise ValueError(f"{stream.name} holds {values.dtype} {list(values.shape)} for {len(stream.time_ns)} stamps")
    cut = part(episode, stream)
    names, units, levels = _dimensions(episode, stream.name, values.shape[1])
    x, steps_x = _axes(episode, stream, cut)
    return Track(
        title=stream.name,
        x=x,
        y=values[cut].astype(np.float64),
        labels=names,
        units=units,
        levels=levels,
        steps_x=steps_x,
        is_nominal=stream.clock is Clock.NOMINAL,
    )


def _dimensions(episode: Episode, name: str, count: int) -> tuple[Sequence[str], Sequence[str], Sequence[Levels]]:
    """Names, units and limits as the schema has them; numbers where it does not fit."""
    known: Sequence[Dimension] = next((s.dimensions for s in episode.embodiment.signals if s.name == name), ())
    if len(known) != count:
        return [str(i) for i in range(count)], [""] * count, [()] * count
    units = ["" if d.unit is Unit.ONE else str(d.unit) for d in known]
    limits = [((d.limits[0], "limits"), (d.limits[1], "limits")) if d.limits else () for d in known]
    return [d.name for d in known], units, limits


def _axes(episode: Episode, stream: AnyStream, cut: slice) -> tuple[FloatArray, FloatArray]:
    """Place of a stream's samples and of the steps: seconds from the first step, or samples on a nominal clock."""
    time, steps = stream.time_ns[cut], episode.steps.time_ns
    if stream.clock is Clock.NOMINAL:
        counted = np.arange(cut.start, cut.start + len(time), dtype=np.float64)
        order = np.argsort(time, kind="stable")
        steps_x = np.interp(steps, time[order], counted[order]) if len(time) else np.zeros(len(steps))
        return counted, steps_x
    steps_x = (steps - steps[0]) / 1e9 if len(steps) else np.zeros(0)
    if len(time) == 0:
        return np.zeros(0), steps_x
    # What synchronization did to the stamps is a straight line: two of them say it for all.
    low, high = int(time.min()), int(time.max())
    first, last = seconds(episode, stream, low), seconds(episode, stream, high)
    return first + (last - first) * ((time - low) / max(high - low, 1)), steps_x


def intervals_of(episode: Episode, stream: AnyStream) -> Track:
    cut = part(episode, stream)
    x, steps_x = _axes(episode, stream, cut)
    rule = episode.embodiment.rule(stream.name)
    rate = rule.rate_hz or next((c.rate_hz for c in episode.embodiment.cameras if c.name == stream.name), None)
    noun = "frame" if isinstance(stream, FrameStream) else "sample"
    return _spacing(stream.time_ns[cut], x, steps_x, rate, f"{stream.name}: time from each {noun} to the next")


def _spacing(time_ns: Int64Array, x: FloatArray, steps_x: FloatArray, rate_hz: float | None, title: str) -> Track:
    y = np.diff(time_ns) / 1e6
    median = float(np.median(y)) if len(y) else 0.0
    levels: Levels = ((1e3 / rate_hz, "schema:"),) if rate_hz else ((median, "median:"),)
    return Track(
        title=title,
        x=x[:-1],
        y=y[:, None],
        labels=["interval"],
        units=["ms"],
        levels=[levels],
        steps_x=steps_x,
        is_nominal=False,
        is_dotted=True,
    )


def steps_of(episode: Episode, parts: Sequence[str]) -> Track | None:
    """Curves over the steps, by the path below `/steps`."""
    steps, name = episode.steps, parts[-1]
    is_nominal = all(s.clock is Clock.NOMINAL for s in episode.streams.values())
    x = np.arange(len(steps), dtype=np.float64) if is_nominal else (steps.time_ns - steps.time_ns[:1].sum()) / 1e9
    if parts[0] == "time_ns":
        return _spacing(steps.time_ns, x, x, episode.embodiment.rate_hz, "time from each step to the next")
    groups = {
        "action": steps.action,
        "proprioception": steps.proprioception,
        "age_ns": steps.age_ns,
        "valid": steps.valid,
        "images": steps.images,
    }
    group = groups.get(parts[0], {})
    if len(parts) < 2 or name not in group:
        return None
    y = np.asarray(group[name], dtype=np.float64)
    if y.ndim not in (1, 2):
        raise ValueError(f"{name} has the shape {list(y.shape)} at the steps")
    if y.ndim == 2:
        labels, units, levels = _dimensions(episode, name, y.shape[1])
    elif parts[0] == "age_ns":
        most = episode.embodiment.rule(name).max_age_ms
        labels, units, levels = ["age"], ["ms"], [((most, "largest age by the schema:"),) if most else ()]
        y = y / 1e6
    else:
        labels, units, levels = ["is valid" if parts[0] == "valid" else "frame"], [""], [()]
    return Track(
        title=f"{name} at the steps",
        x=x,
        y=y if y.ndim == 2 else y[:, None],
        labels=labels,
        units=units,
        levels=levels,
        steps_x=x,
        is_nominal=is_nominal,
        noun="step",
    )
