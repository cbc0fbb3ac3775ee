"""What an injected fault is: how it is done, how strong, to whose recordings, and the check that must find it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vladata.checks import EpisodeFacts

from .case import Case

__all__ = ["STRENGTHS", "Fault", "Injection", "fault", "group_fault"]

STRENGTHS = ("weakest", "medium", "strong")

Injection = Mapping[int, Case]
"""Changed episodes by their place in the group; places beyond it are added."""
Inject = Callable[[Sequence[Case], int, float, np.random.Generator], Injection | None]
Repeat = Callable[[Sequence[EpisodeFacts], float], Sequence[EpisodeFacts]]
One = Callable[[Case, float, np.random.Generator], Case | None]
Many = Callable[[Sequence[Case], int, float, np.random.Generator], Injection | None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Fault:
    """One kind of fault."""

    name: str
    check: str
    """Name of the check that is meant for it."""
    levels: tuple[float, float, float]
    """Weakest, medium, strong; what the number means is the function's affair."""
    on: tuple[str, ...]
    """Variants whose episodes can have it."""
    inject: Inject
    """Gives None where this very episode can't have it: a joint that never moves can't be mirrored."""
    is_whole: bool = False
    """The group as a whole is wrong; no episode is the culprit."""
    num_tasks: int | None = None
    """How many tasks a generated group must have; None: any."""
    repeat: Repeat | None = None
    """Makes more of the group's facts, where only their number matters."""


def fault(
    check: str, levels: tuple[float, float, float], on: Sequence[str], *, num_tasks: int | None = None
) -> Callable[[One], Fault]:
    """Make a function that spoils one episode a fault, named as the function."""

    def wrap(function: One) -> Fault:
        def inject(group: Sequence[Case], index: int, level: float, rng: np.random.Generator) -> Injection | None:
            changed = function(group[index], level, rng)
            return None if changed is None else {index: changed}

        return Fault(
            name=function.__name__, check=check, levels=levels, on=tuple(on), inject=inject, num_tasks=num_tasks
        )

    return wrap


def group_fault(
    check: str,
    levels: tuple[float, float, float],
    on: Sequence[str],
    *,
    is_whole: bool = False,
    num_tasks: int | None = None,
    repeat: Repeat | None = None,
) -> Callable[[Many], Fault]:
    """Make a function that spoils a group, or adds to it, a fault, named as the function."""

    def wrap(function: Many) -> Fault:
        return Fault(
            name=function.__name__,
            check=check,
            levels=levels,
            on=tuple(on),
            inject=function,
            is_whole=is_whole,
            num_tasks=num_tasks,
            repeat=repeat,
        )

    return wrap
