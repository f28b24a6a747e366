"""Products on numpy: MatMul, Einsum, determinants, and convolutions by im2col."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fusee.base.dims import evaluate
from fusee.base.types import Array, DType
from fusee.base.windows import (
    from_channels_first,
    pad_spatial,
    tap,
    tap_offsets,
    to_channels_first,
    window_counts,
    window_view,
)

Attributes = Mapping[str, Any]
CHUNK_BYTES = 32 << 20  # how much of the im2col matrix is held at a time
MANY_TERMS = 1 << 20


def working(x: Array, terms: int = MANY_TERMS) -> Array:
    """The operand in the type that is multiplied: exact for sums of that many 8-bit products, and served by BLAS."""
    dtype = DType.of(x.dtype)
    if dtype.is_float:
        return x if dtype is DType.F64 else x.astype(np.float32, copy=False)
    if dtype.bits > 8:
        return x
    return x.astype(np.float32 if terms < 1 << 8 else np.float64)


def finished(x: Array, dtype: DType) -> Array:
    """The accumulated sums in the type of the result; integers wrap around."""
    if dtype.is_integer and x.dtype.kind == "f":
        x = x.astype(np.int64)
    return x.astype(dtype.numpy, copy=False)


def sum_type(attributes: Attributes, x: Array) -> DType:
    """The element type of the result: ``accumulate``, or that of x."""
    wanted = attributes["accumulate"]
    return DType.of(x.dtype) if wanted is None else DType(str(wanted))


def mat_mul(attributes: Attributes, a: Array, b: Array) -> tuple[Array]:
    """Matrix product of the last two axes, either of them stored transposed."""
    terms = a.shape[-2 if attributes["trans_a"] else -1]
    left, right = (working(x, terms) for x in (a, b))
    left = np.swapaxes(left, -1, -2) if attributes["trans_a"] else left
    right = np.swapaxes(right, -1, -2) if attributes["trans_b"] else right
    dtype = sum_type(attributes, a)
    if left.dtype.kind in "iu":
        left, right = (x.astype(dtype.numpy) for x in (left, right))
    return (finished(_product(left, right), dtype),)


def _product(left: Array, right: Array) -> Array:
    """The matrix product; many matrices times one are one tall product, which is much faster than many small ones."""
    if right.ndim > 2 or left.ndim <= 2 or not left.size:
        return np.matmul(left, right)
    tall = np.matmul(left.reshape(-1, left.shape[-1]), right)
    return tall.reshape(*left.shape[:-1], right.shape[-1])


def einsum(attributes: Attributes, *operands: Array) -> tuple[Array]:
    """Sums of products over named axes."""
    wide = [working(x) for x in operands]
    found = np.einsum(attributes["equation"], *wide, optimize=len(operands) > 1)
    return (finished(np.asarray(found), DType.of(operands[0].dtype)),)


def det(_attributes: Attributes, x: Array) -> tuple[Array]:
    """Determinants of the last two axes."""
    return (np.asarray(np.linalg.det(x.astype(np.float64))).astype(x.dtype),)


def conv(attributes: Attributes, x: Array, w: Array, *bias: Array) -> tuple[Array]:
    """Convolution over any number of spatial axes."""
    layout, pads, steps = attributes["layout"], attributes["pads"], (attributes["strides"], attributes["dilations"])
    terms, rank = int(np.prod(w.shape[1:])), w.ndim - 2
    left, right = working(to_channels_first(x, layout), terms), working(w, terms)
    counts = [evaluate(n, {}) for n in window_counts(left.shape[2:], w.shape[2:], *steps, pads)]
    left = pad_spatial(left, pads[:rank], pads[rank:])
    one_each = w.shape[1] == 1 and attributes["group"] > 1
    y = (_by_taps if one_each else _by_columns)(left, right, counts, steps, attributes["group"])
    if bias:
        y += bias[0].astype(y.dtype).reshape(-1, *[1] * rank)
    return (from_channels_first(finished(y, sum_type(attributes, x)), layout),)


def _by_taps(x: Array, w: Array, counts: list[int], steps: tuple[Sequence[int], Sequence[int]], group: int) -> Array:
    """One channel per group: the sum over window positions of shifted images times one weight per channel."""
    x = np.repeat(x, w.shape[0] // group, axis=1) if w.shape[0] != group else x
    y = np.zeros((*x.shape[:2], *counts), x.dtype)
    for offset in tap_offsets(w.shape[2:]):
        weight = w[(slice(None), 0, *offset)].reshape(-1, *[1] * len(counts))
        y += tap(x, offset, counts, *steps) * weight
    return y


def _by_columns(x: Array, w: Array, counts: list[int], steps: tuple[Sequence[int], Sequence[int]], group: int) -> Array:
    """im2col and one matrix product per image and group, a bounded number of rows of windows at a time."""
    terms = int(np.prod(w.shape[1:]))
    weights = w.reshape(group, w.shape[0] // group, terms)
    y = np.empty((x.shape[0], w.shape[0], *counts), x.dtype)
    rows = max(1, CHUNK_BYTES // max(1, group * terms * int(np.prod(counts[1:])) * x.itemsize))
    windows = window_view(x, w.shape[2:], counts, *steps)
    lead = (slice(None),) * (1 + len(counts))
    for image, target in zip(windows, y, strict=True):
        for start in range(0, counts[0], rows):
            chunk = image[(*lead, slice(start, start + rows))]
            columns = chunk.reshape(group, terms, int(np.prod(chunk.shape[len(lead) :])))
            part = np.matmul(weights, columns).reshape(w.shape[0], *chunk.shape[len(lead) :])
            target[:, start : start + rows] = part
    return y


LINEAR_FUNCTIONS: dict[str, Callable[..., tuple[Array, ...]]] = {
    "mat_mul": mat_mul,
    "einsum": einsum,
    "det": det,
    "conv": conv,
}
