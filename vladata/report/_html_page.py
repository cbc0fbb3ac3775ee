"""The page of a report, part by part. Whatever comes out of files goes through `text`."""

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from .. import __version__
from ..finding import Finding, Report, Severity
from ..store.catalog import Entry
from ..text import counted
from ._html_plots import bar, histogram, number, strip, text
from ._html_style import POLICY, SCRIPT, STYLE
from ._shown import Evidence, Picture
from ._summary import (
    CheckSummary,
    EpisodeSummary,
    Summary,
    by_topic,
    rule_of,
    steps_in_words,
    thresholds_in_words,
)

__all__ = ["PageFacts", "Shown", "page"]

MAX_ROWS = 1_000
"""Episodes in the table; the worst."""
MAX_TOP = 10
"""Rows of the lists of texts."""
SHOWN_HEIGHT = 120
"""Smaller frames are shown twice or three times as large, to be about as high, in pixels."""
MAX_OTHERS = 8
"""Further episodes that a finding names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A finding that the page tells in full."""

    finding: Finding
    anchor: str
    evidence: Evidence | None = None
    """None: it is a line without a picture."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PageFacts:
    """All that the page is made of."""

    report: Report
    summary: Summary
    name: str
    """Of the dataset: the last part of its path."""
    digest: str
    entries: Sequence[Entry]
    """Of the dataset, in its order."""
    shown: Mapping[str, Sequence[Shown]]
    """By check, the worst first."""
    numbers: Mapping[str, int] = field(default_factory=dict)
    """Place in the dataset's order by episode_id."""

    def place_of(self, episode_id: str) -> str:
        """Where an episode comes from; its id where the dataset does not know it."""
        index = self.numbers.get(episode_id)
        return self.entries[index].place if index is not None and self.entries[index].place else episode_id

    @cached_property
    def rows(self) -> list[tuple[str, EpisodeSummary]]:
        """Episodes with errors or warnings, also where a finding only names them; the worst first."""
        last = len(self.numbers)
        return sorted(
            (e for e in self.summary.episodes.items() if e[1].errors or e[1].warnings or e[1].is_named),
            key=lambda e: (-e[1].errors, -e[1].warnings, self.numbers.get(e[0], last), e[0]),
        )

    @cached_property
    def listed(self) -> frozenset[str]:
        """Episodes that have a row in the table."""
        return frozenset(episode_id for episode_id, _ in self.rows[:MAX_ROWS])


def page(facts: PageFacts) -> Iterator[str]:
    """The whole document, in parts."""
    title = text(f"Validation of {facts.name}", 200)
    yield (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n<link rel="icon" href="data:,">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
    )
    yield from _head(facts)
    checks = facts.summary.checks
    if checks:
        yield from _check_table(facts, checks)
        yield '<h2 id="findings">Findings</h2>\n'
        for check in checks:
            yield from _check_section(facts, check)
        yield from _episode_table(facts, checks)
    yield from _dataset(facts)
    yield f"<footer><p>Written by vladata {__version__}. What each check means: docs/checks of vladata.</p></footer>\n"
    yield f"<script>{SCRIPT}</script>\n</body>\n</html>\n"


def _head(facts: PageFacts) -> Iterator[str]:
    report, summary = facts.report, facts.summary
    spoken = list(summary.episodes.values())
    bad = sum(e.errors > 0 for e in spoken)
    odd = sum(e.warnings > 0 and not e.errors for e in spoken)
    total = len(report.episodes)
    yield f'<header><h1>Validation of <bdi>{text(facts.name, 200)}</bdi></h1>\n<p class="verdict">'
    parts = [f"{bad:,} of {counted(total, 'episode')} {'has' if bad == 1 else 'have'} errors"] if bad else []
    if odd:
        of = "more" if bad else f"of {counted(total, 'episode')}"
        parts.append(f"{odd:,} {of} {'has' if odd == 1 else 'have'} warnings{'' if bad else ' and none has errors'}")
    verdict = ", ".join(parts) or f"No errors and no warnings in {counted(total, 'episode')}"
    about = sum(f.finding.episode_id == "" for found in facts.shown.values() for f in found)
    yield f"{verdict}{'; some findings are about the dataset as a whole' if about else ''}.</p>\n"
    there = [("checks", "Checks"), ("findings", "Findings")] if summary.checks else []
    there += [("episodes", "Episodes")] if facts.rows else []
    links = [f'<a href="#{anchor}">{word}</a>' for anchor, word in [*there, ("dataset", "The dataset")]]
    yield f"<nav>{' · '.join(links)}</nav></header>\n"
    tiles = [(str(s), report.count(s)) for s in sorted(Severity, reverse=True)]
    nouns = {"error": "errors", "warning": "warnings", "info": "notes"}
    yield '<ul class="tiles">'
    yield "".join(f'<li class="{n}"><b>{count:,}</b>{nouns[n]}</li>' for n, count in tiles)
    yield f"<li><b>{max(0, total - bad - odd):,}</b>episodes without either</li>"
    yield f"<li><b>{summary.num_known:,}</b>known findings</li></ul>\n" if summary.num_known else "</ul>\n"
    yield from _facts(facts)


def _facts(facts: PageFacts) -> Iterator[str]:
    report, summary, entries = facts.report, facts.summary, facts.entries
    hours = sum(e.duration_s for e in entries) / 3600
    robots = sorted({e.embodiment for e in entries})
    rows = [
        (
            "Episodes",
            f"{len(report.episodes):,}, {sum(e.num_steps for e in entries):,} steps, "
            f"{f'{hours:.1f} h' if hours >= 1 else f'{60 * hours:.1f} min'}",
        ),
        ("Embodiment", text(", ".join(robots[:6]) + (f" and {len(robots) - 6} more" if len(robots) > 6 else ""), 400)),
        ("Dataset digest", f"<code>{text(facts.digest, 80)}</code>"),
        ("Checks", f"{len(report.checks):,} ran, {len(summary.checks):,} found something"),
    ]
    if summary.silent:
        rows.append(("Nothing found by", text(by_topic(summary.silent, report.checks), 6_000)))
    if summary.not_measured:
        words = text(by_topic(summary.not_measured, report.checks), 6_000)
        rows.append(
            (
                "Not measured",
                f"in {summary.num_blind:,} of {len(report.episodes):,} episodes, where streams have no recorded time: "
                f"{words}",
            )
        )
    words_set = thresholds_in_words(report)
    rows.append(("Thresholds", text(", ".join(words_set), 6_000) if words_set else "as by default and by the schema"))
    if summary.num_known:
        verb = "is" if summary.num_known == 1 else "are"
        rows.append(("Baseline", f"{counted(summary.num_known, 'finding')} {verb} known by it and not counted here"))
    yield f"<dl>{''.join(f'<dt>{name}</dt><dd>{value}</dd>' for name, value in rows)}</dl>\n"


def _s(number: int) -> str:
    return "" if number == 1 else "s"


def _badge(severity: Severity) -> str:
    return f'<span class="badge {severity}">{severity}</span>'


def _section(check: CheckSummary) -> str:
    """Anchor of a check's section; names of strangers are no anchors."""
    return f"check-{check.bit.bit_length()}"


def _check_table(facts: PageFacts, checks: Sequence[CheckSummary]) -> Iterator[str]:
    total = max(len(facts.report.episodes), 1)
    columns = ("check", ""), ("severity", ""), ("findings", "n"), ("episodes", "n"), ("share", "n"), ("worst case", "")
    yield '<h2 id="checks">Checks that found something</h2>\n<div class="scroll"><table class="stack">'
    yield _table_head(columns)
    for check in checks:
        share = 100 * check.num_episodes / total
        yield (
            f'<tr><td class="name"><a href="#{_section(check)}">{text(check.name, 80)}</a></td>'
            f"<td>{_badge(check.severity)}</td>"
            f'<td class="n" data-unit="finding{_s(check.num_findings)}">{check.num_findings:,}</td>'
            f'<td class="n" data-unit="episode{_s(check.num_episodes)}">{check.num_episodes:,}</td>'
            f'<td class="n">{share:.3g} %</td>'
            f'<td class="wide"><bdi>{text(check.worst.message, 300)}</bdi></td></tr>\n'
        )
    yield "</tbody></table></div>\n"


def _table_head(columns: Iterable[tuple[str, str]]) -> str:
    cells = "".join(
        f'<th scope="col" class="n">{word}</th>' if kind else f'<th scope="col">{word}</th>' for word, kind in columns
    )
    return f"<thead><tr>{cells}</tr></thead><tbody>\n"


def _episode_table(facts: PageFacts, checks: Sequence[CheckSummary]) -> Iterator[str]:
    rows = facts.rows
    if not rows:
        return
    anchors: dict[tuple[str, str], str] = {}
    for name, found in facts.shown.items():
        for item in found:
            anchors.setdefault((name, item.finding.episode_id), item.anchor)
    columns = [("#", "n"), ("episode", ""), ("errors", "n"), ("warnings", "n"), ("steps", "n"), ("seconds", "n")]
    columns += [("instruction", ""), ("outcome", ""), ("found by", "")]
    yield '<h2 id="episodes">Episodes with errors or warnings</h2>\n<div class="scroll">'
    yield f'<table class="stack" id="episodes-table">{_table_head(columns)}'
    for episode_id, found_in in rows[:MAX_ROWS]:
        links = []
        for check in checks:
            if found_in.checks & check.bit and check.severity > Severity.INFO:
                target = anchors.get((check.name, episode_id), _section(check))
                links.append(f'<a href="#{target}">{text(check.name, 80)}</a>')
        yield _episode_row(facts, episode_id, found_in, ", ".join(links))
    yield "</tbody></table></div>\n"
    rest = len(rows) - MAX_ROWS
    more = [f"{rest:,} more are not in this table; the JSON report has all"] if rest > 0 else []
    others = len(facts.report.episodes) - len(rows)
    more += [f"{counted(others, 'episode')} without errors and warnings"] if others > 0 else []
    yield f'<p class="quiet">{"; ".join(more)}.</p>\n' if more else ""


def _episode_row(facts: PageFacts, episode_id: str, found: EpisodeSummary, links: str) -> str:
    index = facts.numbers.get(episode_id)
    counts = (
        f'<td class="n" data-unit="errors">{found.errors}</td><td class="n" data-unit="warnings">{found.warnings}</td>'
    )
    if index is None:
        blank = '<td class="n" data-value="-1"></td>'
        return (
            f'<tr>{blank}<td class="place"><code>{text(episode_id, 80)}</code></td>{counts}{blank}{blank}'
            f'<td></td><td></td><td class="wide">{links}</td></tr>\n'
        )
    entry = facts.entries[index]
    return (
        f'<tr id="e{index}"><td class="n">{index}</td><td class="place"><bdi>{text(entry.place, 120)}</bdi> '
        f'<code class="quiet">{text(episode_id[:8])}</code></td>{counts}'
        f'<td class="n" data-unit="steps" data-value="{entry.num_steps}">{entry.num_steps:,}</td>'
        f'<td class="n" data-unit="s">{entry.duration_s:.1f}</td>'
        f'<td class="wide"><bdi>{text(entry.instruction, 160)}</bdi></td>'
        f'<td>{text(entry.outcome, 20)}</td><td class="wide">{links}</td></tr>\n'
    )


def _check_section(facts: PageFacts, check: CheckSummary) -> Iterator[str]:
    found = facts.shown.get(check.name, ())
    yield f'<section id="{_section(check)}"><h3>{_badge(check.severity)} {text(check.name, 80)}</h3>\n'
    rule = rule_of(check.name)
    where = counted(check.num_findings, "finding")
    if check.num_episodes:
        where += f" in {counted(check.num_episodes, 'episode')}"
    yield f'<p class="rule">{text(rule, 300)}{" " if rule else ""}{where}.</p>\n'
    for item in found:
        if item.evidence is not None:
            yield from _card(facts, item, item.evidence)
    lines = [i for i in found if i.evidence is None]
    if lines:
        rest = check.num_findings - len(found)
        is_open = " open" if len(lines) <= 5 else ""
        yield f"<details{is_open}><summary>{counted(len(lines), 'more finding')}</summary><ul>\n"
        for item in lines:
            yield (
                f'<li id="{item.anchor}">{_whose(facts, item.finding)}: <bdi>{text(item.finding.message, 600)}</bdi>'
                "</li>\n"
            )
        yield "</ul></details>\n"
        if rest > 0:
            yield f'<p class="quiet">And {rest:,} more; the JSON report has all.</p>\n'
    yield "</section>\n"


def _whose(facts: PageFacts, finding: Finding) -> str:
    if not finding.episode_id:
        return "the dataset"
    return _linked(facts, finding.episode_id)


def _linked(facts: PageFacts, episode_id: str) -> str:
    """The place of an episode, with a link to its row where there is one."""
    place, index = f"<bdi>{text(facts.place_of(episode_id), 120)}</bdi>", facts.numbers.get(episode_id)
    return f'<a href="#e{index}">{place}</a>' if index is not None and episode_id in facts.listed else place


def _card(facts: PageFacts, item: Shown, evidence: Evidence) -> Iterator[str]:
    finding = item.finding
    where = [_whose(facts, finding)]
    if finding.episode_id:
        where.append(f"<code>{text(finding.episode_id[:8])}</code>")
    where += [text(w) for w in (steps_in_words(finding),) if w]
    if finding.location != "/":
        where.append(f"<code>{text(finding.location, 200)}</code>")
    yield f'<article class="{finding.severity}" id="{item.anchor}"><p class="head">{" · ".join(where)}</p>\n'
    yield f'<p class="said"><bdi>{text(finding.message)}</bdi></p>\n'
    if finding.traceback:
        yield '<p class="quiet">The check crashed; the JSON report has its traceback.</p>\n'
    if finding.others:
        names = [_linked(facts, i) for i in finding.others[:MAX_OTHERS]]
        rest = len(finding.others) - len(names)
        yield f'<p class="quiet">with {", ".join(names)}{f" and {rest:,} more" if rest else ""}</p>\n'
    yield '<div class="evidence">'
    if evidence.drawing:
        yield f'<figure class="curves"><div class="scroll">{evidence.drawing}</div><figcaption>'
        shaded = "; shaded: the steps concerned" if evidence.shaded else ""
        yield f"{text(evidence.title, 120)}{shaded}{'; ' if evidence.note else ''}{text(evidence.note, 200)}"
        yield "</figcaption></figure>\n"
    elif evidence.note:
        yield f'<p class="quiet">{text(evidence.note, 300)}</p>\n'
    yield "".join(_picture(p) for p in evidence.pictures)
    yield "</div></article>\n"


def _picture(picture: Picture) -> str:
    caption = text(picture.caption, 260)
    if not picture.jpeg:
        return f'<p class="none quiet">{caption}</p>'
    data = base64.b64encode(picture.jpeg).decode()
    factor = max(1, round(SHOWN_HEIGHT / max(picture.height, SHOWN_HEIGHT / 3)))
    return (
        f'<figure class="frame"><img src="data:image/jpeg;base64,{data}" alt="{caption}" '
        f'width="{factor * picture.width}" height="{factor * picture.height}">'
        f"<figcaption>{caption}</figcaption></figure>\n"
    )


def _dataset(facts: PageFacts) -> Iterator[str]:
    entries = facts.entries
    if not entries:
        return
    yield '<h2 id="dataset">The dataset</h2>\n'
    if facts.summary.episodes and len(entries) > 1:
        errors, warnings = np.zeros(len(entries), bool), np.zeros(len(entries), bool)
        for episode_id, found in facts.summary.episodes.items():
            index = facts.numbers.get(episode_id)
            if index is not None:
                errors[index], warnings[index] = found.errors > 0, found.warnings > 0 and not found.errors
        if errors.any() or warnings.any():
            words = f"{_badge(Severity.ERROR)}, and with {_badge(Severity.WARNING)} only, along the dataset"
            yield f'<p>Share of episodes with {words}</p><div class="scroll">{strip(errors, warnings)}</div>\n'
    seconds = np.array([e.duration_s for e in entries])
    steps = np.array([e.num_steps for e in entries], dtype=np.float64)
    yield '<div class="charts"><div><p>Duration: '
    yield f"{number(float(seconds.min()))} to {number(float(seconds.max()))} s, "
    yield f"median {number(float(np.median(seconds)))} s</p>{histogram(seconds, 'seconds')}</div>\n"
    yield f"<div><p>Length: {int(steps.min()):,} to {int(steps.max()):,} steps, "
    yield f"median {number(float(np.median(steps)))}</p>{histogram(steps, 'steps')}</div>\n"
    yield _top("Outcome", [e.outcome for e in entries], "no outcome")
    yield _top("Instruction", [e.instruction for e in entries], "no instruction")
    if len({e.split for e in entries}) > 1:
        yield _top("Split", [e.split for e in entries], "no split")
    if len({e.embodiment for e in entries}) > 1:
        yield _top("Embodiment", [e.embodiment for e in entries], "none")
    yield "</div>\n"


def _top(title: str, values: Sequence[str], absent: str) -> str:
    """The most frequent texts, with bars."""
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    most = sorted(counts.items(), key=lambda c: (-c[1], c[0]))
    rows = "".join(
        f'<tr><td class="n">{n:,}</td><td>{bar(n / len(values))}</td><td class="wide">'
        + (f"<bdi>{text(value, 160)}</bdi>" if value else f'<span class="quiet">{absent}</span>')
        + "</td></tr>\n"
        for value, n in most[:MAX_TOP]
    )
    rest = f'<p class="quiet">and {len(most) - MAX_TOP:,} others</p>' if len(most) > MAX_TOP else ""
    return f"<div><p>{title}</p><table><tbody>{rows}</tbody></table>{rest}</div>\n"
