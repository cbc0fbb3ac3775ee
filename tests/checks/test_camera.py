import dataclasses
import re

import numpy as np
import pytest

from vladata import images
from vladata.checks import CheckSettings, run_checks
from vladata.embodiment import Camera, Depth, Embodiment, StreamRule
from vladata.errors import EpisodeFormatError
from vladata.finding import Severity
from vladata.recording import BytesFrames
from vladata.testing.builders import build_embodiment, build_episode, build_frames
from vladata.units import Clock

BLACK = images.encode_jpeg(np.zeros((48, 64, 3), np.uint8))
GREEN = images.encode_jpeg(np.full((48, 64, 3), (0, 135, 0), np.uint8))
LENS_CAP = [
    images.encode_jpeg(np.random.default_rng(i).integers(0, 7, (48, 64, 3)).astype(np.uint8), 95) for i in range(73)
]


def with_front(episode, **changes):
    """An episode whose camera is otherwise."""
    front = dataclasses.replace(episode.streams["front"], **changes)
    return dataclasses.replace(episode, streams={**episode.streams, "front": front})


def each(change):
    """Change the pixels of all frames."""

    def changed(frames):
        return [
            images.encode_jpeg(change(images.decode(f).astype(float)).clip(0, 255).astype(np.uint8)) for f in frames
        ]

    return changed


def replace(*indices, by):
    def change(frames):
        return [by if i in indices else f for i, f in enumerate(frames)]

    return change


@pytest.mark.parametrize(
    "check", ["undecodable", "frame_size", "black", "black_frames", "frozen", "exposure", "few_frames"]
)
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
        assert "67 of 67 frames" in finding.message
        assert "truncated or damaged" in finding.message

    def test_one_frame_that_was_cut_off_is_found_by_its_missing_end(self, judge):
        cut = build_frames(73)[41][:-40]
        (finding,) = judge(build_episode(frames={"front": replace(41, by=cut)}), "camera.undecodable")
        assert finding.message == (
            "front has 1 of 67 frames (1.5 %) that can't be read, first 1.17 s (frame 41): "
            "jpeg has no end; it is truncated or damaged"
        )

    def test_frames_that_are_not_decoded_need_an_end_as_well(self, judge):
        episode = build_episode(duration_s=12.0)
        frames = [episode.streams["front"].frames.read(i) for i in range(len(episode.streams["front"].frames.sizes))]
        for index in (301, 302, 303):
            cut = list(frames)
            cut[index] = cut[index][: -index % 7 - 2]
            assert len(judge(with_front(episode, frames=BytesFrames(cut)), "camera.undecodable")) == 1

    def test_data_that_stop_before_a_proper_end_are_found(self, judge):
        frames = build_frames(73)
        cut = frames[41][: len(frames[41]) * 3 // 4] + b"\xff\xd9"
        (finding,) = judge(build_episode(frames={"front": replace(41, by=cut)}), "camera.undecodable")
        assert re.search(r"1 of 67 frames .* first 1.17 s \(frame 41\): jpeg lacks the lower \d\d %", finding.message)

    def test_a_plain_lower_half_is_a_picture_as_well(self, judge):
        plain = images.decode(build_frames(1)[0]).copy()
        plain[20:] = (90, 120, 60)
        by = images.encode_jpeg(plain, 80)
        assert len(by) < 0.9 * len(build_frames(1)[0])
        assert judge(build_episode(frames={"front": replace(41, 42, by=by)}), "camera.undecodable") == []

    def test_zeros_and_bytes_after_the_end_are_none_of_its_business(self, judge):
        def fill(frames):
            return [f + (b"\0" * 100 if i % 2 else b"\0\0tail") for i, f in enumerate(frames)]

        assert judge(build_episode(frames={"front": fill}), "camera.undecodable") == []

    def test_a_png_that_was_cut_off_is_found(self, judge):
        whole = [images.encode_png(images.decode(f)) for f in build_frames(73)]
        episode = with_front(build_episode(frames={"front": lambda _: whole}), codec="png")
        assert judge(episode, "camera.undecodable") == []
        whole[41] = whole[41][:-30]
        (finding,) = judge(with_front(episode, frames=BytesFrames(whole)), "camera.undecodable")
        assert finding.message.startswith(
            "front has 1 of 67 frames (1.5 %) that can't be read, first 1.17 s (frame 41): png "
        )

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
        assert findings[0].message.startswith("front is black in all 24 frames that were decoded (mean 0.0, spread 0.0")

    def test_a_covered_lens_is_black_with_its_noise(self, judge):
        (finding,) = judge(build_episode(frames={"front": lambda _: LENS_CAP}), "camera.black")
        assert finding.message.startswith("front is black in all 24 frames")

    def test_frames_of_one_colour_show_nothing(self, judge):
        (finding,) = judge(build_episode(frames={"front": lambda f: [GREEN] * len(f)}), "camera.black")
        assert finding.message.startswith("front is of one colour in all 24 frames")

    def test_a_dark_scene_with_something_bright_in_it_passes(self, judge):
        dark = np.zeros((48, 64, 3), np.uint8)
        dark[20:26, 30:36] = 250
        lamp = images.encode_jpeg(dark)
        assert judge(build_episode(frames={"front": lambda f: [lamp] * len(f)}), "camera.black") == []


class TestBlackFrames:
    def test_some_black_frames_are_a_warning_with_their_places(self):
        # Frames 3 to 69 belong to the steps; small ones are decoded beside the sample.
        findings = run_checks(build_episode(frames={"front": replace(*range(12), by=BLACK)}), select=["camera.black*"])
        assert [(f.check, f.severity) for f in findings] == [("camera.black_frames", Severity.WARNING)]
        assert findings[0].message == (
            "front is black in 9 of 30 frames that were decoded: 3, 4, 5, 6 and 5 more; frames must show something"
        )
        assert findings[0].frames == (3, 4, 5, 6)

    def test_three_black_frames_are_found_anywhere(self, judge):
        noisy = LENS_CAP[:3]
        for start in (20, 47, 61):
            odd = build_episode(
                frames={
                    "front": lambda f, at=start: [noisy[i - at] if at <= i < at + 3 else x for i, x in enumerate(f)]
                }
            )
            (finding,) = judge(odd, "camera.black_frames")
            assert start in finding.frames

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
            "front repeats the same frame 12 times from 1.00 s (frame 36) while the robot moves, "
            "12 of 67 frames (17.9 %); a live camera never gives the same bytes twice"
        )
        assert finding.steps == (10, 14)

    def test_buffers_that_are_handed_out_in_turn_are_frozen(self, judge):
        def turn(frames):
            return [*frames[:30], *(frames[30 + i % 2] for i in range(12)), *frames[42:]]

        (finding,) = judge(build_episode(frames={"front": turn}), "camera.frozen")
        assert finding.message.startswith("front repeats the same frame 11 times from ")

    def test_three_equal_frames_are_found_while_the_robot_moves(self, judge):
        frames = build_frames(73)
        episode = build_episode(frames={"front": replace(36, 37, 38, by=frames[36])})
        (finding,) = judge(episode, "camera.frozen")
        assert "3 times from 1.00 s (frame 36) while the robot moves" in finding.message
        two = build_episode(frames={"front": replace(36, 37, by=frames[36])})
        assert judge(two, "camera.frozen") == []

    def test_a_robot_that_stands_gives_equal_frames_in_a_simulator(self, judge):
        frames = build_frames(73)
        still = {"arm": lambda v: np.where(np.arange(len(v))[:, None] > 100, v[100], v)}
        episode = build_episode(values=still, frames={"front": replace(50, 51, 52, 53, by=frames[50])})
        assert judge(episode, "camera.frozen") == []

    def test_a_long_stand_is_found_without_motion(self, judge):
        frames = build_frames(73)
        episode = build_episode(without=("arm", "command"), frames={"front": replace(*range(36, 43), by=frames[36])})
        (finding,) = judge(episode, "camera.frozen")
        assert "7 times from 1.00 s (frame 36), 7 of 67" in finding.message
        few = build_episode(without=("arm", "command"), frames={"front": replace(*range(36, 41), by=frames[36])})
        assert judge(few, "camera.frozen") == []

    def test_a_long_rest_in_a_simulator_without_noise_passes(self, judge):
        frames = build_frames(73)
        still = {"arm": lambda v: np.where(np.arange(len(v))[:, None] > 100, v[100], v)}
        rest = build_episode(values=still, frames={"front": lambda f: [*f[:31], *[frames[31]] * 42]})
        assert judge(rest, "camera.frozen") == []
        # A live camera has noise: it changes before and after.
        live = build_episode(values=still, frames={"front": replace(*range(45, 60), by=frames[45])})
        (finding,) = judge(live, "camera.frozen")
        assert "15 times" in finding.message
        assert "moves" not in finding.message

    def test_a_picture_that_often_repeats_in_motion_is_not_called_frozen(self, judge):
        frames = build_frames(73)
        calm = [frames[i - i % 3] if i % 12 < 6 else f for i, f in enumerate(frames)]
        assert judge(build_episode(frames={"front": lambda _: calm[:]}), "camera.frozen") != []
        slow = [frames[i - i % 3] for i in range(73)]
        assert judge(build_episode(frames={"front": lambda _: slow}), "camera.frozen") == []

    def test_several_stands_are_one_finding(self, judge):
        frames = build_frames(73)

        def twice(fs):
            return replace(50, 51, 52, 53, by=frames[50])(replace(30, 31, 32, by=frames[30])(fs))

        (finding,) = judge(build_episode(frames={"front": twice}), "camera.frozen")
        assert "4 times from" in finding.message
        assert "and in 1 more place;" in finding.message
        assert finding.frames == (50, 30)

    def test_frames_that_can_not_be_read_are_not_frozen(self):
        class Gone:
            sizes = order = np.arange(73)

            def read(self, index):
                raise EpisodeFormatError(f"frame {index} is damaged")

        episode = build_episode()
        gone = dataclasses.replace(episode.streams["front"], frames=Gone())
        findings = run_checks(dataclasses.replace(episode, streams={"front": gone}), select=["camera"])
        assert [f.check for f in findings] == ["camera.undecodable"]


class TestExposure:
    def test_white_pixels(self, judge):
        (finding,) = judge(build_episode(frames={"front": each(lambda f: f * 8)}), "camera.exposure")
        assert finding.severity is Severity.WARNING
        assert finding.message.startswith("front is overexposed: ")
        assert finding.message.endswith(
            "% of the pixels are white in 24 of 24 frames that were decoded; it must be less than 40 %"
        )
        assert finding.magnitude > 0.5
        assert len(finding.frames) == 4

    def test_a_tenth_of_the_brightness_is_dark_and_not_black(self):
        findings = run_checks(build_episode(frames={"front": each(lambda f: f / 10)}), select=["camera"])
        assert [f.check for f in findings] == ["camera.exposure"]
        assert findings[0].message.startswith("front is underexposed: 99 of 100 pixels are darker than ")

    def test_a_dark_scene_with_something_bright_passes(self, judge):
        def lamp(f):
            f = f / 10
            f[10:20, 10:20] = 230
            return f

        assert judge(build_episode(frames={"front": each(lamp)}), "camera.exposure") == []

    def test_a_part_of_the_episode_passes(self, judge):
        dark = each(lambda f: f / 10)
        frames = {"front": lambda fs: [*dark(fs[:25]), *fs[25:]]}
        assert judge(build_episode(frames=frames), "camera.exposure") == []

    def test_thresholds_can_be_set(self):
        episode = build_episode(frames={"front": each(lambda f: f * 8)})
        settings = CheckSettings(select=("camera.exposure",), rules={"camera.exposure": {"white": 1.1}})
        assert [f for f in run_checks(episode, settings=settings) if f.check == "camera.exposure"] == []


class TestFewFrames:
    def test_a_camera_at_half_its_rate(self, judge):
        (finding,) = judge(build_episode(rates_hz={"front": 15.0}), "camera.few_frames")
        assert finding.severity is Severity.WARNING
        assert finding.message == (
            "front gives 15 different frames a second while the robot moves; it must give 30 a second"
        )
        assert finding.magnitude == pytest.approx(2.0, rel=0.02)

    def test_a_camera_with_longer_intervals_than_gaps_is_slow(self, judge):
        (finding,) = judge(build_episode(rates_hz={"front": 5.0}), "camera.few_frames")
        assert (
            finding.message == "front gives 5 different frames a second while the robot moves; it must give 30 a second"
        )

    def test_every_second_frame_repeats(self, judge):
        frames = build_frames(73)
        odd = build_episode(frames={"front": lambda _: [frames[i // 2 * 2] for i in range(73)]})
        (finding,) = judge(odd, "camera.few_frames")
        assert finding.message.startswith("front gives 1")

    def test_steps_without_time_count_too(self, judge):
        embodiment = build_embodiment(rate_hz=30.0)
        frames = build_frames(61)
        odd = build_episode(
            embodiment,
            clock=Clock.NOMINAL,
            is_stepped=True,
            frames={"front": lambda _: [frames[i // 2 * 2] for i in range(61)]},
        )
        (finding,) = judge(odd, "camera.few_frames")
        assert finding.message.startswith("front gives 5")
        assert finding.message.endswith(" % new frames while the robot moves; it must give one every 1/30 s")
        good = build_episode(embodiment, clock=Clock.NOMINAL, is_stepped=True)
        assert judge(good, "camera.few_frames") == []

    def test_steps_that_show_every_frame_twice(self, judge):
        def twice(steps):
            rows = np.arange(len(steps)) // 2 * 2
            return dataclasses.replace(steps, images={n: v[rows] for n, v in steps.images.items()})

        (finding,) = judge(build_episode(steps=twice), "camera.few_frames")
        assert finding.message == (
            "front shows a new picture at 50 % of the steps in which the robot moves; it must at 100 %"
        )

    def test_a_gap_is_no_slow_camera(self, judge):
        def pause(time):
            return np.where(np.arange(len(time)) > 40, time + 1_000_000_000, time)

        assert judge(build_episode(duration_s=3.0, stamps={"front": pause}), "camera.few_frames") == []

    def test_a_simulator_at_rest_passes(self, judge):
        frames = build_frames(73)
        still = {"arm": lambda v: np.where(np.arange(len(v))[:, None] > 100, v[100], v)}
        rest = build_episode(values=still, frames={"front": lambda f: [*f[:37], *[frames[37]] * 36]})
        assert judge(rest, "camera.few_frames") == []


class TestOddities:
    @pytest.mark.parametrize("count", [0, 1, 2, 3])
    def test_few_frames_of_any_kind(self, count):
        episode = build_episode()
        front = episode.streams["front"]
        frames = BytesFrames([front.frames.read(i) for i in range(count)])
        findings = run_checks(with_front(episode, frames=frames, time_ns=front.time_ns[:count]), select=["camera"])
        assert [f.message for f in findings if f.traceback] == []

    def test_more_stamps_than_frames(self):
        episode = build_episode()
        frames = BytesFrames([episode.streams["front"].frames.read(i) for i in range(20)])
        assert [f for f in run_checks(with_front(episode, frames=frames), select=["camera"]) if f.traceback] == []

    @pytest.mark.parametrize("size", [(1, 1), (3, 500), (17, 9)])
    def test_pictures_of_odd_sizes(self, size):
        episode = build_episode(build_embodiment(size=size))
        rng = np.random.default_rng(0)
        frames = [images.encode_jpeg(rng.integers(0, 255, (*size, 3)).astype(np.uint8)) for _ in range(73)]
        odd = with_front(episode, frames=BytesFrames(frames))
        assert [f.check for f in run_checks(odd, select=["camera"]) if not f.check.startswith("camera.black")] == []

    @pytest.mark.parametrize("change", [np.negative, lambda t: t[::-1], lambda t: t * 0, lambda t: t * 7])
    def test_stamps_of_any_kind(self, change):
        findings = run_checks(build_episode(stamps={"front": change, "arm": change}), select=["camera"])
        assert [f.message for f in findings if f.traceback] == []

    @pytest.mark.parametrize("value", [np.nan, np.inf, 1e300, 0.0])
    def test_values_of_any_kind(self, value):
        def spoil(values):
            values[::3] = value
            return values

        findings = run_checks(build_episode(values={"arm": spoil, "command": spoil}), select=["camera"])
        assert [f.message for f in findings if f.traceback] == []


class TestDepth:
    EMBODIMENT = Embodiment(
        name="depth_arm", rate_hz=10.0, cameras=(Camera(name="front", height=48, width=64, depth=Depth(unit="mm")),)
    )

    def test_depth_of_16_bits_is_looked_at_in_its_own_numbers(self):
        far = [images.encode_png((np.arange(48 * 64).reshape(48, 64) + i).astype(np.uint16)) for i in range(73)]
        assert run_checks(build_episode(self.EMBODIMENT, frames={"front": lambda _: far})) == []

    @pytest.mark.parametrize("number", [0, 3, 65535])
    def test_depth_without_a_single_distance_is_black(self, number):
        nothing = images.encode_png(np.full((48, 64), number, np.uint16))
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
    assert counting.count == 67


class TestSame:
    EMBODIMENT = build_embodiment(cameras=("front", "side"))

    def both(self, change, **knobs):
        """The second camera gives the pictures of the first, changed."""
        copied = {"side": lambda frames: [change(f) for f in build_frames(len(frames))]}
        return build_episode(self.EMBODIMENT, frames=copied, **knobs)

    def test_one_device_under_two_names(self, judge):
        (finding,) = judge(self.both(lambda f: f), "camera.same")
        assert finding.severity is Severity.WARNING
        assert finding.location == "/streams/front/frames"
        assert finding.message == (
            "front and side show the same picture at 24 of 24 moments that were compared; "
            "two cameras must show two views"
        )
        assert len(finding.frames) == 4

    @pytest.mark.parametrize("knobs", [{}, {"is_stepped": True, "clock": Clock.NOMINAL, "duration_s": 4.0}])
    def test_the_same_pictures_encoded_twice_and_without_time(self, judge, knobs):
        again = self.both(lambda f: images.encode_jpeg(images.decode(f), 92), **knobs)
        assert len(judge(again, "camera.same")) == 1

    def test_two_views_pass(self, judge):
        moved = self.both(lambda f: images.encode_jpeg(np.roll(images.decode(f), 3, axis=1), 90))
        assert judge(moved, "camera.same") == []
        assert judge(build_episode(self.EMBODIMENT), "camera.same") == []

    def test_black_pictures_and_one_camera_pass(self, judge):
        black = images.encode_jpeg(np.zeros((48, 64, 3), np.uint8), 90)
        dark = {"front": lambda f: [black] * len(f), "side": lambda f: [black] * len(f)}
        assert judge(build_episode(self.EMBODIMENT, frames=dark), "camera.same") == []
        assert judge(build_episode(), "camera.same") == []

    def test_frames_of_other_moments_are_not_judged(self, judge):
        assert judge(self.both(lambda f: f, offsets_ns={"side": 12_000_000}), "camera.same") == []
