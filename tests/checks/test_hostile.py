"""Whatever a recording holds, a check answers with findings."""

import dataclasses

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vladata.checks import run_checks
from vladata.embodiment import StreamRule
from vladata.finding import Report
from vladata.report.as_json import from_json, to_json
from vladata.testing.builders import START_NS, build_embodiment, build_episode

RULES = {
    "arm": StreamRule(rate_hz=100.0, jitter_ms=1.0, max_age_ms=50.0),
    "command": StreamRule(rate_hz=50.0, max_age_ms=100.0),
}
EMBODIMENT = build_embodiment(cameras=(), rules=RULES)

floats = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, 2.0, -2.0, np.nan, np.inf, -np.inf, 1e308, -1e308, 5e-324]), st.floats(-3, 3)
)
far = st.integers(-(2**62), 2**62 - 1)
near = st.integers(START_NS - 10**9, START_NS + 3 * 10**9)


def spread(drawn):
    """Put drawn numbers at even places into an array."""

    def change(array):
        flat = array.reshape(-1)
        places = np.linspace(0, len(flat) - 1, len(drawn)).astype(int)
        flat[places] = drawn
        return array

    return change


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    values=hnp.arrays(np.float64, st.integers(1, 40), elements=floats),
    stamps=st.lists(st.one_of(near, far), max_size=30).map(lambda x: np.array(x, np.int64)),
    keep=st.integers(0, 21),
    duration_s=st.sampled_from([0.0, 0.1, 2.0]),
)
def test_no_check_crashes_and_every_report_can_be_written(values, stamps, keep, duration_s):
    episode = build_episode(
        EMBODIMENT,
        duration_s=duration_s,
        values={"arm": spread(values), "command": spread(values[::-1])},
        stamps={"arm": spread(stamps)},
        steps=lambda s: s.between(0, keep),
    )
    findings = run_checks(episode)
    assert [f.message for f in findings if f.traceback] == []
    report = Report(findings=tuple(findings))
    assert from_json(to_json(report)) == report
    for finding in findings:
        if finding.steps is not None:
            assert 0 <= finding.steps[0] < finding.steps[1] <= len(episode)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    receive=st.lists(st.one_of(near, far), min_size=1, max_size=30).map(lambda x: np.array(x, np.int64)),
    stamps=st.lists(st.one_of(near, far), max_size=30).map(lambda x: np.array(x, np.int64)),
    ages=hnp.arrays(np.int64, 21, elements=far),
)
def test_times_of_receipt_and_ages_of_any_size_stop_no_check(receive, stamps, ages):
    def age(steps):
        return dataclasses.replace(steps, age_ns={**steps.age_ns, "arm": ages})

    episode = build_episode(EMBODIMENT, stamps={"arm": spread(stamps)}, steps=age)
    arm = episode.streams["arm"]
    arm = dataclasses.replace(arm, receive_time_ns=spread(receive)(arm.time_ns.copy()))
    findings = run_checks(dataclasses.replace(episode, streams={**episode.streams, "arm": arm}))
    assert [f.message for f in findings if f.traceback] == []
    report = Report(findings=tuple(findings))
    assert from_json(to_json(report)) == report


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_steps_in_any_order_stop_no_check(data):
    def scramble(steps):
        time = data.draw(hnp.arrays(np.int64, len(steps), elements=near))
        valid = {n: data.draw(hnp.arrays(np.bool_, len(steps))) for n in steps.valid}
        return dataclasses.replace(steps, time_ns=time, valid=valid)

    findings = run_checks(build_episode(EMBODIMENT, steps=scramble))
    assert [f.message for f in findings if f.traceback] == []
