"""Plain loop nests, one result element after the other: for calls that no faster kernel takes.

A nest kernel says how one element is computed from operand elements at indices; this file does the rest: strides,
element types, sizes known only at run time, and the split of the result's rows over work units.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fusee.base.dims import Dim, product
from fusee.base.types import DType
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.lane_types import cast, compute_type, raw_type, to_compute, to_memory
from fusee.kernels.cpu.space import strides_of
from fusee.kernels.cpu.ssa import Index, Ssa, literal
from fusee.kernels.kernel import Code, KernelCall, Operand

Values = Sequence[Ssa]


class Nest:
    """The loops of one call while they are written."""

    def __init__(self, symbol: str, call: KernelCall) -> None:
        self.call = call
        self.e = Emitter(symbol, call.target)

    def load(self, operand: int, index: Sequence[Index], to: DType | None = None) -> Ssa:
        """An operand's element, as numbers of ``to`` (its own type when not given) are computed."""
        given = self.call.operands[operand]
        dtype = given.type.dtype
        where = self.e.at(self.e.operand(operand), raw_type(dtype), self.position(given, index))
        value = to_compute(self.e, self.e.load(raw_type(dtype), where), dtype)
        return value if to in (None, dtype) else cast(self.e, value, dtype, to)

    def store(self, value: Ssa, index: Sequence[Index], result: int = 0) -> None:
        """Write an element of a result, given as its type is computed."""
        made = self.call.results[result]
        where = self.e.at(self.e.result(result), raw_type(made.type.dtype), self.position(made, index))
        self.e.store(to_memory(self.e, value, made.type.dtype), where)

    def position(self, tensor: Operand, index: Sequence[Index]) -> Index:
        """How many elements an index lies from a tensor's start."""
        at: Index = 0
        for i, stride in zip(index, strides_of(tensor), strict=True):
            at = self.e.add(at, self.e.mul(i, self.e.dim(stride)))
        return at

    def number(self, value: float, dtype: DType) -> Ssa:
        """A constant as numbers of that type are computed."""
        return literal(compute_type(dtype), value)

    def loops(
        self,
        sizes: Sequence[Dim],
        body: Callable[..., Values | None],
        carried: Values = (),
        index: tuple[Index, ...] = (),
    ) -> tuple[Ssa, ...]:
        """``body(index, *carried)`` for every index below the sizes, the last axis fastest."""
        if not sizes:
            return tuple(body(index, *carried) or ())
        if sizes[0] == 1:
            return self.loops(sizes[1:], body, carried, (*index, 0))
        return self.e.loop(
            0,
            self.e.dim(sizes[0]),
            1,
            lambda i, *values: self.loops(sizes[1:], body, values, (*index, i)),
            carried,
        )

    def rows(self, sizes: Sequence[Dim], body: Callable[[tuple[Index, ...]], None]) -> Dim:
        """``body(index)`` for this call's share of all indices below the sizes; returns the number of work units."""

        def one(unit: Ssa) -> None:
            body(self.unravel(unit, sizes))

        self.e.loop(self.e.lo, self.e.hi, 1, one)
        return product(sizes)

    def unravel(self, flat: Index, sizes: Sequence[Dim]) -> tuple[Index, ...]:
        """The index that a row-major number stands for."""
        index: list[Index] = []
        for size in reversed(sizes[1:]):
            index.append(self.e.rem(flat, self.e.dim(size)))
            flat = self.e.div(flat, self.e.dim(size))
        return (flat, *reversed(index)) if sizes else ()

    def within(self, index: Index, size: Dim) -> Ssa:
        """Whether 0 <= index < size, as i1."""
        return self.e.icmp("ult", self.e.i64(index), self.e.i64(self.e.dim(size)))

    def all_of(self, conditions: Sequence[Ssa]) -> Ssa | None:
        """Whether every condition holds; None when there is none."""
        whole: Ssa | None = None
        for condition in conditions:
            whole = condition if whole is None else self.e.op("and", whole, condition)
        return whole

    def when(self, condition: Ssa | None, then: Callable[[], Values], otherwise: Values) -> tuple[Ssa, ...]:
        """What ``then`` computes where the condition holds (None: always), else the given values."""
        if condition is None:
            return tuple(then())
        return self.e.branch(condition, then, lambda: otherwise)

    def code(self, units: Dim, scratch_bytes: Dim = 0) -> Code:
        """The finished kernel."""
        launch = self.e.launch(units, scratch_bytes)
        return Code(self.e.text(), (launch,), frozenset(self.e.declarations))


def working_type(dtype: DType) -> DType:
    """The type that sums are kept in: f32 for narrower floats, as numpy references do."""
    return DType.F32 if dtype.is_float and dtype is not DType.F64 else dtype


def add(e: Emitter, a: Ssa, b: Ssa, dtype: DType) -> Ssa:
    return e.fadd(a, b) if dtype.is_float else e.op("add", a, b)


def multiply_add(e: Emitter, a: Ssa, b: Ssa, total: Ssa, dtype: DType) -> Ssa:
    """``total + a * b``; floats round once."""
    return e.fma(a, b, total) if dtype.is_float else e.op("add", total, e.op("mul", a, b))
