"""Lowerings of the attention ops that ONNX Runtime's transformer optimiser writes (domain com.microsoft)."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from fusee.base.dims import Dim
from fusee.base.types import F32, I64, DType
from fusee.ir.graph import Value, const
from fusee.onnx.axes import scalar
from fusee.onnx.call import Lowering, OnnxCall
from fusee.onnx.contrib_quant import MICROSOFT
from fusee.onnx.math import cast
from fusee.onnx.quant import integer_matmul
from fusee.ops.attention import Attention
from fusee.ops.binary import Add, Greater, Less, Mul, Sub, Where
from fusee.ops.index import Gather
from fusee.ops.linear import MatMul
from fusee.ops.shape import Concat, Range, Reshape, Slice, Transpose

DEFAULT_FILTER = -10000.0  # what ONNX Runtime adds to the scores of pairs that a mask excludes


@dataclass(frozen=True, eq=False)
class Projected:
    """Queries, keys and values of all heads: [B, H, S or T, D]; keys and values with what the cache holds."""

    q: Value
    k: Value
    v: Value
    past: Dim = 0


def part(call: OnnxCall, x: Value, axis: int, start: Dim, size: Dim, step: int = 1) -> Value:
    """Elements of one axis: ``size`` from ``start`` on, ``step`` apart."""
    at = [start if i == axis else 0 for i in range(x.type.rank)]
    sizes = [size if i == axis else d for i, d in enumerate(x.type.shape)]
    steps = [step if i == axis else 1 for i in range(x.type.rank)]
    return Slice(tuple(at), tuple(sizes), tuple(steps))(x, loc=call.loc)


def lower_attention(call: OnnxCall) -> tuple[Value | None, ...]:
    """Attention-1 of com.microsoft: projection of one input to queries, keys and values, then attention."""
    projected = MatMul()(call.value(0), call.value(1), loc=call.loc)
    if call.has(2):
        projected = Add()(projected, call.value(2), loc=call.loc)
    return _self_attention(call, projected, mask=3, past=4, bias=call.optional(5))


def lower_qattention(call: OnnxCall) -> tuple[Value | None, ...]:
    """QAttention-1: Attention whose projection is an integer product."""
    sums = integer_matmul(call, call.value(0), call.optional(6), call.value(1), call.optional(7))
    weight_scale = call.value(4)
    columns = scalar(weight_scale, call.loc) if weight_scale.type.shape in ((), (1,)) else weight_scale
    steps = Mul()(scalar(call.value(3), call.loc), columns, loc=call.loc)
    projected = Mul()(cast(call, sums, F32), steps, loc=call.loc)
    projected = Add()(projected, call.value(2), loc=call.loc)
    return _self_attention(call, projected, mask=5, past=8, bias=None)


def _self_attention(
    call: OnnxCall, projected: Value, mask: int, past: int, bias: Value | None
) -> tuple[Value | None, ...]:
    if call.int("do_rotary", 0) or call.int("past_present_share_buffer", 0):
        call.refuse("do_rotary and past_present_share_buffer are not supported")
    width = projected.type.shape[2]
    sizes: tuple[Dim, ...] = call.ints("qkv_hidden_sizes", ()) or (width // 3,) * 3
    starts = (0, sizes[0], sizes[0] + sizes[1])
    q, k, v = (split_heads(call, part(call, projected, 2, s, n)) for s, n in zip(starts, sizes, strict=True))
    cached = call.optional(past)
    heads = Projected(q, k, v)
    if cached is not None:
        before = [_unstacked(call, cached, i) for i in range(2)]
        heads = with_past(call, heads, before[0], before[1])
    y = attend(call, heads, call.optional(mask), bias)
    return y, _stacked(call, heads) if call.wants(1) else None


def _unstacked(call: OnnxCall, cached: Value, i: int) -> Value:
    return Reshape(cached.type.shape[1:])(part(call, cached, 0, i, 1), loc=call.loc)


def _stacked(call: OnnxCall, heads: Projected) -> Value:
    both = [Reshape((1, *x.type.shape))(x, loc=call.loc) for x in (heads.k, heads.v)]
    return Concat(0)(*both, loc=call.loc)


def split_heads(call: OnnxCall, x: Value) -> Value:
    """[B, S, H * D] as [B, H, S, D]."""
    batch, length, width = x.type.shape
    heads = call.int("num_heads")
    x = Reshape((batch, length, heads, width // heads))(x, loc=call.loc)
    return Transpose((0, 2, 1, 3))(x, loc=call.loc)


def with_past(call: OnnxCall, heads: Projected, k: Value, v: Value) -> Projected:
    """Keys and values appended to those of the cache, which are [B, H, P, D]."""
    return Projected(heads.q, Concat(2)(k, heads.k, loc=call.loc), Concat(2)(v, heads.v, loc=call.loc), k.type.shape[2])


def attend(call: OnnxCall, heads: Projected, mask: Value | None, bias: Value | None) -> Value:
    """softmax(q k^T * scale + mask + bias) v, the heads joined again: [B, S, H * E]."""
    depth = heads.q.type.shape[3]
    if not isinstance(depth, int):
        call.refuse(f"the head size of {heads.q.type} is not known at build time")
    scale = call.float("scale", 0.0) or 1 / sqrt(depth)
    added = [m for m in (_mask(call, heads, mask), bias) if m is not None]
    total = [Add()(added[0], added[1], loc=call.loc)] if len(added) == 2 else added
    op = Attention(scale, bool(call.int("unidirectional", 0)), heads.past)
    y = Transpose((0, 2, 1, 3))(op(heads.q, heads.k, heads.v, *total, loc=call.loc), loc=call.loc)
    batch, length, count, size = y.type.shape
    return Reshape((batch, length, count * size))(y, loc=call.loc)


def _mask(call: OnnxCall, heads: Projected, mask: Value | None) -> Value | None:
    """What a mask adds to the scores: 0, or the filter value at what it excludes."""
    if mask is None:
        return None
    dtype = heads.q.type.dtype
    away = const(call.float("mask_filter_value", DEFAULT_FILTER), dtype)
    return Where()(_allowed(call, heads, mask), const(0, dtype), away, loc=call.loc)


def _allowed(call: OnnxCall, heads: Projected, mask: Value) -> Value:
    """Pairs that a mask leaves, broadcasting to [B, H, S, T]: it holds lengths, or 0 at what is excluded."""
    batch, length, total = heads.q.type.shape[0], heads.q.type.shape[2], heads.k.type.shape[2]
    if mask.type.rank == 1:
        if mask.type.shape[0] != batch:
            call.refuse(f"the mask is {mask.type}; expected one length per batch, or a mask of rank 2 to 4")
        keys = Range(total)(const(0, mask.type.dtype), const(1, mask.type.dtype), loc=call.loc)
        return Less()(keys, Reshape((batch, 1, 1, 1))(mask, loc=call.loc), loc=call.loc)
    known = mask if mask.type.dtype is DType.BOOL else Greater()(mask, const(0, mask.type.dtype), loc=call.loc)
    if mask.type.rank == 2:
        return Reshape((batch, 1, 1, total))(known, loc=call.loc)
    if mask.type.rank == 3:
        return Reshape((batch, 1, length, total))(known, loc=call.loc)
    return part(call, part(call, known, 2, heads.past, length), 3, 0, total)


def lower_multi_head_attention(call: OnnxCall) -> tuple[Value | None, ...]:
    """MultiHeadAttention-1: queries, keys and values are projected already; packed ones come in one input."""
    q, k, v = _three(call)
    q, k, v = _biased(call, q, k, v) if call.has(3) else (q, k, v)
    q, k, v = (split_heads(call, x) if x.type.rank == 3 else x for x in (q, k, v))
    heads = Projected(q, k, v)
    if call.has(8) or call.has(9):
        call.refuse("past_sequence_length and cache_indirection are not supported")
    if call.has(6):
        heads = with_past(call, heads, call.value(6), call.value(7))
    y = attend(call, heads, call.optional(4), call.optional(5))
    return y, heads.k, heads.v


def _three(call: OnnxCall) -> tuple[Value, Value, Value]:
    """Queries, keys and values, [B, S, H * D] each, or keys and values [B, H, T, D]."""
    query, key = call.value(0), call.optional(1)
    if key is None:
        q, k, v = (_unpacked(call, query, i) for i in range(3))
        return q, k, v
    if key.type.rank == 5:
        return query, _unpacked(call, key, 0), _unpacked(call, key, 1)
    return query, key, call.value(2)


def _unpacked(call: OnnxCall, x: Value, i: int) -> Value:
    """Part i of [B, S, H, parts, D], as [B, S, H * D]."""
    if x.type.rank != 5:
        call.refuse(f"queries without keys are {x.type}; expected [batch, length, heads, 3, size]")
    batch, length, heads, _, size = x.type.shape
    return Reshape((batch, length, heads * size))(part(call, x, 3, i, 1), loc=call.loc)


def _biased(call: OnnxCall, q: Value, k: Value, v: Value) -> tuple[Value, Value, Value]:
    """The bias of all three in one vector, added to those that are not split into heads yet."""
    bias, start = call.value(3), 0
    found: list[Value] = []
    for x in (q, k, v):
        if x.type.rank != 3:
            call.refuse(f"a bias with keys of {x.type}, which are split into heads already")
        width = x.type.shape[2]
        found.append(Add()(x, part(call, bias, 0, start, width), loc=call.loc))
        start = start + width
    return found[0], found[1], found[2]


def lower_rotary_embedding(call: OnnxCall) -> Value:
    """RotaryEmbedding-1 of com.microsoft: pairs of each head's elements turned by an angle of their position."""
    x, cosines = call.value(0), call.value(2)
    heads = _heads_last_but_one(call, x, cosines)
    y = _turned(call, heads, *[_at_positions(call, heads, call.value(i)) for i in (2, 3)])
    y = Transpose((0, 2, 1, 3))(y, loc=call.loc) if x.type.rank == 4 else y
    return Reshape(x.type.shape)(y, loc=call.loc)


def _heads_last_but_one(call: OnnxCall, x: Value, cosines: Value) -> Value:
    """[B, S, H * D] or [B, H, S, D] as [B, S, H, D]."""
    if x.type.rank == 4:
        return Transpose((0, 2, 1, 3))(x, loc=call.loc)
    batch, length, width = x.type.shape
    count = call.int("num_heads", 0)
    size = width // count if call.int("rotary_embedding_dim", 0) and count else cosines.type.shape[1] * 2
    return Reshape((batch, length, width // size, size))(x, loc=call.loc)


def _at_positions(call: OnnxCall, heads: Value, cache: Value) -> Value:
    """The cache's rows at each position: [B or 1, S, 1, half]. One position is that of the first element."""
    positions = call.value(1)
    batch, length = heads.type.shape[:2]
    if positions.type.rank == 1:
        first = Reshape(())(positions, loc=call.loc)
        positions, batch = Range(length)(first, const(1, I64), loc=call.loc), 1
    found = Gather(0)(cache, positions, loc=call.loc)
    return Reshape((batch, length, 1, cache.type.shape[1]))(found, loc=call.loc)


def _turned(call: OnnxCall, x: Value, cosine: Value, sine: Value) -> Value:
    """Pairs (a, b) as (a cos - b sin, a sin + b cos); what is beyond twice the angles stays."""
    loc, half, width = call.loc, cosine.type.shape[3], x.type.shape[3]
    neighbours = bool(call.int("interleaved", 0))
    starts, step = ((0, 1), 2) if neighbours else ((0, half), 1)
    a, b = (part(call, x, 3, s, half, step) for s in starts)
    real = Sub()(Mul()(a, cosine, loc=loc), Mul()(b, sine, loc=loc), loc=loc)
    other = Add()(Mul()(a, sine, loc=loc), Mul()(b, cosine, loc=loc), loc=loc)
    y = _interleaved(call, real, other) if neighbours else Concat(3)(real, other, loc=loc)
    if width == half * 2:
        return y
    return Concat(3)(y, part(call, x, 3, half * 2, width - half * 2), loc=loc)


def _interleaved(call: OnnxCall, a: Value, b: Value) -> Value:
    *outer, half = a.type.shape
    columns = [Reshape((*outer, half, 1))(x, loc=call.loc) for x in (a, b)]
    return Reshape((*outer, half * 2))(Concat(4)(*columns, loc=call.loc), loc=call.loc)


LOWERINGS: tuple[Lowering, ...] = (
    Lowering("Attention", 1, lower_attention, MICROSOFT),
    Lowering("QAttention", 1, lower_qattention, MICROSOFT),
    Lowering("MultiHeadAttention", 1, lower_multi_head_attention, MICROSOFT),
    Lowering("RotaryEmbedding", 1, lower_rotary_embedding, MICROSOFT),
)
