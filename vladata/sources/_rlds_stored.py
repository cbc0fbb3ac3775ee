"""How a feature of an RLDS dataset lies in a record: its list of values, and how sequences divide it.

TFDS flattens a feature over the steps into one list. A sequence within a step becomes `<key>/ragged_flat_values` and
`<key>/ragged_row_lengths_<k>`, a tensor with several lengths that vary `<key>/value` and `<key>/shape`. Source:
tensorflow_datasets/core/example_serializer.py and core/features/tensor_feature.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError
from ..text import printable
from ._example import Feature
from ._tfds_features import FeatureInfo

__all__ = ["MAX_ELEMENTS", "Stored", "described", "find_stored", "is_stored"]

MAX_ELEMENTS = 10_000_000
"""Of one value of a feature."""
_MAX_ROW = 2**40

Int64Array = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stored:
    """Where the values of a feature are, and how the sequences within a step divide them."""

    info: FeatureInfo
    values: Feature
    sizes: Feature | None
    """The shape of each value, where it is stored."""
    rows: tuple[Int64Array, ...]
    """For each level of sequences the length of each; the first has one for each step. Empty: no sequences."""
    where: str
    """For errors."""

    def places(self, element: int | None) -> Int64Array:
        """Where one element of each step's sequence is among all elements, [T]; None: the only one.

        Raises:
            SourceError: A step has no such element, or other than one; or the sequences are nested.
        """
        rows, path = self.rows[0], self.info.path
        if len(self.rows) > 1:
            raise SourceError(f"{self.where}: {path} has sequences in sequences; only one level has elements")
        if element is None and len(rows) and (rows != 1).any():
            step = int(np.flatnonzero(rows != 1)[0])
            raise SourceError(
                f"{self.where}: {path} has {int(rows[step])} values at step {step}; must have one, or say which by "
                "field: a number from 0 on"
            )
        index = element or 0
        if len(rows) and rows.min() <= index:
            step = int(rows.argmin())
            raise SourceError(
                f"{self.where}: {path} has {int(rows[step])} values at step {step}; there is no [{index}]"
            )
        places: Int64Array = np.cumsum(rows) - rows + index
        return places

    def even(self) -> tuple[int, ...]:
        """Steps and the lengths of all sequences, where each level has one length.

        Raises:
            SourceError: Lengths vary.
        """
        lengths = [len(self.rows[0])]
        for rows in self.rows:
            shortest, longest = (int(rows.min()), int(rows.max())) if len(rows) else (0, 0)
            if shortest != longest:
                raise SourceError(
                    f"{self.where}: {self.info.path} has from {shortest} to {longest} values in a sequence; a signal "
                    "must have as many at each step, or say which by field: a number from 0 on"
                )
            lengths.append(shortest)
        return tuple(lengths)


def is_stored(found: Mapping[str, Feature], info: FeatureInfo) -> bool:
    """Tell whether a record has a feature, in any of the forms."""
    endings = ("", "/ragged_flat_values", "/value", "/value/ragged_flat_values")
    return any(info.key + ending in found for ending in endings)


def find_stored(found: Mapping[str, Feature], info: FeatureInfo, where: str) -> Stored:
    """Find the values of a feature.

    Args:
        found: The features of the record, by key.
        info: What is declared.
        where: File and record, for errors.

    Raises:
        SourceError: The record does not have it, or its row lengths do not fit its values.
    """
    key = info.key + "/value" if info.is_sized and info.encoding else info.key
    shape_key = info.key + "/shape" if key != info.key else ""
    num_lists = info.levels if info.is_step else info.levels - 1
    if num_lists > 0 and f"{key}/ragged_flat_values" in found:
        values = _get(found, info, f"{key}/ragged_flat_values", where)
        lists = [_get(found, info, f"{key}/ragged_row_lengths_{k}", where).ints() for k in range(num_lists)]
        if not info.is_step:
            lists.insert(0, np.array([len(lists[0])], dtype=np.int64))
        rows = _checked(info, values, lists, where)
        shape_key += "/ragged_flat_values" if shape_key else ""
    else:
        values = _get(found, info, key, where)
        rows = _fixed_rows(info, values, where) if info.levels else ()
    sizes = _get(found, info, shape_key, where) if shape_key else None
    return Stored(info=info, values=values, sizes=sizes, rows=rows, where=where)


def _get(found: Mapping[str, Feature], info: FeatureInfo, key: str, where: str) -> Feature:
    if key not in found:
        name = info.path if key == info.key else key
        raise SourceError(f"{where}: features.json declares {printable(name)}; the record has none")
    return found[key]


def _fixed_rows(info: FeatureInfo, values: Feature, where: str) -> tuple[Int64Array, ...]:
    """Rows of sequences whose lengths are declared, or of the one sequence of an episode."""
    num_elements = _num_elements(info, values, where)
    if not info.is_step and info.levels == 1:
        return (np.array([num_elements], dtype=np.int64),)
    lengths = info.shape[: info.levels]
    size = prod(lengths)
    if min(lengths) <= 0 or size > MAX_ELEMENTS or num_elements % size:
        raise SourceError(
            f"{where}: {info.path} is {described(info)} of {num_elements} values; the record must have its row lengths"
        )
    counts = [num_elements // size * prod(lengths[:k]) for k in range(info.levels)]
    return tuple(np.full(c, n, dtype=np.int64) for c, n in zip(counts, lengths, strict=True))


def _checked(info: FeatureInfo, values: Feature, lists: list[Int64Array], where: str) -> tuple[Int64Array, ...]:
    """Row lengths that divide all there is."""
    totals = [*(len(r) for r in lists[1:]), _num_elements(info, values, where)]
    for k, (rows, total) in enumerate(zip(lists, totals, strict=True)):
        if len(rows) and (rows.min() < 0 or rows.max() > _MAX_ROW):
            raise SourceError(f"{where}: {info.path} has rows of {int(rows.min())} to {int(rows.max())} values")
        if int(rows.sum()) != total:
            raise SourceError(
                f"{where}: {info.path} has rows of {int(rows.sum())} values at level {k}; there are {total}"
            )
    return tuple(lists)


def _num_elements(info: FeatureInfo, values: Feature, where: str) -> int:
    count = values.count()
    if info.kind == "image" or info.encoding:
        return count
    size = prod(info.inner)
    if min(info.inner, default=1) < 1 or count % size:
        raise SourceError(f"{where}: {info.path} has {count} values; its shape is {list(info.shape)}")
    return count // size


def described(info: FeatureInfo) -> str:
    """A feature in a few words: class, shape and type."""
    shape = f" of shape {list(info.shape)}" if info.shape else ""
    dtype = f" ({printable(info.dtype)})" if info.dtype else ""
    return f"{printable(info.type) or 'of unknown type'}{shape}{dtype}"
