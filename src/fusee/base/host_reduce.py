"""Reductions, normalisations and running totals on numpy. Sums of floats are kept in f64: their order is no matter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fusee.base.types import Array
from fusee.base.widening import kept, widened

Attributes = Mapping[str, Any]
Axes = tuple[int, ...]


def _accumulator(x: Array) -> np.dtype[Any]:
    return np.dtype(np.float64) if x.dtype.kind == "f" else x.dtype


def _sum(x: Array, axes: Axes) -> Array:
    return np.asarray(np.sum(x, axes, _accumulator(x), keepdims=True))


def _mean(x: Array, axes: Axes) -> Array:
    total, count = _sum(x, axes), _count(x, axes)
    if x.dtype.kind == "f":
        return total / count
    size = np.abs(total).astype(np.int64 if x.dtype.kind == "i" else np.uint64)
    return np.sign(total) * (size // size.dtype.type(max(count, 1)))


def _count(x: Array, axes: Axes) -> int:
    return int(np.prod([x.shape[a] for a in axes], dtype=np.int64))


def _max(x: Array, axes: Axes) -> Array:
    return np.max(x, axes, keepdims=True, initial=_lowest(x.dtype))


def _min(x: Array, axes: Axes) -> Array:
    return np.min(x, axes, keepdims=True, initial=_highest(x.dtype))


def _lowest(dtype: np.dtype[Any]) -> Any:
    if dtype.kind == "b":
        return False
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min


def _highest(dtype: np.dtype[Any]) -> Any:
    if dtype.kind == "b":
        return True
    return np.inf if dtype.kind == "f" else np.iinfo(dtype).max


def _prod(x: Array, axes: Axes) -> Array:
    return np.prod(x, axes, _accumulator(x), keepdims=True)


def _sum_square(x: Array, axes: Axes) -> Array:
    wide = x.astype(_accumulator(x), copy=False)
    return _sum(wide * wide, axes)


def _log_sum_exp(x: Array, axes: Axes) -> Array:
    wide = x.astype(np.float64, copy=False)
    top = np.max(wide, axes, keepdims=True, initial=-np.inf)
    shift = np.where(np.isfinite(top), top, 0)
    return np.log(_sum(np.exp(wide - shift), axes)) + shift


REDUCTIONS: dict[str, Callable[[Array, Axes], Array]] = {
    "sum": _sum,
    "mean": _mean,
    "max": _max,
    "min": _min,
    "prod": _prod,
    "l1": lambda x, axes: _sum(np.abs(x), axes),
    "l2": lambda x, axes: np.sqrt(_sum_square(x.astype(np.float64), axes)),
    "log_sum": lambda x, axes: np.log(_sum(x.astype(np.float64), axes)),
    "log_sum_exp": _log_sum_exp,
    "sum_square": _sum_square,
}


def reduce(attributes: Attributes, x: Array) -> tuple[Array]:
    """All elements along ``axes`` as one, by ``kind``."""
    axes = tuple(attributes["axes"])
    found = kept(lambda wide: REDUCTIONS[attributes["kind"]](wide, axes), x)
    return (found if attributes["keepdims"] else np.squeeze(found, axes),)


def arg_reduce(attributes: Attributes, x: Array) -> tuple[Array]:
    """Where along ``axis`` the extreme is: the first such, or with ``select_last`` the last."""
    axis, last = attributes["axis"], attributes["select_last"]
    find = np.argmax if attributes["kind"] == "max" else np.argmin
    ordered = np.flip(widened(x), axis) if last else widened(x)
    found = find(ordered, axis, keepdims=attributes["keepdims"])
    return (np.asarray(x.shape[axis] - 1 - found if last else found, np.int64),)


def cumulative(attributes: Attributes, x: Array) -> tuple[Array]:
    """Running sum or product along ``axis``."""
    return (kept(lambda wide: _running(attributes, wide), x),)


def _running(attributes: Attributes, x: Array) -> Array:
    axis, reverse = attributes["axis"], attributes["reverse"]
    run, neutral = (np.cumsum, 0) if attributes["kind"] == "sum" else (np.cumprod, 1)
    ordered = np.flip(x, axis) if reverse else x
    if attributes["exclusive"]:
        first = np.full_like(np.take(ordered, np.arange(min(1, x.shape[axis])), axis), neutral)
        rest = np.take(ordered, np.arange(max(0, x.shape[axis] - 1)), axis)
        ordered = np.concatenate((first, rest), axis)
    total = run(ordered, axis, dtype=_accumulator(x))
    return np.flip(total, axis) if reverse else total


def softmax(attributes: Attributes, x: Array) -> tuple[Array]:
    """Shares along ``axis`` in proportion to exp(x)."""
    return (kept(lambda wide: _shares(wide, attributes["axis"]), x),)


def _shares(x: Array, axis: int) -> Array:
    grown = np.exp(x - np.max(x, axis, keepdims=True, initial=-np.inf))
    return grown / _sum(grown, (axis,)).astype(x.dtype)


def log_softmax(attributes: Attributes, x: Array) -> tuple[Array]:
    """The logarithms of those shares."""
    return (kept(lambda wide: _logs(wide, attributes["axis"]), x),)


def _logs(x: Array, axis: int) -> Array:
    below = x - np.max(x, axis, keepdims=True, initial=-np.inf)
    return below - np.log(_sum(np.exp(below), (axis,))).astype(x.dtype)


def normalize(attributes: Attributes, x: Array) -> tuple[Array]:
    """x, centred or not, over the root of its mean square along ``axes``."""
    return (kept(lambda wide: _normalized(attributes, wide), x),)


def _normalized(attributes: Attributes, x: Array) -> Array:
    axes = tuple(attributes["axes"])
    if attributes["center"]:
        x = x - _mean(x, axes).astype(x.dtype)
    spread = np.sqrt(_mean(x * x, axes) + attributes["epsilon"])
    return x / spread.astype(x.dtype)


def lrn(attributes: Attributes, x: Array) -> tuple[Array]:
    """x over a power of the squares around it along axis 1."""
    return (kept(lambda wide: _over_neighbours(attributes, wide), x),)


def _over_neighbours(attributes: Attributes, x: Array) -> Array:
    size, channels = attributes["size"], x.shape[1]
    around = [(0, 0)] * x.ndim
    around[1] = ((size - 1) // 2, size - 1 - (size - 1) // 2)
    squares = np.pad(x * x, around)
    total = sum((squares[:, i : i + channels] for i in range(size)), start=np.zeros_like(x))
    return x / np.power(attributes["bias"] + attributes["alpha"] / size * total, attributes["beta"])


REDUCE_FUNCTIONS: dict[str, Callable[..., tuple[Array]]] = {
    "reduce": reduce,
    "arg_reduce": arg_reduce,
    "cumulative": cumulative,
    "softmax": softmax,
    "log_softmax": log_softmax,
    "normalize": normalize,
    "lrn": lrn,
}
