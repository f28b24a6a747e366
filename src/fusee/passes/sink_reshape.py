"""Transposes sink through Reshape where the axes that it joins or splits lie together.

A block of a Reshape (``base.blocks``) whose axes lie next to each other in memory, in order, can be reshaped before the
transpose instead of after it.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from fusee.base.blocks import blocks
from fusee.base.types import Shape
from fusee.ir.graph import Value
from fusee.ir.pattern import Known, Pat, fits, need
from fusee.ir.rewrite import rule
from fusee.ops.linear import MatMul
from fusee.ops.shape import Reshape, Transpose
from fusee.passes.known import like
from fusee.passes.layout import to_first


@rule(Pat(Reshape, Pat(Transpose, "x", name="moved", shared=True)))
def sink_through_reshape(root: Value, moved: Value, x: Value) -> Value:
    """reshape(T(x)) = T'(reshape'(x)), when the axes of every block lie in order next to each other in x."""
    assert isinstance(moved.op, Transpose)
    found = blocks(moved.type.shape, root.type.shape)
    need(found is not None and 0 not in x.type.shape, "the sizes do not tell which axes are joined or split")
    assert found is not None
    places = _places(x.type.shape)
    spans = [[places[moved.op.perm[i]] for i in b.before] for b in found]
    need(all(_consecutive(s) for s in spans), "axes that are joined or split do not lie together")
    order = sorted(range(len(found)), key=lambda i: spans[i][:1])
    leading = _leading_ones(root.type.shape)
    axes = [*leading, *[a for i in order for a in found[i].after if a not in leading]]
    shape = tuple(root.type.shape[a] for a in axes)
    return Transpose(tuple(axes.index(a) for a in range(len(axes))))(Reshape(shape)(x))


def _leading_ones(shape: Shape) -> range:
    """The first axes, as long as they are of size 1: a batch of one stays in front."""
    return range(next((i for i, d in enumerate(shape) if d != 1), len(shape)))


def _places(shape: Shape) -> dict[int, int]:
    """Where each axis lies among the axes that are larger than 1."""
    return {axis: i for i, axis in enumerate(a for a, d in enumerate(shape) if d != 1)}


def _consecutive(places: list[int]) -> bool:
    return all(b == a + 1 for a, b in pairwise(places))


@rule(Pat(Reshape, Pat(Transpose, "x", name="moved")))
def part_before_reshape(root: Value, moved: Value, x: Value) -> Value:
    """Above the Reshape stays only what brings its blocks together (a shuffle of channels); the rest can sink."""
    assert isinstance(moved.op, Transpose)
    perm = moved.op.perm
    found = blocks(moved.type.shape, root.type.shape)
    fits(found is not None and 0 not in x.type.shape)
    assert found is not None
    groups = [[perm[i] for i in b.before] for b in found]
    needed = _gathered(perm, [g for g in groups if len(g) > 1])
    fits(needed != tuple(range(len(perm))))
    starts = [needed.index(g[0]) for g in groups if g]
    order = tuple(sorted(starts).index(s) for s in starts)
    need(_leads_to_channels_first(order), "what would be left to sink does not lead to channels last")
    rest = tuple(needed.index(p) for p in perm)
    return Reshape(root.type.shape)(Transpose(rest)(Transpose(needed)(x)))


def _leads_to_channels_first(order: tuple[int, ...]) -> bool:
    """Whether the blocks are brought from (batch,) pixels, channels to (batch,) channels, pixels."""
    count = len(order)
    return (count > 3 and order == to_first(count)) or (count > 2 and order == (count - 1, *range(count - 1)))


def _gathered(perm: tuple[int, ...], groups: list[list[int]]) -> tuple[int, ...]:
    """The axes in their own order, but each group together and in its order, where its first axis lies."""
    member = {axis: group for group in groups for axis in group}
    order: list[int] = []
    for axis in range(len(perm)):
        if axis not in order:
            order += member.get(axis, [axis])
    return tuple(order)


@rule(Pat(MatMul, Pat(Reshape, Pat(Transpose, "x", name="moved"), name="flat"), Known("w")))
def transpose_into_rows(root: Value, flat: Value, moved: Value, x: Value, w: Value) -> Value:
    """flatten(T(x)) @ w = flatten(x) @ w', the rows of w' in the order in which x has its elements."""
    assert isinstance(root.op, MatMul)
    assert isinstance(moved.op, Transpose)
    perm, rank = moved.op.perm, moved.type.rank
    sizes = tuple(d for d in moved.type.shape[1:] if isinstance(d, int))
    fits(flat.type.rank == 2 and w.type.rank == 2 and not root.op.trans_a and perm[0] == 0)
    need(len(sizes) == rank - 1 and flat.type.shape[1] == int(np.prod(sizes)), "the flattened sizes are not known")
    array = w.node.op.value.T if root.op.trans_b else w.node.op.value  # pyright: ignore[reportAttributeAccessIssue]
    rows = array.reshape(*sizes, -1)
    back = [perm.index(i) - 1 for i in range(1, rank)]
    ordered = rows.transpose(*back, rank - 1).reshape(array.shape)
    return root.op(Reshape(flat.type.shape)(x), like(ordered.T if root.op.trans_b else ordered, w))


SINK_RESHAPE = (transpose_into_rows, sink_through_reshape, part_before_reshape)
