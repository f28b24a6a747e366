"""Lowerings of recurrent layers."""

from __future__ import annotations

import numpy as np

from fusee.base.dims import Dim
from fusee.base.host_recurrent import ACTIVATIONS
from fusee.ir.graph import Value, const
from fusee.onnx.call import Lowering, OnnxCall
from fusee.ops.recurrent import ACTIVATION_DEFAULTS, Gru, Lstm, Recurrent, Rnn
from fusee.ops.shape import Full, Transpose

DEFAULTS: dict[str, tuple[str, ...]] = {
    "LSTM": ("Sigmoid", "Tanh", "Tanh"),
    "GRU": ("Sigmoid", "Tanh"),
    "RNN": ("Tanh",),
}
TAKES_BETA = frozenset({"affine", "scaledtanh", "hardsigmoid"})


def _functions(call: OnnxCall, directions: int) -> tuple[tuple[str, ...], tuple[float, ...], tuple[float, ...]]:
    """Names and constants of the activations; alphas and betas are listed only for those that have them."""
    names = tuple(n.lower() for n in call.strings("activations", DEFAULTS[call.op_type] * directions))
    if unknown := [n for n in names if n not in ACTIVATIONS]:
        call.refuse(f"activation {unknown[0]!r}; supported: {', '.join(ACTIVATIONS)}")
    alphas, betas = list(call.floats("activation_alpha", ())), list(call.floats("activation_beta", ()))
    found: list[tuple[float, float]] = []
    for name in names:
        alpha, beta = ACTIVATION_DEFAULTS.get(name, (0.0, 0.0))
        if name in ACTIVATION_DEFAULTS and alphas:
            alpha = alphas.pop(0)
        if name in TAKES_BETA and betas:
            beta = betas.pop(0)
        found.append((alpha, beta))
    return names, tuple(a for a, _ in found), tuple(b for _, b in found)


def _common(call: OnnxCall) -> tuple[str, tuple[str, ...], tuple[float, ...], tuple[float, ...], float]:
    """The attributes that all three layers share, in the order of Recurrent's fields."""
    direction = call.string("direction", "forward")
    names, alphas, betas = _functions(call, 2 if direction == "bidirectional" else 1)
    return direction, names, alphas, betas, call.float("clip", 0.0)


def lower_lstm(call: OnnxCall) -> tuple[Value, ...]:
    """LSTM-7..22."""
    op = Lstm(*_common(call), input_forget=bool(call.int("input_forget", 0)))
    hidden = _hidden(call)
    peepholes = call.optional(7) or const(np.zeros((op.directions, 3 * hidden)), call.type(0).dtype)
    return _layer(call, op, (5, 6), (peepholes,))


def lower_gru(call: OnnxCall) -> tuple[Value, ...]:
    """GRU-7..22."""
    op = Gru(*_common(call), linear_before_reset=bool(call.int("linear_before_reset", 0)))
    return _layer(call, op, (5,), ())


def lower_rnn(call: OnnxCall) -> tuple[Value, ...]:
    """RNN-7..22."""
    return _layer(call, Rnn(*_common(call)), (5,), ())


def _hidden(call: OnnxCall) -> int:
    size = call.type(2).shape[2]
    if not isinstance(size, int):
        call.refuse(f"the hidden size of {call.type(2)} is not known at build time")
    return size


def _layer(call: OnnxCall, op: Recurrent, states: tuple[int, ...], extra: tuple[Value, ...]) -> tuple[Value, ...]:
    """Apply the op with every optional input present, and move the batch axis when ``layout`` says it is first."""
    x, w, r = (call.value(i) for i in range(3))
    batch_first = bool(call.int("layout", 0))
    x = Transpose((1, 0, 2))(x, loc=call.loc) if batch_first else x
    rows = 2 * op.gates * _hidden(call)
    b = call.optional(3) or const(np.zeros((op.directions, rows)), x.type.dtype)
    initial = [_state(call, i, op, x.type.shape[1], batch_first) for i in states]
    lengths = [v for v in (call.optional(4),) if v is not None]
    y, *last = op.apply(x, w, r, b, *initial, *extra, *lengths, loc=call.loc)
    if not batch_first:
        return (y, *last)
    moved = [Transpose((1, 0, 2))(v, loc=call.loc) for v in last]
    return (Transpose((2, 0, 1, 3))(y, loc=call.loc), *moved)


def _state(call: OnnxCall, i: int, op: Recurrent, batch: Dim, batch_first: bool) -> Value:
    """The initial state of input ``i``: [directions, batch, hidden], zeros when it is not given."""
    given = call.optional(i)
    if given is not None:
        return Transpose((1, 0, 2))(given, loc=call.loc) if batch_first else given
    shape = (op.directions, batch, _hidden(call))
    return Full(shape)(const(0, call.type(0).dtype), loc=call.loc)


LOWERINGS: tuple[Lowering, ...] = (
    Lowering("LSTM", 7, lower_lstm),
    Lowering("GRU", 7, lower_gru),
    Lowering("RNN", 7, lower_rnn),
)
