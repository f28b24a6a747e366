"""Recurrent layers on numpy: Lstm, Gru, Rnn over whole sequences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from fusee.base.host_linear import Attributes, finished, working
from fusee.base.types import Array, DType

Step = Callable[..., list[Array]]  # the gates' input part and the states of one time step -> the new states

# Activation -> what it computes from x, alpha and beta (ONNX RNN-14).
ACTIVATIONS: dict[str, Callable[[Array, float, float], Array]] = {
    "relu": lambda x, a, b: np.maximum(x, 0),
    "tanh": lambda x, a, b: np.tanh(x),
    "sigmoid": lambda x, a, b: (0.5 * np.tanh(0.5 * x) + 0.5).astype(x.dtype),
    "affine": lambda x, a, b: (a * x + b).astype(x.dtype),
    "leakyrelu": lambda x, a, b: np.where(x >= 0, x, a * x).astype(x.dtype),
    "thresholdedrelu": lambda x, a, b: np.where(x > a, x, 0).astype(x.dtype),
    "scaledtanh": lambda x, a, b: (a * np.tanh(b * x)).astype(x.dtype),
    "hardsigmoid": lambda x, a, b: np.clip(a * x + b, 0, 1).astype(x.dtype),
    "elu": lambda x, a, b: np.where(x >= 0, x, a * np.expm1(np.minimum(x, 0))).astype(x.dtype),
    "softsign": lambda x, a, b: x / (1 + np.abs(x)),
    "softplus": lambda x, a, b: np.logaddexp(x, np.zeros((), x.dtype)),
}


@dataclass(frozen=True)
class Activation:
    """One activation with its constants bound, and the clipping of what goes into it."""

    name: str
    alpha: float
    beta: float
    clip: float

    def __call__(self, x: Array) -> Array:
        x = np.clip(x, -self.clip, self.clip) if self.clip > 0 else x
        return ACTIVATIONS[self.name](x, self.alpha, self.beta)


@dataclass(frozen=True)
class Cell:
    """What tells the layers apart: how many states and activations, and how one direction's step is made."""

    states: int
    functions: int
    extra: int  # operands after the states
    make_step: Callable[..., tuple[Array, Step]]

    @property
    def operands(self) -> int:
        """x, w, r, b, the states, and the extra ones; a further operand holds sequence lengths."""
        return 4 + self.states + self.extra


def _functions(attributes: Attributes, direction: int, count: int) -> list[Activation]:
    names = attributes["activations"]
    alphas, betas = (attributes[key] or [0.0] * len(names) for key in ("alphas", "betas"))
    span = range(direction * count, (direction + 1) * count)
    return [Activation(names[i], alphas[i], betas[i], attributes["clip"]) for i in span]


def _walk(
    backwards: bool, gates_in: Array, states: list[Array], step: Step, lens: Array | None
) -> tuple[Array, list[Array]]:
    """Run one direction: ``step`` makes new states from the gates' input part and the states; state 0 is the output."""
    length = gates_in.shape[0]
    y = np.zeros((length, *states[0].shape), states[0].dtype)
    for t in reversed(range(length)) if backwards else range(length):
        new = step(gates_in[t], *states)
        if lens is None:
            y[t] = new[0]
        else:
            active = (t < lens)[:, None]
            y[t] = np.where(active, new[0], 0)
            new = [np.where(active, n, s) for n, s in zip(new, states, strict=True)]
        states = new
    return y, states


def _run(cell: Cell, attributes: Attributes, operands: tuple[Array, ...]) -> tuple[Array, ...]:
    """All directions of a layer: outputs [T, D, N, H], then the last states [D, N, H]."""
    dtype = DType.of(operands[0].dtype)
    lens = operands[cell.operands] if len(operands) > cell.operands else None
    x, *rest = (working(a) for a in operands[: cell.operands])
    outputs: list[Array] = []
    last: list[list[Array]] = []
    for d in range(rest[0].shape[0]):
        w, r, b, *others = (a[d] for a in rest)
        functions = _functions(attributes, d, cell.functions)
        gates_in, step = cell.make_step(attributes, x, w, r, b, functions, *others[cell.states :])
        backwards = attributes["direction"] == "reverse" or d == 1
        y, states = _walk(backwards, gates_in, others[: cell.states], step, lens)
        outputs.append(y)
        last.append(states)
    stacked = (np.stack(outputs, axis=1), *(np.stack(s) for s in zip(*last, strict=True)))
    return tuple(finished(a, dtype) for a in stacked)


def _lstm_step(
    attributes: Attributes, x: Array, w: Array, r: Array, b: Array, functions: list[Activation], peepholes: Array
) -> tuple[Array, Step]:
    f, g, out = functions
    h_of = replace(out, clip=0.0)  # the cell itself is not clipped: ONNX Runtime's reading of the standard
    half = len(b) // 2
    gates_in = x @ w.T + (b[:half] + b[half:])
    p_in, p_out, p_forget = np.split(peepholes, 3)

    def step(gate: Array, h: Array, c: Array) -> list[Array]:
        i, o, forget, cell = np.split(gate + h @ r.T, 4, axis=-1)
        i = f(i + p_in * c)
        forget = 1 - i if attributes["input_forget"] else f(forget + p_forget * c)
        c = forget * c + i * g(cell)
        return [f(o + p_out * c) * h_of(c), c]

    return gates_in, step


def _gru_step(
    attributes: Attributes, x: Array, w: Array, r: Array, b: Array, functions: list[Activation]
) -> tuple[Array, Step]:
    f, g = functions
    hidden = r.shape[1]
    b_w, b_r = np.split(b, 2)
    gates_in = x @ w.T + b_w
    r_gates, r_hidden = r[: 2 * hidden].T, r[2 * hidden :].T
    b_gates, b_hidden = b_r[: 2 * hidden], b_r[2 * hidden :]

    def step(gate: Array, h: Array) -> list[Array]:
        z, reset = np.split(f(gate[..., : 2 * hidden] + h @ r_gates + b_gates), 2, axis=-1)
        new = gate[..., 2 * hidden :]
        if attributes["linear_before_reset"]:
            new = g(new + reset * (h @ r_hidden + b_hidden))
        else:
            new = g(new + (reset * h) @ r_hidden + b_hidden)
        return [(1 - z) * new + z * h]

    return gates_in, step


def _rnn_step(
    _attributes: Attributes, x: Array, w: Array, r: Array, b: Array, functions: list[Activation]
) -> tuple[Array, Step]:
    (f,) = functions
    half = len(b) // 2
    gates_in = x @ w.T + (b[:half] + b[half:])

    def step(gate: Array, h: Array) -> list[Array]:
        return [f(gate + h @ r.T)]

    return gates_in, step


LSTM = Cell(states=2, functions=3, extra=1, make_step=_lstm_step)
GRU = Cell(states=1, functions=2, extra=0, make_step=_gru_step)
RNN = Cell(states=1, functions=1, extra=0, make_step=_rnn_step)


def lstm(attributes: Attributes, *operands: Array) -> tuple[Array, ...]:
    """Long short-term memory: outputs, last h, last c."""
    return _run(LSTM, attributes, operands)


def gru(attributes: Attributes, *operands: Array) -> tuple[Array, ...]:
    """Gated recurrent unit: outputs, last h."""
    return _run(GRU, attributes, operands)


def rnn(attributes: Attributes, *operands: Array) -> tuple[Array, ...]:
    """The plain recurrent layer: outputs, last h."""
    return _run(RNN, attributes, operands)


RECURRENT_FUNCTIONS: dict[str, Callable[..., tuple[Array, ...]]] = {"lstm": lstm, "gru": gru, "rnn": rnn}
