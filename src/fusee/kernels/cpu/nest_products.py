"""Matrix products and convolutions of any element type, rank and layout, as plain loop nests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from fusee.base.dims import Dim
from fusee.base.types import DType, Shape
from fusee.base.windows import channels, spatial_shape
from fusee.ir.graph import Op
from fusee.kernels.cpu.nest import Nest, multiply_add, working_type
from fusee.kernels.cpu.nest_windows import window_source
from fusee.kernels.cpu.ssa import Index, Ssa
from fusee.kernels.kernel import Code, Kernel, KernelCall, Tactic
from fusee.ops.conv_variants import ConvTranspose
from fusee.ops.linear import Conv, MatMul


class NestMatMul(Kernel):
    """One dot product after the other."""

    op: ClassVar[type[Op]] = MatMul

    def refuses(self, call: KernelCall) -> str:
        return ""

    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        op, nest = call.op, Nest(symbol, call)
        assert isinstance(op, MatMul)
        a, b = (o.type for o in call.operands)
        kind = working_type(op.accumulate or a.dtype)
        depth = a.shape[-2 if op.trans_a else -1]
        *rows, columns = call.results[0].type.shape

        def row(index: tuple[Index, ...]) -> None:
            def element(j: tuple[Index, ...]) -> None:
                (total,) = nest.loops((depth,), lambda k, t: (step(k[0], j[0], t),), (nest.number(0, kind),))
                nest.store(total, (*index, *j))

            def step(k: Index, j: Index, total: Ssa) -> Ssa:
                i, batch = index[-1], index[:-1]
                left = nest.load(0, (*_broadcast(batch, a.shape), *_pair(i, k, op.trans_a)), kind)
                right = nest.load(1, (*_broadcast(batch, b.shape), *_pair(k, j, op.trans_b)), kind)
                return multiply_add(nest.e, left, right, total, kind)

            nest.loops((columns,), element)

        return nest.code(nest.rows(rows, row))


def _pair(row: Index, column: Index, transposed: bool) -> tuple[Index, Index]:
    return (column, row) if transposed else (row, column)


def _broadcast(batch: Sequence[Index], shape: Shape) -> tuple[Index, ...]:
    """The batch index of an operand whose axes of size 1 repeat."""
    own = shape[:-2]
    used = tuple(batch)[len(batch) - len(own) :]
    return tuple(0 if size == 1 else i for i, size in zip(used, own, strict=True))


class NestConv(Kernel):
    """One window after the other, tap by tap; taps outside the image are skipped."""

    op: ClassVar[type[Op]] = Conv

    def refuses(self, call: KernelCall) -> str:
        return ""

    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        op, nest = call.op, Nest(symbol, call)
        assert isinstance(op, Conv)
        x, w = call.operands[0].type, call.operands[1].type
        kind = working_type(op.accumulate or x.dtype)
        image, taps, inner = spatial_shape(x.shape, op.layout), w.shape[2:], w.shape[1]
        first = op.layout == "NCHW"
        outputs = channels(call.results[0].type.shape, op.layout)
        sizes = call.results[0].type.shape

        def element(index: tuple[Index, ...]) -> None:
            channel, spot = (index[1], index[2:]) if first else (index[-1], index[1:-1])
            start = nest.load(2, (channel,), kind) if len(call.operands) > 2 else nest.number(0, kind)
            group = nest.e.div(nest.e.mul(channel, op.group), nest.e.dim(outputs)) if op.group > 1 else 0

            def tap(at: tuple[Index, ...], total: Ssa) -> tuple[Ssa, ...]:
                c, k = at[-1], at[:-1]
                where = tuple(window_source(nest, op, axis, spot[axis], k[axis]) for axis in range(len(k)))
                inside = nest.all_of([nest.within(i, n) for i, n in zip(where, image, strict=True)])
                deep = nest.e.add(nest.e.mul(group, nest.e.dim(inner)), c)

                def product() -> tuple[Ssa, ...]:
                    value = nest.load(0, (index[0], deep, *where) if first else (index[0], *where, deep), kind)
                    weight = nest.load(1, (channel, c, *k), kind)
                    return (multiply_add(nest.e, value, weight, total, kind),)

                return nest.when(inside if any(op.pads) else None, product, (total,))

            (total,) = nest.loops((*taps, inner), tap, (start,))
            nest.store(total, index)

        return nest.code(nest.rows(sizes, element))


class NestConvTranspose(Kernel):
    """For each result element, the inputs whose kernel reaches it."""

    op: ClassVar[type[Op]] = ConvTranspose

    def refuses(self, call: KernelCall) -> str:
        return ""

    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        op, nest = call.op, Nest(symbol, call)
        assert isinstance(op, ConvTranspose)
        x, w = call.operands[0].type, call.operands[1].type
        kind: DType = working_type(x.dtype)
        image, taps = x.shape[2:], w.shape[2:]
        deep, wide = _per_group(x.shape[1], op.group), w.shape[1]

        def element(index: tuple[Index, ...]) -> None:
            channel = index[1]
            start = nest.load(2, (channel,), kind) if len(call.operands) > 2 else nest.number(0, kind)
            group = nest.e.div(channel, nest.e.dim(wide)) if op.group > 1 else 0
            inner = nest.e.rem(channel, nest.e.dim(wide)) if op.group > 1 else channel

            def tap(at: tuple[Index, ...], total: Ssa) -> tuple[Ssa, ...]:
                reached = [_reached(nest, op, axis, index[2 + axis], k) for axis, k in enumerate(at)]
                tests = [test for _, tests in reached for test in tests]
                where = tuple(i for i, _ in reached)
                tests += [nest.within(i, n) for i, n in zip(where, image, strict=True)]

                def sum_channels() -> tuple[Ssa, ...]:
                    def one(c: tuple[Index, ...], t: Ssa) -> tuple[Ssa, ...]:
                        source = nest.e.add(nest.e.mul(group, nest.e.dim(deep)), c[0])
                        value = nest.load(0, (index[0], source, *where), kind)
                        weight = nest.load(1, (source, inner, *at), kind)
                        return (multiply_add(nest.e, value, weight, t, kind),)

                    return nest.loops((deep,), one, (total,))

                return nest.when(nest.all_of(tests), sum_channels, (total,))

            (total,) = nest.loops(taps, tap, (start,))
            nest.store(total, index)

        return nest.code(nest.rows(call.results[0].type.shape, element))


def _per_group(size: Dim, group: int) -> Dim:
    return size // group


def _reached(nest: Nest, op: ConvTranspose, axis: int, spot: Index, tap: Index) -> tuple[Index, list[Ssa]]:
    """The input position whose tap falls on ``spot``, and what must hold for there to be one."""
    e, stride = nest.e, op.strides[axis]
    ahead = e.sub(e.add(spot, op.pads[axis]), e.mul(tap, op.dilations[axis]))
    if stride == 1:
        return ahead, []
    flat = e.i64(ahead)
    quotient = e.assign("i64", f"sdiv i64 {flat}, {stride}")
    exact = e.icmp("eq", e.i64(e.mul(quotient, stride)), flat)
    return quotient, [exact]
