"""Kinds of questions: what an episode knows at which step, with the evidence; a kind without evidence says why.

Nothing here looks at an image or guesses: answers follow from labels, stamps and numbers of the episode and from what
the schema says that the numbers mean.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..embodiment import Dimension, Signal
from ..units import Kind, Unit
from ._moments import Moments, Segment

__all__ = ["KINDS", "Fact", "Found"]

OPEN_FROM, CLOSED_TO = 0.8, 0.2
"""Share of the way from closed to open; between them nobody can say, and no question is asked."""
OPENS_BY, STILL_WITHIN = 0.3, 0.05
"""Change of that share within a second that is opening or closing, and that is neither; between them: no question."""
RISES_BY, LEVEL_WITHIN = 0.03, 0.005
"""The same for heights, in m."""
LOOK_AHEAD_S = 1.0
EDGE = 0.02
"""Shares of time so close to the edge of a quarter are not asked for."""
MIDDLE = 0.1
"""As `EDGE`, around the middle of a subtask."""
SETTLED_S = 0.2
"""So close to a subtask's beginning or end nobody can see which of the two it is: nothing is asked about it."""
MAX_PAIRS, STEPS_OF_A_PAIR = 100, 8
"""Of subtasks whose order is asked for; an episode of many subtasks has thousands."""
UPRIGHT = frozenset({"robot_base", "base", "base_link", "world", "map"})
"""Frames whose z points up, by convention (REP 103)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Something that can be asked at a step."""

    step: int
    asked: str
    """Which phrasings fit."""
    answer: str
    group: str
    """Facts of different groups take turns, so that yes is as frequent as no where there is both."""
    slots: Mapping[str, str] = field(default_factory=dict)
    evidence: Mapping[str, object] = field(default_factory=dict)


T = TypeVar("T")
Numbers = NDArray[np.float64]
Found = list[Fact] | str
"""Facts, or why there are none."""


def _shown(moments: Moments) -> list[int]:
    steps: list[int] = np.flatnonzero(moments.is_shown).tolist()
    return steps


def _task(moments: Moments) -> Found:
    facts = [
        Fact(step=step, asked="what", answer=task, group="text", evidence={"task": task})
        for step in _shown(moments)
        if (task := moments.task_at(step))
    ]
    return facts or "no task instruction"


# Subtasks and their order -------------------------------------------------------------------------------------------


def _label(moments: Moments, segment: Segment) -> dict[str, object]:
    """A subtask as evidence: its text, the steps at which it holds, and its time from the first step in seconds."""
    start_ns = int(moments.episode.steps.time_ns[0])
    begin, end = ((None if t is None else (t - start_ns) / 1e9) for t in (segment.begin_ns, segment.end_ns))
    return {
        "subtask": segment.text,
        "steps": [segment.start, segment.stop],
        "begin_s": begin,
        "end_s": end,
    }


def _settled(moments: Moments) -> list[tuple[int, int]]:
    """Steps that can be shown, well within a subtask, and its number."""
    found = []
    for step in _shown(moments):
        number, now_ns = int(moments.segment_at[step]), int(moments.episode.steps.time_ns[step])
        if number >= 0:
            segment = moments.segments[number]
            is_early = segment.begin_ns is not None and now_ns - segment.begin_ns < SETTLED_S * 1e9
            is_late = segment.end_ns is not None and segment.end_ns - now_ns < SETTLED_S * 1e9
            found += [] if (is_early and number) or is_late else [(step, number)]
    return found


def _subtask(moments: Moments) -> Found:
    if not moments.segments:
        return "no subtasks"
    texts = sorted({s.text for s in moments.segments})
    facts = []
    for step, number in _settled(moments):
        now, task = moments.segments[number], moments.task_at(step)
        evidence = _label(moments, now)
        if task:
            slots = {"task": task}
            facts.append(Fact(step=step, asked="what", answer=now.text, group="text", slots=slots, evidence=evidence))
        for text in texts:
            word = "yes" if text == now.text else "no"
            facts.append(
                Fact(step=step, asked="is", answer=word, group=word, slots={"subtask": text}, evidence=evidence)
            )
    return facts or "no step well within a subtask can be shown"


def _neighbour(moments: Moments, offset: int) -> Found:
    if len(moments.segments) < 2:
        return "fewer than two subtasks"
    facts = []
    for step, number in _settled(moments):
        if not 0 <= number + offset < len(moments.segments):
            continue
        now, other = moments.segments[number], moments.segments[number + offset]
        if now.text != other.text:
            evidence = {"now": _label(moments, now), "other": _label(moments, other)}
            slots = {"subtask": now.text}
            facts.append(
                Fact(step=step, asked="what", answer=other.text, group=other.text, slots=slots, evidence=evidence)
            )
    return facts or "no step with such a neighbour can be shown"


def _next(moments: Moments) -> Found:
    return _neighbour(moments, 1)


def _previous(moments: Moments) -> Found:
    return _neighbour(moments, -1)


def _some(values: Sequence[T], most: int) -> Sequence[T]:
    """At most so many, evenly spread."""
    return values[:: -(-len(values) // most)] if len(values) > most else values


def _order(moments: Moments) -> Found:
    """Pairs of subtasks of which one was over, each time, before the other began; asked once both have begun."""
    spans: dict[str, list[Segment]] = {}
    for segment in moments.segments:
        spans.setdefault(segment.text, []).append(segment)
    facts = []
    pairs = [p for p in itertools.permutations(spans, 2) if spans[p[0]][-1].stop <= spans[p[1]][0].start]
    for one, other in _some(pairs, MAX_PAIRS):
        evidence = {"earlier": _label(moments, spans[one][-1]), "later": _label(moments, spans[other][0])}
        straight, turned = {"a": one, "b": other}, {"a": other, "b": one}
        since = [step for step in _shown(moments) if step >= spans[other][0].start]
        for step in _some(since, STEPS_OF_A_PAIR):
            facts += [
                Fact(step=step, asked=asked, answer=answer, group=group, slots=slots, evidence=evidence)
                for asked, answer, group, slots in (
                    ("first", one, "named first", straight),
                    ("first", one, "named second", turned),
                    ("before", "yes", "yes", straight),
                    ("before", "no", "no", turned),
                )
            ]
    return facts or "no two subtasks whose order is plain"


# Outcome and progress -----------------------------------------------------------------------------------------------


def _outcome(moments: Moments) -> Found:
    """Asked at the last step alone: before it, the outcome was open."""
    outcome, last = moments.episode.outcome, len(moments.episode) - 1
    if not outcome:
        return "nobody said whether the episode was a success"
    if last < 0 or not moments.is_shown[last]:
        return "the last step can't be shown"
    task = moments.task_at(last)
    if not task:
        return "no task instruction"
    facts = []
    for asked in ("success", "failure"):
        word = "yes" if asked == outcome else "no"
        evidence = {"outcome": outcome, "task": task}
        facts.append(Fact(step=last, asked=asked, answer=word, group=word, slots={"task": task}, evidence=evidence))
    return facts


def _progress(moments: Moments) -> Found:
    total = moments.episode.duration_s
    if total <= 0:
        return "the episode has no length"
    facts = []
    for step in _shown(moments):
        share = float(moments.time_s[step]) / total
        if 0 <= share <= 1 and min(abs(share - edge) for edge in (0.25, 0.5, 0.75)) >= EDGE:
            answer = ("first quarter", "second quarter", "third quarter", "last quarter")[min(3, int(share * 4))]
            evidence: dict[str, object] = {"elapsed_s": float(moments.time_s[step]), "duration_s": total}
            facts.append(Fact(step=step, asked="quarter", answer=answer, group=answer, evidence=evidence))
        facts += _half(moments, step)
    return facts or "no step away from the edges of the bins can be shown"


def _half(moments: Moments, step: int) -> list[Fact]:
    """Which half of a subtask a step is in; only of subtasks whose beginning and end are labelled."""
    number = int(moments.segment_at[step])
    segment = moments.segments[number] if number >= 0 else None
    if segment is None or segment.begin_ns is None or segment.end_ns is None:
        return []
    share = (int(moments.episode.steps.time_ns[step]) - segment.begin_ns) / (segment.end_ns - segment.begin_ns)
    if abs(share - 0.5) < MIDDLE:
        return []
    answer = "first half" if share < 0.5 else "second half"
    slots, evidence = {"subtask": segment.text}, {**_label(moments, segment), "time_s": float(moments.time_s[step])}
    return [Fact(step=step, asked="half", answer=answer, group=answer, slots=slots, evidence=evidence)]


# What the robot measures --------------------------------------------------------------------------------------------


def _grippers(moments: Moments) -> list[tuple[Signal, int, str]]:
    """Signals and dimensions of grippers of which the schema says what open and closed are, and their names."""
    found = [
        (signal, d)
        for signal in moments.layout.state
        for d, dimension in enumerate(signal.dimensions)
        if dimension.kind is Kind.GRIPPER_APERTURE and None not in (dimension.open_value, dimension.closed_value)
    ]
    if len(found) == 1:
        return [(*found[0], "the gripper")]
    return [(signal, d, f"{_plain(signal.dimensions[d].name)} of {_plain(signal.name)}") for signal, d in found]


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _openness(moments: Moments, signal: Signal, d: int) -> Numbers:
    """Share of the way from closed (0) to open (1), [T]."""
    dimension = signal.dimensions[d]
    low, high = dimension.closed_value, dimension.open_value
    assert low is not None  # only dimensions with both are asked for
    assert high is not None
    values = moments.episode.steps.proprioception.get(signal.name)
    if values is None:
        return np.full(len(moments.episode), np.nan)
    return np.asarray((values[:, d].astype(np.float64) - low) / (high - low), dtype=np.float64)


def _gripper_evidence(moments: Moments, signal: Signal, d: int, step: int) -> dict[str, object]:
    dimension = signal.dimensions[d]
    return {
        **_measured(moments, signal, d, step),
        "open_value": dimension.open_value,
        "closed_value": dimension.closed_value,
    }


def _measured(moments: Moments, signal: Signal, d: int, step: int) -> dict[str, object]:
    """A measured number as evidence."""
    dimension = signal.dimensions[d]
    value = float(moments.episode.steps.proprioception[signal.name][step, d])
    return {"signal": signal.name, "dimension": dimension.name, "value": value, "unit": str(dimension.unit)}


def _gripper(moments: Moments) -> Found:
    grippers = _grippers(moments)
    if not grippers:
        return "the schema names no gripper with an open and a closed value"
    facts = []
    for signal, d, name in grippers:
        share = _openness(moments, signal, d)
        for step in _shown(moments):
            if CLOSED_TO < share[step] < OPEN_FROM:
                continue
            is_open = bool(share[step] >= OPEN_FROM)
            evidence = _gripper_evidence(moments, signal, d, step)
            answers = {
                "state": "open" if is_open else "closed",
                "open": "yes" if is_open else "no",
                "closed": "no" if is_open else "yes",
            }
            facts += [
                Fact(step=step, asked=a, answer=w, group=w, slots={"gripper": name}, evidence=evidence)
                for a, w in answers.items()
            ]
    return facts or "the gripper is neither plainly open nor plainly closed"


def _state(moments: Moments) -> Found:
    facts = []
    for signal in moments.layout.state:
        axes = _axes(signal)
        for step in _shown(moments):
            if axes and signal.reference_frame:
                facts.append(_position(moments, signal, axes, step))
            for d, dimension in enumerate(signal.dimensions):
                facts += _number(moments, signal, (d, dimension), step)
    return facts or "the schema names no position in a frame, joint angle or gripper opening in units"


def _axes(signal: Signal) -> list[int]:
    """Places of x, y and z in m; empty where a signal does not name them so."""
    found = {
        d.name.rpartition("_")[2]: n
        for n, d in enumerate(signal.dimensions)
        if d.kind is Kind.POSITION and d.unit is Unit.METRE and not d.normalized
    }
    return [found[a] for a in "xyz"] if found.keys() == set("xyz") else []


def _position(moments: Moments, signal: Signal, axes: list[int], step: int) -> Fact:
    values = [float(v) for v in moments.episode.steps.proprioception[signal.name][step, axes]]
    answer = ", ".join(f"{a} {_rounded(v, 2)} m" for a, v in zip("xyz", values, strict=True))
    evidence = {"signal": signal.name, "xyz": values, "unit": "m", "frame": signal.reference_frame}
    slots = {"signal": _plain(signal.name), "frame": signal.reference_frame or ""}
    return Fact(step=step, asked="position", answer=answer, group="position", slots=slots, evidence=evidence)


def _number(moments: Moments, signal: Signal, place: tuple[int, Dimension], step: int) -> list[Fact]:
    d, dimension = place
    if dimension.normalized:
        return []
    evidence = _measured(moments, signal, d, step)
    value = float(moments.episode.steps.proprioception[signal.name][step, d])
    if dimension.kind is Kind.JOINT_POSITION and dimension.unit is Unit.RADIAN:
        answer, slots = f"{_rounded(np.degrees(value), 0)} degrees", {"joint": dimension.name}
        return [Fact(step=step, asked="joint", answer=answer, group="joint", slots=slots, evidence=evidence)]
    if dimension.kind is Kind.GRIPPER_APERTURE and dimension.unit is Unit.METRE:
        names = {(s.name, n): name for s, n, name in _grippers(moments)}
        name = names.get((signal.name, d), f"{_plain(dimension.name)} of {_plain(signal.name)}")
        answer = f"{_rounded(100 * value, 1)} cm"
        return [
            Fact(
                step=step, asked="aperture", answer=answer, group="aperture", slots={"gripper": name}, evidence=evidence
            )
        ]
    return []


def _rounded(value: float, digits: int) -> str:
    """A number of so many digits after the point; zero has no sign."""
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def _motion(moments: Moments) -> Found:
    facts: list[Fact] = []
    for signal, d, name in _grippers(moments):
        share = _openness(moments, signal, d)
        slots, ends = {"gripper": name}, {e: getattr(signal.dimensions[d], e) for e in ("open_value", "closed_value")}
        for step, until, word in _changes(moments, share, (OPENS_BY, STILL_WITHIN), ("opens", "closes", "neither")):
            evidence = {**_measured(moments, signal, d, step), **ends, **_then(moments, signal, d, until)}
            facts.append(Fact(step=step, asked="gripper", answer=word, group=word, slots=slots, evidence=evidence))
    for signal in moments.layout.state:
        axes, frame = _axes(signal), signal.reference_frame or ""
        if not axes or frame not in UPRIGHT:
            continue
        height = moments.episode.steps.proprioception[signal.name][:, axes[2]].astype(np.float64)
        slots = {"signal": _plain(signal.name), "frame": frame}
        for step, until, word in _changes(moments, height, (RISES_BY, LEVEL_WITHIN), ("up", "down", "stays")):
            evidence = {**_measured(moments, signal, axes[2], step), **_then(moments, signal, axes[2], until)}
            facts.append(Fact(step=step, asked="height", answer=word, group=word, slots=slots, evidence=evidence))
    return facts or "no gripper or height whose motion over a second is plain"


def _then(moments: Moments, signal: Signal, d: int, step: int) -> dict[str, object]:
    """What a number has become at a later step."""
    return {"then_step": step, "then": float(moments.episode.steps.proprioception[signal.name][step, d])}


def _changes(
    moments: Moments, values: Numbers, bounds: tuple[float, float], words: tuple[str, str, str]
) -> list[tuple[int, int, str]]:
    """Steps whose next second plainly rises, falls or does neither, with the step a second later and the word."""
    time, found = moments.time_s, []
    for step in _shown(moments):
        until = int(np.searchsorted(time, time[step] + LOOK_AHEAD_S, side="left"))
        if not step < until < len(time) or not moments.is_measured[step : until + 1].all():
            continue
        window = values[step : until + 1] - values[step]
        if abs(window[-1]) >= bounds[0]:
            found.append((step, until, words[0] if window[-1] > 0 else words[1]))
        elif float(np.abs(window).max()) <= bounds[1]:
            found.append((step, until, words[2]))
    return found


KINDS: Mapping[str, Callable[[Moments], Found]] = {
    "task": _task,
    "subtask": _subtask,
    "next": _next,
    "previous": _previous,
    "order": _order,
    "outcome": _outcome,
    "progress": _progress,
    "gripper": _gripper,
    "state": _state,
    "motion": _motion,
}
"""What can be asked, by the name of the kind."""
