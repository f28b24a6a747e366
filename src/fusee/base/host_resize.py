"""Resizing on numpy: along each axis, elements are looked up or filtered (ONNX Resize-19)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fusee.base.types import Array, DType

Region = tuple[float, float]
WHOLE: Region = (0.0, 1.0)


@dataclass(frozen=True)
class Filter:
    """How positions are found and what is read there: the attributes of Resize that do not depend on an axis."""

    mode: str
    coordinate: str
    nearest_mode: str
    cubic_a: float
    exclude_outside: bool
    extrapolation: float
    antialias: bool

    @staticmethod
    def of(attributes: Mapping[str, Any]) -> Filter:
        return Filter(*(attributes[name] for name in Filter.__dataclass_fields__))


@dataclass(frozen=True, eq=False)
class Taps:
    """How one axis is resized: result i is the sum over t of ``weights[i, t] * x[indices[i, t]]``.

    ``outside[i]`` says that the position lies outside the input, where cropping extrapolates.
    """

    indices: Array
    weights: Array
    outside: Array


def taps(how: Filter, size: int, target: int, scale: float | None, region: Region = WHOLE) -> Taps:
    """How to resize one axis from ``size`` to ``target`` elements; without a scale it is their ratio."""
    factor = np.float32(scale if scale is not None else target / size if size else 1)
    position = _positions(how, size, target, factor, scale, region)
    outside = (position < 0) | (position > size - 1)
    if how.mode == "nearest":
        index = np.clip(_nearest(position, how.nearest_mode), 0, max(size - 1, 0)).astype(np.int64)
        return Taps(index[:, None], np.ones((target, 1), np.float32), outside)
    shrink = float(min(factor, np.float32(1))) if how.antialias else 1.0
    reach = int(np.ceil((1 if how.mode == "linear" else 2) / shrink))
    index = np.floor(position)[:, None].astype(np.int64) + np.arange(1 - reach, reach + 1)
    distance = np.abs(position[:, None] - index) * shrink
    weights = np.maximum(0, 1 - distance) if how.mode == "linear" else _cubic(distance, how.cubic_a)
    if how.exclude_outside:
        weights = np.where((index >= 0) & (index < size), weights, 0)
    if how.antialias or how.exclude_outside:
        total = weights.sum(1, keepdims=True)
        weights = weights / np.where(total == 0, 1, total)
    return Taps(np.clip(index, 0, max(size - 1, 0)), weights.astype(np.float32), outside)


def _positions(how: Filter, size: int, target: int, factor: np.float32, scale: float | None, region: Region) -> Array:
    """Where each element of the result lies in the input, in f32 as ONNX Runtime computes it."""
    i, half = np.arange(target, dtype=np.float32), np.float32(0.5)
    match how.coordinate:
        case "asymmetric":
            return i / factor
        case "align_corners":
            exact = target if scale is None else max(float(factor) * size, 1.0)
            return i * np.float32((size - 1) / (exact - 1)) if exact > 1 else i * 0
        case "tf_half_pixel_for_nn":
            return (i + half) / factor
        case "tf_crop_and_resize":
            return _cropped(size, target, region)
        case "pytorch_half_pixel" if target == 1:
            return np.zeros(1, np.float32)
        case "half_pixel_symmetric":
            offset = np.float32(size / 2) * (1 - np.float32(target) / (np.float32(size) * factor))
            return offset + (i + half) / factor - half
        case _:
            return (i + half) / factor - half


def _cropped(size: int, target: int, region: Region) -> Array:
    begin, end = (np.float32(r) for r in region)
    last = np.float32(size - 1)
    if target == 1:
        return np.array([np.float32(0.5) * (begin + end) * last], np.float32)
    step = (end - begin) * last / np.float32(target - 1)
    return begin * last + np.arange(target, dtype=np.float32) * step


def _nearest(position: Array, mode: str) -> Array:
    if mode == "round_prefer_floor":
        return np.ceil(position - np.float32(0.5))
    if mode == "round_prefer_ceil":
        return np.floor(position + np.float32(0.5))
    return np.floor(position) if mode == "floor" else np.ceil(position)


def _cubic(distance: Array, a: float) -> Array:
    """Keys, Cubic convolution interpolation for digital image processing (1981), equation 4 with free a."""
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))


def resample(
    how: Filter, x: Array, sizes: Sequence[int], scales: Sequence[float | None], regions: Sequence[Region]
) -> Array:
    """x with other sizes, axis after axis."""
    dtype = DType.of(x.dtype)
    y = x if how.mode == "nearest" else x.astype(np.float64 if dtype is DType.F64 else np.float32)
    outside = np.zeros((1,) * x.ndim, bool)
    for axis, (size, scale, region) in enumerate(zip(sizes, scales, regions, strict=True)):
        if size == y.shape[axis] and scale in (None, 1.0) and region == WHOLE:
            continue
        found = taps(how, y.shape[axis], size, scale, region)
        y = _filtered(y, found, axis, how.mode == "nearest")
        outside = outside | found.outside.reshape(-1, *[1] * (x.ndim - 1 - axis))
    if how.coordinate == "tf_crop_and_resize":
        y = np.where(outside, np.asarray(how.extrapolation, y.dtype), y)
    return np.ascontiguousarray(_rounded(y, dtype, how.antialias))


def _filtered(x: Array, found: Taps, axis: int, exact: bool) -> Array:
    if exact:
        return np.take(x, found.indices[:, 0], axis)
    lift = (-1, *[1] * (x.ndim - 1 - axis))
    total = np.zeros((*x.shape[:axis], len(found.indices), *x.shape[axis + 1 :]), x.dtype)
    for indices, weights in zip(found.indices.T, found.weights.T, strict=True):
        total += np.take(x, indices, axis) * weights.astype(x.dtype).reshape(lift)
    return total


def _rounded(y: Array, dtype: DType, nearest: bool) -> Array:
    """Integers are cut off, or with antialiasing rounded, as ONNX Runtime does, and never wrap around."""
    if not dtype.is_integer or y.dtype == dtype.numpy:
        return y.astype(dtype.numpy, copy=False)
    limits = np.iinfo(dtype.numpy)
    whole = np.floor(y + 0.5) if nearest else np.trunc(y)
    return np.clip(whole, limits.min, limits.max).astype(dtype.numpy)


def regions_of(roi: Sequence[float], rank: int) -> list[Region]:
    """The part of each axis that is read: ``roi`` holds all begins, then all ends; without one, all of it."""
    return [(float(roi[i]), float(roi[i + rank])) for i in range(rank)] if len(roi) else [WHOLE] * rank


def resize(attributes: Mapping[str, Any], x: Array) -> tuple[Array]:
    """Resize to known sizes: ``sizes``, ``scales`` and ``roi`` are attributes."""
    regions = regions_of(attributes["roi"], x.ndim)
    return (resample(Filter.of(attributes), x, attributes["sizes"], attributes["scales"], regions),)


def fitted_sizes(sizes: Sequence[int], found: Sequence[int], policy: str) -> tuple[list[int], float | None]:
    """What sizes become when the aspect ratio is kept, and the one scale they then follow."""
    if policy == "stretch":
        return list(sizes), None
    ratios = [s / n for s, n in zip(sizes, found, strict=True)]
    scale = min(ratios) if policy == "not_larger" else max(ratios)
    return [int(np.floor(scale * n + 0.5)) for n in found], scale


def resize_by_data(attributes: Mapping[str, Any], x: Array, wanted: Array, *roi: Array) -> tuple[Array]:
    """Resize to sizes, or by scales, that are given at run time for ``axes``, as may be the region that is read."""
    axes = attributes["axes"]
    found = [x.shape[a] for a in axes]
    if attributes["by_sizes"]:
        new, scale = fitted_sizes([int(n) for n in wanted.ravel()], found, attributes["policy"])
        factors = [scale] * len(axes)
    else:
        factors = [float(s) for s in wanted.ravel()]
        new = [int(np.floor(np.float32(s) * np.float32(n))) for s, n in zip(factors, found, strict=True)]
    sizes, regions = list(x.shape), [WHOLE] * x.ndim
    scales: list[float | None] = [1.0] * x.ndim
    given = regions_of(roi[0].ravel().tolist() if roi else (), len(axes))
    for axis, size, factor, region in zip(axes, new, factors, given, strict=True):
        sizes[axis], scales[axis], regions[axis] = size, factor, region
    return (resample(Filter.of(attributes), x, sizes, scales, regions),)


RESIZE_FUNCTIONS: dict[str, Callable[..., tuple[Array, ...]]] = {"resize": resize, "resize_by_data": resize_by_data}
