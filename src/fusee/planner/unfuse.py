"""Take fused groups apart again, where no kernel that may be used computes the whole."""

from __future__ import annotations

from collections.abc import Callable

from fusee.ir.graph import Graph, Node, Value
from fusee.ops.fused import Fused


def unfuse(graph: Graph, computable: Callable[[Node], bool]) -> Graph:
    """The graph with every Fused node that is not computable replaced by the nodes of its body."""
    new: dict[Value, Value] = {}
    for node in graph.nodes():
        if isinstance(node.op, Fused) and not computable(node):
            inlined = inline(node.op.body, node.operands)
            new.update(zip(node.results, inlined, strict=True))
    return graph.replace(new) if new else graph


def inline(body: Graph, operands: tuple[Value, ...]) -> tuple[Value, ...]:
    """The body's outputs computed on the operands in the place of its inputs."""
    built: dict[Value, Value] = dict(zip(body.inputs, operands, strict=True))
    for node in body.nodes():
        if node.results[0] not in built:
            results = node.op.apply(*[built[v] for v in node.operands], loc=node.loc)
            built.update(zip(node.results, results, strict=True))
    return tuple(built[v] for v in body.outputs)
