"""Labels: what the demonstration was to do, and whether it did."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from ..episode import Episode
from ..finding import Finding, Severity
from ..recording import Instruction, Outcome
from ..text import clip, printable
from ._behaviours import motions, two_groups
from ._characters import escaped, odd
from ._check import EpisodeFacts, check, dataset_check
from ._features import layout, path
from ._reasons import tells_failure, tells_success
from ._spelling import variants
from ._tables import named

__all__ = [
    "contradiction",
    "instruction",
    "many_behaviours",
    "missing_outcome",
    "odd_characters",
    "open_intervention",
    "outcome",
    "outside",
    "placeholder",
    "similar_spellings",
]

PLACEHOLDERS = frozenset(
    {
        "default", "default task", "demo", "dummy", "dummy task", "empty", "example", "example task", "fixme", "foo",
        "instruction", "lang", "language instruction", "lorem ipsum", "na", "nan", "no instruction", "no task", "none",
        "null", "placeholder", "task", "task description", "tbd", "test", "test task", "testing", "todo", "undefined",
        "unknown", "untitled", "your task here", "xxx",
    }
)  # fmt: skip
"""What people and programs write where nobody wrote an instruction, without punctuation, lower case."""

WORD = re.compile(r"[^\W\d_]{2,}")
NUMBERED = re.compile(
    r"^(?:(?:do|perform|execute|complete|the|a|my|some|this) )*"
    r"(?:task|demo|demonstration|test|episode|example|instruction|recording|trial|run|take)(?: \d+)?$"
)
"""No more than that there is a task, or its number: `do the task`, `task 3`, `Episode_12`."""
SLOT = re.compile(r"\{\w{1,40}\}")
"""A slot within a sentence that nobody filled in: `pick up the {object}`."""
OPENING, CLOSING = frozenset("{<["), frozenset("}>]")
"""Around a template that nobody filled in: `{task}`, `<instruction>`."""


@check(Severity.ERROR)
def instruction(episode: Episode) -> Iterator[Finding]:
    """An episode says what it demonstrates."""
    tasks = [i for i in episode.instructions if i.kind == "task"]
    if not tasks:
        others = f"; it has {len(episode.instructions)} texts of other kinds" if episode.instructions else ""
        yield Finding(message=f"no task instruction{others}; there must be one", location="/instructions")
    elif not any(i.text.strip() for i in tasks):
        yield Finding(message="the task instruction is empty; it must be a text", location="/instructions")


@check(Severity.WARNING)
def placeholder(episode: Episode) -> Iterator[Finding]:
    """Instructions are sentences, not placeholders."""
    found = sorted({i.text for i in episode.instructions if i.text.strip() and _is_placeholder(i.text)})
    if found:
        shown = ", ".join(named(t, 40) for t in found[:3])
        yield Finding(
            message=f"instruction {shown} looks like a placeholder; it must say what is done",
            location="/instructions",
            magnitude=len(found),
        )


def _is_placeholder(text: str) -> bool:
    plain = " ".join(re.sub(r"[\W_]+", " ", text).split()).lower()
    is_empty_phrase = plain in PLACEHOLDERS or NUMBERED.match(plain) is not None
    return is_empty_phrase or _is_slot(text) or SLOT.search(text) is not None or not _has_word(text)


def _is_slot(text: str) -> bool:
    """Whether a text stands in brackets."""
    # Not one pattern for all of it: of many brackets in a row it would try every pair.
    before, after = (re.split(r"\w", t, maxsplit=1)[0] for t in (text, text[::-1]))
    return not OPENING.isdisjoint(before) and not CLOSING.isdisjoint(after)


def _has_word(text: str) -> bool:
    """Whether there is a word, or a letter of a script that writes words without spaces."""
    return WORD.search(text) is not None or any(c.isalpha() and ord(c) > 0x2E7F for c in text)


@check(Severity.WARNING)
def odd_characters(episode: Episode) -> Iterator[Finding]:
    """Instructions have no control characters, invisible ones, or wrongly decoded ones."""
    found = [(i.text, problems) for i in episode.instructions if (problems := odd(i.text))]
    if found:
        text, problems = found[0]
        count = len({t for t, _ in found})
        more = f" (and {count - 1:,} more texts)" if count > 1 else ""
        yield Finding(
            message=f"instruction '{escaped(text)}' has {' and '.join(problems)}{more}; it must be plain text",
            location="/instructions",
            magnitude=count,
        )


@check(Severity.INFO)
def outcome(episode: Episode) -> Iterator[Finding]:
    """An episode says whether it succeeded."""
    if not episode.outcome:
        yield Finding(
            message="no outcome; whoever trains on successes only can't tell whether this is one", location="/outcomes"
        )


@check(Severity.ERROR)
def contradiction(episode: Episode) -> Iterator[Finding]:
    """No moment is marked both success and failure, and no outcome has the reason of the other."""
    pairs = [
        (a, b)
        for a in episode.outcomes
        if a.kind == "success"
        for b in episode.outcomes
        if b.kind == "failure" and _overlap(a, b)
    ]
    reasons = [o for o in episode.outcomes if _contradicts_itself(o)]
    if pairs:
        both = [t for a, b in pairs if (t := _later(a, b)) is not None]
        when = "the episode" if len(both) < len(pairs) else f"the moment {min(both)} ns"
        yield Finding(
            message=f"{when} is marked success and failure; it must be one of them (the last marker counts: "
            f"{episode.outcome})",
            location="/outcomes",
            magnitude=len(pairs),
        )
    elif reasons:
        first = reasons[0]
        other = "failure" if first.kind == "success" else "success"
        yield Finding(
            message=f"{first.kind} has the reason {named(first.reason)}, which tells of a {other}; kind and reason "
            "must agree",
            location="/outcomes",
            magnitude=len(reasons),
        )


def _contradicts_itself(outcome: Outcome) -> bool:
    if outcome.kind == "success":
        return tells_failure(outcome.reason)
    return outcome.kind == "failure" and tells_success(outcome.reason)


def _later(a: Outcome, b: Outcome) -> int | None:
    """When two markers begin to hold together; None for the whole episode."""
    times = [o.time_ns for o in (a, b) if o.time_ns is not None]
    return max(times) if times else None


def _overlap(a: Outcome, b: Outcome) -> bool:
    """Whether two markers hold for the same time; a failed try within a success of the whole is none."""
    if a.time_ns is None or b.time_ns is None:
        return a.time_ns is b.time_ns
    ends = [max(o.time_ns + 1, o.end_ns or 0) for o in (a, b) if o.time_ns is not None]
    return max(a.time_ns, b.time_ns) < min(ends)


@check(Severity.WARNING)
def open_intervention(episode: Episode) -> Iterator[Finding]:
    """An intervention that begins also ends."""
    open_ones = [o for o in episode.outcomes if o.kind == "intervention" and o.end_ns is None]
    found = [o.time_ns for o in open_ones if o.time_ns is not None]
    if found and len(episode):
        after = (found[0] - int(episode.steps.time_ns[0])) / 1e9
        count = "an intervention" if len(found) == 1 else f"the first of {len(found):,} interventions"
        yield Finding(
            message=f"{count} at {after:.2f} s has no end; it must say until when the human acted",
            location="/outcomes",
            magnitude=len(found),
        )


@check(Severity.WARNING)
def outside(episode: Episode, *, after_s: float = 60.0) -> Iterator[Finding]:
    """Labels hold for a time in which the episode has steps."""
    time = episode.steps.time_ns
    if len(time) == 0:
        return
    first, last = int(time.min()), int(time.max())
    for location, labels in (("/instructions", episode.instructions), ("/outcomes", episode.outcomes)):
        wrong = [(label, text) for label in labels for text in _wrong_time(label, first, last, after_s)]
        if wrong:
            label, reason = wrong[0]
            name = clip(printable(label.text), 40) if isinstance(label, Instruction) else label.kind
            more = f" (and {len(wrong) - 1} more labels)" if len(wrong) > 1 else ""
            yield Finding(
                message=f"{label.kind} {name!r} {reason}{more}; labels must hold within the steps",
                location=location,
                magnitude=len(wrong),
            )


def _wrong_time(label: Instruction | Outcome, first: int, last: int, after_s: float) -> Iterator[str]:
    if label.time_ns is None:
        return
    # A judgement of the whole is made when all is over; it may come after the last step.
    is_judgement = isinstance(label, Outcome) and label.kind in {"success", "failure", "reward", "quality"}
    if label.end_ns is not None and label.end_ns <= label.time_ns:
        yield f"ends {(label.time_ns - label.end_ns) / 1e9:.3g} s before it begins"
    elif label.time_ns > last + is_judgement * after_s * 1e9:
        yield f"begins {(label.time_ns - last) / 1e9:.3g} s after the last step"
    elif label.end_ns is not None and label.end_ns <= first:
        yield f"ends {(first - label.end_ns) / 1e9:.3g} s before the first step"
    elif is_judgement and label.time_ns < first:
        yield f"comes {(first - label.time_ns) / 1e9:.3g} s before the first step"


@dataset_check(Severity.WARNING)
def missing_outcome(facts: Sequence[EpisodeFacts], *, most: float = 0.8, episodes: float = 5) -> Iterator[Finding]:
    """Where most episodes say whether they succeeded, all do."""
    missing = [i for i, fact in enumerate(facts) if not fact.outcome]
    total = len(facts)
    having = total - len(missing)
    if not missing or having < episodes or having < most * (total - 1):
        return
    for i in missing:
        yield Finding(
            message=f"no outcome, where {having:,} of {total:,} episodes of the dataset have one; it must say success "
            "or failure",
            location="/outcomes",
            episode_id=facts[i].episode_id,
            magnitude=having / total,
        )


@dataset_check(Severity.WARNING)
def similar_spellings(facts: Sequence[EpisodeFacts], *, rare: float = 0.2, episodes: float = 5) -> Iterator[Finding]:
    """One task is written in one way: no instruction is a frequent one with a typing error."""
    counts = Counter(fact.instruction for fact in facts)
    found = list(variants(counts, rare, round(episodes)))
    members: dict[str, list[str]] = {v.rare: [] for v in found}
    if found:
        for fact in facts:
            if fact.instruction in members:
                members[fact.instruction].append(fact.episode_id)
    for variant in found:
        ids = members[variant.rare]
        number = "1 episode" if len(ids) == 1 else f"{len(ids):,} episodes"
        yield Finding(
            message=f"instruction {named(variant.rare, 80)} ({number}) differs from {named(variant.frequent, 80)} "
            f"({counts[variant.frequent]:,} episodes) only by {clip(printable(variant.difference), 100)}; one "
            "task must be written in one way",
            location="/instructions",
            episode_id=ids[0],
            others=tuple(ids[1:]),
            magnitude=counts[variant.frequent] / len(ids),
        )


@dataset_check(Severity.WARNING, features=(layout, path))
def many_behaviours(
    facts: Sequence[EpisodeFacts],
    *,
    episodes: float = 6,
    part: float = 0.2,
    separation: float = 0.5,
    motion: float = 0.15,
    chance: float = 0.005,
) -> Iterator[Finding]:
    """Episodes of one instruction show one behaviour: their motions do not fall into two separate groups."""
    for found in motions(facts, max(2, round(episodes))):
        split = two_groups(found, part)
        if split is None or split.chance > chance or split.moved < motion:
            continue
        if split.separation < separation or split.worst < separation / 2:
            continue
        ids = [facts[int(i)].episode_id for i in found.places[split.second]]
        yield Finding(
            message=f"the motions of instruction {named(found.instruction, 80)} fall into two separate groups of "
            f"{len(split.first):,} and {len(split.second):,} episodes (mean silhouette {split.separation:.2f}, below "
            f"{separation:g} where there is one behaviour); each behaviour must have its own instruction",
            location="/instructions",
            others=(*ids, *(facts[int(i)].episode_id for i in found.places[split.first])),
            magnitude=split.separation,
        )
