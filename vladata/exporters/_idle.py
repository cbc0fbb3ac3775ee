"""Steps at which nothing moves, as the checks `motion.idle_*` see it: neither what is measured nor what is commanded.

Such steps can be left out as rows. They stay where they are in the chunks of the rows before them: a chunk from which
steps were cut out would command their motion in less time than it took.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ..checks import CheckSettings
from ..checks._look import runs
from ..checks._still import Still, at_rest
from ..checks.motion import idle_share
from ..embodiment import Embodiment
from ..episode import Episode
from ._options import IdleOptions

__all__ = ["REASON", "IdleRule", "idle_steps"]

BoolArray = NDArray[np.bool_]

REASON = "nothing moves ({})"
"""Why a step is no row, by the part of the episode that it lies in."""
PARTS = ("head", "middle", "tail")


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleRule:
    """What is idle in the episodes of one embodiment."""

    drop: tuple[str, ...]
    seconds: float
    angle: float
    """In rad, for angles and the numbers of a rotation."""
    length: float
    """In m."""
    part: float
    """Of the range, for grippers and pure numbers."""

    @classmethod
    def build(cls, options: IdleOptions, embodiment: Embodiment) -> Self:
        """Fill in what the options don't say: what the schema sets for `motion.idle_share`, or else its defaults."""
        rules = CheckSettings().rules_for(embodiment.name, embodiment.checks).get(idle_share.name, {})
        base = {**idle_share.thresholds, **{k: float(v) for k, v in rules.items() if k != "severity"}}
        given = {"angle": options.angle, "length": options.length, "part": options.part}
        chosen = {name: base[name] if value is None else value for name, value in given.items()}
        return cls(drop=tuple(p for p in PARTS if p in options.drop), seconds=options.seconds, **chosen)

    def filled(self, options: IdleOptions) -> IdleOptions:
        """The options with the thresholds that hold, so that a later version judges the same."""
        return replace(options, angle=self.angle, length=self.length, part=self.part)


def idle_steps(episode: Episode, rule: IdleRule) -> Mapping[str, BoolArray] | None:
    """Steps of runs in which nothing moves, by the part of the episode, [T] each.

    A run at an episode's begin is its head, also where the whole episode is one; at its end its tail.

    Returns:
        Parts of the rule's `drop` that have such steps; None where an episode is too short, or has nothing that moves.
    """
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        found = at_rest(episode, rule.angle, rule.length, rule.part)
    if found is None:
        return None
    parts: dict[str, BoolArray] = {}
    span = _span_of(episode, found)
    for start, stop in runs(found.mask):
        name = "head" if start == 0 else "tail" if stop == len(found.mask) else "middle"
        if name in rule.drop and (stop - start) * found.width_s >= rule.seconds - 1e-6:
            mask = parts.setdefault(name, np.zeros(len(episode), dtype=np.bool_))
            # Streams begin up to a span before the first step: the span before a motion may hold its onset.
            mask |= (span >= start) & (span < stop - (stop < len(found.mask)))
    return parts


def _span_of(episode: Episode, found: Still) -> NDArray[np.int64]:
    """Span that each step lies in, [T]; what comes after the last one is part of it."""
    time = episode.steps.time_ns
    elapsed = (
        np.arange(len(time)) / episode.embodiment.rate_hz if found.is_nominal else (time - time[:1]).astype(float) / 1e9
    )
    return np.clip(np.floor(elapsed / found.width_s + 1e-6).astype(np.int64), 0, len(found.mask) - 1)
