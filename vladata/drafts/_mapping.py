"""A drafted mapping as YAML: of a recording onto the schema drafted from it, or onto another."""

from collections.abc import Iterator, Sequence

import numpy as np

from ..embodiment import Camera, Signal
from ..sources import Inspection, StreamInfo
from ._meaning import MESSAGES
from ._model import Plan, SignalPlan, dimension_names
from ._samples import is_vector, unique
from ._text import as_comment, as_comments, as_yaml, is_writable, label, words

__all__ = ["closing_lines", "derived_from", "derived_name", "head_lines", "needs_log", "plan_lines", "stream_lines"]

_TEXTS = {
    "instruction": {"instruction", "instructions", "language", "task", "prompt"},
    "subtask": {"subtask", "subtasks"},
    "outcome": {"outcome", "success", "result"},
}
MAX_PROBLEMS = 10
_MARKS = {"record", "recording", "episode", "trigger", "start", "stop", "marker", "event"}


def plan_lines(inspection: Inspection, plan: Plan) -> list[str]:
    """The mapping of a recording onto the schema that was drafted from it."""
    infos = [*(s.info for s in plan.signals), *(i for _, i in plan.cameras)]
    is_log = needs_log(inspection, infos)
    lines = [f"source: {as_yaml(inspection.source)}", "streams:" if infos else "streams: {}"]
    for signal in plan.signals:
        lines += stream_lines(signal.name, signal.info, _joining(signal), "", is_log=is_log)
        lines += [line for text in _seen_lines(signal) for line in as_comments(text, "  ")]
    for name, info in plan.cameras:
        lines += stream_lines(name, info, [], "", is_log=is_log)
    return [*lines, *_derived_lines(plan), *closing_lines(inspection, infos)]


def head_lines(inspection: Inspection) -> list[str]:
    """What a mapping in a file of its own begins with."""
    return [
        f"# Draft of a mapping, made from {as_comment(inspection.looked_at)}. Check each line: which stream,",
        "# which clock, which units, and whether the clocks of cameras and robot agree (offset_ns).",
    ]


def stream_lines(name: str, info: StreamInfo, joining: Sequence[str], remark: str, *, is_log: bool) -> Iterator[str]:
    """One stream, what is odd about it before it."""
    for text in (*((remark,) if remark else ()), *info.problems):
        yield from as_comments(f"{name}: {text}", "  ")
    parts = [f"from: {as_yaml(info.name)}"]
    if info.field is not None:
        parts.append(f"field: {as_yaml(info.field)}")
    parts += joining
    if is_log and info.clock_choice == "header":
        yield "  # Header stamps of some streams count another time than those of others: log times are used."
        parts.append("clock: log")
    yield f"  {as_yaml(name)}: {{{', '.join(parts)}}}"


def _joining(signal: SignalPlan) -> list[str]:
    """How the elements of a stream meet the dimensions drafted from it, and the units that their names say."""
    info = signal.info
    ours = dimension_names(info)
    is_named = len(info.element_names) == len(ours) and [d.name for d in signal.dimensions] == ours
    is_named = is_named and len(set(info.element_names)) == len(ours)
    parts = ["join: index"]
    if is_named:
        theirs = list(info.element_names)
        parts = [] if theirs == ours else [f"names: [{', '.join(as_yaml(n) for n in theirs)}]"]
    return parts + _units(signal)


def _units(signal: SignalPlan) -> list[str]:
    recorded = {d.name: d.recorded for d in signal.dimensions if d.recorded}
    if not recorded:
        return []
    if len(recorded) == len(signal.dimensions) and len(set(recorded.values())) == 1:
        return [f"units: {next(iter(recorded.values()))}"]
    return [f"units: {{{', '.join(f'{as_yaml(n)}: {u}' for n, u in recorded.items())}}}"]


def _seen_lines(signal: SignalPlan) -> Iterator[str]:
    for seen in signal.seen:
        yield f"{signal.name}: {seen}"


def derived_from(plan: Plan) -> SignalPlan | None:
    """The measured signal that next-state actions could be made of: joint positions, else the first."""
    states = plan.of_role("proprioception")
    joints = [s for s in states if any(d.kind == "joint_position" for d in s.dimensions)]
    joints.sort(key=lambda s: "raw" in words(label(s.info)))
    return next(iter(joints or states), None)


def derived_name(plan: Plan, source: SignalPlan) -> str:
    """A name for them that no stream has."""
    taken = {s.name for s in plan.signals} | {name for name, _ in plan.cameras}
    base = f"next_{source.name}"[:56]
    return next(n for n in (base, *(f"{base}_{k}" for k in range(2, 10_000))) if n not in taken)


def _derived_lines(plan: Plan) -> Iterator[str]:
    if not plan.of_role("action"):
        source = derived_from(plan)
        if source is not None:
            yield "# For next-state actions, beside those lines of the schema:"
            yield "# derived:"
            yield f"#   {as_yaml(derived_name(plan, source))}: {{from: {as_yaml(source.name)}, rule: next_state}}"
    for signal in plan.of_role("action"):
        if signal.follows is not None and signal.follows[1].how == "shift" and signal.follows[1].lag_rows == 1:
            names = {s.name: [d.name for d in s.dimensions] for s in plan.signals}
            if names[signal.follows[0]] != names[signal.name]:
                continue
            yield f"# {signal.name} is {signal.follows[0]} of the next row. To have it marked as derived, take it out"
            yield "# of streams and write:"
            yield "# derived:"
            yield f"#   {as_yaml(signal.name)}: {{from: {as_yaml(signal.follows[0])}, rule: next_state}}"


def needs_log(inspection: Inspection, infos: Sequence[StreamInfo]) -> bool:
    """Whether header stamps of some streams can't go with the others, so that the log's are needed."""
    clocks = {i.clock for i in infos}
    logs = {i.clock for i in inspection.streams if i.clock_choice == "log" and i.count}
    return inspection.source in MESSAGES and len(clocks) > 1 and len(logs) == 1


def closing_lines(inspection: Inspection, infos: Sequence[StreamInfo]) -> Iterator[str]:
    """Texts, and what several demonstrations in one recording call for."""
    yield from _text_lines(inspection)
    for problem in inspection.problems[:MAX_PROBLEMS]:
        yield from as_comments(f"noted: {problem}", "")
    if len(inspection.problems) > MAX_PROBLEMS:
        yield f"# noted: and {len(inspection.problems) - MAX_PROBLEMS} more, see vladata inspect"
    if any("options.time_unit" in p for p in inspection.problems):
        yield "# options: {time_unit: s}   # s, ms, us or ns; without it nothing can be ingested"
    back = {label(i): int((np.diff(i.time_ns) < 0).sum()) for i in infos}
    worst = max(back, key=lambda n: back[n], default="")
    if worst and back[worst]:
        times = f"{back[worst]} time{'s' * (back[worst] != 1)}"
        text = f"{as_comment(worst)} goes backward {times}; with this each jump begins an episode"
        yield f"# on_backward_time: split   # {text}"
    if inspection.source in MESSAGES:
        for info in unique(inspection.streams):
            if _is_mark(info):
                field = f", field: {as_yaml(info.field)}" if info.field else ""
                text = f"{info.count} messages: marks of demonstrations?"
                yield f"# split: {{from: {as_yaml(info.name)}{field}}}   # {text}"


def _is_mark(info: StreamInfo) -> bool:
    is_small = info.kind == "text" or (info.kind == "numeric" and info.shape in {(), (1,)} and "bool" in info.dtype)
    noise = {"rosout", "parameter_events", "outcome", "instruction"}
    return is_small and 0 < info.count <= 1000 and bool(words(label(info)) & _MARKS) and not words(label(info)) & noise


def _text_lines(inspection: Inspection) -> Iterator[str]:
    infos = [i for i in unique(inspection.streams) if i.name and is_writable(i.name + (i.field or ""))]
    texts = [i for i in infos if i.kind == "text" and i.count]
    for name, wanted in _TEXTS.items():
        others = set().union(*(w for n, w in _TEXTS.items() if n != name))
        found = [i for i in texts if words(label(i)) & wanted and not words(label(i)) & (others - wanted)]
        if name == "instruction" and not found:
            found = [i for i in infos if i.name == "task_index"]  # LeRobot: the row of the table of tasks
        if found:
            field = f", field: {as_yaml(found[0].field)}" if found[0].field else ""
            yield f"{name}: {{from: {as_yaml(found[0].name)}{field}}}"
        else:
            hint = "" if name == "subtask" else f"; vladata ingest --set {name}=… gives one"
            yield f"# {name}: no text looks like it{hint}"


def joining(info: StreamInfo, signal: Signal) -> list[str]:
    """How elements meet a given signal's dimensions, where the names are not the same."""
    ours = dimension_names(info)
    is_named = len(info.element_names) == len(ours) == len(set(info.element_names))
    by_ours = dict(zip(ours, info.element_names, strict=False)) if is_named else {}
    if not by_ours or not set(signal.names) <= set(by_ours):
        return ["join: index"]
    theirs = [by_ours[n] for n in signal.names]
    return [] if theirs == list(signal.names) else [f"names: [{', '.join(as_yaml(n) for n in theirs)}]"]


def missing(target: Signal | Camera, infos: Sequence[StreamInfo], *, is_action: bool) -> str:
    """Why nothing feeds a stream, with what there is."""
    from ._plan import is_picture

    if isinstance(target, Camera):
        there = [f"{label(i)} {i.shape[0]}x{i.shape[1]}" for i in infos if is_picture(i)]
        return f"no image of {target.height}x{target.width} left; there are: {', '.join(there) or 'none'}"
    what = "command" if is_action else "signal"
    there = [f"{label(i)} [{i.shape[0]}]" for i in infos if is_vector(i)]
    return f"no {what} of {len(target.dimensions)} numbers left; there are: {', '.join(there) or 'none'}"
