"""The time of recordings, looked at: streams, fits, latencies, the lines for the mapping, the picture."""

import sys

import numpy as np
import pytest
import yaml

from vladata.embodiment import Camera, Depth
from vladata.errors import MissingExtraError, SourceError, VladataError
from vladata.images import encode_jpeg, encode_png
from vladata.mapping import Mapping, StreamMapping, load_schema
from vladata.recording import BytesFrames, FrameStream
from vladata.report.timing_plot import write_plot
from vladata.sync.clock import summarize
from vladata.sync.fit import fit_clock
from vladata.sync.latency import Latency, estimate_latency, speed_of
from vladata.sync.motion import camera_motion
from vladata.timing import Curve, MeasuredLatency, StreamTiming, TimingReport, mapping_lines, time_recording
from vladata.units import Clock

MS = 1_000_000


def without_offsets(schema):
    """The sample arm's mapping as if nobody knew that the camera computer is 37 ms ahead."""
    mapping = schema.mapping_for("mcap")
    plain = {n: m.model_copy(update={"offset_ns": 0}) for n, m in mapping.streams.items()}
    return mapping.model_copy(update={"streams": plain})


@pytest.fixture(scope="module")
def schema():
    return load_schema("sample_arm")


@pytest.fixture(scope="module")
def found(sample_recordings, schema):
    return time_recording(sample_recordings / "demo_002.mcap", schema=schema, mapping=without_offsets(schema))


def late(report, name):
    return next(m.latency for m in report.latencies if m.follow == name)


def test_cameras_whose_clock_is_37_ms_ahead_are_seen_to_be_late_by_that(found):
    for camera in ("front", "wrist"):
        latency = late(found, camera)
        assert abs(latency.latency_ns - 37 * MS) <= latency.uncertainty_ns
        assert latency.uncertainty_ns < 60 * MS
    assert abs(late(found, "front").latency_ns - 37 * MS) < 8 * MS


def test_with_the_declared_offset_nothing_is_left_of_it(sample_recordings, schema):
    report = time_recording(sample_recordings / "demo_002.mcap", schema=schema)
    assert abs(late(report, "front").latency_ns) <= late(report, "front").uncertainty_ns


def test_the_arm_follows_its_command(found):
    (measured,) = [m for m in found.latencies if m.kind == "command"]
    assert (measured.lead, measured.follow) == ("joint_command", "joint_position")
    assert 50 * MS < measured.latency.latency_ns < 120 * MS
    assert {"joint1", "gripper"} <= set(measured.names)


def test_every_stream_has_its_clock_rate_and_fit(found):
    streams = {s.name: s for s in found.streams}
    assert list(streams) == ["joint_position", "joint_velocity", "joint_command", "front", "wrist"]
    assert streams["joint_command"].is_receipt
    assert streams["joint_command"].fit is None
    assert streams["joint_position"].summary.rate_hz == pytest.approx(100, abs=0.1)
    assert (streams["front"].num_gaps, streams["wrist"].num_gaps) == (2, 4)
    fit = streams["front"].fit
    assert fit.offset_ns == pytest.approx(-17.5 * MS, abs=3 * MS)  # 37 ms ahead, and about 20 ms on the way
    assert fit.statement.startswith("only 6.1 s: drift within ±")
    assert any("header ahead of log by" in p for p in streams["front"].problems)


def test_without_a_schema_the_streams_are_the_recordings_own(sample_recordings):
    report = time_recording(sample_recordings / "demo_000.mcap")
    names = [(s.name, s.clock_choice) for s in report.streams]
    assert ("/joint_states", "header") in names
    assert ("/joint_commands", "log") in names
    assert len(set(names)) == len(names)
    assert not report.is_mapped
    assert not report.latencies


def test_the_lines_for_the_mapping_are_yaml_that_fits_it(found, schema):
    lines = mapping_lines(found.latencies)
    parsed = yaml.safe_load("\n".join(lines))
    assert set(parsed["streams"]) == {"front", "wrist"}
    assert any(line.startswith("  # joint_position follows joint_command by ") for line in lines)
    given = schema.mapping_for("mcap").model_dump(mode="json", by_alias=True, exclude_defaults=True)
    for name, latency in parsed["streams"].items():
        given["streams"][name] = {"from": given["streams"][name]["from"], **latency}
    mapping = Mapping.model_validate(given)
    mapping.check(schema.embodiment, "lines")
    assert mapping.streams["front"].latency_ns == pytest.approx(37 * MS, abs=10 * MS)
    assert mapping_lines([]) == []


def test_what_is_no_recording_or_damaged_is_an_error_of_ours(tmp_path, sample_recordings, schema):
    with pytest.raises(VladataError, match="no such file"):
        time_recording(tmp_path / "nothing.mcap")
    (tmp_path / "text.mcap").write_text("no recording")
    with pytest.raises(VladataError, match=r"text\.mcap"):
        time_recording(tmp_path / "text.mcap")
    data = (sample_recordings / "demo_000.mcap").read_bytes()
    rng = np.random.default_rng(0)
    for k in range(2):
        broken = bytearray(data)
        for place in rng.integers(100, len(data), 40):
            broken[place] ^= 0xFF
        path = tmp_path / f"broken_{k}.mcap"
        path.write_bytes(broken)
        try:
            time_recording(path, schema=schema if k else None)
        except VladataError:
            continue


def test_the_schema_must_have_a_mapping_for_the_source(shared_data, schema):
    with pytest.raises(VladataError, match="no mapping for"):
        time_recording(shared_data / "bridge_rlds_tfrecord" / "bridge_dataset", schema=schema)


class TestCameraMotion:
    """A bar that moves to and fro before a camera."""

    times = np.arange(0, 20, 1 / 30)

    def place(self, t):
        return 20 + 8 * np.sin(1.1 * t) + 6 * np.sin(2.3 * t + 1)

    def frames(self, encode, late=0.0, size=(48, 64)):
        rng = np.random.default_rng(0)
        x = np.broadcast_to(np.arange(size[1]), size)
        for t in self.times:
            image = 120 + 100 * np.tanh((x - self.place(t - late)) / 2) + rng.normal(0, 2, size)
            yield encode(np.clip(image, 0, 255).astype(np.uint8))

    def stream(self, frames, codec):
        return FrameStream(
            name="front",
            clock=Clock.UNIX,
            time_ns=np.round(self.times * 1e9).astype(np.int64),
            frames=BytesFrames(frames),
            codec=codec,
            height=48,
            width=64,
        )

    def joints(self):
        fast = np.arange(-1, 21, 0.01)
        speed = speed_of(np.round(fast * 1e9).astype(np.int64), self.place(fast)[:, None])
        return type(speed)(time_ns=speed.time_ns, values=np.sqrt(np.abs(speed.values)))

    @pytest.mark.parametrize("codec", ["jpeg", "png", "depth"])
    def test_the_delay_of_the_images_is_measured(self, codec):
        def encode(grey):
            if codec == "depth":
                return encode_png(grey.astype(np.uint16) * 16)
            rgb = np.repeat(grey[:, :, None], 3, axis=2)
            return encode_jpeg(rgb) if codec == "jpeg" else encode_png(rgb)

        depth = Camera(name="front", height=48, width=64, depth=Depth(unit="mm"))
        stream = self.stream(list(self.frames(encode, late=0.08)), "jpeg" if codec == "jpeg" else "png")
        seen = camera_motion(stream, stream.time_ns, depth if codec == "depth" else None)
        latency = estimate_latency(self.joints(), seen)
        assert abs(latency.latency_ns - 80 * MS) <= latency.uncertainty_ns
        assert abs(latency.latency_ns - 80 * MS) < 15 * MS

    def test_the_delay_of_a_video_is_measured(self, tmp_path):
        av = pytest.importorskip("av", reason="the extra 'video' is not installed")
        from vladata.video import open_video

        with av.open(str(tmp_path / "front.mp4"), "w") as container:
            track = container.add_stream("mpeg4", rate=30, options={"g": "10", "b": "2000000"})
            track.width, track.height, track.pix_fmt = 64, 48, "yuv420p"
            for grey in self.frames(lambda grey: grey, late=0.08):
                rgb = np.repeat(grey[:, :, None], 3, axis=2)
                container.mux(track.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
            container.mux(track.encode())
        with open_video(tmp_path / "front.mp4") as video:
            stream = FrameStream(
                name="front",
                clock=Clock.UNIX,
                time_ns=np.round(self.times * 1e9).astype(np.int64),
                frames=video.frames,
                codec=video.codec,
                height=48,
                width=64,
                video=video.track,
            )
            latency = estimate_latency(self.joints(), camera_motion(stream, stream.time_ns, None))
        assert abs(latency.latency_ns - 80 * MS) <= latency.uncertainty_ns

    def test_a_damaged_frame_costs_itself_and_many_are_said(self):
        frames = list(self.frames(lambda grey: encode_jpeg(np.repeat(grey[:, :, None], 3, axis=2))))
        broken = frames.copy()
        broken[100:110] = [b"no image"] * 10
        stream = self.stream(broken, "jpeg")
        seen = camera_motion(stream, stream.time_ns, None)
        assert len(seen.time_ns) == len(frames) - 1 - 11
        stream = self.stream([b"no image"] * len(frames), "jpeg")
        with pytest.raises(SourceError, match="600 of 600 frames can't be decoded"):
            camera_motion(stream, stream.time_ns, None)

    def test_only_the_first_minute_is_decoded(self):
        class Counting(BytesFrames):
            asked = 0

            def read(self, index):
                self.asked = max(self.asked, index)
                return super().read(index)

        still = encode_png(np.zeros((8, 8, 3), dtype=np.uint8))
        frames = Counting([still] * 1000)
        time_ns = np.arange(1000, dtype=np.int64) * 1000 * MS
        stream = FrameStream(name="f", clock=Clock.UNIX, time_ns=time_ns, frames=frames, codec="png", height=8, width=8)
        assert len(camera_motion(stream, time_ns, None).time_ns) == 60
        assert frames.asked == 60


class TestPlot:
    def report(self, name="/joint_states", **changes):
        rng = np.random.default_rng(0)
        stamps = 1_700_000_000_000_000_000 + np.arange(300) * 33 * MS
        receive = stamps + rng.integers(0, 5 * MS, 300)
        receive[150:] += 90 * MS
        fit = fit_clock(stamps, receive)
        x = (stamps - stamps[0]) / 1e9
        common = {"name": name, "clock": Clock.UNIX, "clock_choice": "header", "problems": ("odd",)}
        good = StreamTiming(
            **common,
            summary=summarize(stamps),
            num_gaps=0,
            is_receipt=False,
            fit=fit,
            intervals=Curve(x_s=x[1:], y_ms=np.diff(stamps) / 1e6),
            residuals=Curve(x_s=x, y_ms=fit.residual_ns / 1e6),
        )
        constant = np.full(5, 7, dtype=np.int64)
        stuck = StreamTiming(**common, summary=summarize(constant), num_gaps=0, is_receipt=True, fit=None)
        lags = np.arange(-100, 101) * MS
        latency = Latency(latency_ns=20 * MS, uncertainty_ns=5 * MS, lags_ns=lags, profile=np.exp(-((lags / 4e7) ** 2)))
        unclear = Latency(latency_ns=None, uncertainty_ns=None, reason="$too$ little", lags_ns=lags, profile=lags * 0.0)
        latencies = tuple(
            MeasuredLatency(lead=name, follow=name, kind="camera", latency=one) for one in (latency, unclear, latency)
        )
        fields = {"source": "mcap", "place": "demo", "streams": (good, stuck), "latencies": latencies, **changes}
        return TimingReport(**fields)

    def test_a_picture_is_written_whole(self, tmp_path):
        import cv2

        write_plot(self.report(), tmp_path / "timing.png")
        image = cv2.imread(str(tmp_path / "timing.png"))
        assert image.shape[0] > 300
        assert image.std() > 5
        assert [p.name for p in tmp_path.iterdir()] == ["timing.png"]

    def test_names_out_of_files_are_no_markup(self, tmp_path):
        names = ["$\\frac{", "{}%s", "关节\x1b[31m", "a" * 500, ""]
        streams = [s for n in names for s in self.report(n).streams]
        latencies = self.report(names[0]).latencies
        write_plot(self.report(streams=streams, latencies=latencies, place=names[0]), tmp_path / "timing.png")
        assert (tmp_path / "timing.png").read_bytes().startswith(b"\x89PNG")

    def test_a_recording_without_time_has_a_picture_that_says_so(self, tmp_path):
        write_plot(self.report(streams=(), latencies=()), tmp_path / "timing.png")
        assert (tmp_path / "timing.png").stat().st_size > 1000

    def test_without_matplotlib_the_line_that_installs_it_is_said(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        with pytest.raises(MissingExtraError, match=r"pip install 'vladata\[plot\]'"):
            write_plot(self.report(), tmp_path / "timing.png")
        assert not list(tmp_path.iterdir())


def test_stream_mapping_has_what_the_lines_say():
    assert {"latency_ns", "latency_uncertainty_ns", "correct", "offset_ns"} <= set(StreamMapping.model_fields)
