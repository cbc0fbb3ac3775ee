"""Values of a stream that are looked at, and which streams have such."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..sources import StreamInfo
from ._text import is_writable

__all__ = ["Key", "Sample", "is_vector", "unique"]

Key = tuple[str, str | None]
"""A stream's name and field."""

MAX_DIMENSIONS = 512


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """A part of a stream."""

    values: NDArray[np.float64]
    """[n, D], in the order of the stream's elements."""
    time_ns: NDArray[np.int64]
    """On the recorder's clock where it is known, [n]."""
    part: NDArray[np.int64]
    """Which demonstration each row is of, [n]."""
    is_stepped: bool
    """Whether equal rows of two streams belong together."""


def unique(infos: Iterable[StreamInfo]) -> list[StreamInfo]:
    """One for each stream and field: the first, which has the stamps that count."""
    seen: dict[Key, StreamInfo] = {}
    for info in infos:
        seen.setdefault((info.name, info.field), info)
    return list(seen.values())


def is_vector(info: StreamInfo) -> bool:
    """Whether a stream's samples are vectors of numbers."""
    is_named = bool(info.name) and all(map(is_writable, (info.name, info.field or "", *info.element_names)))
    is_sized = len(info.shape) == 1 and 0 < info.shape[0] <= MAX_DIMENSIONS
    return info.kind == "numeric" and is_sized and info.count > 0 and is_named
