"""Resize by tables: which elements of each axis a result reads, and with what weights.

Tables of axes whose sizes the build knows are constants; those of others are written by a launch of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product as cartesian
from typing import ClassVar

import numpy as np

from fusee.base.dims import Dim, product
from fusee.base.types import Array, DType
from fusee.ir.graph import Op
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.lane_types import cast, raw_type, to_compute, to_memory
from fusee.kernels.cpu.math_exp import number
from fusee.kernels.cpu.nest import Nest, working_type
from fusee.kernels.cpu.ssa import Index, Ssa, literal, vector
from fusee.kernels.kernel import Code, Kernel, KernelCall, Place, Tactic
from fusee.ops.resize import Resize

# Coordinates that a table can be computed for at run time.
RUN_TIME_COORDINATES = ("asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners")
MOST_COMBINATIONS = 64  # taps of all axes together, written out


@dataclass(frozen=True)
class _Axis:
    """One resized axis: its tables are arrays ``number`` (i32) and ``number + 1`` (f32) of a place."""

    axis: int
    taps: int
    place: Place
    number: int


class TableResize(Kernel):
    """Each result row is a weighted sum of input rows; vectorised over the axes behind the last resized one."""

    op: ClassVar[type[Op]] = Resize

    def refuses(self, call: KernelCall) -> str:
        op, x = call.op, call.operands[0]
        assert isinstance(op, Resize)
        if op.coordinate == "tf_crop_and_resize":
            return "regions of the input are read by the host"
        if not x.is_contiguous or not call.results[0].is_contiguous:
            return "operand or result has gaps between its rows"
        for axis in _resized(op, x.type.shape):
            static = isinstance(x.type.shape[axis], int) and isinstance(op.sizes[axis], int)
            plain = op.mode in ("nearest", "linear") and not op.antialias and not op.exclude_outside
            if not static and not (plain and op.coordinate in RUN_TIME_COORDINATES):
                return f"axis {axis} of unknown size is resized by {op.mode} {op.coordinate} with options"
        taps = [_tap_count(op, axis, x.type.shape[axis]) for axis in _resized(op, x.type.shape)]
        return "" if np.prod(taps) <= MOST_COMBINATIONS else f"{int(np.prod(taps))} elements are read for each result"

    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        op, shape = call.op, call.operands[0].type.shape
        assert isinstance(op, Resize)
        constants: list[Array] = []
        temps: list[Dim] = []
        axes: list[_Axis] = []
        filler = Nest(f"{symbol}.tables", call)
        for axis in _resized(op, shape):
            size, target = shape[axis], op.sizes[axis]
            if isinstance(size, int) and isinstance(target, int):
                found = op.taps(axis, size, target)
                axes.append(_Axis(axis, found.indices.shape[1], Place.CONSTANT, len(constants)))
                constants += [found.indices.astype(np.int32), found.weights.astype(np.float32)]
                continue
            axes.append(_Axis(axis, _tap_count(op, axis, size), Place.TEMP, len(temps)))
            temps += [target * (4 * axes[-1].taps), target * (4 * axes[-1].taps)]
            _fill(filler, op, axes[-1], size, target)
        main = _main(symbol, call, axes)
        if not temps:
            return Code(main.text, main.launches, main.declarations, tuple(constants))
        first = filler.code(1)
        launches = (*first.launches, *main.launches)
        declarations = first.declarations | main.declarations
        return Code(first.text + main.text, launches, declarations, tuple(constants), tuple(temps))


def _resized(op: Resize, shape: Sequence[Dim]) -> list[int]:
    return [axis for axis, size in enumerate(shape) if not op.is_identity(axis, size)]


def _tap_count(op: Resize, axis: int, size: Dim) -> int:
    target = op.sizes[axis]
    if isinstance(size, int) and isinstance(target, int):
        return op.taps(axis, size, target).indices.shape[1]
    return 1 if op.mode == "nearest" else 2


def _main(symbol: str, call: KernelCall, axes: Sequence[_Axis]) -> Code:
    nest, x, y = Nest(symbol, call), call.operands[0].type, call.results[0].type
    last = max((a.axis for a in axes), default=0)
    inner = product(x.shape[last + 1 :])
    assert isinstance(call.op, Resize)
    mode = call.op.mode

    def row(index: tuple[Index, ...]) -> None:
        reads = _reads(nest, axes, index, x.shape, inner)
        target = nest.position(call.results[0], (*index, *[0] * (y.rank - len(index))))
        _blend(nest, reads, target, inner, mode, y.dtype)

    return nest.code(nest.rows(y.shape[: last + 1], row))


def _reads(
    nest: Nest, axes: Sequence[_Axis], index: tuple[Index, ...], shape: Sequence[Dim], inner: Dim
) -> list[tuple[Index, Ssa | None]]:
    """Where a result row's input rows start, in elements, and their weights (None: 1)."""
    e = nest.e
    found: list[tuple[Index, Ssa | None]] = []
    tables = {a.axis: a for a in axes}
    for choice in cartesian(*[range(a.taps) for a in axes]):
        taken = dict(zip((a.axis for a in axes), choice, strict=True))
        start: Index = 0
        weight: Ssa | None = None
        for axis, i in enumerate(index):
            at = i
            if axis in tables:
                table = tables[axis]
                slot = e.add(e.mul(i, table.taps), taken[axis])
                narrow = e.load("i32", e.at(e.pointer(table.place, table.number), "i32", slot))
                at = e.assign("i64", f"sext i32 {narrow} to i64")
                if table.taps > 1:
                    share = e.load("float", e.at(e.pointer(table.place, table.number + 1), "float", slot))
                    weight = share if weight is None else e.fmul(weight, share)
            start = e.add(e.mul(start, e.dim(shape[axis])), at)
        found.append((e.mul(start, e.dim(inner)), weight))
    return found


def _blend(
    nest: Nest, reads: Sequence[tuple[Index, Ssa | None]], target: Index, inner: Dim, mode: str, dtype: DType
) -> None:
    """Write one result row: the sum of input rows by weight, or the one input row as it is."""
    e, raw = nest.e, raw_type(dtype)
    kind = dtype if mode == "nearest" else working_type(dtype) if dtype.is_float else DType.F32
    lanes = 1 if inner == 1 else e.lanes_for("float")

    def some(at: Index, mask: Ssa | None) -> None:
        def load(start: Index) -> Ssa:
            where = e.at(e.operand(0), raw, e.add(start, at))
            type = vector(raw, lanes)
            return e.load(type, where, 1) if mask is None else e.load_masked(type, where, mask)

        place = e.at(e.result(), raw, e.add(target, at))
        value = load(reads[0][0]) if mode == "nearest" else _weighted(e, reads, load, dtype, kind)
        if mask is None:
            e.store(value, place, 1)
        else:
            e.store_masked(value, place, mask)

    if lanes == 1:
        return some(0, None)
    whole = e.mul(e.div(e.dim(inner), lanes), lanes)
    e.loop(0, whole, lanes, lambda at: some(at, None))
    if not isinstance(whole, int) or whole != inner:
        some(whole, e.first_lanes(e.sub(e.dim(inner), whole), lanes))
    return None


def _weighted(
    e: Emitter, reads: Sequence[tuple[Index, Ssa | None]], load: Callable[[Index], Ssa], dtype: DType, kind: DType
) -> Ssa:
    total: Ssa | None = None
    for start, weight in reads:
        value = to_compute(e, load(start), dtype)
        value = value if kind in (dtype, working_type(dtype)) else cast(e, value, dtype, kind)
        if weight is None:
            total = value
            continue
        share = e.splat(e.convert("fpext", weight, "double") if kind is DType.F64 else weight, value.lanes)
        total = e.fmul(value, share) if total is None else e.fma(value, share, total)
    assert total is not None
    if dtype.is_float:
        return to_memory(e, total, dtype)
    low, high = (number(total, float(x)) for x in (np.iinfo(dtype.numpy).min, np.iinfo(dtype.numpy).max))
    return to_memory(e, cast(e, e.fmin(e.fmax(total, low), high), kind, dtype), dtype)


def _fill(nest: Nest, op: Resize, table: _Axis, size: Dim, target: Dim) -> None:
    """Compute the tables of one axis, as ``base.host_resize.taps`` does."""
    e = nest.e
    indices, weights = e.pointer(Place.TEMP, table.number), e.pointer(Place.TEMP, table.number + 1)
    last = _as_float(e, e.sub(e.dim(size), 1))

    def one(i: Ssa) -> None:
        position = _position(e, op, table.axis, size, target, _as_float(e, i))
        nearest = _rounded(e, position, op.nearest_mode) if op.mode == "nearest" else _call(e, "floor", position)
        for t in range(table.taps):
            slot = e.add(e.mul(i, table.taps), t)
            here = e.fadd(nearest, literal("float", t))
            near = e.fsub(position, here)
            share = e.fsub(literal("float", 1), _call(e, "fabs", near))
            share = e.fmax(share, literal("float", 0)) if table.taps > 1 else literal("float", 1)
            kept = e.fmin(e.fmax(here, literal("float", 0)), last)
            e.store(e.convert("fptosi", kept, "i32"), e.at(indices, "i32", slot))
            e.store(share, e.at(weights, "float", slot))

    e.loop(0, e.dim(target), 1, one)


def _as_float(e: Emitter, index: Index) -> Ssa:
    return e.convert("sitofp", e.i64(index), "float")


def _call(e: Emitter, name: str, x: Ssa) -> Ssa:
    return e.call(f"llvm.{name}.f32", "float", x)


def _position(e: Emitter, op: Resize, axis: int, size: Dim, target: Dim, i: Ssa) -> Ssa:
    """Where an element of the result lies in the input."""
    half, scale = literal("float", 0.5), op.scales[axis]
    old, new = _as_float(e, e.dim(size)), _as_float(e, e.dim(target))
    if op.coordinate == "align_corners":
        steps = e.fsub(new if scale is None else e.fmul(old, literal("float", scale)), literal("float", 1))
        ratio = e.fdiv(e.fsub(old, literal("float", 1)), steps)
        some = e.fcmp("ogt", steps, literal("float", 0))
        return e.fmul(i, e.select(some, ratio, literal("float", 0)))
    factor = e.fdiv(new, old) if scale is None else literal("float", scale)
    if op.coordinate == "asymmetric":
        return e.fdiv(i, factor)
    centred = e.fsub(e.fdiv(e.fadd(i, half), factor), half)
    if op.coordinate == "pytorch_half_pixel":
        alone = e.icmp("eq", e.i64(e.dim(target)), literal("i64", 1))
        return e.select(alone, literal("float", 0), centred)
    return centred


def _rounded(e: Emitter, position: Ssa, mode: str) -> Ssa:
    half = literal("float", 0.5)
    match mode:
        case "round_prefer_floor":
            return _call(e, "ceil", e.fsub(position, half))
        case "round_prefer_ceil":
            return _call(e, "floor", e.fadd(position, half))
        case _:
            return _call(e, mode, position)
