"""The dataset as a whole: outliers, versions, sessions, tasks, what never changes."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from ..finding import Finding, Severity
from ..text import clip, counted, printable
from ..units import Kind
from ._check import EpisodeFacts, dataset_check
from ._features import Column, layout, summary
from ._look import listed
from ._outliers import Limits, outlying_lengths, outlying_values
from ._sessions import drifts
from ._tables import amount, constant_columns, named, task_of

__all__ = ["imbalance", "no_variance", "outcomes", "outliers", "session_drift", "versions"]


@dataset_check(Severity.WARNING, features=(layout, summary))
def outliers(
    facts: Sequence[EpisodeFacts],
    *,
    episodes: float = 8,
    times: float = 2.5,
    spread: float = 0.75,
    beyond: float = 3.0,
    reach: float = 1.0,
) -> Iterator[Finding]:
    """An episode is like the others of its task in length, path, speed, start, range and offset."""
    limits = Limits(episodes=max(3, round(episodes)), times=times, spread=spread, beyond=beyond, reach=reach)
    found = outlying_lengths(facts, limits)
    for index, other in outlying_values(facts, limits).items():
        if index not in found:  # an episode three times as long also has a longer path
            found[index] = other
    for index in sorted(found):
        outlier, fact = found[index], facts[index]
        yield Finding(
            message=f"{outlier.what} {outlier.value}; the other {outlier.count - 1:,} episodes of "
            f"{named(fact.instruction) if fact.instruction else 'no instruction'} have {outlier.usual}",
            location=outlier.location,
            episode_id=fact.episode_id,
            magnitude=outlier.magnitude,
            dimensions=outlier.dimensions,
        )


@dataset_check(Severity.WARNING)
def versions(facts: Sequence[EpisodeFacts]) -> Iterator[Finding]:
    """All episodes of an embodiment have the same version of its schema."""
    counts: dict[str, Counter[tuple[int, str]]] = defaultdict(Counter)
    for fact in facts:
        if fact.embodiment:
            counts[fact.embodiment][fact.embodiment_version, fact.embodiment_digest] += 1
    for name, found in counts.items():
        if len(found) < 2:
            continue
        usual = max(found, key=lambda v: found[v])
        others = (
            f.episode_id for f in facts if f.embodiment == name and (f.embodiment_version, f.embodiment_digest) != usual
        )
        shown = [
            f"version {v} ({d[:12] or 'no digest'}) in {counted(n, 'episode')}" for (v, d), n in sorted(found.items())
        ]
        yield Finding(
            message=f"embodiment {clip(printable(name), 60)} has {len(found)} schemas: {listed(shown)}; all episodes "
            "must have the same one",
            location="/embodiment",
            others=tuple(others),
            magnitude=len(found),
        )


@dataset_check(Severity.WARNING, features=(layout, summary))
def session_drift(
    facts: Sequence[EpisodeFacts], *, episodes: float = 5, smallest: float = 0.03, sigmas: float = 2.5
) -> Iterator[Finding]:
    """A joint's zero is the same in all sessions."""
    for drift in drifts(facts, round(episodes), smallest, sigmas):
        column = drift.column
        what = "measured minus commanded" if drift.is_offset else "the pose at the start"
        yield Finding(
            message=f"{what} of {column.label} is {amount(drift.here, column)} in {drift.key} "
            f"{named(drift.session)} ({len(drift.places):,} episodes) and {amount(drift.elsewhere, column)} in the "
            f"others ({drift.num_others:,} episodes), {drift.size / drift.spread:.3g} times "
            f"the spread of {amount(drift.spread, column)} within a session; its zero must not move",
            location=f"/streams/{column.signal}/values",
            others=tuple(facts[int(i)].episode_id for i in drift.places),
            magnitude=drift.size,
            dimensions=(column.name,),
        )


@dataset_check(Severity.WARNING)
def imbalance(facts: Sequence[EpisodeFacts], *, times: float = 20.0, episodes: float = 5.0) -> Iterator[Finding]:
    """No task has many times as many episodes as another."""
    texts: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for fact in facts:
        task = task_of(fact)
        if task:
            texts.setdefault(task, fact.instruction)
            counts[task] += 1
    # Texts written freely are tasks of their own, nearly one for each episode: nothing to balance.
    if len(counts) < 2 or counts.total() < episodes * len(counts):
        return
    ordered = counts.most_common()
    most, least = ordered[0], ordered[-1]
    few = [t for t, n in ordered if n * times <= most[1]]
    if few:
        more = f" ({len(few):,} tasks have as few)" if len(few) > 1 else ""
        rare = set(few)
        yield Finding(
            message=f"task {named(texts[most[0]])} has {counted(most[1], 'episode')} and {named(texts[least[0]])} has "
            f"{counted(least[1], 'episode')}, {most[1] / least[1]:.4g} times less{more}; it must be less than "
            f"{times:g} times",
            location="/instructions",
            others=tuple(f.episode_id for f in facts if task_of(f) in rare),
            magnitude=most[1] / least[1],
        )


@dataset_check(Severity.INFO)
def outcomes(facts: Sequence[EpisodeFacts], *, times: float = 20.0, episodes: float = 20.0) -> Iterator[Finding]:
    """Neither success nor failure is many times as frequent as the other."""
    counts = Counter(fact.outcome for fact in facts if fact.outcome)
    total = counts.total()
    if total < max(episodes, 1):
        return
    (most, many), few = counts.most_common(1)[0], total - counts.most_common(1)[0][1]
    if few * times <= many:
        rare = "failure" if most == "success" else "success"
        what = f"none is {rare}" if few == 0 else f"{rare} is {counted(few, 'episode')}"
        yield Finding(
            message=f"{many:,} of {total:,} outcomes are {most} and {what}; what tells one from the other can hardly "
            "be learned from them",
            location="/outcomes",
            others=tuple(f.episode_id for f in facts if f.outcome and f.outcome != most),
            magnitude=many / total,
        )


def _must_change(column: Column) -> bool:
    return not column.is_gripper and column.kind not in {Kind.PADDING, Kind.TERMINATE}


@dataset_check(Severity.WARNING, features=(layout, summary))
def no_variance(facts: Sequence[EpisodeFacts], *, episodes: float = 3.0) -> Iterator[Finding]:
    """Every dimension changes in some episode of the dataset."""
    for count, found in constant_columns(facts, round(episodes)):
        by_signal: dict[str, list[tuple[Column, float]]] = defaultdict(list)
        for column, value in found:
            if _must_change(column):
                by_signal[column.signal].append((column, value))
        for signal, dead in by_signal.items():
            shown = listed([f"{c.name} ({amount(v, c)})" for c, v in dead])
            verb = "has" if len(dead) == 1 else "have"
            yield Finding(
                message=f"{shown} of {signal} {verb} the same value in all {count:,} episodes; it must change, or "
                "normalization divides by nothing",
                location=f"/streams/{signal}/values",
                magnitude=len(dead),
                dimensions=tuple(c.name for c, _ in dead),
            )
