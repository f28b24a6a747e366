"""Pools of any element type, rank and layout, as plain loop nests."""

from __future__ import annotations

from math import inf, prod
from typing import ClassVar

from fusee.base.dims import Dim
from fusee.base.types import DType, Shape
from fusee.base.windows import spatial_shape
from fusee.ir.graph import Op
from fusee.kernels.cpu.lane_types import cast
from fusee.kernels.cpu.math_exp import absolute, round_even
from fusee.kernels.cpu.math_pow import power
from fusee.kernels.cpu.nest import Nest, working_type
from fusee.kernels.cpu.ssa import Index, Ssa, literal
from fusee.kernels.kernel import Code, Kernel, KernelCall, Tactic
from fusee.ops.linear import Conv
from fusee.ops.pool import MaxPoolIndices, MaxUnpool, Pool


class NestPool(Kernel):
    """One window after the other; taps outside the image are skipped."""

    op: ClassVar[type[Op]] = Pool

    def refuses(self, call: KernelCall) -> str:
        return ""

    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        op, nest = call.op, Nest(symbol, call)
        assert isinstance(op, Pool)
        x, shape = call.operands[0].type, call.results[0].type.shape
        image, first = spatial_shape(x.shape, op.layout), op.layout == "NCHW"
        kind = _pool_type(op, x.dtype)

        def element(index: tuple[Index, ...]) -> None:
            spot = index[2:] if first else index[1:-1]

            def tap(at: tuple[Index, ...], total: Ssa, count: Ssa) -> tuple[Ssa, ...]:
                where = tuple(window_source(nest, op, axis, spot[axis], k) for axis, k in enumerate(at))
                inside = nest.all_of([nest.within(i, n) for i, n in zip(where, image, strict=True)])

                def take() -> tuple[Ssa, ...]:
                    place = (*index[:2], *where) if first else (index[0], *where, index[-1])
                    value = nest.load(0, place, kind)
                    return _combined(nest, op, kind, total, value), nest.e.i64(nest.e.add(count, 1))

                return nest.when(inside, take, (total, count))

            start = (nest.number(_start(op, kind), kind), literal("i64", 0))
            total, count = nest.loops(op.kernel, tap, start)
            nest.store(_finished(nest, op, x.dtype, kind, total, _divisor(nest, op, image, spot, count)), index)

        return nest.code(nest.rows(shape, element))


def window_source(nest: Nest, op: Conv | Pool | MaxPoolIndices, axis: int, spot: Index, tap: Index) -> Index:
    """Where along an axis of the image a tap of the window at ``spot`` falls."""
    moved = nest.e.add(nest.e.mul(spot, op.strides[axis]), nest.e.mul(tap, op.dilations[axis]))
    return nest.e.sub(moved, op.pads[axis])


def _pool_type(op: Pool, dtype: DType) -> DType:
    """Averages and norms of integers are computed in f64."""
    return working_type(dtype) if op.kind == "max" or dtype.is_float else DType.F64


def _start(op: Pool, kind: DType) -> float:
    if op.kind != "max":
        return 0
    if kind.is_float:
        return -inf
    return -(1 << (kind.bits - 1)) if kind.is_signed else 0


def _combined(nest: Nest, op: Pool, kind: DType, total: Ssa, value: Ssa) -> Ssa:
    e = nest.e
    if op.kind == "max":
        return larger(nest, kind, total, value)
    if op.kind == "average":
        return e.fadd(total, value)
    size = absolute(e, value)
    return e.fadd(total, size if op.p == 1 else e.fmul(size, size) if op.p == 2 else _raised(nest, size, op.p))


def larger(nest: Nest, kind: DType, total: Ssa, value: Ssa) -> Ssa:
    """The larger of two; NaN when either is."""
    e = nest.e
    if not kind.is_float:
        return e.select(e.icmp("sgt" if kind.is_signed else "ugt", value, total), value, total)
    better = e.op("or", e.fcmp("ogt", value, total), e.fcmp("uno", value, value))
    return e.select(better, value, total)


def _raised(nest: Nest, x: Ssa, exponent: float) -> Ssa:
    return power(nest.e, x, literal(x.type, exponent))


def _divisor(nest: Nest, op: Pool, image: Shape, spot: tuple[Index, ...], count: Ssa) -> Ssa:
    """How many elements an average is of."""
    if not op.count_include_pad:
        return count
    if not op.ceil_mode:
        return literal("i64", prod(op.kernel))
    e, total = nest.e, Ssa("1", "i64")
    for axis, size in enumerate(image):
        total = e.i64(e.mul(total, _padded_taps(nest, op, axis, size, spot[axis])))
    return total


def _padded_taps(nest: Nest, op: Pool, axis: int, size: Dim, spot: Index) -> Index:
    """Taps of a window that lie inside the padded image: with ceil_mode, the last window may hang over."""
    e, dilation = nest.e, op.dilations[axis]
    room = e.add(e.dim(size), op.pads[axis] + op.pads[axis + len(op.kernel)])
    left = e.sub(room, e.mul(spot, op.strides[axis]))
    return e.min(e.ceildiv(left, dilation), op.kernel[axis])


def _finished(nest: Nest, op: Pool, dtype: DType, kind: DType, total: Ssa, count: Ssa) -> Ssa:
    e = nest.e
    if op.kind == "average":
        total = e.fdiv(total, e.convert("sitofp", count, total.type))
        total = total if dtype.is_float else round_even(e, total)
    if op.kind == "lp" and op.p != 1:
        total = _raised(nest, total, 1 / op.p) if op.p != 2 else e.call(f"llvm.sqrt.{_name(total)}", total.type, total)
    return total if kind in (dtype, working_type(dtype)) else cast(e, total, kind, dtype)


def _name(x: Ssa) -> str:
    return "f64" if x.type == "double" else "f32"


class NestMaxPoolIndices(Kernel):
    """One window after the other, remembering where the first largest element was."""

    op: ClassVar[type[Op]] = MaxPoolIndices

    def refuses(self, call: KernelCall) -> str:
        return ""

    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        op, nest = call.op, Nest(symbol, call)
        assert isinstance(op, MaxPoolIndices)
        x = call.operands[0].type
        kind, image, e = working_type(x.dtype), x.shape[2:], nest.e
        lowest = -inf if kind.is_float else -(1 << (kind.bits - 1)) if kind.is_signed else 0

        def element(index: tuple[Index, ...]) -> None:
            def tap(at: tuple[Index, ...], best: Ssa, place: Ssa) -> tuple[Ssa, ...]:
                where = tuple(window_source(nest, op, axis, index[2 + axis], k) for axis, k in enumerate(at))
                inside = nest.all_of([nest.within(i, n) for i, n in zip(where, image, strict=True)])

                def take() -> tuple[Ssa, ...]:
                    value = nest.load(0, (*index[:2], *where), kind)
                    first = e.icmp("slt", place, literal("i64", 0))
                    more = e.fcmp("ogt", value, best) if kind.is_float else e.icmp("sgt", value, best)
                    better = e.op("or", more, first)
                    here = e.i64(_flat(nest, op, x.shape, (*index[:2], *where)))
                    return e.select(better, value, best), e.select(better, here, place)

                return nest.when(inside, take, (best, place))

            best, place = nest.loops(op.kernel, tap, (nest.number(lowest, kind), literal("i64", -1)))
            nest.store(best, index)
            nest.store(place, index, result=1)

        return nest.code(nest.rows(call.results[0].type.shape, element))


def _flat(nest: Nest, op: MaxPoolIndices, shape: Shape, index: tuple[Index, ...]) -> Index:
    """The position in the flattened input; ``column_major`` counts the first spatial axis fastest."""
    axes = (0, 1, *reversed(range(2, len(shape)))) if op.column_major else range(len(shape))
    flat: Index = 0
    for axis in axes:
        flat = nest.e.add(nest.e.mul(flat, nest.e.dim(shape[axis])), index[axis])
    return flat


class NestMaxUnpool(Kernel):
    """Zeros, then each value at its position; one work unit, as positions may meet."""

    op: ClassVar[type[Op]] = MaxUnpool

    def refuses(self, call: KernelCall) -> str:
        return "" if call.results[0].is_contiguous else "the result has gaps, but positions count without them"

    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        nest = Nest(symbol, call)
        shape, dtype = call.results[0].type.shape, call.results[0].type.dtype
        nest.loops(shape, lambda index: nest.store(nest.number(0, working_type(dtype)), index))

        def one(index: tuple[Index, ...]) -> None:
            place = nest.load(1, index)
            nest.store(nest.load(0, index), nest.unravel(place, shape))

        nest.loops(call.operands[0].type.shape, one)
        return nest.code(1)
