"""How far a kernel may be from its op's reference: per element type, relative to each element and to the largest."""

from __future__ import annotations

import numpy as np

from fusee.base.types import Array, DType

TOLERANCES: dict[DType, tuple[float, float]] = {  # (of the element itself, of the largest element)
    DType.F64: (2e-13, 2e-14),
    DType.F32: (5e-6, 1e-6),
    DType.F16: (2e-3, 1e-3),
    DType.BF16: (1.6e-2, 8e-3),
}


def differences(found: Array, expected: Array) -> str:
    """What is wrong with a result, in words; '' when nothing is."""
    if found.dtype != expected.dtype or found.shape != expected.shape:
        return f"{found.dtype}{list(found.shape)} instead of {expected.dtype}{list(expected.shape)}"
    dtype = DType.of(expected.dtype)
    if dtype not in TOLERANCES:
        return _worst(found, expected, found != expected)
    wide, goal = found.astype(np.float64), expected.astype(np.float64)
    relative, of_largest = TOLERANCES[dtype]
    finite = np.isfinite(goal)
    largest = np.max(np.abs(goal), where=finite, initial=0)
    with np.errstate(invalid="ignore"):
        near = np.abs(wide - goal) <= relative * np.abs(goal) + of_largest * largest
    same = (wide == goal) | (np.isnan(wide) & np.isnan(goal))
    return _worst(found, expected, ~np.where(finite, near, same))


def _worst(found: Array, expected: Array, wrong: Array) -> str:
    if not wrong.any():
        return ""
    place = tuple(int(i) for i in np.argwhere(wrong)[0])
    pair = f"{found[place]!r} instead of {expected[place]!r}"
    return f"{int(wrong.sum())} of {wrong.size} elements differ, first at {place}: {pair}"
