"""What a drafted schema is made of, before it is text."""

import re
from dataclasses import dataclass, field

from ..sources import StreamInfo
from ..units import Kind, Mode, RotationConvention, Unit
from ._evidence import Columns, Seen
from ._meaning import COMMAND
from ._pairs import Follows
from ._samples import Sample
from ._text import label, words

__all__ = ["DimensionPlan", "Plan", "SignalPlan", "Stub", "dimension_names", "is_command", "lag_text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DimensionPlan:
    """One dimension as it would stand in a schema."""

    name: str
    kind: Kind = Kind.OTHER
    unit: Unit = Unit.ONE
    is_known: bool = False
    """Whether the unit is known; else `1` stands for unknown."""
    recorded: str = ""
    """Unit of the recorded number, where it is another and somebody says so."""
    mode: Mode | None = None
    limits: tuple[float, float] | None = None
    max_velocity: float | None = None
    normalized: bool = False
    open_closed: tuple[float, float] | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SignalPlan:
    """A signal as it would stand in a schema."""

    name: str
    info: StreamInfo
    role: str
    """proprioception or action."""
    dimensions: tuple[DimensionPlan, ...]
    rotation: RotationConvention | None = None
    remarks: tuple[str, ...] = ()
    """What was seen, for the schema."""
    seen: tuple[Seen, ...] = ()
    """What was seen, with lines that it would call for, for the mapping."""
    follows: tuple[str, Follows] | None = None
    """The signal that a command drives, and how."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """All that a schema would have."""

    signals: tuple[SignalPlan, ...]
    """Proprioception, then actions."""
    cameras: tuple[tuple[str, StreamInfo], ...]
    left_out: tuple[StreamInfo, ...]
    urdf_remarks: tuple[str, ...] = ()

    def of_role(self, role: str) -> list[SignalPlan]:
        """Signals of a role."""
        return [s for s in self.signals if s.role == role]


@dataclass(slots=True, kw_only=True, eq=False)
class Stub:
    """A signal on its way."""

    name: str
    info: StreamInfo
    role: str
    names: list[str]
    is_named: bool
    """Whether the recording or the format names the elements."""
    columns: Columns | None
    sample: Sample | None
    rate_hz: float | None = None
    """Declared by the recording."""
    remarks: list[str] = field(default_factory=list)
    follows: tuple["Stub", Follows] | None = None


def is_command(info: StreamInfo) -> bool:
    """Whether a stream's name says command."""
    return bool(words(label(info)) & COMMAND)


def dimension_names(info: StreamInfo) -> list[str]:
    """Names that a schema can have for a stream's elements: the recorded ones where they can be, else numbers."""
    size = info.shape[0]
    names = [re.sub(r"[^A-Za-z0-9_.-]+", "_", n)[:64] for n in info.element_names]
    names = [n if re.match(r"[A-Za-z0-9_]", n) else f"_{n[:63]}" for n in names]
    if len(names) == size and len(set(names)) == size:
        return names
    return [f"dim_{i}" for i in range(size)]


def lag_text(follows: Follows, rate_hz: float | None) -> str:
    """How much later the state comes, in time where it is known, else in rows."""
    if follows.lag_ns is not None:
        return f"{follows.lag_ns / 1e6:.0f} ms"
    rows = f"{follows.lag_rows} row{'s' * (abs(follows.lag_rows) != 1)}"
    return f"{rows} ({abs(follows.lag_rows) / rate_hz * 1e3:.0f} ms at {rate_hz:g} Hz)" if rate_hz else rows
