"""Ops whose results have as many elements as the data say: non-zero, compress, unique. They run on the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fusee.base import host
from fusee.base.dims import Dim, product, sym, symbols
from fusee.base.errors import ShapeError
from fusee.base.types import BOOL, I64, Array, TensorType
from fusee.ir.graph import Op
from fusee.ops.check import need_axis, need_rank


@dataclass(frozen=True)
class NonZero(Op):
    """Coordinates of the elements that are not 0: i64 [rank of x, count], in row-major order.

    ``count`` is a fresh name, known when the op has run. ONNX NonZero.
    """

    count: Dim
    on_host: ClassVar[str] = "non_zero"

    def infer(self, x: TensorType) -> TensorType:
        return TensorType(I64, (x.rank, self.count))

    def reference(self, x: Array) -> tuple[Array, ...]:
        return host.non_zero(self.attributes(), x)

    def defined_symbols(self) -> frozenset[str]:
        return symbols(self.count)


NonZero.samples = (
    (NonZero(sym("n")), ("bool[5,7]",)),
    (NonZero(sym("n")), ("i64[3,1,17]",)),
    (NonZero(sym("n")), ("f32[]",)),
)


@dataclass(frozen=True)
class Compress(Op):
    """Keep the slices along ``axis`` where ``condition`` holds; of the flat tensor's elements when it is None.

    ``condition`` is bool [m] with m at most the size of the axis. ``count``, a fresh name, is how many are kept:
    known when the op has run. ONNX Compress.
    """

    axis: int | None
    count: Dim
    on_host: ClassVar[str] = "compress"

    def infer(self, x: TensorType, condition: TensorType) -> TensorType:
        need_rank(condition, 1, "the condition")
        if condition.dtype is not BOOL:
            raise ShapeError(f"the condition is {condition}; it must be bool")
        if self.axis is None:
            return x.with_shape((self.count,))
        need_axis(self.axis, x.rank)
        return x.with_shape((*x.shape[: self.axis], self.count, *x.shape[self.axis + 1 :]))

    def reference(self, x: Array, condition: Array) -> tuple[Array, ...]:
        return host.compress(self.attributes(), x, condition)

    def defined_symbols(self) -> frozenset[str]:
        return symbols(self.count)


Compress.samples = (
    (Compress(1, sym("n")), ("f32[3,7]", "bool[5]")),
    (Compress(None, sym("n")), ("i64[3,4]", "bool[12]")),
    (Compress(0, sym("n")), ("f16[0,4]", "bool[0]")),
)


@dataclass(frozen=True)
class Unique(Op):
    """The different elements of the flat tensor, or slices along ``axis``: sorted, or in the order they first occur.

    Gives them, then three i64 tensors: where each first occurs [count], which one each element of ``x`` is, and how
    often each occurs [count]. ``count`` is a fresh name, known when the op has run. ONNX Unique.
    """

    axis: int | None
    sorted: bool
    count: Dim
    on_host: ClassVar[str] = "unique"

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        if self.axis is not None:
            need_axis(self.axis, x.rank)
        size = product(x.shape) if self.axis is None else x.shape[self.axis]
        counted = TensorType(I64, (self.count,))
        shape = (self.count,) if self.axis is None else x.shape[: self.axis] + counted.shape + x.shape[self.axis + 1 :]
        return x.with_shape(shape), counted, TensorType(I64, (size,)), counted

    def reference(self, x: Array) -> tuple[Array, ...]:
        return host.unique(self.attributes(), x)

    def defined_symbols(self) -> frozenset[str]:
        return symbols(self.count)


Unique.samples = (
    (Unique(None, True, sym("n")), ("i64[33]",)),
    (Unique(None, False, sym("n")), ("i32[3,5]",)),
    (Unique(1, True, sym("n")), ("bool[1,7]",)),
    (Unique(0, False, sym("n")), ("u8[9,1]",)),
    (Unique(None, True, sym("n")), ("f32[4]",)),
)


SELECTION_OPS: tuple[type[Op], ...] = (NonZero, Compress, Unique)
