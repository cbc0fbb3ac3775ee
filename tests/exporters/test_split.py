"""Splits: by seed and content, never by order, never through a group."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vladata.errors import ExportError
from vladata.exporters._split import assign_splits

groups_of = st.lists(st.integers(0, 30).map(str), min_size=0, max_size=80)
strata_of = st.tuples(st.sampled_from(["lift", "push", "fold"]), st.sampled_from(["success", "failure", ""]))
episodes = st.lists(st.tuples(st.integers(0, 30).map(str), strata_of), min_size=0, max_size=80)
NINE_TO_ONE = {"train": 0.9, "validation": 0.1}
THREE = {"train": 0.7, "validation": 0.2, "test": 0.1}


@given(episodes=episodes, seed=st.integers(0, 5), data=st.data())
@settings(max_examples=60, deadline=None)
def test_the_order_of_the_episodes_decides_nothing(
    episodes: list[tuple[str, tuple[str, str]]], seed: int, data: st.DataObject
) -> None:
    def assigned(given: list[tuple[str, tuple[str, str]]]) -> list[str]:
        return assign_splits([g for g, _ in given], NINE_TO_ONE, seed, [s for _, s in given])

    shuffled = data.draw(st.permutations(episodes))
    split_of = dict(zip([g for g, _ in episodes], assigned(episodes), strict=True))
    assert assigned(shuffled) == [split_of[g] for g, _ in shuffled]


@given(episodes=episodes, seed=st.integers(0, 5))
@settings(max_examples=100, deadline=None)
def test_a_group_is_never_in_two_splits_and_no_split_is_empty(
    episodes: list[tuple[str, tuple[str, str]]], seed: int
) -> None:
    groups = [g for g, _ in episodes]
    splits = assign_splits(groups, THREE, seed, [s for _, s in episodes])
    assert len(set(zip(groups, splits, strict=True))) == len(set(groups))
    if len(set(groups)) >= 3:
        assert set(splits) == set(THREE)
        largest = max(Counter(groups).values())
        assert all(abs(splits.count(name) - share * len(groups)) < 2 * largest + 1 for name, share in THREE.items())


@given(counts=st.lists(st.integers(1, 60), min_size=1, max_size=8), seed=st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_every_stratum_has_about_the_shares_of_the_whole(counts: list[int], seed: int) -> None:
    strata = [(f"task {k}",) for k, count in enumerate(counts) for _ in range(count)]
    splits = assign_splits([str(i) for i in range(len(strata))], THREE, seed, strata)
    for stratum, count in Counter(strata).items():
        own = Counter(s for s, of in zip(splits, strata, strict=True) if of == stratum)
        assert all(abs(own[name] - share * count) <= 2.5 for name, share in THREE.items())
    if len(strata) >= 10:
        assert all(abs(splits.count(name) - share * len(strata)) < 1.5 for name, share in THREE.items())


def test_where_each_stratum_has_one_episode_the_shares_hold_and_the_seed_decides() -> None:
    strata = [(f"task {i}",) for i in range(200)]
    groups = [str(i) for i in range(200)]
    found = [assign_splits(groups, NINE_TO_ONE, seed, strata) for seed in range(4)]
    assert [splits.count("validation") for splits in found] == [20] * 4
    assert len({tuple(splits) for splits in found}) == 4


def test_large_groups_are_dealt_first_and_small_ones_even_the_shares_out() -> None:
    groups = [*("day 1",) * 30, *("day 2",) * 30, *("day 3",) * 30, *map(str, range(10))]
    splits = assign_splits(groups, NINE_TO_ONE, 0)
    assert Counter(splits) == {"train": 90, "validation": 10}


def test_two_groups_are_two_splits() -> None:
    assert set(assign_splits(["a", "a", "b", "b"], NINE_TO_ONE, 0)) == {"train", "validation"}


def test_ten_groups_are_nine_and_one() -> None:
    splits = assign_splits([str(i) for i in range(10)], NINE_TO_ONE, 0)
    assert sorted(splits) == ["train"] * 9 + ["validation"]


def test_another_seed_gives_another_split() -> None:
    digests = [str(i) for i in range(40)]
    assert len({tuple(assign_splits(digests, NINE_TO_ONE, seed)) for seed in range(8)}) == 8


def test_the_assignment_is_the_same_on_every_machine() -> None:
    splits = assign_splits(["a", "b", "c", "d", "e"], {"train": 0.6, "validation": 0.4}, 7)
    assert splits == GOLDEN


GOLDEN = ["train", "validation", "validation", "train", "train"]


def test_one_group_goes_to_the_first_split() -> None:
    assert assign_splits(["a", "a"], NINE_TO_ONE, 0) == ["train", "train"]


@pytest.mark.parametrize("fractions", [{}, {"train": 0.5}, {"train": 1.0, "test": 0.0}, {"train": 1.2, "test": -0.2}])
def test_fractions_that_are_no_shares_are_refused(fractions: dict[str, float]) -> None:
    with pytest.raises(ExportError, match="split fractions"):
        assign_splits(["a"], fractions, 0)
