"""What a schema drafted from a recording would hold: signals with their dimensions, cameras, and what was seen."""

from collections.abc import Mapping as MappingType
from collections.abc import Sequence
from dataclasses import replace

from ..sources import Inspection, StreamInfo
from ..units import Clock, Kind, Unit
from ..urdf import Urdf
from ._commands import as_partner, leaders, modes, pair
from ._evidence import Columns, Seen, constant_runs, gripper_like, rotations, seen_ranges
from ._limits import limited
from ._meaning import COMMAND, MESSAGES, Meanings, is_gripper_name, is_sensor, meanings_of
from ._model import DimensionPlan, Plan, SignalPlan, Stub, dimension_names, is_command
from ._samples import Key, Sample, is_vector, unique
from ._text import is_writable, label, natural, slug, words

__all__ = ["is_of_robot", "is_picture", "make_plan"]

MIN_SAMPLES = 10
MIN_SHARE = 0.5
"""Share of the recording's time that a stream must cover to be proposed."""
MAX_STREAMS = 100
MAX_COMPARISONS = 100
MAX_SIDE = 16_384

_BOOKKEEPING = {
    "timestamp", "timestamps", "index", "done", "dones", "reward", "rewards", "discount", "terminal", "truncated",
    "first", "last", "valid", "embedding", "metadata", "next",
}  # fmt: skip
_SERVICE = {"rosout", "diagnostics", "tf", "events", "clock", "info"}
_IMAGE_NOISE = {
    "compressed", "image", "images", "raw", "color", "rgb", "cameras", "steps", "observation", "observations", "data",
    "obs",
}  # fmt: skip
_SIGNAL_NOISE = {"steps", "observation", "observations", "data", "msg", "obs", "msgs"}
_ROBOT_TYPES = ("std_msgs/", "geometry_msgs/", "control_msgs/", "trajectory_msgs/", "foxglove.Pose", "foxglove.Joint")
_COMMON_TYPES = (
    "sensor_msgs/", "nav_msgs/", "tf2_msgs/", "visualization_msgs/", "moveit_msgs/", "stereo_msgs/", "shape_msgs/",
    "map_msgs/", "rosgraph_msgs/", "bond/", "foxglove",
)  # fmt: skip
_ROBOT_WORDS = {
    "joint", "joints", "arm", "gripper", "eef", "ee", "tcp", "qpos", "qvel", "leader", "follower", "robot",
}  # fmt: skip


Samples = MappingType[Key, Sample]


def make_plan(inspection: Inspection, samples: Samples, urdf: Urdf | None) -> Plan:
    """Decide what a schema of a recording would hold.

    Args:
        inspection: What the recording holds.
        samples: Values of its streams, as far as they were looked at.
        urdf: Joints, for limits and units.
    """
    chosen, cameras, left_out = _chosen(inspection)
    drafts = [_draft(name, info, samples, inspection) for name, info in chosen]
    states = [d for d in drafts if d.role == "proprioception"]
    commands = [d for d in drafts if d.role == "action"]
    pair(commands, states)
    leaders(states)
    plans: dict[str, SignalPlan] = {}
    for draft in (*states, *commands):
        plans[draft.name] = _signal(draft, inspection.source, plans)
    remarks: list[str] = []
    signals = tuple(plans.values())
    if urdf is not None:
        columns = {d.name: d.columns for d in drafts}
        signals, remarks = limited(signals, columns, urdf)
    stubs = {d.name: d for d in drafts}
    signals = tuple(replace(s, seen=tuple(_seen(stubs[s.name], s.dimensions))) for s in signals)
    return Plan(signals=signals, cameras=tuple(cameras), left_out=tuple(left_out), urdf_remarks=tuple(remarks))


def is_picture(info: StreamInfo) -> bool:
    """Whether a stream's samples are images that a schema can have."""
    is_sized = len(info.shape) >= 2 and min(info.shape[:2]) > 0 and max(info.shape[:2]) <= MAX_SIDE
    is_named = bool(info.name) and is_writable(info.name + (info.field or ""))
    return info.kind in {"image", "video"} and is_sized and info.count > 0 and is_named


def is_of_robot(info: StreamInfo, source: str) -> bool:
    """Whether a stream looks like something that a robot measures or is told."""
    found = words(label(info))
    if not is_vector(info):
        return False
    if source in MESSAGES:
        is_service = found & _SERVICE or info.type.startswith(("rcl_interfaces", "diagnostic"))
        if is_service:
            return False
        is_own = not info.type.startswith(_COMMON_TYPES) and bool(found & (_ROBOT_WORDS | COMMAND))
        return is_own or info.type.endswith("JointState") or info.type.startswith(_ROBOT_TYPES)
    if source in {"robomimic_hdf5", "libero_hdf5"} and info.name.rpartition("/")[2] in {"states", "object"}:
        return False  # what the simulator knows, not what a robot measures
    return not found & (_BOOKKEEPING | _SERVICE)


def _span(info: StreamInfo) -> int:
    return int(info.time_ns.max()) - int(info.time_ns.min()) if len(info.time_ns) else 0


_Named = list[tuple[str, StreamInfo]]


def _chosen(inspection: Inspection) -> tuple[_Named, _Named, list[StreamInfo]]:
    """Signals and cameras of a schema, those that run through the recording; and what is left."""
    infos = unique(inspection.streams)
    fitting = [i for i in infos if is_picture(i) or is_of_robot(i, inspection.source)]
    longest = max((_span(i) for i in fitting), default=0)
    kept = [i for i in fitting if not _is_brief(i, longest)][:MAX_STREAMS]
    taken: set[str] = set()
    signals: _Named = []
    cameras: _Named = []
    for info in kept:
        base = slug(label(info), _IMAGE_NOISE if is_picture(info) else _SIGNAL_NOISE)
        name = next(n for n in (base, *(f"{base}_{k}" for k in range(2, 10_000))) if n not in taken)
        taken.add(name)
        (cameras if is_picture(info) else signals).append((name, info))
    cameras.sort(key=lambda c: natural(c[0]))
    left = [i for i in infos if not any(i is k for k in kept) and i.kind != "text"]
    return signals, cameras, left


def _is_brief(info: StreamInfo, longest: int) -> bool:
    is_timed = info.clock is not Clock.NOMINAL and len(info.time_ns) > 0
    return is_timed and (info.count < MIN_SAMPLES or _span(info) < MIN_SHARE * longest)


def _draft(name: str, info: StreamInfo, samples: Samples, inspection: Inspection) -> Stub:
    sample = samples.get((info.name, info.field))
    if sample is not None and sample.values.shape[1:] != info.shape:
        sample = None
    names, rate_hz = dimension_names(info), inspection.rate_hz
    by_format = () if info.element_names else meanings_of(info, names, inspection.source).names
    return Stub(
        name=name,
        info=info,
        role="action" if is_command(info) else "proprioception",
        names=list(by_format) or names,
        is_named=bool(by_format or info.element_names),
        columns=Columns.of(sample) if sample is not None else None,
        sample=sample,
        rate_hz=rate_hz if rate_hz and rate_hz > 0 else None,
    )


def _signal(draft: Stub, source: str, plans: MappingType[str, SignalPlan]) -> SignalPlan:
    meanings = meanings_of(draft.info, draft.names, source)
    names, remarks = _names(draft, meanings, plans)
    dimensions = [
        DimensionPlan(
            name=name,
            kind=m.kind,
            unit=m.unit,
            is_known=m.is_known,
            recorded=m.recorded,
            normalized=m.normalized,
            open_closed=m.open_closed,
            remarks=(m.remark,) if m.remark else (),
        )
        for name, m in zip(names, meanings.elements, strict=True)
    ]
    if meanings.remark:
        remarks.append(meanings.remark)
    partner = plans[draft.follows[0].name] if draft.follows is not None else None
    if draft.role == "action":
        dimensions = as_partner(dimensions, draft, partner)
        dimensions, more = modes(dimensions, draft, meanings)
        remarks += more
    remarks += [*_values(draft, dimensions, meanings), *draft.remarks]
    return SignalPlan(
        name=draft.name,
        info=draft.info,
        role=draft.role,
        dimensions=tuple(_gripper_remarks(dimensions, draft)),
        rotation=meanings.rotation if any(d.kind is Kind.ROTATION for d in dimensions) else None,
        remarks=tuple(remarks),
        follows=(draft.follows[0].name, draft.follows[1]) if draft.follows is not None else None,
    )


def _names(draft: Stub, meanings: Meanings, plans: MappingType[str, SignalPlan]) -> tuple[list[str], list[str]]:
    """Names of the dimensions, and where they are from if not from the recording."""
    is_own = bool(draft.info.element_names) and draft.names[0] != "dim_0"
    if is_own:
        return draft.names, []
    if meanings.names:
        return list(meanings.names), ["the recording does not name the elements; names are the format's"]
    if draft.follows is not None:
        state, follows = draft.follows
        moving = [e for e in follows.elements if e.how == "absolute" and e.command == e.state and e.correlation > 0.9]
        is_named = bool(state.info.element_names) and len(state.names) == len(draft.names)
        if is_named and len(moving) == len(follows.elements):
            return [d.name for d in plans[state.name].dimensions], [
                f"the recording does not name the elements; names are those of {state.name}, which they drive by order"
            ]
    why = "names elements twice or not all" if draft.info.element_names else "does not name the elements"
    return draft.names, [f"the recording {why}"]


def _values(draft: Stub, dimensions: Sequence[DimensionPlan], meanings: Meanings) -> list[str]:
    """What the values of a signal say, apart from ranges."""
    if draft.columns is None:
        return []
    names = [d.name for d in dimensions]
    found = []
    for convention, start in rotations(draft.columns):
        end = start + (6 if convention == "rotation_6d" else 4)
        if meanings.rotation is not None and any(d.kind is Kind.ROTATION for d in dimensions[start:end]):
            continue
        text = "a 6D rotation?" if convention == "rotation_6d" else "a quaternion? Of xyzw and wxyz, values can't tell"
        length = "orthogonal unit vectors" if convention == "rotation_6d" else "length 1"
        found.append(f"{names[start]} to {names[end - 1]} are {length} in {draft.columns.num_rows:,} rows: {text}")
    still = constant_runs(draft.columns, names)
    return [*found, still] if still else found


def _gripper_remarks(dimensions: Sequence[DimensionPlan], draft: Stub) -> list[DimensionPlan]:
    """Say which unnamed elements look like grippers, and what range the named ones have."""
    if draft.columns is None:
        return list(dimensions)
    found = []
    for i, d in enumerate(dimensions):
        remark = ""
        if d.kind in {Kind.GRIPPER_APERTURE, Kind.GRIPPER_COMMAND} and d.open_closed is None:
            low, high = float(draft.columns.low[i]), float(draft.columns.high[i])
            is_percent = d.unit is Unit.ONE and low >= -1 and 1.5 < high <= 101
            remark = f"{low:.3g} to {high:.3g} seen{': percent?' if is_percent else ';'} which is open?"
        elif d.kind is Kind.OTHER and not draft.info.element_names and not is_sensor(draft.info):
            remark = gripper_like(draft.columns, i)
        found.append(replace(d, remarks=(*d.remarks, remark)) if remark else d)
    return found


def _seen(draft: Stub, dimensions: Sequence[DimensionPlan]) -> list[Seen]:
    """What the ranges say where nobody says the unit."""
    if draft.columns is None or is_sensor(draft.info):
        return []
    likely = words(label(draft.info)) & {"state", "action", "actions", "qpos", "joint", "joints", "position", "pos"}
    angles = [
        i
        for i, d in enumerate(dimensions)
        if not d.recorded
        and not d.normalized
        and d.limits is None
        and not is_gripper_name(d.name)
        and (d.kind is Kind.JOINT_POSITION or (d.kind is Kind.OTHER and not d.remarks and likely))
    ]
    names = [d.name for d in dimensions]
    known = [i for i in angles if dimensions[i].is_known]
    unknown = [i for i in angles if not dimensions[i].is_known]
    found = seen_ranges(draft.columns, unknown, names, is_si=False)
    found += [s for s in seen_ranges(draft.columns, known, names, is_si=True) if s not in found]
    is_joint = any(dimensions[i].kind is Kind.JOINT_POSITION for i in unknown)
    return [s for s in found if s.proposal or is_joint or "radians" not in s.text.lower()]
