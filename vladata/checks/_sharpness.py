"""How sharp a picture is: how strong its details are against those twice as large."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["SCALES", "sharpness_of"]

SCALES = 4
"""Sizes of details. Blur takes the finest first; once they are gone, what noise and compression leave of them says
nothing any more, and those twice as large tell."""
SMALLEST = 8
"""Rows and columns below which a picture has no details."""
ROUNDING = 1e-2
"""Energy that rounding to whole numbers leaves, about."""


def sharpness_of(grey: NDArray[np.generic]) -> NDArray[np.float32]:
    """Strength of details at each scale against that at the next.

    Args:
        grey: One channel, [H, W].

    Returns:
        log2 of the energy of second differences, which know no slow change of brightness, over that at half the size,
        the finest first, [4]; NaN where too few pixels are left.
    """
    level = grey.astype(np.float32)
    energies = np.full(SCALES + 1, np.nan, np.float32)
    for i in range(SCALES + 1):
        if min(level.shape) < SMALLEST:
            break
        energies[i] = np.square(_bent(level)).mean() + ROUNDING
        height, width = (n // 2 * 2 for n in level.shape)
        level = level[:height:2, :width] + level[1:height:2, :width]
        level = (level[:, ::2] + level[:, 1::2]) * np.float32(0.25)
    return np.asarray(np.log2(energies[:-1] / energies[1:]), dtype=np.float32)


def _bent(level: NDArray[np.floating]) -> NDArray[np.floating]:
    around = level[2:, 1:-1] + level[:-2, 1:-1] + level[1:-1, 2:] + level[1:-1, :-2]
    return np.asarray(around - 4 * level[1:-1, 1:-1])
