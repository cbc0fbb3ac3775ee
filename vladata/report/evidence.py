"""What a finding looks like: the signal around its place, frames of its camera; read again from the episode.

Runs in worker processes: frames of strangers are decoded there, and what comes back is small.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import images
from ..checks._look import part, seconds
from ..embodiment import Dimension
from ..episode import Episode
from ..finding import Finding
from ..gate import inside
from ..recording import AnyStream, FrameStream, Stream
from ..store.catalog import Entry
from ..store.edits import Edit, apply_edits
from ..store.reader import read_episode
from ..text import clip, printable
from ..units import Clock, Unit
from ..workers import beat

__all__ = ["MAX_POINTS", "Evidence", "EvidenceUnit", "Panel", "Picture", "gather", "look_at"]

MAX_POINTS = 600
"""Of a curve; of more samples the smallest and largest of each of 300 groups are drawn."""
MAX_PANELS = 8
MAX_PICTURES = 4
HEIGHT, WIDTH = 160, 284
"""A thumbnail is no larger than this, in pixels."""
QUALITY = 74
"""Of its JPEG."""
MARGIN_S = 1.5
"""At least so much is shown before and after the place of a finding."""
MARGIN_SAMPLES = 15

FloatArray = NDArray[np.float64]
Int64Array = NDArray[np.int64]
Levels = tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceUnit:
    """One episode and the findings whose evidence is wanted."""

    folder: Path
    entry: Entry
    edits: tuple[Edit, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panel:
    """One curve."""

    label: str
    unit: str
    x: FloatArray
    """[n], rising where the stamps do."""
    y: FloatArray
    """[n]; not finite where the recording is not."""
    levels: Levels = ()
    """Values to mark, and what they are: limits."""
    is_dotted: bool = False
    """True where samples are not joined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One frame, reduced."""

    caption: str
    jpeg: bytes = b""
    """Empty where it can't be decoded; the caption says why."""
    height: int = 0
    width: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """What is shown beside a finding."""

    title: str = ""
    x_label: str = ""
    span: tuple[float, float] = (0.0, 0.0)
    """First and last x of the panels."""
    shaded: tuple[float, float] | None = None
    """Where the finding's steps lie, in x."""
    panels: tuple[Panel, ...] = ()
    pictures: tuple[Picture, ...] = ()
    note: str = ""
    """What is left out, or why there is nothing to see."""


def gather(unit: EvidenceUnit) -> list[Evidence]:
    """Evidence for each finding of an episode, in their order; what can't be shown says why."""
    episode = apply_edits(read_episode(inside(unit.folder, unit.entry.file)), unit.edits)
    return [_guarded(episode, finding) for finding in unit.findings]


def _guarded(episode: Episode, finding: Finding) -> Evidence:
    beat()
    try:
        with np.errstate(all="ignore"):
            return look_at(episode, finding)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - damaged data is why there are findings; the others must be shown
        return Evidence(note=f"nothing to show: {clip(printable(str(error)) or type(error).__name__, 200)}")


def look_at(episode: Episode, finding: Finding) -> Evidence:
    """Evidence for one finding: a plot of what its location names, or frames."""
    parts = finding.location.strip("/").split("/")
    if parts[0] == "streams" and len(parts) > 1 and parts[1] in episode.streams:
        stream = episode.streams[parts[1]]
        if parts[-1] in {"time_ns", "receive_time_ns"}:
            return _with_pictures(_plot(finding, _intervals(episode, stream)), episode, finding)
        if isinstance(stream, FrameStream):
            return Evidence(
                title=stream.name, pictures=tuple(_pictures(episode, stream, _frames(episode, stream, finding)))
            )
        return _with_pictures(_plot(finding, _values(episode, stream)), episode, finding)
    if parts[0] == "steps" and len(parts) > 1:
        track = _of_steps(episode, parts[1:])
        if track is not None:
            return _with_pictures(_plot(finding, track), episode, finding)
    return Evidence()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Track:
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


def _values(episode: Episode, stream: Stream) -> _Track:
    values = np.asarray(stream.values)
    if values.ndim != 2 or values.dtype.kind not in "fiub" or len(values) != len(stream.time_ns):
        raise ValueError(f"{stream.name} holds {values.dtype} {list(values.shape)} for {len(stream.time_ns)} stamps")
    cut = part(episode, stream)
    names, units, levels = _dimensions(episode, stream.name, values.shape[1])
    x, steps_x = _axes(episode, stream, cut)
    return _Track(
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
    limits = [((d.limits[0], "lower limit"), (d.limits[1], "upper limit")) if d.limits else () for d in known]
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


def _intervals(episode: Episode, stream: AnyStream) -> _Track:
    cut = part(episode, stream)
    x, steps_x = _axes(episode, stream, cut)
    rule = episode.embodiment.rule(stream.name)
    rate = rule.rate_hz or next((c.rate_hz for c in episode.embodiment.cameras if c.name == stream.name), None)
    noun = "frame" if isinstance(stream, FrameStream) else "sample"
    return _spacing(stream.time_ns[cut], x, steps_x, rate, f"{stream.name}: time from each {noun} to the next")


def _spacing(time_ns: Int64Array, x: FloatArray, steps_x: FloatArray, rate_hz: float | None, title: str) -> _Track:
    y = np.diff(time_ns) / 1e6
    median = float(np.median(y)) if len(y) else 0.0
    levels: Levels = ((1e3 / rate_hz, f"schema, {rate_hz:g} Hz"),) if rate_hz else ((median, "median"),)
    return _Track(
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


def _of_steps(episode: Episode, parts: Sequence[str]) -> _Track | None:
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
    if y.ndim == 2:
        labels, units, levels = _dimensions(episode, name, y.shape[1])
    elif parts[0] == "age_ns":
        most = episode.embodiment.rule(name).max_age_ms
        labels, units, levels = ["age"], ["ms"], [((most, "largest age of the schema"),) if most else ()]
        y = y / 1e6
    else:
        labels, units, levels = ["is valid" if parts[0] == "valid" else "frame"], [""], [()]
    return _Track(
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


def _plot(finding: Finding, track: _Track) -> Evidence:
    if len(track.x) == 0 or len(track.x) != len(track.y):
        return Evidence(note="nothing to show: there are no samples")
    shaded = _shaded(finding, track.steps_x)
    low, high = _window(track.x, shaded)
    inside_it = (track.x >= low) & (track.x <= high)
    wanted = [i for i, label in enumerate(track.labels) if label in finding.dimensions] or range(len(track.labels))
    shown = list(wanted)[:MAX_PANELS]
    panels = []
    for i in shown:
        x, y = _envelope(track.x[inside_it], track.y[inside_it, i])
        panels.append(
            Panel(
                label=track.labels[i],
                unit=track.units[i],
                x=x,
                y=y,
                levels=tuple(track.levels[i]),
                is_dotted=track.is_dotted,
            )
        )
    left_out = len(list(wanted)) - len(shown)
    return Evidence(
        title=track.title,
        x_label=track.noun if track.is_nominal else "seconds from the first step",
        span=(low, high),
        shaded=shaded,
        panels=tuple(panels),
        note=f"{left_out} more dimensions are not shown" if left_out else "",
    )


def _shaded(finding: Finding, steps_x: FloatArray) -> tuple[float, float] | None:
    if finding.steps is None or not 0 <= finding.steps[0] < finding.steps[1] <= len(steps_x):
        return None
    first, stop = finding.steps
    after = steps_x[stop] if stop < len(steps_x) else steps_x[-1]
    return float(steps_x[first]), max(float(after), float(steps_x[first]))


def _window(x: FloatArray, shaded: tuple[float, float] | None) -> tuple[float, float]:
    """What is shown of the axis: the place with its surroundings, all of it where there is no place."""
    low, high = float(x.min()), float(x.max())
    if shaded is None:
        return low, high
    period = (high - low) / max(len(x) - 1, 1)
    margin = max(MARGIN_S, MARGIN_SAMPLES * period, 0.75 * (shaded[1] - shaded[0]))
    around = max(low, shaded[0] - margin), min(high, shaded[1] + margin)
    # Nearly all: then all. Nothing: the stream does not run there, which is what must be seen.
    return around if 0 < around[1] - around[0] < 0.8 * (high - low) else (low, high)


def _envelope(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """At most `MAX_POINTS` points; smallest and largest of neighbours where there are more samples."""
    if len(x) <= MAX_POINTS:
        return x, y
    edges = np.linspace(0, len(x), MAX_POINTS // 2 + 1).astype(np.int64)[:-1]
    low, high = np.fmin.reduceat(y, edges), np.fmax.reduceat(y, edges)
    return np.repeat(x[edges], 2), np.stack([low, high], axis=1).ravel()


def _with_pictures(evidence: Evidence, episode: Episode, finding: Finding) -> Evidence:
    """What the first camera that has a frame saw at the finding's first step."""
    if finding.steps is None or not 0 <= finding.steps[0] < len(episode):
        return evidence
    for camera in episode.embodiment.cameras:
        stream, shown = episode.streams.get(camera.name), episode.steps.images.get(camera.name)
        if isinstance(stream, FrameStream) and shown is not None and shown[finding.steps[0]] >= 0:
            found = tuple(_pictures(episode, stream, [int(shown[finding.steps[0]])]))
            return dataclasses.replace(evidence, pictures=found)
    return evidence


def _frames(episode: Episode, stream: FrameStream, finding: Finding) -> list[int]:
    """Frames to show: the finding's own, those at its steps, or some of all."""
    if finding.frames:
        return list(dict.fromkeys(finding.frames))[:MAX_PICTURES]
    shown = episode.steps.images.get(stream.name)
    if finding.steps is not None and shown is not None:
        at = shown[finding.steps[0] : finding.steps[1]]
        found = list(dict.fromkeys(int(i) for i in at if i >= 0))
        if found:
            return _spread(found)
    cut = part(episode, stream)
    return _spread(range(cut.start, cut.stop))


def _spread(found: Sequence[int]) -> list[int]:
    if len(found) <= MAX_PICTURES:
        return list(found)
    return [found[int(i)] for i in np.linspace(0, len(found) - 1, MAX_PICTURES)]


def _pictures(episode: Episode, stream: FrameStream, wanted: Sequence[int]) -> Iterator[Picture]:
    for index in wanted:
        beat()
        caption = f"{stream.name}, frame {index:,}"
        if stream.clock is not Clock.NOMINAL and 0 <= index < len(stream.time_ns):
            caption += f", {seconds(episode, stream, int(stream.time_ns[index])):.2f} s"
        try:
            yield _picture(episode, stream, index, caption)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - a frame that can't be decoded may be the finding
            yield Picture(caption=f"{caption}: {clip(printable(str(error)), 160)}")


def _picture(episode: Episode, stream: FrameStream, index: int, caption: str) -> Picture:
    camera = next((c for c in episode.embodiment.cameras if c.name == stream.name), None)
    if camera is not None and camera.depth is not None and stream.video is None:
        image = _grey(images.decode_depth(stream.frames.read(index)))
    else:
        image = episode.frame(stream.name, index)
    factor = min(1.0, HEIGHT / image.shape[0], WIDTH / image.shape[1])
    height, width = (max(1, round(n * factor)) for n in image.shape[:2])
    small = images.resize(image, height, width)
    return Picture(caption=caption, jpeg=images.encode_jpeg(small, QUALITY), height=height, width=width)


def _grey(depth: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Near is dark, far is bright, nothing is black."""
    seen = depth[depth > 0]
    low, high = np.percentile(seen, [2, 98]) if len(seen) else (0.0, 1.0)
    scaled = 30 + 225 * (depth - float(low)) / max(float(high - low), 1.0)
    return np.where(depth > 0, np.clip(scaled, 30, 255), 0).astype(np.uint8)
