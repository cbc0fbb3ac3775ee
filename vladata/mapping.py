"""The mapping: which topic, field or column of a recording feeds which stream of an embodiment.

A schema file holds one embodiment and its default mapping for each source format.
"""

from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from .documents import Document, digest_of, parse, read_yaml
from .embodiment import Embodiment
from .errors import SchemaError

__all__ = [
    "LabelMapping",
    "Mapping",
    "OutcomeMapping",
    "SchemaFile",
    "StepClock",
    "StreamMapping",
    "load_mapping",
    "load_schema",
    "schema_names",
]


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
    """How elements meet dimensions: auto joins by name where the source names all of them, else by index."""
    select: tuple[int, ...] | None = None
    """Indices of the source's vector that make up the signal, in order; only where joined by index."""
    clock: Literal["auto", "header", "log", "publish"] = "auto"
    """Which stamp is the sample's time; auto: the header's where the type has one, else the log's."""
    sync: Literal["hold", "nearest", "linear"] = "hold"
    """How an observation comes to a step; hold = the latest sample at or before it."""
    offset_ns: int = 0
    """Added to the stamps at synchronization; stored stamps stay as recorded."""


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
    instruction: LabelMapping | None = None
    subtask: LabelMapping | None = None
    outcome: OutcomeMapping | None = None
    step_clock: StepClock = StepClock()
    on_backward_time: Literal["error", "split"] = "error"
    """What to do where stamps go backward: refuse the recording, or begin a new episode."""

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
        missing = [n for n in known if n not in self.streams and embodiment.rule(n).required]
        if missing:
            raise SchemaError(
                f"{where}: nothing feeds {', '.join(missing)} of {embodiment.name}; map them, or set "
                f"streams.{missing[0]}.required to false in the schema"
            )
        clock = self.step_clock.stream
        if clock is not None and clock not in self.streams:
            raise SchemaError(f"{where}: step_clock.stream is {clock!r}; it must be one of {', '.join(self.streams)}")


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
