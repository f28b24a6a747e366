"""Ops on two or three operands, element by element: arithmetic, logic, bits, comparison, choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fusee.base.errors import ShapeError
from fusee.base.types import BOOL, Array, TensorType, broadcast
from fusee.ops.check import need_same_dtype
from fusee.ops.element import ALL_TYPES, INTEGERS, Binary, Comparison, Elementwise, on_pairs


@dataclass(frozen=True)
class Add(Binary):
    """a + b; integers wrap around. ONNX Add-14."""

    def function(self, a: Array, b: Array) -> Any:
        return np.add(a, b)


@dataclass(frozen=True)
class Sub(Binary):
    """a - b; integers wrap around. ONNX Sub-14."""

    def function(self, a: Array, b: Array) -> Any:
        return np.subtract(a, b)


@dataclass(frozen=True)
class Mul(Binary):
    """a * b; integers wrap around. ONNX Mul-14."""

    def function(self, a: Array, b: Array) -> Any:
        return np.multiply(a, b)


@dataclass(frozen=True)
class Div(Binary):
    """a / b; of integers the fraction is dropped, and a division by 0 gives 0. ONNX Div-14."""

    def function(self, a: Array, b: Array) -> Any:
        if a.dtype.kind == "f":
            return np.divide(a, b)
        down = np.floor_divide(a, b)
        return down + ((down * b != a) & ((a < 0) != (b < 0)) & (b != 0)).astype(down.dtype)

    def sample_operands(self, rng: np.random.Generator, *types: TensorType) -> tuple[Array, ...]:
        a, b = super().sample_operands(rng, *types)
        return a, np.where(b == 0, np.asarray(1, b.dtype), b)


@dataclass(frozen=True)
class Pow(Binary):
    """a to the power of b. Integers wrap around; a negative power of an integer is 1/a**|b| without its fraction.

    ONNX Pow-15, whose operands may differ in type: the importer casts.
    """

    def function(self, a: Array, b: Array) -> Any:
        if a.dtype.kind != "i":
            return np.power(a, b)
        inverse = np.trunc(np.power(a.astype(np.float64), np.minimum(b, 0).astype(np.float64)))
        return np.where(b >= 0, np.power(a, np.maximum(b, 0)), np.where(a == 0, 0, inverse).astype(a.dtype))

    def sample_operands(self, rng: np.random.Generator, *types: TensorType) -> tuple[Array, ...]:
        a, b = super().sample_operands(rng, *types)
        return np.abs(a) if types[0].dtype.is_float else a, b


@dataclass(frozen=True)
class Mod(Binary):
    """Remainder of a / b, with the sign of b; with ``fmod`` that of a, as in C. By the integer 0: 0. ONNX Mod-13."""

    fmod: bool = False

    def function(self, a: Array, b: Array) -> Any:
        return np.fmod(a, b) if self.fmod else np.mod(a, b)

    def sample_operands(self, rng: np.random.Generator, *types: TensorType) -> tuple[Array, ...]:
        a, b = super().sample_operands(rng, *types)
        return a, np.where(b == 0, np.asarray(1, b.dtype), b)


@dataclass(frozen=True)
class Min(Binary):
    """The smaller one; NaN when either is. ONNX Min-13."""

    def function(self, a: Array, b: Array) -> Any:
        return np.minimum(a, b)


@dataclass(frozen=True)
class Max(Binary):
    """The larger one; NaN when either is. ONNX Max-13."""

    def function(self, a: Array, b: Array) -> Any:
        return np.maximum(a, b)


@dataclass(frozen=True)
class And(Binary):
    """Whether both bools are true. ONNX And-7."""

    accepts = (BOOL,)

    def function(self, a: Array, b: Array) -> Any:
        return np.logical_and(a, b)


@dataclass(frozen=True)
class Or(Binary):
    """Whether one of the bools is true, or both. ONNX Or-7."""

    accepts = (BOOL,)

    def function(self, a: Array, b: Array) -> Any:
        return np.logical_or(a, b)


@dataclass(frozen=True)
class Xor(Binary):
    """Whether exactly one of the bools is true. ONNX Xor-7."""

    accepts = (BOOL,)

    def function(self, a: Array, b: Array) -> Any:
        return np.logical_xor(a, b)


@dataclass(frozen=True)
class BitAnd(Binary):
    """The bits that both integers have. ONNX BitwiseAnd-18."""

    accepts = INTEGERS

    def function(self, a: Array, b: Array) -> Any:
        return np.bitwise_and(a, b)


@dataclass(frozen=True)
class BitOr(Binary):
    """The bits that either integer has. ONNX BitwiseOr-18."""

    accepts = INTEGERS

    def function(self, a: Array, b: Array) -> Any:
        return np.bitwise_or(a, b)


@dataclass(frozen=True)
class BitXor(Binary):
    """The bits that exactly one of the integers has. ONNX BitwiseXor-18."""

    accepts = INTEGERS

    def function(self, a: Array, b: Array) -> Any:
        return np.bitwise_xor(a, b)


@dataclass(frozen=True)
class BitShift(Binary):
    """The bits of a moved by b places: to the left, or to the right, where copies of the sign come in.

    When b is negative, or the width of the type or more: 0, but -1 for a negative a moved to the right.
    ONNX BitShift-28.
    """

    left: bool

    accepts = INTEGERS

    def function(self, a: Array, b: Array) -> Any:
        return np.left_shift(a, b) if self.left else np.right_shift(a, b)


@dataclass(frozen=True)
class Equal(Comparison):
    """Whether a is b; NaN is not NaN. ONNX Equal-19."""

    accepts = ALL_TYPES

    def function(self, a: Array, b: Array) -> Any:
        return np.equal(a, b)


@dataclass(frozen=True)
class Less(Comparison):
    """Whether a is less than b. ONNX Less-13."""

    def function(self, a: Array, b: Array) -> Any:
        return np.less(a, b)


@dataclass(frozen=True)
class LessOrEqual(Comparison):
    """Whether a is at most b. ONNX LessOrEqual-16."""

    def function(self, a: Array, b: Array) -> Any:
        return np.less_equal(a, b)


@dataclass(frozen=True)
class Greater(Comparison):
    """Whether a is more than b. ONNX Greater-13."""

    def function(self, a: Array, b: Array) -> Any:
        return np.greater(a, b)


@dataclass(frozen=True)
class GreaterOrEqual(Comparison):
    """Whether a is at least b. ONNX GreaterOrEqual-16."""

    def function(self, a: Array, b: Array) -> Any:
        return np.greater_equal(a, b)


@dataclass(frozen=True)
class PRelu(Binary):
    """x, or slope * x below 0; the slope broadcasts to x. ONNX PRelu-16."""

    def infer(self, a: TensorType, b: TensorType) -> TensorType:
        found = super().infer(a, b)
        if found.rank != a.rank:
            raise ShapeError(f"the slope {b} does not broadcast to {a}")
        return found

    def function(self, a: Array, b: Array) -> Any:
        return np.where(a < 0, a * b, a)


@dataclass(frozen=True)
class Where(Elementwise):
    """a where the bool condition holds, else b. ONNX Where-16."""

    def infer(self, condition: TensorType, a: TensorType, b: TensorType) -> TensorType:
        if condition.dtype is not BOOL:
            raise ShapeError(f"the condition is {condition}; it must be bool")
        need_same_dtype((a, b), "the alternatives")
        return TensorType(a.dtype, broadcast(condition.shape, a.shape, b.shape))

    def reference(self, condition: Array, a: Array, b: Array) -> Array:
        return np.asarray(np.where(condition, a, b), a.dtype)


_SHAPES = ("f32[3,17] f32[3,17]", "f32[2,3,5] f32[5]", "f32[2,1,5] f32[3,1]", "f32[33] f32[]", "f16[9] f16[9]")
_FLOAT_PAIRS = (*_SHAPES, "bf16[3,5] bf16[5]", "f64[7] f64[7]")
_INTEGER_PAIRS = ("i64[3,5] i64[5]", "i32[17] i32[17]", "u8[33] u8[]", "i8[7] i8[7]", "i16[5] i16[5]")
_BOOLS = ("bool[3,17] bool[3,17]", "bool[2,1,5] bool[3,1]")
_UNSIGNED_PAIRS = ("u8[33] u8[33]", "u16[7] u16[]", "u32[3,5] u32[5]", "u64[7] u64[7]")

_ARITHMETIC: tuple[Binary, ...] = (Add(), Sub(), Mul(), Div(), Min(), Max(), PRelu())
_COMPARISONS: tuple[Comparison, ...] = (Equal(), Less(), LessOrEqual(), Greater(), GreaterOrEqual())
for _op in (*_ARITHMETIC, *_COMPARISONS):
    type(_op).samples = on_pairs(_op, *_FLOAT_PAIRS, *_INTEGER_PAIRS)
Equal.samples += on_pairs(Equal(), *_BOOLS)
PRelu.samples = on_pairs(PRelu(), "f32[2,3,5] f32[3,1]", "f32[33] f32[]", "f16[3,5] f16[5]", "i32[17] i32[17]")
Pow.samples = on_pairs(Pow(), *_FLOAT_PAIRS, "i64[3,5] i64[5]", "i32[17] i32[17]")
Mod.samples = (
    *on_pairs(Mod(), *_INTEGER_PAIRS),
    *on_pairs(Mod(fmod=True), "f32[3,17] f32[3,17]", "f64[7] f64[]", "i64[5] i64[5]", "i32[17] i32[]"),
)
for _op in (And(), Or(), Xor()):
    type(_op).samples = on_pairs(_op, *_BOOLS)
for _op in (BitAnd(), BitOr(), BitXor()):
    type(_op).samples = on_pairs(_op, *_INTEGER_PAIRS, *_UNSIGNED_PAIRS)
BitShift.samples = (
    *on_pairs(BitShift(True), *_UNSIGNED_PAIRS, *_INTEGER_PAIRS),
    *on_pairs(BitShift(False), *_UNSIGNED_PAIRS, *_INTEGER_PAIRS),
)
Where.samples = on_pairs(
    Where(),
    "bool[3,17] f32[3,17] f32[3,17]",
    "bool[3,1] f32[17] f32[]",
    "bool[] i64[5] i64[5]",
    "bool[2,3] u8[2,3] u8[3]",
    "bool[33] bf16[33] bf16[]",
    "bool[7] bool[7] bool[7]",
)

BINARY_OPS: tuple[type[Elementwise], ...] = (
    *(Add, Sub, Mul, Div, Pow, Mod, Min, Max, And, Or, Xor, BitAnd, BitOr, BitXor, BitShift),
    *(Equal, Less, LessOrEqual, Greater, GreaterOrEqual, PRelu, Where),
)
