"""Transposes sink through Reshape where the axes that it joins or splits lie together.

Reshape falls into blocks: runs of axes before and after with the same product, such as (H, W) -> H*W. A block whose
axes lie next to each other in memory, in order, can be reshaped before the transpose instead of after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from fusee.base.dims import Dim, floordiv
from fusee.base.types import Shape
from fusee.ir.graph import Value
from fusee.ir.pattern import Known, Pat, fits, need
from fusee.ir.rewrite import rule
from fusee.ops.linear import MatMul
from fusee.ops.shape import Reshape, Transpose
from fusee.passes.known import like
from fusee.passes.layout import to_first


@dataclass(frozen=True)
class Block:
    """Axes before a Reshape, and the axes after it that hold the same elements. Axes of size 1 before are in none."""

    before: tuple[int, ...]
    after: tuple[int, ...]


def blocks(before: Shape, after: Shape) -> list[Block] | None:
    """The finest blocks of a Reshape, in order; None when sizes that are names hide them.

    An axis of size 1 after belongs to the block of the axis before it.
    """
    sources = [i for i, d in enumerate(before) if d != 1]
    targets = [i for i, d in enumerate(after) if d != 1]
    found: list[Block] = []
    while sources and targets:
        block = _next_block(before, after, sources, targets)
        if block is None:
            return None
        found.append(block)
    return None if sources or targets else _with_ones(found, after)


def _next_block(before: Shape, after: Shape, sources: list[int], targets: list[int]) -> Block | None:
    """Take the next block off the two lists of axes."""
    taken = [sources.pop(0)], [targets.pop(0)]
    left, right = before[taken[0][0]], after[taken[1][0]]
    while left != right:
        if _smaller(left, right) and sources:
            taken[0].append(sources.pop(0))
            left = left * before[taken[0][-1]]
        elif _smaller(right, left) and targets:
            taken[1].append(targets.pop(0))
            right = right * after[taken[1][-1]]
        else:
            return None
    return Block(tuple(taken[0]), tuple(taken[1]))


def _smaller(a: Dim, b: Dim) -> bool:
    """Whether a is less than b, or certainly a divisor of it."""
    if isinstance(a, int) and isinstance(b, int):
        return a < b
    return floordiv(b, a) * a == b


def _with_ones(found: list[Block], after: Shape) -> list[Block]:
    """The blocks, each axis of size 1 in that of the axis before it, or in the first."""
    if not found:
        return [Block((), tuple(range(len(after))))]
    starts = [0, *[b.after[0] for b in found[1:]], len(after)]
    return [Block(b.before, tuple(range(starts[i], starts[i + 1]))) for i, b in enumerate(found)]


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
    axes = [a for i in order for a in found[i].after]
    shape = tuple(root.type.shape[a] for a in axes)
    return Transpose(tuple(axes.index(a) for a in range(len(axes))))(Reshape(shape)(x))


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
    need(len(order) > 3 and order == to_first(len(order)), "what would be left to sink does not lead to channels last")
    rest = tuple(needed.index(p) for p in perm)
    return Reshape(root.type.shape)(Transpose(rest)(Transpose(needed)(x)))


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
