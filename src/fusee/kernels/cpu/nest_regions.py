"""Pooling over regions that data gives: RoiAlign and MaxRoiPool, one result element after the other."""

from __future__ import annotations

from math import inf
from typing import ClassVar

from fusee.base.dims import Dim
from fusee.base.types import DType
from fusee.ir.graph import Op
from fusee.kernels.cpu.math_exp import absolute, number
from fusee.kernels.cpu.nest import Nest, working_type
from fusee.kernels.cpu.nest_sampling import as_float, ceil, clamp, floor
from fusee.kernels.cpu.nest_windows import larger
from fusee.kernels.cpu.ssa import Index, Ssa
from fusee.kernels.kernel import Code, Kernel, KernelCall, Tactic
from fusee.ops.vision import MaxRoiPool, RoiAlign

F64 = DType.F64


class NestRoiAlign(Kernel):
    """Points between elements, averaged in f64 as the reference does."""

    op: ClassVar[type[Op]] = RoiAlign

    def refuses(self, call: KernelCall) -> str:
        x, rois = call.operands[0].type, call.operands[1].type
        return "" if x.dtype.is_float and rois.dtype.is_float else f"{x} or {rois} is of integers"

    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        op, nest, x = call.op, Nest(symbol, call), call.operands[0].type
        assert isinstance(op, RoiAlign)
        e = nest.e

        def element(index: tuple[Index, ...]) -> None:
            roi, channel, *spot = index
            image = _image(nest, nest.load(2, (roi,), DType.I64))
            axes = [_Points(nest, op, roi, axis, spot[axis]) for axis in (0, 1)]

            def point(p: Ssa, q: Ssa, total: Ssa) -> Ssa:
                near = [a.neighbours(i) for a, i in zip(axes, (p, q), strict=True)]
                for row, row_weight in near[0]:
                    for column, column_weight in near[1]:
                        value = nest.load(0, (image, channel, row, column), F64)
                        term = e.fmul(value, e.fmul(row_weight, column_weight))
                        total = larger(nest, F64, total, term) if op.maximum else e.fadd(total, term)
                return total

            def line(p: Ssa, total: Ssa) -> tuple[Ssa, ...]:
                return e.loop(0, axes[1].count, 1, lambda q, t: (point(p, q, t),), (total,))

            (total,) = e.loop(0, axes[0].count, 1, line, (nest.number(-inf if op.maximum else 0, F64),))
            points = e.mul(axes[0].count, axes[1].count)
            found = total if op.maximum else e.fdiv(total, as_float(e, points, F64))
            empty = e.icmp("eq", e.i64(points), e.i64(0))
            found = e.select(empty, nest.number(0, F64), found)
            nest.store(_narrowed(nest, found, x.dtype), index)

        return nest.code(nest.rows(call.results[0].type.shape, element))


def _narrowed(nest: Nest, value: Ssa, dtype: DType) -> Ssa:
    return value if dtype is F64 else nest.e.convert("fptrunc", value, "float")


def _image(nest: Nest, number_of: Ssa) -> Index:
    """Which image a region lies in; never one that does not exist."""
    last = nest.e.sub(nest.e.dim(nest.call.operands[0].type.shape[0]), 1)
    return nest.e.max(nest.e.min(number_of, last), 0)


class _Points:
    """Where one result element looks along one axis (0: rows, 1: columns)."""

    def __init__(self, nest: Nest, op: RoiAlign, roi: Index, axis: int, spot: Index) -> None:
        self._nest, e = nest, nest.e
        self._size: Dim = nest.call.operands[0].type.shape[2 + axis]
        first, last = (self._corner(op, roi, 1 - axis + side) for side in (0, 2))
        extent = e.fsub(last, first)
        extent = extent if op.half_pixel else e.fmax(extent, number(extent, 1))
        step = e.fdiv(extent, number(extent, op.width if axis else op.height))
        needed = e.convert("fptosi", clamp(e, ceil(e, step), number(step, 0), number(step, 2.0**31)), "i64")
        self.count: Index = op.sampling_ratio or needed
        self._stride = e.fdiv(step, as_float(e, self.count, F64))
        self._start = e.fadd(first, e.fmul(as_float(e, spot, F64), step))

    def _corner(self, op: RoiAlign, roi: Index, column: int) -> Ssa:
        """A border of the region in elements, rounded as the image's type."""
        nest, e = self._nest, self._nest.e
        kind = working_type(nest.call.operands[0].type.dtype)
        given = nest.load(1, (roi, column), kind)
        scaled = e.fmul(given, number(given, op.spatial_scale))
        moved = e.fsub(scaled, number(given, 0.5)) if op.half_pixel else scaled
        return e.convert("fpext", moved, "double")

    def neighbours(self, point: Ssa) -> list[tuple[Ssa, Ssa]]:
        """Both elements around a point, and their weights; 0 more than one element outside."""
        e = self._nest.e
        offset = e.fadd(as_float(e, point, F64), self._nest.number(0.5, F64))
        at = e.fadd(self._start, e.fmul(offset, self._stride))
        zero, one = number(at, 0), number(at, 1)
        size = as_float(e, e.dim(self._size), F64)
        last = e.fsub(size, one)
        valid = e.op("and", e.fcmp("oge", at, number(at, -1)), e.fcmp("ole", at, size))
        at = clamp(e, at, zero, last)
        low = floor(e, at)
        fraction = e.fsub(at, low)
        high = e.fmin(e.fadd(low, one), last)
        weights = (e.fsub(one, fraction), fraction)
        return [
            (e.convert("fptosi", place, "i64"), e.select(valid, weight, zero))
            for place, weight in zip((low, high), weights, strict=True)
        ]


class NestMaxRoiPool(Kernel):
    """The largest element of one cell after the other."""

    op: ClassVar[type[Op]] = MaxRoiPool

    def refuses(self, call: KernelCall) -> str:
        x, rois = call.operands[0].type, call.operands[1].type
        return "" if x.dtype.is_float and rois.dtype.is_float else f"{x} or {rois} is of integers"

    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        op, nest, x = call.op, Nest(symbol, call), call.operands[0].type
        assert isinstance(op, MaxRoiPool)
        e, kind = nest.e, working_type(x.dtype)

        def element(index: tuple[Index, ...]) -> None:
            roi, channel, i, j = index
            image = _image(nest, e.convert("fptosi", nest.load(1, (roi, 0), DType.F32), "i64"))
            (top, bottom), (left, right) = (_cell(nest, op, roi, axis, at) for axis, at in enumerate((i, j)))

            def take(row: Ssa, column: Ssa, best: Ssa) -> tuple[Ssa, ...]:
                return (larger(nest, kind, best, nest.load(0, (image, channel, row, column), kind)),)

            def line(row: Ssa, best: Ssa) -> tuple[Ssa, ...]:
                return e.loop(left, right, 1, lambda column, b: take(row, column, b), (best,))

            (best,) = e.loop(top, bottom, 1, line, (nest.number(-inf, kind),))
            some = e.op("and", e.less(top, bottom), e.less(left, right))
            nest.store(e.select(some, best, nest.number(0, kind)), index)

        return nest.code(nest.rows(call.results[0].type.shape, element))


def _cell(nest: Nest, op: MaxRoiPool, roi: Index, axis: int, spot: Index) -> tuple[Index, Index]:
    """The elements of a cell along one axis (0: rows, 1: columns): from, and up to but without."""
    e, f32 = nest.e, DType.F32
    count = op.width if axis else op.height
    size = e.dim(nest.call.operands[0].type.shape[2 + axis])

    def corner(column: int) -> Index:
        given = nest.load(1, (roi, column), f32)
        scaled = absolute(e, e.fmul(given, number(given, op.spatial_scale)))
        whole = floor(e, e.fadd(scaled, number(given, 0.5)))
        return e.convert("fptosi", clamp(e, whole, number(whole, 0), number(whole, 2.0**31)), "i64")

    first, last = corner(2 - axis), corner(4 - axis)
    extent = as_float(e, e.max(e.add(e.sub(last, first), 1), 1), f32)
    step = e.fdiv(extent, number(extent, count))

    def border(edge: Ssa) -> Index:
        return e.max(e.min(e.add(e.convert("fptosi", edge, "i64"), first), size), 0)

    start = floor(e, e.fmul(as_float(e, spot, f32), step))
    end = ceil(e, e.fmul(as_float(e, e.add(spot, 1), f32), step))
    return border(start), border(end)


REGION_KERNELS: tuple[Kernel, ...] = (NestRoiAlign(), NestMaxRoiPool())
