"""How old observations are at the steps."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..episode import Episode
from ..recording import AnyStream
from ._look import correction, timed_streams

__all__ = ["observed_ages"]

Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


def observed_ages(episode: Episode) -> dict[str, tuple[Int64Array, BoolArray]]:
    """Ages in ns and where they count, [T] each, by observation whose time was recorded."""
    steps, total = episode.steps, len(episode)
    first_row = _first_row(episode)
    found = {}
    for stream in timed_streams(episode):
        ages, valid = steps.age_ns.get(stream.name), steps.valid.get(stream.name)
        if stream.name in steps.action or ages is None or valid is None:
            continue
        if total and len(ages) == len(valid) == total and valid.any():
            own = None if first_row is None else _ages_of_rows(episode, stream, first_row)
            found[stream.name] = (ages if own is None else own, valid)
    return found


def _first_row(episode: Episode) -> int | None:
    """Row of the first step, where rows passed as steps: those count rows by their place, and not by their stamps."""
    sync = episode.provenance.get("sync")
    policy = sync.get("policy") if isinstance(sync, Mapping) else None
    if not isinstance(policy, Mapping) or policy.get("step_clock") != "rows" or len(episode) == 0:
        return None
    time = episode.steps.time_ns
    for stream in timed_streams(episode):
        for row in np.flatnonzero(stream.time_ns == time[0])[:1].tolist():
            if np.array_equal(stream.time_ns[row : row + len(time)], time):
                return int(row)
    return None


def _ages_of_rows(episode: Episode, stream: AnyStream, first_row: int) -> Int64Array | None:
    """Step times minus the stamps of their rows, [T]."""
    moved = correction(episode, stream.name)
    shift = round((moved.offset_ns - moved.latency_ns) * episode.embodiment.rate_hz / 1e9)
    rows = first_row - shift + np.arange(len(episode))
    if len(stream.time_ns) == 0:
        return None
    ages: Int64Array = episode.steps.time_ns - moved.times(stream.time_ns)[np.clip(rows, 0, len(stream.time_ns) - 1)]
    return ages
