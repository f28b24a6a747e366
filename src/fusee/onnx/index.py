"""ONNX ops that gather, scatter and select by position."""

from __future__ import annotations

import numpy as np

from fusee.base.dims import Dim
from fusee.base.errors import ModelError
from fusee.base.types import I64
from fusee.ir.graph import Const, Op, Value, const
from fusee.onnx.axes import after_data, normal_axis
from fusee.onnx.call import Lowering, OnnxCall
from fusee.ops.binary import Less, Where
from fusee.ops.elementwise import Cast
from fusee.ops.index import (
    REDUCTIONS,
    Gather,
    GatherElements,
    GatherNd,
    OneHot,
    ScatterElements,
    ScatterNd,
    TensorScatter,
    TopK,
)
from fusee.ops.selection import Compress, NonZero, Unique
from fusee.ops.shape import Full, Reshape, ReverseSequence


def lower_gather(call: OnnxCall) -> Value:
    x = call.value(0)
    return Gather(normal_axis(call, call.int("axis", 0), x.type.rank))(x, call.value(1), loc=call.loc)


def lower_gather_elements(call: OnnxCall) -> Value:
    x = call.value(0)
    return GatherElements(normal_axis(call, call.int("axis", 0), x.type.rank))(x, call.value(1), loc=call.loc)


def lower_gather_nd(call: OnnxCall) -> Value:
    return GatherNd(call.int("batch_dims", 0))(call.value(0), call.value(1), loc=call.loc)


def lower_array_feature_extractor(call: OnnxCall) -> Value:
    """Columns of a matrix; a vector counts as one row."""
    x, columns = call.value(0), call.value(1)
    rows = Reshape((1, *x.type.shape))(x, loc=call.loc) if x.type.rank == 1 else x
    flat = Reshape((columns.type.size,))(columns, loc=call.loc)
    return Gather(rows.type.rank - 1)(rows, flat, loc=call.loc)


def _reduction(call: OnnxCall) -> str:
    reduction = call.string("reduction", "none")
    if reduction not in REDUCTIONS:
        raise ModelError(f"{call.where}: reduction {reduction!r} is not one of {', '.join(REDUCTIONS)}")
    return reduction


def lower_scatter_elements(call: OnnxCall) -> Value:
    x = call.value(0)
    op = ScatterElements(normal_axis(call, call.int("axis", 0), x.type.rank), _reduction(call))
    return op(x, call.value(1), call.value(2), loc=call.loc)


def lower_scatter_nd(call: OnnxCall) -> Value:
    return ScatterNd(_reduction(call))(call.value(0), call.value(1), call.value(2), loc=call.loc)


def lower_tensor_scatter(call: OnnxCall) -> Value:
    cache, update = call.value(0), call.value(1)
    mode = call.string("mode", "linear")
    if mode not in ("linear", "circular"):
        raise ModelError(f"{call.where}: mode {mode!r} is neither linear nor circular")
    positions = call.optional(2)
    if positions is None:
        zero = after_data(call, const(np.array(0), I64), cache)
        positions = Full((cache.type.shape[0],))(zero, loc=call.loc)
    axis = normal_axis(call, call.int("axis", -2), cache.type.rank)
    return TensorScatter(axis, mode == "circular")(cache, update, positions, loc=call.loc)


def _depth(call: OnnxCall) -> Dim:
    """The depth, which may be a float."""
    known = call.const(1)
    if known is not None:
        return int(known.item())
    if call.type(1).dtype.is_integer:
        return call.dims(1)[0]
    names, token = call.host.bound_dims(Cast(I64)(call.value(1), loc=call.loc), call.where)
    call.tokens.append(token)
    return names[0]


def lower_one_hot(call: OnnxCall) -> Value:
    """Up to opset 10 a negative index is outside; from 11 on it counts from the end."""
    depth = _depth(call)
    indices = call.ordered(call.value(0))
    indices = indices if indices.type.dtype is I64 else Cast(I64)(indices, loc=call.loc)
    if call.version < 11:
        zero, outside = const(np.array(0), I64), const(np.array(np.iinfo(np.int64).min), I64)
        indices = Where()(Less()(indices, zero, loc=call.loc), outside, indices, loc=call.loc)
    axis = normal_axis(call, call.int("axis", -1), indices.type.rank + 1)
    return OneHot(axis, depth)(indices, call.value(2), loc=call.loc)


def lower_top_k(call: OnnxCall) -> tuple[Value, ...]:
    """How many is an attribute up to opset 9, then an input."""
    (k,) = (call.int("k"),) if call.version < 10 else call.dims(1)
    x = call.ordered(call.value(0))
    axis = normal_axis(call, call.int("axis", -1), x.type.rank)
    op = TopK(k, axis, bool(call.int("largest", 1)), bool(call.int("sorted", 1)))
    return op.apply(x, loc=call.loc)


def lower_reverse_sequence(call: OnnxCall) -> Value:
    op = ReverseSequence(call.int("batch_axis", 1), call.int("time_axis", 0))
    return op(call.value(0), call.value(1), loc=call.loc)


def _selected(call: OnnxCall, op: Op, *operands: Value) -> tuple[Value, ...]:
    """Apply an op whose results' size depends on data: at once, when the data is there."""
    arrays = [v.op.value for v in operands if isinstance(v.op, Const)]
    if len(arrays) == len(operands):
        return tuple(const(a) for a in op.compute(*arrays))
    return op.apply(*operands, loc=call.loc)


def lower_non_zero(call: OnnxCall) -> tuple[Value, ...]:
    return _selected(call, NonZero(call.fresh(f"{call.name}_count")), call.value(0))


def lower_compress(call: OnnxCall) -> tuple[Value, ...]:
    x = call.value(0)
    axis = normal_axis(call, call.int("axis"), x.type.rank) if call.has_attribute("axis") else None
    return _selected(call, Compress(axis, call.fresh(f"{call.name}_count")), x, call.value(1))


def lower_unique(call: OnnxCall) -> tuple[Value, ...]:
    x = call.value(0)
    axis = normal_axis(call, call.int("axis"), x.type.rank) if call.has_attribute("axis") else None
    return _selected(call, Unique(axis, bool(call.int("sorted", 1)), call.fresh(f"{call.name}_count")), x)


def lower_unique_microsoft(call: OnnxCall) -> tuple[Value, ...]:
    """In the order of first occurrence: elements, which one each is, counts."""
    y, _, inverse, counts = _selected(call, Unique(None, False, call.fresh(f"{call.name}_count")), call.value(0))
    return y, inverse, counts


LOWERINGS: tuple[Lowering, ...] = (
    Lowering("Gather", 1, lower_gather),
    Lowering("GatherElements", 11, lower_gather_elements),
    Lowering("GatherND", 11, lower_gather_nd),
    Lowering("GatherND", 1, lower_gather_nd, "com.microsoft"),
    Lowering("ArrayFeatureExtractor", 1, lower_array_feature_extractor, "ai.onnx.ml"),
    Lowering("Scatter", 9, lower_scatter_elements),
    Lowering("ScatterElements", 11, lower_scatter_elements),
    Lowering("ScatterND", 11, lower_scatter_nd),
    Lowering("TensorScatter", 24, lower_tensor_scatter),
    Lowering("OneHot", 9, lower_one_hot),
    Lowering("TopK", 1, lower_top_k),
    Lowering("ReverseSequence", 10, lower_reverse_sequence),
    Lowering("NonZero", 9, lower_non_zero),
    Lowering("Compress", 9, lower_compress),
    Lowering("Unique", 11, lower_unique),
    Lowering("Unique", 1, lower_unique_microsoft, "com.microsoft"),
)
