"""What rules ask of constants, and how they make new ones."""

from __future__ import annotations

import numpy as np

from fusee.base.types import Array
from fusee.ir.graph import Const, Value, const_array


def is_const(value: Value) -> bool:
    return isinstance(value.op, Const)


def uniform(value: Value) -> float | None:
    """The number that every element of a constant is; None when it is not such a constant."""
    array = const_array(value)
    if array is None or not array.size or array.dtype == np.bool_:
        return None
    first = array.reshape(-1)[0]
    return float(first) if bool((array == first).all()) else None


def widened(array: Array) -> Array:
    """The array in f64, where several constants are combined before one rounding."""
    return array.astype(np.float64)


def like(array: Array, value: Value) -> Value:
    """A constant of the element type of ``value``: rounded once, row-major."""
    return Const(np.asarray(array.astype(value.type.dtype.numpy), order="C"))()


def along_axis(value: Value, rank: int, axis: int) -> Array | None:
    """The elements of a constant that varies along at most one axis of a tensor of ``rank`` axes.

    One element, or one per index of that axis; None for any other value. ``axis`` counts from 0.
    """
    array = const_array(value)
    if array is None or array.ndim > rank:
        return None
    shape = (1,) * (rank - array.ndim) + array.shape
    if any(size != 1 for i, size in enumerate(shape) if i != axis):
        return None
    return array.reshape(-1)
