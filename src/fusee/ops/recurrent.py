"""Recurrent layers: Lstm, Gru, Rnn over a whole sequence, in one or both directions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fusee.base.dims import Dim, product
from fusee.base.errors import ShapeError
from fusee.base.host_recurrent import ACTIVATIONS, GRU, LSTM, RNN, Cell, gru, lstm, rnn
from fusee.base.types import Array, TensorType
from fusee.ir.graph import Op, Sample
from fusee.ops.linear import differ

DIRECTIONS = ("forward", "reverse", "bidirectional")
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
class Recurrent(Op):
    """What Lstm, Gru and Rnn share.

    ``activations`` holds the names (keys of ACTIVATIONS) of one direction after the other, ``alphas`` and ``betas``
    their constants; ``clip``, unless 0, bounds what goes into them, except into that of an Lstm's cell. The last
    operand, if there is one more than needed, holds the length of each sequence: beyond it the state stands still
    and the output is 0.
    """

    direction: str
    activations: tuple[str, ...]
    alphas: tuple[float, ...] = ()
    betas: tuple[float, ...] = ()
    clip: float = 0.0

    gates: ClassVar[int] = 1
    cell: ClassVar[Cell] = RNN

    @property
    def directions(self) -> int:
        return 2 if self.direction == "bidirectional" else 1

    def sequence_types(self, x: TensorType, w: TensorType, r: TensorType) -> tuple[TensorType, TensorType]:
        """The types of all outputs and of the last state. Raises ShapeError when the operands do not fit."""
        if self.direction not in DIRECTIONS or len(self.activations) != self.cell.functions * self.directions:
            raise ShapeError(
                f"{self.direction} with activations {self.activations}; "
                f"expected one of {', '.join(DIRECTIONS)} with {self.cell.functions} for each direction"
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


def _types(op: Recurrent, operands: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
    fixed = op.cell.operands
    if len(operands) not in (fixed, fixed + 1):
        raise ShapeError(f"there are {len(operands)} operands; expected {fixed}, or one more with sequence lengths")
    y, last = op.sequence_types(*operands[:3])
    for state in operands[4 : 4 + op.cell.states]:
        if state.rank != 3 or any(differ(a, b) for a, b in zip(state.shape, last.shape, strict=True)):
            raise ShapeError(f"an initial state is {state}; expected {last}")
    return (y, *[last] * op.cell.states)


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
    cell: ClassVar[Cell] = LSTM

    host_fallback: ClassVar[str] = "lstm"

    def infer(self, *operands: TensorType) -> tuple[TensorType, ...]:
        return _types(self, operands)

    def reference(self, *operands: Array) -> tuple[Array, ...]:
        return lstm(self.attributes(), *operands)

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
    cell: ClassVar[Cell] = GRU

    host_fallback: ClassVar[str] = "gru"

    def infer(self, *operands: TensorType) -> tuple[TensorType, ...]:
        return _types(self, operands)

    def reference(self, *operands: Array) -> tuple[Array, ...]:
        return gru(self.attributes(), *operands)

    samples: ClassVar[tuple[Sample, ...]] = ()


@dataclass(frozen=True)
class Rnn(Recurrent):
    """The plain recurrent layer h = f(x w^T + h r^T + b) over a sequence. ONNX RNN-14.

    x[T, N, I], w[D, H, I], r[D, H, H], b[D, 2H] (of w, then of r), initial h[D, N, H], lengths i32[N] if given
    -> outputs [T, D, N, H], last h. One activation per direction.
    """

    host_fallback: ClassVar[str] = "rnn"

    def infer(self, *operands: TensorType) -> tuple[TensorType, ...]:
        return _types(self, operands)

    def reference(self, *operands: Array) -> tuple[Array, ...]:
        return rnn(self.attributes(), *operands)

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
