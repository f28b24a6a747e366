"""Weights of recurrent layers, laid out so that lanes are hidden units: a state element times a row of vectors.

A packed array is [direction, group, k, block, gate, lane]: hidden unit (group * blocks + block) * lanes + lane. What
the build knows is packed once; the rest by a launch of its own at every run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from fusee.base.dims import Dim
from fusee.base.types import Array, DType
from fusee.kernels.cpu.lane_types import compute_type
from fusee.kernels.cpu.nest import Nest, add
from fusee.kernels.cpu.ssa import Index, Ssa, bits_of, vector, zero
from fusee.kernels.kernel import KernelCall, Place

MOST_SUMS = {64: 16, 32: 8}  # bytes of a vector -> accumulators of one group


@dataclass(frozen=True)
class Layout:
    """How the hidden units of a layer are split into groups of ``blocks`` vectors."""

    directions: int
    hidden: int
    lanes: int
    blocks: int
    dtype: DType  # of sums and states

    @staticmethod
    def of(directions: int, hidden: int, gates: int, dtype: DType, vector_bytes: int) -> Layout:
        lanes = vector_bytes // dtype.itemsize_bytes
        vectors = -(-hidden // lanes)
        most = max(1, MOST_SUMS[vector_bytes] // gates)
        blocks = max(b for b in range(1, most + 1) if vectors % b == 0)
        return Layout(directions, hidden, lanes, blocks, dtype)

    @property
    def width(self) -> int:
        """Hidden units of one group."""
        return self.blocks * self.lanes

    @property
    def groups(self) -> int:
        return -(-self.hidden // self.width)

    @property
    def padded(self) -> int:
        return self.groups * self.width

    @property
    def element(self) -> str:
        return compute_type(self.dtype)

    @property
    def vector(self) -> str:
        return vector(self.element, self.lanes)


@dataclass(frozen=True)
class Packing:
    """Which rows of an operand [direction, row, k] (or [direction, row]) a packed array holds: each gate's is the sum
    of those that start at the given rows."""

    operand: int
    starts: tuple[tuple[int, ...], ...]
    depth: int

    @property
    def gates(self) -> int:
        return len(self.starts)


@dataclass(frozen=True)
class Packed:
    """Where a packed array lies."""

    packing: Packing
    layout: Layout
    place: Place
    index: int


@dataclass(frozen=True, eq=False)
class Packer:
    """Collects the packed arrays of one call."""

    call: KernelCall
    layout: Layout
    nest: Nest
    constants: list[Array] = field(default_factory=list[Array])
    temps: list[Dim] = field(default_factory=list[Dim])

    def pack(self, packing: Packing, layout: Layout) -> Packed:
        value = self.call.operands[packing.operand].value
        if value is not None:
            self.constants.append(_packed_array(layout, packing, value))
            return Packed(packing, layout, Place.CONSTANT, len(self.constants) - 1)
        size = layout.directions * layout.padded * packing.depth * packing.gates
        self.temps.append(size * bits_of(layout.element) // 8)
        packed = Packed(packing, layout, Place.TEMP, len(self.temps) - 1)
        self._emit(packed)
        return packed

    def is_zero(self, operand: int) -> bool:
        value = self.call.operands[operand].value
        return value is not None and not np.any(value)

    def _emit(self, packed: Packed) -> None:
        """Write one packed array; a work unit is one of the layer's groups of one direction."""
        nest, e, layout, packing = self.nest, self.nest.e, packed.layout, packed.packing
        flat_rank = self.call.operands[packing.operand].type.rank

        def element(unit: Ssa, gate: int, at: tuple[Index, ...]) -> None:
            k, block, lane = at
            direction, group = e.div(unit, layout.groups), e.rem(unit, layout.groups)
            unit_of = e.add(e.mul(e.add(e.mul(group, layout.blocks), block), layout.lanes), lane)

            def load() -> Sequence[Ssa]:
                total: Ssa | None = None
                for start in packing.starts[gate]:
                    index = (direction, e.add(unit_of, start), k)[:flat_rank]
                    value = nest.load(packing.operand, index, layout.dtype)
                    total = value if total is None else add(e, total, value, layout.dtype)
                assert total is not None
                return (total,)

            (value,) = e.branch(nest.within(unit_of, layout.hidden), load, lambda: (zero(layout.element),))
            sizes = (packing.depth, layout.blocks, packing.gates, layout.lanes)
            target: Index = unit
            for size, i in zip(sizes, (k, block, gate, lane), strict=True):
                target = e.add(e.mul(target, size), i)
            e.store(value, e.at(e.pointer(packed.place, packed.index), layout.element, target))

        def one(unit: Ssa) -> None:
            for gate in range(packing.gates):
                sizes = (packing.depth, layout.blocks, layout.lanes)
                nest.loops(sizes, lambda at, gate=gate: element(unit, gate, at))

        share = layout.groups // self.layout.groups  # groups of this array that make one of the layer's
        e.loop(e.mul(e.lo, share), e.mul(e.hi, share), 1, one)


def _packed_array(layout: Layout, packing: Packing, value: Array) -> Array:
    rows = value.astype(layout.dtype.numpy).reshape(layout.directions, -1, packing.depth)
    gates = [np.sum([rows[:, s : s + layout.hidden] for s in starts], axis=0) for starts in packing.starts]
    whole = np.zeros((layout.directions, packing.gates, layout.padded, packing.depth), layout.dtype.numpy)
    whole[:, :, : layout.hidden] = np.stack(gates, axis=1)
    split = whole.reshape(layout.directions, packing.gates, layout.groups, layout.blocks, layout.lanes, packing.depth)
    return np.ascontiguousarray(split.transpose(0, 2, 5, 3, 1, 4))


def accumulate(
    nest: Nest,
    packed: Packed,
    unit: Index,
    sources: Sequence[Callable[[Index], Ssa]],
    start: Sequence[Ssa],
) -> list[Ssa]:
    """``start`` plus, for each source, its elements times the rows of a group: [source, block, gate] vectors.

    ``unit`` is direction * groups + group. Few sums are split into several, so that one need not wait for the last.
    """
    e, packing, layout = nest.e, packed.packing, packed.layout
    count = layout.blocks * packing.gates
    copies = max(1, min(8 // (count * len(sources)), packing.depth))
    pointer = e.pointer(packed.place, packed.index)

    def rows(k: Index, sums: Sequence[Ssa]) -> list[Ssa]:
        row = e.mul(e.add(e.mul(unit, packing.depth), k), count * layout.lanes)
        base = e.at(pointer, layout.element, row)
        weights = [e.load(layout.vector, e.at(base, layout.element, i * layout.lanes)) for i in range(count)]
        factors = [e.splat(source(k), layout.lanes) for source in sources]
        pairs = [(f, w) for f in factors for w in weights]
        return [e.fma(f, w, s) for (f, w), s in zip(pairs, sums, strict=True)]

    def some(k: Index, sums: Sequence[Ssa]) -> list[Ssa]:
        size = len(start)
        return [s for c in range(copies) for s in rows(e.add(k, c), sums[c * size : (c + 1) * size])]

    whole = packing.depth // copies * copies
    first = [*start, *[zero(layout.vector)] * (len(start) * (copies - 1))]
    sums = list(e.loop(0, whole, copies, lambda k, *s: some(k, s), first))
    totals = sums[: len(start)]
    for k in range(whole, packing.depth):
        totals = rows(k, totals)
    for c in range(1, copies):
        totals = [e.fadd(t, s) for t, s in zip(totals, sums[c * len(start) :], strict=False)]
    return totals


def load_row(nest: Nest, layout: Layout, pointer: Ssa, row: Index, count: int) -> list[Ssa]:
    """``count`` vectors of row number ``row`` of that many."""
    e = nest.e
    base = e.at(pointer, layout.element, e.mul(row, count * layout.lanes))
    return [e.load(layout.vector, e.at(base, layout.element, i * layout.lanes)) for i in range(count)]
