"""RLDS datasets, against a reader and a writer of a few lines each that share nothing with the source."""

import base64
import json
import struct
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vladata
from vladata.embodiment import Camera, Dimension, Embodiment, Signal, StreamRule
from vladata.errors import GateError, SchemaError, SourceError, VladataError
from vladata.images import decode, decode_depth
from vladata.mapping import LabelMapping, OutcomeMapping, StreamMapping, load_schema
from vladata.mapping import Mapping as SourceMapping
from vladata.recording import FrameStream, Instruction, Outcome, Recording, Stream
from vladata.sources import Place, Request, Source, rlds
from vladata.sources._crc32c import crc32c
from vladata.sources._example import parse_example
from vladata.sources._rlds_record import EpisodeRecord
from vladata.sources._tfds_features import read_features
from vladata.sources._tfrecord import masked_crc32c
from vladata.units import Clock, Kind, Mode, Unit

source: Source = rlds

Values = Sequence[float] | Sequence[int] | Sequence[bytes]

TRAIN = "bridge_dataset-train.tfrecord-00000-of-00001"


# ------------------------------------------------------------------- an independent reader


def records(path: Path) -> Iterator[bytes]:
    data = path.read_bytes()
    place = 0
    while place < len(data):
        (size,) = struct.unpack_from("<Q", data, place)
        yield data[place + 12 : place + 12 + size]
        place += size + 16


def number(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[place] & 127) << shift
        shift += 7
        place += 1
        if data[place - 1] < 128:
            return value, place


def fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place < len(data):
        key, place = number(data, place)
        assert key & 7 == 2
        size, place = number(data, place)
        yield key >> 3, data[place : place + size]
        place += size


def example(data: bytes) -> dict[str, list[bytes]]:
    found = {}
    for _, features in fields(data):
        for _, entry in fields(features):
            parts = dict(fields(entry))
            ((_, values),) = fields(parts[2])
            found[parts[1].decode()] = [value for _, value in fields(values)]
    return found


# ------------------------------------------------------------------- a writer


def varint(value: int) -> bytes:
    value &= 2**64 - 1
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(key: int, value: bytes) -> bytes:
    return varint(key << 3 | 2) + varint(len(value)) + value


UNKNOWN = (
    varint(9 << 3) + varint(300) + varint(10 << 3 | 5) + b"abcd" + varint(11 << 3 | 1) + b"12345678" + field(12, b"x")
)


def feature(values: Values, *, is_packed: bool = True, kind: int = 0) -> bytes:
    kind = kind or (1 if isinstance(values[0], bytes) else 2 if isinstance(values[0], float) else 3)
    if kind == 1:
        inner = b"".join(field(1, v) for v in values if isinstance(v, bytes))
    elif kind == 2:
        floats = [struct.pack("<f", v) for v in values]
        inner = field(1, b"".join(floats)) if is_packed else b"".join(b"\x0d" + f for f in floats)
    else:
        ints = [varint(int(v)) for v in values]
        inner = field(1, b"".join(ints)) if is_packed else b"".join(b"\x08" + i for i in ints)
    return field(kind, inner)


def serialized(features: Mapping[str, bytes], *, unknown: bytes = b"") -> bytes:
    entries = b"".join(
        unknown + field(1, field(1, name.encode()) + unknown + field(2, f)) for name, f in features.items()
    )
    return unknown + field(1, entries) + unknown


def framed(data: bytes) -> bytes:
    head = struct.pack("<Q", len(data))
    return head + struct.pack("<I", masked(head)) + data + struct.pack("<I", masked(data))


def slow_crc(data: bytes) -> int:
    register = 0xFFFFFFFF
    for octet in data:
        register ^= octet
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


def masked(data: bytes) -> int:
    crc = slow_crc(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


JPEG_2X3 = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffc0001108000200030301220002110103110100ffd9")


def tensor(dtype: str, *shape: int) -> dict[str, object]:
    return {
        "pythonClassName": "tensorflow_datasets.core.features.tensor_feature.Tensor",
        "tensor": {"shape": {"dimensions": [str(n) for n in shape]}, "dtype": dtype, "encoding": "none"},
    }


TEXT: dict[str, object] = {"pythonClassName": "tensorflow_datasets.core.features.text_feature.Text", "text": {}}
IMAGE: dict[str, object] = {
    "pythonClassName": "tensorflow_datasets.core.features.image_feature.Image",
    "image": {"shape": {"dimensions": ["2", "3", "3"]}, "dtype": "uint8", "encodingFormat": "jpeg"},
}


def dictionary(**features: object) -> dict[str, object]:
    return {"pythonClassName": "x.FeaturesDict", "featuresDict": {"features": features}}


DECLARED = dictionary(
    steps={
        "pythonClassName": "tensorflow_datasets.core.features.dataset_feature.Dataset",
        "sequence": {
            "feature": dictionary(
                action=tensor("float32", 2),
                observation=dictionary(
                    state=tensor("float64", 2), grid=tensor("int32", 1, 2), image=IMAGE, flag=tensor("bool")
                ),
                instruction=TEXT,
                is_last=tensor("bool"),
                reward=tensor("float32"),
            ),
            "length": "-1",
        },
    },
    episode_metadata=dictionary(result=TEXT, language=TEXT),
)


def episode(changes: Mapping[str, bytes] | None = None, num_steps: int = 3) -> dict[str, bytes]:
    features = {
        "steps/action": feature([float(k) for k in range(2 * num_steps)]),
        "steps/observation/state": feature([k / 2 for k in range(2 * num_steps)]),
        "steps/observation/grid": feature([k * 1000 - 3000 for k in range(2 * num_steps)]),
        "steps/observation/image": feature([JPEG_2X3 + bytes([k % 256]) for k in range(num_steps)]),
        "steps/observation/flag": feature([k % 2 for k in range(num_steps)]),
        "steps/instruction": feature([b"go" for _ in range(num_steps)]),
        "steps/is_last": feature([0] * num_steps),
        "steps/reward": feature([0.0] * (num_steps - 1) + [1.0]),
        "episode_metadata/result": feature([b"failure: dropped it"]),
        "episode_metadata/language": feature([b"do it"]),
    }
    return features | dict(changes or {})


def dataset(folder: Path, *examples: bytes, declared: object = DECLARED, info: object = None) -> Path:
    version = folder / "toy" / "1.0.0"
    version.mkdir(parents=True)
    (version / "features.json").write_text(json.dumps(declared))
    if info is not None:
        (version / "dataset_info.json").write_text(json.dumps(info))
    (version / "toy-train.tfrecord-00000-of-00001").write_bytes(b"".join(framed(e) for e in examples))
    return version


STATE = Signal(
    name="state",
    dimensions=(
        Dimension(name="a", kind=Kind.OTHER, unit=Unit.ONE),
        Dimension(name="b", kind=Kind.OTHER, unit=Unit.ONE),
    ),
)
ACTION = Signal(
    name="action",
    dimensions=tuple(Dimension(name=n, kind=Kind.OTHER, unit=Unit.ONE, mode=Mode.ABSOLUTE) for n in ("a", "b")),
)
TOY = Embodiment(
    name="toy",
    rate_hz=3,
    proprioception=(STATE,),
    action=(ACTION,),
    cameras=(Camera(name="camera", height=2, width=3),),
    streams={"camera": StreamRule(required=False)},
)


def request(**changes: object) -> Request:
    sources = {"state": "observation/state", "action": "action", "camera": "observation/image"}
    sources |= {k: str(v) for k, v in changes.items() if k in sources}
    labels = {k: v for k, v in changes.items() if k not in sources}
    streams = {k: StreamMapping(source=v) for k, v in sources.items() if v}
    return Request(
        embodiment=TOY, mapping=SourceMapping.model_validate({"source": "rlds", "streams": streams, **labels})
    )


def only(path: Path, wanted: Request | None = None, name: str | None = None) -> Recording:
    place = next(p for p in rlds.places(path) if name is None or p.name == name)
    (recording,) = rlds.read(path, place, wanted or request())
    return recording


def numbers(recording: Recording, name: str) -> Stream:
    stream = recording.streams[name]
    assert isinstance(stream, Stream)
    return stream


def frames(recording: Recording, name: str) -> FrameStream:
    stream = recording.streams[name]
    assert isinstance(stream, FrameStream)
    return stream


@pytest.fixture(scope="module")
def bridge(shared_data: Path) -> Path:
    return shared_data / "bridge_rlds_tfrecord"


@pytest.fixture(scope="module")
def bridge_request() -> Request:
    schema = load_schema("widowx_bridge")
    mapping = schema.mapping_for("rlds")
    assert mapping is not None
    return Request(embodiment=schema.embodiment, mapping=mapping)


@pytest.fixture
def copied(bridge: Path, tmp_path: Path) -> Path:
    """The train shard of BridgeData alone, in a folder that may be damaged."""
    version = tmp_path / "bridge_dataset" / "1.0.0"
    version.mkdir(parents=True)
    original = bridge / "bridge_dataset" / "1.0.0"
    for name in ("features.json", TRAIN):
        (version / name).write_bytes((original / name).read_bytes())
    info = json.loads((original / "dataset_info.json").read_text())
    info["splits"] = info["splits"][:1]
    (version / "dataset_info.json").write_text(json.dumps(info))
    return version


# ------------------------------------------------------------------- real data


class TestBridge:
    def test_all_fifty_records_equal_the_source(self, bridge: Path, bridge_request: Request) -> None:
        places = rlds.places(bridge)
        assert len(places) == 50
        shards = sorted((bridge / "bridge_dataset" / "1.0.0").glob("*.tfrecord-*"))
        originals = [example(r) for shard in shards for r in records(shard)]
        for place, original in zip(places, originals, strict=True):
            (recording,) = rlds.read(bridge, place, bridge_request)
            assert recording.is_stepped
            for name, key in (("state", "steps/observation/state"), ("action", "steps/action")):
                stream = numbers(recording, name)
                assert stream.values.dtype == np.float32
                assert stream.values.shape == (10, 7)
                assert stream.values.tobytes() == b"".join(original[key])
            for k in range(4):
                camera = frames(recording, f"image_{k}")
                assert (camera.codec, camera.height, camera.width) == ("jpeg", 64, 64)
                images = [bytes(camera.frames.read(i)) for i in range(camera.num_frames)]
                assert images == original[f"steps/observation/image_{k}"]
                assert camera.frames.sizes.tolist() == [len(i) for i in images]
            (text,) = set(original["steps/language_instruction"])
            assert recording.instructions == (Instruction(text=text.decode()),)

    def test_places_are_named_by_shard_and_record(self, bridge: Path) -> None:
        names = [p.name for p in rlds.places(bridge)]
        assert names[0] == f"{TRAIN}#00000"
        assert names[-1] == "bridge_dataset-val.tfrecord-00000-of-00001#00024"
        assert names == sorted(names)
        assert sum(p.size for p in rlds.places(bridge)) == 2 * 3474742  # numBytes of dataset_info.json

    def test_demonstrations_that_come_twice_have_equal_values_and_ids_of_their_own(
        self, bridge: Path, bridge_request: Request
    ) -> None:
        found = [next(rlds.read(bridge, place, bridge_request)) for place in rlds.places(bridge)]
        actions = [numbers(f, "action").values.tobytes() + numbers(f, "state").values.tobytes() for f in found]
        assert len(set(actions)) == 25
        assert set(actions[:25]) == set(actions[25:])
        assert len({f.recording_id for f in found}) == 50
        assert [f.metadata["split"] for f in found] == ["train"] * 25 + ["val"] * 25

    def test_stamps_are_nominal_at_the_embodiments_rate(self, bridge: Path, bridge_request: Request) -> None:
        recording = next(rlds.read(bridge, rlds.places(bridge)[0], bridge_request))
        assert {s.clock for s in recording.streams.values()} == {Clock.NOMINAL}
        assert numbers(recording, "action").time_ns.tolist() == [k * 200_000_000 for k in range(10)]

    def test_what_is_not_kept_is_named(self, bridge: Path, bridge_request: Request) -> None:
        notes = "\n".join(next(rlds.read(bridge, rlds.places(bridge)[0], bridge_request)).notes)
        assert "never set: is_last, is_terminal" in notes
        kept_not = next(line for line in notes.splitlines() if line.startswith("not kept: "))
        for name in ("language_embedding", "reward", "discount", "is_first"):
            assert name in kept_not
        for name in ("observation/state", "language_instruction", "observation/image_0", "episode_metadata/file_path"):
            assert name not in kept_not

    def test_short_facts_of_the_episode_are_metadata(self, bridge: Path, bridge_request: Request) -> None:
        metadata = next(rlds.read(bridge, rlds.places(bridge)[0], bridge_request)).metadata
        original = example(next(records(bridge / "bridge_dataset" / "1.0.0" / TRAIN)))
        assert metadata["episode_metadata/file_path"] == original["episode_metadata/file_path"][0].decode()
        assert metadata["episode_metadata/has_image_0"] == "false"  # as recorded, though the images are real
        assert metadata["episode_metadata/episode_id"].isdecimal()

    def test_the_folder_its_parents_and_a_shard_are_one_dataset(self, bridge: Path, bridge_request: Request) -> None:
        version = bridge / "bridge_dataset" / "1.0.0"
        assert all(rlds.can_read(p) for p in (bridge, version.parent, version, version / TRAIN))
        (from_shard,) = rlds.read(version / TRAIN, Place(name=f"{TRAIN}#00003"), bridge_request)
        (from_top,) = rlds.read(bridge, Place(name=f"{TRAIN}#00003"), bridge_request)
        assert from_shard.recording_id == from_top.recording_id
        assert len(rlds.places(version / TRAIN)) == 25

    def test_a_folder_that_holds_other_things_too_is_no_dataset(self, shared_data: Path) -> None:
        assert not rlds.can_read(shared_data)
        assert not rlds.can_read(shared_data / "g1_inspire_lerobot_v21")
        assert not rlds.can_read(shared_data / "bridge_rlds_tfrecord" / "LICENSE")

    def test_inspect_tells_shapes_types_and_codecs(self, bridge: Path) -> None:
        inspection = rlds.inspect(bridge)
        by_name = {s.name: s for s in inspection.streams}
        assert len(inspection.places) == 50
        assert (by_name["action"].shape, by_name["action"].dtype, by_name["action"].count) == ((7,), "float32", 10)
        assert (by_name["observation/image_3"].codec, by_name["observation/image_3"].shape) == ("jpeg", (64, 64, 3))
        assert by_name["language_instruction"].kind == "text"
        assert ("splits", "train, val") in inspection.facts


# ------------------------------------------------------------------- damage


class TestDamage:
    @pytest.mark.parametrize("at", [12, 5000, 100_000, -5])
    def test_flipped_byte_in_the_data_names_file_record_and_byte(
        self, copied: Path, bridge_request: Request, at: int
    ) -> None:
        spans = self.spans(copied / TRAIN)
        begin, end = spans[3]
        place = (begin if at >= 0 else end) + at
        self.flip(copied / TRAIN, place)
        places = rlds.places(copied)
        assert len(places) == 25
        with pytest.raises(
            SourceError, match=rf"^{TRAIN}: record 3 at byte {begin}: CRC-32C of its data is 0x\w+; its"
        ):
            list(rlds.read(copied, places[3], bridge_request))
        for k in (2, 4, 24):
            assert next(rlds.read(copied, places[k], bridge_request)).is_stepped

    @pytest.mark.parametrize("at", range(12))
    def test_flipped_byte_in_the_length_leaves_the_records_before(
        self, copied: Path, bridge_request: Request, at: int
    ) -> None:
        begin, _ = self.spans(copied / TRAIN)[3]
        self.flip(copied / TRAIN, begin + at)
        places = rlds.places(copied)
        assert [p.name[-5:] for p in places] == ["00000", "00001", "00002", "00003"]
        assert next(rlds.read(copied, places[2], bridge_request)).is_stepped
        with pytest.raises(SourceError, match=rf"record 3 at byte {begin}: CRC-32C of its length"):
            list(rlds.read(copied, places[3], bridge_request))

    @pytest.mark.parametrize("kept", [1, 11, 12, 13, 90_000])
    def test_file_cut_off_inside_a_record_names_it(self, copied: Path, bridge_request: Request, kept: int) -> None:
        begin, _ = self.spans(copied / TRAIN)[20]
        self.cut(copied / TRAIN, begin + kept)
        places = rlds.places(copied)
        assert len(places) == 21
        assert next(rlds.read(copied, places[19], bridge_request)).is_stepped
        with pytest.raises(SourceError, match=rf"record 20 at byte {begin}: .*the file ends at byte {begin + kept}"):
            list(rlds.read(copied, places[20], bridge_request))

    def test_file_cut_off_between_records_is_found_by_the_declared_number(
        self, copied: Path, bridge_request: Request
    ) -> None:
        begin, _ = self.spans(copied / TRAIN)[20]
        self.cut(copied / TRAIN, begin)
        places = rlds.places(copied)
        assert len(places) == 21
        with pytest.raises(SourceError, match=r"ends after 20 records; dataset_info.json declares 25"):
            list(rlds.read(copied, places[20], bridge_request))

    def test_missing_shards_are_one_place_that_says_so(self, copied: Path, bridge_request: Request) -> None:
        (copied / TRAIN).rename(copied / "bridge_dataset-train.tfrecord-00002-of-00008")
        info = json.loads((copied / "dataset_info.json").read_text())
        info["splits"][0]["shardLengths"] = ["25"] * 8
        (copied / "dataset_info.json").write_text(json.dumps(info))
        places = rlds.places(copied)
        assert len(places) == 26
        with pytest.raises(
            SourceError, match=r"^bridge_dataset-train: 7 of 8 shards are not there: 00000, 00001, 00003"
        ):
            list(rlds.read(copied, places[-1], bridge_request))
        assert "7 of 8 shards" in rlds.inspect(copied).problems[0]

    def test_places_do_not_read_the_data(self, tmp_path: Path) -> None:
        version = dataset(tmp_path)
        shard = version / "toy-train.tfrecord-00000-of-00001"
        head = struct.pack("<Q", 10**12)
        with shard.open("wb") as file:
            file.write(head + struct.pack("<I", masked(head)))
            file.truncate(10**12 + 16)  # a hole: nothing is on the disk
        assert [p.size for p in rlds.places(version)] == [10**12]
        with pytest.raises(SourceError, match=r"record 0 at byte 0: 1,000,000,000,000 bytes; must be at most"):
            only(version)

    def test_gzip_is_told(self, tmp_path: Path) -> None:
        version = dataset(tmp_path)
        (version / "toy-train.tfrecord-00000-of-00001").write_bytes(b"\x1f\x8b" + bytes(100))
        with pytest.raises(SourceError, match="compressed with gzip"):
            only(version)

    def test_shard_that_links_out_of_the_folder_is_refused(self, tmp_path: Path) -> None:
        version = dataset(tmp_path / "inner", serialized(episode()))
        shard = version / "toy-train.tfrecord-00000-of-00001"
        shard.rename(tmp_path / "elsewhere")
        shard.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(GateError):
            rlds.places(version)

    @pytest.mark.parametrize("text", ["", "[", "[1]", "{}", '{"featuresDict": 3}', "[" * 100_000])
    def test_features_json_that_is_none_is_not_read(self, tmp_path: Path, text: str) -> None:
        version = dataset(tmp_path, serialized(episode()))
        (version / "features.json").write_text(text)
        assert rlds.can_read(version)
        with pytest.raises(
            SourceError, match=r"features.json: (not JSON|a list)|features.json has no features; an RLDS"
        ):
            rlds.places(version)
        (version / "toy-train.tfrecord-00000-of-00001").unlink()
        assert not rlds.can_read(version)
        with pytest.raises(SourceError, match="not an RLDS dataset"):
            rlds.places(version)

    @staticmethod
    def spans(path: Path) -> list[tuple[int, int]]:
        ends = np.cumsum([len(r) + 16 for r in records(path)]).tolist()
        return list(zip([0, *ends[:-1]], ends, strict=True))

    @staticmethod
    def flip(path: Path, place: int) -> None:
        data = bytearray(path.read_bytes())
        data[place] ^= 0x10
        path.write_bytes(data)

    @staticmethod
    def cut(path: Path, size: int) -> None:
        path.write_bytes(path.read_bytes()[:size])


# ------------------------------------------------------------------- mapping


class TestMapping:
    def test_streams_labels_and_shapes_follow_features_json(self, tmp_path: Path) -> None:
        version = dataset(tmp_path, serialized(episode()))
        recording = only(version, request(instruction=LabelMapping(source="instruction")))
        assert numbers(recording, "state").values.tolist() == [[0, 0.5], [1, 1.5], [2, 2.5]]
        assert numbers(recording, "action").time_ns.tolist() == [0, 333_333_333, 666_666_667]
        camera = frames(recording, "camera")
        assert (camera.height, camera.width, camera.codec) == (2, 3, "jpeg")
        assert [bytes(camera.frames.read(k)) for k in range(3)] == [JPEG_2X3 + bytes([k]) for k in range(3)]
        assert recording.instructions == (Instruction(text="go"),)

    def test_integers_get_their_declared_type_and_deep_shapes_are_laid_out(self, tmp_path: Path) -> None:
        recording = only(dataset(tmp_path, serialized(episode())), request(state="observation/grid"))
        values = numbers(recording, "state").values
        assert values.dtype == np.int32
        assert values.tolist() == [[-3000, -2000], [-1000, 0], [1000, 2000]]
        assert any("shape [1, 2] is laid out" in n for n in recording.notes)

    def test_value_beyond_its_declared_type_is_an_error(self, tmp_path: Path) -> None:
        changed = episode({"steps/observation/grid": feature([2**31, 0, 0, 0, 0, 0])})
        with pytest.raises(SourceError, match="observation/grid holds values beyond its type, int32"):
            only(dataset(tmp_path, serialized(changed)), request(state="observation/grid"))

    def test_text_that_changes_becomes_timed_instructions(self, tmp_path: Path) -> None:
        texts = feature([b"reach", b"reach", b"", b"grasp"])
        version = dataset(tmp_path, serialized(episode({"steps/instruction": texts}, 4)))
        recording = only(version, request(subtask=LabelMapping(source="instruction")))
        assert recording.instructions == (
            Instruction(text="reach", kind="subtask", time_ns=0, end_ns=666_666_667),
            Instruction(text="grasp", kind="subtask", time_ns=1_000_000_000),
        )
        assert "subtask: the text is empty at 1 of 4 steps" in recording.notes

    def test_empty_text_is_no_instruction(self, tmp_path: Path) -> None:
        version = dataset(tmp_path, serialized(episode({"steps/instruction": feature([b"", b"", b""])})))
        recording = only(version, request(instruction=LabelMapping(source="instruction")))
        assert recording.instructions == ()
        assert "task: the text is empty at 3 of 3 steps" in recording.notes

    def test_text_of_the_episode_holds_throughout(self, tmp_path: Path) -> None:
        version = dataset(tmp_path, serialized(episode()))
        label = LabelMapping(source="episode_metadata/language")
        assert only(version, request(instruction=label)).instructions == (Instruction(text="do it"),)

    @pytest.mark.parametrize(
        ("mapping", "outcome"),
        [
            (OutcomeMapping(source="reward"), Outcome(kind="success")),
            (OutcomeMapping(source="is_last"), Outcome(kind="failure")),
            (OutcomeMapping(source="is_last", success=("0",), failure=("1",)), Outcome(kind="success")),
            (OutcomeMapping(source="episode_metadata/result"), Outcome(kind="failure", reason="dropped it")),
        ],
    )
    def test_outcome_is_the_last_value_of_a_step_or_that_of_the_episode(
        self, tmp_path: Path, mapping: OutcomeMapping, outcome: Outcome
    ) -> None:
        version = dataset(tmp_path, serialized(episode()))
        assert only(version, request(outcome=mapping)).outcomes == (outcome,)

    def test_outcome_that_means_nothing_is_a_note(self, tmp_path: Path) -> None:
        changed = episode({"steps/reward": feature([0.0, 0.0, 0.25])})
        recording = only(dataset(tmp_path, serialized(changed)), request(outcome=OutcomeMapping(source="reward")))
        assert recording.outcomes == ()
        assert any(n.startswith("outcome: '0.25' is none of") for n in recording.notes)

    def test_feature_that_is_not_there_names_those_that_are(self, tmp_path: Path) -> None:
        version = dataset(tmp_path, serialized(episode()))
        with pytest.raises(SourceError, match="no feature 'observation/pose'; there are action, observation/state"):
            only(version, request(state="observation/pose"))

    def test_other_shape_names_both(self, tmp_path: Path) -> None:
        version = dataset(tmp_path, serialized(episode()))
        with pytest.raises(SourceError, match=r"reward has shape \[1\] \(no names\); state must have \[2\] \(a, b\)"):
            only(version, request(state="reward"))

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"state": "instruction"}, "instruction is Text; must be numeric"),
            ({"camera": "action"}, r"action is Tensor of shape \[2\] \(float32\); must be encoded images"),
            ({"camera": "instruction"}, "instruction has no readable image: image begins with 67 6f"),
            ({"instruction": LabelMapping(source="action")}, "must be text"),
            ({"state": "episode_metadata/result"}, "must be numeric"),
        ],
    )
    def test_feature_of_another_kind_is_an_error(
        self, tmp_path: Path, changes: dict[str, object], message: str
    ) -> None:
        with pytest.raises(SourceError, match=message):
            only(dataset(tmp_path, serialized(episode())), request(**changes))

    def test_streams_of_different_length_name_both(self, tmp_path: Path) -> None:
        changed = episode({"steps/action": feature([0.0] * 8)})
        with pytest.raises(SourceError, match="action has 4 steps, observation/state has 3; must be as many"):
            only(dataset(tmp_path, serialized(changed)))

    def test_values_that_are_no_multiple_of_the_shape_are_an_error(self, tmp_path: Path) -> None:
        changed = episode({"steps/action": feature([0.0] * 7)})
        with pytest.raises(SourceError, match=r"action has 7 values; must be a multiple of 2"):
            only(dataset(tmp_path, serialized(changed)))

    def test_one_length_that_is_not_declared_is_found_by_the_number_of_steps(self, tmp_path: Path) -> None:
        declared = json.loads(json.dumps(DECLARED).replace('["2"]', '["-1"]'))
        recording = only(dataset(tmp_path, serialized(episode()), declared=declared))
        assert numbers(recording, "state").values.tolist() == [[0, 0.5], [1, 1.5], [2, 2.5]]

    def test_length_that_varies_from_step_to_step_is_an_error(self, tmp_path: Path) -> None:
        declared = json.loads(json.dumps(DECLARED).replace('["2"]', '["-1"]'))
        changed = episode({"steps/observation/state": feature([0.5] * 7)})
        with pytest.raises(SourceError, match=r"state has 7 values of shape \[-1\] in 3 steps; must have as many"):
            only(dataset(tmp_path, serialized(changed), declared=declared))

    def test_two_lengths_that_vary_without_encoding_are_an_error(self, tmp_path: Path) -> None:
        declared = json.loads(json.dumps(DECLARED).replace('["2"]', '["-1", "-1"]'))
        with pytest.raises(SourceError, match=r"has shape \[-1, -1\]; must be fixed"):
            only(dataset(tmp_path, serialized(episode()), declared=declared))

    def test_episode_without_steps_is_an_error(self, tmp_path: Path) -> None:
        changed = episode({"steps/observation/state": b""})
        with pytest.raises(SourceError, match="observation/state has no steps"):
            only(dataset(tmp_path, serialized(changed)))

    def test_stream_that_need_not_be_there_is_a_note(self, tmp_path: Path) -> None:
        version = dataset(tmp_path, serialized(episode()))
        recording = only(version, request(camera="observation/wrist"))
        assert set(recording.streams) == {"state", "action"}
        assert "camera: the record has no observation/wrist" in recording.notes

    def test_text_that_is_not_utf8_is_kept_as_far_as_it_goes_with_a_note(self, tmp_path: Path) -> None:
        version = dataset(tmp_path, serialized(episode({"steps/instruction": feature([b"caf\xe9"] * 3)})))
        recording = only(version, request(instruction=LabelMapping(source="instruction")))
        assert recording.instructions == (Instruction(text="caf\ufffd"),)
        assert any("not UTF-8" in n for n in recording.notes)

    @pytest.mark.parametrize("encoding", ["bytes", "zlib"])
    def test_tensors_stored_as_bytes_are_read(self, tmp_path: Path, encoding: str) -> None:
        import zlib

        declared = json.loads(json.dumps(DECLARED))
        state = declared["featuresDict"]["features"]["steps"]["sequence"]["feature"]["featuresDict"]["features"]
        state["observation"]["featuresDict"]["features"]["state"]["tensor"]["encoding"] = encoding
        rows = np.arange(6, dtype=np.float64).reshape(3, 2) / 3
        pack = zlib.compress if encoding == "zlib" else bytes
        changed = episode({"steps/observation/state": feature([pack(r.tobytes()) for r in rows])})
        recording = only(dataset(tmp_path, serialized(changed), declared=declared))
        assert np.array_equal(numbers(recording, "state").values, rows)

    def test_zlib_bomb_is_unpacked_no_further_than_it_may_be(self, tmp_path: Path) -> None:
        import zlib

        declared = json.loads(json.dumps(DECLARED))
        steps = declared["featuresDict"]["features"]["steps"]["sequence"]["feature"]["featuresDict"]["features"]
        steps["observation"]["featuresDict"]["features"]["state"]["tensor"]["encoding"] = "zlib"
        bomb = feature([zlib.compress(bytes(90_000_000))] * 3)
        version = dataset(tmp_path, serialized(episode({"steps/observation/state": bomb})), declared=declared)
        with pytest.raises(SourceError, match="observation/state has other than 16 bytes at step 0"):
            only(version)
        state = steps["observation"]["featuresDict"]["features"]["state"]
        state["tensor"]["shape"]["dimensions"] = ["-1"]
        (version / "features.json").write_text(json.dumps(declared))
        with pytest.raises(SourceError, match="observation/state has 80000001 bytes for the shape"):
            only(version, request(state="observation/state"))


def test_two_versions_are_two_datasets(tmp_path: Path) -> None:
    version = dataset(tmp_path, serialized(episode()))
    (version.parent / "2.0.0").mkdir()
    assert not rlds.can_read(tmp_path)
    assert rlds.can_read(version)
    with pytest.raises(SourceError, match="a folder with one such folder only"):
        rlds.places(tmp_path)


def test_features_of_the_older_form_are_read(tmp_path: Path) -> None:
    def old(kind: str, content: object) -> dict[str, object]:
        return {"type": f"tensorflow_datasets.core.features.{kind}", "content": content}

    leaf = old("tensor_feature.Tensor", json.dumps({"shape": [2], "dtype": "float32"}))
    new_leaf = {"pythonClassName": "a.Tensor", "jsonFeature": {"json": json.dumps({"shape": [4], "dtype": "int8"})}}
    step = old(
        "features_dict.FeaturesDict", json.dumps({"action": leaf, "other": new_leaf, "label": {"classLabel": {}}})
    )
    steps = old("dataset_feature.Dataset", {"feature": step, "length": None})
    declared = old(
        "features_dict.FeaturesDict", {"steps": steps, "name": {"type": "x.text_feature.Text", "content": {}}}
    )
    (tmp_path / "features.json").write_text(json.dumps(declared))
    found = read_features(tmp_path)
    assert {k: (v.kind, v.shape, v.dtype) for k, v in found.items()} == {
        "action": ("numeric", (2,), "float32"),
        "other": ("numeric", (4,), "int8"),
        "label": ("numeric", (), "int64"),
        "name": ("text", (), ""),
    }
    assert found["action"].key == "steps/action"
    assert found["name"].key == "name"


@pytest.mark.parametrize("value", [{"a": []}, [1], None, 3, True, "float99"])
def test_features_json_of_odd_values_says_so(tmp_path: Path, value: object) -> None:
    for name in ("dtype", "shape", "encoding"):
        odd = tensor("float32", 2)
        cast("dict[str, object]", odd["tensor"])[name] = value
        declared = dictionary(steps={"sequence": {"feature": dictionary(action=odd, other=value)}})
        version = dataset(tmp_path / name, serialized({"steps/action": feature([0.5, 1.5])}), declared=declared)
        found = read_features(version)
        assert found["action"].shape == ((2,) if name != "shape" else (1,) if value == [1] else ())
        with suppress(SourceError):
            EpisodeRecord(serialized({"steps/action": feature([0.5, 1.5])}), found, "test").numbers("action")


def test_sequence_of_fixed_length_adds_its_length_to_the_shape(tmp_path: Path) -> None:
    inner = {"pythonClassName": "a.Sequence", "sequence": {"feature": tensor("float32", 3), "length": "4"}}
    ragged = {"pythonClassName": "a.Sequence", "sequence": {"feature": tensor("float32", 3), "length": "-1"}}
    steps = {"sequence": {"feature": dictionary(fixed=inner, ragged=ragged)}}
    (tmp_path / "features.json").write_text(json.dumps(dictionary(steps=steps)))
    found = read_features(tmp_path)
    assert found["fixed"].shape == (4, 3)
    assert found["ragged"].shape == (-1, 3)


# ------------------------------------------------------------------- what TFDS itself writes and reads


GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "rlds"


def at(value: dict[str, object], path: str) -> object:
    """What TFDS gives under a path; images and their kin as arrays."""
    for name in path.split("/"):
        assert isinstance(value, dict)
        value = value[name]
    if isinstance(value, dict) and "uint8" in value:
        return np.frombuffer(base64.b64decode(str(value["uint8"])), np.uint8).reshape(value["shape"])
    return value


@pytest.fixture(scope="module")
def golden() -> list[tuple[EpisodeRecord, dict[str, object]]]:
    """Records of the golden dataset, each with what TFDS reads of it."""
    expected = json.loads((GOLDEN / "expected.json").read_text())
    version = GOLDEN / "golden_robot" / "1.0.0"
    features = read_features(version)
    found = []
    for split in ("train", "val"):
        data = list(records(version / f"golden_robot-{split}.tfrecord-00000-of-00001"))
        found += [(EpisodeRecord(r, features, split), e) for r, e in zip(data, expected[split], strict=True)]
    assert len(found) == 3
    return found


def steps_of(expected: dict[str, object], path: str) -> list[object]:
    steps = expected["steps"]
    assert isinstance(steps, list)
    return [at(s, path) for s in steps]


class TestGolden:
    @pytest.mark.parametrize(
        ("path", "dtype"),
        [
            ("observation/state", "float32"),
            ("observation/state_double", "float32"),  # TFDS stored float32
            ("observation/state_zlib", "float64"),
            ("observation/state_bytes", "int16"),
            ("observation/counter", "uint64"),
            ("observation/flags", "bool"),
            ("observation/window", "float32"),
            ("action/arm", "float32"),
            ("action/mode", "int64"),
            ("is_first", "bool"),
            ("reward", "float32"),
            ("instruction_codes", "int32"),
        ],
    )
    def test_numbers_are_those_that_tfds_reads(
        self, golden: list[tuple[EpisodeRecord, dict[str, object]]], path: str, dtype: str
    ) -> None:
        for episode_record, expected in golden:
            values = episode_record.numbers(path)
            assert values.dtype == dtype
            assert values.tolist() == steps_of(expected, path)

    @pytest.mark.parametrize("path", ["observation/pixels", "observation/pixels_zlib", "observation/gray_bytes"])
    def test_raw_images_become_png_of_the_same_pixels(
        self, golden: list[tuple[EpisodeRecord, dict[str, object]]], path: str
    ) -> None:
        for episode_record, expected in golden:
            for image, wanted in zip(episode_record.pixels(path), steps_of(expected, path), strict=True):
                assert np.array_equal(image.reshape(np.shape(wanted)), np.array(wanted))

    def test_images_of_any_size_have_their_own(self, golden: list[tuple[EpisodeRecord, dict[str, object]]]) -> None:
        sizes = set()
        for episode_record, expected in golden:
            found = [i.tolist() for i in episode_record.pixels("observation/any_size")]
            assert found == [np.array(v).tolist() for v in steps_of(expected, "observation/any_size")]
            sizes |= {np.shape(i) for i in found}
        assert sizes == {(2, 3, 3), (3, 3, 3)}

    def test_encoded_images_decode_to_what_tfds_decodes(
        self, golden: list[tuple[EpisodeRecord, dict[str, object]]]
    ) -> None:
        for episode_record, expected in golden:
            frames_found, info = episode_record.images("observation/png")
            assert (info.codec, info.height, info.width) == ("png", 4, 5)
            images = [decode(frames_found.read(k)) for k in range(len(frames_found.sizes))]
            assert [i.tolist() for i in images] == [np.array(v).tolist() for v in steps_of(expected, "observation/png")]
            depth, info = episode_record.images("observation/depth16")
            assert info.bit_depth == 16
            for k, wanted in enumerate(steps_of(expected, "observation/depth16")):
                assert decode_depth(depth.read(k)).tolist() == np.array(wanted)[..., 0].tolist()
            assert episode_record.images("observation/jpeg")[1].codec == "jpeg"

    def test_one_image_of_a_sequence_is_picked(self, golden: list[tuple[EpisodeRecord, dict[str, object]]]) -> None:
        for episode_record, expected in golden:
            for element in (0, 1):
                history, _ = episode_record.images("observation/history", element)
                for k, wanted in enumerate(steps_of(expected, "observation/history")):
                    assert np.array_equal(decode(history.read(k)), np.array(wanted)[element])
            with pytest.raises(SourceError, match="history has 2 values at step 0; must have one, or say which by fi"):
                episode_record.images("observation/history")
            with pytest.raises(SourceError, match=r"history has 2 values at step 0; there is no \[2\]"):
                episode_record.images("observation/history", 2)

    def test_ragged_numbers_are_read_where_they_are_even_and_refused_where_not(
        self, golden: list[tuple[EpisodeRecord, dict[str, object]]]
    ) -> None:
        first, expected = golden[0]
        with pytest.raises(SourceError, match="points has from 1 to 2 values in a sequence; a signal must have as man"):
            first.numbers("observation/points")
        wanted = [np.array(p)[0].tolist() for p in steps_of(expected, "observation/points")]
        assert first.numbers("observation/points", 0).tolist() == wanted
        with pytest.raises(SourceError, match=r"points has 1 values at step 2; there is no \[1\]"):
            first.numbers("observation/points", 1)
        assert first.numbers("observation/objects/box", 0).tolist() == [[0.0, 0.25, 0.5, 1.0]] * 3
        with pytest.raises(SourceError, match="nested has from 0 to 2 values in a sequence"):
            first.numbers("observation/nested")
        with pytest.raises(SourceError, match="sequences in sequences"):
            first.numbers("observation/nested", 0)
        one, expected = golden[1]
        (wanted_one,) = steps_of(expected, "observation/points")
        assert one.numbers("observation/points").tolist() == [wanted_one]

    def test_texts_are_those_that_tfds_reads(self, golden: list[tuple[EpisodeRecord, dict[str, object]]]) -> None:
        for episode_record, expected in golden:
            for path in ("language_instruction", "language_instruction_3"):
                assert [row[0] for row in episode_record.texts(path)[0]] == steps_of(expected, path)
            for path in ("all_instructions", "observation/objects/name"):
                assert [list(row) for row in episode_record.texts(path)[0]] == steps_of(expected, path)
            assert episode_record.texts("instruction_codes")[0] == [("räum auf",)] * episode_record.count("is_first")

    def test_float_images_are_refused_by_name(self, golden: list[tuple[EpisodeRecord, dict[str, object]]]) -> None:
        with pytest.raises(SourceError, match="depth_float holds float32 numbers as the four channels of a PNG"):
            golden[0][0].images("observation/depth_float")
        with pytest.raises(
            SourceError, match=r"state is Tensor of shape \[2\] \(float32\); must be encoded images, or"
        ):
            next(golden[0][0].pixels("observation/state"))

    def test_counts_need_no_values(self, golden: list[tuple[EpisodeRecord, dict[str, object]]]) -> None:
        for episode_record, expected in golden:
            for path in read_features(GOLDEN / "golden_robot" / "1.0.0"):
                if episode_record.info(path).is_step:
                    assert episode_record.count(path) == len(steps_of(expected, "is_first"))

    def test_the_whole_way_gives_streams_labels_and_facts(self) -> None:
        wanted = request(
            state="observation/state",
            action="action/arm",
            camera="observation/pixels",
            instruction=LabelMapping(source="language_instruction"),
            outcome=OutcomeMapping(source="episode_metadata/success"),
            options={"reward": "reward"},
        )
        recording = only(GOLDEN / "golden_robot", wanted)
        expected = json.loads((GOLDEN / "expected.json").read_text())["train"][0]
        camera = frames(recording, "camera")
        assert (camera.codec, camera.height, camera.width, camera.pixel_format) == ("png", 4, 5, "rgb8")
        assert "camera: raw images (rgb8) were encoded as PNG, without loss" in recording.notes
        assert recording.instructions == (
            Instruction(text="do 0"),
            Instruction(text="please do 0", kind="paraphrase"),
        )
        assert recording.outcomes == (
            Outcome(kind="success"),
            Outcome(kind="reward", time_ns=666_666_667, value=1.0),
        )
        assert recording.metadata["episode_metadata/file_path"] == expected["episode_metadata"]["file_path"]
        assert recording.metadata["episode_metadata/episode_id"] == "-1"
        assert recording.metadata["split"] == "train"
        assert any(n.startswith("is_last is set at the last step") for n in recording.notes)

    def test_inspect_names_every_feature(self) -> None:
        by_name = {s.name: s for s in rlds.inspect(GOLDEN / "golden_robot").streams}
        assert by_name["observation/pixels"].kind == by_name["observation/png"].kind == "image"
        assert by_name["observation/pixels"].shape == (4, 5, 3)
        assert by_name["observation/any_size"].shape == (2, 3, 3)
        assert by_name["observation/state_zlib"].dtype == "float64"
        assert (by_name["observation/points"].count, by_name["observation/points"].shape) == (3, (-1, 3))
        assert "a mapping says which of its values by field" in by_name["observation/history"].problems[0]
        assert "four channels of a PNG" in by_name["observation/depth_float"].problems[0]


# ------------------------------------------------------------------- conventions of RLDS and Open X-Embodiment


def flags(*values: int) -> bytes:
    return feature(list(values))


class TestConventions:
    def test_last_step_is_kept_and_said(self, tmp_path: Path) -> None:
        version = dataset(tmp_path, serialized(episode({"steps/is_last": flags(0, 0, 1)})))
        recording = only(version)
        assert len(numbers(recording, "action").values) == 3
        assert any("its action, reward and discount mean nothing" in n for n in recording.notes)

    def test_last_step_is_dropped_where_asked(self, tmp_path: Path) -> None:
        version = dataset(tmp_path, serialized(episode({"steps/is_last": flags(0, 0, 1)})))
        wanted = request(options={"last_step": "drop"}, instruction=LabelMapping(source="instruction"))
        recording = only(version, wanted)
        assert numbers(recording, "action").values.tolist() == [[0, 1], [2, 3]]
        assert numbers(recording, "state").time_ns.tolist() == [0, 333_333_333]
        camera = frames(recording, "camera")
        assert [bytes(camera.frames.read(k)) for k in range(camera.num_frames)] == [JPEG_2X3 + b"\0", JPEG_2X3 + b"\1"]
        assert len(camera.frames.sizes) == len(camera.frames.order) == 2
        assert any(n.startswith("the last step is left out") for n in recording.notes)
        assert recording.instructions == (Instruction(text="go"),)

    def test_episode_that_was_cut_loses_no_step(self, tmp_path: Path) -> None:
        recording = only(dataset(tmp_path, serialized(episode())), request(options={"last_step": "drop"}))
        assert len(numbers(recording, "action").values) == 3
        assert "never set: is_last" in recording.notes

    def test_episode_of_one_step_has_nothing_left(self, tmp_path: Path) -> None:
        version = dataset(tmp_path, serialized(episode({"steps/is_last": flags(1)}, 1)))
        with pytest.raises(SourceError, match="observation/state has no steps but the last"):
            only(version, request(options={"last_step": "drop"}))

    @pytest.mark.parametrize("options", [{"last_step": "maybe"}, {"last_action": "drop"}, {"paraphrases": "no"}])
    def test_unknown_option_is_an_error(self, tmp_path: Path, options: dict[str, object]) -> None:
        with pytest.raises(SchemaError, match=r"^options\.\w+ is"):
            only(dataset(tmp_path, serialized(episode())), request(options=options))

    def test_rate_of_the_recording_may_differ_from_the_schemas(self, tmp_path: Path) -> None:
        version = dataset(tmp_path, serialized(episode()))
        recording = only(version, request(options={"rate_hz": 10}))
        assert numbers(recording, "action").time_ns.tolist() == [0, 100_000_000, 200_000_000]
        assert "no times are recorded: stamps are step / 10 Hz, options.rate_hz" in recording.notes
        for rate in (-1, 1e-9, 1e30):
            with pytest.raises(SchemaError, match=r"options\.rate_hz is"):
                only(version, request(options={"rate_hz": rate}))

    def test_flag_in_the_middle_is_said(self, tmp_path: Path) -> None:
        version = dataset(tmp_path, serialized(episode({"steps/is_last": flags(0, 1, 1)})))
        assert "is_last is set at step 1 and 1 others of 3" in only(version).notes

    def test_episode_that_was_cut_off_is_no_failure(self, tmp_path: Path) -> None:
        declared = json.loads(json.dumps(DECLARED).replace('"is_last"', '"is_terminal"'))
        version = dataset(tmp_path, serialized(episode({"steps/is_terminal": flags(0, 0, 0)})), declared=declared)
        recording = only(version, request(outcome=OutcomeMapping(source="is_terminal")))
        assert recording.outcomes == ()
        assert any("the episode was cut off, which is no failure" in n for n in recording.notes)
        said = OutcomeMapping(source="is_terminal", failure=("false",))
        assert only(version, request(outcome=said)).outcomes == (Outcome(kind="failure"),)

    def test_paraphrases_can_be_left_out_and_are_then_named(self, tmp_path: Path) -> None:
        declared = json.loads(json.dumps(DECLARED))
        steps = declared["featuresDict"]["features"]["steps"]["sequence"]["feature"]["featuresDict"]["features"]
        steps |= {"instruction_2": TEXT, "instruction_3": TEXT}
        changed = {"steps/instruction_2": feature([b"walk"] * 3), "steps/instruction_3": feature([b"", b"run", b"run"])}
        version = dataset(tmp_path, serialized(episode(changed)), declared=declared)
        label = LabelMapping(source="instruction")
        assert only(version, request(instruction=label)).instructions == (
            Instruction(text="go"),
            Instruction(text="walk", kind="paraphrase"),
            Instruction(text="run", kind="paraphrase", time_ns=333_333_333),
        )
        recording = only(version, request(instruction=label, options={"paraphrases": False}))
        assert recording.instructions == (Instruction(text="go"),)
        assert any(n.startswith("not kept: ") and "instruction_2, instruction_3" in n for n in recording.notes)

    def test_texts_in_a_sequence_are_one_task_and_its_paraphrases(self, tmp_path: Path) -> None:
        declared = json.loads(json.dumps(DECLARED))
        steps = declared["featuresDict"]["features"]["steps"]["sequence"]["feature"]["featuresDict"]["features"]
        steps["all"] = {"pythonClassName": "a.Sequence", "sequence": {"feature": TEXT, "length": "-1"}}
        changed = {
            "steps/all/ragged_flat_values": feature([b"go", b"walk"] * 3),
            "steps/all/ragged_row_lengths_0": feature([2, 2, 2]),
        }
        version = dataset(tmp_path, serialized(episode(changed)), declared=declared)
        assert only(version, request(instruction=LabelMapping(source="all"))).instructions == (
            Instruction(text="go"),
            Instruction(text="walk", kind="paraphrase"),
        )
        picked = only(version, request(instruction=LabelMapping(source="all", field="1")))
        assert picked.instructions == (Instruction(text="walk"),)
        assert "all: 1 further texts of each step are not kept" in picked.notes
        with pytest.raises(SourceError, match=r"all has 2 texts at step 0; there is no \[5\]"):
            only(version, request(instruction=LabelMapping(source="all", field="5")))

    @pytest.mark.parametrize("field", ["position", "-1", "1.5", "", "9999999", "²"])
    def test_field_must_be_a_number(self, tmp_path: Path, field: str) -> None:
        wanted = SourceMapping.model_validate(
            {"source": "rlds", "streams": {"state": StreamMapping(source="observation/state", field=field)}}
        )
        with pytest.raises(SourceError, match="a field of RLDS is which value of each step: a number from 0 on"):
            only(dataset(tmp_path, serialized(episode())), Request(embodiment=TOY, mapping=wanted))

    def test_field_picks_a_row_of_a_window(self, tmp_path: Path) -> None:
        streams = {
            "state": StreamMapping(source="observation/grid", field="0"),
            "action": StreamMapping(source="action"),
        }
        wanted = Request(embodiment=TOY, mapping=SourceMapping(source="rlds", streams=streams))
        values = numbers(only(dataset(tmp_path, serialized(episode())), wanted), "state").values
        assert values.tolist() == [[-3000, -2000], [-1000, 0], [1000, 2000]]
        streams["state"] = StreamMapping(source="observation/grid", field="1")
        with pytest.raises(SourceError, match=r"observation/grid has shape \[1, 2\]; there is no \[1\]"):
            only(
                tmp_path / "toy" / "1.0.0",
                Request(embodiment=TOY, mapping=SourceMapping(source="rlds", streams=streams)),
            )

    def test_class_has_its_name(self) -> None:
        outcome = OutcomeMapping(source="action/mode", success=("stop",), failure=("hold",))
        wanted = request(state="observation/state", action="action/arm", camera="observation/png", outcome=outcome)
        assert only(GOLDEN / "golden_robot", wanted).outcomes == (Outcome(kind="success"),)

    def test_rewards_that_are_not_finite_are_left_out_and_said(self, tmp_path: Path) -> None:
        changed = episode({"steps/reward": feature([float("nan"), 0.5, 1.0])})
        recording = only(dataset(tmp_path, serialized(changed)), request(options={"reward": "reward"}))
        assert [o.value for o in recording.outcomes] == [0.5, 1.0]
        assert [o.time_ns for o in recording.outcomes] == [333_333_333, 666_666_667]
        assert "reward: 1 rewards are not finite; left out" in recording.notes
        with pytest.raises(SourceError, match=r"action has shape \[2\]; an outcome must be one value"):
            only(tmp_path / "toy" / "1.0.0", request(options={"reward": "action"}))

    def test_facts_can_be_left_out(self, tmp_path: Path) -> None:
        version = dataset(tmp_path, serialized(episode()), info={"configName": "small"})
        assert only(version).metadata == {
            "dataset": "toy",
            "config": "small",
            "version": "1.0.0",
            "split": "train",
            "episode_metadata/result": "failure: dropped it",
            "episode_metadata/language": "do it",
        }
        recording = only(version, request(options={"metadata": False}))
        assert set(recording.metadata) == {"dataset", "config", "version", "split"}
        assert any("not kept: episode_metadata/language, episode_metadata/result" in n for n in recording.notes)

    def test_long_and_hostile_facts_are_cut_and_cleaned(self, tmp_path: Path) -> None:
        changed = {
            "episode_metadata/result": feature([b"\x1b[31mred\nline"]),
            "episode_metadata/language": feature([b"x" * 5000]),
        }
        recording = only(dataset(tmp_path, serialized(episode(changed))))
        assert recording.metadata["episode_metadata/result"] == "red line"
        assert len(recording.metadata["episode_metadata/language"]) == 1000
        assert "metadata: episode_metadata/language has 5,000 characters; cut after 1,000" in recording.notes


# ------------------------------------------------------------------- folders


class TestFolders:
    @pytest.mark.parametrize("form", ["array_record", "riegeli"])
    def test_other_file_formats_are_refused_by_name(self, tmp_path: Path, form: str) -> None:
        version = dataset(tmp_path, serialized(episode()), info={"fileFormat": form})
        shard = version / "toy-train.tfrecord-00000-of-00001"
        named = shard.rename(version / f"toy-train.{form}-00000-of-00001")
        for path in (version, named):
            assert rlds.can_read(path)
            with pytest.raises(SourceError, match=rf"^1.0.0: files are {form}; must be tfrecord: convert"):
                rlds.places(path)
        (version / "dataset_info.json").unlink()
        with pytest.raises(SourceError, match=rf"files are {form}"):
            rlds.places(version)

    def test_shards_without_features_json_are_refused_by_name(self, tmp_path: Path) -> None:
        version = dataset(tmp_path, serialized(episode()))
        (version / "features.json").unlink()
        for path in (version, version.parent, version / "toy-train.tfrecord-00000-of-00001"):
            assert rlds.can_read(path)
            with pytest.raises(SourceError, match=r"has no features\.json beside its shards; TFDS writes it since"):
                rlds.places(path)

    def test_dataset_that_is_not_of_robots_is_refused_by_name(self, tmp_path: Path) -> None:
        version = dataset(tmp_path, serialized({"image": feature([b"x"])}), declared=dictionary(image=IMAGE))
        with pytest.raises(SourceError, match=r"features\.json has image; an RLDS dataset must have steps"):
            rlds.places(version)

    def test_shards_named_with_the_format_at_the_end_are_read(self, tmp_path: Path) -> None:
        version = dataset(tmp_path, serialized(episode()))
        (version / "toy-train.tfrecord-00000-of-00001").rename(version / "toy-train-00000-of-00002.tfrecord")
        places = rlds.places(version)
        assert [p.name for p in places] == ["toy-train-00000-of-00002.tfrecord#00000", "toy-train#missing"]
        assert only(version).metadata["split"] == "train"

    def test_shards_whose_names_do_not_say_how_many_there_are_are_read(self, tmp_path: Path) -> None:
        info = {"name": "toy", "splits": [{"name": "train", "shardLengths": ["2", "1"]}]}
        version = dataset(tmp_path, serialized(episode()), info=info)
        (version / "toy-train.tfrecord-00000-of-00001").rename(version / "toy-train.tfrecord-00000")
        names = [p.name for p in rlds.places(version)]
        assert names == ["toy-train.tfrecord-00000#00000", "toy-train.tfrecord-00000#00001", "toy-train#missing"]
        assert only(version).metadata["split"] == "train"
        with pytest.raises(SourceError, match=r"ends after 1 records; dataset_info\.json declares 2"):
            list(rlds.read(version, rlds.places(version)[1], request()))
        (version / "dataset_info.json").unlink()
        assert [p.name for p in rlds.places(version)] == names[:1]

    def test_download_that_was_cut_off_is_no_shard(self, tmp_path: Path) -> None:
        version = dataset(tmp_path, serialized(episode()))
        (version / "toy-train.tfrecord-00001-of-00002_.gstmp").write_bytes(b"half")
        assert len(rlds.places(version)) == 1
        assert (
            "toy-train.tfrecord-00001-of-00002_.gstmp: not the name of a shard; ignored"
            in rlds.inspect(version).problems
        )

    def test_splits_and_shards_are_all_found(self, tmp_path: Path) -> None:
        version = dataset(tmp_path, info={"name": "toy"})
        (version / "toy-train.tfrecord-00000-of-00001").unlink()
        for name in ("train.tfrecord-00000-of-00002", "train.tfrecord-00001-of-00002", "test.tfrecord-00000-of-00001"):
            (version / f"toy-{name}").write_bytes(framed(serialized(episode())) * 2)
        found = {p.name: next(rlds.read(version, p, request())).metadata["split"] for p in rlds.places(version)}
        assert sorted(found.values()) == ["test"] * 2 + ["train"] * 4

    def test_declared_shards_by_the_billion_cost_nothing(self, tmp_path: Path) -> None:
        version = dataset(tmp_path, serialized(episode()))
        (version / "toy-train.tfrecord-00000-of-00001").rename(
            version / "toy-train.tfrecord-000000000000000000-of-999999999999999999"
        )
        assert "999999999999999998 of 999999999999999999 shards are not there" in rlds.inspect(version).problems[0]


# ------------------------------------------------------------------- ragged features and raw images, hostile


def ragged(kind: Mapping[str, object]) -> dict[str, object]:
    return {"pythonClassName": "a.Sequence", "sequence": {"feature": kind, "length": "-1"}}


class TestRagged:
    @pytest.mark.parametrize(
        ("lengths", "values", "message"),
        [
            ([2, 2, -1], [0.0] * 9, "rows of -1 to 2 values"),
            ([2**62, 2**62, 2**62], [0.0] * 9, "rows of 4611686018427387904 to"),
            ([1, 1], [0.0] * 9, "rows of 2 values at level 0; there are 3"),
            ([1, 1, 1], [0.0] * 8, r"has 8 values; its shape is \[-1, 3\]"),
            ([0, 0, 0], [], "state must have"),
        ],
    )
    def test_row_lengths_that_do_not_fit_are_an_error(
        self, tmp_path: Path, lengths: list[int], values: list[float], message: str
    ) -> None:
        declared = json.loads(json.dumps(DECLARED))
        steps = declared["featuresDict"]["features"]["steps"]["sequence"]["feature"]["featuresDict"]["features"]
        steps["points"] = ragged(tensor("float32", 3))
        changed = {
            "steps/points/ragged_flat_values": feature(values, kind=2),
            "steps/points/ragged_row_lengths_0": feature(lengths, kind=3),
        }
        version = dataset(tmp_path, serialized(episode(changed)), declared=declared)
        with pytest.raises(SourceError, match=message):
            only(version, request(state="points"))

    def test_missing_row_lengths_are_an_error(self, tmp_path: Path) -> None:
        declared = json.loads(json.dumps(DECLARED))
        steps = declared["featuresDict"]["features"]["steps"]["sequence"]["feature"]["featuresDict"]["features"]
        steps["points"] = ragged(tensor("float32", 1))
        flat = {"steps/points/ragged_flat_values": feature([0.5] * 3)}
        version = dataset(tmp_path, serialized(episode(flat)), declared=declared)
        with pytest.raises(SourceError, match="declares steps/points/ragged_row_lengths_0; the record has none"):
            only(version, request(state="points"))

    @settings(deadline=None, max_examples=30)
    @given(
        st.lists(st.lists(st.floats(width=32, allow_nan=False), max_size=4), min_size=1, max_size=5),
        st.sampled_from(["none", "bytes", "zlib"]),
        st.tuples(st.integers(1, 4), st.integers(1, 4), st.sampled_from([1, 3, 4])),
        st.randoms(use_true_random=False),
    )
    def test_written_sequences_and_raw_images_come_back(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        rows: list[list[float]],
        encoding: str,
        shape: tuple[int, int, int],
        random: Random,
    ) -> None:
        import zlib

        count = len(rows)
        images = [bytes(random.randrange(256) for _ in range(shape[0] * shape[1] * shape[2])) for _ in range(count)]
        raw = tensor("uint8", *shape)
        raw["tensor"] = {**cast("dict[str, object]", raw["tensor"]), "encoding": encoding}
        declared = dictionary(
            steps={"sequence": {"feature": dictionary(values=ragged(tensor("float32")), raw=raw), "length": "-1"}}
        )
        pack = {"none": bytes, "bytes": bytes, "zlib": zlib.compress}[encoding]
        stored = [n for i in images for n in i] if encoding == "none" else [pack(i) for i in images]
        record = {
            "steps/values/ragged_flat_values": feature([v for r in rows for v in r], kind=2),
            "steps/values/ragged_row_lengths_0": feature([len(r) for r in rows]),
            "steps/raw": feature(cast(Values, stored)),
        }
        version = dataset(tmp_path_factory.mktemp("ragged"), serialized(record), declared=declared)
        found = EpisodeRecord(serialized(record), read_features(version), "test")
        assert [i.tobytes() for i in found.pixels("raw")] == images
        assert found.count("raw") == found.count("values") == count
        lengths = {len(r) for r in rows}
        if len(lengths) == 1:
            assert found.numbers("values").tolist() == rows
        else:
            with pytest.raises(SourceError, match="has from"):
                found.numbers("values")
        if min(lengths):
            assert found.numbers("values", 0).tolist() == [r[0] for r in rows]

    def test_raw_images_are_read_one_by_one(self, tmp_path: Path) -> None:
        import tracemalloc

        count, shape = 60, (128, 160, 3)
        declared = dictionary(steps={"sequence": {"feature": dictionary(raw=tensor("uint8", *shape)), "length": "-1"}})
        size = shape[0] * shape[1] * shape[2]
        inner = np.tile(np.array([0x81, 0x01], np.uint8), size * count).tobytes()  # 129, in two bytes each
        record = serialized({"steps/raw": field(3, field(1, inner))})
        version = dataset(tmp_path, declared=declared)
        found = EpisodeRecord(record, read_features(version), "test")
        tracemalloc.start()
        for image in found.pixels("raw"):
            assert image.shape == shape
            assert image.min() == image.max() == 129
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 40e6  # all of them as int64 would be 30 MB, and each array on the way as much again

    def test_pixel_beyond_its_type_is_an_error(self, tmp_path: Path) -> None:
        declared = dictionary(steps={"sequence": {"feature": dictionary(raw=tensor("uint8", 1, 2, 1)), "length": "-1"}})
        version = dataset(tmp_path, declared=declared)
        found = EpisodeRecord(serialized({"steps/raw": feature([1, 300])}), read_features(version), "test")
        with pytest.raises(SourceError, match="raw holds values beyond its type, uint8"):
            list(found.pixels("raw"))


@pytest.fixture(scope="module")
def hostile_seeds() -> list[tuple[str, bytes]]:
    version = GOLDEN / "golden_robot" / "1.0.0"
    return [(p.name, p.read_bytes()) for p in sorted(version.iterdir()) if "val" not in p.name]


@pytest.mark.parametrize("seed", range(8))
def test_mutated_datasets_are_read_or_refused(
    tmp_path: Path, hostile_seeds: list[tuple[str, bytes]], seed: int
) -> None:
    version = tmp_path / "golden_robot" / "1.0.0"
    version.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    wanted = request(
        state="observation/state_zlib",
        camera="observation/pixels_zlib",
        action="action/arm",
        instruction=LabelMapping(source="all_instructions"),
        outcome=OutcomeMapping(source="action/mode"),
        options={"reward": "reward"},
    )
    for _ in range(40):
        changed = int(rng.integers(len(hostile_seeds)))
        for k, (name, data) in enumerate(hostile_seeds):
            (version / name).write_bytes(mutated(data, rng, name) if k == changed else data)
        try:
            if rlds.can_read(tmp_path):
                for place in rlds.places(tmp_path):
                    for recording in rlds.read(tmp_path, place, wanted):
                        for stream in recording.streams.values():
                            if isinstance(stream, FrameStream):
                                assert len(stream.frames.sizes) == stream.num_frames
                                [bytes(stream.frames.read(k)) for k in range(stream.num_frames)]
                rlds.inspect(tmp_path)
        except VladataError:
            pass


def mutated(data: bytes, rng: np.random.Generator, name: str) -> bytes:
    """A record changed under a right checksum, or any other file changed anywhere."""
    if ".tfrecord" not in name:
        return changed_bytes(data, rng)
    (size,) = struct.unpack_from("<Q", data)
    return framed_quickly(changed_bytes(data[12 : 12 + size], rng)) + data[size + 16 :]


def changed_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    octets = bytearray(data)
    begin = int(rng.integers(len(octets)))
    kind = rng.integers(4)
    if kind == 0:
        octets[begin] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        octets[begin : begin + int(rng.integers(1, 9))] = rng.bytes(int(rng.integers(0, 9)))
    elif kind == 2:
        del octets[begin:]
    else:
        source = int(rng.integers(len(octets)))
        octets[begin:begin] = octets[source : source + int(rng.integers(1, 64))]
    return bytes(octets)


def framed_quickly(data: bytes) -> bytes:
    head = struct.pack("<Q", len(data))
    return head + struct.pack("<I", masked_crc32c(head)) + data + struct.pack("<I", masked_crc32c(data))


def test_the_command_takes_a_dataset_in(
    cli: Callable[..., subprocess.CompletedProcess[str]], bridge: Path, tmp_path: Path
) -> None:
    mapping = tmp_path / "mapping.yaml"
    done = cli("inspect", bridge, "--schema", "widowx_bridge", "--write-mapping", mapping)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "dataset"
    done = cli("ingest", bridge, "--schema", "widowx_bridge", "--mapping", mapping, "-o", out, "--workers", 2)
    assert done.returncode == 0, done.stderr
    entries = vladata.open(out).entries
    assert len(entries) == 50
    assert {e.num_steps for e in entries} == {10}
    assert "50 episodes" in cli("validate", out).stdout


# ------------------------------------------------------------------- checksums and messages


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ],
)
def test_crc32c_of_the_published_vectors(data: bytes, checksum: int) -> None:
    assert crc32c(data) == checksum


@pytest.mark.parametrize("size", [255, 256, 257, 8188, 8189, 8191, 8192, 8193, 8195, 8196, 16383, 16385, 30011])
def test_crc32c_of_every_kind_of_length_equals_bit_by_bit(size: int) -> None:
    data = np.random.default_rng(size).bytes(size)
    assert crc32c(data) == slow_crc(data)
    assert crc32c(memoryview(b"x" + data)[1:]) == slow_crc(data)


@settings(deadline=None)
@given(st.binary(max_size=600))
def test_masked_crc32c_equals_bit_by_bit(data: bytes) -> None:
    assert masked_crc32c(data) == masked(data)


float32s = st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=20)
int64s = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20)
strings = st.lists(st.binary(max_size=20), min_size=1, max_size=20)


@settings(deadline=None)
@given(
    st.dictionaries(st.text(min_size=1, max_size=20), st.one_of(float32s, int64s, strings), max_size=5),
    st.booleans(),
    st.booleans(),
)
def test_examples_come_back_as_they_were_written(
    values: dict[str, Sequence[float] | Sequence[int] | Sequence[bytes]], is_packed: bool, has_unknown: bool
) -> None:
    written = {k: feature(v, is_packed=is_packed) for k, v in values.items()}
    found = parse_example(serialized(written, unknown=UNKNOWN if has_unknown else b""), "test")
    assert set(found) == set(values)
    for name, expected in values.items():
        if isinstance(expected[0], bytes):
            assert found[name].strings() == expected
        elif isinstance(expected[0], float):
            assert found[name].floats().tolist() == expected
        else:
            assert found[name].ints().tolist() == expected


@settings(deadline=None)
@given(st.lists(int64s, min_size=2, max_size=4), st.lists(st.booleans(), min_size=4, max_size=4))
def test_lists_in_several_parts_are_one_list(parts: list[list[int]], packed: list[bool]) -> None:
    joined = b"".join(feature(p, is_packed=is_packed) for p, is_packed in zip(parts, packed, strict=False))
    assert parse_example(serialized({"x": joined}), "test")["x"].ints().tolist() == [n for part in parts for n in part]


@settings(deadline=None, max_examples=400)
@given(st.data())
def test_damaged_examples_give_an_error_or_values_but_nothing_else(data: st.DataObject) -> None:
    message = bytearray(serialized({k: v for k, v in episode().items() if "image" not in k}))
    for _ in range(data.draw(st.integers(1, 3))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(message)))
    try:
        found = parse_example(bytes(message[:cut]), "test")
        for one in found.values():
            {"bytes": one.strings, "float": one.floats, "int64": one.ints, "": one.ints}[one.kind]()
    except SourceError:
        pass


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"\x0a\xff\xff\xff\xff\x0f", "its message ends at byte 6"),
        (b"\x0a" + b"\xff" * 11, "more than 10 bytes"),
        (b"\x0a\xff", "is cut off"),
        (b"\x0b", "wire type 3 at byte 0"),
        (b"\x00\x01", "field number 0"),
        (serialized({"x": feature([1])}) * 2, "feature x comes twice"),
        (serialized({"x": feature([1]) + feature([1.0])}), "has lists of float and of int64"),
        (field(1, field(1, field(1, b"\xff") + field(2, b""))), "not UTF-8"),
        (field(1, field(1, field(1, b"n" * 2000))), "feature name of 2,000 bytes"),
    ],
)
def test_bad_message_says_what_and_where(message: bytes, reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        parse_example(message, "shard: record 7")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (field(3, field(1, b"\x01\xff")), "the last number is cut off"),
        (field(3, field(1, b"\xff" * 10 + b"\x01")), "more than 10 bytes"),
        (field(3, b"\x0d1234"), "wire type 5"),
    ],
)
def test_bad_integers_say_so(values: bytes, reason: str) -> None:
    found = parse_example(serialized({"x": values}), "test")
    with pytest.raises(SourceError, match=reason):
        found["x"].ints()


def test_bad_floats_say_so() -> None:
    found = parse_example(serialized({"x": field(2, field(1, b"12345"))}), "test")
    with pytest.raises(SourceError, match="5 bytes of float"):
        found["x"].floats()
    with pytest.raises(SourceError, match="a list of float; must be of int64"):
        found["x"].ints()


@settings(deadline=None, max_examples=25)
@given(
    st.lists(
        st.lists(
            st.tuples(
                st.tuples(*[st.floats(width=32, allow_nan=False)] * 2), st.text(max_size=8), st.binary(max_size=30)
            ),
            min_size=1,
            max_size=5,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_datasets_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, episodes: list[list[tuple[tuple[float, float], str, bytes]]]
) -> None:
    examples = [
        serialized(
            episode(
                {
                    "steps/action": feature([v for values, _, _ in steps for v in values]),
                    "steps/instruction": feature([text.encode() for _, text, _ in steps]),
                    "steps/observation/image": feature([JPEG_2X3 + extra for _, _, extra in steps]),
                },
                len(steps),
            )
        )
        for steps in episodes
    ]
    version = dataset(tmp_path_factory.mktemp("written"), *examples)
    places = rlds.places(version)
    assert len(places) == len(episodes)
    for place, steps in zip(places, episodes, strict=True):
        (recording,) = rlds.read(version, place, request(instruction=LabelMapping(source="instruction")))
        assert numbers(recording, "action").values.tolist() == [list(values) for values, _, _ in steps]
        camera = frames(recording, "camera").frames
        assert [bytes(camera.read(k)) for k in range(len(steps))] == [JPEG_2X3 + extra for _, _, extra in steps]
        texts = [text if text.strip() else None for _, text, _ in steps]
        assert texts_at(recording, len(steps)) == texts


def texts_at(recording: Recording, num_steps: int) -> list[str | None]:
    """The instruction at each step, as a reader of the episode finds it."""
    found: list[str | None] = []
    for time_ns in numbers(recording, "action").time_ns.tolist()[:num_steps]:
        holding = [
            i.text
            for i in recording.instructions
            if (i.time_ns is None or i.time_ns <= time_ns) and (i.end_ns is None or time_ns < i.end_ns)
        ]
        assert len(holding) <= 1
        found.append(holding[0] if holding else None)
    return found
