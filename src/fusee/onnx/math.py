"""Lowerings of what is computed element by element: arithmetic, activations, logic, comparison, casts."""

from __future__ import annotations

from collections.abc import Callable

from fusee.base.types import DType
from fusee.ir.graph import Op, Value, const
from fusee.onnx.axes import scalar
from fusee.onnx.call import Lowering, LoweringFunction, OnnxCall
from fusee.onnx.loader import element_type
from fusee.ops import binary as b
from fusee.ops import elementwise as e
from fusee.ops.shape import Full

GELU_KINDS = ("none", "tanh")


def unary(make: Callable[[], Op]) -> LoweringFunction:
    """A lowering to one op on the only input."""
    return lambda call: make()(call.value(0), loc=call.loc)


def binary(make: Callable[[], Op]) -> LoweringFunction:
    """A lowering to one op on both inputs."""
    return lambda call: make()(call.value(0), call.value(1), loc=call.loc)


def chained(make: Callable[[], Op]) -> LoweringFunction:
    """A lowering to an op on the first two inputs, on that and the third, and so on."""

    def lower(call: OnnxCall) -> Value:
        first, *rest = call.values()
        for value in rest:
            first = make()(first, value, loc=call.loc)
        return first

    return lower


def with_alpha(make: Callable[[float], Op], default: float) -> LoweringFunction:
    """A lowering to an op whose one attribute is ``alpha``."""
    return lambda call: make(call.float("alpha", default))(call.value(0), loc=call.loc)


def lower_mean(call: OnnxCall) -> Value:
    """Mean-8..13: of any number of tensors."""
    total = chained(b.Add)(call)
    assert isinstance(total, Value)
    return b.Div()(total, const(len(call.inputs), total.type.dtype), loc=call.loc)


def lower_selu(call: OnnxCall) -> Value:
    """Selu-1..22; version 1 had rounder constants."""
    early = call.version < 6
    alpha = call.float("alpha", 1.6732 if early else 1.67326319217681884765625)
    gamma = call.float("gamma", 1.0507 if early else 1.05070102214813232421875)
    return e.Selu(alpha, gamma)(call.value(0), loc=call.loc)


def lower_hard_sigmoid(call: OnnxCall) -> Value:
    """HardSigmoid-1..22."""
    return e.HardSigmoid(call.float("alpha", 0.2), call.float("beta", 0.5))(call.value(0), loc=call.loc)


def lower_shrink(call: OnnxCall) -> Value:
    """Shrink-9: of integers too, which compute in f32."""
    x = call.value(0)
    op = e.Shrink(call.float("lambd", 0.5), call.float("bias", 0.0))
    if x.type.dtype.is_float:
        return op(x, loc=call.loc)
    return e.Cast(x.type.dtype)(op(e.Cast(DType.F32)(x, loc=call.loc), loc=call.loc), loc=call.loc)


def lower_gelu(call: OnnxCall) -> Value:
    """Gelu-20."""
    kind = call.string("approximate", "none")
    if kind not in GELU_KINDS:
        call.refuse(f"approximate {kind!r}; expected one of {', '.join(GELU_KINDS)}")
    return e.Gelu(approximate=kind == "tanh")(call.value(0), loc=call.loc)


def lower_is_inf(call: OnnxCall) -> Value:
    """IsInf-10..20."""
    op = e.IsInf(bool(call.int("detect_positive", 1)), bool(call.int("detect_negative", 1)))
    return op(call.value(0), loc=call.loc)


def lower_mod(call: OnnxCall) -> Value:
    """Mod-10..28."""
    return b.Mod(bool(call.int("fmod", 0)))(call.value(0), call.value(1), loc=call.loc)


def lower_bit_shift(call: OnnxCall) -> Value:
    """BitShift-11..28."""
    return b.BitShift(call.string("direction") == "LEFT")(call.value(0), call.value(1), loc=call.loc)


def lower_pow(call: OnnxCall) -> Value:
    """Pow-7..15: the result has the type of the base; an integer to a float power goes through f64.

    A whole power may come out one rounding below the integer, and must not lose a unit when its fraction is dropped.
    """
    base, exponent = call.value(0), call.value(1)
    dtype = base.type.dtype
    if dtype.is_float or exponent.type.dtype.is_integer:
        return b.Pow()(base, cast(call, exponent, dtype), loc=call.loc)
    power = b.Pow()(cast(call, base, DType.F64), cast(call, exponent, DType.F64), loc=call.loc)
    return cast(call, b.Mul()(power, const(1 + 2.0**-48, DType.F64)), dtype)


def lower_where(call: OnnxCall) -> Value:
    """Where-9..16."""
    return b.Where()(call.value(0), call.value(1), call.value(2), loc=call.loc)


def lower_clip_6(call: OnnxCall) -> Value:
    """Clip-1..6: the limits are attributes."""
    x = call.value(0)
    low, high = (const(call.float(n), x.type.dtype) if call.has_attribute(n) else None for n in ("min", "max"))
    return clip(call, x, low, high)


def lower_clip(call: OnnxCall) -> Value:
    """Clip-11..13: the limits are inputs."""
    return clip(call, call.value(0), call.optional(1), call.optional(2))


def clip(call: OnnxCall, x: Value, low: Value | None, high: Value | None) -> Value:
    """x limited from below and above; where the limits cross, the upper one wins."""
    if low is not None:
        x = b.Max()(x, scalar(low, call.loc), loc=call.loc)
    if high is not None:
        x = b.Min()(x, scalar(high, call.loc), loc=call.loc)
    return x


def cast(call: OnnxCall, x: Value, to: DType) -> Value:
    """x in another element type; x itself when it has it."""
    return x if x.type.dtype is to else e.Cast(to)(x, loc=call.loc)


def _cast_to(call: OnnxCall, to: DType) -> Value:
    x = call.value(0)
    op = e.Cast(to, bool(call.int("saturate", 1)), call.string("round_mode", "up"))
    return x if x.type.dtype is to else op(x, loc=call.loc)


def lower_cast(call: OnnxCall) -> Value:
    """Cast-6..28."""
    return _cast_to(call, element_type(call.int("to"), call.where))


def lower_cast_like(call: OnnxCall) -> Value:
    """CastLike-15..25."""
    return _cast_to(call, call.type(1).dtype)


def lower_bit_cast(call: OnnxCall) -> Value:
    """BitCast-26."""
    return e.BitCast(element_type(call.int("to"), call.where))(call.value(0), loc=call.loc)


def lower_dropout(call: OnnxCall) -> tuple[Value | None, ...]:
    """Dropout-7..22: nothing is dropped in inference, so the mask says that all is kept."""
    x = call.value(0)
    if call.has(2) and bool(call.require_const(2, "training_mode").ravel()[0]):
        ratio = call.require_const(1, "the ratio") if call.has(1) else None
        if ratio is None or float(ratio.ravel()[0]) != 0.0:
            call.refuse("training_mode is on; export the model for inference")
    if not call.wants(1):
        return (x,)
    mask = const(True, DType.BOOL if call.version >= 10 else x.type.dtype)
    return x, Full(x.type.shape)(mask, loc=call.loc)


_UNARY: dict[str, Callable[[], Op]] = {
    "Abs": e.Abs,
    "Acos": e.Acos,
    "Acosh": e.Acosh,
    "Asin": e.Asin,
    "Asinh": e.Asinh,
    "Atan": e.Atan,
    "Atanh": e.Atanh,
    "BitwiseNot": e.BitNot,
    "Ceil": e.Ceil,
    "Cos": e.Cos,
    "Cosh": e.Cosh,
    "Erf": e.Erf,
    "Exp": e.Exp,
    "Floor": e.Floor,
    "HardSwish": e.HardSwish,
    "IsNaN": e.IsNan,
    "Log": e.Log,
    "Mish": e.Mish,
    "Neg": e.Neg,
    "Not": e.Not,
    "Reciprocal": e.Reciprocal,
    "Relu": e.Relu,
    "Round": e.Round,
    "Sigmoid": e.Sigmoid,
    "Sign": e.Sign,
    "Sin": e.Sin,
    "Sinh": e.Sinh,
    "Softplus": e.Softplus,
    "Softsign": e.Softsign,
    "Sqrt": e.Sqrt,
    "Tan": e.Tan,
    "Tanh": e.Tanh,
}
_BINARY: dict[str, Callable[[], Op]] = {
    "Add": b.Add,
    "And": b.And,
    "BitwiseAnd": b.BitAnd,
    "BitwiseOr": b.BitOr,
    "BitwiseXor": b.BitXor,
    "Div": b.Div,
    "Equal": b.Equal,
    "Greater": b.Greater,
    "GreaterOrEqual": b.GreaterOrEqual,
    "Less": b.Less,
    "LessOrEqual": b.LessOrEqual,
    "Mul": b.Mul,
    "Or": b.Or,
    "PRelu": b.PRelu,
    "Sub": b.Sub,
    "Xor": b.Xor,
}
LOWERINGS: tuple[Lowering, ...] = (
    *(Lowering(name, 1, unary(op)) for name, op in _UNARY.items()),
    *(Lowering(name, 7, binary(op)) for name, op in _BINARY.items()),
    Lowering("Sum", 6, chained(b.Add)),
    Lowering("Max", 6, chained(b.Max)),
    Lowering("Min", 6, chained(b.Min)),
    Lowering("Mean", 6, lower_mean),
    Lowering("LeakyRelu", 1, with_alpha(e.LeakyRelu, 0.01)),
    Lowering("Elu", 1, with_alpha(e.Elu, 1.0)),
    Lowering("Celu", 12, with_alpha(e.Celu, 1.0)),
    Lowering("ThresholdedRelu", 1, with_alpha(e.ThresholdedRelu, 1.0)),
    Lowering("Swish", 24, with_alpha(e.Silu, 1.0)),
    Lowering("Selu", 1, lower_selu),
    Lowering("HardSigmoid", 1, lower_hard_sigmoid),
    Lowering("Shrink", 9, lower_shrink),
    Lowering("Gelu", 20, lower_gelu),
    Lowering("IsInf", 10, lower_is_inf),
    Lowering("Mod", 10, lower_mod),
    Lowering("BitShift", 11, lower_bit_shift),
    Lowering("Pow", 7, lower_pow),
    Lowering("Where", 9, lower_where),
    Lowering("Clip", 1, lower_clip_6),
    Lowering("Clip", 11, lower_clip),
    Lowering("Cast", 6, lower_cast),
    Lowering("CastLike", 15, lower_cast_like),
    Lowering("BitCast", 26, lower_bit_cast),
    Lowering("Dropout", 7, lower_dropout),
)
