"""Sources read recordings of foreign formats; one module here is one format, and its name is the format's.

A source module satisfies `Source`. It only reads: what it leaves out or changes stands in the recording's notes.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..embodiment import Embodiment
from ..mapping import Mapping
from ..recording import Recording
from ..units import Clock

__all__ = ["Inspection", "Place", "Request", "Source", "StreamInfo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One demonstration in a recording, as a unit of work."""

    name: str
    """Short and stable: a file's base name, `file#00003`, `episode_000001`; sorts in the recording's order."""
    size: int = 0
    """Bytes to read, about; for progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is wanted of a recording."""

    embodiment: Embodiment
    mapping: Mapping


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StreamInfo:
    """What a recording offers under one name."""

    name: str
    """The `from` of a mapping: topic, feature path or column."""
    type: str
    """The format's own type name."""
    count: int
    field: str | None = None
    """The `field` of a mapping, where the type has several."""
    shape: tuple[int, ...] = ()
    """Of one sample; images: height, width, channels."""
    dtype: str = ""
    kind: str = "numeric"
    """`numeric`, `image`, `video`, `text` or `other`."""
    codec: str = ""
    """Of images and videos."""
    element_names: tuple[str, ...] = ()
    clock: Clock = Clock.NOMINAL
    clock_choice: str = ""
    """Which stamp was looked at: header, log, publish; empty where there is one only."""
    time_ns: NDArray[np.int64] = dataclasses.field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """Stamps in the recorded order, [N]; empty where there are none."""
    receive_time_ns: NDArray[np.int64] | None = None
    """When the recorder received each sample, [N]; None where not known, or where `time_ns` is just that."""
    problems: tuple[str, ...] = ()
    """What is odd, one line each: backward stamps, zero headers, not decodable, …."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inspection:
    """What a recording holds, for `vladata inspect` and for drafting a mapping."""

    source: str
    """Name of the source plugin."""
    places: tuple[Place, ...]
    """All demonstrations."""
    looked_at: str
    """The place whose streams are described (the first that could be read)."""
    streams: tuple[StreamInfo, ...]
    rate_hz: float | None = None
    """Declared by the recording."""
    facts: tuple[tuple[str, str], ...] = ()
    """Further facts, name and value: robot type, codebase version, profile."""
    problems: tuple[str, ...] = ()


class Source(Protocol):
    """What a module in this folder has."""

    SUFFIXES: tuple[str, ...]
    """File suffixes of the format: a file so named whose content is something else is damaged, not foreign."""

    IS_GENERAL: bool
    """Whether it reads anything of a kind (any HDF5, any CSV): asked after the sources of one format."""

    def can_read(self, path: Path) -> bool:
        """Tell by content whether this file or folder is a recording of this format; never raises on bad content."""

    def places(self, path: Path) -> list[Place]:
        """List the demonstrations, without reading their values.

        Raises:
            SourceError: The recording is damaged or not of this format.
            GateError: The recording breaks a limit.
        """

    def read(self, path: Path, place: Place, request: Request) -> Iterator[Recording]:
        """Read one demonstration; more than one recording where the mapping splits it.

        A recording's frames can be read until the iterator goes on or is closed.

        Raises:
            SourceError: Damaged data (with place and reason), or a mapping that does not fit (both names and shapes).
            GateError: The recording breaks a limit.
            MissingExtraError: An optional package is needed.
        """

    def inspect(self, path: Path) -> Inspection:
        """Describe the recording, its first readable place in detail; errors as `places`."""
