"""Demonstrations in HDF5 whose rows are steps: a group of datasets that all have as many rows, without times."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from math import isfinite, prod

import numpy as np
from numpy.typing import NDArray

from .. import workers
from ..embodiment import Signal
from ..errors import SchemaError, SourceError
from ..mapping import StreamMapping
from ..recording import AnyStream, FrameStream, Instruction, Outcome, Stream
from ..text import clip, printable
from ..units import Clock
from . import Request
from ._hdf5 import Hdf5File
from ._hdf5_images import Cameras
from ._hdf5_labels import LabelReader
from ._hdf5_types import DatasetInfo
from ._join import join_columns

__all__ = ["Demo", "StepReader", "as_columns", "checked_rate", "nominal_times"]

Int64Array = NDArray[np.int64]

MAX_RATE_HZ = 1e6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Demo:
    """Where one demonstration lies in a file."""

    file: Hdf5File
    name: str
    """For messages."""
    group: str = ""
    """Its group; empty: the file's root."""
    suffix: str = ""
    """What follows the names of its datasets, where those of all demonstrations lie side by side: `_3`."""
    owners: tuple[str, ...] = ("",)
    """Groups whose attributes say something of it, its own first."""

    def path(self, source: str) -> str:
        """The path of the dataset that a mapping's `from` names."""
        return f"{self.group}/{source.strip('/')}{self.suffix}".strip("/")

    def source(self, path: str) -> str:
        """What a mapping calls a dataset: the reverse of `path`."""
        return path.removeprefix(f"{self.group}/" if self.group else "").removesuffix(self.suffix)

    def datasets(self) -> list[DatasetInfo]:
        """Its datasets."""
        if not self.suffix:
            return self.file.datasets(self.group)
        names = [n for n in self.file.members(self.group) if n.endswith(self.suffix)]
        return [info for n in names for info in self.file.datasets(f"{self.group}/{n}")]

    def digest(self) -> tuple[int, str]:
        """Size and SHA-256 of its values and its own attributes; equal whatever a mapping takes of them."""
        return self.file.digest([i.path for i in self.datasets()], [self.group] if self.group else [])


def checked_rate(rate_hz: float, where: str) -> float:
    """A rate that can be a clock.

    Raises:
        SchemaError: It is not.
    """
    if not isfinite(rate_hz) or not 0 < rate_hz <= MAX_RATE_HZ:
        raise SchemaError(f"{where} is {rate_hz:g}; must be above 0 and at most {MAX_RATE_HZ:g}")
    return rate_hz


def nominal_times(count: int, rate_hz: float) -> Int64Array:
    """Stamps of steps at an even rate from 0 on, [N]."""
    times: Int64Array = np.round(np.arange(count) * 1e9 / rate_hz).astype(np.int64)
    return times


def as_columns(
    values: NDArray[np.generic], names: tuple[str, ...], signal: Signal, mapping: StreamMapping
) -> tuple[NDArray[np.generic], list[str]]:
    """Bring values [N, …] to a signal's columns, and notes on how.

    Raises:
        SourceError: Shape or names don't fit.
    """
    shape, notes = values.shape[1:], []
    if len(shape) > 1:
        notes.append(f"{signal.name}: {printable(mapping.source)} of shape {list(shape)} is laid out row by row")
    joined, note = join_columns(values.reshape(len(values), prod(shape)), names, signal, mapping)
    return joined, [*notes, note]


class StepReader:
    """Turns the mapped datasets of one demonstration into streams and labels."""

    def __init__(
        self,
        demo: Demo,
        request: Request,
        stack: ExitStack,
        *,
        rate_hz: float,
        rate_from: str,
        is_flipped: bool = False,
    ) -> None:
        """Read a demonstration.

        Args:
            demo: Where it is.
            request: What is wanted of it.
            stack: Keeps what the frames need; the file stays open as long.
            rate_hz: Of the steps.
            rate_from: Who says so.
            is_flipped: Turn raw images upside down.
        """
        self._demo, self._request = demo, request
        self._cameras = Cameras(demo.file, stack, is_flipped=is_flipped)
        self._rate = rate_hz
        self._count: tuple[int, str] | None = None
        self.window: Callable[[str, int], range] = lambda _, count: range(count)
        """Which of all rows of a source, by its `from`, become steps: equally many of each."""
        self.used: set[str] = set()
        self.notes = [f"no times are recorded: stamps are step / {rate_hz:g} Hz, {rate_from}"]
        if rate_hz != request.embodiment.rate_hz:
            embodiment = request.embodiment
            self.notes.append(f"steps are at {rate_hz:g} Hz; {embodiment.name} has {embodiment.rate_hz:g} Hz")

    def streams(self) -> dict[str, AnyStream]:
        """The mapped streams, by name in the embodiment.

        Raises:
            SourceError: A dataset is missing, damaged, or does not fit the schema.
        """
        embodiment, file = self._request.embodiment, self._demo.file
        cameras = {c.name: c for c in embodiment.cameras}
        found: dict[str, AnyStream] = {}
        for name, mapping in self._request.mapping.streams.items():
            workers.beat()
            if mapping.field is not None:
                raise SourceError(f"{name} maps field {printable(mapping.field)!r}; datasets of HDF5 have no fields")
            path = self._demo.path(mapping.source)
            if file.kind(path) != "dataset":
                self._absent(name, mapping.source)
                continue
            rows = self._rows(mapping.source, file.info(path))
            self.used.add(path)
            time_ns = nominal_times(len(rows), self._rate)
            if name in cameras:
                images = self._cameras.read(cameras[name], path, rows)
                self.notes += images.notes
                found[name] = FrameStream(
                    name=name,
                    clock=Clock.NOMINAL,
                    time_ns=time_ns,
                    frames=images.frames,
                    codec=images.codec,
                    height=images.height,
                    width=images.width,
                    pixel_format=images.pixel_format,
                    clock_choice="row",
                )
                continue
            values, notes = as_columns(file.numbers(path, rows), (), embodiment.signal(name), mapping)
            self.notes += notes
            found[name] = Stream(name=name, clock=Clock.NOMINAL, time_ns=time_ns, values=values, clock_choice="row")
        if not found:
            raise SourceError(f"{self._demo.name}: the mapping maps no stream that is there")
        return found

    def _absent(self, name: str, source: str) -> None:
        if not self._request.embodiment.rule(name).required:
            self.notes.append(f"{name}: there is no {printable(source)}")
            return
        there = clip(printable(", ".join(self._demo.source(i.path) for i in self._demo.datasets())), 300)
        raise SourceError(
            f"{self._demo.name}: no dataset {printable(source)!r} for {name}; there are {there or 'none'}"
        )

    def _rows(self, source: str, info: DatasetInfo) -> range:
        if self._count is None:
            self._count = info.rows, source
        count, first = self._count
        if info.rows != count or not info.shape:
            raise SourceError(
                f"{self._demo.name}: {printable(source)} has {info.rows} rows, {printable(first)} has {count}; must "
                "have as many"
            )
        rows = self.window(source, count)
        if len(rows) == 0:
            raise SourceError(f"{self._demo.name}: {printable(source)} has {count} rows; too few for a step")
        return rows

    @property
    def num_rows(self) -> int:
        """Rows of the datasets; known once a stream was read."""
        return self._count[0] if self._count is not None else 0

    def labels(self) -> tuple[tuple[Instruction, ...], tuple[Outcome, ...]]:
        """Instructions and the outcome, where they are mapped.

        Raises:
            SourceError: A label is damaged, or has another number of rows than the steps.
        """
        reader = LabelReader(self._demo.file, self._demo.path, self._demo.owners)
        found = reader.read(self._request.mapping, nominal_times(self.num_rows, self._rate))
        self.notes += reader.notes
        self.used |= reader.used
        return found

    def left_out(self) -> list[str]:
        """What of the demonstration is not kept."""
        left = [self._demo.source(i.path) for i in self._demo.datasets() if i.path not in self.used]
        return [f"not kept: {clip(printable(', '.join(left)), 2000)}"] if left else []
