"""Ops that combine the elements along axes: sums, extremes and where they are, running totals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fusee.base import host_reduce
from fusee.base.dims import Dim
from fusee.base.errors import ShapeError
from fusee.base.host_reduce import REDUCTIONS
from fusee.base.types import BOOL, I64, Array, TensorType
from fusee.ir.graph import Op
from fusee.ops.check import need_axis
from fusee.ops.element import on_each
from fusee.ops.normalize import NORMALIZE_OPS, LogSoftmax, Lrn, Normalize, Softmax

Axes = tuple[int, ...]


def reduced_shape(x: TensorType, axes: Axes, keepdims: bool) -> tuple[Dim, ...]:
    """The shape once axes are reduced: 1 there, or gone. Raises ShapeError for axes that x lacks or that repeat."""
    for axis in axes:
        need_axis(axis, x.rank)
    if len(set(axes)) != len(axes):
        raise ShapeError(f"axes {axes} repeat one")
    if keepdims:
        return tuple(1 if i in axes else d for i, d in enumerate(x.shape))
    return tuple(d for i, d in enumerate(x.shape) if i not in axes)


@dataclass(frozen=True)
class Reduce(Op):
    """One number for all elements along ``axes``, which become 1, or go when not ``keepdims``.

    ``kind``: sum, mean, max, min, prod, l1 (sum of |x|), l2 (root of the sum of squares), log_sum, log_sum_exp,
    sum_square. x: number, or bool for max and min -> its type. Integers wrap around; their mean, l2, log_sum and
    log_sum_exp drop the fraction. Over no elements: sum 0, prod 1, max the type's least (-inf), min its greatest;
    over no axes every element is reduced by itself. ONNX ReduceSum-13 and its kin.
    """

    kind: str
    axes: Axes
    keepdims: bool

    host_fallback: ClassVar[str] = "reduce"

    def infer(self, x: TensorType) -> TensorType:
        if self.kind not in REDUCTIONS:
            raise ShapeError(f"kind {self.kind!r} is not one of {', '.join(REDUCTIONS)}")
        if x.dtype is BOOL and self.kind not in ("max", "min"):
            raise ShapeError(f"the operand is {x}; only max and min are of bool")
        return x.with_shape(reduced_shape(x, self.axes, self.keepdims))

    def reference(self, x: Array) -> Array:
        return host_reduce.reduce(self.attributes(), x)[0]

    def flops(self, x: TensorType) -> Dim:
        return x.size

    def sample_operands(self, rng: np.random.Generator, *types: TensorType) -> tuple[Array, ...]:
        operands = super().sample_operands(rng, *types)
        return tuple(np.abs(x) for x in operands) if self.kind == "log_sum" else operands


@dataclass(frozen=True)
class ArgReduce(Op):
    """Where along ``axis`` the greatest (``kind`` "max") or least ("min") element is: the first, or the last such.

    x: number, the axis not empty -> i64, with the axis 1, or gone when not ``keepdims``. ONNX ArgMax-13, ArgMin-13.
    """

    kind: str
    axis: int
    keepdims: bool
    select_last: bool = False

    host_fallback: ClassVar[str] = "arg_reduce"

    def infer(self, x: TensorType) -> TensorType:
        if self.kind not in ("max", "min"):
            raise ShapeError(f"kind {self.kind!r} is not max or min")
        shape = reduced_shape(x, (self.axis,), self.keepdims)
        if x.shape[self.axis] == 0:
            raise ShapeError(f"the operand is {x}; axis {self.axis} is empty")
        return TensorType(I64, shape)

    def reference(self, x: Array) -> Array:
        return host_reduce.arg_reduce(self.attributes(), x)[0]

    def flops(self, x: TensorType) -> Dim:
        return x.size


@dataclass(frozen=True)
class Cumulative(Op):
    """Running total along ``axis``: each element with all before it ("sum" or "prod"); ``exclusive``: without itself.

    ``reverse`` runs from the end. x: number -> its type. ONNX CumSum-14, CumProd-26.
    """

    kind: str
    axis: int
    exclusive: bool = False
    reverse: bool = False

    host_fallback: ClassVar[str] = "cumulative"

    def infer(self, x: TensorType) -> TensorType:
        if self.kind not in ("sum", "prod"):
            raise ShapeError(f"kind {self.kind!r} is not sum or prod")
        need_axis(self.axis, x.rank)
        return x

    def reference(self, x: Array) -> Array:
        return host_reduce.cumulative(self.attributes(), x)[0]


_INTEGER_KINDS = ("sum", "mean", "max", "min", "prod", "l1", "sum_square")
Reduce.samples = (
    *(sample for kind in REDUCTIONS for sample in on_each(Reduce(kind, (1,), False), *("f32[3,17]", "f16[2,9]"))),
    *(sample for kind in REDUCTIONS for sample in on_each(Reduce(kind, (0,), True), "f32[5,33]")),
    *(sample for kind in _INTEGER_KINDS for sample in on_each(Reduce(kind, (1,), True), "i64[3,5]", "i32[3,17]")),
    *on_each(Reduce("mean", (2, 3), True), "f32[2,3,7,7]", "bf16[2,3,5,5]"),
    *on_each(Reduce("sum", (1, 2), False), "f32[2,5,3,19]", "f64[2,3,5,4]"),
    *on_each(Reduce("max", (0, 2), False), "f32[3,5,17]", "u8[3,5,4]"),
    *on_each(Reduce("sum", (0, 1), False), "f32[3,5]"),
    *on_each(Reduce("min", (1,), False), "bool[3,17]", "i8[3,17]"),
    *on_each(Reduce("sum_square", (), True), "f32[5]"),
    *on_each(Reduce("sum", (1,), False), "f32[3,0]"),
    *on_each(Reduce("max", (1,), False), "f32[3,0]"),
)
ArgReduce.samples = (
    *on_each(ArgReduce("max", 1, keepdims=False), "f32[3,17]", "f16[3,5]", "i64[3,5]", "u8[3,40]"),
    *on_each(ArgReduce("min", 1, keepdims=True), "f32[3,17]", "i32[3,5]"),
    *on_each(ArgReduce("max", 1, keepdims=True, select_last=True), "f32[2,9,5]", "i8[2,40]"),
    *on_each(ArgReduce("min", 0, keepdims=False, select_last=True), "i32[20,3]"),
)
Cumulative.samples = (
    *on_each(Cumulative("sum", 1), "f32[3,17]", "i64[3,5]", "f64[2,5]", "f16[2,5]"),
    *on_each(Cumulative("sum", 0, exclusive=True), "f32[5,3]", "i32[5,3]"),
    *on_each(Cumulative("sum", 1, reverse=True), "f32[3,17]"),
    *on_each(Cumulative("sum", 1, exclusive=True, reverse=True), "i32[2,9,3]"),
    *on_each(Cumulative("prod", 1), "f32[3,5]", "i64[3,5]"),
)
REDUCE_OPS: tuple[type[Op], ...] = (Reduce, ArgReduce, Cumulative, *NORMALIZE_OPS)

__all__ = [
    "REDUCE_OPS",
    "ArgReduce",
    "Cumulative",
    "LogSoftmax",
    "Lrn",
    "Normalize",
    "Reduce",
    "Softmax",
    "reduced_shape",
]
