import dataclasses
import re

import pytest

from vladata.checks import run_checks, selected_names
from vladata.finding import Finding, Report, Severity
from vladata.report.terminal import render
from vladata.testing.builders import build_episode
from vladata.units import Clock

IDS = [f"{i:032x}" for i in range(40)]
EVIL = "\x1b[2J\x1b]0;owned\x07\x9b31mred\r\nsecond line\u202e"


def finding(episode=0, check="values.limits", severity=Severity.ERROR, magnitude=1.0, **more):
    message = more.pop("message", f"arm.joint_1 is {magnitude:g} rad; the schema allows -1 to 1 rad")
    return Finding(
        message=message, check=check, severity=severity, magnitude=magnitude, episode_id=IDS[episode], **more
    )


def report(*findings, episodes=3, checks=("labels.outcome", "values.finite", "values.limits")):
    return Report(findings=findings, episodes=dict.fromkeys(IDS[:episodes], "d" * 64), checks=tuple(checks))


PLACES = {i: f"train#{k:05d}" for k, i in enumerate(IDS)}


def test_the_report_as_a_whole():
    shown = render(
        report(
            finding(0, magnitude=3.0, steps=(4, 5)),
            finding(0, "labels.outcome", Severity.INFO, message="no outcome"),
            finding(1, magnitude=70.0, steps=(4, 9)),
            Finding(message="train#00000, val#00000 are equal", check="duplicates.equal_content",
                    severity=Severity.WARNING, others=(IDS[0], IDS[2])),
        ),
        PLACES,
    )  # fmt: skip
    assert (
        shown
        == """\
check                     severity  episodes  worst case
values.limits             error            2  arm.joint_1 is 70 rad; the schema…
duplicates.equal_content  warning          2  train#00000, val#00000 are equal
labels.outcome            info             1  no outcome

train#00000 (00000000)
error     values.limits [step 4]: arm.joint_1 is 3 rad; the schema allows -1 to
          1 rad

train#00001 (00000000)
error     values.limits [steps 4 to 8]: arm.joint_1 is 70 rad; the schema allows
          -1 to 1 rad

the dataset
warning   duplicates.equal_content: train#00000, val#00000 are equal

Nothing found by values (finite).
3 episodes, 3 checks: 2 errors, 1 warning, 1 info"""
    )


def test_a_clean_report_says_what_was_looked_at():
    assert render(report(), PLACES) == (
        "Nothing found by labels (outcome), values (all 2).\n3 episodes, 3 checks: 0 errors, 0 warnings, 0 info"
    )


@pytest.mark.parametrize("width", [60, 80, 133])
@pytest.mark.parametrize("color", [False, True])
def test_lines_are_never_wider_than_the_terminal(width, color):
    many = [finding(i % 20, magnitude=float(i), steps=(i, i + 1)) for i in range(60)]
    many.append(finding(3, message="任务" * 90, severity=Severity.WARNING, check="labels.placeholder"))
    from rich.text import Text

    shown = render(report(*many, episodes=20), {**PLACES, IDS[3]: "a/very/long/" * 12}, width=width, color=color)
    assert max(Text.from_ansi(line).cell_len for line in shown.splitlines()) <= width


def test_text_out_of_recordings_can_not_steer_the_terminal():
    bad = finding(0, message=EVIL, steps=(1, 2))
    shown = render(report(bad), {IDS[0]: f"evil{EVIL}"})
    assert all(c == "\n" or c.isprintable() for c in shown)
    assert "owned" not in shown
    colored = render(report(bad), {IDS[0]: f"evil{EVIL}"}, color=True)
    assert "\x1b[2J" not in colored
    assert "\x1b]" not in colored


def test_markup_in_messages_is_shown_as_it_is():
    assert "[bold]loud[/bold] :smile:" in render(report(finding(0, message="[bold]loud[/bold] :smile:")), PLACES)


def test_no_escape_codes_without_color_whatever_the_environment_says(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "20")
    assert "\x1b" not in render(report(finding(0)), PLACES)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b[1;31m" in render(report(finding(0)), PLACES, color=True)


def test_long_lists_are_cut_and_counted():
    shown = render(report(*[finding(i // 6, magnitude=i) for i in range(120)], episodes=20), PLACES)
    assert shown.count("and 2 more; --json has all") == 8
    assert "and 12 more episodes; --json has all" in shown
    assert "120 errors" in shown


def test_episodes_of_the_same_findings_are_shown_once():
    shown = render(report(*[finding(i) for i in range(20)], finding(20, magnitude=9.0), episodes=21), PLACES)
    assert "train#00000 (00000000) and 19 episodes like it\nerror" in shown
    assert shown.count("arm.joint_1 is 1 rad") == 1
    assert shown.count("\nerror ") == 2


def test_errors_come_before_warnings_and_notes_stay_in_the_table():
    shown = render(
        report(
            finding(0, "labels.outcome", Severity.INFO, message="no outcome"),
            finding(1, "timing.gaps", Severity.WARNING, message="a gap"),
            finding(2, message="an error"),
        ),
        PLACES,
    )
    assert shown.index("train#00002") < shown.index("train#00001")
    assert "train#00000" not in shown


def test_episodes_of_unknown_place_show_their_id():
    assert f"\n{IDS[5]}\n" in render(report(finding(5)), {})


def nominal_report(num_nominal, num_timed):
    episodes = [build_episode(seed=i, is_stepped=True, clock=Clock.NOMINAL) for i in range(num_nominal)]
    episodes += [build_episode(seed=10 + i) for i in range(num_timed)]
    return Report(
        findings=tuple(f for e in episodes for f in run_checks(e)),
        episodes={e.episode_id: e.content_digest for e in episodes},
        checks=tuple(selected_names()),
    )


def test_without_recorded_time_no_timing_check_is_said_to_have_found_nothing():
    shown = " ".join(render(nominal_report(2, 0), {}).split())
    assert (
        "Not measured in 2 of 2 episodes, where streams have no recorded time: motion (acceleration), timing (" in shown
    )
    assert re.search(r"Nothing found by camera \(all \d+\)", shown)
    silent = shown.partition("Nothing found by")[2]
    assert "gaps" not in silent
    assert "velocity" not in silent
    assert "step_order" in silent


def test_with_some_recorded_time_both_are_said():
    shown = " ".join(render(nominal_report(1, 1), {}).split())
    assert "Not measured in 1 of 2 episodes" in shown
    silent = shown.partition("Nothing found by")[2]
    assert re.search(r"timing \(all \d+\)", silent)


def test_checks_that_are_not_known_here_are_shown_too():
    unknown = dataclasses.replace(finding(0), check="acme.rule")
    assert "acme.rule" in render(report(unknown, checks=("acme.rule", "acme.other")), PLACES)


def test_what_a_baseline_knows_and_what_was_set_are_one_line_each():
    made = report(
        finding(0),
        dataclasses.replace(finding(1), is_known=True),
        dataclasses.replace(finding(2, "labels.outcome", Severity.INFO), is_known=True),
    )
    made = dataclasses.replace(
        made, thresholds={"values.limits": {"severity": "warning"}, "timing.gaps": {"periods": 2.0}}
    )
    shown = render(made, PLACES)
    assert "train#00001" not in shown
    assert shown.endswith(
        "Nothing found by values (finite).\n2 findings are known by the baseline.\n"
        "Thresholds set: timing.gaps.periods = 2, values.limits.severity = warning.\n"
        "3 episodes, 3 checks: 1 error, 0 warnings, 0 info"
    )


def test_findings_of_an_episode_that_come_apart_are_shown_together():
    apart = [
        finding(0),
        finding(1),
        Finding(message="odd one", check="dataset.outliers", severity=Severity.WARNING, episode_id=IDS[0]),
    ]
    shown = render(report(*apart), PLACES)
    assert shown.count("train#00000") == 1
    assert "joint_1 is 1 rad; the schema allows -1 to 1 rad\nwarning   dataset.outliers: odd one" in " ".join(
        shown.split("\n          ")
    )
