"""Reading images between their elements: GridSample of any rank and mode, one result position after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product as cartesian
from typing import ClassVar

from fusee.base.dims import Dim
from fusee.base.types import DType
from fusee.ir.graph import Op
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.lane_types import compute_type
from fusee.kernels.cpu.math_exp import number, round_even
from fusee.kernels.cpu.nest import Nest, working_type
from fusee.kernels.cpu.ssa import Index, Ssa, mangled
from fusee.kernels.kernel import Code, Kernel, KernelCall, Tactic
from fusee.ops.vision import GridSample

MOST_TAPS = 64  # elements read for each result, written out
TAPS = {"nearest": 1, "linear": 2, "cubic": 4}
CUBIC_A = -0.75


def as_float(e: Emitter, index: Index, kind: DType) -> Ssa:
    """A whole number as a float."""
    return e.convert("sitofp", e.i64(index), compute_type(kind))


def floor(e: Emitter, x: Ssa) -> Ssa:
    return e.call(f"llvm.floor.{mangled(x.type)}", x.type, x)


def ceil(e: Emitter, x: Ssa) -> Ssa:
    return e.call(f"llvm.ceil.{mangled(x.type)}", x.type, x)


def clamp(e: Emitter, x: Ssa, low: Ssa, high: Ssa) -> Ssa:
    """The nearest number from ``low`` to ``high``; NaN becomes ``low``."""
    return e.fmin(e.fmax(x, low), high)


@dataclass(frozen=True, eq=False)
class Tap:
    """One element along one axis: its index (a valid one in any case), its weight and whether it lies inside."""

    index: Ssa
    weight: Ssa | None
    inside: Ssa


def tap_inside(e: Emitter, at: Ssa, size: Dim, kind: DType, weight: Ssa | None) -> Tap:
    """The element at a whole position of an axis, 0 outside."""
    zero, last = number(at, 0), e.fsub(as_float(e, e.dim(size), kind), number(at, 1))
    inside = e.op("and", e.fcmp("oge", at, zero), e.fcmp("ole", at, last))
    return Tap(e.convert("fptosi", clamp(e, at, zero, last), "i64"), weight, inside)


def blend(nest: Nest, taps: Sequence[Sequence[Tap]], lead: tuple[Index, ...], kind: DType) -> Ssa:
    """The sum of operand 0's elements at all combinations of taps, one list per axis, by the products of weights."""
    e, total = nest.e, nest.number(0, kind)
    for choice in cartesian(*taps):
        inside = nest.all_of([t.inside for t in choice])
        assert inside is not None
        value = nest.load(0, (*lead, *[t.index for t in choice]), kind)
        value = e.select(inside, value, nest.number(0, kind))
        weight: Ssa | None = None
        for t in choice:
            weight = t.weight if weight is None or t.weight is None else e.fmul(weight, t.weight)
        total = e.fadd(total, value) if weight is None else e.fma(value, weight, total)
    return total


def cubic_weights(e: Emitter, fraction: Ssa) -> list[Ssa]:
    """Weights of the four elements around a position (Keys 1981, a = -0.75)."""
    a, one = CUBIC_A, number(fraction, 1)
    far = e.fsub(one, fraction)

    def inner(d: Ssa) -> Ssa:
        slope = e.fsub(e.fmul(d, number(d, a + 2)), number(d, a + 3))
        return e.fadd(e.fmul(e.fmul(slope, d), d), one)

    def outer(d: Ssa) -> Ssa:
        slope = e.fadd(e.fmul(e.fsub(e.fmul(d, number(d, a)), number(d, 5 * a)), d), number(d, 8 * a))
        return e.fsub(e.fmul(slope, d), number(d, 4 * a))

    return [outer(e.fadd(fraction, one)), inner(fraction), inner(far), outer(e.fadd(far, one))]


class NestGridSample(Kernel):
    """A work unit is one position of the result, whose taps serve all channels."""

    op: ClassVar[type[Op]] = GridSample

    def refuses(self, call: KernelCall) -> str:
        op, x = call.op, call.operands[0].type
        assert isinstance(op, GridSample)
        if not x.dtype.is_float or not call.operands[1].type.dtype.is_float:
            return f"{x} or its grid is of integers"
        count = TAPS[op.mode] ** (x.rank - 2)
        return "" if count <= MOST_TAPS else f"{count} elements are read for each result"

    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        op, nest, x = call.op, Nest(symbol, call), call.operands[0].type
        assert isinstance(op, GridSample)
        kind, rank = working_type(x.dtype), x.rank - 2

        def spot(index: tuple[Index, ...]) -> None:
            places = [nest.load(1, (*index, rank - 1 - axis), kind) for axis in range(rank)]
            taps = [_taps(nest, op, at, x.shape[2 + axis], kind) for axis, at in enumerate(places)]

            def channel(c: tuple[Index, ...]) -> None:
                nest.store(blend(nest, taps, (index[0], *c), kind), (index[0], *c, *index[1:]))

            nest.loops((x.shape[1],), channel)

        return nest.code(nest.rows(call.operands[1].type.shape[:-1], spot))


def _taps(nest: Nest, op: GridSample, place: Ssa, size: Dim, kind: DType) -> list[Tap]:
    """What is read along one axis for a place from -1 to 1."""
    e, length = nest.e, as_float(nest.e, nest.e.dim(size), kind)
    one, two = number(place, 1), number(place, 2)
    if op.align_corners:
        at = e.fmul(e.fdiv(e.fadd(place, one), two), e.fsub(length, one))
    else:
        at = e.fdiv(e.fsub(e.fmul(e.fadd(place, one), length), one), two)

    def tap(whole: Ssa, weight: Ssa | None) -> Tap:
        moved = _padded(e, op, whole, length)
        if op.padding == "reflection":
            moved = clamp(e, moved, number(whole, 0), e.fsub(length, one))
        return tap_inside(e, moved, size, kind, weight)

    if op.mode == "nearest":
        return [tap(round_even(e, at), None)]
    at = _padded(e, op, at, length) if op.mode == "linear" else at
    base = floor(e, at)
    fraction = e.fsub(at, base)
    if op.mode == "linear":
        return [tap(base, e.fsub(one, fraction)), tap(e.fadd(base, one), fraction)]
    return [tap(e.fadd(base, number(at, i - 1)), w) for i, w in enumerate(cubic_weights(e, fraction))]


def _padded(e: Emitter, op: GridSample, at: Ssa, length: Ssa) -> Ssa:
    """Where padding moves a position."""
    if op.padding == "zeros":
        return at
    last = e.fsub(length, number(at, 1))
    if op.padding == "border":
        return clamp(e, at, number(at, 0), last)
    half = number(at, 0.0 if op.align_corners else 0.5)
    return _reflected(e, at, e.fsub(number(at, 0), half), e.fadd(last, half))


def _reflected(e: Emitter, at: Ssa, low: Ssa, high: Ssa) -> Ssa:
    """A position folded back and forth between two borders."""
    extent = e.fmax(e.fsub(high, low), number(at, 2.0**-126 if at.type == "float" else 2.0**-1022))
    below, above = e.fcmp("olt", at, low), e.fcmp("ogt", at, high)
    beyond = e.select(below, e.fsub(low, at), e.fsub(at, high))
    turns = floor(e, e.fdiv(beyond, extent))
    rest = e.fsub(beyond, e.fmul(turns, extent))
    half = e.fmul(turns, number(at, 0.5))
    odd = e.fcmp("une", floor(e, half), half)
    folded = e.select(e.op("xor", odd, below), e.fadd(low, rest), e.fsub(high, rest))
    return e.select(e.op("or", below, above), folded, at)
