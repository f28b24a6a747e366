"""Activation functions recognised by what they compute, however an exporter spelled them.

These rules read the spelling that ``algebra`` leaves: constants on the right, no Sub and hardly a Div by a constant.
"""

from __future__ import annotations

from math import pi, sqrt

from fusee.ir.graph import Value
from fusee.ir.pattern import Either, Known, Pat, Pattern, fits
from fusee.ir.rewrite import rule
from fusee.ops.activations import Gelu, HardSigmoid, HardSwish, Mish, Relu, Sigmoid, Silu, Softplus
from fusee.ops.binary import Add, Div, Max, Min, Mul, Pow
from fusee.ops.elementwise import Erf, Exp, Log, Neg, Reciprocal, Tanh
from fusee.passes.known import uniform


def _half_of_one_plus(inner: Pattern) -> Either:
    """x * 0.5 * (1 + inner), in every order of the products."""
    one_more = Pat(Add, inner, Known(near=1.0))
    return Either(
        Pat(Mul, Pat(Mul, "x", one_more, commutative=True), Known(near=0.5)),
        Pat(Mul, Pat(Mul, "x", Known(near=0.5)), one_more, commutative=True),
        Pat(Mul, "x", Pat(Add, Pat(Mul, inner, Known(near=0.5)), Known(near=0.5)), commutative=True),
        Pat(Mul, "x", Pat(Mul, one_more, Known(near=0.5)), commutative=True),
    )


@rule(_half_of_one_plus(Pat(Erf, Pat(Mul, "x", Known(near=1 / sqrt(2))))))
def gelu_by_erf(x: Value) -> Value:
    """x * 0.5 * (1 + erf(x / sqrt(2)))."""
    return Gelu()(x)


_CUBE = Either(Pat(Pow, "x", Known(near=3.0)), Pat(Mul, "x", Pat(Mul, "x", "x"), commutative=True))
_BENT = Pat(Add, "x", Pat(Mul, _CUBE, Known(near=0.044715)), commutative=True)
_FACTORED = Pat(Add, Pat(Mul, Pat(Mul, "x", "x"), Known(near=0.044715)), Known(near=1.0))
_TANH_ARGUMENT = Either(
    Pat(Mul, _BENT, Known(near=sqrt(2 / pi))),
    Pat(Mul, Pat(Mul, "x", Known(near=sqrt(2 / pi))), _FACTORED, commutative=True),
    Pat(Mul, Pat(Mul, "x", _FACTORED, commutative=True), Known(near=sqrt(2 / pi))),
)


@rule(_half_of_one_plus(Pat(Tanh, _TANH_ARGUMENT)))
def gelu_by_tanh(x: Value) -> Value:
    """x * 0.5 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 * x**3)))."""
    return Gelu(approximate=True)(x)


@rule(
    Either(
        Pat(Reciprocal, Pat(Add, Pat(Exp, Pat(Neg, "x")), Known(near=1.0))),
        Pat(Div, Known(near=1.0), Pat(Add, Pat(Exp, Pat(Neg, "x")), Known(near=1.0))),
    )
)
def sigmoid_by_exp(x: Value) -> Value:
    """1 / (1 + exp(-x))."""
    return Sigmoid()(x)


@rule(Pat(Mul, "x", Pat(Sigmoid, "x"), commutative=True))
def silu(x: Value) -> Value:
    """x * sigmoid(x)."""
    return Silu()(x)


@rule(Pat(Mul, "x", Pat(Sigmoid, Pat(Mul, "x", Known("alpha"))), commutative=True))
def scaled_silu(x: Value, alpha: Value) -> Value:
    """x * sigmoid(alpha * x), the quick GELU among them."""
    factor = uniform(alpha)
    fits(factor is not None)
    return Silu(alpha=factor or 0.0)(x)


_THREE_MORE = Pat(Add, "x", Known(near=3.0))
_RELU6 = Either(
    Pat(Min, Pat(Relu, _THREE_MORE), Known(near=6.0)),
    Pat(Relu, Pat(Min, _THREE_MORE, Known(near=6.0))),
    Pat(Max, Pat(Min, _THREE_MORE, Known(near=6.0)), Known(near=0.0)),
)


def _sixth(whole: Pattern) -> Either:
    return Either(Pat(Mul, whole, Known(near=1 / 6)), Pat(Div, whole, Known(near=6.0)))


@rule(_sixth(_RELU6))
def hard_sigmoid(x: Value) -> Value:
    """clip(x + 3, 0, 6) / 6."""
    return HardSigmoid(alpha=1 / 6, beta=0.5)(x)


@rule(_sixth(Pat(Mul, "x", _RELU6, commutative=True)))
def hard_swish_by_clip(x: Value) -> Value:
    """x * clip(x + 3, 0, 6) / 6."""
    return HardSwish()(x)


@rule(Pat(Mul, "x", Pat(HardSigmoid, "x", name="gate"), commutative=True))
def hard_swish(x: Value, gate: Value) -> Value:
    """x * hard_sigmoid(x), with slope 1/6 and offset 1/2."""
    assert isinstance(gate.op, HardSigmoid)
    fits(abs(gate.op.alpha - 1 / 6) < 1e-6 and gate.op.beta == 0.5)
    return HardSwish()(x)


@rule(Pat(Log, Pat(Add, Pat(Exp, "x"), Known(near=1.0))))
def softplus(x: Value) -> Value:
    """log(1 + exp(x))."""
    return Softplus()(x)


@rule(Pat(Mul, "x", Pat(Tanh, Pat(Softplus, "x")), commutative=True))
def mish(x: Value) -> Value:
    """x * tanh(softplus(x))."""
    return Mish()(x)


ACTIVATIONS = (
    gelu_by_erf,
    gelu_by_tanh,
    sigmoid_by_exp,
    silu,
    scaled_silu,
    hard_sigmoid,
    hard_swish_by_clip,
    hard_swish,
    softplus,
    mish,
)
