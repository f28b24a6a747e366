"""Ops that draw random numbers on the host. The same seed gives the same numbers in every run and on every machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fusee.base import host
from fusee.base.dims import Dim
from fusee.base.errors import ShapeError
from fusee.base.types import F32, I32, I64, Array, DType, Shape, TensorType
from fusee.ir.graph import Op
from fusee.ops.check import need_rank, numbers


@dataclass(frozen=True)
class RandomUniform(Op):
    """Numbers spread evenly over [low, high), of ``shape``. ONNX RandomUniform, RandomUniformLike.

    Operands carry no data: they are what must have run before the shape is known (usually there are none).
    """

    shape: Shape
    low: float
    high: float
    dtype: DType
    seed: int
    on_host: ClassVar[str] = "random_uniform"

    def infer(self, *after: TensorType) -> TensorType:
        return TensorType(self.dtype, self.shape)

    def reference(self, *after: Array) -> tuple[Array, ...]:
        return host.random_uniform({**self.attributes(), "shape": numbers(self.shape)})


RandomUniform.samples = (
    (RandomUniform((3, 17), -1.0, 2.0, F32, 7), ()),
    (RandomUniform((0,), 0.0, 1.0, DType.F16, 7), ()),
)


@dataclass(frozen=True)
class RandomNormal(Op):
    """Normally distributed numbers of ``shape``; ``scale`` is the standard deviation.

    Operands as for RandomUniform. ONNX RandomNormal, RandomNormalLike.
    """

    shape: Shape
    mean: float
    scale: float
    dtype: DType
    seed: int
    on_host: ClassVar[str] = "random_normal"

    def infer(self, *after: TensorType) -> TensorType:
        return TensorType(self.dtype, self.shape)

    def reference(self, *after: Array) -> tuple[Array, ...]:
        return host.random_normal({**self.attributes(), "shape": numbers(self.shape)})


RandomNormal.samples = (
    (RandomNormal((3, 17), 1.0, 0.5, F32, 7), ()),
    (RandomNormal((2,), 0.0, 1.0, DType.F64, 7), ()),
)


@dataclass(frozen=True)
class Bernoulli(Op):
    """1 with the probability that each element of ``x`` says, else 0, in element type ``dtype``. ONNX Bernoulli."""

    dtype: DType
    seed: int
    on_host: ClassVar[str] = "bernoulli"

    def infer(self, x: TensorType) -> TensorType:
        return x.with_dtype(self.dtype)

    def reference(self, x: Array) -> tuple[Array, ...]:
        return host.bernoulli(self.attributes(), x)

    def sample_operands(self, rng: np.random.Generator, *types: TensorType) -> tuple[Array, ...]:
        return tuple(rng.random(t.static_shape()).astype(t.dtype.numpy) for t in types)


Bernoulli.samples = (
    (Bernoulli(F32, 3), ("f32[5,17]",)),
    (Bernoulli(DType.BOOL, 3), ("f64[33]",)),
)


@dataclass(frozen=True)
class Multinomial(Op):
    """``samples_per_row`` class numbers drawn for each row of ``x`` [batch, classes], unnormalised log-probabilities.

    Gives ``dtype`` (i32 or i64) [batch, samples_per_row]. ONNX Multinomial.
    """

    samples_per_row: Dim
    dtype: DType
    seed: int
    on_host: ClassVar[str] = "multinomial"

    def infer(self, x: TensorType) -> TensorType:
        need_rank(x, 2, "x")
        if self.dtype not in (I32, I64):
            raise ShapeError(f"class numbers are i32 or i64, not {self.dtype}")
        return TensorType(self.dtype, (x.shape[0], self.samples_per_row))

    def reference(self, x: Array) -> tuple[Array, ...]:
        return host.multinomial({**self.attributes(), "samples_per_row": numbers((self.samples_per_row,))[0]}, x)


Multinomial.samples = (
    (Multinomial(5, I32, 3), ("f32[3,7]",)),
    (Multinomial(1, I64, 3), ("f64[1,19]",)),
)

RANDOM_OPS: tuple[type[Op], ...] = (RandomUniform, RandomNormal, Bernoulli, Multinomial)
