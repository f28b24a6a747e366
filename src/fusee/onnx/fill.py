"""ONNX ops that make tensors from shapes and scalars: shape, size, constants, ranges, triangles."""

from __future__ import annotations

from math import ceil

import numpy as np

from fusee.base.dims import Dim, dim_max, floordiv, product
from fusee.base.errors import ModelError
from fusee.base.types import I64, Array
from fusee.ir.graph import Value, const
from fusee.onnx.axes import after_data, scalar
from fusee.onnx.call import Lowering, OnnxCall
from fusee.onnx.loader import element_type
from fusee.ops.binary import Div, Max, Sub
from fusee.ops.control import Bind
from fusee.ops.elementwise import Cast, Ceil
from fusee.ops.shape import DimsTensor, Full, Range, Reshape, Trilu

FOLDED_ELEMENTS = 64  # a constant so small may be shape arithmetic, which must know it


def dims_value(call: OnnxCall, elements: tuple[Dim, ...], source: Value) -> Value:
    """Sizes as an i64 tensor. ``source`` has them in its shape: it is waited for where a size comes from data."""
    numbers = [d for d in elements if isinstance(d, int)]
    if len(numbers) == len(elements):
        return const(np.array(numbers, np.int64))
    waits = (source,) if call.comes_from_data(elements) else ()
    return DimsTensor(elements)(*waits, loc=call.loc)


def lower_shape(call: OnnxCall) -> Value:
    x = call.value(0)
    rank = x.type.rank
    start, end, _ = slice(call.int("start", 0), call.int("end", rank)).indices(rank)
    return dims_value(call, x.type.shape[start:end], x)


def lower_size(call: OnnxCall) -> Value:
    x = call.value(0)
    return Reshape(())(dims_value(call, (product(x.type.shape),), x), loc=call.loc)


def lower_constant(call: OnnxCall) -> Value:
    """One attribute of several holds the value."""
    for name in ("value_string", "value_strings", "sparse_value"):
        if call.has_attribute(name):
            call.refuse(f"its {name} is not a dense tensor of numbers; make it one before exporting")
    if call.has_attribute("value"):
        return const(call.tensor("value"))
    if call.has_attribute("value_int"):
        return const(np.array(call.int("value_int"), np.int64))
    if call.has_attribute("value_ints"):
        return const(np.array(call.ints("value_ints"), np.int64))
    if call.has_attribute("value_float"):
        return const(np.array(call.float("value_float"), np.float32))
    if call.has_attribute("value_floats"):
        return const(np.array(call.floats("value_floats"), np.float32))
    raise ModelError(f"{call.where}: none of the value attributes is given")


def lower_constant_of_shape(call: OnnxCall) -> Value:
    shape = call.dims(0)
    value = call.tensor("value") if call.has_attribute("value") else np.zeros(1, np.float32)
    if value.size != 1:
        raise ModelError(f"{call.where}: the value has {value.size} elements; expected 1")
    sizes = [d for d in shape if isinstance(d, int)]
    if len(sizes) == len(shape) and np.prod(sizes) <= FOLDED_ELEMENTS:
        return const(np.full(sizes, value.ravel()[0], value.dtype))
    return Full(shape)(call.ordered(const(value.reshape(()))), loc=call.loc)


def lower_range(call: OnnxCall) -> Value:
    known = [call.const(i) for i in range(3)] if call.has(2) else [call.const(0), call.const(1), np.array(1)]
    arrays = [a.reshape(()) for a in known if a is not None]
    start = scalar(call.value(0), call.loc)
    delta = scalar(call.value(2), call.loc) if call.has(2) else const(np.array(1), start.type.dtype)
    if len(arrays) == 3:
        return _known_range(call, start, delta, arrays)
    if start.type.dtype.is_float:
        return _float_range(call, start, scalar(call.value(1), call.loc), delta)
    (first,), (last,) = call.dims(0), call.dims(1)
    (step,) = call.dims(2) if call.has(2) else (1,)
    return Range(range_size(first, last, step))(call.ordered(start), delta, loc=call.loc)


def range_size(start: Dim, limit: Dim, delta: Dim) -> Dim:
    """How many numbers there are from ``start`` to before ``limit``."""
    return dim_max(0, 0 - floordiv(start - limit, delta))


def _known_range(call: OnnxCall, start: Value, delta: Value, arrays: list[Array]) -> Value:
    first, last, step = (a.item() for a in arrays)
    if step == 0:
        raise ModelError(f"{call.where}: the step is 0")
    size = max(0, ceil((last - first) / step))
    op = Range(size)
    if size <= FOLDED_ELEMENTS:
        return const(op.reference(arrays[0], arrays[2].astype(arrays[0].dtype)))
    return op(start, delta, loc=call.loc)


def _float_range(call: OnnxCall, start: Value, limit: Value, delta: Value) -> Value:
    """The number of elements is computed with the data and named."""
    steps = Ceil()(Div()(Sub()(limit, start, loc=call.loc), delta, loc=call.loc), loc=call.loc)
    count = Max()(Cast(I64)(steps, loc=call.loc), const(np.array(0), I64), loc=call.loc)
    name = call.fresh(f"{call.name}_size")
    call.tokens.append(Bind((str(name),))(count, loc=call.loc))
    return Range(name)(call.ordered(start), delta, loc=call.loc)


def lower_eye_like(call: OnnxCall) -> Value:
    """Ones, of which only the diagonal is kept."""
    x = call.value(0)
    if x.type.rank != 2:
        raise ModelError(f"{call.where}: needs a matrix, got {x.type}")
    dtype = element_type(call.int("dtype"), call.where) if call.has_attribute("dtype") else x.type.dtype
    k = call.int("k", 0)
    ones = Full(x.type.shape)(after_data(call, const(np.array(1), dtype), x), loc=call.loc)
    return Trilu(upper=False, k=k)(Trilu(upper=True, k=k)(ones, loc=call.loc), loc=call.loc)


def lower_trilu(call: OnnxCall) -> Value:
    k: Dim = call.dims(1)[0] if call.has(1) else 0
    return Trilu(bool(call.int("upper", 1)), k)(call.ordered(call.value(0)), loc=call.loc)


LOWERINGS: tuple[Lowering, ...] = (
    Lowering("Shape", 1, lower_shape),
    Lowering("Size", 1, lower_size),
    Lowering("Constant", 1, lower_constant),
    Lowering("ConstantOfShape", 9, lower_constant_of_shape),
    Lowering("Range", 11, lower_range),
    Lowering("Range", 1, lower_range, "com.microsoft"),
    Lowering("EyeLike", 9, lower_eye_like),
    Lowering("Trilu", 14, lower_trilu),
    Lowering("Trilu", 1, lower_trilu, "com.microsoft"),
)
