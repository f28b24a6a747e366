"""Reductions along axes that only the run knows. They run on the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fusee.base import host_reduce
from fusee.base.dims import Dim, equal, select
from fusee.base.errors import ShapeError
from fusee.base.types import Array, Shape, TensorType
from fusee.ir.graph import Op
from fusee.ops.check import numbers
from fusee.ops.element import on_each


@dataclass(frozen=True)
class ReduceByData(Op):
    """``Reduce`` along axes that only the run knows; at that time they count from 0 and none is named twice.

    x -> its type, of rank ``x.rank - len(axes)`` unless ``keepdims``. ONNX ReduceSum-13 and its kin.
    """

    kind: str
    axes: Shape
    keepdims: bool

    on_host: ClassVar[str] = "reduce"

    def infer(self, x: TensorType) -> TensorType:
        if len(self.axes) > x.rank:
            raise ShapeError(f"{len(self.axes)} axes to reduce, but the operand is {x}")
        goes = [sum((equal(a, i) for a in self.axes), start=0) for i in range(x.rank)]
        if self.keepdims:
            return x.with_shape(tuple(select(g, 1, d) for g, d in zip(goes, x.shape, strict=True)))
        return x.with_shape(tuple(_kept_size(x.shape, goes, j) for j in range(x.rank - len(self.axes))))

    def reference(self, x: Array) -> Array:
        return host_reduce.reduce({**self.attributes(), "axes": numbers(self.axes)}, x)[0]

    def flops(self, x: TensorType) -> Dim:
        return x.size

    def sample_operands(self, rng: np.random.Generator, *types: TensorType) -> tuple[Array, ...]:
        return tuple(np.abs(x) for x in super().sample_operands(rng, *types))


def _kept_size(shape: Shape, goes: list[Dim], place: int) -> Dim:
    """The size of that one, by count, of the axes that stay."""
    found: Dim = 0
    before: Dim = 0
    for size, gone in zip(shape, goes, strict=True):
        found = found + select(gone, 0, select(equal(before, place), size, 0))
        before = before + 1 - gone
    return found


@dataclass(frozen=True)
class CumulativeByData(Op):
    """``Cumulative`` along an axis that only the run knows, counted from 0. ONNX CumSum-14, CumProd-26."""

    kind: str
    axis: Dim
    exclusive: bool = False
    reverse: bool = False

    on_host: ClassVar[str] = "cumulative"

    def infer(self, x: TensorType) -> TensorType:
        if x.rank == 0:
            raise ShapeError(f"the operand is {x}; it must have an axis")
        return x

    def reference(self, x: Array) -> Array:
        return host_reduce.cumulative({**self.attributes(), "axis": numbers((self.axis,))[0]}, x)[0]


ReduceByData.samples = (
    *on_each(ReduceByData("sum", (1,), keepdims=True), "f32[3,5]"),
    *on_each(ReduceByData("max", (0, 2), keepdims=False), "i32[3,5,2]"),
)
CumulativeByData.samples = on_each(CumulativeByData("sum", 1, reverse=True), "f32[3,5]", "i64[2,3,4]")
REDUCE_BY_DATA_OPS: tuple[type[Op], ...] = (ReduceByData, CumulativeByData)
