"""A recording's streams for the streams of a given embodiment: by names, shapes, kinds, and correlation."""

from collections.abc import Mapping as MappingType
from collections.abc import Sequence
from dataclasses import dataclass

from ..embodiment import Camera, Embodiment, Signal
from ..sources import Inspection, StreamInfo
from ..text import clip
from ..units import Clock, Kind
from ._mapping import joining, missing
from ._model import dimension_names, is_command
from ._pairs import MAX_ELEMENTS, Target, compare
from ._plan import is_picture
from ._samples import Key, Sample, is_vector, unique
from ._text import label, words

__all__ = ["Pair", "matched"]

_KIND_WORDS = {Kind.JOINT_POSITION: "position", Kind.JOINT_VELOCITY: "velocity", Kind.JOINT_EFFORT: "effort"}
_OVERLAP, _NAMES, _DRIVES = 3.0, 4.0, 3.0
MAX_COMPARED = 400


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pair:
    """A stream of the embodiment, and what feeds it."""

    target: Signal | Camera
    info: StreamInfo | None
    joining: tuple[str, ...] = ()
    remark: str = ""
    """What is unsure about it, or why nothing feeds it."""


Samples = MappingType[Key, Sample]
_Found = dict[int, tuple[StreamInfo, str]]


def matched(inspection: Inspection, embodiment: Embodiment, samples: Samples) -> list[Pair]:
    """The best stream for each of the embodiment's, each used once; commands after the states that they drive."""
    infos = [i for i in unique(inspection.streams) if is_vector(i) or is_picture(i)]
    targets: list[Signal | Camera] = [*embodiment.signals, *embodiment.cameras]
    actions = {s.name for s in embodiment.action}
    used: set[int] = set()
    states = {i for i, t in enumerate(targets) if t.name not in actions}
    chosen = _assign(infos, targets, states, used, {})
    drives = _drives(infos, embodiment, {targets[i].name: info for i, (info, _) in chosen.items()}, samples)
    chosen |= _assign(infos, targets, set(range(len(targets))) - states, used, drives)
    pairs = []
    for i, target in enumerate(targets):
        if i not in chosen:
            remark = missing(target, infos, is_action=target.name in actions)
            pairs.append(Pair(target=target, info=None, remark=remark))
            continue
        info, remark = chosen[i]
        joined = tuple(joining(info, target)) if isinstance(target, Signal) else ()
        driven = drives.get((target.name, label(info)))
        remarks = [r for r in (remark, driven[1] if driven is not None else "") if r]
        pairs.append(Pair(target=target, info=info, joining=joined, remark="; ".join(remarks)))
    return pairs


_Drives = dict[tuple[str, str], tuple[float, str]]
"""By action and stream: how well it drives the state of the action's joints, and the sentence for it."""


def _assign(
    infos: Sequence[StreamInfo], targets: Sequence[Signal | Camera], wanted: set[int], used: set[int], drives: _Drives
) -> _Found:
    scored: list[tuple[float, int, int, str]] = []
    for i in wanted:
        target = targets[i]
        for j, info in enumerate(infos):
            if isinstance(target, Camera):
                found = _camera_score(target, info)
            else:
                found = _signal_score(target, info, is_action=any(d.mode is not None for d in target.dimensions))
            if found is not None and j not in used:
                bonus = drives.get((target.name, label(info)), (0.0, ""))[0]
                scored.append((-found[0] - bonus, i, j, found[1]))
    chosen: _Found = {}
    for _, i, j, remark in sorted(scored):
        if i not in chosen and j not in used:
            chosen[i] = infos[j], remark
            used.add(j)
    return chosen


def _drives(
    infos: Sequence[StreamInfo], embodiment: Embodiment, states: MappingType[str, StreamInfo], samples: Samples
) -> _Drives:
    """Compare the commands with the state that each action is about: the signal that shares most of its names."""
    found: _Drives = {}
    room = MAX_COMPARED
    commands = [i for i in infos if is_vector(i) and is_command(i)]
    if len(commands) < 2:
        return {}
    for action in embodiment.action:
        state = max(embodiment.proprioception, key=lambda s: _alike(action, s), default=None)
        info = states.get(state.name) if state is not None else None
        theirs = _target(info, samples) if info is not None else None
        if theirs is None or state is None:
            continue
        for command in commands:
            ours = _target(command, samples)
            if ours is None or room <= 0:
                continue
            room -= min(MAX_ELEMENTS, command.shape[0])
            follows = compare(ours, theirs)
            if follows is not None:
                text = f"drives {state.name} ({follows.clearness}: correlation {follows.correlation:.2f})"
                found[action.name, label(command)] = (_DRIVES * follows.correlation, text)
    return found


def _alike(action: Signal, state: Signal) -> tuple[float, float, float]:
    shared = len(set(action.names) & set(state.names)) / len(action.names)
    kinds = {d.kind for d in action.dimensions} & {d.kind for d in state.dimensions}
    ours, theirs = words(action.name), words(state.name)
    return shared, len(ours & theirs) / max(1, len(ours)), float(len(kinds))


def _target(info: StreamInfo, samples: Samples) -> Target | None:
    sample = samples.get((info.name, info.field))
    if sample is None or sample.values.shape[1:] != info.shape:
        return None
    names = dimension_names(info) if info.element_names else ()
    return Target(sample=sample, names=names, is_timed=info.clock is not Clock.NOMINAL)


def _overlap(name: str, info: StreamInfo) -> float:
    ours, theirs = words(name), words(label(info))
    same = {w.rstrip("s") for w in ours} & {w.rstrip("s") for w in theirs}
    return len(same) / len(ours) if ours else 0.0


def _camera_score(camera: Camera, info: StreamInfo) -> tuple[float, str] | None:
    if not is_picture(info) or tuple(info.shape[:2]) != (camera.height, camera.width):
        return None
    if (camera.depth is not None) != (info.dtype in {"uint16", "16UC1", "mono16"}):
        return None
    overlap = _overlap(camera.name, info)
    return overlap, "" if overlap else "unsure: of the right size, but of another name"


def _signal_score(signal: Signal, info: StreamInfo, *, is_action: bool) -> tuple[float, str] | None:
    if not is_vector(info):
        return None
    has_names = len(info.element_names) == info.shape[0] and set(signal.names) <= set(dimension_names(info))
    if not has_names and info.shape[0] != len(signal.dimensions):
        return None
    if is_action and not is_command(info):
        return None  # a state is no command: nothing is better than a wrong action
    score = _NAMES * has_names + _OVERLAP * _overlap(signal.name, info) - (0 if is_action else 4.0 * is_command(info))
    wanted = {_KIND_WORDS[d.kind] for d in signal.dimensions if d.kind in _KIND_WORDS}
    measured = words(info.field or info.name) & set(_KIND_WORDS.values())
    if measured and wanted:
        score += 4.0 if measured <= wanted else -4.0
    if score < 0:
        return None
    return score, "" if has_names else _by_index(info)


def _by_index(info: StreamInfo) -> str:
    names = clip(", ".join(info.element_names), 80)
    names = f"; it names {names}" if names else "; it has no names"
    return f"unsure: joined by order{names}"
