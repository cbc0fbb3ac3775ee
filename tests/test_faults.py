"""The proof of the checks by injected faults: does the machinery work, and are clean generated episodes quiet?"""

import dataclasses

import numpy as np
import pytest

from benchmarks.faults import catalogue, generated, in_meaning, in_time, runner, table
from benchmarks.faults.case import episode_of
from vladata.checks import check_names
from vladata.errors import SyncError
from vladata.finding import Severity

FOUND = ("nan", "gap", "beyond_limit", "frame_size", "exact_copy", "no_instruction", "too_fast", "dead_joint")
PLAN = runner.Plan(families=("generated",), num_groups=1, group_size=4, workers=0)


@pytest.fixture(scope="module")
def results():
    return runner.run(dataclasses.replace(PLAN, only=FOUND))


def test_every_fault_of_the_page_has_a_function_and_its_check():
    documented = catalogue.documented()
    assert len(documented) > 70
    assert {n: f.check for n, f in catalogue.faults().items()} == {n: check for n, (_, check) in documented.items()}


def test_faults_are_caught_by_the_check_that_is_meant_for_them(results):
    missed = [f"{i.fault} {i.strength}: {i.said or i.problem}" for i in results.injected if i.severity == 0]
    assert missed == []
    assert {i.fault for i in results.injected} == set(FOUND)
    assert {i.strength for i in results.injected} == {0, 1, 2}


def test_clean_generated_episodes_are_quiet(results):
    assert [(c.name, s) for c in results.clean for s in c.said if s[1] >= Severity.WARNING] == []
    assert len(results.clean) == 4


def test_the_same_seed_gives_the_same_episodes():
    first, second = (generated.generate(3, 2) for _ in range(2))
    assert [episode_of(c).content_digest for c in first] == [episode_of(c).content_digest for c in second]
    assert episode_of(first[0]).content_digest != episode_of(first[1]).content_digest


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_every_fault_of_a_variant_changes_the_episode(seed):
    group = generated.generate(seed, 4)
    before = [dataclasses.astuple(_seen(c)) for c in group]
    for fault in catalogue.faults().values():
        if group[0].variant not in fault.on or fault.repeat is not None:
            continue
        changed = fault.inject(group, 1, fault.levels[0], np.random.default_rng(5))
        if changed is None:
            continue
        assert changed, fault.name
        for i, case in changed.items():
            assert i >= len(group) or dataclasses.astuple(_seen(case)) != before[i], fault.name


@dataclasses.dataclass
class Seen:
    content: str
    schema: str
    mapping: str
    labels: str


def _seen(case):
    try:
        content = episode_of(case).content_digest
    except SyncError as error:
        content = str(error)
    recording = case.recording
    labels = f"{recording.instructions}{recording.outcomes}{recording.metadata}"
    return Seen(content, case.embodiment.digest, case.mapping.digest, labels)


def test_halves_are_apart_and_hold_every_variant():
    halves = {h: {s for s in range(32) if runner._half_of(s, 32) == h} for h in ("tuning", "reporting")}
    assert halves["tuning"].isdisjoint(halves["reporting"])
    for half in halves.values():
        assert len(half) == 16
        assert {generated.variant_of(s) for s in half} == {"joint", "pose", "delta", "stepped"}


def test_the_table_names_what_was_caught_and_checks_that_do_not_exist(results):
    invented = dataclasses.replace(results.injected[0], fault="saturated")
    shown = table.markdown(dataclasses.replace(results, injected=[*results.injected, invented]))
    assert "| nan | values.finite | 3 | 1 of 1 | 1 of 1 | 1 of 1 | 3 of 3 |" in shown
    if "motion.saturation" not in check_names():
        assert "| saturated | motion.saturation | 1 | no such check | | | |" in shown


def test_the_table_lists_what_was_missed_and_what_was_said_instead(results):
    missed = dataclasses.replace(
        results.injected[0], severity=0, said=(("values.limits", Severity.ERROR, "a"), ("values.limits", 2, "b"))
    )
    shown = table.markdown(dataclasses.replace(results, injected=[missed, *results.injected[1:]]))
    assert f"| {missed.fault} | weakest | {missed.name} | values.limits |" in shown
    assert "| none | | | |" in table.markdown(results)


def test_the_table_counts_errors_of_those_checks_alone_that_give_errors(results):
    errors = ("nan", "beyond_limit", "frame_size", "no_instruction")
    count = sum(i.fault in errors for i in results.injected)
    assert f"caught as error: 100.0 % ({count} of {count})" in table.markdown(results)


@pytest.fixture(scope="module")
def case():
    return generated.generate(0, 1)[0]


@pytest.mark.parametrize("level", [3, 40])
def test_a_clock_that_is_ahead_is_so_by_that_much(case, level):
    changed = in_time.clock_ahead.inject([case], 0, level, np.random.default_rng(1))[0]
    lead_ms = [
        np.median(s.time_ns - s.receive_time_ns) / 1e6
        for n, s in changed.recording.streams.items()
        if s is not case.recording.streams[n]
    ]
    assert lead_ms == pytest.approx([level], abs=0.01)


def test_actions_are_as_late_as_the_robot_and_a_step_more(case):
    lag_s = in_meaning._lag_s(case)
    assert 0.05 < lag_s < 0.2
    changed = in_meaning.effect_before_cause.inject([case], 0, 1, np.random.default_rng(1))[0]
    late = changed.stream("command").time_ns - case.stream("command").time_ns
    assert set(late) == {round(lag_s * 1e9) + case.step_ns}


def test_a_group_without_faults_lists_false_alarms(results):
    noisy = dataclasses.replace(results.clean[0], said=(("values.finite", Severity.ERROR, "arm has one"),))
    assert list(table.alarms(dataclasses.replace(results, clean=[noisy]))) == [
        "values.finite (error) group_00/demo_000.mcap: arm has one"
    ]


def test_the_table_goes_between_the_markers_and_can_be_written_again(results, tmp_path, monkeypatch):
    page = tmp_path / "faults.md"
    page.write_text(catalogue.PAGE.read_text())
    monkeypatch.setattr(table, "PAGE", page)
    missed = dataclasses.replace(results.injected[0], severity=0, said=(("values.limits", Severity.ERROR, "a"),))
    results = dataclasses.replace(results, injected=[missed, *results.injected])
    table.write(results)
    once = page.read_text()
    table.write(results)
    assert page.read_text() == once
    assert once.count("| nan | values.finite | 3 |") == 1
    assert once.count(f"| {missed.fault} | weakest | {missed.name} | values.limits |") == 1
    monkeypatch.setattr(catalogue, "PAGE", page)
    assert list(catalogue.documented()) == list(catalogue.faults())


def test_intervals_are_wilsons():
    assert table._interval(0, 245) == "0.0 to 1.5 %"
    assert table._interval(5, 10) == "23.7 to 76.3 %"
