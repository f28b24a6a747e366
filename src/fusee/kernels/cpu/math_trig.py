"""Sine, cosine, tangent and their inverses, all computed in double.

Arguments are reduced by multiples of pi/2: up to 2**19 by subtracting the multiple in three pieces, beyond by
multiplying the mantissa with 2/pi times its power of two, of which only the fraction matters (Payne and Hanek); so
every finite argument gives a result good to the last few bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

from fusee.kernels.cpu import coefficients as c
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.math_exp import absolute, copy_sign, number, polynomial, round_even, square_root
from fusee.kernels.cpu.ssa import Ssa, element_of, literal, mangled, with_element

_BITS = 1400  # of pi; the largest double is below 2**1024 and the fraction is wanted to 160 bits
_FIRST_EXPONENT = 19  # of the arguments that need the table
_HALF_PI_PARTS = (  # pi/2 = the sum; the first has 33 bits, so that its multiples up to 2**20 are exact
    float.fromhex("0x1.921fb544p+0"),
    float.fromhex("0x1.0b4611a626331p-34"),
    float.fromhex("0x1.1701b839a2520p-88"),
)


def sin(e: Emitter, x: Ssa) -> Ssa:
    return _by_quadrant(e, x, lambda sine, cosine: (sine, cosine))


def cos(e: Emitter, x: Ssa) -> Ssa:
    return _by_quadrant(e, x, lambda sine, cosine: (cosine, e.fneg(sine)))


def tan(e: Emitter, x: Ssa) -> Ssa:
    return in_double(_tan, e, x)


def _tan(e: Emitter, x: Ssa) -> Ssa:
    r, quadrant = _reduced(e, x)
    sine, cosine = _sine(e, r), _cosine(e, r)
    odd = _bit(e, quadrant, 1)
    top = e.select(odd, e.fneg(cosine), sine)
    return _edges(e, x, e.fdiv(top, e.select(odd, sine, cosine)))


def in_double(function: Callable[[Emitter, Ssa], Ssa], e: Emitter, x: Ssa) -> Ssa:
    found = function(e, e.convert("fpext", x, "double"))
    return e.convert("fptrunc", found, element_of(x.type))


def _by_quadrant(e: Emitter, x: Ssa, first_two: Callable[[Ssa, Ssa], tuple[Ssa, Ssa]]) -> Ssa:
    """The function whose values in quadrants 0 and 1 are given; 2 and 3 are their negatives."""

    def compute(e: Emitter, wide: Ssa) -> Ssa:
        r, quadrant = _reduced(e, wide)
        zeroth, first = first_two(_sine(e, r), _cosine(e, r))
        found = e.select(_bit(e, quadrant, 1), first, zeroth)
        return _edges(e, wide, e.select(_bit(e, quadrant, 2), e.fneg(found), found))

    return in_double(compute, e, x)


def _bit(e: Emitter, quadrant: Ssa, bit: int) -> Ssa:
    return e.icmp("ne", e.op("and", quadrant, literal(quadrant.type, bit)), literal(quadrant.type, 0))


def _edges(e: Emitter, x: Ssa, found: Ssa) -> Ssa:
    return e.select(e.fcmp("oeq", absolute(e, x), number(x, math.inf)), number(x, math.nan), found)


def _sine(e: Emitter, r: Ssa) -> Ssa:
    z = e.fmul(r, r)
    return e.fma(e.fmul(r, z), polynomial(e, z, c.SIN_F64), r)


def _cosine(e: Emitter, r: Ssa) -> Ssa:
    z = e.fmul(r, r)
    start = e.fma(z, number(r, -0.5), number(r, 1))
    return e.fma(e.fmul(z, z), polynomial(e, z, c.COS_F64), start)


def _reduced(e: Emitter, x: Ssa) -> tuple[Ssa, Ssa]:
    """``r`` in [-pi/4, pi/4] and the quadrant (i64) of ``x``."""
    large = e.fcmp("oge", absolute(e, x), number(x, 2.0**_FIRST_EXPONENT))
    mask = e.bitcast(large, f"i{x.lanes}")
    r, quadrant = e.branch(
        e.icmp("ne", mask, Ssa("0", mask.type)),
        lambda: _chosen(e, large, _reduced_large(e, x), _reduced_small(e, x)),
        lambda: _reduced_small(e, x),
    )
    return r, quadrant


def _chosen(e: Emitter, condition: Ssa, a: tuple[Ssa, Ssa], b: tuple[Ssa, Ssa]) -> tuple[Ssa, Ssa]:
    return e.select(condition, a[0], b[0]), e.select(condition, a[1], b[1])


def _reduced_small(e: Emitter, x: Ssa) -> tuple[Ssa, Ssa]:
    multiple = round_even(e, e.fmul(x, number(x, 2 / math.pi)))
    r = x
    for part in _HALF_PI_PARTS:
        r = e.fma(multiple, number(x, -part), r)
    return r, _quadrant(e, multiple)


def _quadrant(e: Emitter, multiple: Ssa) -> Ssa:
    """A whole number's last two bits: adding 1.5 * 2**52 puts them at the end of the mantissa."""
    shifted = e.fadd(multiple, number(multiple, 1.5 * 2.0**52))
    return e.bitcast(shifted, with_element(multiple.type, "i64"))


def _reduced_large(e: Emitter, x: Ssa) -> tuple[Ssa, Ssa]:
    bits = e.bitcast(absolute(e, x), with_element(x.type, "i64"))
    exponent = e.op("lshr", bits, literal(bits.type, 52))
    row = e.op("sub", exponent, literal(bits.type, 1023 + _FIRST_EXPONENT))
    row = e.select(e.icmp("ult", row, literal(bits.type, len(_table()) // 3)), row, literal(bits.type, 0))
    mantissa = e.op("or", e.op("and", bits, literal(bits.type, (1 << 52) - 1)), literal(bits.type, (1023 + 52) << 52))
    m = copy_sign(e, e.bitcast(mantissa, x.type), x)
    first = e.op("mul", row, literal(bits.type, 3))
    table = e.table("double", _table())
    parts = [e.gather("double", table, e.op("add", first, literal(bits.type, i))) for i in range(3)]
    return _fraction(e, m, parts)


def _fraction(e: Emitter, m: Ssa, parts: list[Ssa]) -> tuple[Ssa, Ssa]:
    """Reduce ``m * sum(parts)`` quarter turns, ``m`` whole and the parts below 4: fma keeps products exact."""
    tops = [e.fmul(m, p) for p in parts]
    lost = [e.fma(m, p, e.fneg(t)) for p, t in zip(parts, tops, strict=True)]
    fours = e.call(f"llvm.floor.{mangled(m.type)}", m.type, e.fmul(tops[0], number(m, 0.25)))
    first, rounding = _exact_sum(e, e.fma(fours, number(m, -4), tops[0]), lost[0])
    total, more = _exact_sum(e, first, tops[1])
    multiple = round_even(e, total)
    tail = e.fadd(e.fadd(rounding, more), e.fadd(lost[1], tops[2]))
    rest = e.fadd(e.fsub(total, multiple), tail)
    return e.fmul(rest, number(m, math.pi / 2)), _quadrant(e, multiple)


def _exact_sum(e: Emitter, a: Ssa, b: Ssa) -> tuple[Ssa, Ssa]:
    """A sum and what rounding took from it."""
    total = e.fadd(a, b)
    part = e.fsub(total, a)
    return total, e.fadd(e.fsub(a, e.fsub(total, part)), e.fsub(b, part))


@cache
def _table() -> tuple[float, ...]:
    """For each exponent of an argument, 2/pi times what the last bit of its mantissa is worth, modulo 4."""
    two_over_pi = (2 << 2 * _BITS) // _pi()
    rows: list[float] = []
    for exponent in range(_FIRST_EXPONENT - 52, 1024 - 52):
        shifted = two_over_pi << exponent if exponent >= 0 else two_over_pi >> -exponent
        rest = shifted % (4 << _BITS)
        for _ in range(3):
            part = _top_bits(rest)
            rows.append(part / (1 << _BITS))
            rest -= part
    return tuple(rows)


def _top_bits(number: int) -> int:
    """The number cut to 53 significant bits."""
    drop = max(0, number.bit_length() - 53)
    return number >> drop << drop


def _pi() -> int:
    """pi in ``_BITS`` binary places, by Machin's formula."""
    one = 1 << (_BITS + 16)
    return (16 * _arctan_of_inverse(5, one) - 4 * _arctan_of_inverse(239, one)) >> 16


def _arctan_of_inverse(n: int, one: int) -> int:
    total, power, k = 0, one // n, 0
    while power:
        total += (-power if k & 1 else power) // (2 * k + 1)
        power //= n * n
        k += 1
    return total


def atan(e: Emitter, x: Ssa) -> Ssa:
    return in_double(_atan, e, x)


def _atan(e: Emitter, x: Ssa) -> Ssa:
    """Argument into [0, tan(pi/8)] by ``1/a`` and ``(t-1)/(t+1)``; the angle subtracted is added at the end."""
    size = absolute(e, x)
    steep = e.fcmp("ogt", size, number(x, 1))
    t = e.select(steep, e.fdiv(number(x, 1), size), size)
    middle = e.fcmp("ogt", t, number(x, math.tan(math.pi / 8)))
    turned = e.fdiv(e.fsub(t, number(x, 1)), e.fadd(t, number(x, 1)))
    t = e.select(middle, turned, t)
    z = e.fmul(t, t)
    angle = e.fma(e.fmul(t, z), polynomial(e, z, c.ATAN_F64), t)
    angle = e.fadd(angle, e.select(middle, number(x, math.pi / 4), number(x, 0)))
    complement = e.fadd(e.fsub(number(x, math.pi / 2), angle), number(x, 6.123233995736766e-17))
    return copy_sign(e, e.select(steep, complement, angle), x)


def asin(e: Emitter, x: Ssa) -> Ssa:
    return in_double(_asin, e, x)


def _asin(e: Emitter, x: Ssa) -> Ssa:
    """``atan(x / sqrt((1 - x) (1 + x)))``."""
    square = e.fmul(e.fsub(number(x, 1), x), e.fadd(number(x, 1), x))
    return _atan(e, e.fdiv(x, square_root(e, square)))


def acos(e: Emitter, x: Ssa) -> Ssa:
    return in_double(_acos, e, x)


def _acos(e: Emitter, x: Ssa) -> Ssa:
    """``2 atan(sqrt((1 - x) / (1 + x)))``."""
    ratio = e.fdiv(e.fsub(number(x, 1), x), e.fadd(number(x, 1), x))
    half = _atan(e, square_root(e, ratio))
    return e.fadd(half, half)
