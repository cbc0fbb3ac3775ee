"""Latencies by cross-correlation: recovered where there is motion, refused where there is none."""

import csv

import numpy as np
import pytest

from vladata.sync.latency import Motion, estimate_latency, speed_of

MS = 1_000_000


def ns(seconds):
    return np.round(np.asarray(seconds) * 1e9).astype(np.int64)


def movement(rng, dims=6):
    """A smooth movement of several joints, as a function of time."""
    rate, phase = rng.uniform(0.1, 1.2, (dims, 5)), rng.uniform(0, 6, (dims, 5))
    size = rng.uniform(0.05, 0.3, (dims, 5))

    def at(t):
        return np.stack(
            [(size[d] * np.sin(2 * np.pi * rate[d] * t[:, None] + phase[d])).sum(1) for d in range(dims)], 1
        )

    return at


@pytest.mark.parametrize("seed", range(8))
def test_the_lag_of_a_state_after_its_command_is_recovered_within_its_uncertainty(seed):
    rng = np.random.default_rng(seed)
    duration, lag = rng.choice([8, 20, 60]), rng.uniform(-0.05, 0.4)
    at = movement(rng)
    commanded = np.arange(0, duration, 1 / 50) + rng.normal(0, 1e-3, int(duration * 50))
    measured = np.arange(0, duration, 1 / 100) + rng.normal(0, 1e-3, int(duration * 100))
    state = at(measured - lag) + rng.normal(0, 1e-3, (len(measured), 6))
    state[:, 5] = 0.25  # a joint that is locked
    found = estimate_latency(speed_of(ns(commanded), at(commanded)), speed_of(ns(measured), state))
    assert abs(found.latency_ns - lag * 1e9) <= found.uncertainty_ns
    assert found.uncertainty_ns < 20 * MS
    assert 5 not in found.used


def test_gaps_do_not_count():
    rng = np.random.default_rng(1)
    at = movement(rng)
    t = np.arange(0, 30, 0.02)
    kept = np.ones(len(t), dtype=bool)
    kept[200:450] = kept[900:1000] = False
    found = estimate_latency(speed_of(ns(t[kept]), at(t[kept])), speed_of(ns(t), at(t - 0.12)))
    assert abs(found.latency_ns - 120 * MS) <= found.uncertainty_ns


def test_standing_still_is_not_measurable():
    t = ns(np.arange(0, 20, 0.02))
    rng = np.random.default_rng(0)
    still = rng.normal(0, 1e-4, (len(t), 3))
    found = estimate_latency(speed_of(t, np.ones((len(t), 3))), speed_of(t, still))
    assert found.latency_ns is None
    assert "too little common motion" in found.reason


def test_motions_that_have_nothing_to_do_with_each_other_give_no_lag():
    for seed in range(25):
        rng = np.random.default_rng(seed)
        t = np.arange(0, rng.choice([8, 20, 60]), 0.02)
        walks = [np.cumsum(np.convolve(rng.normal(0, 1, len(t) + 49), np.hanning(50), "valid")) for _ in range(2)]
        found = estimate_latency(*(speed_of(ns(t), w[:, None]) for w in walks))
        assert found.latency_ns is None


def test_a_motion_that_repeats_itself_is_ambiguous():
    t = np.arange(0, 30, 0.02)
    lead, follow = np.sin(2 * np.pi * 1.5 * t), np.sin(2 * np.pi * 1.5 * (t - 0.1))
    found = estimate_latency(speed_of(ns(t), lead[:, None]), speed_of(ns(t), follow[:, None]))
    assert found.latency_ns is None
    assert "the motion repeats itself" in found.reason


def test_a_lag_beyond_what_is_looked_at_is_not_measurable():
    at = movement(np.random.default_rng(3), 3)
    t = np.arange(0, 30, 0.02)
    found = estimate_latency(
        speed_of(ns(t), at(t)), speed_of(ns(t), at(t - 0.3)), earliest_ns=-100 * MS, latest_ns=200 * MS
    )
    assert found.latency_ns is None


@pytest.mark.parametrize("count", [0, 1, 5, 60])
def test_too_few_samples_are_said(count):
    t = ns(np.arange(count) * 0.02)
    motion = speed_of(t, np.arange(count, dtype=np.float64)[:, None])
    found = estimate_latency(motion, motion)
    assert found.latency_ns is None
    assert found.reason


def test_rows_that_are_not_finite_and_equal_stamps_are_left_out():
    t = np.array([0, 10, 10, 20, 30, 25, 40], dtype=np.int64)
    values = np.array([[0.0], [1], [9], [np.nan], [3], [8], [4]])
    motion = speed_of(t, values)
    assert motion.time_ns.tolist() == [5, 20, 35]
    np.testing.assert_allclose(motion.values[:, 0] * 1e-9, [0.1, 0.1, 0.1])
    assert isinstance(motion, Motion)


@pytest.mark.parametrize(("run", "measured_ms"), [("run_20260514_203014", 396.323), ("run_20260514_203812", 380.971)])
def test_the_measured_latency_of_a_real_arm_is_found(shared_data, run, measured_ms):
    """A UR10 under a joystick. Its log says when motion begins after a command; the correlation also sees how the
    controller rounds the motion off, which comes a little later.
    """
    path = shared_data / "csv_robot_logs" / "act_train" / "latency_runs" / run / "data.csv"
    rows = list(csv.DictReader(path.read_text().splitlines()))
    time_ns = ns([float(r["t_rel_s"]) for r in rows])
    target, tool = (np.array([[float(r[f"{n}_{a}"]) for a in "xyz"] for r in rows]) for n in ("target", "tcp"))
    found = estimate_latency(speed_of(time_ns, target), speed_of(time_ns, tool))
    assert measured_ms - 10 < found.latency_ns / 1e6 < measured_ms + 40
    assert abs(found.latency_ns / 1e6 - measured_ms) <= found.uncertainty_ns / 1e6
    assert found.correlation > 0.95
    assert 2 not in found.used  # nothing was commanded upward
