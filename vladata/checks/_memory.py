"""What checks found out about an episode, kept for the next check of the same episode."""

import functools
import threading
import weakref
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

from ..episode import Episode

__all__ = ["remembered"]

_R = TypeVar("_R")
_Args = TypeVarTuple("_Args")


class _Memory(threading.local):
    """Of one episode, for each thread: another one takes its place, and it goes when the episode does."""

    def __init__(self) -> None:
        self.episode: weakref.ref[Episode] | None = None
        self.results: dict[object, object] = {}


_memory = _Memory()


def _results(episode: Episode) -> dict[object, object]:
    if _memory.episode is None or _memory.episode() is not episode:
        results: dict[object, object] = {}
        # The results have no way back to the episode, so that nothing keeps it alive.
        _memory.episode, _memory.results = weakref.ref(episode, lambda _: results.clear()), results
    return _memory.results


def remembered(function: Callable[[Episode, *_Args], _R]) -> Callable[[Episode, *_Args], _R]:
    """Make a function look at an episode once for the same further arguments, as long as no other is looked at.

    The result must not hold the episode. An episode that was made anew of another one (`dataclasses.replace`) is
    another one; what a damaged stream raises is raised anew.
    """

    @functools.wraps(function)
    def wrapper(episode: Episode, *args: *_Args) -> _R:
        results, key = _results(episode), (function, *args)
        if key not in results:
            results[key] = function(episode, *args)
        return results[key]  # type: ignore[return-value]  # kept by the function that made it

    return wrapper
