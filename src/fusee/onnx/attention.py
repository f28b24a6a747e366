"""Lowering of ONNX Attention: one fused op where it can say it all, else its parts."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from fusee.base.dims import Dim, floordiv, mod
from fusee.base.types import DType
from fusee.ir.graph import Value, const
from fusee.onnx.call import Lowering, OnnxCall
from fusee.onnx.fill import dims_value
from fusee.onnx.loader import element_type
from fusee.ops.attention import Attention
from fusee.ops.binary import Add, And, Div, Equal, LessOrEqual, Mul, Sub, Where
from fusee.ops.elementwise import Cast, Tanh
from fusee.ops.linear import MatMul
from fusee.ops.normalize import Softmax
from fusee.ops.reduce import Reduce
from fusee.ops.shape import Concat, Pad, Range, Reshape, Transpose


@dataclass(frozen=True, eq=False)
class Heads:
    """Queries [B, Hkv, G, S, D] and keys and values [B, Hkv, 1, T, D]: G query heads share one key head."""

    q: Value
    k: Value
    v: Value
    past: Dim  # how many keys come from the cache

    @property
    def scores_shape(self) -> tuple[Dim, ...]:
        return (*self.q.type.shape[:-1], self.k.type.shape[-2])


def lower_attention(call: OnnxCall) -> tuple[Value | None, ...]:
    """Attention-23..25."""
    flat = call.type(0).rank == 3
    q = _split_heads(call, call.value(0), "q_num_heads")
    k, v = (_split_heads(call, call.value(i), "kv_num_heads") for i in (1, 2))
    past = call.optional(4)
    if past is not None:
        k = Concat(2)(past, k, loc=call.loc)
        v = Concat(2)(call.value(5), v, loc=call.loc)
    present = (k, v)
    heads = _grouped(call, q, k, v, past.type.shape[2] if past is not None else 0)
    y, scores = _attend(call, heads)
    batch, q_heads, length, _ = q.type.shape
    y = Reshape((batch, q_heads, length, v.type.shape[-1]))(y, loc=call.loc)
    if scores is not None:
        scores = Reshape((batch, q_heads, length, k.type.shape[2]))(scores, loc=call.loc)
    if flat:
        y = Transpose((0, 2, 1, 3))(y, loc=call.loc)
        y = Reshape((batch, length, q_heads * v.type.shape[-1]))(y, loc=call.loc)
    return (y, *present, scores)


def _split_heads(call: OnnxCall, x: Value, attribute: str) -> Value:
    """[B, S, H * D] as [B, H, S, D]."""
    if x.type.rank == 4:
        return x
    batch, length, width = x.type.shape
    heads = call.int(attribute)
    x = Reshape((batch, length, heads, width // heads))(x, loc=call.loc)
    return Transpose((0, 2, 1, 3))(x, loc=call.loc)


def _grouped(call: OnnxCall, q: Value, k: Value, v: Value, past: Dim) -> Heads:
    batch, q_heads, length, depth = q.type.shape
    kv_heads = k.type.shape[1]
    if mod(q_heads, kv_heads) != 0:
        call.refuse(f"{q_heads} query heads cannot share {kv_heads} key heads")
    q = Reshape((batch, kv_heads, floordiv(q_heads, kv_heads), length, depth))(q, loc=call.loc)
    k, v = (_shared(call, x) for x in (k, v))
    v = v if v.type.dtype == q.type.dtype else Cast(q.type.dtype)(v, loc=call.loc)
    return Heads(q, k, v, past)


def _shared(call: OnnxCall, x: Value) -> Value:
    batch, heads, length, depth = x.type.shape
    return Reshape((batch, heads, 1, length, depth))(x, loc=call.loc)


def _attend(call: OnnxCall, heads: Heads) -> tuple[Value, Value | None]:
    """The result, and the scores if the model wants them."""
    depth = heads.q.type.shape[-1]
    if not call.has_attribute("scale") and not isinstance(depth, int):
        call.refuse(f"the head size of {heads.q.type} is not known at build time, and no scale is given")
    scale = call.float("scale", 0.0) if call.has_attribute("scale") else 1 / sqrt(float(str(depth)))
    wide = call.int("softmax_precision", 1) == 11 and heads.q.type.dtype is not DType.F64
    if call.float("softcap", 0.0) or call.wants(3) or wide:
        return _composed(call, heads, scale)
    lone = not call.has(6) and not _windows(call)
    mask = _mask(call, heads, causal=not lone)
    op = Attention(scale, bool(call.int("is_causal", 0)) and lone, heads.past if lone else 0)
    operands = (heads.q, heads.k, heads.v, *([mask] if mask is not None else []))
    return op(*operands, loc=call.loc), None


def _windows(call: OnnxCall) -> bool:
    return call.int("left_window_size", -1) >= 0 or call.int("right_window_size", -1) >= 0


def _composed(call: OnnxCall, heads: Heads, scale: float) -> tuple[Value, Value | None]:
    """Scores, soft cap, mask and softmax one by one."""
    loc, dtype = call.loc, heads.q.type.dtype
    root = const(sqrt(scale), dtype)
    scores = MatMul(trans_b=True)(Mul()(heads.q, root, loc=loc), Mul()(heads.k, root, loc=loc), loc=loc)
    stages = [scores]
    cap = call.float("softcap", 0.0)
    if cap:
        limit = const(cap, dtype)
        scores = Mul()(Tanh()(Div()(scores, limit, loc=loc), loc=loc), limit, loc=loc)
    stages.append(scores)
    mask = _mask(call, heads, causal=True)
    bias = _bias(call, mask, dtype) if mask is not None else None
    scores = scores if bias is None else Add()(scores, bias, loc=loc)
    stages.append(scores)
    weights = _softmax(call, scores)
    weights = weights if bias is None else _without_masked_rows(call, weights, bias)
    stages.append(weights)
    wanted = stages[call.int("qk_matmul_output_mode", 0)] if call.wants(3) else None
    return MatMul()(weights, heads.v, loc=loc), wanted


def _bias(call: OnnxCall, mask: Value, dtype: DType) -> Value:
    """A mask as numbers to add to the scores."""
    if mask.type.dtype != DType.BOOL:
        return mask
    return Where()(mask, const(0, dtype), const(-np.inf, dtype), loc=call.loc)


def _softmax(call: OnnxCall, scores: Value) -> Value:
    dtype = scores.type.dtype
    given = call.has_attribute("softmax_precision")
    wanted = element_type(call.int("softmax_precision"), call.where) if given else dtype
    if wanted == dtype:
        return Softmax(scores.type.rank - 1)(scores, loc=call.loc)
    weights = Softmax(scores.type.rank - 1)(Cast(wanted)(scores, loc=call.loc), loc=call.loc)
    return Cast(dtype)(weights, loc=call.loc)


def _without_masked_rows(call: OnnxCall, weights: Value, bias: Value) -> Value:
    """0 in the rows whose every pair is excluded, where softmax gives no number."""
    dtype = bias.type.dtype
    top = Reduce("max", (bias.type.rank - 1,), True)(bias, loc=call.loc)
    empty = Equal()(top, const(-np.inf, dtype), loc=call.loc)
    return Where()(empty, const(0, weights.type.dtype), weights, loc=call.loc)


def _mask(call: OnnxCall, heads: Heads, causal: bool) -> Value | None:
    """All that excludes pairs or biases scores, broadcast to [B, Hkv, G, S, T]; None when nothing does.

    The causal frontier takes part only if ``causal``. Boolean when the model's own mask is not of numbers.
    """
    given = call.optional(3)
    mask = _own_mask(call, heads, given) if given is not None else None
    limits = _limits(call, heads, causal)
    if not limits:
        return mask
    allowed = limits[0]
    for limit in limits[1:]:
        allowed = And()(allowed, limit, loc=call.loc)
    if mask is None:
        return allowed
    if mask.type.dtype == DType.BOOL:
        return And()(allowed, mask, loc=call.loc)
    return Where()(allowed, mask, const(-np.inf, mask.type.dtype), loc=call.loc)


def _own_mask(call: OnnxCall, heads: Heads, mask: Value) -> Value:
    """The attn_mask, filled up to the number of keys, with the head axis split as in the scores."""
    missing = heads.k.type.shape[-2] - mask.type.shape[-1]
    if missing != 0 and (mask.type.shape[-1] != 1 or call.version >= 24):
        fill = const(False) if mask.type.dtype == DType.BOOL else const(-np.inf, mask.type.dtype)
        rank = mask.type.rank
        mask = Pad((0,) * rank, (*[0] * (rank - 1), missing))(mask, fill, loc=call.loc)
    if mask.type.dtype not in (DType.BOOL, heads.q.type.dtype):
        mask = Cast(heads.q.type.dtype)(mask, loc=call.loc)
    if mask.type.rank < 3:
        return mask
    *batch, count, rows, columns = mask.type.shape
    split = (1, 1) if count == 1 else heads.q.type.shape[1:3]
    return Reshape((*batch, *split, rows, columns))(mask, loc=call.loc)


def _limits(call: OnnxCall, heads: Heads, causal: bool) -> list[Value]:
    """Boolean masks from positions: causal frontier, sliding window, keys that are padding."""
    loc = call.loc
    rows, columns = heads.scores_shape[-2:]
    key = Range(columns)(const(0, DType.I64), const(1, DType.I64), loc=loc)
    lengths = call.optional(6)
    found: list[Value] = []
    query = _positions(call, heads, lengths, rows)
    left, right = call.int("left_window_size", -1), call.int("right_window_size", -1)
    if causal and call.int("is_causal", 0):
        found.append(LessOrEqual()(key, query, loc=loc))
    if left >= 0:
        found.append(LessOrEqual()(Sub()(query, const(left, DType.I64), loc=loc), key, loc=loc))
    if right >= 0:
        found.append(LessOrEqual()(key, Add()(query, const(right, DType.I64), loc=loc), loc=loc))
    if lengths is not None:
        last = Sub()(_per_batch(call, lengths), const(1, DType.I64), loc=loc)
        found.append(LessOrEqual()(key, last, loc=loc))
    return found


def _per_batch(call: OnnxCall, lengths: Value) -> Value:
    lengths = lengths if lengths.type.dtype == DType.I64 else Cast(DType.I64)(lengths, loc=call.loc)
    return Reshape((lengths.type.shape[0], 1, 1, 1, 1))(lengths, loc=call.loc)


def _positions(call: OnnxCall, heads: Heads, lengths: Value | None, rows: Dim) -> Value:
    """Where each query stands among the keys: [S, 1], or [B, 1, 1, S, 1] if that depends on the lengths."""
    loc = call.loc
    query = Range(rows)(const(0, DType.I64), const(1, DType.I64), loc=loc)
    query = Reshape((rows, 1))(query, loc=loc)
    if lengths is not None and not call.has(4):
        first = Sub()(_per_batch(call, lengths), dims_value(call, (rows,), heads.q), loc=loc)
        return Add()(query, first, loc=loc)
    return query if heads.past == 0 else Add()(query, dims_value(call, (heads.past,), heads.k), loc=loc)


LOWERINGS: tuple[Lowering, ...] = (Lowering("Attention", 23, lower_attention),)
