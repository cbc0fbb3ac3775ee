"""Statistics of action dimensions: exact, in float64, whatever the order of the rows and the memory at hand."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ExportError, TokenizeError
from ._exact import ExactSum, RankFinder
from .plain import from_plain, to_plain

__all__ = ["Statistics", "StatisticsAccumulator", "gather_statistics", "openpi_layout", "openvla_layout"]

FloatArray = NDArray[np.float64]
Figures = tuple[float, ...]

BUDGET_BYTES = 128 << 20
_LARGEST = 1e100
"""Squares of larger values could leave float64; no action is that large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Figures of each dimension, [D]."""

    names: tuple[str, ...]
    count: int
    """Rows that counted."""
    min: Figures
    max: Figures
    mean: Figures
    std: Figures
    """Of the population, not of a sample."""
    q01: Figures
    """1 % quantile, linear between neighbours, equal to `np.quantile`."""
    q99: Figures

    def __post_init__(self) -> None:
        if self.count < 1:
            raise TokenizeError(f"count is {self.count}; must be at least 1")
        for field in ("min", "max", "mean", "std", "q01", "q99"):
            if len(getattr(self, field)) != len(self.names):
                raise TokenizeError(
                    f"{field} has {len(getattr(self, field))} values; there are {len(self.names)} names"
                )

    @classmethod
    def from_dict(cls, state: Mapping[str, object]) -> Self:
        """Build from what `to_dict` gave.

        Raises:
            TokenizeError: Something is missing or of another type.
        """
        return from_plain(cls, state, "statistics")

    def to_dict(self) -> dict[str, object]:
        """All fields as JSON values."""
        return to_plain(self)


class StatisticsAccumulator:
    """Takes rows in any number of arrays; memory stays near a budget, whatever comes.

    Up to the budget the values are kept and one pass is enough. Beyond it they are counted by their leading bits, and
    the same rows must be added again until the quantiles are found: usually once, at most three times.

        while True:
            for rows in parts():
                accumulator.add(rows)
            if not accumulator.next_pass():
                break
        statistics = accumulator.finish()
    """

    def __init__(self, names: Sequence[str], *, budget_bytes: int = BUDGET_BYTES) -> None:
        """Begin the first pass over rows of these dimensions."""
        dims = len(names)
        self._names = tuple(names)
        self._min = np.full(dims, np.inf)
        self._max = np.full(dims, -np.inf)
        self._sum, self._squares = ExactSum(dims), ExactSum(dims)
        self._ranks = RankFinder(dims, budget_bytes)
        self._count = 0
        self._seen = 0
        self._is_first = True
        self._is_done = False

    def add(self, rows: ArrayLike) -> None:
        """Add rows, [n, D] (or [..., D]).

        Raises:
            TokenizeError: The rows have another D, or hold a value that is not finite or above 1e100.
        """
        values = np.asarray(rows, dtype=np.float64)
        dims = len(self._names)
        if values.ndim < 2 or values.shape[-1] != dims:
            raise TokenizeError(f"rows are {list(values.shape)}; must be [n, {dims}]")
        values = values.reshape(-1, dims)
        bad = ~(np.abs(values) <= _LARGEST)
        if bad.any():
            row, column = (int(i) for i in np.argwhere(bad)[0])
            raise TokenizeError(
                f"row {self._seen + row}, {self._names[column]} is {values[row, column]}; must be finite, at most 1e100"
            )
        self._seen += len(values)
        if self._is_first and len(values):
            np.minimum(self._min, values.min(axis=0), out=self._min)
            np.maximum(self._max, values.max(axis=0), out=self._max)
            self._sum.add(values)
            self._squares.add_squares(values)
        self._ranks.add(values)

    def next_pass(self) -> bool:
        """End a pass.

        Returns:
            True where the same rows must be added once more.

        Raises:
            ExportError: There was no row, or this pass had another number of rows than the first.
        """
        if self._is_first:
            self._count, self._is_first = self._seen, False
            if not self._count:
                raise ExportError("there are no valid actions; statistics need at least one")
        if self._seen != self._count:
            raise ExportError(f"a pass over the actions had {self._seen} rows; must be {self._count}, as the first")
        self._seen = 0
        self._is_done = not self._ranks.end_pass([r for q in (0.01, 0.99) for r in self._neighbours(q)[:2]])
        return not self._is_done

    def finish(self) -> Statistics:
        """The statistics, after the last pass.

        Raises:
            ExportError: Another pass is needed.
        """
        if not self._is_done:
            raise ExportError("the statistics are not complete; the rows must be added once more")
        return Statistics(
            names=self._names,
            count=self._count,
            # Adding zero makes -0.0 a plain zero, which comes first or last by chance.
            min=tuple(float(v) for v in self._min + 0.0),
            max=tuple(float(v) for v in self._max + 0.0),
            mean=tuple(self._sum.mean(self._count)),
            std=tuple(math.sqrt(v) for v in self._sum.variance(self._squares, self._count)),
            q01=self._quantile(0.01),
            q99=self._quantile(0.99),
        )

    def _neighbours(self, q: float) -> tuple[int, int, float]:
        """Ranks around a quantile and its place between them, as numpy's method `linear` has them."""
        place = (self._count - 1) * q
        lower = math.floor(place)
        return lower, min(lower + 1, self._count - 1), place - lower

    def _quantile(self, q: float) -> Figures:
        lower, upper, weight = self._neighbours(q)
        pairs = [(self._ranks.values[d, lower], self._ranks.values[d, upper]) for d in range(len(self._names))]
        # From the nearer end, as numpy does it: equal to the last bit.
        if weight >= 0.5:
            return tuple(b - (b - a) * (1 - weight) for a, b in pairs)
        return tuple(a + (b - a) * weight for a, b in pairs)


def gather_statistics(
    parts: Callable[[], Iterable[ArrayLike]], names: Sequence[str], *, budget_bytes: int = BUDGET_BYTES
) -> Statistics:
    """Statistics of rows that come in parts.

    Args:
        parts: Begins a pass: gives the rows, [n, D] each; the same ones on each call.
        names: Names of the D dimensions.
        budget_bytes: Beyond this many bytes of rows, they are not kept but gone through again.

    Raises:
        TokenizeError: Rows have another D, or hold a value that is not finite.
        ExportError: There is no row.
    """
    accumulator = StatisticsAccumulator(names, budget_bytes=budget_bytes)
    while True:
        for rows in parts():
            accumulator.add(rows)
        if not accumulator.next_pass():
            return accumulator.finish()


def _figures(statistics: Statistics, fields: Sequence[str]) -> dict[str, object]:
    return {field: list(getattr(statistics, field)) for field in fields}


def openvla_layout(
    name: str,
    action: Statistics,
    mask: Sequence[bool],
    *,
    proprioception: Statistics | None = None,
    num_episodes: int,
) -> dict[str, object]:
    """The content of `dataset_statistics.json` as OpenVLA reads it.

    Args:
        name: Name of the dataset: the key that the model is asked with.
        action: Of the targets that were tokenized.
        mask: False where a dimension is not normalized, [D].
        proprioception: Of the states; left out where there are none.
        num_episodes: Demonstrations in the train split.
    """
    fields = ("mean", "std", "max", "min", "q01", "q99")
    content: dict[str, object] = {"action": {**_figures(action, fields), "mask": [bool(m) for m in mask]}}
    if proprioception is not None:
        content["proprio"] = _figures(proprioception, fields)
    return {name: {**content, "num_transitions": action.count, "num_trajectories": num_episodes}}


def openpi_layout(actions: Statistics, state: Statistics | None = None) -> dict[str, object]:
    """The content of `norm_stats.json` as openpi reads it."""
    fields = ("mean", "std", "q01", "q99")
    content: dict[str, object] = {} if state is None else {"state": _figures(state, fields)}
    return {"norm_stats": {**content, "actions": _figures(actions, fields)}}
