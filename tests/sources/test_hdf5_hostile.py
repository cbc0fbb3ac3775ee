"""HDF5 files made to harm: every source answers with the recording or with one line that names the reason."""

import importlib
import random
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from vladata import workers
from vladata.embodiment import Camera, Dimension, Embodiment, Signal, StreamRule
from vladata.errors import GateError, SourceError, VladataError
from vladata.images import encode_jpeg
from vladata.mapping import Mapping as SourceMapping
from vladata.recording import FrameStream
from vladata.sources import Request, Source, aloha_hdf5, hdf5_columns, libero_hdf5, robomimic_hdf5
from vladata.sources._hdf5 import open_hdf5
from vladata.units import Kind, Mode, Unit

HERE = Path(__file__).parent
MODULES: dict[str, Source] = {
    "aloha_hdf5": aloha_hdf5,
    "robomimic_hdf5": robomimic_hdf5,
    "libero_hdf5": libero_hdf5,
    "hdf5_columns": hdf5_columns,
}
STEPS, SIDE = 6, 12

Array = NDArray[Any]


# ------------------------------------------------------------------- one small file of each format


def jpegs(count: int) -> list[bytes]:
    rng = np.random.default_rng(0)
    return [encode_jpeg(np.full((SIDE, SIDE, 3), rng.integers(0, 255), np.uint8)) for _ in range(count)]


def padded(frames: list[bytes]) -> NDArray[np.uint8]:
    rows = np.zeros((len(frames), max(map(len, frames)) + 4), np.uint8)
    for row, frame in zip(rows, frames, strict=True):
        row[: len(frame)] = np.frombuffer(frame, np.uint8)
    return rows


def small(name: str, path: Path) -> Path:
    pixels = np.random.default_rng(1).integers(0, 256, (STEPS, SIDE, SIDE, 3), dtype=np.uint8)
    with h5py.File(path, "w") as file:
        if name == "aloha_hdf5":
            file.attrs["compress"] = True
            file["observations/qpos"] = np.ones((STEPS, 2))
            file["action"] = np.ones((STEPS, 2), "f4")
            file["observations/images/top"] = padded(jpegs(STEPS))
            file["compress_len"] = np.array([[len(f) for f in jpegs(STEPS)]], "f4")
        elif name == "hdf5_columns":
            file["q"], file["u"], file["t"] = np.ones((STEPS, 2)), np.ones((STEPS, 2)), np.arange(STEPS) * 0.1
            file["words"] = ["reach"] * STEPS
            images = file.create_dataset("view", STEPS, h5py.vlen_dtype(np.uint8))
            for k, frame in enumerate(jpegs(STEPS)):
                images[k] = np.frombuffer(frame, np.uint8)
        else:
            data = file.create_group("data")
            data.attrs["env_args"] = '{"env_name": "Lift", "env_kwargs": {"control_freq": 20}}'
            if name == "libero_hdf5":
                data.attrs["macros_image_convention"] = "opengl"
                data.attrs["problem_info"] = '{"language_instruction": "lift"}'
            group = data.create_group("demo_0")
            group.attrs["num_samples"] = STEPS
            group.create_dataset("actions", data=np.ones((STEPS, 2)), compression="gzip")
            group.create_dataset("obs/q", data=np.ones((STEPS, 2)), chunks=(2, 2), fletcher32=True)
            group.create_dataset("obs/view", data=pixels, chunks=(4, 5, 5, 3), compression="gzip", shuffle=True)
            group["dones"] = np.arange(STEPS) == STEPS - 1
            file["mask/train"] = np.array([b"demo_0"])
    return path


def signal(name: str, mode: Mode | None = None) -> Signal:
    dimensions = tuple(Dimension(name=f"{name}{i}", kind=Kind.OTHER, unit=Unit.ONE, mode=mode) for i in range(2))
    return Signal(name=name, dimensions=dimensions)


ROBOT = Embodiment(
    name="robot",
    rate_hz=20,
    proprioception=(signal("q"),),
    action=(signal("u", Mode.ABSOLUTE),),
    cameras=(Camera(name="view", height=SIDE, width=SIDE),),
    streams={"view": StreamRule(required=False)},
)
STREAMS = {
    "aloha_hdf5": {"q": "observations/qpos", "u": "action", "view": "observations/images/top"},
    "robomimic_hdf5": {"q": "obs/q", "u": "actions", "view": "obs/view"},
    "libero_hdf5": {"q": "obs/q", "u": "actions", "view": "obs/view"},
    "hdf5_columns": {"q": "q", "u": "u", "view": "view"},
}
LABELS: dict[str, dict[str, object]] = {
    "aloha_hdf5": {},
    "robomimic_hdf5": {"outcome": {"from": "dones"}, "instruction": {"from": "env_args", "field": "env_name"}},
    "libero_hdf5": {
        "outcome": {"from": "dones"},
        "instruction": {"from": "problem_info", "field": "language_instruction"},
        "options": {"flip_images": True, "shift_observations": True},
    },
    "hdf5_columns": {"subtask": {"from": "words"}, "options": {"time": "t"}},
}


def request(name: str) -> Request:
    streams = {n: {"from": s} for n, s in STREAMS[name].items()}
    mapping = SourceMapping.model_validate({"source": name, "streams": streams, **LABELS[name]})
    return Request(embodiment=ROBOT, mapping=mapping)


def read(name: str, path: Path) -> int:
    """Everything that there is to read of a file; number of frames."""
    module, count = MODULES[name], 0
    for place in module.places(path):
        for recording in module.read(path, place, request(name)):
            for stream in recording.streams.values():
                if isinstance(stream, FrameStream):
                    count += sum(len(stream.frames.read(i)) >= 0 for i in range(stream.num_frames))
    return count


# ------------------------------------------------------------------- mutations, each in a worker


def mutated(data: bytes, random_: random.Random) -> bytes:
    changed = bytearray(data)
    kind = random_.choice(["flip", "flip", "flip", "cut", "splice", "fill", "number"])
    if kind == "flip":
        for _ in range(random_.choice([1, 2, 8, 64])):
            changed[random_.randrange(len(changed))] ^= 1 << random_.randrange(8)
    elif kind == "cut":
        del changed[random_.randrange(len(changed)) :]
    elif kind == "splice":
        start, length = random_.randrange(len(changed)), random_.randrange(1, 300)
        place = random_.randrange(len(changed))
        changed[place : place + length] = changed[start : start + length]
    else:
        place = random_.randrange(len(changed))
        length = 8 if kind == "number" else random_.randrange(1, 64)
        changed[place : place + length] = bytes([random_.choice([0, 1, 255])]) * len(changed[place : place + length])
    return bytes(changed)


def attempt(unit: tuple[str, bytes]) -> str:
    """What a source makes of some bytes; anything but the library's errors is raised."""
    name, data = unit
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.hdf5"
        path.write_bytes(data)
        for module in MODULES.values():
            assert module.can_read(path) in {True, False}
            workers.beat()
        said = []
        actions: tuple[Callable[[], object], ...] = (
            lambda: MODULES[name].inspect(path),
            lambda: read(name, path),
        )
        for action in actions:
            try:
                action()
                said.append("read")
            except VladataError as error:
                is_one_line = "\n" not in str(error) and len(str(error)) < 2_000
                said.append("refused" if is_one_line else f"said {error}")
        return " ".join(said)


@pytest.mark.skipif(sys.platform != "linux", reason="limits as Linux has them")
def test_mutated_files_end_in_a_recording_or_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(HERE)
    function = importlib.import_module("test_hdf5_hostile").attempt
    units = []
    for name in MODULES:
        random_ = random.Random(name)
        data = small(name, tmp_path / f"{name}.hdf5").read_bytes()
        assert attempt((name, data)) == "read read"
        units += [(name, mutated(data, random_)) for _ in range(60)]
    outcomes = list(workers.run(function, units, workers=2, memory_bytes=2**30, stall_s=8))
    assert len(outcomes) == len(units)
    failed = [o for o in outcomes if isinstance(o, workers.Failed)]
    assert not failed, [(units[o.index][0], o.index, o.kind, o.reason) for o in failed]
    said = [o.result for o in outcomes if isinstance(o, workers.Done)]
    assert set(said) <= {"read read", "read refused", "refused read", "refused refused"}
    assert said.count("read read") > 25
    assert said.count("refused refused") > 25


# ------------------------------------------------------------------- files with intent


def reaching(kind: str, folder: Path, file: h5py.File, place: str) -> None:
    """Put something in the place of a dataset that would make its reader open another file, or itself again."""
    secret = folder / "secret.hdf5"
    if not secret.exists():
        with h5py.File(secret, "w") as other:
            other["values"] = np.full((STEPS, 2), 42.0)
    del file[place]
    if kind == "external link":
        file[place] = h5py.ExternalLink("secret.hdf5", "/values")
    elif kind == "soft link":
        file[place] = h5py.SoftLink("/")
    elif kind == "external storage":
        file.create_dataset(place, (STEPS, 2), "f8", external=[(str(secret), 0, STEPS * 16)])
    elif kind == "virtual":
        layout = h5py.VirtualLayout(shape=(STEPS, 2), dtype="f8")
        layout[:] = h5py.VirtualSource(str(secret), "values", shape=(STEPS, 2))
        file.create_virtual_dataset(place, layout)
    else:
        file[place] = file["/"]  # the root is a member of itself: walking it has no end


PLACES = {
    "aloha_hdf5": "observations/qpos",
    "robomimic_hdf5": "data/demo_0/obs/q",
    "libero_hdf5": "data/demo_0/obs/q",
    "hdf5_columns": "q",
}


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("kind", ["external link", "soft link", "external storage", "virtual", "circle"])
def test_what_reaches_for_other_places_is_refused_and_never_followed(name: str, kind: str, tmp_path: Path) -> None:
    path = small(name, tmp_path / "a.hdf5")
    with h5py.File(path, "r+") as file:
        reaching(kind, tmp_path, file, PLACES[name])
    started = time.monotonic()
    with pytest.raises(GateError, match=r"a\.hdf5: .*(link|virtual|another file|linked twice)"):
        read(name, path)
    with pytest.raises(VladataError, match=r"a\.hdf5"):
        MODULES[name].inspect(path)
    assert MODULES[name].can_read(path) in {True, False}
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("group", ["data", "data/demo_0", "data/demo_0/obs", "observations", "action"])
def test_groups_on_the_way_that_are_links_are_not_followed(group: str, tmp_path: Path) -> None:
    name = "aloha_hdf5" if group in {"observations", "action"} else "robomimic_hdf5"
    small(name, tmp_path / "good.hdf5")
    with h5py.File(small(name, tmp_path / "a.hdf5"), "r+") as file:
        del file[group]
        file[group] = h5py.ExternalLink("good.hdf5", f"/{group}")
    assert not any(MODULES[n].can_read(tmp_path / "a.hdf5") for n in ("aloha_hdf5", "libero_hdf5")) or "demo" in group
    with pytest.raises(GateError, match="is a link to another file"):
        read(name, tmp_path / "a.hdf5")


def bomb(kind: str, file: h5py.File, place: str) -> None:
    """Put something in the place of a dataset that declares far more than it stores."""
    del file[place]
    if kind == "never written":
        file.create_dataset(place, (2**40, 2), "f8", chunks=(1024, 2))
    elif kind == "zeros":
        rows = 40_000_000
        made = file.create_dataset(place, (rows, 2), "u1", chunks=(2**22, 2), compression="gzip")
        made[0 : 2**22] = 0
    elif kind == "huge chunk":
        file.create_dataset(place, (2**24, 2), "f8", chunks=(2**24, 2), compression="gzip")
    else:
        file.create_dataset(place, (STEPS, 2), "f8", chunks=(1, 1), shuffle=True, scaleoffset=4)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("kind", ["never written", "zeros", "huge chunk", "other filter"])
def test_bombs_are_refused_before_anything_is_allocated(name: str, kind: str, tmp_path: Path) -> None:
    path = small(name, tmp_path / "a.hdf5")
    with h5py.File(path, "r+") as file:
        bomb(kind, file, PLACES[name])
    assert path.stat().st_size < 2_000_000
    started = time.monotonic()
    with pytest.raises(VladataError, match=r"a\.hdf5: .*(declares|chunks of|filter|rows)"):
        read(name, path)
    assert time.monotonic() - started < 2


class TestDamageThatLibhdf5DoesNotSurvive:
    def test_heap_with_a_part_of_no_size_is_refused_instead_of_read_for_ever(self, tmp_path: Path) -> None:
        path = small("hdf5_columns", tmp_path / "a.hdf5")
        data = bytearray(path.read_bytes())
        heap = data.index(b"GCOL")
        data[heap + 16 : heap + 32] = bytes(16)
        path.write_bytes(data)
        assert hdf5_columns.can_read(path)
        with pytest.raises(GateError, match=f"the heap at byte {heap:,} has a part of no size"):
            hdf5_columns.places(path)

    @pytest.mark.parametrize("size", [2**64 - 1, 2**64 - 16, 2**64 - 23, 2**63])
    def test_heap_with_a_part_beyond_all_sizes_is_refused_too(self, tmp_path: Path, size: int) -> None:
        path = small("hdf5_columns", tmp_path / "a.hdf5")
        data = bytearray(path.read_bytes())
        heap = data.index(b"GCOL")
        data[heap + 16 : heap + 32] = b"\xff" * 8 + size.to_bytes(8, "little")
        data[heap + 32 : heap + 96] = bytes(64)
        path.write_bytes(data)
        with pytest.raises(GateError, match=f"the heap at byte {heap:,} has a part of no size"):
            hdf5_columns.places(path)

    @pytest.mark.parametrize(("size", "place"), [(0, None), (3, None), (2**31, None), (None, 0), (None, 2**40)])
    def test_packed_chunk_that_can_not_be_is_refused_instead_of_unpacked(
        self, size: int | None, place: int | None, tmp_path: Path
    ) -> None:
        path = small("robomimic_hdf5", tmp_path / "a.hdf5")
        with h5py.File(path) as file:
            chunk = file["data/demo_0/obs/q"].id.get_chunk_info(0)
        data = bytearray(path.read_bytes())
        address = data.index(struct.pack("<Q", chunk.byte_offset), data.index(struct.pack("<II", chunk.size, 0)))
        entry = address - 8 - 3 * 8  # size and filter mask of the chunk, its offsets in three axes, its address
        assert data[entry : entry + 8] == struct.pack("<II", chunk.size, 0)
        if size is not None:
            data[entry : entry + 4] = struct.pack("<I", size)
        if place is not None:
            data[address : address + 8] = struct.pack("<Q", place)
        path.write_bytes(data)
        with pytest.raises((SourceError, GateError), match="data/demo_0/obs/q"):
            read("robomimic_hdf5", path)

    def test_small_chunks_without_a_checksum_are_no_damage(self, tmp_path: Path) -> None:
        path = tmp_path / "a.hdf5"
        with h5py.File(path, "w") as file:
            file.create_dataset("q", data=np.ones((2, 1), "u1"), chunks=(1, 1), compression="lzf")
        with open_hdf5(path) as opened:
            assert opened.numbers("q").tolist() == [[1], [1]]


class TestLimits:
    def test_numbers_beyond_the_limit_are_refused_by_their_size(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = small("hdf5_columns", tmp_path / "a.hdf5")
        monkeypatch.setattr("vladata.sources._hdf5.MAX_NUMBERS_BYTES", STEPS * 16 - 1)
        with pytest.raises(SourceError, match=r"q is float64 \[6, 2\], 96 bytes; must be at most 95"):
            read("hdf5_columns", path)

    def test_rows_of_one_large_value_are_read_one_by_one_up_to_a_total(self, tmp_path: Path) -> None:
        path = tmp_path / "a.hdf5"
        with h5py.File(path, "w") as file:
            file["q"] = file["u"] = np.ones((STEPS, 2))
            file["t"] = np.arange(STEPS) * 0.1
            file["view"] = np.zeros((STEPS, 4), np.uint8)
            file["words"] = ["x" * 900_000] * STEPS
        with open_hdf5(path) as opened:
            assert len(opened.texts("words")[0]) == STEPS
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("vladata.sources._hdf5.MAX_TEXT", 1000)
                with pytest.raises(SourceError, match="900,000 bytes in row 0; must have at most 1,000"):
                    opened.texts("words")

    def test_images_of_more_pixels_than_are_ever_decoded_are_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = small("robomimic_hdf5", tmp_path / "a.hdf5")
        monkeypatch.setattr("vladata.sources._hdf5_images.MAX_PIXELS", SIDE * SIDE - 1)
        with pytest.raises(SourceError, match="has 12x12 pixels; must have at most 143"):
            read("robomimic_hdf5", path)

    def test_only_what_was_asked_for_can_be_read(self, tmp_path: Path) -> None:
        path = small("robomimic_hdf5", tmp_path / "a.hdf5")
        with open_hdf5(path, only=("data/demo_0/obs",)) as file:
            assert file.members("data/demo_0/obs") == ["q", "view"]
            assert file.numbers("data/demo_0/obs/q").shape == (STEPS, 2)
            for place in ("data/demo_0/actions", "mask", "data/demo_0/obser"):
                with pytest.raises(SourceError, match="is not what was asked for"):
                    file.kind(place)
        with open_hdf5(path, only=("data/",)) as file:
            assert file.members("data") == ["demo_0"]
            assert file.text("data", "env_args").startswith("{")
            with pytest.raises(SourceError, match="is not what was asked for"):
                file.members("data/demo_0")


class TestTexts:
    def test_names_and_texts_that_would_steer_a_terminal_are_shown_harmless(self, tmp_path: Path) -> None:
        path = small("robomimic_hdf5", tmp_path / "a.hdf5")
        with h5py.File(path, "r+") as file:
            file["data"].attrs["env_args"] = '{"env_name": "\\u001b[31mred\\nline"}'
            file["data/demo_0"].attrs["\x1b[2Jmodel"] = "x"
        module = robomimic_hdf5
        (place,) = module.places(path)
        (recording,) = module.read(path, place, request("robomimic_hdf5"))
        assert recording.metadata["env_name"] == "red line"
        assert not any("\x1b" in n or "\n" in n for n in recording.notes)
        with h5py.File(path, "r+") as file:
            file["data/demo_0/obs/\x1b[31m"] = np.zeros(3)
        with pytest.raises(GateError, match="must be a plain name"):
            read("robomimic_hdf5", path)

    def test_names_that_are_not_utf8_are_refused_and_those_of_attributes_passed_over(self, tmp_path: Path) -> None:
        path = small("robomimic_hdf5", tmp_path / "a.hdf5")
        good = path.read_bytes()
        for name, changed in ((b"num_samples", b"num_s\xffmples"), (b"demo_0", b"dem\xff_0")):
            path.write_bytes(good.replace(name, changed))
            if name == b"demo_0":
                with pytest.raises(VladataError, match="not UTF-8"):
                    read("robomimic_hdf5", path)
            else:
                assert read("robomimic_hdf5", path) == STEPS

    def test_texts_that_are_not_utf8_become_replacement_characters_and_a_note(self, tmp_path: Path) -> None:
        path = small("hdf5_columns", tmp_path / "a.hdf5")
        with h5py.File(path, "r+") as file:
            del file["words"]
            file["words"] = np.array([b"gr\xfc\xdfe"] * STEPS)
        (place,) = hdf5_columns.places(path)
        (recording,) = hdf5_columns.read(path, place, request("hdf5_columns"))
        assert [i.text for i in recording.instructions] == ["gr��e"]
        assert "words: bytes that are not UTF-8 became replacement characters" in recording.notes

    @pytest.mark.parametrize("value", [np.arange(5000), h5py.Empty("f4"), np.zeros((2, 2)), b"\xff", np.array(3)])
    def test_attributes_of_any_kind_do_no_harm(self, tmp_path: Path, value: object) -> None:
        for name in ("aloha_hdf5", "robomimic_hdf5", "libero_hdf5", "hdf5_columns"):
            path = small(name, tmp_path / f"{name}.hdf5")
            with h5py.File(path, "r+") as file:
                for owner in ("/", "data", "data/demo_0"):
                    if owner in file:
                        for attribute in ("compress", "env_args", "ep_meta", "num_samples", "format", "success"):
                            file[owner].attrs[attribute] = value
                        if name == "libero_hdf5":
                            file[owner].attrs["problem_info"] = file[owner].attrs["bddl_file_name"] = value
            assert MODULES[name].can_read(path)
            MODULES[name].inspect(path)
            assert read(name, path) >= STEPS - 1
