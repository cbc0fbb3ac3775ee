"""What every report tells first: numbers by check and by episode, in one pass, without keeping findings."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from ..checks import Check, check_names, find_check
from ..finding import Finding, Report, Severity
from ..text import counted

__all__ = [
    "NOT_MEASURED",
    "CheckSummary",
    "EpisodeSummary",
    "Summary",
    "by_topic",
    "rule_of",
    "steps_in_words",
    "thresholds_in_words",
    "totals",
]

NOT_MEASURED = "timing.not_measured"


@dataclass(slots=True, kw_only=True, eq=False)
class CheckSummary:
    """What one check found, without what a baseline knows."""

    name: str
    bit: int
    severity: Severity
    """The worst."""
    worst: Finding
    num_findings: int = 0
    num_episodes: int = 0
    """Episodes that its findings speak of."""


@dataclass(slots=True, kw_only=True, eq=False)
class EpisodeSummary:
    """What was found in one episode, without what a baseline knows; small, there may be a million."""

    errors: int = 0
    warnings: int = 0
    infos: int = 0
    is_named: bool = False
    """A finding about the dataset or about another episode names it, as a warning at least."""
    checks: int = 0
    """One bit for each check that speaks of the episode."""


class Summary:
    """Counts findings; they come one by one and only the worst of each check stays."""

    def __init__(self, report: Report) -> None:
        """Begin with nothing found."""
        self._report = report
        self._checks: dict[str, CheckSummary] = {}
        self._blind: set[str] = set()
        self._with_known: set[str] = set()
        self.num_known = 0
        """Findings that a baseline knows."""
        self.episodes: dict[str, EpisodeSummary] = {}
        """Those that findings speak of, in the order of the findings."""

    def add(self, finding: Finding) -> None:
        """Take in one finding."""
        if finding.check == NOT_MEASURED:
            self._blind.add(finding.episode_id)
        if finding.is_known:
            self.num_known += 1
            self._with_known.add(finding.check)
            return
        check = self._checks.get(finding.check)
        if check is None:
            check = CheckSummary(
                name=finding.check, bit=1 << len(self._checks), severity=finding.severity, worst=finding
            )
            self._checks[finding.check] = check
        check.num_findings += 1
        check.severity = max(check.severity, finding.severity)
        if (finding.severity, finding.magnitude) > (check.worst.severity, check.worst.magnitude):
            check.worst = finding
        self._note(check, finding)

    def _note(self, check: CheckSummary, finding: Finding) -> None:
        for episode_id in {finding.episode_id, *finding.others} - {""}:
            episode = self.episodes.setdefault(episode_id, EpisodeSummary())
            if not episode.checks & check.bit:
                episode.checks |= check.bit
                check.num_episodes += 1
            episode.is_named |= episode_id != finding.episode_id and finding.severity > Severity.INFO
        if finding.episode_id:
            episode = self.episodes[finding.episode_id]
            episode.errors += finding.severity is Severity.ERROR
            episode.warnings += finding.severity is Severity.WARNING
            episode.infos += finding.severity is Severity.INFO

    @property
    def checks(self) -> list[CheckSummary]:
        """Checks that found something, the most severe first, then by name."""
        return sorted(self._checks.values(), key=lambda c: (-c.severity, c.name))

    @property
    def num_blind(self) -> int:
        """Episodes without recorded time."""
        return len(self._blind)

    @property
    def not_measured(self) -> set[str]:
        """Checks that need recorded time, where an episode has none."""
        if not self._blind:
            return set()
        known = set(check_names()) & set(self._report.checks)
        return {n for n in known if isinstance(c := find_check(n), Check) and c.needs_time}

    @property
    def is_all_blind(self) -> bool:
        """True where no episode has recorded time."""
        return bool(self._blind) and len(self._blind) >= len(self._report.episodes)

    @property
    def silent(self) -> set[str]:
        """Checks that looked and found nothing; never those that had nothing to measure."""
        silent = set(self._report.checks) - set(self._checks) - self._with_known - {NOT_MEASURED}
        return silent - self.not_measured if self.is_all_blind else silent

    def remarks(self) -> Iterator[str]:
        """Which checks found nothing, what a baseline knows, which thresholds are others."""
        report, unmeasured = self._report, self.not_measured
        if unmeasured:
            yield (
                f"Not measured in {self.num_blind:,} of {len(report.episodes):,} episodes, where streams have no "
                f"recorded time: {by_topic(unmeasured, report.checks)}."
            )
        if self.silent:
            yield f"Nothing found by {by_topic(self.silent, report.checks)}."
        if self.num_known:
            verb = "is" if self.num_known == 1 else "are"
            yield f"{counted(self.num_known, 'finding')} {verb} known by the baseline."
        words = thresholds_in_words(report)
        if words:
            yield f"Thresholds set: {', '.join(words)}."


def thresholds_in_words(report: Report) -> list[str]:
    """What was set otherwise than by default: `timing.gaps.periods = 2`."""
    return [
        f"{check}.{name} = {value if isinstance(value, str) else f'{value:g}'}"
        for check, values in sorted(report.thresholds.items())
        for name, value in sorted(values.items())
    ]


def by_topic(names: Collection[str], ran: Sequence[str]) -> str:
    """Names in few words: `camera (all 5), timing (gaps, jitter)`."""
    topics: dict[str, list[str]] = {}
    for name in sorted(names):
        topic, _, rule = name.partition(".")
        topics.setdefault(topic, []).append(rule)
    words = []
    for topic, rules in topics.items():
        is_all = len(rules) == sum(n.partition(".")[0] == topic for n in ran if n != NOT_MEASURED)
        words.append(f"{topic} ({f'all {len(rules)}' if is_all and len(rules) > 1 else ', '.join(rules)})")
    return ", ".join(words)


def totals(report: Report) -> str:
    """One line: `3 episodes, 3 checks: 2 errors, 1 warning, 1 info`."""
    counts = (
        counted(report.count(Severity.ERROR), "error"),
        counted(report.count(Severity.WARNING), "warning"),
        f"{report.count(Severity.INFO):,} info",
    )
    return f"{counted(len(report.episodes), 'episode')}, {counted(len(report.checks), 'check')}: {', '.join(counts)}"


def steps_in_words(finding: Finding) -> str:
    """`step 4` or `steps 4 to 8`; empty where there is no single place."""
    if finding.steps is None:
        return ""
    start, stop = finding.steps
    return f"step {start}" if stop - start == 1 else f"steps {start} to {stop - 1}"


def rule_of(name: str) -> str:
    """First line of a check's documentation; empty where the check is not known here."""
    return find_check(name).summary if name in check_names() else ""
