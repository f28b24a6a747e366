"""Reshapes and concatenations sink below elementwise ops, so that those meet what made their operand."""

from __future__ import annotations

from fusee.ir.graph import Value
from fusee.ir.pattern import Pat, fits, need
from fusee.ir.rewrite import rule
from fusee.ops.element import Elementwise
from fusee.ops.linear import Conv, MatMul
from fusee.ops.quantize import Dequantize, Quantize
from fusee.ops.shape import Concat, Reshape, Transpose
from fusee.passes.known import is_const

JOINED = (Conv, MatMul, Transpose)  # what writes its result once, and can do more to it on the way


@rule(Pat(Elementwise, rest=True))
def reshape_after_elementwise(root: Value) -> Value:
    """f(reshape(x), c) = reshape(f(x, c)), for constants that mean the same in both shapes."""
    fits(not isinstance(root.op, Quantize | Dequantize))
    shaped = [v for v in root.operands if not is_const(v)]
    fits(len(shaped) == 1 and isinstance(shaped[0].op, Reshape) and shaped[0].type.shape == root.type.shape)
    inner = shaped[0].operands[0]
    need(all(_same_in_both(v, root, inner) for v in root.operands if is_const(v)), "a constant knows the shape")
    made = root.op(*[inner if v is shaped[0] else v for v in root.operands])
    return Reshape(root.type.shape)(made)


def _same_in_both(constant: Value, root: Value, inner: Value) -> bool:
    """Whether a constant broadcasts alike: it is one number, or it runs along a last axis that both have."""
    if constant.type.size == 1:
        return constant.type.rank <= inner.type.rank
    last = inner.type.shape[-1:] == root.type.shape[-1:] == constant.type.shape
    return constant.type.rank == 1 and last


@rule(Pat(Elementwise, rest=True))
def reshape_before_residual(root: Value) -> Value:
    """f(reshape(y), b) = reshape(f(y, reshape(b))): the sum joins what computes y; reshapes cost nothing."""
    fits(len(root.operands) == 2 and all(v.type.shape == root.type.shape for v in root.operands))
    left, right = (_behind_reshape(v) for v in root.operands)
    fits((left is None) != (right is None))
    joined = left or right
    assert joined is not None
    need(not any(_can_be_joined(v) for v in root.operands), "the other operand can be joined as well")
    shape = joined.type.shape
    operands = [h or Reshape(shape)(v) for h, v in zip((left, right), root.operands, strict=True)]
    return Reshape(root.type.shape)(root.op(*operands))


def _behind_reshape(value: Value) -> Value | None:
    """What a value is a reshape of, when that can be joined."""
    source = value.operands[0] if isinstance(value.op, Reshape) else None
    return source if source is not None and _can_be_joined(source) else None


def _can_be_joined(value: Value) -> bool:
    """Whether it comes out of a product or a transpose, changed at most element by element."""
    while isinstance(value.op, Elementwise) and value.operands[0].type.shape == value.type.shape:
        value = value.operands[0]
    return isinstance(value.op, JOINED)


@rule(Pat(Elementwise, rest=True))
def elementwise_before_concat(root: Value) -> Value:
    """f(concat(a, b)) = concat(f(a), f(b)), when each part can do it on the way."""
    varying = [v for v in root.operands if not is_const(v)]
    fits(len(varying) == 1 and isinstance(varying[0].op, Concat) and varying[0].type.shape == root.type.shape)
    whole = varying[0]
    need(all(v is whole or v.type.size == 1 for v in root.operands), "a constant is not one number")
    need(all(_can_be_joined(v) for v in whole.operands), "a part cannot be joined")
    parts = [root.op(*[part if v is whole else v for v in root.operands]) for part in whole.operands]
    return whole.op(*parts)


RESHAPE = (reshape_after_elementwise, reshape_before_residual, elementwise_before_concat)
