"""Conversion between element types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from fusee.base.errors import ShapeError
from fusee.base.types import BOOL, F32, F64, Array, DType, TensorType
from fusee.base.widening import widened
from fusee.ops.element import Elementwise, on_each

E8M0 = DType.F8E8M0FNU
_E8M0_INFINITE = 0xFF  # the exponent field of an f32 that is no number, and e8m0's NaN
_ROUNDINGS = ("up", "down", "nearest")


@dataclass(frozen=True)
class Cast(Elementwise):
    """Conversion of every element to another type.

    To a float: rounds to the nearest, halves to even. To an 8-bit float, ``saturate`` turns what is too large, and
    infinity, into the largest number; without it they become infinity, or NaN in types that lack it. f4e2m1fn always
    saturates. To f8e8m0fnu, a power of two, ``rounding`` says "up", "down" or "nearest".
    From a float to an integer: drops the fraction; NaN is 0. i64, u64 and i32 saturate; u32 takes the low bits of
    the saturated i64, narrower types those of the saturated i32. Between integers: keeps the low bits.
    To bool: whether x is not 0. ONNX Cast-25.
    """

    to: DType
    saturate: bool = True
    rounding: str = "up"

    def infer(self, x: TensorType) -> TensorType:
        if self.rounding not in _ROUNDINGS:
            raise ShapeError(f"rounding {self.rounding!r} is not one of {', '.join(_ROUNDINGS)}")
        return x.with_dtype(self.to)

    def reference(self, x: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(converted(x, self.to, self.saturate, self.rounding))


def converted(x: Array, to: DType, saturate: bool = True, rounding: str = "up") -> Array:
    """The array in another element type, as ``Cast`` says."""
    wide = widened(x)
    if to is BOOL:
        return wide != 0
    if wide.dtype.kind == "f" and to.is_integer:
        return _float_to_integer(wide, to)
    if to is E8M0:
        return _to_power_of_two(wide.astype(np.float32, copy=False), saturate, rounding)
    if to.is_float and to.bits <= 8 and saturate:
        limit = float(ml_dtypes.finfo(to.numpy).max)
        return np.clip(wide.astype(np.float32, copy=False), -limit, limit).astype(to.numpy)
    if to.is_integer and to.bits < 8:
        return wide.astype(np.int32).astype(to.numpy)
    return wide.astype(to.numpy, copy=False)


def _float_to_integer(x: Array, to: DType) -> Array:
    if to is DType.U64:
        return _saturated(x, np.uint64)
    through = np.int64 if to.bits >= 32 and to is not DType.I32 else np.int32
    return _saturated(x, through).astype(to.numpy, copy=False)


def _saturated(x: Array, integer: Any) -> Array:
    """Truncated towards zero; comparisons stand where the largest integer has no float."""
    info = np.iinfo(integer)
    whole = np.nan_to_num(np.trunc(x), nan=0.0)
    inside = np.where((whole >= float(info.min)) & (whole < float(info.max)), whole, 0).astype(integer)
    return np.where(whole >= float(info.max), info.max, np.where(whole < float(info.min), info.min, inside))


def _to_power_of_two(x: Array, saturate: bool, rounding: str) -> Array:
    """e8m0 keeps the exponent field of an f32 alone; the sign is dropped."""
    bits = x.view(np.uint32)
    exponent = ((bits >> 23) & 0xFF).astype(np.int32)
    fraction = bits & 0x7FFFFF
    half = np.uint32(1 << 22)
    nearest: Array = (fraction > half) | ((fraction == half) & (exponent > 0))
    rounds_up = {"up": fraction > 0, "down": fraction < 0, "nearest": nearest}[rounding]
    finite = exponent < _E8M0_INFINITE
    limit = _E8M0_INFINITE - 1 if saturate else _E8M0_INFINITE
    found = np.where(finite, np.minimum(exponent + rounds_up, limit), _E8M0_INFINITE)
    return found.astype(np.uint8).view(E8M0.numpy)


@dataclass(frozen=True)
class BitCast(Elementwise):
    """The same bits read as another element type of the same width. ONNX BitCast-26."""

    to: DType

    def infer(self, x: TensorType) -> TensorType:
        if x.dtype.itemsize_bytes != self.to.itemsize_bytes or x.dtype.bits != self.to.bits:
            raise ShapeError(f"the operand is {x}; bits of {self.to} need a type of {self.to.bits} bits")
        return x.with_dtype(self.to)

    def reference(self, x: Array) -> Array:
        return np.ascontiguousarray(x).reshape(x.shape).view(self.to.numpy)


_F8 = (DType.F8E4M3FN, DType.F8E4M3FNUZ, DType.F8E5M2, DType.F8E5M2FNUZ)
Cast.samples = (
    *on_each(
        Cast(F32), "f64[5]", "f16[33]", "bf16[2,9]", "i64[5]", "i32[3,3]", "i16[7]", "i8[17]", "u8[17]", "bool[9]"
    ),
    *on_each(Cast(F32), "u64[5]", "u32[5]", "u16[5]", "i4[5]", "u4[5]", "f8e4m3fn[5]", "f8e5m2[5]"),
    *on_each(Cast(F64), "f32[5]", "i64[5]", "f16[3]"),
    *on_each(Cast(DType.F16), "f32[33]", "f64[5]", "i64[5]", "bf16[3]"),
    *on_each(Cast(DType.BF16), "f32[33]", "f16[5]", "i32[5]"),
    *on_each(Cast(DType.I64), "f32[3,17]", "f64[5]", "i32[5]", "u8[5]", "bool[5]", "f16[5]"),
    *on_each(Cast(DType.I32), "f32[3,17]", "f64[5]", "i64[5]", "i8[5]", "bool[5]"),
    *on_each(Cast(DType.I8), "f32[17]", "i32[5]", "u8[5]"),
    *on_each(Cast(DType.U8), "f32[17]", "i32[5]", "i8[5]", "bool[5]"),
    *on_each(Cast(DType.U64), "f32[5]", "i32[5]"),
    *on_each(Cast(DType.U32), "f32[5]", "i64[5]"),
    *on_each(Cast(DType.I16), "f32[5]", "i32[5]"),
    *on_each(Cast(DType.U16), "f32[5]", "i32[5]"),
    *on_each(Cast(DType.I4), "f32[5]", "i8[5]"),
    *on_each(Cast(DType.U4), "f32[5]", "u8[5]"),
    *on_each(Cast(DType.I2), "f32[5]"),
    *on_each(Cast(DType.U2), "f32[5]"),
    *on_each(Cast(DType.F4E2M1FN), "f32[17]"),
    *on_each(Cast(E8M0, rounding="nearest"), "f32[17]"),
    *on_each(Cast(BOOL), "f32[17]", "i64[5]", "i32[5]", "u8[5]"),
    *(sample for f8 in _F8 for sample in on_each(Cast(f8), "f32[17]", "f16[5]")),
    *on_each(Cast(DType.F8E4M3FN, saturate=False), "f32[17]"),
)
BitCast.samples = (
    *on_each(BitCast(DType.I32), "f32[3,5]"),
    *on_each(BitCast(F32), "i32[]"),
    *on_each(BitCast(DType.U8), "i8[17]"),
)
CAST_OPS: tuple[type[Elementwise], ...] = (Cast, BitCast)
