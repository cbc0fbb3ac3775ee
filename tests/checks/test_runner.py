import dataclasses

import numpy as np
import pytest

from vladata import checks
from vladata.checks import (
    Check,
    CheckSettings,
    check_names,
    feature,
    find_check,
    labels,
    run_checks,
    selected_names,
    timing,
)
from vladata.errors import ImageError, PluginNotFoundError
from vladata.finding import Finding, Severity
from vladata.testing.builders import build_episode
from vladata.testing.facts import build_fact


def add_check(monkeypatch, function, name="timing.mine", severity=Severity.WARNING):
    mine = Check(name=name, severity=severity, function=function, summary="A rule.")
    monkeypatch.setattr(timing, "mine", mine, raising=False)
    return mine


class TestFeatures:
    def test_arrays_of_another_form_are_no_measurements(self):
        @feature(dtype="float32", shape=(2, -1))
        def size(_):
            return None

        good = np.zeros((2, 3), np.float32)
        odd = (np.zeros((2, 3)), np.zeros((3, 2), np.float32), np.zeros(2, np.float32), np.zeros((2, 3, 1), np.float32))
        assert size.of(build_fact(1, features={size.name: good})) is good
        assert [size.of(build_fact(1, features={size.name: a})) for a in odd] == [None] * 4
        assert size.of(build_fact(1)) is None


class TestNames:
    def test_names_are_the_module_and_the_function_sorted(self):
        names = check_names()
        assert names == sorted(names)
        assert {"timing.gaps", "values.limits", "camera.black", "duplicates.equal_content"} <= set(names)
        assert find_check("timing.gaps") is timing.gaps

    def test_every_check_says_its_rule_in_a_sentence(self):
        for name in check_names():
            summary = find_check(name).summary
            assert summary.endswith(".")
            assert summary[0].isupper()

    def test_importing_checks_imports_no_heavy_package(self):
        import subprocess
        import sys

        code = (
            "import sys, vladata.checks; vladata.checks.check_names(); print('cv2' in sys.modules, 'av' in sys.modules)"
        )
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        assert out.split() == ["False", "False"]


class TestSelection:
    def test_names_topics_and_patterns_select(self):
        assert selected_names(["labels.outcome"]) == ["labels.outcome"]
        assert (
            selected_names(["labels"])
            == selected_names(["labels.*"])
            == [n for n in check_names() if n.startswith("labels.")]
        )
        assert selected_names() == check_names()
        assert "labels.outcome" not in selected_names(None, ["labels.out*"])

    def test_the_order_does_not_depend_on_the_order_of_asking(self):
        assert selected_names(["values", "labels"]) == selected_names(["labels", "values"])

    @pytest.mark.parametrize(
        ("wrong", "hint"),
        [
            ("timing.gap", "did you mean 'timing.gaps'?"),
            ("valeus", "did you mean 'values'?"),
            ("xyzzy*", "there are: "),
        ],
    )
    def test_unknown_names_are_refused_with_the_nearest_one(self, wrong, hint):
        for call in (
            lambda: run_checks(build_episode(), [wrong]),
            lambda: run_checks(build_episode(), None, [wrong]),
            lambda: selected_names([wrong]),
            lambda: find_check(wrong),
            lambda: CheckSettings(select=(wrong,)),
        ):
            with pytest.raises(PluginNotFoundError) as caught:
                call()
            assert str(caught.value).startswith(f"no check named {wrong!r}; {hint}")

    def test_dataset_checks_do_not_run_on_episodes(self):
        assert run_checks(build_episode(), ["duplicates"]) == []


class TestFindings:
    def test_the_runner_fills_in_check_severity_and_episode(self):
        episode = build_episode(outcomes=())
        (finding,) = run_checks(episode)
        assert (finding.check, finding.severity) == ("labels.outcome", Severity.INFO)
        assert finding.episode_id == episode.episode_id

    def test_severities_can_be_changed_without_changing_the_check(self):
        episode = build_episode(outcomes=())
        settings = CheckSettings(rules={"labels.outcome": {"severity": "error"}})
        (finding,) = run_checks(episode, settings=settings)
        assert finding.severity is Severity.ERROR
        assert labels.outcome.severity is Severity.INFO

    def test_two_runs_find_the_same_in_the_same_order(self):
        episode = build_episode(outcomes=(), instructions=(), values={"arm": lambda v: v + 9.0})
        first = run_checks(episode)
        assert len(first) > 4
        assert first == run_checks(episode)
        assert [f.check for f in first] == sorted(f.check for f in first)


class TestCrash:
    def test_a_check_that_crashes_is_an_error_with_its_traceback_and_the_run_goes_on(self, monkeypatch):
        def crash(episode):
            yield Finding(message="seen before")
            raise ZeroDivisionError("no\nepisode")

        add_check(monkeypatch, crash)
        findings = run_checks(build_episode(outcomes=()), ["labels.outcome", "timing"])
        assert [(f.check, f.severity) for f in findings] == [
            ("labels.outcome", Severity.INFO),
            ("timing.mine", Severity.WARNING),
            ("timing.mine", Severity.ERROR),
        ]
        assert findings[2].message == "the check crashed with ZeroDivisionError: no"
        assert "in crash" in findings[2].traceback
        assert findings[2].episode_id

    def test_a_check_that_is_no_generator_may_crash_too(self, monkeypatch):
        def crash(episode):
            raise KeyError("x")

        add_check(monkeypatch, crash)
        (finding,) = run_checks(build_episode(), ["timing.mine"])
        assert finding.message == "the check crashed with KeyError: 'x'"

    def test_an_error_of_vladata_needs_no_traceback(self, monkeypatch):
        def fail(episode):
            raise ImageError("image is odd")

        add_check(monkeypatch, fail)
        (finding,) = run_checks(build_episode(), ["timing.mine"])
        assert (finding.message, finding.traceback) == ("could not run: image is odd", "")
        assert finding.severity is Severity.ERROR

    @pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
    def test_what_ends_the_process_is_not_caught(self, monkeypatch, error):
        def end(episode):
            raise error

        add_check(monkeypatch, end)
        with pytest.raises(error):
            run_checks(build_episode(), ["timing.mine"])


def test_dataset_checks_that_crash_are_findings_too(monkeypatch):
    def crash(facts):
        raise RuntimeError("nothing to compare")

    monkeypatch.setattr(
        timing, "mine", dataclasses.replace(checks.duplicates.equal_content, function=crash), raising=False
    )
    findings = checks.run_dataset_checks([], ["duplicates"])
    assert [f.message for f in findings] == ["the check crashed with RuntimeError: nothing to compare"]
