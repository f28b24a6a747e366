"""Ops that set each element in proportion to its neighbours along axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fusee.base.dims import Dim
from fusee.base.errors import ShapeError
from fusee.base.types import Array, DType, TensorType
from fusee.ir.graph import Op
from fusee.ops.check import need_axis
from fusee.ops.element import computed, on_each


def _need_float(x: TensorType) -> None:
    if not x.dtype.is_float:
        raise ShapeError(f"the operand is {x}; it must be a float")


def _total(x: Array, axes: tuple[int, ...] | int) -> Array:
    """A sum kept in f64, so that the reference does not depend on the order."""
    return np.asarray(np.sum(x, axes, np.float64, keepdims=True))


@dataclass(frozen=True)
class Softmax(Op):
    """exp(x - max) / sum(exp(x - max)) along one axis: shares that sum to 1. Taking the max out avoids overflow.

    x: float -> its type. ONNX Softmax-13.
    """

    axis: int

    def infer(self, x: TensorType) -> TensorType:
        _need_float(x)
        need_axis(self.axis, x.rank)
        return x

    def reference(self, x: Array) -> Array:
        return computed(self._shares, DType.of(x.dtype), x)

    def _shares(self, x: Array) -> Array:
        grown = np.exp(x - np.max(x, self.axis, keepdims=True, initial=-np.inf))
        return grown / _total(grown, self.axis).astype(x.dtype)

    def flops(self, x: TensorType) -> Dim:
        return 5 * x.size


@dataclass(frozen=True)
class LogSoftmax(Op):
    """The logarithm of Softmax: x - max - log(sum(exp(x - max))) along one axis.

    x: float -> its type. ONNX LogSoftmax-13.
    """

    axis: int

    def infer(self, x: TensorType) -> TensorType:
        _need_float(x)
        need_axis(self.axis, x.rank)
        return x

    def reference(self, x: Array) -> Array:
        return computed(self._logs, DType.of(x.dtype), x)

    def _logs(self, x: Array) -> Array:
        below = x - np.max(x, self.axis, keepdims=True, initial=-np.inf)
        return below - np.log(_total(np.exp(below), self.axis)).astype(x.dtype)

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

    def infer(self, x: TensorType) -> TensorType:
        _need_float(x)
        for axis in self.axes:
            need_axis(axis, x.rank)
        return x

    def reference(self, x: Array) -> Array:
        return computed(self._normalized, DType.of(x.dtype), x)

    def _normalized(self, x: Array) -> Array:
        count = int(np.prod([x.shape[a] for a in self.axes], dtype=np.int64))
        if self.center:
            x = x - (_total(x, self.axes) / count).astype(x.dtype)
        spread = np.sqrt(_total(x * x, self.axes) / count + self.epsilon)
        return x / spread.astype(x.dtype)

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

    def infer(self, x: TensorType) -> TensorType:
        _need_float(x)
        if x.rank < 2:
            raise ShapeError(f"the operand is {x}; it must have a batch axis and a channel axis")
        return x

    def reference(self, x: Array) -> Array:
        return computed(self._normalized, DType.of(x.dtype), x)

    def _normalized(self, x: Array) -> Array:
        channels, before = x.shape[1], (self.size - 1) // 2
        around = [(0, 0)] * x.ndim
        around[1] = (before, self.size - 1 - before)
        squares = np.pad(x * x, around)
        total = sum((squares[:, i : i + channels] for i in range(self.size)), start=np.zeros_like(x))
        return x / np.power(self.bias + self.alpha / self.size * total, self.beta)

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
