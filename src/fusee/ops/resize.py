"""Resize: changing the sizes of a tensor by looking up, interpolating or averaging along each axis in turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fusee.base.dims import Dim
from fusee.base.errors import ShapeError
from fusee.base.types import Array, DType, TensorType
from fusee.ir.graph import Op, Sample
from fusee.ops.check import numbers
from fusee.ops.linear import working

MODES = ("nearest", "linear", "cubic")
COORDINATES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_half_pixel_for_nn",
    "tf_crop_and_resize",
)
NEAREST_MODES = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


@dataclass(frozen=True, eq=False)
class Taps:
    """How one axis is resized: result i is the sum over t of ``weights[i, t] * x[indices[i, t]]``.

    ``outside[i]`` says that the position lies outside the input, where cropping extrapolates.
    """

    indices: Array
    weights: Array
    outside: Array


@dataclass(frozen=True)
class Resize(Op):
    """A tensor of other sizes whose elements are looked up in, or interpolated from, the input's.

    x -> the element type of x with shape ``sizes``. ``scales`` holds the factor of every axis, None where it is
    sizes / input size. ``mode`` is nearest, linear or cubic (with ``cubic_a``); ``coordinate`` maps positions of the
    result to positions of the input, ``nearest_mode`` rounds them. ``antialias`` widens the filter when an axis
    shrinks, ``exclude_outside`` leaves out what lies outside, and tf_crop_and_resize reads the region ``roi`` (all
    begins, then all ends, in parts of the input) and gives ``extrapolation`` outside the input. ONNX Resize-19.
    """

    sizes: tuple[Dim, ...]
    scales: tuple[float | None, ...]
    mode: str = "nearest"
    coordinate: str = "half_pixel"
    nearest_mode: str = "round_prefer_floor"
    cubic_a: float = -0.75
    exclude_outside: bool = False
    extrapolation: float = 0.0
    antialias: bool = False
    roi: tuple[float, ...] = ()

    def infer(self, x: TensorType) -> TensorType:
        if self.mode not in MODES or self.coordinate not in COORDINATES or self.nearest_mode not in NEAREST_MODES:
            raise ShapeError(f"unknown mode: {self.mode}, {self.coordinate}, {self.nearest_mode}")
        if len(self.sizes) != x.rank or len(self.scales) != x.rank:
            raise ShapeError(f"sizes {self.sizes} and scales {self.scales} should have one number per axis of {x}")
        if self.coordinate == "tf_crop_and_resize" and len(self.roi) != 2 * x.rank:
            raise ShapeError(f"roi {self.roi} should hold {2 * x.rank} numbers for {x}")
        return x.with_shape(self.sizes)

    def is_identity(self, axis: int, size: Dim) -> bool:
        """Whether this axis keeps every element where it is."""
        cropped = self.coordinate == "tf_crop_and_resize" and self.region(axis) != (0.0, 1.0)
        return not cropped and size == self.sizes[axis] and self.scales[axis] in (None, 1.0)

    def region(self, axis: int) -> tuple[float, float]:
        return self.roi[axis], self.roi[axis + len(self.roi) // 2]

    def reference(self, x: Array) -> Array:
        dtype = DType.of(x.dtype)
        if self.mode == "nearest":
            y, outside = self._walk(x)
        else:
            y, outside = self._walk(working(x, 1 << 20).astype(np.float64 if dtype is DType.F64 else np.float32))
        if self.coordinate == "tf_crop_and_resize":
            y = np.where(outside, np.asarray(self.extrapolation, y.dtype), y)
        return np.ascontiguousarray(_rounded(y, dtype, self.antialias))

    def _walk(self, x: Array) -> tuple[Array, Array]:
        outside = np.zeros((1,) * x.ndim, bool)
        for axis, (size, target) in enumerate(zip(x.shape, numbers(self.sizes), strict=True)):
            if self.is_identity(axis, size):
                continue
            taps = self.taps(axis, size, target)
            lift = (-1, *[1] * (x.ndim - 1 - axis))
            x = _filtered(x, taps, axis, self.mode == "nearest")
            outside = outside | taps.outside.reshape(lift)
        return x, outside

    def taps(self, axis: int, size: int, target: int) -> Taps:
        """How to resize one axis from ``size`` to ``target`` elements."""
        scale = self.scales[axis]
        factor = np.float32(scale if scale is not None else target / size if size else 1)
        position = self._positions(axis, size, target, factor)
        outside = (position < 0) | (position > size - 1)
        if self.mode == "nearest":
            index = np.clip(_nearest(position, self.nearest_mode), 0, max(size - 1, 0)).astype(np.int64)
            return Taps(index[:, None], np.ones((target, 1), np.float32), outside)
        shrink = float(min(factor, np.float32(1))) if self.antialias else 1.0
        reach = int(np.ceil((1 if self.mode == "linear" else 2) / shrink))
        index = np.floor(position)[:, None].astype(np.int64) + np.arange(1 - reach, reach + 1)
        distance = np.abs(position[:, None] - index) * shrink
        weights = _triangle(distance) if self.mode == "linear" else _cubic(distance, self.cubic_a)
        inside = (index >= 0) & (index < size)
        if self.exclude_outside or (self.antialias and self.mode == "linear"):
            weights = np.where(inside, weights, 0)
        if self.antialias or self.exclude_outside:
            total = weights.sum(1, keepdims=True)
            weights = weights / np.where(total == 0, 1, total)
        return Taps(np.clip(index, 0, max(size - 1, 0)), weights.astype(np.float32), outside)

    def _positions(self, axis: int, size: int, target: int, factor: np.float32) -> Array:
        """Where each element of the result lies in the input, in f32 as ONNX Runtime computes it."""
        i = np.arange(target, dtype=np.float32)
        match self.coordinate:
            case "asymmetric":
                return i / factor
            case "align_corners":
                return i * np.float32(size - 1) / np.float32(max(target - 1, 1))
            case "tf_half_pixel_for_nn":
                return (i + np.float32(0.5)) / factor
            case "tf_crop_and_resize":
                return self._cropped(axis, size, target)
            case "pytorch_half_pixel" if target == 1:
                return np.zeros(1, np.float32)
            case "half_pixel_symmetric":
                exact = np.float32(size) * factor
                offset = np.float32(size / 2) * (1 - np.float32(target) / exact)
                return offset + (i + np.float32(0.5)) / factor - np.float32(0.5)
            case _:
                return (i + np.float32(0.5)) / factor - np.float32(0.5)

    def _cropped(self, axis: int, size: int, target: int) -> Array:
        begin, end = (np.float32(r) for r in self.region(axis))
        last = np.float32(size - 1)
        if target == 1:
            return np.array([np.float32(0.5) * (begin + end) * last], np.float32)
        step = (end - begin) * last / np.float32(target - 1)
        return begin * last + np.arange(target, dtype=np.float32) * step

    def flops(self, x: TensorType) -> Dim:
        taps = {"nearest": 0, "linear": 2, "cubic": 4}[self.mode]
        changed = sum(not self.is_identity(axis, size) for axis, size in enumerate(x.shape))
        return self.infer(x).size * (2 * taps * changed)

    samples: ClassVar[tuple[Sample, ...]] = ()


def _filtered(x: Array, taps: Taps, axis: int, exact: bool) -> Array:
    if exact:
        return np.take(x, taps.indices[:, 0], axis)
    lift = (-1, *[1] * (x.ndim - 1 - axis))
    parts = (
        np.take(x, taps.indices[:, t], axis) * taps.weights[:, t].astype(x.dtype).reshape(lift)
        for t in range(taps.indices.shape[1])
    )
    total = next(parts)
    for part in parts:
        total += part
    return total


def _nearest(position: Array, mode: str) -> Array:
    if mode == "round_prefer_floor":
        return np.ceil(position - np.float32(0.5))
    if mode == "round_prefer_ceil":
        return np.floor(position + np.float32(0.5))
    return np.floor(position) if mode == "floor" else np.ceil(position)


def _triangle(distance: Array) -> Array:
    return np.maximum(0, 1 - distance)


def _cubic(distance: Array, a: float) -> Array:
    """Keys, Cubic convolution interpolation for digital image processing (1981), equation 4 with free a."""
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))


def _rounded(y: Array, dtype: DType, nearest: bool) -> Array:
    """Integers are cut off, or with antialiasing rounded, as ONNX Runtime does, and never wrap around."""
    if not dtype.is_integer or y.dtype == dtype.numpy:
        return y.astype(dtype.numpy, copy=False)
    limits = np.iinfo(dtype.numpy)
    whole = np.floor(y + 0.5) if nearest else np.trunc(y)
    return np.clip(whole, limits.min, limits.max).astype(dtype.numpy)


def _resize(height: int, width: int, **rest: object) -> Resize:
    return Resize((1, 2, height, width), (None,) * 4, **rest)  # pyright: ignore[reportArgumentType]


_X = ("f32[1,2,5,7]",)
_ROI = (0, 0, 0.2, -0.1, 1, 1, 1.3, 0.8)
Resize.samples = (
    (Resize((2, 3, 8, 6), (1.0, 1.0, 2.0, 2.0), coordinate="asymmetric", nearest_mode="floor"), ("f32[2,3,4,3]",)),
    (Resize((1, 2, 4, 5), (1.0, 1.0, 0.8, 0.8)), _X),
    (_resize(11, 4, nearest_mode="round_prefer_ceil"), _X),
    (_resize(3, 9, nearest_mode="ceil", coordinate="asymmetric"), _X),
    (_resize(3, 9, coordinate="tf_half_pixel_for_nn"), _X),
    (_resize(10, 14, mode="linear"), _X),
    (_resize(10, 14, mode="linear", coordinate="align_corners"), _X),
    (_resize(9, 3, mode="linear", coordinate="asymmetric"), _X),
    (_resize(1, 3, mode="linear", coordinate="pytorch_half_pixel"), _X),
    (Resize((1, 2, 4, 16), (1.0, 1.0, 0.9, 2.3), mode="linear", coordinate="half_pixel_symmetric"), _X),
    (_resize(3, 4, mode="linear", antialias=True), _X),
    (_resize(10, 14, mode="cubic"), _X),
    (_resize(4, 6, mode="cubic", exclude_outside=True, cubic_a=-0.5), _X),
    (_resize(3, 4, mode="cubic", antialias=True), _X),
    (
        _resize(
            4,
            9,
            mode="linear",
            coordinate="tf_crop_and_resize",
            roi=_ROI,
            extrapolation=7.0,
        ),
        _X,
    ),
    (Resize((1, 2, 9), (None,) * 3, "linear"), ("f32[1,2,5]",)),
    (Resize((1, 2, 4, 6, 8), (None,) * 5, "linear"), ("f32[1,2,3,4,5]",)),
    (_resize(10, 14), ("u8[1,2,5,7]",)),
    (_resize(10, 14, mode="linear"), ("u8[1,2,5,7]",)),
    (_resize(10, 14), ("f16[1,2,5,7]",)),
    (_resize(10, 14, mode="linear"), ("f16[1,2,5,7]",)),
    (_resize(10, 14, mode="linear"), ("f64[1,2,5,7]",)),
)

RESIZE_OPS: tuple[type[Op], ...] = (Resize,)
