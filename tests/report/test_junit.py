import io
import re

import pytest
from defusedxml.ElementTree import fromstring
from hypothesis import given
from hypothesis import strategies as st

from vladata.checks import selected_names
from vladata.finding import Finding, Report, Severity
from vladata.report.junit import write_junit

IDS = [f"{i:032x}" for i in range(40)]
PLACES = {i: f"train#{k:05d}" for k, i in enumerate(IDS)}
ALLOWED = {
    "testsuites": {"name", "tests", "failures", "errors", "skipped"},
    "testsuite": {"name", "tests", "failures", "errors", "skipped"},
    "testcase": {"classname", "name"},
    "failure": {"type", "message"},
    "skipped": {"message"},
    "system-out": set(),
}
"""What Jenkins, GitLab and the reporters of GitHub actions all know."""
CHILDREN = {
    "testsuites": ["testsuite"],
    "testsuite": ["testcase"],
    "testcase": ["failure", "skipped", "system-out"],
    "failure": [],
    "skipped": [],
    "system-out": [],
}


def finding(episode=0, check="values.limits", severity=Severity.ERROR, **more):
    more.setdefault("message", "arm.joint_1 is 3 rad; the schema allows -1 to 1 rad")
    episode_id = "" if episode is None else IDS[episode]
    return Finding(check=check, severity=severity, episode_id=episode_id, **more)


def report(*findings, episodes=3, checks=("labels.outcome", "values.finite", "values.limits")):
    return Report(findings=findings, episodes=dict.fromkeys(IDS[:episodes], "d" * 64), checks=tuple(checks))


def written(made, fail_on=Severity.ERROR, places=PLACES):
    file = io.StringIO()
    write_junit(made, places, file, fail_on)
    return file.getvalue()


def parsed(made, fail_on=Severity.ERROR, places=PLACES):
    """The tree, after every element was compared with what systems read."""
    root = fromstring(written(made, fail_on, places).encode())
    for element in root.iter():
        assert set(element.attrib) <= ALLOWED[element.tag]
        names = [child.tag for child in element]
        assert set(names) <= set(CHILDREN[element.tag])
        if element.tag == "testcase":
            assert names == sorted(set(names), key=CHILDREN["testcase"].index)
            assert not {"failure", "skipped"} <= set(names)
        if element.tag in {"testsuites", "testsuite"}:
            cases = list(element.iter("testcase"))
            assert int(element.attrib["tests"]) == len(cases)
            assert int(element.attrib["failures"]) == sum(c.find("failure") is not None for c in cases)
            assert int(element.attrib["skipped"]) == sum(c.find("skipped") is not None for c in cases)
            assert element.attrib["errors"] == "0"
    keys = [(c.attrib["classname"], c.attrib["name"]) for c in root.iter("testcase")]
    assert len(keys) == len(set(keys))
    return root


def test_the_report_as_a_whole():
    made = report(
        finding(0, steps=(4, 5)),
        finding(0, steps=(7, 9), message="gripper is 2"),
        finding(1, "labels.outcome", Severity.INFO, message="no <outcome>", location="/outcomes"),
    )
    assert (
        written(made)
        == """\
<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="vladata validate" tests="3" failures="1" errors="0" skipped="0">
  <testsuite name="labels.outcome" tests="1" failures="0" errors="0" skipped="0">
    <testcase classname="labels.outcome" name="train#00001 (00000000)">
      <system-out>info: no &lt;outcome&gt; (/outcomes)</system-out>
    </testcase>
  </testsuite>
  <testsuite name="values.finite" tests="1" failures="0" errors="0" skipped="0">
    <testcase classname="values.finite" name="Values are neither NaN nor infinite."/>
  </testsuite>
  <testsuite name="values.limits" tests="1" failures="1" errors="0" skipped="0">
    <testcase classname="values.limits" name="train#00000 (00000000)">
      <failure type="error" message="arm.joint_1 is 3 rad; the schema allows -1 to 1 rad">\
error [step 4]: arm.joint_1 is 3 rad; the schema allows -1 to 1 rad (/)
error [steps 7 to 8]: gripper is 2 (/)</failure>
    </testcase>
  </testsuite>
</testsuites>
"""
    )


@pytest.mark.parametrize(
    ("fail_on", "failures"),
    [(None, 0), (Severity.ERROR, 1), (Severity.WARNING, 2), (Severity.INFO, 3)],
)
def test_the_severity_decides_what_fails(fail_on, failures):
    made = report(finding(0), finding(1, severity=Severity.WARNING), finding(2, severity=Severity.INFO))
    assert parsed(made, fail_on).attrib["failures"] == str(failures)


def test_findings_below_the_severity_stand_beside_the_failure():
    made = report(finding(0), finding(0, severity=Severity.INFO, message="a note"))
    (case,) = parsed(made, Severity.ERROR).findall("testsuite[@name='values.limits']/testcase")
    assert [c.tag for c in case] == ["failure", "system-out"]
    assert case[1].text == "info: a note (/)"


def test_what_a_baseline_knows_is_skipped_and_never_fails():
    root = parsed(report(finding(0, is_known=True), finding(1), finding(1, is_known=True)))
    known, new = root.findall("testsuite[@name='values.limits']/testcase")
    assert [c.tag for c in known] == ["skipped", "system-out"]
    assert known[1].text.startswith("error, known by the baseline: arm")
    assert [c.tag for c in new] == ["failure", "system-out"]


def test_without_recorded_time_no_timing_check_passes():
    blind = [finding(i, "timing.not_measured", Severity.INFO, message="no time") for i in range(3)]
    root = parsed(report(*blind, checks=selected_names()))
    (gaps,) = root.findall("testsuite[@name='timing.gaps']/testcase")
    assert [c.tag for c in gaps] == ["skipped"]
    (finite,) = root.findall("testsuite[@name='values.finite']/testcase")
    assert list(finite) == []


def test_episodes_come_in_the_datasets_order_and_the_dataset_last():
    made = report(finding(None, message="equal", others=(IDS[0], IDS[1])), finding(2), finding(1), finding(2))
    cases = parsed(made).findall("testsuite[@name='values.limits']/testcase")
    assert [c.attrib["name"][:11] for c in cases] == ["train#00001", "train#00002", "the dataset"]


def test_checks_of_others_and_episodes_of_unknown_place():
    root = parsed(report(finding(5, "acme.rule", traceback="Traceback\n  boom"), checks=("acme.other",)), places={})
    assert [s.attrib["name"] for s in root] == ["acme.other", "acme.rule"]
    assert root[0][0].attrib["name"] == "acme.other"
    assert root[1][0].attrib["name"] == IDS[5]
    assert root[1][0][0].text.endswith("\nTraceback\n  boom")


@given(st.text(), st.text())
def test_any_text_makes_a_document(message, place):
    made = report(finding(0, message=message), finding(1, severity=Severity.INFO, message=message, traceback=place))
    root = parsed(made, places={IDS[0]: place, IDS[1]: f"{place}1"})
    assert len(root.findall("testsuite/testcase/failure")) == 1


def test_hostile_text_stays_text():
    evil = "]]><script>&amp;\x00\x1b[2J\ufffe\ud800\u202e'\""
    made = report(finding(0, message=evil, location="/streams/<a>"))
    text = written(made, places={IDS[0]: evil})
    assert "<script" not in text
    assert not re.search("[\x00-\x08\x1b\ufffe\ud800\u202e]", text)
    case = parsed(made, places={IDS[0]: evil}).find("testsuite[@name='values.limits']/testcase")
    assert case.attrib["name"].startswith("]]><script>&amp;'\"")


def test_an_empty_report():
    assert parsed(Report(findings=())).attrib["tests"] == "0"
