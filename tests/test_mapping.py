"""Schema files and mappings."""

import json

import pytest
import yaml

from vladata.errors import SchemaError
from vladata.mapping import Mapping, SchemaFile, StepClock, load_mapping, load_schema, schema_names

ARM = """
name: arm
rate_hz: 10
proprioception:
  - {name: state, dimensions: [{name: j0, kind: joint_position, unit: rad}]}
cameras:
  - {name: front, height: 48, width: 64}
streams:
  front: {required: false}
"""
MAPPINGS = """
mappings:
  mcap:
    source: mcap
    streams:
      state: {from: /joint_states, field: position}
      front: {from: /front, offset_ns: -37000000}
"""


@pytest.fixture
def schema(tmp_path):
    def load(text):
        path = tmp_path / "arm.yaml"
        path.write_text(text)
        return load_schema(path)

    return load


def test_a_schema_has_an_embodiment_and_mappings(schema):
    loaded = schema(ARM + MAPPINGS)
    mapping = loaded.mapping_for("mcap")
    assert mapping.streams["state"].source == "/joint_states"
    assert mapping.streams["front"].offset_ns == -37_000_000
    assert mapping.streams["front"].sync == "hold"
    assert mapping.step_clock == StepClock()
    assert loaded.mapping_for("rlds") is None
    assert not hasattr(loaded.embodiment, "mappings")


def test_mappings_do_not_count_in_the_embodiment_s_digest(schema):
    assert schema(ARM).embodiment.digest == schema(ARM + MAPPINGS).embodiment.digest


def test_equal_mappings_have_equal_digests(schema):
    first = schema(ARM + MAPPINGS).mapping_for("mcap")
    again = schema(ARM + MAPPINGS.replace("field: position", "field: position, sync: hold")).mapping_for("mcap")
    other = schema(ARM + MAPPINGS.replace("-37000000", "-36000000")).mapping_for("mcap")
    assert first.digest == again.digest != other.digest


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("source: mcap", "source: rlds", "mappings.mcap: source is 'rlds'; it must be 'mcap', as its key"),
        ("state: {", "stat: {", "mappings.mcap: streams.stat is not in arm; it has state, front"),
        ("      state: {from: /joint_states, field: position}\n", "", "nothing feeds state of arm; map them, or set"),
        ("from: /front", "topic: /front", "mappings.mcap.streams.front"),
        ("from: /front", "from: ''", "mappings.mcap.streams.front.from"),
        ("offset_ns: -37000000", "offset_ns: 0.037", "offset_ns: input should be a valid integer"),
        ("offset_ns: -37000000", "sync: cubic", "sync: input should be 'hold', 'nearest', 'linear' or 'slerp'"),
        (
            "source: mcap",
            "source: mcap\n    step_clock: {stream: wrist}",
            "step_clock.stream is 'wrist'; it must be one of",
        ),
        (
            "source: mcap",
            "source: mcap\n    on_backward_time: sort",
            "on_backward_time: input should be 'error' or 'split'",
        ),
    ],
)
def test_a_mapping_that_does_not_fit_is_named_with_its_key(schema, old, new, message):
    assert old in MAPPINGS
    with pytest.raises(SchemaError) as caught:
        schema(ARM + MAPPINGS.replace(old, new))
    assert str(caught.value).startswith("arm.yaml: ")
    assert message in str(caught.value)


def test_a_stream_that_is_not_required_needs_no_mapping(schema):
    text = MAPPINGS.replace("      front: {from: /front, offset_ns: -37000000}\n", "")
    assert list(schema(ARM + text).mapping_for("mcap").streams) == ["state"]


def test_schemas_are_loaded_by_name_and_by_path(tmp_path):
    assert load_schema("sample_arm").name == "sample_arm"
    with pytest.raises(SchemaError, match="no schema named 'sample'; there are sample_arm, unitree"):
        load_schema("sample")
    with pytest.raises(SchemaError, match="no such schema file"):
        load_schema(tmp_path / "nosuch.yaml")
    with pytest.raises(SchemaError, match="no schema named"):
        load_schema("../schemas/sample_arm")


@pytest.mark.parametrize("name", schema_names())
def test_shipped_schemas_load_and_go_through_json(name):
    loaded = load_schema(name)
    plain = json.loads(loaded.model_dump_json(by_alias=True, exclude_defaults=True))
    assert SchemaFile.model_validate(plain) == loaded
    assert loaded.mappings


def test_a_mapping_file_goes_with_an_embodiment(schema, tmp_path):
    arm = schema(ARM).embodiment
    path = tmp_path / "mapping.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(MAPPINGS)["mappings"]["mcap"]))
    mapping = load_mapping(path, arm)
    assert isinstance(mapping, Mapping)
    assert mapping == schema(ARM + MAPPINGS).mapping_for("mcap")
    path.write_text("source: mcap\nstreams: {wrist: {from: /wrist}}\n")
    with pytest.raises(SchemaError, match=r"mapping.yaml: streams\.wrist is not in arm"):
        load_mapping(path, arm)
    with pytest.raises(SchemaError, match="no such mapping file"):
        load_mapping(tmp_path / "nosuch.yaml", arm)


def test_the_json_schema_accepts_what_is_shipped_and_names_every_key():
    schema = SchemaFile.model_json_schema(by_alias=True)
    stream = schema["$defs"]["StreamMapping"]["properties"]
    assert "from" in stream
    assert {"field", "names", "join", "select", "clock", "sync", "offset_ns"} <= set(stream)
