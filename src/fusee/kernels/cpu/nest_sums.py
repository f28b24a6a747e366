"""Sums over named axes, determinants, and attention in forms that no faster kernel takes."""

from __future__ import annotations

from math import inf
from typing import ClassVar

from fusee.base.dims import Dim
from fusee.base.types import BOOL, DType, Shape, TensorType
from fusee.ir.graph import Op
from fusee.kernels.cpu.lane_types import compute_type
from fusee.kernels.cpu.math_exp import absolute, exp, number
from fusee.kernels.cpu.nest import Nest, add, multiply_add, working_type
from fusee.kernels.cpu.ssa import Index, Ssa, bits_of, literal
from fusee.kernels.kernel import Code, Kernel, KernelCall, Tactic
from fusee.ops.attention import Attention
from fusee.ops.linear import Det, Einsum


class NestEinsum(Kernel):
    """One result element after the other: a loop over all axes that it does not have."""

    op: ClassVar[type[Op]] = Einsum

    def refuses(self, call: KernelCall) -> str:
        return "truth values are not added" if call.operands[0].type.dtype is BOOL else ""

    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        op, nest = call.op, Nest(symbol, call)
        assert isinstance(op, Einsum)
        types = tuple(o.type for o in call.operands)
        terms, result = op.axes(types)
        sizes = _axis_sizes(terms, types)
        summed = [axis for axis in sizes if axis not in result]
        kind = working_type(types[0].dtype)

        def element(index: tuple[Index, ...]) -> None:
            def term(at: tuple[Index, ...], total: Ssa) -> tuple[Ssa, ...]:
                place = dict(zip((*result, *summed), (*index, *at), strict=True))
                values = [nest.load(i, _index(names, types[i], place), kind) for i, names in enumerate(terms)]
                product = values[0]
                for value in values[1:-1]:
                    product = nest.e.fmul(product, value) if kind.is_float else nest.e.op("mul", product, value)
                if len(values) == 1:
                    return (add(nest.e, total, product, kind),)
                return (multiply_add(nest.e, product, values[-1], total, kind),)

            (total,) = nest.loops([sizes[axis] for axis in summed], term, (nest.number(0, kind),))
            nest.store(total, index)

        return nest.code(nest.rows(call.results[0].type.shape, element))


def _axis_sizes(terms: list[list[str]], types: tuple[TensorType, ...]) -> dict[str, Dim]:
    """The size of each named axis; operands in which it is 1 repeat."""
    sizes: dict[str, Dim] = {}
    for names, type in zip(terms, types, strict=True):
        for axis, size in zip(names, type.shape, strict=True):
            if sizes.get(axis, 1) == 1:
                sizes[axis] = size
    return sizes


def _index(names: list[str], type: TensorType, place: dict[str, Index]) -> tuple[Index, ...]:
    return tuple(0 if size == 1 else place[axis] for axis, size in zip(names, type.shape, strict=True))


class NestDet(Kernel):
    """Gaussian elimination in f64, exchanging rows for the largest pivot; a work unit is one matrix."""

    op: ClassVar[type[Op]] = Det

    def refuses(self, call: KernelCall) -> str:
        return "" if call.operands[0].type.dtype.is_float else f"{call.operands[0].type} is of integers"

    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        nest, x = Nest(symbol, call), call.operands[0].type
        matrix = _Matrix(nest, x.shape[-1])

        def one(index: tuple[Index, ...]) -> None:
            nest.loops(x.shape[-2:], lambda at: matrix.store(nest.load(0, (*index, *at), DType.F64), *at))
            found = matrix.eliminate()
            nest.store(found if x.dtype is DType.F64 else nest.e.convert("fptrunc", found, "float"), index)

        return nest.code(nest.rows(x.shape[:-2], one), x.shape[-1] * x.shape[-1] * 8)


class _Matrix:
    """A square matrix of f64 in scratch memory."""

    def __init__(self, nest: Nest, size: Dim) -> None:
        self._e, self._size = nest.e, nest.e.dim(size)

    def _at(self, row: Index, column: Index) -> Ssa:
        return self._e.at(self._e.scratch, "double", self._e.add(self._e.mul(row, self._size), column))

    def load(self, row: Index, column: Index) -> Ssa:
        return self._e.load("double", self._at(row, column))

    def store(self, value: Ssa, row: Index, column: Index) -> None:
        self._e.store(value, self._at(row, column))

    def eliminate(self) -> Ssa:
        """The determinant; the matrix is spent."""

        def column(k: Ssa, total: Ssa) -> tuple[Ssa, ...]:
            e, pivot = self._e, self._pivot(k)
            self._exchange(k, pivot)
            corner = self.load(k, k)
            e.loop(e.add(k, 1), self._size, 1, lambda row: self._subtract(k, row, corner))
            product = e.fmul(total, corner)
            return (e.select(e.icmp("eq", pivot, k), product, e.fneg(product)),)

        (total,) = self._e.loop(0, self._size, 1, column, (literal("double", 1),))
        return total

    def _pivot(self, k: Ssa) -> Ssa:
        """The row from ``k`` on whose element in column ``k`` is the largest."""
        e = self._e

        def one(row: Ssa, best: Ssa, place: Ssa) -> tuple[Ssa, ...]:
            size = absolute(e, self.load(row, k))
            better = e.fcmp("ogt", size, best)
            return e.select(better, size, best), e.select(better, row, place)

        _, place = e.loop(e.add(k, 1), self._size, 1, one, (absolute(e, self.load(k, k)), k))
        return place

    def _exchange(self, a: Ssa, b: Ssa) -> None:
        def one(column: Ssa) -> None:
            x, y = self.load(a, column), self.load(b, column)
            self.store(y, a, column)
            self.store(x, b, column)

        self._e.loop(0, self._size, 1, one)

    def _subtract(self, k: Ssa, row: Ssa, corner: Ssa) -> None:
        e = self._e
        some = e.fcmp("une", corner, number(corner, 0))
        factor = e.fneg(e.select(some, e.fdiv(self.load(row, k), corner), number(corner, 0)))

        def one(column: Ssa) -> None:
            self.store(e.fma(factor, self.load(k, column), self.load(row, column)), row, column)

        e.loop(e.add(k, 1), self._size, 1, one)


class NestAttention(Kernel):
    """One query after the other; its scores are kept in scratch memory."""

    op: ClassVar[type[Op]] = Attention

    def refuses(self, call: KernelCall) -> str:
        return ""

    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        nest, result = Nest(symbol, call), call.results[0].type
        kind, keys = working_type(result.dtype), call.operands[1].type.shape[-2]
        e, element = nest.e, compute_type(kind)

        def query(index: tuple[Index, ...]) -> None:
            def score(t: tuple[Index, ...], top: Ssa) -> tuple[Ssa, ...]:
                value = _score(nest, index, t[0], kind)
                e.store(value, e.at(e.scratch, element, t[0]))
                return (e.fmax(value, top),)

            (top,) = nest.loops((keys,), score, (nest.number(-inf, kind),))
            top = e.select(e.fcmp("oeq", top, number(top, -inf)), number(top, 0), top)

            def weigh(t: tuple[Index, ...], total: Ssa) -> tuple[Ssa, ...]:
                place = e.at(e.scratch, element, t[0])
                weight = exp(e, e.fsub(e.load(element, place), top))
                e.store(weight, place)
                return (e.fadd(total, weight),)

            (total,) = nest.loops((keys,), weigh, (nest.number(0, kind),))
            total = e.select(e.fcmp("oeq", total, number(total, 0)), number(total, 1), total)
            _mix(nest, index, total, kind)

        return nest.code(nest.rows(result.shape[:-1], query), keys * (bits_of(element) // 8))


def _score(nest: Nest, query: tuple[Index, ...], key: Index, kind: DType) -> Ssa:
    """A query's product with a key, scaled and masked."""
    op, e, (q, k) = nest.call.op, nest.e, (o.type for o in nest.call.operands[:2])
    assert isinstance(op, Attention)
    *batch, row = query

    def term(d: tuple[Index, ...], total: Ssa) -> tuple[Ssa, ...]:
        left = nest.load(0, (*_repeated(batch, q.shape[:-2]), row, *d), kind)
        right = nest.load(1, (*_repeated(batch, k.shape[:-2]), key, *d), kind)
        return (e.fma(left, right, total),)

    (value,) = nest.loops((q.shape[-1],), term, (nest.number(0, kind),))
    value = e.fmul(value, number(value, op.scale))
    lowest = number(value, -inf)
    if len(nest.call.operands) > 3:
        mask = nest.call.operands[3].type
        given = nest.load(3, _repeated([*query, key], mask.shape), BOOL if mask.dtype is BOOL else kind)
        value = e.select(given, value, lowest) if mask.dtype is BOOL else e.fadd(value, given)
    if op.causal:
        seen = e.less(key, e.add(e.add(row, e.dim(op.offset)), 1))
        value = e.select(seen, value, lowest)
    return value


def _mix(nest: Nest, query: tuple[Index, ...], total: Ssa, kind: DType) -> None:
    """The values weighted by what is in scratch memory, divided by the weights' sum."""
    e, v = nest.e, nest.call.operands[2].type

    def column(j: tuple[Index, ...]) -> None:
        def term(t: tuple[Index, ...], mixed: Ssa) -> tuple[Ssa, ...]:
            weight = e.load(compute_type(kind), e.at(e.scratch, compute_type(kind), t[0]))
            value = nest.load(2, (*_repeated(query[:-1], v.shape[:-2]), *t, *j), kind)
            return (e.fma(weight, value, mixed),)

        (mixed,) = nest.loops(v.shape[-2:-1], term, (nest.number(0, kind),))
        nest.store(e.fdiv(mixed, total), (*query, *j))

    nest.loops(v.shape[-1:], column)


def _repeated(index: list[Index] | tuple[Index, ...], shape: Shape) -> tuple[Index, ...]:
    """The index in a tensor whose axes of size 1 repeat."""
    used = index[len(index) - len(shape) :]
    return tuple(0 if size == 1 else i for i, size in zip(used, shape, strict=True))


SUM_KERNELS: tuple[Kernel, ...] = (NestEinsum(), NestDet(), NestAttention())
