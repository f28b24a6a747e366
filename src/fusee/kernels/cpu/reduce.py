"""Reductions, positions of extremes, and running totals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fusee.base.dims import Dim
from fusee.base.types import BOOL, DType
from fusee.ir.graph import Op
from fusee.kernels.cpu.coords import Coord, Lanes, Spot, positions
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.lane_types import compute_type, resized
from fusee.kernels.cpu.math_exp import absolute, exp, log, number, square_root
from fusee.kernels.cpu.rows import RowLoops, Rows, lane_axis, split
from fusee.kernels.cpu.ssa import Ssa, element_of, is_float, literal, mangled, vector
from fusee.kernels.kernel import Code, Kernel, KernelCall, Tactic
from fusee.ops.fused import Fused
from fusee.ops.reduce import ArgReduce, Cumulative, Reduce

# A reduced last axis up to this long is walked, with lanes along its neighbours; comparing lanes costs a search more.
SHORT_ROW = 8
SHORT_SEARCH = 32


def finished(loops: RowLoops, scratch_bytes: Dim = 0) -> Code:
    """The code of a kernel whose loops are written."""
    e = loops.e
    launch = e.launch(loops.units, scratch_bytes)
    return Code(e.text(), (launch,), frozenset(e.declarations), tuple(loops.addresses.constants))


class Reduction(Kernel):
    """One number for all elements along axes."""

    op = Op

    def refuses(self, call: KernelCall) -> str:
        if not isinstance(call.op, Reduce | Fused):
            return f"{type(call.op).__name__} is no reduction"
        found = _split(call)
        return found if isinstance(found, str) else ""

    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        rows = _split(call)
        assert isinstance(rows, Rows)
        loops = RowLoops(symbol, rows, lane_axis(rows, SHORT_ROW))
        writer = _Reducer(loops, rows)
        loops.each(writer.item)
        return finished(loops)


def _split(call: KernelCall) -> Rows | str:
    return split(call, Reduce, _reduced_axes)


def _reduced_axes(op: Op) -> tuple[int, ...]:
    assert isinstance(op, Reduce)
    return op.axes


@dataclass(frozen=True, eq=False)
class _Reducer:
    """Writes one reduction of a kind."""

    loops: RowLoops
    rows: Rows

    @property
    def kind(self) -> str:
        assert isinstance(self.rows.anchor.op, Reduce)
        return self.rows.anchor.op.kind

    @property
    def dtype(self) -> DType:
        return self.rows.anchor.types[0].dtype

    def item(self, spot: Spot, lanes: Lanes) -> None:
        loops = self.loops
        shift = self._shift(spot, lanes) if self.kind == "log_sum_exp" else None

        def step(at: Spot, here: Lanes, total: Ssa) -> Sequence[Ssa]:
            return [self._combine(self._taken(loops.operand(at, here), shift), total)]

        start = self._neutral(lanes.count)
        (total,) = loops.fold(spot, lanes, step, [start])
        total = loops.combined(self._combine, total)
        loops.put_one(self._finish(total, shift), spot, lanes)

    def _shift(self, spot: Spot, lanes: Lanes) -> Ssa:
        """The largest element, or 0 where that is infinite: exponentials of the rest then stay finite."""
        e, loops = self.loops.e, self.loops
        start = literal(vector(self._type, lanes.count), -math.inf)
        (top,) = loops.fold(spot, lanes, lambda s, h, t: [e.fmax(self._wide(loops.operand(s, h)), t)], [start])
        top = loops.combined(e.fmax, top)
        finite = e.fcmp("one", absolute(e, top), number(top, math.inf))
        return e.select(finite, top, number(top, 0))

    @property
    def _type(self) -> str:
        """What is accumulated in: the compute type; double for roots and logarithms of integers."""
        inner = self.kind in ("l2", "log_sum", "log_sum_exp") and not self.dtype.is_float
        return "double" if inner else compute_type(self.dtype)

    def _wide(self, x: Ssa) -> Ssa:
        if element_of(x.type) == self._type:
            return x
        return self.loops.e.convert("sitofp" if self.dtype.is_signed else "uitofp", x, self._type)

    def _taken(self, x: Ssa, shift: Ssa | None) -> Ssa:
        """What an element counts for."""
        e = self.loops.e
        x = self._wide(x)
        if self.kind in ("l2", "sum_square"):
            return e.fmul(x, x) if is_float(x.type) else e.op("mul", x, x)
        if self.kind == "l1":
            return absolute(e, x) if is_float(x.type) else self._integer_magnitude(x)
        return exp(e, e.fsub(x, shift)) if shift else x

    def _integer_magnitude(self, x: Ssa) -> Ssa:
        if not self.dtype.is_signed:
            return x
        return self.loops.e.call(f"llvm.abs.{mangled(x.type)}", x.type, x, Ssa("false", "i1"), immediate=(1,))

    def _combine(self, x: Ssa, total: Ssa) -> Ssa:
        e, floats = self.loops.e, is_float(x.type)
        if self.kind == "prod":
            return e.fmul(total, x) if floats else e.op("mul", total, x)
        if self.kind in ("max", "min"):
            return extreme(e, self.kind, self.dtype, x, total)
        return e.fadd(total, x) if floats else e.op("add", total, x)

    def _neutral(self, lanes: int) -> Ssa:
        type = vector(self._type, lanes)
        if self.kind in ("max", "min"):
            return literal(type, worst(self.kind, self.dtype))
        return literal(type, 1 if self.kind == "prod" else 0)

    def _finish(self, total: Ssa, shift: Ssa | None) -> Ssa:
        e = self.loops.e
        if self.kind == "mean":
            total = self._mean(total)
        if self.kind == "l2":
            total = square_root(e, total)
        if self.kind in ("log_sum", "log_sum_exp"):
            total = log(e, total)
        if shift:
            total = e.fadd(total, shift)
        if not self.dtype.is_float and is_float(total.type):
            return e.convert("fptosi" if self.dtype.is_signed else "fptoui", total, compute_type(self.dtype))
        return total

    def _mean(self, total: Ssa) -> Ssa:
        """Integers drop the fraction; over no elements they give 0, floats NaN."""
        e = self.loops.e
        count = e.dim(self.rows.count)
        if is_float(total.type):
            return e.fdiv(total, count_lanes(e, self.rows.count, total.type))
        signed, by = self.dtype.is_signed, e.splat(e.i64(e.max(count, 1)), total.lanes)
        wide = resized(e, total, "i64", signed)  # the count itself may not fit the element type
        return resized(e, e.op("sdiv" if signed else "udiv", wide, by), element_of(total.type), signed)


def count_lanes(e: Emitter, count: Dim, type: str) -> Ssa:
    """A size as a float in every lane."""
    if isinstance(count, int):
        return literal(type, count)
    element = element_of(type)
    return e.splat(e.convert("sitofp", e.i64(e.dim(count)), element), Ssa("", type).lanes)


def worst(kind: str, dtype: DType) -> float:
    """What every element beats: the start of a search for the largest or smallest."""
    largest = kind == "min"
    if dtype is BOOL:
        return int(largest)
    if dtype.is_float:
        return math.inf if largest else -math.inf
    if dtype.bits < 8:
        return (1 << 31) - 1 if largest else -(1 << 31)
    info = np.iinfo(dtype.numpy)
    return info.max if largest else info.min


def extreme(e: Emitter, kind: str, dtype: DType, x: Ssa, total: Ssa) -> Ssa:
    """The larger or smaller of two; NaN when either is."""
    if dtype is BOOL:
        return e.op("or" if kind == "max" else "and", x, total)
    if is_float(x.type):
        better = e.fmax(x, total) if kind == "max" else e.fmin(x, total)
        return e.select(e.fcmp("uno", x, x), x, better)
    sign = "s" if dtype.is_signed or dtype.bits < 8 else "u"
    return e.call(f"llvm.{sign}{kind}.{mangled(x.type)}", x.type, x, total)


class Position(Kernel):
    """Where along an axis the greatest or least element is."""

    op = Op

    def refuses(self, call: KernelCall) -> str:
        if not isinstance(call.op, ArgReduce | Fused):
            return f"{type(call.op).__name__} looks for no position"
        found = split(call, ArgReduce, _single_axis)
        return found if isinstance(found, str) else ""

    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        rows = split(call, ArgReduce, _single_axis)
        assert isinstance(rows, Rows)
        loops = RowLoops(symbol, rows, lane_axis(rows, SHORT_SEARCH))
        loops.each(_Finder(loops, rows).item)
        return finished(loops)


def _single_axis(op: Op) -> tuple[int, ...]:
    assert isinstance(op, ArgReduce | Cumulative)
    return (op.axis,)


@dataclass(frozen=True, eq=False)
class _Finder:
    """Writes a search that carries the best element of each lane and its position."""

    loops: RowLoops
    rows: Rows

    def item(self, spot: Spot, lanes: Lanes) -> None:
        e, dtype = self.loops.e, self._dtype
        best = literal(vector(compute_type(dtype), lanes.count), worst(self._op.kind, dtype))
        nowhere = literal(vector("i32", lanes.count), self._nowhere)
        value, place = self.loops.fold(spot, lanes, self._step, [best, nowhere])
        if self.loops.across:
            place = e.splat(self._best_of(value, place), lanes.count)
        place = e.select(e.icmp("eq", place, nowhere), literal(place.type, 0), place)
        self.loops.put_one(e.convert("sext", place, "i64"), spot, lanes)

    @property
    def _nowhere(self) -> int:
        """The place of a lane that nothing was found in: behind all others, or before them when the last wins."""
        return -1 if self._op.select_last else (1 << 31) - 1

    @property
    def _op(self) -> ArgReduce:
        assert isinstance(self.rows.anchor.op, ArgReduce)
        return self.rows.anchor.op

    @property
    def _dtype(self) -> DType:
        return self.rows.anchor.operands[0].type.dtype

    def _step(self, spot: Spot, lanes: Lanes, best: Ssa, place: Ssa) -> Sequence[Ssa]:
        e = self.loops.e
        x = self.loops.operand(spot, lanes)
        axis = self.rows.reduced.index(True) if any(self.rows.reduced) else None
        where = positions(e, spot[axis], lanes.count) if axis is not None else literal(place.type, 0)
        better = self._follows(x, best)
        return [e.select(better, x, best), e.select(better, where, place)]

    def _follows(self, x: Ssa, best: Ssa) -> Ssa:
        """Whether an element further on replaces the best so far; NaN is beyond everything."""
        e, last = self.loops.e, self._op.select_last
        comparison = ("g" if self._op.kind == "max" else "l") + ("e" if last else "t")
        if not is_float(x.type):
            return e.icmp(self._sign + comparison, x, best)
        real = e.fcmp("ord", best, best)
        allowed = e.op("or", real, e.fcmp("uno", x, x)) if last else real
        return e.op("and", e.fcmp(f"u{comparison}", x, best), allowed)

    @property
    def _sign(self) -> str:
        return "s" if self._dtype.is_signed or self._dtype.bits < 8 else "u"

    def _beats(self, x: Ssa, where: Ssa, best: Ssa, place: Ssa) -> Ssa:
        """Whether one of two lanes wins: it is beyond the other, or equal to it and at the preferred place."""
        e = self.loops.e
        beyond, equal = self._beyond(x, best)
        preferred = e.icmp("sgt" if self._op.select_last else "slt", where, place)
        return e.op("or", beyond, e.op("and", equal, preferred))

    def _beyond(self, x: Ssa, best: Ssa) -> tuple[Ssa, Ssa]:
        e, largest = self.loops.e, self._op.kind == "max"
        if not is_float(x.type):
            return e.icmp(self._sign + ("gt" if largest else "lt"), x, best), e.icmp("eq", x, best)
        x_nan, best_nan = e.fcmp("uno", x, x), e.fcmp("uno", best, best)
        fresh = e.op("and", x_nan, e.op("xor", best_nan, literal(best_nan.type, 1)))
        beyond = e.op("or", e.fcmp("ogt" if largest else "olt", x, best), fresh)
        return beyond, e.op("or", e.fcmp("oeq", x, best), e.op("and", x_nan, best_nan))

    def _best_of(self, value: Ssa, place: Ssa) -> Ssa:
        """The winning lane's position."""
        e = self.loops.e
        while value.lanes > 1:
            half = value.lanes // 2
            low, high = range(half), range(half, 2 * half)
            pick = (lambda v, lanes: e.extract(v, lanes[0])) if half == 1 else (lambda v, lanes: e.shuffle(v, v, lanes))
            a, b, pa, pb = pick(value, low), pick(value, high), pick(place, low), pick(place, high)
            wins = self._beats(b, pb, a, pa)
            value, place = e.select(wins, b, a), e.select(wins, pb, pa)
        return place


class Running(Kernel):
    """Running totals; each lane follows one line of elements."""

    op = Op

    def refuses(self, call: KernelCall) -> str:
        if not isinstance(call.op, Cumulative | Fused):
            return f"{type(call.op).__name__} is no running total"
        found = split(call, Cumulative, _single_axis)
        return found if isinstance(found, str) else ""

    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        rows = split(call, Cumulative, _single_axis)
        assert isinstance(rows, Rows)
        kept = [i for i, gone in enumerate(rows.reduced) if not gone]
        loops = RowLoops(symbol, rows if kept else _with_line(rows), kept[-1] if kept else 0)
        loops.each(lambda spot, lanes: _run(loops, spot, lanes))
        return finished(loops)


def _with_line(rows: Rows) -> Rows:
    """The same with one more axis, of size 1, for lanes to run along."""
    leaves = {leaf: (0, *steps) for leaf, steps in rows.leaves.items()}
    return Rows(
        rows.group,
        rows.anchor,
        rows.before,
        rows.after,
        (1, *rows.sizes),
        (False, *rows.reduced),
        (0, *rows.result),
        leaves,
    )


def _run(loops: RowLoops, spot: Spot, lanes: Lanes) -> None:
    e, op = loops.e, loops.rows.anchor.op
    assert isinstance(op, Cumulative)
    dtype = loops.rows.anchor.types[0].dtype
    element = "double" if dtype.is_float else compute_type(dtype)
    axis = loops.rows.reduced.index(True) if any(loops.rows.reduced) else None
    size = e.dim(loops.rows.sizes[axis]) if axis is not None else 1

    def combine(total: Ssa, x: Ssa) -> Ssa:
        if dtype.is_float:
            x = e.convert("fpext", x, "double")
            return e.fadd(total, x) if op.kind == "sum" else e.fmul(total, x)
        return e.op("add" if op.kind == "sum" else "mul", total, x)

    def step(i: Ssa, total: Ssa) -> Sequence[Ssa]:
        where = e.sub(e.sub(size, 1), i) if op.reverse else i
        at = spot if axis is None else (*spot[:axis], Coord(where), *spot[axis + 1 :])
        new = combine(total, loops.operand(at, lanes))
        shown = total if op.exclusive else new
        loops.put(e.convert("fptrunc", shown, compute_type(dtype)) if dtype.is_float else shown, at, lanes)
        return [new]

    e.loop(0, size, 1, step, [literal(vector(element, lanes.count), 0 if op.kind == "sum" else 1)])
