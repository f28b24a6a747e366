"""Lowerings of pools."""

from __future__ import annotations

import numpy as np

from fusee.base.dims import Dim
from fusee.base.host_pool import lowest
from fusee.ir.graph import Value, const
from fusee.onnx.call import Lowering, OnnxCall
from fusee.onnx.padding import Window, drop, lift, pad_first
from fusee.ops.binary import Div, Pow
from fusee.ops.elementwise import Abs
from fusee.ops.pool import MaxPoolIndices, MaxUnpool, Pool
from fusee.ops.reduce import Reduce
from fusee.ops.shape import Full, Pad


def _window(call: OnnxCall, x: Value) -> Window:
    kernel = call.ints("kernel_shape")
    if x.type.rank != len(kernel) + 2:
        call.refuse(f"the input is {x.type}, but kernel_shape {list(kernel)} has {len(kernel)} axes")
    return Window.of(call, x.type.shape[2:], kernel)


def _pool(call: OnnxCall, x: Value, kind: str, window: Window, include_pad: bool = False, p: int = 2) -> Value:
    """A pool; one spatial axis becomes two."""
    flat = window.rank == 1
    if flat:
        x, window = lift(call, x), window.lifted()
    ceil_mode = bool(call.int("ceil_mode", 0))
    sizes = window.kernel, window.strides, window.static_pads, window.dilations
    y = Pool(kind, *sizes, ceil_mode, include_pad, p=p)(x, loc=call.loc)
    return drop(call, y) if flat else y


def lower_max_pool(call: OnnxCall) -> Value | tuple[Value, ...]:
    """MaxPool-1..22."""
    x = call.value(0)
    window = _window(call, x)
    if not call.wants(1):
        return _pool(call, pad_first(call, x, window, lowest(x.type.dtype)), "max", window)
    if not window.is_static:
        call.refuse("indices of a pool whose padding depends on sizes only known at run time")
    sizes = window.kernel, window.strides, window.static_pads, window.dilations
    op = MaxPoolIndices(*sizes, bool(call.int("ceil_mode", 0)), bool(call.int("storage_order", 0)))
    return op.apply(x, loc=call.loc)


def lower_average_pool(call: OnnxCall) -> Value:
    """AveragePool-7..22."""
    x = call.value(0)
    window = _window(call, x)
    include_pad = bool(call.int("count_include_pad", 0))
    padded = pad_first(call, x, window, 0)
    if include_pad or window.is_static:
        return _pool(call, padded, "average", window, include_pad)
    ones = Full((1, 1, *x.type.shape[2:]))(const(1, x.type.dtype), loc=call.loc)
    inside = _pool(call, pad_first(call, ones, window, 0), "average", window)
    return Div()(_pool(call, padded, "average", window), inside, loc=call.loc)


def lower_lp_pool(call: OnnxCall) -> Value:
    """LpPool-2..22."""
    x = call.value(0)
    window = _window(call, x)
    return _pool(call, pad_first(call, x, window, 0), "lp", window, p=call.int("p", 2))


def _spatial_axes(x: Value) -> tuple[int, ...]:
    return tuple(range(2, x.type.rank))


def lower_global_average_pool(call: OnnxCall) -> Value:
    """GlobalAveragePool-1."""
    x = call.value(0)
    return Reduce("mean", _spatial_axes(x), True)(x, loc=call.loc)


def lower_global_max_pool(call: OnnxCall) -> Value:
    """GlobalMaxPool-1."""
    x = call.value(0)
    return Reduce("max", _spatial_axes(x), True)(x, loc=call.loc)


def lower_global_lp_pool(call: OnnxCall) -> Value:
    """GlobalLpPool-2."""
    x, p = call.value(0), call.int("p", 2)
    if p in (1, 2):
        return Reduce(f"l{p}", _spatial_axes(x), True)(x, loc=call.loc)
    powers = Pow()(Abs()(x, loc=call.loc), const(p, x.type.dtype), loc=call.loc)
    total = Reduce("sum", _spatial_axes(x), True)(powers, loc=call.loc)
    return Pow()(total, const(1 / p, x.type.dtype), loc=call.loc)


def lower_max_unpool(call: OnnxCall) -> Value:
    """MaxUnpool-9: indices count in the shape that undoes the pool; a larger output_shape adds zeros at the end."""
    x, indices = call.value(0), call.value(1)
    window = _window(call, x)
    sizes: list[Dim] = []
    for i, (n, k, s) in enumerate(zip(x.type.shape[2:], window.kernel, window.strides, strict=True)):
        sizes.append(s * (n - 1) + k - window.pads[i] - window.pads[i + window.rank])
    natural = (*x.type.shape[:2], *sizes)
    wanted = call.dims(2) if call.has(2) else natural
    y = MaxUnpool(natural)(call.ordered(x), indices, loc=call.loc)
    if wanted == natural:
        return y
    grown = tuple(w - n for w, n in zip(wanted, natural, strict=True))
    return Pad((0,) * len(grown), grown)(y, const(np.zeros(()), x.type.dtype), loc=call.loc)


LOWERINGS: tuple[Lowering, ...] = (
    Lowering("MaxPool", 1, lower_max_pool),
    Lowering("AveragePool", 7, lower_average_pool),
    Lowering("LpPool", 2, lower_lp_pool),
    Lowering("GlobalAveragePool", 1, lower_global_average_pool),
    Lowering("GlobalMaxPool", 1, lower_global_max_pool),
    Lowering("GlobalLpPool", 2, lower_global_lp_pool),
    Lowering("MaxUnpool", 9, lower_max_unpool),
)
