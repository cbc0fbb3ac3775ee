"""robomimic files, written as dataset_states_to_obs and Isaac Lab's handler write them and compared with h5py alone."""

import json
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vladata.embodiment import Camera, Depth, Dimension, Embodiment, Signal, StreamRule
from vladata.errors import GateError, SchemaError, SourceError
from vladata.images import decode, decode_depth
from vladata.mapping import Mapping as SourceMapping
from vladata.recording import FrameStream, Recording, Stream
from vladata.sources import Request, Source, aloha_hdf5, hdf5_columns, libero_hdf5, robomimic_hdf5
from vladata.units import Clock, Kind, Mode, Unit

source: Source = robomimic_hdf5

Array = NDArray[Any]

SIDE = 24
ROBOSUITE = {
    "env_name": "Lift",
    "env_version": "1.4.1",
    "type": 1,
    "env_kwargs": {"robots": ["Panda"], "control_freq": 20, "camera_heights": SIDE},
}


# ------------------------------------------------------------------- writers, in the layout of the projects


def episode(number: int, steps: int) -> dict[str, Array]:
    """What one demonstration holds, by its path in the group."""
    rng = np.random.default_rng(number)
    obs: dict[str, Array] = {
        "robot0_eef_pos": rng.normal(size=(steps, 3)),
        "robot0_eef_quat": rng.normal(size=(steps, 4)),
        "robot0_gripper_qpos": rng.normal(size=(steps, 2)),
        "agentview_image": rng.integers(0, 256, (steps, SIDE, SIDE, 3), dtype=np.uint8),
        "agentview_depth": rng.random((steps, SIDE, SIDE, 1)).astype(np.float32),
    }
    found = {f"obs/{k}": v for k, v in obs.items()}
    found |= {f"next_obs/{k}": np.concatenate([v[1:], v[-1:]]) for k, v in obs.items()}
    done = np.arange(steps) == steps - 1
    return {
        "actions": rng.uniform(-1, 1, (steps, 7)),
        "states": rng.normal(size=(steps, 32)),
        "rewards": done.astype(np.float64),
        "dones": done.astype(np.int64),
        "action_dict/abs_pos": rng.normal(size=(steps, 3)),
        "action_dict/gripper": rng.uniform(-1, 1, (steps, 1)),
        **found,
    }


def write(path: Path, lengths: Mapping[int, int], env_args: object = ROBOSUITE) -> Path:
    """As dataset_states_to_obs with --compress: groups in any order, attributes last, masks of byte strings."""
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        for number, steps in reversed(list(lengths.items())):
            group = data.create_group(f"demo_{number}")
            for name, values in episode(number, steps).items():
                group.create_dataset(name, data=values, compression="gzip" if "obs/" in name else None)
            group.attrs["model_file"] = "<mujoco/>" * 100
            group.attrs["num_samples"] = steps
            group.attrs["ep_meta"] = json.dumps({"lang": f"lift cube {number}", "layout_id": 3}, indent=4)
        data.attrs["total"] = sum(lengths.values())
        if env_args is not None:
            data.attrs["env_args"] = json.dumps(env_args, indent=4)
        file["mask/train"] = np.array([f"demo_{n}" for n in lengths if n % 2], dtype="S")
        file["mask/20_percent"] = np.array(["demo_9"], dtype="S")
    return path


def write_isaac(path: Path, lengths: Mapping[int, int], arguments: Mapping[str, object] | None = None) -> Path:
    """As HDF5DatasetFileHandler: nested dictionaries, all gzip; gym's type 2; a flag of success for each."""
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["total"] = 0
        data.attrs["env_args"] = json.dumps({"env_name": "Isaac-Stack-Cube", "type": 2, **(arguments or {})})
        for number, steps in lengths.items():
            rng = np.random.default_rng(number)
            group = data.create_group(f"demo_{number}")
            group.attrs["num_samples"] = steps
            group.attrs["seed"] = 7
            group.attrs["success"] = bool(number % 2 == 0)
            robot = {
                "joint_position": rng.normal(size=(steps, 9)).astype("f4"),
                "joint_velocity": rng.normal(size=(steps, 9)).astype("f4"),
                "root_pose": rng.normal(size=(steps, 7)).astype("f4"),
            }
            values = {f"states/articulation/robot/{k}": v for k, v in robot.items()}
            values |= {f"initial_state/articulation/robot/{k}": v[:1] for k, v in robot.items()}
            values["actions"] = rng.normal(size=(steps, 7)).astype("f4")
            values["obs/joint_pos"] = robot["joint_position"]
            values["obs/table_cam"] = rng.integers(0, 256, (steps, SIDE, SIDE, 3), dtype=np.uint8)
            for name, array in values.items():
                group.create_dataset(name, data=array, compression="gzip")
            data.attrs["total"] += steps
    return path


def write_flat(path: Path, lengths: Mapping[int, int]) -> Path:
    """The arrays of all demonstrations side by side, as scripts without a group per episode leave them."""
    with h5py.File(path, "w") as file:
        for number, steps in lengths.items():
            file[f"actions_{number}"] = np.random.default_rng(number).normal(size=(steps, 7))
            file[f"states_{number}"] = np.random.default_rng(-number % 2**31).normal(size=(steps, 9))
    return path


# ------------------------------------------------------------------- a schema and mappings


def signal(name: str, size: int, mode: Mode | None = None) -> Signal:
    dimensions = tuple(Dimension(name=f"{name}_{i}", kind=Kind.OTHER, unit=Unit.ONE, mode=mode) for i in range(size))
    return Signal(name=name, dimensions=dimensions)


ROBOT = Embodiment(
    name="panda",
    rate_hz=20,
    proprioception=(signal("position", 3), signal("joints", 9)),
    action=(signal("action", 7, Mode.DELTA), signal("abs_pos", 3, Mode.ABSOLUTE)),
    cameras=(
        Camera(name="view", height=SIDE, width=SIDE),
        Camera(name="depth", height=SIDE, width=SIDE, depth=Depth(unit="mm")),
    ),
    streams={n: StreamRule(required=False) for n in ("position", "joints", "abs_pos", "view", "depth")},
)

SOURCES = {
    "position": "obs/robot0_eef_pos",
    "action": "actions",
    "abs_pos": "action_dict/abs_pos",
    "view": "obs/agentview_image",
}
ISAAC = {"joints": "states/articulation/robot/joint_position", "action": "actions", "view": "obs/table_cam"}


def request(
    sources: Mapping[str, object] = SOURCES, options: Mapping[str, object] | None = None, **labels: object
) -> Request:
    streams = {n: {"from": s} for n, s in sources.items() if s}
    mapping = {"source": "robomimic_hdf5", "streams": streams, "options": dict(options or {}), **labels}
    return Request(embodiment=ROBOT, mapping=SourceMapping.model_validate(mapping))


class Read:
    """What the source gives for one place, with all frames taken while they can be read."""

    def __init__(self, path: Path, number: int = 0, wanted: Request | None = None) -> None:
        place = next(p for p in robomimic_hdf5.places(path) if p.name == f"{path.name}#demo_{number:05d}")
        self.frames: dict[str, list[bytes]] = {}
        for recording in robomimic_hdf5.read(path, place, wanted or request()):
            self.recording: Recording = recording
            for name, stream in recording.streams.items():
                if isinstance(stream, FrameStream):
                    self.frames[name] = [bytes(stream.frames.read(i)) for i in range(stream.num_frames)]
        self.notes = "\n".join(self.recording.notes)

    def values(self, name: str) -> Array:
        stream = self.recording.streams[name]
        assert isinstance(stream, Stream)
        return stream.values


class TestDemonstrations:
    def test_each_is_one_place_in_numeric_order(self, tmp_path: Path) -> None:
        path = write(tmp_path / "lift.hdf5", {0: 3, 2: 3, 9: 3, 10: 3, 100: 3})
        names = [p.name for p in robomimic_hdf5.places(path)]
        assert names == [f"lift.hdf5#demo_{n:05d}" for n in (0, 2, 9, 10, 100)]
        assert names == sorted(names)

    def test_values_and_pixels_of_every_one_equal_what_h5py_reads(self, tmp_path: Path) -> None:
        lengths = {0: 5, 1: 7, 10: 4}
        path = write(tmp_path / "lift.hdf5", lengths)
        for number, steps in lengths.items():
            read = Read(path, number)
            with h5py.File(path) as file:
                group = file[f"data/demo_{number}"]
                for name in ("position", "action", "abs_pos"):
                    np.testing.assert_array_equal(read.values(name), group[SOURCES[name]][()])
                    assert read.values(name).dtype == np.float64
                for data, pixels in zip(read.frames["view"], group["obs/agentview_image"], strict=True):
                    np.testing.assert_array_equal(decode(data), pixels)
            assert read.recording.is_stepped
            for stream in read.recording.streams.values():
                assert stream.clock is Clock.NOMINAL
                assert stream.time_ns.tolist() == [50_000_000 * t for t in range(steps)]

    def test_masks_environment_and_key_are_metadata(self, tmp_path: Path) -> None:
        path = write(tmp_path / "lift.hdf5", {9: 2, 10: 2})
        assert Read(path, 9).recording.metadata == {
            "demo": "demo_9",
            "env_name": "Lift",
            "env_version": "1.4.1",
            "filter_keys": "20_percent, train",
        }
        assert "filter_keys" not in Read(path, 10).recording.metadata

    def test_what_is_not_kept_is_named(self, tmp_path: Path) -> None:
        read = Read(write(tmp_path / "lift.hdf5", {0: 2}))
        (note,) = [n for n in read.recording.notes if n.startswith("not kept: ")]
        assert "next_obs/robot0_eef_pos" in note
        assert "states" in note
        assert "attributes not kept, apart from what labels take of them: ep_meta, model_file" in read.notes

    def test_one_is_read_without_looking_at_the_others(self, tmp_path: Path) -> None:
        path = write(tmp_path / "lift.hdf5", {0: 2, 1: 2})
        with h5py.File(path, "r+") as file:
            del file["data/demo_1"]["actions"]
            file["data/demo_1"]["actions"] = h5py.ExternalLink("other.hdf5", "/actions")
            file["data/demo_2"] = h5py.SoftLink("/data/demo_0")
        assert len(Read(path, 0).values("action")) == 2
        with pytest.raises(GateError, match="demo_1/actions: is a link to another file"):
            Read(path, 1)
        with pytest.raises(GateError, match="demo_2: is a soft link"):
            Read(path, 2)

    def test_more_objects_than_a_recording_has_are_no_hindrance(self, tmp_path: Path) -> None:
        path = tmp_path / "many.hdf5"
        with h5py.File(path, "w", libver="latest") as file:
            for number in range(600):
                group = file.create_group(f"data/demo_{number}")
                for name in ("actions", *(f"obs/key_{k}" for k in range(18))):
                    group[name] = np.zeros((1, 7), "f4")
            file["data"].attrs["total"] = 600
        assert len(robomimic_hdf5.places(path)) == 600
        assert Read(path, 599, request({"action": "actions"})).recording.metadata["demo"] == "demo_599"

    def test_recording_is_told_by_its_own_values_whatever_a_mapping_takes(self, tmp_path: Path) -> None:
        path = write(tmp_path / "lift.hdf5", {0: 3, 1: 3})
        first = Read(path, 0).recording.recording_id
        assert Read(path, 0, request({"action": "actions"})).recording.recording_id == first
        with h5py.File(path, "r+") as file:
            file["data/demo_1/states"][0, 0] += 1
            file["data"].attrs["total"] = 7
        assert Read(path, 0).recording.recording_id == first
        with h5py.File(path, "r+") as file:
            file["data/demo_0/states"][0, 0] += 1
        changed = Read(path, 0).recording.recording_id
        assert changed != first
        with h5py.File(path, "r+") as file:
            file["data/demo_0"].attrs["success"] = True
        assert Read(path, 0).recording.recording_id not in {first, changed}


class TestWhatIsMissing:
    def test_file_without_demonstrations_is_refused_with_the_true_reason(self, tmp_path: Path) -> None:
        path = write(tmp_path / "none.hdf5", {})
        assert robomimic_hdf5.can_read(path)
        with pytest.raises(SourceError, match=r"none\.hdf5: the group data holds no demonstrations"):
            robomimic_hdf5.places(path)

    def test_demonstration_without_a_required_key_is_refused_and_without_another_is_noted(self, tmp_path: Path) -> None:
        path = write(tmp_path / "lift.hdf5", {0: 2, 1: 2})
        with h5py.File(path, "r+") as file:
            del file["data/demo_0/actions"], file["data/demo_1/obs/agentview_image"]
        with pytest.raises(SourceError, match="no dataset 'actions' for action; there are action_dict/abs_pos, "):
            Read(path, 0)
        assert "view: there is no obs/agentview_image" in Read(path, 1).notes

    def test_other_length_than_declared_is_noted_and_than_the_others_refused(self, tmp_path: Path) -> None:
        path = write(tmp_path / "lift.hdf5", {0: 4, 1: 4})
        with h5py.File(path, "r+") as file:
            file["data/demo_0"].attrs["num_samples"] = 9
            del file["data/demo_1/actions"]
            file["data/demo_1/actions"] = np.zeros((5, 7))
        assert "num_samples is 9; the datasets have 4 rows" in Read(path, 0).notes
        with pytest.raises(SourceError, match="actions has 5 rows, obs/robot0_eef_pos has 4"):
            Read(path, 1)

    def test_group_that_is_an_array_and_place_that_is_none_are_refused(self, tmp_path: Path) -> None:
        path = write(tmp_path / "lift.hdf5", {0: 2})
        with h5py.File(path, "r+") as file:
            file["data/demo_3"] = np.zeros(3)
        with pytest.raises(SourceError, match="data/demo_3 is a dataset"):
            Read(path, 3)
        place = robomimic_hdf5.places(path)[0]
        renamed = path.rename(tmp_path / "other.hdf5")
        with pytest.raises(SourceError, match="no such demonstration"):
            next(robomimic_hdf5.read(renamed, place, request()))

    def test_float_images_are_refused_by_name(self, tmp_path: Path) -> None:
        path = write(tmp_path / "lift.hdf5", {0: 2})
        with pytest.raises(SourceError, match="obs/agentview_depth for view is float32"):
            Read(path, 0, request({"action": "actions", "view": "obs/agentview_depth"}))

    def test_depth_in_whole_numbers_is_kept_without_loss(self, tmp_path: Path) -> None:
        path = write(tmp_path / "lift.hdf5", {0: 3})
        depth = np.random.default_rng(0).integers(0, 2**16, (3, SIDE, SIDE, 1), dtype=np.uint16)
        with h5py.File(path, "r+") as file:
            file["data/demo_0/obs/front_depth"] = depth
        read = Read(path, 0, request({"action": "actions", "depth": "obs/front_depth"}))
        for data, expected in zip(read.frames["depth"], depth, strict=True):
            np.testing.assert_array_equal(decode_depth(data), expected[..., 0])

    def test_key_that_is_no_field(self, tmp_path: Path) -> None:
        wanted = SourceMapping.model_validate(
            {"source": "robomimic_hdf5", "streams": {"action": {"from": "actions", "field": "x"}}}
        )
        with pytest.raises(SourceError, match="datasets of HDF5 have no fields"):
            Read(write(tmp_path / "a.hdf5", {0: 2}), 0, Request(embodiment=ROBOT, mapping=wanted))


class TestRate:
    @pytest.mark.parametrize(
        ("env_args", "options", "rate_hz", "who"),
        [
            (ROBOSUITE, {}, 20, "env_args declares (env_kwargs.control_freq)"),
            ({"env_kwargs": {"control_freq": 10}}, {}, 10, "steps are at 10 Hz; panda has 20 Hz"),
            ({"sim_args": {"dt": 0.01, "decimation": 2}}, {}, 50, "sim_args.dt · sim_args.decimation"),
            ({"sim_args": {"dt": 0.005, "decimation": 4}}, {"rate_hz": 25}, 25, "as options.rate_hz says"),
            ({"env_name": "Lift"}, {}, 20, "the rate of panda: the file declares none"),
            (None, {}, 20, "the rate of panda: the file declares none"),
            ({"env_kwargs": {"control_freq": -5}}, {}, 20, "the rate of panda"),
            ({"env_kwargs": {"control_freq": True}}, {}, 20, "the rate of panda"),
            ({"env_kwargs": [1], "sim_args": {"dt": 1e-300, "decimation": 1}}, {}, 20, "the rate of panda"),
            ({"env_kwargs": {"control_freq": 1e400}}, {}, 20, "the rate of panda"),
        ],
    )
    def test_it_comes_from_the_option_the_environment_or_the_schema(
        self, tmp_path: Path, env_args: object, options: dict[str, object], rate_hz: float, who: str
    ) -> None:
        read = Read(write(tmp_path / "lift.hdf5", {0: 4}, env_args), 0, request(options=options))
        assert read.recording.streams["action"].time_ns.tolist() == [round(t * 1e9 / rate_hz) for t in range(4)]
        assert who in read.notes

    def test_rate_that_is_none_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(SchemaError, match=r"options\.rate_hz is -1"):
            Read(write(tmp_path / "lift.hdf5", {0: 4}), 0, request(options={"rate_hz": -1}))

    @pytest.mark.parametrize("text", ["", "[1, 2]", "{", "[" * 100_000, "9" * 10_000])
    def test_env_args_that_are_no_object_do_no_harm(self, tmp_path: Path, text: str) -> None:
        path = write(tmp_path / "lift.hdf5", {0: 4})
        with h5py.File(path, "r+") as file:
            del file["data"].attrs["env_args"]
            if len(text) < 60_000:
                file["data"].attrs["env_args"] = text
            else:
                file["data"].attrs.create("env_args", text[:60_000])
        assert "the rate of panda" in Read(path, 0).notes


class TestLabels:
    @pytest.mark.parametrize(
        ("label", "expected"),
        [
            ({"from": "ep_meta", "field": "lang"}, ["lift cube 1"]),
            ({"from": "@ep_meta", "field": "lang"}, ["lift cube 1"]),
            ({"from": "env_args", "field": "env_kwargs.robots"}, ["Panda"]),
            ({"from": "env_args", "field": "env_name"}, ["Lift"]),
            ({"from": "ep_meta", "field": "nothing.there"}, []),
            ({"from": "nothing"}, []),
        ],
    )
    def test_instruction_is_an_attribute_or_lies_in_its_json(
        self, tmp_path: Path, label: dict[str, str], expected: list[str]
    ) -> None:
        read = Read(write(tmp_path / "lift.hdf5", {1: 2}), 1, request(instruction=label))
        assert [i.text for i in read.recording.instructions] == expected
        assert ("task: there is no" in read.notes) == (not expected)

    @pytest.mark.parametrize(("key", "kind"), [("dones", "success"), ("rewards", "success")])
    def test_outcome_is_the_last_reward_or_done(self, tmp_path: Path, key: str, kind: str) -> None:
        path = write(tmp_path / "lift.hdf5", {0: 4})
        wanted = request(outcome={"from": key})
        assert [o.kind for o in Read(path, 0, wanted).recording.outcomes] == [kind]
        with h5py.File(path, "r+") as file:
            file[f"data/demo_0/{key}"][-1] = 0
        assert [o.kind for o in Read(path, 0, wanted).recording.outcomes] == ["failure"]
        with h5py.File(path, "r+") as file:
            file[f"data/demo_0/{key}"][-1] = 5
        read = Read(path, 0, wanted)
        assert read.recording.outcomes == ()
        assert "outcome: '5' is none of" in read.notes

    def test_vector_is_no_label(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="actions has 7 values in a row; a label must have one"):
            Read(write(tmp_path / "lift.hdf5", {0: 4}), 0, request(outcome={"from": "actions"}))

    def test_text_at_each_step_becomes_timed_subtasks(self, tmp_path: Path) -> None:
        path = write(tmp_path / "lift.hdf5", {0: 4})
        with h5py.File(path, "r+") as file:
            file["data/demo_0/subtask"] = ["reach", "reach", "grasp", "grasp"]
        found = Read(path, 0, request(subtask={"from": "subtask"})).recording.instructions
        assert [(i.text, i.kind, i.time_ns, i.end_ns) for i in found] == [
            ("reach", "subtask", 0, 100_000_000),
            ("grasp", "subtask", 100_000_000, None),
        ]


class TestIsaacLab:
    def test_states_actions_and_success_are_read(self, tmp_path: Path) -> None:
        sim = {"sim_args": {"dt": 0.01, "decimation": 5, "render_interval": 5, "num_envs": 1}}
        path = write_isaac(tmp_path / "dataset.hdf5", {0: 6, 1: 5}, sim)
        assert robomimic_hdf5.can_read(path)
        for number, kind in ((0, "success"), (1, "failure")):
            read = Read(path, number, request(ISAAC, outcome={"from": "success"}))
            with h5py.File(path) as file:
                group = file[f"data/demo_{number}"]
                for name in ("joints", "action"):
                    np.testing.assert_array_equal(read.values(name), group[ISAAC[name]][()])
                    assert read.values(name).dtype == np.float32
                for data, pixels in zip(read.frames["view"], group["obs/table_cam"], strict=True):
                    np.testing.assert_array_equal(decode(data), pixels)
            assert [o.kind for o in read.recording.outcomes] == [kind]
            assert read.recording.metadata["seed"] == "7"
            assert read.recording.streams["action"].time_ns[1] == 50_000_000

    def test_initial_state_has_one_row_and_is_no_stream(self, tmp_path: Path) -> None:
        path = write_isaac(tmp_path / "dataset.hdf5", {0: 6})
        wrong = {**ISAAC, "joints": "initial_state/articulation/robot/joint_position"}
        with pytest.raises(SourceError, match=r"actions has 6 rows, initial_state/.* has 1; must have as many"):
            Read(path, 0, request(wrong))
        found = {s.name: s for s in robomimic_hdf5.inspect(path).streams}
        assert found[wrong["joints"]].kind == "other"
        assert found[wrong["joints"]].problems == ("1 rows; the steps are 6",)
        assert found[ISAAC["joints"]].kind == "numeric"


class TestFlat:
    def test_arrays_side_by_side_are_demonstrations_by_their_number(self, tmp_path: Path) -> None:
        path = write_flat(tmp_path / "flat.hdf5", {1: 3, 2: 4, 10: 5, 12: 6})
        assert robomimic_hdf5.can_read(path)
        assert [p.name for p in robomimic_hdf5.places(path)] == [f"flat.hdf5#demo_{n:05d}" for n in (1, 2, 10, 12)]
        for number in (1, 2, 12):
            read = Read(path, number, request({"joints": "states", "action": "actions"}))
            with h5py.File(path) as file:
                np.testing.assert_array_equal(read.values("joints"), file[f"states_{number}"][()])
                np.testing.assert_array_equal(read.values("action"), file[f"actions_{number}"][()])
            assert "no times are recorded: stamps are step / 20 Hz, the rate of panda" in read.notes
            assert read.recording.metadata == {"demo": f"demo_{number}"}

    def test_only_its_own_arrays_belong_to_one(self, tmp_path: Path) -> None:
        path = write_flat(tmp_path / "flat.hdf5", {2: 3, 12: 3})
        first = Read(path, 2, request({"action": "actions"}))
        assert "not kept: states\n" in first.notes + "\n"
        with h5py.File(path, "r+") as file:
            file["actions_12"][0] += 1
        assert Read(path, 2, request({"action": "actions"})).recording.recording_id == first.recording.recording_id


class TestFiles:
    def test_only_one_source_of_one_format_reads_each(self, tmp_path: Path) -> None:
        paths = [
            write(tmp_path / "a.hdf5", {0: 2}),
            write_isaac(tmp_path / "b.hdf5", {0: 2}),
            write_flat(tmp_path / "c.hdf5", {0: 2}),
        ]
        for path in paths:
            assert robomimic_hdf5.can_read(path)
            assert not aloha_hdf5.can_read(path)
            assert not libero_hdf5.can_read(path)
            assert hdf5_columns.can_read(path)

    def test_demonstrations_without_any_attribute_are_known_by_their_actions(self, tmp_path: Path) -> None:
        path = tmp_path / "bare.hdf5"
        with h5py.File(path, "w") as file:
            file["data/demo_0/actions"] = np.zeros((3, 7))
        assert robomimic_hdf5.can_read(path)
        assert Read(path, 0, request({"action": "actions"})).values("action").shape == (3, 7)

    def test_other_files_are_not_read(self, tmp_path: Path) -> None:
        with h5py.File(tmp_path / "other.hdf5", "w") as file:
            file["data/cam_data"] = np.zeros(3)
        with h5py.File(tmp_path / "array.hdf5", "w") as file:
            file["data"] = np.zeros(3)
            file["data"].attrs["total"] = 3
        (tmp_path / "text.hdf5").write_text("no")
        for path in tmp_path.iterdir():
            assert not robomimic_hdf5.can_read(path)

    def test_inspect_tells_the_rate_labels_and_which_demonstrations_differ(self, tmp_path: Path) -> None:
        path = write(tmp_path / "lift.hdf5", {0: 3, 1: 3, 2: 3})
        with h5py.File(path, "r+") as file:
            del file["data/demo_1/obs/robot0_eef_quat"]
            file["data/demo_2/obs/extra"] = np.zeros(3)
        found = robomimic_hdf5.inspect(path)
        by_name = {(s.name, s.field): s for s in found.streams}
        assert found.rate_hz == 20
        assert dict(found.facts)["env_name"] == "Lift"
        assert by_name["ep_meta", "lang"].kind == "text"
        assert by_name["obs/agentview_image", None].shape == (SIDE, SIDE, 3)
        assert by_name["next_obs/robot0_eef_pos", None].kind == "other"
        assert "float32" in by_name["obs/agentview_depth", None].problems[0]
        assert "lift.hdf5#demo_00001 lacks obs/robot0_eef_quat" in found.problems
        assert "lift.hdf5#demo_00002 has also obs/extra" in found.problems


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_demonstrations_come_back_as_they_were_written(tmp_path: Path, data: st.DataObject) -> None:
    numbers = data.draw(st.lists(st.integers(0, 120), min_size=1, max_size=4, unique=True))
    dtype = data.draw(st.sampled_from(["f4", "f8", "i4", "u1", ">f8", "?"]))
    side = data.draw(st.integers(1, 9))
    compression = data.draw(st.sampled_from([None, "gzip", "lzf"]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    written = {}
    path = tmp_path / "random.hdf5"
    with h5py.File(path, "w", libver=data.draw(st.sampled_from(["earliest", "latest"]))) as file:
        for number in numbers:
            steps = data.draw(st.integers(1, 9))
            action = rng.integers(0, 2, (steps, 7)).astype(dtype)
            pixels = rng.integers(0, 256, (steps, side, side, 3), dtype=np.uint8)
            written[number] = action, pixels
            group = file.create_group(f"data/demo_{number}")
            group.create_dataset("actions", data=action, compression=compression)
            group.create_dataset("obs/view", data=pixels, compression=compression)
    assert [p.name for p in robomimic_hdf5.places(path)] == [f"random.hdf5#demo_{n:05d}" for n in sorted(numbers)]
    for number, (action, pixels) in written.items():
        read = Read(path, number, request({"action": "actions", "view": "obs/view"}))
        np.testing.assert_array_equal(read.values("action"), action)
        assert read.values("action").dtype == np.dtype(dtype).newbyteorder("=")
        assert read.recording.streams["view"].time_ns.tolist() == [50_000_000 * t for t in range(len(action))]
        for frame, expected in zip(read.frames["view"], pixels, strict=True):
            np.testing.assert_array_equal(decode(frame), expected)


SCHEMA = """
name: panda
rate_hz: 20
proprioception:
  - name: robot0_eef_pos
    dimensions:
      - {name: x, kind: position, unit: m}
      - {name: y, kind: position, unit: m}
      - {name: z, kind: position, unit: m}
action:
  - name: actions
    dimensions: [ACTION]
cameras:
  - {name: agentview, height: 24, width: 24}
"""


def test_the_command_takes_a_file_of_demonstrations_to_a_dataset(cli: Callable[..., Any], tmp_path: Path) -> None:
    path = write(tmp_path / "lift.hdf5", {1: 4, 2: 5, 10: 6})
    with h5py.File(path, "r+") as file:
        del file["data/demo_2/actions"]
    action = ", ".join(f"{{name: a{i}, kind: other, unit: '1', mode: delta}}" for i in range(7))
    schema, mapping, out = tmp_path / "panda.yaml", tmp_path / "mapping.yaml", tmp_path / "dataset"
    schema.write_text(SCHEMA.replace("ACTION", action))
    done = cli("inspect", path, "-s", schema, "--write-mapping", mapping)
    assert done.returncode == 0, done.stderr
    text = mapping.read_text()
    assert "actions: {from: actions" in text
    assert "agentview: {from: obs/agentview_image" in text
    assert "robot0_eef_pos: {from: obs/robot0_eef_pos" in text
    lines = [x for x in text.splitlines() if not x.startswith(("instruction:", "outcome:"))]
    mapping.write_text(
        "\n".join([*lines, "instruction: {from: ep_meta, field: lang}", "outcome: {from: dones}"]) + "\n"
    )
    done = cli("ingest", path, "-s", schema, "--mapping", mapping, "-o", out)
    assert done.returncode == 3, done.stderr  # one of three can't be taken in
    (rejected,) = json.loads((out / "rejected.json").read_text())["rejected"]
    assert rejected["place"] == "lift.hdf5#demo_00002"
    assert "no dataset 'actions'" in rejected["reason"]
    assert cli("validate", out, "--fail-on", "error").returncode == 0
    seen = []
    for found in sorted(out.glob("episodes/*/*.h5")):
        with h5py.File(found) as one, h5py.File(path) as file:
            demo = json.loads(one["metadata"][()])["demo"]
            seen.append(demo)
            group = file[f"data/{demo}"]
            np.testing.assert_array_equal(one["streams/actions/values"][()], group["actions"][()])
            np.testing.assert_array_equal(one["steps/action/actions"][()], group["actions"][()].astype("f4"))
            assert one["instructions/text"][0].decode() == f"lift cube {demo[5:]}"
            assert one["outcomes/kind"][0].decode() == "success"
            frames, offsets = one["streams/agentview/frames"][()].tobytes(), one["streams/agentview/offsets"][()]
            for (a, b), pixels in zip(pairwise(offsets), group["obs/agentview_image"], strict=True):
                np.testing.assert_array_equal(decode(frames[a:b]), pixels)
    assert sorted(seen) == ["demo_1", "demo_10"]
