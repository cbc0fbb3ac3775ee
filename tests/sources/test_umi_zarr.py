"""Replay buffers in zarr, written as UMI and Diffusion Policy write them, with the zarr package."""

import json
import random
import shutil
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vladata.embodiment import Camera, Dimension, Embodiment, Signal, StreamRule
from vladata.errors import GateError, SchemaError, SourceError, VladataError
from vladata.images import decode, decode_depth
from vladata.mapping import Mapping as SourceMapping
from vladata.recording import FrameStream, Recording, Stream
from vladata.sources import Place, Request, Source, umi_zarr
from vladata.sources._zip_members import ZipFile
from vladata.units import Clock, Kind, Mode, RotationConvention, Unit

zarr = pytest.importorskip("zarr", reason="the extra 'umi' is not installed")
numcodecs = pytest.importorskip("numcodecs", reason="the extra 'umi' is not installed")
codecs = pytest.importorskip("imagecodecs.numcodecs", reason="the extra 'umi' is not installed")

source: Source = umi_zarr

SIDE = 224
ENDS = (3, 4, 9)
RATE = (60_000, 1_001)


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    codecs.register_codecs()


def nominal(count: int) -> list[int]:
    return [round(k * 10**9 * RATE[1] / RATE[0]) for k in range(count)]


def write_store(
    path: Path, arrays: Mapping[str, tuple[np.ndarray, tuple[int, ...], Any]], ends: object = ENDS, **options: Any
) -> Path:
    """Write arrays with their chunks and compressor, as zarr does it in format 2."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # duplicate names of a ZIP file, unstable codecs
        is_zip = path.name.endswith(".zip")
        store = zarr.storage.ZipStore(path, mode="w") if is_zip else zarr.storage.LocalStore(path)
        root = zarr.open_group(store=store, mode="w", zarr_format=2)
        data, meta = root.create_group("data"), root.create_group("meta")
        for name, (values, chunks, compressor) in arrays.items():
            array = data.create_array(
                name,
                shape=values.shape,
                dtype=values.dtype,
                chunks=chunks,
                compressors=compressor,
                **{"config": {"write_empty_chunks": True}, **options},
            )
            array[:] = values
        wanted = np.asarray(ends, dtype=np.int64)
        array = meta.create_array("episode_ends", shape=wanted.shape, dtype=wanted.dtype, chunks=wanted.shape or (1,))
        array[...] = wanted
        store.close()
    return path


def umi_arrays(seed: int = 0, side: int = SIDE, num_rows: int = ENDS[-1]) -> dict[str, Any]:
    """What UMI keeps, with its chunks and compressors."""
    random_ = np.random.default_rng(seed)
    blosc = numcodecs.Blosc(cname="zstd", clevel=5)
    shapes = {"eef_pos": 3, "eef_rot_axis_angle": 3, "gripper_width": 1}
    arrays: dict[str, Any] = {
        f"robot0_{n}": (random_.normal(size=(num_rows, d)).astype(np.float32), (num_rows, d), blosc)
        for n, d in shapes.items()
    }
    for name in ("start", "end"):
        pose = np.repeat(random_.normal(size=(len(ENDS), 6)), np.diff(ENDS, prepend=0), axis=0)[:num_rows]
        arrays[f"robot0_demo_{name}_pose"] = (pose, pose.shape, blosc)
    frames = random_.integers(0, 256, (num_rows, side, side, 3), dtype=np.uint8)
    arrays["camera0_rgb"] = (frames, (1, side, side, 3), codecs.Jpegxl(level=99, numthreads=1))
    return arrays


def vector(name: str, size: int, mode: Mode | None = None) -> Signal:
    dimensions = tuple(Dimension(name=f"{name}_{k}", kind=Kind.OTHER, unit=Unit.ONE, mode=mode) for k in range(size))
    return Signal(name=name, dimensions=dimensions, rotation=RotationConvention.ROTATION_VECTOR)


def robot(side: int = SIDE, **signals: int) -> Embodiment:
    return Embodiment(
        name="umi",
        rate_hz=59.94,
        proprioception=tuple(vector(n, d) for n, d in (signals or {"pos": 3, "rot": 3, "width": 1}).items()),
        cameras=(Camera(name="front", height=side, width=side),),
    )


SOURCES = {
    "pos": "robot0_eef_pos",
    "rot": "data/robot0_eef_rot_axis_angle",
    "width": "robot0_gripper_width",
    "front": "camera0_rgb",
}


def request(embodiment: Embodiment | None = None, streams: dict[str, str] | None = None, **more: object) -> Request:
    entries = {k: {"from": v} for k, v in (SOURCES if streams is None else streams).items()}
    mapping = SourceMapping.model_validate({"source": "umi_zarr", "streams": entries, **more})
    return Request(embodiment=embodiment or robot(), mapping=mapping)


def values(recording: Recording, name: str) -> np.ndarray:
    stream = recording.streams[name]
    assert isinstance(stream, Stream)
    return stream.values


def frames(recording: Recording, name: str = "front") -> list[bytes]:
    stream = recording.streams[name]
    assert isinstance(stream, FrameStream)
    found = [bytes(stream.frames.read(k)) for k in range(stream.num_frames)]
    assert [len(f) for f in found] == stream.frames.sizes.tolist()
    return found


@pytest.fixture(scope="module", params=["dataset.zarr.zip", "dataset.zarr"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("umi") / request.param, umi_arrays())


def reopened(path: Path) -> Any:
    """The store by its own package."""
    inner = zarr.storage.ZipStore(path, mode="r") if path.is_file() else zarr.storage.LocalStore(path)
    return zarr.open_group(store=inner, mode="r", zarr_format=2)


class TestUmi:
    def test_all_episodes_equal_the_store_as_zarr_reads_it(self, store: Path) -> None:
        assert umi_zarr.can_read(store)
        places = umi_zarr.places(store)
        assert [p.name for p in places] == [f"{store.name}#{k:05d}" for k in range(3)]
        root = reopened(store)
        ends = [0, *root["meta/episode_ends"][:].tolist()]
        assert ends == [0, *ENDS]
        for k, place in enumerate(places):
            rows = slice(ends[k], ends[k + 1])
            for recording in umi_zarr.read(store, place, request()):
                assert recording.is_stepped
                for name, array in SOURCES.items():
                    expected = root[f"data/{array.removeprefix('data/')}"][rows]
                    stream = recording.streams[name]
                    assert stream.clock is Clock.NOMINAL
                    assert stream.time_ns.tolist() == nominal(ends[k + 1] - ends[k])
                    if name == "front":
                        pixels = np.stack([decode(f) for f in frames(recording)])
                        np.testing.assert_array_equal(pixels, expected)
                    else:
                        assert values(recording, name).dtype == np.float32
                        np.testing.assert_array_equal(values(recording, name), expected)
                assert "no times are recorded: stamps are step / 59.94 Hz, the rate of UMI's cameras" in recording.notes
                assert any(
                    "JPEG XL images of data/camera0_rgb are decoded and kept as PNG" in n for n in recording.notes
                )
                assert "not kept: robot0_demo_end_pose, robot0_demo_start_pose" in recording.notes

    def test_arrays_side_by_side_make_one_signal(self, store: Path) -> None:
        joined = "robot0_eef_pos + robot0_eef_rot_axis_angle+data/robot0_gripper_width"
        wanted = request(robot(pose=7), {"pose": joined, "front": "camera0_rgb"})
        (recording,) = umi_zarr.read(store, Place(name=f"{store.name}#00002"), wanted)
        root = reopened(store)
        parts = [root[f"data/robot0_{n}"][4:9] for n in ("eef_pos", "eef_rot_axis_angle", "gripper_width")]
        np.testing.assert_array_equal(values(recording, "pose"), np.concatenate(parts, axis=1))

    def test_the_id_is_of_the_content_and_not_of_the_mapping(self, store: Path, tmp_path: Path) -> None:
        place = Place(name=f"{store.name}#00000")
        (one,) = umi_zarr.read(store, place, request())
        (less,) = umi_zarr.read(store, place, request(robot(pos=3), {"pos": "robot0_eef_pos", "front": "camera0_rgb"}))
        assert one.recording_id == less.recording_id
        other = write_store(tmp_path / store.name, umi_arrays(seed=1))
        (two,) = umi_zarr.read(other, place, request())
        assert two.recording_id != one.recording_id

    def test_the_rate_is_an_option(self, store: Path) -> None:
        place = Place(name=f"{store.name}#00000")
        (recording,) = umi_zarr.read(store, place, request(options={"rate_hz": 10}))
        assert recording.streams["pos"].time_ns.tolist() == [0, 10**8, 2 * 10**8]
        with pytest.raises(SchemaError, match=r"options\.rate_hz is -1"):
            list(umi_zarr.read(store, place, request(options={"rate_hz": -1})))

    def test_a_missing_array_names_those_there_are(self, store: Path) -> None:
        wanted = request(robot(pos=3), {"pos": "robot1_eef_pos", "front": "camera0_rgb"})
        with pytest.raises(SourceError, match=r"no array 'data/robot1_eef_pos'; there are camera0_rgb, robot0_"):
            list(umi_zarr.read(store, Place(name=f"{store.name}#00000"), wanted))
        embodiment = robot(pos=3).model_copy(update={"streams": {"pos": StreamRule(required=False)}})
        less = Request(embodiment=embodiment, mapping=wanted.mapping)
        (recording,) = umi_zarr.read(store, Place(name=f"{store.name}#00000"), less)
        assert "pos: the store has no robot1_eef_pos" in recording.notes

    def test_texts_and_fields_are_refused(self, store: Path) -> None:
        place = Place(name=f"{store.name}#00000")
        with pytest.raises(SourceError, match="a replay buffer has no texts"):
            list(umi_zarr.read(store, place, request(instruction={"from": "task"})))
        with pytest.raises(SourceError, match="no such episode"):
            list(umi_zarr.read(store, Place(name=f"{store.name}#00003"), request()))

    def test_inspect_describes_the_arrays(self, store: Path) -> None:
        inspection = umi_zarr.inspect(store)
        by_name = {s.name: s for s in inspection.streams}
        assert by_name["robot0_eef_pos"].shape == (3,)
        camera = by_name["camera0_rgb"]
        assert (camera.kind, camera.codec, camera.shape) == ("image", "jpegxl", (SIDE, SIDE, 3))
        assert inspection.rate_hz == 59.94
        assert inspection.facts == (("episodes", "3"), ("steps", "9"))
        assert any("there is no action; derived" in p for p in inspection.problems)


def pusht(random_: np.random.Generator, num_rows: int = ENDS[-1]) -> dict[str, Any]:
    """What Diffusion Policy keeps: many rows in a chunk, images as float32."""
    images = random_.integers(0, 256, (num_rows, 16, 16, 3)).astype(np.float32)
    blosc = numcodecs.Blosc(cname="lz4", clevel=5, shuffle=0)
    return {
        "state": (random_.normal(size=(num_rows, 5)).astype(np.float32), (4, 5), blosc),
        "action": (random_.normal(size=(num_rows, 2)).astype(np.float32), (4, 2), blosc),
        "keypoint": (random_.normal(size=(num_rows, 9, 2)).astype(np.float32), (4, 9, 2), blosc),
        "img": (images, (4, 16, 16, 3), blosc),
    }


class TestDiffusionPolicy:
    def test_it_comes_in_through_the_same_reader(self, tmp_path: Path) -> None:
        arrays = pusht(np.random.default_rng(2))
        path = write_store(tmp_path / "replay.zarr", arrays)
        embodiment = Embodiment(
            name="pusht",
            rate_hz=10,
            proprioception=(vector("state", 5), vector("keypoint", 18)),
            action=(vector("action", 2, Mode.ABSOLUTE),),
            cameras=(Camera(name="img", height=16, width=16),),
        )
        wanted = request(embodiment, {n: n for n in ("state", "keypoint", "action", "img")})
        for recording in umi_zarr.read(path, Place(name="replay.zarr#00002"), wanted):
            for name in ("state", "keypoint", "action"):
                np.testing.assert_array_equal(values(recording, name), arrays[name][0][4:9].reshape(5, -1))
            pixels = np.stack([decode(f) for f in frames(recording, "img")])
            np.testing.assert_array_equal(pixels, arrays["img"][0][4:9])
            assert recording.streams["state"].time_ns.tolist() == [k * 10**8 for k in range(5)]
            assert "no times are recorded: stamps are step / 10 Hz, the rate of pusht" in recording.notes

    def test_images_that_png_cannot_keep_are_refused(self, tmp_path: Path) -> None:
        arrays = {"img": (np.full((9, 16, 16, 3), 0.5, np.float32), (1, 16, 16, 3), None)}
        path = write_store(tmp_path / "x.zarr", arrays)
        embodiment = Embodiment(name="x", rate_hz=10, cameras=(Camera(name="front", height=16, width=16),))
        with pytest.raises(SourceError, match="float32 and not of whole numbers from 0 to 255"):
            list(umi_zarr.read(path, Place(name="x.zarr#00000"), request(embodiment, {"front": "img"})))

    def test_a_store_in_a_folder_of_the_zip_is_found(self, tmp_path: Path) -> None:
        inner = write_store(tmp_path / "in" / "replay.zarr", pusht(np.random.default_rng(0)))
        path = tmp_path / "pusht.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for member in sorted(p for p in inner.rglob("*") if p.is_file()):
                file.write(member, f"pusht/{member.relative_to(inner.parent).as_posix()}")
        assert umi_zarr.can_read(path)
        embodiment = Embodiment(name="x", rate_hz=10, action=(vector("action", 2, Mode.ABSOLUTE),))
        (recording,) = umi_zarr.read(path, Place(name="pusht.zip#00001"), request(embodiment, {"action": "action"}))
        np.testing.assert_array_equal(values(recording, "action"), reopened(inner)["data/action"][3:4])


class TestArrays:
    @pytest.mark.parametrize("codec", ["Blosc", "Zstd", "LZ4", "Zlib", "GZip", "BZ2", "LZMA", None])
    @pytest.mark.parametrize("name", ["x.zarr", "x.zarr.zip"])
    def test_every_compressor_of_the_list_is_read(self, tmp_path: Path, codec: str | None, name: str) -> None:
        numbers = np.random.default_rng(3).normal(size=(9, 5))
        compressor = getattr(numcodecs, codec)() if codec else None
        path = write_store(tmp_path / name, {"a": (numbers, (2, 3), compressor)})
        embodiment = Embodiment(name="x", rate_hz=10, proprioception=(vector("a", 5),))
        (recording,) = umi_zarr.read(path, Place(name=f"{name}#00002"), request(embodiment, {"a": "a"}))
        np.testing.assert_array_equal(values(recording, "a"), numbers[4:9])

    @pytest.mark.parametrize("dtype", [">f8", "<i2", "|u1", "|b1", "<f2"])
    def test_types_come_in_this_machines_order(self, tmp_path: Path, dtype: str) -> None:
        numbers = np.arange(18).reshape(9, 2).astype(dtype)
        path = write_store(tmp_path / "x.zarr", {"a": (numbers, (9, 2), None)})
        embodiment = Embodiment(name="x", rate_hz=10, proprioception=(vector("a", 2),))
        (recording,) = umi_zarr.read(path, Place(name="x.zarr#00002"), request(embodiment, {"a": "a"}))
        found = values(recording, "a")
        assert found.dtype == np.dtype(dtype).newbyteorder("=")
        np.testing.assert_array_equal(found, numbers[4:9])

    def test_order_and_separator_are_followed(self, tmp_path: Path) -> None:
        numbers = np.random.default_rng(1).normal(size=(9, 6))
        path = write_store(tmp_path / "x.zarr", {"a": (numbers, (4, 4), None)}, order="F")
        other = write_store(
            tmp_path / "y.zarr",
            {"a": (numbers, (4, 4), None)},
            chunk_key_encoding={"name": "v2", "separator": "/"},
        )
        assert json.loads((other / "data/a/.zarray").read_text())["dimension_separator"] == "/"
        assert json.loads((path / "data/a/.zarray").read_text())["order"] == "F"
        embodiment = Embodiment(name="x", rate_hz=10, proprioception=(vector("a", 6),))
        for store in (path, other):
            (recording,) = umi_zarr.read(store, Place(name=f"{store.name}#00002"), request(embodiment, {"a": "a"}))
            np.testing.assert_array_equal(values(recording, "a"), numbers[4:9])

    def test_chunks_that_are_not_stored_stand_for_the_fill_value_and_are_said(self, tmp_path: Path) -> None:
        numbers = np.zeros((9, 2))
        numbers[0] = 1
        path = write_store(tmp_path / "x.zarr", {"a": (numbers, (1, 2), None)}, config={"write_empty_chunks": False})
        embodiment = Embodiment(name="x", rate_hz=10, proprioception=(vector("a", 2),))
        (recording,) = umi_zarr.read(path, Place(name="x.zarr#00000"), request(embodiment, {"a": "a"}))
        np.testing.assert_array_equal(values(recording, "a"), numbers[:3])
        assert "a: 2 chunks of data/a are not stored, which stands for the fill value" in recording.notes
        meta = json.loads((path / "data/a/.zarray").read_text())
        (path / "data/a/.zarray").write_text(json.dumps({**meta, "fill_value": None}))
        with pytest.raises(SourceError, match=r"data/a: chunk 1\.0 is not stored, and its fill value is None"):
            list(umi_zarr.read(path, Place(name="x.zarr#00000"), request(embodiment, {"a": "a"})))

    @pytest.mark.parametrize("name", ["x.zarr", "x.zarr.zip"])
    def test_jpeg_and_png_images_keep_their_bytes(self, tmp_path: Path, name: str) -> None:
        images = np.random.default_rng(1).integers(0, 256, (9, 16, 24, 3), dtype=np.uint8)
        arrays = {
            "a": (images, (1, 16, 24, 3), codecs.Jpeg()),
            "b": (images, (1, 16, 24, 3), codecs.Png()),
        }
        path = write_store(tmp_path / name, arrays)
        cameras = tuple(Camera(name=n, height=16, width=24) for n in "ab")
        embodiment = Embodiment(name="x", rate_hz=10, cameras=cameras)
        wanted = request(embodiment, {"a": "a", "b": "b"})
        for recording in umi_zarr.read(path, Place(name=f"{name}#00002"), wanted):
            if path.is_dir():
                stored = [(path / f"data/a/{k}.0.0.0").read_bytes() for k in range(4, 9)]
            else:
                with zipfile.ZipFile(path) as file:
                    stored = [file.read(f"data/a/{k}.0.0.0") for k in range(4, 9)]
            assert frames(recording, "a") == stored
            np.testing.assert_array_equal(np.stack([decode(f) for f in frames(recording, "b")]), images[4:9])
            assert [recording.streams[n].codec for n in "ab"] == ["jpeg", "png"]  # type: ignore[union-attr]

    def test_depth_of_16_bits_becomes_png_of_16_bits(self, tmp_path: Path) -> None:
        depth = np.random.default_rng(1).integers(0, 2**16, (9, 16, 24), dtype=np.uint16)
        path = write_store(tmp_path / "x.zarr", {"d": (depth, (1, 16, 24), numcodecs.Zstd())})
        embodiment = Embodiment(name="x", rate_hz=10, cameras=(Camera(name="d", height=16, width=24),))
        (place, *_) = umi_zarr.places(path)
        for recording in umi_zarr.read(path, place, request(embodiment, {"d": "d"})):
            np.testing.assert_array_equal(np.stack([decode_depth(f) for f in frames(recording, "d")]), depth[:3])


class TestEpisodes:
    @pytest.mark.parametrize(
        ("ends", "reason"),
        [
            ([4, 3], r"meta/episode_ends must go up from 0 on; it has \[4, 3\]"),
            ([[1, 2]], r"meta/episode_ends is int64 \[1, 2\]; must be integers, one for each"),
            ([-1, 3], r"must go up from 0 on"),
        ],
    )
    def test_ends_that_make_no_episodes_are_refused(self, tmp_path: Path, ends: object, reason: str) -> None:
        path = write_store(tmp_path / "x.zarr", {"a": (np.zeros((9, 2)), (9, 2), None)}, ends)
        with pytest.raises(SourceError, match=reason):
            umi_zarr.places(path)

    def test_an_empty_episode_and_one_beyond_the_rows_cost_only_themselves(self, tmp_path: Path) -> None:
        path = write_store(tmp_path / "x.zarr", {"a": (np.ones((5, 2)), (5, 2), None)}, [2, 2, 4, 7])
        embodiment = Embodiment(name="x", rate_hz=10, proprioception=(vector("a", 2),))
        wanted = request(embodiment, {"a": "a"})
        places = umi_zarr.places(path)
        assert len(list(umi_zarr.read(path, places[0], wanted))) == 1
        assert len(list(umi_zarr.read(path, places[2], wanted))) == 1
        with pytest.raises(SourceError, match=r"x\.zarr#00001 has 0 steps"):
            list(umi_zarr.read(path, places[1], wanted))
        with pytest.raises(SourceError, match=r"data/a has 5 rows; the episode ends at 7"):
            list(umi_zarr.read(path, places[3], wanted))
        assert "1 episodes have no steps" in umi_zarr.inspect(path).problems


def patched(path: Path, array: str, **changes: object) -> Path:
    """A store in a folder whose .zarray says something else."""
    file = path / array / ".zarray"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    return path


class TestStrangers:
    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"compressor": {"id": "pickle"}}, r"codec 'pickle' carries objects, which are never unpacked"),
            ({"compressor": {"id": "vlen-utf8"}}, r"codec 'vlen-utf8' carries objects"),
            ({"compressor": {"id": "../x"}}, r"codec '\.\./x'; must be one of blosc, bz2"),
            ({"compressor": "zlib"}, r"codec 'None'; must be one of"),
            ({"compressor": {"id": {"a": []}}}, r"codec .*; must be one of"),
            ({"filters": [{"id": "pickle"}]}, r"has filters \[\{'id': 'pickle'\}\]; must have none"),
            ({"dtype": "|O"}, r"has dtype '\|O'; must be numbers"),
            ({"dtype": [["a", "<f4"]]}, r"has dtype .*; must be numbers"),
            ({"zarr_format": 3}, r"has zarr_format 3; must be 2"),
            ({"shape": [9, -1]}, r"shape is \[9, -1\]; must be lengths from 0 on"),
            ({"shape": [True, 2]}, r"shape is \[True, 2\]"),
            ({"chunks": [0, 2]}, r"chunks is \[0, 2\]; must be lengths from 1 on"),
            ({"shape": [9]}, r"has shape \[9\] in chunks of \[9, 2\]"),
        ],
    )
    def test_metadata_that_asks_for_more_is_refused(
        self, tmp_path: Path, changes: dict[str, object], reason: str
    ) -> None:
        path = write_store(tmp_path / "x.zarr", {"a": (np.zeros((9, 2)), (9, 2), None)})
        patched(path, "data/a", **changes)
        embodiment = Embodiment(name="x", rate_hz=10, proprioception=(vector("a", 2),))
        with pytest.raises(SourceError, match=reason):
            list(umi_zarr.read(path, Place(name="x.zarr#00000"), request(embodiment, {"a": "a"})))
        assert any(s.problems for s in umi_zarr.inspect(path).streams)

    @pytest.mark.parametrize(
        "changes", [{"chunks": [2**30, 2]}, {"shape": [2**39, 2], "chunks": [1, 1]}, {"chunks": [2**39, 2**39]}]
    )
    def test_declared_sizes_are_bounded(self, tmp_path: Path, changes: dict[str, object]) -> None:
        path = write_store(tmp_path / "x.zarr", {"a": (np.zeros((9, 2)), (9, 2), None)})
        patched(path, "data/a", **changes)
        embodiment = Embodiment(name="x", rate_hz=10, proprioception=(vector("a", 2),))
        with pytest.raises(GateError, match=r"must have at most 8,000,000 of 67,108,864"):
            list(umi_zarr.read(path, Place(name="x.zarr#00000"), request(embodiment, {"a": "a"})))

    @pytest.mark.parametrize("codec", ["zlib", "gzip", "bz2", "lzma", "zstd", "lz4", "blosc"])
    def test_a_chunk_that_unpacks_into_more_is_refused(self, tmp_path: Path, codec: str) -> None:
        compressor = numcodecs.get_codec({"id": codec})
        path = write_store(tmp_path / "x.zarr", {"a": (np.ones((9, 2)), (9, 2), compressor)})
        (path / "data/a/0.0").write_bytes(bytes(compressor.encode(bytes(20_000_000))))
        embodiment = Embodiment(name="x", rate_hz=10, proprioception=(vector("a", 2),))
        with pytest.raises(SourceError, match=rf"chunk 0\.0(: damaged {codec}: declares 20,000,000|  ?has 145 bytes)"):
            list(umi_zarr.read(path, Place(name="x.zarr#00000"), request(embodiment, {"a": "a"})))

    def test_an_image_that_declares_another_size_is_not_decoded(self, tmp_path: Path) -> None:
        import imagecodecs

        path = write_store(tmp_path / "x.zarr", umi_arrays(side=16))
        wide = imagecodecs.jpegxl_encode(np.zeros((200, 300, 3), np.uint8))
        (path / "data/camera0_rgb/1.0.0.0").write_bytes(wide)
        embodiment = Embodiment(name="x", rate_hz=10, cameras=(Camera(name="front", height=16, width=16),))
        with pytest.raises(SourceError, match=r"damaged imagecodecs_jpegxl: an image of 200 x 300"):
            list(umi_zarr.read(path, Place(name="x.zarr#00000"), request(embodiment, {"front": "camera0_rgb"})))

    def test_a_chunk_that_is_a_link_out_of_the_store_is_refused(self, tmp_path: Path) -> None:
        path = write_store(tmp_path / "x.zarr", {"a": (np.ones((9, 2)), (9, 2), None)})
        (tmp_path / "secret").write_bytes(bytes(144))
        (path / "data/a/0.0").unlink()
        (path / "data/a/0.0").symlink_to(tmp_path / "secret")
        embodiment = Embodiment(name="x", rate_hz=10, proprioception=(vector("a", 2),))
        with pytest.raises(GateError, match="is a link out of its folder"):
            list(umi_zarr.read(path, Place(name="x.zarr#00000"), request(embodiment, {"a": "a"})))

    def test_format_3_is_refused_by_its_name(self, tmp_path: Path) -> None:
        root = zarr.open_group(store=zarr.storage.LocalStore(tmp_path / "x.zarr"), mode="w", zarr_format=3)
        root.create_group("meta").create_array("episode_ends", shape=(1,), dtype="i8")
        assert umi_zarr.can_read(tmp_path / "x.zarr")
        with pytest.raises(SourceError, match="a store of zarr format 3; must be of format 2"):
            umi_zarr.places(tmp_path / "x.zarr")

    def test_other_files_are_none(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
            file.writestr("readme.txt", "meta/episode_ends")
        (tmp_path / "y.zip").write_bytes(b"PK\x03\x04 no")
        (tmp_path / "z").mkdir()
        assert [umi_zarr.can_read(tmp_path / n) for n in ("x.zip", "y.zip", "z", "none")] == [False] * 4

    def test_a_zip_of_64_bits_is_read(self, tmp_path: Path) -> None:
        path = write_store(tmp_path / "x.zarr", {"a": (np.arange(18.0).reshape(9, 2), (9, 2), None)})
        packed = tmp_path / "x.zarr.zip"
        with zipfile.ZipFile(packed, "w") as file:
            for member in sorted(p for p in path.rglob("*") if p.is_file()):
                with file.open(member.relative_to(path).as_posix(), "w", force_zip64=True) as out:
                    out.write(member.read_bytes())
        data = packed.read_bytes()
        end = data.rfind(b"PK\x05\x06")
        count, length, start = struct.unpack_from("<HLL", data, end + 10)
        end64 = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, length, start)
        locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
        blank = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
        packed.write_bytes(data[:end] + end64 + locator + blank)
        with packed.open("rb") as file, zipfile.ZipFile(packed) as known:
            found = dict(ZipFile(file, "x").members())
            assert set(found) == set(known.namelist())
        embodiment = Embodiment(name="x", rate_hz=10, proprioception=(vector("a", 2),))
        (recording,) = umi_zarr.read(packed, Place(name="x.zarr.zip#00000"), request(embodiment, {"a": "a"}))
        assert values(recording, "a").tolist() == [[0, 1], [2, 3], [4, 5]]


@st.composite
def buffers(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, list[int], tuple[int, int], str]:
    lengths = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    size = draw(st.integers(1, 4))
    rows = sum(lengths)
    number = st.floats(width=32, allow_nan=False)
    numbers = np.array(draw(st.lists(st.lists(number, min_size=size, max_size=size), min_size=rows, max_size=rows)))
    images = np.random.default_rng(draw(st.integers(0, 9))).integers(0, 256, (rows, 8, 8, 3), dtype=np.uint8)
    chunks = draw(st.integers(1, rows)), draw(st.integers(1, size))
    return numbers.astype(np.float32), images, lengths, chunks, draw(st.sampled_from(["x.zarr", "x.zarr.zip"]))


class TestRoundTrip:
    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(buffer=buffers())
    def test_what_zarr_writes_is_what_is_read(self, buffer: Any, tmp_path: Path) -> None:
        numbers, images, lengths, chunks, name = buffer
        path = tmp_path / name
        if path.is_dir():
            shutil.rmtree(path)
        arrays = {
            "a": (numbers, chunks, numcodecs.Zlib()),
            "front": (images, (1, 8, 8, 3), codecs.Jpegxl(lossless=True, numthreads=1)),
        }
        write_store(path, arrays, np.cumsum(lengths))
        embodiment = Embodiment(
            name="x",
            rate_hz=7,
            proprioception=(vector("a", numbers.shape[1]),),
            cameras=(Camera(name="front", height=8, width=8),),
        )
        start = 0
        for place, length in zip(umi_zarr.places(path), lengths, strict=True):
            for recording in umi_zarr.read(path, place, request(embodiment, {"a": "a", "front": "front"})):
                assert values(recording, "a").tobytes() == numbers[start : start + length].tobytes()
                assert recording.streams["a"].time_ns.tolist() == [round(k * 1e9 / 7) for k in range(length)]
                np.testing.assert_array_equal(
                    np.stack([decode(f) for f in frames(recording)]), images[start : start + length]
                )
            start += length
        assert start == len(numbers)

    def test_mutated_stores_are_read_or_refused_in_one_line(self, tmp_path: Path) -> None:
        path = write_store(tmp_path / "x.zarr.zip", umi_arrays(side=8))
        data, wanted = path.read_bytes(), request(robot(8))
        random_ = random.Random(5)
        refused = 0
        for k in range(150):
            changed = tmp_path / f"{k}.zarr.zip"
            changed.write_bytes(mutated(data, random_))
            umi_zarr.can_read(changed)
            for act in (umi_zarr.inspect, lambda p: [list(umi_zarr.read(p, q, wanted)) for q in umi_zarr.places(p)]):
                reason = refusal(act, changed)
                refused += bool(reason)
                assert "\n" not in reason
            changed.unlink()
        assert refused > 60

    def test_mutated_metadata_is_read_or_refused_in_one_line(self, tmp_path: Path) -> None:
        path = write_store(tmp_path / "x.zarr", umi_arrays(side=8))
        wanted, random_ = request(robot(8)), random.Random(6)
        files = [
            path / "data/robot0_eef_pos/.zarray",
            path / "data/camera0_rgb/.zarray",
            path / "meta/episode_ends/.zarray",
        ]
        files += [path / "data/robot0_eef_pos/0.0", path / "data/camera0_rgb/1.0.0.0", path / "meta/episode_ends/0"]
        refused = 0
        for k in range(150):
            file = files[k % len(files)]
            data = file.read_bytes()
            file.write_bytes(mutated(data, random_))
            reason = refusal(lambda p: [list(umi_zarr.read(p, q, wanted)) for q in umi_zarr.places(p)], path)
            refused += bool(reason)
            assert "\n" not in reason
            file.write_bytes(data)
        assert refused > 60


def refusal(act: Callable[[Path], object], path: Path) -> str:
    """The library's error; anything else passes."""
    try:
        act(path)
    except VladataError as error:
        return str(error)
    return ""


def mutated(data: bytes, random_: random.Random) -> bytes:
    """Flip, cut or splice."""
    changed = bytearray(data)
    for _ in range(random_.randint(1, 3)):
        place = random_.randrange(len(changed) or 1)
        kind = random_.randrange(4)
        if kind <= 1 and changed:
            changed[place] ^= 1 << random_.randrange(8)
        elif kind == 2:
            del changed[place : place + random_.randint(1, 40)]
        else:
            changed[place:place] = changed[place // 2 : place // 2 + 30]
    return bytes(changed)


class TestCommand:
    def test_from_inspect_to_validate(self, tmp_path: Path, cli: Callable[..., Any]) -> None:
        pytest.importorskip("av", reason="the extra 'video' is not installed")
        ends, side = (40, 90), 16
        rows = np.arange(ends[-1])
        arrays = umi_arrays(side=side, num_rows=ends[-1])
        smooth = {"eef_pos": 3, "eef_rot_axis_angle": 3, "gripper_width": 1}
        for name, size in smooth.items():
            arrays[f"robot0_{name}"] = (
                np.float32(np.sin(rows[:, None] / 30 + np.arange(size))),
                (ends[-1], size),
                None,
            )
        del arrays["robot0_demo_start_pose"], arrays["robot0_demo_end_pose"]
        store = write_store(tmp_path / "dataset.zarr.zip", arrays, ends)
        names = {"robot0_eef_pos": 3, "robot0_eef_rot_axis_angle": 3, "robot0_gripper_width": 1}
        embodiment = {
            "name": "umi_toy",
            "rate_hz": 59.94,
            "proprioception": [vector(n, d).model_dump(mode="json", exclude_defaults=True) for n, d in names.items()],
            "action": [vector("pose", 3, Mode.ABSOLUTE).model_dump(mode="json", exclude_defaults=True)],
            "cameras": [{"name": "camera0_rgb", "height": side, "width": side}],
        }
        schema, mapping = tmp_path / "umi_toy.yaml", tmp_path / "mapping.yaml"
        schema.write_text(yaml.safe_dump(embodiment))
        done = cli("inspect", store, "--schema", schema, "--write-mapping", mapping)
        assert done.returncode == 0, done.stderr
        written = yaml.safe_load(mapping.read_text())
        assert {k: v["from"] for k, v in written["streams"].items()} == {n: n for n in (*names, "camera0_rgb")}
        select = [f"robot0_eef_pos_{k}" for k in range(3)]
        written["derived"] = {"pose": {"from": "robot0_eef_pos", "select": select}}
        mapping.write_text(yaml.safe_dump(written))
        dataset = tmp_path / "dataset"
        done = cli(
            "ingest", store, "--schema", schema, "--mapping", mapping, "-o", dataset,
            "--set", "instruction=fold", "--set", "outcome=success",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        import vladata

        episodes = sorted(vladata.open(dataset), key=lambda e: str(e.provenance["place"]))
        assert [len(e) for e in episodes] == [40, 50]
        position = arrays["robot0_eef_pos"][0]
        np.testing.assert_array_equal(episodes[1].steps.action["pose"][:-1], position[41:90])
        notes: Any = episodes[1].provenance["notes"]
        assert any(n.startswith("pose: derived from robot0_eef_pos") for n in notes)
        done = cli("validate", dataset, "--fail-on", "error")
        assert done.returncode == 0, done.stdout
