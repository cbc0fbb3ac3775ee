"""What the text configs ask an episode: which subtask holds when, and which steps can be shown."""

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..episode import Episode
from ._rows import Layout, observation_of

__all__ = ["Moments", "Segment"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Neighbouring steps at which one subtask holds."""

    text: str
    start: int
    """Steps, half-open."""
    stop: int
    begin_ns: int | None
    """When the label says that it began; None: it is for the whole episode."""
    end_ns: int | None
    """When it ended by its label or by the next one's beginning; None: nobody said."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """An episode's steps as a question can be about them."""

    episode: Episode
    layout: Layout

    @cached_property
    def is_measured(self) -> NDArray[np.bool_]:
        """Where the whole state counts and is finite, [T]."""
        return observation_of(self.episode.steps, self.layout)[0]

    @cached_property
    def is_shown(self) -> NDArray[np.bool_]:
        """Where the state counts and every camera has an image, [T]: only such a step can be a row."""
        return self.is_measured & observation_of(self.episode.steps, self.layout)[1]

    @cached_property
    def time_s(self) -> NDArray[np.float64]:
        """Seconds from the first step, [T]."""
        time = self.episode.steps.time_ns
        return np.asarray((time - time[:1]) / 1e9, dtype=np.float64)

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """Subtasks in the order of time; neighbours of equal text are one, for nobody could tell them apart."""
        holding = self._holding
        found: list[Segment] = []
        instructions = self.episode.instructions
        edges = [0, *(np.flatnonzero(np.diff(holding)) + 1).tolist(), len(holding)] if len(holding) else [0]
        for start, stop in itertools.pairwise(edges):
            index = int(holding[start])
            if index < 0:
                continue
            text, begin_ns, end_ns = instructions[index].text, instructions[index].time_ns, self._end_ns(index)
            last = found[-1] if found else None
            if last is not None and last.stop == start and last.text == text:
                found[-1] = Segment(text=text, start=last.start, stop=stop, begin_ns=last.begin_ns, end_ns=end_ns)
            else:
                found.append(Segment(text=text, start=start, stop=stop, begin_ns=begin_ns, end_ns=end_ns))
        return tuple(found)

    @cached_property
    def segment_at(self) -> NDArray[np.int64]:
        """Number of the segment of each step, [T]; -1 where no subtask holds."""
        at = np.full(len(self.episode), -1, dtype=np.int64)
        for number, segment in enumerate(self.segments):
            at[segment.start : segment.stop] = number
        return at

    @property
    def num_unseen(self) -> int:
        """Subtasks that hold at no step: shorter than a step, or trimmed away."""
        named = [n for n, i in enumerate(self.episode.instructions) if i.kind == "subtask" and i.text]
        return len(set(named) - set(self._holding.tolist()))

    def task_at(self, step: int) -> str:
        """The task instruction at a step; empty where nobody gave one."""
        return next(iter(self.episode.texts_at(int(self.episode.steps.time_ns[step]), "task")), "")

    @cached_property
    def _timed(self) -> list[tuple[int, int]]:
        """Beginning and number of the timed subtasks, in order; of equal beginnings the first counts."""
        firsts: dict[int, int] = {}
        for number, instruction in enumerate(self.episode.instructions):
            if instruction.kind == "subtask" and instruction.time_ns is not None:
                firsts.setdefault(instruction.time_ns, number)
        return sorted(firsts.items())

    @cached_property
    def _holding(self) -> NDArray[np.int64]:
        """Number of the subtask instruction that holds at each step, [T], as `Episode.texts_at` has it; -1: none."""
        instructions, time = self.episode.instructions, self.episode.steps.time_ns
        whole = next((n for n, i in enumerate(instructions) if i.kind == "subtask" and i.time_ns is None), -1)
        holding = np.full(len(time), whole, dtype=np.int64)
        for begin_ns, number in self._timed:
            end_ns = instructions[number].end_ns
            since = time >= begin_ns
            holding[since] = number if end_ns is None else np.where(time[since] < end_ns, number, whole)
        named = np.array([bool(i.text) for i in instructions] + [False])
        return np.where(named[holding], holding, -1)

    def _end_ns(self, number: int) -> int | None:
        instruction = self.episode.instructions[number]
        if instruction.time_ns is None:
            return None
        later = [begin for begin, _ in self._timed if begin > instruction.time_ns]
        ends = [*later[:1], *([] if instruction.end_ns is None else [instruction.end_ns])]
        return min(ends, default=None)
