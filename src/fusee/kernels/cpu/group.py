"""A call as a body graph, whether it is a fused group or one op, and where its tensors lie."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from fusee.base.dims import Dim
from fusee.base.types import Array
from fusee.ir.graph import Const, Graph, Input, Node, Value
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.lane_types import compute_type
from fusee.kernels.cpu.ssa import Ssa, bits_of
from fusee.kernels.cpu.trace import row_major, strides_of
from fusee.kernels.kernel import KernelCall
from fusee.ops.fused import Fused


@dataclass(frozen=True, eq=False)
class Group:
    """The body that a call computes, with strides for every tensor that lies in memory: inputs and constants."""

    call: KernelCall
    body: Graph
    strides: dict[Value, tuple[Dim, ...]]

    @property
    def nodes(self) -> list[Node]:
        """What is computed, operands before users."""
        return [n for n in self.body.nodes() if not isinstance(n.op, Const | Input)]


def group_of(call: KernelCall) -> Group:
    body = call.op.body if isinstance(call.op, Fused) else _alone(call)
    strides = {v: strides_of(o) for v, o in zip(body.inputs, call.operands, strict=True)}
    for node in body.nodes():
        if isinstance(node.op, Const):
            strides[Value(node)] = row_major(node.types[0].shape)
    return Group(call, body, strides)


def _alone(call: KernelCall) -> Graph:
    taken = tuple(Input(f"x{i}", o.type)() for i, o in enumerate(call.operands))
    return Graph("alone", taken, call.op.apply(*taken))


@dataclass(eq=False)
class Addresses:
    """The addresses of a group's tensors in one function, and the constant arrays it needs so far."""

    emitter: Emitter
    group: Group
    constants: list[Array] = field(default_factory=list[Array])
    _tables: dict[Hashable, Array] = field(default_factory=dict[Hashable, Array])

    def of(self, value: Value) -> Ssa:
        if isinstance(value.op, Const):
            return self.emitter.constant(self._place(value.op.value))
        return self.emitter.operand(self.group.body.inputs.index(value))

    def table(self, key: Hashable, array: Array) -> Ssa:
        """The address of an array that an op needs; the same key means the same array."""
        return self.emitter.constant(self._place(self._tables.setdefault(key, array)))

    def _place(self, array: Array) -> int:
        for i, known in enumerate(self.constants):
            if known is array:
                return i
        self.constants.append(array)
        return len(self.constants) - 1


def lanes_for(e: Emitter, group: Group) -> int:
    """How many lanes suit a group: a full vector of its widest element of up to 32 bits."""
    types = [t for n in group.body.nodes() for t in n.types]
    widths = [min(32, max(8, bits_of(compute_type(t.dtype)))) for t in types]
    return e.target.vector_bytes * 8 // max(widths, default=32)
