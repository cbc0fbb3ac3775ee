"""Duplicates: demonstrations that are in a dataset more than once."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from ..finding import Finding, Severity
from ..text import clip, printable
from ._check import EpisodeFacts, dataset_check
from ._look import listed

__all__ = ["equal_content"]


@dataset_check(Severity.WARNING)
def equal_content(facts: Sequence[EpisodeFacts]) -> Iterator[Finding]:
    """No two episodes hold the same demonstration."""
    groups: dict[str, list[EpisodeFacts]] = defaultdict(list)
    for fact in facts:
        groups[fact.content_digest].append(fact)
    for digest, group in groups.items():
        if len(group) < 2:
            continue
        places = listed([clip(printable(f.place), 60) for f in group], 4)
        differ = [n for n, v in (("instructions", "instruction"), ("outcomes", "outcome")) if _differ(group, v)]
        labels = f", with different {' and '.join(differ)}" if differ else ""
        yield Finding(
            message=f"{len(group)} episodes hold the same demonstration{labels}: {places} (content {digest[:12]}); "
            "it counts as often in training, and all must be in one split",
            location="/streams",
            others=tuple(f.episode_id for f in group),
            magnitude=len(group),
        )


def _differ(group: Sequence[EpisodeFacts], field: str) -> bool:
    return len({getattr(f, field) for f in group}) > 1
