import dataclasses

import numpy as np
import pytest

from vladata import images
from vladata.checks import run_checks
from vladata.embodiment import Camera, Depth, Embodiment, StreamRule
from vladata.errors import EpisodeFormatError
from vladata.finding import Severity
from vladata.testing.builders import build_embodiment, build_episode, build_frames

BLACK = images.encode_jpeg(np.zeros((48, 64, 3), np.uint8))
GREEN = images.encode_jpeg(np.full((48, 64, 3), (0, 135, 0), np.uint8))
LENS_CAP = [
    images.encode_jpeg(np.random.default_rng(i).integers(0, 7, (48, 64, 3)).astype(np.uint8), 95) for i in range(73)
]


def replace(*indices, by):
    def change(frames):
        return [by if i in indices else f for i, f in enumerate(frames)]

    return change


@pytest.mark.parametrize("check", ["undecodable", "frame_size", "black", "black_frames", "frozen"])
def test_good_frames_pass(judge, check):
    assert judge(build_episode(), f"camera.{check}") == []


class TestUndecodable:
    def test_headers_of_all_frames_are_read(self, judge):
        (finding,) = judge(build_episode(frames={"front": replace(31, 44, by=b"no image")}), "camera.undecodable")
        assert finding.severity is Severity.ERROR
        assert finding.message.startswith(
            "front has 2 of 67 frames (3.0 %) that can't be read, first 0.83 s (frame 31): image begins with 6e 6f 20"
        )
        assert finding.steps == (8, 9)
        assert finding.location == "/streams/front/frames"

    def test_pixels_of_a_sample_are_decoded(self, judge):
        cut = [f[: len(f) // 2] for f in build_frames(73)]
        (finding,) = judge(build_episode(frames={"front": lambda _: cut}), "camera.undecodable")
        assert "10 of 67 frames" in finding.message
        assert "truncated or damaged" in finding.message

    def test_bytes_that_do_not_match_their_digest_are_found(self, judge):
        class Rotten:
            def __init__(self, frames):
                self.frames, self.sizes, self.order = frames, frames.sizes, frames.order

            def read(self, index):
                if index == 40:
                    raise EpisodeFormatError("a.h5: /streams/front/frames: frame 40 is damaged")
                return self.frames.read(index)

        episode = build_episode()
        front = episode.streams["front"]
        rotten = dataclasses.replace(front, frames=Rotten(front.frames))
        episode = dataclasses.replace(episode, streams={**episode.streams, "front": rotten})
        (finding,) = judge(episode, "camera.undecodable")
        assert finding.message.endswith("frame 40 is damaged")


class TestFrameSize:
    def test_frames_of_another_size_are_found_by_their_headers(self, judge):
        small = build_frames(1, height=24, width=32)[0]
        (finding,) = judge(build_episode(frames={"front": replace(31, 50, by=small)}), "camera.frame_size")
        assert finding.severity is Severity.ERROR
        assert finding.message == (
            "front is 24x32 at 0.83 s (frame 31); the stream is declared 48x64 (height x width), "
            "and 2 of 67 frames (3.0 %) differ"
        )

    def test_a_stream_of_another_size_than_the_schema_is_one_finding(self, judge):
        episode = dataclasses.replace(build_episode(), embodiment=build_embodiment(size=(480, 640)))
        (finding,) = judge(episode, "camera.frame_size")
        assert finding.message == "front is declared 48x64; the schema says 480x640 pixels"

    def test_turned_frames_are_of_another_size(self, judge):
        turned = build_frames(73, height=64, width=48)
        assert len(judge(build_episode(frames={"front": lambda _: turned}), "camera.frame_size")) == 1


class TestBlack:
    def test_a_required_camera_that_is_all_black_is_one_error(self):
        findings = run_checks(build_episode(frames={"front": lambda f: [BLACK] * len(f)}), select=["camera"])
        assert [(f.check, f.severity) for f in findings] == [("camera.black", Severity.ERROR)]
        assert findings[0].message.startswith("front is black in all 10 frames that were decoded (mean 0.0, spread 0.0")

    def test_a_covered_lens_is_black_with_its_noise(self, judge):
        (finding,) = judge(build_episode(frames={"front": lambda _: LENS_CAP}), "camera.black")
        assert finding.message.startswith("front is black in all 10 frames")

    def test_frames_of_one_colour_show_nothing(self, judge):
        (finding,) = judge(build_episode(frames={"front": lambda f: [GREEN] * len(f)}), "camera.black")
        assert finding.message.startswith("front is of one colour in all 10 frames")

    def test_a_dark_scene_with_something_bright_in_it_passes(self, judge):
        dark = np.zeros((48, 64, 3), np.uint8)
        dark[20:26, 30:36] = 250
        lamp = images.encode_jpeg(dark)
        assert judge(build_episode(frames={"front": lambda f: [lamp] * len(f)}), "camera.black") == []


class TestBlackFrames:
    def test_some_black_frames_are_a_warning_with_their_places(self):
        # Frames 3 to 69 belong to the steps; the sample has the first and the last of them.
        findings = run_checks(build_episode(frames={"front": replace(*range(12), by=BLACK)}), select=["camera.black*"])
        assert [(f.check, f.severity) for f in findings] == [("camera.black_frames", Severity.WARNING)]
        assert findings[0].message == (
            "front is black in 2 of 10 frames that were decoded: 3, 10; frames must show something"
        )

    def test_an_optional_camera_that_is_all_black_is_a_warning(self):
        embodiment = build_embodiment(rules={"front": StreamRule(required=False)})
        findings = run_checks(build_episode(embodiment, frames={"front": lambda f: [BLACK] * len(f)}))
        assert [(f.check, f.severity) for f in findings] == [("camera.black_frames", Severity.WARNING)]

    def test_good_frames_pass(self, judge):
        assert judge(build_episode(), "camera.black_frames") == []


class TestFrozen:
    def test_a_run_of_equal_frames_is_placed(self, judge):
        frames = build_frames(73)
        (finding,) = judge(build_episode(frames={"front": replace(*range(36, 48), by=frames[36])}), "camera.frozen")
        assert finding.severity is Severity.WARNING
        assert finding.message == (
            "front repeats the same frame 12 times from 1.00 s (frame 36), 12 of 67 frames (17.9 %); "
            "a live camera never gives the same bytes twice"
        )
        assert finding.steps == (10, 14)

    def test_few_equal_frames_pass(self, judge):
        frames = build_frames(73)
        episode = build_episode(frames={"front": replace(*range(36, 41), by=frames[36])})
        assert judge(episode, "camera.frozen") == []

    def test_frames_that_can_not_be_read_are_not_frozen(self):
        class Gone:
            sizes = order = np.arange(73)

            def read(self, index):
                raise EpisodeFormatError(f"frame {index} is damaged")

        episode = build_episode()
        gone = dataclasses.replace(episode.streams["front"], frames=Gone())
        findings = run_checks(dataclasses.replace(episode, streams={"front": gone}), select=["camera"])
        assert [f.check for f in findings] == ["camera.undecodable"]


class TestDepth:
    EMBODIMENT = Embodiment(
        name="depth_arm", rate_hz=10.0, cameras=(Camera(name="front", height=48, width=64, depth=Depth(unit="mm")),)
    )

    def test_depth_of_16_bits_is_looked_at_in_its_own_numbers(self):
        far = [images.encode_png((np.arange(48 * 64).reshape(48, 64) + i).astype(np.uint16)) for i in range(73)]
        assert run_checks(build_episode(self.EMBODIMENT, frames={"front": lambda _: far})) == []

    def test_depth_without_a_single_distance_is_black(self):
        nothing = images.encode_png(np.zeros((48, 64), np.uint16))
        findings = run_checks(build_episode(self.EMBODIMENT, frames={"front": lambda f: [nothing] * len(f)}))
        assert [f.check for f in findings] == ["camera.black"]


def test_frames_are_read_once_for_all_checks():
    class Counting:
        def __init__(self, frames):
            self.frames, self.sizes, self.order, self.count = frames, frames.sizes, frames.order, 0

        def read(self, index):
            self.count += 1
            return self.frames.read(index)

    episode = build_episode()
    front = episode.streams["front"]
    counting = Counting(front.frames)
    streams = {**episode.streams, "front": dataclasses.replace(front, frames=counting)}
    assert run_checks(dataclasses.replace(episode, streams=streams)) == []
    assert counting.count == 67 + 10
