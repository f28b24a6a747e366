"""Lowerings of quantisation, and of integer products, which stay exact."""

from __future__ import annotations

import numpy as np

from fusee.base.types import F32, I32, U8, DType, TensorType
from fusee.ir.graph import Value, const, const_array
from fusee.onnx.axes import normal_axis, scalar
from fusee.onnx.call import Lowering, OnnxCall
from fusee.onnx.loader import element_type
from fusee.onnx.math import cast
from fusee.onnx.nn import convolve, kernel_of, matmul
from fusee.onnx.padding import Window
from fusee.ops.binary import Div, Equal, Max, Min, Mul, Sub, Where
from fusee.ops.elementwise import Round
from fusee.ops.linear import MatMul
from fusee.ops.quantize import Dequantize, Quantize
from fusee.ops.reduce import Reduce
from fusee.ops.shape import Full, Pad, Reshape


def zeros_for(call: OnnxCall, scale: Value, dtype: DType) -> Value:
    """Zero points of 0, as many as there are scales."""
    return Full(scale.type.shape)(const(0, dtype), loc=call.loc)


def matched(call: OnnxCall, scale: Value, zero: Value) -> tuple[Value, Value]:
    """Scale and zero point; both scalars when each is one number, however it is shaped."""
    if _one_scale(scale.type) and _one_scale(zero.type):
        return scalar(scale, call.loc), scalar(zero, call.loc)
    return scale, zero


def _one_scale(scale: TensorType) -> bool:
    return scale.shape in ((), (1,))


def _placement(call: OnnxCall, x: Value, scale: Value) -> tuple[int | None, int | None]:
    """The axis along which scales differ, and how many indices share one."""
    block = call.int("block_size", 0)
    if block == 0 and _one_scale(scale.type):
        return None, None
    axis = normal_axis(call, call.int("axis", 1), x.type.rank)
    return axis, block or None


def lower_quantize_linear(call: OnnxCall) -> Value:
    """QuantizeLinear-10..28."""
    x, scale, zero = call.value(0), call.value(1), call.optional(2)
    if zero is None:
        wanted = call.int("output_dtype", 0)
        zero = zeros_for(call, scale, element_type(wanted, call.where) if wanted else U8)
    axis, block = _placement(call, x, scale)
    op = Quantize(zero.type.dtype, axis, block, bool(call.int("saturate", 1)))
    scale, zero = matched(call, scale, zero) if axis is None else (scale, zero)
    return op(x, scale, zero, loc=call.loc)


def lower_dequantize_linear(call: OnnxCall) -> Value:
    """DequantizeLinear-10..28."""
    x, scale = call.value(0), call.value(1)
    zero = call.optional(2) or zeros_for(call, scale, x.type.dtype)
    axis, block = _placement(call, x, scale)
    wanted = call.int("output_dtype", 0)
    to = element_type(wanted, call.where) if wanted else scale.type.dtype
    scale, zero = matched(call, scale, zero) if axis is None else (scale, zero)
    return Dequantize(axis, block, to)(x, scale, zero, loc=call.loc)


def lower_dynamic_quantize_linear(call: OnnxCall) -> tuple[Value, Value, Value]:
    """DynamicQuantizeLinear-11."""
    return quantize_dynamically(call, call.value(0))


def quantize_dynamically(call: OnnxCall, x: Value) -> tuple[Value, Value, Value]:
    """x as u8 with the scale and zero point that cover its range and 0; of nothing but zeros the scale is 1."""
    loc, axes, zero = call.loc, tuple(range(x.type.rank)), const(0, F32)
    low = Min()(Reduce("min", axes, keepdims=False)(x, loc=loc), zero, loc=loc)
    high = Max()(Reduce("max", axes, keepdims=False)(x, loc=loc), zero, loc=loc)
    step = Div()(Sub()(high, low, loc=loc), const(255, F32), loc=loc)
    scale = Where()(Equal()(step, zero, loc=loc), const(1, F32), step, loc=loc)
    offset = Round()(Div()(Sub()(zero, low, loc=loc), scale, loc=loc), loc=loc)
    limited = Min()(Max()(offset, zero, loc=loc), const(255, F32), loc=loc)
    point = cast(call, limited, U8)
    return Quantize(U8)(x, scale, point, loc=loc), scale, point


def centered(call: OnnxCall, x: Value, zero: Value | None) -> tuple[Value, Value | None]:
    """x with its zero point taken off where that is known and the difference fits 8 bits; else both as they are."""
    offset = const_array(zero) if zero is not None else None
    if zero is None or (offset is not None and not offset.any()):
        return x, None
    known = const_array(x)
    if known is None or offset is None:
        return x, zero
    difference = known.astype(np.int32) - offset.astype(np.int32)
    for dtype in (DType.I8, DType.U8):
        if np.array_equal(difference.astype(dtype.numpy), difference):
            return const(difference, dtype), None
    return x, zero


def integer_product(call: OnnxCall, a: Value, a_zero: Value | None, b: Value, b_zero: Value | None) -> Value:
    """(a - a_zero) @ (b - b_zero) in i32, as a product of the small integers and corrections of rank 1.

    a_zero: a scalar, or broadcasting to the rows; b_zero: a scalar, or broadcasting to the columns.
    """
    loc, (b, b_zero) = call.loc, centered(call, b, b_zero)
    a, a_zero = centered(call, a, a_zero)
    y = MatMul(accumulate=I32)(a, b, loc=loc)
    left = cast(call, a, I32)
    if a_zero is not None:
        columns = Reduce("sum", (b.type.rank - 2,), keepdims=True)(cast(call, b, I32), loc=loc)
        y = Sub()(y, Mul()(cast(call, a_zero, I32), columns, loc=loc), loc=loc)
        left = Sub()(left, cast(call, a_zero, I32), loc=loc)
    if b_zero is not None:
        rows = Reduce("sum", (a.type.rank - 1,), keepdims=True)(left, loc=loc)
        y = Sub()(y, Mul()(rows, cast(call, b_zero, I32), loc=loc), loc=loc)
    return y


def _by_row(call: OnnxCall, parameter: Value | None) -> Value | None:
    """A scale or zero point of a left operand: one per row becomes a column."""
    if parameter is None or parameter.type.rank != 1:
        return parameter
    return scalar(parameter, call.loc) if _one_scale(parameter.type) else _column(call, parameter)


def _column(call: OnnxCall, parameter: Value) -> Value:
    return Reshape((parameter.type.shape[0], 1))(parameter, loc=call.loc)


def _by_column(call: OnnxCall, parameter: Value | None) -> Value | None:
    """A scale or zero point of a right operand: one per column broadcasts as it is."""
    if parameter is None or not _one_scale(parameter.type):
        return parameter
    return scalar(parameter, call.loc)


def lower_matmul_integer(call: OnnxCall) -> Value:
    """MatMulInteger-10."""
    return integer_matmul(call, call.value(0), call.optional(2), call.value(1), call.optional(3))


def integer_matmul(call: OnnxCall, a: Value, a_zero: Value | None, b: Value, b_zero: Value | None) -> Value:
    """``integer_product`` of operands that may also be vectors, with zero points as ONNX shapes them."""
    row, column = a.type.rank == 1, b.type.rank == 1
    left = Reshape((1, *a.type.shape))(a, loc=call.loc) if row else a
    right = Reshape((*b.type.shape, 1))(b, loc=call.loc) if column else b
    y = integer_product(call, left, _by_row(call, a_zero), right, _by_column(call, b_zero))
    *batch, m, n = y.type.shape
    kept = (*batch, *(() if row else (m,)), *(() if column else (n,)))
    return Reshape(kept)(y, loc=call.loc) if row or column else y


def requantized(call: OnnxCall, sums: Value, scale: Value, y_scale: Value, y_zero: Value) -> Value:
    """i32 sums that count ``scale`` each, as quantised numbers that count ``y_scale``.

    One multiplication by scale / y_scale, as runtimes do it; the step of 1 then leaves the rounding to Quantize.
    """
    factor = Div()(cast(call, scale, F32), scalar(cast(call, y_scale, F32), call.loc), loc=call.loc)
    ratio = Mul()(cast(call, sums, F32), factor, loc=call.loc)
    return Quantize(y_zero.type.dtype)(ratio, const(1, F32), scalar(y_zero, call.loc), loc=call.loc)


def lower_qlinear_matmul(call: OnnxCall) -> Value:
    """QLinearMatMul-10..21."""
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = (call.value(i) for i in range(8))
    if a.type.dtype.is_float:
        left = Dequantize()(a, scalar(a_scale, call.loc), scalar(a_zero, call.loc), loc=call.loc)
        right = Dequantize()(b, scalar(b_scale, call.loc), scalar(b_zero, call.loc), loc=call.loc)
        y = matmul(call, left, right)
        return Quantize(y_zero.type.dtype)(y, scalar(y_scale, call.loc), scalar(y_zero, call.loc), loc=call.loc)
    sums = integer_matmul(call, a, a_zero, b, b_zero)
    left, right = _by_row(call, a_scale), _by_column(call, b_scale)
    assert left is not None
    assert right is not None
    scale = Mul()(cast(call, left, F32), cast(call, right, F32), loc=call.loc)
    return requantized(call, sums, scale, y_scale, y_zero)


def lower_conv_integer(call: OnnxCall) -> Value:
    """ConvInteger-10."""
    return integer_convolution(call, call.value(0), call.optional(2), call.value(1), call.optional(3), None)


def integer_convolution(
    call: OnnxCall, x: Value, x_zero: Value | None, w: Value, w_zero: Value | None, bias: Value | None
) -> Value:
    """The convolution of x - x_zero with w - w_zero, plus an i32 bias, in i32.

    The padding becomes x_zero, so that what x_zero adds is one number per output channel.
    """
    loc = call.loc
    x, x_zero = centered(call, x, scalar(x_zero, loc) if x_zero is not None else None)
    w, w_zero = centered(call, w, _per_filter(call, w_zero, w.type.rank))
    if w_zero is not None:
        w = Sub()(cast(call, w, I32), cast(call, w_zero, I32), loc=loc)
        x = cast(call, x, I32) if x_zero is None else Sub()(cast(call, x, I32), cast(call, x_zero, I32), loc=loc)
        x_zero = None
    window = Window.of(call, x.type.shape[2:], kernel_of(call, w))
    if x_zero is not None:
        before, after = window.pads[: window.rank], window.pads[window.rank :]
        x = Pad((0, 0, *before), (0, 0, *after))(x, x_zero, loc=loc)
        window = Window(window.kernel, window.strides, window.dilations, (0,) * 2 * window.rank)
        total = Reduce("sum", tuple(range(1, w.type.rank)), keepdims=False)(cast(call, w, I32), loc=loc)
        extra = Mul()(total, cast(call, x_zero, I32), loc=loc)
        bias = Sub()(bias if bias is not None else const(0, I32), extra, loc=loc)
    return convolve(call, x, w, [] if bias is None else [bias], window, call.int("group", 1), accumulate=I32)


def _per_filter(call: OnnxCall, zero: Value | None, rank: int) -> Value | None:
    if zero is None or _one_scale(zero.type):
        return scalar(zero, call.loc) if zero is not None else None
    known = const_array(zero)
    shape = (zero.type.shape[0], *(1,) * (rank - 1))
    if known is not None:
        return const(known.reshape((-1, *shape[1:])))
    return Reshape(shape)(zero, loc=call.loc)


def lower_qlinear_conv(call: OnnxCall) -> Value:
    """QLinearConv-10: weights may have a scale and a zero point per output channel."""
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = (call.value(i) for i in range(8))
    sums = integer_convolution(call, x, x_zero, w, w_zero, call.optional(8))
    by_filter = scalar(w_scale, call.loc) if _one_scale(w_scale.type) else w_scale
    if by_filter.type.rank:
        by_filter = Reshape((by_filter.type.shape[0], *(1,) * (x.type.rank - 2)))(by_filter, loc=call.loc)
    scale = Mul()(scalar(x_scale, call.loc), by_filter, loc=call.loc)
    return requantized(call, sums, scale, y_scale, y_zero)


LOWERINGS: tuple[Lowering, ...] = (
    Lowering("QuantizeLinear", 10, lower_quantize_linear),
    Lowering("DequantizeLinear", 10, lower_dequantize_linear),
    Lowering("DynamicQuantizeLinear", 11, lower_dynamic_quantize_linear),
    Lowering("MatMulInteger", 10, lower_matmul_integer),
    Lowering("QLinearMatMul", 10, lower_qlinear_matmul),
    Lowering("ConvInteger", 10, lower_conv_integer),
    Lowering("QLinearConv", 10, lower_qlinear_conv),
)
