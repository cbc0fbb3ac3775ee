"""One episode of any HDF5 file, as a mapping and its options say: streams with times of their own, or rows as steps."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import workers
from ..errors import SchemaError, SourceError
from ..mapping import StreamMapping
from ..recording import AnyStream, FrameStream, Instruction, Outcome, Stream
from ..text import clip, printable
from ..units import Clock
from . import Request
from ._hdf5 import Hdf5File
from ._hdf5_images import Cameras
from ._hdf5_labels import LabelReader, json_list
from ._hdf5_steps import as_columns, checked_rate, nominal_times
from ._hdf5_times import CLOCKS, NS_PER_UNIT, Times, read_times
from ._options import Option, take_options

__all__ = ["ColumnOptions", "GroupReader", "column_options"]

Int64Array = NDArray[np.int64]

NO_TIME = "none"

_PER_STREAM = ("time", "time_unit", "clock", "names")
_CHOICES = {"time_unit": tuple(NS_PER_UNIT), "clock": tuple(CLOCKS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnOptions:
    """The options of a mapping; those of one stream go before the common ones."""

    values: Mapping[str, Option]

    def of(self, name: str, stream: str) -> str:
        """An option for a stream."""
        return str(self.values[f"{name}.{stream}"] or self.values[name])

    @property
    def episodes(self) -> str:
        """Pattern of the groups that are episodes; empty: the file is one."""
        return str(self.values["episodes"]).strip("/")

    @property
    def rate_hz(self) -> float:
        """Of rows without times; 0: the embodiment's."""
        return float(self.values["rate_hz"])


def column_options(request: Request) -> ColumnOptions:
    """The options of a mapping, checked.

    Raises:
        SchemaError: An option is unknown or has a value that it can't have.
    """
    defaults: dict[str, Option] = {"episodes": "", "rate_hz": 0.0}
    for name in _PER_STREAM:
        defaults[name] = ""
        defaults |= {f"{name}.{stream}": "" for stream in request.mapping.streams}
    options = ColumnOptions(values=take_options(request.mapping, defaults))
    for name, value in options.values.items():
        allowed = _CHOICES.get(name.partition(".")[0], ())
        if allowed and value and value not in allowed:
            raise SchemaError(f"options.{name} is {value!r}; it must be one of {', '.join(allowed)}")
    if options.rate_hz:
        checked_rate(options.rate_hz, "options.rate_hz")
    return options


class GroupReader:
    """Turns the mapped datasets of one episode into streams and labels."""

    def __init__(self, file: Hdf5File, group: str, request: Request, options: ColumnOptions) -> None:
        """Read an episode; an empty group is the file's root."""
        self._file, self._group, self._request, self._options = file, group, request, options
        self._where = file.name + (f": {printable(group)}" if group else "")
        self._times: dict[tuple[str, str, str], Times] = {}
        self.notes: list[str] = []
        self.used: set[str] = set()
        self.is_stepped = False

    def path(self, source: str) -> str:
        """The path of what a mapping names: below the episode's group, or from the root on with a `/` in front."""
        return source.strip("/") if source.startswith("/") or not self._group else f"{self._group}/{source.strip('/')}"

    def problem(self) -> str:
        """Why the episode can't be read, by its names alone; empty where nothing is against it."""
        for name, mapping in self._request.mapping.streams.items():
            required = self._request.embodiment.rule(name).required
            if required and self._file.kind(self.path(mapping.source)) != "dataset":
                return f"{printable(self._group)} has no dataset {printable(mapping.source)} for {name}"
        return ""

    def streams(self, stack: ExitStack) -> dict[str, AnyStream]:
        """The mapped streams, by name in the embodiment.

        Raises:
            SourceError: A dataset or its stamps are missing, damaged, or don't fit.
        """
        cameras = {c.name: c for c in self._request.embodiment.cameras}
        reader = Cameras(self._file, stack)
        found: dict[str, AnyStream] = {}
        for name, mapping in self._request.mapping.streams.items():
            workers.beat()
            path = self.path(mapping.source)
            if self._file.kind(path) != "dataset":
                self._absent(name, mapping.source)
                continue
            times = self._times_of(name, self._file.info(path).rows, mapping.source)
            self.used.add(path)
            if name not in cameras:
                found[name] = self._signal(name, mapping, times)
                continue
            if mapping.field is not None:
                raise SourceError(f"{name} maps field {printable(mapping.field)!r}; cameras have no fields in HDF5")
            images = reader.read(cameras[name], path)
            self.notes += images.notes
            found[name] = FrameStream(
                name=name,
                clock=times.clock,
                time_ns=times.time_ns,
                frames=images.frames,
                codec=images.codec,
                height=images.height,
                width=images.width,
                pixel_format=images.pixel_format,
                clock_choice=times.path,
            )
        if not found:
            raise SourceError(f"{self._where}: the mapping maps no stream that is there")
        self._compare(found)
        return found

    def _absent(self, name: str, source: str) -> None:
        if not self._request.embodiment.rule(name).required:
            self.notes.append(f"{name}: there is no {printable(source)}")
            return
        there = clip(printable(", ".join(i.path for i in self._file.datasets(self._group))), 300)
        raise SourceError(f"{self._where}: no dataset {printable(source)!r} for {name}; there are {there or 'none'}")

    def _signal(self, name: str, mapping: StreamMapping, times: Times) -> Stream:
        path = self.path(mapping.source)
        signal = self._request.embodiment.signal(name)
        values, notes = as_columns(
            self._file.numbers(path, field=mapping.field), self._names(name, path), signal, mapping
        )
        self.notes += notes
        return Stream(name=name, clock=times.clock, time_ns=times.time_ns, values=values, clock_choice=times.path)

    def _names(self, stream: str, path: str) -> tuple[str, ...]:
        """Names of a dataset's columns, out of an attribute."""
        attribute = self._options.of("names", stream)
        if not attribute:
            return ()
        value = self._file.attribute(path, attribute)
        names = json_list(value) if isinstance(value, str) else value if isinstance(value, tuple) else ()
        if names and all(isinstance(n, str) for n in names):
            return tuple(str(n) for n in names)
        if value is None and not self._options.values[f"names.{stream}"]:
            self.notes.append(f"{stream}: {printable(path)} has no attribute {printable(attribute)}")
            return ()
        shown = f"{printable(path)}@{printable(attribute)} is {clip(printable(repr(value)), 100)}"
        raise SourceError(f"{self._where}: {shown}; names must be a list of texts")

    def _times_of(self, stream: str, count: int, source: str) -> Times:
        """Stamps of a stream's rows."""
        wanted = self._options.of("time", stream)
        if not wanted or wanted == NO_TIME:
            option = self._options.rate_hz
            rate_hz = option or self._request.embodiment.rate_hz
            return Times(path="row", time_ns=nominal_times(count, rate_hz), clock=Clock.NOMINAL)
        unit, clock = self._options.of("time_unit", stream), self._options.of("clock", stream)
        key = wanted, unit, clock
        if key not in self._times:
            path, field = self._split(wanted)
            self._times[key] = read_times(self._file, path, field, unit, clock)
            self.used.add(path)
            self.notes += self._times[key].notes
        times = self._times[key]
        if len(times.time_ns) != count:
            raise SourceError(
                f"{self._where}: {printable(source)} has {count} rows, {times.path} has {len(times.time_ns)} stamps; "
                f"must be as many, or say options.time.{stream}"
            )
        return times

    def _split(self, wanted: str) -> tuple[str, str | None]:
        """A dataset, or a record's dataset and field: `log.stamp`."""
        path = self.path(wanted)
        if self._file.kind(path) == "dataset":
            return path, None
        record, _, field = path.rpartition(".")
        if record and self._file.kind(record) == "dataset":
            return record, field
        raise SourceError(f"{self._where}: no dataset {printable(wanted)!r}, which options.time names")

    def _compare(self, found: Mapping[str, AnyStream]) -> None:
        """Tell whether rows are steps; refuse streams that can't go together."""
        untimed = {n: s for n, s in found.items() if s.clock is Clock.NOMINAL}
        timed = [n for n in found if n not in untimed]
        counts = {n: len(s.time_ns) for n, s in untimed.items()}
        if untimed and timed:
            first = next(iter(untimed))
            raise SourceError(
                f"{self._where}: {timed[0]} has stamps, {first} has none; say options.time.{first}, or give none a time"
            )
        if len(set(counts.values())) > 1:
            shown = ", ".join(f"{n} has {count}" for n, count in counts.items())
            raise SourceError(f"{self._where}: {shown} rows; rows without times must be as many, or say options.time")
        if 0 in counts.values():
            raise SourceError(f"{self._where}: {next(iter(counts))} has no rows")
        self.is_stepped = bool(untimed) or len({s.clock_choice for s in found.values()}) == 1
        if untimed:
            option, rate = self._options.rate_hz, self._request.embodiment
            who = "as options.rate_hz says" if option else f"the rate of {rate.name}"
            self.notes.append(f"no times are used: stamps are row / {option or rate.rate_hz:g} Hz, {who}")
        elif self.is_stepped:
            self.notes.append("all streams have the same stamps: rows are steps; step_clock.kind: grid resamples them")

    def labels(self, found: Mapping[str, AnyStream]) -> tuple[tuple[Instruction, ...], tuple[Outcome, ...]]:
        """Instructions and the outcome, where they are mapped.

        Raises:
            SourceError: A label is damaged, or its rows are not those of the common stamps.
        """
        parts = self._group.split("/") if self._group else []
        owners = ["/".join(parts[:n]) for n in range(len(parts), -1, -1)]
        reader = LabelReader(self._file, self.path, owners)
        common = str(self._options.values["time"])
        times = [t.time_ns for (wanted, _, _), t in self._times.items() if wanted == common]
        result = reader.read(self._request.mapping, (times or [s.time_ns for s in found.values()])[0])
        self.notes += reader.notes
        self.used |= reader.used
        return result

    def digest(self) -> tuple[int, str]:
        """Size and SHA-256 of all values of the episode, and of what the mapping takes from elsewhere."""
        own = {i.path for i in self._file.datasets(self._group)}
        return self._file.digest(sorted(own | self.used), [self._group])

    def left_out(self) -> list[str]:
        """What of the episode is not kept."""
        left = [i.path for i in self._file.datasets(self._group) if i.path not in self.used]
        return [f"not kept: {clip(printable(', '.join(left)), 2000)}"] if left else []
