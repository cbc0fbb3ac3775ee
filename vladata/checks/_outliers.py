"""Episodes unlike the others of their task."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._check import EpisodeFacts
from ._tables import Table, amount, complete, kind_of, tables, task_of

__all__ = ["Limits", "Outlier", "outlying_lengths", "outlying_values"]

FloatArray = NDArray[np.float64]
OFFSETS = {"rad": 0.1, "m": 0.05}
"""How far measured minus commanded is off at least, by unit: a zero was lost, or a joint put together wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The thresholds of `dataset.outliers`."""

    episodes: int
    """Fewest of a task."""
    times: float
    """Lengths, paths and speeds are this many times the median, or this part of it."""
    spread: float
    """And lie this many times the range of the inner episodes beyond it, in logarithms."""
    beyond: float
    """Poses lie this many times the range of the inner episodes beyond it."""
    reach: float
    """And this part of what the dimension of that unit covers that covers most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlier:
    """One quantity of one episode."""

    what: str
    value: str
    usual: str
    count: int
    """Episodes of the task."""
    magnitude: float
    location: str = "/steps"
    dimensions: tuple[str, ...] = ()


def outlying_lengths(facts: Sequence[EpisodeFacts], limits: Limits) -> dict[int, Outlier]:
    """Outliers of length by place in the facts."""
    groups: dict[tuple[str, str], list[tuple[int, float, int]]] = defaultdict(list)
    for i, fact in enumerate(facts):
        groups[kind_of(fact), task_of(fact)].append((i, fact.duration_s, fact.num_steps))
    found: dict[int, Outlier] = {}
    for group in groups.values():
        if len(group) < limits.episodes:
            continue
        seconds = np.array([g[1] for g in group])
        has_time = bool((seconds > 0).all())
        values = seconds if has_time else np.array([float(g[2]) for g in group])
        unit = " s" if has_time else " steps"
        for k, outlier in _ratios(values, "takes", unit, limits):
            found[group[k][0]] = outlier
    return found


def _ratios(values: FloatArray, what: str, unit: str, limits: Limits) -> Iterator[tuple[int, Outlier]]:
    """Values that are many times the others, or a small part of them."""
    good = np.isfinite(values) & (values > 0)
    if good.sum() < limits.episodes:
        return
    logs = np.log(np.where(good, values, 1.0))
    low, high = _inner(logs[good])
    middle = float(np.median(logs[good]))
    outside = np.maximum(low - logs, logs - high)
    wrong = good & (np.abs(logs - middle) >= np.log(limits.times)) & (outside >= limits.spread * (high - low))
    for k in np.flatnonzero(wrong & (outside > 0)).tolist():
        others = np.delete(values, k)[np.delete(good, k)]
        yield (
            k,
            Outlier(
                what=what,
                value=f"{values[k]:.3g}{unit}",
                usual=f"{others.min():.3g} to {others.max():.3g}{unit} (median {np.median(others):.3g}{unit})",
                count=len(values),
                magnitude=float(np.exp(abs(logs[k] - middle))),
            ),
        )


def _inner(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Range without the highest and the lowest tenth, at least one each, along the first axis."""
    ordered = np.sort(values, axis=0)
    cut = -(-len(ordered) // 10)
    return ordered[cut], ordered[-1 - cut]


def outlying_values(facts: Sequence[EpisodeFacts], limits: Limits) -> dict[int, Outlier]:
    """Outliers of path, speed, start and range by place in the facts; the worst of each episode."""
    found: dict[int, Outlier] = {}
    for whole in tables(facts, task_of, limits.episodes):
        table = _without_holes(whole)
        if len(table.places) < limits.episodes or not table.columns:
            continue
        for k, outlier in (*_paths(table, limits), *_poses(table, limits), *_offsets(table, limits)):
            place = int(table.places[k])
            if place not in found:
                found[place] = outlier
    return found


def _without_holes(table: Table) -> Table:
    """Only measured poses, and only episodes that have them all."""
    poses = np.array([i for i, c in enumerate(table.columns) if c.is_measured_pose], dtype=np.int64)
    rows, columns = complete(table.row("path")[:, poses])
    return Table(
        key=table.key,
        columns=tuple(table.columns[i] for i in poses[columns]),
        places=table.places[rows],
        values=table.values[rows][:, :, poses[columns]],
        durations=table.durations[rows],
    )


def _paths(table: Table, limits: Limits) -> Iterator[tuple[int, Outlier]]:
    paths = table.row("path")
    usual = np.median(paths, axis=0)
    paths, usual = paths[:, usual > 0], usual[usual > 0]
    if paths.size == 0:
        return
    ratios = np.median(paths / usual, axis=1)
    yield from _ratios(ratios, "moves along a path of", " times the usual", limits)
    speeds = ratios / (table.durations / np.median(table.durations))
    yield from _ratios(speeds, "moves at a speed of", " times the usual", limits)


def _poses(table: Table, limits: Limits) -> Iterator[tuple[int, Outlier]]:
    """Starts and ranges of poses far beyond those of the others, the worst one of each episode."""
    units = np.array([c.unit for c in table.columns])
    bottom, top = table.row("lowest"), table.row("highest")
    covered = _inner(top)[1] - _inner(bottom)[0]
    floor = np.array([covered[units == u].max() for u in units]) * limits.reach
    worst: dict[int, tuple[float, Outlier]] = {}
    for name, what in (("first", "starts with"), ("lowest", "goes down to"), ("highest", "goes up to")):
        values = table.row(name)
        low, high = _inner(values)
        outside = np.maximum(low - values, values - high)
        wrong = (outside > limits.beyond * (high - low)) & (outside > floor) & (floor > 0)
        for k, j in np.argwhere(wrong).tolist():
            column = table.columns[j]
            severity = float(outside[k, j] / floor[j])
            if severity > worst.get(k, (0.0, None))[0]:
                others = np.delete(values[:, j], k)
                usual = f"{amount(float(others.min()), column)} to {amount(float(others.max()), column)}"
                worst[k] = (
                    severity,
                    Outlier(
                        what=what,
                        value=f"{column.label} at {amount(float(values[k, j]), column)}",
                        usual=usual,
                        count=len(values),
                        magnitude=severity,
                        location=f"/streams/{column.signal}/values",
                        dimensions=(column.name,),
                    ),
                )
    yield from ((k, outlier) for k, (_, outlier) in worst.items())


def _offsets(table: Table, limits: Limits) -> Iterator[tuple[int, Outlier]]:
    """Measured minus commanded far from what the others have, the worst dimension of each episode."""
    values = table.row("offset")
    least = np.array([OFFSETS.get(c.unit, np.inf) for c in table.columns])
    known = np.isfinite(values).all(axis=0) & np.isfinite(least)
    values, least = np.where(known, values, 0.0), np.where(known, least, np.inf)
    low, high = _inner(values)
    outside = np.maximum(low - values, values - high)
    ratios = np.where(outside > limits.beyond * (high - low), outside / least, 0.0)
    for k in np.flatnonzero(ratios.max(axis=1) > 1.0).tolist():
        j = int(np.argmax(ratios[k]))
        column, others = table.columns[j], np.delete(values[:, j], k)
        yield (
            k,
            Outlier(
                what="has measured minus commanded of",
                value=f"{column.label} at {amount(float(values[k, j]), column)}",
                usual=f"{amount(float(others.min()), column)} to {amount(float(others.max()), column)}",
                count=len(values),
                magnitude=float(ratios[k, j]),
                location=f"/streams/{column.signal}/values",
                dimensions=(column.name,),
            ),
        )
