"""The activations of recurrent layers, with their constants, on vectors (ONNX RNN-14)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.math_exp import absolute, expm1, number, sigmoid, softplus, tanh
from fusee.kernels.cpu.ssa import Ssa
from fusee.ops.recurrent import Recurrent

Function = Callable[[Emitter, Ssa, float, float], Ssa]


def _floor_at(e: Emitter, x: Ssa, low: float) -> Ssa:
    """The larger of two; NaN stays."""
    return e.fmax(number(x, low), x)


def _affine(e: Emitter, x: Ssa, a: float, b: float) -> Ssa:
    return e.fma(x, number(x, a), number(x, b))


def _leaky(e: Emitter, x: Ssa, a: float, b: float) -> Ssa:
    return e.select(e.fcmp("olt", x, number(x, 0)), e.fmul(x, number(x, a)), x)


def _elu(e: Emitter, x: Ssa, a: float, b: float) -> Ssa:
    below = e.fmul(expm1(e, e.fmin(x, number(x, 0))), number(x, a))
    return e.select(e.fcmp("olt", x, number(x, 0)), below, x)


def _thresholded(e: Emitter, x: Ssa, a: float, b: float) -> Ssa:
    return e.select(e.fcmp("ogt", x, number(x, a)), x, number(x, 0))


def _scaled_tanh(e: Emitter, x: Ssa, a: float, b: float) -> Ssa:
    return e.fmul(tanh(e, e.fmul(x, number(x, b))), number(x, a))


def _hard_sigmoid(e: Emitter, x: Ssa, a: float, b: float) -> Ssa:
    return e.fmin(number(x, 1), _floor_at(e, _affine(e, x, a, b), 0))


def _softsign(e: Emitter, x: Ssa, a: float, b: float) -> Ssa:
    return e.fdiv(x, e.fadd(absolute(e, x), number(x, 1)))


FUNCTIONS: dict[str, Function] = {
    "relu": lambda e, x, a, b: _floor_at(e, x, 0),
    "tanh": lambda e, x, a, b: tanh(e, x),
    "sigmoid": lambda e, x, a, b: sigmoid(e, x),
    "affine": _affine,
    "leakyrelu": _leaky,
    "thresholdedrelu": _thresholded,
    "scaledtanh": _scaled_tanh,
    "hardsigmoid": _hard_sigmoid,
    "elu": _elu,
    "softsign": _softsign,
    "softplus": lambda e, x, a, b: softplus(e, x),
}


@dataclass(frozen=True)
class Activation:
    """One activation with its constants bound, and the clipping of what goes into it."""

    name: str
    alpha: float
    beta: float
    clip: float

    @staticmethod
    def all_of(op: Recurrent, direction: int) -> tuple[Activation, ...]:
        """The activations of one direction of a layer."""
        count = op.cell.functions
        alphas, betas = (given or (0.0,) * len(op.activations) for given in (op.alphas, op.betas))
        span = range(direction * count, (direction + 1) * count)
        return tuple(Activation(op.activations[i], alphas[i], betas[i], op.clip) for i in span)

    def __call__(self, e: Emitter, x: Ssa) -> Ssa:
        if self.clip > 0:
            x = e.fmin(number(x, self.clip), _floor_at(e, x, -self.clip))
        return FUNCTIONS[self.name](e, x, self.alpha, self.beta)
