"""Pools on numpy: maxima, averages and norms of sliding windows, and where maxima were."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import ml_dtypes
import numpy as np

from fusee.base.dims import evaluate
from fusee.base.host_linear import Attributes, finished, working
from fusee.base.types import Array, DType
from fusee.base.windows import from_channels_first, pad_spatial, tap, tap_offsets, to_channels_first, window_counts


def lowest(dtype: DType) -> float | int:
    """What is never larger than any element: the padding of a max pool."""
    if dtype.is_float:
        return float(ml_dtypes.finfo(dtype.numpy).min) if dtype.bits < 16 else -np.inf
    return int(ml_dtypes.iinfo(dtype.numpy).min)


def _counts(attributes: Attributes, spatial: Sequence[int]) -> list[int]:
    kernel, strides, dilations = attributes["kernel"], attributes["strides"], attributes["dilations"]
    found = window_counts(tuple(spatial), kernel, strides, dilations, attributes["pads"], attributes["ceil_mode"])
    return [evaluate(n, {}) for n in found]


def _padded(attributes: Attributes, x: Array, counts: list[int], value: float | int) -> Array:
    """Channels-first x, padded so that every window lies inside."""
    before = attributes["pads"][: len(counts)]
    windows = zip(counts, attributes["kernel"], attributes["strides"], attributes["dilations"], strict=True)
    reach = [(n - 1) * s + d * (k - 1) + 1 for n, k, s, d in windows]
    after = [max(0, r - n - b) for r, n, b in zip(reach, x.shape[2:], before, strict=True)]
    return pad_spatial(x, before, after, value)


def pool(attributes: Attributes, x: Array) -> tuple[Array]:
    """The maximum, average or p-norm of every window."""
    dtype, layout = DType.of(x.dtype), attributes["layout"]
    image = to_channels_first(x, layout)
    counts = _counts(attributes, image.shape[2:])
    if attributes["kind"] == "max":
        return (from_channels_first(_maximum(attributes, image, counts), layout),)
    y = (_average if attributes["kind"] == "average" else _norm)(attributes, working(image), counts)
    return (from_channels_first(finished(np.rint(y) if dtype.is_integer else y, dtype), layout),)


def _maximum(attributes: Attributes, x: Array, counts: list[int]) -> Array:
    padded = _padded(attributes, x, counts, lowest(DType.of(x.dtype)))
    taps = tap_offsets(attributes["kernel"])
    y = tap(padded, taps[0], counts, attributes["strides"], attributes["dilations"]).copy()
    for offset in taps[1:]:
        np.maximum(y, tap(padded, offset, counts, attributes["strides"], attributes["dilations"]), out=y)
    return y


def _sum(attributes: Attributes, padded: Array, counts: list[int]) -> Array:
    y = np.zeros((*padded.shape[:2], *counts), padded.dtype)
    for offset in tap_offsets(attributes["kernel"]):
        y += tap(padded, offset, counts, attributes["strides"], attributes["dilations"])
    return y


def _average(attributes: Attributes, x: Array, counts: list[int]) -> Array:
    """Divided by the elements that count: those of the input, or also its padding, never what hangs over."""
    ones, pads, rank = np.ones((1, 1, *x.shape[2:]), np.float32), attributes["pads"], len(counts)
    if attributes["count_include_pad"]:
        ones = pad_spatial(ones, pads[:rank], pads[rank:], 1)
        inside = {**attributes, "pads": [0] * 2 * rank}
    else:
        inside = attributes
    total = _sum(attributes, _padded(attributes, x, counts, 0), counts)
    return total / _sum(inside, _padded(inside, ones, counts, 0), counts)


def _norm(attributes: Attributes, x: Array, counts: list[int]) -> Array:
    powers = np.abs(x) ** attributes["p"]
    total = _sum(attributes, _padded(attributes, powers, counts, 0), counts)
    return total ** np.asarray(1 / attributes["p"], powers.dtype)


def max_pool_indices(attributes: Attributes, x: Array) -> tuple[Array, Array]:
    """The maximum of every window, and where in the whole input it was found first."""
    counts, steps = _counts(attributes, x.shape[2:]), (attributes["strides"], attributes["dilations"])
    shape, low = (*x.shape[:2], *counts), lowest(DType.of(x.dtype))
    padded = _padded(attributes, x, counts, low)
    where = _padded(attributes, _positions(x.shape, attributes["column_major"]), counts, -1)
    best, index = np.full(shape, low, x.dtype), np.full(shape, -1, np.int64)
    for offset in tap_offsets(attributes["kernel"]):
        value, place = (tap(a, offset, counts, *steps) for a in (padded, where))
        better = ((value > best) | (index < 0)) & (place >= 0)
        best, index = np.where(better, value, best), np.where(better, place, index)
    return best, index


def _positions(shape: tuple[int, ...], column_major: bool) -> Array:
    count = np.arange(np.prod(shape), dtype=np.int64)
    if not column_major:
        return count.reshape(shape)
    planes = count.reshape(*shape[:2], *shape[:1:-1])
    return planes.transpose(0, 1, *range(len(shape) - 1, 1, -1))


def max_unpool(attributes: Attributes, x: Array, indices: Array) -> tuple[Array]:
    """Values put back where a max pool found them, 0 everywhere else."""
    y = np.zeros(int(np.prod(attributes["shape"])), x.dtype)
    y[indices.ravel()] = x.ravel()
    return (y.reshape(attributes["shape"]),)


POOL_FUNCTIONS: dict[str, Callable[..., tuple[Array, ...]]] = {
    "pool": pool,
    "max_pool_indices": max_pool_indices,
    "max_unpool": max_unpool,
}
