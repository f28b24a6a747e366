"""Resize: changing the sizes of a tensor by looking up, interpolating or averaging along each axis in turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fusee.base.dims import Dim, Expr, sym, symbols
from fusee.base.errors import ShapeError
from fusee.base.host_resize import WHOLE, Filter, Taps, regions_of, resize, resize_by_data, taps
from fusee.base.types import Array, DType, TensorType
from fusee.ir.graph import Op, Sample
from fusee.ops.linear import differ

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


def _check_modes(mode: str, coordinate: str, nearest_mode: str) -> None:
    if mode not in MODES or coordinate not in COORDINATES or nearest_mode not in NEAREST_MODES:
        raise ShapeError(f"unknown mode: {mode}, {coordinate}, {nearest_mode}")


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

    host_fallback: ClassVar[str] = "resize"

    def infer(self, x: TensorType) -> TensorType:
        _check_modes(self.mode, self.coordinate, self.nearest_mode)
        if len(self.sizes) != x.rank or len(self.scales) != x.rank:
            raise ShapeError(f"sizes {self.sizes} and scales {self.scales} should have one number per axis of {x}")
        if self.coordinate == "tf_crop_and_resize" and len(self.roi) != 2 * x.rank:
            raise ShapeError(f"roi {self.roi} should hold {2 * x.rank} numbers for {x}")
        return x.with_shape(self.sizes)

    def is_identity(self, axis: int, size: Dim) -> bool:
        """Whether this axis keeps every element where it is."""
        region = regions_of(self.roi, len(self.sizes))[axis]
        return region == WHOLE and size == self.sizes[axis] and self.scales[axis] in (None, 1.0)

    def taps(self, axis: int, size: int, target: int) -> Taps:
        """How to resize one axis from ``size`` to ``target`` elements."""
        region = regions_of(self.roi, len(self.sizes))[axis]
        return taps(Filter.of(self.attributes()), size, target, self.scales[axis], region)

    def reference(self, x: Array) -> Array:
        return resize(self.attributes(), x)[0]

    def flops(self, x: TensorType) -> Dim:
        taken = {"nearest": 0, "linear": 2, "cubic": 4}[self.mode]
        changed = sum(not self.is_identity(axis, size) for axis, size in enumerate(x.shape))
        return self.infer(x).size * (2 * taken * changed)

    samples: ClassVar[tuple[Sample, ...]] = ()


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
    (_resize(4, 9, mode="linear", coordinate="tf_crop_and_resize", roi=_ROI, extrapolation=7.0), _X),
    (Resize((1, 2, 9), (None,) * 3, "linear"), ("f32[1,2,5]",)),
    (Resize((1, 2, 4, 6, 8), (None,) * 5, "linear"), ("f32[1,2,3,4,5]",)),
    (_resize(10, 14), ("u8[1,2,5,7]",)),
    (_resize(10, 14, mode="linear"), ("u8[1,2,5,7]",)),
    (_resize(10, 14), ("f16[1,2,5,7]",)),
    (_resize(10, 14, mode="linear"), ("f16[1,2,5,7]",)),
    (_resize(10, 14, mode="linear"), ("f64[1,2,5,7]",)),
)


@dataclass(frozen=True)
class ResizeByData(Op):
    """Resize whose scales, sizes or region only the run knows.

    x, wanted: the scales or (``by_sizes``) sizes of ``axes``, and for tf_crop_and_resize the region: all begins of
    those axes, then all ends -> the element type of x with shape ``sizes``, which names what the data decides.
    ``policy`` says whether sizes are taken as they are (stretch) or as bounds that keep the aspect ratio
    (not_larger, not_smaller); the rest is as in Resize. ONNX Resize-19.
    """

    sizes: tuple[Dim, ...]
    axes: tuple[int, ...]
    by_sizes: bool = False
    policy: str = "stretch"
    mode: str = "nearest"
    coordinate: str = "half_pixel"
    nearest_mode: str = "round_prefer_floor"
    cubic_a: float = -0.75
    exclude_outside: bool = False
    extrapolation: float = 0.0
    antialias: bool = False

    on_host: ClassVar[str] = "resize_by_data"

    def infer(self, x: TensorType, wanted: TensorType, *roi: TensorType) -> TensorType:
        _check_modes(self.mode, self.coordinate, self.nearest_mode)
        cropped = self.coordinate == "tf_crop_and_resize"
        if len(self.sizes) != x.rank or differ(wanted.size, len(self.axes)) or len(roi) != cropped:
            raise ShapeError(f"x is {x}, wanted {wanted}; expected {len(self.axes)} numbers, and {cropped:d} region")
        return x.with_shape(self.sizes)

    def defined_symbols(self) -> frozenset[str]:
        return symbols([self.sizes[a] for a in self.axes if isinstance(self.sizes[a], Expr)])

    def reference(self, x: Array, wanted: Array, *roi: Array) -> Array:
        return resize_by_data(self.attributes(), x, wanted, *roi)[0]

    def sample_operands(self, rng: np.random.Generator, *types: TensorType) -> tuple[Array, ...]:
        x = rng.standard_normal(types[0].static_shape()).astype(types[0].dtype.numpy)
        count = len(self.axes)
        wanted = rng.integers(2, 9, count) if types[1].dtype is DType.I64 else rng.uniform(0.5, 2.5, count)
        region = np.concatenate([rng.uniform(-0.2, 0.3, count), rng.uniform(0.6, 1.2, count)])
        given = wanted.astype(types[1].dtype.numpy), region.astype(np.float32)
        return x, *given[: len(types) - 1]

    samples: ClassVar[tuple[Sample, ...]] = ()


_NAMED = (1, 2, sym("height"), sym("width"))
ResizeByData.samples = (
    (ResizeByData(_NAMED, (2, 3)), ("f32[1,2,5,7]", "f32[2]")),
    (ResizeByData(_NAMED, (2, 3), by_sizes=True, policy="not_larger", mode="linear"), ("f32[1,2,5,7]", "i64[2]")),
    (ResizeByData(_NAMED, (3, 2), mode="cubic", coordinate="tf_crop_and_resize"), (*_X, "f32[2]", "f32[4]")),
)

RESIZE_OPS: tuple[type[Op], ...] = (Resize, ResizeByData)
