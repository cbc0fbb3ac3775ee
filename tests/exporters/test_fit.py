"""The sample of chunks that codecs learn from."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vladata.exporters._fit import choose_rows


@given(st.lists(st.integers(0, 60), max_size=30), st.integers(1, 200))
def test_rows_are_chosen_once_and_spread_evenly(num_rows: list[int], limit: int) -> None:
    chosen = choose_rows(num_rows, limit)

    assert len(chosen) == len(num_rows)
    assert sum(map(len, chosen)) == min(limit, sum(num_rows))
    for rows, count in zip(chosen, num_rows, strict=True):
        assert ((rows >= 0) & (rows < count)).all()
        assert (np.diff(rows) > 0).all()
    starts = np.cumsum([0, *num_rows])[:-1]
    places = np.concatenate([np.empty(0, np.int64), *(r + s for r, s in zip(chosen, starts, strict=True))])
    if len(places) > 1:
        assert np.diff(places).max() - np.diff(places).min() <= 1


def test_all_rows_are_taken_where_there_are_few() -> None:
    assert [r.tolist() for r in choose_rows([2, 0, 3], 100)] == [[0, 1], [], [0, 1, 2]]
