"""The rows of the config `vqa` that episodes give: questions from templates, each answer with its evidence.

No model and no network: what is asked, at which step and in which words follows from a hash of the seed, the
episode's content, the kind and the step.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..documents import canonical_json
from ..episode import Episode
from ..errors import ExportError
from ._moments import Moments
from ._rows import Layout
from ._vqa_kinds import KINDS, Fact
from ._vqa_words import WORDS, fill

__all__ = ["VqaRow", "VqaRows", "kinds_of", "place", "vqa_rows"]

MAX_STEPS = 100
"""Of a longer episode, every second, third, … step is looked at, unless more rows are asked for than that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VqaRow:
    """One question about one step."""

    step: int
    kind: str
    question: str
    answer: str
    evidence: str
    """What the answer follows from, as JSON."""
    group: str
    """Answers to be counted together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VqaRows:
    """The rows of an episode, in the order of their steps."""

    rows: tuple[VqaRow, ...]
    without: Mapping[str, int]
    """1 for each kind without evidence, by kind and reason."""


def kinds_of(names: Sequence[str] | None) -> tuple[str, ...]:
    """Kinds of questions that were asked for, in the order of the table; None: all.

    Raises:
        ExportError: There is none of a name.
    """
    unknown = sorted(set(names or ()) - set(KINDS))
    if unknown:
        raise ExportError(f"vqa kind {unknown[0]!r}; it must be one of {', '.join(KINDS)}")
    return tuple(KINDS) if names is None else tuple(k for k in KINDS if k in set(names))


def place(*words: object) -> bytes:
    """Where something stands in an order that only its words decide."""
    return hashlib.sha256(canonical_json(words).encode("utf-8", "surrogatepass")).digest()


def vqa_rows(episode: Episode, layout: Layout, *, per_episode: int, kinds: Sequence[str], seed: int) -> VqaRows:
    """Ask about an episode.

    Kinds take turns, in an order of the episode's own; within a kind the possible answers take turns, so that yes
    does not outnumber no where both can be had; and no kind asks twice about one step.

    Args:
        episode: One demonstration.
        layout: Cameras and state that a row must have.
        per_episode: Rows, where there is enough to ask.
        kinds: Names of kinds.
        seed: Another seed asks other questions.
    """
    moments = Moments(episode=episode, layout=layout)
    _thin(moments, max(MAX_STEPS, per_episode))
    queues: list[tuple[str, list[Fact]]] = []
    without: dict[str, int] = {}
    content = episode.content_digest
    for kind in sorted(kinds, key=lambda k: place("vqa", seed, content, k)):
        found = KINDS[kind](moments) if moments.is_shown.any() else "no step can be shown"
        if isinstance(found, str):
            without[f"{kind}: {found}"] = 1
        else:
            queues.append((kind, _in_turns(found, (seed, content, kind))))
    rows: list[VqaRow] = []
    while queues and len(rows) < per_episode:
        left = []
        for kind, facts in queues:
            if len(rows) < per_episode:
                rows.append(_row(kind, facts[0], (seed, content)))
                rest = facts[1:]
                left += [(kind, rest)] if rest else []
        queues = left
    order = {k: n for n, k in enumerate(KINDS)}
    rows.sort(key=lambda r: (r.step, order[r.kind], r.question))
    return VqaRows(rows=tuple(rows), without=dict(sorted(without.items())))


def _thin(moments: Moments, most: int) -> None:
    """Leave fewer steps to ask about; the last one stays."""
    shown = np.flatnonzero(moments.is_shown)
    if len(shown) > most:
        kept = shown[::-1][:: -(-len(shown) // most)]
        moments.is_shown[np.setdiff1d(shown, kept)] = False


def _in_turns(facts: Sequence[Fact], seed: tuple[object, ...]) -> list[Fact]:
    """Facts in the order in which they are asked: groups in turn, each step once."""
    groups: dict[str, list[Fact]] = {}
    for fact in facts:
        groups.setdefault(fact.group, []).append(fact)
    for group, own in groups.items():
        own.sort(key=lambda f: place(*seed, group, f.step, f.asked, sorted(f.slots.items())))
    names = sorted(groups, key=lambda g: place(*seed, g))
    taken: set[int] = set()
    ordered = []
    while names:
        left = []
        for name in names:
            own = groups[name]
            while own and own[0].step in taken:
                del own[0]
            if own:
                taken.add(own[0].step)
                ordered.append(own.pop(0))
                left.append(name)
        names = left
    return ordered


def _row(kind: str, fact: Fact, seed: tuple[object, ...]) -> VqaRow:
    phrasings = WORDS[kind][fact.asked]
    chosen = int.from_bytes(place(*seed, kind, fact.step, "words")[:8]) % len(phrasings)
    return VqaRow(
        step=fact.step,
        kind=kind,
        question=fill(phrasings[chosen], fact.slots),
        answer=fact.answer,
        evidence=canonical_json({"step": fact.step, "asked": fact.asked, **fact.evidence}),
        group="text" if kind in {"next", "previous"} else fact.group,
    )
