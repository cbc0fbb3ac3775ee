import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vladata.checks import run_checks, selected_names
from vladata.errors import SchemaError
from vladata.finding import Finding, Report, Severity
from vladata.report.as_json import from_json, json_schema, to_json
from vladata.testing.builders import build_episode

SCHEMA_FILE = Path(__file__).resolve().parent.parent.parent / "docs" / "report.schema.json"

NEWER = {"dimensions", "frames", "known", "thresholds"}
"""Keys that the first release of the schema did not have."""

findings = st.builds(
    Finding,
    message=st.text(max_size=30),
    location=st.text(max_size=10),
    steps=st.none() | st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)),
    check=st.text(max_size=10),
    severity=st.sampled_from(Severity),
    episode_id=st.text(max_size=5),
    others=st.lists(st.text(max_size=5), max_size=3).map(tuple),
    magnitude=st.floats(allow_nan=False, allow_infinity=False),
    traceback=st.text(max_size=10),
    dimensions=st.lists(st.text(max_size=5), max_size=3).map(tuple),
    frames=st.lists(st.integers(0, 10**6), max_size=3).map(tuple),
    is_known=st.booleans(),
)
reports = st.builds(
    Report,
    findings=st.lists(findings, max_size=4).map(tuple),
    episodes=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
    checks=st.lists(st.text(max_size=5), max_size=3).map(tuple),
    thresholds=st.dictionaries(
        st.text(max_size=5),
        st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)),
        max_size=2,
    ),
)


@given(reports)
def test_what_is_written_can_be_read_back(report):
    text = to_json(report)
    assert from_json(text) == report
    assert to_json(from_json(text)) == text
    assert text.isascii()
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True)


def test_a_report_of_an_older_release_can_be_read():
    new = dataclasses.replace(made(), findings=tuple(made().findings))
    value = json.loads(to_json(new))
    del value["thresholds"], value["counts"]["known"]
    for finding in value["findings"]:
        del finding["dimensions"], finding["frames"], finding["known"]
    old = from_json(json.dumps(value))
    assert [f.message for f in old.findings] == [f.message for f in new.findings]
    assert old.thresholds == {}


def test_what_a_baseline_knows_is_told_and_not_counted():
    report = made()
    known = dataclasses.replace(report, findings=tuple(dataclasses.replace(f, is_known=True) for f in report.findings))
    value = json.loads(to_json(known))
    assert value["counts"] == {"error": 0, "warning": 0, "info": 0, "known": len(report.findings)}
    assert all(f["known"] for f in value["findings"])


@pytest.mark.parametrize(("magnitude", "written"), [(float("inf"), 1.7976931348623157e308), (float("nan"), 0.0)])
def test_magnitudes_that_json_does_not_have(magnitude, written):
    (finding,) = from_json(to_json(Report(findings=(Finding(message="a", magnitude=magnitude),)))).findings
    assert finding.magnitude == written


def test_file_names_that_are_not_utf8_become_question_marks():
    report = Report(findings=(Finding(message="a\udcff.h5 is damaged", traceback="in b\udc80"),))
    (finding,) = from_json(to_json(report)).findings
    assert (finding.message, finding.traceback) == ("a?.h5 is damaged", "in b?")


def made():
    episode = build_episode(outcomes=(), values={"arm": lambda v: v + 9.0})
    return Report(
        findings=tuple(run_checks(episode)),
        episodes={episode.episode_id: episode.content_digest},
        checks=tuple(selected_names()),
    )


def test_a_report_is_bound_to_the_content_that_was_judged():
    value = json.loads(to_json(made()))
    episode = build_episode(outcomes=(), values={"arm": lambda v: v + 9.0})
    assert value["schema_version"] == 1
    assert value["episodes"] == [{"episode_id": episode.episode_id, "content_digest": episode.content_digest}]
    assert value["counts"] == {"error": 4, "warning": 0, "info": 1, "known": 0}
    assert value["checks"] == selected_names()
    assert value["findings"][0]["check"] == "labels.outcome"
    assert value["findings"][1]["location"] == "/streams/arm/values"


def test_equal_reports_give_equal_text():
    assert to_json(made()) == to_json(made())


def test_every_key_is_in_the_schema():
    def compare(value, schema):
        schema = defs[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
        if isinstance(value, dict):
            if "properties" not in schema:
                return
            assert sorted(value) == sorted(schema["properties"])
            assert set(schema["properties"]) - set(schema["required"]) <= NEWER
            assert schema["additionalProperties"] is False
            for key, item in value.items():
                compare(item, schema["properties"][key])
        elif isinstance(value, list) and "items" in schema:
            for item in value:
                compare(item, schema["items"])

    schema = json_schema()
    defs = schema["$defs"]
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    compare(json.loads(to_json(made())), schema)


def test_the_published_schema_is_the_one_in_use():
    published = json.loads(SCHEMA_FILE.read_text())
    assert published == json_schema()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not a report: "),
        ("[]", "report: "),
        ("{}", "field required"),
        (to_json(Report(findings=())).replace('"schema_version": 1', '"schema_version": 2'), "schema_version"),
    ],
)
def test_what_is_no_report_is_refused(text, reason):
    with pytest.raises(SchemaError, match=reason):
        from_json(text)
