"""Drafts of anything: whatever an inspection holds, the YAML parses, and names come back as they were."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vladata.drafts import Sample, draft_mapping, draft_schema
from vladata.mapping import SchemaFile, load_mapping, load_schema
from vladata.sources import Inspection, Place, StreamInfo
from vladata.units import Clock
from vladata.urdf import Joint, Urdf

odd = st.text(max_size=20) | st.sampled_from(
    ["no", "null", "1e3", "a: b", "# x", "- x", "'", '"', "\n", "\x85", "\u2028", "\ufeff", "\uffff", "{", "é", "..",
     "%x", "\udcff", "x" * 300, "/joint_states", "action", "observation.state", "cmd_vel", "quat", "joint_deg", "=",
     "qx", "qy", "qz", "qw", "gripper", "left_elbow"]
)  # fmt: skip
fields = st.none() | st.sampled_from(["position", "velocity", "effort", "data", "pose.orientation"]) | odd
types = st.sampled_from(
    ["sensor_msgs/msg/JointState", "sensor_msgs/JointState", "std_msgs/msg/String", "geometry_msgs/msg/PoseStamped", "",
     "float32", "foxglove.PoseInFrame"]
)  # fmt: skip


@st.composite
def stream_infos(draw: st.DrawFn) -> StreamInfo:
    kind = draw(st.sampled_from(["numeric", "numeric", "numeric", "image", "video", "text", "other"]))
    if kind in {"image", "video"}:
        shape = tuple(draw(st.lists(st.sampled_from([0, 1, 64, 480, 100_000]), max_size=3)))
    else:
        shape = tuple(draw(st.lists(st.integers(0, 8), max_size=2)))
    count = draw(st.sampled_from([0, 1, 12]))
    times = draw(st.sampled_from(["none", "even", "equal", "backward", "extreme"]))
    time_ns = {
        "none": np.zeros(0, dtype=np.int64),
        "even": np.arange(count, dtype=np.int64) * 20_000_000,
        "equal": np.full(count, 7, dtype=np.int64),
        "backward": -np.arange(count, dtype=np.int64) * 1_000,
        "extreme": np.linspace(-(2**62), 2**62, count).astype(np.int64),
    }[times]
    names = draw(st.lists(odd, min_size=0, max_size=8))
    return StreamInfo(
        name=draw(odd),
        field=draw(fields),
        type=draw(types),
        count=count,
        shape=shape,
        dtype=draw(st.sampled_from(["float32", "uint16", "bool", ""])),
        kind=kind,
        codec="jpeg",
        element_names=tuple(names[: shape[0]] if shape else names),
        clock=draw(st.sampled_from(list(Clock))),
        clock_choice=draw(st.sampled_from(["", "header", "log"])),
        time_ns=time_ns,
        problems=tuple(draw(st.lists(odd, max_size=2))),
    )


@st.composite
def samples_of(draw: st.DrawFn, infos: tuple[StreamInfo, ...]) -> dict[tuple[str, str | None], Sample]:
    found = {}
    for info in infos:
        if info.kind != "numeric" or len(info.shape) != 1 or not draw(st.booleans()):
            continue
        rows = draw(st.sampled_from([0, 1, 40]))
        seed, scale = draw(st.integers(0, 9)), draw(st.sampled_from([0.0, 1.0, 100.0, 1e200]))
        values = np.round(np.random.default_rng(seed).normal(size=(rows, info.shape[0])).cumsum(axis=0), 3) * scale
        if rows and draw(st.booleans()):
            values[rows // 2] = np.nan
        found[info.name, info.field] = Sample(
            values=values,
            time_ns=np.arange(rows, dtype=np.int64) * draw(st.sampled_from([0, 20_000_000])),
            part=np.arange(rows, dtype=np.int64) // 30,
            is_stepped=draw(st.booleans()),
        )
    return found


@st.composite
def recordings(draw: st.DrawFn) -> tuple[Inspection, dict[tuple[str, str | None], Sample]]:
    infos = tuple(draw(st.lists(stream_infos(), max_size=6)))
    found = Inspection(
        source=draw(st.sampled_from(["mcap", "rlds", "ros_bag", "aloha_hdf5"])),
        places=(Place(name="a"),),
        looked_at=draw(odd),
        streams=infos,
        rate_hz=draw(st.sampled_from([None, 30.0, 0.0, -1.0, float("nan"), float("inf"), 1e-7, 123456789.0])),
    )
    return found, draw(samples_of(infos))


URDF = Urdf(
    file="arm\n.urdf",
    robot="arm",
    joints=(
        Joint(name="left_elbow_joint", type="revolute", limits=(-1e-7, 2.0), max_velocity=1e9, max_effort=3.0),
        Joint(name="gripper", type="prismatic", limits=(0.0, 0.04), mimics="left\u2028elbow"),
        Joint(name="joint_deg", type="continuous"),
    ),
)


@settings(deadline=None, max_examples=200)
@given(recording=recordings(), has_urdf=st.booleans())
def test_any_inspection_gives_yaml_that_loads_and_names_that_come_back(
    tmp_path_factory: pytest.TempPathFactory,
    recording: tuple[Inspection, dict[tuple[str, str | None], Sample]],
    has_urdf: bool,
) -> None:
    found, samples = recording
    folder = tmp_path_factory.mktemp("any")
    urdf = URDF if has_urdf else None
    path = folder / "draft.yaml"
    path.write_text(draft_schema(found, "my robot", samples=samples, urdf=urdf).replace("my robot", "robot"), "utf-8")
    schema = load_schema(path)
    mapping = schema.mapping_for(found.source)
    assert mapping is not None
    by_key = {(i.name, i.field): i for i in reversed(found.streams)}
    assert set(mapping.streams) == set(schema.stream_names)
    for name, stream in mapping.streams.items():
        info = by_key[stream.source, stream.field]
        if name in {s.name for s in schema.signals}:
            assert info.shape == (len(schema.signal(name).dimensions),)
            if stream.join == "auto":
                assert (stream.names or schema.signal(name).names) == info.element_names
        else:
            assert info.shape[:2] == (schema.camera(name).height, schema.camera(name).width)
    check_mapping_alone(found, samples, schema, folder / "mapping.yaml")


def check_mapping_alone(
    found: Inspection, samples: dict[tuple[str, str | None], Sample], schema: SchemaFile, path: Path
) -> None:
    path.write_text(draft_mapping(found, schema.embodiment, samples=samples), "utf-8")
    if "{from: ?}" not in path.read_text("utf-8"):
        assert set(load_mapping(path, schema.embodiment).streams) == set(schema.stream_names)
    path.write_text(draft_mapping(found, None, samples=samples), "utf-8")
    assert load_mapping(path, schema.embodiment).streams.keys() == set(schema.stream_names)
