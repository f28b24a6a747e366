"""Transposes sink: an op on transposed operands becomes the transpose of the op on the operands as they lie.

``T(x, perm)`` below is the transpose whose result axis ``i`` is axis ``perm[i]`` of x.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from fusee.base.dims import Dim, is_nonnegative, product
from fusee.ir.graph import Const, Value, const_array
from fusee.ir.pattern import Pat, fits, need
from fusee.ir.rewrite import rule
from fusee.ops.element import Elementwise
from fusee.ops.index import Gather
from fusee.ops.quantize import Dequantize, Quantize
from fusee.ops.reduce import ArgReduce, Cumulative, LogSoftmax, Normalize, Reduce, Softmax
from fusee.ops.resize import Resize
from fusee.ops.shape import Concat, Expand, Pad, Reshape, Slice, Transpose
from fusee.passes.layout import to_first

Perm = tuple[int, ...]
T = TypeVar("T")


def inverse(perm: Perm) -> Perm:
    return tuple(perm.index(i) for i in range(len(perm)))


def perm_of(value: Value) -> Perm | None:
    """The perm of a transposed value, of a kind that is worth sinking."""
    return value.op.perm if isinstance(value.op, Transpose) else None


def untransposed(value: Value, perm: Perm) -> Value:
    """A value such that T(it, perm) broadcasts like ``value``."""
    if perm_of(value) == perm:
        return value.operands[0]
    if value.type.rank == 0:
        return value
    shape = (1,) * (len(perm) - value.type.rank) + value.type.shape
    array = const_array(value)
    if array is not None:
        return Const(np.asarray(array.reshape(_ints(shape)).transpose(inverse(perm)), order="C"))()
    full = value if shape == value.type.shape else Reshape(shape)(value)
    return Transpose(inverse(perm))(full)


def _ints(shape: Sequence[Dim]) -> tuple[int, ...]:
    return tuple(d for d in shape if isinstance(d, int))


def _stays(value: Value, perm: Perm) -> bool:
    """Whether ``untransposed`` needs no transpose for it: it is one already, or a constant."""
    return perm_of(value) == perm or isinstance(value.op, Const) or value.type.rank == 0


def _elements_moved(shape: Sequence[Dim], perm: Perm) -> Dim:
    """How many elements a transpose of a tensor of this shape moves: none when it moves axes of size 1 alone."""
    full = (1,) * (len(perm) - len(shape)) + tuple(shape)
    order = [p for p in perm if full[p] != 1]
    return 0 if order == sorted(order) else product(shape)


def _best_perm(operands: Sequence[Value], rank: int) -> Perm:
    """The perm under which the fewest elements move; the rule stops where that does not pay."""
    perms = [p for v in operands if (p := perm_of(v)) is not None and len(p) == rank]
    fits(bool(perms))
    paying = [p for p in dict.fromkeys(perms) if _pays(operands, p)]
    need(bool(paying), "it would move as much as it saves")
    return paying[0]


def _pays(operands: Sequence[Value], perm: Perm) -> bool:
    """Whether fewer elements move with the transpose below; as many will do on the way to channels last.

    That way has a direction for four axes and more; of three, (0, 2, 1) leads back and forth for ever.
    """
    others = [v for v in operands if not _stays(v, perm)]
    moved = sum((_elements_moved(v.type.shape, inverse(perm)) for v in others), start=0)
    saved = sum((_elements_moved(v.operands[0].type.shape, perm) for v in operands if perm_of(v) == perm), start=0)
    neutral = 0 if len(perm) > 3 and perm == to_first(len(perm)) else 1
    return not others or is_nonnegative(saved - moved - neutral)


@rule(Pat(Elementwise, rest=True))
def sink_through_elementwise(root: Value) -> Value:
    """f(T(a), T(b)) = T(f(a, b)); other operands are transposed back, which costs nothing for constants."""
    fits(not isinstance(root.op, Quantize | Dequantize))
    perm = _best_perm(root.operands, root.type.rank)
    return Transpose(perm)(root.op(*[untransposed(v, perm) for v in root.operands]))


@rule(Pat((Quantize, Dequantize), Pat(Transpose, "x", name="moved", shared=True), "scale", "zero"))
def sink_through_quantize(root: Value, moved: Value, x: Value, scale: Value, zero: Value) -> Value:
    """Scale and zero point stay; their axis follows the data."""
    assert isinstance(root.op, Quantize | Dequantize)
    need(root.op.block is None, "the scales are blocked")
    perm = _perm(moved)
    axis = None if root.op.axis is None else perm[root.op.axis]
    return Transpose(perm)(replace(root.op, axis=axis)(x, scale, zero))


@rule(Pat(Concat, rest=True))
def sink_through_concat(root: Value) -> Value:
    assert isinstance(root.op, Concat)
    perm = _best_perm(root.operands, root.type.rank)
    return Transpose(perm)(Concat(perm[root.op.axis])(*[untransposed(v, perm) for v in root.operands]))


def _perm(value: Value) -> Perm:
    assert isinstance(value.op, Transpose)
    return value.op.perm


_TRANSPOSED = Pat(Transpose, "x", name="moved", shared=True)


@rule(Pat(Reduce, _TRANSPOSED))
def sink_through_reduce(root: Value, moved: Value, x: Value) -> Value:
    """The same axes are reduced where they lie; what is left keeps its order."""
    assert isinstance(root.op, Reduce)
    perm = _perm(moved)
    reduced = replace(root.op, axes=tuple(sorted(perm[a] for a in root.op.axes)))(x)
    return Transpose(perm if root.op.keepdims else _left(perm, root.op.axes))(reduced)


@rule(Pat(ArgReduce, _TRANSPOSED))
def sink_through_arg_reduce(root: Value, moved: Value, x: Value) -> Value:
    assert isinstance(root.op, ArgReduce)
    perm = _perm(moved)
    reduced = replace(root.op, axis=perm[root.op.axis])(x)
    return Transpose(perm if root.op.keepdims else _left(perm, (root.op.axis,)))(reduced)


def _left(perm: Perm, dropped: Sequence[int]) -> Perm:
    """The perm of the axes that remain when some axes of the transposed tensor are dropped."""
    kept = [p for i, p in enumerate(perm) if i not in dropped]
    return tuple(sorted(kept).index(p) for p in kept)


@rule(Pat((Softmax, LogSoftmax, Cumulative), _TRANSPOSED))
def sink_through_axis(root: Value, moved: Value, x: Value) -> Value:
    """An op along one axis works along it wherever it lies."""
    assert isinstance(root.op, Softmax | LogSoftmax | Cumulative)
    perm = _perm(moved)
    return Transpose(perm)(replace(root.op, axis=perm[root.op.axis])(x))


@rule(Pat(Normalize, _TRANSPOSED))
def sink_through_normalize(root: Value, moved: Value, x: Value) -> Value:
    assert isinstance(root.op, Normalize)
    perm = _perm(moved)
    return Transpose(perm)(replace(root.op, axes=tuple(sorted(perm[a] for a in root.op.axes)))(x))


def _unpermuted(row: Sequence[T], perm: Perm) -> tuple[T, ...]:
    """One entry per axis of T(x, perm), put in the order of the axes of x."""
    return tuple(row[i] for i in inverse(perm))


@rule(Pat(Slice, _TRANSPOSED))
def sink_through_slice(root: Value, moved: Value, x: Value) -> Value:
    assert isinstance(root.op, Slice)
    op, perm = root.op, _perm(moved)
    rows = [_unpermuted(row, perm) for row in (op.starts, op.sizes)]
    return Transpose(perm)(Slice(rows[0], rows[1], _unpermuted(op.steps, perm))(x))


@rule(Pat(Pad, _TRANSPOSED, rest=True))
def sink_through_pad(root: Value, moved: Value, x: Value) -> Value:
    assert isinstance(root.op, Pad)
    perm = _perm(moved)
    op = replace(root.op, before=_unpermuted(root.op.before, perm), after=_unpermuted(root.op.after, perm))
    return Transpose(perm)(op(x, *root.operands[1:]))


@rule(Pat(Resize, _TRANSPOSED))
def sink_through_resize(root: Value, moved: Value, x: Value) -> Value:
    """Sizes, scales and the region of interest, one entry per axis, follow their axes."""
    assert isinstance(root.op, Resize)
    op, perm = root.op, _perm(moved)
    half = len(op.roi) // 2
    roi = _unpermuted(op.roi[:half], perm) + _unpermuted(op.roi[half:], perm) if op.roi else ()
    new = replace(op, sizes=_unpermuted(op.sizes, perm), scales=_unpermuted(op.scales, perm), roi=roi)
    return Transpose(perm)(new(x))


@rule(Pat(Expand, _TRANSPOSED))
def sink_through_expand(root: Value, moved: Value, x: Value) -> Value:
    perm = _perm(moved)
    need(root.type.rank == len(perm), "axes are added")
    return Transpose(perm)(Expand(_unpermuted(root.type.shape, perm))(x))


@rule(Pat(Gather, _TRANSPOSED, "i"))
def sink_through_gather(root: Value, moved: Value, x: Value, i: Value) -> Value:
    assert isinstance(root.op, Gather)
    perm = _perm(moved)
    need(i.type.rank == 1, "the indices add or remove axes")
    return Transpose(perm)(Gather(perm[root.op.axis])(x, i))


SINK = (
    sink_through_elementwise,
    sink_through_quantize,
    sink_through_concat,
    sink_through_reduce,
    sink_through_arg_reduce,
    sink_through_axis,
    sink_through_normalize,
    sink_through_slice,
    sink_through_pad,
    sink_through_resize,
    sink_through_expand,
    sink_through_gather,
)
