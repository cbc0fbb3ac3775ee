import dataclasses
import json

import numpy as np
import pytest

from vladata.checks import CheckSettings, run_checks
from vladata.embodiment import StreamRule
from vladata.episode import Episode, Steps
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
        episode = build_episode(stamps={"front": drop(20)})
        assert len(judge(episode, "timing.gaps")) == 1
        patient = build_embodiment(rules={"front": StreamRule(jitter_ms=40.0)})
        assert judge(build_episode(patient, stamps={"front": drop(20)}), "timing.gaps") == []

    def test_a_late_sample_that_the_next_ones_make_good_is_no_gap(self, judge):
        def late(time_ns):
            time_ns[30] += 20 * MS
            return time_ns

        assert judge(build_episode(stamps={"front": late}), "timing.gaps") == []

    def test_a_stall_whose_samples_all_come_late_is_a_gap(self, judge):
        def stall(time_ns):
            time_ns[100:105] = time_ns[105] - np.arange(5, 0, -1) * MS
            return time_ns

        (finding,) = judge(build_episode(stamps={"arm": stall}), "timing.gaps")
        assert finding.message == (
            "arm has a gap of 55 ms at 0.79 s (sample 99); its period is 10 ms, so what followed came late"
        )

    @pytest.mark.parametrize(("stream", "period_ns"), [("arm", 10 * MS), ("command", 20 * MS), ("front", 33_333_333)])
    def test_one_lost_sample_is_found_in_strong_jitter_and_none_without(self, judge, stream, period_ns):
        jitter = {"arm": 2 * MS, "command": 2 * MS, "front": 5 * MS}
        embodiment = build_embodiment(size=(16, 16))
        for seed in range(5):

            def lose(time_ns):
                place = len(time_ns) // 3
                return time_ns + period_ns * (np.arange(len(time_ns)) > place)

            knobs = {"duration_s": 8.0, "jitter_ns": jitter, "seed": seed}
            assert judge(build_episode(embodiment, **knobs), "timing.gaps") == []
            (finding,) = judge(build_episode(embodiment, stamps={stream: lose}, **knobs), "timing.gaps")
            assert finding.message.startswith(f"{stream} has a gap")
            assert finding.message.endswith("so about 1 sample is missing")

    def test_samples_that_come_in_twos_have_no_gaps(self, judge):
        def twos(time_ns):
            time_ns[1::2] -= 9 * MS
            return time_ns

        assert judge(build_episode(stamps={"arm": twos}), "timing.gaps") == []

    def test_the_threshold_can_be_set(self):
        settings = CheckSettings(select=("timing.gaps",), rules={"timing.gaps": {"periods": 2.5}})
        assert run_checks(build_episode(stamps={"front": drop(20)}), settings=settings) == []

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

    def test_accepted_jitter_is_no_tolerance_of_the_rate(self, judge):
        lax = build_embodiment(rules={"arm": StreamRule(rate_hz=100.0, jitter_ms=3.0)})
        assert len(judge(build_episode(lax, rates_hz={"arm": 85.0}), "timing.stream_rate")) == 1
        assert judge(build_episode(lax, rates_hz={"arm": 95.0}), "timing.stream_rate") == []

    def test_the_tolerance_can_be_set(self):
        strict = build_embodiment(rules={"arm": StreamRule(rate_hz=100.0)})
        strict = strict.model_copy(update={"checks": {"timing.stream_rate": {"tolerance": 0.02}}})
        (finding,) = run_checks(build_episode(strict, rates_hz={"arm": 95.0}), select=["timing.stream_rate"])
        assert finding.message == (
            "arm runs at 95 Hz (every 10.53 ms); the schema says 100 Hz (every 10 ms, within 0.2 ms)"
        )

    @pytest.mark.parametrize("stream", ["arm", "command", "front"])
    def test_fifteen_percent_slower_is_found_in_jitter(self, judge, stream):
        rates = {"arm": 100.0, "command": 50.0, "front": 30.0}
        embodiment = build_embodiment(size=(16, 16), rules={n: StreamRule(rate_hz=r) for n, r in rates.items()})
        jitter = {"arm": 2 * MS, "command": 2 * MS, "front": 5 * MS}
        assert judge(build_episode(embodiment, jitter_ns=jitter), "timing.stream_rate") == []
        slow = build_episode(embodiment, jitter_ns=jitter, rates_hz={stream: rates[stream] / 1.15})
        assert [f.location for f in judge(slow, "timing.stream_rate")] == [f"/streams/{stream}/time_ns"]

    def test_samples_that_come_in_twos_are_as_many(self, judge):
        def twos(time_ns):
            time_ns[1::2] -= 9 * MS
            return time_ns

        embodiment = build_embodiment(rules={"arm": StreamRule(rate_hz=100.0)})
        assert judge(build_episode(embodiment, stamps={"arm": twos}), "timing.stream_rate") == []

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

    def test_fifteen_percent_faster_is_found(self, judge):
        assert len(judge(build_episode(steps=retime([87 * MS])), "timing.step_rate")) == 1

    @pytest.mark.parametrize("periods", [[105 * MS], [67 * MS, 133 * MS], [100 * MS] * 9 + [900 * MS]])
    def test_decimated_steps_and_holes_pass(self, judge, periods):
        assert judge(build_episode(steps=retime(periods)), "timing.step_rate") == []

    def test_steps_of_a_nominal_clock_are_not_judged(self, judge):
        episode = build_episode(is_stepped=True, clock=Clock.NOMINAL, steps=retime([200 * MS]))
        assert judge(episode, "timing.step_rate") == []


def aged(**more_ns):
    """Make samples of some streams older at all steps."""

    def change(steps: Steps) -> Steps:
        return dataclasses.replace(steps, age_ns={n: a + more_ns.get(n, 0) for n, a in steps.age_ns.items()})

    return change


class TestAge:
    def test_samples_three_periods_too_old_are_reported(self, judge):
        (finding,) = judge(build_episode(steps=aged(front=100 * MS)), "timing.age")
        assert finding.severity is Severity.WARNING
        assert finding.message == (
            "front is 100 ms old at half of the steps, most at step 0 (100 ms); its period is 33.33 ms, "
            "and it must be at most 2 of them old"
        )
        assert finding.location == "/steps/age_ns/front"
        assert finding.steps == (0, 1)
        assert finding.frames == (6,)

    def test_a_stream_that_lags_behind_the_others_now_and_then_is_reported(self, judge):
        def sometimes(steps: Steps) -> Steps:
            ages = steps.age_ns["arm"].copy()
            ages[5:9] += 60 * MS
            return dataclasses.replace(steps, age_ns={**steps.age_ns, "arm": ages})

        (finding,) = judge(build_episode(steps=sometimes), "timing.age")
        assert finding.message == (
            "arm is 60 ms older than the latest observation at a twentieth of the steps, most at step 5 (60 ms); "
            "its period is 10 ms, and it must be at most 4 of them older"
        )

    def test_rows_that_hold_old_samples_are_found_by_their_stamps(self, judge):
        episode = build_episode(is_stepped=True)
        front = episode.streams["front"]
        late = dataclasses.replace(front, time_ns=front.time_ns - 400 * MS)
        episode = dataclasses.replace(episode, provenance={"sync": {"policy": {"step_clock": "rows"}}})
        assert judge(episode, "timing.age") == []
        late_rows = dataclasses.replace(episode, streams={**episode.streams, "front": late})
        (finding,) = judge(late_rows, "timing.age")
        assert finding.message.startswith("front is 400 ms old at half of the steps")
        trimmed = dataclasses.replace(late_rows, steps=late_rows.steps.between(4, 19))
        assert judge(trimmed, "timing.age")[0].message.startswith("front is 400 ms old at half of the steps")

    def test_rows_stamped_by_the_stream_that_is_late_are_found(self, judge):
        def early(steps: Steps) -> Steps:
            return dataclasses.replace(steps, time_ns=steps.time_ns - 400 * MS)

        episode = build_episode(is_stepped=True, stamps={"arm": lambda t: t - 400 * MS}, steps=early)
        episode = dataclasses.replace(episode, provenance={"sync": {"policy": {"step_clock": "rows"}}})
        (finding,) = judge(episode, "timing.age")
        assert finding.message.startswith("arm is 400 ms old at half of the steps")

    def test_rows_that_a_declared_latency_shifts_are_as_old_as_they_are_then(self, judge):
        # The image of the row four later is what the camera saw at the step.
        policy = {"step_clock": "rows", "latency_ns": {"front": 400 * MS}}
        shifted = dataclasses.replace(build_episode(is_stepped=True), provenance={"sync": {"policy": policy}})
        assert judge(shifted, "timing.age") == []

    def test_actions_are_not_judged(self, judge):
        assert judge(build_episode(steps=aged(command=-300 * MS)), "timing.age") == []

    def test_jitter_and_a_slow_stream_pass(self, judge):
        jitter = {"front": 5 * MS, "arm": 2 * MS}
        assert judge(build_episode(jitter_ns=jitter, rates_hz={"front": 6.0}), "timing.age") == []

    def test_ages_without_recorded_time_are_not_judged(self, judge):
        episode = build_episode(is_stepped=True, clock=Clock.NOMINAL, steps=aged(front=900 * MS))
        assert judge(episode, "timing.age") == []

    def test_steps_of_which_none_counts_or_that_lack_ages_stop_nothing(self, judge):
        def invalid(steps: Steps) -> Steps:
            return dataclasses.replace(steps, valid={n: v & False for n, v in steps.valid.items()})

        assert judge(build_episode(steps=invalid), "timing.age") == []
        assert judge(build_episode(steps=lambda s: dataclasses.replace(s, age_ns={})), "timing.age") == []
        assert judge(build_episode(steps=lambda s: s.between(0, 0)), "timing.age") == []


def received(episode: Episode, *, ppm: float = 0.0, jump_ns: int = 0, seed: int = 0) -> Episode:
    """Give streams times of receipt, 3 ms late in the mean; the clock of `front` runs fast, and jumps half-way."""
    rng = np.random.default_rng(seed)
    streams = dict(episode.streams)
    for name in ("arm", "front"):
        time = streams[name].time_ns
        receive = time + np.round(rng.exponential(3 * MS, len(time))).astype(np.int64)
        stamps = time
        if name == "front":
            stamps = START_NS + np.round((time - START_NS) * (1 + ppm * 1e-6)).astype(np.int64)
            stamps = stamps + jump_ns * (np.arange(len(time)) > len(time) // 2)
        streams[name] = dataclasses.replace(streams[name], time_ns=stamps, receive_time_ns=receive)
    return dataclasses.replace(episode, streams=streams)


LONG = build_episode(build_embodiment(size=(16, 16)), duration_s=10.0, jitter_ns={"front": 2 * MS})


class TestClockDrift:
    @pytest.mark.parametrize(("ppm", "way"), [(500.0, "fast"), (-500.0, "slow")])
    def test_500_ppm_in_ten_seconds_are_found(self, judge, ppm, way):
        for seed in range(5):
            (finding,) = judge(received(LONG, ppm=ppm, seed=seed), "timing.clock_drift")
            assert finding.severity is Severity.WARNING
            assert finding.location == "/streams/front/time_ns"
            assert f" ppm {way} against the recorder's (" in finding.message

    def test_the_message_has_drift_uncertainty_and_threshold(self, judge):
        (finding,) = judge(received(LONG, ppm=500.0), "timing.clock_drift")
        assert finding.message == (
            "front's clock runs 502 ± 50 ppm fast against the recorder's (5.1 ms in 10.2 s); "
            "it must stay within 150 ppm"
        )

    @pytest.mark.parametrize("ppm", [0.0, 100.0, -100.0])
    def test_clocks_as_crystals_are_pass(self, judge, ppm):
        for seed in range(5):
            assert judge(received(LONG, ppm=ppm, seed=seed), "timing.clock_drift") == []

    def test_a_jump_is_found_with_its_place(self, judge):
        (finding,) = judge(received(LONG, jump_ns=20 * MS), "timing.clock_drift")
        assert finding.message.startswith("front's clock jumps by +2")
        assert "(frame 157); it must jump by no more than 5 ms" in finding.message
        assert finding.steps is not None

    def test_what_the_mapping_corrected_is_not_reported(self, judge):
        fast = received(LONG, ppm=500.0)
        fit = {"mode": "drift", "at_ns": START_NS, "fit_offset_ns": 0, "drift_ppm": -500.0}
        policy = {"step_clock": "grid", "streams": {"front": {"correct": fit}}}
        corrected = dataclasses.replace(fast, provenance={"sync": {"policy": policy}})
        assert judge(corrected, "timing.clock_drift") == []

    def test_a_queue_that_fills_and_empties_is_no_drift(self, judge):
        rng, front = np.random.default_rng(3), LONG.streams["front"]
        delay = np.zeros(len(front.time_ns))
        for i in range(1, len(delay)):
            delay[i] = 0.94 * delay[i - 1] + rng.normal(0, 0.85 * MS)
        receive = front.time_ns + np.round(delay - delay.min()).astype(np.int64)
        queued = dataclasses.replace(front, receive_time_ns=receive)
        queued = dataclasses.replace(LONG, streams={**LONG.streams, "front": queued})
        assert judge(queued, "timing.clock_drift") == []

    @pytest.mark.parametrize("receive", [np.zeros(0, np.int64), np.zeros(7, np.int64)])
    def test_times_of_receipt_of_another_length_stop_nothing(self, judge, receive):
        odd = dataclasses.replace(LONG.streams["arm"], receive_time_ns=receive)
        assert judge(dataclasses.replace(LONG, streams={"arm": odd}), "timing.clock_drift") == []


class TestAhead:
    def received(self, name, delay_ns, **knobs):
        episode = build_episode(**knobs)
        stream = episode.streams[name]
        late = dataclasses.replace(stream, receive_time_ns=stream.time_ns + delay_ns)
        return dataclasses.replace(episode, streams={**episode.streams, name: late})

    def test_stamps_ahead_of_their_receipt_are_of_another_clock(self, judge):
        (finding,) = judge(self.received("arm", -3_100_000), "timing.ahead")
        assert finding.severity is Severity.WARNING
        assert finding.location == "/streams/arm/time_ns"
        assert finding.message == (
            "arm's stamps are 3.1 ms ahead of their receipt (median; up to 3.1 ms); its clock and the recorder's "
            "differ by at least that, and it must be at most 1 ms"
        )

    def test_delays_and_a_declared_offset_pass(self, judge):
        assert judge(self.received("arm", 2_000_000), "timing.ahead") == []
        episode = self.received("arm", -37_000_000)
        assert len(judge(episode, "timing.ahead")) == 1
        policy = {"step_clock": "grid", "offset_ns": {"arm": -37_000_000}}
        declared = dataclasses.replace(episode, provenance={"sync": {"policy": policy}})
        assert judge(declared, "timing.ahead") == []

    def test_clocks_that_count_from_different_starts_are_not_compared(self, judge):
        assert judge(self.received("arm", -(10**18)), "timing.ahead") == []

    def test_the_stamps_of_a_real_robot_are_ahead_of_its_bag(self, cli, shared_data, tmp_path):
        schema = tmp_path / "kuka.yaml"
        recording = shared_data / "kuka_joint_states_ros1_bag"
        assert cli("schema", "draft", recording, "--name", "kuka", "-o", schema).returncode == 0
        assert cli("ingest", recording, "-s", schema, "-o", tmp_path / "out").returncode == 0
        report = json.loads(cli("validate", tmp_path / "out", "--select", "timing.ahead", "--json").stdout)
        assert report["findings"]
        assert all("ms ahead of their receipt" in f["message"] for f in report["findings"])
