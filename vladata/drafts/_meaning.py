"""What an element of a stream is, by its message type, by its format or by its name; and what is unsure about it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..sources import StreamInfo
from ..units import Clock, Kind, Mode, RotationConvention, Unit
from ._formats import facts_of
from ._text import label, words

__all__ = ["COMMAND", "MESSAGES", "Meaning", "Meanings", "is_gripper_name", "is_sensor", "meanings_of"]

MESSAGES = ("mcap", "ros_bag")
"""Sources of topics with typed messages."""
COMMAND = frozenset({
    "action", "actions", "command", "commands", "commanded", "cmd", "target", "targets", "goal", "desired", "setpoint",
    "ref", "reference", "references",
})  # fmt: skip
_JOINT = frozenset({
    "joint", "joints", "shoulder", "elbow", "wrist", "forearm", "hip", "knee", "ankle", "waist", "torso", "neck",
    "qpos", "hand", "thumb", "pinky",
})  # fmt: skip
_VELOCITY = frozenset(("vel", "velocity", "velocities", "qvel", "qd", "dq", "speed"))
_EFFORT = frozenset(("effort", "efforts", "torque", "torques", "tau"))
_SENSOR = frozenset(
    ("temp", "temperature", "temperatures", "voltage", "current", "currents", "load", "battery", "pressure", "latency")
)
_NAMED_UNITS = {
    "deg": ("deg", Unit.RADIAN), "degree": ("deg", Unit.RADIAN), "degrees": ("deg", Unit.RADIAN),
    "mm": ("mm", Unit.METRE), "cm": ("cm", Unit.METRE), "percent": ("percent", Unit.ONE), "pct": ("percent", Unit.ONE),
}  # fmt: skip
_SI_UNITS = {"rad": Unit.RADIAN, "radian": Unit.RADIAN, "radians": Unit.RADIAN, "metres": Unit.METRE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """Kind and unit of an element."""

    kind: Kind = Kind.OTHER
    unit: Unit = Unit.ONE
    is_known: bool = False
    """Whether the unit is said by type, format or name; else `1` stands for unknown."""
    recorded: str = ""
    """Unit of the recorded number where its name says another than the schema's: `deg`."""
    normalized: bool = False
    open_closed: tuple[float, float] | None = None
    """The values that mean open and closed, where the format says so."""
    remark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meanings:
    """What the elements of a stream are."""

    elements: tuple[Meaning, ...]
    names: tuple[str, ...] = ()
    """Those that the format gives its elements, where the recording does not."""
    rotation: RotationConvention | None = None
    mode: Mode | None = None
    """Of actions, where the format or the names say it."""
    remark: str = ""


def is_gripper_name(name: str) -> bool:
    """Whether a name says gripper."""
    return bool(re.search("gripper|finger|jaw", name, re.IGNORECASE))


def is_sensor(info: StreamInfo) -> bool:
    """Whether a name speaks of temperatures, voltages and the like, which no unit of a joint fits."""
    return bool(words(label(info)) & _SENSOR)


def meanings_of(info: StreamInfo, names: Sequence[str], source: str) -> Meanings:
    """What the elements of a stream are.

    Args:
        info: The stream.
        names: Of its elements, as recorded or made up.
        source: Name of the source plugin.
    """
    if info.type.endswith("JointState"):
        return Meanings(elements=tuple(_joint_state(info.field or "", n) for n in names))
    if source in MESSAGES and (found := _by_field(info)) is not None:
        return found
    facts = facts_of(source, label(info), len(names))
    if facts is not None:
        elements = tuple(
            Meaning(
                kind=f.kind,
                unit=f.unit,
                is_known=f.kind is not Kind.OTHER,
                normalized=f.normalized,
                open_closed=f.open_closed,
            )
            for f in facts.elements
        )
        return Meanings(
            elements=elements,
            names=tuple(f.name for f in facts.elements),
            rotation=facts.rotation,
            mode=facts.mode,
            remark=facts.remark,
        )
    return _by_names(info, names)


def _joint_state(field: str, name: str) -> Meaning:
    is_gripper = is_gripper_name(name)
    if field == "velocity":
        remark = "m/s where it slides" if is_gripper else ""
        return Meaning(kind=Kind.JOINT_VELOCITY, unit=Unit.RADIAN_PER_SECOND, is_known=True, remark=remark)
    if field == "effort":
        remark = "N where it slides" if is_gripper else ""
        return Meaning(kind=Kind.JOINT_EFFORT, unit=Unit.NEWTON_METRE, is_known=True, remark=remark)
    if is_gripper:
        return Meaning(kind=Kind.GRIPPER_APERTURE, remark="unit unknown: m, rad or 1")
    return Meaning(kind=Kind.JOINT_POSITION, unit=Unit.RADIAN, is_known=True)


_FIELDS: dict[str, tuple[str, Kind, Unit]] = {
    "position": ("xyz", Kind.POSITION, Unit.METRE),
    "translation": ("xyz", Kind.POSITION, Unit.METRE),
    "linear": ("xyz", Kind.LINEAR_VELOCITY, Unit.METRE_PER_SECOND),
    "angular": ("xyz", Kind.ANGULAR_VELOCITY, Unit.RADIAN_PER_SECOND),
    "angular_velocity": ("xyz", Kind.ANGULAR_VELOCITY, Unit.RADIAN_PER_SECOND),
    "force": ("xyz", Kind.FORCE, Unit.NEWTON),
    "torque": ("xyz", Kind.TORQUE, Unit.NEWTON_METRE),
    "orientation": ("xyzw", Kind.ROTATION, Unit.ONE),
    "rotation": ("xyzw", Kind.ROTATION, Unit.ONE),
}


def _by_field(info: StreamInfo) -> Meanings | None:
    """Fields of the usual message types for poses, twists and wrenches, which are SI and quaternions x, y, z, w."""
    is_usual = re.match(r"(geometry_msgs|nav_msgs|sensor_msgs|tf2_msgs|foxglove)[/.]", info.type)
    if not is_usual or "accel" in info.type.lower() or not info.element_names:
        return None
    elements = []
    for name in info.element_names:
        parts = f"{info.field or ''}.{name}".split(".")
        leaves, kind, unit = _FIELDS.get(parts[-2], ("", Kind.OTHER, Unit.ONE))
        is_known = len(parts[-1]) == 1 and parts[-1] in leaves
        elements.append(Meaning(kind=kind, unit=unit, is_known=True) if is_known else Meaning())
    kinds = {e.kind for e in elements}
    if kinds == {Kind.OTHER}:
        return None
    has_rotation = Kind.ROTATION in kinds
    is_rate = kinds <= {Kind.LINEAR_VELOCITY, Kind.ANGULAR_VELOCITY}
    return Meanings(
        elements=tuple(elements),
        rotation=RotationConvention.QUATERNION_XYZW if has_rotation else None,
        mode=Mode.VELOCITY if is_rate else None,
    )


def _by_names(info: StreamInfo, names: Sequence[str]) -> Meanings:
    stream = words(label(info))
    elements = [_by_name(n, stream, is_named=bool(info.element_names)) for n in names]
    rotation = None
    for order, convention in (
        ("xyzw", RotationConvention.QUATERNION_XYZW),
        ("wxyz", RotationConvention.QUATERNION_WXYZ),
    ):
        found = _run(names, order, is_quaternion=bool(stream & {"quat", "quaternion", "orientation"}))
        if found is not None:
            rotation = convention
            quaternion = Meaning(kind=Kind.ROTATION, unit=Unit.ONE, is_known=True)
            elements[found : found + 4] = [quaternion] * 4
            break
    mode = Mode.DELTA if "delta" in stream else Mode.VELOCITY if stream & {*_VELOCITY, "twist"} else None
    return Meanings(elements=tuple(elements), rotation=rotation, mode=mode)


def _run(names: Sequence[str], order: str, *, is_quaternion: bool) -> int | None:
    """Where four names in a row say a quaternion in this order: qx, qy, qz, qw, or x, y, z, w of an orientation."""
    lowered = [n.lower() for n in names]
    for prefix in ("q", "quat_", "rot_", "q_", "orientation_", "orientation."):
        wanted = [f"{prefix}{c}" for c in order]
        for start in range(len(lowered) - 3):
            if all(n.endswith(w) for n, w in zip(lowered[start : start + 4], wanted, strict=True)):
                return start
    return 0 if is_quaternion and lowered == list(order) else None


def _by_name(name: str, stream: frozenset[str], *, is_named: bool) -> Meaning:
    """An element by its own name, where it has one, and by its stream's."""
    own = words(name) if is_named else frozenset[str]()
    both = own | stream
    if own & _SENSOR or (not own and stream & _SENSOR):
        return Meaning()
    recorded, unit, is_known = _unit(own)
    is_joint = bool(own & _JOINT or re.search(r"(^|[^a-z])(q|qd|dq|j|joint)_?[0-9]+([^a-z0-9]|$)", name.lower()))
    is_joint = is_joint or (bool(stream & {"joint", "joints", "qpos", "qvel"}) and not own & {"x", "y", "z"})
    if is_named and is_gripper_name(name):
        is_speed = own & (_VELOCITY | _EFFORT)
        return (
            Meaning()
            if is_speed
            else Meaning(kind=Kind.GRIPPER_APERTURE, unit=unit, is_known=is_known, recorded=recorded)
        )
    if is_joint:
        if both & _VELOCITY or re.match(r"(qd|dq)_?[0-9]+$", name.lower()):
            return Meaning(remark="a joint's velocity by its name; unit unknown")
        if both & _EFFORT:
            return Meaning(remark="a joint's effort by its name; unit unknown")
        return Meaning(kind=Kind.JOINT_POSITION, unit=unit, is_known=is_known, recorded=recorded)
    if is_named and re.search(r"^(.*_)?(eef|ee|tcp|tool|pos|position|target|goal)_?v[xyz]$", name.lower()):
        return Meaning(kind=Kind.LINEAR_VELOCITY, remark="by its name; unit unknown")
    if is_named and re.search(r"^([xyz]|(.*_)?(eef|ee|tcp|tool|pos|position|target|goal)_?[xyz])$", name.lower()):
        if unit is Unit.METRE:
            return Meaning(kind=Kind.POSITION, unit=unit, is_known=True, recorded=recorded, remark="by its name")
        return Meaning(kind=Kind.POSITION, remark="by its name; unit unknown")
    if is_named and own & {"roll", "pitch", "yaw", "rx", "ry", "rz"}:
        return Meaning(remark="an angle by its name; kind rotation wants the signal's rotation convention")
    return Meaning(unit=unit, is_known=is_known, recorded=recorded)


def _unit(own: frozenset[str]) -> tuple[str, Unit, bool]:
    """The unit that a name says: recorded, in the schema, and whether it says one."""
    for word, (recorded, unit) in _NAMED_UNITS.items():
        if word in own:
            return recorded, unit, True
    for word, si in _SI_UNITS.items():
        if word in own:
            return "", si, True
    return "", Unit.ONE, False


def is_timed(info: StreamInfo) -> bool:
    """Whether a stream has recorded times."""
    return info.clock is not Clock.NOMINAL and len(info.time_ns) > 0
