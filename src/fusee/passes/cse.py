"""Compute the same thing once."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

from fusee.ir.graph import Const, Graph, Node, Value
from fusee.ir.rewrite import Report
from fusee.ir.text import digest
from fusee.ops.random import RANDOM_OPS


def share(graph: Graph, report: Report) -> Graph:
    """Merge nodes of equal op and operands, and constants of equal type and content."""
    first: dict[Hashable, Node] = {}
    stands: dict[Node, Node] = {}
    for node in graph.nodes():
        known = first.setdefault(_key(node, stands), node)
        if known is not node and not isinstance(node.op, Const):
            if not report.may_fire:
                known = node
            else:
                report.fire("share", node)
        stands[node] = known
    return graph.replace(_replacements(stands))


def _key(node: Node, stands: dict[Node, Node]) -> Hashable:
    if isinstance(node.op, Const):
        return digest(node.op.value)
    if isinstance(node.op, RANDOM_OPS) or node.op.defined_symbols() or node.op.subgraphs():
        return node
    return type(node.op), node.op, tuple((stands[v.node], v.index) for v in node.operands)


def _replacements(stands: dict[Node, Node]) -> dict[Value, Value]:
    """Each duplicate's results by those of the first; the first remembers where all of them came from."""
    copies: dict[Node, list[Node]] = {}
    for node, known in stands.items():
        if known is not node:
            copies.setdefault(known, []).append(node)
    new: dict[Value, Value] = {}
    for known, others in copies.items():
        loc = tuple(dict.fromkeys([*known.loc, *(name for n in others for name in n.loc)]))
        kept = known if loc == known.loc else replace(known, loc=loc)
        new |= {old: v for n in others for old, v in zip(n.results, known.results, strict=True)}
        new |= dict(zip(known.results, kept.results, strict=True)) if kept is not known else {}
    return new
