"""Lowering of Einsum: pairwise matrix products where the equation allows it."""

from __future__ import annotations

from collections import Counter

from fusee.base.dims import Dim, product
from fusee.ir.graph import Value
from fusee.onnx.call import Lowering, OnnxCall
from fusee.ops.binary import Mul
from fusee.ops.linear import Einsum, MatMul
from fusee.ops.reduce import Reduce
from fusee.ops.shape import Reshape, Transpose

Axes = tuple[str, ...]


def lower_einsum(call: OnnxCall) -> Value:
    """Einsum-12."""
    equation = explicit_equation(call.string("equation"))
    operands = call.values()
    spelled = Einsum(equation).axes(tuple(v.type for v in operands))
    terms, result = [tuple(t) for t in spelled[0]], tuple(spelled[1])
    if len(terms) != len(operands) or any(len(set(t)) < len(t) for t in terms):
        return Einsum(equation)(*operands, loc=call.loc)
    value, axes = operands[0], terms[0]
    for i in range(1, len(operands)):
        later = {a for t in terms[i + 1 :] for a in t} | set(result)
        value, axes = _pair(call, value, axes, operands[i], terms[i], later)
    value, axes = _summed(call, value, axes, set(result))
    return _ordered(call, value, axes, result)


def explicit_equation(equation: str) -> str:
    """The equation with its result written out: without one, the axes that occur once, in alphabetical order."""
    equation = equation.replace(" ", "")
    if "->" in equation:
        return equation
    counts = Counter(c for c in equation if c.isalpha())
    dots = "..." if "..." in equation else ""
    return f"{equation}->{dots}{''.join(sorted(c for c, n in counts.items() if n == 1))}"


def _summed(call: OnnxCall, x: Value, axes: Axes, kept: set[str]) -> tuple[Value, Axes]:
    """Sum over the axes that nobody needs."""
    gone = tuple(i for i, a in enumerate(axes) if a not in kept)
    if not gone:
        return x, axes
    return Reduce("sum", gone, False)(x, loc=call.loc), tuple(a for a in axes if a in kept)


def _ordered(call: OnnxCall, x: Value, axes: Axes, order: Axes) -> Value:
    perm = tuple(axes.index(a) for a in order)
    return x if perm == tuple(range(len(axes))) else Transpose(perm)(x, loc=call.loc)


def _pair(call: OnnxCall, a: Value, a_axes: Axes, b: Value, b_axes: Axes, later: set[str]) -> tuple[Value, Axes]:
    """The product of two values, summed over the axes that both have and nobody needs later."""
    a, a_axes = _summed(call, a, a_axes, later | set(b_axes))
    b, b_axes = _summed(call, b, b_axes, later | set(a_axes))
    batch = tuple(x for x in a_axes if x in b_axes and x in later)
    inner = tuple(x for x in a_axes if x in b_axes and x not in later)
    left = tuple(x for x in a_axes if x not in b_axes)
    right = tuple(x for x in b_axes if x not in a_axes)
    a = _ordered(call, a, a_axes, (*batch, *left, *inner))
    b = _ordered(call, b, b_axes, (*batch, *inner, *right))
    at, sizes = len(batch), (a.type.shape, b.type.shape)
    outer = (*sizes[0][at : at + len(left)], *sizes[1][at + len(inner) :])
    if not inner:
        a = Reshape((*a.type.shape, *[1] * len(right)))(a, loc=call.loc)
        b = Reshape((*sizes[1][:at], *[1] * len(left), *sizes[1][at:]))(b, loc=call.loc)
        return Mul()(a, b, loc=call.loc), (*batch, *left, *right)
    a = _matrix(call, a, at, len(left))
    b = _matrix(call, b, at, len(inner))
    y = MatMul()(a, b, loc=call.loc)
    return Reshape((*y.type.shape[:at], *outer))(y, loc=call.loc), (*batch, *left, *right)


def _matrix(call: OnnxCall, x: Value, batch: int, rows: int) -> Value:
    """Axes after the batch as one matrix: the first ``rows`` of them, and the rest."""
    shape = x.type.shape
    merged: tuple[Dim, ...] = (*shape[:batch], product(shape[batch : batch + rows]), product(shape[batch + rows :]))
    return Reshape(merged)(x, loc=call.loc)


LOWERINGS: tuple[Lowering, ...] = (Lowering("Einsum", 12, lower_einsum),)
