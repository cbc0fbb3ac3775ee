"""Where an episode is cut: interventions, failed segments, holes in the time of the steps."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..checks._intervals import usual_period
from ..checks.timing import STEP_GAP_FACTOR
from ..episode import Episode
from ..recording import Outcome
from ..units import Clock
from ._options import CROSSABLE

__all__ = ["Zone", "cuts_of", "is_failed_segment", "zones"]

CUT, FAILED_SEGMENT, INTERVENTION = "cuts", "failed_segments", "interventions"
assert {CUT, FAILED_SEGMENT, INTERVENTION} == set(CROSSABLE)

REASONS = {INTERVENTION: "inside an intervention", FAILED_SEGMENT: "inside a failed segment"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """Steps in which something other than the demonstration happens, half-open."""

    name: str
    """`interventions` or `failed_segments`."""
    start: int
    stop: int

    @property
    def reason(self) -> str:
        """Why they are no rows."""
        return REASONS[self.name]


def is_failed_segment(outcome: Outcome) -> bool:
    """Whether a marker says that a part of the episode failed.

    A `failure` with begin and end; or a `segment` with the value 0 or less, or a reason that begins with `fail`. A
    failure without end is a judgement of the whole episode, made at that time.
    """
    if outcome.kind == "failure":
        return outcome.time_ns is not None and outcome.end_ns is not None
    is_bad = (outcome.value is not None and outcome.value <= 0) or outcome.reason.strip().lower().startswith("fail")
    return outcome.kind == "segment" and is_bad


def zones(episode: Episode, cross: Collection[str]) -> list[Zone]:
    """Zones of an episode, in order.

    A marker without begin holds from the first step on; an intervention without end holds to the last one.

    Args:
        episode: Its outcomes count.
        cross: Names of zones that are none.
    """
    found = set()
    for outcome in episode.outcomes:
        name = _name(outcome)
        if not name or name in cross:
            continue
        time = episode.steps.time_ns
        start = 0 if outcome.time_ns is None else int(np.searchsorted(time, outcome.time_ns))
        stop = len(time) if outcome.end_ns is None else int(np.searchsorted(time, outcome.end_ns))
        if start < stop:
            found.add((start, stop, name))
    return [Zone(name=name, start=start, stop=stop) for start, stop, name in sorted(found)]


def _name(outcome: Outcome) -> str:
    if outcome.kind == "intervention":
        return INTERVENTION
    return FAILED_SEGMENT if is_failed_segment(outcome) else ""


def cuts_of(episode: Episode, found: Collection[Zone], cross: Collection[str]) -> NDArray[np.int64]:
    """Steps that no chunk reaches from before: edges of zones, and where steps are missing or time goes back."""
    edges = {edge for zone in found for edge in (zone.start, zone.stop)}
    if CUT not in cross:
        edges |= set(_holes(episode))
    return np.array(sorted(edges), dtype=np.int64)


def _holes(episode: Episode) -> Iterator[int]:
    """First steps after a hole, as the check of the step rate sees holes; none where no time was recorded.

    Steps that are all slower than the schema says are no holes: the check says so, and chunks are chunks of them.
    """
    time = episode.steps.time_ns
    period = max(1e9 / episode.embodiment.rate_hz, usual_period(time))
    intervals = np.diff(time)
    is_hole = (intervals > STEP_GAP_FACTOR * period) | (intervals < 0)
    # The streams are asked last: looking them up in the file takes longer than all the rest.
    if is_hole.any() and not all(s.clock is Clock.NOMINAL for s in episode.streams.values()):
        yield from (np.flatnonzero(is_hole) + 1).tolist()
