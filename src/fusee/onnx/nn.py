"""Lowerings of matrix products and convolutions."""

from __future__ import annotations

import numpy as np

from fusee.base.dims import Dim
from fusee.base.types import DType
from fusee.ir.graph import Value, const
from fusee.onnx.call import Lowering, OnnxCall
from fusee.onnx.padding import Window, drop, lift, pad_first, split_padding
from fusee.ops.binary import Add, Mul
from fusee.ops.conv_variants import ConvTranspose, DeformConv
from fusee.ops.linear import Conv, Det, MatMul
from fusee.ops.shape import Reshape, Slice


def lower_matmul(call: OnnxCall) -> Value:
    """MatMul-1..13: operands of rank 1 are a row on the left, a column on the right."""
    return matmul(call, call.value(0), call.value(1))


def matmul(call: OnnxCall, a: Value, b: Value) -> Value:
    """numpy's matmul of two values."""
    row, column = a.type.rank == 1, b.type.rank == 1
    left = Reshape((1, *a.type.shape))(a, loc=call.loc) if row else a
    right = Reshape((*b.type.shape, 1))(b, loc=call.loc) if column else b
    y = MatMul()(left, right, loc=call.loc)
    if not row and not column:
        return y
    *batch, m, n = y.type.shape
    kept = (*batch, *(() if row else (m,)), *(() if column else (n,)))
    return Reshape(kept)(y, loc=call.loc)


def lower_gemm(call: OnnxCall) -> Value:
    """Gemm-7..13: alpha * a b + beta * c."""
    a, b, c = call.value(0), call.value(1), call.optional(2)
    y = MatMul(bool(call.int("transA", 0)), bool(call.int("transB", 0)))(a, b, loc=call.loc)
    y = _scaled(call, y, call.float("alpha", 1.0))
    if c is None:
        return y
    return Add()(y, _scaled(call, c, call.float("beta", 1.0)), loc=call.loc)


def _scaled(call: OnnxCall, x: Value, factor: float) -> Value:
    return x if factor == 1.0 else Mul()(x, const(factor, x.type.dtype), loc=call.loc)


def kernel_of(call: OnnxCall, w: Value) -> tuple[int, ...]:
    """The kernel sizes, from the weights. Refuses weights whose sizes only the run knows."""
    sizes = w.type.shape[2:]
    if not all(isinstance(n, int) for n in sizes):
        call.refuse(f"the kernel sizes of {w.type} are not known at build time")
    kernel = tuple(n for n in sizes if isinstance(n, int))
    declared = call.ints("kernel_shape", kernel)
    if declared != kernel:
        call.refuse(f"kernel_shape {list(declared)} is not that of the weights {w.type}")
    return kernel


def lower_conv(call: OnnxCall) -> Value:
    """Conv-1..22."""
    x, w = call.value(0), call.value(1)
    bias = [v for v in (call.optional(2),) if v is not None]
    return convolve(call, x, w, bias, Window.of(call, x.type.shape[2:], kernel_of(call, w)), call.int("group", 1))


def convolve(
    call: OnnxCall,
    x: Value,
    w: Value,
    bias: list[Value],
    window: Window,
    group: int,
    accumulate: DType | None = None,
) -> Value:
    """A convolution; padding that depends on sizes is made explicit, one spatial axis becomes two."""
    x = pad_first(call, x, window, 0)
    flat = x.type.rank == 3
    if flat:
        x, w, window = lift(call, x), lift(call, w), window.lifted()
    y = Conv(window.strides, window.static_pads, window.dilations, group, accumulate=accumulate)(
        x, w, *bias, loc=call.loc
    )
    return drop(call, y) if flat else y


def lower_conv_transpose(call: OnnxCall) -> Value:
    """ConvTranspose-1..22."""
    x, w = call.value(0), call.value(1)
    kernel = kernel_of(call, w)
    rank = len(kernel)
    strides, dilations = call.ints("strides", (1,) * rank), call.ints("dilations", (1,) * rank)
    extra = call.ints("output_padding", (0,) * rank)
    natural = [
        s * (n - 1) + e + d * (k - 1) + 1
        for n, s, e, d, k in zip(x.type.shape[2:], strides, extra, dilations, kernel, strict=True)
    ]
    pads = _transposed_pads(call, natural, [s * n for s, n in zip(strides, x.type.shape[2:], strict=True)])
    static = tuple(p for p in pads if isinstance(p, int))
    bias = [v for v in (call.optional(2),) if v is not None]
    cropped = len(static) < len(pads)
    op = ConvTranspose(strides, (0,) * 2 * rank if cropped else static, dilations, extra, call.int("group", 1))
    y = op(x, w, *bias, loc=call.loc)
    return _cropped(call, y, pads) if cropped else y


def _transposed_pads(call: OnnxCall, natural: list[Dim], same: list[Dim]) -> tuple[Dim, ...]:
    """The padding to take off; what an output_shape wants beyond the natural size is added at the end."""
    mode, rank = call.string("auto_pad", "NOTSET"), len(natural)
    wanted = call.ints("output_shape", ())[-rank:]
    if not wanted and mode == "NOTSET":
        return call.ints("pads", (0,) * 2 * rank)
    if not wanted and mode == "VALID":
        return (0,) * 2 * rank
    totals = [n - w for n, w in zip(natural, wanted or same, strict=True)]
    begin_end = split_padding(totals, more_at_end=mode == "SAME_UPPER")
    negative = [isinstance(t, int) and t < 0 for t in totals]
    begins = [0 if short else p for short, p in zip(negative, begin_end[:rank], strict=True)]
    ends = [t if short else p for short, p, t in zip(negative, begin_end[rank:], totals, strict=True)]
    return (*begins, *ends)


def _cropped(call: OnnxCall, y: Value, pads: tuple[Dim, ...]) -> Value:
    rank = len(pads) // 2
    shape = y.type.shape
    sizes = [n - pads[i] - pads[i + rank] for i, n in enumerate(shape[2:])]
    return Slice((0, 0, *pads[:rank]), (*shape[:2], *sizes), (1,) * len(shape))(y, loc=call.loc)


def lower_deform_conv(call: OnnxCall) -> Value:
    """DeformConv-19..22."""
    x, w, offset = (call.value(i) for i in range(3))
    window = Window.of(call, x.type.shape[2:], kernel_of(call, w))
    if window.rank != 2:
        call.refuse(f"{window.rank} spatial axes; only 2 are supported")
    outputs = w.type.shape[0]
    if not isinstance(outputs, int):
        call.refuse(f"the number of output channels of {w.type} is not known at build time")
    bias = call.optional(3) or const(np.zeros(outputs), x.type.dtype)
    mask = [v for v in (call.optional(4),) if v is not None]
    groups = call.int("group", 1), call.int("offset_group", 1)
    op = DeformConv(window.strides, window.static_pads, window.dilations, *groups, modulated=bool(mask))
    return op(x, w, offset, bias, *mask, loc=call.loc)


def lower_det(call: OnnxCall) -> Value:
    """Det-11..22."""
    return Det()(call.value(0), loc=call.loc)


LOWERINGS: tuple[Lowering, ...] = (
    Lowering("MatMul", 1, lower_matmul),
    Lowering("Gemm", 7, lower_gemm),
    Lowering("Conv", 1, lower_conv),
    Lowering("ConvTranspose", 1, lower_conv_transpose),
    Lowering("DeformConv", 19, lower_deform_conv),
    Lowering("Det", 11, lower_det),
)
