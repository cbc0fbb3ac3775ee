"""The state as text: normalized by the dataset's own quantiles, then one number or token for each value."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..actions.normalization import Normalization
from ..actions.statistics import Statistics
from ..errors import TokenizeError
from ._template import StateFormat

__all__ = ["StateText"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StateText:
    """Between the state in physical units and its text in a prompt."""

    format: StateFormat
    normalization: Normalization
    """1 % quantile becomes -1, 99 % quantile 1; what lies outside is not clipped before it is put into bins."""

    @classmethod
    def fit(cls, format: StateFormat, statistics: Statistics) -> Self:  # noqa: A002  the template's own word
        """Build from statistics of the state in the train split."""
        return cls(format=format, normalization=Normalization.fit(statistics))

    @classmethod
    def from_dict(cls, format: StateFormat, state: Mapping[str, object]) -> Self:  # noqa: A002
        """Build from the normalization that `to_dict` gave.

        Raises:
            TokenizeError: Something is missing, of another type or out of range.
        """
        return cls(format=format, normalization=Normalization.from_dict(state))

    def to_dict(self) -> dict[str, object]:
        """The normalization, as JSON values; the format stands in the template."""
        return self.normalization.to_dict()

    def texts(self, state: ArrayLike) -> list[str]:
        """The texts of states in physical units, [N, S].

        Raises:
            TokenizeError: The states are not [N, S], or a value is not finite (with its position).
        """
        values = np.asarray(state, dtype=np.float64)
        if values.ndim != 2:
            raise TokenizeError(f"states are {list(values.shape)}; must be [N, {self.normalization.dims}]")
        return state_words(self.format, self.normalization.apply(values, clip=False))


def state_words(format: StateFormat, normalized: NDArray[np.float64]) -> list[str]:  # noqa: A002
    """The texts of normalized states, [N, S].

    `pi`: bin k holds edges[k] <= x < edges[k + 1] of `linspace(-1, 1, bins + 1)`; below them -1, above them the last.
    `tokens`: the nearest of `linspace(-1, 1, bins)`, half to even, clipped.

    Raises:
        TokenizeError: A value is not finite: the originals make the largest bin, or none, of it.
    """
    finite = np.isfinite(normalized)
    if not finite.all():
        row, column = (int(i) for i in np.argwhere(~finite)[0])
        raise TokenizeError(f"state[{row}, {column}] is {normalized[row, column]}; must be finite")
    if format.format == "pi":
        edges = np.linspace(-1.0, 1.0, format.bins + 1)[:-1]
        bins = np.searchsorted(edges, normalized, side="right") - 1
        return [" ".join(map(str, row)) for row in bins.tolist()]
    nearest = np.rint((np.clip(normalized, -1.0, 1.0) + 1.0) / 2.0 * (format.bins - 1)).astype(np.int64)
    return [
        format.start + "".join(format.token.replace("{n}", str(k)) for k in r) + format.end for r in nearest.tolist()
    ]
