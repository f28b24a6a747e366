"""Which values need no memory of their own: aliases, slices of others, and parts of a concatenation."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from fusee.base.dims import Dim
from fusee.ir.graph import Const, Graph, Input, Node, Value
from fusee.ops.control import After, Bind
from fusee.ops.shape import Concat, Reshape, Slice

ALIASES = (Reshape, After, Bind)  # same bytes as their first operand


@dataclass(frozen=True)
class Part:
    """A value that is computed straight into its place in a concatenation."""

    concat: Value
    start: Dim  # along the concatenation's axis
    axis: int


StridedProducer = Callable[[Node, Value, Value, int], bool]
"""Whether a kernel computes the node, and its users read it, as a part of this concatenation along this axis."""


def alias_root(value: Value) -> Value:
    """The value whose bytes this one is, through reshapes."""
    while isinstance(value.op, ALIASES):
        value = value.operands[0]
    return value


def slice_source(node: Node) -> Value | None:
    """The operand that a slice could be a view of: steps of 1 only."""
    if isinstance(node.op, Slice) and all(s == 1 for s in node.op.steps):
        return node.operands[0]
    return None


def concat_parts(graph: Graph, accepts: StridedProducer) -> dict[Value, Part]:
    """The operands of concatenations that their producers can write in place.

    A value qualifies when a kernel computes it (not an input, constant, alias or slice), it is no output of the
    graph and part of one concatenation only, and both its producer and its other users can live with its strides.
    """
    users = users_of(graph)
    parts: dict[Value, Part] = {}
    for node in reversed(graph.nodes()):
        if isinstance(node.op, Concat):
            _claim_parts(node, node.op.axis, graph, users, accepts, parts)
    return parts


def _claim_parts(
    node: Node,
    axis: int,
    graph: Graph,
    users: dict[Value, list[Node]],
    accepts: StridedProducer,
    parts: dict[Value, Part],
) -> None:
    whole = node.results[0]
    start: Dim = 0
    times = Counter(node.operands)
    for value in node.operands:
        free = value not in parts and times[value] == 1 and value not in graph.outputs
        fixed = isinstance(value.op, (Input, Const, *ALIASES)) or slice_source(value.node) is not None
        aliased = any(isinstance(u.op, ALIASES) for u in users[value])
        if free and not fixed and not aliased and accepts(value.node, value, whole, axis):
            parts[value] = Part(whole, start, axis)
        start = start + value.type.shape[axis]


def users_of(graph: Graph) -> dict[Value, list[Node]]:
    """The nodes that take each value."""
    users: dict[Value, list[Node]] = defaultdict(list)
    for node in graph.nodes():
        for value in dict.fromkeys(node.operands):
            users[value].append(node)
    return users
