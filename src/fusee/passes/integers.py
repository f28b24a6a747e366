"""Integer products in f32 where that is exact, for a backend that has no fast kernel for the integers themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fusee.base.types import F32, Array, DType
from fusee.ir.graph import Value, const, const_array
from fusee.ir.passes import Pass, rules_pass
from fusee.ir.pattern import Pat, fits, need
from fusee.ir.rewrite import rule
from fusee.ops.binary import Add
from fusee.ops.cast import Cast
from fusee.ops.linear import Conv, MatMul
from fusee.passes.fuse import Accepts, as_op

EXACT = 1 << 24  # every integer up to this size is a number of f32, and so is every partial sum below it
LARGEST = {DType.U8: 255, DType.I8: 128}  # magnitude of an element


def integer_pass(accepts: Accepts) -> Pass:
    """Convolutions and products of 8-bit integers in f32, unless a kernel of the backend takes them fused."""

    @rule(Pat(Cast, Pat((Conv, MatMul), "x", "w", rest=True, name="sums")))
    def product_in_float(root: Value, sums: Value, x: Value, w: Value) -> Value:
        """cast(sums of integers) = sums of floats, when no partial sum can be too large for f32."""
        fits(isinstance(root.op, Cast) and root.op.to is F32 and x.type.dtype in LARGEST)
        need(not accepts(*as_op((sums.node, root.node))), "a kernel of the backend computes it in integers")
        return _in_float(sums, x, w)

    return rules_pass("integers", (product_in_float,))


def _in_float(sums: Value, x: Value, w: Value) -> Value:
    """The sums in f32, and the bias in a sum of its own: it may be so large that both together round."""
    assert isinstance(sums.op, Conv | MatMul)
    weight = _known(w, "the weight")
    largest = _largest_sum(sums, weight) * LARGEST[x.type.dtype]
    need(largest <= EXACT, f"sums may reach {largest:.0f}, which f32 does not hold exactly")
    y = replace(sums.op, accumulate=None)(Cast(F32)(x), const(weight, F32))
    if len(sums.operands) < 3:
        return y
    bias = _known(sums.operands[2], "the bias").reshape(-1, *[1] * (y.type.rank - 2))
    return Add()(y, const(bias, F32))


def _known(value: Value, what: str) -> Array:
    array = const_array(value)
    need(array is not None, f"{what} is not a constant")
    assert array is not None
    return array.astype(np.float64)


def _largest_sum(sums: Value, weight: Array) -> float:
    """The largest sum of weights' magnitudes that one result element adds up."""
    if isinstance(sums.op, Conv):
        return float(np.abs(weight).reshape(weight.shape[0], -1).sum(axis=1).max())
    trans_b = isinstance(sums.op, MatMul) and sums.op.trans_b
    return float(np.abs(weight).sum(axis=-1 if trans_b else -2).max())
