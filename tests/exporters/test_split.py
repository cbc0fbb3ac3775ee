"""Splits: by seed and content, never by order, never through equal content."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vladata.errors import ExportError
from vladata.exporters._split import assign_splits

digests = st.lists(st.integers(0, 30).map(str), min_size=0, max_size=80)
NINE_TO_ONE = {"train": 0.9, "validation": 0.1}


@given(digests=digests, seed=st.integers(0, 5), data=st.data())
@settings(max_examples=60)
def test_the_order_of_the_episodes_decides_nothing(digests: list[str], seed: int, data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(digests))
    split_of = dict(zip(digests, assign_splits(digests, NINE_TO_ONE, seed), strict=True))
    assert assign_splits(shuffled, NINE_TO_ONE, seed) == [split_of[d] for d in shuffled]


@given(digests=digests, seed=st.integers(0, 5))
@settings(max_examples=60)
def test_equal_content_is_never_in_two_splits_and_no_split_is_empty(digests: list[str], seed: int) -> None:
    fractions = {"train": 0.7, "validation": 0.2, "test": 0.1}
    splits = assign_splits(digests, fractions, seed)
    pairs = set(zip(digests, splits, strict=True))
    assert len(pairs) == len(set(digests))
    groups = [split for _, split in pairs]
    if len(groups) >= 3:
        assert set(groups) == set(fractions)
        assert all(abs(groups.count(name) - share * len(groups)) <= 2 for name, share in fractions.items())


def test_ten_groups_are_nine_and_one() -> None:
    splits = assign_splits([str(i) for i in range(10)], NINE_TO_ONE, 0)
    assert sorted(splits) == ["train"] * 9 + ["validation"]


def test_another_seed_gives_another_split() -> None:
    digests = [str(i) for i in range(40)]
    assert len({tuple(assign_splits(digests, NINE_TO_ONE, seed)) for seed in range(8)}) == 8


def test_the_assignment_is_the_same_on_every_machine() -> None:
    splits = assign_splits(["a", "b", "c", "d", "e"], {"train": 0.6, "validation": 0.4}, 7)
    assert splits == GOLDEN


GOLDEN = ["train", "train", "validation", "train", "validation"]


def test_one_group_goes_to_the_first_split() -> None:
    assert assign_splits(["a", "a"], NINE_TO_ONE, 0) == ["train", "train"]


@pytest.mark.parametrize("fractions", [{}, {"train": 0.5}, {"train": 1.0, "test": 0.0}, {"train": 1.2, "test": -0.2}])
def test_fractions_that_are_no_shares_are_refused(fractions: dict[str, float]) -> None:
    with pytest.raises(ExportError, match="split fractions"):
        assign_splits(["a"], fractions, 0)
