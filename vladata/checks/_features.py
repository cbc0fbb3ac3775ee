"""What checks of the whole dataset measure of each episode: small arrays, made in the episode's worker."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..embodiment import Dimension, Embodiment, Signal
from ..episode import Episode
from ..units import Kind, Mode
from ._check import EpisodeFacts, Feature
from ._look import Numbers, numbers
from ._motion import GRIPPERS, POSITIONS

__all__ = ["ROWS", "Column", "columns_of", "layout", "path", "rows", "summary"]

FloatArray = NDArray[np.float64]

POSES = POSITIONS | GRIPPERS | {Kind.OTHER}
"""Kinds that say where the robot is."""
ROWS = ("first", "last", "lowest", "highest", "path", "offset")
"""Rows of `summary`."""
PHASES = 8
"""Poses kept of a motion."""
MOST_SAMPLES = 256
"""Samples that a path is measured over; more would add up the noise."""
MOST_PARTS = 64
"""Parts of an episode whose mean poses make its way."""
FEW_DIMENSIONS = 4
"""Vectors of fewer dimensions have the same rows by chance."""
MOST_LAYOUT = 10_000_000
"""Bytes of a layout as text: more is no layout."""
LARGEST = 1e12
"""Values beyond are all the same to the hashes."""
MOST_HASHES = 32
"""Hashes kept of an episode's rows."""
GRAIN = 1e4
"""Rows are compared to this many parts of a unit: what float32 keeps of a pose, and below any motion."""


@dataclass(frozen=True, slots=True)
class Column:
    """One dimension of one signal: a column of `summary`."""

    signal: str
    name: str
    kind: str
    unit: str
    mode: str
    """Empty: measured."""

    @property
    def label(self) -> str:
        """`signal.name`."""
        return f"{self.signal}.{self.name}"

    @property
    def is_gripper(self) -> bool:
        """Whether it opens and closes."""
        return self.kind in GRIPPERS

    @property
    def is_measured_pose(self) -> bool:
        """Whether it measures where the robot is, the gripper left out."""
        return not self.mode and self.kind in POSES and not self.is_gripper


def _columns(embodiment: Embodiment) -> Iterator[tuple[Signal, Dimension]]:
    return ((s, d) for s in embodiment.signals for d in s.dimensions)


def _layout(episode: Episode) -> NDArray[np.uint8]:
    """What the columns of `summary` are, as compressed text: dataset checks don't see the schema."""
    lines = [f"{s.name}\t{d.name}\t{d.kind}\t{d.unit}\t{d.mode or ''}" for s, d in _columns(episode.embodiment)]
    return np.frombuffer(zlib.compress("\n".join(lines).encode()), dtype=np.uint8)


@lru_cache(maxsize=16)
def _parsed(data: bytes) -> tuple[Column, ...]:
    try:
        lines = zlib.decompressobj().decompress(data, MOST_LAYOUT).decode().split("\n")
        return tuple(Column(*line.split("\t")) for line in lines if line)
    except (zlib.error, UnicodeDecodeError, TypeError):
        return ()


def columns_of(facts: EpisodeFacts) -> tuple[Column, ...]:
    """The columns of an episode's `summary`; empty where they were not measured, or are damaged."""
    data = layout.of(facts)
    return () if data is None else _parsed(data.tobytes())


def _thinned(values: FloatArray) -> FloatArray:
    """Rows evenly thinned out."""
    return values[:: -(-len(values) // MOST_SAMPLES)] if len(values) > MOST_SAMPLES else values


def _summary(episode: Episode) -> NDArray[np.float32] | None:
    """Each dimension's first, last, lowest and highest value, path and offset, [6, D]; NaN where there is none.

    The path is the sum of the changes from sample to sample, of at most 256 samples; the offset is the median of what
    was measured minus what was commanded at the same step, where both have a dimension of the same name.
    """
    found = {n.signal.name: n for n in numbers(episode)}
    parts = [_moments(found.get(s.name), len(s.dimensions)) for s in episode.embodiment.signals]
    if not found or not parts:
        return None
    table = np.concatenate(parts, axis=1)
    table[ROWS.index("offset")] = _offsets(episode)
    return table.astype(np.float32)


def _finite(values: FloatArray) -> FloatArray:
    """Rows without NaN and infinity."""
    if np.isfinite(values.sum()):
        return values
    return values[np.isfinite(values).all(axis=1)]


def _moments(one: Numbers | None, width: int) -> FloatArray:
    table = np.full((len(ROWS), width), np.nan)
    values = _finite(one.values) if one is not None else np.zeros((0, width))
    if len(values) == 0:
        return table
    table[0], table[1] = np.median(values[:3], axis=0), np.median(values[-3:], axis=0)
    table[2], table[3] = values.min(axis=0), values.max(axis=0)
    table[4] = np.abs(np.diff(_thinned(values), axis=0)).sum(axis=0)
    return table


def _offsets(episode: Episode) -> FloatArray:
    """Measured minus commanded, median over the steps, [D]; NaN for commands and dimensions without a pair."""
    commands = {
        d.name: (s.name, i, d)
        for s in episode.embodiment.action
        for i, d in enumerate(s.dimensions)
        if d.mode is Mode.ABSOLUTE and d.kind in POSES
    }
    offsets = [np.full(len(s.dimensions), np.nan) for s in episode.embodiment.signals]
    for signal, target in zip(episode.embodiment.proprioception, offsets, strict=False):
        measured = episode.steps.proprioception.get(signal.name)
        pairs = [(i, *commands[d.name]) for i, d in enumerate(signal.dimensions) if _is_pair(d, commands)]
        for source in {p[1] for p in pairs}:
            commanded = episode.steps.action.get(source)
            mine = [(i, j) for i, name, j, _ in pairs if name == source]
            target[[i for i, _ in mine]] = _median_difference(measured, commanded, mine)
    return np.concatenate(offsets)


def _is_pair(dimension: Dimension, commands: dict[str, tuple[str, int, Dimension]]) -> bool:
    other = commands.get(dimension.name)
    return other is not None and other[2].unit == dimension.unit and other[2].kind == dimension.kind


def _median_difference(
    measured: NDArray[np.float32] | None, commanded: NDArray[np.float32] | None, pairs: list[tuple[int, int]]
) -> FloatArray:
    left, right = [i for i, _ in pairs], [j for _, j in pairs]
    if measured is None or commanded is None or measured.ndim != 2 or commanded.ndim != 2:
        return np.full(len(pairs), np.nan)
    if max(left) >= measured.shape[1] or max(right) >= commanded.shape[1]:
        return np.full(len(pairs), np.nan)
    difference = measured[:, left].astype(np.float64) - commanded[:, right]
    difference = _finite(difference)
    return np.median(difference, axis=0) if len(difference) else np.full(len(pairs), np.nan)


def _poses(episode: Episode) -> tuple[FloatArray, NDArray[np.bool_]] | None:
    """Measured poses of all signals side by side (commanded where nothing is measured), and which are grippers."""
    for is_action in (False, True):
        chosen = [
            (n, [i for i, d in enumerate(n.signal.dimensions) if _is_pose(d)])
            for n in numbers(episode)
            if n.is_action is is_action and len(n.values)
        ]
        chosen = [(n, keep) for n, keep in chosen if keep]
        if chosen:
            break
    else:
        return None
    count = min(MOST_SAMPLES, max(len(n.values) for n, _ in chosen))
    columns = [n.values[np.linspace(0, len(n.values) - 1, count).round().astype(int)][:, keep] for n, keep in chosen]
    grippers = [n.signal.dimensions[i].kind in GRIPPERS for n, keep in chosen for i in keep]
    return np.concatenate(columns, axis=1), np.array(grippers)


def _smoothed(values: FloatArray) -> FloatArray:
    """Means of at most 64 parts of equal length: noise would add to the way."""
    if len(values) <= MOST_PARTS:
        return values
    starts = np.linspace(0, len(values), MOST_PARTS + 1).astype(int)
    return np.asarray(np.add.reduceat(values, starts[:-1], axis=0) / np.diff(starts)[:, None])


def _is_pose(dimension: Dimension) -> bool:
    return dimension.kind in POSES and dimension.mode in {None, Mode.ABSOLUTE}


def _path(episode: Episode) -> NDArray[np.float32] | None:
    """Poses at even parts of the way that the robot went, [8, D]: pauses and speed do not matter."""
    found = _poses(episode)
    if found is None:
        return None
    values, grippers = found
    values = _smoothed(_finite(values))
    if len(values) < 2:
        return None
    moving = values[:, ~grippers] if not grippers.all() else values
    way = np.concatenate(([0.0], np.cumsum(np.abs(np.diff(moving, axis=0)).sum(axis=1))))
    if not 0 < way[-1] < np.inf:
        return None
    at = np.linspace(0, way[-1], PHASES)
    places = np.interp(at, way, np.arange(len(way)))
    low = np.clip(np.floor(places).astype(int), 0, len(values) - 2)
    weight = (places - low)[:, None]
    poses: FloatArray = values[low] * (1 - weight) + values[low + 1] * weight
    return poses.astype(np.float32)


def _rows(episode: Episode) -> NDArray[np.uint64] | None:
    """How many different poses were passed, and the 32 smallest hashes of them, [1 + up to 32].

    Of two episodes, the share of hashes in common tells the share of poses in common (bottom-k sketch: Cohen and
    Kaplan, Summarizing data using bottom-k sketches, PODC 2007). Poses in which the robot rests count once.
    """
    measured = [n for n in numbers(episode) if not n.is_action and n.values.size]
    commanded = [n for n in numbers(episode) if n.is_action and n.values.size]
    candidates = measured or commanded
    if not candidates:
        return None
    # The widest vector says most. Of commands and of few dimensions three rows in a row, for there may be few different
    # ones; a single number passes the same values in each episode.
    widest = max(candidates, key=lambda n: n.values.shape[1])
    width = widest.values.shape[1]
    if width < 2:
        return None
    hashes = _hashed(widest.values)
    if (not measured or width < FEW_DIMENSIONS) and len(hashes) > 2:
        hashes = _mixed(hashes[:-2] * np.uint64(3) + hashes[1:-1] * np.uint64(5) + hashes[2:] * np.uint64(7))
    hashes = np.unique(hashes)
    return np.concatenate(([np.uint64(len(hashes))], hashes[:MOST_HASHES]))


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread the bits of numbers (the finalizer of SplitMix64: Steele et al., OOPSLA 2014)."""
    with np.errstate(over="ignore"):
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _hashed(values: FloatArray) -> NDArray[np.uint64]:
    """One hash for each row in which something moved, [n]."""
    if not np.abs(values).max(initial=0.0) < LARGEST:  # NaN as well
        values = np.nan_to_num(np.clip(values, -LARGEST, LARGEST))
    whole = np.rint(values * GRAIN).astype(np.int64)
    moved = np.concatenate(([True], (whole[1:] != whole[:-1]).any(axis=1)))
    bits: NDArray[np.uint64] = whole[moved].view(np.uint64)
    factors = _mixed(np.arange(1, bits.shape[1] + 1, dtype=np.uint64)) | np.uint64(1)
    with np.errstate(over="ignore"):
        return _mixed(bits @ factors)


layout = Feature(name="dataset.layout", function=_layout, dtype="uint8", shape=(-1,))
summary = Feature(name="dataset.summary", function=_summary, dtype="float32", shape=(len(ROWS), -1))
path = Feature(name="dataset.path", function=_path, dtype="float32", shape=(PHASES, -1))
rows = Feature(name="dataset.rows", function=_rows, dtype="uint64", shape=(-1,))
