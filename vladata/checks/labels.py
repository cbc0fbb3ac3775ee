"""Labels: what the demonstration was to do, and whether it did."""

import re
from collections.abc import Iterator

from ..episode import Episode
from ..finding import Finding, Severity
from ..recording import Instruction, Outcome
from ..text import clip, printable
from ._check import check

__all__ = ["contradiction", "instruction", "outcome", "outside", "placeholder"]

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
SLOT = re.compile(r"^\W*[{<\[].*[}>\]]\W*$")
"""A template that nobody filled in: `{task}`, `<instruction>`."""


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
        shown = ", ".join(repr(clip(printable(t), 40)) for t in found[:3])
        yield Finding(
            message=f"instruction {shown} looks like a placeholder; it must say what is done",
            location="/instructions",
            magnitude=len(found),
        )


def _is_placeholder(text: str) -> bool:
    plain = " ".join(re.sub(r"[\W_]+", " ", text).split()).lower()
    return plain in PLACEHOLDERS or SLOT.match(text.strip()) is not None or not _has_word(text)


def _has_word(text: str) -> bool:
    """Whether there is a word, or a letter of a script that writes words without spaces."""
    return WORD.search(text) is not None or any(c.isalpha() and ord(c) > 0x2E7F for c in text)


@check(Severity.INFO)
def outcome(episode: Episode) -> Iterator[Finding]:
    """An episode says whether it succeeded."""
    if not episode.outcome:
        yield Finding(
            message="no outcome; whoever trains on successes only can't tell whether this is one", location="/outcomes"
        )


@check(Severity.ERROR)
def contradiction(episode: Episode) -> Iterator[Finding]:
    """No moment is marked both success and failure."""
    times = {
        kind: {o.time_ns for o in episode.outcomes if o.kind == kind}  # None: the whole episode
        for kind in ("success", "failure")
    }
    both = times["success"] & times["failure"]
    if both:
        when = "the episode" if None in both else f"the moment {min(t for t in both if t is not None)} ns"
        yield Finding(
            message=f"{when} is marked success and failure; it must be one of them (the last marker counts: "
            f"{episode.outcome})",
            location="/outcomes",
            magnitude=len(both),
        )


@check(Severity.WARNING)
def outside(episode: Episode) -> Iterator[Finding]:
    """Labels hold for a time in which the episode has steps."""
    time = episode.steps.time_ns
    if len(time) == 0:
        return
    first, last = int(time.min()), int(time.max())
    for location, labels in (("/instructions", episode.instructions), ("/outcomes", episode.outcomes)):
        wrong = [(label, text) for label in labels for text in _wrong_time(label, first, last)]
        if wrong:
            label, reason = wrong[0]
            name = clip(printable(label.text), 40) if isinstance(label, Instruction) else label.kind
            more = f" (and {len(wrong) - 1} more labels)" if len(wrong) > 1 else ""
            yield Finding(
                message=f"{label.kind} {name!r} {reason}{more}; labels must hold within the steps",
                location=location,
                magnitude=len(wrong),
            )


def _wrong_time(label: Instruction | Outcome, first: int, last: int) -> Iterator[str]:
    if label.time_ns is None:
        return
    # A judgement of the whole is made when all is over; it may come after the last step.
    is_judgement = isinstance(label, Outcome) and label.kind in {"success", "failure", "reward", "quality"}
    if label.end_ns is not None and label.end_ns <= label.time_ns:
        yield f"ends {(label.time_ns - label.end_ns) / 1e9:.3g} s before it begins"
    elif label.time_ns > last and not is_judgement:
        yield f"begins {(label.time_ns - last) / 1e9:.3g} s after the last step"
    elif label.end_ns is not None and label.end_ns <= first:
        yield f"ends {(first - label.end_ns) / 1e9:.3g} s before the first step"
    elif is_judgement and label.time_ns < first:
        yield f"comes {(first - label.time_ns) / 1e9:.3g} s before the first step"
