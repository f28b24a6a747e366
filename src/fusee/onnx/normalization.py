"""Lowerings of normalisations: the normalising op, then scale and shift of their own."""

from __future__ import annotations

from fusee.base.types import DType
from fusee.ir.graph import Value, const
from fusee.onnx.axes import normal_axis
from fusee.onnx.call import Lowering, OnnxCall
from fusee.onnx.math import cast
from fusee.ops.binary import Add, Div, Equal, Mul, Sub, Where
from fusee.ops.elementwise import Reciprocal, Sqrt
from fusee.ops.reduce import Lrn, Normalize, Reduce
from fusee.ops.shape import Reshape

_SQUARED_GUARD = 1e-18  # MeanVarianceNormalization adds 1e-9 to the standard deviation


def per_channel(call: OnnxCall, parameter: Value, rank: int) -> Value:
    """A parameter of shape [C] shaped to broadcast along axis 1 of a tensor of that rank."""
    if rank == 1:
        return parameter
    return Reshape((parameter.type.shape[0], *(1,) * (rank - 2)))(parameter, loc=call.loc)


def scaled(call: OnnxCall, x: Value, scale: Value, shift: Value | None) -> Value:
    """x * scale + shift."""
    y = Mul()(x, scale, loc=call.loc)
    return y if shift is None else Add()(y, shift, loc=call.loc)


def lower_batch_normalization(call: OnnxCall) -> tuple[Value | None, ...]:
    """BatchNormalization-7..15: with the statistics given, or in training mode those of the batch."""
    if call.int("spatial", 1) != 1:
        call.refuse("spatial=0; export it with statistics per channel")
    if call.int("training_mode", 0):
        return _batch_statistics(call)
    return (_batch_normalized(call, call.value(3), call.value(4)),)


def _batch_normalized(call: OnnxCall, mean: Value, variance: Value) -> Value:
    """x * factor + shift, computed in the type of the parameters; both are constants when the parameters are."""
    x, scale, bias = (call.value(i) for i in range(3))
    loc, rank, wide = call.loc, x.type.rank, mean.type.dtype
    root = Sqrt()(Add()(variance, const(call.float("epsilon", 1e-5), wide), loc=loc), loc=loc)
    factor = Div()(cast(call, scale, wide), root, loc=loc)
    shift = Sub()(cast(call, bias, wide), Mul()(mean, factor, loc=loc), loc=loc)
    y = scaled(call, cast(call, x, wide), *(per_channel(call, p, rank) for p in (factor, shift)))
    return cast(call, y, x.type.dtype)


def _batch_statistics(call: OnnxCall) -> tuple[Value, ...]:
    x, loc = cast(call, call.value(0), call.type(3).dtype), call.loc
    axes = tuple(i for i in range(x.type.rank) if i != 1)
    mean = Reduce("mean", axes, keepdims=False)(x, loc=loc)
    away = Sub()(x, per_channel(call, mean, x.type.rank), loc=loc)
    variance = Reduce("mean", axes, keepdims=False)(Mul()(away, away, loc=loc), loc=loc)
    y = _batch_normalized(call, mean, variance)
    kept = const(call.float("momentum", 0.9), mean.type.dtype)
    taken = const(1 - call.float("momentum", 0.9), mean.type.dtype)
    old = (call.value(3), call.value(4))
    pairs = zip(old, (mean, variance), strict=True)
    return (y, *[Add()(Mul()(o, kept, loc=loc), Mul()(n, taken, loc=loc), loc=loc) for o, n in pairs])


def lower_instance_normalization(call: OnnxCall) -> Value:
    """InstanceNormalization-1..22: each channel of each image by itself."""
    x = call.value(0)
    rank = x.type.rank
    y = Normalize(tuple(range(2, rank)), call.float("epsilon", 1e-5))(x, loc=call.loc)
    return scaled(call, y, per_channel(call, call.value(1), rank), per_channel(call, call.value(2), rank))


def lower_layer_normalization(call: OnnxCall) -> tuple[Value | None, ...]:
    """LayerNormalization-17, and what ONNX Runtime calls so in older opsets: over all axes from one on."""
    x = call.value(0)
    axes = _axes_from(call, x)
    y = Normalize(axes, call.float("epsilon", 1e-5))(x, loc=call.loc)
    y = scaled(call, y, call.value(1), call.optional(2))
    mean, inverse = layer_statistics(call, x, axes) if call.wants(1) or call.wants(2) else (None, None)
    return y, mean, inverse


def layer_statistics(call: OnnxCall, x: Value, axes: tuple[int, ...]) -> tuple[Value, Value]:
    """The mean, and the reciprocal of the standard deviation, in f32 at least."""
    loc = call.loc
    wide = cast(call, x, x.type.dtype if x.type.dtype is DType.F64 else DType.F32)
    mean = Reduce("mean", axes, keepdims=True)(wide, loc=loc)
    away = Sub()(wide, mean, loc=loc)
    variance = Reduce("mean", axes, keepdims=True)(Mul()(away, away, loc=loc), loc=loc)
    epsilon = const(call.float("epsilon", 1e-5), wide.type.dtype)
    return mean, Reciprocal()(Sqrt()(Add()(variance, epsilon, loc=loc), loc=loc), loc=loc)


def _axes_from(call: OnnxCall, x: Value) -> tuple[int, ...]:
    return tuple(range(normal_axis(call, call.int("axis", -1), x.type.rank), x.type.rank))


def lower_rms_normalization(call: OnnxCall) -> Value:
    """RMSNormalization-23; ONNX Runtime's SimplifiedLayerNormalization is the same."""
    x = call.value(0)
    y = Normalize(_axes_from(call, x), call.float("epsilon", 1e-5), center=False)(x, loc=call.loc)
    return cast(call, Mul()(y, cast(call, call.value(1), y.type.dtype), loc=call.loc), call.type(1).dtype)


def lower_group_normalization(call: OnnxCall) -> Value:
    """GroupNormalization-18..21: before 21 scale and shift are per group, since then per channel."""
    x = call.value(0)
    groups, rank = call.int("num_groups"), x.type.rank
    batch, channels, *spatial = x.type.shape
    split = Reshape((batch, groups, channels // groups, *spatial))(x, loc=call.loc)
    y = Normalize(tuple(range(2, rank + 1)), call.float("epsilon", 1e-5))(split, loc=call.loc)
    scale, shift = call.value(1), call.value(2)
    if call.version < 21:
        y = scaled(call, y, per_channel(call, scale, rank + 1), per_channel(call, shift, rank + 1))
        return Reshape(x.type.shape)(y, loc=call.loc)
    y = Reshape(x.type.shape)(y, loc=call.loc)
    return scaled(call, y, per_channel(call, scale, rank), per_channel(call, shift, rank))


def lower_lp_normalization(call: OnnxCall) -> Value:
    """LpNormalization-1..22: what has no length stays 0."""
    x, p = call.value(0), call.int("p", 2)
    if p not in (1, 2):
        call.refuse(f"p is {p}; expected 1 or 2")
    axis = normal_axis(call, call.int("axis", -1), x.type.rank)
    length = Reduce(f"l{p}", (axis,), keepdims=True)(x, loc=call.loc)
    zero, one = const(0, x.type.dtype), const(1, x.type.dtype)
    divisor = Where()(Equal()(length, zero, loc=call.loc), one, length, loc=call.loc)
    return Div()(x, divisor, loc=call.loc)


def lower_mean_variance_normalization(call: OnnxCall) -> Value:
    """MeanVarianceNormalization-9..13."""
    x = call.value(0)
    axes = tuple(normal_axis(call, a, x.type.rank) for a in call.ints("axes", (0, 2, 3)))
    return Normalize(axes, _SQUARED_GUARD)(x, loc=call.loc)


def lower_lrn(call: OnnxCall) -> Value:
    """LRN-1..13."""
    op = Lrn(call.int("size"), call.float("alpha", 1e-4), call.float("beta", 0.75), call.float("bias", 1.0))
    return op(call.value(0), loc=call.loc)


LOWERINGS: tuple[Lowering, ...] = (
    Lowering("BatchNormalization", 7, lower_batch_normalization),
    Lowering("InstanceNormalization", 1, lower_instance_normalization),
    Lowering("LayerNormalization", 1, lower_layer_normalization),
    Lowering("RMSNormalization", 23, lower_rms_normalization),
    Lowering("SimplifiedLayerNormalization", 1, lower_rms_normalization),
    Lowering("GroupNormalization", 18, lower_group_normalization),
    Lowering("LpNormalization", 1, lower_lp_normalization),
    Lowering("MeanVarianceNormalization", 9, lower_mean_variance_normalization),
    Lowering("LRN", 1, lower_lrn),
)
