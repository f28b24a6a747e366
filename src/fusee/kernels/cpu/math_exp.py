"""Exponentials, logarithms and what follows from them, on ``float`` and ``double`` vectors.

Errors are a few units in the last place at most. Infinities, NaN and denormal numbers come out as in numpy; no library
is called. ``wide`` computes a float function in double where a float formula would lose digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fusee.kernels.cpu import coefficients as c
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.ssa import Ssa, element_of, literal, mangled, with_element


@dataclass(frozen=True)
class Form:
    """How a float type is laid out, and the polynomials for its precision."""

    integer: str
    mantissa_bits: int
    sqrt_half_bits: int  # the number sqrt(1/2) as an integer
    smallest_normal: float
    ln2_high: float
    ln2_low: float
    exp_range: tuple[float, float]  # outside, exp is 0 or infinite
    exp: tuple[float, ...]
    log: tuple[float, ...]


FORMS = {
    "float": Form(
        "i32", 23, 0x3F3504F3, 2.0**-126, 0.693359375, -2.12194440054690583e-4, (-105.0, 89.5), c.EXP_F32, c.LOG_F32
    ),
    "double": Form(
        "i64",
        52,
        0x3FE6A09E667F3BCD,
        2.0**-1022,
        float.fromhex("0x1.62e42fee00000p-1"),
        1.9082149292705877e-10,
        (-746.0, 710.0),
        c.EXP_F64,
        c.LOG_F64,
    ),
}


def form_of(x: Ssa) -> Form:
    return FORMS[element_of(x.type)]


def number(x: Ssa, value: float) -> Ssa:
    """A constant in each lane, of ``x``'s type."""
    return literal(x.type, value)


def polynomial(e: Emitter, x: Ssa, factors: Sequence[float]) -> Ssa:
    """``factors[0] + factors[1] x + ...`` by Horner's rule."""
    total = number(x, factors[-1])
    for factor in reversed(factors[:-1]):
        total = e.fma(total, x, number(x, factor))
    return total


def wide(function: Callable[[Emitter, Ssa], Ssa], e: Emitter, x: Ssa) -> Ssa:
    """A function computed in double whatever ``x`` is."""
    return e.convert("fptrunc", function(e, e.convert("fpext", x, "double")), element_of(x.type))


def absolute(e: Emitter, x: Ssa) -> Ssa:
    return e.call(f"llvm.fabs.{mangled(x.type)}", x.type, x)


def copy_sign(e: Emitter, x: Ssa, sign: Ssa) -> Ssa:
    return e.call(f"llvm.copysign.{mangled(x.type)}", x.type, x, sign)


def square_root(e: Emitter, x: Ssa) -> Ssa:
    return e.call(f"llvm.sqrt.{mangled(x.type)}", x.type, x)


def round_even(e: Emitter, x: Ssa) -> Ssa:
    return e.call(f"llvm.roundeven.{mangled(x.type)}", x.type, x)


def scale_by_power(e: Emitter, x: Ssa, power: Ssa) -> Ssa:
    """``x * 2**power`` for a whole ``power`` of ``x``'s type, with denormal results and overflow to infinity."""
    form = form_of(x)
    if e.target.vector_bytes == 64:
        whole = e.convert("fptosi", power, "i32")
        return e.call(f"llvm.ldexp.{mangled(x.type)}.{mangled(whole.type)}", x.type, x, whole)
    whole = e.convert("fptosi", power, "i32")
    half = e.op("ashr", whole, literal(whole.type, 1))
    for part in (half, e.op("sub", whole, half)):
        x = e.fmul(x, _power_of_two(e, part, x.type, form))
    return x


def _power_of_two(e: Emitter, exponent: Ssa, type: str, form: Form) -> Ssa:
    bias = (1 << (8 if form.mantissa_bits == 23 else 11) - 1) - 1
    bits = e.convert("sext", exponent, form.integer)
    bits = e.op("shl", e.op("add", bits, literal(bits.type, bias)), literal(bits.type, form.mantissa_bits))
    return e.bitcast(bits, type)


def exp(e: Emitter, x: Ssa) -> Ssa:
    power, rest = _exp_parts(e, x)
    return scale_by_power(e, e.fadd(rest, number(x, 1)), power)


def _exp_parts(e: Emitter, x: Ssa) -> tuple[Ssa, Ssa]:
    """``k`` and ``q`` with ``exp(x) = 2**k (1 + q)``; NaN goes into ``q``."""
    form = form_of(x)
    low, high = form.exp_range
    x = e.fmax(number(x, low), e.fmin(number(x, high), x))
    power = round_even(e, e.fmul(x, number(x, math.log2(math.e))))
    r = e.fma(power, number(x, -form.ln2_high), x)
    r = e.fma(power, number(x, -form.ln2_low), r)
    power = e.select(e.fcmp("uno", power, power), number(x, 0), power)
    return power, e.fma(e.fmul(r, r), polynomial(e, r, form.exp), r)


def expm1(e: Emitter, x: Ssa) -> Ssa:
    """``exp(x) - 1`` without loss near 0."""
    power, rest = _exp_parts(e, x)
    scale = scale_by_power(e, number(x, 1), power)
    found = e.fma(scale, rest, e.fsub(scale, number(x, 1)))
    return e.select(e.fcmp("oeq", scale, number(x, math.inf)), scale, found)


def log(e: Emitter, x: Ssa) -> Ssa:
    form = form_of(x)
    power, s2, tail = log_parts(e, x)
    found = e.fadd(s2, tail)
    found = e.fma(power, number(x, form.ln2_low), found)
    return log_edges(e, x, e.fma(power, number(x, form.ln2_high), found))


def log_parts(e: Emitter, x: Ssa) -> tuple[Ssa, Ssa, Ssa]:
    """``k, a, b`` with ``log(x) = k log(2) + a + b`` and ``b`` much smaller than ``a``; for finite positive ``x``."""
    form = form_of(x)
    power, m = exponent_and_mantissa(e, x)
    f = e.fsub(m, number(x, 1))
    s = e.fdiv(f, e.fadd(f, number(x, 2)))
    z = e.fmul(s, s)
    s2 = e.fadd(s, s)
    return power, s2, e.fmul(e.fmul(s2, z), polynomial(e, z, form.log))


def exponent_and_mantissa(e: Emitter, x: Ssa) -> tuple[Ssa, Ssa]:
    """``k`` and ``m`` with ``x = 2**k m`` and ``m`` in [sqrt(1/2), sqrt(2)], for finite positive ``x``."""
    form = form_of(x)
    tiny = e.fcmp("olt", x, number(x, form.smallest_normal))
    scaled = e.fmul(x, number(x, 2.0**form.mantissa_bits))
    bits = e.bitcast(e.select(tiny, scaled, x), with_element(x.type, form.integer))
    shift = literal(bits.type, form.mantissa_bits)
    power = e.op("ashr", e.op("sub", bits, literal(bits.type, form.sqrt_half_bits)), shift)
    m = e.bitcast(e.op("sub", bits, e.op("shl", power, shift)), x.type)
    k = e.convert("sitofp", power, element_of(x.type))
    return e.select(tiny, e.fsub(k, number(x, form.mantissa_bits)), k), m


def log_edges(e: Emitter, x: Ssa, found: Ssa) -> Ssa:
    """What the logarithm is at 0, infinity, and for negative numbers and NaN."""
    found = e.select(e.fcmp("oeq", x, number(x, math.inf)), x, found)
    found = e.select(e.fcmp("oeq", x, number(x, 0)), number(x, -math.inf), found)
    return e.select(e.fcmp("ult", x, number(x, 0)), number(x, math.nan), found)


def log1p(e: Emitter, x: Ssa) -> Ssa:
    """``log(1 + x)`` without loss near 0: what rounding ``1 + x`` lost is put back."""
    whole = e.fadd(x, number(x, 1))
    lost = e.fsub(x, e.fsub(whole, number(x, 1)))
    found = e.fadd(log(e, whole), e.fdiv(lost, whole))
    endless = e.fcmp("oeq", x, number(x, math.inf))
    found = e.select(endless, x, found)
    return e.select(e.fcmp("oeq", whole, number(x, 0)), number(x, -math.inf), found)


def sigmoid(e: Emitter, x: Ssa) -> Ssa:
    return e.fdiv(number(x, 1), e.fadd(exp(e, e.fneg(x)), number(x, 1)))


def tanh(e: Emitter, x: Ssa) -> Ssa:
    """``t / (t + 2)`` with ``t = exp(2 |x|) - 1``; beyond 20 it is 1 in both precisions."""
    size = e.fmin(number(x, 20), absolute(e, x))
    t = expm1(e, e.fadd(size, size))
    return copy_sign(e, e.fdiv(t, e.fadd(t, number(x, 2))), x)


def softplus(e: Emitter, x: Ssa) -> Ssa:
    """``log(1 + exp(x))``; infinite and NaN where ``x`` is."""
    positive = e.fmax(number(x, 0), x)
    return e.fadd(positive, log1p(e, exp(e, e.fneg(absolute(e, x)))))


def sinh(e: Emitter, x: Ssa) -> Ssa:
    """Half of ``t + t / (t + 1)``; where that overflows, ``exp(|x| - log(2))``."""
    if element_of(x.type) == "float":
        return wide(sinh, e, x)
    size = absolute(e, x)
    t = expm1(e, size)
    near = e.fmul(number(x, 0.5), e.fadd(t, e.fdiv(t, e.fadd(t, number(x, 1)))))
    return copy_sign(e, _beyond(e, size, near), x)


def cosh(e: Emitter, x: Ssa) -> Ssa:
    if element_of(x.type) == "float":
        return wide(cosh, e, x)
    size = absolute(e, x)
    t = exp(e, size)
    return _beyond(e, size, e.fmul(number(x, 0.5), e.fadd(t, e.fdiv(number(x, 1), t))))


def _beyond(e: Emitter, size: Ssa, near: Ssa) -> Ssa:
    """``exp(size) / 2`` where half of the exponential is finite although the exponential is not; else ``near``."""
    half = e.fmul(number(size, 0.5), size)
    root = exp(e, half)
    far = e.fmul(e.fmul(root, number(size, 0.5)), root)
    return e.select(e.fcmp("ogt", size, number(size, 700)), far, near)


def asinh(e: Emitter, x: Ssa) -> Ssa:
    """``log1p(a + a**2 / (1 + sqrt(a**2 + 1)))``; for huge ``a`` ``log(2) + log(a)``."""
    if element_of(x.type) == "float":
        return wide(asinh, e, x)
    size = absolute(e, x)
    square = e.fmul(size, size)
    root = e.fadd(square_root(e, e.fadd(square, number(x, 1))), number(x, 1))
    near = log1p(e, e.fadd(size, e.fdiv(square, root)))
    far = e.fadd(log(e, size), number(x, math.log(2)))
    return copy_sign(e, e.select(e.fcmp("ogt", size, number(x, 1e100)), far, near), x)


def acosh(e: Emitter, x: Ssa) -> Ssa:
    """``log1p(t + sqrt(2 t + t**2))`` with ``t = x - 1``; for huge ``x`` ``log(2) + log(x)``."""
    if element_of(x.type) == "float":
        return wide(acosh, e, x)
    t = e.fsub(x, number(x, 1))
    root = square_root(e, e.fma(t, t, e.fadd(t, t)))
    far = e.fadd(log(e, x), number(x, math.log(2)))
    found = e.select(e.fcmp("ogt", x, number(x, 1e100)), far, log1p(e, e.fadd(t, root)))
    return e.select(e.fcmp("olt", x, number(x, 1)), number(x, math.nan), found)


def atanh(e: Emitter, x: Ssa) -> Ssa:
    """Half of ``log1p(2 a / (1 - a))``."""
    if element_of(x.type) == "float":
        return wide(atanh, e, x)
    size = absolute(e, x)
    ratio = e.fdiv(e.fadd(size, size), e.fsub(number(x, 1), size))
    found = e.fmul(number(x, 0.5), log1p(e, ratio))
    return copy_sign(e, e.select(e.fcmp("ogt", size, number(x, 1)), number(x, math.nan), found), x)


def erf(e: Emitter, x: Ssa) -> Ssa:
    """An odd polynomial near 0; from 0.92 on ``1 - exp(log(erfc(|x|)))``."""
    size = absolute(e, x)
    near = e.fmul(x, polynomial(e, e.fmul(size, size), _ERF_SMALL[element_of(x.type)]))
    far = copy_sign(e, e.fsub(number(x, 1), exp(e, _log_erfc(e, size))), x)
    return e.select(e.fcmp("ogt", size, number(x, 0.92)), far, near)


_ERF_SMALL = {"float": c.ERF_SMALL_F32, "double": c.ERF_SMALL_F64}


def _log_erfc(e: Emitter, size: Ssa) -> Ssa:
    if element_of(size.type) == "float":
        return polynomial(e, e.fmin(size, number(size, 4)), c.ERFC_LOG_F32)
    size = e.fmin(size, number(size, 6))
    u = e.fmul(e.fsub(size, number(size, 3.46)), number(size, 1 / 2.54))
    return e.fma(e.fneg(size), size, polynomial(e, u, c.ERFC_LOG_F64))
