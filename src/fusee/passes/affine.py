"""Scales and offsets by constants move into the weights and the bias of the linear op before or after them.

Batch normalisation at inference is a scale and an offset per channel, so this is also its folding.
"""

from __future__ import annotations

import numpy as np

from fusee.base.types import Array
from fusee.ir.graph import Value, const_array
from fusee.ir.pattern import Known, Pat, fits, need
from fusee.ir.rewrite import rule
from fusee.ops.binary import Add, Div, Mul
from fusee.ops.conv_variants import ConvTranspose
from fusee.ops.linear import Conv, MatMul
from fusee.passes.known import along_axis, like, widened

NOT_PER_CHANNEL = "the constant is not one number per output channel"


def _float_weight(root: Value, w: Value) -> Array:
    """The weight, which must be a float constant of the result's type."""
    array = const_array(w)
    need(array is not None, "the weight is not a constant")
    need(w.type.dtype == root.type.dtype and root.type.dtype.is_float, f"the weight is {w.type.dtype}")
    assert array is not None
    return widened(array)


def _per_channel(root: Value, c: Value) -> Array:
    """A constant as one number per channel of the NCHW result, or one for all."""
    found = along_axis(c, root.type.rank, 1)
    need(found is not None, NOT_PER_CHANNEL)
    assert found is not None
    return widened(found)


def _bias(y: Value) -> Array | None:
    """The bias of a convolution in f64; None when it has none."""
    if len(y.operands) < 3:
        return None
    array = const_array(y.operands[2])
    need(array is not None, "the bias is not a constant")
    return None if array is None else widened(array)


@rule(Pat(Mul, Pat((Conv, ConvTranspose), "x", "w", rest=True, name="y"), Known("c")))
def scale_into_conv(root: Value, y: Value, x: Value, w: Value, c: Value) -> Value:
    """conv(x, w, b) * c = conv(x, w * c, b * c), for one number per output channel."""
    fits(root.type == y.type)
    weight, scale, bias = _float_weight(root, w), _per_channel(root, c), _bias(y)
    scaled = [] if bias is None else [like(bias * scale, y.operands[2])]
    return y.op(x, like(_scaled_outputs(y, weight, scale), w), *scaled)


def _scaled_outputs(y: Value, weight: Array, scale: Array) -> Array:
    """The weight with each output channel scaled; a transposed convolution has [I, O/group, ...], others [O, ...]."""
    if not isinstance(y.op, ConvTranspose):
        return weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
    grouped = weight.reshape(y.op.group, -1, *weight.shape[1:])
    per_group = np.broadcast_to(scale, (weight.shape[1] * y.op.group,)).reshape(y.op.group, 1, -1)
    return (grouped * per_group.reshape(*per_group.shape, *[1] * (weight.ndim - 2))).reshape(weight.shape)


@rule(Pat(Add, Pat((Conv, ConvTranspose), "x", "w", rest=True, name="y"), Known("c")))
def offset_into_conv(root: Value, y: Value, x: Value, w: Value, c: Value) -> Value:
    """conv(x, w, b) + c = conv(x, w, b + c), for one number per output channel."""
    fits(root.type == y.type)
    need(root.type.dtype.is_float, f"the sums are {root.type.dtype}")
    offset, bias, channels = _per_channel(root, c), _bias(y), root.type.shape[1]
    need(isinstance(channels, int), "the number of channels is not known")
    total = np.broadcast_to(offset if bias is None else offset + bias, (channels,))  # pyright: ignore[reportArgumentType, reportCallIssue]
    return y.op(x, w, like(total, c))


@rule(Pat((Conv, MatMul), Pat(Div, "x", Known("c")), Known("w"), rest=True))
def divisor_into_scale(root: Value, x: Value, c: Value, w: Value) -> Value:
    """conv(x / c, w) = conv(x * (1/c), w): the scale is about to fold into the weight."""
    fits(root.type.dtype.is_float and x.type == root.operands[0].type)
    array = const_array(c)
    need(array is not None and bool(array.all()), "the divisor is 0 somewhere")
    assert array is not None
    return root.op(Mul()(x, like(1.0 / widened(array), c)), *root.operands[1:])


@rule(Pat(Conv, Pat(Mul, "x", Known("c")), "w", rest=True))
def scale_through_conv(root: Value, x: Value, c: Value, w: Value) -> Value:
    """conv(x * c, w) = conv(x, w * c), for one number per input channel; zero padding stays zero."""
    assert isinstance(root.op, Conv)
    fits(x.type == root.operands[0].type)
    weight, scale = _float_weight(root, w), _per_channel(x, c)
    return root.op(x, like(_scaled_inputs(weight, scale, root.op.group), w), *root.operands[2:])


def _scaled_inputs(weight: Array, scale: Array, group: int) -> Array:
    """The weight [O, C/group, ...] with each input channel scaled."""
    per_group = np.broadcast_to(scale, (group * weight.shape[1],)).reshape(group, 1, weight.shape[1])
    rows = np.repeat(per_group, weight.shape[0] // group, axis=1).reshape(weight.shape[:2])
    return weight * rows.reshape(*rows.shape, *[1] * (weight.ndim - 2))


@rule(Pat(Conv, Pat(Add, "x", Known("c")), "w", rest=True))
def offset_through_conv(root: Value, x: Value, c: Value, w: Value) -> Value:
    """conv(x + c, w) = conv(x, w) + w summed with c, where no padding meets the offset."""
    assert isinstance(root.op, Conv)
    fits(x.type == root.operands[0].type)
    need(not any(root.op.pads), "zero padding is not offset")
    weight, offset, bias = _float_weight(root, w), _per_channel(x, c), _bias(root)
    shift = _scaled_inputs(weight, offset, root.op.group).reshape(weight.shape[0], -1).sum(axis=1)
    return root.op(x, w, like(shift if bias is None else shift + bias, w))


@rule(Pat(Mul, Pat(MatMul, "x", "w", name="y"), Known("c")))
def scale_into_matmul(root: Value, y: Value, x: Value, w: Value, c: Value) -> Value:
    """(x @ w) * c = x @ (w * c), for one number per column."""
    assert isinstance(y.op, MatMul)
    fits(root.type == y.type)
    weight, scale = _float_weight(root, w), along_axis(c, root.type.rank, root.type.rank - 1)
    need(scale is not None, "the constant is not one number per column")
    assert scale is not None
    columns = widened(scale)
    return y.op(x, like(weight * (columns[:, None] if y.op.trans_b and columns.size > 1 else columns), w))


@rule(Pat(MatMul, Pat(Mul, "x", Known("c"), name="scaled"), "w"))
def scale_through_matmul(root: Value, scaled: Value, x: Value, c: Value, w: Value) -> Value:
    """(x * c) @ w = x @ (w scaled by rows), for one number per column of x."""
    assert isinstance(root.op, MatMul)
    fits(x.type == scaled.type and not root.op.trans_a)
    weight, scale = _float_weight(root, w), along_axis(c, x.type.rank, x.type.rank - 1)
    need(scale is not None, "the constant is not one number per column of x")
    assert scale is not None
    rows = widened(scale)
    return root.op(x, like(weight * (rows if root.op.trans_b or rows.size == 1 else rows[:, None]), w))


@rule(Pat(Add, Pat(MatMul, Pat(Add, "x", Known("c"), name="moved"), "w", name="y"), Known("b")))
def offset_through_matmul(root: Value, y: Value, moved: Value, x: Value, c: Value, w: Value, b: Value) -> Value:
    """(x + c) @ w + b = x @ w + (c @ w + b), for one number per column of x."""
    assert isinstance(y.op, MatMul)
    fits(x.type == moved.type and not y.op.trans_a and w.type.rank == 2)
    weight, offset = _float_weight(y, w), along_axis(c, x.type.rank, x.type.rank - 1)
    need(offset is not None, "the constant is not one number per column of x")
    columns = along_axis(b, root.type.rank, root.type.rank - 1)
    need(columns is not None, "the bias is not one number per column")
    assert offset is not None
    assert columns is not None
    weight = weight.T if y.op.trans_b else weight
    shift = np.broadcast_to(widened(offset), weight.shape[:1]) @ weight
    return Add()(y.op(x, w), like(shift + widened(columns), b))


AFFINE = (
    divisor_into_scale,
    scale_into_conv,
    offset_into_conv,
    scale_through_conv,
    offset_through_conv,
    scale_into_matmul,
    scale_through_matmul,
    offset_through_matmul,
)
