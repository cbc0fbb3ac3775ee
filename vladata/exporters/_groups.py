"""Which episodes never part: equal content, one recording, one session or scene, near copies.

Groups are joined over all of these, so that an episode's group holds whatever could tell one split of another.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..checks import CheckSettings
from ..checks._copies import connected, near_pairs
from ..checks.duplicates import near_content
from ..store.catalog import Entry
from ._labels import Labels

__all__ = ["CATALOG_STRATA", "NEAR_DUPLICATE", "Grouping", "group_episodes", "strata_of"]

NEAR_DUPLICATE = "near_duplicate"
GROUP_DIGITS = 16
CATALOG_STRATA = ("task", "outcome", "place", "source")
"""What the catalog knows of an episode; everything else is metadata."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """Episodes in groups."""

    groups: tuple[str, ...]
    """Group of each episode: the first digits of the lowest content digest in it, [N]."""
    joined: Mapping[str, int]
    """By what joins episodes (`content`, `recording`, and what was asked for): how many share it with another one."""
    missing: Mapping[str, int]
    """Episodes that don't say what they are joined by; by that alone each is a group of its own."""

    @property
    def num_groups(self) -> int:
        """Groups in all."""
        return len(set(self.groups))

    @property
    def largest(self) -> int:
        """Episodes of the largest group."""
        counts: dict[str, int] = {}
        for group in self.groups:
            counts[group] = counts.get(group, 0) + 1
        return max(counts.values(), default=0)

    def to_dict(self) -> dict[str, object]:
        """In numbers, as JSON values."""
        return {
            "groups": self.num_groups,
            "largest": self.largest,
            "joined": dict(self.joined),
            "not_said": dict(self.missing),
        }

    def lines(self) -> list[str]:
        """For people."""
        said = [f"{name}: {count:,} episodes" for name, count in self.joined.items()]
        shared = f"; joined by {', '.join(said)}" if said else ""
        head = f"groups that never part: {self.num_groups:,} of {len(self.groups):,} episodes, the largest of "
        lines = [f"{head}{self.largest:,}{shared}"]
        return lines + self.missing_lines()

    def missing_lines(self) -> list[str]:
        """Episodes that don't say what joins them, for people."""
        words = {NEAR_DUPLICATE: "not measured"}
        return [
            f"{name} {words.get(name, 'not said')}: {count:,} episodes, each a group of its own"
            for name, count in self.missing.items()
        ]


def group_episodes(entries: Sequence[Entry], labels: Sequence[Labels] | None, by: Sequence[str]) -> Grouping:
    """Join episodes into groups.

    Args:
        entries: The episodes, in any order.
        labels: Of each; None: they were not needed.
        by: Names of metadata, and `near_duplicate`; equal content and equal recordings are joined always.
    """
    values: dict[str, list[str]] = {
        "content": [e.content_digest for e in entries],
        "recording": [e.recording_id for e in entries],
    }
    for name in by:
        if name != NEAR_DUPLICATE and labels is not None:
            values[name] = [said.metadata.get(name, "").strip() for said in labels]
    links: list[tuple[int, int]] = []
    joined: dict[str, int] = {}
    for name, own in values.items():
        found, count = _same(own)
        links += found
        if count and name != "recording":
            joined[name] = count
    if NEAR_DUPLICATE in by and labels is not None:
        pairs = _near(entries, labels)
        links += pairs
        if pairs:
            joined[NEAR_DUPLICATE] = len({i for pair in pairs for i in pair})
    missing = {name: own.count("") for name, own in values.items() if "" in own}
    if NEAR_DUPLICATE in by and labels is not None and not all(said.features for said in labels):
        missing[NEAR_DUPLICATE] = sum(not said.features for said in labels)
    names = [e.content_digest for e in entries]
    for group in connected(links):
        lowest = min(names[i] for i in group)
        for i in group:
            names[i] = lowest
    return Grouping(groups=tuple(n[:GROUP_DIGITS] for n in names), joined=joined, missing=missing)


def _same(values: Sequence[str]) -> tuple[list[tuple[int, int]], int]:
    """Pairs that connect equal values, and how many episodes have one in common; empty texts are no values."""
    first: dict[str, int] = {}
    links = [(first[v], i) for i, v in enumerate(values) if v and first.setdefault(v, i) != i]
    return links, len(links) + len({a for a, _ in links})


def _near(entries: Sequence[Entry], labels: Sequence[Labels]) -> list[tuple[int, int]]:
    """Pairs of near copies, as the check `duplicates.near_content` finds them; the same in any order of episodes."""
    order = sorted(range(len(entries)), key=lambda i: (entries[i].content_digest, entries[i].recording_id))
    facts = [labels[i].as_facts(entries[i]) for i in order]
    settings, rules = CheckSettings(), dict(near_content.thresholds)
    for fact in facts[:1]:  # of one embodiment, and so of one schema
        own = settings.rules_for(fact.embodiment, fact.rules).get(near_content.name, {})
        rules |= {k: float(v) for k, v in own.items() if k != "severity"}
    return [(order[a], order[b]) for a, b in near_pairs(facts, rules["shared"], rules["chance"])]


def strata_of(entries: Sequence[Entry], labels: Sequence[Labels] | None, by: Sequence[str]) -> list[tuple[str, ...]]:
    """What each episode's splits should have in equal shares: values of `task`, `outcome` or metadata, [N]."""
    found = []
    for i, entry in enumerate(entries):
        said = {} if labels is None else labels[i].metadata
        own = dict(zip(CATALOG_STRATA, (entry.instruction, entry.outcome, entry.place, entry.source), strict=True))
        found.append(tuple(own.get(name, said.get(name, "")) for name in by))
    return found
