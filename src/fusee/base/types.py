"""The type of a tensor: its element type and its shape."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from fusee.base.dims import Dim, evaluate, parse_dim, product, substitute, symbols
from fusee.base.errors import ParseError, ShapeError

Array = npt.NDArray[Any]
Shape = tuple[Dim, ...]


class DType(Enum):
    """An element type. Elements take whole bytes in memory: 4-bit types one byte each, bool one byte of 0 or 1."""

    F64 = "f64"
    F32 = "f32"
    F16 = "f16"
    BF16 = "bf16"
    F8E4M3FN = "f8e4m3fn"
    F8E4M3FNUZ = "f8e4m3fnuz"
    F8E5M2 = "f8e5m2"
    F8E5M2FNUZ = "f8e5m2fnuz"
    F8E8M0FNU = "f8e8m0fnu"
    F4E2M1FN = "f4e2m1fn"
    I64 = "i64"
    I32 = "i32"
    I16 = "i16"
    I8 = "i8"
    I4 = "i4"
    I2 = "i2"
    U64 = "u64"
    U32 = "u32"
    U16 = "u16"
    U8 = "u8"
    U4 = "u4"
    U2 = "u2"
    BOOL = "bool"

    def __str__(self) -> str:
        return self.value

    @property
    def numpy(self) -> np.dtype[Any]:
        """The numpy element type that holds it."""
        return _NUMPY[self]

    @property
    def itemsize_bytes(self) -> int:
        return self.numpy.itemsize

    @property
    def is_float(self) -> bool:
        return self.value[0] in "f" or self is DType.BF16

    @property
    def is_integer(self) -> bool:
        return self.value[0] in "iu"

    @property
    def is_signed(self) -> bool:
        return self.is_float or self.value[0] == "i"

    @property
    def bits(self) -> int:
        """The width of the type itself, which for 4-bit types is less than what it takes in memory."""
        found = re.search(r"\d+", self.value)
        return int(found[0]) if found else 8

    @staticmethod
    def of(dtype: npt.DTypeLike) -> DType:
        """The element type of a numpy dtype. Raises ParseError for one that has none here, such as str."""
        found = _FROM_NUMPY.get(np.dtype(dtype))
        if found is None:
            raise ParseError(
                f"numpy type {np.dtype(dtype)} has no element type here; known: {', '.join(map(str, DType))}"
            )
        return found


_NUMPY: dict[DType, np.dtype[Any]] = {
    DType.F64: np.dtype(np.float64),
    DType.F32: np.dtype(np.float32),
    DType.F16: np.dtype(np.float16),
    DType.BF16: np.dtype(ml_dtypes.bfloat16),
    DType.F8E4M3FN: np.dtype(ml_dtypes.float8_e4m3fn),
    DType.F8E4M3FNUZ: np.dtype(ml_dtypes.float8_e4m3fnuz),
    DType.F8E5M2: np.dtype(ml_dtypes.float8_e5m2),
    DType.F8E5M2FNUZ: np.dtype(ml_dtypes.float8_e5m2fnuz),
    DType.F8E8M0FNU: np.dtype(ml_dtypes.float8_e8m0fnu),
    DType.F4E2M1FN: np.dtype(ml_dtypes.float4_e2m1fn),
    DType.I64: np.dtype(np.int64),
    DType.I32: np.dtype(np.int32),
    DType.I16: np.dtype(np.int16),
    DType.I8: np.dtype(np.int8),
    DType.I4: np.dtype(ml_dtypes.int4),
    DType.I2: np.dtype(ml_dtypes.int2),
    DType.U64: np.dtype(np.uint64),
    DType.U32: np.dtype(np.uint32),
    DType.U16: np.dtype(np.uint16),
    DType.U8: np.dtype(np.uint8),
    DType.U4: np.dtype(ml_dtypes.uint4),
    DType.U2: np.dtype(ml_dtypes.uint2),
    DType.BOOL: np.dtype(np.bool_),
}
_FROM_NUMPY = {numpy_type: dtype for dtype, numpy_type in _NUMPY.items()}
F32, F16, BF16, F64 = DType.F32, DType.F16, DType.BF16, DType.F64
I64, I32, I8, U8, BOOL = DType.I64, DType.I32, DType.I8, DType.U8, DType.BOOL


@dataclass(frozen=True)
class TensorType:
    """``f32[N,3,224,224]``: row-major, each dimension a number or an expression over names."""

    dtype: DType
    shape: Shape

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> Dim:
        """The number of elements."""
        return product(self.shape)

    @property
    def size_bytes(self) -> Dim:
        return self.size * self.dtype.itemsize_bytes

    @property
    def is_static(self) -> bool:
        return all(isinstance(d, int) for d in self.shape)

    def symbols(self) -> frozenset[str]:
        return symbols(self.shape)

    def static_shape(self) -> tuple[int, ...]:
        """The shape as numbers. Raises ShapeError when a dimension is not known."""
        if not self.is_static:
            raise ShapeError(f"a shape known at build time is needed here, but the tensor is {self}")
        return tuple(d for d in self.shape if isinstance(d, int))

    def with_shape(self, shape: Shape) -> TensorType:
        return TensorType(self.dtype, tuple(shape))

    def with_dtype(self, dtype: DType) -> TensorType:
        return TensorType(dtype, self.shape)

    def substitute(self, values: Mapping[str, Dim]) -> TensorType:
        return TensorType(self.dtype, tuple(substitute(d, values) for d in self.shape))

    def bind(self, values: Mapping[str, int]) -> tuple[int, ...]:
        """The shape as numbers, given every name in it."""
        return tuple(evaluate(d, values) for d in self.shape)

    @staticmethod
    def of(array: Array) -> TensorType:
        return TensorType(DType.of(array.dtype), tuple(array.shape))

    @staticmethod
    def parse(text: str) -> TensorType:
        """Read ``f32[N,3,(H)//(2)]``. Raises ParseError with what was expected."""
        found = re.fullmatch(r"(\w+)\[(.*)\]", text.strip())
        if found is None or found[1] not in {d.value for d in DType}:
            raise ParseError(f"expected a tensor type such as f32[N,3,224,224], got {text.strip()!r}")
        return TensorType(DType(found[1]), tuple(parse_dim(d) for d in _split_commas(found[2])))


def _split_commas(text: str) -> list[str]:
    """Split at the commas that stand outside brackets."""
    parts, depth, start = [], 0, 0
    for i, char in enumerate(text):
        depth += (char in "([{") - (char in ")]}")
        if char == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [p for p in (*parts, text[start:]) if p.strip()]


def broadcast(*shapes: Shape) -> Shape:
    """The shape numpy broadcasting gives; a name broadcasts with 1 and with itself.

    Two different expressions are taken to be equal at run time when neither is a number (the exporter knew);
    the first wins, and the run checks it. Raises ShapeError when two sizes differ and neither is 1.
    """
    rank = max(map(len, shapes), default=0)
    columns = zip(*[(1,) * (rank - len(s)) + tuple(s) for s in shapes], strict=True)
    return tuple(_broadcast_dim(column, shapes) for column in columns)


def _broadcast_dim(dims: tuple[Dim, ...], shapes: tuple[Shape, ...]) -> Dim:
    sizes = list(dict.fromkeys(d for d in dims if d != 1))
    numbers = [d for d in sizes if isinstance(d, int)]
    if len(numbers) > 1:
        listed = " with ".join(f"[{','.join(map(str, s))}]" for s in shapes)
        raise ShapeError(f"cannot broadcast {listed}: sizes {sorted(numbers)} differ")
    if numbers:
        return numbers[0]
    return sizes[0] if sizes else 1
