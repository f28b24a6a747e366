"""Readings that many lowerings share: axes counted from the end, and scalars given as one-element tensors."""

from __future__ import annotations

from collections.abc import Sequence

from fusee.base.dims import Dim, equal, less, select
from fusee.base.errors import ModelError
from fusee.ir.graph import Value
from fusee.onnx.call import OnnxCall
from fusee.ops.control import After
from fusee.ops.shape import Reshape


def normal_axis(call: OnnxCall, axis: int, rank: int) -> int:
    """An axis counted from 0; ONNX also counts from the end, with -1 the last. Raises ModelError when there is none."""
    if not -rank <= axis < rank:
        raise ModelError(f"{call.where}: axis {axis} is not one of a tensor of rank {rank}")
    return axis % rank


def normal_axes(call: OnnxCall, axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """Several axes counted from 0. Raises ModelError when one is named twice."""
    found = tuple(normal_axis(call, a, rank) for a in axes)
    if len(set(found)) < len(found):
        raise ModelError(f"{call.where}: axes {list(axes)} name an axis twice")
    return found


def axes_operand(call: OnnxCall, i: int, rank: int) -> tuple[Dim, ...] | None:
    """Input ``i`` as axes counted from 0; None when it is absent. Axes that only the run knows are expressions."""
    if not call.has(i):
        return None
    axes = call.dims(i)
    if known := [a for a in axes if isinstance(a, int)]:
        normal_axes(call, known, rank)
    return tuple(a % rank if isinstance(a, int) else select(less(a, 0), a + rank, a) for a in axes)


def at_axis(axes: Sequence[Dim], values: Sequence[Dim], axis: Dim, otherwise: Dim) -> Dim:
    """The value that belongs to an axis, where one of ``axes`` is it."""
    found = otherwise
    for a, value in zip(axes, values, strict=True):
        found = select(equal(a, axis), value, found)
    return found


def scalar(value: Value, loc: tuple[str, ...]) -> Value:
    """A one-element tensor as a scalar."""
    return value if value.type.rank == 0 else Reshape(())(value, loc=loc)


def after_data(call: OnnxCall, value: Value, source: Value) -> Value:
    """The value, made to wait for ``source`` where sizes of that come from data."""
    return After()(value, source, loc=call.loc) if call.comes_from_data(source.type.shape) else value
