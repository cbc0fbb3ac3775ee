"""Weights, temperature and caps become shares, and shares become whole rows."""

import doctest
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vladata.errors import ExportError
from vladata.mixtures import shares as module
from vladata.mixtures.shares import Wish, decimals, epoch_of, rows_of_epoch, shares


def test_the_example_of_the_module() -> None:
    assert doctest.testmod(module).failed == 0


sizes = st.integers(1, 10_000_000)
weights = st.floats(0.001, 1000)
temperatures = st.floats(0.1, 1e9)


@st.composite
def wishes(draw: Any) -> list[Wish]:
    """Parts whose caps leave nothing over: the last one has none."""
    count = draw(st.integers(1, 6))
    caps = [draw(st.none() | st.floats(0.01, 1)) for _ in range(count - 1)] + [None]
    return [Wish(name=f"p{i}", size=draw(sizes), weight=draw(weights), max_share=caps[i]) for i in range(count)]


@given(wishes(), temperatures)
def test_shares_sum_to_one_and_caps_hold(parts: list[Wish], temperature: float) -> None:
    found = shares(parts, temperature=temperature)
    assert sum(found) == 1
    assert all(0 <= s <= Fraction(str(p.max_share or 1)) for p, s in zip(parts, found, strict=True))
    # Who has room divides in the proportions of the weights.
    free = [
        (s, Fraction(str(p.weight)) * Fraction(f"{p.size ** (1 / temperature):.12g}"))
        for p, s in zip(parts, found, strict=True)
        if s < Fraction(str(p.max_share or 1))
    ]
    assert len({float(f"{float(s / w):.9g}") for s, w in free if s}) <= 1


@given(st.lists(sizes, min_size=1, max_size=8))
def test_temperature_one_is_proportional_and_a_large_one_uniform(given_sizes: list[int]) -> None:
    parts = [Wish(name=f"p{i}", size=n) for i, n in enumerate(given_sizes)]
    assert shares(parts) == [Fraction(n, sum(given_sizes)) for n in given_sizes]
    uniform = [float(s) for s in shares(parts, temperature=1e9)]
    assert uniform == pytest.approx([1 / len(parts)] * len(parts), rel=1e-6)


@given(st.lists(sizes, min_size=2, max_size=5, unique=True), st.floats(1.0, 50.0), st.floats(1.01, 4.0))
def test_a_higher_temperature_gives_the_smallest_part_more(given_sizes: list[int], low: float, factor: float) -> None:
    parts = [Wish(name=f"p{i}", size=n) for i, n in enumerate(sorted(given_sizes))]
    assert shares(parts, temperature=low * factor)[0] >= shares(parts, temperature=low)[0]


def test_a_weight_multiplies_the_size_and_a_share_is_exact() -> None:
    two = [Wish(name="a", size=100, weight=2.0), Wish(name="b", size=100)]
    assert shares(two) == [Fraction(2, 3), Fraction(1, 3)]
    three = [Wish(name="a", size=5, share=0.3), Wish(name="b", size=100), Wish(name="c", size=300)]
    assert shares(three) == [Fraction(3, 10), Fraction(7, 40), Fraction(21, 40)]
    whole = [Wish(name="a", size=5, share=0.3), Wish(name="b", size=7, share=0.7)]
    assert shares(whole) == [Fraction(3, 10), Fraction(7, 10)]


def test_what_a_cap_leaves_goes_to_the_others_in_their_proportions() -> None:
    parts = [
        Wish(name="a", size=800, max_share=0.5),
        Wish(name="b", size=150),
        Wish(name="c", size=50),
    ]
    assert shares(parts) == [Fraction(1, 2), Fraction(3, 8), Fraction(1, 8)]
    # A cap that is reached only by what another one leaves.
    parts = [
        Wish(name="a", size=800, max_share=0.5),
        Wish(name="b", size=150, max_share=0.2),
        Wish(name="c", size=50),
    ]
    assert shares(parts) == [Fraction(1, 2), Fraction(1, 5), Fraction(3, 10)]


def test_caps_that_leave_a_part_to_nobody_are_an_error_with_numbers() -> None:
    parts = [Wish(name="a", size=1, max_share=0.5), Wish(name="b", size=9, max_share=0.25)]
    with pytest.raises(ExportError, match=r"max_share: a 0\.5 \+ b 0\.25 = 0\.75 of the epoch; must be at least 1"):
        shares(parts)
    exact = [Wish(name="a", size=1, max_share=0.75), Wish(name="b", size=9, max_share=0.25)]
    assert shares(exact) == [Fraction(3, 4), Fraction(1, 4)]


@given(wishes(), temperatures, st.integers(1, 50))
def test_an_epoch_that_is_not_asked_for_repeats_no_row_too_often(
    parts: list[Wish], temperature: float, max_repeats: int
) -> None:
    wanted = shares(parts, temperature=temperature)
    epoch = epoch_of(parts, wanted, max_repeats)
    assert 1 <= epoch <= sum(p.size for p in parts)
    rows = rows_of_epoch(wanted, epoch)
    if epoch > 1:
        assert all(r <= max_repeats * p.size for r, p in zip(rows, parts, strict=True))
    # One row more would repeat one too often, or be more than there are.
    more = [s * (epoch + 1) for s in wanted]
    assert epoch == sum(p.size for p in parts) or any(
        m > max_repeats * p.size for m, p in zip(more, parts, strict=True)
    )


@given(wishes(), temperatures, st.integers(1, 10**9))
def test_rows_are_the_shares_to_within_a_row_and_sum_to_the_epoch(
    parts: list[Wish], temperature: float, epoch: int
) -> None:
    wanted = shares(parts, temperature=temperature)
    rows = rows_of_epoch(wanted, epoch)
    assert sum(rows) == epoch
    assert all(abs(r - s * epoch) < 1 for r, s in zip(rows, wanted, strict=True))
    assert rows == rows_of_epoch(wanted, epoch)


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=30))
def test_stored_probabilities_sum_to_exactly_one(rows: list[int]) -> None:
    found = [Decimal(f"{d:f}") for d in decimals(rows)]
    assert sum(found) == 1
    assert all(abs(d - Decimal(r) / sum(rows)) < Decimal("1e-10") for d, r in zip(found, rows, strict=True))
    assert all(len(f"{d:f}".partition(".")[2]) <= 12 for d in found)
