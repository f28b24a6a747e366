"""Resize one result element after the other: regions of the input, and filters too wide to be written out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fusee.base.types import Array, DType
from fusee.ir.graph import Op
from fusee.kernels.cpu.lane_types import cast
from fusee.kernels.cpu.math_exp import number
from fusee.kernels.cpu.nest import Nest, working_type
from fusee.kernels.cpu.nest_sampling import floor
from fusee.kernels.cpu.ssa import Index, Ssa, literal
from fusee.kernels.kernel import Code, Kernel, KernelCall, Tactic
from fusee.ops.resize import Resize


@dataclass(frozen=True)
class _Axis:
    """One resized axis: constants ``first`` (indices, i32), ``first + 1`` (weights, f32), ``first + 2`` (outside)."""

    axis: int
    taps: int
    first: int


class PointResize(Kernel):
    """Loops over the taps of all resized axes, whose sizes the build knows."""

    op: ClassVar[type[Op]] = Resize

    def refuses(self, call: KernelCall) -> str:
        op, shape = call.op, call.operands[0].type.shape
        assert isinstance(op, Resize)
        for axis, (size, target) in enumerate(zip(shape, op.sizes, strict=True)):
            if not op.is_identity(axis, size) and not (isinstance(size, int) and isinstance(target, int)):
                return f"the sizes of axis {axis} are not known"
        return ""

    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        op, nest, x = call.op, Nest(symbol, call), call.operands[0].type
        assert isinstance(op, Resize)
        constants: list[Array] = []
        axes: list[_Axis] = []
        for axis, (size, target) in enumerate(zip(x.shape, op.sizes, strict=True)):
            if op.is_identity(axis, size) or not (isinstance(size, int) and isinstance(target, int)):
                continue
            found = op.taps(axis, size, target)
            axes.append(_Axis(axis, found.indices.shape[1], len(constants)))
            constants += [found.indices.astype(np.int32), found.weights.astype(np.float32)]
            constants.append(found.outside.astype(np.uint8))
        units = nest.rows(call.results[0].type.shape, lambda index: _element(nest, axes, index))
        launch = nest.e.launch(units)
        return Code(nest.e.text(), (launch,), frozenset(nest.e.declarations), tuple(constants))


def _element(nest: Nest, axes: Sequence[_Axis], index: tuple[Index, ...]) -> None:
    e, op, dtype = nest.e, nest.call.op, nest.call.results[0].type.dtype
    assert isinstance(op, Resize)
    exact = op.mode == "nearest"
    kind = dtype if exact else working_type(dtype) if dtype.is_float else DType.F32

    def term(at: tuple[Index, ...], total: Ssa) -> tuple[Ssa, ...]:
        place, weight = list(index), literal("float", 1)
        for axis, tap in zip(axes, at, strict=True):
            slot = e.add(e.mul(index[axis.axis], axis.taps), tap)
            place[axis.axis] = e.convert("sext", e.load("i32", e.at(e.constant(axis.first), "i32", slot)), "i64")
            if not exact:
                weight = e.fmul(weight, e.load("float", e.at(e.constant(axis.first + 1), "float", slot)))
        value = nest.load(0, place, kind)
        if exact:
            return (value,)
        return (e.fma(value, e.convert("fpext", weight, "double") if kind is DType.F64 else weight, total),)

    (total,) = nest.loops([a.taps for a in axes], term, (nest.number(0, kind),))
    total = total if exact or dtype.is_float else _whole(nest, total, dtype)
    if op.coordinate == "tf_crop_and_resize":
        filler = nest.number(op.extrapolation, dtype)
        for axis in axes:
            outside = e.load("i8", e.at(e.constant(axis.first + 2), "i8", index[axis.axis]))
            total = e.select(e.icmp("ne", outside, literal("i8", 0)), filler, total)
    nest.store(total, index)


def _whole(nest: Nest, value: Ssa, dtype: DType) -> Ssa:
    """An integer that does not wrap around: rounded with antialiasing, else cut off."""
    e, op, limits = nest.e, nest.call.op, np.iinfo(dtype.numpy)
    assert isinstance(op, Resize)
    value = floor(e, e.fadd(value, number(value, 0.5))) if op.antialias else value
    low, high = number(value, float(limits.min)), number(value, float(limits.max))
    return cast(e, e.fmin(e.fmax(value, low), high), DType.F32, dtype)
