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
)
reports = st.builds(
    Report,
    findings=st.lists(findings, max_size=4).map(tuple),
    episodes=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
    checks=st.lists(st.text(max_size=5), max_size=3).map(tuple),
)


@given(reports)
def test_what_is_written_can_be_read_back(report):
    text = to_json(report)
    assert from_json(text) == report
    assert to_json(from_json(text)) == text
    assert text.isascii()


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
    assert value["counts"] == {"error": 4, "warning": 0, "info": 1}
    assert value["checks"] == selected_names()
    assert value["findings"][0]["check"] == "labels.outcome"
    assert value["findings"][1]["location"] == "/streams/arm/values"


def test_equal_reports_give_equal_text():
    assert to_json(made()) == to_json(made())


def test_every_key_is_in_the_schema():
    def compare(value, schema):
        schema = defs[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
        if isinstance(value, dict):
            assert sorted(value) == sorted(schema["properties"]) == sorted(schema["required"])
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
    assert set(published["properties"]) == set(json_schema()["properties"])
    assert set(published["$defs"]) == set(json_schema()["$defs"])


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
