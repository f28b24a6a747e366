"""Lstm, Gru and Rnn in f32: the input's part of all gates as one product, then time step by time step.

Weights are packed so that one step of a sum over the hidden state reads all gates of a chunk of units; the chunk's
gates stay in registers until its new state is stored. One work unit follows one sequence in one direction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from fusee.base.dims import Dim, ceildiv
from fusee.base.types import F32, Array
from fusee.ir.graph import Op
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.math_exp import number
from fusee.kernels.cpu.recurrent_functions import activate, packed_rows, packed_vector
from fusee.kernels.cpu.ssa import Index, Ssa, literal, vector
from fusee.kernels.kernel import Code, Kernel, KernelCall, Tactic
from fusee.ops.recurrent import Gru, Lstm, Recurrent

ROWS = 4  # rows of the input product that share the weights they load
Chunk = Sequence[Ssa]


@dataclass(frozen=True, eq=False)
class Layer:
    """The sizes of one layer. Gates are padded to whole vectors."""

    call: KernelCall
    op: Recurrent
    lanes: int

    @staticmethod
    def of(call: KernelCall) -> Layer:
        assert isinstance(call.op, Recurrent)
        return Layer(call, call.op, call.target.vector_bytes // 4)

    @property
    def hidden(self) -> int:
        return self.call.operands[2].type.static_shape()[2]

    @property
    def inputs(self) -> int:
        return self.call.operands[1].type.static_shape()[2]

    @property
    def padded(self) -> int:
        return -(-self.hidden // self.lanes) * self.lanes

    @property
    def width(self) -> int:
        """All gates of one sequence at one time."""
        return self.op.gates * self.padded

    @property
    def steps(self) -> Dim:
        return self.call.operands[0].type.shape[0]

    @property
    def batch(self) -> Dim:
        return self.call.operands[0].type.shape[1]

    @property
    def length_operand(self) -> int | None:
        return self.op.cell.operands if len(self.call.operands) > self.op.cell.operands else None

    def constants(self) -> tuple[Array, ...]:
        """Packed: input weights, hidden weights, the gates' biases, the hidden gate's own, the peepholes."""
        w, r, b, *rest = (_known(self.call, i) for i in (1, 2, 3, *([6] if isinstance(self.op, Lstm) else [])))
        gates, rows = self.op.gates, self.op.gates * self.hidden
        of_w, of_r = b[:, :rows], b[:, rows:].copy()
        own = of_r[:, -self.hidden :].copy()
        if isinstance(self.op, Gru) and self.op.linear_before_reset:
            of_r[:, -self.hidden :] = 0
        packed = [packed_rows(w, gates, self.padded), packed_rows(r, gates, self.padded)]
        packed += [packed_vector(of_w + of_r, gates, self.padded), packed_vector(own, 1, self.padded)]
        return (*packed, *[packed_vector(p, 3, self.padded) for p in rest])


def _known(call: KernelCall, operand: int) -> Array:
    value = call.operands[operand].value
    assert value is not None
    return value


class Sequences(Kernel):
    """All three kinds of layer, in both directions, with or without lengths."""

    op: ClassVar[type[Op]] = Recurrent

    def refuses(self, call: KernelCall) -> str:
        assert isinstance(call.op, Recurrent)
        if call.operands[0].type.dtype is not F32:
            return f"the input is {call.operands[0].type}; expected f32"
        weights = [1, 2, 3, *([6] if isinstance(call.op, Lstm) else [])]
        if any(call.operands[i].value is None for i in weights):
            return "weights are not known at build time"
        if not all(o.is_contiguous for o in (*call.operands, *call.results)):
            return "an operand or result is not row-major"
        return ""

    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        layer = Layer.of(call)
        product = Emitter(f"{symbol}_input", call.target)
        rows = layer.steps * layer.batch
        _input_product(product, layer)
        walk = Emitter(f"{symbol}_steps", call.target)
        _Walk(walk, layer).emit()
        launches = (
            product.launch(ceildiv(rows, ROWS) * layer.op.directions),
            walk.launch(layer.batch * layer.op.directions, 4 * 4 * layer.padded),
        )
        declared = frozenset(product.declarations | walk.declarations)
        temps = (rows * (layer.op.directions * layer.width * 4),)
        return Code(product.text() + walk.text(), launches, declared, layer.constants(), temps)


def _input_product(e: Emitter, layer: Layer) -> None:
    """temp[d, row, gates] = bias[d] + x[row] w[d]; the last block repeats its last row where it is not full."""
    type, width = vector("float", layer.lanes), layer.width
    rows = e.mul(e.dim(layer.steps), e.dim(layer.batch))
    blocks = e.ceildiv(rows, ROWS)

    def block(unit: Ssa) -> None:
        direction, first = e.div(unit, blocks), e.mul(e.rem(unit, blocks), ROWS)
        picked = [e.min(e.add(first, i), e.sub(rows, 1)) for i in range(ROWS)]
        sources = [e.at(e.operand(0), "float", e.mul(row, layer.inputs)) for row in picked]
        targets = [e.at(e.temp(0), "float", e.mul(e.add(e.mul(direction, rows), row), width)) for row in picked]
        weights = e.at(e.constant(0), "float", e.mul(direction, layer.inputs * width))
        bias = e.at(e.constant(2), "float", e.mul(direction, width))

        def columns(j: Ssa) -> None:
            start = e.load(type, e.at(bias, "float", j))

            def step(k: Ssa, *sums: Ssa) -> Chunk:
                w = e.load(type, e.at(weights, "float", e.add(e.mul(k, width), j)))
                xs = [e.splat(e.load("float", e.at(s, "float", k)), layer.lanes) for s in sources]
                return [e.fma(x, w, total) for x, total in zip(xs, sums, strict=True)]

            sums = e.loop(0, layer.inputs, 1, step, [start] * ROWS)
            for target, total in zip(targets, sums, strict=True):
                e.store(total, e.at(target, "float", j))

        e.loop(0, width, layer.lanes, columns)

    e.loop(e.lo, e.hi, 1, block)


class _Walk:
    """Writes the time steps of one sequence. Scratch: state, next state, cell or update gate, reset state."""

    def __init__(self, e: Emitter, layer: Layer) -> None:
        self.e = e
        self.layer = layer
        self.type = vector("float", layer.lanes)
        self._slots = [e.offset(e.scratch, 4 * layer.padded * i) for i in range(4)]

    def emit(self) -> None:
        self.e.loop(self.e.lo, self.e.hi, 1, self._sequence)

    def _sequence(self, unit: Ssa) -> None:
        e, layer = self.e, self.layer
        direction, n = e.div(unit, e.dim(layer.batch)), e.rem(unit, e.dim(layer.batch))
        if layer.op.directions == 1:
            self._run(0, n, unit)
            return
        e.branch(e.less(direction, 1), lambda: self._run(0, n, unit), lambda: self._run(1, n, unit))

    def _run(self, direction: int, n: Index, unit: Ssa) -> None:
        e, layer = self.e, self.layer
        for i in range(layer.op.cell.states):
            self._copy_in(e.at(e.operand(4 + i), "float", e.mul(unit, layer.hidden)), self._slots[2 if i else 0])
        backwards = layer.op.direction == "reverse" or direction == 1
        steps = e.dim(layer.steps)

        def step(i: Ssa) -> None:
            t = e.sub(e.sub(steps, 1), i) if backwards else i
            _Step(self, direction, n, t).emit()

        e.loop(0, steps, 1, step)
        for i in range(layer.op.cell.states):
            self._copy_out(self._slots[2 if i else 0], e.at(e.result(1 + i), "float", e.mul(unit, layer.hidden)))

    def chunks(self, body: Callable[[Ssa], None]) -> None:
        self.e.loop(0, self.layer.padded, self.layer.lanes, body)

    def mask(self, j: Ssa) -> Ssa:
        return self.e.first_lanes(self.e.sub(self.layer.hidden, j), self.layer.lanes)

    def _copy_in(self, source: Ssa, slot: Ssa) -> None:
        e = self.e
        self.chunks(
            lambda j: e.store(e.load_masked(self.type, e.at(source, "float", j), self.mask(j)), e.at(slot, "float", j))
        )

    def _copy_out(self, slot: Ssa, target: Ssa) -> None:
        e = self.e
        self.chunks(
            lambda j: e.store_masked(e.load(self.type, e.at(slot, "float", j)), e.at(target, "float", j), self.mask(j))
        )

    def slot(self, index: int, j: Index) -> Ssa:
        return self.e.at(self._slots[index], "float", j)


class _Step:
    """Writes one time step of one sequence."""

    def __init__(self, walk: _Walk, direction: int, n: Index, t: Index) -> None:
        self._walk = walk
        self._e = walk.e
        self._layer = walk.layer
        self._direction = direction
        e, layer = walk.e, walk.layer
        row = e.add(e.mul(t, e.dim(layer.batch)), n)
        rows = e.mul(e.dim(layer.steps), e.dim(layer.batch))
        place = e.add(e.mul(direction, rows), row)
        self._gates = e.at(e.temp(0), "float", e.mul(place, layer.width))
        spot = e.add(e.mul(e.add(e.mul(t, layer.op.directions), direction), e.dim(layer.batch)), n)
        self._output = e.at(e.result(0), "float", e.mul(spot, layer.hidden))
        self._active = self._whether_active(n, t)

    def _whether_active(self, n: Index, t: Index) -> Ssa | None:
        """Whether the sequence still runs at this time; None when all have full length."""
        operand = self._layer.length_operand
        if operand is None:
            return None
        e, type = self._e, self._layer.call.operands[operand].type
        width = f"i{type.dtype.bits}"
        length = e.convert("sext", e.load(width, e.at(e.operand(operand), width, n)), "i64")
        return e.less(t, length)

    def emit(self) -> None:
        op = self._layer.op
        if isinstance(op, Gru) and not op.linear_before_reset:
            self._walk.chunks(self._reset)
        self._walk.chunks(self._chunk)
        e, walk = self._e, self._walk
        walk.chunks(lambda j: e.store(e.load(walk.type, walk.slot(1, j)), walk.slot(0, j)))

    def _chunk(self, j: Ssa) -> None:
        op = self._layer.op
        new = self._lstm(j, op) if isinstance(op, Lstm) else self._gru(j, op) if isinstance(op, Gru) else self._rnn(j)
        e, walk = self._e, self._walk
        shown = new
        if self._active is not None:
            shown = e.select(self._active, new, number(new, 0))
            new = e.select(self._active, new, e.load(walk.type, walk.slot(0, j)))
        e.store(new, walk.slot(1, j))
        e.store_masked(shown, e.at(self._output, "float", j), walk.mask(j))

    def _sums(self, j: Ssa, gates: Sequence[int], start: Chunk, slot: int) -> tuple[Ssa, ...]:
        """Add a state's product with the hidden weights of some gates."""
        e, layer, walk = self._e, self._layer, self._walk
        weights = e.at(e.constant(1), "float", self._direction * layer.hidden * layer.width)

        def step(k: Ssa, *sums: Ssa) -> Chunk:
            state = e.splat(e.load("float", walk.slot(slot, k)), layer.lanes)
            row = e.add(e.mul(k, layer.width), j)
            rows = [e.at(weights, "float", e.add(row, gate * layer.padded)) for gate in gates]
            return [e.fma(state, e.load(walk.type, w), total) for w, total in zip(rows, sums, strict=True)]

        return e.loop(0, layer.hidden, 1, step, start)

    def _input(self, j: Ssa, gate: int) -> Ssa:
        e = self._e
        return e.load(self._walk.type, e.at(self._gates, "float", e.add(j, gate * self._layer.padded)))

    def _vector(self, constant: int, j: Ssa, row: int, rows: int) -> Ssa:
        """A chunk of a packed vector of a direction."""
        e, padded = self._e, self._layer.padded
        start = (self._direction * rows + row) * padded
        return e.load(self._walk.type, e.at(e.constant(constant), "float", e.add(j, start)))

    def _activate(self, which: int, x: Ssa, clipped: bool = True) -> Ssa:
        return activate(self._e, self._layer.op, self._direction, which, x, clipped)

    def _lstm(self, j: Ssa, op: Lstm) -> Ssa:
        e, walk = self._e, self._walk
        i, o, forget, cell = self._sums(j, range(4), [self._input(j, g) for g in range(4)], 0)
        c = e.load(walk.type, walk.slot(2, j))
        to_i, to_o, to_f = (self._vector(4, j, row, 3) for row in range(3))
        i = self._activate(0, e.fma(to_i, c, i))
        forget = e.fsub(number(i, 1), i) if op.input_forget else self._activate(0, e.fma(to_f, c, forget))
        new = e.fma(forget, c, e.fmul(i, self._activate(1, cell)))
        kept = new if self._active is None else e.select(self._active, new, c)
        e.store(kept, walk.slot(2, j))
        return e.fmul(self._activate(0, e.fma(to_o, new, o)), self._activate(2, new, clipped=False))

    def _reset(self, j: Ssa) -> None:
        """The first half of a step that resets the state before the product: update gate and reset state."""
        e, walk = self._e, self._walk
        z, reset = self._sums(j, (0, 1), [self._input(j, g) for g in (0, 1)], 0)
        e.store(self._activate(0, z), walk.slot(2, j))
        state = e.load(walk.type, walk.slot(0, j))
        e.store(e.fmul(self._activate(0, reset), state), walk.slot(3, j))

    def _gru(self, j: Ssa, op: Gru) -> Ssa:
        e, walk = self._e, self._walk
        if op.linear_before_reset:
            start = [self._input(j, 0), self._input(j, 1), self._vector(3, j, 0, 1)]
            z, reset, own = self._sums(j, range(3), start, 0)
            z = self._activate(0, z)
            total = e.fma(self._activate(0, reset), own, self._input(j, 2))
        else:
            (total,) = self._sums(j, (2,), [self._input(j, 2)], 3)
            z = e.load(walk.type, walk.slot(2, j))
        new, old = self._activate(1, total), e.load(walk.type, walk.slot(0, j))
        return e.fma(z, old, e.fmul(e.fsub(literal(walk.type, 1), z), new))

    def _rnn(self, j: Ssa) -> Ssa:
        (total,) = self._sums(j, (0,), [self._input(j, 0)], 0)
        return self._activate(0, total)
