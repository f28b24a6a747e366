"""Arithmetic with constants: neutral elements go, chains of constants merge, costly forms become cheap ones.

After these rules Sub and Div by a float constant are Add and Mul, with the constant on the right, so that later rules
need to know one spelling.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fusee.base.types import Array
from fusee.ir.graph import Value, const_array
from fusee.ir.pattern import Known, Pat, fits, need
from fusee.ir.rewrite import rule
from fusee.ops.activations import Relu
from fusee.ops.binary import Add, Div, Max, Mul, Pow, Sub, Where
from fusee.ops.conv_variants import ConvTranspose
from fusee.ops.elementwise import Reciprocal, Sqrt
from fusee.ops.linear import Conv, MatMul
from fusee.passes.known import is_const, like, uniform, widened

LINEAR = (Conv, ConvTranspose, MatMul)  # a scale folds into their weights


@rule(Pat((Mul, Add, Max), Known("c"), "x"))
def constant_on_the_right(root: Value, c: Value, x: Value) -> Value:
    fits(not is_const(x))
    return root.op(x, c)


@rule(Pat((Mul, Div), "x", Known("c", near=1.0)))
def times_one(root: Value, c: Value, x: Value) -> Value:
    fits(uniform(c) == 1.0)
    need(x.type == root.type, f"x is {x.type} and is broadcast to {root.type}")
    return x


@rule(Pat((Add, Sub), "x", Known("c")))
def plus_zero(root: Value, c: Value, x: Value) -> Value:
    fits(uniform(c) == 0.0)
    need(x.type == root.type, f"x is {x.type} and is broadcast to {root.type}")
    return x


@rule(Pat(Sub, "x", Known("c")))
def minus_constant(root: Value, x: Value, c: Value) -> Value:
    """x - c = x + (-c), for floats."""
    fits(root.type.dtype.is_float and not is_const(x))
    return Add()(x, like(-widened(_array(c)), c))


@rule(Pat(Div, "x", Known("c")))
def divided_by_constant(root: Value, x: Value, c: Value) -> Value:
    """x / c = x * (1/c), for floats whose reciprocal is an ordinary number.

    Not for whole numbers whose reciprocal is rounded: 49 * (1/49) is less than 1, and a floor may follow.
    """
    fits(root.type.dtype.is_float and not is_const(x))
    divisor = widened(_array(c))
    exact = np.frexp(divisor)[0] == 0.5
    need(
        bool(np.all(exact | (divisor != np.round(divisor)))) or isinstance(x.op, LINEAR), "1/c of a whole c is rounded"
    )
    with np.errstate(divide="ignore"):
        inverse = like(1.0 / divisor, c)
    size = np.abs(widened(_array(inverse)))
    need(bool(np.all(np.isfinite(size) & (size > 1e-30))), "1/c overflows or loses precision")
    return Mul()(x, inverse)


@rule(Pat(Sub, Known("c"), "x"))
def constant_minus(root: Value, c: Value, x: Value) -> Value:
    """c - x = -x + c, so that what is done to x before and after can merge."""
    fits(root.type.dtype.is_float and not is_const(x) and isinstance(x.op, Mul) and is_const(x.operands[1]))
    factor = x.operands[1]
    return Add()(Mul()(x.operands[0], like(-widened(_array(factor)), factor)), c)


@rule(Pat(Mul, Pat(Mul, "x", Known("a")), Known("b")))
def scales_merge(root: Value, x: Value, a: Value, b: Value) -> Value:
    """(x * a) * b = x * (a * b)."""
    fits(root.type.dtype.is_float)
    return Mul()(x, _merged(root, a, b, widened(_array(a)) * widened(_array(b))))


@rule(Pat(Add, Pat(Add, "x", Known("a")), Known("b")))
def offsets_merge(root: Value, x: Value, a: Value, b: Value) -> Value:
    """(x + a) + b = x + (a + b)."""
    fits(root.type.dtype.is_float)
    return Add()(x, _merged(root, a, b, widened(_array(a)) + widened(_array(b))))


@rule(Pat(Mul, Pat(Add, "x", Known("a")), Known("b")))
def scale_before_offset(root: Value, x: Value, a: Value, b: Value) -> Value:
    """(x + a) * b = x * b + a * b, when x is itself scaled, or comes from something that a scale can fold into."""
    fits(root.type.dtype.is_float)
    scaled = isinstance(x.op, Mul) and is_const(x.operands[1])
    need(scaled or isinstance(x.op, LINEAR), f"x comes from {type(x.op).__name__}, which takes in no scale")
    offset = _merged(root, a, b, widened(_array(a)) * widened(_array(b)))
    return Add()(Mul()(x, b), offset)


POWERS: dict[float, Callable[[Value], Value]] = {
    1.0: lambda x: x,
    2.0: lambda x: Mul()(x, x),
    0.5: lambda x: Sqrt()(x),
    -1.0: lambda x: Reciprocal()(x),
    -0.5: lambda x: Reciprocal()(Sqrt()(x)),
}


@rule(Pat(Pow, "x", Known("c")))
def small_power(root: Value, x: Value, c: Value) -> Value:
    """x**2, x**1, x**0.5, x**-1 and x**-0.5 by cheaper ops."""
    fits(root.type == x.type and root.type.dtype.is_float)
    power = uniform(c)
    build = POWERS.get(power) if power is not None else None
    need(build is not None, f"the power is {power}")
    assert build is not None
    return build(x)


@rule(Pat(Max, "x", Known("c")))
def max_with_zero(root: Value, x: Value, c: Value) -> Value:
    """max(x, 0) is Relu."""
    fits(uniform(c) == 0.0 and x.type == root.type and root.type.dtype.is_float)
    return Relu()(x)


@rule(Pat(Where, Known("cond"), "a", "b"))
def where_known(root: Value, cond: Value, a: Value, b: Value) -> Value:
    """A condition that is the same everywhere chooses at build."""
    array = _array(cond)
    fits(array.size > 0 and bool((array == array.reshape(-1)[0]).all()))
    chosen = a if array.reshape(-1)[0] else b
    need(chosen.type == root.type, f"the chosen operand is {chosen.type} and is broadcast to {root.type}")
    return chosen


def _array(value: Value) -> Array:
    array = const_array(value)
    assert array is not None
    return array


def _merged(root: Value, a: Value, b: Value, array: Array) -> Value:
    """The combination of two constants, unless it is larger than both."""
    sizes = [_array(a).size, _array(b).size]
    need(array.size <= max(*sizes, 1), f"the merged constant would have {array.size} elements, from {sizes}")
    return like(array, a)


ALGEBRA = (
    constant_on_the_right,
    times_one,
    plus_zero,
    minus_constant,
    divided_by_constant,
    constant_minus,
    scales_merge,
    offsets_merge,
    scale_before_offset,
    small_power,
    max_with_zero,
    where_known,
)
