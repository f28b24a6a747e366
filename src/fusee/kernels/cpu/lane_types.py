"""How elements lie in memory, in which type lanes compute, and the conversions between element types.

Floats narrower than f32 compute in f32, integers narrower than a byte in i32, bools as i1; all others as themselves.
"""

from __future__ import annotations

from functools import cache

import ml_dtypes
import numpy as np

from fusee.base.types import BF16, BOOL, F16, F32, F64, DType
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.math_exp import absolute, number, round_even
from fusee.kernels.cpu.ssa import Ssa, bits_of, element_of, is_float, literal, memory_type, with_element

MINI_FLOATS = tuple(d for d in DType if d.is_float and d.itemsize_bytes == 1)
E8M0 = DType.F8E8M0FNU


def compute_type(dtype: DType) -> str:
    """The LLVM element type that lanes of this dtype have while they are computed with."""
    if dtype is BOOL:
        return "i1"
    if dtype.is_float:
        return "double" if dtype is F64 else "float"
    return "i32" if dtype.bits < 8 else memory_type(dtype)


def raw_type(dtype: DType) -> str:
    """What is loaded and stored: 16-bit floats as integers, which every vector unit can move under a mask."""
    return "i16" if dtype in (F16, BF16) else memory_type(dtype)


def to_compute(e: Emitter, raw: Ssa, dtype: DType) -> Ssa:
    """From what was loaded to what is computed with."""
    if dtype is BOOL:
        return e.icmp("ne", raw, literal(raw.type, 0))
    if dtype is F16:
        return e.convert("fpext", e.bitcast(raw, with_element(raw.type, "half")), "float")
    if dtype is BF16:
        wide = e.convert("zext", raw, "i32")
        return e.bitcast(e.op("shl", wide, literal(wide.type, 16)), with_element(raw.type, "float"))
    if dtype in MINI_FLOATS:
        return e.gather("float", e.table("float", _values(dtype)), e.convert("zext", raw, "i32"))
    if dtype.is_integer and dtype.bits < 8:
        return _sign_cut(e, e.convert("zext", raw, "i32"), dtype)
    return raw


@cache
def _values(dtype: DType) -> tuple[float, ...]:
    """What each of the 256 bytes stands for."""
    used = np.arange(256, dtype=np.uint8) & ((1 << dtype.bits) - 1)
    return tuple(float(x) for x in used.astype(np.uint8).view(dtype.numpy).astype(np.float32))


def _sign_cut(e: Emitter, wide: Ssa, dtype: DType) -> Ssa:
    """The low bits of an i32 as a number of fewer bits."""
    shift = literal(wide.type, 32 - dtype.bits)
    return e.op("ashr" if dtype.is_signed else "lshr", e.op("shl", wide, shift), shift)


def to_memory(e: Emitter, value: Ssa, dtype: DType) -> Ssa:
    """From what was computed to what is stored: floats round to the nearest, integers keep their low bits."""
    if dtype is BOOL:
        return e.convert("zext", value, "i8")
    if dtype is F16:
        return e.bitcast(e.convert("fptrunc", value, "half"), with_element(value.type, "i16"))
    if dtype is BF16:
        return _to_bf16(e, value)
    if dtype in MINI_FLOATS:
        return e.convert("trunc", mini_float_code(e, value, dtype), "i8")
    if dtype.is_integer and dtype.bits < 8:
        return e.convert("trunc", _sign_cut(e, value, dtype), "i8")
    return value


def _to_bf16(e: Emitter, value: Ssa) -> Ssa:
    raw = with_element(value.type, "i16")
    if "avx512_bf16" in e.target.features and e.target.vector_bytes == 64:
        return e.bitcast(e.convert("fptrunc", value, "bfloat"), raw)
    bits = e.bitcast(value, with_element(value.type, "i32"))
    odd = e.op("and", e.op("lshr", bits, literal(bits.type, 16)), literal(bits.type, 1))
    rounded = e.op("add", e.op("add", bits, literal(bits.type, 0x7FFF)), odd)
    quiet = e.op("or", bits, literal(bits.type, 0x400000))
    kept = e.select(e.fcmp("uno", value, value), quiet, rounded)
    return e.convert("trunc", e.op("lshr", kept, literal(bits.type, 16)), "i16")


def mini_float_code(e: Emitter, value: Ssa, dtype: DType) -> Ssa:
    """The bits (i32 lanes) of an 8- or 4-bit float: rounded to nearest even; too large is infinity, or NaN."""
    if dtype is E8M0:
        return _power_code(e, value)
    info = ml_dtypes.finfo(dtype.numpy)
    digits, smallest = info.nmant, float(info.smallest_normal)
    size = absolute(e, value)
    few = e.convert("fptosi", round_even(e, e.fmul(size, number(size, 2**digits / smallest))), "i32")
    bits = e.bitcast(size, few.type)
    shift = literal(few.type, 23 - digits)
    odd = e.op("and", e.op("lshr", bits, shift), literal(few.type, 1))
    rounded = e.op("add", e.op("add", bits, literal(few.type, (1 << 22 - digits) - 1)), odd)
    rebias = (127 + round(np.log2(smallest)) - 1) << digits
    many = e.op("sub", e.op("lshr", rounded, shift), literal(few.type, rebias))
    code = e.select(e.fcmp("olt", size, number(size, smallest)), few, many)
    return _with_sign(e, value, _limited(e, size, code, dtype), dtype)


def _limited(e: Emitter, size: Ssa, code: Ssa, dtype: DType) -> Ssa:
    """What lies above the largest number becomes the code of infinity; NaN gets its own."""
    info = ml_dtypes.finfo(dtype.numpy)
    largest, infinite, nan = (_code(x, dtype) for x in (float(info.max), np.inf, np.nan))
    over = e.icmp("sgt", code, literal(code.type, largest & 0x7F))
    over = e.op("or", over, e.fcmp("ogt", size, number(size, 2.0**20)))
    code = e.select(over, literal(code.type, infinite), code)
    return e.select(e.fcmp("uno", size, size), literal(code.type, nan), code)


def _code(value: float, dtype: DType) -> int:
    return int(np.array(value, dtype.numpy).view(np.uint8))


def _with_sign(e: Emitter, value: Ssa, code: Ssa, dtype: DType) -> Ssa:
    sign = 1 << (dtype.bits - 1)
    bits = e.bitcast(value, code.type)
    negative = e.icmp("slt", bits, literal(code.type, 0))
    if dtype.value.endswith("uz"):  # these have no negative zero: its code is NaN
        negative = e.op("and", negative, e.icmp("ne", code, literal(code.type, 0)))
    return e.select(negative, e.op("or", code, literal(code.type, sign)), code)


def _power_code(e: Emitter, value: Ssa) -> Ssa:
    """The exponent field of the nearest power of two, by value; NaN is 255."""
    bits = e.op("lshr", e.bitcast(value, with_element(value.type, "i32")), literal(with_element(value.type, "i32"), 23))
    return e.op("and", bits, literal(bits.type, 255))


def cast(e: Emitter, value: Ssa, source: DType, to: DType) -> Ssa:
    """Lanes of one element type as lanes of another, as ``ops.Cast`` defines it, mini floats aside."""
    if to is BOOL:
        return _is_nonzero(e, value)
    goal = compute_type(to)
    if source is BOOL:
        return e.convert("uitofp" if to.is_float else "zext", value, goal)
    if source.is_float and to.is_float:
        return rounded(e, float_to_float(e, value, goal), to)
    if source.is_float:
        return _float_to_integer(e, value, to)
    if to.is_float:
        return rounded(e, e.convert("sitofp" if source.is_signed else "uitofp", value, goal), to)
    return narrowed(e, resized(e, value, goal, source.is_signed), to)


def _is_nonzero(e: Emitter, value: Ssa) -> Ssa:
    if element_of(value.type) == "i1":
        return value
    zero = literal(value.type, 0)
    return e.fcmp("une", value, zero) if is_float(value.type) else e.icmp("ne", value, zero)


def float_to_float(e: Emitter, value: Ssa, goal: str) -> Ssa:
    return e.convert("fpext" if goal == "double" else "fptrunc", value, goal)


def rounded(e: Emitter, value: Ssa, dtype: DType) -> Ssa:
    """What is left of a value once it is stored in that type: a cast to a narrow float loses digits at once."""
    if dtype in (F32, F64):
        return value
    return to_compute(e, to_memory(e, value, dtype), dtype)


def narrowed(e: Emitter, value: Ssa, dtype: DType) -> Ssa:
    return _sign_cut(e, value, dtype) if dtype.bits < 8 else value


def resized(e: Emitter, value: Ssa, goal: str, signed: bool) -> Ssa:
    """Integer lanes with more or fewer bits."""
    if bits_of(goal) <= bits_of(value.type):
        return e.convert("trunc", value, goal)
    return e.convert("sext" if signed else "zext", value, goal)


def _float_to_integer(e: Emitter, value: Ssa, to: DType) -> Ssa:
    if to is DType.U64:
        return saturated(e, value, "i64", signed=False)
    through = "i64" if to in (DType.I64, DType.U32) else "i32"
    wide = saturated(e, value, through, signed=True)
    return narrowed(e, e.convert("trunc", wide, compute_type(to)), to)


def saturated(e: Emitter, value: Ssa, integer: str, signed: bool) -> Ssa:
    """Truncated towards 0; out of range the nearest integer, NaN 0."""
    bits = bits_of(integer) - signed
    low = -(1 << bits) if signed else 0
    whole = e.convert("fptosi" if signed else "fptoui", value, integer)
    whole = e.select(e.fcmp("oge", value, number(value, 2.0**bits)), literal(whole.type, (1 << bits) - 1), whole)
    whole = e.select(e.fcmp("olt", value, number(value, low)), literal(whole.type, low), whole)
    return e.select(e.fcmp("uno", value, value), literal(whole.type, 0), whole)
