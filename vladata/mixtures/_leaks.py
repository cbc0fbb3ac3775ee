"""Episodes that are in several parts: trained on by one and held out by another, or trained on by both."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..errors import ExportError
from ._parts import Held, Part
from .recipe import MixtureRecipe

__all__ = ["Leak", "Overlap", "find_overlap"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """An episode that one part trains on and another part holds out."""

    part: str
    episode_index: int
    rows: int
    held_out_by: str
    split: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """What the parts have in common."""

    leaks: tuple[Leak, ...]
    num_trained_twice: int
    """Episodes of a part that an earlier part trains on as well; they count for each."""

    def left_out(self, part: str) -> frozenset[int]:
        """Episodes of a part that are not trained on."""
        return frozenset(leak.episode_index for leak in self.leaks if leak.part == part)


def find_overlap(parts: Sequence[Part], recipe: MixtureRecipe) -> Overlap:
    """Compare the episodes of all parts by content and by recording.

    Raises:
        ExportError: An episode is trained on and held out, and the recipe does not say to leave it out.
    """
    held: dict[str, tuple[str, str]] = {}
    for part in parts:
        for episode in part.episodes:
            if episode.split != part.train and episode.rows:
                for key in _keys(episode):
                    held.setdefault(key, (part.name, episode.split))
    leaks, seen, twice = [], set[str](), 0
    for part in parts:
        own = [e for e in part.episodes if e.split == part.train and e.rows]
        for episode in own:
            found = next((held[k] for k in _keys(episode) if k in held), None)
            if found is not None:
                leaks.append(
                    Leak(
                        part=part.name,
                        episode_index=episode.index,
                        rows=episode.rows,
                        held_out_by=found[0],
                        split=found[1],
                    )
                )
            elif any(k in seen for k in _keys(episode)):
                twice += 1
        seen.update(k for e in own for k in _keys(e))
    if leaks and recipe.leaks == "error":
        first = leaks[0]
        rows = sum(leak.rows for leak in leaks)
        raise ExportError(
            f"{len(leaks):,} episodes ({rows:,} rows) are trained on by one part and held out by another; first: "
            f"episode {first.episode_index} of {first.part} is in {first.split} of {first.held_out_by}; "
            "split the parts alike, or leaks: leave_out"
        )
    return Overlap(leaks=tuple(leaks), num_trained_twice=twice)


def _keys(episode: Held) -> Iterator[str]:
    yield f"content {episode.content_digest}"
    yield f"recording {episode.recording_id}"
