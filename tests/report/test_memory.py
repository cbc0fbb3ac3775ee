"""Reports of findings that lie on a disk: they are gone through, never collected."""

import io
import weakref
from collections.abc import Sequence

import pytest

from vladata.finding import Finding, Report, Severity
from vladata.report.as_json import write_json
from vladata.report.html import MAX_LINES, write_html
from vladata.report.junit import write_junit
from vladata.report.terminal import render
from vladata.store.dataset import Dataset, write_index

NUM_EPISODES, EACH = 1000, 6
IDS = [f"{i:032x}" for i in range(NUM_EPISODES)]


class Told(Finding):
    """A finding that can be counted while it lives."""

    __slots__ = ("__weakref__",)


class OnDisk(Sequence):
    """Makes findings anew whenever they are asked for, and counts how many live at once."""

    def __init__(self):
        self.live, self.most = 0, 0

    def __len__(self):
        return NUM_EPISODES * EACH

    def __getitem__(self, index):
        if not isinstance(index, int) or not 0 <= index < len(self):
            raise IndexError(index)
        episode, k = divmod(index, EACH)
        made = Told(
            message=f"arm is {index} rad; must be less",
            check=f"topic.rule_{(episode + k) % 20}",
            severity=list(Severity)[(episode + k) % 3],
            episode_id=IDS[episode],
            magnitude=float(index % 97),
            location="/streams/arm/values",
        )
        self.live += 1
        self.most = max(self.most, self.live)
        weakref.finalize(made, self._gone)
        return made

    def _gone(self):
        self.live -= 1

    def __iter__(self):
        return (self[i] for i in range(len(self)))


class Counts(io.TextIOBase):
    """Takes text and keeps its length."""

    size = 0

    def write(self, text):
        self.size += len(text)
        return len(text)


@pytest.fixture
def report():
    checks = tuple(sorted(f"topic.rule_{k}" for k in range(20)))
    return Report(findings=OnDisk(), episodes=dict.fromkeys(IDS, "d" * 64), checks=checks)


def test_the_terminal_keeps_the_worst_of_each_check(report):
    assert "topic.rule_7" in render(report, {})
    assert report.findings.most < 30


def test_json_keeps_none(report):
    file = Counts()
    write_json(report, file)
    assert file.size > 1_000_000
    assert report.findings.most < 4


def test_the_page_keeps_the_worst_of_each_check(report, tmp_path):
    write_index(tmp_path, [])
    write_html(report, Dataset.open(tmp_path), tmp_path / "page.html", num_workers=0)
    assert "topic.rule_7" in (tmp_path / "page.html").read_text()
    assert report.findings.most < 20 * MAX_LINES + 30


def test_junit_keeps_none(report):
    file = Counts()
    write_junit(report, {}, file, Severity.WARNING)
    assert file.size > 600_000
    assert report.findings.most < 30
