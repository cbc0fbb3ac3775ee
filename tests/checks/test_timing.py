import dataclasses

import numpy as np
import pytest

from vladata.checks import run_checks
from vladata.embodiment import StreamRule
from vladata.episode import Steps
from vladata.finding import Severity
from vladata.testing.builders import START_NS, build_embodiment, build_episode
from vladata.units import Clock

MS = 1_000_000


def drop(*indices):
    """Shift the rest so that the samples at these places are missing: every later interval stays as it was."""

    def change(time_ns):
        period = int(np.median(np.diff(time_ns)))
        return time_ns + period * np.searchsorted(np.array(indices), np.arange(len(time_ns)), side="right")

    return change


def test_good_episode_has_no_finding():
    assert run_checks(build_episode()) == []


def test_good_episode_with_jitter_has_no_finding():
    jitter = {"front": 2 * MS, "arm": MS // 2, "command": MS}
    assert run_checks(build_episode(jitter_ns=jitter)) == []


class TestNotMeasured:
    def test_nominal_clocks_are_named_once_and_never_judged(self):
        rules = {"arm": StreamRule(rate_hz=50.0, jitter_ms=1.0), "front": StreamRule(rate_hz=5.0)}
        episode = build_episode(build_embodiment(rules=rules), is_stepped=True, clock=Clock.NOMINAL)
        findings = run_checks(episode, select=["timing"])
        assert [f.check for f in findings] == ["timing.not_measured"]
        assert findings[0].severity is Severity.INFO
        assert findings[0].message.startswith("no time was recorded for any stream")

    def test_only_the_streams_without_time_are_named(self, judge):
        findings = judge(build_episode(is_stepped=True, clocks={"front": Clock.NOMINAL}), "timing.not_measured")
        assert "for front (" in findings[0].message

    def test_recorded_time_is_no_finding(self, judge):
        assert judge(build_episode(), "timing.not_measured") == []

    def test_checks_that_need_time_bring_it_along(self):
        episode = build_episode(is_stepped=True, clock=Clock.NOMINAL)
        assert [f.check for f in run_checks(episode, select=["values.velocity"])] == ["timing.not_measured"]
        assert run_checks(episode, select=["values.velocity"], ignore=["timing.not_measured"]) == []
        assert run_checks(episode, select=["values.limits"]) == []


class TestStepOrder:
    def test_steps_that_go_back_are_counted_and_the_worst_is_shown(self, judge):
        def swap(steps: Steps) -> Steps:
            time = steps.time_ns.copy()
            time[4] = time[3]
            time[12] = time[11] - 7
            return dataclasses.replace(steps, time_ns=time)

        (finding,) = judge(build_episode(steps=swap), "timing.step_order")
        assert finding.severity is Severity.ERROR
        assert finding.steps == (11, 13)
        assert finding.location == "/steps/time_ns"
        time = START_NS + 1_100 * MS
        assert finding.message == (
            f"time goes from {time} ns to {time - 7} ns at step 12 (2 such places, this is the worst); "
            "step times must strictly increase"
        )

    def test_increasing_steps_pass(self, judge):
        assert judge(build_episode(), "timing.step_order") == []


class TestStampOrder:
    def test_backward_stamps_are_counted_with_the_largest_jump(self, judge):
        def back(time_ns):
            time_ns[100] -= 12 * MS
            time_ns[150] -= 25 * MS
            return time_ns

        (finding,) = judge(build_episode(stamps={"arm": back}), "timing.stamp_order")
        assert finding.severity is Severity.ERROR
        assert finding.location == "/streams/arm/time_ns"
        # The period is 10 ms: sample 150 comes 15 ms before sample 149, at 1.3 s - 25 ms.
        assert finding.message == (
            "arm goes back 2 times, at most by 15 ms at 1.27 s (sample 150); stamps must not decrease"
        )
        assert finding.steps == (12, 13)

    def test_equal_stamps_do_not_go_back(self, judge):
        def same(time_ns):
            time_ns[101] = time_ns[100]
            return time_ns

        assert judge(build_episode(stamps={"arm": same}), "timing.stamp_order") == []


class TestEqualStamps:
    def test_equal_stamps_are_counted(self, judge):
        def same(time_ns):
            time_ns[101:103] = time_ns[100]
            return time_ns

        (finding,) = judge(build_episode(stamps={"arm": same}), "timing.equal_stamps")
        assert finding.severity is Severity.WARNING
        assert finding.message.startswith("arm has 2 of ")
        assert "first at 0.80 s (sample 101)" in finding.message

    def test_different_stamps_pass(self, judge):
        assert judge(build_episode(stamps={"arm": lambda t: t + np.arange(len(t)) % 2}), "timing.equal_stamps") == []


class TestGaps:
    def test_gaps_are_counted_with_place_and_length_of_the_longest(self, judge):
        # Camera frames at 30 Hz, the first 0.2 s before the first step.
        (finding,) = judge(build_episode(stamps={"front": drop(20, 36, 36, 36)}), "timing.gaps")
        assert finding.severity is Severity.WARNING
        assert finding.message == (
            "front has 2 gaps, the longest of 133.3 ms at 1.00 s (frame 35); its period is 33.33 ms, "
            "so about 4 samples are missing"
        )
        assert finding.steps == (10, 12)
        assert finding.location == "/streams/front/time_ns"

    def test_accepted_jitter_is_no_gap(self, judge):
        def late(time_ns):
            time_ns[30] += 20 * MS
            return time_ns

        episode = build_episode(stamps={"front": late})
        assert len(judge(episode, "timing.gaps")) == 1
        patient = build_embodiment(rules={"front": StreamRule(jitter_ms=25.0)})
        assert judge(build_episode(patient, stamps={"front": late}), "timing.gaps") == []

    def test_what_was_trimmed_away_is_not_judged(self, judge):
        episode = build_episode(stamps={"front": drop(20)})
        kept = dataclasses.replace(episode, steps=episode.steps.between(10, 21))
        assert len(judge(episode, "timing.gaps")) == 1
        assert judge(kept, "timing.gaps") == []


class TestOffsets:
    """Stamps stay as recorded; what synchronization added to them stands in the provenance."""

    def test_a_camera_whose_clock_is_ahead_is_placed_on_the_clock_of_the_steps(self, judge):
        ahead = 10_000 * MS
        episode = build_episode(stamps={"front": drop(36)})
        front = episode.streams["front"]
        shifted = dataclasses.replace(front, time_ns=front.time_ns + ahead)
        episode = dataclasses.replace(episode, streams={**episode.streams, "front": shifted})
        policy = {"step_clock": "grid", "streams": {"front": {"offset_ns": -ahead}}}
        known = dataclasses.replace(episode, provenance={"sync": {"policy": policy}})
        (finding,) = judge(known, "timing.gaps")
        assert "66.67 ms at 0.97 s (frame 35)" in finding.message
        assert finding.steps == (9, 11)
        assert judge(known, "timing.coverage") == []
        # Unknown, the camera would seem to run ten seconds after the steps.
        assert len(judge(episode, "timing.coverage")) == 1

    @pytest.mark.parametrize("provenance", [{}, {"sync": 3}, {"sync": {"policy": {"streams": {"front": "x"}}}}])
    def test_provenance_of_another_shape_is_no_offset(self, provenance):
        assert run_checks(dataclasses.replace(build_episode(), provenance=provenance)) == []


class TestCoverage:
    def test_camera_that_starts_late_is_reported(self, judge):
        (finding,) = judge(build_episode(stamps={"front": lambda t: t + 700 * MS}), "timing.coverage")
        assert finding.message == "front starts 0.5 s after the first step; it must run with the steps"

    def test_camera_that_ends_early_is_reported(self, judge):
        (finding,) = judge(build_episode(stamps={"front": lambda t: t - 700 * MS}), "timing.coverage")
        assert finding.message == "front ends 0.5 s before the last step; it must run with the steps"

    def test_half_a_period_at_the_edges_is_no_finding(self, judge):
        assert judge(build_episode(stamps={"front": lambda t: t + 16 * MS}), "timing.coverage") == []


class TestStreamRate:
    def test_camera_slower_than_the_schema_is_reported_with_both_rates(self, judge):
        (finding,) = judge(build_episode(rates_hz={"front": 24.0}), "timing.stream_rate")
        assert finding.message == (
            "front runs at 24 Hz (every 41.67 ms); the schema says 30 Hz (every 33.33 ms, within 3.33 ms)"
        )

    def test_missing_frames_do_not_change_the_rate(self, judge):
        assert judge(build_episode(stamps={"front": drop(12, 20, 28, 29, 30, 44)}), "timing.stream_rate") == []

    def test_the_jitter_of_the_schema_is_the_tolerance(self, judge):
        strict = build_embodiment(rules={"arm": StreamRule(rate_hz=100.0, jitter_ms=0.1)})
        lax = build_embodiment(rules={"arm": StreamRule(rate_hz=100.0, jitter_ms=3.0)})
        assert len(judge(build_episode(strict, rates_hz={"arm": 95.0}), "timing.stream_rate")) == 1
        assert judge(build_episode(lax, rates_hz={"arm": 85.0}), "timing.stream_rate") == []

    def test_streams_without_a_rate_in_the_schema_pass(self, judge):
        assert judge(build_episode(rates_hz={"arm": 7.0}), "timing.stream_rate") == []


class TestJitter:
    def test_jitter_above_the_schema_is_reported(self, judge):
        embodiment = build_embodiment(rules={"arm": StreamRule(jitter_ms=0.5)})
        (finding,) = judge(build_episode(embodiment, jitter_ns={"arm": MS}), "timing.jitter")
        assert finding.severity is Severity.WARNING
        assert "the schema accepts 0.5 ms" in finding.message

    def test_jitter_below_the_schema_passes(self, judge):
        embodiment = build_embodiment(rules={"arm": StreamRule(jitter_ms=8.0)})
        assert judge(build_episode(embodiment, jitter_ns={"arm": MS}), "timing.jitter") == []


def retime(period_ns):
    def change(steps: Steps) -> Steps:
        time = steps.time_ns[0] + np.cumsum(np.resize(period_ns, len(steps))) - np.resize(period_ns, 1)
        return dataclasses.replace(steps, time_ns=time.astype(np.int64))

    return change


class TestStepRate:
    def test_slow_steps_are_an_error_with_the_factor(self, judge):
        (finding,) = judge(build_episode(steps=retime([200 * MS])), "timing.step_rate")
        assert finding.severity is Severity.ERROR
        assert finding.message == (
            "steps come at 5 Hz; the schema says 10 Hz, and a policy trained on them would act at 2 times the "
            "demonstrated speed"
        )

    @pytest.mark.parametrize("periods", [[105 * MS], [67 * MS, 133 * MS], [100 * MS] * 9 + [900 * MS]])
    def test_decimated_steps_and_holes_pass(self, judge, periods):
        assert judge(build_episode(steps=retime(periods)), "timing.step_rate") == []

    def test_steps_of_a_nominal_clock_are_not_judged(self, judge):
        episode = build_episode(is_stepped=True, clock=Clock.NOMINAL, steps=retime([200 * MS]))
        assert judge(episode, "timing.step_rate") == []
