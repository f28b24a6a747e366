"""Powers: floats as C's ``pow`` defines them, integers by repeated squaring."""

from __future__ import annotations

import math

from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.math_exp import FORMS, absolute, exp, exponent_and_mantissa, log, log_edges, log_parts, number
from fusee.kernels.cpu.ssa import Ssa, bits_of, element_of, literal, mangled


def power(e: Emitter, x: Ssa, y: Ssa) -> Ssa:
    """``x ** y``. Floats compute in double; doubles with a logarithm of about 60 bits."""
    if element_of(x.type) == "float":
        found = power_in(e, e.convert("fpext", x, "double"), e.convert("fpext", y, "double"), exact=False)
        return e.convert("fptrunc", found, "float")
    return power_in(e, x, y, exact=True)


def power_in(e: Emitter, x: Ssa, y: Ssa, exact: bool) -> Ssa:
    size = absolute(e, x)
    found = _exact_power(e, size, y) if exact else exp(e, e.fmul(y, log(e, size)))
    return _edges(e, x, y, size, found)


def _exact_power(e: Emitter, size: Ssa, y: Ssa) -> Ssa:
    """``exp(y log(size))`` with the logarithm, and its product with ``y``, as sums of two doubles."""
    form = FORMS["double"]
    k, s2, tail = log_parts(e, size)
    high = e.fmul(k, number(size, form.ln2_high))
    top = e.fadd(high, s2)
    low = e.fadd(_sum_error(e, high, s2, top), e.fma(k, number(size, form.ln2_low), e.fadd(tail, _lost(e, size, s2))))
    whole = e.fadd(top, low)
    low = e.fadd(low, e.fsub(top, whole))
    whole = log_edges(e, size, whole)
    product = e.fmul(y, whole)
    rest = e.fma(y, low, e.fma(y, whole, e.fneg(product)))
    finite = e.fcmp("olt", absolute(e, product), number(size, 1000))
    rest = e.select(finite, rest, number(size, 0))
    scale = exp(e, product)
    corrected = e.fma(scale, rest, scale)
    return e.select(e.fcmp("oeq", scale, number(size, math.inf)), scale, corrected)


def _sum_error(e: Emitter, a: Ssa, b: Ssa, total: Ssa) -> Ssa:
    """What ``a + b`` lost when it was rounded to ``total``."""
    part = e.fsub(total, a)
    return e.fadd(e.fsub(a, e.fsub(total, part)), e.fsub(b, part))


def _lost(e: Emitter, size: Ssa, s2: Ssa) -> Ssa:
    """What the division in ``log_parts`` lost: twice the remainder over the divisor."""
    _, m = exponent_and_mantissa(e, size)
    f = e.fsub(m, number(size, 1))
    divisor = e.fadd(m, number(size, 1))
    divisor_lost = e.fsub(number(size, 1), e.fsub(divisor, m))
    half = e.fmul(s2, number(size, 0.5))
    remainder = e.fma(e.fneg(half), divisor, f)
    remainder = e.fma(e.fneg(half), divisor_lost, remainder)
    return e.fdiv(e.fadd(remainder, remainder), divisor)


def _edges(e: Emitter, x: Ssa, y: Ssa, size: Ssa, found: Ssa) -> Ssa:
    """Signs of negative bases, and the cases where the logarithm says nothing."""
    whole = e.fcmp("oeq", e.call(f"llvm.floor.{mangled(y.type)}", y.type, y), y)
    half = e.fmul(y, number(y, 0.5))
    even = e.fcmp("oeq", e.call(f"llvm.floor.{mangled(y.type)}", y.type, half), half)
    bits = e.bitcast(x, y.type.replace("double", "i64"))
    negative = e.icmp("slt", bits, literal(bits.type, 0))
    odd = e.op("and", whole, e.op("xor", even, literal(even.type, 1)))
    found = e.select(e.op("and", negative, odd), e.fneg(found), found)
    finite = e.fcmp("one", size, number(x, math.inf))
    bad = e.op("and", e.fcmp("olt", x, number(x, 0)), e.op("xor", whole, literal(whole.type, 1)))
    found = e.select(e.op("and", bad, finite), number(x, math.nan), found)
    endless = e.fcmp("oeq", absolute(e, y), number(y, math.inf))
    one = e.op("and", e.fcmp("oeq", size, number(x, 1)), endless)
    one = e.op("or", one, e.op("or", e.fcmp("oeq", x, number(x, 1)), e.fcmp("oeq", y, number(y, 0))))
    return e.select(one, number(x, 1), found)


def integer_power(e: Emitter, x: Ssa, y: Ssa) -> Ssa:
    """``x ** y`` modulo the type's range; a negative exponent gives 0, save for bases of 1 and -1."""
    ones = literal(x.type, 1)

    def square(_i: Ssa, total: Ssa, base: Ssa, left: Ssa) -> list[Ssa]:
        odd = e.icmp("ne", e.op("and", left, ones), literal(x.type, 0))
        total = e.select(odd, e.op("mul", total, base), total)
        return [total, e.op("mul", base, base), e.op("lshr", left, ones)]

    total, _, _ = e.loop(0, bits_of(x.type), 1, square, [ones, x, y])
    return total
