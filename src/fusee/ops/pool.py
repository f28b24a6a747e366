"""Summaries over sliding windows: Pool, and max-pooling that also says where the maxima were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fusee.base.dims import Dim
from fusee.base.errors import ShapeError
from fusee.base.host_pool import max_pool_indices, max_unpool, pool
from fusee.base.types import Array, DType, Shape, TensorType
from fusee.base.windows import activation_shape, channels, spatial_shape, window_counts
from fusee.ir.graph import Op, Sample
from fusee.ops.check import numbers

KINDS = ("max", "average", "lp")


@dataclass(frozen=True)
class Pool(Op):
    """The maximum, average or p-norm of every window, channel by channel.

    x[N, C, *spatial] (``layout`` "NCHW") or x[N, *spatial, C] ("NHWC"). ``pads`` holds all begins, then all ends.
    ``kind`` "average" divides by the elements inside the input, or with ``count_include_pad`` inside the padded
    input; what hangs over because of ``ceil_mode`` never counts. "lp" is (sum |x|^p)^(1/p). Averages of integers
    round half to even. ONNX MaxPool-12, AveragePool-19, LpPool-18.
    """

    kind: str
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    ceil_mode: bool = False
    count_include_pad: bool = False
    layout: str = "NCHW"
    p: int = 2

    host_fallback: ClassVar[str] = "pool"

    def infer(self, x: TensorType) -> TensorType:
        if self.kind not in KINDS:
            raise ShapeError(f"kind {self.kind!r} should be one of {', '.join(KINDS)}")
        spatial = spatial_shape(x.shape, self.layout)
        counts = self.counts(spatial)
        return x.with_shape(activation_shape(x.shape[0], channels(x.shape, self.layout), counts, self.layout))

    def counts(self, spatial: Shape) -> Shape:
        """How many windows there are along each spatial axis."""
        return window_counts(spatial, self.kernel, self.strides, self.dilations, self.pads, self.ceil_mode)

    def reference(self, x: Array) -> Array:
        return pool(self.attributes(), x)[0]

    def flops(self, x: TensorType) -> Dim:
        return self.infer(x).size * int(np.prod(self.kernel))

    samples: ClassVar[tuple[Sample, ...]] = ()


def _pool(kind: str, kernel: int, stride: int = 1, pad: int = 0, dilation: int = 1, **rest: object) -> Pool:
    return Pool(kind, (kernel,) * 2, (stride,) * 2, (pad,) * 4, (dilation,) * 2, **rest)  # pyright: ignore[reportArgumentType]


Pool.samples = (
    (_pool("max", 3, 2, 1), ("f32[1,17,9,8]",)),
    (_pool("max", 2, 2), ("f32[2,3,5,7]",)),
    (_pool("max", 3, 2, ceil_mode=True), ("f32[1,2,6,6]",)),
    (_pool("max", 3, 1, 2, 2), ("f32[1,4,6,5]",)),
    (_pool("max", 5, 1, 2, layout="NHWC"), ("f32[1,7,6,35]",)),
    (_pool("max", 3, 2, 1, layout="NHWC"), ("f32[2,9,9,16]",)),
    (_pool("max", 2, 2), ("i8[1,3,4,6]",)),
    (_pool("max", 3, 2, 1), ("u8[1,3,7,6]",)),
    (_pool("max", 2, 2), ("f16[1,3,4,6]",)),
    (_pool("max", 2, 2), ("bf16[1,3,4,6]",)),
    (_pool("max", 2, 1), ("f64[1,3,4,6]",)),
    (_pool("average", 3, 2, 1), ("f32[1,17,9,8]",)),
    (_pool("average", 3, 2, 1, count_include_pad=True), ("f32[1,5,9,8]",)),
    (_pool("average", 3, 2, 1, ceil_mode=True, count_include_pad=True), ("f32[1,3,8,8]",)),
    (_pool("average", 3, 2, ceil_mode=True), ("f32[1,3,6,6]",)),
    (_pool("average", 2, 2, layout="NHWC"), ("f32[1,8,6,33]",)),
    (_pool("average", 2, 1, 0, 2), ("f32[1,3,6,6]",)),
    (_pool("average", 2, 2), ("f16[1,3,6,6]",)),
    (_pool("lp", 3, 1, 1), ("f32[1,3,6,6]",)),
    (_pool("lp", 2, 2, p=3), ("f32[1,3,6,5]",)),
    (Pool("max", (3,), (2,), (1, 1), (1,)), ("f32[1,3,9]",)),
    (Pool("average", (2, 3, 2), (1, 2, 2), (0, 1, 0, 0, 1, 1), (1, 1, 1)), ("f32[1,2,4,5,6]",)),
)


@dataclass(frozen=True)
class MaxPoolIndices(Op):
    """The maximum of every window, and where in the whole input it was found first.

    x[N, C, *spatial] -> (y, i64 indices): positions in the flattened x, its padding not counted; with
    ``column_major`` the spatial axes are counted with the first one fastest. ONNX MaxPool-12, both results.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    ceil_mode: bool = False
    column_major: bool = False

    host_fallback: ClassVar[str] = "max_pool_indices"

    def infer(self, x: TensorType) -> tuple[TensorType, TensorType]:
        spatial = spatial_shape(x.shape, "NCHW")
        counts = window_counts(spatial, self.kernel, self.strides, self.dilations, self.pads, self.ceil_mode)
        y = x.with_shape((*x.shape[:2], *counts))
        return y, y.with_dtype(DType.I64)

    def reference(self, x: Array) -> tuple[Array, ...]:
        return max_pool_indices(self.attributes(), x)

    def flops(self, x: TensorType) -> Dim:
        return self.infer(x)[0].size * int(np.prod(self.kernel))

    samples: ClassVar[tuple[Sample, ...]] = ()


MaxPoolIndices.samples = (
    (MaxPoolIndices((2, 2), (2, 2), (0,) * 4, (1, 1)), ("f32[2,3,5,6]",)),
    (MaxPoolIndices((3, 3), (1, 1), (1,) * 4, (1, 1)), ("f32[1,2,4,5]",)),
    (MaxPoolIndices((3, 3), (2, 2), (0,) * 4, (1, 1), ceil_mode=True), ("f32[1,2,6,6]",)),
    (MaxPoolIndices((2, 2), (1, 1), (0,) * 4, (2, 2), column_major=True), ("f32[1,2,4,5]",)),
    (MaxPoolIndices((3,), (2,), (1, 1), (1,)), ("f32[1,2,7]",)),
)


@dataclass(frozen=True)
class MaxUnpool(Op):
    """Put values back where a max pool found them, 0 everywhere else.

    x[...], indices: i64 of the same shape, positions in the flattened result -> ``shape``. ONNX MaxUnpool-11.
    """

    shape: tuple[Dim, ...]

    host_fallback: ClassVar[str] = "max_unpool"

    def infer(self, x: TensorType, indices: TensorType) -> TensorType:
        if x.rank != indices.rank or indices.dtype is not DType.I64:
            raise ShapeError(f"x is {x} and indices {indices}; expected i64 indices of the shape of x")
        return x.with_shape(self.shape)

    def reference(self, x: Array, indices: Array) -> Array:
        return max_unpool(self.attributes(), x, indices)[0]

    def sample_operands(self, rng: np.random.Generator, *types: TensorType) -> tuple[Array, ...]:
        size = int(np.prod(numbers(self.shape)))
        shape = types[1].static_shape()
        places = rng.permutation(size)[: int(np.prod(shape))]
        return rng.standard_normal(shape).astype(types[0].dtype.numpy), places.astype(np.int64).reshape(shape)

    samples: ClassVar[tuple[Sample, ...]] = ()


MaxUnpool.samples = (
    (MaxUnpool((1, 1, 4, 4)), ("f32[1,1,2,2]", "i64[1,1,2,2]")),
    (MaxUnpool((2, 3, 5, 7)), ("f32[2,3,2,3]", "i64[2,3,2,3]")),
)

POOL_OPS: tuple[type[Op], ...] = (Pool, MaxPoolIndices, MaxUnpool)
