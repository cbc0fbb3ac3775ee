import dataclasses

import numpy as np

from vladata.checks import run_checks
from vladata.embodiment import StreamRule
from vladata.errors import EpisodeFormatError
from vladata.finding import Severity
from vladata.recording import BytesFrames
from vladata.testing.builders import build_embodiment, build_episode, build_frames


class Damaged(dict):
    """Streams of which one can't be read."""

    def __getitem__(self, name):
        if name == "arm":
            raise EpisodeFormatError("a.h5: /streams/arm/values does not match its checksum")
        return super().__getitem__(name)

    def get(self, name, default=None):
        try:
            return self[name]
        except KeyError:
            return default

    def values(self):
        return [self[name] for name in self]

    def items(self):
        return [(name, self[name]) for name in self]


class TestReadable:
    def test_a_damaged_stream_is_one_finding_whatever_else_reads_it(self):
        episode = build_episode()
        findings = run_checks(dataclasses.replace(episode, streams=Damaged(episode.streams)))
        assert [f.check for f in findings] == ["structure.readable"]
        assert findings[0].severity is Severity.ERROR
        assert findings[0].message == "a.h5: /streams/arm/values does not match its checksum"

    def test_whole_streams_pass(self, judge):
        assert judge(build_episode(), "structure.readable") == []


class TestStreams:
    def test_required_streams_that_are_missing_are_named(self, judge):
        findings = judge(build_episode(without=("front", "command")), "structure.streams")
        assert [f.message for f in findings] == [
            "no stream command; test_arm requires it",
            "no stream front; test_arm requires it",
        ]
        assert findings[0].severity is Severity.ERROR

    def test_optional_streams_may_be_missing(self, judge):
        embodiment = build_embodiment(rules={"front": StreamRule(required=False)})
        assert judge(build_episode(embodiment, without=("front",)), "structure.streams") == []

    def test_streams_that_the_schema_does_not_know_are_named(self, judge):
        episode = build_episode(build_embodiment(cameras=("front", "wrist")))
        (finding,) = judge(dataclasses.replace(episode, embodiment=build_embodiment()), "structure.streams")
        assert finding.message == "stream wrist is not in test_arm; it has arm, command, front"

    def test_numbers_in_place_of_images_are_told(self, judge):
        episode = build_episode()
        swapped = {**episode.streams, "front": episode.streams["arm"]}
        (finding,) = judge(dataclasses.replace(episode, streams=swapped), "structure.streams")
        assert finding.message == "front holds numbers; it must hold images"

    def test_streams_that_the_steps_lack_are_told(self, judge):
        episode = build_episode(steps=lambda s: dataclasses.replace(s, action={}))
        (finding,) = judge(episode, "structure.streams")
        assert finding.location == "/steps/action/command"


class TestDimensions:
    def test_vectors_of_another_length_are_shown_with_both_shapes(self, judge):
        findings = judge(build_episode(values={"arm": lambda v: v[:, :3]}), "structure.dimensions")
        assert [f.location for f in findings] == ["/streams/arm/values", "/steps/proprioception/arm"]
        assert findings[0].severity is Severity.ERROR
        assert findings[0].message == (
            "arm is an array of 241x3; the schema has 4 dimensions per row: joint_0, joint_1, joint_2, gripper"
        )

    def test_texts_are_no_numbers(self, judge):
        (finding,) = judge(build_episode(values={"arm": lambda v: v.astype("S4")}), "structure.dimensions")
        assert finding.message == "arm holds |S4; it must hold real numbers"

    def test_whole_numbers_pass(self, judge):
        assert judge(build_episode(values={"arm": lambda v: v.astype(np.int16)}), "structure.dimensions") == []


class TestCounts:
    def test_values_and_stamps_must_be_as_many(self, judge):
        (finding,) = judge(build_episode(values={"arm": lambda v: v[:-5]}), "structure.counts")
        assert finding.severity is Severity.ERROR
        assert finding.message == "arm has 236 values and 241 stamps; they must be as many"

    def test_frames_and_stamps_must_be_as_many(self, judge):
        (finding,) = judge(build_episode(frames={"front": lambda f: f[:-1]}), "structure.counts")
        assert finding.message == "front has 72 frames and 73 stamps; they must be as many"

    def test_rows_of_the_steps_must_be_as_many_as_the_steps(self, judge):
        episode = build_episode(steps=lambda s: dataclasses.replace(s, images={"front": s.images["front"][:-1]}))
        (finding,) = judge(episode, "structure.counts")
        assert finding.message == "front has 20 rows and the episode 21 steps; they must be as many"
        assert finding.location == "/steps/images/front"

    def test_a_stream_without_samples_is_told(self):
        episode = build_episode()
        empty = dataclasses.replace(episode.streams["arm"], time_ns=np.zeros(0, np.int64), values=np.zeros((0, 4)))
        episode = dataclasses.replace(episode, streams={**episode.streams, "arm": empty})
        assert [f.check for f in run_checks(episode)] == ["structure.counts"]

    def test_equal_counts_pass(self, judge):
        assert judge(build_episode(), "structure.counts") == []


def show(frames):
    def change(steps):
        index = steps.images["front"].copy()
        for step, frame in frames.items():
            index[step] = frame
        return dataclasses.replace(steps, images={"front": index})

    return change


class TestFrameIndices:
    def test_frames_that_do_not_exist_are_placed(self, judge):
        findings = judge(build_episode(steps=show({18: 73, 19: 99, 20: -2})), "structure.frame_indices")
        assert findings[0].message == (
            "front has frame 73 at step 18; frames go from 0 to 72 (-1: none), steps 18 to 20 are outside"
        )
        assert findings[0].steps == (18, 21)
        assert findings[0].severity is Severity.ERROR

    def test_frames_that_go_back_are_placed(self, judge):
        (finding,) = judge(build_episode(steps=show({5: -1, 6: 17})), "structure.frame_indices")
        assert finding.message == "front goes back from frame 18 to 17 at step 6; later steps must show later frames"
        assert finding.steps == (4, 7)

    def test_repeated_frames_and_missing_ones_pass(self, judge):
        assert judge(build_episode(steps=show({5: 18, 7: -1})), "structure.frame_indices") == []


class TestInvalidSteps:
    def test_steps_without_a_sample_are_counted_as_a_share(self, judge):
        embodiment = build_embodiment(rules={"front": StreamRule(max_age_ms=50.0)})

        def freeze(time_ns):
            time_ns[30:45] += np.arange(15, 0, -1) * 33_000_000  # the frames in between come all at once, later
            return time_ns

        episode = build_episode(embodiment, stamps={"front": freeze})
        (finding,) = judge(episode, "structure.invalid_steps")
        assert finding.severity is Severity.WARNING
        assert finding.message == (
            "front does not count at 4 of 21 steps (19.0 %): 9 to 12; a sample must be at most 50 ms old"
        )
        assert finding.steps == (9, 13)
        assert finding.location == "/steps/valid/front"

    def test_the_last_step_may_lack_its_action(self, judge):
        def end(count):
            def change(steps):
                valid = steps.valid["command"].copy()
                valid[-count:] = False
                return dataclasses.replace(steps, valid={**steps.valid, "command": valid})

            return change

        assert judge(build_episode(steps=end(1)), "structure.invalid_steps") == []
        (finding,) = judge(build_episode(steps=end(2)), "structure.invalid_steps")
        assert "2 of 21 steps" in finding.message


class TestUsableSteps:
    def test_no_step_with_all_required_streams_is_an_error(self, judge):
        def alternate(steps):
            even = np.arange(len(steps)) % 2 == 0
            return dataclasses.replace(steps, valid={**steps.valid, "arm": even, "command": ~even})

        (finding,) = judge(build_episode(steps=alternate), "structure.usable_steps")
        assert finding.severity is Severity.ERROR
        assert finding.message.startswith("none of 21 steps has a sample that counts of each of arm, command, front")

    def test_one_usable_step_passes(self, judge):
        def one(steps):
            return dataclasses.replace(steps, valid={**steps.valid, "arm": np.arange(len(steps)) == 7})

        assert judge(build_episode(steps=one), "structure.usable_steps") == []


class TestShort:
    def test_four_steps_are_few(self, judge):
        (finding,) = judge(build_episode(duration_s=0.3), "structure.short")
        assert finding.severity is Severity.WARNING
        assert finding.message == "4 steps; an episode of a demonstration must have at least 5"

    def test_no_step_at_all_is_told_and_stops_no_check(self):
        episode = build_episode(steps=lambda s: s.between(0, 0))
        assert [f.check for f in run_checks(episode)] == ["structure.short"]

    def test_the_threshold_can_be_set(self, judge):
        embodiment = build_embodiment().model_copy(update={"checks": {"structure.short": {"steps": 10.0}}})
        (finding,) = judge(build_episode(embodiment, duration_s=0.4), "structure.short")
        assert finding.message == "5 steps; an episode of a demonstration must have at least 10"

    def test_five_steps_pass(self, judge):
        assert judge(build_episode(duration_s=0.4), "structure.short") == []


class TestRules:
    def test_unknown_checks_and_thresholds_are_named(self, judge):
        checks = {"timing.gap": {"periods": 2.0}, "timing.gaps": {"period": 2.0, "severity": "info"}}
        embodiment = build_embodiment().model_copy(update={"checks": checks})
        (finding,) = judge(build_episode(embodiment), "structure.rules")
        assert finding.severity is Severity.WARNING
        assert finding.message == (
            "the schema's checks section does not hold: no check named 'timing.gap'; did you mean 'timing.gaps'? "
            "(and 1 more)"
        )
        assert finding.location == "/embodiment"
        assert finding.magnitude == 2

    def test_known_ones_pass(self, judge):
        checks = {"timing.gaps": {"periods": 2.0, "severity": "error"}, "values.unused": {"severity": "off"}}
        embodiment = build_embodiment().model_copy(update={"checks": checks})
        assert judge(build_episode(embodiment), "structure.rules") == []
        assert judge(build_episode(), "structure.rules") == []


def test_one_step_stops_no_check():
    findings = run_checks(build_episode(steps=lambda s: s.between(3, 4)))
    assert [f.check for f in findings if f.severity > Severity.INFO] == ["structure.short"]


def test_frames_of_an_empty_camera_stop_no_check():
    episode = build_episode()
    front = dataclasses.replace(episode.streams["front"], time_ns=np.zeros(0, np.int64), frames=BytesFrames([]))
    episode = dataclasses.replace(episode, streams={**episode.streams, "front": front})
    assert {f.check for f in run_checks(episode)} == {"structure.counts", "structure.frame_indices"}


def test_frames_of_tests_differ():
    frames = build_frames(20)
    assert len(set(frames)) == 20
