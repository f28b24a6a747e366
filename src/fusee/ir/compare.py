"""How equal is equal: one error measure and one tolerance per element type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from fusee.base.types import Array, DType

# Largest allowed difference as a share of the reference's range; integers count in steps of one.
TOLERANCES: dict[DType, float] = {
    DType.F64: 1e-6,
    DType.F32: 1e-4,
    DType.F16: 2e-3,  # 11 bits of mantissa: one rounding is 5e-4
    DType.BF16: 1.6e-2,  # 8 bits of mantissa: one rounding is 4e-3
}
SMALL_FLOAT_TOLERANCE = 0.25  # f8 and f4 hold 2 to 4 bits of mantissa: one rounding is up to an eighth
QUANTISED_STEPS = 1  # a rounding that falls the other way moves an 8-bit result by one step


@dataclass(frozen=True)
class Difference:
    """How far one output is from the reference. ``error`` is in the unit that ``tolerance`` is in."""

    name: str
    dtype: DType
    error: float
    tolerance: float
    detail: str = ""
    noise: float = 0.0  # how far one rounding error in every step moves this output, where that was measured

    def with_noise(self, noise: float) -> Difference:
        """The same, judged by how much the model itself amplifies rounding errors here."""
        return replace(self, noise=noise, tolerance=max(self.tolerance, NOISE_FACTOR * noise))

    @property
    def is_equal(self) -> bool:
        return not self.detail and self.error <= self.tolerance

    def __str__(self) -> str:
        said = self.detail or f"error {self.error:.3g}, allowed {self.tolerance:.3g}"
        return f"output {self.name} ({self.dtype}): {said}"


NOISE_FACTOR = 16.0  # how much more than one rounding at every step an engine's other order of sums may bring


def compare(expected: Mapping[str, Array], found: Mapping[str, Array]) -> tuple[Difference, ...]:
    """One Difference per expected output."""
    return tuple(difference(name, array, found.get(name)) for name, array in expected.items())


def difference(name: str, expected: Array, found: Array | None) -> Difference:
    """How far ``found`` is from ``expected``: type and shape first, then values."""
    dtype = DType.of(expected.dtype)
    if found is None:
        return Difference(name, dtype, np.inf, 0.0, "missing")
    if found.dtype != expected.dtype or found.shape != expected.shape:
        detail = f"{found.dtype}{list(found.shape)} instead of {expected.dtype}{list(expected.shape)}"
        return Difference(name, dtype, np.inf, 0.0, detail)
    if not expected.size:
        return Difference(name, dtype, 0.0, 0.0)
    if dtype.is_float:
        tolerance = TOLERANCES.get(dtype, SMALL_FLOAT_TOLERANCE)
        return _float_difference(name, dtype, tolerance, expected, found)
    steps = QUANTISED_STEPS if dtype in (DType.I8, DType.U8) else 0
    gap = np.abs(expected.astype(np.float64) - found.astype(np.float64)).max()
    return Difference(name, dtype, float(gap), float(steps))


def _float_difference(name: str, dtype: DType, tolerance: float, expected: Array, found: Array) -> Difference:
    a, b = expected.astype(np.float64), found.astype(np.float64)
    finite = np.isfinite(a)
    odd = int(np.count_nonzero((a[~finite] != b[~finite]) & ~(np.isnan(a[~finite]) & np.isnan(b[~finite]))))
    bad = odd + int(np.count_nonzero(~np.isfinite(b[finite])))
    if bad:
        return Difference(name, dtype, np.inf, tolerance, f"{bad} of {a.size} elements differ in being NaN or infinite")
    if not finite.any():
        return Difference(name, dtype, 0.0, tolerance)
    values = a[finite]
    span = max(float(values.max() - values.min()), float(np.abs(values).max()), float(np.finfo(np.float32).tiny))
    return Difference(name, dtype, float(np.abs(values - b[finite]).max()) / span, tolerance)
