"""Ops that set each element in proportion to its neighbours along axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fusee.base import host_reduce
from fusee.base.dims import Dim
from fusee.base.errors import ShapeError
from fusee.base.types import Array, TensorType
from fusee.ir.graph import Op
from fusee.ops.check import need_axis
from fusee.ops.element import on_each


def _need_float(x: TensorType) -> None:
    if not x.dtype.is_float:
        raise ShapeError(f"the operand is {x}; it must be a float")


@dataclass(frozen=True)
class Softmax(Op):
    """exp(x - max) / sum(exp(x - max)) along one axis: shares that sum to 1. Taking the max out avoids overflow.

    x: float -> its type. ONNX Softmax-13.
    """

    axis: int

    host_fallback: ClassVar[str] = "softmax"

    def infer(self, x: TensorType) -> TensorType:
        _need_float(x)
        need_axis(self.axis, x.rank)
        return x

    def reference(self, x: Array) -> Array:
        return host_reduce.softmax(self.attributes(), x)[0]

    def flops(self, x: TensorType) -> Dim:
        return 5 * x.size


@dataclass(frozen=True)
class LogSoftmax(Op):
    """The logarithm of Softmax: x - max - log(sum(exp(x - max))) along one axis.

    x: float -> its type. ONNX LogSoftmax-13.
    """

    axis: int

    host_fallback: ClassVar[str] = "log_softmax"

    def infer(self, x: TensorType) -> TensorType:
        _need_float(x)
        need_axis(self.axis, x.rank)
        return x

    def reference(self, x: Array) -> Array:
        return host_reduce.log_softmax(self.attributes(), x)[0]

    def flops(self, x: TensorType) -> Dim:
        return 5 * x.size


@dataclass(frozen=True)
class Normalize(Op):
    """(x - mean) / sqrt(variance + epsilon) over ``axes``; not ``center``: x / sqrt(mean(x**2) + epsilon).

    x: float -> its type. The heart of layer, instance, group and RMS normalisation, which scale and shift after it.
    ONNX LayerNormalization-17, RMSNormalization-23.
    """

    axes: tuple[int, ...]
    epsilon: float
    center: bool = True

    host_fallback: ClassVar[str] = "normalize"

    def infer(self, x: TensorType) -> TensorType:
        _need_float(x)
        for axis in self.axes:
            need_axis(axis, x.rank)
        return x

    def reference(self, x: Array) -> Array:
        return host_reduce.normalize(self.attributes(), x)[0]

    def flops(self, x: TensorType) -> Dim:
        return 6 * x.size


@dataclass(frozen=True)
class Lrn(Op):
    """x / (bias + alpha/size * s)**beta, s the sum of squares over the ``size`` channels around each.

    Of an even size, one more channel after than before. x: float[N, C, ...] -> its type. ONNX LRN-13.
    """

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    bias: float = 1.0

    host_fallback: ClassVar[str] = "lrn"

    def infer(self, x: TensorType) -> TensorType:
        _need_float(x)
        if x.rank < 2:
            raise ShapeError(f"the operand is {x}; it must have a batch axis and a channel axis")
        return x

    def reference(self, x: Array) -> Array:
        return host_reduce.lrn(self.attributes(), x)[0]

    def flops(self, x: TensorType) -> Dim:
        return (self.size + 4) * x.size


Softmax.samples = (
    *on_each(Softmax(1), "f32[3,17]", "f64[3,5]", "f16[3,33]", "bf16[2,9]", "f32[2,100,3]"),
    *on_each(Softmax(2), "f32[2,3,65]"),
    *on_each(Softmax(0), "f32[19]", "f32[7,5]"),
)
LogSoftmax.samples = (
    *on_each(LogSoftmax(1), "f32[3,17]", "f64[3,5]", "f16[3,33]", "f32[2,9,3]"),
    *on_each(LogSoftmax(0), "f32[19]"),
)
Normalize.samples = (
    *on_each(Normalize((1,), 1e-5), "f32[3,17]", "f16[3,33]", "bf16[3,33]", "f64[3,5]"),
    *on_each(Normalize((2,), 1e-12), "f32[2,3,65]"),
    *on_each(Normalize((2, 3), 1e-5), "f32[2,3,5,7]"),
    *on_each(Normalize((1, 2), 1e-3), "f32[2,5,19]"),
    *on_each(Normalize((0, 2), 1e-5), "f32[5,3,4]"),
    *on_each(Normalize((1,), 1e-6, center=False), "f32[3,17]", "f16[3,33]"),
    *on_each(Normalize((2,), 1e-6, center=False), "f32[2,3,65]"),
)
Lrn.samples = (
    *on_each(Lrn(5), "f32[2,7,3,3]", "f16[1,9,5]"),
    *on_each(Lrn(4, alpha=0.1, beta=0.5, bias=2.0), "f32[1,19,3]"),
)
NORMALIZE_OPS: tuple[type[Op], ...] = (Softmax, LogSoftmax, Normalize, Lrn)
