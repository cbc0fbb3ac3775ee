"""What a finding looks like: the signal around its place, frames of its camera; read again from the episode.

Runs in worker processes: frames of strangers are decoded there, and what comes back is small.
"""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import images
from ..checks._look import part, seconds
from ..episode import Episode
from ..finding import Finding
from ..gate import inside
from ..recording import FrameStream
from ..store.catalog import Entry
from ..store.edits import Edit, apply_edits
from ..store.reader import read_episode
from ..text import clip, printable
from ..units import Clock
from ..workers import beat
from ._html_plots import curves
from ._shown import Evidence, FloatArray, Panel, Picture
from ._tracks import Track, intervals_of, steps_of, values_of

__all__ = ["MAX_PICTURES", "MAX_POINTS", "EvidenceUnit", "gather", "look_at"]

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


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceUnit:
    """One episode and the findings whose evidence is wanted."""

    folder: Path
    entry: Entry
    edits: tuple[Edit, ...]
    findings: tuple[Finding, ...]


def gather(unit: EvidenceUnit) -> list[Evidence]:
    """Evidence for each finding of an episode, in their order; what can't be shown says why."""
    episode = apply_edits(read_episode(inside(unit.folder, unit.entry.file)), unit.edits)
    return [_guarded(episode, finding) for finding in unit.findings]


def _guarded(episode: Episode, finding: Finding) -> Evidence:
    beat()
    try:
        with np.errstate(all="ignore"):
            seen = look_at(episode, finding)
            drawing = curves(seen, f"{seen.title}: {finding.message}")
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - damaged data is why there are findings; the others must be shown
        return Evidence(note=f"nothing to show: {clip(printable(str(error)) or type(error).__name__, 200)}")
    return dataclasses.replace(seen, panels=(), drawing=drawing)


def look_at(episode: Episode, finding: Finding) -> Evidence:
    """Evidence for one finding: a plot of what its location names, or frames."""
    parts = finding.location.strip("/").split("/")
    if parts[0] == "streams" and len(parts) > 1 and parts[1] in episode.streams:
        stream = episode.streams[parts[1]]
        if parts[-1] in {"time_ns", "receive_time_ns"}:
            return _with_pictures(_plot(finding, intervals_of(episode, stream)), episode, finding)
        if isinstance(stream, FrameStream):
            return Evidence(
                title=stream.name, pictures=tuple(_pictures(episode, stream, _frames(episode, stream, finding)))
            )
        return _with_pictures(_plot(finding, values_of(episode, stream)), episode, finding)
    if parts[0] == "steps" and len(parts) > 1:
        track = steps_of(episode, parts[1:])
        if track is not None:
            return _with_pictures(_plot(finding, track), episode, finding)
    return Evidence()


def _plot(finding: Finding, track: Track) -> Evidence:
    if len(track.x) == 0 or len(track.x) != len(track.y):
        return Evidence(note="nothing to show: there are no samples")
    shaded = _shaded(finding, track.steps_x)
    low, high = _window(track.x, shaded)
    inside_it = (track.x >= low) & (track.x <= high)
    wanted = _wanted(finding, track.labels)
    shown = wanted[:MAX_PANELS]
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
    left_out = len(wanted) - len(shown)
    return Evidence(
        title=track.title,
        x_label=track.noun if track.is_nominal else "seconds from the first step",
        span=(low, high),
        shaded=shaded,
        panels=tuple(panels),
        note=f"{left_out} more dimensions are not shown" if left_out else "",
    )


def _wanted(finding: Finding, labels: Sequence[str]) -> list[int]:
    """Dimensions that the finding names, else those that its message does, else all."""
    named = set(finding.dimensions) or set(re.findall(r"[\w-]+", finding.message))
    # A name of one letter may be a word of the message.
    found = [i for i, name in enumerate(labels) if name in named and (finding.dimensions or len(name) > 1)]
    return found or list(range(len(labels)))


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
        at = [] if shown is None else shown[finding.steps[0] :][:1].tolist()  # the steps may lack some
        if isinstance(stream, FrameStream) and at and at[0] >= 0:
            found = tuple(_pictures(episode, stream, at))
            return dataclasses.replace(evidence, pictures=found)
    return evidence


def _frames(episode: Episode, stream: FrameStream, finding: Finding) -> list[int]:
    """Frames to show: the finding's own, those at its steps, or some of all."""
    if finding.frames:
        return list(dict.fromkeys(finding.frames))[:MAX_PICTURES]
    shown = episode.steps.images.get(stream.name)
    if finding.steps is not None and shown is not None:
        # Up to the frame of the step after: what is wrong may lie between two steps.
        at = shown[finding.steps[0] : finding.steps[1] + 1]
        at = at[(at >= 0) & (at < stream.num_frames)]
        if len(at):
            return _spread(range(int(at.min()), int(at.max()) + 1))
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
