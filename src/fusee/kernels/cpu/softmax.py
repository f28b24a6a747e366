"""Softmax, its logarithm, and normalisation to mean 0 and variance 1, with what is fused before and after them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from fusee.base.dims import Dim, ceildiv
from fusee.ir.graph import Op
from fusee.kernels.cpu.coords import Lanes, Spot
from fusee.kernels.cpu.lane_types import compute_type
from fusee.kernels.cpu.math_exp import exp, log, number, square_root
from fusee.kernels.cpu.reduce import count_lanes, finished
from fusee.kernels.cpu.rows import RowLoops, Rows, lane_axis, split
from fusee.kernels.cpu.ssa import Ssa, element_of, literal, vector
from fusee.kernels.kernel import Code, Kernel, KernelCall, Tactic
from fusee.ops.fused import Fused
from fusee.ops.reduce import LogSoftmax, Normalize, Softmax

LONG_ROW = 1 << 14  # a row of more elements is not kept in scratch: the cache would lose it
SHORT_ROW = 8  # rows up to this long are walked, with lanes along their neighbours
Item = Callable[[RowLoops, Spot, Lanes], None]


def _axes(op: Op) -> tuple[int, ...]:
    if isinstance(op, Normalize):
        return op.axes
    assert isinstance(op, Softmax | LogSoftmax)
    return (op.axis,)


def _zero(loops: RowLoops, lanes: Lanes, value: float = 0) -> Ssa:
    return literal(vector(compute_type(loops.rows.anchor.types[0].dtype), lanes.count), value)


def _largest(loops: RowLoops, spot: Spot, lanes: Lanes) -> Ssa:
    e = loops.e
    start = _zero(loops, lanes, -math.inf)
    (top,) = loops.fold(spot, lanes, lambda s, h, t: [e.fmax(loops.operand(s, h), t)], [start])
    return loops.combined(e.fmax, top)


def _exponentials(loops: RowLoops, spot: Spot, lanes: Lanes, top: Ssa, keep: bool = False) -> Ssa:
    """The sum of exp(x - top); each exponential is kept in scratch if asked for."""
    e = loops.e

    def step(at: Spot, here: Lanes, total: Ssa) -> Sequence[Ssa]:
        grown = exp(e, e.fsub(loops.operand(at, here), top))
        if keep:
            e.store(grown, _slot(loops, at, grown.type), loops.e.target.vector_bytes)
        return [e.fadd(total, grown)]

    (total,) = loops.fold(spot, lanes, step, [_zero(loops, lanes)])
    return loops.combined(e.fadd, total)


def _slot(loops: RowLoops, at: Spot, type: str) -> Ssa:
    """Where in scratch a vector of the row is kept."""
    return loops.e.at(loops.e.scratch, element_of(type), at[loops.axis].base)


def _kept_bytes(loops: RowLoops) -> Dim:
    """Scratch for the exponentials of one row; 0 where lanes run along other rows, or the row is long."""
    size = loops.rows.sizes[loops.axis]
    single = loops.across and sum(loops.rows.reduced) == 1
    if not single or (isinstance(size, int) and size > LONG_ROW):
        return 0
    itemsize = max(4, loops.rows.anchor.types[0].dtype.itemsize_bytes)
    return ceildiv(size, loops.width) * (loops.width * itemsize)


def _softmax(loops: RowLoops, spot: Spot, lanes: Lanes) -> None:
    e = loops.e
    keep = _kept_bytes(loops) != 0
    top = _largest(loops, spot, lanes)
    scale = e.fdiv(number(top, 1), _exponentials(loops, spot, lanes, top, keep))

    def write(at: Spot, here: Lanes) -> Sequence[Ssa]:
        if keep:
            grown = e.load(top.type, _slot(loops, at, top.type), e.target.vector_bytes)
        else:
            grown = exp(e, e.fsub(loops.operand(at, here), top))
        loops.put(e.fmul(grown, scale), at, here)
        return []

    loops.fold(spot, lanes, write, [])


def _log_softmax(loops: RowLoops, spot: Spot, lanes: Lanes) -> None:
    e = loops.e
    top = _largest(loops, spot, lanes)
    logarithm = log(e, _exponentials(loops, spot, lanes, top))

    def write(at: Spot, here: Lanes) -> Sequence[Ssa]:
        loops.put(e.fsub(e.fsub(loops.operand(at, here), top), logarithm), at, here)
        return []

    loops.fold(spot, lanes, write, [])


def _normalize(loops: RowLoops, spot: Spot, lanes: Lanes) -> None:
    e, op = loops.e, loops.rows.anchor.op
    assert isinstance(op, Normalize)
    start = _zero(loops, lanes)
    count = count_lanes(e, loops.rows.count, start.type)
    mean = None
    if op.center:
        (total,) = loops.fold(spot, lanes, lambda s, h, t: [e.fadd(t, loops.operand(s, h))], [start])
        mean = e.fdiv(loops.combined(e.fadd, total), count)

    def distance(at: Spot, here: Lanes) -> Ssa:
        x = loops.operand(at, here)
        return e.fsub(x, mean) if mean else x

    def square(at: Spot, here: Lanes, total: Ssa) -> Sequence[Ssa]:
        d = distance(at, here)
        return [e.fma(d, d, total)]

    (squares,) = loops.fold(spot, lanes, square, [start])
    variance = e.fdiv(loops.combined(e.fadd, squares), count)
    scale = e.fdiv(number(variance, 1), square_root(e, e.fadd(variance, number(variance, op.epsilon))))

    def write(at: Spot, here: Lanes) -> Sequence[Ssa]:
        loops.put(e.fmul(distance(at, here), scale), at, here)
        return []

    loops.fold(spot, lanes, write, [])


class Row(Kernel):
    """Several passes over each row: what the row as a whole is, then every element by it."""

    op = Op
    kind: type[Op]
    item: Item

    def __init__(self, kind: type[Op], item: Item) -> None:
        self.kind = kind
        self.item = item

    @property
    def name(self) -> str:
        return f"Row{self.kind.__name__}"

    def refuses(self, call: KernelCall) -> str:
        if not isinstance(call.op, self.kind | Fused):
            return f"{type(call.op).__name__} is not {self.kind.__name__}"
        found = split(call, self.kind, _axes)
        return found if isinstance(found, str) else ""

    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        rows = split(call, self.kind, _axes)
        assert isinstance(rows, Rows)
        loops = RowLoops(symbol, rows, lane_axis(rows, SHORT_ROW))
        loops.each(lambda spot, lanes: self.item(loops, spot, lanes))
        return finished(loops, _kept_bytes(loops) if self.kind is Softmax else 0)


ROW_KERNELS: tuple[Kernel, ...] = (
    Row(Softmax, _softmax),
    Row(LogSoftmax, _log_softmax),
    Row(Normalize, _normalize),
)
