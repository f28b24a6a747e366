"""The types in which references compute: narrow floats in f32, integers of less than a byte in i32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fusee.base.types import Array, DType


def working_dtype(dtype: DType) -> np.dtype[Any]:
    """What a reference computes in: f32 for narrower floats, i32 for integers of less than a byte."""
    if dtype.is_float and dtype.itemsize_bytes < 4:
        return np.dtype(np.float32)
    return np.dtype(np.int32) if dtype.is_integer and dtype.bits < 8 else dtype.numpy


def widened(x: Array) -> Array:
    """The array in the type that references compute in."""
    return x.astype(working_dtype(DType.of(x.dtype)), copy=False)


def computed(function: Callable[..., Any], result: DType, *operands: Array) -> Array:
    """The function of the widened operands, rounded once to the result's type; overflow and NaN are values."""
    with np.errstate(all="ignore"):
        found = np.asarray(function(*[widened(x) for x in operands]))
        return found.astype(result.numpy, copy=False)


def kept(function: Callable[[Array], Any], x: Array) -> Array:
    """``computed`` of one operand whose type the result keeps."""
    return computed(function, DType.of(x.dtype), x)
