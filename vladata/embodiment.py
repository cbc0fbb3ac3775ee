"""The embodiment: one robot with its sensors and its action space, as its schema file declares it."""

from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from .documents import Document, digest_of
from .units import UNITS_OF_KIND, Kind, Mode, RotationConvention, Unit

__all__ = ["Camera", "ChainJoint", "Depth", "Dimension", "Embodiment", "Kinematics", "Signal", "StreamRule"]

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")]
"""A name that is also a safe path component in HDF5, Parquet and file names."""

Positive = Annotated[float, Field(gt=0)]
CheckName = Annotated[str, Field(pattern=r"^[a-z_]+\.[a-z_]+$")]
CHECK_SEVERITIES = ("info", "warning", "error", "off")


def _setting(value: object) -> object:
    if value is False:
        return "off"  # as YAML reads `off`
    if isinstance(value, str) and value not in CHECK_SEVERITIES:
        raise ValueError(f"it must be a number, or as severity one of {', '.join(CHECK_SEVERITIES)}")
    return value


CheckSetting = Annotated[float | Literal["info", "warning", "error", "off"], BeforeValidator(_setting)]


class Dimension(Document):
    """One number of a vector."""

    name: Name
    kind: Kind
    unit: Unit
    mode: Mode | None = None
    """Actions only: absolute, delta, chunk_relative or velocity."""
    limits: tuple[float, float] | None = None
    """Lowest and highest value, in `unit`; absent where no source gives them."""
    max_velocity: Positive | None = None
    """Highest speed of an absolute dimension, in `unit` per second."""
    max_acceleration: Positive | None = None
    """Highest acceleration of an absolute dimension, in `unit` per second squared."""
    normalized: bool = False
    """True where the recorder had scaled the value, so that `unit` says nothing about its size."""
    open_value: float | None = None
    """Grippers: the value that means open."""
    closed_value: float | None = None
    """Grippers: the value that means closed."""
    description: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.unit not in UNITS_OF_KIND[self.kind]:
            allowed = ", ".join(sorted(UNITS_OF_KIND[self.kind]))
            raise ValueError(f"{self.name} is a {self.kind} in {self.unit}; its unit must be one of {allowed}")
        if self.limits is not None and not self.limits[0] < self.limits[1]:
            raise ValueError(f"{self.name} has limits {list(self.limits)}; the first must be less than the second")
        return self


class Signal(Document):
    """A vector that was recorded or commanded as one, even of mixed kinds."""

    name: Name
    dimensions: Annotated[tuple[Dimension, ...], Field(min_length=1)]
    reference_frame: str | None = None
    """The frame that positions and rotations are expressed in."""
    rotation: RotationConvention | None = None
    description: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [d.name for d in self.dimensions]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"signal {self.name} names {', '.join(twice)} more than once; names must be unique")
        if self.rotation is None and any(d.kind is Kind.ROTATION for d in self.dimensions):
            raise ValueError(f"signal {self.name} has rotation dimensions; rotation must name their convention")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the dimensions, in order."""
        return tuple(d.name for d in self.dimensions)


class Depth(Document):
    """How a depth image's numbers become metres."""

    unit: Literal["m", "mm"]
    scale: Positive = 1.0
    """Value · scale is in `unit`."""


class Camera(Document):
    """One camera: what its frames must look like."""

    name: Name
    height: Annotated[int, Field(gt=0, le=16384)]
    width: Annotated[int, Field(gt=0, le=16384)]
    role: Literal["external", "wrist", "head", "other"] = "other"
    rate_hz: Positive | None = None
    mount: str = ""
    color_order: Literal["rgb", "bgr", "gray"] = "rgb"
    """What decoding a stored frame by its standard gives; `bgr` where the recorder had swapped the channels."""
    intrinsics: tuple[float, float, float, float] | None = None
    """fx, fy, cx, cy in pixels."""
    depth: Depth | None = None
    description: str = ""


class StreamRule(Document):
    """What a stream must be like."""

    rate_hz: Positive | None = None
    jitter_ms: Positive | None = None
    """Largest accepted deviation of an interval from the period."""
    max_age_ms: Positive | None = None
    """A sample older than this at a step does not count; the step is marked invalid for the stream."""
    required: bool = True
    """Steps run only where all required streams have samples."""


class ChainJoint(Document):
    """One joint of a chain, as a URDF has it."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    type: Literal["revolute", "continuous", "prismatic", "fixed"]
    xyz: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Of its frame in the frame of the joint before, in m."""
    rpy: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Roll, pitch, yaw about the fixed axes of the joint before, in rad."""
    axis: tuple[float, float, float] = (1.0, 0.0, 0.0)
    """That it turns about or slides along, in its own frame; of any length but 0."""
    dimension: Name | None = None
    """Dimension that its position is measured in; absent: it stands at 0."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.type != "fixed" and not sum(a * a for a in self.axis) > 0:
            raise ValueError(f"joint {self.name} has the axis {list(self.axis)}; it must have a direction")
        if self.type == "fixed" and self.dimension is not None:
            raise ValueError(f"joint {self.name} is fixed; it must have no dimension")
        return self


class Kinematics(Document):
    """How the pose of a link follows from joints: what a recorded pose is compared with."""

    joints: Name
    """Proprioception signal with the joints' positions."""
    pose: Name
    """Proprioception signal with the pose of the chain's end in the frame of its beginning."""
    position: tuple[Name, ...] = ()
    """Its x, y and z there; absent: the position dimensions, of which there must be three."""
    rotation: tuple[Name, ...] = ()
    """Its rotation there; absent: the rotation dimensions, where they make one rotation."""
    chain: Annotated[tuple[ChainJoint, ...], Field(min_length=1, max_length=200)]
    """From the base to the tip."""

    def problem(self, signals: dict[str, Signal]) -> str | None:
        """What does not fit the measured signals, or None."""
        for name in (self.joints, self.pose):
            if name not in signals:
                return f"kinematics names {name}; it must be a proprioception signal: {', '.join(signals)}"
        joints = {d.name: d for d in signals[self.joints].dimensions}
        for joint in (j for j in self.chain if j.dimension is not None):
            unit = Unit.METRE if joint.type == "prismatic" else Unit.RADIAN
            dimension = joints.get(joint.dimension or "")
            if dimension is None or dimension.unit is not unit or dimension.normalized:
                return (
                    f"joint {joint.name} is measured by {self.joints}.{joint.dimension}; that must be there, in {unit}"
                )
        if not any(j.dimension for j in self.chain):
            return "no joint of the chain has a dimension; at least one must have"
        pose = {d.name: d for d in signals[self.pose].dimensions}
        missing = [n for n in (*self.position, *self.rotation) if n not in pose]
        if missing:
            return f"kinematics names {self.pose}.{missing[0]}, which is not there"
        places = self.position or tuple(n for n, d in pose.items() if d.kind is Kind.POSITION)
        if len(places) != 3 or any(pose[n].unit is not Unit.METRE or pose[n].normalized for n in places):
            return f"{self.pose} has {len(places)} positions ({', '.join(places)}); x, y and z in m must be named"
        return None


class Embodiment(Document):
    """A robot, its sensors and its action space, versioned."""

    name: Name
    version: Annotated[int, Field(ge=1)] = 1
    description: str = ""
    rate_hz: Positive
    """Rate of the steps."""
    proprioception: tuple[Signal, ...] = ()
    action: tuple[Signal, ...] = ()
    cameras: tuple[Camera, ...] = ()
    streams: dict[str, StreamRule] = {}
    """Rules by stream name (a signal's or a camera's)."""
    kinematics: tuple[Kinematics, ...] = ()
    """Chains of joints whose end's pose is recorded as well."""
    checks: dict[CheckName, dict[Name, CheckSetting]] = {}
    """Thresholds by check, for this robot; `severity` is another one, `off` leaves the check out. They judge data and
    don't change its meaning: the digest does not know them."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = list(self.stream_names)
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"streams are named {', '.join(twice)} more than once; names must be unique")
        unknown = sorted(set(self.streams) - set(names))
        if unknown:
            raise ValueError(f"rules for unknown streams {', '.join(unknown)}; there are {', '.join(names)}")
        for signal in self.action:
            for dimension in signal.dimensions:
                if dimension.mode is None:
                    raise ValueError(
                        f"action {signal.name}.{dimension.name} has no mode; it must say absolute, delta, "
                        "chunk_relative or velocity"
                    )
        for signal in self.proprioception:
            for dimension in signal.dimensions:
                if dimension.mode is not None:
                    raise ValueError(f"{signal.name}.{dimension.name} has a mode; only actions have one")
        measured = {s.name: s for s in self.proprioception}
        problem = next((p for k in self.kinematics if (p := k.problem(measured)) is not None), None)
        if problem is not None:
            raise ValueError(problem)
        return self

    @property
    def signals(self) -> tuple[Signal, ...]:
        """Proprioception, then actions."""
        return self.proprioception + self.action

    @property
    def stream_names(self) -> tuple[str, ...]:
        """Names of all streams: signals, then cameras."""
        return tuple(s.name for s in self.signals) + tuple(c.name for c in self.cameras)

    def signal(self, name: str) -> Signal:
        """Find a signal by name; KeyError where there is none."""
        return {s.name: s for s in self.signals}[name]

    def camera(self, name: str) -> Camera:
        """Find a camera by name; KeyError where there is none."""
        return {c.name: c for c in self.cameras}[name]

    def rule(self, name: str) -> StreamRule:
        """The rule of a stream; an empty one where the schema sets none."""
        return self.streams.get(name, StreamRule())

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the embodiment's canonical JSON, hex; mappings and thresholds of checks don't count."""
        return digest_of(self.model_copy(update={"checks": {}}) if self.checks else self)
