"""Clamped uniform B-splines: their basis functions at even steps, and the least squares that finds control points.

Source: de Boor, A Practical Guide to Splines, chapter IX (recurrence).
"""

from functools import lru_cache

import numpy as np

from . import FloatArray

__all__ = ["analysis", "basis"]


@lru_cache(maxsize=32)
def basis(horizon: int, num_basis: int, degree: int) -> FloatArray:
    """Values of the basis functions at the steps, none negative, each row adding up to 1.

    Args:
        horizon: H; the steps lie evenly from 0 to 1, a single one at 0.
        num_basis: K, more than the degree.
        degree: Of the polynomials; 0 gives steps, each closed below and open above but the last.

    Returns:
        [H, K], read-only.
    """
    inner = np.linspace(0.0, 1.0, num_basis - degree + 1)
    knots = np.concatenate([np.zeros(degree), inner, np.ones(degree)])
    phase = np.linspace(0.0, 1.0, horizon)[:, None]
    found = ((phase >= knots[:-1]) & (phase < knots[1:])).astype(np.float64)
    # Closed at its end: the last interval that has a width holds 1 as well.
    found[phase[:, 0] == 1.0, num_basis - 1] = 1.0
    for order in range(1, degree + 1):
        rising = _share(phase - knots[: -order - 1], knots[order:-1] - knots[: -order - 1])
        falling = _share(knots[order + 1 :] - phase, knots[order + 1 :] - knots[1:-order])
        found = rising * found[:, :-1] + falling * found[:, 1:]
    found.flags.writeable = False
    return found


@lru_cache(maxsize=32)
def analysis(horizon: int, num_basis: int, degree: int, ridge: float) -> FloatArray:
    """The matrix that takes values at the steps to control points: (B^T B + ridge I)^-1 B^T, [K, H], read-only."""
    # By singular values: with few steps B^T B has none to divide by, and its square loses half of the digits.
    left, singular, right = np.linalg.svd(basis(horizon, num_basis, degree), full_matrices=False)
    found: FloatArray = np.ascontiguousarray((right.T * (singular / (singular**2 + ridge))) @ left.T)
    found.flags.writeable = False
    return found


def _share(part: FloatArray, whole: FloatArray) -> FloatArray:
    """Part of an interval, 0 where the interval has no width."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0.0)
