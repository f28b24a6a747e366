"""The activations of recurrent layers on lanes, by their ONNX names, and the weights in the order kernels read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from fusee.base.types import Array
from fusee.kernels.cpu import math_exp as m
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.math_exp import number
from fusee.kernels.cpu.ssa import Ssa
from fusee.ops.recurrent import Recurrent

Function = Callable[[Emitter, Ssa, float, float], Ssa]


def _select(predicate: str, edge: Callable[[float], float], low: Function) -> Function:
    """x where it compares with an edge, else something lower."""

    def emit(e: Emitter, x: Ssa, a: float, b: float) -> Ssa:
        return e.select(e.fcmp(predicate, x, number(x, edge(a))), x, low(e, x, a, b))

    return emit


def _hard_sigmoid(e: Emitter, x: Ssa, a: float, b: float) -> Ssa:
    return e.fmax(number(x, 0), e.fmin(number(x, 1), e.fma(x, number(x, a), number(x, b))))


FUNCTIONS: Mapping[str, Function] = {
    "relu": lambda e, x, _a, _b: e.fmax(number(x, 0), x),
    "tanh": lambda e, x, _a, _b: m.tanh(e, x),
    "sigmoid": lambda e, x, _a, _b: m.sigmoid(e, x),
    "affine": lambda e, x, a, b: e.fma(x, number(x, a), number(x, b)),
    "leakyrelu": _select("oge", lambda _a: 0, lambda e, x, a, _b: e.fmul(x, number(x, a))),
    "thresholdedrelu": _select("ogt", lambda a: a, lambda _e, x, _a, _b: number(x, 0)),
    "scaledtanh": lambda e, x, a, b: e.fmul(m.tanh(e, e.fmul(x, number(x, b))), number(x, a)),
    "hardsigmoid": _hard_sigmoid,
    "elu": _select("oge", lambda _a: 0, lambda e, x, a, _b: e.fmul(m.expm1(e, x), number(x, a))),
    "softsign": lambda e, x, _a, _b: e.fdiv(x, e.fadd(number(x, 1), m.absolute(e, x))),
    "softplus": lambda e, x, _a, _b: m.softplus(e, x),
}


def activate(e: Emitter, op: Recurrent, direction: int, which: int, x: Ssa, clipped: bool = True) -> Ssa:
    """The ``which``-th activation of a direction."""
    i = direction * op.cell.functions + which
    if clipped and op.clip > 0:
        x = e.fmax(number(x, -op.clip), e.fmin(number(x, op.clip), x))
    alpha, beta = (values[i] if values else 0.0 for values in (op.alphas, op.betas))
    return FUNCTIONS[op.activations[i]](e, x, alpha, beta)


def packed_rows(weights: Array, gates: int, padded: int) -> Array:
    """[D, gates * H, K] -> [D, K, gates * padded]: what one step of a sum over K multiplies lies together."""
    directions, rows, depth = weights.shape
    hidden = rows // gates
    spread = np.zeros((directions, depth, gates, padded), np.float32)
    spread[..., :hidden] = weights.reshape(directions, gates, hidden, depth).transpose(0, 3, 1, 2)
    return spread.reshape(directions, depth, gates * padded)


def packed_vector(values: Array, gates: int, padded: int) -> Array:
    """[D, gates * H] -> [D, gates * padded]."""
    directions, rows = values.shape
    spread = np.zeros((directions, gates, padded), np.float32)
    spread[..., : rows // gates] = values.reshape(directions, gates, -1)
    return spread.reshape(directions, gates * padded)
