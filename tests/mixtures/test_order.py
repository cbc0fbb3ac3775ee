"""Which rows an epoch holds and in which order."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vladata.mixtures._order import draw, in_order, interleave, thin

keys = st.integers(0, 2**64 - 1)


def groups_of(rows: list[int]) -> tuple[np.ndarray, np.ndarray]:
    sizes = np.array(rows, dtype=np.int64)
    return np.cumsum(sizes) - sizes, sizes * 10


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), st.integers(1, 500), keys, st.integers(1, 2000))
def test_every_row_comes_as_often_as_another_or_once_more(
    rows: list[int], count: int, key: int, window_bytes: int
) -> None:
    total = sum(rows)
    found = draw(np.arange(total), count, groups_of(rows), key, window_bytes)
    times = Counter(found.rows.tolist())
    assert len(found.rows) == len(found.windows) == count
    assert set(times) <= set(range(total))
    whole = count // total
    assert all(times[r] in {whole, whole + 1} for r in range(total))
    assert (np.diff(found.windows) >= 0).all()
    # A window never holds a row twice, nor more row groups than fit, but for one.
    starts, sizes = groups_of(rows)
    for window in np.unique(found.windows):
        own = found.rows[found.windows == window]
        assert len(set(own.tolist())) == len(own)
        used = np.unique(np.searchsorted(starts, own, side="right") - 1)
        assert len(used) == 1 or sizes[used].sum() <= window_bytes
    again = draw(np.arange(total), count, groups_of(rows), key, window_bytes)
    assert (again.rows == found.rows).all()
    assert (again.windows == found.windows).all()


def test_another_seed_is_another_order_and_passes_differ() -> None:
    rows = [50] * 20
    one, other = (draw(np.arange(1000), 2000, groups_of(rows), key, 1000).rows for key in (1, 2))
    assert (one != other).mean() > 0.9
    assert (one[:1000] != one[1000:]).mean() > 0.9
    assert sorted(one[:1000]) == list(range(1000))


def test_rows_that_are_left_out_never_come() -> None:
    pool = np.flatnonzero(np.arange(200) % 3 == 0)
    found = draw(pool, 500, groups_of([50] * 4), 7, 600)
    assert set(found.rows.tolist()) == set(pool.tolist())


def test_in_order_is_every_row_once_as_it_lies() -> None:
    found = in_order(groups_of([50, 20, 50]), 120, 700)
    assert found.rows.tolist() == list(range(120))
    assert found.windows.tolist() == [0] * 70 + [1] * 50


@given(st.integers(1, 300), st.integers(0, 400), keys)
def test_thinning_is_a_choice_in_order(total: int, count: int, key: int) -> None:
    rows = np.arange(total) * 3
    found = thin(rows, count, key)
    assert len(found) == min(total, count)
    assert set(found.tolist()) <= set(rows.tolist())
    assert (np.diff(found) > 0).all()


@given(st.lists(st.integers(0, 300), min_size=1, max_size=5).filter(any), keys)
def test_shares_hold_all_the_way(counts: list[int], key: int) -> None:
    labels = interleave(counts, key)
    assert np.bincount(labels, minlength=len(counts)).tolist() == counts
    total = sum(counts)
    for part, count in enumerate(counts):
        seen = np.cumsum(labels == part)
        expected = count * np.arange(1, total + 1) / total
        # A part is within a row of its own line; the line of the others moves by a row for each of them.
        assert np.abs(seen - expected).max() <= len(counts) + 1
