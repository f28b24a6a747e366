"""The kernel for groups that look elements up: every result element computed from where its operands' elements are."""

from __future__ import annotations

from collections.abc import Mapping

from fusee.ir.graph import Op
from fusee.kernels.cpu import moves, resize
from fusee.kernels.cpu.coords import Lanes, Spot, linear, store
from fusee.kernels.cpu.emit import Emitter
from fusee.kernels.cpu.group import Addresses, Group, group_of, lanes_for
from fusee.kernels.cpu.spots import Read, Reader
from fusee.kernels.cpu.trace import strides_of
from fusee.kernels.cpu.walk import Walk
from fusee.kernels.kernel import Code, Kernel, KernelCall, Tactic
from fusee.ops import index as ix
from fusee.ops import shape as sh
from fusee.ops.elementwise import Elementwise
from fusee.ops.reduce import Lrn
from fusee.ops.resize import Resize

READERS: Mapping[type[Op], Read] = {
    sh.Transpose: moves.transpose,
    sh.Expand: moves.expand,
    sh.Slice: moves.slice_of,
    sh.Full: moves.full,
    sh.Reshape: moves.reshape,
    sh.Concat: moves.concat,
    sh.Pad: moves.pad,
    sh.Trilu: moves.trilu,
    sh.Range: moves.number_range,
    sh.DimsTensor: moves.dims_tensor,
    sh.ReverseSequence: moves.reverse_sequence,
    ix.Gather: moves.gather,
    ix.GatherElements: moves.gather_elements,
    ix.GatherNd: moves.gather_nd,
    ix.OneHot: moves.one_hot,
    ix.TensorScatter: moves.tensor_scatter,
    Lrn: moves.lrn,
    Resize: resize.resize,
}


def unreadable(group: Group) -> str:
    """The first op of a group that cannot be computed at a place; '' when all can."""
    for node in group.nodes:
        if not isinstance(node.op, Elementwise) and type(node.op) not in READERS:
            return f"{type(node.op).__name__} is not computed element by element"
        if isinstance(node.op, Resize) and (problem := resize.problem(node)):
            return problem
    return ""


class Indexed(Kernel):
    """Walks the result row by row and computes each vector from its operands at computed places."""

    op = Op

    def refuses(self, call: KernelCall) -> str:
        group = group_of(call)
        if len(group.body.outputs) != 1 or group.body.outputs[0] in group.strides:
            return "the group must compute exactly one result"
        return unreadable(group)

    def emit(self, call: KernelCall, tactic: Tactic, symbol: str) -> Code:
        group = group_of(call)
        e = Emitter(symbol, call.target)
        output, (result,) = group.body.outputs[0], call.results
        walk = Walk(output.type.shape or (1,), lanes_for(e, group))
        addresses = Addresses(e, group)
        strides = strides_of(result)

        def visit(spot: Spot, lanes: Lanes) -> None:
            place = spot[: output.type.rank]
            value = Reader(e, addresses, READERS).at(output, place, lanes)
            at = linear(e, spot, strides or (1,), lanes.count)
            store(e, value, e.result(), result.type.dtype, at, lanes)

        walk.emit(e, visit)
        return Code(e.text(), (e.launch(walk.units),), frozenset(e.declarations), tuple(addresses.constants))


class PlacedResize(Indexed):
    """Resize of sizes known at build, to and from any strides; lanes run along the last axis, gathering if need be."""

    op = Resize

    def refuses(self, call: KernelCall) -> str:
        assert isinstance(call.op, Resize)
        whole = all(o.is_contiguous for o in (*call.operands, *call.results))
        if whole and call.op.is_identity(len(call.op.sizes) - 1, call.operands[0].type.shape[-1]):
            return "rows stay whole: tables by rows are faster"
        return unreadable(group_of(call))
