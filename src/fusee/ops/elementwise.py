"""Ops on one operand, element by element: arithmetic, roots, exponentials, trigonometry, rounding, tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fusee.base.types import BOOL, Array
from fusee.ops.activations import (
    ACTIVATION_OPS,
    Celu,
    Elu,
    Gelu,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    Mish,
    Relu,
    Selu,
    Shrink,
    Sigmoid,
    Silu,
    Softplus,
    Softsign,
    ThresholdedRelu,
)
from fusee.ops.cast import CAST_OPS, BitCast, Cast
from fusee.ops.element import FLOAT_SAMPLES, INTEGERS, NUMBERS, SIGNED, Elementwise, Predicate, Unary, on_each
from fusee.ops.erf import erf


@dataclass(frozen=True)
class Abs(Unary):
    """Magnitude: |x|. The least signed integer stays as it is. ONNX Abs-13."""

    accepts = NUMBERS

    def function(self, x: Array) -> Any:
        return np.abs(x)


@dataclass(frozen=True)
class Neg(Unary):
    """Negation: -x; integers wrap around. ONNX Neg-13."""

    accepts = SIGNED

    def function(self, x: Array) -> Any:
        return np.negative(x)


@dataclass(frozen=True)
class Sign(Unary):
    """-1, 0 or 1 by the sign of x; NaN stays NaN. ONNX Sign-13."""

    accepts = NUMBERS

    def function(self, x: Array) -> Any:
        return np.sign(x)


@dataclass(frozen=True)
class Sqrt(Unary):
    """Square root; NaN below 0. ONNX Sqrt-13."""

    sample_range = (0.0, 9.0)

    def function(self, x: Array) -> Any:
        return np.sqrt(x)


@dataclass(frozen=True)
class Reciprocal(Unary):
    """1 / x. ONNX Reciprocal-13."""

    def function(self, x: Array) -> Any:
        return 1 / x


@dataclass(frozen=True)
class Exp(Unary):
    """e to the power of x. ONNX Exp-13."""

    def function(self, x: Array) -> Any:
        return np.exp(x)


@dataclass(frozen=True)
class Log(Unary):
    """Natural logarithm; NaN below 0, -inf at 0. ONNX Log-13."""

    sample_range = (1e-3, 20.0)

    def function(self, x: Array) -> Any:
        return np.log(x)


@dataclass(frozen=True)
class Sin(Unary):
    """Sine of an angle in radians. ONNX Sin-7."""

    def function(self, x: Array) -> Any:
        return np.sin(x)


@dataclass(frozen=True)
class Cos(Unary):
    """Cosine of an angle in radians. ONNX Cos-7."""

    def function(self, x: Array) -> Any:
        return np.cos(x)


@dataclass(frozen=True)
class Tan(Unary):
    """Tangent of an angle in radians. ONNX Tan-7."""

    sample_range = (-1.4, 1.4)

    def function(self, x: Array) -> Any:
        return np.tan(x)


@dataclass(frozen=True)
class Asin(Unary):
    """Angle whose sine is x; NaN outside of [-1, 1]. ONNX Asin-7."""

    sample_range = (-1.0, 1.0)

    def function(self, x: Array) -> Any:
        return np.arcsin(x)


@dataclass(frozen=True)
class Acos(Unary):
    """Angle whose cosine is x; NaN outside of [-1, 1]. ONNX Acos-7."""

    sample_range = (-1.0, 1.0)

    def function(self, x: Array) -> Any:
        return np.arccos(x)


@dataclass(frozen=True)
class Atan(Unary):
    """Angle whose tangent is x. ONNX Atan-7."""

    def function(self, x: Array) -> Any:
        return np.arctan(x)


@dataclass(frozen=True)
class Sinh(Unary):
    """Hyperbolic sine. ONNX Sinh-9."""

    def function(self, x: Array) -> Any:
        return np.sinh(x)


@dataclass(frozen=True)
class Cosh(Unary):
    """Hyperbolic cosine. ONNX Cosh-9."""

    def function(self, x: Array) -> Any:
        return np.cosh(x)


@dataclass(frozen=True)
class Tanh(Unary):
    """Hyperbolic tangent. ONNX Tanh-13."""

    def function(self, x: Array) -> Any:
        return np.tanh(x)


@dataclass(frozen=True)
class Asinh(Unary):
    """Inverse of the hyperbolic sine. ONNX Asinh-9."""

    def function(self, x: Array) -> Any:
        return np.arcsinh(x)


@dataclass(frozen=True)
class Acosh(Unary):
    """Inverse of the hyperbolic cosine; NaN below 1. ONNX Acosh-9."""

    sample_range = (1.0, 20.0)

    def function(self, x: Array) -> Any:
        return np.arccosh(x)


@dataclass(frozen=True)
class Atanh(Unary):
    """Inverse of the hyperbolic tangent; NaN outside of [-1, 1]. ONNX Atanh-9."""

    sample_range = (-0.99, 0.99)

    def function(self, x: Array) -> Any:
        return np.arctanh(x)


@dataclass(frozen=True)
class Erf(Unary):
    """Error function: 2/sqrt(pi) times the integral of exp(-t**2) from 0 to x. ONNX Erf-13."""

    def function(self, x: Array) -> Any:
        return erf(x)


@dataclass(frozen=True)
class Floor(Unary):
    """The largest whole number not above x. ONNX Floor-13."""

    def function(self, x: Array) -> Any:
        return np.floor(x)


@dataclass(frozen=True)
class Ceil(Unary):
    """The smallest whole number not below x. ONNX Ceil-13."""

    def function(self, x: Array) -> Any:
        return np.ceil(x)


@dataclass(frozen=True)
class Round(Unary):
    """The nearest whole number; halves go to the even one. ONNX Round-11."""

    def function(self, x: Array) -> Any:
        return np.rint(x)


@dataclass(frozen=True)
class Not(Unary):
    """Logical negation of a bool. ONNX Not-1."""

    accepts = (BOOL,)

    def function(self, x: Array) -> Any:
        return np.logical_not(x)


@dataclass(frozen=True)
class BitNot(Unary):
    """Every bit of an integer inverted. ONNX BitwiseNot-18."""

    accepts = INTEGERS

    def function(self, x: Array) -> Any:
        return np.invert(x)


@dataclass(frozen=True)
class IsNan(Predicate):
    """Whether x is not a number. ONNX IsNaN-13."""

    def function(self, x: Array) -> Any:
        return np.isnan(x)


@dataclass(frozen=True)
class IsInf(Predicate):
    """Whether x is infinite, of the signs asked for. ONNX IsInf-10."""

    positive: bool = True
    negative: bool = True

    def function(self, x: Array) -> Any:
        return (np.isposinf(x) & self.positive) | (np.isneginf(x) & self.negative)


_FLOAT_OPS: tuple[type[Unary], ...] = (
    *(Sqrt, Reciprocal, Exp, Log, Sin, Cos, Tan, Asin, Acos, Atan, Sinh, Cosh, Tanh, Asinh, Acosh, Atanh),
    *(Erf, Floor, Ceil, Round),
)
for _op in _FLOAT_OPS:
    _op.samples = on_each(_op(), *FLOAT_SAMPLES)
Abs.samples = on_each(Abs(), *FLOAT_SAMPLES, "i64[5]", "i32[3,3]", "i8[17]", "u8[17]")
Neg.samples = on_each(Neg(), *FLOAT_SAMPLES, "i64[5]", "i32[3,3]", "i8[17]")
Sign.samples = on_each(Sign(), *FLOAT_SAMPLES, "i64[5]", "i32[3,3]", "u8[17]")
Not.samples = on_each(Not(), "bool[3,17]", "bool[]")
BitNot.samples = on_each(BitNot(), "i64[5]", "i32[3,3]", "u16[7]", "u8[17]")
IsNan.samples = on_each(IsNan(), "f32[3,17]", "f16[5]")
IsInf.samples = (*on_each(IsInf(), "f32[3,17]", "f16[5]"), *on_each(IsInf(positive=False), "f32[7]"))

ELEMENTWISE_OPS: tuple[type[Elementwise], ...] = (
    *(Abs, Neg, Sign, Not, BitNot, IsNan, IsInf),
    *_FLOAT_OPS,
    *ACTIVATION_OPS,
    *CAST_OPS,
)

__all__ = [
    "ELEMENTWISE_OPS",
    "Abs",
    "Acos",
    "Acosh",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "BitCast",
    "BitNot",
    "Cast",
    "Ceil",
    "Celu",
    "Cos",
    "Cosh",
    "Elementwise",
    "Elu",
    "Erf",
    "Exp",
    "Floor",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "IsInf",
    "IsNan",
    "LeakyRelu",
    "Log",
    "Mish",
    "Neg",
    "Not",
    "Reciprocal",
    "Relu",
    "Round",
    "Selu",
    "Shrink",
    "Sigmoid",
    "Sign",
    "Silu",
    "Sin",
    "Sinh",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
]
