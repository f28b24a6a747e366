"""Write a traced formula for one vector: load its leaves at their places and apply its ops."""

from __future__ import annotations

from collections.abc import Mapping

from fusee.base.dims import Dim
from fusee.ir.graph import Value
from fusee.kernels.cpu.coords import Lanes, Spot, linear, load
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.group import Addresses
from fusee.kernels.cpu.lanes import constant_lanes, emit_node
from fusee.kernels.cpu.ssa import Ssa
from fusee.kernels.cpu.trace import Apply, Formula, Leaf


class FormulaWriter:
    """Knows where the leaves lie: their base addresses, and their strides along the axes that are walked."""

    def __init__(self, e: Emitter, addresses: Addresses, steps: Mapping[Leaf, tuple[Dim, ...]]) -> None:
        self._e = e
        self._steps = steps
        self._bases = {leaf: self._base(leaf, addresses) for leaf in steps}

    def _base(self, leaf: Leaf, addresses: Addresses) -> Ssa:
        distance = self._e.mul(self._e.dim(leaf.offset), leaf.dtype.itemsize_bytes)
        return self._e.offset(addresses.of(leaf.value), distance)

    def lanes(self, formula: Formula, spot: Spot, lanes: Lanes, given: Mapping[Leaf | Value, Ssa] | None = None) -> Ssa:
        """The formula at a place, in its compute type; ``given`` holds what is in registers already."""
        return self._at(formula, spot, lanes, given or {}, {})

    def _at(
        self, part: Formula, spot: Spot, lanes: Lanes, given: Mapping[Leaf | Value, Ssa], known: dict[Formula, Ssa]
    ) -> Ssa:
        if part not in known:
            known[part] = self._new(part, spot, lanes, given, known)
        return known[part]

    def _new(
        self, part: Formula, spot: Spot, lanes: Lanes, given: Mapping[Leaf | Value, Ssa], known: dict[Formula, Ssa]
    ) -> Ssa:
        if isinstance(part, Leaf):
            if part in given or part.value in given:
                return given[part if part in given else part.value]
            at = linear(self._e, spot, self._steps[part], lanes.count)
            return load(self._e, self._bases[part], part.dtype, at, lanes)
        if isinstance(part, Apply):
            operands = [self._at(o, spot, lanes, given, known) for o in part.operands]
            return emit_node(self._e, part.node, *operands)
        return constant_lanes(part, lanes.count)
