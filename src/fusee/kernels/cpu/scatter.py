"""ScatterElements and ScatterNd: copy the operand, then put the updates in their places, one after the other."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from fusee.base.dims import product
from fusee.base.types import DType
from fusee.ir.graph import Op
from fusee.kernels.cpu.lane_types import raw_type, to_compute
from fusee.kernels.cpu.nest import Nest, Values
from fusee.kernels.cpu.pointwise import Pointwise
from fusee.kernels.cpu.reduce import extreme
from fusee.kernels.cpu.ssa import Index, Ssa, is_float
from fusee.kernels.kernel import Code, Kernel, KernelCall, Tactic
from fusee.ops.index import ScatterElements, ScatterNd
from fusee.ops.shape import Expand


def _position(nest: Nest, found: Ssa, size: Index) -> tuple[Index, Ssa]:
    """An index as a position, and whether it is one: negative ones count from the end."""
    e = nest.e
    index = e.convert("sext", found, "i64")
    (wrapped,) = e.branch(e.less(index, 0), lambda: [e.i64(e.add(index, size))], lambda: [index])
    return wrapped, e.icmp("ult", wrapped, e.i64(size))


def _update(nest: Nest, reduction: str, value: Ssa, index: tuple[Index, ...]) -> None:
    """Put a value into the result, combined with what is there."""
    e, (made,) = nest.e, nest.call.results
    if reduction != "none":
        dtype = made.type.dtype
        where = e.at(e.result(), raw_type(dtype), nest.position(made, index))
        value = _combined(nest, reduction, dtype, to_compute(e, e.load(raw_type(dtype), where), dtype), value)
    nest.store(value, index)


def _combined(nest: Nest, reduction: str, dtype: DType, old: Ssa, new: Ssa) -> Ssa:
    if reduction in ("max", "min"):
        return extreme(nest.e, reduction, dtype, new, old)
    opcode = ("f" if is_float(old.type) else "") + reduction
    return nest.e.op(opcode, old, new)


def _after_copy(call: KernelCall, symbol: str, second: Code) -> Code:
    """The operand copied to the result, then the updates."""
    result = call.results[0]
    copying = KernelCall(Expand(result.type.shape), call.operands[:1], call.results, call.target)
    first = Pointwise().emit(copying, Tactic(), f"{symbol}_copy")
    return replace(
        second,
        text=first.text + second.text,
        launches=(*first.launches, *second.launches),
        declarations=first.declarations | second.declarations,
    )


def _problem(call: KernelCall) -> str:
    dtype = call.operands[0].type.dtype
    return f"{dtype} is read one by one" if dtype.is_float and dtype.itemsize_bytes == 1 else ""


class ScatterLines(Kernel):
    """Each work unit takes one line along the axis, so that equal positions meet in one thread and in order."""

    op: ClassVar[type[Op]] = ScatterElements

    def refuses(self, call: KernelCall) -> str:
        return _problem(call)

    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        op, nest = call.op, Nest(f"{symbol}_put", call)
        assert isinstance(op, ScatterElements)
        axis, shape = op.axis, call.operands[1].type.shape
        size = nest.e.dim(call.operands[0].type.shape[axis])

        def line(outer: tuple[Index, ...]) -> None:
            def one(i: tuple[Index, ...]) -> Values:
                at = (*outer[:axis], *i, *outer[axis:])
                place, known = _position(nest, nest.load(1, at), size)
                target = (*outer[:axis], place, *outer[axis:])
                nest.e.branch(known, lambda: _update(nest, op.reduction, nest.load(2, at), target))
                return ()

            nest.loops((shape[axis],), one)

        units = nest.rows((*shape[:axis], *shape[axis + 1 :]), line)
        return _after_copy(call, symbol, nest.code(units))


class ScatterSlices(Kernel):
    """One thread takes the updates in order; slices are copied element by element."""

    op: ClassVar[type[Op]] = ScatterNd

    def refuses(self, call: KernelCall) -> str:
        return _problem(call)

    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        op, nest = call.op, Nest(f"{symbol}_put", call)
        assert isinstance(op, ScatterNd)
        x, indices = call.operands[0].type.shape, call.operands[1].type.shape
        depth = indices[-1]
        assert isinstance(depth, int)

        def element(inner: tuple[Index, ...]) -> None:
            def one(outer: tuple[Index, ...]) -> Values:
                found = [nest.load(1, (*outer, k)) for k in range(depth)]
                pairs = [_position(nest, f, nest.e.dim(n)) for f, n in zip(found, x, strict=False)]
                target = (*[place for place, _ in pairs], *inner)
                known = nest.all_of([ok for _, ok in pairs])

                def put() -> Values:
                    _update(nest, op.reduction, nest.load(2, (*outer, *inner)), target)
                    return ()

                nest.when(known, put, ())
                return ()

            nest.loops(indices[:-1], one)

        nest.rows(x[depth:], element)
        return _after_copy(call, symbol, nest.code(product(x[depth:])))
