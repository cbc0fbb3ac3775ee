"""How much of each part an epoch holds: weights and temperature to shares, caps, and whole rows that add up.

All in exact fractions: shares sum to 1, rows to the epoch, whatever the machine.

>>> wishes = [Wish(name="a", size=900), Wish(name="b", size=100)]
>>> [float(s) for s in shares(wishes)], [float(s) for s in shares(wishes, temperature=2.0)]
([0.9, 0.1], [0.75, 0.25])
>>> epoch_of(wishes, shares(wishes), max_repeats=4)
1000
>>> rows_of_epoch([Fraction(1, 3)] * 3, 100)
[34, 33, 33]
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from ..errors import ExportError

__all__ = ["Wish", "decimals", "epoch_of", "rows_of_epoch", "shares", "size_weight"]

DIGITS = 12
"""Of stored probabilities, behind the point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is asked of one part."""

    name: str
    size: int
    """Rows to draw from."""
    weight: float = 1.0
    share: float | None = None
    max_share: float | None = None


def size_weight(size: int, temperature: float) -> Fraction:
    """Size ** (1 / temperature), to 12 digits: beyond them, machines differ."""
    return Fraction(size) if temperature == 1 else Fraction(f"{size ** (1 / temperature):.{DIGITS}g}")


def shares(wishes: Sequence[Wish], *, temperature: float = 1.0) -> list[Fraction]:
    """The share of each part; they sum to 1.

    A part with a share gets it. The others divide the rest by weight · size ** (1 / temperature); where one would get
    more than its largest share, it gets that, and the others divide what it leaves, in the same proportions.

    Raises:
        ExportError: The largest shares leave a part of the epoch to nobody.
    """
    given = {i: Fraction(str(w.share)) for i, w in enumerate(wishes) if w.share is not None}
    rest = 1 - sum(given.values(), start=Fraction(0))
    # Decimal fractions such as 0.1 need not sum to 1 to the last bit; texts of them do.
    if len(given) == len(wishes):
        total = sum(given.values(), start=Fraction(0))
        return [given[i] / total for i in range(len(wishes))]
    free = {i: Fraction(str(w.weight)) * size_weight(w.size, temperature) for i, w in enumerate(wishes)}
    free = {i: f for i, f in free.items() if i not in given}
    capped: dict[int, Fraction] = {}
    while free:
        left = rest - sum(capped.values(), start=Fraction(0))
        total = sum(free.values(), start=Fraction(0))
        beyond = {i: cap for i, f in free.items() if (cap := _cap(wishes[i])) < left * f / total}
        if not beyond:
            found = given | capped | {i: left * f / total for i, f in free.items()}
            return [found[i] for i in range(len(wishes))]
        capped |= beyond
        free = {i: f for i, f in free.items() if i not in beyond}
    if sum(capped.values()) != rest:
        listed = " + ".join(f"{wishes[i].name} {float(c):g}" for i, c in sorted(capped.items()))
        raise ExportError(
            f"max_share: {listed} = {float(sum(capped.values())):g} of the epoch; "
            f"must be at least {float(rest):g}, or the rest belongs to no part"
        )
    found = given | capped
    return [found[i] for i in range(len(wishes))]


def _cap(wish: Wish) -> Fraction:
    return Fraction(1) if wish.max_share is None else Fraction(str(wish.max_share))


def epoch_of(wishes: Sequence[Wish], wanted: Sequence[Fraction], max_repeats: int) -> int:
    """The rows of an epoch where none are asked for: of all parts together, or as many as the repeats allow."""
    natural = sum(w.size for w in wishes)
    return max(
        1, min(natural, *(max_repeats * w.size * s.denominator // s.numerator for w, s in _pairs(wishes, wanted)))
    )


def _pairs(wishes: Sequence[Wish], wanted: Sequence[Fraction]) -> list[tuple[Wish, Fraction]]:
    return list(zip(wishes, wanted, strict=True))


def rows_of_epoch(wanted: Sequence[Fraction], epoch_rows: int) -> list[int]:
    """Whole rows of each part: the share, rounded by largest remainder, the first part first; they sum to the epoch."""
    exact = [s * epoch_rows for s in wanted]
    rows = [e.numerator // e.denominator for e in exact]
    by_remainder = sorted(range(len(rows)), key=lambda i: (rows[i] - exact[i], i))
    for i in by_remainder[: epoch_rows - sum(rows)]:
        rows[i] += 1
    return rows


def decimals(rows: Sequence[int]) -> list[Decimal]:
    """Probabilities with 12 digits behind the point that sum to exactly 1: the largest takes what rounding left."""
    total = sum(rows)
    step = Decimal(1).scaleb(-DIGITS)
    found = [Decimal(round(Fraction(r * 10**DIGITS, total))) * step for r in rows]
    largest = max(range(len(rows)), key=lambda i: (rows[i], -i))
    found[largest] += 1 - sum(found)
    return found
