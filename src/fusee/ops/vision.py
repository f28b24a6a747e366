"""Looking things up in images where the data says: GridSample, RoiAlign, MaxRoiPool, NonMaxSuppression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fusee.base.dims import Dim, Expr, product, sym, symbols
from fusee.base.errors import ShapeError
from fusee.base.host_detection import non_max_suppression
from fusee.base.host_vision import grid_sample, max_roi_pool, roi_align
from fusee.base.types import Array, DType, TensorType
from fusee.ir.graph import Op, Sample
from fusee.ops.linear import differ


@dataclass(frozen=True)
class GridSample(Op):
    """The input at the positions a grid gives: x[N, C, *spatial], grid[N, *result, axes] -> [N, C, *result].

    The last axis of the grid holds positions from -1 to 1, the last spatial axis first. With ``align_corners`` -1 and
    1 are the centres of the outermost elements, else their outer edges. ``mode``: nearest (halves to even), linear,
    cubic; ``padding``: zeros, border, reflection. ONNX GridSample-20.
    """

    mode: str = "linear"
    padding: str = "zeros"
    align_corners: bool = False

    host_fallback: ClassVar[str] = "grid_sample"

    def infer(self, x: TensorType, grid: TensorType) -> TensorType:
        if self.mode not in ("nearest", "linear", "cubic") or self.padding not in ("zeros", "border", "reflection"):
            raise ShapeError(f"unknown mode {self.mode} or padding {self.padding}")
        if x.rank < 3 or grid.rank != x.rank or differ(grid.shape[-1], x.rank - 2):
            raise ShapeError(f"x is {x} and grid {grid}; expected a grid [N, ..., {x.rank - 2}] of the rank of x")
        return x.with_shape((*x.shape[:2], *grid.shape[1:-1]))

    def reference(self, x: Array, grid: Array) -> Array:
        return grid_sample(self.attributes(), x, grid)[0]

    def flops(self, x: TensorType, grid: TensorType) -> Dim:
        taps = {"nearest": 1, "linear": 2, "cubic": 4}[self.mode] ** (x.rank - 2)
        return 2 * taps * self.infer(x, grid).size

    def sample_operands(self, rng: np.random.Generator, *types: TensorType) -> tuple[Array, ...]:
        x, grid = (t.static_shape() for t in types)
        places = rng.uniform(-1.4, 1.4, grid)
        return rng.standard_normal(x).astype(types[0].dtype.numpy), places.astype(types[1].dtype.numpy)

    samples: ClassVar[tuple[Sample, ...]] = ()


_IMAGE = ("f32[2,3,5,7]", "f32[2,4,3,2]")
GridSample.samples = (
    *[
        (GridSample(mode, padding, align), _IMAGE)
        for mode in ("nearest", "linear", "cubic")
        for padding in ("zeros", "border", "reflection")
        for align in (False, True)
    ],
    (GridSample(), ("f32[1,2,3,4,5]", "f32[1,2,3,2,3]")),
    (GridSample("nearest", "border"), ("f32[1,2,3,4,5]", "f32[1,2,3,2,3]")),
    (GridSample(), ("f64[1,2,3,4]", "f64[1,2,3,2]")),
)


@dataclass(frozen=True)
class RoiAlign(Op):
    """Each region of interest as a small image of one size.

    x[N, C, H, W], rois[R, 4] (x1, y1, x2, y2 in units of 1 / ``spatial_scale`` elements), batch[R]: which image
    -> [R, C, height, width]. Each result element is the average (or with ``maximum`` the largest corner term) of
    ``sampling_ratio``^2 points, 0 meaning as many as elements. ``half_pixel`` shifts regions by half an element.
    ONNX RoiAlign-16.
    """

    height: int
    width: int
    sampling_ratio: int = 0
    spatial_scale: float = 1.0
    maximum: bool = False
    half_pixel: bool = True

    host_fallback: ClassVar[str] = "roi_align"

    def infer(self, x: TensorType, rois: TensorType, batch: TensorType) -> TensorType:
        if x.rank != 4 or rois.rank != 2 or batch.rank != 1 or differ(rois.shape[1], 4):
            raise ShapeError(f"x is {x}, rois {rois}, batch {batch}; expected [N,C,H,W], [R,4] and [R]")
        return x.with_shape((rois.shape[0], x.shape[1], self.height, self.width))

    def reference(self, x: Array, rois: Array, batch: Array) -> Array:
        return roi_align(self.attributes(), x, rois, batch)[0]

    def flops(self, x: TensorType, rois: TensorType, batch: TensorType) -> Dim:
        return 8 * max(self.sampling_ratio, 1) ** 2 * self.infer(x, rois, batch).size

    def sample_operands(self, rng: np.random.Generator, *types: TensorType) -> tuple[Array, ...]:
        shape = types[0].static_shape()
        count = types[1].static_shape()[0]
        extent = np.array([shape[3], shape[2]]) / self.spatial_scale
        start = rng.uniform(-0.1, 0.6, (count, 2)) * extent
        rois = np.concatenate([start, start + rng.uniform(0.1, 0.5, (count, 2)) * extent], axis=1)
        batch = rng.integers(0, shape[0], count).astype(types[2].dtype.numpy)
        return rng.standard_normal(shape).astype(types[0].dtype.numpy), rois.astype(types[1].dtype.numpy), batch

    samples: ClassVar[tuple[Sample, ...]] = ()


_ROIS = ("f32[2,3,9,11]", "f32[5,4]", "i64[5]")
RoiAlign.samples = (
    (RoiAlign(3, 4, 2), _ROIS),
    (RoiAlign(3, 4, 0, 0.5), _ROIS),
    (RoiAlign(2, 2, 2, 1.0, maximum=True), _ROIS),
    (RoiAlign(7, 7, 2, 0.25, half_pixel=False), _ROIS),
    (RoiAlign(2, 2, 2), ("f64[1,2,6,5]", "f64[3,4]", "i64[3]")),
)


@dataclass(frozen=True)
class MaxRoiPool(Op):
    """The maxima of a grid of cells over each region of interest.

    x[N, C, H, W], rois[R, 5] (image, x1, y1, x2, y2) -> [R, C, height, width]. Regions are scaled by
    ``spatial_scale`` and rounded; cells without elements give 0. ONNX MaxRoiPool-1.
    """

    height: int
    width: int
    spatial_scale: float = 1.0

    host_fallback: ClassVar[str] = "max_roi_pool"

    def infer(self, x: TensorType, rois: TensorType) -> TensorType:
        if x.rank != 4 or rois.rank != 2 or differ(rois.shape[1], 5):
            raise ShapeError(f"x is {x} and rois {rois}; expected [N,C,H,W] and [R,5]")
        return x.with_shape((rois.shape[0], x.shape[1], self.height, self.width))

    def reference(self, x: Array, rois: Array) -> Array:
        return max_roi_pool(self.attributes(), x, rois)[0]

    def flops(self, x: TensorType, rois: TensorType) -> Dim:
        return self.infer(x, rois).size

    def sample_operands(self, rng: np.random.Generator, *types: TensorType) -> tuple[Array, ...]:
        shape = types[0].static_shape()
        count = types[1].static_shape()[0]
        extent = np.array([shape[3], shape[2]]) / self.spatial_scale
        start = rng.uniform(0, 0.6, (count, 2)) * extent
        image = rng.integers(0, shape[0], (count, 1))
        rois = np.concatenate([image, start, start + rng.uniform(0.1, 0.5, (count, 2)) * extent], axis=1)
        return rng.standard_normal(shape).astype(types[0].dtype.numpy), rois.astype(types[1].dtype.numpy)

    samples: ClassVar[tuple[Sample, ...]] = ()


MaxRoiPool.samples = (
    (MaxRoiPool(2, 3), ("f32[2,3,9,11]", "f32[4,5]")),
    (MaxRoiPool(7, 7, 0.5), ("f32[1,2,9,8]", "f32[3,5]")),
)


@dataclass(frozen=True)
class NonMaxSuppression(Op):
    """The boxes that are kept when those that overlap better ones are dropped, class by class.

    boxes[B, N, 4] (two corners, or with ``center_point_box`` centre x, y, width, height), scores[B, C, N], most boxes
    per class: i64, IoU threshold, score threshold (one element each; without the last one every box is a candidate)
    -> i64[count, 3]: batch, class, box, by falling score within a class. ONNX NonMaxSuppression-11.
    """

    count: Dim
    center_point_box: bool = False

    on_host: ClassVar[str] = "non_max_suppression"

    def infer(self, boxes: TensorType, scores: TensorType, *limits: TensorType) -> TensorType:
        if boxes.rank != 3 or scores.rank != 3 or differ(boxes.shape[2], 4) or differ(boxes.shape[1], scores.shape[2]):
            raise ShapeError(f"boxes are {boxes} and scores {scores}; expected [B,N,4] and [B,C,N]")
        if not 2 <= len(limits) <= 3:
            raise ShapeError(f"there are {len(limits)} limits; expected a count, an IoU and perhaps a score threshold")
        return TensorType(DType.I64, (self.count, 3))

    def defined_symbols(self) -> frozenset[str]:
        return symbols(self.count) if isinstance(self.count, Expr) else frozenset()

    def reference(self, boxes: Array, scores: Array, *limits: Array) -> Array:
        return non_max_suppression({"center_point_box": self.center_point_box}, boxes, scores, *limits)[0]

    def flops(self, boxes: TensorType, scores: TensorType, *limits: TensorType) -> Dim:
        return 16 * product(scores.shape)

    def sample_operands(self, rng: np.random.Generator, *types: TensorType) -> tuple[Array, ...]:
        boxes, scores = (rng.uniform(0, 1, t.static_shape()).astype(t.dtype.numpy) for t in types[:2])
        limits = (np.array([3], np.int64), np.array([0.3], np.float32), np.array([0.4], np.float32))
        return boxes, scores, *limits[: len(types) - 2]

    samples: ClassVar[tuple[Sample, ...]] = ()


_COUNT = sym("kept")
NonMaxSuppression.samples = (
    (NonMaxSuppression(_COUNT), ("f32[2,12,4]", "f32[2,3,12]", "i64[1]", "f32[1]", "f32[1]")),
    (NonMaxSuppression(_COUNT, True), ("f32[1,9,4]", "f32[1,2,9]", "i64[1]", "f32[1]")),
)

VISION_OPS: tuple[type[Op], ...] = (GridSample, RoiAlign, MaxRoiPool, NonMaxSuppression)
