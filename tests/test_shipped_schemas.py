"""The schemas that ship, against the files that their numbers come from."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyarrow.parquet as pq
import pytest

from vladata.embodiment import Signal
from vladata.mapping import SchemaFile, load_schema, schema_names
from vladata.recording import AnyStream, FrameStream, Stream
from vladata.sources import Request, rlds
from vladata.units import Kind, Mode, Unit

SCHEMAS = Path(__file__).resolve().parent.parent / "schemas"


@pytest.mark.parametrize("name", ["widowx_bridge", "unitree_g1_inspire"])
def test_schema_loads_by_name_and_says_where_its_numbers_come_from(name: str) -> None:
    assert name in schema_names()
    schema = load_schema(name)
    assert schema.name == name
    text = (SCHEMAS / f"{name}.yaml").read_text()
    declared = set(re.findall(r"^#   (\[\w+\])", text, re.MULTILINE))
    body = text[text.index("\nname: ") :]
    assert declared
    assert all(source in body for source in declared)
    assert set(re.findall(r"# .*?(\[[a-z]+\])", body)) <= declared


def limits(signal: Signal) -> tuple[np.ndarray, np.ndarray]:
    found = [d.limits or (-np.inf, np.inf) for d in signal.dimensions]
    return np.array([low for low, _ in found]), np.array([high for _, high in found])


@pytest.fixture(scope="module")
def g1() -> SchemaFile:
    return load_schema("unitree_g1_inspire")


@pytest.fixture(scope="module")
def g1_data(shared_data: Path) -> Path:
    return shared_data / "g1_inspire_lerobot_v21"


@pytest.fixture(scope="module")
def widowx() -> SchemaFile:
    return load_schema("widowx_bridge")


@pytest.fixture(scope="module")
def bridge_episodes(widowx: SchemaFile, shared_data: Path) -> list[dict[str, AnyStream]]:
    mapping = widowx.mapping_for("rlds")
    assert mapping is not None
    request = Request(embodiment=widowx.embodiment, mapping=mapping)
    root = shared_data / "bridge_rlds_tfrecord"
    return [dict(next(rlds.read(root, place, request)).streams) for place in rlds.places(root)]


class TestUnitreeG1Inspire:
    def test_arm_limits_are_those_of_the_urdf(self, g1: SchemaFile, shared_data: Path) -> None:
        root = ElementTree.parse(shared_data / "urdf" / "g1_29dof_with_hand.urdf").getroot()
        joints = {j.get("name"): j.find("limit") for j in root.iter("joint")}
        for signal in g1.signals:
            arm = [d for d in signal.dimensions if d.unit is Unit.RADIAN]
            assert len(arm) == 14
            for dimension in arm:
                limit = joints[f"{dimension.name}_joint"]
                assert limit is not None
                assert dimension.limits == (float(limit.get("lower", "")), float(limit.get("upper", "")))
                assert dimension.max_velocity == float(limit.get("velocity", ""))

    def test_hands_are_normalized_with_one_open(self, g1: SchemaFile) -> None:
        for signal in g1.signals:
            hand = signal.dimensions[14:]
            assert len(hand) == 12
            assert {(d.unit, d.normalized, d.limits, d.open_value) for d in hand} == {(Unit.ONE, True, (0, 1), 1)}

    def test_mapped_names_are_those_of_the_dataset_in_its_order(self, g1: SchemaFile, g1_data: Path) -> None:
        features = json.loads((g1_data / "meta" / "info.json").read_text())["features"]
        mapping = g1.mapping_for("lerobot_v2")
        assert mapping is not None
        for name, column in (("state", "observation.state"), ("action", "action")):
            (declared,) = features[column]["names"]
            assert list(mapping.streams[name].names or ()) == declared
            plain = ["".join(part.capitalize() for part in n.split("_")) for n in g1.signal(name).names]
            assert [f"k{n}" for n in plain] == declared
        (camera,) = g1.cameras
        assert [camera.height, camera.width, 3] == features[mapping.streams[camera.name].source]["shape"]
        assert g1.rate_hz == json.loads((g1_data / "meta" / "info.json").read_text())["fps"]

    def test_every_recorded_row_is_within_the_limits(self, g1: SchemaFile, g1_data: Path) -> None:
        for path in sorted((g1_data / "data").rglob("*.parquet")):
            table = pq.read_table(path, columns=["observation.state", "action"])
            for name, column in (("state", "observation.state"), ("action", "action")):
                rows = table[column].combine_chunks().flatten().to_numpy().reshape(-1, 26)
                low, high = limits(g1.signal(name))
                assert (low <= rows).all()
                assert (rows <= high).all()

    def test_actions_are_absolute(self, g1: SchemaFile, g1_data: Path) -> None:
        assert {d.mode for s in g1.action for d in s.dimensions} == {Mode.ABSOLUTE}
        table = pq.read_table(g1_data / "data" / "chunk-000" / "episode_000000.parquet")
        state, action = (
            table[c].combine_chunks().flatten().to_numpy().reshape(-1, 26) for c in ("observation.state", "action")
        )
        arm = slice(0, 14)
        assert np.abs(action - state)[:, arm].mean() < 0.1 < np.abs(action)[:, arm].mean()


class TestWidowxBridge:
    def test_shapes_are_those_of_the_dataset(
        self, widowx: SchemaFile, bridge_episodes: list[dict[str, AnyStream]]
    ) -> None:
        for streams in bridge_episodes:
            for signal in widowx.signals:
                stream = streams[signal.name]
                assert isinstance(stream, Stream)
                assert stream.values.shape[1] == len(signal.dimensions)
            for camera in widowx.cameras:
                frames = streams[camera.name]
                assert isinstance(frames, FrameStream)
                assert (frames.height, frames.width) == (camera.height, camera.width)

    def test_motion_is_a_delta_and_the_gripper_absolute_with_one_open(
        self, widowx: SchemaFile, bridge_episodes: list[dict[str, AnyStream]]
    ) -> None:
        (action,) = widowx.action
        assert [d.mode for d in action.dimensions] == [Mode.DELTA] * 6 + [Mode.ABSOLUTE]
        assert [d.kind for d in action.dimensions[3:6]] == [Kind.ROTATION] * 3
        assert (action.dimensions[6].open_value, action.dimensions[6].closed_value) == (1, 0)
        moved, commanded, gripper = [], [], set()
        for streams in bridge_episodes:
            state, chosen = streams["state"], streams["action"]
            assert isinstance(state, Stream)
            assert isinstance(chosen, Stream)
            moved.append(np.diff(np.asarray(state.values, dtype=float), axis=0))
            commanded.append(np.asarray(chosen.values, dtype=float)[:-1])
            gripper |= set(np.asarray(chosen.values)[:, 6].tolist())
        change, command = np.concatenate(moved), np.concatenate(commanded)
        # metres and radians: the arm moves by about what is commanded, so neither is normalized
        slopes = (change * command).sum(axis=0)[:6] / (command**2).sum(axis=0)[:6]
        assert (slopes > 0.6).all()
        assert (slopes < 1).all()
        assert {0.0, 1.0} <= gripper
        assert (min(gripper), max(gripper)) == action.dimensions[6].limits
        opening = change[:, 6]
        assert opening[command[:, 6] == 0].mean() < 0 < opening[command[:, 6] == 1].max()
