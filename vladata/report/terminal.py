"""A report as text for a terminal: a table of checks, the worst findings by episode, one line of totals."""

import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..finding import Finding, Report, Severity
from ..text import counted, printable
from ._summary import CheckSummary, Summary, steps_in_words, totals

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

__all__ = ["render"]

MOST_EPISODES = 8
"""Episodes whose findings are shown."""
MOST_FINDINGS = 4
"""Findings shown of each."""

STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}


@dataclass(slots=True, eq=False)
class _Seen:
    """What is kept of an episode in the course of a pass: small, whatever was found in it."""

    episode_id: str
    digest: bytes = b""
    """Of all its findings; equal for episodes of the very same ones."""
    severity: Severity = Severity.WARNING
    count: int = 0
    worst: list[tuple[int, int]] = field(default_factory=list)
    """Severity, negative, and place of the findings to show."""

    def add(self, index: int, finding: Finding) -> None:
        words = repr((finding.check, int(finding.severity), finding.message, finding.steps))
        self.digest = hashlib.blake2b(self.digest + words.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        self.severity = max(self.severity, finding.severity)
        self.count += 1
        self.worst = sorted([*self.worst, (-finding.severity, index)])[:MOST_FINDINGS]


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
    summary = Summary(report)
    seen: dict[str, _Seen] = {}
    for index, finding in enumerate(report.findings):
        summary.add(finding)
        if finding.severity >= Severity.WARNING and not finding.is_known:
            seen.setdefault(finding.episode_id, _Seen(finding.episode_id)).add(index, finding)
    if summary.checks:
        console.print(_checks_table(summary.checks))
        console.print()
    for table in _episodes(report, _alike(seen), places):
        console.print(table)
        console.print()
    for line in summary.remarks():
        console.print(_safe(line), soft_wrap=False)
    console.print(totals(report), style="bold" if color else "")
    return "\n".join(line.rstrip() for line in sink.getvalue().splitlines())


def _table() -> "Table":
    from rich.table import Table

    return Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False, expand=True, header_style="")


def _checks_table(checks: list[CheckSummary]) -> "Table":
    table = _table()
    table.add_column("check", width=max(len(c.name) for c in checks), no_wrap=True)
    table.add_column("severity", width=8)
    table.add_column("episodes", width=8, justify="right")
    table.add_column("worst case", ratio=1, no_wrap=True, overflow="ellipsis")
    for check in checks:
        table.add_row(
            _safe(check.name), _severity(check.severity), f"{check.num_episodes:,}", _safe(check.worst.message)
        )
    return table


def _alike(seen: Mapping[str, _Seen]) -> list[tuple[int, _Seen]]:
    """How many episodes have the very same findings, and the first of them; the worst first."""
    groups: dict[bytes, tuple[int, _Seen]] = {}
    for episode in seen.values():
        count, first = groups.get(episode.digest, (0, episode))
        groups[episode.digest] = count + 1, first
    # Python's sort keeps the dataset's order among equals.
    return sorted(groups.values(), key=lambda g: (-g[1].severity, -g[0]))


def _episodes(report: Report, groups: list[tuple[int, _Seen]], places: Mapping[str, str]) -> Iterator["Table"]:
    """The worst findings of the worst episodes; notes are in the table of checks only."""
    for count, first in groups[:MOST_EPISODES]:
        table = _plain_table(width=8)
        title = _title(first.episode_id, places)
        if count > 1:
            title += f" and {counted(count - 1, 'episode')} like it"
        table.title, table.title_justify, table.title_style = title, "left", "bold"
        for _, index in first.worst:
            finding = report.findings[index]
            steps = steps_in_words(finding)
            text = f"{finding.check}{f' [{steps}]' if steps else ''}: {finding.message}"
            table.add_row(_severity(finding.severity), _safe(text))
        if first.count > len(first.worst):
            table.add_row("", f"and {first.count - len(first.worst):,} more; --json has all")
        yield table
    if len(groups) > MOST_EPISODES:
        table = _plain_table()
        rest = sum(count for count, _ in groups[MOST_EPISODES:])
        table.add_row(f"and {counted(rest, 'more episode')}; --json has all")
        yield table


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
