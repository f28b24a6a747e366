"""Between real numbers and small integers or floats that stand for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fusee.base.dims import ceildiv
from fusee.base.errors import ShapeError
from fusee.base.types import F32, Array, DType, TensorType
from fusee.base.widening import widened
from fusee.ops.cast import converted
from fusee.ops.check import need_axis, need_equal
from fusee.ops.element import Elementwise, on_pairs

_LIMITS: dict[DType, tuple[int, int]] = {
    DType.U2: (0, 3),
    DType.I2: (-2, 1),
    DType.U4: (0, 15),
    DType.I4: (-8, 7),
    DType.U8: (0, 255),
    DType.I8: (-128, 127),
    DType.U16: (0, 65535),
    DType.I16: (-32768, 32767),
}
_SMALL_FLOATS = (DType.F8E4M3FN, DType.F8E4M3FNUZ, DType.F8E5M2, DType.F8E5M2FNUZ, DType.F4E2M1FN)
QUANTIZED_TYPES: tuple[DType, ...] = (*_LIMITS, *_SMALL_FLOATS)


def _need_parameters(x: TensorType, scale: TensorType, zero: TensorType, axis: int | None, block: int | None) -> None:
    """Raise ShapeError unless scale and zero point have one element, one per index of the axis, or one per block."""
    if scale.shape != zero.shape:
        raise ShapeError(f"the scale is {scale}, the zero point {zero}; their shapes must agree")
    if axis is None:
        if scale.shape not in ((), (1,)):
            raise ShapeError(f"the scale is {scale}; without an axis it must be a scalar")
        return
    need_axis(axis, x.rank)
    if block is None:
        if scale.rank != 1:
            raise ShapeError(f"the scale is {scale}; along axis {axis} of {x} it must have rank 1")
        need_equal(scale.shape[0], x.shape[axis], f"scales and axis {axis} of {x}")
        return
    wanted = tuple(ceildiv(d, block) if i == axis else d for i, d in enumerate(x.shape))
    for found, size in zip(scale.shape, wanted, strict=False):
        need_equal(found, size, f"scales {scale} for blocks of {block} along axis {axis} of {x}")
    if scale.rank != x.rank:
        raise ShapeError(f"the scale is {scale}; in blocks along axis {axis} it must have the rank of {x}")


def _spread(parameter: Array, shape: tuple[int, ...], axis: int | None, block: int | None) -> Array:
    """A scale or zero point shaped to broadcast against x."""
    if axis is None:
        return parameter.reshape(())
    if block is None:
        return parameter.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return np.take(parameter, np.arange(shape[axis]) // block, axis=axis)


@dataclass(frozen=True)
class Quantize(Elementwise):
    """Real numbers as small ones: x / scale + zero, rounded (halves to even) and limited to what ``to`` holds.

    x: float or i32; ``scale``: float, ``zero``: ``to``, both scalars, or of rank 1 along ``axis``, or with one element
    per ``block`` indices of the axis and the other axes as in x. To 8-bit floats ``saturate`` is as in Cast.
    x / scale is in f32. ONNX QuantizeLinear-25.
    """

    to: DType
    axis: int | None = None
    block: int | None = None
    saturate: bool = True

    def infer(self, x: TensorType, scale: TensorType, zero: TensorType) -> TensorType:
        if self.to not in QUANTIZED_TYPES or zero.dtype is not self.to:
            raise ShapeError(f"the zero point is {zero}, the result {self.to}; both must be the same quantised type")
        _need_parameters(x, scale, zero, self.axis, self.block)
        return x.with_dtype(self.to)

    def reference(self, x: Array, scale: Array, zero: Array) -> Array:
        steps = _spread(scale.astype(np.float32), x.shape, self.axis, self.block)
        offset = _spread(widened(zero), x.shape, self.axis, self.block)
        with np.errstate(all="ignore"):
            ratio = widened(x).astype(np.float32) / steps
            if self.to not in _LIMITS:
                return np.asarray(converted(np.asarray(ratio + offset, np.float32), self.to, self.saturate))
            low, high = _LIMITS[self.to]
            limited = np.nan_to_num(np.clip(np.rint(ratio) + offset, low, high), nan=0.0)
            return np.asarray(limited).astype(np.int32).astype(self.to.numpy)

    def sample_operands(self, rng: np.random.Generator, *types: TensorType) -> tuple[Array, ...]:
        x, scale, zero = super().sample_operands(rng, *types)
        return x, _sample_scale(rng, scale), zero if self.to in _LIMITS else np.zeros_like(zero)


@dataclass(frozen=True)
class Dequantize(Elementwise):
    """Small numbers as the real ones they stand for: (x - zero) * scale, computed in f32.

    x: quantised type or i32; ``scale``: float, ``zero``: the type of x, shaped as in Quantize -> ``to``.
    ONNX DequantizeLinear-25.
    """

    axis: int | None = None
    block: int | None = None
    to: DType = F32

    def infer(self, x: TensorType, scale: TensorType, zero: TensorType) -> TensorType:
        if x.dtype not in (*QUANTIZED_TYPES, DType.I32) or zero.dtype is not x.dtype:
            raise ShapeError(f"the operand is {x}, the zero point {zero}; both must be the same quantised type or i32")
        if not self.to.is_float:
            raise ShapeError(f"the result is {self.to}; it must be a float")
        _need_parameters(x, scale, zero, self.axis, self.block)
        return x.with_dtype(self.to)

    def reference(self, x: Array, scale: Array, zero: Array) -> Array:
        steps = _spread(scale.astype(np.float32), x.shape, self.axis, self.block)
        offset = _spread(widened(zero), x.shape, self.axis, self.block)
        wide = widened(x)
        difference = wide - offset if wide.dtype.kind == "f" else wide.astype(np.int32) - offset.astype(np.int32)
        with np.errstate(all="ignore"):
            return np.asarray(difference.astype(np.float32) * steps).astype(self.to.numpy)

    def sample_operands(self, rng: np.random.Generator, *types: TensorType) -> tuple[Array, ...]:
        x, scale, zero = super().sample_operands(rng, *types)
        return x, _sample_scale(rng, scale), zero if types[0].dtype in _LIMITS else np.zeros_like(zero)


def _sample_scale(rng: np.random.Generator, scale: Array) -> Array:
    return rng.uniform(0.01, 0.3, scale.shape).astype(scale.dtype)


Quantize.samples = (
    *on_pairs(Quantize(DType.U8), "f32[3,17] f32[] u8[]", "f32[65] f32[1] u8[1]", "f16[33] f16[] u8[]"),
    *on_pairs(Quantize(DType.I8), "f32[3,17] f32[] i8[]", "i32[33] f32[] i8[]", "bf16[9] f32[] i8[]"),
    *on_pairs(Quantize(DType.I8, axis=1), "f32[2,3,5] f32[3] i8[3]", "f32[2,17,5] f32[17] i8[17]"),
    *on_pairs(Quantize(DType.U8, axis=0), "f32[3,7] f32[3] u8[3]"),
    *on_pairs(Quantize(DType.I8, axis=1, block=4), "f32[3,10] f32[3,3] i8[3,3]"),
    *on_pairs(Quantize(DType.U16), "f32[9] f32[] u16[]"),
    *on_pairs(Quantize(DType.I16), "f32[9] f32[] i16[]"),
    *on_pairs(Quantize(DType.I4), "f32[9] f32[] i4[]"),
    *on_pairs(Quantize(DType.U4, axis=1, block=4), "f32[3,8] f32[3,2] u4[3,2]"),
    *on_pairs(Quantize(DType.F8E4M3FN), "f32[9] f32[] f8e4m3fn[]"),
    *on_pairs(Quantize(DType.F8E5M2, saturate=False), "f32[9] f32[] f8e5m2[]"),
)
Dequantize.samples = (
    *on_pairs(Dequantize(), "u8[3,17] f32[] u8[]", "i8[65] f32[1] i8[1]", "i32[33] f32[] i32[]", "u16[9] f32[] u16[]"),
    *on_pairs(Dequantize(axis=1), "i8[2,3,5] f32[3] i8[3]", "u8[2,17] f32[17] u8[17]"),
    *on_pairs(Dequantize(axis=0), "i8[7,5] f32[7] i8[7]", "i32[7] f32[7] i32[7]"),
    *on_pairs(Dequantize(axis=1, block=4), "i8[3,10] f32[3,3] i8[3,3]", "u4[3,8] f32[3,2] u4[3,2]"),
    *on_pairs(Dequantize(axis=0, block=4), "i4[8,5] f32[2,5] i4[2,5]"),
    *on_pairs(Dequantize(to=DType.F16), "u8[33] f16[] u8[]"),
    *on_pairs(Dequantize(), "f8e4m3fn[9] f32[] f8e4m3fn[]", "i4[9] f32[] i4[]"),
)
QUANTIZE_OPS: tuple[type[Elementwise], ...] = (Quantize, Dequantize)
