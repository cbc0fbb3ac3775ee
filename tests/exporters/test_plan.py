"""Rows into shards: every row once, in order, shards of about equal size."""

from hypothesis import given, settings
from hypothesis import strategies as st

from vladata.exporters._plan import cut_shards

episodes = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 300)), min_size=1, max_size=12).map(
    lambda rows: [(i, count, count * size) for i, (count, size) in enumerate(rows)]
)


@given(episodes=episodes, target=st.integers(50, 20_000))
@settings(max_examples=200, deadline=None)
def test_every_row_is_in_one_shard_and_the_order_stays(episodes: list[tuple[int, int, int]], target: int) -> None:
    shards = cut_shards(episodes, "train", target)
    rows = [(p.episode_index, row) for s in shards for p in s.pieces for row in range(p.start, p.stop)]
    assert rows == [(i, row) for i, count, _ in episodes for row in range(count)]


@given(count=st.integers(50, 200), size=st.integers(1, 50), target=st.integers(500, 5_000))
@settings(max_examples=100, deadline=None)
def test_shards_are_near_the_target_and_of_equal_size(count: int, size: int, target: int) -> None:
    shards = cut_shards([(0, count, count * size), (1, count, count * size)], "train", target)
    rows = [s.num_rows for s in shards]
    assert max(rows) * size <= target + size
    assert max(rows) - min(rows) <= 2


def test_files_are_numbered_and_counted() -> None:
    shards = cut_shards([(0, 10, 1000)], "train", 400)
    assert [s.file for s in shards] == [f"data/executor/train-0000{i}-of-00003.parquet" for i in range(3)]
