"""Duplicates: demonstrations that are in a dataset more than once."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from ..finding import Finding, Severity
from ..text import clip, printable
from ._check import EpisodeFacts, dataset_check
from ._copies import connected, near_pairs
from ._features import path, rows
from ._look import listed

__all__ = ["across_splits", "equal_content", "near_content"]


@dataset_check(Severity.WARNING)
def equal_content(facts: Sequence[EpisodeFacts]) -> Iterator[Finding]:
    """No two episodes hold the same demonstration."""
    for digest, group in _equal(facts).items():
        places = listed([_place(facts, i) for i in group], 4)
        differ = [n for n, v in (("instructions", "instruction"), ("outcomes", "outcome")) if _differ(facts, group, v)]
        labels = f", with different {' and '.join(differ)}" if differ else ""
        yield Finding(
            message=f"{len(group)} episodes hold the same demonstration{labels}: {places} (content {digest[:12]}); "
            "it counts as often in training, and all must be in one split",
            location="/streams",
            others=tuple(facts[i].episode_id for i in group),
            magnitude=len(group),
        )


def _equal(facts: Sequence[EpisodeFacts]) -> dict[str, list[int]]:
    """Places in the facts by content digest, of contents that are there more than once."""
    groups: dict[str, list[int]] = defaultdict(list)
    for i, fact in enumerate(facts):
        groups[fact.content_digest].append(i)
    return {digest: group for digest, group in groups.items() if len(group) > 1}


def _place(facts: Sequence[EpisodeFacts], index: int) -> str:
    return clip(printable(facts[index].place), 60)


def _differ(facts: Sequence[EpisodeFacts], group: Sequence[int], field: str) -> bool:
    return len({getattr(facts[i], field) for i in group}) > 1


@dataset_check(Severity.WARNING, features=(rows, path))
def near_content(facts: Sequence[EpisodeFacts], *, shared: float = 0.7, chance: float = 0.002) -> Iterator[Finding]:
    """No two episodes hold nearly the same demonstration: trimmed, encoded anew, resampled or with noise."""
    pairs = near_pairs(facts, shared, chance)
    groups = connected(list(pairs))
    names = {i: k for k, group in enumerate(groups) for i in group}
    best = [0.0] * len(groups)
    for (a, _), part in pairs.items():
        best[names[a]] = max(best[names[a]], part)
    for group, same in zip(groups, best, strict=True):
        members = sorted(group)
        how = f"share about {100 * same:.0f} % of their poses" if same else "went the same way"
        yield Finding(
            message=f"{len(members)} episodes hold nearly the same demonstration: "
            f"{listed([_place(facts, i) for i in members], 4)} {how}; it counts as often in training, and all must be "
            "in one split",
            location="/streams",
            others=tuple(facts[i].episode_id for i in members),
            magnitude=len(members),
        )


@dataset_check(Severity.ERROR, features=(rows, path))
def across_splits(facts: Sequence[EpisodeFacts], *, shared: float = 0.7, chance: float = 0.002) -> Iterator[Finding]:
    """No demonstration lies in two splits, whole or nearly."""
    splits = [fact.split for fact in facts]
    if len({s for s in splits if s}) < 2:
        return
    links = [(group[0], i) for group in _equal(facts).values() for i in group[1:]]
    recordings: dict[str, int] = {}
    for i, fact in enumerate(facts):
        if fact.recording_id and recordings.setdefault(fact.recording_id, i) != i:
            links.append((recordings[fact.recording_id], i))
    links += near_pairs(facts, shared, chance)
    leaks: dict[tuple[str, ...], list[list[int]]] = defaultdict(list)
    for group in connected(links):
        there = tuple(sorted({splits[i] for i in group if splits[i]}))
        if len(there) > 1:
            leaks[there].append(sorted(i for i in group if splits[i]))
    for names, groups in leaks.items():
        shown = listed([" = ".join(_place(facts, i) for i in group[:3]) for group in groups], 2, "demonstrations")
        number = "1 demonstration lies" if len(groups) == 1 else f"{len(groups):,} demonstrations lie"
        yield Finding(
            message=f"{number} in each of the splits {listed([clip(printable(n), 20) for n in names])}: {shown}; what "
            "is measured on one split must not be known from another",
            location="/streams",
            others=tuple(facts[i].episode_id for group in groups for i in group),
            magnitude=len(groups),
        )
