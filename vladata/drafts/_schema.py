"""A drafted schema as YAML."""

from collections.abc import Iterator, Sequence

import numpy as np

from ..sources import Inspection, StreamInfo
from ..sync.clock import summarize
from ..text import clip
from ..units import Clock, Kind
from ._mapping import derived_from, derived_name, plan_lines
from ._model import DimensionPlan, Plan, SignalPlan
from ._text import as_comment, as_comments, as_number, as_yaml, label, words

__all__ = ["schema_lines"]

MAX_LEFT_OUT = 200


def schema_lines(inspection: Inspection, name: str, plan: Plan, remarks: Sequence[str]) -> list[str]:
    """A schema with its mapping, line by line."""
    rate, source = _rate(inspection, plan)
    lines = [
        f"# Draft of a schema, made from {as_comment(inspection.looked_at)} ({as_comment(inspection.source)}).",
        "# Comments say what was seen in this recording and how sure it is; nothing of it is decided. To do: kinds and",
        "# units (other and 1 stand for unknown), limits with their source (none are made up here), modes, and which",
        "# value of a gripper means open.",
        *(line for r in remarks for line in as_comments(f"values not looked at: {r}", "")),
        f"name: {as_yaml(name)}",
        "version: 1",
        f"rate_hz: {as_number(rate)}  # {source}",
    ]
    if plan.urdf_remarks:
        lines += ["", *(line for r in plan.urdf_remarks for line in as_comments(f"urdf: {r}", ""))]
    for role in ("proprioception", "action"):
        chosen = plan.of_role(role)
        nothing = "no stream looks like a command" if role == "action" else "no stream looks like it"
        lines += ["", f"{role}:" if chosen else f"{role}: []  # {nothing}"]
        for signal in chosen:
            lines += _signal_lines(signal)
        if role == "action" and not chosen:
            lines += _derived_lines(plan)
    lines += ["", "cameras:" if plan.cameras else "cameras: []"]
    for camera, info in plan.cameras:
        lines += _camera_lines(camera, info)
    lines += _rule_lines(plan)
    if plan.left_out:
        texts = list(_left_out(plan.left_out))
        lines += ["", "# Left out:", *(f"#   {as_comment(t)}" for t in texts[:MAX_LEFT_OUT])]
        if len(texts) > MAX_LEFT_OUT:
            lines.append(f"#   and {len(texts) - MAX_LEFT_OUT} more")
    body = [f"    {line}" if line else "" for line in plan_lines(inspection, plan)]
    return [*lines, "", "mappings:", f"  {as_yaml(inspection.source)}:", *body]


def _signal_lines(signal: SignalPlan) -> Iterator[str]:
    yield f"  - name: {as_yaml(signal.name)}"
    for remark in signal.remarks:
        yield from as_comments(remark, "    ")
    if signal.rotation is not None:
        yield f"    rotation: {signal.rotation}"
        yield "    # reference_frame: which frame positions and rotations are in is not recorded"
    yield "    dimensions:"
    for dimension in signal.dimensions:
        yield f"      - {_dimension(dimension)}"


def _dimension(d: DimensionPlan) -> str:
    parts = [f"name: {as_yaml(d.name)}", f"kind: {d.kind}", f"unit: {_unit(d.unit)}"]
    if d.mode is not None:
        parts.append(f"mode: {d.mode}")
    if d.limits is not None:
        parts.append(f"limits: [{as_number(d.limits[0])}, {as_number(d.limits[1])}]")
    if d.max_velocity is not None:
        parts.append(f"max_velocity: {as_number(d.max_velocity)}")
    if d.normalized:
        parts.append("normalized: true")
    if d.open_closed is not None:
        parts.append(f"open_value: {as_number(d.open_closed[0])}, closed_value: {as_number(d.open_closed[1])}")
    remarks = list(d.remarks)
    if not d.is_known and d.unit == "1" and not remarks:
        remarks.append("unit unknown" if d.kind is not Kind.OTHER else "kind and unit unknown")
    comment = as_comment("; ".join(dict.fromkeys(remarks)))
    return f"{{{', '.join(parts)}}}{f'  # {comment}' if comment else ''}"


def _unit(unit: str) -> str:
    return '"1"' if unit == "1" else unit


def _derived_lines(plan: Plan) -> Iterator[str]:
    """An action for those who want next-state actions, as a comment."""
    source = derived_from(plan)
    if source is None:
        return
    yield "# Where nobody commanded anything, what was measured next can be the action, marked as derived. To have"
    yield "# that, take these lines instead of the one above, and `derived` in the mapping:"
    yield "# action:"
    yield f"#   - name: {as_yaml(derived_name(plan, source))}"
    if source.rotation is not None:
        yield f"#     rotation: {source.rotation}"
    yield "#     dimensions:"
    for d in source.dimensions:
        limits = "" if d.limits is None else f", limits: [{as_number(d.limits[0])}, {as_number(d.limits[1])}]"
        yield f"#       - {{name: {as_yaml(d.name)}, kind: {d.kind}, unit: {_unit(d.unit)}, mode: absolute{limits}}}"


def _camera_lines(name: str, info: StreamInfo) -> Iterator[str]:
    height, width = info.shape[:2]
    parts = [f"name: {as_yaml(name)}", f"height: {height}", f"width: {width}"]
    found = words(label(info))
    comment = ""
    if found & {"wrist", "hand", "gripper", "eye"}:
        parts.append("role: wrist")
        comment = "  # role by its name"
    elif "head" in found:
        parts.append("role: head")
        comment = "  # role by its name"
    yield f"  - {{{', '.join(parts)}}}{comment}"
    if "16" in info.dtype or "depth" in found:
        yield "    # A depth image? Then add: depth: {unit: mm}, or the unit that its numbers are in."


def _rule_lines(plan: Plan) -> list[str]:
    infos = {**{s.name: s.info for s in plan.signals}, **dict(plan.cameras)}
    lines = []
    for name, info in infos.items():
        if info.clock is Clock.NOMINAL or len(info.time_ns) < 2:
            continue
        found = summarize(info.time_ns)
        if found.rate_hz <= 0:
            continue
        jitter, age = found.jitter_ns / 1e6, 3 * found.period_ns / 1e6
        seen = f"jitter {0 if jitter < 1e-3 else jitter:.2g} ms{f', {len(found.gaps)} gaps' if found.gaps else ''}"
        rule = f"{as_yaml(name)}: {{rate_hz: {as_number(found.rate_hz, 3)}}}"
        lines.append(f"  {rule}  # {seen}; max_age_ms: {age:.0f} is three periods")
    if not lines:
        return []
    return ["", "# Rates as measured here; jitter_ms and max_age_ms are to be set.", "streams:", *lines]


def _left_out(infos: Sequence[StreamInfo]) -> Iterator[str]:
    """One line for each stream; fields of one topic share theirs."""
    streams: dict[tuple[str, str, int], list[StreamInfo]] = {}
    for info in infos:
        streams.setdefault((info.name, info.type, info.count), []).append(info)
    for (name, type_, count), found in streams.items():
        samples = f"{type_}, {count:,} sample{'s' * (count != 1)}"
        reasons = [i.problems[0] for i in found if i.problems]
        reason = f"; {reasons[0]}" if reasons else ""
        if len(found) == 1:
            yield f"{label(found[0])} ({samples}, shape {list(found[0].shape)}{reason})"
        else:
            fields = ", ".join(f"{i.field or ''} {list(i.shape)}" for i in found)
            yield f"{name} ({samples}{reason}): {clip(fields, 200)}"


def _rate(inspection: Inspection, plan: Plan) -> tuple[float, str]:
    """Rate of the steps and where it comes from."""
    declared = inspection.rate_hz
    if declared and 0 < declared < 1e9:
        return declared, "declared by the recording"
    infos = [*(s.info for s in plan.signals), *(i for _, i in plan.cameras)]
    slowest = min((r for r in map(_measured, infos) if r > 0), default=0.0)
    if not slowest:
        return 10.0, "the recording states no rate and no times: a guess"
    if slowest < 1:
        return float(f"{slowest:.3g}"), "of the slowest stream, measured"
    return float(round(slowest)), "of the slowest stream, measured and rounded"


def _measured(info: StreamInfo) -> float:
    """Rate of a stream by the median of its intervals; 0 where it has no times."""
    intervals = np.diff(info.time_ns)
    intervals = intervals[intervals > 0]
    return 1e9 / float(np.median(intervals)) if len(intervals) and info.clock is not Clock.NOMINAL else 0.0
