"""Elementwise ops on lanes that take several instructions: activations, integer division, casts, quantisation."""

from __future__ import annotations

import math

import ml_dtypes

from fusee.base.types import DType
from fusee.ir.graph import Node
from fusee.kernels.cpu import math_exp as m
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.lane_types import E8M0, MINI_FLOATS, cast, compute_type, raw_type, rounded, to_compute, to_memory
from fusee.kernels.cpu.lane_types import saturated as saturated_integer
from fusee.kernels.cpu.math_exp import number
from fusee.kernels.cpu.math_pow import integer_power, power
from fusee.kernels.cpu.ssa import Ssa, element_of, is_float, literal, mangled, with_element
from fusee.ops import elementwise as ops
from fusee.ops.binary import BitShift, Mod
from fusee.ops.quantize import Dequantize, Quantize


def dtype_of(node: Node, operand: int = 0) -> DType:
    return node.operands[operand].type.dtype


def maximum(e: Emitter, node: Node, a: Ssa, b: Ssa) -> Ssa:
    """The larger; NaN when either is."""
    if element_of(a.type) == "i1":
        return e.op("or", a, b)
    if not is_float(a.type):
        return e.call(f"llvm.{'s' if dtype_of(node).is_signed else 'u'}max.{mangled(a.type)}", a.type, a, b)
    return e.select(e.fcmp("uno", a, a), a, e.fmax(a, b))


def minimum(e: Emitter, node: Node, a: Ssa, b: Ssa) -> Ssa:
    if element_of(a.type) == "i1":
        return e.op("and", a, b)
    if not is_float(a.type):
        return e.call(f"llvm.{'s' if dtype_of(node).is_signed else 'u'}min.{mangled(a.type)}", a.type, a, b)
    return e.select(e.fcmp("uno", a, a), a, e.fmin(a, b))


def relu(e: Emitter, node: Node, x: Ssa) -> Ssa:
    if is_float(x.type):
        return e.fmax(number(x, 0), x)
    return x if not dtype_of(node).is_signed else maximum(e, node, x, number(x, 0))


def magnitude(e: Emitter, node: Node, x: Ssa) -> Ssa:
    if is_float(x.type):
        return m.absolute(e, x)
    if not dtype_of(node).is_signed:
        return x
    return e.call(f"llvm.abs.{mangled(x.type)}", x.type, x, Ssa("false", "i1"), immediate=(1,))


def negative(e: Emitter, _node: Node, x: Ssa) -> Ssa:
    return e.fneg(x) if is_float(x.type) else e.op("sub", number(x, 0), x)


def sign(e: Emitter, node: Node, x: Ssa) -> Ssa:
    zero, one = number(x, 0), number(x, 1)
    if is_float(x.type):
        below = e.select(e.fcmp("olt", x, zero), number(x, -1), x)
        return e.select(e.fcmp("ogt", x, zero), one, below)
    if not dtype_of(node).is_signed:
        return e.select(e.icmp("ne", x, zero), one, zero)
    return e.select(e.icmp("sgt", x, zero), one, e.select(e.icmp("slt", x, zero), number(x, -1), zero))


def is_infinite(e: Emitter, node: Node, x: Ssa) -> Ssa:
    assert isinstance(node.op, ops.IsInf)
    above = e.fcmp("oeq", x, number(x, math.inf))
    below = e.fcmp("oeq", x, number(x, -math.inf))
    if node.op.positive and node.op.negative:
        return e.op("or", above, below)
    return above if node.op.positive else below if node.op.negative else literal(above.type, 0)


def gelu(e: Emitter, node: Node, x: Ssa) -> Ssa:
    assert isinstance(node.op, ops.Gelu)
    half = e.fmul(x, number(x, 0.5))
    if not node.op.approximate:
        return e.fma(half, m.erf(e, e.fmul(x, number(x, math.sqrt(0.5)))), half)
    inner = e.fma(e.fmul(e.fmul(x, x), x), number(x, 0.044715), x)
    return e.fma(half, m.tanh(e, e.fmul(inner, number(x, math.sqrt(2 / math.pi)))), half)


def silu(e: Emitter, node: Node, x: Ssa) -> Ssa:
    assert isinstance(node.op, ops.Silu)
    scaled = x if node.op.alpha == 1 else e.fmul(x, number(x, node.op.alpha))
    return e.fdiv(x, e.fadd(m.exp(e, e.fneg(scaled)), number(x, 1)))


def _unit_clip(e: Emitter, x: Ssa) -> Ssa:
    return e.fmax(number(x, 0), e.fmin(number(x, 1), x))


def hard_swish(e: Emitter, _node: Node, x: Ssa) -> Ssa:
    return e.fmul(x, _unit_clip(e, e.fma(x, number(x, 1 / 6), number(x, 0.5))))


def hard_sigmoid(e: Emitter, node: Node, x: Ssa) -> Ssa:
    assert isinstance(node.op, ops.HardSigmoid)
    return _unit_clip(e, e.fma(x, number(x, node.op.alpha), number(x, node.op.beta)))


def leaky_relu(e: Emitter, node: Node, x: Ssa) -> Ssa:
    assert isinstance(node.op, ops.LeakyRelu)
    return e.select(e.fcmp("olt", x, number(x, 0)), e.fmul(x, number(x, node.op.alpha)), x)


def p_relu(e: Emitter, node: Node, x: Ssa, slope: Ssa) -> Ssa:
    if is_float(x.type):
        return e.select(e.fcmp("olt", x, number(x, 0)), e.fmul(x, slope), x)
    if not dtype_of(node).is_signed:
        return x
    return e.select(e.icmp("slt", x, number(x, 0)), e.op("mul", x, slope), x)


def elu(e: Emitter, node: Node, x: Ssa) -> Ssa:
    assert isinstance(node.op, ops.Elu)
    return e.select(e.fcmp("olt", x, number(x, 0)), e.fmul(m.expm1(e, x), number(x, node.op.alpha)), x)


def selu(e: Emitter, node: Node, x: Ssa) -> Ssa:
    assert isinstance(node.op, ops.Selu)
    low = e.fmul(m.expm1(e, x), number(x, node.op.alpha))
    return e.fmul(number(x, node.op.gamma), e.select(e.fcmp("ogt", x, number(x, 0)), x, low))


def celu(e: Emitter, node: Node, x: Ssa) -> Ssa:
    assert isinstance(node.op, ops.Celu)
    low = e.fmul(m.expm1(e, e.fmul(x, number(x, 1 / node.op.alpha))), number(x, node.op.alpha))
    return e.fadd(e.fmax(number(x, 0), x), e.fmin(number(x, 0), low))


def softsign(e: Emitter, _node: Node, x: Ssa) -> Ssa:
    return e.fdiv(x, e.fadd(number(x, 1), m.absolute(e, x)))


def mish(e: Emitter, _node: Node, x: Ssa) -> Ssa:
    """``x tanh(log(1 + n))`` with ``n = exp(x)`` is ``x (n² + 2n) / (n² + 2n + 2)``; from 20 on it is x."""
    n = m.exp(e, e.fmin(number(x, 20), x))
    top = e.fmul(n, e.fadd(n, number(x, 2)))
    return e.fmul(x, e.fdiv(top, e.fadd(top, number(x, 2))))


def thresholded_relu(e: Emitter, node: Node, x: Ssa) -> Ssa:
    assert isinstance(node.op, ops.ThresholdedRelu)
    return e.select(e.fcmp("ogt", x, number(x, node.op.alpha)), x, number(x, 0))


def shrink(e: Emitter, node: Node, x: Ssa) -> Ssa:
    assert isinstance(node.op, ops.Shrink)
    above = e.select(e.fcmp("ogt", x, number(x, node.op.lambd)), e.fsub(x, number(x, node.op.bias)), number(x, 0))
    return e.select(e.fcmp("olt", x, number(x, -node.op.lambd)), e.fadd(x, number(x, node.op.bias)), above)


def divide(e: Emitter, node: Node, a: Ssa, b: Ssa) -> Ssa:
    """Integers: towards 0; by 0 it is 0. The processor traps on division by 0 and of the least number by -1."""
    if is_float(a.type):
        return e.fdiv(a, b)
    zero = e.icmp("eq", b, number(b, 0))
    if not dtype_of(node).is_signed:
        return e.select(zero, number(b, 0), e.op("udiv", a, e.select(zero, number(b, 1), b)))
    minus = e.icmp("eq", b, number(b, -1))
    quotient = e.op("sdiv", a, e.select(e.op("or", zero, minus), number(b, 1), b))
    quotient = e.select(minus, e.op("sub", number(a, 0), a), quotient)
    return e.select(zero, number(b, 0), quotient)


def remainder(e: Emitter, node: Node, a: Ssa, b: Ssa) -> Ssa:
    assert isinstance(node.op, Mod)
    if is_float(a.type):
        return _float_remainder(e, a, b, node.op.fmod)
    signed = dtype_of(node).is_signed
    zero = e.icmp("eq", b, number(b, 0))
    special = e.op("or", zero, e.icmp("eq", b, number(b, -1))) if signed else zero
    left = e.op("srem" if signed else "urem", a, e.select(special, number(b, 1), b))
    left = e.select(special, number(b, 0), left)
    if node.op.fmod or not signed:
        return left
    differs = e.icmp("slt", e.op("xor", left, b), number(b, 0))
    wrong = e.op("and", e.icmp("ne", left, number(b, 0)), differs)
    return e.select(wrong, e.op("add", left, b), left)


def _float_remainder(e: Emitter, a: Ssa, b: Ssa, fmod: bool) -> Ssa:
    """``a - b trunc(a / b)`` in double with one fma, corrected where the quotient was rounded up."""
    element = element_of(a.type)
    a, b = e.convert("fpext", a, "double"), e.convert("fpext", b, "double")
    quotient = e.fdiv(a, b)
    whole = e.call(f"llvm.trunc.{mangled(a.type)}", a.type, quotient)
    left = e.fma(e.fneg(whole), b, a)
    crossed = e.fcmp("olt", e.fmul(left, a), number(a, 0))
    toward = m.copy_sign(e, b, a)
    left = m.copy_sign(e, e.select(crossed, e.fadd(left, toward), left), a)
    endless = e.op("and", e.fcmp("oeq", m.absolute(e, b), number(b, math.inf)), e.fcmp("one", quotient, number(b, 9)))
    left = e.select(endless, a, left)
    if not fmod:
        wrong = e.fcmp("olt", e.fmul(left, b), number(b, 0))
        left = e.select(wrong, e.fadd(left, b), left)
    return e.convert("fptrunc", left, element)


def raise_to(e: Emitter, node: Node, a: Ssa, b: Ssa) -> Ssa:
    if is_float(a.type):
        return power(e, a, b)
    found = integer_power(e, a, b)
    if not dtype_of(node).is_signed:
        return found
    one = e.op("or", e.icmp("eq", a, number(a, 1)), e.icmp("eq", a, number(a, -1)))
    fraction = e.op("and", e.icmp("slt", b, number(b, 0)), e.op("xor", one, literal(one.type, 1)))
    return e.select(fraction, number(a, 0), found)


def shift(e: Emitter, node: Node, a: Ssa, b: Ssa) -> Ssa:
    assert isinstance(node.op, BitShift)
    width = dtype_of(node).bits
    fits = e.icmp("ult", b, number(b, width))
    right = "ashr" if dtype_of(node).is_signed else "lshr"
    moved = e.op("shl" if node.op.left else right, a, e.select(fits, b, number(b, 0)))
    if node.op.left or not dtype_of(node).is_signed:
        return e.select(fits, moved, number(a, 0))
    return e.select(fits, moved, e.op("ashr", a, number(a, width - 1)))


def convert(e: Emitter, node: Node, x: Ssa) -> Ssa:
    assert isinstance(node.op, ops.Cast)
    source, to = dtype_of(node), node.op.to
    if to not in MINI_FLOATS:
        return cast(e, x, source, to)
    wide = cast(e, x, source, DType.F32)
    if to is E8M0:
        return _nearest_power(e, wide, node.op.saturate, node.op.rounding)
    if node.op.saturate:
        limit = float(ml_dtypes.finfo(to.numpy).max)
        wide = e.fmax(number(wide, -limit), e.fmin(number(wide, limit), wide))
    return rounded(e, wide, to)


def _nearest_power(e: Emitter, x: Ssa, saturate: bool, rounding: str) -> Ssa:
    """The power of two above, below or nearest, through the exponent field; sign dropped."""
    bits = e.bitcast(x, with_element(x.type, "i32"))
    exponent = e.op("and", e.op("lshr", bits, literal(bits.type, 23)), literal(bits.type, 255))
    fraction = e.op("and", bits, literal(bits.type, 0x7FFFFF))
    half = literal(bits.type, 1 << 22)
    if rounding == "nearest":
        tie = e.op("and", e.icmp("eq", fraction, half), e.icmp("ne", exponent, literal(bits.type, 0)))
        up = e.op("or", e.icmp("ugt", fraction, half), tie)
    else:
        up = e.icmp("ugt", fraction, literal(bits.type, 0 if rounding == "up" else 0x7FFFFF))
    grown = e.op("add", exponent, e.convert("zext", up, "i32"))
    top = literal(bits.type, 254 if saturate else 255)
    grown = e.select(e.icmp("ugt", grown, top), top, grown)
    found = e.select(e.icmp("eq", exponent, literal(bits.type, 255)), exponent, grown)
    return to_compute(e, e.convert("trunc", found, "i8"), E8M0)


def bit_cast(e: Emitter, node: Node, x: Ssa) -> Ssa:
    assert isinstance(node.op, ops.BitCast)
    raw = to_memory(e, x, dtype_of(node))
    return to_compute(e, e.bitcast(raw, with_element(raw.type, raw_type(node.op.to))), node.op.to)


def quantize(e: Emitter, node: Node, x: Ssa, scale: Ssa, zero: Ssa) -> Ssa:
    assert isinstance(node.op, Quantize)
    to = node.op.to
    wide = cast(e, x, dtype_of(node), DType.F32)
    ratio = e.fdiv(wide, cast(e, scale, dtype_of(node, 1), DType.F32))
    offset = cast(e, zero, to, DType.F32)
    if to in MINI_FLOATS:
        found = e.fadd(ratio, offset)
        limit = number(found, float(ml_dtypes.finfo(to.numpy).max))
        if node.op.saturate:
            found = e.fmax(e.fneg(limit), e.fmin(limit, found))
        return rounded(e, found, to)
    low, high = (-(1 << to.bits - 1), (1 << to.bits - 1) - 1) if to.is_signed else (0, (1 << to.bits) - 1)
    placed = e.fadd(m.round_even(e, ratio), offset)
    limited = e.fmax(number(wide, low), e.fmin(number(wide, high), placed))
    whole = saturated_integer(e, limited, "i32", signed=True)
    return e.convert("trunc", whole, compute_type(to))


def dequantize(e: Emitter, node: Node, x: Ssa, scale: Ssa, zero: Ssa) -> Ssa:
    assert isinstance(node.op, Dequantize)
    source = dtype_of(node)
    if source.is_float:
        difference = e.fsub(x, zero)
    else:
        wide = [cast(e, v, source, DType.I32) for v in (x, zero)]
        difference = cast(e, e.op("sub", *wide), DType.I32, DType.F32)
    return cast(e, e.fmul(difference, cast(e, scale, dtype_of(node, 1), DType.F32)), DType.F32, node.op.to)
