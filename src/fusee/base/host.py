"""Functions that run on numpy at run time: for ops whose result sizes depend on data, or that are too rare to compile.

Each takes the op's attributes and its operands, and gives a tuple of results. The op's ``reference`` calls the same
function. An attribute that the function does not name (such as the name of a result's size) is ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fusee.base.host_attention import ATTENTION_FUNCTIONS
from fusee.base.host_conv import CONV_FUNCTIONS
from fusee.base.host_detection import DETECTION_FUNCTIONS
from fusee.base.host_linear import LINEAR_FUNCTIONS
from fusee.base.host_pool import POOL_FUNCTIONS
from fusee.base.host_recurrent import RECURRENT_FUNCTIONS
from fusee.base.host_reduce import REDUCE_FUNCTIONS
from fusee.base.host_resize import RESIZE_FUNCTIONS
from fusee.base.host_signal import SIGNAL_FUNCTIONS
from fusee.base.host_vision import VISION_FUNCTIONS
from fusee.base.types import Array, DType

Attributes = Mapping[str, Any]
HostFunction = Callable[..., tuple[Array, ...]]


def bind(_attributes: Attributes, x: Array) -> tuple[Array, ...]:
    """The operand itself; the session reads sizes from its elements."""
    return (x,)


def read_sizes(_attributes: Attributes, x: Array) -> tuple[Array, ...]:
    """Nothing to compute: the session takes the elements of x as sizes."""
    return ()


def non_zero(_attributes: Attributes, x: Array) -> tuple[Array, ...]:
    """Coordinates of the elements that are not 0: i64 [rank, count], in row-major order; a scalar has no axes."""
    if x.ndim == 0:
        return (np.zeros((0, int(x != 0)), np.int64),)
    return (np.array(np.nonzero(x), np.int64).reshape(x.ndim, -1),)


def compress(attributes: Attributes, x: Array, condition: Array) -> tuple[Array, ...]:
    """The slices along ``axis`` (elements of the flat tensor when None) where the condition holds."""
    axis = attributes["axis"]
    source = x.ravel() if axis is None else x
    return (np.take(source, np.flatnonzero(condition), axis=0 if axis is None else axis),)


def unique(attributes: Attributes, x: Array) -> tuple[Array, ...]:
    """The different elements, or slices along ``axis``; where each first stands, which one each is, and counts."""
    axis = attributes["axis"]
    values, first, inverse, counts = np.unique(
        _sortable(x), return_index=True, return_inverse=True, return_counts=True, axis=axis
    )
    inverse = inverse.ravel()
    if not attributes["sorted"]:
        order = np.argsort(first, kind="stable")
        values = np.take(values, order, axis=axis or 0)
        first, counts, inverse = first[order], counts[order], np.argsort(order, kind="stable")[inverse]
    indices = (a.astype(np.int64) for a in (first, inverse, counts))
    return values.astype(x.dtype), *indices


def _sortable(x: Array) -> Array:
    """Element types that numpy cannot sort, widened to one that it can."""
    return x if x.dtype.isbuiltin == 1 else x.astype(np.float32)


def random_uniform(attributes: Attributes, *_after: Array) -> tuple[Array, ...]:
    """Numbers spread evenly over [low, high)."""
    drawn = _generator(attributes).random(attributes["shape"])
    low, high = attributes["low"], attributes["high"]
    return ((low + (high - low) * drawn).astype(_dtype(attributes)),)


def random_normal(attributes: Attributes, *_after: Array) -> tuple[Array, ...]:
    """Numbers from the normal distribution with the given mean and standard deviation."""
    drawn = _generator(attributes).standard_normal(attributes["shape"])
    return ((attributes["mean"] + attributes["scale"] * drawn).astype(_dtype(attributes)),)


def bernoulli(attributes: Attributes, x: Array) -> tuple[Array, ...]:
    """1 with the probability that each element of ``x`` says, else 0."""
    drawn = _generator(attributes).random(x.shape)
    return ((drawn < x.astype(np.float64)).astype(_dtype(attributes)),)


def multinomial(attributes: Attributes, x: Array) -> tuple[Array, ...]:
    """``samples_per_row`` class numbers for each row of unnormalised log-probabilities ``x`` [batch, classes]."""
    logits = x.astype(np.float64)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    total = np.cumsum(weights, axis=1)
    drawn = _generator(attributes).random((len(x), attributes["samples_per_row"])) * total[:, -1:]
    chosen = (drawn[:, :, None] >= total[:, None, :]).sum(axis=2)
    return (np.minimum(chosen, x.shape[1] - 1).astype(_dtype(attributes)),)


def _generator(attributes: Attributes) -> np.random.Generator:
    return np.random.default_rng(attributes["seed"])


def _dtype(attributes: Attributes) -> np.dtype[Any]:
    return DType(attributes["dtype"]).numpy


FUNCTIONS: dict[str, HostFunction] = {
    "bind": bind,
    "read_sizes": read_sizes,
    "non_zero": non_zero,
    "compress": compress,
    "unique": unique,
    "random_uniform": random_uniform,
    "random_normal": random_normal,
    "bernoulli": bernoulli,
    "multinomial": multinomial,
    **DETECTION_FUNCTIONS,
    **REDUCE_FUNCTIONS,
    **LINEAR_FUNCTIONS,
    **CONV_FUNCTIONS,
    **POOL_FUNCTIONS,
    **ATTENTION_FUNCTIONS,
    **RECURRENT_FUNCTIONS,
    **VISION_FUNCTIONS,
    **RESIZE_FUNCTIONS,
    **SIGNAL_FUNCTIONS,
}
