"""Take fused groups apart again, where no kernel that may be used computes the whole."""

from __future__ import annotations

from collections.abc import Callable

from fusee.ir.graph import Graph, Node, Value
from fusee.ir.rewrite import inline
from fusee.ops.fused import Fused


def unfuse(graph: Graph, computable: Callable[[Node], bool]) -> Graph:
    """The graph with every Fused node that is not computable replaced by the nodes of its body."""
    new: dict[Value, Value] = {}
    for node in graph.nodes():
        if isinstance(node.op, Fused) and not computable(node):
            inlined = inline(node.op.body, node.operands)
            new.update(zip(node.results, inlined, strict=True))
    return graph.replace(new) if new else graph
