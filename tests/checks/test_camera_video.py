"""Cameras whose frames are a video: packets instead of images."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest

from vladata import images
from vladata.checks import _frames, run_checks
from vladata.checks._packets import problem_of
from vladata.frame_decoder import FrameDecoder
from vladata.recording import BytesFrames, FrameStream
from vladata.testing.builders import build_embodiment, build_episode, build_frames
from vladata.video import open_video

av = pytest.importorskip("av")


def write_video(path, pictures, codec="mpeg4"):
    with av.open(str(path), "w") as container:
        track = container.add_stream(codec, rate=Fraction(30))
        track.height, track.width = pictures[0].shape[:2]
        track.pix_fmt = "yuv420p"
        track.gop_size = 12
        if codec == "mpeg4":
            track.bit_rate = 8_000_000
        for picture in pictures:
            container.mux(track.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(track.encode())


@pytest.fixture
def episode_of(tmp_path):
    """An episode whose camera is a video of these pictures."""

    def build(pictures, embodiment=None, change=None, codec="mpeg4"):
        path = tmp_path / "front.mp4"
        write_video(path, pictures, codec)
        episode = build_episode(embodiment)
        with open_video(path) as video:
            packets = [video.frames.read(i) for i in range(video.num_frames)]
            front = FrameStream(
                name="front",
                clock=episode.streams["front"].clock,
                time_ns=episode.streams["front"].time_ns,
                frames=BytesFrames(packets if change is None else change(packets)),
                codec=video.codec,
                height=video.height,
                width=video.width,
                pixel_format=video.pixel_format,
                video=video.track,
            )
        return dataclasses.replace(
            episode,
            streams={**episode.streams, "front": front},
            decode=lambda stream, index: FrameDecoder(stream).decode(index),
        )

    return build


MOVING = [images.decode(f) for f in build_frames(73)]


def test_a_moving_video_passes(episode_of):
    assert run_checks(episode_of(MOVING), select=["camera", "structure"]) == []


def test_a_video_that_stands_still_is_frozen(episode_of):
    (finding,) = run_checks(episode_of([MOVING[0]] * 73), select=["camera"])
    assert finding.check == "camera.frozen"
    assert finding.message == (
        "front shows the same picture in all 23 frames that were decoded, 3 to 69; a live camera never does"
    )


def test_a_video_that_shows_every_frame_twice_gives_few_frames(episode_of):
    (finding,) = run_checks(episode_of([MOVING[i // 2 * 2] for i in range(73)]), select=["camera"])
    assert finding.check == "camera.few_frames"
    assert finding.message.startswith("front gives 15")


def test_a_video_that_stands_while_the_robot_moves(episode_of):
    (finding,) = run_checks(episode_of([MOVING[30 if 30 < i < 34 else i] for i in range(73)]), select=["camera"])
    assert finding.check == "camera.frozen"
    assert finding.message.startswith(
        "front repeats the same frame 4 times from 0.80 s (frame 30) while the robot moves"
    )


def test_a_black_video_is_black_and_not_frozen(episode_of):
    (finding,) = run_checks(episode_of([np.zeros((48, 64, 3), np.uint8)] * 73), select=["camera"])
    assert finding.check == "camera.black"


def test_a_video_of_another_size_than_the_schema_is_found(episode_of):
    large = build_embodiment(size=(480, 640))
    episode = dataclasses.replace(episode_of(MOVING), embodiment=large)
    (finding,) = run_checks(episode, select=["camera"])
    assert (finding.check, finding.message) == (
        "camera.frame_size",
        "front is declared 48x64; the schema says 480x640 pixels",
    )


def test_packets_that_can_not_be_decoded_are_found(episode_of):
    def spoil(packets):
        return [b"\x00" * len(p) for p in packets]

    findings = run_checks(episode_of(MOVING, change=spoil), select=["camera"])
    assert [f.check for f in findings] == ["camera.undecodable"]
    assert findings[0].steps is None


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1"])
def test_a_packet_that_was_cut_off_is_found_even_where_its_frame_is_not_decoded(episode_of, codec, monkeypatch):
    if codec not in av.codecs_available:
        pytest.skip(f"PyAV has no {codec} here")
    monkeypatch.setattr(_frames, "CONSECUTIVE_PIXELS", 0)
    monkeypatch.setattr(_frames, "NUM_CONSECUTIVE", 4)

    def cut(packets):
        return [p[: len(p) // 2] if i == 66 else p for i, p in enumerate(packets)]

    assert judged(episode_of(MOVING, codec=codec), "camera.undecodable") == []
    (finding,) = judged(episode_of(MOVING, change=cut, codec=codec), "camera.undecodable")
    assert "of 73 frames" in finding.message
    assert "so it was cut off or is damaged" in finding.message


def judged(episode, name):
    return run_checks(episode, select=[name])


@pytest.mark.parametrize(
    ("data", "codec", "extradata"),
    [
        ("0a0100", "av1", ""),
        ("0e00" + "8001" + "7f" * 128, "av1", ""),
        ("0a0100" + "08ffff", "av1", ""),
        ("00000002aabb" + "00000001cc", "h264", "01640014ff"),
        ("0002aabb", "hevc", "01" + "00" * 20 + "01"),
        ("00000001aabb", "h264", ""),
        ("00000001aabb", "h264", "00000001"),
        ("00", "mpeg4", ""),
    ],
)
def test_whole_packets_and_codecs_that_do_not_say(data, codec, extradata):
    assert problem_of(bytes.fromhex(data), codec, bytes.fromhex(extradata)) == ""


@pytest.mark.parametrize(
    ("data", "codec", "extradata"),
    [
        ("0a02ff", "av1", ""),
        ("0a", "av1", ""),
        ("0aff", "av1", ""),
        ("0a" + "ff" * 12, "av1", ""),
        ("8a0100", "av1", ""),
        ("00000002aa", "h264", "01640014ff"),
        ("0000", "h264", "01640014ff"),
    ],
)
def test_packets_that_are_shorter_than_they_say(data, codec, extradata):
    problem = problem_of(bytes.fromhex(data), codec, bytes.fromhex(extradata))
    assert problem.startswith(f"its packet has {len(data) // 2} bytes; the units in it need ")


def test_a_real_video_passes(shared_data, judge):
    path = next((shared_data / "g1_inspire_lerobot_v21").rglob("*.mp4"), None)
    if path is None:
        pytest.skip("the recording has no video here")
    with open_video(path) as video:
        count = video.num_frames
        embodiment = build_embodiment(size=(video.height, video.width), rate_hz=30.0)
        episode = build_episode(embodiment, without=("front",))
        time_ns = episode.steps.time_ns[0] + np.arange(count) * 33_333_333
        front = FrameStream(
            name="front",
            clock=episode.streams["arm"].clock,
            time_ns=time_ns,
            frames=video.frames,
            codec=video.codec,
            height=video.height,
            width=video.width,
            video=video.track,
        )
        decoder = FrameDecoder(front)
        episode = dataclasses.replace(episode, streams={"front": front}, decode=lambda _, index: decoder.decode(index))
        assert run_checks(episode, select=["camera"]) == []
