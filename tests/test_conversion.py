"""Units and placeholders: converted once, and said."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vladata.conversion import convert, lines_of
from vladata.embodiment import Dimension, Embodiment, Signal, StreamRule
from vladata.errors import SchemaError, SourceError
from vladata.mapping import Mapping, RecordedUnit, StreamMapping
from vladata.recording import Recording, Stream
from vladata.units import Clock, Kind, Mode, Unit


def robot(*, unit=Unit.RADIAN, kind=Kind.JOINT_POSITION, required=True, mode=None):
    dimensions = (
        Dimension(name="a", kind=kind, unit=unit, mode=mode),
        Dimension(name="b", kind=kind, unit=unit, mode=mode),
        Dimension(name="gripper", kind=Kind.GRIPPER_APERTURE, unit=Unit.METRE, mode=mode),
    )
    signals = (Signal(name="state", dimensions=dimensions),)
    return Embodiment(
        name="robot",
        rate_hz=10,
        proprioception=() if mode else signals,
        action=signals if mode else (),
        streams={"state": StreamRule(required=required)},
    )


def recorded(values):
    values = np.asarray(values)
    stream = Stream(name="state", clock=Clock.UNIX, time_ns=np.arange(len(values), dtype=np.int64), values=values)
    return Recording(
        recording_id="r" * 64, source="mcap", place="demo", files=(), streams={"state": stream}, is_stepped=False
    )


def mapped(**changes):
    return Mapping(source="mcap", streams={"state": StreamMapping.model_validate({"from": "/state", **changes})})


def test_each_dimension_is_converted_by_its_own_unit_and_the_provenance_undoes_it():
    values = np.array([[0, 90, 0], [2048, -45, 100], [4096, 180, 50]], dtype=np.int32)
    units = {
        "a": {"ticks_per_turn": 4096, "zero": 2048},
        "b": "deg",
        "gripper": {"from": [0, 100], "to": [0, 0.07]},
    }
    done = convert(recorded(values), robot(), mapped(units=units))
    stream = done.recording.streams["state"]
    np.testing.assert_allclose(
        stream.values,
        [[-math.pi, math.pi / 2, 0], [0, -math.pi / 4, 0.07], [math.pi, math.pi, 0.035]],
        rtol=0,
        atol=1e-12,
    )
    lines = done.as_json()["state"]
    back = [(stream.values[:, i] - lines[n]["offset"]) / lines[n]["scale"] for i, n in enumerate(lines)]
    np.testing.assert_allclose(np.stack(back, axis=1), values, atol=1e-9)
    assert [n for n in done.recording.notes if "converted from deg" in n] == [
        "state: b converted from deg (· 0.0174532925)"
    ]


def test_values_in_the_schemas_units_stay_as_they_are():
    made = recorded(np.ones((3, 3), dtype=np.float32))
    done = convert(made, robot(), mapped())
    assert done.recording.streams["state"] is made.streams["state"]
    assert done.lines == {}
    assert done.recording.notes == ()


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.sampled_from([1.0, -1.0, 100.0, 1e-3]))
def test_both_ends_of_a_range_arrive_where_declared(start, end, width):
    unit = RecordedUnit.model_validate({"from": [0.5, 0.5 + width], "to": [start, end]})
    signal = robot(unit=Unit.ONE).signals[0]
    line = lines_of(signal, StreamMapping.model_validate({"from": "x", "units": {"a": unit}}))["a"]
    for recorded_value, wanted in ((0.5, start), (0.5 + width, end)):
        assert recorded_value * line.scale + line.offset == pytest.approx(wanted, abs=1e-6 + 1e-9 * abs(end - start))


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ("deg", "units of state.gripper are deg, which become rad; the schema has m"),
        ({"gripper": {"ticks_per_turn": 4096}}, "state.gripper are ticks, which become rad; the schema has m"),
    ],
)
def test_a_unit_that_does_not_lead_to_the_schemas_is_an_error(units, message):
    with pytest.raises(SchemaError, match=message):
        convert(recorded(np.zeros((2, 3))), robot(), mapped(units=units))


def test_a_delta_gets_no_offset():
    units = {"a": {"from": [0, 1], "to": [-0.05, 0.05]}}
    with pytest.raises(SchemaError, match=r"put recorded 0 at -0.05; of a delta 0 must stay 0"):
        convert(recorded(np.zeros((2, 3))), robot(mode=Mode.DELTA), mapped(units=units))
    units = {"a": {"from": [-1, 1], "to": [-0.05, 0.05]}}
    done = convert(recorded(np.ones((2, 3))), robot(mode=Mode.DELTA), mapped(units=units))
    assert done.recording.streams["state"].values[0].tolist() == [0.05, 1, 1]


def test_rows_of_a_declared_placeholder_become_nan_and_are_counted():
    values = np.array([[1, 2, 3], [-1, -1, -1], [-1, 2, -1]], dtype=np.int32)
    done = convert(recorded(values), robot(), mapped(placeholder=-1.0))
    stream = done.recording.streams["state"].values
    np.testing.assert_array_equal(stream, [[1, 2, 3], [np.nan] * 3, [-1, 2, -1]])
    assert done.recording.notes == ("state: 1 of 3 rows are the placeholder; they are NaN",)


def test_an_arm_that_was_never_connected_is_left_out_or_refused():
    made = recorded(np.full((20, 3), -1, dtype=np.int32))
    with pytest.raises(SourceError, match="state is the placeholder -1 in every row: it was not connected; robot req"):
        convert(made, robot(), mapped(placeholder=-1.0))
    done = convert(made, robot(required=False), mapped(placeholder=-1.0))
    assert done.recording.streams == {}
    assert "it was not connected; left out" in done.recording.notes[0]


def test_what_looks_like_a_placeholder_is_named_and_left_as_it_is():
    made = recorded(np.full((20, 3), -1.0))
    done = convert(made, robot(), mapped())
    assert done.recording.streams["state"] is made.streams["state"]
    assert "elements 0, 1, 2 are -1 in all 20 rows" in done.recording.notes[0]
    moving = recorded(np.where(np.arange(3) == 2, -1.0, np.arange(20)[:, None]))
    assert convert(moving, robot(), mapped()).recording.notes == ()


def test_cameras_pass_and_unmapped_names_are_ignored():
    made = recorded(np.zeros((2, 3)))
    made = dataclasses.replace(made, streams={**made.streams, "extra": made.streams["state"]})
    assert set(convert(made, robot(), mapped()).recording.streams) == {"state", "extra"}
