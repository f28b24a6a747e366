"""Activation functions of one operand."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sqrt
from typing import Any

import numpy as np

from fusee.base.types import Array
from fusee.ops.element import FLOAT_SAMPLES, NUMBERS, Elementwise, Unary, on_each
from fusee.ops.erf import erf


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))


def softplus(x: Array) -> Array:
    """log(1 + exp(x)), without overflow."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


@dataclass(frozen=True)
class Sigmoid(Unary):
    """Logistic function: 1 / (1 + exp(-x)). ONNX Sigmoid-13."""

    def function(self, x: Array) -> Any:
        return sigmoid(x)


@dataclass(frozen=True)
class Relu(Unary):
    """max(x, 0); NaN stays NaN. ONNX Relu-14."""

    accepts = NUMBERS

    def function(self, x: Array) -> Any:
        return np.maximum(x, 0)


@dataclass(frozen=True)
class Gelu(Unary):
    """x times the normal distribution's share below x: x/2 * (1 + erf(x / sqrt(2))).

    ``approximate`` computes x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 * x**3))) instead. ONNX Gelu-20.
    """

    approximate: bool = False

    def function(self, x: Array) -> Any:
        if self.approximate:
            return 0.5 * x * (1 + np.tanh(sqrt(2 / pi) * (x + 0.044715 * x * x * x)))
        wide = x.astype(np.float64)  # where 1 + erf cancels, f32 would keep few digits
        return 0.5 * wide * (1 + erf(wide / sqrt(2)))


@dataclass(frozen=True)
class Silu(Unary):
    """x * sigmoid(alpha * x): SiLU at alpha 1, the quick GELU at 1.702. ONNX Swish-24."""

    alpha: float = 1.0

    def function(self, x: Array) -> Any:
        return x * sigmoid(self.alpha * x)


@dataclass(frozen=True)
class HardSwish(Unary):
    """x * max(0, min(1, x/6 + 1/2)). ONNX HardSwish-14."""

    def function(self, x: Array) -> Any:
        return x * np.clip(x / 6 + 0.5, 0, 1)


@dataclass(frozen=True)
class HardSigmoid(Unary):
    """max(0, min(1, alpha * x + beta)). ONNX HardSigmoid-6."""

    alpha: float = 0.2
    beta: float = 0.5

    def function(self, x: Array) -> Any:
        return np.clip(self.alpha * x + self.beta, 0, 1)


@dataclass(frozen=True)
class LeakyRelu(Unary):
    """x, or alpha * x below 0. ONNX LeakyRelu-16."""

    alpha: float = 0.01

    def function(self, x: Array) -> Any:
        return np.where(x < 0, self.alpha * x, x)


@dataclass(frozen=True)
class Elu(Unary):
    """x, or alpha * (exp(x) - 1) below 0. ONNX Elu-6."""

    alpha: float = 1.0

    def function(self, x: Array) -> Any:
        return np.where(x < 0, self.alpha * np.expm1(x), x)


@dataclass(frozen=True)
class Selu(Unary):
    """gamma * x, or gamma * alpha * (exp(x) - 1) up to 0. ONNX Selu-6."""

    alpha: float = 1.6732632
    gamma: float = 1.0507009

    def function(self, x: Array) -> Any:
        return self.gamma * np.where(x > 0, x, self.alpha * np.expm1(x))


@dataclass(frozen=True)
class Celu(Unary):
    """max(0, x) + min(0, alpha * (exp(x / alpha) - 1)). ONNX Celu-12."""

    alpha: float = 1.0

    def function(self, x: Array) -> Any:
        return np.maximum(x, 0) + np.minimum(self.alpha * np.expm1(x / self.alpha), 0)


@dataclass(frozen=True)
class Softplus(Unary):
    """log(1 + exp(x)). ONNX Softplus-1."""

    def function(self, x: Array) -> Any:
        return softplus(x)


@dataclass(frozen=True)
class Softsign(Unary):
    """x / (1 + |x|). ONNX Softsign-1."""

    def function(self, x: Array) -> Any:
        return x / (1 + np.abs(x))


@dataclass(frozen=True)
class Mish(Unary):
    """x * tanh(softplus(x)). ONNX Mish-18."""

    def function(self, x: Array) -> Any:
        return x * np.tanh(softplus(x))


@dataclass(frozen=True)
class ThresholdedRelu(Unary):
    """x where it is above alpha, else 0. ONNX ThresholdedRelu-10."""

    alpha: float = 1.0

    def function(self, x: Array) -> Any:
        return np.where(x > self.alpha, x, np.zeros_like(x))


@dataclass(frozen=True)
class Shrink(Unary):
    """x + bias below -lambd, x - bias above lambd, 0 between. ONNX Shrink-9."""

    lambd: float = 0.5
    bias: float = 0.0

    def function(self, x: Array) -> Any:
        return np.where(x < -self.lambd, x + self.bias, np.where(x > self.lambd, x - self.bias, 0))


ACTIVATION_OPS: tuple[type[Elementwise], ...] = (
    *(Sigmoid, Relu, Gelu, Silu, HardSwish, HardSigmoid, LeakyRelu, Elu, Selu, Celu, Softplus, Softsign, Mish),
    *(ThresholdedRelu, Shrink),
)
for _op in ACTIVATION_OPS:
    _op.samples = on_each(_op(), *FLOAT_SAMPLES)
Relu.samples += on_each(Relu(), "i32[3,3]", "i8[17]")
Gelu.samples += on_each(Gelu(approximate=True), *FLOAT_SAMPLES)
Silu.samples += on_each(Silu(alpha=1.702), "f32[33]")
HardSigmoid.samples += on_each(HardSigmoid(alpha=1 / 6, beta=0.5), "f32[33]")
LeakyRelu.samples += on_each(LeakyRelu(alpha=0.2), "f32[33]")
Elu.samples += on_each(Elu(alpha=2.0), "f32[33]")
Celu.samples += on_each(Celu(alpha=2.0), "f32[33]")
Shrink.samples += on_each(Shrink(lambd=1.5, bias=1.5), "f32[33]")
