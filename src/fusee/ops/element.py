"""What every op computed element by element shares: which element types it takes, and in which it computes."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from fusee.base.errors import InternalError, ShapeError
from fusee.base.types import BOOL, Array, DType, TensorType, broadcast
from fusee.base.widening import computed, kept
from fusee.ir.graph import Op, Sample
from fusee.ops.check import need_same_dtype

ALL_TYPES: tuple[DType, ...] = tuple(DType)
FLOATS: tuple[DType, ...] = tuple(t for t in DType if t.is_float)
INTEGERS: tuple[DType, ...] = tuple(t for t in DType if t.is_integer)
UNSIGNED: tuple[DType, ...] = tuple(t for t in INTEGERS if not t.is_signed)
SIGNED: tuple[DType, ...] = tuple(t for t in DType if t.is_signed)
NUMBERS: tuple[DType, ...] = FLOATS + INTEGERS

FLOAT_SAMPLES = ("f32[3,17]", "f64[5]", "f16[33]", "bf16[2,9]")


def on_each(op: Op, *types: str) -> tuple[Sample, ...]:
    """The op sampled on single operands of several types."""
    return tuple((op, (t,)) for t in types)


def on_pairs(op: Op, *pairs: str) -> tuple[Sample, ...]:
    """The op sampled on operands given as ``"f32[3,5] f32[5]"``."""
    return tuple((op, tuple(p.split())) for p in pairs)


class Elementwise(Op):
    """Base of ops whose result at a place depends on the operands at that place alone; operands broadcast.

    f16, bf16 and narrower floats compute in f32 and round once.
    """

    accepts: ClassVar[tuple[DType, ...]] = ALL_TYPES

    def need_accepted(self, *operands: TensorType) -> None:
        """Raise ShapeError when an operand's element type is not one the op takes."""
        for operand in operands:
            if operand.dtype not in self.accepts:
                listed = ", ".join(map(str, self.accepts))
                raise ShapeError(f"an operand is {operand}; expected an element type of {listed}")


class Unary(Elementwise):
    """Base of ops on one operand that keep its type: subclasses give ``function`` on widened arrays."""

    accepts = FLOATS
    sample_range: ClassVar[tuple[float, float] | None] = None  # where samples are drawn, when the domain is limited

    def infer(self, x: TensorType) -> TensorType:
        self.need_accepted(x)
        return x

    def reference(self, x: Array) -> Array:
        return kept(self.function, x)

    def function(self, x: Array) -> Any:
        """The result on the whole array, in the type that references compute in."""
        raise InternalError(f"{type(self).__name__} gives no function")

    def sample_operands(self, rng: np.random.Generator, *types: TensorType) -> tuple[Array, ...]:
        if self.sample_range is None:
            return super().sample_operands(rng, *types)
        low, high = self.sample_range
        return tuple(rng.uniform(low, high, t.static_shape()).astype(t.dtype.numpy) for t in types)


class Predicate(Elementwise):
    """Base of ops that ask something of one operand: the result is bool."""

    accepts = FLOATS

    def infer(self, x: TensorType) -> TensorType:
        self.need_accepted(x)
        return x.with_dtype(BOOL)

    def reference(self, x: Array) -> Array:
        return computed(self.function, BOOL, x)

    def function(self, x: Array) -> Any:
        """The answer on the whole array."""
        raise InternalError(f"{type(self).__name__} gives no function")


class Binary(Elementwise):
    """Base of ops on two operands of one element type, which the result keeps."""

    accepts = NUMBERS

    def infer(self, a: TensorType, b: TensorType) -> TensorType:
        need_same_dtype((a, b), "the operands")
        self.need_accepted(a)
        return TensorType(a.dtype, broadcast(a.shape, b.shape))

    def reference(self, a: Array, b: Array) -> Array:
        return computed(self.function, DType.of(a.dtype), a, b)

    def function(self, a: Array, b: Array) -> Any:
        """The result on whole arrays, in the type that references compute in."""
        raise InternalError(f"{type(self).__name__} gives no function")


class Comparison(Binary):
    """Base of ops that compare two operands of one element type: the result is bool."""

    def infer(self, a: TensorType, b: TensorType) -> TensorType:
        return super().infer(a, b).with_dtype(BOOL)

    def reference(self, a: Array, b: Array) -> Array:
        return computed(self.function, BOOL, a, b)
