"""Normalisations recognised by what they compute: mean and variance of the same axes, softmax by exp and sum."""

from __future__ import annotations

from fusee.ir.graph import Value
from fusee.ir.pattern import Either, Known, Pat, Pattern, fits, need
from fusee.ir.rewrite import rule
from fusee.ops.binary import Add, Div, Mul, Sub
from fusee.ops.elementwise import Exp, Reciprocal, Sqrt
from fusee.ops.reduce import Normalize, Reduce, Softmax
from fusee.passes.known import uniform


def _over_root(top: Pattern, variance: Pattern) -> Either:
    """top / sqrt(variance + eps), by a division or a product with the reciprocal."""
    root = Pat(Sqrt, Pat(Add, variance, Known("eps")))
    return Either(Pat(Div, top, root), Pat(Mul, top, Pat(Reciprocal, root), commutative=True))


_DEVIATION = Pat(Sub, "x", Pat(Reduce, "x", name="mean"), name="d")


@rule(_over_root(_DEVIATION, Pat(Reduce, Pat(Mul, "d", "d"), name="variance")))
def layer_norm(root: Value, x: Value, mean: Value, variance: Value, eps: Value) -> Value:
    """(x - mean(x)) / sqrt(mean((x - mean(x))**2) + eps)."""
    return Normalize(_mean_axes(mean, variance), _epsilon(eps))(x)


@rule(_over_root("x", Pat(Reduce, Pat(Mul, "x", "x"), name="square")))
def rms_norm(root: Value, x: Value, square: Value, eps: Value) -> Value:
    """x / sqrt(mean(x**2) + eps)."""
    return Normalize(_mean_axes(square, square), _epsilon(eps), center=False)(x)


def _mean_axes(mean: Value, variance: Value) -> tuple[int, ...]:
    """The axes of two means that keep their axes."""
    first, second = mean.op, variance.op
    assert isinstance(first, Reduce)
    assert isinstance(second, Reduce)
    need(first.kind == second.kind == "mean", f"the reductions are {first.kind} and {second.kind}, not means")
    need(first.keepdims and second.keepdims, "the means drop their axes")
    axes = sorted(first.axes)
    need(axes == sorted(second.axes), f"mean over {axes}, variance over {sorted(second.axes)}")
    return tuple(axes)


def _epsilon(eps: Value) -> float:
    epsilon = uniform(eps)
    need(epsilon is not None, "epsilon is not one number")
    return epsilon or 0.0


@rule(Pat(Div, Pat(Exp, "x", name="e"), Pat(Reduce, "e", name="total")))
def softmax(root: Value, x: Value, total: Value) -> Value:
    """exp(x - max(x)) / sum(exp(x - max(x))); Softmax takes the maximum out by itself."""
    assert isinstance(total.op, Reduce)
    source = x
    fits(total.op.kind == "sum")
    need(total.op.keepdims and len(total.op.axes) == 1, "the sum is not over one kept axis")
    if isinstance(x.op, Sub) and _is_maximum(x.operands[1], x.operands[0], total.op.axes):
        source = x.operands[0]
    return Softmax(total.op.axes[0])(source)


def _is_maximum(value: Value, x: Value, axes: tuple[int, ...]) -> bool:
    return value.op == Reduce("max", axes, True) and value.operands == (x,)


NORMS = (layer_norm, rms_norm, softmax)
