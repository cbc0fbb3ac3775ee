"""ALOHA episodes, written as the recorders of ACT and Mobile ALOHA write them and compared with h5py alone."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
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
from vladata.sync.align import synchronize
from vladata.units import Clock, Kind, Mode, Unit

source: Source = aloha_hdf5

Array = NDArray[Any]

STEPS = 12
REAL_CAMERAS = ("cam_high", "cam_low", "cam_left_wrist", "cam_right_wrist")
HEIGHT, WIDTH = 48, 64


# ------------------------------------------------------------------- writers, in the layout of the recorders


def picture(seed: int) -> NDArray[np.uint8]:
    """Smooth, so that JPEGs differ in length and look like a picture."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (WIDTH, HEIGHT)), dtype=np.uint8)


def vectors(steps: int, seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    names = ("/observations/qpos", "/observations/qvel", "/observations/effort", "/action")
    return {n: rng.normal(size=(steps, 14)) for n in names}


def write_raw(path: Path, cameras: Sequence[str] = ("top",), steps: int = STEPS, *, has_effort: bool = False) -> Path:
    """As record_sim_episodes: float32 by default, raw images in chunks of one."""
    data = vectors(steps)
    with h5py.File(path, "w", rdcc_nbytes=1024**2 * 2) as root:
        root.attrs["sim"] = True
        observations = root.create_group("observations")
        images = observations.create_group("images")
        for k, name in enumerate(cameras):
            images.create_dataset(name, (steps, HEIGHT, WIDTH, 3), dtype="uint8", chunks=(1, HEIGHT, WIDTH, 3))
            images[name][...] = [picture(100 * k + t) for t in range(steps)]
        for name, values in data.items():
            if has_effort or not name.endswith("effort"):
                root.create_dataset(name, (steps, 14), dtype="f4")
                root[name][...] = values
    return path


def jpegs(camera: str, steps: int) -> list[bytes]:
    """What cv2.imencode makes of RGB arrays, without swapping channels: the recorders' own habit."""
    seed = sum(camera.encode())
    encoded = [cv2.imencode(".jpg", picture(seed + t), [int(cv2.IMWRITE_JPEG_QUALITY), 50])[1] for t in range(steps)]
    return [e.tobytes() for e in encoded]


def write_mobile(path: Path, cameras: Sequence[str] = REAL_CAMERAS, steps: int = STEPS) -> Path:
    """As record_episodes of Mobile ALOHA: all images padded to the longest, compress_len in the config's order."""
    frames = {c: jpegs(c, steps) for c in cameras}
    padded = max(len(f) for each in frames.values() for f in each)
    with h5py.File(path, "w", rdcc_nbytes=1024**2 * 2) as root:
        root.attrs["sim"] = False
        root.attrs["compress"] = True
        observations = root.create_group("observations")
        images = observations.create_group("images")
        for camera in cameras:
            images.create_dataset(camera, (steps, padded), dtype="uint8", chunks=(1, padded))
            for t, frame in enumerate(frames[camera]):
                images[camera][t, : len(frame)] = np.frombuffer(frame, np.uint8)
        for name, values in vectors(steps).items():
            root.create_dataset(name, (steps, 14), dtype="f4")
            root[name][...] = values
        root.create_dataset("base_action", (steps, 2), dtype="f4")
        root["base_action"][...] = np.random.default_rng(5).normal(size=(steps, 2))
        root.create_dataset("compress_len", (len(cameras), steps), dtype="f4")
        root["/compress_len"][...] = [[len(f) for f in frames[c]] for c in cameras]
    return path


def write_converted(path: Path, steps: int = STEPS) -> Path:
    """As compress_data: cameras by alphabet, each padded to its own longest, contiguous; depth stays raw."""
    cameras = sorted(["cam_low", "cam_high"])
    with h5py.File(path, "w") as root:
        root.attrs["sim"] = True
        root.attrs["compress"] = True
        for name, values in vectors(steps).items():
            root.create_dataset(name, data=values.astype("f4"))
        images = root["observations"].create_group("images")
        images.create_dataset("cam_high_depth", data=depths(steps))
        for camera in cameras:
            frames = jpegs(camera, steps)
            images.create_dataset(camera, (steps, max(map(len, frames))), dtype="uint8")
            for t, frame in enumerate(frames):
                images[camera][t, : len(frame)] = np.frombuffer(frame, np.uint8)
        lengths = np.array([[len(f) for f in jpegs(c, steps)] for c in cameras])
        root.create_dataset("compress_len", lengths.shape, dtype="f4")
        root["/compress_len"][...] = lengths
    return path


def depths(steps: int) -> NDArray[np.uint16]:
    return np.random.default_rng(9).integers(0, 60_000, (steps, HEIGHT, WIDTH), dtype=np.uint16)


# ------------------------------------------------------------------- a schema and mappings


def signal(name: str, size: int, mode: Mode | None = None) -> Signal:
    dimensions = tuple(Dimension(name=f"{name}_{i}", kind=Kind.OTHER, unit=Unit.ONE, mode=mode) for i in range(size))
    return Signal(name=name, dimensions=dimensions)


ROBOT = Embodiment(
    name="aloha",
    rate_hz=50,
    proprioception=(signal("qpos", 14), signal("effort", 14)),
    action=(signal("action", 14, Mode.ABSOLUTE), signal("base", 2, Mode.VELOCITY)),
    cameras=(
        Camera(name="high", height=HEIGHT, width=WIDTH, color_order="bgr"),
        Camera(name="low", height=HEIGHT, width=WIDTH),
        Camera(name="depth", height=HEIGHT, width=WIDTH, depth=Depth(unit="mm")),
    ),
    streams={n: StreamRule(required=False) for n in ("effort", "base", "high", "low", "depth")},
)

SOURCES = {
    "qpos": "observations/qpos",
    "effort": "observations/effort",
    "action": "action",
    "base": "base_action",
    "high": "observations/images/cam_high",
    "low": "observations/images/cam_low",
    "depth": "observations/images/cam_high_depth",
}


def request(
    changes: Mapping[str, object] | None = None, options: Mapping[str, object] | None = None, **labels: object
) -> Request:
    streams = {n: {"from": s} if isinstance(s, str) else s for n, s in {**SOURCES, **(changes or {})}.items() if s}
    mapping = {"source": "aloha_hdf5", "streams": streams, "options": dict(options or {}), **labels}
    return Request(embodiment=ROBOT, mapping=SourceMapping.model_validate(mapping))


class Read:
    """What the source gives, with all frames taken while they can be read."""

    def __init__(self, path: Path, wanted: Request | None = None) -> None:
        (place,) = aloha_hdf5.places(path)
        self.frames: dict[str, list[bytes]] = {}
        for recording in aloha_hdf5.read(path, place, wanted or request()):
            self.recording: Recording = recording
            for name, stream in recording.streams.items():
                if isinstance(stream, FrameStream):
                    found = [bytes(stream.frames.read(i)) for i in range(stream.num_frames)]
                    assert [len(f) for f in found] == stream.frames.sizes.tolist()
                    self.frames[name] = found
        self.notes = "\n".join(self.recording.notes)

    def values(self, name: str) -> Array:
        stream = self.recording.streams[name]
        assert isinstance(stream, Stream)
        return stream.values

    def camera(self, name: str) -> FrameStream:
        stream = self.recording.streams[name]
        assert isinstance(stream, FrameStream)
        return stream


class TestRaw:
    def test_values_stamps_and_pixels_equal_what_h5py_reads(self, tmp_path: Path) -> None:
        path = write_raw(tmp_path / "episode_0.hdf5")
        read = Read(path, request({"high": "observations/images/top"}))
        with h5py.File(path) as root:
            for name, place in (("qpos", "observations/qpos"), ("action", "action")):
                assert read.values(name).dtype == np.float32
                np.testing.assert_array_equal(read.values(name), root[place][()])
            for data, pixels in zip(read.frames["high"], root["observations/images/top"][()], strict=True):
                np.testing.assert_array_equal(decode(data), pixels)
        camera = read.camera("high")
        assert (camera.codec, camera.height, camera.width, camera.pixel_format) == ("png", HEIGHT, WIDTH, "rgb8")
        for stream in read.recording.streams.values():
            assert stream.clock is Clock.NOMINAL
            assert stream.time_ns.tolist() == [20_000_000 * t for t in range(STEPS)]
        assert read.recording.is_stepped
        assert "encoded as PNG, without loss" in read.notes
        assert "no times are recorded: stamps are step / 50 Hz" in read.notes
        assert read.recording.metadata == {"sim": "True"}

    def test_what_is_missing_and_what_is_left_out_are_notes(self, tmp_path: Path) -> None:
        read = Read(write_raw(tmp_path / "episode_0.hdf5"))
        assert "effort: there is no observations/effort" in read.notes
        assert "high: there is no observations/images/cam_high" in read.notes
        assert "not kept: observations/images/top, observations/qvel" in read.notes

    def test_required_array_that_is_not_there_names_those_that_are(self, tmp_path: Path) -> None:
        with pytest.raises(
            SourceError, match=r"no dataset 'observations/pose' for qpos; there are action, observations/"
        ):
            Read(write_raw(tmp_path / "episode_0.hdf5"), request({"qpos": "observations/pose"}))

    def test_effort_is_read_where_it_is_there(self, tmp_path: Path) -> None:
        path = write_raw(tmp_path / "episode_0.hdf5", has_effort=True)
        read = Read(path)
        with h5py.File(path) as root:
            np.testing.assert_array_equal(read.values("effort"), root["observations/effort"][()])

    def test_raw_images_under_the_name_of_compressed_ones_are_told_by_their_shape(self, tmp_path: Path) -> None:
        path = write_raw(tmp_path / "episode_0.hdf5", ["cam_high"])
        with h5py.File(path, "r+") as root:
            root.attrs["compress"] = True
        read = Read(path)
        assert read.camera("high").codec == "png"
        assert "the attribute compress is True; images are raw by their shape" in read.notes


class TestJpeg:
    @pytest.mark.parametrize("cameras", [REAL_CAMERAS, ("cam_high", "cam_left_wrist", "cam_right_wrist")])
    def test_every_jpeg_keeps_its_bytes_without_the_padding(self, tmp_path: Path, cameras: Sequence[str]) -> None:
        read = Read(write_mobile(tmp_path / "episode_0.hdf5", cameras))
        assert read.frames["high"] == jpegs("cam_high", STEPS)
        assert read.camera("high").codec == "jpeg"
        assert ("low" in read.frames) == ("cam_low" in cameras)
        assert "compress_len" not in read.notes

    def test_the_row_of_lengths_is_found_whatever_their_order(self, tmp_path: Path) -> None:
        for number, cameras in enumerate((REAL_CAMERAS, tuple(reversed(REAL_CAMERAS)))):
            read = Read(write_mobile(tmp_path / f"episode_{number}.hdf5", cameras))
            assert read.frames["low"] == jpegs("cam_low", STEPS)
            assert "compress_len" not in read.notes

    def test_lengths_that_lie_are_reported_and_not_believed(self, tmp_path: Path) -> None:
        path = write_mobile(tmp_path / "episode_0.hdf5")
        with h5py.File(path, "r+") as root:
            root["compress_len"][...] = 7
        read = Read(path)
        assert read.frames["high"] == jpegs("cam_high", STEPS)
        assert "high: no row of compress_len holds the lengths of its images" in read.notes

    def test_converted_files_have_their_own_padding_and_raw_depth(self, tmp_path: Path) -> None:
        read = Read(write_converted(tmp_path / "episode_0.hdf5"))
        assert read.frames["high"] == jpegs("cam_high", STEPS)
        assert read.frames["low"] == jpegs("cam_low", STEPS)
        assert read.camera("depth").pixel_format == "mono16"
        for data, expected in zip(read.frames["depth"], depths(STEPS), strict=True):
            np.testing.assert_array_equal(decode_depth(data), expected)

    def test_the_attribute_is_not_needed(self, tmp_path: Path) -> None:
        path = write_mobile(tmp_path / "episode_0.hdf5")
        with h5py.File(path, "r+") as root:
            del root.attrs["compress"], root["compress_len"]
        assert Read(path).frames["high"] == jpegs("cam_high", STEPS)
        with h5py.File(path, "r+") as root:
            root.attrs["compress"] = False
        read = Read(path)
        assert read.frames["high"] == jpegs("cam_high", STEPS)
        assert "the attribute compress is False; images are encoded by their shape" in read.notes

    def test_rows_that_were_not_cleared_are_cut_at_the_last_end_mark(self, tmp_path: Path) -> None:
        path = write_mobile(tmp_path / "episode_0.hdf5")
        with h5py.File(path, "r+") as root:
            row = root["observations/images/cam_high"][3]
            length = len(jpegs("cam_high", STEPS)[3])
            row[length : length + 3] = (1, 2, 3)
            root["observations/images/cam_high"][3] = row
        read = Read(path)
        if length + 3 <= len(row):
            assert read.frames["high"][3] == jpegs("cam_high", STEPS)[3]
            assert f"high: 1 of {STEPS} rows hold other bytes than zeros after the image" in read.notes

    def test_row_that_is_no_image_is_kept_and_counted(self, tmp_path: Path) -> None:
        path = write_mobile(tmp_path / "episode_0.hdf5")
        with h5py.File(path, "r+") as root:
            root["observations/images/cam_high"][0] = 0
            root["observations/images/cam_high"][2, :2] = 1
        read = Read(path)
        assert read.frames["high"][0] == b""
        assert f"high: 2 of {STEPS} frames are no jpeg; they are kept as recorded" in read.notes

    def test_camera_without_one_readable_image_is_refused(self, tmp_path: Path) -> None:
        path = write_mobile(tmp_path / "episode_0.hdf5")
        with h5py.File(path, "r+") as root:
            root["observations/images/cam_high"][...] = 0
        with pytest.raises(SourceError, match="cam_high has no readable image"):
            Read(path)

    def test_channels_are_never_swapped_and_the_schema_says_how_they_lie(self, tmp_path: Path) -> None:
        read = Read(write_mobile(tmp_path / "episode_0.hdf5"))
        pixels = picture(sum(b"cam_high"))
        shown = decode(read.frames["high"][0])
        # The recorder gave RGB to an encoder that takes BGR: decoding by the standard swaps red and blue.
        assert np.abs(shown[..., ::-1].astype(int) - pixels).mean() < np.abs(shown.astype(int) - pixels).mean() / 2
        assert "high: channels lie as the file has them; the schema declares bgr" in read.notes
        assert "low: channels lie as the file has them; the schema declares rgb" in read.notes


class TestMobileBase:
    def test_base_action_is_an_action_of_its_own(self, tmp_path: Path) -> None:
        path = write_mobile(tmp_path / "episode_0.hdf5")
        read = Read(path)
        with h5py.File(path) as root:
            np.testing.assert_array_equal(read.values("base"), root["base_action"][()])

    def test_part_of_a_vector_is_selected_by_index(self, tmp_path: Path) -> None:
        path = write_mobile(tmp_path / "episode_0.hdf5")
        read = Read(path, request({"base": {"from": "action", "select": [13, 6]}}))
        with h5py.File(path) as root:
            np.testing.assert_array_equal(read.values("base"), root["action"][()][:, [13, 6]])


class TestRate:
    def test_the_rate_is_an_option(self, tmp_path: Path) -> None:
        read = Read(write_raw(tmp_path / "episode_0.hdf5"), request(options={"rate_hz": 30}))
        expected = [round(t * 10**9 / 30) for t in range(STEPS)]
        assert read.recording.streams["qpos"].time_ns.tolist() == expected
        assert "as options.rate_hz says" in read.notes
        assert "steps are at 30 Hz; aloha has 50 Hz" in read.notes

    def test_one_step_between_action_and_observation_is_an_offset_of_the_mapping(self, tmp_path: Path) -> None:
        path = write_raw(tmp_path / "episode_0.hdf5")
        wanted = request({"action": {"from": "action", "offset_ns": 20_000_000}})
        read = Read(path, wanted)
        steps = synchronize(read.recording, wanted.embodiment, wanted.mapping).steps
        with h5py.File(path) as root:
            np.testing.assert_array_equal(read.values("action"), root["action"][()])
            np.testing.assert_array_equal(steps.action["action"][1:], root["action"][:-1])  # as ACT trains
            np.testing.assert_array_equal(steps.proprioception["qpos"], root["observations/qpos"][()])
        assert steps.valid["action"].tolist() == [False] + [True] * (STEPS - 1)

    @pytest.mark.parametrize(
        ("options", "reason"), [({"rate_hz": 0}, "is 0"), ({"fps": 3}, "is not known"), ({"rate_hz": "x"}, "a number")]
    )
    def test_wrong_options_are_refused(self, tmp_path: Path, options: dict[str, object], reason: str) -> None:
        with pytest.raises(SchemaError, match=reason):
            Read(write_raw(tmp_path / "episode_0.hdf5"), request(options=options))

    def test_arrays_of_another_length_name_both(self, tmp_path: Path) -> None:
        path = write_raw(tmp_path / "episode_0.hdf5")
        with h5py.File(path, "r+") as root:
            del root["action"]
            root["action"] = np.zeros((STEPS + 1, 14))
        with pytest.raises(SourceError, match=f"action has {STEPS + 1} rows, observations/qpos has {STEPS}"):
            Read(path)

    def test_episode_without_steps_is_refused(self, tmp_path: Path) -> None:
        with h5py.File(tmp_path / "episode_0.hdf5", "w") as root:
            root["action"] = root["observations/qpos"] = np.zeros((0, 14))
        with pytest.raises(SourceError, match="0 rows; too few for a step"):
            Read(tmp_path / "episode_0.hdf5")


class TestImagesThatCannotBe:
    @pytest.mark.parametrize(
        ("values", "reason"),
        [
            (np.zeros((STEPS, HEIGHT, WIDTH, 3), "f4"), "is float32"),
            (np.zeros((STEPS, 3, HEIGHT, WIDTH), "u1"), r"is uint8 \[12, 3, 48, 64\]; images must be"),
            (np.zeros((STEPS, HEIGHT, WIDTH, 3), "u2"), "is uint16"),
            (np.zeros((STEPS, 0, WIDTH, 3), "u1"), "is uint8"),
            (np.zeros(STEPS, "u1"), "is uint8"),
        ],
    )
    def test_other_arrays_are_refused_by_name(self, tmp_path: Path, values: Array, reason: str) -> None:
        path = write_raw(tmp_path / "episode_0.hdf5")
        with h5py.File(path, "r+") as root:
            root["observations/images/cam_high"] = values
        with pytest.raises(SourceError, match=f"cam_high for high {reason}"):
            Read(path)

    def test_colours_can_not_be_depth(self, tmp_path: Path) -> None:
        path = write_raw(tmp_path / "episode_0.hdf5", ["cam_high"])
        with pytest.raises(SourceError, match="depth must have one number for each pixel"):
            Read(path, request({"high": "", "depth": "observations/images/cam_high"}))


class TestLabels:
    def test_texts_and_attributes_become_labels_where_they_are_mapped(self, tmp_path: Path) -> None:
        path = write_raw(tmp_path / "episode_0.hdf5")
        with h5py.File(path, "r+") as root:
            root["language_raw"] = [b"hand over the cube"]
            root.attrs["success"] = np.bool_(False)
        read = Read(path, request(instruction={"from": "language_raw"}, outcome={"from": "success"}))
        assert [i.text for i in read.recording.instructions] == ["hand over the cube"]
        assert [o.kind for o in read.recording.outcomes] == ["failure"]

    def test_label_that_is_not_there_is_a_note(self, tmp_path: Path) -> None:
        read = Read(write_raw(tmp_path / "episode_0.hdf5"), request(instruction={"from": "task"}))
        assert read.recording.instructions == ()
        assert "task: there is no task" in read.notes


class TestFiles:
    def test_only_this_source_reads_it_and_the_general_one(self, tmp_path: Path) -> None:
        for path in (write_raw(tmp_path / "a.hdf5"), write_mobile(tmp_path / "b.hdf5")):
            assert [m.can_read(path) for m in (aloha_hdf5, robomimic_hdf5, libero_hdf5)] == [True, False, False]
            assert hdf5_columns.can_read(path)
            assert hdf5_columns.IS_GENERAL
            assert not aloha_hdf5.IS_GENERAL

    def test_other_files_are_not_read(self, tmp_path: Path) -> None:
        (tmp_path / "text.hdf5").write_text("no")
        with h5py.File(tmp_path / "other.hdf5", "w") as root:
            root["action"] = np.zeros(3)  # no vector for each step
            root["observations/qpos"] = np.zeros((3, 2))
        with h5py.File(tmp_path / "empty.hdf5", "w"):
            pass
        for path in [*tmp_path.iterdir(), tmp_path, tmp_path / "none.hdf5"]:
            assert not aloha_hdf5.can_read(path)

    def test_truncated_file_is_refused_by_the_gate(self, tmp_path: Path) -> None:
        path = write_raw(tmp_path / "episode_0.hdf5")
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        assert not aloha_hdf5.can_read(path)
        with pytest.raises(GateError, match="truncated file"):
            aloha_hdf5.places(path)

    def test_recording_is_told_by_content_and_name(self, tmp_path: Path) -> None:
        path = write_raw(tmp_path / "episode_0.hdf5")
        first = Read(path).recording
        assert first.files[0].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert first.recording_id == Read(path).recording.recording_id
        with h5py.File(path, "r+") as root:
            root["action"][0, 0] += 1
        assert Read(path).recording.recording_id != first.recording_id

    def test_inspect_tells_shapes_codecs_and_the_rate(self, tmp_path: Path) -> None:
        found = aloha_hdf5.inspect(write_converted(tmp_path / "episode_0.hdf5"))
        by_name = {s.name: s for s in found.streams}
        assert found.rate_hz == 50
        assert by_name["observations/images/cam_high"].codec == "jpeg"
        assert by_name["observations/images/cam_high"].shape == (HEIGHT, WIDTH, 3)
        assert by_name["observations/images/cam_high_depth"].shape == (HEIGHT, WIDTH, 1)
        assert by_name["observations/images/cam_high_depth"].dtype == "uint16"
        assert by_name["action"].shape == (14,)
        assert ("cameras", "cam_high, cam_high_depth, cam_low") in found.facts


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_episodes_come_back_as_they_were_written(tmp_path: Path, data: st.DataObject) -> None:
    steps = data.draw(st.integers(1, 9))
    dtype = data.draw(st.sampled_from(["f4", "f8", "<f4", ">f4"]))
    height, width = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    chunk = data.draw(st.integers(1, steps))
    compression = data.draw(st.sampled_from([None, "gzip", "lzf"]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    pixels = rng.integers(0, 256, (steps, height, width, 3), dtype=np.uint8)
    frames = [cv2.imencode(".jpg", p)[1].tobytes() for p in pixels]
    padded = np.zeros((steps, max(map(len, frames)) + data.draw(st.integers(0, 5))), np.uint8)
    for row, frame in zip(padded, frames, strict=True):
        row[: len(frame)] = np.frombuffer(frame, np.uint8)
    values = rng.normal(size=(2, steps, 14)).astype(dtype)
    path = tmp_path / "episode_0.hdf5"
    with h5py.File(path, "w") as root:
        root.create_dataset("action", data=values[0])
        root.create_dataset("observations/qpos", data=values[1], chunks=(chunk, 3), compression=compression)
        shape = (chunk, height, width, 1)
        root.create_dataset("observations/images/cam_high", data=pixels, chunks=shape, compression=compression)
        root.create_dataset("observations/images/cam_low", data=padded)
    read = Read(path)
    for name, expected in (("action", values[0]), ("qpos", values[1])):
        assert read.values(name).dtype == np.dtype(dtype).newbyteorder("=")
        np.testing.assert_array_equal(read.values(name), expected)
    assert read.frames["low"] == frames
    for frame, expected in zip(read.frames["high"], pixels, strict=True):
        np.testing.assert_array_equal(decode(frame), expected)
    assert read.recording.streams["high"].time_ns.tolist() == [20_000_000 * t for t in range(steps)]


SCHEMA = """
name: aloha
rate_hz: 50
proprioception:
  - name: qpos
    dimensions: [{}]
action:
  - name: action
    dimensions: [{}]
cameras:
  - {{name: cam_high, height: 48, width: 64, color_order: bgr}}
  - {{name: cam_low, height: 48, width: 64, color_order: bgr}}
"""


def test_the_command_takes_a_folder_of_episodes_to_a_dataset(cli: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    folder.mkdir()
    for number in (0, 2, 10):
        write_mobile(folder / f"episode_{number}.hdf5", steps=STEPS + number)
    joints = ", ".join(f"{{name: joint_{i}, kind: other, unit: '1'}}" for i in range(14))
    schema, mapping = tmp_path / "aloha.yaml", tmp_path / "mapping.yaml"
    schema.write_text(SCHEMA.format(joints, joints.replace("'1'", "'1', mode: absolute")))
    done = cli("inspect", folder / "episode_0.hdf5", "-s", schema, "--write-mapping", mapping)
    assert done.returncode == 0, done.stderr
    assert "aloha_hdf5" in done.stdout
    text = mapping.read_text()
    assert "qpos: {from: observations/qpos" in text
    assert "cam_high: {from: observations/images/cam_high" in text
    out = tmp_path / "dataset"
    done = cli("ingest", folder, "-s", schema, "--mapping", mapping, "-o", out, "--set", "instruction=hand it over")
    assert done.returncode == 0, done.stderr
    assert cli("validate", out, "--fail-on", "error").returncode == 0
    lengths = []
    for file in sorted(out.glob("episodes/*/*.h5")):
        with h5py.File(file) as episode:
            steps = len(episode["steps/time_ns"])
            lengths.append(steps)
            with h5py.File(folder / f"episode_{steps - STEPS}.hdf5") as root:
                np.testing.assert_array_equal(episode["steps/action/action"][()], root["action"][()])
                np.testing.assert_array_equal(episode["streams/qpos/values"][()], root["observations/qpos"][()])
            frames, offsets = episode["streams/cam_high/frames"][()].tobytes(), episode["streams/cam_high/offsets"][()]
            expected = jpegs("cam_high", steps)
            assert [frames[a:b] for a, b in pairwise(offsets)] == expected
    assert sorted(lengths) == [STEPS, STEPS + 2, STEPS + 10]
