"""Facts for tests of checks of the whole dataset: made up, or measured of an episode.

>>> [f.episode_id for f in map(build_fact, range(2))]
['e0', 'e1']
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import overload

from ..checks import CheckSettings, EpisodeFacts, measure
from ..episode import Episode

__all__ = ["CountedFacts", "build_fact", "facts_of"]


def build_fact(number: int, **changes: object) -> EpisodeFacts:
    """Make up the facts of an episode, without measurements; two numbers have nothing but the task in common.

    Args:
        number: Goes into id, digest and place.
        **changes: Fields that differ from a good episode's.
    """
    made = EpisodeFacts(
        episode_id=f"e{number}",
        recording_id=f"r{number}",
        content_digest=f"{number:064x}",
        place=f"demo_{number:03}",
        embodiment="test_arm",
        embodiment_digest="ab" * 32,
        instruction="put the cube into the bin",
        outcome="success",
        num_steps=100,
        duration_s=10.0,
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def facts_of(episode: Episode, **changes: object) -> EpisodeFacts:
    """Measure an episode as `validate` does.

    Args:
        episode: What is measured, by all features.
        **changes: Fields that differ.

    Raises:
        AssertionError: A feature crashed.
    """
    measured, crashed = measure(episode, CheckSettings())
    if crashed:
        raise AssertionError(crashed[0].message)
    made = EpisodeFacts(
        episode_id=episode.episode_id,
        recording_id=episode.recording_id,
        content_digest=episode.content_digest,
        place=str(episode.provenance.get("place", "")),
        embodiment=episode.embodiment.name,
        embodiment_version=episode.embodiment.version,
        embodiment_digest=episode.embodiment.digest,
        instruction=episode.instruction,
        outcome=episode.outcome,
        num_steps=len(episode),
        duration_s=episode.duration_s,
        metadata=episode.metadata,
        features=measured,
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


class CountedFacts(Sequence[EpisodeFacts]):
    """Facts as from a disk: new objects on each pass; passes and single reads are counted."""

    def __init__(self, facts: Sequence[EpisodeFacts]) -> None:
        """Count from 0."""
        self._facts = facts
        self.passes = 0
        self.reads = 0

    def __len__(self) -> int:
        """Number of episodes."""
        return len(self._facts)

    @overload
    def __getitem__(self, index: int) -> EpisodeFacts: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[EpisodeFacts]: ...
    def __getitem__(self, index: int | slice) -> EpisodeFacts | Sequence[EpisodeFacts]:
        """One episode's facts; slices would collect them."""
        if isinstance(index, slice):
            raise TypeError("facts lie on a disk; go through them")
        self.reads += 1
        return dataclasses.replace(self._facts[index])

    def __iter__(self) -> Iterator[EpisodeFacts]:
        """Go through all of them."""
        self.passes += 1
        return (dataclasses.replace(f) for f in self._facts)
