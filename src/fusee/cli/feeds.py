"""Random inputs for an engine that is only to be timed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fusee.base.types import Array, DType
from fusee.engine.plan import Plan, PlanInput


def random_inputs(plan: Plan, sizes: Mapping[str, int], seed: int) -> dict[str, Array]:
    """Seeded inputs at the given sizes: normal floats, any bytes, and 0 or 1 for integers and booleans."""
    rng = np.random.default_rng(seed)
    return {i.name: _random(i, i.type.bind(sizes), rng, sizes) for i in plan.inputs}


def _random(item: PlanInput, shape: tuple[int, ...], rng: np.random.Generator, sizes: Mapping[str, int]) -> Array:
    dtype: DType = item.type.dtype
    if item.elements:
        return np.array([sizes[e] for e in item.elements], dtype.numpy).reshape(shape)
    if dtype.is_float:
        return rng.standard_normal(shape, np.float32).astype(dtype.numpy)
    high = 256 if dtype is DType.U8 else 2
    return rng.integers(0, high, shape).astype(dtype.numpy)
