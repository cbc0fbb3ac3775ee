"""A report as text for a terminal: a table of checks, the worst findings by episode, one line of totals."""

import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ..checks import Check, check_names, find_check
from ..finding import Finding, Report, Severity
from ..text import printable

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

__all__ = ["render"]

MOST_EPISODES = 8
"""Episodes whose findings are shown."""
MOST_FINDINGS = 4
"""Findings shown of each."""

STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}
NOT_MEASURED = "timing.not_measured"


def render(report: Report, places: Mapping[str, str], *, width: int = 80, color: bool = False) -> str:
    """Lay a report out for people.

    Args:
        report: What was found.
        places: Where each episode comes from, by episode_id; episodes that are not in it show their id.
        width: Columns.
        color: Use escape codes.

    Returns:
        Lines of at most `width` columns; text out of recordings can't steer the terminal.
    """
    from rich.console import Console

    sink = io.StringIO()
    console = Console(
        file=sink,
        width=max(width, 60),
        force_terminal=color,
        color_system="standard" if color else None,
        no_color=not color,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    if report.findings:
        console.print(_checks_table(report))
        console.print()
    for table in _episodes(report, places):
        console.print(table)
        console.print()
    for line in _remarks(report):
        console.print(line, soft_wrap=False)
    console.print(_totals(report), style="bold" if color else "")
    return "\n".join(line.rstrip() for line in sink.getvalue().splitlines())


def _table() -> "Table":
    from rich.table import Table

    return Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False, expand=True, header_style="")


def _checks_table(report: Report) -> "Table":
    groups = _by_check(report.findings)
    table = _table()
    table.add_column("check", width=max(len(n) for n in groups), no_wrap=True)
    table.add_column("severity", width=8)
    table.add_column("episodes", width=8, justify="right")
    table.add_column("worst case", ratio=1, no_wrap=True, overflow="ellipsis")
    for name, findings in groups.items():
        severity = max(f.severity for f in findings)
        worst = max(findings, key=lambda f: (f.severity, f.magnitude))
        table.add_row(
            _safe(name),
            _severity(severity),
            f"{len(_concerned(findings)):,}",
            _safe(worst.message),
        )
    return table


def _by_check(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    """Findings by check, the most severe first, then by name."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.check, []).append(finding)
    return dict(sorted(groups.items(), key=lambda g: (-max(f.severity for f in g[1]), g[0])))


def _concerned(findings: Sequence[Finding]) -> set[str]:
    """Ids of the episodes that findings speak of."""
    return {i for f in findings for i in (f.episode_id, *f.others) if i}


def _episodes(report: Report, places: Mapping[str, str]) -> Iterator["Table"]:
    """The worst findings of the worst episodes; notes are in the table of checks only."""
    groups = _alike(report)
    for episode_ids, findings in groups[:MOST_EPISODES]:
        table = _plain_table(width=8)
        title = _title(episode_ids[0], places)
        if len(episode_ids) > 1:
            title += f" and {_count(len(episode_ids) - 1, 'episode')} like it"
        table.title, table.title_justify, table.title_style = title, "left", "bold"
        for finding in findings[:MOST_FINDINGS]:
            text = f"{finding.check}{_steps(finding)}: {finding.message}"
            table.add_row(_severity(finding.severity), _safe(text))
        if len(findings) > MOST_FINDINGS:
            table.add_row("", f"and {len(findings) - MOST_FINDINGS:,} more; --json has all")
        yield table
    if len(groups) > MOST_EPISODES:
        table = _plain_table()
        count = sum(len(ids) for ids, _ in groups[MOST_EPISODES:])
        table.add_row(f"and {count:,} more episodes; --json has all")
        yield table


def _alike(report: Report) -> list[tuple[list[str], list[Finding]]]:
    """Episodes of the very same findings together, the worst first, each with its worst findings first."""
    by_episode: dict[str, list[Finding]] = {}
    for finding in report.at_least(Severity.WARNING):
        by_episode.setdefault(finding.episode_id, []).append(finding)
    groups: dict[tuple[object, ...], tuple[list[str], list[Finding]]] = {}
    for episode_id, findings in by_episode.items():
        key = tuple((f.check, f.severity, f.message, f.steps) for f in findings)
        groups.setdefault(key, ([], findings))[0].append(episode_id)
    # Python's sort keeps the dataset's order among equals.
    worst_first = [(ids, sorted(found, key=lambda f: -f.severity)) for ids, found in groups.values()]
    return sorted(worst_first, key=lambda g: (-g[1][0].severity, -len(g[1])))


def _title(episode_id: str, places: Mapping[str, str]) -> "Text":
    place = printable(places.get(episode_id, ""))
    if place and episode_id:
        return _safe(f"{place} ({episode_id[:8]})")
    return _safe(place or episode_id or "the dataset")


def _plain_table(width: int = 0) -> "Table":
    table = _table()
    table.show_header = False
    if width:
        table.add_column(width=width)
    table.add_column(ratio=1, overflow="fold")
    return table


def _safe(text: str) -> "Text":
    """Text without markup and without control characters."""
    from rich.text import Text

    return Text(printable(text))


def _severity(severity: Severity) -> "Text":
    from rich.text import Text

    return Text(str(severity), style=STYLES[severity])


def _steps(finding: Finding) -> str:
    if finding.steps is None:
        return ""
    start, stop = finding.steps
    return f" [step {start}]" if stop - start == 1 else f" [steps {start} to {stop - 1}]"


def _remarks(report: Report) -> Iterator[str]:
    """Which checks found nothing; never those that had nothing to measure."""
    silent = set(report.checks) - {f.check for f in report.findings} - {NOT_MEASURED}
    blind = {f.episode_id for f in report.findings if f.check == NOT_MEASURED}
    if blind:
        known = set(check_names()) & set(report.checks)
        needs_time = {n for n in known if isinstance(c := find_check(n), Check) and c.needs_time}
        if len(blind) >= len(report.episodes):
            silent -= needs_time
        if needs_time:
            yield (
                f"Not measured in {len(blind):,} of {len(report.episodes):,} episodes, where streams have no recorded "
                f"time: {_by_topic(needs_time, report.checks)}."
            )
    if silent:
        yield f"Nothing found by {_by_topic(silent, report.checks)}."


def _by_topic(names: Collection[str], ran: Sequence[str]) -> str:
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


def _totals(report: Report) -> str:
    counts = (
        _count(report.count(Severity.ERROR), "error"),
        _count(report.count(Severity.WARNING), "warning"),
        f"{report.count(Severity.INFO):,} info",
    )
    return f"{_count(len(report.episodes), 'episode')}, {_count(len(report.checks), 'check')}: {', '.join(counts)}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
