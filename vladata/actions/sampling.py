"""Values spread evenly over and beside a normalization's range, the same on every machine: inputs of test vectors."""

import numpy as np
from numpy.typing import NDArray

from .normalization import Normalization
from .representation import Representation
from .rotation import from_vectors

__all__ = ["sample_chunks"]

FloatArray = NDArray[np.float64]

_GOLDEN = 0.6180339887498949
_MARGIN = 0.25
"""How far beyond each end the values go, in ranges."""


def _spread(count: int, shift: float) -> FloatArray:
    """Numbers of 0 to 1 that fill it evenly."""
    return np.fmod(np.arange(1, count + 1, dtype=np.float64) * _GOLDEN + shift, 1.0)


def sample_chunks(
    representation: Representation, normalization: Normalization, num_chunks: int, horizon: int
) -> tuple[FloatArray, FloatArray | None]:
    """Chunks as recorded, and observations for them.

    As learned, plain dimensions go from a quarter of the range below `low` to a quarter above `high`; the first three
    chunks begin with `low`, `high` and the middle itself, or the first three steps have them, where there are fewer
    chunks. Rotations that are converted are rotations.

    Args:
        representation: Of the action vector.
        normalization: Of the same.
        num_chunks: N; N or H at least 3.
        horizon: H.

    Returns:
        Chunks [N, H, D]; states [N, S], or [N, H, S] where deltas need them, or None where nothing is converted.
    """
    low, high = np.array(normalization.low), np.array(normalization.high)
    shape = (num_chunks, horizon, normalization.dims)
    place = _spread(num_chunks * horizon * normalization.dims, 0.0).reshape(shape) * (1 + 2 * _MARGIN) - _MARGIN
    firsts = place[:, 0] if num_chunks >= 3 else place[0]
    firsts[:3] = [[0.0], [1.0], [0.5]]
    learned = np.where(place == 1.0, high, low + place * (high - low))
    if not representation.needs_state:
        return learned, None
    steps = horizon if representation.needs_every_state else 1
    size = len(representation.state_names)
    states = _spread(num_chunks * steps * size, 0.5).reshape(num_chunks, steps, size) - 0.5
    for group in representation.rotations:
        members = [representation.dimensions[i] for i in group.dimensions]
        if not members[0].is_converted:
            continue
        columns = [representation.state_names.index(d.reference or "") for d in members]
        for array, places, shift in ((learned, list(group.dimensions), 0.1), (states, columns, 0.7)):
            vectors = _spread(array.shape[0] * array.shape[1] * 3, shift).reshape(-1, 3) - 0.5
            array[:, :, places] = from_vectors(vectors, group.convention).reshape(*array.shape[:2], len(places))
    state = states if steps > 1 else states[:, 0]
    return representation.restore(learned, state), state
