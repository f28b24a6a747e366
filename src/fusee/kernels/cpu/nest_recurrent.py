"""Recurrent layers: the input's part of all gates at once, then step by step, lanes being hidden units."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from fusee.base.dims import Dim, floordiv
from fusee.ir.graph import Op
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.lane_types import to_memory
from fusee.kernels.cpu.math_exp import number
from fusee.kernels.cpu.nest import Nest, working_type
from fusee.kernels.cpu.nest_activations import Activation
from fusee.kernels.cpu.nest_recurrent_pack import Layout, Packed, Packer, Packing, accumulate, load_row
from fusee.kernels.cpu.ssa import Index, Ssa, bits_of, zero
from fusee.kernels.kernel import Code, Kernel, KernelCall, Place, Pointer, Tactic
from fusee.ops.recurrent import Gru, Lstm, Recurrent, Rnn

ROWS_AT_ONCE = {64: 24, 32: 8}  # bytes of a vector -> accumulators of the input's part


@dataclass(frozen=True, eq=False)
class Walk:
    """One direction of one sequence while it is written."""

    nest: Nest
    op: Recurrent
    layout: Layout
    packs: dict[str, Packed]
    gates_in: Pointer
    direction: int
    sequence: Index

    @property
    def e(self) -> Emitter:
        return self.nest.e

    @property
    def functions(self) -> tuple[Activation, ...]:
        return Activation.all_of(self.op, self.direction)

    def unit(self, group: Index) -> Index:
        return self.e.add(group, self.direction * self.layout.groups)

    def buffer(self, number: int) -> Ssa:
        """A state vector of the calling thread."""
        return self.e.at(self.e.scratch, self.layout.element, number * self.layout.padded)

    def load(self, buffer: Ssa, group: Index, block: int) -> Ssa:
        return self.e.load(self.layout.vector, self._spot(buffer, group, block))

    def store(self, value: Ssa, buffer: Ssa, group: Index, block: int) -> None:
        self.e.store(value, self._spot(buffer, group, block))

    def _spot(self, buffer: Ssa, group: Index, block: int) -> Ssa:
        return self.e.at(buffer, self.layout.element, self._unit_of(group, block))

    def _unit_of(self, group: Index, block: int) -> Index:
        return self.e.add(self.e.mul(group, self.layout.width), block * self.layout.lanes)

    def from_input(self, time: Index, group: Index) -> list[Ssa]:
        """The input's part of the gates: [block, gate]."""
        batch = self.e.dim(self.nest.call.operands[0].type.shape[1])
        row = self.e.add(self.e.mul(time, batch), self.sequence)
        row = self.e.add(self.e.mul(row, self.layout.directions * self.layout.groups), self.unit(group))
        pointer = self.e.pointer(self.gates_in.place, self.gates_in.index)
        return load_row(self.nest, self.layout, pointer, row, self.layout.blocks * self.op.gates)

    def constants(self, name: str, group: Index) -> list[Ssa]:
        """A packed array of depth 1: [block, gate]."""
        packed = self.packs[name]
        pointer = self.e.pointer(packed.place, packed.index)
        return load_row(self.nest, self.layout, pointer, self.unit(group), self.layout.blocks * packed.packing.gates)

    def times(self, name: str, state: Ssa, group: Index, start: Sequence[Ssa]) -> list[Ssa]:
        """``start`` plus a state times packed weights: [block, gate]."""

        def source(k: Index) -> Ssa:
            return self.e.load(self.layout.element, self.e.at(state, self.layout.element, k))

        return accumulate(self.nest, self.packs[name], self.unit(group), [source], start)

    def output(self, value: Ssa, time: Index, group: Index, block: int) -> None:
        """Write one vector of the output at a time."""
        e, made = self.e, self.nest.call.results[0]
        raw = to_memory(e, value, made.type.dtype)
        unit = self._unit_of(group, block)
        start = self.nest.position(made, (time, self.direction, self.sequence, 0))
        element = raw.type.split(" x ")[1].rstrip(">")
        where = e.at(e.result(), element, e.add(start, unit))
        if self.layout.hidden % self.layout.lanes == 0:
            return e.store(raw, where)
        return e.store_masked(raw, where, e.first_lanes(e.sub(self.layout.hidden, unit), self.layout.lanes))

    def silence(self, time: Index, group: Index) -> None:
        """The output of a sequence that has ended."""
        for block in range(self.layout.blocks):
            self.output(zero(self.layout.vector), time, group, block)

    def for_groups(self, body: Callable[[Index], None]) -> None:
        self.nest.loops((self.layout.groups,), lambda at: body(at[0]))


class RecurrentKernel(Kernel):
    """What the layers share; a subclass says what it packs and how a step is computed."""

    buffers: ClassVar[int]  # state vectors: h, the next h, then its own

    def refuses(self, call: KernelCall) -> str:
        op = call.op
        assert isinstance(op, Recurrent)
        if not call.operands[0].type.dtype.is_float:
            return f"{call.operands[0].type} is no float"
        if not all(isinstance(n, int) and n > 0 for o in call.operands[1:3] for n in o.type.shape):
            return "the layer's width is not known"
        return "" if all(r.is_contiguous for r in call.results) else "a result has gaps"

    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        op, x = call.op, call.operands[0].type
        assert isinstance(op, Recurrent)
        directions, _, hidden = call.operands[2].type.static_shape()
        layout = Layout.of(directions, hidden, op.gates, working_type(x.dtype), call.target.vector_bytes)
        packer = Packer(call, layout, Nest(f"{symbol}.pack", call))
        narrow = replace(layout, blocks=1)  # the same order in memory, but room for the sums of more rows
        layouts = {"input": narrow, "bias": narrow}
        packs = {name: packer.pack(p, layouts.get(name, layout)) for name, p in self.packings(op, packer).items()}
        packing = packer.nest.code(directions * layout.groups) if packer.temps else None
        row_bytes = directions * layout.padded * op.gates * bits_of(layout.element) // 8
        temps = (*packer.temps, x.shape[0] * x.shape[1] * row_bytes)
        gates_in = Pointer(Place.TEMP, len(packer.temps))
        first = _input_part(Nest(f"{symbol}.input", call), packs["input"], packs["bias"], gates_in)
        second = self._walks(Nest(symbol, call), layout, packs, gates_in)
        codes = [c for c in (packing, first, second) if c]
        return Code(
            "".join(c.text for c in codes),
            tuple(launch for c in codes for launch in c.launches),
            frozenset().union(*[c.declarations for c in codes]),
            tuple(packer.constants),
            temps,
        )

    @abstractmethod
    def packings(self, op: Recurrent, packer: Packer) -> dict[str, Packing]:
        """What is packed, by name; "input" and "bias" are the input's part."""

    @abstractmethod
    def step(self, walk: Walk, time: Index, h: Ssa, new: Ssa) -> None:
        """One step: the output, and the next states, that of h in ``new``."""

    def _walks(self, nest: Nest, layout: Layout, packs: dict[str, Packed], gates_in: Pointer) -> Code:
        """A work unit is one direction of one sequence."""
        e, batch = nest.e, nest.call.operands[0].type.shape[1]
        assert isinstance(nest.call.op, Recurrent)
        op = nest.call.op

        def one(unit: Ssa) -> None:
            sequence = e.rem(unit, e.dim(batch))

            def walk(direction: int) -> None:
                self._walk(Walk(nest, op, layout, packs, gates_in, direction, sequence))

            if layout.directions == 1:
                return walk(0)
            e.branch(e.less(unit, e.dim(batch)), lambda: walk(0), lambda: walk(1))
            return None

        e.loop(e.lo, e.hi, 1, one)
        return nest.code(batch * layout.directions, self.buffers * layout.padded * bits_of(layout.element) // 8)

    def _walk(self, walk: Walk) -> None:
        nest, e, length = walk.nest, walk.e, walk.nest.call.operands[0].type.shape[0]
        states = [walk.buffer(0), *[walk.buffer(1 + s) for s in range(1, walk.op.cell.states)]]
        for s, buffer in enumerate(states):
            _copy_in(walk, 4 + s, buffer)
        backwards = walk.op.direction == "reverse" or walk.direction == 1
        bounded = len(nest.call.operands) > walk.op.cell.operands
        lens = nest.load(walk.op.cell.operands, (walk.sequence,)) if bounded else None
        lens = e.convert("sext", lens, "i64") if lens else None

        def at(count: Ssa, h: Ssa, new: Ssa) -> Sequence[Ssa]:
            time = e.sub(e.sub(e.dim(length), 1), count) if backwards else count

            def go() -> Sequence[Ssa]:
                self.step(walk, time, h, new)
                return new, h

            def stay() -> Sequence[Ssa]:
                walk.for_groups(lambda group: walk.silence(time, group))
                return h, new

            return go() if lens is None else e.branch(e.less(time, lens), go, stay)

        last, _ = e.loop(0, e.dim(length), 1, at, (walk.buffer(0), walk.buffer(1)))
        for s, buffer in enumerate([last, *states[1:]]):
            _copy_out(walk, 1 + s, buffer)


def _copy_in(walk: Walk, operand: int, buffer: Ssa) -> None:
    e, layout = walk.e, walk.layout

    def one(at: tuple[Index, ...]) -> None:
        value = walk.nest.load(operand, (walk.direction, walk.sequence, *at), layout.dtype)
        e.store(value, e.at(buffer, layout.element, at[0]))

    walk.nest.loops((layout.hidden,), one)
    for lane in range(layout.hidden, layout.padded):
        e.store(zero(layout.element), e.at(buffer, layout.element, lane))


def _copy_out(walk: Walk, result: int, buffer: Ssa) -> None:
    e, layout = walk.e, walk.layout

    def one(at: tuple[Index, ...]) -> None:
        value = e.load(layout.element, e.at(buffer, layout.element, at[0]))
        walk.nest.store(value, (walk.direction, walk.sequence, *at), result)

    walk.nest.loops((layout.hidden,), one)


def _input_part(nest: Nest, weights: Packed, bias: Packed, gates_in: Pointer) -> Code:
    """x w^T + b for some rows (a time and a sequence) of one group of one direction per work unit."""
    e, layout, (length, batch, _) = nest.e, weights.layout, nest.call.operands[0].type.shape
    count = layout.blocks * weights.packing.gates
    step = max(1, ROWS_AT_ONCE[e.target.vector_bytes] // count)
    split = layout.directions * layout.groups
    rows: Dim = length * batch
    chunks = floordiv(rows + (step - 1), step)

    def one(unit: Ssa) -> None:
        part, first = e.div(unit, e.dim(chunks)), e.mul(e.rem(unit, e.dim(chunks)), step)
        last = e.sub(e.dim(rows), 1)
        mine = [e.min(e.add(first, i), last) for i in range(step)]

        def source(row: Index) -> Callable[[Index], Ssa]:
            place = (e.div(row, e.dim(batch)), e.rem(row, e.dim(batch)))
            return lambda k: nest.load(0, (*place, k), layout.dtype)

        start = load_row(nest, layout, e.pointer(bias.place, bias.index), part, count)
        sums = accumulate(nest, weights, part, [source(r) for r in mine], start * step)
        for i, row in enumerate(mine):
            spot = e.mul(e.add(e.mul(row, split), part), count * layout.lanes)
            base = e.at(e.pointer(gates_in.place, gates_in.index), layout.element, spot)
            for j in range(count):
                e.store(sums[i * count + j], e.at(base, layout.element, j * layout.lanes))

    e.loop(e.lo, e.hi, 1, one)
    return nest.code(chunks * split)


def _gates(hidden: int, *gates: int) -> tuple[tuple[int, ...], ...]:
    """The row at which each gate starts."""
    return tuple((g * hidden,) for g in gates)


def _both_biases(hidden: int, gates: int) -> tuple[tuple[int, ...], ...]:
    return tuple((g * hidden, (gates + g) * hidden) for g in range(gates))


def _sizes(packer: Packer) -> tuple[int, int]:
    """The width of the input and of the state."""
    (_, _, inputs), (_, _, hidden) = (o.type.static_shape() for o in packer.call.operands[1:3])
    return inputs, hidden


class NestLstm(RecurrentKernel):
    """Long short-term memory; the cell state is the buffer behind h."""

    op: ClassVar[type[Op]] = Lstm
    buffers: ClassVar[int] = 3

    def packings(self, op: Recurrent, packer: Packer) -> dict[str, Packing]:
        inputs, hidden = _sizes(packer)
        packings = {
            "input": Packing(1, _gates(hidden, 0, 1, 2, 3), inputs),
            "state": Packing(2, _gates(hidden, 0, 1, 2, 3), hidden),
            "bias": Packing(3, _both_biases(hidden, 4), 1),
        }
        return packings if packer.is_zero(6) else {**packings, "peepholes": Packing(6, _gates(hidden, 0, 1, 2), 1)}

    def step(self, walk: Walk, time: Index, h: Ssa, new: Ssa) -> None:
        cells = walk.buffer(2)

        def group(g: Index) -> None:
            gates = walk.times("state", h, g, walk.from_input(time, g))
            peepholes = walk.constants("peepholes", g) if "peepholes" in walk.packs else []
            for b in range(walk.layout.blocks):
                cell = walk.load(cells, g, b)
                cell, out = _lstm_cell(walk, gates[4 * b : 4 * b + 4], cell, peepholes[3 * b : 3 * b + 3])
                walk.store(cell, cells, g, b)
                walk.store(out, new, g, b)
                walk.output(out, time, g, b)

        walk.for_groups(group)


def _lstm_cell(walk: Walk, gates: Sequence[Ssa], cell: Ssa, peepholes: Sequence[Ssa]) -> tuple[Ssa, Ssa]:
    """The next cell state and the output."""
    e, (f, g, h) = walk.e, walk.functions
    assert isinstance(walk.op, Lstm)
    entry, out, forget, fresh = gates
    if peepholes:
        entry, forget = e.fma(peepholes[0], cell, entry), e.fma(peepholes[2], cell, forget)
    entry = f(e, entry)
    forget = e.fsub(number(entry, 1), entry) if walk.op.input_forget else f(e, forget)
    cell = e.fma(forget, cell, e.fmul(entry, g(e, fresh)))
    out = e.fma(peepholes[1], cell, out) if peepholes else out
    return cell, e.fmul(f(e, out), replace(h, clip=0.0)(e, cell))


class NestGru(RecurrentKernel):
    """Gated recurrent unit; the buffers behind h hold the update and the reset gate (or the state it reset)."""

    op: ClassVar[type[Op]] = Gru
    buffers: ClassVar[int] = 4

    def packings(self, op: Recurrent, packer: Packer) -> dict[str, Packing]:
        assert isinstance(op, Gru)
        inputs, hidden = _sizes(packer)
        late = op.linear_before_reset
        bias = _both_biases(hidden, 3)
        return {
            "input": Packing(1, _gates(hidden, 0, 1, 2), inputs),
            "gates": Packing(2, _gates(hidden, 0, 1), hidden),
            "state": Packing(2, _gates(hidden, 2), hidden),
            "bias": Packing(3, (*bias[:2], (2 * hidden,)) if late else bias, 1),
            **({"late": Packing(3, _gates(hidden, 5), 1)} if late else {}),
        }

    def step(self, walk: Walk, time: Index, h: Ssa, new: Ssa) -> None:
        e, (f, g) = walk.e, walk.functions
        update, reset, blocks = walk.buffer(2), walk.buffer(3), range(walk.layout.blocks)
        assert isinstance(walk.op, Gru)
        late = walk.op.linear_before_reset

        def gate(group: Index) -> None:
            given = walk.from_input(time, group)
            sums = walk.times("gates", h, group, [given[3 * b + i] for b in blocks for i in (0, 1)])
            for b in blocks:
                walk.store(f(e, sums[2 * b]), update, group, b)
                kept = f(e, sums[2 * b + 1])
                walk.store(kept if late else e.fmul(kept, walk.load(h, group, b)), reset, group, b)

        def state(group: Index) -> None:
            given = [walk.from_input(time, group)[3 * b + 2] for b in blocks]
            start = walk.constants("late", group) if late else given
            sums = walk.times("state", h if late else reset, group, start)
            for b in blocks:
                fresh = e.fma(walk.load(reset, group, b), sums[b], given[b]) if late else sums[b]
                fresh, keep = g(e, fresh), walk.load(update, group, b)
                one = e.fsub(number(keep, 1), keep)
                out = e.fma(keep, walk.load(h, group, b), e.fmul(one, fresh))
                walk.store(out, new, group, b)
                walk.output(out, time, group, b)

        walk.for_groups(gate)
        walk.for_groups(state)


class NestRnn(RecurrentKernel):
    """The plain layer."""

    op: ClassVar[type[Op]] = Rnn
    buffers: ClassVar[int] = 2

    def packings(self, op: Recurrent, packer: Packer) -> dict[str, Packing]:
        inputs, hidden = _sizes(packer)
        return {
            "input": Packing(1, _gates(hidden, 0), inputs),
            "state": Packing(2, _gates(hidden, 0), hidden),
            "bias": Packing(3, _both_biases(hidden, 1), 1),
        }

    def step(self, walk: Walk, time: Index, h: Ssa, new: Ssa) -> None:
        (f,) = walk.functions

        def group(g: Index) -> None:
            sums = walk.times("state", h, g, walk.from_input(time, g))
            for b, total in enumerate(sums):
                out = f(walk.e, total)
                walk.store(out, new, g, b)
                walk.output(out, time, g, b)

        walk.for_groups(group)


RECURRENT_KERNELS: tuple[Kernel, ...] = (NestLstm(), NestGru(), NestRnn())
