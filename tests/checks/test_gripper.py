import numpy as np
import pytest

from vladata.checks import CheckSettings, run_checks
from vladata.finding import Severity
from vladata.testing.builders import build_embodiment, build_episode
from vladata.units import Clock


def toggled(start, count, width, low=0.0, high=1.0, column=3):
    """A gripper that is open but for so many short closings."""

    def change(values):
        values[:, column] = high
        for i in range(count):
            first = start + 2 * i * width
            values[first : first + width, column] = low
        return values

    return change


class TestChatter:
    def test_many_changes_of_direction_are_told_with_time_and_size(self, judge):
        episode = build_episode(values={"command": toggled(60, 5, 10)}, duration_s=6.0)
        (finding,) = judge(episode, "gripper.chatter")
        assert finding.severity is Severity.WARNING
        assert finding.message == (
            "command.gripper changes its direction 9 times within 2 s from 1.18 s (sample 69) on, each time by more "
            "than 0.1 (9 times in all); it must be less than 6"
        )
        assert finding.dimensions == ("gripper",)
        assert finding.magnitude == 9
        assert finding.steps is not None
        assert finding.steps[0] == 11

    def test_closing_and_opening_again_passes(self, judge):
        for count, width in ((1, 20), (2, 20), (5, 40)):
            episode = build_episode(values={"command": toggled(60, count, width)}, duration_s=10.0)
            assert judge(episode, "gripper.chatter") == []

    @pytest.mark.parametrize("deviation", [0.001, 0.01, 0.04])
    def test_a_noisy_aperture_passes(self, judge, deviation):
        def noise(values):
            values[:, 3] += np.random.default_rng(1).normal(0, deviation, size=len(values))
            return values

        for duration in (2.0, 10.0):
            assert judge(build_episode(values={"arm": noise}, duration_s=duration), "gripper.chatter") == []

    def test_chatter_of_a_noisy_aperture_is_found(self, judge):
        def noise(values):
            values = toggled(100, 5, 20)(values)
            values[:, 3] += np.random.default_rng(1).normal(0, 0.01, size=len(values))
            return values

        assert len(judge(build_episode(values={"arm": noise}, duration_s=6.0), "gripper.chatter")) == 1

    def test_small_changes_count_if_the_threshold_says_so(self):
        episode = build_episode(values={"command": toggled(60, 5, 10, low=0.95)}, duration_s=6.0)
        assert run_checks(episode, select=["gripper.chatter"]) == []
        settings = CheckSettings(select=("gripper",), rules={"gripper.chatter": {"amplitude": 0.02}})
        assert len(run_checks(episode, settings=settings)) == 1

    @pytest.mark.parametrize("rate", [5.0, 10.0, 30.0])
    def test_without_time_steps_are_counted(self, judge, rate):
        width = max(1, round(rate / 5))
        episode = build_episode(
            build_embodiment(rate_hz=rate, cameras=()),
            values={"command": toggled(width, 5, width)},
            duration_s=4.0,
            is_stepped=True,
            clock=Clock.NOMINAL,
        )
        (finding,) = judge(episode, "gripper.chatter")
        assert f" times within {2 * rate:.0f} steps from sample " in finding.message

    @pytest.mark.parametrize("factor", [0.0, np.nan, np.inf, 1e306])
    @pytest.mark.parametrize("duration_s", [0.0, 0.1, 2.0])
    def test_odd_values_stop_nothing(self, factor, duration_s):
        values = {n: lambda v: (v + 9) * factor for n in ("arm", "command")}
        episode = build_episode(duration_s=duration_s, values=values)
        assert [f for f in run_checks(episode, select=["gripper"]) if f.traceback] == []

    def test_a_good_episode_passes(self, judge):
        assert judge(build_episode(duration_s=10.0), "gripper.chatter") == []
