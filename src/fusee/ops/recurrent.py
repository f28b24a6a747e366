"""Recurrent layers: Lstm, Gru, Rnn over a whole sequence, in one or both directions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fusee.base.dims import Dim, product
from fusee.base.errors import ShapeError
from fusee.base.types import Array, DType, TensorType
from fusee.ir.graph import Op, Sample
from fusee.ops.linear import differ, finished, working

DIRECTIONS = ("forward", "reverse", "bidirectional")
_MANY_TERMS = 1 << 20
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
# Activation -> its alpha and beta when the model gives none.
ACTIVATION_DEFAULTS: dict[str, tuple[float, float]] = {
    "affine": (1.0, 0.0),
    "leakyrelu": (0.01, 0.0),
    "thresholdedrelu": (1.0, 0.0),
    "scaledtanh": (1.0, 1.0),
    "hardsigmoid": (0.2, 0.5),
    "elu": (1.0, 0.0),
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
class Recurrent(Op):
    """What Lstm, Gru and Rnn share.

    ``activations`` holds the names (keys of ACTIVATIONS) of one direction after the other, ``alphas`` and ``betas``
    their constants; ``clip``, unless 0, bounds what goes into them. The last operand, if there is one more than
    needed, holds the length of each sequence: beyond it the state stands still and the output is 0.
    """

    direction: str
    activations: tuple[str, ...]
    alphas: tuple[float, ...] = ()
    betas: tuple[float, ...] = ()
    clip: float = 0.0

    gates: ClassVar[int] = 1
    states: ClassVar[int] = 1
    functions: ClassVar[int] = 1

    @property
    def directions(self) -> int:
        return 2 if self.direction == "bidirectional" else 1

    def sequence_types(self, x: TensorType, w: TensorType, r: TensorType) -> tuple[TensorType, TensorType]:
        """The types of all outputs and of the last state. Raises ShapeError when the operands do not fit."""
        if self.direction not in DIRECTIONS or len(self.activations) != self.functions * self.directions:
            raise ShapeError(
                f"{self.direction} with activations {self.activations}; "
                f"expected one of {', '.join(DIRECTIONS)} with {self.functions} for each direction"
            )
        if unknown := [a for a in self.activations if a not in ACTIVATIONS]:
            raise ShapeError(f"unknown activation {unknown[0]!r}; known: {', '.join(ACTIVATIONS)}")
        if x.rank != 3 or w.rank != 3 or r.rank != 3:
            raise ShapeError(f"x is {x}, w {w}, r {r}; expected [T,N,I], [D,G*H,I] and [D,G*H,H]")
        hidden, d = r.shape[2], self.directions
        wrong = differ(w.shape[1], self.gates * hidden) or differ(r.shape[1], self.gates * hidden)
        if wrong or differ(w.shape[2], x.shape[2]) or differ(w.shape[0], d) or differ(r.shape[0], d):
            raise ShapeError(f"x is {x}, w {w}, r {r}; expected w[{d},{self.gates}*H,I] and r[{d},{self.gates}*H,H]")
        return x.with_shape((x.shape[0], d, x.shape[1], hidden)), x.with_shape((d, x.shape[1], hidden))

    def functions_of(self, direction: int) -> list[Activation]:
        """The activations of one direction."""
        span = range(direction * self.functions, (direction + 1) * self.functions)
        alphas, betas = (v or (0.0,) * len(self.activations) for v in (self.alphas, self.betas))
        return [Activation(self.activations[i], alphas[i], betas[i], self.clip) for i in span]

    def is_reversed(self, direction: int) -> bool:
        return self.direction == "reverse" or direction == 1

    def steps(self, direction: int, length: int) -> Iterator[int]:
        return iter(range(length - 1, -1, -1) if self.is_reversed(direction) else range(length))

    def flops(self, *operands: TensorType) -> Dim:
        x, w, r = operands[:3]
        return 2 * x.shape[0] * x.shape[1] * (product(w.shape) + product(r.shape))

    def sample_operands(self, rng: np.random.Generator, *types: TensorType) -> tuple[Array, ...]:
        def make(t: TensorType) -> Array:
            shape = t.static_shape()
            if t.dtype.is_integer:
                return rng.integers(0, types[0].static_shape()[0] + 1, shape).astype(t.dtype.numpy)
            return (rng.standard_normal(shape) * 0.5).astype(t.dtype.numpy)

        return tuple(make(t) for t in types)


def _walk(
    op: Recurrent,
    direction: int,
    gates_in: Array,
    states: list[Array],
    step: Step,
    lens: Array | None,
) -> tuple[Array, list[Array]]:
    """Run one direction: ``step`` makes new states from the gates' input part and the states; state 0 is the output."""
    length = gates_in.shape[0]
    y = np.zeros((length, *states[0].shape), states[0].dtype)
    for t in op.steps(direction, length):
        new = step(gates_in[t], *states)
        if lens is not None:
            active = (t < lens)[:, None]
            y[t] = np.where(active, new[0], 0)
            new = [np.where(active, n, s) for n, s in zip(new, states, strict=True)]
        else:
            y[t] = new[0]
        states = new
    return y, states


def _run(op: Recurrent, operands: tuple[Array, ...], make_step: Callable[..., tuple[Array, Step]]) -> tuple[Array, ...]:
    """All directions of a layer: operands x, w, then those of each direction first-axis-wise, the states, lengths."""
    dtype = DType.of(operands[0].dtype)
    fixed = 4 + op.states + (op.functions == 3)
    lens = operands[fixed] if len(operands) > fixed else None
    x, *rest = (working(a, _MANY_TERMS) for a in operands[:fixed])
    outputs: list[Array] = []
    last: list[list[Array]] = []
    for d in range(op.directions):
        w, r, b, *others = (a[d] for a in rest)
        gates_in, step = make_step(x, w, r, b, op.functions_of(d), *others[op.states :])
        y, states = _walk(op, d, gates_in, others[: op.states], step, lens)
        outputs.append(y)
        last.append(states)
    stacked = (np.stack(outputs, axis=1), *(np.stack(s) for s in zip(*last, strict=True)))
    return tuple(finished(a, dtype) for a in stacked)


def _types(op: Recurrent, operands: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
    fixed = 4 + op.states + (op.functions == 3)
    if len(operands) not in (fixed, fixed + 1):
        raise ShapeError(f"there are {len(operands)} operands; expected {fixed}, or one more with sequence lengths")
    y, last = op.sequence_types(*operands[:3])
    for state in operands[4 : 4 + op.states]:
        if state.rank != 3 or any(differ(a, b) for a, b in zip(state.shape, last.shape, strict=True)):
            raise ShapeError(f"an initial state is {state}; expected {last}")
    return (y, *[last] * op.states)


@dataclass(frozen=True)
class Lstm(Recurrent):
    """Long short-term memory over a sequence (Hochreiter and Schmidhuber 1997, with peepholes). ONNX LSTM-14.

    x[T, N, I], w[D, 4H, I], r[D, 4H, H] (gates input, output, forget, cell), b[D, 8H] (of w, then of r), initial
    h[D, N, H] and c[D, N, H], peepholes[D, 3H] (input, output, forget), lengths i32[N] if given
    -> outputs [T, D, N, H], last h, last c. Three activations per direction: gates, cell, output. With
    ``input_forget`` the forget gate is one minus the input gate.
    """

    input_forget: bool = False

    gates: ClassVar[int] = 4
    states: ClassVar[int] = 2
    functions: ClassVar[int] = 3

    def infer(self, *operands: TensorType) -> tuple[TensorType, ...]:
        return _types(self, operands)

    def reference(self, *operands: Array) -> tuple[Array, ...]:
        return _run(self, operands, self._step)

    def _step(
        self, x: Array, w: Array, r: Array, b: Array, functions: list[Activation], peepholes: Array
    ) -> tuple[Array, Step]:
        f, g, h_of = functions
        half = len(b) // 2
        gates_in = x @ w.T + (b[:half] + b[half:])
        p_in, p_out, p_forget = np.split(peepholes, 3)

        def step(gate: Array, h: Array, c: Array) -> list[Array]:
            i, o, forget, cell = np.split(gate + h @ r.T, 4, axis=-1)
            i = f(i + p_in * c)
            forget = 1 - i if self.input_forget else f(forget + p_forget * c)
            c = forget * c + i * g(cell)
            return [f(o + p_out * c) * h_of(c), c]

        return gates_in, step

    samples: ClassVar[tuple[Sample, ...]] = ()


@dataclass(frozen=True)
class Gru(Recurrent):
    """Gated recurrent unit over a sequence (Cho et al. 2014). ONNX GRU-14.

    x[T, N, I], w[D, 3H, I], r[D, 3H, H] (gates update, reset, hidden), b[D, 6H] (of w, then of r), initial h[D, N, H],
    lengths i32[N] if given -> outputs [T, D, N, H], last h. Two activations per direction: gates, hidden. With
    ``linear_before_reset`` the reset gate multiplies after the product with r.
    """

    linear_before_reset: bool = False

    gates: ClassVar[int] = 3
    functions: ClassVar[int] = 2

    def infer(self, *operands: TensorType) -> tuple[TensorType, ...]:
        return _types(self, operands)

    def reference(self, *operands: Array) -> tuple[Array, ...]:
        return _run(self, operands, self._step)

    def _step(self, x: Array, w: Array, r: Array, b: Array, functions: list[Activation]) -> tuple[Array, Step]:
        f, g = functions
        hidden = r.shape[1]
        b_w, b_r = np.split(b, 2)
        gates_in = x @ w.T + b_w
        r_gates, r_hidden = r[: 2 * hidden].T, r[2 * hidden :].T
        b_gates, b_hidden = b_r[: 2 * hidden], b_r[2 * hidden :]

        def step(gate: Array, h: Array) -> list[Array]:
            z, reset = np.split(f(gate[..., : 2 * hidden] + h @ r_gates + b_gates), 2, axis=-1)
            new = gate[..., 2 * hidden :]
            if self.linear_before_reset:
                new = g(new + reset * (h @ r_hidden + b_hidden))
            else:
                new = g(new + (reset * h) @ r_hidden + b_hidden)
            return [(1 - z) * new + z * h]

        return gates_in, step

    samples: ClassVar[tuple[Sample, ...]] = ()


@dataclass(frozen=True)
class Rnn(Recurrent):
    """The plain recurrent layer h = f(x w^T + h r^T + b) over a sequence. ONNX RNN-14.

    x[T, N, I], w[D, H, I], r[D, H, H], b[D, 2H] (of w, then of r), initial h[D, N, H], lengths i32[N] if given
    -> outputs [T, D, N, H], last h. One activation per direction.
    """

    def infer(self, *operands: TensorType) -> tuple[TensorType, ...]:
        return _types(self, operands)

    def reference(self, *operands: Array) -> tuple[Array, ...]:
        return _run(self, operands, self._step)

    def _step(self, x: Array, w: Array, r: Array, b: Array, functions: list[Activation]) -> tuple[Array, Step]:
        (f,) = functions
        half = len(b) // 2
        gates_in = x @ w.T + (b[:half] + b[half:])

        def step(gate: Array, h: Array) -> list[Array]:
            return [f(gate + h @ r.T)]

        return gates_in, step

    samples: ClassVar[tuple[Sample, ...]] = ()


def _operands(gates: int, states: int, sizes: str, tail: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Operand types of a layer with the sizes D, T, N, I, H."""
    d, t, n, i, h = sizes.split()
    rows = gates * int(h)
    weights = (f"f32[{t},{n},{i}]", f"f32[{d},{rows},{i}]", f"f32[{d},{rows},{h}]", f"f32[{d},{2 * rows}]")
    return (*weights, *[f"f32[{d},{n},{h}]"] * states, *tail)


_LSTM = ("sigmoid", "tanh", "tanh")
Lstm.samples = (
    (Lstm("forward", _LSTM), _operands(4, 2, "1 5 2 3 4", ("f32[1,12]",))),
    (Lstm("reverse", _LSTM), _operands(4, 2, "1 5 3 3 4", ("f32[1,12]", "i32[3]"))),
    (Lstm("bidirectional", _LSTM * 2), _operands(4, 2, "2 3 2 7 17", ("f32[2,51]", "i32[2]"))),
    (Lstm("forward", _LSTM, clip=0.3, input_forget=True), _operands(4, 2, "1 4 1 3 5", ("f32[1,15]",))),
    (
        Lstm("forward", ("hardsigmoid", "scaledtanh", "softsign"), (0.2, 0.9, 0.0), (0.5, 1.1, 0.0)),
        _operands(4, 2, "1 4 2 3 5", ("f32[1,15]",)),
    ),
)
_GRU = ("sigmoid", "tanh")
Gru.samples = (
    (Gru("forward", _GRU), _operands(3, 1, "1 5 2 3 4")),
    (Gru("reverse", _GRU, linear_before_reset=True), _operands(3, 1, "1 5 3 3 4", ("i32[3]",))),
    (Gru("bidirectional", _GRU * 2), _operands(3, 1, "2 3 2 7 17")),
    (Gru("forward", ("relu", "affine"), (0.0, 0.5), (0.0, 0.1)), _operands(3, 1, "1 4 1 3 5")),
)
Rnn.samples = (
    (Rnn("forward", ("tanh",)), _operands(1, 1, "1 5 2 3 4")),
    (Rnn("bidirectional", ("tanh", "relu")), _operands(1, 1, "2 4 3 5 17", ("i32[3]",))),
    (Rnn("reverse", ("leakyrelu",), (0.1,), (0.0,)), _operands(1, 1, "1 3 2 3 4")),
    (Rnn("forward", ("elu",), (1.0,), (0.0,)), _operands(1, 1, "1 3 2 3 4")),
    (Rnn("forward", ("softplus",)), _operands(1, 1, "1 3 2 3 4")),
    (Rnn("forward", ("thresholdedrelu",), (0.2,), (0.0,)), _operands(1, 1, "1 3 2 3 4")),
)

RECURRENT_OPS: tuple[type[Op], ...] = (Lstm, Gru, Rnn)
