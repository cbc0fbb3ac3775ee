"""LIBERO files, written as its create_dataset writes them and compared with h5py alone."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vladata.embodiment import Camera, Dimension, Embodiment, Signal, StreamRule
from vladata.errors import SchemaError, SourceError
from vladata.images import decode
from vladata.mapping import Mapping as SourceMapping
from vladata.recording import FrameStream, Recording, Stream
from vladata.sources import Request, Source, aloha_hdf5, hdf5_columns, libero_hdf5, robomimic_hdf5
from vladata.units import Clock, Kind, Mode, Unit

source: Source = libero_hdf5

Array = NDArray[Any]

SIDE = 16
CAP_INDEX = 5
"""Steps at the beginning that the script drops."""
TASK = "pick up the black bowl and place it on the plate"


def write(path: Path, lengths: Mapping[int, int], *, convention: str = "opengl", instruction: object = TASK) -> Path:
    """As create_dataset: the environment is played step by step, and what it shows is read after the action.

    The environment here: after action k the joint 0 is at 10 · (k + 1), and an image's brightness at the top is k + 1.
    """
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_name"] = "Libero_Tabletop_Manipulation"
        problem = {"problem_name": "libero_tabletop", "domain_name": "robosuite", "language_instruction": instruction}
        data.attrs["problem_info"] = json.dumps(problem)
        data.attrs["macros_image_convention"] = convention
        data.attrs["bddl_file_name"] = "bddl_files/libero_spatial/pick_up.bddl"
        data.attrs["bddl_file_content"] = "(define (problem LIBERO))"
        data.attrs["env_args"] = json.dumps({"type": 1, "env_kwargs": {"control_freq": 20}})
        for number, steps in lengths.items():
            rng = np.random.default_rng(number)
            played = range(CAP_INDEX, CAP_INDEX + steps)
            joints = np.zeros((steps, 7))
            joints[:, 0] = [10 * (k + 1) for k in played]
            images = rng.integers(0, 40, (steps, SIDE, SIDE, 3), dtype=np.uint8)
            images[:, 0] = [[[k + 1] * 3] * SIDE for k in played]
            group = data.create_group(f"demo_{number}")
            obs = group.create_group("obs")
            obs.create_dataset("gripper_states", data=rng.normal(size=(steps, 2)))
            obs.create_dataset("joint_states", data=joints)
            ee_states = rng.normal(size=(steps, 6))
            obs.create_dataset("ee_states", data=ee_states)
            obs.create_dataset("ee_pos", data=ee_states[:, :3])
            obs.create_dataset("ee_ori", data=ee_states[:, 3:])
            obs.create_dataset("agentview_rgb", data=images)
            obs.create_dataset("eye_in_hand_rgb", data=images[:, :, ::-1])
            obs.create_dataset("agentview_depth", data=rng.random((steps, SIDE, SIDE, 1)).astype("f4"))
            group.create_dataset("actions", data=np.tile([[float(k)] for k in played], 7))
            group.create_dataset("states", data=np.tile([[10.0 * k] for k in played], 20))
            group.create_dataset("robot_states", data=np.tile(joints[:, :1], 9))
            last = (np.arange(steps) == steps - 1).astype(np.uint8)
            group.create_dataset("rewards", data=last)
            group.create_dataset("dones", data=last)
            group.attrs["num_samples"] = steps
            group.attrs["model_file"] = "<mujoco/>"
            group.attrs["init_state"] = np.zeros(20)
        data.attrs["num_demos"] = len(lengths)
        data.attrs["total"] = sum(lengths.values())
    return path


def signal(name: str, size: int, mode: Mode | None = None) -> Signal:
    dimensions = tuple(Dimension(name=f"{name}_{i}", kind=Kind.OTHER, unit=Unit.ONE, mode=mode) for i in range(size))
    return Signal(name=name, dimensions=dimensions)


ROBOT = Embodiment(
    name="panda",
    rate_hz=20,
    proprioception=(signal("joints", 7), signal("states", 20), signal("robot", 9)),
    action=(signal("action", 7, Mode.DELTA),),
    cameras=(Camera(name="view", height=SIDE, width=SIDE),),
    streams={n: StreamRule(required=False) for n in ("joints", "states", "robot", "view")},
)
SOURCES = {
    "joints": "obs/joint_states",
    "states": "states",
    "robot": "robot_states",
    "action": "actions",
    "view": "obs/agentview_rgb",
}


def request(
    options: Mapping[str, object] | None = None, sources: Mapping[str, str] = SOURCES, **labels: object
) -> Request:
    mapping = {
        "source": "libero_hdf5",
        "streams": {n: {"from": s} for n, s in sources.items()},
        "instruction": {"from": "problem_info", "field": "language_instruction"},
        "outcome": {"from": "dones"},
        "options": dict(options or {}),
        **labels,
    }
    return Request(embodiment=ROBOT, mapping=SourceMapping.model_validate(mapping))


class Read:
    """What the source gives for one place, with all frames taken while they can be read."""

    def __init__(self, path: Path, number: int = 0, wanted: Request | None = None) -> None:
        place = next(p for p in libero_hdf5.places(path) if p.name == f"{path.name}#demo_{number:05d}")
        self.images: list[Array] = []
        for recording in libero_hdf5.read(path, place, wanted or request()):
            self.recording: Recording = recording
            stream = recording.streams.get("view")
            if isinstance(stream, FrameStream):
                self.images = [decode(bytes(stream.frames.read(i))) for i in range(stream.num_frames)]
        self.notes = "\n".join(self.recording.notes)

    def values(self, name: str) -> Array:
        stream = self.recording.streams[name]
        assert isinstance(stream, Stream)
        return stream.values


class TestAsRecorded:
    def test_without_options_nothing_is_moved_or_turned_and_both_are_said(self, tmp_path: Path) -> None:
        path = write(tmp_path / "bowl_demo.hdf5", {0: 6})
        read = Read(path)
        with h5py.File(path) as file:
            group = file["data/demo_0"]
            for name in ("joints", "states", "robot", "action"):
                np.testing.assert_array_equal(read.values(name), group[SOURCES[name]][()])
            np.testing.assert_array_equal(read.images, group["obs/agentview_rgb"][()])
        assert "view: images are upside down (macros_image_convention is opengl); options.flip_images" in read.notes
        assert "obs[t] was read after actions[t] was carried out; rows are kept as they are" in read.notes
        assert read.recording.is_stepped
        for stream in read.recording.streams.values():
            assert stream.clock is Clock.NOMINAL
            assert stream.time_ns.tolist() == [50_000_000 * t for t in range(6)]

    def test_instruction_and_success_come_from_problem_and_dones(self, tmp_path: Path) -> None:
        path = write(tmp_path / "bowl_demo.hdf5", {0: 6})
        read = Read(path)
        assert [i.text for i in read.recording.instructions] == [TASK]
        assert [o.kind for o in read.recording.outcomes] == ["success"]
        assert read.recording.metadata["problem_name"] == "libero_tabletop"
        assert read.recording.metadata["bddl_file_name"] == "bddl_files/libero_spatial/pick_up.bddl"

    @pytest.mark.parametrize(
        ("written", "text", "note"),
        [
            (TASK.split(), TASK, "a list of words, joined by spaces"),
            ([TASK], TASK, ""),
            (f'"{TASK}"', TASK, "quotation marks around it were left out"),
            ('say "yes"', 'say "yes"', ""),
        ],
    )
    def test_instruction_is_a_text_or_a_list_of_words(
        self, tmp_path: Path, written: object, text: str, note: str
    ) -> None:
        read = Read(write(tmp_path / "bowl_demo.hdf5", {0: 2}, instruction=written))
        assert [i.text for i in read.recording.instructions] == [text]
        assert note in read.notes
        assert bool(note) == ("joined by spaces" in read.notes or "quotation marks" in read.notes)

    @pytest.mark.parametrize("written", [7, None, [], [1, 2], {"a": 1}])
    def test_instruction_that_is_no_text_is_a_note(self, tmp_path: Path, written: object) -> None:
        path = write(tmp_path / "bowl_demo.hdf5", {0: 2}, instruction=written)
        if written == 7:
            with pytest.raises(SourceError, match="a task must be a text"):
                Read(path)
        else:
            read = Read(path)
            assert read.recording.instructions == ()
            assert "task: there is no problem_info.language_instruction" in read.notes


class TestUndone:
    def test_flipped_images_are_turned_upside_down_before_they_are_encoded(self, tmp_path: Path) -> None:
        path = write(tmp_path / "bowl_demo.hdf5", {0: 6})
        read = Read(path, 0, request({"flip_images": True}))
        with h5py.File(path) as file:
            np.testing.assert_array_equal(read.images, file["data/demo_0/obs/agentview_rgb"][()][:, ::-1])
        assert "view: images were turned upside down before they were encoded, as flip_images asks" in read.notes
        assert "images are upside down" not in read.notes

    @pytest.mark.parametrize("convention", ["opencv", "something"])
    def test_images_that_are_upright_are_not_turned(self, tmp_path: Path, convention: str) -> None:
        path = write(tmp_path / "bowl_demo.hdf5", {0: 3}, convention=convention)
        assert "upside down" not in Read(path).notes
        with pytest.raises(SourceError, match=f"images are in convention {convention}; .* is for opengl only"):
            Read(path, 0, request({"flip_images": True}))

    def test_file_that_declares_no_convention_is_turned_on_request(self, tmp_path: Path) -> None:
        path = write(tmp_path / "bowl_demo.hdf5", {0: 3})
        with h5py.File(path, "r+") as file:
            del file["data"].attrs["macros_image_convention"]
        assert libero_hdf5.can_read(path)
        assert "the file declares no image convention; images may be upside down" in Read(path).notes
        read = Read(path, 0, request({"flip_images": True}))
        assert "turned although the file declares no image convention" in read.notes
        assert read.images[0][-1, 0, 0] == CAP_INDEX + 1

    def test_shifted_observations_meet_the_action_that_followed_them(self, tmp_path: Path) -> None:
        path = write(tmp_path / "bowl_demo.hdf5", {0: 6})
        read = Read(path, 0, request({"shift_observations": True}))
        action = read.values("action")[:, 0]
        # By the environment of `write`: before action k the joint is at 10 · k, and so was the simulator.
        np.testing.assert_array_equal(read.values("joints")[:, 0], 10 * action)
        np.testing.assert_array_equal(read.values("robot")[:, 0], 10 * action)
        np.testing.assert_array_equal(read.values("states")[:, 0], 10 * action)
        np.testing.assert_array_equal([i[0, 0, 0] for i in read.images], action)
        assert action.tolist() == [CAP_INDEX + k for k in range(1, 6)]
        assert "the first action and the last observation are left out, 6 rows become 5 steps" in read.notes
        assert "rows are kept as they are" not in read.notes
        assert [o.kind for o in read.recording.outcomes] == ["success"]
        for stream in read.recording.streams.values():
            assert stream.time_ns.tolist() == [50_000_000 * t for t in range(5)]

    def test_one_row_is_too_few_to_shift(self, tmp_path: Path) -> None:
        path = write(tmp_path / "bowl_demo.hdf5", {0: 1})
        assert len(Read(path).images) == 1
        with pytest.raises(SourceError, match="has 1 rows; too few for a step"):
            Read(path, 0, request({"shift_observations": True}))

    def test_options_change_no_recording_id(self, tmp_path: Path) -> None:
        path = write(tmp_path / "bowl_demo.hdf5", {0: 4})
        ids = {
            Read(path, 0, request(o)).recording.recording_id
            for o in ({}, {"flip_images": True}, {"shift_observations": True})
        }
        assert len(ids) == 1

    @pytest.mark.parametrize("options", [{"flip_images": 1}, {"flip": True}, {"shift_observations": "yes"}])
    def test_wrong_options_are_refused(self, tmp_path: Path, options: dict[str, object]) -> None:
        with pytest.raises(SchemaError, match=r"options\."):
            Read(write(tmp_path / "bowl_demo.hdf5", {0: 2}), 0, request(options))


class TestFiles:
    def test_demonstrations_come_in_numeric_order(self, tmp_path: Path) -> None:
        path = write(tmp_path / "bowl_demo.hdf5", {10: 2, 9: 2, 0: 2})
        assert [p.name for p in libero_hdf5.places(path)] == [f"bowl_demo.hdf5#demo_{n:05d}" for n in (0, 9, 10)]

    @pytest.mark.parametrize("kept", ["macros_image_convention", "problem_info", "bddl_file_name"])
    def test_one_of_its_attributes_is_enough_and_no_other_source_reads_it(self, tmp_path: Path, kept: str) -> None:
        path = write(tmp_path / "bowl_demo.hdf5", {0: 2})
        with h5py.File(path, "r+") as file:
            for name in {"macros_image_convention", "problem_info", "bddl_file_name"} - {kept}:
                del file["data"].attrs[name]
        assert libero_hdf5.can_read(path)
        assert not robomimic_hdf5.can_read(path)
        assert not aloha_hdf5.can_read(path)
        assert hdf5_columns.can_read(path)

    def test_float_depth_is_refused_by_name(self, tmp_path: Path) -> None:
        path = write(tmp_path / "bowl_demo.hdf5", {0: 2})
        with pytest.raises(SourceError, match="obs/agentview_depth for view is float32"):
            Read(path, 0, request(sources={"action": "actions", "view": "obs/agentview_depth"}))

    def test_rate_is_declared_or_twenty_or_an_option(self, tmp_path: Path) -> None:
        path = write(tmp_path / "bowl_demo.hdf5", {0: 3})
        assert "env_args declares" in Read(path).notes
        with h5py.File(path, "r+") as file:
            del file["data"].attrs["env_args"]
        read = Read(path)
        assert "LIBERO's usual rate" in read.notes
        assert read.recording.streams["action"].time_ns.tolist() == [0, 50_000_000, 100_000_000]
        read = Read(path, 0, request({"rate_hz": 10}))
        assert read.recording.streams["action"].time_ns.tolist() == [0, 100_000_000, 200_000_000]

    def test_inspect_says_what_to_undo_and_offers_the_instruction(self, tmp_path: Path) -> None:
        found = libero_hdf5.inspect(write(tmp_path / "bowl_demo.hdf5", {0: 3, 1: 4}))
        assert "images are upside down (options.flip_images)" in found.problems[0]
        assert "options.shift_observations" in found.problems[0]
        fields = {(s.name, s.field) for s in found.streams if s.kind == "text"}
        assert ("problem_info", "language_instruction") in fields
        assert found.rate_hz == 20
        assert dict(found.facts)["macros_image_convention"] == "opengl"


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_choice_of_options_keeps_values_and_pixels(tmp_path: Path, data: st.DataObject) -> None:
    lengths = data.draw(st.dictionaries(st.integers(0, 50), st.integers(2, 6), min_size=1, max_size=3))
    is_flipped, is_shifted = data.draw(st.booleans()), data.draw(st.booleans())
    path = write(tmp_path / "random.hdf5", lengths)
    wanted = request({"flip_images": is_flipped, "shift_observations": is_shifted})
    for number, steps in lengths.items():
        read = Read(path, number, wanted)
        with h5py.File(path) as file:
            group = file[f"data/demo_{number}"]
            seen, acted = (slice(0, steps - 1), slice(1, steps)) if is_shifted else (slice(None), slice(None))
            pixels = group["obs/agentview_rgb"][()][seen]
            np.testing.assert_array_equal(read.images, pixels[:, ::-1] if is_flipped else pixels)
            np.testing.assert_array_equal(read.values("joints"), group["obs/joint_states"][()][seen])
            np.testing.assert_array_equal(read.values("action"), group["actions"][()][acted])
