"""Every check has a page, and the pages say what the checks are."""

import re
from pathlib import Path

import pytest

from vladata.checks import check_names, find_check

DOCS = Path(__file__).resolve().parent.parent.parent / "docs" / "checks"
SECTIONS = ["## Why", "## How it is computed", "## Threshold", "## What to do"]


def test_there_is_one_page_for_each_check_and_no_other():
    assert sorted(p.stem for p in DOCS.glob("*.*.md")) == check_names()


@pytest.mark.parametrize("name", check_names())
def test_the_page_of_a_check_says_what_it_is(name):
    text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    rule = find_check(name)
    assert text.startswith(f"# {name}\n\n{rule.summary} Severity: {rule.severity}.\n")
    assert re.findall(r"^## .*$", text, re.MULTILINE) == SECTIONS
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (DOCS / link).is_file()


def test_the_index_lists_every_check_with_its_severity_and_rule():
    text = (DOCS / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[(.+?)\]\((.+?)\) \| (\w+) \| (.+) \|$", text, re.MULTILINE)
    wanted = [(n, f"{n}.md", str(find_check(n).severity), find_check(n).summary) for n in check_names()]
    assert rows == wanted


@pytest.mark.parametrize("name", check_names())
def test_the_table_of_a_page_has_the_thresholds_with_their_defaults(name):
    text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    section = text.partition("## Threshold\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", section, re.MULTILINE)
    assert {n: float(d.replace(",", "")) for n, d in rows} == dict(find_check(name).thresholds)
    assert [n for n, _ in rows] == list(find_check(name).thresholds)
    has_table = section.lstrip().startswith("| threshold | default | unit, meaning | where it comes from |")
    assert has_table == bool(rows)
