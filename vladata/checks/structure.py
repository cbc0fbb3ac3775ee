"""Structure: streams, dimensions, counts and indices fit the schema and each other."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from ..embodiment import Signal
from ..episode import Episode
from ..finding import Finding, Severity
from ..recording import FrameStream, Stream
from ..text import clip, printable
from ._check import check
from ._look import listed, ranges, runs, share

__all__ = [
    "counts",
    "dimensions",
    "frame_indices",
    "invalid_steps",
    "readable",
    "rules",
    "short",
    "streams",
    "usable_steps",
]


@check(Severity.ERROR)
def readable(episode: Episode) -> Iterator[Finding]:
    """The episode and its streams can be read."""
    for name in episode.streams:
        # Streams are read when first asked for; a damaged one raises, and the runner makes it a finding.
        _ = episode.streams[name]
    yield from ()


@check(Severity.ERROR)
def streams(episode: Episode) -> Iterator[Finding]:
    """Every stream that the schema requires is there, and no other."""
    embodiment = episode.embodiment
    cameras = {c.name for c in embodiment.cameras}
    for name in embodiment.stream_names:
        if name not in episode.streams:
            if embodiment.rule(name).required and name not in episode.derived_actions:
                yield Finding(message=f"no stream {name}; {embodiment.name} requires it", location=f"/streams/{name}")
        elif isinstance(episode.streams[name], FrameStream) != (name in cameras):
            found, wanted = ("numbers", "images") if name in cameras else ("images", "numbers")
            yield Finding(message=f"{name} holds {found}; it must hold {wanted}", location=f"/streams/{name}")
        else:
            yield from _missing_in_steps(episode, name)
    for name in episode.streams:
        if name not in embodiment.stream_names:
            yield Finding(
                message=f"stream {name} is not in {embodiment.name}; it has {listed(embodiment.stream_names, 8)}",
                location=f"/streams/{name}",
            )


def _missing_in_steps(episode: Episode, name: str) -> Iterator[Finding]:
    groups = _step_arrays(episode)
    wanted = next(g for g, names in _expected_groups(episode).items() if name in names)
    for group in (wanted, "valid"):
        if name not in groups[group]:
            yield Finding(
                message=f"the steps have no {group} {name}, though the stream is there; every stream must be in both",
                location=f"/steps/{group}/{name}",
            )


def _expected_groups(episode: Episode) -> dict[str, set[str]]:
    embodiment = episode.embodiment
    return {
        "proprioception": {s.name for s in embodiment.proprioception},
        "action": {s.name for s in embodiment.action},
        "images": {c.name for c in embodiment.cameras},
    }


def _step_arrays(episode: Episode) -> dict[str, Mapping[str, NDArray[np.generic]]]:
    steps = episode.steps
    return {
        "proprioception": steps.proprioception,
        "action": steps.action,
        "images": steps.images,
        "age_ns": steps.age_ns,
        "valid": steps.valid,
    }


@check(Severity.ERROR)
def dimensions(episode: Episode) -> Iterator[Finding]:
    """Vectors have the schema's dimensions."""
    steps = episode.steps
    for signal in episode.embodiment.signals:
        stream = episode.streams.get(signal.name)
        if isinstance(stream, Stream):
            yield from _compare(stream.values, signal, f"/streams/{signal.name}/values")
        for group, arrays in (("proprioception", steps.proprioception), ("action", steps.action)):
            if signal.name in arrays:
                yield from _compare(arrays[signal.name], signal, f"/steps/{group}/{signal.name}")


def _compare(values: NDArray[np.generic], signal: Signal, location: str) -> Iterator[Finding]:
    wanted = len(signal.dimensions)
    if values.ndim != 2 or values.shape[1] != wanted:
        shape = "x".join(str(n) for n in values.shape)
        yield Finding(
            message=f"{signal.name} is an array of {shape}; the schema has {wanted} dimensions per row: "
            f"{listed(signal.names, 8)}",
            location=location,
        )
    elif values.dtype.kind not in "fiub":
        yield Finding(message=f"{signal.name} holds {values.dtype}; it must hold real numbers", location=location)


@check(Severity.ERROR)
def counts(episode: Episode) -> Iterator[Finding]:
    """Stamps, values, frames and steps are as many as each other."""
    total = len(episode.steps)
    for name, stream in episode.streams.items():
        location, stamps = f"/streams/{name}", len(stream.time_ns)
        if stamps == 0:
            yield Finding(message=f"{name} has no sample; a stream must have at least one", location=location)
        count, what = (len(stream.values), "values") if isinstance(stream, Stream) else (_shown(stream), "frames")
        if count != stamps:
            yield Finding(
                message=f"{name} has {count:,} {what} and {stamps:,} stamps; they must be as many", location=location
            )
    for group, arrays in _step_arrays(episode).items():
        for name, array in arrays.items():
            if len(array) != total:
                yield Finding(
                    message=f"{name} has {len(array):,} rows and the episode {total:,} steps; they must be as many",
                    location=f"/steps/{group}/{name}",
                )


def _shown(stream: FrameStream) -> int:
    """Frames of a camera, without those that only serve decoding."""
    lead = 0 if stream.video is None else stream.video.lead_in + stream.video.lead_out
    return len(stream.frames.sizes) - lead


@check(Severity.ERROR)
def frame_indices(episode: Episode) -> Iterator[Finding]:
    """Steps show frames that exist, and never an earlier frame than the step before."""
    for name, index in episode.steps.images.items():
        stream = episode.streams.get(name)
        if not isinstance(stream, FrameStream):
            continue
        outside = (index < -1) | (index >= stream.num_frames)
        if outside.any():
            found = runs(outside)
            yield Finding(
                message=f"{name} has frame {int(index[found[0][0]])} at step {found[0][0]:,}; frames go from 0 to "
                f"{stream.num_frames - 1} (-1: none), steps {ranges(found)} are outside",
                location=f"/steps/images/{name}",
                steps=found[0],
                magnitude=float(outside.sum()),
            )
        shown = np.flatnonzero(index >= 0)
        back = np.flatnonzero(np.diff(index[shown]) < 0)
        if len(back):
            before, after = int(shown[back[0]]), int(shown[back[0] + 1])
            times = f" ({len(back):,} such steps)" if len(back) > 1 else ""
            yield Finding(
                message=f"{name} goes back from frame {int(index[before])} to {int(index[after])} at step {after:,}"
                f"{times}; later steps must show later frames",
                location=f"/steps/images/{name}",
                steps=(before, after + 1),
                magnitude=float(len(back)),
            )


@check(Severity.WARNING)
def invalid_steps(episode: Episode) -> Iterator[Finding]:
    """Every step has a sample that counts of every stream; the last step may lack its action."""
    total = len(episode.steps)
    for name, valid in episode.steps.valid.items():
        missing = ~valid
        if name in episode.steps.action and len(missing) > 1 and missing[-1] and not missing[-2]:
            missing[-1] = False  # nobody commands beyond the end
        if not missing.any():
            continue
        found = runs(missing)
        age = episode.embodiment.rule(name).max_age_ms if name in episode.embodiment.stream_names else None
        rule = f"at most {age:g} ms old" if age else "there"
        yield Finding(
            message=f"{name} does not count at {share(int(missing.sum()), total, 'steps')}: {ranges(found)}; "
            f"a sample must be {rule}",
            location=f"/steps/valid/{name}",
            steps=max(found, key=lambda r: r[1] - r[0]),
            magnitude=float(missing.mean()),
        )


@check(Severity.ERROR)
def usable_steps(episode: Episode) -> Iterator[Finding]:
    """At least one step has a sample that counts of every required stream."""
    total = len(episode.steps)
    required = [n for n in episode.steps.valid if n in episode.embodiment.stream_names]
    required = [n for n in required if episode.embodiment.rule(n).required]
    together = [episode.steps.valid[n] for n in required if len(episode.steps.valid[n]) == total]
    if total and together and not np.logical_and.reduce(together).any():
        yield Finding(
            message=f"none of {total:,} steps has a sample that counts of each of {listed(required, 8)}; "
            "nothing can be trained on",
            location="/steps/valid",
            steps=(0, total),
        )


@check(Severity.WARNING)
def short(episode: Episode, *, steps: float = 5) -> Iterator[Finding]:
    """An episode has at least 5 steps."""
    if len(episode) < steps:
        yield Finding(
            message=f"{len(episode)} steps; an episode of a demonstration must have at least {steps:g}",
            location="/steps",
            magnitude=steps - len(episode),
        )


@check(Severity.WARNING)
def rules(episode: Episode) -> Iterator[Finding]:
    """The schema's `checks` section names checks and thresholds that exist."""
    if not episode.embodiment.checks:
        return
    from ._runner import rule_problems  # the runner imports this module

    problems = list(rule_problems(episode.embodiment.checks))
    if problems:
        more = f" (and {len(problems) - 1:,} more)" if len(problems) > 1 else ""
        yield Finding(
            message=f"the schema's checks section does not hold: {clip(printable(problems[0]), 200)}{more}",
            location="/embodiment",
            magnitude=len(problems),
        )
