"""How checks look at an episode: the part of a stream that belongs to its steps, places, runs, words for numbers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..embodiment import Signal
from ..episode import Episode
from ..recording import AnyStream, FrameStream, Stream
from ..sync.clock import ClockSummary, summarize
from ..sync.timing import Correction
from ..units import Clock, Unit
from ._memory import remembered

__all__ = [
    "MOST_TIMES",
    "Numbers",
    "corrected",
    "correction",
    "excess",
    "listed",
    "numbers",
    "part",
    "place",
    "quantity",
    "ranges",
    "runs",
    "seconds",
    "share",
    "spot",
    "stamps",
    "steps_between",
    "summary",
    "timed_streams",
]

MOST_TIMES = 1e6
"""Magnitudes end here: what is not finite can't be compared."""

Int64Array = NDArray[np.int64]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Numbers:
    """The numbers of a signal over the time of the steps."""

    signal: Signal
    stream: Stream
    is_action: bool
    start: int
    """Index in the stream of the first row."""
    values: FloatArray
    """[n, D]."""
    time_ns: Int64Array
    """[n]."""

    @property
    def location(self) -> str:
        """HDF5 path of the values."""
        return f"/streams/{self.signal.name}/values"


@remembered
def part(episode: Episode, stream: AnyStream) -> slice:
    """The samples of a stream that its episode's steps span, with one step period on either side.

    What an edit has trimmed away, and what was recorded before all required streams ran, is not judged. The whole
    stream where nothing of it lies there, and where there are no steps.
    """
    time = stream.time_ns
    steps = episode.steps.time_ns
    whole = slice(0, len(time))
    if len(time) == 0 or len(steps) == 0:
        return whole
    period = round(1e9 / episode.embodiment.rate_hz)
    ages = episode.steps.age_ns.get(stream.name)
    first_age = int(ages[0]) if ages is not None and len(ages) else 0
    low = int(steps.min()) - max(period, first_age)
    shifted = correction(episode, stream.name).times(time)
    inside = np.flatnonzero((shifted >= low) & (shifted <= int(steps.max()) + period))
    return slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else whole


def stamps(episode: Episode, stream: AnyStream) -> tuple[int, Int64Array]:
    """Index of the first sample that belongs to the steps, and the stamps from there on, as recorded."""
    cut = part(episode, stream)
    return cut.start, stream.time_ns[cut]


@remembered
def summary(episode: Episode, stream: AnyStream) -> ClockSummary:
    """Rate, jitter and odd stamps of the samples that belong to the steps."""
    return summarize(stamps(episode, stream)[1])


def timed_streams(episode: Episode) -> Iterator[AnyStream]:
    """Streams whose time was recorded; nominal clocks can't be judged."""
    return (s for s in episode.streams.values() if s.clock is not Clock.NOMINAL)


@remembered
def numbers(episode: Episode) -> tuple[Numbers, ...]:
    """Signals of the schema with their numbers; those of another shape are left to `structure.dimensions`."""
    return tuple(_numbers(episode))


def _numbers(episode: Episode) -> Iterator[Numbers]:
    actions = {s.name for s in episode.embodiment.action}
    for signal in episode.embodiment.signals:
        stream = episode.streams.get(signal.name)
        if not isinstance(stream, Stream) or stream.values.shape != (len(stream.time_ns), len(signal.dimensions)):
            continue
        if stream.values.dtype.kind not in "fiub":
            continue
        cut = part(episode, stream)
        values = stream.values[cut].astype(np.float64, copy=False)
        values.flags.writeable = False  # the next check must see the same
        yield Numbers(
            signal=signal,
            stream=stream,
            is_action=signal.name in actions,
            start=cut.start,
            values=values,
            time_ns=stream.time_ns[cut],
        )


@remembered
def correction(episode: Episode, name: str) -> Correction:
    """What synchronization did to a stream's stamps, as the provenance tells."""
    policy = _at(_at(episode.provenance, "sync"), "policy")
    rule = _at(_at(policy, "streams"), name)
    if not isinstance(rule, Mapping):
        rule = {n: _at(_at(policy, n), name) for n in ("offset_ns", "latency_ns")}
    return Correction.from_policy(rule)


def corrected(episode: Episode, stream: AnyStream) -> Int64Array:
    """All stamps of a stream on the steps' clock, as synchronization corrected them, [N]."""
    return correction(episode, stream.name).times(stream.time_ns)


def _shifted(episode: Episode, stream: AnyStream, time_ns: int) -> int:
    return int(correction(episode, stream.name).times(np.array([time_ns], dtype=np.int64))[0])


def _at(value: object, key: str) -> object:
    return value.get(key) if isinstance(value, Mapping) else None


def seconds(episode: Episode, stream: AnyStream, time_ns: int) -> float:
    """A stream's stamp in seconds from the first step."""
    steps = episode.steps.time_ns
    origin = int(steps[0]) if len(steps) else int(stream.time_ns[0])
    return (_shifted(episode, stream, time_ns) - origin) / 1e9


def spot(episode: Episode, stream: AnyStream, index: int) -> str:
    """Where a sample lies: `6.20 s (sample 186)`; without a clock only its index."""
    noun = "frame" if isinstance(stream, FrameStream) else "sample"
    if stream.clock is Clock.NOMINAL:
        return f"{noun} {index:,}"
    return f"{seconds(episode, stream, int(stream.time_ns[index])):.2f} s ({noun} {index:,})"


def place(episode: Episode, stream: AnyStream, index: int) -> str:
    """The same with `at`."""
    return f"at {spot(episode, stream, index)}"


def steps_between(episode: Episode, stream: AnyStream, start_ns: int, end_ns: int) -> tuple[int, int] | None:
    """Steps whose time touches a span of a stream's stamps, half-open; None where there is none."""
    time = episode.steps.time_ns
    if len(time) == 0 or bool((np.diff(time) < 0).any()):
        return None
    first = max(0, int(np.searchsorted(time, _shifted(episode, stream, start_ns), side="right")) - 1)
    stop = int(np.searchsorted(time, _shifted(episode, stream, end_ns), side="right"))
    return (first, stop) if first < stop else None


def runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Where a mask is True, as half-open ranges.

    >>> runs(np.array([True, True, False, True]))
    [(0, 2), (3, 4)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate(([0], mask.astype(np.int8), [0]))))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def ranges(found: Sequence[tuple[int, int]], most: int = 3) -> str:
    """Half-open ranges in words, the ends included: `4 to 6, 9 and 2 more places`."""
    shown = [f"{a:,}" if b - a == 1 else f"{a:,} to {b - 1:,}" for a, b in found]
    return listed(shown, most, "places")


def listed(words: Sequence[str], most: int = 4, noun: str = "") -> str:
    """Join words, the first few of many: `a, b, c and 3 more`."""
    if len(words) <= most:
        return ", ".join(words)
    return f"{', '.join(words[:most])} and {len(words) - most:,} more{' ' * bool(noun)}{noun}"


def share(count: int, total: int, noun: str) -> str:
    """`34 of 500 steps (6.8 %)`."""
    return f"{count:,} of {total:,} {noun} ({100 * count / max(total, 1):.1f} %)"


def excess(value: float, limit: float) -> float:
    """How many times a limit a value is, a million at most: a limit may be 0."""
    return min(value / limit, MOST_TIMES) if limit > 0 else MOST_TIMES


def quantity(value: float, unit: Unit, digits: int = 4) -> str:
    """A number with its unit; pure numbers have none."""
    text = f"{value + 0.0:.{digits}g}"
    return text if unit is Unit.ONE else f"{text} {unit}"
