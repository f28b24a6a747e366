"""Groups of elementwise ops and plain movements (transposes, expansions, slices), computed a vector at a time."""

from __future__ import annotations

from dataclasses import dataclass

from fusee.base.dims import Dim
from fusee.ir.graph import Op, Value
from fusee.kernels.cpu.coords import Lanes, Spot, linear, store
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.formula import FormulaWriter
from fusee.kernels.cpu.group import Addresses, Group, group_of, lanes_for
from fusee.kernels.cpu.trace import Formula, Leaf, joined, leaves_of, strides_of, trace
from fusee.kernels.cpu.walk import Walk
from fusee.kernels.kernel import Code, Kernel, KernelCall, Tactic


@dataclass(frozen=True, eq=False)
class Plain:
    """A formula over joined axes: their sizes, and the strides of the result and of each leaf along them."""

    formula: Formula
    sizes: tuple[Dim, ...]
    result: tuple[Dim, ...]
    leaves: dict[Leaf, tuple[Dim, ...]]


def plain(group: Group) -> Plain | str:
    """The group as a formula, or why it is none."""
    if len(group.body.outputs) != 1:
        return f"the group has {len(group.body.outputs)} results; expected one"
    output = group.body.outputs[0]
    if output in group.strides:
        return "the group computes nothing"
    formula = trace(output, group.strides)
    if isinstance(formula, str):
        return formula
    leaves = leaves_of(formula)
    rows = [strides_of(group.call.results[0]), *[leaf.steps for leaf in leaves]]
    sizes, steps = joined(output.type.shape, rows)
    return Plain(
        formula, sizes or (1,), steps[0] or (1,), {f: s or (0,) for f, s in zip(leaves, steps[1:], strict=True)}
    )


def _is_read_in_place(found: Plain, value: Value) -> bool:
    """Whether every element of the result depends on one element of the operand, at the same place."""
    leaves = {leaf: steps for leaf, steps in found.leaves.items() if leaf.value == value}
    return bool(leaves) and all(leaf.offset == 0 and steps == found.result for leaf, steps in leaves.items())


class Pointwise(Kernel):
    """Computes each result element from the operand elements it depends on; rows are split over threads."""

    op = Op

    def refuses(self, call: KernelCall) -> str:
        found = plain(group_of(call))
        return found if isinstance(found, str) else ""

    def overwrites(self, call: KernelCall) -> tuple[int, ...]:
        """Operands of the result's type that are only read where the result is written: a vector is loaded before it
        is stored, and no element is computed twice."""
        group = group_of(call)
        found = plain(group)
        if isinstance(found, str):
            return ()
        inputs = enumerate(group.body.inputs)
        return tuple(i for i, v in inputs if v.type == call.results[0].type and _is_read_in_place(found, v))

    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        group = group_of(call)
        found = plain(group)
        assert isinstance(found, Plain)
        e = Emitter(symbol, call.target)
        walk = Walk(found.sizes, lanes_for(e, group))
        addresses = Addresses(e, group)
        writer = FormulaWriter(e, addresses, found.leaves)
        dtype = call.results[0].type.dtype

        def visit(spot: Spot, lanes: Lanes) -> None:
            at = linear(e, spot, found.result, lanes.count)
            store(e, writer.lanes(found.formula, spot, lanes), e.result(), dtype, at, lanes)

        walk.emit(e, visit)
        launch = e.launch(walk.units)
        return Code(e.text(), (launch,), frozenset(e.declarations), tuple(addresses.constants))
