"""Statistics: equal to numpy and to exact fractions, whatever the parts and the memory."""

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vladata.actions.statistics import (
    Statistics,
    StatisticsAccumulator,
    gather_statistics,
    openpi_layout,
    openvla_layout,
)
from vladata.documents import canonical_json
from vladata.errors import ExportError, TokenizeError

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "openvla_normalization.npz"
NAMES = ("arm.x", "arm.y")

values = st.floats(-1e6, 1e6) | st.sampled_from([0.0, -0.0, 0.25, 1e-300, -1e-300, 5e-324, 1e90])
tables = hnp.arrays(np.float64, st.tuples(st.integers(1, 60), st.just(2)), elements=values)


def of(rows: np.ndarray, budget_bytes: int = 1 << 20) -> Statistics:
    return gather_statistics(lambda: [rows], NAMES[: rows.shape[1]], budget_bytes=budget_bytes)


@settings(max_examples=200)
@given(tables, st.sampled_from([0, 400, 1 << 20]))
def test_quantiles_and_ends_equal_numpy_to_the_last_bit(rows: np.ndarray, budget_bytes: int) -> None:
    found = of(rows, budget_bytes)

    np.testing.assert_array_equal(found.q01, np.quantile(rows, 0.01, axis=0))
    np.testing.assert_array_equal(found.q99, np.quantile(rows, 0.99, axis=0))
    np.testing.assert_array_equal(found.min, rows.min(axis=0))
    np.testing.assert_array_equal(found.max, rows.max(axis=0))
    assert found.count == len(rows)


@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 40), st.just(1)), elements=st.floats(-1e6, 1e6)))
def test_mean_and_deviation_are_the_exact_ones(rows: np.ndarray) -> None:
    exact = [Fraction(float(v)) for v in rows[:, 0]]
    mean = sum(exact, Fraction(0)) / len(exact)
    variance = sum(((v - mean) ** 2 for v in exact), Fraction(0)) / len(exact)

    found = of(rows)

    assert found.mean == (float(mean),)
    assert found.std[0] == pytest.approx(math.sqrt(variance), rel=1e-15, abs=1e-150)


def test_a_constant_far_from_zero_deviates_by_nothing() -> None:
    found = of(np.full((1000, 1), 12345.678901))

    assert found.std == (0.0,)
    assert found.mean == found.min == found.max == found.q01 == (12345.678901,)


@settings(max_examples=100)
@given(tables, st.lists(st.integers(0, 60), max_size=5), st.sampled_from([0, 300, 1 << 20]), st.randoms())
def test_parts_order_and_memory_do_not_matter(
    rows: np.ndarray, places: list[int], budget_bytes: int, random: Random
) -> None:
    order = list(range(len(rows)))
    random.shuffle(order)
    parts = np.split(rows[order], sorted(p for p in places if p <= len(rows)))

    found = gather_statistics(lambda: parts, NAMES, budget_bytes=budget_bytes)

    assert canonical_json(found.to_dict()) == canonical_json(of(rows).to_dict())


def test_large_data_takes_more_passes_and_little_memory() -> None:
    passes = 0

    def parts() -> Iterator[np.ndarray]:
        nonlocal passes
        passes += 1
        generator = np.random.default_rng(8)
        for _ in range(40):
            yield generator.normal(3, 0.2, (2000, 2)).astype(np.float32)

    found = gather_statistics(parts, NAMES, budget_bytes=100_000)

    rows = np.concatenate([p.astype(np.float64) for p in parts()])
    assert passes - 1 == 2
    np.testing.assert_array_equal(found.q01, np.quantile(rows, 0.01, axis=0))
    np.testing.assert_array_equal(found.q99, np.quantile(rows, 0.99, axis=0))
    np.testing.assert_allclose(found.mean, rows.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.std, rows.std(axis=0), rtol=1e-12)


def test_what_is_kept_stays_below_the_budget() -> None:
    accumulator = StatisticsAccumulator(NAMES, budget_bytes=50_000)
    rows = np.random.default_rng(1).normal(0, 1, (1000, 2))

    for _ in range(100):
        accumulator.add(rows)

    held = sum(part.nbytes for bucket in accumulator._ranks._buckets for part in bucket.parts)
    assert held <= 50_000
    assert accumulator.next_pass()


def test_quantiles_equal_those_of_openvla() -> None:
    with np.load(GOLDEN, allow_pickle=False) as file:
        rows, q01, q99 = file["action"], file["stat_q01"], file["stat_q99"]
        mean, std = file["stat_mean"], file["stat_std"]

    found = gather_statistics(lambda: [rows], [f"arm.{i}" for i in range(7)])

    np.testing.assert_allclose(found.q01, q01, rtol=0, atol=1e-8)
    np.testing.assert_allclose(found.q99, q99, rtol=0, atol=1e-8)
    # The original adds up in float32.
    np.testing.assert_allclose(found.mean, mean, rtol=5e-6, atol=1e-8)
    np.testing.assert_allclose(found.std, std, rtol=5e-6, atol=1e-8)


def test_chunks_can_be_added_as_they_are() -> None:
    chunks = np.random.default_rng(2).normal(0, 1, (5, 4, 2))

    assert gather_statistics(lambda: [chunks], NAMES) == of(chunks.reshape(-1, 2))


def test_a_value_that_is_not_finite_is_refused_with_its_place() -> None:
    accumulator = StatisticsAccumulator(NAMES)
    accumulator.add(np.zeros((3, 2)))

    with pytest.raises(TokenizeError, match=r"row 4, arm.y is nan; must be finite"):
        accumulator.add(np.array([[0, 0], [0, np.nan]]))


def test_rows_of_another_size_are_refused() -> None:
    with pytest.raises(TokenizeError, match=r"rows are \[2, 3\]; must be \[n, 2\]"):
        of_accumulator = StatisticsAccumulator(NAMES)
        of_accumulator.add(np.zeros((2, 3)))


def test_nothing_at_all_is_refused() -> None:
    with pytest.raises(ExportError, match=r"no valid actions"):
        gather_statistics(lambda: [np.zeros((0, 2))], NAMES)


def test_a_second_pass_over_other_rows_is_refused() -> None:
    accumulator = StatisticsAccumulator(NAMES, budget_bytes=0)
    accumulator.add(np.random.default_rng(3).normal(0, 1, (100, 2)))
    assert accumulator.next_pass()
    accumulator.add(np.zeros((99, 2)))

    with pytest.raises(ExportError, match=r"a pass over the actions had 99 rows; must be 100"):
        accumulator.next_pass()


def test_asking_too_early_is_refused() -> None:
    accumulator = StatisticsAccumulator(NAMES)
    accumulator.add(np.zeros((1, 2)))

    with pytest.raises(ExportError, match=r"not complete"):
        accumulator.finish()


def test_statistics_come_back_from_their_dictionary() -> None:
    found = of(np.random.default_rng(4).normal(0, 1, (50, 2)))

    assert Statistics.from_dict(found.to_dict()) == found
    with pytest.raises(TokenizeError, match=r"^statistics: q99: missing; must be there$"):
        Statistics.from_dict({k: v for k, v in found.to_dict().items() if k != "q99"})


def test_the_layouts_that_trainers_read() -> None:
    action = of(np.array([[0.0, 1.0], [2.0, 1.0]]))
    state = of(np.array([[5.0], [7.0]]))

    openvla = openvla_layout("my_robot", action, [True, False], proprioception=state, num_episodes=3)
    openpi = openpi_layout(action, state)

    entry = openvla["my_robot"]
    assert isinstance(entry, dict)
    assert entry["num_transitions"] == 2
    assert entry["num_trajectories"] == 3
    assert entry["action"] == {
        "mean": [1.0, 1.0],
        "std": [1.0, 0.0],
        "max": [2.0, 1.0],
        "min": [0.0, 1.0],
        "q01": [0.02, 1.0],
        "q99": [1.98, 1.0],
        "mask": [True, False],
    }
    assert set(entry["proprio"]) == {"mean", "std", "max", "min", "q01", "q99"}
    assert openpi["norm_stats"] == {
        "state": {"mean": [6.0], "std": [1.0], "q01": [5.02], "q99": [6.98]},
        "actions": {"mean": [1.0, 1.0], "std": [1.0, 0.0], "q01": [0.02, 1.0], "q99": [1.98, 1.0]},
    }
    assert "proprio" not in openvla_layout("r", action, [True, True], num_episodes=1)["r"]  # type: ignore[operator]
