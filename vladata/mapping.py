"""The mapping: which topic, field or column of a recording feeds which stream of an embodiment.

A schema file holds one embodiment and its default mapping for each source format.
"""

from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from .documents import Document, digest_of, parse, read_yaml
from .embodiment import Embodiment
from .errors import SchemaError

__all__ = [
    "DerivedAction",
    "LabelMapping",
    "Mapping",
    "OutcomeMapping",
    "RecordedUnit",
    "SchemaFile",
    "SplitMapping",
    "StepClock",
    "StreamMapping",
    "load_mapping",
    "load_schema",
    "schema_names",
]


NamedUnit = Literal["deg", "deg/s", "mm", "mm/s", "cm", "percent"]
"""Units that a recording may hold; each converts into the schema's unit by a fixed factor."""


class RecordedUnit(Document):
    """How recorded numbers become the schema's unit: two points on a straight line, or ticks of an encoder."""

    source_range: Annotated[tuple[float, float] | None, Field(alias="from")] = None
    """Two recorded values, for instance [-100, 100] …"""
    target_range: Annotated[tuple[float, float] | None, Field(alias="to")] = None
    """… and what they are in the schema's unit."""
    ticks_per_turn: Annotated[float | None, Field(gt=0)] = None
    """Encoder ticks of one turn (2π rad); instead of the ranges."""
    zero: float = 0.0
    """The tick that is 0 rad."""
    sign: Literal[1, -1] = 1
    """-1 where ticks count against the joint's direction."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ranges = (self.source_range, self.target_range)
        if self.ticks_per_turn is not None and ranges != (None, None):
            raise ValueError("has ticks_per_turn and from/to; it must have one of them")
        if self.ticks_per_turn is None and None in ranges:
            raise ValueError("must have from and to, or ticks_per_turn")
        if self.source_range is not None and self.source_range[0] == self.source_range[1]:
            raise ValueError(f"from is {list(self.source_range)}; the two values must differ")
        return self


class StreamMapping(Document):
    """Where one stream comes from and how its samples come to the steps."""

    source: Annotated[str, Field(alias="from", min_length=1)]
    """A topic (MCAP, bags), a feature path (RLDS: `observation/state`) or a column (LeRobot: `observation.state`)."""
    field: str | None = None
    """Dotted path inside a message, for instance `position` or `pose.position.x`; None: the format's usual one."""
    names_field: str | None = None
    """Field that names the elements of `field` (JointState: `name`)."""
    names: tuple[str, ...] | None = None
    """Names in the source of the schema's dimensions, in the schema's order, where they differ from the schema's."""
    join: Literal["auto", "name", "index"] = "auto"
    """How elements meet dimensions: auto joins by name where the source has names, by index where it has none."""
    select: tuple[int, ...] | None = None
    """Indices of the source's vector that make up the signal, in order; only where joined by index."""
    clock: Literal["auto", "header", "log", "publish"] = "auto"
    """Which stamp is the sample's time; auto: the header's where the type has one, else the log's."""
    units: NamedUnit | RecordedUnit | dict[str, NamedUnit | RecordedUnit] | None = None
    """What the recorded numbers are in, for all dimensions or by the schema's names; None: the schema's units."""
    placeholder: float | None = None
    """A number that stands for "not connected"; rows that hold it in all dimensions of the signal become NaN."""
    sync: Literal["hold", "nearest", "linear", "slerp"] = "hold"
    """How an observation comes to a step; hold = the latest sample at or before it."""
    offset_ns: int = 0
    """Added to the stamps at synchronization; stored stamps stay as recorded."""
    latency_ns: int | None = None
    """How long before its stamp a sample was true; taken off at synchronization. None: not known."""
    latency_uncertainty_ns: Annotated[int | None, Field(ge=0)] = None
    """Half-width of the interval that holds the latency; stored beside it."""
    correct: Literal["none", "offset", "drift"] = "none"
    """Whether the fit of this stream's clock against the recorder's is applied at synchronization: its offset only,
    or offset and drift."""


class LabelMapping(Document):
    """Where texts come from: instructions and subtasks."""

    source: Annotated[str, Field(alias="from", min_length=1)]
    field: str | None = None


class OutcomeMapping(LabelMapping):
    """Where the outcome comes from and which values mean what.

    A text `failure: reason` gives the reason after the colon.
    """

    success: tuple[str, ...] = ("success", "true", "1", "1.0")
    failure: tuple[str, ...] = ("failure", "fail", "false", "0", "0.0")


class DerivedAction(Document):
    """An action that nobody recorded, made of a measured signal at synchronization; marked as derived."""

    source: Annotated[str, Field(alias="from", min_length=1)]
    """A proprioception signal of the embodiment."""
    rule: Literal["next_state"] = "next_state"
    """next_state: what was measured at the following step; a delta dimension is the change up to it."""
    select: tuple[str, ...] | None = None
    """Names of the signal's dimensions, in the action's order; None: those named as the action's."""


class SplitMapping(LabelMapping):
    """Marks in a recording that holds several demonstrations: each becomes an episode."""

    kind: Literal["start_stop", "each"] = "start_stop"
    """start_stop: from a start to the next stop; each: every mark begins an episode, which lasts to the next."""
    start: tuple[str, ...] = ("start", "begin", "true", "1", "1.0")
    stop: tuple[str, ...] = ("stop", "end", "false", "0", "0.0")
    discard: tuple[str, ...] = ("discard", "abort")
    """A stop whose episode was not meant to be kept: left out, and said."""


class StepClock(Document):
    """What the steps of a recording are."""

    kind: Literal["rows", "stream", "grid"] | None = None
    """rows: the source's rows are steps; stream: the samples of a stream, decimated; grid: even times.
    None: rows where the source has them, else stream."""
    stream: str | None = None
    """The stream of kind `stream`; None: the first camera, else the first proprioception signal."""


class Mapping(Document):
    """How recordings of one source format become episodes of one embodiment."""

    source: str
    """Name of the source plugin, for instance `mcap`."""
    streams: dict[str, StreamMapping]
    """By stream name of the embodiment."""
    derived: dict[str, DerivedAction] = {}
    """By action of the embodiment: those that are made at synchronization."""
    instruction: LabelMapping | None = None
    subtask: LabelMapping | None = None
    outcome: OutcomeMapping | None = None
    step_clock: StepClock = StepClock()
    on_backward_time: Literal["error", "split"] = "error"
    """What to do where stamps go backward: refuse the recording, or begin a new episode."""
    split: SplitMapping | None = None
    """Where one recording holds several demonstrations between marks."""
    options: dict[str, bool | float | str] = {}
    """What only one source knows; `docs/formats.md` lists them. An unknown one is an error."""

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the mapping's canonical JSON, hex."""
        return digest_of(self)

    def check(self, embodiment: Embodiment, where: str) -> None:
        """Compare with an embodiment.

        Raises:
            SchemaError: A stream is unknown, a required one is missing, or the step clock names no stream.
        """
        known = embodiment.stream_names
        unknown = [n for n in self.streams if n not in known]
        if unknown:
            raise SchemaError(f"{where}: streams.{unknown[0]} is not in {embodiment.name}; it has {', '.join(known)}")
        self._check_derived(embodiment, where)
        self._check_units(embodiment, where)
        fed = {*self.streams, *self.derived}
        missing = [n for n in known if n not in fed and embodiment.rule(n).required]
        if missing:
            raise SchemaError(
                f"{where}: nothing feeds {', '.join(missing)} of {embodiment.name}; map them, or set "
                f"streams.{missing[0]}.required to false in the schema"
            )
        clock = self.step_clock.stream
        if clock is not None and clock not in self.streams:
            raise SchemaError(f"{where}: step_clock.stream is {clock!r}; it must be one of {', '.join(self.streams)}")

    def _check_derived(self, embodiment: Embodiment, where: str) -> None:
        actions = {s.name: s for s in embodiment.action}
        measured = {s.name: s for s in embodiment.proprioception}
        for name, rule in self.derived.items():
            if name not in actions:
                raise SchemaError(
                    f"{where}: derived.{name} is no action of {embodiment.name}; actions are {', '.join(actions)}"
                )
            if name in self.streams:
                raise SchemaError(f"{where}: {name} is in streams and in derived; it must be in one of them")
            if rule.source not in measured:
                known = ", ".join(measured) or "none"
                raise SchemaError(f"{where}: derived.{name}.from is {rule.source!r}; it must be one of {known}")
            wanted = rule.select or actions[name].names
            absent = [n for n in wanted if n not in measured[rule.source].names]
            if absent or len(wanted) != len(actions[name].dimensions):
                raise SchemaError(
                    f"{where}: derived.{name} takes {', '.join(wanted)} of {rule.source}, which has "
                    f"{', '.join(measured[rule.source].names)}; name one for each dimension with select"
                )

    def _check_units(self, embodiment: Embodiment, where: str) -> None:
        signals = {s.name: s for s in embodiment.signals}
        for name, stream in self.streams.items():
            if not isinstance(stream.units, dict):
                continue
            if name not in signals:
                raise SchemaError(f"{where}: streams.{name}.units; only signals have units, {name} is a camera")
            unknown = [d for d in stream.units if d not in signals[name].names]
            if unknown:
                raise SchemaError(
                    f"{where}: streams.{name}.units.{unknown[0]} is no dimension; there are "
                    f"{', '.join(signals[name].names)}"
                )


class SchemaFile(Embodiment):
    """A schema file: an embodiment, and beside it the default mapping for each source format."""

    mappings: dict[str, Mapping] = {}

    @cached_property
    def embodiment(self) -> Embodiment:
        """The embodiment alone."""
        return Embodiment.model_validate(self.model_dump(exclude={"mappings"}))

    def mapping_for(self, source: str) -> Mapping | None:
        """The default mapping for a source format, or None."""
        return self.mappings.get(source)


def schema_names() -> list[str]:
    """Names of the schemas that come with vladata, sorted."""
    folder = resources.files("vladata_schemas")
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def load_schema(name_or_path: str | Path) -> SchemaFile:
    """Load a schema by name (one that comes with vladata) or by path.

    Raises:
        SchemaError: There is none of that name, or the file is wrong; with the key path.
    """
    path = Path(name_or_path)
    if path.suffix not in {".yaml", ".yml"}:
        known = schema_names()
        if str(name_or_path) not in known:
            raise SchemaError(
                f"no schema named {str(name_or_path)!r}; there are {', '.join(known)}, or give the path of a .yaml file"
            )
        path = Path(str(resources.files("vladata_schemas") / f"{name_or_path}.yaml"))
    elif not path.is_file():
        raise SchemaError(f"{path}: no such schema file")
    schema = parse(SchemaFile, read_yaml(path), path.name)
    for source, mapping in schema.mappings.items():
        where = f"{path.name}: mappings.{source}"
        if mapping.source != source:
            raise SchemaError(f"{where}: source is {mapping.source!r}; it must be {source!r}, as its key")
        mapping.check(schema.embodiment, where)
    return schema


def load_mapping(path: Path, embodiment: Embodiment) -> Mapping:
    """Load a mapping file and compare it with the embodiment.

    Raises:
        SchemaError: The file is wrong or does not fit the embodiment.
    """
    if not path.is_file():
        raise SchemaError(f"{path}: no such mapping file")
    mapping = parse(Mapping, read_yaml(path), path.name)
    mapping.check(embodiment, path.name)
    return mapping
