"""Limits out of a URDF for the dimensions that its joints are about, with the unit that the recorded values are in."""

import math
from collections.abc import Mapping as MappingType
from collections.abc import Sequence
from dataclasses import replace

from ..units import Kind, Unit
from ..urdf import Joint, Urdf, match_joints
from ._evidence import Columns, range_text
from ._model import DimensionPlan, SignalPlan

__all__ = ["limited"]

DEGREE = math.pi / 180
SLACK = 0.05
"""What a value may lie beyond its limits, in rad or m and as a share of the range: calibration and backlash."""


def limited(
    signals: Sequence[SignalPlan], columns: MappingType[str, Columns | None], urdf: Urdf
) -> tuple[tuple[SignalPlan, ...], list[str]]:
    """Put a URDF's limits into signals; and what is to say about the URDF as a whole.

    Args:
        signals: Of the plan.
        columns: Their values by name; None where they were not looked at.
        urdf: The joints.
    """
    found, used = [], set[str]()
    for signal in signals:
        match = match_joints([d.name for d in signal.dimensions], urdf)
        used |= {j.name for j in match.joints.values()}
        dimensions = [
            replace(d, remarks=(*d.remarks, match.remarks[d.name])) if d.name in match.remarks else d
            for d in signal.dimensions
        ]
        of_joint = {i: match.joints[d.name] for i, d in enumerate(dimensions) if d.name in match.joints}
        dimensions, remark = _with_limits(dimensions, of_joint, columns.get(signal.name), urdf.file)
        remarks = (*signal.remarks, remark) if remark else signal.remarks
        found.append(replace(signal, dimensions=tuple(dimensions), remarks=remarks))
    unused = [j.name for j in urdf.joints if j.name not in used]
    notes = list(urdf.notes)
    without = [j.name for j in urdf.joints if j.limits is None]
    if without:
        notes.append(f"no limits: {', '.join(without)}")
    if unused:
        notes.append(f"joints that no dimension is about: {', '.join(unused)}")
    return tuple(found), notes


def _with_limits(
    dimensions: list[DimensionPlan], joints: MappingType[int, Joint], columns: Columns | None, file: str
) -> tuple[list[DimensionPlan], str]:
    positions = {i: j for i, j in joints.items() if _is_position(dimensions[i])}
    unit, remark = _recorded(dimensions, positions, columns)
    found = list(dimensions)
    for i, joint in joints.items():
        d = dimensions[i]
        if i in positions:
            found[i] = _position(d, joint, unit, file)
        elif d.kind is Kind.JOINT_VELOCITY and joint.max_velocity is not None:
            si = Unit.METRE_PER_SECOND if joint.is_sliding else Unit.RADIAN_PER_SECOND
            limits = (-joint.max_velocity, joint.max_velocity)
            found[i] = replace(d, unit=si, limits=limits, remarks=(f"urdf: {joint.name}",))
        elif d.kind is Kind.JOINT_EFFORT and joint.max_effort is not None:
            si = Unit.NEWTON if joint.is_sliding else Unit.NEWTON_METRE
            found[i] = replace(
                d, unit=si, limits=(-joint.max_effort, joint.max_effort), remarks=(f"urdf: {joint.name}",)
            )
    return found, remark


def _is_position(d: DimensionPlan) -> bool:
    """Whether a dimension can be a joint's position: not where its name says something else."""
    if d.normalized or d.recorded not in {"", "deg", "mm", "cm"}:
        return False
    return d.kind in {Kind.JOINT_POSITION, Kind.GRIPPER_APERTURE, Kind.GRIPPER_COMMAND} or (
        d.kind is Kind.OTHER and not any("velocity" in r or "effort" in r for r in d.remarks)
    )


def _recorded(
    dimensions: Sequence[DimensionPlan], joints: MappingType[int, Joint], columns: Columns | None
) -> tuple[str, str]:
    """What the values of turning joints are in: `rad`, `deg` or empty for neither; and the sentence for it."""
    turning = {i: j for i, j in joints.items() if not j.is_sliding and not dimensions[i].recorded}
    if not turning:
        return "rad", ""
    bounded = {i: j for i, j in turning.items() if j.limits is not None}
    if columns is None or not columns.num_rows:
        return "rad", "urdf: taken for radians; the values were not looked at"
    low = min(float(columns.low[i]) for i in turning)
    high = max(float(columns.high[i]) for i in turning)
    seen = f"{range_text(low, high)} in {columns.num_rows:,} rows"
    if not bounded:
        if max(-low, high) <= 2 * math.pi * 1.02:
            return "rad", f"urdf: has no limits to compare with; {seen}: taken for radians"
        return "", f"urdf: has no limits to compare with; {seen}: no radians, so their unit is left open"
    if all(_fits(columns, i, j, 1.0) for i, j in bounded.items()):
        also = all(_fits(columns, i, j, DEGREE) for i, j in bounded.items())
        doubt = "; so small that degrees fit as well" if also and max(-low, high) < 0.2 else ""
        return "rad", f"urdf: {seen} lies within its limits as radians{doubt}"
    if all(_fits(columns, i, j, DEGREE) for i, j in bounded.items()):
        return "deg", f"urdf: {seen} lies within its limits as degrees, not as radians"
    outside = [dimensions[i].name for i, j in bounded.items() if not _fits(columns, i, j, 1.0)]
    if max(-low, high) <= 2 * math.pi * 1.02:
        return "rad", f"urdf: taken for radians; beyond its limits: {', '.join(outside)} ({seen})"
    return "", f"urdf: {seen} lies within its limits neither as radians nor as degrees; limits are left out"


def _fits(columns: Columns, index: int, joint: Joint, factor: float) -> bool:
    assert joint.limits is not None
    low, high = joint.limits
    slack = SLACK + SLACK * (high - low)
    values = (float(columns.low[index]) * factor, float(columns.high[index]) * factor)
    return low - slack <= values[0] and values[1] <= high + slack


def _position(d: DimensionPlan, joint: Joint, unit: str, file: str) -> DimensionPlan:
    source = f"urdf: {joint.name}" if joint.name != d.name else f"urdf: {file}"
    mimic = (f"urdf: mimics {joint.mimics}",) if joint.mimics is not None else ()
    kept = tuple(r for r in d.remarks if not r.startswith(("unit unknown", "urdf: "))) + mimic
    if not joint.is_sliding and unit == "" and not d.recorded:
        return replace(d, remarks=(*kept, f"{source}; limits left out"))
    kind = d.kind if d.kind is not Kind.OTHER else Kind.JOINT_POSITION
    said = () if joint.limits is None and joint.max_velocity is None else (source,)
    return replace(
        d,
        kind=kind,
        unit=Unit.METRE if joint.is_sliding else Unit.RADIAN,
        is_known=True,
        recorded=d.recorded or (unit if unit == "deg" and not joint.is_sliding else ""),
        limits=joint.limits,
        max_velocity=joint.max_velocity,
        remarks=(*said, *kept),
    )
