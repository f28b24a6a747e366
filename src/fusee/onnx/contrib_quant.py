"""Lowerings of the quantised ops that ONNX Runtime's quantiser writes (domain com.microsoft)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fusee.base.types import F32, Array, DType
from fusee.ir.graph import Op, Value, const, const_array
from fusee.onnx.axes import normal_axis, scalar
from fusee.onnx.call import Lowering, LoweringFunction, OnnxCall
from fusee.onnx.math import cast
from fusee.onnx.pool import lower_average_pool, lower_global_average_pool, lower_max_pool
from fusee.onnx.quant import (
    integer_matmul,
    lower_dequantize_linear,
    lower_quantize_linear,
    quantize_dynamically,
    requantized,
)
from fusee.onnx.reduce import apply_softmax, apply_softmax_1
from fusee.ops.binary import Add, Mul, Where
from fusee.ops.elementwise import LeakyRelu, Sigmoid
from fusee.ops.linear import MatMul
from fusee.ops.quantize import Dequantize, Quantize
from fusee.ops.reduce import Reduce, Softmax
from fusee.ops.shape import Concat, Transpose

MICROSOFT = "com.microsoft"


def real(call: OnnxCall, i: int) -> Value:
    """Inputs i, i+1, i+2 (numbers, scale, zero point) as real numbers."""
    x, scale, zero = call.value(i), call.value(i + 1), call.optional(i + 2)
    zero = zero or const(0, x.type.dtype)
    return Dequantize()(x, scalar(scale, call.loc), scalar(zero, call.loc), loc=call.loc)


def small(call: OnnxCall, y: Value, i: int, like: DType) -> Value:
    """Real numbers quantised with the scale and zero point of inputs i, i+1."""
    zero = call.optional(i + 1) or const(0, like)
    return Quantize(zero.type.dtype)(y, scalar(call.value(i), call.loc), scalar(zero, call.loc), loc=call.loc)


def between(op: Op, count: int = 1) -> LoweringFunction:
    """The lowering of an op on quantised operands: computed on real numbers, quantised again."""

    def lower(call: OnnxCall) -> Value:
        y = op(*[real(call, 3 * k) for k in range(count)], loc=call.loc)
        return small(call, y, 3 * count, call.type(0).dtype)

    return lower


def through(function: LoweringFunction) -> LoweringFunction:
    """The lowering of an op with one quantised operand, by the lowering of the same op on real numbers."""

    def lower(call: OnnxCall) -> Value:
        last = bool(call.int("channels_last", 0))
        x = channels_first(call, real(call, 0)) if last else real(call, 0)
        y = function(replace(call, inputs=(x,)))
        assert isinstance(y, Value)
        return small(call, channels_last(call, y) if last else y, 3, call.type(0).dtype)

    return lower


def channels_first(call: OnnxCall, x: Value) -> Value:
    """[N, ..., C] as [N, C, ...]."""
    rank = x.type.rank
    return Transpose((0, rank - 1, *range(1, rank - 1)))(x, loc=call.loc)


def channels_last(call: OnnxCall, x: Value) -> Value:
    """[N, C, ...] as [N, ..., C]."""
    return Transpose((0, *range(2, x.type.rank), 1))(x, loc=call.loc)


def lower_qlinear_leaky_relu(call: OnnxCall) -> Value:
    """QLinearLeakyRelu-1."""
    return between(LeakyRelu(call.float("alpha", 0.01)))(call)  # pyright: ignore[reportReturnType]


def lower_qlinear_softmax(call: OnnxCall) -> Value:
    """QLinearSoftmax-1: as Softmax of the opset that an attribute names."""
    function = apply_softmax(Softmax) if call.int("opset") >= 13 else apply_softmax_1(Softmax)
    return through(function)(call)  # pyright: ignore[reportReturnType]


def lower_qlinear_concat(call: OnnxCall) -> Value:
    """QLinearConcat-1: the result's scale and zero point come first."""
    parts = [real(call, i) for i in range(2, len(call.inputs), 3)]
    axis = normal_axis(call, call.int("axis"), parts[0].type.rank)
    return small(call, Concat(axis)(*parts, loc=call.loc), 0, call.type(2).dtype)


def lower_qlinear_where(call: OnnxCall) -> Value:
    """QLinearWhere-1."""
    y = Where()(call.value(0), real(call, 1), real(call, 4), loc=call.loc)
    return small(call, y, 7, call.type(1).dtype)


def lower_qlinear_reduce_mean(call: OnnxCall) -> Value:
    """QLinearReduceMean-1."""
    x = real(call, 0)
    axes = tuple(normal_axis(call, a, x.type.rank) for a in call.ints("axes"))
    y = Reduce("mean", axes, bool(call.int("keepdims")))(x, loc=call.loc)
    return small(call, y, 3, call.type(0).dtype)


def lower_qgemm(call: OnnxCall) -> Value:
    """QGemm-1: the i32 bias counts in steps of a_scale * b_scale; without y_scale the result is real."""
    a = _turned(call, call.value(0)) if call.int("transA", 0) else call.value(0)
    b = _turned(call, call.value(3)) if call.int("transB", 0) else call.value(3)
    sums = integer_matmul(call, a, call.optional(2), b, call.optional(5))
    bias = call.optional(6)
    sums = Add()(sums, bias, loc=call.loc) if bias is not None else sums
    steps = _steps(call, call.value(1), call.value(4))
    steps = Mul()(steps, const(call.float("alpha", 1.0), F32), loc=call.loc)
    if call.has(7):
        return requantized(call, sums, steps, call.value(7), call.optional(8) or const(0, a.type.dtype))
    return Mul()(cast(call, sums, F32), steps, loc=call.loc)


def _turned(call: OnnxCall, x: Value) -> Value:
    known = const_array(x)
    return const(np.ascontiguousarray(known.T)) if known is not None else Transpose((1, 0))(x, loc=call.loc)


def _steps(call: OnnxCall, a_scale: Value, b_scale: Value) -> Value:
    """What one unit of an integer product stands for: one number, or one per column."""
    one = b_scale.type.shape in ((), (1,))
    columns = scalar(b_scale, call.loc) if one else b_scale
    return Mul()(scalar(a_scale, call.loc), columns, loc=call.loc)


def _product_in_float(call: OnnxCall, sums: Value, steps: Value, bias: Value | None) -> Value:
    y = Mul()(cast(call, sums, steps.type.dtype), steps, loc=call.loc)
    return y if bias is None else Add()(y, bias, loc=call.loc)


def lower_dynamic_quantize_matmul(call: OnnxCall) -> Value:
    """DynamicQuantizeMatMul-1: the left operand is quantised when it is known."""
    a, a_scale, a_zero = quantize_dynamically(call, call.value(0))
    sums = integer_matmul(call, a, a_zero, call.value(1), call.optional(3))
    return _product_in_float(call, sums, _steps(call, a_scale, call.value(2)), call.optional(4))


def lower_matmul_integer_to_float(call: OnnxCall) -> Value:
    """MatMulIntegerToFloat-1."""
    sums = integer_matmul(call, call.value(0), call.optional(4), call.value(1), call.optional(5))
    return _product_in_float(call, sums, _steps(call, call.value(2), call.value(3)), call.optional(6))


def lower_nhwc_max_pool(call: OnnxCall) -> Value:
    """NhwcMaxPool-1."""
    y = lower_max_pool(replace(call, inputs=(channels_first(call, call.value(0)),)))
    assert isinstance(y, Value)
    return channels_last(call, y)


_PACKED: dict[int, DType] = {2: DType.U2, 4: DType.U4, 8: DType.U8}


def lower_matmul_nbits(call: OnnxCall) -> Value:
    """MatMulNBits-1: weights of 2, 4 or 8 bits, packed low bits first, with a scale per block of each row."""
    bits, n, k, block = (call.int(name) for name in ("bits", "N", "K", "block_size"))
    if bits not in _PACKED or call.has(4):
        call.refuse("g_idx is given" if call.has(4) else f"weights of {bits} bits; expected 2, 4 or 8")
    a, dtype, blocks = call.value(0), _PACKED[bits], -(-k // block)
    packed = call.require_const(1, "the packed weights").reshape(n, -1)
    weights = const(unpacked(packed, bits)[:, :k], dtype)
    scales = const(call.require_const(2, "the scales").reshape(n, blocks))
    dequantize = Dequantize(1, block, a.type.dtype)
    w = dequantize(weights, scales, _block_zeros(call, bits, (n, blocks)), loc=call.loc)
    y = MatMul(trans_b=True)(a, w, loc=call.loc)
    bias = call.optional(5)
    return y if bias is None else Add()(y, bias, loc=call.loc)


def _block_zeros(call: OnnxCall, bits: int, shape: tuple[int, int]) -> Value:
    if not call.has(3):
        return const(np.full(shape, 1 << (bits - 1)), _PACKED[bits])
    zeros = call.require_const(3, "the zero points")
    if zeros.dtype != np.uint8:
        call.refuse(f"zero points are {zeros.dtype}; only packed ones (uint8) are supported")
    return const(unpacked(zeros.reshape(shape[0], -1), bits)[:, : shape[1]], _PACKED[bits])


def unpacked(packed: Array, bits: int) -> Array:
    """Rows of bytes as rows of small numbers, one per element, the low bits of a byte first."""
    shifts: Sequence[int] = range(0, 8, bits)
    parts = [(packed >> s) & ((1 << bits) - 1) for s in shifts]
    return np.stack(parts, axis=-1).reshape(packed.shape[0], -1)


LOWERINGS: tuple[Lowering, ...] = (
    Lowering("QuantizeLinear", 1, lower_quantize_linear, MICROSOFT),
    Lowering("DequantizeLinear", 1, lower_dequantize_linear, MICROSOFT),
    Lowering("QLinearAdd", 1, between(Add(), 2), MICROSOFT),
    Lowering("QLinearMul", 1, between(Mul(), 2), MICROSOFT),
    Lowering("QLinearSigmoid", 1, between(Sigmoid()), MICROSOFT),
    Lowering("QLinearLeakyRelu", 1, lower_qlinear_leaky_relu, MICROSOFT),
    Lowering("QLinearAveragePool", 1, through(lower_average_pool), MICROSOFT),
    Lowering("QLinearGlobalAveragePool", 1, through(lower_global_average_pool), MICROSOFT),
    Lowering("QLinearSoftmax", 1, lower_qlinear_softmax, MICROSOFT),
    Lowering("QLinearConcat", 1, lower_qlinear_concat, MICROSOFT),
    Lowering("QLinearWhere", 1, lower_qlinear_where, MICROSOFT),
    Lowering("QLinearReduceMean", 1, lower_qlinear_reduce_mean, MICROSOFT),
    Lowering("QGemm", 1, lower_qgemm, MICROSOFT),
    Lowering("DynamicQuantizeMatMul", 1, lower_dynamic_quantize_matmul, MICROSOFT),
    Lowering("MatMulIntegerToFloat", 1, lower_matmul_integer_to_float, MICROSOFT),
    Lowering("NhwcMaxPool", 1, lower_nhwc_max_pool, MICROSOFT),
    Lowering("MatMulNBits", 1, lower_matmul_nbits, MICROSOFT),
)
