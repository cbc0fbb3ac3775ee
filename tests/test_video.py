"""Packets and frames of video files, against PyAV reading the same files directly."""

import os
import random
import sys
import traceback
import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from vladata.errors import GateError, ImageError, MissingExtraError, SourceError
from vladata.frame_decoder import FrameDecoder
from vladata.recording import BytesFrames, FrameStream, VideoTrack
from vladata.units import Clock
from vladata.video import Video, open_video

av = pytest.importorskip("av", reason="the extra 'video' is not installed")

HEIGHT, WIDTH, NUM_FRAMES = 64, 96, 80

Image = NDArray[np.uint8]

KINDS = {
    "h264_b_frames": ("video.mp4", "libx264", {"bf": "3", "g": "12", "b-pyramid": "normal"}),
    "h264_open_gop": ("video.mp4", "libx264", {"x264-params": "open-gop=1:keyint=12:bframes=3:scenecut=0"}),
    "h264_one_key_frame": ("video.mp4", "libx264", {"bf": "2", "g": "250"}),
    "h264_mov": ("video.mov", "libx264", {"bf": "3", "g": "12"}),
    "h264_mkv": ("video.mkv", "libx264", {"bf": "3", "g": "12"}),
    "mpeg4_b_frames": ("video.mp4", "mpeg4", {"bf": "2", "g": "12"}),
    "hevc_open_gop": ("video.mp4", "libx265", {"x265-params": "open-gop=1:keyint=12:bframes=3:log-level=none"}),
    "vp9_webm": ("video.webm", "libvpx-vp9", {"g": "12", "lag-in-frames": "16", "auto-alt-ref": "1"}),
}


def written(path: Path, codec: str, options: dict[str, str], num_frames: int = NUM_FRAMES) -> Path:
    noise = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    try:
        av.codec.Codec(codec, "w")
    except av.codec.codec.UnknownCodecError:
        pytest.skip(f"this PyAV has no encoder {codec}")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(num_frames):
            image = np.roll(noise, (2 * index, index), (0, 1))
            image[:8, :8] = 3 * index
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    name, codec, options = KINDS[request.param]
    return written(tmp_path_factory.mktemp(request.param) / name, codec, options)


@pytest.fixture(scope="module")
def with_b_frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    name, codec, options = KINDS["h264_b_frames"]
    return written(tmp_path_factory.mktemp("b_frames") / name, codec, options)


@pytest.fixture(scope="module")
def real(shared_data: Path) -> Path:
    """AV1 of 393 frames, a key frame at every other."""
    folder = shared_data / "g1_inspire_lerobot_v21" / "videos" / "chunk-000"
    return folder / "observation.images.cam_high" / "episode_000001.mp4"


def decoded(path: Path) -> list[Image]:
    """What PyAV gives decoding the file itself."""
    with av.open(str(path)) as container:
        return [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]


def stream_of(opened: Video, /, **changes: object) -> FrameStream:
    values: dict[str, object] = {
        "name": "camera",
        "clock": Clock.NOMINAL,
        "time_ns": np.arange(opened.num_frames, dtype=np.int64),
        "frames": opened.frames,
        "codec": opened.codec,
        "height": opened.height,
        "width": opened.width,
        "pixel_format": opened.pixel_format,
        "video": opened.track,
    }
    return FrameStream(**{**values, **changes})  # type: ignore[arg-type]


class TestPackets:
    def test_packets_are_those_of_the_file(self, kind: Path) -> None:
        with av.open(str(kind)) as container:
            packets = [p for p in container.demux(video=0) if p.size]
            expected = [(bytes(p), p.pts, p.is_keyframe) for p in packets]
            extradata = container.streams.video[0].codec_context.extradata
        with open_video(kind) as video:
            found = zip(video.track.pts.tolist(), video.track.keyframes.tolist(), strict=True)
            assert [(video.frames.read(k), *rest) for k, rest in enumerate(found)] == expected
            assert video.frames.sizes.tolist() == [len(data) for data, _, _ in expected]
            assert video.track.extradata == (extradata or b"")
            assert (video.height, video.width, video.num_frames) == (HEIGHT, WIDTH, NUM_FRAMES)
            assert video.rate_hz == pytest.approx(10)

    def test_videos_under_test_have_reordered_packets(self, with_b_frames: Path) -> None:
        with open_video(with_b_frames) as video:
            assert (np.diff(video.track.pts) < 0).sum() > 10
            assert 5 < video.track.keyframes.sum() < 10

    def test_reading_order_is_where_packets_lie(self, with_b_frames: Path) -> None:
        data = with_b_frames.read_bytes()
        with open_video(with_b_frames, first_order=1000) as video:
            for k in range(video.num_frames):
                place = int(video.frames.order[k]) - 1000
                assert data[place : place + int(video.frames.sizes[k])] == video.frames.read(k)

    def test_real_av1(self, real: Path) -> None:
        with open_video(real) as video:
            assert (video.codec, video.pixel_format, video.rate_hz) == ("av1", "yuv420p", 30.0)
            assert (video.num_frames, video.track.keyframes.sum()) == (393, 197)
            assert video.size == real.stat().st_size

    def test_video_of_one_frame(self, shared_data: Path) -> None:
        folder = shared_data / "so101_wrist_lerobot_v21_nodata" / "videos" / "chunk-000"
        path = folder / "observation.images.follower_wrist" / "episode_000004.mp4"
        with open_video(path) as video:
            assert video.num_frames == 1
            assert np.array_equal(FrameDecoder(stream_of(video)).decode(0), decoded(path)[0])

    def test_closed_video_gives_no_packets(self, with_b_frames: Path) -> None:
        with open_video(with_b_frames) as video:
            pass
        with pytest.raises(ValueError, match="closed"):
            video.frames.read(0)


class TestFrames:
    def test_every_frame_in_order_is_what_direct_decoding_gives(self, kind: Path) -> None:
        expected = decoded(kind)
        assert len(expected) == NUM_FRAMES
        with open_video(kind) as video:
            decoder = FrameDecoder(stream_of(video))
            for k, image in enumerate(expected):
                assert np.array_equal(decoder.decode(k), image), k

    def test_every_frame_in_any_order_is_what_direct_decoding_gives(self, kind: Path) -> None:
        expected = decoded(kind)
        shuffled = random.Random(1).sample(range(NUM_FRAMES), NUM_FRAMES)
        with open_video(kind) as video:
            decoder = FrameDecoder(stream_of(video))
            for k in [*reversed(range(NUM_FRAMES)), *shuffled]:
                assert np.array_equal(decoder.decode(k), expected[k]), k

    def test_first_frame_that_a_decoder_is_asked_for_may_be_any(self, kind: Path) -> None:
        expected = decoded(kind)
        with open_video(kind) as video:
            for k in range(NUM_FRAMES):
                assert np.array_equal(FrameDecoder(stream_of(video)).decode(k), expected[k]), k

    def test_real_av1_in_order_and_at_random(self, real: Path) -> None:
        expected = decoded(real)
        with open_video(real) as video:
            decoder = FrameDecoder(stream_of(video))
            for k in [*range(393), *random.Random(2).sample(range(393), 60), 392, 392, 0]:
                assert np.array_equal(decoder.decode(k), expected[k]), k

    def test_small_pictures_are_of_the_same_frames(self, kind: Path) -> None:
        expected = decoded(kind)
        with open_video(kind) as video:
            decoder = FrameDecoder(stream_of(video))
            for k in (0, 1, 2, 40, 17, NUM_FRAMES - 1):
                color, grey = decoder.decode_small(k, (WIDTH, True), (WIDTH // 4, False))
                assert color.shape == expected[k].shape
                assert np.abs(color.astype(int) - expected[k]).mean() < 3
                wide = expected[k][::4, ::4].astype(float) @ (0.299, 0.587, 0.114)
                assert grey.shape == wide.shape
                assert np.corrcoef(grey.ravel(), wide.ravel())[0, 1] > 0.98
            assert np.array_equal(decoder.decode(NUM_FRAMES - 1), expected[-1])
            assert decoder.decode_small(NUM_FRAMES - 1, (10, True))[0].shape == (7, 10, 3)

    def test_frames_are_rgb_arrays(self, with_b_frames: Path) -> None:
        with open_video(with_b_frames) as video:
            image = FrameDecoder(stream_of(video)).decode(3)
        assert image.dtype == np.uint8
        assert image.shape == (HEIGHT, WIDTH, 3)

    def test_going_on_reads_each_packet_once(self, with_b_frames: Path) -> None:
        with open_video(with_b_frames) as video:
            counted = Counted([video.frames.read(k) for k in range(NUM_FRAMES)])
            decoder = FrameDecoder(stream_of(video, frames=counted))
            for k in range(NUM_FRAMES):
                decoder.decode(k)
                decoder.decode(k)
            assert counted.reads == list(range(NUM_FRAMES))

    def test_jumping_ahead_reads_from_the_last_key_frame(self, with_b_frames: Path) -> None:
        with open_video(with_b_frames) as video:
            counted = Counted([video.frames.read(k) for k in range(NUM_FRAMES)])
            decoder = FrameDecoder(stream_of(video, frames=counted))
            decoder.decode(0)
            counted.reads.clear()
            last_key = int(np.flatnonzero(video.track.keyframes)[-1])
            decoder.decode(NUM_FRAMES - 1)
            assert counted.reads == list(range(last_key, NUM_FRAMES))

    def test_a_forked_process_decodes_with_a_codec_of_its_own(self, with_b_frames: Path) -> None:
        expected = decoded(with_b_frames)
        with open_video(with_b_frames) as video:
            decoder = FrameDecoder(stream_of(video))
            decoder.decode(20)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of forks beside threads
                pid = os.fork()
            if pid == 0:
                try:
                    is_equal = all(np.array_equal(decoder.decode(k), expected[k]) for k in (21, 5, 22, 79))
                except Exception:  # noqa: BLE001 the child must not go on into the test run
                    traceback.print_exc()
                    is_equal = False
                os._exit(0 if is_equal else 1)
            for k in (21, 22, 50):
                assert np.array_equal(decoder.decode(k), expected[k])
            assert os.waitpid(pid, 0)[1] == 0

    @pytest.mark.parametrize("index", [-1, NUM_FRAMES])
    def test_frame_that_is_not_there(self, with_b_frames: Path, index: int) -> None:
        with (
            open_video(with_b_frames) as video,
            pytest.raises(IndexError, match=f"frame {index} of camera; there are 80"),
        ):
            FrameDecoder(stream_of(video)).decode(index)

    def test_frame_of_another_size_names_both(self, with_b_frames: Path) -> None:
        with (
            open_video(with_b_frames) as video,
            pytest.raises(ImageError, match="frame 0 of camera has 64 x 96 pixels; must have 480 x 96"),
        ):
            FrameDecoder(stream_of(video, height=480)).decode(0)

    def test_damaged_packets_are_an_error_and_the_rest_is_still_there(self, real: Path) -> None:
        expected = decoded(real)
        with open_video(real) as video:
            packets = [video.frames.read(k) for k in range(393)]
            packets[100] = bytes(len(packets[100]))
            decoder = FrameDecoder(stream_of(video, frames=BytesFrames(packets)))
            assert np.array_equal(decoder.decode(98), expected[98])
            with pytest.raises(ImageError, match=r"^frame 100 of camera"):
                decoder.decode(100)
            assert np.array_equal(decoder.decode(200), expected[200])

    def test_packets_of_another_codec_are_an_error(self, with_b_frames: Path) -> None:
        with open_video(with_b_frames) as video, pytest.raises(ImageError, match=r"^frame 0 of camera"):
            FrameDecoder(stream_of(video, codec="av1")).decode(0)

    def test_stream_of_images_is_no_video(self) -> None:
        stream = FrameStream(
            name="camera",
            clock=Clock.NOMINAL,
            time_ns=np.zeros(1, dtype=np.int64),
            frames=BytesFrames([b""]),
            codec="jpeg",
            height=1,
            width=1,
        )
        with pytest.raises(SourceError, match="camera: jpeg frames are single images"):
            FrameDecoder(stream)

    def test_tables_of_different_length_are_an_error(self, with_b_frames: Path) -> None:
        with open_video(with_b_frames) as video:
            track = VideoTrack(
                time_base=video.track.time_base,
                pts=video.track.pts[:-1],
                keyframes=video.track.keyframes,
                extradata=video.track.extradata,
            )
            with pytest.raises(SourceError, match="80 packets, 79 stamps and 80 key frame marks"):
                FrameDecoder(stream_of(video, video=track))


class Counted(BytesFrames):
    """Frames in memory that remember which were read."""

    def __init__(self, frames: list[bytes]) -> None:
        super().__init__(frames)
        self.reads: list[int] = []

    def read(self, index: int) -> bytes:
        self.reads.append(index)
        return super().read(index)


class TestBadFiles:
    @pytest.mark.parametrize("part", [0.05, 0.5, 0.9, 0.98])
    def test_file_that_is_cut_off_is_an_error(self, with_b_frames: Path, tmp_path: Path, part: float) -> None:
        data = with_b_frames.read_bytes()
        path = tmp_path / "cut.mp4"
        path.write_bytes(data[: int(part * len(data))])
        with pytest.raises(SourceError, match=r"^cut\.mp4: "):
            open_video(path)

    @pytest.mark.parametrize("part", [0.3, 0.7, 0.98])
    def test_file_with_its_index_in_front_that_is_cut_off_is_an_error(self, tmp_path: Path, part: float) -> None:
        whole, cut = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
        with av.open(str(whole), "w", options={"movflags": "faststart"}) as container:
            stream = container.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            noise = np.random.default_rng(0).integers(0, 255, (20, HEIGHT, WIDTH, 3), dtype=np.uint8)
            for image in noise:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
        data = whole.read_bytes()
        assert data.index(b"moov") < data.index(b"mdat")
        with open_video(whole) as video:
            assert video.num_frames == 20
        cut.write_bytes(data[: int(part * len(data))])
        with pytest.raises(SourceError, match=r"^cut\.mp4: "):
            open_video(cut)

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"not a video at all",
            b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n/etc/passwd\n",
            b"ffconcat version 1.0\nfile /etc/passwd\n",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
        ],
    )
    def test_file_that_is_no_container_is_refused_unread(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "episode.mp4"
        path.write_bytes(content)
        with pytest.raises(SourceError, match=r"^episode\.mp4: not a video file; it must be MP4, MOV or Matroska$"):
            open_video(path)

    def test_container_without_a_video_track_is_an_error(self, tmp_path: Path) -> None:
        path = tmp_path / "sound.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("aac", rate=8000)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
            frame.rate = 8000
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
        with pytest.raises(SourceError, match="0 video tracks; must have one"):
            open_video(path)

    def test_codec_that_is_not_read_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "video.mkv"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg2video", rate=25)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            image = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
        with pytest.raises(SourceError, match=r"codec mpeg2video; must be one of av1, "):
            open_video(path)

    def test_frames_beyond_the_limit_are_refused(self, with_b_frames: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("vladata.video.MAX_PIXELS", HEIGHT * WIDTH - 1)
        with pytest.raises(GateError, match=r"frames of 64 x 96 pixels; .* their product at most 6,143"):
            open_video(with_b_frames)

    def test_packets_of_frames_beyond_the_limit_are_not_decoded(
        self, with_b_frames: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with open_video(with_b_frames) as video:
            monkeypatch.setattr("vladata.frame_decoder.MAX_PIXELS", HEIGHT * WIDTH // 4)
            with pytest.raises(ImageError, match=r"^frame 0 of camera"):
                FrameDecoder(stream_of(video)).decode(0)

    def test_missing_file_is_an_os_error(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            open_video(tmp_path / "none.mp4")

    def test_flipped_bytes_give_an_error_or_a_video_but_nothing_else(self, with_b_frames: Path, tmp_path: Path) -> None:
        data = with_b_frames.read_bytes()
        chooser = random.Random(3)
        index = data.index(b"moov")
        for attempt in range(150):
            damaged = bytearray(data)
            for _ in range(3):
                damaged[chooser.randrange(index, len(data))] = chooser.randrange(256)
            path = tmp_path / f"{attempt}.mp4"
            path.write_bytes(damaged)
            try:
                with open_video(path) as video:
                    FrameDecoder(stream_of(video)).decode(0)
            except (SourceError, GateError, ImageError, IndexError):
                pass


def test_without_av_the_line_that_installs_it_is_named(with_b_frames: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'vladata\[video\]'"):
        open_video(with_b_frames)
