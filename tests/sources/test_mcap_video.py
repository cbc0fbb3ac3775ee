"""Video as messages: packets are kept as they are, and every frame decodes to what was encoded."""

import base64
import dataclasses
import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcap.writer import Writer
from mcap_ros2._dynamic import serialize_dynamic

from vladata.embodiment import Embodiment
from vladata.errors import SourceError
from vladata.frame_decoder import FrameDecoder, probe_packet
from vladata.mapping import Mapping
from vladata.recording import FrameStream, Recording
from vladata.sources import Request, mcap
from vladata.sources._foxglove_video import look_at_packet
from vladata.sync.split import split_recording

av = pytest.importorskip("av")

START = 1_700_000_000_000_000_000
PERIOD = 50_000_000
NAME = "foxglove_msgs/msg/CompressedVideo"
DEFINITION = (
    "builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format\n"
    f"{'=' * 80}\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n"
)
HEIGHT, WIDTH = 48, 64


def pictures(count: int) -> list[np.ndarray]:
    """Flat pictures, each of its own grey: told apart after any encoding."""
    return [np.full((HEIGHT, WIDTH, 3), 10 + 9 * (i % 26), np.uint8) for i in range(count)]


def encode(codec: str, count: int, *, every: int = 5, b_frames: int = 0) -> list[tuple[int, bytes]]:
    """Presentation number and packet, in decode order."""
    names = {"h264": "libx264", "h265": "libx265", "vp9": "libvpx-vp9", "av1": "libsvtav1"}
    try:
        context = av.CodecContext.create(names[codec], "w")
    except ValueError:
        pytest.skip(f"this FFmpeg has no encoder {names[codec]}")
    context.width, context.height, context.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    context.time_base, context.framerate = Fraction(1, 20), Fraction(20)
    context.gop_size, context.max_b_frames = every, b_frames
    context.options = {
        "h264": {"preset": "ultrafast" if not b_frames else "medium", "bf": str(b_frames), "forced-idr": "1"},
        "h265": {
            "preset": "ultrafast",
            "x265-params": f"log-level=none:bframes={b_frames}:keyint={every}:repeat-headers=1",
        },
        "vp9": {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "auto-alt-ref": "0"},
        "av1": {"preset": "12", "svtav1-params": "pred-struct=1:scd=0"},
    }[codec]
    packets = []
    for i, picture in enumerate(pictures(count)):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts = i
        frame.pict_type = 1 if i % every == 0 else 0
        packets += context.encode(frame)
    packets += context.encode(None)
    return [(int(p.pts), bytes(p)) for p in packets if p.size]


def write(path: Path, packets: list[tuple[int, int, bytes]], form: str, encoding: str = "cdr") -> Path:
    """Write messages of log time, stamp and packet."""
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=4096)
        writer.start()
        if encoding == "cdr":
            schema = writer.register_schema(NAME, "ros2msg", DEFINITION.encode())
        else:
            schema = writer.register_schema("foxglove.CompressedVideo", "jsonschema", b"{}")
        channel = writer.register_channel("/video", encoding, schema)
        to_bytes = serialize_dynamic(NAME, DEFINITION)[NAME]
        for log_ns, stamp, data in packets:
            time = {"sec": stamp // 10**9, "nanosec": stamp % 10**9}
            if encoding == "cdr":
                made = to_bytes({"timestamp": time, "frame_id": "cam", "data": data, "format": form})
            else:
                time = {"sec": time["sec"], "nsec": time["nanosec"]}
                text = base64.b64encode(data).decode()
                made = json.dumps({"timestamp": time, "data": text, "format": form}).encode()
            writer.add_message(channel, log_ns, made, log_ns)
        marks = writer.register_channel("/mark", "json", 0)
        for log_ns, text in ((START + 7 * PERIOD, "start"), (START + 13 * PERIOD, "stop")):
            writer.add_message(marks, log_ns, json.dumps({"text": text}).encode(), log_ns)
        writer.finish()  # type: ignore[no-untyped-call]
    return path


def usual(codec: str, count: int = 20, *, encoding: str = "cdr", tmp: Path, **options: Any) -> Path:
    packets = encode(codec, count, **options)
    rows = [(START + i * PERIOD, START + pts * PERIOD - 5, data) for i, (pts, data) in enumerate(packets)]
    return write(tmp / "a.mcap", rows, codec, encoding)


def request(**mapping: Any) -> Request:
    embodiment = {"name": "x", "rate_hz": 20, "cameras": [{"name": "camera", "height": HEIGHT, "width": WIDTH}]}
    options = mapping.pop("camera", {})
    made = {"source": "mcap", "streams": {"camera": {"from": "/video", **options}}, **mapping}
    return Request(embodiment=Embodiment.model_validate(embodiment), mapping=Mapping.model_validate(made))


@pytest.fixture
def read() -> Iterator[Any]:
    open_now = []

    def run(path: Path, wanted: Request | None = None) -> Recording:
        reading = mcap.read(path, mcap.places(path)[0], wanted or request())
        open_now.append(reading)
        return next(reading)

    yield run
    for reading in open_now:
        assert next(reading, None) is None


def camera(recording: Recording) -> FrameStream:
    stream = recording.streams["camera"]
    assert isinstance(stream, FrameStream)
    return stream


def greys(stream: FrameStream, order: list[int] | None = None) -> list[int]:
    decoder = FrameDecoder(stream)
    return [int(decoder.decode(i).mean().round()) for i in order or range(stream.num_frames)]


def near(found: list[int], numbers: list[int]) -> bool:
    return bool(np.abs(np.array(found) - [10 + 9 * (i % 26) for i in numbers]).max() <= 3)


class TestPackets:
    @pytest.mark.parametrize("codec", ["h264", "h265", "vp9", "av1"])
    def test_packets_are_kept_and_every_frame_decodes(self, tmp_path: Path, read: Any, codec: str) -> None:
        path = usual(codec, tmp=tmp_path)
        packets = [data for _, data in encode(codec, 20)]
        recording = read(path)
        stream = camera(recording)
        assert [bytes(stream.frames.read(i)) for i in range(20)] == packets
        assert stream.codec == {"h265": "hevc"}.get(codec, codec)
        assert (stream.height, stream.width, stream.pixel_format) == (HEIGHT, WIDTH, "yuv420p")
        assert (stream.time_ns - START).tolist() == [i * PERIOD - 5 for i in range(20)]
        assert stream.receive_time_ns is not None
        assert (stream.receive_time_ns - START).tolist() == [i * PERIOD for i in range(20)]
        assert stream.video is not None
        assert np.flatnonzero(stream.video.keyframes).tolist()[:2] == [0, 5]
        assert stream.video.time_base == (1, 10**9)
        assert stream.video.pts.tolist() == [i * PERIOD for i in range(20)]
        assert near(greys(stream), list(range(20)))
        assert near(greys(stream, [17, 3, 12, 11, 0]), [17, 3, 12, 11, 0])
        assert not recording.is_lossy
        (info,) = [s for s in mcap.inspect(path).streams if s.name == "/video" and s.clock_choice == "header"]
        assert (info.kind, info.codec) == ("video", codec)

    def test_json_with_base64_gives_the_same_packets(self, tmp_path: Path, read: Any) -> None:
        stream = camera(read(usual("h264", tmp=tmp_path, encoding="json")))
        packets = [data for _, data in encode("h264", 20)]
        assert [bytes(stream.frames.read(i)) for i in range(20)] == packets
        assert stream.frames.sizes.tolist() == [len(p) for p in packets]
        assert near(greys(stream), list(range(20)))

    @pytest.mark.parametrize("codec", ["h264", "h265"])
    def test_parameter_sets_of_the_first_key_frame_serve_the_others(
        self, tmp_path: Path, read: Any, codec: str
    ) -> None:
        packets = encode(codec, 15)
        bare = [packets[0], *((p, without_parameters(codec, d)) for p, d in packets[1:])]
        assert len(bare[5][1]) < len(packets[5][1])
        path = write(tmp_path / "a.mcap", [(START + i, START + i, d) for i, (_, d) in enumerate(bare)], codec)
        stream = camera(read(path))
        assert stream.video is not None
        assert stream.video.extradata.startswith(b"\0\0\0\1")
        assert near(greys(stream, [12, 6]), [12, 6])

    def test_packets_before_the_first_key_frame_are_left_out_and_said(self, tmp_path: Path, read: Any) -> None:
        packets = [(START + i * PERIOD, START + i * PERIOD, d) for i, (_, d) in enumerate(encode("h264", 20))][3:]
        recording = read(write(tmp_path / "a.mcap", packets, "h264"))
        stream = camera(recording)
        assert (stream.time_ns - START).tolist() == [i * PERIOD for i in range(5, 20)]
        assert near(greys(stream), list(range(5, 20)))
        assert "camera: 2 packets before the first key frame can't be decoded; they are left out" in recording.notes

    def test_parameter_sets_in_a_message_of_their_own_are_no_frame(self, tmp_path: Path, read: Any) -> None:
        packets = encode("h264", 10)
        sets = look_at_packet("h264", packets[0][1]).parameters
        rows = [(START, START, sets)]
        rows += [(START + i + 1, START + i + 1, without_parameters("h264", d)) for i, (_, d) in enumerate(packets)]
        recording = read(write(tmp_path / "a.mcap", rows, "h264"))
        assert camera(recording).num_frames == 10
        assert near(greys(camera(recording)), list(range(10)))
        assert "camera: 1 messages hold no picture; they are left out" in recording.notes

    def test_reordered_frames_are_shown_in_the_order_of_their_stamps(self, tmp_path: Path, read: Any) -> None:
        path = usual("h264", tmp=tmp_path, every=10, b_frames=2)
        recording = read(path)
        stream = camera(recording)
        assert stream.video is not None
        assert (np.diff(stream.video.pts) < 0).any()
        assert (stream.time_ns - START).tolist() == [i * PERIOD - 5 for i in range(20)]
        assert near(greys(stream), list(range(20)))
        assert any("B frames" in n for n in recording.notes)

    def test_equal_stamps_keep_the_order_of_the_log(self, tmp_path: Path, read: Any) -> None:
        rows = [(START + i, START + (i // 2) * PERIOD, d) for i, (_, d) in enumerate(encode("h264", 10))]
        recording = read(write(tmp_path / "a.mcap", rows, "h264"))
        stream = camera(recording)
        assert (stream.time_ns - START).tolist() == [(i // 2) * PERIOD for i in range(10)]
        assert near(greys(stream), list(range(10)))
        assert any("stamps of packets don't increase" in n for n in recording.notes)

    @pytest.mark.parametrize(
        ("form", "change", "reason"),
        [
            ("h264", lambda d: len(d).to_bytes(4, "big") + d[4:], "must be Annex B"),
            ("mpeg2", lambda d: d, "format 'mpeg2'; must be one of h264"),
            ("h264", lambda d: d[:4] + b"\x41" + d[5:12], "none of 10 packets is a key frame"),
            ("h264", lambda _: b"\0\0\0\1\x65garbage", "the first key frame can't be decoded"),
        ],
    )
    def test_what_is_no_video_says_why(self, tmp_path: Path, read: Any, form: str, change: Any, reason: str) -> None:
        rows = [(START + i, START + i, change(d)) for i, (_, d) in enumerate(encode("h264", 10))]
        with pytest.raises(SourceError, match=reason):
            read(write(tmp_path / "a.mcap", rows, form))

    @pytest.mark.parametrize("codec", ["h264", "hevc", "vp9", "av1"])
    def test_damaged_packets_are_looked_at_without_a_crash(self, codec: str) -> None:
        from vladata.sources._ros2 import CdrError

        rng = np.random.default_rng(11)
        start = b"\0\0\0\1" if codec in {"h264", "hevc"} else b""
        for _ in range(300):
            data = start + rng.integers(0, 256, int(rng.integers(0, 40)), np.uint8).tobytes()
            try:
                look_at_packet(codec, data)
            except CdrError:
                pass
            try:
                probe_packet(codec, b"", data)
            except SourceError:
                pass


def without_parameters(codec: str, data: bytes) -> bytes:
    units = data.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")[1:]
    if codec == "h264":
        kept = [u for u in units if u[0] & 31 not in {7, 8}]
    else:
        kept = [u for u in units if u[0] >> 1 & 63 not in {32, 33, 34}]
    return b"".join(b"\0\0\0\1" + u for u in kept)


class TestCuts:
    SPLIT = {"from": "/mark", "field": "text"}

    @pytest.mark.parametrize("codec", ["h264", "h265"])
    def test_a_part_begins_at_its_start_and_keeps_what_decoding_needs(
        self, tmp_path: Path, read: Any, codec: str
    ) -> None:
        wanted = request(split=self.SPLIT)
        (part,) = split_recording(read(usual(codec, tmp=tmp_path), wanted), wanted.mapping)
        stream = camera(part)
        assert (stream.time_ns - START).tolist() == [i * PERIOD - 5 for i in range(7, 13)]
        assert stream.video is not None
        assert (stream.video.lead_in, len(stream.video.pts)) == (2, 8)  # from the key frame 5 on
        assert stream.video.keyframes[0]
        assert near(greys(stream), list(range(7, 13)))
        assert near(greys(stream, [5, 0]), [12, 7])
        assert any("samples of camera" in n and "14 of 20" in n for n in part.notes)

    def test_a_part_of_reordered_frames_decodes_as_well(self, tmp_path: Path, read: Any) -> None:
        wanted = request(split=self.SPLIT)
        whole = read(usual("h264", tmp=tmp_path, every=10, b_frames=2), wanted)
        (part,) = split_recording(whole, wanted.mapping)
        stream = camera(part)
        shown = ((stream.time_ns - START + 5) // PERIOD).tolist()
        assert shown == list(range(shown[0], shown[0] + len(shown)))
        assert 4 <= len(shown) <= 8
        assert near(greys(stream), shown)

    def test_every_range_of_a_video_decodes_to_its_frames(self, tmp_path: Path, read: Any) -> None:
        from vladata.sync._cut import cut_stream

        whole = camera(read(usual("h264", tmp=tmp_path, every=7, b_frames=2)))
        rng = np.random.default_rng(3)
        for _ in range(25):
            start, stop = sorted(rng.integers(0, 21, 2).tolist())
            part = cut_stream(whole, start, stop)
            assert isinstance(part, FrameStream)
            assert part.num_frames == stop - start
            if stop > start:
                assert near(greys(part), list(range(start, stop)))
                again = cut_stream(part, 1, stop - start)  # a part of a part
                assert isinstance(again, FrameStream)
                if again.num_frames:
                    assert near(greys(again), list(range(start + 1, stop)))

    def test_single_images_are_cut_without_leads(self) -> None:
        from vladata.recording import BytesFrames
        from vladata.sync._cut import cut_stream
        from vladata.units import Clock

        made = FrameStream(
            name="c",
            clock=Clock.UNIX,
            time_ns=np.arange(5),
            frames=BytesFrames([bytes([i]) for i in range(5)]),
            codec="jpeg",
            height=1,
            width=1,
        )
        part = cut_stream(made, 2, 4)
        assert isinstance(part, FrameStream)
        assert [part.frames.read(i) for i in range(2)] == [b"\2", b"\3"]
        assert part.frames.sizes.tolist() == [1, 1]
        assert part.frames.order.tolist() == [2, 3]
        assert dataclasses.replace(part).video is None
