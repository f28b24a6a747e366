"""The error function on arrays, which numpy lacks."""

from __future__ import annotations

import numpy as np

from fusee.base.types import Array

# W. J. Cody, "Rational Chebyshev approximations for the error function", Math. Comp. 23 (1969): full f64 precision.
_SMALL_P = (3.20937758913846947e03, 3.77485237685302021e02, 1.13864154151050156e02, 3.16112374387056560e00)
_SMALL_P_LEAD = 1.85777706184603153e-1
_SMALL_Q = (2.84423683343917062e03, 1.28261652607737228e03, 2.44024637934444173e02, 2.36012909523441209e01)
_MIDDLE_P = (
    1.23033935479799725e03,
    2.05107837782607147e03,
    1.71204761263407058e03,
    8.81952221241769090e02,
    2.98635138197400131e02,
    6.61191906371416295e01,
    8.88314979438837594e00,
    5.64188496988670089e-1,
    2.15311535474403846e-8,
)
_MIDDLE_Q = (
    1.23033935480374942e03,
    3.43936767414372164e03,
    4.36261909014324716e03,
    3.29079923573345963e03,
    1.62138957456669019e03,
    5.37181101862009858e02,
    1.17693950891312499e02,
    1.57449261107098347e01,
    1.0,
)


def erf(x: Array) -> Array:
    """2/√π ∫₀ˣ exp(-t²) dt, within 1e-15; the element type is x's."""
    wide = x.astype(np.float64)
    magnitude = np.abs(wide)
    result = np.where(magnitude < 0.46875, _small(wide), np.sign(wide) * (1 - _complement(magnitude)))
    return result.astype(x.dtype)


def _horner(coefficients: tuple[float, ...], x: Array) -> Array:
    total = np.full_like(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        total = total * x + c
    return total


def _small(x: Array) -> Array:
    y = np.minimum(x * x, 0.25)
    return x * _horner((*_SMALL_P, _SMALL_P_LEAD), y) / _horner((*_SMALL_Q, 1.0), y)


def _complement(x: Array) -> Array:
    """erfc(x) for x >= 0.46875; beyond 4 it is below 2e-8, and beyond 6 nothing next to 1."""
    y = np.minimum(x, 6.0)
    tail = np.exp(-y * y) * _horner(_MIDDLE_P, y) / _horner(_MIDDLE_Q, y)
    return np.where(np.isnan(x), x, tail)
