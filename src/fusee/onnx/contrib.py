"""Lowerings of the fused float ops that ONNX Runtime's optimiser writes (domain com.microsoft)."""

from __future__ import annotations

from collections.abc import Sequence

from fusee.base.types import I64, DType
from fusee.ir.graph import Op, Value, const
from fusee.onnx.call import Lowering, OnnxCall
from fusee.onnx.contrib_quant import MICROSOFT, channels_first, channels_last
from fusee.onnx.math import cast, clip, unary, with_alpha
from fusee.onnx.nn import lower_conv, lower_gemm, matmul
from fusee.onnx.normalization import (
    layer_statistics,
    per_channel,
    scaled,
)
from fusee.ops.binary import Add, Mul
from fusee.ops.elementwise import Elu, Gelu, HardSigmoid, LeakyRelu, Relu, Sigmoid, Silu, Softplus, Tanh
from fusee.ops.index import Gather
from fusee.ops.reduce import Normalize, Reduce
from fusee.ops.shape import Full, Range, Reshape, Slice, Transpose

_PLAIN: dict[str, Op] = {"Relu": Relu(), "Tanh": Tanh(), "Sigmoid": Sigmoid(), "Softplus": Softplus(), "Gelu": Gelu()}


def activated(call: OnnxCall, y: Value, parameters: Sequence[float]) -> Value:
    """y through the function that the attribute ``activation`` names; y itself without one."""
    kind = call.string("activation", "")
    if not kind:
        return y
    if kind == "Clip":
        low, high = (const(p, y.type.dtype) for p in parameters[:2])
        return clip(call, y, low, high)
    return _activation(call, kind, parameters)(y, loc=call.loc)


def _activation(call: OnnxCall, kind: str, parameters: Sequence[float]) -> Op:
    if kind in _PLAIN:
        return _PLAIN[kind]
    if kind == "LeakyRelu":
        return LeakyRelu(*parameters[:1])
    if kind == "Elu":
        return Elu(*parameters[:1])
    if kind == "HardSigmoid":
        return HardSigmoid(*parameters[:2])
    return call.refuse(f"activation {kind!r}; expected {', '.join(_PLAIN)}, Clip, LeakyRelu, Elu or HardSigmoid")


def lower_fused_conv(call: OnnxCall) -> Value:
    """FusedConv-1: activation(Conv(x) + z)."""
    y, z = lower_conv(call), call.optional(3)
    y = y if z is None else Add()(y, z, loc=call.loc)
    return activated(call, y, call.floats("activation_params", ()))


def lower_fused_gemm(call: OnnxCall) -> Value:
    """FusedGemm-1: activation(Gemm(a, b, c))."""
    names = ("activation_alpha", "activation_beta", "activation_gamma")
    parameters = [call.float(n) for n in names if call.has_attribute(n)]
    return activated(call, lower_gemm(call), parameters)


def lower_fused_matmul(call: OnnxCall) -> Value:
    """FusedMatMul-1, TransposeMatMul-1: alpha * a b, each transposed, or with its first batch axis moved, at will."""
    a, b = (_arranged(call, i, side) for i, side in enumerate("AB"))
    y, alpha = matmul(call, a, b), call.float("alpha", 1.0)
    return y if alpha == 1.0 else Mul()(y, const(alpha, y.type.dtype), loc=call.loc)


def _arranged(call: OnnxCall, i: int, side: str) -> Value:
    """An operand with the axes where the product wants them; a vector has nothing to transpose."""
    x = call.value(i)
    perm = list(range(x.type.rank))
    if len(perm) < 2:
        return x
    if call.int(f"transBatch{side}", 0):
        perm = [*perm[1:-1], 0, perm[-1]]
    if call.int(f"trans{side}", 0):
        perm[-2:] = perm[:-3:-1]
    return x if perm == sorted(perm) else Transpose(tuple(perm))(x, loc=call.loc)


def lower_bias_gelu(call: OnnxCall) -> Value:
    """BiasGelu-1."""
    return Gelu()(Add()(call.value(0), call.value(1), loc=call.loc), loc=call.loc)


def lower_fast_gelu(call: OnnxCall) -> Value:
    """FastGelu-1: by tanh, after a bias."""
    x, bias = call.value(0), call.optional(1)
    x = x if bias is None else Add()(x, bias, loc=call.loc)
    return Gelu(approximate=True)(x, loc=call.loc)


def lower_bias_split_gelu(call: OnnxCall) -> Value:
    """BiasSplitGelu-1: the first half of the last axis times gelu of the second."""
    x = Add()(call.value(0), call.value(1), loc=call.loc)
    *outer, width = x.type.shape
    half, ones = width // 2, (1,) * x.type.rank
    parts = [Slice((*(0,) * len(outer), at), (*outer, half), ones)(x, loc=call.loc) for at in (0, half)]
    return Mul()(parts[0], Gelu()(parts[1], loc=call.loc), loc=call.loc)


def _summed(call: OnnxCall, bias: int) -> Value:
    total = Add()(call.value(0), call.value(1), loc=call.loc)
    extra = call.optional(bias)
    return total if extra is None else Add()(total, extra, loc=call.loc)


def lower_skip_layer_normalization(call: OnnxCall) -> tuple[Value | None, ...]:
    """SkipLayerNormalization-1: the norm of input + skip + bias, and that sum."""
    total = _summed(call, 4)
    axes = (total.type.rank - 1,)
    y = Normalize(axes, call.float("epsilon", 1e-12))(total, loc=call.loc)
    y = scaled(call, y, call.value(2), call.optional(3))
    wanted = call.wants(1) or call.wants(2)
    mean, inverse = layer_statistics(call, total, axes) if wanted else (None, None)
    return y, mean, inverse, total


def lower_skip_simplified_layer_normalization(call: OnnxCall) -> tuple[Value | None, ...]:
    """SkipSimplifiedLayerNormalization-1: the RMS norm of input + skip + bias, and that sum."""
    total = _summed(call, 3)
    y = Normalize((total.type.rank - 1,), call.float("epsilon", 1e-12), center=False)(total, loc=call.loc)
    return Mul()(y, call.value(2), loc=call.loc), None, None, total


def lower_embed_layer_normalization(call: OnnxCall) -> tuple[Value | None, ...]:
    """EmbedLayerNormalization-1: the norm of word, position and segment embeddings summed; mask lengths; that sum."""
    loc, ids = call.loc, call.value(0)
    total = Add()(Gather(0)(call.value(2), ids, loc=loc), _position_embedding(call), loc=loc)
    if call.has(1):
        total = Add()(total, Gather(0)(call.value(4), call.value(1), loc=loc), loc=loc)
    y = Normalize((2,), call.float("epsilon", 1e-12))(total, loc=loc)
    y = scaled(call, y, call.value(5), call.value(6))
    mask = call.optional(7)
    if mask is None:
        return y, Full((ids.type.shape[0],))(const(0, DType.I32), loc=loc), total
    return y, Reduce("sum", (1,), keepdims=False)(mask, loc=loc), total


def _position_embedding(call: OnnxCall) -> Value:
    given = call.optional(8)
    if given is not None:
        return Gather(0)(call.value(3), given, loc=call.loc)
    counted = Range(call.type(0).shape[1])(const(0, I64), const(1, I64), loc=call.loc)
    return Gather(0)(call.value(3), counted, loc=call.loc)


def lower_group_norm(call: OnnxCall) -> Value:
    """GroupNorm-1: with scale and shift per channel, then SiLU if asked for; channels last unless said otherwise."""
    last = bool(call.int("channels_last", 1))
    x = channels_first(call, call.value(0)) if last else call.value(0)
    groups, rank = call.int("groups"), x.type.rank
    batch, channels, *spatial = x.type.shape
    split = Reshape((batch, groups, channels // groups, *spatial))(x, loc=call.loc)
    y = Normalize(tuple(range(2, rank + 1)), call.float("epsilon", 1e-5))(split, loc=call.loc)
    y = Reshape(x.type.shape)(y, loc=call.loc)
    y = scaled(call, y, *(per_channel(call, cast(call, call.value(i), x.type.dtype), rank) for i in (1, 2)))
    y = Silu()(y, loc=call.loc) if call.int("activation") else y
    return channels_last(call, y) if last else y


def lower_bias_add(call: OnnxCall) -> Value:
    """BiasAdd-1: x + bias + skip."""
    biased = Add()(call.value(0), call.value(1), loc=call.loc)
    return Add()(biased, call.value(2), loc=call.loc)


LOWERINGS: tuple[Lowering, ...] = (
    Lowering("FusedConv", 1, lower_fused_conv, MICROSOFT),
    Lowering("FusedGemm", 1, lower_fused_gemm, MICROSOFT),
    Lowering("FusedMatMul", 1, lower_fused_matmul, MICROSOFT),
    Lowering("TransposeMatMul", 1, lower_fused_matmul, MICROSOFT),
    Lowering("Gelu", 1, unary(Gelu), MICROSOFT),
    Lowering("BiasGelu", 1, lower_bias_gelu, MICROSOFT),
    Lowering("FastGelu", 1, lower_fast_gelu, MICROSOFT),
    Lowering("QuickGelu", 1, with_alpha(Silu, 1.702), MICROSOFT),
    Lowering("BiasSplitGelu", 1, lower_bias_split_gelu, MICROSOFT),
    Lowering("BiasAdd", 1, lower_bias_add, MICROSOFT),
    Lowering("SkipLayerNormalization", 1, lower_skip_layer_normalization, MICROSOFT),
    Lowering("SkipSimplifiedLayerNormalization", 1, lower_skip_simplified_layer_normalization, MICROSOFT),
    Lowering("EmbedLayerNormalization", 1, lower_embed_layer_normalization, MICROSOFT),
    Lowering("GroupNorm", 1, lower_group_norm, MICROSOFT),
)
