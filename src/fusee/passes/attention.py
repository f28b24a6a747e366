"""Attention recognised by what it computes: softmax(q k^T * scale + mask) v, of any rank and wherever the scale is."""

from __future__ import annotations

import numpy as np

from fusee.base.blocks import blocks
from fusee.ir.graph import Value, const_array
from fusee.ir.pattern import Either, Known, Pat, fits, need
from fusee.ir.rewrite import rule
from fusee.ops.attention import Attention
from fusee.ops.binary import Add, Mul
from fusee.ops.linear import MatMul
from fusee.ops.reduce import Softmax
from fusee.ops.shape import Reshape, Transpose
from fusee.passes.known import like, uniform, widened

MOST_GROWTH = 8  # two masks become one that is at most so many times larger than they are

_SCORES = Pat(MatMul, "q", "k", name="scores")
_SCALED = Either(Pat(Mul, _SCORES, Known("scale")), _SCORES)  # algebra turns a division of a product into this
_MASKED = Either(
    Pat(Add, Pat(Add, _SCALED, Known("bias")), Known("mask")),  # Swin: positions and windows
    Pat(Add, _SCALED, "mask", commutative=True),
    _SCALED,
)
_WEIGHTS = Pat(Softmax, _MASKED, name="weights")


@rule(Pat(MatMul, _WEIGHTS, "v"))
def attention(
    root: Value,
    scores: Value,
    weights: Value,
    q: Value,
    k: Value,
    v: Value,
    scale: Value | None = None,
    mask: Value | None = None,
    bias: Value | None = None,
) -> Value:
    """softmax(q @ k^T * scale + mask) @ v."""
    assert isinstance(root.op, MatMul)
    assert isinstance(scores.op, MatMul)
    assert isinstance(weights.op, Softmax)
    rank = scores.type.rank
    need(weights.op.axis == rank - 1, f"the softmax is over axis {weights.op.axis}, not the keys")
    need(not root.op.trans_a and not scores.op.trans_a, "queries or weights are read transposed")
    need(root.type.dtype.is_float, f"the product is {root.type.dtype}")
    need(mask is None or _is_mask(mask, scores), f"the mask is {mask.type if mask else ''}")
    if mask is not None and bias is not None:
        mask = _joined(mask, bias)
    factor = 1.0 if scale is None else uniform(scale)
    need(factor is not None, "the scale is not one number")
    (q, left), (k, right) = _unscaled(q), _unscaled(k)
    total = (factor or 0.0) * left * right
    keys = k if scores.op.trans_b else _swapped(k)
    values = _swapped(v) if root.op.trans_b else v
    return Attention(total)(q, keys, values, *([mask] if mask is not None else []))


def _joined(mask: Value, bias: Value) -> Value:
    """Two constant masks as one."""
    arrays = [a for v in (mask, bias) if (a := const_array(v)) is not None]
    both = sum(widened(a) for a in arrays)
    grown = np.size(both) / sum(a.size for a in arrays)
    need(grown <= MOST_GROWTH, f"the two masks together would be {grown:.0f} times as large")
    return like(np.asarray(both), mask)


def _is_mask(mask: Value, scores: Value) -> bool:
    return mask.type.dtype == scores.type.dtype and mask.type.rank <= scores.type.rank


def _unscaled(x: Value) -> tuple[Value, float]:
    """What is under a product with one number, and the number."""
    if isinstance(x.op, Mul) and x.operands[0].type == x.type:
        factor = uniform(x.operands[1])
        if factor is not None:
            return x.operands[0], factor
    return x, 1.0


def _swapped(x: Value) -> Value:
    rank = x.type.rank
    return Transpose((*range(rank - 2), rank - 1, rank - 2))(x)


@rule(Pat(Attention, "q", "k", "v", "m"))
def mask_of_nothing(root: Value, q: Value, k: Value, v: Value, m: Value) -> Value:
    """A constant mask that excludes no pair goes."""
    array = const_array(m)
    fits(array is not None and array.size > 0)
    neutral = m.type.dtype.is_float and uniform(m) == 0.0
    fits(neutral or (array is not None and array.dtype.kind == "b" and bool(array.all())))
    return root.op(q, k, v)


@rule(Pat(Softmax, Pat(Reshape, Pat(Add, Pat(Reshape, "x"), "mask"), name="back"), name="weights"))
def mask_without_reshape(root: Value, back: Value, x: Value, mask: Value) -> Value:
    """A windowed mask added in a shape with one more axis (Swin) is added in the scores' own shape instead.

    reshape(reshape(x, [B/W, W, ...]) + mask[1, W, ...]) = x + mask, when B is W.
    """
    fits(back.type == x.type)
    array = const_array(mask)
    need(array is not None, "the mask is not a constant")
    assert array is not None
    need(array.shape[0] == 1 and x.type.shape[0] == array.shape[1], "the windows of one image are not the whole batch")
    return root.op(Add()(x, like(array[0], mask)))


_WINDOWED = Either(Pat(Add, _SCALED, Known("bias")), _SCALED)
_BY_WINDOW = Pat(Add, Pat(Reshape, _WINDOWED), Known("mask"), name="masked")


@rule(Pat(MatMul, Pat(Softmax, Pat(Reshape, _BY_WINDOW), name="weights"), "v"))
def windowed_attention(
    root: Value,
    masked: Value,
    scores: Value,
    weights: Value,
    q: Value,
    k: Value,
    v: Value,
    mask: Value,
    scale: Value | None = None,
    bias: Value | None = None,
) -> Value:
    """Attention whose mask is by window, of a batch of images: images and windows become axes of their own."""
    assert isinstance(root.op, MatMul)
    assert isinstance(scores.op, MatMul)
    assert isinstance(weights.op, Softmax)
    need(weights.op.axis == weights.type.rank - 1, f"the softmax is over axis {weights.op.axis}, not the keys")
    plain = not (root.op.trans_a or root.op.trans_b or scores.op.trans_a) and scores.op.trans_b
    need(plain and masked.type.rank == scores.type.rank + 1, "the products are read transposed")
    factor = 1.0 if scale is None else uniform(scale)
    need(factor is not None, "the scale is not one number")
    (q, left), (k, right) = _unscaled(q), _unscaled(k)
    batch = masked.type.shape[:-2]
    apart = [Reshape((*batch, *x.type.shape[-2:]))(x) for x in (q, k, v)]
    both = mask if bias is None else _joined(mask, bias)
    made = Attention((factor or 0.0) * left * right)(*apart, both)
    return Reshape(root.type.shape)(made)


@rule(Pat(Transpose, Pat(Reshape, Pat(Attention, rest=True, name="made"), name="flat")))
def transpose_onto_attention(root: Value, flat: Value, made: Value) -> Value:
    """A transpose of joined axes is the transpose of the axes themselves, which attention can write by itself."""
    assert isinstance(root.op, Transpose)
    found = blocks(made.type.shape, flat.type.shape)
    need(found is not None and all(len(b.after) == 1 for b in found), "axes are split or lost")
    assert found is not None
    sources = {b.after[0]: b.before for b in found}
    perm = tuple(axis for p in root.op.perm for axis in sources.get(p, ()))
    need(len(perm) == made.type.rank, "an axis of size 1 belongs nowhere")
    return Reshape(root.type.shape)(Transpose(perm)(made))


ATTENTION = (mask_without_reshape, windowed_attention, attention, mask_of_nothing)
