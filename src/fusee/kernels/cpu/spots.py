"""Compute any value of a group at given places: the general way, for ops that look elements up by computed positions.

A ``Reader`` walks a body backwards from the place where a result element is wanted: an elementwise op asks for its
operands at the same place, a Concat or a Gather for another place. ``READERS`` says how, op by op.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fusee.base.dims import Dim
from fusee.base.types import Shape
from fusee.ir.graph import Const, Node, Op, Value
from fusee.kernels.cpu.coords import ZERO, Coord, Lanes, Spot, linear, load, positions, splat_index
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.group import Addresses
from fusee.kernels.cpu.lanes import constant_lanes, emit_node
from fusee.kernels.cpu.ssa import Index, Ssa, bits_of, literal
from fusee.kernels.cpu.trace import row_major
from fusee.kernels.cpu.walk import unravelled
from fusee.ops.elementwise import Elementwise
from fusee.ops.quantize import Dequantize, Quantize


class Reader:
    """Writes the code that computes values at places; what was computed once in straight-line code is reused."""

    def __init__(self, e: Emitter, addresses: Addresses, readers: Mapping[type[Op], Read]) -> None:
        self.e = e
        self.addresses = addresses
        self._readers = readers
        self._known: dict[tuple[Value, Spot, Lanes], Ssa] = {}

    def at(self, value: Value, spot: Spot, lanes: Lanes) -> Ssa:
        """Lanes of a value, in its compute type."""
        key = (value, spot, lanes)
        if key not in self._known:
            self._known[key] = self._new(value, spot, lanes)
        return self._known[key]

    def _new(self, value: Value, spot: Spot, lanes: Lanes) -> Ssa:
        if isinstance(value.op, Const) and value.op.value.size == 1:
            return constant_lanes(value.op, lanes.count)
        if value in self.addresses.group.strides:
            where = linear(self.e, spot, self.addresses.group.strides[value], lanes.count)
            return load(self.e, self.addresses.of(value), value.type.dtype, where, lanes)
        if isinstance(value.op, Elementwise):
            return self._elementwise(value.node, spot, lanes)
        return self._readers[type(value.op)](self, value.node, spot, lanes)

    def _elementwise(self, node: Node, spot: Spot, lanes: Lanes) -> Ssa:
        spots = [self._operand_spot(node, i, spot, lanes) for i in range(len(node.operands))]
        operands = [self.at(v, s, lanes) for v, s in zip(node.operands, spots, strict=True)]
        return emit_node(self.e, node, *operands)

    def _operand_spot(self, node: Node, index: int, spot: Spot, lanes: Lanes) -> Spot:
        shape, op = node.operands[index].type.shape, node.op
        if not isinstance(op, Quantize | Dequantize) or index == 0:
            return broadcast_spot(shape, spot)
        if op.axis is None:
            return (ZERO,) * len(shape)
        if op.block is None:
            return (spot[op.axis],)
        return tuple(divided(self.e, c, op.block, lanes.count) if i == op.axis else c for i, c in enumerate(spot))

    def branch(self, condition: Ssa, then: Callable[[], Ssa], otherwise: Callable[[], Ssa]) -> Ssa:
        """One of two values; what is computed inside is not known outside."""
        (found,) = self.e.branch(condition, lambda: [self.scoped(then)], lambda: [self.scoped(otherwise)])
        return found

    def scoped(self, compute: Callable[[], Ssa]) -> Ssa:
        """Compute inside a block that later code may not see."""
        before = dict(self._known)
        found = compute()
        self._known = before
        return found

    def indices(self, value: Value, spot: Spot, lanes: Lanes, size: Dim) -> Coord:
        """Elements of an index tensor as positions below ``size``: negatives count from the end; all are clamped."""
        limit = self.e.dim(size)
        found = self.at(value, spot, lanes)
        if all(c.is_uniform for c in spot):
            one = self.e.convert("sext", self.e.extract(found, 0), "i64")
            return Coord(_clamped(self.e, one, limit))
        narrow = self.e.convert("trunc", found, "i32") if bits_of(found.type) > 32 else found
        total = splat_index(self.e, limit, lanes.count)
        zero = literal(narrow.type, 0)
        wrapped = self.e.select(self.e.icmp("slt", narrow, zero), self.e.op("add", narrow, total), narrow)
        last = self.e.op("sub", total, literal(narrow.type, 1))
        wrapped = self.e.select(self.e.icmp("sgt", wrapped, last), last, wrapped)
        return Coord(0, 0, self.e.select(self.e.icmp("slt", wrapped, zero), zero, wrapped))


Read = Callable[[Reader, Node, Spot, Lanes], Ssa]


def _clamped(e: Emitter, index: Ssa, size: Index) -> Index:
    (wrapped,) = e.branch(e.less(index, 0), lambda: [e.i64(e.add(index, size))], lambda: [index])
    return e.max(e.min(wrapped, e.sub(size, 1)), 0)


def broadcast_spot(shape: Shape, spot: Spot) -> Spot:
    """The place in an operand that broadcasts to a result."""
    last = spot[len(spot) - len(shape) :]
    return tuple(ZERO if size == 1 else c for size, c in zip(shape, last, strict=True))


def divided(e: Emitter, coord: Coord, by: int, lanes: int) -> Coord:
    """Positions (not negative) over a number, rounded down."""
    if coord.is_uniform:
        return Coord(e.div(coord.base, by))
    where = positions(e, coord, lanes)
    return Coord(0, 0, e.op("udiv", where, literal(where.type, by)))


def flattened(e: Emitter, spot: Spot, shape: Shape, lanes: int) -> Coord:
    """The row-major number of a place."""
    return linear(e, spot, row_major(shape), lanes)


def unflattened(e: Emitter, flat: Coord, shape: Shape, lanes: int) -> Spot:
    """The place that a row-major number stands for."""
    if flat.is_uniform:
        return tuple(Coord(i) for i in unravelled(e, flat.base, shape))
    left = positions(e, flat, lanes)
    found: list[Coord] = []
    for axis in reversed(range(len(shape))):
        size = splat_index(e, e.dim(shape[axis]), lanes)
        found.append(Coord(0, 0, left if axis == 0 else e.op("urem", left, size)))
        left = left if axis == 0 else e.op("udiv", left, size)
    return tuple(reversed(found))


def index_lanes(e: Emitter, where: Ssa, goal: str) -> Ssa:
    """Positions (i32 lanes) as numbers of a compute type."""
    if goal in ("float", "double"):
        return e.convert("sitofp", where, goal)
    opcode = "trunc" if bits_of(goal) < 32 else "sext"
    return e.convert(opcode, where, goal)
