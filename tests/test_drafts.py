"""Drafts of mappings and schemas: accepted as they are, and usable on the recording that they came from."""

from pathlib import Path
from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vladata import plugins
from vladata.drafts import draft_mapping, draft_schema
from vladata.embodiment import Embodiment
from vladata.errors import SchemaError
from vladata.mapping import Mapping, SchemaFile, load_mapping, load_schema, schema_names
from vladata.recording import FrameStream, Stream
from vladata.sources import Inspection, Place, Request, Source, StreamInfo, mcap
from vladata.sync.align import synchronize
from vladata.units import Clock, Mode

START = 1_700_000_000_000_000_000


def inspection(*streams: StreamInfo, source: str = "rlds", rate_hz: float | None = 5.0) -> Inspection:
    return Inspection(
        source=source, places=(Place(name="train#0"),), looked_at="train#0", streams=streams, rate_hz=rate_hz
    )


def vector(name: str, size: int, *names: str, field: str | None = None, type: str = "Tensor") -> StreamInfo:  # noqa: A002
    return StreamInfo(name=name, field=field, type=type, count=50, shape=(size,), dtype="float32", element_names=names)


def picture(name: str, height: int = 256, width: int = 320, codec: str = "jpeg") -> StreamInfo:
    return StreamInfo(
        name=name, type="Image", count=50, shape=(height, width, 3), dtype="uint8", kind="image", codec=codec
    )


def timed(info: StreamInfo, clock: Clock, choice: str, start: int, period: int = 20_000_000) -> StreamInfo:
    time_ns = start + np.arange(info.count, dtype=np.int64) * period
    return StreamInfo(
        **{n: getattr(info, n) for n in StreamInfo.__slots__ if n not in {"clock", "clock_choice", "time_ns"}},
        clock=clock,
        clock_choice=choice,
        time_ns=time_ns,
    )


def schema_of(text: str, folder: Path) -> SchemaFile:
    path = folder / "draft.yaml"
    path.write_text(text, encoding="utf-8")
    return load_schema(path)


def mapping_of(text: str, embodiment: Embodiment, folder: Path) -> Mapping:
    path = folder / "mapping.yaml"
    path.write_text(text, encoding="utf-8")
    return load_mapping(path, embodiment)


BRIDGE = inspection(
    picture("steps/observation/image_0"),
    picture("steps/observation/image_1"),
    vector("steps/observation/state", 7),
    vector("steps/action", 7),
    vector("steps/reward", 1),
    vector("steps/discount", 1),
    vector("steps/is_last", 1),
    StreamInfo(name="steps/language_instruction", type="Text", count=50, kind="text"),
)

LEROBOT = inspection(
    picture("observation.images.cam_high", 480, 640, "av1"),
    vector("observation.state", 3, "kLeft Arm", "kRight Arm", "kWaist"),
    vector("action", 3, "kLeft Arm", "kRight Arm", "kWaist"),
    vector("timestamp", 1),
    vector("frame_index", 1),
    vector("task_index", 1),
    source="lerobot_v2",
    rate_hz=30.0,
)


def test_sample_recording_can_be_ingested_with_the_schema_drafted_from_it(
    sample_recordings: Path, tmp_path: Path
) -> None:
    path = sample_recordings / "demo_000.mcap"
    found = mcap.inspect(path)
    schema = schema_of(draft_schema(found, "my_robot"), tmp_path)
    separate = mapping_of(draft_mapping(found, schema.embodiment), schema.embodiment, tmp_path)
    inside = schema.mapping_for("mcap")
    assert inside is not None
    for mapping in (inside, separate):
        reading = mcap.read(path, mcap.places(path)[0], Request(embodiment=schema.embodiment, mapping=mapping))
        recording = next(reading)
        assert set(recording.streams) == set(schema.embodiment.stream_names)
        assert recording.instructions[0].text == "put the red cube into the blue bin"
        assert recording.outcomes[0].kind == "success"
        steps = synchronize(recording, schema.embodiment, mapping).steps
        assert len(steps) > 200
        assert all(v.any() for v in steps.valid.values())
        assert next(reading, None) is None
    assert [s.name for s in schema.action] == ["joint_commands"]
    assert [c.name for c in schema.cameras] == ["front", "wrist"]
    position = schema.signal("joint_states_position")
    assert position.names == (*(f"joint{i}" for i in range(1, 7)), "gripper")
    assert all(d.limits is None for s in schema.signals for d in s.dimensions)


def test_mapping_drafted_for_the_sample_schema_is_its_own_but_for_the_offset(
    sample_recordings: Path, tmp_path: Path
) -> None:
    schema = load_schema("sample_arm")
    own = schema.mapping_for("mcap")
    assert own is not None
    text = draft_mapping(mcap.inspect(sample_recordings / "demo_000.mcap"), schema.embodiment)
    drafted = mapping_of(text, schema.embodiment, tmp_path)
    assert {n: (s.source, s.field) for n, s in drafted.streams.items()} == {
        n: (s.source, s.field) for n, s in own.streams.items()
    }
    assert (drafted.instruction, drafted.subtask, drafted.outcome) == (own.instruction, own.subtask, own.outcome)
    assert "# front: header ahead of log by 1" in text
    assert "# joint_command: unsure: joined by order; it has no names" in text


def test_sample_schema_fits_all_sample_recordings(sample_recordings: Path) -> None:
    schema = load_schema("sample_arm")
    mapping = schema.mapping_for("mcap")
    assert mapping is not None
    for path in sorted(sample_recordings.glob("*.mcap")):
        reading = mcap.read(path, mcap.places(path)[0], Request(embodiment=schema.embodiment, mapping=mapping))
        recording = next(reading)
        for signal in schema.signals:
            stream = recording.streams[signal.name]
            assert isinstance(stream, Stream)
            limits = np.array([d.limits or (-np.inf, np.inf) for d in signal.dimensions])
            values = stream.values.astype(np.float64)
            assert (values >= limits[:, 0] - 0.01).all()
            assert (values <= limits[:, 1] + 0.01).all()
        for camera in schema.cameras:
            frames = recording.streams[camera.name]
            assert isinstance(frames, FrameStream)
            assert (frames.height, frames.width) == (camera.height, camera.width)
        assert len(synchronize(recording, schema.embodiment, mapping).steps) > 40
        assert next(reading, None) is None


def test_rows_become_signals_without_bookkeeping(tmp_path: Path) -> None:
    schema = schema_of(draft_schema(BRIDGE, "my_robot"), tmp_path)
    assert schema.rate_hz == 5
    assert [s.name for s in schema.proprioception] == ["state"]
    assert [s.name for s in schema.action] == ["action"]
    assert {d.mode for d in schema.action[0].dimensions} == {Mode.ABSOLUTE}
    assert [c.name for c in schema.cameras] == ["image_0", "image_1"]
    mapping = schema.mapping_for("rlds")
    assert mapping is not None
    assert mapping.streams["image_1"].source == "steps/observation/image_1"
    assert mapping.instruction is not None
    assert mapping.instruction.source == "steps/language_instruction"
    assert mapping.outcome is None


def test_names_that_no_schema_can_have_are_mapped_to_those_of_the_recording(tmp_path: Path) -> None:
    schema = schema_of(draft_schema(LEROBOT, "g1"), tmp_path)
    assert schema.signal("state").names == ("kLeft_Arm", "kRight_Arm", "kWaist")
    mapping = schema.mapping_for("lerobot_v2")
    assert mapping is not None
    assert mapping.streams["state"].names == ("kLeft Arm", "kRight Arm", "kWaist")
    assert mapping.streams["action"].join == "auto"
    assert mapping.instruction is not None
    assert mapping.instruction.source == "task_index"


@pytest.mark.parametrize(
    ("source", "folder", "schema_name"),
    [
        ("rlds", "bridge_rlds_tfrecord", "widowx_bridge"),
        ("lerobot_v2", "g1_inspire_lerobot_v21", "unitree_g1_inspire"),
    ],
)
def test_real_datasets_can_be_read_with_the_drafts_made_from_them(
    shared_data: Path, tmp_path: Path, source: str, folder: str, schema_name: str
) -> None:
    if source not in plugins.names("sources") or schema_name not in schema_names():
        pytest.skip(f"{source} or {schema_name} is not there")
    module = cast(Source, plugins.load("sources", source))
    path = shared_data / folder
    found = module.inspect(path)
    schema = schema_of(draft_schema(found, "my_robot"), tmp_path)
    assert [s.name for s in schema.signals] == ["state", "action"]
    mapping = schema.mapping_for(source)
    assert mapping is not None
    place = next(p for p in module.places(path) if p.name == found.looked_at)
    reading = module.read(path, place, Request(embodiment=schema.embodiment, mapping=mapping))
    recording = next(reading)
    assert set(recording.streams) == set(schema.stream_names)
    assert recording.instructions
    assert len(synchronize(recording, schema.embodiment, mapping).steps) >= 10
    shipped = load_schema(schema_name)
    own = shipped.mapping_for(source)
    assert own is not None
    drafted = mapping_of(draft_mapping(found, shipped.embodiment), shipped.embodiment, tmp_path)
    assert {n: s.source for n, s in drafted.streams.items()} == {n: s.source for n, s in own.streams.items()}
    assert drafted.instruction == own.instruction


def test_action_is_never_fed_by_a_state(tmp_path: Path) -> None:
    only_state = inspection(vector("observation/state", 7))
    schema = schema_of(draft_schema(BRIDGE, "x"), tmp_path)
    text = draft_mapping(only_state, schema.embodiment)
    assert "# action: {from: ?}   # no command of 7 numbers left; there are: observation/state [7]" in text
    assert "  state: {from: observation/state, join: index}" in text
    with pytest.raises(SchemaError, match="nothing feeds action"):
        mapping_of(text, schema.embodiment, tmp_path)


def test_camera_of_another_size_is_not_guessed(tmp_path: Path) -> None:
    schema = schema_of(draft_schema(BRIDGE, "x"), tmp_path)
    text = draft_mapping(inspection(picture("image_0", 480, 640)), schema.embodiment)
    assert "# image_0: {from: ?}   # no image of 256x320 left; there are: image_0 480x640" in text


def test_recording_with_nothing_to_map_still_gives_a_draft(tmp_path: Path) -> None:
    nothing = inspection(StreamInfo(name="/log", type="protobuf", count=3, kind="other", problems=("not decodable",)))
    schema = schema_of(draft_schema(nothing, "x"), tmp_path)
    assert schema.stream_names == ()
    assert "not decodable" in draft_schema(nothing, "x")
    assert mapping_of(draft_mapping(nothing, None), schema.embodiment, tmp_path).streams == {}


def test_one_shot_topics_and_noise_are_left_out_with_a_word(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "rerun_mcap_samples" / "rosbag2_2025_09_10-13_03_56_0.mcap"
    text = draft_schema(mcap.inspect(path), "x")
    schema = schema_of(text, tmp_path)
    assert schema.stream_names == ("joint_state_position", "joint_state_velocity", "joint_state_effort")
    assert (
        "#   /imu (sensor_msgs/msg/Imu, 1 sample; header behind log by 1226.8 ms (median)): orientation [4], " in text
    )
    mapping = schema.mapping_for("mcap")
    assert mapping is not None
    reading = mcap.read(path, mcap.places(path)[0], Request(embodiment=schema.embodiment, mapping=mapping))
    assert len(synchronize(next(reading), schema.embodiment, mapping).steps) > 5


def test_streams_of_different_clocks_are_mapped_by_log_time(tmp_path: Path) -> None:
    state = vector("/joints", 2, "a", "b", field="position", type="sensor_msgs/msg/JointState")
    order = vector("/command", 2, field="data", type="std_msgs/msg/Float64MultiArray")
    found = inspection(
        timed(state, Clock.MONOTONIC, "header", 5_000),
        timed(state, Clock.UNIX, "log", START),
        timed(order, Clock.UNIX, "log", START),
        source="mcap",
        rate_hz=None,
    )
    schema = schema_of(draft_schema(found, "x"), tmp_path)
    mapping = schema.mapping_for("mcap")
    assert mapping is not None
    assert {n: s.clock for n, s in mapping.streams.items()} == {"joints_position": "log", "command": "auto"}


def test_instruction_and_subtask_are_told_apart(tmp_path: Path) -> None:
    texts = [
        StreamInfo(name=n, type="std_msgs/msg/String", count=1, kind="text", field="data")
        for n in ("/subtask", "/task_result", "/task")
    ]
    mapping = mapping_of(draft_mapping(inspection(*texts), None), Embodiment(name="x", rate_hz=1), tmp_path)
    assert mapping.subtask is not None
    assert mapping.subtask.source == "/subtask"
    assert mapping.instruction is not None
    assert mapping.instruction.source == "/task"


hostile = st.text(max_size=30) | st.sampled_from(
    ["no", "null", "1e3", "a: b", "# x", "- x", "'", '"', "\n", "{", "é", "-", ".."]
)


@settings(deadline=None)
@given(
    names=st.lists(hostile.filter(bool), min_size=1, max_size=4, unique=True),
    elements=st.lists(hostile, max_size=4),
    kinds=st.lists(st.sampled_from(["vector", "picture"]), min_size=4, max_size=4),
)
def test_any_names_give_a_schema_that_loads_and_maps_to_the_very_names(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], elements: list[str], kinds: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("draft")
    streams = [
        vector(n, len(elements), *elements) if k == "vector" else picture(n) for n, k in zip(names, kinds, strict=False)
    ]
    found = inspection(*streams)
    schema = schema_of(draft_schema(found, "x"), folder)
    mapping = schema.mapping_for("rlds")
    assert mapping is not None
    mapped = {s.source for s in mapping.streams.values()}
    assert mapped <= set(names)
    assert {s.name for s in streams if s.kind == "image"} <= mapped
    for name, stream in mapping.streams.items():
        if stream.names is not None:
            assert stream.names == tuple(elements), name
    mapping_of(draft_mapping(found, schema.embodiment), schema.embodiment, folder)
